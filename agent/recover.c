#include "recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/sha256.h"
#include "bus/record_write.h"
#include "ledger/archive.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_state.h"
#include "ledger/archive_tiles.h"
#include "recover_signed.h"

#define TEMPORARY "recover.tmp"
#define READ_BYTES (256u << 10)

struct recovery {
    const struct dgf_recover_conf *conf;
    struct dgf_store *store;
    struct dgf_recovered *ret;
    struct dgf_err *err;
    struct dgf_buf note;
    struct dgf_manifest manifest;
    struct dgf_ledger *ledger;
    struct dgf_recorder recorder;
    bool has_recorder;
    char state_name[DGF_ARCHIVE_NAME_MAX];
    char dir[4096]; /* where the new ledger is built */
};

void dgf_recovered_release(struct dgf_recovered *recovered)
{
    dgf_buf_release(&recovered->positions);
}

/* ---- the data directory ------------------------------------------------------------
 */

/* A ledger, or half of one, is never written over. */
static enum dgf_rc check_empty(struct recovery *r)
{
    static const char *const parts[] = {"journal", "state.db"};
    char path[4096];

    for (size_t i = 0; i < DGF_ARRAY_LEN(parts); i++) {
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", r->conf->dir, parts[i]) >=
            sizeof(path) - 64)
            return dgf_err_set(r->err, DGF_BAD_CONFIG, "data_dir is too long");
        if (dgf_file_exists(path))
            return dgf_err_set(r->err, DGF_BAD_CONFIG,
                               "'%s' is there: a ledger, or a part of one, is never "
                               "written over; if it cannot be used any more, move "
                               "journal, state.db* and sealed.db* elsewhere first",
                               path);
    }
    return DGF_OK;
}

static void remove_name(void *ctx, const char *name)
{
    char path[8192];
    struct dgf_err err;

    (void)snprintf(path, sizeof(path), "%s/%s", (const char *)ctx, name);
    (void)!dgf_file_remove(path, &err);
}

/* What an attempt that was ended left behind, or the empty folders of this one. */
static void remove_temporary(struct recovery *r)
{
    char path[4200];
    struct dgf_err err;

    (void)snprintf(path, sizeof(path), "%s/journal", r->dir);
    if (dgf_file_exists(path))
        (void)!dgf_dir_list(path, remove_name, path, &err);
    (void)rmdir(path);
    if (dgf_file_exists(r->dir))
        (void)!dgf_dir_list(r->dir, remove_name, r->dir, &err);
    (void)rmdir(r->dir);
}

/* ---- the archive
 * --------------------------------------------------------------------- */

static enum dgf_rc slurp(struct recovery *r, const char *name, size_t max,
                         struct dgf_buf *to)
{
    uint8_t *at = dgf_buf_room(to, max);
    size_t n = 0;
    enum dgf_rc rc;

    if (!at)
        return dgf_err_set(r->err, DGF_NOMEM, "cannot read '%s': out of memory", name);
    rc = r->store->read(r->store, name, 0, at, max, &n, r->err);
    if (rc == DGF_AGAIN)
        return dgf_err_set(r->err, rc, "the archive has no object '%s'", name);
    to->len += n;
    return rc;
}

static enum dgf_rc read_checkpoint(struct recovery *r)
{
    struct dgf_checkpoint *checkpoint = &r->ret->checkpoint;
    const char *slash;
    bool is_signed = false;
    enum dgf_rc rc =
        slurp(r, DGF_NAME_CHECKPOINT, DGF_CHECKPOINT_MAX_BYTES + 1, &r->note);

    if (!rc)
        rc = dgf_checkpoint_get(dgf_buf_bytes(&r->note), r->conf->key, checkpoint,
                                &is_signed, r->err);
    if (rc)
        return rc;
    if (!is_signed)
        return dgf_err_set(r->err, DGF_BAD_DATA,
                           "the archive's checkpoint of size %" PRIu64
                           " is not signed by this agent's key; give the public key of "
                           "that log with --key if it is another one",
                           checkpoint->size);
    slash = strrchr(checkpoint->origin, '/');
    if (!slash || strlen(slash + 1) != DGF_LOG_ID_TEXT_LEN || checkpoint->size == 0)
        return dgf_err_set(r->err, DGF_BAD_DATA,
                           "the archive's checkpoint has an origin without a log id");
    memcpy(r->ret->old_log, slash + 1, DGF_LOG_ID_TEXT_LEN + 1);
    return DGF_OK;
}

struct newest {
    uint64_t size, first;
    bool found;
};

static enum dgf_rc look(void *ctx, const char *name, uint64_t size)
{
    struct newest *newest = ctx;
    const char *slash = strrchr(name, '/'), *dot = slash ? strchr(slash, '.') : NULL;
    uint64_t first;

    (void)size;
    if (!dot || strcmp(dot, ".json") != 0 ||
        !dgf_parse_u64(dgf_bytes_of(slash + 1, (size_t)(dot - slash) - 1), &first) ||
        first >= newest->size || (newest->found && first < newest->first))
        return DGF_OK;
    newest->first = first;
    newest->found = true;
    return DGF_OK;
}

static enum dgf_rc read_manifest(struct recovery *r)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf json = {0};
    const struct dgf_checkpoint *checkpoint = &r->ret->checkpoint;
    struct newest newest = {.size = checkpoint->size};
    char name[DGF_ARCHIVE_NAME_MAX];
    uint8_t hash[DGF_SHA256_LEN];
    enum dgf_rc rc = r->store->list(r->store, "segments/", look, &newest, r->err);

    dgf_buf_init(&json, DGF_MANIFEST_MAX_BYTES + 1);
    if (!rc && !newest.found)
        rc = dgf_err_set(r->err, DGF_AGAIN, "the archive has no manifest");
    if (rc)
        return rc;
    dgf_name_manifest(name, newest.first);
    rc = slurp(r, name, DGF_MANIFEST_MAX_BYTES + 1, &json);
    if (rc)
        return rc;
    dgf_sha256(dgf_buf_bytes(&json), hash);
    rc = dgf_manifest_get(dgf_buf_bytes(&json), &r->manifest, r->err);
    if (rc)
        return rc;
    if (memcmp(hash, checkpoint->manifest, sizeof(hash)) != 0 ||
        r->manifest.last + 1 != checkpoint->size ||
        strcmp(r->manifest.log, r->ret->old_log) != 0)
        return dgf_err_set(r->err, DGF_BAD_DATA,
                           "'%s' is not the manifest that was signed for size %" PRIu64,
                           name, checkpoint->size);
    dgf_name_state(r->state_name, newest.first);
    return DGF_OK;
}

static enum dgf_rc check_state(struct recovery *r)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf piece = {0};
    uint8_t hash[DGF_SHA256_LEN], *at;
    struct dgf_sha256_sum sum;
    uint64_t offset = 0;
    size_t n;

    dgf_buf_init(&piece, READ_BYTES);
    at = dgf_buf_room(&piece, READ_BYTES);
    if (!at)
        return dgf_err_set(r->err, DGF_NOMEM, "cannot read state: out of memory");
    dgf_sha256_begin(&sum);
    do {
        enum dgf_rc rc =
            r->store->read(r->store, r->state_name, offset, at, READ_BYTES, &n, r->err);

        if (rc == DGF_AGAIN)
            return dgf_err_set(r->err, rc, "the archive has no object '%s'",
                               r->state_name);
        if (rc)
            return rc;
        dgf_sha256_add(&sum, dgf_bytes_of(at, n));
        offset += n;
    } while (n == READ_BYTES);
    dgf_sha256_end(&sum, hash);
    if (memcmp(hash, r->manifest.state_sha256, sizeof(hash)) != 0)
        return dgf_err_set(r->err, DGF_BAD_DATA,
                           "'%s' is not the state that its manifest names",
                           r->state_name);
    return DGF_OK;
}

/* ---- the new ledger
 * -------------------------------------------------------------------- */

static uint64_t next_seq(void *ctx)
{
    const struct recovery *r = ctx;

    return dgf_ledger_next_index(r->ledger);
}

static enum dgf_rc put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    struct recovery *r = ctx;

    return dgf_batch_leaf(dgf_ledger_batch(r->ledger), header, line, NULL);
}

static enum dgf_rc commit(struct recovery *r)
{
    struct dgf_ledger_news news;
    enum dgf_rc rc = dgf_ledger_hand_over(r->ledger, r->err);

    if (!rc)
        rc = dgf_ledger_step(r->ledger, r->err);
    if (!rc)
        rc = dgf_ledger_poll(r->ledger, &news, r->err);
    return rc == DGF_AGAIN
               ? dgf_err_set(r->err, DGF_RETRY, "no space for the new ledger")
               : rc;
}

/* Records that are known to have been signed and are not here. */
static void write_loss(const struct recovery *r, struct dgf_json *json)
{
    const struct dgf_recovered *ret = r->ret;

    if (ret->signed_size > 0) {
        dgf_json_key(json, "signed_size");
        dgf_json_u64(json, ret->signed_size);
        dgf_json_key(json, "lost");
        dgf_json_u64(json, ret->signed_size - ret->checkpoint.size);
    }
    if (ret->other_history) {
        dgf_json_key(json, "other_history_signed");
        dgf_json_bool(json, true);
    }
    if (ret->memory_unreadable) {
        dgf_json_key(json, "signed_unknown");
        dgf_json_bool(json, true);
    }
}

static void say_loss(const struct recovery *r, char *to, size_t size)
{
    const struct dgf_recovered *ret = r->ret;
    size_t n = (size_t)snprintf(to, size,
                                "a new ledger goes on from the archive of a lost one; "
                                "records the old one had behind its newest checkpoint "
                                "are lost");

    if (ret->signed_size > 0)
        n += (size_t)snprintf(to + n, size - n,
                              "; records %" PRIu64 " to %" PRIu64
                              " of the old one were signed and are lost",
                              ret->checkpoint.size, ret->signed_size - 1);
    if (ret->other_history)
        (void)snprintf(to + n, size - n, "; another history of the old one was signed");
}

static enum dgf_rc write_resume(struct recovery *r)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf detail = {0};
    const struct dgf_checkpoint *checkpoint = &r->ret->checkpoint;
    struct dgf_json json = dgf_json_of(&detail);
    char message[400];
    enum dgf_rc rc;

    dgf_buf_init(&detail, 20000);
    say_loss(r, message, sizeof(message));
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "log");
    dgf_json_str(&json, dgf_ledger_log_id_text(r->ledger));
    dgf_json_key(&json, "new");
    dgf_json_bool(&json, true);
    dgf_json_key(&json, "old_log");
    dgf_json_str(&json, r->ret->old_log);
    dgf_json_key(&json, "old_size");
    dgf_json_u64(&json, checkpoint->size);
    dgf_json_key(&json, "old_checkpoint");
    dgf_json_text(&json, dgf_buf_bytes(&r->note));
    write_loss(r, &json);
    dgf_json_end_object(&json);
    rc = dgf_buf_rc(&detail);
    if (!rc)
        rc = dgf_record_own(&r->recorder, DGF_RECORD_RESUME, NULL, message,
                            dgf_buf_str(&detail));
    return rc ? dgf_err_set(r->err, rc, "cannot write the first record") : DGF_OK;
}

static enum dgf_rc state_read(void *ctx, uint64_t offset, void *ptr, size_t len,
                              size_t *ret_len, struct dgf_err *err)
{
    struct recovery *r = ctx;

    return r->store->read(r->store, r->state_name, offset, ptr, len, ret_len, err);
}

static enum dgf_rc state_begin(void *ctx, uint64_t next, uint64_t batch,
                               const struct dgf_marks *marks, struct dgf_err *err)
{
    struct recovery *r = ctx;

    (void)batch;
    if (next != r->ret->checkpoint.size)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "'%s' is state at record %" PRIu64 ", not at the checkpoint",
                           r->state_name, next);
    for (size_t i = 0; i < marks->n_positions; i++) {
        const struct dgf_ledger_position *at = &marks->positions[i];

        if (dgf_batch_position(dgf_ledger_batch(r->ledger), at))
            return dgf_err_set(err, DGF_NOMEM, "cannot take a position: out of memory");
        dgf_buf_add_bytes(&r->ret->positions, at->source);
        dgf_buf_add_str(&r->ret->positions, " at ");
        dgf_buf_add_bytes(&r->ret->positions, at->text);
        dgf_buf_add_byte(&r->ret->positions, '\n');
    }
    return DGF_OK;
}

/* What the archive itself kept is about the old log. */
static bool is_of_archive(struct dgf_bytes key)
{
    static const char prefix[] = "archive/";

    return key.len >= sizeof(prefix) - 1 &&
           memcmp(key.ptr, prefix, sizeof(prefix) - 1) == 0;
}

static enum dgf_rc state_item(void *ctx, struct dgf_bytes key, struct dgf_bytes value,
                              struct dgf_err *err)
{
    struct recovery *r = ctx;

    if (is_of_archive(key))
        return DGF_OK;
    if (dgf_batch_state(dgf_ledger_batch(r->ledger), key, value))
        return dgf_err_set(err, DGF_NOMEM, "cannot take state: out of memory");
    return dgf_batch_full(dgf_ledger_batch(r->ledger)) ? commit(r) : DGF_OK;
}

static enum dgf_rc fill(struct recovery *r)
{
    struct dgf_state_reader reader = {state_read, state_begin, state_item, r};
    struct dgf_record_out out = {.ctx = r, .next_seq = next_seq, .put = put};
    uint8_t key[DGF_AEAD_KEY_LEN], old_log[DGF_LOG_ID_LEN];
    enum dgf_rc rc;

    if (!dgf_parse_hex(dgf_bytes_str(r->ret->old_log), old_log, sizeof(old_log)))
        return dgf_err_set(r->err, DGF_BAD_DATA, "the old log's id is malformed");
    rc = dgf_recorder_init(&r->recorder, out, r->conf->agent, r->conf->env,
                           r->conf->tenant_key, r->conf->token_key, 1,
                           dgf_ledger_log_id(r->ledger));
    if (rc)
        return dgf_err_set(r->err, rc, "cannot start the record writer");
    r->has_recorder = true;
    rc = write_resume(r);
    if (rc)
        return rc;
    dgf_state_key(r->conf->tenant_key, r->ret->old_log, key);
    rc = dgf_state_read(&reader, key, old_log, r->manifest.first, r->err);
    dgf_wipe(key, sizeof(key));
    if (rc)
        return rc;
    return dgf_batch_empty(dgf_ledger_batch(r->ledger)) ? DGF_OK : commit(r);
}

static enum dgf_rc build(struct recovery *r)
{
    struct dgf_ledger_conf conf = {
        .dir = r->dir, .segment_bytes = UINT64_C(64) << 20, .keep_ns = INT64_MAX};
    struct dgf_ledger_cut cut;
    enum dgf_rc rc;

    remove_temporary(r);
    rc = dgf_ledger_open(&conf, &r->ledger, &cut, r->err);
    if (rc)
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    memcpy(r->ret->new_log, dgf_ledger_log_id_text(r->ledger), DGF_LOG_ID_TEXT_LEN + 1);
    rc = fill(r);
    if (r->has_recorder)
        dgf_recorder_release(&r->recorder);
    dgf_ledger_free(r->ledger);
    return rc;
}

/* The state first: without a journal beside it no agent starts. */
static enum dgf_rc give_names(struct recovery *r)
{
    static const char *const names[] = {"state.db-wal", "state.db", "journal"};
    enum dgf_rc rc = DGF_OK;

    for (size_t i = 0; !rc && i < DGF_ARRAY_LEN(names); i++) {
        char from[4200], to[4200];

        (void)snprintf(from, sizeof(from), "%s/%s", r->dir, names[i]);
        (void)snprintf(to, sizeof(to), "%s/%s", r->conf->dir, names[i]);
        if (dgf_file_exists(from))
            rc = dgf_file_rename(from, to, r->err);
        if (!rc)
            rc = dgf_dir_sync(r->conf->dir, r->err);
    }
    return rc;
}

enum dgf_rc dgf_recover(const struct dgf_recover_conf *conf, struct dgf_store *store,
                        struct dgf_recovered *ret, struct dgf_err *err)
{
    struct recovery r = {.conf = conf, .store = store, .ret = ret, .err = err};
    struct dgf_lock *lock = NULL;
    char path[4096];
    int pid = 0;
    enum dgf_rc rc;

    memset(ret, 0, sizeof(*ret));
    dgf_buf_init(&ret->positions, 16 << 20);
    dgf_buf_init(&r.note, DGF_CHECKPOINT_MAX_BYTES + 1);
    dgf_manifest_init(&r.manifest);
    rc = check_empty(&r);
    (void)snprintf(r.dir, sizeof(r.dir), "%.3900s/" TEMPORARY, conf->dir);
    if (!rc)
        rc = dgf_dir_make(conf->dir, err);
    (void)snprintf(path, sizeof(path), "%.3900s/lock", conf->dir);
    if (!rc)
        rc = dgf_lock_take(path, &lock, &pid, err);
    if (rc == DGF_AGAIN)
        rc = dgf_err_set(err, DGF_BAD_CONFIG, "an agent runs on '%s', process %d",
                         conf->dir, pid);
    if (!rc)
        rc = read_checkpoint(&r);
    if (!rc)
        rc = dgf_recover_check_signed(conf, store, ret, err);
    if (!rc)
        rc = read_manifest(&r);
    if (!rc)
        rc = check_state(&r);
    if (!rc)
        rc = build(&r);
    if (!rc)
        rc = give_names(&r);
    if (lock)
        remove_temporary(&r);
    dgf_lock_free(lock);
    dgf_manifest_release(&r.manifest);
    dgf_buf_release(&r.note);
    return rc;
}
