/* pipe_archive.c - decides where archive segments end, and tells everybody how far
 * they are sealed.
 *
 * A cut stands at the end of a batch, so that the batch's time is the checkpoint's:
 * every record before it was logged before, every record after it is logged later. */
#include "pipe.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "keys.h"

#define CUT_BYTES (UINT64_C(32) << 20)
#define CUT_EVERY_NS (60 * DGF_SECOND_NS)
#define CUT_FOR_SINKS_NS DGF_SECOND_NS /* a source waits for the segment */
#define POLICY_MAX_BYTES ((size_t)16 << 20)

/* A small journal must not fill up while it waits for a cut. */
static uint64_t cut_bytes(const struct dgf_pipeline *p)
{
    uint64_t bytes = p->conf->cut_bytes ? p->conf->cut_bytes : CUT_BYTES;
    uint64_t budget = p->conf->ledger.journal_bytes / 8;

    return budget && budget < bytes ? budget : bytes;
}

static int64_t cut_every_ns(const struct dgf_pipeline *p)
{
    return p->conf->cut_every_ns ? p->conf->cut_every_ns : CUT_EVERY_NS;
}

/* With ack: sinks a source is acknowledged a whole segment at a time. */
static bool is_waited_for(const struct dgf_pipeline *p)
{
    for (size_t i = 0; p->conf->ack_sinks && i < p->conf->n_sinks; i++) {
        const struct dgf_sink_conf *conf = p->conf->sinks[i].conf;

        if (conf->required && p->conf->sinks[i].type->archive)
            return true;
    }
    return false;
}

static bool has_leaves(const struct dgf_pipeline *p)
{
    return dgf_ledger_next_index(p->ledger) > dgf_ledger_archive_cut(p->ledger);
}

/* ---- life --------------------------------------------------------------------------
 */

static enum dgf_rc open_with_key(struct dgf_pipeline *p,
                                 const struct dgf_archive_conf *conf, uint8_t seed[32],
                                 struct dgf_err *err)
{
    enum dgf_rc rc = dgf_keys_load_sign(conf->dir, p->conf->keys_sign, seed, err);

    return rc ? rc : dgf_archive_open(conf, p->ledger, &p->archive.archive, err);
}

/* A rotation that ended between its record and the key's name. */
static bool has_new_key(const struct dgf_archive_conf *conf)
{
    struct dgf_err err;

    return dgf_keys_finish_rotation(conf->dir, &err) == DGF_OK;
}

enum dgf_rc pipe_archive_open(struct dgf_pipeline *p, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf vkey = {0};
    struct pipe_archive *archive = &p->archive;
    uint8_t seed[32];
    struct dgf_archive_conf conf = {
        .dir = p->conf->ledger.dir,
        .agent = p->conf->agent,
        .tenant_key = p->tenant_key,
        .sign_seed = seed,
        .keep_ns = p->conf->ledger.keep_ns,
        .threaded = p->conf->ledger.threaded,
    };
    enum dgf_rc rc;

    if (!p->conf->archive)
        return DGF_OK;
    dgf_buf_init(&vkey, 4096);
    archive->cut_ns = dgf_clock_mono_ns();
    archive->since_ns = dgf_clock_ns();
    rc = open_with_key(p, &conf, seed, err);
    if (rc == DGF_BAD_CONFIG && !p->conf->keys_sign && has_new_key(&conf))
        rc = open_with_key(p, &conf, seed, err);
    dgf_wipe(seed, sizeof(seed));
    if (rc)
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    archive->m_next = dgf_metric_get(DGF_METRIC_GAUGE, "dgf_archive_size",
                                     "records sealed and signed", "");
    dgf_archive_vkey(archive->archive, &vkey);
    dgf_log(DGF_LOG_INFO, "archive", "vkey", dgf_buf_str(&vkey), NULL);
    if (dgf_archive_missing(archive->archive))
        dgf_log(DGF_LOG_WARN, "an object of the newest archive segment is gone",
                "object", dgf_archive_missing(archive->archive), "cause",
                "it was removed; until the next segment is sealed 'dgf ledger recover' "
                "cannot go on from this archive, and a sink that lacks it waits for it",
                NULL);
    /* Cuts that were journaled and not sealed. */
    dgf_archive_seal(archive->archive, dgf_ledger_archive_cut(p->ledger));
    return DGF_OK;
}

void pipe_archive_release(struct dgf_pipeline *p)
{
    dgf_archive_free(dgf_steal(p->archive.archive));
}

static enum dgf_rc keep_text(struct dgf_pipeline *p, const char *path,
                             const uint8_t sha256[DGF_SHA256_LEN], struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    uint8_t hash[DGF_SHA256_LEN];
    enum dgf_rc rc;

    dgf_buf_init(&text, POLICY_MAX_BYTES);
    rc = dgf_file_slurp(path, POLICY_MAX_BYTES, &text, err);
    if (rc)
        return rc == DGF_NOMEM ? rc : (err->rc = DGF_BAD_CONFIG);
    dgf_sha256(dgf_buf_bytes(&text), hash);
    if (memcmp(hash, sha256, sizeof(hash)) != 0)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "policy file '%s' was changed while it was loaded: load it "
                           "again",
                           path);
    rc = dgf_archive_keep_policy(p->archive.archive, dgf_buf_bytes(&text), err);
    return rc == DGF_AGAIN ? DGF_RETRY : rc;
}

enum dgf_rc pipe_archive_policies(struct dgf_pipeline *p,
                                  const struct dgf_policy_set *set, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf list = {0}, kept = {0};
    const struct dgf_bytes key = dgf_bytes_str(DGF_ARCHIVE_POLICIES_STATE);
    const char *path;
    const uint8_t *sha256;
    enum dgf_rc rc = DGF_OK;

    if (!p->archive.archive)
        return DGF_OK;
    dgf_buf_init(&list, DGF_LEDGER_VALUE_MAX);
    dgf_buf_init(&kept, DGF_LEDGER_VALUE_MAX);
    for (size_t i = 0; !rc && dgf_policy_set_file(set, i, &path, &sha256); i++) {
        rc = keep_text(p, path, sha256, err);
        dgf_archive_put_policy(&list, dgf_bytes_str(path), sha256);
    }
    if (rc)
        return rc;
    rc = dgf_ledger_state_get(p->ledger, key, &kept, err);
    if (rc && rc != DGF_AGAIN)
        return rc;
    if (!rc && dgf_bytes_eq(dgf_buf_bytes(&kept), dgf_buf_bytes(&list)))
        return DGF_OK;
    rc = dgf_buf_rc(&list);
    if (!rc)
        rc = dgf_batch_state(dgf_ledger_batch(p->ledger), key, dgf_buf_bytes(&list));
    return rc ? dgf_err_set(err, rc, "cannot note the policies in force") : DGF_OK;
}

/* ---- a turn
 * -------------------------------------------------------------------------- */

static void hear(struct dgf_pipeline *p)
{
    struct pipe_archive *archive = &p->archive;
    enum dgf_archive_state before = archive->news.state;
    uint64_t next = archive->news.next;

    dgf_archive_poll(archive->archive, &archive->news);
    dgf_metric_set(archive->m_next, (int64_t)archive->news.next);
    if (archive->news.next != next)
        p->status_dirty = true;
    if (archive->news.state == before)
        return;
    archive->since_ns = dgf_clock_ns();
    p->status_dirty = true;
    if (archive->news.alarm)
        p->alarm = "archive";
    if (archive->news.state == DGF_ARCHIVE_STOPPED)
        dgf_log(DGF_LOG_ERROR, "ALARM: archive stopped; records are still committed",
                "cause", archive->news.text, NULL);
    else if (archive->news.state == DGF_ARCHIVE_NO_SPACE)
        dgf_log(DGF_LOG_WARN, "archive waits", "cause", archive->news.text, NULL);
    else
        dgf_log(DGF_LOG_INFO, "archive goes on", NULL);
}

/* Old segments go when every sink has them, and a record says so first. */
static enum dgf_rc let_go(struct dgf_pipeline *p, struct dgf_err *err)
{
    struct pipe_archive *archive = &p->archive;
    uint64_t before = archive->news.prune_before, kept = pipe_sinks_archive(p);
    char detail[96];
    enum dgf_rc rc;

    if (archive->pruned_after && p->news.next_index >= archive->pruned_after) {
        dgf_archive_prune(archive->archive, archive->pruned);
        archive->pruned_after = 0;
    }
    if (!before)
        return DGF_OK;
    archive->news.prune_before = 0;
    if (kept < before)
        before = kept;
    if (before == 0)
        return DGF_OK;
    snprintf(detail, sizeof(detail), "{\"archive_pruned_before\":%llu}",
             (unsigned long long)before);
    rc = dgf_record_own(&p->recorder, DGF_RECORD_CONFIG, NULL,
                        "old segments of the archive are removed", detail);
    archive->pruned = before;
    archive->pruned_after = dgf_ledger_next_index(p->ledger);
    return rc ? dgf_err_set(err, rc, "cannot write the record of a pruning") : DGF_OK;
}

static bool is_sealing(const struct dgf_pipeline *p)
{
    return p->archive.archive && p->archive.news.state != DGF_ARCHIVE_STOPPED;
}

/* An empty period must be visible: without any other record there is one about it. */
static enum dgf_rc beat(struct dgf_pipeline *p, struct dgf_err *err)
{
    enum dgf_rc rc = dgf_record_own(&p->recorder, DGF_RECORD_CLOCK, NULL,
                                    "nothing happened since the last checkpoint", "{}");

    return rc ? dgf_err_set(err, rc, "cannot write the record of an idle period")
              : DGF_OK;
}

enum dgf_rc pipe_archive_turn(struct dgf_pipeline *p, int64_t now_ns, int64_t *wait_ns,
                              struct dgf_err *err)
{
    struct pipe_archive *archive = &p->archive;
    int64_t idle_ns, every_ns;
    enum dgf_rc rc;

    archive->wanted &= archive->archive != NULL;
    if (!archive->archive)
        return DGF_OK;
    hear(p);
    archive->wanted &= is_sealing(p) && has_leaves(p);
    rc = let_go(p, err);
    if (rc || !is_sealing(p) || archive->cut_handed || (p->held && p->held_by_space))
        return rc;
    idle_ns = cut_every_ns(p);
    every_ns =
        is_waited_for(p) && idle_ns > CUT_FOR_SINKS_NS ? CUT_FOR_SINKS_NS : idle_ns;
    if (!has_leaves(p)) {
        if (p->draining || now_ns - archive->cut_ns < idle_ns) {
            pipe_wait_at_most(wait_ns, archive->cut_ns + idle_ns - now_ns);
            return DGF_OK;
        }
        rc = beat(p, err);
        if (rc)
            return rc;
    }
    if (archive->bytes >= cut_bytes(p) || p->held ||
        now_ns - archive->cut_ns >= every_ns)
        archive->wanted = true;
    else
        pipe_wait_at_most(wait_ns, archive->cut_ns + every_ns - now_ns);
    return DGF_OK;
}

enum dgf_rc pipe_archive_cut(struct dgf_pipeline *p, struct dgf_err *err)
{
    struct pipe_archive *archive = &p->archive;
    uint64_t index;
    enum dgf_rc rc = DGF_OK;

    if (!archive->wanted || !is_sealing(p) || !has_leaves(p))
        return DGF_OK;
    if (archive->cut_time_ns && !archive->resumed &&
        pipe_is_late(p, archive->cut_time_ns))
        rc = pipe_say_late(p, archive->cut_time_ns);
    index = dgf_ledger_next_index(p->ledger);
    if (!rc)
        rc = dgf_batch_cut(dgf_ledger_batch(p->ledger), index);
    if (rc)
        return dgf_err_set(err, rc, "cannot end an archive segment");
    /* Not older than any record in it, wherever the clock was set to. */
    dgf_ledger_not_before(p->ledger, p->recorder.last_logged_ns);
    archive->wanted = archive->resumed = false;
    archive->cut_handed = index;
    archive->bytes = 0;
    archive->cut_ns = dgf_clock_mono_ns();
    return DGF_OK;
}

void pipe_archive_handed(struct dgf_pipeline *p)
{
    int64_t time_ns = dgf_ledger_time_ns(p->ledger);

    if (!p->archive.cut_handed)
        return;
    p->archive.cut_time_ns = time_ns;
    if (time_ns > p->recorder.last_logged_ns)
        p->recorder.last_logged_ns = time_ns;
}

void pipe_archive_durable(struct dgf_pipeline *p)
{
    if (p->archive.cut_handed && p->news.next_index >= p->archive.cut_handed) {
        dgf_archive_seal(p->archive.archive, p->archive.cut_handed);
        p->archive.cut_handed = 0;
    }
}

bool pipe_archive_settled(struct dgf_pipeline *p)
{
    if (!is_sealing(p) || p->archive.news.next >= p->news.next_index)
        return true;
    if (has_leaves(p) && !p->archive.cut_handed)
        p->archive.wanted = true;
    return false;
}

uint64_t pipe_archive_through(const struct dgf_pipeline *p)
{
    const struct dgf_archive_news *news = &p->archive.news;

    if (!p->archive.archive)
        return UINT64_MAX;
    /* The journal file that holds the cut is still needed behind it. */
    return news->next ? news->next - 1 : 0;
}

bool pipe_archive_ok(const struct dgf_pipeline *p)
{
    return !p->archive.archive || p->archive.news.state == DGF_ARCHIVE_OK;
}
