/* pipe_source.c - what the pipeline does for one source: takes its events,
 * has them judged, writes their records, tells it what is durable, and opens
 * it again when it failed. */
#include "pipe.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

static struct pipe_source *of(struct dgf_source *src)
{
    return src->host_self;
}

/* ---- records of one event -------------------------------------------------- */

static enum dgf_rc judge(struct pipe_source *ps, const struct dgf_event *event)
{
    struct dgf_recorder *recorder = &ps->pipeline->recorder;
    struct dgf_judged judged;
    enum dgf_rc rc = dgf_engine_judge(ps->engine, event, &judged);

    if (rc)
        return rc;
    for (size_t i = 0; i < judged.n; i++) {
        const struct dgf_judgement *one = &judged.list[i];

        rc = one->verdict == DGF_VERDICT_ERROR
                 ? dgf_record_rule_error(recorder, event, one)
                 : dgf_record_violation(recorder, event, one);
        if (rc)
            return rc;
    }
    if (judged.audit) {
        rc = dgf_record_audit(recorder, event, &judged);
        if (rc)
            return rc;
    }
    return dgf_coverage_count(&ps->coverage, event, judged.verdict);
}

/* "to", "since" ... of a special event's extra section, NUL-terminated. */
static bool extra_text(const struct dgf_event *event, const char *name,
                       struct dgf_buf *out)
{
    struct dgf_bytes value =
        dgf_event_field(event, DGF_SECTION_EXTRA, dgf_bytes_str(name));
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    dgf_buf_clear(out);
    if (value.len == 0 || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR)
        return false;
    dgf_buf_add_bytes(out, token.bytes);
    return true;
}

static void position_text(struct pipe_source *ps, struct dgf_buf *out)
{
    dgf_buf_clear(out);
    if (ps->position.len)
        ps->src->type->position_text(dgf_buf_bytes(&ps->position), out);
}

enum dgf_rc pipe_source_coverage(struct pipe_source *ps, int64_t now_ns)
{
    struct dgf_pipeline *p = ps->pipeline;
    struct dgf_buf *text = &p->scratch;
    int64_t since_ns = ps->covered_ns > p->resumed_ns ? ps->covered_ns : p->resumed_ns;
    enum dgf_rc rc = DGF_OK;

    if (ps->position.len == 0)
        return DGF_OK;
    if (ps->covered_ns && pipe_is_late(p, since_ns))
        rc = pipe_say_late(p, since_ns);
    if (rc)
        return rc;
    position_text(ps, text);
    ps->dirty = true;
    rc = dgf_record_coverage(&p->recorder, &ps->coverage, ps->src->name,
                             dgf_buf_str(text), now_ns,
                             dgf_source_guarantee(ps->src->type, ps->src->conf));
    ps->covered_ns = p->recorder.last_logged_ns;
    if (!rc) /* as every record of this source from here on */
        rc = dgf_recorder_policy_set(&p->recorder, dgf_policy_set_digest(ps->set));
    return rc;
}

/* What the process before us judged was judged by its policies. */
enum dgf_rc pipe_source_begin(struct pipe_source *ps)
{
    const char *digest = dgf_policy_set_digest(ps->set);
    enum dgf_rc rc = DGF_OK;

    if (ps->coverage.policy_set[0] && strcmp(ps->coverage.policy_set, digest) != 0)
        rc = pipe_source_coverage(ps, dgf_clock_ns());
    dgf_coverage_policy_set(&ps->coverage, digest);
    return rc;
}

/* A gap ends the range that was covered; the next one begins where it ends. */
static enum dgf_rc take_gap(struct pipe_source *ps, const struct dgf_event *event)
{
    struct dgf_buf *text = &ps->pipeline->scratch;
    enum dgf_rc rc = pipe_source_coverage(ps, dgf_clock_ns());

    if (rc)
        return rc;
    rc = dgf_record_of_event(&ps->pipeline->recorder, event);
    if (rc)
        return rc;
    dgf_metric_add(ps->m_gaps, 1);
    dgf_log(DGF_LOG_WARN, "gap", "source", ps->src->name, "reason",
            extra_text(event, "reason", text) ? dgf_buf_str(text) : "unknown", NULL);
    (void)extra_text(event, "to", text);
    dgf_buf_clear(&ps->coverage.from);
    dgf_buf_add_bytes(&ps->coverage.from, dgf_buf_bytes(text));
    return dgf_buf_rc(&ps->coverage.from);
}

static enum dgf_rc take_resume(struct pipe_source *ps, const struct dgf_event *event)
{
    struct dgf_buf *text = &ps->pipeline->scratch;
    enum dgf_rc rc = dgf_record_of_event(&ps->pipeline->recorder, event);

    if (rc)
        return rc;
    if (ps->coverage.from.len == 0 && extra_text(event, "since", text)) {
        dgf_buf_add_bytes(&ps->coverage.from, dgf_buf_bytes(text));
        return dgf_buf_rc(&ps->coverage.from);
    }
    return DGF_OK;
}

static enum dgf_rc write_records(struct pipe_source *ps, const struct dgf_event *event)
{
    enum dgf_rc rc;

    switch ((enum dgf_event_kind)event->kind) {
    case DGF_KIND_GAP:
        ps->n_gaps++;
        return take_gap(ps, event);
    case DGF_KIND_RESUME:
        return take_resume(ps, event);
    case DGF_KIND_PROGRESS:
        return DGF_OK;
    case DGF_KIND_TRANSACTION:
        ps->coverage.transactions++;
        return DGF_OK;
    case DGF_KIND_UNDECODABLE:
        ps->n_undecodable++;
        rc = dgf_record_of_event(&ps->pipeline->recorder, event);
        return rc ? rc : dgf_coverage_count(&ps->coverage, event, DGF_VERDICT_ERROR);
    default:
        return judge(ps, event);
    }
}

/* ---- the host side ----------------------------------------------------------- */

static bool at_boundary(const struct dgf_event *event)
{
    return event->tx.len == 0 || event->kind == DGF_KIND_TRANSACTION ||
           event->kind == DGF_KIND_PROGRESS;
}

/* Between two transactions: the set that waits takes over.  What was covered
 * until here was covered by the old one. */
static enum dgf_rc take_next_set(struct pipe_source *ps, struct dgf_err *err)
{
    enum dgf_rc rc = pipe_source_coverage(ps, dgf_clock_ns());

    if (rc)
        return dgf_err_set(err, rc, "cannot write coverage of '%s'", ps->src->name);
    rc = dgf_engine_swap(ps->engine, ps->next_set, err);
    if (rc)
        return rc;
    dgf_policy_set_unref(ps->set);
    ps->set = dgf_steal(ps->next_set);
    dgf_coverage_policy_set(&ps->coverage, dgf_policy_set_digest(ps->set));
    return DGF_OK;
}

static enum dgf_rc accept_event(struct pipe_source *ps, struct dgf_event *event)
{
    struct dgf_pipeline *p = ps->pipeline;
    struct dgf_err err; /* zeroing all of it would cost more than judging */
    enum dgf_rc rc = DGF_OK;

    err.text[0] = '\0';
    event->source = ps->src;
    event->seq = ps->src->next_seq++;
    if (ps->next_set && !ps->in_tx)
        rc = take_next_set(ps, &err);
    if (!rc)
        rc = dgf_recorder_policy_set(&p->recorder, dgf_policy_set_digest(ps->set));
    if (!rc)
        rc = write_records(ps, event);
    if (!rc && event->position.len) {
        dgf_buf_clear(&ps->position);
        dgf_buf_add_bytes(&ps->position, event->position);
        rc = dgf_buf_rc(&ps->position);
        if (!rc && dgf_coverage_is_full(&ps->coverage))
            rc = pipe_source_coverage(ps, dgf_clock_ns());
    }
    if (rc) {
        pipe_break(p, rc,
                   err.text[0] ? err.text : "cannot write the records of an event");
        return DGF_FATAL;
    }
    ps->in_tx = !at_boundary(event);
    ps->accepted_seq = event->seq;
    ps->dirty = true;
    if (event->commit_ns > ps->position_time_ns)
        ps->position_time_ns = event->commit_ns;
    dgf_metric_add(ps->m_events[event->kind], 1);
    return DGF_OK;
}

static enum dgf_rc host_emit(struct dgf_source *src, struct dgf_event *take_event)
{
    struct pipe_source *ps = of(src);
    DGF_CLEANUP(dgf_event_unref) struct dgf_event *event = take_event;
    enum dgf_rc rc;

    if (ps->pipeline->broken || ps->failed || !ps->is_open)
        return DGF_FATAL;
    rc = accept_event(ps, event);
    if (rc)
        return rc;
    ps->turn_bytes += sizeof(*event) + event->body.len;
    if (ps->turn_bytes < DGF_TURN_BYTES && !pipe_must_pause(ps->pipeline))
        return DGF_OK;
    ps->wants_turn = true; /* the next turn pauses it, or lets it go on */
    return DGF_AGAIN;
}

static void set_state(struct pipe_source *ps, enum dgf_source_state state,
                      const char *reason)
{
    if (ps->state == state && strcmp(ps->reason, reason) == 0)
        return;
    if (ps->state != state)
        ps->state_since_ns = dgf_clock_ns();
    ps->state = state;
    snprintf(ps->reason, sizeof(ps->reason), "%s", reason);
    ps->pipeline->status_dirty = true;
    dgf_metric_set(ps->m_state, state);
}

static void host_state(struct dgf_source *src, enum dgf_source_state state,
                       const char *reason)
{
    struct pipe_source *ps = of(src);

    if (state == DGF_STATE_STREAMING) {
        ps->retry_ns = 0;
        if (ps->state != DGF_STATE_STREAMING && ps->state != DGF_STATE_PAUSED)
            dgf_log(DGF_LOG_INFO, "source streaming", "source", src->name, NULL);
        ps->waits_said = false;
    } else if (state == DGF_STATE_STANDBY && !ps->waits_said) {
        ps->waits_said = true;
        dgf_log(DGF_LOG_WARN, "source waits", "source", src->name, "cause", reason,
                NULL);
    }
    set_state(ps, state, reason);
}

/* Each text is said once, and its end too. */
static void host_impaired(struct dgf_source *src, const char *text)
{
    struct pipe_source *ps = of(src);

    if (strcmp(ps->impaired, text) == 0)
        return;
    if (*text)
        dgf_log(DGF_LOG_WARN, "source impaired", "source", src->name, "cause", text,
                NULL);
    else
        dgf_log(DGF_LOG_INFO, "source whole again", "source", src->name, NULL);
    snprintf(ps->impaired, sizeof(ps->impaired), "%s", text);
    ps->pipeline->status_dirty = true;
}

static void host_fail(struct dgf_source *src, enum dgf_rc rc, const char *text)
{
    struct pipe_source *ps = of(src);

    if (ps->failed)
        return;
    ps->failed = rc ? rc : DGF_RETRY;
    snprintf(ps->reason, sizeof(ps->reason), "%s", text);
}

/* For status.json; a word for which there is no room breaks the coverage first. */
static void add_count(struct pipe_source *ps, const char *word, uint64_t n)
{
    unsigned at = 0;

    while (at < ps->n_counts && strcmp(ps->counts[at].word, word) != 0)
        at++;
    if (at == DGF_COVERAGE_NOTES)
        return;
    if (at == ps->n_counts)
        snprintf(ps->counts[ps->n_counts++].word, sizeof(ps->counts[at].word), "%s",
                 word);
    ps->counts[at].n += n;
}

static void host_count(struct dgf_source *src, const char *word, uint64_t n)
{
    struct pipe_source *ps = of(src);

    add_count(ps, word, n);
    if (dgf_coverage_note(&ps->coverage, word, n))
        pipe_break(ps->pipeline, DGF_NOMEM, "cannot count what was not judged");
    ps->dirty = true;
}

static void host_caught_up(struct dgf_source *src)
{
    of(src)->caught_up = true;
}

static void state_key(struct dgf_source *src, struct dgf_bytes key, struct dgf_buf *out)
{
    dgf_buf_init(out, 4096);
    dgf_buf_add_str(out, "source/");
    dgf_buf_add_str(out, src->name);
    dgf_buf_add_byte(out, '/');
    dgf_buf_add_bytes(out, key);
}

static enum dgf_rc host_put_state(struct dgf_source *src, struct dgf_bytes key,
                                  struct dgf_bytes value)
{
    struct pipe_source *ps = of(src);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    enum dgf_rc rc;

    state_key(src, key, &full);
    rc = dgf_buf_rc(&full);
    if (!rc)
        rc = dgf_batch_state(dgf_ledger_batch(ps->pipeline->ledger),
                             dgf_buf_bytes(&full), value);
    if (rc)
        pipe_break(ps->pipeline, rc, "cannot keep the state of a source");
    return rc;
}

static enum dgf_rc host_get_state(struct dgf_source *src, struct dgf_bytes key,
                                  struct dgf_buf *ret)
{
    struct pipe_source *ps = of(src);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    struct dgf_err err = {0};
    enum dgf_rc rc;

    state_key(src, key, &full);
    rc = dgf_ledger_state_get(ps->pipeline->ledger, dgf_buf_bytes(&full), ret, &err);
    if (rc && rc != DGF_AGAIN)
        pipe_break(ps->pipeline, rc, err.text);
    return rc;
}

static enum dgf_rc host_delete_state(struct dgf_source *src, struct dgf_bytes key)
{
    struct pipe_source *ps = of(src);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    enum dgf_rc rc;

    state_key(src, key, &full);
    rc = dgf_buf_rc(&full);
    if (!rc)
        rc = dgf_batch_state_delete(dgf_ledger_batch(ps->pipeline->ledger),
                                    dgf_buf_bytes(&full));
    if (rc)
        pipe_break(ps->pipeline, rc, "cannot keep the state of a source");
    return rc;
}

static const struct dgf_source_host host = {
    .emit = host_emit,
    .fail = host_fail,
    .state = host_state,
    .impaired = host_impaired,
    .caught_up = host_caught_up,
    .put_state = host_put_state,
    .get_state = host_get_state,
    .count = host_count,
    .delete_state = host_delete_state,
};

/* ---- life ---------------------------------------------------------------------- */

static enum dgf_rc restore(struct pipe_source *ps, struct dgf_err *err)
{
    const struct dgf_ledger_position *kept =
        dgf_ledger_find_position(ps->pipeline->ledger, dgf_bytes_str(ps->conf->name));

    ps->coverage.since_ns = dgf_clock_ns();
    if (!kept)
        return DGF_OK;
    ps->src->known = true;
    dgf_buf_add_bytes(&ps->position, kept->position);
    if (dgf_coverage_decode(&ps->coverage, kept->counters))
        return dgf_err_set(err, DGF_FATAL,
                           "the counts of source '%s' in the ledger are damaged",
                           ps->conf->name);
    return dgf_buf_rc(&ps->position);
}

/* Where our own sinks write: a source there must not judge what they do. */
static bool list_own(struct pipe_source *ps)
{
    const struct dgf_pipeline_conf *conf = ps->pipeline->conf;

    ps->src->own.list = dgf_calloc(conf->n_sinks + 1, sizeof(*ps->src->own.list));
    for (size_t i = 0; ps->src->own.list && i < conf->n_sinks; i++) {
        const struct dgf_sink_setup *sink = &conf->sinks[i];
        const char *to =
            sink->type->writes_to ? sink->type->writes_to(sink->conf) : NULL;

        if (to)
            ps->src->own.list[ps->src->own.n++] = (char *)(uintptr_t)to;
    }
    return ps->src->own.list != NULL;
}

static void make_metrics(struct pipe_source *ps)
{
    char labels[512];

    for (int kind = 0; kind < DGF_KIND_N; kind++) {
        snprintf(labels, sizeof(labels), "source=\"%s\",kind=\"%s\"", ps->conf->name,
                 dgf_event_kind_text((enum dgf_event_kind)kind));
        ps->m_events[kind] = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_events_total",
                                            "events accepted from a source", labels);
    }
    snprintf(labels, sizeof(labels), "source=\"%s\"", ps->conf->name);
    ps->m_gaps =
        dgf_metric_get(DGF_METRIC_COUNTER, "dgf_gaps_total", "gap records", labels);
    ps->m_position_time =
        dgf_metric_get(DGF_METRIC_GAUGE, "dgf_source_position_time_seconds",
                       "commit time of the newest event", labels);
    ps->m_state = dgf_metric_get(DGF_METRIC_GAUGE, "dgf_source_state",
                                 "state of a source, numbered as in the docs", labels);
}

/* `run --until`: the position belongs to one source. */
static enum dgf_rc set_until(struct pipe_source *ps, struct dgf_err *err)
{
    const struct dgf_pipeline_conf *conf = ps->pipeline->conf;
    enum dgf_rc rc;

    if (!conf->until ||
        (conf->until_source && strcmp(conf->until_source, ps->conf->name) != 0))
        return DGF_OK;
    if (!ps->conf->type->until)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "source '%s' cannot end at a position: only sources of type "
                           "postgres can; use --until-caught-up",
                           ps->conf->name);
    rc = ps->conf->type->until(ps->src, conf->until, err);
    return rc ? dgf_err_prefix(err, "source '%s'", ps->conf->name) : DGF_OK;
}

enum dgf_rc pipe_source_init(struct pipe_source *ps, struct dgf_pipeline *pipeline,
                             const struct dgf_source_conf *conf, struct dgf_err *err)
{
    enum dgf_rc rc;

    ps->pipeline = pipeline;
    ps->conf = conf;
    ps->state = DGF_STATE_STARTING;
    ps->state_since_ns = dgf_clock_ns();
    dgf_buf_init(&ps->position, 1 << 20);
    dgf_buf_init(&ps->counters, DGF_LEDGER_VALUE_MAX);
    dgf_coverage_init(&ps->coverage);
    ps->src = dgf_calloc(1, conf->type->self_size);
    if (!ps->src)
        return dgf_err_set(err, DGF_NOMEM, "cannot open source '%s': out of memory",
                           conf->name);
    ps->src->type = conf->type;
    ps->src->name = conf->name;
    ps->src->conf = conf->conf;
    ps->src->labels = conf->labels;
    ps->src->loop = pipeline->loop;
    ps->src->workers = pipeline->workers;
    ps->src->host = &host;
    ps->src->host_self = ps;
    ps->src->next_seq = 1;
    ps->src->max_event_bytes = pipeline->conf->event_bytes;
    ps->src->data_id = dgf_ledger_log_id_text(pipeline->ledger);
    if (!list_own(ps))
        return dgf_err_set(err, DGF_NOMEM, "cannot open source '%s': out of memory",
                           conf->name);
    rc = dgf_engine_new(pipeline->set, &pipeline->recorder.masker, &ps->engine, err);
    if (!rc)
        rc = set_until(ps, err);
    if (rc)
        return rc;
    ps->set = dgf_policy_set_ref(pipeline->set);
    make_metrics(ps);
    return restore(ps, err);
}

void pipe_source_close(struct pipe_source *ps)
{
    if (ps->is_open)
        ps->src->type->close(ps->src);
    ps->is_open = false;
    ps->paused = false;
    ps->wants_turn = false;
}

void pipe_source_release(struct pipe_source *ps)
{
    if (ps->src)
        pipe_source_close(ps);
    dgf_engine_free(ps->engine);
    dgf_policy_set_unref(ps->set);
    dgf_policy_set_unref(ps->next_set);
    dgf_coverage_release(&ps->coverage);
    dgf_buf_release(&ps->position);
    dgf_buf_release(&ps->counters);
    if (ps->src)
        dgf_free(ps->src->own.list);
    dgf_free(ps->src);
}

static int64_t next_retry_ns(struct pipe_source *ps, enum dgf_rc rc)
{
    uint16_t jitter;

    if (ps->state == DGF_STATE_STANDBY)
        return DGF_STANDBY_RETRY_NS;
    if (rc == DGF_BAD_CONFIG)
        return DGF_CONFIG_RETRY_NS;
    ps->retry_ns = ps->retry_ns ? ps->retry_ns * 2 : DGF_RETRY_MIN_NS;
    if (ps->retry_ns > DGF_RETRY_MAX_NS)
        ps->retry_ns = DGF_RETRY_MAX_NS;
    dgf_random(&jitter, sizeof(jitter)); /* many agents must not come back at once */
    return ps->retry_ns - ps->retry_ns / 4 * jitter / UINT16_MAX;
}

/* The one place where the failure of a source is logged and retried. */
static void act_on_failure(struct pipe_source *ps, int64_t now_ns)
{
    enum dgf_rc rc = ps->failed;
    char cause[sizeof(ps->reason)];
    bool standby = ps->state == DGF_STATE_STANDBY && rc == DGF_RETRY;
    int64_t wait;

    memcpy(cause, ps->reason, sizeof(cause));
    pipe_source_close(ps);
    ps->failed = DGF_OK;
    if (rc == DGF_NOMEM) {
        pipe_break(ps->pipeline, rc, cause);
        return;
    }
    if (rc == DGF_FATAL || rc == DGF_BAD_DATA) {
        ps->stopped = true;
        dgf_log(DGF_LOG_ERROR, "source stopped", "source", ps->src->name, "cause",
                cause, NULL);
        ps->reason[0] = '\0';
        set_state(ps, DGF_STATE_STOPPED, cause);
        return;
    }
    wait = next_retry_ns(ps, rc);
    ps->retry_at_ns = now_ns + wait;
    if (!standby) /* who we wait for was said when it began */
        dgf_log(DGF_LOG_WARN, "source failed", "source", ps->src->name, "cause", cause,
                "#retry_ms", wait / 1000000, NULL);
    ps->reason[0] = '\0';
    set_state(ps, standby ? DGF_STATE_STANDBY : DGF_STATE_RETRYING, cause);
}

static void open_source(struct pipe_source *ps)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    ps->retry_at_ns = 0;
    ps->turn_bytes = 0;
    ps->is_open = true;
    rc = ps->src->type->open(ps->src, dgf_buf_bytes(&ps->position), &err);
    if (rc)
        host_fail(ps->src, rc, err.text);
    /* Batches of the session before may have become durable in between. */
    else if (ps->told_seq)
        ps->src->type->durable(ps->src, ps->told_seq);
}

void pipe_source_pause(struct pipe_source *ps, bool pause)
{
    if (!ps->is_open || ps->failed || ps->paused == pause)
        return;
    ps->paused = pause;
    if (pause) {
        ps->src->type->pause(ps->src);
        return;
    }
    ps->wants_turn = false;
    ps->turn_bytes = 0;
    ps->src->type->resume(ps->src);
}

void pipe_source_turn(struct pipe_source *ps, int64_t now_ns, int64_t *wait_ns)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (ps->failed)
        act_on_failure(ps, now_ns);
    if (ps->next_set && !ps->in_tx && !ps->pipeline->broken) {
        rc = take_next_set(ps, &err);
        if (rc)
            pipe_break(ps->pipeline, rc, err.text);
    }
    if (ps->pipeline->draining || ps->pipeline->broken || ps->stopped)
        return;
    if (!ps->is_open) {
        if (now_ns >= ps->retry_at_ns)
            open_source(ps);
        else
            pipe_wait_at_most(wait_ns, ps->retry_at_ns - now_ns);
        if (ps->failed)
            pipe_wait_at_most(wait_ns, 0);
        return;
    }
    ps->turn_bytes = 0;
    if (ps->wants_turn && !ps->paused) {
        ps->wants_turn = false;
        ps->src->type->resume(ps->src);
        if (ps->wants_turn || ps->failed)
            pipe_wait_at_most(wait_ns, 0);
    }
}

/* ---- commit and acknowledge ------------------------------------------------------ */

enum dgf_rc pipe_source_commit(struct pipe_source *ps, struct dgf_err *err)
{
    struct dgf_ledger_position at = {.source = dgf_bytes_str(ps->conf->name),
                                     .seq = ps->accepted_seq};
    struct dgf_buf *counters = &ps->counters, *text = &ps->pipeline->scratch;
    enum dgf_rc rc;

    if (!ps->dirty)
        return DGF_OK;
    if (ps->position.len == 0) { /* nothing to go on from yet */
        ps->dirty = false;
        return DGF_OK;
    }
    dgf_buf_clear(counters);
    dgf_coverage_encode(&ps->coverage, counters);
    position_text(ps, text);
    at.position = dgf_buf_bytes(&ps->position);
    at.text = dgf_buf_bytes(text);
    at.counters = dgf_buf_bytes(counters);
    rc = dgf_buf_rc(counters);
    if (!rc)
        rc = dgf_batch_position(dgf_ledger_batch(ps->pipeline->ledger), &at);
    if (rc)
        return dgf_err_set(err, rc, "cannot keep the position of source '%s'",
                           ps->conf->name);
    ps->dirty = false;
    return DGF_OK;
}

void pipe_source_handed(struct pipe_source *ps, uint64_t next_index)
{
    ps->handed_seq = ps->accepted_seq;
    ps->handed_next = next_index;
}

static void tell(struct pipe_source *ps, uint64_t seq)
{
    if (seq <= ps->told_seq)
        return;
    ps->told_seq = seq;
    if (ps->is_open && !ps->failed)
        ps->src->type->durable(ps->src, seq);
}

/* ack: sinks: what required sinks have too. */
void pipe_source_tell(struct pipe_source *ps)
{
    uint64_t through = pipe_sinks_through(ps->pipeline, true);
    size_t n = 0;

    while (n < ps->n_acks && ps->acks[n].next_index <= through)
        n++;
    if (n == 0)
        return;
    tell(ps, ps->acks[n - 1].seq);
    ps->n_acks -= n;
    memmove(ps->acks, ps->acks + n, ps->n_acks * sizeof(ps->acks[0]));
}

/* The batch handed over last is on disk.  A batch may hold positions and no
 * records: only this call, never an index alone, says that it is durable. */
void pipe_source_durable(struct pipe_source *ps)
{
    if (!ps->pipeline->conf->ack_sinks) {
        tell(ps, ps->handed_seq);
        return;
    }
    if (ps->handed_seq > ps->told_seq &&
        (ps->n_acks == 0 || ps->acks[ps->n_acks - 1].seq < ps->handed_seq)) {
        if (ps->n_acks == DGF_ARRAY_LEN(ps->acks))
            ps->n_acks--; /* the newest stands for the one before it */
        ps->acks[ps->n_acks++] =
            (struct pipe_ack){.next_index = ps->handed_next, .seq = ps->handed_seq};
    }
    pipe_source_tell(ps);
}

bool pipe_source_settled(const struct pipe_source *ps)
{
    return !ps->dirty && ps->handed_seq == ps->accepted_seq &&
           (ps->told_seq == ps->accepted_seq || ps->position.len == 0);
}
