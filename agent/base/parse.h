/* parse.h - strict parsing of text a person or a server wrote.
 *
 * Nothing is skipped, rounded or guessed: the whole range must be the value.
 * All return false on anything else and leave *ret alone.  Thread: any. */
#ifndef DGF_BASE_PARSE_H
#define DGF_BASE_PARSE_H

#include "base/buf.h"

bool dgf_parse_i64(struct dgf_bytes text, int64_t *ret);
bool dgf_parse_u64(struct dgf_bytes text, uint64_t *ret);
bool dgf_parse_hex_u64(struct dgf_bytes text, uint64_t *ret);
bool dgf_parse_double(struct dgf_bytes text, double *ret); /* nan and inf refused */
/* All of text, as C reads it: also nan, inf, and inf for what is too large. */
bool dgf_parse_double_any(const char *text, double *ret);
/* The same of a text that this program wrote or checked itself. */
double dgf_parse_double_back(const char *text);
bool dgf_parse_bool(struct dgf_bytes text, bool *ret); /* true or false only */
/* "5s" "100ms" "1.5h" "90d" "2us" "7ns": a number and one unit; nanoseconds. */
bool dgf_parse_duration(struct dgf_bytes text, int64_t *ret_ns);
/* "512" "64KiB" "4MiB" "1GiB" "2TiB", and kB MB GB as powers of ten; bytes. */
bool dgf_parse_size(struct dgf_bytes text, uint64_t *ret_bytes);
/* RFC 3339 with Z or an offset, up to 9 digits; ns since 1970 (1677 to 2262). */
bool dgf_parse_time(struct dgf_bytes text, int64_t *ret_ns);
bool dgf_parse_hex(struct dgf_bytes text, uint8_t *ret, size_t n);
bool dgf_parse_base64(struct dgf_bytes text, struct dgf_buf *ret);

/* "5s", "1m30s" is never written: the largest unit that is whole. */
void dgf_format_duration(struct dgf_buf *buf, int64_t ns);
void dgf_format_size(struct dgf_buf *buf, uint64_t bytes);
/* RFC 3339 UTC with as many of 9 digits as are not zero. */
void dgf_format_time(struct dgf_buf *buf, int64_t ns);
/* The same of seconds and nanoseconds; years beyond 0000 to 9999 carry a sign
 * (ISO 8601 expanded), and seconds beyond their calendar give "". */
void dgf_format_timestamp(struct dgf_buf *buf, int64_t seconds, uint32_t ns);
/* "2026-03-02" of days since 1970, years as above. */
void dgf_format_date(struct dgf_buf *buf, int64_t days);
/* "09:00:00.5" of nanoseconds since midnight, up to 24:00:00. */
void dgf_format_time_of_day(struct dgf_buf *buf, int64_t ns);
/* Days since 1970-01-01 to and from the proleptic Gregorian calendar. */
int64_t dgf_days_of(int64_t year, unsigned month, unsigned day);
void dgf_date_of(int64_t days, int64_t *ret_year, unsigned *ret_month,
                 unsigned *ret_day);

bool dgf_utf8_valid(struct dgf_bytes text);
/* Damerau-Levenshtein distance with a cap, for "did you mean". */
unsigned dgf_edit_distance(const char *a, const char *b, unsigned cap);
/* The candidate that differs from word in case alone, else the nearest one within 1/3
 * of its length, else NULL. */
const char *dgf_nearest(const char *word, const char *const *candidates, size_t n);

#endif
