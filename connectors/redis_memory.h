/* redis_memory.h - what is remembered of a stream, and what became of it.
 *
 * Redis gives a stream no identity: a trimmed, a recreated and a restored one
 * are told apart by counters (XINFO STREAM) and by the last entries that were
 * read.  A recreated or restored stream begins a new epoch, ours to count.
 * Pure.  Thread: any. */
#ifndef DGF_CONNECTORS_REDIS_MEMORY_H
#define DGF_CONNECTORS_REDIS_MEMORY_H

#include "redis_entry.h"

#define DGF_REDIS_MARKS 64
#define DGF_REDIS_CLAIMED_MAX 4096

/* One entry that was read: its id and a hash of its bytes. */
struct dgf_redis_mark {
    struct dgf_redis_id id;
    uint64_t hash;
};

struct dgf_redis_memory {
    uint32_t epoch;           /* from 1 */
    struct dgf_redis_id last; /* newest entry that was judged, or where we began */
    uint64_t added;           /* entries ever added up to and with `last` */
    bool added_known;
    struct dgf_redis_id verified; /* everything up to here was accounted for */
    struct dgf_redis_mark marks[DGF_REDIS_MARKS]; /* oldest first */
    uint32_t n_marks;
    /* Group mode: entries taken over from others that were judged, and whose
     * acknowledgement nobody has confirmed yet.  Owned. */
    struct dgf_redis_id *claimed;
    uint32_t n_claimed;
    bool group_due; /* group mode: to be made at `last`, when it is missing */
};

void dgf_redis_memory_release(struct dgf_redis_memory *memory);
void dgf_redis_memory_put(const struct dgf_redis_memory *memory, struct dgf_buf *out);
/* DGF_FATAL: not written by us.  DGF_NOMEM. */
enum dgf_rc dgf_redis_memory_get(struct dgf_bytes bytes, struct dgf_redis_memory *ret)
    DGF_MUST_USE;
void dgf_redis_memory_mark(struct dgf_redis_memory *memory, struct dgf_redis_id id,
                           struct dgf_bytes entry);
uint64_t dgf_redis_entry_hash(struct dgf_bytes entry);
/* Remembers and forgets an entry taken over.  False: no memory, or too many. */
bool dgf_redis_memory_claim(struct dgf_redis_memory *memory, struct dgf_redis_id id);
void dgf_redis_memory_unclaim(struct dgf_redis_memory *memory, struct dgf_redis_id id);
bool dgf_redis_memory_claimed(const struct dgf_redis_memory *memory,
                              struct dgf_redis_id id);

/* ---- positions ---- */

void dgf_redis_position_put(struct dgf_bytes stream, uint32_t epoch,
                            struct dgf_redis_id id, struct dgf_buf *out);
/* <stream>@<epoch>:<id>; nothing for what is no position. */
void dgf_redis_position_text(struct dgf_bytes position, struct dgf_buf *out);

/* ---- what became of it ---- */

struct dgf_redis_facts { /* XINFO STREAM */
    uint64_t length, added;
    struct dgf_redis_id last, first, max_deleted; /* first: recorded-first-entry-id */
};

/* False: this is no answer of XINFO STREAM.  item may be the head of one. */
bool dgf_redis_facts_read(struct dgf_bytes item, struct dgf_redis_facts *ret);

enum dgf_redis_change {
    DGF_REDIS_SAME,
    DGF_REDIS_TRIMMED,   /* entries after `last` are gone: `to`, `lost` */
    DGF_REDIS_RECREATED, /* another stream */
    DGF_REDIS_LOOK,      /* the last entries must be compared */
};

struct dgf_redis_verdict {
    enum dgf_redis_change change;
    struct dgf_redis_id to; /* TRIMMED: reading goes on after it */
    uint64_t lost;          /* TRIMMED: entries */
};
struct dgf_redis_verdict dgf_redis_judge(const struct dgf_redis_memory *memory,
                                         const struct dgf_redis_facts *facts);

enum dgf_redis_past {
    DGF_REDIS_PAST_KEPT,     /* what was read is there, or was removed from it */
    DGF_REDIS_PAST_BRANCHED, /* the same up to `common`, then something else */
    DGF_REDIS_PAST_OTHER,    /* nothing of it is there */
};
/* present: entries from the oldest mark to the newest, as they are now.  whole:
 * the marks are all entries of that range, so any other is not ours.  common:
 * the newest entry both have. */
enum dgf_redis_past dgf_redis_compare(const struct dgf_redis_memory *memory,
                                      const struct dgf_redis_facts *facts,
                                      const struct dgf_redis_mark *present, size_t n,
                                      bool whole, struct dgf_redis_id *ret_common);

#endif
