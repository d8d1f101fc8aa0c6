/* ast.h - the syntax tree of an expression, read-only once it is compiled.
 *
 * Macros are nodes of their own, so that a trace shows what a person wrote.
 * Owned by the program.  Thread: any. */
#ifndef DGF_CEL_AST_H
#define DGF_CEL_AST_H

#include "cel/cel.h"

enum dgf_cel_node_kind {
    DGF_CEL_N_CONST,  /* value */
    DGF_CEL_N_IDENT,  /* name, may hold dots once resolved */
    DGF_CEL_N_SELECT, /* args[0].name */
    DGF_CEL_N_CALL,   /* name(args); MEMBER: args[0].name(args[1] ...) */
    DGF_CEL_N_LIST,   /* args; splice[i]: [?x] */
    DGF_CEL_N_MAP,    /* args: key, value, key, value ...; splice[i] for pair i */
    DGF_CEL_N_FOLD,   /* args: range, filter or NULL, body; vars are name, name2 */
    DGF_CEL_N_BIND,   /* args: value, body; name */
    DGF_CEL_N_ASK,    /* missing(args[0]), known(args[0]) */
};

enum dgf_cel_node_flag {
    DGF_CEL_F_MEMBER = 1,
    DGF_CEL_F_TEST = 2,     /* SELECT: has(x.y) */
    DGF_CEL_F_OPTIONAL = 4, /* SELECT: x.?y */
    DGF_CEL_F_ROOT = 8,     /* IDENT, CALL: written with a leading dot */
    DGF_CEL_F_KNOWN = 16,   /* ASK: known(), else missing() */
};

enum dgf_cel_fold {
    DGF_CEL_FOLD_ALL,
    DGF_CEL_FOLD_EXISTS,
    DGF_CEL_FOLD_ONE,
    DGF_CEL_FOLD_LIST,
    DGF_CEL_FOLD_MAP,     /* transformMap: same keys */
    DGF_CEL_FOLD_ENTRIES, /* transformMapEntry: body is a map of new entries */
};

/* What an identifier turned out to be. */
enum dgf_cel_ref {
    DGF_CEL_REF_NONE, /* not declared: an error when it is evaluated */
    DGF_CEL_REF_VAR,
    DGF_CEL_REF_LOCAL,
    DGF_CEL_REF_LET,
    DGF_CEL_REF_CONST,
};

struct dgf_cel_overload;

struct dgf_cel_node {
    uint8_t kind, flags, fold, ref;
    uint8_t op;           /* CALL of an operator: enum dgf_cel_op, else 0 */
    uint16_t id;          /* dense, from 0: index into a trace */
    uint16_t slot;        /* REF_VAR: slot; REF_LET: number */
    uint32_t offset, len; /* in the program's text */
    uint32_t name_at;     /* SELECT, CALL: where the name stands */
    uint32_t n_args;
    struct dgf_cel_node **args;
    const bool *splice; /* NULL: none */
    const char *name, *name2;
    const struct dgf_cel_type *type;
    struct dgf_cel_value value;                /* CONST, REF_CONST */
    int32_t field_id;                          /* SELECT on a row type; -1: none */
    const struct dgf_cel_overload **overloads; /* CALL: candidates by type */
    unsigned n_overloads;
    const char *literal; /* CONST of a number: as written */
};

const struct dgf_cel_node *dgf_cel_program_root(const struct dgf_cel_program *program);
unsigned dgf_cel_program_n_nodes(const struct dgf_cel_program *program);
/* Source text of a node, borrowed from the program. */
struct dgf_bytes dgf_cel_node_text(const struct dgf_cel_program *program,
                                   const struct dgf_cel_node *node);

#endif
