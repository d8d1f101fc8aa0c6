/* json_msgpack.c - a msgpack value as JSON: MongoDB Extended JSON v2, relaxed,
 * with plain strings for what has a published text (RFC 3339, ISO 8601). */
#include "base/json.h"

#include <math.h>
#include <stdio.h>

#include "base/mp.h"
#include "base/parse.h"

#define LARGEST_EXACT (1ll << 53) /* what every JSON reader keeps */

static const char *const unavailable_words[] = {
#define WORD(group, name, text, meaning) text,
#include "base/unavailable.def"
#undef WORD
};

static void add_lit(struct dgf_json *json, const char *text)
{
    dgf_buf_add_str(json->buf, text);
}

static void number_long(struct dgf_json *json, const struct dgf_mp_token *token)
{
    add_lit(json, "{\"$numberLong\":\"");
    if (token->kind == DGF_MP_UINT)
        dgf_buf_add_u64(json->buf, token->u64);
    else
        dgf_buf_add_i64(json->buf, token->i64);
    add_lit(json, "\"}");
}

static void put_int(struct dgf_json *json, const struct dgf_mp_token *token)
{
    if (token->kind == DGF_MP_UINT || token->i64 > LARGEST_EXACT ||
        token->i64 < -LARGEST_EXACT)
        number_long(json, token);
    else
        dgf_buf_add_i64(json->buf, token->i64);
}

/* A whole double keeps a ".0", so that it is not read back as an integer. */
static void put_double(struct dgf_json *json, double value)
{
    size_t before = json->buf->len;

    if (!isfinite(value)) {
        add_lit(json, "{\"$numberDouble\":\"");
        add_lit(json, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
        add_lit(json, "\"}");
        return;
    }
    dgf_json_format_double(json->buf, value);
    for (size_t i = before; i < json->buf->len; i++)
        if (json->buf->ptr[i] == '.' || json->buf->ptr[i] == 'e')
            return;
    add_lit(json, ".0");
}

static void put_binary(struct dgf_json *json, struct dgf_bytes bytes)
{
    add_lit(json, "{\"$binary\":{\"base64\":\"");
    dgf_buf_add_base64(json->buf, bytes);
    add_lit(json, "\",\"subType\":\"00\"}}");
}

static void put_uuid(struct dgf_json *json, const uint8_t *uuid)
{
    static const uint8_t parts[] = {4, 2, 2, 2, 6};

    dgf_buf_add_byte(json->buf, '"');
    for (size_t i = 0; i < sizeof(parts); i++) {
        if (i > 0)
            dgf_buf_add_byte(json->buf, '-');
        dgf_buf_add_hex(json->buf, dgf_bytes_of(uuid, parts[i]));
        uuid += parts[i];
    }
    dgf_buf_add_byte(json->buf, '"');
}

static void add_part(struct dgf_json *json, int64_t n, char unit)
{
    if (n != 0) {
        dgf_buf_add_i64(json->buf, n);
        dgf_buf_add_byte(json->buf, (uint8_t)unit);
    }
}

/* ISO 8601; each part has its own sign, as months, days and time do. */
static void put_duration(struct dgf_json *json, struct dgf_rd *rd)
{
    int32_t months = (int32_t)dgf_rd_be32(rd), days = (int32_t)dgf_rd_be32(rd);
    int64_t ns = (int64_t)dgf_rd_be64(rd), s = ns / 1000000000;
    uint64_t fraction = (uint64_t)(ns < 0 ? -(ns % 1000000000) : ns % 1000000000);

    add_lit(json, "\"P");
    add_part(json, months / 12, 'Y');
    add_part(json, months % 12, 'M');
    add_part(json, days, 'D');
    if (ns != 0 || (months == 0 && days == 0))
        dgf_buf_add_byte(json->buf, 'T');
    add_part(json, s / 3600, 'H');
    add_part(json, s / 60 % 60, 'M');
    if (s % 60 != 0 || fraction != 0 || (months == 0 && days == 0 && ns == 0)) {
        if (ns < 0 && s % 60 == 0)
            dgf_buf_add_byte(json->buf, '-');
        dgf_buf_add_i64(json->buf, s % 60);
        if (fraction != 0) {
            char digits[16];
            int n = snprintf(digits, sizeof(digits), ".%09llu",
                             (unsigned long long)fraction);

            while (digits[n - 1] == '0')
                n--;
            dgf_buf_add(json->buf, digits, (size_t)n);
        }
        dgf_buf_add_byte(json->buf, 'S');
    }
    dgf_buf_add_byte(json->buf, '"');
}

static void put_opaque(struct dgf_json *json, struct dgf_bytes payload)
{
    struct dgf_mp mp = dgf_mp_of(payload);
    struct dgf_json inner = dgf_json_of(json->buf);
    struct dgf_mp_token type, text;

    if (dgf_mp_next(&mp, &type) || dgf_mp_next(&mp, &text))
        return; /* not after the check */
    add_lit(json, "{\"$opaque\":");
    dgf_json_begin_object(&inner);
    dgf_json_key(&inner, "type");
    dgf_json_text(&inner, type.bytes);
    dgf_json_key(&inner, "text");
    if (text.kind == DGF_MP_STR)
        dgf_json_text(&inner, text.bytes);
    else
        put_binary(json, text.bytes);
    add_lit(json, "}}");
}

static enum dgf_rc put_unavailable(struct dgf_json *json, uint8_t why)
{
    if (why >= DGF_ARRAY_LEN(unavailable_words))
        return DGF_BAD_DATA;
    add_lit(json, "{\"$unavailable\":\"");
    add_lit(json, unavailable_words[why]);
    add_lit(json, "\"}");
    return DGF_OK;
}

static enum dgf_rc put_timestamp(struct dgf_json *json,
                                 const struct dgf_mp_token *token)
{
    size_t before = json->buf->len + 1;
    int64_t s = 0;
    uint32_t ns = 0;

    (void)dgf_mp_timestamp(token, &s, &ns);
    dgf_buf_add_byte(json->buf, '"');
    dgf_format_timestamp(json->buf, s, ns);
    if (json->buf->len == before) /* no calendar reaches that far */
        return DGF_BAD_DATA;
    dgf_buf_add_byte(json->buf, '"');
    return DGF_OK;
}

static enum dgf_rc put_ext(struct dgf_json *json, const struct dgf_mp_token *token)
{
    struct dgf_rd rd = dgf_rd_of(token->bytes);

    switch ((enum dgf_ext)token->ext) {
    case DGF_EXT_TIMESTAMP:
        return put_timestamp(json, token);
    case DGF_EXT_DECIMAL:
        add_lit(json, "{\"$numberDecimal\":\"");
        dgf_buf_add_bytes(json->buf, token->bytes);
        add_lit(json, "\"}");
        break;
    case DGF_EXT_UUID:
        put_uuid(json, token->bytes.ptr);
        break;
    case DGF_EXT_DATE:
        dgf_buf_add_byte(json->buf, '"');
        dgf_format_date(json->buf, (int32_t)dgf_rd_be32(&rd));
        dgf_buf_add_byte(json->buf, '"');
        break;
    case DGF_EXT_TIME:
        dgf_buf_add_byte(json->buf, '"');
        dgf_format_time_of_day(json->buf, (int64_t)dgf_rd_be64(&rd));
        dgf_buf_add_byte(json->buf, '"');
        break;
    case DGF_EXT_DURATION:
        put_duration(json, &rd);
        break;
    case DGF_EXT_OPAQUE:
        put_opaque(json, token->bytes);
        break;
    case DGF_EXT_UNAVAILABLE:
        return put_unavailable(json, token->bytes.ptr[0]);
    }
    return DGF_OK;
}

static enum dgf_rc put_value(struct dgf_json *json, struct dgf_mp *mp);

static enum dgf_rc put_items(struct dgf_json *json, struct dgf_mp *mp,
                             const struct dgf_mp_token *token)
{
    bool is_map = token->kind == DGF_MP_MAP;
    struct dgf_mp_token key;

    dgf_buf_add_byte(json->buf, is_map ? '{' : '[');
    json->comma = false;
    for (uint32_t i = 0; i < token->n; i++) {
        if (is_map) {
            if (dgf_mp_next(mp, &key) || key.kind != DGF_MP_STR)
                return DGF_BAD_DATA;
            dgf_json_key_bytes(json, key.bytes);
        }
        if (put_value(json, mp))
            return DGF_BAD_DATA;
    }
    dgf_buf_add_byte(json->buf, is_map ? '}' : ']');
    return DGF_OK;
}

/* Depth is bounded by dgf_mp_check, which has seen the whole value. */
static enum dgf_rc put_value(struct dgf_json *json, struct dgf_mp *mp)
{
    struct dgf_mp_token token;
    enum dgf_rc rc = DGF_OK;

    if (dgf_mp_next(mp, &token))
        return DGF_BAD_DATA;
    if (token.kind == DGF_MP_STR) {
        dgf_json_text(json, token.bytes);
        return DGF_OK;
    }
    if (json->comma)
        dgf_buf_add_byte(json->buf, ',');
    switch (token.kind) {
    case DGF_MP_NIL:
        add_lit(json, "null");
        break;
    case DGF_MP_BOOL:
        add_lit(json, token.boolean ? "true" : "false");
        break;
    case DGF_MP_INT:
    case DGF_MP_UINT:
        put_int(json, &token);
        break;
    case DGF_MP_DOUBLE:
        put_double(json, token.dbl);
        break;
    case DGF_MP_STR:
        break;
    case DGF_MP_BIN:
        put_binary(json, token.bytes);
        break;
    case DGF_MP_ARRAY:
    case DGF_MP_MAP:
        rc = put_items(json, mp, &token);
        break;
    case DGF_MP_EXT:
        rc = put_ext(json, &token);
        break;
    }
    json->comma = true;
    return rc;
}

enum dgf_rc dgf_json_msgpack(struct dgf_json *json, struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_json before = *json;
    size_t len = json->buf->len;

    if (dgf_mp_check(value))
        return DGF_BAD_DATA;
    if (put_value(json, &mp)) {
        *json = before;
        json->buf->len = len;
        return DGF_BAD_DATA;
    }
    return DGF_OK;
}
