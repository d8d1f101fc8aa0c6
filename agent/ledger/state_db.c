#include "ledger/state_db.h"

#include <sqlite3.h>
#include <sys/stat.h>

#include "base/mem.h"

#define BUSY_MS 1000 /* the other connection only reads one row at a time */

struct dgf_state_db {
    sqlite3 *sqlite;
    sqlite3_stmt *put, *remove, *mark, *get, *from;
    uint64_t batch;
    char path[];
};

DGF_CLEANUP_OF(struct dgf_state_db *, dgf_state_db_free)

/* What SQLite says, as our code and text; ends an open transaction. */
static enum dgf_rc fail(struct dgf_state_db *db, const char *what, struct dgf_err *err)
{
    int code = sqlite3_extended_errcode(db->sqlite);
    enum dgf_rc rc = DGF_FATAL;

    /* The texts of a statement that fails are gone after the rollback. */
    if (code == SQLITE_FULL || code == SQLITE_IOERR_SHMSIZE ||
        (code & 0xff) == SQLITE_BUSY)
        rc = DGF_AGAIN;
    else if ((code & 0xff) == SQLITE_NOMEM)
        rc = DGF_NOMEM;
    rc = dgf_err_set(err, rc, "cannot %s '%s': %s", what, db->path,
                     sqlite3_errmsg(db->sqlite));
    if (!sqlite3_get_autocommit(db->sqlite))
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static bool run(struct dgf_state_db *db, const char *sql)
{
    return sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool prepare(struct dgf_state_db *db, const char *sql, sqlite3_stmt **ret)
{
    return sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, ret,
                              NULL) == SQLITE_OK;
}

static bool bind(sqlite3_stmt *stmt, int at, struct dgf_bytes bytes)
{
    /* A NULL pointer would bind NULL instead of an empty blob. */
    return sqlite3_bind_blob64(stmt, at, bytes.len ? (const void *)bytes.ptr : "",
                               bytes.len, SQLITE_STATIC) == SQLITE_OK;
}

static struct dgf_bytes column(sqlite3_stmt *stmt, int at)
{
    const void *ptr = sqlite3_column_blob(stmt, at);

    return dgf_bytes_of(ptr, (size_t)sqlite3_column_bytes(stmt, at));
}

void dgf_state_db_free(struct dgf_state_db *db)
{
    if (!db)
        return;
    sqlite3_finalize(db->put);
    sqlite3_finalize(db->remove);
    sqlite3_finalize(db->mark);
    sqlite3_finalize(db->get);
    sqlite3_finalize(db->from);
    sqlite3_close(db->sqlite);
    dgf_free(db);
}

void dgf_state_db_abandon(struct dgf_state_db *db)
{
    if (db)
        sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

static enum dgf_rc connect(const char *path, int flags, struct dgf_state_db **ret,
                           struct dgf_err *err)
{
    DGF_CLEANUP(dgf_state_db_free) struct dgf_state_db *db = NULL;
    size_t len = strlen(path) + 1;

    db = dgf_calloc(1, sizeof(*db) + len);
    if (!db)
        return dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory", path);
    memcpy(db->path, path, len);
    if (sqlite3_open_v2(path, &db->sqlite, flags | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK)
        return fail(db, "open", err);
    /* Before its companions are made, which take its mode; SQLite says 0644. */
    if (flags & SQLITE_OPEN_CREATE)
        (void)chmod(path, 0600);
    sqlite3_extended_result_codes(db->sqlite, 1);
    sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    if (!run(db, "PRAGMA journal_mode=WAL") || !run(db, "PRAGMA synchronous=NORMAL") ||
        !run(db, "PRAGMA cache_size=-1024") ||
        !run(db, "PRAGMA journal_size_limit=8388608"))
        return fail(db, "open", err);
    *ret = dgf_steal(db);
    return DGF_OK;
}

static enum dgf_rc make_tables(struct dgf_state_db *db, const uint8_t *log_id,
                               struct dgf_err *err)
{
    sqlite3_stmt *stmt = NULL;
    bool done;

    if (!run(db, "BEGIN IMMEDIATE") ||
        !run(db, "CREATE TABLE IF NOT EXISTS mark(id INTEGER PRIMARY KEY CHECK(id=1),"
                 " log_id BLOB NOT NULL, batch INTEGER NOT NULL)") ||
        !run(db, "CREATE TABLE IF NOT EXISTS state(key BLOB PRIMARY KEY,"
                 " value BLOB NOT NULL) WITHOUT ROWID"))
        return fail(db, "make", err);
    done = prepare(db, "INSERT OR IGNORE INTO mark VALUES(1, ?1, 0)", &stmt) &&
           bind(stmt, 1, dgf_bytes_of(log_id, DGF_LOG_ID_LEN)) &&
           sqlite3_step(stmt) == SQLITE_DONE;
    sqlite3_finalize(stmt);
    if (!done || !run(db, "COMMIT"))
        return fail(db, "make", err);
    return DGF_OK;
}

static enum dgf_rc read_mark(struct dgf_state_db *db, const uint8_t *log_id,
                             struct dgf_err *err)
{
    sqlite3_stmt *stmt = NULL;
    enum dgf_rc rc = DGF_OK;

    if (!prepare(db, "SELECT log_id, batch FROM mark WHERE id=1", &stmt) ||
        sqlite3_step(stmt) != SQLITE_ROW)
        rc = fail(db, "read", err);
    else if (!dgf_bytes_eq(column(stmt, 0), dgf_bytes_of(log_id, DGF_LOG_ID_LEN)))
        rc = dgf_err_set(err, DGF_FATAL, "state of another log is in '%s'", db->path);
    else
        db->batch = (uint64_t)sqlite3_column_int64(stmt, 1);
    sqlite3_finalize(stmt);
    return rc;
}

enum dgf_rc dgf_state_db_open(const char *path, const uint8_t log_id[DGF_LOG_ID_LEN],
                              struct dgf_state_db **ret, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_state_db_free) struct dgf_state_db *db = NULL;
    enum dgf_rc rc =
        connect(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);

    if (!rc)
        rc = make_tables(db, log_id, err);
    if (!rc)
        rc = read_mark(db, log_id, err);
    if (rc)
        return rc;
    if (!prepare(db,
                 "INSERT INTO state VALUES(?1, ?2)"
                 " ON CONFLICT(key) DO UPDATE SET value=excluded.value",
                 &db->put) ||
        !prepare(db, "DELETE FROM state WHERE key=?1", &db->remove) ||
        !prepare(db, "UPDATE mark SET batch=?1", &db->mark))
        return fail(db, "open", err);
    *ret = dgf_steal(db);
    return DGF_OK;
}

enum dgf_rc dgf_state_db_open_reader(const char *path, struct dgf_state_db **ret,
                                     struct dgf_err *err)
{
    DGF_CLEANUP(dgf_state_db_free) struct dgf_state_db *db = NULL;
    enum dgf_rc rc = connect(path, SQLITE_OPEN_READWRITE, &db, err);

    if (rc)
        return rc;
    if (!prepare(db, "SELECT value FROM state WHERE key=?1", &db->get) ||
        !prepare(db, "SELECT key, value FROM state WHERE key>=?1 ORDER BY key",
                 &db->from))
        return fail(db, "open", err);
    *ret = dgf_steal(db);
    return DGF_OK;
}

uint64_t dgf_state_db_batch(const struct dgf_state_db *db)
{
    return db->batch;
}

enum dgf_rc dgf_state_db_begin(struct dgf_state_db *db, struct dgf_err *err)
{
    return run(db, "BEGIN IMMEDIATE") ? DGF_OK : fail(db, "write", err);
}

enum dgf_rc dgf_state_db_change(struct dgf_state_db *db,
                                const struct dgf_change *change, struct dgf_err *err)
{
    sqlite3_stmt *stmt = change->op == DGF_STATE_PUT ? db->put : db->remove;
    bool done = bind(stmt, 1, change->key) &&
                (change->op != DGF_STATE_PUT || bind(stmt, 2, change->value)) &&
                sqlite3_step(stmt) == SQLITE_DONE;
    enum dgf_rc rc = done ? DGF_OK : fail(db, "write", err);

    sqlite3_reset(stmt);
    return rc;
}

enum dgf_rc dgf_state_db_commit(struct dgf_state_db *db, uint64_t batch,
                                struct dgf_err *err)
{
    bool done = sqlite3_bind_int64(db->mark, 1, (sqlite3_int64)batch) == SQLITE_OK &&
                sqlite3_step(db->mark) == SQLITE_DONE;
    enum dgf_rc rc = done ? DGF_OK : fail(db, "write", err);

    sqlite3_reset(db->mark);
    if (rc)
        return rc;
    if (!run(db, "COMMIT"))
        return fail(db, "write", err);
    db->batch = batch;
    return DGF_OK;
}

enum dgf_rc dgf_state_db_checkpoint(struct dgf_state_db *db, struct dgf_err *err)
{
    if (sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                  NULL) != SQLITE_OK)
        return fail(db, "sync", err);
    return DGF_OK;
}

enum dgf_rc dgf_state_db_get(struct dgf_state_db *db, struct dgf_bytes key,
                             struct dgf_buf *to, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_AGAIN;
    int code = SQLITE_ERROR;

    if (bind(db->get, 1, key))
        code = sqlite3_step(db->get);
    if (code == SQLITE_ROW) {
        dgf_buf_add_bytes(to, column(db->get, 0));
        rc = dgf_buf_rc(to);
        if (rc)
            rc = dgf_err_set(err, rc, "cannot read '%s': out of memory", db->path);
    } else if (code != SQLITE_DONE) {
        rc = fail(db, "read", err);
        if (rc == DGF_AGAIN) /* busy for a second: not the same as "no such key" */
            rc = dgf_err_set(err, DGF_FATAL, "cannot read '%s': busy", db->path);
    }
    sqlite3_reset(db->get);
    return rc;
}

enum dgf_rc dgf_state_db_each(struct dgf_state_db *db, struct dgf_bytes prefix,
                              enum dgf_rc (*visit)(void *ctx, struct dgf_bytes key,
                                                   struct dgf_bytes value),
                              void *ctx, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;
    int code = SQLITE_ERROR;

    if (bind(db->from, 1, prefix))
        code = sqlite3_step(db->from);
    for (; code == SQLITE_ROW; code = sqlite3_step(db->from)) {
        struct dgf_bytes key = column(db->from, 0);

        if (key.len < prefix.len ||
            !dgf_bytes_eq(dgf_bytes_of(key.ptr, prefix.len), prefix))
            break;
        rc = visit(ctx, key, column(db->from, 1));
        if (rc)
            break;
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        rc = fail(db, "read", err);
    sqlite3_reset(db->from);
    return rc;
}
