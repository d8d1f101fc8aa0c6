#include "cel/value.h"

#include <string.h>

#include "cel/ops.h"

uint32_t dgf_cel_hash(struct dgf_bytes text)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ text.ptr[i]) * 16777619u;
    return hash;
}

static void split_ns(int64_t ns, struct dgf_cel_value *ret)
{
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;

    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    ret->i64 = seconds;
    ret->len = (uint32_t)rest;
}

struct dgf_cel_value dgf_cel_timestamp_ns(int64_t ns)
{
    struct dgf_cel_value value = {.kind = DGF_CEL_TIMESTAMP};

    split_ns(ns, &value);
    return value;
}

struct dgf_cel_value dgf_cel_duration_ns(int64_t ns)
{
    struct dgf_cel_value value = {.kind = DGF_CEL_DURATION};

    split_ns(ns, &value);
    return value;
}

/* ---- lists ---- */

static uint32_t array_size(const struct dgf_cel_list *list, struct dgf_cel_eval *eval)
{
    (void)eval;
    return ((const struct dgf_cel_array *)list)->n;
}

static void array_at(const struct dgf_cel_list *list, struct dgf_cel_eval *eval,
                     uint32_t i, struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = ((const struct dgf_cel_array *)list)->items[i];
}

const struct dgf_cel_list_ops dgf_cel_array_ops = {array_size, array_at};

const struct dgf_cel_list *dgf_cel_list_new(struct dgf_arena *arena,
                                            const struct dgf_cel_value *items,
                                            uint32_t n)
{
    struct dgf_cel_array *array = dgf_arena_alloc(arena, sizeof(*array));

    if (!array)
        return NULL;
    *array = (struct dgf_cel_array){{&dgf_cel_array_ops}, n, items};
    return &array->base;
}

/* ---- maps: pairs in order, and buckets when there are many ---- */

struct pair_map {
    struct dgf_cel_map base;
    uint32_t n, mask; /* mask 0: no buckets, search in order */
    const struct dgf_cel_value *pairs;
    uint32_t *buckets; /* pair number + 1 */
};

static uint32_t key_hash(const struct dgf_cel_value *key)
{
    struct dgf_cel_value plain;

    if (key->kind == DGF_CEL_STRING)
        return dgf_cel_hash(dgf_cel_bytes_of(key));
    if (!dgf_cel_key(key, &plain))
        return 0;
    return (uint32_t)((plain.u64 * 0x9e3779b97f4a7c15u) >> 32) ^ plain.kind;
}

static bool key_equal(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    struct dgf_cel_value x, y;

    if (a->kind == DGF_CEL_STRING || b->kind == DGF_CEL_STRING)
        return a->kind == b->kind && a->len == b->len &&
               (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0);
    return dgf_cel_key(a, &x) && dgf_cel_key(b, &y) && x.kind == y.kind &&
           x.u64 == y.u64;
}

static bool pairs_search(const struct pair_map *map, const struct dgf_cel_value *key,
                         uint32_t hash, struct dgf_cel_value *ret)
{
    if (map->mask == 0) {
        for (uint32_t i = 0; i < map->n; i++) {
            if (key_equal(&map->pairs[2 * i], key)) {
                *ret = map->pairs[2 * i + 1];
                return true;
            }
        }
        return false;
    }
    for (uint32_t at = hash & map->mask; map->buckets[at]; at = (at + 1) & map->mask) {
        const struct dgf_cel_value *pair = &map->pairs[2 * (map->buckets[at] - 1)];

        if (key_equal(pair, key)) {
            *ret = pair[1];
            return true;
        }
    }
    return false;
}

bool dgf_cel_map_repeats(const struct dgf_cel_map *base)
{
    const struct pair_map *map = (const struct pair_map *)base;

    if (map->mask == 0) {
        for (uint32_t i = 1; i < map->n; i++)
            for (uint32_t j = 0; j < i; j++)
                if (key_equal(&map->pairs[2 * i], &map->pairs[2 * j]))
                    return true;
        return false;
    }
    for (uint32_t i = 0; i < map->n; i++) {
        const struct dgf_cel_value *key = &map->pairs[2 * i];
        uint32_t at = key_hash(key) & map->mask;

        while (map->buckets[at] != i + 1) {
            if (key_equal(&map->pairs[2 * (map->buckets[at] - 1)], key))
                return true;
            at = (at + 1) & map->mask;
        }
    }
    return false;
}

static uint32_t pairs_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    (void)eval;
    return ((const struct pair_map *)map)->n;
}

static bool pairs_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                      const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    struct dgf_cel_value key = dgf_cel_string(name->text);

    (void)eval;
    return pairs_search((const struct pair_map *)map, &key, name->hash, ret);
}

static bool pairs_find(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                       const struct dgf_cel_value *key, struct dgf_cel_value *ret)
{
    (void)eval;
    return pairs_search((const struct pair_map *)map, key, key_hash(key), ret);
}

static bool pairs_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                       uint64_t *at, struct dgf_cel_value *ret_key,
                       struct dgf_cel_value *ret_value)
{
    const struct pair_map *pairs = (const struct pair_map *)map;

    (void)eval;
    if (*at >= pairs->n)
        return false;
    *ret_key = pairs->pairs[2 * *at];
    if (ret_value)
        *ret_value = pairs->pairs[2 * *at + 1];
    ++*at;
    return true;
}

static const struct dgf_cel_map_ops pair_ops = {pairs_size, pairs_get, pairs_find,
                                                pairs_next};

static bool build_buckets(struct dgf_arena *arena, struct pair_map *map)
{
    uint32_t size = 32;

    while (size < map->n * 2)
        size *= 2;
    map->buckets = dgf_arena_alloc(arena, size * sizeof(uint32_t));
    if (!map->buckets)
        return false;
    memset(map->buckets, 0, size * sizeof(uint32_t));
    map->mask = size - 1;
    for (uint32_t i = 0; i < map->n; i++) {
        uint32_t at = key_hash(&map->pairs[2 * i]) & map->mask;

        while (map->buckets[at])
            at = (at + 1) & map->mask;
        map->buckets[at] = i + 1;
    }
    return true;
}

const struct dgf_cel_map *dgf_cel_map_new(struct dgf_arena *arena,
                                          const struct dgf_cel_value *pairs,
                                          uint32_t n_pairs)
{
    struct pair_map *map = dgf_arena_alloc(arena, sizeof(*map));

    if (!map || n_pairs > UINT32_MAX / 4)
        return NULL;
    *map = (struct pair_map){{&pair_ops}, n_pairs, 0, pairs, NULL};
    if (n_pairs > 8 && !build_buckets(arena, map))
        return NULL;
    return &map->base;
}

/* ---- keys ---- */

bool dgf_cel_key(const struct dgf_cel_value *value, struct dgf_cel_value *ret)
{
    *ret = *value;
    switch (value->kind) {
    case DGF_CEL_UINT:
        if (value->u64 <= INT64_MAX)
            ret->kind = DGF_CEL_INT;
        return true;
    case DGF_CEL_DOUBLE:
        if (!(value->dbl >= -9223372036854775808.0 &&
              value->dbl < 18446744073709551616.0) ||
            value->dbl != __builtin_floor(value->dbl))
            return false;
        *ret = value->dbl < 9223372036854775808.0 ? dgf_cel_int((int64_t)value->dbl)
                                                  : dgf_cel_uint((uint64_t)value->dbl);
        return true;
    case DGF_CEL_DECIMAL: {
        int64_t whole;

        if (!dgf_cel_decimal_i64(value, &whole))
            return false;
        *ret = dgf_cel_int(whole);
        return dgf_cel_decimal_cmp(value, ret) == 0;
    }
    case DGF_CEL_BOOL:
        ret->u64 = value->boolean;
        return true;
    default:
        return value->kind == DGF_CEL_INT || value->kind == DGF_CEL_STRING;
    }
}

bool dgf_cel_map_find(struct dgf_cel_eval *eval, const struct dgf_cel_map *map,
                      const struct dgf_cel_value *key, struct dgf_cel_value *ret)
{
    struct dgf_cel_value plain;

    if (key->kind == DGF_CEL_STRING) {
        struct dgf_cel_name name = {.text = dgf_cel_bytes_of(key),
                                    .hash = dgf_cel_hash(dgf_cel_bytes_of(key)),
                                    .index = UINT16_MAX,
                                    .id = -1};

        return map->ops->get(map, eval, &name, ret);
    }
    return map->ops->find && dgf_cel_key(key, &plain) &&
           map->ops->find(map, eval, &plain, ret);
}

const char *dgf_cel_kind_text(enum dgf_cel_kind kind)
{
    static const char *const texts[] = {
        "unset",    "null",    "bool",     "int",    "uint",    "double",
        "string",   "bytes",   "list",     "map",    "type",    "timestamp",
        "duration", "decimal", "optional", "opaque", "unknown", "error",
    };

    return kind < DGF_CEL_N_KINDS ? texts[kind] : "?";
}

const struct dgf_cel_type *dgf_cel_type_of_value(const struct dgf_cel_value *value)
{
    static const struct dgf_cel_type type = {.kind = DGF_CEL_T_TYPE, .name = "type"};
    static const struct dgf_cel_type optional = {.kind = DGF_CEL_T_OPTIONAL,
                                                 .name = "optional_type"};
    static const struct dgf_cel_type *const types[] = {
        [DGF_CEL_NULL] = &dgf_cel_t_null,
        [DGF_CEL_BOOL] = &dgf_cel_t_bool,
        [DGF_CEL_INT] = &dgf_cel_t_int,
        [DGF_CEL_UINT] = &dgf_cel_t_uint,
        [DGF_CEL_DOUBLE] = &dgf_cel_t_double,
        [DGF_CEL_STRING] = &dgf_cel_t_string,
        [DGF_CEL_BYTES] = &dgf_cel_t_bytes,
        [DGF_CEL_LIST] = &dgf_cel_t_list,
        [DGF_CEL_MAP] = &dgf_cel_t_map,
        [DGF_CEL_TYPE] = &type,
        [DGF_CEL_TIMESTAMP] = &dgf_cel_t_timestamp,
        [DGF_CEL_DURATION] = &dgf_cel_t_duration,
        [DGF_CEL_DECIMAL] = &dgf_cel_t_decimal,
        [DGF_CEL_OPTIONAL] = &optional,
    };

    if (value->kind == DGF_CEL_OPAQUE)
        return value->opaque->type;
    return value->kind < DGF_ARRAY_LEN(types) && types[value->kind] ? types[value->kind]
                                                                    : &dgf_cel_t_dyn;
}
