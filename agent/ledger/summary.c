#include "base/mem.h"
#include "ledger/verify.h"
#include "ledger/walk.h"

#define MAX_LOOKS 100 /* at a folder that changes while we look at it */

void dgf_ledger_summary_release(struct dgf_ledger_summary *summary)
{
    dgf_marks_release(&summary->marks);
    dgf_free(dgf_steal(summary->parts));
}

static enum dgf_rc no_memory(struct dgf_err *err)
{
    return dgf_err_set(err, DGF_NOMEM, "cannot read the journal: out of memory");
}

/* The newest segment: its end, and what its last COMMIT says. */
static enum dgf_rc read_newest(struct dgf_walk *walk, const char *dir, uint64_t first,
                               struct dgf_ledger_summary *summary, struct dgf_err *err)
{
    uint64_t commit_at = 0;
    struct dgf_frame frame;
    struct dgf_commit commit;
    struct dgf_rd rd;
    enum dgf_rc rc = dgf_walk_open(walk, dir, first, &summary->marks, err);

    if (rc)
        return rc;
    dgf_tree_root(&walk->tree, summary->root);
    do {
        rc = dgf_walk_next(walk, &frame, err);
        if (!rc && frame.type == DGF_FRAME_COMMIT)
            commit_at = frame.offset;
    } while (!rc);
    /* What is no frame is an unfinished batch, or for verify to judge. */
    if (rc != DGF_AGAIN && !(rc == DGF_BAD_DATA && walk->fault == DGF_FAULT_FRAME))
        return rc;
    if (!walk->has_commit)
        return DGF_OK;
    dgf_scan_seek(&walk->scan, commit_at);
    rc = dgf_scan_next(&walk->scan, &frame, err);
    if (rc || !dgf_frame_get_commit(frame.payload, &commit))
        return rc ? rc
                  : dgf_err_set(err, DGF_BAD_DATA, "the newest commit cannot be read");
    memcpy(summary->root, commit.root, sizeof(summary->root));
    rd = dgf_rd_of(commit.positions);
    rc = dgf_marks_get_positions(&summary->marks, &rd);
    if (rc == DGF_BAD_DATA)
        return dgf_err_set(err, rc,
                           "the positions of the newest commit cannot be read");
    return rc ? no_memory(err) : DGF_OK;
}

static enum dgf_rc summarize(const char *dir, struct dgf_segments *segments,
                             struct dgf_walk *walk, struct dgf_ledger_summary *summary,
                             struct dgf_err *err)
{
    static const char digits[] = "0123456789abcdef";
    enum dgf_rc rc = dgf_segments_load(segments, dir, true, NULL, err);
    size_t n = segments->n;

    if (rc)
        return rc == DGF_AGAIN ? (err->rc = DGF_BAD_DATA) : rc;
    rc = read_newest(walk, dir, segments->at[n - 1].first, summary, err);
    if (rc)
        return rc;
    summary->parts = dgf_calloc(n, sizeof(*summary->parts));
    if (!summary->parts)
        return no_memory(err);
    segments->at[n - 1].bytes = walk->committed;
    summary->n_parts = n;
    for (size_t i = 0; i < n; i++) {
        summary->parts[i].first = segments->at[i].first;
        summary->parts[i].end =
            i + 1 < n ? segments->at[i + 1].first : walk->commit.size;
        summary->parts[i].bytes = segments->at[i].bytes;
        summary->bytes += segments->at[i].bytes;
    }
    for (size_t i = 0; i < DGF_LOG_ID_LEN; i++) {
        summary->log_id[2 * i] = digits[segments->log_id[i] >> 4];
        summary->log_id[2 * i + 1] = digits[segments->log_id[i] & 15];
    }
    summary->first = segments->at[0].first;
    summary->size = walk->commit.size;
    summary->batches = walk->commit.batch;
    return DGF_OK;
}

static bool is_gone(const char *dir, const struct dgf_segments *segments)
{
    char path[DGF_PATH_MAX];

    if (segments->n == 0)
        return false;
    dgf_segment_path(path, dir, segments->at[segments->n - 1].first);
    return !dgf_file_exists(path);
}

enum dgf_rc dgf_ledger_summarize(const char *dir, struct dgf_ledger_summary *ret,
                                 struct dgf_err *err)
{
    DGF_RELEASE(dgf_segments_release) struct dgf_segments segments = {0};
    DGF_RELEASE(dgf_walk_release) struct dgf_walk walk = {0};
    struct dgf_err own;
    enum dgf_rc rc;

    memset(ret, 0, sizeof(*ret));
    dgf_marks_init(&ret->marks);
    dgf_segments_init(&segments);
    dgf_walk_init(&walk, false);
    err = err ? err : &own;
    if (strlen(dir) > DGF_LEDGER_DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the path of the data directory is too long");
    rc = summarize(dir, &segments, &walk, ret, err);
    /* Even the newest may be pruned before it is opened. */
    for (int i = 0; rc == DGF_BAD_CONFIG && is_gone(dir, &segments) && i < MAX_LOOKS;
         i++)
        rc = summarize(dir, &segments, &walk, ret, err);
    if (rc)
        dgf_ledger_summary_release(ret);
    return rc;
}
