#include "json_value.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/mp.h"
#include "base/parse.h"

#define BLANK(c) ((c) == ' ' || (c) == '\t' || (c) == '\n' || (c) == '\r')
#define DIGIT(c) ((c) >= '0' && (c) <= '9')

/* ---- looking at a whole text ---- */

struct reader {
    const uint8_t *at, *end;
    const char *why;
    bool cut;
};

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static bool ended(struct reader *r)
{
    r->cut = true;
    return fail(r, "it ends too early");
}

static void skip_blanks(struct reader *r)
{
    while (r->at < r->end && BLANK(*r->at))
        r->at++;
}

static bool check_escape(struct reader *r)
{
    uint8_t unit[2];

    if (r->at == r->end)
        return ended(r);
    if (strchr("\"\\/bfnrt", *r->at) && *r->at) {
        r->at++;
        return true;
    }
    if (*r->at++ != 'u')
        return fail(r, "an unknown escape");
    if (r->end - r->at < 4)
        return ended(r);
    if (!dgf_parse_hex(dgf_bytes_of(r->at, 4), unit, 2))
        return fail(r, "an unknown escape");
    r->at += 4;
    return true;
}

static bool check_string(struct reader *r)
{
    for (r->at++; r->at < r->end;) {
        uint8_t c = *r->at++;

        if (c == '"')
            return true;
        if (c < ' ')
            return fail(r, "a control character in a text");
        if (c == '\\' && !check_escape(r))
            return false;
    }
    return ended(r);
}

static bool check_digits(struct reader *r)
{
    const uint8_t *from = r->at;

    while (r->at < r->end && DIGIT(*r->at))
        r->at++;
    if (r->at > from)
        return true;
    return r->at == r->end ? ended(r) : fail(r, "a number without digits");
}

static bool check_number(struct reader *r)
{
    if (*r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0')
        r->at++;
    else if (!check_digits(r))
        return false;
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!check_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at == 'e' || *r->at == 'E')) {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        return check_digits(r);
    }
    return true;
}

static bool check_word(struct reader *r, const char *word)
{
    for (; *word; word++, r->at++) {
        if (r->at == r->end)
            return ended(r);
        if (*r->at != (uint8_t)*word)
            return fail(r, "an unknown word");
    }
    return true;
}

static bool check_value(struct reader *r, unsigned depth);

/* After '{' or '['. */
static bool check_members(struct reader *r, unsigned depth, bool object)
{
    uint8_t last = object ? '}' : ']';
    bool first = true;

    for (;;) {
        skip_blanks(r);
        if (r->at == r->end)
            return ended(r);
        if (*r->at == last && first) {
            r->at++;
            return true;
        }
        first = false;
        if (object) {
            if (*r->at != '"')
                return fail(r, "a member without a name");
            if (!check_string(r))
                return false;
            skip_blanks(r);
            if (r->at == r->end)
                return ended(r);
            if (*r->at++ != ':')
                return fail(r, "a member without a colon");
        }
        if (!check_value(r, depth + 1))
            return false;
        skip_blanks(r);
        if (r->at == r->end)
            return ended(r);
        if (*r->at == last) {
            r->at++;
            return true;
        }
        if (*r->at++ != ',')
            return fail(r, "a comma is missing");
    }
}

static bool check_value(struct reader *r, unsigned depth)
{
    if (depth > DGF_JV_DEPTH_MAX)
        return fail(r, "nested too deeply");
    skip_blanks(r);
    if (r->at == r->end)
        return ended(r);
    switch (*r->at) {
    case '{':
    case '[':
        return check_members(r, depth, *r->at++ == '{');
    case '"':
        return check_string(r);
    case 't':
        return check_word(r, "true");
    case 'f':
        return check_word(r, "false");
    case 'n':
        return check_word(r, "null");
    default:
        if (*r->at == '-' || DIGIT(*r->at))
            return check_number(r);
        return fail(r, "something that is no value");
    }
}

const char *dgf_jv_check(struct dgf_bytes text, bool *ret_cut)
{
    struct reader r = {text.ptr, text.len ? text.ptr + text.len : text.ptr, NULL,
                       false};

    if (check_value(&r, 0)) {
        skip_blanks(&r);
        if (r.at < r.end)
            (void)fail(&r, "something follows it");
    }
    if (ret_cut)
        *ret_cut = r.cut;
    return r.why;
}

/* ---- walking ---- */

static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? at + 1 : end;
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
    size_t depth = 0;

    do {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else if (depth) {
            at++;
        } else {
            while (at < end && !BLANK(*at) && !strchr(",]}", *at))
                at++;
        }
    } while (depth && at < end);
    return at;
}

struct dgf_bytes dgf_jv_root(struct dgf_bytes text)
{
    while (text.len && BLANK(text.ptr[0]))
        text.ptr++, text.len--;
    while (text.len && BLANK(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

struct dgf_jv_walk dgf_jv_walk(struct dgf_bytes value)
{
    if (!dgf_jv_is(value, '{') && !dgf_jv_is(value, '['))
        return (struct dgf_jv_walk){NULL, NULL};
    return (struct dgf_jv_walk){value.ptr + 1, value.ptr + value.len};
}

static void to_token(struct dgf_jv_walk *walk)
{
    while (walk->at < walk->end && (BLANK(*walk->at) || strchr(",:", *walk->at)))
        walk->at++;
}

bool dgf_jv_next(struct dgf_jv_walk *walk, struct dgf_bytes *ret_key,
                 struct dgf_bytes *ret_value)
{
    struct dgf_bytes part;

    to_token(walk);
    if (walk->at >= walk->end || *walk->at == '}' || *walk->at == ']')
        return false;
    part.ptr = walk->at;
    walk->at = skip_value(walk->at, walk->end);
    part.len = (size_t)(walk->at - part.ptr);
    *ret_key = (struct dgf_bytes){NULL, 0};
    while (walk->at < walk->end && BLANK(*walk->at))
        walk->at++;
    if (walk->at < walk->end && *walk->at == ':') {
        *ret_key = part;
        to_token(walk);
        part.ptr = walk->at;
        walk->at = skip_value(walk->at, walk->end);
        part.len = (size_t)(walk->at - part.ptr);
    }
    *ret_value = part;
    return true;
}

bool dgf_jv_find(struct dgf_bytes object, const char *name, struct dgf_bytes *ret)
{
    struct dgf_jv_walk walk = dgf_jv_walk(object);
    struct dgf_bytes key, value;
    size_t len = strlen(name);

    if (!dgf_jv_is(object, '{'))
        return false;
    while (dgf_jv_next(&walk, &key, &value))
        if (key.len == len + 2 && memcmp(key.ptr + 1, name, len) == 0) {
            *ret = value;
            return true;
        }
    return false;
}

static void add_character(struct dgf_buf *out, uint32_t c)
{
    if (c < 0x80) {
        dgf_buf_add_byte(out, (uint8_t)c);
    } else if (c < 0x800) {
        dgf_buf_add_byte(out, (uint8_t)(0xc0 | c >> 6));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        dgf_buf_add_byte(out, (uint8_t)(0xe0 | c >> 12));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        dgf_buf_add_byte(out, (uint8_t)(0xf0 | c >> 18));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        dgf_buf_add_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

static uint32_t unit_at(const uint8_t *at)
{
    uint8_t unit[2] = {0, 0};

    (void)dgf_parse_hex(dgf_bytes_of(at, 4), unit, 2);
    return (uint32_t)unit[0] << 8 | unit[1];
}

/* After the backslash; false: half of a pair of surrogates. */
static bool add_escape(const uint8_t **at, const uint8_t *end, struct dgf_buf *out)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    uint8_t c = *(*at)++;
    const char *known = strchr(from, c);
    uint32_t unit, low;

    if (c != 'u') {
        dgf_buf_add_byte(out, known ? (uint8_t)to[known - from] : c);
        return true;
    }
    unit = unit_at(*at);
    *at += 4;
    if (unit >= 0xdc00 && unit < 0xe000)
        return false;
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
            return false;
        low = unit_at(*at + 2);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        *at += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
    }
    add_character(out, unit);
    return true;
}

bool dgf_jv_text(struct dgf_bytes value, struct dgf_buf *out)
{
    const uint8_t *at, *end, *from;

    if (value.len < 2 || value.ptr[0] != '"' || !dgf_utf8_valid(value))
        return false;
    at = value.ptr + 1;
    end = value.ptr + value.len - 1;
    while (at < end) {
        from = at;
        while (at < end && *at != '\\')
            at++;
        dgf_buf_add(out, from, (size_t)(at - from));
        if (at < end) {
            at++;
            if (!add_escape(&at, end, out))
                return false;
        }
    }
    return true;
}

bool dgf_jv_copy(struct dgf_bytes value, char *to, size_t size)
{
    struct dgf_buf text;
    bool good;

    dgf_buf_init(&text, size);
    good = dgf_jv_text(value, &text) && !dgf_buf_rc(&text) && text.len < size &&
           (!text.len || !memchr(text.ptr, 0, text.len));
    if (good && text.len)
        memcpy(to, text.ptr, text.len);
    if (good)
        to[text.len] = 0;
    dgf_buf_release(&text);
    return good;
}

bool dgf_jv_i64(struct dgf_bytes value, int64_t *ret)
{
    return dgf_parse_i64(value, ret);
}

/* ---- packing ---- */

struct packer {
    struct dgf_buf *out;
    struct dgf_buf names; /* struct name of the objects that are open */
    unsigned max_depth;
};

struct name {
    size_t at, len; /* in out */
};

/* Digits without zeros at either end, and the power of ten of the last one. */
struct number {
    char digits[DGF_JV_DIGITS_MAX + 1];
    size_t n;
    int64_t exponent;
};

static bool take_number(struct dgf_bytes text, struct number *ret)
{
    bool point = false;
    int64_t e = 0;
    size_t i = text.len && text.ptr[0] == '-';

    ret->n = 0;
    ret->exponent = 0;
    for (; i < text.len && text.ptr[i] != 'e' && text.ptr[i] != 'E'; i++) {
        if (text.ptr[i] == '.') {
            point = true;
            continue;
        }
        ret->exponent -= point;
        if (text.ptr[i] == '0' && !ret->n)
            continue;
        if (ret->n == DGF_JV_DIGITS_MAX)
            return false;
        ret->digits[ret->n++] = (char)text.ptr[i];
    }
    if (i < text.len) {
        i++;
        i += i < text.len && text.ptr[i] == '+';
        if (!dgf_parse_i64(dgf_bytes_of(text.ptr + i, text.len - i), &e) ||
            e > 1000000000 || e < -1000000000)
            return false;
        ret->exponent += e;
    }
    while (ret->n && ret->digits[ret->n - 1] == '0') {
        ret->n--;
        ret->exponent++;
    }
    if (!ret->n)
        ret->exponent = 0;
    return true;
}

/* A double that prints as the same number lost nothing. */
static bool double_holds(const struct number *number, double value)
{
    struct number back;
    struct dgf_buf text;
    bool good;

    if (number->n <= 15 && number->exponent > -290 && number->exponent < 290)
        return true;
    dgf_buf_init(&text, 64);
    dgf_json_format_double(&text, value);
    good = !dgf_buf_rc(&text) && take_number(dgf_buf_bytes(&text), &back) &&
           back.n == number->n && back.exponent == number->exponent &&
           memcmp(back.digits, number->digits, back.n) == 0;
    dgf_buf_release(&text);
    return good;
}

static const char *pack_number(struct dgf_bytes text, struct dgf_buf *out)
{
    bool whole = !memchr(text.ptr, '.', text.len) && !memchr(text.ptr, 'e', text.len) &&
                 !memchr(text.ptr, 'E', text.len);
    struct number number;
    uint64_t u64;
    int64_t i64;
    double value;

    if (whole && dgf_parse_i64(text, &i64)) {
        dgf_mp_put_int(out, i64);
        return NULL;
    }
    if (whole && dgf_parse_u64(text, &u64)) {
        dgf_mp_put_uint(out, u64);
        return NULL;
    }
    if (text.len > DGF_JV_DIGITS_MAX || !take_number(text, &number))
        return "a number that is too long";
    if (!whole && dgf_parse_double(text, &value) && double_holds(&number, value))
        dgf_mp_put_double(out, value);
    else
        dgf_mp_put_decimal(out, text);
    return NULL;
}

/* A header of one byte was left at `at`; it is made as long as n needs. */
static void set_header(struct dgf_buf *out, size_t at, size_t n, bool object)
{
    uint8_t header[5] = {object ? 0xdf : 0xdd, (uint8_t)(n >> 24), (uint8_t)(n >> 16),
                         (uint8_t)(n >> 8), (uint8_t)n};
    size_t len = n < 16 ? 1 : n < 65536 ? 3 : 5;

    if (dgf_buf_rc(out))
        return;
    if (len == 1)
        header[0] = (uint8_t)((object ? 0x80 : 0x90) | n);
    if (len == 3) {
        header[0] = object ? 0xde : 0xdc;
        header[1] = header[3];
        header[2] = header[4];
    }
    if (len > 1 && !dgf_buf_room(out, len - 1))
        return;
    memmove(out->ptr + at + len, out->ptr + at + 1, out->len - at - 1);
    memcpy(out->ptr + at, header, len);
    out->len += len - 1;
}

static int by_bytes(const void *a, const void *b, void *ctx)
{
    const struct name *one = a, *two = b;
    const struct dgf_buf *out = ctx;

    if (one->len != two->len)
        return one->len < two->len ? -1 : 1;
    return memcmp(out->ptr + one->at, out->ptr + two->at, one->len);
}

/* The names from `begin` on are those of one object. */
static bool any_twice(struct packer *p, size_t begin)
{
    size_t n = (p->names.len - begin) / sizeof(struct name);
    struct name *names;

    if (n < 2 || dgf_buf_rc(&p->names) || dgf_buf_rc(p->out))
        return false;
    names = (struct name *)(void *)(p->names.ptr + begin);
    qsort_r(names, n, sizeof(*names), by_bytes, p->out);
    for (size_t i = 1; i < n; i++)
        if (by_bytes(&names[i - 1], &names[i], p->out) == 0)
            return true;
    return false;
}

static const char *pack_text(struct dgf_bytes value, struct dgf_buf *out)
{
    struct dgf_buf text;
    bool good;

    if (!memchr(value.ptr, '\\', value.len)) {
        if (!dgf_utf8_valid(value))
            return "a text that is no Unicode";
        dgf_mp_put_str(out, dgf_bytes_of(value.ptr + 1, value.len - 2));
        return NULL;
    }
    dgf_buf_init(&text, value.len);
    good = dgf_jv_text(value, &text);
    if (dgf_buf_rc(&text))
        out->rc = DGF_NOMEM;
    else if (good)
        dgf_mp_put_str(out, dgf_buf_bytes(&text));
    dgf_buf_release(&text);
    return good || dgf_buf_rc(out) ? NULL : "a text that is no Unicode";
}

static const char *pack(struct packer *p, struct dgf_bytes value, unsigned depth);

static const char *pack_members(struct packer *p, struct dgf_bytes value,
                                unsigned depth)
{
    struct dgf_jv_walk walk = dgf_jv_walk(value);
    size_t at = p->out->len, begin = p->names.len, n = 0;
    struct dgf_bytes key, member;
    const char *why;

    if (depth >= p->max_depth)
        return "nested too deeply";
    dgf_buf_add_byte(p->out, 0);
    while (dgf_jv_next(&walk, &key, &member)) {
        struct name name = {.at = p->out->len};

        n++;
        if (key.len) {
            why = pack_text(key, p->out);
            if (why)
                return why;
            name.len = p->out->len - name.at;
            dgf_buf_add(&p->names, &name, sizeof(name));
        }
        why = pack(p, member, depth + 1);
        if (why || dgf_buf_rc(p->out) || dgf_buf_rc(&p->names))
            return why;
    }
    if (any_twice(p, begin))
        return "a field stands twice";
    p->names.len = begin;
    set_header(p->out, at, n, dgf_jv_is(value, '{'));
    return NULL;
}

static const char *pack(struct packer *p, struct dgf_bytes value, unsigned depth)
{
    switch (value.len ? value.ptr[0] : 'n') {
    case '{':
    case '[':
        return pack_members(p, value, depth);
    case '"':
        return pack_text(value, p->out);
    case 't':
    case 'f':
        dgf_mp_put_bool(p->out, value.ptr[0] == 't');
        return NULL;
    case 'n':
        dgf_mp_put_nil(p->out);
        return NULL;
    default:
        return pack_number(value, p->out);
    }
}

const char *dgf_jv_pack(struct dgf_bytes value, unsigned max_depth, struct dgf_buf *out)
{
    struct packer p = {.out = out, .max_depth = max_depth};
    const char *why;

    dgf_buf_init(&p.names, 64u << 20);
    why = pack(&p, value, 0);
    if (dgf_buf_rc(&p.names))
        out->rc = DGF_NOMEM;
    dgf_buf_release(&p.names);
    return why;
}
