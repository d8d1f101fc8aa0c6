#include <stdio.h>
#include <string.h>

#include "cel/program.h"

/* What an expression touches, and which equalities it cannot be true without. */

#define MAX_USES 1024

struct finder {
    struct dgf_cel_program *program;
    struct dgf_cel_use list[MAX_USES];
    size_t n;
    bool nomem;
};

/* "after" and "customer.id" of a chain that starts at a variable, or at a constant. */
static bool path_of(const struct dgf_cel_node *node, enum dgf_cel_ref ref,
                    const char **ret_var, char *ret_path, size_t size)
{
    size_t len;

    if (node->kind == DGF_CEL_N_IDENT && node->ref == ref) {
        *ret_var = node->name;
        ret_path[0] = '\0';
        return true;
    }
    if (node->kind != DGF_CEL_N_SELECT ||
        !path_of(node->args[0], ref, ret_var, ret_path, size))
        return false;
    len = strlen(ret_path);
    return (size_t)snprintf(ret_path + len, size - len, "%s%s", len > 0 ? "." : "",
                            node->name) < size - len;
}

static const char *copy(struct finder *f, const char *text)
{
    char *it = dgf_arena_strndup(&f->program->arena, text, strlen(text));

    f->nomem |= !it;
    return it ? it : "";
}

static void add(struct finder *f, struct dgf_cel_use use)
{
    for (size_t i = 0; i < f->n; i++) {
        struct dgf_cel_use *old = &f->list[i];

        if (use.function ? old->function && strcmp(old->function, use.function) == 0
                         : old->var && strcmp(old->var, use.var) == 0 &&
                               strcmp(old->path, use.path) == 0) {
            old->presence &= use.presence;
            old->asked |= use.asked;
            return;
        }
    }
    if (f->n == MAX_USES)
        return;
    if (use.path)
        use.path = copy(f, use.path);
    f->list[f->n++] = use;
}

static void walk(struct finder *f, const struct dgf_cel_node *node, bool presence)
{
    char path[512];
    const char *var;

    if (path_of(node, DGF_CEL_REF_VAR, &var, path, sizeof(path)) ||
        path_of(node, DGF_CEL_REF_CONST, &var, path, sizeof(path))) {
        presence |= (node->flags & DGF_CEL_F_TEST) != 0;
        add(f, (struct dgf_cel_use){
                   .var = var, .path = path, .presence = presence, .asked = presence});
        return;
    }
    if (node->kind == DGF_CEL_N_IDENT && node->ref == DGF_CEL_REF_LET) {
        const struct dgf_cel_program *let = f->program->env->lets[node->slot];

        for (size_t i = 0; i < let->n_uses; i++)
            add(f, let->uses[i]);
    }
    if (node->kind == DGF_CEL_N_CALL && !node->op)
        add(f, (struct dgf_cel_use){.function = node->name});
    for (uint32_t i = 0; i < node->n_args; i++)
        if (node->args[i])
            walk(f, node->args[i], node->kind == DGF_CEL_N_ASK);
}

/* ---- equalities ---- */

#define MAX_EQUALITIES 64

struct conjuncts {
    struct finder *finder;
    struct dgf_cel_equality list[MAX_EQUALITIES];
    size_t n;
};

static void conjunct(struct conjuncts *c, const struct dgf_cel_node *node)
{
    if (node->kind == DGF_CEL_N_IDENT && node->ref == DGF_CEL_REF_LET) {
        const struct dgf_cel_program *let = c->finder->program->env->lets[node->slot];

        for (size_t i = 0; i < let->n_equalities && c->n < MAX_EQUALITIES; i++)
            c->list[c->n++] = let->equalities[i];
        return;
    }
    if (node->kind != DGF_CEL_N_CALL)
        return;
    if (node->op == DGF_CEL_OP_AND) {
        conjunct(c, node->args[0]);
        conjunct(c, node->args[1]);
        return;
    }
    if (node->op != DGF_CEL_OP_EQ || c->n == MAX_EQUALITIES)
        return;
    for (int i = 0; i < 2; i++) {
        const struct dgf_cel_node *value = node->args[i];
        const char *var;
        char path[512];

        if (value->kind != DGF_CEL_N_CONST || value->value.kind == DGF_CEL_NULL ||
            !path_of(node->args[1 - i], DGF_CEL_REF_VAR, &var, path, sizeof(path)) ||
            node->args[1 - i]->flags & (DGF_CEL_F_TEST | DGF_CEL_F_OPTIONAL))
            continue;
        c->list[c->n++] =
            (struct dgf_cel_equality){var, copy(c->finder, path), value->value};
        return;
    }
}

bool dgf_cel_find_uses(struct dgf_cel_program *program)
{
    struct {
        struct finder finder;
        struct conjuncts conjuncts;
    } *work = dgf_calloc(1, sizeof(*work));
    struct finder *f;
    struct conjuncts *c;
    bool ok;

    if (!work)
        return false;
    f = &work->finder;
    c = &work->conjuncts;
    f->program = program;
    c->finder = f;
    walk(f, program->root, false);
    conjunct(c, program->root);
    program->uses = dgf_arena_alloc(&program->arena, (f->n + 1) * sizeof(f->list[0]));
    program->equalities =
        dgf_arena_alloc(&program->arena, (c->n + 1) * sizeof(c->list[0]));
    ok = program->uses && program->equalities && !f->nomem;
    if (ok) {
        memcpy(program->uses, f->list, f->n * sizeof(f->list[0]));
        memcpy(program->equalities, c->list, c->n * sizeof(c->list[0]));
        program->n_uses = f->n;
        program->n_equalities = c->n;
    }
    dgf_free(work);
    return ok;
}

size_t dgf_cel_program_uses(const struct dgf_cel_program *program,
                            const struct dgf_cel_use **ret_list)
{
    *ret_list = program->uses;
    return program->n_uses;
}

size_t dgf_cel_program_equalities(const struct dgf_cel_program *program,
                                  const struct dgf_cel_equality **ret_list)
{
    *ret_list = program->equalities;
    return program->n_equalities;
}
