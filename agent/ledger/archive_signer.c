/* The signer and its memory: data_dir/keys/signed-<log id>. */
#include <inttypes.h>
#include <stdio.h>

#include "ledger/archive_impl.h"

void dgf_signer_release(struct dgf_signer *signer)
{
    dgf_wipe(signer->seed, sizeof(signer->seed));
    dgf_log_keys_release(&signer->keys);
}

void dgf_signer_note(struct dgf_signer *signer, const struct dgf_checkpoint *signed_one)
{
    if (signer->has_last && signer->last.size >= signed_one->size)
        return;
    signer->has_last = true;
    signer->last = *signed_one;
}

enum dgf_rc dgf_signer_open(struct dgf_signer *signer, const char *dir,
                            const char *log_id_text, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf note = {0};
    struct dgf_checkpoint last;
    bool by_us = false;
    enum dgf_rc rc;

    dgf_buf_init(&note, DGF_CHECKPOINT_MAX_BYTES);
    (void)snprintf(signer->path, sizeof(signer->path), "%s/keys/signed-%s", dir,
                   log_id_text);
    if (!dgf_file_exists(signer->path))
        return DGF_OK;
    rc = dgf_file_slurp(signer->path, DGF_CHECKPOINT_MAX_BYTES, &note, err);
    /* Whose key it was is found among the log's. */
    for (size_t i = 0; !rc && !by_us && i < signer->keys.n; i++)
        rc = dgf_checkpoint_get(dgf_buf_bytes(&note), signer->keys.list[i].key, &last,
                                &by_us, err);
    if (rc == DGF_NOMEM)
        return rc;
    if (rc || !by_us || strcmp(last.origin, signer->origin) != 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "'%s', which says what was signed last, is damaged or not "
                           "signed by a key of this log",
                           signer->path);
    dgf_signer_note(signer, &last);
    return DGF_OK;
}

static enum dgf_rc refuse(struct dgf_err *err, const struct dgf_checkpoint *last,
                          const struct dgf_checkpoint *wanted, const char *why)
{
    return dgf_err_set(err, DGF_BAD_DATA,
                       "will not sign a checkpoint of size %" PRIu64
                       ": %s (size %" PRIu64 " was signed last)",
                       wanted->size, why, last->size);
}

enum dgf_rc dgf_signer_sign(struct dgf_signer *signer,
                            const struct dgf_checkpoint *checkpoint,
                            uint64_t size_before, const uint8_t *root_before,
                            struct dgf_buf *to, struct dgf_err *err)
{
    const struct dgf_checkpoint *last = &signer->last;
    const struct dgf_log_key *key = dgf_log_keys_at(&signer->keys, checkpoint->size);

    if (!key || memcmp(key->key, signer->key, sizeof(signer->key)) != 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "will not sign a checkpoint of size %" PRIu64
                           ": another key signs that size",
                           checkpoint->size);
    if (signer->has_last) {
        if (checkpoint->size < last->size && size_before >= last->size)
            return refuse(err, last, checkpoint, "the tree shrank");
        if (checkpoint->time_s < last->time_s && checkpoint->size >= last->size)
            return refuse(err, last, checkpoint, "time went back");
        if (checkpoint->size == last->size &&
            (memcmp(checkpoint->root, last->root, DGF_SHA256_LEN) != 0 ||
             memcmp(checkpoint->manifest, last->manifest, DGF_SHA256_LEN) != 0 ||
             checkpoint->time_s != last->time_s))
            return refuse(err, last, checkpoint,
                          "another tree of that size was signed");
        if (checkpoint->size > last->size && size_before < last->size)
            return refuse(err, last, checkpoint,
                          "it does not go through the tree that was signed");
        if (size_before == last->size &&
            memcmp(root_before, last->root, DGF_SHA256_LEN) != 0)
            return refuse(err, last, checkpoint, "it continues another tree");
    }
    if (!dgf_checkpoint_put(checkpoint, signer->seed, to))
        return dgf_err_set(err, DGF_NOMEM, "cannot sign a checkpoint: out of memory");
    /* On the way to what was signed once the memory stays at that. */
    if (!signer->has_last || checkpoint->size > last->size) {
        enum dgf_rc rc = dgf_file_replace(signer->path, dgf_buf_bytes(to), 0600, err);

        if (rc)
            return rc;
        dgf_signer_note(signer, checkpoint);
    }
    return DGF_OK;
}
