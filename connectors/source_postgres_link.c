#include <stdarg.h>
#include <stdio.h>

#include "source_postgres.h"

static void connecting(struct dgf_pg_link *link);

void dgf_pg_one_line(const char *text, char *to, size_t size)
{
    size_t n = 0;

    for (; text && *text && n + 3 < size; text++) {
        if (*text != '\n' && *text != '\r' && *text != '\t') {
            to[n++] = *text;
        } else if (n > 0 && to[n - 1] != ' ') {
            if (*text == '\n') {
                to[n++] = ';';
            }
            to[n++] = ' ';
        }
    }
    while (n > 0 && (to[n - 1] == ' ' || to[n - 1] == ';'))
        n--;
    to[n] = '\0';
}

const char *dgf_pg_tls_hint(const char *text)
{
    return strstr(text, "server does not support SSL")
               ? "; turn on 'ssl' of the server; a test server without it needs "
                 "sslmode=disable in 'url' and insecure: true"
               : "";
}

void dgf_pg_fail(struct dgf_pg_source *self, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failed)
        return;
    self->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_source_fail(&self->base, rc, "%s", text);
}

void dgf_pg_link_fail(struct dgf_pg_link *link, enum dgf_rc rc, const char *what)
{
    char text[DGF_ERR_TEXT_MAX - 128];

    if (link->source->failed)
        return;
    link->source->failed = true;
    dgf_pg_one_line(link->conn ? PQerrorMessage(link->conn) : "out of memory", text,
                    sizeof(text));
    dgf_source_fail(&link->source->base, rc, "%s: %s%s", what, text,
                    dgf_pg_tls_hint(text));
}

/* The server's primary text without its detail, which may hold row values. */
static void server_text(const PGresult *result, char *to, size_t size)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    dgf_pg_one_line(text ? text : PQresultErrorMessage(result), to, size);
    if (!*to)
        (void)snprintf(to, size, "unexpected answer '%s'",
                       PQresStatus(PQresultStatus(result)));
}

void dgf_pg_result_fail(struct dgf_pg_source *self, const PGresult *result,
                        enum dgf_rc rc, const char *what)
{
    char text[DGF_ERR_TEXT_MAX - 256];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (self->failed)
        return;
    self->failed = true;
    server_text(result, text, sizeof(text));
    /* 42501: insufficient privilege, nothing a repetition would mend. */
    if (state && strcmp(state, "42501") == 0)
        rc = DGF_BAD_CONFIG;
    dgf_source_fail(&self->base, rc, "%s: %s%s%s%s", what, text, state ? " (" : "",
                    state ? state : "", state ? ")" : "");
}

bool dgf_pg_result_good(struct dgf_pg_source *self, const PGresult *result,
                        const char *what)
{
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK ||
        status == PGRES_COPY_BOTH)
        return true;
    dgf_pg_result_fail(self, result, DGF_RETRY, what);
    return false;
}

bool dgf_pg_sqlstate_is(const PGresult *result, const char *sqlstate)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return state && strcmp(state, sqlstate) == 0;
}

static void lost(struct dgf_pg_link *link)
{
    char what[64];

    (void)snprintf(what, sizeof(what), "%s lost", link->what);
    dgf_pg_link_fail(link, DGF_RETRY, what);
}

static void free_event(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

/* ---- queries ---- */

static void take_results(struct dgf_pg_link *link)
{
    while (!PQisBusy(link->conn)) {
        PGresult *result = PQgetResult(link->conn);
        PGresult *first = link->result;

        if (!result) {
            link->state = DGF_PG_LINK_IDLE;
            link->result = NULL;
            if (first)
                link->on_result(link->source, first);
            else
                lost(link);
            PQclear(first);
            return;
        }
        if (PQresultStatus(result) == PGRES_COPY_BOTH) {
            link->state = DGF_PG_LINK_COPY;
            link->on_result(link->source, result);
            PQclear(result);
            return;
        }
        if (first)
            PQclear(result); /* the first one says what happened */
        else
            link->result = result;
    }
}

static void on_read(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_link *link = ctx;

    (void)fd;
    (void)what;
    if (link->source->failed)
        return;
    if (link->state == DGF_PG_LINK_COPY) {
        if (link->on_copy)
            link->on_copy(link->source);
        else
            (void)event_del(link->read); /* early data waits until the stream begins */
        return;
    }
    if (!PQconsumeInput(link->conn)) {
        lost(link);
        return;
    }
    if (link->state == DGF_PG_LINK_QUERY)
        take_results(link);
}

static void on_write(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_link *link = ctx;

    (void)fd;
    (void)what;
    if (!link->source->failed)
        dgf_pg_link_flush(link);
}

void dgf_pg_link_flush(struct dgf_pg_link *link)
{
    int left = PQflush(link->conn);

    if (left < 0)
        lost(link);
    else if (left > 0 && event_add(link->write, NULL))
        lost(link);
}

void dgf_pg_link_query(struct dgf_pg_link *link, const char *sql, int n,
                       const char *const *values, dgf_pg_on_result *on_result)
{
    int sent;

    if (link->source->failed)
        return;
    link->on_result = on_result;
    link->state = DGF_PG_LINK_QUERY;
    /* The replication protocol has no extended queries. */
    sent = n ? PQsendQueryParams(link->conn, sql, n, NULL, values, NULL, NULL, 0)
             : PQsendQuery(link->conn, sql);
    if (!sent) {
        lost(link);
        return;
    }
    dgf_pg_link_flush(link);
}

/* ---- connecting ---- */

static void connected(struct dgf_pg_link *link)
{
    struct event_base *loop = link->source->base.loop;
    int fd = PQsocket(link->conn);

    free_event(&link->read);
    free_event(&link->write);
    free_event(&link->deadline);
    link->read = event_new(loop, fd, EV_READ | EV_PERSIST, on_read, link);
    link->write = event_new(loop, fd, EV_WRITE, on_write, link);
    if (!link->read || !link->write || event_add(link->read, NULL) ||
        PQsetnonblocking(link->conn, 1)) {
        dgf_pg_link_fail(link, DGF_RETRY, "cannot connect");
        return;
    }
    link->state = DGF_PG_LINK_IDLE;
    link->on_connected(link->source);
}

static void on_poll(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_link *link = ctx;

    (void)fd;
    (void)what;
    if (!link->source->failed)
        connecting(link);
}

/* What no repetition mends: a person has to look, and many attempts with a wrong
 * password lock accounts.  libpq gives no SQLSTATE here. */
static void refused(struct dgf_pg_link *link)
{
    static const char *const lasting[] = {"password authentication failed",
                                          "no pg_hba.conf entry",
                                          "certificate verify failed",
                                          "does not match host name",
                                          "root certificate file",
                                          "server does not support SSL",
                                          "\" does not exist"};
    const char *text = PQerrorMessage(link->conn);
    enum dgf_rc rc = PQconnectionNeedsPassword(link->conn) ? DGF_BAD_CONFIG : DGF_RETRY;

    for (size_t i = 0; i < DGF_ARRAY_LEN(lasting); i++)
        if (strstr(text, lasting[i]))
            rc = DGF_BAD_CONFIG;
    dgf_pg_link_fail(link, rc, "cannot connect");
}

/* The socket may be another one after each step. */
static void connecting(struct dgf_pg_link *link)
{
    PostgresPollingStatusType status = PQconnectPoll(link->conn);
    short what = status == PGRES_POLLING_READING ? EV_READ : EV_WRITE;

    free_event(&link->read);
    if (status == PGRES_POLLING_OK) {
        connected(link);
        return;
    }
    if (status == PGRES_POLLING_FAILED) {
        refused(link);
        return;
    }
    link->read =
        event_new(link->source->base.loop, PQsocket(link->conn), what, on_poll, link);
    if (!link->read || event_add(link->read, NULL))
        dgf_pg_link_fail(link, DGF_RETRY, "cannot connect");
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_link *link = ctx;

    (void)fd;
    (void)what;
    dgf_pg_fail(link->source, DGF_RETRY, "cannot connect: no answer within %d s",
                (int)(DGF_PG_CONF(link->source)->connect_timeout_ns / 1000000000));
}

void dgf_pg_link_connect(struct dgf_pg_link *link, const struct dgf_pg_params *params,
                         dgf_pg_on_link *on_connected)
{
    const char *keys[DGF_ARRAY_LEN(params->keys) + 2],
        *values[DGF_ARRAY_LEN(params->keys) + 2];
    int64_t ns = DGF_PG_CONF(link->source)->connect_timeout_ns;
    struct timeval timeout = {ns / 1000000000, ns % 1000000000 / 1000};
    struct event_base *loop = link->source->base.loop;
    size_t n = 0;

    for (; n < params->n; n++) {
        keys[n] = params->keys[n];
        values[n] = params->values[n];
    }
    if (link == &link->source->wal) {
        keys[n] = "replication";
        values[n++] = "database";
    }
    keys[n] = values[n] = NULL;
    link->on_connected = on_connected;
    link->conn = PQconnectStartParams(keys, values, 0);
    link->state = DGF_PG_LINK_CONNECTING;
    if (!link->conn) {
        dgf_pg_link_fail(link, DGF_RETRY, "cannot connect");
        return;
    }
    if (PQstatus(link->conn) == CONNECTION_BAD) {
        refused(link);
        return;
    }
    link->deadline = event_new(loop, -1, 0, on_deadline, link);
    /* As libpq asks: behave as if the last answer had been "writing". */
    link->read = event_new(loop, PQsocket(link->conn), EV_WRITE, on_poll, link);
    if (!link->deadline || event_add(link->deadline, &timeout) || !link->read ||
        event_add(link->read, NULL))
        dgf_pg_link_fail(link, DGF_RETRY, "cannot connect");
}

void dgf_pg_link_close(struct dgf_pg_link *link)
{
    free_event(&link->read);
    free_event(&link->write);
    free_event(&link->deadline);
    PQclear(link->result);
    link->result = NULL;
    if (link->conn)
        PQfinish(link->conn);
    link->conn = NULL;
    link->on_copy = NULL;
    link->state = DGF_PG_LINK_CLOSED;
}
