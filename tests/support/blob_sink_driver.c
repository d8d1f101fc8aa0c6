/* blob_sink_driver.c - the sink of the archive with a host that offers sealed sets
 * from a list.
 *
 *   blob_sink_driver -u URL -s SETS [option]...
 *
 * SETS has one line a set and one an object, in order:
 *   set FIRST NEXT
 *   object NAME PATH write|replace
 * The host does what the agent's does: sets in order, one at a time; closes and opens
 * again after a failure; keeps the newest cursor (-c FILE: over a kill too).
 *
 *   -u URL -p PREFIX -i (insecure) -a CA -b BLOCK_BYTES -T REQUEST_MS
 *   -k KEY | -S SAS | -w TOKEN_FILE -A AUTHORITY -n TENANT -o CLIENT
 *   -l LOG_ID   -c CURSOR   -t SECONDS to give up after   -C (run the check and end)
 *   -W (wait for more when the cursor says that all sets are there)
 *
 * Prints, one a line:  state ok|bad TEXT,  fail CODE TEXT,  alarm WORD,  open NEXT,
 * durable NEXT,  finding SEVERITY TEXT | FIX,  and at the end
 *   done NEXT rss_anon_peak_kb N seconds S */
#include <event2/event.h>
#include <event2/thread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "sink_driver.h"
#include "sink_blob.h"

extern const struct dgf_sink_type dgf_sink_blob;

#define MS_NS 1000000ll
#define RETRY_NS (100 * MS_NS)
#define TURN_NS (5 * MS_NS)
#define MAX_SETS 4096

struct set {
    struct dgf_sealed sealed;
    struct dgf_sealed_object *objects;
};

static struct {
    struct dgf_blob_conf conf;
    struct dgf_blob_sink sink;
    struct event_base *loop;
    struct dgf_workers *workers;
    struct event *turn;
    const char *cursor_path;
    struct set sets[MAX_SETS];
    size_t n_sets;
    uint64_t next, durable, last;
    int64_t began_ns, retry_at_ns, give_up_ns;
    struct dgf_buf cursor;
    bool is_open, blocked, failed, stopped, out_of_time, waits_for_more;
    long rss_peak_kb;
} host;

/* ---- sets ---- */

static void read_sets(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[2048], name[512], where[1024], how[16];
    unsigned long long first, next;

    if (!file) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    while (fgets(line, sizeof(line), file)) {
        struct set *set = host.n_sets ? &host.sets[host.n_sets - 1] : NULL;

        if (sscanf(line, "set %llu %llu", &first, &next) == 2 &&
            host.n_sets < MAX_SETS) {
            set = &host.sets[host.n_sets++];
            set->sealed.first = first;
            set->sealed.next = host.last = next;
        } else if (set &&
                   sscanf(line, "object %511s %1023s %15s", name, where, how) == 3) {
            size_t n = set->sealed.n_objects++;

            set->objects = realloc(set->objects, (n + 1) * sizeof(*set->objects));
            if (!set->objects)
                exit(EXIT_FAILURE);
            set->objects[n] = (struct dgf_sealed_object){strdup(name), strdup(where),
                                                         strcmp(how, "replace") == 0};
            set->sealed.objects = set->objects;
        } else {
            fprintf(stderr, "bad line: %s", line);
            exit(EXIT_FAILURE);
        }
    }
    fclose(file);
}

/* ---- the sink's host ---- */

static void on_durable(struct dgf_sink *sink, uint64_t next, struct dgf_bytes cursor)
{
    (void)sink;
    if (next <= host.durable) {
        printf("wrong: durable %llu after %llu\n", (unsigned long long)next,
               (unsigned long long)host.durable);
        exit(EXIT_FAILURE);
    }
    host.durable = next;
    dgf_buf_clear(&host.cursor);
    dgf_buf_add_bytes(&host.cursor, cursor);
    sink_driver_write_cursor(host.cursor_path, &host.cursor);
    printf("durable %llu\n", (unsigned long long)next);
}

static void on_room(struct dgf_sink *sink)
{
    (void)sink;
    host.blocked = false;
    event_active(host.turn, EV_TIMEOUT, 0);
}

static void on_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *text)
{
    printf("fail %s %s\n", dgf_rc_text(rc), text);
    if (sink->alarm)
        printf("alarm %s\n", sink->alarm);
    host.failed = true;
    host.stopped = rc == DGF_FATAL || rc == DGF_BAD_DATA || rc == DGF_NOMEM;
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
    struct dgf_err err = {0};
    enum dgf_rc rc;

    host.next = host.durable;
    rc = sink->type->open(sink, dgf_buf_bytes(&host.cursor), &host.next, &err);
    host.blocked = false;
    host.is_open = true;
    if (rc) {
        on_fail(sink, rc, err.text);
        return;
    }
    printf("open %llu\n", (unsigned long long)host.next);
    /* A kill may fall between the last cursor and our end: then all is done. */
    if (host.next >= host.last && !host.waits_for_more)
        host.durable = host.next;
}

static bool offer_one(void)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;
    size_t i = 0;

    while (i < host.n_sets && host.sets[i].sealed.first < host.next)
        i++;
    if (i == host.n_sets)
        return false;
    rc = host.sink.base.type->archive(&host.sink.base, &host.sets[i].sealed, &err);
    if (rc == DGF_AGAIN) {
        host.blocked = true;
        return false;
    }
    if (rc) {
        on_fail(&host.sink.base, rc, err.text);
        return false;
    }
    host.next = host.sets[i].sealed.next;
    return true;
}

static void on_turn(evutil_socket_t fd, short what, void *opaque)
{
    struct timeval tv = {0, TURN_NS / 1000};

    (void)fd;
    (void)what;
    (void)opaque;
    if (host.failed) {
        if (host.is_open)
            host.sink.base.type->close(&host.sink.base);
        host.is_open = host.failed = false;
    }
    if (host.durable >= host.last || host.stopped ||
        dgf_clock_mono_ns() > host.give_up_ns) {
        host.out_of_time = !host.stopped && host.durable < host.last;
        event_base_loopbreak(host.loop);
        return;
    }
    if (!host.is_open && dgf_clock_mono_ns() >= host.retry_at_ns)
        open_sink();
    while (host.is_open && !host.failed && !host.blocked && offer_one())
        ;
    sink_driver_watch_memory(&host.rss_peak_kb);
    event_add(host.turn, &tv);
}

/* ---- the program ---- */

static void take_option(int letter, char *value)
{
    struct dgf_blob_conf *conf = &host.conf;

    switch (letter) {
    case 'u':
        conf->url = value;
        break;
    case 'p':
        conf->prefix = value;
        break;
    case 'i':
        conf->azure.insecure = true;
        break;
    case 'a':
        conf->azure.ca = value;
        break;
    case 'b':
        conf->block_bytes = strtoull(value, NULL, 10);
        break;
    case 'T':
        conf->timeout_ns = atoll(value) * MS_NS;
        break;
    case 'k':
        conf->azure.how = DGF_AZURE_KEY;
        conf->azure.key = value;
        break;
    case 'S':
        conf->azure.how = DGF_AZURE_SAS;
        conf->azure.sas = value;
        break;
    case 'w':
        conf->azure.how = DGF_AZURE_WORKLOAD_IDENTITY;
        conf->azure.token_file = value;
        break;
    case 'A':
        conf->azure.authority = value;
        break;
    case 'n':
        conf->azure.tenant_id = value;
        break;
    case 'o':
        conf->azure.client_id = value;
        break;
    case 'l':
        host.sink.base.log_id = value;
        break;
    case 's':
        read_sets(value);
        break;
    case 'c':
        host.cursor_path = value;
        break;
    case 't':
        host.give_up_ns = atoll(value) * 1000 * MS_NS;
        break;
    case 'C':
        host.stopped = true;
        break;
    case 'W':
        host.waits_for_more = true;
        break;
    default:
        exit(64);
    }
}

static void run(void)
{
    struct timeval now = {0, 0};

    event_add(host.turn, &now);
    event_base_dispatch(host.loop);
    printf("done %llu rss_anon_peak_kb %ld seconds %.2f\n",
           (unsigned long long)host.durable, host.rss_peak_kb,
           (double)(dgf_clock_mono_ns() - host.began_ns) / 1e9);
    if (host.is_open)
        host.sink.base.type->close(&host.sink.base);
}

static void release_sets(void)
{
    for (size_t i = 0; i < host.n_sets; i++) {
        for (size_t j = 0; j < host.sets[i].sealed.n_objects; j++) {
            free((void *)(uintptr_t)host.sets[i].objects[j].name);
            free((void *)(uintptr_t)host.sets[i].objects[j].path);
        }
        free(host.sets[i].objects);
    }
}

int main(int argc, char **argv)
{
    struct dgf_err err;
    bool only_check;
    int letter;

    sink_driver_begin();
    host.conf.timeout_ns = 60000 * MS_NS;
    host.conf.block_bytes = 4 << 20;
    host.give_up_ns = 60000 * MS_NS;
    host.sink.base.log_id = "00112233445566778899aabbccddeeff";
    while ((letter = getopt(argc, argv, "u:p:ia:b:T:k:S:w:A:n:o:l:s:c:t:CW")) >= 0)
        take_option(letter, optarg);
    only_check = host.stopped;
    host.stopped = false;
    host.began_ns = dgf_clock_mono_ns();
    host.give_up_ns += host.began_ns;
    dgf_buf_init(&host.cursor, 1 << 16);
    sink_driver_read_cursor(host.cursor_path, &host.cursor);
    if (evthread_use_pthreads() != 0)
        return EXIT_FAILURE;
    host.loop = event_base_new();
    host.turn = host.loop ? event_new(host.loop, -1, 0, on_turn, NULL) : NULL;
    if (!host.turn || dgf_workers_new(host.loop, 2, &host.workers, &err))
        return EXIT_FAILURE;
    host.sink.base.type = &dgf_sink_blob;
    host.sink.base.name = "vault";
    host.sink.base.conf = &host.conf;
    host.sink.base.loop = host.loop;
    host.sink.base.workers = host.workers;
    host.sink.base.host = &calls;
    host.sink.base.agent = "driver";
    host.sink.base.env = "test";
    if (only_check)
        sink_driver_check(&host.sink.base);
    else
        run();
    dgf_workers_free(host.workers);
    event_free(host.turn);
    event_base_free(host.loop);
    dgf_buf_release(&host.cursor);
    release_sets();
    return host.stopped ? 3 : host.out_of_time ? 4 : EXIT_SUCCESS;
}
