/* engine_show.c - messages and evidence.  No value gets into a message but
 * through the formatter (bus/mask.h). */
#include "engine_part.h"

#include <string.h>

#define PACK_DEPTH 32
#define UNKNOWN_TEXT "(unknown)"
#define ERROR_TEXT "(error)"
#define ABSENT_TEXT "(absent)"

/* ---- a value of the language as msgpack ---- */

static bool pack(struct dgf_cel_eval *eval, const struct dgf_cel_value *value,
                 struct dgf_buf *out, unsigned depth);

static bool pack_list(struct dgf_cel_eval *eval, const struct dgf_cel_list *list,
                      struct dgf_buf *out, unsigned depth)
{
    uint32_t n = list->ops->size(list, eval);

    dgf_mp_put_array(out, n);
    for (uint32_t i = 0; i < n; i++) {
        struct dgf_cel_value item = {.kind = DGF_CEL_NULL};

        list->ops->at(list, eval, i, &item);
        if (!pack(eval, &item, out, depth + 1))
            return false;
    }
    return true;
}

static bool pack_map(struct dgf_cel_eval *eval, const struct dgf_cel_map *map,
                     struct dgf_buf *out, unsigned depth)
{
    uint32_t n = map->ops->size(map, eval), done = 0;
    struct dgf_cel_value key, item;
    struct dgf_buf text;
    uint64_t at = 0;
    bool fine = true;

    dgf_buf_init(&text, DGF_POLICY_MESSAGE_MAX);
    dgf_mp_put_map(out, n);
    while (fine && done < n && map->ops->next(map, eval, &at, &key, &item)) {
        dgf_buf_clear(&text);
        dgf_cel_plain(&key,
                      &text); /* keys that are no texts become texts, as in JSON */
        dgf_mp_put_str(out, dgf_buf_bytes(&text));
        fine = pack(eval, &item, out, depth + 1);
        done++;
    }
    dgf_buf_release(&text);
    return fine && done == n;
}

static void pack_plain(const struct dgf_cel_value *value, bool decimal,
                       struct dgf_buf *out)
{
    struct dgf_buf text;

    dgf_buf_init(&text, DGF_POLICY_MESSAGE_MAX);
    dgf_cel_plain(value, &text);
    if (decimal)
        dgf_mp_put_decimal(out, dgf_buf_bytes(&text));
    else
        dgf_mp_put_str(out, dgf_buf_bytes(&text));
    dgf_buf_release(&text);
}

static void pack_duration(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    int64_t ns;

    if (__builtin_mul_overflow(value->i64, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, (int64_t)value->len, &ns))
        pack_plain(value, false, out);
    else
        dgf_mp_put_duration(out, 0, 0, ns);
}

static bool pack(struct dgf_cel_eval *eval, const struct dgf_cel_value *value,
                 struct dgf_buf *out, unsigned depth)
{
    if (depth > PACK_DEPTH)
        return false;
    switch (value->kind) {
    case DGF_CEL_NULL:
        dgf_mp_put_nil(out);
        return true;
    case DGF_CEL_BOOL:
        dgf_mp_put_bool(out, value->boolean);
        return true;
    case DGF_CEL_INT:
        dgf_mp_put_int(out, value->i64);
        return true;
    case DGF_CEL_UINT:
        dgf_mp_put_uint(out, value->u64);
        return true;
    case DGF_CEL_DOUBLE:
        dgf_mp_put_double(out, value->dbl);
        return true;
    case DGF_CEL_STRING:
        dgf_mp_put_str(out, dgf_cel_bytes_of(value));
        return true;
    case DGF_CEL_BYTES:
        dgf_mp_put_bin(out, dgf_cel_bytes_of(value));
        return true;
    case DGF_CEL_LIST:
        return pack_list(eval, value->list, out, depth);
    case DGF_CEL_MAP:
        return pack_map(eval, value->map, out, depth);
    case DGF_CEL_TIMESTAMP:
        dgf_mp_put_timestamp(out, value->i64, value->len);
        return true;
    case DGF_CEL_DURATION:
        pack_duration(value, out);
        return true;
    case DGF_CEL_DECIMAL:
        pack_plain(value, true, out);
        return true;
    case DGF_CEL_OPTIONAL:
        if (value->inner)
            return pack(eval, value->inner, out, depth + 1);
        dgf_mp_put_nil(out);
        return true;
    case DGF_CEL_TYPE:
    case DGF_CEL_OPAQUE:
        pack_plain(value, false, out);
        return true;
    default:
        return false;
    }
}

bool dgf_policy_pack(struct dgf_cel_eval *eval, const struct dgf_cel_value *value,
                     struct dgf_buf *out)
{
    return pack(eval, value, out, 0) && !dgf_buf_rc(out);
}

/* ---- classes of what is shown ---- */

static enum dgf_type field_type(const struct dgf_object *object, struct dgf_bytes field)
{
    int column = object ? dgf_object_column(object, field) : -1;

    return column < 0 ? DGF_TYPE_NONE : object->columns[column].type;
}

static enum dgf_class field_class(struct dgf_engine *engine, struct dgf_bytes field,
                                  struct dgf_bytes value)
{
    return dgf_class_in_force(dgf_binding_class(engine->binding, field),
                              field_type(engine->event->object, field), value);
}

static enum dgf_class stricter(enum dgf_class a, enum dgf_class b)
{
    return a > b ? a : b;
}

/* A computed text is as secret as the strictest field it was made of. */
static enum dgf_class computed_class(struct dgf_engine *engine,
                                     const struct dgf_cel_program *program)
{
    enum dgf_class class_ = DGF_CLASS_INTERNAL;
    const struct dgf_cel_use *uses;
    size_t n = dgf_cel_program_uses(program, &uses);

    for (size_t i = 0; i < n; i++) {
        bool before, after;
        struct dgf_bytes field, value;

        if (!uses[i].var)
            continue;
        before = strcmp(uses[i].var, "before") == 0;
        after = strcmp(uses[i].var, "after") == 0;
        if (strcmp(uses[i].var, "event") == 0 && strncmp(uses[i].path, "key", 3) == 0)
            class_ = stricter(class_, DGF_CLASS_CONFIDENTIAL);
        if (!before && !after)
            continue;
        field = dgf_bytes_of(uses[i].path, strcspn(uses[i].path, "."));
        if (field.len == 0)
            return DGF_CLASS_RESTRICTED; /* the whole row: any field may be in it */
        value = dgf_engine_field(engine->event, after, field);
        class_ = stricter(class_, field_class(engine, field, value));
    }
    return class_;
}

/* ---- parts of a message ---- */

static void add_value(struct dgf_engine *engine, enum dgf_class class_,
                      struct dgf_bytes value, struct dgf_buf *out)
{
    bool masked;

    dgf_mask_text(engine->masker, class_, value, out, &masked);
}

static bool is_unknown(struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    return dgf_mp_next(&mp, &token) == DGF_OK && token.kind == DGF_MP_EXT &&
           token.ext == DGF_EXT_UNAVAILABLE;
}

static void add_field(struct dgf_engine *engine, const struct dgf_policy_part *part,
                      struct dgf_buf *out)
{
    struct dgf_cel_value row;
    struct dgf_bytes value;

    dgf_engine_resolve(&engine->eval, part->after ? DGF_VAR_AFTER : DGF_VAR_BEFORE,
                       &row);
    if (row.kind == DGF_CEL_UNKNOWN) {
        dgf_buf_add_str(out, UNKNOWN_TEXT);
        return;
    }
    if (row.kind == DGF_CEL_NULL) {
        dgf_buf_add_str(out, "null");
        return;
    }
    value = dgf_engine_field(engine->event, part->after, part->field);
    if (value.len == 0)
        dgf_buf_add_str(out, ABSENT_TEXT);
    else if (is_unknown(value))
        dgf_buf_add_str(out, UNKNOWN_TEXT);
    else
        add_value(engine, field_class(engine, part->field, value), value, out);
}

struct key_text {
    struct dgf_engine *engine;
    struct dgf_json json;
    struct dgf_bytes value; /* of the only field so far */
    enum dgf_class class_;
    unsigned n;
};

static enum dgf_class key_class(struct key_text *key, struct dgf_bytes name,
                                struct dgf_bytes value)
{
    return field_class(key->engine, name, value);
}

static void note_key(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                     int column)
{
    struct key_text *key = ctx;

    (void)column;
    key->value = value;
    key->class_ = key_class(key, name, value);
    key->n++;
}

static void add_key_json(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                         int column)
{
    struct key_text *key = ctx;
    bool masked;

    (void)column;
    dgf_json_key_bytes(&key->json, name);
    dgf_mask_json(key->engine->masker, key_class(key, name, value), value, &key->json,
                  &masked);
}

static void add_key(struct dgf_engine *engine, struct dgf_buf *out)
{
    struct key_text key = {.engine = engine, .json = dgf_json_of(out)};

    dgf_event_key(engine->event, note_key, &key);
    if (key.n == 1) {
        add_value(engine, key.class_, key.value, out);
        return;
    }
    dgf_json_begin_object(&key.json);
    dgf_event_key(engine->event, add_key_json, &key);
    dgf_json_end_object(&key.json);
}

static void add_computed(struct dgf_engine *engine,
                         const struct dgf_cel_program *program, struct dgf_buf *out)
{
    struct dgf_cel_value value;

    engine->eval.budget = DGF_CEL_BUDGET;
    value = dgf_cel_run(program, &engine->eval);
    dgf_buf_clear(&engine->scratch);
    if (value.kind == DGF_CEL_UNKNOWN)
        dgf_buf_add_str(out, UNKNOWN_TEXT);
    else if (!dgf_policy_pack(&engine->eval, &value, &engine->scratch))
        dgf_buf_add_str(out, ERROR_TEXT);
    else
        add_value(engine, computed_class(engine, program),
                  dgf_buf_bytes(&engine->scratch), out);
}

struct dgf_bytes dgf_engine_keep(struct dgf_engine *engine, struct dgf_bytes text)
{
    uint8_t *copy = dgf_arena_alloc(&engine->shown, text.len ? text.len : 1);

    if (!copy) {
        engine->nomem = true;
        return (struct dgf_bytes){NULL, 0};
    }
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    return dgf_bytes_of(copy, text.len);
}

/* At most max bytes, never half a character. */
static size_t cut(struct dgf_bytes text, size_t max)
{
    if (text.len <= max)
        return text.len;
    while (max > 0 && (text.ptr[max] & 0xc0) == 0x80)
        max--;
    return max;
}

struct dgf_bytes dgf_engine_message(struct dgf_engine *engine,
                                    const struct dgf_candidate *candidate,
                                    bool *ret_truncated)
{
    const struct dgf_policy *policy = candidate->policy;
    struct dgf_buf *out = &engine->text;
    struct dgf_bytes text;

    dgf_buf_clear(out);
    dgf_engine_start(engine, candidate->env);
    for (size_t i = 0; i < policy->n_parts && out->len <= DGF_POLICY_MESSAGE_MAX; i++) {
        const struct dgf_policy_part *part = &policy->parts[i];

        if (part->literal.len > 0)
            dgf_buf_add_bytes(out, part->literal);
        else if (part->is_key)
            add_key(engine, out);
        else if (part->field.len > 0)
            add_field(engine, part, out);
        else if (candidate->code->parts[i])
            add_computed(engine, candidate->code->parts[i], out);
        else
            dgf_buf_add_str(out, ERROR_TEXT);
    }
    engine->nomem |= dgf_buf_rc(out) != DGF_OK;
    text = dgf_buf_bytes(out);
    *ret_truncated = text.len > DGF_POLICY_MESSAGE_MAX;
    text.len = cut(text, DGF_POLICY_MESSAGE_MAX);
    return dgf_engine_keep(engine, text);
}

/* ---- evidence ---- */

static struct dgf_bytes below(struct dgf_bytes value, struct dgf_bytes path)
{
    while (value.len > 0 && path.len > 0) {
        const uint8_t *dot = memchr(path.ptr, '.', path.len);
        size_t len = dot ? (size_t)(dot - path.ptr) : path.len;

        if (dgf_mp_find(value, dgf_bytes_of(path.ptr, len), &value))
            return (struct dgf_bytes){NULL, 0};
        path = dot ? dgf_bytes_of(dot + 1, path.len - len - 1) : dgf_bytes_of(NULL, 0);
    }
    return value;
}

static struct dgf_bytes show_value(const struct dgf_event *event,
                                   const struct dgf_policy_show *show)
{
    bool after =
        show->section == DGF_SECTION_AFTER ||
        (show->section < 0 && dgf_event_section_is_map(event, DGF_SECTION_AFTER));

    return below(dgf_engine_field(event, after, show->field), show->rest);
}

const struct dgf_evidence *dgf_engine_evidence(struct dgf_engine *engine,
                                               const struct dgf_policy *policy,
                                               size_t *ret_n)
{
    struct dgf_evidence *list;
    size_t n = 0;

    *ret_n = 0;
    if (policy->n_shows == 0)
        return NULL;
    list = dgf_arena_alloc(&engine->shown, policy->n_shows * sizeof(*list));
    engine->nomem |= !list;
    for (size_t i = 0; list && i < policy->n_shows; i++) {
        const struct dgf_policy_show *show = &policy->shows[i];
        struct dgf_bytes value = show_value(engine->event, show);
        enum dgf_class class_ = dgf_binding_class(engine->binding, show->field);

        if (value.len == 0)
            continue;
        /* a part of a document is classified by its own path as well */
        if (show->rest.len > 0) {
            struct dgf_bytes path = {
                show->field.ptr,
                (size_t)(show->rest.ptr + show->rest.len - show->field.ptr)};

            class_ = stricter(class_, dgf_binding_class(engine->binding, path));
        }
        list[n++] = (struct dgf_evidence){
            show->name, value, class_,
            show->rest.len > 0 ? DGF_TYPE_NONE
                               : field_type(engine->event->object, show->field)};
    }
    *ret_n = n;
    return list;
}
