/* tls.h - what a client library's TLS session still holds.
 *
 * A socket that is readable no more may have left decrypted bytes behind in
 * the session: a poll for the socket alone would wait for ever.  Thread: the
 * session's. */
#ifndef DGF_BASE_TLS_H
#define DGF_BASE_TLS_H

#include <stddef.h>

/* ssl: an OpenSSL SSL * as a client library hands it out, or NULL. */
size_t dgf_tls_pending(void *ssl);

#endif
