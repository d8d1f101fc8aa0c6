/* tls.h - TLS for connectors whose client library brings none.
 *
 * A session works on a socket of the caller's that does not block, and verifies
 * the server's certificate and name.  A socket that is readable no more may
 * have left decrypted bytes behind in the session: a poll for the socket alone
 * would wait for ever.  Thread: the session's. */
#ifndef DGF_BASE_TLS_H
#define DGF_BASE_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

/* ssl: an OpenSSL SSL * as a client library hands it out, or NULL. */
size_t dgf_tls_pending(void *ssl);

struct dgf_tls;

struct dgf_tls_setup {
    const char *ca;         /* file; NULL: what the system trusts */
    const char *cert, *key; /* files of a client certificate; NULL: none */
    const char *host;       /* name or address the certificate must hold */
    bool unverified;        /* encrypts only */
};

enum dgf_tls_step {
    DGF_TLS_DONE,
    DGF_TLS_WANTS_READ,
    DGF_TLS_WANTS_WRITE,
    DGF_TLS_END,    /* the other side closed */
    DGF_TLS_FAILED, /* see dgf_tls_cause */
};

/* DGF_BAD_CONFIG: a file cannot be used. */
enum dgf_rc dgf_tls_new(const struct dgf_tls_setup *setup, int fd, struct dgf_tls **ret,
                        struct dgf_err *err) DGF_MUST_USE;
void dgf_tls_free(struct dgf_tls *tls); /* NULL is fine */
DGF_CLEANUP_OF(struct dgf_tls *, dgf_tls_free)
enum dgf_tls_step dgf_tls_connect(struct dgf_tls *tls) DGF_MUST_USE;
enum dgf_tls_step dgf_tls_read(struct dgf_tls *tls, void *to, size_t len, size_t *ret_n)
    DGF_MUST_USE;
enum dgf_tls_step dgf_tls_write(struct dgf_tls *tls, const void *from, size_t len,
                                size_t *ret_n) DGF_MUST_USE;
/* Decrypted bytes that wait. */
size_t dgf_tls_waiting(struct dgf_tls *tls);
/* Why the last step failed; *ret_lasting: no repetition mends it. */
void dgf_tls_cause(struct dgf_tls *tls, char *to, size_t size, bool *ret_lasting);

#endif
