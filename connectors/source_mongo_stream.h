/* source_mongo_stream.h - what the files of a session's stream share.
 *
 *   source_mongo_stream.c  from a connection to the end of the stream
 *   source_mongo_start.c   where reading starts
 *   source_mongo_cursor.c  the commands of a change stream, and their answers
 *   source_mongo_lost.c    a position the server can no longer go on from
 *
 * What ends a session has queued the reason, by dgf_mongo_session_fail, or the session
 * is stopping.  Thread: the session's. */
#ifndef DGF_CONNECTORS_SOURCE_MONGO_STREAM_H
#define DGF_CONNECTORS_SOURCE_MONGO_STREAM_H

#include "source_mongo.h"

/* ---- start ---- */

/* After connecting: is this the server, and what is the first position?  False: ended.
 */
bool dgf_mongo_start(struct dgf_mongo_session *session) DGF_MUST_USE;

/* ---- cursor ---- */

/* Asks for a cursor at the position, or for its next batch, and waits for the answer.
 * False: session->link says why.  reply is initialised in any case; the caller destroys
 * it. */
bool dgf_mongo_cursor_open(struct dgf_mongo_session *session, bson_t *reply)
    DGF_MUST_USE;
bool dgf_mongo_cursor_more(struct dgf_mongo_session *session, bson_t *reply)
    DGF_MUST_USE;
/* Tells the server that the cursor is not needed, when there is one. */
void dgf_mongo_cursor_kill(struct dgf_mongo_session *session);

/* Borrowed from the reply. */
struct dgf_mongo_batch {
    struct dgf_bytes documents, token; /* BSON; len 0: none */
    int64_t cursor;
    uint64_t time;
};
/* name: "firstBatch" or "nextBatch".  False: the answer has no cursor. */
bool dgf_mongo_cursor_read(struct dgf_mongo_session *session, const bson_t *reply,
                           const char *name, struct dgf_mongo_batch *batch)
    DGF_MUST_USE;

/* ---- lost ---- */

/* A gap record from where we were; then, by on_lost, reading goes on.  False: ended. */
bool dgf_mongo_lost(struct dgf_mongo_session *session, enum dgf_gap reason,
                    const char *cause) DGF_MUST_USE;

#endif
