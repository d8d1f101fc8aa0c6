/* map.h - a hash map from bytes to a pointer.
 *
 * Keys may come from outside, so each map hashes with a random seed of its
 * own.  Iteration follows insertion.  Thread: one owner. */
#ifndef DGF_BASE_MAP_H
#define DGF_BASE_MAP_H

#include "base/buf.h"

struct dgf_map_entry {
    struct dgf_bytes key; /* owned copy */
    void *value;
    uint32_t hash;
};

struct dgf_map {
    struct dgf_map_entry *entries; /* in insertion order; removed: value NULL */
    uint32_t *buckets;
    size_t n, n_entries, n_buckets, cap;
    uint64_t seed;
};

void dgf_map_init(struct dgf_map *map);
/* free_value may be NULL. */
void dgf_map_release(struct dgf_map *map, void (*free_value)(void *));
/* NULL when it is not there. */
void *dgf_map_get(const struct dgf_map *map, struct dgf_bytes key);
/* value is not NULL; replaces, giving the old one in *ret_old when not NULL. */
enum dgf_rc dgf_map_put(struct dgf_map *map, struct dgf_bytes key, void *value,
                        void **ret_old) DGF_MUST_USE;
/* Gives back the value, or NULL. */
void *dgf_map_remove(struct dgf_map *map, struct dgf_bytes key);
/* for (size_t at = 0; (e = dgf_map_next(&map, &at));)  Entries may be removed
 * meanwhile, not put. */
struct dgf_map_entry *dgf_map_next(const struct dgf_map *map, size_t *at);

#endif
