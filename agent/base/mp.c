#include "base/mp.h"

#include "base/mem.h"
#include "base/parse.h"

static uint64_t be(const uint8_t *p, size_t n)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

static inline size_t left_of(const struct dgf_mp *mp)
{
    return (size_t)(mp->end - mp->ptr);
}

/* A container is only as large as what is left could hold. */
static enum dgf_rc container(struct dgf_mp *mp, const uint8_t *body,
                             enum dgf_mp_kind kind, uint64_t n,
                             struct dgf_mp_token *ret)
{
    uint64_t items = kind == DGF_MP_MAP ? 2 * n : n;

    if (items > (uint64_t)(mp->end - body))
        return DGF_BAD_DATA;
    ret->kind = kind;
    ret->n = (uint32_t)n;
    mp->ptr = body;
    return DGF_OK;
}

static enum dgf_rc content(struct dgf_mp *mp, const uint8_t *body,
                           enum dgf_mp_kind kind, uint64_t len,
                           struct dgf_mp_token *ret)
{
    if (len > (uint64_t)(mp->end - body))
        return DGF_BAD_DATA;
    ret->kind = kind;
    ret->bytes = dgf_bytes_of(body, (size_t)len);
    mp->ptr = body + len;
    return DGF_OK;
}

static enum dgf_rc ext(struct dgf_mp *mp, const uint8_t *type, uint64_t len,
                       struct dgf_mp_token *ret)
{
    if (type >= mp->end)
        return DGF_BAD_DATA;
    ret->ext = (int8_t)*type;
    return content(mp, type + 1, DGF_MP_EXT, len, ret);
}

static enum dgf_rc integer(struct dgf_mp *mp, const uint8_t *end, int64_t value,
                           struct dgf_mp_token *ret)
{
    ret->kind = DGF_MP_INT;
    ret->i64 = value;
    mp->ptr = end;
    return DGF_OK;
}

static enum dgf_rc floating(struct dgf_mp *mp, const uint8_t *body, size_t n,
                            struct dgf_mp_token *ret)
{
    uint64_t wide = be(body, n);
    uint32_t narrow = (uint32_t)wide;
    float single;

    ret->kind = DGF_MP_DOUBLE;
    if (n == 4) {
        memcpy(&single, &narrow, sizeof(single));
        ret->dbl = (double)single;
    } else {
        memcpy(&ret->dbl, &wide, sizeof(wide));
    }
    mp->ptr = body + n;
    return DGF_OK;
}

/* Sign-extends n bytes. */
static int64_t extend(uint64_t value, size_t n)
{
    unsigned shift = (unsigned)(64 - 8 * n);

    return (int64_t)(value << shift) >> shift;
}

/* Formats 0xc4 to 0xdf: how many bytes of number follow the first byte. */
static const uint8_t n_header[] = {
    1, 2, 4,       /* bin */
    1, 2, 4,       /* ext */
    4, 8,          /* float */
    1, 2, 4, 8,    /* uint */
    1, 2, 4, 8,    /* int */
    0, 0, 0, 0, 0, /* fixext */
    1, 2, 4,       /* str */
    2, 4, 2, 4,    /* array, map */
};

static enum dgf_rc next_long(struct dgf_mp *mp, uint8_t first, struct dgf_mp_token *ret)
{
    size_t n = n_header[first - 0xc4];
    const uint8_t *body;
    uint64_t value;

    if (left_of(mp) < 1 + n)
        return DGF_BAD_DATA;
    body = mp->ptr + 1 + n;
    value = be(mp->ptr + 1, n);
    switch (first) {
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return content(mp, body, DGF_MP_BIN, value, ret);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return ext(mp, body, value, ret);
    case 0xca:
    case 0xcb:
        return floating(mp, mp->ptr + 1, n, ret);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        if (value > INT64_MAX) {
            ret->kind = DGF_MP_UINT;
            ret->u64 = value;
            mp->ptr = body;
            return DGF_OK;
        }
        return integer(mp, body, (int64_t)value, ret);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return integer(mp, body, extend(value, n), ret);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return ext(mp, body, 1u << (first - 0xd4), ret);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return content(mp, body, DGF_MP_STR, value, ret);
    case 0xdc:
    case 0xdd:
        return container(mp, body, DGF_MP_ARRAY, value, ret);
    default:
        return container(mp, body, DGF_MP_MAP, value, ret);
    }
}

enum dgf_rc dgf_mp_next(struct dgf_mp *mp, struct dgf_mp_token *ret)
{
    uint8_t first;

    if (mp->ptr == mp->end)
        return DGF_AGAIN;
    first = *mp->ptr;
    if (first < 0x80 || first >= 0xe0)
        return integer(mp, mp->ptr + 1, (int8_t)first, ret);
    if (first >= 0xa0 && first < 0xc0)
        return content(mp, mp->ptr + 1, DGF_MP_STR, first & 31, ret);
    if (first < 0x90)
        return container(mp, mp->ptr + 1, DGF_MP_MAP, first & 15, ret);
    if (first < 0xa0)
        return container(mp, mp->ptr + 1, DGF_MP_ARRAY, first & 15, ret);
    if (first >= 0xc4)
        return next_long(mp, first, ret);
    if (first == 0xc1) /* never used */
        return DGF_BAD_DATA;
    ret->kind = first == 0xc0 ? DGF_MP_NIL : DGF_MP_BOOL;
    ret->boolean = first == 0xc3;
    mp->ptr++;
    return DGF_OK;
}

static inline uint64_t items_of(const struct dgf_mp_token *token)
{
    if (token->kind == DGF_MP_ARRAY)
        return token->n;
    return token->kind == DGF_MP_MAP ? 2 * (uint64_t)token->n : 0;
}

static bool ext_is_good(const struct dgf_mp_token *token);

static bool token_is_good(const struct dgf_mp_token *token)
{
    if (token->kind == DGF_MP_STR)
        return dgf_utf8_valid(token->bytes);
    return token->kind != DGF_MP_EXT || ext_is_good(token);
}

/* Behind a scalar of the common forms; NULL: another form, or not all there. */
static inline const uint8_t *behind_scalar(const uint8_t *at, const uint8_t *end)
{
    size_t len = 1;

    if (at == end)
        return NULL;
    if (*at < 0x80 || *at >= 0xe0 || *at == 0xc0 || *at == 0xc2 || *at == 0xc3)
        len = 1;
    else if ((*at & 0xe0) == 0xa0)
        len = 1 + (size_t)(*at & 31);
    else if (*at == 0xd9 && end - at > 1)
        len = 2 + (size_t)at[1];
    else if (*at == 0xcb || *at == 0xd3)
        len = 9;
    else
        return NULL;
    return (size_t)(end - at) < len ? NULL : at + len;
}

/* Walks over one value; left[] counts what each open container still misses. */
static enum dgf_rc walk(struct dgf_mp *mp, bool look)
{
    struct dgf_mp at = *mp;
    uint64_t left[DGF_MP_MAX_DEPTH];
    const uint8_t *behind = look ? NULL : behind_scalar(mp->ptr, mp->end);
    struct dgf_mp_token token;
    size_t depth = 0;
    uint64_t items;
    enum dgf_rc rc;

    if (behind) {
        mp->ptr = behind;
        return DGF_OK;
    }
    for (;;) {
        rc = dgf_mp_next(&at, &token);
        if (rc)
            return depth > 0 ? DGF_BAD_DATA : rc;
        if (look && !token_is_good(&token))
            return DGF_BAD_DATA;
        if (token.kind == DGF_MP_ARRAY || token.kind == DGF_MP_MAP) {
            if (depth == DGF_MP_MAX_DEPTH)
                return DGF_BAD_DATA;
            items = items_of(&token);
            if (items > 0) {
                left[depth++] = items;
                continue;
            }
        }
        while (depth > 0 && --left[depth - 1] == 0)
            depth--;
        if (depth == 0)
            break;
    }
    *mp = at;
    return DGF_OK;
}

enum dgf_rc dgf_mp_skip(struct dgf_mp *mp)
{
    return walk(mp, false);
}

enum dgf_rc dgf_mp_value(struct dgf_mp *mp, struct dgf_bytes *ret)
{
    const uint8_t *begin = mp->ptr;
    enum dgf_rc rc = walk(mp, false);

    if (!rc)
        *ret = dgf_bytes_of(begin, (size_t)(mp->ptr - begin));
    return rc;
}

enum dgf_rc dgf_mp_check(struct dgf_bytes bytes)
{
    struct dgf_mp mp = dgf_mp_of(bytes);

    return walk(&mp, true) || mp.ptr != mp.end ? DGF_BAD_DATA : DGF_OK;
}

enum dgf_rc dgf_mp_find(struct dgf_bytes map, struct dgf_bytes key,
                        struct dgf_bytes *ret)
{
    struct dgf_mp mp = dgf_mp_of(map);
    struct dgf_mp_token token;

    if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_MAP)
        return DGF_BAD_DATA;
    for (uint32_t n = token.n; n > 0; n--) {
        struct dgf_mp before = mp;
        bool found;

        if (mp.ptr != mp.end && (*mp.ptr & 0xe0) == 0xa0) { /* a short name */
            size_t len = *mp.ptr & 31;
            const uint8_t *value = behind_scalar(mp.ptr, mp.end);

            if (value && (len != key.len || memcmp(mp.ptr + 1, key.ptr, len) != 0)) {
                mp.ptr = value;
                if (dgf_mp_skip(&mp))
                    return DGF_BAD_DATA;
                continue;
            }
        }
        if (dgf_mp_next(&mp, &token))
            return DGF_BAD_DATA;
        found = token.kind == DGF_MP_STR && dgf_bytes_eq(token.bytes, key);
        if (items_of(&token) > 0) {
            mp = before;
            if (dgf_mp_skip(&mp))
                return DGF_BAD_DATA;
        }
        if (found)
            return dgf_mp_value(&mp, ret) ? DGF_BAD_DATA : DGF_OK;
        if (dgf_mp_skip(&mp))
            return DGF_BAD_DATA;
    }
    return DGF_AGAIN;
}

/* ---- extensions ---- */

bool dgf_mp_timestamp(const struct dgf_mp_token *token, int64_t *ret_s,
                      uint32_t *ret_ns)
{
    const uint8_t *p = token->bytes.ptr;
    int64_t s;
    uint64_t ns;

    if (token->kind != DGF_MP_EXT || token->ext != DGF_EXT_TIMESTAMP)
        return false;
    switch (token->bytes.len) {
    case 4:
        s = (int64_t)be(p, 4);
        ns = 0;
        break;
    case 8:
        s = (int64_t)(be(p, 8) & 0x3ffffffff);
        ns = be(p, 8) >> 34;
        break;
    case 12:
        ns = be(p, 4);
        s = (int64_t)be(p + 4, 8);
        break;
    default:
        return false;
    }
    if (ns > 999999999)
        return false;
    *ret_s = s;
    *ret_ns = (uint32_t)ns;
    return true;
}

static bool decimal_is_good(struct dgf_bytes text)
{
    size_t at = text.len > 0 && text.ptr[0] == '-', n_digits = 0, begin;

    if (dgf_bytes_eq(text, DGF_BYTES("NaN")) ||
        dgf_bytes_eq(text, DGF_BYTES("Infinity")) ||
        dgf_bytes_eq(text, DGF_BYTES("-Infinity")))
        return true;
    for (; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
        n_digits++;
    if (at < text.len && text.ptr[at] == '.')
        for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++)
            n_digits++;
    if (n_digits == 0)
        return false;
    if (at < text.len && (text.ptr[at] == 'E' || text.ptr[at] == 'e')) {
        at++;
        at += at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-');
        for (begin = at; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9';)
            at++;
        if (at == begin)
            return false;
    }
    return at == text.len;
}

static bool opaque_is_good(struct dgf_bytes payload)
{
    struct dgf_mp mp = dgf_mp_of(payload);
    struct dgf_mp_token type, text;

    return !dgf_mp_next(&mp, &type) && type.kind == DGF_MP_STR &&
           dgf_utf8_valid(type.bytes) && !dgf_mp_next(&mp, &text) &&
           (text.kind == DGF_MP_BIN ||
            (text.kind == DGF_MP_STR && dgf_utf8_valid(text.bytes))) &&
           mp.ptr == mp.end;
}

static bool ext_is_good(const struct dgf_mp_token *token)
{
    struct dgf_bytes payload = token->bytes;
    uint32_t ns;
    int64_t s;

    switch ((enum dgf_ext)token->ext) {
    case DGF_EXT_TIMESTAMP:
        return dgf_mp_timestamp(token, &s, &ns);
    case DGF_EXT_DECIMAL:
        return decimal_is_good(payload);
    case DGF_EXT_UUID:
    case DGF_EXT_DURATION:
        return payload.len == 16;
    case DGF_EXT_DATE:
        return payload.len == 4;
    case DGF_EXT_TIME:
        return payload.len == 8 && be(payload.ptr, 8) <= 86400ull * 1000000000;
    case DGF_EXT_OPAQUE:
        return opaque_is_good(payload);
    case DGF_EXT_UNAVAILABLE:
        return payload.len == 1;
    }
    return false;
}
