/* archive_segment.h - lines as zstd frames: segments/<first>.ndjson.zst.
 *
 * Every line ends with LF, also the last.  A frame holds whole lines, at most 256 KiB
 * of them before compression (a single longer line is not possible).  At the end
 * stands the frame index of zstd's seekable format, without checksums:
 *
 *   u32 0x184D2A5E, u32 bytes that follow
 *   for each frame: u32 compressed bytes, u32 uncompressed bytes
 *   u32 frames, u8 0, u32 0x8F92EAB1
 *
 * all little-endian.  The same lines give the same bytes (one version of zstd).
 * Thread: any, one owner. */
#ifndef DGF_LEDGER_ARCHIVE_SEGMENT_H
#define DGF_LEDGER_ARCHIVE_SEGMENT_H

#include "base/buf.h"
#include "base/err.h"

#define DGF_ARCHIVE_FRAME_BYTES (256u << 10)
#define DGF_SEEK_TABLE_MAGIC 0x184D2A5Eu
#define DGF_SEEK_FOOTER_MAGIC 0x8F92EAB1u

struct dgf_segment_writer;

/* DGF_NOMEM.  level: of zstd. */
enum dgf_rc dgf_segment_writer_new(int level, struct dgf_segment_writer **ret)
    DGF_MUST_USE;
void dgf_segment_writer_free(struct dgf_segment_writer *writer); /* NULL is fine */
/* line without LF.  Appends to `out` each frame that is complete. */
enum dgf_rc dgf_segment_writer_add(struct dgf_segment_writer *writer,
                                   struct dgf_bytes line, struct dgf_buf *out)
    DGF_MUST_USE;
/* Appends the last frame and the index. */
enum dgf_rc dgf_segment_writer_end(struct dgf_segment_writer *writer,
                                   struct dgf_buf *out) DGF_MUST_USE;

/* One frame of a segment.  DGF_AGAIN: skippable (the index).  DGF_BAD_DATA: not a
 * frame, cut, or more than max bytes when unpacked.  *ret_used: its length in `in`;
 * lines are appended to `to`. */
struct dgf_unpacker;
enum dgf_rc dgf_unpacker_new(struct dgf_unpacker **ret) DGF_MUST_USE;
void dgf_unpacker_free(struct dgf_unpacker *unpacker); /* NULL is fine */
enum dgf_rc dgf_unpack_frame(struct dgf_unpacker *unpacker, struct dgf_bytes in,
                             size_t max, struct dgf_buf *to, size_t *ret_used)
    DGF_MUST_USE;

#endif
