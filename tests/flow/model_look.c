/* model_look.c - what must hold of the records and the archive on the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/parse.h"
#include "keys.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_state.h"
#include "ledger/archive_tiles.h"
#include "ledger/note.h"
#include "ledger/reader.h"
#include "model.h"

#define HEARTBEAT_S 120

/* ---- looking at what is on the disk ---- */

static bool find_number(const char *line, const char *key, uint64_t *ret)
{
    const char *at = strstr(line, key);

    if (!at)
        return false;
    *ret = strtoull(at + strlen(key), NULL, 10);
    return true;
}

static void look_at_audit(struct look *look, const char *line)
{
    uint64_t tx = 0, row = 0;
    const char *position = strstr(line, "\"position\":\"");
    const char *set = strstr(line, "\"policy_set\":\"sha256:");
    bool violates;

    if (!position || sscanf(position + 12, "%llu.%llu", (unsigned long long *)&tx,
                            (unsigned long long *)&row) != 2)
        fail("an audit record without a position", 0, 0);
    /* the next row of the history, empty transactions left out */
    if (tx == look->tx && row == look->row + 1) {
        if (row > 1 && set && strncmp(look->set, set, sizeof(look->set) - 1) != 0 &&
            !world.life_inside[tx])
            fail("one transaction, two policy sets", tx, row);
    } else {
        uint64_t at = look->row ? look->tx + 1 : look->tx;

        if (look->row && look->row != n_rows(look->tx))
            fail("rows of a transaction are missing", look->tx, look->row);
        while (n_rows(at) == 0)
            at++;
        if (tx != at || row != 1)
            fail("a row is missing or twice", tx, row);
    }
    violates = look->pending_violation != 0;
    if (violates != is_violation(tx, row))
        fail("the verdict of a row is wrong", tx, row);
    look->pending_violation = 0;
    look->tx = tx;
    look->row = row;
    look->judged++;
    snprintf(look->set, sizeof(look->set), "%.79s", set ? set : "");
    if (look->counted_set[0] && strcmp(look->counted_set, look->set) != 0)
        fail("no coverage record between two policy sets", tx, row);
    memcpy(look->counted_set, look->set, sizeof(look->set));
}

/* What a verifier would take for records that were removed. */
static void look_at_heartbeat(struct look *look, const char *line)
{
    const char *logged = strstr(line, "\"logged\":\""), *end;
    int64_t ns;

    if (!logged || !(end = strchr(logged + 10, '"')) ||
        !dgf_parse_time(dgf_bytes_of(logged + 10, (size_t)(end - logged - 10)), &ns))
        fail("a coverage record without a time", look->tx, look->row);
    if (look->covered_ns && !look->resumed &&
        ns - look->covered_ns > HEARTBEAT_S * DGF_SECOND_NS)
        fail("no resume between coverage records far apart", (uint64_t)look->covered_ns,
             (uint64_t)ns);
    look->covered_ns = ns;
    look->resumed = false;
}

static void look_at_coverage(struct look *look, const char *line)
{
    const char *set = strstr(line, "\"policy_set\":\"sha256:");
    uint64_t n;

    look_at_heartbeat(look, line);
    if (!find_number(line, "\"events\":", &n))
        return;
    look->counted += n;
    if (n > 0 && (!set || strncmp(look->counted_set, set, 79) != 0))
        fail("coverage names another policy set", look->tx, look->row);
    look->counted_set[0] = '\0';
}

void look_at(struct look *look, const char *line)
{
    if (strstr(line, "\"kind\":\"violation\""))
        look->pending_violation++;
    else if (strstr(line, "\"kind\":\"audit\""))
        look_at_audit(look, line);
    else if (strstr(line, "\"kind\":\"coverage\""))
        look_at_coverage(look, line);
    else if (strstr(line, "\"kind\":\"resume\""))
        look->resumed = true;
    if (look->pending_violation > 1)
        fail("two violation records of one row", look->tx, look->row);
}

void look_at_disk(void)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_err err = {0};
    struct look look = {0};
    struct dgf_leaf leaf;
    uint64_t first = 0;
    enum dgf_rc rc = dgf_ledger_first_kept(DIR, &first, &err);

    if (rc)
        return; /* the log was not made yet */
    rc = dgf_ledger_reader_open_cold(DIR, first, &reader, &err);
    while (!rc) {
        rc = dgf_ledger_reader_next(reader, &leaf, &err);
        if (!rc)
            remember(leaf.index, leaf.line);
    }
    if (rc != DGF_AGAIN)
        fail(err.text, first, 0);
    dgf_ledger_reader_free(reader);
    for (size_t i = 0; i < world.n_leaves; i++)
        look_at(&look, world.leaves[i]);
    if (look.counted > look.judged)
        fail("coverage counted more than was judged", look.counted, look.judged);
    if (look.row != 0 && look.row != n_rows(look.tx))
        world.life_inside[look.tx] = true;
    tally.rows += look.judged - tally.rows_this_world;
    tally.rows_this_world = look.judged;
}

/* ---- looking at the archive ---- */

static void archive_path(char *to, size_t size, const char *name)
{
    snprintf(to, size, DIR "/archive/%s/%s", world.log_id, name);
}

static bool read_object(const char *name, struct dgf_buf *to)
{
    char path[256];
    struct dgf_err err;

    archive_path(path, sizeof(path), name);
    dgf_buf_clear(to);
    return dgf_file_exists(path) && dgf_file_slurp(path, 64 << 20, to, &err) == DGF_OK;
}

static void same_lines(const struct dgf_manifest *manifest, struct dgf_buf *file)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf plain;
    struct dgf_unpacker *unpacker = NULL;
    struct dgf_bytes rest = dgf_buf_bytes(file);
    uint64_t index = manifest->first;
    uint8_t hash[DGF_SHA256_LEN];
    const uint8_t *at, *lf;

    dgf_buf_init(&plain, 64 << 20);
    dgf_sha256(rest, hash);
    if (memcmp(hash, manifest->file_sha256, sizeof(hash)) != 0)
        fail("a segment is not the file of its manifest", manifest->first, rest.len);
    if (dgf_unpacker_new(&unpacker))
        abort();
    while (rest.len > 0) {
        size_t used = 0;
        enum dgf_rc rc = dgf_unpack_frame(unpacker, rest, 1 << 20, &plain, &used);

        if (rc && rc != DGF_AGAIN)
            fail("a segment cannot be unpacked", manifest->first, rest.len);
        rest = dgf_bytes_of(rest.ptr + used, rest.len - used);
    }
    dgf_unpacker_free(unpacker);
    dgf_sha256(dgf_buf_bytes(&plain), hash);
    if (memcmp(hash, manifest->leaves_sha256, sizeof(hash)) != 0)
        fail("leaves_sha256 is wrong", manifest->first, plain.len);
    for (at = plain.ptr; at < plain.ptr + plain.len; at = lf + 1) {
        lf = memchr(at, '\n', plain.len - (size_t)(at - plain.ptr));
        if (!lf || index > manifest->last ||
            strlen(world.leaves[index]) != (size_t)(lf - at) ||
            memcmp(world.leaves[index], at, (size_t)(lf - at)) != 0)
            fail("an archive line is not the record", index, plain.len);
        index++;
    }
    if (index != manifest->last + 1)
        fail("a segment has another number of records", index, manifest->last);
    tally.segments++;
}

struct sealed_state {
    struct dgf_buf *file;
    uint64_t tx, count;
    bool has_tx;
};

static enum dgf_rc state_read(void *ctx, uint64_t offset, void *ptr, size_t len,
                              size_t *ret_len, struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    size_t left = offset < s->file->len ? s->file->len - offset : 0;

    (void)err;
    *ret_len = len < left ? len : left;
    memcpy(ptr, s->file->ptr + offset, *ret_len);
    return DGF_OK;
}

static enum dgf_rc state_begin(void *ctx, uint64_t next, uint64_t batch,
                               const struct dgf_marks *marks, struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    struct dgf_rd rd;

    (void)next;
    (void)batch;
    (void)err;
    if (marks->n_positions == 0)
        return DGF_OK;
    rd = dgf_rd_of(marks->positions[0].position);
    s->tx = dgf_rd_le64(&rd);
    s->has_tx = true;
    return DGF_OK;
}

static enum dgf_rc state_item(void *ctx, struct dgf_bytes key, struct dgf_bytes value,
                              struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    struct dgf_rd rd = dgf_rd_of(value);

    (void)err;
    if (key.len >= 5 && memcmp(key.ptr + key.len - 5, "count", 5) == 0)
        s->count = dgf_rd_le64(&rd);
    return DGF_OK;
}

static void same_moment(const struct dgf_manifest *manifest, struct dgf_buf *file)
{
    struct sealed_state s = {.file = file};
    struct dgf_state_reader reader = {state_read, state_begin, state_item, &s};
    uint8_t tenant[32], token[32], key[DGF_AEAD_KEY_LEN], hash[DGF_SHA256_LEN];
    uint8_t log_id[DGF_LOG_ID_LEN];
    struct dgf_err err = {0};

    dgf_sha256(dgf_buf_bytes(file), hash);
    if (memcmp(hash, manifest->state_sha256, sizeof(hash)) != 0)
        fail("sealed state is not the file of its manifest", manifest->first,
             file->len);
    if (dgf_keys_load(DIR, NULL, NULL, tenant, token, &err) ||
        !dgf_parse_hex(dgf_bytes_str(world.log_id), log_id, sizeof(log_id)))
        fail("no keys", 0, 0);
    dgf_state_key(tenant, world.log_id, key);
    if (dgf_state_read(&reader, key, log_id, manifest->first, &err))
        fail(err.text, manifest->first, file->len);
    if (s.has_tx && s.tx != s.count)
        fail("sealed state and position are of different moments", s.tx, s.count);
}

/* Checkpoints far apart have a resume between them. */
static void look_at_time(const struct dgf_manifest *manifest, struct dgf_buf *bytes)
{
    uint8_t seed[32], key[DGF_SIGN_PUBLIC_LEN];
    struct dgf_checkpoint checkpoint;
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_err err = {0};
    bool is_signed, resumed = false;

    dgf_name_checkpoint(name, manifest->last + 1);
    if (!read_object(name, bytes) || dgf_keys_load_sign(DIR, NULL, seed, &err) ||
        !dgf_sign_public(seed, key) ||
        dgf_checkpoint_get(dgf_buf_bytes(bytes), key, &checkpoint, &is_signed, &err))
        fail("a checkpoint cannot be read", manifest->last + 1, 0);
    for (uint64_t i = manifest->first; i <= manifest->last; i++)
        resumed = resumed || strstr(world.leaves[i], "\"kind\":\"resume\"");
    if (world.checkpoint_s && !resumed &&
        checkpoint.time_s - world.checkpoint_s > HEARTBEAT_S)
        fail("no resume between checkpoints far apart", manifest->first,
             checkpoint.time_s - world.checkpoint_s);
    world.checkpoint_s = checkpoint.time_s;
}

/* The next segment behind what is known to be right; false: pruned. */
static bool look_at_segment(struct dgf_manifest *manifest, struct dgf_buf *bytes)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_err err = {0};
    uint8_t root[DGF_SHA256_LEN];

    dgf_name_manifest(name, world.tree.size);
    if (!read_object(name, bytes))
        fail("a manifest is missing", world.tree.size, 0);
    if (dgf_manifest_get(dgf_buf_bytes(bytes), manifest, &err))
        fail(err.text, world.tree.size, 0);
    if (manifest->first != world.tree.size || manifest->last >= world.n_leaves ||
        manifest->has_previous != (manifest->first > 0) ||
        (manifest->has_previous && memcmp(manifest->previous, world.manifest, 32) != 0))
        fail("manifests are no chain", manifest->first, manifest->last);
    dgf_sha256(dgf_buf_bytes(bytes), world.manifest);
    dgf_tree_root(&world.tree, root);
    if (memcmp(root, manifest->root_before, sizeof(root)) != 0)
        fail("root_before is wrong", manifest->first, 0);
    for (uint64_t i = manifest->first; i <= manifest->last; i++) {
        uint8_t hash[DGF_SHA256_LEN];

        dgf_sha256_leaf(dgf_bytes_str(world.leaves[i]), hash);
        dgf_tree_append(&world.tree, hash);
    }
    dgf_tree_root(&world.tree, root);
    if (memcmp(root, manifest->root_after, sizeof(root)) != 0)
        fail("root_after is wrong", manifest->last, 0);
    look_at_time(manifest, bytes);
    dgf_name_segment(name, manifest->first);
    if (!read_object(name, bytes))
        return false;
    same_lines(manifest, bytes);
    dgf_name_state(name, manifest->first);
    if (read_object(name, bytes))
        same_moment(manifest, bytes);
    return true;
}

void look_at_archive(void)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes;
    struct dgf_manifest manifest;
    struct dgf_checkpoint checkpoint;
    uint8_t seed[32], key[DGF_SIGN_PUBLIC_LEN], root[DGF_SHA256_LEN];
    struct dgf_err err = {0};
    bool is_signed = false, there = true;

    dgf_buf_init(&bytes, 64 << 20);
    dgf_manifest_init(&manifest);
    if (!read_object(DGF_NAME_CHECKPOINT, &bytes)) {
        if (world.tree.size > 0)
            fail("the checkpoint is gone", world.tree.size, 0);
        return;
    }
    if (dgf_keys_load_sign(DIR, NULL, seed, &err) || !dgf_sign_public(seed, key) ||
        dgf_checkpoint_get(dgf_buf_bytes(&bytes), key, &checkpoint, &is_signed, &err) ||
        !is_signed)
        fail("the checkpoint is not signed", 0, 0);
    if (checkpoint.size < world.tree.size || checkpoint.size > world.n_leaves)
        fail("the checkpoint has another size", checkpoint.size, world.tree.size);
    while (world.tree.size < checkpoint.size)
        there = look_at_segment(&manifest, &bytes);
    if (!there)
        fail("the newest segment is gone", manifest.first, 0);
    dgf_tree_root(&world.tree, root);
    if (world.tree.size != checkpoint.size || memcmp(root, checkpoint.root, 32) != 0 ||
        memcmp(world.manifest, checkpoint.manifest, 32) != 0)
        fail("the checkpoint signs another tree", checkpoint.size, world.tree.size);
    if (world.sink_next[ARCHIVE_SINK] > checkpoint.size)
        fail("the container is ahead of the archive", world.sink_next[ARCHIVE_SINK],
             checkpoint.size);
    dgf_manifest_release(&manifest);
}
