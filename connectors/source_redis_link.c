#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "source_redis.h"

#define READ_BYTES ((size_t)256 << 10)
#define TURN_BYTES ((size_t)1 << 20)
#define OUT_MAX ((size_t)64 << 20)
#define HELD_MAX 1024

struct dgf_redis_lookup {
    struct dgf_job job;
    struct dgf_redis_link *link; /* NULL: closed meanwhile */
    char host[256], port[8];
    struct sockaddr_storage address;
    socklen_t len;
    int cause; /* of getaddrinfo */
};

static void step(struct dgf_redis_link *link);

struct dgf_bytes dgf_redis_error(const struct dgf_resp_item *item)
{
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token token;

    if (item->depth > 0 || dgf_resp_next(&resp, &token) || token.kind != DGF_RESP_ERROR)
        return (struct dgf_bytes){NULL, 0};
    return token.bytes;
}

bool dgf_redis_error_is(const struct dgf_resp_item *item, const char *prefix)
{
    struct dgf_bytes text = dgf_redis_error(item);

    return text.len >= strlen(prefix) && memcmp(text.ptr, prefix, strlen(prefix)) == 0;
}

static bool is_lasting(const struct dgf_resp_item *item)
{
    return dgf_redis_error_is(item, "WRONGPASS") ||
           dgf_redis_error_is(item, "NOAUTH") || dgf_redis_error_is(item, "NOPERM") ||
           dgf_redis_error_is(item, "ERR AUTH") ||
           dgf_redis_error_is(item, "ERR invalid password") ||
           dgf_redis_error_is(item, "ERR DB index") ||
           dgf_redis_error_is(item, "ERR SELECT") ||
           dgf_redis_error_is(item, "ERR Client sent AUTH");
}

/* ---- failures ---- */

static const char *where(const struct dgf_redis_link *link, char *to, size_t size)
{
    const struct dgf_redis_address *at = &link->node->address;

    if (at->path)
        (void)snprintf(to, size, "%s", at->path);
    else
        (void)snprintf(to, size, strchr(at->host, ':') ? "[%s]:%u" : "%s:%u", at->host,
                       (unsigned)at->port);
    return to;
}

static void lost(struct dgf_redis_link *link, const char *cause)
{
    char at[320];

    if (link->up)
        dgf_redis_fail(link->source, DGF_RETRY, "%s to '%s' lost: %s", link->what,
                       where(link, at, sizeof(at)), cause);
    else
        dgf_redis_fail(link->source, DGF_RETRY, "cannot connect to '%s': %s",
                       where(link, at, sizeof(at)), cause);
}

static void tls_failed(struct dgf_redis_link *link)
{
    char text[300], at[320];
    bool lasting;

    dgf_tls_cause(link->tls, text, sizeof(text), &lasting);
    if (!lasting) {
        lost(link, text);
        return;
    }
    dgf_redis_fail(link->source, DGF_BAD_CONFIG, "cannot connect to '%s': %s",
                   where(link, at, sizeof(at)), text);
}

/* ---- commands ---- */

static bool grow_queue(struct dgf_redis_link *link)
{
    size_t cap = link->cap ? 2 * link->cap : 16;
    struct dgf_redis_command *queue = dgf_calloc(cap, sizeof(*queue));

    if (!queue)
        return false;
    for (size_t i = 0, at = link->first; i < link->n; i++) {
        queue[i] = link->queue[at];
        at = at + 1 < link->cap ? at + 1 : 0;
    }
    dgf_free(link->queue);
    link->queue = queue;
    link->cap = cap;
    link->first = 0;
    return true;
}

void dgf_redis_link_send(struct dgf_redis_link *link, struct dgf_redis_command command,
                         const struct dgf_bytes *words, size_t n)
{
    const char **argv;
    size_t *lens;
    char *text = NULL;
    int len = -1;

    if (link->source->failed)
        return;
    argv = dgf_calloc(n, sizeof(*argv));
    lens = dgf_calloc(n, sizeof(*lens));
    if (argv && lens && (link->n < link->cap || grow_queue(link))) {
        for (size_t i = 0; i < n; i++) {
            argv[i] = words[i].len ? (const char *)words[i].ptr : "";
            lens[i] = words[i].len;
        }
        len = (int)redisFormatCommandArgv(&text, (int)n, argv, lens);
    }
    dgf_free(argv);
    dgf_free(lens);
    if (len > 0)
        dgf_buf_add(&link->out, text, (size_t)len);
    if (text)
        redisFreeCommand(text);
    if (len <= 0 || dgf_buf_rc(&link->out)) {
        dgf_redis_fail(link->source, DGF_RETRY, "out of memory");
        return;
    }
    if (link->n && link->queue[link->first].keep)
        return; /* the answer comes through the subscription */
    if (link->n == 0)
        link->since_ns = dgf_clock_mono_ns();
    link->queue[(link->first + link->n++) % link->cap] = command;
}

/* What the socket or the session says to a write: bytes, 0 to wait, -1 ended. */
static ssize_t put_some(struct dgf_redis_link *link, const uint8_t *ptr, size_t len)
{
    size_t n = 0;
    ssize_t sent;

    if (!link->tls) {
        sent = send(link->fd, ptr, len, MSG_NOSIGNAL);
        if (sent >= 0)
            return sent;
        if (errno == EAGAIN || errno == EINTR)
            return 0;
        lost(link, dgf_errno_text(errno));
        return -1;
    }
    switch (dgf_tls_write(link->tls, ptr, len, &n)) {
    case DGF_TLS_DONE:
        return (ssize_t)n;
    case DGF_TLS_WANTS_READ:
    case DGF_TLS_WANTS_WRITE:
        return 0;
    default:
        tls_failed(link);
        return -1;
    }
}

void dgf_redis_link_flush(struct dgf_redis_link *link)
{
    while (!link->source->failed && !link->connecting && !link->shaking &&
           link->out_at < link->out.len) {
        ssize_t n =
            put_some(link, link->out.ptr + link->out_at, link->out.len - link->out_at);

        if (n < 0)
            return;
        if (n == 0) {
            if (event_add(link->write, NULL))
                lost(link, "out of memory");
            return;
        }
        link->out_at += (size_t)n;
    }
    if (link->out_at == link->out.len) {
        link->out_at = 0;
        dgf_buf_clear(&link->out);
    }
}

/* ---- replies ---- */

/* Finds the items of one reply in what was received, so that who deals with the
 * first already sees the last.  False: the connection is over. */
static bool find_items(struct dgf_redis_link *link)
{
    const struct dgf_redis_command *command = &link->queue[link->first];
    enum dgf_rc rc = DGF_OK;

    link->held_at = link->n_held = 0;
    if (link->n == 0) {
        if (dgf_resp_waiting(&link->reader) == 0)
            return true;
        lost(link, "an answer nobody asked for");
        return false;
    }
    link->answered = *command;
    while (link->n_held < HELD_MAX) {
        struct dgf_resp_item *item = &link->held[link->n_held];

        rc = dgf_resp_reader_next(&link->reader, command->explode, item);
        if (rc)
            break;
        link->n_held++;
        if (item->last || item->cut) /* of a cut one the reader holds the head */
            break;
    }
    link->damaged = rc && rc != DGF_AGAIN;
    if (link->n_held && link->held[link->n_held - 1].last && !command->keep) {
        link->first = (link->first + 1) % link->cap;
        link->n--;
        link->since_ns = dgf_clock_mono_ns();
    }
    return true;
}

const struct dgf_resp_item *dgf_redis_link_last(const struct dgf_redis_link *link)
{
    const struct dgf_resp_item *item =
        link->n_held ? &link->held[link->n_held - 1] : NULL;

    return item && item->last ? item : NULL;
}

static bool reads(const struct dgf_redis_source *self)
{
    return self->ending ? !self->failed : !dgf_redis_stopped(self);
}

/* False: stop for now. */
static bool take_items(struct dgf_redis_link *link)
{
    while (reads(link->source) && link->fd >= 0) {
        if (link->held_at == link->n_held) {
            if (link->damaged) {
                lost(link, "the answer is no answer of Redis");
                return false;
            }
            if (!find_items(link))
                return false;
            if (link->n_held == 0 && !link->damaged)
                return true;
            if (link->n_held == 0)
                continue;
        }
        link->held_at++;
        if (!link->source->ending || link->answered.ack)
            link->answered.on_item(link, &link->answered,
                                   &link->held[link->held_at - 1]);
    }
    return false;
}

/* Bytes, 0: none now, -1: the connection is over. */
static ssize_t get_some(struct dgf_redis_link *link, uint8_t *to, size_t room)
{
    size_t n = 0;
    ssize_t got;

    if (!link->tls) {
        got = recv(link->fd, to, room, 0);
        if (got > 0)
            return got;
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        lost(link,
             got == 0 ? "the server closed the connection" : dgf_errno_text(errno));
        return -1;
    }
    switch (dgf_tls_read(link->tls, to, room, &n)) {
    case DGF_TLS_DONE:
        return (ssize_t)n;
    case DGF_TLS_WANTS_READ:
    case DGF_TLS_WANTS_WRITE:
        return 0;
    case DGF_TLS_END:
        lost(link, "the server closed the connection");
        return -1;
    default:
        tls_failed(link);
        return -1;
    }
}

static void read_on(struct dgf_redis_link *link)
{
    size_t bytes = 0, room;
    ssize_t n;

    link->source->seen_ns = dgf_clock_ns();
    while (take_items(link) && bytes < TURN_BYTES && link->fd >= 0) {
        uint8_t *to = dgf_resp_room(&link->reader, READ_BYTES, &room);

        if (!to) {
            dgf_redis_fail(link->source, DGF_RETRY, "out of memory");
            return;
        }
        n = get_some(link, to, room);
        if (n <= 0)
            break;
        link->since_ns = dgf_clock_mono_ns();
        dgf_resp_put(&link->reader, (size_t)n);
        bytes += (size_t)n;
    }
}

void dgf_redis_link_go_on(struct dgf_redis_link *link)
{
    struct dgf_redis_source *self = link->source;

    if (self->failed || link->fd < 0 || link->connecting || link->shaking)
        return;
    read_on(link);
    dgf_redis_settle(self); /* also of what came before a failure */
    if (self->failed || link->fd < 0)
        return;
    if (!reads(self)) {
        (void)event_del(link->read);
        return;
    }
    if (event_add(link->read, NULL))
        lost(link, "out of memory");
    else if (link->tls && dgf_tls_waiting(link->tls) > 0)
        event_active(link->read, EV_READ, 0);
}

static void on_read(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_redis_link *link = ctx;

    (void)fd;
    (void)what;
    if (link->connecting || link->shaking)
        step(link);
    else
        dgf_redis_link_go_on(link);
}

static void on_write(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_redis_link *link = ctx;

    (void)fd;
    (void)what;
    if (link->source->failed)
        return;
    if (link->connecting || link->shaking)
        step(link);
    else
        dgf_redis_link_flush(link);
}

/* ---- logging in ---- */

static void on_login(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_bytes text = dgf_redis_error(item);
    const char *user = link->source->address.user;

    if (text.len == 0) {
        if (command->arg) {
            link->up = true;
            link->on_up(link);
        }
        return;
    }
    if (text.len > 300)
        text.len = 300;
    dgf_redis_fail(link->source, is_lasting(item) ? DGF_BAD_CONFIG : DGF_RETRY,
                   "cannot log in as '%s': %.*s", user ? user : "default",
                   (int)text.len, text.ptr);
}

/* PING ends it: it asks for a log-in when we have none. */
static void log_in(struct dgf_redis_link *link)
{
    const struct dgf_redis_address *address = &link->source->address;
    struct dgf_redis_command command = {.on_item = on_login};
    struct dgf_bytes words[3] = {DGF_BYTES("AUTH")};
    char db[16];
    size_t n = 1;

    link->connecting = link->shaking = false;
    if (address->password) {
        if (address->user)
            words[n++] = dgf_bytes_str(address->user);
        words[n++] = dgf_bytes_str(address->password);
        dgf_redis_link_send(link, command, words, n);
    }
    if (address->db) {
        (void)snprintf(db, sizeof(db), "%u", address->db);
        words[0] = DGF_BYTES("SELECT");
        words[1] = dgf_bytes_str(db);
        dgf_redis_link_send(link, command, words, 2);
    }
    words[0] = DGF_BYTES("PING");
    command.arg = 1;
    dgf_redis_link_send(link, command, words, 1);
    dgf_redis_link_flush(link);
    if (!link->source->failed && event_add(link->read, NULL))
        lost(link, "out of memory");
}

/* ---- connecting ---- */

static void shake(struct dgf_redis_link *link)
{
    enum dgf_tls_step at = dgf_tls_connect(link->tls);

    switch (at) {
    case DGF_TLS_DONE:
        log_in(link);
        return;
    case DGF_TLS_WANTS_READ:
    case DGF_TLS_WANTS_WRITE:
        if (event_add(at == DGF_TLS_WANTS_READ ? link->read : link->write, NULL))
            lost(link, "out of memory");
        return;
    default:
        tls_failed(link);
    }
}

static void begin_tls(struct dgf_redis_link *link)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(link->source);
    struct dgf_tls_setup setup = {.ca = conf->tls.ca,
                                  .cert = conf->tls.cert,
                                  .key = conf->tls.key,
                                  .host = link->node->address.host,
                                  .unverified = conf->insecure};
    struct dgf_err err = {0};
    enum dgf_rc rc = dgf_tls_new(&setup, link->fd, &link->tls, &err);

    if (rc) {
        dgf_redis_fail(link->source, rc == DGF_NOMEM ? DGF_RETRY : rc, "%s", err.text);
        return;
    }
    link->shaking = true;
    shake(link);
}

static void step(struct dgf_redis_link *link)
{
    socklen_t len = sizeof(int);
    int cause = 0;

    if (link->source->failed)
        return;
    if (!link->connecting) {
        shake(link);
        return;
    }
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &cause, &len))
        cause = errno;
    if (cause) {
        lost(link, dgf_errno_text(cause));
        return;
    }
    link->connecting = false;
    if (link->source->address.tls)
        begin_tls(link);
    else
        log_in(link);
}

static void connect_to(struct dgf_redis_link *link, const struct sockaddr *address,
                       socklen_t len)
{
    struct event_base *loop = link->source->base.loop;
    int on = 1;

    link->fd =
        socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0) {
        lost(link, dgf_errno_text(errno));
        return;
    }
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        (void)setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    }
    link->read = event_new(loop, link->fd, EV_READ, on_read, link);
    link->write = event_new(loop, link->fd, EV_WRITE, on_write, link);
    if (!link->read || !link->write) {
        lost(link, "out of memory");
        return;
    }
    link->connecting = true;
    if (connect(link->fd, address, len) == 0)
        step(link);
    else if (errno != EINPROGRESS && errno != EAGAIN)
        lost(link, dgf_errno_text(errno));
    else if (event_add(link->write, NULL))
        lost(link, "out of memory");
}

static void run_lookup(struct dgf_job *job)
{
    struct dgf_redis_lookup *lookup = (struct dgf_redis_lookup *)job;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;

    lookup->cause = getaddrinfo(lookup->host, lookup->port, &hints, &found);
    if (lookup->cause)
        return;
    memcpy(&lookup->address, found->ai_addr, found->ai_addrlen);
    lookup->len = found->ai_addrlen;
    freeaddrinfo(found);
}

static void on_lookup(struct dgf_job *job)
{
    struct dgf_redis_lookup *lookup = (struct dgf_redis_lookup *)job;
    struct dgf_redis_link *link = lookup->link;

    if (link) {
        link->lookup = NULL;
        if (lookup->cause)
            lost(link, gai_strerror(lookup->cause));
        else
            connect_to(link, (const struct sockaddr *)&lookup->address, lookup->len);
    }
    dgf_free(lookup);
}

static void connect_unix(struct dgf_redis_link *link)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(link->node->address.path) >= sizeof(address.sun_path)) {
        dgf_redis_fail(link->source, DGF_BAD_CONFIG, "the socket's path is too long");
        return;
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
                   link->node->address.path);
    connect_to(link, (const struct sockaddr *)&address, sizeof(address));
}

void dgf_redis_link_connect(struct dgf_redis_link *link, dgf_redis_on_up *on_up)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_redis_lookup *lookup;

    link->on_up = on_up;
    link->made = true;
    link->since_ns = dgf_clock_mono_ns();
    dgf_resp_reader_init(&link->reader, self->base.max_event_bytes
                                            ? self->base.max_event_bytes
                                            : (size_t)16 << 20);
    dgf_buf_init(&link->out, OUT_MAX);
    link->held = dgf_calloc(HELD_MAX, sizeof(*link->held));
    if (!link->held) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    if (link->node->address.path) {
        connect_unix(link);
        return;
    }
    lookup = dgf_calloc(1, sizeof(*lookup));
    if (!lookup) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    lookup->job = (struct dgf_job){.run = run_lookup, .done = on_lookup};
    lookup->link = link;
    (void)snprintf(lookup->host, sizeof(lookup->host), "%s", link->node->address.host);
    (void)snprintf(lookup->port, sizeof(lookup->port), "%u", link->node->address.port);
    link->lookup = lookup;
    if (self->base.workers) {
        dgf_workers_submit(self->base.workers, &lookup->job);
    } else { /* dgf check may block */
        run_lookup(&lookup->job);
        on_lookup(&lookup->job);
    }
}

void dgf_redis_link_close(struct dgf_redis_link *link)
{
    if (!link->made)
        return;
    if (link->lookup) { /* its end frees it */
        link->lookup->link = NULL;
        dgf_job_cancel(&link->lookup->job);
        link->lookup = NULL;
    }
    if (link->read)
        event_free(link->read);
    if (link->write)
        event_free(link->write);
    dgf_tls_free(link->tls);
    if (link->fd >= 0)
        (void)close(link->fd);
    dgf_resp_reader_release(&link->reader);
    dgf_wipe(link->out.ptr, link->out.cap); /* it held the password */
    dgf_buf_release(&link->out);
    dgf_free(link->queue);
    dgf_free(link->held);
    *link = (struct dgf_redis_link){
        .source = link->source, .node = link->node, .what = link->what, .fd = -1};
}

void dgf_redis_link_tick(struct dgf_redis_link *link, int64_t now_ns)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(link->source);
    int64_t limit = link->up ? conf->reply_timeout_ns : conf->connect_timeout_ns;
    char at[320];

    if (!link->made || dgf_redis_stopped(link->source))
        return;
    if (link->up && link->n == 0)
        return;
    if (link == &link->node->wait && link->up)
        limit += conf->block_ns;
    if (now_ns - link->since_ns <= limit)
        return;
    dgf_redis_fail(link->source, DGF_RETRY,
                   link->up ? "no answer from '%s' within %d s"
                            : "cannot connect to '%s': no answer within %d s",
                   where(link, at, sizeof(at)), (int)(limit / 1000000000));
}
