/* verify.h - proves that a journal is what was committed, without its ledger.
 *
 * Streams every segment once in constant memory: each frame's CRC, each leaf
 * hashed again, each COMMIT's root, batch numbers and times, and that each
 * segment continues the one before it.  Needs no lock: it works beside a
 * writer, and on what kill -9 left.  What follows the last COMMIT is an
 * unfinished batch: it is measured and not judged, unless it can be seen to
 * have been whole.  A journal rewritten as a whole cannot be told from inside:
 * that takes an anchor.  Thread: any. */
#ifndef DGF_LEDGER_VERIFY_H
#define DGF_LEDGER_VERIFY_H

#include "ledger/marks.h"

enum dgf_verified { DGF_VERIFIED_OK, DGF_VERIFIED_TAMPERED, DGF_VERIFIED_INCOMPLETE };

struct dgf_verification {
    enum dgf_verified result;
    const char *class;    /* "leaf", "root", "segment" ...; NULL when ok */
    uint64_t index;       /* the first bad one; when not ok */
    uint64_t first, size; /* the leaves that were proven: first <= index < size */
    uint8_t root[DGF_SHA256_LEN];
    uint64_t batches;            /* number of the last one */
    uint64_t unfinished;         /* bytes behind the last COMMIT */
    char text[DGF_ERR_TEXT_MAX]; /* what is wrong, where; "" when ok */
};

/* DGF_OK: see the verdict.  Other codes: it could not be read at all. */
enum dgf_rc dgf_ledger_verify(const char *dir, struct dgf_verification *ret,
                              struct dgf_err *err) DGF_MUST_USE;

/* What a cold journal holds, from its HEAD frames and its newest segment. */
struct dgf_ledger_summary {
    char log_id[DGF_LOG_ID_TEXT_LEN + 1];
    uint64_t first, size, batches, bytes;
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_marks marks;
    struct dgf_ledger_part {        /* one a segment, oldest first */
        uint64_t first, end, bytes; /* leaves first <= index < end */
    } * parts;
    size_t n_parts;
};
/* DGF_BAD_DATA: no journal, or damage. */
enum dgf_rc dgf_ledger_summarize(const char *dir, struct dgf_ledger_summary *ret,
                                 struct dgf_err *err) DGF_MUST_USE;
void dgf_ledger_summary_release(struct dgf_ledger_summary *summary);

#endif
