/* segments.h - the files of a journal: <data_dir>/journal/<first index>.j.
 *
 * Each begins with a HEAD frame that says where the segment before it ended,
 * so that a missing or cut file in the middle is noticed without reading all.
 * Thread: any, one owner. */
#ifndef DGF_LEDGER_SEGMENTS_H
#define DGF_LEDGER_SEGMENTS_H

#include "ledger/marks.h"
#include "ledger/scan.h"
#include "ledger/tree.h"

#define DGF_PATH_MAX 4096
#define DGF_LEDGER_DIR_MAX 3900 /* leaves room for the longest name below it */

struct dgf_segment {
    uint64_t first, bytes;
    uint64_t batch_before;
    int64_t created_ns; /* when the one before it was full */
};

struct dgf_segments {
    struct dgf_segment *at; /* oldest first */
    size_t n, cap;
    uint8_t log_id[DGF_LOG_ID_LEN];
};

/* to has room for DGF_PATH_MAX; dir is at most DGF_LEDGER_DIR_MAX long. */
void dgf_segment_path(char *to, const char *dir, uint64_t first);
void dgf_segment_temporary(char *to, const char *dir, uint64_t first);
bool dgf_segment_name(const char *name, uint64_t *ret_first);

void dgf_segments_init(struct dgf_segments *segments);
void dgf_segments_release(struct dgf_segments *segments);
enum dgf_rc dgf_segments_add(struct dgf_segments *segments,
                             const struct dgf_segment *segment) DGF_MUST_USE;
/* The one that holds, or will hold, index; NULL when it is before the first. */
struct dgf_segment *dgf_segments_find(const struct dgf_segments *segments,
                                      uint64_t index);
void dgf_segments_drop_before(struct dgf_segments *segments, uint64_t index);
uint64_t dgf_segments_bytes(const struct dgf_segments *segments);

/* Only the names, in order.  DGF_AGAIN: there is no segment at all. */
enum dgf_rc dgf_segments_list(struct dgf_segments *segments, const char *dir,
                              struct dgf_err *err) DGF_MUST_USE;
/* Reads the folder and every HEAD.  DGF_AGAIN: there is no segment at all.
 * DGF_BAD_DATA: damaged, missing or foreign segments; *ret_first (may be NULL)
 * is the one the text is about.  With prune_ok segments may vanish while the
 * folder is being looked at: another process prunes. */
enum dgf_rc dgf_segments_load(struct dgf_segments *segments, const char *dir,
                              bool prune_ok, uint64_t *ret_first, struct dgf_err *err)
    DGF_MUST_USE;

/* Reads the HEAD frame; the scan stands behind it.  DGF_BAD_DATA: it is none,
 * or belongs to another first index. */
enum dgf_rc dgf_segment_head(struct dgf_scan *scan, const char *dir, uint64_t first,
                             struct dgf_head *ret, struct dgf_err *err) DGF_MUST_USE;
/* What HEAD says beyond its fixed fields; marks may be NULL. */
enum dgf_rc dgf_segment_head_rest(const struct dgf_head *head,
                                  struct dgf_tree *ret_tree, struct dgf_marks *marks)
    DGF_MUST_USE;

#endif
