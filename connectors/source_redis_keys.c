/* source_redis_keys.c - keys, settings and users of a Redis: what is seen, not
 * what happened.  Keyspace events are sent once and to who listens; samples and
 * inspections are looks now and then.  So the source is declared `partial`. */
#include "source_redis_keys.h"

#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"

#define PING_NS INT64_C(5000000000)

extern const struct dgf_source_type dgf_source_redis_keys;

#define AT(f) offsetof(struct dgf_redis_conf, f)
static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_SECRET_STR, AT(url), DGF_REQUIRED | DGF_SECRET | DGF_ADDRESS,
     .help = "As of source redis", .example = "rediss://dgf@redis.example.org:6379/0"},
    {"user", DGF_OPT_STR, AT(user), 0,
     .help = "ACL user, when it does not stand in url"},
    {"password", DGF_OPT_SECRET_STR, AT(password), DGF_SECRET,
     .help = "Password, when it does not stand in url"},
    {"tls", DGF_OPT_GROUP, AT(tls), 0, .help = "Certificates",
     .group = dgf_redis_tls_opts},
    {"events", DGF_OPT_STR_LIST, AT(events), 0,
     .help = "Keyspace events to listen to; the server must send them "
             "(notify-keyspace-events). Default: none",
     .example = "[expired, evicted, del, set]"},
    {"sample", DGF_OPT_DURATION, AT(sample_ns), 0, "1m", "100ms", "1d",
     "How often some keys are looked at: type, time to live, memory"},
    {"sample_keys", DGF_OPT_INT, AT(sample_keys), 0, "100", "0", "100000",
     "About how many keys each time; 0 is none"},
    {"inspect", DGF_OPT_DURATION, AT(inspect_ns), 0, "5m", "100ms", "1d",
     "How often settings (CONFIG GET, INFO) and users (ACL LIST) are compared"},
    {"connect_timeout", DGF_OPT_DURATION, AT(connect_timeout_ns), 0, "10s", "1s", "5m",
     "Longest time of one attempt to connect"},
    {"reply_timeout", DGF_OPT_DURATION, AT(reply_timeout_ns), 0, "30s", "6s", "10m",
     "Longest time without an answer of the server"},
    {"insecure", DGF_OPT_BOOL, AT(insecure), DGF_DECIDES, "false",
     .help = "Allow a connection that is not encrypted, or does not verify the server"},
    DGF_OPT_END};

void dgf_redis_keys_free(struct dgf_redis_keys *keys)
{
    if (!keys)
        return;
    for (size_t i = 0; i < DGF_ARRAY_LEN(keys->samples); i++)
        dgf_buf_release(&keys->samples[i].name);
    dgf_object_unref(keys->keyspace);
    dgf_object_unref(keys->setting);
    dgf_object_unref(keys->user);
    dgf_free(keys);
}

/* ---- events of ours ---- */

struct dgf_event_meta dgf_redis_keys_meta(struct dgf_redis_source *self)
{
    int64_t now = dgf_clock_ns();

    dgf_buf_clear(&self->scratch);
    dgf_redis_position_put(DGF_BYTES("keyspace"), 1,
                           (struct dgf_redis_id){(uint64_t)now / 1000000, 0},
                           &self->scratch);
    return (struct dgf_event_meta){
        .commit_ns = now, .seen_ns = now, .position = dgf_buf_bytes(&self->scratch)};
}

void dgf_redis_keys_emit(struct dgf_redis_source *self, struct dgf_event_meta *meta,
                         const char *type)
{
    struct dgf_event *event;
    struct dgf_id_hash hash;
    enum dgf_rc rc;

    dgf_id_begin(&hash, type);
    dgf_id_add(&hash, DGF_BYTES("redis"));
    dgf_id_add(&hash, dgf_bytes_str(self->system));
    dgf_id_add(&hash, dgf_buf_bytes(&self->builder.body));
    dgf_id_add_u64(&hash, (uint64_t)meta->seen_ns);
    meta->id = dgf_id_end(&hash);
    if (dgf_event_finish(&self->builder, meta, &event)) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    rc = dgf_source_emit(&self->base, event);
    if (rc == DGF_AGAIN)
        self->blocked = true;
    else if (rc)
        dgf_redis_fail(self, rc, "the event was not taken");
}

/* Names and values are anybody's bytes. */
void dgf_redis_keys_put(struct dgf_event_builder *builder, const char *name,
                        struct dgf_bytes text)
{
    struct dgf_buf *buf = dgf_event_named(builder, dgf_bytes_str(name));

    if (dgf_utf8_valid(text))
        dgf_mp_put_str(buf, text);
    else
        dgf_mp_put_bin(buf, text);
}

void dgf_redis_keys_put_key(struct dgf_event_builder *builder, const char *name,
                            struct dgf_bytes key)
{
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_redis_keys_put(builder, name, key);
    dgf_event_section_end(builder);
}

/* ---- keyspace events ---- */

/* __keyevent@0__:expired, and the key. */
static void take_event(struct dgf_redis_node *node, struct dgf_bytes channel,
                       struct dgf_bytes key)
{
    struct dgf_redis_source *self = node->source;
    struct dgf_event_builder *builder = &self->builder;
    const uint8_t *colon = memchr(channel.ptr, ':', channel.len);
    struct dgf_event_meta meta = dgf_redis_keys_meta(self);
    enum dgf_op op = DGF_OP_UPDATE;
    struct dgf_bytes name;

    if (!colon)
        return;
    name = dgf_bytes_of(colon + 1, channel.len - (size_t)(colon + 1 - channel.ptr));
    if (dgf_bytes_eq(name, DGF_BYTES("expired"))) {
        op = DGF_OP_EXPIRE;
        meta.cause = DGF_CAUSE_TTL;
    } else if (dgf_bytes_eq(name, DGF_BYTES("evicted"))) {
        op = DGF_OP_DELETE;
        meta.cause = DGF_CAUSE_EVICTION;
    } else if (dgf_bytes_eq(name, DGF_BYTES("del")) ||
               dgf_bytes_eq(name, DGF_BYTES("unlink"))) {
        op = DGF_OP_DELETE;
    } else if (dgf_bytes_eq(name, DGF_BYTES("set"))) {
        op = DGF_OP_REPLACE;
    } else if (dgf_bytes_eq(name, DGF_BYTES("new"))) {
        op = DGF_OP_INSERT;
    }
    dgf_event_begin(builder, node->keys->keyspace, DGF_KIND_CHANGE, op);
    dgf_redis_keys_put_key(builder, "key", key);
    /* Redis says that it happened, not what was or is there. */
    if (op == DGF_OP_INSERT)
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    else
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_NOT_SENT);
    if (op == DGF_OP_DELETE || op == DGF_OP_EXPIRE)
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
    else
        dgf_event_section_unavailable(builder, DGF_SECTION_AFTER,
                                      DGF_UNAVAILABLE_NOT_SENT);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_redis_keys_put(builder, "event", name);
    dgf_event_section_end(builder);
    dgf_redis_keys_emit(self, &meta, "keyspace");
}

/* [message, channel, key]; [subscribe, ...] and [pong, ...] too. */
static void on_message(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, what, channel, key;
    struct dgf_bytes text = dgf_redis_error(item);

    (void)command;
    if (text.len) {
        dgf_redis_fail(link->source,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot listen to keyspace events: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (item->cut || dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY ||
        head.number != 3 || dgf_resp_next(&resp, &what) ||
        !dgf_bytes_eq(what.bytes, DGF_BYTES("message")) ||
        dgf_resp_next(&resp, &channel) || dgf_resp_next(&resp, &key))
        return;
    take_event(link->node, channel.bytes, key.bytes);
}

static void on_subscriber_up(struct dgf_redis_link *link)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(link->source);
    struct dgf_redis_command command = {.on_item = on_message, .keep = true};
    char channel[256];

    for (size_t i = 0; i < conf->events.n; i++) {
        (void)snprintf(channel, sizeof(channel), "__keyevent@%u__:%s",
                       link->source->address.db, conf->events.list[i]);
        dgf_redis_link_send(
            link, command,
            (struct dgf_bytes[]){DGF_BYTES("SUBSCRIBE"), dgf_bytes_str(channel)}, 2);
    }
    link->node->keys->subscribed = true;
    dgf_redis_link_flush(link);
}

/* ---- samples ---- */

static void emit_sample(struct dgf_redis_node *node,
                        const struct dgf_redis_sample *sample)
{
    struct dgf_redis_source *self = node->source;
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_event_meta meta = dgf_redis_keys_meta(self);
    struct dgf_buf *buf;

    if (sample->ttl_ms == -2)
        return; /* gone meanwhile */
    meta.snapshot = true;
    dgf_event_begin(builder, node->keys->keyspace, DGF_KIND_CHANGE, DGF_OP_OBSERVE);
    dgf_redis_keys_put_key(builder, "key", dgf_buf_bytes(&sample->name));
    dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                  DGF_UNAVAILABLE_NOT_SENT);
    dgf_event_section(builder, DGF_SECTION_AFTER);
    dgf_redis_keys_put(builder, "key", dgf_buf_bytes(&sample->name));
    dgf_redis_keys_put(builder, "type", dgf_bytes_str(sample->type));
    buf = dgf_event_named(builder, DGF_BYTES("ttl_ms"));
    if (sample->ttl_ms < 0)
        dgf_mp_put_nil(buf); /* it stays for ever */
    else
        dgf_mp_put_int(buf, sample->ttl_ms);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("bytes")), sample->bytes);
    dgf_event_section_end(builder);
    dgf_redis_keys_emit(self, &meta, "sample");
}

static void go_on_sampling(struct dgf_redis_node *node);

/* TYPE, PTTL and MEMORY USAGE of one key, in this order. */
static void on_fact(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_keys *keys = link->node->keys;
    struct dgf_redis_sample *sample = &keys->samples[command->arg / 3];
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token token = {.kind = DGF_RESP_NIL};

    if (dgf_redis_error_is(item, "NOPERM")) {
        dgf_redis_fail(link->source, DGF_BAD_CONFIG,
                       "cannot look at keys: grant +type +pttl +memory|usage +scan");
        return;
    }
    if (dgf_resp_next(&resp, &token))
        token = (struct dgf_resp_token){.kind = DGF_RESP_NIL};
    if (command->arg % 3 == 0)
        (void)snprintf(sample->type, sizeof(sample->type), "%.*s",
                       (int)(token.bytes.len < 20 ? token.bytes.len : 20),
                       token.bytes.ptr ? (const char *)token.bytes.ptr : "");
    else if (command->arg % 3 == 1)
        sample->ttl_ms = token.kind == DGF_RESP_INT ? token.number : -2;
    else
        sample->bytes = token.kind == DGF_RESP_INT ? token.number : 0;
    if (command->arg % 3 != 2)
        return;
    emit_sample(link->node, sample);
    if (++keys->n_done == keys->n_samples && !link->source->failed)
        go_on_sampling(link->node);
}

static void ask_keys(struct dgf_redis_node *node)
{
    struct dgf_redis_keys *keys = node->keys;

    for (size_t i = 0; i < keys->n_samples; i++) {
        struct dgf_redis_command command = {.on_item = on_fact, .arg = 3 * i};
        struct dgf_bytes name = dgf_buf_bytes(&keys->samples[i].name);

        dgf_redis_link_send(&node->data, command,
                            (struct dgf_bytes[]){DGF_BYTES("TYPE"), name}, 2);
        command.arg++;
        dgf_redis_link_send(&node->data, command,
                            (struct dgf_bytes[]){DGF_BYTES("PTTL"), name}, 2);
        command.arg++;
        dgf_redis_link_send(
            &node->data, command,
            (struct dgf_bytes[]){DGF_BYTES("MEMORY"), DGF_BYTES("USAGE"), name}, 3);
    }
    dgf_redis_link_flush(&node->data);
}

static void on_scan(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_keys *keys = link->node->keys;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, cursor, names, name;

    (void)command;
    keys->n_samples = keys->n_done = 0;
    if (dgf_redis_error_is(item, "NOPERM")) {
        dgf_redis_fail(link->source, DGF_BAD_CONFIG,
                       "cannot look at keys: grant +type +pttl +memory|usage +scan");
        return;
    }
    if (dgf_resp_next(&resp, &head) || dgf_resp_next(&resp, &cursor) ||
        !dgf_parse_u64(cursor.bytes, &keys->cursor) || dgf_resp_next(&resp, &names) ||
        names.kind != DGF_RESP_ARRAY) {
        dgf_redis_fail(link->source, DGF_RETRY,
                       "the answer to SCAN cannot be understood");
        return;
    }
    for (int64_t i = 0; i < names.number; i++) {
        struct dgf_redis_sample *sample = &keys->samples[keys->n_samples];

        if (keys->n_samples == DGF_ARRAY_LEN(keys->samples) ||
            dgf_resp_next(&resp, &name))
            break;
        if (name.bytes.len > DGF_REDIS_NAME_MAX)
            name.bytes.len = DGF_REDIS_NAME_MAX;
        dgf_buf_clear(&sample->name);
        dgf_buf_add_bytes(&sample->name, name.bytes);
        keys->n_samples++;
    }
    keys->left -= (int64_t)keys->n_samples;
    if (keys->n_samples)
        ask_keys(link->node);
    else
        go_on_sampling(link->node);
}

static void go_on_sampling(struct dgf_redis_node *node)
{
    struct dgf_redis_command command = {.on_item = on_scan};
    struct dgf_redis_keys *keys = node->keys;
    char cursor[24];

    if (keys->left <= 0 || (keys->sampling && keys->cursor == 0)) {
        keys->sampling = false; /* the budget, or the last key */
        return;
    }
    keys->sampling = true;
    (void)snprintf(cursor, sizeof(cursor), "%llu", (unsigned long long)keys->cursor);
    dgf_redis_link_send(&node->data, command,
                        (struct dgf_bytes[]){DGF_BYTES("SCAN"), dgf_bytes_str(cursor),
                                             DGF_BYTES("COUNT"), DGF_BYTES("100")},
                        4);
    dgf_redis_link_flush(&node->data);
}

/* ---- life ---- */

static void emit_resume(struct dgf_redis_source *self)
{
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_event_meta meta = dgf_redis_keys_meta(self);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf since = {0};

    dgf_buf_init(&since, 4096);
    dgf_redis_position_text(meta.position, &since);
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_redis_keys_put(builder, "since", dgf_buf_bytes(&since));
    dgf_redis_keys_put(
        builder, "message",
        DGF_BYTES("listening; what happened while nobody listened is unknown"));
    dgf_event_section_end(builder);
    dgf_redis_keys_emit(self, &meta, "resume");
}

/* Redis sends nothing unless it is told to; that is the administrator's to do. */
static void on_notify(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, name, value = {.kind = DGF_RESP_NIL};
    bool quiet = false;

    (void)command;
    if (dgf_resp_next(&resp, &head) == DGF_OK && head.kind == DGF_RESP_ARRAY &&
        head.number == 2 && dgf_resp_next(&resp, &name) == DGF_OK &&
        dgf_resp_next(&resp, &value) == DGF_OK)
        quiet = !memchr(value.bytes.len ? value.bytes.ptr : (const uint8_t *)"", 'E',
                        value.bytes.len);
    if (quiet)
        dgf_source_state(&self->base, DGF_STATE_STREAMING,
                         "the server sends no keyspace events; run CONFIG SET "
                         "notify-keyspace-events Exeg$");
    else
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "keys, settings and users");
}

void dgf_redis_keys_begin(struct dgf_redis_node *node)
{
    struct dgf_redis_source *self = node->source;
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);
    struct dgf_redis_command command = {.on_item = on_notify};
    struct dgf_redis_keys *keys = dgf_calloc(1, sizeof(*keys));

    node->keys = keys;
    if (!keys ||
        dgf_object_new("redis", NULL, NULL, "keyspace", NULL, 0, 1, &keys->keyspace) ||
        dgf_object_new("redis", NULL, NULL, "settings", NULL, 0, 1, &keys->setting) ||
        dgf_object_new("redis", NULL, NULL, "users", NULL, 0, 1, &keys->user)) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(keys->samples); i++)
        dgf_buf_init(&keys->samples[i].name, 4096);
    if (!self->streaming) {
        self->streaming = self->caught_up = true;
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "keys, settings and users");
        emit_resume(self);
        dgf_source_caught_up(&self->base);
    }
    if (conf->events.n && !self->failed) {
        dgf_redis_link_send(&node->data, command,
                            (struct dgf_bytes[]){DGF_BYTES("CONFIG"), DGF_BYTES("GET"),
                                                 DGF_BYTES("notify-keyspace-events")},
                            3);
        dgf_redis_link_flush(&node->data);
        dgf_redis_link_connect(&node->wait, on_subscriber_up);
    }
}

void dgf_redis_keys_tick(struct dgf_redis_source *self, int64_t now_ns)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);

    for (size_t i = 0; i < self->n_nodes && !self->failed; i++) {
        struct dgf_redis_node *node = self->nodes[i];
        struct dgf_redis_keys *keys = node->keys;

        if (!keys || !node->data.up)
            continue;
        if (keys->subscribed && now_ns - keys->pinged_ns >= PING_NS) {
            struct dgf_redis_command command = {.on_item = on_message, .keep = true};

            keys->pinged_ns = now_ns; /* else silence would look like a dead server */
            dgf_redis_link_send(&node->wait, command,
                                (struct dgf_bytes[]){DGF_BYTES("PING")}, 1);
            dgf_redis_link_flush(&node->wait);
        }
        if (!keys->inspecting &&
            (!keys->inspected_ns || now_ns - keys->inspected_ns >= conf->inspect_ns)) {
            keys->inspected_ns = now_ns;
            dgf_redis_keys_inspect(node);
        }
        if (!keys->sampling && conf->sample_keys &&
            (!keys->sampled_ns || now_ns - keys->sampled_ns >= conf->sample_ns)) {
            keys->sampled_ns = now_ns;
            keys->left = conf->sample_keys;
            go_on_sampling(node);
        }
    }
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    struct dgf_redis_address address = {0};
    struct dgf_err err;

    if (!((const struct dgf_redis_conf *)ptr)->url)
        return;
    if (dgf_redis_address_read(ptr, &address, &err)) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0631", mark, NULL, "%s: %s",
                         what, err.text);
        dgf_findings_about(findings, "url");
    }
    dgf_redis_address_release(&address);
}

static enum dgf_rc keys_open(struct dgf_source *src, struct dgf_bytes position,
                             struct dgf_err *err)
{
    (void)position;
    return dgf_redis_open(src, err);
}

static void keys_durable(struct dgf_source *src, uint64_t seq)
{
    (void)src;
    (void)seq;
}

static unsigned keys_gives(struct dgf_source *src, const struct dgf_object *object)
{
    (void)src;
    (void)object;
    return DGF_GIVES_KEY | DGF_GIVES_AFTER | DGF_GIVES_DELETES;
}

const struct dgf_source_type dgf_source_redis_keys = {
    .name = "redis_keys",
    .summary = "Redis 7 and later, Valkey: keys, settings and users, best effort",
    .guarantee = DGF_GUARANTEE_PARTIAL,
    .opts = opts,
    .conf_size = sizeof(struct dgf_redis_conf),
    .self_size = sizeof(struct dgf_redis_source),
    .validate = validate,
    .check = dgf_redis_check,
    .open = keys_open,
    .pause = dgf_redis_pause,
    .resume = dgf_redis_resume,
    .durable = keys_durable,
    .close = dgf_redis_close,
    .position_text = dgf_redis_position_text,
    .gives = keys_gives,
};
