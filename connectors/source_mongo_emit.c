#include <stdio.h>

#include "base/clock.h"
#include "source_mongo.h"

/* Most documents a split event may have, and their bytes (session->parts). */
#define MAX_FRAGMENTS 1000

static bool out_of_memory(struct dgf_mongo_session *session)
{
    dgf_mongo_session_fail(session, DGF_RETRY, false, "out of memory");
    return false;
}

void dgf_mongo_set_position(struct dgf_mongo_session *session,
                            const struct dgf_mongo_position *position)
{
    struct dgf_bytes token = position->token;

    /* token may be our own. */
    if (token.ptr != session->token.ptr) {
        dgf_buf_clear(&session->token);
        dgf_buf_add_bytes(&session->token, token);
    }
    session->position = *position;
    session->position.token = dgf_buf_bytes(&session->token);
    session->has_position = dgf_buf_rc(&session->token) == DGF_OK;
}

/* The bytes of the position; valid until the next call. */
static struct dgf_bytes position_bytes(struct dgf_mongo_session *session,
                                       const struct dgf_mongo_position *position)
{
    struct dgf_mongo_position written = *position;

    written.shape = session->shape;
    dgf_buf_clear(&session->scratch);
    dgf_mongo_position_write(&written, &session->scratch);
    return dgf_buf_bytes(&session->scratch);
}

static void begin_id(const struct dgf_mongo_session *session, struct dgf_id_hash *hash,
                     const char *type)
{
    dgf_id_begin(hash, type);
    dgf_id_add(hash, DGF_BYTES("mongo"));
    dgf_id_add(hash, dgf_bytes_str(session->link.set));
}

static bool put_event(struct dgf_mongo_session *session, struct dgf_event *take_event)
{
    return dgf_mongo_session_put(session, DGF_MONGO_ITEM_EVENT, take_event, DGF_OK,
                                 DGF_STATE_STREAMING, false, "");
}

/* An event without sections, at the session's position. */
static bool emit_bare(struct dgf_mongo_session *session, enum dgf_event_kind kind,
                      const char *type, struct dgf_event_meta meta)
{
    struct dgf_id_hash hash;
    struct dgf_event *event;

    meta.position = position_bytes(session, &session->position);
    begin_id(session, &hash, type);
    dgf_id_add(&hash, meta.tx);
    dgf_id_add(&hash, meta.position);
    meta.id = dgf_id_end(&hash);
    meta.cause = DGF_CAUSE_USER;
    dgf_event_begin(&session->builder, NULL, kind, DGF_OP_NONE);
    if (dgf_event_finish(&session->builder, &meta, &event))
        return out_of_memory(session);
    return put_event(session, event);
}

bool dgf_mongo_emit_progress(struct dgf_mongo_session *session)
{
    int64_t now = dgf_clock_ns();

    session->progress_ns = dgf_clock_mono_ns();
    return emit_bare(session, DGF_KIND_PROGRESS, "progress",
                     (struct dgf_event_meta){.commit_ns = now, .seen_ns = now});
}

/* The transaction that was open has ended. */
static bool end_tx(struct dgf_mongo_session *session)
{
    struct dgf_mongo_position *position = &session->position;
    char tx[DGF_MONGO_TX_MAX];
    struct dgf_event_meta meta = {.commit_ns = session->last_commit_ns,
                                  .seen_ns = dgf_clock_ns(),
                                  .tx_n = position->ordinal};

    if (!position->tx_len)
        return true;
    if (!meta.commit_ns)
        meta.commit_ns = (int64_t)(position->floor >> 32) * 1000000000;
    memcpy(tx, position->tx, position->tx_len);
    meta.tx = dgf_bytes_of(tx, position->tx_len);
    position->tx_len = 0;
    position->ordinal = 0;
    return emit_bare(session, DGF_KIND_TRANSACTION, "transaction", meta);
}

bool dgf_mongo_emit_idle(struct dgf_mongo_session *session, struct dgf_bytes token,
                         uint64_t time, bool due)
{
    struct dgf_mongo_position to = session->position;

    if (!end_tx(session))
        return false;
    to = session->position;
    if (!due || !token.len || token.len > DGF_MONGO_TOKEN_MAX ||
        dgf_bytes_eq(token, to.token))
        return true;
    to.how = DGF_MONGO_RESUME_AFTER;
    to.token = token;
    if (time > to.time)
        to.time = time;
    dgf_mongo_set_position(session, &to);
    return dgf_mongo_emit_progress(session);
}

bool dgf_mongo_emit_resume(struct dgf_mongo_session *session, const char *why)
{
    struct dgf_event_builder *builder = &session->builder;
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns()};
    struct dgf_id_hash hash;
    struct dgf_event *event;
    struct dgf_buf since;
    char text[300];
    enum dgf_rc rc;

    meta.seen_ns = meta.commit_ns;
    meta.position = position_bytes(session, &session->position);
    dgf_buf_init(&since, 128);
    dgf_mongo_position_text(meta.position, &since);
    begin_id(session, &hash, "resume");
    dgf_id_add(&hash, dgf_buf_bytes(&since));
    if (why) /* the same position may be gone on from in several shapes */
        dgf_id_add(&hash, dgf_bytes_of(&session->shape, sizeof(session->shape)));
    meta.id = dgf_id_end(&hash);
    (void)snprintf(text, sizeof(text), "covered since %s%s%s", dgf_buf_str(&since),
                   why ? ": " : "", why ? why : "");
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("since")), dgf_buf_bytes(&since));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("message")), dgf_bytes_str(text));
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 1);
    dgf_mp_put_str(&builder->body, DGF_BYTES("replica_set"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(session->link.set));
    dgf_event_section_end(builder);
    rc = dgf_event_finish(builder, &meta, &event);
    dgf_buf_release(&since);
    return rc ? out_of_memory(session) : put_event(session, event);
}

bool dgf_mongo_emit_gap(struct dgf_mongo_session *session, enum dgf_gap reason,
                        const struct dgf_mongo_position *to, const char *message)
{
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns()};
    struct dgf_buf from_text, to_text;
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;
    enum dgf_rc rc;

    meta.seen_ns = meta.commit_ns;
    dgf_buf_init(&from_text, 128);
    dgf_buf_init(&to_text, 128);
    if (session->has_position)
        dgf_mongo_position_text(position_bytes(session, &session->position),
                                &from_text);
    meta.position = position_bytes(session, to);
    dgf_mongo_position_text(meta.position, &to_text);
    begin_id(session, &hash, "gap");
    dgf_id_add(&hash, dgf_bytes_str(dgf_gap_text(reason)));
    dgf_id_add(&hash, dgf_buf_bytes(&from_text));
    dgf_id_add(&hash, dgf_buf_bytes(&to_text));
    meta.id = dgf_id_end(&hash);
    rc = dgf_event_gap(&session->builder, reason,
                       session->has_position ? dgf_buf_str(&from_text) : NULL,
                       dgf_buf_str(&to_text), message, NULL, 0, &meta, &event);
    dgf_buf_release(&from_text);
    dgf_buf_release(&to_text);
    if (rc)
        return out_of_memory(session);
    dgf_mongo_set_position(session, to);
    return put_event(session, event);
}

/* ---- what an event is about ---- */

bool dgf_mongo_name_wanted(const struct dgf_mongo_conf *conf, struct dgf_bytes name)
{
    bool in = conf->include.n == 0;

    for (size_t i = 0; i < conf->include.n && !in; i++)
        in = dgf_mongo_name_matches(conf->include.list[i], name);
    for (size_t i = 0; i < conf->exclude.n && in; i++)
        in = !dgf_mongo_name_matches(conf->exclude.list[i], name);
    return in;
}

/* DGF_OK with *ret NULL: about nothing that has a name; DGF_AGAIN: not wanted. */
static enum dgf_rc object_of(struct dgf_mongo_session *session,
                             const struct dgf_mongo_change *change,
                             struct dgf_object **ret)
{
    struct dgf_bytes database = change->database, collection = change->collection;
    char db[256], coll[1024];
    struct dgf_object *object;
    struct dgf_buf key;
    enum dgf_rc rc;

    *ret = NULL;
    /* A stream of one collection is about it, whatever the server leaves out. */
    if (!collection.len && !database.len && session->collection) {
        database = dgf_bytes_str(session->database);
        collection = dgf_bytes_str(session->collection);
        session->degraded = true;
    }
    if (!database.len || database.len >= sizeof(db) || collection.len >= sizeof(coll))
        return DGF_OK;
    dgf_buf_init(&key, 2048);
    dgf_buf_add_bytes(&key, database);
    dgf_buf_add_byte(&key, '.');
    dgf_buf_add_bytes(&key, collection);
    if (collection.len && !dgf_mongo_name_wanted(session->conf, dgf_buf_bytes(&key))) {
        dgf_buf_release(&key);
        return DGF_AGAIN;
    }
    *ret = object = dgf_map_get(&session->objects, dgf_buf_bytes(&key));
    if (object) {
        dgf_buf_release(&key);
        return DGF_OK;
    }
    (void)snprintf(db, sizeof(db), "%.*s", (int)database.len,
                   (const char *)database.ptr);
    (void)snprintf(coll, sizeof(coll), "%.*s", (int)collection.len,
                   (const char *)collection.ptr);
    rc = dgf_object_new("mongo", db, collection.len ? db : NULL,
                        collection.len ? coll : db, NULL, 0, 1, &object);
    if (!rc) {
        rc = dgf_map_put(&session->objects, dgf_buf_bytes(&key), object, NULL);
        if (rc)
            dgf_object_unref(object);
        else
            *ret = object;
    }
    dgf_buf_release(&key);
    return rc;
}

/* Sets the transaction of the position; the one before has ended when this is
 * another one. */
static bool take_tx(struct dgf_mongo_session *session,
                    const struct dgf_mongo_change *change)
{
    struct dgf_mongo_position *position = &session->position;
    char tx[DGF_MONGO_TX_MAX];
    struct dgf_buf text;
    size_t len;

    if (!change->in_tx)
        return end_tx(session);
    dgf_buf_init(&text, sizeof(tx));
    dgf_buf_add_hex(&text, change->session);
    dgf_buf_add_byte(&text, '.');
    dgf_buf_add_i64(&text, change->txn);
    len = dgf_buf_rc(&text) ? 0 : text.len;
    if (len)
        memcpy(tx, text.ptr, len);
    dgf_buf_release(&text);
    if (position->tx_len == len && memcmp(position->tx, tx, len) == 0)
        return true;
    if (!end_tx(session))
        return false;
    position->tx_len = (uint8_t)len;
    memcpy(position->tx, tx, len);
    return true;
}

/* ---- one event ---- */

static bool emit_undecodable(struct dgf_mongo_session *session,
                             struct dgf_object *object, enum dgf_op op,
                             struct dgf_bytes bytes, const char *what, const char *why,
                             struct dgf_event_meta *meta)
{
    struct dgf_event_builder *builder = &session->builder;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_event *event;

    dgf_sha256(bytes, digest);
    dgf_event_begin(builder, object, DGF_KIND_UNDECODABLE, op);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("size")), (int64_t)bytes.len);
    dgf_mp_put_bin(dgf_event_named(builder, DGF_BYTES("hash")),
                   dgf_bytes_of(digest, sizeof(digest)));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("what")), dgf_bytes_str(what));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("why")), dgf_bytes_str(why));
    dgf_event_section_end(builder);
    if (dgf_event_finish(builder, meta, &event))
        return out_of_memory(session);
    return put_event(session, event);
}

static int64_t commit_ns(const struct dgf_mongo_change *change, int64_t seen_ns)
{
    if (change->wall_ms > 0 && change->wall_ms < INT64_MAX / 1000000)
        return change->wall_ms * 1000000;
    if (change->cluster_time)
        return (int64_t)(change->cluster_time >> 32) * 1000000000;
    return seen_ns;
}

static bool emit_change(struct dgf_mongo_session *session,
                        const struct dgf_mongo_change *change,
                        struct dgf_object *object, struct dgf_bytes document)
{
    struct dgf_mongo_position to = session->position;
    struct dgf_event_meta meta = {.seen_ns = session->seen_ns, .cause = DGF_CAUSE_USER};
    const char *why = "unknown";
    enum dgf_event_kind kind;
    enum dgf_op op;
    struct dgf_id_hash hash;
    struct dgf_event *event;
    char what[64];
    enum dgf_rc rc;

    (void)dgf_mongo_change_kind(change, &kind, &op);
    to.how = DGF_MONGO_RESUME_AFTER;
    to.stopped = false;
    to.token = change->token;
    if (change->cluster_time)
        to.time = to.floor = change->cluster_time;
    if (to.tx_len)
        to.ordinal++;
    dgf_mongo_set_position(session, &to);
    if (!session->has_position)
        return out_of_memory(session);
    session->last_commit_ns = meta.commit_ns = commit_ns(change, session->seen_ns);
    meta.tx = dgf_bytes_of(to.tx, to.tx_len);
    meta.tx_n = to.ordinal;
    begin_id(session, &hash, "change");
    dgf_id_add(&hash, to.token);
    meta.id = dgf_id_end(&hash);
    meta.position = position_bytes(session, &session->position);
    rc = dgf_mongo_change_build(change,
                                (enum dgf_mongo_full)session->conf->full_document,
                                object, &session->builder, &why);
    if (!rc) {
        rc = dgf_event_finish(&session->builder, &meta, &event);
        if (!rc)
            return put_event(session, event);
        why = "larger than limits.event_bytes";
    } else if (rc == DGF_NOMEM) {
        why = "larger than limits.event_bytes";
    }
    (void)snprintf(what, sizeof(what), "event '%.*s'",
                   change->operation.len > 40 ? 40 : (int)change->operation.len,
                   (const char *)change->operation.ptr);
    return emit_undecodable(session, object, op, document, what, why, &meta);
}

static bool emit_whole(struct dgf_mongo_session *session,
                       const struct dgf_mongo_change *change, struct dgf_bytes document)
{
    struct dgf_mongo_position to;
    struct dgf_object *object;
    enum dgf_rc rc;

    /* Some servers deliver what was read before once more. */
    if (change->cluster_time &&
        (change->cluster_time < session->position.floor ||
         (session->by_time && change->cluster_time == session->position.floor &&
          !dgf_mongo_token_is_behind(change->token, session->position.token))))
        return true;
    session->by_time = false;
    if (dgf_mongo_change_is(change, "invalidate")) {
        if (!end_tx(session))
            return false;
        to = session->position;
        to.how = DGF_MONGO_START_AFTER;
        to.token = change->token;
        if (change->cluster_time)
            to.time = to.floor = change->cluster_time;
        dgf_mongo_set_position(session, &to);
        session->invalidated = true;
        return dgf_mongo_emit_progress(session);
    }
    rc = object_of(session, change, &object);
    if (rc == DGF_NOMEM)
        return out_of_memory(session);
    if (!take_tx(session, change))
        return false;
    if (rc == DGF_AGAIN) { /* progress is told when the stream is idle */
        to = session->position;
        to.how = DGF_MONGO_RESUME_AFTER;
        to.token = change->token;
        if (change->cluster_time)
            to.time = to.floor = change->cluster_time;
        dgf_mongo_set_position(session, &to);
        if (dgf_clock_mono_ns() - session->progress_ns < INT64_C(1000000000))
            return session->has_position;
        return dgf_mongo_emit_progress(session);
    }
    return emit_change(session, change, object, document);
}

/* A fragment waits for the others; the position moves behind the last one. */
static bool take_fragment(struct dgf_mongo_session *session,
                          const struct dgf_mongo_change *part,
                          struct dgf_bytes document)
{
    struct dgf_mongo_change whole = {0};
    struct dgf_rd rd;
    const char *why;
    bool good;

    if (part->fragment == 1) {
        dgf_buf_clear(&session->parts);
        session->n_parts = 0;
    }
    if (part->fragment != (int32_t)session->n_parts + 1 || part->fragment > part->of ||
        part->of > MAX_FRAGMENTS) {
        dgf_mongo_session_fail(session, DGF_RETRY, true,
                               "fragment %d of %d of a split event came out of order",
                               part->fragment, part->of);
        return false;
    }
    dgf_buf_add_le32(&session->parts, (uint32_t)document.len);
    dgf_buf_add_bytes(&session->parts, document);
    session->n_parts++;
    if (dgf_buf_rc(&session->parts)) {
        dgf_mongo_session_fail(session, DGF_RETRY, true,
                               "a split event is larger than %zu bytes",
                               session->parts.max);
        return false;
    }
    if (part->fragment < part->of)
        return true;
    rd = dgf_rd_of(dgf_buf_bytes(&session->parts));
    while (dgf_rd_left(&rd))
        if (dgf_mongo_change_read(dgf_rd_bytes(&rd, dgf_rd_le32(&rd)), &whole, &why))
            break;
    session->n_parts = 0;
    good = emit_whole(session, &whole, dgf_buf_bytes(&session->parts));
    dgf_buf_clear(&session->parts);
    return good;
}

bool dgf_mongo_emit_document(struct dgf_mongo_session *session,
                             struct dgf_bytes document)
{
    struct dgf_mongo_change change = {0};
    const char *why = "unknown";

    if (dgf_mongo_change_read(document, &change, &why)) {
        /* Without a token nothing behind it could be gone on from. */
        if (!change.token.len || change.token.len > DGF_MONGO_TOKEN_MAX) {
            dgf_mongo_session_fail(session, DGF_RETRY, true,
                                   "the server sent an event that cannot be used: %s",
                                   why);
            return false;
        }
        return emit_change(session, &change, NULL, document);
    }
    if (change.token.len > DGF_MONGO_TOKEN_MAX) {
        dgf_mongo_session_fail(session, DGF_RETRY, true, "a resume token of %zu bytes",
                               change.token.len);
        return false;
    }
    if (change.of > 1)
        return take_fragment(session, &change, document);
    return emit_whole(session, &change, document);
}
