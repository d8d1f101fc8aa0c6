#include "base/parse.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

bool dgf_parse_u64(struct dgf_bytes text, uint64_t *ret)
{
    uint64_t value = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.ptr[i] - '0', &value))
            return false;
    }
    *ret = value;
    return true;
}

bool dgf_parse_i64(struct dgf_bytes text, int64_t *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t value;

    if (negative)
        text = dgf_bytes_of(text.ptr + 1, text.len - 1);
    if (!dgf_parse_u64(text, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

static int hex_digit(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool dgf_parse_hex_u64(struct dgf_bytes text, uint64_t *ret)
{
    uint64_t value = 0;

    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);

        if (digit < 0 || value >> 60)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *ret = value;
    return true;
}

static size_t count_digits(struct dgf_bytes text, size_t at)
{
    size_t n = 0;

    while (at + n < text.len && is_digit(text.ptr[at + n]))
        n++;
    return n;
}

/* -?digits[.digits][e[+-]digits], as JSON but with leading zeros. */
static bool is_number(struct dgf_bytes text)
{
    size_t at = text.len > 0 && text.ptr[0] == '-', n = count_digits(text, at);

    if (n == 0)
        return false;
    at += n;
    if (at < text.len && text.ptr[at] == '.') {
        n = count_digits(text, at + 1);
        if (n == 0)
            return false;
        at += 1 + n;
    }
    if (at < text.len && (text.ptr[at] | 32) == 'e') {
        at++;
        at += at < text.len && (text.ptr[at] == '+' || text.ptr[at] == '-');
        n = count_digits(text, at);
        if (n == 0)
            return false;
        at += n;
    }
    return at == text.len;
}

bool dgf_parse_double_any(const char *text, double *ret)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end)
        return false;
    *ret = value;
    return true;
}

double dgf_parse_double_back(const char *text)
{
    return strtod(text, NULL);
}

bool dgf_parse_double(struct dgf_bytes text, double *ret)
{
    char copy[1100]; /* no double needs more than 1,077 characters */
    double value;

    if (text.len >= sizeof(copy) || !is_number(text))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    value = strtod(copy, NULL);
    if (!isfinite(value))
        return false;
    *ret = value;
    return true;
}

bool dgf_parse_bool(struct dgf_bytes text, bool *ret)
{
    bool yes = dgf_bytes_eq(text, DGF_BYTES("true"));

    if (!yes && !dgf_bytes_eq(text, DGF_BYTES("false")))
        return false;
    *ret = yes;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, as the formatters need them. */
static const struct unit time_units[] = {
    {"d", 86400000000000}, {"h", 3600000000000}, {"m", 60000000000}, {"s", 1000000000},
    {"ms", 1000000},       {"us", 1000},         {"ns", 1}};
static const struct unit size_units[] = {{"TiB", 1ull << 40},   {"GiB", 1ull << 30},
                                         {"MiB", 1ull << 20},   {"KiB", 1ull << 10},
                                         {"TB", 1000000000000}, {"GB", 1000000000},
                                         {"MB", 1000000},       {"kB", 1000}};

static uint64_t unit_factor(const struct unit *units, size_t n, struct dgf_bytes name)
{
    for (size_t i = 0; i < n; i++)
        if (dgf_bytes_eq(dgf_bytes_str(units[i].name), name))
            return units[i].factor;
    return 0;
}

/* 0.<digits> of factor; false when that is not a whole number. */
static bool fraction_of(struct dgf_bytes digits, uint64_t factor, uint64_t *ret)
{
    unsigned __int128 product;
    uint64_t value = 0, scale = 1;

    while (digits.len > 0 && digits.ptr[digits.len - 1] == '0')
        digits.len--;
    if (digits.len > 18)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        value = value * 10 + (uint64_t)(digits.ptr[i] - '0');
        scale *= 10;
    }
    product = (unsigned __int128)value * factor;
    *ret = (uint64_t)(product / scale);
    return product % scale == 0;
}

bool dgf_parse_duration(struct dgf_bytes text, int64_t *ret_ns)
{
    size_t n = count_digits(text, 0), at = n, n_fraction = 0;
    uint64_t factor, value, part = 0;

    if (n < text.len && text.ptr[n] == '.') {
        n_fraction = count_digits(text, n + 1);
        if (n_fraction == 0)
            return false;
        at += 1 + n_fraction;
    }
    if (!dgf_parse_u64(dgf_bytes_of(text.ptr, n), &value) || at >= text.len)
        return false;
    factor = unit_factor(time_units, DGF_ARRAY_LEN(time_units),
                         dgf_bytes_of(text.ptr + at, text.len - at));
    if (factor == 0 ||
        (n_fraction > 0 &&
         !fraction_of(dgf_bytes_of(text.ptr + n + 1, n_fraction), factor, &part)) ||
        __builtin_mul_overflow(value, factor, &value) ||
        __builtin_add_overflow(value, part, &value) || value > INT64_MAX)
        return false;
    *ret_ns = (int64_t)value;
    return true;
}

bool dgf_parse_size(struct dgf_bytes text, uint64_t *ret_bytes)
{
    size_t n = count_digits(text, 0);
    uint64_t factor = 1, value;

    if (!dgf_parse_u64(dgf_bytes_of(text.ptr, n), &value))
        return false;
    if (n < text.len)
        factor = unit_factor(size_units, DGF_ARRAY_LEN(size_units),
                             dgf_bytes_of(text.ptr + n, text.len - n));
    if (factor == 0 || __builtin_mul_overflow(value, factor, &value))
        return false;
    *ret_bytes = value;
    return true;
}

void dgf_format_duration(struct dgf_buf *buf, int64_t ns)
{
    uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    size_t i = 0;

    if (ns < 0)
        dgf_buf_add_byte(buf, '-');
    while (left % time_units[i].factor != 0)
        i++;
    if (left == 0)
        i = 3; /* 0s */
    dgf_buf_add_u64(buf, left / time_units[i].factor);
    dgf_buf_add_str(buf, time_units[i].name);
}

void dgf_format_size(struct dgf_buf *buf, uint64_t bytes)
{
    for (size_t i = 0; i < 4 && bytes > 0; i++)
        if (bytes % size_units[i].factor == 0) {
            dgf_buf_add_u64(buf, bytes / size_units[i].factor);
            dgf_buf_add_str(buf, size_units[i].name);
            return;
        }
    dgf_buf_add_u64(buf, bytes);
}

bool dgf_parse_hex(struct dgf_bytes text, uint8_t *ret, size_t n)
{
    if (text.len / 2 != n || text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (hex_digit(text.ptr[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        ret[i] =
            (uint8_t)(hex_digit(text.ptr[2 * i]) << 4 | hex_digit(text.ptr[2 * i + 1]));
    return true;
}

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool dgf_parse_base64(struct dgf_bytes text, struct dgf_buf *ret)
{
    size_t n = text.len, before = ret->len;
    uint32_t bits = 0;

    if (text.len % 4 != 0)
        return false;
    while (n > 0 && text.len - n < 2 && text.ptr[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(text.ptr[i]);

        if (digit < 0)
            goto bad;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 == 3) {
            uint8_t three[3] = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 8),
                                (uint8_t)bits};

            dgf_buf_add(ret, three, 3);
        }
    }
    /* The bits that do not fill a byte are zero: one text for each content. */
    if (n % 4 == 2) {
        if (bits & 15)
            goto bad;
        dgf_buf_add_byte(ret, (uint8_t)(bits >> 4));
    } else if (n % 4 == 3) {
        if (bits & 3)
            goto bad;
        dgf_buf_add_byte(ret, (uint8_t)(bits >> 10));
        dgf_buf_add_byte(ret, (uint8_t)(bits >> 2));
    }
    return dgf_buf_rc(ret) == DGF_OK;
bad:
    ret->len = before;
    return false;
}
