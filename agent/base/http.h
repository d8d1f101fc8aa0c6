/* http.h - HTTP/1.1 requests over libcurl, driven by the loop.
 *
 * A client keeps its connections open between requests.  Certificates and host
 * names are verified, redirects are not followed, answers larger than max_body
 * are refused while they arrive.  One attempt a request: who asks decides
 * whether to ask again.  The process ignores SIGPIPE.  Thread: loop. */
#ifndef DGF_BASE_HTTP_H
#define DGF_BASE_HTTP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

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

/* Copies conf.  DGF_NOMEM. */
enum dgf_rc dgf_http_new(struct event_base *loop, const struct dgf_http_conf *conf,
                         struct dgf_http **ret, struct dgf_err *err) DGF_MUST_USE;
/* Cancels what is under way: no `done` is called any more.  Fine inside a `done`,
 * whose answer ends with it.  NULL is fine. */
void dgf_http_free(struct dgf_http *http);
DGF_CLEANUP_OF(struct dgf_http *, dgf_http_free)
struct event_base *dgf_http_loop(const struct dgf_http *http);

struct dgf_http_answer {
    enum dgf_rc rc;        /* DGF_OK: status and a whole body are here, whatever the
                              status is.  RETRY: unreachable, timed out, cut short.
                              BAD_CONFIG: the certificate is not trusted, or the file
                              of the CA is none.  BAD_DATA: larger than max_body, or no
                              HTTP.  NOMEM */
    const char *text;      /* why, when rc; names host and port, never the query */
    int status;            /* 200 ...; 0 when none came */
    struct dgf_bytes body; /* borrowed until `done` returns, as is the rest */
    const struct dgf_http_call *call;
};
/* Value of an answer's header, name in lower case; NULL: not there.  Of several the
 * first. */
const char *dgf_http_header(const struct dgf_http_answer *answer, const char *name);

#define DGF_HTTP_HEAD_MAX (128u << 10) /* headers of an answer, bytes */

struct dgf_http_request {
    const char *method;         /* "GET" */
    const char *url;            /* absolute, percent-encoded; copied */
    const char *const *headers; /* "Name: value" lines, n_headers; copied.  "Name;"
                                   sends an empty value */
    size_t n_headers;
    struct dgf_bytes body; /* copied; {0}: none */
    size_t max_body;       /* of the answer */
    int64_t timeout_ms;    /* of the whole request; 0: 30,000 */
    bool direct;           /* no proxy, whatever the environment says */
    void (*done)(void *ctx, const struct dgf_http_answer *answer); /* exactly once */
    void *ctx;
};

/* `done` is never called from inside.  *ret_call (may be NULL) is valid until `done`
 * begins.  DGF_BAD_CONFIG: the URL is none, or neither http nor https; NOMEM. */
enum dgf_rc dgf_http_send(struct dgf_http *http, const struct dgf_http_request *request,
                          struct dgf_http_call **ret_call, struct dgf_err *err)
    DGF_MUST_USE;
/* Forgets a request: `done` is not called.  NULL is fine. */
void dgf_http_cancel(struct dgf_http_call *call);

/* For commands that may block: runs the client's loop until the answer is here; other
 * events of that loop run meanwhile.  The answer's rc, status and body, appended to
 * ret_body; request->done (may be NULL) sees it too, for its headers. */
enum dgf_rc dgf_http_wait(struct dgf_http *http, const struct dgf_http_request *request,
                          int *ret_status, struct dgf_buf *ret_body,
                          struct dgf_err *err) DGF_MUST_USE;

#endif
