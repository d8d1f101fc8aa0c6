#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"
#include "cmd.h"
#include "registry.h"
#include "settings_env.h"
#include "settings_hints.h"
#include "settings_opts.h"

#define AT(f) offsetof(struct dgf_settings, f)

static const struct dgf_opt agent_opts[] = {
    {"name", DGF_OPT_STR, AT(agent.name), 0, "dgf",
     .help = "names this agent in every record"},
    {"env", DGF_OPT_STR, AT(agent.env), 0, "default",
     .help = "environment; part of topic names and records"},
    {"data_dir", DGF_OPT_STR, AT(agent.data_dir), 0, "/var/lib/dgf",
     .help = "folder of the ledger, the keys and status.json; one agent owns it"},
    {"ack", DGF_OPT_ENUM, AT(agent.ack), 0, "local", .words = "local|sinks",
     .help =
         "acknowledge a source after the local fsync, or when every required sink has the "
         "records too"},
    DGF_OPT_END};

static const struct dgf_opt ledger_opts[] = {
    {"keep", DGF_OPT_DURATION, AT(ledger.keep_ns), 0, "30d", "0s", "3650d",
     "how long delivered segments stay, of the journal and of the archive"},
    {"journal_bytes", DGF_OPT_SIZE, AT(ledger.journal_bytes), 0, "4GiB", "16MiB",
     "16TiB", "beyond it sources pause until sinks have caught up"},
    {"segment_bytes", DGF_OPT_SIZE, AT(ledger.segment_bytes), 0, "64MiB", "1MiB",
     "1GiB", "size of one journal file; at most an eighth of journal_bytes is used"},
    {"archive", DGF_OPT_BOOL, AT(ledger.archive), 0, "true",
     .help = "keep a signed archive in data_dir/archive, for others to verify"},
    {"cut_bytes", DGF_OPT_SIZE, AT(ledger.cut_bytes), 0, "32MiB", "64KiB", "256MiB",
     "an archive segment ends when its records reach this"},
    {"cut_every", DGF_OPT_DURATION, AT(ledger.cut_every_ns), 0, "60s", "1s", "60s",
     "and at least this often, also when nothing happens; a checkpoint is signed then"},
    DGF_OPT_END};

static const struct dgf_opt limits_opts[] = {
    {"event_bytes", DGF_OPT_SIZE, AT(limits.event_bytes), 0, "16MiB", "64KiB", "1GiB",
     "largest event; a larger one becomes an undecodable record"},
    DGF_OPT_END};

static const struct dgf_opt keys_opts[] = {
    {"tenant", DGF_OPT_STR, AT(keys.tenant), 0, NULL,
     .help =
         "file with 64 hex digits, mode 0600: makes violation ids; default: made in data_dir/keys"},
    {"token", DGF_OPT_STR, AT(keys.token), 0, NULL,
     .help =
         "file with 64 hex digits, mode 0600: makes the tokens of hidden values; default: made "
         "in data_dir/keys"},
    {"sign", DGF_OPT_STR, AT(keys.sign), 0, NULL,
     .help =
         "file with 64 hex digits, mode 0600: the Ed25519 seed that signs the archive; default: "
         "made in data_dir/keys"},
    DGF_OPT_END};

static const struct dgf_opt log_opts[] = {{"level", DGF_OPT_ENUM, AT(log.level), 0,
                                           "info", .words = "debug|info|warn|error",
                                           .help = "least severe line that is logged"},
                                          DGF_OPT_END};

const struct dgf_opt dgf_settings_opts[] = {
    {"agent", DGF_OPT_GROUP, 0, .help = "this agent", .group = agent_opts},
    {"sources", DGF_OPT_NODE, AT(sources_node), DGF_REQUIRED,
     .help = "databases to watch, by name",
     .example = "sources: {orders: {type: postgres, url: \"${ORDERS_URL}\"}}"},
    {"sinks", DGF_OPT_NODE, AT(sinks_node), .help = "where records go, by name"},
    {"policies", DGF_OPT_STR_LIST, AT(policies), .help = "policy files and folders"},
    {"classification", DGF_OPT_NODE, AT(classification),
     .help = "list of {match, class}: what may be shown"},
    {"naming", DGF_OPT_NODE, AT(naming), .help = "module names for naming policies"},
    {"ledger", DGF_OPT_GROUP, 0, .help = "journal and archive", .group = ledger_opts},
    {"limits", DGF_OPT_GROUP, 0, .help = "caps", .group = limits_opts},
    {"keys", DGF_OPT_GROUP, 0, .help = "secrets of the tenant", .group = keys_opts},
    {"log", DGF_OPT_GROUP, 0, .help = "what is logged", .group = log_opts},
    DGF_OPT_END};

struct loader {
    struct dgf_settings *settings;
    struct dgf_findings *findings;
};

/* ---- sources and sinks ------------------------------------------------------- */

static const char *type_of(struct loader *l, const struct dgf_yaml_node *node,
                           const char *what)
{
    struct dgf_yaml_node *type;

    if (node->kind != DGF_YAML_MAP) {
        dgf_yaml_finding(l->settings->doc, l->findings, DGF_FINDING_ERROR, "E0201",
                         node, "%s must be a map", what);
        return NULL;
    }
    type = dgf_yaml_get(node, "type");
    if (!type || type->kind != DGF_YAML_STR) {
        dgf_yaml_finding(l->settings->doc, l->findings, DGF_FINDING_ERROR, "E0203",
                         type ? type : node,
                         "%s: 'type' is missing; example: type: postgres", what);
        return NULL;
    }
    return type->text;
}

const struct dgf_opt dgf_settings_label_opts[] = {
    {"labels", DGF_OPT_STR_MAP, 0, 0, NULL, .help = "copied to event.labels"},
    DGF_OPT_END};

static bool name_ok(struct loader *l, const struct dgf_yaml_node *key)
{
    for (const char *c = key->text; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' ||
              *c == '-')) {
            dgf_yaml_finding(l->settings->doc, l->findings, DGF_FINDING_ERROR, "E0209",
                             key, "name '%s' may only hold a-z, 0-9, '-' and '_'",
                             key->text);
            return false;
        }
    if (key->text_len <= 63)
        return true;
    dgf_yaml_finding(l->settings->doc, l->findings, DGF_FINDING_ERROR, "E0209", key,
                     "name '%.63s...' is longer than 63 characters", key->text);
    return false;
}

/* The type itself may have said more exactly what is unsafe. */
static bool is_said(const struct dgf_findings *findings, const char *what)
{
    for (size_t i = 0; i < findings->n; i++)
        if (strcmp(findings->list[i].code, "W0201") == 0 &&
            strncmp(findings->list[i].text, what, strlen(what)) == 0)
            return true;
    return false;
}

/* The option as it is in force: it may come from a reference. */
static void note_insecure(struct loader *l, const struct dgf_yaml_node *node,
                          const struct dgf_opt *opts, const void *conf,
                          const char *what)
{
    const struct dgf_yaml_node *at = dgf_yaml_get(node, "insecure");
    bool on = false;

    for (; opts->name; opts++)
        if (opts->type == DGF_OPT_BOOL && strcmp(opts->name, "insecure") == 0)
            on = *(const bool *)((const uint8_t *)conf + opts->offset);
    if (!on)
        return;
    l->settings->insecure = true;
    if (is_said(l->findings, what))
        return;
    dgf_yaml_finding(l->settings->doc, l->findings, DGF_FINDING_WARNING, "W0201",
                     at ? at : node, "%s runs without verified encryption", what);
}

/* Combinations are looked at beside other mistakes, but not when a value that was
 * given could not be had: it would seem to be missing, or another one. */
static bool values_known(const struct dgf_findings *findings, size_t from)
{
    static const char *const codes[] = {"E0201", "E0207", "E0210", "E0211", "E0212"};

    for (size_t i = from; i < findings->n; i++) {
        const char *code = findings->list[i].code;

        if (findings->list[i].option) /* misspelled, or a word that decides */
            return false;
        for (size_t k = 0; k < DGF_ARRAY_LEN(codes); k++)
            if (strcmp(code, codes[k]) == 0)
                return false;
    }
    return !findings->nomem;
}

static void load_source(struct loader *l, const struct dgf_yaml_node *key,
                        const struct dgf_yaml_node *node)
{
    static const char *const ignore[] = {"type", "labels", NULL};
    struct dgf_settings *s = l->settings;
    struct dgf_source_conf *conf = &s->sources[s->n_sources];
    const struct dgf_source_type *type;
    const char *word;
    char what[256];
    size_t before = l->findings->n;

    snprintf(what, sizeof(what), "sources.%s", key->text);
    word = name_ok(l, key) ? type_of(l, node, what) : NULL;
    if (!word)
        return;
    type = dgf_source_type_find(word);
    if (!type) {
        dgf_settings_unknown_type(s->doc, node, what, "source", l->findings);
        return;
    }
    snprintf(what, sizeof(what), "sources.%s (%s)", key->text, type->name);
    *conf = (struct dgf_source_conf){.name = key->text, .type = type};
    conf->conf = dgf_calloc(1, type->conf_size);
    if (!conf->conf) {
        l->findings->nomem = true;
        return;
    }
    s->n_sources++;
    dgf_opt_load(type->opts, conf->conf, s->doc, node, what, ignore, l->findings);
    if (dgf_yaml_get(node, "labels")) {
        struct dgf_yaml_node *labels_key = NULL,
                             *labels_item = dgf_yaml_get(node, "labels");
        struct dgf_yaml_node one = *node;

        for (size_t i = 0; i < node->n; i++)
            if (node->items[i] == labels_item)
                labels_key = node->keys[i];
        one.n = 1;
        one.keys = &labels_key;
        one.items = &labels_item;
        dgf_opt_load(dgf_settings_label_opts, &conf->labels, s->doc, &one, what, NULL,
                     l->findings);
    }
    if (type->validate && values_known(l->findings, before))
        type->validate(conf->conf, what, node->mark, l->findings);
    dgf_opt_place(s->doc, node, l->findings, before);
    note_insecure(l, node, type->opts, conf->conf, what);
}

static void load_sink(struct loader *l, const struct dgf_yaml_node *key,
                      const struct dgf_yaml_node *node)
{
    static const char *const ignore[] = {"type", NULL};
    struct dgf_settings *s = l->settings;
    struct dgf_sink_setup *setup = &s->sinks[s->n_sinks];
    const struct dgf_sink_type *type;
    const char *word;
    char what[256];
    size_t before = l->findings->n;

    snprintf(what, sizeof(what), "sinks.%s", key->text);
    word = name_ok(l, key) ? type_of(l, node, what) : NULL;
    if (!word)
        return;
    type = dgf_sink_type_find(word);
    if (!type) {
        dgf_settings_unknown_type(s->doc, node, what, "sink", l->findings);
        return;
    }
    snprintf(what, sizeof(what), "sinks.%s (%s)", key->text, type->name);
    *setup = (struct dgf_sink_setup){.name = key->text, .type = type};
    setup->conf = dgf_calloc(1, type->conf_size);
    if (!setup->conf) {
        l->findings->nomem = true;
        return;
    }
    s->n_sinks++;
    dgf_opt_load(type->opts, setup->conf, s->doc, node, what, ignore, l->findings);
    if (type->validate && values_known(l->findings, before))
        type->validate(setup->conf, what, node->mark, l->findings);
    dgf_opt_place(s->doc, node, l->findings, before);
    note_insecure(l, node, type->opts, setup->conf, what);
}

static void load_parts(struct loader *l)
{
    struct dgf_settings *s = l->settings;
    const struct dgf_yaml_node *sources = s->sources_node, *sinks = s->sinks_node;
    size_t n_sources = sources && sources->kind == DGF_YAML_MAP ? sources->n : 0;
    size_t n_sinks = sinks && sinks->kind == DGF_YAML_MAP ? sinks->n : 0;

    s->sources = dgf_calloc(n_sources + 1, sizeof(*s->sources));
    s->sinks = dgf_calloc(n_sinks + 1, sizeof(*s->sinks));
    if (!s->sources || !s->sinks) {
        l->findings->nomem = true;
        return;
    }
    if (sources && n_sources == 0)
        dgf_yaml_finding(s->doc, l->findings, DGF_FINDING_ERROR, "E0203", sources,
                         "'sources' must name at least one source");
    if (sinks && sinks->kind != DGF_YAML_MAP && sinks->kind != DGF_YAML_NULL)
        dgf_yaml_finding(s->doc, l->findings, DGF_FINDING_ERROR, "E0201", sinks,
                         "'sinks' must be a map");
    for (size_t i = 0; i < n_sources; i++)
        load_source(l, sources->keys[i], sources->items[i]);
    for (size_t i = 0; i < n_sinks; i++)
        load_sink(l, sinks->keys[i], sinks->items[i]);
}

/* ---- paths and the record of the configuration ---- */

/* Relative paths are relative to the file, so that it works from anywhere. */
static bool make_absolute(struct loader *l, char **path)
{
    char *full;
    size_t size;

    if (!*path || (*path)[0] == '/')
        return true;
    size = strlen(l->settings->folder) + strlen(*path) + 2;
    full = dgf_malloc(size);
    if (!full) {
        l->findings->nomem = true;
        return false;
    }
    snprintf(full, size, "%s/%s", l->settings->folder, *path);
    dgf_free(*path);
    *path = full;
    return true;
}

static void resolve_paths(struct loader *l)
{
    struct dgf_settings *s = l->settings;

    make_absolute(l, &s->agent.data_dir);
    make_absolute(l, &s->keys.tenant);
    make_absolute(l, &s->keys.token);
    make_absolute(l, &s->keys.sign);
    for (size_t i = 0; i < s->policies.n; i++)
        make_absolute(l, &s->policies.list[i]);
}

static void describe(struct loader *l)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf shown = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_json json = dgf_json_of(&out);
    struct dgf_settings *s = l->settings;
    uint8_t digest[DGF_SHA256_LEN];

    dgf_buf_init(&shown, 1 << 20);
    dgf_buf_init(&out, 60000);
    dgf_settings_show(s, &shown);
    dgf_sha256(dgf_buf_bytes(&shown), digest);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "digest");
    dgf_buf_add_str(&out, "\"sha256:");
    dgf_buf_add_hex(&out, dgf_bytes_of(digest, sizeof(digest)));
    dgf_buf_add_byte(&out, '"');
    json.comma = true;
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < s->n_sources; i++) {
        dgf_json_key(&json, s->sources[i].name);
        dgf_json_str(&json, s->sources[i].type->name);
    }
    dgf_json_end_object(&json);
    dgf_json_key(&json, "sinks");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < s->n_sinks; i++) {
        dgf_json_key(&json, s->sinks[i].name);
        dgf_json_str(&json, s->sinks[i].type->name);
    }
    dgf_json_end_object(&json);
    dgf_json_key(&json, "insecure");
    dgf_json_bool(&json, s->insecure);
    dgf_json_end_object(&json);
    s->config_json = dgf_strdup(dgf_buf_str(&out));
    if (!s->config_json || dgf_buf_rc(&out) || dgf_buf_rc(&shown))
        l->findings->nomem = true;
}

/* ---- load ---- */

static char *folder_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    if (!slash)
        return dgf_strdup(".");
    return dgf_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* A person wants to hear of all errors at once. */
static void policies_too(const struct dgf_settings *s, struct dgf_findings *findings)
{
    struct dgf_policy_set *set = NULL;

    if (!findings->nomem && s->policies.n &&
        dgf_settings_policies(s, findings, &set) == DGF_OK)
        dgf_policy_set_unref(set);
}

static enum dgf_rc no_memory(struct dgf_findings *findings)
{
    findings->nomem = true;
    return DGF_NOMEM;
}

enum dgf_rc dgf_settings_load(const char *path, struct dgf_findings *findings,
                              struct dgf_settings **ret)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = dgf_calloc(1, sizeof(*s));
    struct loader l = {.settings = s, .findings = findings};
    enum dgf_rc rc;

    if (!s)
        return no_memory(findings);
    if (!path && access("dgf.yaml", F_OK) == 0)
        path = "dgf.yaml";
    if (!path && access("/etc/dgf/dgf.yaml", F_OK) == 0)
        path = "/etc/dgf/dgf.yaml";
    s->folder = folder_of(path);
    if (!s->folder)
        return no_memory(findings);
    rc = dgf_settings_read(path, s->folder, findings, &s->doc);
    if (rc == DGF_NOMEM)
        return no_memory(findings);
    if (!s->doc)
        return rc;
    if (!path && !dgf_yaml_get(dgf_yaml_root(s->doc), "sources")) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0101", (struct dgf_mark){0},
                         NULL,
                         "no configuration: there is no dgf.yaml here, no "
                         "/etc/dgf/dgf.yaml, and none of POSTGRESQL_HOST, REDIS_HOST, "
                         "MONGODB_HOST and COSMOS_DB_ENDPOINT is set");
        dgf_findings_fix(findings, "dgf init");
        return DGF_BAD_CONFIG;
    }
    if (!dgf_yaml_root(s->doc)) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0203",
                         (struct dgf_mark){.file = path}, NULL,
                         "configuration: 'sources' is missing; the file is empty");
        return DGF_BAD_CONFIG;
    }
    dgf_opt_load(dgf_settings_opts, s, s->doc, dgf_yaml_root(s->doc), "configuration",
                 NULL, findings);
    load_parts(&l);
    dgf_settings_near_variables(dgf_settings_opts, findings);
    dgf_yaml_quote_lines(s->doc, findings);
    dgf_settings_forget_lines(findings);
    resolve_paths(&l);
    if (findings->n_errors || findings->nomem) {
        policies_too(s, findings);
        return DGF_BAD_CONFIG;
    }
    describe(&l);
    if (findings->nomem)
        return DGF_NOMEM;
    *ret = dgf_steal(s);
    return DGF_OK;
}

void dgf_settings_free(struct dgf_settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_sources; i++) {
        dgf_opt_release(s->sources[i].type->opts, s->sources[i].conf);
        dgf_opt_release(dgf_settings_label_opts, &s->sources[i].labels);
        dgf_free(s->sources[i].conf);
    }
    for (size_t i = 0; i < s->n_sinks; i++) {
        dgf_opt_release(s->sinks[i].type->opts, s->sinks[i].conf);
        dgf_free(s->sinks[i].conf);
    }
    dgf_free(s->sources);
    dgf_free(s->sinks);
    dgf_opt_release(dgf_settings_opts, s);
    dgf_free(s->config_json);
    dgf_free(s->folder);
    dgf_yaml_free(s->doc);
    dgf_free(s);
}

enum dgf_rc dgf_settings_policies(const struct dgf_settings *s,
                                  struct dgf_findings *findings,
                                  struct dgf_policy_set **ret)
{
    const char **names = dgf_calloc(s->n_sources + 1, sizeof(*names));
    const char **types = dgf_calloc(s->n_sources + 1, sizeof(*types));
    struct dgf_policy_world world = {.source_names = names,
                                     .source_types = types,
                                     .n_sources = s->n_sources,
                                     .config = s->doc,
                                     .now_ns = dgf_clock_ns()};
    enum dgf_rc rc = DGF_NOMEM;
    size_t before = findings->n;

    if (names && types) {
        for (size_t i = 0; i < s->n_sources; i++) {
            names[i] = s->sources[i].name;
            types[i] = s->sources[i].type->name;
        }
        rc = dgf_policy_set_load((const char *const *)s->policies.list, s->policies.n,
                                 &world, findings, ret);
        dgf_settings_place_policies(s, findings, before);
    }
    if (!rc && dgf_policy_set_count(*ret) == 0) {
        dgf_findings_add(findings, DGF_FINDING_WARNING, "W0444", (struct dgf_mark){0},
                         NULL, "%s: nothing is judged",
                         s->policies.n ? "there is no policy in what 'policies' names"
                                       : "'policies' names no file and no folder");
        dgf_findings_fix(findings, "policies: [FOLDER]");
    }
    dgf_free(names);
    dgf_free(types);
    return rc == DGF_NOMEM ? no_memory(findings) : rc;
}

int dgf_report_findings(const struct dgf_findings *findings)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};

    dgf_buf_init(&out, 16 << 20);
    dgf_findings_print(findings, DGF_FINDINGS_HUMAN, dgf_colour(stderr), &out);
    if (out.len)
        (void)dgf_buf_write(&out, stderr);
    if (findings->nomem)
        fprintf(stderr, "dgf: out of memory while checking\n");
    return findings->n_errors || findings->nomem ? DGF_EXIT_CONFIG : DGF_EXIT_OK;
}
