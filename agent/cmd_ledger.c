/* cmd_ledger.c - reads and proves a ledger, live, stopped or killed; never writes. */
#include "cmd_ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "cmd_ledger_write.h"
#include "ledger/reader.h"
#include "ledger/verify.h"
#include "settings.h"

const struct dgf_arg dgf_args_ledger[] = {
    DGF_ARG_CONFIG,
    {"data-dir", 'd', "FOLDER",
     "data_dir of the agent, instead of a configuration file"},
    {"container", 0, "URL",
     "an archive in an Azure Blob container; rights from AZURE_* of the environment",
     false},
    {"sink", 0, "NAME", "the archive this sink of the configuration keeps", false},
    {"since", 0, "WHEN",
     "cat, export: from this index or time on (2026-03-02T09:00:00Z)"},
    {"until", 0, "WHEN", "cat, export: before this index or time"},
    {"kind", 'k', "KINDS", "cat, export: only these kinds of records, with commas"},
    {"policy", 'p', "ID",
     "cat, export: only records of this policy; * stands for anything"},
    {"source", 's', "NAME", "cat, export: only records of this source"},
    {"from", 0, "WHERE",
     "recover: folder or container of an archive, or the name of a sink that keeps it",
     false},
    {"log", 0, "ID", "which log, when a container holds several", false},
    {"new-key", 0, "FILE", "rotate-key: file of the new key; made when it is not there",
     false},
    {"key", 0, "VKEY", "the log's public key, as it was given to you; may repeat",
     true},
    {"anchor", 0, "FILE",
     "verify, recover: a checkpoint that was kept elsewhere; may repeat", true},
    {"lossy", 0, NULL, "recover: go on although more records were signed than are here",
     false},
    {"tlog-tiles", 0, "FOLDER",
     "export: entries, tiles and checkpoint for public tools", false},
    {"csv", 0, NULL, "export: a table of the records", false},
    DGF_ARG_FORMAT,
    DGF_ARG_END};

int ledger_fail(enum dgf_rc rc, const struct dgf_err *err)
{
    fprintf(stderr, "dgf ledger: %s\n", err->text);
    return rc == DGF_BAD_DATA ? DGF_EXIT_FINDINGS : DGF_EXIT_CANNOT;
}

/* A folder without a journal is no damage. */
int ledger_find_journal(const char *dir, uint64_t *ret_first)
{
    struct dgf_err err = {0};

    if (!dgf_ledger_first_kept(dir, ret_first, &err))
        return DGF_EXIT_OK;
    fprintf(stderr, "dgf ledger: %s\n", err.text);
    return DGF_EXIT_CANNOT;
}

/* ---- ls and stats -------------------------------------------------------- */

int ledger_print_json(struct dgf_buf *out)
{
    if (dgf_buf_rc(out)) {
        fprintf(stderr, "dgf ledger: out of memory\n");
        return DGF_EXIT_CANNOT;
    }
    printf("%s\n", dgf_buf_str(out));
    return DGF_EXIT_OK;
}

void ledger_put_hex(struct dgf_json *json, const char *key, const uint8_t *hash)
{
    char text[2 * DGF_SHA256_LEN + 1];

    for (int i = 0; i < DGF_SHA256_LEN; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", hash[i]);
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

void ledger_put_number(struct dgf_json *json, const char *key, uint64_t value)
{
    dgf_json_key(json, key);
    dgf_json_u64(json, value);
}

void ledger_put_text(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

void ledger_put_finding(struct dgf_json *json, const char *text)
{
    char ascii[DGF_ERR_TEXT_MAX];
    size_t n = 0;

    dgf_json_key(json, "text");
    if (!text) {
        dgf_json_null(json);
        return;
    }
    if (dgf_utf8_valid(dgf_bytes_str(text))) {
        dgf_json_str(json, text);
        return;
    }
    for (; text[n] && n + 1 < sizeof(ascii); n++)
        ascii[n] = (uint8_t)text[n] < 0x80 ? text[n] : '?';
    ascii[n] = '\0';
    dgf_json_str(json, ascii);
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
        ledger_put_number(&json, "first", part->first);
        dgf_json_key(&json, "last");
        if (empty)
            dgf_json_null(&json);
        else
            dgf_json_u64(&json, part->end - 1);
        ledger_put_number(&json, "bytes", part->bytes);
        dgf_json_end_object(&json);
        if (!as_json && empty)
            printf("%-24s %20" PRIu64 " %20s %14" PRIu64 "\n", name, part->first, "-",
                   part->bytes);
        else if (!as_json)
            printf("%-24s %20" PRIu64 " %20" PRIu64 " %14" PRIu64 "\n", name,
                   part->first, part->end - 1, part->bytes);
    }
    dgf_json_end_array(&json);
    return as_json ? ledger_print_json(out) : DGF_EXIT_OK;
}

static int stats_json(const struct dgf_ledger_summary *summary, struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    dgf_json_key(&json, "log_id");
    dgf_json_str(&json, summary->log_id);
    ledger_put_number(&json, "size", summary->size);
    ledger_put_hex(&json, "root", summary->root);
    ledger_put_number(&json, "first", summary->first);
    ledger_put_number(&json, "batches", summary->batches);
    ledger_put_number(&json, "bytes", summary->bytes);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < summary->marks.n_positions; i++) {
        dgf_json_key_bytes(&json, summary->marks.positions[i].source);
        dgf_json_text(&json, summary->marks.positions[i].text);
    }
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    return ledger_print_json(out);
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
    int exit_code = ledger_find_journal(dir, &first);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    rc = dgf_ledger_summarize(dir, &summary, &err);
    if (rc)
        return ledger_fail(rc, &err);
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
    ledger_put_number(&json, "size", verdict->size);
    ledger_put_hex(&json, "root", verdict->root);
    dgf_json_key(&json, "anchored");
    dgf_json_bool(&json, false);
    ledger_put_finding(&json, verdict->class ? verdict->text : NULL);
    dgf_json_end_object(&json);
    exit_code = ledger_print_json(&out);
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
    printf("%ssize %" PRIu64 "\nroot ",
           verdict->result == DGF_VERIFIED_TAMPERED ? "confirmed up to " : "",
           verdict->size);
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
    int exit_code = ledger_find_journal(dir, &first);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    rc = dgf_ledger_verify(dir, &verdict, &err);
    if (rc)
        return ledger_fail(rc, &err);
    if (as_json && verdict_json(&verdict))
        return DGF_EXIT_CANNOT;
    if (as_json && verdict.class)
        fprintf(stderr, "dgf ledger: %s\n", verdict.text);
    else if (!as_json)
        verdict_human(&verdict);
    return exits[verdict.result];
}

/* ---- what to do ---------------------------------------------------------- */

static int run_ls(const struct dgf_args *args, const char *dir, bool as_json)
{
    (void)args;
    return ledger_is_archive(dir) ? ledger_list_archive(dir, as_json)
                                  : show(dir, as_json, list);
}

static int run_stats(const struct dgf_args *args, const char *dir, bool as_json)
{
    (void)args;
    return ledger_is_archive(dir) ? ledger_stats_archive(dir, as_json)
                                  : show(dir, as_json, stats);
}

static int run_verify(const struct dgf_args *args, const char *dir, bool as_json)
{
    if (dgf_args_has(args, "key") || dgf_args_has(args, "anchor") ||
        ledger_is_archive(dir))
        return ledger_verify_archive(args, dir, as_json);
    return verify(dir, as_json);
}

struct action {
    const char *name;
    int (*run)(const struct dgf_args *args, const char *dir, bool as_json);
    int n_operands; /* besides the folder, which comes first */
    bool no_folder; /* then all operands are the action's own */
    const char *operands;
};
static const struct action actions[] = {
    {"ls", run_ls, 0, false, ""},
    {"cat", ledger_cat, 0, false, ""},
    {"stats", run_stats, 0, false, ""},
    {"verify", run_verify, 0, false, ""},
    {"prove", ledger_prove, 1, false, "a record: its index or its id"},
    {"export", ledger_export, 0, false, ""},
    {"check-proof", ledger_check_proof, 1, true, "a proof"},
    {"consistency", ledger_consistency, 2, true, "two checkpoints"},
};

/* An option that would be ignored was meant for something. */
static const struct {
    const char *option, *of;
} belongs[] = {
    {"since", "cat export"},
    {"until", "cat export"},
    {"kind", "cat export"},
    {"policy", "cat export"},
    {"source", "cat export"},
    {"anchor", "verify recover"},
    {"lossy", "recover"},
    {"tlog-tiles", "export"},
    {"csv", "export"},
    {"key", "verify prove check-proof consistency recover"},
    {"from", "recover"},
    {"log", "ls cat stats verify prove export recover"},
    {"container", "ls cat stats verify prove export"},
    {"sink", "ls cat stats verify prove export"},
    {"new-key", "rotate-key"},
};

static bool names(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = words; (at = strstr(at, word)); at++)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
            return true;
    return false;
}

static int check_options(const struct dgf_args *args, const struct action *action)
{
    const char *format = dgf_args_get(args, "format");
    int n = args->n_operands - 1 - action->n_operands;

    if (format && strcmp(format, "json") != 0 && strcmp(format, "human") != 0)
        return dgf_usage("ledger", "--format must be human or json");
    for (size_t i = 0; i < DGF_ARRAY_LEN(belongs); i++)
        if (dgf_args_has(args, belongs[i].option) &&
            !names(belongs[i].of, action->name))
            return dgf_usage("ledger", "--%s is for %s", belongs[i].option,
                             belongs[i].of);
    if (n < 0)
        return dgf_usage("ledger", "%s needs %s", action->name, action->operands);
    n += dgf_args_has(args, "data-dir") + dgf_args_has(args, "container") +
         dgf_args_has(args, "sink");
    if (n > 1)
        return dgf_usage("ledger", "one folder, container or sink at a time");
    return DGF_EXIT_OK;
}

static int find_action(const struct dgf_args *args, const struct action **ret)
{
    const char *known[DGF_ARRAY_LEN(actions) + 3] = {"recover", "key", "rotate-key"};
    const char *near;

    if (args->n_operands == 0)
        return dgf_usage("ledger", "what to do? ls, cat, stats, verify, prove, "
                                   "check-proof, consistency, export, recover, key or "
                                   "rotate-key");
    for (size_t i = 0; i < DGF_ARRAY_LEN(actions); i++) {
        known[3 + i] = actions[i].name;
        if (strcmp(actions[i].name, args->operands[0]) == 0) {
            *ret = &actions[i];
            return DGF_EXIT_OK;
        }
    }
    near = dgf_nearest(args->operands[0], known, DGF_ARRAY_LEN(known));
    if (near)
        return dgf_usage("ledger", "cannot '%s'; did you mean '%s'?", args->operands[0],
                         near);
    return dgf_usage("ledger",
                     "cannot '%s': it is ls, cat, stats, verify, prove, check-proof, "
                     "consistency, export, recover, key or rotate-key",
                     args->operands[0]);
}

/* The folder: an operand, an option, or what the configuration says. */
static int find_dir(const struct dgf_args *args, const struct action *action,
                    struct dgf_settings **ret_settings, const char **ret)
{
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    int at = action->no_folder ? 1 + action->n_operands : 1;

    dgf_findings_init(&findings);
    ledger_use_log(dgf_args_get(args, "log"));
    *ret =
        dgf_args_get(args, dgf_args_has(args, "container") ? "container" : "data-dir");
    if (args->n_operands == 2 + action->n_operands)
        *ret = args->operands[at];
    if (*ret || (action->no_folder && !dgf_args_has(args, "config")))
        return DGF_EXIT_OK;
    if (dgf_settings_load(dgf_args_get(args, "config"), &findings, ret_settings))
        return dgf_report_findings(&findings);
    *ret = (*ret_settings)->agent.data_dir;
    if (dgf_args_has(args, "sink")) {
        *ret = "sink:";
        return ledger_use_sink(*ret_settings, dgf_args_get(args, "sink"));
    }
    return DGF_EXIT_OK;
}

int dgf_cmd_ledger(int argc, char **argv)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *settings = NULL;
    const struct action *action = NULL;
    struct dgf_args args;
    const char *dir, *format;
    int exit_code = dgf_args_read("ledger", dgf_args_ledger, argc, argv, &args);

    if (exit_code || ledger_write(&args, &exit_code))
        return exit_code;
    exit_code = find_action(&args, &action);
    if (!exit_code)
        exit_code = check_options(&args, action);
    if (!exit_code)
        exit_code = find_dir(&args, action, &settings, &dir);
    if (exit_code)
        return exit_code;
    format = dgf_args_get(&args, "format");
    exit_code = action->run(&args, dir, format && strcmp(format, "json") == 0);
    if (!fflush(stdout) && !ferror(stdout))
        return exit_code;
    if (errno != EPIPE) /* who ends a pipe early has read enough */
        fprintf(stderr, "dgf ledger: cannot write the output: %m\n");
    return exit_code ? exit_code : DGF_EXIT_CANNOT;
}
