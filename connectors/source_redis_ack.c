#include "base/clock.h"
#include "source_redis_group.h"

#define ACKS 1000 /* ids of one XACK */

void dgf_redis_ack_release(struct dgf_redis_source *self)
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
    struct dgf_bytes words[ACKS + 3] = {DGF_BYTES("XACK"), dgf_redis_name_of(stream),
                                        dgf_redis_group_of(stream)};
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

void dgf_redis_ack_durable(struct dgf_redis_source *self)
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

bool dgf_redis_ack_note(struct dgf_redis_stream *stream, struct dgf_redis_id id,
                        bool claimed)
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

bool dgf_redis_ack_is_under_way(const struct dgf_redis_stream *stream,
                                struct dgf_redis_id id)
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
