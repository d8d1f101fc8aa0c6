/* azure_auth.h - how a request to Azure proves who sends it: Shared Key of
 * Storage, the master key of Cosmos DB, SAS, and Entra tokens (workload
 * identity, managed identity, client secret), refreshed before they end.
 *
 * Signing is pure and needs no network (azure_sign.h); tokens are fetched over
 * base/http, one attempt each time they are wanted.  Thread: loop. */
#ifndef DGF_AZURE_AUTH_H
#define DGF_AZURE_AUTH_H

#include "base/http.h"
#include "base/opt.h"

/* Storage's own way is the last one, so that the words of the others are the same. */
enum dgf_azure_how {
    DGF_AZURE_KEY,
    DGF_AZURE_WORKLOAD_IDENTITY,
    DGF_AZURE_MANAGED_IDENTITY,
    DGF_AZURE_CLIENT_SECRET,
    DGF_AZURE_SAS,
};
#define DGF_AZURE_HOW_WORDS "key|workload_identity|managed_identity|client_secret"
#define DGF_AZURE_STORAGE_WORDS DGF_AZURE_HOW_WORDS "|sas"

enum dgf_azure_service { DGF_AZURE_BLOB, DGF_AZURE_QUEUE, DGF_AZURE_COSMOS };

struct dgf_azure_conf { /* inside a connector's conf */
    int how;            /* enum dgf_azure_how */
    char *account; /* storage: NULL: first label of the host, or first path segment of
                      an emulator's URL */
    char *key;     /* base64, secret */
    char *sas;     /* query text, secret */
    char *tenant_id, *client_id, *client_secret; /* NULL: AZURE_* of the environment */
    char *token_file;                            /* NULL: AZURE_FEDERATED_TOKEN_FILE */
    char *authority; /* NULL: AZURE_AUTHORITY_HOST or https://login.microsoftonline.com/
                      */
    char *identity_endpoint; /* NULL: IDENTITY_ENDPOINT, else the metadata service */
    char *ca;      /* file: of the service and of the authority; NULL: the system's */
    bool insecure; /* plain http is fine, certificates are not looked at */
};

/* Rows for a connector's option table; T: its conf struct, M: its member of type
 * struct dgf_azure_conf.  `account` and `sas` are Storage's alone: see below. */
#define DGF_AZURE_AT(T, M, F) (offsetof(T, M) + offsetof(struct dgf_azure_conf, F))
#define DGF_AZURE_OPTS(T, M)                                                          \
    {"key",                                                                           \
     DGF_OPT_SECRET_STR,                                                              \
     DGF_AZURE_AT(T, M, key),                                                         \
     DGF_SECRET,                                                                      \
     .help = "Account key, for auth: key",                                            \
     .example = "${file:/run/secrets/azure}"},                                        \
        {"tenant_id", DGF_OPT_STR, DGF_AZURE_AT(T, M, tenant_id), 0,                  \
         .help = "Entra tenant. Default: AZURE_TENANT_ID of the environment"},        \
        {"client_id", DGF_OPT_STR, DGF_AZURE_AT(T, M, client_id), 0,                  \
         .help = "Entra application, or a user-assigned managed identity. Default: "  \
                 "AZURE_CLIENT_ID of the environment"},                               \
        {"client_secret",                                                             \
         DGF_OPT_SECRET_STR,                                                          \
         DGF_AZURE_AT(T, M, client_secret),                                           \
         DGF_SECRET,                                                                  \
         .help = "For auth: client_secret. Default: AZURE_CLIENT_SECRET of the "      \
                 "environment",                                                       \
         .example = "${file:/run/secrets/entra}"},                                    \
        {"token_file", DGF_OPT_STR, DGF_AZURE_AT(T, M, token_file), 0,                \
         .help = "For auth: workload_identity; read again for each token. Default: "  \
                 "AZURE_FEDERATED_TOKEN_FILE of the environment"},                    \
        {"authority", DGF_OPT_STR, DGF_AZURE_AT(T, M, authority), 0,                  \
         .help = "Where tokens are given. Default: AZURE_AUTHORITY_HOST of the "      \
                 "environment, or https://login.microsoftonline.com/"},               \
        {"identity_endpoint", DGF_OPT_STR, DGF_AZURE_AT(T, M, identity_endpoint), 0,  \
         .help = "For auth: managed_identity, the address without its query. "        \
                 "Default: IDENTITY_ENDPOINT of the environment, or the metadata "    \
                 "service of the machine"},                                           \
        {"ca", DGF_OPT_STR, DGF_AZURE_AT(T, M, ca), 0,                                \
         .help = "File with the CA certificates of the service and of the "           \
                 "authority. Default: those the system trusts"},                      \
    {                                                                                 \
        "insecure", DGF_OPT_BOOL, DGF_AZURE_AT(T, M, insecure), DGF_DECIDES, "false", \
            .help = "Allow plain http:// and servers that are not verified: for "     \
                    "emulators"                                                       \
    }
#define DGF_AZURE_STORAGE_OPTS(T, M)                                   \
    {"auth",                                                           \
     DGF_OPT_ENUM,                                                     \
     DGF_AZURE_AT(T, M, how),                                          \
     DGF_DECIDES,                                                      \
     "workload_identity",                                              \
     .help = "How requests prove who sends them",                      \
     .words = DGF_AZURE_STORAGE_WORDS},                                \
        {"account", DGF_OPT_STR, DGF_AZURE_AT(T, M, account), 0,       \
         .help = "Storage account. Default: as the address names it"}, \
        {"sas",                                                        \
         DGF_OPT_SECRET_STR,                                           \
         DGF_AZURE_AT(T, M, sas),                                      \
         DGF_SECRET,                                                   \
         .help = "Shared access signature, for auth: sas",             \
         .example = "${file:/run/secrets/sas}"},                       \
        DGF_AZURE_OPTS(T, M)

/* An option that holds an address, and what it should lead to. */
struct dgf_azure_address {
    const char *option; /* "url" */
    const char *url;    /* NULL: not given */
    enum dgf_azure_service service;
    bool part; /* a container or a queue is named behind the account */
};
/* Findings (E0640, W0201) for a missing or extra option of this `how`, for a key that
 * is no base64, and for addresses that do not encrypt, are a connection string, have
 * a SAS, or lead to another service; for an account alone also for a path.  Nothing is
 * asked of the network or the environment.  azure_validate.c */
void dgf_azure_validate(const struct dgf_azure_conf *conf,
                        const struct dgf_azure_address *addresses, size_t n,
                        const char *what, struct dgf_mark mark,
                        struct dgf_findings *findings);
/* For `dgf check`: whether the options and this environment have all a token needs.
 * False: one finding (E0640) says what is missing, and any request would fail. */
bool dgf_azure_can_ask(const struct dgf_azure_conf *conf, const char *what,
                       struct dgf_findings *findings);

struct dgf_azure_auth; /* of one service; caches a token */

/* base_url: "https://acct.blob.core.windows.net" or
 * "http://127.0.0.1:10000/devstoreaccount1".  DGF_BAD_CONFIG: key that is no
 * base64, plain http without `insecure`.  conf and http are borrowed: they outlive
 * the result. */
enum dgf_rc dgf_azure_auth_new(const struct dgf_azure_conf *conf,
                               enum dgf_azure_service service, const char *base_url,
                               struct dgf_http *http, struct dgf_azure_auth **ret,
                               struct dgf_err *err) DGF_MUST_USE;
/* Wipes; nobody who waits is told any more.  NULL is fine. */
void dgf_azure_auth_free(struct dgf_azure_auth *auth);
DGF_CLEANUP_OF(struct dgf_azure_auth *, dgf_azure_auth_free)

/* A request to sign, before it is sent. */
struct dgf_azure_request {
    const char *method;
    const char *url;         /* without SAS; percent-encoded as it goes out */
    struct dgf_buf *headers; /* NUL-terminated "Name: value" lines (azure_sign.h);
                                signing appends x-ms-date, x-ms-version when absent,
                                authorization */
    size_t content_length;
    const char *cosmos_type,
        *cosmos_link; /* DGF_AZURE_COSMOS: "docs", "dbs/d/colls/c" */
    int64_t now_ns;   /* wall clock; 0: now */
};
/* Appends what proves it.  ret_url is emptied and gets the URL to send (SAS added);
 * read it with dgf_buf_str.  DGF_AGAIN: a token is needed first: dgf_azure_auth_wait.
 * DGF_NOMEM: no room in headers or ret_url. */
enum dgf_rc dgf_azure_sign(struct dgf_azure_auth *auth,
                           struct dgf_azure_request *request, struct dgf_buf *ret_url,
                           struct dgf_err *err) DGF_MUST_USE;
/* Fetches a token when one is needed; ready(ctx, DGF_OK, "") comes when signing works,
 * never from inside; for keys and SAS from the next turn of the loop.  rc, text: why
 * not (RETRY or BAD_CONFIG).  Several may wait for one token.  DGF_NOMEM: nobody
 * will be told. */
enum dgf_rc dgf_azure_auth_wait(struct dgf_azure_auth *auth,
                                void (*ready)(void *ctx, enum dgf_rc rc,
                                              const char *text),
                                void *ctx) DGF_MUST_USE;
/* Nobody with this ctx is told any more. */
void dgf_azure_auth_forget(struct dgf_azure_auth *auth, void *ctx);
/* For commands that may block: runs the loop until signing works. */
enum dgf_rc dgf_azure_auth_block(struct dgf_azure_auth *auth, struct dgf_err *err)
    DGF_MUST_USE;
/* The server said 401: the token is not used again. */
void dgf_azure_auth_refused(struct dgf_azure_auth *auth);

#endif
