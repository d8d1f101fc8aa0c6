/* One segment from cut to checkpoint, step by step. */
#include <inttypes.h>
#include <stdio.h>

#include "ledger/archive_impl.h"
#include "ledger/archive_state.h"

#define OUT_BYTES (1u << 20)

/* ---- the journal at the newest cut -------------------------------------------------
 */

/* Reads on to the COMMIT of the batch that holds the cut before `next`. */
static enum dgf_rc find_cut(struct dgf_sealer *sealer, struct dgf_err *err)
{
    bool here = false;

    for (;;) {
        struct dgf_frame frame;
        uint64_t cut;
        enum dgf_rc rc = dgf_sealer_frame(sealer, &frame, err);

        if (rc == DGF_AGAIN)
            return dgf_err_set(err, DGF_BAD_DATA,
                               "the journal does not hold the cut before record "
                               "%" PRIu64,
                               sealer->next);
        if (rc)
            return rc;
        if (frame.type == DGF_FRAME_CUT && dgf_frame_get_cut(frame.payload, &cut))
            here = cut == sealer->next;
        if (frame.type == DGF_FRAME_COMMIT && here)
            return DGF_OK;
    }
}

static enum dgf_rc search_cut(struct dgf_sealer *sealer, struct dgf_err *err)
{
    DGF_RELEASE(dgf_segments_release) struct dgf_segments segments = {0};
    const struct dgf_segment *segment = NULL;
    enum dgf_rc rc;

    dgf_segments_init(&segments);
    rc = dgf_segments_list(&segments, sealer->dir, err);
    if (rc)
        return rc == DGF_AGAIN ? (err->rc = DGF_BAD_DATA) : rc;
    /* A cut stands in the file of the last leaf before it, or at the begin of the
     * next; state may follow it before the next leaf does. */
    for (size_t i = 0; i < segments.n; i++)
        if (segments.at[i].first < sealer->next || segments.at[i].first == 0)
            segment = &segments.at[i];
    if (!segment)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the journal begins at record %" PRIu64
                           ", but the archive goes on at record %" PRIu64
                           ": what is between is not there any more",
                           segments.at[0].first, sealer->next);
    rc = dgf_walk_open(&sealer->walk, sealer->dir, segment->first, NULL, err);
    return rc || sealer->next == 0 ? rc : find_cut(sealer, err);
}

static enum dgf_rc stand_at_cut(struct dgf_sealer *sealer, struct dgf_err *err)
{
    enum dgf_rc rc;

    if (!sealer->at.known)
        return search_cut(sealer, err);
    rc = dgf_walk_open(&sealer->walk, sealer->dir, sealer->at.first, NULL, err);
    if (rc)
        return rc;
    sealer->walk.commit = sealer->at.commit;
    sealer->walk.committed = sealer->at.offset;
    sealer->walk.has_commit = true;
    dgf_walk_rewind(&sealer->walk);
    return DGF_OK;
}

static void remember_cut(struct dgf_sealer *sealer)
{
    sealer->at.known = true;
    sealer->at.first = sealer->walk.head.first;
    sealer->at.offset = sealer->walk.committed;
    sealer->at.commit = sealer->walk.commit;
    sealer->at.commit.positions = (struct dgf_bytes){NULL, 0};
}

/* ---- state -------------------------------------------------------------------------
 */

struct state_out {
    struct dgf_state_db *db; /* reads */
    struct dgf_state_writer writer;
    struct dgf_file *file; /* NULL in the first pass */
    struct dgf_buf out;
    uint64_t at;
    struct dgf_sha256_sum sum;
    struct dgf_err *err;
};

static enum dgf_rc flush_state(struct state_out *s, enum dgf_rc rc)
{
    if (rc)
        return dgf_err_set(s->err, rc, "cannot seal state: out of memory");
    if (s->out.len == 0)
        return DGF_OK;
    dgf_sha256_add(&s->sum, dgf_buf_bytes(&s->out));
    rc = dgf_objects_write(s->file, &s->at, dgf_buf_bytes(&s->out), s->err);
    dgf_buf_clear(&s->out);
    return rc;
}

static enum dgf_rc add_state(void *ctx, struct dgf_bytes key, struct dgf_bytes value)
{
    struct state_out *s = ctx;

    return flush_state(s, dgf_state_writer_add(&s->writer, key, value, &s->out));
}

static enum dgf_rc pass(struct state_out *s, struct dgf_seal *seal)
{
    enum dgf_rc rc =
        flush_state(s, dgf_state_writer_begin(&s->writer, seal->manifest.last + 1,
                                              seal->batch, &seal->marks, &s->out));

    if (!rc)
        rc = dgf_state_db_each(s->db, dgf_bytes_of("", 0), add_state, s, s->err);
    return rc ? rc : flush_state(s, dgf_state_writer_end(&s->writer, &s->out));
}

enum dgf_rc dgf_seal_state(struct dgf_seal *seal, struct dgf_err *err)
{
    struct dgf_sealer *sealer = seal->sealer;
    struct state_out s = {.err = err};
    char name[DGF_ARCHIVE_NAME_MAX], path[DGF_PATH_MAX];
    enum dgf_rc rc;

    if (dgf_state_db_batch(sealer->state) != seal->batch)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "'%s/sealed.db' stands at batch %" PRIu64
                           " instead of %" PRIu64,
                           sealer->dir, dgf_state_db_batch(sealer->state), seal->batch);
    dgf_name_state(name, seal->manifest.first);
    dgf_buf_init(&s.out, 2 * OUT_BYTES + (16u << 20));
    dgf_sha256_begin(&s.sum);
    dgf_state_writer_init(&s.writer, sealer->state_key, sealer->log_id,
                          seal->manifest.first);
    (void)snprintf(path, sizeof(path), "%s/sealed.db", sealer->dir);
    rc = dgf_state_db_open_reader(path, &s.db, err);
    if (!rc)
        rc = pass(&s, seal);
    if (!rc)
        rc = dgf_objects_create(&sealer->objects, name, &s.file, err);
    if (!rc)
        rc = pass(&s, seal);
    if (!rc)
        rc = dgf_file_sync(s.file, err);
    dgf_sha256_end(&s.sum, seal->manifest.state_sha256);
    dgf_file_close(s.file);
    dgf_state_db_free(s.db);
    dgf_state_writer_release(&s.writer);
    dgf_buf_release(&s.out);
    return rc;
}

/* ---- publishing -------------------------------------------------------------------
 */

static enum dgf_rc for_tiles(struct dgf_seal *seal,
                             enum dgf_rc (*act)(struct dgf_objects *objects,
                                                const char *name, struct dgf_err *err),
                             struct dgf_err *err)
{
    struct dgf_tile_list list;
    struct dgf_tile tile;
    enum dgf_rc rc = DGF_OK;

    dgf_tile_list_init(&list, seal->manifest.first, seal->manifest.last + 1);
    while (!rc && dgf_tile_list_next(&list, &tile)) {
        char name[DGF_ARCHIVE_NAME_MAX];

        dgf_name_tile(name, &tile);
        rc = act(&seal->sealer->objects, name, err);
    }
    return rc;
}

/* Everything the manifest names has its name, and then the manifest. */
static enum dgf_rc publish(struct dgf_seal *seal, struct dgf_bytes manifest,
                           struct dgf_err *err)
{
    struct dgf_objects *objects = &seal->sealer->objects;
    char segment[DGF_ARCHIVE_NAME_MAX], state[DGF_ARCHIVE_NAME_MAX];
    char json[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc;

    dgf_name_segment(segment, seal->manifest.first);
    dgf_name_state(state, seal->manifest.first);
    dgf_name_manifest(json, seal->manifest.first);
    rc = for_tiles(seal, dgf_objects_sync, err);
    if (!rc)
        rc = dgf_objects_put(objects, json, manifest, err);
    if (!rc)
        rc = dgf_objects_sync(objects, json, err);
    if (!rc)
        rc = dgf_objects_rename(objects, segment, err);
    if (!rc)
        rc = dgf_objects_rename(objects, state, err);
    if (!rc)
        rc = for_tiles(seal, dgf_objects_rename, err);
    if (!rc)
        rc = dgf_objects_rename(objects, json, err);
    return rc ? rc : dgf_objects_sync_folders(objects, err);
}

/* The newest of its name, whole or as before. */
static enum dgf_rc replace(struct dgf_sealer *sealer, const char *name,
                           struct dgf_bytes bytes, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc = dgf_objects_folders(&sealer->objects, name, err);

    dgf_objects_path(&sealer->objects, name, path);
    if (!rc)
        rc = dgf_file_replace(path, bytes, 0600, err);
    return rc ? rc : dgf_objects_sync_folders(&sealer->objects, err);
}

static enum dgf_rc put_keys(struct dgf_sealer *sealer, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf json = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf there = {0};
    struct dgf_err none;

    dgf_buf_init(&json, 2 << 20);
    dgf_buf_init(&there, 2 << 20);
    dgf_log_keys_json(&sealer->signer.keys, sealer->signer.origin, sealer->log_id_text,
                      &json);
    if (dgf_buf_rc(&json))
        return dgf_err_set(err, DGF_NOMEM, "cannot write keys.json: out of memory");
    if (!dgf_objects_read(&sealer->objects, DGF_NAME_KEYS, 2 << 20, &there, &none) &&
        dgf_bytes_eq(dgf_buf_bytes(&there), dgf_buf_bytes(&json)))
        return DGF_OK;
    return replace(sealer, DGF_NAME_KEYS, dgf_buf_bytes(&json), err);
}

static enum dgf_rc sign(struct dgf_seal *seal, const uint8_t manifest[DGF_SHA256_LEN],
                        struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf note = {0};
    struct dgf_sealer *sealer = seal->sealer;
    struct dgf_checkpoint checkpoint = {.size = seal->manifest.last + 1};
    char name[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc;

    dgf_buf_init(&note, DGF_CHECKPOINT_MAX_BYTES);
    memcpy(checkpoint.origin, sealer->signer.origin, sizeof(checkpoint.origin));
    memcpy(checkpoint.root, seal->manifest.root_after, sizeof(checkpoint.root));
    memcpy(checkpoint.manifest, manifest, sizeof(checkpoint.manifest));
    checkpoint.time_s = (uint64_t)(seal->time_ns / INT64_C(1000000000));
    rc = dgf_signer_sign(&sealer->signer, &checkpoint, seal->manifest.first,
                         seal->manifest.root_before, &note, err);
    if (rc)
        return rc;
    dgf_crash_point("archive_signed");
    dgf_name_checkpoint(name, checkpoint.size);
    rc = replace(sealer, name, dgf_buf_bytes(&note), err);
    if (rc)
        return rc;
    dgf_crash_point("archive_checkpoint_kept");
    rc = put_keys(sealer, err);
    if (!rc)
        rc = replace(sealer, DGF_NAME_CHECKPOINT, dgf_buf_bytes(&note), err);
    if (!rc)
        dgf_crash_point("archive_checkpoint_newest");
    return rc;
}

static enum dgf_rc begin(struct dgf_sealer *sealer, struct dgf_seal *seal,
                         struct dgf_err *err)
{
    struct dgf_manifest *manifest = &seal->manifest;
    struct dgf_tree tree;

    memcpy(manifest->log, sealer->log_id_text, sizeof(manifest->log));
    manifest->first = sealer->next;
    manifest->has_previous = sealer->has_last;
    memcpy(manifest->previous, sealer->last_sha256, sizeof(manifest->previous));
    dgf_tiles_tree(sealer->tiles, &tree);
    dgf_tree_root(&tree, manifest->root_before);
    for (size_t i = 0; i < sealer->last.n_policies; i++) {
        const struct dgf_manifest_policy *policy = &sealer->last.policies[i];

        if (dgf_manifest_policy(manifest, dgf_bytes_str(policy->path), policy->sha256))
            return dgf_err_set(err, DGF_NOMEM, "cannot seal a segment: out of memory");
    }
    return DGF_OK;
}

static enum dgf_rc seal_segment(struct dgf_sealer *sealer, struct dgf_seal *seal,
                                struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf json = {0};
    uint8_t hash[DGF_SHA256_LEN];
    enum dgf_rc rc;

    dgf_buf_init(&json, 2 * DGF_MANIFEST_MAX_BYTES);
    rc = begin(sealer, seal, err);
    if (!rc)
        rc = stand_at_cut(sealer, err);
    if (!rc && sealer->next > 0 &&
        dgf_state_db_batch(sealer->state) < sealer->walk.commit.batch)
        rc = dgf_err_set(err, DGF_BAD_DATA,
                         "'%s/sealed.db' is missing, or older than the archive",
                         sealer->dir);
    if (!rc)
        rc = dgf_seal_write(seal, err);
    if (rc)
        return rc;
    dgf_crash_point("archive_segment_written");
    rc = dgf_seal_check(seal, err);
    if (!rc)
        rc = dgf_seal_state(seal, err);
    if (rc)
        return rc;
    dgf_manifest_put(&seal->manifest, &json);
    if (json.len > DGF_MANIFEST_MAX_BYTES)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the manifest of the segment from %" PRIu64
                           " would be larger than 1 MiB",
                           sealer->next);
    if (dgf_buf_rc(&json))
        return dgf_err_set(err, DGF_NOMEM, "cannot seal a segment: out of memory");
    dgf_sha256(dgf_buf_bytes(&json), hash);
    dgf_crash_point("archive_checked");
    rc = publish(seal, dgf_buf_bytes(&json), err);
    if (rc)
        return rc;
    dgf_crash_point("archive_published");
    rc = sign(seal, hash, err);
    if (!rc)
        memcpy(sealer->last_sha256, hash, sizeof(hash));
    return rc;
}

static void swap_tiles(struct dgf_sealer *sealer)
{
    struct dgf_tiles *tiles = sealer->tiles;

    sealer->tiles = sealer->work;
    sealer->work = tiles;
}

enum dgf_rc dgf_sealer_seal(struct dgf_sealer *sealer, struct dgf_err *err)
{
    struct dgf_seal seal = {.sealer = sealer};
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_manifest_init(&seal.manifest);
    dgf_marks_init(&seal.marks);
    dgf_walk_init(&sealer->walk, false);
    (void)snprintf(path, sizeof(path), "%s/sealed.db", sealer->dir);
    rc = dgf_state_db_open(path, sealer->log_id, &sealer->state, err);
    if (!rc)
        rc = seal_segment(sealer, &seal, err);
    if (!rc) {
        remember_cut(sealer);
        swap_tiles(sealer);
        sealer->next = seal.manifest.last + 1;
        if (sealer->oldest == UINT64_MAX)
            sealer->oldest = seal.manifest.first;
        dgf_manifest_release(&sealer->last);
        sealer->last = seal.manifest;
        dgf_manifest_init(&seal.manifest);
        sealer->has_last = true;
    }
    dgf_state_db_free(dgf_steal(sealer->state));
    dgf_walk_release(&sealer->walk);
    dgf_marks_release(&seal.marks);
    dgf_manifest_release(&seal.manifest);
    if (rc == DGF_NOMEM || rc == DGF_RETRY)
        rc = DGF_AGAIN;
    return rc;
}
