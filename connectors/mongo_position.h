/* mongo_position.h - where a change stream goes on.
 *
 * Pure.  A resume token is opaque and is only ever given back; `floor` is the
 * cluster time of the last event that was read, `time` what the position's
 * text shows.  Cluster times are seconds << 32 | increment.  Thread: any. */
#ifndef DGF_CONNECTORS_MONGO_POSITION_H
#define DGF_CONNECTORS_MONGO_POSITION_H

#include "base/hash.h"

enum dgf_mongo_how {
    DGF_MONGO_RESUME_AFTER,
    DGF_MONGO_START_AFTER, /* behind an invalidate */
    DGF_MONGO_AT_TIME,     /* from `floor`, which is read already: all of it, or with a
                            * token what is not behind that */
};

#define DGF_MONGO_TX_MAX 64
#define DGF_MONGO_TOKEN_MAX (64u << 10)
#define DGF_MONGO_HASH_LEN 8

/* What the stream was made of; zeros: not known. */
struct dgf_mongo_shape {
    uint8_t scope[DGF_MONGO_HASH_LEN];  /* deployment, database or collection */
    uint8_t names[DGF_MONGO_HASH_LEN];  /* which collections are judged */
    uint8_t images[DGF_MONGO_HASH_LEN]; /* what is sent beside the change */
};

struct dgf_mongo_position {
    uint8_t how;
    bool stopped;       /* on_lost: stop ended the reading here */
    uint8_t system[12]; /* replica set id, zeros when it could not be asked */
    uint64_t time, floor;
    uint32_t ordinal; /* in the open transaction */
    uint8_t tx_len;
    char tx[DGF_MONGO_TX_MAX]; /* its id; tx_len 0: none is open */
    struct dgf_mongo_shape shape;
    struct dgf_bytes token; /* one BSON document; borrowed */
};

/* Appends to out. */
void dgf_mongo_position_write(const struct dgf_mongo_position *position,
                              struct dgf_buf *out);
/* token points into bytes.  False: not one of ours.  The first version had no shape. */
bool dgf_mongo_position_read(struct dgf_bytes bytes, struct dgf_mongo_position *ret);
/* <seconds>.<increment>:<first 8 of the token's hash>, "-" without a token. */
void dgf_mongo_position_text(struct dgf_bytes bytes, struct dgf_buf *out);

/* Does a token stand behind another of the same cluster time?  By `_data`, a text that
 * MongoDB documents as comparable; false where a server gives none. */
bool dgf_mongo_token_is_behind(struct dgf_bytes token, struct dgf_bytes other);

/* What an error of the server means for the position of a stream. */
enum dgf_mongo_fate {
    DGF_MONGO_FATE_FAIL,    /* not about the position */
    DGF_MONGO_FATE_RESUME,  /* open again with the same token */
    DGF_MONGO_FATE_LOST,    /* the server no longer has it */
    DGF_MONGO_FATE_INVALID, /* the token is none to this server */
    DGF_MONGO_FATE_POISON,  /* it cannot get past what comes next */
};
/* at_open: the answer to aggregate, where nothing is resumable.  label: the
 * error carried ResumableChangeStreamError. */
enum dgf_mongo_fate dgf_mongo_fate_of(int code, bool at_open, bool label);

#endif
