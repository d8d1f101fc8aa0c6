/* source_mongo.c - MongoDB through change streams. */
#include "source_mongo.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"

#define AT(f) offsetof(struct dgf_mongo_conf, f)
static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_SECRET_STR, AT(url), DGF_REQUIRED | DGF_SECRET | DGF_ADDRESS,
     .help = "Address as libmongoc reads it: mongodb:// or mongodb+srv://. Without "
             "insecure: true, TLS is on and the server is verified",
     .example = "mongodb://dgf@db-1.example.org,db-2.example.org/?replicaSet=rs0"},
    {"password", DGF_OPT_SECRET_STR, AT(password), DGF_SECRET,
     .help = "Password, when it does not stand in url",
     .example = "${file:/run/secrets/mongo}"},
    {"scope", DGF_OPT_STR, AT(scope), 0,
     .help =
         "Watch this database, or database.collection. Default: the whole deployment",
     .example = "shop"},
    {"include", DGF_OPT_STR_LIST, AT(include), 0,
     .help = "Which collections are judged, as database.collection; * stays inside a "
             "part, ** crosses. Default: all",
     .example = "[shop.*, pay.transfers]"},
    {"exclude", DGF_OPT_STR_LIST, AT(exclude), 0,
     .help = "Which of them are not, in the same form", .example = "[shop.sessions]"},
    {"full_document", DGF_OPT_ENUM, AT(full_document), 0, "default",
     .help = "What the server sends with an update. updateLookup sends a later state, "
             "which is never judged as `after`; the last two need post-images",
     .words = "default|updateLookup|whenAvailable|required"},
    {"before", DGF_OPT_ENUM, AT(before), 0, "whenAvailable",
     .help = "Old documents, from servers of version 6 on. required stops the source "
             "at a change without one",
     .words = "off|whenAvailable|required"},
    {"expanded_events", DGF_OPT_BOOL, AT(expanded_events), 0, "true",
     .help =
         "Also what happens to collections and indexes, from servers of version 6 on"},
    {"start", DGF_OPT_STR, AT(start), 0, "now",
     .help =
         "Where a source the ledger does not know yet begins: now, beginning (behind "
         "the oldest entry of the oplog), or a time like 2030-01-31T00:00:00Z",
     .example = "beginning"},
    {"on_lost", DGF_OPT_ENUM, AT(on_lost), 0, "stop",
     .help = "When the server no longer has our position: stop; a gap record and go on "
             "from now; or go on as early as the server can",
     .words = "stop|from_now|at_time"},
    {"batch_size", DGF_OPT_INT, AT(batch_size), 0, "1000", "1", "100000",
     "Most events of one answer"},
    {"max_await", DGF_OPT_DURATION, AT(await_ns), 0, "500ms", "10ms", "1s",
     "Longest wait of the server for an event. Stopping takes as long"},
    {"connect_timeout", DGF_OPT_DURATION, AT(connect_timeout_ns), 0, "10s", "1s", "5m",
     "Longest time of one attempt to connect"},
    {"answer_timeout", DGF_OPT_DURATION, AT(answer_timeout_ns), 0, "10s", "1s", "5m",
     "Longest time the server may owe an answer, beyond max_await"},
    {"inspect", DGF_OPT_DURATION, AT(inspect_ns), 0, "5m", "1s", "1d",
     "How often collections, indexes, users, roles, settings and the oplog's length are "
     "looked at"},
    {"insecure", DGF_OPT_BOOL, AT(insecure), DGF_DECIDES, "false",
     .help = "Allow a connection that does not verify the server"},
    DGF_OPT_END};

/* A database's name has at most 63 bytes. */
static bool scope_good(const char *scope)
{
    size_t n = strcspn(scope, ".");

    return n && n < DGF_MONGO_DATABASE_MAX && (!scope[n] || scope[n + 1]);
}

const char *dgf_mongo_scope(const struct dgf_mongo_conf *conf,
                            char database[DGF_MONGO_DATABASE_MAX])
{
    const char *scope = conf->scope ? conf->scope : "";
    size_t n = strcspn(scope, ".");

    (void)snprintf(database, DGF_MONGO_DATABASE_MAX, "%.*s", (int)n, scope);
    return scope[n] ? scope + n + 1 : NULL;
}

static void wrong(struct dgf_findings *findings, struct dgf_mark mark,
                  const char *option, const char *fmt, ...) DGF_PRINTF(4, 5);

static void wrong(struct dgf_findings *findings, struct dgf_mark mark,
                  const char *option, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(findings, DGF_FINDING_ERROR, "E0611", mark, NULL, "%s", text);
    dgf_findings_about(findings, "%s", option);
}

static void validate(const void *ptr, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings)
{
    const struct dgf_mongo_conf *conf = ptr;
    const struct dgf_str_list *lists[] = {&conf->include, &conf->exclude};
    static const char *const names[] = {"include", "exclude"};
    struct dgf_err err = {0};
    mongoc_uri_t *uri;
    int64_t ns;

    if (!conf->url)
        return;
    uri = dgf_mongo_uri_make(conf, &err);
    if (!uri)
        wrong(findings, mark, "url", "%s: %s", what, err.text);
    else
        mongoc_uri_destroy(uri);
    if (conf->scope && !scope_good(conf->scope))
        wrong(findings, mark, "scope",
              "%s: '%s' in scope is neither a database nor database.collection", what,
              conf->scope);
    for (size_t l = 0; l < DGF_ARRAY_LEN(lists); l++)
        for (size_t i = 0; i < lists[l]->n; i++)
            if (!strchr(lists[l]->list[i], '.') && !strstr(lists[l]->list[i], "**")) {
                wrong(findings, mark, names[l],
                      "%s: '%s' in %s has no database; write 'shop.%s'", what,
                      lists[l]->list[i], names[l], lists[l]->list[i]);
                dgf_findings_about(findings, "%s[%zu]", names[l], i);
            }
    if (conf->start && strcmp(conf->start, "now") != 0 &&
        strcmp(conf->start, "beginning") != 0 &&
        (!dgf_parse_time(dgf_bytes_str(conf->start), &ns) || ns < 0 ||
         ns / 1000000000 > UINT32_MAX))
        wrong(findings, mark, "start",
              "%s: '%s' in start is none of now, beginning, and a time like "
              "2030-01-31T00:00:00Z",
              what, conf->start);
    if (!conf->insecure)
        return;
    dgf_findings_add(
        findings, DGF_FINDING_WARNING, "W0201", mark, NULL,
        "%s: insecure: true allows a connection that does not verify the server", what);
    dgf_findings_about(findings, "insecure");
}

/* ---- the queue's loop side ---- */

static const struct dgf_bytes memory_key = {(const uint8_t *)"inspect.2", 9};

static struct dgf_mongo_item *take_item(struct dgf_mongo_session *session)
{
    struct dgf_mongo_item *item;

    (void)pthread_mutex_lock(&session->lock);
    item = session->first;
    if (item) {
        session->first = item->next;
        if (!session->first)
            session->end = &session->first;
        session->n_bytes -= sizeof(*item) + (item->event ? item->event->body.len : 0);
        (void)pthread_cond_broadcast(&session->wake);
    }
    (void)pthread_mutex_unlock(&session->lock);
    return item;
}

static void emit(struct dgf_mongo_source *self, struct dgf_mongo_item *item)
{
    bool real = item->event->kind != DGF_KIND_GAP &&
                item->event->kind != DGF_KIND_RESUME && item->event->position.len;
    enum dgf_rc rc = dgf_source_emit(&self->base, dgf_steal(item->event));

    if (real) {
        self->n_lost = self->n_poison = 0;
        self->progressed = true;
    }
    if (rc == DGF_AGAIN) {
        self->blocked = true;
    } else if (rc) {
        self->failed = true;
        dgf_source_fail(&self->base, rc, "the event was not taken");
    }
}

static void act(struct dgf_mongo_source *self, struct dgf_mongo_item *item)
{
    switch (item->kind) {
    case DGF_MONGO_ITEM_EVENT:
        emit(self, item);
        return;
    case DGF_MONGO_ITEM_STATE:
        dgf_source_state(&self->base, item->state, "%s", item->text);
        return;
    case DGF_MONGO_ITEM_CAUGHT_UP:
        dgf_source_caught_up(&self->base);
        return;
    case DGF_MONGO_ITEM_MEMORY:
        if (dgf_source_put_state(&self->base, memory_key,
                                 dgf_bytes_of(item->text, item->len))) {
            self->failed = true;
            dgf_source_fail(&self->base, DGF_RETRY, "cannot remember what was seen");
        }
        return;
    case DGF_MONGO_ITEM_LOST:
        self->n_lost++;
        self->n_poison = 0;
        return;
    case DGF_MONGO_ITEM_FAIL:
        self->failed = true;
        if (item->poison)
            self->n_poison++;
        dgf_source_fail(&self->base, item->rc, "%s", item->text);
        return;
    }
}

static void drain(struct dgf_mongo_source *self)
{
    struct dgf_mongo_item *item;

    while (!self->paused && !self->blocked && !self->failed &&
           (item = take_item(self->session))) {
        act(self, item);
        dgf_free(item);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    uint64_t n;

    (void)what;
    (void)!read(fd, &n, sizeof(n));
    drain(ctx);
}

static void on_again(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    drain(ctx);
}

/* ---- life ---- */

static void free_event(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

/* A thread in a call that hangs is not waited for: it ends by itself. */
static void stop_session(struct dgf_mongo_session *session, int64_t wait_ns)
{
    struct timespec until;

    wait_ns += dgf_clock_mono_ns();
    until.tv_sec = wait_ns / 1000000000;
    until.tv_nsec = wait_ns % 1000000000;
    (void)pthread_mutex_lock(&session->lock);
    session->stop = true;
    (void)pthread_cond_broadcast(&session->wake);
    while (!session->ended &&
           pthread_cond_timedwait(&session->wake, &session->lock, &until) != ETIMEDOUT)
        ;
    (void)pthread_mutex_unlock(&session->lock);
    dgf_mongo_session_unref(session);
}

static void mongo_close(struct dgf_source *src)
{
    struct dgf_mongo_source *self = (struct dgf_mongo_source *)src;
    const struct dgf_mongo_conf *conf = src->conf;

    free_event(&self->readable);
    free_event(&self->again);
    if (self->session)
        stop_session(self->session, conf->await_ns + 300000000);
    self->session = NULL;
}

static bool start_thread(struct dgf_mongo_session *session)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    bool started;

    if (pthread_attr_init(&attr))
        return false;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    session->refs++;
    started = !pthread_create(&thread, &attr, dgf_mongo_session_run, session);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (started)
        (void)pthread_setname_np(thread, "dgf-mongo");
    else
        session->refs--;
    return started;
}

/* What inspection saw before; without it everything is told once more. */
static bool recall(struct dgf_mongo_source *self, struct dgf_mongo_session *session)
{
    struct dgf_buf memory;
    enum dgf_rc rc;
    bool good;

    dgf_buf_init(&memory, 2u << 20);
    rc = dgf_source_get_state(&self->base, memory_key, &memory);
    good = rc == DGF_AGAIN ||
           (!rc && dgf_mongo_seen_read(session, dgf_buf_bytes(&memory)));
    dgf_buf_release(&memory);
    return good;
}

static bool copy_list(const struct dgf_str_list *from, struct dgf_str_list *to)
{
    *to = (struct dgf_str_list){0};
    if (!from->n)
        return true;
    to->list = dgf_calloc(from->n, sizeof(*to->list));
    if (!to->list)
        return false;
    for (; to->n < from->n; to->n++) {
        to->list[to->n] = dgf_strdup(from->list[to->n]);
        if (!to->list[to->n])
            return false;
    }
    return true;
}

/* A thread that hangs may outlive the configuration. */
static bool copy_conf(const struct dgf_mongo_conf *conf, struct dgf_mongo_conf *to)
{
    bool good;

    *to = *conf;
    to->url = to->password = to->scope = NULL; /* the session has its own parts */
    good = copy_list(&conf->include, &to->include);
    return copy_list(&conf->exclude, &to->exclude) && good;
}

static void add_list(struct dgf_buf *buf, const char *word,
                     const struct dgf_str_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        dgf_buf_add(buf, word, strlen(word) + 1);
        dgf_buf_add(buf, list->list[i], strlen(list->list[i]) + 1);
    }
}

static bool hash_of(struct dgf_buf *buf, uint8_t to[DGF_MONGO_HASH_LEN])
{
    uint8_t digest[DGF_SHA256_LEN];

    dgf_sha256(dgf_buf_bytes(buf), digest);
    digest[0] |= 1; /* zeros are: not known */
    memcpy(to, digest, DGF_MONGO_HASH_LEN);
    if (dgf_buf_rc(buf))
        return false;
    dgf_buf_clear(buf);
    return true;
}

/* Each option with a word before it, so that no two say the same. */
static bool find_shape(const struct dgf_mongo_conf *conf, struct dgf_mongo_shape *ret)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf buf = {0};

    dgf_buf_init(&buf, 1u << 20);
    dgf_buf_add_byte(&buf, 's');
    if (conf->scope)
        dgf_buf_add(&buf, conf->scope, strlen(conf->scope) + 1);
    if (!hash_of(&buf, ret->scope))
        return false;
    dgf_buf_add_byte(&buf, 'n');
    add_list(&buf, "in", &conf->include);
    add_list(&buf, "out", &conf->exclude);
    if (!hash_of(&buf, ret->names))
        return false;
    dgf_buf_add_byte(&buf, 'i');
    dgf_buf_add_byte(&buf, (uint8_t)conf->full_document);
    dgf_buf_add_byte(&buf, (uint8_t)conf->before);
    dgf_buf_add_byte(&buf, conf->expanded_events);
    return hash_of(&buf, ret->images);
}

static struct dgf_mongo_session *session_new(struct dgf_mongo_source *self,
                                             struct dgf_bytes position)
{
    const struct dgf_mongo_conf *conf = self->base.conf;
    struct dgf_mongo_session *session = dgf_calloc(1, sizeof(*session));
    char database[DGF_MONGO_DATABASE_MAX];
    const char *collection;
    pthread_condattr_t attr;

    if (!session)
        return NULL;
    session->fd = -1;
    session->refs = 1;
    session->end = &session->first;
    session->conf = &session->own;
    (void)pthread_mutex_init(&session->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&session->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    session->max_event_bytes =
        self->base.max_event_bytes ? self->base.max_event_bytes : 16 << 20;
    dgf_event_builder_init(&session->builder, session->max_event_bytes);
    dgf_map_init(&session->objects);
    dgf_map_init(&session->seen);
    dgf_buf_init(&session->token, DGF_MONGO_TOKEN_MAX);
    dgf_buf_init(&session->scratch, 256 << 10);
    dgf_buf_init(&session->parts, 128u << 20);
    session->n_lost = self->n_lost;
    session->n_poison = self->n_poison;
    if (!copy_conf(conf, &session->own) || !find_shape(conf, &session->shape)) {
        dgf_mongo_session_unref(session);
        return NULL;
    }
    collection = dgf_mongo_scope(conf, database);
    session->database = *database ? dgf_strdup(database) : NULL;
    session->collection = collection ? dgf_strdup(collection) : NULL;
    session->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (position.len) {
        struct dgf_mongo_position stored;

        if (dgf_mongo_position_read(position, &stored))
            dgf_mongo_set_position(session, &stored);
    }
    return session;
}

static void find_metrics(struct dgf_mongo_source *self)
{
    char labels[256];

    (void)snprintf(labels, sizeof(labels), "source=\"%.200s\"", self->base.name);
    self->session->window =
        dgf_metric_get(DGF_METRIC_GAUGE, "dgf_source_history_seconds",
                       "how far back the server's own log reaches", labels);
    self->session->lag = dgf_metric_get(
        DGF_METRIC_GAUGE, "dgf_source_lag_seconds",
        "time between the server's newest change and our position", labels);
}

static enum dgf_rc mongo_open(struct dgf_source *src, struct dgf_bytes position,
                              struct dgf_err *err)
{
    struct dgf_mongo_source *self = (struct dgf_mongo_source *)src;
    struct dgf_mongo_session *session;
    struct dgf_mongo_position stored;

    mongo_close(src);
    self->paused = self->blocked = self->failed = self->progressed = false;
    if (position.len && !dgf_mongo_position_read(position, &stored))
        return dgf_err_set(
            err, DGF_FATAL,
            "cannot read the stored position of source '%s': %zu bytes of an "
            "unknown form",
            src->name, position.len);
    self->session = session = session_new(self, position);
    if (!session)
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    session->uri = dgf_mongo_uri_make(src->conf, err);
    if (!session->uri) {
        mongo_close(src);
        return err->rc;
    }
    find_metrics(self);
    self->again = event_new(src->loop, -1, 0, on_again, self);
    self->readable = session->fd < 0
                         ? NULL
                         : event_new(src->loop, session->fd, EV_READ | EV_PERSIST,
                                     on_readable, self);
    if (!self->again || !self->readable || event_add(self->readable, NULL) ||
        (position.len && !session->has_position) || !recall(self, session) ||
        !start_thread(session)) {
        session->ended = true;
        mongo_close(src);
        return dgf_err_set(err, DGF_RETRY, "cannot start the thread of source '%s'",
                           src->name);
    }
    return DGF_OK;
}

static void mongo_pause(struct dgf_source *src)
{
    ((struct dgf_mongo_source *)src)->paused = true;
}

static void mongo_resume(struct dgf_source *src)
{
    struct dgf_mongo_source *self = (struct dgf_mongo_source *)src;
    struct timeval now = {0, 0};

    self->paused = self->blocked = false;
    if (self->again)
        (void)event_add(self->again, &now);
}

static void mongo_durable(struct dgf_source *src, uint64_t seq)
{
    (void)src;
    (void)seq; /* the server wants no acknowledgement */
}

static unsigned mongo_gives(struct dgf_source *src, const struct dgf_object *object)
{
    const struct dgf_mongo_conf *conf = src->conf;
    unsigned gives =
        DGF_GIVES_DELETES | DGF_GIVES_EVERY_VERSION | DGF_GIVES_KEY | DGF_GIVES_DDL;

    (void)object;
    /* Whether a collection keeps images is known only when one is missing. */
    if (conf->before != DGF_MONGO_IMAGES_OFF)
        gives |= DGF_GIVES_BEFORE | DGF_GIVES_AFTER;
    if (conf->full_document >= DGF_MONGO_FULL_AVAILABLE)
        gives |= DGF_GIVES_AFTER;
    return gives;
}

const struct dgf_source_type dgf_source_mongo = {
    .name = "mongo",
    .summary = "MongoDB 4.4 and later: change streams",
    .aliases = "mongodb",
    .guarantee = DGF_GUARANTEE_EXACTLY_ONCE,
    .opts = opts,
    .conf_size = sizeof(struct dgf_mongo_conf),
    .self_size = sizeof(struct dgf_mongo_source),
    .validate = validate,
    .check = dgf_mongo_check,
    .open = mongo_open,
    .pause = mongo_pause,
    .resume = mongo_resume,
    .durable = mongo_durable,
    .close = mongo_close,
    .position_text = dgf_mongo_position_text,
    .gives = mongo_gives,
};
