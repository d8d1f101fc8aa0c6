/* cmd_check.c - preflight: loads everything, connects everywhere, changes
 * nothing, and says what is missing with the fix beside it. */
#include <string.h>

#include "cmd.h"
#include "keys.h"
#include "settings.h"
#include "settings_env.h"

const struct dgf_arg dgf_args_check[] = {
    DGF_ARG_CONFIG,
    DGF_ARG_FORMAT,
    {"fix-script", 0, NULL, "print only what mends the findings"},
    DGF_ARG_END};

struct preflight {
    struct dgf_preflight *policies;
    struct dgf_findings *findings;
    size_t n_found;
};

static void found(struct dgf_source *src, struct dgf_object *object)
{
    struct preflight *preflight = src->host_self;

    preflight->n_found++;
    if (dgf_preflight_object(preflight->policies, src, object, preflight->findings))
        preflight->findings->nomem = true;
}

/* Findings from list[from] on that name an option stand at its value. */
static void place(const struct dgf_settings *s, const struct dgf_yaml_node *parts,
                  const char *name, struct dgf_findings *findings, size_t from)
{
    const struct dgf_yaml_node *part = dgf_yaml_get(parts, name);

    if (part)
        dgf_opt_place(s->doc, part, findings, from);
    dgf_settings_forget_lines(findings);
}

/* The option that says where a part connects to; NULL: it is no single one. */
static const char *address_option(const struct dgf_opt *opts)
{
    for (; opts && opts->name; opts++)
        if (strcmp(opts->name, "url") == 0 || strcmp(opts->name, "brokers") == 0)
            return opts->name;
    return NULL;
}

/* What is wrong with the configuration of a part stands at its name there. */
static void tell_failure(const struct dgf_settings *s,
                         const struct dgf_yaml_node *parts, const char *what,
                         const char *name, const char *type, const struct dgf_opt *opts,
                         const char *code, const struct dgf_err *err,
                         struct dgf_findings *findings)
{
    for (size_t i = 0; err->rc == DGF_BAD_CONFIG && i < parts->n; i++)
        if (strcmp(parts->keys[i]->text, name) == 0) {
            dgf_yaml_finding(s->doc, findings, DGF_FINDING_ERROR, code, parts->keys[i],
                             "%s.%s (%s): %s", what, name, type, err->text);
            return;
        }
    dgf_findings_add(findings, DGF_FINDING_ERROR, code, (struct dgf_mark){0}, NULL,
                     "%s.%s (%s): %s", what, name, type, err->text);
    if (address_option(opts))
        dgf_findings_about(findings, "%s", address_option(opts));
}

static void check_source(const struct dgf_source_conf *conf,
                         const struct dgf_settings *s, struct dgf_preflight *policies,
                         struct dgf_findings *findings)
{
    static const struct dgf_source_host host = {.found = found};
    struct dgf_source *src = dgf_calloc(1, conf->type->self_size);
    struct preflight preflight = {policies, findings, 0};
    struct dgf_err err = {0};
    size_t before = findings->n;

    if (!src) {
        findings->nomem = true;
        return;
    }
    src->type = conf->type;
    src->name = conf->name;
    src->conf = conf->conf;
    src->labels = conf->labels;
    src->host = &host;
    src->host_self = &preflight;
    if (conf->type->check && conf->type->check(src, findings, &err))
        tell_failure(s, s->sources_node, "sources", conf->name, conf->type->name, NULL,
                     "E0501", &err, findings);
    place(s, s->sources_node, conf->name, findings, before);
    if (preflight.n_found == 0)
        dgf_preflight_silent(policies, conf->name);
    dgf_free(src);
}

static void check_sink(const struct dgf_sink_setup *setup, const struct dgf_settings *s,
                       struct dgf_findings *findings)
{
    struct dgf_sink *sink = dgf_calloc(1, setup->type->self_size);
    struct dgf_err err = {0};
    size_t before = findings->n;

    if (!sink) {
        findings->nomem = true;
        return;
    }
    sink->type = setup->type;
    sink->name = setup->name;
    sink->conf = setup->conf;
    sink->agent = s->agent.name;
    sink->env = s->agent.env;
    sink->log_id = "";
    if (setup->type->check && setup->type->check(sink, findings, &err))
        tell_failure(s, s->sinks_node, "sinks", setup->name, setup->type->name,
                     setup->type->opts, "E0502", &err, findings);
    place(s, s->sinks_node, setup->name, findings, before);
    dgf_free(sink);
}

static void check_keys(const struct dgf_settings *s, struct dgf_findings *findings)
{
    const struct {
        const char *name, *path;
        bool used;
    } keys[] = {{"tenant", s->keys.tenant, true},
                {"token", s->keys.token, true},
                {"sign", s->keys.sign, s->ledger.archive}};
    size_t before = findings->n;

    for (size_t i = 0; i < DGF_ARRAY_LEN(keys); i++) {
        struct dgf_err err = {0};
        const char *code = NULL;

        if (!keys[i].used ||
            !dgf_key_look(s->agent.data_dir, keys[i].name, keys[i].path, &code, &err))
            continue;
        dgf_findings_add(findings, DGF_FINDING_ERROR, code, (struct dgf_mark){0}, NULL,
                         "keys.%s: %s", keys[i].name, err.text);
        if (keys[i].path)
            dgf_findings_about(findings, "keys.%s", keys[i].name);
    }
    dgf_opt_place(s->doc, dgf_yaml_root(s->doc), findings, before);
    dgf_settings_forget_lines(findings);
}

/* Is this fix also that of an earlier finding, or of one that matters more? */
static bool is_repeated(const struct dgf_findings *findings, size_t at)
{
    const struct dgf_finding *this = &findings->list[at];

    for (size_t i = 0; i < findings->n; i++) {
        const struct dgf_finding *other = &findings->list[i];
        bool note = other->severity == DGF_FINDING_NOTE;

        if (i != at && other->fix && strcmp(other->fix, this->fix) == 0 &&
            (this->severity == DGF_FINDING_NOTE ? !note || i < at : !note && i < at))
            return true;
    }
    return false;
}

/* Codes 060x are those of PostgreSQL; what a policy needs of a table is SQL as well. */
static bool is_sql(const struct dgf_finding *finding)
{
    return strncmp(finding->code + 1, "060", 3) == 0 ||
           strcmp(finding->code, "E0441") == 0;
}

static void print_fix(const struct dgf_finding *finding, const char *prefix)
{
    const char *at = finding->fix;

    printf("-- %s\n", finding->text);
    while (*at) {
        int len = (int)strcspn(at, "\n");

        printf("%s%s%.*s\n", prefix,
               finding->severity == DGF_FINDING_NOTE ? "-- if wanted: " : "", len, at);
        at += len + (at[len] == '\n');
    }
}

/* psql can run what is printed as soon as some of it is SQL: the lines of other
 * tools are comments then. */
static void print_fixes(const struct dgf_findings *findings)
{
    bool sql = false;

    for (size_t i = 0; i < findings->n; i++)
        sql |= findings->list[i].fix && is_sql(&findings->list[i]);
    for (size_t i = 0; i < findings->n; i++)
        if (findings->list[i].fix && !is_repeated(findings, i))
            print_fix(&findings->list[i],
                      sql && !is_sql(&findings->list[i]) ? "-- outside psql: " : "");
}

int dgf_cmd_check(int argc, char **argv)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
    DGF_CLEANUP(dgf_preflight_free) struct dgf_preflight *policies = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_args args;
    const char *format;
    bool json;
    int exit_code = dgf_args_read("check", dgf_args_check, argc, argv, &args);

    dgf_buf_init(&out, 16 << 20);
    dgf_findings_init(&findings);
    if (exit_code)
        return exit_code;
    if (args.n_operands)
        return dgf_usage("check", "unexpected '%s'", args.operands[0]);
    format = dgf_args_get(&args, "format");
    json = format && strcmp(format, "json") == 0;
    if (format && !json && strcmp(format, "human") != 0)
        return dgf_usage("check", "--format must be human or json");
    if (dgf_settings_load(dgf_args_get(&args, "config"), &findings, &s) ||
        dgf_settings_policies(s, &findings, &set))
        return dgf_report_findings(&findings);
    policies = dgf_preflight_new(set);
    if (!policies)
        return DGF_EXIT_CANNOT;
    check_keys(s, &findings);
    for (size_t i = 0; i < s->n_sources; i++)
        check_source(&s->sources[i], s, policies, &findings);
    dgf_preflight_end(policies, &findings);
    for (size_t i = 0; i < s->n_sinks; i++)
        check_sink(&s->sinks[i], s, &findings);
    if (dgf_args_has(&args, "fix-script")) {
        print_fixes(&findings);
    } else {
        dgf_findings_print(&findings, json ? DGF_FINDINGS_JSON : DGF_FINDINGS_HUMAN,
                           dgf_colour(stdout), &out);
        if (out.len)
            (void)dgf_buf_write(&out, stdout);
        if (!json && findings.n == 0)
            printf("ok: %zu sources, %zu sinks, %zu policies\n", s->n_sources,
                   s->n_sinks, dgf_policy_set_count(set));
    }
    if (findings.nomem)
        return DGF_EXIT_CANNOT;
    return findings.n_errors ? DGF_EXIT_FINDINGS : DGF_EXIT_OK; /* it could run */
}
