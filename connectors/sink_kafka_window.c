#include "sink_kafka.h"

#define CHUNK_BYTES (256u * 1024)
#define MAX_SPARE 16 /* what a burst of reports gives back */

/* What a message costs beside its line and key: librdkafka's message and nine
 * headers, each an allocation of its own, and our slot. */
#define MESSAGE_OVERHEAD 1280u
#define MIN_SLOTS 64u

/* Lines of records in the order of the window; free when the slot that used
 * it last is gone. */
struct dgf_kafka_chunk {
    struct dgf_kafka_chunk *next;
    uint64_t last_slot;
    size_t used, size;
    uint8_t bytes[];
};

enum dgf_rc dgf_kafka_window_init(struct dgf_kafka_window *window, size_t max_bytes)
{
    uint64_t n = MIN_SLOTS;

    while (n < max_bytes / MESSAGE_OVERHEAD)
        n *= 2;
    *window = (struct dgf_kafka_window){.mask = n - 1, .max_bytes = max_bytes};
    window->slots = dgf_calloc(n, sizeof(*window->slots));
    return window->slots ? DGF_OK : DGF_NOMEM;
}

static void free_chunks(struct dgf_kafka_chunk *chunk)
{
    while (chunk) {
        struct dgf_kafka_chunk *next = chunk->next;

        dgf_free(chunk);
        chunk = next;
    }
}

void dgf_kafka_window_release(struct dgf_kafka_window *window)
{
    free_chunks(window->oldest);
    free_chunks(window->spare);
    dgf_free(window->slots);
    *window = (struct dgf_kafka_window){0};
}

bool dgf_kafka_window_room(const struct dgf_kafka_window *window, unsigned n,
                           size_t len)
{
    uint64_t used = window->tail - window->head;

    /* An empty window takes any record: it must not be too small for one. */
    if (used == 0)
        return true;
    return used + n <= window->mask + 1 &&
           window->bytes + n * (len + MESSAGE_OVERHEAD) <= window->max_bytes;
}

bool dgf_kafka_window_roomy(const struct dgf_kafka_window *window)
{
    return window->tail - window->head <= (window->mask + 1) / 2 &&
           window->bytes <= window->max_bytes / 2;
}

static struct dgf_kafka_chunk *add_chunk(struct dgf_kafka_window *window, size_t len)
{
    size_t size = len > CHUNK_BYTES ? len : CHUNK_BYTES;
    struct dgf_kafka_chunk *chunk = NULL;

    if (window->spare && size == CHUNK_BYTES) {
        chunk = window->spare;
        window->spare = chunk->next;
        window->n_spare--;
    } else {
        chunk = dgf_malloc(sizeof(*chunk) + size);
        if (!chunk)
            return NULL;
        chunk->size = size;
    }
    chunk->next = NULL;
    chunk->used = 0;
    if (window->newest)
        window->newest->next = chunk;
    else
        window->oldest = chunk;
    window->newest = chunk;
    return chunk;
}

const uint8_t *dgf_kafka_window_keep(struct dgf_kafka_window *window,
                                     struct dgf_bytes line)
{
    struct dgf_kafka_chunk *chunk = window->newest;
    uint8_t *at;

    if (!chunk || chunk->size - chunk->used < line.len)
        chunk = add_chunk(window, line.len);
    if (!chunk)
        return NULL;
    at = chunk->bytes + chunk->used;
    if (line.len)
        memcpy(at, line.ptr, line.len);
    chunk->used += line.len;
    chunk->last_slot = window->tail;
    return at;
}

void dgf_kafka_window_unkeep(struct dgf_kafka_window *window, size_t len)
{
    window->newest->used -= len;
}

struct dgf_kafka_slot *dgf_kafka_window_slot(struct dgf_kafka_window *window,
                                             uint64_t number)
{
    return &window->slots[number & window->mask];
}

struct dgf_kafka_slot *dgf_kafka_window_next(struct dgf_kafka_window *window)
{
    return dgf_kafka_window_slot(window, window->tail);
}

void dgf_kafka_window_push(struct dgf_kafka_window *window, size_t len)
{
    struct dgf_kafka_slot *slot = dgf_kafka_window_next(window);

    slot->cost = (uint32_t)(len + MESSAGE_OVERHEAD);
    window->bytes += slot->cost;
    window->in_flight++;
    window->tail++;
}

static void drop_chunks(struct dgf_kafka_window *window)
{
    while (window->oldest &&
           (window->head == window->tail || window->oldest->last_slot < window->head)) {
        struct dgf_kafka_chunk *chunk = window->oldest;

        window->oldest = chunk->next;
        if (!window->oldest)
            window->newest = NULL;
        if (chunk->size == CHUNK_BYTES && window->n_spare < MAX_SPARE) {
            chunk->next = window->spare;
            window->spare = chunk;
            window->n_spare++;
        } else {
            dgf_free(chunk);
        }
    }
}

/* Slots of one record that are all delivered, from the head; 0: not yet. */
static unsigned whole_record(struct dgf_kafka_window *window)
{
    unsigned n = 0;

    for (uint64_t at = window->head; at < window->tail; at++) {
        struct dgf_kafka_slot *slot = dgf_kafka_window_slot(window, at);

        if (!slot->delivered)
            return 0;
        n++;
        if (!slot->more)
            return n;
    }
    return 0;
}

void dgf_kafka_window_advance(struct dgf_kafka_window *window,
                              struct dgf_kafka_cursor *cursor)
{
    uint64_t before = window->head;
    unsigned n;

    while ((n = whole_record(window)) > 0) {
        for (; n > 0; n--) {
            struct dgf_kafka_slot *slot = dgf_kafka_window_slot(window, window->head);

            cursor->last[slot->topic].seq[slot->partition] = slot->seq;
            window->bytes -= slot->cost;
            window->head++;
        }
    }
    if (window->head != before)
        drop_chunks(window);
}
