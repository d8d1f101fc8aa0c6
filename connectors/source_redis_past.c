#include "source_redis.h"

#define LOOK_MAX 4096 /* entries of a comparison */

/* ---- what became of it ---- */

static void begin_epoch(struct dgf_redis_stream *stream)
{
    stream->memory.epoch++;
    stream->memory.n_claimed = 0;
    dgf_redis_freeze_id(stream);
}

static void recreated(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;
    struct dgf_redis_id from = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = facts->length ? dgf_redis_id_before(facts->first) : facts->last;
    memory->added = facts->added - facts->length;
    memory->added_known = true;
    memory->verified = memory->last;
    memory->n_marks = 0;
    stream->delivered = (struct dgf_redis_id){0};
    (void)dgf_redis_emit_gap(
        stream, DGF_GAP_STREAM_RECREATED, &from, epoch, memory->last, 0,
        "the stream was deleted and made again; what was added in between is unknown");
}

static void went_back(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_id from = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = memory->verified = stream->facts.last;
    memory->added = stream->facts.added;
    memory->added_known = true;
    (void)dgf_redis_emit_gap(stream, DGF_GAP_ID_REGRESSION, &from, epoch, memory->last,
                             0, "the ids of the stream went back");
}

static void branched(struct dgf_redis_stream *stream, struct dgf_redis_id common)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_id to = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = memory->verified = common;
    memory->added_known = false; /* until everything is read */
    while (memory->n_marks &&
           dgf_redis_id_cmp(memory->marks[memory->n_marks - 1].id, common) > 0)
        memory->n_marks--;
    stream->delivered = (struct dgf_redis_id){0};
    (void)dgf_redis_emit_divergence(
        stream, epoch, common, to,
        "entries that were judged are no longer in the stream: a failover or a restore "
        "lost them, and what came instead is judged now");
}

bool dgf_redis_act(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_verdict verdict;
    struct dgf_redis_id from = memory->last;

    if (!stream->has_facts)
        return !stream->source->failed;
    verdict = dgf_redis_judge(memory, &stream->facts);
    switch (verdict.change) {
    case DGF_REDIS_SAME:
        return true;
    case DGF_REDIS_TRIMMED:
        memory->last = memory->verified = verdict.to;
        memory->added += verdict.lost;
        (void)dgf_redis_emit_gap(stream, DGF_GAP_STREAM_TRIMMED, &from, memory->epoch,
                                 verdict.to, verdict.lost,
                                 "entries were trimmed before they were read");
        return !stream->source->failed;
    case DGF_REDIS_RECREATED:
        recreated(stream);
        stream->discard = stream->again = true;
        return false;
    default:
        stream->discard = stream->look = true;
        return false;
    }
}

void dgf_redis_account(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;
    struct dgf_redis_id from = memory->verified, to = memory->last;
    uint64_t lost;

    if (!stream->has_facts || dgf_redis_id_cmp(memory->last, facts->last) != 0)
        return;
    lost = memory->added_known && facts->added > memory->added
               ? facts->added - memory->added
               : 0;
    if (memory->added_known && lost == 0 && facts->added == memory->added &&
        dgf_redis_id_cmp(memory->verified, memory->last) == 0)
        return;
    memory->added = facts->added;
    memory->added_known = true;
    memory->verified = memory->last;
    dgf_redis_touch(stream);
    if (lost == 0)
        return;
    if (dgf_redis_id_cmp(facts->max_deleted, from) > 0 &&
        dgf_redis_id_cmp(facts->max_deleted, to) < 0)
        to = facts->max_deleted;
    (void)dgf_redis_emit_gap(stream, DGF_GAP_STREAM_TRIMMED, &from, memory->epoch, to,
                             lost, "entries were deleted before they were read");
}

/* ---- comparing ---- */

static void compared(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    bool whole = DGF_REDIS_CONF(stream->source)->mode == DGF_REDIS_CURSOR;
    struct dgf_redis_id common = {0};

    if (!stream->has_facts || stream->source->failed) {
        dgf_redis_done(stream, false);
        return;
    }
    switch (dgf_redis_compare(memory, &stream->facts, stream->present,
                              stream->n_present, whole, &common)) {
    case DGF_REDIS_PAST_KEPT:
        memory->added_known =
            memory->added_known && stream->facts.added >= memory->added;
        break;
    case DGF_REDIS_PAST_BRANCHED:
        branched(stream, common);
        break;
    default:
        if (memory->n_marks == 0 && stream->facts.added >= memory->added)
            went_back(stream);
        else
            recreated(stream);
    }
    if (!stream->source->failed)
        dgf_redis_done(stream, true);
}

static void on_present(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    struct dgf_redis_entry entry;
    const char *why;

    (void)link;
    if (item->depth == 1 && stream->n_present < LOOK_MAX &&
        dgf_redis_entry_read(item->bytes, item->cut, &entry, &why) == DGF_OK)
        stream->present[stream->n_present++] =
            (struct dgf_redis_mark){entry.id, dgf_redis_entry_hash(item->bytes)};
    else if (item->depth == 0 && dgf_redis_read_error(stream, item))
        stream->has_facts = false;
    if (item->last)
        compared(stream);
}

void dgf_redis_look(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {
        .on_item = on_present, .ctx = stream, .explode = 1};
    char from[DGF_REDIS_ID_TEXT], to[DGF_REDIS_ID_TEXT];

    if (!stream->present)
        stream->present = dgf_calloc(LOOK_MAX, sizeof(*stream->present));
    if (!stream->present) {
        dgf_redis_fail(stream->source, DGF_RETRY, "out of memory");
        return;
    }
    stream->n_present = 0;
    dgf_redis_id_text(stream->memory.n_marks ? stream->memory.marks[0].id
                                             : stream->memory.last,
                      from);
    dgf_redis_id_text(stream->memory.last, to);
    dgf_redis_ask_facts(stream);
    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XRANGE"),
                                               dgf_bytes_str(stream->name),
                                               dgf_bytes_str(from), dgf_bytes_str(to),
                                               DGF_BYTES("COUNT"), DGF_BYTES("4096")},
                          6);
    dgf_redis_link_flush(&stream->node->data);
}
