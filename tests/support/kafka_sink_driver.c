/* kafka_sink_driver.c - the Kafka sink with a host that invents its records.
 *
 *   kafka_sink_driver -b BROKERS -n COUNT [option]...
 *
 * Record N is the same in every run, so what a topic must hold is known.  The
 * host does what the agent's does: offers in order, closes and opens again
 * after a failure, and keeps the newest cursor (-c FILE: over a kill too).
 *
 *   -b BROKERS -p PREFIX    -i (no TLS) -a CA -u USER -w PASSWORD -m MECHANISM
 *   -n COUNT   records, 0 .. COUNT-1      -r RATE a second; 0: as fast as it goes
 *   -s BYTES   of an audit line           -L SEQ:BYTES one line is so large
 *   -l LINGER_US   -z COMPRESSION (index)   -W WINDOW_BYTES   -x NAME=VALUE
 *   -c FILE    cursor                     -t SECONDS to give up after
 *   -k KIND    send only this kind        -C (run the sink's check and end)
 *
 * Prints, one a line:  state ok|bad TEXT,  fail CODE TEXT,  open NEXT,
 * durable NEXT (now and then),  finding SEVERITY TEXT | FIX,  and at the end
 *   done NEXT cpu_ns_per_record N rss_anon_peak_kb N seconds S */
#include <event2/event.h>
#include <event2/thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "sink_driver.h"
#include "sink_kafka.h"

extern const struct dgf_sink_type dgf_sink_kafka;

#define MS_NS 1000000ll
#define RETRY_NS (200 * MS_NS)
#define TURN_NS (10 * MS_NS)
#define OFFERS_A_TURN 2048

static struct {
    struct dgf_kafka_conf conf;
    struct dgf_kafka_sink sink;
    struct event_base *loop;
    struct dgf_workers *workers;
    struct event *turn;
    const char *cursor_path;
    uint64_t count, rate, next, durable, big_seq, first;
    size_t line_bytes, big_bytes;
    int64_t began_ns, retry_at_ns, give_up_ns, wrote_ns, said_ns;
    struct dgf_buf cursor, line;
    bool is_open, blocked, failed, stopped, out_of_time;
    long rss_peak_kb;
} host;

/* ---- records ---- */

static enum dgf_record_kind kind_of(uint64_t seq)
{
    if (seq % 1000 == 999)
        return DGF_RECORD_GAP; /* two topics */
    if (seq % 500 == 499)
        return DGF_RECORD_RESUME;
    return seq % 50 == 49 ? DGF_RECORD_VIOLATION : DGF_RECORD_AUDIT;
}

static void write_line(uint64_t seq, enum dgf_record_kind kind, const char *id)
{
    size_t want = seq == host.big_seq ? host.big_bytes : host.line_bytes;
    struct dgf_buf *line = &host.line;
    uint64_t noise = seq;

    dgf_buf_clear(line);
    dgf_buf_addf(
        line,
        "{\"v\":1,\"seq\":%llu,\"id\":\"%s\",\"kind\":\"%s\",\"time\":"
        "\"2026-03-02T08:59:59.998Z\",\"agent\":\"driver\",\"env\":\"test\","
        "\"event\":{\"source\":\"orders\",\"type\":\"postgres\",\"object\":"
        "\"shop.orders\",\"op\":\"update\",\"key\":{\"id\":%llu},\"position\":"
        "\"1/0/16B%07llX.%llu\"},\"policies\":4,\"verdict\":\"pass\",\"pad\":\"",
        (unsigned long long)seq, id, dgf_record_kind_text(kind),
        (unsigned long long)(seq * 31), (unsigned long long)seq / 10,
        (unsigned long long)seq % 10);
    /* Some of it as random as tokens are, most as regular as names. */
    while (line->len + 2 < want) {
        noise = noise * 6364136223846793005u + 1442695040888963407u;
        if (noise >> 61 == 0)
            dgf_buf_addf(line, "%08x", (unsigned)(noise >> 32));
        else
            dgf_buf_add_str(line, "\\\"field\\\":\\\"v\\\",");
    }
    dgf_buf_add_str(line, "\"}");
}

static void make_record(uint64_t seq, struct dgf_record *record)
{
    static char id[DGF_ID_TEXT_LEN + 1], key[64];
    uint8_t digest[DGF_SHA256_LEN];

    *record = (struct dgf_record){.seq = seq, .kind = kind_of(seq)};
    dgf_sha256(dgf_bytes_of(&seq, sizeof(seq)), digest);
    memcpy(record->id.b, digest, DGF_ID_LEN);
    dgf_id_text(&record->id, id);
    write_line(seq, record->kind, id);
    record->line = dgf_buf_bytes(&host.line);
    record->time_ns = 1772441999998000000 + (int64_t)seq * 1000;
    snprintf(key, sizeof(key), "%026llu", (unsigned long long)(seq * 31 % 1009));
    record->key = dgf_bytes_str(key);
    record->source = DGF_BYTES("orders");
    if (record->kind == DGF_RECORD_AUDIT || record->kind == DGF_RECORD_VIOLATION)
        record->subject = DGF_BYTES("shop.orders");
    if (record->kind == DGF_RECORD_VIOLATION)
        record->policy = DGF_BYTES("CARD-001");
}

/* ---- the sink's host ---- */

static void on_durable(struct dgf_sink *sink, uint64_t next, struct dgf_bytes cursor)
{
    int64_t now = dgf_clock_mono_ns();

    (void)sink;
    if (next < host.durable) {
        printf("wrong: durable went back from %llu to %llu\n",
               (unsigned long long)host.durable, (unsigned long long)next);
        exit(EXIT_FAILURE);
    }
    host.durable = next;
    dgf_buf_clear(&host.cursor);
    dgf_buf_add_bytes(&host.cursor, cursor);
    if (now - host.wrote_ns > 50 * MS_NS) {
        sink_driver_write_cursor(host.cursor_path, &host.cursor);
        host.wrote_ns = now;
    }
    if (now - host.said_ns > 200 * MS_NS) {
        printf("durable %llu\n", (unsigned long long)next);
        host.said_ns = now;
    }
}

static void on_room(struct dgf_sink *sink)
{
    (void)sink;
    host.blocked = false;
    event_active(host.turn, EV_TIMEOUT, 0);
}

static void on_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *text)
{
    (void)sink;
    printf("fail %s %s\n", dgf_rc_text(rc), text);
    host.failed = true;
    host.stopped = rc != DGF_RETRY;
    host.retry_at_ns = dgf_clock_mono_ns() + RETRY_NS;
    event_active(host.turn, EV_TIMEOUT, 0);
}

static const struct dgf_sink_host calls = {.durable = on_durable,
                                           .room = on_room,
                                           .fail = on_fail,
                                           .state = sink_driver_state};

static void open_sink(void)
{
    struct dgf_sink *sink = &host.sink.base;
    struct dgf_err err;
    enum dgf_rc rc =
        sink->type->open(sink, dgf_buf_bytes(&host.cursor), &host.next, &err);

    host.blocked = false;
    if (rc) {
        on_fail(sink, rc, err.text);
        return;
    }
    host.is_open = true;
    if (host.next < host.durable) {
        printf("wrong: opened at %llu after %llu was durable\n",
               (unsigned long long)host.next, (unsigned long long)host.durable);
        exit(EXIT_FAILURE);
    }
    if (host.began_ns == 0) {
        host.began_ns = dgf_clock_mono_ns();
        host.first = host.next;
    }
    printf("open %llu\n", (unsigned long long)host.next);
}

/* False: nothing more now. */
static bool offer_one(void)
{
    struct dgf_sink *sink = &host.sink.base;
    struct dgf_record record;
    struct dgf_err err;
    uint64_t due = host.count;
    enum dgf_rc rc;

    if (host.rate > 0)
        due = host.first + (uint64_t)(dgf_clock_mono_ns() - host.began_ns) / 1000 *
                               host.rate / 1000000;
    if (host.next >= host.count || host.next >= due)
        return false;
    make_record(host.next, &record);
    rc = sink->type->offer(sink, &record, &err);
    if (rc == DGF_AGAIN) {
        host.blocked = true;
        return false;
    }
    if (rc) {
        on_fail(sink, rc, err.text);
        return false;
    }
    host.next++;
    return true;
}

static void on_turn(evutil_socket_t fd, short what, void *opaque)
{
    struct timeval tv = {0, TURN_NS / 1000};
    int n = 0;

    (void)fd;
    (void)what;
    (void)opaque;
    if (host.failed) {
        if (host.is_open)
            host.sink.base.type->close(&host.sink.base);
        host.is_open = host.failed = false;
    }
    if (host.durable >= host.count || host.stopped ||
        dgf_clock_mono_ns() > host.give_up_ns) {
        host.out_of_time = !host.stopped && host.durable < host.count;
        event_base_loopbreak(host.loop);
        return;
    }
    if (!host.is_open && dgf_clock_mono_ns() >= host.retry_at_ns)
        open_sink();
    while (host.is_open && !host.failed && !host.blocked && n < OFFERS_A_TURN &&
           offer_one())
        n++;
    if (host.is_open && !host.failed && n < OFFERS_A_TURN)
        host.sink.base.type->flush(&host.sink.base);
    sink_driver_watch_memory(&host.rss_peak_kb);
    if (n == OFFERS_A_TURN)
        tv.tv_usec = 0;
    event_add(host.turn, &tv);
}

/* ---- the program ---- */

static void add_property(const char *text)
{
    struct dgf_str_map *map = &host.conf.librdkafka;
    static char *keys[16], *values[16];
    char *equals;

    map->keys = keys;
    map->values = values;
    keys[map->n] = strdup(text);
    equals = keys[map->n] ? strchr(keys[map->n], '=') : NULL;
    if (!equals || map->n + 1 == DGF_ARRAY_LEN(keys))
        exit(64);
    *equals = '\0';
    values[map->n++] = equals + 1;
}

static void take_option(int letter, char *value)
{
    static char *brokers[1], *kinds[1];
    struct dgf_kafka_conf *conf = &host.conf;

    switch (letter) {
    case 'b':
        brokers[0] = value;
        conf->brokers = (struct dgf_str_list){brokers, 1};
        break;
    case 'k':
        kinds[0] = value;
        conf->base.select.kinds = (struct dgf_str_list){kinds, 1};
        break;
    case 'p':
        conf->topic_prefix = value;
        break;
    case 'i':
        conf->insecure = true;
        break;
    case 'a':
        conf->tls.ca = value;
        break;
    case 'u':
        conf->sasl.user = value;
        break;
    case 'w':
        conf->sasl.password = value;
        break;
    case 'm':
        conf->sasl.mechanism = atoi(value);
        break;
    case 'n':
        host.count = strtoull(value, NULL, 10);
        break;
    case 'r':
        host.rate = strtoull(value, NULL, 10);
        break;
    case 's':
        host.line_bytes = strtoull(value, NULL, 10);
        break;
    case 'l':
        conf->linger_ns = atoll(value) * 1000;
        break;
    case 'z':
        conf->compression = atoi(value);
        break;
    case 'W':
        conf->window_bytes = strtoull(value, NULL, 10);
        break;
    case 'x':
        add_property(value);
        break;
    case 'c':
        host.cursor_path = value;
        break;
    case 't':
        host.give_up_ns = atoll(value) * 1000 * MS_NS;
        break;
    case 'C':
        host.count = 0;
        host.stopped = true;
        break;
    case 'L':
        if (sscanf(value, "%lu:%zu", &host.big_seq, &host.big_bytes) == 2)
            break;
        exit(64);
    default:
        exit(64);
    }
}

static void print_end(void)
{
    struct rusage usage;
    double seconds = (double)(dgf_clock_mono_ns() - host.began_ns) / 1e9;
    uint64_t n = host.durable > host.first ? host.durable - host.first : 1;
    int64_t cpu_us;

    getrusage(RUSAGE_SELF, &usage);
    cpu_us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ll +
             usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    printf("done %llu cpu_ns_per_record %lld rss_anon_peak_kb %ld seconds %.2f\n",
           (unsigned long long)host.durable, (long long)(cpu_us * 1000 / (int64_t)n),
           host.rss_peak_kb, seconds);
}

int main(int argc, char **argv)
{
    struct dgf_err err;
    struct timeval now = {0, 0};
    bool only_check;
    int letter;

    sink_driver_begin();
    host.conf.base.required = true;
    host.conf.linger_ns = 5 * MS_NS;
    host.conf.compression = 4;
    host.conf.window_bytes = 16u << 20;
    host.line_bytes = 600;
    host.big_seq = UINT64_MAX;
    host.give_up_ns = 60000 * MS_NS;
    while ((letter = getopt(argc, argv, "b:p:ia:u:w:m:n:r:s:l:z:W:x:c:t:L:k:C")) >= 0)
        take_option(letter, optarg);
    only_check = host.stopped;
    host.stopped = false;
    host.give_up_ns += dgf_clock_mono_ns();
    dgf_buf_init(&host.cursor, 1 << 20);
    dgf_buf_init(&host.line, 16 << 20);
    sink_driver_read_cursor(host.cursor_path, &host.cursor);
    if (evthread_use_pthreads() != 0)
        return EXIT_FAILURE;
    host.loop = event_base_new();
    host.turn = host.loop ? event_new(host.loop, -1, 0, on_turn, NULL) : NULL;
    if (!host.turn || dgf_workers_new(host.loop, 2, &host.workers, &err))
        return EXIT_FAILURE;
    host.sink.base = (struct dgf_sink){.type = &dgf_sink_kafka,
                                       .name = "events",
                                       .conf = &host.conf,
                                       .loop = host.loop,
                                       .workers = host.workers,
                                       .host = &calls,
                                       .agent = "driver",
                                       .env = "test",
                                       .log_id = "00112233445566778899aabbccddeeff"};
    if (only_check) {
        sink_driver_check(&host.sink.base);
    } else {
        event_add(host.turn, &now);
        event_base_dispatch(host.loop);
        sink_driver_write_cursor(host.cursor_path, &host.cursor);
        print_end();
        if (host.is_open)
            host.sink.base.type->close(&host.sink.base);
    }
    dgf_workers_free(host.workers);
    event_free(host.turn);
    event_base_free(host.loop);
    dgf_buf_release(&host.cursor);
    dgf_buf_release(&host.line);
    return host.stopped ? 3 : host.out_of_time ? 4 : EXIT_SUCCESS;
}
