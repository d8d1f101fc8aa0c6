#include "ledger/journal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ledger/walk.h"

DGF_CLEANUP_OF(struct dgf_file *, dgf_file_close)

void dgf_journal_init(struct dgf_journal *journal, const char *dir,
                      uint64_t reserve_step)
{
    memset(journal, 0, sizeof(*journal));
    (void)snprintf(journal->dir, sizeof(journal->dir), "%s", dir);
    journal->reserve_step = reserve_step;
}

void dgf_journal_release(struct dgf_journal *journal)
{
    dgf_file_close(dgf_steal(journal->file));
}

static void folder(const struct dgf_journal *journal, char *to)
{
    (void)snprintf(to, DGF_PATH_MAX, "%s/journal", journal->dir);
}

/* The text stands, the code changes. */
static enum dgf_rc as(struct dgf_err *err, enum dgf_rc rc)
{
    if (err)
        err->rc = rc;
    return rc;
}

/* What the HEAD of a segment that begins now says; the frame is sealed. */
static enum dgf_rc build_head(const struct dgf_journal *journal,
                              const struct dgf_segment *prev, struct dgf_bytes marks,
                              struct dgf_buf *to, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf rest = {0};
    struct dgf_head head = {
        .first = journal->tree.size,
        .batch_before = journal->batch,
        .created_ns = journal->time_ns,
        .prev_first = prev ? prev->first : 0,
        .prev_bytes = prev ? prev->bytes : 0,
    };
    size_t begun;

    dgf_buf_init(&rest, DGF_FRAME_MAX_PAYLOAD);
    memcpy(head.log_id, journal->log_id, sizeof(head.log_id));
    dgf_tree_put(&journal->tree, &rest);
    dgf_buf_add_bytes(&rest, marks);
    head.rest = dgf_buf_bytes(&rest);
    begun = dgf_frame_begin(to, DGF_FRAME_HEAD);
    dgf_frame_put_head(to, &head);
    dgf_frame_end(to, begun);
    if (dgf_buf_rc(&rest) || dgf_buf_rc(to))
        return dgf_err_set(err, DGF_NOMEM,
                           "cannot begin a journal segment: out of memory");
    dgf_frame_seal(to->ptr, to->len);
    return DGF_OK;
}

/* Writes and syncs the file under its temporary name.  DGF_AGAIN: no space. */
static enum dgf_rc write_segment(struct dgf_journal *journal, const char *temporary,
                                 struct dgf_bytes head, struct dgf_file **ret_file,
                                 uint64_t *ret_reserved, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_file_close) struct dgf_file *file = NULL;
    uint64_t reserve = head.len + journal->reserve_step;
    enum dgf_rc rc;

    if (dgf_file_exists(temporary)) {
        rc = dgf_file_remove(temporary, err);
        if (rc)
            return rc;
    }
    rc = dgf_file_open(temporary, DGF_FILE_CREATE, &file, err);
    if (rc)
        return rc;
    rc = dgf_file_reserve(file, 0, reserve, err);
    if (rc == DGF_AGAIN) {
        reserve = head.len;
        rc = dgf_file_reserve(file, 0, reserve, err);
    }
    if (!rc)
        rc = dgf_file_write(file, 0, head, err);
    if (!rc)
        rc = dgf_file_sync(file, err);
    if (rc)
        return rc;
    *ret_reserved = reserve;
    *ret_file = dgf_steal(file);
    return DGF_OK;
}

/* Puts a new segment behind the current one, which has its final size. */
static enum dgf_rc add_segment(struct dgf_journal *journal,
                               const struct dgf_segment *prev, struct dgf_bytes marks,
                               struct dgf_segment *ret_segment, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_file_close) struct dgf_file *file = NULL;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf head = {0};
    char temporary[DGF_PATH_MAX], path[DGF_PATH_MAX], dir[DGF_PATH_MAX];
    uint64_t reserved;
    enum dgf_rc rc;

    dgf_buf_init(&head, DGF_FRAME_MAX_PAYLOAD + DGF_FRAME_OVERHEAD);
    folder(journal, dir);
    dgf_segment_temporary(temporary, journal->dir, journal->tree.size);
    dgf_segment_path(path, journal->dir, journal->tree.size);
    rc = build_head(journal, prev, marks, &head, err);
    if (!rc)
        rc = write_segment(journal, temporary, dgf_buf_bytes(&head), &file, &reserved,
                           err);
    if (rc)
        return rc;
    if (prev)
        dgf_crash_point("ledger_rotate_written");
    rc = dgf_file_rename(temporary, path, err);
    if (rc)
        return rc;
    if (prev)
        dgf_crash_point("ledger_rotate_renamed");
    rc = dgf_dir_sync(dir, err);
    if (rc)
        return rc;
    dgf_file_close(dgf_steal(journal->file));
    dgf_file_close(dgf_steal(file)); /* later texts name the file as it is called now */
    rc = dgf_file_open(path, DGF_FILE_WRITE, &journal->file, err);
    if (rc)
        return rc == DGF_AGAIN ? as(err, DGF_FATAL) : rc;
    journal->first = journal->tree.size;
    journal->end = journal->size = head.len;
    journal->reserved = reserved;
    *ret_segment = (struct dgf_segment){.first = journal->first,
                                        .bytes = head.len,
                                        .batch_before = journal->batch,
                                        .created_ns = journal->time_ns};
    return DGF_OK;
}

enum dgf_rc dgf_journal_create(struct dgf_journal *journal,
                               struct dgf_segments *segments, int64_t now_ns,
                               struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf empty = {0};
    DGF_RELEASE(dgf_marks_release) struct dgf_marks marks = {0};
    struct dgf_segment segment;
    enum dgf_rc rc;

    dgf_marks_init(&marks);
    dgf_buf_init(&empty, 4096);
    dgf_marks_put(&marks, &empty);
    if (dgf_buf_rc(&empty))
        return dgf_err_set(err, DGF_NOMEM, "cannot make a new ledger: out of memory");
    dgf_tree_init(&journal->tree);
    dgf_random(journal->log_id, sizeof(journal->log_id));
    journal->batch = 0;
    journal->time_ns = now_ns;
    rc = add_segment(journal, NULL, dgf_buf_bytes(&empty), &segment, err);
    if (rc == DGF_AGAIN)
        return as(err, DGF_RETRY);
    if (!rc && dgf_segments_add(segments, &segment))
        rc = dgf_err_set(err, DGF_NOMEM, "cannot make a new ledger: out of memory");
    memcpy(segments->log_id, journal->log_id, sizeof(segments->log_id));
    return rc;
}

/* The walk ended at a fault: is it the torn last batch, or damage? */
static enum dgf_rc judge_end(struct dgf_walk *walk, struct dgf_err *err)
{
    uint64_t batch, offset;
    enum dgf_rc rc;

    if (walk->fault != DGF_FAULT_FRAME) /* whole frames that contradict each other */
        return as(err, DGF_FATAL);
    /* The write of a batch begins when the one before it is on disk.  So a
     * COMMIT two numbers on proves that what is damaged here was durable. */
    rc = dgf_scan_find_commit(&walk->scan, walk->damaged_at, walk->head.log_id,
                              walk->commit.batch + 2, &batch, &offset, err);
    if (rc == DGF_AGAIN)
        return DGF_OK;
    if (rc)
        return rc == DGF_NOMEM ? rc : as(err, DGF_FATAL);
    return dgf_err_set(
        err, DGF_FATAL,
        "journal segment '%" PRIu64 ".j' is damaged at byte %" PRIu64
        " in batch %" PRIu64 ", and batch %" PRIu64 " follows at byte %" PRIu64,
        walk->head.first, walk->damaged_at, walk->commit.batch + 1, batch, offset);
}

/* Second pass over what was accepted: cursors, cuts and the last positions. */
static enum dgf_rc collect_marks(struct dgf_walk *walk, uint64_t end,
                                 struct dgf_marks *marks, struct dgf_err *err)
{
    struct dgf_ledger_cursor cursor;
    struct dgf_frame frame;
    struct dgf_commit commit;
    struct dgf_rd rd;
    enum dgf_rc rc = DGF_OK;

    while (!rc && walk->scan.at < end) {
        rc = dgf_scan_next(&walk->scan, &frame, err);
        if (rc)
            return rc == DGF_NOMEM
                       ? rc
                       : dgf_err_set(err, DGF_FATAL,
                                     "the journal changes while it is recovered");
        if (frame.type == DGF_FRAME_CURSOR &&
            dgf_frame_get_cursor(frame.payload, &cursor))
            rc = dgf_marks_set_cursor(marks, cursor.name, cursor.value);
        else if (frame.type == DGF_FRAME_CUT)
            (void)dgf_frame_get_cut(frame.payload, &marks->cut);
        else if (frame.type == DGF_FRAME_COMMIT && walk->scan.at == end &&
                 dgf_frame_get_commit(frame.payload, &commit)) {
            memcpy(marks->policy_set, commit.policy_set, sizeof(marks->policy_set));
            rd = dgf_rd_of(commit.positions);
            rc = dgf_marks_get_positions(marks, &rd);
            if (!rc && dgf_rd_left(&rd))
                rc = DGF_BAD_DATA;
        }
    }
    if (rc == DGF_BAD_DATA)
        return dgf_err_set(err, DGF_FATAL,
                           "journal segment '%" PRIu64
                           ".j' is damaged: the positions of batch "
                           "%" PRIu64 " cannot be read",
                           walk->head.first, walk->commit.batch);
    return rc ? dgf_err_set(err, rc, "cannot recover the journal: out of memory")
              : DGF_OK;
}

static enum dgf_rc recover(struct dgf_journal *journal, struct dgf_segment *newest,
                           struct dgf_marks *marks, struct dgf_walk *walk,
                           struct dgf_ledger_cut *ret_cut, struct dgf_err *err)
{
    uint64_t last, committed;
    enum dgf_rc rc = dgf_walk_open(walk, journal->dir, newest->first, marks, err);

    if (rc)
        return rc == DGF_BAD_DATA ? as(err, DGF_FATAL) : rc;
    journal->tree = walk->tree;
    do { /* the tree as of each COMMIT: leaves without one never happened */
        struct dgf_frame frame;

        rc = dgf_walk_next(walk, &frame, err);
        if (!rc && frame.type == DGF_FRAME_COMMIT)
            journal->tree = walk->tree;
    } while (!rc);
    if (rc == DGF_BAD_DATA)
        rc = judge_end(walk, err);
    if (rc && rc != DGF_AGAIN)
        return rc;
    committed = walk->committed;
    rc = dgf_scan_last_byte(&walk->scan, committed, &last, err);
    if (rc)
        return rc;
    ret_cut->bytes = last - committed;
    ret_cut->offset = committed;
    ret_cut->segment = newest->first;
    memcpy(journal->log_id, walk->head.log_id, sizeof(journal->log_id));
    journal->first = newest->first;
    journal->end = newest->bytes = committed;
    journal->size = walk->scan.limit;
    journal->batch = walk->commit.batch;
    journal->time_ns = walk->commit.time_ns;
    rc = dgf_walk_open(walk, journal->dir, newest->first, NULL, err);
    return rc ? rc : collect_marks(walk, committed, marks, err);
}

enum dgf_rc dgf_journal_recover(struct dgf_journal *journal,
                                struct dgf_segments *segments, struct dgf_marks *marks,
                                struct dgf_ledger_cut *ret_cut, struct dgf_err *err)
{
    struct dgf_walk walk;
    enum dgf_rc rc;

    dgf_walk_init(&walk, true);
    rc = recover(journal, &segments->at[segments->n - 1], marks, &walk, ret_cut, err);
    dgf_walk_release(&walk);
    return rc;
}

struct leftovers {
    char names[8][32];
    size_t n;
};

static void note_temporary(void *ctx, const char *name)
{
    struct leftovers *found = ctx;
    size_t len = strlen(name);

    if (len > 6 && len < sizeof(found->names[0]) &&
        strcmp(name + len - 6, ".j.new") == 0 && found->n < DGF_ARRAY_LEN(found->names))
        memcpy(found->names[found->n++], name, len + 1);
}

/* Segments that never got their name. */
static enum dgf_rc remove_temporaries(struct dgf_journal *journal, struct dgf_err *err)
{
    struct leftovers found = {.n = 0};
    char dir[DGF_PATH_MAX], path[DGF_PATH_MAX + 40];
    enum dgf_rc rc;

    folder(journal, dir);
    rc = dgf_dir_list(dir, note_temporary, &found, err);
    for (size_t i = 0; !rc && i < found.n; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, found.names[i]);
        rc = dgf_file_remove(path, err);
    }
    return rc;
}

enum dgf_rc dgf_journal_trim(struct dgf_journal *journal, struct dgf_err *err)
{
    char path[DGF_PATH_MAX], dir[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_segment_path(path, journal->dir, journal->first);
    rc = dgf_file_open(path, DGF_FILE_WRITE, &journal->file, err);
    if (rc)
        return rc;
    if (journal->size > journal->end) {
        dgf_crash_point("ledger_open_before_cut");
        rc = dgf_file_truncate(journal->file, journal->end, err);
        if (rc)
            return rc;
    }
    /* Always: the last batch may be whole and yet be in the page cache only,
     * when the process before us died between write and sync.  And without it
     * bytes of a batch that was cut could come back behind a shorter one. */
    rc = dgf_file_sync(journal->file, err);
    if (rc)
        return rc;
    if (journal->size > journal->end)
        dgf_crash_point("ledger_open_after_cut");
    journal->size = journal->reserved = journal->end;
    rc = remove_temporaries(journal, err);
    if (rc)
        return rc;
    folder(journal, dir);
    return dgf_dir_sync(dir, err); /* a rename before us may not be on disk either */
}

enum dgf_rc dgf_journal_reserve(struct dgf_journal *journal, uint64_t len,
                                struct dgf_err *err)
{
    uint64_t need = journal->end + len;
    enum dgf_rc rc;

    if (need <= journal->reserved)
        return DGF_OK;
    rc =
        dgf_file_reserve(journal->file, journal->end, len + journal->reserve_step, err);
    if (!rc) {
        journal->reserved = need + journal->reserve_step;
        return DGF_OK;
    }
    if (rc != DGF_AGAIN)
        return rc;
    rc = dgf_file_reserve(journal->file, journal->end, len, err);
    if (!rc)
        journal->reserved = need;
    return rc;
}

enum dgf_rc dgf_journal_write(struct dgf_journal *journal, struct dgf_bytes frames,
                              struct dgf_err *err)
{
    enum dgf_rc rc;

    dgf_crash_point("ledger_before_write");
    rc = dgf_file_write(journal->file, journal->end, frames, err);
    if (rc)
        return rc;
    dgf_crash_point("ledger_after_write");
    rc = dgf_file_sync(journal->file, err);
    if (rc)
        return rc;
    dgf_crash_point("ledger_after_sync");
    journal->end += frames.len;
    journal->size = journal->end;
    return DGF_OK;
}

enum dgf_rc dgf_journal_rotate(struct dgf_journal *journal, struct dgf_bytes marks,
                               struct dgf_segment *ret_segment, struct dgf_err *err)
{
    struct dgf_segment prev = {.first = journal->first, .bytes = journal->end};
    enum dgf_rc rc;

    /* Gives back what was reserved; the length is what the next HEAD names. */
    rc = dgf_file_truncate(journal->file, journal->end, err);
    if (!rc)
        rc = dgf_file_sync(journal->file, err);
    if (rc)
        return rc;
    journal->reserved = journal->end;
    dgf_crash_point("ledger_rotate_trimmed");
    rc = add_segment(journal, &prev, marks, ret_segment, err);
    if (!rc)
        dgf_crash_point("ledger_rotate_done");
    return rc;
}

enum dgf_rc dgf_journal_remove(struct dgf_journal *journal, uint64_t first,
                               struct dgf_err *err)
{
    char path[DGF_PATH_MAX], dir[DGF_PATH_MAX];
    enum dgf_rc rc = DGF_OK;

    dgf_segment_path(path, journal->dir, first);
    if (dgf_file_exists(path))
        rc = dgf_file_remove(path, err);
    if (rc)
        return rc;
    dgf_crash_point("ledger_prune_removed");
    /* One at a time: two removals the disk swaps would leave a hole. */
    folder(journal, dir);
    return dgf_dir_sync(dir, err);
}
