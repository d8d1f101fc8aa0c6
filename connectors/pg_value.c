#include "pg_value.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/mp.h"
#include "base/parse.h"

#define BAD(why_) (*ret_why = (why_), DGF_BAD_DATA)

/* ---- the types every server has ---- */

#define SCALAR(oid_, codec_, type_, name_)                              \
    {                                                                   \
        oid_, DGF_PG_CODEC_##codec_, DGF_TYPE_##type_, ',', name_, NULL \
    }

static const struct dgf_pg_type scalars[] = {
    SCALAR(16, BOOL, BOOL, "boolean"),
    SCALAR(17, BYTEA, BYTES, "bytea"),
    SCALAR(18, STR, TEXT, "\"char\""),
    SCALAR(19, STR, TEXT, "name"),
    SCALAR(20, INT8, INT, "bigint"),
    SCALAR(21, INT2, INT, "smallint"),
    SCALAR(23, INT4, INT, "integer"),
    SCALAR(25, STR, TEXT, "text"),
    SCALAR(26, UINT4, INT, "oid"),
    SCALAR(28, UINT4, INT, "xid"),
    SCALAR(29, UINT4, INT, "cid"),
    SCALAR(114, JSON, JSON, "json"),
    SCALAR(142, STR, TEXT, "xml"),
    SCALAR(650, INET, OPAQUE, "cidr"),
    SCALAR(700, FLOAT4, DOUBLE, "real"),
    SCALAR(701, FLOAT8, DOUBLE, "double precision"),
    SCALAR(774, MACADDR, OPAQUE, "macaddr8"),
    SCALAR(829, MACADDR, OPAQUE, "macaddr"),
    SCALAR(869, INET, OPAQUE, "inet"),
    SCALAR(1042, CHARS, TEXT, "character"),
    SCALAR(1043, STR, TEXT, "character varying"),
    SCALAR(1082, DATE, DATE, "date"),
    SCALAR(1083, TIME, TIME, "time"),
    SCALAR(1114, TIMESTAMP, TIMESTAMP, "timestamp"),
    SCALAR(1184, TIMESTAMPTZ, TIMESTAMP, "timestamptz"),
    SCALAR(1186, INTERVAL, DURATION, "interval"),
    SCALAR(1266, TIMETZ, OPAQUE, "timetz"),
    SCALAR(1560, BIT, OPAQUE, "bit"),
    SCALAR(1562, BIT, OPAQUE, "bit varying"),
    SCALAR(1700, NUMERIC, DECIMAL, "numeric"),
    SCALAR(2950, UUID, UUID, "uuid"),
    SCALAR(3220, LSN, OPAQUE, "pg_lsn"),
    SCALAR(3802, JSONB, JSON, "jsonb"),
    SCALAR(5069, UINT8, INT, "xid8"),
};

static const struct {
    uint32_t array, element;
} arrays[] = {
    {143, 142},   {199, 114},   {271, 5069},  {651, 650},   {775, 774},   {1000, 16},
    {1001, 17},   {1002, 18},   {1003, 19},   {1005, 21},   {1007, 23},   {1009, 25},
    {1011, 28},   {1012, 29},   {1014, 1042}, {1015, 1043}, {1016, 20},   {1021, 700},
    {1022, 701},  {1028, 26},   {1040, 829},  {1041, 869},  {1115, 1114}, {1182, 1082},
    {1183, 1083}, {1185, 1184}, {1187, 1186}, {1231, 1700}, {1270, 1266}, {1561, 1560},
    {1563, 1562}, {2951, 2950}, {3221, 3220}, {3807, 3802},
};
static struct dgf_pg_type array_types[DGF_ARRAY_LEN(arrays)];

static const struct dgf_pg_type *scalar_of(uint32_t oid)
{
    size_t lo = 0, hi = DGF_ARRAY_LEN(scalars);

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (scalars[mid].oid == oid)
            return &scalars[mid];
        if (scalars[mid].oid < oid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

__attribute__((constructor)) static void make_array_types(void)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(arrays); i++)
        array_types[i] = (struct dgf_pg_type){
            arrays[i].array, DGF_PG_CODEC_ARRAY,          DGF_TYPE_ARRAY, ',',
            "array",         scalar_of(arrays[i].element)};
}

const struct dgf_pg_type *dgf_pg_type_builtin(uint32_t oid)
{
    const struct dgf_pg_type *type = scalar_of(oid);

    for (size_t i = 0; !type && i < DGF_ARRAY_LEN(array_types); i++)
        if (array_types[i].oid == oid)
            type = &array_types[i];
    return type;
}

/* ---- texts ---- */

void dgf_pg_put_str(struct dgf_buf *out, struct dgf_bytes text)
{
    if (dgf_utf8_valid(text))
        dgf_mp_put_str(out, text);
    else
        dgf_mp_put_bin(out, text);
}

/* The server fills character(n) up with spaces, and no comparison of its own counts
 * them. */
static void put_chars(struct dgf_buf *out, struct dgf_bytes text)
{
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    dgf_pg_put_str(out, text);
}

static void put_opaque(struct dgf_buf *out, const char *name, struct dgf_bytes text)
{
    if (dgf_utf8_valid(text)) {
        dgf_mp_put_opaque(out, dgf_bytes_str(name), text);
        return;
    }
    struct dgf_buf payload;

    dgf_buf_init(&payload, text.len + strlen(name) + 16);
    dgf_mp_put_str(&payload, dgf_bytes_str(name));
    dgf_mp_put_bin(&payload, text);
    if (dgf_buf_rc(&payload))
        out->rc = DGF_NOMEM;
    else
        dgf_mp_put_ext(out, DGF_EXT_OPAQUE, dgf_buf_bytes(&payload));
    dgf_buf_release(&payload);
}

static enum dgf_rc put_opaque_bytes(struct dgf_buf *out, const char *name,
                                    struct dgf_bytes bytes)
{
    struct dgf_buf payload;

    dgf_buf_init(&payload, bytes.len + strlen(name) + 16);
    dgf_mp_put_str(&payload, dgf_bytes_str(name));
    dgf_mp_put_bin(&payload, bytes);
    if (dgf_buf_rc(&payload))
        out->rc = DGF_NOMEM;
    else
        dgf_mp_put_ext(out, DGF_EXT_OPAQUE, dgf_buf_bytes(&payload));
    dgf_buf_release(&payload);
    return DGF_OK;
}

static enum dgf_rc int_text(struct dgf_bytes text, int64_t lo, int64_t hi,
                            struct dgf_buf *out, const char **ret_why)
{
    int64_t value;

    if (!dgf_parse_i64(text, &value) || value < lo || value > hi)
        return BAD("not an integer of its width");
    dgf_mp_put_int(out, value);
    return DGF_OK;
}

static enum dgf_rc uint_text(struct dgf_bytes text, uint64_t hi, struct dgf_buf *out,
                             const char **ret_why)
{
    uint64_t value;

    if (!dgf_parse_u64(text, &value) || value > hi)
        return BAD("not an unsigned integer of its width");
    dgf_mp_put_uint(out, value);
    return DGF_OK;
}

/* The server writes the shortest digits that read back the same float, and
 * words for what JSON has no number for. */
static enum dgf_rc float_text(struct dgf_bytes text, struct dgf_buf *out,
                              const char **ret_why)
{
    double value;

    if (dgf_bytes_eq(text, DGF_BYTES("NaN")))
        value = NAN;
    else if (dgf_bytes_eq(text, DGF_BYTES("Infinity")))
        value = INFINITY;
    else if (dgf_bytes_eq(text, DGF_BYTES("-Infinity")))
        value = -INFINITY;
    else if (!dgf_parse_double(text, &value))
        return BAD("not a float");
    dgf_mp_put_double(out, value);
    return DGF_OK;
}

static enum dgf_rc numeric_text(struct dgf_bytes text, struct dgf_buf *out,
                                const char **ret_why)
{
    size_t i = 0, digits = 0;
    bool point = false;

    if (dgf_bytes_eq(text, DGF_BYTES("NaN")) ||
        dgf_bytes_eq(text, DGF_BYTES("Infinity")) ||
        dgf_bytes_eq(text, DGF_BYTES("-Infinity"))) {
        dgf_mp_put_decimal(out, text);
        return DGF_OK;
    }
    if (text.len > 0 && text.ptr[0] == '-')
        i++;
    for (; i < text.len; i++)
        if (text.ptr[i] >= '0' && text.ptr[i] <= '9')
            digits++;
        else if (text.ptr[i] == '.' && !point && digits > 0 && i + 1 < text.len)
            point = true;
        else
            return BAD("not a numeric");
    if (digits == 0)
        return BAD("not a numeric");
    dgf_mp_put_decimal(out, text);
    return DGF_OK;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum dgf_rc bytea_text(struct dgf_bytes text, struct dgf_buf *out,
                              const char **ret_why)
{
    size_t n = text.len / 2 - 1, at;
    uint8_t *to;

    if (text.len < 2 || text.len % 2 || text.ptr[0] != '\\' || text.ptr[1] != 'x')
        return BAD("not bytea in hex");
    /* The header first, then the bytes decoded in place behind it. */
    if (n <= UINT8_MAX) {
        dgf_buf_add(out, (uint8_t[]){0xc4, (uint8_t)n}, 2);
    } else if (n <= UINT16_MAX) {
        dgf_buf_add(out, (uint8_t[]){0xc5, (uint8_t)(n >> 8), (uint8_t)n}, 3);
    } else if (n <= UINT32_MAX) {
        dgf_buf_add(out,
                    (uint8_t[]){0xc6, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
                                (uint8_t)(n >> 8), (uint8_t)n},
                    5);
    } else {
        return BAD("bytea of more than 4 GiB");
    }
    to = n ? dgf_buf_room(out, n) : NULL;
    if (!to)
        return DGF_OK; /* empty, or the failure is in out */
    for (at = 0; at < n; at++) {
        int hi = hex_digit(text.ptr[2 + 2 * at]), lo = hex_digit(text.ptr[3 + 2 * at]);

        if (hi < 0 || lo < 0)
            return BAD("not bytea in hex");
        to[at] = (uint8_t)(hi << 4 | lo);
    }
    out->len += n;
    return DGF_OK;
}

static enum dgf_rc uuid_text(struct dgf_bytes text, struct dgf_buf *out,
                             const char **ret_why)
{
    uint8_t uuid[16];
    size_t at = 0;

    if (text.len != 36)
        return BAD("not a uuid");
    for (size_t i = 0; i < 16; i++) {
        int hi, lo;

        if (i == 4 || i == 6 || i == 8 || i == 10)
            if (text.ptr[at++] != '-')
                return BAD("not a uuid");
        hi = hex_digit(text.ptr[at]);
        lo = hex_digit(text.ptr[at + 1]);
        if (hi < 0 || lo < 0)
            return BAD("not a uuid");
        uuid[i] = (uint8_t)(hi << 4 | lo);
        at += 2;
    }
    dgf_mp_put_uuid(out, uuid);
    return DGF_OK;
}

/* ---- text of an array: {1,NULL,"a \"b\"",{2}} ---- */

struct array_reader {
    const uint8_t *at, *end;
    const struct dgf_pg_type *element;
    struct dgf_buf *out;
    struct dgf_buf unquoted;
    const char **ret_why;
};

/* Writes the header of an array of n items in front of what was packed from
 * `start` on, where one byte was left for it. */
static void patch_array(struct dgf_buf *out, size_t start, uint32_t n)
{
    size_t more = n <= 15 ? 0 : n <= UINT16_MAX ? 2 : 4;

    if (out->rc)
        return;
    if (more) {
        if (!dgf_buf_room(out, more))
            return;
        memmove(out->ptr + start + 1 + more, out->ptr + start + 1,
                out->len - start - 1);
        out->len += more;
    }
    if (n <= 15) {
        out->ptr[start] = (uint8_t)(0x90 | n);
    } else {
        out->ptr[start] = more == 2 ? 0xdc : 0xdd;
        for (size_t i = 0; i < more; i++)
            out->ptr[start + 1 + i] = (uint8_t)(n >> 8 * (more - 1 - i));
    }
}

static enum dgf_rc array_item(struct array_reader *r)
{
    const char **ret_why = r->ret_why;
    const uint8_t *start = r->at;
    struct dgf_bytes item;

    if (*r->at == '"') {
        dgf_buf_clear(&r->unquoted);
        for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
            if (*r->at == '\\' && ++r->at == r->end)
                break;
            dgf_buf_add_byte(&r->unquoted, *r->at);
        }
        if (r->at == r->end)
            return BAD("array text ends inside quotes");
        r->at++;
        if (r->unquoted.rc) {
            r->out->rc = DGF_NOMEM;
            return DGF_OK;
        }
        item = r->unquoted.len ? dgf_buf_bytes(&r->unquoted) : DGF_BYTES("");
        return dgf_pg_value_text(r->element, item, r->out, r->ret_why);
    }
    while (r->at < r->end && *r->at != (uint8_t)r->element->delimiter &&
           *r->at != '}' && *r->at != '{' && *r->at != '"')
        r->at++;
    item = dgf_bytes_of(start, (size_t)(r->at - start));
    if (item.len == 0)
        return BAD("array text with an empty item");
    if (dgf_bytes_eq(item, DGF_BYTES("NULL"))) {
        dgf_mp_put_nil(r->out);
        return DGF_OK;
    }
    if (memchr(item.ptr, '\\', item.len)) /* the server quotes these */
        return BAD("array text with a bare backslash");
    return dgf_pg_value_text(r->element, item, r->out, r->ret_why);
}

static enum dgf_rc array_level(struct array_reader *r, unsigned depth)
{
    const char **ret_why = r->ret_why;
    size_t start = r->out->len;
    uint32_t n = 0;

    if (depth > 6) /* MAXDIM of the server */
        return BAD("array with more than 6 dimensions");
    if (r->at == r->end || *r->at != '{')
        return BAD("array text without {");
    r->at++;
    dgf_buf_add_byte(r->out, 0);
    if (r->at < r->end && *r->at == '}') {
        r->at++;
        patch_array(r->out, start, 0);
        return DGF_OK;
    }
    for (;;) {
        enum dgf_rc rc;

        if (r->at == r->end)
            return BAD("array text is cut short");
        rc = *r->at == '{' ? array_level(r, depth + 1) : array_item(r);
        if (rc)
            return rc;
        n++;
        if (r->at == r->end ||
            (*r->at != (uint8_t)r->element->delimiter && *r->at != '}'))
            return BAD("array text without a delimiter");
        if (*r->at++ == '}')
            break;
    }
    patch_array(r->out, start, n);
    return DGF_OK;
}

static enum dgf_rc array_text(const struct dgf_pg_type *type, struct dgf_bytes text,
                              struct dgf_buf *out, const char **ret_why)
{
    struct array_reader r = {text.ptr, text.ptr + text.len, type->element, out, {0},
                             ret_why};
    enum dgf_rc rc;

    if (text.len > 0 && text.ptr[0] == '[') { /* [2:3]={..}: bounds other than 1 */
        const uint8_t *equals = memchr(text.ptr, '=', text.len);

        if (!equals)
            return BAD("array bounds without =");
        r.at = equals + 1;
    }
    dgf_buf_init(&r.unquoted, text.len + 1);
    rc = array_level(&r, 1);
    dgf_buf_release(&r.unquoted);
    if (!rc && r.at != r.end)
        return BAD("bytes after the array");
    return rc;
}

enum dgf_rc dgf_pg_value_text(const struct dgf_pg_type *type, struct dgf_bytes text,
                              struct dgf_buf *out, const char **ret_why)
{
    switch (type->codec) {
    case DGF_PG_CODEC_BOOL:
        if (text.len != 1 || (text.ptr[0] != 't' && text.ptr[0] != 'f'))
            return BAD("not a boolean");
        dgf_mp_put_bool(out, text.ptr[0] == 't');
        return DGF_OK;
    case DGF_PG_CODEC_INT2:
        return int_text(text, INT16_MIN, INT16_MAX, out, ret_why);
    case DGF_PG_CODEC_INT4:
        return int_text(text, INT32_MIN, INT32_MAX, out, ret_why);
    case DGF_PG_CODEC_INT8:
        return int_text(text, INT64_MIN, INT64_MAX, out, ret_why);
    case DGF_PG_CODEC_UINT4:
        return uint_text(text, UINT32_MAX, out, ret_why);
    case DGF_PG_CODEC_UINT8:
        return uint_text(text, UINT64_MAX, out, ret_why);
    case DGF_PG_CODEC_FLOAT4:
    case DGF_PG_CODEC_FLOAT8:
        return float_text(text, out, ret_why);
    case DGF_PG_CODEC_NUMERIC:
        return numeric_text(text, out, ret_why);
    case DGF_PG_CODEC_STR:
        dgf_pg_put_str(out, text);
        return DGF_OK;
    case DGF_PG_CODEC_CHARS:
        put_chars(out, text);
        return DGF_OK;
    case DGF_PG_CODEC_BYTEA:
        return bytea_text(text, out, ret_why);
    case DGF_PG_CODEC_DATE:
        return dgf_pg_date_text(text, out, ret_why);
    case DGF_PG_CODEC_TIME:
        return dgf_pg_time_text(text, out, ret_why);
    case DGF_PG_CODEC_TIMESTAMP:
    case DGF_PG_CODEC_TIMESTAMPTZ:
        return dgf_pg_timestamp_text(type, text, out, ret_why);
    case DGF_PG_CODEC_INTERVAL:
        return dgf_pg_interval_text(text, out, ret_why);
    case DGF_PG_CODEC_UUID:
        return uuid_text(text, out, ret_why);
    case DGF_PG_CODEC_JSON:
    case DGF_PG_CODEC_JSONB:
        dgf_pg_put_json(out, text, type->name);
        return DGF_OK;
    case DGF_PG_CODEC_ARRAY:
        return array_text(type, text, out, ret_why);
    case DGF_PG_CODEC_TIMETZ:
    case DGF_PG_CODEC_INET:
    case DGF_PG_CODEC_MACADDR:
    case DGF_PG_CODEC_BIT:
    case DGF_PG_CODEC_LSN:
    case DGF_PG_CODEC_OPAQUE:
        break;
    }
    put_opaque(out, type->name, text);
    return DGF_OK;
}

/* ---- binary ---- */

static void put_text_of(struct dgf_buf *out, const struct dgf_pg_type *type,
                        const char *text)
{
    dgf_mp_put_opaque(out, dgf_bytes_str(type->name), dgf_bytes_str(text));
}

/* As short as the server's own text: few digits are enough for a denormal. */
static void float4_binary(uint32_t bits, struct dgf_buf *out)
{
    char text[32];
    float value;

    memcpy(&value, &bits, sizeof(value));
    if (isnan(value) || isinf(value)) {
        dgf_mp_put_double(out, value);
        return;
    }
    for (int precision = 1; precision <= 9; precision++) {
        (void)snprintf(text, sizeof(text), "%.*g", precision, (double)value);
        if ((float)dgf_parse_double_back(text) == value)
            break;
    }
    dgf_mp_put_double(out, dgf_parse_double_back(text));
}

#define NUMERIC_NEG 0x4000
#define NUMERIC_NAN 0xc000
#define NUMERIC_PINF 0xd000
#define NUMERIC_NINF 0xf000

/* Base 10000 digits, the first one worth 10000^weight, and a display scale. */
static enum dgf_rc numeric_binary(struct dgf_rd *rd, struct dgf_buf *out,
                                  const char **ret_why)
{
    uint16_t n = dgf_rd_be16(rd);
    int16_t weight = (int16_t)dgf_rd_be16(rd);
    uint16_t sign = dgf_rd_be16(rd), scale = dgf_rd_be16(rd), digits_left;
    struct dgf_rd digits;
    struct dgf_buf text;

    if (rd->bad || dgf_rd_left(rd) != (size_t)n * 2 || scale > 0x3fff)
        return BAD("numeric of wrong size");
    if (sign == NUMERIC_NAN || sign == NUMERIC_PINF || sign == NUMERIC_NINF) {
        dgf_mp_put_decimal(out, sign == NUMERIC_NAN    ? DGF_BYTES("NaN")
                                : sign == NUMERIC_PINF ? DGF_BYTES("Infinity")
                                                       : DGF_BYTES("-Infinity"));
        rd->ptr = rd->end;
        return DGF_OK;
    }
    if (sign != 0 && sign != NUMERIC_NEG)
        return BAD("numeric with an unknown sign");
    digits = dgf_rd_of(dgf_rd_bytes(rd, (size_t)n * 2));
    dgf_buf_init(&text, 200000); /* 131072 digits before the point, 16383 after */
    if (sign == NUMERIC_NEG)
        dgf_buf_add_byte(&text, '-');
    digits_left = n;
    if (weight < 0)
        dgf_buf_add_byte(&text, '0');
    for (int w = weight; w >= 0; w--) {
        unsigned digit = digits_left ? (digits_left--, dgf_rd_be16(&digits)) : 0;

        if (digit > 9999)
            goto bad;
        if (w == weight)
            dgf_buf_add_u64(&text, digit);
        else
            dgf_buf_addf(&text, "%04u", digit);
    }
    if (scale > 0) {
        size_t end;

        dgf_buf_add_byte(&text, '.');
        end = text.len + scale;
        for (int w = -1; text.len < end && !text.rc; w--) {
            unsigned digit =
                w <= weight && digits_left ? (digits_left--, dgf_rd_be16(&digits)) : 0;

            if (digit > 9999)
                goto bad;
            dgf_buf_addf(&text, "%04u", digit);
        }
        if (!text.rc)
            text.len = end;
    }
    if (text.rc)
        out->rc = DGF_NOMEM;
    else
        dgf_mp_put_decimal(out, dgf_buf_bytes(&text));
    dgf_buf_release(&text);
    return DGF_OK;
bad:
    dgf_buf_release(&text);
    return BAD("numeric with a digit above 9999");
}

static enum dgf_rc inet_binary(const struct dgf_pg_type *type, struct dgf_rd *rd,
                               struct dgf_buf *out, const char **ret_why)
{
    uint8_t family = dgf_rd_u8(rd), bits = dgf_rd_u8(rd), is_cidr = dgf_rd_u8(rd);
    uint8_t n = dgf_rd_u8(rd);
    struct dgf_bytes address = dgf_rd_bytes(rd, n);
    char text[INET6_ADDRSTRLEN + 8];
    unsigned full = n == 4 ? 32 : 128;
    size_t len;

    if (rd->bad || (family != 2 && family != 3) || n != (family == 2 ? 4 : 16) ||
        bits > full)
        return BAD("malformed address");
    if (!inet_ntop(n == 4 ? AF_INET : AF_INET6, address.ptr, text, sizeof(text)))
        return BAD("malformed address");
    len = strlen(text);
    if (is_cidr || bits != full)
        (void)snprintf(text + len, sizeof(text) - len, "/%u", bits);
    put_text_of(out, type, text);
    return DGF_OK;
}

static enum dgf_rc mac_binary(const struct dgf_pg_type *type, struct dgf_bytes bytes,
                              struct dgf_buf *out, const char **ret_why)
{
    char text[32] = "";

    if (bytes.len != 6 && bytes.len != 8)
        return BAD("malformed address");
    for (size_t i = 0; i < bytes.len; i++)
        (void)snprintf(text + 3 * i, sizeof(text) - 3 * i,
                       i ? "%02x:" : "%02x:", bytes.ptr[i]);
    text[3 * bytes.len - 1] = '\0';
    put_text_of(out, type, text);
    return DGF_OK;
}

static enum dgf_rc bit_binary(const struct dgf_pg_type *type, struct dgf_rd *rd,
                              struct dgf_buf *out, const char **ret_why)
{
    uint32_t n = dgf_rd_be32(rd);
    size_t left = dgf_rd_left(rd);
    struct dgf_buf text;
    uint8_t *to;

    if (rd->bad || n > INT32_MAX || left != ((size_t)n + 7) / 8)
        return BAD("bit string of wrong size");
    dgf_buf_init(&text, (size_t)n + 1);
    to = dgf_buf_room(&text, (size_t)n + 1);
    if (!to) {
        out->rc = DGF_NOMEM;
    } else {
        for (uint32_t i = 0; i < n; i++)
            to[i] = rd->ptr[i / 8] >> (7 - i % 8) & 1 ? '1' : '0';
        dgf_mp_put_opaque(out, dgf_bytes_str(type->name), dgf_bytes_of(to, n));
    }
    rd->ptr = rd->end;
    dgf_buf_release(&text);
    return DGF_OK;
}

static enum dgf_rc array_dimension(const struct dgf_pg_type *type, struct dgf_rd *rd,
                                   const uint32_t *dims, uint32_t n_dims,
                                   struct dgf_buf *out, const char **ret_why)
{
    /* Each item has at least its 4 bytes of length. */
    if (dims[0] > dgf_rd_left(rd) / 4)
        return BAD("array is cut short");
    dgf_mp_put_array(out, dims[0]);
    for (uint32_t i = 0; i < dims[0]; i++) {
        enum dgf_rc rc = DGF_OK;

        if (n_dims > 1) {
            rc = array_dimension(type, rd, dims + 1, n_dims - 1, out, ret_why);
        } else {
            uint32_t len = dgf_rd_be32(rd);

            if (len == UINT32_MAX) {
                dgf_mp_put_nil(out);
            } else {
                struct dgf_bytes item = dgf_rd_bytes(rd, len);

                if (!rd->bad)
                    rc = dgf_pg_value_binary(type->element, item, out, ret_why);
            }
        }
        if (rc)
            return rc;
        if (rd->bad)
            return BAD("array is cut short");
    }
    return DGF_OK;
}

static enum dgf_rc array_binary(const struct dgf_pg_type *type, struct dgf_rd *rd,
                                struct dgf_buf *out, const char **ret_why)
{
    uint32_t n_dims = dgf_rd_be32(rd), dims[6];

    (void)dgf_rd_be32(rd); /* whether there are nulls */
    (void)dgf_rd_be32(rd); /* element type: the catalogue said it */
    if (rd->bad || n_dims > DGF_ARRAY_LEN(dims))
        return BAD("malformed array header");
    for (uint32_t i = 0; i < n_dims; i++) {
        dims[i] = dgf_rd_be32(rd);
        (void)dgf_rd_be32(rd); /* lower bound */
        if (dims[i] == 0)
            return BAD("malformed array header");
    }
    if (rd->bad)
        return BAD("malformed array header");
    if (n_dims == 0) {
        dgf_mp_put_array(out, 0);
        return DGF_OK;
    }
    return array_dimension(type, rd, dims, n_dims, out, ret_why);
}

/* Types of a fixed size: rd holds the whole value. */
static enum dgf_rc fixed_binary(const struct dgf_pg_type *type, struct dgf_rd *rd,
                                struct dgf_buf *out, const char **ret_why)
{
    uint64_t u64;
    double dbl;
    char text[32];

    switch (type->codec) {
    case DGF_PG_CODEC_BOOL:
        dgf_mp_put_bool(out, dgf_rd_u8(rd) != 0);
        break;
    case DGF_PG_CODEC_INT2:
        dgf_mp_put_int(out, (int16_t)dgf_rd_be16(rd));
        break;
    case DGF_PG_CODEC_INT4:
        dgf_mp_put_int(out, (int32_t)dgf_rd_be32(rd));
        break;
    case DGF_PG_CODEC_INT8:
        dgf_mp_put_int(out, (int64_t)dgf_rd_be64(rd));
        break;
    case DGF_PG_CODEC_UINT4:
        dgf_mp_put_uint(out, dgf_rd_be32(rd));
        break;
    case DGF_PG_CODEC_UINT8:
        dgf_mp_put_uint(out, dgf_rd_be64(rd));
        break;
    case DGF_PG_CODEC_FLOAT4:
        float4_binary(dgf_rd_be32(rd), out);
        break;
    case DGF_PG_CODEC_FLOAT8:
        u64 = dgf_rd_be64(rd);
        memcpy(&dbl, &u64, sizeof(dbl));
        dgf_mp_put_double(out, isnan(dbl) ? (double)NAN : dbl);
        break;
    case DGF_PG_CODEC_DATE:
        dgf_pg_date_binary((int32_t)dgf_rd_be32(rd), out);
        break;
    case DGF_PG_CODEC_TIME:
        return dgf_pg_time_binary((int64_t)dgf_rd_be64(rd), out, ret_why);
    case DGF_PG_CODEC_TIMETZ:
        u64 = dgf_rd_be64(rd);
        return dgf_pg_timetz_binary((int64_t)u64, (int32_t)dgf_rd_be32(rd), out,
                                    ret_why);
    case DGF_PG_CODEC_TIMESTAMP:
    case DGF_PG_CODEC_TIMESTAMPTZ:
        dgf_pg_timestamp_binary(type, (int64_t)dgf_rd_be64(rd), out);
        break;
    case DGF_PG_CODEC_INTERVAL: {
        int64_t us = (int64_t)dgf_rd_be64(rd);
        int32_t days = (int32_t)dgf_rd_be32(rd), months = (int32_t)dgf_rd_be32(rd);

        dgf_pg_interval_binary(months, days, us, out);
        break;
    }
    case DGF_PG_CODEC_UUID: {
        struct dgf_bytes uuid = dgf_rd_bytes(rd, 16);

        if (!rd->bad)
            dgf_mp_put_uuid(out, uuid.ptr);
        break;
    }
    case DGF_PG_CODEC_LSN:
        u64 = dgf_rd_be64(rd);
        (void)snprintf(text, sizeof(text), "%X/%X", (uint32_t)(u64 >> 32),
                       (uint32_t)u64);
        put_text_of(out, type, text);
        break;
    default:
        return BAD("no binary form");
    }
    return DGF_OK;
}

enum dgf_rc dgf_pg_value_binary(const struct dgf_pg_type *type, struct dgf_bytes bytes,
                                struct dgf_buf *out, const char **ret_why)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    enum dgf_rc rc;

    switch (type->codec) {
    case DGF_PG_CODEC_STR:
        dgf_pg_put_str(out, bytes);
        return DGF_OK;
    case DGF_PG_CODEC_CHARS:
        put_chars(out, bytes);
        return DGF_OK;
    case DGF_PG_CODEC_BYTEA:
        dgf_mp_put_bin(out, bytes);
        return DGF_OK;
    case DGF_PG_CODEC_JSON:
        dgf_pg_put_json(out, bytes, type->name);
        return DGF_OK;
    case DGF_PG_CODEC_JSONB:
        if (dgf_rd_u8(&rd) != 1)
            return BAD("jsonb of an unknown version");
        dgf_pg_put_json(out, dgf_bytes_of(rd.ptr, dgf_rd_left(&rd)), type->name);
        return DGF_OK;
    case DGF_PG_CODEC_MACADDR:
        return mac_binary(type, bytes, out, ret_why);
    case DGF_PG_CODEC_OPAQUE:
        return put_opaque_bytes(out, type->name, bytes);
    case DGF_PG_CODEC_NUMERIC:
        rc = numeric_binary(&rd, out, ret_why);
        break;
    case DGF_PG_CODEC_INET:
        rc = inet_binary(type, &rd, out, ret_why);
        break;
    case DGF_PG_CODEC_BIT:
        rc = bit_binary(type, &rd, out, ret_why);
        break;
    case DGF_PG_CODEC_ARRAY:
        rc = array_binary(type, &rd, out, ret_why);
        break;
    default:
        rc = fixed_binary(type, &rd, out, ret_why);
    }
    if (rc)
        return rc;
    if (rd.bad || dgf_rd_left(&rd) > 0)
        return BAD("value of wrong size");
    return DGF_OK;
}
