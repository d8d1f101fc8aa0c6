#include "blob_memory.h"

#include "unit.h"

#define SMALL 4                      /* buckets */
#define FLAGS_AT (1 + 2 + 4 + 5 * 8) /* version, "acct", five numbers before it */

static struct dgf_id id_of(unsigned n)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, "test");
    dgf_id_add_u64(&hash, n);
    return dgf_id_end(&hash);
}

static unsigned get(const struct dgf_blob_seen *seen, unsigned n)
{
    struct dgf_id id = id_of(n);

    return dgf_blob_seen_get(seen, &id);
}

static void put(struct dgf_blob_seen *seen, unsigned n, uint32_t minute, unsigned flags)
{
    struct dgf_id id = id_of(n);

    ck_assert(dgf_blob_seen_put(seen, &id, minute, flags));
}

START_TEST(an_id_is_known_with_the_ways_it_came)
{
    struct dgf_blob_seen seen;

    dgf_blob_seen_init(&seen, SMALL);
    ck_assert_uint_eq(get(&seen, 1), 0);
    put(&seen, 1, 100, DGF_BLOB_BY_QUEUE);
    put(&seen, 2, 100, DGF_BLOB_BY_FEED);
    ck_assert_uint_eq(get(&seen, 1), DGF_BLOB_BY_QUEUE);
    put(&seen, 1, 100, DGF_BLOB_BY_FEED);
    ck_assert_uint_eq(get(&seen, 1), DGF_BLOB_BY_QUEUE | DGF_BLOB_BY_FEED);
    ck_assert_uint_eq(get(&seen, 2), DGF_BLOB_BY_FEED);
    ck_assert_uint_eq(get(&seen, 3), 0);
    dgf_blob_seen_release(&seen);
}
END_TEST

START_TEST(the_oldest_ids_go_when_there_is_no_more_room)
{
    struct dgf_blob_seen seen;
    unsigned n = SMALL * DGF_BLOB_BUCKET;

    dgf_blob_seen_init(&seen, SMALL);
    for (unsigned i = 0; i < n; i++)
        put(&seen, i, 100, DGF_BLOB_BY_QUEUE);
    for (unsigned i = 0; i < n; i++)
        ck_assert_uint_eq(get(&seen, i), DGF_BLOB_BY_QUEUE);
    put(&seen, n, 100, DGF_BLOB_BY_QUEUE); /* one bucket goes */
    for (unsigned i = 0; i <= n; i++)
        ck_assert_uint_eq(get(&seen, i), i < DGF_BLOB_BUCKET ? 0 : DGF_BLOB_BY_QUEUE);
    ck_assert_uint_eq(seen.n, n + 1 - DGF_BLOB_BUCKET);
    ck_assert_uint_eq(seen.first, 1);
    dgf_blob_seen_release(&seen);
}
END_TEST

START_TEST(what_is_older_than_eight_days_is_forgotten)
{
    struct dgf_blob_seen seen;

    dgf_blob_seen_init(&seen, SMALL);
    for (unsigned i = 0; i < 2 * DGF_BLOB_BUCKET; i++)
        put(&seen, i, i < DGF_BLOB_BUCKET ? 1000 : 2000, DGF_BLOB_BY_QUEUE);
    dgf_blob_seen_forget(&seen, 1000 + DGF_BLOB_SEEN_MINUTES);
    ck_assert_uint_eq(get(&seen, 0), DGF_BLOB_BY_QUEUE);
    dgf_blob_seen_forget(&seen, 1001 + DGF_BLOB_SEEN_MINUTES);
    ck_assert_uint_eq(get(&seen, 0), 0);
    ck_assert_uint_eq(get(&seen, DGF_BLOB_BUCKET), DGF_BLOB_BY_QUEUE);
    dgf_blob_seen_release(&seen);
}
END_TEST

START_TEST(what_only_the_queue_had_is_counted_once)
{
    struct dgf_blob_seen seen;

    dgf_blob_seen_init(&seen, SMALL);
    put(&seen, 1, 50, DGF_BLOB_BY_QUEUE); /* before the feed */
    put(&seen, 2, 100, DGF_BLOB_BY_QUEUE);
    put(&seen, 3, 100, DGF_BLOB_BY_QUEUE | DGF_BLOB_BY_FEED);
    put(&seen, 4, 101, DGF_BLOB_BY_FEED);
    put(&seen, 5, 160, DGF_BLOB_BY_QUEUE); /* its hour was not read yet */
    put(&seen, 6, 120, DGF_BLOB_BY_QUEUE);
    ck_assert_uint_eq(dgf_blob_seen_settle(&seen, 60, 120), 2);
    ck_assert_uint_eq(dgf_blob_seen_settle(&seen, 60, 120), 0);
    put(&seen, 7, 110, DGF_BLOB_BY_QUEUE); /* a message that came late */
    ck_assert_uint_eq(dgf_blob_seen_settle(&seen, 60, 180), 2);
    dgf_blob_seen_release(&seen);
}
END_TEST

static void copy_changed(struct dgf_blob_seen *from, struct dgf_blob_seen *to)
{
    struct dgf_buf bytes;
    uint64_t at = 0, number;

    dgf_buf_init(&bytes, 1 << 20);
    while (dgf_blob_seen_changed(from, &at, &number, &bytes)) {
        ck_assert(dgf_blob_seen_load(to, number, dgf_buf_bytes(&bytes)) == DGF_OK);
        dgf_buf_clear(&bytes);
    }
    dgf_buf_release(&bytes);
}

START_TEST(ids_survive_a_restart_and_only_changed_buckets_are_written)
{
    struct dgf_blob_seen seen, back;
    struct dgf_buf bytes;
    uint64_t at = 0, number;

    dgf_blob_seen_init(&seen, SMALL);
    dgf_blob_seen_init(&back, SMALL);
    for (unsigned i = 0; i < 5 * DGF_BLOB_BUCKET; i++) /* the first bucket is gone */
        put(&seen, i, 7, i % 2 ? DGF_BLOB_BY_FEED : DGF_BLOB_BY_QUEUE);
    copy_changed(&seen, &back);
    for (unsigned i = 0; i < 5 * DGF_BLOB_BUCKET; i++)
        ck_assert_uint_eq(get(&back, i), get(&seen, i));
    put(&seen, 3 * DGF_BLOB_BUCKET, 7, DGF_BLOB_BY_FEED);
    dgf_buf_init(&bytes, 1 << 20);
    ck_assert(dgf_blob_seen_changed(&seen, &at, &number, &bytes));
    ck_assert_uint_eq(number, 3);
    ck_assert(!dgf_blob_seen_changed(&seen, &at, &number, &bytes));
    for (size_t len = 0; len < bytes.len; len += 7) { /* cut, or twice, or of another */
        struct dgf_blob_seen other;

        dgf_blob_seen_init(&other, SMALL);
        ck_assert(len % 20 == 9 ||
                  dgf_blob_seen_load(&other, 3, dgf_bytes_of(bytes.ptr, len)) ==
                      DGF_FATAL);
        ck_assert(dgf_blob_seen_load(&other, 4, dgf_buf_bytes(&bytes)) == DGF_FATAL);
        dgf_blob_seen_release(&other);
    }
    dgf_buf_release(&bytes);
    dgf_blob_seen_release(&seen);
    dgf_blob_seen_release(&back);
}
END_TEST

START_TEST(where_we_are_survives_a_restart_and_nothing_else_is_believed)
{
    struct dgf_blob_memory memory = {.account = "acct",
                                     .since_ns = 5,
                                     .first_bucket = 2,
                                     .end_bucket = 9,
                                     .queue_ttl_ns = 7,
                                     .queue_missing = true,
                                     .done_ns = 8,
                                     .segment = "2026/01/10/1000",
                                     .shard = 3,
                                     .chunk = "log/03/2026/01/10/1000/00001.avro",
                                     .offset = 1769,
                                     .index = 6};
    struct dgf_blob_memory back;
    struct dgf_buf bytes, again;

    dgf_buf_init(&bytes, 4096);
    dgf_buf_init(&again, 4096);
    dgf_blob_memory_put(&memory, &bytes);
    ck_assert(dgf_blob_memory_get(dgf_buf_bytes(&bytes), &back) == DGF_OK);
    dgf_blob_memory_put(&back, &again);
    ck_assert(dgf_bytes_eq(dgf_buf_bytes(&bytes), dgf_buf_bytes(&again)));
    ck_assert(back.queue_missing && !back.feed_begun);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert(dgf_blob_memory_get(dgf_bytes_of(bytes.ptr, len), &back) ==
                  DGF_FATAL);
    bytes.ptr[FLAGS_AT] = 4; /* none we know */
    ck_assert(dgf_blob_memory_get(dgf_buf_bytes(&bytes), &back) == DGF_FATAL);
    bytes.ptr[FLAGS_AT] = 3;
    ck_assert(dgf_blob_memory_get(dgf_buf_bytes(&bytes), &back) == DGF_OK);
    ck_assert(back.queue_missing && back.feed_begun);
    bytes.ptr[0] = 9;
    ck_assert(dgf_blob_memory_get(dgf_buf_bytes(&bytes), &back) == DGF_FATAL);
    dgf_buf_clear(&again);
    dgf_blob_position(&memory, &again);
    ck_assert_str_eq(dgf_buf_str(&again), "2026/01/10/1000/03/00001.avro:1769.6");
    dgf_buf_release(&bytes);
    dgf_buf_release(&again);
}
END_TEST

START_TEST(between_two_hours_the_position_is_where_the_next_may_begin)
{
    struct dgf_blob_memory memory = {.done_ns = 0};
    struct dgf_buf text;
    int64_t ns;

    dgf_buf_init(&text, 4096);
    ck_assert(dgf_blob_segment_time("2026/02/28/2310", &memory.done_ns));
    dgf_blob_position(&memory, &text);
    ck_assert_str_eq(dgf_buf_str(&text), "2026/03/01/0010:0.0");
    dgf_buf_clear(&text);
    memory = (struct dgf_blob_memory){.since_ns = 1};
    dgf_blob_position(&memory, &text);
    ck_assert_str_eq(dgf_buf_str(&text), "1970/01/01/0000:0.0");
    dgf_buf_release(&text);
    ck_assert(!dgf_blob_segment_time("2026/13/01/0000", &ns));
    ck_assert(!dgf_blob_segment_time("2026/12/32/0000", &ns));
    ck_assert(!dgf_blob_segment_time("2026/12/31/2400", &ns));
    ck_assert(!dgf_blob_segment_time("1601/01/01/0000", &ns));
    ck_assert(!dgf_blob_segment_time("2026/12/31/00:0", &ns));
}
END_TEST

START_TEST(names_of_hours_are_read_and_others_are_not)
{
    static const char *const none[] = {
        "idx/segments/1601/01/01/0000/meta.json", "idx/segments/2026/01/10/meta.json",
        "idx/segments/2026/01/10/1000/meta.jso",  "log/00/2026/01/10/1000/00000.avro",
        "idx/segments/2026/01/1x/1000/meta.json", ""};
    char name[16];
    int64_t ns;

    ck_assert(dgf_blob_segment_of(DGF_BYTES("idx/segments/2026/01/10/1810/meta.json"),
                                  name, &ns));
    ck_assert_str_eq(name, "2026/01/10/1810");
    ck_assert_int_eq(ns, INT64_C(1768068600000000000));
    dgf_blob_segment_name(ns, name);
    ck_assert_str_eq(name, "2026/01/10/1810");
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        ck_assert(!dgf_blob_segment_of(dgf_bytes_str(none[i]), name, &ns));
}
END_TEST

DGF_UNIT(blob_memory, an_id_is_known_with_the_ways_it_came,
         the_oldest_ids_go_when_there_is_no_more_room,
         what_is_older_than_eight_days_is_forgotten,
         what_only_the_queue_had_is_counted_once,
         ids_survive_a_restart_and_only_changed_buckets_are_written,
         where_we_are_survives_a_restart_and_nothing_else_is_believed,
         between_two_hours_the_position_is_where_the_next_may_begin,
         names_of_hours_are_read_and_others_are_not)
