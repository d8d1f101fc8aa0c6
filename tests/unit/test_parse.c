#include "base/parse.h"

#include "base/mem.h"

#include "unit.h"

/* Each table: a text and its value; those without one are refused. */
#define LOOK(table, parse, type, check)                        \
    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++) {        \
        type value = 77;                                       \
        bool ok = parse(dgf_bytes_str(table[i].text), &value); \
                                                               \
        ck_assert_msg(ok == table[i].ok, "%s", table[i].text); \
        check(value, ok ? table[i].value : 77);                \
    }

static const struct {
    const char *text;
    bool ok;
    int64_t value;
} ints[] = {
    {"0", true, 0},
    {"-0", true, 0},
    {"42", true, 42},
    {"-42", true, -42},
    {"007", true, 7},
    {"9223372036854775807", true, INT64_MAX},
    {"-9223372036854775808", true, INT64_MIN},
    {"9223372036854775808", false, 0},
    {"-9223372036854775809", false, 0},
    {"99999999999999999999999", false, 0},
    {"", false, 0},
    {"-", false, 0},
    {"+1", false, 0},
    {" 1", false, 0},
    {"1 ", false, 0},
    {"1x", false, 0},
    {"0x10", false, 0},
};

START_TEST(an_integer_is_digits_and_nothing_else)
{
    uint64_t unsigned_value = 7;

    LOOK(ints, dgf_parse_i64, int64_t, ck_assert_int_eq)
    ck_assert(dgf_parse_u64(DGF_BYTES("18446744073709551615"), &unsigned_value));
    ck_assert_uint_eq(unsigned_value, UINT64_MAX);
    ck_assert(!dgf_parse_u64(DGF_BYTES("18446744073709551616"), &unsigned_value));
    ck_assert(!dgf_parse_u64(DGF_BYTES("-1"), &unsigned_value));
    ck_assert(dgf_parse_hex_u64(DGF_BYTES("B374D848"), &unsigned_value));
    ck_assert_uint_eq(unsigned_value, 0xb374d848);
    ck_assert(dgf_parse_hex_u64(DGF_BYTES("ffffffffffffffff"), &unsigned_value));
    ck_assert_uint_eq(unsigned_value, UINT64_MAX);
    ck_assert(!dgf_parse_hex_u64(DGF_BYTES("10000000000000000"), &unsigned_value));
    ck_assert(!dgf_parse_hex_u64(DGF_BYTES("0x1"), &unsigned_value));
    ck_assert(!dgf_parse_hex_u64(DGF_BYTES(""), &unsigned_value));
}
END_TEST

static const struct {
    const char *text;
    bool ok;
    double value;
} doubles[] = {
    {"0", true, 0},      {"1.5", true, 1.5},   {"-2.25e3", true, -2250},
    {"1E+2", true, 100}, {"1e-2", true, 0.01}, {"1e400", false, 0},
    {"nan", false, 0},   {"inf", false, 0},    {"", false, 0},
    {"-", false, 0},     {"1.", false, 0},     {".5", false, 0},
    {"1e", false, 0},    {"1e+", false, 0},    {"0x1p3", false, 0},
    {"1,5", false, 0},   {" 1", false, 0},     {"1.5 ", false, 0},
};

START_TEST(a_double_is_finite_and_written_as_in_json)
{LOOK(doubles, dgf_parse_double, double, ck_assert_double_eq)} END_TEST

START_TEST(a_boolean_is_true_or_false)
{
    bool value = false;

    ck_assert(dgf_parse_bool(DGF_BYTES("true"), &value));
    ck_assert(value);
    ck_assert(dgf_parse_bool(DGF_BYTES("false"), &value));
    ck_assert(!value);
    for (const char *const *text =
             (const char *const[]){"yes", "True", "1", "on", "", NULL};
         *text; text++)
        ck_assert(!dgf_parse_bool(dgf_bytes_str(*text), &value));
}
END_TEST

#define S 1000000000

static const struct {
    const char *text;
    bool ok;
    int64_t value;
} durations[] = {
    {"5s", true, 5ll * S},
    {"100ms", true, 100000000},
    {"1.5h", true, 5400ll * S},
    {"90d", true, 7776000ll * S},
    {"2us", true, 2000},
    {"7ns", true, 7},
    {"0s", true, 0},
    {"3m", true, 180ll * S},
    {"0.001s", true, 1000000},
    {"0.5000000000000000000000000s", true, S / 2},
    {"0.000000001s", true, 1},
    {"0.0000000001s", false, 0},
    {"1.5ns", false, 0},
    {"0.1234567890123456789s", false, 0},
    {"106751d", true, 106751ll * 86400 * S},
    {"106752d", false, 0},
    {"5", false, 0},
    {"5 s", false, 0},
    {"s", false, 0},
    {".5s", false, 0},
    {"1.s", false, 0},
    {"-5s", false, 0},
    {"1m30s", false, 0},
    {"5S", false, 0},
    {"5sec", false, 0},
    {"", false, 0},
};

START_TEST(a_duration_is_a_number_and_one_unit)
{LOOK(durations, dgf_parse_duration, int64_t, ck_assert_int_eq)} END_TEST

static const struct {
    const char *text;
    bool ok;
    uint64_t value;
} sizes[] = {
    {"512", true, 512},
    {"64KiB", true, 65536},
    {"4MiB", true, 4194304},
    {"1GiB", true, 1073741824},
    {"2TiB", true, 2199023255552},
    {"3kB", true, 3000},
    {"3MB", true, 3000000},
    {"3GB", true, 3000000000},
    {"16777216TiB", false, 0},
    {"1.5GiB", false, 0},
    {"4M", false, 0},
    {"4 MiB", false, 0},
    {"4mib", false, 0},
    {"MiB", false, 0},
    {"-1", false, 0},
    {"", false, 0},
};

START_TEST(a_size_is_a_whole_number_and_at_most_one_unit)
{LOOK(sizes, dgf_parse_size, uint64_t, ck_assert_uint_eq)} END_TEST

static const struct {
    const char *text;
    bool ok;
    int64_t value;
} times[] = {
    {"1970-01-01T00:00:00Z", true, 0},
    {"2026-03-02T09:00:00.5Z", true, 1772442000500000000},
    {"2026-03-02T11:30:00+02:30", true, 1772442000000000000},
    {"2026-03-02T07:00:00.000000001-02:00", true, 1772442000000000001},
    {"1969-12-31T23:59:59.999999999Z", true, -1},
    {"2024-02-29T00:00:00Z", true, 1709164800000000000},
    {"2262-04-11T23:47:16.854775807Z", true, INT64_MAX},
    {"1677-09-21T00:12:43.145224192Z", true, INT64_MIN},
    {"2262-04-11T23:47:16.854775808Z", false, 0},
    {"1677-09-21T00:12:43.145224191Z", false, 0},
    {"2023-02-29T00:00:00Z", false, 0},
    {"1900-02-29T00:00:00Z", false, 0},
    {"2023-04-31T00:00:00Z", false, 0},
    {"2023-13-01T00:00:00Z", false, 0},
    {"2023-00-01T00:00:00Z", false, 0},
    {"2023-01-01T24:00:00Z", false, 0},
    {"2023-01-01T00:60:00Z", false, 0},
    {"2023-01-01T00:00:60Z", false, 0},
    {"2023-01-01T00:00:00", false, 0},
    {"2023-01-01T00:00:00.Z", false, 0},
    {"2023-01-01T00:00:00.0123456789Z", false, 0},
    {"2023-01-01T00:00:00+2:00", false, 0},
    {"2023-01-01T00:00:00+24:00", false, 0},
    {"2023-01-01T00:00:00Zx", false, 0},
    {"2023-01-01 00:00:00Z", false, 0},
    {"2023-1-01T00:00:00Z", false, 0},
    {"2023-01-01", false, 0},
    {"", false, 0},
};

START_TEST(a_time_is_rfc_3339_with_a_zone)
{LOOK(times, dgf_parse_time, int64_t, ck_assert_int_eq)} END_TEST

static const struct {
    int64_t ns;
    const char *text;
} formatted[] = {
    {0, "1970-01-01T00:00:00Z"},
    {1, "1970-01-01T00:00:00.000000001Z"},
    {-1, "1969-12-31T23:59:59.999999999Z"},
    {1772442000500000000, "2026-03-02T09:00:00.5Z"},
    {1772442000500000001, "2026-03-02T09:00:00.500000001Z"},
    {1772442059000000000, "2026-03-02T09:00:59Z"},
    {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
    {INT64_MIN, "1677-09-21T00:12:43.145224192Z"},
};

START_TEST(a_time_is_written_with_the_digits_it_needs)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 100);
    for (size_t i = 0; i < DGF_ARRAY_LEN(formatted); i++) {
        dgf_buf_clear(&buf);
        dgf_format_time(&buf, formatted[i].ns);
        ck_assert_str_eq(dgf_buf_str(&buf), formatted[i].text);
    }
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(every_day_of_two_eras_goes_there_and_back)
{
    int64_t days = dgf_days_of(1600, 1, 1), year = 1600;
    unsigned month = 1, day = 1;

    ck_assert_int_eq(dgf_days_of(1970, 1, 1), 0);
    ck_assert_int_eq(dgf_days_of(0, 3, 1), -719468);
    ck_assert_int_eq(dgf_days_of(-400, 3, 1), -719468 - 146097);
    for (; year < 2400; days++) {
        int64_t y;
        unsigned m, d;

        ck_assert_int_eq(dgf_days_of(year, month, day), days);
        dgf_date_of(days, &y, &m, &d);
        ck_assert_int_eq(y, year);
        ck_assert_uint_eq(m, month);
        ck_assert_uint_eq(d, day);
        if (++day > (month == 2
                         ? 28u + (year % 4 == 0 && (year % 100 || year % 400 == 0))
                         : 30u + (0x15aau >> month & 1))) {
            day = 1;
            month = month % 12 + 1;
            year += month == 1;
        }
    }
}
END_TEST

START_TEST(durations_and_sizes_are_written_in_the_largest_whole_unit)
{
    static const struct {
        int64_t ns;
        const char *text;
    } spans[] = {{0, "0s"},         {1, "1ns"},         {1500, "1500ns"},
                 {90ll * S, "90s"}, {3600ll * S, "1h"}, {86400ll * S, "1d"},
                 {-5000000, "-5ms"}};
    static const struct {
        uint64_t bytes;
        const char *text;
    } amounts[] = {
        {0, "0"}, {512, "512"}, {1024, "1KiB"}, {1536, "1536"}, {1ull << 40, "1TiB"}};
    struct dgf_buf buf;

    dgf_buf_init(&buf, 100);
    for (size_t i = 0; i < DGF_ARRAY_LEN(spans); i++) {
        dgf_buf_clear(&buf);
        dgf_format_duration(&buf, spans[i].ns);
        ck_assert_str_eq(dgf_buf_str(&buf), spans[i].text);
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(amounts); i++) {
        dgf_buf_clear(&buf);
        dgf_format_size(&buf, amounts[i].bytes);
        ck_assert_str_eq(dgf_buf_str(&buf), amounts[i].text);
    }
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(hex_and_base64_have_one_spelling_a_content)
{
    static const char *const bad[] = {"Zg=",   "Zg",   "Zh==",     "Zm9=", "=m9v",
                                      "Zm9v=", "Zm 9", "Zg==Zg==", "====", "Zm-v"};
    struct dgf_buf buf;
    uint8_t bytes[2];

    ck_assert(dgf_parse_hex(DGF_BYTES("aB09"), bytes, 2));
    ck_assert_mem_eq(bytes, "\xab\x09", 2);
    ck_assert(!dgf_parse_hex(DGF_BYTES("aB0"), bytes, 2));
    ck_assert(!dgf_parse_hex(DGF_BYTES("aB0g"), bytes, 2));
    ck_assert(!dgf_parse_hex(DGF_BYTES("aB0912"), bytes, 2));
    dgf_buf_init(&buf, 100);
    dgf_buf_add_str(&buf, "<");
    ck_assert(dgf_parse_base64(DGF_BYTES(""), &buf));
    ck_assert(dgf_parse_base64(DGF_BYTES("Zm9vYg=="), &buf));
    ck_assert(dgf_parse_base64(DGF_BYTES("Zm8="), &buf));
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_msg(!dgf_parse_base64(dgf_bytes_str(bad[i]), &buf), "%s", bad[i]);
    ck_assert_str_eq(dgf_buf_str(&buf), "<foobfo");
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(utf8_has_no_surrogates_nothing_overlong_and_an_end)
{
    static const struct {
        const char *text;
        bool ok;
    } texts[] = {{"", true},
                 {"plain text longer than eight", true},
                 {"\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 long enough", true},
                 {"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf", true},
                 {"\x80", false},
                 {"\xc3", false},
                 {"12345678\xe2\x82", false},
                 {"\xc0\x80", false},
                 {"\xc1\xbf", false},
                 {"\xe0\x9f\xbf", false},
                 {"\xed\xa0\x80", false},
                 {"\xf0\x8f\xbf\xbf", false},
                 {"\xf4\x90\x80\x80", false},
                 {"\xf5\x80\x80\x80", false},
                 {"\xe2\x28\xa1", false}};

    for (size_t i = 0; i < DGF_ARRAY_LEN(texts); i++)
        ck_assert_msg(dgf_utf8_valid(dgf_bytes_str(texts[i].text)) == texts[i].ok,
                      "%zu", i);
    ck_assert(dgf_utf8_valid(DGF_BYTES("a\0b")));
}
END_TEST

START_TEST(the_nearest_word_is_within_a_third_of_its_length)
{
    static const char *const names[] = {"slot", "slot_name", "tables", "url", "tls"};

    ck_assert_uint_eq(dgf_edit_distance("kitten", "sitting", 10), 3);
    ck_assert_uint_eq(dgf_edit_distance("abcd", "abdc", 10), 1);
    ck_assert_uint_eq(dgf_edit_distance("", "abc", 10), 3);
    ck_assert_uint_eq(dgf_edit_distance("abcdef", "ghijkl", 2), 2);
    ck_assert_str_eq(dgf_nearest("slot_nane", names, 5), "slot_name");
    ck_assert_str_eq(dgf_nearest("tabels", names, 5), "tables");
    ck_assert_str_eq(dgf_nearest("ulr", names, 5), "url");
    ck_assert_str_eq(dgf_nearest("TABLES", names, 5), "tables");
    ck_assert_ptr_null(dgf_nearest("x", names, 5));
    ck_assert_ptr_null(dgf_nearest("password", names, 5));
    ck_assert_ptr_null(dgf_nearest("", names, 5));
}
END_TEST

DGF_UNIT(parse, an_integer_is_digits_and_nothing_else,
         a_double_is_finite_and_written_as_in_json, a_boolean_is_true_or_false,
         a_duration_is_a_number_and_one_unit,
         a_size_is_a_whole_number_and_at_most_one_unit, a_time_is_rfc_3339_with_a_zone,
         a_time_is_written_with_the_digits_it_needs,
         every_day_of_two_eras_goes_there_and_back,
         durations_and_sizes_are_written_in_the_largest_whole_unit,
         hex_and_base64_have_one_spelling_a_content,
         utf8_has_no_surrogates_nothing_overlong_and_an_end,
         the_nearest_word_is_within_a_third_of_its_length)
