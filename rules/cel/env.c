#include <ctype.h>
#include <pthread.h>
#include <string.h>

#include "base/parse.h"
#include "cel/functions.h"
#include "cel/program.h"

/* ---- standard functions: signatures are read once a process ---- */

static pthread_once_t std_once = PTHREAD_ONCE_INIT;
static struct dgf_arena std_arena;
static struct dgf_map std_map[2]; /* CEL's, and with the policy language's */
static bool std_ok;

static bool chain(struct dgf_map *map, struct dgf_cel_overload *overload)
{
    struct dgf_cel_overload *first = dgf_map_get(map, dgf_bytes_str(overload->name));

    if (!first)
        return dgf_map_put(map, dgf_bytes_str(overload->name), overload, NULL) ==
               DGF_OK;
    while (first->next)
        first = first->next;
    first->next = overload;
    return true;
}

static bool add_overload(struct dgf_map *map, struct dgf_arena *arena,
                         const struct dgf_cel_function *row)
{
    struct dgf_cel_overload *overload = dgf_arena_alloc(arena, sizeof(*overload));

    if (!overload)
        return false;
    memset(overload, 0, sizeof(*overload));
    if (!dgf_cel_signature(row->signature, arena, overload))
        return false;
    overload->name = row->name;
    overload->row = row;
    return chain(map, overload);
}

static bool add_table(struct dgf_map *map, const struct dgf_cel_function *rows)
{
    for (; rows->name; rows++)
        if (!add_overload(map, &std_arena, rows))
            return false;
    return true;
}

static void std_load(void)
{
    dgf_arena_init(&std_arena, 4 << 20);
    std_ok = true;
    for (int policy = 0; policy < 2; policy++) {
        dgf_map_init(&std_map[policy]);
        for (size_t i = 0; dgf_cel_std_tables[i]; i++)
            std_ok = std_ok && add_table(&std_map[policy], dgf_cel_std_tables[i]);
    }
    std_ok = std_ok && add_table(&std_map[1], dgf_cel_policy_table);
}

const struct dgf_cel_overload *dgf_cel_std_overloads(const char *name, bool policy)
{
    return dgf_map_get(&std_map[policy], dgf_bytes_str(name));
}

void dgf_cel_std_names(void (*visit)(void *ctx, const char *name), void *ctx)
{
    struct dgf_map_entry *entry;

    for (size_t at = 0; (entry = dgf_map_next(&std_map[0], &at));)
        visit(ctx, ((struct dgf_cel_overload *)entry->value)->name);
}

const struct dgf_cel_type *dgf_cel_named_type(const char *name)
{
    static const struct dgf_cel_type type = {.kind = DGF_CEL_T_TYPE, .name = "type"};
    static const struct dgf_cel_type optional = {.kind = DGF_CEL_T_OPTIONAL,
                                                 .name = "optional_type"};
    static const struct dgf_cel_type *const types[] = {
        &dgf_cel_t_bool,      &dgf_cel_t_int,
        &dgf_cel_t_uint,      &dgf_cel_t_double,
        &dgf_cel_t_string,    &dgf_cel_t_bytes,
        &dgf_cel_t_list,      &dgf_cel_t_map,
        &dgf_cel_t_null,      &type,
        &dgf_cel_t_timestamp, &dgf_cel_t_duration,
        &dgf_cel_t_decimal,   &optional,
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(types); i++)
        if (strcmp(types[i]->name, name) == 0)
            return types[i];
    return NULL;
}

/* ---- env ---- */

struct dgf_cel_env *dgf_cel_env_new(unsigned flags, const char *container)
{
    struct dgf_cel_env *env;

    pthread_once(&std_once, std_load);
    env = std_ok ? dgf_calloc(1, sizeof(*env)) : NULL;
    if (!env)
        return NULL;
    env->flags = flags;
    dgf_arena_init(&env->arena, 64 << 20);
    dgf_map_init(&env->decls);
    dgf_map_init(&env->functions);
    container = container ? container : "";
    env->container = dgf_arena_strndup(&env->arena, container, strlen(container));
    if (!env->container) {
        dgf_cel_env_free(env);
        return NULL;
    }
    return env;
}

void dgf_cel_env_free(struct dgf_cel_env *env)
{
    if (!env)
        return;
    for (unsigned i = 0; i < env->n_lets; i++)
        dgf_cel_program_free(env->lets[i]);
    dgf_map_release(&env->decls, NULL);
    dgf_map_release(&env->functions, NULL);
    dgf_arena_release(&env->arena);
    dgf_free(env);
}

struct dgf_arena *dgf_cel_env_arena(struct dgf_cel_env *env)
{
    return &env->arena;
}

const struct dgf_cel_type *dgf_cel_env_list(struct dgf_cel_env *env,
                                            const struct dgf_cel_type *item)
{
    return dgf_cel_type_new(&env->arena, DGF_CEL_T_LIST, "list", item, NULL);
}

const struct dgf_cel_type *dgf_cel_env_map(struct dgf_cel_env *env,
                                           const struct dgf_cel_type *key,
                                           const struct dgf_cel_type *value)
{
    return dgf_cel_type_new(&env->arena, DGF_CEL_T_MAP, "map", key, value);
}

const struct dgf_cel_type *dgf_cel_env_row(struct dgf_cel_env *env, const char *name,
                                           const struct dgf_cel_field *fields,
                                           unsigned n_fields, bool open)
{
    struct dgf_cel_type *type = dgf_arena_alloc(&env->arena, sizeof(*type));
    struct dgf_cel_field *copy =
        dgf_arena_alloc(&env->arena, (n_fields + 1) * sizeof(*copy));

    if (!type || !copy)
        return NULL;
    memset(type, 0, sizeof(*type));
    type->kind = DGF_CEL_T_ROW;
    type->name = dgf_arena_strndup(&env->arena, name, strlen(name));
    type->n_fields = n_fields;
    type->fields = copy;
    type->open = open;
    for (unsigned i = 0; i < n_fields; i++) {
        copy[i] = fields[i];
        copy[i].name =
            dgf_arena_strndup(&env->arena, fields[i].name, strlen(fields[i].name));
        if (!copy[i].name)
            return NULL;
    }
    return type->name ? type : NULL;
}

static bool is_name(const char *name)
{
    bool start = true;

    for (; *name; name++) {
        if (*name == '.') {
            if (start)
                return false;
            start = true;
        } else if (isalpha((unsigned char)*name) || *name == '_' || *name == '@' ||
                   (!start && isdigit((unsigned char)*name))) {
            start = false;
        } else {
            return false;
        }
    }
    return !start;
}

static enum dgf_rc declare(struct dgf_cel_env *env, const struct dgf_cel_decl *decl,
                           struct dgf_err *err)
{
    struct dgf_bytes key = dgf_bytes_str(decl->name);
    struct dgf_cel_decl *copy;

    if (!is_name(decl->name))
        return dgf_err_set(err, DGF_BAD_CONFIG, "cannot declare '%s': not a name",
                           decl->name);
    if (dgf_map_get(&env->decls, key))
        return dgf_err_set(err, DGF_BAD_CONFIG, "cannot declare '%s': declared twice",
                           decl->name);
    copy = dgf_arena_alloc(&env->arena, sizeof(*copy));
    if (copy) {
        *copy = *decl;
        copy->name = dgf_arena_strndup(&env->arena, decl->name, key.len);
    }
    if (!copy || !copy->name || !copy->type ||
        dgf_map_put(&env->decls, key, copy, NULL) != DGF_OK)
        return dgf_err_set(err, DGF_NOMEM, "cannot declare '%s': out of memory",
                           decl->name);
    return DGF_OK;
}

enum dgf_rc dgf_cel_env_var(struct dgf_cel_env *env, const char *name,
                            const struct dgf_cel_type *type, unsigned slot,
                            struct dgf_err *err)
{
    const struct dgf_cel_decl decl = {DGF_CEL_D_VAR, name, type, slot, {0}};

    if (slot >= 4096)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot declare '%s': its slot %u is above 4095", name,
                           slot);
    return declare(env, &decl, err);
}

enum dgf_rc dgf_cel_env_const(struct dgf_cel_env *env, const char *name,
                              const struct dgf_cel_type *type,
                              struct dgf_cel_value value, struct dgf_err *err)
{
    const struct dgf_cel_decl decl = {DGF_CEL_D_CONST, name, type, 0, value};

    return declare(env, &decl, err);
}

enum dgf_rc dgf_cel_env_let(struct dgf_cel_env *env, const char *name,
                            struct dgf_cel_program *take_program, struct dgf_err *err)
{
    const struct dgf_cel_decl decl = {
        DGF_CEL_D_LET, name, take_program->type, env->n_lets, {0}};
    enum dgf_rc rc;

    if (env->n_lets == DGF_CEL_MAX_LETS) {
        dgf_cel_program_free(take_program);
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot declare '%s': more than %d named expressions", name,
                           DGF_CEL_MAX_LETS);
    }
    rc = declare(env, &decl, err);
    if (rc) {
        dgf_cel_program_free(take_program);
        return rc;
    }
    env->lets[env->n_lets++] = take_program;
    return DGF_OK;
}

enum dgf_rc dgf_cel_env_functions(struct dgf_cel_env *env,
                                  const struct dgf_cel_function *rows,
                                  struct dgf_err *err)
{
    for (; rows->name; rows++)
        if (!add_overload(&env->functions, &env->arena, rows))
            return dgf_err_set(err, DGF_BAD_CONFIG,
                               "cannot declare function '%s': bad signature '%s'",
                               rows->name, rows->signature);
    return DGF_OK;
}

enum dgf_rc dgf_cel_env_overload(struct dgf_cel_env *env, const char *name,
                                 struct dgf_cel_overload *overload, struct dgf_err *err)
{
    static const struct dgf_cel_function declared_only;

    overload->row = &declared_only;
    overload->name = dgf_arena_strndup(&env->arena, name, strlen(name));
    if (!overload->name || !chain(&env->functions, overload))
        return dgf_err_set(err, DGF_NOMEM,
                           "cannot declare function '%s': out of memory", name);
    return DGF_OK;
}

void dgf_cel_env_literals(struct dgf_cel_env *env, dgf_cel_literal_wrong *wrong)
{
    env->literal_wrong = wrong;
}
