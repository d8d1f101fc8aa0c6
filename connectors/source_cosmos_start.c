#include <stdio.h>

#include "azure_sign.h"
#include "base/clock.h"
#include "base/parse.h"
#include "source_cosmos.h"

/* From open to reading: the account, then for each container its properties and its
 * physical partitions, then the position that is stored, or the start that is
 * configured.  The same again when a container is another one, or was split. */

#define LOOK_AGAIN (5 * DGF_COSMOS_SECOND) /* for a container that is not there */

/* ---- what is stored ---- */

static struct dgf_cosmos_container *find(struct dgf_cosmos_source *self,
                                         struct dgf_bytes name)
{
    for (size_t i = 0; i < self->n_containers; i++)
        if (dgf_bytes_eq(name, dgf_bytes_str(self->containers[i].name)))
            return &self->containers[i];
    return NULL;
}

static bool copy_to(char *to, size_t size, struct dgf_bytes from)
{
    if (from.len >= size || (from.len && memchr(from.ptr, 0, from.len)))
        return false;
    if (from.len)
        memcpy(to, from.ptr, from.len);
    to[from.len] = 0;
    return true;
}

static bool restore(struct dgf_cosmos_source *self, struct dgf_bytes bytes)
{
    struct dgf_cosmos_position position;
    struct dgf_cosmos_place place;
    struct dgf_cosmos_token token;

    if (!dgf_cosmos_position_read(bytes, &position) ||
        !copy_to(self->stored_account, sizeof(self->stored_account), position.account))
        return false;
    self->has_position = true;
    self->mode_changed = (int)position.mode != DGF_COSMOS_CONF(self)->mode;
    while (dgf_cosmos_position_next(&position, &place)) {
        struct dgf_cosmos_container *container = find(self, place.name);

        if (container) {
            dgf_cosmos_position_place(&container->stored, &place);
            container->n_stored = place.n_ranges;
            if (!copy_to(container->stored_rid, sizeof(container->stored_rid),
                         place.rid) ||
                !copy_to(container->since, sizeof(container->since), place.since))
                return false;
        }
        for (uint32_t i = 0; i < place.n_ranges; i++) {
            (void)dgf_cosmos_position_next_token(&position, &token);
            if (token.etag.len > DGF_COSMOS_ETAG_MAX)
                return false;
            if (container)
                dgf_cosmos_position_token(&container->stored, &token);
        }
    }
    return true;
}

bool dgf_cosmos_start(struct dgf_cosmos_source *self, struct dgf_bytes position,
                      struct dgf_err *err)
{
    const struct dgf_str_list *names = &DGF_COSMOS_CONF(self)->containers;

    self->containers = dgf_calloc(names->n ? names->n : 1, sizeof(*self->containers));
    if (!self->containers) {
        (void)dgf_err_set(err, DGF_RETRY, "out of memory");
        return false;
    }
    self->n_containers = names->n;
    for (size_t i = 0; i < names->n; i++) {
        struct dgf_cosmos_container *container = &self->containers[i];

        container->source = self;
        container->name = names->list[i];
        container->gap = -1;
        dgf_buf_init(&container->properties, 1 << 20);
        dgf_buf_init(&container->stored, DGF_COSMOS_POSITION_MAX);
        dgf_buf_init(&container->pkranges,
                     DGF_COSMOS_RANGES_MAX * sizeof(struct dgf_cosmos_pkrange));
        if (dgf_object_new("cosmos", DGF_COSMOS_CONF(self)->database,
                           DGF_COSMOS_CONF(self)->database, container->name, NULL, 0, 1,
                           &container->object)) {
            (void)dgf_err_set(err, DGF_RETRY, "out of memory");
            return false;
        }
    }
    if (position.len && !restore(self, position)) {
        (void)dgf_err_set(
            err, DGF_FATAL,
            "cannot read the stored position of source '%s': %zu bytes of "
            "an unknown form",
            self->base.name, position.len);
        return false;
    }
    return true;
}

static void free_ranges(struct dgf_cosmos_container *container)
{
    for (size_t i = 0; i < container->n_ranges; i++)
        dgf_cosmos_range_free(container->ranges[i]);
    dgf_free(container->ranges);
    container->ranges = NULL;
    container->n_ranges = 0;
}

void dgf_cosmos_container_clear(struct dgf_cosmos_container *container)
{
    free_ranges(container);
    dgf_object_unref(container->object);
    dgf_buf_release(&container->properties);
    dgf_buf_release(&container->stored);
    dgf_buf_release(&container->pkranges);
}

/* ---- where a container begins ---- */

static enum dgf_rc first_ranges(struct dgf_cosmos_container *container, bool from_now)
{
    const struct dgf_cosmos_pkrange *part = (void *)container->pkranges.ptr;
    size_t n = container->pkranges.len / sizeof(*part);

    free_ranges(container);
    container->ranges = dgf_calloc(n ? n : 1, sizeof(*container->ranges));
    if (!container->ranges)
        return DGF_NOMEM;
    for (; container->n_ranges < n; part++) {
        struct dgf_cosmos_range *range =
            dgf_cosmos_range_new(container, dgf_bytes_str(part->min),
                                 dgf_bytes_str(part->max), (struct dgf_bytes){NULL, 0});

        if (!range)
            return DGF_NOMEM;
        range->from_now = from_now;
        container->ranges[container->n_ranges++] = range;
    }
    return DGF_OK;
}

static enum dgf_rc stored_ranges(struct dgf_cosmos_container *container)
{
    struct dgf_buf whole;
    struct dgf_cosmos_position position;
    struct dgf_cosmos_place place;
    struct dgf_cosmos_token token;
    enum dgf_rc rc = DGF_OK;

    free_ranges(container);
    container->ranges = dgf_calloc(container->n_stored + 1, sizeof(*container->ranges));
    if (!container->ranges)
        return DGF_NOMEM;
    dgf_buf_init(&whole, DGF_COSMOS_POSITION_MAX + 64);
    dgf_cosmos_position_begin(&whole, DGF_COSMOS_LATEST, (struct dgf_bytes){NULL, 0},
                              1);
    dgf_buf_add_bytes(&whole, dgf_buf_bytes(&container->stored));
    if (dgf_buf_rc(&whole) ||
        !dgf_cosmos_position_read(dgf_buf_bytes(&whole), &position))
        rc = DGF_NOMEM;
    else
        (void)dgf_cosmos_position_next(&position, &place);
    for (size_t i = 0; !rc && i < container->n_stored; i++) {
        struct dgf_cosmos_range *range;

        (void)dgf_cosmos_position_next_token(&position, &token);
        range = dgf_cosmos_range_new(container, token.min, token.max, token.etag);
        if (!range)
            rc = DGF_NOMEM;
        else
            container->ranges[container->n_ranges++] = range;
    }
    dgf_buf_release(&whole);
    return rc;
}

/* Anew, as configured; after a gap of another container from its beginning. */
static enum dgf_rc begin_anew(struct dgf_cosmos_container *container, bool beginning)
{
    const struct dgf_cosmos_conf *conf = DGF_COSMOS_CONF(container->source);
    bool now = conf->mode == DGF_COSMOS_ALL || !strcmp(conf->start, "now");
    struct dgf_buf date;
    int64_t ns;

    container->since[0] = 0;
    if (conf->mode == DGF_COSMOS_LATEST && beginning)
        return first_ranges(container, false);
    if (!now && dgf_parse_time(dgf_bytes_str(conf->start), &ns)) {
        dgf_buf_init(&date, sizeof(container->since));
        dgf_azure_date(&date, ns);
        (void)snprintf(container->since, sizeof(container->since), "%s",
                       dgf_buf_str(&date));
        dgf_buf_release(&date);
    }
    return first_ranges(container, now);
}

void dgf_cosmos_container_started(struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_source *self = container->source;
    enum dgf_gap reason = (enum dgf_gap)container->gap;
    bool gap = container->gap >= 0;
    struct dgf_buf from;

    dgf_buf_init(&from, 8192);
    if (gap)
        dgf_cosmos_position_text(dgf_cosmos_position_now(self), &from);
    container->phase = DGF_COSMOS_STARTED;
    container->gap = -1;
    dgf_buf_clear(&container->stored);
    container->n_stored = 0;
    (void)snprintf(container->stored_rid, sizeof(container->stored_rid), "%s",
                   container->rid);
    if (gap)
        dgf_cosmos_emit_gap(container, reason, dgf_buf_str(&from), NULL,
                            reason == DGF_GAP_CONTAINER_RECREATED
                                ? "another container stands at this name"
                            : reason == DGF_GAP_SYSTEM_CHANGED
                                ? "another account answers"
                                : "the mode of the source was changed");
    else
        dgf_cosmos_emit_resume(container);
    dgf_buf_release(&from);
    container->inspect_ns = 0;
}

/* Properties and partitions are known. */
static void begin(struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_source *self = container->source;
    bool same = strcmp(container->stored_rid, container->rid) == 0;
    enum dgf_rc rc;

    if (container->phase != DGF_COSMOS_UNKNOWN)
        return;
    container->gap = -1;
    if (container->n_stored && self->stored_account[0] && self->account[0] &&
        strcmp(self->stored_account, self->account) != 0)
        container->gap = DGF_GAP_SYSTEM_CHANGED;
    else if (container->n_stored && !same)
        container->gap = DGF_GAP_CONTAINER_RECREATED;
    else if (container->n_stored && self->mode_changed)
        container->gap = DGF_GAP_TOKEN_INVALID;
    if (container->n_stored && container->gap < 0) {
        rc = stored_ranges(container);
        if (!rc && !dgf_cosmos_ranges_fit(container)) {
            container->due_ns = dgf_clock_mono_ns() + DGF_COSMOS_SECOND;
            container->has_pkranges = false;
            return;
        }
        if (!rc) {
            container->phase = DGF_COSMOS_STARTED;
            dgf_buf_clear(&container->stored);
            container->n_stored = 0;
        }
    } else {
        rc = begin_anew(container, container->gap == DGF_GAP_CONTAINER_RECREATED);
        if (!rc && !dgf_cosmos_ranges_fit(container))
            rc = DGF_NOMEM;
        if (!rc && !container->ranges[0]->from_now)
            dgf_cosmos_container_started(container);
    }
    if (rc)
        dgf_cosmos_fail(self, DGF_RETRY, "out of memory");
    else if (container->phase == DGF_COSMOS_UNKNOWN)
        container->phase = DGF_COSMOS_KNOWN;
}

/* ---- the container ---- */

/* Tried too often: said while others are read, else the source is given back. */
static void give_up(struct dgf_cosmos_container *container, const char *doing,
                    const char *text)
{
    struct dgf_cosmos_source *self = container->source;

    if (!dgf_cosmos_another_reads(self, container, NULL))
        dgf_cosmos_fail(self, DGF_RETRY, "cannot %s container '%s': %s", doing,
                        container->name, text);
    else
        (void)snprintf(container->trouble, sizeof(container->trouble),
                       "cannot %s container '%s': %s", doing, container->name, text);
}

void dgf_cosmos_container_stale(struct dgf_cosmos_container *container,
                                const char *text)
{
    int64_t wait_ns =
        container->n_stale ? dgf_cosmos_backoff_ns(container->n_stale) : 0;

    if (container->stale)
        return;
    if (++container->n_stale > DGF_COSMOS_TRIES)
        give_up(container, "read", text);
    container->stale = true;
    container->has_pkranges = container->asks_ranges = false;
    container->continuation[0] = 0;
    container->due_ns = dgf_clock_mono_ns() + wait_ns;
}

static void put_off(struct dgf_cosmos_container *container,
                    const struct dgf_cosmos_answer *answer)
{
    int64_t wait = answer->wait_ns ? answer->wait_ns
                                   : dgf_cosmos_backoff_ns(container->n_failures);

    container->due_ns = dgf_clock_mono_ns() + wait;
    if (answer->is == DGF_COSMOS_THROTTLED || answer->is == DGF_COSMOS_SKEWED) {
        dgf_metric_add(container->source->throttled,
                       answer->is == DGF_COSMOS_THROTTLED);
        return;
    }
    if (++container->n_failures >= DGF_COSMOS_TRIES)
        give_up(container, "look at", answer->text);
}

/* It was stored in a position, but is not there any more, or is another one. */
static void forget(struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_place place = {.name = dgf_bytes_str(container->name),
                                     .rid = dgf_bytes_str(container->stored_rid),
                                     .since = dgf_bytes_str(container->since),
                                     .n_ranges = (uint32_t)container->n_ranges};

    if (container->phase == DGF_COSMOS_STARTED) {
        dgf_buf_clear(&container->stored);
        dgf_cosmos_position_place(&container->stored, &place);
        for (size_t i = 0; i < container->n_ranges; i++) {
            const struct dgf_cosmos_range *range = container->ranges[i];
            struct dgf_cosmos_token token = {dgf_bytes_str(range->min),
                                             dgf_bytes_str(range->max),
                                             dgf_bytes_str(range->etag)};

            dgf_cosmos_position_token(&container->stored, &token);
        }
        container->n_stored = container->n_ranges;
    }
    free_ranges(container);
    container->phase = DGF_COSMOS_UNKNOWN;
    container->has_pkranges = false;
}

static void take_properties(struct dgf_cosmos_container *container,
                            struct dgf_bytes body)
{
    struct dgf_bytes root = dgf_jv_root(body), value;
    const char *why = dgf_jv_check(body, NULL);
    char rid[sizeof(container->rid)];

    if (why || !dgf_jv_find(root, "_rid", &value) ||
        !dgf_jv_copy(value, rid, sizeof(rid)) || !*rid ||
        !dgf_cosmos_key_read(root, &container->key)) {
        container->due_ns =
            dgf_clock_mono_ns() + dgf_cosmos_backoff_ns(container->n_failures);
        if (++container->n_failures >= DGF_COSMOS_TRIES)
            give_up(container, "understand the properties of",
                    why ? why : "no _rid, or an unknown key");
        return;
    }
    container->n_failures = 0;
    container->missing = false;
    dgf_buf_clear(&container->properties);
    dgf_cosmos_settings(root, &container->properties);
    if (strcmp(rid, container->rid) != 0) {
        if (container->phase != DGF_COSMOS_UNKNOWN)
            forget(container);
        (void)snprintf(container->rid, sizeof(container->rid), "%s", rid);
    }
    container->stale = false;
    container->asks_ranges = !container->has_pkranges;
    container->inspect_ns =
        dgf_clock_mono_ns() + DGF_COSMOS_CONF(container->source)->inspect_ns;
    if (container->phase == DGF_COSMOS_STARTED)
        dgf_cosmos_inspect_container(container);
}

static void on_properties(void *ctx, const struct dgf_http_answer *http)
{
    struct dgf_cosmos_container *container = ctx;
    struct dgf_cosmos_source *self = container->source;
    struct dgf_cosmos_answer answer;

    container->call = NULL;
    self->n_flights--;
    dgf_cosmos_link_read(&self->link, http, &answer);
    dgf_cosmos_charge(self, answer.charge_mru);
    if (answer.is == DGF_COSMOS_GOOD) {
        take_properties(container, answer.body);
    } else if (answer.is == DGF_COSMOS_MISSING) {
        container->missing = true;
        container->due_ns = dgf_clock_mono_ns() + LOOK_AGAIN;
    } else if (!dgf_cosmos_common(self, &answer)) {
        put_off(container, &answer);
    }
}

static void take_pkranges(struct dgf_cosmos_container *container,
                          const struct dgf_cosmos_answer *answer)
{
    const char *more = dgf_http_header(answer->http, "x-ms-continuation");
    const char *why = dgf_cosmos_pkranges_read(answer->body, &container->pkranges);

    if (!why && dgf_buf_rc(&container->pkranges))
        why = "it has too many ranges";
    if (!why && more && *more && strlen(more) < sizeof(container->continuation)) {
        (void)snprintf(container->continuation, sizeof(container->continuation), "%s",
                       more);
        return; /* asked for at the next tick */
    }
    container->continuation[0] = 0;
    if (!why &&
        (container->phase == DGF_COSMOS_UNKNOWN || dgf_cosmos_ranges_fit(container))) {
        container->n_failures = 0;
        container->has_pkranges = true;
        container->asks_ranges = false;
        begin(container);
        return;
    }
    container->due_ns =
        dgf_clock_mono_ns() + dgf_cosmos_backoff_ns(container->n_failures);
    if (++container->n_failures >= DGF_COSMOS_TRIES)
        give_up(container, "understand the partitions of",
                why ? why : "they leave a part out");
}

static void on_pkranges(void *ctx, const struct dgf_http_answer *http)
{
    struct dgf_cosmos_container *container = ctx;
    struct dgf_cosmos_source *self = container->source;
    struct dgf_cosmos_answer answer;

    container->call = NULL;
    self->n_flights--;
    dgf_cosmos_link_read(&self->link, http, &answer);
    dgf_cosmos_charge(self, answer.charge_mru);
    if (answer.is == DGF_COSMOS_GOOD)
        take_pkranges(container, &answer);
    else if (answer.is == DGF_COSMOS_MISSING || answer.is == DGF_COSMOS_STALE)
        dgf_cosmos_container_stale(container, answer.text);
    else if (!dgf_cosmos_common(self, &answer))
        put_off(container, &answer);
}

static void ask_container(struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_source *self = container->source;
    const char *more[] = {"x-ms-continuation", container->continuation};
    struct dgf_buf link_text, path;
    struct dgf_cosmos_ask ask = {.type = container->asks_ranges ? "pkranges" : "colls",
                                 .headers = more,
                                 .n_headers = container->continuation[0] ? 1 : 0,
                                 .max_body = 8u << 20,
                                 .done = container->asks_ranges ? on_pkranges
                                                                : on_properties,
                                 .ctx = container};
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (container->asks_ranges && !ask.n_headers)
        dgf_buf_clear(&container->pkranges);
    dgf_buf_init(&link_text, 1024);
    dgf_buf_init(&path, 4096);
    dgf_cosmos_names(DGF_COSMOS_CONF(self), container->name,
                     container->asks_ranges ? "/pkranges" : "", &link_text, &path);
    ask.link_text = dgf_buf_str(&link_text);
    ask.path = dgf_buf_str(&path);
    rc = dgf_cosmos_link_send(&self->link, &ask, &container->call, &err);
    if (!rc)
        self->n_flights++;
    else if (rc != DGF_AGAIN)
        dgf_cosmos_fail(self, rc == DGF_BAD_CONFIG ? rc : DGF_RETRY, "%s", err.text);
    dgf_buf_release(&link_text);
    dgf_buf_release(&path);
}

/* ---- the account ---- */

static void on_account(void *ctx, const struct dgf_http_answer *http)
{
    struct dgf_cosmos_source *self = ctx;
    struct dgf_cosmos_answer answer;
    struct dgf_bytes root, id;

    self->account_call = NULL;
    self->n_flights--;
    self->account_due_ns = dgf_clock_mono_ns() + DGF_COSMOS_SECOND;
    dgf_cosmos_link_read(&self->link, http, &answer);
    dgf_cosmos_charge(self, answer.charge_mru);
    if (answer.is != DGF_COSMOS_GOOD) {
        if (!dgf_cosmos_common(self, &answer) && answer.is != DGF_COSMOS_SKEWED &&
            ++self->n_account_failures >= DGF_COSMOS_TRIES)
            dgf_cosmos_fail(self, DGF_RETRY, "cannot look at the account: %s",
                            answer.text);
        if (answer.is == DGF_COSMOS_SKEWED)
            self->account_due_ns = 0;
        return;
    }
    root = dgf_jv_root(answer.body);
    if (dgf_jv_check(answer.body, NULL) || !dgf_jv_find(root, "id", &id) ||
        !dgf_jv_copy(id, self->account, sizeof(self->account))) {
        if (++self->n_account_failures >= DGF_COSMOS_TRIES)
            dgf_cosmos_fail(self, DGF_RETRY,
                            "the properties of the account cannot be understood");
        return;
    }
    self->n_account_failures = 0;
    self->account_known = true;
    self->account_due_ns = dgf_clock_mono_ns() + DGF_COSMOS_CONF(self)->inspect_ns;
    dgf_cosmos_link_regions(&self->link, root);
    dgf_buf_clear(&self->account_properties);
    dgf_cosmos_settings(root, &self->account_properties);
    if (self->streaming)
        dgf_cosmos_inspect_account(self);
}

static void ask_account(struct dgf_cosmos_source *self)
{
    struct dgf_cosmos_ask ask = {.type = "",
                                 .link_text = "",
                                 .path = "/",
                                 .max_body = 2u << 20,
                                 .done = on_account,
                                 .ctx = self};
    struct dgf_err err = {0};
    enum dgf_rc rc = dgf_cosmos_link_send(&self->link, &ask, &self->account_call, &err);

    if (!rc)
        self->n_flights++;
    else if (rc != DGF_AGAIN)
        dgf_cosmos_fail(self, rc == DGF_BAD_CONFIG ? rc : DGF_RETRY, "%s", err.text);
}

/* ---- one tick ---- */

static void say_streaming(struct dgf_cosmos_source *self)
{
    if (self->streaming)
        return;
    for (size_t i = 0; i < self->n_containers; i++)
        if (self->containers[i].phase != DGF_COSMOS_STARTED &&
            !self->containers[i].missing &&
            !dgf_cosmos_in_trouble(&self->containers[i]))
            return;
    self->streaming = true;
    dgf_source_state(&self->base, DGF_STATE_STREAMING, "%s", "");
    dgf_cosmos_inspect_account(self);
    for (size_t i = 0; i < self->n_containers && !self->failed; i++)
        if (self->containers[i].phase == DGF_COSMOS_STARTED)
            dgf_cosmos_inspect_container(&self->containers[i]);
}

void dgf_cosmos_start_tick(struct dgf_cosmos_source *self, int64_t now_ns)
{
    if (!self->account_call && now_ns >= self->account_due_ns && self->budget_mru > 0)
        ask_account(self);
    if (!self->account_known)
        return;
    for (size_t i = 0; i < self->n_containers && !self->failed; i++) {
        struct dgf_cosmos_container *c = &self->containers[i];
        bool asks = c->phase == DGF_COSMOS_UNKNOWN || c->stale || c->missing ||
                    c->asks_ranges || !c->has_pkranges || now_ns >= c->inspect_ns;

        if (!c->call && asks && now_ns >= c->due_ns && self->budget_mru > 0 &&
            self->n_flights < DGF_COSMOS_FLIGHTS_MAX)
            ask_container(c);
    }
    if (!self->failed)
        say_streaming(self);
}
