#include "base/parse.h"
#include "cel/functions.h"
#include "cel/ops.h"

/* Parts of timestamps and durations. */

struct parts {
    int64_t days, year;
    unsigned month, day; /* from 1 */
    int64_t second;      /* of the day */
};

/* In UTC, or in the zone of the second argument. */
static bool split(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                  bool zone, struct parts *p, struct dgf_cel_value *ret)
{
    int64_t local = args[0].i64;
    int32_t east = 0;

    if (zone && !dgf_cel_zone_offset(dgf_cel_bytes_of(&args[1]), local, &east)) {
        dgf_cel_fail(eval, ret, "unknown time zone");
        return false;
    }
    local += east;
    p->days = local / 86400;
    p->second = local % 86400;
    if (p->second < 0) {
        p->second += 86400;
        p->days--;
    }
    dgf_date_of(p->days, &p->year, &p->month, &p->day);
    return true;
}

#define PART(name, expression)                                                         \
    static void name(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,      \
                     struct dgf_cel_value *ret)                                        \
    {                                                                                  \
        struct parts p;                                                                \
                                                                                       \
        if (split(eval, args, false, &p, ret))                                         \
            *ret = dgf_cel_int(expression);                                            \
    }                                                                                  \
    static void name##_in(struct dgf_cel_eval *eval, const struct dgf_cel_value *args, \
                          struct dgf_cel_value *ret)                                   \
    {                                                                                  \
        struct parts p;                                                                \
                                                                                       \
        if (split(eval, args, true, &p, ret))                                          \
            *ret = dgf_cel_int(expression);                                            \
    }

PART(year, p.year)
PART(month, (int64_t)p.month - 1)
PART(day_of_year, p.days - dgf_days_of(p.year, 1, 1))
PART(day_of_month, (int64_t)p.day - 1)
PART(date, (int64_t)p.day)
PART(day_of_week, ((p.days + 4) % 7 + 7) % 7)
PART(hours, p.second / 3600)
PART(minutes, p.second / 60 % 60)
PART(seconds, p.second % 60)
PART(milliseconds, (int64_t)args[0].len / 1000000)

/* Durations count whole units towards zero. */
static int64_t whole_seconds(const struct dgf_cel_value *v)
{
    return v->i64 < 0 && v->len > 0 ? v->i64 + 1 : v->i64;
}

static void span_hours(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                       struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_int(whole_seconds(&args[0]) / 3600);
}

static void span_minutes(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                         struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_int(whole_seconds(&args[0]) / 60);
}

static void span_seconds(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                         struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_int(whole_seconds(&args[0]));
}

static void span_milliseconds(struct dgf_cel_eval *eval,
                              const struct dgf_cel_value *args,
                              struct dgf_cel_value *ret)
{
    int64_t ns = args[0].len;

    (void)eval;
    if (args[0].i64 < 0 && ns > 0)
        ns -= 1000000000;
    *ret = dgf_cel_int(ns / 1000000);
}

#define BOTH(name, fn)                                \
    {name, "timestamp.() -> int", 2, fn},             \
    {                                                 \
        name, "timestamp.(string) -> int", 6, fn##_in \
    }

const struct dgf_cel_function dgf_cel_fn_time[] = {
    BOTH("getFullYear", year),
    BOTH("getMonth", month),
    BOTH("getDayOfYear", day_of_year),
    BOTH("getDayOfMonth", day_of_month),
    BOTH("getDate", date),
    BOTH("getDayOfWeek", day_of_week),
    BOTH("getHours", hours),
    BOTH("getMinutes", minutes),
    BOTH("getSeconds", seconds),
    BOTH("getMilliseconds", milliseconds),
    {"getHours", "duration.() -> int", 0, span_hours},
    {"getMinutes", "duration.() -> int", 0, span_minutes},
    {"getSeconds", "duration.() -> int", 0, span_seconds},
    {"getMilliseconds", "duration.() -> int", 0, span_milliseconds},
    {NULL, NULL, 0, NULL},
};
