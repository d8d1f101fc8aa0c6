/* pipeline.c - starts, turns, drains and stops everything. */
#include "pipeline.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"
#include "cmd.h"
#include "pipe.h"
#include "keys.h"

#define MAX_WORKERS 8

void pipe_break(struct dgf_pipeline *p, enum dgf_rc rc, const char *text)
{
    if (p->broken)
        return;
    p->broken = rc ? rc : DGF_FATAL;
    snprintf(p->broken_text, sizeof(p->broken_text), "%s", text);
    p->exit_code = rc == DGF_FATAL ? DGF_EXIT_STORAGE : DGF_EXIT_FAIL_CLOSED;
}

bool pipe_must_pause(const struct dgf_pipeline *p)
{
    return p->held || p->draining || dgf_batch_full(dgf_ledger_batch(p->ledger));
}

/* ---- where records go --------------------------------------------------------- */

static uint64_t next_seq(void *ctx)
{
    const struct dgf_pipeline *p = ctx;

    return dgf_ledger_next_index(p->ledger);
}

static enum dgf_rc put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    struct dgf_pipeline *p = ctx;
    uint64_t index;

    p->archive.bytes += line.len + 1;
    return dgf_batch_leaf(dgf_ledger_batch(p->ledger), header, line, &index);
}

/* ---- start ----------------------------------------------------------------------- */

static enum dgf_rc own(struct dgf_pipeline *p, enum dgf_record_kind kind,
                       const char *message, const char *detail, struct dgf_err *err)
{
    enum dgf_rc rc = dgf_record_own(&p->recorder, kind, NULL, message, detail);

    return rc ? dgf_err_set(err, rc, "cannot write the first records") : DGF_OK;
}

/* "sha256:<hex>" to 32 bytes. */
static void note_policy_set(struct dgf_pipeline *p, struct dgf_policy_set *set)
{
    const char *text = dgf_policy_set_digest(set);
    uint8_t digest[DGF_SHA256_LEN] = {0};

    if (strlen(text) == 7 + 64 &&
        dgf_parse_hex(dgf_bytes_of(text + 7, 64), digest, sizeof(digest)))
        dgf_batch_policy_set(dgf_ledger_batch(p->ledger), digest);
}

static enum dgf_rc record_policy_set(struct dgf_pipeline *p,
                                     struct dgf_policy_set *old_set,
                                     struct dgf_policy_set *set, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf diff = {0};
    enum dgf_rc rc = dgf_recorder_policy_set(&p->recorder, dgf_policy_set_digest(set));

    dgf_buf_init(&diff, 1 << 20);
    dgf_policy_set_diff(old_set, set, &diff);
    if (!rc)
        rc = dgf_buf_rc(&diff);
    if (!rc)
        rc = dgf_record_own(&p->recorder, DGF_RECORD_POLICY_SET, NULL,
                            "policies in force", dgf_buf_str(&diff));
    if (rc)
        return dgf_err_set(err, rc, "cannot write the record of the policy set");
    note_policy_set(p, set);
    p->archive.wanted = true; /* each set was in force at some segment's end */
    return DGF_OK;
}

static bool set_is_new(struct dgf_pipeline *p)
{
    char hex[7 + 64 + 1] = "sha256:";
    const uint8_t *kept = dgf_ledger_policy_set(p->ledger);

    for (int i = 0; i < DGF_SHA256_LEN; i++)
        snprintf(hex + 7 + 2 * i, 3, "%02x", kept[i]);
    return strcmp(hex, dgf_policy_set_digest(p->set)) != 0;
}

/* Which keys the ids and tokens of a new ledger are made with, and since when. */
static enum dgf_rc key_records(struct dgf_pipeline *p, struct dgf_err *err)
{
    enum dgf_rc rc = own(p, DGF_RECORD_KEY, p->made_tenant ? "generated" : "in use",
                         "{\"key\":\"tenant\",\"version\":1}", err);

    return rc ? rc
              : own(p, DGF_RECORD_KEY, p->made_token ? "generated" : "in use",
                    "{\"key\":\"token\",\"version\":1}", err);
}

static enum dgf_rc first_records(struct dgf_pipeline *p,
                                 const struct dgf_ledger_cut *cut, struct dgf_err *err)
{
    char detail[256];
    enum dgf_rc rc;

    snprintf(detail, sizeof(detail), "{\"log\":\"%s\",\"new\":%s,\"cut_bytes\":%llu}",
             dgf_ledger_log_id_text(p->ledger),
             dgf_ledger_was_new(p->ledger) ? "true" : "false",
             (unsigned long long)cut->bytes);
    rc =
        own(p, DGF_RECORD_RESUME,
            dgf_ledger_was_new(p->ledger) ? "a new ledger begins" : "the agent goes on",
            detail, err);
    if (rc)
        return rc;
    if (p->is_first)
        rc = key_records(p, err);
    if (rc)
        return rc;
    rc = own(p, DGF_RECORD_CONFIG,
             p->conf->insecure ? "runs with insecure: true" : "configuration in force",
             p->conf->config_json ? p->conf->config_json : "{}", err);
    for (size_t i = 0; !rc && i < p->conf->n_sources; i++)
        if (pipe_source_begin(&p->sources[i]))
            rc = dgf_err_set(err, DGF_NOMEM, "cannot write coverage of '%s'",
                             p->conf->sources[i].name);
    if (!rc)
        rc = pipe_archive_policies(p, p->set, err);
    if (!rc && set_is_new(p))
        rc = record_policy_set(p, NULL, p->set, err);
    return rc;
}

static enum dgf_rc open_parts(struct dgf_pipeline *p, struct dgf_err *err)
{
    const struct dgf_pipeline_conf *conf = p->conf;
    enum dgf_rc rc;

    p->sources = dgf_calloc(conf->n_sources ? conf->n_sources : 1, sizeof(*p->sources));
    p->sinks = dgf_calloc(conf->n_sinks ? conf->n_sinks : 1, sizeof(*p->sinks));
    if (!p->sources || !p->sinks)
        return dgf_err_set(err, DGF_NOMEM, "cannot start: out of memory");
    for (size_t i = 0; i < conf->n_sources; i++) {
        rc = pipe_source_init(&p->sources[i], p, &conf->sources[i], err);
        if (rc)
            return rc;
    }
    for (size_t i = 0; i < conf->n_sinks; i++) {
        rc = pipe_sink_init(&p->sinks[i], p, &conf->sinks[i], err);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

/* Keys are made for a ledger that is empty, never for one that has records. */
static enum dgf_rc load_keys(struct dgf_pipeline *p, struct dgf_err *err)
{
    const struct dgf_pipeline_conf *conf = p->conf;
    const char *dir = conf->ledger.dir, *code;
    enum dgf_rc rc = DGF_OK;

    p->is_first = dgf_ledger_next_index(p->ledger) == 0;
    if (!p->is_first)
        rc = dgf_keys_need(dir, conf->keys_tenant, conf->keys_token, err);
    /* All that are there are good before one is made. */
    if (!rc)
        rc = dgf_key_look(dir, "token", conf->keys_token, &code, err);
    if (!rc && conf->archive)
        rc = dgf_key_look(dir, "sign", conf->keys_sign, &code, err);
    p->made_tenant = dgf_key_is_missing(dir, "tenant", conf->keys_tenant);
    p->made_token = dgf_key_is_missing(dir, "token", conf->keys_token);
    if (!rc)
        rc = dgf_keys_load(dir, conf->keys_tenant, conf->keys_token, p->tenant_key,
                           p->token_key, err);
    return rc == DGF_AGAIN ? DGF_RETRY : rc;
}

static enum dgf_rc open_ledger(struct dgf_pipeline *p, struct dgf_ledger_cut *cut,
                               struct dgf_err *err)
{
    const struct dgf_pipeline_conf *conf = p->conf;
    struct dgf_record_out out = {.ctx = p, .next_seq = next_seq, .put = put};
    enum dgf_rc rc = dgf_ledger_open(&conf->ledger, &p->ledger, cut, err);

    if (rc)
        return rc;
    if (cut->bytes)
        dgf_log(DGF_LOG_WARN, "journal cut after the last whole batch", "#bytes",
                (int64_t)cut->bytes, "#segment", (int64_t)cut->segment, NULL);
    p->news.next_index = dgf_ledger_next_index(p->ledger);
    p->news.idle = true;
    rc = load_keys(p, err);
    if (rc)
        return rc;
    rc = dgf_recorder_init(&p->recorder, out, conf->agent, conf->env, p->tenant_key,
                           p->token_key, 1, dgf_ledger_log_id(p->ledger));
    if (rc)
        return dgf_err_set(err, rc, "cannot start the record writer");
    p->recorder.last_logged_ns = dgf_ledger_time_ns(p->ledger);
    return DGF_OK;
}

/* A lookup that nobody answers must not hold up somebody else's fsync. */
static unsigned n_workers(const struct dgf_pipeline_conf *conf)
{
    size_t n = conf->n_sources + conf->n_sinks;

    return n < 1 ? 1 : n > MAX_WORKERS ? MAX_WORKERS : (unsigned)n;
}

enum dgf_rc dgf_pipeline_open(struct event_base *loop,
                              const struct dgf_pipeline_conf *conf,
                              struct dgf_policy_set *set, struct dgf_pipeline **ret,
                              struct dgf_err *err)
{
    struct dgf_pipeline *p = dgf_calloc(1, sizeof(*p));
    struct dgf_ledger_cut cut = {0};
    enum dgf_rc rc;

    if (!p)
        return dgf_err_set(err, DGF_NOMEM, "cannot start: out of memory");
    p->loop = loop;
    p->conf = conf;
    p->started_ns = dgf_clock_ns();
    p->status_dirty = true;
    dgf_buf_init(&p->scratch, 1 << 20);
    p->set = dgf_policy_set_ref(set);
    p->m_ledger_size = dgf_metric_get(DGF_METRIC_GAUGE, "dgf_ledger_size",
                                      "records in the ledger", "");
    p->m_commit =
        dgf_metric_get(DGF_METRIC_HISTOGRAM_SECONDS, "dgf_ledger_commit_seconds",
                       "from hand-over to durable", "");
    rc = loop ? dgf_workers_new(loop, n_workers(conf), &p->workers, err) : DGF_OK;
    if (!rc)
        rc = open_ledger(p, &cut, err);
    if (!rc)
        rc = pipe_archive_open(p, err);
    if (!rc)
        rc = open_parts(p, err);
    if (!rc)
        rc = first_records(p, &cut, err);
    if (rc) {
        dgf_pipeline_free(p);
        return rc;
    }
    *ret = p;
    return DGF_OK;
}

void dgf_pipeline_free(struct dgf_pipeline *p)
{
    if (!p)
        return;
    for (size_t i = 0; p->sources && i < p->conf->n_sources; i++)
        pipe_source_release(&p->sources[i]);
    for (size_t i = 0; p->sinks && i < p->conf->n_sinks; i++)
        pipe_sink_release(&p->sinks[i]);
    dgf_workers_free(p->workers);
    pipe_archive_release(p);
    dgf_free(p->sources);
    dgf_free(p->sinks);
    dgf_recorder_release(&p->recorder);
    dgf_ledger_free(p->ledger);
    dgf_policy_set_unref(p->set);
    dgf_wipe(p->tenant_key, sizeof(p->tenant_key));
    dgf_wipe(p->token_key, sizeof(p->token_key));
    dgf_buf_release(&p->scratch);
    dgf_free(p);
}

/* ---- one turn ---- */

/* What the writer has to say; the moment it is idle the open batch goes out. */
static enum dgf_rc listen(struct dgf_pipeline *p, struct dgf_err *err)
{
    enum dgf_rc rc = dgf_ledger_poll(p->ledger, &p->news, err);

    if (rc)
        return rc;
    if (p->news.durable) {
        dgf_crash_point("pipeline_before_durable");
        dgf_metric_set(p->m_ledger_size, (int64_t)p->news.next_index);
        dgf_metric_observe_ns(p->m_commit, dgf_clock_mono_ns() - p->handed_at_ns);
        for (size_t i = 0; i < p->conf->n_sources; i++)
            pipe_source_durable(&p->sources[i]);
        pipe_archive_durable(p);
        dgf_crash_point("pipeline_after_durable");
    }
    return DGF_OK;
}

/* Pauses when the disk or the budget says so; says it once, in status at once
 * and in a record when there is room for one. */
static enum dgf_rc hold(struct dgf_pipeline *p, struct dgf_err *err)
{
    bool over = dgf_ledger_over_budget(p->ledger);
    bool must = p->news.no_space || over;
    char detail[160];
    enum dgf_rc rc;

    if (must == p->held)
        return DGF_OK;
    p->status_dirty = true;
    p->held = must;
    if (must) {
        p->held_by_space = p->news.no_space;
        p->held_since_ns = dgf_clock_ns();
        dgf_log(DGF_LOG_WARN, "sources paused", "cause",
                p->held_by_space ? "no space in data_dir"
                                 : "ledger.journal_bytes is used up",
                NULL);
    } else {
        dgf_log(DGF_LOG_INFO, "sources resumed", NULL);
    }
    snprintf(detail, sizeof(detail),
             "{\"state\":\"%s\",\"cause\":\"%s\",\"paused_ms\":%lld}",
             must ? "paused" : "resumed",
             p->held_by_space ? "disk_full" : "journal_budget",
             must ? 0LL : (long long)((dgf_clock_ns() - p->held_since_ns) / 1000000));
    rc = dgf_record_own(&p->recorder, DGF_RECORD_BACKPRESSURE, NULL,
                        must ? "sources are paused" : "sources read again", detail);
    return rc ? dgf_err_set(err, rc, "cannot write the record of a pause") : DGF_OK;
}

bool pipe_is_late(const struct dgf_pipeline *p, int64_t since_ns)
{
    int64_t now_ns = dgf_clock_ns();

    if (now_ns < p->recorder.last_logged_ns)
        now_ns = p->recorder.last_logged_ns;
    return now_ns - since_ns > DGF_HEARTBEAT_LATE_NS;
}

/* The machine slept, the process was stopped, a batch waited for the disk, or the clock
 * was set forward: nobody can tell these apart. */
enum dgf_rc pipe_say_late(struct dgf_pipeline *p, int64_t since_ns)
{
    int64_t ms = (dgf_clock_ns() - since_ns) / 1000000;
    char detail[64];
    enum dgf_rc rc;

    dgf_log(DGF_LOG_WARN, "no heartbeat for a time", "cause",
            "the process or the machine stood still, or its clock was set forward",
            NULL);
    snprintf(detail, sizeof(detail), "{\"without_heartbeat_ms\":%lld}", (long long)ms);
    rc = dgf_record_own(&p->recorder, DGF_RECORD_RESUME, NULL,
                        "the agent goes on after a time without heartbeats", detail);
    p->resumed_ns = p->recorder.last_logged_ns;
    p->archive.resumed = true;
    return rc;
}

static enum dgf_rc cover(struct dgf_pipeline *p, int64_t *wait_ns, struct dgf_err *err)
{
    int64_t now_ns = dgf_clock_ns();

    for (size_t i = 0; i < p->conf->n_sources; i++) {
        struct pipe_source *ps = &p->sources[i];
        int64_t due = ps->coverage.since_ns + DGF_COVERAGE_NS - now_ns;

        if (due > 0 && due <= DGF_COVERAGE_NS) { /* else the clock was set back */
            pipe_wait_at_most(wait_ns, due);
        } else if (ps->position.len) {
            enum dgf_rc rc = pipe_source_coverage(ps, now_ns);

            if (rc)
                return dgf_err_set(err, rc, "cannot write coverage of '%s'",
                                   ps->src->name);
        } else {
            ps->coverage.since_ns = now_ns;
        }
    }
    return DGF_OK;
}

static enum dgf_rc prune(struct dgf_pipeline *p, struct dgf_err *err)
{
    char detail[96];
    enum dgf_rc rc;
    uint64_t through = pipe_sinks_journal(p), sealed = pipe_archive_through(p);

    dgf_ledger_release(p->ledger, through < sealed ? through : sealed);
    if (!p->news.prune_before)
        return DGF_OK;
    snprintf(detail, sizeof(detail), "{\"pruned_before\":%llu}",
             (unsigned long long)p->news.prune_before);
    rc = dgf_record_own(&p->recorder, DGF_RECORD_CONFIG, NULL,
                        "old segments of the journal are removed", detail);
    if (!rc)
        rc = dgf_batch_prune(dgf_ledger_batch(p->ledger), p->news.prune_before);
    p->news.prune_before = 0;
    return rc ? dgf_err_set(err, rc, "cannot prune the journal") : DGF_OK;
}

static enum dgf_rc put_cursors(struct dgf_pipeline *p, struct dgf_err *err)
{
    for (size_t i = 0; i < p->conf->n_sinks; i++) {
        struct pipe_sink *ps = &p->sinks[i];
        enum dgf_rc rc;

        if (!ps->cursor_dirty)
            continue;
        dgf_buf_clear(&p->scratch);
        dgf_buf_add_le64(&p->scratch, ps->durable);
        dgf_buf_add_bytes(&p->scratch, dgf_buf_bytes(&ps->cursor));
        rc = dgf_buf_rc(&p->scratch);
        if (!rc)
            rc = dgf_batch_cursor(dgf_ledger_batch(p->ledger),
                                  dgf_bytes_str(ps->setup->name),
                                  dgf_buf_bytes(&p->scratch));
        if (rc)
            return dgf_err_set(err, rc, "cannot keep the cursor of sink '%s'",
                               ps->setup->name);
        ps->cursor_dirty = false;
    }
    return DGF_OK;
}

static bool anything_lazy(const struct dgf_pipeline *p)
{
    for (size_t i = 0; i < p->conf->n_sources; i++)
        if (p->sources[i].dirty)
            return true;
    for (size_t i = 0; i < p->conf->n_sinks; i++)
        if (p->sinks[i].cursor_dirty)
            return true;
    return !dgf_batch_empty(dgf_ledger_batch(p->ledger));
}

/* Everything that belongs together goes into the batch right before it leaves. */
static enum dgf_rc hand_over(struct dgf_pipeline *p, struct dgf_err *err)
{
    enum dgf_rc rc;

    /* An event that failed on its way may have left half of its records. */
    if (p->broken)
        return dgf_err_set(err, p->broken, "%s", p->broken_text);
    for (size_t i = 0; i < p->conf->n_sources; i++) {
        rc = pipe_source_commit(&p->sources[i], err);
        if (rc)
            return rc;
    }
    rc = put_cursors(p, err);
    if (!rc)
        rc = pipe_archive_cut(p, err);
    if (rc)
        return rc;
    dgf_crash_point("pipeline_before_hand_over");
    rc = dgf_ledger_hand_over(p->ledger, err);
    if (rc == DGF_AGAIN)
        return DGF_OK;
    if (rc)
        return rc;
    p->handed_at_ns = dgf_clock_mono_ns();
    p->news.idle = false;
    p->lazy_since_ns = 0;
    pipe_archive_handed(p);
    for (size_t i = 0; i < p->conf->n_sources; i++)
        pipe_source_handed(&p->sources[i], dgf_ledger_next_index(p->ledger));
    return DGF_OK;
}

static enum dgf_rc commit(struct dgf_pipeline *p, int64_t now_ns, int64_t *wait_ns,
                          struct dgf_err *err)
{
    if (!anything_lazy(p) && !p->archive.wanted) {
        p->lazy_since_ns = 0;
        return DGF_OK;
    }
    if (!p->lazy_since_ns)
        p->lazy_since_ns = now_ns;
    if (!p->news.idle)
        return DGF_OK; /* the ledger's eventfd wakes us */
    if (dgf_batch_is_urgent(dgf_ledger_batch(p->ledger)) || p->archive.wanted ||
        p->draining || p->conf->until_caught_up ||
        now_ns - p->lazy_since_ns >= DGF_LAZY_NS)
        return hand_over(p, err);
    pipe_wait_at_most(wait_ns, p->lazy_since_ns + DGF_LAZY_NS - now_ns);
    return DGF_OK;
}

static void steer_sources(struct dgf_pipeline *p, int64_t now_ns, int64_t *wait_ns)
{
    bool pause = pipe_must_pause(p);

    for (size_t i = 0; i < p->conf->n_sources; i++) {
        pipe_source_pause(&p->sources[i], pause);
        pipe_source_turn(&p->sources[i], now_ns, wait_ns);
    }
}

static bool all_settled(const struct dgf_pipeline *p)
{
    if (!p->news.idle || !dgf_batch_empty(dgf_ledger_batch(p->ledger)))
        return false;
    for (size_t i = 0; i < p->conf->n_sources; i++)
        if (!pipe_source_settled(&p->sources[i]))
            return false;
    return p->news.next_index == dgf_ledger_next_index(p->ledger);
}

/* Nothing more is expected of the sources. */
static bool is_ending(const struct dgf_pipeline *p)
{
    if (p->draining || !p->conf->until_caught_up)
        return p->draining;
    for (size_t i = 0; i < p->conf->n_sources; i++)
        if (!p->sources[i].caught_up && !p->sources[i].stopped)
            return false;
    return true;
}

/* Everything is durable: sources may have to hear that their servers know. */
static void acknowledge(struct dgf_pipeline *p, int64_t now_ns, int64_t *wait_ns)
{
    bool all = true;

    if (!p->acknowledge_until_ns)
        p->acknowledge_until_ns = now_ns + DGF_ACKNOWLEDGE_NS;
    for (size_t i = 0; i < p->conf->n_sources; i++) {
        const struct pipe_source *ps = &p->sources[i];

        if (ps->is_open && !ps->failed && ps->src->type->acknowledged &&
            !ps->src->type->acknowledged(ps->src))
            all = false;
    }
    p->acknowledged = all || now_ns >= p->acknowledge_until_ns;
    if (!p->acknowledged)
        pipe_wait_at_most(wait_ns, p->acknowledge_until_ns - now_ns);
}

enum dgf_rc dgf_pipeline_turn(struct dgf_pipeline *p, int64_t *ret_wait_ns,
                              struct dgf_err *err)
{
    int64_t now_ns = dgf_clock_mono_ns();
    bool busy = false;
    enum dgf_rc rc;

    *ret_wait_ns = 3600 * DGF_SECOND_NS;
    rc = listen(p, err);
    if (!rc)
        rc = hold(p, err);
    if (!rc && !p->draining)
        rc = cover(p, ret_wait_ns, err);
    for (size_t i = 0; !rc && i < p->conf->n_sinks; i++)
        pipe_sink_turn(&p->sinks[i], now_ns, ret_wait_ns, &busy);
    for (size_t i = 0; !rc && p->conf->ack_sinks && i < p->conf->n_sources; i++)
        pipe_source_tell(&p->sources[i]);
    if (!rc)
        rc = prune(p, err);
    if (!rc)
        rc = pipe_archive_turn(p, now_ns, ret_wait_ns, err);
    if (!rc)
        rc = commit(p, now_ns, ret_wait_ns, err);
    if (!rc)
        steer_sources(p, now_ns, ret_wait_ns);
    if (!rc && is_ending(p) && all_settled(p) &&
        pipe_archive_settled(p)) /* asks for a last cut */
        acknowledge(p, now_ns, ret_wait_ns);
    if (!rc && p->broken)
        rc = dgf_err_set(err, p->broken, "%s", p->broken_text);
    if (rc) {
        pipe_break(p, rc, err->text);
        return DGF_FATAL;
    }
    if (busy || (p->archive.wanted && p->news.idle))
        *ret_wait_ns = 0;
    if (p->drain_delivery && p->drain_until_ns > now_ns)
        pipe_wait_at_most(ret_wait_ns, p->drain_until_ns - now_ns);
    pipe_status_turn(p, now_ns, ret_wait_ns);
    return DGF_OK;
}

int dgf_pipeline_ledger_fd(const struct dgf_pipeline *p)
{
    return dgf_ledger_fd(p->ledger);
}

int dgf_pipeline_archive_fd(const struct dgf_pipeline *p)
{
    return p->archive.archive ? dgf_archive_fd(p->archive.archive) : -1;
}

/* ---- stop ---- */

void dgf_pipeline_drain(struct dgf_pipeline *p, int64_t limit_ns)
{
    if (p->draining)
        return;
    dgf_log(DGF_LOG_INFO, "stopping", NULL);
    for (size_t i = 0; i < p->conf->n_sources; i++) {
        pipe_source_pause(&p->sources[i], true);
        /* What was judged is said before the end, not at the next start. */
        if (pipe_source_coverage(&p->sources[i], dgf_clock_ns()))
            pipe_break(p, DGF_NOMEM, "cannot write the last coverage");
    }
    p->draining = true;
    p->drain_delivery = true;
    p->drain_until_ns = dgf_clock_mono_ns() + limit_ns;
    p->status_dirty = true;
}

bool dgf_pipeline_done(struct dgf_pipeline *p)
{
    if (p->broken)
        return true;
    if (p->draining) {
        if (p->drain_delivery && dgf_clock_mono_ns() >= p->drain_until_ns)
            return true;
        return all_settled(p) && pipe_archive_settled(p) && p->acknowledged &&
               pipe_sinks_delivered(p);
    }
    if (!is_ending(p))
        return false;
    if (p->alarm) /* a sink that stopped for good is not waited for */
        return all_settled(p) && pipe_archive_settled(p) && p->acknowledged;
    return all_settled(p) && pipe_archive_settled(p) && p->acknowledged &&
           pipe_sinks_through(p, true) >= p->news.next_index;
}

int dgf_pipeline_exit_code(const struct dgf_pipeline *p)
{
    if (p->exit_code)
        return p->exit_code;
    if (p->alarm)
        return DGF_EXIT_FORK;
    for (size_t i = 0; i < p->conf->n_sources; i++)
        if (p->conf->until_caught_up && p->sources[i].stopped)
            return DGF_EXIT_FAIL_CLOSED;
    return DGF_EXIT_OK;
}

/* ---- another policy set ---- */

enum dgf_rc dgf_pipeline_reload(struct dgf_pipeline *p, struct dgf_policy_set *set,
                                struct dgf_err *err)
{
    enum dgf_rc rc;

    /* A folder that lost its files (a mount, a deploy) must not switch all off. */
    if (dgf_policy_set_count(set) == 0 && dgf_policy_set_count(p->set) > 0)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "there are no policies any more, nothing would be judged; "
                           "to run without any, start again");
    p->reload_error[0] = '\0';
    p->reload_generation++;
    p->status_dirty = true;
    if (strcmp(dgf_policy_set_digest(set), dgf_policy_set_digest(p->set)) == 0)
        return DGF_OK;
    rc = pipe_archive_policies(p, set, err);
    if (!rc)
        rc = record_policy_set(p, p->set, set, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < p->conf->n_sources; i++) {
        dgf_policy_set_unref(p->sources[i].next_set);
        p->sources[i].next_set = dgf_policy_set_ref(set);
    }
    dgf_policy_set_unref(p->set);
    p->set = dgf_policy_set_ref(set);
    dgf_log(DGF_LOG_INFO, "policies reloaded", "policy_set", dgf_policy_set_digest(set),
            NULL);
    return DGF_OK;
}

void dgf_pipeline_reload_failed(struct dgf_pipeline *p, const char *why)
{
    snprintf(p->reload_error, sizeof(p->reload_error), "%s", why);
    p->status_dirty = true;
}
