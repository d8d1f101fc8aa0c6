#include "source_redis_address.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "source_redis.h"

void dgf_redis_address_release(struct dgf_redis_address *address)
{
    if (address->password)
        dgf_wipe(address->password, strlen(address->password));
    dgf_free(address->seeds);
    dgf_free(address->host);
    dgf_free(address->path);
    dgf_free(address->user);
    dgf_free(address->password);
    *address = (struct dgf_redis_address){.host = NULL};
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %40 and the like; NULL when it is none, or holds a NUL. */
static char *decoded(const char *from, size_t len)
{
    char *text = dgf_malloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; text && i < len; i++) {
        int high, low;

        if (from[i] != '%') {
            text[n++] = from[i];
            continue;
        }
        high = i + 2 < len ? hex_of(from[i + 1]) : -1;
        low = high >= 0 ? hex_of(from[i + 2]) : -1;
        if (low < 0 || high * 16 + low == 0) {
            dgf_free(text);
            return NULL;
        }
        text[n++] = (char)(high * 16 + low);
        i += 2;
    }
    if (text)
        text[n] = '\0';
    return text;
}

static enum dgf_rc bad(struct dgf_err *err, const char *why)
{
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "'url' cannot be read: %s; example: "
                       "rediss://dgf@redis.example.org:6379/0",
                       why);
}

static enum dgf_rc read_log_in(const char *from, size_t len,
                               struct dgf_redis_address *ret, struct dgf_err *err)
{
    const char *colon = memchr(from, ':', len);
    size_t n = colon ? (size_t)(colon - from) : len;

    if (n > 0 && !(ret->user = decoded(from, n)))
        return bad(err, "the user is not readable");
    if (colon && !(ret->password = decoded(colon + 1, len - n - 1)))
        return bad(err, "the password is not readable");
    return DGF_OK;
}

static enum dgf_rc read_host(const char *from, const char *end,
                             struct dgf_redis_seed *ret, struct dgf_err *err)
{
    const char *close = *from == '[' ? memchr(from, ']', (size_t)(end - from)) : NULL;
    const char *start = close ? from + 1 : from, *colon = close ? close + 1 : from;
    uint64_t port = 6379;
    size_t len;

    if (*from == '[' && !close)
        return bad(err, "a bracket is not closed");
    if (!close) {
        colon = memchr(from, ':', (size_t)(end - from));
        colon = colon ? colon : end;
    }
    len = (size_t)((close ? close : colon) - start);
    if (len == 0 || len > 255)
        return bad(err, "there is no host");
    if (colon < end &&
        (*colon != ':' ||
         !dgf_parse_u64(dgf_bytes_of(colon + 1, (size_t)(end - colon) - 1), &port) ||
         port == 0 || port > 65535))
        return bad(err, "the port is none");
    (void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)len, start);
    ret->port = (uint16_t)port;
    return DGF_OK;
}

/* host:port, or several with commas between them: seeds of a cluster. */
static enum dgf_rc read_hosts(const char *from, const char *end,
                              struct dgf_redis_address *ret, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    ret->seeds = dgf_calloc(DGF_REDIS_SEEDS_MAX, sizeof(*ret->seeds));
    if (!ret->seeds)
        return DGF_NOMEM;
    while (!rc) {
        const char *comma = memchr(from, ',', (size_t)(end - from));

        if (ret->n_seeds == DGF_REDIS_SEEDS_MAX)
            return bad(err, "it has more than 16 hosts");
        rc = read_host(from, comma ? comma : end, &ret->seeds[ret->n_seeds], err);
        if (!rc)
            ret->n_seeds++;
        if (!comma)
            break;
        from = comma + 1;
    }
    if (rc)
        return rc;
    ret->host = dgf_strdup(ret->seeds[0].host);
    ret->port = ret->seeds[0].port;
    return ret->host ? DGF_OK : DGF_NOMEM;
}

static bool is_local(const struct dgf_redis_address *address)
{
    for (size_t i = 0; i < address->n_seeds; i++) {
        const char *host = address->seeds[i].host;

        if (strcmp(host, "localhost") != 0 && strcmp(host, "::1") != 0 &&
            strncmp(host, "127.", 4) != 0)
            return false;
    }
    return true;
}

static enum dgf_rc read_rest(const char *url, struct dgf_redis_address *ret,
                             struct dgf_err *err)
{
    const char *slash = strchr(url, '/'), *at, *end = url + strlen(url);
    const char *authority_end = slash ? slash : end;
    uint64_t db = 0;
    enum dgf_rc rc;

    if (strpbrk(url, "?#"))
        return bad(err, "it may have no '?' or '#'");
    at = memrchr(url, '@', (size_t)(authority_end - url));
    if (at) {
        rc = read_log_in(url, (size_t)(at - url), ret, err);
        if (rc)
            return rc;
        url = at + 1;
    }
    if (slash && slash[1] &&
        (!dgf_parse_u64(dgf_bytes_str(slash + 1), &db) || db > 1000000))
        return bad(err, "the database is no number");
    ret->db = (uint32_t)db;
    return read_hosts(url, authority_end, ret, err);
}

enum dgf_rc dgf_redis_address_read(const struct dgf_redis_conf *conf,
                                   struct dgf_redis_address *ret, struct dgf_err *err)
{
    const char *url = conf->url;
    enum dgf_rc rc = DGF_OK;

    *ret = (struct dgf_redis_address){.tls = strncmp(url, "rediss://", 9) == 0};
    if (strncmp(url, "unix://", 7) == 0 && url[7] == '/')
        ret->path = dgf_strdup(url + 7);
    else if (ret->tls || strncmp(url, "redis://", 8) == 0)
        rc = read_rest(url + (ret->tls ? 9 : 8), ret, err);
    else
        rc = bad(err, "it begins with none of redis://, rediss:// and unix:///");
    if (!rc && conf->user) {
        dgf_free(ret->user);
        ret->user = dgf_strdup(conf->user);
    }
    if (!rc && conf->password) {
        dgf_free(ret->password);
        ret->password = dgf_strdup(conf->password);
    }
    if (!rc && !ret->tls && !conf->insecure && !is_local(ret))
        rc =
            dgf_err_set(err, DGF_BAD_CONFIG,
                        "'url' is without TLS: use rediss://, or write insecure: true");
    if (!rc && ret->user && !ret->password)
        rc = bad(err, "it has a user and no password");
    if (rc == DGF_NOMEM)
        (void)dgf_err_set(err, DGF_RETRY, "out of memory");
    if (rc)
        dgf_redis_address_release(ret);
    return rc;
}
