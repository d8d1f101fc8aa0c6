#include <stdio.h>

#include "base/sha256.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_unpack.h"
#include "unit.h"

#define LINES 12000

/* Lines of a segment, and what its frames must add up to. */
static struct dgf_buf file, plain;

static void make(void)
{
    struct dgf_segment_writer *writer;
    char line[300];

    dgf_buf_init(&file, 64 << 20);
    dgf_buf_init(&plain, 64 << 20);
    ck_assert_int_eq(dgf_segment_writer_new(1, &writer), DGF_OK);
    for (unsigned i = 0; i < LINES; i++) {
        /* In the first frames there are more lines than are hashed ahead. */
        int len = snprintf(line, sizeof(line), "%u %*u", i, i < 3000 ? 10 : 250, i * i);

        dgf_buf_add(&plain, line, (size_t)len);
        dgf_buf_add_byte(&plain, '\n');
        ck_assert_int_eq(
            dgf_segment_writer_add(writer, dgf_bytes_of(line, (size_t)len), &file),
            DGF_OK);
    }
    ck_assert_int_eq(dgf_segment_writer_end(writer, &file), DGF_OK);
    dgf_segment_writer_free(writer);
}

static void release(void)
{
    dgf_buf_release(&file);
    dgf_buf_release(&plain);
}

static void check_frame(const struct dgf_unpacked *one, size_t *at)
{
    size_t in = 0;

    ck_assert_int_eq(one->rc, DGF_OK);
    ck_assert_uint_le(*at + one->n_plain, plain.len);
    ck_assert_mem_eq(one->plain, plain.ptr + *at, one->n_plain);
    for (size_t i = 0; i < one->n_lines; i++) {
        uint8_t hash[DGF_SHA256_LEN];

        ck_assert_ptr_eq(one->lines[i].ptr, one->plain + in);
        in += one->lines[i].len;
        ck_assert_uint_eq(one->plain[in++], '\n');
        dgf_sha256_leaf(one->lines[i], hash);
        ck_assert_mem_eq(one->hashes[i], hash, sizeof(hash));
    }
    ck_assert(in == one->n_plain || one->n_lines == DGF_UNPACK_LINES);
    *at += one->n_plain;
}

/* Puts what there is room for; stops before the frame `limit`. */
static void put(struct dgf_unpack *unpack, size_t *at, size_t *n, size_t limit)
{
    while (*n < limit && dgf_unpack_has_room(unpack)) {
        struct dgf_bytes in = dgf_bytes_of(file.ptr + *at, file.len - *at);
        const char *class, *what;
        size_t used;

        if (dgf_frame_measure(in, &used, &class, &what))
            return; /* the seek table */
        dgf_unpack_put(unpack, dgf_bytes_of(in.ptr, used));
        *at += used;
        ++*n;
    }
}

static void read_whole(struct dgf_unpack *unpack)
{
    const struct dgf_unpacked *one;
    size_t at_file = 0, at_plain = 0, n = 0;
    uint8_t sum[DGF_SHA256_LEN], wanted[DGF_SHA256_LEN];

    dgf_unpack_begin(unpack);
    for (;;) {
        put(unpack, &at_file, &n, SIZE_MAX);
        one = dgf_unpack_take(unpack);
        if (!one)
            break;
        check_frame(one, &at_plain);
        dgf_unpack_drop(unpack);
    }
    ck_assert_uint_gt(n, 6);
    ck_assert_uint_eq(at_plain, plain.len);
    dgf_unpack_sum(unpack, sum);
    dgf_sha256(dgf_buf_bytes(&plain), wanted);
    ck_assert_mem_eq(sum, wanted, sizeof(sum));
}

START_TEST(frames_come_in_their_order_with_hashes_and_sum)
{
    struct dgf_unpack *unpack;

    make();
    ck_assert_int_eq(dgf_unpack_new(&unpack), DGF_OK);
    for (int i = 0; i < 5; i++)
        read_whole(unpack);
    dgf_unpack_free(unpack);
    release();
}
END_TEST

START_TEST(what_was_not_taken_is_forgotten_and_the_end_never_hangs)
{
    make();
    for (size_t left = 0; left < 4; left++) {
        size_t at = 0, at_plain = 0, n = 0;
        struct dgf_unpack *unpack;

        ck_assert_int_eq(dgf_unpack_new(&unpack), DGF_OK);
        put(unpack, &at, &n, left + 1);
        check_frame(dgf_unpack_take(unpack), &at_plain); /* never dropped */
        read_whole(unpack);
        dgf_unpack_begin(unpack);
        at = n = 0;
        put(unpack, &at, &n, left);
        dgf_unpack_free(unpack); /* with some in work */
    }
    release();
}
END_TEST

START_TEST(a_damaged_frame_says_so_in_its_place_and_is_not_summed_up)
{
    size_t at = 0, at_plain = 0, n = 0;
    const struct dgf_unpacked *one;
    struct dgf_unpack *unpack;
    uint8_t sum[DGF_SHA256_LEN], wanted[DGF_SHA256_LEN];

    make();
    ck_assert_int_eq(dgf_unpack_new(&unpack), DGF_OK);
    dgf_unpack_begin(unpack);
    put(unpack, &at, &n, 2);
    file.ptr[at + 4] = 0; /* the second byte of a frame's head: no size, none follows */
    dgf_unpack_put(unpack, dgf_bytes_of(file.ptr + at, 9));
    for (int i = 0; i < 2; i++) {
        check_frame(dgf_unpack_take(unpack), &at_plain);
        dgf_unpack_drop(unpack);
    }
    one = dgf_unpack_take(unpack);
    ck_assert_ptr_nonnull(one);
    ck_assert_int_eq(one->rc, DGF_BAD_DATA);
    ck_assert_str_eq(one->class, "segment");
    dgf_unpack_drop(unpack);
    ck_assert_ptr_null(dgf_unpack_take(unpack));
    dgf_unpack_sum(unpack, sum);
    dgf_sha256(dgf_bytes_of(plain.ptr, at_plain), wanted);
    ck_assert_mem_eq(sum, wanted, sizeof(sum));
    dgf_unpack_free(unpack);
    release();
}
END_TEST

DGF_UNIT(archive_unpack, frames_come_in_their_order_with_hashes_and_sum,
         what_was_not_taken_is_forgotten_and_the_end_never_hangs,
         a_damaged_frame_says_so_in_its_place_and_is_not_summed_up)
