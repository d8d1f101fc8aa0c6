/* event.h - one thing that happened in a source.
 *
 * An event is one reference-counted block: header, one msgpack body, and a
 * slot index made while the body was written, so that reading a column costs
 * an addition.  Immutable once finished.  Body = map of the sections below;
 * a section is a map of fields, nil (there is none: `before` of an insert), or
 * the unavailable extension (the source cannot say).  A field is present,
 * null (nil), absent (not in the map) or unavailable; nothing turns one into
 * another.  Thread: references are counted atomically; the rest is read-only. */
#ifndef DGF_BUS_EVENT_H
#define DGF_BUS_EVENT_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/mp.h"
#include "bus/words.h"

struct dgf_source;

struct dgf_column {
    const char *name; /* owned by the object */
    uint32_t name_len;
    struct dgf_bytes packed; /* name as msgpack; made by dgf_object_new */
    enum dgf_type type;
    const char *type_name; /* the source's own: "numeric(12,2)"; owned */
    const char *comment;   /* NULL: none; owned */
    bool key;              /* part of the key (primary key, replica identity) */
};

/* What an event is about: a table, collection, stream, container.  Interned by
 * its source; a change of columns makes a new object with a higher version. */
struct dgf_object {
    _Atomic uint32_t refs;
    const char *source_type; /* static: "postgres" */
    char *database;          /* may be NULL */
    char *schema, *name;     /* schema may be NULL */
    char *text;              /* schema.table as contracts say; quoted where needed */
    struct dgf_column *columns;
    uint32_t n_columns; /* 0: documents, fields vary */
    uint32_t *keys;     /* indices of the key columns */
    uint32_t n_keys;
    uint64_t version;
    uint64_t serial;        /* no two objects of a process share one: for caches */
    struct dgf_map by_name; /* column name -> (void *)(index + 1) */
    uint8_t *classes;       /* enum dgf_class a column; set by the rules; NULL: none */
    void *binding;          /* the rules engine's; freed with unbind */
    void (*unbind)(void *binding);
};

/* Copies everything; columns may be NULL when n_columns is 0. */
enum dgf_rc dgf_object_new(const char *source_type, const char *database,
                           const char *schema, const char *name,
                           const struct dgf_column *columns, uint32_t n_columns,
                           uint64_t version, struct dgf_object **ret) DGF_MUST_USE;
struct dgf_object *dgf_object_ref(struct dgf_object *object);
void dgf_object_unref(struct dgf_object *object); /* NULL is fine */
/* Index of a column, or -1. */
int dgf_object_column(const struct dgf_object *object, struct dgf_bytes name);
/* a.b with parts quoted ("a.b"."c") where they hold the separator or a quote;
 * first NULL: second as it is, since nothing separates it. */
void dgf_object_name(struct dgf_buf *buf, const char *first, const char *second);

enum dgf_section {
    DGF_SECTION_KEY, /* only when the object's key columns do not say it */
    DGF_SECTION_BEFORE,
    DGF_SECTION_AFTER,
    DGF_SECTION_CHANGED, /* array of names; absent: computed from before and after */
    DGF_SECTION_ACTOR,   /* map name, app, address, how, sure */
    DGF_SECTION_LABELS,  /* overrides the source's labels; tests and recordings */
    DGF_SECTION_EXTRA,   /* gap, resume, undecodable, message: see below */
    DGF_SECTION_N
};

struct dgf_event {
    _Atomic uint32_t refs;
    uint8_t kind, op, cause;   /* enum dgf_event_kind, dgf_op, dgf_cause */
    bool snapshot;             /* the row existed before; not an act */
    struct dgf_object *object; /* referenced; NULL for transaction, gap, ... */
    struct dgf_source *source; /* borrowed; set when emitted */
    uint64_t seq;              /* source's own, gapless from 1; set when emitted */
    struct dgf_id id;
    int64_t commit_ns, seen_ns; /* ns since 1970 */
    uint64_t tx_n;              /* ordinal in the transaction, from 1; 0: none */
    struct dgf_bytes tx;        /* transaction id as text; empty: none */
    struct dgf_bytes position;  /* opaque: resume here once all up to me is durable;
                                   empty: not a resume point */
    struct dgf_bytes body;      /* msgpack */
    struct dgf_bytes
        sections[DGF_SECTION_N]; /* value bytes in body; len 0: not there */
    const uint32_t *slots; /* [2][n_columns] offsets in body of before and after values;
                              0: absent */
    uint32_t n_slots;      /* columns a section, 0 when object has none */
};

struct dgf_event *dgf_event_ref(struct dgf_event *event);
void dgf_event_unref(struct dgf_event *event); /* NULL is fine */
DGF_CLEANUP_OF(struct dgf_event *, dgf_event_unref)

/* Value of a column in BEFORE or AFTER; len 0: absent (also when the section
 * is nil or unavailable: look at sections[]). */
static inline struct dgf_bytes dgf_event_slot(const struct dgf_event *event, bool after,
                                              uint32_t column)
{
    uint32_t at =
        column < event->n_slots ? event->slots[after * event->n_slots + column] : 0;

    return at ? (struct dgf_bytes){event->body.ptr + at, event->body.len - at}
              : (struct dgf_bytes){NULL, 0}; /* starts at the value; may run on */
}

/* Value of a field by name in any section, exactly bounded; len 0: absent. */
struct dgf_bytes dgf_event_field(const struct dgf_event *event,
                                 enum dgf_section section, struct dgf_bytes name);
/* Calls visit for every key field: the KEY section, else the key columns of
 * after (before for a delete).  Values are exactly bounded. */
void dgf_event_key(const struct dgf_event *event,
                   void (*visit)(void *ctx, struct dgf_bytes name,
                                 struct dgf_bytes value, int column /* or -1 */),
                   void *ctx);
static inline bool dgf_event_section_is_map(const struct dgf_event *event,
                                            enum dgf_section section)
{
    struct dgf_bytes s = event->sections[section];

    return s.len && ((s.ptr[0] & 0xf0) == 0x80 || s.ptr[0] == 0xde || s.ptr[0] == 0xdf);
}
/* nil, or not there at all. */
bool dgf_event_section_is_null(const struct dgf_event *event, enum dgf_section section);
bool dgf_event_section_is_unavailable(const struct dgf_event *event,
                                      enum dgf_section section);

/* ---- making one ---- */

struct dgf_event_builder {
    struct dgf_buf body; /* max set by dgf_event_builder_init */
    uint32_t *slots;
    uint32_t cap_slots;
    struct dgf_object *object; /* borrowed */
    uint8_t kind, op;
    int section;               /* open one, or -1 */
    uint32_t n_fields, map_at; /* of the open section */
    uint32_t n_sections;
    uint32_t starts[DGF_SECTION_N], ends[DGF_SECTION_N];
};

/* max_bytes: largest body (limits.event_bytes). */
void dgf_event_builder_init(struct dgf_event_builder *builder, size_t max_bytes);
void dgf_event_builder_release(struct dgf_event_builder *builder);

/* object may be NULL; borrowed until finish. */
void dgf_event_begin(struct dgf_event_builder *builder, struct dgf_object *object,
                     enum dgf_event_kind kind, enum dgf_op op);
/* Opens a section as a map; sections are written in the order of the enum. */
void dgf_event_section(struct dgf_event_builder *builder, enum dgf_section section);
/* Then for each field: the buffer into which the caller packs exactly one
 * value (mp.h).  By column of the object, or by name. */
struct dgf_buf *dgf_event_column(struct dgf_event_builder *builder, uint32_t column);
struct dgf_buf *dgf_event_named(struct dgf_event_builder *builder,
                                struct dgf_bytes name);
void dgf_event_section_end(struct dgf_event_builder *builder);
/* A section that is one value: nil, unavailable, or (CHANGED) an array the
 * caller packs into the buffer that is returned, then dgf_event_section_end. */
void dgf_event_section_nil(struct dgf_event_builder *builder, enum dgf_section section);
void dgf_event_section_unavailable(struct dgf_event_builder *builder,
                                   enum dgf_section section, enum dgf_unavailable why);
struct dgf_buf *dgf_event_section_value(struct dgf_event_builder *builder,
                                        enum dgf_section section);

struct dgf_event_meta {
    struct dgf_id id;
    int64_t commit_ns, seen_ns;
    uint64_t tx_n;
    struct dgf_bytes tx, position;
    enum dgf_cause cause;
    bool snapshot;
};

/* DGF_NOMEM: out of memory or body over its cap (the event is then best
 * emitted as undecodable).  The builder can be used again either way. */
enum dgf_rc dgf_event_finish(struct dgf_event_builder *builder,
                             const struct dgf_event_meta *meta, struct dgf_event **ret)
    DGF_MUST_USE;

/* The same from a whole body that came from outside: a recording, a test.
 * DGF_BAD_DATA unless it is one well-formed map of the sections above, each of
 * its kind and none twice; a field twice in a section is bad data too.
 * DGF_NOMEM: out of memory or over the builder's cap.  object may be NULL. */
enum dgf_rc dgf_event_from_msgpack(struct dgf_event_builder *builder,
                                   struct dgf_object *object, enum dgf_event_kind kind,
                                   enum dgf_op op, struct dgf_bytes body,
                                   const struct dgf_event_meta *meta,
                                   struct dgf_event **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* "before", "extra" ...: the names of the sections in a body. */
const char *dgf_section_text(enum dgf_section section);

/* EXTRA of special events (all texts):
 *   gap:         reason (words.def GAP), from, to (position texts; from absent
 *                when unknown), message, detail: map of texts.  event.position
 *                = where reading goes on.
 *   resume:      since (position text), message, detail: map of texts
 *   undecodable: size (int), hash (keyed by the recorder: raw sha256 bin here),
 *                what, why
 *   message:     prefix, size
 * Convenience for the first: from, to, message may be NULL; detail is n pairs. */
enum dgf_rc dgf_event_gap(struct dgf_event_builder *builder, enum dgf_gap reason,
                          const char *from, const char *to, const char *message,
                          const char *const *detail, size_t n_pairs,
                          const struct dgf_event_meta *meta, struct dgf_event **ret)
    DGF_MUST_USE;

#endif
