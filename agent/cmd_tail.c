/* cmd_tail.c - follows the records of a ledger, as text for people or as lines. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/parse.h"
#include "bus/sink.h"
#include "cmd.h"
#include "ledger/reader.h"
#include "settings.h"

const struct dgf_arg dgf_args_tail[] = {
    DGF_ARG_CONFIG,
    {"data-dir", 'd', "FOLDER",
     "data_dir of the agent, instead of a configuration file"},
    {"kind", 'k', "KINDS",
     "kinds of records, with commas (default violation,rule_error,gap,undecodable)"},
    {"policy", 'p', "ID", "only records of this policy; * stands for anything"},
    {"severity", 's', "LEVEL", "this severity and above"},
    {"from", 'f', "INDEX",
     "start at this record; 'start' for the first (default: only new ones)"},
    {"count", 'n', "N", "end after N records"},
    {"no-follow", 0, NULL, "end when there are no more"},
    DGF_ARG_FORMAT,
    DGF_ARG_END};

#define MOST_NAMES 20               /* of policies, in a hint */
#define COVERAGE_POLICY "DGF-COV-1" /* built in */

struct tail {
    struct dgf_select select;
    bool json, colour, follow;
    uint64_t count; /* 0: no end */
};

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const char *paint(enum dgf_severity severity)
{
    switch (severity) {
    case DGF_SEVERITY_CRITICAL:
    case DGF_SEVERITY_HIGH:
        return "\033[31m";
    case DGF_SEVERITY_MEDIUM:
        return "\033[33m";
    default:
        return "\033[36m";
    }
}

/* 09:00:00  high      CARD-001  card number in shop.notes  [insert shop.notes] */
static void print_human(const struct tail *tail, const struct dgf_record *record)
{
    DGF_CLEANUP_JSON json_t *line = NULL;
    struct dgf_err err = {0};
    const char *message, *what, *time;
    json_t *policy, *event;

    if (dgf_json_parse_record(record->line, &line, &err)) {
        printf("record %llu: %s\n", (unsigned long long)record->seq, err.text);
        return;
    }
    policy = json_object_get(line, "policy");
    event = json_object_get(line, "event");
    message = text_of(line, "message");
    what = policy ? text_of(policy, "id") : dgf_record_kind_text(record->kind);
    time = text_of(line, "time");
    printf("%.19s  %s%-9s%s %-12s %s", time,
           tail->colour ? paint(record->severity) : "",
           policy ? text_of(policy, "severity") : "-", tail->colour ? "\033[0m" : "",
           what, *message ? message : text_of(line, "reason"));
    if (record->verdict == DGF_VERDICT_REVIEW || record->verdict == DGF_VERDICT_WAIVED)
        printf("  (%s)", dgf_verdict_text((enum dgf_verdict)record->verdict));
    if (record->shadow)
        printf("  (shadow)");
    if (event)
        printf("  [%s %s at %s]", text_of(event, "op"), text_of(event, "object"),
               text_of(event, "position"));
    printf("\n");
}

static void print(const struct tail *tail, const struct dgf_record *record)
{
    if (tail->json) {
        fwrite(record->line.ptr, 1, record->line.len, stdout);
        putchar('\n');
    } else {
        print_human(tail, record);
    }
    fflush(stdout);
}

static void wait_a_little(void)
{
    struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};

    nanosleep(&pause, NULL);
}

static int follow(const struct tail *tail, struct dgf_ledger_reader *reader)
{
    uint64_t n = 0;

    for (;;) {
        struct dgf_record record;
        struct dgf_leaf leaf;
        struct dgf_err err = {0};
        enum dgf_rc rc = dgf_ledger_reader_next(reader, &leaf, &err);

        if (rc == DGF_AGAIN && !tail->follow)
            return DGF_EXIT_OK;
        if (rc == DGF_AGAIN) {
            wait_a_little();
            continue;
        }
        if (!rc)
            rc = dgf_record_get(leaf.header, leaf.line, leaf.index, &record);
        if (rc) {
            fprintf(stderr, "dgf tail: %s\n",
                    err.text[0] ? err.text : "a record has a damaged header");
            return DGF_EXIT_FINDINGS;
        }
        if (!dgf_select_match(&tail->select, &record) ||
            (tail->select.policies.n && record.policy.len == 0))
            continue;
        print(tail, &record);
        if (tail->count && ++n == tail->count)
            return DGF_EXIT_OK;
    }
}

/* "a,b" to a list; the texts live as long as the copy. */
static int read_kinds(const char *text, struct tail *tail)
{
    size_t cap = 1;

    for (const char *c = text; *c; c++)
        cap += *c == ',';
    tail->select.kinds.list = dgf_calloc(cap, sizeof(char *));
    if (!tail->select.kinds.list)
        return DGF_EXIT_CANNOT;
    while (*text) {
        size_t n = strcspn(text, ",");
        char *word = dgf_strndup(text, n);

        if (!word)
            return DGF_EXIT_CANNOT;
        tail->select.kinds.list[tail->select.kinds.n++] = word;
        if (dgf_record_kind_of(dgf_bytes_str(word)) < 0)
            return dgf_usage_kind("tail", word);
        text += n + (text[n] == ',');
    }
    return DGF_EXIT_OK;
}

static void release(struct tail *tail)
{
    for (size_t i = 0; i < tail->select.kinds.n; i++)
        dgf_free(tail->select.kinds.list[i]);
    dgf_free(tail->select.kinds.list);
    dgf_free(tail->select.policies.list);
}

static int read_tail(const struct dgf_args *args, struct tail *tail)
{
    const char *kinds = dgf_args_get(args, "kind");
    const char *policy = dgf_args_get(args, "policy");
    const char *severity = dgf_args_get(args, "severity");
    const char *count = dgf_args_get(args, "count");
    const char *format = dgf_args_get(args, "format");
    int word;

    tail->json = format && strcmp(format, "json") == 0;
    if (format && !tail->json && strcmp(format, "human") != 0)
        return dgf_usage("tail", "--format must be human or json");
    tail->colour = dgf_colour(stdout);
    tail->follow = !dgf_args_has(args, "no-follow");
    if (severity) {
        word = dgf_severity_of(dgf_bytes_str(severity));
        if (word < 0)
            return dgf_usage_severity("tail", severity);
        tail->select.min_severity = word;
    }
    if (count &&
        (!dgf_parse_u64(dgf_bytes_str(count), &tail->count) || tail->count == 0))
        return dgf_usage("tail", "--count must be a number from 1");
    if (policy) {
        tail->select.policies.list = dgf_calloc(1, sizeof(char *));
        if (!tail->select.policies.list)
            return DGF_EXIT_CANNOT;
        tail->select.policies.list[0] = (char *)(uintptr_t)policy;
        tail->select.policies.n = 1;
    }
    return read_kinds(kinds ? kinds : "violation,rule_error,gap,undecodable", tail);
}

/* Where "only new ones" begins: read to the end once. */
static int skip_to_end(struct dgf_ledger_reader *reader)
{
    struct dgf_leaf leaf;
    struct dgf_err err = {0};
    enum dgf_rc rc;

    do {
        rc = dgf_ledger_reader_next(reader, &leaf, &err);
    } while (!rc);
    if (rc == DGF_AGAIN)
        return DGF_EXIT_OK;
    fprintf(stderr, "dgf tail: %s\n", err.text);
    return DGF_EXIT_FINDINGS;
}

static int open_and_follow(const struct tail *tail, const char *dir, const char *from)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_err err = {0};
    uint64_t index = 0;
    enum dgf_rc rc = dgf_ledger_first_kept(dir, &index, &err);
    int exit_code = DGF_EXIT_OK;

    if (!rc && from && strcmp(from, "start") != 0 &&
        !dgf_parse_u64(dgf_bytes_str(from), &index))
        return dgf_usage("tail", "--from must be an index or 'start'");
    if (!rc)
        rc = dgf_ledger_reader_open_cold(dir, index, &reader, &err);
    if (rc) {
        fprintf(stderr, "dgf tail: %s\n", err.text);
        return DGF_EXIT_CANNOT;
    }
    if (!from)
        exit_code = skip_to_end(reader);
    if (!exit_code)
        exit_code = follow(tail, reader);
    dgf_ledger_reader_free(reader);
    return exit_code;
}

/* Would wait for ever: said, and no error, since the ledger may hold records of a
 * policy that is gone by now. */
static void look_for_policy(const struct dgf_settings *s, const struct tail *tail)
{
    struct dgf_select wanted = {.policies = tail->select.policies};
    struct dgf_record record = {.policy = dgf_bytes_str(COVERAGE_POLICY)};
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};
    size_t n;

    dgf_findings_init(&findings);
    dgf_buf_init(&names, 1 << 20);
    if (dgf_select_match(&wanted, &record))
        return;
    if (dgf_settings_policies(s, &findings, &set))
        return; /* `run` and `check` say why */
    n = dgf_policy_set_count(set);
    for (size_t i = 0; i < n; i++) {
        const char *id = dgf_policy_set_at(set, i)->id;

        record.policy = dgf_bytes_str(id);
        if (dgf_select_match(&wanted, &record))
            return;
        if (i < MOST_NAMES)
            dgf_buf_addf(&names, "%s%s", i ? ", " : "", id);
    }
    fprintf(stderr, "dgf tail: no policy is called '%s'; there %s %s%s\n",
            wanted.policies.list[0], n == 1 ? "is" : "are",
            n ? dgf_buf_str(&names) : "none", n > MOST_NAMES ? " ..." : "");
}

int dgf_cmd_tail(int argc, char **argv)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    struct tail tail = {0};
    struct dgf_args args;
    const char *dir;
    int exit_code = dgf_args_read("tail", dgf_args_tail, argc, argv, &args);

    dgf_findings_init(&findings);
    if (exit_code)
        return exit_code;
    dir = dgf_args_get(&args, "data-dir");
    if (!dir) {
        if (dgf_settings_load(dgf_args_get(&args, "config"), &findings, &s))
            return dgf_report_findings(&findings);
        dir = s->agent.data_dir;
    }
    exit_code = read_tail(&args, &tail);
    if (!exit_code && s && dgf_args_has(&args, "policy"))
        look_for_policy(s, &tail);
    if (!exit_code)
        exit_code = open_and_follow(&tail, dir, dgf_args_get(&args, "from"));
    release(&tail);
    return exit_code;
}
