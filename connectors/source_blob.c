/* source_blob.c - events of Azure Blob Storage: notices in a queue, the change feed, or
 * both. */
#include "source_blob.h"

#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"

#define TICK_MS 50
#define MEMORY_MAX 65536

#define AT(f) offsetof(struct dgf_blobs_conf, f)
static const struct dgf_opt look_opts[] = {
    {"max_bytes", DGF_OPT_SIZE, AT(look.max_bytes) - AT(look), 0, "0", "0", "8MiB",
     "Contents up to this size are read into after.content of a create or replace, so "
     "that policies can scan them. 0: none"},
    {"rate", DGF_OPT_INT, AT(look.rate) - AT(look), 0, "50", "1", "10000",
     "Most contents read in a second; beyond it after.content is unknown"},
    DGF_OPT_END};

static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_STR, AT(url), DGF_REQUIRED | DGF_ADDRESS,
     .help = "Address of the account's blobs",
     .example = "https://acct.blob.core.windows.net"},
    {"queue", DGF_OPT_STR, AT(queue), DGF_ADDRESS,
     .help = "Address of the Storage queue that Event Grid writes to",
     .example = "https://acct.queue.core.windows.net/events"},
    {"feed", DGF_OPT_BOOL, AT(feed), DGF_DECIDES, "false",
     .help =
         "Read the account's change feed: complete, minutes later. With queue, each "
         "hour of the feed is compared with what the queue brought"},
    {"dead_letters", DGF_OPT_STR, AT(dead_letters), 0,
     .help = "Container of this account into which Event Grid puts what it could not "
             "deliver to the queue: read too, never changed",
     .example = "dead-letters"},
    {"start", DGF_OPT_STR, AT(start), 0, "now",
     .help =
         "Where the change feed begins when nobody knows it yet: now, beginning, or a "
         "time"},
    {"containers", DGF_OPT_STR_LIST, AT(containers), 0,
     .help = "Containers to judge, * for any characters. Default: all",
     .example = "[media, \"team-*\"]"},
    DGF_AZURE_STORAGE_OPTS(struct dgf_blobs_conf, auth),
    {"look", DGF_OPT_GROUP, AT(look), 0, .help = "The content of blobs",
     .group = look_opts},
    {"max_dequeues", DGF_OPT_INT, AT(max_dequeues), 0, "5", "2", "1000",
     "A message that was handed out more often without being judged is recorded as "
     "undecodable and deleted"},
    {"visibility", DGF_OPT_DURATION, AT(visibility_ns), 0, "60s", "2s", "1d",
     "How long a message is hidden from others at a time; renewed at half of it"},
    {"poll", DGF_OPT_DURATION, AT(poll_ns), 0, "1s", "20ms", "5m",
     "How often an empty queue is asked"},
    {"feed_poll", DGF_OPT_DURATION, AT(feed_poll_ns), 0, "1m", "20ms", "1h",
     "How often the change feed is asked for another hour, and dead letters for more"},
    {"inspect", DGF_OPT_DURATION, AT(inspect_ns), 0, "5m", "1s", "1d",
     "How often containers and properties of the account are compared"},
    {"timeout", DGF_OPT_DURATION, AT(timeout_ns), 0, "30s", "1s", "5m",
     "Longest time of one request"},
    DGF_OPT_END};

/* ---- configuration ---- */

static void wrong(struct dgf_findings *findings, struct dgf_mark mark, const char *what,
                  const char *option, const char *text)
{
    dgf_findings_add(findings, DGF_FINDING_ERROR, "E0650", mark, NULL, "%s: '%s' %s",
                     what, option, text);
    dgf_findings_about(findings, "%s", option);
}

static bool is_container(const char *name)
{
    size_t len = strlen(name);

    return len >= 3 && len <= 63 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    const struct dgf_blobs_conf *conf = ptr;
    const struct dgf_azure_address addresses[] = {
        {"url", conf->url, DGF_AZURE_BLOB, false},
        {"queue", conf->queue, DGF_AZURE_QUEUE, true},
    };
    DGF_CLEANUP(dgf_free) char *base = NULL;
    DGF_CLEANUP(dgf_free) char *name = NULL;
    size_t n_before = findings->n_errors;
    struct dgf_err err;
    int64_t time;

    if (!conf->url)
        return;
    dgf_azure_validate(&conf->auth, addresses, DGF_ARRAY_LEN(addresses), what, mark,
                       findings);
    if (!conf->queue && !conf->feed)
        wrong(findings, mark, what, "queue",
              "and 'feed' are both missing; give the queue Event Grid writes to, or "
              "feed: true");
    if (conf->queue && findings->n_errors == n_before &&
        dgf_azure_container_url(conf->queue, &base, &name, &err))
        wrong(findings, mark, what, "queue",
              "must be https://ACCOUNT.queue.core.windows.net/QUEUE");
    if (conf->start && strcmp(conf->start, "now") != 0 &&
        strcmp(conf->start, "beginning") != 0 &&
        !dgf_parse_time(dgf_bytes_str(conf->start), &time))
        wrong(findings, mark, what, "start",
              "must be now, beginning, or a time like 2026-03-02T00:00:00Z");
    if (conf->dead_letters && !conf->queue)
        wrong(findings, mark, what, "dead_letters",
              "needs 'queue': they are what did not get there");
    if (conf->dead_letters && !is_container(conf->dead_letters))
        wrong(findings, mark, what, "dead_letters", "must be the name of a container");
    for (size_t i = 0; i < conf->containers.n; i++)
        if (!conf->containers.list[i][0] || strlen(conf->containers.list[i]) > 63) {
            wrong(findings, mark, what, "containers", "holds a name that is none");
            dgf_findings_about(findings, "containers[%zu]", i);
        }
}

static bool matches(const char *pattern, const uint8_t *at, const uint8_t *end)
{
    for (; *pattern; pattern++, at++) {
        if (*pattern == '*') {
            for (const uint8_t *rest = at; rest <= end; rest++)
                if (matches(pattern + 1, rest, end))
                    return true;
            return false;
        }
        if (at == end || *at != (uint8_t)*pattern)
            return false;
    }
    return at == end;
}

bool dgf_blobs_container_wanted(const struct dgf_blobs_conf *conf,
                                struct dgf_bytes name)
{
    bool wanted = conf->containers.n == 0;

    for (size_t i = 0; i < conf->containers.n && !wanted; i++)
        wanted = matches(conf->containers.list[i], name.ptr, name.ptr + name.len);
    return wanted;
}

/* ---- clients ---- */

bool dgf_blobs_ask(struct dgf_blobs_source *self, struct dgf_azure_rest *rest,
                   const struct dgf_azure_ask *ask)
{
    struct dgf_err err = {0};
    enum dgf_rc rc = dgf_azure_rest_ask(rest, ask, &err);

    if (!rc)
        return true;
    dgf_blobs_fail(self, rc == DGF_NOMEM ? DGF_RETRY : rc, "%s", err.text);
    return false;
}

/* acct of https://acct.blob..., or of http://127.0.0.1:10000/acct. */
static bool take_account(struct dgf_blobs_source *self)
{
    const struct dgf_blobs_conf *conf = self->base.conf;
    const char *host = strstr(conf->url, "://"), *from, *end;

    if (conf->auth.account) {
        (void)snprintf(self->account, sizeof(self->account), "%s", conf->auth.account);
        return self->account[0];
    }
    host = host ? host + 3 : conf->url;
    from = strchr(host, '/');
    from = from && from[1] ? from + 1 : host;
    end = from + strcspn(from, from == host ? ".:/" : "/");
    (void)snprintf(self->account, sizeof(self->account), "%.*s", (int)(end - from),
                   from);
    return self->account[0];
}

enum dgf_rc dgf_blobs_make_clients(struct dgf_blobs_source *self, struct dgf_err *err)
{
    const struct dgf_blobs_conf *conf = self->base.conf;
    struct dgf_azure_rest_conf rest = {.base_url = conf->url,
                                       .service = DGF_AZURE_BLOB,
                                       .auth = &conf->auth,
                                       .timeout_ms = conf->timeout_ns / 1000000};
    enum dgf_rc rc;

    if (!take_account(self))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "'url' names no account: set 'account'");
    rc = dgf_azure_rest_new(self->base.loop, &rest, &self->blob_rest, err);
    if (rc || !conf->queue)
        return rc;
    rc =
        dgf_azure_container_url(conf->queue, &self->queue_base, &self->queue_name, err);
    if (rc)
        return dgf_err_prefix(err, "'queue'");
    rest.base_url = self->queue_base;
    rest.service = DGF_AZURE_QUEUE;
    return dgf_azure_rest_new(self->base.loop, &rest, &self->queue_rest, err);
}

void dgf_blobs_free_clients(struct dgf_blobs_source *self)
{
    dgf_azure_rest_free(self->blob_rest);
    dgf_azure_rest_free(self->queue_rest);
    dgf_free(self->queue_base);
    dgf_free(self->queue_name);
    self->blob_rest = self->queue_rest = NULL;
    self->queue_base = self->queue_name = NULL;
}

/* ---- life ---- */

static void free_object(void *object)
{
    dgf_object_unref(object);
}

static void blob_close(struct dgf_source *src)
{
    struct dgf_blobs_source *self = (struct dgf_blobs_source *)src;

    if (!self->is_open)
        return;
    self->is_open = false;
    /* First what calls us; then nothing is under way any more. */
    dgf_blobs_free_clients(self);
    dgf_blobs_items_release(self);
    dgf_blobs_queue_release(self);
    dgf_blobs_dead_release(self);
    dgf_blobs_feed_release(self);
    dgf_blobs_inspect_release(self);
    dgf_map_release(&self->objects, free_object);
    dgf_blob_seen_release(&self->seen);
    dgf_event_builder_release(&self->builder);
    dgf_buf_release(&self->scratch);
    dgf_buf_release(&self->scratch2);
    if (self->tick)
        event_free(self->tick);
    if (self->again)
        event_free(self->again);
    self->tick = self->again = NULL;
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_blobs_source *self = ctx;
    int64_t now = dgf_clock_mono_ns();

    (void)fd;
    (void)what;
    if (self->failed)
        return;
    if (self->queue.on)
        dgf_blobs_queue_tick(self, now);
    if (self->feed.on && !dgf_blobs_stopped(self))
        dgf_blobs_feed_tick(self, now);
    if (!dgf_blobs_stopped(self))
        dgf_blobs_inspect_tick(self, now);
    dgf_blobs_pump(self);
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    dgf_blobs_pump(ctx);
}

static enum dgf_rc load_seen(struct dgf_blobs_source *self, struct dgf_err *err)
{
    char key[48];

    for (uint64_t at = self->memory.first_bucket; at < self->memory.end_bucket; at++) {
        enum dgf_rc rc;

        dgf_buf_clear(&self->scratch2);
        (void)snprintf(key, sizeof(key), "seen/%u",
                       (unsigned)(at % DGF_BLOB_BUCKETS_MAX));
        rc = dgf_source_get_state(&self->base, dgf_bytes_str(key), &self->scratch2);
        if (!rc)
            rc = dgf_blob_seen_load(&self->seen, at, dgf_buf_bytes(&self->scratch2));
        if (rc)
            return dgf_err_set(err, rc == DGF_NOMEM ? DGF_RETRY : DGF_FATAL,
                               "what is remembered of judged events cannot be read");
    }
    return DGF_OK;
}

/* `start` says where a feed nobody knows begins. */
static void begin_feed(struct dgf_blobs_source *self)
{
    const char *start = DGF_BLOB_CONF(self)->start;
    int64_t from = self->base.known ? dgf_clock_ns() : self->memory.since_ns;

    if (start && strcmp(start, "beginning") == 0)
        from = 0;
    else if (start && strcmp(start, "now") != 0)
        (void)dgf_parse_time(dgf_bytes_str(start), &from);
    self->memory.feed_begun = true;
    self->memory.from_ns = from;
    self->dirty = true;
}

static enum dgf_rc remember(struct dgf_blobs_source *self, bool *ret_fresh,
                            struct dgf_err *err)
{
    enum dgf_rc rc;

    dgf_buf_clear(&self->scratch2);
    rc = dgf_source_get_state(&self->base, DGF_BYTES("memory"), &self->scratch2);
    *ret_fresh = rc == DGF_AGAIN;
    if (rc == DGF_OK)
        rc = dgf_blob_memory_get(dgf_buf_bytes(&self->scratch2), &self->memory);
    else if (rc == DGF_AGAIN)
        rc = DGF_OK;
    if (rc)
        return dgf_err_set(err, DGF_FATAL, "what is remembered cannot be read");
    if (*ret_fresh)
        return DGF_OK;
    return load_seen(self, err);
}

static bool begin_memory(struct dgf_blobs_source *self, bool fresh)
{
    bool other = !fresh && strcmp(self->memory.account, self->account) != 0;
    bool lost = fresh && self->base.known;

    if (fresh || other) {
        DGF_RELEASE(dgf_buf_release) struct dgf_buf from = {0};

        dgf_buf_init(&from, 512);
        if (other)
            dgf_blobs_position_text(self, self->memory.feed_begun, &from);
        dgf_blob_seen_release(&self->seen);
        self->memory = (struct dgf_blob_memory){.since_ns = dgf_clock_ns()};
        (void)snprintf(self->memory.account, sizeof(self->memory.account), "%s",
                       self->account);
        self->dirty = true;
        if (self->feed.on)
            begin_feed(self);
        if (other && !dgf_blobs_emit_gap(
                         self, DGF_GAP_SYSTEM_CHANGED, dgf_buf_str(&from), "queue",
                         false, "another storage account stands at that name", NULL, 0))
            return false;
        if (lost &&
            !dgf_blobs_emit_gap(self, DGF_GAP_STATE_LOST, NULL, "queue", false,
                                "what was remembered of the account is gone", NULL, 0))
            return false;
        return dgf_blobs_emit_resume(self);
    }
    if (self->feed.on && !self->memory.feed_begun)
        begin_feed(self);
    return true;
}

static bool make_session(struct dgf_blobs_source *self)
{
    struct timeval every = {0, TICK_MS * 1000L};

    dgf_map_init(&self->newest);
    dgf_map_init(&self->objects);
    dgf_blob_seen_init(&self->seen, DGF_BLOB_BUCKETS_MAX);
    self->items_end = &self->items;
    self->messages_end = &self->messages;
    dgf_event_builder_init(&self->builder, self->base.max_event_bytes
                                               ? self->base.max_event_bytes
                                               : (size_t)16 << 20);
    dgf_buf_init(&self->scratch, MEMORY_MAX);
    dgf_buf_init(&self->scratch2, MEMORY_MAX);
    dgf_buf_init(&self->reader.window, DGF_AVRO_BLOCK_MAX + (1u << 20));
    dgf_buf_init(&self->reader.value, 1u << 20);
    self->tick = event_new(self->base.loop, -1, EV_PERSIST, on_tick, self);
    self->again = event_new(self->base.loop, -1, 0, on_again, self);
    return self->tick && self->again && event_add(self->tick, &every) == 0;
}

static enum dgf_rc start(struct dgf_blobs_source *self, struct dgf_err *err)
{
    const struct dgf_blobs_conf *conf = self->base.conf;
    enum dgf_rc rc;
    bool fresh;

    if (!make_session(self))
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    self->queue = (struct dgf_blobs_way){.what = "queue", .on = conf->queue != NULL};
    self->feed = (struct dgf_blobs_way){.what = "change feed", .on = conf->feed};
    rc = dgf_blobs_make_clients(self, err);
    if (!rc)
        rc = remember(self, &fresh, err);
    if (rc)
        return rc;
    if (begin_memory(self, fresh)) {
        rc = dgf_blobs_dead_start(self, err);
        if (rc)
            return rc;
        dgf_blobs_settle(self);
    }
    event_active(self->again, EV_TIMEOUT, 0);
    return DGF_OK;
}

static enum dgf_rc blob_open(struct dgf_source *src, struct dgf_bytes position,
                             struct dgf_err *err)
{
    struct dgf_blobs_source *self = (struct dgf_blobs_source *)src;
    struct dgf_blobs_source kept = {.durable_seq = self->durable_seq,
                                    .queue_missing = self->queue_missing,
                                    .n_undecodable = self->n_undecodable,
                                    .dead.n_judged = self->dead.n_judged,
                                    .inspected_ns = self->inspected_ns};
    enum dgf_rc rc;

    (void)position; /* what is remembered says more */
    memcpy(kept.last_undecodable, self->last_undecodable,
           sizeof(kept.last_undecodable));
    blob_close(src);
    kept.base = *src;
    *self = kept;
    self->is_open = true;
    rc = start(self, err);
    if (rc)
        blob_close(src);
    return rc;
}

static void blob_pause(struct dgf_source *src)
{
    ((struct dgf_blobs_source *)src)->paused = true;
}

static void blob_resume(struct dgf_source *src)
{
    struct dgf_blobs_source *self = (struct dgf_blobs_source *)src;

    self->paused = self->blocked = false;
    if (self->is_open && !self->failed)
        event_active(self->again, EV_TIMEOUT, 0);
}

static void blob_durable(struct dgf_source *src, uint64_t seq)
{
    struct dgf_blobs_source *self = (struct dgf_blobs_source *)src;

    if (seq > self->durable_seq)
        self->durable_seq = seq;
    if (self->is_open && !self->failed)
        dgf_blobs_queue_durable(self);
}

/* Positions are texts. */
static void position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    if (dgf_utf8_valid(position))
        dgf_buf_add_bytes(out, position);
}

static unsigned blob_gives(struct dgf_source *src, const struct dgf_object *object)
{
    const struct dgf_blobs_conf *conf = src->conf;

    (void)object;
    return DGF_GIVES_AFTER | DGF_GIVES_DELETES | DGF_GIVES_KEY |
           (conf->feed ? DGF_GIVES_EVERY_VERSION : 0);
}

/* Event Grid gives up on what it cannot deliver in a day, and nobody sees that here. */
static enum dgf_guarantee blob_guarantee(const void *ptr)
{
    const struct dgf_blobs_conf *conf = ptr;

    return conf->feed ? DGF_GUARANTEE_EXACTLY_ONCE : DGF_GUARANTEE_PARTIAL;
}

const struct dgf_source_type dgf_source_blob = {
    .name = "blob",
    .summary = "Azure Blob Storage: Event Grid notices in a queue, the change feed",
    .aliases = "blobstorage",
    .guarantee = DGF_GUARANTEE_PARTIAL,
    .guarantee_of = blob_guarantee,
    .opts = opts,
    .conf_size = sizeof(struct dgf_blobs_conf),
    .self_size = sizeof(struct dgf_blobs_source),
    .validate = validate,
    .check = dgf_blobs_check,
    .open = blob_open,
    .pause = blob_pause,
    .resume = blob_resume,
    .durable = blob_durable,
    .close = blob_close,
    .position_text = position_text,
    .gives = blob_gives,
};
