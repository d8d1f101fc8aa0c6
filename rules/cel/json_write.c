#include <math.h>
#include <string.h>

#include "cel/json.h"
#include "cel/ops.h"

#define MAX_DEPTH 100

static void put_member(struct dgf_json *json, const char *key)
{
    dgf_json_begin_object(json);
    dgf_json_key(json, key);
}

static void put_text(struct dgf_json *json, const char *key,
                     const struct dgf_cel_value *value,
                     void (*text)(const struct dgf_cel_value *, struct dgf_buf *))
{
    struct dgf_buf buf;

    put_member(json, key);
    dgf_buf_init(&buf, 8192);
    text(value, &buf);
    dgf_json_text(json, dgf_buf_bytes(&buf));
    dgf_buf_release(&buf);
    dgf_json_end_object(json);
}

static void put_double(struct dgf_json *json, double value)
{
    put_member(json, "doubleValue");
    if (isnan(value) || isinf(value))
        dgf_json_str(json, isnan(value) ? "NaN" : value < 0 ? "-Infinity" : "Infinity");
    else
        dgf_json_double(json, value);
    dgf_json_end_object(json);
}

static void put_bytes(struct dgf_json *json, struct dgf_bytes bytes)
{
    struct dgf_buf text;

    put_member(json, "bytesValue");
    dgf_buf_init(&text, bytes.len * 2 + 16);
    dgf_buf_add_base64(&text, bytes);
    dgf_json_text(json, dgf_buf_bytes(&text));
    dgf_buf_release(&text);
    dgf_json_end_object(json);
}

static void put_object(struct dgf_json *json, const char *type,
                       const struct dgf_cel_value *value,
                       void (*text)(const struct dgf_cel_value *, struct dgf_buf *))
{
    struct dgf_buf buf;

    put_member(json, "objectValue");
    dgf_json_begin_object(json);
    dgf_json_key(json, "@type");
    dgf_json_str(json, type);
    dgf_json_key(json, "value");
    dgf_buf_init(&buf, 256);
    text(value, &buf);
    dgf_json_text(json, dgf_buf_bytes(&buf));
    dgf_buf_release(&buf);
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

static void put(struct dgf_json *json, const struct dgf_cel_value *value,
                unsigned depth);

static void put_list(struct dgf_json *json, const struct dgf_cel_list *list,
                     unsigned depth)
{
    uint32_t n = dgf_cel_list_size(list, NULL);
    struct dgf_cel_value item;

    put_member(json, "listValue");
    dgf_json_begin_object(json);
    if (n > 0) {
        dgf_json_key(json, "values");
        dgf_json_begin_array(json);
        for (uint32_t i = 0; i < n; i++) {
            dgf_cel_list_at(list, NULL, i, &item);
            put(json, &item, depth + 1);
        }
        dgf_json_end_array(json);
    }
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

static void put_map(struct dgf_json *json, const struct dgf_cel_map *map,
                    unsigned depth)
{
    struct dgf_cel_value key, value;
    uint64_t at = 0;
    bool any = false;

    put_member(json, "mapValue");
    dgf_json_begin_object(json);
    while (map->ops->next(map, NULL, &at, &key, &value)) {
        if (!any) {
            dgf_json_key(json, "entries");
            dgf_json_begin_array(json);
            any = true;
        }
        dgf_json_begin_object(json);
        dgf_json_key(json, "key");
        put(json, &key, depth + 1);
        dgf_json_key(json, "value");
        put(json, &value, depth + 1);
        dgf_json_end_object(json);
    }
    if (any)
        dgf_json_end_array(json);
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

static void put_plain(struct dgf_json *json, const struct dgf_cel_value *value)
{
    switch ((enum dgf_cel_kind)value->kind) {
    case DGF_CEL_NULL:
        put_member(json, "nullValue");
        dgf_json_null(json);
        break;
    case DGF_CEL_BOOL:
        put_member(json, "boolValue");
        dgf_json_bool(json, value->boolean);
        break;
    case DGF_CEL_STRING:
        put_member(json, "stringValue");
        dgf_json_text(json, dgf_cel_bytes_of(value));
        break;
    case DGF_CEL_TYPE:
        put_member(json, "typeValue");
        dgf_json_str(json, value->type->name);
        break;
    case DGF_CEL_ERROR:
        put_member(json, "error");
        dgf_json_str(json, value->error->text);
        break;
    default:
        put_member(json, "unknown");
        dgf_json_bool(json, true);
    }
    dgf_json_end_object(json);
}

static void put(struct dgf_json *json, const struct dgf_cel_value *value,
                unsigned depth)
{
    if (depth > MAX_DEPTH) {
        dgf_json_null(json);
        return;
    }
    switch ((enum dgf_cel_kind)value->kind) {
    case DGF_CEL_INT:
        put_text(json, "int64Value", value, dgf_cel_plain);
        break;
    case DGF_CEL_UINT:
        put_text(json, "uint64Value", value, dgf_cel_plain);
        break;
    case DGF_CEL_DECIMAL:
        put_text(json, "decimalValue", value, dgf_cel_plain);
        break;
    case DGF_CEL_DOUBLE:
        put_double(json, value->dbl);
        break;
    case DGF_CEL_BYTES:
        put_bytes(json, dgf_cel_bytes_of(value));
        break;
    case DGF_CEL_LIST:
        put_list(json, value->list, depth);
        break;
    case DGF_CEL_MAP:
        put_map(json, value->map, depth);
        break;
    case DGF_CEL_TIMESTAMP:
        put_object(json, "type.googleapis.com/google.protobuf.Timestamp", value,
                   dgf_cel_time_text);
        break;
    case DGF_CEL_DURATION:
        put_object(json, "type.googleapis.com/google.protobuf.Duration", value,
                   dgf_cel_duration_text);
        break;
    case DGF_CEL_OPTIONAL:
        put_member(json, "optionalValue");
        if (value->inner)
            put(json, value->inner, depth + 1);
        else
            dgf_json_null(json);
        dgf_json_end_object(json);
        break;
    default:
        put_plain(json, value);
    }
}

void dgf_cel_json_put_value(struct dgf_json *json, const struct dgf_cel_value *value)
{
    put(json, value, 0);
}

/* ---- types ---- */

static void put_params(struct dgf_json *json, const char *key, const char *const *names,
                       unsigned n_names, const struct dgf_cel_type *type)
{
    put_member(json, key);
    dgf_json_begin_object(json);
    for (unsigned i = 0; i < type->n_params && i < n_names; i++) {
        dgf_json_key(json, names[i]);
        dgf_cel_json_put_type(json, type->params[i]);
    }
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

static void put_abstract(struct dgf_json *json, const struct dgf_cel_type *type)
{
    put_member(json, "abstractType");
    dgf_json_begin_object(json);
    dgf_json_key(json, "name");
    dgf_json_str(json, type->name);
    if (type->n_params > 0) {
        dgf_json_key(json, "parameterTypes");
        dgf_json_begin_array(json);
        for (unsigned i = 0; i < type->n_params; i++)
            dgf_cel_json_put_type(json, type->params[i]);
        dgf_json_end_array(json);
    }
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

static void put_word(struct dgf_json *json, const char *key, const char *word)
{
    put_member(json, key);
    dgf_json_str(json, word);
    dgf_json_end_object(json);
}

void dgf_cel_json_put_type(struct dgf_json *json, const struct dgf_cel_type *type)
{
    static const char *const list[] = {"elemType"}, *const map[] = {"keyType",
                                                                    "valueType"};
    static const char *const words[] = {
        [DGF_CEL_T_BOOL] = "BOOL",     [DGF_CEL_T_INT] = "INT64",
        [DGF_CEL_T_UINT] = "UINT64",   [DGF_CEL_T_DOUBLE] = "DOUBLE",
        [DGF_CEL_T_STRING] = "STRING", [DGF_CEL_T_BYTES] = "BYTES",
    };

    switch (type->kind) {
    case DGF_CEL_T_NULL:
        put_member(json, "null");
        dgf_json_null(json);
        dgf_json_end_object(json);
        break;
    case DGF_CEL_T_BOOL:
    case DGF_CEL_T_INT:
    case DGF_CEL_T_UINT:
    case DGF_CEL_T_DOUBLE:
    case DGF_CEL_T_STRING:
    case DGF_CEL_T_BYTES:
        put_word(json, "primitive", words[type->kind]);
        break;
    case DGF_CEL_T_TIMESTAMP:
        put_word(json, "wellKnown", "TIMESTAMP");
        break;
    case DGF_CEL_T_DURATION:
        put_word(json, "wellKnown", "DURATION");
        break;
    case DGF_CEL_T_LIST:
        put_params(json, "listType", list, DGF_ARRAY_LEN(list), type);
        break;
    case DGF_CEL_T_MAP:
        put_params(json, "mapType", map, DGF_ARRAY_LEN(map), type);
        break;
    case DGF_CEL_T_TYPE:
        put_member(json, "type");
        if (type->n_params > 0) {
            dgf_cel_json_put_type(json, type->params[0]);
        } else {
            dgf_json_begin_object(json);
            dgf_json_end_object(json);
        }
        dgf_json_end_object(json);
        break;
    case DGF_CEL_T_WRAPPER:
        put_word(json, "wrapper", words[type->params[0]->kind]);
        break;
    case DGF_CEL_T_OPTIONAL:
    case DGF_CEL_T_OPAQUE:
    case DGF_CEL_T_DECIMAL:
    case DGF_CEL_T_ROW:
        put_abstract(json, type);
        break;
    default:
        put_member(json, "dyn");
        dgf_json_begin_object(json);
        dgf_json_end_object(json);
        dgf_json_end_object(json);
    }
}
