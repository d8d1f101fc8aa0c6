/* azure_rest.h - signed requests to Azure Storage, and what their answers mean.
 *
 * One attempt a request.  Every request carries a client request id that begins with
 * DGF_AZURE_CLIENT, so that what we do ourselves can be told from what others do.
 * Thread: loop. */
#ifndef DGF_AZURE_REST_H
#define DGF_AZURE_REST_H

#include "azure_auth.h"

#define DGF_AZURE_CLIENT "dgf-"
#define DGF_AZURE_VERSION "2021-12-02"
#define DGF_AZURE_CODE_MAX 64
#define DGF_AZURE_TEXT_MAX 512

struct dgf_azure_rest; /* one account's Blob or Queue service */

struct dgf_azure_rest_conf {
    const char *base_url; /* of the account: "https://acct.blob.core.windows.net" */
    enum dgf_azure_service service;
    const struct dgf_azure_conf *auth; /* borrowed until free */
    int64_t timeout_ms;                /* of one request; 0: 30,000 */
};

/* What dgf_azure_auth_new and dgf_http_new answer. */
enum dgf_rc dgf_azure_rest_new(struct event_base *loop,
                               const struct dgf_azure_rest_conf *conf,
                               struct dgf_azure_rest **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* Forgets what is under way: no `done` is called any more.  Fine inside a `done`.
 * NULL is fine. */
void dgf_azure_rest_free(struct dgf_azure_rest *rest);
DGF_CLEANUP_OF(struct dgf_azure_rest *, dgf_azure_rest_free)

enum dgf_azure_is {
    DGF_AZURE_DONE,        /* 2xx */
    DGF_AZURE_MISSING,     /* 404: the blob (or queue, message) is not there */
    DGF_AZURE_NO_PARENT,   /* 404: the container is not there */
    DGF_AZURE_EXISTS,      /* 409: a blob of that name is there */
    DGF_AZURE_CHANGED,     /* 412: a condition is not met */
    DGF_AZURE_SAME,        /* 304 */
    DGF_AZURE_BEYOND,      /* 416: the range begins behind the end */
    DGF_AZURE_IMMUTABLE,   /* 409: a policy or a legal hold forbids it */
    DGF_AZURE_DENIED,      /* 401, 403 */
    DGF_AZURE_BUSY,        /* 408, 429, 5xx: may pass */
    DGF_AZURE_REFUSED,     /* any other status */
    DGF_AZURE_UNREACHABLE, /* no whole answer */
};

struct dgf_azure_answer {
    enum dgf_azure_is is;
    enum dgf_rc rc;        /* OK when done; RETRY; BAD_CONFIG: a person must mend it */
    const char *text;      /* why, when not done: "403 AuthenticationFailed (request
                              ...)", or why it is unreachable */
    int status;            /* 0: none came */
    const char *code;      /* x-ms-error-code, or "" */
    struct dgf_bytes body; /* borrowed until `done` returns, as is the rest */
    const struct dgf_http_answer *http; /* for its headers; NULL: no answer */
};
/* Value of a header, name in lower case; "" when there is none. */
const char *dgf_azure_answer_header(const struct dgf_azure_answer *answer,
                                    const char *name);

struct dgf_azure_ask {
    const char *method;
    const char *path;  /* below base_url, from '/' on; encoded here */
    const char *query; /* "restype=container&comp=list", values encoded; NULL: none */
    const char *const *headers; /* "x-ms-range: bytes=0-99"; NULL-terminated, or NULL */
    struct dgf_bytes body;      /* borrowed until `done` */
    size_t max_body;            /* of the answer; 0: 64 KiB */
    void (*done)(void *ctx, const struct dgf_azure_answer *answer); /* exactly once */
    void *ctx;
};

/* `done` is never called from inside. */
enum dgf_rc dgf_azure_rest_ask(struct dgf_azure_rest *rest,
                               const struct dgf_azure_ask *ask, struct dgf_err *err)
    DGF_MUST_USE;

/* For commands that may block: runs the loop until the answer is here, which goes to
 * ask->done.  What dgf_azure_rest_ask answers; FATAL: the loop ended. */
enum dgf_rc dgf_azure_rest_wait(struct dgf_azure_rest *rest,
                                const struct dgf_azure_ask *ask, struct dgf_err *err)
    DGF_MUST_USE;

/* Appends text as one part of a query: everything but unreserved is encoded. */
void dgf_azure_encode(struct dgf_buf *buf, struct dgf_bytes text);

/* "https://acct.blob.core.windows.net/evidence" is an account's address and a
 * container.  Both are copies the caller frees.  DGF_BAD_CONFIG: it is none, or names
 * a SAS or a user; NOMEM. */
enum dgf_rc dgf_azure_container_url(const char *url, char **ret_base,
                                    char **ret_container, struct dgf_err *err)
    DGF_MUST_USE;

#endif
