#include "source_redis_group.h"

/* ---- the first time ---- */

/* Nothing is remembered: the group says where it stands. */
static void begin_fresh(struct dgf_redis_stream *stream, bool existed)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;

    memory->last = memory->verified = stream->delivered;
    memory->added_known = true;
    if (dgf_redis_id_is_zero(memory->last))
        memory->added = facts->added - facts->length;
    else if (dgf_redis_id_cmp(memory->last, facts->last) == 0)
        memory->added = facts->added;
    else if (stream->group_read_known)
        memory->added = stream->group_read;
    else
        memory->added_known = false;
    stream->fresh = false;
    if (existed && !dgf_redis_id_is_zero(memory->last)) {
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
    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){DGF_BYTES("XGROUP"), DGF_BYTES("CREATE"),
                             dgf_redis_name_of(stream), dgf_redis_group_of(stream),
                             dgf_bytes_str(id), DGF_BYTES("MKSTREAM")},
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

void dgf_redis_begin_due(struct dgf_redis_source *self)
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
            ours = dgf_bytes_eq(value.bytes, dgf_redis_group_of(stream));
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
                                               dgf_redis_name_of(stream),
                                               dgf_redis_group_of(stream),
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

void dgf_redis_ask_groups(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {.on_item = on_groups, .ctx = stream};

    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XINFO"), DGF_BYTES("GROUPS"),
                                               dgf_redis_name_of(stream)},
                          3);
}
