#include <stdio.h>
#include <strings.h>

#include "azure_sign.h"
#include "base/clock.h"
#include "base/parse.h"
#include "source_cosmos.h"

/* The account: requests that are signed, its regions, its clock. */

#define REGION_PAUSE (60 * DGF_COSMOS_SECOND)
#define SKEW_MIN (30 * DGF_COSMOS_SECOND) /* less is not why we were refused */

enum dgf_rc dgf_cosmos_link_open(struct dgf_cosmos_link *link,
                                 const struct dgf_cosmos_conf *conf,
                                 struct event_base *loop, struct dgf_err *err)
{
    struct dgf_http_conf http = {.ca = conf->auth.ca,
                                 .unverified = conf->auth.insecure,
                                 .max_connections = DGF_COSMOS_FLIGHTS_MAX};
    size_t len = strlen(conf->url);
    enum dgf_rc rc;

    memset(link, 0, sizeof(*link));
    link->conf = conf;
    while (len && conf->url[len - 1] == '/')
        len--;
    if (len >= sizeof(link->regions[0].url))
        return dgf_err_set(err, DGF_BAD_CONFIG, "'url' is too long");
    memcpy(link->regions[0].url, conf->url, len);
    link->n_regions = 1;
    rc = dgf_http_new(loop, &http, &link->http, err);
    if (!rc)
        rc = dgf_azure_auth_new(&conf->auth, DGF_AZURE_COSMOS, link->regions[0].url,
                                link->http, &link->auth, err);
    if (rc)
        dgf_cosmos_link_close(link);
    return rc;
}

void dgf_cosmos_link_close(struct dgf_cosmos_link *link)
{
    dgf_azure_auth_free(dgf_steal(link->auth));
    dgf_http_free(dgf_steal(link->http));
}

const char *dgf_cosmos_link_where(const struct dgf_cosmos_link *link)
{
    const char *url = link->regions[link->at].url, *host = strstr(url, "://");

    return host ? host + 3 : url;
}

/* ---- asking ---- */

void dgf_cosmos_names(const struct dgf_cosmos_conf *conf, const char *container,
                      const char *rest, struct dgf_buf *link_text, struct dgf_buf *path)
{
    dgf_buf_addf(link_text, "dbs/%s/colls/%s", conf->database, container);
    dgf_buf_add_str(path, "/dbs/");
    dgf_azure_escape(path, dgf_bytes_str(conf->database));
    dgf_buf_add_str(path, "/colls/");
    dgf_azure_escape(path, dgf_bytes_str(container));
    dgf_buf_add_str(path, rest);
}

static void on_token(void *ctx, enum dgf_rc rc, const char *text)
{
    struct dgf_cosmos_link *link = ctx;

    link->waits_for_token = false;
    link->token_rc = rc;
    (void)snprintf(link->token_trouble, sizeof(link->token_trouble), "%s", text);
}

static enum dgf_rc need_token(struct dgf_cosmos_link *link, struct dgf_err *err)
{
    if (link->token_rc)
        return dgf_err_set(err, link->token_rc, "%s", link->token_trouble);
    if (!link->waits_for_token) {
        if (dgf_azure_auth_wait(link->auth, on_token, link))
            return dgf_err_set(err, DGF_NOMEM, "out of memory");
        link->waits_for_token = true;
    }
    return DGF_AGAIN;
}

static void common_headers(struct dgf_buf *headers)
{
    dgf_azure_add_header(headers, "Accept", "application/json");
    dgf_azure_add_header(headers, "Cache-Control", "no-cache");
    /* We understand merges. */
    dgf_azure_add_header(headers, "x-ms-cosmos-sdk-supportedcapabilities", "1");
}

enum dgf_rc dgf_cosmos_link_send(struct dgf_cosmos_link *link,
                                 const struct dgf_cosmos_ask *ask,
                                 struct dgf_http_call **ret_call, struct dgf_err *err)
{
    const char *lines[DGF_AZURE_HEADERS_MAX];
    struct dgf_buf headers, url, signed_url;
    struct dgf_azure_request request = {.method = "GET",
                                        .headers = &headers,
                                        .cosmos_type = ask->type,
                                        .cosmos_link = ask->link_text,
                                        .now_ns = dgf_clock_ns() + link->skew_ns};
    struct dgf_http_request http = {.method = "GET",
                                    .headers = lines,
                                    .max_body = ask->max_body,
                                    .timeout_ms =
                                        link->conf->timeout_ns / DGF_COSMOS_MS,
                                    .done = ask->done,
                                    .ctx = ask->ctx};
    enum dgf_rc rc;

    dgf_buf_init(&headers, 128u << 10);
    dgf_buf_init(&url, 4096);
    dgf_buf_init(&signed_url, 4096);
    common_headers(&headers);
    for (size_t i = 0; i < 2 * ask->n_headers; i += 2)
        dgf_azure_add_header(&headers, ask->headers[i], ask->headers[i + 1]);
    dgf_buf_addf(&url, "%s%s", link->regions[link->at].url, ask->path);
    request.url = dgf_buf_str(&url);
    rc = dgf_azure_sign(link->auth, &request, &signed_url, err);
    if (rc == DGF_AGAIN)
        rc = need_token(link, err);
    else if (!rc) {
        http.url = dgf_buf_str(&signed_url);
        http.n_headers = dgf_azure_list_headers(&headers, lines, DGF_ARRAY_LEN(lines));
        rc = dgf_http_send(link->http, &http, ret_call, err);
    }
    if (headers.ptr)
        dgf_wipe(headers.ptr, headers.cap); /* a token */
    dgf_buf_release(&headers);
    dgf_buf_release(&url);
    dgf_buf_release(&signed_url);
    return rc;
}

/* ---- understanding ---- */

/* "message" of an error, its first line, plain characters. */
static void read_message(struct dgf_bytes body, char *to, size_t size)
{
    struct dgf_bytes message;
    struct dgf_buf text;
    size_t n = 0;

    to[0] = 0;
    dgf_buf_init(&text, 16u << 10);
    if (!dgf_jv_check(body, NULL) &&
        dgf_jv_find(dgf_jv_root(body), "message", &message) &&
        dgf_jv_text(message, &text))
        for (; n < text.len && n + 1 < size; n++) {
            uint8_t c = text.ptr[n];

            if (c == '\r' || c == '\n')
                break;
            to[n] = c < ' ' || c > '~' ? '?' : (char)c;
        }
    to[n] = 0;
    dgf_buf_release(&text);
}

static int64_t number_header(const struct dgf_http_answer *answer, const char *name)
{
    const char *text = dgf_http_header(answer, name);
    double value;

    if (!text || !dgf_parse_double(dgf_bytes_str(text), &value) || value < 0 ||
        value > 1e9)
        return 0;
    return (int64_t)(value * 1000);
}

/* Our clock is not the server's: remembers by how much.  False: that is not it. */
static bool learn_clock(struct dgf_cosmos_link *link,
                        const struct dgf_http_answer *answer)
{
    const char *text = dgf_http_header(answer, "date");
    int64_t theirs, skew;

    if (!text || !dgf_azure_date_parse(text, &theirs))
        return false;
    skew = theirs - dgf_clock_ns();
    if (skew > -SKEW_MIN && skew < SKEW_MIN)
        skew = 0;
    if (skew - link->skew_ns > -SKEW_MIN && skew - link->skew_ns < SKEW_MIN)
        return false; /* the time was right already */
    link->skew_ns = skew;
    return true;
}

static enum dgf_cosmos_is forbidden(struct dgf_cosmos_link *link,
                                    const struct dgf_http_answer *http,
                                    const char *message, int substatus)
{
    if (substatus == 3 || substatus == 1008)
        return DGF_COSMOS_ELSEWHERE;
    if (strstr(message, "not valid at the current time") && learn_clock(link, http))
        return DGF_COSMOS_SKEWED;
    return DGF_COSMOS_UNTRUSTED;
}

static enum dgf_cosmos_is is_of(struct dgf_cosmos_link *link,
                                const struct dgf_http_answer *http, const char *message,
                                int substatus)
{
    switch (http->status) {
    case 200:
        return DGF_COSMOS_GOOD;
    case 304:
        return DGF_COSMOS_SAME;
    case 400:
        return substatus == 1024 ? DGF_COSMOS_STALE : DGF_COSMOS_REFUSED;
    case 401:
        return DGF_COSMOS_UNTRUSTED;
    case 403:
        return forbidden(link, http, message, substatus);
    case 404:
        return substatus == 1002 ? DGF_COSMOS_BEHIND : DGF_COSMOS_MISSING;
    case 410:
        if (substatus == 1000)
            return DGF_COSMOS_STALE;
        return substatus == 1007 || substatus == 1008 ? DGF_COSMOS_SPLITTING
                                                      : DGF_COSMOS_SPLIT;
    case 429:
        return DGF_COSMOS_THROTTLED;
    case 503:
        return DGF_COSMOS_ELSEWHERE;
    case 408:
    case 449:
    default:
        return http->status >= 500 || http->status == 408 || http->status == 449
                   ? DGF_COSMOS_PASSING
                   : DGF_COSMOS_REFUSED;
    }
}

static void describe(const struct dgf_cosmos_link *link, const char *message,
                     struct dgf_cosmos_answer *ret)
{
    int n = snprintf(ret->text, sizeof(ret->text), "'%s' answers %d",
                     dgf_cosmos_link_where(link), ret->status);

    if (ret->substatus)
        n += snprintf(ret->text + n, sizeof(ret->text) - (size_t)n, "/%d",
                      ret->substatus);
    if (*message)
        (void)snprintf(ret->text + n, sizeof(ret->text) - (size_t)n, ": %s", message);
}

/* A refused token may have been revoked: one more is fetched before a person is
 * asked. */
static enum dgf_rc untrusted(struct dgf_cosmos_link *link, int status)
{
    if (status == 401 && link->conf->auth.how != DGF_AZURE_KEY &&
        link->n_refused++ == 0) {
        dgf_azure_auth_refused(link->auth);
        return DGF_RETRY;
    }
    return DGF_BAD_CONFIG;
}

void dgf_cosmos_link_read(struct dgf_cosmos_link *link,
                          const struct dgf_http_answer *http,
                          struct dgf_cosmos_answer *ret)
{
    const char *substatus = dgf_http_header(http, "x-ms-substatus");
    char message[300];
    int64_t n = 0;

    memset(ret, 0, sizeof(*ret));
    ret->http = http;
    ret->rc = DGF_RETRY;
    if (http->rc) {
        ret->is = http->rc == DGF_RETRY ? DGF_COSMOS_ELSEWHERE : DGF_COSMOS_PASSING;
        ret->rc = http->rc == DGF_BAD_CONFIG ? DGF_BAD_CONFIG : DGF_RETRY;
        (void)snprintf(ret->text, sizeof(ret->text), "%s", http->text);
        return;
    }
    if (substatus && dgf_parse_i64(dgf_bytes_str(substatus), &n) && n > 0 && n < 100000)
        ret->substatus = (int)n;
    ret->status = http->status;
    ret->body = http->body;
    ret->etag = dgf_http_header(http, "etag");
    ret->charge_mru = number_header(http, "x-ms-request-charge");
    ret->wait_ns = number_header(http, "x-ms-retry-after-ms") * 1000;
    message[0] = 0;
    if (http->status >= 400)
        read_message(http->body, message, sizeof(message));
    describe(link, message, ret);
    ret->is = is_of(link, http, message, ret->substatus);
    if (ret->is == DGF_COSMOS_GOOD || ret->is == DGF_COSMOS_SAME)
        link->n_refused = 0;
    if (ret->is == DGF_COSMOS_UNTRUSTED)
        ret->rc = untrusted(link, http->status);
}

/* ---- regions ---- */

static bool usable(const struct dgf_cosmos_link *link, size_t i, int64_t now)
{
    return i != link->at && link->regions[i].bad_until_ns <= now;
}

bool dgf_cosmos_link_leave(struct dgf_cosmos_link *link)
{
    int64_t now = dgf_clock_mono_ns();

    link->regions[link->at].bad_until_ns = now + REGION_PAUSE;
    /* preferred regions are [1] and on, in order; [0] is the account's address */
    for (size_t i = 1; i <= link->n_regions; i++)
        if (usable(link, i % link->n_regions, now)) {
            link->at = i % link->n_regions;
            return true;
        }
    return false;
}

static void add_region(struct dgf_cosmos_link *link, struct dgf_bytes location)
{
    struct dgf_cosmos_region region = {.bad_until_ns = 0};
    struct dgf_bytes name, url;
    size_t len;

    if (link->n_regions == DGF_COSMOS_REGIONS_MAX ||
        !dgf_jv_find(location, "name", &name) ||
        !dgf_jv_copy(name, region.name, sizeof(region.name)) ||
        !dgf_jv_find(location, "databaseAccountEndpoint", &url) ||
        !dgf_jv_copy(url, region.url, sizeof(region.url)))
        return;
    /* What proves who we are goes to https only, unless the address given is http. */
    if (strncasecmp(region.url, "https://", 8) != 0 && !link->conf->auth.insecure)
        return;
    len = strlen(region.url);
    while (len && region.url[len - 1] == '/')
        region.url[--len] = 0;
    for (size_t i = 1; i < link->n_regions; i++)
        if (strcasecmp(link->regions[i].url, region.url) == 0)
            return;
    link->regions[link->n_regions++] = region;
}

static void add_named(struct dgf_cosmos_link *link, struct dgf_bytes locations,
                      const char *wanted)
{
    struct dgf_jv_walk walk = dgf_jv_walk(locations);
    struct dgf_bytes key, location, name;
    char text[64];

    while (dgf_jv_next(&walk, &key, &location))
        if (!wanted ||
            (dgf_jv_find(location, "name", &name) &&
             dgf_jv_copy(name, text, sizeof(text)) && !strcasecmp(text, wanted)))
            add_region(link, location);
}

void dgf_cosmos_link_regions(struct dgf_cosmos_link *link, struct dgf_bytes account)
{
    const struct dgf_str_list *wanted = &link->conf->regions;
    struct dgf_cosmos_region old[DGF_COSMOS_REGIONS_MAX], at = link->regions[link->at];
    size_t n_old = link->n_regions;
    int64_t now = dgf_clock_mono_ns();
    struct dgf_bytes readable;

    if (!dgf_jv_find(account, "readableLocations", &readable))
        return;
    memcpy(old, link->regions, sizeof(old));
    link->n_regions = 1;
    for (size_t i = 0; i < wanted->n; i++)
        add_named(link, readable, wanted->list[i]);
    add_named(link, readable, NULL);
    for (size_t i = 1; i < link->n_regions; i++)
        for (size_t k = 1; k < n_old; k++)
            if (strcmp(link->regions[i].url, old[k].url) == 0)
                link->regions[i].bad_until_ns = old[k].bad_until_ns;
    link->at = 0;
    for (size_t i = 0; i < link->n_regions; i++)
        if (strcmp(link->regions[i].url, at.url) == 0)
            link->at = i;
    /* Back to what is preferred, when it may be asked again. */
    for (size_t i = wanted->n ? 1 : 0; i < link->n_regions; i++)
        if (link->regions[i].bad_until_ns <= now) {
            link->at = i;
            break;
        }
}
