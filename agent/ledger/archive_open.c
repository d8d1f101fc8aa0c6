/* Takes up an archive where it ends; lets go of what is old. */
#include <inttypes.h>
#include <stdio.h>

#include "base/parse.h"
#include "ledger/archive_impl.h"

#define MAX_PRUNED_AT_ONCE 1000

void dgf_sealer_release(struct dgf_sealer *sealer)
{
    dgf_objects_release(&sealer->objects);
    dgf_signer_release(&sealer->signer);
    dgf_free(dgf_steal(sealer->tiles));
    dgf_free(dgf_steal(sealer->work));
    dgf_manifest_release(&sealer->last);
    dgf_wipe(sealer->state_key, sizeof(sealer->state_key));
}

enum dgf_rc dgf_objects_manifest(const struct dgf_objects *objects, const char *log_id,
                                 uint64_t first, struct dgf_manifest *ret,
                                 uint8_t ret_sha256[DGF_SHA256_LEN],
                                 struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf json = {0};
    char name[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc;

    dgf_buf_init(&json, DGF_MANIFEST_MAX_BYTES);
    dgf_name_manifest(name, first);
    rc = dgf_objects_read(objects, name, DGF_MANIFEST_MAX_BYTES, &json, err);
    if (!rc)
        rc = dgf_manifest_get(dgf_buf_bytes(&json), ret, err);
    if (rc)
        return rc == DGF_BAD_DATA ? dgf_err_prefix(err, "archive object '%s'", name)
                                  : rc;
    if (strcmp(ret->log, log_id) != 0 || ret->first != first)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "archive object '%s' is of another log or segment", name);
    if (ret_sha256)
        dgf_sha256(dgf_buf_bytes(&json), ret_sha256);
    return DGF_OK;
}

/* ---- start ------------------------------------------------------------------------
 */

struct looking {
    uint64_t size;           /* of the newest checkpoint */
    uint64_t newest, oldest; /* manifest below size; segment file */
    bool has_newest;
};

static void look(void *ctx, const char *name)
{
    struct looking *looking = ctx;
    const char *dot = strchr(name, '.');
    uint64_t first;

    if (!dot || !dgf_parse_u64(dgf_bytes_of(name, (size_t)(dot - name)), &first))
        return;
    if (strcmp(dot, ".ndjson.zst") == 0 && first < looking->oldest)
        looking->oldest = first;
    if (strcmp(dot, ".json") == 0 && first < looking->size &&
        (!looking->has_newest || first > looking->newest)) {
        looking->newest = first;
        looking->has_newest = true;
    }
}

static enum dgf_rc read_checkpoint(struct dgf_sealer *sealer,
                                   struct dgf_checkpoint *ret, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf note = {0};
    bool by_us = false;
    enum dgf_rc rc;

    dgf_buf_init(&note, DGF_CHECKPOINT_MAX_BYTES);
    rc = dgf_objects_read(&sealer->objects, DGF_NAME_CHECKPOINT,
                          DGF_CHECKPOINT_MAX_BYTES, &note, err);
    for (size_t i = 0; !rc && !by_us && i < sealer->signer.keys.n; i++)
        rc = dgf_checkpoint_get(dgf_buf_bytes(&note), sealer->signer.keys.list[i].key,
                                ret, &by_us, err);
    if (!rc && (!by_us || strcmp(ret->origin, sealer->signer.origin) != 0))
        rc = dgf_err_set(err, DGF_BAD_DATA, "it is not signed by a key of this log");
    return rc == DGF_BAD_DATA
               ? dgf_err_prefix(err, "archive object 'checkpoint' of log %s",
                                sealer->log_id_text)
               : rc;
}

struct tile_reading {
    struct dgf_sealer *sealer;
    struct dgf_err *err;
};

static enum dgf_rc read_tile(void *ctx, const struct dgf_tile *tile, struct dgf_buf *to)
{
    struct tile_reading *reading = ctx;
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_tile(name, tile);
    return dgf_objects_read(&reading->sealer->objects, name,
                            DGF_TILE_WIDTH * DGF_SHA256_LEN, to, reading->err);
}

static enum dgf_rc load_tiles(struct dgf_sealer *sealer,
                              const struct dgf_checkpoint *checkpoint,
                              struct dgf_err *err)
{
    struct tile_reading reading = {sealer, err};
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_tree tree;
    enum dgf_rc rc;

    dgf_err_set(err, DGF_OK, "%s", "");
    rc = dgf_tiles_load(sealer->tiles, checkpoint->size, read_tile, &reading);
    if (rc && !err->text[0])
        return dgf_err_set(err, DGF_BAD_DATA,
                           "a hash tile of size %" PRIu64 " has another length",
                           checkpoint->size);
    if (rc)
        return rc;
    dgf_tiles_tree(sealer->tiles, &tree);
    dgf_tree_root(&tree, root);
    if (memcmp(root, checkpoint->root, sizeof(root)) != 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the hash tiles of size %" PRIu64
                           " do not give the root that was signed",
                           checkpoint->size);
    return DGF_OK;
}

static enum dgf_rc go_on(struct dgf_sealer *sealer, struct dgf_err *err)
{
    struct looking looking = {.oldest = UINT64_MAX};
    struct dgf_checkpoint checkpoint;
    char path[DGF_PATH_MAX];
    enum dgf_rc rc = read_checkpoint(sealer, &checkpoint, err);

    if (rc)
        return rc;
    looking.size = checkpoint.size;
    dgf_objects_path(&sealer->objects, "segments", path);
    rc = dgf_dir_list(path, look, &looking, err);
    if (!rc && !looking.has_newest)
        rc = dgf_err_set(err, DGF_BAD_DATA, "'%s' holds no manifest", path);
    if (!rc)
        rc = dgf_objects_manifest(&sealer->objects, sealer->log_id_text, looking.newest,
                                  &sealer->last, sealer->last_sha256, err);
    if (rc)
        return rc;
    if (sealer->last.last + 1 != checkpoint.size ||
        memcmp(sealer->last_sha256, checkpoint.manifest, DGF_SHA256_LEN) != 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the newest manifest is not the one that was signed, from "
                           "record %" PRIu64 " to %" PRIu64,
                           sealer->last.first, checkpoint.size - 1);
    rc = load_tiles(sealer, &checkpoint, err);
    if (rc)
        return rc;
    sealer->has_last = true;
    sealer->next = checkpoint.size;
    sealer->oldest = looking.oldest;
    dgf_signer_note(&sealer->signer, &checkpoint);
    return DGF_OK;
}

/* A seal that never ended may have left the state of its cut. */
static enum dgf_rc forget_state(struct dgf_sealer *sealer, struct dgf_err *err)
{
    static const char *const names[] = {"sealed.db-wal", "sealed.db-shm", "sealed.db"};
    enum dgf_rc rc = DGF_OK;

    for (size_t i = 0; !rc && i < DGF_ARRAY_LEN(names); i++) {
        char path[DGF_PATH_MAX];

        (void)snprintf(path, sizeof(path), "%s/%s", sealer->dir, names[i]);
        if (dgf_file_exists(path))
            rc = dgf_file_remove(path, err);
    }
    return rc ? rc : dgf_dir_sync(sealer->dir, err);
}

enum dgf_rc dgf_sealer_open(struct dgf_sealer *sealer, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    sealer->oldest = UINT64_MAX;
    sealer->tiles = dgf_malloc(sizeof(*sealer->tiles));
    sealer->work = dgf_malloc(sizeof(*sealer->work));
    if (!sealer->tiles || !sealer->work)
        return dgf_err_set(err, DGF_NOMEM, "cannot open the archive: out of memory");
    dgf_tiles_init(sealer->tiles);
    (void)snprintf(path, sizeof(path), "%s/archive", sealer->dir);
    rc = dgf_dir_make(path, err);
    if (!rc)
        rc = dgf_dir_sync(sealer->dir, err);
    if (!rc)
        rc = dgf_dir_make(sealer->objects.root, err);
    if (!rc)
        rc = dgf_dir_sync(path, err);
    if (rc)
        return rc;
    dgf_objects_path(&sealer->objects, DGF_NAME_CHECKPOINT, path);
    return dgf_file_exists(path) ? go_on(sealer, err) : forget_state(sealer, err);
}

/* ---- retention ----------------------------------------------------------------------
 */

/* When the segment's checkpoint was signed; false: it cannot be read. */
static bool sealed_at(const struct dgf_sealer *sealer, uint64_t size, int64_t *ret_ns)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf note = {0};
    const struct dgf_log_key *key = dgf_log_keys_at(&sealer->signer.keys, size);
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_checkpoint checkpoint;
    struct dgf_err err;
    bool by_us = false;

    dgf_buf_init(&note, DGF_CHECKPOINT_MAX_BYTES);
    dgf_name_checkpoint(name, size);
    if (!key ||
        dgf_objects_read(&sealer->objects, name, DGF_CHECKPOINT_MAX_BYTES, &note,
                         &err) ||
        dgf_checkpoint_get(dgf_buf_bytes(&note), key->key, &checkpoint, &by_us, &err) ||
        !by_us || checkpoint.time_s > INT64_MAX / 1000000000)
        return false;
    *ret_ns = (int64_t)checkpoint.time_s * 1000000000;
    return true;
}

uint64_t dgf_sealer_old(struct dgf_sealer *sealer, int64_t now_ns, int64_t keep_ns)
{
    uint64_t at = sealer->oldest, old = 0;

    for (int n = 0; n < MAX_PRUNED_AT_ONCE && at < sealer->next; n++) {
        DGF_RELEASE(dgf_manifest_release) struct dgf_manifest manifest = {.first = 0};
        struct dgf_err err;
        int64_t sealed_ns;

        if (dgf_objects_manifest(&sealer->objects, sealer->log_id_text, at, &manifest,
                                 NULL, &err) ||
            manifest.last + 1 >= sealer->next || /* the newest is for recovery */
            !sealed_at(sealer, manifest.last + 1, &sealed_ns) ||
            now_ns - sealed_ns < keep_ns)
            break;
        old = at = manifest.last + 1;
    }
    return old;
}

static enum dgf_rc remove_object(struct dgf_sealer *sealer, const char *name,
                                 struct dgf_err *err)
{
    char path[DGF_PATH_MAX];

    dgf_objects_path(&sealer->objects, name, path);
    return dgf_file_exists(path) ? dgf_file_remove(path, err) : DGF_OK;
}

enum dgf_rc dgf_sealer_prune(struct dgf_sealer *sealer, uint64_t before,
                             struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    while (!rc && sealer->oldest < before && sealer->oldest < sealer->next) {
        DGF_RELEASE(dgf_manifest_release) struct dgf_manifest manifest = {.first = 0};
        char segment[DGF_ARCHIVE_NAME_MAX], state[DGF_ARCHIVE_NAME_MAX];

        dgf_name_segment(segment, sealer->oldest);
        dgf_name_state(state, sealer->oldest);
        rc = dgf_objects_manifest(&sealer->objects, sealer->log_id_text, sealer->oldest,
                                  &manifest, NULL, err);
        if (rc || manifest.last + 1 > before || manifest.last + 1 >= sealer->next)
            break;
        rc = dgf_objects_folders(&sealer->objects, segment, err);
        if (!rc)
            rc = dgf_objects_folders(&sealer->objects, state, err);
        if (!rc)
            rc = remove_object(sealer, segment, err);
        if (!rc)
            rc = remove_object(sealer, state, err);
        if (!rc)
            dgf_crash_point("archive_pruned");
        sealer->oldest = manifest.last + 1;
    }
    return rc ? rc : dgf_objects_sync_folders(&sealer->objects, err);
}
