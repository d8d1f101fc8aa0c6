/* cmd_status.c - the state of an agent, from status.json in its data_dir. */
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cmd.h"
#include "pipeline.h"
#include "settings.h"

const struct dgf_arg dgf_args_status[] = {
    DGF_ARG_CONFIG,
    {"data-dir", 'd', "FOLDER",
     "data_dir of the agent, instead of a configuration file"},
    DGF_ARG_FORMAT,
    DGF_ARG_END};

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void print_parts(json_t *parts, const char *title)
{
    const char *name;
    json_t *part;

    if (json_object_size(parts))
        printf("%s\n", title);
    json_object_foreach(parts, name, part)
    {
        printf("  %-14s %-10s %-10s since %s", name, text_of(part, "type"),
               text_of(part, "state"), text_of(part, "since"));
        if (json_object_get(part, "position"))
            printf("  at %s", text_of(part, "position"));
        if (json_object_get(part, "next"))
            printf("  next %lld",
                   (long long)json_integer_value(json_object_get(part, "next")));
        printf("\n");
        if (*text_of(part, "reason"))
            printf("  %-14s %s\n", "", text_of(part, "reason"));
    }
}

/* Of an agent that writes no more, what it wrote last is no news. */
static enum dgf_rc set_states(json_t *parts, const char *state)
{
    const char *name;
    json_t *part;

    json_object_foreach(
        parts, name,
        part) if (json_object_set_new(part, "state",
                                      json_string(state))) return DGF_NOMEM;
    return DGF_OK;
}

/* The file outlives its agent, and an agent may hang: the lock says whether there is
 * one, the age of what it writes every few seconds whether it still works. */
static enum dgf_rc set_health(const char *dir, json_t *status)
{
    char path[4096];
    struct stat st;
    const char *health, *state;
    enum dgf_rc rc;

    (void)snprintf(path, sizeof(path), "%.4000s/lock", dir);
    if (!dgf_lock_held(path)) {
        health = state = "not running";
    } else {
        (void)snprintf(path, sizeof(path), "%.4000s/status.json", dir);
        if (stat(path, &st) ||
            dgf_clock_ns() - (int64_t)st.st_mtim.tv_sec * INT64_C(1000000000) <
                3 * DGF_STATUS_EVERY_NS)
            return DGF_OK;
        health = "silent";
        state = "unknown";
    }
    if (json_object_set_new(status, "health", json_string(health)))
        return DGF_NOMEM;
    rc = set_states(json_object_get(status, "sources"), state);
    return rc ? rc : set_states(json_object_get(status, "sinks"), state);
}

static void print_human(json_t *status)
{
    const char *health = text_of(status, "health");
    bool silent = strcmp(health, "silent") == 0;
    json_t *ledger = json_object_get(status, "ledger");

    printf("%s  %s (%s)  %s %s\n", health, text_of(status, "agent"),
           text_of(status, "env"), silent ? "since" : "written",
           text_of(status, "written"));
    if (silent)
        printf(
            "        process %lld has data_dir, but writes no status.json: it hangs, "
            "or there is no space\n",
            (long long)json_integer_value(json_object_get(status, "pid")));
    printf("ledger  %lld records  log %s\n",
           (long long)json_integer_value(json_object_get(ledger, "size")),
           text_of(ledger, "log_id"));
    if (json_integer_value(json_object_get(status, "policies")) == 0)
        printf("policies  none: nothing is judged\n");
    if (*text_of(status, "reload_error"))
        printf("reload  refused: %s\n", text_of(status, "reload_error"));
    print_parts(json_object_get(status, "sources"), "sources");
    print_parts(json_object_get(status, "sinks"), "sinks");
}

static enum dgf_rc print_json(json_t *status)
{
    char *text = json_dumps(status, JSON_COMPACT);

    if (!text)
        return DGF_NOMEM;
    printf("%s\n", text);
    dgf_free(text);
    return DGF_OK;
}

int dgf_cmd_status(int argc, char **argv)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    DGF_CLEANUP_JSON json_t *status = NULL;
    struct dgf_args args;
    struct dgf_err err = {0};
    const char *dir, *format;
    char path[4096];
    int exit_code = dgf_args_read("status", dgf_args_status, argc, argv, &args);

    dgf_findings_init(&findings);
    dgf_buf_init(&text, 1 << 20);
    if (exit_code)
        return exit_code;
    dir = dgf_args_get(&args, "data-dir");
    if (!dir) {
        if (dgf_settings_load(dgf_args_get(&args, "config"), &findings, &s))
            return dgf_report_findings(&findings);
        dir = s->agent.data_dir;
    }
    snprintf(path, sizeof(path), "%s/status.json", dir);
    if (dgf_file_slurp(path, 1 << 20, &text, &err) ||
        dgf_json_parse(dgf_buf_bytes(&text), 1 << 20, 32, &status, &err)) {
        fprintf(stderr, "dgf status: %s\n", err.text);
        return DGF_EXIT_CANNOT;
    }
    if (set_health(dir, status))
        return DGF_EXIT_CANNOT;
    format = dgf_args_get(&args, "format");
    if (!format || strcmp(format, "json") != 0)
        print_human(status);
    else if (print_json(status))
        return DGF_EXIT_CANNOT;
    return strcmp(text_of(status, "health"), "ok") == 0 ? DGF_EXIT_OK
                                                        : DGF_EXIT_FINDINGS;
}
