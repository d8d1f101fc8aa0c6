#include "redis_entry.h"

#include "base/json.h"
#include "base/parse.h"

#define JSON_DEPTH_MAX 64
#define FEW_FIELDS 16 /* are compared with each other; more are hashed */

bool dgf_redis_id_parse(struct dgf_bytes text, struct dgf_redis_id *ret)
{
    const uint8_t *dash = text.len ? memchr(text.ptr, '-', text.len) : NULL;
    struct dgf_redis_id id;
    size_t at;

    if (!dash)
        return false;
    at = (size_t)(dash - text.ptr);
    if (!dgf_parse_u64(dgf_bytes_of(text.ptr, at), &id.ms) ||
        !dgf_parse_u64(dgf_bytes_of(dash + 1, text.len - at - 1), &id.seq))
        return false;
    *ret = id;
    return true;
}

/* Every event has such a text: no printf.  Answers its end. */
static char *put_u64(char *to, uint64_t n)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    memcpy(to, digits + i, sizeof(digits) - i);
    return to + (sizeof(digits) - i);
}

void dgf_redis_id_text(struct dgf_redis_id id, char ret[DGF_REDIS_ID_TEXT])
{
    char *at = put_u64(ret, id.ms);

    *at++ = '-';
    *put_u64(at, id.seq) = '\0';
}

struct dgf_redis_id dgf_redis_id_before(struct dgf_redis_id id)
{
    if (id.seq > 0)
        return (struct dgf_redis_id){id.ms, id.seq - 1};
    return id.ms > 0 ? (struct dgf_redis_id){id.ms - 1, UINT64_MAX} : id;
}

struct dgf_redis_id dgf_redis_id_after(struct dgf_redis_id id)
{
    if (id.seq < UINT64_MAX)
        return (struct dgf_redis_id){id.ms, id.seq + 1};
    return id.ms < UINT64_MAX ? (struct dgf_redis_id){id.ms + 1, 0} : id;
}

/* ---- the outside ---- */

enum dgf_rc dgf_redis_entry_read(struct dgf_bytes item, bool cut,
                                 struct dgf_redis_entry *ret, const char **why)
{
    struct dgf_resp resp = dgf_resp_of(item);
    struct dgf_resp_token token;

    *why = "no entry of a stream";
    *ret = (struct dgf_redis_entry){.n_fields = 0};
    if (dgf_resp_next(&resp, &token) || token.kind != DGF_RESP_ARRAY ||
        token.number != 2 || dgf_resp_next(&resp, &token) ||
        token.kind != DGF_RESP_BULK || !dgf_redis_id_parse(token.bytes, &ret->id))
        return DGF_BAD_DATA;
    if (cut)
        return DGF_OK;
    if (dgf_resp_next(&resp, &token))
        return DGF_BAD_DATA;
    if (token.kind == DGF_RESP_NIL) {
        ret->deleted = true;
        return DGF_OK;
    }
    if (token.kind != DGF_RESP_ARRAY || token.number % 2)
        return DGF_BAD_DATA;
    ret->n_fields = (uint32_t)(token.number / 2);
    ret->fields = dgf_bytes_of(resp.ptr, (size_t)(resp.end - resp.ptr));
    return DGF_OK;
}

/* ---- fields ---- */

struct field {
    struct dgf_bytes name, value;
};

static bool next_field(struct dgf_resp *resp, struct field *ret)
{
    struct dgf_resp_token name, value;

    if (dgf_resp_next(resp, &name) || name.kind != DGF_RESP_BULK ||
        dgf_resp_next(resp, &value) || value.kind != DGF_RESP_BULK)
        return false;
    *ret = (struct field){name.bytes, value.bytes};
    return true;
}

static bool is(struct dgf_bytes name, const char *wanted)
{
    return wanted && dgf_bytes_eq(name, dgf_bytes_str(wanted));
}

static bool find_field(const struct dgf_redis_entry *entry, const char *name,
                       struct dgf_bytes *ret)
{
    struct dgf_resp resp = dgf_resp_of(entry->fields);
    struct field field;

    for (uint32_t i = 0; name && i < entry->n_fields; i++) {
        if (!next_field(&resp, &field))
            return false;
        if (is(field.name, name)) {
            *ret = field.value;
            return true;
        }
    }
    return false;
}

/* NULL: a good name for the n-th field, after those seen. */
static const char *why_not_name(struct dgf_bytes name, const struct dgf_bytes *seen,
                                uint32_t n)
{
    if (!dgf_utf8_valid(name))
        return "the name of a field is not UTF-8";
    for (uint32_t i = 0; i < n; i++)
        if (dgf_bytes_eq(seen[i], name))
            return "a field stands twice";
    return NULL;
}

/* Names are text, each stands once; few are compared, many are hashed. */
static enum dgf_rc check_names(const struct dgf_redis_entry *entry, const char **why)
{
    struct dgf_resp resp = dgf_resp_of(entry->fields);
    struct dgf_bytes seen[FEW_FIELDS];
    struct dgf_map map;
    struct field field;
    enum dgf_rc rc = DGF_OK;
    void *old = NULL;

    *why = NULL;
    if (entry->n_fields > DGF_REDIS_FIELDS_MAX) {
        *why = "too many fields";
        return DGF_BAD_DATA;
    }
    dgf_map_init(&map);
    for (uint32_t i = 0; i < entry->n_fields && !rc && !*why; i++) {
        if (!next_field(&resp, &field))
            *why = "fields are damaged";
        else if (entry->n_fields > FEW_FIELDS) {
            *why = why_not_name(field.name, seen, 0);
            rc = dgf_map_put(&map, field.name, &map, &old);
        } else {
            *why = why_not_name(field.name, seen, i);
            seen[i] = field.name;
        }
        if (old)
            *why = "a field stands twice";
    }
    dgf_map_release(&map, NULL);
    if (rc)
        return rc;
    return *why ? DGF_BAD_DATA : DGF_OK;
}

/* ---- values ---- */

static void put_json(struct dgf_buf *buf, const json_t *json)
{
    const char *name;
    json_t *item;
    size_t i;

    switch (json_typeof(json)) {
    case JSON_OBJECT:
        dgf_mp_put_map(buf, (uint32_t)json_object_size(json));
        json_object_foreach((json_t *)(uintptr_t)json, name, item)
        {
            dgf_mp_put_str(buf, dgf_bytes_str(name));
            put_json(buf, item);
        }
        break;
    case JSON_ARRAY:
        dgf_mp_put_array(buf, (uint32_t)json_array_size(json));
        json_array_foreach(json, i, item) put_json(buf, item);
        break;
    case JSON_STRING:
        dgf_mp_put_str(buf,
                       dgf_bytes_of(json_string_value(json), json_string_length(json)));
        break;
    case JSON_INTEGER:
        dgf_mp_put_int(buf, json_integer_value(json));
        break;
    case JSON_REAL:
        dgf_mp_put_double(buf, json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        dgf_mp_put_bool(buf, json_is_true(json));
        break;
    default:
        dgf_mp_put_nil(buf);
    }
}

static enum dgf_rc put_decoded_json(struct dgf_bytes value, struct dgf_buf *buf,
                                    const char **why)
{
    DGF_CLEANUP_JSON json_t *json = NULL;

    if (dgf_json_parse(value, value.len, JSON_DEPTH_MAX, &json, NULL)) {
        *why = "a field that decode calls json is none";
        return DGF_BAD_DATA;
    }
    put_json(buf, json);
    return DGF_OK;
}

static const char *codec_of(const struct dgf_str_map *decode, struct dgf_bytes name)
{
    for (size_t i = 0; i < decode->n; i++)
        if (is(name, decode->keys[i]))
            return decode->values[i];
    return NULL;
}

static enum dgf_rc put_value(const struct dgf_str_map *decode,
                             const struct field *field, struct dgf_buf *buf,
                             const char **why)
{
    const char *codec = codec_of(decode, field->name);

    if (codec && strcmp(codec, "json") == 0)
        return put_decoded_json(field->value, buf, why);
    if (codec) {
        if (dgf_mp_check(field->value)) {
            *why = "a field that decode calls msgpack is none";
            return DGF_BAD_DATA;
        }
        dgf_buf_add_bytes(buf, field->value);
    } else if (dgf_utf8_valid(field->value)) {
        dgf_mp_put_str(buf, field->value);
    } else {
        dgf_mp_put_bin(buf, field->value);
    }
    return DGF_OK;
}

/* ---- the whole ---- */

enum dgf_rc dgf_redis_entry_sort(const struct dgf_redis_map *map,
                                 const struct dgf_redis_entry *entry,
                                 struct dgf_redis_sort *ret, const char **why)
{
    struct dgf_bytes word;
    int op = -1;

    *ret = (struct dgf_redis_sort){.op = DGF_OP_INSERT};
    if (map->object) {
        if (!find_field(entry, map->object, &ret->object) || ret->object.len == 0 ||
            ret->object.len > DGF_REDIS_NAME_MAX || !dgf_utf8_valid(ret->object) ||
            memchr(ret->object.ptr, 0, ret->object.len)) {
            *why = "the field that names the object is missing, or is no name";
            return DGF_BAD_DATA;
        }
    }
    if (!map->op)
        return DGF_OK;
    if (!find_field(entry, map->op, &word)) {
        *why = "the field that names the operation is missing";
        return DGF_BAD_DATA;
    }
    for (size_t i = 0; i < map->ops.n && op < 0; i++)
        if (is(word, map->ops.keys[i]))
            op = dgf_op_of(dgf_bytes_str(map->ops.values[i]));
    if (op < 0)
        op = dgf_op_of(word);
    if (op <= DGF_OP_NONE) {
        *why = "the operation has no word of ours; see 'map.ops'";
        return DGF_BAD_DATA;
    }
    ret->op = (enum dgf_op)op;
    return DGF_OK;
}

static bool is_key(const struct dgf_redis_map *map, struct dgf_bytes name)
{
    for (size_t i = 0; i < map->key.n; i++)
        if (is(name, map->key.list[i]))
            return true;
    return false;
}

/* Of a mapped row: its fields whose names are key. */
static void put_key_of_row(const struct dgf_redis_map *map, struct dgf_bytes row,
                           struct dgf_event_builder *builder, uint32_t *n)
{
    struct dgf_bytes value;

    for (size_t i = 0; i < map->key.n; i++)
        if (dgf_mp_find(row, dgf_bytes_str(map->key.list[i]), &value) == DGF_OK) {
            dgf_buf_add_bytes(dgf_event_named(builder, dgf_bytes_str(map->key.list[i])),
                              value);
            ++*n;
        }
}

static bool is_map(struct dgf_bytes value)
{
    return value.len && ((value.ptr[0] & 0xf0) == 0x80 || value.ptr[0] == 0xde ||
                         value.ptr[0] == 0xdf);
}

/* Without `key`, and of an entry that lacks it, the entry's id is the key. */
static enum dgf_rc put_key(const struct dgf_redis_map *map,
                           const struct dgf_str_map *decode,
                           const struct dgf_redis_entry *entry, struct dgf_bytes before,
                           struct dgf_bytes after, struct dgf_event_builder *builder,
                           const char **why)
{
    struct dgf_resp resp = dgf_resp_of(entry->fields);
    char text[DGF_REDIS_ID_TEXT];
    struct field field;
    uint32_t n = 0;
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(builder, DGF_SECTION_KEY);
    for (uint32_t i = 0; map->key.n && i < entry->n_fields && !rc; i++)
        if (next_field(&resp, &field) && is_key(map, field.name)) {
            rc = put_value(decode, &field, dgf_event_named(builder, field.name), why);
            n++;
        }
    if (!rc && n == 0 && (is_map(after) || is_map(before)))
        put_key_of_row(map, is_map(after) ? after : before, builder, &n);
    if (!rc && map->key.n && n < map->key.n) {
        *why = "a field of the key is missing";
        rc = DGF_BAD_DATA;
    }
    if (!rc && n == 0) {
        dgf_redis_id_text(entry->id, text);
        dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("id")), dgf_bytes_str(text));
    }
    dgf_event_section_end(builder);
    return rc;
}

/* A mapped row: a map, or nothing.  Texts that are JSON need no `decode`. */
static enum dgf_rc read_row(const struct dgf_str_map *decode, const char *name,
                            const struct dgf_redis_entry *entry, struct dgf_buf *ret,
                            const char **why)
{
    struct field field = {.name = dgf_bytes_str(name)};
    enum dgf_rc rc;

    if (!find_field(entry, name, &field.value))
        return DGF_OK;
    if (field.value.len == 0)
        return DGF_OK;
    rc = codec_of(decode, field.name) ? put_value(decode, &field, ret, why)
                                      : put_decoded_json(field.value, ret, why);
    if (!rc && !is_map(dgf_buf_bytes(ret)) && !(ret->len == 1 && ret->ptr[0] == 0xc0)) {
        *why = "a field that is mapped to before or after is no map";
        rc = DGF_BAD_DATA;
    }
    return rc;
}

/* Field by field: names are text and stand once, whoever packed it. */
static enum dgf_rc put_map(struct dgf_event_builder *builder, enum dgf_section section,
                           struct dgf_bytes row, const char **why)
{
    struct dgf_mp mp = dgf_mp_of(row);
    struct dgf_mp_token head, name;
    struct dgf_bytes value;
    struct dgf_map seen;
    void *old = NULL;
    enum dgf_rc rc = dgf_mp_next(&mp, &head);

    dgf_map_init(&seen);
    dgf_event_section(builder, section);
    for (uint32_t i = 0; !rc && i < head.n; i++) {
        rc = dgf_mp_next(&mp, &name);
        if (!rc)
            rc = dgf_mp_value(&mp, &value);
        if (!rc && name.kind == DGF_MP_STR && head.n > 1)
            rc = dgf_map_put(&seen, name.bytes, &seen, &old);
        if (!rc && (name.kind != DGF_MP_STR || old)) {
            *why = "a mapped row has a name that is no text, or stands twice";
            rc = DGF_BAD_DATA;
        }
        if (!rc)
            dgf_buf_add_bytes(dgf_event_named(builder, name.bytes), value);
    }
    dgf_event_section_end(builder);
    dgf_map_release(&seen, NULL);
    return rc;
}

static enum dgf_rc put_row(struct dgf_event_builder *builder, enum dgf_section section,
                           struct dgf_bytes row, bool known, const char **why)
{
    if (is_map(row))
        return put_map(builder, section, row, why);
    if (row.len || known)
        dgf_event_section_nil(builder, section);
    else
        dgf_event_section_unavailable(builder, section, DGF_UNAVAILABLE_NOT_SENT);
    return DGF_OK;
}

/* All fields but the ones that are mapped rows. */
static enum dgf_rc put_fields(const struct dgf_redis_map *map,
                              const struct dgf_str_map *decode,
                              const struct dgf_redis_entry *entry,
                              enum dgf_section section,
                              struct dgf_event_builder *builder, const char **why)
{
    struct dgf_resp resp = dgf_resp_of(entry->fields);
    struct field field;
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(builder, section);
    for (uint32_t i = 0; i < entry->n_fields && !rc; i++)
        if (next_field(&resp, &field) && !is(field.name, map->before) &&
            !is(field.name, map->after))
            rc = put_value(decode, &field, dgf_event_named(builder, field.name), why);
    dgf_event_section_end(builder);
    return rc;
}

static enum dgf_rc build(const struct dgf_redis_map *map,
                         const struct dgf_str_map *decode,
                         const struct dgf_redis_entry *entry, enum dgf_op op,
                         struct dgf_buf *before, struct dgf_buf *after,
                         struct dgf_event_builder *builder, const char **why)
{
    enum dgf_rc rc = DGF_OK;

    if (map->before)
        rc = read_row(decode, map->before, entry, before, why);
    if (!rc && map->after)
        rc = read_row(decode, map->after, entry, after, why);
    if (!rc)
        rc = put_key(map, decode, entry, dgf_buf_bytes(before), dgf_buf_bytes(after),
                     builder, why);
    if (rc)
        return rc;
    /* Of a deletion the entry describes what was there. */
    if (op == DGF_OP_DELETE && !map->before && !map->after) {
        rc = put_fields(map, decode, entry, DGF_SECTION_BEFORE, builder, why);
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
        return rc;
    }
    rc = put_row(builder, DGF_SECTION_BEFORE, dgf_buf_bytes(before),
                 op == DGF_OP_INSERT, why);
    if (rc)
        return rc;
    if (!map->after)
        return put_fields(map, decode, entry, DGF_SECTION_AFTER, builder, why);
    rc = put_row(builder, DGF_SECTION_AFTER, dgf_buf_bytes(after), op == DGF_OP_DELETE,
                 why);
    return rc ? rc : put_fields(map, decode, entry, DGF_SECTION_EXTRA, builder, why);
}

/* Nothing is mapped: names are checked and values put in one pass. */
static enum dgf_rc build_plain(const struct dgf_str_map *decode,
                               const struct dgf_redis_entry *entry,
                               struct dgf_event_builder *builder, const char **why)
{
    struct dgf_resp resp = dgf_resp_of(entry->fields);
    struct dgf_bytes seen[FEW_FIELDS];
    char text[DGF_REDIS_ID_TEXT];
    struct field field;
    enum dgf_rc rc = DGF_OK;

    dgf_redis_id_text(entry->id, text);
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("id")), dgf_bytes_str(text));
    dgf_event_section_end(builder);
    dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    dgf_event_section(builder, DGF_SECTION_AFTER);
    for (uint32_t i = 0; i < entry->n_fields && !rc; i++) {
        *why = next_field(&resp, &field) ? why_not_name(field.name, seen, i)
                                         : "fields are damaged";
        if (*why)
            return DGF_BAD_DATA;
        seen[i] = field.name;
        rc = put_value(decode, &field, dgf_event_named(builder, field.name), why);
    }
    dgf_event_section_end(builder);
    return rc;
}

enum dgf_rc dgf_redis_entry_build(const struct dgf_redis_map *map,
                                  const struct dgf_str_map *decode,
                                  const struct dgf_redis_entry *entry, enum dgf_op op,
                                  struct dgf_object *object,
                                  struct dgf_event_builder *builder, const char **why)
{
    struct dgf_buf before, after;
    enum dgf_rc rc;

    *why = NULL;
    if (op == DGF_OP_INSERT && !map->before && !map->after && map->key.n == 0 &&
        entry->n_fields <= FEW_FIELDS) {
        dgf_event_begin(builder, object, DGF_KIND_CHANGE, op);
        return build_plain(decode, entry, builder, why);
    }
    rc = check_names(entry, why);
    if (rc)
        return rc;
    dgf_buf_init(&before, builder->body.max);
    dgf_buf_init(&after, builder->body.max);
    dgf_event_begin(builder, object, DGF_KIND_CHANGE, op);
    rc = build(map, decode, entry, op, &before, &after, builder, why);
    if (!rc && (dgf_buf_rc(&before) || dgf_buf_rc(&after)))
        rc = DGF_NOMEM;
    dgf_buf_release(&before);
    dgf_buf_release(&after);
    return rc;
}
