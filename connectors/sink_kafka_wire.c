#include "sink_kafka.h"

#include <stdio.h>

#include "base/parse.h"

/* ---- partition ---- */

static uint32_t le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
           (uint32_t)at[3] << 24;
}

uint32_t dgf_kafka_murmur2(struct dgf_bytes key)
{
    const uint32_t m = 0x5bd1e995;
    uint32_t h = 0x9747b28cu ^ (uint32_t)key.len;
    size_t at = 0;

    for (; key.len - at >= 4; at += 4) {
        uint32_t k = le32(key.ptr + at) * m;

        k = (k ^ k >> 24) * m;
        h = h * m ^ k;
    }
    if (at < key.len) {
        for (size_t i = key.len; i > at; i--)
            h ^= (uint32_t)key.ptr[i - 1] << 8 * (i - 1 - at);
        h *= m;
    }
    h = (h ^ h >> 13) * m;
    return h ^ h >> 15;
}

/* ---- cursor ----
 *
 * u8 version, text log id, text topic prefix, next, number of topics, and for
 * each topic the number of partitions and for each of those next - last, or 0.
 * Texts are u8 length and bytes; numbers are LEB128. */

#define CURSOR_VERSION 1

void dgf_kafka_cursor_release(struct dgf_kafka_cursor *cursor)
{
    for (int i = 0; i < DGF_KAFKA_N; i++)
        dgf_free(cursor->last[i].seq);
    *cursor = (struct dgf_kafka_cursor){0};
}

enum dgf_rc dgf_kafka_last_grow(struct dgf_kafka_last *last, uint32_t n)
{
    uint64_t *seq;

    if (n <= last->n)
        return DGF_OK;
    seq = dgf_realloc(last->seq, (size_t)n * sizeof(*seq));
    if (!seq)
        return DGF_NOMEM;
    last->seq = seq;
    while (last->n < n)
        last->seq[last->n++] = DGF_KAFKA_NONE;
    return DGF_OK;
}

enum dgf_rc dgf_kafka_cursor_copy(struct dgf_kafka_cursor *to,
                                  const struct dgf_kafka_cursor *from)
{
    *to = (struct dgf_kafka_cursor){.next = from->next};
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (dgf_kafka_last_grow(&to->last[i], from->last[i].n)) {
            dgf_kafka_cursor_release(to);
            return DGF_NOMEM;
        }
        if (from->last[i].n)
            memcpy(to->last[i].seq, from->last[i].seq,
                   from->last[i].n * sizeof(uint64_t));
    }
    return DGF_OK;
}

static void put_number(struct dgf_buf *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        dgf_buf_add_byte(out, (uint8_t)(value | 0x80));
    dgf_buf_add_byte(out, (uint8_t)value);
}

static uint64_t get_number(struct dgf_rd *rd)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = dgf_rd_u8(rd);

        if (shift == 63 && byte > 1)
            break;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return value;
    }
    rd->bad = true;
    return 0;
}

static void put_text(struct dgf_buf *out, const char *text)
{
    size_t len = strlen(text);

    if (len > UINT8_MAX)
        len = UINT8_MAX; /* topic names end at 249, a log id is 32 */
    dgf_buf_add_byte(out, (uint8_t)len);
    dgf_buf_add(out, text, len);
}

static bool same_text(struct dgf_rd *rd, const char *text)
{
    uint8_t len = dgf_rd_u8(rd);

    return dgf_bytes_eq(dgf_rd_bytes(rd, len), dgf_bytes_str(text));
}

void dgf_kafka_cursor_encode(const struct dgf_kafka_cursor *cursor, const char *log_id,
                             const char *prefix, struct dgf_buf *out)
{
    dgf_buf_add_byte(out, CURSOR_VERSION);
    put_text(out, log_id);
    put_text(out, prefix);
    put_number(out, cursor->next);
    put_number(out, DGF_KAFKA_N);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        const struct dgf_kafka_last *last = &cursor->last[i];

        put_number(out, last->n);
        for (uint32_t j = 0; j < last->n; j++)
            put_number(
                out, last->seq[j] == DGF_KAFKA_NONE ? 0 : cursor->next - last->seq[j]);
    }
}

static enum dgf_rc get_last(struct dgf_rd *rd, uint64_t next,
                            struct dgf_kafka_last *last)
{
    uint64_t n = get_number(rd);

    if (rd->bad || n > dgf_rd_left(rd) || n > DGF_KAFKA_MAX_PARTITIONS)
        return DGF_BAD_DATA;
    if (dgf_kafka_last_grow(last, (uint32_t)n))
        return DGF_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t back = get_number(rd);

        if (rd->bad || back > next)
            return DGF_BAD_DATA;
        if (back)
            last->seq[i] = next - back;
    }
    return DGF_OK;
}

enum dgf_rc dgf_kafka_cursor_decode(struct dgf_bytes bytes, const char *log_id,
                                    const char *prefix, struct dgf_kafka_cursor *ret)
{
    struct dgf_kafka_cursor cursor = {0};
    struct dgf_rd rd = dgf_rd_of(bytes);
    uint8_t version = dgf_rd_u8(&rd);
    bool same_log = same_text(&rd, log_id), same_prefix = same_text(&rd, prefix);
    enum dgf_rc rc = DGF_OK;

    cursor.next = get_number(&rd);
    if (rd.bad || version != CURSOR_VERSION || get_number(&rd) != DGF_KAFKA_N)
        return DGF_BAD_DATA;
    for (int i = 0; i < DGF_KAFKA_N && !rc; i++)
        rc = get_last(&rd, cursor.next, &cursor.last[i]);
    if (!rc && (rd.bad || dgf_rd_left(&rd) > 0))
        rc = DGF_BAD_DATA;
    if (rc || !same_log || !same_prefix) {
        uint64_t next = same_log ? cursor.next : 0;

        dgf_kafka_cursor_release(&cursor);
        cursor.next = next;
    }
    if (!rc)
        *ret = cursor;
    return rc;
}

/* ---- headers ---- */

#define SEQUENCE_LEN 20
#define TIME_LEN 30
#define TYPE_MAX 64

enum dgf_rc dgf_kafka_header_pool_init(struct dgf_kafka_header_pool *pool,
                                       const char *agent)
{
    size_t len = strlen(agent) + sizeof("dgf/");

    *pool = (struct dgf_kafka_header_pool){
        .source = dgf_malloc(len), .second = INT64_MIN, .subject_number = 1};
    if (!pool->source)
        return DGF_NOMEM;
    dgf_buf_init(&pool->subject, UINT16_MAX);
    snprintf(pool->source, len, "dgf/%s", agent);
    return DGF_OK;
}

static void free_headers(struct dgf_kafka_headers *headers)
{
    if (headers->list)
        rd_kafka_headers_destroy(headers->list);
    dgf_free(headers);
}

void dgf_kafka_header_pool_release(struct dgf_kafka_header_pool *pool)
{
    while (pool->free) {
        struct dgf_kafka_headers *headers = pool->free;

        pool->free = headers->next;
        free_headers(headers);
    }
    dgf_buf_release(&pool->subject);
    dgf_free(pool->source);
    *pool = (struct dgf_kafka_header_pool){0};
}

static void write_digits(char *at, unsigned n, uint64_t value)
{
    while (n > 0 && value > 0) {
        at[--n] = (char)('0' + value % 10);
        value /= 10;
    }
    memset(at, '0', n);
}

/* Always nine digits: one length, and the second's part is made once. */
static const char *time_text(struct dgf_kafka_header_pool *pool, int64_t ns)
{
    int64_t second = ns / 1000000000, rest = ns % 1000000000;

    if (rest < 0) {
        rest += 1000000000;
        second--;
    }
    if (second != pool->second) {
        int64_t days = second / 86400, of_day = second % 86400, year;
        unsigned month, day;

        if (of_day < 0) {
            of_day += 86400;
            days--;
        }
        dgf_date_of(days, &year, &month, &day);
        memcpy(pool->time, "0000-00-00T00:00:00.000000000Z", TIME_LEN + 1);
        write_digits(pool->time, 4, (uint64_t)year); /* 1677 to 2262 */
        write_digits(pool->time + 5, 2, month);
        write_digits(pool->time + 8, 2, day);
        write_digits(pool->time + 11, 2, (uint64_t)of_day / 3600);
        write_digits(pool->time + 14, 2, (uint64_t)of_day / 60 % 60);
        write_digits(pool->time + 17, 2, (uint64_t)of_day % 60);
        pool->second = second;
    }
    write_digits(pool->time + 20, 9, (uint64_t)rest);
    return pool->time;
}

static bool add(rd_kafka_headers_t *list, const char *name, const void *value,
                size_t len)
{
    return rd_kafka_header_add(list, name, -1, value, (ssize_t)len) == 0;
}

/* The value as it stands inside the list: ours to overwrite while no message
 * has the list, as long as its length stays. */
static char *value_of(rd_kafka_headers_t *list, const char *name, size_t *ret_len)
{
    const void *value = NULL;

    if (rd_kafka_header_get_last(list, name, &value, ret_len))
        *ret_len = 0;
    return (char *)(uintptr_t)value;
}

static bool add_type(struct dgf_kafka_headers *headers, enum dgf_record_kind kind)
{
    char text[TYPE_MAX];
    int len = snprintf(text, sizeof(text), "dgf.%s.v1", dgf_record_kind_text(kind));

    headers->kind = kind;
    return add(headers->list, "ce_type", text, (size_t)len);
}

static bool add_subject(struct dgf_kafka_headers *headers, struct dgf_bytes subject)
{
    headers->subject = (struct dgf_bytes){NULL, 0};
    if (subject.len == 0)
        return true;
    if (!add(headers->list, "ce_subject", subject.ptr, subject.len))
        return false;
    headers->subject.ptr =
        (const uint8_t *)value_of(headers->list, "ce_subject", &headers->subject.len);
    return true;
}

/* Equal numbers are equal subjects; others may be equal too. */
static uint64_t subject_number(struct dgf_kafka_header_pool *pool,
                               struct dgf_bytes subject)
{
    if (dgf_bytes_eq(dgf_buf_bytes(&pool->subject), subject))
        return pool->subject_number;
    dgf_buf_clear(&pool->subject);
    dgf_buf_add_bytes(&pool->subject, subject);
    return ++pool->subject_number;
}

static bool fill_new(struct dgf_kafka_headers *headers, const char *source,
                     const struct dgf_record *record, bool previous)
{
    static const char blank[TIME_LEN + 1] = "                              ";
    rd_kafka_headers_t *list = rd_kafka_headers_new(9);
    size_t len;

    headers->list = list;
    if (!list || !add(list, "content-type", "application/json", 16) ||
        !add(list, "ce_specversion", "1.0", 3) ||
        !add(list, "ce_id", blank, DGF_ID_TEXT_LEN) ||
        !add(list, "ce_source", source, strlen(source)) ||
        !add(list, "ce_time", blank, TIME_LEN) ||
        !add(list, "ce_sequence", blank, SEQUENCE_LEN) ||
        (previous && !add(list, "ce_previous", blank, SEQUENCE_LEN)) ||
        !add_type(headers, record->kind) || !add_subject(headers, record->subject))
        return false;
    headers->id = value_of(list, "ce_id", &len);
    headers->time = value_of(list, "ce_time", &len);
    headers->sequence = value_of(list, "ce_sequence", &len);
    headers->previous = previous ? value_of(list, "ce_previous", &len) : NULL;
    return true;
}

/* Type and subject stand last and change seldom. */
static bool refit(struct dgf_kafka_headers *headers, const struct dgf_record *record,
                  uint64_t number)
{
    bool same_subject = headers->subject_number == number ||
                        dgf_bytes_eq(headers->subject, record->subject);

    if (headers->kind == record->kind && same_subject)
        return true;
    if (!same_subject && headers->subject.len)
        (void)rd_kafka_header_remove(headers->list, "ce_subject");
    if (headers->kind != record->kind) {
        (void)rd_kafka_header_remove(headers->list, "ce_type");
        if (!add_type(headers, record->kind))
            return false;
    }
    return same_subject || add_subject(headers, record->subject);
}

struct dgf_kafka_headers *dgf_kafka_headers_take(struct dgf_kafka_header_pool *pool,
                                                 const struct dgf_record *record,
                                                 uint64_t previous)
{
    bool has_previous = previous != DGF_KAFKA_NONE, ok;
    uint64_t number = subject_number(pool, record->subject);
    struct dgf_kafka_headers *headers = has_previous ? pool->free : NULL;
    char id[DGF_ID_TEXT_LEN + 1];

    if (headers) {
        pool->free = headers->next;
        ok = refit(headers, record, number);
    } else {
        headers = dgf_calloc(1, sizeof(*headers));
        if (!headers)
            return NULL;
        ok = fill_new(headers, pool->source, record, has_previous);
    }
    if (!ok) {
        free_headers(headers);
        return NULL;
    }
    headers->subject_number = number;
    dgf_id_text(&record->id, id);
    memcpy(headers->id, id, DGF_ID_TEXT_LEN);
    memcpy(headers->time, time_text(pool, record->time_ns), TIME_LEN);
    write_digits(headers->sequence, SEQUENCE_LEN, record->seq);
    if (has_previous)
        write_digits(headers->previous, SEQUENCE_LEN, previous);
    return headers;
}

void dgf_kafka_headers_put(struct dgf_kafka_header_pool *pool,
                           struct dgf_kafka_headers *headers)
{
    if (!headers->previous) {
        free_headers(headers); /* once a partition */
        return;
    }
    headers->next = pool->free;
    pool->free = headers;
}
