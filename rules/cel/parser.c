#include "cel/parser.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"

static const char *const op_names[][2] = {
    [DGF_CEL_OP_NONE] = {"", ""},
    [DGF_CEL_OP_EQ] = {"_==_", "=="},
    [DGF_CEL_OP_NE] = {"_!=_", "!="},
    [DGF_CEL_OP_LT] = {"_<_", "<"},
    [DGF_CEL_OP_LE] = {"_<=_", "<="},
    [DGF_CEL_OP_GT] = {"_>_", ">"},
    [DGF_CEL_OP_GE] = {"_>=_", ">="},
    [DGF_CEL_OP_ADD] = {"_+_", "+"},
    [DGF_CEL_OP_SUB] = {"_-_", "-"},
    [DGF_CEL_OP_MUL] = {"_*_", "*"},
    [DGF_CEL_OP_DIV] = {"_/_", "/"},
    [DGF_CEL_OP_MOD] = {"_%_", "%"},
    [DGF_CEL_OP_NEG] = {"-_", "-"},
    [DGF_CEL_OP_NOT] = {"!_", "!"},
    [DGF_CEL_OP_IN] = {"_in_", "in"},
    [DGF_CEL_OP_INDEX] = {"_[_]", "[]"},
    [DGF_CEL_OP_OPT_INDEX] = {"_[?_]", "[?]"},
    [DGF_CEL_OP_AND] = {"_&&_", "&&"},
    [DGF_CEL_OP_OR] = {"_||_", "||"},
    [DGF_CEL_OP_COND] = {"_?_:_", "?:"},
};

const char *dgf_cel_op_name(enum dgf_cel_op op)
{
    return op_names[op][0];
}

const char *dgf_cel_op_sign(enum dgf_cel_op op)
{
    return op_names[op][1];
}

void dgf_cel_parser_fail(struct dgf_cel_parser *p, const char *code, uint32_t offset,
                         uint32_t len, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    if (p->failed)
        return;
    p->failed = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_cel_issue_add(p->issues, code, offset, len, NULL, "%s", text);
}

static void fail_nomem(struct dgf_cel_parser *p)
{
    p->nomem = p->failed = true;
}

struct dgf_cel_node *dgf_cel_node_new(struct dgf_cel_parser *p,
                                      enum dgf_cel_node_kind kind, const char *name,
                                      uint32_t n_args, struct dgf_cel_node **args)
{
    struct dgf_cel_node *node = dgf_arena_alloc(p->arena, sizeof(*node));

    if (!node) {
        fail_nomem(p);
        return NULL;
    }
    memset(node, 0, sizeof(*node));
    node->kind = kind;
    node->id = (uint16_t)p->n_nodes++;
    node->name = name;
    node->n_args = n_args;
    node->type = &dgf_cel_t_dyn;
    node->field_id = -1;
    if (n_args > 0) {
        node->args = dgf_arena_alloc(p->arena, n_args * sizeof(*args));
        if (!node->args) {
            fail_nomem(p);
            return NULL;
        }
        if (args)
            memcpy(node->args, args, n_args * sizeof(*args));
    }
    return node;
}

static void advance(struct dgf_cel_parser *p)
{
    p->last_end = p->token.offset + p->token.len;
    p->token = dgf_cel_lex(&p->lexer);
    if (p->token.kind == DGF_CEL_TK_BAD)
        p->failed = true;
}

static bool at_symbol(const struct dgf_cel_parser *p, int symbol)
{
    return !p->failed && p->token.kind == DGF_CEL_TK_SYMBOL &&
           p->token.symbol == symbol;
}

static bool accept(struct dgf_cel_parser *p, int symbol)
{
    if (!at_symbol(p, symbol))
        return false;
    advance(p);
    return true;
}

static bool token_is(const struct dgf_cel_parser *p, const char *word)
{
    return p->token.kind == DGF_CEL_TK_IDENT && p->token.len == strlen(word) &&
           memcmp(p->lexer.text.ptr + p->token.offset, word, p->token.len) == 0;
}

/* The bytes at offset are that word, in any case, and nothing more. */
static bool word_at(const struct dgf_cel_parser *p, uint32_t offset, const char *word)
{
    size_t len = strlen(word), end = offset + len;
    struct dgf_bytes text = p->lexer.text;

    return end <= text.len &&
           strncasecmp((const char *)text.ptr + offset, word, len) == 0 &&
           (end == text.len || !(isalnum(text.ptr[end]) || text.ptr[end] == '_'));
}

static uint32_t skip_spaces(const struct dgf_cel_parser *p, uint32_t at)
{
    while (at < p->lexer.text.len && isspace(p->lexer.text.ptr[at]))
        at++;
    return at;
}

/* `is null` and `is not null`: what was meant, and how long it is. */
static const char *meant_by_is(const struct dgf_cel_parser *p, uint32_t *len)
{
    uint32_t start = p->token.offset, at = skip_spaces(p, start + 2);
    bool not = word_at(p, at, "not");

    if (not )
        at = skip_spaces(p, at + 3);
    if (!word_at(p, at, "null"))
        return not ? "'!='" : "'=='";
    *len = at + 4 - start;
    return not ? "'!= null'" : "'== null'";
}

/* A word that is an operator in SQL and other languages, where CEL has a sign. */
static bool fail_at_word(struct dgf_cel_parser *p)
{
    static const char *const words[][2] = {
        {"and", "'&&'"},
        {"or", "'||'"},
        {"in", "'in'"},
        {"is", NULL},
        {"like", "'.matches(...)' with a regular expression"},
        {"ilike", "'.matches(...)' with a regular expression"},
        {"between", "'a >= x && a <= y'"},
        {"not", "'!(...)' around the comparison"},
    };
    uint32_t at = p->token.offset, len = p->token.len;
    const char *text = (const char *)p->lexer.text.ptr;

    /* `not x`: a name that stands right before another value */
    if (p->last_end >= 3 && word_at(p, p->last_end - 3, "not") &&
        (p->last_end == 3 || !(isalnum((uint8_t)text[p->last_end - 4]) ||
                               strchr("._`\"'", text[p->last_end - 4])))) {
        dgf_cel_parser_fail(p, "E0301", p->last_end - 3, 3,
                            "'%.3s' is no operator: write '!'", text + p->last_end - 3);
        return true;
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(words); i++) {
        const char *meant = words[i][1];

        if (p->token.kind != DGF_CEL_TK_IDENT || len != strlen(words[i][0]) ||
            !word_at(p, at, words[i][0]))
            continue;
        if (!meant)
            meant = meant_by_is(p, &len);
        dgf_cel_parser_fail(p, "E0301", at, len, "'%.*s' is no operator: write %s",
                            (int)(len > 40 ? 40 : len), text + at, meant);
        return true;
    }
    return false;
}

static void fail_here(struct dgf_cel_parser *p, const char *wanted)
{
    uint32_t len = p->token.len;

    if (p->failed || (strncmp(wanted, "a ", 2) != 0 && fail_at_word(p)))
        return;
    if (p->token.kind == DGF_CEL_TK_END)
        dgf_cel_parser_fail(p, "E0301", p->token.offset, 1,
                            "the expression ends early: %s is missing", wanted);
    else
        dgf_cel_parser_fail(p, "E0301", p->token.offset, len,
                            "unexpected '%.*s': %s is missing",
                            (int)(len > 40 ? 40 : len),
                            (const char *)p->lexer.text.ptr + p->token.offset, wanted);
}

static bool expect(struct dgf_cel_parser *p, int symbol, const char *text)
{
    if (accept(p, symbol))
        return true;
    fail_here(p, text);
    return false;
}

static const char *copy_text(struct dgf_cel_parser *p, uint32_t offset, uint32_t len)
{
    char *name =
        dgf_arena_strndup(p->arena, (const char *)p->lexer.text.ptr + offset, len);

    if (!name)
        fail_nomem(p);
    return name;
}

static void span(struct dgf_cel_parser *p, struct dgf_cel_node *node, uint32_t start)
{
    if (node) {
        node->offset = start;
        node->len = p->last_end - start;
    }
}

static struct dgf_cel_node *parse_expr(struct dgf_cel_parser *p);
static struct dgf_cel_node *parse_unary(struct dgf_cel_parser *p);

/* 0: not reserved. */
static bool reserved(const struct dgf_cel_parser *p)
{
    static const char *const words[] = {
        "as",        "break",  "const",  "continue", "else",  "for",
        "function",  "if",     "import", "let",      "loop",  "package",
        "namespace", "return", "var",    "void",     "while",
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(words); i++)
        if (token_is(p, words[i]))
            return true;
    return false;
}

static bool keyword(const struct dgf_cel_parser *p)
{
    return token_is(p, "in") || token_is(p, "true") || token_is(p, "false") ||
           token_is(p, "null");
}

/* ---- lists of expressions ---- */

#define MAX_ITEMS 2048

struct items {
    struct dgf_cel_node **list;
    bool *splice;
    uint32_t n, cap;
    bool any_splice;
};

static void add_item(struct dgf_cel_parser *p, struct items *items,
                     struct dgf_cel_node *node, bool splice)
{
    if (items->n == items->cap) {
        uint32_t cap = items->cap ? items->cap * 2 : 8;
        struct dgf_cel_node **list = dgf_arena_alloc(p->arena, cap * sizeof(*list));
        bool *flags = dgf_arena_alloc(p->arena, cap * sizeof(*flags));

        if (!list || !flags) {
            fail_nomem(p);
            return;
        }
        if (items->n > 0) {
            memcpy(list, items->list, items->n * sizeof(*list));
            memcpy(flags, items->splice, items->n * sizeof(*flags));
        }
        items->list = list;
        items->splice = flags;
        items->cap = cap;
    }
    items->list[items->n] = node;
    items->splice[items->n++] = splice;
    items->any_splice |= splice;
    if (items->n > MAX_ITEMS)
        dgf_cel_parser_fail(p, "E0305", p->token.offset, 1,
                            "more than %d items in one place", MAX_ITEMS);
}

static struct items parse_args(struct dgf_cel_parser *p, int close,
                               const char *close_text)
{
    struct items items = {0};

    while (!p->failed && !at_symbol(p, close)) {
        bool splice = close == ']' && accept(p, '?');

        add_item(p, &items, parse_expr(p), splice);
        if (!accept(p, ',') || (close == ')' && at_symbol(p, close))) {
            if (close == ')' && at_symbol(p, close) && p->last_end > 0 &&
                p->lexer.text.ptr[p->last_end - 1] == ',')
                fail_here(p, "an argument");
            break;
        }
    }
    expect(p, close, close_text);
    return items;
}

static struct dgf_cel_node *parse_list(struct dgf_cel_parser *p, uint32_t start)
{
    struct items items = parse_args(p, ']', "']'");
    struct dgf_cel_node *node;

    if (p->failed)
        return NULL;
    node = dgf_cel_node_new(p, DGF_CEL_N_LIST, NULL, items.n, items.list);
    if (node && items.any_splice)
        node->splice = items.splice;
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *parse_map(struct dgf_cel_parser *p, uint32_t start)
{
    struct items keys = {0}, all = {0};
    struct dgf_cel_node *node;

    while (!p->failed && !at_symbol(p, '}')) {
        bool splice = accept(p, '?');
        struct dgf_cel_node *key = parse_expr(p);

        expect(p, ':', "':'");
        add_item(p, &keys, key, splice);
        add_item(p, &all, key, false);
        add_item(p, &all, parse_expr(p), false);
        if (!accept(p, ','))
            break;
    }
    expect(p, '}', "'}'");
    if (p->failed)
        return NULL;
    node = dgf_cel_node_new(p, DGF_CEL_N_MAP, NULL, all.n, all.list);
    if (node && keys.any_splice)
        node->splice = keys.splice;
    span(p, node, start);
    return node;
}

/* ---- literals ---- */

static struct dgf_cel_node *number_node(struct dgf_cel_parser *p, bool negative,
                                        uint32_t start)
{
    struct dgf_cel_node *node = dgf_cel_node_new(p, DGF_CEL_N_CONST, NULL, 0, NULL);
    struct dgf_bytes text = {p->lexer.text.ptr + p->token.offset, p->token.len};
    bool hex = text.len > 2 && (text.ptr[1] == 'x' || text.ptr[1] == 'X'), ok;
    struct dgf_bytes digits = {text.ptr + (hex ? 2 : 0), text.len - (hex ? 2 : 0)};
    uint64_t u64 = 0;
    double dbl = 0;

    while (digits.len > 1 && digits.ptr[0] == '0' && p->token.kind != DGF_CEL_TK_DOUBLE)
        digits = (struct dgf_bytes){digits.ptr + 1, digits.len - 1};
    if (!node)
        return NULL;
    if (p->token.kind == DGF_CEL_TK_DOUBLE) {
        char *copy = dgf_arena_strndup(p->arena, (const char *)text.ptr, text.len);

        if (!copy)
            return fail_nomem(p), NULL;
        dbl = dgf_parse_double_back(copy);
        node->value = dgf_cel_double(negative ? -dbl : dbl);
        node->literal = copy;
        ok = !__builtin_isinf(dbl);
    } else {
        ok = hex ? dgf_parse_hex_u64(digits, &u64) : dgf_parse_u64(digits, &u64);
        if (p->token.kind == DGF_CEL_TK_UINT) {
            node->value = dgf_cel_uint(u64);
        } else {
            ok = ok && u64 <= (uint64_t)INT64_MAX + negative;
            node->value = dgf_cel_int(negative ? (int64_t)(0 - u64) : (int64_t)u64);
        }
    }
    if (!ok)
        dgf_cel_parser_fail(
            p, "E0306", p->token.offset, p->token.len, "number '%.*s' is out of range",
            (int)(text.len > 60 ? 60 : text.len), (const char *)text.ptr);
    advance(p);
    if (negative && node->literal) {
        char *minus = dgf_arena_alloc(p->arena, strlen(node->literal) + 2);

        if (!minus)
            return fail_nomem(p), NULL;
        minus[0] = '-';
        memcpy(minus + 1, node->literal, strlen(node->literal) + 1);
        node->literal = minus;
    }
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *string_node(struct dgf_cel_parser *p, uint32_t start)
{
    struct dgf_cel_node *node = dgf_cel_node_new(p, DGF_CEL_N_CONST, NULL, 0, NULL);
    struct dgf_bytes text;

    if (!node)
        return NULL;
    if (!dgf_cel_unescape(&p->lexer, &p->token, p->arena, &text)) {
        p->failed = true;
        return NULL;
    }
    node->value =
        p->token.kind == DGF_CEL_TK_BYTES ? dgf_cel_bytes(text) : dgf_cel_string(text);
    advance(p);
    span(p, node, start);
    return node;
}

/* ---- primary and member ---- */

static struct dgf_cel_node *finish_call(struct dgf_cel_parser *p, const char *name,
                                        struct dgf_cel_node *receiver, uint32_t start,
                                        uint32_t name_at, unsigned flags)
{
    struct items items = parse_args(p, ')', "')'");
    struct dgf_cel_node *node;
    uint32_t n = items.n + (receiver ? 1 : 0);

    if (p->failed)
        return NULL;
    node = dgf_cel_node_new(p, DGF_CEL_N_CALL, name, n, NULL);
    if (!node)
        return NULL;
    if (receiver)
        node->args[0] = receiver;
    if (items.n > 0)
        memcpy(node->args + (receiver ? 1 : 0), items.list,
               items.n * sizeof(*items.list));
    node->flags = (uint8_t)(flags | (receiver ? DGF_CEL_F_MEMBER : 0));
    span(p, node, start);
    node->name_at = name_at;
    return p->flags & DGF_CEL_NO_MACROS ? node : dgf_cel_macro(p, node);
}

static struct dgf_cel_node *parse_ident(struct dgf_cel_parser *p, uint32_t start,
                                        bool root)
{
    struct dgf_cel_node *node;
    uint32_t at = p->token.offset;
    const char *name;

    if (p->token.kind != DGF_CEL_TK_IDENT || keyword(p)) {
        fail_here(p, "a name");
        return NULL;
    }
    if (reserved(p)) {
        dgf_cel_parser_fail(p, "E0301", at, p->token.len, "'%.*s' is a reserved word",
                            (int)p->token.len, (const char *)p->lexer.text.ptr + at);
        return NULL;
    }
    name = copy_text(p, at, p->token.len);
    advance(p);
    if (at_symbol(p, '(') && p->last_end == at + 3 && word_at(p, at, "not")) {
        dgf_cel_parser_fail(p, "E0301", at, 3, "'%s' is no operator: write '!'", name);
        return NULL;
    }
    if (accept(p, '('))
        return finish_call(p, name, NULL, start, at, root ? DGF_CEL_F_ROOT : 0);
    node = dgf_cel_node_new(p, DGF_CEL_N_IDENT, name, 0, NULL);
    if (node && root)
        node->flags = DGF_CEL_F_ROOT;
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *const_node(struct dgf_cel_parser *p,
                                       struct dgf_cel_value value, uint32_t start)
{
    struct dgf_cel_node *node = dgf_cel_node_new(p, DGF_CEL_N_CONST, NULL, 0, NULL);

    if (node)
        node->value = value;
    advance(p);
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *parse_primary(struct dgf_cel_parser *p)
{
    uint32_t start = p->token.offset;
    struct dgf_cel_node *node;

    switch (p->failed ? DGF_CEL_TK_BAD : p->token.kind) {
    case DGF_CEL_TK_BAD:
        return NULL;
    case DGF_CEL_TK_INT:
    case DGF_CEL_TK_UINT:
    case DGF_CEL_TK_DOUBLE:
        return number_node(p, false, start);
    case DGF_CEL_TK_STRING:
    case DGF_CEL_TK_BYTES:
        return string_node(p, start);
    default:
        break;
    }
    if (token_is(p, "true") || token_is(p, "false"))
        return const_node(p, dgf_cel_bool(token_is(p, "true")), start);
    if (token_is(p, "null"))
        return const_node(p, dgf_cel_null(), start);
    if (p->token.kind == DGF_CEL_TK_IDENT)
        return parse_ident(p, start, false);
    if (accept(p, '.'))
        return parse_ident(p, start, true);
    if (accept(p, '(')) {
        node = parse_expr(p);
        expect(p, ')', "')'");
        return node;
    }
    if (accept(p, '['))
        return parse_list(p, start);
    if (accept(p, '{'))
        return parse_map(p, start);
    fail_here(p, "a value");
    return NULL;
}

static struct dgf_cel_node *parse_selector(struct dgf_cel_parser *p,
                                           struct dgf_cel_node *operand, uint32_t start)
{
    bool optional = accept(p, '?');
    struct dgf_cel_node *node;
    uint32_t at = p->token.offset, len = p->token.len;
    const char *name;
    bool quoted = p->token.kind == DGF_CEL_TK_QUOTED;

    if (!quoted && (p->token.kind != DGF_CEL_TK_IDENT || keyword(p))) {
        fail_here(p, "a field name");
        return NULL;
    }
    name = quoted ? copy_text(p, at + 1, len - 2) : copy_text(p, at, len);
    advance(p);
    if (!quoted && !optional && accept(p, '('))
        return finish_call(p, name, operand, start, at, 0);
    node = dgf_cel_node_new(p, DGF_CEL_N_SELECT, name, 1, &operand);
    if (node && optional)
        node->flags = DGF_CEL_F_OPTIONAL;
    if (node)
        node->name_at = at;
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *op_node(struct dgf_cel_parser *p, enum dgf_cel_op op,
                                    uint32_t n_args, struct dgf_cel_node **args,
                                    uint32_t start)
{
    struct dgf_cel_node *node;

    if (p->failed)
        return NULL;
    node = dgf_cel_node_new(p, DGF_CEL_N_CALL, dgf_cel_op_name(op), n_args, args);
    if (node)
        node->op = op;
    span(p, node, start);
    return node;
}

static struct dgf_cel_node *parse_index(struct dgf_cel_parser *p,
                                        struct dgf_cel_node *operand, uint32_t start)
{
    bool optional = accept(p, '?');
    struct dgf_cel_node *args[2] = {operand, parse_expr(p)};

    expect(p, ']', "']'");
    return op_node(p, optional ? DGF_CEL_OP_OPT_INDEX : DGF_CEL_OP_INDEX, 2, args,
                   start);
}

static bool dotted_name(const struct dgf_cel_node *node)
{
    while (node->kind == DGF_CEL_N_SELECT && node->flags == 0)
        node = node->args[0];
    return node->kind == DGF_CEL_N_IDENT;
}

static struct dgf_cel_node *parse_member(struct dgf_cel_parser *p)
{
    uint32_t start = p->token.offset;
    struct dgf_cel_node *node = parse_primary(p);

    while (!p->failed && node) {
        if (accept(p, '.'))
            node = parse_selector(p, node, start);
        else if (accept(p, '['))
            node = parse_index(p, node, start);
        else if (at_symbol(p, '{') && dotted_name(node))
            dgf_cel_parser_fail(p, "E0309", node->offset, node->len,
                                "message literals are not supported");
        else
            break;
    }
    return p->failed ? NULL : node;
}

/* ---- operators ---- */

#define MAX_DEPTH DGF_CEL_MAX_DEPTH

static bool enter(struct dgf_cel_parser *p)
{
    if (p->depth < MAX_DEPTH) {
        p->depth++;
        return true;
    }
    dgf_cel_parser_fail(p, "E0305", p->token.offset, p->token.len ? p->token.len : 1,
                        "nested deeper than %d levels", MAX_DEPTH);
    return false;
}

static struct dgf_cel_node *parse_unary(struct dgf_cel_parser *p)
{
    uint32_t start = p->token.offset;
    struct dgf_cel_node *arg;
    enum dgf_cel_op op;

    if (p->failed)
        return NULL;
    if (at_symbol(p, '!'))
        op = DGF_CEL_OP_NOT;
    else if (at_symbol(p, '-'))
        op = DGF_CEL_OP_NEG;
    else
        return parse_member(p);
    advance(p);
    if (op == DGF_CEL_OP_NEG && !p->failed &&
        (p->token.kind == DGF_CEL_TK_INT || p->token.kind == DGF_CEL_TK_DOUBLE))
        return number_node(p, true, start);
    if (!enter(p))
        return NULL;
    arg = parse_unary(p);
    p->depth--;
    return op_node(p, op, 1, &arg, start);
}

static enum dgf_cel_op binary_op(const struct dgf_cel_parser *p, unsigned level)
{
    static const struct {
        int symbol;
        uint8_t op, level;
    } ops[] = {
        {DGF_CEL_SYM2('|', '|'), DGF_CEL_OP_OR, 0},
        {DGF_CEL_SYM2('&', '&'), DGF_CEL_OP_AND, 1},
        {DGF_CEL_SYM2('=', '='), DGF_CEL_OP_EQ, 2},
        {DGF_CEL_SYM2('!', '='), DGF_CEL_OP_NE, 2},
        {DGF_CEL_SYM2('<', '='), DGF_CEL_OP_LE, 2},
        {DGF_CEL_SYM2('>', '='), DGF_CEL_OP_GE, 2},
        {'<', DGF_CEL_OP_LT, 2},
        {'>', DGF_CEL_OP_GT, 2},
        {'+', DGF_CEL_OP_ADD, 3},
        {'-', DGF_CEL_OP_SUB, 3},
        {'*', DGF_CEL_OP_MUL, 4},
        {'/', DGF_CEL_OP_DIV, 4},
        {'%', DGF_CEL_OP_MOD, 4},
    };

    if (level == 2 && token_is(p, "in"))
        return DGF_CEL_OP_IN;
    if (p->token.kind == DGF_CEL_TK_SYMBOL)
        for (size_t i = 0; i < DGF_ARRAY_LEN(ops); i++)
            if (ops[i].level == level && ops[i].symbol == p->token.symbol)
                return ops[i].op;
    return DGF_CEL_OP_NONE;
}

static struct dgf_cel_node *parse_binary(struct dgf_cel_parser *p, unsigned level)
{
    uint32_t start = p->token.offset;
    struct dgf_cel_node *left = level > 4 ? parse_unary(p) : parse_binary(p, level + 1);
    enum dgf_cel_op op;

    if (level > 4)
        return left;
    while (!p->failed && (op = binary_op(p, level))) {
        struct dgf_cel_node *args[2] = {left, NULL};

        advance(p);
        args[1] = parse_binary(p, level + 1);
        left = op_node(p, op, 2, args, start);
    }
    return p->failed ? NULL : left;
}

static struct dgf_cel_node *parse_ternary(struct dgf_cel_parser *p)
{
    uint32_t start = p->token.offset;
    struct dgf_cel_node *args[3] = {parse_binary(p, 0), NULL, NULL};

    if (!accept(p, '?'))
        return p->failed ? NULL : args[0];
    args[1] = parse_binary(p, 0);
    expect(p, ':', "':'");
    args[2] = parse_expr(p);
    return op_node(p, DGF_CEL_OP_COND, 3, args, start);
}

static struct dgf_cel_node *parse_expr(struct dgf_cel_parser *p)
{
    struct dgf_cel_node *node;

    if (p->failed || !enter(p))
        return NULL;
    node = parse_ternary(p);
    p->depth--;
    return node;
}

struct dgf_cel_node *dgf_cel_parse(struct dgf_cel_parser *p)
{
    struct dgf_cel_node *node;

    if (p->lexer.text.len > DGF_CEL_MAX_TEXT) {
        dgf_cel_parser_fail(p, "E0305", 0, 1, "the expression is longer than %d bytes",
                            DGF_CEL_MAX_TEXT);
        return NULL;
    }
    advance(p);
    node = parse_expr(p);
    if (!p->failed && p->token.kind != DGF_CEL_TK_END)
        fail_here(p, "an operator");
    return p->failed ? NULL : node;
}
