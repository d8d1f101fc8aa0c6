#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cel/ops.h"
#include "cel/zone.h"

bool dgf_cel_time_valid(const struct dgf_cel_value *value)
{
    return value->i64 >= DGF_CEL_MIN_TIME && value->i64 <= DGF_CEL_MAX_TIME;
}

bool dgf_cel_duration_valid(const struct dgf_cel_value *value)
{
    return value->i64 >= -DGF_CEL_MAX_DURATION &&
           (value->i64 < DGF_CEL_MAX_DURATION ||
            (value->i64 == DGF_CEL_MAX_DURATION && value->len == 0));
}

static bool number(const uint8_t **at, const uint8_t *end, unsigned n, unsigned *ret)
{
    unsigned value = 0;

    if ((size_t)(end - *at) < n)
        return false;
    for (unsigned i = 0; i < n; i++, ++*at) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *ret = value;
    return true;
}

static bool literal(const uint8_t **at, const uint8_t *end, char c)
{
    if (*at == end || **at != (uint8_t)c)
        return false;
    ++*at;
    return true;
}

static bool fraction(const uint8_t **at, const uint8_t *end, uint32_t *ret)
{
    unsigned n = 0;

    *ret = 0;
    if (!literal(at, end, '.'))
        return true;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at, n++)
        if (n < 9)
            *ret = *ret * 10 + (**at - '0');
    for (unsigned i = n; i < 9; i++)
        *ret *= 10;
    return n > 0 && n <= 9;
}

/* Z or +hh:mm. */
static bool offset(const uint8_t **at, const uint8_t *end, int64_t *ret)
{
    unsigned hour, minute;
    bool minus;

    *ret = 0;
    if (literal(at, end, 'Z') || literal(at, end, 'z'))
        return true;
    minus = literal(at, end, '-');
    if (!minus && !literal(at, end, '+'))
        return false;
    if (!number(at, end, 2, &hour) || !literal(at, end, ':') ||
        !number(at, end, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *ret = (int64_t)(hour * 3600 + minute * 60) * (minus ? -1 : 1);
    return true;
}

static bool day_exists(unsigned year, unsigned month, unsigned day)
{
    int64_t back_year;
    unsigned back_month, back_day;

    if (year < 1 || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    dgf_date_of(dgf_days_of(year, month, day), &back_year, &back_month, &back_day);
    return back_month == month && back_day == day;
}

bool dgf_cel_time_parse(struct dgf_bytes text, struct dgf_cel_value *ret)
{
    const uint8_t *at = text.ptr, *end = text.ptr + text.len;
    unsigned year, month, day, hour, minute, second;
    struct dgf_cel_value value = {.kind = DGF_CEL_TIMESTAMP};
    int64_t east;

    if (!number(&at, end, 4, &year) || !literal(&at, end, '-') ||
        !number(&at, end, 2, &month) || !literal(&at, end, '-') ||
        !number(&at, end, 2, &day) || !day_exists(year, month, day))
        return false;
    if (!literal(&at, end, 'T') && !literal(&at, end, 't'))
        return false;
    if (!number(&at, end, 2, &hour) || !literal(&at, end, ':') ||
        !number(&at, end, 2, &minute) || !literal(&at, end, ':') ||
        !number(&at, end, 2, &second) || hour > 23 || minute > 59 || second > 59)
        return false;
    if (!fraction(&at, end, &value.len) || !offset(&at, end, &east) || at != end)
        return false;
    value.i64 = dgf_days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 +
                second - east;
    *ret = value;
    return dgf_cel_time_valid(ret);
}

/* ---- durations: a sequence of numbers with units, as Go writes them ---- */

static int64_t unit_ns(const uint8_t **at, const uint8_t *end)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {{"ns", 1},           {"us", 1000},        {"\xc2\xb5s", 1000},
                 {"\xce\xbcs", 1000}, {"ms", 1000000},     {"s", 1000000000},
                 {"m", 60000000000},  {"h", 3600000000000}};

    for (size_t i = 0; i < DGF_ARRAY_LEN(units); i++) {
        size_t len = strlen(units[i].name);

        if ((size_t)(end - *at) >= len && memcmp(*at, units[i].name, len) == 0) {
            *at += len;
            return units[i].ns;
        }
    }
    return 0;
}

bool dgf_cel_duration_parse(struct dgf_bytes text, struct dgf_cel_value *ret)
{
    const uint8_t *at = text.ptr, *end = text.ptr + text.len;
    struct dgf_cel_value value = {.kind = DGF_CEL_DURATION};
    __int128 total = 0;
    bool minus;
    int64_t seconds, ns;

    if (text.len == 0)
        return false;
    minus = literal(&at, end, '-');
    if (!minus)
        literal(&at, end, '+');
    if (end - at == 1 && *at == '0') {
        *ret = value;
        return true;
    }
    if (at == end)
        return false;
    while (at < end) {
        __int128 whole = 0, part = 0, scale = 1;
        unsigned n = 0;
        int64_t unit;

        for (; at < end && *at >= '0' && *at <= '9'; at++, n++) {
            whole = whole * 10 + (*at - '0');
            if (whole > INT64_MAX)
                return false;
        }
        if (literal(&at, end, '.'))
            for (; at < end && *at >= '0' && *at <= '9'; at++, n++)
                if (scale < 1000000000000000) {
                    part = part * 10 + (*at - '0');
                    scale *= 10;
                }
        unit = n > 0 ? unit_ns(&at, end) : 0;
        if (unit == 0)
            return false;
        total += whole * unit + part * unit / scale;
        if (total > (__int128)DGF_CEL_MAX_DURATION * 1000000000)
            return false;
    }
    if (minus)
        total = -total;
    seconds = (int64_t)(total / 1000000000);
    ns = (int64_t)(total % 1000000000);
    if (ns < 0) {
        ns += 1000000000;
        seconds--;
    }
    value.i64 = seconds;
    value.len = (uint32_t)ns;
    *ret = value;
    return dgf_cel_duration_valid(ret);
}

static void add_fraction(uint32_t ns, struct dgf_buf *out)
{
    char digits[16];
    int len;

    if (ns == 0)
        return;
    len = snprintf(digits, sizeof(digits), ".%09u", (unsigned)ns);
    while (digits[len - 1] == '0')
        len--;
    dgf_buf_add(out, digits, (size_t)len);
}

void dgf_cel_time_text(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    int64_t days = value->i64 / 86400, rest = value->i64 % 86400, year;
    unsigned month, day;

    if (rest < 0) {
        rest += 86400;
        days--;
    }
    dgf_date_of(days, &year, &month, &day);
    dgf_buf_addf(out, "%04d-%02u-%02uT%02d:%02d:%02d", (int)year, month, day,
                 (int)(rest / 3600), (int)(rest / 60 % 60), (int)(rest % 60));
    add_fraction(value->len, out);
    dgf_buf_add_byte(out, 'Z');
}

void dgf_cel_duration_text(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    int64_t seconds = value->i64;
    uint32_t ns = value->len;

    if (seconds < 0) {
        dgf_buf_add_byte(out, '-');
        if (ns > 0) {
            seconds++;
            ns = 1000000000 - ns;
        }
        seconds = -seconds;
    }
    dgf_buf_add_i64(out, seconds);
    add_fraction(ns, out);
    dgf_buf_add_byte(out, 's');
}

/* ---- zones ---- */

bool dgf_cel_zone_offset(struct dgf_bytes zone, int64_t seconds, int32_t *ret)
{
    const uint8_t *at = zone.ptr, *end = zone.ptr + zone.len;
    unsigned hour, minute;
    bool minus;

    if (dgf_bytes_eq(zone, DGF_BYTES("UTC")) || dgf_bytes_eq(zone, DGF_BYTES("Z"))) {
        *ret = 0;
        return true;
    }
    if (zone.len == 0 || (*at >= 'A' && *at <= 'Z'))
        return dgf_cel_zone_lookup(zone, seconds, ret);
    minus = literal(&at, end, '-');
    if (!minus)
        literal(&at, end, '+');
    if (!number(&at, end, 2, &hour) || !literal(&at, end, ':') ||
        !number(&at, end, 2, &minute) || at != end || hour > 23 || minute > 59)
        return false;
    *ret = (int32_t)(hour * 3600 + minute * 60) * (minus ? -1 : 1);
    return true;
}
