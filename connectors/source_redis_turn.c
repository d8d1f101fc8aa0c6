#include <stdio.h>

#include "base/clock.h"
#include "source_redis.h"

/* A node reads one stream at a time, in the order in which they were queued; with
 * nothing queued, its other connection waits for all of its quiet streams at once. */

/* A server that ends a wait at once, for nothing, is asked again at this pace. */
#define PACE_NS INT64_C(20000000)

void dgf_redis_queue(struct dgf_redis_stream *stream)
{
    struct dgf_redis_node *node = stream->node;

    if (stream->state != DGF_REDIS_IDLE) {
        stream->again = true;
        return;
    }
    stream->state = DGF_REDIS_QUEUED;
    stream->next = NULL;
    *node->queue_end = stream;
    node->queue_end = &stream->next;
}

/* ---- waiting ---- */

static void queue_all(struct dgf_redis_node *node)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&node->source->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;

        if (stream->node == node && stream->state == DGF_REDIS_IDLE)
            dgf_redis_queue(stream);
    }
}

static void on_unblock(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    (void)command;
    if (dgf_redis_error(item).len) /* not allowed: the wait ends by itself */
        link->node->client_id = 0;
}

/* Waiting connection: [[name, [entry]], ...], or nil. */
static void on_wait(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_node *node = link->node;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token pair, name;
    struct dgf_redis_stream *stream;
    struct dgf_map_entry *entry;
    size_t at = 0;

    (void)command;
    if (dgf_redis_error(item).len) {
        queue_all(node); /* each read says what is wrong */
    } else if (item->depth == 1 && dgf_resp_next(&resp, &pair) == DGF_OK &&
               pair.kind == DGF_RESP_ARRAY && dgf_resp_next(&resp, &name) == DGF_OK) {
        stream = dgf_map_get(&link->source->streams, name.bytes);
        if (stream)
            dgf_redis_queue(stream);
    }
    if (!item->last)
        return;
    while ((entry = dgf_map_next(&link->source->streams, &at)))
        ((struct dgf_redis_stream *)entry->value)->in_wait = false;
    node->waiting = node->unblocking = false;
    dgf_redis_next(node);
}

static bool can_wait(const struct dgf_redis_stream *stream,
                     const struct dgf_redis_node *node)
{
    return stream->node == node && stream->state == DGF_REDIS_IDLE &&
           !stream->wrong_type && stream->phase == DGF_REDIS_PHASE_STREAM;
}

static void send_wait(struct dgf_redis_node *node, struct dgf_bytes *words, size_t n,
                      char (*ids)[DGF_REDIS_ID_TEXT])
{
    struct dgf_redis_command command = {.on_item = on_wait, .explode = 1};
    struct dgf_map_entry *entry;
    size_t at = 0, i = 0;
    char block[24];

    (void)snprintf(block, sizeof(block), "%lld",
                   (long long)(DGF_REDIS_CONF(node->source)->block_ns / 1000000));
    words[0] = DGF_BYTES("XREAD");
    words[1] = DGF_BYTES("COUNT");
    words[2] = DGF_BYTES("1");
    words[3] = DGF_BYTES("BLOCK");
    words[4] = dgf_bytes_str(block);
    words[5] = DGF_BYTES("STREAMS");
    while (i < n && (entry = dgf_map_next(&node->source->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;
        struct dgf_redis_id from = stream->memory.last;

        if (!can_wait(stream, node))
            continue;
        if (dgf_redis_id_cmp(stream->delivered, from) > 0)
            from = stream->delivered;
        stream->in_wait = true;
        dgf_redis_id_text(from, ids[i]);
        words[6 + i] = dgf_bytes_str(stream->name);
        words[6 + n + i] = dgf_bytes_str(ids[i]);
        i++;
    }
    node->waiting = true;
    dgf_redis_link_send(&node->wait, command, words, 6 + 2 * n);
    dgf_redis_link_flush(&node->wait);
}

static void unblock(struct dgf_redis_node *node)
{
    struct dgf_redis_command command = {.on_item = on_unblock};
    char id[24];

    if (!node->client_id || node->unblocking)
        return;
    node->unblocking = true;
    (void)snprintf(id, sizeof(id), "%lld", (long long)node->client_id);
    dgf_redis_link_send(&node->data, command,
                        (struct dgf_bytes[]){DGF_BYTES("CLIENT"), DGF_BYTES("UNBLOCK"),
                                             dgf_bytes_str(id)},
                        3);
    dgf_redis_link_flush(&node->data);
}

/* Nothing to read: sleeps until one of the quiet streams has something new. */
static void wait_for(struct dgf_redis_node *node)
{
    struct dgf_map_entry *entry;
    size_t at = 0, n = 0, missing = 0;
    struct dgf_bytes *words;
    char(*ids)[DGF_REDIS_ID_TEXT];

    if (!node->wait.up)
        return;
    while ((entry = dgf_map_next(&node->source->streams, &at))) {
        const struct dgf_redis_stream *stream = entry->value;

        n += can_wait(stream, node);
        missing += can_wait(stream, node) && !stream->in_wait;
    }
    if (node->waiting) {
        if (missing)
            unblock(node);
        return;
    }
    if (n == 0 || (node->source->base.next_seq == node->waited_seq &&
                   dgf_clock_mono_ns() - node->waited_ns < PACE_NS))
        return; /* the next tick comes here again */
    node->waited_seq = node->source->base.next_seq;
    node->waited_ns = dgf_clock_mono_ns();
    words = dgf_calloc(6 + 2 * n, sizeof(*words));
    ids = dgf_calloc(n, sizeof(*ids));
    if (words && ids)
        send_wait(node, words, n, ids);
    else
        dgf_redis_fail(node->source, DGF_RETRY, "out of memory");
    dgf_free(words);
    dgf_free(ids);
}

/* ---- turns ---- */

void dgf_redis_next(struct dgf_redis_node *node)
{
    struct dgf_redis_stream *stream = node->queue;

    if (dgf_redis_stopped(node->source) || !node->data.up || node->reading)
        return;
    if (!stream) {
        if (!node->source->cluster)
            wait_for(node);
        return;
    }
    node->queue = stream->next;
    if (!node->queue)
        node->queue_end = &node->queue;
    stream->state = DGF_REDIS_READING;
    node->reading = stream;
    dgf_redis_read(stream);
    dgf_redis_link_flush(&node->data);
}

void dgf_redis_done(struct dgf_redis_stream *stream, bool more)
{
    struct dgf_redis_source *self = stream->source;

    stream->node->reading = NULL;
    stream->state = DGF_REDIS_IDLE;
    if (stream->ask) {
        dgf_redis_next(stream->node); /* others wait for their turn there */
        stream->node = stream->ask;
        stream->asking = stream->again = true;
        stream->ask = NULL;
    }
    stream->checked_ns = dgf_clock_mono_ns();
    if (more || stream->again) {
        stream->again = false;
        dgf_redis_queue(stream);
    } else if (!stream->first_read && !stream->due_seq) {
        stream->first_read = true;
        self->n_unread--;
    }
    if (!self->caught_up && self->streaming && self->n_unread == 0 && !self->failed) {
        self->caught_up = true;
        dgf_source_caught_up(&self->base);
    }
    dgf_redis_next(stream->node);
}
