#include "azure_auth.h"

#include <event2/event.h>
#include <strings.h>

#include "azure_sign.h"
#include "azure_token.h"
#include "base/clock.h"
#include "base/parse.h"

#define SECOND INT64_C(1000000000)
#define STORAGE_VERSION "2021-12-02"
#define COSMOS_VERSION "2020-07-15"
#define PAUSE (30 * SECOND) /* between attempts to replace a token that still lives */

struct waiter {
    void (*ready)(void *ctx, enum dgf_rc rc, const char *text);
    void *ctx;
    struct waiter *next;
};

struct dgf_azure_auth {
    const struct dgf_azure_conf *conf;
    enum dgf_azure_service service;
    struct dgf_http *http;
    char *account; /* of Storage */
    char *scope;
    struct dgf_mac_key key;
    struct dgf_azure_token token;
    int64_t got_ns, asked_ns;   /* monotonic: the token came; the last attempt began */
    struct dgf_http_call *call; /* for a token, under way */
    bool tried_common;          /* the resource all Cosmos accounts share */
    struct event *later;
    struct waiter *waiters, *told; /* told: taken off to be called */
    bool telling, dead;
    struct dgf_err result;
};

/* ---- options ---- */

static bool uses_token(const struct dgf_azure_conf *conf)
{
    return conf->how != DGF_AZURE_KEY && conf->how != DGF_AZURE_SAS;
}

static enum dgf_rc read_key(const struct dgf_azure_conf *conf, struct dgf_mac_key *ret,
                            struct dgf_err *err)
{
    struct dgf_buf key;
    bool good;

    dgf_buf_init(&key, 1024);
    good = dgf_parse_base64(dgf_bytes_str(conf->key), &key) && key.len >= 16;
    if (good)
        dgf_mac_key_init(ret, dgf_buf_bytes(&key));
    if (key.ptr)
        dgf_wipe(key.ptr, key.cap);
    dgf_buf_release(&key);
    if (good)
        return DGF_OK;
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "'key' is no account key: base64 of at least 16 bytes");
}

/* ---- making one ---- */

/* "https://acct.blob.core.windows.net" -> acct; an emulator's address has no name to
 * take it from, but a path. */
static char *account_of(const char *url)
{
    const char *host = strstr(url, "://"), *path;
    size_t len, label;

    host = host ? host + 3 : url;
    len = strcspn(host, ":/?");
    label = strcspn(host, ".:/?");
    path = host + strcspn(host, "/?");
    if (label < len && strspn(host, "0123456789.") < len)
        return dgf_strndup(host, label);
    if (*path == '/')
        path++;
    return dgf_strndup(path, strcspn(path, "/?"));
}

static char *scope_of(enum dgf_azure_service service, const char *url)
{
    const char *host = strstr(url, "://");
    char *scope;
    size_t len;

    if (service != DGF_AZURE_COSMOS)
        return dgf_strdup("https://storage.azure.com");
    host = host ? host + 3 : url;
    len = strcspn(host, ":/?");
    scope = dgf_malloc(8 + len + 1);
    if (!scope)
        return NULL;
    memcpy(scope, "https://", 8);
    memcpy(scope + 8, host, len);
    scope[8 + len] = 0;
    return scope;
}

static void on_later(evutil_socket_t fd, short what, void *ctx);

enum dgf_rc dgf_azure_auth_new(const struct dgf_azure_conf *conf,
                               enum dgf_azure_service service, const char *base_url,
                               struct dgf_http *http, struct dgf_azure_auth **ret,
                               struct dgf_err *err)
{
    DGF_CLEANUP(dgf_azure_auth_free)
    struct dgf_azure_auth *auth = dgf_calloc(1, sizeof(*auth));
    enum dgf_rc rc;

    if (!auth)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    auth->conf = conf;
    auth->service = service;
    auth->http = http;
    auth->account = conf->account ? dgf_strdup(conf->account) : account_of(base_url);
    auth->scope = scope_of(service, base_url);
    auth->later = event_new(dgf_http_loop(http), -1, 0, on_later, auth);
    if (!auth->account || !auth->scope || !auth->later)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    if (strncasecmp(base_url, "https://", 8) != 0 && !conf->insecure)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "what proves who we are is not sent to '%s' in the clear: "
                           "write https://, or insecure: true for an emulator",
                           base_url);
    if (conf->how == DGF_AZURE_KEY) {
        if (!conf->key)
            return dgf_err_set(err, DGF_BAD_CONFIG, "auth: key needs 'key'");
        rc = read_key(conf, &auth->key, err);
        if (rc)
            return rc;
        if (service != DGF_AZURE_COSMOS && !*auth->account)
            return dgf_err_set(err, DGF_BAD_CONFIG,
                               "the address '%s' names no storage account: set "
                               "'account'",
                               base_url);
    }
    if (conf->how == DGF_AZURE_SAS && !conf->sas)
        return dgf_err_set(err, DGF_BAD_CONFIG, "auth: sas needs 'sas'");
    *ret = dgf_steal(auth);
    return DGF_OK;
}

static void free_waiters(struct waiter **list)
{
    while (*list) {
        struct waiter *waiter = *list;

        *list = waiter->next;
        dgf_free(waiter);
    }
}

void dgf_azure_auth_free(struct dgf_azure_auth *auth)
{
    if (!auth)
        return;
    free_waiters(&auth->waiters);
    free_waiters(&auth->told);
    dgf_http_cancel(auth->call);
    auth->call = NULL;
    if (auth->later)
        event_free(auth->later);
    auth->later = NULL;
    dgf_azure_token_release(&auth->token);
    dgf_mac_key_wipe(&auth->key);
    dgf_free(auth->account);
    dgf_free(auth->scope);
    auth->account = auth->scope = NULL;
    auth->dead = true;
    if (!auth->telling)
        dgf_free(auth);
}

/* ---- tokens ---- */

static bool token_lives(const struct dgf_azure_auth *auth)
{
    return auth->token.text && dgf_clock_mono_ns() - auth->got_ns < auth->token.life_ns;
}

static void tell(struct dgf_azure_auth *auth)
{
    auth->told = auth->waiters;
    auth->waiters = NULL;
    auth->telling = true;
    while (auth->told) {
        struct waiter *waiter = auth->told;
        struct dgf_err result = auth->result;

        auth->told = waiter->next;
        waiter->ready(waiter->ctx, result.rc, result.text);
        dgf_free(waiter);
    }
    auth->telling = false;
    if (auth->dead)
        dgf_free(auth);
}

static void on_later(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    tell(ctx);
}

static enum dgf_rc fetch(struct dgf_azure_auth *auth, struct dgf_err *err);

/* Some tenants know the account's own resource, older ones the common one only. */
static bool try_common(struct dgf_azure_auth *auth)
{
    char *scope;

    if (auth->service != DGF_AZURE_COSMOS || auth->tried_common)
        return false;
    scope = dgf_strdup("https://cosmos.azure.com");
    if (!scope)
        return false;
    dgf_free(auth->scope);
    auth->scope = scope;
    auth->tried_common = true;
    return !fetch(auth, &auth->result);
}

static void on_token(void *ctx, const struct dgf_http_answer *answer)
{
    struct dgf_azure_auth *auth = ctx;
    struct dgf_azure_token token = {0};
    bool unknown_scope = false;
    enum dgf_rc rc = answer->rc;

    auth->call = NULL;
    auth->result = (struct dgf_err){0};
    if (rc)
        (void)dgf_err_set(&auth->result, rc == DGF_BAD_DATA ? DGF_RETRY : rc,
                          "cannot get a token: %s", answer->text);
    else
        rc =
            dgf_azure_token_read(auth->conf->how, answer->status, answer->body,
                                 dgf_clock_ns(), &token, &unknown_scope, &auth->result);
    if (unknown_scope && try_common(auth))
        return;
    if (!rc) {
        dgf_azure_token_release(&auth->token);
        auth->token = token;
        auth->got_ns = dgf_clock_mono_ns();
    } else if (token_lives(auth)) {
        auth->result = (struct dgf_err){0}; /* the one we have will do for now */
    }
    tell(auth);
}

static enum dgf_rc fetch(struct dgf_azure_auth *auth, struct dgf_err *err)
{
    struct dgf_azure_token_request asked;
    const char *lines[8];
    struct dgf_http_request request = {.max_body = 256u << 10,
                                       .timeout_ms = 15000,
                                       .headers = lines,
                                       .done = on_token,
                                       .ctx = auth};
    enum dgf_rc rc;

    auth->asked_ns = dgf_clock_mono_ns();
    dgf_azure_token_request_init(&asked);
    rc = dgf_azure_token_request_make(auth->conf, auth->scope, &asked, err);
    if (!rc) {
        request.method = asked.method;
        request.url = dgf_buf_str(&asked.url);
        request.n_headers =
            dgf_azure_list_headers(&asked.headers, lines, DGF_ARRAY_LEN(lines));
        request.body = dgf_buf_bytes(&asked.body);
        request.direct = asked.direct;
        rc = dgf_http_send(auth->http, &request, &auth->call, err);
    }
    dgf_azure_token_request_release(&asked);
    return rc;
}

enum dgf_rc dgf_azure_auth_wait(struct dgf_azure_auth *auth,
                                void (*ready)(void *ctx, enum dgf_rc rc,
                                              const char *text),
                                void *ctx)
{
    struct waiter *waiter = dgf_calloc(1, sizeof(*waiter)), **at = &auth->waiters;

    if (!waiter)
        return DGF_NOMEM;
    waiter->ready = ready;
    waiter->ctx = ctx;
    while (*at)
        at = &(*at)->next;
    *at = waiter;
    if (auth->call)
        return DGF_OK;
    auth->result = (struct dgf_err){0};
    if (uses_token(auth->conf) && !token_lives(auth)) {
        auth->tried_common = false;
        if (!fetch(auth, &auth->result))
            return DGF_OK;
    }
    event_active(auth->later, 0, 0);
    return DGF_OK;
}

void dgf_azure_auth_forget(struct dgf_azure_auth *auth, void *ctx)
{
    struct waiter **lists[] = {&auth->waiters, &auth->told};

    for (size_t i = 0; i < DGF_ARRAY_LEN(lists); i++)
        for (struct waiter **at = lists[i]; *at;) {
            struct waiter *waiter = *at;

            if (waiter->ctx != ctx) {
                at = &waiter->next;
                continue;
            }
            *at = waiter->next;
            dgf_free(waiter);
        }
}

struct blocked {
    bool done;
    struct dgf_err *err;
};

static void on_unblocked(void *ctx, enum dgf_rc rc, const char *text)
{
    struct blocked *blocked = ctx;

    blocked->done = true;
    (void)dgf_err_set(blocked->err, rc, "%s", text);
}

enum dgf_rc dgf_azure_auth_block(struct dgf_azure_auth *auth, struct dgf_err *err)
{
    struct dgf_err own;
    struct blocked blocked = {.err = err ? err : &own};

    if (dgf_azure_auth_wait(auth, on_unblocked, &blocked))
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    while (!blocked.done)
        if (event_base_loop(dgf_http_loop(auth->http), EVLOOP_ONCE)) {
            dgf_azure_auth_forget(auth, &blocked);
            return dgf_err_set(err, DGF_RETRY, "out of memory");
        }
    return blocked.err->rc;
}

void dgf_azure_auth_refused(struct dgf_azure_auth *auth)
{
    dgf_azure_token_release(&auth->token);
}

/* ---- signing ---- */

static void sign_storage(struct dgf_azure_auth *auth, struct dgf_azure_request *request,
                         struct dgf_err *err)
{
    struct dgf_buf text, line;

    dgf_buf_init(&text, 64u << 10);
    dgf_buf_init(&line, 256);
    if (!dgf_azure_shared_key_text(request->method, request->url, auth->account,
                                   request->headers, request->content_length, &text) ||
        dgf_buf_rc(&text))
        (void)dgf_err_set(err, DGF_BAD_CONFIG, "the request cannot be signed");
    dgf_buf_addf(&line, "SharedKey %.100s:", auth->account);
    dgf_azure_mac(&auth->key, &text, &line);
    dgf_azure_add_header(request->headers, "Authorization", dgf_buf_str(&line));
    dgf_buf_release(&line);
    dgf_buf_release(&text);
}

static void sign_cosmos(struct dgf_azure_auth *auth, struct dgf_azure_request *request,
                        const char *date)
{
    struct dgf_buf text, line, escaped;

    dgf_buf_init(&text, 16u << 10);
    dgf_buf_init(&line, 256);
    dgf_buf_init(&escaped, 1024);
    dgf_azure_cosmos_text(request->method, request->cosmos_type, request->cosmos_link,
                          date, &text);
    dgf_buf_add_str(&line, "type=master&ver=1.0&sig=");
    dgf_azure_mac(&auth->key, &text, &line);
    dgf_azure_escape(&escaped, dgf_buf_bytes(&line));
    dgf_azure_add_header(request->headers, "authorization", dgf_buf_str(&escaped));
    dgf_buf_release(&escaped);
    dgf_buf_release(&line);
    dgf_buf_release(&text);
}

/* The token is in the header only; the buffer in between is wiped. */
static void add_token(struct dgf_azure_auth *auth, struct dgf_azure_request *request)
{
    struct dgf_buf line;

    dgf_buf_init(&line, DGF_AZURE_TOKEN_MAX * 3 + 64);
    if (auth->service == DGF_AZURE_COSMOS) {
        dgf_buf_add_str(&line, "type%3Daad%26ver%3D1.0%26sig%3D");
        dgf_azure_escape(&line, dgf_bytes_str(auth->token.text));
    } else {
        dgf_buf_add_str(&line, "Bearer ");
        dgf_buf_add_str(&line, auth->token.text);
    }
    dgf_azure_add_header(request->headers, "authorization", dgf_buf_str(&line));
    if (line.ptr)
        dgf_wipe(line.ptr, line.cap);
    dgf_buf_release(&line);
}

static void add_sas(const struct dgf_azure_auth *auth, const char *url,
                    struct dgf_buf *ret_url)
{
    const char *sas = auth->conf->sas;

    dgf_buf_add_byte(ret_url, strchr(url, '?') ? '&' : '?');
    dgf_buf_add_str(ret_url, *sas == '?' ? sas + 1 : sas);
}

/* A token near its end is replaced while it still works. */
static void refresh(struct dgf_azure_auth *auth)
{
    int64_t now = dgf_clock_mono_ns();

    if (auth->call || now - auth->got_ns < auth->token.refresh_ns ||
        now - auth->asked_ns < PAUSE)
        return;
    auth->tried_common = false;
    (void)fetch(auth, NULL);
}

enum dgf_rc dgf_azure_sign(struct dgf_azure_auth *auth,
                           struct dgf_azure_request *request, struct dgf_buf *ret_url,
                           struct dgf_err *err)
{
    bool cosmos = auth->service == DGF_AZURE_COSMOS;
    struct dgf_err own = {0};
    struct dgf_buf date;

    if (uses_token(auth->conf)) {
        if (!token_lives(auth))
            return dgf_err_set(err, DGF_AGAIN, "a token is needed first");
        refresh(auth);
    }
    dgf_buf_clear(ret_url);
    dgf_buf_add_str(ret_url, request->url);
    dgf_buf_init(&date, 64);
    dgf_azure_date(&date, request->now_ns ? request->now_ns : dgf_clock_ns());
    if (!dgf_azure_find_header(request->headers, "x-ms-date"))
        dgf_azure_add_header(request->headers, "x-ms-date", dgf_buf_str(&date));
    if (!dgf_azure_find_header(request->headers, "x-ms-version"))
        dgf_azure_add_header(request->headers, "x-ms-version",
                             cosmos ? COSMOS_VERSION : STORAGE_VERSION);
    if (uses_token(auth->conf))
        add_token(auth, request);
    else if (auth->conf->how == DGF_AZURE_SAS)
        add_sas(auth, request->url, ret_url);
    else if (cosmos)
        sign_cosmos(auth, request,
                    dgf_azure_find_header(request->headers, "x-ms-date"));
    else
        sign_storage(auth, request, &own);
    dgf_buf_release(&date);
    if (own.rc)
        return dgf_err_set(err, own.rc, "%s", own.text);
    if (dgf_buf_rc(request->headers) || dgf_buf_rc(ret_url) || !ret_url->ptr)
        return dgf_err_set(err, DGF_NOMEM, "out of memory for signing a request");
    return DGF_OK;
}
