/* archive_read.h - the records of an archive in order, from any index; for reading,
 * not for proving: what is damaged is said, what is forged or missing is not noticed
 * (archive_checked.h compares).
 * Constant memory.  Thread: one owner; blocks. */
#ifndef DGF_LEDGER_ARCHIVE_READ_H
#define DGF_LEDGER_ARCHIVE_READ_H

#include "base/store.h"

/* Numbers in the names below a prefix, in order, some at a time: constant memory for
 * any number of names.  Zeroed: new. */
struct dgf_numbers {
    uint64_t *list; /* owned; the smallest that are not below `least` */
    size_t n, at, cap;
    uint64_t least;
    bool more;
    size_t n_prefix;
    const char *suffix;
};
void dgf_numbers_release(struct dgf_numbers *numbers);
/* The smallest number >= least among names prefix NUMBER suffix; `least` must not go
 * back.  DGF_AGAIN: there is none. */
enum dgf_rc dgf_numbers_next(struct dgf_numbers *numbers, struct dgf_store *store,
                             const char *prefix, const char *suffix, uint64_t least,
                             uint64_t *ret, struct dgf_err *err) DGF_MUST_USE;

/* One packed frame of a segment at the begin of `in`.  DGF_AGAIN: a skippable one, to
 * be passed over.  DGF_BAD_DATA: *ret_class is "segment" or "limit".  to has room for
 * DGF_FRAME_UNPACKED_MAX bytes.  *ret_used is valid in the first two cases. */
#define DGF_FRAME_UNPACKED_MAX ((256u << 10) + 65536u)
#define DGF_FRAME_PACKED_MAX (512u << 10)
#define DGF_FRAME_TOO_LARGE "a frame unpacks to more than 320 KiB" /* *ret_what */
struct dgf_frames;
enum dgf_rc dgf_frames_new(struct dgf_frames **ret) DGF_MUST_USE;
void dgf_frames_free(struct dgf_frames *frames); /* NULL is fine */
enum dgf_rc dgf_frame_unpack(struct dgf_frames *frames, struct dgf_bytes in,
                             uint8_t *to, size_t *ret_len, size_t *ret_used,
                             const char **ret_class, const char **ret_what)
    DGF_MUST_USE;
/* The same in two steps.  Measuring needs nothing but the bytes, and tells where the
 * frame ends (*ret_used: DGF_OK, at most DGF_FRAME_PACKED_MAX; or DGF_AGAIN). */
enum dgf_rc dgf_frame_measure(struct dgf_bytes in, size_t *ret_used,
                              const char **ret_class, const char **ret_what)
    DGF_MUST_USE;
/* A whole frame that was measured. */
enum dgf_rc dgf_frame_open(struct dgf_frames *frames, struct dgf_bytes frame,
                           uint8_t *to, size_t *ret_len, const char **ret_class,
                           const char **ret_what) DGF_MUST_USE;

struct dgf_archive_reader;
/* The first record given is `from`, or the first after it that is there. */
enum dgf_rc dgf_archive_reader_open(struct dgf_store *store, uint64_t from,
                                    struct dgf_archive_reader **ret,
                                    struct dgf_err *err) DGF_MUST_USE;
void dgf_archive_reader_free(struct dgf_archive_reader *reader); /* NULL is fine */
/* The line is borrowed until the next call.  DGF_AGAIN: no more.  DGF_BAD_DATA: a
 * segment is damaged. */
enum dgf_rc dgf_archive_reader_next(struct dgf_archive_reader *reader,
                                    uint64_t *ret_index, struct dgf_bytes *ret_line,
                                    struct dgf_err *err) DGF_MUST_USE;
/* The first record of the segment the last line came from. */
uint64_t dgf_archive_reader_segment(const struct dgf_archive_reader *reader);
/* The lines behind it in its frame, at most max, borrowed as it is; how many. */
size_t dgf_archive_reader_ahead(const struct dgf_archive_reader *reader,
                                struct dgf_bytes *ret, size_t max);

#endif
