/* projector.c - feeds each sink from the ledger at its own pace and keeps its
 * cursor.  A sink is always behind the ledger and never in its way. */
#include "pipe.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define OFFERS_A_TURN 20000
#define TROUBLE_NS (60 * DGF_SECOND_NS)

static struct pipe_sink *of(struct dgf_sink *sink)
{
    return sink->host_self;
}

/* The first reason at once, another one when the one before has stood for a while:
 * a server that is down has many ways to say so. */
static void log_trouble(struct pipe_sink *ps)
{
    int64_t now_ns = dgf_clock_mono_ns();

    if (!ps->unsaid || (ps->said_ns && now_ns - ps->said_ns < TROUBLE_NS))
        return;
    ps->unsaid = false;
    ps->said_ns = now_ns;
    dgf_log(DGF_LOG_WARN, "sink in trouble", "sink", ps->setup->name, "cause",
            ps->reason, NULL);
}

static void set_ok(struct pipe_sink *ps, bool ok, const char *reason)
{
    if (ps->ok == ok && strcmp(ps->reason, reason) == 0)
        return;
    if (ps->ok != ok) {
        ps->since_ns = dgf_clock_ns();
        ps->said_ns = 0;
        if (ok)
            dgf_log(DGF_LOG_INFO, "sink delivering", "sink", ps->setup->name, NULL);
    }
    ps->ok = ok;
    ps->unsaid = !ok;
    snprintf(ps->reason, sizeof(ps->reason), "%s", reason);
    log_trouble(ps);
    ps->pipeline->status_dirty = true;
}

static void host_durable(struct dgf_sink *sink, uint64_t next, struct dgf_bytes cursor)
{
    struct pipe_sink *ps = of(sink);

    if (next < ps->durable)
        return;
    if (next > ps->durable) {
        ps->retry_ns = 0;
        if (ps->told_ok && !ps->failed)
            set_ok(ps, true, "");
    }
    ps->durable = next;
    dgf_metric_set(ps->m_next, (int64_t)next);
    dgf_buf_clear(&ps->cursor);
    dgf_buf_add_bytes(&ps->cursor, cursor);
    if (dgf_buf_rc(&ps->cursor))
        pipe_break(ps->pipeline, DGF_NOMEM, "cannot keep the cursor of a sink");
    ps->cursor_dirty = true;
}

static void host_room(struct dgf_sink *sink)
{
    of(sink)->blocked = false;
}

static void host_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *text)
{
    struct pipe_sink *ps = of(sink);

    if (ps->failed)
        return;
    ps->failed = rc ? rc : DGF_RETRY;
    set_ok(ps, false, text);
}

/* After a failure "ok" is only a sink's hope until something it owes is durable:
 * else the log of an outage would say "delivering" at every attempt. */
static void host_state(struct dgf_sink *sink, bool ok, const char *reason)
{
    struct pipe_sink *ps = of(sink);

    ps->told_ok = ok;
    if (ok && ps->retry_ns && ps->durable < ps->pipeline->news.next_index)
        return;
    set_ok(ps, ok, reason);
}

static const struct dgf_sink_host host = {
    .durable = host_durable, .room = host_room, .fail = host_fail, .state = host_state};

/* ---- life ------------------------------------------------------------------- */

static enum dgf_rc restore(struct pipe_sink *ps)
{
    const struct dgf_ledger_cursor *kept =
        dgf_ledger_find_cursor(ps->pipeline->ledger, dgf_bytes_str(ps->setup->name));
    struct dgf_rd rd;

    if (!kept)
        return DGF_OK;
    /* u64 next, then the sink's own bytes */
    rd = dgf_rd_of(kept->value);
    ps->durable = dgf_rd_le64(&rd);
    if (rd.bad)
        return DGF_FATAL;
    dgf_buf_add(&ps->cursor, rd.ptr, dgf_rd_left(&rd));
    return dgf_buf_rc(&ps->cursor);
}

enum dgf_rc pipe_sink_init(struct pipe_sink *ps, struct dgf_pipeline *pipeline,
                           const struct dgf_sink_setup *setup, struct dgf_err *err)
{
    char labels[512];

    if (setup->type->archive && !pipeline->archive.archive)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "sink '%s' keeps the archive, but ledger.archive is false",
                           setup->name);
    ps->pipeline = pipeline;
    ps->setup = setup;
    ps->ok = true;
    ps->since_ns = dgf_clock_ns();
    dgf_buf_init(&ps->cursor, DGF_LEDGER_VALUE_MAX - 8);
    ps->sink = dgf_calloc(1, setup->type->self_size);
    if (!ps->sink)
        return dgf_err_set(err, DGF_NOMEM, "cannot open sink '%s': out of memory",
                           setup->name);
    ps->sink->type = setup->type;
    ps->sink->name = setup->name;
    ps->sink->conf = setup->conf;
    ps->sink->loop = pipeline->loop;
    ps->sink->workers = pipeline->workers;
    ps->sink->host = &host;
    ps->sink->host_self = ps;
    ps->sink->agent = pipeline->conf->agent;
    ps->sink->env = pipeline->conf->env;
    ps->sink->log_id = dgf_ledger_log_id_text(pipeline->ledger);
    snprintf(labels, sizeof(labels), "sink=\"%s\"", setup->name);
    ps->m_next = dgf_metric_get(DGF_METRIC_GAUGE, "dgf_sink_next",
                                "index of the first record a sink lacks", labels);
    ps->m_failures = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_sink_failures_total",
                                    "attempts of a sink that failed", labels);
    if (restore(ps))
        return dgf_err_set(err, DGF_FATAL,
                           "the cursor of sink '%s' in the ledger is damaged",
                           setup->name);
    return DGF_OK;
}

static void drop_piece(struct pipe_sink *ps)
{
    dgf_archive_piece_release(&ps->piece);
    dgf_free(dgf_steal(ps->objects));
}

static void close_sink(struct pipe_sink *ps)
{
    if (ps->is_open)
        ps->sink->type->close(ps->sink);
    ps->is_open = false;
    ps->blocked = false;
    dgf_ledger_reader_free(ps->reader);
    ps->reader = NULL;
    drop_piece(ps);
}

void pipe_sink_release(struct pipe_sink *ps)
{
    if (ps->sink)
        close_sink(ps);
    dgf_buf_release(&ps->cursor);
    dgf_free(ps->sink);
}

static void act_on_failure(struct pipe_sink *ps, int64_t now_ns)
{
    enum dgf_rc rc = ps->failed;

    close_sink(ps);
    ps->failed = DGF_OK;
    dgf_metric_add(ps->m_failures, 1);
    if (rc == DGF_NOMEM) {
        pipe_break(ps->pipeline, rc, ps->reason);
        return;
    }
    if (rc == DGF_BAD_DATA || rc == DGF_FATAL) {
        ps->stopped = true;
        if (ps->sink->alarm)
            ps->pipeline->alarm = ps->sink->alarm;
        dgf_log(DGF_LOG_ERROR, ps->sink->alarm ? "ALARM: sink stopped" : "sink stopped",
                "sink", ps->setup->name, "alarm",
                ps->sink->alarm ? ps->sink->alarm : "", "cause", ps->reason, NULL);
        return;
    }
    ps->retry_ns = ps->retry_ns ? ps->retry_ns * 2 : DGF_RETRY_MIN_NS;
    if (ps->retry_ns > DGF_RETRY_MAX_NS)
        ps->retry_ns = DGF_RETRY_MAX_NS;
    ps->retry_at_ns = now_ns + ps->retry_ns;
    dgf_log(DGF_LOG_WARN, "sink failed", "sink", ps->setup->name, "cause", ps->reason,
            "#retry_ms", ps->retry_ns / 1000000, NULL);
}

/* A sink that is not required may find that what it lacks was pruned: one
 * record says which indices it will never have.  What it had delivered before is
 * none of them: a file that selects few records asks again for those it passed
 * over since its last line. */
static enum dgf_rc overtaken(struct pipe_sink *ps, uint64_t first)
{
    char detail[160];
    enum dgf_rc rc;

    if (ps->next < ps->durable)
        ps->next = ps->durable < first ? ps->durable : first;
    if (ps->next == first)
        return DGF_OK;
    snprintf(detail, sizeof(detail),
             "{\"reason\":\"sink_overtaken\",\"sink_from\":%llu,\"sink_to\":%llu}",
             (unsigned long long)ps->next, (unsigned long long)first);
    rc = dgf_record_own(&ps->pipeline->recorder, DGF_RECORD_GAP, NULL, ps->setup->name,
                        detail);
    if (rc)
        return rc;
    ps->next = first;
    return DGF_OK;
}

static void open_sink(struct pipe_sink *ps)
{
    struct dgf_ledger *ledger = ps->pipeline->ledger;
    struct dgf_err err = {0};
    enum dgf_rc rc;

    ps->retry_at_ns = 0;
    ps->told_ok = true;
    ps->next = ps->durable;
    rc = ps->sink->type->open(ps->sink, dgf_buf_bytes(&ps->cursor), &ps->next, &err);
    ps->is_open = true;
    if (!rc && ps->next > ps->pipeline->news.next_index)
        rc = dgf_err_set(
            &err, DGF_FATAL,
            "sink '%s' holds record %llu, which this ledger does not have: is it "
            "the output of another ledger?",
            ps->setup->name, (unsigned long long)ps->next - 1);
    if (!rc && ps->sink->type->archive) {
        /* Back as well: another container has none of what the one before had. */
        if (ps->next != ps->durable) {
            ps->durable = ps->next;
            ps->cursor_dirty = true;
        }
        return;
    }
    if (!rc && ps->next < dgf_ledger_first_index(ledger) &&
        overtaken(ps, dgf_ledger_first_index(ledger)))
        rc = dgf_err_set(&err, DGF_NOMEM, "cannot write the gap of sink '%s'",
                         ps->setup->name);
    if (!rc)
        rc = dgf_ledger_reader_open(ledger, ps->next, &ps->reader, &err);
    if (!rc && ps->next > ps->durable) {
        ps->durable = ps->next;
        ps->cursor_dirty = true; /* a gap is not said again */
    }
    if (rc)
        host_fail(ps->sink, rc == DGF_BAD_DATA ? DGF_FATAL : rc, err.text);
}

/* ---- delivery ------------------------------------------------------------------ */

static bool offer_one(struct pipe_sink *ps)
{
    struct dgf_record record;
    struct dgf_leaf leaf;
    struct dgf_err err; /* a kilobyte: not zeroed for every record */
    enum dgf_rc rc;

    err.text[0] = '\0';
    rc = dgf_ledger_reader_next(ps->reader, &leaf, &err);
    if (rc == DGF_AGAIN)
        return false;
    if (rc) {
        /* Overtaken by pruning: opening again says what it will never have. */
        bool pruned = ps->next < dgf_ledger_first_index(ps->pipeline->ledger);

        host_fail(ps->sink,
                  pruned            ? DGF_RETRY
                  : rc == DGF_NOMEM ? rc
                                    : DGF_FATAL,
                  err.text);
        return false;
    }
    if (dgf_record_get(leaf.header, leaf.line, leaf.index, &record)) {
        char text[96];

        snprintf(text, sizeof(text), "record %llu of the ledger has a damaged header",
                 (unsigned long long)leaf.index);
        host_fail(ps->sink, DGF_FATAL, text);
        return false;
    }
    rc = ps->sink->type->offer(ps->sink, &record, &err);
    if (rc == DGF_AGAIN) {
        ps->blocked = true;
        dgf_ledger_reader_back(ps->reader);
        return false;
    }
    if (rc) {
        host_fail(ps->sink, rc, err.text);
        return false;
    }
    ps->next = leaf.index + 1;
    ps->flushed = false;
    return true;
}

/* One sealed segment at a time; the next when the sink says it has this one. */
static bool offer_piece(struct pipe_sink *ps)
{
    struct dgf_err err = {0};
    enum dgf_rc rc = DGF_OK;

    if (ps->piece.n_objects && ps->durable < ps->piece.next)
        return false;
    drop_piece(ps);
    ps->next = ps->durable;
    rc = dgf_archive_piece(ps->pipeline->archive.archive, ps->next, &ps->piece, &err);
    if (rc == DGF_AGAIN)
        return false;
    if (!rc)
        ps->objects = dgf_calloc(ps->piece.n_objects, sizeof(*ps->objects));
    if (!rc && !ps->objects)
        rc = dgf_err_set(&err, DGF_NOMEM, "cannot offer a segment: out of memory");
    for (size_t i = 0; !rc && i < ps->piece.n_objects; i++)
        ps->objects[i] = (struct dgf_sealed_object){ps->piece.objects[i].name,
                                                    ps->piece.objects[i].path,
                                                    ps->piece.objects[i].replace};
    ps->sealed = (struct dgf_sealed){.first = ps->piece.first,
                                     .next = ps->piece.next,
                                     .objects = ps->objects,
                                     .n_objects = ps->piece.n_objects};
    if (!rc)
        rc = ps->sink->type->archive(ps->sink, &ps->sealed, &err);
    if (rc == DGF_AGAIN) {
        ps->blocked = true;
        drop_piece(ps);
        return false;
    }
    if (rc)
        host_fail(ps->sink, rc == DGF_BAD_DATA ? DGF_FATAL : rc, err.text);
    else
        ps->next = ps->piece.next;
    return !rc;
}

static bool offer_next(struct pipe_sink *ps)
{
    return ps->sink->type->archive ? offer_piece(ps) : offer_one(ps);
}

void pipe_sink_turn(struct pipe_sink *ps, int64_t now_ns, int64_t *wait_ns, bool *busy)
{
    int n = 0;

    log_trouble(ps);
    if (ps->failed)
        act_on_failure(ps, now_ns);
    if (ps->stopped || ps->pipeline->broken)
        return;
    if (!ps->is_open) {
        if (now_ns < ps->retry_at_ns) {
            pipe_wait_at_most(wait_ns, ps->retry_at_ns - now_ns);
            return;
        }
        open_sink(ps);
    }
    while (!ps->failed && !ps->blocked && n < OFFERS_A_TURN && offer_next(ps))
        n++;
    if (ps->failed) {
        *busy = true;
        return;
    }
    if (n == OFFERS_A_TURN)
        *busy = true;
    else if (!ps->flushed) {
        ps->flushed = true;
        if (ps->sink->type->flush)
            ps->sink->type->flush(ps->sink);
    }
}

enum reads { READS_ANY, READS_JOURNAL, READS_ARCHIVE };

static uint64_t through(const struct dgf_pipeline *p, bool only_required,
                        enum reads reads)
{
    uint64_t through = p->news.next_index;

    for (size_t i = 0; i < p->conf->n_sinks; i++) {
        const struct dgf_sink_conf *conf = p->conf->sinks[i].conf;
        bool of_archive = p->conf->sinks[i].type->archive != NULL;

        if (reads != READS_ANY && of_archive != (reads == READS_ARCHIVE))
            continue;
        if ((conf->required || !only_required) && p->sinks[i].durable < through)
            through = p->sinks[i].durable;
    }
    return through;
}

uint64_t pipe_sinks_through(const struct dgf_pipeline *p, bool only_required)
{
    return through(p, only_required, READS_ANY);
}

bool pipe_sinks_delivered(const struct dgf_pipeline *p)
{
    for (size_t i = 0; i < p->conf->n_sinks; i++)
        if (!p->sinks[i].stopped && p->sinks[i].durable < p->news.next_index)
            return false;
    return true;
}

uint64_t pipe_sinks_journal(const struct dgf_pipeline *p)
{
    return through(p, true, READS_JOURNAL);
}

uint64_t pipe_sinks_archive(const struct dgf_pipeline *p)
{
    return through(p, false, READS_ARCHIVE);
}

/* Exit 0 must not look as if everything had arrived. */
void dgf_pipeline_say_left(const struct dgf_pipeline *p)
{
    for (size_t i = 0; i < p->conf->n_sinks; i++) {
        const struct pipe_sink *ps = &p->sinks[i];
        const struct dgf_sink_conf *conf = p->conf->sinks[i].conf;
        uint64_t end = p->news.next_index;

        if (ps->durable >= end)
            continue;
        dgf_log(
            DGF_LOG_WARN, "ended before a sink had everything", "sink", ps->sink->name,
            "required", conf->required ? "true" : "false", "#records",
            (int64_t)(end - ps->durable), "#from", (int64_t)ps->durable, "cause",
            ps->reason[0] ? ps->reason : "the time for stopping was over", "next",
            conf->required ? "they stay in the ledger and the next start delivers them"
                           : "the next start delivers those the ledger still keeps",
            NULL);
    }
}
