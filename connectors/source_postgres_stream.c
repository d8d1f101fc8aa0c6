#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/tls.h"
#include "source_postgres.h"

/* The server sends every change with a call of its own.  Waking for each costs
 * more than all the rest, so once much is coming we wait for 64 KiB or a few
 * milliseconds, whichever is first; caught up, we wake for the first byte. */
#define BATCH_BYTES 65536
#define BATCH_MS 4
#define SOCKET_MS 1        /* unix sockets know no low-water mark in poll */
#define ENOUGH_BYTES 16384 /* a turn that read less ends the batching */
#define TURN_BYTES (1u << 20)
#define MS INT64_C(1000000)

static const int64_t silence_ns = 60000 * MS;

static uint64_t be64(const char *at)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | (uint8_t)at[i];
    return n;
}

static void put_be64(char *at, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        at[i] = (char)(n >> 8 * (7 - i));
}

/* ---- what we tell the server ---- */

/* Standby status update: written, flushed, applied, our clock.  All three are
 * what is durable here; more would let the server forget what we may lose. */
void dgf_pg_stream_tell(struct dgf_pg_source *self, bool ask_back)
{
    int64_t now = dgf_clock_ns();
    char message[34];

    if (self->failed || self->wal.state != DGF_PG_LINK_COPY)
        return;
    message[0] = 'r';
    put_be64(message + 1, self->flush_lsn);
    put_be64(message + 9, self->flush_lsn);
    put_be64(message + 17, self->flush_lsn);
    put_be64(message + 25, (uint64_t)(now / 1000 - INT64_C(946684800000000)));
    message[33] = ask_back;
    if (PQputCopyData(self->wal.conn, message, sizeof(message)) < 0) {
        dgf_pg_link_fail(&self->wal, DGF_RETRY, "replication connection lost");
        return;
    }
    self->told_ns = dgf_clock_mono_ns();
    dgf_pg_link_flush(&self->wal);
}

/* ---- reading less often ---- */

static void set_lowat(struct dgf_pg_source *self, int bytes)
{
    if (!self->is_tcp || self->lowat == bytes)
        return;
    if (!setsockopt(PQsocket(self->wal.conn), SOL_SOCKET, SO_RCVLOWAT, &bytes,
                    sizeof(bytes)))
        self->lowat = bytes;
}

/* Arms what wakes us next. */
static void await(struct dgf_pg_source *self)
{
    struct timeval wait = {0, (self->is_tcp ? BATCH_MS : SOCKET_MS) * 1000};

    if (self->failed)
        return;
    if (self->paused || self->blocked || self->waiting || self->at_end) {
        (void)event_del(self->wal.read);
        (void)event_del(self->again);
        return;
    }
    set_lowat(self, self->batching ? BATCH_BYTES : 1);
    if (self->batching && !self->is_tcp)
        (void)event_del(self->wal.read);
    else
        (void)event_add(self->wal.read, NULL);
    if (self->batching)
        (void)event_add(self->again, &wait);
    else
        (void)event_del(self->again);
}

static void read_again_soon(struct dgf_pg_source *self)
{
    struct timeval now = {0, 0};

    (void)event_add(self->again, &now);
}

/* ---- messages of the replication protocol ---- */

static void note_caught_up(struct dgf_pg_source *self, uint64_t lsn)
{
    if (self->caught_up || lsn < self->target_lsn || self->in_tx || self->failed)
        return;
    self->caught_up = true;
    self->at_end = self->until_lsn != 0;
    dgf_source_caught_up(&self->base);
}

/* Nothing in flight: the server has shown us everything up to here. */
static void make_progress(struct dgf_pg_source *self)
{
    if (self->in_tx || self->failed ||
        self->idle_lsn <= dgf_pg_position_lsn(&self->position) ||
        self->position.commit_lsn)
        return;
    self->progress_ns = dgf_clock_mono_ns();
    (void)dgf_pg_emit_progress(self, self->idle_lsn, false);
}

static bool keepalive(struct dgf_pg_source *self, const char *message, int len)
{
    uint64_t end;
    bool asked;

    if (len != 18) {
        dgf_pg_fail(self, DGF_FATAL, "keepalive of %d bytes", len);
        return false;
    }
    end = be64(message + 1);
    asked = message[17];
    if (end > self->received_lsn)
        self->received_lsn = end;
    if (!self->in_tx && end > self->idle_lsn)
        self->idle_lsn = end;
    if (asked || (!self->caught_up && end >= self->target_lsn)) {
        /* A server that shuts down waits until all it sent is confirmed. */
        make_progress(self);
        if (self->n_unconfirmed)
            self->answer_seq = self->base.next_seq - 1;
    }
    if (asked && !self->failed)
        dgf_pg_stream_tell(self, false);
    note_caught_up(self, end);
    return !self->failed;
}

static void free_held(struct dgf_pg_source *self)
{
    if (self->held)
        PQfreemem(self->held);
    self->held = NULL;
}

/* The BEGIN of a transaction that ends behind the position we are to end at.  It
 * carries the LSN of its commit record. */
static bool is_beyond(const struct dgf_pg_source *self, const char *message, int len)
{
    return self->until_lsn && !self->in_tx && len >= 34 && message[0] == 'w' &&
           message[25] == 'B' && be64(message + 26) >= self->until_lsn;
}

/* False: read no more now. */
static bool take(struct dgf_pg_source *self, char *message, int len)
{
    enum dgf_rc rc = DGF_OK;
    uint64_t end;

    if (is_beyond(self, message, len)) {
        note_caught_up(self, UINT64_MAX);
        PQfreemem(message);
        return false;
    }
    if (len >= 25 && message[0] == 'w') {
        end = be64(message + 9);
        if (end > self->received_lsn)
            self->received_lsn = end;
        rc = dgf_pg_rows_message(self, dgf_bytes_of(message + 25, (size_t)len - 25));
    } else if (len > 0 && message[0] == 'k') {
        (void)keepalive(self, message, len);
    } else {
        dgf_pg_fail(self, DGF_FATAL, "unknown replication message 0x%02x of %d bytes",
                    len > 0 ? (unsigned char)message[0] : 0, len);
    }
    if (rc == DGF_AGAIN) {
        self->held = message;
        self->held_len = len;
        self->waiting = true;
        return false;
    }
    PQfreemem(message);
    if (!self->in_tx)
        note_caught_up(self, dgf_pg_position_lsn(&self->position));
    return !self->failed && !self->blocked && !self->at_end;
}

/* The stream ended: say why, in the server's words. */
static void ended(struct dgf_pg_source *self)
{
    PGresult *result = PQgetResult(self->wal.conn);
    const char *text =
        result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;

    /* Text of a value beyond 1 GiB cannot be made; its binary form can be sent. */
    if (text && !self->want_binary &&
        (strstr(text, "invalid memory alloc request size") ||
         dgf_pg_sqlstate_is(result, "54000")))
        self->want_binary = true;
    if (result && PQresultStatus(result) == PGRES_FATAL_ERROR) {
        dgf_pg_result_fail(self, result, DGF_RETRY, "replication stopped");
    } else {
        dgf_pg_fail(self, DGF_RETRY, "the server ended replication");
    }
    PQclear(result);
}

/* Takes what libpq has.  False: stop; true: it needs more input. */
static bool drain(struct dgf_pg_source *self, size_t *bytes)
{
    for (;;) {
        char *message = NULL;
        int len = PQgetCopyData(self->wal.conn, &message, 1);

        if (len == 0)
            return true;
        if (len == -1) {
            ended(self);
            return false;
        }
        if (len < 0) {
            dgf_pg_link_fail(&self->wal, DGF_RETRY, "replication connection lost");
            return false;
        }
        *bytes += (size_t)len + 5;
        if (!take(self, message, len))
            return false;
    }
}

void dgf_pg_stream_read(struct dgf_pg_source *self)
{
    void *ssl = PQsslStruct(self->wal.conn, "OpenSSL");
    size_t bytes = 0, before;
    bool more;

    if (self->failed || self->paused || self->blocked || self->waiting || self->at_end)
        return;
    self->seen_ns = dgf_clock_ns();
    self->heard_ns = dgf_clock_mono_ns();
    more = drain(self, &bytes);
    do {
        if (!more)
            break;
        /* libpq's buffer doubles when input is added to input; once is enough. */
        for (int i = 0; i < (self->batching && !self->grown ? 4 : 1); i++)
            if (!PQconsumeInput(self->wal.conn)) {
                /* What came before the end is still there to be read. */
                if (drain(self, &bytes))
                    dgf_pg_link_fail(&self->wal, DGF_RETRY,
                                     "replication connection lost");
                return;
            }
        self->grown = self->grown || self->batching;
        before = bytes;
        more = drain(self, &bytes);
        /* Over TLS one read gives one record, which is one change: read until
         * a read brings nothing. */
    } while (more && bytes < TURN_BYTES && ssl &&
             (bytes > before || dgf_tls_pending(ssl) > 0));
    if (self->failed)
        return;
    self->batching = bytes >= ENOUGH_BYTES;
    await(self);
    if (more && dgf_tls_pending(ssl) > 0)
        read_again_soon(self);
    if (self->lag)
        dgf_metric_set(self->lag, (int64_t)(self->received_lsn -
                                            dgf_pg_position_lsn(&self->position)));
}

void dgf_pg_stream_go_on(struct dgf_pg_source *self)
{
    char *message = self->held;
    int len = self->held_len;

    self->waiting = false;
    if (self->failed || !message)
        return;
    self->held = NULL;
    if (self->paused || self->blocked) {
        self->held = message; /* resume takes it */
        return;
    }
    if (take(self, message, len))
        read_again_soon(self);
    await(self);
    if (!self->failed && !self->blocked && !self->waiting)
        read_again_soon(self);
}

/* ---- time ---- */

void dgf_pg_stream_say(struct dgf_pg_source *self)
{
    dgf_source_state(&self->base, DGF_STATE_STREAMING, "slot '%s'", self->slot);
}

void dgf_pg_stream_tick(struct dgf_pg_source *self)
{
    int64_t now = dgf_clock_mono_ns();
    bool idle = !self->paused && !self->blocked && !self->waiting && !self->at_end;

    if (self->failed || !self->streaming)
        return;
    if (now - self->progress_ns >= self->status_ns)
        make_progress(self);
    if (self->failed)
        return;
    if (now - self->told_ns >= self->status_ns || (!self->caught_up && idle))
        dgf_pg_stream_tell(self, idle);
    if (!self->failed && idle &&
        now - self->heard_ns > silence_ns + 2 * self->status_ns) {
        dgf_pg_fail(self, DGF_RETRY, "no word from the server for %d s",
                    (int)((now - self->heard_ns) / (1000 * MS)));
        return;
    }
    if (!self->failed && !self->in_tx && self->control.state == DGF_PG_LINK_IDLE &&
        now - self->inspected_ns >= DGF_PG_CONF(self)->inspect_ns) {
        self->inspected_ns = now;
        dgf_pg_inspect(self);
    }
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_pg_source *self = ctx;

    (void)fd;
    (void)what;
    if (self->failed)
        return;
    if (self->held && !self->paused && !self->blocked && !self->waiting)
        dgf_pg_stream_go_on(self);
    else
        dgf_pg_stream_read(self);
}

static void find_out_socket(struct dgf_pg_source *self)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);

    self->lowat = 1;
    self->is_tcp =
        !getsockname(PQsocket(self->wal.conn), (struct sockaddr *)&address, &len) &&
        (address.ss_family == AF_INET || address.ss_family == AF_INET6);
}

void dgf_pg_stream_begin(struct dgf_pg_source *self)
{
    uint64_t lsn = dgf_pg_position_lsn(&self->position);

    free_held(self);
    self->again = event_new(self->base.loop, -1, 0, on_again, self);
    if (!self->again) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    find_out_socket(self);
    self->wal.on_copy = dgf_pg_stream_read;
    self->streaming = true;
    self->heard_ns = self->progress_ns = self->inspected_ns = dgf_clock_mono_ns();
    /* A position from before is durable already, or will be with the last event
     * of the session before. */
    if (self->plan.from_position && !self->stored.commit_lsn) {
        if (self->durable_seq + 1 >= self->base.next_seq)
            self->flush_lsn = lsn > self->flush_lsn ? lsn : self->flush_lsn;
        else if (!dgf_pg_note_unconfirmed(self, self->base.next_seq - 1, lsn)) {
            dgf_pg_fail(self, DGF_RETRY, "out of memory");
            return;
        }
    }
    dgf_pg_stream_say(self);
    dgf_pg_stream_tell(self, true);
    if (!self->failed)
        dgf_pg_stream_read(self);
}
