#include "azure_rest.h"

#include <event2/event.h>
#include <stdio.h>

#include "azure_sign.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/parse.h"

#define MAX_HEADERS 32
#define HEADERS_MAX_BYTES 16384
#define URL_MAX_BYTES 8192
#define ANSWER_MAX_BYTES (64u << 10)
#define SECOND_NS INT64_C(1000000000)
#define SKEW_MIN_NS (300 * SECOND_NS) /* less is not why we were refused: 15 min is */

struct call {
    struct dgf_azure_rest *rest;
    struct call *next, **at; /* of all that are not done */
    struct dgf_azure_ask ask;
    char *method, *url;
    struct dgf_buf headers; /* NUL-separated */
    bool waits;             /* for a token */
};

struct dgf_azure_rest {
    char *base_url;
    struct dgf_http *http;
    struct dgf_azure_auth *auth;
    int64_t timeout_ms;
    struct call *calls;
    bool asked_token;
    unsigned busy; /* a `done` runs: its memory stays until that ends */
    bool dead;
};

static void call_free(struct call *call)
{
    if (!call)
        return;
    if (call->at) {
        *call->at = call->next;
        if (call->next)
            call->next->at = call->at;
    }
    dgf_free(call->method);
    dgf_free(call->url);
    if (call->headers.ptr)
        dgf_wipe(call->headers.ptr, call->headers.len);
    dgf_buf_release(&call->headers);
    dgf_free(call);
}
DGF_CLEANUP_OF(struct call *, call_free)

/* ---- what an answer means ---- */

const char *dgf_azure_answer_header(const struct dgf_azure_answer *answer,
                                    const char *name)
{
    const char *value = answer->http ? dgf_http_header(answer->http, name) : NULL;

    return value ? value : "";
}

/* A word the server chose stands in our texts: letters, digits and - only. */
static void take_word(const char *from, char *to, size_t size)
{
    size_t n = 0;

    for (; from && *from && n + 1 < size; from++) {
        if ((*from >= '0' && *from <= '9') ||
            ((*from | 0x20) >= 'a' && (*from | 0x20) <= 'z') || *from == '-')
            to[n++] = *from;
    }
    to[n] = '\0';
}

static enum dgf_azure_is conflict_is(const char *code)
{
    if (strcmp(code, "BlobAlreadyExists") == 0)
        return DGF_AZURE_EXISTS;
    if (strncmp(code, "BlobImmutable", 13) == 0 || strstr(code, "LegalHold") ||
        strstr(code, "Immutability"))
        return DGF_AZURE_IMMUTABLE;
    return strcmp(code, "ContainerBeingDeleted") == 0 ||
                   strcmp(code, "OperationTimedOut") == 0
               ? DGF_AZURE_BUSY
               : DGF_AZURE_REFUSED;
}

static enum dgf_azure_is what_is(int status, const char *code)
{
    if (status >= 200 && status < 300)
        return DGF_AZURE_DONE;
    switch (status) {
    case 304:
        return DGF_AZURE_SAME;
    case 401:
    case 403:
        return DGF_AZURE_DENIED;
    case 404:
        return strcmp(code, "ContainerNotFound") == 0 ? DGF_AZURE_NO_PARENT
                                                      : DGF_AZURE_MISSING;
    case 408:
    case 429:
        return DGF_AZURE_BUSY;
    case 409:
        return conflict_is(code);
    case 412:
        return DGF_AZURE_CHANGED;
    case 416:
        return DGF_AZURE_BEYOND;
    default:
        return status >= 500 ? DGF_AZURE_BUSY : DGF_AZURE_REFUSED;
    }
}

static enum dgf_rc rc_of(enum dgf_azure_is is)
{
    switch (is) {
    case DGF_AZURE_DONE:
        return DGF_OK;
    case DGF_AZURE_NO_PARENT:
    case DGF_AZURE_DENIED:
    case DGF_AZURE_IMMUTABLE:
        return DGF_BAD_CONFIG;
    default:
        return DGF_RETRY;
    }
}

static void let_go(struct dgf_azure_rest *rest)
{
    if (--rest->busy == 0 && rest->dead)
        dgf_free(rest);
}

static void tell(struct call *call, const struct dgf_azure_answer *answer)
{
    struct dgf_azure_rest *rest = call->rest;
    struct dgf_azure_ask ask = call->ask;

    call_free(call);
    rest->busy++;
    ask.done(ask.ctx, answer);
    let_go(rest);
}

/* A refusal by a server whose clock is far from ours says so: it does not say why
 * itself. */
static void add_skew(const struct dgf_http_answer *http, struct dgf_buf *text)
{
    const char *date = dgf_http_header(http, "date");
    int64_t theirs, skew;

    if (!date || !dgf_azure_date_parse(date, &theirs))
        return;
    skew = dgf_clock_ns() - theirs;
    if (skew > -SKEW_MIN_NS && skew < SKEW_MIN_NS)
        return;
    dgf_buf_add_str(text, "; the clock of this machine is ");
    dgf_format_duration(text, (skew < 0 ? -skew : skew) / SECOND_NS * SECOND_NS);
    dgf_buf_addf(text, " %s the server's: set it (timedatectl set-ntp true)",
                 skew < 0 ? "behind" : "ahead of");
}

static void on_answer(void *ctx, const struct dgf_http_answer *http)
{
    struct call *call = ctx;
    struct dgf_azure_answer answer = {
        .rc = http->rc, .text = http->text, .status = http->status, .body = http->body};
    char code[DGF_AZURE_CODE_MAX] = "", id[64] = "";
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};

    answer.code = code;
    if (http->rc) {
        answer.is = DGF_AZURE_UNREACHABLE;
        tell(call, &answer);
        return;
    }
    answer.http = http;
    take_word(dgf_http_header(http, "x-ms-error-code"), code, sizeof(code));
    take_word(dgf_http_header(http, "x-ms-request-id"), id, sizeof(id));
    answer.is = what_is(http->status, code);
    answer.rc = rc_of(answer.is);
    dgf_buf_init(&text, DGF_AZURE_TEXT_MAX);
    dgf_buf_addf(&text, "%d%s%s%s%s%s", http->status, code[0] ? " " : "", code,
                 id[0] ? " (request " : "", id, id[0] ? ")" : "");
    if (answer.is == DGF_AZURE_DENIED)
        add_skew(http, &text);
    answer.text = dgf_buf_str(&text);
    if (http->status == 401)
        dgf_azure_auth_refused(call->rest->auth);
    tell(call, &answer);
}

/* ---- sending ---- */

static enum dgf_rc send_signed(struct call *call, const char *url, struct dgf_err *err)
{
    const char *lines[MAX_HEADERS];
    struct dgf_http_request request = {
        .method = call->method,
        .url = url,
        .headers = lines,
        .body = call->ask.body,
        .max_body = call->ask.max_body ? call->ask.max_body : ANSWER_MAX_BYTES,
        .timeout_ms = call->rest->timeout_ms,
        .done = on_answer,
        .ctx = call,
    };
    const char *at = (const char *)call->headers.ptr, *end = at + call->headers.len;

    while (at < end) {
        if (request.n_headers == MAX_HEADERS)
            return dgf_err_set(err, DGF_FATAL, "a request has too many headers");
        lines[request.n_headers++] = at;
        at += strlen(at) + 1;
    }
    return dgf_http_send(call->rest->http, &request, NULL, err);
}

static void on_token(void *ctx, enum dgf_rc rc, const char *text);

/* Signs and sends, or waits for a token. */
static enum dgf_rc start(struct call *call, struct dgf_err *err)
{
    struct dgf_azure_rest *rest = call->rest;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf url = {0};
    size_t unsigned_len = call->headers.len;
    struct dgf_azure_request request = {
        .method = call->method,
        .url = call->url,
        .headers = &call->headers,
        .content_length = call->ask.body.len,
        .now_ns = dgf_clock_ns(),
    };
    enum dgf_rc rc;

    dgf_buf_init(&url, URL_MAX_BYTES);
    rc = dgf_azure_sign(rest->auth, &request, &url, err);
    call->waits = rc == DGF_AGAIN;
    if (call->waits) {
        call->headers.len = unsigned_len;
        if (rest->asked_token)
            return DGF_OK;
        rc = dgf_azure_auth_wait(rest->auth, on_token, rest);
        rest->asked_token = rc == DGF_OK;
        return rc ? dgf_err_set(err, rc, "out of memory for a token") : DGF_OK;
    }
    if (!rc && (dgf_buf_rc(&url) || dgf_buf_rc(&call->headers)))
        rc = dgf_err_set(err, DGF_NOMEM, "out of memory for a request");
    return rc ? rc : send_signed(call, dgf_buf_str(&url), err);
}

static struct call *find_waiting(struct dgf_azure_rest *rest)
{
    struct call *call = rest->calls;

    while (call && !call->waits)
        call = call->next;
    return call;
}

/* A token is here, or none is to be had: whoever waits goes on or is told. */
static void on_token(void *ctx, enum dgf_rc rc, const char *text)
{
    struct dgf_azure_rest *rest = ctx;
    struct call *call;

    rest->asked_token = false;
    rest->busy++;
    while (!rest->dead && !rest->asked_token && (call = find_waiting(rest))) {
        struct dgf_err err = {0};
        struct dgf_azure_answer answer = {.is = DGF_AZURE_UNREACHABLE, .code = ""};

        call->waits = false;
        answer.rc = rc ? rc : start(call, &err);
        answer.text = rc ? text : err.text;
        if (answer.rc)
            tell(call, &answer);
    }
    let_go(rest);
}

/* ---- asking ---- */

static bool is_plain(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           c == '-' || c == '_' || c == '.' || c == '~';
}

static void encode(struct dgf_buf *buf, struct dgf_bytes text, bool slashes)
{
    for (size_t i = 0; i < text.len; i++) {
        if (is_plain(text.ptr[i]) || (slashes && text.ptr[i] == '/'))
            dgf_buf_add_byte(buf, text.ptr[i]);
        else
            dgf_buf_addf(buf, "%%%02X", text.ptr[i]);
    }
}

void dgf_azure_encode(struct dgf_buf *buf, struct dgf_bytes text)
{
    encode(buf, text, false);
}

static enum dgf_rc prepare(struct call *call, const struct dgf_azure_ask *ask,
                           struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf url = {0};
    uint8_t id[12];

    dgf_buf_init(&url, URL_MAX_BYTES);
    dgf_buf_init(&call->headers, HEADERS_MAX_BYTES);
    dgf_buf_add_str(&url, call->rest->base_url);
    encode(&url, dgf_bytes_str(ask->path), true);
    if (ask->query) {
        dgf_buf_add_byte(&url, '?');
        dgf_buf_add_str(&url, ask->query);
    }
    for (size_t i = 0; ask->headers && ask->headers[i]; i++)
        dgf_buf_add(&call->headers, ask->headers[i], strlen(ask->headers[i]) + 1);
    dgf_random(id, sizeof(id));
    dgf_buf_add_str(&call->headers, "x-ms-client-request-id: " DGF_AZURE_CLIENT);
    dgf_buf_add_hex(&call->headers, dgf_bytes_of(id, sizeof(id)));
    dgf_buf_add_byte(&call->headers, 0);
    dgf_buf_add(&call->headers, "x-ms-version: " DGF_AZURE_VERSION,
                sizeof("x-ms-version: " DGF_AZURE_VERSION));
    call->method = dgf_strdup(ask->method);
    call->url = dgf_strdup(dgf_buf_str(&url));
    if (dgf_buf_rc(&url) || dgf_buf_rc(&call->headers) || !call->method || !call->url)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a request");
    call->ask = *ask;
    return DGF_OK;
}

enum dgf_rc dgf_azure_rest_ask(struct dgf_azure_rest *rest,
                               const struct dgf_azure_ask *ask, struct dgf_err *err)
{
    DGF_CLEANUP(call_free) struct call *call = dgf_calloc(1, sizeof(*call));
    enum dgf_rc rc;

    if (!call)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a request");
    call->rest = rest;
    rc = prepare(call, ask, err);
    if (!rc)
        rc = start(call, err);
    if (rc)
        return rc;
    call->next = rest->calls;
    call->at = &rest->calls;
    if (call->next)
        call->next->at = &call->next;
    rest->calls = call;
    call = NULL;
    return DGF_OK;
}

struct waiting {
    const struct dgf_azure_ask *ask;
    bool done;
};

static void on_waited(void *ctx, const struct dgf_azure_answer *answer)
{
    struct waiting *waiting = ctx;

    waiting->done = true;
    waiting->ask->done(waiting->ask->ctx, answer);
}

enum dgf_rc dgf_azure_rest_wait(struct dgf_azure_rest *rest,
                                const struct dgf_azure_ask *ask, struct dgf_err *err)
{
    struct waiting waiting = {.ask = ask};
    struct dgf_azure_ask own = *ask;
    enum dgf_rc rc;

    own.done = on_waited;
    own.ctx = &waiting;
    rc = dgf_azure_rest_ask(rest, &own, err);
    while (!rc && !waiting.done)
        if (event_base_loop(dgf_http_loop(rest->http), EVLOOP_ONCE) != 0)
            rc = dgf_err_set(err, DGF_FATAL, "the loop of a request ended");
    return rc;
}

/* ---- life ---- */

enum dgf_rc dgf_azure_rest_new(struct event_base *loop,
                               const struct dgf_azure_rest_conf *conf,
                               struct dgf_azure_rest **ret, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_azure_rest_free)
    struct dgf_azure_rest *rest = dgf_calloc(1, sizeof(*rest));
    struct dgf_http_conf http = {.ca = conf->auth->ca,
                                 .unverified = conf->auth->insecure};
    enum dgf_rc rc;

    if (!rest)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a client");
    rest->timeout_ms = conf->timeout_ms;
    rest->base_url = dgf_strdup(conf->base_url);
    if (!rest->base_url)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for a client");
    rc = dgf_http_new(loop, &http, &rest->http, err);
    if (!rc)
        rc = dgf_azure_auth_new(conf->auth, conf->service, conf->base_url, rest->http,
                                &rest->auth, err);
    if (!rc)
        *ret = dgf_steal(rest);
    return rc;
}

void dgf_azure_rest_free(struct dgf_azure_rest *rest)
{
    if (!rest)
        return;
    dgf_azure_auth_free(rest->auth);
    dgf_http_free(rest->http);
    while (rest->calls)
        call_free(rest->calls);
    dgf_free(rest->base_url);
    rest->base_url = NULL;
    rest->dead = true;
    if (rest->busy == 0)
        dgf_free(rest);
}

/* ---- addresses ---- */

static bool is_container_name(const char *name, size_t len)
{
    if (len < 3 || len > 63 || name[0] == '-' || name[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') ||
              (name[i] >= '0' && name[i] <= '9') ||
              (name[i] == '-' && name[i - 1] != '-')))
            return false;
    return true;
}

/* An emulator's address, whose first name is the account: is there but that one? */
static bool names_account_alone(const char *host, const char *end)
{
    size_t len = strcspn(host, ":/");
    bool emulator = *host == '[' || strspn(host, "0123456789.") >= len ||
                    (len == 9 && strncasecmp(host, "localhost", 9) == 0);

    return emulator && memchr(host, '/', (size_t)(end - host)) == NULL;
}

enum dgf_rc dgf_azure_container_url(const char *url, char **ret_base,
                                    char **ret_container, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_free) char *base = NULL;
    DGF_CLEANUP(dgf_free) char *container = NULL;
    size_t scheme = strncmp(url, "https://", 8) == 0  ? 8
                    : strncmp(url, "http://", 7) == 0 ? 7
                                                      : 0,
           len = strlen(url), at;

    while (len > 0 && url[len - 1] == '/')
        len--;
    for (at = len; at > scheme && url[at - 1] != '/'; at--)
        ;
    if (strpbrk(url, "?#"))
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "must end with the name of the container; a SAS stands in 'sas'");
    if (strchr(url, '@') || strpbrk(url, " \t\r\n\"<>\\"))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "must be an address without user or spaces");
    if (scheme == 0 || at < scheme + 2 || !is_container_name(url + at, len - at))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "must be https://ACCOUNT.blob.core.windows.net/CONTAINER");
    if (names_account_alone(url + scheme, url + at - 1))
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "must name a container or queue behind the account of the emulator, like "
            "http://127.0.0.1:10000/devstoreaccount1/NAME");
    base = dgf_strndup(url, at - 1);
    container = dgf_strndup(url + at, len - at);
    if (!base || !container)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    *ret_base = dgf_steal(base);
    *ret_container = dgf_steal(container);
    return DGF_OK;
}
