/* azure_token.h - Entra's token endpoints: what is sent there and what comes back.
 *
 * Pure, but for the environment and the token file, which the kubelet replaces and
 * which is therefore read for each request.  Thread: loop. */
#ifndef DGF_AZURE_TOKEN_H
#define DGF_AZURE_TOKEN_H

#include "azure_auth.h"

#define DGF_AZURE_TOKEN_MAX (32u << 10)

struct dgf_azure_token_request {
    struct dgf_buf url, headers, body; /* headers: see azure_sign.h; body: secret */
    const char *method;
    bool direct; /* not through a proxy */
};
void dgf_azure_token_request_init(struct dgf_azure_token_request *request);
void dgf_azure_token_request_release(struct dgf_azure_token_request *request);
/* scope: "https://storage.azure.com", without "/.default".  DGF_BAD_CONFIG: something
 * is missing, or an authority over plain http without `insecure`; RETRY: the token
 * file cannot be read now. */
enum dgf_rc dgf_azure_token_request_make(const struct dgf_azure_conf *conf,
                                         const char *scope,
                                         struct dgf_azure_token_request *ret,
                                         struct dgf_err *err) DGF_MUST_USE;

struct dgf_azure_token {
    char *text;                  /* owned; secret */
    int64_t life_ns, refresh_ns; /* from now: it ends; it should be replaced */
};
void dgf_azure_token_release(struct dgf_azure_token *token); /* wipes */
/* now_ns: wall clock.  *ret_unknown_scope: Entra knows no such resource.  DGF_RETRY:
 * asking later may help; BAD_CONFIG: it will not. */
enum dgf_rc dgf_azure_token_read(int how, int status, struct dgf_bytes body,
                                 int64_t now_ns, struct dgf_azure_token *ret,
                                 bool *ret_unknown_scope, struct dgf_err *err)
    DGF_MUST_USE;

#endif
