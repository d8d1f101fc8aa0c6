/* policy_event.h - events written in YAML: examples beside a policy, and test
 * files.  Thread: the one that runs the tests. */
#ifndef DGF_RULES_POLICY_EVENT_H
#define DGF_RULES_POLICY_EVENT_H

#include "bus/source.h"

/* What an event that leaves it out is about. */
struct dgf_policy_event_defaults {
    const char *source, *object; /* NULL: must be written */
    const char *type;            /* source type */
    int kind, op;                /* -1: must be written */
    int64_t time_ns;
    unsigned n; /* ordinal: makes ids differ */
};

/* An event with the source it seems to come from, which holds its labels. */
struct dgf_policy_event {
    struct dgf_event *event;
    struct dgf_source source;
    struct dgf_source_type type;
    char *source_name, *type_name;
};

/* Packs one value; false after a finding (E0452).  depth: 0. */
bool dgf_policy_value(const struct dgf_yaml *doc, struct dgf_findings *findings,
                      const struct dgf_yaml_node *node, struct dgf_buf *out,
                      unsigned depth);

/* node: the event; or, with base, {set, unavailable} on top of base.
 * DGF_BAD_CONFIG after findings (E0452). */
enum dgf_rc dgf_policy_event_make(const struct dgf_yaml *doc,
                                  const struct dgf_yaml_node *node,
                                  const struct dgf_yaml_node *base,
                                  const struct dgf_policy_event_defaults *defaults,
                                  struct dgf_findings *findings,
                                  struct dgf_policy_event **ret) DGF_MUST_USE;
void dgf_policy_event_free(struct dgf_policy_event *event);
DGF_CLEANUP_OF(struct dgf_policy_event *, dgf_policy_event_free)

#endif
