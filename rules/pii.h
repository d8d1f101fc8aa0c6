/* pii.h - the functions the policy language has beyond CEL's.
 *
 * All are total: a value they do not understand gives false, 0 or an empty
 * text, never an error.  Thread: that of the evaluation. */
#ifndef DGF_RULES_PII_H
#define DGF_RULES_PII_H

#include "bus/mask.h"
#include "cel/cel.h"

/* dgf_cel_eval.host of every evaluation that may call them; both may be NULL:
 * then token() is an error and every field is unclassified. */
struct dgf_policy_host {
    struct dgf_masker *masker;
    enum dgf_class (*class_of)(struct dgf_policy_host *host, struct dgf_bytes field);
};

/* For dgf_cel_env_functions; ends with name NULL. */
extern const struct dgf_cel_function dgf_policy_functions[];
/* A country pii.national_id() does not know. */
bool dgf_policy_literal_wrong(const char *function, struct dgf_bytes literal,
                              char *ret_text, size_t size);

#endif
