/* engine.h - judges events against a policy set.
 *
 * A policy set is immutable once loaded and may be shared; an engine evaluates
 * one event at a time with an arena of its own.  All matching policies fire;
 * order never hides one.  No I/O, no clock but the event's.  Thread: the one
 * that owns the engine; loading may run on a worker. */
#ifndef DGF_RULES_ENGINE_H
#define DGF_RULES_ENGINE_H

#include "base/findings.h"
#include "base/opt.h"
#include "bus/record_write.h"

struct dgf_policy_set;
struct dgf_engine;

/* What is known about the world the policies run in; all borrowed during load. */
struct dgf_policy_world {
    const char *const
        *source_names; /* configured; NULL: not known (rules check on files) */
    const char *const *source_types;
    size_t n_sources;
    const struct dgf_yaml *config; /* holds classification:, naming:; may be NULL */
    int64_t now_ns;                /* for exceptions that have ended */
};

/* Loads files and folders (*.yaml, *.yml but not *_test.yaml), all errors of all
 * files as findings.  DGF_BAD_CONFIG when there is an error; *ret untouched. */
enum dgf_rc dgf_policy_set_load(const char *const *paths, size_t n_paths,
                                const struct dgf_policy_world *world,
                                struct dgf_findings *findings,
                                struct dgf_policy_set **ret) DGF_MUST_USE;
/* One file's text; path is used in marks and in the digest. */
enum dgf_rc dgf_policy_set_parse(const char *path, struct dgf_bytes text,
                                 const struct dgf_policy_world *world,
                                 struct dgf_findings *findings,
                                 struct dgf_policy_set **ret) DGF_MUST_USE;
struct dgf_policy_set *dgf_policy_set_ref(struct dgf_policy_set *set);
void dgf_policy_set_unref(struct dgf_policy_set *set); /* NULL is fine */
DGF_CLEANUP_OF(struct dgf_policy_set *, dgf_policy_set_unref)
const char *dgf_policy_set_digest(
    const struct dgf_policy_set *set); /* "sha256:<hex>" */
/* The files it was made of, as they were read.  false: there is no such one. */
bool dgf_policy_set_file(const struct dgf_policy_set *set, size_t i,
                         const char **ret_path, const uint8_t **ret_sha256);
size_t dgf_policy_set_count(const struct dgf_policy_set *set);
const struct dgf_policy_ref *dgf_policy_set_at(const struct dgf_policy_set *set,
                                               size_t i);
/* Object of `policy_set` records:
 * {"old":..,"new":..,"added":[..],"removed":[..],"changed":[..]}. */
void dgf_policy_set_diff(const struct dgf_policy_set *old_set,
                         const struct dgf_policy_set *new_set,
                         struct dgf_buf *out_json);

/* `dgf check`: could every policy that watches an object be judged there, and does
 * it watch any?  Needs the source cannot meet (E0441), expressions that do not fit
 * the columns (E0442) and policies on changes whose objects match nothing (W0449)
 * become findings at the policy.  Thread: loop. */
struct dgf_preflight;
struct dgf_preflight *dgf_preflight_new(struct dgf_policy_set *set); /* NULL: memory */
void dgf_preflight_free(struct dgf_preflight *preflight);            /* NULL is fine */
DGF_CLEANUP_OF(struct dgf_preflight *, dgf_preflight_free)
enum dgf_rc dgf_preflight_object(struct dgf_preflight *preflight,
                                 struct dgf_source *src, struct dgf_object *object,
                                 struct dgf_findings *findings) DGF_MUST_USE;
/* This source could not say what it reads: its policies get the benefit. */
void dgf_preflight_silent(struct dgf_preflight *preflight, const char *source);
void dgf_preflight_end(struct dgf_preflight *preflight, struct dgf_findings *findings);
/* JSON Schema of policy files, as schemas/policy.schema.json holds it. */
void dgf_policy_schema(struct dgf_buf *out);

/* masker: for messages; borrowed. */
enum dgf_rc dgf_engine_new(struct dgf_policy_set *set, struct dgf_masker *masker,
                           struct dgf_engine **ret, struct dgf_err *err) DGF_MUST_USE;
void dgf_engine_free(struct dgf_engine *engine);
/* Swaps the set between two transactions; objects are bound anew on next sight. */
enum dgf_rc dgf_engine_swap(struct dgf_engine *engine, struct dgf_policy_set *set,
                            struct dgf_err *err) DGF_MUST_USE;
/* Judges one event.  Where a policy cannot be judged on an object (a need its
 * source cannot meet, an expression that does not fit the columns), the first
 * event of that object carries a violation of the built-in policy DGF-COV-1
 * that names them all.  Judges a change, schema, access, setting, message or notice
 * event.  *ret is valid until the next call.  Evaluation errors are judgements, not
 * failures; only DGF_NOMEM and DGF_FATAL are returned. */
enum dgf_rc dgf_engine_judge(struct dgf_engine *engine, const struct dgf_event *event,
                             struct dgf_judged *ret) DGF_MUST_USE;
/* Does any policy (or audit) look at such events?  Lets sources skip decoding. */
bool dgf_engine_watches(struct dgf_engine *engine, const struct dgf_source *src,
                        struct dgf_object *object, enum dgf_event_kind kind,
                        enum dgf_op op);

#endif
