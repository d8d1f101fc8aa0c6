#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cel/lexer.h"
#include "cel/ops.h"
#include "cel/program.h"

/* Names and types.  Without the check (NO_CHECK) names are resolved all the
 * same, everything is dyn, and what does not fit fails when it is evaluated. */

struct local {
    const char *name;
    const struct dgf_cel_type *type;
    uint16_t slot;
};

#define MAX_LOCALS 255

struct checker {
    struct dgf_cel_program *program;
    const struct dgf_cel_env *env;
    struct dgf_cel_issues *issues;
    struct dgf_cel_unifier unifier;
    struct local locals[MAX_LOCALS];
    unsigned n_locals, n_issues;
    bool checked, policy;
};

static const struct dgf_cel_type error_type = {.kind = DGF_CEL_T_ERROR,
                                               .name = "error"};

static const struct dgf_cel_type *check(struct checker *c, struct dgf_cel_node *node);

__attribute__((format(printf, 6, 7))) static void issue(struct checker *c,
                                                        const char *code,
                                                        uint32_t offset, uint32_t len,
                                                        const char *suggestion,
                                                        const char *fmt, ...)
{
    char text[512];
    va_list ap;

    c->n_issues++;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_cel_issue_add(c->issues, code, offset, len, suggestion, "%s", text);
}

/* ---- names ---- */

struct nearest {
    const char *word, *best;
    unsigned distance;
};

static void try_name(void *ctx, const char *name)
{
    struct nearest *nearest = ctx;
    unsigned distance;

    if (!((name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z')))
        return;
    distance = dgf_edit_distance(nearest->word, name, nearest->distance);
    if (distance < nearest->distance) {
        nearest->distance = distance;
        nearest->best = name;
    }
}

static struct nearest nearest_of(const char *word)
{
    return (struct nearest){word, NULL, (unsigned)strlen(word) / 3 + 2};
}

static const char *suggest_name(struct checker *c, const char *word)
{
    struct nearest nearest = nearest_of(word);
    const struct dgf_map_entry *entry;
    const char *here = dgf_cel_foreign_name(word);

    if (here && dgf_map_get(&c->env->decls, dgf_bytes_str(here)))
        return here;
    for (unsigned i = 0; i < c->n_locals; i++)
        try_name(&nearest, c->locals[i].name);
    for (size_t at = 0; (entry = dgf_map_next(&c->env->decls, &at));) {
        const char *name = ((const struct dgf_cel_decl *)entry->value)->name;
        const char *dot = strrchr(name, '.');

        if (dot && strcmp(dot + 1, word) == 0)
            return name; /* "lists.words" for "words" */
        try_name(&nearest, name);
    }
    return nearest.best;
}

static const char *suggest_function(struct checker *c, const char *word)
{
    struct nearest nearest = nearest_of(word);
    const struct dgf_map_entry *entry;
    const char *here = dgf_cel_foreign_function(word);

    /* `missing` is of policies; the others are standard */
    if (here && (c->policy || strcmp(here, "missing") != 0))
        return here;
    dgf_cel_std_names(try_name, &nearest);
    for (size_t at = 0; (entry = dgf_map_next(&c->env->functions, &at));)
        try_name(&nearest, ((const struct dgf_cel_overload *)entry->value)->name);
    return nearest.best;
}

/* "a.b.c" of a chain of plain selections; false: it is none, or too long. */
static bool dotted(const struct dgf_cel_node *node, char *ret, size_t size)
{
    size_t len;

    if (node->kind == DGF_CEL_N_IDENT)
        return (size_t)snprintf(ret, size, "%s", node->name) < size;
    if (node->kind != DGF_CEL_N_SELECT || node->flags & DGF_CEL_F_OPTIONAL ||
        !dotted(node->args[0], ret, size))
        return false;
    len = strlen(ret);
    return (size_t)snprintf(ret + len, size - len, ".%s", node->name) < size - len;
}

static const struct dgf_cel_node *first_ident(const struct dgf_cel_node *node)
{
    while (node->kind == DGF_CEL_N_SELECT)
        node = node->args[0];
    return node;
}

static const struct local *find_local(const struct checker *c, const char *name)
{
    for (unsigned i = c->n_locals; i > 0; i--)
        if (strcmp(c->locals[i - 1].name, name) == 0)
            return &c->locals[i - 1];
    return NULL;
}

/* Runs over container.name, its parents, and name; visit answers true to stop. */
static bool each_qualified(const struct checker *c, const char *name, bool root,
                           bool (*visit)(void *ctx, const char *full), void *ctx)
{
    char full[512];
    size_t len = root ? 0 : strlen(c->env->container);

    while (len > 0) {
        if ((size_t)snprintf(full, sizeof(full), "%.*s.%s", (int)len, c->env->container,
                             name) < sizeof(full) &&
            visit(ctx, full))
            return true;
        while (len > 0 && c->env->container[len - 1] != '.')
            len--;
        len -= len > 0;
    }
    return visit(ctx, name);
}

struct ident_search {
    const struct checker *c;
    const struct dgf_cel_decl *decl;
    const struct dgf_cel_type *type;
};

static bool visit_ident(void *ctx, const char *full)
{
    struct ident_search *search = ctx;

    search->decl = dgf_map_get(&search->c->env->decls, dgf_bytes_str(full));
    if (!search->decl)
        search->type = dgf_cel_named_type(full);
    return search->decl || search->type;
}

static const struct dgf_cel_type *use_type_name(struct checker *c,
                                                struct dgf_cel_node *node,
                                                const struct dgf_cel_type *type)
{
    const struct dgf_cel_type *of =
        dgf_cel_type_new(c->unifier.arena, DGF_CEL_T_TYPE, "type", type, NULL);

    node->ref = DGF_CEL_REF_CONST;
    node->value = dgf_cel_type_of(type);
    if (!of)
        c->unifier.nomem = true;
    return of ? of : &dgf_cel_t_dyn;
}

static const struct dgf_cel_type *use_decl(struct dgf_cel_node *node,
                                           const struct dgf_cel_decl *decl)
{
    static const uint8_t refs[] = {[DGF_CEL_D_VAR] = DGF_CEL_REF_VAR,
                                   [DGF_CEL_D_CONST] = DGF_CEL_REF_CONST,
                                   [DGF_CEL_D_LET] = DGF_CEL_REF_LET};

    node->ref = refs[decl->kind];
    node->slot = (uint16_t)decl->slot;
    node->name = decl->name;
    node->value = decl->value;
    return decl->type;
}

/* Turns node (an identifier or a chain of selections) into a reference when
 * its whole name is declared. */
static const struct dgf_cel_type *resolve(struct checker *c, struct dgf_cel_node *node)
{
    const struct dgf_cel_node *first = first_ident(node);
    struct ident_search search = {c, NULL, NULL};
    const struct local *local;
    char name[512];

    if (first->kind != DGF_CEL_N_IDENT || !dotted(node, name, sizeof(name)))
        return NULL;
    local = first->flags & DGF_CEL_F_ROOT ? NULL : find_local(c, first->name);
    if (local) {
        if (first != node)
            return NULL;
        node->ref = DGF_CEL_REF_LOCAL;
        node->slot = local->slot;
        return local->type;
    }
    if (!each_qualified(c, name, first->flags & DGF_CEL_F_ROOT, visit_ident, &search))
        return NULL;
    node->kind = DGF_CEL_N_IDENT;
    node->n_args = 0;
    return search.decl ? use_decl(node, search.decl)
                       : use_type_name(c, node, search.type);
}

static const struct dgf_cel_type *check_ident(struct checker *c,
                                              struct dgf_cel_node *node)
{
    const struct dgf_cel_type *type = resolve(c, node);

    if (type)
        return type;
    node->ref = DGF_CEL_REF_NONE;
    if (c->checked)
        issue(c, "E0302", node->offset, node->len, suggest_name(c, node->name),
              "unknown name '%s'", node->name);
    return &error_type;
}

/* ---- fields ---- */

static const char *show(struct checker *c, const struct dgf_cel_type *type, char *buf,
                        size_t size)
{
    struct dgf_buf out;

    (void)c;
    dgf_buf_init(&out, 4096);
    dgf_cel_type_show(type, &out);
    snprintf(buf, size, "%s", dgf_buf_str(&out));
    dgf_buf_release(&out);
    return buf;
}

static const struct dgf_cel_type *row_field(struct checker *c,
                                            struct dgf_cel_node *node,
                                            const struct dgf_cel_type *row)
{
    struct nearest nearest = nearest_of(node->name);
    struct dgf_bytes on = dgf_cel_node_text(c->program, node->args[0]);
    char best[300];

    for (unsigned i = 0; i < row->n_fields; i++) {
        if (strcmp(row->fields[i].name, node->name) == 0) {
            node->field_id = row->fields[i].id;
            return row->fields[i].type;
        }
        try_name(&nearest, row->fields[i].name);
    }
    if (row->open)
        return &dgf_cel_t_dyn;
    if (nearest.best)
        snprintf(best, sizeof(best), "%.*s.%s", (int)(on.len > 120 ? 120 : on.len),
                 (const char *)on.ptr, nearest.best);
    issue(c, "E0303", node->name_at, (uint32_t)strlen(node->name),
          nearest.best ? best : NULL, "unknown field '%.*s.%s'",
          (int)(on.len > 120 ? 120 : on.len), (const char *)on.ptr, node->name);
    return &error_type;
}

static const struct dgf_cel_type *optional_of(struct checker *c,
                                              const struct dgf_cel_type *type)
{
    const struct dgf_cel_type *of = dgf_cel_type_new(
        c->unifier.arena, DGF_CEL_T_OPTIONAL, "optional_type", type, NULL);

    if (!of)
        c->unifier.nomem = true;
    return of ? of : &dgf_cel_t_dyn;
}

static const struct dgf_cel_type *field_type(struct checker *c,
                                             struct dgf_cel_node *node,
                                             const struct dgf_cel_type *on)
{
    char text[128], call[32];
    const char *here = NULL;

    on = dgf_cel_type_deref(on);
    switch (on->kind) {
    case DGF_CEL_T_DYN:
    case DGF_CEL_T_PARAM:
        return &dgf_cel_t_dyn;
    case DGF_CEL_T_ERROR:
        return on;
    case DGF_CEL_T_MAP:
        if (dgf_cel_assign(&c->unifier, on->params[0], &dgf_cel_t_string))
            return on->params[1];
        break;
    case DGF_CEL_T_ROW:
        return row_field(c, node, on);
    case DGF_CEL_T_NULL:
        if (c->policy)
            return &dgf_cel_t_null;
        break;
    case DGF_CEL_T_STRING:
    case DGF_CEL_T_BYTES:
    case DGF_CEL_T_LIST:
        here = dgf_cel_foreign_function(node->name);
        break;
    default:
        break;
    }
    if (here) /* x.length, as if it were a field */
        snprintf(call, sizeof(call), "%s()", here);
    issue(c, "E0303", node->name_at, (uint32_t)strlen(node->name), here ? call : NULL,
          "type '%s' has no field '%s'", show(c, on, text, sizeof(text)), node->name);
    return &error_type;
}

static const struct dgf_cel_type *check_select(struct checker *c,
                                               struct dgf_cel_node *node)
{
    const struct dgf_cel_type *type, *on;
    bool test = node->flags & DGF_CEL_F_TEST,
         optional = node->flags & DGF_CEL_F_OPTIONAL;

    if (!test && !optional) {
        type = resolve(c, node);
        if (type)
            return type;
    }
    on = dgf_cel_type_deref(check(c, node->args[0]));
    if (!c->checked)
        return &dgf_cel_t_dyn;
    if (on->kind == DGF_CEL_T_OPTIONAL && on->n_params > 0) {
        optional = true;
        on = on->params[0];
    }
    type = field_type(c, node, on);
    if (test)
        return &dgf_cel_t_bool;
    return optional ? optional_of(c, type) : type;
}

/* ---- calls ---- */

struct call_search {
    struct checker *c;
    const struct dgf_cel_overload *list[2];
    char full[512];
};

static bool visit_function(void *ctx, const char *full)
{
    struct call_search *search = ctx;

    search->list[0] = dgf_cel_std_overloads(full, search->c->policy);
    search->list[1] = dgf_map_get(&search->c->env->functions, dgf_bytes_str(full));
    snprintf(search->full, sizeof(search->full), "%s", full);
    return search->list[0] || search->list[1];
}

/* x.f(...) where x.f is the name of a global function. */
static bool namespaced(struct checker *c, struct dgf_cel_node *node,
                       struct call_search *search)
{
    const struct dgf_cel_node *first = first_ident(node->args[0]);
    char name[512];
    size_t len;

    if (first->kind != DGF_CEL_N_IDENT || find_local(c, first->name) ||
        !dotted(node->args[0], name, sizeof(name)))
        return false;
    len = strlen(name);
    if ((size_t)snprintf(name + len, sizeof(name) - len, ".%s", node->name) >=
            sizeof(name) - len ||
        !each_qualified(c, name, first->flags & DGF_CEL_F_ROOT, visit_function, search))
        return false;
    node->args++;
    node->n_args--;
    node->flags &= (uint8_t)~DGF_CEL_F_MEMBER;
    node->name =
        dgf_arena_strndup(c->unifier.arena, search->full, strlen(search->full));
    if (!node->name)
        c->unifier.nomem = true;
    return node->name != NULL;
}

static bool fits(struct checker *c, const struct dgf_cel_overload *overload,
                 const struct dgf_cel_node *node,
                 const struct dgf_cel_type **ret_result)
{
    const struct dgf_cel_type *vars[26] = {NULL};

    for (uint32_t i = 0; i < node->n_args; i++) {
        const struct dgf_cel_type *want =
            dgf_cel_instantiate(&c->unifier, overload->args[i], vars);

        if (!dgf_cel_assign(&c->unifier, want, node->args[i]->type))
            return false;
    }
    *ret_result = dgf_cel_instantiate(&c->unifier, overload->result, vars);
    return true;
}

static bool same_type(const struct dgf_cel_type *a, const struct dgf_cel_type *b)
{
    a = dgf_cel_type_deref(a);
    b = dgf_cel_type_deref(b);
    if (a == b)
        return true;
    if (a->kind != b->kind || a->n_params != b->n_params ||
        (a->name && b->name && strcmp(a->name, b->name) != 0))
        return false;
    if (a->kind == DGF_CEL_T_PARAM || a->kind == DGF_CEL_T_ROW)
        return false;
    for (unsigned i = 0; i < a->n_params; i++)
        if (!same_type(a->params[i], b->params[i]))
            return false;
    return true;
}

static void no_overload(struct checker *c, const struct dgf_cel_node *node)
{
    char args[300] = "", one[100];
    size_t len = 0;
    uint32_t first = node->flags & DGF_CEL_F_MEMBER ? 1 : 0;

    for (uint32_t i = first; i < node->n_args && len < sizeof(args); i++)
        len += (size_t)snprintf(args + len, sizeof(args) - len, "%s%s",
                                i > first ? ", " : "",
                                show(c, node->args[i]->type, one, sizeof(one)));
    if (node->op)
        issue(c, "E0304", node->offset, node->len, NULL,
              "operator '%s' does not go with (%s)", dgf_cel_op_sign(node->op), args);
    else if (first)
        issue(c, "E0304", node->offset, node->len, NULL,
              "function '%s' does not go with %s.(%s)",
              dgf_cel_written_name(node->name),
              show(c, node->args[0]->type, one, sizeof(one)), args);
    else
        issue(c, "E0304", node->offset, node->len, NULL,
              "function '%s' does not go with (%s)", dgf_cel_written_name(node->name),
              args);
}

/* A decimal mixed with a double that is no literal would hide a rounding. */
static bool mixes_double(const struct dgf_cel_node *node,
                         const struct dgf_cel_overload *overload)
{
    if (!node->op || node->n_args != 2 || node->op < DGF_CEL_OP_ADD)
        return false;
    for (uint32_t i = 0; i < 2; i++)
        if (overload->args[i]->kind == DGF_CEL_T_DOUBLE &&
            overload->args[1 - i]->kind == DGF_CEL_T_DECIMAL &&
            node->args[i]->kind != DGF_CEL_N_CONST)
            return true;
    return false;
}

static const struct dgf_cel_type *pick(struct checker *c, struct dgf_cel_node *node,
                                       const struct call_search *search)
{
    const struct dgf_cel_overload *found[64];
    const struct dgf_cel_type *result = NULL, *one;
    bool member = node->flags & DGF_CEL_F_MEMBER;
    unsigned n = 0;

    for (unsigned k = 0; k < 2; k++) {
        for (const struct dgf_cel_overload *o = search->list[k]; o; o = o->next) {
            unsigned mark = c->unifier.n_trail;

            if (o->member != member || o->n_args != node->n_args || n == 64)
                continue;
            if (c->checked && (mixes_double(node, o) || !fits(c, o, node, &one))) {
                dgf_cel_undo(&c->unifier, mark);
                continue;
            }
            if (!c->checked)
                one = &dgf_cel_t_dyn;
            found[n++] = o;
            if (!result)
                result = one;
            else if (!same_type(result, one))
                result = &dgf_cel_t_dyn;
            c->unifier.n_trail = 0;
        }
    }
    if (n == 0) {
        if (c->checked)
            no_overload(c, node);
        return &error_type;
    }
    node->overloads = dgf_arena_alloc(c->unifier.arena, n * sizeof(found[0]));
    if (!node->overloads) {
        c->unifier.nomem = true;
        return &error_type;
    }
    memcpy(node->overloads, found, n * sizeof(found[0]));
    node->n_overloads = n;
    return result;
}

/* pii.crd(x): the names before the dot start names of functions, so the whole
 * name is wrong, and no variable is missing.  Tells it. */
static bool misspelt(struct checker *c, const struct dgf_cel_node *node)
{
    const struct dgf_map_entry *entry;
    struct nearest nearest;
    char name[128];
    size_t len;
    bool is_space = false;

    if (!dotted(node->args[0], name, sizeof(name) - 1))
        return false;
    len = strlen(name);
    name[len++] = '.';
    if (len + strlen(node->name) >= sizeof(name))
        return false;
    memcpy(name + len, node->name, strlen(node->name) + 1);
    nearest = nearest_of(name);
    for (size_t at = 0; (entry = dgf_map_next(&c->env->functions, &at));) {
        const char *one = ((const struct dgf_cel_overload *)entry->value)->name;

        if (strncmp(one, name, len) != 0)
            continue;
        is_space = true;
        try_name(&nearest, one);
    }
    if (is_space && c->checked)
        issue(c, "E0302", node->name_at, (uint32_t)strlen(node->name), nearest.best,
              "unknown function '%s'", name);
    return is_space;
}

/* pii.national_id(x, "IT"): found now, and not at every event. */
static void check_literal(struct checker *c, const struct dgf_cel_node *node)
{
    const struct dgf_cel_node *last =
        node->n_args > 0 ? node->args[node->n_args - 1] : NULL;
    char text[256];

    if (c->checked && last && c->env->literal_wrong && node->n_overloads > 0 &&
        last->kind == DGF_CEL_N_CONST && last->value.kind == DGF_CEL_STRING &&
        c->env->literal_wrong(node->overloads[0]->name, dgf_cel_bytes_of(&last->value),
                              text, sizeof(text)))
        issue(c, "E0306", last->offset, last->len, NULL, "%s", text);
}

static const struct dgf_cel_type *check_call(struct checker *c,
                                             struct dgf_cel_node *node)
{
    const struct dgf_cel_type *type;
    struct call_search search = {.c = c};
    bool known = false, error = false;

    if (node->flags & DGF_CEL_F_MEMBER)
        known = namespaced(c, node, &search);
    if (!known) {
        if (node->flags & DGF_CEL_F_MEMBER && misspelt(c, node))
            return &error_type;
        if (node->flags & DGF_CEL_F_MEMBER || node->op)
            known = visit_function(&search, node->name);
        else
            known = each_qualified(c, node->name, node->flags & DGF_CEL_F_ROOT,
                                   visit_function, &search);
    }
    for (uint32_t i = 0; i < node->n_args; i++)
        error |= check(c, node->args[i])->kind == DGF_CEL_T_ERROR;
    if (!known) {
        if (c->checked && dgf_cel_changes_case(node->name))
            issue(c, "E0302", node->name_at, (uint32_t)strlen(node->name), NULL,
                  "unknown function '%s': case is ignored by matches(\"(?i)^text$\")",
                  node->name);
        else if (c->checked)
            issue(c, "E0302", node->name_at, (uint32_t)strlen(node->name),
                  suggest_function(c, node->name), "unknown function '%s'",
                  dgf_cel_written_name(node->name));
        return &error_type;
    }
    if (error && c->checked)
        return node->op && node->op != DGF_CEL_OP_COND ? &error_type : &dgf_cel_t_dyn;
    type = pick(c, node, &search);
    check_literal(c, node);
    return type;
}

/* ---- literals ---- */

static const struct dgf_cel_type *join(struct checker *c,
                                       const struct dgf_cel_type *all,
                                       const struct dgf_cel_type *one)
{
    const struct dgf_cel_type *joined = &dgf_cel_t_dyn;

    if (!all)
        return one;
    if (dgf_cel_type_deref(all)->kind == DGF_CEL_T_DYN ||
        dgf_cel_type_deref(one)->kind == DGF_CEL_T_DYN)
        return joined;
    if (dgf_cel_assign(&c->unifier, all, one))
        joined = dgf_cel_type_deref(all)->kind == DGF_CEL_T_NULL ? one : all;
    else if (dgf_cel_assign(&c->unifier, one, all))
        joined = one;
    c->unifier.n_trail = 0;
    return joined;
}

static const struct dgf_cel_type *spliced(struct checker *c, struct dgf_cel_node *item,
                                          const struct dgf_cel_type *type)
{
    char text[128];

    type = dgf_cel_type_deref(type);
    if (type->kind == DGF_CEL_T_OPTIONAL && type->n_params > 0)
        return type->params[0];
    if (type->kind != DGF_CEL_T_DYN && type->kind != DGF_CEL_T_ERROR)
        issue(c, "E0304", item->offset, item->len, NULL,
              "'?' wants an optional here, not '%s'",
              show(c, type, text, sizeof(text)));
    return &dgf_cel_t_dyn;
}

static const struct dgf_cel_type *check_list(struct checker *c,
                                             struct dgf_cel_node *node)
{
    const struct dgf_cel_type *item = NULL, *list;

    for (uint32_t i = 0; i < node->n_args; i++) {
        const struct dgf_cel_type *one = check(c, node->args[i]);

        if (c->checked && node->splice && node->splice[i])
            one = spliced(c, node->args[i], one);
        item = join(c, item, one);
    }
    list = dgf_cel_type_new(c->unifier.arena, DGF_CEL_T_LIST, "list",
                            item ? item : dgf_cel_fresh(&c->unifier), NULL);
    if (!list)
        c->unifier.nomem = true;
    return list ? list : &dgf_cel_t_dyn;
}

static const struct dgf_cel_type *check_map(struct checker *c,
                                            struct dgf_cel_node *node)
{
    const struct dgf_cel_type *key = NULL, *value = NULL, *map;
    char text[128];

    for (uint32_t i = 0; i + 1 < node->n_args; i += 2) {
        const struct dgf_cel_type *k = dgf_cel_type_deref(check(c, node->args[i])), *v;

        if (c->checked &&
            (1u << k->kind &
             ~(1u << DGF_CEL_T_DYN | 1u << DGF_CEL_T_BOOL | 1u << DGF_CEL_T_INT |
               1u << DGF_CEL_T_UINT | 1u << DGF_CEL_T_STRING | 1u << DGF_CEL_T_PARAM |
               1u << DGF_CEL_T_ERROR)))
            issue(c, "E0304", node->args[i]->offset, node->args[i]->len, NULL,
                  "type '%s' cannot be a key of a map", show(c, k, text, sizeof(text)));
        v = check(c, node->args[i + 1]);
        if (c->checked && node->splice && node->splice[i / 2])
            v = spliced(c, node->args[i + 1], v);
        key = join(c, key, k);
        value = join(c, value, v);
    }
    map = dgf_cel_type_new(c->unifier.arena, DGF_CEL_T_MAP, "map",
                           key ? key : dgf_cel_fresh(&c->unifier),
                           value ? value : dgf_cel_fresh(&c->unifier));
    if (!map)
        c->unifier.nomem = true;
    return map ? map : &dgf_cel_t_dyn;
}

/* ---- macros ---- */

static void push_local(struct checker *c, const struct dgf_cel_node *node,
                       const char *name, const struct dgf_cel_type *type, uint16_t slot)
{
    if (c->n_locals == MAX_LOCALS) {
        issue(c, "E0305", node->offset, node->len, NULL,
              "more than %d variables at once", MAX_LOCALS);
        return;
    }
    c->locals[c->n_locals++] = (struct local){name, type, slot};
    if (slot >= c->program->n_locals)
        c->program->n_locals = slot + 1;
}

static uint16_t next_slot(const struct checker *c)
{
    uint16_t slot = 0;

    for (unsigned i = 0; i < c->n_locals; i++)
        if (c->locals[i].slot >= slot)
            slot = c->locals[i].slot + 1;
    return slot;
}

/* Types of the one or two variables of a fold over `range`. */
static void range_types(struct checker *c, const struct dgf_cel_node *node,
                        const struct dgf_cel_type *range,
                        const struct dgf_cel_type *ret[2])
{
    char text[128];

    range = dgf_cel_type_deref(range);
    ret[0] = ret[1] = &dgf_cel_t_dyn;
    switch (range->kind) {
    case DGF_CEL_T_LIST:
        ret[0] = node->name2 ? &dgf_cel_t_int : range->params[0];
        ret[1] = range->params[0];
        break;
    case DGF_CEL_T_MAP:
        ret[0] = range->params[0];
        ret[1] = range->params[1];
        break;
    case DGF_CEL_T_ROW:
        ret[0] = &dgf_cel_t_string;
        break;
    case DGF_CEL_T_DYN:
    case DGF_CEL_T_ERROR:
    case DGF_CEL_T_PARAM:
        break;
    default:
        if (range->kind == DGF_CEL_T_NULL && c->policy)
            break;
        issue(c, "E0304", node->args[0]->offset, node->args[0]->len, NULL,
              "a list or map is wanted here, not '%s'",
              show(c, range, text, sizeof(text)));
    }
}

static void want_bool(struct checker *c, const struct dgf_cel_node *node)
{
    char text[128];

    if (c->checked && !dgf_cel_assign(&c->unifier, &dgf_cel_t_bool, node->type))
        issue(c, "E0304", node->offset, node->len, NULL,
              "a condition is wanted here, not '%s'",
              show(c, node->type, text, sizeof(text)));
}

static const struct dgf_cel_type *fold_type(struct checker *c,
                                            const struct dgf_cel_node *node,
                                            const struct dgf_cel_type *key)
{
    const struct dgf_cel_node *body = node->args[2];
    const struct dgf_cel_type *type;

    switch ((enum dgf_cel_fold)node->fold) {
    case DGF_CEL_FOLD_LIST:
        type = dgf_cel_type_new(c->unifier.arena, DGF_CEL_T_LIST, "list", body->type,
                                NULL);
        break;
    case DGF_CEL_FOLD_MAP:
        type =
            dgf_cel_type_new(c->unifier.arena, DGF_CEL_T_MAP, "map", key, body->type);
        break;
    case DGF_CEL_FOLD_ENTRIES:
        return body->type;
    default:
        want_bool(c, body);
        return &dgf_cel_t_bool;
    }
    if (!type)
        c->unifier.nomem = true;
    return type ? type : &dgf_cel_t_dyn;
}

static const struct dgf_cel_type *check_fold(struct checker *c,
                                             struct dgf_cel_node *node)
{
    const struct dgf_cel_type *types[2], *range = check(c, node->args[0]);
    unsigned n = c->n_locals;

    if (c->checked)
        range_types(c, node, range, types);
    else
        types[0] = types[1] = &dgf_cel_t_dyn;
    node->slot = next_slot(c);
    push_local(c, node, node->name, types[0], node->slot);
    push_local(c, node, node->name2 ? node->name2 : "", types[1], node->slot + 1);
    if (node->args[1]) {
        check(c, node->args[1]);
        want_bool(c, node->args[1]);
    }
    check(c, node->args[2]);
    c->n_locals = n;
    return fold_type(c, node, types[0]);
}

static const struct dgf_cel_type *check_bind(struct checker *c,
                                             struct dgf_cel_node *node)
{
    const struct dgf_cel_type *type = check(c, node->args[0]);
    unsigned n = c->n_locals;

    node->slot = next_slot(c);
    push_local(c, node, node->name, type, node->slot);
    type = check(c, node->args[1]);
    c->n_locals = n;
    return type;
}

static const struct dgf_cel_type *check(struct checker *c, struct dgf_cel_node *node)
{
    const struct dgf_cel_type *type = &dgf_cel_t_dyn;

    switch ((enum dgf_cel_node_kind)node->kind) {
    case DGF_CEL_N_CONST:
        type = dgf_cel_type_of_value(&node->value);
        break;
    case DGF_CEL_N_IDENT:
        type = check_ident(c, node);
        break;
    case DGF_CEL_N_SELECT:
        type = check_select(c, node);
        break;
    case DGF_CEL_N_CALL:
        type = check_call(c, node);
        break;
    case DGF_CEL_N_LIST:
        type = check_list(c, node);
        break;
    case DGF_CEL_N_MAP:
        type = check_map(c, node);
        break;
    case DGF_CEL_N_FOLD:
        type = check_fold(c, node);
        break;
    case DGF_CEL_N_BIND:
        type = check_bind(c, node);
        break;
    case DGF_CEL_N_ASK:
        check(c, node->args[0]);
        type = &dgf_cel_t_bool;
        break;
    }
    node->type = c->checked ? type : &dgf_cel_t_dyn;
    return node->type;
}

static void finish(struct dgf_cel_program *program, struct dgf_cel_node *node)
{
    node->type = dgf_cel_type_final(&program->arena, node->type);
    for (uint32_t i = 0; i < node->n_args; i++)
        if (node->args[i])
            finish(program, node->args[i]);
}

bool dgf_cel_check(struct dgf_cel_program *program, struct dgf_cel_issues *issues,
                   bool *ret_nomem)
{
    struct checker c = {.program = program, .env = program->env, .issues = issues};

    c.unifier.arena = &program->arena;
    c.checked = !(program->env->flags & DGF_CEL_NO_CHECK);
    c.policy = program->env->flags & DGF_CEL_POLICY;
    c.unifier.loose_null = c.policy;
    check(&c, program->root);
    *ret_nomem = c.unifier.nomem;
    if (c.n_issues > 0 || c.unifier.nomem)
        return false;
    finish(program, program->root);
    program->type = program->root->type;
    return true;
}
