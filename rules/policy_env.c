/* policy_env.c - what the names of an expression mean, with and without the
 * columns of a table. */
#include "policy.h"

#include <string.h>

#include "pii.h"

static const struct dgf_cel_type *const a_bool[] = {&dgf_cel_t_bool};
static const struct dgf_cel_type *const an_int[] = {&dgf_cel_t_int};
static const struct dgf_cel_type *const a_double[] = {&dgf_cel_t_double};
static const struct dgf_cel_type *const a_decimal[] = {&dgf_cel_t_decimal};
static const struct dgf_cel_type *const a_string[] = {&dgf_cel_t_string};
static const struct dgf_cel_type *const a_bytes[] = {&dgf_cel_t_bytes};
static const struct dgf_cel_type *const a_timestamp[] = {&dgf_cel_t_timestamp};

#define OR_NULL(type_name, of)                                                    \
    {                                                                             \
        .kind = DGF_CEL_T_WRAPPER, .name = type_name, .n_params = 1, .params = of \
    }
static const struct dgf_cel_type bool_or_null = OR_NULL("wrapper(bool)", a_bool);
static const struct dgf_cel_type int_or_null = OR_NULL("wrapper(int)", an_int);
static const struct dgf_cel_type double_or_null = OR_NULL("wrapper(double)", a_double);
static const struct dgf_cel_type decimal_or_null =
    OR_NULL("wrapper(decimal)", a_decimal);
static const struct dgf_cel_type string_or_null = OR_NULL("wrapper(string)", a_string);
static const struct dgf_cel_type bytes_or_null = OR_NULL("wrapper(bytes)", a_bytes);
static const struct dgf_cel_type timestamp_or_null =
    OR_NULL("wrapper(timestamp)", a_timestamp);

/* Any column may be null; whether it is declared NOT NULL the stream does not
 * say.  Durations are texts when they hold months, so their type is open. */
static const struct dgf_cel_type *column_type(enum dgf_type type)
{
    switch (type) {
    case DGF_TYPE_BOOL:
        return &bool_or_null;
    case DGF_TYPE_INT:
        return &int_or_null;
    case DGF_TYPE_DOUBLE:
        return &double_or_null;
    case DGF_TYPE_DECIMAL:
        return &decimal_or_null;
    case DGF_TYPE_TEXT:
    case DGF_TYPE_ENUM:
    case DGF_TYPE_UUID:
    case DGF_TYPE_TIME:
        return &string_or_null;
    case DGF_TYPE_BYTES:
        return &bytes_or_null;
    case DGF_TYPE_DATE:
    case DGF_TYPE_TIMESTAMP:
        return &timestamp_or_null;
    default:
        return &dgf_cel_t_dyn;
    }
}

static const struct dgf_cel_field tx_fields[] = {{"id", &string_or_null, 0},
                                                 {"n", &dgf_cel_t_int, 1}};
static const struct dgf_cel_type tx_type = {
    .kind = DGF_CEL_T_ROW, .name = "tx", .n_fields = 2, .fields = tx_fields};

static const struct dgf_cel_field event_fields[] = {
    {"id", &dgf_cel_t_string, DGF_EF_ID},
    {"source", &dgf_cel_t_string, DGF_EF_SOURCE},
    {"type", &dgf_cel_t_string, DGF_EF_TYPE},
    {"kind", &dgf_cel_t_string, DGF_EF_KIND},
    {"object", &dgf_cel_t_string, DGF_EF_OBJECT},
    {"op", &dgf_cel_t_string, DGF_EF_OP},
    {"time", &dgf_cel_t_timestamp, DGF_EF_TIME},
    {"seen", &dgf_cel_t_timestamp, DGF_EF_SEEN},
    {"key", &dgf_cel_t_map_string, DGF_EF_KEY},
    {"labels", &dgf_cel_t_map_string_string, DGF_EF_LABELS},
    {"tx", &tx_type, DGF_EF_TX},
    {"snapshot", &dgf_cel_t_bool, DGF_EF_SNAPSHOT},
    {"cause", &dgf_cel_t_string, DGF_EF_CAUSE},
};
static const struct dgf_cel_type event_type = {.kind = DGF_CEL_T_ROW,
                                               .name = "event",
                                               .n_fields = DGF_EF_N,
                                               .fields = event_fields};

static const struct dgf_cel_field actor_fields[] = {
    {"name", &string_or_null, -1},    {"app", &string_or_null, -1},
    {"address", &string_or_null, -1}, {"how", &string_or_null, -1},
    {"sure", &bool_or_null, -1},
};
static const struct dgf_cel_type actor_type = {
    .kind = DGF_CEL_T_ROW, .name = "actor", .n_fields = 5, .fields = actor_fields};

static const struct dgf_cel_type open_row = {
    .kind = DGF_CEL_T_ROW, .name = "row", .open = true, .nullable = true};

static bool is_column(const struct dgf_object *object, struct dgf_bytes name)
{
    return dgf_object_column(object, name) >= 0;
}

static const struct dgf_cel_type *row_type(struct dgf_cel_env *env,
                                           const struct dgf_object *object,
                                           const struct dgf_policy_presence *presence)
{
    size_t n = object->n_columns + (presence ? presence->n : 0), n_fields = 0;
    struct dgf_cel_field *fields =
        dgf_arena_alloc(dgf_cel_env_arena(env), n * sizeof(*fields));
    struct dgf_cel_type *type;
    const struct dgf_cel_type *made;

    if (!fields)
        return NULL;
    for (uint32_t i = 0; i < object->n_columns; i++)
        fields[n_fields++] = (struct dgf_cel_field){
            object->columns[i].name, column_type(object->columns[i].type), (int32_t)i};
    for (size_t i = 0; presence && i < presence->n; i++)
        if (!is_column(object, presence->names[i])) {
            const struct dgf_bytes *name = &presence->names[i];
            char *copy = dgf_arena_strndup(dgf_cel_env_arena(env),
                                           (const char *)name->ptr, name->len);

            if (!copy)
                return NULL;
            fields[n_fields++] = (struct dgf_cel_field){copy, &dgf_cel_t_dyn, -1};
        }
    made = dgf_cel_env_row(env, object->text, fields, (unsigned)n_fields, false);
    type = made ? dgf_arena_alloc(dgf_cel_env_arena(env), sizeof(*type)) : NULL;
    if (type) {
        *type = *made;
        type->nullable = true;
    }
    return type;
}

static enum dgf_rc add_lists(struct dgf_cel_env *env,
                             const struct dgf_policy_file *file)
{
    struct dgf_arena *arena = dgf_cel_env_arena(env);
    struct dgf_cel_field *fields =
        dgf_arena_alloc(arena, (file->n_lists + 1) * sizeof(*fields));
    struct dgf_cel_value *pairs =
        dgf_arena_alloc(arena, (2 * file->n_lists + 1) * sizeof(*pairs));
    const struct dgf_cel_type *type;
    const struct dgf_cel_map *map;

    if (!fields || !pairs)
        return DGF_NOMEM;
    for (size_t i = 0; i < file->n_lists; i++) {
        const struct dgf_policy_list *list = &file->lists[i];
        const struct dgf_cel_list *items =
            dgf_cel_list_new(arena, list->items, list->n);

        if (!items)
            return DGF_NOMEM;
        fields[i] = (struct dgf_cel_field){
            list->name, list->texts ? &dgf_cel_t_list_string : &dgf_cel_t_list, -1};
        pairs[2 * i] = dgf_cel_string(dgf_bytes_str(list->name));
        pairs[2 * i + 1] = dgf_cel_list_of(items);
    }
    type = dgf_cel_env_row(env, "lists", fields, (unsigned)file->n_lists, false);
    map = dgf_cel_map_new(arena, pairs, (uint32_t)file->n_lists);
    if (!type || !map)
        return DGF_NOMEM;
    return dgf_cel_env_const(env, "lists", type, dgf_cel_map_of(map), NULL);
}

static enum dgf_rc add_vars(struct dgf_cel_env *env, const struct dgf_cel_type *row)
{
    static const char *const names[DGF_VAR_N] = {"event",   "before", "after",
                                                 "changed", "actor",  "classes"};
    const struct dgf_cel_type *const types[DGF_VAR_N] = {
        &event_type, row,
        row,         &dgf_cel_t_list_string,
        &actor_type, &dgf_cel_t_map_string_string};
    enum dgf_rc rc = DGF_OK;

    for (unsigned i = 0; i < DGF_VAR_N && !rc; i++)
        rc = dgf_cel_env_var(env, names[i], types[i], i, NULL);
    return rc;
}

/* A name that is wrong is left out: only what uses it fails then. */
static enum dgf_rc add_lets(struct dgf_cel_env *env, const struct dgf_policy_file *file,
                            struct dgf_cel_issues *issues,
                            const struct dgf_policy_let **ret_let)
{
    for (size_t i = 0; i < file->n_lets; i++) {
        const struct dgf_policy_let *let = &file->lets[i];
        struct dgf_cel_program *program = NULL;
        struct dgf_cel_issues own;
        enum dgf_rc rc;

        dgf_cel_issues_init(&own);
        rc = dgf_cel_compile(env, let->text, *ret_let ? &own : issues, &program);
        dgf_cel_issues_release(&own);
        if (rc == DGF_OK)
            rc = dgf_cel_env_let(env, let->name, program, NULL);
        else if (rc == DGF_BAD_CONFIG && !*ret_let)
            *ret_let = let;
        if (rc == DGF_NOMEM)
            return rc;
    }
    return DGF_OK;
}

struct dgf_cel_env *dgf_policy_env_new(const struct dgf_policy_file *file,
                                       const struct dgf_object *object,
                                       const struct dgf_policy_presence *presence,
                                       struct dgf_cel_issues *issues,
                                       const struct dgf_policy_let **ret_let)
{
    DGF_CLEANUP(dgf_cel_env_free)
    struct dgf_cel_env *env = dgf_cel_env_new(DGF_CEL_POLICY, NULL);
    const struct dgf_cel_type *row = &open_row;

    *ret_let = NULL;
    if (env)
        dgf_cel_env_literals(env, dgf_policy_literal_wrong);
    if (env && object && object->n_columns > 0)
        row = row_type(env, object, presence);
    if (!env || !row || add_vars(env, row) || add_lists(env, file) ||
        dgf_cel_env_functions(env, dgf_policy_functions, NULL) ||
        add_lets(env, file, issues, ret_let))
        return NULL;
    return dgf_steal(env);
}

bool dgf_policy_is_truth(const struct dgf_cel_type *type)
{
    return type->kind == DGF_CEL_T_BOOL || type->kind == DGF_CEL_T_DYN ||
           (type->kind == DGF_CEL_T_WRAPPER && type->params[0]->kind == DGF_CEL_T_BOOL);
}

void dgf_policy_code_release(const struct dgf_policy *policy,
                             struct dgf_policy_code *code)
{
    dgf_cel_program_free(code->condition);
    for (size_t i = 0; code->parts && i < policy->n_parts; i++)
        dgf_cel_program_free(code->parts[i]);
    for (size_t i = 0; code->waivers && i < policy->n_waivers; i++)
        dgf_cel_program_free(code->waivers[i]);
    dgf_free(code->parts);
    dgf_free(code->waivers);
    memset(code, 0, sizeof(*code));
}

static enum dgf_rc make_all(const struct dgf_policy *policy,
                            const struct dgf_cel_env *env,
                            struct dgf_cel_issues *issues,
                            struct dgf_cel_issues *unshown,
                            struct dgf_policy_code *code)
{
    enum dgf_rc rc;

    code->parts = dgf_calloc(policy->n_parts + 1, sizeof(*code->parts));
    code->waivers = dgf_calloc(policy->n_waivers + 1, sizeof(*code->waivers));
    if (!code->parts || !code->waivers)
        return DGF_NOMEM;
    rc = dgf_cel_compile(env, policy->expr, issues, &code->condition);
    for (size_t i = 0; i < policy->n_waivers && !rc; i++)
        rc = dgf_cel_compile(env, policy->waivers[i].expr, issues, &code->waivers[i]);
    for (size_t i = 0; i < policy->n_parts && !rc; i++)
        if (policy->parts[i].expr.len > 0) {
            rc = dgf_cel_compile(env, policy->parts[i].expr, unshown, &code->parts[i]);
            rc = rc == DGF_BAD_CONFIG ? DGF_OK : rc;
        }
    return rc;
}

enum dgf_rc dgf_policy_code_make(const struct dgf_policy *policy,
                                 const struct dgf_cel_env *env,
                                 struct dgf_cel_issues *issues,
                                 struct dgf_cel_issues *unshown,
                                 struct dgf_policy_code *ret)
{
    struct dgf_policy_code code = {.condition = NULL};
    enum dgf_rc rc = make_all(policy, env, issues, unshown, &code);

    if (rc)
        dgf_policy_code_release(policy, &code);
    else
        *ret = code;
    return rc;
}
