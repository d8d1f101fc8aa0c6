/* cmd_ledger.c - reads and proves a ledger, live, stopped or killed; never writes. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/parse.h"
#include "bus/sink.h"
#include "cmd.h"
#include "cmd_ledger_write.h"
#include "ledger/reader.h"
#include "ledger/verify.h"
#include "settings.h"

const struct dgf_arg dgf_args_ledger[] = {
    DGF_ARG_CONFIG,
    {"data-dir", 'd', "FOLDER",
     "data_dir of the agent, instead of a configuration file"},
    {"since", 0, "WHEN", "cat: from this index or time on (2026-03-02T09:00:00Z)"},
    {"until", 0, "WHEN", "cat: before this index or time"},
    {"kind", 'k', "KINDS", "cat: only these kinds of records, with commas"},
    {"policy", 'p', "ID", "cat: only records of this policy; * stands for anything"},
    {"source", 's', "NAME", "cat: only records of this source"},
    {"from", 0, "WHERE",
     "recover: the folder of an archive, or the name of a sink that keeps it"},
    {"log", 0, "ID", "recover: which log, when a container holds several"},
    {"key", 0, "VKEY", "recover: public key of the archive, when it is not our own"},
    {"new-key", 0, "FILE",
     "rotate-key: file of the new key; made when it is not there"},
    DGF_ARG_FORMAT,
    DGF_ARG_END};

#define MAX_KINDS 32

/* An index or a time; records are in the order of their indices only. */
struct bound {
    bool is_time;
    uint64_t index;
    int64_t time_ns;
};

struct cat {
    struct bound since, until;
    char *kinds[MAX_KINDS], *policy;
    struct dgf_select select;
    struct dgf_bytes source; /* empty: all */
    bool filters;            /* the header must be looked at */
};

static int fail(enum dgf_rc rc, const struct dgf_err *err)
{
    fprintf(stderr, "dgf ledger: %s\n", err->text);
    return rc == DGF_BAD_DATA ? DGF_EXIT_FINDINGS : DGF_EXIT_CANNOT;
}

/* A folder without a journal is no damage. */
static int find_journal(const char *dir, uint64_t *ret_first)
{
    struct dgf_err err = {0};

    if (!dgf_ledger_first_kept(dir, ret_first, &err))
        return DGF_EXIT_OK;
    fprintf(stderr, "dgf ledger: %s\n", err.text);
    return DGF_EXIT_CANNOT;
}

/* ---- cat ----------------------------------------------------------------- */

static int read_bound(const struct dgf_args *args, const char *name, struct bound *ret)
{
    const char *text = dgf_args_get(args, name);

    if (!text || dgf_parse_u64(dgf_bytes_str(text), &ret->index))
        return DGF_EXIT_OK;
    ret->is_time = true;
    if (dgf_parse_time(dgf_bytes_str(text), &ret->time_ns))
        return DGF_EXIT_OK;
    return dgf_usage("ledger",
                     "--%s must be an index or a time like 2026-03-02T09:00:00Z", name);
}

static int read_kinds(const char *text, struct cat *cat)
{
    while (text && *text) {
        size_t n = strcspn(text, ",");

        if (cat->select.kinds.n == MAX_KINDS)
            return dgf_usage("ledger", "--kind names too many kinds");
        cat->kinds[cat->select.kinds.n] = dgf_strndup(text, n);
        if (!cat->kinds[cat->select.kinds.n])
            return DGF_EXIT_CANNOT;
        if (dgf_record_kind_of(dgf_bytes_of(text, n)) < 0)
            return dgf_usage("ledger", "unknown kind '%s'",
                             cat->kinds[cat->select.kinds.n]);
        cat->select.kinds.n++;
        text += n + (text[n] == ',');
    }
    return DGF_EXIT_OK;
}

static int read_cat(const struct dgf_args *args, struct cat *cat)
{
    const char *source = dgf_args_get(args, "source");
    int exit_code = read_bound(args, "since", &cat->since);

    cat->until.index = UINT64_MAX;
    if (!exit_code)
        exit_code = read_bound(args, "until", &cat->until);
    cat->select.kinds.list = cat->kinds;
    if (!exit_code)
        exit_code = read_kinds(dgf_args_get(args, "kind"), cat);
    cat->policy = (char *)(uintptr_t)dgf_args_get(args, "policy");
    if (cat->policy) {
        cat->select.policies.list = &cat->policy;
        cat->select.policies.n = 1;
    }
    cat->source = dgf_bytes_str(source);
    cat->filters = source || cat->policy || cat->select.kinds.n || cat->since.is_time ||
                   cat->until.is_time;
    return exit_code;
}

static bool is_wanted(const struct cat *cat, const struct dgf_record *record)
{
    if (cat->since.is_time && record->time_ns < cat->since.time_ns)
        return false;
    if (cat->until.is_time && record->time_ns >= cat->until.time_ns)
        return false;
    if (cat->source.len > 0 && !dgf_bytes_eq(cat->source, record->source))
        return false;
    return (!cat->policy || record->policy.len > 0) &&
           dgf_select_match(&cat->select, record);
}

static int print_lines(const struct cat *cat, struct dgf_ledger_reader *reader,
                       enum dgf_rc *ret_rc, struct dgf_err *err)
{
    for (;;) {
        struct dgf_record record;
        struct dgf_leaf leaf;
        enum dgf_rc rc = dgf_ledger_reader_next(reader, &leaf, err);

        if (rc == DGF_AGAIN ||
            (!rc && !cat->until.is_time && leaf.index >= cat->until.index))
            return DGF_EXIT_OK;
        if (!rc && cat->filters &&
            dgf_record_get(leaf.header, leaf.line, leaf.index, &record))
            rc = dgf_err_set(err, DGF_BAD_DATA,
                             "the header of record %" PRIu64 " cannot be read",
                             leaf.index);
        *ret_rc = rc;
        if (rc)
            return DGF_EXIT_FINDINGS;
        if (cat->filters && !is_wanted(cat, &record))
            continue;
        if (fwrite(leaf.line.ptr, 1, leaf.line.len, stdout) != leaf.line.len ||
            putchar('\n') == EOF)
            return DGF_EXIT_CANNOT; /* the caller says why */
    }
}

/* Prints from index `from`, or from what is kept by now.  An agent may prune
 * what is about to be read: that is no damage. */
static int print_from(const char *dir, const struct cat *cat, uint64_t from)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_err err = {0}, none;
    uint64_t first = 0, at = from;
    enum dgf_rc rc = dgf_ledger_reader_open_cold(dir, from, &reader, &err);
    int exit_code = rc ? DGF_EXIT_CANNOT : print_lines(cat, reader, &rc, &err);

    if (reader)
        at = dgf_ledger_reader_index(reader);
    dgf_ledger_reader_free(reader);
    if (!rc)
        return exit_code;
    if (!dgf_ledger_first_kept(dir, &first, &none) && first > at) {
        if (at == from)
            return print_from(dir, cat, first);
        fprintf(stderr,
                "dgf ledger: records %" PRIu64 " to %" PRIu64
                " were pruned before they could be read\n",
                at, first - 1);
        return DGF_EXIT_CANNOT;
    }
    return fail(rc, &err);
}

static int cat_ledger(const struct dgf_args *args, const char *dir)
{
    struct cat cat = {.select.min_severity = 0};
    uint64_t first, from;
    int exit_code = read_cat(args, &cat);

    if (!exit_code)
        exit_code = find_journal(dir, &first);
    if (!exit_code) {
        from = cat.since.index > first ? cat.since.index : first;
        if (dgf_args_get(args, "since") && !cat.since.is_time && from > cat.since.index)
            fprintf(stderr, "dgf ledger: records before %" PRIu64 " were pruned\n",
                    from);
        exit_code = print_from(dir, &cat, from);
    }
    for (size_t i = 0; i < MAX_KINDS; i++)
        dgf_free(cat.kinds[i]);
    return exit_code;
}

/* ---- ls and stats -------------------------------------------------------- */

static int print_json(struct dgf_buf *out)
{
    if (dgf_buf_rc(out)) {
        fprintf(stderr, "dgf ledger: out of memory\n");
        return DGF_EXIT_CANNOT;
    }
    printf("%s\n", dgf_buf_str(out));
    return DGF_EXIT_OK;
}

static void put_hex(struct dgf_json *json, const char *key, const uint8_t *hash)
{
    char text[2 * DGF_SHA256_LEN + 1];

    for (int i = 0; i < DGF_SHA256_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

static void put_number(struct dgf_json *json, const char *key, uint64_t value)
{
    dgf_json_key(json, key);
    dgf_json_u64(json, value);
}

static int list(const struct dgf_ledger_summary *summary, bool as_json,
                struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);
    char name[32];

    dgf_json_begin_array(&json);
    if (!as_json)
        printf("%-24s %20s %20s %14s\n", "segment", "first", "last", "bytes");
    for (size_t i = 0; i < summary->n_parts; i++) {
        const struct dgf_ledger_part *part = &summary->parts[i];
        bool empty = part->end == part->first;

        (void)snprintf(name, sizeof(name), "%" PRIu64 ".j", part->first);
        dgf_json_begin_object(&json);
        dgf_json_key(&json, "segment");
        dgf_json_str(&json, name);
        put_number(&json, "first", part->first);
        dgf_json_key(&json, "last");
        if (empty)
            dgf_json_null(&json);
        else
            dgf_json_u64(&json, part->end - 1);
        put_number(&json, "bytes", part->bytes);
        dgf_json_end_object(&json);
        if (!as_json && empty)
            printf("%-24s %20" PRIu64 " %20s %14" PRIu64 "\n", name, part->first, "-",
                   part->bytes);
        else if (!as_json)
            printf("%-24s %20" PRIu64 " %20" PRIu64 " %14" PRIu64 "\n", name,
                   part->first, part->end - 1, part->bytes);
    }
    dgf_json_end_array(&json);
    return as_json ? print_json(out) : DGF_EXIT_OK;
}

static int stats_json(const struct dgf_ledger_summary *summary, struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    dgf_json_key(&json, "log_id");
    dgf_json_str(&json, summary->log_id);
    put_number(&json, "size", summary->size);
    put_hex(&json, "root", summary->root);
    put_number(&json, "first", summary->first);
    put_number(&json, "batches", summary->batches);
    put_number(&json, "bytes", summary->bytes);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < summary->marks.n_positions; i++) {
        dgf_json_key_bytes(&json, summary->marks.positions[i].source);
        dgf_json_text(&json, summary->marks.positions[i].text);
    }
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    return print_json(out);
}

static int stats(const struct dgf_ledger_summary *summary, bool as_json,
                 struct dgf_buf *out)
{
    if (as_json)
        return stats_json(summary, out);
    dgf_buf_add_hex(out, dgf_bytes_of(summary->root, DGF_SHA256_LEN));
    printf("log      %s\nrecords  %" PRIu64 "\nfirst    %" PRIu64 "\nbatches  %" PRIu64
           "\nbytes    %" PRIu64 "\nroot     %s\n",
           summary->log_id, summary->size, summary->first, summary->batches,
           summary->bytes, dgf_buf_str(out));
    for (size_t i = 0; i < summary->marks.n_positions; i++) {
        const struct dgf_ledger_position *p = &summary->marks.positions[i];

        printf("source   %.*s at %.*s\n", (int)p->source.len,
               (const char *)p->source.ptr, (int)p->text.len,
               (const char *)p->text.ptr);
    }
    return DGF_EXIT_OK;
}

static int show(const char *dir, bool as_json,
                int (*print)(const struct dgf_ledger_summary *, bool, struct dgf_buf *))
{
    struct dgf_ledger_summary summary;
    struct dgf_err err = {0};
    struct dgf_buf out;
    uint64_t first;
    int exit_code = find_journal(dir, &first);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    rc = dgf_ledger_summarize(dir, &summary, &err);
    if (rc)
        return fail(rc, &err);
    dgf_buf_init(&out, 64 << 20);
    exit_code = print(&summary, as_json, &out);
    dgf_buf_release(&out);
    dgf_ledger_summary_release(&summary);
    return exit_code;
}

/* ---- verify -------------------------------------------------------------- */

static const char *const results[] = {"ok", "tampered", "incomplete"};

static int verdict_json(const struct dgf_verification *verdict)
{
    struct dgf_buf out;
    struct dgf_json json = dgf_json_of(&out);
    int exit_code;

    dgf_buf_init(&out, 1 << 20);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "result");
    dgf_json_str(&json, results[verdict->result]);
    dgf_json_key(&json, "class");
    if (verdict->class)
        dgf_json_str(&json, verdict->class);
    else
        dgf_json_null(&json);
    dgf_json_key(&json, "index");
    if (verdict->class)
        dgf_json_u64(&json, verdict->index);
    else
        dgf_json_null(&json);
    put_number(&json, "size", verdict->size);
    put_hex(&json, "root", verdict->root);
    dgf_json_key(&json, "anchored");
    dgf_json_bool(&json, false);
    dgf_json_end_object(&json);
    exit_code = print_json(&out);
    dgf_buf_release(&out);
    return exit_code;
}

static void verdict_human(const struct dgf_verification *verdict)
{
    if (verdict->result == DGF_VERIFIED_OK)
        printf("ok (local journal, not anchored)\n");
    else
        printf("%s: %s at index %" PRIu64 ": %s\n", results[verdict->result],
               verdict->class, verdict->index, verdict->text);
    printf("size %" PRIu64 "\nroot ", verdict->size);
    for (int i = 0; i < DGF_SHA256_LEN; i++)
        printf("%02x", verdict->root[i]);
    printf("\n");
    if (verdict->first > 0)
        printf("pruned: records before %" PRIu64 " are not here\n", verdict->first);
    if (verdict->unfinished > 0)
        printf("%" PRIu64 " bytes of an unfinished batch follow\n",
               verdict->unfinished);
}

static int verify(const char *dir, bool as_json)
{
    static const int exits[] = {DGF_EXIT_OK, DGF_EXIT_FINDINGS, DGF_EXIT_CANNOT};
    struct dgf_verification verdict;
    struct dgf_err err = {0};
    uint64_t first;
    int exit_code = find_journal(dir, &first);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    rc = dgf_ledger_verify(dir, &verdict, &err);
    if (rc)
        return fail(rc, &err);
    if (as_json && verdict_json(&verdict))
        return DGF_EXIT_CANNOT;
    if (as_json && verdict.class)
        fprintf(stderr, "dgf ledger: %s\n", verdict.text);
    else if (!as_json)
        verdict_human(&verdict);
    return exits[verdict.result];
}

/* An option that would be ignored was meant for something. */
static int check_options(const struct dgf_args *args)
{
    static const char *const of_cat[] = {"since", "until", "kind", "policy", "source"};
    const char *what = args->operands[0], *format = dgf_args_get(args, "format");

    if (format && strcmp(format, "json") != 0 && strcmp(format, "human") != 0)
        return dgf_usage("ledger", "--format must be human or json");
    for (size_t i = 0; i < DGF_ARRAY_LEN(of_cat); i++)
        if (strcmp(what, "cat") != 0 && dgf_args_get(args, of_cat[i]))
            return dgf_usage("ledger", "--%s is for cat", of_cat[i]);
    if (args->n_operands > 2 ||
        (args->n_operands == 2 && dgf_args_get(args, "data-dir")))
        return dgf_usage("ledger", "one folder at a time");
    return DGF_EXIT_OK;
}

static int run(const struct dgf_args *args, const char *dir)
{
    const char *what = args->operands[0], *format = dgf_args_get(args, "format");
    bool as_json = format && strcmp(format, "json") == 0;

    if (strcmp(what, "ls") == 0)
        return show(dir, as_json, list);
    if (strcmp(what, "stats") == 0)
        return show(dir, as_json, stats);
    if (strcmp(what, "verify") == 0)
        return verify(dir, as_json);
    return cat_ledger(args, dir);
}

int dgf_cmd_ledger(int argc, char **argv)
{
    static const char *const actions[] = {"ls", "cat", "stats", "verify"};
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *settings = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    struct dgf_args args;
    const char *dir, *near;
    size_t at = 0;
    int exit_code = dgf_args_read("ledger", dgf_args_ledger, argc, argv, &args);

    dgf_findings_init(&findings);
    if (exit_code)
        return exit_code;
    if (ledger_write(&args, &exit_code))
        return exit_code;
    if (args.n_operands == 0)
        return dgf_usage("ledger", "what to do? ls, cat, stats or verify");
    while (at < DGF_ARRAY_LEN(actions) && strcmp(actions[at], args.operands[0]) != 0)
        at++;
    near = dgf_nearest(args.operands[0], actions, DGF_ARRAY_LEN(actions));
    if (at == DGF_ARRAY_LEN(actions) && near)
        return dgf_usage("ledger", "cannot '%s'; did you mean '%s'?", args.operands[0],
                         near);
    if (at == DGF_ARRAY_LEN(actions))
        return dgf_usage("ledger", "cannot '%s': it is ls, cat, stats or verify",
                         args.operands[0]);
    exit_code = check_options(&args);
    if (exit_code)
        return exit_code;
    dir = args.n_operands == 2 ? args.operands[1] : dgf_args_get(&args, "data-dir");
    if (!dir) {
        if (dgf_settings_load(dgf_args_get(&args, "config"), &findings, &settings))
            return dgf_report_findings(&findings);
        dir = settings->agent.data_dir;
    }
    exit_code = run(&args, dir);
    if (!fflush(stdout) && !ferror(stdout))
        return exit_code;
    if (errno != EPIPE) /* who ends a pipe early has read enough */
        fprintf(stderr, "dgf ledger: cannot write the output: %m\n");
    return exit_code ? exit_code : DGF_EXIT_CANNOT;
}
