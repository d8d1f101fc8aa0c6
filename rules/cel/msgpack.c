#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mp.h"
#include "base/parse.h"
#include "cel/ops.h"

/* msgpack read where it lies.  A container keeps the bytes behind its header
 * and how many items there are; finding a key walks over them, which beats a
 * table for the sizes rows and documents have. */

/* Where the walk over a list stands, so that going on costs one step.  Lives in
 * the arena, which one evaluation owns. */
struct mp_walk {
    struct dgf_mp mp;
    uint32_t i;
};

struct mp_list {
    struct dgf_cel_list base;
    struct dgf_arena *arena;
    struct dgf_mp items;
    uint32_t n;
    struct mp_walk *walk;
};

struct mp_map {
    struct dgf_cel_map base;
    struct dgf_arena *arena;
    struct dgf_mp pairs;
    uint32_t n;
};

static struct dgf_cel_value damaged(void)
{
    static const struct dgf_cel_error error = {.text = "a value cannot be read"};

    return (struct dgf_cel_value){.kind = DGF_CEL_ERROR, .error = &error};
}

static struct dgf_cel_value no_room(void)
{
    static const struct dgf_cel_error error = {
        .text = "the memory of one evaluation is used up", .budget = true};

    return (struct dgf_cel_value){.kind = DGF_CEL_ERROR, .error = &error};
}

static struct dgf_cel_value read_next(struct dgf_arena *arena, struct dgf_mp *mp);

/* ---- lists ---- */

static uint32_t list_size(const struct dgf_cel_list *list, struct dgf_cel_eval *eval)
{
    (void)eval;
    return ((const struct mp_list *)list)->n;
}

static void list_at(const struct dgf_cel_list *list, struct dgf_cel_eval *eval,
                    uint32_t i, struct dgf_cel_value *ret)
{
    const struct mp_list *self = (const struct mp_list *)list;
    struct mp_walk *walk = self->walk;

    (void)eval;
    if (i < walk->i)
        *walk = (struct mp_walk){self->items, 0};
    for (; walk->i < i; walk->i++) {
        if (dgf_mp_skip(&walk->mp) != DGF_OK) {
            *ret = damaged();
            return;
        }
    }
    *ret = read_next(self->arena, &walk->mp);
    walk->i++;
}

static const struct dgf_cel_list_ops list_ops = {list_size, list_at};

/* ---- maps ---- */

static uint32_t map_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    (void)eval;
    return ((const struct mp_map *)map)->n;
}

static bool map_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                    const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    const struct mp_map *self = (const struct mp_map *)map;
    struct dgf_mp mp = self->pairs;
    struct dgf_mp_token key;

    (void)eval;
    for (uint32_t i = 0; i < self->n; i++) {
        struct dgf_mp start = mp;

        if (dgf_mp_next(&mp, &key) != DGF_OK)
            break;
        if (key.kind == DGF_MP_STR && key.bytes.len == name->text.len &&
            memcmp(key.bytes.ptr, name->text.ptr, key.bytes.len) == 0) {
            *ret = read_next(self->arena, &mp);
            return true;
        }
        if (key.kind == DGF_MP_ARRAY || key.kind == DGF_MP_MAP) {
            mp = start;
            if (dgf_mp_skip(&mp) != DGF_OK)
                break;
        }
        if (dgf_mp_skip(&mp) != DGF_OK)
            break;
    }
    return false;
}

static bool map_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                     uint64_t *at, struct dgf_cel_value *ret_key,
                     struct dgf_cel_value *ret_value)
{
    const struct mp_map *self = (const struct mp_map *)map;
    struct dgf_mp mp = {self->pairs.ptr + *at, self->pairs.end};

    (void)eval;
    /* the end of the whole input is not the end of this map: count bytes of pairs */
    if (self->n == 0 || mp.ptr >= self->pairs.end)
        return false;
    *ret_key = read_next(self->arena, &mp);
    if (ret_key->kind == DGF_CEL_ERROR)
        return false;
    if (ret_value)
        *ret_value = read_next(self->arena, &mp);
    else if (dgf_mp_skip(&mp) != DGF_OK)
        return false;
    *at = (uint64_t)(mp.ptr - self->pairs.ptr);
    return true;
}

static bool map_find(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                     const struct dgf_cel_value *key, struct dgf_cel_value *ret)
{
    struct dgf_cel_value have, plain, value;
    uint64_t at = 0;

    while (map_next(map, eval, &at, &have, &value)) {
        if (have.kind == DGF_CEL_STRING || !dgf_cel_key(&have, &plain) ||
            plain.kind != key->kind || plain.u64 != key->u64)
            continue;
        *ret = value;
        return true;
    }
    return false;
}

static const struct dgf_cel_map_ops map_ops = {map_size, map_get, map_find, map_next};

/* ---- scalars ---- */

static struct dgf_cel_value string_of(struct dgf_arena *arena, const char *text,
                                      size_t len)
{
    const char *copy = dgf_arena_strndup(arena, text, len);

    return copy ? dgf_cel_string(dgf_bytes_of(copy, len)) : no_room();
}

static struct dgf_cel_value uuid_of(struct dgf_arena *arena, struct dgf_bytes bytes)
{
    static const char hex[] = "0123456789abcdef";
    char text[37];
    size_t n = 0;

    if (bytes.len != 16)
        return damaged();
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[n++] = '-';
        text[n++] = hex[bytes.ptr[i] >> 4];
        text[n++] = hex[bytes.ptr[i] & 15];
    }
    return string_of(arena, text, n);
}

static size_t add_fraction(char *text, size_t size, size_t n, uint32_t ns)
{
    if (ns == 0)
        return n;
    n += (size_t)snprintf(text + n, size - n, ".%09" PRIu32, ns);
    while (text[n - 1] == '0')
        n--;
    return n;
}

static struct dgf_cel_value time_of_day(struct dgf_arena *arena, struct dgf_bytes bytes)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    int64_t ns = (int64_t)dgf_rd_be64(&rd), seconds = ns / 1000000000;
    char text[64];
    size_t n;

    if (rd.bad || ns < 0 || ns > 86400000000000)
        return damaged();
    n = (size_t)snprintf(text, sizeof(text), "%02d:%02d:%02d", (int)(seconds / 3600),
                         (int)(seconds / 60 % 60), (int)(seconds % 60));
    n = add_fraction(text, sizeof(text), n, (uint32_t)(ns % 1000000000));
    return string_of(arena, text, n);
}

/* A month has no length of its own: such an interval stays a text, ISO 8601. */
static struct dgf_cel_value interval_text(struct dgf_arena *arena, int32_t months,
                                          int32_t days, int64_t ns)
{
    char text[128] = "P";
    size_t n = 1;
    uint64_t rest = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

    if (months / 12 != 0)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%" PRId32 "Y", months / 12);
    if (months % 12 != 0)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%" PRId32 "M", months % 12);
    if (days != 0)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%" PRId32 "D", days);
    if (rest > 0) {
        n += (size_t)snprintf(text + n, sizeof(text) - n, "T%s%" PRIu64,
                              ns < 0 ? "-" : "", rest / 1000000000);
        n = add_fraction(text, sizeof(text), n, (uint32_t)(rest % 1000000000));
        text[n++] = 'S';
    }
    return string_of(arena, text, n);
}

static struct dgf_cel_value interval_of(struct dgf_arena *arena, struct dgf_bytes bytes)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    int32_t months = (int32_t)dgf_rd_be32(&rd), days = (int32_t)dgf_rd_be32(&rd);
    int64_t ns = (int64_t)dgf_rd_be64(&rd);
    struct dgf_cel_value value;

    if (rd.bad || dgf_rd_left(&rd) > 0)
        return damaged();
    if (months != 0)
        return interval_text(arena, months, days, ns);
    value = dgf_cel_duration_ns(ns);
    value.i64 += (int64_t)days * 86400;
    return value;
}

/* A type no source table knows: its text or its bytes. */
static struct dgf_cel_value opaque_of(struct dgf_bytes bytes)
{
    struct dgf_mp mp = dgf_mp_of(bytes);
    struct dgf_mp_token type, content;

    if (dgf_mp_next(&mp, &type) != DGF_OK || dgf_mp_next(&mp, &content) != DGF_OK)
        return damaged();
    if (content.kind == DGF_MP_STR)
        return dgf_cel_string(content.bytes);
    return content.kind == DGF_MP_BIN ? dgf_cel_bytes(content.bytes) : damaged();
}

static struct dgf_cel_value ext_of(struct dgf_arena *arena,
                                   const struct dgf_mp_token *token)
{
    struct dgf_rd rd = dgf_rd_of(token->bytes);
    struct dgf_cel_value value;
    int64_t seconds;
    uint32_t ns;

    switch (token->ext) {
    case DGF_EXT_TIMESTAMP:
        if (!dgf_mp_timestamp(token, &seconds, &ns))
            return damaged();
        return dgf_cel_timestamp(seconds, ns);
    case DGF_EXT_DECIMAL:
        return dgf_cel_decimal_of(token->bytes, arena, &value) ? value : damaged();
    case DGF_EXT_UUID:
        return uuid_of(arena, token->bytes);
    case DGF_EXT_DATE:
        seconds = (int64_t)(int32_t)dgf_rd_be32(&rd) * 86400;
        return rd.bad ? damaged() : dgf_cel_timestamp(seconds, 0);
    case DGF_EXT_TIME:
        return time_of_day(arena, token->bytes);
    case DGF_EXT_DURATION:
        return interval_of(arena, token->bytes);
    case DGF_EXT_OPAQUE:
        return opaque_of(token->bytes);
    case DGF_EXT_UNAVAILABLE:
        return dgf_cel_unknown(NULL, token->bytes.len > 0 ? token->bytes.ptr[0] : 0);
    default:
        return damaged();
    }
}

/* The part of the input that holds n values, entered already. */
static bool span_of(struct dgf_mp *mp, uint64_t n, struct dgf_mp *ret)
{
    const uint8_t *start = mp->ptr;

    for (; n > 0; n--)
        if (dgf_mp_skip(mp) != DGF_OK)
            return false;
    *ret = (struct dgf_mp){start, mp->ptr};
    return true;
}

static struct dgf_cel_value container_of_mp(struct dgf_arena *arena, struct dgf_mp *mp,
                                            const struct dgf_mp_token *token)
{
    struct dgf_mp inside;

    if (!span_of(mp, token->kind == DGF_MP_MAP ? 2 * (uint64_t)token->n : token->n,
                 &inside))
        return damaged();
    if (token->kind == DGF_MP_ARRAY) {
        struct mp_list *list = dgf_arena_alloc(arena, sizeof(*list));
        struct mp_walk *walk = dgf_arena_alloc(arena, sizeof(*walk));

        if (!list || !walk)
            return no_room();
        *walk = (struct mp_walk){inside, 0};
        *list = (struct mp_list){{&list_ops}, arena, inside, token->n, walk};
        return dgf_cel_list_of(&list->base);
    }
    {
        struct mp_map *map = dgf_arena_alloc(arena, sizeof(*map));

        if (!map)
            return no_room();
        *map = (struct mp_map){{&map_ops}, arena, inside, token->n};
        return dgf_cel_map_of(&map->base);
    }
}

static struct dgf_cel_value read_next(struct dgf_arena *arena, struct dgf_mp *mp)
{
    struct dgf_mp_token token;

    if (dgf_mp_next(mp, &token) != DGF_OK)
        return damaged();
    switch (token.kind) {
    case DGF_MP_NIL:
        return dgf_cel_null();
    case DGF_MP_BOOL:
        return dgf_cel_bool(token.boolean);
    case DGF_MP_INT:
        return dgf_cel_int(token.i64);
    case DGF_MP_UINT:
        return dgf_cel_uint(token.u64);
    case DGF_MP_DOUBLE:
        return dgf_cel_double(token.dbl);
    case DGF_MP_STR:
        return dgf_cel_string(token.bytes);
    case DGF_MP_BIN:
        return dgf_cel_bytes(token.bytes);
    case DGF_MP_EXT:
        return ext_of(arena, &token);
    default:
        return container_of_mp(arena, mp, &token);
    }
}

struct dgf_cel_value dgf_cel_of_msgpack(struct dgf_arena *arena, struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);

    return read_next(arena, &mp);
}
