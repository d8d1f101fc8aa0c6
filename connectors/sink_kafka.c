#include "sink_kafka.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define MS_NS 1000000ll
#define S_NS (1000 * MS_NS)

#define SOON_NS (20 * MS_NS)  /* while we wait for the cluster's first answer */
#define BUSY_NS (250 * MS_NS) /* while something is wrong */
#define CALM_NS (1 * S_NS)
#define SOON_FOR_NS (1 * S_NS)
#define REFRESH_NS (60 * S_NS) /* partitions may be added to a topic */
#define PROBE_NS \
    (5 * S_NS) /* is a lost cluster back?  Only when nothing is in flight */
#define MISSING_NS (1 * S_NS)
#define NO_CLUSTER_ID_NS (5 * S_NS)
#define ACCESS_NS (30 * S_NS) /* login or TLS refused so long: start anew */
#define LOOKUP_TIMEOUT_MS 5000
#define PROBE_TIMEOUT_MS 1000
#define CURSOR_MAX_BYTES (4u << 20)

static struct dgf_kafka_sink *self_of(struct dgf_sink *sink)
{
    return (struct dgf_kafka_sink *)sink;
}

/* ---- topics and partitions ---- */

static enum dgf_rc take_partitions(struct dgf_kafka_sink *self, int topic, int32_t n)
{
    if (dgf_kafka_last_grow(&self->sent[topic], (uint32_t)n) ||
        dgf_kafka_last_grow(&self->durable.last[topic], (uint32_t)n))
        return DGF_NOMEM;
    self->n_partitions[topic] = n;
    return DGF_OK;
}

static void on_lookup(void *owner, const struct dgf_kafka_lookup *lookup)
{
    struct dgf_kafka_sink *self = owner;
    int64_t now = dgf_clock_mono_ns();

    self->lookup = NULL;
    if (self->failed)
        return;
    if (lookup->rc) {
        if (!self->cause[0])
            snprintf(self->cause, sizeof(self->cause), "%s",
                     rd_kafka_err2str(lookup->rc));
        self->down = self->down || self->producer->window.in_flight == 0;
        self->next_lookup_ns = now + PROBE_NS;
        dgf_kafka_say(self);
        return;
    }
    self->reached = true;
    self->down = false;
    self->n_brokers = lookup->n_brokers;
    self->next_lookup_ns = now + REFRESH_NS;
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        self->topic_rc[i] = lookup->topic_rc[i];
        if (lookup->n_partitions[i] > 0 && lookup->topic_rc[i] == 0) {
            if (take_partitions(self, i, lookup->n_partitions[i])) {
                dgf_kafka_fail(self, DGF_RETRY, "cannot use topic '%s': out of memory",
                               self->names[i]);
                return;
            }
        } else {
            self->n_partitions[i] = 0;
            if (self->wanted & 1u << i)
                self->next_lookup_ns = now + MISSING_NS;
        }
    }
    dgf_kafka_say(self);
    dgf_kafka_unblock(self);
}

/* Has any broker answered yet?  Asked without waiting. */
static bool has_answered(struct dgf_kafka_sink *self)
{
    char *id = rd_kafka_clusterid(self->producer->rk, 0);

    if (!id)
        return false;
    rd_kafka_mem_free(self->producer->rk, id);
    return true;
}

static void maybe_lookup(struct dgf_kafka_sink *self, int64_t now)
{
    bool sure = self->reached ? !self->down : has_answered(self);

    if (self->lookup || now < self->next_lookup_ns)
        return;
    /* A lookup holds a worker until it ends: without an answer so far, seldom
     * and shortly; while reports are awaited, they tell as much. */
    if (!self->reached && !sure && now - self->opened_ns < NO_CLUSTER_ID_NS)
        return;
    if (self->reached && self->down && self->producer->window.in_flight > 0)
        return;
    self->lookup = dgf_kafka_lookup_start(self->producer, self->base.workers,
                                          sure ? LOOKUP_TIMEOUT_MS : PROBE_TIMEOUT_MS,
                                          self, on_lookup);
    self->next_lookup_ns = now + PROBE_NS;
}

static void arm_tick(struct dgf_kafka_sink *self, int64_t now)
{
    int64_t ns = self->said && self->said_ok && !self->dead ? CALM_NS : BUSY_NS;
    struct timeval tv;

    if (!self->reached && now - self->opened_ns < SOON_FOR_NS)
        ns = SOON_NS;
    tv.tv_sec = ns / S_NS;
    tv.tv_usec = ns % S_NS / 1000;
    event_add(self->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *opaque)
{
    struct dgf_kafka_sink *self = opaque;
    int64_t now = dgf_clock_mono_ns();

    (void)fd;
    (void)what;
    dgf_kafka_drain(self);
    if (self->failed)
        return;
    if (self->stalled && self->cause_is_access && now - self->progress_ns > ACCESS_NS) {
        dgf_kafka_fail(self, DGF_RETRY, "kafka at '%s' lets us in no more: %s%s",
                       self->brokers, self->cause,
                       dgf_kafka_login_hint(self->base.conf, rd_kafka_version()));
        return;
    }
    maybe_lookup(self, now);
    arm_tick(self, now);
}

static void on_wake(evutil_socket_t fd, short what, void *opaque)
{
    uint64_t n;

    (void)what;
    if (read(fd, &n, sizeof(n)) < 0)
        return; /* somebody drained before */
    dgf_kafka_drain(opaque);
}

/* ---- open and close ---- */

static void kafka_close(struct dgf_sink *sink)
{
    struct dgf_kafka_sink *self = self_of(sink);

    if (self->wake)
        event_free(self->wake);
    if (self->tick)
        event_free(self->tick);
    self->wake = self->tick = NULL;
    if (self->lookup)
        self->lookup->owner = NULL;
    self->lookup = NULL;
    if (self->producer && self->producer->queue)
        rd_kafka_queue_io_event_enable(self->producer->queue, -1, NULL, 0);
    dgf_kafka_producer_unref(self->producer, sink->workers);
    self->producer = NULL;
    dgf_kafka_cursor_release(&self->durable);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        dgf_free(self->sent[i].seq);
        self->sent[i] = (struct dgf_kafka_last){0};
        dgf_free(self->names[i]);
        self->names[i] = NULL;
    }
    dgf_free(self->brokers);
    self->brokers = NULL;
    dgf_buf_release(&self->encoded);
}

enum dgf_rc dgf_kafka_make_names(struct dgf_kafka_sink *self, struct dgf_err *err)
{
    const struct dgf_kafka_conf *conf = self->base.conf;
    struct dgf_buf text __attribute__((cleanup(dgf_buf_release)));

    dgf_buf_init(&text, 64 * 1024);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if (!dgf_kafka_topic_name(conf, self->base.env, i, &text))
            return dgf_err_set(
                err, DGF_BAD_CONFIG,
                "cannot name a topic '%s': only letters, digits, '.', '_' and "
                "'-', at most 249 of them; set 'topic_prefix'",
                dgf_buf_str(&text));
        self->names[i] = dgf_strdup(dgf_buf_str(&text));
        if (!self->names[i])
            return dgf_err_set(err, DGF_NOMEM, "cannot open kafka: out of memory");
    }
    dgf_buf_clear(&text);
    dgf_kafka_brokers(conf, &text);
    self->brokers = dgf_strdup(dgf_buf_str(&text));
    return self->brokers
               ? DGF_OK
               : dgf_err_set(err, DGF_NOMEM, "cannot open kafka: out of memory");
}

unsigned dgf_kafka_wanted(const struct dgf_select *select)
{
    unsigned topics = 0;

    for (int kind = 0; kind < DGF_RECORD_N; kind++) {
        if (dgf_select_kind(select, kind))
            topics |= dgf_record_topics(kind);
    }
    return topics;
}

static enum dgf_rc take_cursor(struct dgf_kafka_sink *self, struct dgf_bytes cursor,
                               struct dgf_err *err)
{
    /* A cursor we cannot read is a lost one: records are sent again. */
    if (cursor.len > 0 &&
        dgf_kafka_cursor_decode(cursor, self->base.log_id, self->names[0],
                                &self->durable) == DGF_NOMEM)
        return dgf_err_set(err, DGF_NOMEM, "cannot open kafka: out of memory");
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        const struct dgf_kafka_last *last = &self->durable.last[i];

        if (dgf_kafka_last_grow(&self->sent[i], last->n))
            return dgf_err_set(err, DGF_NOMEM, "cannot open kafka: out of memory");
        if (last->n)
            memcpy(self->sent[i].seq, last->seq, last->n * sizeof(*last->seq));
    }
    self->next = self->reported = self->durable.next;
    return DGF_OK;
}

static void forget(struct dgf_kafka_sink *self)
{
    struct dgf_kafka_sink fresh = {.base = self->base, .shrink = self->shrink};

    *self = fresh;
    dgf_buf_init(&self->encoded, CURSOR_MAX_BYTES);
    for (int i = 0; i < DGF_KAFKA_N; i++)
        self->topic_rc[i] = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static enum dgf_rc start(struct dgf_kafka_sink *self, struct dgf_bytes cursor,
                         struct dgf_err *err)
{
    const struct dgf_kafka_conf *conf = self->base.conf;
    enum dgf_rc rc = dgf_kafka_make_names(self, err);

    if (!rc)
        rc = take_cursor(self, cursor, err);
    if (!rc)
        rc = dgf_kafka_producer_new(
            conf, self->base.agent, (const char *const *)self->names,
            dgf_kafka_batch_bytes(self->shrink), &self->producer, err);
    if (rc)
        return rc;
    self->wanted = dgf_kafka_wanted(&conf->base.select);
    self->wake = event_new(self->base.loop, self->producer->wake_fd,
                           EV_READ | EV_PERSIST, on_wake, self);
    self->tick = event_new(self->base.loop, -1, 0, on_tick, self);
    if (!self->wake || !self->tick || event_add(self->wake, NULL))
        return dgf_err_set(err, DGF_NOMEM, "cannot open kafka: out of memory");
    return DGF_OK;
}

static enum dgf_rc kafka_open(struct dgf_sink *sink, struct dgf_bytes cursor,
                              uint64_t *ret_next, struct dgf_err *err)
{
    struct dgf_kafka_sink *self = self_of(sink);
    enum dgf_rc rc;

    forget(self);
    rc = start(self, cursor, err);
    if (rc) {
        kafka_close(sink);
        return rc;
    }
    self->opened_ns = self->progress_ns = dgf_clock_mono_ns();
    arm_tick(self, self->opened_ns);
    dgf_kafka_say(self);
    *ret_next = self->durable.next;
    return DGF_OK;
}

/* ---- offer ---- */

static enum dgf_rc wait_for_room(struct dgf_kafka_sink *self)
{
    self->blocked = true;
    return DGF_AGAIN;
}

static enum dgf_rc not_taken(struct dgf_kafka_sink *self,
                             const struct dgf_record *record, int topic,
                             rd_kafka_resp_err_t rc, struct dgf_err *err)
{
    switch (rc) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        self->failed = true;
        return dgf_err_set(err, DGF_BAD_DATA,
                           "record %llu is refused for topic '%s': %s; raise "
                           "'message.max.bytes' in 'librdkafka'",
                           (unsigned long long)record->seq, self->names[topic],
                           rd_kafka_err2str(rc));
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        self->n_partitions[topic] = 0;
        self->topic_rc[topic] = rc;
        self->next_lookup_ns = 0;
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
        self->dead = true;
        self->dead_ns = self->dead_ns ? self->dead_ns : dgf_clock_mono_ns();
        break;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        break;
    default:
        self->failed = true;
        return dgf_err_set(err, DGF_RETRY, "cannot write to topic '%s': %s",
                           self->names[topic], rd_kafka_err2str(rc));
    }
    arm_tick(self, dgf_clock_mono_ns());
    return wait_for_room(self);
}

static rd_kafka_resp_err_t produce(struct dgf_kafka_producer *producer, int topic,
                                   int32_t partition, const struct dgf_record *record,
                                   const uint8_t *line, rd_kafka_headers_t *headers)
{
    rd_kafka_vu_t args[] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = producer->topics[topic]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = partition},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {(void *)(uintptr_t)line, record->line.len}},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {(void *)(uintptr_t)record->key.ptr, record->key.len}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE,
         .u.ptr = (void *)(uintptr_t)producer->window.tail},
    };
    rd_kafka_error_t *error =
        rd_kafka_produceva(producer->rk, args, sizeof(args) / sizeof(args[0]));
    rd_kafka_resp_err_t rc = 0;

    if (error) {
        rc = rd_kafka_error_is_fatal(error) ? RD_KAFKA_RESP_ERR__FATAL
                                            : rd_kafka_error_code(error);
        rd_kafka_error_destroy(error);
    }
    return rc;
}

static enum dgf_rc send_to(struct dgf_kafka_sink *self, const struct dgf_record *record,
                           int topic, bool more, struct dgf_err *err)
{
    struct dgf_kafka_producer *producer = self->producer;
    struct dgf_kafka_slot *slot = dgf_kafka_window_next(&producer->window);
    int32_t partition = dgf_kafka_partition(record->key, self->n_partitions[topic]);
    uint64_t *last = &self->sent[topic].seq[partition];
    struct dgf_kafka_headers *headers =
        dgf_kafka_headers_take(&producer->pool, record, *last);
    const uint8_t *line =
        headers ? dgf_kafka_window_keep(&producer->window, record->line) : NULL;
    rd_kafka_resp_err_t rc;

    if (!line) {
        if (headers)
            dgf_kafka_headers_put(&producer->pool, headers);
        self->failed = true;
        return dgf_err_set(err, DGF_RETRY, "cannot send record %llu: out of memory",
                           (unsigned long long)record->seq);
    }
    rc = produce(producer, topic, partition, record, line, headers->list);
    if (rc) {
        dgf_kafka_headers_put(&producer->pool, headers);
        dgf_kafka_window_unkeep(&producer->window, record->line.len);
        return not_taken(self, record, topic, rc, err);
    }
    *slot = (struct dgf_kafka_slot){.seq = record->seq,
                                    .headers = headers,
                                    .partition = (uint32_t)partition,
                                    .topic = (uint8_t)topic,
                                    .more = more};
    headers->list = NULL; /* the message's until its report */
    if (producer->window.in_flight == 0)
        self->progress_ns = dgf_clock_mono_ns();
    dgf_kafka_window_push(&producer->window, record->line.len + record->key.len);
    *last = record->seq;
    return DGF_OK;
}

static enum dgf_rc kafka_offer(struct dgf_sink *sink, const struct dgf_record *record,
                               struct dgf_err *err)
{
    struct dgf_kafka_sink *self = self_of(sink);
    const struct dgf_kafka_conf *conf = sink->conf;
    unsigned topics = dgf_record_topics(record->kind);

    if (!self->producer || self->failed || self->dead)
        return wait_for_room(self);
    if (!dgf_select_match(&conf->base.select, record)) {
        self->next = record->seq + 1;
        return DGF_OK;
    }
    if (self->partial_seq != record->seq)
        self->partial = 0;
    topics &= ~self->partial;
    if (!dgf_kafka_window_room(&self->producer->window, 2,
                               record->line.len + record->key.len))
        return wait_for_room(self);
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        if ((topics & 1u << i) && self->n_partitions[i] == 0)
            return wait_for_room(self);
    }
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        enum dgf_rc rc;

        if (!(topics & 1u << i))
            continue;
        rc = send_to(self, record, i, topics >> (i + 1) != 0, err);
        if (rc)
            return rc;
        self->partial |= 1u << i;
        self->partial_seq = record->seq;
    }
    self->partial = 0;
    self->next = record->seq + 1;
    return DGF_OK;
}

/* Nothing is in flight: whatever was passed over is done. */
static void kafka_flush(struct dgf_sink *sink)
{
    struct dgf_kafka_sink *self = self_of(sink);

    if (self->producer && !self->failed &&
        self->producer->window.head == self->producer->window.tail)
        dgf_kafka_report(self);
}

const struct dgf_sink_type dgf_sink_kafka = {
    .name = "kafka",
    .summary = "Kafka topics, as CloudEvents",
    .opts = dgf_kafka_opts,
    .conf_size = sizeof(struct dgf_kafka_conf),
    .self_size = sizeof(struct dgf_kafka_sink),
    .validate = dgf_kafka_validate,
    .check = dgf_kafka_check,
    .open = kafka_open,
    .offer = kafka_offer,
    .flush = kafka_flush,
    .close = kafka_close,
};
