/* source_mongo.h - what the files of the MongoDB source share.
 *
 *   source_mongo.c          options, open, pause, close: the loop's side
 *   source_mongo_session.c  what is between the loop and the thread: stop flag, queue
 *   source_mongo_link.c     the address, one client, commands, error texts
 *   source_mongo_stream.c   the thread's side: what takes part: source_mongo_stream.h
 *   source_mongo_emit.c     documents to events, positions, what was lost
 *   source_mongo_inspect.c  what the stream does not tell
 *   source_mongo_seen.c     what of it is an event
 *   source_mongo_check.c    preflight of `dgf check`
 *
 * libmongoc blocks and a client belongs to one thread: each session is a thread
 * that makes events and puts them into a bounded queue; an eventfd wakes the
 * loop, which emits them.  A session that hangs in a call is left to end by
 * itself, so it owns all it needs.  Thread: as each part says. */
#ifndef DGF_CONNECTORS_SOURCE_MONGO_H
#define DGF_CONNECTORS_SOURCE_MONGO_H

#include <event2/event.h>
#include <mongoc/mongoc.h>
#include <pthread.h>

#include "base/metrics.h"
#include "bus/source.h"
#include "mongo_event.h"
#include "mongo_position.h"

enum { DGF_MONGO_LOST_STOP, DGF_MONGO_LOST_FROM_NOW, DGF_MONGO_LOST_AT_TIME };
enum { DGF_MONGO_IMAGES_OFF, DGF_MONGO_IMAGES_AVAILABLE, DGF_MONGO_IMAGES_REQUIRED };

struct dgf_mongo_conf {
    char *url, *password;
    char *scope; /* "shop", "shop.orders", NULL: the deployment; see dgf_mongo_scope */
    struct dgf_str_list include, exclude;
    char *start; /* "now", "beginning" or a time */
    int full_document, before, on_lost;
    int64_t batch_size;
    int64_t await_ns, connect_timeout_ns, answer_timeout_ns, inspect_ns;
    bool insecure, expanded_events;
};

#define DGF_MONGO_DATABASE_MAX 64
/* The two parts of scope: database gets its name, "" for the deployment; the
 * collection is NULL for a whole database, else a part of conf->scope. */
const char *dgf_mongo_scope(const struct dgf_mongo_conf *conf,
                            char database[DGF_MONGO_DATABASE_MAX]);

/* ---- the address ---- */

/* Reads the address and lays our own settings over it; NULL with err.
 * DGF_BAD_CONFIG texts never show the address. */
mongoc_uri_t *dgf_mongo_uri_make(const struct dgf_mongo_conf *conf,
                                 struct dgf_err *err);

/* One client and what is known of its server.  Thread: its owner's. */
struct dgf_mongo_link {
    mongoc_client_t *client;
    mongoc_client_session_t *session; /* NULL: the server knows none */
    uint32_t server;                  /* id of the one that was selected */
    char where[300];                  /* host:port of the address, for texts */
    char user[128];                   /* for texts */
    int64_t connect_s, answer_s;

    /* The last failure. */
    bson_error_t error;
    bool resumable_label, is_server_error;

    /* Facts. */
    char set[128]; /* replica set, "mongos" of a sharded cluster */
    int version;   /* 8 * 100 + 2 for 8.2 */
    int patch;
    bool sharded;
    uint64_t operation_time; /* of the last answer; 0: it had none */
    uint8_t system[12];      /* replica set id; zeros: may not be asked */
};

/* Blocks.  DGF_RETRY or DGF_BAD_CONFIG with a text of our own. */
enum dgf_rc dgf_mongo_link_open(struct dgf_mongo_link *link, const mongoc_uri_t *uri,
                                const struct dgf_mongo_conf *conf, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_mongo_link_close(struct dgf_mongo_link *link);
/* Runs a command; reply is initialised in any case. */
bool dgf_mongo_link_command(struct dgf_mongo_link *link, const char *database,
                            const bson_t *command, bson_t *reply);
/* The last failure as text and code; what: "cannot open the change stream". */
enum dgf_rc dgf_mongo_link_error(struct dgf_mongo_link *link, const char *what,
                                 struct dgf_err *err);
struct dgf_bytes dgf_mongo_bytes(const bson_t *bson);
/* First entry of the oplog as cluster time; 0: may not be asked. */
uint64_t dgf_mongo_link_oplog_start(struct dgf_mongo_link *link);
/* What the server calls now, as cluster time; of our own clock when it never told. */
uint64_t dgf_mongo_link_now(const struct dgf_mongo_link *link);

/* ---- a session ---- */

enum dgf_mongo_item_kind {
    DGF_MONGO_ITEM_EVENT,
    DGF_MONGO_ITEM_STATE,
    DGF_MONGO_ITEM_FAIL,
    DGF_MONGO_ITEM_CAUGHT_UP,
    DGF_MONGO_ITEM_MEMORY, /* text: what inspection has seen */
    DGF_MONGO_ITEM_LOST,   /* a restart after a lost position */
};

struct dgf_mongo_item {
    struct dgf_mongo_item *next;
    enum dgf_mongo_item_kind kind;
    struct dgf_event *event;
    enum dgf_rc rc;
    bool poison;
    enum dgf_source_state state;
    size_t len;
    char text[];
};

struct dgf_mongo_session {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* Under lock. */
    unsigned refs;
    bool stop, ended;
    struct dgf_mongo_item *first, **end;
    size_t n_bytes;

    int fd; /* eventfd: something is queued */

    /* The thread's own. */
    struct dgf_mongo_conf own; /* outlives the configuration; without its secrets */
    const struct dgf_mongo_conf *conf; /* own */
    mongoc_uri_t *uri;
    struct dgf_mongo_link link;
    char *database, *collection;
    size_t max_event_bytes;
    struct dgf_event_builder builder;
    struct dgf_map objects; /* "db\0coll" -> struct dgf_object * */
    struct dgf_map seen;    /* what inspection saw last; source_mongo_seen.c */
    uint64_t n_looks;       /* that found something new, ever */

    struct dgf_mongo_shape shape;         /* of the stream, by our options */
    struct dgf_mongo_position position;   /* where we are; token in `token` */
    struct dgf_buf token, scratch, parts; /* parts: fragments of a split event */
    bool has_position, by_time; /* by_time: what is not later than floor was read */
    unsigned n_lost, n_poison;  /* restarts and failures without progress before */

    int64_t cursor;
    char cursor_collection[256];
    uint64_t target_time;
    int64_t seen_ns, progress_ns, oplog_ns, inspected_ns;
    bool caught_up, progressed, degraded, split, invalidated, said_window;
    unsigned n_fast, n_closed, n_parts;
    uint32_t idle_token; /* checksum of the token of the last empty batch */
    int64_t last_commit_ns;
    struct dgf_metric *window, *lag;
};

/* The thread.  Its argument is a reference to the session. */
void *dgf_mongo_session_run(void *session);
void dgf_mongo_session_unref(struct dgf_mongo_session *session);
bool dgf_mongo_session_stopping(struct dgf_mongo_session *session);
/* Waits until stopped or the time is over. */
void dgf_mongo_session_sleep(struct dgf_mongo_session *session, int64_t ns);
/* Queues; waits while the queue is full.  False: stopping, or out of memory. */
bool dgf_mongo_session_put(struct dgf_mongo_session *session,
                           enum dgf_mongo_item_kind kind, struct dgf_event *take_event,
                           enum dgf_rc rc, enum dgf_source_state state, bool poison,
                           const char *text);
/* For the next process: what inspection has seen. */
bool dgf_mongo_session_put_memory(struct dgf_mongo_session *session,
                                  struct dgf_bytes memory);
void dgf_mongo_session_fail(struct dgf_mongo_session *session, enum dgf_rc rc,
                            bool poison, const char *fmt, ...) DGF_PRINTF(4, 5);

/* ---- events; thread: the session's ---- */

/* One document of a batch.  False: ended. */
bool dgf_mongo_emit_document(struct dgf_mongo_session *session,
                             struct dgf_bytes document);
/* Nothing came: an open transaction has ended, and token is where we are. */
bool dgf_mongo_emit_idle(struct dgf_mongo_session *session, struct dgf_bytes token,
                         uint64_t time, bool due);
/* why: NULL, or what is another one; it stands behind "covered since ...". */
bool dgf_mongo_emit_resume(struct dgf_mongo_session *session, const char *why);
bool dgf_mongo_emit_progress(struct dgf_mongo_session *session);
/* From what is stored to `to`, which becomes the position. */
bool dgf_mongo_emit_gap(struct dgf_mongo_session *session, enum dgf_gap reason,
                        const struct dgf_mongo_position *to, const char *message);
void dgf_mongo_set_position(struct dgf_mongo_session *session,
                            const struct dgf_mongo_position *position);

/* Is a collection one that is judged? */
bool dgf_mongo_name_wanted(const struct dgf_mongo_conf *conf, struct dgf_bytes name);
/* One look at everything; events for what is new or another one.  False: ended. */
bool dgf_mongo_inspect(struct dgf_mongo_session *session);
/* Thread: loop, before the session's begins.  False: out of memory. */
bool dgf_mongo_seen_read(struct dgf_mongo_session *session, struct dgf_bytes memory);

/* ---- the source; thread: loop ---- */

struct dgf_mongo_source {
    struct dgf_source base; /* first: we cast from it */
    struct dgf_mongo_session *session;
    struct event *readable, *again;
    bool paused, blocked, failed, progressed;
    unsigned n_lost, n_poison; /* these outlive a session */
};

enum dgf_rc dgf_mongo_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err) DGF_MUST_USE;

#endif
