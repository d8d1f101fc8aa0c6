#include <stdio.h>

#include "source_mongo_stream.h"

#define MAX_RESTARTS 3 /* after lost positions, without an event between them */

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

/* Where reading can go on; 0: nowhere but now. */
static uint64_t restart_time(struct dgf_mongo_session *session, enum dgf_gap reason)
{
    uint64_t now = dgf_mongo_link_now(&session->link), oldest;

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

bool dgf_mongo_lost(struct dgf_mongo_session *session, enum dgf_gap reason,
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
    to.floor =
        stop ? dgf_mongo_link_now(&session->link) : restart_time(session, reason);
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
