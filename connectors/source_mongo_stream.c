#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_mongo.h"

#define MS INT64_C(1000000)
#define QUEUE_BYTES (8u << 20)
#define IDLE_PROGRESS_NS (10000 * MS)
/* A server that answers "nothing" without waiting is asked less and less often. */
#define FAST_ANSWERS 20
#define MAX_RESTARTS 3 /* after lost positions, without an event between them */
#define MAX_POISON 3   /* failures at one position */

/* ---- the queue's thread side ---- */

bool dgf_mongo_session_stopping(struct dgf_mongo_session *session)
{
    bool stop;

    (void)pthread_mutex_lock(&session->lock);
    stop = session->stop;
    (void)pthread_mutex_unlock(&session->lock);
    return stop;
}

void dgf_mongo_session_sleep(struct dgf_mongo_session *session, int64_t ns)
{
    struct timespec until;
    int rc = 0;

    ns += dgf_clock_mono_ns();
    until.tv_sec = ns / (1000 * MS);
    until.tv_nsec = ns % (1000 * MS);
    (void)pthread_mutex_lock(&session->lock);
    while (!session->stop && !rc)
        rc = pthread_cond_timedwait(&session->wake, &session->lock, &until);
    (void)pthread_mutex_unlock(&session->lock);
}

static bool put_item(struct dgf_mongo_session *session,
                     const struct dgf_mongo_item *what, struct dgf_event *take_event,
                     struct dgf_bytes text)
{
    struct dgf_mongo_item *item = dgf_malloc(sizeof(*item) + text.len + 1);
    uint64_t one = 1;
    bool stop;

    if (!item) {
        dgf_event_unref(take_event);
        return false;
    }
    *item = *what;
    item->event = take_event;
    item->len = text.len;
    if (text.len)
        memcpy(item->text, text.ptr, text.len);
    item->text[text.len] = '\0';
    (void)pthread_mutex_lock(&session->lock);
    while (!session->stop && session->n_bytes > QUEUE_BYTES)
        (void)pthread_cond_wait(&session->wake, &session->lock);
    stop = session->stop;
    if (!stop) {
        *session->end = item;
        session->end = &item->next;
        session->n_bytes += sizeof(*item) + (take_event ? take_event->body.len : 0);
    }
    (void)pthread_mutex_unlock(&session->lock);
    if (stop) {
        dgf_event_unref(take_event);
        dgf_free(item);
        return false;
    }
    /* Fails only when the counter is full, and then the loop knows already. */
    (void)!write(session->fd, &one, sizeof(one));
    return true;
}

bool dgf_mongo_session_put(struct dgf_mongo_session *session,
                           enum dgf_mongo_item_kind kind, struct dgf_event *take_event,
                           enum dgf_rc rc, enum dgf_source_state state, bool poison,
                           const char *text)
{
    struct dgf_mongo_item item = {
        .kind = kind, .rc = rc, .state = state, .poison = poison};
    /* What inspection tells is no progress of the stream. */
    bool is_event = kind == DGF_MONGO_ITEM_EVENT && take_event->position.len;

    if (!put_item(session, &item, take_event, dgf_bytes_str(text)))
        return false;
    session->progressed = session->progressed || is_event;
    return true;
}

bool dgf_mongo_session_put_memory(struct dgf_mongo_session *session,
                                  struct dgf_bytes memory)
{
    return put_item(session, &(struct dgf_mongo_item){.kind = DGF_MONGO_ITEM_MEMORY},
                    NULL, memory);
}

void dgf_mongo_session_fail(struct dgf_mongo_session *session, enum dgf_rc rc,
                            bool poison, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)dgf_mongo_session_put(session, DGF_MONGO_ITEM_FAIL, NULL, rc,
                                DGF_STATE_STOPPED, poison, text);
}

static bool say(struct dgf_mongo_session *session, enum dgf_source_state state,
                const char *text)
{
    return dgf_mongo_session_put(session, DGF_MONGO_ITEM_STATE, NULL, DGF_OK, state,
                                 false, text);
}

static void free_object(void *object)
{
    dgf_object_unref(object);
}

static void free_list(struct dgf_str_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        dgf_free(list->list[i]);
    dgf_free(list->list);
}

void dgf_mongo_session_unref(struct dgf_mongo_session *session)
{
    struct dgf_mongo_item *item;
    unsigned left;

    (void)pthread_mutex_lock(&session->lock);
    left = --session->refs;
    (void)pthread_mutex_unlock(&session->lock);
    if (left)
        return;
    while ((item = session->first)) {
        session->first = item->next;
        dgf_event_unref(item->event);
        dgf_free(item);
    }
    dgf_map_release(&session->objects, free_object);
    dgf_map_release(&session->seen, dgf_free);
    dgf_event_builder_release(&session->builder);
    dgf_buf_release(&session->token);
    dgf_buf_release(&session->scratch);
    dgf_buf_release(&session->parts);
    free_list(&session->own.include);
    free_list(&session->own.exclude);
    dgf_free(session->database);
    dgf_free(session->collection);
    if (session->uri)
        mongoc_uri_destroy(session->uri);
    if (session->fd >= 0)
        (void)close(session->fd);
    (void)pthread_mutex_destroy(&session->lock);
    (void)pthread_cond_destroy(&session->wake);
    dgf_free(session);
}

/* ---- the command ---- */

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

static const char *database_of(const struct dgf_mongo_session *session)
{
    return session->database ? session->database : "admin";
}

static void append_start(const struct dgf_mongo_session *session, bson_t *stage)
{
    const struct dgf_mongo_position *position = &session->position;
    bson_t token;

    if (!session->has_position)
        return;
    if (position->how == DGF_MONGO_AT_TIME) {
        if (position->floor)
            (void)BSON_APPEND_TIMESTAMP(stage, "startAtOperationTime",
                                        (uint32_t)(position->floor >> 32),
                                        (uint32_t)position->floor);
        return;
    }
    if (!bson_init_static(&token, position->token.ptr, position->token.len))
        return;
    if (position->how == DGF_MONGO_START_AFTER)
        (void)BSON_APPEND_DOCUMENT(stage, "startAfter", &token);
    else
        (void)BSON_APPEND_DOCUMENT(stage, "resumeAfter", &token);
}

static void append_stage(struct dgf_mongo_session *session, bson_t *stage)
{
    static const char *const full[] = {"default", "updateLookup", "whenAvailable",
                                       "required"};
    static const char *const images[] = {"off", "whenAvailable", "required"};
    const struct dgf_mongo_conf *conf = session->conf;
    bool modern = session->link.version >= 600;

    if (!session->database)
        (void)BSON_APPEND_BOOL(stage, "allChangesForCluster", true);
    if (conf->full_document != DGF_MONGO_FULL_DEFAULT)
        (void)BSON_APPEND_UTF8(stage, "fullDocument", full[conf->full_document]);
    if (modern && conf->before != DGF_MONGO_IMAGES_OFF)
        (void)BSON_APPEND_UTF8(stage, "fullDocumentBeforeChange", images[conf->before]);
    if (modern && conf->expanded_events)
        (void)BSON_APPEND_BOOL(stage, "showExpandedEvents", true);
    append_start(session, stage);
}

static void append_pipeline(struct dgf_mongo_session *session, bson_t *command)
{
    bson_t array, stage, body;

    session->split = session->link.version >= 700 ||
                     (session->link.version == 600 && session->link.patch >= 9);
    (void)BSON_APPEND_ARRAY_BEGIN(command, "pipeline", &array);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&array, "0", &stage);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&stage, "$changeStream", &body);
    append_stage(session, &body);
    (void)bson_append_document_end(&stage, &body);
    (void)bson_append_document_end(&array, &stage);
    if (session->split) { /* must be the last one */
        (void)BSON_APPEND_DOCUMENT_BEGIN(&array, "1", &stage);
        (void)BSON_APPEND_DOCUMENT_BEGIN(&stage, "$changeStreamSplitLargeEvent", &body);
        (void)bson_append_document_end(&stage, &body);
        (void)bson_append_document_end(&array, &stage);
    }
    (void)bson_append_array_end(command, &array);
}

static bool aggregate(struct dgf_mongo_session *session, bson_t *reply)
{
    bson_t command = BSON_INITIALIZER, part;
    bool good;

    if (session->collection)
        (void)BSON_APPEND_UTF8(&command, "aggregate", session->collection);
    else
        (void)BSON_APPEND_INT32(&command, "aggregate", 1);
    append_pipeline(session, &command);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &part);
    (void)BSON_APPEND_INT32(&part, "batchSize", (int32_t)session->conf->batch_size);
    (void)bson_append_document_end(&command, &part);
    (void)BSON_APPEND_DOCUMENT_BEGIN(&command, "readConcern", &part);
    (void)BSON_APPEND_UTF8(&part, "level", "majority");
    (void)bson_append_document_end(&command, &part);
    (void)BSON_APPEND_UTF8(&command, "comment", "dgf");
    good =
        dgf_mongo_link_command(&session->link, database_of(session), &command, reply);
    bson_destroy(&command);
    return good;
}

static bool get_more(struct dgf_mongo_session *session, bson_t *reply)
{
    bson_t command = BSON_INITIALIZER;
    bool good;

    (void)BSON_APPEND_INT64(&command, "getMore", session->cursor);
    (void)BSON_APPEND_UTF8(&command, "collection", session->cursor_collection);
    (void)BSON_APPEND_INT64(&command, "batchSize", session->conf->batch_size);
    (void)BSON_APPEND_INT64(&command, "maxTimeMS", session->conf->await_ns / MS);
    good =
        dgf_mongo_link_command(&session->link, database_of(session), &command, reply);
    bson_destroy(&command);
    return good;
}

static void kill_cursor(struct dgf_mongo_session *session)
{
    bson_t *command, reply;

    if (!session->cursor)
        return;
    command = BCON_NEW("killCursors", BCON_UTF8(session->cursor_collection), "cursors",
                       "[", BCON_INT64(session->cursor), "]");
    (void)dgf_mongo_link_command(&session->link, database_of(session), command, &reply);
    bson_destroy(&reply);
    bson_destroy(command);
    session->cursor = 0;
}

/* ---- a batch ---- */

struct batch {
    struct dgf_bytes documents, token; /* BSON; len 0: none */
    int64_t cursor;
    uint64_t time;
};

static bool read_batch(struct dgf_mongo_session *session, const bson_t *reply,
                       const char *name, struct batch *batch)
{
    struct dgf_bson_element cursor, part;
    struct dgf_bytes text;

    *batch = (struct batch){.time = session->link.operation_time};
    if (!dgf_bson_find(dgf_mongo_bytes(reply), "cursor", &cursor) ||
        cursor.type != DGF_BSON_DOCUMENT || !dgf_bson_find(cursor.value, "id", &part) ||
        !dgf_bson_i64(&part, &batch->cursor))
        return false;
    if (dgf_bson_find(cursor.value, name, &part) && part.type == DGF_BSON_ARRAY)
        batch->documents = part.value;
    if (dgf_bson_find(cursor.value, "postBatchResumeToken", &part) &&
        part.type == DGF_BSON_DOCUMENT && part.value.len > 5)
        batch->token = part.value;
    if (dgf_bson_find(cursor.value, "ns", &part) && dgf_bson_text(&part, &text)) {
        const uint8_t *dot = text.len ? memchr(text.ptr, '.', text.len) : NULL;

        if (dot)
            (void)snprintf(
                session->cursor_collection, sizeof(session->cursor_collection), "%.*s",
                (int)(text.len - (size_t)(dot + 1 - text.ptr)), (const char *)dot + 1);
    }
    return true;
}

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

/* ---- lost positions ---- */

static const char *lost_text(enum dgf_gap reason)
{
    switch (reason) {
    case DGF_GAP_TOKEN_INVALID:
        return "the server refuses our resume token";
    case DGF_GAP_SOURCE_POISON:
        return "the server cannot get past this position";
    case DGF_GAP_SYSTEM_CHANGED:
        return "another deployment answers";
    default:
        return "the server no longer has this part of its oplog";
    }
}

static uint64_t now_of(struct dgf_mongo_session *session)
{
    return session->link.operation_time
               ? session->link.operation_time
               : (uint64_t)(dgf_clock_ns() / (1000 * MS)) << 32;
}

/* Where reading can go on; 0: nowhere but now. */
static uint64_t restart_time(struct dgf_mongo_session *session, enum dgf_gap reason)
{
    uint64_t now = now_of(session), oldest;

    if (session->conf->on_lost != DGF_MONGO_LOST_AT_TIME)
        return now;
    oldest = dgf_mongo_link_oplog_start(&session->link);
    if (reason == DGF_GAP_SOURCE_POISON)
        return session->position.floor + 1;
    if (reason == DGF_GAP_SYSTEM_CHANGED)
        return oldest ? oldest : now;
    if (session->position.floor && oldest && session->position.floor >= oldest)
        return session->position.floor;
    return oldest ? oldest : now;
}

/* A gap record from where we were; then, by on_lost, reading goes on.  False:
 * ended. */
static bool lost(struct dgf_mongo_session *session, enum dgf_gap reason,
                 const char *cause)
{
    struct dgf_mongo_position to = {.how = DGF_MONGO_AT_TIME};
    bool stop = session->conf->on_lost == DGF_MONGO_LOST_STOP;
    char text[700];

    if (session->n_lost++ >= MAX_RESTARTS && !stop) {
        dgf_mongo_session_fail(session, DGF_BAD_CONFIG, false,
                               "positions were lost %d times without an event between "
                               "them: %s",
                               MAX_RESTARTS, cause);
        return false;
    }
    (void)snprintf(text, sizeof(text), "%s%s%s", lost_text(reason), *cause ? ": " : "",
                   cause);
    to.floor = stop ? now_of(session) : restart_time(session, reason);
    to.time = to.floor > session->position.time || reason == DGF_GAP_SYSTEM_CHANGED
                  ? to.floor
                  : session->position.time;
    to.stopped = stop;
    memcpy(to.system, session->link.system, sizeof(to.system));
    if (!dgf_mongo_emit_gap(session, reason, &to, text))
        return false;
    (void)dgf_mongo_session_put(session, DGF_MONGO_ITEM_LOST, NULL, DGF_OK,
                                DGF_STATE_STARTING, false, "");
    session->by_time = true;
    session->n_poison = 0;
    if (stop)
        dgf_mongo_session_fail(session, DGF_BAD_CONFIG, false,
                               "%s; nothing is read (on_lost: stop); write on_lost: "
                               "from_now or at_time to go on",
                               text);
    return !stop;
}

/* ---- opening ---- */

/* The server knows no times and gave no token before the connection ended: what
 * came meanwhile cannot be asked for. */
static bool begin_without_position(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position to = {.how = DGF_MONGO_AT_TIME};

    to.floor = session->link.operation_time;
    to.time = now_of(session);
    memcpy(to.system, session->link.system, sizeof(to.system));
    if (session->conf->on_lost == DGF_MONGO_LOST_STOP)
        return lost(session, DGF_GAP_HISTORY_LOST, "it never gave a position");
    return dgf_mongo_emit_gap(
        session, DGF_GAP_HISTORY_LOST, &to,
        "the server had given no position to go on from; what came "
        "meanwhile is unknown");
}

static bool differs(const uint8_t *stored, const uint8_t *ours)
{
    static const uint8_t unknown[DGF_MONGO_HASH_LEN];

    return memcmp(stored, unknown, sizeof(unknown)) != 0 &&
           memcmp(stored, ours, sizeof(unknown)) != 0;
}

/* A token belongs to the stream that gave it.  Of another one only the time is good: it
 * is read again from there, without what stands before the token.  False: ended. */
static bool check_shape(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position to = session->position;
    bool scope = differs(to.shape.scope, session->shape.scope);
    bool images = differs(to.shape.images, session->shape.images);
    bool names = differs(to.shape.names, session->shape.names);

    to.shape = session->shape;
    if (!scope && !images && !names) {
        session->position.shape = to.shape;
        return true;
    }
    if (scope && !to.floor)
        return lost(session, DGF_GAP_TOKEN_INVALID,
                    "it is of another database or collection, and the server told no "
                    "time to go on from");
    if ((scope || images) && to.floor) {
        to.how = DGF_MONGO_AT_TIME;
        session->by_time = true;
    }
    dgf_mongo_set_position(session, &to);
    return dgf_mongo_emit_resume(
        session, scope   ? "scope is another one; what it did not "
                           "hold before was not judged up to there"
                 : names ? "include or exclude are other ones; what they left out "
                           "was not judged up to there"
                         : "full_document, before or expanded_events is another one");
}

/* What the server says of itself, before the first command.  False: ended. */
static bool check_server(struct dgf_mongo_session *session)
{
    const struct dgf_mongo_link *link = &session->link;
    static const uint8_t unknown[12];

    if (!link->set[0] && link->version >= 300 && link->operation_time == 0 &&
        link->session) {
        dgf_mongo_session_fail(session, DGF_BAD_CONFIG, false,
                               "'%s' is a single server: change streams need a replica "
                               "set or a sharded cluster",
                               link->where);
        return false;
    }
    if (link->version < 600 &&
        session->conf->full_document >= DGF_MONGO_FULL_AVAILABLE) {
        dgf_mongo_session_fail(session, DGF_BAD_CONFIG, false,
                               "full_document: whenAvailable and required need MongoDB "
                               "6.0; '%s' has version %d.%d",
                               link->where, link->version / 100, link->version % 100);
        return false;
    }
    if (!session->has_position)
        return true;
    if (session->position.how == DGF_MONGO_AT_TIME && !session->position.floor)
        return begin_without_position(session);
    if (memcmp(session->position.system, unknown, sizeof(unknown)) != 0 &&
        memcmp(link->system, unknown, sizeof(unknown)) != 0 &&
        memcmp(session->position.system, link->system, sizeof(unknown)) != 0)
        return lost(session, DGF_GAP_SYSTEM_CHANGED, "");
    memcpy(session->position.system, link->system, sizeof(unknown));
    /* It gave us events it no longer knows of: it was put back. */
    if (link->operation_time && link->operation_time < session->position.floor)
        return lost(session, DGF_GAP_HISTORY_LOST,
                    "its clock is behind our position: it was put back to an older "
                    "state");
    if (session->position.stopped) {
        if (session->conf->on_lost == DGF_MONGO_LOST_STOP) {
            dgf_mongo_session_fail(
                session, DGF_BAD_CONFIG, false,
                "a position was lost and nothing is read (on_lost: "
                "stop); write on_lost: from_now or at_time to go on");
            return false;
        }
        session->position.stopped = false;
    }
    return check_shape(session);
}

/* The first start: from what the server calls now, or what `start` says. */
static bool begin_anew(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position at = {.how = DGF_MONGO_AT_TIME};
    const char *start = session->conf->start;
    int64_t ns;

    at.floor = session->link.operation_time;
    at.time = now_of(session);
    if (strcmp(start, "beginning") == 0)
        at.time = at.floor = dgf_mongo_link_oplog_start(&session->link);
    else if (dgf_parse_time(dgf_bytes_str(start), &ns))
        at.time = at.floor = (uint64_t)(ns / 1000000000) << 32;
    if (!at.floor && strcmp(start, "beginning") == 0) {
        dgf_mongo_session_fail(
            session, DGF_BAD_CONFIG, false,
            "start: beginning: the oldest entry of the oplog cannot be "
            "read; grant role read on database local, or write a time "
            "(a sharded cluster has no one oplog)");
        return false;
    }
    memcpy(at.system, session->link.system, sizeof(at.system));
    dgf_mongo_set_position(session, &at);
    session->by_time = true;
    return dgf_mongo_emit_resume(session, NULL);
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
    struct batch batch;
    char what[500], scope[400];
    bson_t reply;
    int n;

    if (!aggregate(session, &reply)) {
        char cause[300];

        bson_destroy(&reply);
        if (dgf_mongo_session_stopping(session))
            return -1;
        (void)snprintf(cause, sizeof(cause), "%.280s", session->link.error.message);
        fate = session->link.is_server_error
                   ? dgf_mongo_fate_of((int)session->link.error.code, true, false)
                   : DGF_MONGO_FATE_FAIL;
        if (fate != DGF_MONGO_FATE_FAIL && (!anew || fate == DGF_MONGO_FATE_LOST))
            return lost(session, reason_of(fate), cause) ? 0 : -1;
        (void)snprintf(what, sizeof(what), "cannot open a change stream on %s",
                       scope_of(session, scope, sizeof(scope)));
        fail_of_link(session, what, false);
        return -1;
    }
    if (dgf_mongo_session_stopping(session)) {
        bson_destroy(&reply);
        return -1;
    }
    if (!read_batch(session, &reply, "firstBatch", &batch)) {
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

enum end { END_STOP, END_AGAIN, END_CLOSED };

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
        return lost(session, reason_of(fate), cause) ? END_AGAIN : END_STOP;
    }
    fail_of_link(session, "cannot read the change stream",
                 fate == DGF_MONGO_FATE_POISON);
    return END_STOP;
}

static enum end read_more(struct dgf_mongo_session *session)
{
    int64_t before = dgf_clock_mono_ns(), now;
    struct batch batch;
    bson_t reply;
    bool good = get_more(session, &reply), due;
    int n = -1;

    if (dgf_mongo_session_stopping(session)) {
        bson_destroy(&reply);
        return END_STOP;
    }
    if (!good) {
        bson_destroy(&reply);
        return on_error(session);
    }
    if (read_batch(session, &reply, "nextBatch", &batch)) {
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
                kill_cursor(session);
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
    if (!check_server(session))
        return false;
    if (!session->has_position && !begin_anew(session))
        return false;
    return open_stream(session);
}

static void run(struct dgf_mongo_session *session)
{
    bool again = true;

    if (session->has_position && session->position.how == DGF_MONGO_AT_TIME)
        session->by_time = true;
    while (again) {
        again = connect_and_open(session) && read_stream(session);
        if (!dgf_mongo_session_stopping(session) && session->cursor)
            kill_cursor(session);
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
