/* source_cosmos.c - Azure Cosmos DB (NoSQL) through its change feed. */
#include "source_cosmos.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"

#define TICK_MS 20
#define SAID_MAX 900 /* of what impairs us */

#define AT(f) offsetof(struct dgf_cosmos_conf, f)
static const struct dgf_opt poll_opts[] = {
    {"min", DGF_OPT_DURATION, AT(poll.min_ns) - AT(poll), 0, "100ms", "10ms", "1m",
     "Pause after a range was read to its end"},
    {"max", DGF_OPT_DURATION, AT(poll.max_ns) - AT(poll), 0, "5s", "10ms", "1h",
     "Longest pause: it doubles while nothing comes"},
    DGF_OPT_END};

static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_STR, AT(url), DGF_REQUIRED | DGF_ADDRESS,
     .help = "Address of the account", .example = "https://acct.documents.azure.com"},
    {"database", DGF_OPT_STR, AT(database), DGF_REQUIRED, .help = "Database",
     .example = "shop"},
    {"containers", DGF_OPT_STR_LIST, AT(containers), DGF_REQUIRED,
     .help = "Containers to read", .example = "[orders, customers]"},
    {"mode", DGF_OPT_ENUM, AT(mode), DGF_DECIDES, "latest_version",
     .help = "latest_version shows the newest state of each document and no delete; "
             "all_versions shows every change and delete, and needs continuous backup "
             "and a change feed policy of the container",
     .words = "latest_version|all_versions"},
    {"start", DGF_OPT_STR, AT(start), 0, "now",
     .help =
         "Where a container nobody knows yet begins: now, beginning, or a time like "
         "2030-01-31T00:00:00Z; all_versions knows only now"},
    {"auth", DGF_OPT_ENUM, AT(auth.how), DGF_DECIDES, "workload_identity",
     .help = "How requests prove who sends them", .words = DGF_AZURE_HOW_WORDS},
    DGF_AZURE_OPTS(struct dgf_cosmos_conf, auth),
    {"regions", DGF_OPT_STR_LIST, AT(regions), 0,
     .help = "Regions to read from, the preferred one first. Default: the account's "
             "address; others only when it cannot be used",
     .example = "[West Europe, North Europe]"},
    {"max_ru", DGF_OPT_INT, AT(max_ru), 0, "400", "10", "1000000",
     "Request units a second this source may use, over all containers"},
    {"max_items", DGF_OPT_INT, AT(max_items), 0, "100", "1", "1000",
     "Most documents asked for at once"},
    {"poll", DGF_OPT_GROUP, AT(poll), 0, .help = "How often a quiet range is asked",
     .group = poll_opts},
    {"timeout", DGF_OPT_DURATION, AT(timeout_ns), 0, "20s", "1s", "5m",
     "Longest time of one request"},
    {"inspect", DGF_OPT_DURATION, AT(inspect_ns), 0, "5m", "1s", "1d",
     "How often the properties of account and containers are looked at"},
    DGF_OPT_END};

static void wrong(struct dgf_findings *findings, struct dgf_mark mark, const char *what,
                  const char *option, const char *subject, const char *text)
{
    dgf_findings_add(findings, DGF_FINDING_ERROR, "E0641", mark, NULL, "%s: '%s' %s",
                     what, subject, text);
    dgf_findings_about(findings, "%s", option);
}

static bool name_is_good(const char *name)
{
    return *name && strlen(name) <= 255 && !strpbrk(name, "/\\#?");
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    const struct dgf_cosmos_conf *conf = ptr;
    bool word = conf->start &&
                (!strcmp(conf->start, "now") || !strcmp(conf->start, "beginning"));
    const struct dgf_azure_address url = {"url", conf->url, DGF_AZURE_COSMOS, false};
    char option[48];
    int64_t ns;

    dgf_azure_validate(&conf->auth, &url, 1, what, mark, findings);
    if (conf->database && !name_is_good(conf->database))
        wrong(findings, mark, what, "database", conf->database,
              "is no name of a database");
    if (conf->containers.n > DGF_COSMOS_CONTAINERS_MAX)
        wrong(findings, mark, what, "containers", "containers",
              "may have 64; make another source");
    for (size_t i = 0; i < conf->containers.n; i++) {
        (void)snprintf(option, sizeof(option), "containers[%zu]", i);
        if (!name_is_good(conf->containers.list[i]))
            wrong(findings, mark, what, option, conf->containers.list[i],
                  "is no name of a container");
        for (size_t j = 0; j < i; j++)
            if (!strcmp(conf->containers.list[i], conf->containers.list[j]))
                wrong(findings, mark, what, option, conf->containers.list[i],
                      "stands twice in containers");
    }
    if (conf->start && !word && !dgf_parse_time(dgf_bytes_str(conf->start), &ns))
        wrong(findings, mark, what, "start", conf->start,
              "in start is none of now, beginning, and a time like "
              "2030-01-31T00:00:00Z");
    else if (conf->start && conf->mode == DGF_COSMOS_ALL && strcmp(conf->start, "now"))
        wrong(findings, mark, what, "start", conf->start,
              "in start: with mode: all_versions the service begins only now");
    if (conf->poll.min_ns > conf->poll.max_ns)
        wrong(findings, mark, what, "poll.min", "poll.min", "is longer than poll.max");
}

/* ---- what is said ---- */

void dgf_cosmos_fail(struct dgf_cosmos_source *self, enum dgf_rc rc, const char *fmt,
                     ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failed)
        return;
    self->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_source_fail(&self->base, rc, "%s", text);
}

int64_t dgf_cosmos_backoff_ns(unsigned n_failures)
{
    int64_t ns = 200 * DGF_COSMOS_MS << (n_failures < 5 ? n_failures : 5);
    uint16_t jitter;

    dgf_random(&jitter, sizeof(jitter));
    return ns - ns / 2 * jitter / UINT16_MAX;
}

static void say_skew(const struct dgf_cosmos_source *self, struct dgf_buf *out)
{
    int64_t skew = self->link.skew_ns;

    if (!skew)
        return;
    dgf_buf_add_str(out, "the clock of this machine is ");
    dgf_format_duration(out, (skew < 0 ? -skew : skew) / DGF_COSMOS_SECOND *
                                 DGF_COSMOS_SECOND);
    dgf_buf_addf(out, " %s that of '%s'; requests carry the server's time",
                 skew < 0 ? "ahead of" : "behind", dgf_cosmos_link_where(&self->link));
}

static void add_part(struct dgf_buf *out, const char *text, const char *name)
{
    if (out->len)
        dgf_buf_add_str(out, "; ");
    dgf_buf_addf(out, "container '%s' %s", name, text);
}

bool dgf_cosmos_another_reads(const struct dgf_cosmos_source *self,
                              const struct dgf_cosmos_container *container,
                              const struct dgf_cosmos_range *range)
{
    for (size_t i = 0; i < self->n_containers; i++) {
        const struct dgf_cosmos_container *c = &self->containers[i];

        if (c->phase != DGF_COSMOS_STARTED || c->missing || c->stale ||
            (c == container && !range))
            continue;
        for (size_t r = 0; r < c->n_ranges; r++)
            if (c->ranges[r] != range && c->ranges[r]->n_failures < DGF_COSMOS_TRIES)
                return true;
    }
    return false;
}

bool dgf_cosmos_in_trouble(const struct dgf_cosmos_container *container)
{
    for (size_t r = 0; r < container->n_ranges; r++)
        if (container->ranges[r]->n_failures >= DGF_COSMOS_TRIES)
            return true;
    return container->n_failures >= DGF_COSMOS_TRIES ||
           container->n_stale > DGF_COSMOS_TRIES;
}

/* As many as fit; the others will be said when these are over. */
static void add_trouble(struct dgf_buf *out, const char *text)
{
    if (!text[0] || out->len + strlen(text) + 200 > SAID_MAX)
        return;
    if (out->len)
        dgf_buf_add_str(out, "; ");
    dgf_buf_add_str(out, text);
}

static void say_trouble(const struct dgf_cosmos_container *c, struct dgf_buf *out)
{
    if (!dgf_cosmos_in_trouble(c))
        return;
    if (c->n_failures >= DGF_COSMOS_TRIES || c->n_stale > DGF_COSMOS_TRIES)
        add_trouble(out, c->trouble);
    for (size_t r = 0; r < c->n_ranges; r++)
        if (c->ranges[r]->n_failures >= DGF_COSMOS_TRIES)
            add_trouble(out, c->ranges[r]->trouble);
}

void dgf_cosmos_say(struct dgf_cosmos_source *self)
{
    int64_t now = dgf_clock_mono_ns();
    struct dgf_buf text;

    if (self->failed)
        return;
    dgf_buf_init(&text, SAID_MAX);
    say_skew(self, &text);
    for (size_t i = 0; i < self->n_containers; i++) {
        const struct dgf_cosmos_container *c = &self->containers[i];
        bool throttled = false;

        if (c->missing)
            add_part(&text, "does not exist", c->name);
        say_trouble(c, &text);
        for (size_t r = 0; r < c->n_ranges; r++)
            throttled = throttled || (c->ranges[r]->throttled_since_ns &&
                                      now - c->ranges[r]->throttled_since_ns >
                                          30 * DGF_COSMOS_SECOND);
        if (throttled)
            add_part(&text, "is throttled: too few request units are provisioned",
                     c->name);
    }
    dgf_source_impaired(&self->base, "%s", dgf_buf_str(&text));
    dgf_buf_release(&text);
}

/* Request units flow in at max_ru a second, at most one second's worth. */
void dgf_cosmos_charge(struct dgf_cosmos_source *self, int64_t charge_mru)
{
    int64_t now = dgf_clock_mono_ns(), most = DGF_COSMOS_CONF(self)->max_ru * 1000;
    int64_t gone_ms = (now - self->budget_ns) / DGF_COSMOS_MS;

    if (gone_ms > 0) {
        self->budget_ns = now;
        self->budget_mru += gone_ms < 1000 ? most * gone_ms / 1000 : most;
        if (self->budget_mru > most)
            self->budget_mru = most;
    }
    self->budget_mru -= charge_mru;
    if (charge_mru)
        dgf_metric_add(self->charge, charge_mru / 1000);
}

/* ---- life ---- */

static void cosmos_close(struct dgf_source *src)
{
    struct dgf_cosmos_source *self = (struct dgf_cosmos_source *)src;

    if (!self->is_open)
        return;
    self->is_open = false;
    for (size_t i = 0; i < self->n_containers; i++)
        dgf_cosmos_container_clear(&self->containers[i]);
    dgf_free(self->containers);
    self->containers = NULL;
    self->n_containers = 0;
    dgf_cosmos_link_close(&self->link);
    if (self->tick)
        event_free(self->tick);
    if (self->again)
        event_free(self->again);
    self->tick = self->again = NULL;
    dgf_buf_release(&self->account_properties);
    dgf_buf_release(&self->scratch);
    dgf_event_builder_release(&self->builder);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_cosmos_source *self = ctx;
    int64_t now = dgf_clock_mono_ns();

    (void)fd;
    (void)what;
    dgf_cosmos_charge(self, 0);
    if (!dgf_cosmos_stopped(self))
        dgf_cosmos_start_tick(self, now);
    if (!dgf_cosmos_stopped(self))
        dgf_cosmos_read_tick(self, now);
    if (!dgf_cosmos_stopped(self) && self->moved &&
        now - self->progress_ns >= DGF_COSMOS_SECOND)
        dgf_cosmos_emit_progress(self);
    dgf_cosmos_say(self);
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    dgf_cosmos_read_waiting(ctx);
}

static bool make_session(struct dgf_cosmos_source *self)
{
    struct timeval every = {0, TICK_MS * 1000L};
    char labels[256];

    dgf_event_builder_init(&self->builder, self->base.max_event_bytes
                                               ? self->base.max_event_bytes
                                               : (size_t)16 << 20);
    dgf_buf_init(&self->scratch, DGF_COSMOS_POSITION_MAX);
    dgf_buf_init(&self->account_properties, 1 << 20);
    (void)snprintf(labels, sizeof(labels), "source=\"%.200s\"", self->base.name);
    self->charge = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_source_request_units_total",
                                  "request units that reading was charged", labels);
    self->throttled = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_source_throttled_total",
                                     "requests the server put off", labels);
    self->tick = event_new(self->base.loop, -1, EV_PERSIST, on_tick, self);
    self->again = event_new(self->base.loop, -1, 0, on_again, self);
    return self->tick && self->again && event_add(self->tick, &every) == 0;
}

static enum dgf_rc cosmos_open(struct dgf_source *src, struct dgf_bytes position,
                               struct dgf_err *err)
{
    struct dgf_cosmos_source *self = (struct dgf_cosmos_source *)src;
    enum dgf_rc rc;

    cosmos_close(src);
    *self = (struct dgf_cosmos_source){.base = *src, .is_open = true};
    self->budget_ns = dgf_clock_mono_ns();
    self->budget_mru = DGF_COSMOS_CONF(self)->max_ru * 1000;
    if (!make_session(self)) {
        cosmos_close(src);
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    }
    rc = dgf_cosmos_link_open(&self->link, src->conf, src->loop, err);
    if (!rc && !dgf_cosmos_start(self, position, err))
        rc = err->rc;
    if (rc)
        cosmos_close(src);
    return rc;
}

static void cosmos_pause(struct dgf_source *src)
{
    ((struct dgf_cosmos_source *)src)->paused = true;
}

static void cosmos_resume(struct dgf_source *src)
{
    struct dgf_cosmos_source *self = (struct dgf_cosmos_source *)src;

    self->paused = self->blocked = false;
    if (self->is_open && !self->failed)
        event_active(self->again, EV_TIMEOUT, 0);
}

static void cosmos_durable(struct dgf_source *src, uint64_t seq)
{
    (void)src;
    (void)seq; /* the server wants no acknowledgement */
}

static enum dgf_guarantee guarantee_of(const void *conf)
{
    return ((const struct dgf_cosmos_conf *)conf)->mode == DGF_COSMOS_ALL
               ? DGF_GUARANTEE_EXACTLY_ONCE
               : DGF_GUARANTEE_PARTIAL;
}

static unsigned cosmos_gives(struct dgf_source *src, const struct dgf_object *object)
{
    const struct dgf_cosmos_conf *conf = src->conf;

    (void)object;
    if (conf->mode == DGF_COSMOS_LATEST)
        return DGF_GIVES_AFTER | DGF_GIVES_KEY;
    /* Whether a previous image is there is known only when one is missing. */
    return DGF_GIVES_AFTER | DGF_GIVES_KEY | DGF_GIVES_BEFORE | DGF_GIVES_DELETES |
           DGF_GIVES_EVERY_VERSION;
}

const struct dgf_source_type dgf_source_cosmos = {
    .name = "cosmos",
    .summary = "Azure Cosmos DB (NoSQL): change feed",
    .aliases = "cosmosdb",
    .guarantee = DGF_GUARANTEE_PARTIAL,
    .guarantee_of = guarantee_of,
    .opts = opts,
    .conf_size = sizeof(struct dgf_cosmos_conf),
    .self_size = sizeof(struct dgf_cosmos_source),
    .validate = validate,
    .check = dgf_cosmos_check,
    .open = cosmos_open,
    .pause = cosmos_pause,
    .resume = cosmos_resume,
    .durable = cosmos_durable,
    .close = cosmos_close,
    .position_text = dgf_cosmos_position_text,
    .gives = cosmos_gives,
};
