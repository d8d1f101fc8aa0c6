/* json_double.c - the shortest text of a double, written as ECMAScript does
 * (and with it RFC 8785): digits up to 1e21, an exponent outside. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* value = 0.d1d2d3... * 10^point */
struct decimal {
    char digits[24];
    int n, point;
};

static bool reads_back(const char *text, double value)
{
    return strtod(text, NULL) == value;
}

/* The printed mantissa d.ddde+xx as digits without trailing zeros. */
static void take_digits(const char *text, struct decimal *ret)
{
    const char *e = strchr(text, 'e');

    ret->n = 0;
    for (const char *p = text; p < e; p++)
        if (*p != '.')
            ret->digits[ret->n++] = *p;
    while (ret->n > 1 && ret->digits[ret->n - 1] == '0')
        ret->n--;
    ret->point = (int)strtol(e + 1, NULL, 10) + 1;
}

/* Just below a power of two doubles are twice as dense, so the decimal nearest
 * to it may miss while the next one up reads back. */
static bool next_up(char *text, double value)
{
    char *p = strchr(text, 'e') - 1;

    for (; p >= text && (*p == '9' || *p == '.'); p--)
        if (*p == '9')
            *p = '0';
    if (p < text)
        return false;
    (*p)++;
    return reads_back(text, value);
}

static void shortest(double value, struct decimal *ret)
{
    char text[40];
    /* 15 digits always come back from a normal double, fewer may from others */
    int precision = value < 2.2250738585072014e-308 ? 1 : 15;

    for (; precision < 17; precision++) {
        (void)snprintf(text, sizeof(text), "%.*e", precision - 1, value);
        if (reads_back(text, value) || next_up(text, value)) {
            take_digits(text, ret);
            return;
        }
    }
    (void)snprintf(text, sizeof(text), "%.16e", value);
    take_digits(text, ret);
}

/* Amounts like 12.34: m / 10^k with m exact needs no search.  Below 2^53 both
 * are exact and the division rounds once, so equality proves the digits. */
static bool few_decimals(double value, struct decimal *ret)
{
    static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9};
    char text[24];

    if (value < 1e-3 || value >= 1e15)
        return false;
    for (int k = 0; k < (int)DGF_ARRAY_LEN(powers); k++) {
        double scaled = value * powers[k];
        int64_t m;

        if (scaled >= 1e15)
            return false;
        m = (int64_t)(scaled + 0.5);
        if ((double)m / powers[k] != value)
            continue;
        ret->n = snprintf(text, sizeof(text), "%lld", (long long)m);
        memcpy(ret->digits, text, (size_t)ret->n);
        ret->point = ret->n - k;
        while (ret->n > 1 && ret->digits[ret->n - 1] == '0')
            ret->n--;
        return true;
    }
    return false;
}

static void add_zeros(struct dgf_buf *buf, int n)
{
    for (; n > 0; n--)
        dgf_buf_add_byte(buf, '0');
}

static void write_decimal(struct dgf_buf *buf, const struct decimal *d)
{
    if (d->point > 21 || d->point <= -6) {
        dgf_buf_add(buf, d->digits, 1);
        if (d->n > 1) {
            dgf_buf_add_byte(buf, '.');
            dgf_buf_add(buf, d->digits + 1, (size_t)d->n - 1);
        }
        dgf_buf_addf(buf, "e%c%d", d->point > 0 ? '+' : '-', abs(d->point - 1));
    } else if (d->point <= 0) {
        dgf_buf_add(buf, "0.", 2);
        add_zeros(buf, -d->point);
        dgf_buf_add(buf, d->digits, (size_t)d->n);
    } else if (d->point >= d->n) {
        dgf_buf_add(buf, d->digits, (size_t)d->n);
        add_zeros(buf, d->point - d->n);
    } else {
        dgf_buf_add(buf, d->digits, (size_t)d->point);
        dgf_buf_add_byte(buf, '.');
        dgf_buf_add(buf, d->digits + d->point, (size_t)(d->n - d->point));
    }
}

void dgf_json_format_double(struct dgf_buf *buf, double value)
{
    struct decimal d;

    if (signbit(value)) {
        dgf_buf_add_byte(buf, '-');
        value = -value;
    }
    if (value < 9007199254740992.0 && value == (double)(int64_t)value) {
        dgf_buf_add_u64(buf, (uint64_t)value);
        return;
    }
    if (!few_decimals(value, &d))
        shortest(value, &d);
    write_decimal(buf, &d);
}
