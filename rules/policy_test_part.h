/* policy_test_part.h - what running examples and running test files share.
 * Thread: the one that runs the tests. */
#ifndef DGF_RULES_POLICY_TEST_PART_H
#define DGF_RULES_POLICY_TEST_PART_H

#include "policy_test.h"

/* When an example says no time, so that exceptions behave the same every day. */
#define EXAMPLE_TIME_NS INT64_C(1767225600000000000) /* 2026-01-01T00:00:00Z */
#define LINE_MAX_BYTES 1024

struct dgf_running {
    struct dgf_policy_tests *tests;
    const struct dgf_policy_world *world;
    struct dgf_findings *findings;
    struct dgf_masker masker;
    struct dgf_map fired, passed; /* policy id -> something */
    struct dgf_map ids;           /* all ids that were loaded */
    unsigned n_events;
    bool nomem;
};

/* Counts one example or test; failure NULL: it holds. */
void dgf_running_tell(struct dgf_running *running, const struct dgf_yaml *doc,
                      const struct dgf_yaml_node *node, const char *code, bool example,
                      const char *name, const char *failure);
void dgf_running_note(struct dgf_running *running, struct dgf_map *map, const char *id);
/* What the policy itself says; an error before the violation that goes with it. */
const struct dgf_judgement *dgf_running_judgement(const struct dgf_judged *judged,
                                                  const char *id);
/* All examples of one file; its policies are in set. */
void dgf_running_examples(struct dgf_running *running, struct dgf_policy_set *set,
                          const char *path);

#endif
