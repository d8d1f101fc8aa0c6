#include <string.h>

#include "base/parse.h"
#include "source_mongo_stream.h"

/* The server knows no times and gave no token before the connection ended: what
 * came meanwhile cannot be asked for. */
static bool begin_without_position(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position to = {.how = DGF_MONGO_AT_TIME};

    to.floor = session->link.operation_time;
    to.time = dgf_mongo_link_now(&session->link);
    memcpy(to.system, session->link.system, sizeof(to.system));
    if (session->conf->on_lost == DGF_MONGO_LOST_STOP)
        return dgf_mongo_lost(session, DGF_GAP_HISTORY_LOST,
                              "it never gave a position");
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
        return dgf_mongo_lost(
            session, DGF_GAP_TOKEN_INVALID,
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
        return dgf_mongo_lost(session, DGF_GAP_SYSTEM_CHANGED, "");
    memcpy(session->position.system, link->system, sizeof(unknown));
    /* It gave us events it no longer knows of: it was put back. */
    if (link->operation_time && link->operation_time < session->position.floor)
        return dgf_mongo_lost(
            session, DGF_GAP_HISTORY_LOST,
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
    at.time = dgf_mongo_link_now(&session->link);
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

bool dgf_mongo_start(struct dgf_mongo_session *session)
{
    return check_server(session) && (session->has_position || begin_anew(session));
}
