#include "base/err.h"

#include <string.h>

#include "unit.h"

START_TEST(a_text_says_what_failed_and_the_code_what_to_do)
{
    struct dgf_err err;

    ck_assert_int_eq(dgf_err_set(&err, DGF_RETRY, "cannot open '%s'", "x"), DGF_RETRY);
    ck_assert_int_eq(err.rc, DGF_RETRY);
    ck_assert_str_eq(err.text, "cannot open 'x'");
    ck_assert_int_eq(dgf_err_prefix(&err, "source %d", 7), DGF_RETRY);
    ck_assert_str_eq(err.text, "source 7: cannot open 'x'");
}
END_TEST

START_TEST(a_text_that_is_too_long_ends_in_dots_and_whole_characters)
{
    struct dgf_err err;
    char text[4000];

    for (size_t i = 0; i + 2 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof(text) - 2] = '\0';
    (void)dgf_err_set(&err, DGF_FATAL, "a%s", text);
    ck_assert_uint_lt(strlen(err.text), sizeof(err.text));
    ck_assert_str_eq(err.text + strlen(err.text) - 5, "\xc3\xa9...");
}
END_TEST

DGF_UNIT(err, a_text_says_what_failed_and_the_code_what_to_do,
         a_text_that_is_too_long_ends_in_dots_and_whole_characters)
