#include <math.h>
#include <string.h>

#include "base/parse.h"
#include "cel/json.h"
#include "cel/ops.h"
#include "cel/program.h"

#define MAX_DEPTH 100

static enum dgf_rc bad(struct dgf_err *err, const char *what)
{
    return dgf_err_set(err, DGF_BAD_DATA, "cannot read a CEL value: %s", what);
}

static enum dgf_rc nomem(struct dgf_err *err)
{
    return dgf_err_set(err, DGF_NOMEM, "cannot read a CEL value: out of memory");
}

static struct dgf_bytes text_of(const json_t *json)
{
    return dgf_bytes_of(json_string_value(json), json_string_length(json));
}

static bool keep_text(const json_t *json, struct dgf_arena *arena,
                      struct dgf_bytes *ret)
{
    struct dgf_bytes text = text_of(json);
    const char *copy = dgf_arena_strndup(arena, (const char *)text.ptr, text.len);

    *ret = dgf_bytes_of(copy, text.len);
    return copy != NULL;
}

static enum dgf_rc read_value(const json_t *json, struct dgf_arena *arena,
                              unsigned depth, struct dgf_cel_value *ret,
                              struct dgf_err *err);

/* 64-bit numbers are texts in protobuf's JSON; numbers are accepted too. */
static bool read_i64(const json_t *json, int64_t *ret)
{
    if (json_is_integer(json)) {
        *ret = json_integer_value(json);
        return true;
    }
    return json_is_string(json) && dgf_parse_i64(text_of(json), ret);
}

static bool read_u64(const json_t *json, uint64_t *ret)
{
    if (json_is_integer(json) && json_integer_value(json) >= 0) {
        *ret = (uint64_t)json_integer_value(json);
        return true;
    }
    return json_is_string(json) && dgf_parse_u64(text_of(json), ret);
}

static bool read_double(const json_t *json, double *ret)
{
    const char *text = json_string_value(json);

    if (json_is_number(json))
        *ret = json_number_value(json);
    else if (!text)
        return false;
    else if (strcmp(text, "NaN") == 0)
        *ret = NAN;
    else if (strcmp(text, "Infinity") == 0)
        *ret = INFINITY;
    else if (strcmp(text, "-Infinity") == 0)
        *ret = -INFINITY;
    else
        return dgf_parse_double(text_of(json), ret);
    return true;
}

static enum dgf_rc read_bytes(const json_t *json, struct dgf_arena *arena,
                              struct dgf_cel_value *ret, struct dgf_err *err)
{
    struct dgf_buf bytes;
    enum dgf_rc rc = DGF_OK;
    char *copy;

    dgf_buf_init(&bytes, text_of(json).len + 16);
    if (!json_is_string(json) || !dgf_parse_base64(text_of(json), &bytes)) {
        rc = bad(err, "bytesValue is not base64");
    } else {
        copy = dgf_arena_strndup(arena, (const char *)bytes.ptr, bytes.len);
        if (copy)
            *ret = dgf_cel_bytes(dgf_bytes_of(copy, bytes.len));
        else
            rc = nomem(err);
    }
    dgf_buf_release(&bytes);
    return rc;
}

static enum dgf_rc read_list(const json_t *json, struct dgf_arena *arena,
                             unsigned depth, struct dgf_cel_value *ret,
                             struct dgf_err *err)
{
    const json_t *values = json_object_get(json, "values");
    size_t n = json_array_size(values);
    struct dgf_cel_value *items = dgf_arena_alloc(arena, (n + 1) * sizeof(*items));
    const struct dgf_cel_list *list;

    if (!items)
        return nomem(err);
    for (size_t i = 0; i < n; i++) {
        enum dgf_rc rc =
            read_value(json_array_get(values, i), arena, depth + 1, &items[i], err);

        if (rc)
            return rc;
    }
    list = dgf_cel_list_new(arena, items, (uint32_t)n);
    if (!list)
        return nomem(err);
    *ret = dgf_cel_list_of(list);
    return DGF_OK;
}

static enum dgf_rc read_map(const json_t *json, struct dgf_arena *arena, unsigned depth,
                            struct dgf_cel_value *ret, struct dgf_err *err)
{
    const json_t *entries = json_object_get(json, "entries");
    size_t n = json_array_size(entries);
    struct dgf_cel_value *pairs = dgf_arena_alloc(arena, (2 * n + 1) * sizeof(*pairs));
    const struct dgf_cel_map *map;

    if (!pairs)
        return nomem(err);
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(entries, i);
        enum dgf_rc rc = read_value(json_object_get(entry, "key"), arena, depth + 1,
                                    &pairs[2 * i], err);

        if (rc == DGF_OK)
            rc = read_value(json_object_get(entry, "value"), arena, depth + 1,
                            &pairs[2 * i + 1], err);
        if (rc)
            return rc;
    }
    map = dgf_cel_map_new(arena, pairs, (uint32_t)n);
    if (!map)
        return nomem(err);
    if (dgf_cel_map_repeats(map))
        return bad(err, "a key stands in mapValue twice");
    *ret = dgf_cel_map_of(map);
    return DGF_OK;
}

/* Wrappers of protobuf are their content; other messages are not ours. */
static enum dgf_rc read_object(const json_t *json, struct dgf_arena *arena,
                               struct dgf_cel_value *ret, struct dgf_err *err)
{
    const char *type = json_string_value(json_object_get(json, "@type"));
    const json_t *value = json_object_get(json, "value");
    const char *name = type ? strrchr(type, '.') : NULL;
    struct dgf_bytes text;

    if (!name || !strstr(type, "google.protobuf.") || !value)
        return bad(err, "messages are not supported");
    name++;
    if (strcmp(name, "Timestamp") == 0)
        return json_is_string(value) && dgf_cel_time_parse(text_of(value), ret)
                   ? DGF_OK
                   : bad(err, "not a timestamp");
    if (strcmp(name, "Duration") == 0)
        return json_is_string(value) && dgf_cel_duration_parse(text_of(value), ret)
                   ? DGF_OK
                   : bad(err, "not a duration");
    *ret = (struct dgf_cel_value){0};
    if (strcmp(name, "Int64Value") == 0 || strcmp(name, "Int32Value") == 0) {
        ret->kind = DGF_CEL_INT;
        return read_i64(value, &ret->i64) ? DGF_OK : bad(err, "not an int");
    }
    if (strcmp(name, "UInt64Value") == 0 || strcmp(name, "UInt32Value") == 0) {
        ret->kind = DGF_CEL_UINT;
        return read_u64(value, &ret->u64) ? DGF_OK : bad(err, "not a uint");
    }
    if (strcmp(name, "DoubleValue") == 0 || strcmp(name, "FloatValue") == 0) {
        ret->kind = DGF_CEL_DOUBLE;
        return read_double(value, &ret->dbl) ? DGF_OK : bad(err, "not a double");
    }
    if (strcmp(name, "BytesValue") == 0)
        return read_bytes(value, arena, ret, err);
    if (strcmp(name, "BoolValue") == 0 && json_is_boolean(value)) {
        *ret = dgf_cel_bool(json_is_true(value));
        return DGF_OK;
    }
    if (strcmp(name, "StringValue") == 0 && json_is_string(value)) {
        if (!keep_text(value, arena, &text))
            return nomem(err);
        *ret = dgf_cel_string(text);
        return DGF_OK;
    }
    return bad(err, "messages are not supported");
}

static enum dgf_rc read_text(const char *key, const json_t *json,
                             struct dgf_arena *arena, struct dgf_cel_value *ret,
                             struct dgf_err *err)
{
    struct dgf_bytes text;
    const struct dgf_cel_type *type;

    if (!json_is_string(json))
        return bad(err, "a text is missing");
    if (!keep_text(json, arena, &text))
        return nomem(err);
    if (strcmp(key, "stringValue") == 0) {
        *ret = dgf_cel_string(text);
        return DGF_OK;
    }
    if (strcmp(key, "decimalValue") == 0)
        return dgf_cel_decimal_of(text, arena, ret) ? DGF_OK
                                                    : bad(err, "not a decimal");
    type = dgf_cel_named_type((const char *)text.ptr);
    if (!type)
        type = dgf_cel_type_new(arena, DGF_CEL_T_OPAQUE, (const char *)text.ptr, NULL,
                                NULL);
    if (!type)
        return nomem(err);
    *ret = dgf_cel_type_of(type);
    return DGF_OK;
}

static enum dgf_rc read_optional(const json_t *json, struct dgf_arena *arena,
                                 unsigned depth, struct dgf_cel_value *ret,
                                 struct dgf_err *err)
{
    struct dgf_cel_value *inner = NULL;
    enum dgf_rc rc;

    if (!json_is_null(json)) {
        inner = dgf_arena_alloc(arena, sizeof(*inner));
        if (!inner)
            return nomem(err);
        rc = read_value(json, arena, depth + 1, inner, err);
        if (rc)
            return rc;
    }
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_OPTIONAL, .inner = inner};
    return DGF_OK;
}

static enum dgf_rc read_value(const json_t *json, struct dgf_arena *arena,
                              unsigned depth, struct dgf_cel_value *ret,
                              struct dgf_err *err)
{
    void *iter = json_object_iter((json_t *)(uintptr_t)json);
    const char *key = iter ? json_object_iter_key(iter) : NULL;
    const json_t *value = iter ? json_object_iter_value(iter) : NULL;

    if (!key || json_object_size(json) != 1 || depth > MAX_DEPTH)
        return bad(err,
                   "an object with one member is wanted, as in {\"int64Value\":\"1\"}");
    *ret = (struct dgf_cel_value){0};
    if (strcmp(key, "nullValue") == 0) {
        *ret = dgf_cel_null();
    } else if (strcmp(key, "boolValue") == 0 && json_is_boolean(value)) {
        *ret = dgf_cel_bool(json_is_true(value));
    } else if (strcmp(key, "int64Value") == 0) {
        ret->kind = DGF_CEL_INT;
        return read_i64(value, &ret->i64) ? DGF_OK : bad(err, "int64Value is no int");
    } else if (strcmp(key, "uint64Value") == 0) {
        ret->kind = DGF_CEL_UINT;
        return read_u64(value, &ret->u64) ? DGF_OK : bad(err, "uint64Value is no uint");
    } else if (strcmp(key, "doubleValue") == 0) {
        ret->kind = DGF_CEL_DOUBLE;
        return read_double(value, &ret->dbl) ? DGF_OK
                                             : bad(err, "doubleValue is no double");
    } else if (strcmp(key, "stringValue") == 0 || strcmp(key, "typeValue") == 0 ||
               strcmp(key, "decimalValue") == 0) {
        return read_text(key, value, arena, ret, err);
    } else if (strcmp(key, "bytesValue") == 0) {
        return read_bytes(value, arena, ret, err);
    } else if (strcmp(key, "listValue") == 0) {
        return read_list(value, arena, depth, ret, err);
    } else if (strcmp(key, "mapValue") == 0) {
        return read_map(value, arena, depth, ret, err);
    } else if (strcmp(key, "objectValue") == 0) {
        return read_object(value, arena, ret, err);
    } else if (strcmp(key, "optionalValue") == 0) {
        return read_optional(value, arena, depth, ret, err);
    } else if (strcmp(key, "unknown") == 0 && json_is_true(value)) {
        *ret = dgf_cel_unknown(NULL, 0);
    } else {
        return bad(err, "unknown member, or one of the wrong type");
    }
    return DGF_OK;
}

enum dgf_rc dgf_cel_json_value(const json_t *json, struct dgf_arena *arena,
                               struct dgf_cel_value *ret, struct dgf_err *err)
{
    struct dgf_cel_value value;
    enum dgf_rc rc = read_value(json, arena, 0, &value, err);

    if (rc == DGF_OK)
        *ret = value;
    return rc;
}
