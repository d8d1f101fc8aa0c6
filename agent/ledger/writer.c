/* writer.c - the ledger thread: one batch at a time, from sealing to pruning. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "ledger/impl.h"
#include "ledger/leaves.h"

#define NO_SPACE_RETRY_MS 1000

static struct dgf_batch *writing(struct dgf_ledger *ledger)
{
    return &ledger->batches[!ledger->collecting];
}

static void wake(int fd)
{
    uint64_t one = 1;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* CRC of every frame, the tree, and what COMMIT says about both. */
static void seal(struct dgf_ledger *ledger, struct dgf_batch *batch)
{
    struct dgf_tree *tree = &ledger->journal.tree;
    struct dgf_leaves leaves = {.n = 0};
    uint8_t *frames = batch->frames.ptr;
    uint32_t chain = 0;
    size_t at = 0;

    while (at < batch->commit_at) {
        size_t len = dgf_le32_at(frames + at) + (size_t)DGF_FRAME_OVERHEAD;

        if (frames[at + 4] == DGF_FRAME_LEAF) {
            uint8_t *payload = frames + at + DGF_FRAME_HEAD_LEN;
            size_t skip = 2 + (size_t)payload[0] + ((size_t)payload[1] << 8);

            dgf_leaves_add(
                &leaves, dgf_bytes_of(payload + skip, len - DGF_FRAME_OVERHEAD - skip),
                tree);
        }
        chain = dgf_frame_chain(chain, dgf_frame_seal(frames + at, len));
        at += len;
    }
    dgf_leaves_hash(&leaves, tree);
    dgf_tree_root(tree, frames + at + DGF_FRAME_HEAD_LEN + DGF_COMMIT_ROOT_AT);
    dgf_le32_set(frames + at + DGF_FRAME_HEAD_LEN + DGF_COMMIT_CHAIN_AT, chain);
    dgf_frame_seal(frames + at, batch->frames.len - at);
}

static enum dgf_rc write_batch(struct dgf_ledger *ledger, struct dgf_batch *batch,
                               struct dgf_err *err)
{
    enum dgf_rc rc = dgf_journal_reserve(&ledger->journal, batch->frames.len, err);

    if (!rc)
        rc = dgf_journal_write(&ledger->journal, dgf_buf_bytes(&batch->frames), err);
    if (rc)
        return rc;
    ledger->journal.batch = batch->number;
    ledger->journal.time_ns = batch->time_ns;
    ledger->result.end = ledger->journal.end;
    ledger->result.rotated = false;
    atomic_store_explicit(&ledger->phase, DGF_PHASE_DURABLE, memory_order_release);
    wake(ledger->loop_fd);
    return DGF_OK;
}

static enum dgf_rc apply(struct dgf_ledger *ledger, struct dgf_batch *batch,
                         struct dgf_err *err)
{
    const struct dgf_map_entry *entry;
    size_t at = 0;
    enum dgf_rc rc;

    if (batch->changes.n == 0)
        return DGF_OK;
    rc = dgf_state_db_begin(ledger->writer, err);
    while (!rc && (entry = dgf_map_next(&batch->changes, &at))) {
        struct dgf_change change = dgf_batch_change(batch, entry);

        rc = dgf_state_db_change(ledger->writer, &change, err);
    }
    return rc ? rc : dgf_state_db_commit(ledger->writer, batch->number, err);
}

/* state.db learns that the batches up to here change nothing more in it. */
static enum dgf_rc catch_up(struct dgf_ledger *ledger, struct dgf_batch *batch,
                            struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (dgf_state_db_batch(ledger->writer) == batch->number)
        return DGF_OK;
    rc = dgf_state_db_begin(ledger->writer, err);
    return rc ? rc : dgf_state_db_commit(ledger->writer, batch->number, err);
}

static enum dgf_rc rotate(struct dgf_ledger *ledger, struct dgf_batch *batch,
                          struct dgf_err *err)
{
    enum dgf_rc rc;

    dgf_crash_point("ledger_rotate_begin");
    /* So that a start replays the newest segment at most. */
    rc = catch_up(ledger, batch, err);
    if (!rc)
        rc = dgf_journal_rotate(&ledger->journal, dgf_buf_bytes(&batch->marks),
                                &ledger->result.segment, err);
    if (!rc)
        ledger->result.rotated = true;
    return rc;
}

static enum dgf_rc prune(struct dgf_ledger *ledger, struct dgf_batch *batch,
                         struct dgf_err *err)
{
    enum dgf_rc rc;

    dgf_crash_point("ledger_prune_begin");
    /* What goes can never be replayed again: state.db must be on disk first. */
    rc = catch_up(ledger, batch, err);
    if (!rc)
        rc = dgf_state_db_checkpoint(ledger->writer, err);
    if (!rc)
        rc = dgf_dir_sync(ledger->dir, err);
    if (rc)
        return rc;
    dgf_crash_point("ledger_prune_checkpointed");
    for (size_t i = 0; !rc && i < batch->n_prune; i++)
        rc = dgf_journal_remove(&ledger->journal, batch->prune[i], err);
    if (!rc)
        dgf_crash_point("ledger_prune_done");
    return rc;
}

/* One stage; true when there is another. */
static bool next_stage(struct dgf_ledger *ledger, struct dgf_batch *batch,
                       enum dgf_rc *ret_rc, struct dgf_err *err)
{
    switch (ledger->stage) {
    case DGF_STAGE_SEAL:
        seal(ledger, batch);
        ledger->stage = DGF_STAGE_WRITE;
        return true;
    case DGF_STAGE_WRITE:
        *ret_rc = write_batch(ledger, batch, err);
        if (*ret_rc)
            return false;
        dgf_crash_point("ledger_before_apply");
        ledger->stage = DGF_STAGE_APPLY;
        return true;
    case DGF_STAGE_APPLY:
        *ret_rc = apply(ledger, batch, err);
        if (*ret_rc)
            return false;
        dgf_crash_point("ledger_after_apply");
        ledger->stage = DGF_STAGE_ROTATE;
        return true;
    case DGF_STAGE_ROTATE:
        *ret_rc = batch->rotate ? rotate(ledger, batch, err) : DGF_OK;
        if (*ret_rc)
            return false;
        ledger->stage = DGF_STAGE_PRUNE;
        return true;
    default:
        *ret_rc = batch->n_prune ? prune(ledger, batch, err) : DGF_OK;
        return false;
    }
}

enum dgf_rc dgf_ledger_write(struct dgf_ledger *ledger, struct dgf_err *err)
{
    int phase = atomic_load_explicit(&ledger->phase, memory_order_acquire);
    struct dgf_batch *batch;
    enum dgf_rc rc = DGF_OK;

    if (phase != DGF_PHASE_HANDED && phase != DGF_PHASE_DURABLE)
        return DGF_AGAIN;
    batch = writing(ledger); /* which of the two is ours holds from HANDED on */
    while (next_stage(ledger, batch, &rc, err))
        ;
    if (rc == DGF_AGAIN) {
        if (!atomic_exchange(&ledger->no_space, true))
            wake(ledger->loop_fd);
        return rc;
    }
    atomic_store(&ledger->no_space, false);
    if (rc) {
        if (err)
            ledger->failure = *err;
        ledger->failure.rc = DGF_FATAL;
        atomic_store_explicit(&ledger->phase, DGF_PHASE_FAILED, memory_order_release);
    } else {
        ledger->stage = DGF_STAGE_SEAL;
        atomic_store_explicit(&ledger->phase, DGF_PHASE_DONE, memory_order_release);
    }
    wake(ledger->loop_fd);
    return rc ? DGF_FATAL : DGF_OK;
}

/* Sleeps until somebody wakes us, or it is time to look for space again. */
static void wait_for_work(struct dgf_ledger *ledger, bool no_space)
{
    struct pollfd fd = {.fd = ledger->writer_fd, .events = POLLIN};
    uint64_t n;

    if (poll(&fd, 1, no_space ? NO_SPACE_RETRY_MS : -1) > 0)
        (void)!read(ledger->writer_fd, &n, sizeof(n));
}

static void *writer_main(void *arg)
{
    struct dgf_ledger *ledger = arg;
    struct dgf_err err;

    for (;;) {
        bool stop = atomic_load(&ledger->stop);
        enum dgf_rc rc = dgf_ledger_write(ledger, &err);

        if (stop) /* read before the work: what was handed over is done */
            return NULL;
        if (rc == DGF_AGAIN || rc == DGF_FATAL)
            wait_for_work(ledger, atomic_load(&ledger->no_space));
    }
}

enum dgf_rc dgf_ledger_start(struct dgf_ledger *ledger, struct dgf_err *err)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&ledger->thread, NULL, writer_main, ledger);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed)
        return dgf_err_set(err, DGF_FATAL, "cannot start the ledger's thread: %m");
    (void)pthread_setname_np(ledger->thread, "dgf-ledger");
    ledger->has_thread = true;
    return DGF_OK;
}

void dgf_ledger_stop(struct dgf_ledger *ledger)
{
    struct dgf_err err;

    if (!ledger->has_thread) {
        if (atomic_load(&ledger->phase) != DGF_PHASE_FAILED)
            (void)!dgf_ledger_write(ledger, &err);
        return;
    }
    atomic_store(&ledger->stop, true);
    wake(ledger->writer_fd);
    pthread_join(ledger->thread, NULL);
    ledger->has_thread = false;
}
