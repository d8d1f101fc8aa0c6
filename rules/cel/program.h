/* program.h - inside of an env and of a compiled expression.
 *
 * Both are read-only once made; everything a program needs lives in its arena. */
#ifndef DGF_CEL_PROGRAM_H
#define DGF_CEL_PROGRAM_H

#include "base/map.h"
#include "cel/ast.h"
#include "cel/parser.h"
#include "cel/types.h"

enum dgf_cel_insn_op {
#define OP(name, operand, pops, pushes, meaning) DGF_CEL_I_##name,
#include "cel/cel_ops.def"
#undef OP
    DGF_CEL_N_INSNS
};

struct dgf_cel_insn {
    uint8_t op, a;
    uint16_t b, c, d;
};

struct dgf_cel_where {
    uint16_t offset, len;
};

struct dgf_cel_site {
    const char *name;
    const struct dgf_cel_overload *const *overloads;
    unsigned n_overloads;
};

struct dgf_cel_regex; /* re2_shim.h */

struct dgf_cel_program {
    struct dgf_arena arena;
    const struct dgf_cel_env *env;
    struct dgf_bytes text;
    struct dgf_cel_node *root;
    unsigned n_nodes;
    const struct dgf_cel_type *type;
    struct dgf_cel_insn *code;
    struct dgf_cel_where *where;
    uint32_t n_code;
    struct dgf_cel_value *consts;
    struct dgf_cel_name *names;
    struct dgf_cel_site *sites;
    struct dgf_cel_regex **regexes;
    uint16_t n_consts, n_names, n_sites, n_regexes;
    uint16_t n_locals, n_iters, max_stack;
    struct dgf_cel_use *uses;
    struct dgf_cel_equality *equalities;
    size_t n_uses, n_equalities;
};

enum dgf_cel_decl_kind { DGF_CEL_D_VAR, DGF_CEL_D_CONST, DGF_CEL_D_LET };

struct dgf_cel_decl {
    enum dgf_cel_decl_kind kind;
    const char *name;
    const struct dgf_cel_type *type;
    unsigned slot; /* VAR: slot; LET: number */
    struct dgf_cel_value value;
};

struct dgf_cel_env {
    unsigned flags;
    const char *container; /* "" or "a.b" */
    struct dgf_arena arena;
    struct dgf_map decls;     /* name -> struct dgf_cel_decl */
    struct dgf_map functions; /* name -> struct dgf_cel_overload, the host's */
    struct dgf_cel_program *lets[DGF_CEL_MAX_LETS];
    unsigned n_lets;
    dgf_cel_literal_wrong *literal_wrong; /* NULL: nothing is asked */
};

/* Standard overloads of a name (policy: with those of the policy language);
 * NULL: none.  The host's follow in env->functions. */
const struct dgf_cel_overload *dgf_cel_std_overloads(const char *name, bool policy);
/* Runs visit over all names of standard functions, for suggestions. */
void dgf_cel_std_names(void (*visit)(void *ctx, const char *name), void *ctx);
/* What a word of another language is called here, whatever its case; NULL: unknown.
 * The last says that a function by that name changes letters to another case. */
const char *dgf_cel_foreign_name(const char *word);
const char *dgf_cel_foreign_function(const char *word);
bool dgf_cel_changes_case(const char *word);
/* Adds an overload read elsewhere; overload lives in env's arena. */
enum dgf_rc dgf_cel_env_overload(struct dgf_cel_env *env, const char *name,
                                 struct dgf_cel_overload *overload, struct dgf_err *err)
    DGF_MUST_USE;
/* A name that means a type: int, google.protobuf.Timestamp ...; or NULL. */
const struct dgf_cel_type *dgf_cel_named_type(const char *name);

/* Resolves names and types of root; false: issues were added (or *nomem). */
bool dgf_cel_check(struct dgf_cel_program *program, struct dgf_cel_issues *issues,
                   bool *ret_nomem);
/* Tree to code; same. */
bool dgf_cel_emit(struct dgf_cel_program *program, struct dgf_cel_issues *issues,
                  bool *ret_nomem);
/* Every jump, index and stack height is in bounds; sets max_stack. */
enum dgf_rc dgf_cel_verify(struct dgf_cel_program *program, struct dgf_err *err);
/* Fills uses and equalities; false: out of memory. */
bool dgf_cel_find_uses(struct dgf_cel_program *program);

/* Error values made at compile time need no arena. */
extern const struct dgf_cel_error dgf_cel_out_of_budget, dgf_cel_out_of_memory;

#endif
