/* parse_time.c - the calendar, and RFC 3339 both ways. */
#include "base/parse.h"

#define NS_PER_S 1000000000

/* Years begin in March here, so that the leap day is the last of its year. */
int64_t dgf_days_of(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((int64_t)month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void dgf_date_of(int64_t days, int64_t *ret_year, unsigned *ret_month,
                 unsigned *ret_day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;

    *ret_day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    *ret_year = year + era * 400 + (*ret_month <= 2);
}

static bool is_leap(unsigned year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* n digits at text[at] as a number between lo and hi. */
static bool digits(struct dgf_bytes text, size_t at, size_t n, unsigned lo, unsigned hi,
                   unsigned *ret)
{
    unsigned value = 0;

    if (at + n > text.len)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    *ret = value;
    return value >= lo && value <= hi;
}

static bool is_at(struct dgf_bytes text, size_t at, char c)
{
    return at < text.len && text.ptr[at] == (uint8_t)c;
}

static bool parse_offset(struct dgf_bytes text, size_t at, int64_t *ret_s)
{
    unsigned hours, minutes;

    if (is_at(text, at, 'Z')) {
        *ret_s = 0;
        return text.len == at + 1;
    }
    if ((!is_at(text, at, '+') && !is_at(text, at, '-')) || text.len != at + 6 ||
        !digits(text, at + 1, 2, 0, 23, &hours) || !is_at(text, at + 3, ':') ||
        !digits(text, at + 4, 2, 0, 59, &minutes))
        return false;
    *ret_s = (int64_t)hours * 3600 + minutes * 60;
    if (text.ptr[at] == '-')
        *ret_s = -*ret_s;
    return true;
}

bool dgf_parse_time(struct dgf_bytes text, int64_t *ret_ns)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day, hour, minute, second, fraction = 0;
    int64_t offset, seconds;
    __int128 ns;
    size_t at = 19;

    if (!digits(text, 0, 4, 0, 9999, &year) || !is_at(text, 4, '-') ||
        !digits(text, 5, 2, 1, 12, &month) || !is_at(text, 7, '-') ||
        !digits(text, 8, 2, 1, 31, &day) || !is_at(text, 10, 'T') ||
        !digits(text, 11, 2, 0, 23, &hour) || !is_at(text, 13, ':') ||
        !digits(text, 14, 2, 0, 59, &minute) || !is_at(text, 16, ':') ||
        !digits(text, 17, 2, 0, 59, &second))
        return false;
    if (day > lengths[month - 1] + (unsigned)(month == 2 && is_leap(year)))
        return false;
    if (is_at(text, at, '.')) {
        unsigned scale = NS_PER_S;

        for (at++; at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9'; at++) {
            scale /= 10;
            if (scale == 0)
                return false;
            fraction += scale * (unsigned)(text.ptr[at] - '0');
        }
        if (scale == NS_PER_S)
            return false;
    }
    if (!parse_offset(text, at, &offset))
        return false;
    seconds =
        dgf_days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    ns = (__int128)(seconds - offset) * NS_PER_S + fraction;
    if (ns < INT64_MIN || ns > INT64_MAX)
        return false;
    *ret_ns = (int64_t)ns;
    return true;
}

static void two_digits(char *to, unsigned value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

static void clock_digits(char text[8], unsigned of_day)
{
    two_digits(text, of_day / 3600);
    text[2] = ':';
    two_digits(text + 3, of_day / 60 % 60);
    text[5] = ':';
    two_digits(text + 6, of_day % 60);
}

/* ".5" of half a second; text has room for 10.  Returns its length. */
static size_t fraction_digits(char *text, uint32_t ns)
{
    size_t len = 10;

    if (ns == 0)
        return 0;
    text[0] = '.';
    for (size_t i = 9; i > 0; i--) {
        text[i] = (char)('0' + ns % 10);
        ns /= 10;
    }
    while (text[len - 1] == '0')
        len--;
    return len;
}

static void split_days(int64_t seconds, int64_t *ret_days, unsigned *ret_of_day)
{
    int64_t days = seconds / 86400, of_day = seconds % 86400;

    if (of_day < 0) {
        of_day += 86400;
        days--;
    }
    *ret_days = days;
    *ret_of_day = (unsigned)of_day;
}

/* A record holds several times of the same second: its text is made once. */
static const char *second_text(int64_t seconds)
{
    static _Thread_local int64_t cached = INT64_MIN;
    static _Thread_local char text[20];
    int64_t days, year;
    unsigned of_day, month, day;

    if (seconds == cached)
        return text;
    split_days(seconds, &days, &of_day);
    dgf_date_of(days, &year, &month, &day);
    two_digits(text, (unsigned)year / 100);
    two_digits(text + 2, (unsigned)year % 100);
    text[4] = '-';
    two_digits(text + 5, month);
    text[7] = '-';
    two_digits(text + 8, day);
    text[10] = 'T';
    clock_digits(text + 11, of_day);
    cached = seconds;
    return text;
}

/* 0000-01-01T00:00:00Z and the second after 9999-12-31T23:59:59Z */
#define FIRST_SECOND (-62167219200)
#define LAST_SECOND 253402300799
/* Far beyond any database's calendar, and safe to compute with. */
#define FARTHEST_SECOND 100000000000000000

void dgf_format_timestamp(struct dgf_buf *buf, int64_t seconds, uint32_t ns)
{
    char text[32];
    size_t len = 0;

    if (seconds >= FIRST_SECOND && seconds <= LAST_SECOND) {
        memcpy(text, second_text(seconds), 19);
        len = 19;
    } else {
        int64_t days;
        unsigned of_day;

        if (seconds < -FARTHEST_SECOND || seconds > FARTHEST_SECOND)
            return;
        split_days(seconds, &days, &of_day);
        dgf_format_date(buf, days);
        text[len++] = 'T';
        clock_digits(text + len, of_day);
        len += 8;
    }
    len += fraction_digits(text + len, ns);
    text[len++] = 'Z';
    dgf_buf_add(buf, text, len);
}

void dgf_format_time(struct dgf_buf *buf, int64_t ns)
{
    int64_t seconds = ns / NS_PER_S, fraction = ns % NS_PER_S;

    if (fraction < 0) {
        fraction += NS_PER_S;
        seconds--;
    }
    dgf_format_timestamp(buf, seconds, (uint32_t)fraction);
}

void dgf_format_date(struct dgf_buf *buf, int64_t days)
{
    unsigned month, day;
    int64_t year;

    dgf_date_of(days, &year, &month, &day);
    if (year < 0 || year > 9999)
        dgf_buf_add_byte(buf, year < 0 ? '-' : '+');
    if (year < 0)
        year = -year;
    dgf_buf_addf(buf, "%04lld-%02u-%02u", (long long)year, month, day);
}

void dgf_format_time_of_day(struct dgf_buf *buf, int64_t ns)
{
    char text[20];

    clock_digits(text, (unsigned)(ns / NS_PER_S));
    dgf_buf_add(buf, text, 8 + fraction_digits(text + 8, (uint32_t)(ns % NS_PER_S)));
}
