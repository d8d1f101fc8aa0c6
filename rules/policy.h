/* policy.h - a policy set from the inside: what the loader writes and the
 * engine reads.  Nothing outside this folder includes it.
 *
 * Everything a set holds lives in its arena and is immutable once loaded;
 * programs and environments are freed with the set.  Thread: any. */
#ifndef DGF_RULES_POLICY_H
#define DGF_RULES_POLICY_H

#include <stdatomic.h>

#include "cel/cel.h"
#include "engine.h"
#include "glob.h"

#define DGF_POLICY_ID_MAX 64
#define DGF_POLICY_SET_MAX_BYTES ((size_t)256 * 1024 * 1024)
#define DGF_POLICY_MESSAGE_MAX (8 * 1024)

/* Names an expression starts from; the order is that of dgf_cel_eval.vars. */
enum dgf_policy_var {
    DGF_VAR_EVENT,
    DGF_VAR_BEFORE,
    DGF_VAR_AFTER,
    DGF_VAR_CHANGED,
    DGF_VAR_ACTOR,
    DGF_VAR_CLASSES,
    DGF_VAR_N
};

/* Fields of `event`; ids of its row type. */
enum dgf_policy_event_field {
    DGF_EF_ID,
    DGF_EF_SOURCE,
    DGF_EF_TYPE,
    DGF_EF_KIND,
    DGF_EF_OBJECT,
    DGF_EF_OP,
    DGF_EF_TIME,
    DGF_EF_SEEN,
    DGF_EF_KEY,
    DGF_EF_LABELS,
    DGF_EF_TX,
    DGF_EF_SNAPSHOT,
    DGF_EF_CAUSE,
    DGF_EF_N
};

struct dgf_policy_list {
    const char *name;
    struct dgf_cel_value *items;
    uint32_t n;
    bool texts; /* all items are texts */
    bool used;
    struct dgf_mark mark;
};

struct dgf_policy_let {
    const char *name;
    struct dgf_bytes text;
};

struct dgf_policy_file {
    const char *path;
    uint8_t sha256[DGF_SHA256_LEN];
    const char *title, *owner;
    struct dgf_policy_list *lists;
    size_t n_lists;
    struct dgf_policy_let *lets;
    size_t n_lets;
    struct dgf_cel_env *env; /* rows are open: documents, tests, loading */
};

/* What may be shown, as a policy file or the configuration says. */
struct dgf_class_rule {
    const char *match; /* object and field in one: "**.email" */
    enum dgf_class class_;
};

struct dgf_policy_watch {
    const char *const *sources; /* none: all */
    size_t n_sources;
    const char *const *objects; /* globs; none: all */
    size_t n_objects;
    uint32_t kinds, ops; /* bits of enum dgf_event_kind and dgf_op */
};

/* A piece of a message: literal text, or an expression when expr.len > 0. */
struct dgf_policy_part {
    struct dgf_bytes literal, expr;
    bool is_key; /* {{event.key}} */
    /* a plain field reference: its section and name; len 0: something else */
    bool after;
    struct dgf_bytes field;
};

struct dgf_policy_show {
    struct dgf_bytes name;  /* as written */
    int section;            /* DGF_SECTION_BEFORE or _AFTER; -1: whichever there is */
    struct dgf_bytes field; /* first part of the path */
    struct dgf_bytes rest;  /* the parts below it; len 0: none */
};

struct dgf_policy_waiver {
    struct dgf_bytes expr;
    const char *json; /* {"reason":..,"approver":..,"ticket":..,"until":..} */
    int64_t until_ns;
};

/* A policy's programs, made with one environment. */
struct dgf_policy_code {
    struct dgf_cel_program *condition;
    /* by message part; NULL for literals, and for what does not fit the columns */
    struct dgf_cel_program **parts;
    struct dgf_cel_program **waivers; /* by waiver */
};

struct dgf_policy {
    struct dgf_policy_ref ref;
    struct dgf_policy_file *file;
    const char *why;
    struct dgf_policy_watch watch;
    unsigned needs;           /* DGF_GIVES_*: asserted or inferred */
    bool require;             /* the expression says what must hold */
    enum dgf_verdict unknown; /* REVIEW, VIOLATION or PASS */
    bool record_errors_only;  /* on_error: record */
    bool every_event;         /* audit: every_event */
    struct dgf_bytes expr;
    struct dgf_policy_part *parts;
    size_t n_parts;
    struct dgf_policy_show *shows;
    size_t n_shows;
    struct dgf_policy_waiver *waivers;
    size_t n_waivers;
    struct dgf_policy_code open;    /* made with file->env */
    uint8_t digest[DGF_SHA256_LEN]; /* of everything that shapes its verdicts */
    struct dgf_mark mark;           /* file is the set's */
};

struct dgf_policy_set {
    _Atomic uint32_t refs;
    struct dgf_arena arena;
    struct dgf_policy_file **files;
    size_t n_files, cap_files;
    struct dgf_policy **policies;
    size_t n_policies, cap_policies;
    struct dgf_class_rule *classes;
    size_t n_classes, cap_classes;
    struct dgf_map by_id; /* id -> struct dgf_policy */
    char digest[8 + 2 * DGF_SHA256_LEN];
};

/* The built-in policy that says where the others cannot see. */
extern const struct dgf_policy_ref dgf_policy_coverage;

/* ---- environments and programs: policy_env.c ---- */

/* object NULL: rows are open.  presence: field names that were asked for with
 * has(), missing() or known(); a row without such a column is well typed then.
 * What is wrong with `let` names goes to issues with *ret_let set, and the
 * environment is made without that name.  NULL: out of memory. */
struct dgf_policy_presence {
    const struct dgf_bytes *names;
    size_t n;
};
struct dgf_cel_env *dgf_policy_env_new(const struct dgf_policy_file *file,
                                       const struct dgf_object *object,
                                       const struct dgf_policy_presence *presence,
                                       struct dgf_cel_issues *issues,
                                       const struct dgf_policy_let **ret_let);
/* DGF_BAD_CONFIG: issues has what is wrong in the condition or an exception.  What is
 * wrong in the message goes to unshown, and that part has no program: a message does
 * not decide whether a policy is judged. */
enum dgf_rc dgf_policy_code_make(const struct dgf_policy *policy,
                                 const struct dgf_cel_env *env,
                                 struct dgf_cel_issues *issues,
                                 struct dgf_cel_issues *unshown,
                                 struct dgf_policy_code *ret) DGF_MUST_USE;
void dgf_policy_code_release(const struct dgf_policy *policy,
                             struct dgf_policy_code *code);
bool dgf_policy_is_truth(const struct dgf_cel_type *type); /* bool, or not known yet */

/* ---- fields that are no columns: policy_presence.c ---- */

struct dgf_policy_presence_list {
    struct dgf_bytes *names; /* freed by the caller; the texts are the programs' */
    size_t n, cap;
};
/* Fields some expression of the file asks for; false: out of memory. */
bool dgf_policy_presence_gather(const struct dgf_policy_set *set,
                                const struct dgf_policy_file *file,
                                struct dgf_policy_presence_list *ret);
/* Does the condition or an exception read a field that is no column of object
 * without asking whether it is there?  *ret is the first one. */
bool dgf_policy_reads_no_column(const struct dgf_policy *policy,
                                const struct dgf_policy_code *code,
                                const struct dgf_object *object,
                                struct dgf_cel_use *ret);
/* The same of what is shown, message and evidence: NULL, or "message" or "evidence",
 * and the field's name in *ret, as written. */
const char *dgf_policy_shows_no_column(const struct dgf_policy *policy,
                                       const struct dgf_policy_code *code,
                                       const struct dgf_object *object,
                                       struct dgf_bytes *ret);

/* ---- watching: policy_index.c ---- */

/* Misfits of one object as findings at their policies: for the preflight. */
enum dgf_rc dgf_policy_set_check(struct dgf_policy_set *set, struct dgf_source *src,
                                 struct dgf_object *object,
                                 struct dgf_findings *findings) DGF_MUST_USE;
bool dgf_policy_watches(const struct dgf_policy *policy, const char *source,
                        const struct dgf_object *object);

/* ---- memory ---- */

struct dgf_policy_set *dgf_policy_set_new(void);
/* Room for one more in list; NULL: out of memory, list is as it was. */
void *dgf_policy_array_grow(void *list, size_t n, size_t *cap, size_t size);

#endif
