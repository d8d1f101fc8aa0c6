#include "base/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct dgf_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    int code, cause; /* SSL_get_error and errno of the last step */
    char host[256];
};

size_t dgf_tls_pending(void *ssl)
{
    int n = ssl ? SSL_pending(ssl) : 0;

    return n > 0 ? (size_t)n : 0;
}

static void library_text(char *to, size_t size)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;

    (void)snprintf(to, size, "%s", text ? text : "unknown cause");
    ERR_clear_error();
}

static enum dgf_rc bad_file(struct dgf_err *err, const char *what, const char *path)
{
    char text[256];

    library_text(text, sizeof(text));
    return dgf_err_set(err, DGF_BAD_CONFIG, "cannot use %s '%s': %s", what, path, text);
}

static enum dgf_rc set_trust(struct dgf_tls *tls, const struct dgf_tls_setup *setup,
                             struct dgf_err *err)
{
    if (setup->unverified) {
        SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_NONE, NULL);
        return DGF_OK;
    }
    SSL_CTX_set_verify(tls->ctx, SSL_VERIFY_PEER, NULL);
    if (!setup->ca)
        return SSL_CTX_set_default_verify_paths(tls->ctx) == 1
                   ? DGF_OK
                   : bad_file(err, "the system's certificates in", "/etc/ssl/certs");
    return SSL_CTX_load_verify_file(tls->ctx, setup->ca) == 1
               ? DGF_OK
               : bad_file(err, "the CA certificates in", setup->ca);
}

static enum dgf_rc set_own(struct dgf_tls *tls, const struct dgf_tls_setup *setup,
                           struct dgf_err *err)
{
    if (!setup->cert || !setup->key)
        return DGF_OK;
    if (SSL_CTX_use_certificate_chain_file(tls->ctx, setup->cert) != 1)
        return bad_file(err, "the certificate in", setup->cert);
    if (SSL_CTX_use_PrivateKey_file(tls->ctx, setup->key, SSL_FILETYPE_PEM) != 1)
        return bad_file(err, "the key in", setup->key);
    return DGF_OK;
}

static bool set_host(struct dgf_tls *tls, const struct dgf_tls_setup *setup)
{
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, setup->host, address) == 1 ||
                      inet_pton(AF_INET6, setup->host, address) == 1;

    (void)snprintf(tls->host, sizeof(tls->host), "%s", setup->host);
    if (!is_address && SSL_set_tlsext_host_name(tls->ssl, setup->host) != 1)
        return false;
    if (setup->unverified)
        return true;
    if (is_address)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), setup->host) ==
               1;
    return SSL_set1_host(tls->ssl, setup->host) == 1;
}

enum dgf_rc dgf_tls_new(const struct dgf_tls_setup *setup, int fd, struct dgf_tls **ret,
                        struct dgf_err *err)
{
    DGF_CLEANUP(dgf_tls_free) struct dgf_tls *tls = dgf_calloc(1, sizeof(*tls));
    enum dgf_rc rc;

    ERR_clear_error();
    if (tls)
        tls->ctx = SSL_CTX_new(TLS_client_method());
    if (!tls || !tls->ctx ||
        SSL_CTX_set_min_proto_version(tls->ctx, TLS1_2_VERSION) != 1)
        return dgf_err_set(err, DGF_NOMEM, "cannot begin TLS: out of memory");
    SSL_CTX_set_mode(tls->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    rc = set_trust(tls, setup, err);
    if (!rc)
        rc = set_own(tls, setup, err);
    if (rc)
        return rc;
    tls->ssl = SSL_new(tls->ctx);
    if (!tls->ssl || !set_host(tls, setup) || SSL_set_fd(tls->ssl, fd) != 1)
        return dgf_err_set(err, DGF_NOMEM, "cannot begin TLS with '%s'", setup->host);
    *ret = dgf_steal(tls);
    return DGF_OK;
}

void dgf_tls_free(struct dgf_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->ctx);
    dgf_free(tls);
}

static enum dgf_tls_step step_of(struct dgf_tls *tls, int result)
{
    int cause = errno;

    tls->code = SSL_get_error(tls->ssl, result);
    tls->cause = cause;
    switch (tls->code) {
    case SSL_ERROR_NONE:
        return DGF_TLS_DONE;
    case SSL_ERROR_WANT_READ:
        return DGF_TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return DGF_TLS_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return DGF_TLS_END;
    default:
        return DGF_TLS_FAILED;
    }
}

enum dgf_tls_step dgf_tls_connect(struct dgf_tls *tls)
{
    ERR_clear_error();
    return step_of(tls, SSL_connect(tls->ssl));
}

enum dgf_tls_step dgf_tls_read(struct dgf_tls *tls, void *to, size_t len, size_t *ret_n)
{
    ERR_clear_error();
    *ret_n = 0;
    return step_of(tls, SSL_read_ex(tls->ssl, to, len, ret_n));
}

enum dgf_tls_step dgf_tls_write(struct dgf_tls *tls, const void *from, size_t len,
                                size_t *ret_n)
{
    ERR_clear_error();
    *ret_n = 0;
    return step_of(tls, SSL_write_ex(tls->ssl, from, len, ret_n));
}

size_t dgf_tls_waiting(struct dgf_tls *tls)
{
    return dgf_tls_pending(tls->ssl);
}

void dgf_tls_cause(struct dgf_tls *tls, char *to, size_t size, bool *ret_lasting)
{
    long verified = SSL_get_verify_result(tls->ssl);
    const char *text;

    *ret_lasting = false;
    if (verified != X509_V_OK) {
        *ret_lasting = true;
        text = X509_verify_cert_error_string(verified);
        if (verified == X509_V_ERR_HOSTNAME_MISMATCH ||
            verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
            (void)snprintf(to, size, "the server's certificate is not for '%s'",
                           tls->host);
        else
            (void)snprintf(to, size, "the server's certificate is refused: %s", text);
        ERR_clear_error();
        return;
    }
    if (tls->code == SSL_ERROR_SYSCALL) {
        (void)snprintf(to, size, "%s",
                       tls->cause ? dgf_errno_text(tls->cause)
                                  : "the server closed the connection");
        return;
    }
    library_text(to, size);
}
