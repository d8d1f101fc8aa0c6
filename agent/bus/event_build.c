#include <assert.h>
#include <string.h>

#include "bus/event.h"

/* The names of the sections, packed: header byte and text. */
static const struct dgf_bytes section_names[DGF_SECTION_N] = {
    [DGF_SECTION_KEY] = DGF_BYTES("\xa3"
                                  "key"),
    [DGF_SECTION_BEFORE] = DGF_BYTES("\xa6"
                                     "before"),
    [DGF_SECTION_AFTER] = DGF_BYTES("\xa5"
                                    "after"),
    [DGF_SECTION_CHANGED] = DGF_BYTES("\xa7"
                                      "changed"),
    [DGF_SECTION_ACTOR] = DGF_BYTES("\xa5"
                                    "actor"),
    [DGF_SECTION_LABELS] = DGF_BYTES("\xa6"
                                     "labels"),
    [DGF_SECTION_EXTRA] = DGF_BYTES("\xa5"
                                    "extra"),
};

const char *dgf_section_text(enum dgf_section section)
{
    return (const char *)section_names[section].ptr + 1;
}

void dgf_event_builder_init(struct dgf_event_builder *builder, size_t max_bytes)
{
    memset(builder, 0, sizeof(*builder));
    dgf_buf_init(&builder->body, max_bytes);
    builder->section = -1;
}

void dgf_event_builder_release(struct dgf_event_builder *builder)
{
    dgf_buf_release(&builder->body);
    dgf_free(builder->slots);
    memset(builder, 0, sizeof(*builder));
}

static bool make_slots(struct dgf_event_builder *builder, uint32_t n)
{
    if (n > builder->cap_slots) {
        uint32_t *slots = dgf_calloc(n, 2 * sizeof(*slots));

        if (!slots)
            return false;
        dgf_free(builder->slots);
        builder->slots = slots;
        builder->cap_slots = n;
        return true;
    }
    if (n > 0)
        memset(builder->slots, 0, 2 * sizeof(*builder->slots) * n);
    return true;
}

void dgf_event_begin(struct dgf_event_builder *builder, struct dgf_object *object,
                     enum dgf_event_kind kind, enum dgf_op op)
{
    dgf_buf_clear(&builder->body);
    dgf_buf_add_byte(&builder->body, 0x80); /* map of n_sections; written by finish */
    builder->object = object;
    builder->kind = (uint8_t)kind;
    builder->op = (uint8_t)op;
    builder->section = -1;
    builder->n_sections = 0;
    memset(builder->starts, 0, sizeof(builder->starts));
    if (!make_slots(builder, object ? object->n_columns : 0))
        builder->body.rc = DGF_NOMEM;
}

static void open_section(struct dgf_event_builder *builder, enum dgf_section section)
{
    assert(builder->section < 0 && builder->starts[section] == 0);
    dgf_buf_add_bytes(&builder->body, section_names[section]);
    builder->section = (int)section;
    builder->starts[section] = (uint32_t)builder->body.len;
    builder->n_sections++;
}

void dgf_event_section(struct dgf_event_builder *builder, enum dgf_section section)
{
    static const uint8_t map32[5] = {0xdf}; /* the count is known at the end */

    open_section(builder, section);
    builder->map_at = (uint32_t)builder->body.len;
    builder->n_fields = 0;
    dgf_buf_add(&builder->body, map32, sizeof(map32));
}

static void note_slot(struct dgf_event_builder *builder, uint32_t column)
{
    uint32_t n = builder->object->n_columns;

    if (builder->section == DGF_SECTION_AFTER)
        builder->slots[n + column] = (uint32_t)builder->body.len;
    else if (builder->section == DGF_SECTION_BEFORE)
        builder->slots[column] = (uint32_t)builder->body.len;
}

struct dgf_buf *dgf_event_column(struct dgf_event_builder *builder, uint32_t column)
{
    assert(builder->section >= 0 && builder->object &&
           column < builder->object->n_columns);
    dgf_buf_add_bytes(&builder->body, builder->object->columns[column].packed);
    builder->n_fields++;
    if (builder->body.rc == DGF_OK)
        note_slot(builder, column);
    return &builder->body;
}

struct dgf_buf *dgf_event_named(struct dgf_event_builder *builder,
                                struct dgf_bytes name)
{
    int column = builder->object && builder->object->n_columns > 0
                     ? dgf_object_column(builder->object, name)
                     : -1;

    if (column >= 0)
        return dgf_event_column(builder, (uint32_t)column);
    assert(builder->section >= 0);
    dgf_mp_put_str(&builder->body, name);
    builder->n_fields++;
    return &builder->body;
}

void dgf_event_section_end(struct dgf_event_builder *builder)
{
    assert(builder->section >= 0);
    if (builder->map_at && builder->body.rc == DGF_OK) {
        uint8_t *to = builder->body.ptr + builder->map_at + 1;

        to[0] = (uint8_t)(builder->n_fields >> 24);
        to[1] = (uint8_t)(builder->n_fields >> 16);
        to[2] = (uint8_t)(builder->n_fields >> 8);
        to[3] = (uint8_t)builder->n_fields;
    }
    builder->ends[builder->section] = (uint32_t)builder->body.len;
    builder->section = -1;
    builder->map_at = 0;
}

struct dgf_buf *dgf_event_section_value(struct dgf_event_builder *builder,
                                        enum dgf_section section)
{
    open_section(builder, section);
    builder->map_at = 0;
    return &builder->body;
}

void dgf_event_section_nil(struct dgf_event_builder *builder, enum dgf_section section)
{
    dgf_mp_put_nil(dgf_event_section_value(builder, section));
    dgf_event_section_end(builder);
}

void dgf_event_section_unavailable(struct dgf_event_builder *builder,
                                   enum dgf_section section, enum dgf_unavailable why)
{
    dgf_mp_put_unavailable(dgf_event_section_value(builder, section), (uint8_t)why);
    dgf_event_section_end(builder);
}

/* Offsets are 32 bits wide. */
static bool fits(const struct dgf_event_builder *builder,
                 const struct dgf_event_meta *meta, uint32_t n_slots, size_t *ret_size)
{
    size_t size = sizeof(struct dgf_event) + 2 * sizeof(uint32_t) * (size_t)n_slots;

    return builder->body.len <= UINT32_MAX &&
           dgf_add_size(size, builder->body.len, &size) &&
           dgf_add_size(size, meta->tx.len, &size) &&
           dgf_add_size(size, meta->position.len, ret_size);
}

static uint8_t *put(uint8_t *at, struct dgf_bytes from, struct dgf_bytes *ret)
{
    if (from.len > 0)
        memcpy(at, from.ptr, from.len);
    *ret = dgf_bytes_of(at, from.len);
    return at + from.len;
}

enum dgf_rc dgf_event_finish(struct dgf_event_builder *builder,
                             const struct dgf_event_meta *meta, struct dgf_event **ret)
{
    bool rows =
        builder->starts[DGF_SECTION_BEFORE] || builder->starts[DGF_SECTION_AFTER];
    uint32_t n_slots = rows && builder->object ? builder->object->n_columns : 0;
    struct dgf_event *event;
    size_t size;
    uint8_t *at;

    assert(builder->section < 0);
    if (dgf_buf_rc(&builder->body) || !fits(builder, meta, n_slots, &size))
        return DGF_NOMEM;
    event = dgf_malloc(size);
    if (!event)
        return DGF_NOMEM;
    builder->body.ptr[0] = (uint8_t)(0x80 | builder->n_sections);
    *event = (struct dgf_event){
        .kind = builder->kind,
        .op = builder->op,
        .cause = (uint8_t)meta->cause,
        .snapshot = meta->snapshot,
        .id = meta->id,
        .commit_ns = meta->commit_ns,
        .seen_ns = meta->seen_ns,
        .tx_n = meta->tx_n,
        .n_slots = n_slots,
        .slots = (const uint32_t *)(event + 1),
        .object = builder->object ? dgf_object_ref(builder->object) : NULL,
    };
    atomic_init(&event->refs, 1);
    at = (uint8_t *)(event + 1);
    if (n_slots > 0)
        memcpy(at, builder->slots, 2 * sizeof(uint32_t) * (size_t)n_slots);
    at = put(at + 2 * sizeof(uint32_t) * (size_t)n_slots, dgf_buf_bytes(&builder->body),
             &event->body);
    at = put(at, meta->tx, &event->tx);
    put(at, meta->position, &event->position);
    for (int i = 0; i < DGF_SECTION_N; i++)
        if (builder->starts[i])
            event->sections[i] = dgf_bytes_of(event->body.ptr + builder->starts[i],
                                              builder->ends[i] - builder->starts[i]);
    *ret = event;
    return DGF_OK;
}

static void put_text(struct dgf_event_builder *builder, const char *name,
                     const char *text)
{
    if (text)
        dgf_mp_put_str(dgf_event_named(builder, dgf_bytes_str(name)),
                       dgf_bytes_str(text));
}

enum dgf_rc dgf_event_gap(struct dgf_event_builder *builder, enum dgf_gap reason,
                          const char *from, const char *to, const char *message,
                          const char *const *detail, size_t n_pairs,
                          const struct dgf_event_meta *meta, struct dgf_event **ret)
{
    dgf_event_begin(builder, NULL, DGF_KIND_GAP, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, "reason", dgf_gap_text(reason));
    put_text(builder, "from", from);
    put_text(builder, "to", to);
    put_text(builder, "message", message);
    if (n_pairs > 0) {
        struct dgf_buf *body = dgf_event_named(builder, DGF_BYTES("detail"));

        dgf_mp_put_map(body, (uint32_t)n_pairs);
        for (size_t i = 0; i < 2 * n_pairs; i++)
            dgf_mp_put_str(body, dgf_bytes_str(detail[i]));
    }
    dgf_event_section_end(builder);
    return dgf_event_finish(builder, meta, ret);
}
