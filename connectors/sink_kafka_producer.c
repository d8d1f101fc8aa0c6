#include "sink_kafka.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

/* ---- the end of a producer ---- */

/* Worker.  librdkafka waits here for its threads, which may sit in a name
 * lookup or a handshake; nothing is sent any more after the purge. */
static void destroy(struct dgf_kafka_producer *producer)
{
    if (producer->rk)
        (void)rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE |
                                               RD_KAFKA_PURGE_F_INFLIGHT |
                                               RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (producer->topics[i])
            rd_kafka_topic_destroy(producer->topics[i]);
        producer->topics[i] = NULL;
    }
    if (producer->queue)
        rd_kafka_queue_destroy(producer->queue);
    if (producer->rk)
        rd_kafka_destroy(producer->rk);
    producer->queue = NULL;
    producer->rk = NULL;
    producer->destroyed = true;
}

static void free_producer(struct dgf_kafka_producer *producer)
{
    struct dgf_kafka_window *window = &producer->window;

    /* Lists of messages that were on their way went with the client. */
    for (uint64_t at = window->head; at < window->tail; at++)
        dgf_free(dgf_kafka_window_slot(window, at)->headers);
    dgf_kafka_window_release(window);
    dgf_kafka_header_pool_release(&producer->pool);
    if (producer->wake_fd >= 0)
        close(producer->wake_fd);
    dgf_free(producer);
}

static void destroy_run(struct dgf_job *job)
{
    destroy((struct dgf_kafka_producer *)((char *)job -
                                          offsetof(struct dgf_kafka_producer, job)));
}

static void destroy_done(struct dgf_job *job)
{
    struct dgf_kafka_producer *producer =
        (struct dgf_kafka_producer *)((char *)job -
                                      offsetof(struct dgf_kafka_producer, job));

    if (!producer->destroyed)
        destroy(producer); /* the workers ended before it was its turn */
    free_producer(producer);
}

void dgf_kafka_producer_unref(struct dgf_kafka_producer *producer,
                              struct dgf_workers *workers)
{
    if (!producer || --producer->n_refs > 0)
        return;
    producer->job = (struct dgf_job){.run = destroy_run, .done = destroy_done};
    if (workers)
        dgf_workers_submit(workers, &producer->job);
    else
        destroy_done(&producer->job);
}

/* ---- its beginning ---- */

/* librdkafka's threads.  It would write to stderr itself. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility,
                   const char *text)
{
    (void)rk;
    dgf_log(DGF_LOG_DEBUG, "librdkafka", "facility", facility, "text", text, "#level",
            (int64_t)level, NULL);
}

static enum dgf_rc start(struct dgf_kafka_producer *producer,
                         const struct dgf_kafka_conf *conf, const char *agent,
                         const char *const names[DGF_KAFKA_N], unsigned max_batch_bytes,
                         struct dgf_err *err)
{
    static const uint64_t one = 1;
    rd_kafka_conf_t *client = NULL;
    char text[512];
    enum dgf_rc rc = dgf_kafka_client_conf(conf, agent, max_batch_bytes, &client, err);

    if (rc)
        return rc;
    rd_kafka_conf_set_events(client, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    rd_kafka_conf_set_log_cb(client, on_log);
    producer->rk = rd_kafka_new(RD_KAFKA_PRODUCER, client, text, sizeof(text));
    if (!producer->rk) {
        rd_kafka_conf_destroy(client);
        if (strstr(text, "ssl.ca.location"))
            return dgf_err_set(err, DGF_BAD_CONFIG,
                               "'%s' of 'tls.ca' holds no certificate, PEM: %s",
                               conf->tls.ca ? conf->tls.ca : "", text);
        return dgf_err_set(err, DGF_BAD_CONFIG, "cannot make a kafka client: %s", text);
    }
    producer->queue = rd_kafka_queue_get_main(producer->rk);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        producer->topics[i] = rd_kafka_topic_new(producer->rk, names[i], NULL);
        if (!producer->topics[i])
            return dgf_err_set(err, DGF_BAD_CONFIG, "cannot use topic '%s': %s",
                               names[i], rd_kafka_err2str(rd_kafka_last_error()));
    }
    rd_kafka_queue_io_event_enable(producer->queue, producer->wake_fd, &one,
                                   sizeof(one));
    return DGF_OK;
}

enum dgf_rc dgf_kafka_producer_new(const struct dgf_kafka_conf *conf, const char *agent,
                                   const char *const names[DGF_KAFKA_N],
                                   unsigned max_batch_bytes,
                                   struct dgf_kafka_producer **ret, struct dgf_err *err)
{
    struct dgf_kafka_producer *producer = dgf_calloc(1, sizeof(*producer));
    enum dgf_rc rc;

    if (!producer)
        return dgf_err_set(err, DGF_NOMEM, "cannot make a kafka client: out of memory");
    producer->n_refs = 1;
    producer->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rc = dgf_kafka_window_init(&producer->window, conf->window_bytes);
    if (!rc)
        rc = dgf_kafka_header_pool_init(&producer->pool, agent);
    if (rc || producer->wake_fd < 0)
        rc = dgf_err_set(err, DGF_NOMEM,
                         "cannot make a kafka client: out of memory or descriptors");
    else
        rc = start(producer, conf, agent, names, max_batch_bytes, err);
    if (rc) {
        dgf_kafka_producer_unref(producer, NULL);
        return rc;
    }
    *ret = producer;
    return DGF_OK;
}

/* ---- lookup ---- */

static void take_topic(struct dgf_kafka_lookup *lookup,
                       const struct rd_kafka_metadata_topic *topic)
{
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (strcmp(rd_kafka_topic_name(lookup->producer->topics[i]), topic->topic) != 0)
            continue;
        lookup->topic_rc[i] = topic->err;
        if (topic->partition_cnt > 0 &&
            topic->partition_cnt <= DGF_KAFKA_MAX_PARTITIONS)
            lookup->n_partitions[i] = topic->partition_cnt;
        for (int j = 0; j < topic->partition_cnt; j++) {
            int n = topic->partitions[j].replica_cnt;

            if (j == 0 || n < lookup->n_replicas[i])
                lookup->n_replicas[i] = n;
        }
    }
}

void dgf_kafka_lookup_run(struct dgf_kafka_lookup *lookup)
{
    const struct rd_kafka_metadata *metadata = NULL;

    for (int i = 0; i < DGF_KAFKA_N; i++) {
        lookup->topic_rc[i] = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        lookup->n_partitions[i] = 0;
    }
    lookup->rc =
        rd_kafka_metadata(lookup->producer->rk, 0, NULL, &metadata, lookup->timeout_ms);
    lookup->ran = true;
    if (lookup->rc)
        return;
    lookup->n_brokers = metadata->broker_cnt;
    for (int i = 0; i < metadata->topic_cnt; i++)
        take_topic(lookup, &metadata->topics[i]);
    rd_kafka_metadata_destroy(metadata);
}

static void lookup_run(struct dgf_job *job)
{
    dgf_kafka_lookup_run((struct dgf_kafka_lookup *)job);
}

static void lookup_done(struct dgf_job *job)
{
    struct dgf_kafka_lookup *lookup = (struct dgf_kafka_lookup *)job;

    if (!lookup->ran)
        lookup->rc = RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (lookup->owner)
        lookup->answer(lookup->owner, lookup);
    dgf_kafka_producer_unref(lookup->producer, lookup->workers);
    dgf_free(lookup);
}

struct dgf_kafka_lookup *dgf_kafka_lookup_start(
    struct dgf_kafka_producer *producer, struct dgf_workers *workers, int timeout_ms,
    void *owner, void (*answer)(void *owner, const struct dgf_kafka_lookup *))
{
    struct dgf_kafka_lookup *lookup = dgf_calloc(1, sizeof(*lookup));

    if (!lookup)
        return NULL;
    *lookup = (struct dgf_kafka_lookup){.job = {.run = lookup_run, .done = lookup_done},
                                        .producer = producer,
                                        .workers = workers,
                                        .timeout_ms = timeout_ms,
                                        .owner = owner,
                                        .answer = answer};
    producer->n_refs++;
    dgf_workers_submit(workers, &lookup->job);
    return lookup;
}
