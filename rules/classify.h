/* classify.h - what class a field has: from policy files (`classes:`), the
 * configuration (`classification:`) and the comment of the column
 * (`dgf.class=restricted` anywhere in it).  Where several speak, the strictest
 * counts, so that order never matters.  Thread: any. */
#ifndef DGF_RULES_CLASSIFY_H
#define DGF_RULES_CLASSIFY_H

#include "policy.h"

/* NONE when nobody said.  comment may be NULL. */
enum dgf_class dgf_classify(const struct dgf_policy_set *set,
                            const struct dgf_object *object, struct dgf_bytes field,
                            const char *comment);
/* Sets object->classes for all columns.  DGF_NOMEM. */
enum dgf_rc dgf_classify_object(const struct dgf_policy_set *set,
                                struct dgf_object *object) DGF_MUST_USE;

#endif
