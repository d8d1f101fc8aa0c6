/* engine_row.c - before, after and changed, read only where an expression
 * touches them. */
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

void dgf_engine_value(struct dgf_engine *engine, struct dgf_bytes bytes,
                      const char *what, struct dgf_cel_value *ret)
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
bool dgf_engine_next(struct dgf_engine *engine, enum dgf_section section, uint64_t *at,
                     struct dgf_bytes *ret_name, struct dgf_bytes *ret_value)
{
    struct dgf_bytes bytes = engine->event->sections[section];
    struct dgf_mp mp = {bytes.ptr + *at, bytes.ptr + bytes.len};
    struct dgf_mp_token token;

    if (*at == 0 && (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_MAP))
        return false;
    if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR ||
        dgf_mp_value(&mp, ret_value))
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
            dgf_engine_value(engine, bytes, event->object->columns[column].name, ret);
            return true;
        }
    }
    bytes = dgf_event_field(event, row->section, name->text);
    if (bytes.len == 0)
        return false;
    dgf_engine_value(engine, bytes, what, ret);
    return true;
}

static bool row_next(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                     uint64_t *at, struct dgf_cel_value *ret_key,
                     struct dgf_cel_value *ret_value)
{
    const struct dgf_row *row = (const struct dgf_row *)map;
    struct dgf_bytes name, value;

    (void)eval;
    if (!dgf_engine_next(row->engine, row->section, at, &name, &value))
        return false;
    *ret_key = dgf_cel_string(name);
    if (ret_value)
        dgf_engine_value(row->engine, value, NULL, ret_value);
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
    case DGF_OP_TRUNCATE: /* of the rows that are gone nothing was said */
        return !after;
    case DGF_OP_INSERT:
        return after;
    default:
        return false;
    }
}

void dgf_engine_row(struct dgf_engine *engine, bool after, struct dgf_cel_value *ret)
{
    const struct dgf_event *event = engine->event;
    enum dgf_section section = after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE;

    if (dgf_event_section_is_map(event, section))
        *ret = dgf_cel_map_of(&engine->rows[after].base);
    else if (event->sections[section].len > 0 &&
             dgf_event_section_is_null(event, section))
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

    while (dgf_engine_next(engine, after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE, &at,
                           &name, &value)) {
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
void dgf_engine_changed(struct dgf_engine *engine, struct dgf_cel_value *ret)
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
    dgf_engine_row(engine, false, &before);
    dgf_engine_row(engine, true, &after);
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

void dgf_engine_rows_init(struct dgf_engine *engine)
{
    for (int after = 0; after < 2; after++)
        engine->rows[after] = (struct dgf_row){
            {&row_ops}, engine, after ? DGF_SECTION_AFTER : DGF_SECTION_BEFORE};
}
