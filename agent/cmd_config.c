/* cmd_config.c - the effective configuration, its reference and its schema. */
#include <string.h>

#include "cmd.h"
#include "settings.h"

const struct dgf_arg dgf_args_config[] = {
    DGF_ARG_CONFIG,
    {"format", 0, "FORMAT", "human (YAML) or json; of show"},
    DGF_ARG_END};

static int show(const struct dgf_args *args, bool json, struct dgf_buf *out)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};

    dgf_findings_init(&findings);
    if (dgf_settings_load(dgf_args_get(args, "config"), &findings, &s))
        return dgf_report_findings(&findings);
    (void)dgf_report_findings(&findings);
    if (json)
        dgf_settings_show_json(s, out);
    else
        dgf_settings_show(s, out);
    return DGF_EXIT_OK;
}

int dgf_cmd_config(int argc, char **argv)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_args args;
    const char *what, *format;
    bool json;
    int exit_code = dgf_args_read("config", dgf_args_config, argc, argv, &args);

    dgf_buf_init(&out, 16 << 20);
    if (exit_code)
        return exit_code;
    format = dgf_args_get(&args, "format");
    json = format && strcmp(format, "json") == 0;
    if (format && !json && strcmp(format, "human") != 0)
        return dgf_usage("config", "--format must be human or json");
    what = args.n_operands == 1 ? args.operands[0] : "";
    if (format && strcmp(what, "show") != 0)
        return dgf_usage("config", "--format is of 'show'");
    if (strcmp(what, "show") == 0)
        exit_code = show(&args, json, &out);
    else if (strcmp(what, "reference") == 0)
        dgf_settings_reference(&out);
    else if (strcmp(what, "schema") == 0)
        dgf_settings_schema(&out);
    else
        return dgf_usage("config", "say 'show', 'reference' or 'schema'");
    (void)dgf_buf_write(&out, stdout);
    return dgf_buf_rc(&out) ? DGF_EXIT_CANNOT : exit_code;
}
