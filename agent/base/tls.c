#include "base/tls.h"

#include <openssl/ssl.h>

size_t dgf_tls_pending(void *ssl)
{
    int n = ssl ? SSL_pending(ssl) : 0;

    return n > 0 ? (size_t)n : 0;
}
