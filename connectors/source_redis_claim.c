#include <stdio.h>

#include "base/clock.h"
#include "source_redis_group.h"

#define SWEEP 100 /* entries of one XAUTOCLAIM */
#define SECOND_NS INT64_C(1000000000)

/* ---- entries ---- */

void dgf_redis_claim_take(struct dgf_redis_stream *stream,
                          const struct dgf_redis_entry *entry,
                          const struct dgf_resp_item *item, bool again)
{
    if (dgf_redis_memory_claimed(&stream->memory, entry->id)) {
        if (again) /* a session before this one judged it */
            (void)dgf_redis_ack_note(stream, entry->id, true);
        return;
    }
    if (!dgf_redis_group_judge(stream, entry, item))
        return;
    if (!dgf_redis_memory_claim(&stream->memory, entry->id)) {
        dgf_redis_fail(stream->source, DGF_RETRY, "too many entries were taken over");
        return;
    }
    dgf_redis_touch(stream);
    (void)dgf_redis_ack_note(stream, entry->id, true);
}

void dgf_redis_claim_forget(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;

    for (uint32_t i = memory->n_claimed; i-- > 0;) {
        if (dgf_redis_ack_is_under_way(stream, memory->claimed[i]))
            continue;
        dgf_redis_memory_unclaim(memory, memory->claimed[i]);
        dgf_redis_touch(stream);
    }
}

/* ---- sweeps ---- */

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
            entry.deleted = true;
            if (!dgf_redis_memory_claimed(&stream->memory, entry.id))
                (void)dgf_redis_group_judge(stream, &entry, item);
        } else if (item->depth == 2 && !link->source->failed &&
                   dgf_redis_entry_read(item->bytes, item->cut, &entry, &why) == DGF_OK)
            dgf_redis_claim_take(stream, &entry, item, false);
    }
    if (!item->last || link->source->failed)
        return;
    stream->claiming = stream->claiming && !dgf_redis_id_is_zero(stream->cursor);
    dgf_redis_ack_durable(link->source);
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
        (struct dgf_bytes[]){DGF_BYTES("XAUTOCLAIM"), dgf_redis_name_of(stream),
                             dgf_redis_group_of(stream), dgf_bytes_str(self->claimer),
                             dgf_bytes_str(idle), dgf_bytes_str(from),
                             DGF_BYTES("COUNT"), DGF_BYTES("100")},
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

void dgf_redis_claim_tick(struct dgf_redis_source *self, int64_t now_ns)
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

void dgf_redis_claim_read(struct dgf_redis_stream *stream)
{
    dgf_redis_ask_pending(stream, NULL);
    send_claim(stream);
}
