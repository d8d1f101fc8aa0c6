#include "ledger_fixture.h"

static struct dgf_ledger_reader *reader;
static struct dgf_leaf got;

static void open_live(uint64_t from)
{
    dgf_ledger_reader_free(reader);
    reader = NULL;
    ck_assert_msg(dgf_ledger_reader_open(ledger, from, &reader, &err) == DGF_OK, "%s",
                  err.text);
}

static void open_cold(uint64_t from)
{
    dgf_ledger_reader_free(reader);
    reader = NULL;
    ck_assert_msg(dgf_ledger_reader_open_cold(dir, from, &reader, &err) == DGF_OK, "%s",
                  err.text);
}

static void close_reader(void)
{
    dgf_ledger_reader_free(reader);
    reader = NULL;
}

static void expect(uint64_t index, const char *line)
{
    ck_assert_msg(dgf_ledger_reader_next(reader, &got, &err) == DGF_OK, "%s", err.text);
    ck_assert_uint_eq(got.index, index);
    ck_assert(dgf_bytes_eq(got.line, dgf_bytes_str(line)));
    ck_assert(dgf_bytes_eq(got.header, DGF_BYTES("head")));
}

static void expect_end(void)
{
    ck_assert_int_eq(dgf_ledger_reader_next(reader, &got, &err), DGF_AGAIN);
}

static const char *line_of(uint64_t i)
{
    static char line[200];

    (void)snprintf(line, sizeof(line),
                   "line %d of some length, so that a segment is soon full", (int)i);
    return line;
}

START_TEST(a_live_reader_sees_a_batch_once_it_is_durable)
{
    fresh();
    open_live(0);
    expect_end();
    leaf("one");
    expect_end();
    ck_assert_int_eq(dgf_ledger_hand_over(ledger, &err), DGF_OK);
    expect_end();
    ck_assert_int_eq(dgf_ledger_step(ledger, &err), DGF_OK);
    expect_end(); /* on disk, but nobody was told yet */
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    expect(0, "one");
    expect_end();
    append_batch("two");
    expect(1, "two");
    expect_end();
    close_reader();
    done();
}
END_TEST

START_TEST(a_reader_starts_at_any_index_and_crosses_segments)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (uint64_t i = 0; i < 150; i++) {
        leaf(line_of(i));
        if (i % 3 == 2) {
            state("key", "value");
            commit();
        }
    }
    ck_assert_uint_gt(dgf_ledger_bytes(ledger), 3 * 4096);
    for (int cold = 0; cold < 2; cold++) {
        for (uint64_t from = 0; from <= 150; from++) {
            cold ? open_cold(from) : open_live(from);
            ck_assert_uint_eq(dgf_ledger_reader_index(reader), from);
            for (uint64_t i = from; i < 150; i++)
                expect(i, line_of(i));
            expect_end();
        }
    }
    close_reader();
    done();
}
END_TEST

START_TEST(readers_follow_a_ledger_that_grows_and_rotates)
{
    struct dgf_ledger_reader *cold;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    append_batch(line_of(0));
    open_live(0);
    ck_assert_int_eq(dgf_ledger_reader_open_cold(dir, 0, &cold, &err), DGF_OK);
    for (uint64_t i = 0; i < 300; i++) {
        expect(i, line_of(i));
        ck_assert_msg(dgf_ledger_reader_next(cold, &got, &err) == DGF_OK, "%s",
                      err.text);
        ck_assert_uint_eq(got.index, i);
        if (i % 7 == 0) {
            expect_end();
            ck_assert_int_eq(dgf_ledger_reader_next(cold, &got, &err), DGF_AGAIN);
        }
        append_batch(line_of(i + 1));
    }
    dgf_ledger_reader_free(cold);
    close_reader();
    done();
}
END_TEST

START_TEST(a_reader_may_wait_for_an_index_that_is_not_written_yet)
{
    fresh();
    append_batch("zero");
    open_live(2);
    expect_end();
    append_batch("one");
    expect_end();
    append_batch("two");
    expect(2, "two");
    close_reader();
    done();
}
END_TEST

START_TEST(a_cold_reader_gives_only_whole_batches)
{
    uint64_t one;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    leaf("two");
    leaf("three");
    commit();
    close_ledger();
    cut_file_to(0, one + 40); /* "two" is there as a whole */
    open_cold(0);
    expect(0, "one");
    expect_end();
    close_reader();
    done();
}
END_TEST

START_TEST(a_cold_reader_sees_damage)
{
    uint64_t zero;
    char expected[200];

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    zero = dgf_ledger_bytes(ledger);
    for (uint64_t i = 0; i < 100; i++)
        append_batch(line_of(i));
    close_ledger();
    flip_bit(0, zero + 20, 1);
    (void)snprintf(expected, sizeof(expected),
                   "journal segment '0.j' is damaged at byte %" PRIu64
                   " (index 0): a frame fails its checksum",
                   zero);
    open_cold(0);
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(dgf_ledger_reader_next(reader, &got, &err), DGF_BAD_DATA);
        ck_assert_str_eq(err.text, expected);
    }
    close_reader();
    done();
}
END_TEST

START_TEST(a_pruned_index_is_named_and_the_rest_is_readable)
{
    char expected[200];
    uint64_t before, first;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (uint64_t i = 0; i < 100; i++)
        append_batch(line_of(i));
    dgf_ledger_release(ledger, 60);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    before = news.prune_before;
    ck_assert_int_eq(dgf_batch_prune(batch(), before), DGF_OK);
    commit();
    (void)snprintf(expected, sizeof(expected),
                   "index 3 was pruned: the journal in '%s' begins at %" PRIu64, dir,
                   before);
    ck_assert_int_eq(dgf_ledger_reader_open(ledger, 3, &reader, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, expected);
    ck_assert_int_eq(dgf_ledger_reader_open_cold(dir, 3, &reader, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, expected);
    ck_assert_int_eq(dgf_ledger_first_kept(dir, &first, &err), DGF_OK);
    ck_assert_uint_eq(first, before);
    open_cold(before);
    for (uint64_t i = before; i < 100; i++)
        expect(i, line_of(i));
    close_reader();
    done();
}
END_TEST

START_TEST(a_directory_without_a_journal_is_named)
{
    ck_assert_int_eq(dgf_ledger_reader_open_cold("/nowhere", 0, &reader, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "no journal in '/nowhere'");
}
END_TEST

START_TEST(a_journal_that_we_may_not_read_is_not_a_missing_one)
{
    char text[160];
    uint64_t first;
    bool root = geteuid() == 0;

    fresh();
    reopen();
    (void)snprintf(text, sizeof(text), "cannot list '%s/journal': Permission denied",
                   dir);
    ck_assert_int_eq(chmod(dir, root ? 0700 : 0), 0);
    ck_assert_int_eq(root ? seteuid(65534) : 0, 0);
    ck_assert_int_ne(dgf_ledger_first_kept(dir, &first, &err), DGF_OK);
    ck_assert_int_eq(root ? seteuid(0) : 0, 0);
    ck_assert_int_eq(chmod(dir, 0700), 0);
    ck_assert_str_eq(err.text, text);
    done();
}
END_TEST

START_TEST(the_journal_itself_is_not_taken_for_the_data_dir)
{
    char inside[96], text[256];
    uint64_t first;

    fresh();
    reopen();
    (void)snprintf(inside, sizeof(inside), "%s/journal", dir);
    (void)snprintf(text, sizeof(text),
                   "no journal in '%s': it is the journal itself; name the data_dir, "
                   "the folder around it",
                   inside);
    ck_assert_int_eq(dgf_ledger_first_kept(inside, &first, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, text);
    done();
}
END_TEST

START_TEST(leaves_and_state_larger_than_the_window_are_read)
{
    static uint8_t value[DGF_LEDGER_VALUE_MAX], line[DGF_LEDGER_LINE_MAX];

    memset(line, 'x', sizeof(line));
    fresh();
    conf.segment_bytes = 64 << 20;
    reopen();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(dgf_batch_state(batch(), DGF_BYTES("k"),
                                         dgf_bytes_of(value, sizeof(value))),
                         DGF_OK);
        for (int k = 0; k < 10; k++)
            ck_assert_int_eq(dgf_batch_leaf(batch(), DGF_BYTES("h"),
                                            dgf_bytes_of(line, sizeof(line)), NULL),
                             DGF_OK);
        commit();
    }
    open_live(0);
    for (uint64_t i = 0; i < 30; i++) {
        ck_assert_int_eq(dgf_ledger_reader_next(reader, &got, &err), DGF_OK);
        ck_assert(dgf_bytes_eq(got.line, dgf_bytes_of(line, sizeof(line))));
    }
    expect_end();
    close_reader();
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 30);
    done();
}
END_TEST

START_TEST(a_leaf_that_was_given_back_comes_again)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (uint64_t i = 0; i < 100; i++)
        append_batch(line_of(i));
    for (int cold = 0; cold < 2; cold++) {
        cold ? open_cold(3) : open_live(3);
        for (uint64_t i = 3; i < 100; i++) { /* each is the last of its limit once */
            expect(i, line_of(i));
            for (int again = 0; again < 2; again++) {
                dgf_ledger_reader_back(reader);
                ck_assert_uint_eq(dgf_ledger_reader_index(reader), i);
                expect(i, line_of(i));
            }
        }
        expect_end();
        close_reader();
    }
    done();
}
END_TEST

DGF_UNIT(ledger_reader, a_live_reader_sees_a_batch_once_it_is_durable,
         a_reader_starts_at_any_index_and_crosses_segments,
         readers_follow_a_ledger_that_grows_and_rotates,
         a_reader_may_wait_for_an_index_that_is_not_written_yet,
         a_cold_reader_gives_only_whole_batches, a_cold_reader_sees_damage,
         a_pruned_index_is_named_and_the_rest_is_readable,
         a_directory_without_a_journal_is_named,
         a_journal_that_we_may_not_read_is_not_a_missing_one,
         the_journal_itself_is_not_taken_for_the_data_dir,
         a_leaf_that_was_given_back_comes_again,
         leaves_and_state_larger_than_the_window_are_read)
