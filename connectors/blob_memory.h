/* blob_memory.h - what the Blob source remembers across restarts: which events were
 * judged, on which way they came, and how far the change feed was read.
 *
 * Event ids are kept as 16 bytes of a hash for 8 days, up to a cap; the oldest go
 * first. They stand in buckets, so that a batch writes only the buckets it changed.
 * Pure.  Thread: any, one owner. */
#ifndef DGF_CONNECTORS_BLOB_MEMORY_H
#define DGF_CONNECTORS_BLOB_MEMORY_H

#include "base/buf.h"
#include "base/hash.h"

/* ---- events that were judged ---- */

#define DGF_BLOB_BUCKET 256
#define DGF_BLOB_BUCKETS_MAX 8192 /* 2,097,152 ids */
#define DGF_BLOB_SEEN_MINUTES (8 * 24 * 60)

#define DGF_BLOB_BY_QUEUE 1u
#define DGF_BLOB_BY_FEED 2u
#define DGF_BLOB_SETTLED 4u /* reconciled: no longer looked for in the feed */

struct dgf_blob_bucket;

struct dgf_blob_seen {
    struct dgf_blob_bucket **buckets; /* ring of max_buckets, by number */
    uint64_t first, end;              /* numbers of buckets there are */
    uint64_t settled;                 /* entries before it are settled */
    uint32_t max_buckets;
    uint32_t *index; /* open addressing; 0: empty */
    size_t n_index, n;
};

/* max_buckets: up to DGF_BLOB_BUCKETS_MAX. */
void dgf_blob_seen_init(struct dgf_blob_seen *seen, uint32_t max_buckets);
void dgf_blob_seen_release(struct dgf_blob_seen *seen);
/* DGF_BLOB_BY_* of an id; 0: never seen. */
unsigned dgf_blob_seen_get(const struct dgf_blob_seen *seen, const struct dgf_id *id);
/* Adds flags to an id that is there, or adds the id; minute: of the event, since 1970.
 * False: out of memory. */
bool dgf_blob_seen_put(struct dgf_blob_seen *seen, const struct dgf_id *id,
                       uint32_t minute, unsigned flags);
/* Forgets whole buckets older than 8 days before this minute. */
void dgf_blob_seen_forget(struct dgf_blob_seen *seen, uint32_t now_minute);
/* Of events between the two minutes, inclusive, those that only the queue had; each is
 * counted once.  Older ones are settled uncounted. */
uint64_t dgf_blob_seen_settle(struct dgf_blob_seen *seen, uint32_t from_minute,
                              uint32_t to_minute);

/* The next bucket that was changed since it was last encoded, from number *at on:
 * appends it and moves *at behind it.  False: there is none. */
bool dgf_blob_seen_changed(struct dgf_blob_seen *seen, uint64_t *at,
                           uint64_t *ret_number, struct dgf_buf *out);
/* A bucket as it was encoded; numbers come in order from `first` on.  DGF_FATAL: not
 * written by us; DGF_NOMEM. */
enum dgf_rc dgf_blob_seen_load(struct dgf_blob_seen *seen, uint64_t number,
                               struct dgf_bytes bytes) DGF_MUST_USE;

/* ---- where we are ---- */

#define DGF_BLOB_NAME_MAX 256

struct dgf_blob_memory {
    char account[128];
    int64_t since_ns; /* covered since */
    uint64_t first_bucket, end_bucket;

    int64_t queue_read_ns; /* the queue was last asked */
    int64_t queue_ttl_ns;  /* shortest life of a message that was seen; 0: none yet */
    bool queue_missing;    /* it was not there since then, and no gap says so yet */

    bool feed_begun;
    int64_t done_ns;     /* begin of the last hour that was read whole; 0: none */
    int64_t consumed_ns; /* everything up to this lastConsumable was read */
    int64_t from_ns;     /* events before it are not ours (start) */
    char segment[DGF_BLOB_NAME_MAX]; /* being read, "2026/01/10/1000"; "": none */
    uint32_t shard;                  /* its index in the manifest */
    char chunk[DGF_BLOB_NAME_MAX];   /* being read, name from log/ on; "": none */
    uint64_t offset;                 /* of the block; 0: not begun */
    uint64_t index;                  /* events taken from the block */
};

void dgf_blob_memory_put(const struct dgf_blob_memory *memory, struct dgf_buf *out);
/* DGF_FATAL: not written by us. */
enum dgf_rc dgf_blob_memory_get(struct dgf_bytes bytes, struct dgf_blob_memory *ret)
    DGF_MUST_USE;

/* "2026/01/10/1000" of "idx/segments/2026/01/10/1000/meta.json", and its time. */
bool dgf_blob_segment_of(struct dgf_bytes name, char ret[16], int64_t *ret_ns);
bool dgf_blob_segment_time(const char *segment, int64_t *ret_ns);
/* "2026/01/10/1000" of a time. */
void dgf_blob_segment_name(int64_t ns, char ret[16]);
/* 2026/01/10/1000/00/00000.avro:1769.6; between two hours 2026/01/10/1100:0.0: all
 * before it was read. */
void dgf_blob_position(const struct dgf_blob_memory *memory, struct dgf_buf *out);

#endif
