/* mem.h - ownership helpers, checked arithmetic, and an arena.
 *
 * All heap memory of the agent comes from these four functions, so that a
 * build with --enable-torture can fail the n-th allocation.  Thread: any. */
#ifndef DGF_BASE_MEM_H
#define DGF_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/* NULL on failure, like malloc.  calloc and array forms check overflow. */
void *dgf_malloc(size_t size) __attribute__((malloc, warn_unused_result));
void *dgf_calloc(size_t n, size_t size) __attribute__((malloc, warn_unused_result));
void *dgf_realloc(void *ptr, size_t size) __attribute__((warn_unused_result));
void dgf_free(void *ptr); /* NULL is fine */
char *dgf_strdup(const char *text) __attribute__((warn_unused_result));
char *dgf_strndup(const char *text, size_t len) __attribute__((warn_unused_result));

/* Zeroes memory in a way the compiler keeps: for secrets. */
void dgf_wipe(void *ptr, size_t len);

/* DGF_CLEANUP(dgf_buf_free) struct dgf_buf *b = NULL; calls the destructor
 * with the value when the scope ends.  For any fn(T *). */
#define DGF_CLEANUP_OF(type, fn)                                \
    static inline __attribute__((unused)) void fn##_at(type *p) \
    {                                                           \
        fn(*p);                                                 \
    }
#define DGF_CLEANUP(fn) __attribute__((cleanup(fn##_at)))
/* For structs on the stack, where fn takes the address itself. */
#define DGF_RELEASE(fn) __attribute__((cleanup(fn)))

DGF_CLEANUP_OF(char *, dgf_free)

/* Hands an owned pointer over: evaluates to it and leaves NULL behind. */
#define dgf_steal(p)                     \
    __extension__({                      \
        __typeof__(p) dgf_stolen_ = (p); \
        (p) = NULL;                      \
        dgf_stolen_;                     \
    })

#define DGF_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static inline bool dgf_add_size(size_t a, size_t b, size_t *ret_sum)
{
    return !__builtin_add_overflow(a, b, ret_sum);
}

static inline bool dgf_mul_size(size_t a, size_t b, size_t *ret_product)
{
    return !__builtin_mul_overflow(a, b, ret_product);
}

/* An arena: many small allocations, one reset.  A reset keeps the newest block
 * (up to 1 MiB) and sizes double, so that a steady state allocates nothing.
 * max_bytes bounds what is handed out between two resets. */
struct dgf_arena_block;
struct dgf_arena {
    struct dgf_arena_block *blocks; /* current first */
    uint8_t *next, *end;
    size_t used; /* handed out by the blocks before the current one */
    size_t max_bytes;
};

void dgf_arena_init(struct dgf_arena *arena, size_t max_bytes);
void dgf_arena_release(struct dgf_arena *arena);
void dgf_arena_reset(struct dgf_arena *arena);
/* NULL when out of memory or over max_bytes. */
void *dgf_arena_more(struct dgf_arena *arena, size_t size);

/* 16-byte aligned. */
static inline void *dgf_arena_alloc(struct dgf_arena *arena, size_t size)
{
    /* size 0 gets an address of its own: NULL always means failure */
    size_t rounded = (size + 15 + (size == 0)) & ~(size_t)15;

    if (rounded >= size && rounded <= (size_t)(arena->end - arena->next)) {
        void *ptr = arena->next;

        arena->next += rounded;
        return ptr;
    }
    return dgf_arena_more(arena, size);
}

char *dgf_arena_strndup(struct dgf_arena *arena, const char *text, size_t len);

#endif
