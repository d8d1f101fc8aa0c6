#include <stdio.h>

#include "base/clock.h"
#include "source_cosmos.h"

/* Reading ranges: each is asked when it is due and the budget has something left; what
 * an answer means is decided here. */

#define SPLIT_WAIT (200 * DGF_COSMOS_MS)
#define LONGEST_THROTTLE (60 * DGF_COSMOS_SECOND)

/* ---- causes that are not the range's ---- */

static const char *hint(const struct dgf_cosmos_source *self,
                        const struct dgf_cosmos_answer *answer)
{
    bool key = DGF_COSMOS_CONF(self)->auth.how == DGF_AZURE_KEY;

    if (answer->status == 401)
        return key ? "; is 'key' a key of this account?"
                   : "; may this identity read the data of this account?";
    if (answer->substatus == 5300)
        return "; this identity has no right to it: give it the role Cosmos DB Built-in "
               "Data Reader";
    if (answer->status == 403)
        return "; the identity, or the network it comes from, is not let in";
    return "";
}

bool dgf_cosmos_common(struct dgf_cosmos_source *self,
                       const struct dgf_cosmos_answer *answer)
{
    if (answer->is == DGF_COSMOS_UNTRUSTED || answer->rc == DGF_BAD_CONFIG) {
        dgf_cosmos_fail(self, answer->rc, "%s%s", answer->text, hint(self, answer));
        return true;
    }
    if (answer->is != DGF_COSMOS_ELSEWHERE)
        return false;
    if (dgf_cosmos_link_leave(&self->link)) {
        self->account_due_ns = 0; /* where it may be read now */
        return true;
    }
    self->link.regions[self->link.at].bad_until_ns = 0; /* the only one */
    return false;
}

/* ---- pages ---- */

static void set_due(struct dgf_cosmos_range *range, int64_t wait_ns)
{
    range->due_ns = dgf_clock_mono_ns() + wait_ns;
}

/* One that cannot be read is said and asked at a pace while another one is read. */
static void give_up(struct dgf_cosmos_range *range, enum dgf_rc rc, const char *text)
{
    struct dgf_cosmos_source *self = range->container->source;

    if (!dgf_cosmos_another_reads(self, range->container, range))
        dgf_cosmos_fail(self, rc, "%s", text);
    else
        (void)snprintf(range->trouble, sizeof(range->trouble), "%s", text);
}

static void put_off(struct dgf_cosmos_range *range, const char *text)
{
    char whole[DGF_ERR_TEXT_MAX];

    set_due(range, dgf_cosmos_backoff_ns(range->n_failures));
    if (++range->n_failures < DGF_COSMOS_TRIES)
        return;
    (void)snprintf(whole, sizeof(whole),
                   "cannot read range '%s-%s' of container '%s': %s", range->min,
                   range->max, range->container->name, text);
    give_up(range, DGF_RETRY, whole);
}

/* The same bytes three times are what the page is; nobody gets past it otherwise.  What
 * ends too early is a part of a page, however often it comes. */
static void take_broken(struct dgf_cosmos_range *range, struct dgf_bytes body, bool cut,
                        const char *etag, const char *why)
{
    uint8_t digest[DGF_SHA256_LEN];
    char text[200];

    dgf_sha256(body, digest);
    if (!range->n_broken || memcmp(digest, range->broken, sizeof(digest)) != 0)
        range->n_broken = 0;
    memcpy(range->broken, digest, sizeof(digest));
    if (!cut && etag && *etag && ++range->n_broken >= 3) {
        dgf_cosmos_emit_broken_page(range, body, etag, why);
        range->n_broken = range->n_failures = 0;
        set_due(range, 0);
        return;
    }
    (void)snprintf(text, sizeof(text), "a page cannot be understood: %s", why);
    put_off(range, text);
}

static void take_same(struct dgf_cosmos_range *range, const char *etag);

/* Takes a page that was received, when nothing holds us back. */
static void take_page(struct dgf_cosmos_range *range, struct dgf_bytes body,
                      const char *etag)
{
    struct dgf_cosmos_container *container = range->container;
    struct dgf_cosmos_page page;
    bool cut;
    const char *why = dgf_cosmos_page_read(body, &page, &cut);

    if (!why && (!etag || !*etag || strlen(etag) > DGF_COSMOS_ETAG_MAX))
        why = "it has no etag";
    if (why) {
        take_broken(range, body, cut, etag, why);
        return;
    }
    if (page.rid[0] && strcmp(page.rid, container->rid) != 0) {
        dgf_cosmos_container_stale(container, "pages of another container come");
        return;
    }
    container->n_stale = 0;
    if (range->from_now) /* with documents since then */
        take_same(range, etag);
    if (container->source->failed)
        return;
    range->n_broken = range->n_failures = 0;
    range->poll_ns = 0;
    set_due(range, 0);
    dgf_cosmos_emit_page(range, body, &page, etag);
}

static void keep_page(struct dgf_cosmos_range *range,
                      const struct dgf_cosmos_answer *answer)
{
    dgf_buf_clear(&range->page);
    dgf_buf_add_bytes(&range->page, answer->body);
    dgf_free(range->page_etag);
    range->page_etag = dgf_strdup(answer->etag ? answer->etag : "");
    if (dgf_buf_rc(&range->page) || !range->page_etag)
        dgf_cosmos_fail(range->container->source, DGF_RETRY, "out of memory");
}

static void release_page(struct dgf_cosmos_range *range)
{
    struct dgf_buf page = range->page;
    char *etag = dgf_steal(range->page_etag);

    dgf_buf_init(&range->page, DGF_COSMOS_PAGE_MAX);
    take_page(range, dgf_buf_bytes(&page), etag);
    dgf_buf_release(&page);
    dgf_free(etag);
}

void dgf_cosmos_read_waiting(struct dgf_cosmos_source *self)
{
    for (size_t i = 0; i < self->n_containers; i++)
        for (size_t r = 0; r < self->containers[i].n_ranges; r++) {
            if (dgf_cosmos_stopped(self))
                return;
            if (self->containers[i].ranges[r]->page.len)
                release_page(self->containers[i].ranges[r]);
        }
}

/* ---- answers without a page ---- */

static void all_known(struct dgf_cosmos_container *container)
{
    for (size_t i = 0; i < container->n_ranges; i++)
        if (container->ranges[i]->from_now)
            return;
    if (container->phase == DGF_COSMOS_KNOWN)
        dgf_cosmos_container_started(container);
}

/* A range whose etag was refused goes on from now. */
static void take_lost(struct dgf_cosmos_range *range, const char *etag)
{
    struct dgf_cosmos_source *self = range->container->source;
    bool all = DGF_COSMOS_CONF(self)->mode == DGF_COSMOS_ALL;
    struct dgf_buf from, name;

    dgf_buf_init(&from, 8192);
    dgf_buf_init(&name, 2048);
    dgf_cosmos_position_text(dgf_cosmos_position_now(self), &from);
    dgf_buf_addf(&name, "%s-%s", range->min, range->max);
    range->lost = range->from_now = false;
    if (!dgf_cosmos_set_etag(range, etag))
        dgf_cosmos_fail(self, DGF_RETRY, "out of memory");
    else
        dgf_cosmos_emit_gap(
            range->container, all ? DGF_GAP_RETENTION_EXCEEDED : DGF_GAP_TOKEN_INVALID,
            dgf_buf_str(&from), dgf_buf_str(&name),
            all ? "the position is older than what the change feed keeps"
                : "the server refuses the position");
    dgf_buf_release(&from);
    dgf_buf_release(&name);
}

static void take_same(struct dgf_cosmos_range *range, const char *etag)
{
    const struct dgf_cosmos_conf *conf = DGF_COSMOS_CONF(range->container->source);
    bool known = etag && *etag && strlen(etag) <= DGF_COSMOS_ETAG_MAX;

    if (range->from_now && !known) {
        put_off(range, "an answer without an etag");
        return;
    }
    range->n_failures = range->n_broken = 0;
    range->container->n_stale = 0;
    range->max_items = 0;
    range->poll_ns = range->poll_ns ? range->poll_ns * 2 : conf->poll.min_ns;
    if (range->poll_ns > conf->poll.max_ns)
        range->poll_ns = conf->poll.max_ns;
    set_due(range, range->poll_ns);
    if (range->lost) {
        take_lost(range, etag);
        return;
    }
    if (known && strcmp(etag, range->etag) != 0) {
        if (!dgf_cosmos_set_etag(range, etag)) {
            dgf_cosmos_fail(range->container->source, DGF_RETRY, "out of memory");
            return;
        }
        range->container->source->moved = true;
    }
    range->read_once = true;
    if (range->from_now) {
        range->from_now = false;
        set_due(range, 0);
        all_known(range->container);
    }
}

/* Other containers may have one: they get the time to begin. */
static void take_no_feed(struct dgf_cosmos_range *range, const char *text)
{
    struct dgf_cosmos_source *self = range->container->source;
    char whole[DGF_ERR_TEXT_MAX];

    set_due(range, dgf_cosmos_backoff_ns(range->n_failures));
    if (++range->n_failures < DGF_COSMOS_TRIES && self->n_containers > 1)
        return;
    (void)snprintf(whole, sizeof(whole),
                   "container '%s' gives no all_versions feed: %s; it needs continuous "
                   "backup of the account and a change feed policy of the container",
                   range->container->name, text);
    give_up(range, DGF_BAD_CONFIG, whole);
}

static void take_refused(struct dgf_cosmos_range *range,
                         const struct dgf_cosmos_answer *answer)
{
    struct dgf_cosmos_source *self = range->container->source;

    if (answer->status == 400 && range->etag[0] && !range->from_now) {
        range->from_now = range->lost = true;
        set_due(range, 0);
    } else if (DGF_COSMOS_CONF(self)->mode == DGF_COSMOS_ALL && answer->status == 400) {
        take_no_feed(range, answer->text);
    } else {
        put_off(range, answer->text);
    }
}

static void take_throttled(struct dgf_cosmos_range *range, int64_t wait_ns)
{
    struct dgf_cosmos_source *self = range->container->source;

    if (!wait_ns)
        wait_ns = DGF_COSMOS_SECOND;
    set_due(range, wait_ns < LONGEST_THROTTLE ? wait_ns : LONGEST_THROTTLE);
    if (!range->throttled_since_ns)
        range->throttled_since_ns = dgf_clock_mono_ns();
    dgf_metric_add(self->throttled, 1);
}

/* More than we take at once: fewer documents, then only one. */
static void take_too_large(struct dgf_cosmos_range *range, const char *text)
{
    unsigned items =
        range->max_items
            ? range->max_items
            : (unsigned)DGF_COSMOS_CONF(range->container->source)->max_items;

    range->max_items = items > 4 ? items / 4 : 1;
    put_off(range, text);
}

static void look_at_ranges(struct dgf_cosmos_container *container, int64_t wait_ns)
{
    if (container->asks_ranges || container->stale)
        return;
    container->asks_ranges = true;
    container->due_ns = dgf_clock_mono_ns() + wait_ns;
}

static void take(struct dgf_cosmos_range *range, const struct dgf_cosmos_answer *answer)
{
    struct dgf_cosmos_source *self = range->container->source;

    if (answer->is != DGF_COSMOS_THROTTLED)
        range->throttled_since_ns = 0;
    switch (answer->is) {
    case DGF_COSMOS_GOOD:
        if (dgf_cosmos_stopped(self) && answer->body.len)
            keep_page(range, answer);
        else
            take_page(range, answer->body, answer->etag);
        return;
    case DGF_COSMOS_SAME:
        take_same(range, answer->etag);
        return;
    case DGF_COSMOS_THROTTLED:
        take_throttled(range, answer->wait_ns);
        return;
    case DGF_COSMOS_SPLIT:
        look_at_ranges(range->container, 0);
        put_off(range, answer->text);
        return;
    case DGF_COSMOS_SPLITTING:
        look_at_ranges(range->container, SPLIT_WAIT);
        set_due(range, SPLIT_WAIT);
        return;
    case DGF_COSMOS_STALE:
    case DGF_COSMOS_MISSING:
        dgf_cosmos_container_stale(range->container, answer->text);
        return;
    case DGF_COSMOS_REFUSED:
        take_refused(range, answer);
        return;
    case DGF_COSMOS_SKEWED:
        set_due(range, 0);
        return;
    case DGF_COSMOS_ELSEWHERE:
    case DGF_COSMOS_UNTRUSTED:
        if (dgf_cosmos_common(self, answer)) {
            set_due(range, 0);
            return;
        }
        put_off(range, answer->text);
        return;
    case DGF_COSMOS_PASSING:
    case DGF_COSMOS_BEHIND:
        if (answer->http->rc == DGF_BAD_DATA)
            take_too_large(range, answer->text);
        else if (!dgf_cosmos_common(self, answer))
            put_off(range, answer->text);
        return;
    }
}

static void on_answer(void *ctx, const struct dgf_http_answer *http)
{
    struct dgf_cosmos_range *range = ctx;
    struct dgf_cosmos_source *self = range->container->source;
    struct dgf_cosmos_answer answer;

    range->call = NULL;
    self->n_flights--;
    dgf_cosmos_link_read(&self->link, http, &answer);
    dgf_cosmos_charge(self, answer.charge_mru);
    if (!self->failed)
        take(range, &answer);
    /* The next page at once, while there is one. */
    if (!dgf_cosmos_stopped(self) && self->streaming)
        dgf_cosmos_read_tick(self, dgf_clock_mono_ns());
}

/* ---- asking ---- */

struct lines {
    const char *list[40];
    size_t n;
};

static void line(struct lines *lines, const char *name, const char *value)
{
    lines->list[lines->n++] = name;
    lines->list[lines->n++] = value;
}

static void add_headers(const struct dgf_cosmos_range *range, struct lines *lines,
                        char items[16])
{
    const struct dgf_cosmos_conf *conf = DGF_COSMOS_CONF(range->container->source);
    bool all = conf->mode == DGF_COSMOS_ALL;

    (void)snprintf(items, 16, "%u",
                   range->max_items ? range->max_items : (unsigned)conf->max_items);
    line(lines, "A-IM", all ? "Full-Fidelity Feed" : "Incremental Feed");
    if (all)
        line(lines, "x-ms-cosmos-changefeed-wire-format-version", "2021-09-15");
    line(lines, "x-ms-max-item-count", items);
    line(lines, "x-ms-documentdb-partitionkeyrangeid", range->pkrange);
    line(lines, "x-ms-cosmos-intended-collection-rid", range->container->rid);
    if (range->from_now)
        line(lines, "If-None-Match", "*");
    else if (range->etag[0])
        line(lines, "If-None-Match", range->etag);
    if (range->container->since[0])
        line(lines, "If-Modified-Since", range->container->since);
    if (range->part) {
        line(lines, "x-ms-start-epk", range->min);
        line(lines, "x-ms-end-epk", range->max);
        line(lines, "x-ms-read-key-type", "EffectivePartitionKeyRange");
    }
}

static void ask(struct dgf_cosmos_range *range)
{
    struct dgf_cosmos_source *self = range->container->source;
    struct lines lines = {.n = 0};
    struct dgf_buf link_text, path;
    struct dgf_cosmos_ask request = {.type = "docs",
                                     .headers = lines.list,
                                     .max_body = DGF_COSMOS_PAGE_MAX,
                                     .done = on_answer,
                                     .ctx = range};
    struct dgf_err err = {0};
    char items[16];
    enum dgf_rc rc;

    dgf_buf_init(&link_text, 1024);
    dgf_buf_init(&path, 4096);
    dgf_cosmos_names(DGF_COSMOS_CONF(self), range->container->name, "/docs", &link_text,
                     &path);
    add_headers(range, &lines, items);
    request.n_headers = lines.n / 2;
    request.link_text = dgf_buf_str(&link_text);
    request.path = dgf_buf_str(&path);
    rc = dgf_cosmos_link_send(&self->link, &request, &range->call, &err);
    if (!rc)
        self->n_flights++;
    else if (rc != DGF_AGAIN)
        dgf_cosmos_fail(self, rc == DGF_BAD_CONFIG ? rc : DGF_RETRY, "%s", err.text);
    dgf_buf_release(&link_text);
    dgf_buf_release(&path);
}

static void tell_caught_up(struct dgf_cosmos_source *self)
{
    if (self->caught_up || !self->streaming)
        return;
    for (size_t i = 0; i < self->n_containers; i++) {
        const struct dgf_cosmos_container *c = &self->containers[i];

        for (size_t r = 0; r < c->n_ranges; r++)
            if (!c->ranges[r]->read_once)
                return;
        if (c->phase != DGF_COSMOS_STARTED && !c->missing)
            return;
    }
    self->caught_up = true;
    if (self->moved)
        dgf_cosmos_emit_progress(self);
    dgf_source_caught_up(&self->base);
}

static bool may_ask(const struct dgf_cosmos_container *container)
{
    return container->phase != DGF_COSMOS_UNKNOWN && container->has_pkranges &&
           !container->stale && !container->missing && !container->asks_ranges;
}

void dgf_cosmos_read_tick(struct dgf_cosmos_source *self, int64_t now_ns)
{
    /* Another container is first each time, so that none starves at a small budget. */
    self->next++;
    for (size_t i = 0; i < self->n_containers && !self->failed; i++) {
        struct dgf_cosmos_container *c =
            &self->containers[(self->next + i) % self->n_containers];

        for (size_t r = 0; r < c->n_ranges && may_ask(c); r++) {
            struct dgf_cosmos_range *range =
                c->ranges[(self->next / self->n_containers + r) % c->n_ranges];
            bool waits = c->phase == DGF_COSMOS_KNOWN && !range->from_now;

            if (self->budget_mru <= 0 || self->n_flights >= DGF_COSMOS_FLIGHTS_MAX ||
                self->failed)
                break;
            if (!range->call && !range->page.len && !waits && now_ns >= range->due_ns)
                ask(range);
        }
    }
    if (!dgf_cosmos_stopped(self))
        tell_caught_up(self);
}
