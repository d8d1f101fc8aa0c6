#include <stdio.h>
#include <string.h>

#include "cel/parser.h"

/* Macro calls become nodes of their own; nothing is copied, so every operand
 * is evaluated where it stands. */

static const char *var_name(struct dgf_cel_parser *p, const struct dgf_cel_node *node,
                            const char *macro)
{
    if (node->kind == DGF_CEL_N_IDENT && !(node->flags & DGF_CEL_F_ROOT))
        return node->name;
    dgf_cel_parser_fail(p, "E0307", node->offset, node->len,
                        "%s() wants a plain name for its variable", macro);
    return NULL;
}

static struct dgf_cel_node *like(struct dgf_cel_node *node,
                                 const struct dgf_cel_node *call)
{
    if (node) {
        node->name_at = call->name_at;
        node->offset = call->offset;
        node->len = call->len;
    }
    return node;
}

static struct dgf_cel_node *fold(struct dgf_cel_parser *p,
                                 const struct dgf_cel_node *call,
                                 enum dgf_cel_fold kind, unsigned n_vars,
                                 struct dgf_cel_node *filter, struct dgf_cel_node *body)
{
    struct dgf_cel_node *args[3] = {call->args[0], filter, body}, *node;
    const char *name = var_name(p, call->args[1], call->name);
    const char *name2 = n_vars == 2 ? var_name(p, call->args[2], call->name) : NULL;

    if (p->failed)
        return NULL;
    if (name2 && strcmp(name, name2) == 0)
        dgf_cel_parser_fail(p, "E0307", call->args[2]->offset, call->args[2]->len,
                            "%s() wants two different names", call->name);
    node = dgf_cel_node_new(p, DGF_CEL_N_FOLD, name, 3, args);
    if (!node)
        return NULL;
    node->fold = kind;
    node->name2 = name2;
    return like(node, call);
}

static struct dgf_cel_node *member_macro(struct dgf_cel_parser *p,
                                         struct dgf_cel_node *call)
{
    static const struct {
        const char *name;
        uint8_t n_args, n_vars, kind, filter, body; /* argument numbers, 0: none */
    } folds[] = {
        {"all", 2, 1, DGF_CEL_FOLD_ALL, 0, 2},
        {"all", 3, 2, DGF_CEL_FOLD_ALL, 0, 3},
        {"exists", 2, 1, DGF_CEL_FOLD_EXISTS, 0, 2},
        {"exists", 3, 2, DGF_CEL_FOLD_EXISTS, 0, 3},
        {"exists_one", 2, 1, DGF_CEL_FOLD_ONE, 0, 2},
        {"existsOne", 2, 1, DGF_CEL_FOLD_ONE, 0, 2},
        {"existsOne", 3, 2, DGF_CEL_FOLD_ONE, 0, 3},
        {"map", 2, 1, DGF_CEL_FOLD_LIST, 0, 2},
        {"map", 3, 1, DGF_CEL_FOLD_LIST, 2, 3},
        {"filter", 2, 1, DGF_CEL_FOLD_LIST, 2, 1},
        {"transformList", 3, 2, DGF_CEL_FOLD_LIST, 0, 3},
        {"transformList", 4, 2, DGF_CEL_FOLD_LIST, 3, 4},
        {"transformMap", 3, 2, DGF_CEL_FOLD_MAP, 0, 3},
        {"transformMap", 4, 2, DGF_CEL_FOLD_MAP, 3, 4},
        {"transformMapEntry", 3, 2, DGF_CEL_FOLD_ENTRIES, 0, 3},
        {"transformMapEntry", 4, 2, DGF_CEL_FOLD_ENTRIES, 3, 4},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(folds); i++)
        if (strcmp(call->name, folds[i].name) == 0 &&
            call->n_args == folds[i].n_args + 1u)
            return fold(p, call, folds[i].kind, folds[i].n_vars,
                        folds[i].filter ? call->args[folds[i].filter] : NULL,
                        call->args[folds[i].body]);
    return call;
}

static struct dgf_cel_node *call_node(struct dgf_cel_parser *p,
                                      const struct dgf_cel_node *at, const char *name,
                                      unsigned n, struct dgf_cel_node *a,
                                      struct dgf_cel_node *b, struct dgf_cel_node *c)
{
    struct dgf_cel_node *args[3] = {a, b, c};

    return like(dgf_cel_node_new(p, DGF_CEL_N_CALL, name, n, args), at);
}

static struct dgf_cel_node *bind_node(struct dgf_cel_parser *p,
                                      const struct dgf_cel_node *at, const char *name,
                                      struct dgf_cel_node *value,
                                      struct dgf_cel_node *body)
{
    struct dgf_cel_node *args[2] = {value, body};

    return like(dgf_cel_node_new(p, DGF_CEL_N_BIND, name, 2, args), at);
}

static struct dgf_cel_node *ident_node(struct dgf_cel_parser *p,
                                       const struct dgf_cel_node *at, const char *name)
{
    return like(dgf_cel_node_new(p, DGF_CEL_N_IDENT, name, 0, NULL), at);
}

/* x.optMap(v, e): x is evaluated once, into a name nobody can write. */
static struct dgf_cel_node *opt_map(struct dgf_cel_parser *p, struct dgf_cel_node *call,
                                    bool flat)
{
    const char *name = var_name(p, call->args[1], call->name);
    struct dgf_cel_node *has, *value, *body, *none, *cond;

    if (p->failed)
        return NULL;
    has = call_node(p, call, "hasValue", 1, ident_node(p, call, "@target"), NULL, NULL);
    value = call_node(p, call, "value", 1, ident_node(p, call, "@target"), NULL, NULL);
    body = bind_node(p, call, name, value, call->args[2]);
    if (!flat)
        body = call_node(p, call, "optional.of", 1, body, NULL, NULL);
    none = call_node(p, call, "optional.none", 0, NULL, NULL, NULL);
    cond = call_node(p, call, dgf_cel_op_name(DGF_CEL_OP_COND), 3, has, body, none);
    if (p->failed)
        return NULL;
    has->flags |= DGF_CEL_F_MEMBER;
    value->flags |= DGF_CEL_F_MEMBER;
    cond->op = DGF_CEL_OP_COND;
    return bind_node(p, call, "@target", call->args[0], cond);
}

static const struct {
    const char *called, *written;
} renamed[] = {
    {"@sortByKeys", "sortBy"},
    {"math.@max", "math.greatest"},
    {"math.@min", "math.least"},
};

const char *dgf_cel_written_name(const char *name)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(renamed); i++)
        if (strcmp(name, renamed[i].called) == 0)
            return renamed[i].written;
    return name;
}

/* l.sortBy(v, key): the keys are computed once each. */
static struct dgf_cel_node *sort_by(struct dgf_cel_parser *p, struct dgf_cel_node *call)
{
    struct dgf_cel_node *list, *keys, *sort;
    const char *name = var_name(p, call->args[1], call->name);

    if (p->failed)
        return NULL;
    list = call->args[0];
    call->args[0] = ident_node(p, call, "@list");
    (void)name;
    keys = fold(p, call, DGF_CEL_FOLD_LIST, 1, NULL, call->args[2]);
    sort =
        call_node(p, call, "@sortByKeys", 2, ident_node(p, call, "@list"), keys, NULL);
    return bind_node(p, call, "@list", list, sort);
}

static const char *numbered(struct dgf_cel_parser *p, const char *prefix, int64_t a,
                            int64_t b)
{
    char text[64];
    char *name;
    int n =
        snprintf(text, sizeof(text), "%s%lld:%lld", prefix, (long long)a, (long long)b);

    name = dgf_arena_strndup(p->arena, text, (size_t)n);
    if (!name)
        p->nomem = p->failed = true;
    return name;
}

/* cel.block([e0, e1 ...], body): each e is bound to a name cel.index(i) gives. */
static struct dgf_cel_node *block(struct dgf_cel_parser *p, struct dgf_cel_node *call)
{
    struct dgf_cel_node *list = call->args[1], *node = call->args[2];

    if (list->kind != DGF_CEL_N_LIST || list->splice) {
        dgf_cel_parser_fail(p, "E0307", list->offset, list->len,
                            "cel.block() wants a list as its first argument");
        return NULL;
    }
    for (uint32_t i = list->n_args; i > 0 && !p->failed; i--)
        node = bind_node(p, call, numbered(p, "@index", i - 1, 0), list->args[i - 1],
                         node);
    return p->failed ? NULL : node;
}

static bool int_arg(const struct dgf_cel_node *call, unsigned i)
{
    return call->args[i]->kind == DGF_CEL_N_CONST &&
           call->args[i]->value.kind == DGF_CEL_INT && call->args[i]->value.i64 >= 0;
}

static struct dgf_cel_node *cel_macro(struct dgf_cel_parser *p,
                                      struct dgf_cel_node *call)
{
    const char *name;

    if (strcmp(call->name, "bind") == 0 && call->n_args == 4) {
        name = var_name(p, call->args[1], "cel.bind");
        return p->failed ? NULL
                         : bind_node(p, call, name, call->args[2], call->args[3]);
    }
    if (strcmp(call->name, "block") == 0 && call->n_args == 3)
        return block(p, call);
    if (strcmp(call->name, "index") == 0 && call->n_args == 2 && int_arg(call, 1))
        return ident_node(p, call, numbered(p, "@index", call->args[1]->value.i64, 0));
    if (call->n_args == 3 && int_arg(call, 1) && int_arg(call, 2)) {
        if (strcmp(call->name, "iterVar") == 0)
            return ident_node(
                p, call,
                numbered(p, "@it", call->args[1]->value.i64, call->args[2]->value.i64));
        if (strcmp(call->name, "accuVar") == 0)
            return ident_node(
                p, call,
                numbered(p, "@ac", call->args[1]->value.i64, call->args[2]->value.i64));
    }
    return call;
}

/* math.greatest and least take any number of arguments: as one list. */
static struct dgf_cel_node *math_macro(struct dgf_cel_parser *p,
                                       struct dgf_cel_node *call)
{
    bool max = strcmp(call->name, "greatest") == 0;
    struct dgf_cel_node *arg;

    if (!max && strcmp(call->name, "least") != 0)
        return call;
    if (call->n_args < 2) {
        dgf_cel_parser_fail(p, "E0307", call->offset, call->len,
                            "math.%s() wants at least one argument", call->name);
        return NULL;
    }
    if (call->n_args == 2)
        arg = call->args[1];
    else
        arg = like(
            dgf_cel_node_new(p, DGF_CEL_N_LIST, NULL, call->n_args - 1, call->args + 1),
            call);
    return call_node(p, call, max ? "math.@max" : "math.@min", 1, arg, NULL, NULL);
}

static struct dgf_cel_node *has_macro(struct dgf_cel_parser *p,
                                      struct dgf_cel_node *call)
{
    struct dgf_cel_node *select = call->args[0];

    if (select->kind != DGF_CEL_N_SELECT || (select->flags & DGF_CEL_F_OPTIONAL)) {
        dgf_cel_parser_fail(p, "E0307", select->offset, select->len,
                            "has() wants a field, as in has(a.b)");
        return NULL;
    }
    select->flags |= DGF_CEL_F_TEST;
    return like(select, call);
}

struct dgf_cel_node *dgf_cel_macro(struct dgf_cel_parser *p, struct dgf_cel_node *call)
{
    const struct dgf_cel_node *on;

    if (!(call->flags & DGF_CEL_F_MEMBER)) {
        if (strcmp(call->name, "has") == 0 && call->n_args == 1)
            return has_macro(p, call);
        if ((p->flags & DGF_CEL_POLICY) && call->n_args == 1 &&
            (strcmp(call->name, "missing") == 0 || strcmp(call->name, "known") == 0)) {
            call->kind = DGF_CEL_N_ASK;
            if (call->name[0] == 'k')
                call->flags |= DGF_CEL_F_KNOWN;
        }
        return call;
    }
    on = call->args[0];
    if (on->kind == DGF_CEL_N_IDENT && strcmp(on->name, "cel") == 0)
        return cel_macro(p, call);
    if (on->kind == DGF_CEL_N_IDENT && strcmp(on->name, "math") == 0)
        return math_macro(p, call);
    if (call->n_args == 3 && strcmp(call->name, "optMap") == 0)
        return opt_map(p, call, false);
    if (call->n_args == 3 && strcmp(call->name, "optFlatMap") == 0)
        return opt_map(p, call, true);
    if (call->n_args == 3 && strcmp(call->name, "sortBy") == 0)
        return sort_by(p, call);
    return member_macro(p, call);
}
