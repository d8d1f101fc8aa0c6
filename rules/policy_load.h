/* policy_load.h - the parts of the loader, and the option tables of policy and
 * test files.  Thread: the one that loads. */
#ifndef DGF_RULES_POLICY_LOAD_H
#define DGF_RULES_POLICY_LOAD_H

#include "policy.h"

struct dgf_policy_load {
    struct dgf_policy_set *set;
    const struct dgf_policy_world *world;
    struct dgf_findings *findings;
    const struct dgf_yaml *doc; /* the file that is read now */
    struct dgf_policy_file *file;
    bool partial; /* YAML refused a part of it: what is unused is not known */
    bool nomem;
};

/* ---- option tables: policy_opts.c ---- */

struct dgf_policy_file_conf {
    int64_t version;
    struct dgf_policy_info_conf {
        char *title, *owner, *review_by;
    } info;
    const struct dgf_yaml_node *lists, *let, *classes, *policies;
};

struct dgf_policy_watch_conf {
    struct dgf_str_list sources, objects, ops, kinds;
};

struct dgf_policy_conf {
    char *id, *title, *why, *fix;
    int severity, on_unknown, on_error, audit, mode;
    struct dgf_str_list needs, evidence;
    const struct dgf_yaml_node *frameworks, *watch, *when, *require, *exceptions,
        *message, *examples;
    const struct dgf_yaml_node *window, *sequence, *absence, *state, *check, *with,
        *repeat;
};

struct dgf_policy_waiver_conf {
    const struct dgf_yaml_node *values, *when, *fields, *allow;
    char *reason, *approver, *ticket, *until;
};

extern const struct dgf_opt dgf_policy_file_opts[], dgf_policy_opts[],
    dgf_policy_watch_opts[], dgf_policy_exceptions_opts[], dgf_policy_waiver_opts[];

enum { DGF_ON_UNKNOWN_REVIEW, DGF_ON_UNKNOWN_VIOLATE, DGF_ON_UNKNOWN_PASS };

/* ---- one policy: policy_load_policy.c ---- */

/* Adds what node says to the set; everything wrong is a finding. */
void dgf_policy_load_one(struct dgf_policy_load *load,
                         const struct dgf_yaml_node *node);

/* ---- watch: policy_load_watch.c ---- */

/* node: of `watch`, or NULL; whole: the policy's. */
void dgf_policy_load_watch(struct dgf_policy_load *load, struct dgf_policy *policy,
                           const struct dgf_yaml_node *node,
                           const struct dgf_yaml_node *whole);
/* unknown <what> '<word>'; did you mean ... */
void dgf_policy_load_unknown(struct dgf_policy_load *load, const char *code,
                             const struct dgf_yaml_node *node,
                             const struct dgf_policy *policy, const char *what,
                             const char *word, const char *const *words, size_t n);
/* Item i of the list `name` in map, or the nearest place there is. */
const struct dgf_yaml_node *dgf_policy_load_item(const struct dgf_yaml_node *map,
                                                 const char *name, size_t i);

/* ---- expressions: policy_load_expr.c ---- */

/* Text of an expression, or len 0 after a finding when YAML ate it. */
struct dgf_bytes dgf_policy_load_expr(struct dgf_policy_load *load,
                                      const struct dgf_yaml_node *node,
                                      const char *what, const char *name);
/* Copies issues to findings at node; shift: where the expression starts in the
 * node's text. */
void dgf_policy_load_issues(struct dgf_policy_load *load,
                            const struct dgf_cel_issues *issues,
                            const struct dgf_yaml_node *node, size_t shift,
                            const char *what);
/* Compiles text with the file's environment; NULL after findings. */
struct dgf_cel_program *dgf_policy_load_compile(struct dgf_policy_load *load,
                                                const struct dgf_yaml_node *node,
                                                size_t shift, struct dgf_bytes text,
                                                const char *what);
void dgf_policy_load_message(struct dgf_policy_load *load, struct dgf_policy *policy,
                             const struct dgf_yaml_node *node);
void dgf_policy_load_evidence(struct dgf_policy_load *load, struct dgf_policy *policy,
                              const struct dgf_str_list *names,
                              const struct dgf_yaml_node *node);
void dgf_policy_load_exceptions(struct dgf_policy_load *load, struct dgf_policy *policy,
                                const struct dgf_yaml_node *node);

/* ---- classes: classify.c ---- */

/* classes: of a policy file. */
void dgf_classify_load_file(struct dgf_policy_load *load,
                            const struct dgf_yaml_node *node);
/* classification: of the configuration. */
void dgf_classify_load_config(struct dgf_policy_load *load,
                              const struct dgf_yaml *config);

/* ---- which files: policy_files.c ---- */

/* Files named, and in folders (theirs too) all that are policy files, or test
 * files (*_test.yaml), sorted; none twice.  DGF_NOMEM. */
enum dgf_rc dgf_policy_files(const char *const *paths, size_t n_paths, bool tests,
                             struct dgf_findings *findings, struct dgf_str_list *ret)
    DGF_MUST_USE;
void dgf_policy_files_release(struct dgf_str_list *files);

/* ---- small ones ---- */

char *dgf_policy_load_strdup(struct dgf_policy_load *load, const char *text);
void *dgf_policy_load_alloc(struct dgf_policy_load *load,
                            size_t size); /* zeroed; never for 0 */
/* Structure and texts of a node, so that layout does not count; skip: a key of
 * the top map that does not, or NULL. */
void dgf_policy_canonical(const struct dgf_yaml_node *node, const char *skip,
                          struct dgf_buf *out);

#define DGF_POLICY_ERROR(load, code, node, ...)                                    \
    dgf_yaml_finding((load)->doc, (load)->findings, DGF_FINDING_ERROR, code, node, \
                     __VA_ARGS__)
#define DGF_POLICY_WARNING(load, code, node, ...)                                    \
    dgf_yaml_finding((load)->doc, (load)->findings, DGF_FINDING_WARNING, code, node, \
                     __VA_ARGS__)

#endif
