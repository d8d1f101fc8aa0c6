#include "cel/types.h"

#include <string.h>

#define PLAIN(var, k, text) const struct dgf_cel_type var = {.kind = k, .name = text}

PLAIN(dgf_cel_t_dyn, DGF_CEL_T_DYN, "dyn");
PLAIN(dgf_cel_t_null, DGF_CEL_T_NULL, "null_type");
PLAIN(dgf_cel_t_bool, DGF_CEL_T_BOOL, "bool");
PLAIN(dgf_cel_t_int, DGF_CEL_T_INT, "int");
PLAIN(dgf_cel_t_uint, DGF_CEL_T_UINT, "uint");
PLAIN(dgf_cel_t_double, DGF_CEL_T_DOUBLE, "double");
PLAIN(dgf_cel_t_string, DGF_CEL_T_STRING, "string");
PLAIN(dgf_cel_t_bytes, DGF_CEL_T_BYTES, "bytes");
PLAIN(dgf_cel_t_timestamp, DGF_CEL_T_TIMESTAMP, "google.protobuf.Timestamp");
PLAIN(dgf_cel_t_duration, DGF_CEL_T_DURATION, "google.protobuf.Duration");
PLAIN(dgf_cel_t_decimal, DGF_CEL_T_DECIMAL, "decimal");

static const struct dgf_cel_type *const dyn_dyn[] = {&dgf_cel_t_dyn, &dgf_cel_t_dyn};
static const struct dgf_cel_type *const string_dyn[] = {&dgf_cel_t_string,
                                                        &dgf_cel_t_dyn};
static const struct dgf_cel_type *const string_string[] = {&dgf_cel_t_string,
                                                           &dgf_cel_t_string};
const struct dgf_cel_type dgf_cel_t_list = {
    .kind = DGF_CEL_T_LIST, .name = "list", .n_params = 1, .params = dyn_dyn};
const struct dgf_cel_type dgf_cel_t_map = {
    .kind = DGF_CEL_T_MAP, .name = "map", .n_params = 2, .params = dyn_dyn};
const struct dgf_cel_type dgf_cel_t_list_string = {
    .kind = DGF_CEL_T_LIST, .name = "list", .n_params = 1, .params = string_dyn};
const struct dgf_cel_type dgf_cel_t_map_string = {
    .kind = DGF_CEL_T_MAP, .name = "map", .n_params = 2, .params = string_dyn};
const struct dgf_cel_type dgf_cel_t_map_string_string = {
    .kind = DGF_CEL_T_MAP, .name = "map", .n_params = 2, .params = string_string};

struct dgf_cel_typevar {
    struct dgf_cel_type base; /* first: PARAM without a name */
    const struct dgf_cel_type *bound;
};

/* A to Z: base.n_fields is not used by PARAM, so the letter is the name. */
static const char letters[26][2] = {"A", "B", "C", "D", "E", "F", "G", "H", "I",
                                    "J", "K", "L", "M", "N", "O", "P", "Q", "R",
                                    "S", "T", "U", "V", "W", "X", "Y", "Z"};

const struct dgf_cel_type *dgf_cel_type_of_params(
    struct dgf_arena *arena, enum dgf_cel_type_kind kind, const char *name,
    const struct dgf_cel_type *const *params, unsigned n_params)
{
    struct {
        struct dgf_cel_type type;
        const struct dgf_cel_type *params[DGF_CEL_MAX_PARAMS];
    } *it = dgf_arena_alloc(arena, sizeof(*it));

    if (!it || n_params > DGF_CEL_MAX_PARAMS)
        return NULL;
    memset(it, 0, sizeof(*it));
    for (unsigned i = 0; i < n_params; i++)
        it->params[i] = params[i];
    it->type.kind = kind;
    it->type.name = name;
    it->type.params = it->params;
    it->type.n_params = n_params;
    return &it->type;
}

const struct dgf_cel_type *dgf_cel_type_new(struct dgf_arena *arena,
                                            enum dgf_cel_type_kind kind,
                                            const char *name,
                                            const struct dgf_cel_type *a,
                                            const struct dgf_cel_type *b)
{
    const struct dgf_cel_type *const params[] = {a, b};

    return dgf_cel_type_of_params(arena, kind, name, params, b ? 2 : a ? 1 : 0);
}

/* ---- texts ---- */

static const char *show_name(const struct dgf_cel_type *type)
{
    switch (type->kind) {
    case DGF_CEL_T_TIMESTAMP:
        return "timestamp";
    case DGF_CEL_T_DURATION:
        return "duration";
    case DGF_CEL_T_NULL:
        return "null";
    case DGF_CEL_T_OPTIONAL:
        return "optional";
    case DGF_CEL_T_ERROR:
        return "error";
    default:
        return type->name ? type->name : "dyn";
    }
}

void dgf_cel_type_show(const struct dgf_cel_type *type, struct dgf_buf *out)
{
    type = dgf_cel_type_deref(type);
    if (type->kind == DGF_CEL_T_WRAPPER) /* every column may be null */
        type = type->params[0];
    dgf_buf_add_str(out, show_name(type));
    if (type->n_params == 0 || type->kind == DGF_CEL_T_TYPE)
        return;
    for (unsigned i = 0; i < type->n_params; i++) {
        dgf_buf_add_str(out, i == 0 ? "<" : ", ");
        dgf_cel_type_show(type->params[i], out);
    }
    dgf_buf_add_byte(out, '>');
}

/* ---- signatures ---- */

struct reader {
    const char *at;
    struct dgf_arena *arena;
    bool bad;
};

static void skip_space(struct reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

static bool take(struct reader *r, const char *text)
{
    size_t len = strlen(text);

    skip_space(r);
    if (strncmp(r->at, text, len) != 0)
        return false;
    r->at += len;
    return true;
}

static const struct dgf_cel_type *plain_type(const char *name, size_t len)
{
    static const struct {
        const char *name;
        const struct dgf_cel_type *type;
    } names[] = {
        {"bool", &dgf_cel_t_bool},           {"int", &dgf_cel_t_int},
        {"uint", &dgf_cel_t_uint},           {"double", &dgf_cel_t_double},
        {"string", &dgf_cel_t_string},       {"bytes", &dgf_cel_t_bytes},
        {"timestamp", &dgf_cel_t_timestamp}, {"duration", &dgf_cel_t_duration},
        {"decimal", &dgf_cel_t_decimal},     {"dyn", &dgf_cel_t_dyn},
        {"null", &dgf_cel_t_null},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (strlen(names[i].name) == len && memcmp(names[i].name, name, len) == 0)
            return names[i].type;
    return NULL;
}

static const struct dgf_cel_type *read_type(struct reader *r, unsigned depth);

static const struct dgf_cel_type *generic_type(struct reader *r, const char *name,
                                               size_t len, unsigned depth)
{
    static const struct {
        const char *name, *full;
        enum dgf_cel_type_kind kind;
    } kinds[] = {{"list", "list", DGF_CEL_T_LIST},
                 {"map", "map", DGF_CEL_T_MAP},
                 {"type", "type", DGF_CEL_T_TYPE},
                 {"optional", "optional_type", DGF_CEL_T_OPTIONAL}};
    const struct dgf_cel_type *a = NULL, *b = NULL, *type;
    const char *full = NULL;
    enum dgf_cel_type_kind kind = DGF_CEL_T_OPAQUE;

    for (size_t i = 0; i < DGF_ARRAY_LEN(kinds); i++)
        if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, name, len) == 0) {
            kind = kinds[i].kind;
            full = kinds[i].full;
        }
    if (take(r, "<")) {
        a = read_type(r, depth + 1);
        if (take(r, ","))
            b = read_type(r, depth + 1);
        r->bad |= !take(r, ">");
    }
    if (!full)
        full = dgf_arena_strndup(r->arena, name, len);
    type = full && !r->bad ? dgf_cel_type_new(r->arena, kind, full, a, b) : NULL;
    r->bad |= !type;
    return type;
}

static const struct dgf_cel_type *read_type(struct reader *r, unsigned depth)
{
    const struct dgf_cel_type *type;
    const char *start;
    size_t len;

    skip_space(r);
    start = r->at;
    /* "string.(" : the dot before the parenthesis is no part of the name */
    while ((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= 'A' && *r->at <= 'Z') ||
           *r->at == '_' || (*r->at == '.' && r->at[1] != '('))
        r->at++;
    len = (size_t)(r->at - start);
    if (len == 0 || depth > 8) {
        r->bad = true;
        return NULL;
    }
    if (len == 1 && *start >= 'A' && *start <= 'Z')
        type = dgf_cel_type_new(r->arena, DGF_CEL_T_PARAM, letters[*start - 'A'], NULL,
                                NULL);
    else
        type = plain_type(start, len);
    return type ? type : generic_type(r, start, len, depth);
}

const struct dgf_cel_type *dgf_cel_type_parse(const char *text, struct dgf_arena *arena)
{
    struct reader r = {text, arena, false};
    const struct dgf_cel_type *type = read_type(&r, 0);

    skip_space(&r);
    return r.bad || *r.at ? NULL : type;
}

bool dgf_cel_signature(const char *text, struct dgf_arena *arena,
                       struct dgf_cel_overload *ret)
{
    struct reader r = {text, arena, false};

    ret->n_args = 0;
    ret->member = false;
    if (!take(&r, "(")) {
        ret->member = true;
        ret->args[ret->n_args++] = read_type(&r, 0);
        r.bad |= !take(&r, ".(");
    }
    while (!r.bad && !take(&r, ")")) {
        if (ret->n_args == DGF_CEL_MAX_ARGS)
            return false;
        ret->args[ret->n_args++] = read_type(&r, 0);
        if (!take(&r, ",") && *r.at != ')')
            return false;
    }
    if (r.bad || !take(&r, "->"))
        return false;
    ret->result = read_type(&r, 0);
    if (r.bad || *r.at)
        return false;
    for (unsigned i = 0; i < ret->n_args; i++)
        ret->masks[i] = dgf_cel_type_mask(ret->args[i]);
    return true;
}

uint32_t dgf_cel_type_mask(const struct dgf_cel_type *type)
{
    static const uint8_t kinds[] = {
        [DGF_CEL_T_NULL] = DGF_CEL_NULL,
        [DGF_CEL_T_BOOL] = DGF_CEL_BOOL,
        [DGF_CEL_T_INT] = DGF_CEL_INT,
        [DGF_CEL_T_UINT] = DGF_CEL_UINT,
        [DGF_CEL_T_DOUBLE] = DGF_CEL_DOUBLE,
        [DGF_CEL_T_STRING] = DGF_CEL_STRING,
        [DGF_CEL_T_BYTES] = DGF_CEL_BYTES,
        [DGF_CEL_T_LIST] = DGF_CEL_LIST,
        [DGF_CEL_T_MAP] = DGF_CEL_MAP,
        [DGF_CEL_T_TYPE] = DGF_CEL_TYPE,
        [DGF_CEL_T_TIMESTAMP] = DGF_CEL_TIMESTAMP,
        [DGF_CEL_T_DURATION] = DGF_CEL_DURATION,
        [DGF_CEL_T_DECIMAL] = DGF_CEL_DECIMAL,
        [DGF_CEL_T_OPTIONAL] = DGF_CEL_OPTIONAL,
        [DGF_CEL_T_OPAQUE] = DGF_CEL_OPAQUE,
        [DGF_CEL_T_ROW] = DGF_CEL_MAP,
    };

    switch (type->kind) {
    case DGF_CEL_T_DYN:
    case DGF_CEL_T_PARAM:
    case DGF_CEL_T_ERROR:
        return UINT32_MAX;
    case DGF_CEL_T_WRAPPER:
        return dgf_cel_type_mask(type->params[0]) | 1u << DGF_CEL_NULL;
    default:
        return 1u << kinds[type->kind];
    }
}

/* ---- unification ---- */

const struct dgf_cel_type *dgf_cel_fresh(struct dgf_cel_unifier *unifier)
{
    struct dgf_cel_typevar *var = dgf_arena_alloc(unifier->arena, sizeof(*var));

    if (!var) {
        unifier->nomem = true;
        return &dgf_cel_t_dyn;
    }
    memset(var, 0, sizeof(*var));
    var->base.kind = DGF_CEL_T_PARAM;
    return &var->base;
}

static struct dgf_cel_typevar *var_of(const struct dgf_cel_type *type)
{
    return type->kind == DGF_CEL_T_PARAM && !type->name
               ? (struct dgf_cel_typevar *)(uintptr_t)type
               : NULL;
}

const struct dgf_cel_type *dgf_cel_type_deref(const struct dgf_cel_type *type)
{
    const struct dgf_cel_typevar *var = var_of(type);

    while (var && var->bound) {
        type = var->bound;
        var = var_of(type);
    }
    return type;
}

static bool occurs(const struct dgf_cel_type *var, const struct dgf_cel_type *in)
{
    in = dgf_cel_type_deref(in);
    if (in == var)
        return true;
    for (unsigned i = 0; i < in->n_params; i++)
        if (occurs(var, in->params[i]))
            return true;
    return false;
}

static bool bind(struct dgf_cel_unifier *unifier, const struct dgf_cel_type *var,
                 const struct dgf_cel_type *type)
{
    struct dgf_cel_typevar *it = var_of(var);

    if (var == type)
        return true;
    if (occurs(var, type) || unifier->n_trail == DGF_CEL_MAX_TRAIL)
        return false;
    it->bound = type;
    unifier->trail[unifier->n_trail++] = it;
    return true;
}

void dgf_cel_undo(struct dgf_cel_unifier *unifier, unsigned mark)
{
    while (unifier->n_trail > mark)
        unifier->trail[--unifier->n_trail]->bound = NULL;
}

static bool nullable(const struct dgf_cel_unifier *unifier,
                     const struct dgf_cel_type *type)
{
    return unifier->loose_null || type->kind == DGF_CEL_T_WRAPPER ||
           type->kind == DGF_CEL_T_TIMESTAMP || type->kind == DGF_CEL_T_DURATION ||
           type->kind == DGF_CEL_T_OPAQUE || type->kind == DGF_CEL_T_NULL ||
           type->kind == DGF_CEL_T_OPTIONAL;
}

static bool assign(struct dgf_cel_unifier *unifier, const struct dgf_cel_type *to,
                   const struct dgf_cel_type *from)
{
    to = dgf_cel_type_deref(to);
    from = dgf_cel_type_deref(from);
    if (to == from || to->kind == DGF_CEL_T_ERROR || from->kind == DGF_CEL_T_ERROR)
        return true;
    if (var_of(to))
        return bind(unifier, to, from);
    if (var_of(from))
        return bind(unifier, from, to);
    if (to->kind == DGF_CEL_T_DYN || from->kind == DGF_CEL_T_DYN)
        return true;
    if (from->kind == DGF_CEL_T_NULL)
        return nullable(unifier, to);
    if (to->kind == DGF_CEL_T_NULL && unifier->loose_null)
        return true;
    if (to->kind == DGF_CEL_T_WRAPPER)
        return assign(unifier, to->params[0],
                      from->kind == DGF_CEL_T_WRAPPER ? from->params[0] : from);
    if (from->kind == DGF_CEL_T_WRAPPER)
        return assign(unifier, to, from->params[0]);
    if (from->kind == DGF_CEL_T_ROW && to->kind == DGF_CEL_T_MAP)
        return assign(unifier, to->params[0], &dgf_cel_t_string) &&
               assign(unifier, to->params[1], &dgf_cel_t_dyn);
    if (to->kind == DGF_CEL_T_ROW && from->kind == DGF_CEL_T_MAP)
        return assign(unifier, &dgf_cel_t_string, from->params[0]);
    if (to->kind != from->kind)
        return false;
    if (to->kind == DGF_CEL_T_TYPE || to->kind == DGF_CEL_T_ROW)
        return true;
    if (to->kind == DGF_CEL_T_OPAQUE || to->kind == DGF_CEL_T_PARAM) {
        if (strcmp(to->name, from->name) != 0 || to->n_params != from->n_params)
            return false;
    }
    for (unsigned i = 0; i < to->n_params && i < from->n_params; i++)
        if (!assign(unifier, to->params[i], from->params[i]))
            return false;
    return true;
}

bool dgf_cel_assign(struct dgf_cel_unifier *unifier, const struct dgf_cel_type *to,
                    const struct dgf_cel_type *from)
{
    unsigned mark = unifier->n_trail;

    if (assign(unifier, to, from))
        return true;
    dgf_cel_undo(unifier, mark);
    return false;
}

const struct dgf_cel_type *dgf_cel_instantiate(struct dgf_cel_unifier *unifier,
                                               const struct dgf_cel_type *type,
                                               const struct dgf_cel_type *vars[26])
{
    const struct dgf_cel_type *params[DGF_CEL_MAX_PARAMS] = {NULL}, *copy;
    bool changed = false;

    if (type->kind == DGF_CEL_T_PARAM && type->name && !type->name[1]) {
        unsigned i = (unsigned)(type->name[0] - 'A');

        if (i >= 26)
            return type;
        if (!vars[i])
            vars[i] = dgf_cel_fresh(unifier);
        return vars[i];
    }
    for (unsigned i = 0; i < type->n_params && i < DGF_CEL_MAX_PARAMS; i++) {
        params[i] = dgf_cel_instantiate(unifier, type->params[i], vars);
        changed |= params[i] != type->params[i];
    }
    if (!changed)
        return type;
    copy = dgf_cel_type_of_params(unifier->arena, type->kind, type->name, params,
                                  type->n_params);
    if (!copy)
        unifier->nomem = true;
    return copy ? copy : &dgf_cel_t_dyn;
}

const struct dgf_cel_type *dgf_cel_type_final(struct dgf_arena *arena,
                                              const struct dgf_cel_type *type)
{
    const struct dgf_cel_type *params[DGF_CEL_MAX_PARAMS] = {NULL}, *copy;
    bool changed = false;

    type = dgf_cel_type_deref(type);
    if (var_of(type))
        return &dgf_cel_t_dyn;
    for (unsigned i = 0; i < type->n_params && i < DGF_CEL_MAX_PARAMS; i++) {
        params[i] = dgf_cel_type_final(arena, type->params[i]);
        changed |= params[i] != type->params[i];
    }
    if (!changed)
        return type;
    copy =
        dgf_cel_type_of_params(arena, type->kind, type->name, params, type->n_params);
    return copy ? copy : &dgf_cel_t_dyn;
}
