/* cel.h - the expression language of policies: compile once, evaluate often.
 *
 *   env (what names mean) -> compile -> program -> eval with an activation
 *
 * An env and its programs are read-only after they are made and may be used by
 * any number of threads; an eval belongs to one.  An env outlives its
 * programs.  Evaluation allocates from the caller's arena only.
 * Conformance: the public CEL suite without protobuf messages. */
#ifndef DGF_CEL_CEL_H
#define DGF_CEL_CEL_H

#include "base/err.h"
#include "cel/value.h"

#define DGF_CEL_MAX_TEXT (8 * 1024)
#define DGF_CEL_MAX_DEPTH 64
#define DGF_CEL_MAX_CODE 4096
#define DGF_CEL_MAX_REGEX 1000
#define DGF_CEL_MAX_LETS 256  /* names of one environment */
#define DGF_CEL_BUDGET 100000 /* default cost of one evaluation, in steps */

/* ---- types ---- */

enum dgf_cel_type_kind {
    DGF_CEL_T_DYN,
    DGF_CEL_T_NULL,
    DGF_CEL_T_BOOL,
    DGF_CEL_T_INT,
    DGF_CEL_T_UINT,
    DGF_CEL_T_DOUBLE,
    DGF_CEL_T_STRING,
    DGF_CEL_T_BYTES,
    DGF_CEL_T_LIST,
    DGF_CEL_T_MAP,
    DGF_CEL_T_TYPE,
    DGF_CEL_T_TIMESTAMP,
    DGF_CEL_T_DURATION,
    DGF_CEL_T_DECIMAL,
    DGF_CEL_T_OPTIONAL,
    DGF_CEL_T_OPAQUE,
    DGF_CEL_T_WRAPPER /* params[0] or null */,
    DGF_CEL_T_ROW /* a map with text keys whose fields are known */,
    DGF_CEL_T_PARAM /* a type parameter */,
    DGF_CEL_T_ERROR,
};

struct dgf_cel_field {
    const char *name;
    const struct dgf_cel_type *type;
    int32_t id; /* the host's: comes back in dgf_cel_name.id */
};

struct dgf_cel_type {
    enum dgf_cel_type_kind kind;
    const char *name; /* "int", "list", a row's or an opaque type's own name */
    unsigned n_params;
    const struct dgf_cel_type *const *params; /* list: item; map: key, value */
    unsigned n_fields;                        /* ROW */
    const struct dgf_cel_field *fields;
    bool open;     /* ROW: other fields may exist too; they are dyn */
    bool nullable; /* ROW: selecting gives null when the row is null */
};

extern const struct dgf_cel_type dgf_cel_t_dyn, dgf_cel_t_null, dgf_cel_t_bool,
    dgf_cel_t_int, dgf_cel_t_uint, dgf_cel_t_double, dgf_cel_t_string, dgf_cel_t_bytes,
    dgf_cel_t_timestamp, dgf_cel_t_duration, dgf_cel_t_decimal,
    dgf_cel_t_list /* of dyn */, dgf_cel_t_map /* dyn, dyn */, dgf_cel_t_list_string,
    dgf_cel_t_map_string /* string -> dyn */, dgf_cel_t_map_string_string;

/* ---- what names mean ---- */

struct dgf_cel_env;

enum dgf_cel_flag {
    DGF_CEL_POLICY = 1, /* POLICIES: null selects null, decimals, missing(), known() */
    DGF_CEL_NO_MACROS = 2,
    DGF_CEL_NO_CHECK = 4, /* all is dyn */
    DGF_CEL_TRACE = 8,    /* programs record the value of every node; slower */
};

/* NULL: out of memory.  container may be NULL. */
struct dgf_cel_env *dgf_cel_env_new(unsigned flags, const char *container);
void dgf_cel_env_free(struct dgf_cel_env *env);
DGF_CLEANUP_OF(struct dgf_cel_env *, dgf_cel_env_free)
/* Memory that lives as long as env: for types, fields and names. */
struct dgf_arena *dgf_cel_env_arena(struct dgf_cel_env *env);

/* Types made at run time; NULL: out of memory.  fields and names are copied. */
const struct dgf_cel_type *dgf_cel_env_list(struct dgf_cel_env *env,
                                            const struct dgf_cel_type *item);
const struct dgf_cel_type *dgf_cel_env_map(struct dgf_cel_env *env,
                                           const struct dgf_cel_type *key,
                                           const struct dgf_cel_type *value);
const struct dgf_cel_type *dgf_cel_env_row(struct dgf_cel_env *env, const char *name,
                                           const struct dgf_cel_field *fields,
                                           unsigned n_fields, bool open);

/* name may hold dots.  slot: index in dgf_cel_eval.vars, below 4096; several
 * names may share one.  DGF_BAD_CONFIG: declared twice or not a name. */
enum dgf_rc dgf_cel_env_var(struct dgf_cel_env *env, const char *name,
                            const struct dgf_cel_type *type, unsigned slot,
                            struct dgf_err *err) DGF_MUST_USE;
/* A named constant: a list of the file, a setting.  The value's containers
 * must live as long as env. */
enum dgf_rc dgf_cel_env_const(struct dgf_cel_env *env, const char *name,
                              const struct dgf_cel_type *type,
                              struct dgf_cel_value value, struct dgf_err *err)
    DGF_MUST_USE;

struct dgf_cel_program;
/* A named sub-expression, compiled with this env before: evaluated when first
 * needed and at most once an eval (dgf_cel_eval_start).  The program is owned
 * by env from here on, also on failure. */
enum dgf_rc dgf_cel_env_let(struct dgf_cel_env *env, const char *name,
                            struct dgf_cel_program *take_program, struct dgf_err *err)
    DGF_MUST_USE;

/* One overload.  signature: "(string, int) -> bool" for a global function,
 * "string.(int) -> list<string>" for a member; capital letters are type
 * parameters, names are CEL's and `decimal`, `dyn`, `duration`, `timestamp`,
 * `optional<A>`.  Arguments that are unknown or errors never reach fn. */
struct dgf_cel_function {
    const char *name; /* "pii.card" */
    const char *signature;
    uint32_t cost; /* steps besides 1; fn may add with dgf_cel_charge */
    void (*fn)(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
               struct dgf_cel_value *ret);
};
/* Rows stay where they are and outlive env; the table ends with name NULL. */
enum dgf_rc dgf_cel_env_functions(struct dgf_cel_env *env,
                                  const struct dgf_cel_function *rows,
                                  struct dgf_err *err) DGF_MUST_USE;

/* Asked where the last argument of a call stands as a text in the expression: true when
 * the function cannot do with it, and why in ret_text. */
typedef bool dgf_cel_literal_wrong(const char *function, struct dgf_bytes literal,
                                   char *ret_text, size_t size);
void dgf_cel_env_literals(struct dgf_cel_env *env, dgf_cel_literal_wrong *wrong);

/* ---- compiling ---- */

/* One thing to mend: offset and len count bytes of the expression. */
struct dgf_cel_issue {
    const char *code; /* "E0301" ... agent/base/codes.def */
    uint32_t offset, len;
    const char *text;       /* unknown field 'after.custmer' */
    const char *suggestion; /* after.customer, or NULL */
};
#define DGF_CEL_MAX_ISSUES 20
struct dgf_cel_issues {
    struct dgf_cel_issue list[DGF_CEL_MAX_ISSUES];
    size_t n;
    struct dgf_arena arena; /* owns the texts */
};
void dgf_cel_issues_init(struct dgf_cel_issues *issues);
void dgf_cel_issues_release(struct dgf_cel_issues *issues);
/* text; did you mean 'suggestion'?  and under it the line with carets; for
 * messages without a file.  source: the expression. */
void dgf_cel_issue_show(const struct dgf_cel_issue *issue, struct dgf_bytes source,
                        struct dgf_buf *out);

/* text is copied.  DGF_BAD_CONFIG: see issues (at least one); DGF_NOMEM. */
enum dgf_rc dgf_cel_compile(const struct dgf_cel_env *env, struct dgf_bytes text,
                            struct dgf_cel_issues *issues, struct dgf_cel_program **ret)
    DGF_MUST_USE;
void dgf_cel_program_free(struct dgf_cel_program *program);
DGF_CLEANUP_OF(struct dgf_cel_program *, dgf_cel_program_free)

const struct dgf_cel_type *dgf_cel_program_type(const struct dgf_cel_program *program);
struct dgf_bytes dgf_cel_program_text(const struct dgf_cel_program *program);
/* Names with index 0 ... n-1, for hosts that keep a cache. */
unsigned dgf_cel_program_n_names(const struct dgf_cel_program *program);
/* One line an instruction. */
void dgf_cel_program_disassemble(const struct dgf_cel_program *program,
                                 struct dgf_buf *out);
void dgf_cel_type_show(const struct dgf_cel_type *type, struct dgf_buf *out);

/* What an expression touches, named sub-expressions included; each once.  The
 * syntax tree itself: cel/ast.h. */
struct dgf_cel_use {
    const char *var;      /* "after"; NULL for a function */
    const char *path;     /* "customer.consent_at": longest chain of constant
                           * names; "" when the variable is used whole */
    const char *function; /* "pii.card", or NULL */
    bool presence;        /* only has(), missing() or known() was asked */
    bool asked;           /* ... was asked, whatever else was done with it */
};
size_t dgf_cel_program_uses(const struct dgf_cel_program *program,
                            const struct dgf_cel_use **ret_list);

/* Necessary conditions `var.path == constant`: the expression can be true only
 * if all of them hold.  constant is never null, list or map. */
struct dgf_cel_equality {
    const char *var, *path;
    struct dgf_cel_value constant;
};
size_t dgf_cel_program_equalities(const struct dgf_cel_program *program,
                                  const struct dgf_cel_equality **ret_list);

/* ---- evaluating ---- */

struct dgf_cel_eval {
    /* By slot.  UNSET: resolve is asked once and its answer kept.  NULL resolve
     * or false: an error "no such variable". */
    struct dgf_cel_value *vars;
    unsigned n_vars;
    bool (*resolve)(struct dgf_cel_eval *eval, unsigned slot,
                    struct dgf_cel_value *ret);
    void *host;
    struct dgf_arena *arena;
    uint64_t budget;                       /* steps left; eval counts it down */
    const struct dgf_cel_program *program; /* the one that runs */
    struct dgf_cel_value *trace;           /* DGF_CEL_TRACE: by node id, or NULL */
    unsigned n_trace;
    struct dgf_cel_value *lets; /* results of named sub-expressions so far */
    unsigned n_lets;
    uint32_t at; /* instruction that runs, for error positions */
    unsigned depth;
};

/* For a new event: forgets the results of named sub-expressions.  arena has
 * been reset by the caller; vars, host and budget are set by the caller. */
void dgf_cel_eval_start(struct dgf_cel_eval *eval, const struct dgf_cel_env *env,
                        struct dgf_arena *arena);
/* Always gives a value: errors and unknown are values.  Borrowed from program,
 * bindings and arena. */
struct dgf_cel_value dgf_cel_run(const struct dgf_cel_program *program,
                                 struct dgf_cel_eval *eval);

/* For functions. */
__attribute__((format(printf, 3, 4))) void dgf_cel_fail(struct dgf_cel_eval *eval,
                                                        struct dgf_cel_value *ret,
                                                        const char *fmt, ...);
/* False: the budget is used up and *ret says so; return at once. */
bool dgf_cel_charge(struct dgf_cel_eval *eval, uint64_t steps,
                    struct dgf_cel_value *ret);
/* NULL: no room and *ret says so. */
void *dgf_cel_alloc(struct dgf_cel_eval *eval, size_t size, struct dgf_cel_value *ret);

/* true, false, unknown or an error as CEL compares. */
struct dgf_cel_value dgf_cel_equal(struct dgf_cel_eval *eval,
                                   const struct dgf_cel_value *a,
                                   const struct dgf_cel_value *b);

#endif
