/* azure_auth.h - how a request to Azure proves who sends it: Shared Key of
 * Storage, the master key of Cosmos DB, SAS, and Entra tokens (workload
 * identity, managed identity, client secret), refreshed before they end.
 *
 * Signing is pure and needs no network; tokens are fetched over base/http.
 * Thread: loop. */
#ifndef DGF_AZURE_AUTH_H
#define DGF_AZURE_AUTH_H

#include "base/http.h"
#include "base/opt.h"

enum dgf_azure_how {
    DGF_AZURE_KEY,
    DGF_AZURE_SAS,
    DGF_AZURE_WORKLOAD_IDENTITY,
    DGF_AZURE_MANAGED_IDENTITY,
    DGF_AZURE_CLIENT_SECRET,
};
#define DGF_AZURE_HOW_WORDS "key|sas|workload_identity|managed_identity|client_secret"

struct dgf_azure_conf { /* inside a connector's conf */
    int how;            /* enum dgf_azure_how */
    char *account; /* storage: NULL: first label of the host, or first path segment of
                      an emulator's URL */
    char *key;     /* base64, secret */
    char *sas;     /* query text without '?', secret */
    char *tenant_id, *client_id, *client_secret; /* NULL: AZURE_* of the environment */
    char *token_file;                            /* NULL: AZURE_FEDERATED_TOKEN_FILE */
    char *authority; /* NULL: AZURE_AUTHORITY_HOST or https://login.microsoftonline.com/
                      */
    char *identity_endpoint; /* NULL: IDENTITY_ENDPOINT, else the metadata service */
    char *ca;                /* file of the authority's CA; NULL: the system's */
};

/* Rows for a connector's option table; T: its conf struct, M: its member of type
 * struct dgf_azure_conf. */
#define DGF_AZURE_OPTS(T, M) /* filled in by azure_auth's author */

/* What a missing or extra option of this `how` is told as. */
void dgf_azure_validate(const struct dgf_azure_conf *conf, const char *what,
                        struct dgf_mark mark, struct dgf_findings *findings);

struct dgf_azure_auth; /* of one service; caches a token */

enum dgf_azure_service { DGF_AZURE_BLOB, DGF_AZURE_QUEUE, DGF_AZURE_COSMOS };

/* base_url: "https://acct.blob.core.windows.net" or
 * "http://127.0.0.1:10000/devstoreaccount1".  DGF_BAD_CONFIG: key that is no
 * base64, a token over plain http without `insecure`.  conf is borrowed. */
enum dgf_rc dgf_azure_auth_new(const struct dgf_azure_conf *conf,
                               enum dgf_azure_service service, const char *base_url,
                               struct dgf_http *http, struct dgf_azure_auth **ret,
                               struct dgf_err *err) DGF_MUST_USE;
void dgf_azure_auth_free(struct dgf_azure_auth *auth); /* wipes; NULL is fine */
DGF_CLEANUP_OF(struct dgf_azure_auth *, dgf_azure_auth_free)

/* A request to sign, before it is sent. */
struct dgf_azure_request {
    const char *method;
    const char *url;         /* without SAS; percent-encoded as it goes out */
    struct dgf_buf *headers; /* NUL-separated "Name: value"; signing appends x-ms-date,
                                x-ms-version when absent, authorization */
    size_t content_length;
    const char *cosmos_type,
        *cosmos_link; /* DGF_AZURE_COSMOS: "docs", "dbs/d/colls/c" */
    int64_t now_ns;
};
/* Appends what proves it.  ret_url: the URL to send (SAS added).  DGF_AGAIN: a token
 * is being fetched: `ready` of dgf_azure_auth_wait is called.  */
enum dgf_rc dgf_azure_sign(struct dgf_azure_auth *auth,
                           struct dgf_azure_request *request, struct dgf_buf *ret_url,
                           struct dgf_err *err) DGF_MUST_USE;
/* Fetches a token when one is needed; ready(ctx, DGF_OK) comes when signing works,
 * never from inside; for keys and SAS from the next turn of the loop.  rc, text: why
 * not (RETRY or BAD_CONFIG). */
void dgf_azure_auth_wait(struct dgf_azure_auth *auth,
                         void (*ready)(void *ctx, enum dgf_rc rc, const char *text),
                         void *ctx);
/* The server said 401: the token is not used again. */
void dgf_azure_auth_refused(struct dgf_azure_auth *auth);

#endif
