#include "rotate.h"

#include "bus/record_write.h"
#include "ledger/archive.h"

struct rotation {
    const struct dgf_rotate_conf *conf;
    struct dgf_ledger *ledger;
    struct dgf_archive *archive;
    struct dgf_recorder recorder;
    bool has_recorder;
    struct dgf_err *err;
};

static uint64_t next_seq(void *ctx)
{
    const struct rotation *r = ctx;

    return dgf_ledger_next_index(r->ledger);
}

static enum dgf_rc put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    struct rotation *r = ctx;

    return dgf_batch_leaf(dgf_ledger_batch(r->ledger), header, line, NULL);
}

static enum dgf_rc commit(struct rotation *r)
{
    struct dgf_ledger_news news;
    enum dgf_rc rc;

    dgf_ledger_not_before(r->ledger, r->recorder.last_logged_ns);
    rc = dgf_ledger_hand_over(r->ledger, r->err);
    if (!rc)
        rc = dgf_ledger_step(r->ledger, r->err);
    if (!rc)
        rc = dgf_ledger_poll(r->ledger, &news, r->err);
    return rc == DGF_AGAIN ? dgf_err_set(r->err, DGF_RETRY, "no space in data_dir")
                           : rc;
}

/* Everything there is gets the old key's signature. */
static enum dgf_rc seal_all(struct rotation *r)
{
    uint64_t end = dgf_ledger_next_index(r->ledger);
    struct dgf_archive_news news;
    enum dgf_rc rc = DGF_OK;

    if (end > dgf_ledger_archive_cut(r->ledger)) {
        rc = dgf_batch_cut(dgf_ledger_batch(r->ledger), end);
        if (rc)
            return dgf_err_set(r->err, rc, "cannot end an archive segment");
    }
    if (!dgf_batch_empty(dgf_ledger_batch(r->ledger)))
        rc = commit(r);
    if (rc)
        return rc;
    dgf_archive_seal(r->archive, end);
    do
        rc = dgf_archive_step(r->archive);
    while (!rc);
    dgf_archive_poll(r->archive, &news);
    if (news.next < end)
        return dgf_err_set(r->err, DGF_BAD_DATA,
                           "what the ledger holds cannot be sealed with the old key: "
                           "%s",
                           news.text);
    return DGF_OK;
}

static enum dgf_rc write_record(struct rotation *r, uint64_t from)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf detail = {0};
    enum dgf_rc rc;

    dgf_buf_init(&detail, 16384);
    if (!dgf_rotation_put(dgf_archive_origin(r->archive),
                          dgf_ledger_log_id_text(r->ledger), r->conf->old_seed,
                          r->conf->new_seed, from, &detail))
        return dgf_err_set(r->err, DGF_NOMEM, "cannot sign the change of keys");
    rc = dgf_record_own(&r->recorder, DGF_RECORD_KEY, NULL,
                        "another key signs the archive from here on",
                        dgf_buf_str(&detail));
    return rc ? dgf_err_set(r->err, rc, "cannot write the record of the key") : DGF_OK;
}

/* The record and the list of keys are one batch: both, or none. */
static enum dgf_rc change_key(struct rotation *r, uint64_t *ret_from)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    const struct dgf_bytes name = dgf_bytes_str(DGF_ARCHIVE_KEYS_STATE);
    uint64_t from = dgf_ledger_next_index(r->ledger);
    struct dgf_log_keys keys = {NULL, 0};
    uint8_t key[DGF_SIGN_PUBLIC_LEN];
    enum dgf_rc rc;

    dgf_buf_init(&bytes, DGF_LEDGER_VALUE_MAX);
    rc = dgf_ledger_state_get(r->ledger, name, &bytes, r->err);
    if (!rc && dgf_log_keys_get(dgf_buf_bytes(&bytes), &keys))
        rc = dgf_err_set(r->err, DGF_FATAL, "the keys of the log cannot be read");
    if (!rc && (!dgf_sign_public(r->conf->new_seed, key) ||
                dgf_log_keys_add(&keys, key, from)))
        rc = dgf_err_set(r->err, DGF_NOMEM, "cannot add a key");
    if (!rc)
        rc = write_record(r, from);
    dgf_buf_clear(&bytes);
    dgf_log_keys_put(&keys, &bytes);
    if (!rc && (dgf_buf_rc(&bytes) || dgf_batch_state(dgf_ledger_batch(r->ledger), name,
                                                      dgf_buf_bytes(&bytes))))
        rc = dgf_err_set(r->err, DGF_NOMEM, "cannot note the signing key");
    dgf_log_keys_release(&keys);
    if (!rc)
        rc = commit(r);
    *ret_from = from;
    return rc;
}

static enum dgf_rc open_all(struct rotation *r)
{
    const struct dgf_rotate_conf *conf = r->conf;
    struct dgf_ledger_conf ledger = {
        .dir = conf->dir, .segment_bytes = UINT64_C(64) << 20, .keep_ns = INT64_MAX};
    struct dgf_archive_conf archive = {.dir = conf->dir,
                                       .agent = conf->agent,
                                       .tenant_key = conf->tenant_key,
                                       .sign_seed = conf->old_seed,
                                       .keep_ns = INT64_MAX};
    struct dgf_record_out out = {.ctx = r, .next_seq = next_seq, .put = put};
    struct dgf_ledger_cut cut;
    enum dgf_rc rc = dgf_ledger_open(&ledger, &r->ledger, &cut, r->err);

    if (rc)
        return rc;
    rc = dgf_recorder_init(&r->recorder, out, conf->agent, conf->env, conf->tenant_key,
                           conf->token_key, 1, dgf_ledger_log_id(r->ledger));
    if (rc)
        return dgf_err_set(r->err, rc, "cannot start the record writer");
    r->has_recorder = true;
    r->recorder.last_logged_ns = dgf_ledger_time_ns(r->ledger);
    rc = dgf_archive_open(&archive, r->ledger, &r->archive, r->err);
    return rc == DGF_AGAIN ? DGF_RETRY : rc;
}

enum dgf_rc dgf_rotate(const struct dgf_rotate_conf *conf, uint64_t *ret_from,
                       struct dgf_err *err)
{
    struct rotation r = {.conf = conf, .err = err};
    enum dgf_rc rc = open_all(&r);

    if (!rc)
        rc = seal_all(&r);
    if (!rc)
        rc = change_key(&r, ret_from);
    dgf_archive_free(r.archive);
    if (r.has_recorder)
        dgf_recorder_release(&r.recorder);
    dgf_ledger_free(r.ledger);
    return rc;
}
