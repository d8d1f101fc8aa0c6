/* kafka_admin.c - topics of a test broker, without starting a JVM for each.
 *
 *   kafka_admin BROKERS create TOPIC PARTITIONS [KEY=VALUE]...
 *   kafka_admin BROKERS delete TOPIC
 *   kafka_admin BROKERS alter TOPIC KEY=VALUE...
 *   kafka_admin BROKERS allow PREFIX PRINCIPAL OPERATION    on topics that begin so
 * Waits until the broker says it is done and tells others so, at most 30 s each: the
 * controller answers before the brokers' metadata has a topic, or has lost it. */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 30000

static rd_kafka_resp_err_t first_error(rd_kafka_event_t *event, const char **ret_text)
{
    const rd_kafka_topic_result_t **topics = NULL;
    const rd_kafka_ConfigResource_t **configs = NULL;
    size_t n = 0;

    *ret_text = rd_kafka_event_error_string(event);
    if (rd_kafka_event_error(event))
        return rd_kafka_event_error(event);
    if (rd_kafka_event_CreateAcls_result(event)) {
        const rd_kafka_acl_result_t **acls = rd_kafka_CreateAcls_result_acls(
            rd_kafka_event_CreateAcls_result(event), &n);
        const rd_kafka_error_t *error =
            n > 0 ? rd_kafka_acl_result_error(acls[0]) : NULL;

        *ret_text = error ? rd_kafka_error_string(error) : NULL;
        return error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (rd_kafka_event_CreateTopics_result(event))
        topics = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(event), &n);
    else if (rd_kafka_event_DeleteTopics_result(event))
        topics = rd_kafka_DeleteTopics_result_topics(
            rd_kafka_event_DeleteTopics_result(event), &n);
    else
        configs = rd_kafka_AlterConfigs_result_resources(
            rd_kafka_event_AlterConfigs_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = topics ? rd_kafka_topic_result_error(topics[i])
                                          : rd_kafka_ConfigResource_error(configs[i]);

        if (code) {
            *ret_text = topics ? rd_kafka_topic_result_error_string(topics[i])
                               : rd_kafka_ConfigResource_error_string(configs[i]);
            return code;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* KEY=VALUE is cut in place; NULL when there is no '='. */
static char *value_of(char *pair)
{
    char *equals = strchr(pair, '=');

    if (!equals)
        return NULL;
    *equals = '\0';
    return equals + 1;
}

static int allow(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *prefix,
                 const char *principal, const char *operation)
{
    static const rd_kafka_AclOperation_t operations[] = {
        RD_KAFKA_ACL_OPERATION_WRITE, RD_KAFKA_ACL_OPERATION_DESCRIBE,
        RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS};
    char text[512];

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        rd_kafka_AclBinding_t *acl;

        if (strcmp(rd_kafka_AclOperation_name(operations[i]), operation) != 0)
            continue;
        acl = rd_kafka_AclBinding_new(
            RD_KAFKA_RESOURCE_TOPIC, prefix, RD_KAFKA_RESOURCE_PATTERN_PREFIXED,
            principal, "*", operations[i], RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, text,
            sizeof(text));
        if (!acl)
            return 64;
        rd_kafka_CreateAcls(rk, &acl, 1, NULL, queue);
        rd_kafka_AclBinding_destroy(acl);
        return 0;
    }
    return 64;
}

static int ask(rd_kafka_t *rk, rd_kafka_queue_t *queue, int argc, char **argv)
{
    const char *verb = argv[2];
    char text[512];

    if (strcmp(verb, "create") == 0 && argc >= 5) {
        int n = (int)strtol(argv[4], NULL, 10);
        rd_kafka_NewTopic_t *topic =
            rd_kafka_NewTopic_new(argv[3], n, 1, text, sizeof(text));

        if (!topic)
            return 64;
        for (int i = 5; i < argc; i++) {
            char *value = value_of(argv[i]);

            if (!value || rd_kafka_NewTopic_set_config(topic, argv[i], value))
                return 64;
        }
        rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_NewTopic_destroy(topic);
        return 0;
    }
    if (strcmp(verb, "allow") == 0 && argc == 6)
        return allow(rk, queue, argv[3], argv[4], argv[5]);
    if (strcmp(verb, "delete") == 0 && argc == 4) {
        rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(argv[3]);

        rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
        rd_kafka_DeleteTopic_destroy(topic);
        return 0;
    }
    if (strcmp(verb, "alter") == 0 && argc >= 5) {
        rd_kafka_ConfigResource_t *topic =
            rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, argv[3]);

        for (int i = 4; i < argc; i++) {
            char *value = value_of(argv[i]);

            if (!value || rd_kafka_ConfigResource_set_config(topic, argv[i], value))
                return 64;
        }
        rd_kafka_AlterConfigs(rk, &topic, 1, NULL, queue);
        rd_kafka_ConfigResource_destroy(topic);
        return 0;
    }
    return 64;
}

/* Has the broker this topic, with a leader for each of n partitions? */
static bool is_led(const struct rd_kafka_metadata *metadata, const char *name, int n)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        int n_led = 0;

        if (strcmp(topic->topic, name) != 0)
            continue;
        for (int k = 0; k < topic->partition_cnt; k++)
            n_led += !topic->partitions[k].err && topic->partitions[k].leader >= 0;
        return !topic->err && n_led == n;
    }
    return false;
}

static bool has_topic(const struct rd_kafka_metadata *metadata, const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (strcmp(metadata->topics[i].topic, name) == 0)
            return true;
    return false;
}

/* Until whoever asks next sees what was done. */
static bool wait_until_told(rd_kafka_t *rk, char **argv)
{
    static const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    bool create = strcmp(argv[2], "create") == 0, told = false;

    if (!create && strcmp(argv[2], "delete") != 0)
        return true;
    for (int left_ms = TIMEOUT_MS; left_ms > 0 && !told; left_ms -= 20) {
        const struct rd_kafka_metadata *metadata;

        if (!rd_kafka_metadata(rk, 1, NULL, &metadata, TIMEOUT_MS)) {
            told = create ? is_led(metadata, argv[3], (int)strtol(argv[4], NULL, 10))
                          : !has_topic(metadata, argv[3]);
            rd_kafka_metadata_destroy(metadata);
        }
        if (!told)
            (void)nanosleep(&pause, NULL);
    }
    if (!told)
        fprintf(stderr, "cannot %s topic '%s': the broker does not tell of it\n",
                argv[2], argv[3]);
    return told;
}

int main(int argc, char **argv)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512];
    const char *why;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event;
    rd_kafka_resp_err_t code;

    if (argc < 4 || rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], text,
                                      sizeof(text)) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "usage: kafka_admin BROKERS create|delete|alter|allow TOPIC "
                        "[ARGUMENT]...\n");
        return 64;
    }
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!rk) {
        fprintf(stderr, "cannot start a client: %s\n", text);
        return EXIT_FAILURE;
    }
    queue = rd_kafka_queue_new(rk);
    if (ask(rk, queue, argc, argv)) {
        fprintf(stderr, "kafka_admin: bad arguments\n");
        return 64;
    }
    event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
    if (!event) {
        fprintf(stderr, "kafka_admin: no answer in %d s\n", TIMEOUT_MS / 1000);
        return EXIT_FAILURE;
    }
    code = first_error(event, &why);
    if (code)
        fprintf(stderr, "cannot %s topic '%s': %s\n", argv[2], argv[3],
                why ? why : rd_kafka_err2str(code));
    else if (!wait_until_told(rk, argv))
        code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    return code ? EXIT_FAILURE : EXIT_SUCCESS;
}
