/* engine_vars.c - event, actor and classes as an expression sees them. */
#include "engine_part.h"

#include <string.h>

/* ---- event ---- */

static const char *const event_names[DGF_EF_N] = {
    "id",   "source", "type",   "kind", "object",   "op",   "time",
    "seen", "key",    "labels", "tx",   "snapshot", "cause"};

struct key_fields {
    struct dgf_engine *engine;
    struct dgf_cel_value *pairs;
    uint32_t n, cap;
};

static void add_key_field(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                          int column)
{
    struct key_fields *key = ctx;

    (void)column;
    if (key->n == key->cap) {
        uint32_t cap = key->cap ? key->cap * 2 : 4;
        struct dgf_cel_value *pairs =
            dgf_arena_alloc(&key->engine->arena, 2 * (size_t)cap * sizeof(*pairs));

        if (!pairs)
            return;
        if (key->n > 0)
            memcpy(pairs, key->pairs, 2 * (size_t)key->n * sizeof(*pairs));
        key->pairs = pairs;
        key->cap = cap;
    }
    key->pairs[2 * key->n] = dgf_cel_string(name);
    dgf_engine_value(key->engine, value, NULL, &key->pairs[2 * key->n + 1]);
    key->n++;
}

static struct dgf_cel_value key_value(struct dgf_engine *engine)
{
    struct key_fields key = {.engine = engine};
    const struct dgf_cel_map *map;

    dgf_event_key(engine->event, add_key_field, &key);
    map = dgf_cel_map_new(&engine->arena, key.pairs, key.n);
    return map ? dgf_cel_map_of(map) : dgf_cel_unknown("event.key", 0);
}

static struct dgf_cel_value text_value(const char *text)
{
    return dgf_cel_string(dgf_bytes_str(text ? text : ""));
}

static struct dgf_cel_value id_value(struct dgf_engine *engine)
{
    char *text = dgf_arena_alloc(&engine->arena, DGF_ID_TEXT_LEN + 1);

    if (!text)
        return text_value("");
    dgf_id_text(&engine->event->id, text);
    return text_value(text);
}

static struct dgf_cel_value labels_value(struct dgf_engine *engine)
{
    const struct dgf_event *event = engine->event;

    if (dgf_event_section_is_map(event, DGF_SECTION_LABELS))
        return dgf_cel_of_msgpack(&engine->arena, event->sections[DGF_SECTION_LABELS]);
    return engine->binding->labels;
}

static const char *type_text(const struct dgf_event *event)
{
    if (event->object && event->object->source_type)
        return event->object->source_type;
    return event->source && event->source->type ? event->source->type->name : "";
}

static void event_field(struct dgf_engine *engine, int field, struct dgf_cel_value *ret)
{
    const struct dgf_event *event = engine->event;

    switch (field) {
    case DGF_EF_ID:
        *ret = id_value(engine);
        break;
    case DGF_EF_SOURCE:
        *ret = text_value(event->source ? event->source->name : "");
        break;
    case DGF_EF_TYPE:
        *ret = text_value(type_text(event));
        break;
    case DGF_EF_KIND:
        *ret = text_value(dgf_event_kind_text((enum dgf_event_kind)event->kind));
        break;
    case DGF_EF_OBJECT:
        *ret = text_value(event->object ? event->object->text : "");
        break;
    case DGF_EF_OP:
        *ret = text_value(dgf_op_text((enum dgf_op)event->op));
        break;
    case DGF_EF_TIME:
        *ret = dgf_cel_timestamp_ns(event->commit_ns);
        break;
    case DGF_EF_SEEN:
        *ret = dgf_cel_timestamp_ns(event->seen_ns);
        break;
    case DGF_EF_KEY:
        *ret = key_value(engine);
        break;
    case DGF_EF_LABELS:
        *ret = labels_value(engine);
        break;
    case DGF_EF_TX:
        *ret = dgf_cel_map_of(&engine->tx_map.base);
        break;
    case DGF_EF_SNAPSHOT:
        *ret = dgf_cel_bool(event->snapshot);
        break;
    default:
        *ret = text_value(dgf_cause_text((enum dgf_cause)event->cause));
    }
}

static int find_name(const char *const *names, int n, struct dgf_bytes name)
{
    for (int i = 0; i < n; i++)
        if (dgf_bytes_eq(dgf_bytes_str(names[i]), name))
            return i;
    return -1;
}

static uint32_t event_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    (void)map;
    (void)eval;
    return DGF_EF_N;
}

static bool event_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                      const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    int field = name->id >= 0 ? name->id : find_name(event_names, DGF_EF_N, name->text);

    (void)eval;
    if (field < 0)
        return false;
    event_field(((const struct dgf_engine_map *)map)->engine, field, ret);
    return true;
}

static bool event_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                       uint64_t *at, struct dgf_cel_value *ret_key,
                       struct dgf_cel_value *ret_value)
{
    (void)eval;
    if (*at >= DGF_EF_N)
        return false;
    *ret_key = text_value(event_names[*at]);
    if (ret_value)
        event_field(((const struct dgf_engine_map *)map)->engine, (int)*at, ret_value);
    ++*at;
    return true;
}

static const struct dgf_cel_map_ops event_ops = {event_size, event_get, NULL,
                                                 event_next};

/* ---- event.tx ---- */

static const char *const tx_names[] = {"id", "n"};

static void tx_field(struct dgf_engine *engine, int field, struct dgf_cel_value *ret)
{
    const struct dgf_event *event = engine->event;

    if (field == 1)
        *ret = dgf_cel_int((int64_t)event->tx_n);
    else
        *ret = event->tx.len > 0 ? dgf_cel_string(event->tx) : dgf_cel_null();
}

static uint32_t tx_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    (void)map;
    (void)eval;
    return 2;
}

static bool tx_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                   const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    int field = find_name(tx_names, 2, name->text);

    (void)eval;
    if (field >= 0)
        tx_field(((const struct dgf_engine_map *)map)->engine, field, ret);
    return field >= 0;
}

static bool tx_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                    uint64_t *at, struct dgf_cel_value *ret_key,
                    struct dgf_cel_value *ret_value)
{
    (void)eval;
    if (*at >= 2)
        return false;
    *ret_key = text_value(tx_names[*at]);
    if (ret_value)
        tx_field(((const struct dgf_engine_map *)map)->engine, (int)*at, ret_value);
    ++*at;
    return true;
}

static const struct dgf_cel_map_ops tx_ops = {tx_size, tx_get, NULL, tx_next};

/* ---- actor ---- */

static const char *const actor_names[] = {"name", "app", "address", "how", "sure"};
#define N_ACTOR 5

/* Who acted is known, but not everything about them: that is null. */
static void actor_field(struct dgf_engine *engine, struct dgf_bytes name,
                        struct dgf_cel_value *ret)
{
    struct dgf_bytes value = dgf_event_field(engine->event, DGF_SECTION_ACTOR, name);

    if (value.len > 0)
        dgf_engine_value(engine, value, "actor", ret);
    else
        *ret = dgf_cel_null();
}

static uint32_t actor_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    (void)map;
    (void)eval;
    return N_ACTOR;
}

static bool actor_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                      const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    (void)eval;
    if (find_name(actor_names, N_ACTOR, name->text) < 0)
        return false;
    actor_field(((const struct dgf_engine_map *)map)->engine, name->text, ret);
    return true;
}

static bool actor_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                       uint64_t *at, struct dgf_cel_value *ret_key,
                       struct dgf_cel_value *ret_value)
{
    (void)eval;
    if (*at >= N_ACTOR)
        return false;
    *ret_key = text_value(actor_names[*at]);
    if (ret_value)
        actor_field(((const struct dgf_engine_map *)map)->engine,
                    dgf_bytes_str(actor_names[*at]), ret_value);
    ++*at;
    return true;
}

static const struct dgf_cel_map_ops actor_ops = {actor_size, actor_get, NULL,
                                                 actor_next};

/* ---- classes: fields nobody classified are not in it ---- */

static bool next_class(struct dgf_engine *engine, uint64_t *at,
                       struct dgf_bytes *ret_name, enum dgf_class *ret_class)
{
    const struct dgf_object *object = engine->binding->object;
    enum dgf_section section =
        dgf_event_section_is_map(engine->event, DGF_SECTION_AFTER) ? DGF_SECTION_AFTER
                                                                   : DGF_SECTION_BEFORE;
    struct dgf_bytes value;

    for (;;) {
        if (object->n_columns > 0) {
            if (*at >= object->n_columns)
                return false;
            *ret_name =
                dgf_bytes_of(object->columns[*at].name, object->columns[*at].name_len);
            ++*at;
        } else if (engine->event->sections[section].len == 0 ||
                   !dgf_engine_next(engine, section, at, ret_name, &value)) {
            return false;
        }
        *ret_class = dgf_binding_class(engine->binding, *ret_name);
        if (*ret_class != DGF_CLASS_NONE)
            return true;
    }
}

static uint32_t classes_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    struct dgf_bytes name;
    enum dgf_class class_;
    uint64_t at = 0;
    uint32_t n = 0;

    (void)eval;
    while (
        next_class(((const struct dgf_engine_map *)map)->engine, &at, &name, &class_))
        n++;
    return n;
}

static bool classes_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                        const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    enum dgf_class class_ = dgf_binding_class(
        ((const struct dgf_engine_map *)map)->engine->binding, name->text);

    (void)eval;
    if (class_ == DGF_CLASS_NONE)
        return false;
    *ret = text_value(dgf_class_text(class_));
    return true;
}

static bool classes_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                         uint64_t *at, struct dgf_cel_value *ret_key,
                         struct dgf_cel_value *ret_value)
{
    struct dgf_bytes name;
    enum dgf_class class_;

    (void)eval;
    if (!next_class(((const struct dgf_engine_map *)map)->engine, at, &name, &class_))
        return false;
    *ret_key = dgf_cel_string(name);
    if (ret_value)
        *ret_value = text_value(dgf_class_text(class_));
    return true;
}

static const struct dgf_cel_map_ops classes_ops = {classes_size, classes_get, NULL,
                                                   classes_next};

/* ---- all of them ---- */

bool dgf_engine_resolve(struct dgf_cel_eval *eval, unsigned slot,
                        struct dgf_cel_value *ret)
{
    struct dgf_engine *engine = eval->host;

    switch (slot) {
    case DGF_VAR_EVENT:
        *ret = dgf_cel_map_of(&engine->event_map.base);
        return true;
    case DGF_VAR_BEFORE:
    case DGF_VAR_AFTER:
        dgf_engine_row(engine, slot == DGF_VAR_AFTER, ret);
        return true;
    case DGF_VAR_CHANGED:
        dgf_engine_changed(engine, ret);
        return true;
    case DGF_VAR_ACTOR:
        *ret = dgf_event_section_is_map(engine->event, DGF_SECTION_ACTOR)
                   ? dgf_cel_map_of(&engine->actor_map.base)
                   : dgf_cel_unknown("actor", DGF_UNAVAILABLE_NOT_SENT);
        return true;
    case DGF_VAR_CLASSES:
        *ret = dgf_cel_map_of(&engine->classes_map.base);
        return true;
    default:
        return false;
    }
}

void dgf_engine_vars_init(struct dgf_engine *engine)
{
    dgf_engine_rows_init(engine);
    engine->event_map = (struct dgf_engine_map){{&event_ops}, engine};
    engine->tx_map = (struct dgf_engine_map){{&tx_ops}, engine};
    engine->actor_map = (struct dgf_engine_map){{&actor_ops}, engine};
    engine->classes_map = (struct dgf_engine_map){{&classes_ops}, engine};
}
