/* walk.h - the batches of one segment in order, each checked against its
 * COMMIT: frames counted and chained, tree hashed, numbers without a hole.
 *
 * Recovery, the verifier and cold readers all stand on it.  A frame that is
 * given out may still belong to a batch without a COMMIT.  Thread: any, one
 * owner. */
#ifndef DGF_LEDGER_WALK_H
#define DGF_LEDGER_WALK_H

#include "ledger/segments.h"

enum dgf_fault {
    DGF_FAULT_NONE,
    DGF_FAULT_FRAME,  /* no whole frame; scan.end says which way */
    DGF_FAULT_ORIGIN, /* COMMIT of another log */
    DGF_FAULT_BATCH,  /* a batch that is missing, or frames that are not its own */
    DGF_FAULT_SIZE,   /* COMMIT counts other leaves */
    DGF_FAULT_ROOT,   /* leaves do not give COMMIT's root */
    DGF_FAULT_TIME,   /* COMMIT's time goes back */
    DGF_FAULT_SEQ,    /* a record says it has another index */
};

struct dgf_walk {
    struct dgf_scan scan;
    struct dgf_head head;        /* head.rest is not valid */
    bool hash;                   /* false: roots are not looked at */
    bool seqs;                   /* look at the index a record says it has */
    uint64_t size;               /* leaves so far, those of the open batch included */
    struct dgf_tree tree;        /* valid at HEAD, and with hash at each COMMIT */
    struct dgf_waiting *waiting; /* owned; lines that are not in the tree yet */
    uint32_t n_frames, chain;
    struct dgf_commit
        commit;          /* the newest, or what HEAD says; positions are not kept */
    bool has_commit;     /* in this segment */
    uint64_t committed;  /* offset behind it, or behind HEAD */
    uint64_t damaged_at; /* where the fault is */
    uint64_t bad_index;  /* the first leaf it is about: of a COMMIT, its first */
    enum dgf_fault fault;
};

void dgf_walk_init(struct dgf_walk *walk, bool hash);
void dgf_walk_release(struct dgf_walk *walk);
/* marks may be NULL.  DGF_BAD_DATA: its HEAD is damaged. */
enum dgf_rc dgf_walk_open(struct dgf_walk *walk, const char *dir, uint64_t first,
                          struct dgf_marks *marks, struct dgf_err *err) DGF_MUST_USE;
/* A COMMIT was checked when it is given out: walk->commit.  DGF_AGAIN: end of
 * the segment.  DGF_BAD_DATA: a fault, the text says what at which byte. */
enum dgf_rc dgf_walk_next(struct dgf_walk *walk, struct dgf_frame *ret_frame,
                          struct dgf_err *err) DGF_MUST_USE;
/* Goes on until the first call that gives no frame; DGF_AGAIN becomes DGF_OK. */
enum dgf_rc dgf_walk_to_end(struct dgf_walk *walk, struct dgf_err *err) DGF_MUST_USE;
/* What the frame at damaged_at says it is; 0 when that cannot be read. */
uint8_t dgf_walk_damaged_type(struct dgf_walk *walk);
/* Goes back to the end of the last whole batch, to look again later. */
void dgf_walk_rewind(struct dgf_walk *walk);

#endif
