/* source_redis.c - Redis streams, by our own position or as a consumer group. */
#include "source_redis.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"

#define TICK_MS 20

extern const struct dgf_source_type dgf_source_redis;

#define AT(f) offsetof(struct dgf_redis_conf, f)
static const struct dgf_opt event_opts[] = {
    {"object", DGF_OPT_STR, AT(event.object) - AT(event), 0,
     .help = "Field that names the object. Default: the object is the stream",
     .example = "table"},
    {"key", DGF_OPT_STR_LIST, AT(event.key) - AT(event), 0,
     .help = "Fields that make the key, of the entry or of its mapped row. Default: "
             "the entry's id",
     .example = "[id]"},
    {"op", DGF_OPT_STR, AT(event.op) - AT(event), 0,
     .help =
         "Field that says insert, update, delete. Default: every entry is an insert",
     .example = "action"},
    {"ops", DGF_OPT_STR_MAP, AT(event.ops) - AT(event), 0,
     .help = "What the words in that field mean", .example = "{c: insert, u: update}"},
    {"before", DGF_OPT_STR, AT(event.before) - AT(event), 0,
     .help = "Field with the old row as JSON, or as decode says", .example = "old"},
    {"after", DGF_OPT_STR, AT(event.after) - AT(event), 0,
     .help = "Field with the new row as JSON, or as decode says. Default: the entry's "
             "own fields",
     .example = "new"},
    DGF_OPT_END};

const struct dgf_opt dgf_redis_tls_opts[] = {
    {"ca", DGF_OPT_STR, AT(tls.ca) - AT(tls), 0,
     .help = "CA certificates (PEM). Default: what the system trusts",
     .example = "/etc/dgf/redis-ca.pem"},
    {"cert", DGF_OPT_STR, AT(tls.cert) - AT(tls), 0,
     .help = "Our certificate (PEM), when the server asks for one",
     .example = "/etc/dgf/client.pem"},
    {"key", DGF_OPT_STR, AT(tls.key) - AT(tls), 0, .help = "The key of cert (PEM)",
     .example = "/etc/dgf/client.key"},
    DGF_OPT_END};

static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_SECRET_STR, AT(url), DGF_REQUIRED | DGF_SECRET | DGF_ADDRESS,
     .help = "rediss://user@host:port/database; redis:// is without TLS and needs "
             "insecure: true beyond this machine; unix:///path. Of a cluster several "
             "hosts, with commas between them",
     .example = "rediss://dgf@redis.example.org:6379/0"},
    {"user", DGF_OPT_STR, AT(user), 0,
     .help = "ACL user, when it does not stand in url", .example = "dgf"},
    {"password", DGF_OPT_SECRET_STR, AT(password), DGF_SECRET,
     .help = "Password, when it does not stand in url",
     .example = "${file:/run/secrets/redis}"},
    {"tls", DGF_OPT_GROUP, AT(tls), 0, .help = "Certificates",
     .group = dgf_redis_tls_opts},
    {"streams", DGF_OPT_STR_LIST, AT(streams), DGF_REQUIRED,
     .help = "Streams to read, by name or pattern (* ? [] as SCAN reads them)",
     .example = "[orders, \"audit:*\"]"},
    {"mode", DGF_OPT_ENUM, AT(mode), 0, "cursor",
     .help = "Read from our own position, or as a consumer group",
     .words = "cursor|group"},
    {"start", DGF_OPT_ENUM, AT(start), 0, "beginning",
     .help = "Where a stream nobody knows yet begins. One that appears later is always "
             "read from its beginning",
     .words = "beginning|now"},
    {"group", DGF_OPT_STR, AT(group), 0, "dgf", .help = "Consumer group"},
    {"consumer", DGF_OPT_STR, AT(consumer), 0,
     .help =
         "Our name in the group; two agents never share one. Default: dgf-<source>"},
    {"decode", DGF_OPT_STR_MAP, AT(decode), 0,
     .help = "Fields that hold more than text: json or msgpack",
     .example = "{payload: json}"},
    {"map", DGF_OPT_GROUP, AT(event), 0,
     .help = "Which fields of an entry say what changed", .group = event_opts},
    {"count", DGF_OPT_INT, AT(count), 0, "1000", "1", "10000",
     "Most entries asked for at once"},
    {"block", DGF_OPT_DURATION, AT(block_ns), 0, "1s", "10ms", "30s",
     "Longest wait of one blocking read"},
    {"check", DGF_OPT_DURATION, AT(check_ns), 0, "2s", "100ms", "1h",
     "How often a quiet stream is compared with what we remember of it"},
    {"discover", DGF_OPT_DURATION, AT(discover_ns), 0, "5s", "100ms", "1h",
     "How often new streams are looked for"},
    {"claim_idle", DGF_OPT_DURATION, AT(claim_idle_ns), 0, "5m", "100ms", "7d",
     "Group mode: entries another consumer holds for so long are taken over"},
    {"claim_interval", DGF_OPT_DURATION, AT(claim_interval_ns), 0, "30s", "100ms", "1d",
     "Group mode: how often such entries are looked for"},
    {"max_deliveries", DGF_OPT_INT, AT(max_deliveries), 0, "5", "2", "100000",
     "Group mode: an entry delivered more often is recorded as undecodable and "
     "acknowledged"},
    {"connect_timeout", DGF_OPT_DURATION, AT(connect_timeout_ns), 0, "10s", "1s", "5m",
     "Longest time of one attempt to connect"},
    {"reply_timeout", DGF_OPT_DURATION, AT(reply_timeout_ns), 0, "30s", "1s", "10m",
     "Longest time without an answer of the server"},
    {"insecure", DGF_OPT_BOOL, AT(insecure), DGF_DECIDES, "false",
     .help = "Allow a connection that is not encrypted, or does not verify the server"},
    DGF_OPT_END};

static void wrong(struct dgf_findings *findings, struct dgf_mark mark, const char *what,
                  const char *option, const char *text, const char *subject)
{
    dgf_findings_add(findings, DGF_FINDING_ERROR, "E0631", mark, NULL, "%s: '%s' %s",
                     what, subject, text);
    dgf_findings_about(findings, "%s", option);
}

static void validate_event(const struct dgf_redis_conf *conf, const char *what,
                           struct dgf_mark mark, struct dgf_findings *findings)
{
    const struct dgf_redis_map *event = &conf->event;

    for (size_t i = 0; i < conf->decode.n; i++)
        if (strcmp(conf->decode.values[i], "json") != 0 &&
            strcmp(conf->decode.values[i], "msgpack") != 0)
            wrong(findings, mark, what, "decode", "in decode must be json or msgpack",
                  conf->decode.values[i]);
    for (size_t i = 0; i < event->ops.n; i++)
        if (dgf_op_of(dgf_bytes_str(event->ops.values[i])) <= DGF_OP_NONE)
            wrong(findings, mark, what, "map.ops",
                  "in map.ops is no operation; example: {c: insert}",
                  event->ops.values[i]);
    if (event->ops.n && !event->op)
        wrong(findings, mark, what, "map.ops",
              "needs map.op, the field that says the operation", "map.ops");
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    const struct dgf_redis_conf *conf = ptr;
    struct dgf_redis_address address = {0};
    struct dgf_err err;

    if (!conf->url)
        return;
    if (dgf_redis_address_read(conf, &address, &err)) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0631", mark, NULL, "%s: %s",
                         what, err.text);
        dgf_findings_about(findings, "url");
    }
    dgf_redis_address_release(&address);
    for (size_t i = 0; i < conf->streams.n; i++) {
        size_t len = strlen(conf->streams.list[i]);
        char option[48];

        (void)snprintf(option, sizeof(option), "streams[%zu]", i);
        if (len == 0 || len > DGF_REDIS_NAME_MAX)
            wrong(findings, mark, what, option, "in streams must have 1 to 512 bytes",
                  conf->streams.list[i]);
    }
    validate_event(conf, what, mark, findings);
    if (!conf->tls.cert != !conf->tls.key) {
        dgf_findings_add(
            findings, DGF_FINDING_ERROR, "E0631", mark, NULL,
            "%s: 'tls.cert' and 'tls.key' are given together or not at all", what);
        dgf_findings_about(findings, "tls.%s", conf->tls.cert ? "cert" : "key");
    }
    if (!conf->insecure)
        return;
    dgf_findings_add(
        findings, DGF_FINDING_WARNING, "W0201", mark, NULL,
        "%s: insecure: true allows a connection that does not verify the server", what);
    dgf_findings_about(findings, "insecure");
}

void dgf_redis_fail(struct dgf_redis_source *self, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failed)
        return;
    self->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    for (char *at = text; *at; at++) /* a server's words; one line of text */
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    if (!dgf_utf8_valid(dgf_bytes_str(text)))
        for (char *at = text; *at; at++)
            if ((unsigned char)*at >= 0x80)
                *at = '?';
    dgf_source_fail(&self->base, rc, "%s", text);
}

/* ---- life ---- */

static void free_object(void *object)
{
    dgf_object_unref(object);
}

static void free_stream(void *stream)
{
    dgf_redis_stream_free(stream);
}

static void free_node(struct dgf_redis_node *node)
{
    dgf_redis_link_close(&node->data);
    dgf_redis_link_close(&node->wait);
    dgf_redis_address_release(&node->address);
    dgf_redis_keys_free(node->keys);
    dgf_free(node);
}

void dgf_redis_close(struct dgf_source *src)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;

    if (!self->is_open)
        return;
    for (size_t i = 0; i < self->n_nodes; i++)
        free_node(self->nodes[i]);
    dgf_free(self->nodes);
    dgf_free(self->slots);
    dgf_map_release(&self->streams, free_stream);
    dgf_map_release(&self->objects, free_object);
    if (self->tick)
        event_free(self->tick);
    if (self->again)
        event_free(self->again);
    dgf_redis_address_release(&self->address);
    dgf_event_builder_release(&self->builder);
    dgf_buf_release(&self->scratch);
    dgf_redis_ack_release(self);
    dgf_free(self->consumer);
    dgf_free(self->claimer);
    self->nodes = NULL;
    self->slots = NULL;
    self->tick = self->again = NULL;
    self->acks = NULL;
    self->consumer = self->claimer = NULL;
    self->n_nodes = 0;
    self->is_open = false;
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_redis_source *self = ctx;
    int64_t now = dgf_clock_mono_ns();

    (void)fd;
    (void)what;
    for (size_t i = 0; i < self->n_nodes && !self->failed; i++) {
        dgf_redis_link_tick(&self->nodes[i]->data, now);
        dgf_redis_link_tick(&self->nodes[i]->wait, now);
    }
    if (!dgf_redis_stopped(self))
        dgf_redis_start_tick(self, now);
    if (!dgf_redis_stopped(self))
        dgf_redis_claim_tick(self, now);
    dgf_redis_settle(self);
}

/* After resume: what was received, then the streams that wait for their turn. */
static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_redis_source *self = ctx;

    (void)fd;
    (void)what;
    for (size_t i = 0; i < self->n_nodes && !dgf_redis_stopped(self); i++) {
        dgf_redis_link_go_on(&self->nodes[i]->data);
        if (!dgf_redis_stopped(self))
            dgf_redis_link_go_on(&self->nodes[i]->wait);
        if (!dgf_redis_stopped(self) && !self->keys)
            dgf_redis_next(self->nodes[i]);
    }
}

static char *joined(const char *a, const char *b)
{
    size_t size = strlen(a) + strlen(b) + 1;
    char *text = dgf_malloc(size);

    if (text)
        (void)snprintf(text, size, "%s%s", a, b);
    return text;
}

static bool make_session(struct dgf_redis_source *self)
{
    const struct dgf_redis_conf *conf = self->base.conf;
    struct timeval every = {0, TICK_MS * 1000L};

    dgf_map_init(&self->streams);
    dgf_map_init(&self->objects);
    dgf_event_builder_init(&self->builder, self->base.max_event_bytes
                                               ? self->base.max_event_bytes
                                               : (size_t)16 << 20);
    dgf_buf_init(&self->scratch, 1 << 20);
    self->consumer =
        conf->consumer ? dgf_strdup(conf->consumer) : joined("dgf-", self->base.name);
    self->claimer = self->consumer ? joined(self->consumer, "-claimed") : NULL;
    self->tick = event_new(self->base.loop, -1, EV_PERSIST, on_tick, self);
    self->again = event_new(self->base.loop, -1, 0, on_again, self);
    return self->claimer && self->tick && self->again &&
           event_add(self->tick, &every) == 0;
}

enum dgf_rc dgf_redis_open(struct dgf_source *src, struct dgf_err *err)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;
    struct dgf_redis_source old = *self;
    enum dgf_rc rc;

    dgf_redis_close(src);
    *self = (struct dgf_redis_source){
        .base = *src, .durable_seq = old.durable_seq, .is_open = true};
    memcpy(self->known, old.known, sizeof(self->known));
    self->n_known = old.n_known;
    self->seed = old.seed + old.missed; /* the next one, when that did not help */
    self->keys = src->type != &dgf_source_redis;
    self->seen_ns = dgf_clock_ns();
    if (!make_session(self)) {
        dgf_redis_close(src);
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    }
    rc = dgf_redis_address_read(src->conf, &self->address, err);
    if (rc) {
        dgf_redis_close(src);
        return rc;
    }
    dgf_redis_start(self);
    return DGF_OK;
}

/* What is remembered of each stream says more than a position. */
static enum dgf_rc redis_open(struct dgf_source *src, struct dgf_bytes position,
                              struct dgf_err *err)
{
    (void)position;
    dgf_source_impaired(src, "%s", ""); /* what was found before is looked for again */
    return dgf_redis_open(src, err);
}

void dgf_redis_pause(struct dgf_source *src)
{
    ((struct dgf_redis_source *)src)->paused = true;
}

void dgf_redis_resume(struct dgf_source *src)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;
    int64_t now = dgf_clock_mono_ns();

    self->paused = self->ending;
    self->blocked = false;
    if (!self->is_open || self->failed || self->ending)
        return;
    for (size_t i = 0; i < self->n_nodes; i++)
        self->nodes[i]->data.since_ns = self->nodes[i]->wait.since_ns = now;
    event_active(self->again, EV_TIMEOUT, 0);
}

static void redis_durable(struct dgf_source *src, uint64_t seq)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;

    if (seq > self->durable_seq)
        self->durable_seq = seq;
    if (self->is_open && !self->failed)
        dgf_redis_ack_durable(self);
    if (self->is_open)
        dgf_redis_begin_due(self);
}

/* What else is under way stays pending and comes again at the next start. */
static bool redis_acknowledged(struct dgf_source *src)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;

    self->paused = self->ending = true;
    for (size_t i = 0; i < self->n_nodes && self->n_asked && !self->failed; i++)
        if (self->nodes[i]->data.up)
            dgf_redis_link_go_on(&self->nodes[i]->data);
    return self->failed || (self->n_asked == 0 && self->n_acks == 0);
}

static unsigned redis_gives(struct dgf_source *src, const struct dgf_object *object)
{
    const struct dgf_redis_conf *conf = src->conf;

    (void)object;
    return DGF_GIVES_AFTER | DGF_GIVES_EVERY_VERSION | DGF_GIVES_KEY |
           (conf->event.before ? DGF_GIVES_BEFORE : 0) |
           (conf->event.op ? DGF_GIVES_DELETES : 0);
}

void dgf_redis_settle(struct dgf_redis_source *self)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    if (!self->dirty)
        return;
    self->dirty = false;
    while ((entry = dgf_map_next(&self->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;
        struct dgf_buf key;
        enum dgf_rc rc;

        if (!stream->dirty)
            continue;
        stream->dirty = false;
        dgf_buf_clear(&self->scratch);
        dgf_redis_memory_put(&stream->memory, &self->scratch);
        dgf_buf_init(&key, 4096);
        dgf_buf_add_str(&key, "stream/");
        dgf_buf_add_str(&key, stream->name);
        rc = dgf_buf_rc(&key) ? DGF_NOMEM : dgf_buf_rc(&self->scratch);
        if (!rc)
            rc = dgf_source_put_state(&self->base, dgf_buf_bytes(&key),
                                      dgf_buf_bytes(&self->scratch));
        dgf_buf_release(&key);
        if (rc) {
            dgf_redis_fail(self, DGF_FATAL, "cannot remember stream '%s'",
                           stream->name);
            return;
        }
    }
}

const struct dgf_source_type dgf_source_redis = {
    .name = "redis",
    .summary = "Redis 7 and later, Valkey: streams",
    .guarantee = DGF_GUARANTEE_EXACTLY_ONCE,
    .opts = opts,
    .conf_size = sizeof(struct dgf_redis_conf),
    .self_size = sizeof(struct dgf_redis_source),
    .validate = validate,
    .check = dgf_redis_check,
    .open = redis_open,
    .pause = dgf_redis_pause,
    .resume = dgf_redis_resume,
    .durable = redis_durable,
    .acknowledged = redis_acknowledged,
    .close = dgf_redis_close,
    .position_text = dgf_redis_position_text,
    .gives = redis_gives,
};
