/* blob_store.h - an archive in an Azure Blob container, read as a struct dgf_store.
 *
 * For commands: it blocks, runs a loop of its own, and asks again a few times when a
 * request fails in a way that may pass.  Objects are read ahead in pieces, all of one
 * version; memory is constant.  Thread: one owner. */
#ifndef DGF_BLOB_STORE_H
#define DGF_BLOB_STORE_H

#include "azure_auth.h"
#include "base/store.h"

struct dgf_blob_store_conf {
    const char *url;    /* of the container; what follows its name is a prefix: "a/b" */
    const char *prefix; /* after that; NULL: none */
    const char *log_id; /* NULL: the only one there */
    const struct dgf_azure_conf *auth; /* borrowed until free */
    int64_t timeout_ms;                /* of one request; 0: 30,000 */
    const char *rights; /* where they are from, for who has none; borrowed; NULL */
};

/* DGF_BAD_CONFIG: no such container, no rights, no archive in it, several logs and
 * none named.  DGF_RETRY: cannot be asked just now.  NOMEM. */
enum dgf_rc dgf_blob_store_open(const struct dgf_blob_store_conf *conf,
                                struct dgf_store **ret, struct dgf_err *err)
    DGF_MUST_USE;

/* The archive that a sink of type blob keeps; conf is the sink's, borrowed until free.
 */
enum dgf_rc dgf_blob_store_of_sink(const void *sink_conf, const char *log_id,
                                   struct dgf_store **ret, struct dgf_err *err)
    DGF_MUST_USE;

/* "https://acct.blob.core.windows.net/evidence/a/b": the container's address, and the
 * rest: "a/b/", or "".  Both are copies the caller frees. */
enum dgf_rc dgf_blob_store_split(const char *url, char **ret_container_url,
                                 char **ret_prefix, struct dgf_err *err) DGF_MUST_USE;

#endif
