/* policy_test.h - runs the examples of policies, and test files
 * (*_test.yaml): the engine that judges live judges here.
 * Thread: the one that runs the tests. */
#ifndef DGF_RULES_POLICY_TEST_H
#define DGF_RULES_POLICY_TEST_H

#include "engine.h"

/* Does a file of this name hold tests (*_test.yaml)? */
bool dgf_policy_is_test_file(const char *name);

/* One example or test. */
struct dgf_policy_case {
    const char *file, *name;
    unsigned line;
    const char *failure; /* NULL: it holds */
};

struct dgf_policy_tests {
    void (*on_case)(void *ctx, const struct dgf_policy_case *one); /* may be NULL */
    void *ctx;
    size_t n_examples, n_tests, n_failed;
    /* policies that no example or test made fire, or pass: ids, owned */
    struct dgf_str_list never_fired, never_passed;
};

/* Loads and runs everything under paths; failures are findings E0450 and
 * E0451.  DGF_BAD_CONFIG: a file cannot be used (findings say why). */
enum dgf_rc dgf_policy_tests_run(const char *const *paths, size_t n_paths,
                                 const struct dgf_policy_world *world,
                                 struct dgf_findings *findings,
                                 struct dgf_policy_tests *tests) DGF_MUST_USE;
void dgf_policy_tests_release(struct dgf_policy_tests *tests);

#endif
