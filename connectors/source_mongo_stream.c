#include "source_mongo_stream.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"

#define MS INT64_C(1000000)
#define IDLE_PROGRESS_NS (10000 * MS)
/* A server that answers "nothing" without waiting is asked less and less often. */
#define FAST_ANSWERS 20
#define MAX_POISON 3 /* failures at one position */

/* ---- what it tells of itself ---- */

static bool say(struct dgf_mongo_session *session, enum dgf_source_state state,
                const char *text)
{
    return dgf_mongo_session_put(session, DGF_MONGO_ITEM_STATE, NULL, DGF_OK, state,
                                 false, text);
}

static const char *scope_of(const struct dgf_mongo_session *session, char *to,
                            size_t size)
{
    if (session->collection)
        (void)snprintf(to, size, "collection '%s.%s'", session->database,
                       session->collection);
    else if (session->database)
        (void)snprintf(to, size, "database '%s'", session->database);
    else
        (void)snprintf(to, size, "the deployment");
    return to;
}

static bool note_caught_up(struct dgf_mongo_session *session)
{
    if (session->caught_up)
        return true;
    session->caught_up = true;
    return dgf_mongo_session_put(session, DGF_MONGO_ITEM_CAUGHT_UP, NULL, DGF_OK,
                                 DGF_STATE_STREAMING, false, "");
}

static bool stream_state(struct dgf_mongo_session *session)
{
    char scope[400], text[600];

    (void)snprintf(
        text, sizeof(text), "%s of %s%s", scope_of(session, scope, 400),
        session->link.sharded  ? "mongos"
        : session->link.set[0] ? session->link.set
                               : "a single server",
        session->degraded
            ? "; the server leaves out ns or updateDescription: less can be judged"
            : "");
    return say(session, DGF_STATE_STREAMING, text);
}

/* ---- the oplog ---- */

/* What the server still has, before it is less than we need. */
static bool look_at_oplog(struct dgf_mongo_session *session)
{
    uint64_t start, now = session->link.operation_time;
    int64_t window, lag;
    char text[300];

    session->oplog_ns = dgf_clock_mono_ns();
    start = dgf_mongo_link_oplog_start(&session->link);
    if (dgf_mongo_session_stopping(session))
        return false;
    if (!start || !now)
        return true;
    window = (int64_t)(now >> 32) - (int64_t)(start >> 32);
    lag = (int64_t)(now >> 32) - (int64_t)(session->position.time >> 32);
    dgf_metric_set(session->window, window);
    dgf_metric_set(session->lag, lag > 0 ? lag : 0);
    if (lag > 60 && window < 4 * lag) {
        session->said_window = true;
        (void)snprintf(text, sizeof(text),
                       "%" PRId64 " s behind, and the server's oplog reaches back only "
                       "%" PRId64 " s: changes may be lost; make the oplog larger",
                       lag, window);
        return say(session, DGF_STATE_STREAMING, text);
    }
    if (session->said_window) {
        session->said_window = false;
        return stream_state(session);
    }
    return true;
}

/* ---- opening ---- */

/* How many events; -1: ended. */
static int take_documents(struct dgf_mongo_session *session, struct dgf_bytes documents)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    enum dgf_rc rc;
    int n = 0;

    if (!documents.len)
        return 0;
    session->seen_ns = dgf_clock_ns();
    rc = dgf_bson_of(documents, &bson);
    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK) {
        if (session->invalidated)
            break;
        if (element.type != DGF_BSON_DOCUMENT) {
            rc = DGF_BAD_DATA;
            break;
        }
        if (!dgf_mongo_emit_document(session, element.value))
            return -1;
        n++;
    }
    if (rc == DGF_BAD_DATA) {
        dgf_mongo_session_fail(session, DGF_RETRY, true,
                               "the server sent a batch that is damaged");
        return -1;
    }
    return n;
}

static enum dgf_gap reason_of(enum dgf_mongo_fate fate)
{
    return fate == DGF_MONGO_FATE_LOST      ? DGF_GAP_HISTORY_LOST
           : fate == DGF_MONGO_FATE_INVALID ? DGF_GAP_TOKEN_INVALID
                                            : DGF_GAP_SOURCE_POISON;
}

static void fail_of_link(struct dgf_mongo_session *session, const char *what,
                         bool poison)
{
    struct dgf_err err = {0};
    enum dgf_rc rc = dgf_mongo_link_error(&session->link, what, &err);

    dgf_mongo_session_fail(session, rc, poison, "%s", err.text);
}

/* 1: open; 0: again, the position is another one; -1: ended. */
static int open_once(struct dgf_mongo_session *session)
{
    bool anew = session->position.how == DGF_MONGO_AT_TIME;
    enum dgf_mongo_fate fate;
    struct dgf_mongo_batch batch;
    char what[500], scope[400];
    bson_t reply;
    int n;

    if (!dgf_mongo_cursor_open(session, &reply)) {
        char cause[300];

        bson_destroy(&reply);
        if (dgf_mongo_session_stopping(session))
            return -1;
        (void)snprintf(cause, sizeof(cause), "%.280s", session->link.error.message);
        fate = session->link.is_server_error
                   ? dgf_mongo_fate_of((int)session->link.error.code, true, false)
                   : DGF_MONGO_FATE_FAIL;
        if (fate != DGF_MONGO_FATE_FAIL && (!anew || fate == DGF_MONGO_FATE_LOST))
            return dgf_mongo_lost(session, reason_of(fate), cause) ? 0 : -1;
        (void)snprintf(what, sizeof(what), "cannot open a change stream on %s",
                       scope_of(session, scope, sizeof(scope)));
        fail_of_link(session, what, false);
        return -1;
    }
    if (dgf_mongo_session_stopping(session)) {
        bson_destroy(&reply);
        return -1;
    }
    if (!dgf_mongo_cursor_read(session, &reply, "firstBatch", &batch)) {
        bson_destroy(&reply);
        dgf_mongo_session_fail(session, DGF_RETRY, false,
                               "the server's answer to aggregate has no cursor");
        return -1;
    }
    session->cursor = batch.cursor;
    n = take_documents(session, batch.documents);
    /* Only a token can be gone on from when the server knows no times. */
    if (n == 0 && anew && !session->position.floor && batch.token.len &&
        !dgf_mongo_emit_idle(session, batch.token, batch.time, true))
        n = -1;
    bson_destroy(&reply);
    return n < 0 ? -1 : 1;
}

static bool open_stream(struct dgf_mongo_session *session)
{
    int opened = 0;

    while (!opened) {
        if (dgf_mongo_session_stopping(session))
            return false;
        opened = open_once(session);
    }
    session->invalidated = session->invalidated && opened > 0;
    return opened > 0 && stream_state(session);
}

/* ---- reading ---- */

enum end { END_STOP, END_AGAIN };

/* Nothing came.  A server that waits as it was asked needs no brake. */
static void brake(struct dgf_mongo_session *session, struct dgf_bytes token,
                  int64_t took_ns)
{
    uint32_t sum = dgf_crc32c(0, token);
    bool moved = token.len && sum != session->idle_token;
    int64_t wait = 50 * MS;

    session->idle_token = sum;
    /* One that scans and moves on may well be quick. */
    if (moved || took_ns >= session->conf->await_ns / 2) {
        session->n_fast = 0;
        return;
    }
    if (++session->n_fast < FAST_ANSWERS)
        return;
    for (unsigned i = FAST_ANSWERS; i < session->n_fast && wait < 500 * MS; i++)
        wait *= 2;
    dgf_mongo_session_sleep(session, wait > 500 * MS ? 500 * MS : wait);
}

/* The cursor broke.  Once after progress it is opened again without a word. */
static enum end on_error(struct dgf_mongo_session *session)
{
    const struct dgf_mongo_link *link = &session->link;
    enum dgf_mongo_fate fate =
        link->is_server_error
            ? dgf_mongo_fate_of((int)link->error.code, false, link->resumable_label)
            : DGF_MONGO_FATE_RESUME;
    char cause[300];

    session->cursor = 0;
    if (fate == DGF_MONGO_FATE_RESUME && session->progressed) {
        session->progressed = false;
        return END_AGAIN;
    }
    if (fate == DGF_MONGO_FATE_LOST ||
        (fate == DGF_MONGO_FATE_POISON && session->n_poison >= MAX_POISON)) {
        (void)snprintf(cause, sizeof(cause), "%.280s", link->error.message);
        return dgf_mongo_lost(session, reason_of(fate), cause) ? END_AGAIN : END_STOP;
    }
    fail_of_link(session, "cannot read the change stream",
                 fate == DGF_MONGO_FATE_POISON);
    return END_STOP;
}

static enum end read_more(struct dgf_mongo_session *session)
{
    int64_t before = dgf_clock_mono_ns(), now;
    struct dgf_mongo_batch batch;
    bson_t reply;
    bool good = dgf_mongo_cursor_more(session, &reply), due;
    int n = -1;

    if (dgf_mongo_session_stopping(session)) {
        bson_destroy(&reply);
        return END_STOP;
    }
    if (!good) {
        bson_destroy(&reply);
        return on_error(session);
    }
    if (dgf_mongo_cursor_read(session, &reply, "nextBatch", &batch)) {
        session->cursor = batch.cursor;
        n = take_documents(session, batch.documents);
    } else {
        dgf_mongo_session_fail(session, DGF_RETRY, false,
                               "the server's answer to getMore has no cursor");
    }
    now = dgf_clock_mono_ns();
    if (n == 0) {
        due = !session->caught_up || now - session->progress_ns >= IDLE_PROGRESS_NS;
        if (!dgf_mongo_emit_idle(session, batch.token, batch.time, due) ||
            !note_caught_up(session))
            n = -1;
        else if (batch.cursor)
            brake(session, batch.token, now - before);
        dgf_metric_set(session->lag, 0);
    } else if (n > 0) {
        session->n_fast = session->n_closed = 0;
    }
    bson_destroy(&reply);
    return n < 0 ? END_STOP : END_AGAIN;
}

/* The server closed the cursor: an invalidate, seen or hidden. */
static bool reopen_closed(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position to = session->position;

    if (!session->invalidated) {
        if (++session->n_closed > 5) {
            dgf_mongo_session_fail(session, DGF_RETRY, true,
                                   "the server closes the change stream at once");
            return false;
        }
        if (to.how == DGF_MONGO_RESUME_AFTER)
            to.how = DGF_MONGO_START_AFTER;
        dgf_mongo_set_position(session, &to);
        dgf_mongo_session_sleep(session, 200 * MS);
    }
    session->invalidated = false;
    return true;
}

static bool is_due(const struct dgf_mongo_session *session, int64_t last_ns)
{
    return !last_ns || dgf_clock_mono_ns() - last_ns >= session->conf->inspect_ns;
}

/* The oplog also while we are behind: that is when it may become too short. */
static bool look_when_due(struct dgf_mongo_session *session)
{
    if (session->position.tx_len) /* the events of a transaction stand together */
        return true;
    if (is_due(session, session->oplog_ns) && !look_at_oplog(session))
        return false;
    if (!session->caught_up || !is_due(session, session->inspected_ns))
        return true;
    session->inspected_ns = dgf_clock_mono_ns();
    return dgf_mongo_inspect(session);
}

/* Until the connection has to be made anew (true) or all is over (false). */
static bool read_stream(struct dgf_mongo_session *session)
{
    bool degraded = session->degraded;

    for (;;) {
        enum end end;

        if (dgf_mongo_session_stopping(session))
            return false;
        if (session->invalidated || !session->cursor) {
            if (session->invalidated && session->cursor)
                dgf_mongo_cursor_kill(session);
            if (!reopen_closed(session) || !open_stream(session))
                return false;
            continue;
        }
        end = read_more(session);
        if (end == END_STOP)
            return false;
        if (!session->cursor && !session->invalidated && session->link.error.domain)
            return true;
        if (degraded != session->degraded) {
            degraded = session->degraded;
            if (!stream_state(session))
                return false;
        }
        if (!look_when_due(session))
            return false;
    }
}

/* ---- the thread ---- */

static bool connect_and_open(struct dgf_mongo_session *session)
{
    struct dgf_err err = {0};
    enum dgf_rc rc =
        dgf_mongo_link_open(&session->link, session->uri, session->conf, &err);

    if (dgf_mongo_session_stopping(session))
        return false;
    if (rc) {
        dgf_mongo_session_fail(session, rc, false, "%s", err.text);
        return false;
    }
    return dgf_mongo_start(session) && open_stream(session);
}

static void run(struct dgf_mongo_session *session)
{
    bool again = true;

    if (session->has_position && session->position.how == DGF_MONGO_AT_TIME)
        session->by_time = true;
    while (again) {
        again = connect_and_open(session) && read_stream(session);
        if (!dgf_mongo_session_stopping(session) && session->cursor)
            dgf_mongo_cursor_kill(session);
        dgf_mongo_link_close(&session->link);
    }
}

void *dgf_mongo_session_run(void *ctx)
{
    struct dgf_mongo_session *session = ctx;

    run(session);
    (void)pthread_mutex_lock(&session->lock);
    session->ended = true;
    (void)pthread_cond_broadcast(&session->wake);
    (void)pthread_mutex_unlock(&session->lock);
    dgf_mongo_session_unref(session);
    return NULL;
}
