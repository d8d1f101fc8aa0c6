/* cosmos_position.h - where a Cosmos DB source stands: for each container its ranges,
 * for each range the etag of the last page that was taken whole.
 *
 * Text: "min-max:etag ..." with bounds as effective partition keys and the etag without
 * its quotes; with several containers "container/min-max:etag".  Thread: any. */
#ifndef DGF_COSMOS_POSITION_H
#define DGF_COSMOS_POSITION_H

#include "cosmos_feed.h"

#define DGF_COSMOS_POSITION_MAX (1u << 20)
#define DGF_COSMOS_ETAG_MAX 4096
#define DGF_COSMOS_POSITION_TEXT_MAX 4000 /* what follows is counted: "+12" */

struct dgf_cosmos_position { /* borrowed from the bytes, or from a source */
    enum dgf_cosmos_mode mode;
    struct dgf_bytes account;
    uint32_t n_containers;
    struct dgf_rd rest; /* of its containers */
};
struct dgf_cosmos_place { /* a container */
    struct dgf_bytes name, rid;
    struct dgf_bytes since; /* If-Modified-Since of its requests; empty: none */
    uint32_t n_ranges;
};
struct dgf_cosmos_token { /* a range */
    struct dgf_bytes min, max;
    struct dgf_bytes etag; /* as it came, with quotes; empty: from the beginning, or
                              from `since` */
};

void dgf_cosmos_position_begin(struct dgf_buf *out, enum dgf_cosmos_mode mode,
                               struct dgf_bytes account, uint32_t n_containers);
void dgf_cosmos_position_place(struct dgf_buf *out,
                               const struct dgf_cosmos_place *place);
void dgf_cosmos_position_token(struct dgf_buf *out,
                               const struct dgf_cosmos_token *token);

/* False: not what the functions above write. */
bool dgf_cosmos_position_read(struct dgf_bytes bytes, struct dgf_cosmos_position *ret);
/* Then in order: each container, and after it each of its ranges. */
bool dgf_cosmos_position_next(struct dgf_cosmos_position *position,
                              struct dgf_cosmos_place *ret);
bool dgf_cosmos_position_next_token(struct dgf_cosmos_position *position,
                                    struct dgf_cosmos_token *ret);

void dgf_cosmos_position_text(struct dgf_bytes position, struct dgf_buf *out);

#endif
