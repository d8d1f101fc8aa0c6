/* source_postgres.h - what the files of the PostgreSQL source share.
 *
 *   source_postgres.c          options, open, pause, durable, close
 *   source_postgres_url.c      the address: what libpq is given, name lookup
 *   source_postgres_link.c     one asynchronous connection and its queries
 *   source_postgres_start.c    from open to START_REPLICATION
 *   source_postgres_stream.c   the replication stream: reading, acknowledging
 *   source_postgres_rows.c     messages to events
 *   source_postgres_catalog.c  relations and their columns
 *   source_postgres_types.c    types the server's users made
 *   source_postgres_tables.c   the publication's tables; inspection
 *   source_postgres_check.c    preflight of `dgf check`
 *   source_postgres_found.c    ... and the tables it hands to it
 *
 * Two connections: `wal` speaks the replication protocol, `control` is an
 * ordinary one for the catalogue and the slot's row.  Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_POSTGRES_H
#define DGF_CONNECTORS_SOURCE_POSTGRES_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "base/metrics.h"
#include "bus/source.h"
#include "pg_position.h"
#include "pg_value.h"
#include "pgoutput.h"

enum { DGF_PG_SLOT_CREATE, DGF_PG_SLOT_EXISTING };

struct dgf_pg_conf {
    char *url, *password;
    struct dgf_str_list tables;
    char *slot_name, *publication;
    int slot, start;
    bool manage, insecure;
    int64_t status_interval_ns, connect_timeout_ns, inspect_ns;
};

struct dgf_pg_source;

/* ---- the address ---- */

/* Parameters of a connection: owned texts, in the order of libpq's names. */
struct dgf_pg_params {
    char *keys[48], *values[48];
    size_t n;
};
void dgf_pg_params_release(struct dgf_pg_params *params);
/* Reads the address and lays our own settings over it.  hosts are not looked
 * up yet.  DGF_BAD_CONFIG; the text never shows the address. */
enum dgf_rc dgf_pg_params_make(const struct dgf_pg_conf *conf, bool replication,
                               struct dgf_pg_params *ret, struct dgf_err *err)
    DGF_MUST_USE;
const char *dgf_pg_params_get(const struct dgf_pg_params *params, const char *key);
/* Takes value; NULL is out of memory. */
enum dgf_rc dgf_pg_params_set(struct dgf_pg_params *params, const char *key,
                              char *take_value) DGF_MUST_USE;
/* Does any host have to be looked up? */
bool dgf_pg_params_has_names(const struct dgf_pg_params *params);
/* Looks the names up: host, hostaddr and port become lists of one address
 * each, host names stay for the certificate.  Blocks: worker thread. */
enum dgf_rc dgf_pg_params_resolve(struct dgf_pg_params *params, struct dgf_err *err)
    DGF_MUST_USE;

struct dgf_pg_lookup {
    struct dgf_job job;
    struct dgf_pg_source *source; /* NULL: closed meanwhile */
    struct dgf_pg_params params;
    struct dgf_err err;
    enum dgf_rc rc;
};

/* ---- one connection ---- */

typedef void dgf_pg_on_link(struct dgf_pg_source *self);
/* result is borrowed. */
typedef void dgf_pg_on_result(struct dgf_pg_source *self, PGresult *result);

enum dgf_pg_link_state {
    DGF_PG_LINK_CLOSED,
    DGF_PG_LINK_CONNECTING,
    DGF_PG_LINK_IDLE,
    DGF_PG_LINK_QUERY,
    DGF_PG_LINK_COPY,
};

struct dgf_pg_link {
    struct dgf_pg_source *source;
    const char *what; /* "connection", "replication connection" */
    PGconn *conn;
    enum dgf_pg_link_state state;
    struct event *read, *write, *deadline;
    dgf_pg_on_link *on_connected, *on_copy;
    dgf_pg_on_result *on_result;
    PGresult *result; /* of the running query, owned */
};

void dgf_pg_link_connect(struct dgf_pg_link *link, const struct dgf_pg_params *params,
                         dgf_pg_on_link *on_connected);
void dgf_pg_link_close(struct dgf_pg_link *link);
/* One statement; values may be NULL when n is 0.  The link must be idle. */
void dgf_pg_link_query(struct dgf_pg_link *link, const char *sql, int n,
                       const char *const *values, dgf_pg_on_result *on_result);
/* Sends what libpq still holds. */
void dgf_pg_link_flush(struct dgf_pg_link *link);
/* Ends the attempt; of several failures the first one counts. */
void dgf_pg_fail(struct dgf_pg_source *self, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
/* The same with the server's own words, made one line. */
void dgf_pg_link_fail(struct dgf_pg_link *link, enum dgf_rc rc, const char *what);
void dgf_pg_result_fail(struct dgf_pg_source *self, const PGresult *result,
                        enum dgf_rc rc, const char *what);
/* True: the result is rows or done; false: the attempt was ended. */
bool dgf_pg_result_good(struct dgf_pg_source *self, const PGresult *result,
                        const char *what);
bool dgf_pg_sqlstate_is(const PGresult *result, const char *sqlstate);
void dgf_pg_one_line(const char *text, char *to, size_t size);
/* What to add to libpq's text when the server has no TLS; "" otherwise. */
const char *dgf_pg_tls_hint(const char *text);

/* ---- the catalogue ---- */

struct dgf_pg_relation {
    uint32_t oid;
    uint8_t identity;                 /* d, n, f, i */
    bool wanted;                      /* tables: matches */
    struct dgf_object *object;        /* referenced */
    const struct dgf_pg_type **types; /* a column; owned list, borrowed types */
    uint32_t *type_oids;
    int32_t *typmods;
    bool *in_identity;
    uint32_t n;
};

struct dgf_pg_table { /* of the publication */
    uint32_t oid;
    char *text;
};

struct dgf_pg_catalog {
    struct dgf_map relations; /* oid (4 bytes) -> struct dgf_pg_relation */
    struct dgf_map types;     /* oid -> struct dgf_pg_user_type */
    struct dgf_pg_relation *last;
    struct dgf_pg_relation *pending; /* being asked for */
    struct dgf_column *columns;      /* of pending, texts owned */
};

void dgf_pg_catalog_init(struct dgf_pg_catalog *catalog);
void dgf_pg_catalog_release(struct dgf_pg_catalog *catalog);
/* An R message.  DGF_OK: known as it is; DGF_AGAIN: asked for, streaming goes
 * on with dgf_pg_stream_go_on; else the attempt was ended. */
enum dgf_rc dgf_pg_catalog_relation(struct dgf_pg_source *self,
                                    const struct dgf_pgoutput *message) DGF_MUST_USE;
/* The same for `dgf check`: asks on conn and waits for the answer. */
enum dgf_rc dgf_pg_catalog_read(struct dgf_pg_source *self, PGconn *conn,
                                const struct dgf_pgoutput *message, struct dgf_err *err)
    DGF_MUST_USE;
/* A Y message: forgets what is known when the oid has another name now. */
void dgf_pg_catalog_type(struct dgf_pg_source *self,
                         const struct dgf_pgoutput *message);
struct dgf_pg_relation *dgf_pg_catalog_find(struct dgf_pg_source *self, uint32_t oid);
bool dgf_pg_table_wanted(const struct dgf_pg_conf *conf, const char *text);
/* Is pattern "schema.table" with * inside a part and ** across parts. */
bool dgf_pg_glob(const char *pattern, const char *text);

bool dgf_pg_is_key(const struct dgf_pg_relation *relation, uint32_t i, bool primary);

/* ---- types that are not built in ---- */

extern const char dgf_pg_types_sql[]; /* one parameter: oids as an array literal */
/* The oids of relation's columns that are not built in; gives their number. */
unsigned dgf_pg_types_unknown(const struct dgf_pg_relation *relation,
                              struct dgf_buf *oids);
/* Keeps what dgf_pg_types_sql gave; a type it could not keep stays opaque. */
void dgf_pg_types_take(struct dgf_pg_source *self, PGresult *result);
/* NULL: not known. */
const struct dgf_pg_type *dgf_pg_type_of(struct dgf_pg_source *self, uint32_t oid);
void dgf_pg_type_free(void *ptr);

/* ---- the publication's tables ---- */

/* Asks for the publication's tables, then compares them with what source memory
 * holds: a table that went missing is a gap up to here, its return one from there
 * to here, and while any wanted table is missing the source is impaired. */
void dgf_pg_tables_ask(struct dgf_pg_source *self, dgf_pg_on_result *on_result);
enum dgf_rc dgf_pg_tables_compare(struct dgf_pg_source *self, PGresult *result)
    DGF_MUST_USE;
/* The publication's tables, and what changes without a word in the stream:
 * comments, and primary keys that are not the replica identity.  The stream
 * goes on meanwhile. */
void dgf_pg_inspect(struct dgf_pg_source *self);

/* ---- the source ---- */

struct dgf_pg_unconfirmed {
    uint64_t seq, lsn;
};

struct dgf_pg_actor {
    char *name, *app, *address; /* NULL: not said */
    bool set;
};

struct dgf_pg_source {
    struct dgf_source base; /* first: we cast from it */

    /* These outlive a session. */
    uint64_t version;     /* of the last object made */
    uint64_t durable_seq; /* last one told by the host */
    bool want_binary;     /* text form failed: ask for binary */
    uint64_t until_lsn;   /* read no transaction that ends behind it; 0: all */

    bool is_open, failed, paused, blocked, waiting, streaming, caught_up;
    bool at_end;                  /* until_lsn is reached: nothing more is read */
    struct dgf_pg_lookup *lookup; /* running; owns itself */
    struct dgf_pg_params params;  /* looked up */
    struct dgf_pg_link control, wal;
    struct event *tick, *retry, *slow, *again;
    char *slot, *publication;

    /* Facts of the start. */
    uint64_t options;              /* digest */
    struct dgf_pg_position stored; /* what open was given */
    bool has_stored;
    struct dgf_pg_server server;
    struct dgf_pg_plan plan;
    int version_num;
    uint32_t database_oid;
    char *database;
    uint64_t wait_seq; /* create the slot once this is durable; 0: not waiting */
    uint64_t start_lsn, created_lsn;
    uint64_t target_lsn;          /* what the server had when we opened */
    int64_t status_ns;            /* between two answers of ours */
    size_t n_tables;              /* published and wanted */
    struct dgf_pg_position asked; /* where we were when the tables were asked for */

    /* The stream. */
    struct dgf_pg_catalog catalog;
    struct dgf_pgoutput *message;
    struct dgf_event_builder builder;
    char *held; /* message that waits for the catalogue; PQfreemem */
    int held_len;
    struct dgf_pg_position position; /* of the last event */
    bool in_tx, ignore_tx;
    uint64_t commit_lsn, ordinal, skip_ordinal;
    uint32_t messages, skip_messages;
    int64_t commit_ns, seen_ns;
    char tx_text[16];
    size_t tx_len;
    struct dgf_id_prefix id_prefix;
    struct dgf_pg_actor actor;

    struct dgf_pg_unconfirmed *unconfirmed; /* ring */
    size_t first_unconfirmed, n_unconfirmed, cap_unconfirmed;
    uint64_t flush_lsn; /* confirmed to the server */
    uint64_t received_lsn, idle_lsn;
    uint64_t answer_seq; /* answer the server at once when durable */
    int64_t heard_ns, told_ns, progress_ns, inspected_ns;
    bool batching, is_tcp, grown;
    int lowat;
    struct dgf_metric *lag, *foreign;
};

/* SQL about pg_class c, n its schema: the tables a publication may have. */
#define DGF_PG_CANDIDATES_SQL                                           \
    " FROM pg_catalog.pg_class c"                                       \
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"         \
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"           \
    " AND c.relpersistence = 'p' AND n.nspname <> 'information_schema'" \
    " AND n.nspname !~ '^pg_'"
/* The statements that give c, or its partitions, a replica identity; NULL: it has one.
 * Without, the server refuses UPDATE and DELETE once such changes are published. */
#define DGF_PG_KEYLESS_FIX_SQL                                                         \
    " (SELECT string_agg(format('ALTER TABLE %I.%I REPLICA IDENTITY FULL;',"           \
    " ln.nspname, l.relname), ' ' ORDER BY l.oid) FROM (SELECT c.oid AS oid UNION"     \
    " SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)) o"                        \
    " JOIN pg_catalog.pg_class l ON l.oid = o.oid AND l.relkind = 'r'"                 \
    " JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace"                      \
    " WHERE l.relreplident <> 'f' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i" \
    " WHERE i.indrelid = l.oid AND CASE l.relreplident WHEN 'd' THEN i.indisprimary"   \
    " WHEN 'i' THEN i.indisreplident ELSE false END))"

#define DGF_PG_CONF(self) ((const struct dgf_pg_conf *)(self)->base.conf)

/* start */
void dgf_pg_start(struct dgf_pg_source *self);
void dgf_pg_start_slot_durable(struct dgf_pg_source *self);
char *dgf_pg_slot_name(const struct dgf_pg_conf *conf, const char *source_name);
/* "a""b" and the same inside a literal. */
void dgf_pg_quote(struct dgf_buf *buf, const char *name, char quote);

/* stream */
void dgf_pg_stream_begin(struct dgf_pg_source *self);
void dgf_pg_stream_read(struct dgf_pg_source *self);
/* The catalogue answered: the message that waited comes first. */
void dgf_pg_stream_go_on(struct dgf_pg_source *self);
void dgf_pg_stream_tick(struct dgf_pg_source *self);
void dgf_pg_stream_say(struct dgf_pg_source *self);
void dgf_pg_stream_tell(struct dgf_pg_source *self, bool ask_back);

/* rows */
/* One pgoutput message.  DGF_OK, DGF_AGAIN: waits for the catalogue, hand it in
 * again; else the attempt was ended. */
enum dgf_rc dgf_pg_rows_message(struct dgf_pg_source *self, struct dgf_bytes bytes)
    DGF_MUST_USE;
/* Emits an event; false: the attempt was ended.  Sets blocked. */
bool dgf_pg_emit(struct dgf_pg_source *self, struct dgf_event *take_event);
void dgf_pg_actor_clear(struct dgf_pg_actor *actor);
/* A position reached without an event. */
bool dgf_pg_emit_progress(struct dgf_pg_source *self, uint64_t end_lsn, bool no_slot);
bool dgf_pg_emit_gap(struct dgf_pg_source *self, enum dgf_gap reason,
                     const struct dgf_pg_position *from,
                     const struct dgf_pg_position *to, const char *message,
                     const char *const *detail, size_t n_pairs);
bool dgf_pg_emit_resume(struct dgf_pg_source *self, const struct dgf_pg_position *at);
/* False: out of memory. */
bool dgf_pg_note_unconfirmed(struct dgf_pg_source *self, uint64_t seq, uint64_t lsn);
struct dgf_pg_position dgf_pg_position_at(const struct dgf_pg_source *self,
                                          uint64_t end_lsn);

/* check */
enum dgf_rc dgf_pg_check(struct dgf_source *src, struct dgf_findings *findings,
                         struct dgf_err *err) DGF_MUST_USE;
/* Tells the host of every wanted table: of those published, or of all that could be
 * while there is no publication.  Blocks. */
enum dgf_rc dgf_pg_found(struct dgf_pg_source *self, PGconn *conn,
                         const char *publication, int version_num, bool published,
                         struct dgf_err *err) DGF_MUST_USE;

#endif
