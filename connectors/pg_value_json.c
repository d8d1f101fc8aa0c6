#include "base/mp.h"
#include "base/parse.h"
#include "pg_value.h"

#define MAX_LEVELS 64
#define MAX_DECIMAL 1000 /* digits of a number written out */

/* One pass over the text, packing as it goes.  Everything that has no plain
 * msgpack form makes the reader give up, and the whole text is kept instead. */
struct reader {
    const uint8_t *at, *end;
    struct dgf_buf *out;
    struct dgf_buf scratch; /* texts with escapes, numbers written out */
    bool unique;            /* jsonb: the server already dropped repeated names */
};

static bool value(struct reader *r, unsigned level);

static void skip_space(struct reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

static bool skip(struct reader *r, uint8_t c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

static bool word(struct reader *r, const char *text, size_t len)
{
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, text, len) != 0)
        return false;
    r->at += len;
    return true;
}

/* ---- texts ---- */

static bool hex4(struct reader *r, uint32_t *ret)
{
    uint32_t n = 0;

    if (r->end - r->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        uint8_t c = *r->at++;

        if (c >= '0' && c <= '9')
            n = n << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            n = n << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    *ret = n;
    return true;
}

static void put_utf8(struct dgf_buf *buf, uint32_t c)
{
    if (c < 0x80) {
        dgf_buf_add_byte(buf, (uint8_t)c);
        return;
    }
    if (c < 0x800) {
        dgf_buf_add_byte(buf, (uint8_t)(0xc0 | c >> 6));
    } else {
        if (c < 0x10000) {
            dgf_buf_add_byte(buf, (uint8_t)(0xe0 | c >> 12));
        } else {
            dgf_buf_add_byte(buf, (uint8_t)(0xf0 | c >> 18));
            dgf_buf_add_byte(buf, (uint8_t)(0x80 | (c >> 12 & 63)));
        }
        dgf_buf_add_byte(buf, (uint8_t)(0x80 | (c >> 6 & 63)));
    }
    dgf_buf_add_byte(buf, (uint8_t)(0x80 | (c & 63)));
}

static bool escape(struct reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t c, low;

    if (r->at == r->end)
        return false;
    if (*r->at != 'u') {
        found = *r->at ? strchr(from, *r->at) : NULL;
        if (!found)
            return false;
        r->at++;
        dgf_buf_add_byte(&r->scratch, (uint8_t)to[found - from]);
        return true;
    }
    r->at++;
    if (!hex4(r, &c))
        return false;
    if (c >= 0xdc00 && c <= 0xdfff)
        return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (!word(r, "\\u", 2) || !hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(&r->scratch, c);
    return true;
}

/* A view of the text's content, valid until the next one. */
static bool text_content(struct reader *r, struct dgf_bytes *ret)
{
    const uint8_t *start;

    if (!skip(r, '"'))
        return false;
    start = r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && *r->at >= 0x20)
        r->at++;
    if (r->at < r->end && *r->at == '"') {
        *ret = dgf_bytes_of(start, (size_t)(r->at++ - start));
        return dgf_utf8_valid(*ret);
    }
    dgf_buf_clear(&r->scratch);
    dgf_buf_add(&r->scratch, start, (size_t)(r->at - start));
    while (r->at < r->end && *r->at != '"') {
        if (*r->at < 0x20)
            return false;
        if (*r->at != '\\')
            dgf_buf_add_byte(&r->scratch, *r->at++);
        else if (r->at++, !escape(r))
            return false;
    }
    *ret = r->scratch.len ? dgf_buf_bytes(&r->scratch) : DGF_BYTES("");
    return skip(r, '"') && !r->scratch.rc && dgf_utf8_valid(*ret);
}

/* ---- numbers ---- */

struct number {
    bool minus, plain; /* plain: neither point nor exponent */
    struct dgf_bytes whole, fraction;
    int64_t exponent;
    unsigned significant; /* digits from the first that is not 0 */
};

static struct dgf_bytes digit_run(struct reader *r)
{
    const uint8_t *start = r->at;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return dgf_bytes_of(start, (size_t)(r->at - start));
}

static bool read_number(struct reader *r, struct number *n)
{
    bool minus;

    *n = (struct number){.plain = true};
    n->minus = skip(r, '-');
    n->whole = digit_run(r);
    if (n->whole.len == 0 || (n->whole.len > 1 && n->whole.ptr[0] == '0'))
        return false;
    if (skip(r, '.')) {
        n->plain = false;
        n->fraction = digit_run(r);
        if (n->fraction.len == 0)
            return false;
    }
    if (skip(r, 'e') || skip(r, 'E')) {
        struct dgf_bytes digits;

        n->plain = false;
        minus = skip(r, '-');
        if (!minus)
            (void)skip(r, '+');
        digits = digit_run(r);
        if (digits.len == 0 || digits.len > 6)
            return false;
        for (size_t i = 0; i < digits.len; i++)
            n->exponent = n->exponent * 10 + (digits.ptr[i] - '0');
        if (minus)
            n->exponent = -n->exponent;
    }
    for (size_t i = 0; i < n->whole.len + n->fraction.len; i++) {
        uint8_t c =
            i < n->whole.len ? n->whole.ptr[i] : n->fraction.ptr[i - n->whole.len];

        if (n->significant > 0 || c != '0')
            n->significant++;
    }
    return true;
}

/* The digit at place 10^at of a number, '0' outside. */
static uint8_t digit_at(const struct number *n, int64_t at)
{
    int64_t i =
        (int64_t)n->whole.len - 1 - (at - n->exponent); /* index in whole.fraction */

    if (i < 0 || i >= (int64_t)(n->whole.len + n->fraction.len))
        return '0';
    return i < (int64_t)n->whole.len ? n->whole.ptr[i]
                                     : n->fraction.ptr[i - (int64_t)n->whole.len];
}

static bool put_decimal(struct reader *r, const struct number *n)
{
    int64_t high = (int64_t)n->whole.len - 1 + n->exponent;
    int64_t low = n->exponent - (int64_t)n->fraction.len;

    if (high < 0)
        high = 0;
    if (low > 0)
        low = 0;
    if (high > MAX_DECIMAL && n->exponent)
        return false;
    if (low < -MAX_DECIMAL && n->exponent)
        return false;
    while (high > 0 && digit_at(n, high) == '0')
        high--;
    dgf_buf_clear(&r->scratch);
    if (n->minus)
        dgf_buf_add_byte(&r->scratch, '-');
    for (int64_t at = high; at >= low; at--) {
        if (at == -1)
            dgf_buf_add_byte(&r->scratch, '.');
        dgf_buf_add_byte(&r->scratch, digit_at(n, at));
    }
    if (r->scratch.rc)
        return false;
    dgf_mp_put_decimal(r->out, dgf_buf_bytes(&r->scratch));
    return true;
}

static bool number(struct reader *r)
{
    const uint8_t *start = r->at;
    struct dgf_bytes text;
    struct number n;
    int64_t i64;
    uint64_t u64;
    double dbl;

    if (!read_number(r, &n))
        return false;
    text = dgf_bytes_of(start, (size_t)(r->at - start));
    if (n.plain && n.significant == 0) {
        dgf_mp_put_int(r->out, 0);
    } else if (n.plain && dgf_parse_i64(text, &i64)) {
        dgf_mp_put_int(r->out, i64);
    } else if (n.plain && dgf_parse_u64(text, &u64)) {
        dgf_mp_put_uint(r->out, u64);
    } else if (!n.plain && n.significant <= 15 && n.exponent < 250 &&
               n.exponent > -250 && text.len < 40 && dgf_parse_double(text, &dbl)) {
        /* 15 digits survive the way into a double and back. */
        dgf_mp_put_double(r->out, dbl);
    } else {
        return put_decimal(r, &n);
    }
    return true;
}

/* ---- containers ---- */

/* Puts the header for n items or pairs where one byte was left for it. */
static bool patch(struct dgf_buf *out, size_t start, uint32_t n, bool map)
{
    size_t more = n <= 15 ? 0 : n <= UINT16_MAX ? 2 : 4;

    if (out->rc)
        return true;
    if (more) {
        if (!dgf_buf_room(out, more))
            return true;
        memmove(out->ptr + start + 1 + more, out->ptr + start + 1,
                out->len - start - 1);
        out->len += more;
    }
    if (n <= 15) {
        out->ptr[start] = (uint8_t)((map ? 0x80 : 0x90) | n);
    } else {
        out->ptr[start] = (uint8_t)((map ? 0xde : 0xdc) + (more == 4));
        for (size_t i = 0; i < more; i++)
            out->ptr[start + 1 + i] = (uint8_t)(n >> 8 * (more - 1 - i));
    }
    return true;
}

static bool list(struct reader *r, unsigned level)
{
    size_t start = r->out->len;
    uint32_t n = 0;

    dgf_buf_add_byte(r->out, 0);
    skip_space(r);
    if (skip(r, ']'))
        return patch(r->out, start, 0, false);
    for (;; n++) {
        if (!value(r, level + 1))
            return false;
        skip_space(r);
        if (skip(r, ']'))
            return patch(r->out, start, n + 1, false);
        if (!skip(r, ','))
            return false;
    }
}

/* Was this name, packed last, there before?  Small maps are searched; a json
 * map of more than 200 names is kept as text. */
static bool repeated(struct reader *r, size_t start, size_t name_at, uint32_t n)
{
    struct dgf_mp mp =
        dgf_mp_of(dgf_bytes_of(r->out->ptr + start + 1, name_at - start - 1));
    struct dgf_bytes name = dgf_bytes_of(r->out->ptr + name_at, r->out->len - name_at);

    for (uint32_t i = 0; i < n; i++) {
        struct dgf_bytes other, skipped;

        if (dgf_mp_value(&mp, &other) || dgf_mp_value(&mp, &skipped))
            return true;
        if (dgf_bytes_eq(other, name))
            return true;
    }
    return false;
}

static bool map(struct reader *r, unsigned level)
{
    size_t start = r->out->len;
    uint32_t n = 0;

    dgf_buf_add_byte(r->out, 0);
    skip_space(r);
    if (skip(r, '}'))
        return patch(r->out, start, 0, true);
    for (;; n++) {
        struct dgf_bytes name;
        size_t name_at = r->out->len;

        skip_space(r);
        if (!text_content(r, &name))
            return false;
        dgf_mp_put_str(r->out, name);
        if (!r->unique && (n > 200 || (!r->out->rc && repeated(r, start, name_at, n))))
            return false;
        skip_space(r);
        if (!skip(r, ':') || !value(r, level + 1))
            return false;
        skip_space(r);
        if (skip(r, '}'))
            return patch(r->out, start, n + 1, true);
        if (!skip(r, ','))
            return false;
    }
}

static bool value(struct reader *r, unsigned level)
{
    struct dgf_bytes text;

    if (level > MAX_LEVELS || r->out->rc)
        return false;
    skip_space(r);
    if (r->at == r->end)
        return false;
    switch (*r->at) {
    case '{':
        r->at++;
        return map(r, level);
    case '[':
        r->at++;
        return list(r, level);
    case '"':
        if (!text_content(r, &text))
            return false;
        dgf_mp_put_str(r->out, text);
        return true;
    case 't':
        dgf_mp_put_bool(r->out, true);
        return word(r, "true", 4);
    case 'f':
        dgf_mp_put_bool(r->out, false);
        return word(r, "false", 5);
    case 'n':
        dgf_mp_put_nil(r->out);
        return word(r, "null", 4);
    default:
        return number(r);
    }
}

void dgf_pg_put_json(struct dgf_buf *out, struct dgf_bytes text, const char *type)
{
    struct reader r = {
        text.ptr, text.ptr + text.len, out, {0}, strcmp(type, "jsonb") == 0};
    size_t start = out->len;
    bool good;

    dgf_buf_init(&r.scratch, text.len + MAX_DECIMAL + 16);
    good = value(&r, 1);
    skip_space(&r);
    dgf_buf_release(&r.scratch);
    if (out->rc || (good && r.at == r.end))
        return;
    out->len = start;
    if (dgf_utf8_valid(text))
        dgf_mp_put_opaque(out, dgf_bytes_str(type), text);
    else
        dgf_mp_put_bin(out, text);
}
