/* marks.h - what stands at the end of a batch: the position of each source,
 * the cursor of each sink, the policy set, the archive cut.
 *
 * Small tables with linear search: sources and sinks are counted in tens.
 * Thread: one owner. */
#ifndef DGF_LEDGER_MARKS_H
#define DGF_LEDGER_MARKS_H

#include "ledger/ledger.h"

#define DGF_MARKS_MAX_BYTES (8 << 20) /* all positions, or all cursors, together */

struct dgf_marks {
    struct dgf_ledger_position *positions; /* each owns one block, at source.ptr */
    struct dgf_ledger_cursor *cursors;     /* each owns one block, at name.ptr */
    size_t n_positions, n_cursors;
    uint8_t policy_set[DGF_SHA256_LEN];
    uint64_t cut;
};

void dgf_marks_init(struct dgf_marks *marks);
void dgf_marks_release(struct dgf_marks *marks);

/* DGF_NOMEM: over a cap of ledger.h, or out of memory; nothing changed. */
enum dgf_rc dgf_marks_set_position(struct dgf_marks *marks,
                                   const struct dgf_ledger_position *position)
    DGF_MUST_USE;
enum dgf_rc dgf_marks_set_cursor(struct dgf_marks *marks, struct dgf_bytes name,
                                 struct dgf_bytes value) DGF_MUST_USE;
void dgf_marks_forget_position(struct dgf_marks *marks, struct dgf_bytes source);
void dgf_marks_clear_positions(struct dgf_marks *marks);
struct dgf_ledger_position *dgf_marks_position(const struct dgf_marks *marks,
                                               struct dgf_bytes source);
struct dgf_ledger_cursor *dgf_marks_cursor(const struct dgf_marks *marks,
                                           struct dgf_bytes name);

/* The tables as they stand in frames. */
void dgf_marks_put_positions(const struct dgf_marks *marks, struct dgf_buf *to);
void dgf_marks_put_cursors(const struct dgf_marks *marks, struct dgf_buf *to);
/* All of it, as it stands at the end of HEAD. */
void dgf_marks_put(const struct dgf_marks *marks, struct dgf_buf *to);
/* Replaces what marks hold.  DGF_BAD_DATA: not such a table. */
enum dgf_rc dgf_marks_get_positions(struct dgf_marks *marks, struct dgf_rd *rd)
    DGF_MUST_USE;
enum dgf_rc dgf_marks_get_cursors(struct dgf_marks *marks, struct dgf_rd *rd)
    DGF_MUST_USE;

#endif
