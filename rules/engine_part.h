/* engine_part.h - the engine from the inside: bindings of objects, the values
 * an expression sees, and what is shown of a verdict.  Thread: the engine's. */
#ifndef DGF_RULES_ENGINE_PART_H
#define DGF_RULES_ENGINE_PART_H

#include "pii.h"
#include "policy.h"

/* ---- bindings: policy_index.c ---- */

#define DGF_MAX_EQUALITIES 4

/* Necessary condition `column == constant`, read off the row before any
 * program runs. */
struct dgf_equality {
    bool after;
    uint8_t kind; /* enum dgf_mp_kind: STR, INT or BOOL */
    uint32_t column;
    int64_t i64; /* BOOL: 0 or 1 */
    struct dgf_bytes text;
};

struct dgf_candidate {
    const struct dgf_policy *policy;
    const struct dgf_policy_code *code;
    const struct dgf_cel_env *env;
    struct dgf_equality equalities[DGF_MAX_EQUALITIES];
    unsigned n_equalities;
    struct dgf_policy_code own; /* code points here when made for the columns */
};

struct dgf_candidates {
    struct dgf_candidate **list;
    uint32_t n;
};

/* Everything the engine needs to know about one object of one source. */
struct dgf_binding {
    uint64_t generation; /* the engine's when it was made */
    const struct dgf_source *source;
    struct dgf_policy_set *set; /* referenced */
    struct dgf_object *object;  /* owns the binding */
    struct dgf_cel_env **envs;  /* by file; NULL where none was needed */
    struct dgf_candidate *all;
    size_t n_all;
    struct dgf_candidates *by_kind[DGF_KIND_N]; /* NULL, or one list an operation */
    bool every_event;
    char *gaps; /* what DGF-COV-1 says; NULL: nothing */
    bool told;
    struct dgf_arena arena;
    struct dgf_cel_value labels;
    struct dgf_map classes; /* of fields that are no columns: name -> class + 1 */
};

/* Who hears what keeps a policy from an object: E0441 needs, E0442 types; and what
 * its records will lack there: W0450. */
struct dgf_gap_sink {
    void (*add)(void *ctx, const struct dgf_policy *policy, const char *code,
                const char *text, const char *fix);
    void *ctx;
};
/* False: the policy is not judged on this object; policy_needs.c. */
bool dgf_policy_check_needs(const struct dgf_policy *policy, struct dgf_source *src,
                            const struct dgf_object *object, struct dgf_gap_sink sink);

/* DGF_NOMEM leaves the object as it was. */
enum dgf_rc dgf_binding_make(struct dgf_policy_set *set, struct dgf_source *src,
                             struct dgf_object *object, uint64_t generation,
                             struct dgf_binding **ret) DGF_MUST_USE;
enum dgf_class dgf_binding_class(struct dgf_binding *binding, struct dgf_bytes field);

/* ---- the engine: engine.c ---- */

struct dgf_row {
    struct dgf_cel_map base;
    struct dgf_engine *engine;
    enum dgf_section section;
};
struct dgf_engine_map {
    struct dgf_cel_map base;
    struct dgf_engine *engine;
};

struct dgf_engine {
    struct dgf_policy_host host; /* first: eval.host points here */
    struct dgf_policy_set *set;
    struct dgf_masker *masker;
    uint64_t generation;
    struct dgf_arena arena; /* of evaluations; reset with every event */
    struct dgf_arena shown; /* of judgements; reset with every event */
    struct dgf_cel_eval eval;
    struct dgf_cel_value vars[DGF_VAR_N];
    const struct dgf_cel_env *env; /* the one eval was started with for this event */
    const struct dgf_event *event;
    struct dgf_binding *binding;
    struct dgf_row rows[2]; /* before, after */
    struct dgf_engine_map event_map, tx_map, actor_map, classes_map;
    struct dgf_judgement *judgements;
    size_t n_judgements, cap_judgements;
    struct dgf_buf scratch, text;
    struct dgf_object **bare; /* for events that are about no object, one a source */
    const struct dgf_source **bare_sources;
    size_t n_bare, cap_bare, cap_bare_sources;
    bool nomem;
};

/* ---- rows: engine_row.c ---- */

void dgf_engine_rows_init(struct dgf_engine *engine);
/* One msgpack value; what: its name, for people. */
void dgf_engine_value(struct dgf_engine *engine, struct dgf_bytes bytes,
                      const char *what, struct dgf_cel_value *ret);
/* *at: offset of the next field in the section; 0 at the start. */
bool dgf_engine_next(struct dgf_engine *engine, enum dgf_section section, uint64_t *at,
                     struct dgf_bytes *ret_name, struct dgf_bytes *ret_value);
void dgf_engine_row(struct dgf_engine *engine, bool after, struct dgf_cel_value *ret);
void dgf_engine_changed(struct dgf_engine *engine, struct dgf_cel_value *ret);

/* ---- values: engine_vars.c ---- */

void dgf_engine_vars_init(struct dgf_engine *engine);
bool dgf_engine_resolve(struct dgf_cel_eval *eval, unsigned slot,
                        struct dgf_cel_value *ret);
/* Value of a field of before or after, exactly bounded; len 0: absent. */
struct dgf_bytes dgf_engine_field(const struct dgf_event *event, bool after,
                                  struct dgf_bytes name);

/* ---- what is shown: engine_show.c ---- */

/* A value as msgpack.  False: it is unknown, an error, or too deep. */
bool dgf_policy_pack(struct dgf_cel_eval *eval, const struct dgf_cel_value *value,
                     struct dgf_buf *out);
struct dgf_bytes dgf_engine_message(struct dgf_engine *engine,
                                    const struct dgf_candidate *candidate,
                                    bool *ret_truncated);
const struct dgf_evidence *dgf_engine_evidence(struct dgf_engine *engine,
                                               const struct dgf_policy *policy,
                                               size_t *ret_n);
struct dgf_bytes dgf_engine_keep(struct dgf_engine *engine, struct dgf_bytes text);
/* Makes the evaluation ready for programs of env. */
void dgf_engine_start(struct dgf_engine *engine, const struct dgf_cel_env *env);

#endif
