#include "ledger_fixture.h"

#include <stdarg.h>

#include "ledger/frame.h"

/* Opens what is there and expects the refusal to have exactly this text; the
 * files must stay as they were. */
static void refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void refuse(const char *fmt, ...)
{
    char expected[512];
    uint64_t size = segment_size(0);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(expected, sizeof(expected), fmt, ap);
    va_end(ap);
    ck_assert_int_eq(try_open(), DGF_FATAL);
    ck_assert_str_eq(err.text, expected);
    ck_assert_ptr_null(ledger);
    ck_assert_uint_eq(segment_size(0), size);
}

/* state.db knows which batches were durable; without it a cut looks torn. */
static void forget_state(void)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/state.db", dir);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_batch_without_its_commit_frame_never_happened)
{
    uint64_t one;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    state("key", "value");
    append_batch("two");
    close_ledger();
    forget_state();
    cut_file_to(0, one + 17);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    ck_assert_ptr_null(state_of("key"));
    ck_assert_uint_eq(cut.bytes, 17);
    ck_assert_uint_eq(cut.offset, one);
    ck_assert_uint_eq(cut.segment, 0);
    ck_assert_uint_eq(segment_size(0), one);
    append_batch("two again");
    reopen();
    ck_assert_uint_eq(cut.bytes, 0);
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 2);
    done();
}
END_TEST

START_TEST(wherever_the_file_ends_what_is_left_is_a_prefix_of_history)
{
    uint64_t sizes[5], end;

    fresh();
    sizes[0] = dgf_ledger_bytes(ledger);
    for (int i = 1; i < 5; i++) {
        leaf("a leaf");
        position("pg", "0/1", (uint64_t)i);
        commit();
        sizes[i] = dgf_ledger_bytes(ledger);
    }
    close_ledger();
    end = sizes[4];
    for (uint64_t size = end; size-- > sizes[0];) {
        uint64_t n = 0;

        forget_state();
        cut_file_to(0, size);
        while (n < 4 && sizes[n + 1] <= size)
            n++;
        reopen();
        ck_assert_uint_eq(dgf_ledger_next_index(ledger), n);
        ck_assert_uint_eq(cut.bytes, size - sizes[n]);
        if (n > 0)
            ck_assert_uint_eq(dgf_ledger_position(ledger, 0)->seq, n);
        close_ledger();
        if (size > sizes[n]) /* recovery cut the file: go on from there */
            size = sizes[n] > sizes[0] ? sizes[n] : sizes[0];
    }
    done();
}
END_TEST

START_TEST(every_cut_length_of_the_last_batch_is_reported)
{
    uint8_t bytes[2000];
    uint64_t one, two;
    FILE *f;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    append_batch("two");
    two = dgf_ledger_bytes(ledger);
    close_ledger();
    f = fopen(segment_path(0), "rb");
    ck_assert_uint_eq(fread(bytes, 1, sizeof(bytes), f), two);
    ck_assert_int_eq(fclose(f), 0);
    for (uint64_t size = one; size < two; size++) {
        uint64_t last = size;

        cut_file_to(0, one);
        grow_file(0, bytes + one, size - one);
        while (last > one && bytes[last - 1] == 0)
            last--;
        reopen();
        ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
        ck_assert_uint_eq(cut.bytes, last - one);
        close_ledger();
    }
    done();
}
END_TEST

START_TEST(space_that_was_reserved_and_reads_as_zeros_is_not_damage)
{
    static const uint8_t zeros[70000];
    uint64_t one;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    close_ledger();
    grow_file(0, zeros, sizeof(zeros));
    reopen();
    ck_assert_uint_eq(cut.bytes, 0);
    ck_assert_uint_eq(segment_size(0), one);
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    done();
}
END_TEST

START_TEST(a_torn_last_batch_is_cut_even_when_its_commit_reached_the_disk)
{
    uint64_t one;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    append_batch("two");
    close_ledger();
    flip_bit(0, one + 12, 3);
    reopen();
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    ck_assert_uint_gt(cut.bytes, 100);
    done();
}
END_TEST

START_TEST(damage_before_the_last_batch_is_refused)
{
    uint64_t zero, one, two;

    fresh();
    zero = dgf_ledger_bytes(ledger);
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    append_batch("two");
    two = dgf_ledger_bytes(ledger);
    append_batch("three");
    close_ledger();
    flip_bit(0, zero + 12, 0);
    refuse("journal segment '0.j' is damaged at byte %" PRIu64
           " in batch 1, and batch 2 follows "
           "at byte %" PRIu64,
           zero, one + 18);
    flip_bit(0, zero + 12, 0);
    flip_bit(0, one + 1, 7); /* the length: all behind it is misread */
    refuse("journal segment '0.j' is damaged at byte %" PRIu64
           " in batch 2, and batch 3 follows "
           "at byte %" PRIu64,
           one, two + 20);
    done();
}
END_TEST

START_TEST(a_head_frame_that_is_damaged_is_refused)
{
    fresh();
    append_batch("one");
    close_ledger();
    flip_bit(0, 20, 0);
    refuse("journal segment '%s/journal/0.j': its head frame at byte 0 is damaged",
           dir);
    done();
}
END_TEST

START_TEST(a_journal_that_ends_before_state_db_is_refused)
{
    uint64_t one;

    fresh();
    append_batch("one");
    one = dgf_ledger_bytes(ledger);
    state("key", "value");
    append_batch("two");
    close_ledger();
    cut_file_to(0, one);
    refuse(
        "'%s/state.db' stands at batch 2 but the journal ends at batch 1: batches that were "
        "durable are lost",
        dir);
    done();
}
END_TEST

/* Fills five segments or more. */
static void many_segments(void)
{
    fresh();
    conf.segment_bytes = 4096;
    reopen();
    for (int i = 0; i < 100; i++)
        append_batch("a line that fills the segment until a new one begins ........");
}

static uint64_t second_segment(void)
{
    uint64_t first = 1;

    while (access(segment_path(first), F_OK) != 0)
        first++;
    return first;
}

START_TEST(a_segment_missing_in_the_middle_is_refused)
{
    uint64_t second;

    many_segments();
    close_ledger();
    second = second_segment();
    ck_assert_int_eq(unlink(segment_path(second)), 0);
    refuse("journal segment '%s/journal/%" PRIu64 ".j' is missing", dir, second);
    done();
}
END_TEST

START_TEST(a_segment_cut_in_the_middle_is_refused)
{
    uint64_t second, size;

    many_segments();
    close_ledger();
    second = second_segment();
    size = segment_size(second);
    cut_file_to(second, size - 1);
    refuse("journal segment '%s/journal/%" PRIu64 ".j': has %" PRIu64
           " bytes instead of %" PRIu64,
           dir, second, size - 1, size);
    done();
}
END_TEST

START_TEST(a_segment_of_another_log_is_refused)
{
    char copy[128], other[sizeof(dir)];
    uint64_t second;

    many_segments();
    second = second_segment();
    close_ledger();
    memcpy(other, dir, sizeof(dir));
    dir[0] = '\0';
    many_segments();
    ck_assert_uint_eq(second_segment(), second);
    close_ledger();
    (void)snprintf(copy, sizeof(copy), "%s/journal/%" PRIu64 ".j", other, second);
    copy_file(segment_path(second), copy);
    done();
    memcpy(dir, other, sizeof(dir));
    refuse("journal segment '%s/journal/%" PRIu64 ".j': belongs to another log", dir,
           second);
    done();
}
END_TEST

START_TEST(a_segment_that_never_got_its_name_is_removed)
{
    char path[128];
    FILE *f;

    fresh();
    append_batch("one");
    close_ledger();
    (void)snprintf(path, sizeof(path), "%s/journal/1.j.new", dir);
    f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fclose(f), 0);
    reopen();
    ck_assert(access(path, F_OK) != 0);
    ck_assert_uint_eq(dgf_ledger_next_index(ledger), 1);
    done();
}
END_TEST

START_TEST(state_without_a_journal_is_refused)
{
    fresh();
    append_batch("one");
    close_ledger();
    ck_assert_int_eq(unlink(segment_path(0)), 0);
    ck_assert_int_eq(try_open(), DGF_FATAL);
    ck_assert_msg(strstr(err.text,
                         "holds no segment: restore the journal, or move state.db away "
                         "to begin a new log") != NULL,
                  "%s", err.text);
    done();
}
END_TEST

START_TEST(frames_that_were_doubled_or_dropped_are_not_a_batch)
{
    struct dgf_buf frames;
    uint64_t zero;
    uint8_t all[2000];
    size_t n, leaf_len = 9 + 2 + 4 + 3;
    FILE *f;

    fresh();
    zero = dgf_ledger_bytes(ledger);
    leaf("one");
    leaf("two");
    commit();
    close_ledger();
    f = fopen(segment_path(0), "rb");
    n = fread(all, 1, sizeof(all), f);
    ck_assert_int_eq(fclose(f), 0);
    dgf_buf_init(&frames, 4000);
    dgf_buf_add(&frames, all + zero,
                leaf_len); /* the first leaf instead of the second */
    dgf_buf_add(&frames, all + zero, leaf_len);
    dgf_buf_add(&frames, all + zero + 2 * leaf_len, n - zero - 2 * leaf_len);
    cut_file_to(0, zero);
    grow_file(0, frames.ptr, frames.len);
    refuse("journal segment '0.j' is damaged at byte %" PRIu64
           " (index 0): not the frames that were committed",
           zero + 2 * leaf_len);
    dgf_buf_clear(&frames);
    dgf_buf_add(&frames, all + zero + leaf_len, n - zero - leaf_len);
    cut_file_to(0, zero);
    grow_file(0, frames.ptr, frames.len);
    refuse("journal segment '0.j' is damaged at byte %" PRIu64
           " (index 0): not the frames that were committed",
           zero + leaf_len);
    dgf_buf_release(&frames);
    done();
}
END_TEST

START_TEST(a_leaf_changed_together_with_its_checksums_fails_the_root)
{
    uint8_t all[2000];
    uint64_t zero;
    size_t n, leaf_len = 9 + 2 + 4 + 3;
    uint32_t crc;
    FILE *f;

    fresh();
    zero = dgf_ledger_bytes(ledger);
    append_batch("one");
    close_ledger();
    f = fopen(segment_path(0), "rb");
    n = fread(all, 1, sizeof(all), f);
    ck_assert_int_eq(fclose(f), 0);
    all[zero + leaf_len - 5] = 'E';
    crc = dgf_frame_seal(all + zero, leaf_len);
    dgf_le32_set(all + zero + leaf_len + DGF_FRAME_HEAD_LEN + DGF_COMMIT_CHAIN_AT,
                 dgf_frame_chain(0, crc));
    dgf_frame_seal(all + zero + leaf_len, n - zero - leaf_len);
    cut_file_to(0, zero);
    grow_file(0, all + zero, n - zero);
    refuse("journal segment '0.j' is damaged at byte %" PRIu64
           " (index 0): leaves do not give its root",
           zero + leaf_len);
    done();
}
END_TEST

START_TEST(the_chain_depends_on_what_the_frames_say)
{
    /* A CRC over whole frames, their own CRCs included, would not. */
    uint32_t a = dgf_frame_chain(dgf_frame_chain(0, 1), 2);

    ck_assert_uint_ne(a, dgf_frame_chain(dgf_frame_chain(0, 2), 1));
    ck_assert_uint_ne(a, dgf_frame_chain(dgf_frame_chain(0, 1), 3));
}
END_TEST

DGF_UNIT(journal, a_batch_without_its_commit_frame_never_happened,
         wherever_the_file_ends_what_is_left_is_a_prefix_of_history,
         every_cut_length_of_the_last_batch_is_reported,
         space_that_was_reserved_and_reads_as_zeros_is_not_damage,
         a_torn_last_batch_is_cut_even_when_its_commit_reached_the_disk,
         damage_before_the_last_batch_is_refused,
         a_head_frame_that_is_damaged_is_refused,
         a_journal_that_ends_before_state_db_is_refused,
         a_segment_missing_in_the_middle_is_refused,
         a_segment_cut_in_the_middle_is_refused, a_segment_of_another_log_is_refused,
         a_segment_that_never_got_its_name_is_removed,
         state_without_a_journal_is_refused,
         frames_that_were_doubled_or_dropped_are_not_a_batch,
         a_leaf_changed_together_with_its_checksums_fails_the_root,
         the_chain_depends_on_what_the_frames_say)
