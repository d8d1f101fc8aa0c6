#include "base/json.h"

#include <float.h>
#include <math.h>

#include "base/mp.h"

#include "unit.h"

static struct dgf_buf out;
static struct dgf_buf packed;
static struct dgf_json json;

static void begin(void)
{
    dgf_buf_release(&out);
    dgf_buf_release(&packed);
    dgf_buf_init(&out, 1 << 20);
    dgf_buf_init(&packed, 1 << 20);
    json = dgf_json_of(&out);
}

static const char *written(void)
{
    return dgf_buf_str(&out);
}

START_TEST(commas_stand_where_they_are_due)
{
    begin();
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "a");
    dgf_json_begin_array(&json);
    dgf_json_i64(&json, -1);
    dgf_json_u64(&json, UINT64_MAX);
    dgf_json_begin_object(&json);
    dgf_json_end_object(&json);
    dgf_json_bool(&json, true);
    dgf_json_null(&json);
    dgf_json_double(&json, 1.5);
    dgf_json_time(&json, 0);
    dgf_json_raw(&json, DGF_BYTES("{\"r\":1}"));
    dgf_json_end_array(&json);
    dgf_json_key_bytes(&json, DGF_BYTES("k\"e\0y"));
    dgf_json_str(&json, "v");
    dgf_json_key(&json, "e");
    dgf_json_begin_array(&json);
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
    ck_assert_str_eq(
        written(),
        "{\"a\":[-1,18446744073709551615,{},true,null,1.5,"
        "\"1970-01-01T00:00:00Z\",{\"r\":1}],\"k\\\"e\xef\xbf\xbdy\":\"v\",\"e\":[]}");
}
END_TEST

START_TEST(a_text_is_escaped_wherever_the_special_byte_stands)
{
    for (size_t len = 0; len < 40; len++)
        for (size_t at = 0; at < len; at++)
            for (const char *special = "\"\\\n\x01\x1f"; *special; special++) {
                static const char *const escaped[] = {"\\\"", "\\\\", "\\n", "\\u0001",
                                                      "\\u001f"};
                char text[41], expected[60];
                const char *form = escaped[strchr("\"\\\n\x01\x1f", *special) -
                                           strchr("\"\\\n\x01\x1f", '"')];

                memset(text, 'a', len);
                memset(expected, 'a', sizeof(expected));
                text[at] = *special;
                memcpy(expected + at, form, strlen(form));
                begin();
                dgf_json_escape(&out, dgf_bytes_of(text, len));
                ck_assert_uint_eq(out.len, len - 1 + strlen(form));
                ck_assert_mem_eq(out.ptr, expected, out.len);
            }
}
END_TEST

START_TEST(every_ascii_byte_reads_back_through_jansson)
{
    DGF_CLEANUP_JSON json_t *back = NULL;
    struct dgf_err err;
    char text[129];

    for (int i = 0; i < 128; i++)
        text[i] = (char)i;
    begin();
    dgf_json_text(&json, dgf_bytes_of(text, 128));
    ck_assert_int_eq(dgf_json_parse(dgf_buf_bytes(&out), 1000, 2, &back, &err), DGF_OK);
    ck_assert_uint_eq(json_string_length(back), 128);
    ck_assert_mem_eq(json_string_value(back), text, 128);
    begin();
    dgf_json_str(&json, "\b\t\n\f\r\x7f\xc3\xa9\xf0\x9f\x98\x80");
    ck_assert_str_eq(written(), "\"\\b\\t\\n\\f\\r\x7f\xc3\xa9\xf0\x9f\x98\x80\"");
}
END_TEST

START_TEST(a_text_in_a_full_buffer_fails_once)
{
    struct dgf_buf small;
    struct dgf_json writer = dgf_json_of(&small);

    dgf_buf_init(&small, 6);
    dgf_json_str(&writer, "hello");
    ck_assert_int_eq(dgf_buf_rc(&small), DGF_NOMEM);
    dgf_buf_release(&small);
}
END_TEST

static const struct {
    double value;
    const char *text;
} doubles[] = {{0, "0"},
               {-0.0, "-0"},
               {1, "1"},
               {-1.5, "-1.5"},
               {12.34, "12.34"},
               {0.1, "0.1"},
               {0.3, "0.3"},
               {0.1 + 0.2, "0.30000000000000004"},
               {1e15, "1000000000000000"},
               {9007199254740993.0, "9007199254740992"},
               {123456789012345680.0, "123456789012345680"},
               {1e21, "1e+21"},
               {1e20, "100000000000000000000"},
               {1.5e300, "1.5e+300"},
               {0.000001, "0.000001"},
               {0.0000015, "0.0000015"},
               {1e-7, "1e-7"},
               {1.25e-7, "1.25e-7"},
               {6.02214e23, "6.02214e+23"},
               {-4.5e-3, "-0.0045"},
               {5e-324, "5e-324"},
               {1.5e-323, "1.5e-323"},
               {DBL_MIN, "2.2250738585072014e-308"},
               {DBL_MAX, "1.7976931348623157e+308"},
               {5.684341886080801e-14, "5.684341886080801e-14"},
               {9.313225746154785e-10, "9.313225746154785e-10"},
               {1.0 / 3, "0.3333333333333333"},
               {100.0 / 3, "33.333333333333336"},
               {99999999.99, "99999999.99"},
               {123456789.125, "123456789.125"}};

START_TEST(a_double_is_its_shortest_text)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(doubles); i++) {
        begin();
        dgf_json_format_double(&out, doubles[i].value);
        ck_assert_str_eq(written(), doubles[i].text);
    }
}
END_TEST

START_TEST(a_hundred_thousand_doubles_read_back_bit_for_bit)
{
    uint64_t state = 88172645463325252u;

    for (int i = 0; i < 100000; i++) {
        double value, back;
        uint64_t bits;

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bits = i % 3 == 0 ? state & 0xfff0000000000000 : state; /* powers of two too */
        memcpy(&value, &bits, sizeof(value));
        if (i % 3 == 1)
            value = (double)(int64_t)(state >> 30) / 100; /* amounts */
        if (!isfinite(value))
            continue;
        begin();
        dgf_json_format_double(&out, value);
        back = strtod(written(), NULL);
        ck_assert_msg(memcmp(&back, &value, sizeof(back)) == 0, "%.17g %s", value,
                      written());
    }
}
END_TEST

static const char *converted(enum dgf_rc expected)
{
    ck_assert_int_eq(dgf_json_msgpack(&json, dgf_buf_bytes(&packed)), expected);
    return written();
}

#define CONVERTS(text, ...)                        \
    do {                                           \
        begin();                                   \
        __VA_ARGS__;                               \
        ck_assert_str_eq(converted(DGF_OK), text); \
    } while (0)

START_TEST(plain_values_are_plain_json)
{
    CONVERTS("null", dgf_mp_put_nil(&packed));
    CONVERTS("true", dgf_mp_put_bool(&packed, true));
    CONVERTS("-5", dgf_mp_put_int(&packed, -5));
    CONVERTS("9007199254740992", dgf_mp_put_int(&packed, 1ll << 53));
    CONVERTS("-9007199254740992", dgf_mp_put_int(&packed, -(1ll << 53)));
    CONVERTS("\"a\\\"b\"", dgf_mp_put_str(&packed, DGF_BYTES("a\"b")));
    CONVERTS("1.5", dgf_mp_put_double(&packed, 1.5));
    CONVERTS("1.0", dgf_mp_put_double(&packed, 1));
    CONVERTS("-0.0", dgf_mp_put_double(&packed, -0.0));
    CONVERTS("1e+21", dgf_mp_put_double(&packed, 1e21));
}
END_TEST

START_TEST(what_json_lacks_is_extended_json)
{
    CONVERTS("{\"$numberLong\":\"9007199254740993\"}",
             dgf_mp_put_int(&packed, (1ll << 53) + 1));
    CONVERTS("{\"$numberLong\":\"-9007199254740993\"}",
             dgf_mp_put_int(&packed, -(1ll << 53) - 1));
    CONVERTS("{\"$numberLong\":\"18446744073709551615\"}",
             dgf_mp_put_uint(&packed, UINT64_MAX));
    CONVERTS("{\"$numberDouble\":\"NaN\"}", dgf_mp_put_double(&packed, NAN));
    CONVERTS("{\"$numberDouble\":\"Infinity\"}", dgf_mp_put_double(&packed, INFINITY));
    CONVERTS("{\"$numberDouble\":\"-Infinity\"}",
             dgf_mp_put_double(&packed, -INFINITY));
    CONVERTS("{\"$numberDecimal\":\"12.50\"}",
             dgf_mp_put_decimal(&packed, DGF_BYTES("12.50")));
    CONVERTS("{\"$numberDecimal\":\"NaN\"}",
             dgf_mp_put_decimal(&packed, DGF_BYTES("NaN")));
    CONVERTS("{\"$binary\":{\"base64\":\"/wA=\",\"subType\":\"00\"}}",
             dgf_mp_put_bin(&packed, DGF_BYTES("\xff\0")));
    CONVERTS("{\"$unavailable\":\"toast\"}", dgf_mp_put_unavailable(&packed, 0));
    CONVERTS("{\"$unavailable\":\"undecodable\"}", dgf_mp_put_unavailable(&packed, 4));
    CONVERTS("{\"$opaque\":{\"type\":\"point\",\"text\":\"(1,2)\"}}",
             dgf_mp_put_opaque(&packed, DGF_BYTES("point"), DGF_BYTES("(1,2)")));
    CONVERTS("{\"$opaque\":{\"type\":\"x\",\"text\":"
             "{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"00\"}}}}",
             dgf_mp_put_opaque(&packed, DGF_BYTES("x"), DGF_BYTES("\xff")));
}
END_TEST

START_TEST(times_dates_and_ids_are_plain_texts)
{
    static const uint8_t uuid[16] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0,
                                     0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

    CONVERTS("\"12345678-9abc-def0-0123-456789abcdef\"",
             dgf_mp_put_uuid(&packed, uuid));
    CONVERTS("\"2026-03-02\"", dgf_mp_put_date(&packed, 20514));
    CONVERTS("\"+12026-03-02\"", dgf_mp_put_date(&packed, 20514 + 3652425));
    CONVERTS("\"-0001-12-31\"", dgf_mp_put_date(&packed, -719529));
    CONVERTS("\"0000-01-01\"", dgf_mp_put_date(&packed, -719528));
    CONVERTS("\"09:00:00.5\"", dgf_mp_put_time_of_day(&packed, 32400500000000));
    CONVERTS("\"24:00:00\"", dgf_mp_put_time_of_day(&packed, 86400000000000));
    CONVERTS("\"2026-03-02T09:00:00.123456789Z\"",
             dgf_mp_put_timestamp(&packed, 1772442000, 123456789));
    CONVERTS("\"0001-01-01T00:00:00Z\"",
             dgf_mp_put_timestamp(&packed, -62135596800, 0));
    CONVERTS("\"9999-12-31T23:59:59Z\"",
             dgf_mp_put_timestamp(&packed, 253402300799, 0));
    CONVERTS("\"+10000-01-01T00:00:00.1Z\"",
             dgf_mp_put_timestamp(&packed, 253402300800, 100000000));
    CONVERTS("\"-0001-12-31T23:59:59Z\"",
             dgf_mp_put_timestamp(&packed, -62167219201, 0));
    begin();
    dgf_mp_put_timestamp(&packed, INT64_MAX, 0);
    ck_assert_str_eq(converted(DGF_BAD_DATA), "");
}
END_TEST

START_TEST(intervals_are_iso_8601_with_a_sign_a_part)
{
    CONVERTS("\"PT0S\"", dgf_mp_put_duration(&packed, 0, 0, 0));
    CONVERTS("\"P1Y2M3DT4H5M6.5S\"",
             dgf_mp_put_duration(&packed, 14, 3, 14706500000000));
    CONVERTS("\"P-1Y-2M-3DT-4H-5M-6.5S\"",
             dgf_mp_put_duration(&packed, -14, -3, -14706500000000));
    CONVERTS("\"P1M\"", dgf_mp_put_duration(&packed, 1, 0, 0));
    CONVERTS("\"P-1DT1H\"", dgf_mp_put_duration(&packed, 0, -1, 3600000000000));
    CONVERTS("\"PT-0.000000001S\"", dgf_mp_put_duration(&packed, 0, 0, -1));
    CONVERTS("\"PT-1M-0.5S\"", dgf_mp_put_duration(&packed, 0, 0, -60500000000));
    CONVERTS("\"PT2562047H47M16.854775807S\"",
             dgf_mp_put_duration(&packed, 0, 0, INT64_MAX));
    CONVERTS("\"PT-2562047H-47M-16.854775808S\"",
             dgf_mp_put_duration(&packed, 0, 0, INT64_MIN));
}
END_TEST

START_TEST(containers_nest_and_take_commas_from_outside)
{
    begin();
    dgf_mp_put_map(&packed, 2);
    dgf_mp_put_str(&packed, DGF_BYTES("a"));
    dgf_mp_put_array(&packed, 3);
    dgf_mp_put_int(&packed, 1);
    dgf_mp_put_map(&packed, 0);
    dgf_mp_put_decimal(&packed, DGF_BYTES("2"));
    dgf_mp_put_str(&packed, DGF_BYTES("b\n"));
    dgf_mp_put_array(&packed, 0);
    dgf_json_begin_array(&json);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(dgf_json_msgpack(&json, dgf_buf_bytes(&packed)), DGF_OK);
    dgf_json_i64(&json, 5);
    dgf_json_end_array(&json);
    ck_assert_str_eq(written(),
                     "[{\"a\":[1,{},{\"$numberDecimal\":\"2\"}],\"b\\n\":[]},"
                     "{\"a\":[1,{},{\"$numberDecimal\":\"2\"}],\"b\\n\":[]},5]");
}
END_TEST

START_TEST(invalid_msgpack_writes_nothing)
{
    begin();
    dgf_json_begin_array(&json);
    dgf_json_i64(&json, 1);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("\x92\1")), DGF_BAD_DATA);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("\xa1\xff")), DGF_BAD_DATA);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("\1\1")), DGF_BAD_DATA);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("\x81\1\1")), DGF_BAD_DATA);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("\x92\1\xd4\7\x63")),
                     DGF_BAD_DATA);
    ck_assert_int_eq(dgf_json_msgpack(&json, DGF_BYTES("")), DGF_BAD_DATA);
    dgf_json_i64(&json, 2);
    dgf_json_end_array(&json);
    ck_assert_str_eq(written(), "[1,2]");
}
END_TEST

static const struct {
    const char *text, *error;
} wrong[] = {
    {"", "invalid JSON at line 1, column 0: it ends too early"},
    {"{\"a\":1", "invalid JSON at line 1, column 6: it ends too early"},
    {"{\"a\":1}\nx", "invalid JSON at line 2, column 1: something follows the value"},
    {"{\"a\":1,\"a\":2}", "invalid JSON at line 1, column 10: duplicate key"},
    {"[hunter2]", "invalid JSON at line 1, column 7: syntax error"},
    {"[1e999]", "invalid JSON at line 1, column 6: number is too large"},
    {"[\"\xff\"]", "invalid JSON at line 1, column 2: invalid UTF-8"},
    {"[[[1]]]", "invalid JSON: deeper than 2 levels"},
    {"[\"12345678901234567890123456789\"]", "invalid JSON: larger than 30 bytes"},
};

START_TEST(reading_refuses_what_is_wrong_without_quoting_it)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(wrong); i++) {
        struct dgf_err err = {0};
        json_t *value = NULL;

        ck_assert_int_eq(
            dgf_json_parse(dgf_bytes_str(wrong[i].text), 30, 2, &value, &err),
            DGF_BAD_DATA);
        ck_assert_str_eq(err.text, wrong[i].error);
        ck_assert_ptr_null(value);
    }
}
END_TEST

START_TEST(brackets_in_texts_are_no_depth)
{
    struct dgf_err err;
    DGF_CLEANUP_JSON json_t *value = NULL;

    ck_assert_int_eq(
        dgf_json_parse(DGF_BYTES("[\"[[[[\\\"[[[\",{}]"), 100, 2, &value, &err),
        DGF_OK);
    ck_assert_str_eq(json_string_value(json_array_get(value, 0)), "[[[[\"[[[");
}
END_TEST

DGF_UNIT(json, commas_stand_where_they_are_due,
         a_text_is_escaped_wherever_the_special_byte_stands,
         every_ascii_byte_reads_back_through_jansson,
         a_text_in_a_full_buffer_fails_once, a_double_is_its_shortest_text,
         a_hundred_thousand_doubles_read_back_bit_for_bit, plain_values_are_plain_json,
         what_json_lacks_is_extended_json, times_dates_and_ids_are_plain_texts,
         intervals_are_iso_8601_with_a_sign_a_part,
         containers_nest_and_take_commas_from_outside, invalid_msgpack_writes_nothing,
         reading_refuses_what_is_wrong_without_quoting_it,
         brackets_in_texts_are_no_depth)
