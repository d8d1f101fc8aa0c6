#include "bson_value.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/parse.h"

/* Few fields are compared one by one; more of them through a map. */
#define FEW_FIELDS 16
#define MAX_REPEATED 64 /* names; each costs a walk over the document */
/* 0001-01-01 and 10000-01-01: what a timestamp's text form can say. */
#define FIRST_MS INT64_C(-62135596800000)
#define END_MS INT64_C(253402300800000)

enum dgf_rc dgf_bson_of(struct dgf_bytes document, struct dgf_bson *ret)
{
    struct dgf_rd rd = dgf_rd_of(document);
    uint32_t len = dgf_rd_le32(&rd);

    if (rd.bad || len < 5 || len != document.len || document.ptr[len - 1] != 0)
        return DGF_BAD_DATA;
    ret->rd = rd;
    return DGF_OK;
}

/* Length of a value whose first four bytes say how long the rest is. */
static size_t prefixed(struct dgf_rd rd, size_t more)
{
    uint32_t len = dgf_rd_le32(&rd);

    return rd.bad || len > INT32_MAX ? SIZE_MAX : (size_t)len + more;
}

static size_t cstr_len(struct dgf_rd *rd)
{
    struct dgf_bytes text = dgf_rd_cstr(rd);

    return rd->bad ? SIZE_MAX / 4 : text.len + 1;
}

/* SIZE_MAX or more than is there: bad. */
static size_t value_len(uint8_t type, struct dgf_rd rd)
{
    switch (type) {
    case DGF_BSON_NULL:
    case DGF_BSON_UNDEFINED:
    case DGF_BSON_MIN_KEY:
    case DGF_BSON_MAX_KEY:
        return 0;
    case DGF_BSON_BOOL:
        return 1;
    case DGF_BSON_INT32:
        return 4;
    case DGF_BSON_DOUBLE:
    case DGF_BSON_DATE:
    case DGF_BSON_TIMESTAMP:
    case DGF_BSON_INT64:
        return 8;
    case DGF_BSON_OBJECT_ID:
        return 12;
    case DGF_BSON_DECIMAL128:
        return 16;
    case DGF_BSON_STRING:
    case DGF_BSON_CODE:
    case DGF_BSON_SYMBOL:
        return prefixed(rd, 4);
    case DGF_BSON_BINARY:
        return prefixed(rd, 5);
    case DGF_BSON_DB_POINTER:
        return prefixed(rd, 16);
    case DGF_BSON_DOCUMENT:
    case DGF_BSON_ARRAY:
    case DGF_BSON_CODE_WITH_SCOPE:
        return prefixed(rd, 0);
    case DGF_BSON_REGEX: {
        size_t pattern = cstr_len(&rd);

        return pattern + cstr_len(&rd);
    }
    default:
        return SIZE_MAX;
    }
}

static bool well_formed(const struct dgf_bson_element *element)
{
    struct dgf_bytes v = element->value;
    struct dgf_bytes text;
    struct dgf_bson inner;

    switch (element->type) {
    case DGF_BSON_STRING:
    case DGF_BSON_CODE:
    case DGF_BSON_SYMBOL:
        return dgf_bson_text(element, &text);
    case DGF_BSON_DB_POINTER:
        return v.len > 16 && v.ptr[v.len - 13] == 0;
    case DGF_BSON_DOCUMENT:
    case DGF_BSON_ARRAY:
        return dgf_bson_of(v, &inner) == DGF_OK;
    case DGF_BSON_CODE_WITH_SCOPE:
        return v.len >= 14;
    case DGF_BSON_BOOL:
        return v.ptr[0] <= 1;
    default:
        return true;
    }
}

enum dgf_rc dgf_bson_next(struct dgf_bson *bson, struct dgf_bson_element *ret)
{
    struct dgf_rd *rd = &bson->rd;
    struct dgf_bson_element element;
    size_t len;

    element.type = dgf_rd_u8(rd);
    if (rd->bad)
        return DGF_BAD_DATA;
    if (element.type == DGF_BSON_END)
        return dgf_rd_left(rd) ? DGF_BAD_DATA : DGF_AGAIN;
    element.name = dgf_rd_cstr(rd);
    len = value_len(element.type, *rd);
    if (rd->bad || len >= dgf_rd_left(rd)) /* the document's own end follows */
        return DGF_BAD_DATA;
    element.value = dgf_rd_bytes(rd, len);
    if (!well_formed(&element))
        return DGF_BAD_DATA;
    *ret = element;
    return DGF_OK;
}

bool dgf_bson_find(struct dgf_bytes document, const char *name,
                   struct dgf_bson_element *ret)
{
    struct dgf_bytes wanted = dgf_bytes_str(name);
    struct dgf_bson_element element;
    struct dgf_bson bson;

    if (dgf_bson_of(document, &bson))
        return false;
    while (dgf_bson_next(&bson, &element) == DGF_OK)
        if (dgf_bytes_eq(element.name, wanted)) {
            *ret = element;
            return true;
        }
    return false;
}

bool dgf_bson_text(const struct dgf_bson_element *element, struct dgf_bytes *ret)
{
    struct dgf_bytes v = element->value;

    if (element->type != DGF_BSON_STRING && element->type != DGF_BSON_CODE &&
        element->type != DGF_BSON_SYMBOL)
        return false;
    if (v.len < 5 || v.ptr[v.len - 1] != 0)
        return false;
    *ret = dgf_bytes_of(v.ptr + 4, v.len - 5);
    return true;
}

static uint64_t le64(const uint8_t *at)
{
    uint64_t n;

    memcpy(&n, at, sizeof(n));
    return le64toh(n);
}

static uint32_t le32(const uint8_t *at)
{
    uint32_t n;

    memcpy(&n, at, sizeof(n));
    return le32toh(n);
}

static double double_of(const uint8_t *at)
{
    uint64_t bits = le64(at);
    double value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

bool dgf_bson_i64(const struct dgf_bson_element *element, int64_t *ret)
{
    const uint8_t *at = element->value.ptr;

    switch (element->type) {
    case DGF_BSON_INT32:
        *ret = (int32_t)le32(at);
        return true;
    case DGF_BSON_INT64:
        *ret = (int64_t)le64(at);
        return true;
    case DGF_BSON_BOOL:
        *ret = at[0];
        return true;
    case DGF_BSON_DOUBLE: {
        double value = double_of(at);

        if (!(value >= -9e15 && value <= 9e15) || value != (double)(int64_t)value)
            return false;
        *ret = (int64_t)value;
        return true;
    }
    default:
        return false;
    }
}

bool dgf_bson_is_container(const struct dgf_bson_element *element)
{
    return element->type == DGF_BSON_DOCUMENT || element->type == DGF_BSON_ARRAY;
}

/* ---- opaque values ---- */

static void put_opaque(const char *type, struct dgf_bytes text, struct dgf_buf *out)
{
    dgf_mp_put_opaque(out, dgf_bytes_str(type), text);
}

void dgf_bson_put_bytes(const char *type, struct dgf_bytes bytes, struct dgf_buf *out)
{
    struct dgf_bytes name = dgf_bytes_str(type);
    struct dgf_buf payload;

    dgf_buf_init(&payload, bytes.len + name.len + 16);
    dgf_mp_put_str(&payload, name);
    dgf_mp_put_bin(&payload, bytes);
    if (dgf_buf_rc(&payload))
        out->rc = DGF_NOMEM;
    else
        dgf_mp_put_ext(out, DGF_EXT_OPAQUE, dgf_buf_bytes(&payload));
    dgf_buf_release(&payload);
}

void dgf_bson_put_repeats(struct dgf_bytes repeats, struct dgf_buf *out)
{
    dgf_bson_put_bytes("repeated", repeats, out);
}

void dgf_bson_put_text(struct dgf_bytes text, struct dgf_buf *out)
{
    if (dgf_utf8_valid(text))
        dgf_mp_put_str(out, text);
    else
        dgf_bson_put_bytes("string", text, out);
}

static void put_hex(const char *type, struct dgf_bytes bytes, struct dgf_buf *out)
{
    struct dgf_buf text;

    dgf_buf_init(&text, 2 * bytes.len + 1);
    dgf_buf_add_hex(&text, bytes);
    put_opaque(type, dgf_buf_bytes(&text), out);
    dgf_buf_release(&text);
}

static void put_binary(struct dgf_bytes v, struct dgf_buf *out)
{
    struct dgf_bytes bytes = dgf_bytes_of(v.ptr + 5, v.len - 5);
    uint8_t subtype = v.ptr[4];
    char type[16];

    if (subtype == 0) {
        dgf_mp_put_bin(out, bytes);
    } else if (subtype == 4 && bytes.len == 16) {
        dgf_mp_put_uuid(out, bytes.ptr);
    } else {
        (void)snprintf(type, sizeof(type), "binary/%u", subtype);
        dgf_bson_put_bytes(type, bytes, out);
    }
}

static void put_date(int64_t ms, struct dgf_buf *out)
{
    int64_t seconds = ms / 1000 - (ms % 1000 < 0);
    char text[32];
    int len;

    if (ms >= FIRST_MS && ms < END_MS) {
        dgf_mp_put_timestamp(out, seconds, (uint32_t)(ms - seconds * 1000) * 1000000);
        return;
    }
    len = snprintf(text, sizeof(text), "%" PRId64, ms);
    put_opaque("date", dgf_bytes_of(text, (size_t)len), out);
}

static void put_timestamp(uint64_t value, struct dgf_buf *out)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%" PRIu32 ".%" PRIu32,
                       (uint32_t)(value >> 32), (uint32_t)value);

    put_opaque("timestamp", dgf_bytes_of(text, (size_t)len), out);
}

static void put_regex(struct dgf_bytes v, struct dgf_buf *out)
{
    struct dgf_rd rd = dgf_rd_of(v);
    struct dgf_bytes pattern = dgf_rd_cstr(&rd), flags = dgf_rd_cstr(&rd);
    struct dgf_buf text;

    dgf_buf_init(&text, v.len + 8);
    dgf_buf_add_byte(&text, '/');
    dgf_buf_add_bytes(&text, pattern);
    dgf_buf_add_byte(&text, '/');
    dgf_buf_add_bytes(&text, flags);
    if (dgf_buf_rc(&text))
        out->rc = DGF_NOMEM;
    else
        put_opaque("regex", dgf_buf_bytes(&text), out);
    dgf_buf_release(&text);
}

static void put_text_of(const char *type, const struct dgf_bson_element *element,
                        struct dgf_buf *out)
{
    struct dgf_bytes text = {0};

    if (dgf_bson_text(element, &text))
        put_opaque(type, text, out);
}

/* ---- Decimal128 ---- */

/* Divides a 128-bit number by a billion. */
static uint32_t divide(uint32_t number[4])
{
    uint64_t rest = 0;

    for (int i = 0; i < 4; i++) {
        rest = rest << 32 | number[i];
        number[i] = (uint32_t)(rest / 1000000000);
        rest %= 1000000000;
    }
    return (uint32_t)rest;
}

/* Digits of the coefficient without leading zeros, "0" for none. */
static size_t digits_of(uint64_t high, uint64_t low, char ret[40])
{
    uint32_t number[4] = {(uint32_t)(high >> 32), (uint32_t)high, (uint32_t)(low >> 32),
                          (uint32_t)low};
    char all[37];
    size_t zeros = 0;

    for (int part = 3; part >= 0; part--) {
        uint32_t rest = divide(number);

        for (int i = 8; i >= 0; i--, rest /= 10)
            all[part * 9 + i] = (char)('0' + rest % 10);
    }
    while (zeros < 35 && all[zeros] == '0')
        zeros++;
    memcpy(ret, all + zeros, 36 - zeros);
    return 36 - zeros;
}

/* As the specification of BSON Decimal128 writes them. */
void dgf_bson_decimal_text(const uint8_t bytes[16], struct dgf_buf *out)
{
    uint64_t low = le64(bytes), high = le64(bytes + 8);
    unsigned combination = (unsigned)(high >> 58) & 31;
    int exponent = (int)(high >> 49 & 0x3fff) - 6176, adjusted;
    char digits[40];
    size_t n;

    if (combination == 31) {
        dgf_buf_add_str(out, "NaN");
        return;
    }
    if (high >> 63)
        dgf_buf_add_byte(out, '-');
    if (combination == 30) {
        dgf_buf_add_str(out, "Infinity");
        return;
    }
    high &= UINT64_C(0x1ffffffffffff);
    if (combination >> 3 == 3) { /* a coefficient beyond 34 digits reads as zero */
        exponent = (int)(le64(bytes + 8) >> 47 & 0x3fff) - 6176;
        high = low = 0;
    }
    /* 10^34 - 1 is the largest coefficient. */
    if (high > UINT64_C(0x1ed09bead87c0) ||
        (high == UINT64_C(0x1ed09bead87c0) && low > UINT64_C(0x378d8e63ffffffff)))
        high = low = 0;
    n = digits_of(high, low, digits);
    adjusted = exponent + (int)n - 1;
    if (exponent > 0 || adjusted < -6) {
        dgf_buf_add_byte(out, (uint8_t)digits[0]);
        if (n > 1) {
            dgf_buf_add_byte(out, '.');
            dgf_buf_add(out, digits + 1, n - 1);
        }
        dgf_buf_addf(out, "E%+d", adjusted);
        return;
    }
    if (exponent == 0) {
        dgf_buf_add(out, digits, n);
        return;
    }
    if ((int)n + exponent <= 0) {
        dgf_buf_add_str(out, "0.");
        for (int i = (int)n + exponent; i < 0; i++)
            dgf_buf_add_byte(out, '0');
        dgf_buf_add(out, digits, n);
        return;
    }
    dgf_buf_add(out, digits, n - (size_t)-exponent);
    dgf_buf_add_byte(out, '.');
    dgf_buf_add(out, digits + n - (size_t)-exponent, (size_t)-exponent);
}

/* Plain digits where they are few, so that rules can compute with them. */
static void put_decimal(const uint8_t bytes[16], struct dgf_buf *out)
{
    struct dgf_buf text, plain;
    const char *e, *from;
    int64_t exponent = 0;

    dgf_buf_init(&text, 64);
    dgf_bson_decimal_text(bytes, &text);
    from = dgf_buf_str(&text);
    e = strchr(from, 'E');
    if (!e) {
        dgf_mp_put_decimal(out, dgf_buf_bytes(&text));
        dgf_buf_release(&text);
        return;
    }
    if (!dgf_parse_i64(dgf_bytes_str(e[1] == '+' ? e + 2 : e + 1), &exponent) ||
        exponent > 60 || exponent < -60) {
        put_opaque("decimal", dgf_buf_bytes(&text), out);
        dgf_buf_release(&text);
        return;
    }
    dgf_buf_init(&plain, 256);
    if (*from == '-') {
        dgf_buf_add_byte(&plain, '-');
        from++;
    }
    if (exponent < 0) { /* d.ddd x 10^-n */
        dgf_buf_add_str(&plain, "0.");
        for (int64_t i = exponent + 1; i < 0; i++)
            dgf_buf_add_byte(&plain, '0');
    }
    for (const char *at = from; at < e; at++)
        if (*at != '.')
            dgf_buf_add_byte(&plain, (uint8_t)*at);
    if (exponent > 0)
        for (int64_t i = e - from - (e - from > 1) - 1; i < exponent && *from != '0';
             i++)
            dgf_buf_add_byte(&plain, '0');
    dgf_mp_put_decimal(out, dgf_buf_bytes(&plain));
    dgf_buf_release(&plain);
    dgf_buf_release(&text);
}

/* ---- documents ---- */

static enum dgf_rc count_fields(struct dgf_bytes document, size_t *ret)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    enum dgf_rc rc = dgf_bson_of(document, &bson);
    size_t n = 0;

    if (rc)
        return rc;
    while ((rc = dgf_bson_next(&bson, &element)) == DGF_OK)
        n++;
    *ret = n;
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

/* Does the name stand between two places of the document?  Few fields only. */
static bool stands_in(struct dgf_bytes document, struct dgf_bytes name,
                      const uint8_t *from, const uint8_t *until)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;

    if (dgf_bson_of(document, &bson))
        return false;
    while (dgf_bson_next(&bson, &element) == DGF_OK) {
        if (element.name.ptr >= until)
            return false;
        if (element.name.ptr > from && dgf_bytes_eq(element.name, name))
            return true;
    }
    return false;
}

static enum dgf_rc gather(struct dgf_bytes document, struct dgf_bytes name,
                          struct dgf_buf *out)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    enum dgf_rc rc = dgf_bson_of(document, &bson);

    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK)
        if (dgf_bytes_eq(element.name, name)) {
            dgf_buf_add_byte(out, element.type);
            dgf_buf_add_bytes(out, element.name);
            dgf_buf_add_byte(out, 0);
            dgf_buf_add_bytes(out, element.value);
        }
    return rc == DGF_AGAIN ? dgf_buf_rc(out) : rc;
}

/* Names that repeat, for a document with many fields: name -> times seen. */
static enum dgf_rc count_names(struct dgf_bytes document, struct dgf_map *ret)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    enum dgf_rc rc = dgf_bson_of(document, &bson);

    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK) {
        uintptr_t seen = (uintptr_t)dgf_map_get(ret, element.name);

        rc = dgf_map_put(ret, element.name, (void *)(seen + 1), NULL);
    }
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

struct fields {
    struct dgf_bytes document;
    struct dgf_map names; /* many fields only */
    bool many;
};

/* 0: one of a kind; 1: the first of several; 2: another of those. */
static int rank(struct fields *fields, struct dgf_bytes name)
{
    const uint8_t *first = fields->document.ptr, *end = first + fields->document.len;
    uintptr_t seen;

    if (!fields->many) {
        if (stands_in(fields->document, name, first, name.ptr))
            return 2;
        return stands_in(fields->document, name, name.ptr, end) ? 1 : 0;
    }
    seen = (uintptr_t)dgf_map_get(&fields->names, name);
    if (seen == 1)
        return 0;
    if (seen == UINTPTR_MAX)
        return 2;
    /* cannot fail: the name is there */
    if (dgf_map_put(&fields->names, name, (void *)UINTPTR_MAX, NULL))
        return 0;
    return 1;
}

enum dgf_rc dgf_bson_each(struct dgf_bytes document,
                          enum dgf_rc (*field)(void *ctx, struct dgf_bytes name,
                                               const struct dgf_bson_element *element,
                                               struct dgf_bytes repeats),
                          void *ctx)
{
    struct fields fields = {.document = document};
    struct dgf_bson_element element;
    struct dgf_bson bson;
    size_t n = 0, n_repeated = 0;
    enum dgf_rc rc = count_fields(document, &n);

    if (rc)
        return rc;
    dgf_map_init(&fields.names);
    fields.many = n > FEW_FIELDS;
    if (fields.many)
        rc = count_names(document, &fields.names);
    if (!rc)
        rc = dgf_bson_of(document, &bson);
    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK) {
        int which = rank(&fields, element.name);
        struct dgf_buf repeats;

        if (which == 2)
            continue;
        if (which == 1 && ++n_repeated > MAX_REPEATED) {
            rc = DGF_FATAL;
            continue;
        }
        if (which == 0) {
            rc = field(ctx, element.name, &element, (struct dgf_bytes){0});
            continue;
        }
        dgf_buf_init(&repeats, document.len);
        rc = gather(document, element.name, &repeats);
        if (!rc)
            rc = field(ctx, element.name, NULL, dgf_buf_bytes(&repeats));
        dgf_buf_release(&repeats);
    }
    dgf_map_release(&fields.names, NULL);
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

struct put {
    struct dgf_buf *out;
    unsigned depth;
    uint32_t n;
};

static enum dgf_rc put_field(void *ctx, struct dgf_bytes name,
                             const struct dgf_bson_element *element,
                             struct dgf_bytes repeats)
{
    struct put *put = ctx;

    put->n++;
    /* A name that is no UTF-8 makes the document one that is kept as bytes. */
    if (!dgf_utf8_valid(name))
        return DGF_FATAL;
    dgf_mp_put_str(put->out, name);
    if (element)
        return dgf_bson_put(element, put->depth, put->out);
    dgf_bson_put_repeats(repeats, put->out);
    return DGF_OK;
}

/* The count of distinct names is known at the end; its place is five bytes. */
static enum dgf_rc put_document(struct dgf_bytes document, unsigned depth,
                                struct dgf_buf *out)
{
    static const uint8_t map32[5] = {0xdf};
    struct put put = {.out = out, .depth = depth + 1};
    size_t at = out->len;
    enum dgf_rc rc;

    dgf_buf_add(out, map32, sizeof(map32));
    rc = dgf_bson_each(document, put_field, &put);
    if (rc == DGF_FATAL && dgf_buf_rc(out) == DGF_OK) {
        out->len = at;
        dgf_bson_put_bytes("document", document, out);
        return DGF_OK;
    }
    if (rc || dgf_buf_rc(out))
        return rc;
    for (int i = 0; i < 4; i++)
        out->ptr[at + 1 + (size_t)i] = (uint8_t)(put.n >> 8 * (3 - i));
    return DGF_OK;
}

static enum dgf_rc put_array(struct dgf_bytes document, unsigned depth,
                             struct dgf_buf *out)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    size_t n = 0;
    enum dgf_rc rc = count_fields(document, &n);

    if (rc)
        return rc;
    dgf_mp_put_array(out, (uint32_t)n);
    rc = dgf_bson_of(document, &bson);
    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK)
        rc = dgf_bson_put(&element, depth + 1, out);
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

enum dgf_rc dgf_bson_put(const struct dgf_bson_element *element, unsigned depth,
                         struct dgf_buf *out)
{
    struct dgf_bytes v = element->value, text = {0};

    switch (element->type) {
    case DGF_BSON_DOUBLE:
        dgf_mp_put_double(out, double_of(v.ptr));
        return DGF_OK;
    case DGF_BSON_STRING:
        if (!dgf_bson_text(element, &text))
            return DGF_BAD_DATA;
        dgf_bson_put_text(text, out);
        return DGF_OK;
    case DGF_BSON_DOCUMENT:
    case DGF_BSON_ARRAY:
        if (depth >= DGF_BSON_MAX_DEPTH) {
            dgf_bson_put_bytes(element->type == DGF_BSON_ARRAY ? "array" : "document",
                               v, out);
            return DGF_OK;
        }
        return element->type == DGF_BSON_ARRAY ? put_array(v, depth, out)
                                               : put_document(v, depth, out);
    case DGF_BSON_BINARY:
        put_binary(v, out);
        return DGF_OK;
    case DGF_BSON_UNDEFINED:
        put_opaque("undefined", DGF_BYTES(""), out);
        return DGF_OK;
    case DGF_BSON_OBJECT_ID:
        put_hex("objectId", v, out);
        return DGF_OK;
    case DGF_BSON_BOOL:
        dgf_mp_put_bool(out, v.ptr[0] != 0);
        return DGF_OK;
    case DGF_BSON_DATE:
        put_date((int64_t)le64(v.ptr), out);
        return DGF_OK;
    case DGF_BSON_NULL:
        dgf_mp_put_nil(out);
        return DGF_OK;
    case DGF_BSON_REGEX:
        put_regex(v, out);
        return DGF_OK;
    case DGF_BSON_DB_POINTER:
        dgf_bson_put_bytes("dbPointer", v, out);
        return DGF_OK;
    case DGF_BSON_CODE:
        put_text_of("javascript", element, out);
        return DGF_OK;
    case DGF_BSON_SYMBOL:
        put_text_of("symbol", element, out);
        return DGF_OK;
    case DGF_BSON_CODE_WITH_SCOPE:
        dgf_bson_put_bytes("javascriptWithScope", v, out);
        return DGF_OK;
    case DGF_BSON_INT32:
        dgf_mp_put_int(out, (int32_t)le32(v.ptr));
        return DGF_OK;
    case DGF_BSON_INT64:
        dgf_mp_put_int(out, (int64_t)le64(v.ptr));
        return DGF_OK;
    case DGF_BSON_TIMESTAMP:
        put_timestamp(le64(v.ptr), out);
        return DGF_OK;
    case DGF_BSON_DECIMAL128:
        put_decimal(v.ptr, out);
        return DGF_OK;
    case DGF_BSON_MIN_KEY:
        put_opaque("minKey", DGF_BYTES(""), out);
        return DGF_OK;
    case DGF_BSON_MAX_KEY:
        put_opaque("maxKey", DGF_BYTES(""), out);
        return DGF_OK;
    default:
        return DGF_BAD_DATA;
    }
}
