/* avro_schema.c - a writer's schema, and values by it. */
#include "avro_blocks.h"
#include "avro_part.h"
#include "base/json.h"
#include "base/mp.h"
#include "base/parse.h"

#define TYPES_MAX 4096
#define DEPTH_MAX 32
#define ITEMS_MAX 100000

enum kind {
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_SIMPLE_N, /* the ones before need no more than their name */
    AVRO_RECORD = AVRO_SIMPLE_N,
    AVRO_ENUM,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_FIXED,
};

static const char *const simple_names[AVRO_SIMPLE_N] = {
    "null", "boolean", "int", "long", "float", "double", "bytes", "string"};

struct type {
    enum kind kind;
    uint32_t n;         /* fields, symbols, branches; bytes of a fixed */
    uint32_t *types;    /* of fields and branches; one of array and map */
    const char **names; /* of fields and symbols; owned by the JSON */
    const char *name;   /* of a record, enum, fixed */
    const char *space;  /* its namespace; may be NULL */
};

struct dgf_avro_schema {
    json_t *json;
    struct type *types;
    uint32_t n, cap, root;
};

static enum dgf_rc bad(struct dgf_err *err, const char *why)
{
    return dgf_err_set(err, DGF_BAD_DATA, "its schema cannot be read: %s", why);
}

static enum dgf_rc no_memory(struct dgf_err *err)
{
    return dgf_err_set(err, DGF_NOMEM, "out of memory");
}

void dgf_avro_schema_free(struct dgf_avro_schema *schema)
{
    if (!schema)
        return;
    for (uint32_t i = 0; i < schema->n; i++) {
        dgf_free(schema->types[i].types);
        dgf_free((void *)schema->types[i].names);
    }
    dgf_free(schema->types);
    json_decref(schema->json);
    dgf_free(schema);
}

/* ---- reading the schema ---- */

struct place {
    const char *space; /* the namespace that encloses */
    unsigned depth;
};

static enum dgf_rc read_type(struct dgf_avro_schema *schema, const json_t *json,
                             struct place place, uint32_t *ret, struct dgf_err *err);

static enum dgf_rc add_type(struct dgf_avro_schema *schema, enum kind kind,
                            uint32_t *ret, struct dgf_err *err)
{
    if (schema->n == TYPES_MAX)
        return bad(err, "it has more than 4,096 types");
    if (schema->n == schema->cap) {
        uint32_t cap = schema->cap ? 2 * schema->cap : 64;
        struct type *types = dgf_realloc(schema->types, cap * sizeof(*types));

        if (!types)
            return no_memory(err);
        schema->types = types;
        schema->cap = cap;
    }
    schema->types[schema->n] = (struct type){.kind = kind};
    *ret = schema->n++;
    return DGF_OK;
}

/* Room for n types, and names when wanted. */
static enum dgf_rc make_room(struct dgf_avro_schema *schema, uint32_t at, size_t n,
                             bool types, bool names, struct dgf_err *err)
{
    struct type *type = &schema->types[at];

    if (n > TYPES_MAX)
        return bad(err, "it has more than 4,096 fields");
    type->n = (uint32_t)n;
    type->types = types ? dgf_calloc(n + 1, sizeof(*type->types)) : NULL;
    type->names = names ? dgf_calloc(n + 1, sizeof(*type->names)) : NULL;
    return (types && !type->types) || (names && !type->names) ? no_memory(err) : DGF_OK;
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot + 1 : name;
}

/* name as written is the type's: whole name, or alone in the same namespace. */
static bool is_named(const struct type *type, const char *name, const char *space)
{
    const char *plain = last_part(type->name);
    size_t len;

    if (strcmp(type->name, name) == 0 && (strchr(name, '.') || !type->space || !space ||
                                          strcmp(type->space, space) == 0))
        return true;
    if (!type->space || !strchr(name, '.'))
        return false;
    len = strlen(type->space);
    return strncmp(name, type->space, len) == 0 && name[len] == '.' &&
           strcmp(name + len + 1, plain) == 0;
}

static enum dgf_rc read_name(struct dgf_avro_schema *schema, const char *name,
                             const char *space, uint32_t *ret, struct dgf_err *err)
{
    for (unsigned kind = 0; kind < AVRO_SIMPLE_N; kind++)
        if (strcmp(name, simple_names[kind]) == 0)
            return add_type(schema, (enum kind)kind, ret, err);
    for (uint32_t i = 0; i < schema->n; i++)
        if (schema->types[i].name && is_named(&schema->types[i], name, space)) {
            *ret = i;
            return DGF_OK;
        }
    return bad(err, "it names a type nobody defined");
}

static enum dgf_rc read_fields(struct dgf_avro_schema *schema, uint32_t at,
                               const json_t *json, struct place place,
                               struct dgf_err *err)
{
    const json_t *fields = json_object_get(json, "fields"), *field;
    enum dgf_rc rc;
    size_t i;

    if (!json_is_array(fields))
        return bad(err, "a record has no fields");
    rc = make_room(schema, at, json_array_size(fields), true, true, err);
    if (rc)
        return rc;
    json_array_foreach(fields, i, field)
    {
        const char *name = json_string_value(json_object_get(field, "name"));
        uint32_t type = 0;

        if (!name || !json_object_get(field, "type"))
            return bad(err, "a field has no name or no type");
        rc = read_type(schema, json_object_get(field, "type"), place, &type, err);
        if (rc)
            return rc;
        schema->types[at].names[i] = name;
        schema->types[at].types[i] = type;
    }
    return DGF_OK;
}

static enum dgf_rc read_symbols(struct dgf_avro_schema *schema, uint32_t at,
                                const json_t *json, struct dgf_err *err)
{
    const json_t *symbols = json_object_get(json, "symbols"), *symbol;
    enum dgf_rc rc;
    size_t i;

    if (!json_is_array(symbols) || json_array_size(symbols) == 0)
        return bad(err, "an enum has no symbols");
    rc = make_room(schema, at, json_array_size(symbols), false, true, err);
    if (rc)
        return rc;
    json_array_foreach(symbols, i, symbol)
    {
        if (!json_is_string(symbol))
            return bad(err, "a symbol is no text");
        schema->types[at].names[i] = json_string_value(symbol);
    }
    return DGF_OK;
}

static enum dgf_rc read_named(struct dgf_avro_schema *schema, const json_t *json,
                              enum kind kind, struct place place, uint32_t *ret,
                              struct dgf_err *err)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *space = json_string_value(json_object_get(json, "namespace"));
    json_int_t size;
    enum dgf_rc rc;

    if (!name || !*name)
        return bad(err, "a record, enum or fixed has no name");
    rc = add_type(schema, kind, ret, err);
    if (rc)
        return rc;
    schema->types[*ret].name = name;
    schema->types[*ret].space = place.space = space ? space : place.space;
    if (kind == AVRO_RECORD)
        return read_fields(schema, *ret, json, place, err);
    if (kind == AVRO_ENUM)
        return read_symbols(schema, *ret, json, err);
    size = json_integer_value(json_object_get(json, "size"));
    if (size < 0 || size > (json_int_t)DGF_AVRO_BLOCK_MAX)
        return bad(err, "a fixed has no size");
    schema->types[*ret].n = (uint32_t)size;
    return DGF_OK;
}

static enum dgf_rc read_of_one(struct dgf_avro_schema *schema, const json_t *item,
                               enum kind kind, struct place place, uint32_t *ret,
                               struct dgf_err *err)
{
    uint32_t type = 0;
    enum dgf_rc rc;

    if (!item)
        return bad(err, "an array or map is of nothing");
    rc = add_type(schema, kind, ret, err);
    if (!rc)
        rc = make_room(schema, *ret, 1, true, false, err);
    if (!rc)
        rc = read_type(schema, item, place, &type, err);
    if (!rc)
        schema->types[*ret].types[0] = type;
    return rc;
}

static enum dgf_rc read_union(struct dgf_avro_schema *schema, const json_t *json,
                              struct place place, uint32_t *ret, struct dgf_err *err)
{
    const json_t *branch;
    enum dgf_rc rc;
    size_t i;

    if (json_array_size(json) == 0)
        return bad(err, "a union is of nothing");
    rc = add_type(schema, AVRO_UNION, ret, err);
    if (!rc)
        rc = make_room(schema, *ret, json_array_size(json), true, false, err);
    json_array_foreach(json, i, branch)
    {
        uint32_t type = 0;

        if (!rc && json_is_array(branch))
            rc = bad(err, "a union stands in a union");
        if (!rc)
            rc = read_type(schema, branch, place, &type, err);
        if (rc)
            return rc;
        schema->types[*ret].types[i] = type;
    }
    return rc;
}

static enum dgf_rc read_object(struct dgf_avro_schema *schema, const json_t *json,
                               struct place place, uint32_t *ret, struct dgf_err *err)
{
    const json_t *type = json_object_get(json, "type");
    const char *name = json_string_value(type);

    if (!type)
        return bad(err, "a type has no name");
    if (!name) /* {"type": {...}} */
        return read_type(schema, type, place, ret, err);
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0)
        return read_named(schema, json, AVRO_RECORD, place, ret, err);
    if (strcmp(name, "enum") == 0)
        return read_named(schema, json, AVRO_ENUM, place, ret, err);
    if (strcmp(name, "fixed") == 0)
        return read_named(schema, json, AVRO_FIXED, place, ret, err);
    if (strcmp(name, "array") == 0)
        return read_of_one(schema, json_object_get(json, "items"), AVRO_ARRAY, place,
                           ret, err);
    if (strcmp(name, "map") == 0)
        return read_of_one(schema, json_object_get(json, "values"), AVRO_MAP, place,
                           ret, err);
    return read_name(schema, name, place.space, ret, err);
}

static enum dgf_rc read_type(struct dgf_avro_schema *schema, const json_t *json,
                             struct place place, uint32_t *ret, struct dgf_err *err)
{
    if (++place.depth > DEPTH_MAX)
        return bad(err, "it is nested more than 32 levels");
    if (json_is_string(json))
        return read_name(schema, json_string_value(json), place.space, ret, err);
    if (json_is_array(json))
        return read_union(schema, json, place, ret, err);
    if (json_is_object(json))
        return read_object(schema, json, place, ret, err);
    return bad(err, "a type is neither text, list nor object");
}

enum dgf_rc dgf_avro_schema_parse(struct dgf_bytes json, struct dgf_avro_schema **ret,
                                  struct dgf_err *err)
{
    DGF_CLEANUP(dgf_avro_schema_free)
    struct dgf_avro_schema *schema = dgf_calloc(1, sizeof(*schema));
    enum dgf_rc rc;

    if (!schema)
        return no_memory(err);
    if (json.len && json.ptr[0] == '"') /* "string": a schema that is one name */
        return bad(err, "its values are no records");
    if (dgf_json_parse(json, DGF_AVRO_HEADER_MAX, 3 * DEPTH_MAX, &schema->json, NULL))
        return bad(err, "it is no JSON");
    rc = read_type(schema, schema->json, (struct place){.space = NULL}, &schema->root,
                   err);
    if (rc)
        return rc;
    *ret = dgf_steal(schema);
    return DGF_OK;
}

bool dgf_avro_schema_has(const struct dgf_avro_schema *schema, const char *field)
{
    const struct type *root = &schema->types[schema->root];

    for (uint32_t i = 0; root->kind == AVRO_RECORD && i < root->n; i++)
        if (strcmp(root->names[i], field) == 0)
            return true;
    return false;
}

/* ---- values ---- */

struct decoding {
    const struct dgf_avro_schema *schema;
    struct dgf_rd *rd;
    struct dgf_buf *out;
    struct dgf_err *err;
    uint32_t n_items;
};

static enum dgf_rc broken(struct decoding *d, const char *why)
{
    return dgf_err_set(d->err, DGF_BAD_DATA, "%s", why);
}

static enum dgf_rc decode(struct decoding *d, uint32_t at, unsigned depth);

static enum dgf_rc take_long(struct decoding *d, int64_t *ret)
{
    return dgf_avro_long(d->rd, ret) ? broken(d, "a number is none") : DGF_OK;
}

static enum dgf_rc take_bytes(struct decoding *d, struct dgf_bytes *ret)
{
    int64_t len;
    enum dgf_rc rc = take_long(d, &len);

    if (rc)
        return rc;
    if (len < 0 || (uint64_t)len > dgf_rd_left(d->rd))
        return broken(d, "a text is longer than what is there");
    *ret = dgf_rd_bytes(d->rd, (size_t)len);
    return DGF_OK;
}

static void put_text(struct dgf_buf *out, struct dgf_bytes text)
{
    if (dgf_utf8_valid(text))
        dgf_mp_put_str(out, text);
    else
        dgf_mp_put_bin(out, text);
}

/* The items of an array or map, whose number stands before each part of them. */
static enum dgf_rc decode_items(struct decoding *d, const struct type *type,
                                unsigned depth)
{
    size_t head = d->out->len;
    uint32_t n = 0, order;
    int64_t count, size;
    enum dgf_rc rc;

    dgf_buf_add_byte(d->out, type->kind == AVRO_MAP ? 0xdf : 0xdd);
    dgf_buf_add_le32(d->out, 0);
    for (;;) {
        rc = take_long(d, &count);
        if (!rc && count < 0) {
            if (count == INT64_MIN)
                return broken(d, "a list has no length");
            count = -count;
            rc = take_long(d, &size);
        }
        if (rc)
            return rc;
        if (count == 0)
            break;
        if (count > ITEMS_MAX - d->n_items)
            return broken(d, "a value has more than 100,000 items");
        d->n_items += (uint32_t)count;
        n += (uint32_t)count;
        for (; count > 0; count--) {
            struct dgf_bytes name = {0};

            if (type->kind == AVRO_MAP) {
                rc = take_bytes(d, &name);
                if (!rc && !dgf_utf8_valid(name))
                    rc = broken(d, "a name is not UTF-8");
                if (!rc)
                    dgf_mp_put_str(d->out, name);
            }
            if (!rc)
                rc = decode(d, type->types[0], depth);
            if (rc)
                return rc;
        }
    }
    if (dgf_buf_rc(d->out))
        return DGF_OK; /* told at the end */
    order = htobe32(n);
    memcpy(d->out->ptr + head + 1, &order, sizeof(order));
    return DGF_OK;
}

static enum dgf_rc decode_record(struct decoding *d, const struct type *type,
                                 unsigned depth)
{
    enum dgf_rc rc = DGF_OK;

    if (type->n > ITEMS_MAX - d->n_items)
        return broken(d, "a value has more than 100,000 items");
    d->n_items += type->n;
    dgf_mp_put_map(d->out, type->n);
    for (uint32_t i = 0; !rc && i < type->n; i++) {
        dgf_mp_put_str(d->out, dgf_bytes_str(type->names[i]));
        rc = decode(d, type->types[i], depth);
    }
    return rc;
}

static enum dgf_rc decode_choice(struct decoding *d, const struct type *type,
                                 unsigned depth)
{
    int64_t at;
    enum dgf_rc rc = take_long(d, &at);

    if (rc)
        return rc;
    if (at < 0 || at >= type->n)
        return broken(d, type->kind == AVRO_ENUM ? "a symbol is none of the schema's"
                                                 : "a branch is none of the schema's");
    if (type->kind == AVRO_UNION)
        return decode(d, type->types[at], depth);
    dgf_mp_put_str(d->out, dgf_bytes_str(type->names[at]));
    return DGF_OK;
}

static enum dgf_rc decode_number(struct decoding *d, enum kind kind)
{
    union {
        uint32_t u;
        float f;
    } narrow = {0};
    union {
        uint64_t u;
        double f;
    } wide = {0};
    int64_t number;
    enum dgf_rc rc;

    switch (kind) {
    case AVRO_FLOAT:
        narrow.u = dgf_rd_le32(d->rd);
        dgf_mp_put_double(d->out, (double)narrow.f);
        break;
    case AVRO_DOUBLE:
        wide.u = dgf_rd_le64(d->rd);
        dgf_mp_put_double(d->out, wide.f);
        break;
    default:
        rc = take_long(d, &number);
        if (rc)
            return rc;
        if (kind == AVRO_INT && (number < INT32_MIN || number > INT32_MAX))
            return broken(d, "an int is larger than one");
        dgf_mp_put_int(d->out, number);
    }
    return d->rd->bad ? broken(d, "it ends inside a value") : DGF_OK;
}

static enum dgf_rc decode_plain(struct decoding *d, const struct type *type)
{
    struct dgf_bytes text = {0};
    enum dgf_rc rc;
    uint8_t byte;

    switch (type->kind) {
    case AVRO_NULL:
        dgf_mp_put_nil(d->out);
        return DGF_OK;
    case AVRO_BOOLEAN:
        byte = dgf_rd_u8(d->rd);
        if (d->rd->bad || byte > 1)
            return broken(d, "a boolean is none");
        dgf_mp_put_bool(d->out, byte == 1);
        return DGF_OK;
    case AVRO_STRING:
    case AVRO_BYTES:
        rc = take_bytes(d, &text);
        if (!rc && type->kind == AVRO_STRING)
            put_text(d->out, text);
        else if (!rc)
            dgf_mp_put_bin(d->out, text);
        return rc;
    case AVRO_FIXED:
        text = dgf_rd_bytes(d->rd, type->n);
        if (d->rd->bad)
            return broken(d, "it ends inside a value");
        dgf_mp_put_bin(d->out, text);
        return DGF_OK;
    default:
        return decode_number(d, type->kind);
    }
}

static enum dgf_rc decode(struct decoding *d, uint32_t at, unsigned depth)
{
    const struct type *type = &d->schema->types[at];

    if (depth > DEPTH_MAX)
        return broken(d, "a value is nested more than 32 levels");
    if (++d->n_items > ITEMS_MAX)
        return broken(d, "a value has more than 100,000 items");
    switch (type->kind) {
    case AVRO_RECORD:
        return decode_record(d, type, depth + 1);
    case AVRO_ARRAY:
    case AVRO_MAP:
        return decode_items(d, type, depth + 1);
    case AVRO_ENUM:
    case AVRO_UNION:
        return decode_choice(d, type, depth + 1);
    default:
        return decode_plain(d, type);
    }
}

enum dgf_rc dgf_avro_decode(const struct dgf_avro_schema *schema, struct dgf_rd *rd,
                            struct dgf_buf *out, struct dgf_err *err)
{
    struct decoding d = {.schema = schema, .rd = rd, .out = out, .err = err};
    enum dgf_rc rc = decode(&d, schema->root, 0);

    if (!rc && dgf_buf_rc(out))
        return broken(&d, "a value is larger than an event may be");
    return rc;
}
