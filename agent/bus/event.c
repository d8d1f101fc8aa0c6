#include "bus/event.h"

#include <string.h>

struct dgf_event *dgf_event_ref(struct dgf_event *event)
{
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    return event;
}

void dgf_event_unref(struct dgf_event *event)
{
    if (!event || atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) != 1)
        return;
    dgf_object_unref(event->object);
    dgf_free(event); /* one block holds everything else */
}

static bool has_slots(enum dgf_section section)
{
    return section == DGF_SECTION_BEFORE || section == DGF_SECTION_AFTER;
}

/* Slot bytes run on to the end of the body: cut them to one value. */
static struct dgf_bytes one_value(struct dgf_bytes at)
{
    struct dgf_mp mp = dgf_mp_of(at);
    struct dgf_bytes value;

    return at.len && dgf_mp_value(&mp, &value) == DGF_OK ? value
                                                         : dgf_bytes_of(NULL, 0);
}

struct dgf_bytes dgf_event_field(const struct dgf_event *event,
                                 enum dgf_section section, struct dgf_bytes name)
{
    struct dgf_bytes value;

    if (!dgf_event_section_is_map(event, section))
        return dgf_bytes_of(NULL, 0);
    if (has_slots(section) && event->n_slots > 0) {
        int column = dgf_object_column(event->object, name);

        if (column >= 0)
            return one_value(
                dgf_event_slot(event, section == DGF_SECTION_AFTER, (uint32_t)column));
    }
    return dgf_mp_find(event->sections[section], name, &value) == DGF_OK
               ? value
               : dgf_bytes_of(NULL, 0);
}

typedef void visit_fn(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                      int column);

static void visit_map(const struct dgf_event *event, struct dgf_bytes map,
                      visit_fn *visit, void *ctx)
{
    struct dgf_mp mp = dgf_mp_of(map);
    struct dgf_mp_token head, name;
    struct dgf_bytes value;

    if (dgf_mp_next(&mp, &head) || head.kind != DGF_MP_MAP)
        return;
    for (uint32_t i = 0; i < head.n; i++) {
        if (dgf_mp_next(&mp, &name) || name.kind != DGF_MP_STR ||
            dgf_mp_value(&mp, &value))
            return;
        visit(ctx, name.bytes, value,
              event->object ? dgf_object_column(event->object, name.bytes) : -1);
    }
}

void dgf_event_key(const struct dgf_event *event,
                   void (*visit)(void *ctx, struct dgf_bytes name,
                                 struct dgf_bytes value, int column),
                   void *ctx)
{
    const struct dgf_object *object = event->object;
    bool after = event->op != DGF_OP_DELETE &&
                 dgf_event_section_is_map(event, DGF_SECTION_AFTER);

    if (dgf_event_section_is_map(event, DGF_SECTION_KEY)) {
        visit_map(event, event->sections[DGF_SECTION_KEY], visit, ctx);
        return;
    }
    for (uint32_t i = 0; object && i < object->n_keys; i++) {
        uint32_t at = object->keys[i];
        struct dgf_bytes value = one_value(dgf_event_slot(event, after, at));

        if (value.len > 0)
            visit(ctx,
                  dgf_bytes_of(object->columns[at].name, object->columns[at].name_len),
                  value, (int)at);
    }
}

bool dgf_event_section_is_null(const struct dgf_event *event, enum dgf_section section)
{
    struct dgf_bytes value = event->sections[section];

    return value.len == 0 || value.ptr[0] == 0xc0;
}

bool dgf_event_section_is_unavailable(const struct dgf_event *event,
                                      enum dgf_section section)
{
    struct dgf_mp mp = dgf_mp_of(event->sections[section]);
    struct dgf_mp_token token;

    return event->sections[section].len > 0 && dgf_mp_next(&mp, &token) == DGF_OK &&
           token.kind == DGF_MP_EXT && token.ext == DGF_EXT_UNAVAILABLE;
}
