#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "source_postgres.h"

/* Text values of rows depend on these; so do the names of objects. */
static const char session_settings[] =
    "-c datestyle=ISO -c intervalstyle=iso_8601 -c extra_float_digits=1 "
    "-c bytea_output=hex -c timezone=UTC -c search_path=pg_catalog "
    "-c row_security=off -c statement_timeout=0 -c lock_timeout=0 "
    "-c idle_in_transaction_session_timeout=0";

#define MAX_HOSTS 64
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

void dgf_pg_params_release(struct dgf_pg_params *params)
{
    for (size_t i = 0; i < params->n; i++) {
        if (params->values[i])
            dgf_wipe(params->values[i],
                     strlen(params->values[i])); /* one is a password */
        dgf_free(params->keys[i]);
        dgf_free(params->values[i]);
    }
    params->n = 0;
}

const char *dgf_pg_params_get(const struct dgf_pg_params *params, const char *key)
{
    for (size_t i = 0; i < params->n; i++)
        if (strcmp(params->keys[i], key) == 0)
            return params->values[i];
    return NULL;
}

enum dgf_rc dgf_pg_params_set(struct dgf_pg_params *params, const char *key,
                              char *take_value)
{
    if (!take_value)
        return DGF_NOMEM;
    for (size_t i = 0; i < params->n; i++)
        if (strcmp(params->keys[i], key) == 0) {
            dgf_wipe(params->values[i], strlen(params->values[i]));
            dgf_free(params->values[i]);
            params->values[i] = take_value;
            return DGF_OK;
        }
    if (params->n + 1 < DGF_ARRAY_LEN(params->keys))
        params->keys[params->n] = dgf_strdup(key);
    if (params->n + 1 >= DGF_ARRAY_LEN(params->keys) || !params->keys[params->n]) {
        dgf_free(take_value);
        return DGF_NOMEM;
    }
    params->values[params->n++] = take_value;
    return DGF_OK;
}

static bool set(struct dgf_pg_params *params, const char *key, const char *value)
{
    return dgf_pg_params_set(params, key, dgf_strdup(value)) == DGF_OK;
}

static bool set_default(struct dgf_pg_params *params, const char *key,
                        const char *value)
{
    const char *there = dgf_pg_params_get(params, key);

    return (there && *there) || set(params, key, value);
}

static bool is_socket_path(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}

/* Every host a unix socket: nothing to verify and nobody in between. */
static bool is_local(const struct dgf_pg_params *params)
{
    const char *host = dgf_pg_params_get(params, "host");
    const char *address = dgf_pg_params_get(params, "hostaddr");

    if (address && *address)
        return false;
    while (host && *host) {
        if (!is_socket_path(host) && *host != ',')
            return false;
        host = strchr(host, ',');
        host = host ? host + 1 : NULL;
    }
    return true;
}

static enum dgf_rc set_tls(const struct dgf_pg_conf *conf, struct dgf_pg_params *params,
                           struct dgf_err *err)
{
    const char *mode = dgf_pg_params_get(params, "sslmode");
    const char *home = getenv("HOME"), *root = dgf_pg_params_get(params, "sslrootcert");
    char path[4096];

    if (conf->insecure || is_local(params))
        return DGF_OK;
    if (mode && *mode && strcmp(mode, "verify-full") != 0)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "sslmode '%s' does not verify the server; "
                           "use verify-full, or write insecure: true",
                           mode);
    if (!set(params, "sslmode", "verify-full"))
        return DGF_NOMEM;
    if ((root && *root) || getenv("PGSSLROOTCERT"))
        return DGF_OK;
    /* libpq looks here by itself; without the file we trust what the system does. */
    (void)snprintf(path, sizeof(path), "%s/.postgresql/root.crt", home ? home : "");
    if (access(path, R_OK) != 0 && access(SYSTEM_CA, R_OK) == 0 &&
        !set(params, "sslrootcert", SYSTEM_CA))
        return DGF_NOMEM;
    return DGF_OK;
}

static bool set_ours(const struct dgf_pg_conf *conf, bool replication,
                     struct dgf_pg_params *params)
{
    const char *given = dgf_pg_params_get(params, "options"), *host = getenv("PGHOST");
    struct dgf_buf options;
    bool good;

    dgf_buf_init(&options, 16384);
    if (given && *given)
        dgf_buf_addf(&options, "%s ", given);
    dgf_buf_add_str(&options, session_settings);
    good = set(params, "options", dgf_buf_str(&options)) && !dgf_buf_rc(&options);
    dgf_buf_release(&options);
    if (!dgf_pg_params_get(params, "host") && !dgf_pg_params_get(params, "hostaddr") &&
        host && *host)
        good = good && set(params, "host", host);
    return good && set(params, "client_encoding", "UTF8") &&
           set_default(params, "fallback_application_name", "dgf") &&
           set_default(params, "gssencmode", "disable") &&
           /* A firewall that forgets an idle connection says nothing; the next
            * question to the catalogue would wait for hours. */
           set_default(params, "keepalives_idle", "30") &&
           set_default(params, "keepalives_interval", "10") &&
           set_default(params, "keepalives_count", "3") &&
           set_default(params, "tcp_user_timeout", "60000") &&
           (!conf->password || set(params, "password", conf->password)) &&
           (!replication || set(params, "replication", "database"));
}

enum dgf_rc dgf_pg_params_make(const struct dgf_pg_conf *conf, bool replication,
                               struct dgf_pg_params *ret, struct dgf_err *err)
{
    /* libpq's own text may quote a part of the address: the password, perhaps. */
    PQconninfoOption *parsed = PQconninfoParse(conf->url, NULL);
    enum dgf_rc rc = DGF_OK;

    ret->n = 0;
    if (!parsed)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "'url' is not a PostgreSQL address; example: "
                           "postgresql://dgf@db.example.org/app "
                           "(special characters of a password are written %%XX)");
    for (PQconninfoOption *option = parsed; option->keyword && !rc; option++)
        if (option->val)
            rc = set(ret, option->keyword, option->val) ? DGF_OK : DGF_NOMEM;
    PQconninfoFree(parsed);
    if (!rc && !set_ours(conf, replication, ret))
        rc = DGF_NOMEM;
    if (!rc)
        rc = set_tls(conf, ret, err);
    if (rc)
        dgf_pg_params_release(ret);
    if (rc == DGF_NOMEM)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    return rc;
}

bool dgf_pg_params_has_names(const struct dgf_pg_params *params)
{
    const char *host = dgf_pg_params_get(params, "host");
    const char *address = dgf_pg_params_get(params, "hostaddr");

    return host && *host && !(address && *address) && !is_local(params);
}

/* The i-th item of a list with commas; the last one when the list is shorter. */
static void item_of(const char *list, size_t i, char *to, size_t size)
{
    const char *end;
    size_t len;

    to[0] = '\0';
    if (!list)
        return;
    while (i-- > 0 && (end = strchr(list, ',')))
        list = end + 1;
    len = strcspn(list, ",");
    if (len < size) {
        memcpy(to, list, len);
        to[len] = '\0';
    }
}

struct lists {
    struct dgf_buf hosts, addresses, ports;
    size_t n;
};

static void add_entry(struct lists *lists, const char *host, const char *address,
                      const char *port)
{
    if (lists->n >= MAX_HOSTS)
        return;
    if (lists->n++ > 0) {
        dgf_buf_add_byte(&lists->hosts, ',');
        dgf_buf_add_byte(&lists->addresses, ',');
        dgf_buf_add_byte(&lists->ports, ',');
    }
    dgf_buf_add_str(&lists->hosts, host);
    dgf_buf_add_str(&lists->addresses, address);
    dgf_buf_add_str(&lists->ports, port);
}

static enum dgf_rc look_up(struct lists *lists, const char *host, const char *port,
                           struct dgf_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char address[NI_MAXHOST];
    int failed;

    if (!*host || is_socket_path(host)) {
        add_entry(lists, host, "", port);
        return DGF_OK;
    }
    failed = getaddrinfo(host, NULL, &hints, &found);
    if (failed)
        return dgf_err_set(err, DGF_RETRY, "cannot look up host '%s': %s", host,
                           gai_strerror(failed));
    for (struct addrinfo *at = found; at; at = at->ai_next)
        if (!getnameinfo(at->ai_addr, at->ai_addrlen, address, sizeof(address), NULL, 0,
                         NI_NUMERICHOST))
            add_entry(lists, host, address, port);
    freeaddrinfo(found);
    return DGF_OK;
}

enum dgf_rc dgf_pg_params_resolve(struct dgf_pg_params *params, struct dgf_err *err)
{
    const char *hosts = dgf_pg_params_get(params, "host");
    const char *ports = dgf_pg_params_get(params, "port");
    struct lists lists = {.n = 0};
    enum dgf_rc rc = DGF_OK, failed = DGF_OK;
    size_t n = 1;

    for (const char *at = hosts; (at = strchr(at, ',')); at++)
        n++;
    dgf_buf_init(&lists.hosts, 64 * 1024);
    dgf_buf_init(&lists.addresses, 64 * 1024);
    dgf_buf_init(&lists.ports, 64 * 1024);
    for (size_t i = 0; i < n && i < MAX_HOSTS; i++) {
        char host[1024], port[32];

        item_of(hosts, i, host, sizeof(host));
        item_of(ports, i, port, sizeof(port));
        rc = look_up(&lists, host, port, err);
        if (rc)
            failed = rc; /* another host of the list may do */
    }
    if (lists.n == 0) {
        rc = failed ? failed
                    : dgf_err_set(err, DGF_RETRY, "no address for the host of 'url'");
    } else if (!set(params, "host", dgf_buf_str(&lists.hosts)) ||
               !set(params, "hostaddr", dgf_buf_str(&lists.addresses)) ||
               !set(params, "port", dgf_buf_str(&lists.ports))) {
        rc = dgf_err_set(err, DGF_NOMEM, "out of memory");
    } else {
        rc = DGF_OK;
    }
    dgf_buf_release(&lists.hosts);
    dgf_buf_release(&lists.addresses);
    dgf_buf_release(&lists.ports);
    return rc;
}
