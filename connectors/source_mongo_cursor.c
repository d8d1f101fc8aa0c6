#include <stdio.h>

#include "source_mongo_stream.h"

#define MS INT64_C(1000000)

/* ---- commands ---- */

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

bool dgf_mongo_cursor_open(struct dgf_mongo_session *session, bson_t *reply)
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

bool dgf_mongo_cursor_more(struct dgf_mongo_session *session, bson_t *reply)
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

void dgf_mongo_cursor_kill(struct dgf_mongo_session *session)
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

/* ---- answers ---- */

bool dgf_mongo_cursor_read(struct dgf_mongo_session *session, const bson_t *reply,
                           const char *name, struct dgf_mongo_batch *batch)
{
    struct dgf_bson_element cursor, part;
    struct dgf_bytes text;

    *batch = (struct dgf_mongo_batch){.time = session->link.operation_time};
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
