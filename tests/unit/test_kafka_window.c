#include "sink_kafka.h"

#include "unit.h"

static struct dgf_kafka_window window;
static struct dgf_kafka_cursor cursor;

static void begin(size_t max_bytes)
{
    ck_assert_int_eq(dgf_kafka_window_init(&window, max_bytes), DGF_OK);
    for (int i = 0; i < DGF_KAFKA_N; i++)
        ck_assert_int_eq(dgf_kafka_last_grow(&cursor.last[i], 4), DGF_OK);
}

static void end(void)
{
    dgf_kafka_window_release(&window);
    dgf_kafka_cursor_release(&cursor);
}

static const uint8_t *push(uint64_t seq, int topic, uint32_t partition, bool more,
                           struct dgf_bytes line)
{
    const uint8_t *kept = dgf_kafka_window_keep(&window, line);

    ck_assert_ptr_nonnull(kept);
    *dgf_kafka_window_next(&window) = (struct dgf_kafka_slot){
        .seq = seq, .topic = (uint8_t)topic, .partition = partition, .more = more};
    dgf_kafka_window_push(&window, line.len);
    return kept;
}

static void deliver(uint64_t slot)
{
    dgf_kafka_window_slot(&window, slot)->delivered = true;
    window.in_flight--;
    dgf_kafka_window_advance(&window, &cursor);
}

START_TEST(the_head_waits_for_the_oldest_record)
{
    begin(1 << 20);
    for (uint64_t i = 0; i < 3; i++)
        push(10 + i, DGF_KAFKA_AUDIT, 1, false, DGF_BYTES("line"));
    deliver(2);
    deliver(1);
    ck_assert_uint_eq(window.head, 0);
    ck_assert_uint_eq(cursor.last[DGF_KAFKA_AUDIT].seq[1], DGF_KAFKA_NONE);
    deliver(0);
    ck_assert_uint_eq(window.head, 3);
    ck_assert_uint_eq(window.bytes, 0);
    ck_assert_uint_eq(cursor.last[DGF_KAFKA_AUDIT].seq[1], 12);
    end();
}
END_TEST

START_TEST(a_record_for_two_topics_is_delivered_when_both_have_it)
{
    begin(1 << 20);
    push(5, DGF_KAFKA_VIOLATIONS, 0, true, DGF_BYTES("gap"));
    deliver(0);
    ck_assert_uint_eq(window.head, 0); /* its other half was not even sent */
    push(5, DGF_KAFKA_AUDIT, 2, false, DGF_BYTES("gap"));
    dgf_kafka_window_advance(&window, &cursor);
    ck_assert_uint_eq(window.head, 0);
    ck_assert_uint_eq(cursor.last[DGF_KAFKA_VIOLATIONS].seq[0], DGF_KAFKA_NONE);
    deliver(1);
    ck_assert_uint_eq(window.head, 2);
    ck_assert_uint_eq(cursor.last[DGF_KAFKA_VIOLATIONS].seq[0], 5);
    ck_assert_uint_eq(cursor.last[DGF_KAFKA_AUDIT].seq[2], 5);
    end();
}
END_TEST

START_TEST(lines_stay_where_they_are_until_their_slot_is_gone)
{
    static uint8_t line[60000];
    const uint8_t *kept[40];

    begin(64u << 20);
    for (size_t i = 0; i < 40; i++) {
        memset(line, (int)i, sizeof(line));
        kept[i] = push(i, DGF_KAFKA_AUDIT, 0, false, dgf_bytes_of(line, sizeof(line)));
    }
    for (size_t i = 0; i < 40; i++) {
        for (size_t j = i; j < 40; j++) {
            ck_assert_int_eq(kept[j][0], (int)j);
            ck_assert_int_eq(kept[j][sizeof(line) - 1], (int)j);
        }
        deliver(i);
    }
    ck_assert_ptr_null(window.oldest);
    end();
}
END_TEST

START_TEST(a_full_window_takes_nothing_but_an_empty_one_takes_anything)
{
    static uint8_t line[65535];
    uint64_t n = 0;

    begin(1 << 20);
    ck_assert(dgf_kafka_window_room(&window, 2, 100u << 20));
    while (dgf_kafka_window_room(&window, 2, sizeof(line)))
        push(n++, DGF_KAFKA_AUDIT, 0, false, dgf_bytes_of(line, sizeof(line)));
    ck_assert_uint_ge(n, 10);
    ck_assert_uint_le(window.bytes, 1 << 20);
    ck_assert(!dgf_kafka_window_roomy(&window));
    for (uint64_t i = 0; i < n; i++)
        deliver(i);
    ck_assert(dgf_kafka_window_roomy(&window));
    end();
}
END_TEST

START_TEST(small_records_are_limited_by_their_number)
{
    uint64_t n = 0;

    begin(1 << 20);
    while (dgf_kafka_window_room(&window, 1, 0))
        push(n++, DGF_KAFKA_AUDIT, 0, false, DGF_BYTES(""));
    ck_assert_uint_le(n, window.mask + 1);
    ck_assert_uint_ge(n, 500);
    end();
}
END_TEST

START_TEST(a_line_that_was_not_accepted_leaves_no_trace)
{
    const uint8_t *first, *second;

    begin(1 << 20);
    first = dgf_kafka_window_keep(&window, DGF_BYTES("refused"));
    dgf_kafka_window_unkeep(&window, 7);
    second = push(0, DGF_KAFKA_AUDIT, 0, false, DGF_BYTES("taken"));
    ck_assert_ptr_eq(first, second);
    end();
}
END_TEST

DGF_UNIT(kafka_window, the_head_waits_for_the_oldest_record,
         a_record_for_two_topics_is_delivered_when_both_have_it,
         lines_stay_where_they_are_until_their_slot_is_gone,
         a_full_window_takes_nothing_but_an_empty_one_takes_anything,
         small_records_are_limited_by_their_number,
         a_line_that_was_not_accepted_leaves_no_trace)
