#include <stdio.h>
#include <string.h>

#include "cel/functions.h"
#include "cel/lexer.h"
#include "cel/ops.h"
#include "cel/program.h"
#include "cel/re2_shim.h"

/* Tree to code.  Conditions jump; everything else leaves one value. */

#define MAX_WITH_TRACE (3 * DGF_CEL_MAX_CODE)
#define MAX_POOL DGF_CEL_MAX_CODE
#define MAX_ITERS 64

struct emitter {
    struct dgf_cel_program *program;
    struct dgf_cel_issues *issues;
    unsigned flags, n_iters, n_traces;
    bool failed, nomem;
    uint32_t n_code;
    struct dgf_cel_insn code[MAX_WITH_TRACE];
    struct dgf_cel_where where[MAX_WITH_TRACE];
    struct dgf_cel_value consts[MAX_POOL];
    struct dgf_cel_name names[MAX_POOL];
    struct dgf_cel_site sites[MAX_POOL];
    struct dgf_cel_regex *regexes[MAX_POOL];
};

static void emit(struct emitter *e, struct dgf_cel_node *node, bool soft);

static void too_long(struct emitter *e)
{
    if (!e->failed)
        dgf_cel_issue_add(e->issues, "E0305", 0, (uint32_t)e->program->text.len, NULL,
                          "the expression needs more than %d instructions",
                          DGF_CEL_MAX_CODE);
    e->failed = true;
}

static uint32_t put(struct emitter *e, const struct dgf_cel_node *node,
                    enum dgf_cel_insn_op op, unsigned a, unsigned b, unsigned c,
                    unsigned d)
{
    if (op == DGF_CEL_I_TRACE)
        e->n_traces++;
    if (e->n_code - e->n_traces >= DGF_CEL_MAX_CODE || e->n_code >= MAX_WITH_TRACE) {
        too_long(e);
        return 0;
    }
    e->code[e->n_code] = (struct dgf_cel_insn){(uint8_t)op, (uint8_t)a, (uint16_t)b,
                                               (uint16_t)c, (uint16_t)d};
    e->where[e->n_code] =
        (struct dgf_cel_where){(uint16_t)node->offset, (uint16_t)node->len};
    return e->n_code++;
}

static void put_op(struct emitter *e, const struct dgf_cel_node *node,
                   enum dgf_cel_insn_op op)
{
    put(e, node, op, 0, 0, 0, 0);
}

static unsigned add_const(struct emitter *e, struct dgf_cel_value value)
{
    if (e->program->n_consts == MAX_POOL) {
        too_long(e);
        return 0;
    }
    e->consts[e->program->n_consts] = value;
    return e->program->n_consts++;
}

static unsigned add_name(struct emitter *e, const char *text, int32_t id)
{
    struct dgf_cel_program *p = e->program;

    for (unsigned i = 0; i < p->n_names; i++)
        if (e->names[i].id == id && dgf_bytes_eq(e->names[i].text, dgf_bytes_str(text)))
            return i;
    if (p->n_names == MAX_POOL) {
        too_long(e);
        return 0;
    }
    e->names[p->n_names] =
        (struct dgf_cel_name){.text = dgf_bytes_str(text),
                              .hash = dgf_cel_hash(dgf_bytes_str(text)),
                              .index = p->n_names,
                              .id = id};
    return p->n_names++;
}

/* ---- constants ---- */

static struct dgf_cel_value const_value(struct emitter *e,
                                        const struct dgf_cel_node *node,
                                        const struct dgf_cel_node *other)
{
    struct dgf_cel_value value = node->value, decimal;

    if (!(e->flags & DGF_CEL_POLICY) || value.kind != DGF_CEL_DOUBLE || !node->literal)
        return value;
    if (other && other->type->kind == DGF_CEL_T_DECIMAL &&
        dgf_cel_decimal_of(dgf_bytes_str(node->literal), &e->program->arena, &decimal))
        return decimal;
    value.wide = 1; /* a literal: read as it was written (ops.h) */
    return value;
}

static bool all_const(const struct dgf_cel_node *node)
{
    if (node->splice)
        return false;
    for (uint32_t i = 0; i < node->n_args; i++)
        if (node->args[i]->kind != DGF_CEL_N_CONST)
            return false;
    return true;
}

/* A list or map of constants is made once. */
static bool fold_container(struct emitter *e, struct dgf_cel_node *node)
{
    struct dgf_arena *arena = &e->program->arena;
    struct dgf_cel_value *items;
    uint32_t n = node->n_args;

    if (!all_const(node))
        return false;
    items = dgf_arena_alloc(arena, (n + 1) * sizeof(*items));
    if (!items)
        return false;
    for (uint32_t i = 0; i < n; i++)
        items[i] = const_value(e, node->args[i], NULL);
    if (node->kind == DGF_CEL_N_LIST) {
        const struct dgf_cel_list *list = dgf_cel_list_new(arena, items, n);

        if (!list)
            return false;
        node->value = dgf_cel_list_of(list);
    } else {
        const struct dgf_cel_map *map;

        for (uint32_t i = 0; i < n; i += 2)
            if (items[i].kind != DGF_CEL_STRING && items[i].kind != DGF_CEL_INT &&
                items[i].kind != DGF_CEL_UINT && items[i].kind != DGF_CEL_BOOL)
                return false;
        map = dgf_cel_map_new(arena, items, n / 2);
        if (!map || dgf_cel_map_repeats(map))
            return false;
        node->value = dgf_cel_map_of(map);
    }
    return true;
}

static bool is_standard(const struct emitter *e,
                        const struct dgf_cel_overload *overload)
{
    const struct dgf_cel_overload *o =
        dgf_cel_std_overloads(overload->name, e->flags & DGF_CEL_POLICY);

    for (; o; o = o->next)
        if (o == overload)
            return true;
    return false;
}

/* duration("90s"), timestamp(...): standard functions of scalar constants are
 * called now, unless that fails. */
static bool fold_call(struct emitter *e, struct dgf_cel_node *node)
{
    struct dgf_cel_value args[DGF_CEL_MAX_ARGS], result;
    struct dgf_cel_eval eval = {.arena = &e->program->arena, .budget = 1000};

    if (node->op || node->n_overloads != 1 || node->n_args == 0 || !all_const(node) ||
        !node->overloads[0]->row->fn || !is_standard(e, node->overloads[0]))
        return false;
    for (uint32_t i = 0; i < node->n_args; i++) {
        args[i] = const_value(e, node->args[i], NULL);
        if (!(node->overloads[0]->masks[i] >> args[i].kind & 1))
            return false;
    }
    node->overloads[0]->row->fn(&eval, args, &result);
    if (dgf_cel_is_absent(result.kind))
        return false;
    node->value = result;
    return true;
}

/* ---- conditions ---- */

static void patch(struct emitter *e, uint32_t at, uint32_t target)
{
    e->code[at].b = (uint16_t)target;
}

/* a && b && c: one chain, so that one jump leaves it.  Not when tracing, where
 * every node in between has a value to show. */
static void emit_chain(struct emitter *e, struct dgf_cel_node *node,
                       uint32_t *ret_jumps)
{
    bool and = node->op == DGF_CEL_OP_AND;
    struct dgf_cel_node *left = node->args[0];
    uint32_t at;

    if (left->kind == DGF_CEL_N_CALL && left->op == node->op &&
        !(e->flags & DGF_CEL_TRACE))
        emit_chain(e, left, ret_jumps);
    else
        emit(e, left, false);
    /* jumps of a chain are threaded through operand c until they are patched */
    at = put(e, node, and? DGF_CEL_I_JUMP_FALSE : DGF_CEL_I_JUMP_TRUE, 0, 0, *ret_jumps,
             0);
    *ret_jumps = at + 1;
    emit(e, node->args[1], false);
    put_op(e, node, and? DGF_CEL_I_AND : DGF_CEL_I_OR);
}

static void emit_logic(struct emitter *e, struct dgf_cel_node *node)
{
    uint32_t jumps = 0, end;

    emit_chain(e, node, &jumps);
    end = e->n_code;
    while (jumps > 0 && !e->failed) {
        struct dgf_cel_insn *insn = &e->code[jumps - 1];

        jumps = insn->c;
        insn->c = 0;
        insn->b = (uint16_t)end;
    }
}

static void emit_cond(struct emitter *e, struct dgf_cel_node *node)
{
    uint32_t cond, jump;

    emit(e, node->args[0], false);
    cond = put(e, node, DGF_CEL_I_COND, 0, 0, 0, 0);
    emit(e, node->args[1], false);
    jump = put(e, node, DGF_CEL_I_JUMP, 0, 0, 0, 0);
    patch(e, cond, e->n_code);
    emit(e, node->args[2], false);
    patch(e, jump, e->n_code);
    e->code[cond].c = (uint16_t)e->n_code;
}

/* ---- operators and calls ---- */

static const uint8_t op_insns[DGF_CEL_N_OPS] = {
    [DGF_CEL_OP_EQ] = DGF_CEL_I_EQ,       [DGF_CEL_OP_NE] = DGF_CEL_I_NE,
    [DGF_CEL_OP_LT] = DGF_CEL_I_LT,       [DGF_CEL_OP_LE] = DGF_CEL_I_LE,
    [DGF_CEL_OP_GT] = DGF_CEL_I_GT,       [DGF_CEL_OP_GE] = DGF_CEL_I_GE,
    [DGF_CEL_OP_ADD] = DGF_CEL_I_ADD,     [DGF_CEL_OP_SUB] = DGF_CEL_I_SUB,
    [DGF_CEL_OP_MUL] = DGF_CEL_I_MUL,     [DGF_CEL_OP_DIV] = DGF_CEL_I_DIV,
    [DGF_CEL_OP_MOD] = DGF_CEL_I_MOD,     [DGF_CEL_OP_NEG] = DGF_CEL_I_NEG,
    [DGF_CEL_OP_NOT] = DGF_CEL_I_NOT,     [DGF_CEL_OP_IN] = DGF_CEL_I_IN,
    [DGF_CEL_OP_INDEX] = DGF_CEL_I_INDEX, [DGF_CEL_OP_OPT_INDEX] = DGF_CEL_I_INDEX_OPT,
};

static void emit_operand(struct emitter *e, struct dgf_cel_node *node, unsigned i)
{
    struct dgf_cel_node *arg = node->args[i];

    if (arg->kind == DGF_CEL_N_CONST && node->n_args == 2) {
        put(e, arg, DGF_CEL_I_CONST, 0,
            add_const(e, const_value(e, arg, node->args[1 - i])), 0, 0);
        if (e->flags & DGF_CEL_TRACE)
            put(e, arg, DGF_CEL_I_TRACE, 0, arg->id, 0, 0);
    } else {
        emit(e, arg, false);
    }
}

static void emit_equality(struct emitter *e, struct dgf_cel_node *node)
{
    bool eq = node->op == DGF_CEL_OP_EQ;
    unsigned constant = node->args[1]->kind == DGF_CEL_N_CONST ? 1 : 0;
    struct dgf_cel_value value;

    if (node->args[constant]->kind != DGF_CEL_N_CONST || (e->flags & DGF_CEL_TRACE)) {
        emit_operand(e, node, 0);
        emit_operand(e, node, 1);
        put_op(e, node, eq ? DGF_CEL_I_EQ : DGF_CEL_I_NE);
        return;
    }
    value = const_value(e, node->args[constant], node->args[1 - constant]);
    emit(e, node->args[1 - constant], false);
    put(e, node, eq ? DGF_CEL_I_EQ_CONST : DGF_CEL_I_NE_CONST, 0, add_const(e, value),
        0, 0);
}

static void emit_operator(struct emitter *e, struct dgf_cel_node *node, bool soft)
{
    switch (node->op) {
    case DGF_CEL_OP_AND:
    case DGF_CEL_OP_OR:
        emit_logic(e, node);
        return;
    case DGF_CEL_OP_COND:
        emit_cond(e, node);
        return;
    case DGF_CEL_OP_EQ:
    case DGF_CEL_OP_NE:
        emit_equality(e, node);
        return;
    case DGF_CEL_OP_INDEX:
        emit(e, node->args[0], soft);
        emit(e, node->args[1], false);
        put_op(e, node, soft ? DGF_CEL_I_INDEX_SOFT : DGF_CEL_I_INDEX);
        return;
    default:
        for (uint32_t i = 0; i < node->n_args; i++)
            emit_operand(e, node, i);
        put_op(e, node, op_insns[node->op]);
    }
}

/* x.matches("constant"): compiled once, and a bad one is found now. */
static bool emit_regex(struct emitter *e, struct dgf_cel_node *node)
{
    const struct dgf_cel_node *pattern = node->n_args == 2 ? node->args[1] : NULL;
    struct dgf_cel_regex *regex;
    char text[200];

    if (!pattern || strcmp(node->name, "matches") != 0 || node->n_overloads == 0 ||
        pattern->kind != DGF_CEL_N_CONST || pattern->value.kind != DGF_CEL_STRING)
        return false;
    if (pattern->value.len > DGF_CEL_MAX_REGEX) {
        dgf_cel_issue_add(e->issues, "E0308", pattern->offset, pattern->len, NULL,
                          "the regular expression is longer than %d characters",
                          DGF_CEL_MAX_REGEX);
        e->failed = true;
        return true;
    }
    regex = dgf_cel_regex_new((const char *)pattern->value.ptr, pattern->value.len,
                              text, sizeof(text));
    if (!regex) {
        if (text[0])
            dgf_cel_issue_add(e->issues, "E0308", pattern->offset, pattern->len, NULL,
                              "bad regular expression: %s", text);
        e->nomem |= !text[0];
        e->failed = true;
        return true;
    }
    if (e->program->n_regexes == MAX_POOL) {
        dgf_cel_regex_free(regex);
        too_long(e);
        return true;
    }
    e->regexes[e->program->n_regexes++] = regex;
    emit(e, node->args[0], false);
    put(e, node, DGF_CEL_I_MATCHES, 0, e->program->n_regexes - 1u, 0, 0);
    return true;
}

static void emit_call(struct emitter *e, struct dgf_cel_node *node, bool soft)
{
    struct dgf_cel_program *p = e->program;

    if (node->op) {
        emit_operator(e, node, soft);
        return;
    }
    if (emit_regex(e, node))
        return;
    if (fold_call(e, node)) {
        put(e, node, DGF_CEL_I_CONST, 0, add_const(e, node->value), 0, 0);
        return;
    }
    for (uint32_t i = 0; i < node->n_args; i++)
        emit(e, node->args[i], false);
    if (p->n_sites == MAX_POOL || node->n_args > UINT8_MAX) {
        too_long(e);
        return;
    }
    e->sites[p->n_sites] =
        (struct dgf_cel_site){node->name, node->overloads, node->n_overloads};
    put(e, node, DGF_CEL_I_CALL, node->n_args, p->n_sites++, 0, 0);
}

/* ---- the rest ---- */

static void emit_ident(struct emitter *e, struct dgf_cel_node *node)
{
    struct dgf_cel_value text;
    char *copy;
    size_t size;

    switch ((enum dgf_cel_ref)node->ref) {
    case DGF_CEL_REF_VAR:
        put(e, node, DGF_CEL_I_VAR, 0, node->slot, 0, 0);
        return;
    case DGF_CEL_REF_LOCAL:
        put(e, node, DGF_CEL_I_LOCAL, 0, node->slot, 0, 0);
        return;
    case DGF_CEL_REF_LET:
        put(e, node, DGF_CEL_I_LET, 0, node->slot, 0, 0);
        return;
    case DGF_CEL_REF_CONST:
        put(e, node, DGF_CEL_I_CONST, 0, add_const(e, node->value), 0, 0);
        return;
    case DGF_CEL_REF_NONE:
        break;
    }
    size = strlen(node->name) + 32;
    copy = dgf_arena_alloc(&e->program->arena, size);
    if (!copy) {
        e->nomem = e->failed = true;
        return;
    }
    snprintf(copy, size, "unknown name '%s'", node->name);
    text = dgf_cel_string(dgf_bytes_str(copy));
    put(e, node, DGF_CEL_I_FAIL, 0, add_const(e, text), 0, 0);
}

static void emit_select(struct emitter *e, struct dgf_cel_node *node, bool soft)
{
    unsigned name = add_name(e, node->name, node->field_id);
    struct dgf_cel_node *on = node->args[0];

    if (node->flags == 0 && !soft && !(e->flags & DGF_CEL_TRACE) &&
        on->kind == DGF_CEL_N_IDENT && on->ref == DGF_CEL_REF_VAR) {
        put(e, node, DGF_CEL_I_VAR_FIELD, 0, on->slot, name, 0);
        return;
    }
    emit(e, on, soft);
    if (node->flags & DGF_CEL_F_TEST)
        put(e, node, DGF_CEL_I_HAS, 0, name, 0, 0);
    else if (node->flags & DGF_CEL_F_OPTIONAL)
        put(e, node, DGF_CEL_I_SELECT_OPT, 0, name, 0, 0);
    else
        put(e, node, soft ? DGF_CEL_I_SELECT_SOFT : DGF_CEL_I_SELECT, 0, name, 0, 0);
}

static void emit_container(struct emitter *e, struct dgf_cel_node *node)
{
    bool map = node->kind == DGF_CEL_N_MAP;

    if (!(e->flags & DGF_CEL_TRACE) && fold_container(e, node)) {
        put(e, node, DGF_CEL_I_CONST, 0, add_const(e, node->value), 0, 0);
        return;
    }
    for (uint32_t i = 0; i < node->n_args; i++) {
        emit(e, node->args[i], false);
        if (node->splice && node->splice[map ? i / 2 : i] && (!map || i % 2 == 1))
            put_op(e, node->args[i], DGF_CEL_I_SPLICE);
    }
    put(e, node, map ? DGF_CEL_I_MAP : DGF_CEL_I_LIST, 0,
        map ? node->n_args / 2 : node->n_args, 0, 0);
}

static enum dgf_cel_insn_op fold_insn(const struct dgf_cel_node *node)
{
    static const uint8_t insns[] = {
        [DGF_CEL_FOLD_ALL] = DGF_CEL_I_FOLD_ALL,
        [DGF_CEL_FOLD_EXISTS] = DGF_CEL_I_FOLD_EXISTS,
        [DGF_CEL_FOLD_ONE] = DGF_CEL_I_FOLD_ONE,
        [DGF_CEL_FOLD_LIST] = DGF_CEL_I_LIST_ADD,
        [DGF_CEL_FOLD_MAP] = DGF_CEL_I_MAP_ADD,
        [DGF_CEL_FOLD_ENTRIES] = DGF_CEL_I_MAP_MERGE,
    };

    return insns[node->fold];
}

static void emit_fold(struct emitter *e, struct dgf_cel_node *node)
{
    uint32_t iter, next, filter = 0, step, builds = node->fold >= DGF_CEL_FOLD_LIST;
    unsigned number = e->n_iters++;

    emit(e, node->args[0], false);
    if (e->n_iters > MAX_ITERS) {
        too_long(e);
        return;
    }
    if (e->n_iters > e->program->n_iters)
        e->program->n_iters = (uint16_t)e->n_iters;
    iter = put(e, node->args[0], DGF_CEL_I_ITER, number, 0, node->name2 != NULL, 0);
    if (builds)
        put_op(e, node, DGF_CEL_I_BUILD);
    else
        put(e, node, DGF_CEL_I_CONST, 0,
            add_const(e, node->fold == DGF_CEL_FOLD_ONE
                             ? dgf_cel_int(0)
                             : dgf_cel_bool(node->fold == DGF_CEL_FOLD_ALL)),
            0, 0);
    next = put(e, node, DGF_CEL_I_NEXT, number, 0, node->slot,
               node->name2 || node->fold == DGF_CEL_FOLD_MAP ? 2 : 1);
    if (node->args[1]) {
        emit(e, node->args[1], false);
        filter = put(e, node->args[1], DGF_CEL_I_FILTER, 0, next, 0, 0);
    }
    if (node->fold == DGF_CEL_FOLD_MAP)
        put(e, node, DGF_CEL_I_LOCAL, 0, node->slot, 0, 0);
    emit(e, node->args[2], false);
    step = put(e, node, fold_insn(node), 0, next, 0, 0);
    patch(e, next, e->n_code);
    e->code[step].c = (uint16_t)e->n_code;
    if (node->args[1])
        e->code[filter].c = (uint16_t)e->n_code;
    if (node->fold == DGF_CEL_FOLD_ONE)
        put_op(e, node, DGF_CEL_I_ONE_END);
    else if (builds)
        put_op(e, node,
               node->fold == DGF_CEL_FOLD_LIST ? DGF_CEL_I_LIST_END
                                               : DGF_CEL_I_MAP_END);
    patch(e, iter, e->n_code);
    e->n_iters--;
}

static void emit(struct emitter *e, struct dgf_cel_node *node, bool soft)
{
    if (e->failed)
        return;
    switch ((enum dgf_cel_node_kind)node->kind) {
    case DGF_CEL_N_CONST:
        put(e, node, DGF_CEL_I_CONST, 0, add_const(e, const_value(e, node, NULL)), 0,
            0);
        break;
    case DGF_CEL_N_IDENT:
        emit_ident(e, node);
        break;
    case DGF_CEL_N_SELECT:
        emit_select(e, node, soft);
        break;
    case DGF_CEL_N_CALL:
        emit_call(e, node, soft);
        break;
    case DGF_CEL_N_LIST:
    case DGF_CEL_N_MAP:
        emit_container(e, node);
        break;
    case DGF_CEL_N_FOLD:
        emit_fold(e, node);
        break;
    case DGF_CEL_N_BIND:
        emit(e, node->args[0], false);
        put(e, node, DGF_CEL_I_SET_LOCAL, 0, node->slot, 0, 0);
        emit(e, node->args[1], soft);
        break;
    case DGF_CEL_N_ASK:
        emit(e, node->args[0], true);
        put_op(e, node,
               node->flags & DGF_CEL_F_KNOWN ? DGF_CEL_I_KNOWN : DGF_CEL_I_MISSING);
        break;
    }
    if (e->flags & DGF_CEL_TRACE)
        put(e, node, DGF_CEL_I_TRACE, 0, node->id, 0, 0);
}

static void *keep(struct emitter *e, const void *from, size_t n, size_t size)
{
    void *to = dgf_arena_alloc(&e->program->arena, n * size + 1);

    if (!to)
        e->nomem = e->failed = true;
    else if (n > 0)
        memcpy(to, from, n * size);
    return to;
}

bool dgf_cel_emit(struct dgf_cel_program *program, struct dgf_cel_issues *issues,
                  bool *ret_nomem)
{
    struct emitter *e = dgf_malloc(sizeof(*e));
    bool ok;

    *ret_nomem = !e;
    if (!e)
        return false;
    memset(e, 0, offsetof(struct emitter, code));
    e->program = program;
    e->issues = issues;
    e->flags = program->env->flags;
    emit(e, program->root, false);
    put_op(e, program->root, DGF_CEL_I_RETURN);
    program->regexes = keep(e, e->regexes, program->n_regexes, sizeof(e->regexes[0]));
    if (!program->regexes) {
        for (unsigned i = 0; i < program->n_regexes; i++)
            dgf_cel_regex_free(e->regexes[i]);
        program->n_regexes = 0;
    }
    program->n_code = e->n_code;
    program->code = keep(e, e->code, e->n_code, sizeof(e->code[0]));
    program->where = keep(e, e->where, e->n_code, sizeof(e->where[0]));
    program->consts = keep(e, e->consts, program->n_consts, sizeof(e->consts[0]));
    program->names = keep(e, e->names, program->n_names, sizeof(e->names[0]));
    program->sites = keep(e, e->sites, program->n_sites, sizeof(e->sites[0]));
    ok = !e->failed;
    *ret_nomem = e->nomem;
    dgf_free(e);
    return ok;
}
