/* archive_unpack.h - frames of a segment, unpacked by a thread of its own while those
 * before them are looked at; it also sums up what they hold, and hashes their lines.
 *
 * The thread has nothing but bytes: whoever owns this reads the archive, judges, and
 * takes the frames in the order he gave them.  Where there is one processor, or no
 * thread is to be had, the owner's thread does it all, with the same results.
 * Thread: one owner. */
#ifndef DGF_LEDGER_ARCHIVE_UNPACK_H
#define DGF_LEDGER_ARCHIVE_UNPACK_H

#include "base/hash.h"
#include "ledger/archive_read.h"

#define DGF_UNPACK_LINES 1024 /* more than frames of ours hold */

struct dgf_unpacked {
    enum dgf_rc rc; /* DGF_BAD_DATA: class and what say why; nothing else */
    const char *class, *what;
    size_t n_packed, n_plain;
    size_t n_lines; /* the first ones; those behind them were not looked at */
    struct dgf_bytes lines[DGF_UNPACK_LINES];         /* of any length, without LF */
    uint8_t hashes[DGF_UNPACK_LINES][DGF_SHA256_LEN]; /* of their leaves */
    uint8_t packed[DGF_FRAME_PACKED_MAX], plain[DGF_FRAME_UNPACKED_MAX];
};

struct dgf_unpack;
enum dgf_rc dgf_unpack_new(struct dgf_unpack **ret) DGF_MUST_USE; /* or DGF_NOMEM */
void dgf_unpack_free(struct dgf_unpack *unpack); /* NULL is fine; joins the thread */

/* A segment begins: what was not taken is forgotten, and so is the sum. */
void dgf_unpack_begin(struct dgf_unpack *unpack);
bool dgf_unpack_has_room(const struct dgf_unpack *unpack);
/* One whole frame of at most DGF_FRAME_PACKED_MAX bytes, copied.  There is room. */
void dgf_unpack_put(struct dgf_unpack *unpack, struct dgf_bytes frame);
/* The oldest that was put, once it is unpacked; NULL: there is none.  Borrowed until
 * dgf_unpack_drop, which must follow before the next is taken. */
const struct dgf_unpacked *dgf_unpack_take(struct dgf_unpack *unpack);
void dgf_unpack_drop(struct dgf_unpack *unpack);
/* SHA-256 of what the frames since the begin hold, as far as they could be unpacked.
 * Waits for those that were put. */
void dgf_unpack_sum(struct dgf_unpack *unpack, uint8_t ret[DGF_SHA256_LEN]);

#endif
