/* mongo_event.h - documents of a change stream to events.
 *
 * Pure: BSON in, an event's body out; no client, no clock.  A server may leave
 * any field out; only what an event cannot be without is asked for.  Thread: any. */
#ifndef DGF_CONNECTORS_MONGO_EVENT_H
#define DGF_CONNECTORS_MONGO_EVENT_H

#include "bson_value.h"
#include "bus/event.h"

/* Views into the documents they were read from; len 0: not there. */
struct dgf_mongo_change {
    struct dgf_bytes token;     /* BSON document */
    struct dgf_bytes operation; /* text */
    struct dgf_bytes database, collection, to_database, to_collection;     /* text */
    struct dgf_bytes key, full, before, update, description, state_before; /* BSON */
    bool full_null, before_null; /* there, and null */
    uint64_t cluster_time;
    int64_t wall_ms;          /* 0: not there */
    struct dgf_bytes session; /* lsid.id */
    int64_t txn;
    bool in_tx;
    int32_t fragment, of; /* splitEvent; 0: whole */
};

/* What `after` of an update may be taken from. */
enum dgf_mongo_full {
    DGF_MONGO_FULL_DEFAULT,
    DGF_MONGO_FULL_LOOKUP,    /* a later state: never `after` */
    DGF_MONGO_FULL_AVAILABLE, /* stored post-images: exact */
    DGF_MONGO_FULL_REQUIRED,
};

/* Adds what document says to *change, so that the fragments of a split event
 * become one.  DGF_BAD_DATA with why: not a document, no token, no operation. */
enum dgf_rc dgf_mongo_change_read(struct dgf_bytes document,
                                  struct dgf_mongo_change *change, const char **ret_why)
    DGF_MUST_USE;

/* Kind and op of an operation; false: one nobody knows (NOTICE, NONE). */
bool dgf_mongo_change_kind(const struct dgf_mongo_change *change,
                           enum dgf_event_kind *ret_kind, enum dgf_op *ret_op);
bool dgf_mongo_change_is(const struct dgf_mongo_change *change, const char *operation);

/* Writes the sections of the event into builder (begun here).  DGF_BAD_DATA with
 * why: a value is damaged; the event is then an undecodable one. */
enum dgf_rc dgf_mongo_change_build(const struct dgf_mongo_change *change,
                                   enum dgf_mongo_full full, struct dgf_object *object,
                                   struct dgf_event_builder *builder,
                                   const char **ret_why) DGF_MUST_USE;

/* A name "db.collection" against a pattern: * stays inside a part, ** crosses. */
bool dgf_mongo_name_matches(const char *pattern, struct dgf_bytes name);

#endif
