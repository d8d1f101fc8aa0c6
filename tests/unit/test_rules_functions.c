/* The functions policies have beyond CEL's: what they find, what they leave, and
 * that no value makes them fail. */
#include "rules_fixture.h"

/* when: an expression over after.v. */
static const char *asked(const char *when, const char *value)
{
    char policy[512], event[1024];

    snprintf(policy, sizeof(policy), "    when: >-\n      %s\n", when);
    snprintf(event, sizeof(event), "{after: {v: %s}}", value);
    return SAYS(policy, event);
}

static const struct {
    const char *when, *value;
    bool yes;
} finds[] = {
    {"pii.card(after.v)", "'4111 1111 1111 1111'", true},
    {"pii.card(after.v)", "4111111111111111", true}, /* number columns too */
    {"pii.card(after.v)", "{$numberDecimal: '4111111111111111'}", true},
    {"pii.card(after.v)", "[a, {b: [x, '4111-1111-1111-1111']}]", true},
    {"pii.card(after.v)", "{'4111111111111111': x}", true}, /* a name of a field */
    {"pii.card(after.v)", "'4111 1111 1111 1112'", false},
    {"pii.card(after.v)", "4111111111111112", false},
    {"pii.ssn(after.v)", "'ssn 536-22-1234.'", true},
    {"pii.ssn(after.v)", "'000-22-1234'", false},
    {"pii.iban(after.v)", "'to DE89 3704 0044 0532 0130 00'", true},
    {"pii.iban(after.v)", "'to DE89 3704 0044 0532 0130 01'", false},
    {"pii.email(after.v)", "'write to ada@shop.example today'", true},
    {"pii.email(after.v)", "'ada at shop'", false},
    {"pii.phone(after.v)", "'+33 1 42 68 53 00'", true},
    {"pii.phone(after.v)", "'order 42'", false},
    {"pii.ip(after.v)", "'from 192.0.2.7'", true},
    {"pii.ip(after.v)", "'version 1.2.3'", false},
    {"pii.any(after.v)", "'ada@shop.example'", true},
    {"pii.any(after.v)", "'AKIAIOSFODNN7EXAMPLE'", false}, /* no person: a secret */
    {"secret.any(after.v)", "'AKIAIOSFODNN7EXAMPLE'", true},
    {"secret.any(after.v)", "'my password is lost'", false},
    {"pii.national_id(after.v, \"ES\")", "'dni 12345678Z'", true},
    {"pii.national_id(after.v, \"ES\")", "'dni 12345678A'", false},
    {"pii.national_id(after.v, \"NL\")", "'111222333'", true},
    {"pii.national_id(after.v, \"NL\")", "'111222334'", false},
    {"pii.national_id(after.v, \"US\")", "'536-22-1234'", true},
    {"luhn(after.v)", "'79927398713'", true},
    {"luhn(after.v)", "79927398713", true},
    {"luhn(after.v)", "'79927398710'", false},
    {"luhn(after.v)", "'7'", false},
    {"luhn(after.v)", "'7992 7398713'", false},
    {"snake_case(after.v)", "order_line_2", true},
    {"snake_case(after.v)", "orderLine", false},
    {"snake_case(after.v)", "_order", false},
    {"snake_case(after.v)", "order__line", false},
    {"snake_case(after.v)", "order_", false},
    {"snake_case(after.v)", "''", false},
    {"snake_case(after.v)", "2nd", false},
    {"uuid.version(after.v) == 4", "7f1c2f0e-8a55-4d0b-9a3e-0d5f6a1b2c3d", true},
    {"uuid.version(after.v) == 1", "7F1C2F0E-8A55-1D0B-AA3E-0D5F6A1B2C3D", true},
    {"uuid.version(after.v) == 0", "7f1c2f0e-8a55-4d0b-1a3e-0d5f6a1b2c3d", true},
    {"uuid.version(after.v) == 0", "7f1c2f0e8a554d0b9a3e0d5f6a1b2c3d", true},
    {"glob(after.v, 'a/**')", "a/b/c", true},
    {"glob(after.v, 'a/*')", "a/b/c", false},
    {"mask(after.v, 4) == '************1111'", "'4111111111111111'", true},
    {"mask(after.v, 99) == '**cd'", "abcd", true}, /* at most half stays */
    {"mask(after.v, -1) == '****'", "abcd", true},
    {"mask(after.v, 1) == '*\u00e9'", "\u00e8\u00e9", true},
    {"mask(after.v, 1) == ''", "''", true},
    {"token(after.v) == token(after.v) && token(after.v) != token('x')", "abc", true},
    {"token(after.v).contains('abc')", "abc", false},
    {"missing(after.v)", "null", true},
    {"missing(after.v)", "''", false},
    {"decimal(after.v) == decimal('12.50')", "'12.5'", true},
    {"class('v') == 'restricted'", "a", false},
};

START_TEST(functions_find_what_they_are_made_for_and_nothing_else)
{
    ck_assert_msg(strcmp(asked(finds[_i].when, finds[_i].value),
                         finds[_i].yes ? "T-1 violation: A test\n" : "pass\n") == 0,
                  "%s of %s: %s", finds[_i].when, finds[_i].value, dgf_buf_str(&said));
}
END_TEST

static const char *const total[] = {
    "pii.card(after.v)",   "pii.ssn(after.v)",
    "pii.iban(after.v)",   "pii.email(after.v)",
    "pii.phone(after.v)",  "pii.ip(after.v)",
    "pii.any(after.v)",    "pii.national_id(after.v, \"FR\")",
    "secret.any(after.v)", "glob(after.v, 'x*')",
    "snake_case(after.v)", "uuid.version(after.v) > 0",
    "luhn(after.v)",       "mask(after.v, 2) == 'x'",
    "missing(after.v)",    "token(after.v) == 'x'",
    "!known(after.v)",
};
static const char *const values[] = {
    "null",
    "true",
    "0",
    "-9223372036854775808",
    "9223372036854775807",
    "1.5",
    ".nan",
    "-1.0e300",
    "{$numberDecimal: 'NaN'}",
    "{$uuid: 7f1c2f0e-8a55-4d0b-9a3e-0d5f6a1b2c3d}",
    "{$binary: '/wAB'}",
    "{$numberDecimal: '123456789012345678901234567890.123'}",
    "{$date: '2030-03-02T09:00:00Z'}",
    "''",
    "'\\\\x00'",
    "[]",
    "{}",
    "[[[[[[[[[[a]]]]]]]]]]",
    "{a: {b: [1, null, true, {c: d}]}}",
};

START_TEST(no_kind_of_value_makes_a_function_fail)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(values); i++) {
        const char *text = asked(total[_i], values[i]);

        ck_assert_msg(strcmp(text, "pass\n") == 0 ||
                          strcmp(text, "T-1 violation: A test\n") == 0,
                      "%s of %s: %s", total[_i], values[i], text);
    }
}
END_TEST

START_TEST(what_lies_deeper_than_the_search_is_unknown_and_not_clean)
{
    ck_assert_str_eq(
        asked("pii.card(after.v)",
              "[[[[[[[[[[[[[[[[[[[['4111111111111111']]]]]]]]]]]]]]]]]]]]"),
        "T-1 review: A test\n");
}
END_TEST

START_TEST(an_unknown_country_is_an_error_that_names_the_known_ones)
{
    ck_assert_str_eq(asked("pii.national_id(after.v, after.v)", "a"),
                     "T-1 error E0401: pii.national_id() does not know this country; "
                     "it knows BR, DE, ES, FR, GB, NL, PL, SE, US\n"
                     "T-1 violation: A test\n");
}
END_TEST

/* Looking through long texts is paid for: when it costs too much that is said,
 * and nothing waits. */
START_TEST(long_texts_end_at_the_budget)
{
    struct dgf_buf event;

    dgf_buf_init(&event, 1 << 20);
    dgf_buf_add_str(&event, "{after: {v: '");
    for (int i = 0; i < 130000; i++)
        dgf_buf_add_str(&event, "x@ 12 ");
    dgf_buf_add_str(&event, "'}}");
    ck_assert_str_eq(SAYS("    when: 'pii.any(after.v)'\n", dgf_buf_str(&event)),
                     "pass\n");
    ck_assert_str_eq(SAYS("    when: 'pii.card(after.v) || pii.iban(after.v) || "
                          "pii.ssn(after.v)'\n",
                          dgf_buf_str(&event)),
                     "T-1 error E0402: the cost budget of one evaluation is used up\n"
                     "T-1 violation: A test\n");
    dgf_buf_release(&event);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules_functions");
    SRunner *runner = srunner_create(suite);
    TCase *tc = tcase_create("functions");
    int failed;

    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, functions_find_what_they_are_made_for_and_nothing_else, 0,
                        (int)DGF_ARRAY_LEN(finds));
    tcase_add_loop_test(tc, no_kind_of_value_makes_a_function_fail, 0,
                        (int)DGF_ARRAY_LEN(total));
    tcase_add_test(tc, what_lies_deeper_than_the_search_is_unknown_and_not_clean);
    tcase_add_test(tc, an_unknown_country_is_an_error_that_names_the_known_ones);
    tcase_add_test(tc, long_texts_end_at_the_budget);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
