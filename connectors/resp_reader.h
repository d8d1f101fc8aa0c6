/* resp_reader.h - replies of Redis (RESP2) straight from the buffer they came in.
 *
 * No reply objects: the reader finds where a value ends, the cursor walks
 * through it.  A large reply is handed out piece by piece (`explode`), so what
 * has to fit is one entry, never the reply.  Pure: no sockets, no clock.
 * Thread: one owner. */
#ifndef DGF_CONNECTORS_RESP_READER_H
#define DGF_CONNECTORS_RESP_READER_H

#include "base/buf.h"

#define DGF_RESP_DEPTH_MAX 12   /* levels of arrays */
#define DGF_RESP_LINE_MAX 65536 /* of a status, an error or a number */
#define DGF_RESP_HEAD 1024      /* kept of an item that is too large */

/* ---- walking through a value ---- */

enum dgf_resp_kind {
    DGF_RESP_STATUS, /* +OK */
    DGF_RESP_ERROR,  /* -ERR ... */
    DGF_RESP_INT,
    DGF_RESP_BULK,
    DGF_RESP_ARRAY, /* its items follow */
    DGF_RESP_NIL,
};

struct dgf_resp_token {
    enum dgf_resp_kind kind;
    int64_t number;         /* INT; ARRAY: items */
    struct dgf_bytes bytes; /* STATUS, ERROR, BULK: content, borrowed */
};

struct dgf_resp {
    const uint8_t *ptr, *end;
};

static inline struct dgf_resp dgf_resp_of(struct dgf_bytes bytes)
{
    return (struct dgf_resp){bytes.ptr, bytes.len ? bytes.ptr + bytes.len : bytes.ptr};
}

/* DGF_AGAIN at the end of the bytes (also inside a token), DGF_BAD_DATA for
 * what is no RESP2. */
enum dgf_rc dgf_resp_next(struct dgf_resp *resp, struct dgf_resp_token *ret)
    DGF_MUST_USE;
/* One whole value; its bytes when ret is not NULL. */
enum dgf_rc dgf_resp_skip(struct dgf_resp *resp, struct dgf_bytes *ret) DGF_MUST_USE;

/* ---- finding values in a stream of bytes ---- */

struct dgf_resp_item {
    struct dgf_bytes bytes; /* one whole value, or the head of one that was cut;
                               borrowed until the next dgf_resp_room */
    uint64_t size;          /* of the whole value */
    uint64_t index, n;      /* among its siblings; 0 of 1 at depth 0 */
    unsigned depth;
    bool cut;  /* larger than max_item: bytes hold its first DGF_RESP_HEAD */
    bool last; /* of its reply */
};

struct dgf_resp_reader {
    struct dgf_buf in;
    size_t at, scan; /* start of the item in hand; end of what was looked at */
    size_t max_item;
    uint64_t outer_left[DGF_RESP_DEPTH_MAX], outer_n[DGF_RESP_DEPTH_MAX];
    unsigned depth; /* of the item in hand */
    bool in_item, cut;
    uint64_t inner_left[DGF_RESP_DEPTH_MAX + 1];
    unsigned inner;   /* open arrays inside the item */
    uint64_t skip;    /* of a bulk and its line end, not seen yet */
    uint64_t dropped; /* of the item */
    uint8_t head[DGF_RESP_HEAD];
    size_t head_len;
};

/* max_item: largest item that is kept whole. */
void dgf_resp_reader_init(struct dgf_resp_reader *reader, size_t max_item);
void dgf_resp_reader_release(struct dgf_resp_reader *reader);
/* Room for at least `least` more bytes, *ret_len of them; NULL: no memory. */
uint8_t *dgf_resp_room(struct dgf_resp_reader *reader, size_t least, size_t *ret_len);
/* So many were put there. */
void dgf_resp_put(struct dgf_resp_reader *reader, size_t len);
/* Bytes that were put and not handed out yet. */
static inline size_t dgf_resp_waiting(const struct dgf_resp_reader *reader)
{
    return reader->in.len - reader->at;
}

/* The next value `explode` arrays deep.  An array above that depth is entered;
 * what is no array there, or an empty one, is an item itself.  Every reply has
 * at least one item.  `explode` stays the same for a whole reply.  DGF_AGAIN:
 * more bytes are needed.  DGF_BAD_DATA: this is no RESP2, give it up. */
enum dgf_rc dgf_resp_reader_next(struct dgf_resp_reader *reader, unsigned explode,
                                 struct dgf_resp_item *ret) DGF_MUST_USE;

#endif
