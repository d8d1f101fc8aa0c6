/* cosmos_feed.h - pages of Cosmos DB's change feed as changes, and changes as events.
 *
 * Bytes in, events out: no socket, no clock.  What it points to lives in the page.
 * Thread: any. */
#ifndef DGF_COSMOS_FEED_H
#define DGF_COSMOS_FEED_H

#include "bus/event.h"
#include "json_value.h"

#define DGF_COSMOS_KEY_MAX 8     /* levels of a partition key */
#define DGF_COSMOS_DEPTH_MAX 90  /* levels of a document */
#define DGF_COSMOS_PATH_MAX 1024 /* bytes of one path */
#define DGF_COSMOS_RANGES_MAX 10000

enum dgf_cosmos_mode { DGF_COSMOS_LATEST, DGF_COSMOS_ALL };

/* ---- a page ---- */

struct dgf_cosmos_page {
    char rid[128]; /* of the container; "": not said */
    struct dgf_jv_walk walk;
    size_t n;
};
/* NULL, or why this is no page; *ret_cut: a part of one may have come. */
const char *dgf_cosmos_page_read(struct dgf_bytes body, struct dgf_cosmos_page *ret,
                                 bool *ret_cut);
bool dgf_cosmos_page_next(struct dgf_cosmos_page *page, struct dgf_bytes *ret_item);

/* ---- one change ---- */

struct dgf_cosmos_change {
    enum dgf_op op;
    enum dgf_cause cause;
    bool has_lsn;
    int64_t lsn, time_s; /* time_s: 0 when unknown */
    struct dgf_bytes id; /* as it stands in the page, with its quotes */
    struct dgf_bytes current, previous, metadata; /* objects; len 0: not there */
};
/* Fills as much as it understands.  NULL, or why it is no change. */
const char *dgf_cosmos_change_read(struct dgf_bytes item, enum dgf_cosmos_mode mode,
                                   struct dgf_cosmos_change *ret);

/* Paths of a partition key: "/a/b" -> name "a.b". */
struct dgf_cosmos_key {
    size_t n;
    struct {
        char name[DGF_COSMOS_PATH_MAX]; /* segments joined by '.' */
        char path[DGF_COSMOS_PATH_MAX]; /* segments, each NUL-terminated */
        size_t n_segments;
    } paths[DGF_COSMOS_KEY_MAX];
};
/* From the properties of a container; false: not as documented. */
bool dgf_cosmos_key_read(struct dgf_bytes container, struct dgf_cosmos_key *ret);

/* The whole event but its end: key, before, after.  NULL, or why it cannot be; memory:
 * the builder's body. */
const char *dgf_cosmos_change_build(const struct dgf_cosmos_change *change,
                                    enum dgf_cosmos_mode mode,
                                    const struct dgf_cosmos_key *key,
                                    struct dgf_object *object,
                                    struct dgf_event_builder *builder);

/* ---- physical partitions ---- */

struct dgf_cosmos_pkrange {
    char id[64];
    char min[520], max[520]; /* effective partition keys; max is not in it */
};
/* Appends the ranges of an answer that are no parents of others.  NULL, or why not. */
const char *dgf_cosmos_pkranges_read(struct dgf_bytes body, struct dgf_buf *ret);

/* Properties that do not change by themselves, as one JSON object. */
void dgf_cosmos_settings(struct dgf_bytes properties, struct dgf_buf *out);

#endif
