#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "registry.h"
#include "settings.h"
#include "settings_opts.h"

/* Where options may stand besides the file. */
static void add_places(struct dgf_buf *out)
{
    dgf_buf_add_str(
        out,
        "\n## Other files and the environment\n\n"
        "The file is the one given with `-c`, else `dgf.yaml` here, else "
        "`/etc/dgf/dgf.yaml`. Over it go, in\nthis order:\n\n"
        "1. the files of `conf.d/*.yaml` beside it, by name; maps are merged key by "
        "key;\n"
        "2. variables `DGF_SECTION__KEY`: `DGF_AGENT__NAME=orders`, "
        "`DGF_LEDGER__KEEP=7d`,\n"
        "   `DGF_SOURCES__ORDERS__TABLES='[shop.*]'`, and "
        "`DGF_POLICIES=/etc/dgf/policies`.\n\n"
        "Values may refer to `${NAME}`, `${NAME:-default}` and `${file:PATH}`; "
        "`$${` is a plain `${`. `dgf config\nshow` prints the configuration in "
        "force, with secrets as `***`, also inside of addresses;\n`--format json` prints it as an object.\n\n"
        "Without any file the environment alone is enough:\n\n"
        "| variables | give |\n| --- | --- |\n"
        "| `POSTGRESQL_HOST`, `POSTGRESQL_PORT`, `POSTGRESQL_USER`, "
        "`POSTGRESQL_PASSWORD`, `POSTGRESQL_DATABASE` | the source `postgresql` |\n"
        "| `REDIS_HOST`, `REDIS_PORT`, `REDIS_USER`, `REDIS_PASSWORD`, "
        "`REDIS_STREAMS` (with commas) | the source `redis` |\n"
        "| `MONGODB_HOST`, `MONGODB_PORT`, `MONGODB_USER`, `MONGODB_PASSWORD`, "
        "`MONGODB_DATABASE` | the source `mongodb` |\n"
        "| `COSMOS_DB_ENDPOINT`, `COSMOS_DB_KEY`, `COSMOS_DB_DATABASE`, "
        "`COSMOS_DB_CONTAINERS` (with commas) | the source `cosmos`; without a key by "
        "workload identity |\n"
        "| `KAFKA_BROKERS` (with commas) | the sink `kafka` |\n");
}

void dgf_settings_reference(struct dgf_buf *out)
{
    static const char head[] = "\n| option | type | default | bounds | meaning |\n"
                               "| --- | --- | --- | --- | --- |\n";
    const struct dgf_source_type *source;
    const struct dgf_sink_type *sink;

    dgf_buf_add_str(
        out, "# Configuration reference\n\nMade by `dgf config reference`; times as "
             "`5s`, sizes as `4MiB`.\n");
    dgf_buf_add_str(out, head);
    dgf_opt_reference(dgf_settings_opts, "", out);
    for (size_t i = 0; (source = dgf_source_type_at(i)); i++) {
        dgf_buf_addf(out, "\n## Source `%s`: %s\n", source->name, source->summary);
        if (source->aliases)
            dgf_buf_addf(out, "\n`type: %s` may stand for it.\n", source->aliases);
        dgf_buf_add_str(out, head);
        dgf_opt_reference(dgf_settings_label_opts, "", out);
        dgf_opt_reference(source->opts, "", out);
    }
    for (size_t i = 0; (sink = dgf_sink_type_at(i)); i++) {
        dgf_buf_addf(out, "\n## Sink `%s`: %s\n", sink->name, sink->summary);
        dgf_buf_add_str(out, head);
        dgf_opt_reference(sink->opts, "", out);
    }
    add_places(out);
}

/* ---- schema ---- */

static void key_str(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

/* {"enum": [name, alias ...]}; aliases are words of one text. */
static void type_words(struct dgf_json *json, const char *name, const char *aliases)
{
    dgf_json_key(json, "type");
    dgf_json_begin_object(json);
    dgf_json_key(json, "enum");
    dgf_json_begin_array(json);
    dgf_json_str(json, name);
    for (const char *at = aliases; at && *at;) {
        size_t n = strcspn(at, " ");

        dgf_json_text(json, dgf_bytes_of(at, n));
        at += n + strspn(at + n, " ");
    }
    dgf_json_end_array(json);
    dgf_json_end_object(json);
}

/* "source.postgres": its type, its options, nothing else. */
static void part_schema(struct dgf_json *json, const char *group, const char *name,
                        const char *aliases, const struct dgf_opt *opts, bool labels)
{
    char key[128];

    snprintf(key, sizeof(key), "%s.%s", group, name);
    dgf_json_key(json, key);
    dgf_json_begin_object(json);
    key_str(json, "type", "object");
    dgf_json_key(json, "required");
    dgf_json_begin_array(json);
    dgf_json_str(json, "type");
    dgf_json_end_array(json);
    dgf_json_key(json, "properties");
    dgf_json_begin_object(json);
    type_words(json, name, aliases);
    dgf_json_end_object(json);
    dgf_json_key(json, "allOf");
    dgf_json_begin_array(json);
    dgf_json_begin_object(json);
    dgf_opt_schema(opts, json);
    dgf_json_end_object(json);
    if (labels) {
        dgf_json_begin_object(json);
        dgf_opt_schema(dgf_settings_label_opts, json);
        dgf_json_end_object(json);
    }
    dgf_json_end_array(json);
    dgf_json_key(json, "unevaluatedProperties");
    dgf_json_bool(json, false);
    dgf_json_end_object(json);
}

static void one_of(struct dgf_json *json, const char *group, const char *const *names,
                   size_t n)
{
    dgf_json_key(json, group);
    dgf_json_begin_object(json);
    key_str(json, "type", "object");
    dgf_json_key(json, "additionalProperties");
    dgf_json_begin_object(json);
    dgf_json_key(json, "oneOf");
    dgf_json_begin_array(json);
    for (size_t i = 0; i < n; i++) {
        char ref[160];

        snprintf(ref, sizeof(ref), "#/$defs/%.*s.%s", (int)strlen(group) - 1, group,
                 names[i]);
        dgf_json_begin_object(json);
        key_str(json, "$ref", ref);
        dgf_json_end_object(json);
    }
    dgf_json_end_array(json);
    dgf_json_end_object(json);
    dgf_json_end_object(json);
}

void dgf_settings_schema(struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);
    const char *sources[32], *sinks[32];
    const struct dgf_source_type *source;
    const struct dgf_sink_type *sink;
    size_t n_sources = 0, n_sinks = 0;

    dgf_json_begin_object(&json);
    key_str(&json, "$schema", "https://json-schema.org/draft/2020-12/schema");
    key_str(&json, "title", "dgf configuration");
    key_str(&json, "type", "object");
    dgf_json_key(&json, "$defs");
    dgf_json_begin_object(&json);
    for (; n_sources < 32 && (source = dgf_source_type_at(n_sources)); n_sources++) {
        sources[n_sources] = source->name;
        part_schema(&json, "source", source->name, source->aliases, source->opts, true);
    }
    for (; n_sinks < 32 && (sink = dgf_sink_type_at(n_sinks)); n_sinks++) {
        sinks[n_sinks] = sink->name;
        part_schema(&json, "sink", sink->name, NULL, sink->opts, false);
    }
    dgf_json_end_object(&json);
    dgf_opt_schema(dgf_settings_opts, &json);
    dgf_json_key(&json, "additionalProperties");
    dgf_json_bool(&json, false);
    dgf_json_key(&json, "allOf");
    dgf_json_begin_array(&json);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "properties");
    dgf_json_begin_object(&json);
    one_of(&json, "sources", sources, n_sources);
    one_of(&json, "sinks", sinks, n_sinks);
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}
