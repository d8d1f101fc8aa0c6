/* open.c - from a directory to a ledger: lock, recover, replay, start. */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ledger/impl.h"
#include "ledger/walk.h"

#define DEFAULT_BATCH_BYTES (4u << 20)
#define MIN_SEGMENT_BYTES 4096
#define MAX_RESERVE_STEP (8u << 20)

DGF_CLEANUP_OF(struct dgf_ledger *, dgf_ledger_free)

void dgf_ledger_free(struct dgf_ledger *ledger)
{
    bool failed;
    struct dgf_err err;

    if (!ledger)
        return;
    if (ledger->lock && ledger->loop_fd >= 0)
        dgf_ledger_stop(ledger);
    failed = atomic_load(&ledger->phase) == DGF_PHASE_FAILED;
    if (failed)
        dgf_state_db_abandon(ledger->writer);
    else if (ledger->journal.file && ledger->journal.reserved > ledger->journal.end)
        (void)!dgf_file_truncate(ledger->journal.file, ledger->journal.end, &err);
    dgf_state_db_free(ledger->reader);
    dgf_state_db_free(ledger->writer);
    dgf_journal_release(&ledger->journal);
    dgf_batch_release(&ledger->batches[0]);
    dgf_batch_release(&ledger->batches[1]);
    dgf_marks_release(&ledger->marks);
    dgf_segments_release(&ledger->segments);
    if (ledger->loop_fd >= 0)
        (void)close(ledger->loop_fd);
    if (ledger->writer_fd >= 0)
        (void)close(ledger->writer_fd);
    dgf_lock_free(ledger->lock); /* last: nobody comes in before all is closed */
    dgf_free(ledger);
}

static enum dgf_rc new_ledger(const struct dgf_ledger_conf *conf,
                              struct dgf_ledger **ret, struct dgf_err *err)
{
    size_t len = strlen(conf->dir);
    struct dgf_ledger *ledger;
    uint64_t step;

    while (len > 1 && conf->dir[len - 1] == '/')
        len--;
    if (len == 0 || len > DGF_LEDGER_DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the path of the data directory is too long");
    ledger = dgf_calloc(1, sizeof(*ledger));
    if (!ledger)
        return dgf_err_set(err, DGF_NOMEM, "cannot open the ledger: out of memory");
    memcpy(ledger->dir, conf->dir, len);
    ledger->conf = *conf;
    ledger->conf.dir = ledger->dir;
    if (!ledger->conf.batch_bytes)
        ledger->conf.batch_bytes = DEFAULT_BATCH_BYTES;
    /* Only whole segments are ever removed: one that fills the budget alone would
     * never end, because nothing more is read then. */
    if (conf->journal_bytes && ledger->conf.segment_bytes > conf->journal_bytes / 8)
        ledger->conf.segment_bytes = conf->journal_bytes / 8;
    if (ledger->conf.segment_bytes < MIN_SEGMENT_BYTES)
        ledger->conf.segment_bytes = MIN_SEGMENT_BYTES;
    step = ledger->conf.segment_bytes / 8;
    dgf_journal_init(&ledger->journal, ledger->dir,
                     step > MAX_RESERVE_STEP ? MAX_RESERVE_STEP : step);
    dgf_segments_init(&ledger->segments);
    dgf_marks_init(&ledger->marks);
    dgf_batch_init(&ledger->batches[0], ledger);
    dgf_batch_init(&ledger->batches[1], ledger);
    ledger->loop_fd = ledger->writer_fd = -1;
    *ret = ledger;
    return DGF_OK;
}

/* The folders above and of the ledger are on disk themselves. */
static enum dgf_rc sync_folders(struct dgf_ledger *ledger, bool parent,
                                struct dgf_err *err)
{
    char above[DGF_LEDGER_DIR_MAX + 1];
    char *slash;
    enum dgf_rc rc = dgf_dir_sync(ledger->dir, err);

    if (rc || !parent)
        return rc;
    memcpy(above, ledger->dir, sizeof(above));
    slash = strrchr(above, '/');
    if (!slash)
        return dgf_dir_sync(".", err);
    slash[slash == above] = '\0';
    return dgf_dir_sync(above, err);
}

static enum dgf_rc begin_log(struct dgf_ledger *ledger, const char *state_path,
                             struct dgf_err *err)
{
    enum dgf_rc rc;

    if (dgf_file_exists(state_path))
        return dgf_err_set(
            err, DGF_FATAL,
            "'%s' is there but '%s/journal' holds no segment: restore the journal, "
            "or move state.db away to begin a new log",
            state_path, ledger->dir);
    rc = sync_folders(ledger, true, err);
    if (rc)
        return rc;
    dgf_crash_point("ledger_new_before_segment");
    rc = dgf_journal_create(&ledger->journal, &ledger->segments, dgf_clock_ns(), err);
    if (!rc)
        dgf_crash_point("ledger_new_after_segment");
    return rc;
}

/* Does state.db fit the journal it stands beside? */
static enum dgf_rc open_state(struct dgf_ledger *ledger, const char *path,
                              struct dgf_err *err)
{
    const struct dgf_segment *oldest = &ledger->segments.at[0];
    uint64_t batch;
    enum dgf_rc rc;

    if (oldest->batch_before > 0 && !dgf_file_exists(path))
        return dgf_err_set(
            err, DGF_FATAL,
            "'%s' is missing and cannot be rebuilt: the journal was pruned and "
            "begins behind batch %" PRIu64,
            path, oldest->batch_before);
    rc = dgf_state_db_open(path, ledger->journal.log_id, &ledger->writer, err);
    if (rc)
        return rc;
    batch = dgf_state_db_batch(ledger->writer);
    if (batch > ledger->journal.batch)
        return dgf_err_set(err, DGF_FATAL,
                           "'%s' stands at batch %" PRIu64
                           " but the journal ends at batch %" PRIu64
                           ": batches that were durable are lost",
                           path, batch, ledger->journal.batch);
    if (batch < oldest->batch_before)
        return dgf_err_set(
            err, DGF_FATAL,
            "'%s' stands at batch %" PRIu64
            " but the journal was pruned and begins behind batch %" PRIu64,
            path, batch, oldest->batch_before);
    return DGF_OK;
}

/* The STATE frames of one segment that state.db lacks, in one transaction. */
static enum dgf_rc replay_segment(struct dgf_ledger *ledger,
                                  const struct dgf_segment *segment,
                                  struct dgf_walk *walk, struct dgf_err *err)
{
    uint64_t at = dgf_state_db_batch(ledger->writer);
    enum dgf_rc rc = dgf_walk_open(walk, ledger->dir, segment->first, NULL, err);

    if (rc)
        return rc;
    walk->scan.limit = segment->bytes;
    rc = dgf_state_db_begin(ledger->writer, err);
    if (rc) /* AGAIN means something else below */
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    while (!rc) {
        struct dgf_change change;
        struct dgf_frame frame;

        rc = dgf_walk_next(walk, &frame, err);
        if (!rc && frame.type == DGF_FRAME_STATE && walk->commit.batch >= at &&
            dgf_frame_get_change(frame.payload, &change)) {
            rc = dgf_state_db_change(ledger->writer, &change, err);
            if (rc == DGF_AGAIN)
                return DGF_RETRY;
        }
    }
    if (rc != DGF_AGAIN)
        return rc;
    return dgf_state_db_commit(ledger->writer, walk->commit.batch, err);
}

static enum dgf_rc replay(struct dgf_ledger *ledger, struct dgf_err *err)
{
    const struct dgf_segments *segments = &ledger->segments;
    uint64_t batch = dgf_state_db_batch(ledger->writer);
    size_t i = segments->n - 1;
    struct dgf_walk walk;
    enum dgf_rc rc = DGF_OK;

    if (batch == ledger->journal.batch)
        return DGF_OK;
    dgf_crash_point("ledger_open_before_replay");
    while (i > 0 && segments->at[i].batch_before > batch)
        i--;
    dgf_walk_init(&walk, false);
    for (; !rc && i < segments->n; i++) {
        rc = replay_segment(ledger, &segments->at[i], &walk, err);
        if (!rc && i + 1 < segments->n &&
            walk.commit.batch != segments->at[i + 1].batch_before)
            rc = dgf_err_set(err, DGF_FATAL,
                             "journal segment '%" PRIu64 ".j' ends at batch %" PRIu64
                             " instead of %" PRIu64,
                             segments->at[i].first, walk.commit.batch,
                             segments->at[i + 1].batch_before);
    }
    dgf_walk_release(&walk);
    if (rc == DGF_BAD_DATA && err)
        err->rc = DGF_FATAL;
    if (rc)
        return rc == DGF_BAD_DATA ? DGF_FATAL : rc;
    dgf_crash_point("ledger_open_after_replay");
    return DGF_OK;
}

static enum dgf_rc recover(struct dgf_ledger *ledger, struct dgf_ledger_cut *ret_cut,
                           struct dgf_err *err)
{
    char state_path[DGF_PATH_MAX];
    bool created = false;
    enum dgf_rc rc =
        dgf_segments_load(&ledger->segments, ledger->dir, false, NULL, err);

    (void)snprintf(state_path, sizeof(state_path), "%s/state.db", ledger->dir);
    if (rc == DGF_AGAIN) {
        created = true;
        rc = begin_log(ledger, state_path, err);
    } else if (!rc) {
        rc = dgf_journal_recover(&ledger->journal, &ledger->segments, &ledger->marks,
                                 ret_cut, err);
    }
    if (rc)
        return rc;
    rc = open_state(ledger, state_path, err);
    if (!rc && !created)
        rc = dgf_journal_trim(&ledger->journal, err);
    if (!rc)
        rc = sync_folders(ledger, ledger->journal.batch == 0, err);
    if (!rc)
        rc = replay(ledger, err);
    return rc ? rc : dgf_state_db_open_reader(state_path, &ledger->reader, err);
}

static enum dgf_rc begin_work(struct dgf_ledger *ledger, struct dgf_err *err)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < DGF_LOG_ID_LEN; i++) {
        ledger->log_id_text[2 * i] = digits[ledger->journal.log_id[i] >> 4];
        ledger->log_id_text[2 * i + 1] = digits[ledger->journal.log_id[i] & 15];
    }
    ledger->was_new = ledger->journal.batch == 0;
    ledger->durable_batch = ledger->journal.batch;
    ledger->durable_next = ledger->journal.tree.size;
    ledger->time_ns = ledger->journal.time_ns;
    dgf_batch_reset(&ledger->batches[0], ledger->durable_next);
    dgf_batch_reset(&ledger->batches[1], 0);
    ledger->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ledger->writer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ledger->loop_fd < 0 || ledger->writer_fd < 0)
        return dgf_err_set(err, DGF_FATAL, "cannot make an eventfd: %m");
    return ledger->conf.threaded ? dgf_ledger_start(ledger, err) : DGF_OK;
}

enum dgf_rc dgf_ledger_open(const struct dgf_ledger_conf *conf,
                            struct dgf_ledger **ret_ledger,
                            struct dgf_ledger_cut *ret_cut, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_ledger_free) struct dgf_ledger *ledger = NULL;
    struct dgf_ledger_cut cut = {0};
    char path[DGF_PATH_MAX];
    int pid = 0;
    enum dgf_rc rc = new_ledger(conf, &ledger, err);

    if (!rc)
        rc = dgf_dir_make(ledger->dir, err);
    if (rc)
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    (void)snprintf(path, sizeof(path), "%s/lock", ledger->dir);
    rc = dgf_lock_take(path, &ledger->lock, &pid, err);
    if (rc == DGF_AGAIN && pid > 0)
        return dgf_err_set(err, rc,
                           "cannot use data directory '%s': another agent owns it, "
                           "process %d",
                           ledger->dir, pid);
    if (rc)
        return rc;
    (void)snprintf(path, sizeof(path), "%s/journal", ledger->dir);
    rc = dgf_dir_make(path, err);
    if (!rc)
        rc = recover(ledger, &cut, err);
    if (!rc)
        rc = begin_work(ledger, err);
    if (rc == DGF_AGAIN || rc == DGF_BAD_DATA) {
        rc = rc == DGF_AGAIN ? DGF_RETRY : DGF_FATAL;
        if (err)
            err->rc = rc;
    }
    if (rc)
        return rc;
    *ret_cut = cut;
    *ret_ledger = dgf_steal(ledger);
    return DGF_OK;
}
