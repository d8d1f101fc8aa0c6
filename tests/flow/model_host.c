/* model_host.c - the clock, the memory and SQLite of a simulated process. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "model.h"
#include "simdisk.h"

/* ---- the replaced clock ------------------------------------------------------ */

int64_t now_ns = INT64_C(1700000000) * DGF_SECOND_NS;

int64_t wall_shift_ns;

int64_t dgf_clock_ns(void)
{
    return now_ns + wall_shift_ns;
}

int64_t dgf_clock_mono_ns(void)
{
    return now_ns;
}

/* ---- the replaced allocator: a life's memory goes with it --------------------- */

struct block {
    struct block *before, *after;
    size_t size;
    bool tracked;
} __attribute__((aligned(16)));

static struct block life = {&life, &life, 0, false};
bool tracking;

void *dgf_malloc(size_t size)
{
    struct block *b = malloc(sizeof(*b) + (size ? size : 1));

    if (!b)
        abort();
    b->size = size;
    b->tracked = tracking;
    if (tracking) {
        b->before = &life;
        b->after = life.after;
        life.after->before = b;
        life.after = b;
    }
    return b + 1;
}

void dgf_free(void *ptr)
{
    struct block *b = ptr;

    if (!ptr)
        return;
    b--;
    if (b->tracked) {
        b->before->after = b->after;
        b->after->before = b->before;
    }
    free(b);
}

void *dgf_calloc(size_t n, size_t size)
{
    void *ptr = dgf_malloc(n * size);

    memset(ptr, 0, n * size);
    return ptr;
}

void *dgf_realloc(void *old, size_t size)
{
    void *ptr = dgf_malloc(size);
    size_t had = old ? ((struct block *)old - 1)->size : 0;

    if (old)
        memcpy(ptr, old, had < size ? had : size);
    dgf_free(old);
    return ptr;
}

static void *sqlite_malloc(int size)
{
    return dgf_malloc((size_t)size);
}

static void *sqlite_realloc(void *ptr, int size)
{
    return dgf_realloc(ptr, (size_t)size);
}

static int sqlite_size(void *ptr)
{
    return ptr ? (int)((struct block *)ptr - 1)->size : 0;
}

static int sqlite_roundup(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void sqlite_shutdown(void *unused)
{
    (void)unused;
}

void start_sqlite(void)
{
    static const sqlite3_mem_methods memory = {
        sqlite_malloc,  dgf_free,    sqlite_realloc,  sqlite_size,
        sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        abort();
    simdisk_register_vfs();
}

/* Nothing of SQLite's own may still point into the memory of the dead. */
void end_of_life(void)
{
    tracking = false;
    close_range(3, ~0u, 0); /* its eventfd; all other files are simulated */
    sqlite3_shutdown();
    dgf_metrics_release();
    while (life.after != &life)
        dgf_free(life.after + 1);
    start_sqlite();
}
