#include "settings_env.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

#define MAX_TEXT (1u << 20)
#define PREFIX "DGF_"
#define POLICIES "DGF_POLICIES"

extern char **environ;

/* ---- DGF_SECTION__KEY=value --------------------------------------------------- */

/* Names without a section may be anybody's, but for the one that a configuration
 * made of variables alone cannot do without. */
static bool is_ours(const char *entry, const char *equals)
{
    const char *section = strstr(entry, "__");

    return strncmp(entry, PREFIX, strlen(PREFIX)) == 0 &&
           ((section && section < equals) ||
            strncmp(entry, POLICIES "=", strlen(POLICIES "=")) == 0);
}

/* One variable as a nested flow map: {"agent": {"name": value}}. */
static bool variable_as_yaml(const char *entry, struct dgf_buf *out)
{
    const char *equals = strchr(entry, '=');
    const char *at = entry + strlen(PREFIX);
    int depth = 0;

    if (!equals || !is_ours(entry, equals))
        return false;
    while (at < equals) {
        const char *end = strstr(at, "__");

        if (!end || end > equals)
            end = equals;
        dgf_buf_add_str(out, "{\"");
        for (; at < end; at++)
            dgf_buf_add_byte(out, (uint8_t)tolower((unsigned char)*at));
        dgf_buf_add_str(out, "\": ");
        depth++;
        at = end == equals ? equals : end + 2;
    }
    if (equals[1] == '[' || equals[1] == '{') {
        dgf_buf_add_str(out, equals + 1); /* a list or map, written in flow style */
    } else if (strpbrk(equals + 1, ":#,[]{}&*!|>'\"%@`\\ \t\n") || equals[1] == '\0' ||
               equals[1] == '-') {
        dgf_buf_add_byte(out, '"');
        dgf_json_escape(out, dgf_bytes_str(equals + 1));
        dgf_buf_add_byte(out, '"');
    } else {
        dgf_buf_add_str(out, equals + 1); /* numbers and booleans keep their type */
    }
    while (depth-- > 0)
        dgf_buf_add_byte(out, '}');
    dgf_buf_add_byte(out, '\n');
    return true;
}

/* Takes the overlay when there is one; what is no map is said. */
static enum dgf_rc put_over(struct dgf_yaml *doc, struct dgf_yaml *take_overlay,
                            struct dgf_findings *findings)
{
    const struct dgf_yaml_node *root = dgf_yaml_root(take_overlay);

    if (root && root->kind != DGF_YAML_MAP) {
        dgf_yaml_finding(take_overlay, findings, DGF_FINDING_ERROR, "E0201", root,
                         "configuration: must be a map, not %s",
                         dgf_yaml_kind_text(root->kind));
        dgf_yaml_free(take_overlay);
        return DGF_BAD_CONFIG;
    }
    return dgf_yaml_overlay(doc, take_overlay);
}

static enum dgf_rc worse(enum dgf_rc so_far, enum dgf_rc rc)
{
    return so_far == DGF_NOMEM || rc == DGF_OK ? so_far : rc;
}

/* A variable may hold a secret, and its YAML is ours: no line is quoted. */
void dgf_settings_forget_lines(struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        struct dgf_finding *finding = &findings->list[i];

        if (!finding->mark.file ||
            strncmp(finding->mark.file, "environment ", strlen("environment ")) != 0)
            continue;
        if (finding->source_line)
            dgf_wipe(finding->source_line, strlen(finding->source_line));
        dgf_free(finding->source_line);
        finding->source_line = NULL;
        finding->mark.line = 0;
    }
}

static enum dgf_rc overlay_environment(struct dgf_yaml *doc,
                                       struct dgf_findings *findings)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    enum dgf_rc worst = DGF_OK;

    dgf_buf_init(&text, MAX_TEXT);
    for (char **entry = environ; *entry && worst != DGF_NOMEM; entry++) {
        char name[256];
        struct dgf_yaml *overlay = NULL;
        enum dgf_rc rc;

        dgf_buf_clear(&text);
        if (!variable_as_yaml(*entry, &text))
            continue;
        snprintf(name, sizeof(name), "environment %.*s", (int)strcspn(*entry, "="),
                 *entry);
        rc = dgf_buf_rc(&text);
        if (!rc)
            rc = dgf_yaml_parse(name, dgf_buf_bytes(&text), findings, &overlay);
        if (overlay)
            rc = worse(rc, put_over(doc, overlay, findings));
        if (text.ptr)
            dgf_wipe(text.ptr, text.len);
        worst = worse(worst, rc);
    }
    return worst;
}

/* ---- conf.d ---- */

struct names {
    char *list[256];
    size_t n;
    bool lost; /* one could not be kept */
};

static void take_name(void *ctx, const char *name)
{
    struct names *names = ctx;
    size_t len = strlen(name);

    if (len <= 5 || strcmp(name + len - 5, ".yaml") != 0 || name[0] == '.')
        return;
    if (names->n < DGF_ARRAY_LEN(names->list))
        names->list[names->n] = dgf_strdup(name);
    if (names->n == DGF_ARRAY_LEN(names->list) || !names->list[names->n])
        names->lost = true;
    else
        names->n++;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum dgf_rc overlay_folder(struct dgf_yaml *doc, const char *folder,
                                  struct dgf_findings *findings)
{
    struct names names = {.n = 0};
    enum dgf_rc worst = DGF_OK;
    struct dgf_err err = {0};
    char path[4096];

    snprintf(path, sizeof(path), "%s/conf.d", folder);
    if (!dgf_file_exists(path))
        return DGF_OK;
    if (dgf_dir_list(path, take_name, &names, &err) || names.lost) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0101", (struct dgf_mark){0},
                         NULL, "%s",
                         names.lost ? "conf.d holds more than 256 files" : err.text);
        worst = DGF_BAD_CONFIG;
    }
    qsort(names.list, names.n, sizeof(names.list[0]), by_name);
    for (size_t i = 0; i < names.n; i++) {
        struct dgf_yaml *overlay = NULL;
        enum dgf_rc rc;

        snprintf(path, sizeof(path), "%s/conf.d/%s", folder, names.list[i]);
        rc = dgf_yaml_load(path, findings, &overlay);
        if (overlay)
            rc = worse(rc, put_over(doc, overlay, findings));
        worst = worse(worst, rc);
        dgf_free(names.list[i]);
    }
    return worst;
}

/* ---- the environment alone ---- */

static const char *env(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

static void add_quoted(struct dgf_buf *out, const char *text)
{
    dgf_buf_add_byte(out, '"');
    dgf_json_escape(out, dgf_bytes_str(text));
    dgf_buf_add_byte(out, '"');
}

/* keyword='value' of a connection string, quoted as libpq wants it. */
static void add_keyword(struct dgf_buf *out, const char *keyword, const char *value)
{
    if (!value)
        return;
    dgf_buf_addf(out, "%s='", keyword);
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\')
            dgf_buf_add_byte(out, '\\');
        dgf_buf_add_byte(out, (uint8_t)*value);
    }
    dgf_buf_add_str(out, "' ");
}

/* [a, b] of "a,b". */
static void add_list(struct dgf_buf *out, const char *list)
{
    dgf_buf_add_byte(out, '[');
    for (const char *at = list; *at;) {
        size_t n = strcspn(at, ",");
        size_t blank = strspn(at, " ");
        char *one = dgf_strndup(at + blank, n > blank ? n - blank : 0);

        if (one)
            add_quoted(out, one);
        dgf_free(one);
        at += n;
        if (*at == ',') {
            dgf_buf_add_byte(out, ',');
            at++;
        }
    }
    dgf_buf_add_str(out, "]\n");
}

static void add_postgres(struct dgf_buf *out)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf url = {0};

    if (!env("POSTGRESQL_HOST"))
        return;
    dgf_buf_init(&url, 65536);
    add_keyword(&url, "host", env("POSTGRESQL_HOST"));
    add_keyword(&url, "port", env("POSTGRESQL_PORT"));
    add_keyword(&url, "user", env("POSTGRESQL_USER"));
    add_keyword(&url, "password", env("POSTGRESQL_PASSWORD"));
    add_keyword(&url, "dbname", env("POSTGRESQL_DATABASE"));
    setenv("DGF_POSTGRESQL_CONNINFO", dgf_buf_str(&url), 1);
    if (url.ptr)
        dgf_wipe(url.ptr, url.len);
    dgf_buf_add_str(out, "  postgresql:\n    type: postgres\n"
                         "    url: ${DGF_POSTGRESQL_CONNINFO}\n");
}

static void add_redis(struct dgf_buf *out)
{
    if (!env("REDIS_HOST"))
        return;
    dgf_buf_add_str(out, "  redis:\n    type: redis\n"
                         "    url: rediss://${REDIS_HOST}:${REDIS_PORT:-6379}\n");
    if (env("REDIS_USER"))
        dgf_buf_add_str(out, "    user: ${REDIS_USER}\n");
    if (env("REDIS_PASSWORD"))
        dgf_buf_add_str(out, "    password: ${REDIS_PASSWORD}\n");
    if (env("REDIS_STREAMS")) {
        dgf_buf_add_str(out, "    streams: ");
        add_list(out, env("REDIS_STREAMS"));
    }
}

/* A user's name stands in the URL, where some characters mean something. */
static void add_percent(struct dgf_buf *out, const char *text)
{
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~", *text))
            dgf_buf_add_byte(out, (uint8_t)*text);
        else
            dgf_buf_addf(out, "%%%02X", (unsigned char)*text);
    }
}

static void add_mongo(struct dgf_buf *out)
{
    if (!env("MONGODB_HOST"))
        return;
    dgf_buf_add_str(out, "  mongodb:\n    type: mongo\n    url: mongodb://");
    if (env("MONGODB_USER")) {
        add_percent(out, env("MONGODB_USER"));
        dgf_buf_add_byte(out, '@');
    }
    dgf_buf_add_str(out, "${MONGODB_HOST}:${MONGODB_PORT:-27017}/\n");
    if (env("MONGODB_PASSWORD"))
        dgf_buf_add_str(out, "    password: ${MONGODB_PASSWORD}\n");
    if (env("MONGODB_DATABASE"))
        dgf_buf_add_str(out, "    scope: ${MONGODB_DATABASE}\n");
}

static void add_cosmos(struct dgf_buf *out)
{
    if (!env("COSMOS_DB_ENDPOINT"))
        return;
    dgf_buf_add_str(out,
                    "  cosmos:\n    type: cosmos\n    url: ${COSMOS_DB_ENDPOINT}\n");
    if (env("COSMOS_DB_KEY"))
        dgf_buf_add_str(out, "    auth: key\n    key: ${COSMOS_DB_KEY}\n");
    if (env("COSMOS_DB_DATABASE"))
        dgf_buf_add_str(out, "    database: ${COSMOS_DB_DATABASE}\n");
    if (env("COSMOS_DB_CONTAINERS")) {
        dgf_buf_add_str(out, "    containers: ");
        add_list(out, env("COSMOS_DB_CONTAINERS"));
    }
}

/* The variables people set in a sidecar's manifest.  Values are referred to and
 * not expanded again: a password may hold ${ }. */
static void environment_as_yaml(struct dgf_buf *out)
{
    if (env("POSTGRESQL_HOST") || env("REDIS_HOST") || env("MONGODB_HOST") ||
        env("COSMOS_DB_ENDPOINT"))
        dgf_buf_add_str(out, "sources:\n");
    add_postgres(out);
    add_redis(out);
    add_mongo(out);
    add_cosmos(out);
    if (env("KAFKA_BROKERS")) {
        dgf_buf_add_str(out, "sinks:\n  kafka:\n    type: kafka\n    brokers: ");
        add_list(out, env("KAFKA_BROKERS"));
    }
}

enum dgf_rc dgf_settings_read(const char *path, const char *folder,
                              struct dgf_findings *findings, struct dgf_yaml **ret)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    enum dgf_rc rc;

    dgf_buf_init(&text, MAX_TEXT);
    if (path) {
        rc = dgf_yaml_load(path, findings, &doc);
        if (doc)
            rc = worse(rc, overlay_folder(doc, folder, findings));
    } else {
        environment_as_yaml(&text);
        rc = dgf_yaml_parse("environment", dgf_buf_bytes(&text), findings, &doc);
    }
    if (doc && rc != DGF_NOMEM)
        rc = worse(rc, overlay_environment(doc, findings));
    dgf_settings_forget_lines(findings);
    *ret = dgf_steal(doc);
    return rc;
}
