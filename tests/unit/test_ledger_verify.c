#include "ledger_fixture.h"

#include "ledger/frame.h"
#include "ledger/verify.h"

static struct dgf_verification verdict;

static void verify(void)
{
    ck_assert_msg(dgf_ledger_verify(dir, &verdict, &err) == DGF_OK, "%s", err.text);
}

static void expect_tampered(const char *class, uint64_t index, const char *text)
{
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_TAMPERED);
    ck_assert_str_eq(verdict.text, text);
    ck_assert_str_eq(verdict.class, class);
    ck_assert_uint_eq(verdict.index, index);
}

/* Every kind of frame in three batches, the last with all of them. */
static void small_journal(void)
{
    uint8_t digest[DGF_SHA256_LEN] = {1};

    fresh();
    append_batch("{\"v\":1,\"seq\":0,\"a\":1}");
    append_batch("{\"v\":1,\"seq\":1,\"a\":2}");
    leaf("{\"v\":1,\"seq\":2,\"a\":3}");
    state("key", "value");
    ck_assert_int_eq(dgf_batch_cursor(batch(), DGF_BYTES("kafka"), DGF_BYTES("3")),
                     DGF_OK);
    ck_assert_int_eq(dgf_batch_cut(batch(), 2), DGF_OK);
    dgf_batch_policy_set(batch(), digest);
    position("pg", "0/3", 3);
    leaf("not json");
    commit();
}

START_TEST(a_journal_that_is_whole_is_ok)
{
    struct dgf_ledger_summary summary;

    small_journal();
    verify(); /* beside the ledger, without its lock */
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_OK);
    ck_assert_uint_eq(verdict.size, 4);
    ck_assert_uint_eq(verdict.first, 0);
    ck_assert_uint_eq(verdict.batches, 3);
    ck_assert_uint_eq(verdict.unfinished, 0);
    ck_assert_int_eq(dgf_ledger_summarize(dir, &summary, &err), DGF_OK);
    ck_assert_mem_eq(summary.root, verdict.root, sizeof(summary.root));
    ck_assert_uint_eq(summary.size, 4);
    ck_assert_uint_eq(summary.batches, 3);
    ck_assert_uint_eq(summary.bytes, dgf_ledger_bytes(ledger));
    ck_assert_str_eq(summary.log_id, dgf_ledger_log_id_text(ledger));
    ck_assert_uint_eq(summary.marks.n_positions, 1);
    ck_assert(dgf_bytes_eq(summary.marks.positions[0].text, DGF_BYTES("0/3")));
    dgf_ledger_summary_release(&summary);
    done();
}
END_TEST

START_TEST(a_new_journal_is_ok_and_has_the_root_of_nothing)
{
    uint8_t root[DGF_SHA256_LEN];

    fresh();
    verify();
    dgf_sha256(dgf_bytes_of("", 0), root);
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_OK);
    ck_assert_uint_eq(verdict.size, 0);
    ck_assert_mem_eq(verdict.root, root, sizeof(root));
    done();
}
END_TEST

START_TEST(every_bit_that_is_flipped_is_found)
{
    uint64_t size, found[8] = {0};

    small_journal();
    size = dgf_ledger_bytes(ledger);
    close_ledger();
    for (uint64_t byte = 0; byte < size; byte++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            flip_bit(0, byte, bit);
            verify();
            ck_assert_msg(verdict.result == DGF_VERIFIED_TAMPERED,
                          "bit %u of byte %d of %d was not noticed", bit, (int)byte,
                          (int)size);
            found[strcmp(verdict.class, "leaf") == 0      ? 0
                  : strcmp(verdict.class, "root") == 0    ? 1
                  : strcmp(verdict.class, "segment") == 0 ? 2
                                                          : 3]++;
            flip_bit(0, byte, bit);
        }
    }
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_OK);
    ck_assert(found[0] > 800 && found[1] > 3000 && found[2] > 1000);
    ck_assert_uint_eq(found[3], 0);
    done();
}
END_TEST

START_TEST(every_bit_is_found_in_every_segment)
{
    uint64_t first = 0, size;

    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 25; i++) {
        leaf("a longer line, so that the segments hold fewer frames");
        append_batch("another");
    }
    close_ledger();
    for (; first < 50; first++) {
        if (access(segment_path(first), F_OK))
            continue;
        size = segment_size(first);
        for (uint64_t byte = 0; byte < size; byte += 3) {
            unsigned bit = (unsigned)(byte * 5 % 8);

            flip_bit(first, byte, bit);
            verify();
            ck_assert_msg(verdict.result == DGF_VERIFIED_TAMPERED,
                          "bit %u of byte %d of segment %d", bit, (int)byte,
                          (int)first);
            ck_assert(verdict.index >= first);
            flip_bit(first, byte, bit);
        }
    }
    done();
}
END_TEST

START_TEST(an_unfinished_batch_is_measured_and_not_judged)
{
    uint64_t one, two;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    leaf("two");
    state("key", "value");
    append_batch("three");
    two = dgf_ledger_bytes(ledger);
    close_ledger();
    for (uint64_t size = two - 1; size > one; size--) {
        cut_file_to(0, size);
        verify();
        ck_assert_msg(verdict.result == DGF_VERIFIED_OK, "%d of %d to %d: %s",
                      (int)size, (int)one, (int)two, verdict.text);
        ck_assert_uint_eq(verdict.size, 1);
        ck_assert_uint_le(verdict.unfinished, size - one);
    }
    done();
}
END_TEST

START_TEST(the_first_bad_index_and_its_class_are_named)
{
    uint64_t zero, leaf_len;
    char text[300];

    fresh();
    zero = dgf_ledger_bytes(ledger);
    leaf_len = 9 + 2 + 4 + 22;
    leaf("{\"v\":1,\"seq\":0,\"a\":11}");
    leaf("{\"v\":1,\"seq\":1,\"a\":11}");
    leaf("{\"v\":1,\"seq\":2,\"a\":11}");
    commit();
    close_ledger();
    flip_bit(0, zero + leaf_len + 20, 0);
    (void)snprintf(text, sizeof(text),
                   "journal segment '0.j' is damaged at byte %" PRIu64
                   " (index 1): a frame fails its checksum",
                   zero + leaf_len);
    expect_tampered("leaf", 1, text);
    flip_bit(0, zero + leaf_len + 20, 0);
    flip_bit(0, zero + 3 * leaf_len + 60, 0); /* COMMIT covers all three */
    (void)snprintf(text, sizeof(text),
                   "journal segment '0.j' is damaged at byte %" PRIu64
                   " (index 0): a frame fails its checksum",
                   zero + 3 * leaf_len);
    expect_tampered("root", 0, text);
    done();
}
END_TEST

START_TEST(a_record_with_another_index_than_its_own_is_found)
{
    char text[300];
    uint64_t zero;

    fresh();
    zero = dgf_ledger_bytes(ledger);
    append_batch("{\"v\":1,\"seq\":1,\"a\":11}");
    (void)snprintf(text, sizeof(text),
                   "journal segment '0.j' is damaged at byte %" PRIu64
                   " (index 0): a record says it has another index",
                   zero);
    expect_tampered("seq", 0, text);
    done();
}
END_TEST

static uint64_t next_segment(uint64_t first)
{
    do
        first++;
    while (access(segment_path(first), F_OK) != 0);
    return first;
}

static void many_segments(void)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 100; i++)
        append_batch("a line that fills the segment until a new one begins ........");
}

START_TEST(missing_segments_are_named_and_make_it_incomplete)
{
    char text[200];
    uint64_t second, third;

    many_segments();
    close_ledger();
    second = next_segment(0);
    third = next_segment(second);
    ck_assert_int_eq(unlink(segment_path(second)), 0);
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_INCOMPLETE);
    ck_assert_str_eq(verdict.class, "missing");
    ck_assert_uint_eq(verdict.index, second);
    (void)snprintf(text, sizeof(text),
                   "journal segments from index %" PRIu64 " to %" PRIu64 " are missing",
                   second, third - 1);
    ck_assert_str_eq(verdict.text, text);
    ck_assert_uint_eq(verdict.size, 100);
    flip_bit(third, 300, 2); /* as soon as anything contradicts, it is tampered */
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_TAMPERED);
    done();
}
END_TEST

START_TEST(a_pruned_journal_is_verified_from_its_first_segment)
{
    uint64_t before;

    many_segments();
    dgf_ledger_release(ledger, 100);
    ck_assert_int_eq(dgf_ledger_poll(ledger, &news, &err), DGF_OK);
    before = news.prune_before;
    ck_assert_int_eq(dgf_batch_prune(batch(), before), DGF_OK);
    commit();
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_OK);
    ck_assert_uint_eq(verdict.first, before);
    ck_assert_uint_eq(verdict.size, 100);
    done();
}
END_TEST

START_TEST(a_segment_that_is_cut_or_grows_or_is_swapped_is_found)
{
    char text[300], moved[128];
    uint64_t second, third, size;

    many_segments();
    close_ledger();
    second = next_segment(0);
    third = next_segment(second);
    size = segment_size(second);
    grow_file(second, "x", 1);
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_TAMPERED);
    cut_file_to(second, size);
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_OK);
    grow_file(second, "\0\0\0", 3);
    (void)snprintf(text, sizeof(text),
                   "journal segment '%" PRIu64 ".j': more follows its last batch",
                   second);
    expect_tampered("segment", second, text);
    cut_file_to(second, size - 1);
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_TAMPERED);
    cut_file_to(second, segment_size(second) - 200);
    verify();
    ck_assert_int_eq(verdict.result, DGF_VERIFIED_TAMPERED);
    memcpy(moved, segment_path(third), sizeof(moved));
    ck_assert_int_eq(rename(moved, segment_path(second)), 0);
    (void)snprintf(text, sizeof(text),
                   "journal segment '%s/journal/%" PRIu64
                   ".j': begins at index %" PRIu64 ", as its head frame says",
                   dir, second, third);
    expect_tampered("segment", second, text);
    done();
}
END_TEST

START_TEST(a_directory_without_a_journal_cannot_be_verified)
{
    ck_assert_int_eq(dgf_ledger_verify("/nowhere", &verdict, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "no journal in '/nowhere'");
}
END_TEST

DGF_UNIT(ledger_verify, a_journal_that_is_whole_is_ok,
         a_new_journal_is_ok_and_has_the_root_of_nothing,
         every_bit_that_is_flipped_is_found, every_bit_is_found_in_every_segment,
         an_unfinished_batch_is_measured_and_not_judged,
         the_first_bad_index_and_its_class_are_named,
         a_record_with_another_index_than_its_own_is_found,
         missing_segments_are_named_and_make_it_incomplete,
         a_pruned_journal_is_verified_from_its_first_segment,
         a_segment_that_is_cut_or_grows_or_is_swapped_is_found,
         a_directory_without_a_journal_cannot_be_verified)
