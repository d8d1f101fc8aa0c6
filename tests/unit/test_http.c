#include "base/http.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "unit.h"

static struct event_base *loop;
static struct evhttp *server;
static struct evhttp_bound_socket *bound;
static struct dgf_http *http;
static struct dgf_err err;
static char base[64], url[256];
static int n_connections, n_requests;
static char seen[4096]; /* what the last request brought, one line a fact */
static size_t seen_len; /* of its body */

/* ---- a server in the same loop ---- */

static struct bufferevent *count_connection(struct event_base *of, void *ctx)
{
    (void)ctx;
    n_connections++;
    return bufferevent_socket_new(of, -1, BEV_OPT_CLOSE_ON_FREE);
}

static const char *method_of(struct evhttp_request *request)
{
    switch (evhttp_request_get_command(request)) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    case EVHTTP_REQ_HEAD:
        return "HEAD";
    default:
        return "?";
    }
}

static void note(struct evhttp_request *request)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    static const char *const names[] = {"Accept", "Content-Type", "Content-Length",
                                        "Expect", "X-Mine",       "X-Empty"};
    size_t n = (size_t)snprintf(seen, sizeof(seen), "%s %s\n", method_of(request),
                                evhttp_request_get_uri(request));

    n_requests++;
    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++) {
        const char *value = evhttp_find_header(headers, names[i]);

        if (value)
            n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s: %s\n", names[i],
                                  value);
    }
    seen_len = evbuffer_get_length(evhttp_request_get_input_buffer(request));
}

static void on_request(struct evhttp_request *request, void *ctx)
{
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
    struct evbuffer *body = evbuffer_new();
    int status = 200;

    (void)ctx;
    note(request);
    if (!strcmp(path, "/never")) {
        evbuffer_free(body);
        return; /* the request stays open */
    }
    if (!strcmp(path, "/big"))
        for (int i = 0; i < 1000; i++)
            (void)evbuffer_add_printf(body, "%0100d", i);
    else if (!strcmp(path, "/gone"))
        status = 410;
    else if (!strcmp(path, "/moved"))
        status = 302;
    else
        (void)evbuffer_add_printf(body, "hello");
    (void)evhttp_add_header(headers, "X-MS-Substatus", "1002");
    (void)evhttp_add_header(headers, "X-Blank", "");
    (void)evhttp_add_header(headers, "Location", "/");
    evhttp_send_reply(request, status, "so", body);
    evbuffer_free(body);
}

static const char *at(const char *path)
{
    (void)snprintf(url, sizeof(url), "%s%s", base, path);
    return url;
}

static unsigned port_of(evutil_socket_t fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

static void begin_client(const struct dgf_http_conf *conf)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)unsetenv("http_proxy");
    (void)unsetenv("https_proxy");
    (void)unsetenv("all_proxy");
    loop = event_base_new();
    ck_assert_ptr_nonnull(loop);
    ck_assert_int_eq(dgf_http_new(loop, conf, &http, &err), DGF_OK);
}

static void begin(void)
{
    begin_client(&(struct dgf_http_conf){0});
    server = evhttp_new(loop);
    evhttp_set_bevcb(server, count_connection, NULL);
    evhttp_set_gencb(server, on_request, NULL);
    evhttp_set_allowed_methods(server, 0xffff);
    bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    ck_assert_ptr_nonnull(bound);
    (void)snprintf(base, sizeof(base), "http://127.0.0.1:%u",
                   port_of(evhttp_bound_socket_get_fd(bound)));
}

static void end(void)
{
    dgf_http_free(http);
    if (server)
        evhttp_free(server);
    event_base_free(loop);
}

/* ---- one request ---- */

struct result {
    enum dgf_rc rc;
    int status, n_done;
    char text[300], body[300], header[64], blank[8];
    size_t body_len;
};

static void on_done(void *ctx, const struct dgf_http_answer *answer)
{
    struct result *result = ctx;
    const char *header = dgf_http_header(answer, "x-ms-substatus");
    const char *blank = dgf_http_header(answer, "x-blank");

    result->n_done++;
    result->rc = answer->rc;
    result->status = answer->status;
    result->body_len = answer->body.len;
    (void)snprintf(result->text, sizeof(result->text), "%s", answer->text);
    (void)snprintf(result->body, sizeof(result->body), "%.*s", (int)answer->body.len,
                   answer->body.ptr ? (const char *)answer->body.ptr : "");
    (void)snprintf(result->header, sizeof(result->header), "%s",
                   header ? header : "(none)");
    (void)snprintf(result->blank, sizeof(result->blank), "%s", blank ? blank : "(no)");
    ck_assert_ptr_null(dgf_http_header(answer, "x-nothing"));
}

static struct dgf_http_request request_of(const char *method, const char *to)
{
    return (struct dgf_http_request){.method = method,
                                     .url = to,
                                     .max_body = 200000,
                                     .timeout_ms = 20000,
                                     .done = on_done};
}

static struct result ask(struct dgf_http_request request)
{
    struct result result = {0};

    request.ctx = &result;
    ck_assert_int_eq(dgf_http_send(http, &request, NULL, &err), DGF_OK);
    ck_assert_int_eq(result.n_done, 0);
    while (!result.n_done)
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    ck_assert_int_eq(result.n_done, 1);
    return result;
}

/* ---- a server of raw bytes ---- */

static const char *raw_answer;
static size_t raw_len;
static struct evconnlistener *raw_listener;
static struct bufferevent *raw_open; /* the client may leave before all is written */

static void raw_written(struct bufferevent *bev, void *ctx)
{
    (void)ctx;
    bufferevent_free(bev);
    raw_open = NULL;
}

static void raw_read(struct bufferevent *bev, void *ctx)
{
    (void)ctx;
    bufferevent_setcb(bev, NULL, raw_written, NULL, NULL);
    if (raw_len)
        (void)bufferevent_write(bev, raw_answer, raw_len);
    else {
        bufferevent_free(bev);
        raw_open = NULL;
    }
}

static void raw_accept(struct evconnlistener *listener, evutil_socket_t fd,
                       struct sockaddr *address, int len, void *ctx)
{
    struct bufferevent *bev = bufferevent_socket_new(loop, fd, BEV_OPT_CLOSE_ON_FREE);

    (void)listener;
    (void)address;
    (void)len;
    (void)ctx;
    raw_open = bev;
    bufferevent_setcb(bev, raw_read, NULL, NULL, NULL);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static struct result ask_raw(const char *answer, size_t len)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct result result;

    raw_answer = answer;
    raw_len = len;
    begin_client(&(struct dgf_http_conf){0});
    raw_listener =
        evconnlistener_new_bind(loop, raw_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 4,
                                (struct sockaddr *)&address, sizeof(address));
    ck_assert_ptr_nonnull(raw_listener);
    (void)snprintf(base, sizeof(base), "http://127.0.0.1:%u",
                   port_of(evconnlistener_get_fd(raw_listener)));
    result = ask(request_of("GET", at("/")));
    if (raw_open)
        bufferevent_free(raw_open);
    raw_open = NULL;
    evconnlistener_free(raw_listener);
    end();
    return result;
}

/* 'what' with host:port of the server in place of its %s. */
static const char *named(const char *what)
{
    static char text[300];
    const char *gap = strstr(what, "%s");

    (void)snprintf(text, sizeof(text), "%.*s%s%s", (int)(gap - what), what,
                   base + strlen("http://"), gap + 2);
    return text;
}

START_TEST(an_answer_has_its_status_headers_and_body)
{
    struct result result;

    begin();
    result = ask(request_of("GET", at("/a%20b?q=1")));
    ck_assert_int_eq(result.rc, DGF_OK);
    ck_assert_int_eq(result.status, 200);
    ck_assert_str_eq(result.body, "hello");
    ck_assert_str_eq(result.header, "1002");
    ck_assert_str_eq(result.blank, "");
    ck_assert_str_eq(seen, "GET /a%20b?q=1\nAccept: */*\n");
    end();
}
END_TEST

START_TEST(a_status_of_failure_is_an_answer_and_nothing_is_followed)
{
    struct result result;

    begin();
    result = ask(request_of("GET", at("/gone")));
    ck_assert_int_eq(result.rc, DGF_OK);
    ck_assert_int_eq(result.status, 410);
    result = ask(request_of("GET", at("/moved")));
    ck_assert_int_eq(result.status, 302);
    ck_assert_int_eq(n_requests, 2);
    end();
}
END_TEST

START_TEST(headers_and_body_go_out_as_they_are)
{
    static const char *const lines[] = {"X-Mine: yes", "X-Empty;", "Accept: a/b"};
    struct dgf_http_request request;
    static char large[2 << 20];

    begin();
    memset(large, 'x', sizeof(large));
    request = request_of("PUT", at("/"));
    request.headers = lines;
    request.n_headers = 3;
    request.body = dgf_bytes_of(large, sizeof(large));
    ck_assert_int_eq(ask(request).status, 200);
    ck_assert_str_eq(seen, "PUT /\nAccept: a/b\nContent-Length: 2097152\n"
                           "X-Mine: yes\nX-Empty: \n");
    ck_assert_uint_eq(seen_len, sizeof(large));
    request.body = (struct dgf_bytes){0};
    ck_assert_int_eq(ask(request).status, 200);
    ck_assert_str_eq(seen, "PUT /\nAccept: a/b\nContent-Length: 0\n"
                           "X-Mine: yes\nX-Empty: \n");
    end();
}
END_TEST

START_TEST(other_methods_work)
{
    struct result result;

    begin();
    ck_assert_int_eq(ask(request_of("DELETE", at("/x"))).status, 200);
    ck_assert_str_eq(seen, "DELETE /x\nAccept: */*\n");
    result = ask(request_of("HEAD", at("/x")));
    ck_assert_int_eq(result.status, 200);
    ck_assert_uint_eq(result.body_len, 0);
    ck_assert_str_eq(result.header, "1002");
    end();
}
END_TEST

START_TEST(an_answer_that_is_too_large_is_refused)
{
    struct dgf_http_request request;
    struct result result;

    begin();
    request = request_of("GET", at("/big"));
    request.max_body = 100000;
    result = ask(request);
    ck_assert_int_eq(result.rc, DGF_OK);
    ck_assert_uint_eq(result.body_len, 100000);
    request.max_body = 99999;
    result = ask(request);
    ck_assert_int_eq(result.rc, DGF_BAD_DATA);
    ck_assert_str_eq(result.text,
                     named("the answer of '%s' has more than 99999 bytes"));
    end();
}
END_TEST

START_TEST(connections_are_used_again)
{
    begin();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(ask(request_of("GET", at("/"))).status, 200);
    ck_assert_int_eq(n_requests, 5);
    ck_assert_int_eq(n_connections, 1);
    end();
}
END_TEST

START_TEST(many_requests_run_at_once_over_a_few_connections)
{
    struct result results[50] = {{0}};
    int left = 50;

    begin();
    for (int i = 0; i < 50; i++) {
        struct dgf_http_request request = request_of("GET", at("/"));

        request.ctx = &results[i];
        ck_assert_int_eq(dgf_http_send(http, &request, NULL, &err), DGF_OK);
    }
    while (left) {
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
        left = 0;
        for (int i = 0; i < 50; i++)
            left += !results[i].n_done;
    }
    for (int i = 0; i < 50; i++)
        ck_assert_str_eq(results[i].body, "hello");
    ck_assert_int_le(n_connections, 8);
    end();
}
END_TEST

START_TEST(silence_ends_with_the_time_out)
{
    struct dgf_http_request request;
    struct result result;

    begin();
    request = request_of("GET", at("/never"));
    request.timeout_ms = 50;
    result = ask(request);
    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_str_eq(result.text, named("no whole answer of '%s' within 50 ms"));
    end();
}
END_TEST

START_TEST(a_cancelled_request_tells_nothing)
{
    struct dgf_http_request request;
    struct dgf_http_call *call;
    struct result first = {0}, second = {0};

    begin();
    request = request_of("GET", at("/never"));
    request.ctx = &first;
    ck_assert_int_eq(dgf_http_send(http, &request, &call, &err), DGF_OK);
    while (!n_requests)
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    dgf_http_cancel(call);
    dgf_http_cancel(NULL);
    second = ask(request_of("GET", at("/")));
    ck_assert_int_eq(second.status, 200);
    ck_assert_int_eq(first.n_done, 0);
    end();
}
END_TEST

static void free_client(void *ctx, const struct dgf_http_answer *answer)
{
    int *n_done = ctx;

    ck_assert_int_eq(answer->status, 200);
    ++*n_done;
    dgf_http_free(http);
    http = NULL;
}

START_TEST(a_client_may_be_freed_by_an_answer)
{
    struct dgf_http_request request;
    int n_done = 0;

    begin();
    request = request_of("GET", at("/"));
    request.done = free_client;
    request.ctx = &n_done;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(dgf_http_send(http, &request, NULL, &err), DGF_OK);
    while (!n_done)
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    ck_assert_int_eq(event_base_loop(loop, EVLOOP_NONBLOCK), 0);
    ck_assert_int_eq(n_done, 1);
    end();
}
END_TEST

START_TEST(a_refused_connection_is_said)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct result result;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    /* Bound and not listening: nobody else gets the port meanwhile. */
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    begin_client(&(struct dgf_http_conf){0});
    (void)snprintf(base, sizeof(base), "http://127.0.0.1:%u", port_of(fd));
    result = ask(request_of("GET", at("/")));
    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_str_eq(result.text, named("cannot connect to '%s': Connection refused"));
    ck_assert_int_eq(result.status, 0);
    (void)close(fd);
    end();
}
END_TEST

START_TEST(what_is_no_address_is_refused_at_once)
{
    static const char *const bad[] = {
        "", "nothing", "ftp://a/b", "file:///etc/passwd", "http://", "http://a:b/"};

    begin_client(&(struct dgf_http_conf){0});
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++) {
        struct dgf_http_request request = request_of("GET", bad[i]);

        ck_assert_int_eq(dgf_http_send(http, &request, NULL, &err), DGF_BAD_CONFIG);
        ck_assert_str_eq(err.text, "this is no http:// or https:// address");
    }
    end();
}
END_TEST

#define RAW(text) ask_raw(text, sizeof(text) - 1)

START_TEST(an_answer_that_is_cut_is_no_answer)
{
    struct result result = RAW("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");

    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_ptr_nonnull(strstr(result.text, named("the connection to '%s' was cut")));
    result = RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_ptr_nonnull(strstr(result.text, named("the connection to '%s' was cut")));
    result = RAW("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n");
    ck_assert_int_eq(result.rc, DGF_RETRY);
    result = RAW("HTTP/1.1 200 OK\r\nContent-Le");
    ck_assert_int_eq(result.rc, DGF_RETRY);
    result = RAW("HTTP/1.1 200 OK\r\n\r\nabc");
    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_str_eq(result.text,
                     named("the answer of '%s' does not say where it ends"));
    result = RAW("");
    ck_assert_int_eq(result.rc, DGF_RETRY);
    ck_assert_str_eq(result.text,
                     named("'%s' closed the connection without an answer"));
}
END_TEST

START_TEST(what_is_no_http_is_bad_data)
{
    struct result result = RAW("220 mail ESMTP\r\n");

    ck_assert_int_eq(result.rc, DGF_BAD_DATA);
    ck_assert_ptr_nonnull(strstr(result.text, named("'%s' does not speak HTTP/1.1")));
    result = RAW("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n");
    ck_assert_int_ne(result.rc, DGF_OK);
}
END_TEST

START_TEST(headers_have_a_bound)
{
    struct dgf_buf buf;
    struct result result;

    dgf_buf_init(&buf, 1 << 20);
    dgf_buf_add_str(&buf, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 3000; i++)
        dgf_buf_addf(&buf, "X-%d: %0100d\r\n", i, i);
    dgf_buf_add_str(&buf, "\r\n");
    result = ask_raw((const char *)buf.ptr, buf.len);
    ck_assert_int_eq(result.rc, DGF_BAD_DATA);
    ck_assert_str_eq(result.text, named("'%s' sent more than 131072 bytes of headers"));
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(waiting_gives_status_and_body)
{
    struct dgf_http_request request;
    struct dgf_buf body;
    int status = 0;

    begin();
    dgf_buf_init(&body, 100);
    request = request_of("GET", at("/"));
    request.done = NULL;
    ck_assert_int_eq(dgf_http_wait(http, &request, &status, &body, &err), DGF_OK);
    ck_assert_int_eq(status, 200);
    ck_assert_str_eq(dgf_buf_str(&body), "hello");
    request.url = at("/never");
    request.timeout_ms = 50;
    ck_assert_int_eq(dgf_http_wait(http, &request, &status, &body, &err), DGF_RETRY);
    ck_assert_str_eq(err.text, named("no whole answer of '%s' within 50 ms"));
    dgf_buf_release(&body);
    end();
}
END_TEST

/* ---- TLS ---- */

static char ca_path[64];
static SSL_CTX *tls;
static int tls_fd;

static X509 *certificate_for(const char *names, EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

    (void)X509_set_version(cert, 2);
    (void)ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    (void)X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    (void)X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    (void)X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     (const unsigned char *)"test", -1, -1, 0);
    (void)X509_set_issuer_name(cert, name);
    (void)X509_set_pubkey(cert, key);
    (void)X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    return cert;
}

static void *serve_tls(void *ctx)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
    char request[1000];
    int fd = accept(tls_fd, NULL, NULL);
    SSL *ssl = SSL_new(tls);

    (void)ctx;
    (void)SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof(request)) > 0)
        (void)SSL_write(ssl, answer, sizeof(answer) - 1);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(fd);
    return NULL;
}

/* One request to a TLS server with a certificate for `names`. */
static struct result ask_tls(const char *names, bool trusted, bool unverified)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certificate_for(names, key);
    struct result result;
    pthread_t thread;
    FILE *file;

    (void)snprintf(ca_path, sizeof(ca_path), "/tmp/dgf-http-ca-XXXXXX");
    file = fdopen(mkstemp(ca_path), "w");
    ck_assert_int_eq(PEM_write_X509(file, cert), 1);
    (void)fclose(file);
    tls = SSL_CTX_new(TLS_server_method());
    ck_assert_int_eq(SSL_CTX_use_certificate(tls, cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(tls, key), 1);
    tls_fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(tls_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(tls_fd, 4), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_tls, NULL), 0);
    begin_client(&(struct dgf_http_conf){.ca = trusted ? ca_path : NULL,
                                         .unverified = unverified});
    (void)snprintf(base, sizeof(base), "https://127.0.0.1:%u", port_of(tls_fd));
    result = ask(request_of("GET", at("/")));
    (void)pthread_join(thread, NULL);
    end();
    (void)close(tls_fd);
    (void)unlink(ca_path);
    SSL_CTX_free(tls);
    X509_free(cert);
    EVP_PKEY_free(key);
    return result;
}

START_TEST(a_trusted_server_is_spoken_to)
{
    struct result result = ask_tls("IP:127.0.0.1", true, false);

    ck_assert_str_eq(result.text, "");
    ck_assert_str_eq(result.body, "secret");
    result = ask_tls("DNS:elsewhere", false, true);
    ck_assert_str_eq(result.body, "secret");
}
END_TEST

START_TEST(a_certificate_nobody_vouches_for_is_refused)
{
    struct result result = ask_tls("IP:127.0.0.1", false, false);
    char text[200];

    (void)snprintf(text, sizeof(text),
                   "the certificate of '%s' is refused: self-signed certificate",
                   base + strlen("https://"));
    ck_assert_int_eq(result.rc, DGF_BAD_CONFIG);
    ck_assert_str_eq(result.text, text);
}
END_TEST

START_TEST(a_certificate_of_somebody_else_is_refused)
{
    struct result result = ask_tls("IP:127.0.0.9", true, false);
    char text[200];

    (void)snprintf(text, sizeof(text),
                   "the certificate of '%s' is refused: no alternative certificate "
                   "subject name matches target host name '127.0.0.1'",
                   base + strlen("https://"));
    ck_assert_int_eq(result.rc, DGF_BAD_CONFIG);
    ck_assert_str_eq(result.text, text);
}
END_TEST

START_TEST(a_ca_file_that_is_none_is_named)
{
    struct result result;

    begin_client(&(struct dgf_http_conf){.ca = "/nowhere/ca.crt"});
    /* libcurl reads it once it is connected, so the server may be any. */
    server = evhttp_new(loop);
    bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    (void)snprintf(base, sizeof(base), "https://127.0.0.1:%u",
                   port_of(evhttp_bound_socket_get_fd(bound)));
    result = ask(request_of("GET", at("/")));
    ck_assert_int_eq(result.rc, DGF_BAD_CONFIG);
    ck_assert_str_eq(result.text,
                     "cannot use the CA certificates in '/nowhere/ca.crt'");
    end();
}
END_TEST

DGF_UNIT(http, an_answer_has_its_status_headers_and_body,
         a_status_of_failure_is_an_answer_and_nothing_is_followed,
         headers_and_body_go_out_as_they_are, other_methods_work,
         an_answer_that_is_too_large_is_refused, connections_are_used_again,
         many_requests_run_at_once_over_a_few_connections,
         silence_ends_with_the_time_out, a_cancelled_request_tells_nothing,
         a_client_may_be_freed_by_an_answer, a_refused_connection_is_said,
         what_is_no_address_is_refused_at_once, an_answer_that_is_cut_is_no_answer,
         what_is_no_http_is_bad_data, headers_have_a_bound,
         waiting_gives_status_and_body, a_trusted_server_is_spoken_to,
         a_certificate_nobody_vouches_for_is_refused,
         a_certificate_of_somebody_else_is_refused, a_ca_file_that_is_none_is_named)
