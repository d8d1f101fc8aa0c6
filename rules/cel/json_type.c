#include <string.h>

#include "cel/json.h"
#include "cel/program.h"

#define MAX_DEPTH 32

static enum dgf_rc bad(struct dgf_err *err, const char *what)
{
    return dgf_err_set(err, DGF_BAD_DATA, "cannot read a CEL type: %s", what);
}

static const struct dgf_cel_type *primitive(const char *name)
{
    static const struct {
        const char *name;
        const struct dgf_cel_type *type;
    } types[] = {{"BOOL", &dgf_cel_t_bool},     {"INT64", &dgf_cel_t_int},
                 {"UINT64", &dgf_cel_t_uint},   {"DOUBLE", &dgf_cel_t_double},
                 {"STRING", &dgf_cel_t_string}, {"BYTES", &dgf_cel_t_bytes}};

    for (size_t i = 0; name && i < DGF_ARRAY_LEN(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].type;
    return NULL;
}

static const struct dgf_cel_type *read_type(const json_t *json, struct dgf_arena *arena,
                                            unsigned depth);

static const struct dgf_cel_type *read_abstract(const json_t *json,
                                                struct dgf_arena *arena, unsigned depth)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const json_t *params = json_object_get(json, "parameterTypes");
    const struct dgf_cel_type *types[DGF_CEL_MAX_PARAMS] = {NULL};
    size_t n = json_array_size(params);
    bool optional = name && strcmp(name, "optional_type") == 0;

    if (!name || n > DGF_CEL_MAX_PARAMS)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        types[i] = read_type(json_array_get(params, i), arena, depth + 1);
        if (!types[i])
            return NULL;
    }
    name = dgf_arena_strndup(arena, name, strlen(name));
    return name ? dgf_cel_type_of_params(
                      arena, optional ? DGF_CEL_T_OPTIONAL : DGF_CEL_T_OPAQUE, name,
                      types, (unsigned)n)
                : NULL;
}

static const struct dgf_cel_type *read_type(const json_t *json, struct dgf_arena *arena,
                                            unsigned depth)
{
    void *iter = json_object_iter((json_t *)(uintptr_t)json);
    const char *key = iter ? json_object_iter_key(iter) : "";
    const json_t *value = iter ? json_object_iter_value(iter) : NULL;
    const char *name = json_string_value(value);
    const struct dgf_cel_type *a, *b;

    if (depth > MAX_DEPTH)
        return NULL;
    if (strcmp(key, "dyn") == 0)
        return &dgf_cel_t_dyn;
    if (strcmp(key, "null") == 0)
        return &dgf_cel_t_null;
    if (strcmp(key, "primitive") == 0)
        return primitive(name);
    if (strcmp(key, "wrapper") == 0) {
        a = primitive(name);
        return a ? dgf_cel_type_new(arena, DGF_CEL_T_WRAPPER, "wrapper", a, NULL)
                 : NULL;
    }
    if (strcmp(key, "wellKnown") == 0 && name)
        return strcmp(name, "TIMESTAMP") == 0  ? &dgf_cel_t_timestamp
               : strcmp(name, "DURATION") == 0 ? &dgf_cel_t_duration
                                               : &dgf_cel_t_dyn;
    if (strcmp(key, "messageType") == 0 && name)
        return strcmp(name, dgf_cel_t_timestamp.name) == 0  ? &dgf_cel_t_timestamp
               : strcmp(name, dgf_cel_t_duration.name) == 0 ? &dgf_cel_t_duration
                                                            : NULL;
    if (strcmp(key, "listType") == 0) {
        a = read_type(json_object_get(value, "elemType"), arena, depth + 1);
        return a ? dgf_cel_type_new(arena, DGF_CEL_T_LIST, "list", a, NULL) : NULL;
    }
    if (strcmp(key, "mapType") == 0) {
        a = read_type(json_object_get(value, "keyType"), arena, depth + 1);
        b = read_type(json_object_get(value, "valueType"), arena, depth + 1);
        return a && b ? dgf_cel_type_new(arena, DGF_CEL_T_MAP, "map", a, b) : NULL;
    }
    if (strcmp(key, "typeParam") == 0 && name && name[0] >= 'A' && name[0] <= 'Z' &&
        !name[1])
        return dgf_cel_type_parse(name, arena);
    if (strcmp(key, "type") == 0) {
        a = read_type(value, arena, depth + 1);
        return dgf_cel_type_new(arena, DGF_CEL_T_TYPE, "type", a, NULL);
    }
    return strcmp(key, "abstractType") == 0 ? read_abstract(value, arena, depth) : NULL;
}

enum dgf_rc dgf_cel_json_type(const json_t *json, struct dgf_arena *arena,
                              const struct dgf_cel_type **ret, struct dgf_err *err)
{
    const struct dgf_cel_type *type = read_type(json, arena, 0);

    if (!type)
        return bad(err, "not a type, or a message");
    *ret = type;
    return DGF_OK;
}

static enum dgf_rc declare_overload(const json_t *json, const char *name,
                                    struct dgf_cel_env *env, struct dgf_err *err)
{
    struct dgf_cel_overload *overload = dgf_arena_alloc(&env->arena, sizeof(*overload));
    const json_t *params = json_object_get(json, "params");
    enum dgf_rc rc;

    if (!overload)
        return dgf_err_set(err, DGF_NOMEM, "cannot declare '%s': out of memory", name);
    memset(overload, 0, sizeof(*overload));
    if (json_array_size(params) > DGF_CEL_MAX_ARGS)
        return bad(err, "too many parameters");
    overload->member = json_is_true(json_object_get(json, "isInstanceFunction"));
    for (size_t i = 0; i < json_array_size(params); i++) {
        rc = dgf_cel_json_type(json_array_get(params, i), &env->arena,
                               &overload->args[i], err);
        if (rc)
            return rc;
        overload->masks[overload->n_args++] = dgf_cel_type_mask(overload->args[i]);
    }
    rc = dgf_cel_json_type(json_object_get(json, "resultType"), &env->arena,
                           &overload->result, err);
    return rc ? rc : dgf_cel_env_overload(env, name, overload, err);
}

enum dgf_rc dgf_cel_json_declare(const json_t *decl, struct dgf_cel_env *env,
                                 unsigned *slot, struct dgf_err *err)
{
    const char *name = json_string_value(json_object_get(decl, "name"));
    const json_t *ident = json_object_get(decl, "ident");
    const json_t *overloads =
        json_object_get(json_object_get(decl, "function"), "overloads");
    const struct dgf_cel_type *type = NULL;
    enum dgf_rc rc = DGF_OK;

    if (!name)
        return bad(err, "a declaration has no name");
    if (ident) {
        rc = dgf_cel_json_type(json_object_get(ident, "type"), &env->arena, &type, err);
        return rc ? rc : dgf_cel_env_var(env, name, type, (*slot)++, err);
    }
    for (size_t i = 0; rc == DGF_OK && i < json_array_size(overloads); i++)
        rc = declare_overload(json_array_get(overloads, i), name, env, err);
    return rc;
}
