#include "base/mp.h"

#include <math.h>

#include "base/mem.h"

#include "unit.h"

static struct dgf_buf buf;

static void begin(void)
{
    dgf_buf_release(&buf);
    dgf_buf_init(&buf, 1 << 20);
}

static struct dgf_mp_token only_token(void)
{
    struct dgf_mp mp = dgf_mp_of(dgf_buf_bytes(&buf));
    struct dgf_mp_token token;

    ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_OK);
    ck_assert_ptr_eq(mp.ptr, mp.end);
    ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_AGAIN);
    return token;
}

START_TEST(integers_of_every_width_read_back)
{
    static const int64_t values[] = {0,
                                     1,
                                     127,
                                     128,
                                     255,
                                     256,
                                     65535,
                                     65536,
                                     1ll << 32,
                                     INT64_MAX,
                                     -1,
                                     -32,
                                     -33,
                                     -128,
                                     -129,
                                     -32768,
                                     -32769,
                                     INT32_MIN,
                                     INT32_MIN - 1ll,
                                     INT64_MIN};

    for (size_t i = 0; i < DGF_ARRAY_LEN(values); i++) {
        struct dgf_mp_token token;

        begin();
        dgf_mp_put_int(&buf, values[i]);
        token = only_token();
        ck_assert_int_eq(token.kind, DGF_MP_INT);
        ck_assert_int_eq(token.i64, values[i]);
    }
    begin();
    dgf_mp_put_uint(&buf, UINT64_MAX);
    ck_assert_int_eq(only_token().kind, DGF_MP_UINT);
    ck_assert_uint_eq(only_token().u64, UINT64_MAX);
    begin();
    dgf_mp_put_uint(&buf, INT64_MAX);
    ck_assert_int_eq(only_token().kind, DGF_MP_INT);
}
END_TEST

START_TEST(nil_booleans_and_doubles_read_back)
{
    begin();
    dgf_mp_put_nil(&buf);
    ck_assert_int_eq(only_token().kind, DGF_MP_NIL);
    begin();
    dgf_mp_put_bool(&buf, true);
    ck_assert(only_token().kind == DGF_MP_BOOL && only_token().boolean);
    begin();
    dgf_mp_put_bool(&buf, false);
    ck_assert(only_token().kind == DGF_MP_BOOL && !only_token().boolean);
    begin();
    dgf_mp_put_double(&buf, -2.5e-300);
    ck_assert_double_eq(only_token().dbl, -2.5e-300);
    begin();
    dgf_buf_add(&buf, "\xca\x3f\xc0\0\0", 5); /* a float of 32 bits */
    ck_assert_double_eq(only_token().dbl, 1.5);
}
END_TEST

START_TEST(texts_and_bytes_of_every_header_read_back)
{
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    static uint8_t content[65536];

    memset(content, 'x', sizeof(content));
    for (size_t i = 0; i < DGF_ARRAY_LEN(lengths); i++) {
        struct dgf_bytes bytes = dgf_bytes_of(content, lengths[i]);

        begin();
        dgf_mp_put_str(&buf, bytes);
        ck_assert_int_eq(only_token().kind, DGF_MP_STR);
        ck_assert(dgf_bytes_eq(only_token().bytes, bytes));
        begin();
        dgf_mp_put_bin(&buf, bytes);
        ck_assert_int_eq(only_token().kind, DGF_MP_BIN);
        ck_assert(dgf_bytes_eq(only_token().bytes, bytes));
        begin();
        dgf_mp_put_ext(&buf, 99, bytes);
        ck_assert_int_eq(only_token().kind, DGF_MP_EXT);
        ck_assert_int_eq(only_token().ext, 99);
        ck_assert(dgf_bytes_eq(only_token().bytes, bytes));
    }
}
END_TEST

START_TEST(containers_are_entered_and_skipped_whole)
{
    struct dgf_mp mp;
    struct dgf_mp_token token;
    struct dgf_bytes value;

    begin();
    dgf_mp_put_map(&buf, 2);
    dgf_mp_put_str(&buf, DGF_BYTES("list"));
    dgf_mp_put_array(&buf, 20);
    for (int i = 0; i < 20; i++)
        dgf_mp_put_int(&buf, i);
    dgf_mp_put_str(&buf, DGF_BYTES("none"));
    dgf_mp_put_map(&buf, 0);
    dgf_mp_put_nil(&buf);
    mp = dgf_mp_of(dgf_buf_bytes(&buf));
    ck_assert_int_eq(dgf_mp_value(&mp, &value), DGF_OK);
    ck_assert_uint_eq(value.len, buf.len - 1);
    ck_assert_int_eq(dgf_mp_skip(&mp), DGF_OK);
    ck_assert_int_eq(dgf_mp_skip(&mp), DGF_AGAIN);
    mp = dgf_mp_of(value);
    ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_OK);
    ck_assert(token.kind == DGF_MP_MAP && token.n == 2);
    ck_assert_int_eq(dgf_mp_find(value, DGF_BYTES("none"), &value), DGF_OK);
    ck_assert_mem_eq(value.ptr, "\x80", 1);
    ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&buf)), DGF_BAD_DATA);
}
END_TEST

START_TEST(a_key_is_found_behind_anything)
{
    struct dgf_bytes value = {0};

    begin();
    dgf_mp_put_map(&buf, 3);
    dgf_mp_put_array(&buf, 1); /* a key that is no text */
    dgf_mp_put_str(&buf, DGF_BYTES("b"));
    dgf_mp_put_nil(&buf);
    dgf_mp_put_str(&buf, DGF_BYTES("a"));
    dgf_mp_put_str(&buf, DGF_BYTES("b"));
    dgf_mp_put_str(&buf, DGF_BYTES("b"));
    dgf_mp_put_int(&buf, 7);
    ck_assert_int_eq(dgf_mp_find(dgf_buf_bytes(&buf), DGF_BYTES("b"), &value), DGF_OK);
    ck_assert(dgf_bytes_eq(value, DGF_BYTES("\7")));
    ck_assert_int_eq(dgf_mp_find(dgf_buf_bytes(&buf), DGF_BYTES("c"), &value),
                     DGF_AGAIN);
    ck_assert_int_eq(dgf_mp_find(DGF_BYTES("\x81\xa1"), DGF_BYTES("c"), &value),
                     DGF_BAD_DATA);
    ck_assert_int_eq(dgf_mp_find(DGF_BYTES("\x81\xa1x\x91"), DGF_BYTES("x"), &value),
                     DGF_BAD_DATA);
    ck_assert_int_eq(dgf_mp_find(DGF_BYTES("\x91\1"), DGF_BYTES("c"), &value),
                     DGF_BAD_DATA);
    ck_assert_int_eq(dgf_mp_find(DGF_BYTES(""), DGF_BYTES("c"), &value), DGF_BAD_DATA);
}
END_TEST

START_TEST(a_header_is_not_believed)
{
    static const struct dgf_bytes bad[] = {
        {(const uint8_t *)"\xc1", 1},
        {(const uint8_t *)"\xa1", 1},
        {(const uint8_t *)"\xd9", 1},
        {(const uint8_t *)"\xd9\5abc", 5},
        {(const uint8_t *)"\xdb\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xc6\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xdd\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xdf\xff\xff\xff\xff", 5},
        {(const uint8_t *)"\xdf\x80\0\0\0", 5},
        {(const uint8_t *)"\x92\1", 2},
        {(const uint8_t *)"\x82\1\1\1", 4},
        {(const uint8_t *)"\xc7", 1},
        {(const uint8_t *)"\xc7\0", 2},
        {(const uint8_t *)"\xd8\2", 2},
        {(const uint8_t *)"\xcf\0\0\0", 4},
        {(const uint8_t *)"\xcb\0", 2},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++) {
        struct dgf_mp mp = dgf_mp_of(bad[i]);
        struct dgf_bytes value;

        ck_assert_msg(dgf_mp_skip(&mp) == DGF_BAD_DATA, "%zu", i);
        ck_assert_ptr_eq(mp.ptr, bad[i].ptr);
        ck_assert_int_eq(dgf_mp_value(&mp, &value), DGF_BAD_DATA);
        ck_assert_int_eq(dgf_mp_check(bad[i]), DGF_BAD_DATA);
    }
}
END_TEST

START_TEST(a_hundred_levels_are_enough_and_one_more_is_refused)
{
    for (unsigned depth = 99; depth <= 101; depth++) {
        struct dgf_mp mp;

        for (int inner = 0; inner < 2; inner++) {
            begin();
            for (unsigned i = 0; i < depth - 1; i++)
                dgf_mp_put_array(&buf, 1);
            if (inner == 0) { /* an empty list is a level too */
                dgf_mp_put_array(&buf, 0);
            } else {
                dgf_mp_put_array(&buf, 1);
                dgf_mp_put_nil(&buf);
            }
            mp = dgf_mp_of(dgf_buf_bytes(&buf));
            ck_assert_int_eq(dgf_mp_skip(&mp), depth <= 100 ? DGF_OK : DGF_BAD_DATA);
            ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&buf)),
                             depth <= 100 ? DGF_OK : DGF_BAD_DATA);
        }
    }
}
END_TEST

static const struct {
    int64_t s;
    uint32_t ns;
    size_t len;
} stamps[] = {{0, 0, 4},
              {UINT32_MAX, 0, 4},
              {1, 1, 8},
              {1ll << 32, 0, 8},
              {(1ll << 34) - 1, 999999999, 8},
              {1ll << 34, 0, 12},
              {-1, 999999999, 12}};

START_TEST(timestamps_take_the_smallest_form_and_read_back)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(stamps); i++) {
        struct dgf_mp_token token;
        int64_t s = 5;
        uint32_t ns = 5;

        begin();
        dgf_mp_put_timestamp(&buf, stamps[i].s, stamps[i].ns);
        token = only_token();
        ck_assert_uint_eq(token.bytes.len, stamps[i].len);
        ck_assert(dgf_mp_timestamp(&token, &s, &ns));
        ck_assert_int_eq(s, stamps[i].s);
        ck_assert_uint_eq(ns, stamps[i].ns);
    }
    begin();
    dgf_mp_put_time_ns(&buf, -1);
    ck_assert_mem_eq(
        buf.ptr, "\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15);
}
END_TEST

START_TEST(extensions_have_their_published_bytes)
{
    static const struct dgf_bytes expected = {
        (const uint8_t *)"\xc7\6\1-12.50"                                 /* decimal */
                         "\xd6\3\xff\xff\xff\xfe"                         /* date */
                         "\xd7\4\0\0\0\0\0\0\0\5"                         /* time */
                         "\xd8\5\0\0\0\1\xff\xff\xff\xff\0\0\0\0\0\0\0\3" /* duration */
                         "\xc7\6\6\xa3xml\xa1<"    /* opaque text */
                         "\xc7\5\6\xa1p\xc4\1\xff" /* opaque bytes */
                         "\xd4\7\2",               /* unavailable */
        9 + 6 + 10 + 18 + 9 + 8 + 3};

    begin();
    dgf_mp_put_decimal(&buf, DGF_BYTES("-12.50"));
    dgf_mp_put_date(&buf, -2);
    dgf_mp_put_time_of_day(&buf, 5);
    dgf_mp_put_duration(&buf, 1, -1, 3);
    dgf_mp_put_opaque(&buf, DGF_BYTES("xml"), DGF_BYTES("<"));
    dgf_mp_put_opaque(&buf, DGF_BYTES("p"), DGF_BYTES("\xff"));
    dgf_mp_put_unavailable(&buf, 2);
    ck_assert_uint_eq(buf.len, expected.len);
    ck_assert_mem_eq(buf.ptr, expected.ptr, expected.len);
}
END_TEST

START_TEST(opaque_texts_of_every_length_hold_together)
{
    static const size_t lengths[] = {0, 31, 32, 255, 256, 65535, 65536};
    static uint8_t content[65536];

    for (size_t i = 0; i < DGF_ARRAY_LEN(lengths); i++)
        for (int text = 0; text < 2; text++) {
            memset(content, text ? 't' : 0xff, sizeof(content));
            begin();
            dgf_mp_put_opaque(&buf, DGF_BYTES("polygon"),
                              dgf_bytes_of(content, lengths[i]));
            ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&buf)), DGF_OK);
        }
}
END_TEST

START_TEST(a_check_looks_into_texts_and_extensions)
{
    static const struct {
        int8_t type;
        struct dgf_bytes payload;
        bool ok;
    } exts[] = {
        {DGF_EXT_TIMESTAMP, {(const uint8_t *)"\0\0\0\0\0", 5}, false},
        {DGF_EXT_TIMESTAMP, {(const uint8_t *)"\xff\xff\xff\xff\0\0\0\0", 8}, false},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"1.5", 3}, true},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"1E+3", 4}, true},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"-Infinity", 9}, true},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"NaN", 3}, true},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"", 0}, false},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"1\"", 2}, false},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"-.", 2}, false},
        {DGF_EXT_DECIMAL, {(const uint8_t *)"1E", 2}, false},
        {DGF_EXT_UUID, {(const uint8_t *)"0123456789abcde", 15}, false},
        {DGF_EXT_DATE, {(const uint8_t *)"\0\0\0\0\0", 5}, false},
        {DGF_EXT_TIME, {(const uint8_t *)"\0\0\x4e\x94\x91\x4f\0\0", 8}, true},
        {DGF_EXT_TIME, {(const uint8_t *)"\0\0\x4e\x94\x91\x4f\0\1", 8}, false},
        {DGF_EXT_TIME, {(const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff", 8}, false},
        {DGF_EXT_DURATION, {(const uint8_t *)"\0", 1}, false},
        {DGF_EXT_OPAQUE, {(const uint8_t *)"\xa1x", 2}, false},
        {DGF_EXT_OPAQUE, {(const uint8_t *)"\xa1x\1", 3}, false},
        {DGF_EXT_OPAQUE, {(const uint8_t *)"\xa1\xff\xa0", 3}, false},
        {DGF_EXT_OPAQUE, {(const uint8_t *)"\xa1x\xa0\xa0", 4}, false},
        {DGF_EXT_UNAVAILABLE, {(const uint8_t *)"", 0}, false},
        {8, {(const uint8_t *)"x", 1}, false},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(exts); i++) {
        begin();
        dgf_mp_put_array(&buf, 1);
        dgf_mp_put_ext(&buf, exts[i].type, exts[i].payload);
        ck_assert_msg((dgf_mp_check(dgf_buf_bytes(&buf)) == DGF_OK) == exts[i].ok,
                      "%zu", i);
    }
    ck_assert_int_eq(dgf_mp_check(DGF_BYTES("\xa2\xc3\xa9")), DGF_OK);
    ck_assert_int_eq(dgf_mp_check(DGF_BYTES("\xa1\xc3")), DGF_BAD_DATA);
    ck_assert_int_eq(dgf_mp_check(DGF_BYTES("")), DGF_BAD_DATA);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(packing_into_a_full_buffer_is_remembered)
{
    struct dgf_buf small;

    dgf_buf_init(&small, 4);
    dgf_mp_put_str(&small, DGF_BYTES("hello"));
    ck_assert_int_eq(dgf_buf_rc(&small), DGF_NOMEM);
    dgf_buf_release(&small);
}
END_TEST

DGF_UNIT(mp, integers_of_every_width_read_back, nil_booleans_and_doubles_read_back,
         texts_and_bytes_of_every_header_read_back,
         containers_are_entered_and_skipped_whole, a_key_is_found_behind_anything,
         a_header_is_not_believed, a_hundred_levels_are_enough_and_one_more_is_refused,
         timestamps_take_the_smallest_form_and_read_back,
         extensions_have_their_published_bytes,
         opaque_texts_of_every_length_hold_together,
         a_check_looks_into_texts_and_extensions,
         packing_into_a_full_buffer_is_remembered)
