/* scan.h - the frames of one segment file in order, read ahead in big pieces.
 *
 * Every frame's length is checked against its type's cap and the file before
 * memory is taken for it, and its CRC before it is given out.  Thread: any,
 * one owner. */
#ifndef DGF_LEDGER_SCAN_H
#define DGF_LEDGER_SCAN_H

#include "base/file.h"
#include "ledger/frame.h"

enum dgf_scan_end {
    DGF_SCAN_CLEAN, /* at the limit, or nothing but zeros up to it */
    DGF_SCAN_CUT, /* a frame begins here and goes beyond the last byte that is not zero
                   */
    DGF_SCAN_BAD, /* a frame that is all there and wrong */
};

struct dgf_scan {
    struct dgf_file *file; /* owned */
    uint64_t limit;        /* nothing from here on is read */
    uint64_t at;           /* offset of the next frame */
    uint8_t *window;
    size_t cap, len;
    uint64_t window_at;
    enum dgf_scan_end end; /* why the last call gave no frame */
};

void dgf_scan_init(struct dgf_scan *scan);
void dgf_scan_release(struct dgf_scan *scan);
/* Opens path and starts at offset 0; the limit is the file's size.  Codes of
 * dgf_file_open(). */
enum dgf_rc dgf_scan_open(struct dgf_scan *scan, const char *path, struct dgf_err *err)
    DGF_MUST_USE;
/* Moves the limit to what the file has now. */
enum dgf_rc dgf_scan_measure(struct dgf_scan *scan, struct dgf_err *err) DGF_MUST_USE;
/* Goes to offset, forgetting what was read ahead. */
void dgf_scan_seek(struct dgf_scan *scan, uint64_t offset);
/* *ret_frame is borrowed until the next call.  DGF_AGAIN: the limit is
 * reached.  DGF_BAD_DATA: no whole frame stands here; scan->end says which
 * way.  The scan stays where it is after both. */
enum dgf_rc dgf_scan_next(struct dgf_scan *scan, struct dgf_frame *ret_frame,
                          struct dgf_err *err) DGF_MUST_USE;
/* One past the last byte that is not zero in [from, limit); from when none. */
enum dgf_rc dgf_scan_last_byte(struct dgf_scan *scan, uint64_t from, uint64_t *ret,
                               struct dgf_err *err) DGF_MUST_USE;
/* Looks behind `from` for a whole COMMIT frame of this log with a number of at
 * least min_batch.  DGF_AGAIN: there is none. */
enum dgf_rc dgf_scan_find_commit(struct dgf_scan *scan, uint64_t from,
                                 const uint8_t log_id[DGF_LOG_ID_LEN],
                                 uint64_t min_batch, uint64_t *ret_batch,
                                 uint64_t *ret_offset, struct dgf_err *err)
    DGF_MUST_USE;

#endif
