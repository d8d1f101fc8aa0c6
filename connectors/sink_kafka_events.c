#include "sink_kafka.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

/* A fatal error is raised before the reports of the messages that caused it. */
#define WAIT_FOR_CAUSE_NS (200 * 1000000ll)
#define CONNECT_NS (10 * 1000000000ll) /* so long a start is no trouble */
#define STALL_NS (10 * 1000000000ll)

static const struct dgf_kafka_conf *conf_of(const struct dgf_kafka_sink *self)
{
    return self->base.conf;
}

void dgf_kafka_fail(struct dgf_kafka_sink *self, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failed)
        return;
    self->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_sink_fail(&self->base, rc, "%s", text);
}

void dgf_kafka_report(struct dgf_kafka_sink *self)
{
    struct dgf_kafka_window *window = &self->producer->window;
    uint64_t next = window->head == window->tail
                        ? self->next
                        : dgf_kafka_window_slot(window, window->head)->seq;

    if (next == self->reported)
        return;
    self->durable.next = next;
    dgf_buf_clear(&self->encoded);
    dgf_kafka_cursor_encode(&self->durable, self->base.log_id, self->names[0],
                            &self->encoded);
    if (dgf_buf_rc(&self->encoded))
        return; /* out of memory: the next report carries this one too */
    self->reported = next;
    dgf_sink_durable(&self->base, next, dgf_buf_bytes(&self->encoded));
}

void dgf_kafka_unblock(struct dgf_kafka_sink *self)
{
    if (!self->blocked || self->failed ||
        !dgf_kafka_window_roomy(&self->producer->window))
        return;
    self->blocked = false;
    dgf_sink_room(&self->base);
}

/* ---- delivery reports ---- */

static bool is_consequence(rd_kafka_resp_err_t rc)
{
    return rc == RD_KAFKA_RESP_ERR__FATAL || rc == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
           rc == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
           rc == RD_KAFKA_RESP_ERR__DESTROY ||
           rc == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE;
}

static void on_report(struct dgf_kafka_sink *self, rd_kafka_message_t *message)
{
    struct dgf_kafka_producer *producer = self->producer;
    struct dgf_kafka_slot *slot = dgf_kafka_window_slot(
        &producer->window, (uint64_t)(uintptr_t)message->_private);
    rd_kafka_headers_t *list = NULL;

    if (message->err) {
        if (is_consequence(message->err)) {
            self->dead = true;
        } else if (!self->refused.rc || slot->seq < self->refused.seq) {
            self->refused.rc = message->err;
            self->refused.seq = slot->seq;
            self->refused.topic = slot->topic;
            self->refused.partition = (int)slot->partition;
        }
        if (self->dead_ns == 0)
            self->dead_ns = dgf_clock_mono_ns();
    } else {
        slot->delivered = true;
        producer->window.in_flight--;
    }
    if (slot->headers && rd_kafka_message_detach_headers(message, &list) == 0) {
        slot->headers->list = list;
        dgf_kafka_headers_put(&producer->pool, slot->headers);
    } else {
        dgf_free(slot->headers);
    }
    slot->headers = NULL;
}

static void on_reports(struct dgf_kafka_sink *self, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *messages[256];
    size_t n;

    while ((n = rd_kafka_event_message_array(event, messages,
                                             DGF_ARRAY_LEN(messages))) > 0) {
        for (size_t i = 0; i < n; i++)
            on_report(self, (rd_kafka_message_t *)(uintptr_t)messages[i]);
    }
}

/* ---- errors ---- */

static void access_refused(struct dgf_kafka_sink *self, rd_kafka_resp_err_t rc)
{
    const struct dgf_kafka_conf *conf = conf_of(self);

    if (rc == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        dgf_kafka_fail(self, DGF_RETRY, "kafka at '%s' refuses the login of '%s': %s%s",
                       self->brokers, conf->sasl.user ? conf->sasl.user : "",
                       self->cause, dgf_kafka_login_hint(conf, rd_kafka_version()));
    else
        dgf_kafka_fail(
            self, DGF_RETRY, "cannot open a TLS connection to kafka at '%s': %s%s",
            self->brokers, self->cause, dgf_kafka_tls_hint(conf, self->cause));
}

static void on_error(struct dgf_kafka_sink *self, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t rc = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);

    if (rc == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_event_error_is_fatal(event)) {
        self->dead = true;
        self->dead_ns = dgf_clock_mono_ns();
        return;
    }
    if (rc == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        self->down = true;
        return;
    }
    self->cause_is_access =
        rc == RD_KAFKA_RESP_ERR__AUTHENTICATION || rc == RD_KAFKA_RESP_ERR__SSL;
    snprintf(self->cause, sizeof(self->cause), "%s", text);
    /* A cluster that let us in before may be restarting; one that never did
     * wants a person, and a new client reads certificates anew. */
    if (self->cause_is_access && !self->reached)
        access_refused(self, rc);
}

void dgf_kafka_drain(struct dgf_kafka_sink *self)
{
    struct dgf_kafka_window *window = &self->producer->window;
    uint64_t head = window->head;
    uint64_t in_flight = window->in_flight;
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(self->producer->queue, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            on_reports(self, event);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            on_error(self, event);
        rd_kafka_event_destroy(event);
    }
    if (self->failed)
        return;
    if (window->in_flight != in_flight) {
        self->progress_ns = dgf_clock_mono_ns();
        self->down = self->stalled = false;
        dgf_kafka_window_advance(window, &self->durable);
    }
    if (window->head != head)
        dgf_kafka_report(self);
    dgf_kafka_conclude(self);
    dgf_kafka_say(self);
    dgf_kafka_unblock(self);
}

/* ---- what follows ---- */

unsigned dgf_kafka_batch_bytes(unsigned shrink)
{
    static const unsigned bytes[] = {0, 250000, 62500, 15625, 1};

    return bytes[shrink < DGF_ARRAY_LEN(bytes) ? shrink : DGF_ARRAY_LEN(bytes) - 1];
}

static bool is_too_large(rd_kafka_resp_err_t rc)
{
    return rc == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
           rc == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE;
}

static bool is_record_refused(rd_kafka_resp_err_t rc)
{
    return is_too_large(rc) || rc == RD_KAFKA_RESP_ERR_INVALID_RECORD ||
           rc == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ||
           rc == RD_KAFKA_RESP_ERR_POLICY_VIOLATION;
}

/* Says more than the fatal error that follows from it. */
static bool is_final(rd_kafka_resp_err_t rc)
{
    return is_record_refused(rc) || rc == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

static void conclude_refused(struct dgf_kafka_sink *self)
{
    const char *topic = self->names[self->refused.topic];
    const char *cause = rd_kafka_err2str(self->refused.rc);
    unsigned long long seq = self->refused.seq;

    /* The broker refuses batches, not records: only alone is one too large. */
    if (is_too_large(self->refused.rc) && dgf_kafka_batch_bytes(self->shrink) != 1) {
        self->shrink++;
        dgf_kafka_fail(
            self, DGF_RETRY,
            "topic '%s' takes no batch as large as the one with record %llu: "
            "sending smaller ones from record %llu",
            topic, seq, (unsigned long long)self->durable.next);
    } else if (is_too_large(self->refused.rc)) {
        dgf_kafka_fail(
            self, DGF_BAD_DATA,
            "record %llu is refused by topic '%s': %s; allow it: kafka-configs.sh "
            "--bootstrap-server %s --alter --topic %s --add-config "
            "max.message.bytes=1048588",
            seq, topic, cause, self->brokers, topic);
    } else if (is_record_refused(self->refused.rc)) {
        dgf_kafka_fail(self, DGF_BAD_DATA, "record %llu is refused by topic '%s': %s",
                       seq, topic, cause);
    } else if (self->refused.rc == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        dgf_kafka_fail(self, DGF_RETRY,
                       "cannot write to topic '%s': %s; the user needs the "
                       "Write and Describe operations on it",
                       topic, cause);
    } else {
        dgf_kafka_fail(
            self, DGF_RETRY,
            "cannot deliver record %llu to topic '%s', partition %d: %s; a new "
            "producer resends from record %llu",
            seq, topic, self->refused.partition, cause,
            (unsigned long long)self->durable.next);
    }
}

/* A producer without the right to write anywhere is refused before it writes. */
static const char *fatal_hint(rd_kafka_resp_err_t rc)
{
    return rc == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
               ? "; the user needs the Write and Describe operations on the topics, and "
                 "before Kafka 2.8 IdempotentWrite on the cluster"
               : "";
}

void dgf_kafka_conclude(struct dgf_kafka_sink *self)
{
    char text[512] = "messages were dropped";
    rd_kafka_resp_err_t rc;

    if (self->failed || (!self->dead && !self->refused.rc))
        return;
    if (is_final(self->refused.rc) || (self->refused.rc && !self->dead)) {
        conclude_refused(self);
        return;
    }
    /* The reports that say why may still be on their way. */
    if (dgf_clock_mono_ns() - self->dead_ns < WAIT_FOR_CAUSE_NS)
        return;
    rc = rd_kafka_fatal_error(self->producer->rk, text, sizeof(text));
    dgf_kafka_fail(
        self, DGF_RETRY,
        "the kafka producer has ended after a fatal error: %s%s; a new one resends "
        "from record %llu",
        text, fatal_hint(rc), (unsigned long long)self->durable.next);
}

/* ---- health ---- */

static const char *missing_topic(struct dgf_kafka_sink *self, char *text, size_t size)
{
    for (int i = 0; i < DGF_KAFKA_N; i++) {
        rd_kafka_resp_err_t rc = self->topic_rc[i];

        if (!(self->wanted & 1u << i) || self->n_partitions[i] > 0)
            continue;
        if (rc == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
            rc == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            snprintf(text, size,
                     "topic '%s' does not exist; make it: kafka-topics.sh "
                     "--bootstrap-server %s --create --topic %s --partitions 6 "
                     "--replication-factor %d",
                     self->names[i], self->brokers, self->names[i],
                     self->n_brokers < 3 ? self->n_brokers : 3);
        else
            snprintf(text, size, "topic '%s' cannot be used: %s", self->names[i],
                     rc ? rd_kafka_err2str(rc) : "it has no partitions yet");
        return text;
    }
    return NULL;
}

static const char *trouble(struct dgf_kafka_sink *self, char *text, size_t size)
{
    const struct dgf_kafka_window *window = &self->producer->window;
    const char *hint = dgf_kafka_tls_hint(conf_of(self), self->cause);

    if ((!self->reached || self->down) && self->cause[0]) {
        snprintf(text, size, "cannot reach kafka at '%s': %s%s", self->brokers,
                 self->cause, hint);
        return text;
    }
    if (!self->reached) {
        snprintf(text, size, "connecting to kafka at '%s'", self->brokers);
        return text;
    }
    if (missing_topic(self, text, size))
        return text;
    if (self->stalled && window->in_flight > 0) {
        snprintf(text, size, "kafka at '%s' acknowledges nothing%s%s", self->brokers,
                 self->cause[0] ? ": " : "", self->cause);
        return text;
    }
    if (self->down) {
        snprintf(text, size, "cannot reach kafka at '%s': all brokers are down",
                 self->brokers);
        return text;
    }
    return NULL;
}

void dgf_kafka_say(struct dgf_kafka_sink *self)
{
    char text[DGF_ERR_TEXT_MAX] = "";
    bool ok;

    if (self->failed)
        return;
    if (self->producer->window.in_flight > 0 &&
        dgf_clock_mono_ns() - self->progress_ns > STALL_NS)
        self->stalled = true;
    if (!self->reached && !self->cause[0] &&
        dgf_clock_mono_ns() - self->opened_ns < CONNECT_NS)
        return;
    ok = trouble(self, text, sizeof(text)) == NULL;
    if (ok)
        self->cause[0] = '\0';
    if (self->said && self->said_ok == ok && strcmp(self->said_text, text) == 0)
        return;
    self->said = true;
    self->said_ok = ok;
    memcpy(self->said_text, text, sizeof(text));
    dgf_sink_state(&self->base, ok, "%s", text);
}
