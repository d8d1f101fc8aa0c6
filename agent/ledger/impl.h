/* impl.h - what the loop's half and the writer's half of a ledger share.
 *
 * There are no locks.  `phase` says whose the batch that is not collecting is:
 *
 *   IDLE     nobody's            loop: hand over -> HANDED
 *   HANDED   the writer's        writer: on disk -> DURABLE
 *   DURABLE  the writer's; what `result` says about durability is valid
 *   DONE     the loop's; all of `result` is valid     loop: poll -> IDLE
 *   FAILED   nobody's; `failure` is valid, nothing happens any more
 *
 * While the writer has a batch the loop reads the keys and values of its state
 * changes; the writer changes other bytes (CRCs, the COMMIT's root).  Not for
 * use outside agent/ledger. */
#ifndef DGF_LEDGER_IMPL_H
#define DGF_LEDGER_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/file.h"
#include "base/map.h"
#include "ledger/journal.h"
#include "ledger/state_db.h"

struct dgf_batch {
    struct dgf_ledger *ledger;
    struct dgf_buf frames;
    struct dgf_map changes; /* state key -> offset of its newest frame, plus 1 */
    size_t commit_at;       /* offset of the COMMIT frame */
    uint64_t first_index, n_leaves, number;
    uint32_t n_frames;
    int64_t time_ns;
    bool touched, urgent;
    bool rotate;          /* a new segment begins behind this batch ... */
    struct dgf_buf marks; /* ... and this is what its HEAD says */
    uint64_t *prune;      /* first indices of the segments to remove */
    size_t n_prune;
    uint64_t prune_before; /* 0: none */
};

enum dgf_phase {
    DGF_PHASE_IDLE,
    DGF_PHASE_HANDED,
    DGF_PHASE_DURABLE,
    DGF_PHASE_DONE,
    DGF_PHASE_FAILED
};

enum dgf_stage {
    DGF_STAGE_SEAL,
    DGF_STAGE_WRITE,
    DGF_STAGE_APPLY,
    DGF_STAGE_ROTATE,
    DGF_STAGE_PRUNE
};

struct dgf_ledger {
    char dir[DGF_LEDGER_DIR_MAX + 1];
    struct dgf_ledger_conf conf;
    struct dgf_lock *lock;
    char log_id_text[DGF_LOG_ID_TEXT_LEN + 1];
    bool was_new;

    /* the loop's */
    struct dgf_segments segments; /* the newest one's bytes: what is durable */
    struct dgf_marks marks;
    struct dgf_batch batches[2];
    unsigned collecting; /* which of the two */
    struct dgf_state_db *reader;
    uint64_t durable_batch, durable_next;
    int64_t time_ns;
    bool told_durable; /* of the batch the writer has */
    uint64_t released, announced;

    /* shared */
    _Atomic int phase;
    _Atomic bool no_space, stop;
    int loop_fd, writer_fd;
    pthread_t thread;
    bool has_thread;

    /* the writer's while it has a batch */
    enum dgf_stage stage;
    struct dgf_journal journal;
    struct dgf_state_db *writer;
    struct {
        uint64_t end; /* of the newest segment's whole batches */
        bool rotated;
        struct dgf_segment segment;
    } result;
    struct dgf_err failure;
};

/* The writer's work: the batch that does not collect, stage by stage.
 * DGF_AGAIN: no space, call again later.  Other codes are final. */
enum dgf_rc dgf_ledger_write(struct dgf_ledger *ledger, struct dgf_err *err)
    DGF_MUST_USE;
enum dgf_rc dgf_ledger_start(struct dgf_ledger *ledger, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_ledger_stop(struct dgf_ledger *ledger);

void dgf_batch_init(struct dgf_batch *batch, struct dgf_ledger *ledger);
void dgf_batch_release(struct dgf_batch *batch);
/* Ready to collect again from index on. */
void dgf_batch_reset(struct dgf_batch *batch, uint64_t first_index);
/* Ends it with a COMMIT frame whose root and chain are still open. */
enum dgf_rc dgf_batch_close(struct dgf_batch *batch, struct dgf_err *err) DGF_MUST_USE;
/* True when the batch changes the key; *ret says how. */
bool dgf_batch_find(const struct dgf_batch *batch, struct dgf_bytes key,
                    struct dgf_change *ret);
/* The change of an entry of batch->changes. */
struct dgf_change dgf_batch_change(const struct dgf_batch *batch,
                                   const struct dgf_map_entry *entry);

#endif
