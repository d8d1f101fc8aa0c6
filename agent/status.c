/* status.c - status.json: what /health and `dgf status` show. */
#include "pipe.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

static void add_time(struct dgf_json *json, const char *key, int64_t ns)
{
    dgf_json_key(json, key);
    dgf_json_time(json, ns);
}

static void add_text(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

static void add_u64(struct dgf_json *json, const char *key, uint64_t value)
{
    dgf_json_key(json, key);
    dgf_json_u64(json, value);
}

static bool source_ok(const struct pipe_source *ps)
{
    if (ps->impaired[0])
        return false;
    return ps->state == DGF_STATE_STREAMING || ps->state == DGF_STATE_STANDBY ||
           ps->state == DGF_STATE_STARTING;
}

/* What is under words of the source's own; none: no field. */
static void add_counts(struct dgf_json *json, const struct pipe_source *ps)
{
    if (ps->n_counts == 0)
        return;
    dgf_json_key(json, "counted");
    dgf_json_begin_object(json);
    for (unsigned i = 0; i < ps->n_counts; i++)
        add_u64(json, ps->counts[i].word, ps->counts[i].n);
    dgf_json_end_object(json);
}

static void add_source(struct dgf_json *json, const struct pipe_source *ps)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    bool held = ps->pipeline->held && ps->state == DGF_STATE_STREAMING;

    dgf_buf_init(&text, 4096);
    dgf_json_key(json, ps->conf->name);
    dgf_json_begin_object(json);
    add_text(json, "type", ps->conf->type->name);
    add_text(json, "state", dgf_source_state_text(held ? DGF_STATE_PAUSED : ps->state));
    add_text(json, "reason",
             held ? (ps->pipeline->held_by_space ? "no space in data_dir"
                                                 : "ledger.journal_bytes is used up")
             : ps->impaired[0] && ps->state == DGF_STATE_STREAMING ? ps->impaired
                                                                   : ps->reason);
    add_time(json, "since", held ? ps->pipeline->held_since_ns : ps->state_since_ns);
    if (ps->position.len) {
        ps->conf->type->position_text(dgf_buf_bytes(&ps->position), &text);
        add_text(json, "position", dgf_buf_str(&text));
    }
    if (ps->position_time_ns)
        add_time(json, "position_time", ps->position_time_ns);
    add_u64(json, "events", ps->accepted_seq);
    add_u64(json, "acknowledged", ps->told_seq);
    add_u64(json, "gaps", ps->n_gaps);
    add_u64(json, "undecodable", ps->n_undecodable);
    add_counts(json, ps);
    add_text(json, "guarantee",
             dgf_guarantee_text(dgf_source_guarantee(ps->conf->type, ps->conf->conf)));
    dgf_json_key(json, "caught_up");
    dgf_json_bool(json, ps->caught_up);
    dgf_json_end_object(json);
}

static void add_sink(struct dgf_json *json, const struct pipe_sink *ps)
{
    const struct dgf_sink_conf *conf = ps->setup->conf;

    dgf_json_key(json, ps->setup->name);
    dgf_json_begin_object(json);
    add_text(json, "type", ps->setup->type->name);
    add_text(json, "state", ps->stopped ? "stopped" : ps->ok ? "ok" : "retrying");
    add_text(json, "reason", ps->reason);
    if (ps->sink->alarm)
        add_text(json, "alarm", ps->sink->alarm);
    add_time(json, "since", ps->since_ns);
    dgf_json_key(json, "required");
    dgf_json_bool(json, conf->required);
    add_u64(json, "next", ps->durable);
    dgf_json_end_object(json);
}

static void add_archive(struct dgf_json *json, const struct pipe_archive *archive)
{
    static const char *const states[] = {"ok", "waiting", "stopped"};

    dgf_json_key(json, "archive");
    dgf_json_begin_object(json);
    add_text(json, "state", states[archive->news.state]);
    add_text(json, "reason", archive->news.text);
    add_time(json, "since", archive->since_ns);
    add_text(json, "origin", dgf_archive_origin(archive->archive));
    add_u64(json, "size", archive->news.next);
    dgf_json_end_object(json);
}

static const char *health(const struct dgf_pipeline *p)
{
    if (p->broken)
        return "failed";
    if (p->draining)
        return "stopping";
    if (p->held || p->reload_error[0] || !pipe_archive_ok(p))
        return "degraded";
    for (size_t i = 0; i < p->conf->n_sources; i++)
        if (!source_ok(&p->sources[i]))
            return "degraded";
    for (size_t i = 0; i < p->conf->n_sinks; i++)
        if (!p->sinks[i].ok || p->sinks[i].stopped)
            return "degraded";
    return "ok";
}

void dgf_pipeline_status_json(const struct dgf_pipeline *p, struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    add_text(&json, "health", health(p));
    add_text(&json, "agent", p->conf->agent);
    add_text(&json, "env", p->conf->env);
    add_u64(&json, "pid", (uint64_t)getpid());
    add_time(&json, "started", p->started_ns);
    add_time(&json, "written", dgf_clock_ns());
    add_text(&json, "policy_set", dgf_policy_set_digest(p->set));
    add_u64(&json, "policies", dgf_policy_set_count(p->set));
    add_u64(&json, "reloads", p->reload_generation);
    add_text(&json, "reload_error", p->reload_error);
    dgf_json_key(&json, "ledger");
    dgf_json_begin_object(&json);
    add_text(&json, "log_id", dgf_ledger_log_id_text(p->ledger));
    add_u64(&json, "size", p->news.next_index);
    add_u64(&json, "first", dgf_ledger_first_index(p->ledger));
    add_u64(&json, "bytes", dgf_ledger_bytes(p->ledger));
    dgf_json_key(&json, "held");
    dgf_json_bool(&json, p->held);
    dgf_json_end_object(&json);
    if (p->archive.archive)
        add_archive(&json, &p->archive);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < p->conf->n_sources; i++)
        add_source(&json, &p->sources[i]);
    dgf_json_end_object(&json);
    dgf_json_key(&json, "sinks");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < p->conf->n_sinks; i++)
        add_sink(&json, &p->sinks[i]);
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}

void dgf_pipeline_write_status(struct dgf_pipeline *p)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    struct dgf_err err = {0};
    char path[4096];

    p->status_dirty = false;
    p->status_at_ns = dgf_clock_mono_ns();
    dgf_buf_init(&text, 1 << 20);
    dgf_pipeline_status_json(p, &text);
    if (dgf_buf_rc(&text) || (size_t)snprintf(path, sizeof(path), "%s/status.json",
                                              p->conf->ledger.dir) >= sizeof(path))
        return;
    /* On a full disk this fails too; the log has said why already. */
    if (dgf_file_replace(path, dgf_buf_bytes(&text), 0600, &err))
        dgf_log(DGF_LOG_DEBUG, "status.json not written", "cause", err.text, NULL);
}

/* Its age says that we live: `dgf status` takes an old one for an agent that hangs. */
void pipe_status_turn(struct dgf_pipeline *p, int64_t now_ns, int64_t *wait_ns)
{
    if (p->status_dirty || now_ns - p->status_at_ns >= DGF_STATUS_EVERY_NS)
        dgf_pipeline_write_status(p);
    pipe_wait_at_most(wait_ns, p->status_at_ns + DGF_STATUS_EVERY_NS - now_ns);
}
