/* blob_change.h - what happened to a blob, as Event Grid, CloudEvents and the change
 * feed tell it.
 *
 * All three arrive as one msgpack map, made by blob_notice.c from JSON and by
 * avro_schema.c from Avro, and differ in a few names only.  Pure.  Thread: any. */
#ifndef DGF_CONNECTORS_BLOB_CHANGE_H
#define DGF_CONNECTORS_BLOB_CHANGE_H

#include "base/err.h"
#include "bus/event.h"

#define DGF_BLOB_ID_MAX 256
#define DGF_BLOB_PATH_MAX 4096

struct dgf_blob_change {
    struct dgf_bytes id;        /* of the event: the same on both ways */
    struct dgf_bytes type;      /* "BlobCreated", without Microsoft.Storage */
    struct dgf_bytes account;   /* of the topic; empty when it names none */
    struct dgf_bytes container; /* both empty: it is about the account */
    struct dgf_bytes path;
    struct dgf_bytes etag, blob_type, sequencer, client_request_id; /* may be empty */
    int64_t time_ns;
    int64_t content_length; /* -1: not told */
    struct dgf_bytes data;  /* msgpack map; empty: none */
    enum dgf_op op;
};

/* record: one map.  Everything is borrowed from it.  DGF_AGAIN: nothing that happened
 * to a blob (Control, a validation of a subscription); *why is then a word that it is
 * counted under.  DGF_BAD_DATA: *why says what is wrong with it. */
enum dgf_rc dgf_blob_change_read(struct dgf_bytes record, struct dgf_blob_change *ret,
                                 const char **why) DGF_MUST_USE;

/* What a look at the content gave. */
enum dgf_blob_content {
    DGF_BLOB_NOT_LOOKED,  /* nobody asked: the field is absent */
    DGF_BLOB_CONTENT,     /* here it is: text, or bytes */
    DGF_BLOB_UNAVAILABLE, /* asked for, could not be had */
};

struct dgf_blob_extra {
    enum dgf_blob_content content;
    struct dgf_bytes bytes;
    bool late;      /* only the change feed or a dead letter had it */
    bool reordered; /* something newer of this blob was judged before */
};

/* Begins an event of this object and writes all its sections. */
void dgf_blob_change_build(const struct dgf_blob_change *change,
                           const struct dgf_blob_extra *extra,
                           struct dgf_object *object,
                           struct dgf_event_builder *builder);

/* Of two sequencers of one blob: < 0 when a is older; 0 when equal or when they cannot
 * be compared (one is empty, or their lengths differ). */
int dgf_blob_sequencer_cmp(struct dgf_bytes a, struct dgf_bytes b);

#endif
