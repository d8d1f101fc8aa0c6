#include <stdio.h>

#include "base/clock.h"
#include "source_redis.h"

/* Two consumers of ours: one reads new entries, the other holds what was taken
 * over from others.  So after a crash our pending entries say by themselves what
 * was judged: of the first, everything up to the newest one remembered; of the
 * second, what stands in `claimed`. */

#define SWEEP 100 /* entries of one XAUTOCLAIM */
#define PAGE 1000 /* of one look at pending entries */
#define ACKS 1000 /* ids of one XACK */
#define SECOND_NS INT64_C(1000000000)

static void begin(struct dgf_redis_stream *stream);

static struct dgf_bytes name_of(const struct dgf_redis_stream *stream)
{
    return dgf_bytes_str(stream->name);
}

static struct dgf_bytes group_of(const struct dgf_redis_stream *stream)
{
    return dgf_bytes_str(DGF_REDIS_CONF(stream->source)->group);
}

static bool is_zero(struct dgf_redis_id id)
{
    return id.ms == 0 && id.seq == 0;
}

/* ---- acknowledging ---- */

void dgf_redis_group_release(struct dgf_redis_source *self)
{
    while (self->acking) {
        struct dgf_redis_acking *next = self->acking->next;

        dgf_free(self->acking);
        self->acking = next;
    }
    dgf_free(self->acks);
    self->acks = NULL;
    self->n_acks = self->cap_acks = self->first_ack = 0;
}

static void on_ack(struct dgf_redis_link *link, const struct dgf_redis_command *command,
                   const struct dgf_resp_item *item)
{
    struct dgf_redis_acking *acking = command->ctx, **at = &link->source->acking;
    struct dgf_bytes text = dgf_redis_error(item);

    link->source->n_asked--;
    if (text.len) {
        dgf_redis_fail(link->source,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot acknowledge entries: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (!acking)
        return;
    for (size_t i = 0; i < acking->n; i++)
        dgf_redis_memory_unclaim(&acking->stream->memory, acking->ids[i]);
    dgf_redis_touch(acking->stream);
    while (*at != acking)
        at = &(*at)->next;
    *at = acking->next;
    dgf_free(acking);
}

/* n acknowledgements of one stream and one kind, from the front of the ring. */
static void send_acks(struct dgf_redis_source *self, size_t n)
{
    const struct dgf_redis_ack *first = &self->acks[self->first_ack];
    struct dgf_redis_stream *stream = first->stream;
    struct dgf_redis_command command = {.on_item = on_ack, .ack = true};
    struct dgf_redis_acking *acking = NULL;
    struct dgf_bytes words[ACKS + 3] = {DGF_BYTES("XACK"), name_of(stream),
                                        group_of(stream)};
    static char texts[ACKS][DGF_REDIS_ID_TEXT]; /* on the loop only */

    if (first->claimed) {
        acking = dgf_calloc(1, sizeof(*acking) + n * sizeof(acking->ids[0]));
        if (!acking) {
            dgf_redis_fail(self, DGF_RETRY, "out of memory");
            return;
        }
        acking->stream = stream;
        acking->next = self->acking;
        self->acking = acking;
        command.ctx = acking;
    }
    for (size_t i = 0; i < n; i++) {
        const struct dgf_redis_ack *ack =
            &self->acks[(self->first_ack + i) % self->cap_acks];

        dgf_redis_id_text(ack->id, texts[i]);
        words[3 + i] = dgf_bytes_str(texts[i]);
        if (acking)
            acking->ids[acking->n++] = ack->id;
    }
    self->first_ack = (self->first_ack + n) % self->cap_acks;
    self->n_acks -= n;
    stream->n_unacked -= n;
    stream->unacked_since_ns = dgf_clock_mono_ns();
    self->n_asked++;
    dgf_redis_stream_send(stream, command, words, n + 3);
    dgf_redis_link_flush(&stream->node->data);
}

void dgf_redis_group_durable(struct dgf_redis_source *self)
{
    while (self->n_acks && !self->failed) {
        const struct dgf_redis_ack *first = &self->acks[self->first_ack];
        size_t n = 0;

        while (n < self->n_acks && n < ACKS) {
            const struct dgf_redis_ack *ack =
                &self->acks[(self->first_ack + n) % self->cap_acks];

            if (ack->seq > self->durable_seq || ack->stream != first->stream ||
                ack->claimed != first->claimed)
                break;
            n++;
        }
        if (n == 0 || !first->stream->node->data.up)
            return;
        send_acks(self, n);
    }
}

/* To be acknowledged once everything that was emitted so far is durable. */
static bool note(struct dgf_redis_stream *stream, struct dgf_redis_id id, bool claimed)
{
    struct dgf_redis_source *self = stream->source;

    if (self->n_acks == self->cap_acks) {
        size_t cap = self->cap_acks ? 2 * self->cap_acks : 1024;
        struct dgf_redis_ack *acks = dgf_calloc(cap, sizeof(*acks));

        if (!acks) {
            dgf_redis_fail(self, DGF_RETRY, "out of memory");
            return false;
        }
        for (size_t i = 0; i < self->n_acks; i++)
            acks[i] = self->acks[(self->first_ack + i) % self->cap_acks];
        dgf_free(self->acks);
        self->acks = acks;
        self->cap_acks = cap;
        self->first_ack = 0;
    }
    self->acks[(self->first_ack + self->n_acks++) % self->cap_acks] =
        (struct dgf_redis_ack){self->base.next_seq - 1, stream, id, claimed};
    if (stream->n_unacked++ == 0)
        stream->unacked_since_ns = dgf_clock_mono_ns();
    return true;
}

/* ---- poison ---- */

/* [[id, consumer, idle, deliveries], ...] */
static void on_pending(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    int64_t most = DGF_REDIS_CONF(link->source)->max_deliveries;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, row, id, skip, deliveries;
    struct dgf_redis_id poison;

    stream->n_poison = 0;
    if (dgf_redis_error(item).len || dgf_resp_next(&resp, &head) ||
        head.kind != DGF_RESP_ARRAY)
        return;
    for (int64_t i = 0; i < head.number && stream->n_poison < PAGE; i++) {
        if (dgf_resp_next(&resp, &row) || row.kind != DGF_RESP_ARRAY ||
            row.number != 4 || dgf_resp_next(&resp, &id) ||
            dgf_resp_next(&resp, &skip) || dgf_resp_next(&resp, &skip) ||
            dgf_resp_next(&resp, &deliveries))
            return;
        if (deliveries.kind == DGF_RESP_INT && deliveries.number >= most &&
            dgf_redis_id_parse(id.bytes, &poison))
            stream->poison[stream->n_poison++] = poison;
    }
}

static void ask_pending(struct dgf_redis_stream *stream, const char *consumer)
{
    struct dgf_redis_command command = {.on_item = on_pending, .ctx = stream};
    char idle[24], from[DGF_REDIS_ID_TEXT + 1];
    struct dgf_bytes words[8] = {DGF_BYTES("XPENDING"), name_of(stream),
                                 group_of(stream)};
    size_t n = 3;

    if (!stream->poison)
        stream->poison = dgf_calloc(PAGE, sizeof(*stream->poison));
    if (!stream->poison) {
        dgf_redis_fail(stream->source, DGF_RETRY, "out of memory");
        return;
    }
    from[0] = '(';
    dgf_redis_id_text(stream->cursor, from + 1);
    if (!consumer) {
        (void)snprintf(
            idle, sizeof(idle), "%lld",
            (long long)(DGF_REDIS_CONF(stream->source)->claim_idle_ns / 1000000));
        words[n++] = DGF_BYTES("IDLE");
        words[n++] = dgf_bytes_str(idle);
    }
    words[n++] = is_zero(stream->cursor) ? DGF_BYTES("-") : dgf_bytes_str(from);
    words[n++] = DGF_BYTES("+");
    words[n++] = DGF_BYTES("1000");
    if (consumer)
        words[n++] = dgf_bytes_str(consumer);
    dgf_redis_stream_send(stream, command, words, n);
}

static bool is_poison(const struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    for (size_t i = 0; i < stream->n_poison; i++)
        if (dgf_redis_id_cmp(stream->poison[i], id) == 0)
            return true;
    return false;
}

/* ---- entries ---- */

static void emit_deleted(struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    struct dgf_redis_id from = dgf_redis_id_before(id);

    (void)dgf_redis_emit_gap(
        stream, DGF_GAP_PENDING_DELETED, &from, stream->memory.epoch, id, 1,
        "an entry that was pending was deleted before it was read");
}

/* False: the attempt was ended. */
static bool judge(struct dgf_redis_stream *stream, const struct dgf_redis_entry *entry,
                  const struct dgf_resp_item *item)
{
    if (entry->deleted)
        emit_deleted(stream, entry->id);
    else
        (void)dgf_redis_emit_entry(stream, entry, item,
                                   is_poison(stream, entry->id)
                                       ? "it was delivered as often as max_deliveries"
                                       : NULL);
    return !stream->source->failed;
}

/* One that another consumer had. */
static void take_claimed(struct dgf_redis_stream *stream,
                         const struct dgf_redis_entry *entry,
                         const struct dgf_resp_item *item, bool again)
{
    if (dgf_redis_memory_claimed(&stream->memory, entry->id)) {
        if (again) /* a session before this one judged it */
            (void)note(stream, entry->id, true);
        return;
    }
    if (!judge(stream, entry, item))
        return;
    if (!dgf_redis_memory_claim(&stream->memory, entry->id)) {
        dgf_redis_fail(stream->source, DGF_RETRY, "too many entries were taken over");
        return;
    }
    dgf_redis_touch(stream);
    (void)note(stream, entry->id, true);
}

/* One of our own, in the order of the stream. */
static void take_own(struct dgf_redis_stream *stream,
                     const struct dgf_redis_entry *entry,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_memory *memory = &stream->memory;
    bool newer = dgf_redis_id_cmp(entry->id, memory->last) > 0;

    if ((newer || stream->judge_pending) && !judge(stream, entry, item))
        return;
    if (newer) {
        memory->last = entry->id;
        memory->added++;
        if (!entry->deleted && item->n - item->index <= DGF_REDIS_MARKS)
            dgf_redis_memory_mark(memory, entry->id, item->bytes);
        else
            memory->n_marks = 0;
        dgf_redis_touch(stream);
    }
    (void)note(stream, entry->id, false);
}

static void take(struct dgf_redis_stream *stream, const struct dgf_resp_item *item)
{
    struct dgf_redis_entry entry;
    const char *why;

    if (dgf_redis_entry_read(item->bytes, item->cut, &entry, &why)) {
        dgf_redis_fail(stream->source, DGF_RETRY,
                       "an entry of stream '%s' cannot be understood", stream->name);
        return;
    }
    stream->n_items++;
    if (stream->phase != DGF_REDIS_PHASE_STREAM)
        stream->cursor = entry.id;
    if (stream->phase == DGF_REDIS_PHASE_CLAIMED)
        take_claimed(stream, &entry, item, true);
    else
        take_own(stream, &entry, item);
    if (stream->phase == DGF_REDIS_PHASE_STREAM && stream->sole &&
        !stream->source->failed)
        dgf_redis_account(stream);
}

static bool is_under_way(const struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    const struct dgf_redis_source *self = stream->source;
    const struct dgf_redis_acking *acking;

    for (size_t i = 0; i < self->n_acks; i++) {
        const struct dgf_redis_ack *ack =
            &self->acks[(self->first_ack + i) % self->cap_acks];

        if (ack->claimed && ack->stream == stream && dgf_redis_id_cmp(ack->id, id) == 0)
            return true;
    }
    for (acking = self->acking; acking; acking = acking->next)
        for (size_t i = 0; acking->stream == stream && i < acking->n; i++)
            if (dgf_redis_id_cmp(acking->ids[i], id) == 0)
                return true;
    return false;
}

/* All that is pending of what was taken over was read.  What is remembered beyond it
 * was acknowledged right before a kill, and nobody will ask for it again. */
static void forget_acknowledged(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;

    for (uint32_t i = memory->n_claimed; i-- > 0;) {
        if (is_under_way(stream, memory->claimed[i]))
            continue;
        dgf_redis_memory_unclaim(memory, memory->claimed[i]);
        dgf_redis_touch(stream);
    }
}

/* ---- reading ---- */

static void end_read(struct dgf_redis_stream *stream)
{
    bool more = stream->n_items > 0;

    if (stream->source->failed)
        return;
    dgf_redis_group_durable(stream->source);
    if (stream->ahead) {
        stream->ahead = false;
        return;
    }
    if (stream->look) {
        dgf_redis_look(stream);
        return;
    }
    if (stream->discard || stream->phase == DGF_REDIS_PHASE_NEW) {
        stream->phase = DGF_REDIS_PHASE_NEW;
        dgf_redis_done(stream, !stream->gone && !stream->wrong_type);
        return;
    }
    if (!more && stream->phase != DGF_REDIS_PHASE_STREAM) {
        if (stream->phase == DGF_REDIS_PHASE_PENDING) {
            stream->phase = DGF_REDIS_PHASE_CLAIMED;
        } else {
            forget_acknowledged(stream);
            stream->phase = DGF_REDIS_PHASE_STREAM;
        }
        stream->judge_pending = false;
        stream->cursor = (struct dgf_redis_id){0};
        stream->n_poison = 0;
        more = true;
    } else if (stream->phase == DGF_REDIS_PHASE_STREAM) {
        more = stream->n_items >= (uint64_t)DGF_REDIS_CONF(stream->source)->count;
    }
    dgf_redis_done(stream, more);
}

/* Of a whole answer of new entries: the server makes the next one while we judge
 * this.  What is pending then is read again should this one end in a failure. */
static void go_ahead(struct dgf_redis_stream *stream, uint64_t n)
{
    if (stream->phase != DGF_REDIS_PHASE_STREAM || stream->claiming ||
        n < (uint64_t)DGF_REDIS_CONF(stream->source)->count ||
        !dgf_redis_may_go_ahead(stream))
        return;
    stream->ahead = true;
    dgf_redis_group_read(stream);
    dgf_redis_link_flush(&stream->node->data);
}

/* [[name, [entries]]] or nil; entries are three deep. */
static void on_read(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;

    if (item->depth == 0 && dgf_redis_error_is(item, "NOGROUP"))
        stream->phase = DGF_REDIS_PHASE_NEW; /* made again at what we remember */
    else if (item->depth == 0 && dgf_redis_read_error(stream, item))
        stream->discard = true;
    else if (item->depth == 3 && !stream->discard && !link->source->failed) {
        if (item->index == 1)
            go_ahead(stream, item->n);
        take(stream, item);
    }
    if (item->last)
        end_read(stream);
}

static void send_read(struct dgf_redis_stream *stream, const char *consumer,
                      const char *from)
{
    struct dgf_redis_command command = {
        .on_item = on_read, .ctx = stream, .explode = 3};
    int64_t most = DGF_REDIS_CONF(stream->source)->count;
    char count[24];

    if (stream->phase != DGF_REDIS_PHASE_STREAM && most > PAGE)
        most = PAGE;
    (void)snprintf(count, sizeof(count), "%lld", (long long)most);
    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){
            DGF_BYTES("XREADGROUP"), DGF_BYTES("GROUP"), group_of(stream),
            dgf_bytes_str(consumer), DGF_BYTES("COUNT"), dgf_bytes_str(count),
            DGF_BYTES("STREAMS"), name_of(stream), dgf_bytes_str(from)},
        9);
}

/* ---- what the group says ---- */

static bool read_group(struct dgf_redis_stream *stream, struct dgf_resp *resp)
{
    struct dgf_resp_token head, key, value;
    bool ours = false;
    uint64_t consumers = 0;

    stream->group_read_known = false;
    if (dgf_resp_next(resp, &head) || head.kind != DGF_RESP_ARRAY)
        return false;
    for (int64_t i = 0; i < head.number / 2; i++) {
        if (dgf_resp_next(resp, &key) || dgf_resp_next(resp, &value))
            return false;
        if (dgf_bytes_eq(key.bytes, DGF_BYTES("name")))
            ours = dgf_bytes_eq(value.bytes, group_of(stream));
        if (!ours)
            continue;
        if (dgf_bytes_eq(key.bytes, DGF_BYTES("consumers")))
            consumers = (uint64_t)value.number;
        else if (dgf_bytes_eq(key.bytes, DGF_BYTES("last-delivered-id")))
            (void)dgf_redis_id_parse(value.bytes, &stream->delivered);
        else if (dgf_bytes_eq(key.bytes, DGF_BYTES("entries-read")) &&
                 value.kind == DGF_RESP_INT) {
            stream->group_read = (uint64_t)value.number;
            stream->group_read_known = true;
        }
    }
    if (ours) {
        stream->group_exists = true;
        stream->sole = consumers <= 2;
    }
    return true;
}

static void on_set_id(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    (void)link;
    (void)dgf_redis_read_error(command->ctx, item);
}

/* Nobody but us reads, and the group stands beyond what we judged: somebody
 * moved it.  It goes back to where we are, so nothing is left out. */
static void put_back(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {.on_item = on_set_id, .ctx = stream};
    char id[DGF_REDIS_ID_TEXT];

    dgf_redis_id_text(stream->memory.last, id);
    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XGROUP"), DGF_BYTES("SETID"),
                                               name_of(stream), group_of(stream),
                                               dgf_bytes_str(id)},
                          5);
    dgf_redis_link_flush(&stream->node->data);
    stream->discard = true;
}

/* Before new entries: what others read is theirs, what is missing is a gap. */
static void meet_group(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;

    if (!stream->group_exists) {
        stream->discard = true; /* NOGROUP follows */
        return;
    }
    if (dgf_redis_id_cmp(stream->delivered, memory->last) > 0) {
        if (stream->sole) {
            put_back(stream);
            return;
        }
        memory->last = memory->verified = stream->delivered;
        memory->added = stream->group_read;
        memory->added_known = stream->group_read_known;
        memory->n_marks = 0;
        dgf_redis_touch(stream);
    }
    (void)dgf_redis_act(stream);
}

static void on_groups(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head;

    stream->group_exists = false;
    if (!dgf_redis_read_error(stream, item)) {
        if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
            head.number = -1;
        for (int64_t i = 0; i < head.number && !stream->group_exists; i++)
            if (!read_group(stream, &resp))
                head.number = -1;
        if (head.number < 0)
            dgf_redis_fail(link->source, DGF_RETRY,
                           "the answer to XINFO GROUPS of '%s' cannot be understood",
                           stream->name);
    }
    if (link->source->failed)
        return;
    if (stream->phase == DGF_REDIS_PHASE_NEW)
        begin(stream);
    else if (!stream->discard)
        meet_group(stream);
}

static void ask_groups(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {.on_item = on_groups, .ctx = stream};

    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){DGF_BYTES("XINFO"), DGF_BYTES("GROUPS"), name_of(stream)},
        3);
}

/* ---- the first time ---- */

/* Nothing is remembered: the group says where it stands. */
static void begin_fresh(struct dgf_redis_stream *stream, bool existed)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;

    memory->last = memory->verified = stream->delivered;
    memory->added_known = true;
    if (is_zero(memory->last))
        memory->added = facts->added - facts->length;
    else if (dgf_redis_id_cmp(memory->last, facts->last) == 0)
        memory->added = facts->added;
    else if (stream->group_read_known)
        memory->added = stream->group_read;
    else
        memory->added_known = false;
    stream->fresh = false;
    if (existed && !is_zero(memory->last)) {
        stream->judge_pending = true;
        if (!dgf_redis_emit_gap(stream, DGF_GAP_STATE_LOST, NULL, 1, memory->last, 0,
                                "the consumer group exists, but nothing is known of a "
                                "position in it"))
            return;
    }
    (void)dgf_redis_emit_resume(stream);
}

static void go_on(struct dgf_redis_stream *stream)
{
    if (stream->memory.group_due) {
        stream->memory.group_due = false;
        dgf_redis_touch(stream);
    }
    if (stream->fresh)
        begin_fresh(stream, true);
    stream->phase = DGF_REDIS_PHASE_PENDING;
    stream->cursor = (struct dgf_redis_id){0};
    stream->n_poison = 0;
    if (!stream->source->failed)
        dgf_redis_done(stream, true);
}

static void on_create(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;

    /* Made or removed meanwhile: asked again. */
    if (dgf_redis_error_is(item, "BUSYGROUP") ||
        dgf_redis_error_is(item, "ERR The XGROUP subcommand requires the key")) {
        dgf_redis_done(stream, dgf_redis_error_is(item, "BUSYGROUP"));
        return;
    }
    if (dgf_redis_read_error(stream, item)) {
        if (!link->source->failed)
            dgf_redis_done(stream, false);
        return;
    }
    go_on(stream);
}

static void create_group(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {.on_item = on_create, .ctx = stream};
    char id[DGF_REDIS_ID_TEXT];

    dgf_redis_id_text(stream->memory.last, id);
    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XGROUP"), DGF_BYTES("CREATE"),
                                               name_of(stream), group_of(stream),
                                               dgf_bytes_str(id),
                                               DGF_BYTES("MKSTREAM")},
                          stream->named && stream->memory.group_due ? 6 : 5);
    dgf_redis_link_flush(&stream->node->data);
}

/* A group of ours that the ledger knows nothing of would look like a loss after a
 * crash, so where it begins is written down before it is made. */
static void intend(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    bool now = DGF_REDIS_CONF(self)->start == DGF_REDIS_NOW && !self->caught_up;

    stream->delivered = now ? stream->facts.last : (struct dgf_redis_id){0};
    stream->memory.group_due = true;
    begin_fresh(stream, false);
}

static bool is_due(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;

    if (!stream->memory.group_due || stream->due_kept)
        return true; /* one that somebody removed is made at once */
    if (stream->due_seq)
        return false;
    stream->due_kept = self->durable_seq + 1 >= self->base.next_seq;
    if (!stream->due_kept) {
        stream->due_seq = self->base.next_seq - 1;
        self->n_due++;
    }
    return stream->due_kept;
}

void dgf_redis_group_due(struct dgf_redis_source *self)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    while (self->n_due && !self->failed &&
           (entry = dgf_map_next(&self->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;

        if (!stream->due_seq || stream->due_seq > self->durable_seq)
            continue;
        stream->due_seq = 0;
        stream->due_kept = true;
        self->n_due--;
        dgf_redis_queue(stream);
        dgf_redis_next(stream->node);
    }
}

static void begin(struct dgf_redis_stream *stream)
{
    bool may_make = stream->named && (stream->fresh || stream->memory.group_due);

    if (stream->wrong_type || stream->ask || (stream->gone && !may_make)) {
        dgf_redis_done(stream, false);
        return;
    }
    if (stream->gone)
        stream->facts = (struct dgf_redis_facts){0};
    if (!stream->fresh && !dgf_redis_act(stream)) {
        if (stream->look)
            dgf_redis_look(stream);
        else if (!stream->source->failed)
            dgf_redis_done(stream, true);
        return;
    }
    if (stream->group_exists) {
        go_on(stream);
        return;
    }
    if (stream->fresh)
        intend(stream);
    if (stream->source->failed)
        return;
    if (is_due(stream))
        create_group(stream);
    else
        dgf_redis_done(stream, false);
}

/* ---- taking over ---- */

/* [cursor, [entries], [deleted ids]] */
static void on_claim(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token token;
    struct dgf_redis_entry entry = {.n_fields = 0};
    const char *why;

    if (item->depth == 0) {
        stream->claiming = false;
        if (!dgf_redis_error_is(item, "NOGROUP") && !dgf_redis_read_error(stream, item))
            dgf_redis_fail(link->source, DGF_RETRY,
                           "the answer to XAUTOCLAIM cannot be understood");
    } else if (dgf_resp_next(&resp, &token) == DGF_OK) {
        if (item->depth == 1 && item->index == 0)
            (void)dgf_redis_id_parse(token.bytes, &stream->cursor);
        else if (item->depth == 2 && token.kind == DGF_RESP_BULK &&
                 dgf_redis_id_parse(token.bytes, &entry.id)) {
            if (!dgf_redis_memory_claimed(&stream->memory, entry.id))
                emit_deleted(stream, entry.id);
        } else if (item->depth == 2 && !link->source->failed &&
                   dgf_redis_entry_read(item->bytes, item->cut, &entry, &why) == DGF_OK)
            take_claimed(stream, &entry, item, false);
    }
    if (!item->last || link->source->failed)
        return;
    stream->claiming = stream->claiming && !is_zero(stream->cursor);
    dgf_redis_group_durable(link->source);
    if (!link->source->failed)
        dgf_redis_done(stream, true);
}

static void send_claim(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_redis_command command = {
        .on_item = on_claim, .ctx = stream, .explode = 2};
    char idle[24], from[DGF_REDIS_ID_TEXT];

    (void)snprintf(idle, sizeof(idle), "%lld",
                   (long long)(DGF_REDIS_CONF(self)->claim_idle_ns / 1000000));
    dgf_redis_id_text(stream->cursor, from);
    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){DGF_BYTES("XAUTOCLAIM"), name_of(stream), group_of(stream),
                             dgf_bytes_str(self->claimer), dgf_bytes_str(idle),
                             dgf_bytes_str(from), DGF_BYTES("COUNT"), DGF_BYTES("100")},
        8);
}

/* What we hold ourselves must never look abandoned to our own sweep. */
static bool may_sweep(const struct dgf_redis_stream *stream, int64_t now_ns)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(stream->source);

    return stream->memory.n_claimed + SWEEP <= DGF_REDIS_CLAIMED_MAX &&
           (stream->n_unacked == 0 ||
            now_ns - stream->unacked_since_ns + SECOND_NS < conf->claim_idle_ns);
}

void dgf_redis_group_tick(struct dgf_redis_source *self, int64_t now_ns)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);
    struct dgf_map_entry *entry;
    size_t at = 0;

    if (conf->mode != DGF_REDIS_GROUP || !self->streaming)
        return;
    while (!self->failed && (entry = dgf_map_next(&self->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;

        if (stream->state != DGF_REDIS_IDLE || stream->gone || stream->wrong_type ||
            stream->phase != DGF_REDIS_PHASE_STREAM || !stream->node->data.up ||
            now_ns - stream->claimed_ns < conf->claim_interval_ns ||
            !may_sweep(stream, now_ns))
            continue;
        stream->claimed_ns = now_ns;
        stream->claiming = true;
        stream->cursor = (struct dgf_redis_id){0};
        dgf_redis_queue(stream);
        dgf_redis_next(stream->node);
    }
}

/* ---- a turn ---- */

void dgf_redis_group_read(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    char from[DGF_REDIS_ID_TEXT];
    const char *consumer;

    if (stream->phase == DGF_REDIS_PHASE_NEW) {
        dgf_redis_ask_facts(stream);
        ask_groups(stream);
        return;
    }
    if (stream->phase == DGF_REDIS_PHASE_STREAM && stream->claiming) {
        ask_pending(stream, NULL);
        send_claim(stream);
        return;
    }
    if (stream->phase == DGF_REDIS_PHASE_STREAM) {
        dgf_redis_ask_facts(stream);
        ask_groups(stream);
        send_read(stream, self->consumer, ">");
        return;
    }
    consumer =
        stream->phase == DGF_REDIS_PHASE_PENDING ? self->consumer : self->claimer;
    stream->has_facts = stream->discard = stream->look = false;
    stream->n_items = 0;
    ask_pending(stream, consumer);
    dgf_redis_id_text(stream->cursor, from);
    send_read(stream, consumer, from);
}
