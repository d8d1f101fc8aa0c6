#include <stdio.h>

#include "source_redis_group.h"

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
    for (int64_t i = 0; i < head.number && stream->n_poison < DGF_REDIS_PENDING_PAGE;
         i++) {
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

void dgf_redis_ask_pending(struct dgf_redis_stream *stream, const char *consumer)
{
    struct dgf_redis_command command = {.on_item = on_pending, .ctx = stream};
    char idle[24], from[DGF_REDIS_ID_TEXT + 1];
    struct dgf_bytes words[8] = {DGF_BYTES("XPENDING"), dgf_redis_name_of(stream),
                                 dgf_redis_group_of(stream)};
    size_t n = 3;

    if (!stream->poison)
        stream->poison = dgf_calloc(DGF_REDIS_PENDING_PAGE, sizeof(*stream->poison));
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
    words[n++] =
        dgf_redis_id_is_zero(stream->cursor) ? DGF_BYTES("-") : dgf_bytes_str(from);
    words[n++] = DGF_BYTES("+");
    words[n++] = DGF_BYTES("1000");
    if (consumer)
        words[n++] = dgf_bytes_str(consumer);
    dgf_redis_stream_send(stream, command, words, n);
}

bool dgf_redis_is_poison(const struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    for (size_t i = 0; i < stream->n_poison; i++)
        if (dgf_redis_id_cmp(stream->poison[i], id) == 0)
            return true;
    return false;
}
