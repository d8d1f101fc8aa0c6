#include "ledger/walk.h"

#include <inttypes.h>

#include "base/mem.h"
#include "ledger/leaves.h"

/* The scan's window moves on, so lines wait as copies. */
struct dgf_waiting {
    struct dgf_leaves leaves;
    size_t used;
    uint8_t bytes[2 * DGF_LEDGER_LINE_MAX];
};

void dgf_walk_init(struct dgf_walk *walk, bool hash)
{
    memset(walk, 0, sizeof(*walk));
    dgf_scan_init(&walk->scan);
    walk->hash = hash;
}

void dgf_walk_release(struct dgf_walk *walk)
{
    dgf_scan_release(&walk->scan);
    dgf_free(dgf_steal(walk->waiting));
}

static void hash_waiting(struct dgf_walk *walk)
{
    dgf_leaves_hash(&walk->waiting->leaves, &walk->tree);
    walk->waiting->used = 0;
}

static void add_leaf(struct dgf_walk *walk, struct dgf_bytes line)
{
    struct dgf_waiting *waiting = walk->waiting;
    uint8_t *copy;

    walk->size++;
    if (!walk->hash)
        return;
    if (sizeof(waiting->bytes) - waiting->used < line.len)
        hash_waiting(walk);
    copy = waiting->bytes + waiting->used;
    memcpy(copy, line.ptr, line.len);
    waiting->used += line.len;
    dgf_leaves_add(&waiting->leaves, dgf_bytes_of(copy, line.len), &walk->tree);
    if (waiting->leaves.n == 0)
        waiting->used = 0;
}

enum dgf_rc dgf_walk_open(struct dgf_walk *walk, const char *dir, uint64_t first,
                          struct dgf_marks *marks, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_segment_path(path, dir, first);
    walk->fault = DGF_FAULT_NONE;
    walk->damaged_at = 0;
    if (walk->hash && !walk->waiting)
        walk->waiting = dgf_malloc(sizeof(*walk->waiting));
    if (walk->hash && !walk->waiting)
        return dgf_err_set(err, DGF_NOMEM, "cannot read '%s': out of memory", path);
    if (walk->hash)
        walk->waiting->leaves.n = walk->waiting->used = 0;
    rc = dgf_scan_open(&walk->scan, path, err);
    if (!rc)
        rc = dgf_segment_head(&walk->scan, dir, first, &walk->head, err);
    if (rc)
        return rc;
    rc = dgf_segment_head_rest(&walk->head, &walk->tree, marks);
    if (rc == DGF_NOMEM)
        return dgf_err_set(err, rc, "cannot read '%s': out of memory", path);
    if (rc)
        return dgf_err_set(err, rc, "journal segment '%s': its head frame is damaged",
                           path);
    memset(&walk->commit, 0, sizeof(walk->commit));
    walk->commit.batch = walk->head.batch_before;
    walk->commit.size = walk->head.first;
    walk->commit.time_ns = walk->head.created_ns;
    walk->has_commit = false;
    walk->committed = walk->scan.at;
    walk->size = walk->head.first;
    walk->n_frames = walk->chain = 0;
    return DGF_OK;
}

void dgf_walk_rewind(struct dgf_walk *walk)
{
    dgf_scan_seek(&walk->scan, walk->committed);
    walk->size = walk->commit.size; /* the tree would be wrong */
    walk->n_frames = walk->chain = 0;
    walk->fault = DGF_FAULT_NONE;
}

uint8_t dgf_walk_damaged_type(struct dgf_walk *walk)
{
    struct dgf_err err;
    uint8_t type;
    size_t n;

    if (dgf_file_read(walk->scan.file, walk->damaged_at + 4, &type, 1, &n, &err) ||
        n != 1)
        return 0;
    return type;
}

static enum dgf_rc fault(struct dgf_walk *walk, enum dgf_fault kind, uint64_t at,
                         const char *what, struct dgf_err *err)
{
    bool of_leaf = kind == DGF_FAULT_SEQ;

    walk->fault = kind;
    walk->damaged_at = at;
    if (kind == DGF_FAULT_FRAME)
        of_leaf = dgf_walk_damaged_type(walk) != DGF_FRAME_COMMIT;
    walk->bad_index = of_leaf ? walk->size : walk->commit.size;
    return dgf_err_set(err, DGF_BAD_DATA,
                       "journal segment '%" PRIu64 ".j' is damaged at byte %" PRIu64
                       " (index %" PRIu64 "): %s",
                       walk->head.first, at, walk->bad_index, what);
}

static enum dgf_rc check_commit(struct dgf_walk *walk, const struct dgf_frame *frame,
                                struct dgf_err *err)
{
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_commit commit;

    if (!dgf_frame_get_commit(frame->payload, &commit))
        return fault(walk, DGF_FAULT_FRAME, frame->offset, "not a commit frame", err);
    if (memcmp(commit.log_id, walk->head.log_id, sizeof(commit.log_id)) != 0)
        return fault(walk, DGF_FAULT_ORIGIN, frame->offset, "commit of another log",
                     err);
    if (commit.batch != walk->commit.batch + 1)
        return fault(walk, DGF_FAULT_BATCH, frame->offset, "batch number out of order",
                     err);
    if (commit.n_frames != walk->n_frames || commit.chain != walk->chain)
        return fault(walk, DGF_FAULT_BATCH, frame->offset,
                     "not the frames that were committed", err);
    if (commit.size != walk->size)
        return fault(walk, DGF_FAULT_SIZE, frame->offset, "commit counts other leaves",
                     err);
    if (walk->hash) {
        hash_waiting(walk);
        dgf_tree_root(&walk->tree, root);
        if (memcmp(root, commit.root, sizeof(root)) != 0)
            return fault(walk, DGF_FAULT_ROOT, frame->offset,
                         "leaves do not give its root", err);
    }
    if (commit.time_ns < walk->commit.time_ns)
        return fault(walk, DGF_FAULT_TIME, frame->offset, "time goes back", err);
    walk->commit = commit;
    walk->has_commit = true;
    walk->committed = frame->offset + frame->len;
    walk->n_frames = walk->chain = 0;
    return DGF_OK;
}

/* Records begin with their own index (`{"v":1,"seq":12,`); other lines may
 * say what they like. */
static bool is_own_index(struct dgf_bytes line, uint64_t index)
{
    static const char begin[] = "{\"v\":1,\"seq\":";
    const uint8_t *p = line.ptr + sizeof(begin) - 1, *end = line.ptr + line.len;
    uint64_t seq = 0;

    if (line.len < sizeof(begin) || memcmp(line.ptr, begin, sizeof(begin) - 1) != 0)
        return true;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (seq > (UINT64_MAX - 9) / 10)
            return false;
        seq = 10 * seq + (uint64_t)(*p - '0');
    }
    return seq == index;
}

static bool well_formed(struct dgf_walk *walk, const struct dgf_frame *frame)
{
    struct dgf_ledger_cursor cursor;
    struct dgf_leaf_frame leaf;
    struct dgf_change change;
    uint64_t cut;

    switch (frame->type) {
    case DGF_FRAME_LEAF:
        if (!dgf_frame_get_leaf(frame->payload, &leaf))
            return false;
        if (walk->seqs && !is_own_index(leaf.line, walk->size)) {
            walk->fault = DGF_FAULT_SEQ;
            return false;
        }
        add_leaf(walk, leaf.line);
        return true;
    case DGF_FRAME_STATE:
        return dgf_frame_get_change(frame->payload, &change);
    case DGF_FRAME_CURSOR:
        return dgf_frame_get_cursor(frame->payload, &cursor);
    case DGF_FRAME_CUT:
        return dgf_frame_get_cut(frame->payload, &cut);
    default:
        return false; /* a HEAD in the middle */
    }
}

enum dgf_rc dgf_walk_next(struct dgf_walk *walk, struct dgf_frame *ret_frame,
                          struct dgf_err *err)
{
    enum dgf_rc rc = dgf_scan_next(&walk->scan, ret_frame, err);

    if (rc == DGF_BAD_DATA)
        return fault(walk, DGF_FAULT_FRAME, walk->scan.at,
                     walk->scan.end == DGF_SCAN_CUT ? "a frame is cut off"
                                                    : "a frame fails its checksum",
                     err);
    if (rc)
        return rc;
    if (ret_frame->type == DGF_FRAME_COMMIT)
        return check_commit(walk, ret_frame, err);
    if (!well_formed(walk, ret_frame)) {
        walk->scan.end = DGF_SCAN_BAD;
        if (walk->fault == DGF_FAULT_SEQ)
            return fault(walk, DGF_FAULT_SEQ, ret_frame->offset,
                         "a record says it has another index", err);
        return fault(walk, DGF_FAULT_FRAME, ret_frame->offset, "a frame is malformed",
                     err);
    }
    walk->n_frames++;
    walk->chain = dgf_frame_chain(walk->chain, ret_frame->crc);
    return DGF_OK;
}

enum dgf_rc dgf_walk_to_end(struct dgf_walk *walk, struct dgf_err *err)
{
    struct dgf_frame frame;
    enum dgf_rc rc;

    do
        rc = dgf_walk_next(walk, &frame, err);
    while (!rc);
    return rc == DGF_AGAIN ? DGF_OK : rc;
}
