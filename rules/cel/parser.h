/* parser.h - text to syntax tree; macros.c turns macro calls into their nodes.
 * Thread: one owner. */
#ifndef DGF_CEL_PARSER_H
#define DGF_CEL_PARSER_H

#include "cel/ast.h"
#include "cel/lexer.h"

/* Operators are calls with a name a person would not write. */
enum dgf_cel_op {
    DGF_CEL_OP_NONE,
    DGF_CEL_OP_EQ,
    DGF_CEL_OP_NE,
    DGF_CEL_OP_LT,
    DGF_CEL_OP_LE,
    DGF_CEL_OP_GT,
    DGF_CEL_OP_GE,
    DGF_CEL_OP_ADD,
    DGF_CEL_OP_SUB,
    DGF_CEL_OP_MUL,
    DGF_CEL_OP_DIV,
    DGF_CEL_OP_MOD,
    DGF_CEL_OP_NEG,
    DGF_CEL_OP_NOT,
    DGF_CEL_OP_IN,
    DGF_CEL_OP_INDEX,
    DGF_CEL_OP_OPT_INDEX,
    DGF_CEL_OP_AND,
    DGF_CEL_OP_OR,
    DGF_CEL_OP_COND,
    DGF_CEL_N_OPS,
};
/* "_+_", and as written: "+". */
const char *dgf_cel_op_name(enum dgf_cel_op op);
const char *dgf_cel_op_sign(enum dgf_cel_op op);
/* The name as its author wrote it: macros call functions of other names. */
const char *dgf_cel_written_name(const char *name);

struct dgf_cel_parser {
    struct dgf_cel_lexer lexer;
    struct dgf_cel_token token; /* the next one */
    uint32_t last_end;          /* end of the token taken last */
    struct dgf_arena *arena;    /* of the program */
    struct dgf_cel_issues *issues;
    unsigned flags; /* enum dgf_cel_flag */
    unsigned depth, n_nodes;
    bool failed, nomem;
};

/* NULL: parser.failed or parser.nomem. */
struct dgf_cel_node *dgf_cel_parse(struct dgf_cel_parser *parser);

/* ---- for macros.c ---- */

struct dgf_cel_node *dgf_cel_node_new(struct dgf_cel_parser *parser,
                                      enum dgf_cel_node_kind kind, const char *name,
                                      uint32_t n_args, struct dgf_cel_node **args);
__attribute__((format(printf, 5, 6))) void dgf_cel_parser_fail(
    struct dgf_cel_parser *parser, const char *code, uint32_t offset, uint32_t len,
    const char *fmt, ...);
/* call is a CALL node; gives the node to use in its place, or NULL after a
 * failure.  No macro of that name and shape: call itself. */
struct dgf_cel_node *dgf_cel_macro(struct dgf_cel_parser *parser,
                                   struct dgf_cel_node *call);

#endif
