#include "base/map.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "base/mem.h"

/* SipHash-1-3: short keys from outside cannot be chosen to collide without
 * knowing the seed. */
struct sip {
    uint64_t a, b, c, d;
};

static inline uint64_t rotl(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotl(s->b, 13) ^ s->a;
    s->d = rotl(s->d, 16) ^ s->c;
    s->a = rotl(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotl(s->b, 17) ^ s->c;
    s->d = rotl(s->d, 21) ^ s->a;
    s->c = rotl(s->c, 32);
}

static uint64_t sip_hash(uint64_t k0, uint64_t k1, struct dgf_bytes bytes)
{
    struct sip s = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d,
                    k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573};
    uint64_t word = 0;
    size_t at;

    for (at = 0; at + 8 <= bytes.len; at += 8) {
        memcpy(&word, bytes.ptr + at, 8);
        s.d ^= word;
        sip_round(&s);
        s.a ^= word;
    }
    word = (uint64_t)bytes.len << 56;
    for (size_t i = at; i < bytes.len; i++)
        word |= (uint64_t)bytes.ptr[i] << 8 * (i - at);
    s.d ^= word;
    sip_round(&s);
    s.a ^= word;
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

/* One secret a process; the seed of a map is its hash of a counter. */
static uint64_t secret[2];
static pthread_once_t secret_once = PTHREAD_ONCE_INIT;

static void make_secret(void)
{
    dgf_random(secret, sizeof(secret));
}

static uint64_t new_seed(void)
{
    static _Atomic uint64_t counter;
    uint64_t n = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);

    pthread_once(&secret_once, make_secret);
    return sip_hash(secret[0], secret[1], dgf_bytes_of(&n, sizeof(n)));
}

static uint32_t hash_of(const struct dgf_map *map, struct dgf_bytes key)
{
    uint64_t hash = sip_hash(map->seed, secret[0], key);

    return (uint32_t)(hash ^ hash >> 32);
}

void dgf_map_init(struct dgf_map *map)
{
    *map = (struct dgf_map){.seed = new_seed()};
}

void dgf_map_release(struct dgf_map *map, void (*free_value)(void *))
{
    for (size_t i = 0; i < map->n_entries; i++) {
        if (map->entries[i].value && free_value)
            free_value(map->entries[i].value);
        dgf_free((void *)map->entries[i].key.ptr);
    }
    dgf_free(map->entries);
    dgf_free(map->buckets);
    *map = (struct dgf_map){.seed = map->seed};
}

/* Buckets hold 1 + an index into entries; an entry that was removed keeps its
 * bucket, so that a search goes on behind it, until the next rebuild. */
static struct dgf_map_entry *find(const struct dgf_map *map, struct dgf_bytes key,
                                  uint32_t hash)
{
    size_t mask = map->n_buckets - 1;

    if (map->n == 0)
        return NULL;
    for (size_t at = hash & mask; map->buckets[at]; at = (at + 1) & mask) {
        struct dgf_map_entry *entry = &map->entries[map->buckets[at] - 1];

        if (entry->hash == hash && entry->value && dgf_bytes_eq(entry->key, key))
            return entry;
    }
    return NULL;
}

static void link_entry(struct dgf_map *map, uint32_t index)
{
    size_t mask = map->n_buckets - 1, at = map->entries[index].hash & mask;

    while (map->buckets[at])
        at = (at + 1) & mask;
    map->buckets[at] = index + 1;
}

/* Room for one more entry: forgets removed ones, grows to at most 2/3 full. */
static enum dgf_rc rebuild(struct dgf_map *map)
{
    size_t cap = map->n < 8 ? 8 : map->n * 2, n_buckets = 16, kept = 0, bytes;
    struct dgf_map_entry *entries;
    uint32_t *buckets;

    while (n_buckets < cap + cap / 2)
        n_buckets *= 2;
    if (cap >= UINT32_MAX || !dgf_mul_size(cap, sizeof(*entries), &bytes))
        return DGF_NOMEM;
    buckets = dgf_calloc(n_buckets, sizeof(*buckets));
    entries = buckets ? dgf_malloc(bytes) : NULL;
    if (!entries) {
        dgf_free(buckets);
        return DGF_NOMEM;
    }
    for (size_t i = 0; i < map->n_entries; i++)
        if (map->entries[i].value)
            entries[kept++] = map->entries[i];
    dgf_free(map->entries);
    dgf_free(map->buckets);
    map->entries = entries;
    map->buckets = buckets;
    map->n_entries = kept;
    map->n_buckets = n_buckets;
    map->cap = cap;
    for (size_t i = 0; i < kept; i++)
        link_entry(map, (uint32_t)i);
    return DGF_OK;
}

void *dgf_map_get(const struct dgf_map *map, struct dgf_bytes key)
{
    struct dgf_map_entry *entry = map->n ? find(map, key, hash_of(map, key)) : NULL;

    return entry ? entry->value : NULL;
}

enum dgf_rc dgf_map_put(struct dgf_map *map, struct dgf_bytes key, void *value,
                        void **ret_old)
{
    uint32_t hash = hash_of(map, key);
    struct dgf_map_entry *entry = find(map, key, hash);
    char *copy;

    if (ret_old)
        *ret_old = entry ? entry->value : NULL;
    if (entry) {
        entry->value = value;
        return DGF_OK;
    }
    if (map->n_entries == map->cap && rebuild(map))
        return DGF_NOMEM;
    copy = dgf_strndup((const char *)key.ptr, key.len);
    if (!copy)
        return DGF_NOMEM;
    map->entries[map->n_entries] =
        (struct dgf_map_entry){dgf_bytes_of(copy, key.len), value, hash};
    link_entry(map, (uint32_t)map->n_entries++);
    map->n++;
    return DGF_OK;
}

void *dgf_map_remove(struct dgf_map *map, struct dgf_bytes key)
{
    struct dgf_map_entry *entry = map->n ? find(map, key, hash_of(map, key)) : NULL;
    void *value;

    if (!entry)
        return NULL;
    value = entry->value;
    dgf_free((void *)entry->key.ptr);
    entry->key = (struct dgf_bytes){NULL, 0};
    entry->value = NULL;
    map->n--;
    return value;
}

struct dgf_map_entry *dgf_map_next(const struct dgf_map *map, size_t *at)
{
    while (*at < map->n_entries) {
        struct dgf_map_entry *entry = &map->entries[(*at)++];

        if (entry->value)
            return entry;
    }
    return NULL;
}
