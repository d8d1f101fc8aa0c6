/* pg_source_driver.c - the PostgreSQL source alone, with a host that prints.
 *
 *   pg_source_driver [--quiet] [--manual] [--memory FILE] [--quota N] [--retry MS]
 *                    [--until-caught-up] [--check] [--max-event BYTES] 'yaml of the
 * options'
 *
 * Prints one JSON line for every call of the source.  With --manual nothing is
 * durable until stdin says so; commands: pause, resume, durable N, durable all,
 * reopen, quit.  --memory keeps position and source memory in a file, written
 * whenever something becomes durable, as the ledger would.  --quiet prints the
 * counts and costs at the end only. */
#include <event2/event.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "bus/source.h"

extern const struct dgf_source_type dgf_source_postgres;

struct mark {
    uint64_t seq;
    uint8_t position[128];
    size_t len;
};

static struct {
    struct dgf_source *src;
    struct event_base *loop;
    struct event *turn, *reopen;
    bool quiet, manual, until_caught_up, open, again;
    const char *memory_path;
    uint64_t quota, in_turn, rows, events, last_seq, durable;
    int64_t retry_ms, first_ns;
    struct mark *marks; /* not durable yet */
    size_t n_marks, cap_marks, first_mark;
    struct mark accepted, kept;
    struct dgf_map state;
    struct dgf_buf line;
    int status;
} host = {.retry_ms = -1};

static void print_line(void)
{
    dgf_buf_add_byte(&host.line, '\n');
    fwrite(host.line.ptr, 1, host.line.len, stdout);
    fflush(stdout);
    dgf_buf_clear(&host.line);
}

static void say(const char *what, const char *a, const char *text)
{
    struct dgf_json json = dgf_json_of(&host.line);

    if (host.quiet && strcmp(what, "fail") != 0)
        return;
    dgf_json_begin_object(&json);
    dgf_json_key(&json, what);
    dgf_json_str(&json, a);
    dgf_json_key(&json, "text");
    dgf_json_str(&json, text);
    dgf_json_end_object(&json);
    print_line();
}

/* ---- memory ---- */

static void write_memory(void)
{
    struct dgf_buf text;
    struct dgf_map_entry *entry;
    struct dgf_err err;
    size_t at = 0;

    if (!host.memory_path)
        return;
    dgf_buf_init(&text, 16 << 20);
    dgf_buf_add_str(&text, "position ");
    dgf_buf_add_hex(&text, dgf_bytes_of(host.kept.position, host.kept.len));
    dgf_buf_add_byte(&text, '\n');
    while ((entry = dgf_map_next(&host.state, &at))) {
        const struct dgf_buf *value = entry->value;

        dgf_buf_add_str(&text, "state ");
        dgf_buf_add_hex(&text, entry->key);
        dgf_buf_add_byte(&text, ' ');
        dgf_buf_add_hex(&text, dgf_buf_bytes(value));
        dgf_buf_add_byte(&text, '\n');
    }
    if (dgf_file_replace(host.memory_path, dgf_buf_bytes(&text), 0600, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(2);
    }
    dgf_buf_release(&text);
}

static enum dgf_rc put_state(struct dgf_source *src, struct dgf_bytes key,
                             struct dgf_bytes value)
{
    struct dgf_buf *copy = dgf_calloc(1, sizeof(*copy));
    void *old = NULL;

    (void)src;
    dgf_buf_init(copy, 16 << 20);
    dgf_buf_add_bytes(copy, value);
    if (dgf_map_put(&host.state, key, copy, &old))
        return DGF_NOMEM;
    if (old) {
        dgf_buf_release(old);
        dgf_free(old);
    }
    return DGF_OK;
}

static enum dgf_rc get_state(struct dgf_source *src, struct dgf_bytes key,
                             struct dgf_buf *ret)
{
    const struct dgf_buf *value = dgf_map_get(&host.state, key);

    (void)src;
    if (!value)
        return DGF_AGAIN;
    dgf_buf_add_bytes(ret, dgf_buf_bytes(value));
    return dgf_buf_rc(ret);
}

static void read_memory(void)
{
    FILE *file = host.memory_path ? fopen(host.memory_path, "r") : NULL;
    static char line[1 << 22], a[1 << 20], b[1 << 21];
    static uint8_t key[1 << 19], value[1 << 20];

    while (file && fgets(line, sizeof(line), file)) {
        a[0] = b[0] = '\0';
        if (sscanf(line, "position %1048575s", a) == 1) {
            host.kept.len = strlen(a) / 2;
            if (!dgf_parse_hex(dgf_bytes_str(a), host.kept.position, host.kept.len))
                exit(2);
        } else if (sscanf(line, "state %1048575s %2097151s", a, b) >= 1) {
            if (!dgf_parse_hex(dgf_bytes_str(a), key, strlen(a) / 2) ||
                !dgf_parse_hex(dgf_bytes_str(b), value, strlen(b) / 2) ||
                put_state(NULL, dgf_bytes_of(key, strlen(a) / 2),
                          dgf_bytes_of(value, strlen(b) / 2)))
                exit(2);
        }
    }
    if (file)
        fclose(file);
    host.accepted = host.kept;
}

static void make_durable(uint64_t seq)
{
    if (seq <= host.durable)
        return;
    host.durable = seq;
    while (host.first_mark < host.n_marks && host.marks[host.first_mark].seq <= seq)
        host.kept = host.marks[host.first_mark++];
    if (host.first_mark == host.n_marks)
        host.first_mark = host.n_marks = 0;
    write_memory();
    if (host.open)
        host.src->type->durable(host.src, seq);
}

/* ---- what the source calls ---- */

static void print_section(struct dgf_json *json, const struct dgf_event *event,
                          enum dgf_section section, const char *name)
{
    if (!event->sections[section].len)
        return;
    dgf_json_key(json, name);
    if (dgf_json_msgpack(json, event->sections[section]))
        dgf_json_str(json, "not msgpack");
}

static void print_event(const struct dgf_event *event)
{
    struct dgf_json json = dgf_json_of(&host.line);
    char id[DGF_ID_TEXT_LEN + 1];
    struct dgf_buf position;

    dgf_buf_init(&position, 1024);
    host.src->type->position_text(event->position, &position);
    dgf_id_text(&event->id, id);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "event");
    dgf_json_str(&json, dgf_event_kind_text(event->kind));
    dgf_json_key(&json, "seq");
    dgf_json_u64(&json, event->seq);
    dgf_json_key(&json, "op");
    dgf_json_str(&json, dgf_op_text(event->op));
    if (event->object) {
        dgf_json_key(&json, "object");
        dgf_json_str(&json, event->object->text);
        dgf_json_key(&json, "version");
        dgf_json_u64(&json, event->object->version);
    }
    dgf_json_key(&json, "id");
    dgf_json_str(&json, id);
    dgf_json_key(&json, "position");
    dgf_json_str(&json, dgf_buf_str(&position));
    dgf_json_key(&json, "commit");
    dgf_json_time(&json, event->commit_ns);
    if (event->tx.len) {
        dgf_json_key(&json, "tx");
        dgf_json_text(&json, event->tx);
        dgf_json_key(&json, "tx_n");
        dgf_json_u64(&json, event->tx_n);
    }
    print_section(&json, event, DGF_SECTION_BEFORE, "before");
    print_section(&json, event, DGF_SECTION_AFTER, "after");
    print_section(&json, event, DGF_SECTION_ACTOR, "actor");
    print_section(&json, event, DGF_SECTION_EXTRA, "extra");
    if (event->object && event->object->n_columns && event->kind == DGF_KIND_CHANGE) {
        dgf_json_key(&json, "columns");
        dgf_json_begin_object(&json);
        for (uint32_t i = 0; i < event->object->n_columns; i++) {
            const struct dgf_column *column = &event->object->columns[i];

            dgf_json_key(&json, column->name);
            dgf_json_begin_array(&json);
            dgf_json_str(&json, dgf_type_text(column->type));
            dgf_json_str(&json, column->type_name);
            dgf_json_bool(&json, column->key);
            dgf_json_str(&json, column->comment ? column->comment : "");
            dgf_json_end_array(&json);
        }
        dgf_json_end_object(&json);
    }
    dgf_json_end_object(&json);
    print_line();
    dgf_buf_release(&position);
}

static void note_mark(const struct dgf_event *event)
{
    struct mark mark = {.seq = event->seq, .len = event->position.len};

    if (!mark.len || mark.len > sizeof(mark.position))
        return;
    memcpy(mark.position, event->position.ptr, mark.len);
    host.accepted = mark;
    if (!host.memory_path)
        return;
    if (host.n_marks == host.cap_marks) {
        host.cap_marks = host.cap_marks ? 2 * host.cap_marks : 1024;
        host.marks = dgf_realloc(host.marks, host.cap_marks * sizeof(*host.marks));
        if (!host.marks)
            exit(2);
    }
    host.marks[host.n_marks++] = mark;
}

static enum dgf_rc emit(struct dgf_source *src, struct dgf_event *take_event)
{
    struct timeval now = {0, 0};

    take_event->source = src;
    take_event->seq = src->next_seq++;
    host.last_seq = take_event->seq;
    host.events++;
    if (take_event->kind == DGF_KIND_CHANGE && !host.rows++)
        host.first_ns = dgf_clock_mono_ns();
    note_mark(take_event);
    if (!host.quiet)
        print_event(take_event);
    dgf_event_unref(take_event);
    if (!host.in_turn++)
        event_add(host.turn, &now);
    if (host.in_turn < host.quota)
        return DGF_OK;
    host.again = true;
    return DGF_AGAIN;
}

static void on_turn(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    host.in_turn = 0;
    if (!host.manual)
        make_durable(host.last_seq);
    if (host.again && host.open) {
        host.again = false;
        host.src->type->resume(host.src);
    }
}

static void end(int status)
{
    host.status = status;
    event_base_loopbreak(host.loop);
}

static void open_source(void)
{
    struct dgf_err err;

    host.open = true;
    if (host.src->type->open(
            host.src, dgf_bytes_of(host.accepted.position, host.accepted.len), &err)) {
        say("fail", dgf_rc_text(err.rc), err.text);
        end(3);
    }
    if (host.durable)
        host.src->type->durable(host.src, host.durable);
}

static void on_reopen(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
    if (host.open)
        host.src->type->close(host.src);
    open_source();
}

static void fail(struct dgf_source *src, enum dgf_rc rc, const char *text)
{
    struct timeval later = {host.retry_ms / 1000, host.retry_ms % 1000 * 1000};

    (void)src;
    say("fail", dgf_rc_text(rc), text);
    if (host.retry_ms < 0 || rc == DGF_FATAL)
        end(10 + (int)rc);
    else
        event_add(host.reopen, &later);
}

static void state(struct dgf_source *src, enum dgf_source_state word,
                  const char *reason)
{
    (void)src;
    say("state", dgf_source_state_text(word), reason);
}

static void caught_up(struct dgf_source *src)
{
    (void)src;
    say("caught_up", "", "");
    if (host.until_caught_up)
        end(0);
}

static void on_command(evutil_socket_t fd, short what, void *ctx)
{
    static char input[4096];
    static size_t have;
    ssize_t n = read(0, input + have, sizeof(input) - 1 - have);
    char *line = input, *newline;

    (void)fd;
    (void)what;
    if (n <= 0) {
        end(0);
        return;
    }
    (void)ctx;
    have += (size_t)n;
    input[have] = '\0';
    for (; (newline = strchr(line, '\n')); line = newline + 1) {
        uint64_t seq;

        *newline = '\0';
        if (strcmp(line, "pause") == 0)
            host.src->type->pause(host.src);
        else if (strcmp(line, "resume") == 0)
            host.src->type->resume(host.src);
        else if (strcmp(line, "durable all") == 0)
            make_durable(host.last_seq);
        else if (sscanf(line, "durable %" SCNu64, &seq) == 1)
            make_durable(seq);
        else if (strcmp(line, "reopen") == 0)
            on_reopen(-1, 0, NULL);
        else if (strcmp(line, "quit") == 0)
            end(0);
        else
            say("unknown command", line, "");
    }
    have = strlen(line);
    memmove(input, line, have + 1);
}

static const struct dgf_source_host calls = {.emit = emit,
                                             .fail = fail,
                                             .state = state,
                                             .caught_up = caught_up,
                                             .put_state = put_state,
                                             .get_state = get_state};

static void print_findings(const struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        struct dgf_json json = dgf_json_of(&host.line);

        dgf_json_begin_object(&json);
        dgf_json_key(&json, "finding");
        dgf_json_str(&json, findings->list[i].code);
        dgf_json_key(&json, "severity");
        dgf_json_i64(&json, (int64_t)findings->list[i].severity);
        dgf_json_key(&json, "text");
        dgf_json_str(&json, findings->list[i].text);
        dgf_json_key(&json, "fix");
        dgf_json_str(&json, findings->list[i].fix ? findings->list[i].fix : "");
        dgf_json_end_object(&json);
        print_line();
    }
}

static void print_costs(void)
{
    double seconds = (double)(dgf_clock_mono_ns() - host.first_ns) / 1e9;
    struct rusage usage;
    double cpu;

    getrusage(RUSAGE_SELF, &usage);
    cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"rows\":%" PRIu64 ",\"events\":%" PRIu64
           ",\"seconds\":%.3f,\"rows_per_s\":%.0f,\"cpu_us_per_row\":%.3f,"
           "\"user_us_per_row\":%.3f,\"max_rss_kib\":%ld}\n",
           host.rows, host.events, seconds, (double)host.rows / seconds,
           host.rows ? cpu * 1e6 / (double)host.rows : 0,
           host.rows ? ((double)usage.ru_utime.tv_sec +
                        (double)usage.ru_utime.tv_usec / 1e6) *
                           1e6 / (double)host.rows
                     : 0,
           usage.ru_maxrss);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"quiet", 0, NULL, 'q'},
                                            {"manual", 0, NULL, 'm'},
                                            {"memory", 1, NULL, 'f'},
                                            {"quota", 1, NULL, 'n'},
                                            {"retry", 1, NULL, 'r'},
                                            {"until-caught-up", 0, NULL, 'u'},
                                            {"check", 0, NULL, 'c'},
                                            {"max-event", 1, NULL, 'e'},
                                            {0}};
    const struct dgf_source_type *type = &dgf_source_postgres;
    struct dgf_findings findings;
    struct dgf_yaml *doc = NULL;
    struct event *command;
    struct dgf_source *src = dgf_calloc(1, type->self_size);
    bool check = false;
    struct dgf_err err;
    int c;

    host.quota = 1000;
    if (!src)
        return 2;
    src->max_event_bytes = 16 << 20;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'q':
            host.quiet = true;
            break;
        case 'm':
            host.manual = true;
            break;
        case 'f':
            host.memory_path = optarg;
            break;
        case 'n':
            host.quota = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            host.retry_ms = strtoll(optarg, NULL, 10);
            break;
        case 'u':
            host.until_caught_up = true;
            break;
        case 'c':
            check = true;
            break;
        case 'e':
            src->max_event_bytes = strtoull(optarg, NULL, 10);
            break;
        default:
            return 64;
        }
    dgf_findings_init(&findings);
    dgf_buf_init(&host.line, 64 << 20);
    dgf_map_init(&host.state);
    if (optind != argc - 1 ||
        dgf_yaml_parse("options", dgf_bytes_str(argv[optind]), &findings, &doc))
        return 64;
    src->type = type;
    src->name = "test";
    src->conf = dgf_calloc(1, type->conf_size);
    if (!src->conf)
        return 2;
    dgf_opt_load(type->opts, src->conf, doc, dgf_yaml_root(doc),
                 "sources.test (postgres)", NULL, &findings);
    type->validate(src->conf, "sources.test (postgres)", (struct dgf_mark){0},
                   &findings);
    print_findings(&findings);
    if (findings.n_errors)
        return 78;
    host.loop = event_base_new();
    host.src = src;
    src->loop = host.loop;
    src->host = &calls;
    src->next_seq = 1;
    if (!host.loop || dgf_workers_new(host.loop, 1, &src->workers, &err))
        return 2;
    if (check) {
        dgf_findings_release(&findings);
        dgf_findings_init(&findings);
        if (type->check(src, &findings, &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 2;
        }
        print_findings(&findings);
        return findings.n_errors ? 1 : 0;
    }
    host.turn = event_new(host.loop, -1, 0, on_turn, NULL);
    host.reopen = event_new(host.loop, -1, 0, on_reopen, NULL);
    command = event_new(host.loop, 0, EV_READ | EV_PERSIST, on_command, NULL);
    if (host.manual)
        event_add(command, NULL);
    read_memory();
    src->known = host.kept.len > 0;
    open_source();
    event_base_dispatch(host.loop);
    if (host.open)
        type->close(src);
    if (host.quiet)
        print_costs();
    dgf_workers_free(src->workers);
    event_free(command);
    event_free(host.turn);
    event_free(host.reopen);
    event_base_free(host.loop);
    dgf_opt_release(type->opts, src->conf);
    dgf_free(src->conf);
    dgf_free(src);
    dgf_yaml_free(doc);
    dgf_findings_release(&findings);
    dgf_buf_release(&host.line);
    return host.status;
}
