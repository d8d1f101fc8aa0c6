#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_postgres.h"

/* The order of a start: look the names up; connect; facts; publication; its
 * tables; replication connection; IDENTIFY_SYSTEM; timeline history when the
 * timeline is another one; the slot's row; a plan (pg_position.h); drop and
 * create the slot as planned; START_REPLICATION; look at the slot once more; say
 * what was lost; the publication's tables.  Nothing is said before the server has
 * agreed: a slot that goes away in between would make two gaps of one loss.  Each step
 * is a callback of the one before. */

static void ask_slot(struct dgf_pg_source *self);
static void carry_out(struct dgf_pg_source *self);
static void begin_at(struct dgf_pg_source *self, uint64_t lsn);
static void say_past(struct dgf_pg_source *self);

void dgf_pg_quote(struct dgf_buf *buf, const char *name, char quote)
{
    dgf_buf_add_byte(buf, (uint8_t)quote);
    for (; *name; name++) {
        if (*name == quote)
            dgf_buf_add_byte(buf, (uint8_t)quote);
        dgf_buf_add_byte(buf, (uint8_t)*name);
    }
    dgf_buf_add_byte(buf, (uint8_t)quote);
}

char *dgf_pg_slot_name(const struct dgf_pg_conf *conf, const char *source_name)
{
    char *name;
    size_t size;

    if (conf->slot_name)
        return dgf_strdup(conf->slot_name);
    size = strlen(source_name) + sizeof("dgf_");
    name = dgf_malloc(size);
    if (!name)
        return NULL;
    (void)snprintf(name, size, "dgf_%s", source_name);
    if (strlen(name) > 63)
        name[63] = '\0';
    for (char *at = name; *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
        else if (!((*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9')))
            *at = '_';
    }
    return name;
}

static const char *value_of(const PGresult *result, const char *column)
{
    int at = PQfnumber(result, column);

    return at < 0 || PQntuples(result) == 0 || PQgetisnull(result, 0, at)
               ? NULL
               : PQgetvalue(result, 0, at);
}

static bool u64_of(const PGresult *result, const char *column, uint64_t *ret)
{
    const char *text = value_of(result, column);

    return text && dgf_parse_u64(dgf_bytes_str(text), ret);
}

static bool lsn_of(const PGresult *result, const char *column, uint64_t *ret)
{
    const char *text = value_of(result, column);

    return text && dgf_pg_lsn_parse(text, ret);
}

/* ---- the slot ---- */

static void on_started(struct dgf_pg_source *self, PGresult *result);

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_source *self = ctx;

    (void)fd;
    (void)what;
    if (!self->failed)
        ask_slot(self);
}

/* Without pg_read_all_stats another role's address is not shown. */
static void stand_by(struct dgf_pg_source *self, const PGresult *result,
                     const char *pid)
{
    struct timeval second = {1, 0};
    const char *name = value_of(result, "application_name");
    const char *client = value_of(result, "client");

    dgf_source_state(
        &self->base, DGF_STATE_STANDBY,
        "slot '%s' is in use by pid %s of the server (application_name '%s', "
        "client %s)",
        self->slot, pid, name ? name : "", client ? client : "address not shown");
    if (!self->retry)
        self->retry = event_new(self->base.loop, -1, 0, on_retry, self);
    if (!self->retry || event_add(self->retry, &second))
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
}

static void send_start(struct dgf_pg_source *self)
{
    struct dgf_buf sql, name;

    dgf_buf_init(&sql, 4096);
    dgf_buf_init(&name, 1024);
    dgf_buf_add_str(&sql, "START_REPLICATION SLOT ");
    dgf_pg_quote(&sql, self->slot, '"');
    dgf_buf_add_str(&sql, " LOGICAL ");
    dgf_pg_lsn_text(self->start_lsn, &sql);
    dgf_buf_add_str(&sql, " (proto_version '1', messages 'true', publication_names ");
    dgf_pg_quote(&name, self->publication, '"');
    dgf_pg_quote(&sql, dgf_buf_str(&name), '\'');
    dgf_buf_add_str(&sql, self->want_binary ? ", binary 'true')" : ")");
    if (dgf_buf_rc(&sql) || dgf_buf_rc(&name))
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
    else
        dgf_pg_link_query(&self->wal, dgf_buf_str(&sql), 0, NULL, on_started);
    dgf_buf_release(&sql);
    dgf_buf_release(&name);
}

/* Somebody may have moved the slot between our look at it and the start; the
 * server would then have gone on without a word. */
static void on_verified(struct dgf_pg_source *self, PGresult *result)
{
    uint64_t confirmed;

    if (!dgf_pg_result_good(self, result, "cannot look at the slot"))
        return;
    if (!lsn_of(result, "confirmed_flush_lsn", &confirmed) ||
        confirmed > self->start_lsn) {
        dgf_pg_fail(self, DGF_RETRY, "slot '%s' was moved while we started",
                    self->slot);
        return;
    }
    if (self->flush_lsn < confirmed)
        self->flush_lsn = confirmed;
    say_past(self);
}

static const char slot_sql[] =
    "SELECT s.plugin, s.slot_type, s.database, s.active_pid, s.restart_lsn,"
    " s.confirmed_flush_lsn, s.wal_status, s.temporary, a.application_name,"
    " host(a.client_addr) AS client FROM pg_catalog.pg_replication_slots s"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid"
    " WHERE s.slot_name = $1";

static void on_started(struct dgf_pg_source *self, PGresult *result)
{
    const char *values[] = {self->slot};
    char what[256];

    if (PQresultStatus(result) == PGRES_COPY_BOTH) {
        dgf_pg_link_query(&self->control, slot_sql, 1, values, on_verified);
        return;
    }
    if (dgf_pg_sqlstate_is(result, "55006")) { /* object in use */
        ask_slot(self);
        return;
    }
    /* Object not in prerequisite state, or its WAL files are gone. */
    if ((dgf_pg_sqlstate_is(result, "55000") || dgf_pg_sqlstate_is(result, "58P01")) &&
        !self->server.slot_lost) {
        self->server.slot_lost = true;
        carry_out(self);
        return;
    }
    (void)snprintf(what, sizeof(what), "cannot start replication on slot '%s'",
                   self->slot);
    dgf_pg_result_fail(self, result, DGF_RETRY, what);
}

static void on_created(struct dgf_pg_source *self, PGresult *result)
{
    uint64_t lsn;
    char what[256];

    (void)event_del(self->slow);
    (void)snprintf(what, sizeof(what), "cannot create slot '%s'", self->slot);
    if (!dgf_pg_result_good(self, result, what))
        return;
    if (!lsn_of(result, "consistent_point", &lsn)) {
        dgf_pg_fail(self, DGF_RETRY, "%s: no position in the answer", what);
        return;
    }
    self->flush_lsn = lsn;
    self->created_lsn = lsn;
    if (self->control.state == DGF_PG_LINK_IDLE) /* else on_slow goes on */
        begin_at(self, lsn);
}

/* The server waits for every transaction that is open now. */
static void on_slow(struct dgf_pg_source *self, PGresult *result)
{
    struct timeval later = {5, 0};

    if (self->created_lsn) {
        begin_at(self, self->created_lsn);
        return;
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        dgf_source_state(
            &self->base, DGF_STATE_STARTING,
            "creating slot '%s' waits for the transaction of pid %s, open for %s s",
            self->slot, PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
    (void)event_add(self->slow, &later);
}

static void on_look_why(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_source *self = ctx;

    (void)fd;
    (void)what;
    if (self->failed || self->control.state != DGF_PG_LINK_IDLE)
        return;
    dgf_pg_link_query(&self->control,
                      "SELECT pid, extract(epoch FROM now() - xact_start)::int"
                      " FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL"
                      " AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1",
                      0, NULL, on_slow);
}

static void create_slot(struct dgf_pg_source *self)
{
    struct timeval later = {2, 0};
    struct dgf_buf sql;

    self->created_lsn = 0;
    if (!self->slow)
        self->slow = event_new(self->base.loop, -1, 0, on_look_why, self);
    if (!self->slow || event_add(self->slow, &later)) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    dgf_buf_init(&sql, 1024);
    dgf_buf_add_str(&sql, "CREATE_REPLICATION_SLOT ");
    dgf_pg_quote(&sql, self->slot, '"');
    dgf_buf_add_str(&sql, " LOGICAL pgoutput NOEXPORT_SNAPSHOT");
    dgf_pg_link_query(&self->wal, dgf_buf_str(&sql), 0, NULL, on_created);
    dgf_buf_release(&sql);
}

void dgf_pg_start_slot_durable(struct dgf_pg_source *self)
{
    self->wait_seq = 0;
    create_slot(self);
}

static void on_dropped(struct dgf_pg_source *self, PGresult *result)
{
    char what[256];

    (void)snprintf(what, sizeof(what), "cannot drop the lost slot '%s'", self->slot);
    if (dgf_pg_result_good(self, result, what))
        create_slot(self);
}

static void drop_slot(struct dgf_pg_source *self)
{
    struct dgf_buf sql;

    dgf_buf_init(&sql, 1024);
    dgf_buf_add_str(&sql, "DROP_REPLICATION_SLOT ");
    dgf_pg_quote(&sql, self->slot, '"');
    dgf_pg_link_query(&self->wal, dgf_buf_str(&sql), 0, NULL, on_dropped);
    dgf_buf_release(&sql);
}

/* ---- the plan ---- */

static void say_gap(struct dgf_pg_source *self, const struct dgf_pg_position *to)
{
    char restart[32] = "", confirmed[32] = "", system[32], text[512];
    const char *detail[] = {"slot",      self->slot, "restart_lsn", restart,
                            "confirmed", confirmed,  "system",      system};
    const struct dgf_pg_server *server = &self->server;

    (void)snprintf(restart, sizeof(restart), "%" PRIX32 "/%" PRIX32,
                   (uint32_t)(server->restart_lsn >> 32),
                   (uint32_t)server->restart_lsn);
    (void)snprintf(confirmed, sizeof(confirmed), "%" PRIX32 "/%" PRIX32,
                   (uint32_t)(server->confirmed_lsn >> 32),
                   (uint32_t)server->confirmed_lsn);
    (void)snprintf(system, sizeof(system), "%" PRIu64, server->system);
    switch (self->plan.gap) {
    case DGF_GAP_SLOT_MISSING:
        (void)snprintf(text, sizeof(text),
                       "replication slot '%s' is gone; a new one was made", self->slot);
        break;
    case DGF_GAP_SLOT_LOST:
        (void)snprintf(text, sizeof(text),
                       "the server removed WAL that replication slot '%s' needed; "
                       "a new one was made",
                       self->slot);
        break;
    case DGF_GAP_SLOT_RECREATED:
        (void)snprintf(text, sizeof(text),
                       "replication slot '%s' was dropped and made again", self->slot);
        break;
    case DGF_GAP_SLOT_AHEAD:
        (void)snprintf(
            text, sizeof(text),
            "somebody else advanced replication slot '%s' beyond our position",
            self->slot);
        break;
    case DGF_GAP_SYSTEM_CHANGED:
        (void)snprintf(text, sizeof(text),
                       "another database system answers (system identifier %s)",
                       system);
        break;
    case DGF_GAP_TIMELINE_SWITCHED:
        (void)snprintf(text, sizeof(text),
                       "the server left timeline %" PRIu32 " before our position; "
                       "it is on timeline %" PRIu32,
                       self->stored.timeline, server->timeline);
        break;
    case DGF_GAP_HISTORY_LOST:
        (void)snprintf(
            text, sizeof(text),
            "the server is behind our position: it was put back to an older state");
        break;
    default:
        (void)snprintf(
            text, sizeof(text),
            "replication slot '%s' exists, but nothing is known of a position",
            self->slot);
    }
    (void)dgf_pg_emit_gap(self, (enum dgf_gap)self->plan.gap,
                          self->has_stored && !self->stored.no_slot ? &self->stored
                                                                    : NULL,
                          to, text, detail, server->slot_exists ? 4 : 1);
}

static void on_tables(struct dgf_pg_source *self, PGresult *result)
{
    if (!dgf_pg_result_good(self, result, "cannot read the tables of the publication"))
        return;
    if (dgf_pg_tables_compare(self, result)) {
        dgf_pg_fail(self, DGF_RETRY, "cannot remember the tables of the publication");
        return;
    }
    dgf_pg_stream_begin(self);
}

static void begin_at(struct dgf_pg_source *self, uint64_t lsn)
{
    struct dgf_pg_position to = dgf_pg_position_at(self, lsn);

    self->start_lsn = lsn;
    self->skip_ordinal = 0;
    self->skip_messages = 0;
    if (self->plan.from_position) {
        self->position = self->stored;
        /* Other options count other rows: read the transaction from its start. */
        if (self->stored.commit_lsn && self->stored.options == self->options) {
            self->skip_ordinal = self->stored.ordinal;
            self->skip_messages = self->stored.messages;
        }
    } else {
        self->position = to;
    }
    send_start(self);
}

/* Everything about the past is said before the first event after it. */
static void say_past(struct dgf_pg_source *self)
{
    struct dgf_pg_position to = self->position;

    if (!self->plan.from_position) {
        if (self->plan.gap >= 0)
            say_gap(self, &to);
        if (self->plan.anew && !self->failed)
            (void)dgf_pg_emit_resume(self, &to);
    }
    if (!self->failed)
        dgf_pg_tables_ask(self, on_tables);
}

/* A slot of ours without a position would look like a loss after a crash, so the
 * intention is written down first. */
static void create_first_slot(struct dgf_pg_source *self)
{
    if (self->has_stored && self->durable_seq + 1 >= self->base.next_seq) {
        create_slot(self);
        return;
    }
    dgf_source_state(&self->base, DGF_STATE_STARTING, "about to create slot '%s'",
                     self->slot);
    if (self->has_stored) { /* said by the session before, but not durable yet */
        self->wait_seq = self->base.next_seq - 1;
        return;
    }
    self->wait_seq = self->base.next_seq;
    if (!dgf_pg_emit_progress(self, self->server.flush_lsn, true))
        self->wait_seq = 0;
}

static void carry_out(struct dgf_pg_source *self)
{
    bool create = DGF_PG_CONF(self)->slot == DGF_PG_SLOT_CREATE;

    self->plan =
        dgf_pg_plan_of(self->has_stored ? &self->stored : NULL, &self->server, create);
    if (self->plan.action == DGF_PG_START) {
        self->flush_lsn = self->server.confirmed_lsn;
        begin_at(self, self->plan.start_lsn);
        return;
    }
    if (!create) {
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            self->server.slot_exists
                ? "replication slot '%s' is lost: the server removed WAL it needs; drop it and "
                  "make it again, or write slot: create"
                : "replication slot '%s' does not exist; run SELECT "
                  "pg_create_logical_replication_slot('%s', 'pgoutput'), or write slot: create",
            self->slot, self->slot);
        return;
    }
    if (self->plan.action == DGF_PG_RECREATE_SLOT)
        drop_slot(self);
    else if (self->has_stored && !self->stored.no_slot)
        create_slot(self);
    else
        create_first_slot(self);
}

static void on_slot(struct dgf_pg_source *self, PGresult *result)
{
    struct dgf_pg_server *server = &self->server;
    const char *plugin, *type, *database, *pid, *status;

    if (!dgf_pg_result_good(self, result, "cannot look at the slot"))
        return;
    server->slot_exists = PQntuples(result) > 0;
    if (!server->slot_exists) {
        carry_out(self);
        return;
    }
    plugin = value_of(result, "plugin");
    type = value_of(result, "slot_type");
    database = value_of(result, "database");
    pid = value_of(result, "active_pid");
    status = value_of(result, "wal_status");
    if (!type || strcmp(type, "logical") != 0 || !plugin ||
        strcmp(plugin, "pgoutput") != 0) {
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            "slot '%s' is not a logical slot of pgoutput; use another slot_name",
            self->slot);
        return;
    }
    if (!database || strcmp(database, self->database) != 0) {
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            "slot '%s' belongs to database '%s', not to '%s'; use another slot_name",
            self->slot, database ? database : "", self->database);
        return;
    }
    if (pid) {
        stand_by(self, result, pid);
        return;
    }
    server->slot_lost = status && strcmp(status, "lost") == 0;
    server->restart_lsn = server->confirmed_lsn = 0;
    (void)lsn_of(result, "restart_lsn", &server->restart_lsn);
    if (!lsn_of(result, "confirmed_flush_lsn", &server->confirmed_lsn) &&
        !server->slot_lost) {
        dgf_pg_fail(self, DGF_RETRY, "slot '%s' has no position yet", self->slot);
        return;
    }
    carry_out(self);
}

static void ask_slot(struct dgf_pg_source *self)
{
    const char *values[] = {self->slot};

    dgf_pg_link_query(&self->control, slot_sql, 1, values, on_slot);
}

/* ---- who answers ---- */

static void on_history(struct dgf_pg_source *self, PGresult *result)
{
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
        self->server.left_lsn = dgf_pg_history_left(
            dgf_bytes_of(PQgetvalue(result, 0, 1), (size_t)PQgetlength(result, 0, 1)),
            self->stored.timeline);
    ask_slot(self);
}

static void on_identify(struct dgf_pg_source *self, PGresult *result)
{
    struct dgf_pg_server *server = &self->server;
    uint64_t timeline;
    char sql[64];

    if (!dgf_pg_result_good(self, result, "cannot identify the system"))
        return;
    if (!u64_of(result, "systemid", &server->system) ||
        !u64_of(result, "timeline", &timeline) ||
        !lsn_of(result, "xlogpos", &server->flush_lsn)) {
        dgf_pg_fail(self, DGF_RETRY,
                    "cannot identify the system: the answer cannot be understood");
        return;
    }
    server->timeline = (uint32_t)timeline;
    server->left_lsn = 0;
    self->target_lsn = self->until_lsn ? self->until_lsn : server->flush_lsn;
    if (self->has_stored && self->stored.system == server->system &&
        self->stored.timeline != server->timeline && server->timeline > 1) {
        (void)snprintf(sql, sizeof(sql), "TIMELINE_HISTORY %" PRIu32, server->timeline);
        dgf_pg_link_query(&self->wal, sql, 0, NULL, on_history);
        return;
    }
    ask_slot(self);
}

static void on_wal(struct dgf_pg_source *self)
{
    dgf_pg_link_query(&self->wal, "IDENTIFY_SYSTEM", 0, NULL, on_identify);
}

static void connect_wal(struct dgf_pg_source *self)
{
    dgf_pg_link_connect(&self->wal, &self->params, on_wal);
}

/* ---- the publication ---- */

static void on_published(struct dgf_pg_source *self, PGresult *result)
{
    char what[256];

    (void)snprintf(what, sizeof(what), "cannot create publication '%s'",
                   self->publication);
    if (dgf_pg_result_good(self, result, what))
        connect_wal(self);
}

/* Only what `tables` matches; everything when it is not given.  Without a replica
 * identity the server would refuse the application's UPDATE and DELETE: such a table
 * is left out, which the comparison of tables says as long as it lasts. */
static void on_candidates(struct dgf_pg_source *self, PGresult *result)
{
    struct dgf_buf sql, table;
    int keyless = -1;
    size_t n = 0;

    if (!dgf_pg_result_good(self, result, "cannot read the tables"))
        return;
    dgf_buf_init(&sql, 64 << 20);
    dgf_buf_init(&table, 4096);
    dgf_buf_add_str(&sql, "CREATE PUBLICATION ");
    dgf_pg_quote(&sql, self->publication, '"');
    dgf_buf_add_str(&sql,
                    DGF_PG_CONF(self)->tables.n ? " FOR TABLE " : " FOR ALL TABLES");
    for (int row = 0; row < PQntuples(result); row++) {
        dgf_buf_clear(&table);
        dgf_object_name(&table, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!dgf_pg_table_wanted(DGF_PG_CONF(self), dgf_buf_str(&table)))
            continue;
        if (!PQgetisnull(result, row, 2)) {
            keyless = row;
            continue;
        }
        if (!DGF_PG_CONF(self)->tables.n)
            continue;
        if (n++)
            dgf_buf_add_str(&sql, ", ");
        dgf_pg_quote(&sql, PQgetvalue(result, row, 0), '"');
        dgf_buf_add_byte(&sql, '.');
        dgf_pg_quote(&sql, PQgetvalue(result, row, 1), '"');
    }
    dgf_buf_add_str(&sql, " WITH (publish_via_partition_root = true)");
    if (keyless >= 0 && n == 0) {
        dgf_buf_clear(&table);
        dgf_object_name(&table, PQgetvalue(result, keyless, 0),
                        PQgetvalue(result, keyless, 1));
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            "cannot create publication '%s': table '%s' has no replica identity, and "
            "the server would refuse the application's UPDATE and DELETE on it; run dgf "
            "check --fix-script%s",
            self->publication, dgf_buf_str(&table),
            DGF_PG_CONF(self)->tables.n ? "" : ", or name the tables in 'tables'");
    } else if (DGF_PG_CONF(self)->tables.n && n == 0) {
        dgf_pg_fail(self, DGF_BAD_CONFIG,
                    "cannot create publication '%s': no table matches 'tables'",
                    self->publication);
    } else {
        dgf_pg_link_query(&self->control, dgf_buf_str(&sql), 0, NULL, on_published);
    }
    dgf_buf_release(&sql);
    dgf_buf_release(&table);
}

static void on_publication(struct dgf_pg_source *self, PGresult *result)
{
    if (!dgf_pg_result_good(self, result, "cannot look at the publication"))
        return;
    if (PQntuples(result) > 0) {
        connect_wal(self);
        return;
    }
    if (!DGF_PG_CONF(self)->manage) {
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            "publication '%s' does not exist; run CREATE PUBLICATION \"%s\" FOR TABLE ..., "
            "or write manage: true",
            self->publication, self->publication);
        return;
    }
    dgf_pg_link_query(
        &self->control,
        "SELECT n.nspname, c.relname," DGF_PG_KEYLESS_FIX_SQL DGF_PG_CANDIDATES_SQL
        " ORDER BY 1, 2",
        0, NULL, on_candidates);
}

static void on_facts(struct dgf_pg_source *self, PGresult *result)
{
    const char *values[] = {self->publication};
    const char *level, *recovering;
    uint64_t version = 0, timeout = 0, oid = 0;
    int64_t limit;

    if (!dgf_pg_result_good(self, result, "cannot read the server's settings"))
        return;
    level = value_of(result, "wal_level");
    recovering = value_of(result, "recovering");
    if (!u64_of(result, "version", &version) || !u64_of(result, "database_oid", &oid) ||
        !u64_of(result, "timeout_ms", &timeout) || !level || !recovering) {
        dgf_pg_fail(self, DGF_RETRY, "cannot read the server's settings");
        return;
    }
    self->version_num = (int)version;
    self->database_oid = (uint32_t)oid;
    dgf_free(self->database);
    self->database =
        dgf_strdup(value_of(result, "database") ? value_of(result, "database") : "");
    if (!self->database) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    if (version < 140000) {
        dgf_pg_fail(self, DGF_BAD_CONFIG,
                    "PostgreSQL 14 or newer is needed; this is %" PRIu64,
                    version / 10000);
        return;
    }
    if (strcmp(level, "logical") != 0) {
        dgf_pg_fail(
            self, DGF_BAD_CONFIG,
            "wal_level is '%s'; run ALTER SYSTEM SET wal_level = logical and restart the server",
            level);
        return;
    }
    if (*recovering == 't' && version < 160000) {
        dgf_pg_fail(self, DGF_RETRY,
                    "the server is a standby: it cannot decode changes");
        return;
    }
    /* The server drops who is silent for wal_sender_timeout: three times as often. */
    limit = (int64_t)timeout * 1000000 / 3;
    self->status_ns = DGF_PG_CONF(self)->status_interval_ns;
    if (timeout && limit < self->status_ns)
        self->status_ns = limit;
    dgf_pg_link_query(&self->control,
                      "SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = $1", 1,
                      values, on_publication);
}

static void on_control(struct dgf_pg_source *self)
{
    dgf_pg_link_query(
        &self->control,
        "SELECT current_setting('server_version_num') AS version,"
        " pg_is_in_recovery() AS recovering, current_setting('wal_level') AS wal_level,"
        " (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout')"
        " AS timeout_ms,"
        " (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
        " AS database_oid, current_database() AS database",
        0, NULL, on_facts);
}

/* ---- name lookup ---- */

static void run_lookup(struct dgf_job *job)
{
    struct dgf_pg_lookup *lookup = (struct dgf_pg_lookup *)job;

    lookup->rc = dgf_pg_params_resolve(&lookup->params, &lookup->err);
}

static void on_lookup(struct dgf_job *job)
{
    struct dgf_pg_lookup *lookup = (struct dgf_pg_lookup *)job;
    struct dgf_pg_source *self = lookup->source;

    if (self) {
        self->lookup = NULL;
        if (lookup->rc) {
            dgf_pg_fail(self, lookup->rc, "%s", lookup->err.text);
        } else {
            self->params = lookup->params;
            lookup->params.n = 0;
            dgf_pg_link_connect(&self->control, &self->params, on_control);
        }
    }
    dgf_pg_params_release(&lookup->params);
    dgf_free(lookup);
}

void dgf_pg_start(struct dgf_pg_source *self)
{
    struct dgf_pg_lookup *lookup;

    dgf_source_state(&self->base, DGF_STATE_STARTING, "connecting");
    if (!dgf_pg_params_has_names(&self->params)) {
        dgf_pg_link_connect(&self->control, &self->params, on_control);
        return;
    }
    lookup = dgf_calloc(1, sizeof(*lookup));
    if (!lookup) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    *lookup = (struct dgf_pg_lookup){.job = {.run = run_lookup, .done = on_lookup},
                                     .source = self,
                                     .params = self->params};
    self->params.n = 0;
    self->lookup = lookup;
    dgf_workers_submit(self->base.workers, &lookup->job);
}
