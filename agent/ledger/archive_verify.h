/* archive_verify.h - proves that an archive is what was signed: ARCHIVE.md.
 *
 * Streams every object once, segment by segment in the order of their indices, in
 * constant memory: leaf bytes are hashed again, roots, tiles, manifests, checkpoints
 * and signatures compared, positions, times and heartbeats followed.  The first
 * segment that is wrong ends it.  Everything read is taken for hostile.  What lies
 * behind the newest checkpoint is an upload that has not ended, and not judged.
 * Thread: any, one owner; blocks. */
#ifndef DGF_LEDGER_ARCHIVE_VERIFY_H
#define DGF_LEDGER_ARCHIVE_VERIFY_H

#include "ledger/store.h"
#include "ledger/verify.h"

#define DGF_ARCHIVE_PRUNED_MAX 16

/* What the one who verifies brings along; nothing of it comes from the archive. */
struct dgf_archive_trust {
    const char *const *vkeys; /* the first key; those that follow may take over where
                                 the record that says so was pruned */
    size_t n_vkeys;
    const struct dgf_bytes *anchors; /* checkpoints that were kept elsewhere */
    size_t n_anchors;
};

struct dgf_archive_verdict {
    enum dgf_verified result;
    const char *class; /* NULL when ok */
    uint64_t index;    /* the first bad one; when not ok */
    uint64_t size;     /* of the tree that was proven */
    uint8_t root[DGF_SHA256_LEN];
    bool is_signed;   /* a key was given, and everything is signed by it */
    bool is_anchored; /* an anchor fits */
    uint64_t segments;
    bool is_of_newest; /* what is missing is of the newest checkpoint */
    uint64_t newest_s; /* time of the newest checkpoint; 0: none */
    struct {
        uint64_t first, last;
    } pruned[DGF_ARCHIVE_PRUNED_MAX]; /* ranges without records, as a record says */
    size_t n_pruned;
    /* The log that this one goes on from after a recovery, as record 0 cites it; "":
     * none, or record 0 was pruned. */
    char before_log[64];
    uint64_t before_size;
    uint64_t
        before_anchor; /* size of an anchor of that log that is smaller than what is
                          cited, and can be compared with its archive only; or 0 */
    char text[DGF_ERR_TEXT_MAX]; /* what is wrong, where; "" when ok */
};

/* DGF_OK: see the verdict.  DGF_BAD_CONFIG: a key or an anchor is none, or no archive
 * is there.  Other codes: it could not be read. */
enum dgf_rc dgf_archive_verify(struct dgf_store *store,
                               const struct dgf_archive_trust *trust,
                               struct dgf_archive_verdict *ret, struct dgf_err *err)
    DGF_MUST_USE;

/* ret has room; DGF_AGAIN: no such object.  DGF_BAD_DATA: larger than its max. */
enum dgf_rc dgf_store_slurp(struct dgf_store *store, const char *name,
                            struct dgf_buf *ret, struct dgf_err *err) DGF_MUST_USE;

#endif
