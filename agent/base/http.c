#include "base/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <strings.h>

#include "config.h" /* PACKAGE_VERSION */

struct watch { /* a socket of libcurl's */
    struct dgf_http *http;
    struct event *event;
    struct watch *next, **at;
};

struct dgf_http {
    struct event_base *loop;
    CURLM *multi;
    struct event *timer, *deliver;
    struct watch *watches;
    struct dgf_http_call *calls;            /* all that are not forgotten */
    struct dgf_http_call *done, **done_end; /* of them: finished, not yet told */
    char *ca, *user_agent;
    bool unverified;
    int64_t connect_ms;
    bool delivering, dead; /* dead: freed while a `done` runs */
};

struct dgf_http_call {
    struct dgf_http *http;
    struct dgf_http_call *next, **at; /* in http->calls */
    struct dgf_http_call *next_done;
    CURL *easy;
    struct curl_slist *headers;
    uint8_t *sent; /* body; may hold a secret */
    size_t n_sent;
    struct dgf_buf body;
    struct dgf_buf head; /* "name\0value\0", names in lower case */
    CURLcode code;
    bool finished, too_large, head_too_large, broken_head, head_ended, says_end;
    int64_t timeout_ms;
    void (*told)(void *ctx, const struct dgf_http_answer *answer);
    void *ctx;
    char where[300]; /* host:port */
    char reason[CURL_ERROR_SIZE];
};

/* ---- sockets and the timer: libcurl's side of the loop ---- */

static void gather(struct dgf_http *http)
{
    CURLMsg *message;
    int n;

    while ((message = curl_multi_info_read(http->multi, &n))) {
        struct dgf_http_call *call = NULL;
        CURLcode code;

        if (message->msg != CURLMSG_DONE)
            continue;
        code = message->data.result;
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        (void)curl_multi_remove_handle(http->multi, call->easy);
        call->code = code;
        call->finished = true;
        call->next_done = NULL;
        *http->done_end = call;
        http->done_end = &call->next_done;
    }
    if (http->done)
        event_active(http->deliver, 0, 0);
}

static void on_socket(evutil_socket_t fd, short what, void *ctx)
{
    struct watch *watch = ctx;
    struct dgf_http *http = watch->http; /* watch may be gone after the call */
    int n, bits = (what & EV_READ ? CURL_CSELECT_IN : 0) |
                  (what & EV_WRITE ? CURL_CSELECT_OUT : 0);

    (void)curl_multi_socket_action(http->multi, fd, bits, &n);
    gather(http);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_http *http = ctx;
    int n;

    (void)fd;
    (void)what;
    (void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &n);
    gather(http);
}

static void forget_watch(struct watch *watch)
{
    *watch->at = watch->next;
    if (watch->next)
        watch->next->at = watch->at;
    if (watch->event)
        event_free(watch->event);
    dgf_free(watch);
}

static struct watch *watch_new(struct dgf_http *http)
{
    struct watch *watch = dgf_calloc(1, sizeof(*watch));

    if (!watch)
        return NULL;
    watch->http = http;
    watch->next = http->watches;
    watch->at = &http->watches;
    if (watch->next)
        watch->next->at = &watch->next;
    http->watches = watch;
    return watch;
}

/* libcurl ignores what we answer; without a watch the request times out. */
static int set_watch(CURL *easy, curl_socket_t fd, int what, void *ctx, void *at)
{
    struct dgf_http *http = ctx;
    struct watch *watch = at;
    short kinds = EV_PERSIST;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watch)
            forget_watch(watch);
        return 0;
    }
    if (!watch) {
        watch = watch_new(http);
        if (!watch)
            return -1;
        (void)curl_multi_assign(http->multi, fd, watch);
    }
    kinds |= what & CURL_POLL_IN ? EV_READ : 0;
    kinds |= what & CURL_POLL_OUT ? EV_WRITE : 0;
    if (watch->event)
        event_free(watch->event);
    watch->event = event_new(http->loop, fd, kinds, on_socket, watch);
    return watch->event && !event_add(watch->event, NULL) ? 0 : -1;
}

static int set_timer(CURLM *multi, long ms, void *ctx)
{
    struct dgf_http *http = ctx;
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};

    (void)multi;
    return ms < 0 ? event_del(http->timer) : event_add(http->timer, &wait);
}

/* ---- what came ---- */

static size_t on_body(char *from, size_t size, size_t n, void *ctx)
{
    struct dgf_http_call *call = ctx;
    size_t len = size * n; /* size is 1 */

    dgf_buf_add(&call->body, from, len);
    if (!dgf_buf_rc(&call->body))
        return len;
    call->too_large = len > call->body.max - call->body.len;
    return 0;
}

static void add_lower(struct dgf_buf *buf, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        dgf_buf_add_byte(buf, (uint8_t)(from[i] >= 'A' && from[i] <= 'Z'
                                            ? from[i] - 'A' + 'a'
                                            : from[i]));
}

static size_t on_head(char *line, size_t size, size_t n, void *ctx)
{
    struct dgf_http_call *call = ctx;
    size_t len = size * n, end = len;
    const char *colon, *value;

    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        dgf_buf_clear(&call->head); /* what a 100 brought before */
        call->head_ended = call->says_end = false;
    }
    if (len <= 2 && line[0] != ':')
        call->head_ended = true;
    if (memchr(line, 0, len)) {
        call->broken_head = true;
        return 0;
    }
    colon = memchr(line, ':', len);
    if (!colon)
        return len;
    while (end > 0 && (unsigned char)line[end - 1] <= ' ')
        end--;
    value = colon + 1;
    call->says_end = call->says_end || !strncasecmp(line, "content-length:", 15) ||
                     !strncasecmp(line, "transfer-encoding:", 18);
    while (value < line + end && (unsigned char)*value <= ' ')
        value++;
    add_lower(&call->head, line, (size_t)(colon - line));
    dgf_buf_add_byte(&call->head, 0);
    if (value < line + end)
        dgf_buf_add(&call->head, value, (size_t)(line + end - value));
    dgf_buf_add_byte(&call->head, 0);
    call->head_too_large = dgf_buf_rc(&call->head) != DGF_OK;
    return call->head_too_large ? 0 : len;
}

const char *dgf_http_header(const struct dgf_http_answer *answer, const char *name)
{
    const struct dgf_buf *head = answer->call ? &answer->call->head : NULL;
    const char *at = head ? (const char *)head->ptr : NULL;
    const char *end = head && head->len ? at + head->len : at;

    while (at < end) {
        const char *value = at + strlen(at) + 1;

        if (strcmp(at, name) == 0)
            return value;
        at = value + strlen(value) + 1;
    }
    return NULL;
}

/* ---- how it ended ---- */

/* Without what libcurl puts in front of the library's words. */
static const char *certificate_cause(const struct dgf_http_call *call)
{
    static const char *const heads[] = {"SSL certificate problem: ", "SSL: "};

    for (size_t i = 0; i < DGF_ARRAY_LEN(heads); i++)
        if (strncmp(call->reason, heads[i], strlen(heads[i])) == 0)
            return call->reason + strlen(heads[i]);
    return call->reason[0] ? call->reason : curl_easy_strerror(call->code);
}

static enum dgf_rc timed_out(const struct dgf_http_call *call, struct dgf_err *err)
{
    curl_off_t sent = 0;

    (void)curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &sent);
    if (!sent)
        return dgf_err_set(err, DGF_RETRY, "cannot connect to '%s': no answer in time",
                           call->where);
    return dgf_err_set(err, DGF_RETRY, "no whole answer of '%s' within %lld ms",
                       call->where, (long long)call->timeout_ms);
}

static enum dgf_rc not_written(const struct dgf_http_call *call, struct dgf_err *err)
{
    if (call->broken_head)
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' sent headers that are none",
                           call->where);
    if (call->head_too_large)
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' sent more than %u bytes of headers",
                           call->where, DGF_HTTP_HEAD_MAX);
    if (call->too_large)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the answer of '%s' has more than %zu bytes", call->where,
                           call->body.max);
    return dgf_err_set(err, DGF_NOMEM, "out of memory for the answer of '%s'",
                       call->where);
}

/* libcurl takes the end of a connection for the end of headers, and of a body without
 * a length. */
static enum dgf_rc whole(const struct dgf_http_call *call, struct dgf_err *err)
{
    if (call->head_ended && (call->says_end || !call->body.len))
        return DGF_OK;
    return dgf_err_set(err, DGF_RETRY, "the answer of '%s' does not say where it ends",
                       call->where);
}

static enum dgf_rc result_of(const struct dgf_http_call *call, struct dgf_err *err)
{
    const char *cause = call->reason[0] ? call->reason : curl_easy_strerror(call->code);
    long os_error = 0;

    (void)curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os_error);
    switch (call->code) {
    case CURLE_OK:
        return whole(call, err);
    case CURLE_OPERATION_TIMEDOUT:
        return timed_out(call, err);
    case CURLE_WRITE_ERROR:
        return not_written(call, err);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return dgf_err_set(err, DGF_RETRY, "cannot find the address of '%s'",
                           call->where);
    case CURLE_COULDNT_CONNECT:
        return dgf_err_set(err, DGF_RETRY, "cannot connect to '%s': %s", call->where,
                           os_error ? dgf_errno_text((int)os_error) : "refused");
    case CURLE_PEER_FAILED_VERIFICATION:
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the certificate of '%s' is refused: %s", call->where,
                           certificate_cause(call));
    case CURLE_SSL_CACERT_BADFILE:
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot use the CA certificates in '%s'",
                           call->http->ca ? call->http->ca : "the system");
    case CURLE_SSL_CONNECT_ERROR:
        return dgf_err_set(err, DGF_RETRY, "cannot begin TLS with '%s': %s",
                           call->where, cause);
    case CURLE_GOT_NOTHING:
        return dgf_err_set(err, DGF_RETRY,
                           "'%s' closed the connection without an answer", call->where);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return dgf_err_set(err, DGF_RETRY, "the connection to '%s' was cut: %s",
                           call->where,
                           os_error ? dgf_errno_text((int)os_error) : cause);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' does not speak HTTP/1.1: %s",
                           call->where, cause);
    case CURLE_OUT_OF_MEMORY:
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    default:
        return dgf_err_set(err, DGF_RETRY, "request to '%s' failed: %s", call->where,
                           cause);
    }
}

/* ---- calls ---- */

static void wipe_list(struct curl_slist *list)
{
    for (struct curl_slist *at = list; at; at = at->next)
        dgf_wipe(at->data, strlen(at->data));
    curl_slist_free_all(list);
}

static void call_free(struct dgf_http_call *call)
{
    if (!call)
        return;
    if (call->at) {
        *call->at = call->next;
        if (call->next)
            call->next->at = call->at;
    }
    if (call->easy)
        curl_easy_cleanup(call->easy);
    wipe_list(call->headers);
    if (call->sent)
        dgf_wipe(call->sent, call->n_sent);
    dgf_free(call->sent);
    dgf_buf_release(&call->head);
    dgf_buf_release(&call->body);
    dgf_free(call);
}
DGF_CLEANUP_OF(struct dgf_http_call *, call_free)

void dgf_http_cancel(struct dgf_http_call *call)
{
    struct dgf_http_call **at;

    if (!call)
        return;
    if (!call->finished)
        (void)curl_multi_remove_handle(call->http->multi, call->easy);
    for (at = &call->http->done; *at && *at != call; at = &(*at)->next_done)
        ;
    if (*at) {
        *at = call->next_done;
        if (!*at)
            call->http->done_end = at;
    }
    call_free(call);
}

static void on_deliver(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_http *http = ctx;
    struct dgf_http_call *call;

    (void)fd;
    (void)what;
    http->delivering = true;
    while (!http->dead && (call = http->done)) {
        struct dgf_http_answer answer = {.call = call,
                                         .body = dgf_buf_bytes(&call->body)};
        struct dgf_err err = {0};
        long status = 0;

        http->done = call->next_done;
        if (!http->done)
            http->done_end = &http->done;
        /* Out of the list: a client that is freed meanwhile leaves it to us. */
        *call->at = call->next;
        if (call->next)
            call->next->at = call->at;
        call->at = NULL;
        (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        answer.rc = result_of(call, &err);
        answer.text = err.text;
        answer.status = (int)status;
        call->told(call->ctx, &answer);
        call_free(call);
    }
    http->delivering = false;
    if (http->dead)
        dgf_free(http);
}

/* host:port of a URL, which must be http or https. */
static bool find_where(const char *url, char *to, size_t size)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL;
    bool good = parts && !curl_url_set(parts, CURLUPART_URL, url, 0) &&
                !curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) &&
                !curl_url_get(parts, CURLUPART_HOST, &host, 0) &&
                !curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) &&
                (!strcasecmp(scheme, "http") || !strcasecmp(scheme, "https"));

    if (good)
        (void)snprintf(to, size, "%s:%s", host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return good;
}

static bool add_line(struct dgf_http_call *call, const char *line)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);

    if (!list)
        return false;
    call->headers = list;
    return true;
}

static bool set_headers(struct dgf_http_call *call,
                        const struct dgf_http_request *request)
{
    bool type = false;

    for (size_t i = 0; i < request->n_headers; i++) {
        type = type || !strncasecmp(request->headers[i], "content-type", 12);
        if (!add_line(call, request->headers[i]))
            return false;
    }
    /* libcurl would name a form, and would wait for a 100. */
    return (type || add_line(call, "Content-Type:")) && add_line(call, "Expect:") &&
           !curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static bool set_body(struct dgf_http_call *call, const struct dgf_http_request *request)
{
    const char *method = request->method;
    bool has = request->body.len || !strcmp(method, "PUT") || !strcmp(method, "POST") ||
               !strcmp(method, "PATCH");

    if (!strcmp(method, "HEAD"))
        return !curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
    if (!has)
        return !curl_easy_setopt(call->easy, CURLOPT_HTTPGET, 1L) &&
               !curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
    call->n_sent = request->body.len;
    call->sent = dgf_malloc(call->n_sent + 1);
    if (!call->sent)
        return false;
    if (call->n_sent)
        memcpy(call->sent, request->body.ptr, call->n_sent);
    return !curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, (char *)call->sent) &&
           !curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                             (curl_off_t)call->n_sent) &&
           !curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
}

static bool set_trust(struct dgf_http_call *call)
{
    const struct dgf_http *http = call->http;

    if (http->unverified)
        return !curl_easy_setopt(call->easy, CURLOPT_SSL_VERIFYPEER, 0L) &&
               !curl_easy_setopt(call->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    return !http->ca || (!curl_easy_setopt(call->easy, CURLOPT_CAINFO, http->ca) &&
                         !curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL));
}

static bool set_all(struct dgf_http_call *call, const struct dgf_http_request *request)
{
    const struct dgf_http *http = call->http;
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_TIMEOUT_MS, (long)call->timeout_ms},
        {CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_ms},
        {CURLOPT_TCP_KEEPALIVE, 1},
#if LIBCURL_VERSION_NUM >= 0x075700
        {CURLOPT_QUICK_EXIT, 1}, /* not wait for a name nobody looks up */
#endif
    };
    const struct {
        CURLoption option;
        const void *value;
    } pointers[] = {
        {CURLOPT_URL, request->url},
        {CURLOPT_PRIVATE, call},
        {CURLOPT_ERRORBUFFER, call->reason},
        {CURLOPT_USERAGENT, http->user_agent},
        {CURLOPT_WRITEDATA, call},
        {CURLOPT_HEADERDATA, call},
        {CURLOPT_NOPROXY, request->direct ? "*" : NULL},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(numbers); i++)
        if (curl_easy_setopt(call->easy, numbers[i].option, numbers[i].value))
            return false;
    for (size_t i = 0; i < DGF_ARRAY_LEN(pointers); i++)
        if (curl_easy_setopt(call->easy, pointers[i].option, pointers[i].value))
            return false;
    return !curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_body) &&
           !curl_easy_setopt(call->easy, CURLOPT_HEADERFUNCTION, on_head) &&
           set_headers(call, request) && set_body(call, request) && set_trust(call);
}

enum dgf_rc dgf_http_send(struct dgf_http *http, const struct dgf_http_request *request,
                          struct dgf_http_call **ret_call, struct dgf_err *err)
{
    DGF_CLEANUP(call_free) struct dgf_http_call *call = dgf_calloc(1, sizeof(*call));

    if (!call)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a request");
    call->http = http;
    call->timeout_ms = request->timeout_ms ? request->timeout_ms : 30000;
    call->told = request->done;
    call->ctx = request->ctx;
    dgf_buf_init(&call->body, request->max_body ? request->max_body : 1);
    dgf_buf_init(&call->head, DGF_HTTP_HEAD_MAX);
    if (!find_where(request->url, call->where, sizeof(call->where)))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "this is no http:// or https:// address");
    call->easy = curl_easy_init();
    if (!call->easy || !set_all(call, request) ||
        curl_multi_add_handle(http->multi, call->easy))
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a request to '%s'",
                           call->where);
    call->next = http->calls;
    call->at = &http->calls;
    if (call->next)
        call->next->at = &call->next;
    http->calls = call;
    if (ret_call)
        *ret_call = call;
    call = NULL;
    return DGF_OK;
}

/* ---- the client ---- */

struct event_base *dgf_http_loop(const struct dgf_http *http)
{
    return http->loop;
}

static bool multi_set(struct dgf_http *http, unsigned max_connections)
{
    long most = max_connections ? (long)max_connections : 8;

    return !curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, set_watch) &&
           !curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) &&
           !curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, set_timer) &&
           !curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) &&
           !curl_multi_setopt(http->multi, CURLMOPT_MAX_HOST_CONNECTIONS, most) &&
           !curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, most * 2) &&
           !curl_multi_setopt(http->multi, CURLMOPT_PIPELINING, 0L);
}

enum dgf_rc dgf_http_new(struct event_base *loop, const struct dgf_http_conf *conf,
                         struct dgf_http **ret, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_http_free) struct dgf_http *http = dgf_calloc(1, sizeof(*http));

    if (!http || curl_global_init(CURL_GLOBAL_DEFAULT))
        return dgf_err_set(err, DGF_NOMEM, "cannot begin HTTP: out of memory");
    http->loop = loop;
    http->done_end = &http->done;
    http->unverified = conf->unverified;
    http->connect_ms = conf->connect_ms ? conf->connect_ms : 5000;
    http->ca = conf->ca ? dgf_strdup(conf->ca) : NULL;
    http->user_agent =
        dgf_strdup(conf->user_agent ? conf->user_agent : "dgf/" PACKAGE_VERSION);
    http->timer = event_new(loop, -1, 0, on_timer, http);
    http->deliver = event_new(loop, -1, 0, on_deliver, http);
    http->multi = curl_multi_init();
    if ((conf->ca && !http->ca) || !http->user_agent || !http->timer ||
        !http->deliver || !http->multi || !multi_set(http, conf->max_connections))
        return dgf_err_set(err, DGF_NOMEM, "cannot begin HTTP: out of memory");
    *ret = dgf_steal(http);
    return DGF_OK;
}

void dgf_http_free(struct dgf_http *http)
{
    if (!http)
        return;
    while (http->calls)
        dgf_http_cancel(http->calls);
    if (http->multi)
        (void)curl_multi_cleanup(http->multi);
    while (http->watches)
        forget_watch(http->watches);
    if (http->timer)
        event_free(http->timer);
    if (http->deliver)
        event_free(http->deliver);
    dgf_free(http->ca);
    dgf_free(http->user_agent);
    http->dead = true;
    if (!http->delivering)
        dgf_free(http);
}

/* ---- waiting ---- */

struct waiting {
    const struct dgf_http_request *request;
    bool done;
    int *ret_status;
    struct dgf_buf *ret_body;
    struct dgf_err *err;
    enum dgf_rc rc;
};

static void on_waited(void *ctx, const struct dgf_http_answer *answer)
{
    struct waiting *waiting = ctx;

    waiting->done = true;
    waiting->rc = answer->rc;
    if (answer->rc)
        (void)dgf_err_set(waiting->err, answer->rc, "%s", answer->text);
    *waiting->ret_status = answer->status;
    dgf_buf_add_bytes(waiting->ret_body, answer->body);
    if (!answer->rc && dgf_buf_rc(waiting->ret_body))
        waiting->rc =
            dgf_err_set(waiting->err, DGF_NOMEM, "out of memory for an answer");
    if (waiting->request->done)
        waiting->request->done(waiting->request->ctx, answer);
}

enum dgf_rc dgf_http_wait(struct dgf_http *http, const struct dgf_http_request *request,
                          int *ret_status, struct dgf_buf *ret_body,
                          struct dgf_err *err)
{
    struct waiting waiting = {
        .request = request, .ret_status = ret_status, .ret_body = ret_body, .err = err};
    struct dgf_http_request own = *request;
    struct dgf_http_call *call = NULL;
    enum dgf_rc rc;

    own.done = on_waited;
    own.ctx = &waiting;
    rc = dgf_http_send(http, &own, &call, err);
    if (rc)
        return rc;
    while (!waiting.done)
        if (event_base_loop(http->loop, EVLOOP_ONCE) < 0) {
            dgf_http_cancel(call);
            return dgf_err_set(err, DGF_FATAL, "the loop of a request ended");
        }
    return waiting.rc;
}
