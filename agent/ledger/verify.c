#include "ledger/verify.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ledger/walk.h"

struct check {
    const char *dir;
    struct dgf_verification *verdict;
    struct dgf_walk walk;
    struct dgf_segments segments;
    bool begun; /* a segment was read: prev_* and the rest below are valid */
    uint64_t prev_first, prev_bytes;
    uint8_t log_id[DGF_LOG_ID_LEN];
};

/* The first thing that is wrong stays; tampered beats incomplete. */
static void judge(struct check *check, enum dgf_verified result, const char *class,
                  uint64_t index, const char *text)
{
    struct dgf_verification *verdict = check->verdict;

    if (verdict->result == DGF_VERIFIED_TAMPERED ||
        (verdict->result == result && result == DGF_VERIFIED_INCOMPLETE))
        return;
    verdict->result = result;
    verdict->class = class;
    verdict->index = index;
    (void)snprintf(verdict->text, sizeof(verdict->text), "%s", text);
}

static void judge_segment(struct check *check, uint64_t first, const char *class,
                          const char *what)
{
    char text[DGF_ERR_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "journal segment '%" PRIu64 ".j': %s", first,
                   what);
    judge(check, DGF_VERIFIED_TAMPERED, class, first, text);
}

/* HEAD must go on where the segment before it ended. */
static bool continues(struct check *check, const struct dgf_tree *tree,
                      const struct dgf_commit *commit)
{
    const struct dgf_head *head = &check->walk.head;
    uint8_t before[DGF_SHA256_LEN], now[DGF_SHA256_LEN];
    const char *class = NULL, *what = NULL;

    dgf_tree_root(tree, before);
    dgf_tree_root(&check->walk.tree, now);
    if (memcmp(head->log_id, check->log_id, sizeof(head->log_id)) != 0)
        class = "origin", what = "belongs to another log";
    else if (head->prev_first != check->prev_first || head->first != tree->size)
        class = "segment", what = "does not continue the segment before it";
    else if (head->prev_bytes != check->prev_bytes)
        class = "segment",
        what = "the segment before it has another length than it says";
    else if (head->batch_before != commit->batch)
        class = "segment", what = "batches are missing before it";
    else if (head->created_ns != commit->time_ns)
        class = "time", what = "does not begin at the time of the batch before it";
    else if (memcmp(before, now, sizeof(now)) != 0)
        class = "root", what = "does not begin with the root of the leaves before it";
    if (class)
        judge_segment(check, head->first, class, what);
    return !class;
}

/* A COMMIT frame in which nothing but the length is wrong. */
static bool is_whole_commit(struct dgf_scan *scan, uint64_t at, const uint8_t *log_id)
{
    struct dgf_err err;
    uint8_t *bytes;
    size_t have, len;
    bool whole = false;

    if (scan->limit - at < DGF_FRAME_OVERHEAD + DGF_COMMIT_MIN)
        return false;
    have = scan->limit - at > DGF_FRAME_MAX_PAYLOAD ? DGF_FRAME_MAX_PAYLOAD
                                                    : (size_t)(scan->limit - at);
    bytes = dgf_malloc(have);
    if (!bytes)
        return false;
    if (dgf_file_read(scan->file, at, bytes, have, &have, &err) == DGF_OK &&
        have >= DGF_FRAME_OVERHEAD + DGF_COMMIT_MIN && bytes[4] == DGF_FRAME_COMMIT &&
        memcmp(bytes + DGF_FRAME_HEAD_LEN, log_id, DGF_LOG_ID_LEN) == 0) {
        uint32_t stored = dgf_le32_at(bytes);

        for (unsigned bit = 0; bit < 32 && !whole; bit++) {
            len = stored ^ 1u << bit;
            if (len < DGF_COMMIT_MIN || len > have - DGF_FRAME_OVERHEAD)
                continue;
            dgf_le32_set(bytes, (uint32_t)len);
            whole = dgf_crc32c(0, dgf_bytes_of(bytes, DGF_FRAME_HEAD_LEN + len)) ==
                    dgf_le32_at(bytes + DGF_FRAME_HEAD_LEN + len);
        }
    }
    dgf_free(bytes);
    return whole;
}

/* The newest segment ends in something that is no frame.  An unfinished batch
 * is a row of whole frames and one that is cut off; no COMMIT stands in it. */
static enum dgf_rc is_unfinished(struct dgf_walk *walk, bool *ret, struct dgf_err *err)
{
    uint64_t batch, offset;
    enum dgf_rc rc;

    *ret = false;
    if (walk->fault != DGF_FAULT_FRAME || walk->scan.end != DGF_SCAN_CUT)
        return DGF_OK;
    rc = dgf_scan_find_commit(&walk->scan, walk->damaged_at, walk->head.log_id,
                              walk->commit.batch + 1, &batch, &offset, err);
    if (rc == DGF_OK || rc == DGF_BAD_DATA)
        return DGF_OK;
    if (rc != DGF_AGAIN)
        return rc;
    *ret = !is_whole_commit(&walk->scan, walk->damaged_at, walk->head.log_id);
    return DGF_OK;
}

static const char *class_of(struct dgf_walk *walk)
{
    uint8_t type;

    switch (walk->fault) {
    case DGF_FAULT_ORIGIN:
        return "origin";
    case DGF_FAULT_SIZE:
    case DGF_FAULT_ROOT:
        return "root";
    case DGF_FAULT_TIME:
        return "time";
    case DGF_FAULT_SEQ:
        return "seq";
    case DGF_FAULT_FRAME:
        type = dgf_walk_damaged_type(walk);
        return type == DGF_FRAME_LEAF     ? "leaf"
               : type == DGF_FRAME_COMMIT ? "root"
                                          : "segment";
    default:
        return "segment";
    }
}

/* Reads one segment to its end, or to what is wrong with it. */
static enum dgf_rc check_segment(struct check *check, bool newest, struct dgf_err *err)
{
    struct dgf_verification *verdict = check->verdict;
    struct dgf_walk *walk = &check->walk;
    struct dgf_frame frame;
    bool unfinished = false;
    uint64_t last;
    enum dgf_rc rc;

    do {
        rc = dgf_walk_next(walk, &frame, err);
        if (!rc && frame.type == DGF_FRAME_COMMIT) {
            verdict->size = walk->commit.size;
            verdict->batches = walk->commit.batch;
            memcpy(verdict->root, walk->commit.root, sizeof(verdict->root));
        }
    } while (!rc);
    if (rc != DGF_AGAIN && rc != DGF_BAD_DATA)
        return rc;
    if (rc == DGF_BAD_DATA && newest) {
        char text[DGF_ERR_TEXT_MAX];

        memcpy(text, err->text, sizeof(text));
        rc = is_unfinished(walk, &unfinished, err);
        if (rc)
            return rc;
        memcpy(err->text, text, sizeof(text));
        rc = unfinished ? DGF_AGAIN : DGF_BAD_DATA;
    }
    if (rc == DGF_BAD_DATA) {
        judge(check, DGF_VERIFIED_TAMPERED, class_of(walk), walk->bad_index, err->text);
        return DGF_OK;
    }
    rc = dgf_scan_last_byte(&walk->scan, walk->committed, &last, err);
    if (rc)
        return rc;
    if (newest)
        verdict->unfinished = last - walk->committed;
    else if (last > walk->committed || walk->scan.limit > walk->committed)
        judge_segment(check, walk->head.first, "segment",
                      "more follows its last batch");
    check->prev_first = walk->head.first;
    check->prev_bytes = walk->committed;
    return DGF_OK;
}

/* A listed segment cannot be opened.  True: it was pruned, and the check goes
 * on with the first that is still there. */
static bool was_pruned(struct check *check, size_t *at)
{
    struct dgf_segments now;
    struct dgf_err err;
    bool pruned;

    dgf_segments_init(&now);
    pruned = dgf_segments_list(&now, check->dir, &err) == DGF_OK &&
             now.at[0].first > check->segments.at[*at].first;
    if (pruned) {
        struct dgf_segments swap = check->segments;

        check->segments = now;
        now = swap;
        *at = 0;
        check->begun = false;
    }
    dgf_segments_release(&now);
    return pruned;
}

/* A segment that begins behind where the one before it ended. */
static void judge_hole(struct check *check, uint64_t from, uint64_t to)
{
    char text[DGF_ERR_TEXT_MAX];

    (void)snprintf(text, sizeof(text),
                   "journal segments from index %" PRIu64 " to %" PRIu64 " are missing",
                   from, to - 1);
    judge(check, DGF_VERIFIED_INCOMPLETE, "missing", from, text);
    check->begun = false; /* what comes now stands on its own HEAD */
}

static enum dgf_rc check_one(struct check *check, size_t *at, struct dgf_err *err)
{
    struct dgf_tree tree = check->walk.tree;
    struct dgf_commit commit = check->walk.commit;
    uint64_t first = check->segments.at[*at].first;
    struct dgf_marks marks;
    enum dgf_rc rc;

    dgf_marks_init(&marks);
    rc = dgf_walk_open(&check->walk, check->dir, first, &marks, err);
    dgf_marks_release(&marks);
    if (rc == DGF_BAD_CONFIG && was_pruned(check, at))
        return DGF_OK;
    if (rc == DGF_BAD_DATA) {
        judge(check, DGF_VERIFIED_TAMPERED, "segment", first, err->text);
        return DGF_OK;
    }
    if (rc)
        return rc;
    if (check->begun && check->walk.head.prev_first != check->prev_first &&
        first > tree.size)
        judge_hole(check, tree.size, first);
    if (check->begun && !continues(check, &tree, &commit))
        return DGF_OK;
    if (!check->begun) {
        if (check->verdict->result == DGF_VERIFIED_OK)
            check->verdict->first = first;
        check->verdict->size = first;
        check->verdict->batches = check->walk.head.batch_before;
        dgf_tree_root(&check->walk.tree, check->verdict->root);
        memcpy(check->log_id, check->walk.head.log_id, sizeof(check->log_id));
    }
    check->begun = true;
    rc = check_segment(check, *at + 1 == check->segments.n, err);
    ++*at;
    return rc;
}

enum dgf_rc dgf_ledger_verify(const char *dir, struct dgf_verification *ret,
                              struct dgf_err *err)
{
    struct dgf_err own;
    struct check check = {.dir = dir, .verdict = ret};
    enum dgf_rc rc;

    memset(ret, 0, sizeof(*ret));
    err = err ? err : &own;
    if (strlen(dir) > DGF_LEDGER_DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the path of the data directory is too long");
    dgf_walk_init(&check.walk, true);
    check.walk.seqs = true;
    dgf_segments_init(&check.segments);
    rc = dgf_segments_list(&check.segments, dir, err);
    if (rc == DGF_AGAIN)
        rc = err->rc = DGF_BAD_DATA;
    for (size_t at = 0;
         !rc && at < check.segments.n && ret->result != DGF_VERIFIED_TAMPERED;)
        rc = check_one(&check, &at, err);
    dgf_walk_release(&check.walk);
    dgf_segments_release(&check.segments);
    return rc;
}
