/* What stands on the four functions of mem.c, which tests may replace. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

char *dgf_strdup(const char *text)
{
    return dgf_strndup(text, strlen(text));
}

char *dgf_strndup(const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? dgf_malloc(len + 1) : NULL;

    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void dgf_wipe(void *ptr, size_t len)
{
    if (ptr && len > 0)
        explicit_bzero(ptr, len);
}

/* ---- arena ---- */

enum { FIRST_BLOCK = 4096, LARGEST_STEP = 1 << 20, KEEP_BYTES = 1 << 20 };

/* 16 bytes, so that what follows it is as aligned as the block. */
struct dgf_arena_block {
    struct dgf_arena_block *older;
    size_t size;
};

static uint8_t *block_begin(struct dgf_arena_block *block)
{
    return (uint8_t *)(block + 1);
}

void dgf_arena_init(struct dgf_arena *arena, size_t max_bytes)
{
    *arena = (struct dgf_arena){.max_bytes = max_bytes};
}

void dgf_arena_release(struct dgf_arena *arena)
{
    struct dgf_arena_block *block = arena->blocks;

    while (block) {
        struct dgf_arena_block *older = block->older;

        dgf_free(block);
        block = older;
    }
    *arena = (struct dgf_arena){.max_bytes = arena->max_bytes};
}

/* Sizes double, so keeping the newest block only still ends in one block that
 * holds a whole round. */
void dgf_arena_reset(struct dgf_arena *arena)
{
    struct dgf_arena_block *newest = arena->blocks;

    if (!newest)
        return;
    if (newest->size > KEEP_BYTES) {
        dgf_arena_release(arena);
        return;
    }
    while (newest->older) {
        struct dgf_arena_block *older = newest->older;

        newest->older = older->older;
        dgf_free(older);
    }
    arena->next = block_begin(newest);
    arena->used = 0;
}

/* What the blocks before a new one have handed out. */
static size_t handed_out(const struct dgf_arena *arena)
{
    if (!arena->blocks)
        return 0;
    return arena->used + (size_t)(arena->next - block_begin(arena->blocks));
}

void *dgf_arena_more(struct dgf_arena *arena, size_t size)
{
    struct dgf_arena_block *block;
    size_t used = handed_out(arena), left = arena->max_bytes - used;
    size_t rounded, step = FIRST_BLOCK, whole;

    if (!dgf_add_size(size, 15 + (size == 0), &rounded))
        return NULL;
    rounded &= ~(size_t)15;
    if (used > arena->max_bytes || rounded > left)
        return NULL;
    if (arena->blocks)
        step = arena->blocks->size * 2;
    if (step > LARGEST_STEP)
        step = LARGEST_STEP;
    if (step < rounded)
        step = rounded;
    /* A block never reaches beyond max_bytes: the fast path need not look. */
    if (step > left)
        step = left & ~(size_t)15;
    if (step < rounded || !dgf_add_size(step, sizeof(*block), &whole))
        return NULL;
    block = dgf_malloc(whole);
    if (!block)
        return NULL;
    *block = (struct dgf_arena_block){arena->blocks, step};
    arena->blocks = block;
    arena->used = used;
    arena->next = block_begin(block) + rounded;
    arena->end = block_begin(block) + step;
    return block_begin(block);
}

char *dgf_arena_strndup(struct dgf_arena *arena, const char *text, size_t len)
{
    char *copy = len < SIZE_MAX ? dgf_arena_alloc(arena, len + 1) : NULL;

    if (!copy)
        return NULL;
    if (len > 0)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
