/* mock_kafka.c - librdkafka's mock cluster in a process of its own.
 *
 *   mock_kafka [-b BROKERS] TOPIC[:PARTITIONS]...
 *
 * Prints its bootstrap list on one line and serves until SIGTERM or the end of
 * standard input.  Lines on standard input provoke faults:
 *   error API_KEY COUNT ERROR   the next COUNT requests answer with that error
 *   down BROKER                 closes a broker's listener and connections
 *   up BROKER
 *   rtt BROKER MS               answers that much later
 * each answered by "ok" or "bad".  Never judge transactions with it: it shows
 * aborted messages to read_committed readers. */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* In place of the C library's: the mock cluster leaves Nagle's algorithm on,
 * and an answer that waits for a delayed acknowledgement takes 40 ms. */
int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict len)
{
    int made = accept4(fd, address, len, 0);
    int on = 1;

    if (made >= 0)
        (void)setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return made;
}

static void on_signal(int number)
{
    (void)number;
    _exit(EXIT_SUCCESS);
}

static bool add_topic(rd_kafka_mock_cluster_t *cluster, char *text)
{
    char *colon = strchr(text, ':');
    int n = 3;

    if (colon) {
        *colon = '\0';
        n = (int)strtol(colon + 1, NULL, 10);
    }
    return n > 0 && !rd_kafka_mock_topic_create(cluster, text, n, 1);
}

static bool obey(rd_kafka_mock_cluster_t *cluster, const char *line)
{
    int a = 0, b = 0, c = 0;

    if (sscanf(line, "error %d %d %d", &a, &b, &c) == 3) {
        for (int i = 0; i < b; i++)
            rd_kafka_mock_push_request_errors(cluster, (int16_t)a, 1,
                                              (rd_kafka_resp_err_t)c);
        return true;
    }
    if (sscanf(line, "down %d", &a) == 1)
        return !rd_kafka_mock_broker_set_down(cluster, a);
    if (sscanf(line, "up %d", &a) == 1)
        return !rd_kafka_mock_broker_set_up(cluster, a);
    if (sscanf(line, "rtt %d %d", &a, &b) == 2)
        return !rd_kafka_mock_broker_set_rtt(cluster, a, b);
    return false;
}

int main(int argc, char **argv)
{
    char line[256];
    char text[512];
    int n_brokers = 1;
    int opt;
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;

    while ((opt = getopt(argc, argv, "b:")) == 'b')
        n_brokers = (int)strtol(optarg, NULL, 10);
    if (opt != -1 || n_brokers < 1 || n_brokers > 9) {
        fprintf(stderr, "usage: mock_kafka [-b BROKERS] TOPIC[:PARTITIONS]...\n");
        return 64;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
    cluster = rk ? rd_kafka_mock_cluster_new(rk, n_brokers) : NULL;
    if (!cluster) {
        fprintf(stderr, "cannot start the mock cluster: %s\n", rk ? "no memory" : text);
        return EXIT_FAILURE;
    }
    for (int i = optind; i < argc; i++) {
        if (!add_topic(cluster, argv[i])) {
            fprintf(stderr, "cannot create topic '%s'\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        puts(obey(cluster, line) ? "ok" : "bad");
        fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return EXIT_SUCCESS;
}
