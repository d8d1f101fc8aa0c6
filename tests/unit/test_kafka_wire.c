#include "sink_kafka.h"

#include <stdio.h>

#include "unit.h"

START_TEST(keys_go_to_the_partition_the_java_client_would_choose)
{
    static const struct {
        const char *key;
        int32_t hash; /* as Kafka's own tests have them */
    } table[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++)
        ck_assert_int_eq((int32_t)dgf_kafka_murmur2(dgf_bytes_str(table[i].key)),
                         table[i].hash);
    ck_assert_int_eq(dgf_kafka_partition(dgf_bytes_str("foobar"), 1000),
                     (int32_t)(((uint32_t)-790332482 & 0x7fffffff) % 1000));
}
END_TEST

START_TEST(our_partitions_are_those_of_librdkafkas_murmur2)
{
    char key[64];

    for (size_t len = 0; len < sizeof(key); len++) {
        for (size_t i = 0; i < len; i++)
            key[i] = (char)(len * 37 + i * 101);
        ck_assert_int_eq(
            dgf_kafka_partition(dgf_bytes_of(key, len), 7919),
            rd_kafka_msg_partitioner_murmur2(NULL, key, len, 7919, NULL, NULL));
    }
}
END_TEST

/* ---- cursor ---- */

static struct dgf_kafka_cursor cursor_of(uint64_t next, uint32_t n)
{
    struct dgf_kafka_cursor cursor = {.next = next};

    ck_assert_int_eq(dgf_kafka_last_grow(&cursor.last[DGF_KAFKA_AUDIT], n), DGF_OK);
    for (uint32_t i = 0; i + 1 < n; i++) /* the last one has none */
        cursor.last[DGF_KAFKA_AUDIT].seq[i] = next - 1 - i * 7;
    return cursor;
}

static void encode(const struct dgf_kafka_cursor *cursor, struct dgf_buf *out)
{
    dgf_buf_init(out, 1 << 20);
    dgf_kafka_cursor_encode(cursor, "00ff", "dgf.test.violations.v1", out);
    ck_assert_int_eq(dgf_buf_rc(out), DGF_OK);
}

START_TEST(a_cursor_comes_back_with_every_partition)
{
    struct dgf_kafka_cursor cursor = cursor_of(5000000000, 300), back = {0};
    struct dgf_buf bytes;

    encode(&cursor, &bytes);
    ck_assert_int_eq(dgf_kafka_cursor_decode(dgf_buf_bytes(&bytes), "00ff",
                                             "dgf.test.violations.v1", &back),
                     DGF_OK);
    ck_assert_uint_eq(back.next, 5000000000);
    ck_assert_uint_eq(back.last[DGF_KAFKA_VIOLATIONS].n, 0);
    ck_assert_uint_eq(back.last[DGF_KAFKA_AUDIT].n, 300);
    ck_assert_mem_eq(back.last[DGF_KAFKA_AUDIT].seq, cursor.last[DGF_KAFKA_AUDIT].seq,
                     300 * sizeof(uint64_t));
    ck_assert_uint_eq(back.last[DGF_KAFKA_AUDIT].seq[299], DGF_KAFKA_NONE);
    dgf_kafka_cursor_release(&cursor);
    dgf_kafka_cursor_release(&back);
    dgf_buf_release(&bytes);
}
END_TEST

START_TEST(a_cursor_of_another_log_is_void)
{
    struct dgf_kafka_cursor cursor = cursor_of(77, 3), back = {.next = 1};
    struct dgf_buf bytes;

    encode(&cursor, &bytes);
    ck_assert_int_eq(dgf_kafka_cursor_decode(dgf_buf_bytes(&bytes), "00fe",
                                             "dgf.test.violations.v1", &back),
                     DGF_OK);
    ck_assert_uint_eq(back.next, 0);
    ck_assert_uint_eq(back.last[DGF_KAFKA_AUDIT].n, 0);
    dgf_kafka_cursor_release(&cursor);
    dgf_buf_release(&bytes);
}
END_TEST

START_TEST(other_topics_go_on_from_the_cursor_without_its_chains)
{
    struct dgf_kafka_cursor cursor = cursor_of(77, 3), back = {.next = 1};
    struct dgf_buf bytes;

    encode(&cursor, &bytes);
    ck_assert_int_eq(dgf_kafka_cursor_decode(dgf_buf_bytes(&bytes), "00ff",
                                             "dgf.prod.violations.v1", &back),
                     DGF_OK);
    ck_assert_uint_eq(back.next, 77);
    ck_assert_uint_eq(back.last[DGF_KAFKA_AUDIT].n, 0);
    dgf_kafka_cursor_release(&cursor);
    dgf_buf_release(&bytes);
}
END_TEST

START_TEST(a_damaged_cursor_is_refused_at_every_length_and_byte)
{
    struct dgf_kafka_cursor cursor = cursor_of(1u << 31, 20), back;
    struct dgf_buf bytes;

    encode(&cursor, &bytes);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert_int_eq(dgf_kafka_cursor_decode(dgf_bytes_of(bytes.ptr, len), "00ff",
                                                 "dgf.test.violations.v1", &back),
                         DGF_BAD_DATA);
    dgf_buf_add_byte(&bytes, 0);
    ck_assert_int_eq(dgf_kafka_cursor_decode(dgf_buf_bytes(&bytes), "00ff",
                                             "dgf.test.violations.v1", &back),
                     DGF_BAD_DATA);
    bytes.len--;
    for (size_t at = 0; at < bytes.len; at++) { /* any answer, no harm */
        bytes.ptr[at] ^= 0xff;
        back = (struct dgf_kafka_cursor){0};
        if (dgf_kafka_cursor_decode(dgf_buf_bytes(&bytes), "00ff",
                                    "dgf.test.violations.v1", &back) == DGF_OK)
            dgf_kafka_cursor_release(&back);
        bytes.ptr[at] ^= 0xff;
    }
    dgf_kafka_cursor_release(&cursor);
    dgf_buf_release(&bytes);
}
END_TEST

/* ---- headers ---- */

static struct dgf_kafka_header_pool pool;

static struct dgf_record record_of(uint64_t seq, enum dgf_record_kind kind,
                                   const char *subject, int64_t time_ns)
{
    struct dgf_record record = {.seq = seq,
                                .kind = kind,
                                .time_ns = time_ns,
                                .subject = dgf_bytes_str(subject)};

    memset(record.id.b, (int)seq, sizeof(record.id.b));
    return record;
}

/* "name=value\n" of all headers, sorted by nothing: as they are sent. */
static const char *text_of(const struct dgf_kafka_headers *headers)
{
    static char text[2048];
    const char *name;
    const void *value;
    size_t len, at = 0;

    text[0] = '\0';
    for (size_t i = 0;
         rd_kafka_header_get_all(headers->list, i, &name, &value, &len) == 0; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s=%.*s\n", name,
                               (int)len, (const char *)value);
    return text;
}

START_TEST(the_first_record_of_a_partition_has_no_previous)
{
    struct dgf_record record =
        record_of(7, DGF_RECORD_VIOLATION, "shop.order_notes", 1772441999998000000);
    struct dgf_kafka_headers *headers;

    ck_assert_int_eq(dgf_kafka_header_pool_init(&pool, "orders-sidecar"), DGF_OK);
    headers = dgf_kafka_headers_take(&pool, &record, DGF_KAFKA_NONE);
    ck_assert_str_eq(text_of(headers), "content-type=application/json\n"
                                       "ce_specversion=1.0\n"
                                       "ce_id=070w3ge1r70w3ge1r70w3ge1r7\n"
                                       "ce_source=dgf/orders-sidecar\n"
                                       "ce_time=2026-03-02T08:59:59.998000000Z\n"
                                       "ce_sequence=00000000000000000007\n"
                                       "ce_type=dgf.violation.v1\n"
                                       "ce_subject=shop.order_notes\n");
    dgf_kafka_headers_put(&pool, headers);
    ck_assert_ptr_null(pool.free);
    dgf_kafka_header_pool_release(&pool);
}
END_TEST

START_TEST(headers_that_came_back_say_only_what_the_next_record_is)
{
    struct dgf_record first = record_of(8, DGF_RECORD_AUDIT, "shop.orders", 0);
    struct dgf_record second = record_of(9, DGF_RECORD_AUDIT, "shop.orders", -1);
    struct dgf_record third = record_of(10, DGF_RECORD_COVERAGE, "", 86400000000001);
    struct dgf_record fourth = record_of(11, DGF_RECORD_AUDIT, "a", 86400000000002);
    struct dgf_kafka_headers *headers, *again;

    ck_assert_int_eq(dgf_kafka_header_pool_init(&pool, "a"), DGF_OK);
    headers = dgf_kafka_headers_take(&pool, &first, 3);
    dgf_kafka_headers_put(&pool, headers);
    again = dgf_kafka_headers_take(&pool, &second, 18446744073709551614u);
    ck_assert_ptr_eq(again, headers);
    ck_assert_str_eq(text_of(again), "content-type=application/json\n"
                                     "ce_specversion=1.0\n"
                                     "ce_id=09144gj289144gj289144gj289\n"
                                     "ce_source=dgf/a\n"
                                     "ce_time=1969-12-31T23:59:59.999999999Z\n"
                                     "ce_sequence=00000000000000000009\n"
                                     "ce_previous=18446744073709551614\n"
                                     "ce_type=dgf.audit.v1\n"
                                     "ce_subject=shop.orders\n");
    dgf_kafka_headers_put(&pool, again);
    again = dgf_kafka_headers_take(&pool, &third, 9);
    ck_assert_ptr_eq(again, headers);
    ck_assert_str_eq(text_of(again), "content-type=application/json\n"
                                     "ce_specversion=1.0\n"
                                     "ce_id=0a1850m2ga1850m2ga1850m2ga\n"
                                     "ce_source=dgf/a\n"
                                     "ce_time=1970-01-02T00:00:00.000000001Z\n"
                                     "ce_sequence=00000000000000000010\n"
                                     "ce_previous=00000000000000000009\n"
                                     "ce_type=dgf.coverage.v1\n");
    dgf_kafka_headers_put(&pool, again);
    again = dgf_kafka_headers_take(&pool, &fourth, 10);
    ck_assert_ptr_nonnull(
        strstr(text_of(again), "ce_type=dgf.audit.v1\nce_subject=a\n"));
    dgf_kafka_headers_put(&pool, again);
    dgf_kafka_header_pool_release(&pool);
}
END_TEST

DGF_UNIT(kafka_wire, keys_go_to_the_partition_the_java_client_would_choose,
         our_partitions_are_those_of_librdkafkas_murmur2,
         a_cursor_comes_back_with_every_partition, a_cursor_of_another_log_is_void,
         other_topics_go_on_from_the_cursor_without_its_chains,
         a_damaged_cursor_is_refused_at_every_length_and_byte,
         the_first_record_of_a_partition_has_no_previous,
         headers_that_came_back_say_only_what_the_next_record_is)
