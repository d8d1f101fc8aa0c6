#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "source_mongo.h"

/* libmongoc makes a file of counters in /dev/shm as soon as it is loaded, in each
 * process, command or not.  kill -9 leaves it there, and the next process of that
 * pid then prints a warning in the midst of its output.  Ours stands nearer than
 * libc's: it gives the library memory without a name. */
int shm_open(const char *name, int flags, mode_t mode);
__attribute__((visibility("default"))) int shm_open(const char *name, int flags,
                                                    mode_t mode)
{
    (void)flags;
    (void)mode;
    if (strncmp(name, "/mongoc-", 8) == 0)
        return memfd_create(name + 1, MFD_CLOEXEC);
    errno = ENOSYS; /* nothing else here shares memory by name */
    return -1;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin(void)
{
    mongoc_init();
    /* It would write to standard error, authentication failures with names. */
    mongoc_log_set_handler(NULL, NULL);
}

struct dgf_bytes dgf_mongo_bytes(const bson_t *bson)
{
    return dgf_bytes_of(bson_get_data(bson), bson->len);
}

/* ---- the address ---- */

static enum dgf_rc forbid_weak_tls(const mongoc_uri_t *uri, struct dgf_err *err)
{
    /* libmongoc's own names for them are in lower case. */
    static const char *const weak[] = {"tlsInsecure", "tlsAllowInvalidCertificates",
                                       "tlsAllowInvalidHostnames"};

    if (mongoc_uri_has_option(uri, MONGOC_URI_TLS) && !mongoc_uri_get_tls(uri))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "url turns TLS off; write insecure: true to allow it");
    for (size_t i = 0; i < DGF_ARRAY_LEN(weak); i++)
        if (mongoc_uri_get_option_as_bool(uri, weak[i], false))
            return dgf_err_set(err, DGF_BAD_CONFIG,
                               "%s in url does not verify the server; write insecure: "
                               "true to allow it",
                               weak[i]);
    return DGF_OK;
}

static bool set_options(mongoc_uri_t *uri, const struct dgf_mongo_conf *conf)
{
    int32_t connect_ms = (int32_t)(conf->connect_timeout_ns / 1000000);
    int64_t answer_ns = conf->answer_timeout_ns + conf->await_ns;

    return mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS,
                                          connect_ms) &&
           mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                          (int32_t)(answer_ns / 1000000)) &&
           mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                          connect_ms) &&
           mongoc_uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE,
                                         true) &&
           mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false) &&
           (mongoc_uri_get_appname(uri) || mongoc_uri_set_appname(uri, "dgf")) &&
           (!conf->password || mongoc_uri_set_password(uri, conf->password)) &&
           (conf->insecure || mongoc_uri_get_tls(uri) ||
            mongoc_uri_set_option_as_bool(uri, MONGOC_URI_TLS, true));
}

mongoc_uri_t *dgf_mongo_uri_make(const struct dgf_mongo_conf *conf, struct dgf_err *err)
{
    mongoc_uri_t *uri;
    bson_error_t error;

    (void)pthread_once(&once, begin);
    uri = mongoc_uri_new_with_error(conf->url, &error);
    if (!uri) {
        /* libmongoc's text may hold parts of the address. */
        (void)dgf_err_set(err, DGF_BAD_CONFIG,
                          "url is not an address of MongoDB; example: "
                          "mongodb://dgf@db-1,db-2/?replicaSet=rs0");
        return NULL;
    }
    if (!conf->insecure && forbid_weak_tls(uri, err)) {
        mongoc_uri_destroy(uri);
        return NULL;
    }
    if (!set_options(uri, conf)) {
        mongoc_uri_destroy(uri);
        (void)dgf_err_set(err, DGF_BAD_CONFIG, "an option in url has a wrong value");
        return NULL;
    }
    return uri;
}

static void name_hosts(struct dgf_mongo_link *link, const mongoc_uri_t *uri)
{
    const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri);
    size_t n = 0;

    link->where[0] = '\0';
    if (!host && mongoc_uri_get_srv_hostname(uri))
        (void)snprintf(link->where, sizeof(link->where), "%s",
                       mongoc_uri_get_srv_hostname(uri));
    for (; host && n + 1 < sizeof(link->where); host = host->next) {
        int len = snprintf(link->where + n, sizeof(link->where) - n, "%s%s",
                           n ? ", " : "", host->host_and_port);

        n += len > 0 ? (size_t)len : 0;
    }
    (void)snprintf(link->user, sizeof(link->user), "%s",
                   mongoc_uri_get_username(uri) ? mongoc_uri_get_username(uri) : "");
}

/* ---- errors ---- */

static bool contains(const char *text, const char *part)
{
    size_t len = strlen(part);

    for (; *text; text++)
        if (strncasecmp(text, part, len) == 0)
            return true;
    return false;
}

/* Without line ends; "[...]" of libmongoc's list is enough when it is there. */
static void one_line(const char *text, char *to, size_t size)
{
    const char *open = strchr(text, '['), *close = strrchr(text, ']');
    size_t n = 0;

    if (open && close > open) {
        text = open + 1;
    } else {
        close = text + strlen(text);
    }
    for (; text < close && n + 1 < size; text++)
        to[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
    to[n] = '\0';
}

static enum dgf_rc cannot_connect(struct dgf_mongo_link *link, struct dgf_err *err)
{
    const char *text = link->error.message;
    char cause[400];

    if (contains(text, "certificate") || contains(text, "host name") ||
        contains(text, "hostname") || contains(text, "TLS handshake failed") ||
        contains(text, "SSL")) {
        one_line(text, cause, sizeof(cause));
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "cannot connect to '%s': TLS: %s; check tlsCAFile, the names "
            "in the server's certificate, and that it speaks TLS",
            link->where, cause);
    }
    if (contains(text, "refused"))
        return dgf_err_set(err, DGF_RETRY, "cannot connect to '%s': connection refused",
                           link->where);
    if (contains(text, "resolve"))
        return dgf_err_set(err, DGF_RETRY,
                           "cannot connect to '%s': the name cannot be looked up",
                           link->where);
    if (contains(text, "timeout") || contains(text, "timed out"))
        return dgf_err_set(err, DGF_RETRY,
                           "cannot connect to '%s': no answer within %" PRId64 " s",
                           link->where, link->connect_s);
    if (contains(text, "replica set name") || contains(text, "set name"))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot connect to '%s': the replica set has another name "
                           "than replicaSet in url says",
                           link->where);
    one_line(text, cause, sizeof(cause));
    return dgf_err_set(err, DGF_RETRY, "cannot connect to '%s': %s", link->where,
                       cause);
}

static enum dgf_rc cannot_log_in(struct dgf_mongo_link *link, struct dgf_err *err)
{
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "'%s' refuses user '%s': wrong name, password, authSource or "
                       "authMechanism",
                       link->where, link->user);
}

enum dgf_rc dgf_mongo_link_error(struct dgf_mongo_link *link, const char *what,
                                 struct dgf_err *err)
{
    const bson_error_t *error = &link->error;
    char cause[400];

    if (error->domain == MONGOC_ERROR_SERVER_SELECTION)
        return cannot_connect(link, err);
    if ((error->domain == MONGOC_ERROR_CLIENT &&
         error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE) ||
        (error->domain == MONGOC_ERROR_SERVER && error->code == 18) ||
        error->domain == MONGOC_ERROR_SASL || error->domain == MONGOC_ERROR_SCRAM)
        return cannot_log_in(link, err);
    if (error->domain == MONGOC_ERROR_STREAM) {
        if (contains(error->message, "timeout"))
            return dgf_err_set(err, DGF_RETRY,
                               "%s: no answer from '%s' within %" PRId64 " s", what,
                               link->where, link->answer_s);
        return dgf_err_set(err, DGF_RETRY, "%s: connection to '%s' lost", what,
                           link->where);
    }
    one_line(error->message, cause, sizeof(cause));
    if (error->domain == MONGOC_ERROR_SERVER && error->code == 13)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "%s: user '%s' has no right to (13); see `dgf check`", what,
                           link->user);
    if (error->domain == MONGOC_ERROR_SERVER)
        return dgf_err_set(err, DGF_RETRY, "%s: %s (%" PRIu32 ")", what, cause,
                           error->code);
    return dgf_err_set(err, DGF_RETRY, "%s: %s", what, cause);
}

/* ---- commands ---- */

static void note_failure(struct dgf_mongo_link *link, const bson_t *reply)
{
    link->is_server_error = link->error.domain == MONGOC_ERROR_SERVER;
    link->resumable_label = mongoc_error_has_label(reply, "ResumableChangeStreamError");
}

static void note_time(struct dgf_mongo_link *link, const bson_t *reply)
{
    bson_iter_t at;
    uint32_t t, i;

    if (bson_iter_init_find(&at, reply, "operationTime") &&
        BSON_ITER_HOLDS_TIMESTAMP(&at)) {
        bson_iter_timestamp(&at, &t, &i);
        link->operation_time = (uint64_t)t << 32 | i;
    }
}

bool dgf_mongo_link_command(struct dgf_mongo_link *link, const char *database,
                            const bson_t *command, bson_t *reply)
{
    const mongoc_read_prefs_t *prefs = mongoc_client_get_read_prefs(link->client);
    bson_t opts = BSON_INITIALIZER;
    bson_error_t ignored;
    bool good;

    memset(&link->error, 0, sizeof(link->error));
    link->resumable_label = link->is_server_error = false;
    if (link->server)
        (void)BSON_APPEND_INT32(&opts, "serverId", (int32_t)link->server);
    if (link->session && !mongoc_client_session_append(link->session, &opts, &ignored))
        link->session = NULL;
    good = mongoc_client_command_with_opts(link->client, database, command, prefs,
                                           &opts, reply, &link->error);
    bson_destroy(&opts);
    if (good)
        note_time(link, reply);
    else
        note_failure(link, reply);
    return good;
}

static bool simple(struct dgf_mongo_link *link, const char *database, const char *name,
                   bson_t *reply)
{
    bson_t command = BSON_INITIALIZER;
    bool good;

    (void)BSON_APPEND_INT32(&command, name, 1);
    good = dgf_mongo_link_command(link, database, &command, reply);
    bson_destroy(&command);
    return good;
}

static bool is_command_missing(const struct dgf_mongo_link *link)
{
    return link->is_server_error && link->error.code == 59;
}

static enum dgf_rc read_hello(struct dgf_mongo_link *link, struct dgf_err *err)
{
    bson_t reply;
    bson_iter_t at;
    int32_t wire = 0;
    bool good = simple(link, "admin", "hello", &reply);

    if (!good && is_command_missing(link)) {
        bson_destroy(&reply);
        good = simple(link, "admin", "isMaster", &reply);
    }
    if (!good) {
        bson_destroy(&reply);
        return dgf_mongo_link_error(link, "cannot look at the server", err);
    }
    link->set[0] = '\0';
    link->sharded = false;
    if (bson_iter_init_find(&at, &reply, "setName") && BSON_ITER_HOLDS_UTF8(&at))
        (void)snprintf(link->set, sizeof(link->set), "%s", bson_iter_utf8(&at, NULL));
    if (bson_iter_init_find(&at, &reply, "msg") && BSON_ITER_HOLDS_UTF8(&at) &&
        strcmp(bson_iter_utf8(&at, NULL), "isdbgrid") == 0) {
        link->sharded = true;
        (void)snprintf(link->set, sizeof(link->set), "mongos");
    }
    if (bson_iter_init_find(&at, &reply, "maxWireVersion"))
        wire = (int32_t)bson_iter_as_int64(&at);
    bson_destroy(&reply);
    (void)wire;
    return DGF_OK;
}

static void read_version(struct dgf_mongo_link *link)
{
    bson_t reply;
    bson_iter_t at, part;
    int numbers[3] = {0, 0, 0}, n = 0;

    if (simple(link, "admin", "buildInfo", &reply) &&
        bson_iter_init_find(&at, &reply, "versionArray") &&
        BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &part))
        while (n < 3 && bson_iter_next(&part))
            numbers[n++] = (int)bson_iter_as_int64(&part) & 0xff;
    link->version = numbers[0] * 100 + numbers[1];
    link->patch = numbers[2];
    bson_destroy(&reply);
}

static void read_system(struct dgf_mongo_link *link)
{
    bson_t reply;
    bson_iter_t at, found;

    memset(link->system, 0, sizeof(link->system));
    if (!link->sharded && simple(link, "admin", "replSetGetConfig", &reply)) {
        if (bson_iter_init(&at, &reply) &&
            bson_iter_find_descendant(&at, "config.settings.replicaSetId", &found) &&
            BSON_ITER_HOLDS_OID(&found))
            memcpy(link->system, bson_iter_oid(&found)->bytes, sizeof(link->system));
        bson_destroy(&reply);
    } else if (!link->sharded) {
        bson_destroy(&reply);
    }
}

enum dgf_rc dgf_mongo_link_open(struct dgf_mongo_link *link, const mongoc_uri_t *uri,
                                const struct dgf_mongo_conf *conf, struct dgf_err *err)
{
    mongoc_server_description_t *server;
    bson_error_t ignored;
    enum dgf_rc rc;

    memset(link, 0, sizeof(*link));
    link->connect_s = conf->connect_timeout_ns / 1000000000;
    link->answer_s = (conf->answer_timeout_ns + conf->await_ns) / 1000000000;
    name_hosts(link, uri);
    link->client = mongoc_client_new_from_uri(uri);
    if (!link->client)
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "cannot use url: this libmongoc lacks something it asks for");
    (void)mongoc_client_set_error_api(link->client, MONGOC_ERROR_API_VERSION_2);
    server = mongoc_client_select_server(
        link->client, false, mongoc_client_get_read_prefs(link->client), &link->error);
    if (!server)
        return dgf_mongo_link_error(link, "cannot connect", err);
    link->server = mongoc_server_description_id(server);
    mongoc_server_description_destroy(server);
    rc = read_hello(link, err);
    if (rc)
        return rc;
    /* Not every server that speaks the protocol knows sessions. */
    link->session = mongoc_client_start_session(link->client, NULL, &ignored);
    read_version(link);
    read_system(link);
    return DGF_OK;
}

void dgf_mongo_link_close(struct dgf_mongo_link *link)
{
    if (link->session)
        mongoc_client_session_destroy(link->session);
    if (link->client)
        mongoc_client_destroy(link->client);
    memset(link, 0, sizeof(*link));
}

uint64_t dgf_mongo_link_oplog_start(struct dgf_mongo_link *link)
{
    bson_t *command, reply;
    bson_iter_t at, found;
    uint64_t time = 0;
    uint32_t t, i;

    if (link->sharded)
        return 0;
    command = BCON_NEW("find", "oplog.rs", "sort", "{", "$natural", BCON_INT32(1), "}",
                       "limit", BCON_INT32(1), "singleBatch", BCON_BOOL(true));
    if (dgf_mongo_link_command(link, "local", command, &reply) &&
        bson_iter_init(&at, &reply) &&
        bson_iter_find_descendant(&at, "cursor.firstBatch.0.ts", &found) &&
        BSON_ITER_HOLDS_TIMESTAMP(&found)) {
        bson_iter_timestamp(&found, &t, &i);
        time = (uint64_t)t << 32 | i;
    }
    bson_destroy(&reply);
    bson_destroy(command);
    return time;
}

uint64_t dgf_mongo_link_now(const struct dgf_mongo_link *link)
{
    return link->operation_time ? link->operation_time
                                : (uint64_t)(dgf_clock_ns() / 1000000000) << 32;
}
