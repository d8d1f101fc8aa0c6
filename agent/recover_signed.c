#include "recover_signed.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "ledger/archive_proof.h"

/* What a person can do about it. */
#define WHAT_TO_DO                                                                   \
    "; the archive was rolled back, or its newest segments are gone: look for them " \
    "in the container, on the lost disk or in another copy. To go on without them: " \
    "--lossy"

static enum dgf_rc refuse(struct dgf_recovered *ret, const char *who, uint64_t size,
                          struct dgf_err *err)
{
    uint64_t here = ret->checkpoint.size;

    ret->rolled_back = true;
    if (size > here)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "%" PRIu64 " records were signed (%s), %" PRIu64
                           " are here: records %" PRIu64 " to %" PRIu64
                           " would be lost" WHAT_TO_DO,
                           size, who, here, here, size - 1);
    return dgf_err_set(err, DGF_BAD_DATA,
                       "another history was signed: at size %" PRIu64
                       " the archive, of size %" PRIu64
                       ", has another root than %s" WHAT_TO_DO,
                       size, here, who);
}

/* One checkpoint that is known to have been signed. */
static enum dgf_rc take(const struct dgf_recover_conf *conf, struct dgf_recovered *ret,
                        const struct dgf_checkpoint *known, bool agrees,
                        const char *who, struct dgf_err *err)
{
    if (known->size <= ret->checkpoint.size && agrees)
        return DGF_OK;
    if (!conf->lossy)
        return refuse(ret, who, known->size, err);
    if (known->size <= ret->checkpoint.size)
        ret->other_history = true;
    else if (known->size > ret->signed_size)
        ret->signed_size = known->size;
    return DGF_OK;
}

static enum dgf_rc check_memory(const struct dgf_recover_conf *conf, const char *dir,
                                struct dgf_recovered *ret, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf note = {0};
    struct dgf_checkpoint last;
    bool by_key; /* another key may sign by now: the file is as private as the keys */
    char path[4096];
    bool agrees;
    enum dgf_rc rc;

    dgf_buf_init(&note, DGF_CHECKPOINT_MAX_BYTES);
    (void)snprintf(path, sizeof(path), "%.3900s/keys/signed-%s", dir, ret->old_log);
    if (!dgf_file_exists(path))
        return DGF_OK;
    rc = dgf_file_slurp(path, DGF_CHECKPOINT_MAX_BYTES, &note, err);
    if (!rc)
        rc = dgf_checkpoint_get(dgf_buf_bytes(&note), conf->key, &last, &by_key, err);
    if (!rc && strcmp(last.origin, ret->checkpoint.origin) != 0)
        rc = dgf_err_set(err, DGF_BAD_DATA, "it is of '%.200s'", last.origin);
    if (rc == DGF_BAD_DATA && conf->lossy) {
        ret->memory_unreadable = true;
        return DGF_OK;
    }
    if (rc == DGF_BAD_DATA) {
        ret->rolled_back = true; /* for all that is known */
        return dgf_err_prefix(err,
                              "'%s', which says what was signed last, is damaged, so "
                              "nobody can say whether the archive is the newest "
                              "(--lossy goes on all the same)",
                              path);
    }
    if (rc)
        return rc;
    /* A smaller one was put back with old keys, and says nothing. */
    agrees = last.size < ret->checkpoint.size ||
             memcmp(last.root, ret->checkpoint.root, DGF_SHA256_LEN) == 0;
    return take(conf, ret, &last, agrees, "keys/signed-…, the signer's memory", err);
}

/* Does the archive's newest tree begin with the anchor's? */
static enum dgf_rc begins_with(struct dgf_store *store,
                               const struct dgf_checkpoint *newest,
                               const struct dgf_checkpoint *anchor, bool *ret,
                               struct dgf_err *err)
{
    struct dgf_consistency proof;
    enum dgf_rc rc;

    *ret = memcmp(anchor->root, newest->root, DGF_SHA256_LEN) == 0;
    if (anchor->size == newest->size || anchor->size == 0)
        return DGF_OK;
    rc = dgf_consistency_make(store, anchor->size, newest->size, &proof, err);
    *ret = !rc && dgf_consistency_check(&proof, anchor->size, anchor->root,
                                        newest->size, newest->root);
    return rc;
}

static enum dgf_rc is_signed(const struct dgf_recover_conf *conf,
                             struct dgf_bytes anchor, struct dgf_checkpoint *ret,
                             struct dgf_err *err)
{
    bool by_us = false;
    enum dgf_rc rc = dgf_checkpoint_get(anchor, conf->key, ret, &by_us, err);

    for (size_t i = 0; !rc && !by_us && i < conf->n_vkeys; i++) {
        struct dgf_vkey vkey;

        rc = dgf_vkey_get(dgf_bytes_str(conf->vkeys[i]), &vkey, err);
        if (!rc)
            rc = dgf_checkpoint_get(anchor, vkey.key, ret, &by_us, err);
    }
    if (!rc && !by_us)
        rc = dgf_err_set(err, DGF_BAD_CONFIG,
                         "it is not signed with the log's key; after a change of keys "
                         "give the one before with --key as well");
    return rc;
}

static enum dgf_rc check_anchor(const struct dgf_recover_conf *conf, size_t i,
                                struct dgf_store *store, struct dgf_recovered *ret,
                                struct dgf_err *err)
{
    struct dgf_checkpoint anchor;
    bool agrees = false;
    char who[64];
    enum dgf_rc rc = is_signed(conf, conf->anchors[i], &anchor, err);

    if (!rc && strcmp(anchor.origin, ret->checkpoint.origin) != 0)
        rc = dgf_err_set(err, DGF_BAD_CONFIG, "it is of another log: '%.200s'",
                         anchor.origin);
    if (rc == DGF_NOMEM)
        return rc;
    if (rc) {
        err->rc = DGF_BAD_CONFIG;
        ret->bad_anchor = true;
        return dgf_err_prefix(err, "--anchor %zu", i + 1);
    }
    if (anchor.size <= ret->checkpoint.size)
        rc = begins_with(store, &ret->checkpoint, &anchor, &agrees, err);
    if (rc)
        return dgf_err_prefix(err, "--anchor %zu cannot be compared", i + 1);
    (void)snprintf(who, sizeof(who), "--anchor %zu", i + 1);
    return take(conf, ret, &anchor, agrees, who, err);
}

enum dgf_rc dgf_recover_check_signed(const struct dgf_recover_conf *conf,
                                     struct dgf_store *store, struct dgf_recovered *ret,
                                     struct dgf_err *err)
{
    enum dgf_rc rc = check_memory(conf, conf->dir, ret, err);

    if (!rc && strcmp(conf->dir, conf->keys_dir) != 0)
        rc = check_memory(conf, conf->keys_dir, ret, err);
    for (size_t i = 0; !rc && i < conf->n_anchors; i++)
        rc = check_anchor(conf, i, store, ret, err);
    return rc;
}
