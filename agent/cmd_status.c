/* cmd_status.c - the state of an agent, from status.json in its data_dir. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "cmd.h"
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

/* The file outlives its agent: say so when the process is gone. */
static bool is_running(json_t *status)
{
    json_int_t pid = json_integer_value(json_object_get(status, "pid"));

    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static int print_human(json_t *status)
{
    bool running = is_running(status);
    const char *health = running ? text_of(status, "health") : "not running";
    json_t *ledger = json_object_get(status, "ledger");

    printf("%s  %s (%s)  written %s\n", health, text_of(status, "agent"),
           text_of(status, "env"), text_of(status, "written"));
    printf("ledger  %lld records  log %s\n",
           (long long)json_integer_value(json_object_get(ledger, "size")),
           text_of(ledger, "log_id"));
    if (*text_of(status, "reload_error"))
        printf("reload  refused: %s\n", text_of(status, "reload_error"));
    print_parts(json_object_get(status, "sources"), "sources");
    print_parts(json_object_get(status, "sinks"), "sinks");
    return strcmp(health, "ok") == 0 ? DGF_EXIT_OK : DGF_EXIT_FINDINGS;
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
    format = dgf_args_get(&args, "format");
    if (format && strcmp(format, "json") == 0) {
        (void)dgf_buf_write(&text, stdout);
        return DGF_EXIT_OK;
    }
    return print_human(status);
}
