#include "source_redis_group.h"

#include <stdio.h>

/* ---- entries ---- */

static void emit_deleted(struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    struct dgf_redis_id from = dgf_redis_id_before(id);

    (void)dgf_redis_emit_gap(
        stream, DGF_GAP_PENDING_DELETED, &from, stream->memory.epoch, id, 1,
        "an entry that was pending was deleted before it was read");
}

bool dgf_redis_group_judge(struct dgf_redis_stream *stream,
                           const struct dgf_redis_entry *entry,
                           const struct dgf_resp_item *item)
{
    if (entry->deleted)
        emit_deleted(stream, entry->id);
    else
        (void)dgf_redis_emit_entry(stream, entry, item,
                                   dgf_redis_is_poison(stream, entry->id)
                                       ? "it was delivered as often as max_deliveries"
                                       : NULL);
    return !stream->source->failed;
}

/* One of our own, in the order of the stream. */
static void take_own(struct dgf_redis_stream *stream,
                     const struct dgf_redis_entry *entry,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_memory *memory = &stream->memory;
    bool newer = dgf_redis_id_cmp(entry->id, memory->last) > 0;

    if ((newer || stream->judge_pending) && !dgf_redis_group_judge(stream, entry, item))
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
    (void)dgf_redis_ack_note(stream, entry->id, false);
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
        dgf_redis_claim_take(stream, &entry, item, true);
    else
        take_own(stream, &entry, item);
    if (stream->phase == DGF_REDIS_PHASE_STREAM && stream->sole &&
        !stream->source->failed)
        dgf_redis_account(stream);
}

/* ---- reading ---- */

static void end_read(struct dgf_redis_stream *stream)
{
    bool more = stream->n_items > 0;

    if (stream->source->failed)
        return;
    dgf_redis_ack_durable(stream->source);
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
            dgf_redis_claim_forget(stream);
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

    if (stream->phase != DGF_REDIS_PHASE_STREAM && most > DGF_REDIS_PENDING_PAGE)
        most = DGF_REDIS_PENDING_PAGE;
    (void)snprintf(count, sizeof(count), "%lld", (long long)most);
    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){
            DGF_BYTES("XREADGROUP"), DGF_BYTES("GROUP"), dgf_redis_group_of(stream),
            dgf_bytes_str(consumer), DGF_BYTES("COUNT"), dgf_bytes_str(count),
            DGF_BYTES("STREAMS"), dgf_redis_name_of(stream), dgf_bytes_str(from)},
        9);
}

/* ---- a turn ---- */

void dgf_redis_group_read(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    char from[DGF_REDIS_ID_TEXT];
    const char *consumer;

    if (stream->phase == DGF_REDIS_PHASE_NEW) {
        dgf_redis_ask_facts(stream);
        dgf_redis_ask_groups(stream);
        return;
    }
    if (stream->phase == DGF_REDIS_PHASE_STREAM && stream->claiming) {
        dgf_redis_claim_read(stream);
        return;
    }
    if (stream->phase == DGF_REDIS_PHASE_STREAM) {
        dgf_redis_ask_facts(stream);
        dgf_redis_ask_groups(stream);
        send_read(stream, self->consumer, ">");
        return;
    }
    consumer =
        stream->phase == DGF_REDIS_PHASE_PENDING ? self->consumer : self->claimer;
    stream->has_facts = stream->discard = stream->look = false;
    stream->n_items = 0;
    dgf_redis_ask_pending(stream, consumer);
    dgf_redis_id_text(stream->cursor, from);
    send_read(stream, consumer, from);
}
