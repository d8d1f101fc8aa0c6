/* http.h - HTTP requests over libcurl, driven by the loop.
 *
 * A client keeps its connections open between requests.  Certificates and host
 * names are verified, redirects are not followed, answers larger than max_body
 * are refused while they arrive.  One attempt a request: who asks decides
 * whether to ask again.  Thread: loop. */
#ifndef DGF_BASE_HTTP_H
#define DGF_BASE_HTTP_H

#include "base/buf.h"
#include "base/err.h"

struct event_base;
struct dgf_http;      /* a client */
struct dgf_http_call; /* a request under way */

struct dgf_http_conf {
    const char *ca;           /* file; NULL: what the system trusts */
    bool unverified;          /* TLS encrypts only (`insecure: true`) */
    int64_t connect_ms;       /* name lookup, TCP and TLS; 0: 5,000 */
    unsigned max_connections; /* to one host; 0: 8 */
    const char *user_agent;   /* NULL: dgf/<version> */
};

enum dgf_rc dgf_http_new(struct event_base *loop, const struct dgf_http_conf *conf,
                         struct dgf_http **ret, struct dgf_err *err) DGF_MUST_USE;
/* Cancels what is under way: no `done` is called any more.  NULL is fine. */
void dgf_http_free(struct dgf_http *http);
DGF_CLEANUP_OF(struct dgf_http *, dgf_http_free)

struct dgf_http_answer {
    enum dgf_rc rc;        /* DGF_OK: status and a whole body are here, whatever the
                              status is.  RETRY: unreachable, timed out, cut short.
                              BAD_CONFIG: the name does not resolve for good, the
                              certificate is not trusted.  BAD_DATA: larger than
                              max_body, or no HTTP */
    const char *text;      /* why, when rc; names host and port, never the query */
    int status;            /* 200 ...; 0 when none came */
    struct dgf_bytes body; /* borrowed until `done` returns, as is the rest */
    const struct dgf_http_call *call;
};
/* Value of an answer's header, name in lower case; NULL: not there. */
const char *dgf_http_header(const struct dgf_http_answer *answer, const char *name);

struct dgf_http_request {
    const char *method;         /* "GET" */
    const char *url;            /* absolute, percent-encoded; copied */
    const char *const *headers; /* "Name: value" lines, n_headers; copied.  "Name;"
                                   sends an empty value */
    size_t n_headers;
    struct dgf_bytes body; /* copied; {0}: none */
    size_t max_body;       /* of the answer */
    int64_t timeout_ms;    /* of the whole request; 0: 30,000 */
    void (*done)(void *ctx, const struct dgf_http_answer *answer); /* exactly once */
    void *ctx;
};

/* `done` is never called from inside.  *ret_call may be NULL. */
enum dgf_rc dgf_http_send(struct dgf_http *http, const struct dgf_http_request *request,
                          struct dgf_http_call **ret_call, struct dgf_err *err)
    DGF_MUST_USE;
/* Forgets a request: `done` is not called. */
void dgf_http_cancel(struct dgf_http_call *call);

/* For commands that may block: runs a loop of its own until the answer is here.
 * *ret_body gets the body, *ret_status the status; headers: see `header`, called
 * for each one when not NULL. */
enum dgf_rc dgf_http_wait(struct dgf_http *http, struct event_base *loop,
                          struct dgf_http_request *request, int *ret_status,
                          struct dgf_buf *ret_body, struct dgf_err *err) DGF_MUST_USE;

#endif
