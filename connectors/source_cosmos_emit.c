#include <stdio.h>

#include "base/clock.h"
#include "source_cosmos.h"

static void out_of_memory(struct dgf_cosmos_source *self)
{
    dgf_cosmos_fail(self, DGF_RETRY, "out of memory");
}

void dgf_cosmos_emit(struct dgf_cosmos_source *self, struct dgf_event *take_event)
{
    enum dgf_rc rc = dgf_source_emit(&self->base, take_event);

    if (rc == DGF_AGAIN)
        self->blocked = true;
    else if (rc)
        dgf_cosmos_fail(self, rc, "the event was not taken");
}

bool dgf_cosmos_set_etag(struct dgf_cosmos_range *range, const char *etag)
{
    char *copy = dgf_strdup(etag);

    if (!copy)
        return false;
    dgf_free(range->etag);
    range->etag = copy;
    return true;
}

/* ---- positions ---- */

static void put_container(struct dgf_buf *out,
                          const struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_place place = {.name = dgf_bytes_str(container->name),
                                     .rid = dgf_bytes_str(container->rid),
                                     .since = dgf_bytes_str(container->since),
                                     .n_ranges = (uint32_t)container->n_ranges};

    if (container->phase != DGF_COSMOS_STARTED) {
        dgf_buf_add_bytes(out, dgf_buf_bytes(&container->stored));
        return;
    }
    dgf_cosmos_position_place(out, &place);
    for (size_t i = 0; i < container->n_ranges; i++) {
        const struct dgf_cosmos_range *range = container->ranges[i];
        struct dgf_cosmos_token token = {dgf_bytes_str(range->min),
                                         dgf_bytes_str(range->max),
                                         dgf_bytes_str(range->etag)};

        dgf_cosmos_position_token(out, &token);
    }
}

struct dgf_bytes dgf_cosmos_position_now(struct dgf_cosmos_source *self)
{
    struct dgf_buf *out = &self->scratch;
    uint32_t n = 0;

    for (size_t i = 0; i < self->n_containers; i++)
        n += self->containers[i].phase == DGF_COSMOS_STARTED ||
             self->containers[i].stored.len;
    dgf_buf_clear(out);
    dgf_cosmos_position_begin(out, (enum dgf_cosmos_mode)DGF_COSMOS_CONF(self)->mode,
                              dgf_bytes_str(self->account), n);
    for (size_t i = 0; i < self->n_containers; i++)
        put_container(out, &self->containers[i]);
    if (dgf_buf_rc(out)) {
        dgf_cosmos_fail(self, DGF_FATAL,
                        "the position has more than %u bytes: fewer containers in one "
                        "source",
                        DGF_COSMOS_POSITION_MAX);
        return (struct dgf_bytes){NULL, 0};
    }
    return dgf_buf_bytes(out);
}

static void begin_id(const struct dgf_cosmos_container *container,
                     struct dgf_id_hash *hash, const char *type)
{
    dgf_id_begin(hash, type);
    dgf_id_add(hash, DGF_BYTES("cosmos"));
    dgf_id_add(hash, dgf_bytes_str(container->rid));
}

/* ---- events beside the pages ---- */

void dgf_cosmos_emit_progress(struct dgf_cosmos_source *self)
{
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns()};
    struct dgf_id_hash hash;
    struct dgf_event *event;

    self->moved = false;
    self->progress_ns = dgf_clock_mono_ns();
    meta.seen_ns = meta.commit_ns;
    meta.position = dgf_cosmos_position_now(self);
    if (self->failed)
        return;
    dgf_id_begin(&hash, "progress");
    dgf_id_add(&hash, meta.position);
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(&self->builder, NULL, DGF_KIND_PROGRESS, DGF_OP_NONE);
    if (dgf_event_finish(&self->builder, &meta, &event))
        out_of_memory(self);
    else
        dgf_cosmos_emit(self, event);
}

void dgf_cosmos_emit_resume(struct dgf_cosmos_container *container)
{
    struct dgf_cosmos_source *self = container->source;
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns()};
    struct dgf_id_hash hash;
    struct dgf_event *event;
    struct dgf_buf since, text;
    enum dgf_rc rc;

    meta.seen_ns = meta.commit_ns;
    meta.position = dgf_cosmos_position_now(self);
    if (self->failed)
        return;
    dgf_buf_init(&since, 8192);
    dgf_buf_init(&text, 1024);
    dgf_cosmos_position_text(meta.position, &since);
    begin_id(container, &hash, "resume");
    dgf_id_add(&hash, dgf_buf_bytes(&since));
    meta.id = dgf_id_end(&hash);
    dgf_buf_addf(&text, "container '%s' is covered from here on", container->name);
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("since")), dgf_buf_bytes(&since));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("message")),
                   dgf_buf_bytes(&text));
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 2);
    dgf_mp_put_str(&builder->body, DGF_BYTES("account"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(self->account));
    dgf_mp_put_str(&builder->body, DGF_BYTES("container"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(container->name));
    dgf_event_section_end(builder);
    rc = dgf_event_finish(builder, &meta, &event);
    dgf_buf_release(&since);
    dgf_buf_release(&text);
    if (rc)
        out_of_memory(self);
    else
        dgf_cosmos_emit(self, event);
}

void dgf_cosmos_emit_gap(struct dgf_cosmos_container *container, enum dgf_gap reason,
                         const char *from, const char *range, const char *message)
{
    struct dgf_cosmos_source *self = container->source;
    const char *detail[] = {"container", container->name, "range", range};
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns()};
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;
    struct dgf_buf to;
    enum dgf_rc rc;

    meta.seen_ns = meta.commit_ns;
    meta.position = dgf_cosmos_position_now(self);
    if (self->failed)
        return;
    dgf_buf_init(&to, 8192);
    dgf_cosmos_position_text(meta.position, &to);
    begin_id(container, &hash, "gap");
    dgf_id_add(&hash, dgf_bytes_str(dgf_gap_text(reason)));
    dgf_id_add(&hash, dgf_bytes_str(from));
    dgf_id_add(&hash, dgf_buf_bytes(&to));
    meta.id = dgf_id_end(&hash);
    rc = dgf_event_gap(&self->builder, reason, from, dgf_buf_str(&to), message, detail,
                       range ? 2 : 1, &meta, &event);
    dgf_buf_release(&to);
    if (rc)
        out_of_memory(self);
    else
        dgf_cosmos_emit(self, event);
}

/* ---- pages ---- */

/* A page on its way out.  The position is in its last event only. */
struct paging {
    struct dgf_cosmos_range *range;
    struct dgf_cosmos_source *self;
    char old_range[1100];
    int64_t lsn; /* of the transaction that is open */
    bool in_tx;
    uint64_t tx_n;
    int64_t last_commit_ns;
    char tx[1200];
};

static void undecodable(struct paging *p, const struct dgf_cosmos_change *change,
                        struct dgf_bytes bytes, const char *why,
                        struct dgf_event_meta *meta, struct dgf_event **ret)
{
    struct dgf_event_builder *builder = &p->self->builder;
    uint8_t digest[DGF_SHA256_LEN];

    dgf_sha256(bytes, digest);
    dgf_event_begin(builder, p->range->container->object, DGF_KIND_UNDECODABLE,
                    change ? change->op : DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("size")), (int64_t)bytes.len);
    dgf_mp_put_bin(dgf_event_named(builder, DGF_BYTES("hash")),
                   dgf_bytes_of(digest, sizeof(digest)));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("what")),
                   change ? DGF_BYTES("document") : DGF_BYTES("page"));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("why")), dgf_bytes_str(why));
    dgf_event_section_end(builder);
    if (dgf_event_finish(builder, meta, ret))
        out_of_memory(p->self);
}

static struct dgf_id change_id(const struct paging *p,
                               const struct dgf_cosmos_change *change,
                               struct dgf_bytes item)
{
    struct dgf_id_hash hash;

    begin_id(p->range->container, &hash, "change");
    dgf_id_add(&hash, dgf_bytes_str(p->old_range));
    dgf_id_add_u64(&hash, change->has_lsn ? (uint64_t)change->lsn : UINT64_MAX);
    /* Without an id only its bytes tell it from others. */
    dgf_id_add(&hash, change->id.len ? change->id : item);
    dgf_id_add(&hash, dgf_bytes_str(dgf_op_text(change->op)));
    return dgf_id_end(&hash);
}

/* One change as an event without a position; NULL: failed. */
static struct dgf_event *make(struct paging *p, struct dgf_bytes item,
                              const struct dgf_cosmos_change *change, const char *why,
                              struct dgf_event_meta *meta)
{
    struct dgf_cosmos_container *container = p->range->container;
    enum dgf_cosmos_mode mode = (enum dgf_cosmos_mode)DGF_COSMOS_CONF(p->self)->mode;
    struct dgf_event *event = NULL;

    if (!why) {
        why = dgf_cosmos_change_build(change, mode, &container->key, container->object,
                                      &p->self->builder);
        if (!why && dgf_event_finish(&p->self->builder, meta, &event) == DGF_OK)
            return event;
        if (!why)
            why = "larger than limits.event_bytes";
    }
    undecodable(p, change, item, why, meta, &event);
    return event;
}

static struct dgf_event *make_tx_end(struct paging *p)
{
    struct dgf_event_meta meta = {.commit_ns = p->last_commit_ns,
                                  .seen_ns = dgf_clock_ns(),
                                  .tx = dgf_bytes_str(p->tx),
                                  .tx_n = p->tx_n};
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;

    begin_id(p->range->container, &hash, "transaction");
    dgf_id_add(&hash, meta.tx);
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(&p->self->builder, NULL, DGF_KIND_TRANSACTION, DGF_OP_NONE);
    if (dgf_event_finish(&p->self->builder, &meta, &event))
        out_of_memory(p->self);
    p->in_tx = false;
    return event;
}

/* What follows it decides whether an event ends its page. */
struct held {
    struct dgf_bytes item;
    struct dgf_cosmos_change change;
    const char *why;
    bool is;
};

static void send_held(struct paging *p, struct held *held, bool joins_next, bool last,
                      const char *etag)
{
    struct dgf_event_meta meta = {.seen_ns = dgf_clock_ns(),
                                  .cause = held->change.cause};
    bool joins = p->in_tx || joins_next;

    meta.commit_ns =
        held->change.time_s ? held->change.time_s * DGF_COSMOS_SECOND : meta.seen_ns;
    p->last_commit_ns = meta.commit_ns;
    if (joins && !p->in_tx) {
        p->in_tx = true;
        p->tx_n = 0;
        (void)snprintf(p->tx, sizeof(p->tx), "%s:%lld", p->old_range,
                       (long long)held->change.lsn);
    }
    if (joins) {
        meta.tx = dgf_bytes_str(p->tx);
        meta.tx_n = ++p->tx_n;
    }
    meta.id = change_id(p, &held->change, held->item);
    if (last && !joins) {
        if (!dgf_cosmos_set_etag(p->range, etag)) {
            out_of_memory(p->self);
            return;
        }
        meta.position = dgf_cosmos_position_now(p->self);
    }
    if (!p->self->failed) {
        struct dgf_event *event = make(p, held->item, &held->change, held->why, &meta);

        if (event)
            dgf_cosmos_emit(p->self, event);
    }
    if (p->in_tx && !joins_next && !p->self->failed) {
        struct dgf_event *event = make_tx_end(p);

        if (event)
            dgf_cosmos_emit(p->self, event);
    }
}

void dgf_cosmos_emit_page(struct dgf_cosmos_range *range, struct dgf_bytes body,
                          struct dgf_cosmos_page *page, const char *etag)
{
    struct dgf_cosmos_source *self = range->container->source;
    enum dgf_cosmos_mode mode = (enum dgf_cosmos_mode)DGF_COSMOS_CONF(self)->mode;
    struct paging paging = {.range = range, .self = self};
    struct held held = {.is = false}, next;
    bool ended_in_tx = false;

    (void)body;
    (void)snprintf(paging.old_range, sizeof(paging.old_range), "%s-%s", range->min,
                   range->max);
    while (!self->failed && dgf_cosmos_page_next(page, &next.item)) {
        next.why = dgf_cosmos_change_read(next.item, mode, &next.change);
        next.is = true;
        if (held.is)
            send_held(&paging, &held,
                      held.change.has_lsn && next.change.has_lsn &&
                          held.change.lsn == next.change.lsn,
                      false, etag);
        held = next;
    }
    if (held.is && !self->failed) {
        ended_in_tx = paging.in_tx;
        send_held(&paging, &held, false, true, etag);
    }
    if (self->failed)
        return;
    if (!held.is || ended_in_tx) { /* nobody carried the position */
        if (!dgf_cosmos_set_etag(range, etag)) {
            out_of_memory(self);
            return;
        }
        self->moved = true;
        if (ended_in_tx)
            dgf_cosmos_emit_progress(self);
    }
}

void dgf_cosmos_emit_broken_page(struct dgf_cosmos_range *range, struct dgf_bytes body,
                                 const char *etag, const char *why)
{
    struct dgf_cosmos_source *self = range->container->source;
    struct paging paging = {.range = range, .self = self};
    struct dgf_event_meta meta = {.seen_ns = dgf_clock_ns()};
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;

    begin_id(range->container, &hash, "page");
    dgf_id_add(&hash, dgf_bytes_str(range->min));
    dgf_id_add(&hash, dgf_bytes_str(range->max));
    dgf_id_add(&hash, dgf_bytes_str(range->etag));
    meta.id = dgf_id_end(&hash);
    meta.commit_ns = meta.seen_ns;
    if (!dgf_cosmos_set_etag(range, etag)) {
        out_of_memory(self);
        return;
    }
    meta.position = dgf_cosmos_position_now(self);
    if (self->failed)
        return;
    undecodable(&paging, NULL, body, why, &meta, &event);
    if (event)
        dgf_cosmos_emit(self, event);
}
