#include "config.h"

#include "base/mem.h"

#include <stdlib.h>

#ifdef DGF_TORTURE
#include <stdatomic.h>
#include <stdio.h>

/* Counts down to the allocation that fails; below zero: none does. */
static _Atomic long torture_left = -1;

__attribute__((constructor)) static void torture_begin(void)
{
    const char *n = getenv("DGF_TORTURE");

    atomic_store(&torture_left, n ? strtol(n, NULL, 10) : -1);
}

/* How many of DGF_TORTURE are left, for who wants to know how many were made. */
__attribute__((destructor)) static void torture_end(void)
{
    const char *path = getenv("DGF_TORTURE_LEFT");
    FILE *file = path ? fopen(path, "w") : NULL;

    if (!file)
        return;
    fprintf(file, "%ld\n", atomic_load(&torture_left));
    fclose(file);
}

static bool torture_fails(void)
{
    long left = atomic_load_explicit(&torture_left, memory_order_relaxed);

    if (left < 0)
        return false;
    return atomic_fetch_sub(&torture_left, 1) == 1;
}
#else
static inline bool torture_fails(void)
{
    return false;
}
#endif

void *dgf_malloc(size_t size)
{
    /* malloc(0) may be NULL, which callers would read as a failure. */
    return torture_fails() ? NULL : malloc(size ? size : 1);
}

void *dgf_calloc(size_t n, size_t size)
{
    if (n == 0 || size == 0)
        n = size = 1;
    return torture_fails() ? NULL : calloc(n, size);
}

void *dgf_realloc(void *ptr, size_t size)
{
    return torture_fails() ? NULL : realloc(ptr, size ? size : 1);
}

void dgf_free(void *ptr)
{
    free(ptr);
}
