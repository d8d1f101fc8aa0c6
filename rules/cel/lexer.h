/* lexer.h - tokens of an expression, and the content of its literals.
 * Thread: one owner. */
#ifndef DGF_CEL_LEXER_H
#define DGF_CEL_LEXER_H

#include "cel/cel.h"

enum dgf_cel_token_kind {
    DGF_CEL_TK_END,
    DGF_CEL_TK_BAD, /* issue added */
    DGF_CEL_TK_IDENT,
    DGF_CEL_TK_QUOTED, /* `a-b` */
    DGF_CEL_TK_INT,    /* digits or 0x, without the u */
    DGF_CEL_TK_UINT,
    DGF_CEL_TK_DOUBLE,
    DGF_CEL_TK_STRING, /* with prefix and quotes */
    DGF_CEL_TK_BYTES,
    DGF_CEL_TK_SYMBOL, /* op: one or two characters */
};

/* Two-character symbols as one number. */
#define DGF_CEL_SYM2(a, b) ((a) << 8 | (b))

struct dgf_cel_token {
    enum dgf_cel_token_kind kind;
    int symbol;
    uint32_t offset, len;
};

struct dgf_cel_lexer {
    struct dgf_bytes text;
    uint32_t at;
    struct dgf_cel_issues *issues;
};

struct dgf_cel_token dgf_cel_lex(struct dgf_cel_lexer *lexer);
/* Content of a STRING or BYTES token, unescaped, in arena; false: issue added
 * or out of memory. */
bool dgf_cel_unescape(struct dgf_cel_lexer *lexer, const struct dgf_cel_token *token,
                      struct dgf_arena *arena, struct dgf_bytes *ret);

/* Adds an issue unless the list is full; suggestion may be NULL, both copied. */
__attribute__((format(printf, 6, 7))) void dgf_cel_issue_add(
    struct dgf_cel_issues *issues, const char *code, uint32_t offset, uint32_t len,
    const char *suggestion, const char *fmt, ...);

#endif
