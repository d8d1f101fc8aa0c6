/* engine_vars.c - the event as an expression sees it, read only where it is
 * touched. */
#include "engine_part.h"

#include <string.h>

/* ---- one value ---- */

/* The scalars of nearly every row without the detour over a cursor; false: it
 * is something else, or longer than there is. */
static inline bool quick_value(struct dgf_bytes bytes, struct dgf_cel_value *ret)
{
    uint8_t first = bytes.ptr[0];
    size_t len;

    if (first < 0x80) {
        *ret = dgf_cel_int(first);
        return true;
    }
    if (first >= 0xe0) {
        *ret = dgf_cel_int((int8_t)first);
        return true;
    }
    if ((first & 0xe0) == 0xa0) {
        len = first & 0x1f;
        *ret = dgf_cel_string(dgf_bytes_of(bytes.ptr + 1, len));
        return len < bytes.len;
    }
    switch (first) {
    case 0xc0:
        *ret = dgf_cel_null();
        return true;
    case 0xc2:
    case 0xc3:
        *ret = dgf_cel_bool(first == 0xc3);
        return true;
    case 0xd9:
        len = bytes.len > 1 ? bytes.ptr[1] : 0;
        *ret = dgf_cel_string(dgf_bytes_of(bytes.ptr + 2, len));
        return len + 2 <= bytes.len;
    default:
        return false;
    }
}

static void read_value(struct dgf_engine *engine, struct dgf_bytes bytes, const char *what,
                       struct dgf_cel_value *ret)
{
    struct dgf_mp mp = dgf_mp_of(bytes);

    if (quick_value(bytes, ret))
        return;
    if (dgf_mp_value(&mp, &bytes)) {
        *ret = dgf_cel_unknown(what, DGF_UNAVAILABLE_UNDECODABLE);
        return;
    }
    *ret = dgf_cel_of_msgpack(&engine->arena, bytes);
    if (ret->kind == DGF_CEL_UNKNOWN)
        ret->text = what;
}

struct dgf_bytes dgf_engine_field(const struct dgf_event *event, bool after,
                                  struct dgf_bytes name)
{
    return dgf_event_field(event, after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE, name);
}

/* ---- rows ---- */

static uint32_t section_size(const struct dgf_engine *engine, enum dgf_section section)
{
    struct dgf_mp mp = dgf_mp_of(engine->event->sections[section]);
    struct dgf_mp_token token;

    return dgf_mp_next(&mp, &token) == DGF_OK && token.kind == DGF_MP_MAP ? token.n : 0;
}

/* *at: offset of the next field in the section; 0 at the start. */
static bool section_next(struct dgf_engine *engine, enum dgf_section section, uint64_t *at,
                         struct dgf_bytes *ret_name, struct dgf_bytes *ret_value)
{
    struct dgf_bytes bytes = engine->event->sections[section];
    struct dgf_mp mp = {bytes.ptr + *at, bytes.ptr + bytes.len};
    struct dgf_mp_token token;

    if (*at == 0 && (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_MAP))
        return false;
    if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR || dgf_mp_value(&mp, ret_value))
        return false;
    *ret_name = token.bytes;
    *at = (uint64_t)(mp.ptr - bytes.ptr);
    return true;
}

static uint32_t row_size(const struct dgf_cel_map *map, struct dgf_cel_eval *eval)
{
    const struct dgf_row *row = (const struct dgf_row *)map;

    (void)eval;
    return section_size(row->engine, row->section);
}

static bool row_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                    const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    const struct dgf_row *row = (const struct dgf_row *)map;
    struct dgf_engine *engine = row->engine;
    const struct dgf_event *event = engine->event;
    bool after = row->section == DGF_SECTION_AFTER;
    const char *what = NULL;
    struct dgf_bytes bytes;
    int column = name->id;

    (void)eval;
    if (event->n_slots > 0) {
        if (column < 0)
            column = dgf_object_column(event->object, name->text);
        if (column >= 0) {
            bytes = dgf_event_slot(event, after, (uint32_t)column);
            if (bytes.len == 0)
                return false;
            if (quick_value(bytes, ret))
                return true;
            read_value(engine, bytes, event->object->columns[column].name, ret);
            return true;
        }
    }
    bytes = dgf_event_field(event, row->section, name->text);
    if (bytes.len == 0)
        return false;
    read_value(engine, bytes, what, ret);
    return true;
}

static bool row_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval, uint64_t *at,
                     struct dgf_cel_value *ret_key, struct dgf_cel_value *ret_value)
{
    const struct dgf_row *row = (const struct dgf_row *)map;
    struct dgf_bytes name, value;

    (void)eval;
    if (!section_next(row->engine, row->section, at, &name, &value))
        return false;
    *ret_key = dgf_cel_string(name);
    if (ret_value)
        read_value(row->engine, value, NULL, ret_value);
    return true;
}

static const struct dgf_cel_map_ops row_ops = {row_size, row_get, NULL, row_next};

/* An update has an old row and an insert a new one: when the source says
 * nothing about it, it is unknown and not null. */
static bool must_exist(const struct dgf_event *event, bool after)
{
    if (event->kind != DGF_KIND_CHANGE)
        return false;
    switch (event->op) {
    case DGF_OP_UPDATE:
    case DGF_OP_REPLACE:
        return true;
    case DGF_OP_DELETE:
    case DGF_OP_EXPIRE:
        return !after;
    case DGF_OP_INSERT:
        return after;
    default:
        return false;
    }
}

static void resolve_row(struct dgf_engine *engine, bool after, struct dgf_cel_value *ret)
{
    const struct dgf_event *event = engine->event;
    enum dgf_section section = after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE;

    if (dgf_event_section_is_map(event, section))
        *ret = dgf_cel_map_of(&engine->rows[after].base);
    else if (event->sections[section].len > 0 && dgf_event_section_is_null(event, section))
        *ret = dgf_cel_null();
    else if (event->sections[section].len > 0 || must_exist(event, after))
        *ret = dgf_cel_unknown(after ? "after" : "before", DGF_UNAVAILABLE_NOT_SENT);
    else
        *ret = dgf_cel_null();
}

/* ---- changed ---- */

static bool is_unavailable(struct dgf_bytes value, uint8_t *ret_why)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.len == 0 || value.ptr[0] < 0xc7 || dgf_mp_next(&mp, &token) ||
        token.kind != DGF_MP_EXT || token.ext != DGF_EXT_UNAVAILABLE)
        return false;
    *ret_why = token.bytes.len > 0 ? token.bytes.ptr[0] : 0;
    return true;
}

enum change { SAME, DIFFERENT, NOT_KNOWN };

static enum change compare(struct dgf_bytes before, struct dgf_bytes after)
{
    uint8_t why;

    /* an unchanged TOAST value is the server's way to say that it is the same */
    if (is_unavailable(after, &why))
        return why == DGF_UNAVAILABLE_TOAST ? SAME : NOT_KNOWN;
    if (is_unavailable(before, &why))
        return NOT_KNOWN;
    return dgf_bytes_eq(before, after) ? SAME : DIFFERENT;
}

struct names {
    struct dgf_cel_value *list;
    uint32_t n;
    bool unknown;
};

/* Fields of `section`, that differ from or are not in the other; with `both`
 * only those that are not there at all. */
static void add_changed(struct dgf_engine *engine, bool after, bool only_absent,
                        struct names *names)
{
    struct dgf_bytes name, value, other;
    uint64_t at = 0;

    while (section_next(engine, after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE, &at, &name,
                        &value)) {
        enum change change = DIFFERENT;

        other = dgf_engine_field(engine->event, !after, name);
        if (other.len > 0 && only_absent)
            continue;
        if (other.len > 0)
            change = compare(other, value);
        if (change == DIFFERENT)
            names->list[names->n++] = dgf_cel_string(name);
        names->unknown |= change == NOT_KNOWN;
    }
}

/* An insert changes every field of the new row, a delete none: what it took
 * away is in `before`. */
static void resolve_changed(struct dgf_engine *engine, struct dgf_cel_value *ret)
{
    const struct dgf_event *event = engine->event;
    struct names names = {.n = 0};
    const struct dgf_cel_list *list;
    struct dgf_cel_value before, after;
    size_t most;

    if (event->sections[DGF_SECTION_CHANGED].len > 0) {
        *ret = dgf_cel_of_msgpack(&engine->arena, event->sections[DGF_SECTION_CHANGED]);
        return;
    }
    resolve_row(engine, false, &before);
    resolve_row(engine, true, &after);
    if (before.kind == DGF_CEL_UNKNOWN || after.kind == DGF_CEL_UNKNOWN) {
        *ret = dgf_cel_unknown("changed", DGF_UNAVAILABLE_NOT_SENT);
        return;
    }
    most = (size_t)section_size(engine, DGF_SECTION_BEFORE) +
           section_size(engine, DGF_SECTION_AFTER) + 1;
    names.list = dgf_arena_alloc(&engine->arena, most * sizeof(*names.list));
    if (names.list && after.kind == DGF_CEL_MAP)
        add_changed(engine, true, false, &names);
    if (names.list && after.kind == DGF_CEL_MAP && before.kind == DGF_CEL_MAP)
        add_changed(engine, false, true, &names);
    list = names.list ? dgf_cel_list_new(&engine->arena, names.list, names.n) : NULL;
    *ret = names.unknown || !list ? dgf_cel_unknown("changed", DGF_UNAVAILABLE_NOT_SENT)
                                  : dgf_cel_list_of(list);
}

/* ---- event ---- */

static const char *const event_names[DGF_EF_N] = {
    "id",  "source", "type",   "kind", "object",   "op",   "time",
    "seen", "key",    "labels", "tx",   "snapshot", "cause"};

struct key_fields {
    struct dgf_engine *engine;
    struct dgf_cel_value *pairs;
    uint32_t n, cap;
};

static void add_key_field(void *ctx, struct dgf_bytes name, struct dgf_bytes value, int column)
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
    read_value(key->engine, value, NULL, &key->pairs[2 * key->n + 1]);
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

static bool event_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval, uint64_t *at,
                       struct dgf_cel_value *ret_key, struct dgf_cel_value *ret_value)
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

static const struct dgf_cel_map_ops event_ops = {event_size, event_get, NULL, event_next};

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

static bool tx_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval, uint64_t *at,
                    struct dgf_cel_value *ret_key, struct dgf_cel_value *ret_value)
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
        read_value(engine, value, "actor", ret);
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

static bool actor_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval, uint64_t *at,
                       struct dgf_cel_value *ret_key, struct dgf_cel_value *ret_value)
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

static const struct dgf_cel_map_ops actor_ops = {actor_size, actor_get, NULL, actor_next};

/* ---- classes: fields nobody classified are not in it ---- */

static bool next_class(struct dgf_engine *engine, uint64_t *at, struct dgf_bytes *ret_name,
                       enum dgf_class *ret_class)
{
    const struct dgf_object *object = engine->binding->object;
    enum dgf_section section = dgf_event_section_is_map(engine->event, DGF_SECTION_AFTER)
                                   ? DGF_SECTION_AFTER
                                   : DGF_SECTION_BEFORE;
    struct dgf_bytes value;

    for (;;) {
        if (object->n_columns > 0) {
            if (*at >= object->n_columns)
                return false;
            *ret_name = dgf_bytes_of(object->columns[*at].name, object->columns[*at].name_len);
            ++*at;
        } else if (engine->event->sections[section].len == 0 ||
                   !section_next(engine, section, at, ret_name, &value)) {
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
    while (next_class(((const struct dgf_engine_map *)map)->engine, &at, &name, &class_))
        n++;
    return n;
}

static bool classes_get(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                        const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    enum dgf_class class_ =
        dgf_binding_class(((const struct dgf_engine_map *)map)->engine->binding, name->text);

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

bool dgf_engine_resolve(struct dgf_cel_eval *eval, unsigned slot, struct dgf_cel_value *ret)
{
    struct dgf_engine *engine = eval->host;

    switch (slot) {
    case DGF_VAR_EVENT:
        *ret = dgf_cel_map_of(&engine->event_map.base);
        return true;
    case DGF_VAR_BEFORE:
    case DGF_VAR_AFTER:
        resolve_row(engine, slot == DGF_VAR_AFTER, ret);
        return true;
    case DGF_VAR_CHANGED:
        resolve_changed(engine, ret);
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
    for (int after = 0; after < 2; after++)
        engine->rows[after] = (struct dgf_row){
            {&row_ops}, engine, after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE};
    engine->event_map = (struct dgf_engine_map){{&event_ops}, engine};
    engine->tx_map = (struct dgf_engine_map){{&tx_ops}, engine};
    engine->actor_map = (struct dgf_engine_map){{&actor_ops}, engine};
    engine->classes_map = (struct dgf_engine_map){{&classes_ops}, engine};
}
