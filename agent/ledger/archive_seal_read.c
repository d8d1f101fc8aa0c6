/* From the journal to a segment's file, and back from the file to its hashes. */
#include <inttypes.h>

#include "base/sha256.h"
#include "ledger/archive_impl.h"
#include "ledger/archive_segment.h"

#define OUT_BYTES (256u << 10)
#define IN_BYTES (512u << 10)
#define MAX_PACKED (IN_BYTES / 2 + 4096) /* a frame of ours, packed */
#define MAX_LINES 64

/* ---- journal to file ---------------------------------------------------------- */

struct writing {
    struct dgf_seal *seal;
    struct dgf_segment_writer *packer;
    struct dgf_file *file;
    struct dgf_buf out;
    uint64_t at;
    bool cut;     /* seen in the batch that is being read */
    bool changes; /* a transaction of the state is open */
};

static enum dgf_rc no_memory(struct dgf_err *err)
{
    return dgf_err_set(err, DGF_NOMEM, "cannot seal a segment: out of memory");
}

static enum dgf_rc flush(struct writing *w, size_t more_than, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (w->out.len > more_than) {
        rc = dgf_objects_write(w->file, &w->at, dgf_buf_bytes(&w->out), err);
        dgf_buf_clear(&w->out);
    }
    return rc;
}

/* u32 length, path, 32 bytes of hash; again and again. */
static enum dgf_rc take_policies(struct dgf_manifest *manifest, struct dgf_bytes value)
{
    struct dgf_rd rd = dgf_rd_of(value);

    dgf_manifest_clear_policies(manifest);
    while (dgf_rd_left(&rd) > 0) {
        struct dgf_bytes path = dgf_rd_bytes(&rd, dgf_rd_le32(&rd));
        struct dgf_bytes hash = dgf_rd_bytes(&rd, DGF_SHA256_LEN);
        enum dgf_rc rc =
            rd.bad ? DGF_BAD_DATA : dgf_manifest_policy(manifest, path, hash.ptr);

        if (rc)
            return rc;
    }
    return DGF_OK;
}

static enum dgf_rc on_change(struct writing *w, struct dgf_bytes payload,
                             struct dgf_err *err)
{
    struct dgf_sealer *sealer = w->seal->sealer;
    struct dgf_change change;
    enum dgf_rc rc = DGF_OK;

    if (!dgf_frame_get_change(payload, &change))
        return dgf_err_set(err, DGF_BAD_DATA, "a state frame is malformed");
    if (dgf_bytes_eq(change.key, dgf_bytes_str(DGF_ARCHIVE_POLICIES_STATE)) &&
        change.op == DGF_STATE_PUT) {
        rc = take_policies(&w->seal->manifest, change.value);
        if (rc)
            return rc == DGF_NOMEM
                       ? no_memory(err)
                       : dgf_err_set(err, rc, "the list of policies is malformed");
    }
    /* A seal that is done again may have got this far before. */
    if (sealer->walk.commit.batch < dgf_state_db_batch(sealer->state))
        return DGF_OK;
    if (!w->changes)
        rc = dgf_state_db_begin(sealer->state, err);
    w->changes = true;
    return rc ? rc : dgf_state_db_change(sealer->state, &change, err);
}

static enum dgf_rc on_leaf(struct writing *w, struct dgf_bytes payload,
                           struct dgf_err *err)
{
    struct dgf_leaf_frame leaf;
    enum dgf_rc rc;

    if (!dgf_frame_get_leaf(payload, &leaf))
        return dgf_err_set(err, DGF_BAD_DATA, "a leaf is malformed");
    rc = dgf_manifest_line(&w->seal->manifest, leaf.line);
    if (rc == DGF_BAD_DATA)
        return dgf_err_set(err, rc, "record %" PRIu64 " is no JSON",
                           w->seal->sealer->walk.size - 1);
    if (!rc)
        rc = dgf_segment_writer_add(w->packer, leaf.line, &w->out);
    return rc ? no_memory(err) : flush(w, OUT_BYTES, err);
}

/* What stands at the end of the segment. */
static enum dgf_rc on_last_commit(struct writing *w, struct dgf_bytes payload,
                                  struct dgf_err *err)
{
    struct dgf_seal *seal = w->seal;
    struct dgf_commit commit;
    struct dgf_rd rd;
    enum dgf_rc rc;

    if (!dgf_frame_get_commit(payload, &commit))
        return dgf_err_set(err, DGF_BAD_DATA, "a commit is malformed");
    rd = dgf_rd_of(commit.positions);
    rc = dgf_marks_get_positions(&seal->marks, &rd);
    if (rc)
        return rc == DGF_NOMEM
                   ? no_memory(err)
                   : dgf_err_set(err, rc, "positions of a commit are malformed");
    seal->batch = commit.batch;
    seal->time_ns = commit.time_ns;
    memcpy(seal->root, commit.root, sizeof(seal->root));
    memcpy(seal->manifest.policy_set, commit.policy_set,
           sizeof(seal->manifest.policy_set));
    seal->manifest.last = commit.size - 1;
    return DGF_OK;
}

enum dgf_rc dgf_sealer_frame(struct dgf_sealer *sealer, struct dgf_frame *ret,
                             struct dgf_err *err)
{
    struct dgf_walk *walk = &sealer->walk;
    enum dgf_rc rc = dgf_walk_next(walk, ret, err);
    uint64_t before = walk->scan.limit;

    if (rc != DGF_AGAIN)
        return rc;
    rc = dgf_scan_measure(&walk->scan, err);
    if (rc)
        return rc;
    if (walk->scan.limit > before)
        return dgf_walk_next(walk, ret, err);
    if (walk->size == walk->head.first)
        return dgf_err_set(err, DGF_BAD_DATA, "the journal ends before the cut");
    rc = dgf_walk_open(walk, sealer->dir, walk->size, NULL, err);
    if (rc)
        return dgf_err_prefix(err, "the journal cannot be followed to the cut");
    return dgf_walk_next(walk, ret, err);
}

static enum dgf_rc read_journal(struct writing *w, struct dgf_err *err)
{
    struct dgf_sealer *sealer = w->seal->sealer;

    for (;;) {
        struct dgf_frame frame;
        uint64_t cut;
        enum dgf_rc rc = dgf_sealer_frame(sealer, &frame, err);

        if (rc == DGF_AGAIN)
            rc = dgf_err_set(err, DGF_BAD_DATA, "the journal ends before the cut");
        if (rc)
            return rc;
        if (frame.type == DGF_FRAME_LEAF)
            rc = on_leaf(w, frame.payload, err);
        else if (frame.type == DGF_FRAME_STATE)
            rc = on_change(w, frame.payload, err);
        else if (frame.type == DGF_FRAME_CUT)
            w->cut = dgf_frame_get_cut(frame.payload, &cut) && cut == sealer->walk.size;
        if (rc)
            return rc;
        if (frame.type == DGF_FRAME_COMMIT && w->cut)
            return on_last_commit(w, frame.payload, err);
    }
}

static enum dgf_rc finish_state(struct writing *w, struct dgf_err *err)
{
    struct dgf_state_db *state = w->seal->sealer->state;
    bool is_new = dgf_state_db_batch(state) == 0;
    enum dgf_rc rc = DGF_OK;

    if (dgf_state_db_batch(state) >= w->seal->batch)
        return DGF_OK;
    if (!w->changes)
        rc = dgf_state_db_begin(state, err);
    if (!rc)
        rc = dgf_state_db_commit(state, w->seal->batch, err);
    if (!rc)
        rc = dgf_state_db_checkpoint(state, err);
    /* Its name must last too. */
    return rc || !is_new ? rc : dgf_dir_sync(w->seal->sealer->dir, err);
}

enum dgf_rc dgf_seal_write(struct dgf_seal *seal, struct dgf_err *err)
{
    struct dgf_sealer *sealer = seal->sealer;
    struct writing w = {.seal = seal};
    char name[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc;

    dgf_name_segment(name, seal->manifest.first);
    dgf_buf_init(&w.out, 2 * OUT_BYTES + (16u << 20));
    rc = dgf_segment_writer_new(DGF_ARCHIVE_LEVEL, &w.packer);
    if (rc)
        return no_memory(err);
    rc = dgf_objects_create(&sealer->objects, name, &w.file, err);
    if (!rc)
        rc = read_journal(&w, err);
    if (!rc && dgf_segment_writer_end(w.packer, &w.out))
        rc = no_memory(err);
    if (!rc)
        rc = flush(&w, 0, err);
    if (!rc)
        rc = dgf_file_sync(w.file, err);
    if (!rc)
        rc = finish_state(&w, err);
    seal->file_bytes = w.at;
    dgf_file_close(w.file);
    dgf_segment_writer_free(w.packer);
    dgf_buf_release(&w.out);
    return rc;
}

/* ---- and back ----------------------------------------------------------------------
 */

struct checking {
    struct dgf_seal *seal;
    struct dgf_err *err;
    struct dgf_unpacker *unpacker;
    struct dgf_file *file;
    struct dgf_buf in, plain;
    uint64_t at; /* of the file: read so far */
    struct dgf_sha256_sum file_sum, leaves_sum;
    uint64_t n_lines;
    bool ended; /* the index was seen */
};

static enum dgf_rc not_the_same(struct dgf_seal *seal, const char *what,
                                struct dgf_err *err)
{
    return dgf_err_set(err, DGF_BAD_DATA,
                       "what was read back of the segment from %" PRIu64
                       " is not what was committed: %s",
                       seal->manifest.first, what);
}

static enum dgf_rc put_tile(void *ctx, const struct dgf_tile *tile,
                            struct dgf_bytes hashes)
{
    struct checking *c = ctx;
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_tile(name, tile);
    return dgf_objects_put(&c->seal->sealer->objects, name, hashes, c->err);
}

static enum dgf_rc hash_lines(struct checking *c, struct dgf_err *err)
{
    struct dgf_bytes rest = dgf_buf_bytes(&c->plain), lines[MAX_LINES];
    uint8_t hashes[MAX_LINES][DGF_SHA256_LEN];

    while (rest.len > 0) {
        const uint8_t *begin = rest.ptr;
        size_t n = 0;
        enum dgf_rc rc;

        for (; n < MAX_LINES && rest.len > 0; n++) {
            const uint8_t *lf = memchr(rest.ptr, '\n', rest.len);

            if (!lf)
                return not_the_same(c->seal, "a line has no end", err);
            lines[n] = dgf_bytes_of(rest.ptr, (size_t)(lf - rest.ptr));
            rest = dgf_bytes_of(lf + 1, rest.len - lines[n].len - 1);
        }
        dgf_sha256_add_and_leaves(&c->leaves_sum,
                                  dgf_bytes_of(begin, (size_t)(rest.ptr - begin)),
                                  lines, n, hashes);
        c->n_lines += n;
        rc = dgf_tiles_append(c->seal->sealer->work, hashes, n, put_tile, c);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

/* Enough for one frame, or all there is. */
static enum dgf_rc fill(struct checking *c, struct dgf_err *err)
{
    size_t n = IN_BYTES - c->in.len;
    enum dgf_rc rc = DGF_OK;

    if (c->in.len < MAX_PACKED && n > 0)
        rc = dgf_file_read(c->file, c->at, c->in.ptr + c->in.len, n, &n, err);
    else
        n = 0;
    c->in.len += n;
    c->at += n;
    return rc;
}

static enum dgf_rc check_frame(struct checking *c, struct dgf_err *err)
{
    size_t used = 0;
    enum dgf_rc rc;

    dgf_buf_clear(&c->plain);
    rc = dgf_unpack_frame(c->unpacker, dgf_buf_bytes(&c->in),
                          DGF_ARCHIVE_FRAME_BYTES + (64u << 10), &c->plain, &used);
    if (rc == DGF_NOMEM)
        return no_memory(err);
    if (rc == DGF_BAD_DATA || c->ended)
        return not_the_same(c->seal, "a frame of it cannot be unpacked", err);
    c->ended = rc == DGF_AGAIN;
    dgf_sha256_add(&c->file_sum, dgf_bytes_of(c->in.ptr, used));
    memmove(c->in.ptr, c->in.ptr + used, c->in.len - used);
    c->in.len -= used;
    return c->ended ? DGF_OK : hash_lines(c, err);
}

static enum dgf_rc check_root(struct checking *c, struct dgf_err *err)
{
    struct dgf_seal *seal = c->seal;
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_tree tree;

    if (!c->ended || c->at != seal->file_bytes)
        return not_the_same(seal, "it has another length", err);
    if (c->n_lines != seal->manifest.last - seal->manifest.first + 1)
        return not_the_same(seal, "it has another number of records", err);
    dgf_tiles_tree(seal->sealer->work, &tree);
    dgf_tree_root(&tree, root);
    if (memcmp(root, seal->root, sizeof(root)) != 0)
        return not_the_same(seal, "its records do not give the root of their commit",
                            err);
    memcpy(seal->manifest.root_after, root, sizeof(root));
    dgf_sha256_end(&c->leaves_sum, seal->manifest.leaves_sha256);
    dgf_sha256_end(&c->file_sum, seal->manifest.file_sha256);
    return DGF_OK;
}

static enum dgf_rc put_partial_tiles(struct dgf_seal *seal, struct dgf_err *err)
{
    struct dgf_tiles *tiles = seal->sealer->work;

    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
        char name[DGF_ARCHIVE_NAME_MAX];
        struct dgf_tile tile;
        enum dgf_rc rc;

        if (!dgf_tile_partial(tiles->size, level, &tile))
            continue;
        dgf_name_tile(name, &tile);
        rc = dgf_objects_put(&seal->sealer->objects, name,
                             dgf_tiles_partial(tiles, level), err);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

enum dgf_rc dgf_seal_check(struct dgf_seal *seal, struct dgf_err *err)
{
    struct dgf_sealer *sealer = seal->sealer;
    struct checking c = {.seal = seal, .err = err};
    char name[DGF_ARCHIVE_NAME_MAX], path[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_name_segment(name, seal->manifest.first);
    dgf_objects_temporary(&sealer->objects, name, path);
    dgf_buf_init(&c.in, IN_BYTES);
    dgf_buf_init(&c.plain, DGF_ARCHIVE_FRAME_BYTES + (128u << 10));
    dgf_sha256_begin(&c.file_sum);
    dgf_sha256_begin(&c.leaves_sum);
    *sealer->work = *sealer->tiles;
    if (!dgf_buf_room(&c.in, IN_BYTES) || dgf_unpacker_new(&c.unpacker))
        rc = no_memory(err);
    else
        rc = dgf_file_open(path, DGF_FILE_READ, &c.file, err);
    if (!rc)
        rc = fill(&c, err);
    while (!rc && c.in.len > 0) {
        rc = check_frame(&c, err);
        if (!rc)
            rc = fill(&c, err);
    }
    if (!rc)
        rc = check_root(&c, err);
    if (!rc)
        rc = put_partial_tiles(seal, err);
    dgf_file_close(c.file);
    dgf_unpacker_free(c.unpacker);
    dgf_buf_release(&c.in);
    dgf_buf_release(&c.plain);
    return rc;
}
