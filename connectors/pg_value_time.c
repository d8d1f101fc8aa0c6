#include <inttypes.h>
#include <stdio.h>

#include "base/mp.h"
#include "base/parse.h"
#include "pg_value.h"

#define BAD(why_) (*ret_why = (why_), DGF_BAD_DATA)
#define PG_EPOCH_DAYS 10957 /* 2000-01-01 in days since 1970 */
#define US_PER_S INT64_C(1000000)
#define US_PER_DAY (86400 * US_PER_S)

/* ---- reading texts ---- */

/* Digits at *at, at least lo and at most hi of them. */
static bool digits(struct dgf_bytes *at, unsigned lo, unsigned hi, int64_t *ret)
{
    int64_t value = 0;
    unsigned n = 0;

    while (n < hi && at->len > 0 && at->ptr[0] >= '0' && at->ptr[0] <= '9') {
        value = value * 10 + (at->ptr[0] - '0');
        at->ptr++;
        at->len--;
        n++;
    }
    *ret = value;
    return n >= lo;
}

static bool skip(struct dgf_bytes *at, char c)
{
    if (at->len == 0 || at->ptr[0] != (uint8_t)c)
        return false;
    at->ptr++;
    at->len--;
    return true;
}

/* .5 as 500000 us; nothing there is 0. */
static bool fraction(struct dgf_bytes *at, int64_t *ret_us)
{
    size_t before;

    *ret_us = 0;
    if (!skip(at, '.'))
        return true;
    before = at->len;
    if (!digits(at, 1, 6, ret_us))
        return false;
    for (size_t n = before - at->len; n < 6; n++)
        *ret_us *= 10;
    return true;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    return dgf_days_of(month == 12 ? year + 1 : year, (unsigned)(month % 12 + 1), 1) -
           dgf_days_of(year, (unsigned)month, 1);
}

/* YYYY-MM-DD; *ret_out: a year no timestamp of ours has. */
static bool date_part(struct dgf_bytes *at, int64_t *ret_days, bool *ret_out)
{
    int64_t year, month, day;

    if (!digits(at, 4, 7, &year) || !skip(at, '-') || !digits(at, 2, 2, &month) ||
        !skip(at, '-') || !digits(at, 2, 2, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 ||
        (day > 28 && day > days_in_month(year, month)))
        return false;
    *ret_out = year < 1 || year > 9999;
    *ret_days = dgf_days_of(year, (unsigned)month, (unsigned)day);
    return true;
}

/* HH:MM:SS[.ffffff] */
static bool time_part(struct dgf_bytes *at, int64_t *ret_us)
{
    int64_t hour, minute, second, us;

    if (!digits(at, 2, 2, &hour) || !skip(at, ':') || !digits(at, 2, 2, &minute) ||
        !skip(at, ':') || !digits(at, 2, 2, &second) || !fraction(at, &us))
        return false;
    if (hour > 24 || minute > 59 || second > 60)
        return false;
    *ret_us = ((hour * 60 + minute) * 60 + second) * US_PER_S + us;
    return *ret_us <= US_PER_DAY;
}

static bool is_opaque_time(struct dgf_bytes text)
{
    return dgf_bytes_eq(text, DGF_BYTES("infinity")) ||
           dgf_bytes_eq(text, DGF_BYTES("-infinity")) ||
           (text.len > 3 && memcmp(text.ptr + text.len - 3, " BC", 3) == 0);
}

enum dgf_rc dgf_pg_date_text(struct dgf_bytes text, struct dgf_buf *out,
                             const char **ret_why)
{
    struct dgf_bytes at = text;
    int64_t days;
    bool out_of_range = true;

    if (!is_opaque_time(text) && (!date_part(&at, &days, &out_of_range) || at.len > 0))
        return BAD("not a date in ISO style");
    if (out_of_range)
        dgf_mp_put_opaque(out, DGF_BYTES("date"), text);
    else
        dgf_mp_put_date(out, (int32_t)days);
    return DGF_OK;
}

enum dgf_rc dgf_pg_time_text(struct dgf_bytes text, struct dgf_buf *out,
                             const char **ret_why)
{
    int64_t us;

    if (!time_part(&text, &us) || text.len > 0)
        return BAD("not a time of day");
    dgf_mp_put_time_of_day(out, us * 1000);
    return DGF_OK;
}

/* Seconds and us of a count of us; us is never negative. */
static void put_timestamp_us(struct dgf_buf *out, int64_t us)
{
    int64_t s = us / US_PER_S, rest = us % US_PER_S;

    if (rest < 0) {
        rest += US_PER_S;
        s--;
    }
    dgf_mp_put_timestamp(out, s, (uint32_t)rest * 1000);
}

/* +HH, +HH:MM or +HH:MM:SS east of UTC; nothing: 0. */
static bool zone_part(struct dgf_bytes *at, int64_t *ret_s)
{
    int64_t hour, minute = 0, second = 0;
    bool west = at->len > 0 && at->ptr[0] == '-';

    *ret_s = 0;
    if (!skip(at, '+') && !skip(at, '-'))
        return true;
    if (!digits(at, 2, 2, &hour) || (skip(at, ':') && !digits(at, 2, 2, &minute)) ||
        (skip(at, ':') && !digits(at, 2, 2, &second)))
        return false;
    *ret_s = (hour * 60 + minute) * 60 + second;
    if (west)
        *ret_s = -*ret_s;
    return true;
}

enum dgf_rc dgf_pg_timestamp_text(const struct dgf_pg_type *type, struct dgf_bytes text,
                                  struct dgf_buf *out, const char **ret_why)
{
    struct dgf_bytes at = text;
    int64_t days, us, zone = 0;
    bool out_of_range;

    if (is_opaque_time(text)) {
        dgf_mp_put_opaque(out, dgf_bytes_str(type->name), text);
        return DGF_OK;
    }
    if (!date_part(&at, &days, &out_of_range) || !skip(&at, ' ') ||
        !time_part(&at, &us) ||
        (type->codec == DGF_PG_CODEC_TIMESTAMPTZ && !zone_part(&at, &zone)) ||
        at.len > 0)
        return BAD("not a timestamp in ISO style");
    if (out_of_range)
        dgf_mp_put_opaque(out, dgf_bytes_str(type->name), text);
    else
        put_timestamp_us(out, days * US_PER_DAY + us - zone * US_PER_S);
    return DGF_OK;
}

/* One signed number and its letter of an ISO 8601 interval. */
static bool interval_part(struct dgf_bytes *at, int64_t *ret_n, int64_t *ret_us,
                          bool *ret_minus, char *ret_unit)
{
    *ret_minus = skip(at, '-');
    if (!digits(at, 1, 18, ret_n) || !fraction(at, ret_us) || at->len == 0)
        return false;
    *ret_unit = (char)at->ptr[0];
    (void)skip(at, *ret_unit);
    return true;
}

struct interval {
    int64_t months, days, us;
};

static bool add_part(struct interval *sum, bool in_time, int64_t n, int64_t us,
                     bool minus, char unit)
{
    int64_t scale, *to;

    if (!in_time) {
        to = unit == 'D' ? &sum->days : &sum->months;
        scale = unit == 'Y' ? 12 : 1;
        if ((unit != 'Y' && unit != 'M' && unit != 'D') || us)
            return false;
    } else {
        to = &sum->us;
        scale = unit == 'H' ? 3600 * US_PER_S : unit == 'M' ? 60 * US_PER_S : US_PER_S;
        if ((unit != 'H' && unit != 'M' && unit != 'S') || (us && unit != 'S'))
            return false;
    }
    if (minus) {
        n = -n;
        us = -us;
    }
    return !__builtin_mul_overflow(n, scale, &n) &&
           !__builtin_add_overflow(n, us, &n) && !__builtin_add_overflow(*to, n, to);
}

enum dgf_rc dgf_pg_interval_text(struct dgf_bytes text, struct dgf_buf *out,
                                 const char **ret_why)
{
    struct interval sum = {0, 0, 0};
    struct dgf_bytes at = text;
    bool in_time = false;

    if (is_opaque_time(text)) { /* infinity, from PostgreSQL 17 on */
        dgf_mp_put_opaque(out, DGF_BYTES("interval"), text);
        return DGF_OK;
    }
    if (!skip(&at, 'P') || at.len == 0)
        return BAD("not an interval in ISO 8601");
    while (at.len > 0) {
        int64_t n, us;
        bool minus;
        char unit;

        if (!in_time && skip(&at, 'T'))
            in_time = true;
        if (!interval_part(&at, &n, &us, &minus, &unit) ||
            !add_part(&sum, in_time, n, us, minus, unit))
            return BAD("not an interval in ISO 8601");
    }
    if (sum.months != (int32_t)sum.months || sum.days != (int32_t)sum.days)
        return BAD("interval out of range");
    dgf_pg_interval_binary((int32_t)sum.months, (int32_t)sum.days, sum.us, out);
    return DGF_OK;
}

/* ---- binary, and the texts the server would have written ---- */

void dgf_pg_date_binary(int32_t days, struct dgf_buf *out)
{
    int64_t since_1970 = (int64_t)days + PG_EPOCH_DAYS, year;
    unsigned month, day;
    char text[48];

    if (days == INT32_MAX || days == INT32_MIN) {
        dgf_mp_put_opaque(out, DGF_BYTES("date"),
                          days > 0 ? DGF_BYTES("infinity") : DGF_BYTES("-infinity"));
        return;
    }
    dgf_date_of(since_1970, &year, &month, &day);
    if (year >= 1 && year <= 9999) {
        dgf_mp_put_date(out, (int32_t)since_1970);
        return;
    }
    (void)snprintf(text, sizeof(text), "%04" PRId64 "-%02u-%02u%s",
                   year > 0 ? year : 1 - year, month, day, year > 0 ? "" : " BC");
    dgf_mp_put_opaque(out, DGF_BYTES("date"), dgf_bytes_str(text));
}

/* HH:MM:SS with as many digits after the point as are not zero. */
static int clock_text(char *to, size_t size, int64_t us)
{
    int64_t s = us / US_PER_S, rest = us % US_PER_S;
    int len = snprintf(to, size, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600,
                       s / 60 % 60, s % 60);

    if (rest) {
        len += snprintf(to + len, size - (size_t)len, ".%06" PRId64, rest);
        while (to[len - 1] == '0')
            to[--len] = '\0';
    }
    return len;
}

enum dgf_rc dgf_pg_time_binary(int64_t us, struct dgf_buf *out, const char **ret_why)
{
    if (us < 0 || us > US_PER_DAY)
        return BAD("time of day out of range");
    dgf_mp_put_time_of_day(out, us * 1000);
    return DGF_OK;
}

enum dgf_rc dgf_pg_timetz_binary(int64_t us, int32_t west_s, struct dgf_buf *out,
                                 const char **ret_why)
{
    char text[64];
    int len;
    int32_t east = -west_s, abs_s = east < 0 ? west_s : east;

    if (us < 0 || us > US_PER_DAY || west_s < -86400 || west_s > 86400)
        return BAD("time of day out of range");
    len = clock_text(text, sizeof(text), us);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "%c%02d",
                    east < 0 ? '-' : '+', abs_s / 3600);
    if (abs_s % 3600)
        len +=
            snprintf(text + len, sizeof(text) - (size_t)len, ":%02d", abs_s / 60 % 60);
    if (abs_s % 60)
        (void)snprintf(text + len, sizeof(text) - (size_t)len, ":%02d", abs_s % 60);
    dgf_mp_put_opaque(out, DGF_BYTES("timetz"), dgf_bytes_str(text));
    return DGF_OK;
}

void dgf_pg_timestamp_binary(const struct dgf_pg_type *type, int64_t us,
                             struct dgf_buf *out)
{
    int64_t days = us / US_PER_DAY, rest = us % US_PER_DAY, year;
    unsigned month, day;
    char text[96];
    int len;

    if (us == INT64_MAX || us == INT64_MIN) {
        dgf_mp_put_opaque(out, dgf_bytes_str(type->name),
                          us > 0 ? DGF_BYTES("infinity") : DGF_BYTES("-infinity"));
        return;
    }
    if (rest < 0) {
        rest += US_PER_DAY;
        days--;
    }
    dgf_date_of(days + PG_EPOCH_DAYS, &year, &month, &day);
    if (year >= 1 && year <= 9999) {
        put_timestamp_us(out, (days + PG_EPOCH_DAYS) * US_PER_DAY + rest);
        return;
    }
    len = snprintf(text, sizeof(text), "%04" PRId64 "-%02u-%02u ",
                   year > 0 ? year : 1 - year, month, day);
    len += clock_text(text + len, sizeof(text) - (size_t)len, rest);
    (void)snprintf(text + len, sizeof(text) - (size_t)len, "%s%s",
                   type->codec == DGF_PG_CODEC_TIMESTAMPTZ ? "+00" : "",
                   year > 0 ? "" : " BC");
    dgf_mp_put_opaque(out, dgf_bytes_str(type->name), dgf_bytes_str(text));
}

static void add_unit(struct dgf_buf *text, int64_t n, char unit)
{
    if (n) {
        dgf_buf_add_i64(text, n);
        dgf_buf_add_byte(text, (uint8_t)unit);
    }
}

/* What the server's IntervalStyle iso_8601 gives. */
static void interval_opaque(int32_t months, int32_t days, int64_t us,
                            struct dgf_buf *out)
{
    struct dgf_buf text;

    dgf_buf_init(&text, 200);
    dgf_buf_add_byte(&text, 'P');
    add_unit(&text, months / 12, 'Y');
    add_unit(&text, months % 12, 'M');
    add_unit(&text, days, 'D');
    if (us) {
        int64_t s = us % (60 * US_PER_S) / US_PER_S, rest = us % US_PER_S;

        dgf_buf_add_byte(&text, 'T');
        add_unit(&text, us / (3600 * US_PER_S), 'H');
        add_unit(&text, us / (60 * US_PER_S) % 60, 'M');
        if (s || rest) {
            char digits_[32];
            int len =
                snprintf(digits_, sizeof(digits_), "%s%" PRId64 ".%06" PRId64,
                         us < 0 ? "-" : "", s < 0 ? -s : s, rest < 0 ? -rest : rest);

            while (digits_[len - 1] == '0')
                len--;
            if (digits_[len - 1] == '.')
                len--;
            dgf_buf_add(&text, digits_, (size_t)len);
            dgf_buf_add_byte(&text, 'S');
        }
    }
    if (text.rc)
        out->rc = DGF_NOMEM;
    else
        dgf_mp_put_opaque(out, DGF_BYTES("interval"), dgf_buf_bytes(&text));
    dgf_buf_release(&text);
}

void dgf_pg_interval_binary(int32_t months, int32_t days, int64_t us,
                            struct dgf_buf *out)
{
    int64_t ns;

    if (months == INT32_MAX && days == INT32_MAX && us == INT64_MAX)
        dgf_mp_put_opaque(out, DGF_BYTES("interval"), DGF_BYTES("infinity"));
    else if (months == INT32_MIN && days == INT32_MIN && us == INT64_MIN)
        dgf_mp_put_opaque(out, DGF_BYTES("interval"), DGF_BYTES("-infinity"));
    /* Beyond 292 years of time the count of ns ends. */
    else if (__builtin_mul_overflow(us, 1000, &ns))
        interval_opaque(months, days, us, out);
    else
        dgf_mp_put_duration(out, months, days, ns);
}
