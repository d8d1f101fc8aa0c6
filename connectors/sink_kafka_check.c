/* What `dgf check` asks of a cluster.  It blocks, changes nothing, and says
 * with which command an administrator mends what it finds. */
#include "sink_kafka.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"

#define LOOKUP_MS 10000
#define CONFIG_MS 5000

/* A record, its key and headers, and what a batch adds, with room to spare. */
#define LARGEST_BATCH 131072

struct topic_settings {
    bool known;
    int64_t max_message_bytes, retention_ms, retention_bytes, min_insync;
    bool compacted;
};

struct check {
    struct dgf_kafka_sink *self;
    struct dgf_findings *findings;
    struct dgf_kafka_producer *producer;
    struct dgf_kafka_lookup lookup;
    struct topic_settings settings[DGF_KAFKA_N];
};

static void release(struct check *check)
{
    struct dgf_kafka_sink *self = check->self;

    dgf_kafka_producer_unref(check->producer, NULL);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        dgf_free(self->names[i]);
        self->names[i] = NULL;
    }
    dgf_free(self->brokers);
    self->brokers = NULL;
}

/* ---- asking ---- */

/* The reason librdkafka gives beside "timed out". */
static void find_cause(struct check *check, rd_kafka_resp_err_t *ret_rc, char *text,
                       size_t size)
{
    rd_kafka_event_t *event;

    *ret_rc = check->lookup.rc;
    snprintf(text, size, "%s", rd_kafka_err2str(check->lookup.rc));
    while ((event = rd_kafka_queue_poll(check->producer->queue, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
            rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
            *ret_rc = rd_kafka_event_error(event);
            snprintf(text, size, "%s", rd_kafka_event_error_string(event));
        }
        rd_kafka_event_destroy(event);
    }
}

static enum dgf_rc ask_topics(struct check *check, struct dgf_err *err)
{
    const struct dgf_kafka_conf *conf = check->self->base.conf;
    rd_kafka_resp_err_t rc;
    char cause[512];

    check->lookup.producer = check->producer;
    check->lookup.timeout_ms = LOOKUP_MS;
    dgf_kafka_lookup_run(&check->lookup);
    if (!check->lookup.rc)
        return DGF_OK;
    find_cause(check, &rc, cause, sizeof(cause));
    if (rc == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        return dgf_err_set(err, DGF_RETRY,
                           "kafka at '%s' refuses the login of '%s': %s%s",
                           check->self->brokers, conf->sasl.user ? conf->sasl.user : "",
                           cause, dgf_kafka_login_hint(conf, rd_kafka_version()));
    return dgf_err_set(err, DGF_RETRY, "cannot reach kafka at '%s': %s%s",
                       check->self->brokers, cause, dgf_kafka_tls_hint(conf, cause));
}

static int64_t number_of(const char *value)
{
    int64_t number = -1;

    return value && dgf_parse_i64(dgf_bytes_str(value), &number) ? number : -1;
}

static void take_setting(struct topic_settings *to, const char *name, const char *value)
{
    to->known = true;
    if (strcmp(name, "max.message.bytes") == 0)
        to->max_message_bytes = number_of(value);
    else if (strcmp(name, "retention.ms") == 0)
        to->retention_ms = number_of(value);
    else if (strcmp(name, "retention.bytes") == 0)
        to->retention_bytes = number_of(value);
    else if (strcmp(name, "min.insync.replicas") == 0)
        to->min_insync = number_of(value);
    else if (strcmp(name, "cleanup.policy") == 0)
        to->compacted = value && strstr(value, "compact") != NULL;
}

static void take_resources(struct check *check, rd_kafka_event_t *event)
{
    size_t n = 0, n_entries;
    const rd_kafka_ConfigResource_t **resources =
        rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(event), &n);

    for (size_t i = 0; i < n; i++) {
        const rd_kafka_ConfigEntry_t **entries;

        if (rd_kafka_ConfigResource_error(resources[i]))
            continue; /* not allowed to see it: said by the caller */
        entries = rd_kafka_ConfigResource_configs(resources[i], &n_entries);
        for (int topic = 0; topic < DGF_KAFKA_N; topic++) {
            if (strcmp(check->self->names[topic],
                       rd_kafka_ConfigResource_name(resources[i])))
                continue;
            for (size_t j = 0; j < n_entries; j++)
                take_setting(&check->settings[topic],
                             rd_kafka_ConfigEntry_name(entries[j]),
                             rd_kafka_ConfigEntry_value(entries[j]));
        }
    }
}

static void ask_settings(struct check *check)
{
    rd_kafka_t *rk = check->producer->rk;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_ConfigResource_t *resources[DGF_KAFKA_N];
    rd_kafka_event_t *event;
    size_t n = 0;
    char text[256];

    (void)rd_kafka_AdminOptions_set_request_timeout(options, CONFIG_MS, text,
                                                    sizeof(text));
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (check->lookup.n_partitions[i] > 0)
            resources[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC,
                                                         check->self->names[i]);
    }
    if (n > 0) {
        rd_kafka_DescribeConfigs(rk, resources, n, options, queue);
        event = rd_kafka_queue_poll(queue, CONFIG_MS + 1000);
        if (event &&
            rd_kafka_event_type(event) == RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT &&
            !rd_kafka_event_error(event))
            take_resources(check, event);
        if (event)
            rd_kafka_event_destroy(event);
        rd_kafka_ConfigResource_destroy_array(resources, n);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
}

/* ---- telling ---- */

#define FIND(check, severity, code, ...)                                            \
    dgf_findings_add((check)->findings, severity, code, (struct dgf_mark){0}, NULL, \
                     __VA_ARGS__)

static void fix_setting(struct check *check, int topic, const char *setting)
{
    dgf_findings_fix(
        check->findings,
        "kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config %s",
        check->self->brokers, check->self->names[topic], setting);
}

static void tell_missing(struct check *check, int topic)
{
    rd_kafka_resp_err_t rc = check->lookup.topic_rc[topic];
    int replicas = check->lookup.n_brokers < 3 ? check->lookup.n_brokers : 3;

    if (rc && rc != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        FIND(check, DGF_FINDING_ERROR, "E0702",
             "sink '%s': topic '%s' cannot be used: %s", check->self->base.name,
             check->self->names[topic], rd_kafka_err2str(rc));
        return;
    }
    FIND(check, DGF_FINDING_ERROR, "E0702",
         "sink '%s': topic '%s' does not exist; its records wait in the ledger",
         check->self->base.name, check->self->names[topic]);
    dgf_findings_fix(
        check->findings,
        "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions 6 "
        "--replication-factor %d --config min.insync.replicas=%d",
        check->self->brokers, check->self->names[topic], replicas,
        replicas > 1 ? 2 : 1);
}

static void tell_retention(struct check *check, int topic, struct dgf_buf *text)
{
    const struct topic_settings *settings = &check->settings[topic];

    dgf_buf_clear(text);
    if (settings->retention_ms < 0 || settings->retention_ms > INT64_MAX / 1000000)
        dgf_buf_add_str(text, "for ever");
    else
        dgf_format_duration(text, settings->retention_ms * 1000000);
    if (settings->retention_bytes >= 0) {
        dgf_buf_add_str(text, ", at most ");
        dgf_format_size(text, (uint64_t)settings->retention_bytes);
        dgf_buf_add_str(text, " a partition");
    }
    FIND(check, DGF_FINDING_NOTE, "W0703",
         "sink '%s': topic '%s' has %d partitions, %d replicas, min.insync.replicas "
         "%lld, "
         "and keeps records %s",
         check->self->base.name, check->self->names[topic],
         (int)check->lookup.n_partitions[topic], check->lookup.n_replicas[topic],
         (long long)settings->min_insync, dgf_buf_str(text));
    fix_setting(check, topic, "retention.ms=31536000000");
}

static void tell_topic(struct check *check, int topic)
{
    const struct topic_settings *settings = &check->settings[topic];
    const char *name = check->self->names[topic], *sink = check->self->base.name;
    struct dgf_buf text __attribute__((cleanup(dgf_buf_release)));

    dgf_buf_init(&text, 4096);
    if (check->lookup.n_replicas[topic] < 2)
        FIND(
            check, DGF_FINDING_WARNING, "W0703",
            "sink '%s': topic '%s' has one replica: records go with that broker's disk",
            sink, name);
    if (!settings->known) {
        FIND(check, DGF_FINDING_NOTE, "W0703",
             "sink '%s': the settings of topic '%s' are not visible to us; it has %d "
             "partitions and %d replicas",
             sink, name, (int)check->lookup.n_partitions[topic],
             check->lookup.n_replicas[topic]);
        return;
    }
    if (settings->min_insync < 2 && check->lookup.n_replicas[topic] > 1) {
        FIND(check, DGF_FINDING_WARNING, "W0703",
             "sink '%s': topic '%s' acknowledges a record that one broker has "
             "(min.insync.replicas is %lld)",
             sink, name, (long long)settings->min_insync);
        fix_setting(check, topic, "min.insync.replicas=2");
    }
    if (settings->max_message_bytes < LARGEST_BATCH) {
        FIND(check, DGF_FINDING_ERROR, "E0703",
             "sink '%s': topic '%s' takes batches of at most %lld bytes; a record has "
             "up to 65535 and its headers",
             sink, name, (long long)settings->max_message_bytes);
        fix_setting(check, topic, "max.message.bytes=1048588");
    }
    if (settings->compacted && topic != DGF_KAFKA_VIOLATIONS) {
        FIND(check, DGF_FINDING_WARNING, "W0703",
             "sink '%s': topic '%s' is compacted: only the last record of a key stays",
             sink, name);
        fix_setting(check, topic, "cleanup.policy=delete");
    }
    tell_retention(check, topic, &text);
}

enum dgf_rc dgf_kafka_check(struct dgf_sink *sink, struct dgf_findings *findings,
                            struct dgf_err *err)
{
    struct dgf_kafka_sink *self = (struct dgf_kafka_sink *)sink;
    const struct dgf_kafka_conf *conf = sink->conf;
    struct check check
        __attribute__((cleanup(release))) = {.self = self, .findings = findings};
    enum dgf_rc rc = dgf_kafka_make_names(self, err);
    unsigned wanted = dgf_kafka_wanted(&conf->base.select);

    if (!rc)
        rc = dgf_kafka_producer_new(conf, sink->agent, (const char *const *)self->names,
                                    0, &check.producer, err);
    if (!rc)
        rc = ask_topics(&check, err);
    if (rc)
        return rc;
    ask_settings(&check);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (!(wanted & 1u << i))
            continue;
        if (check.lookup.n_partitions[i] == 0)
            tell_missing(&check, i);
        else
            tell_topic(&check, i);
    }
    return DGF_OK;
}
