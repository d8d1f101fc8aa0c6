/* journal.h - the append-only files every decision goes through.
 *
 * Recovery reads first and changes nothing before it has accepted all there
 * is; then it cuts the torn end.  Writing reserves space, writes, syncs; any
 * failure but lack of space is final, because a retried fsync can lie.
 * Thread: the loop until the journal is open, then the ledger's. */
#ifndef DGF_LEDGER_JOURNAL_H
#define DGF_LEDGER_JOURNAL_H

#include "ledger/segments.h"

struct dgf_journal {
    char dir[DGF_LEDGER_DIR_MAX + 1];
    uint8_t log_id[DGF_LOG_ID_LEN];
    struct dgf_file *file; /* the newest segment */
    uint64_t first, end;   /* its first index; where the next batch goes */
    uint64_t size;         /* of the file: beyond end only before dgf_journal_trim() */
    uint64_t reserved;     /* space is there up to here */
    uint64_t reserve_step; /* how far ahead it is asked for */
    uint64_t batch;        /* number of the newest batch */
    int64_t time_ns;       /* its time */
    struct dgf_tree tree;
};

void dgf_journal_init(struct dgf_journal *journal, const char *dir,
                      uint64_t reserve_step);
void dgf_journal_release(struct dgf_journal *journal);

/* A new log with one empty segment.  DGF_RETRY: no space. */
enum dgf_rc dgf_journal_create(struct dgf_journal *journal,
                               struct dgf_segments *segments, int64_t now_ns,
                               struct dgf_err *err) DGF_MUST_USE;
/* Reads the newest segment to its last whole batch; changes nothing.
 * segments were loaded.  DGF_FATAL: damage before the last batch. */
enum dgf_rc dgf_journal_recover(struct dgf_journal *journal,
                                struct dgf_segments *segments, struct dgf_marks *marks,
                                struct dgf_ledger_cut *ret_cut, struct dgf_err *err)
    DGF_MUST_USE;
/* Cuts off what recovery did not accept, syncs, and removes temporary files. */
enum dgf_rc dgf_journal_trim(struct dgf_journal *journal, struct dgf_err *err)
    DGF_MUST_USE;

/* DGF_AGAIN: no space; nothing happened. */
enum dgf_rc dgf_journal_reserve(struct dgf_journal *journal, uint64_t len,
                                struct dgf_err *err) DGF_MUST_USE;
/* Writes one sealed batch and waits for the disk. */
enum dgf_rc dgf_journal_write(struct dgf_journal *journal, struct dgf_bytes frames,
                              struct dgf_err *err) DGF_MUST_USE;
/* Ends the segment and begins the next.  marks: policy set, cut, positions and
 * cursors as they stand in HEAD.  DGF_AGAIN: no space; call again. */
enum dgf_rc dgf_journal_rotate(struct dgf_journal *journal, struct dgf_bytes marks,
                               struct dgf_segment *ret_segment, struct dgf_err *err)
    DGF_MUST_USE;
/* Removes one segment file for good. */
enum dgf_rc dgf_journal_remove(struct dgf_journal *journal, uint64_t first,
                               struct dgf_err *err) DGF_MUST_USE;

#endif
