#include "base/buf.h"

#include "base/mem.h"

#include "unit.h"

START_TEST(a_full_buffer_refuses_more_and_keeps_a_prefix)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 5);
    dgf_buf_add_str(&buf, "abc");
    dgf_buf_add_str(&buf, "def");
    dgf_buf_add_str(&buf, "g");
    ck_assert_int_eq(dgf_buf_rc(&buf), DGF_NOMEM);
    ck_assert_str_eq(dgf_buf_str(&buf), "abc");
    dgf_buf_clear(&buf);
    dgf_buf_add_str(&buf, "vwxyz");
    ck_assert_int_eq(dgf_buf_rc(&buf), DGF_OK);
    ck_assert_uint_eq(buf.len, 5);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(a_size_that_overflows_is_refused)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, SIZE_MAX);
    dgf_buf_add_byte(&buf, 'a');
    ck_assert_ptr_null(dgf_buf_room(&buf, SIZE_MAX));
    ck_assert_int_eq(dgf_buf_rc(&buf), DGF_NOMEM);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(a_text_ends_in_nul_which_does_not_count)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 1000);
    ck_assert_str_eq(dgf_buf_str(&buf), "");
    for (int i = 0; i < 64; i++)
        dgf_buf_add_byte(&buf, 'x');
    ck_assert_uint_eq(buf.len, buf.cap);
    ck_assert_uint_eq(strlen(dgf_buf_str(&buf)), 64);
    ck_assert_uint_eq(buf.len, 64);
    ck_assert_int_eq(dgf_buf_rc(&buf), DGF_OK);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(formatted_text_may_be_longer_than_any_guess)
{
    struct dgf_buf buf;
    char text[3000];

    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    dgf_buf_init(&buf, 10000);
    dgf_buf_addf(&buf, "%d-%s", 42, "x");
    ck_assert_str_eq(dgf_buf_str(&buf), "42-x");
    dgf_buf_clear(&buf);
    dgf_buf_addf(&buf, "%s", text);
    ck_assert_str_eq(dgf_buf_str(&buf), text);
    dgf_buf_release(&buf);
}
END_TEST

static const struct {
    int64_t value;
    const char *text;
} numbers[] = {{0, "0"},
               {9, "9"},
               {10, "10"},
               {99, "99"},
               {100, "100"},
               {-1, "-1"},
               {12345, "12345"},
               {1234567, "1234567"},
               {INT64_MAX, "9223372036854775807"},
               {INT64_MIN, "-9223372036854775808"}};

START_TEST(numbers_are_decimal_digits)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 100);
    for (size_t i = 0; i < DGF_ARRAY_LEN(numbers); i++) {
        dgf_buf_clear(&buf);
        dgf_buf_add_i64(&buf, numbers[i].value);
        ck_assert_str_eq(dgf_buf_str(&buf), numbers[i].text);
    }
    dgf_buf_clear(&buf);
    dgf_buf_add_u64(&buf, UINT64_MAX);
    ck_assert_str_eq(dgf_buf_str(&buf), "18446744073709551615");
    dgf_buf_release(&buf);
}
END_TEST

static const struct {
    const char *plain, *base64, *hex;
} encodings[] = {{"", "", ""},
                 {"f", "Zg==", "66"},
                 {"fo", "Zm8=", "666f"},
                 {"foo", "Zm9v", "666f6f"},
                 {"foob", "Zm9vYg==", "666f6f62"},
                 {"\xff\xfe\xfd", "//79", "fffefd"}};

START_TEST(bytes_are_written_as_padded_base64_and_lower_case_hex)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 100);
    for (size_t i = 0; i < DGF_ARRAY_LEN(encodings); i++) {
        dgf_buf_clear(&buf);
        dgf_buf_add_base64(&buf, dgf_bytes_str(encodings[i].plain));
        ck_assert_str_eq(dgf_buf_str(&buf), encodings[i].base64);
        dgf_buf_clear(&buf);
        dgf_buf_add_hex(&buf, dgf_bytes_str(encodings[i].plain));
        ck_assert_str_eq(dgf_buf_str(&buf), encodings[i].hex);
    }
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(what_is_written_little_endian_reads_back)
{
    struct dgf_buf buf;
    struct dgf_rd rd;

    dgf_buf_init(&buf, 100);
    dgf_buf_add_le16(&buf, 0x0102);
    dgf_buf_add_le32(&buf, 0x03040506);
    dgf_buf_add_le64(&buf, 0x0708090a0b0c0d0e);
    ck_assert_mem_eq(buf.ptr, "\2\1\6\5\4\3\x0e\x0d\x0c\x0b\x0a\x09\x08\x07", 14);
    rd = dgf_rd_of(dgf_buf_bytes(&buf));
    ck_assert_uint_eq(dgf_rd_le16(&rd), 0x0102);
    ck_assert_uint_eq(dgf_rd_le32(&rd), 0x03040506);
    ck_assert_uint_eq(dgf_rd_le64(&rd), 0x0708090a0b0c0d0e);
    ck_assert_uint_eq(dgf_rd_left(&rd), 0);
    ck_assert(!rd.bad);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(big_endian_fields_ranges_and_texts_are_read_in_order)
{
    struct dgf_rd rd =
        dgf_rd_of(DGF_BYTES("\xff\1\2\1\2\3\4\1\2\3\4\5\6\7\x88xyzabc\0\0"));
    struct dgf_bytes text;

    ck_assert_uint_eq(dgf_rd_u8(&rd), 255);
    ck_assert_uint_eq(dgf_rd_be16(&rd), 0x0102);
    ck_assert_uint_eq(dgf_rd_be32(&rd), 0x01020304);
    ck_assert_uint_eq(dgf_rd_be64(&rd), 0x0102030405060788);
    ck_assert(dgf_bytes_eq(dgf_rd_bytes(&rd, 3), DGF_BYTES("xyz")));
    ck_assert(dgf_bytes_eq(dgf_rd_cstr(&rd), DGF_BYTES("abc")));
    text = dgf_rd_cstr(&rd);
    ck_assert_uint_eq(text.len, 0);
    ck_assert(!rd.bad);
}
END_TEST

START_TEST(after_a_short_read_everything_is_zero_and_bad)
{
    struct dgf_rd rd = dgf_rd_of(DGF_BYTES("\1\2\3"));

    ck_assert_uint_eq(dgf_rd_be32(&rd), 0);
    ck_assert(rd.bad);
    ck_assert_uint_eq(dgf_rd_u8(&rd), 0);
    ck_assert_uint_eq(dgf_rd_bytes(&rd, 1).len, 0);
    rd = dgf_rd_of(DGF_BYTES("abc"));
    ck_assert_uint_eq(dgf_rd_cstr(&rd).len, 0);
    ck_assert(rd.bad);
    rd = dgf_rd_of((struct dgf_bytes){NULL, 0});
    ck_assert_uint_eq(dgf_rd_bytes(&rd, SIZE_MAX).len, 0);
    ck_assert(rd.bad);
}
END_TEST

START_TEST(ranges_are_ordered_like_words)
{
    ck_assert_int_lt(dgf_bytes_cmp(DGF_BYTES("a"), DGF_BYTES("b")), 0);
    ck_assert_int_lt(dgf_bytes_cmp(DGF_BYTES("a"), DGF_BYTES("aa")), 0);
    ck_assert_int_gt(dgf_bytes_cmp(DGF_BYTES("\xff"), DGF_BYTES("a")), 0);
    ck_assert_int_eq(dgf_bytes_cmp(DGF_BYTES("a"), DGF_BYTES("a")), 0);
    ck_assert_int_eq(dgf_bytes_cmp(dgf_bytes_of(NULL, 0), DGF_BYTES("")), 0);
    ck_assert(dgf_bytes_eq(dgf_bytes_str(NULL), DGF_BYTES("")));
}
END_TEST

DGF_UNIT(buf, a_full_buffer_refuses_more_and_keeps_a_prefix,
         a_size_that_overflows_is_refused, a_text_ends_in_nul_which_does_not_count,
         formatted_text_may_be_longer_than_any_guess, numbers_are_decimal_digits,
         bytes_are_written_as_padded_base64_and_lower_case_hex,
         what_is_written_little_endian_reads_back,
         big_endian_fields_ranges_and_texts_are_read_in_order,
         after_a_short_read_everything_is_zero_and_bad, ranges_are_ordered_like_words)
