#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "source_postgres.h"

/* `dgf check`: looks at everything a start needs, changes nothing, and says
 * with which SQL an administrator mends what is missing.  May block. */
struct check {
    const struct dgf_pg_conf *conf;
    struct dgf_source *src;
    struct dgf_findings *findings;
    PGconn *conn;
    char *slot;
    char user[128], database[128];
    int version;
    bool superuser;
};

#define ADD(check, ...) dgf_source_finding((check)->src, (check)->findings, __VA_ARGS__)

/* NULL after adding a finding. */
static PGresult *ask(struct check *check, const char *sql, int n,
                     const char *const *values)
{
    PGresult *result = PQexecParams(check->conn, sql, n, NULL, values, NULL, NULL, 0);
    char text[512];

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    dgf_pg_one_line(PQresultErrorMessage(result), text, sizeof(text));
    ADD(check, DGF_FINDING_ERROR, "E0602", "cannot look at the server: %s", text);
    PQclear(result);
    return NULL;
}

static bool is_true(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

/* The server's own integers; 0 when it is none. */
static int64_t number(const PGresult *result, int column)
{
    int64_t value = 0;

    (void)dgf_parse_i64(dgf_bytes_str(PQgetvalue(result, 0, column)), &value);
    return value;
}

static const char *quoted(struct dgf_buf *buf, const char *name)
{
    dgf_buf_init(buf, 1024);
    dgf_pg_quote(buf, name, '"');
    return dgf_buf_str(buf);
}

static void say_no_replication(struct check *check)
{
    struct dgf_buf name;

    ADD(check, DGF_FINDING_ERROR, "E0603",
        "role '%s' may not use replication slots (REPLICATION is missing)",
        check->user);
    (void)quoted(&name, check->user);
    dgf_findings_fix(
        check->findings,
        "ALTER ROLE %s REPLICATION; -- Amazon RDS: GRANT rds_replication TO %s;",
        dgf_buf_str(&name), dgf_buf_str(&name));
    dgf_buf_release(&name);
}

static void check_server(struct check *check)
{
    PGresult *result = ask(
        check,
        "SELECT current_setting('server_version_num'), current_setting('wal_level'),"
        " current_setting('max_wal_senders')::int,"
        " current_setting('max_replication_slots')::int,"
        " (SELECT count(*) FROM pg_catalog.pg_replication_slots),"
        " pg_is_in_recovery(), current_setting('max_slot_wal_keep_size'),"
        " current_user, current_database(), r.rolsuper, r.rolreplication,"
        " coalesce(current_setting('idle_replication_slot_timeout', true), '0')"
        " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
        0, NULL);

    if (!result)
        return;
    if (PQntuples(result) != 1) {
        PQclear(result);
        return;
    }
    check->version = (int)number(result, 0);
    (void)snprintf(check->user, sizeof(check->user), "%s", PQgetvalue(result, 0, 7));
    (void)snprintf(check->database, sizeof(check->database), "%s",
                   PQgetvalue(result, 0, 8));
    check->superuser = is_true(result, 0, 9);
    if (check->version < 140000)
        ADD(check, DGF_FINDING_ERROR, "E0603",
            "PostgreSQL 14 or newer is needed; this is %d", check->version / 10000);
    if (strcmp(PQgetvalue(result, 0, 1), "logical") != 0) {
        ADD(check, DGF_FINDING_ERROR, "E0603",
            "wal_level is '%s': the server writes too little to decode changes",
            PQgetvalue(result, 0, 1));
        dgf_findings_fix(
            check->findings,
            "ALTER SYSTEM SET wal_level = logical; -- then restart the server");
    }
    if (number(result, 2) == 0) {
        ADD(check, DGF_FINDING_ERROR, "E0603",
            "max_wal_senders is 0: nobody can stream changes");
        dgf_findings_fix(
            check->findings,
            "ALTER SYSTEM SET max_wal_senders = 10; -- then restart the server");
    }
    if (is_true(result, 0, 5) && check->version < 160000)
        ADD(check, DGF_FINDING_ERROR, "E0603",
            "the server is a standby: it cannot decode changes; use the primary");
    if (strcmp(PQgetvalue(result, 0, 6), "-1") == 0) {
        ADD(check, DGF_FINDING_WARNING, "W0601",
            "max_slot_wal_keep_size is not limited: while dgf is stopped, WAL may fill the disk");
        dgf_findings_fix(check->findings,
                         "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; "
                         "SELECT pg_reload_conf();");
    }
    /* PostgreSQL 18 and later. */
    if (strcmp(PQgetvalue(result, 0, 11), "0") != 0)
        ADD(check, DGF_FINDING_WARNING, "W0601",
            "idle_replication_slot_timeout is %s: a slot nobody reads for so long is lost",
            PQgetvalue(result, 0, 11));
    if (!check->superuser && !is_true(result, 0, 10))
        say_no_replication(check);
    PQclear(result);
}

static void check_slot(struct check *check)
{
    const char *values[] = {check->slot};
    PGresult *result = ask(check,
                           "SELECT plugin, slot_type, database, active_pid, wal_status"
                           " FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                           1, values);
    PGresult *limits;

    if (!result)
        return;
    if (PQntuples(result) > 0) {
        if (strcmp(PQgetvalue(result, 0, 1), "logical") != 0 ||
            strcmp(PQgetvalue(result, 0, 0), "pgoutput") != 0 ||
            strcmp(PQgetvalue(result, 0, 2), check->database) != 0) {
            ADD(check, DGF_FINDING_ERROR, "E0604",
                "slot '%s' is not a logical slot of pgoutput in database '%s'; use another "
                "slot_name",
                check->slot, check->database);
        } else if (strcmp(PQgetvalue(result, 0, 4), "lost") == 0) {
            ADD(check, DGF_FINDING_ERROR, "E0604",
                "slot '%s' is lost: the server removed WAL it needs", check->slot);
            dgf_findings_fix(check->findings, "SELECT pg_drop_replication_slot('%s');",
                             check->slot);
        } else if (!PQgetisnull(result, 0, 3)) {
            ADD(check, DGF_FINDING_NOTE, "E0604", "slot '%s' is in use by pid %s",
                check->slot, PQgetvalue(result, 0, 3));
        }
        PQclear(result);
        return;
    }
    PQclear(result);
    if (check->conf->slot == DGF_PG_SLOT_EXISTING) {
        ADD(check, DGF_FINDING_ERROR, "E0604", "slot '%s' does not exist", check->slot);
        dgf_findings_fix(check->findings,
                         "SELECT pg_create_logical_replication_slot('%s', 'pgoutput');",
                         check->slot);
        return;
    }
    limits = ask(check,
                 "SELECT count(*), current_setting('max_replication_slots')::int"
                 " FROM pg_catalog.pg_replication_slots",
                 0, NULL);
    if (limits && number(limits, 0) >= number(limits, 1)) {
        ADD(check, DGF_FINDING_ERROR, "E0604", "all %s replication slots are in use",
            PQgetvalue(limits, 0, 1));
        dgf_findings_fix(
            check->findings,
            "ALTER SYSTEM SET max_replication_slots = %d; -- then restart the server",
            (int)number(limits, 1) + 4);
    }
    PQclear(limits);
}

/* A publication breaks the application's UPDATE and DELETE of such a table: it gets
 * a replica identity before the publication is made, or stays out of it. */
static void check_keyless(struct check *check)
{
    const struct dgf_pg_conf *conf = check->conf;
    bool left_out = conf->manage && conf->tables.n;
    PGresult *result =
        ask(check,
            "SELECT * FROM (SELECT n.nspname, c.relname," DGF_PG_KEYLESS_FIX_SQL
            " AS fix" DGF_PG_CANDIDATES_SQL ") t WHERE fix IS NOT NULL ORDER BY 1, 2",
            0, NULL);
    struct dgf_buf text;

    if (!result)
        return;
    dgf_buf_init(&text, 4096);
    for (int row = 0; row < PQntuples(result); row++) {
        dgf_buf_clear(&text);
        dgf_object_name(&text, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!dgf_pg_table_wanted(conf, dgf_buf_str(&text)))
            continue;
        if (left_out)
            ADD(check, DGF_FINDING_WARNING, "E0606",
                "table '%s' has no replica identity: manage: true leaves it out of the "
                "publication, its changes are not judged",
                dgf_buf_str(&text));
        else
            ADD(check, DGF_FINDING_ERROR, "E0606",
                "table '%s' has no replica identity: once it is published, the server "
                "refuses the application's UPDATE and DELETE on it",
                dgf_buf_str(&text));
        dgf_findings_fix(check->findings, "%s", PQgetvalue(result, row, 2));
    }
    dgf_buf_release(&text);
    PQclear(result);
}

/* The SQL that makes the publication. */
static void publication_fix(struct check *check)
{
    PGresult *result =
        ask(check,
            "SELECT n.nspname, c.relname, quote_ident(n.nspname) || '.' ||"
            " quote_ident(c.relname)" DGF_PG_CANDIDATES_SQL " ORDER BY 1, 2",
            0, NULL);
    struct dgf_buf tables, text, name;

    if (!result)
        return;
    dgf_buf_init(&tables, 64 << 10);
    dgf_buf_init(&text, 4096);
    for (int row = 0; row < PQntuples(result) && check->conf->tables.n; row++) {
        dgf_buf_clear(&text);
        dgf_object_name(&text, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!dgf_pg_table_wanted(check->conf, dgf_buf_str(&text)))
            continue;
        if (tables.len)
            dgf_buf_add_str(&tables, ", ");
        dgf_buf_add_str(&tables, PQgetvalue(result, row, 2));
    }
    dgf_findings_fix(
        check->findings,
        "CREATE PUBLICATION %s FOR %s%s WITH (publish_via_partition_root = true);",
        quoted(&name, check->conf->publication), tables.len ? "TABLE " : "ALL TABLES",
        tables.len && !dgf_buf_rc(&tables) ? dgf_buf_str(&tables)
        : tables.len                       ? "..."
                                           : "");
    dgf_buf_release(&name);
    dgf_buf_release(&tables);
    dgf_buf_release(&text);
    PQclear(result);
}

/* One published table: can its updates and deletes be judged? */
static void check_table(struct check *check, const PGresult *result, int row,
                        const char *text)
{
    const char *identity = PQgetvalue(result, row, 2);
    bool changes = is_true(result, row, 4);
    const char *quoted = PQgetvalue(result, row, 5);

    if (changes && !PQgetisnull(result, row, 3)) {
        ADD(check, DGF_FINDING_ERROR, "E0606",
            "table '%s' is published but has no replica identity: the server refuses the "
            "application's UPDATE and DELETE on it",
            text);
        dgf_findings_fix(check->findings, "%s", PQgetvalue(result, row, 3));
    } else if (changes && *identity != 'f') {
        ADD(check, DGF_FINDING_NOTE, "W0603",
            "table '%s' gives only the key of old rows: policies on `before` and on large "
            "unchanged values stay unknown",
            text);
        dgf_findings_fix(check->findings, "ALTER TABLE %s REPLICA IDENTITY FULL;",
                         quoted);
    }
    if (!PQgetisnull(result, row, 6))
        ADD(check, DGF_FINDING_WARNING, "W0602",
            "table '%s' has a row filter in publication '%s': rows outside it are not judged",
            text, check->conf->publication);
    if (is_true(result, row, 7))
        ADD(check, DGF_FINDING_WARNING, "W0602",
            "table '%s' has a column list in publication '%s': other columns are not judged",
            text, check->conf->publication);
}

static void check_tables(struct check *check)
{
    const char *values[] = {check->conf->publication};
    bool filters = check->version >= 150000;
    char sql[4096];
    struct dgf_buf text;
    PGresult *result;
    int n = 0;

    (void)snprintf(
        sql, sizeof(sql),
        "SELECT t.schemaname, t.tablename, c.relreplident, %s, p.pubupdate OR p.pubdelete,"
        " quote_ident(t.schemaname) || '.' || quote_ident(t.tablename), %s, %s"
        " FROM pg_catalog.pg_publication_tables t"
        " JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname"
        " JOIN pg_catalog.pg_namespace s ON s.nspname = t.schemaname"
        " JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relname = t.tablename"
        " WHERE t.pubname = $1 ORDER BY 1, 2",
        DGF_PG_KEYLESS_FIX_SQL, filters ? "t.rowfilter" : "NULL",
        filters
            ? "array_length(t.attnames, 1) < (SELECT count(*) FROM pg_catalog.pg_attribute a"
              " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
              " AND a.attgenerated = '')"
            : "false");
    result = ask(check, sql, 1, values);
    if (!result)
        return;
    dgf_buf_init(&text, 4096);
    for (int row = 0; row < PQntuples(result); row++) {
        dgf_buf_clear(&text);
        dgf_object_name(&text, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!dgf_pg_table_wanted(check->conf, dgf_buf_str(&text)))
            continue;
        check_table(check, result, row, dgf_buf_str(&text));
        n++;
    }
    if (n == 0)
        ADD(check, DGF_FINDING_WARNING, "E0605",
            "publication '%s' has no table that 'tables' matches: nothing will be judged",
            check->conf->publication);
    dgf_buf_release(&text);
    PQclear(result);
}

/* CREATE PUBLICATION asks for the right to create and for every table's owner.
 * Least privilege: an administrator makes it once. */
static void check_manage(struct check *check)
{
    PGresult *result = ask(
        check,
        "SELECT n.nspname, c.relname,"
        " has_database_privilege(current_database(), 'CREATE')" DGF_PG_CANDIDATES_SQL
        " AND NOT (pg_has_role(c.relowner, 'USAGE')"
        " AND has_database_privilege(current_database(), 'CREATE')) ORDER BY 1, 2",
        0, NULL);
    struct dgf_buf text;
    int n = 0;

    if (!result)
        return;
    dgf_buf_init(&text, 4096);
    for (int row = 0; row < PQntuples(result); row++) {
        dgf_buf_clear(&text);
        dgf_object_name(&text, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!dgf_pg_table_wanted(check->conf, dgf_buf_str(&text)))
            continue;
        if (n++ == 0 && !is_true(result, row, 2))
            ADD(check, DGF_FINDING_ERROR, "E0603",
                "manage: true needs the right to create in database '%s'",
                check->database);
        ADD(check, DGF_FINDING_ERROR, "E0603",
            "manage: true needs role '%s' to own table '%s'", check->user,
            dgf_buf_str(&text));
    }
    if (n)
        publication_fix(check);
    dgf_buf_release(&text);
    PQclear(result);
}

/* Gives whether there is one. */
static bool check_publication(struct check *check)
{
    const char *values[] = {check->conf->publication};
    PGresult *result = ask(check,
                           "SELECT pubinsert, pubupdate, pubdelete, pubtruncate"
                           " FROM pg_catalog.pg_publication WHERE pubname = $1",
                           1, values);
    static const char *const ops[] = {"insert", "update", "delete", "truncate"};
    struct dgf_buf name;
    bool there;

    if (!result)
        return false;
    if (PQntuples(result) == 0)
        check_keyless(check);
    if (PQntuples(result) == 0 && !check->conf->manage) {
        ADD(check, DGF_FINDING_ERROR, "E0605",
            "publication '%s' does not exist; it must be older than the slot",
            check->conf->publication);
        publication_fix(check);
    } else if (PQntuples(result) == 0) {
        if (!check->conf->tables.n && !check->superuser) {
            ADD(check, DGF_FINDING_ERROR, "E0605",
                "manage: true without tables needs a superuser (FOR ALL TABLES); name the tables, "
                "or let an administrator make the publication");
            publication_fix(check);
        } else {
            ADD(check, DGF_FINDING_NOTE, "E0605",
                "publication '%s' will be created at the start",
                check->conf->publication);
            check_manage(check);
        }
    }
    for (int i = 0; PQntuples(result) > 0 && i < 4; i++)
        if (!is_true(result, 0, i)) {
            ADD(check, DGF_FINDING_WARNING, "W0602",
                "publication '%s' does not publish %s: such changes are not judged",
                check->conf->publication, ops[i]);
            dgf_findings_fix(
                check->findings,
                "ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');",
                quoted(&name, check->conf->publication));
            dgf_buf_release(&name);
        }
    there = PQntuples(result) > 0;
    if (there)
        check_tables(check);
    PQclear(result);
    return there;
}

static void find_tables(struct check *check, bool published)
{
    struct dgf_pg_source *self = (struct dgf_pg_source *)check->src;
    struct dgf_err err = {0};

    dgf_pg_catalog_init(&self->catalog);
    self->database = check->database;
    if (dgf_pg_found(self, check->conn, check->conf->publication, check->version,
                     published, &err))
        ADD(check, DGF_FINDING_ERROR, "E0602", "cannot look at the server: %s",
            err.text);
    self->database = NULL;
    dgf_pg_catalog_release(&self->catalog);
}

/* The replication protocol asks for pg_hba.conf, REPLICATION and a free walsender
 * once more. */
static void check_replication(struct check *check, struct dgf_pg_params *params)
{
    const char *keys[DGF_ARRAY_LEN(params->keys) + 2],
        *values[DGF_ARRAY_LEN(params->keys) + 2];
    size_t n = 0;
    PGconn *conn;
    PGresult *result;
    char text[512];

    for (; n < params->n; n++) {
        keys[n] = params->keys[n];
        values[n] = params->values[n];
    }
    keys[n] = "replication";
    values[n++] = "database";
    keys[n] = values[n] = NULL;
    conn = PQconnectdbParams(keys, values, 0);
    result = PQstatus(conn) == CONNECTION_OK ? PQexec(conn, "IDENTIFY_SYSTEM") : NULL;
    if (!result || PQresultStatus(result) != PGRES_TUPLES_OK) {
        dgf_pg_one_line(result ? PQresultErrorMessage(result) : PQerrorMessage(conn),
                        text, sizeof(text));
        ADD(check, DGF_FINDING_ERROR, "E0602",
            "cannot open a replication connection: %s", text);
    }
    PQclear(result);
    PQfinish(conn);
}

/* The fix goes by the server's words: libpq 15 has no code for a refused start.
 * It is a comment, because it needs a password or a file on the server. */
static void say_cannot_connect(struct check *check, const struct dgf_pg_params *params,
                               const char *text)
{
    const char *user = dgf_pg_params_get(params, "user");
    const char *database = dgf_pg_params_get(params, "dbname");
    struct dgf_buf name;

    ADD(check, DGF_FINDING_ERROR, "E0602", "cannot connect: %s%s", text,
        dgf_pg_tls_hint(text));
    user = user && *user ? user : "dgf";
    database = database && *database ? database : user;
    (void)quoted(&name, user);
    if (strstr(text, "no pg_hba.conf entry"))
        dgf_findings_fix(check->findings,
                         "-- a line of pg_hba.conf: hostssl %s %s <our address>/32 "
                         "scram-sha-256 (then SELECT pg_reload_conf();)",
                         database, user);
    else if (strstr(text, "password authentication failed") ||
             strstr(text, "no password supplied"))
        dgf_findings_fix(
            check->findings,
            "-- CREATE ROLE %s LOGIN REPLICATION PASSWORD '...'; or, when it "
            "exists: ALTER ROLE %s PASSWORD '...';",
            dgf_buf_str(&name), dgf_buf_str(&name));
    dgf_buf_release(&name);
}

enum dgf_rc dgf_pg_check(struct dgf_source *src, struct dgf_findings *findings,
                         struct dgf_err *err)
{
    struct check check = {.conf = src->conf, .src = src, .findings = findings};
    const char *keys[64], *values[64];
    struct dgf_pg_params params;
    char timeout[32], text[512];
    enum dgf_rc rc;
    size_t n = 0;

    rc = dgf_pg_params_make(check.conf, false, &params, err);
    if (rc)
        return rc;
    (void)snprintf(timeout, sizeof(timeout), "%d",
                   (int)(check.conf->connect_timeout_ns / 1000000000));
    rc = dgf_pg_params_set(&params, "connect_timeout", dgf_strdup(timeout));
    check.slot = dgf_pg_slot_name(check.conf, src->name);
    if (rc || !check.slot) {
        dgf_pg_params_release(&params);
        dgf_free(check.slot);
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    }
    for (; n < params.n; n++) {
        keys[n] = params.keys[n];
        values[n] = params.values[n];
    }
    keys[n] = values[n] = NULL;
    check.conn = PQconnectdbParams(keys, values, 0);
    if (PQstatus(check.conn) != CONNECTION_OK) {
        dgf_pg_one_line(PQerrorMessage(check.conn), text, sizeof(text));
        say_cannot_connect(&check, &params, text);
    } else {
        check_server(&check);
        check_slot(&check);
        find_tables(&check, check_publication(&check));
        check_replication(&check, &params);
    }
    PQfinish(check.conn);
    dgf_pg_params_release(&params);
    dgf_free(check.slot);
    return DGF_OK;
}
