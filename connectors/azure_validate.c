/* azure_validate.c - what a file says of Azure, judged without the network: addresses,
 * connection strings in their place, and options that go with one `auth` only. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "azure_auth.h"
#include "base/mac.h"
#include "base/parse.h"

struct judge {
    const struct dgf_azure_conf *conf;
    const char *what;
    struct dgf_mark mark;
    struct dgf_findings *findings;
    bool storage; /* which knows auth: sas */
};

static void complain(const struct judge *j, const char *option, const char *fmt, ...)
    DGF_PRINTF(3, 4);

static void complain(const struct judge *j, const char *option, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(j->findings, DGF_FINDING_ERROR, "E0640", j->mark, NULL, "%s: %s",
                     j->what, text);
    dgf_findings_about(j->findings, "%s", option);
}

/* ---- connection strings ---- */

/* Value of "Name=" in "A=x;Name=y;..."; len 0: it is not there. */
static struct dgf_bytes part_of(const char *text, const char *name)
{
    size_t len = strlen(name), end;

    for (; *text; text += end + (text[end] == ';')) {
        text += strspn(text, " ");
        end = strcspn(text, ";");
        if (end > len && text[len] == '=' && !strncasecmp(text, name, len))
            return dgf_bytes_of(text + len + 1, end - len - 1);
    }
    return dgf_bytes_of("", 0);
}

static bool is_connection_string(const char *text)
{
    static const char *const names[] = {
        "AccountKey",   "AccountEndpoint",          "AccountName",
        "BlobEndpoint", "DefaultEndpointsProtocol", "SharedAccessSignature"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (part_of(text, names[i]).len)
            return true;
    return false;
}

/* Anything odd is not shown: the text is somebody's slip and may be a secret. */
static bool is_plain(struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!((text.ptr[i] | 0x20) >= 'a' && (text.ptr[i] | 0x20) <= 'z') &&
            !(text.ptr[i] >= '-' && text.ptr[i] <= ':') && text.ptr[i] != '_')
            return false;
    return text.len > 0 && text.len < 200;
}

static void add_address(struct dgf_buf *out, const char *text,
                        const struct dgf_azure_address *address)
{
    bool queue = address->service == DGF_AZURE_QUEUE;
    struct dgf_bytes given =
        part_of(text, address->service == DGF_AZURE_COSMOS ? "AccountEndpoint"
                      : queue                              ? "QueueEndpoint"
                                                           : "BlobEndpoint");
    struct dgf_bytes name = part_of(text, "AccountName"),
                     suffix = part_of(text, "EndpointSuffix");

    if (given.len && is_plain(given))
        dgf_buf_add_bytes(out, given);
    else if (address->service == DGF_AZURE_COSMOS)
        dgf_buf_add_str(out, "https://ACCOUNT.documents.azure.com");
    else
        dgf_buf_addf(out, "https://%.*s.%s.%.*s", is_plain(name) ? (int)name.len : 7,
                     is_plain(name) ? (const char *)name.ptr : "ACCOUNT",
                     queue ? "queue" : "blob", is_plain(suffix) ? (int)suffix.len : 16,
                     is_plain(suffix) ? (const char *)suffix.ptr : "core.windows.net");
    if (address->part && out->len && out->ptr[out->len - 1] == '/')
        out->len--;
    if (address->part)
        dgf_buf_add_str(out, queue ? "/QUEUE" : "/CONTAINER");
}

static void split_connection_string(const struct judge *j,
                                    const struct dgf_azure_address *address)
{
    bool sas = !part_of(address->url, "AccountKey").len &&
               part_of(address->url, "SharedAccessSignature").len;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf place = {0};

    dgf_buf_init(&place, 1024);
    add_address(&place, address->url, address);
    complain(
        j, address->option,
        "'%s' is a connection string: write its address to '%s' and its %s to '%s'",
        address->option, address->option, sas ? "SharedAccessSignature" : "AccountKey",
        sas ? "sas" : "key");
    dgf_findings_fix(
        j->findings, "%s: \"%s\", auth: %s, %s: \"${file:/run/secrets/azure}\"",
        address->option, dgf_buf_str(&place), sas ? "sas" : "key", sas ? "sas" : "key");
}

/* ---- addresses ---- */

struct host {
    const char *at;
    size_t len;
    bool named; /* a name with dots: its first label is the account */
    const char *path;
};

static struct host host_of(const char *url)
{
    const char *at = strstr(url, "://");
    struct host host = {.at = at ? at + 3 : url};

    host.len = strcspn(host.at, ":/?#");
    host.named = memchr(host.at, '.', host.len) != NULL &&
                 strspn(host.at, "0123456789.") < host.len;
    host.path = host.at + strcspn(host.at, "/?#");
    return host;
}

static const struct {
    const char *label, *behind, *name;
    int service; /* enum dgf_azure_service; -1: none of ours */
} endpoints[] = {
    {"blob", "core", "Blob Storage", DGF_AZURE_BLOB},
    {"blob", "storage", "Blob Storage", DGF_AZURE_BLOB},
    {"queue", "core", "Queue Storage", DGF_AZURE_QUEUE},
    {"queue", "storage", "Queue Storage", DGF_AZURE_QUEUE},
    {"table", "core", "Table Storage", -1},
    {"file", "core", "Azure Files", -1},
    {"dfs", "core", "Data Lake Storage", -1},
    {"web", "core", "a static website", -1},
    {"documents", "azure", "Cosmos DB for NoSQL", DGF_AZURE_COSMOS},
    {"mongo", "cosmos", "Cosmos DB for MongoDB", -1},
    {"table", "cosmos", "Cosmos DB for Table", -1},
    {"cassandra", "cosmos", "Cosmos DB for Cassandra", -1},
    {"gremlin", "cosmos", "Cosmos DB for Gremlin", -1},
    {"servicebus", "windows", "Service Bus or Event Hubs", -1},
    {"vault", "azure", "Key Vault", -1},
};

static bool is_label(const char *at, const char *end, const char *label)
{
    size_t len = strlen(label);

    return (size_t)(end - at) >= len && !strncasecmp(at, label, len) &&
           (at + len == end || at[len] == '.');
}

/* Which of `endpoints` a host belongs to; -1: none we know, it may be a private name.
 * *ret_label: where its label stands. */
static int endpoint_of(const struct host *host, const char **ret_label)
{
    const char *end = host->at + host->len, *at, *next;

    for (at = memchr(host->at, '.', host->len); at;
         at = memchr(at, '.', (size_t)(end - at))) {
        at++;
        next = memchr(at, '.', (size_t)(end - at));
        for (size_t i = 0; next && i < DGF_ARRAY_LEN(endpoints); i++)
            if (is_label(at, end, endpoints[i].label) &&
                is_label(next + 1, end, endpoints[i].behind)) {
                *ret_label = at;
                return (int)i;
            }
    }
    return -1;
}

static const char *example_of(const struct dgf_azure_address *address)
{
    return address->service == DGF_AZURE_COSMOS ? "https://ACCOUNT.documents.azure.com"
           : address->service == DGF_AZURE_QUEUE
               ? "https://ACCOUNT.queue.core.windows.net/QUEUE"
           : address->part ? "https://ACCOUNT.blob.core.windows.net/CONTAINER"
                           : "https://ACCOUNT.blob.core.windows.net";
}

/* What may be shown of it; a bare host is no secret, anything else odd may be. */
static const char *shown(const char *url, struct dgf_buf *out)
{
    if (is_plain(dgf_bytes_str(url)))
        dgf_buf_add_str(out, url);
    else if (strstr(url, "://"))
        dgf_opt_hide_address(url, out);
    return dgf_buf_rc(out) || !out->len || out->len > 300 ? "***" : dgf_buf_str(out);
}

/* The same account's address of the service that is wanted. */
static void other_service(const struct judge *j,
                          const struct dgf_azure_address *address,
                          const struct host *host, int is, const char *label,
                          const char *url)
{
    bool storage = address->service != DGF_AZURE_COSMOS &&
                   strncmp(endpoints[is].behind, "co", 2) == 0 &&
                   strcmp(endpoints[is].behind, "cosmos") != 0;

    complain(j, address->option, "'%s' is '%s', an address of %s; it must be like %s",
             address->option, url, endpoints[is].name, example_of(address));
    if (storage)
        dgf_findings_fix(j->findings, "%s: https://%.*s%s%.*s%s", address->option,
                         (int)(label - host->at), host->at,
                         address->service == DGF_AZURE_QUEUE ? "queue" : "blob",
                         (int)(host->at + host->len - label -
                               (ptrdiff_t)strlen(endpoints[is].label)),
                         label + strlen(endpoints[is].label),
                         !address->part                        ? ""
                         : address->service == DGF_AZURE_QUEUE ? "/QUEUE"
                                                               : "/CONTAINER");
}

/* Where the account alone is wanted: nothing behind the host, or an emulator's path,
 * which is the account's name. */
static void judge_path(const struct judge *j, const struct dgf_azure_address *address,
                       const struct host *host, bool known, const char *url)
{
    size_t len = strcspn(host->path, "?#"), segment;

    while (len && host->path[len - 1] == '/')
        len--;
    segment = len ? 1 + strcspn(host->path + 1, "/?#") : 0;
    if (address->service == DGF_AZURE_COSMOS ? !len
        : host->named                        ? !len || (!known && j->conf->account)
                                             : segment >= len)
        return;
    complain(j, address->option,
             "'%s' is '%s'; it names the account alone, without a path, like %s",
             address->option, url, example_of(address));
    if (!host->named && address->service != DGF_AZURE_COSMOS)
        len = len > segment ? segment : len;
    else
        len = 0;
    dgf_findings_fix(j->findings, "%s: %.*s", address->option,
                     (int)(host->path + len - address->url), address->url);
}

/* One name behind the account; too few are told by dgf_azure_container_url. */
static void judge_part(const struct judge *j, const struct dgf_azure_address *address,
                       const struct host *host, bool known, const char *url)
{
    size_t n = 0, most = host->named && (known || !j->conf->account) ? 1 : 2;

    for (const char *at = host->path; *at; at += strcspn(at, "/")) {
        at += strspn(at, "/");
        n += *at != '\0';
    }
    if (n > most)
        complain(j, address->option,
                 "'%s' is '%s'; behind the account it names one %s and nothing else, "
                 "like %s",
                 address->option, url,
                 address->service == DGF_AZURE_QUEUE ? "queue" : "container",
                 example_of(address));
}

static void judge_address(const struct judge *j,
                          const struct dgf_azure_address *address)
{
    const char *url = address->url, *option = address->option, *label = NULL, *text;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf hidden = {0};
    bool http = !strncasecmp(url, "http://", 7);
    struct host host = host_of(url);
    int is;

    if (is_connection_string(url)) {
        split_connection_string(j, address);
        return;
    }
    dgf_buf_init(&hidden, 64u << 10);
    text = shown(url, &hidden);
    is = endpoint_of(&host, &label);
    if (http && !j->conf->insecure)
        complain(j, option,
                 "'%s' is '%s': http:// sends everything in the clear; write https://, "
                 "or insecure: true for an emulator",
                 option, text);
    else if ((!http && strncasecmp(url, "https://", 8) != 0) || !host.len)
        complain(j, option, "'%s' is '%s', which is no https:// address; example: %s",
                 option, text, example_of(address));
    else if (strchr(url, '@') || strpbrk(url, " \t\r\n\"<>\\"))
        complain(j, option, "'%s' is '%s'; it must have no user and no spaces", option,
                 text);
    else if (strpbrk(url, "?#") && address->service != DGF_AZURE_COSMOS)
        complain(
            j, option,
            "'%s' is '%s'; it ends before '?': a shared access signature stands in "
            "'sas', with auth: sas",
            option, text);
    else if (strpbrk(url, "?#"))
        complain(j, option, "'%s' is '%s'; it ends before '?' and '#'", option, text);
    else if (is >= 0 && endpoints[is].service != (int)address->service)
        other_service(j, address, &host, is, label, text);
    else if (address->part)
        judge_part(j, address, &host, is >= 0, text);
    else
        judge_path(j, address, &host, is >= 0, text);
}

/* ---- what goes with `auth` ---- */

static const char *const how_words[] = {
    [DGF_AZURE_KEY] = "key",
    [DGF_AZURE_WORKLOAD_IDENTITY] = "workload_identity",
    [DGF_AZURE_MANAGED_IDENTITY] = "managed_identity",
    [DGF_AZURE_CLIENT_SECRET] = "client_secret",
    [DGF_AZURE_SAS] = "sas",
};

/* "workload_identity, the default": who wrote no `auth` knows nothing of it. */
static const char *by_default(const struct judge *j)
{
    return j->conf->how == DGF_AZURE_WORKLOAD_IDENTITY ? ", the default" : "";
}

static void for_another(const struct judge *j, const char *option,
                        enum dgf_azure_how how)
{
    complain(j, option, "'%s' is for auth: %s, but auth is %s%s", option,
             how_words[how], how_words[j->conf->how], by_default(j));
    dgf_findings_fix(j->findings, "auth: %s", how_words[how]);
}

static void judge_key(const struct judge *j)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};

    if (!j->conf->key || !*j->conf->key) {
        complain(j, j->conf->key ? "key" : "auth", "auth: key needs 'key'");
        dgf_findings_fix(j->findings, "key: \"${file:/run/secrets/azure}\"");
        return;
    }
    dgf_buf_init(&key, 1024);
    if (is_connection_string(j->conf->key)) {
        complain(j, "key",
                 "'key' is a connection string: write only what follows AccountKey= "
                 "to it");
    } else if (j->storage && strstr(j->conf->key, "sig=")) {
        complain(
            j, "key",
            "'key' is a shared access signature: write it to 'sas', with auth: sas");
        dgf_findings_fix(j->findings, "auth: sas, sas: \"${file:/run/secrets/sas}\"");
    } else if (!dgf_parse_base64(dgf_bytes_str(j->conf->key), &key) || key.len < 16) {
        complain(j, "key", "'key' is no account key: base64 of at least 16 bytes");
    }
    if (key.ptr)
        dgf_wipe(key.ptr, key.cap);
}

static void judge_auth(const struct judge *j)
{
    const struct dgf_azure_conf *conf = j->conf;
    const struct {
        const char *option, *value;
        enum dgf_azure_how how;
    } bound[] = {
        {"key", conf->key, DGF_AZURE_KEY},
        {"sas", conf->sas, DGF_AZURE_SAS},
        {"client_secret", conf->client_secret, DGF_AZURE_CLIENT_SECRET},
        {"token_file", conf->token_file, DGF_AZURE_WORKLOAD_IDENTITY},
        {"identity_endpoint", conf->identity_endpoint, DGF_AZURE_MANAGED_IDENTITY},
    };

    if (conf->how == DGF_AZURE_KEY)
        judge_key(j);
    if (conf->how == DGF_AZURE_SAS && !conf->sas) {
        complain(j, "auth", "auth: sas needs 'sas'");
        dgf_findings_fix(j->findings, "sas: \"${file:/run/secrets/sas}\"");
    }
    if (conf->how == DGF_AZURE_SAS && conf->sas && strstr(conf->sas, "://")) {
        complain(j, "sas",
                 "'sas' is an address: write only what follows its '?' to it");
        dgf_findings_fix(j->findings, "sas: \"${file:/run/secrets/sas}\"");
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(bound); i++)
        if (bound[i].value && conf->how != (int)bound[i].how)
            for_another(j, bound[i].option, bound[i].how);
}

void dgf_azure_validate(const struct dgf_azure_conf *conf,
                        const struct dgf_azure_address *addresses, size_t n,
                        const char *what, struct dgf_mark mark,
                        struct dgf_findings *findings)
{
    struct judge j = {conf, what, mark, findings,
                      n && addresses[0].service != DGF_AZURE_COSMOS};
    bool whole = true;

    for (size_t i = 0; i < n; i++) {
        if (!addresses[i].url || !*addresses[i].url)
            continue;
        judge_address(&j, &addresses[i]);
        whole = whole && !is_connection_string(addresses[i].url);
    }
    if (whole) /* else the key is in the connection string and not missing */
        judge_auth(&j);
    if (!conf->insecure)
        return;
    dgf_findings_add(
        findings, DGF_FINDING_WARNING, "W0201", mark, NULL,
        "%s: insecure: true allows a connection that does not verify the server", what);
    dgf_findings_about(findings, "insecure");
}

/* ---- what the environment gives ---- */

static bool is_given(const char *value, const char *variable)
{
    const char *other = getenv(variable);

    return (value && *value) || (other && *other);
}

bool dgf_azure_can_ask(const struct dgf_azure_conf *conf, const char *what,
                       struct dgf_findings *findings)
{
    struct judge j = {.conf = conf, .what = what, .findings = findings};
    bool token = conf->how == DGF_AZURE_WORKLOAD_IDENTITY,
         secret = conf->how == DGF_AZURE_CLIENT_SECRET;
    const struct {
        bool wanted;
        const char *option, *value, *variable;
    } needed[] = {
        {true, "tenant_id", conf->tenant_id, "AZURE_TENANT_ID"},
        {true, "client_id", conf->client_id, "AZURE_CLIENT_ID"},
        {token, "token_file", conf->token_file, "AZURE_FEDERATED_TOKEN_FILE"},
        {secret, "client_secret", conf->client_secret, "AZURE_CLIENT_SECRET"},
    };
    DGF_RELEASE(dgf_buf_release) struct dgf_buf missing = {0};

    if (!token && !secret)
        return true;
    dgf_buf_init(&missing, 1024);
    for (size_t i = 0; i < DGF_ARRAY_LEN(needed); i++)
        if (needed[i].wanted && !is_given(needed[i].value, needed[i].variable))
            dgf_buf_addf(&missing, "%s'%s' (%s)", missing.len ? ", " : "",
                         needed[i].option, needed[i].variable);
    if (!missing.len)
        return true;
    complain(&j, "auth",
             "auth is %s%s, and these are neither options nor in the environment: %s; "
             "with an account key write auth: key",
             how_words[conf->how], by_default(&j), dgf_buf_str(&missing));
    dgf_findings_fix(findings, "auth: key, key: \"${file:/run/secrets/azure}\"");
    return false;
}
