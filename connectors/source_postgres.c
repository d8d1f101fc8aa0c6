/* source_postgres.c - PostgreSQL through logical decoding with pgoutput. */
#include "source_postgres.h"

#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"

#define AT(f) offsetof(struct dgf_pg_conf, f)
static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_SECRET_STR, AT(url), DGF_REQUIRED | DGF_SECRET | DGF_ADDRESS,
     .help =
         "Address as libpq reads it. Without insecure: true, sslmode is verify-full",
     .example = "postgresql://dgf@db.example.org/app"},
    {"password", DGF_OPT_SECRET_STR, AT(password), DGF_SECRET,
     .help = "Password, when it does not stand in url",
     .example = "${file:/run/secrets/pg}"},
    {"tables", DGF_OPT_STR_LIST, AT(tables), 0,
     .help =
         "Which published tables are judged, as schema.table; * stays inside a part, "
         "** crosses. Default: all",
     .example = "[shop.*, pay.transfers]"},
    {"slot_name", DGF_OPT_STR, AT(slot_name), 0,
     .help = "Replication slot. Default: dgf_<source>"},
    {"publication", DGF_OPT_STR, AT(publication), 0, "dgf",
     .help = "Publication to read"},
    {"slot", DGF_OPT_ENUM, AT(slot), 0, "create",
     .help = "Create the slot when it is missing, or demand that it exists",
     .words = "create|existing"},
    {"manage", DGF_OPT_BOOL, AT(manage), 0, "false",
     .help = "Create the publication when it is missing"},
    {"start", DGF_OPT_ENUM, AT(start), 0, "now",
     .help = "Where a source nobody knows yet begins", .words = "now"},
    {"status_interval", DGF_OPT_DURATION, AT(status_interval_ns), 0, "10s", "1s", "60s",
     "Longest time between two answers to the server. It drops us at wal_sender_timeout"},
    {"connect_timeout", DGF_OPT_DURATION, AT(connect_timeout_ns), 0, "10s", "1s", "5m",
     "Longest time of one attempt to connect"},
    {"inspect", DGF_OPT_DURATION, AT(inspect_ns), 0, "5m", "1s", "1d",
     "How often the publication's tables are looked at"},
    {"insecure", DGF_OPT_BOOL, AT(insecure), DGF_DECIDES, "false",
     .help = "Allow a connection that does not verify the server"},
    DGF_OPT_END};

static void add(struct dgf_findings *findings, struct dgf_mark mark, const char *option,
                const char *fmt, ...) DGF_PRINTF(4, 5);

static void add(struct dgf_findings *findings, struct dgf_mark mark, const char *option,
                const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(findings, DGF_FINDING_ERROR, "E0601", mark, NULL, "%s", text);
    dgf_findings_about(findings, "%s", option);
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    const struct dgf_pg_conf *conf = ptr;
    struct dgf_pg_params params;
    struct dgf_err err;

    if (!conf->url)
        return;
    if (dgf_pg_params_make(conf, false, &params, &err))
        add(findings, mark, "url", "%s: %s", what, err.text);
    else
        dgf_pg_params_release(&params);
    if (conf->slot_name &&
        (strlen(conf->slot_name) > 63 || !*conf->slot_name ||
         strspn(conf->slot_name, "abcdefghijklmnopqrstuvwxyz0123456789_") !=
             strlen(conf->slot_name)))
        add(findings, mark, "slot_name",
            "%s: slot_name '%s' must be 1 to 63 of a-z, 0-9 and _", what,
            conf->slot_name);
    for (size_t i = 0; i < conf->tables.n; i++)
        if (!strchr(conf->tables.list[i], '.') && !strstr(conf->tables.list[i], "**")) {
            add(findings, mark, "tables",
                "%s: '%s' in tables has no schema; write 'public.%s'", what,
                conf->tables.list[i], conf->tables.list[i]);
            dgf_findings_about(findings, "tables[%zu]", i);
        }
    if (!conf->insecure)
        return;
    dgf_findings_add(
        findings, DGF_FINDING_WARNING, "W0201", mark, NULL,
        "%s: insecure: true allows a connection that does not verify the server", what);
    dgf_findings_about(findings, "insecure");
}

/* What the ordinals of a transaction depend on. */
static uint64_t options_digest(const struct dgf_pg_conf *conf, const char *publication)
{
    struct dgf_id_hash hash;
    struct dgf_id id;
    uint64_t digest;

    dgf_id_begin(&hash, "postgres-options");
    dgf_id_add(&hash, dgf_bytes_str(publication));
    for (size_t i = 0; i < conf->tables.n; i++)
        dgf_id_add(&hash, dgf_bytes_str(conf->tables.list[i]));
    id = dgf_id_end(&hash);
    memcpy(&digest, id.b, sizeof(digest));
    return digest;
}

static void pg_close(struct dgf_source *src)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;
    struct event **events[] = {&self->tick, &self->retry, &self->slow, &self->again};

    if (!self->is_open)
        return;
    if (self->lookup) { /* its end frees it */
        self->lookup->source = NULL;
        dgf_job_cancel(&self->lookup->job);
        self->lookup = NULL;
    }
    dgf_pg_link_close(&self->wal);
    dgf_pg_link_close(&self->control);
    for (size_t i = 0; i < DGF_ARRAY_LEN(events); i++) {
        if (*events[i])
            event_free(*events[i]);
        *events[i] = NULL;
    }
    if (self->held)
        PQfreemem(self->held);
    self->held = NULL;
    dgf_pg_params_release(&self->params);
    dgf_pg_catalog_release(&self->catalog);
    dgf_event_builder_release(&self->builder);
    dgf_pg_actor_clear(&self->actor);
    dgf_free(self->message);
    dgf_free(self->unconfirmed);
    dgf_free(self->slot);
    dgf_free(self->publication);
    dgf_free(self->database);
    self->message = NULL;
    self->unconfirmed = NULL;
    self->slot = self->publication = self->database = NULL;
    self->is_open = false;
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    dgf_pg_stream_tick(ctx);
}

/* Everything of a session is zero; what outlives one is kept. */
static void begin_session(struct dgf_pg_source *self)
{
    struct dgf_source base = self->base;
    uint64_t version = self->version, durable_seq = self->durable_seq;
    uint64_t until_lsn = self->until_lsn;
    bool want_binary = self->want_binary;

    memset(self, 0, sizeof(*self));
    self->base = base;
    self->version = version;
    self->durable_seq = durable_seq;
    self->want_binary = want_binary;
    self->until_lsn = until_lsn;
    self->is_open = true;
    self->control = (struct dgf_pg_link){.source = self, .what = "connection"};
    self->wal = (struct dgf_pg_link){.source = self, .what = "replication connection"};
    dgf_pg_catalog_init(&self->catalog);
    dgf_event_builder_init(&self->builder,
                           base.max_event_bytes ? base.max_event_bytes : 16 << 20);
}

static void find_metrics(struct dgf_pg_source *self)
{
    char labels[256];

    (void)snprintf(labels, sizeof(labels), "source=\"%.200s\"", self->base.name);
    self->lag = dgf_metric_get(
        DGF_METRIC_GAUGE, "dgf_source_lag_bytes",
        "Bytes of the source's log that were received but not yet passed", labels);
    self->foreign =
        dgf_metric_get(DGF_METRIC_COUNTER, "dgf_source_foreign_messages_total",
                       "Logical messages of others", labels);
}

static enum dgf_rc pg_open(struct dgf_source *src, struct dgf_bytes position,
                           struct dgf_err *err)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;
    const struct dgf_pg_conf *conf = src->conf;
    struct timeval interval = {0, 250000};
    enum dgf_rc rc;

    pg_close(src);
    begin_session(self);
    if (position.len && !dgf_pg_position_read(position, &self->stored)) {
        pg_close(src);
        return dgf_err_set(
            err, DGF_FATAL,
            "cannot read the stored position of source '%s': %zu bytes of an "
            "unknown form",
            src->name, position.len);
    }
    self->has_stored = position.len > 0;
    self->publication = dgf_strdup(conf->publication);
    self->slot = dgf_pg_slot_name(conf, src->name);
    self->message = dgf_calloc(1, sizeof(*self->message));
    self->tick = event_new(src->loop, -1, EV_PERSIST, on_tick, self);
    if (!self->publication || !self->slot || !self->message || !self->tick ||
        event_add(self->tick, &interval)) {
        pg_close(src);
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    }
    self->options = options_digest(conf, self->publication);
    find_metrics(self);
    rc = dgf_pg_params_make(conf, false, &self->params, err);
    if (rc) {
        pg_close(src);
        return rc;
    }
    dgf_pg_start(self);
    return DGF_OK;
}

static void pg_pause(struct dgf_source *src)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;

    if (!self->is_open)
        return;
    self->paused = true;
    if (self->streaming && !self->failed) {
        (void)event_del(self->wal.read);
        (void)event_del(self->again);
    }
}

static void pg_resume(struct dgf_source *src)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;
    struct timeval now = {0, 0};

    if (!self->is_open)
        return;
    self->paused = self->blocked = false;
    self->heard_ns = dgf_clock_mono_ns();
    if (self->streaming && !self->failed)
        (void)event_add(self->again, &now);
}

static void pg_durable(struct dgf_source *src, uint64_t seq)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;

    if (seq > self->durable_seq)
        self->durable_seq = seq;
    if (!self->is_open || self->failed)
        return;
    while (self->n_unconfirmed &&
           self->unconfirmed[self->first_unconfirmed].seq <= seq) {
        uint64_t lsn = self->unconfirmed[self->first_unconfirmed].lsn;

        if (lsn > self->flush_lsn)
            self->flush_lsn = lsn;
        self->first_unconfirmed = (self->first_unconfirmed + 1) % self->cap_unconfirmed;
        self->n_unconfirmed--;
    }
    if (self->answer_seq && seq >= self->answer_seq) {
        self->answer_seq = 0;
        dgf_pg_stream_tell(self, false);
    }
    if (self->wait_seq && seq >= self->wait_seq)
        dgf_pg_start_slot_durable(self);
}

static unsigned pg_gives(struct dgf_source *src, const struct dgf_object *object)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;
    unsigned gives = DGF_GIVES_AFTER | DGF_GIVES_DELETES | DGF_GIVES_EVERY_VERSION |
                     DGF_GIVES_ACTOR | DGF_GIVES_KEY;
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&self->catalog.relations, &at))) {
        const struct dgf_pg_relation *relation = entry->value;

        if (relation->object == object && relation->identity == 'f')
            gives |= DGF_GIVES_BEFORE;
    }
    return gives;
}

static enum dgf_rc pg_until(struct dgf_source *src, const char *text,
                            struct dgf_err *err)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)src;
    struct dgf_pg_position position;

    if (!dgf_pg_position_parse(text, &position))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "'%s' is no position; one looks like 1/16/B374D848.0", text);
    if (position.ordinal)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "'%s' is inside a transaction; a position to end at ends "
                           "in .0",
                           text);
    self->until_lsn = position.end_lsn;
    return DGF_OK;
}

const struct dgf_source_type dgf_source_postgres = {
    .name = "postgres",
    .summary = "PostgreSQL 14 and later: logical decoding with pgoutput",
    .aliases = "postgresql",
    .guarantee = DGF_GUARANTEE_EXACTLY_ONCE,
    .opts = opts,
    .conf_size = sizeof(struct dgf_pg_conf),
    .self_size = sizeof(struct dgf_pg_source),
    .validate = validate,
    .check = dgf_pg_check,
    .open = pg_open,
    .pause = pg_pause,
    .resume = pg_resume,
    .durable = pg_durable,
    .close = pg_close,
    .position_text = dgf_pg_position_text,
    .gives = pg_gives,
    .until = pg_until,
};
