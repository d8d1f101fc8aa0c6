/* unit.h - the main() of a unit test file.
 *
 *   DGF_UNIT(buf, a_full_buffer_refuses_more, base64_is_padded)
 *
 * makes one suite of those START_TEST functions and runs it; CK_FORK=no runs
 * them in this process. */
#ifndef DGF_TESTS_UNIT_H
#define DGF_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

#define DGF_UNIT(module, ...)                                           \
    int main(void)                                                      \
    {                                                                   \
        const TTest *const tests[] = {__VA_ARGS__};                     \
        Suite *suite = suite_create(#module);                           \
        SRunner *runner = srunner_create(suite);                        \
        int failed;                                                     \
                                                                        \
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) { \
            TCase *tc = tcase_create(tests[i]->name);                   \
                                                                        \
            tcase_set_timeout(tc, 300);                                 \
            tcase_add_test(tc, tests[i]);                               \
            suite_add_tcase(suite, tc);                                 \
        }                                                               \
        srunner_run_all(runner, CK_ENV);                                \
        failed = srunner_ntests_failed(runner);                         \
        srunner_free(runner);                                           \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;                    \
    }

#endif
