/* bare_path.c - the least a program can do from PostgreSQL to Kafka: B4's reference.
 *
 *   bare_path CONNINFO SLOT PUBLICATION BROKERS TOPIC
 *
 * Receives pgoutput with libpq, waking for every message, and hands each row as
 * it is to librdkafka with dgf's delivery settings and no linger.  It judges
 * nothing, keeps nothing on disk, sends no headers and acknowledges at once.
 * Ends on SIGTERM. */
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EPOCH_2000 946684800

static volatile sig_atomic_t stop;
static PGconn *conn;
static rd_kafka_t *producer;
static rd_kafka_topic_t *topic;
static rd_kafka_queue_t *queue;
static char time_text[64];
static uint64_t received;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bare_path: %s: %s\n", what, why);
    exit(EXIT_FAILURE);
}

static uint64_t be64(const char *at)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | (uint8_t)at[i];
    return n;
}

static void start_producer(const char *brokers, const char *name, int wake_fd)
{
    static const char *const settings[][2] = {{"enable.idempotence", "true"},
                                              {"acks", "all"},
                                              {"linger.ms", "0"},
                                              {"socket.nagle.disable", "true"},
                                              {"compression.codec", "zstd"},
                                              {"compression.level", "1"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[256];

    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, why, sizeof(why));
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], why, sizeof(why)))
            die("setting", why);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (!producer)
        die("producer", why);
    topic = rd_kafka_topic_new(producer, name, NULL);
    queue = rd_kafka_queue_get_main(producer);
    rd_kafka_queue_io_event_enable(queue, wake_fd, "\1\0\0\0\0\0\0", 8);
}

static void start_stream(const char *slot, const char *publication)
{
    char text[512];
    PGresult *result;

    snprintf(text, sizeof(text),
             "START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', "
             "publication_names '%s')",
             slot, publication);
    result = PQexec(conn, text);
    if (PQresultStatus(result) != PGRES_COPY_BOTH)
        die("replication", PQerrorMessage(conn));
    PQclear(result);
}

static void acknowledge(void)
{
    char message[34] = "r";

    for (int i = 0; i < 24; i++)
        message[1 + i] = (char)(received >> 8 * (7 - i % 8));
    PQputCopyData(conn, message, sizeof(message));
    PQflush(conn);
}

/* The commit time of the transaction, as a record of dgf has it. */
static void note_begin(const char *message)
{
    uint64_t us = be64(message + 9);
    time_t seconds = (time_t)(us / 1000000 + EPOCH_2000);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(time_text, sizeof(time_text), "{\"time\":\"%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(time_text + n, sizeof(time_text) - n, ".%06uZ\"} ",
             (unsigned)(us % 1000000));
}

static void send_row(const char *message, size_t len)
{
    char value[4096];
    size_t n = strlen(time_text);

    if (n + len > sizeof(value))
        len = sizeof(value) - n;
    memcpy(value, time_text, n);
    memcpy(value + n, message, len);
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value,
                            n + len, message + 1, 4, NULL) != 0)
        rd_kafka_poll(producer, 1);
}

static void take(char *message, int len)
{
    if (len > 25 && message[0] == 'w') {
        received = be64(message + 9) > received ? be64(message + 9) : received;
        if (message[25] == 'B')
            note_begin(message + 25);
        else if (message[25] == 'I' || message[25] == 'U' || message[25] == 'D')
            send_row(message + 25, (size_t)len - 25);
    } else if (len == 18 && message[0] == 'k' && message[17]) {
        acknowledge();
    }
    PQfreemem(message);
}

static void take_reports(int wake_fd)
{
    const rd_kafka_message_t *messages[256];
    rd_kafka_event_t *event;
    uint64_t n;

    if (read(wake_fd, &n, sizeof(n)) < 0)
        return;
    while ((event = rd_kafka_queue_poll(queue, 0))) {
        while (rd_kafka_event_message_array(event, messages, 256) > 0)
            ;
        rd_kafka_event_destroy(event);
    }
}

int main(int argc, char **argv)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    time_t told = 0;
    char *message;
    int len;

    if (argc != 6)
        die("usage", "bare_path CONNINFO SLOT PUBLICATION BROKERS TOPIC");
    signal(SIGTERM, on_signal);
    conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK)
        die("connection", PQerrorMessage(conn));
    start_producer(argv[4], argv[5], wake_fd);
    start_stream(argv[2], argv[3]);
    while (!stop) {
        struct pollfd fds[2] = {{.fd = PQsocket(conn), .events = POLLIN},
                                {.fd = wake_fd, .events = POLLIN}};

        (void)poll(fds, 2, 1000);
        take_reports(wake_fd);
        if (!PQconsumeInput(conn))
            die("stream", PQerrorMessage(conn));
        while ((len = PQgetCopyData(conn, &message, 1)) > 0)
            take(message, len);
        if (len < 0)
            die("stream", PQerrorMessage(conn));
        if (time(NULL) != told) {
            told = time(NULL);
            acknowledge();
        }
    }
    rd_kafka_flush(producer, 2000);
    return EXIT_SUCCESS;
}
