#include "sink_kafka.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_TOPIC_LEN 249
#define AT(f) offsetof(struct dgf_kafka_conf, f)

static const struct dgf_opt tls_opts[] = {
    {.name = "ca",
     .type = DGF_OPT_STR,
     .offset = AT(tls.ca) - AT(tls),
     .help = "file of the certificate authorities to trust; the system's when missing",
     .example = "/etc/dgf/kafka-ca.crt"},
    {.name = "cert",
     .type = DGF_OPT_STR,
     .offset = AT(tls.cert) - AT(tls),
     .help = "file of our client certificate, PEM"},
    {.name = "key",
     .type = DGF_OPT_STR,
     .offset = AT(tls.key) - AT(tls),
     .help = "file of its private key, PEM"},
    {.name = "key_password",
     .type = DGF_OPT_SECRET_STR,
     .offset = AT(tls.key_password) - AT(tls),
     .help = "password of the private key"},
    DGF_OPT_END,
};

static const struct dgf_opt sasl_opts[] = {
    {.name = "mechanism",
     .type = DGF_OPT_ENUM,
     .offset = AT(sasl.mechanism) - AT(sasl),
     .fallback = "PLAIN",
     .help = "how to log in; SCRAM with Kafka 4 needs librdkafka 2.6.1",
     .words = "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512"},
    {.name = "user",
     .type = DGF_OPT_STR,
     .offset = AT(sasl.user) - AT(sasl),
     .help = "user name; without it there is no login"},
    {.name = "password",
     .type = DGF_OPT_SECRET_STR,
     .offset = AT(sasl.password) - AT(sasl),
     .help = "its password",
     .example = "${file:/run/secrets/kafka}"},
    DGF_OPT_END,
};

const struct dgf_opt dgf_kafka_opts[] = {
    {.name = "brokers",
     .type = DGF_OPT_STR_LIST,
     .offset = AT(brokers),
     .flags = DGF_REQUIRED,
     .help = "addresses to find the cluster by",
     .example = "[kafka-1:9093, kafka-2:9093]"},
    DGF_SINK_OPTS(struct dgf_kafka_conf),
    {.name = "topic_prefix",
     .type = DGF_OPT_STR,
     .offset = AT(topic_prefix),
     .help =
         "topics are PREFIX.violations.v1, .audit.v1 and .control.v1; dgf.<env> when "
         "missing"},
    {.name = "tls",
     .type = DGF_OPT_GROUP,
     .offset = AT(tls),
     .help = "TLS is on, with the broker's name verified, unless insecure is written",
     .group = tls_opts},
    {.name = "sasl",
     .type = DGF_OPT_GROUP,
     .offset = AT(sasl),
     .help = "login at the broker",
     .group = sasl_opts},
    {.name = "insecure",
     .type = DGF_OPT_BOOL,
     .offset = AT(insecure),
     .flags = DGF_DECIDES,
     .fallback = "false",
     .help = "talk without TLS: for test brokers"},
    {.name = "linger",
     .type = DGF_OPT_DURATION,
     .offset = AT(linger_ns),
     .fallback = "5ms",
     .lo = "0s",
     .hi = "1s",
     .help = "how long a batch may wait for more records"},
    {.name = "compression",
     .type = DGF_OPT_ENUM,
     .offset = AT(compression),
     .fallback = "zstd",
     .help = "of batches",
     .words = "none|gzip|snappy|lz4|zstd"},
    {.name = "window",
     .type = DGF_OPT_SIZE,
     .offset = AT(window_bytes),
     .fallback = "16MiB",
     .lo = "1MiB",
     .hi = "1GiB",
     .help = "memory for records sent and not yet acknowledged"},
    {.name = "librdkafka",
     .type = DGF_OPT_STR_MAP,
     .offset = AT(librdkafka),
     .help = "further properties of librdkafka; those that would weaken delivery or "
             "security are refused",
     .example = "{socket.keepalive.enable: \"true\"}"},
    DGF_OPT_END,
};

static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"};
static const char *const compressions[] = {"none", "gzip", "snappy", "lz4", "zstd"};

/* Properties a user may not set, with what to say. */
static const struct {
    const char *glob, *why;
} refused[] = {
    {"enable.idempotence", "records could be lost or reordered"},
    {"enable.gapless.guarantee", "records could be lost or reordered"},
    {"acks", "records could be lost"},
    {"request.required.acks", "records could be lost"},
    {"retries", "records could be lost"},
    {"message.send.max.retries", "records could be lost"},
    {"message.timeout.ms", "records could be lost"},
    {"delivery.*", "delivery could not be known"},
    {"queuing.strategy", "records could be reordered"},
    {"transaction*", "dgf uses no transactions"},
    {"topic.blacklist", "records could be lost"},
    {"test.mock.*", "records would go nowhere"},
    {"internal.*", "it is for tests of librdkafka"},
    {"*partition*", "dgf chooses the partition from the key"},
    {"bootstrap.servers", "use 'brokers'"},
    {"metadata.broker.list", "use 'brokers'"},
    {"linger.ms", "use 'linger'"},
    {"queue.buffering.max.ms", "use 'linger'"},
    {"queue.buffering.max.*", "use 'window'"},
    {"compression.codec", "use 'compression'"},
    {"compression.type", "use 'compression'"},
    {"security.protocol", "use 'tls', 'sasl' and 'insecure'"},
    {"enable.ssl.certificate.verification", "use 'insecure' to do without TLS"},
    {"ssl.endpoint.identification.algorithm", "use 'insecure' to do without TLS"},
    {"ssl.engine*", "it loads code"},
    {"ssl.providers", "it loads code"},
    {"plugin.library.paths", "it loads code"},
    {"ssl.ca.*", "use 'tls.ca'"},
    {"ssl.certificate.*", "use 'tls.cert'"},
    {"ssl.key*", "use 'tls.key'"},
    {"ssl_*", "use 'tls'"},
    {"*sasl*", "use 'sasl'"},
    {"log.queue", "dgf takes the log itself"},
    {"enabled_events", "dgf takes the events itself"},
};

static const char *refusal(const char *property)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(refused); i++) {
        if (fnmatch(refused[i].glob, property, 0) == 0)
            return refused[i].why;
    }
    return NULL;
}

static void validate_properties(const struct dgf_kafka_conf *conf, const char *what,
                                struct dgf_mark mark, struct dgf_findings *findings)
{
    rd_kafka_conf_t *scratch = rd_kafka_conf_new();
    char text[512];

    for (size_t i = 0; i < conf->librdkafka.n; i++) {
        const char *name = conf->librdkafka.keys[i], *why = refusal(name);

        if (why)
            dgf_findings_add(findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
                             "%s: property '%s' of 'librdkafka' is refused: %s", what,
                             name, why);
        else if (rd_kafka_conf_set(scratch, name, conf->librdkafka.values[i], text,
                                   sizeof(text)) != RD_KAFKA_CONF_OK)
            dgf_findings_add(findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
                             "%s: property '%s' of 'librdkafka' is refused: %s", what,
                             name, text);
        else
            continue;
        dgf_findings_about(findings, "librdkafka.%s", name);
    }
    rd_kafka_conf_destroy(scratch);
}

static bool has_tls(const struct dgf_kafka_conf *conf)
{
    return conf->tls.ca || conf->tls.cert || conf->tls.key || conf->tls.key_password;
}

void dgf_kafka_validate(const void *opaque, const char *what, struct dgf_mark mark,
                        struct dgf_findings *findings)
{
    const struct dgf_kafka_conf *conf = opaque;
    struct dgf_buf name __attribute__((cleanup(dgf_buf_release)));

    dgf_buf_init(&name, 4096);
    dgf_select_validate(&conf->base.select, what, mark, findings);
    if (!dgf_kafka_topic_name(conf, "default", DGF_KAFKA_VIOLATIONS, &name)) {
        dgf_findings_add(
            findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
            "%s: 'topic_prefix' is '%s'; topics are named with letters, digits, "
            "'.', '_' and '-'",
            what, conf->topic_prefix);
        dgf_findings_about(findings, "topic_prefix");
    }
    if (conf->insecure && has_tls(conf))
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
                         "%s: 'insecure' means no TLS, but 'tls' is given", what);
    else if (conf->insecure)
        dgf_findings_add(findings, DGF_FINDING_WARNING, "W0201", mark, NULL,
                         "%s: 'insecure' is on: records%s travel unencrypted", what,
                         conf->sasl.user && conf->sasl.mechanism == DGF_KAFKA_PLAIN
                             ? " and the password"
                             : "");
    if (conf->insecure)
        dgf_findings_about(findings, "insecure");
    if (!conf->tls.cert != !conf->tls.key) {
        dgf_findings_add(
            findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
            "%s: 'tls.cert' and 'tls.key' are given together or not at all", what);
        dgf_findings_about(findings, "tls.%s", conf->tls.cert ? "cert" : "key");
    }
    if (!conf->sasl.user != !conf->sasl.password) {
        dgf_findings_add(
            findings, DGF_FINDING_ERROR, "E0701", mark, NULL,
            "%s: 'sasl.user' and 'sasl.password' are given together or not at "
            "all",
            what);
        dgf_findings_about(findings, "sasl.%s", conf->sasl.user ? "user" : "password");
    }
    validate_properties(conf, what, mark, findings);
}

bool dgf_kafka_topic_name(const struct dgf_kafka_conf *conf, const char *env,
                          enum dgf_kafka_topic topic, struct dgf_buf *out)
{
    static const char *const family[] = {"violations", "audit", "control"};
    const char *text;

    dgf_buf_clear(out);
    if (conf->topic_prefix)
        dgf_buf_addf(out, "%s.%s.v1", conf->topic_prefix, family[topic]);
    else
        dgf_buf_addf(out, "dgf.%s.%s.v1", env && *env ? env : "default", family[topic]);
    text = dgf_buf_str(out);
    return dgf_buf_rc(out) == DGF_OK && *text && strlen(text) <= MAX_TOPIC_LEN &&
           strspn(
               text,
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(text);
}

void dgf_kafka_brokers(const struct dgf_kafka_conf *conf, struct dgf_buf *out)
{
    for (size_t i = 0; i < conf->brokers.n; i++) {
        if (i > 0)
            dgf_buf_add_byte(out, ',');
        dgf_buf_add_str(out, conf->brokers.list[i]);
    }
}

/* ---- librdkafka's configuration ---- */

struct setter {
    rd_kafka_conf_t *client;
    struct dgf_err *err;
    enum dgf_rc rc;
};

static void set(struct setter *to, const char *name, const char *value)
{
    char text[512];

    if (to->rc || !value)
        return;
    if (rd_kafka_conf_set(to->client, name, value, text, sizeof(text)) !=
        RD_KAFKA_CONF_OK)
        to->rc = dgf_err_set(to->err, DGF_BAD_CONFIG,
                             "cannot set '%s' of librdkafka: %s", name, text);
}

/* librdkafka would name neither the file nor what the system says of it. */
static void set_file(struct setter *to, const char *option, const char *name,
                     const char *path)
{
    if (!to->rc && path && access(path, R_OK) != 0)
        to->rc = dgf_err_set(to->err, DGF_BAD_CONFIG, "cannot read '%s' of '%s': %s",
                             path, option, dgf_errno_text(errno));
    set(to, name, path);
}

static void set_number(struct setter *to, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    set(to, name, text);
}

static void set_security(struct setter *to, const struct dgf_kafka_conf *conf)
{
    bool sasl = conf->sasl.user != NULL;

    set(to, "security.protocol",
        conf->insecure ? (sasl ? "sasl_plaintext" : "plaintext")
                       : (sasl ? "sasl_ssl" : "ssl"));
    if (!conf->insecure) {
        set(to, "enable.ssl.certificate.verification", "true");
        set(to, "ssl.endpoint.identification.algorithm", "https");
        set_file(to, "tls.ca", "ssl.ca.location", conf->tls.ca);
        set_file(to, "tls.cert", "ssl.certificate.location", conf->tls.cert);
        set_file(to, "tls.key", "ssl.key.location", conf->tls.key);
        set(to, "ssl.key.password", conf->tls.key_password);
    }
    if (sasl) {
        set(to, "sasl.mechanism", mechanisms[conf->sasl.mechanism]);
        set(to, "sasl.username", conf->sasl.user);
        set(to, "sasl.password", conf->sasl.password);
    }
}

/* An outage is waited out, however long: the ledger holds the records.  The
 * first batch that fails for good ends the producer (gapless), so that nothing
 * after it is appended before it. */
static void set_delivery(struct setter *to, const struct dgf_kafka_conf *conf)
{
    char linger[32];

    snprintf(linger, sizeof(linger), "%.3f", (double)conf->linger_ns / 1e6);
    set(to, "enable.idempotence", "true");
    set(to, "enable.gapless.guarantee", "true");
    set(to, "acks", "all");
    set(to, "message.timeout.ms", "0");
    set(to, "linger.ms", linger);
    set(to, "compression.codec", compressions[conf->compression]);
    /* The window is ours and always the tighter one. */
    set_number(to, "queue.buffering.max.kbytes", conf->window_bytes / 1024);
    set_number(to, "queue.buffering.max.messages",
               conf->window_bytes / 512 < 1000 ? 1000 : conf->window_bytes / 512);
}

enum dgf_rc dgf_kafka_client_conf(const struct dgf_kafka_conf *conf,
                                  const char *client_id, unsigned max_batch_bytes,
                                  rd_kafka_conf_t **ret, struct dgf_err *err)
{
    struct setter to = {.client = rd_kafka_conf_new(), .err = err};
    struct dgf_buf text __attribute__((cleanup(dgf_buf_release)));

    dgf_buf_init(&text, 64 * 1024);
    dgf_kafka_brokers(conf, &text);
    set(&to, "bootstrap.servers", dgf_buf_str(&text));
    dgf_buf_clear(&text);
    dgf_buf_addf(&text, "dgf-%s", client_id);
    set(&to, "client.id", dgf_buf_str(&text));
    set(&to, "allow.auto.create.topics", "false"); /* with whose retention? */
    set(&to, "socket.nagle.disable", "true");
    set(&to, "socket.keepalive.enable", "true");
    set(&to, "reconnect.backoff.max.ms", "4000");
    if (strcmp(compressions[conf->compression], "zstd") == 0)
        set(&to, "compression.level",
            "1"); /* records repeat themselves: 3 costs twice */
    for (size_t i = 0; i < conf->librdkafka.n; i++)
        set(&to, conf->librdkafka.keys[i], conf->librdkafka.values[i]);
    if (max_batch_bytes > 1)
        set_number(&to, "batch.size", max_batch_bytes);
    else if (max_batch_bytes == 1)
        set(&to, "batch.num.messages", "1");
    set_security(&to, conf);
    set_delivery(&to, conf);
    if (to.rc) {
        rd_kafka_conf_destroy(to.client);
        return to.rc;
    }
    *ret = to.client;
    return DGF_OK;
}

/* ---- hints ---- */

const char *dgf_kafka_login_hint(const struct dgf_kafka_conf *conf,
                                 int librdkafka_version)
{
    if (!conf->sasl.user || conf->sasl.mechanism == DGF_KAFKA_PLAIN ||
        librdkafka_version >= 0x020601ff)
        return "";
    return "; librdkafka before 2.6.1 is told 'invalid credentials' by Kafka 4 for "
           "SCRAM even when the password is right: use PLAIN over TLS, a client "
           "certificate, or a newer librdkafka";
}

const char *dgf_kafka_tls_hint(const struct dgf_kafka_conf *conf, const char *cause)
{
    if (conf->insecure)
        return strstr(cause, "Disconnected") || strstr(cause, "SSL")
                   ? "; 'insecure' is on: does the broker expect TLS?"
                   : "";
    /* a broker without TLS takes the handshake for a request too large and hangs up */
    if (strstr(cause, "PLAINTEXT") || strstr(cause, "wrong version number") ||
        strstr(cause, "unexpected eof"))
        return "; a test broker without TLS needs 'insecure: true'";
    return "";
}
