#include "json_value.h"

#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/mp.h"
#include "unit.h"

static struct dgf_buf packed, text;

/* What a value is in a record, or why it cannot be packed. */
static const char *show(const char *json, unsigned max_depth)
{
    struct dgf_json out = dgf_json_of(&text);
    struct dgf_bytes bytes = dgf_bytes_str(json);
    const char *why;

    dgf_buf_clear(&packed);
    dgf_buf_clear(&text);
    ck_assert_ptr_null(dgf_jv_check(bytes, NULL));
    why = dgf_jv_pack(dgf_jv_root(bytes), max_depth, &packed);
    if (why)
        return why;
    ck_assert_int_eq(dgf_buf_rc(&packed), DGF_OK);
    ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&packed)), DGF_OK);
    ck_assert_int_eq(dgf_json_msgpack(&out, dgf_buf_bytes(&packed)), DGF_OK);
    return dgf_buf_str(&text);
}

static void begin(void)
{
    dgf_buf_init(&packed, 8 << 20);
    dgf_buf_init(&text, 8 << 20);
}

static void end(void)
{
    dgf_buf_release(&packed);
    dgf_buf_release(&text);
}

START_TEST(values_are_packed_as_what_they_are)
{
    static const struct {
        const char *json, *shown;
    } cases[] = {
        {"null", "null"},
        {" true ", "true"},
        {"[]", "[]"},
        {"{}", "{}"},
        {"{\"a\":[1,{\"b\":null}],\"c\":\"d\"}",
         "{\"a\":[1,{\"b\":null}],\"c\":\"d\"}"},
        {"[1 , 2 ,\t3\r\n]", "[1,2,3]"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"\"\\u00fc\\u20ac\\ud83d\\ude00\"",
         "\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"{\"\\u0061\":1}", "{\"a\":1}"},
    };

    begin();
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(cases[i].json, 90), cases[i].shown);
    end();
}
END_TEST

START_TEST(numbers_keep_every_digit)
{
    static const struct {
        const char *json, *shown;
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"-7", "-7"},
        {"9007199254740993", "{\"$numberLong\":\"9007199254740993\"}"},
        {"9223372036854775807", "{\"$numberLong\":\"9223372036854775807\"}"},
        {"-9223372036854775808", "{\"$numberLong\":\"-9223372036854775808\"}"},
        {"18446744073709551615", "{\"$numberLong\":\"18446744073709551615\"}"},
        {"18446744073709551616", "{\"$numberDecimal\":\"18446744073709551616\"}"},
        {"98765432109876543210", "{\"$numberDecimal\":\"98765432109876543210\"}"},
        {"-9223372036854775809", "{\"$numberDecimal\":\"-9223372036854775809\"}"},
        {"12.50", "12.5"},
        {"0.1", "0.1"},
        {"1e2", "100.0"},
        {"1E+2", "100.0"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"0.300000000000000041", "{\"$numberDecimal\":\"0.300000000000000041\"}"},
        {"0.1234567890123456789", "{\"$numberDecimal\":\"0.1234567890123456789\"}"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"1e400", "{\"$numberDecimal\":\"1e400\"}"},
        {"1e-400", "{\"$numberDecimal\":\"1e-400\"}"},
        {"0.0", "0.0"},
    };

    begin();
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(cases[i].json, 90), cases[i].shown);
    end();
}
END_TEST

START_TEST(what_cannot_be_kept_is_refused)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", "a field stands twice"},
        {"{\"a\":1,\"\\u0061\":2}", "a field stands twice"},
        {"{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "a field stands twice"},
        {"\"\\ud800\"", "a text that is no Unicode"},
        {"\"\\ud800\\u0041\"", "a text that is no Unicode"},
        {"\"\\udc00\"", "a text that is no Unicode"},
        {"\"\xff\"", "a text that is no Unicode"},
        {"{\"\xc3\":1}", "a text that is no Unicode"},
        {"[[[1]]]", "nested too deeply"},
        {"1e9999999999", "a number that is too long"},
    };
    struct dgf_buf digits;

    begin();
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(cases[i].json, 2), cases[i].why);
    dgf_buf_init(&digits, 4096);
    for (int i = 0; i < 2000; i++)
        dgf_buf_add_byte(&digits, '7');
    ck_assert_str_eq(show(dgf_buf_str(&digits), 2), "a number that is too long");
    dgf_buf_release(&digits);
    end();
}
END_TEST

START_TEST(text_that_is_no_json_is_told_from_text_that_is_cut)
{
    static const struct {
        const char *json, *why;
        bool cut;
    } cases[] = {
        {"", "it ends too early", true},
        {"{", "it ends too early", true},
        {"{\"a", "it ends too early", true},
        {"{\"a\"", "it ends too early", true},
        {"{\"a\":", "it ends too early", true},
        {"{\"a\":1", "it ends too early", true},
        {"{\"a\":1,", "it ends too early", true},
        {"[1,", "it ends too early", true},
        {"tru", "it ends too early", true},
        {"\"a\\", "it ends too early", true},
        {"\"\\u12", "it ends too early", true},
        {"1.", "it ends too early", true},
        {"1e", "it ends too early", true},
        {"-", "it ends too early", true},
        {"[1,]", "something that is no value", false},
        {"{,}", "a member without a name", false},
        {"{1:2}", "a member without a name", false},
        {"{\"a\" 1}", "a member without a colon", false},
        {"[1 2]", "a comma is missing", false},
        {"{} {}", "something follows it", false},
        {"01", "something follows it", false},
        {"1.x", "a number without digits", false},
        {"trux", "an unknown word", false},
        {"nan", "an unknown word", false},
        {"\"\\x\"", "an unknown escape", false},
        {"\"\\u12g4\"", "an unknown escape", false},
        {"\"a\nb\"", "a control character in a text", false},
        {"<html>", "something that is no value", false},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        bool cut = false;
        const char *why = dgf_jv_check(dgf_bytes_str(cases[i].json), &cut);

        ck_assert_msg(why, "'%s' is taken", cases[i].json);
        ck_assert_msg(!strcmp(why, cases[i].why), "'%s': %s", cases[i].json, why);
        ck_assert_msg(cut == cases[i].cut, "'%s': cut is %d", cases[i].json, cut);
    }
}
END_TEST

START_TEST(nesting_has_a_bound)
{
    struct dgf_buf json;

    dgf_buf_init(&json, 100000);
    for (int i = 0; i < 50000; i++)
        dgf_buf_add_byte(&json, '[');
    ck_assert_str_eq(dgf_jv_check(dgf_buf_bytes(&json), NULL), "nested too deeply");
    dgf_buf_release(&json);
}
END_TEST

START_TEST(members_are_walked_and_found)
{
    struct dgf_bytes object =
        DGF_BYTES("{ \"a\" : 1 , \"b\\\"\" : [ \"]\" , {} ] , \"c\":{\"a\":2} }");
    struct dgf_jv_walk walk = dgf_jv_walk(object);
    struct dgf_bytes key, value;
    char copy[8];
    int64_t number;

    ck_assert(dgf_jv_next(&walk, &key, &value));
    ck_assert(dgf_bytes_eq(key, DGF_BYTES("\"a\"")));
    ck_assert(dgf_bytes_eq(value, DGF_BYTES("1")));
    ck_assert(dgf_jv_next(&walk, &key, &value));
    ck_assert(dgf_bytes_eq(value, DGF_BYTES("[ \"]\" , {} ]")));
    ck_assert(dgf_jv_next(&walk, &key, &value));
    ck_assert(dgf_bytes_eq(value, DGF_BYTES("{\"a\":2}")));
    ck_assert(!dgf_jv_next(&walk, &key, &value));
    ck_assert(dgf_jv_find(object, "c", &value));
    ck_assert(dgf_jv_find(value, "a", &value));
    ck_assert(dgf_jv_i64(value, &number));
    ck_assert_int_eq(number, 2);
    ck_assert(!dgf_jv_find(object, "d", &value));
    ck_assert(!dgf_jv_find(DGF_BYTES("[1]"), "a", &value));
    ck_assert(dgf_jv_copy(DGF_BYTES("\"1234567\""), copy, sizeof(copy)));
    ck_assert(!dgf_jv_copy(DGF_BYTES("\"12345678\""), copy, sizeof(copy)));
    ck_assert(!dgf_jv_copy(DGF_BYTES("\"1\\u0000\""), copy, sizeof(copy)));
    ck_assert(!dgf_jv_copy(DGF_BYTES("12"), copy, sizeof(copy)));
}
END_TEST

START_TEST(objects_of_any_size_are_packed)
{
    static const unsigned sizes[] = {1, 15, 16, 300, 70000};

    begin();
    for (size_t i = 0; i < DGF_ARRAY_LEN(sizes); i++) {
        struct dgf_mp_token token;
        struct dgf_buf json;
        struct dgf_mp mp;

        dgf_buf_init(&json, 4 << 20);
        for (unsigned k = 0; k < sizes[i]; k++)
            dgf_buf_addf(&json, "%c\"k%u\":[%u]", k ? ',' : '{', k, k);
        dgf_buf_add_byte(&json, '}');
        dgf_buf_clear(&packed);
        ck_assert_ptr_null(dgf_jv_pack(dgf_buf_bytes(&json), 9, &packed));
        ck_assert_int_eq(dgf_mp_check(dgf_buf_bytes(&packed)), DGF_OK);
        mp = dgf_mp_of(dgf_buf_bytes(&packed));
        ck_assert_int_eq(dgf_mp_next(&mp, &token), DGF_OK);
        ck_assert_int_eq(token.kind, DGF_MP_MAP);
        ck_assert_uint_eq(token.n, sizes[i]);
        dgf_buf_release(&json);
    }
    end();
}
END_TEST

DGF_UNIT(json_value, values_are_packed_as_what_they_are, numbers_keep_every_digit,
         what_cannot_be_kept_is_refused,
         text_that_is_no_json_is_told_from_text_that_is_cut, nesting_has_a_bound,
         members_are_walked_and_found, objects_of_any_size_are_packed)
