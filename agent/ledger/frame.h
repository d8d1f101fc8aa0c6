/* frame.h - the pieces of a journal segment, little-endian:
 *
 *   u32 payload length, u8 type, payload, u32 CRC32C of all before it
 *
 *   HEAD    first in a segment: log id, first index, the tree's edge, marks
 *   LEAF    u16 header length, header, line; only the line is hashed
 *   STATE   u8 op, u16 key length, key, value
 *   CURSOR  u16 name length, name, value
 *   CUT     u64 index: an archive segment ends before it
 *   COMMIT  batch number, tree size, root, marks; makes what precedes it true
 *
 * COMMIT also holds a CRC over the CRCs of its batch's frames, so that a frame
 * that was dropped, doubled or moved is seen.  (A CRC over the frames' bytes
 * would not do: a message followed by its own CRC leaves the same remainder
 * whatever the message says.)  Thread: any. */
#ifndef DGF_LEDGER_FRAME_H
#define DGF_LEDGER_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "ledger/ledger.h"

#define DGF_LOG_ID_LEN 16
#define DGF_FRAME_HEAD_LEN 5
#define DGF_FRAME_OVERHEAD 9
#define DGF_FRAME_MAX_PAYLOAD (24u << 20)

enum dgf_frame_type {
    DGF_FRAME_HEAD = 1,
    DGF_FRAME_LEAF,
    DGF_FRAME_STATE,
    DGF_FRAME_CURSOR,
    DGF_FRAME_CUT,
    DGF_FRAME_COMMIT,
};
/* "leaf", "state" ...; "frame" for a type that is none. */
const char *dgf_frame_text(enum dgf_frame_type type);

enum dgf_state_op { DGF_STATE_PUT, DGF_STATE_DELETE };

struct dgf_frame {
    enum dgf_frame_type type;
    uint64_t offset, len; /* in the file, with length and CRC */
    uint32_t crc;
    struct dgf_bytes payload; /* borrowed */
};

static inline uint32_t dgf_le32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t dgf_le64_at(const uint8_t *p)
{
    return dgf_le32_at(p) | (uint64_t)dgf_le32_at(p + 4) << 32;
}

static inline void dgf_le32_set(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> 8 * i);
}

/* Most a payload of this type may have; 0 for a type that is none. */
uint32_t dgf_frame_max(uint8_t type);

/* Begin, append the payload, end.  The CRC is left zero until the frame is
 * sealed, which the ledger thread does.  A failed buf is seen by its rc. */
size_t dgf_frame_begin(struct dgf_buf *to, enum dgf_frame_type type);
void dgf_frame_end(struct dgf_buf *to, size_t begun);
/* frame: the whole frame, overhead included.  Returns the CRC it wrote. */
uint32_t dgf_frame_seal(uint8_t *frame, size_t len);
/* The CRC over CRCs, one frame further. */
uint32_t dgf_frame_chain(uint32_t chain, uint32_t crc);

struct dgf_leaf_frame {
    struct dgf_bytes header, line;
};
struct dgf_change {
    enum dgf_state_op op;
    struct dgf_bytes key, value;
};
/* Views into a payload; false when it is not one. */
bool dgf_frame_get_leaf(struct dgf_bytes payload, struct dgf_leaf_frame *ret);
bool dgf_frame_get_change(struct dgf_bytes payload, struct dgf_change *ret);
bool dgf_frame_get_cursor(struct dgf_bytes payload, struct dgf_ledger_cursor *ret);
bool dgf_frame_get_cut(struct dgf_bytes payload, uint64_t *ret);

struct dgf_commit {
    uint8_t log_id[DGF_LOG_ID_LEN];
    uint64_t batch;
    int64_t time_ns;
    uint64_t size; /* of the tree */
    uint8_t root[DGF_SHA256_LEN];
    uint32_t n_frames, chain; /* of the batch, COMMIT not counted */
    uint8_t policy_set[DGF_SHA256_LEN];
    struct dgf_bytes positions; /* borrowed: for dgf_marks_get_positions() */
};
/* Root and chain are not known yet when the loop writes the frame. */
#define DGF_COMMIT_ROOT_AT 40
#define DGF_COMMIT_CHAIN_AT 76
#define DGF_COMMIT_MIN 114
void dgf_frame_put_commit(struct dgf_buf *to, const struct dgf_commit *commit);
bool dgf_frame_get_commit(struct dgf_bytes payload, struct dgf_commit *ret);

struct dgf_head {
    uint8_t log_id[DGF_LOG_ID_LEN];
    uint64_t first;                  /* index of the segment's first leaf */
    uint64_t batch_before;           /* number of the last batch before it */
    int64_t created_ns;              /* when the segment before it was full */
    uint64_t prev_first, prev_bytes; /* that segment's; prev_bytes 0: none */
    struct dgf_bytes rest; /* borrowed: edge, policy set, cut, positions, cursors */
};
void dgf_frame_put_head(struct dgf_buf *to, const struct dgf_head *head);
bool dgf_frame_get_head(struct dgf_bytes payload, struct dgf_head *ret);

#endif
