/* policy_schema.c - JSON Schema of policy files, out of the option tables that
 * load them; the parts those tables leave to code are described here. */
#include "policy_load.h"

#include <string.h>

#include "base/json.h"

static void put(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

static void put_raw(struct dgf_json *json, const char *key, const char *raw)
{
    dgf_json_key(json, key);
    dgf_json_raw(json, dgf_bytes_str(raw));
}

static void put_words(struct dgf_json *json, const char *words)
{
    dgf_json_key(json, "enum");
    dgf_json_begin_array(json);
    while (*words) {
        size_t len = strcspn(words, "|");

        dgf_json_text(json, dgf_bytes_of(words, len));
        words += len + (words[len] == '|');
    }
    dgf_json_end_array(json);
}

/* Nodes that a table leaves to code. */
#define SCALAR "{\"type\":[\"string\",\"number\",\"boolean\",\"null\"]}"
#define EVENTS "{\"type\":\"array\",\"items\":{\"type\":\"object\"}}"
static const struct {
    const struct dgf_opt *table;
    const char *name;
    const struct dgf_opt *items; /* a list of maps of this table */
    const struct dgf_opt *map;   /* a map of this table */
    const char *raw;             /* members of the schema */
    bool later;                  /* refused for now */
} nodes[] = {
    {dgf_policy_file_opts, "lists",
     .raw = "\"type\":\"object\",\"additionalProperties\":"
            "{\"type\":\"array\",\"items\":" SCALAR "}"},
    {dgf_policy_file_opts, "let",
     .raw = "\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}"},
    {dgf_policy_file_opts, "classes",
     .raw =
         "\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\","
         "\"additionalProperties\":{\"enum\":[\"public\",\"internal\",\"confidential\","
         "\"restricted\"]}}"},
    {dgf_policy_file_opts, "policies", .items = dgf_policy_opts},
    {dgf_policy_opts, "frameworks",
     .raw = "\"type\":\"object\",\"additionalProperties\":"
            "{\"type\":[\"string\",\"number\","
            "\"array\"],\"items\":{\"type\":[\"string\",\"number\"]}}"},
    {dgf_policy_opts, "watch", .map = dgf_policy_watch_opts},
    {dgf_policy_opts, "when", .raw = "\"type\":[\"string\",\"boolean\"]"},
    {dgf_policy_opts, "require", .raw = "\"type\":[\"string\",\"boolean\"]"},
    {dgf_policy_opts, "exceptions", .map = dgf_policy_exceptions_opts},
    {dgf_policy_opts, "message", .raw = "\"type\":\"string\""},
    {dgf_policy_opts, "examples",
     .raw = "\"type\":\"object\",\"additionalProperties\":false,\"properties\":"
            "{\"violates\":" EVENTS ",\"passes\":" EVENTS "}"},
    {dgf_policy_opts, "window", .later = true},
    {dgf_policy_opts, "sequence", .later = true},
    {dgf_policy_opts, "absence", .later = true},
    {dgf_policy_opts, "state", .later = true},
    {dgf_policy_opts, "check", .later = true},
    {dgf_policy_opts, "with", .later = true},
    {dgf_policy_opts, "repeat", .later = true},
    {dgf_policy_exceptions_opts, "fields",
     .raw = "\"type\":[\"string\",\"array\"],\"items\":{\"type\":\"string\"}"},
    {dgf_policy_exceptions_opts, "allow", .items = dgf_policy_waiver_opts},
    {dgf_policy_exceptions_opts, "when", .raw = "\"type\":[\"string\",\"boolean\"]"},
    {dgf_policy_waiver_opts, "values",
     .raw = "\"type\":[\"string\",\"number\",\"boolean\","
            "\"null\",\"array\"]"},
    {dgf_policy_waiver_opts, "when", .raw = "\"type\":[\"string\",\"boolean\"]"},
};

static int find_node(const struct dgf_opt *table, const char *name)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(nodes); i++)
        if (nodes[i].table == table && strcmp(nodes[i].name, name) == 0)
            return (int)i;
    return -1;
}

static void put_table(struct dgf_json *json, const struct dgf_opt *table);

static void put_node(struct dgf_json *json, const struct dgf_opt *table,
                     const char *name)
{
    int at = find_node(table, name);

    if (at < 0)
        return;
    if (nodes[at].items) {
        put(json, "type", "array");
        dgf_json_key(json, "items");
        dgf_json_begin_object(json);
        put_table(json, nodes[at].items);
        dgf_json_end_object(json);
    } else if (nodes[at].map) {
        put_table(json, nodes[at].map);
    } else if (nodes[at].later) {
        put_raw(json, "not", "{}");
    } else {
        dgf_json_raw(json, dgf_bytes_str(nodes[at].raw));
    }
}

static void put_type(struct dgf_json *json, const struct dgf_opt *table,
                     const struct dgf_opt *opt)
{
    switch (opt->type) {
    case DGF_OPT_INT:
        put(json, "type", "integer");
        if (opt->lo)
            put_raw(json, "minimum", opt->lo);
        if (opt->hi)
            put_raw(json, "maximum", opt->hi);
        break;
    case DGF_OPT_BOOL:
        put(json, "type", "boolean");
        break;
    case DGF_OPT_ENUM:
        put_words(json, opt->words);
        break;
    case DGF_OPT_STR_LIST:
        put_raw(json, "type", "[\"string\",\"array\"]");
        put_raw(json, "items", "{\"type\":\"string\"}");
        break;
    case DGF_OPT_GROUP:
        put_table(json, opt->group);
        break;
    case DGF_OPT_NODE:
        put_node(json, table, opt->name);
        break;
    default:
        put(json, "type", "string");
    }
}

static void put_table(struct dgf_json *json, const struct dgf_opt *table)
{
    put(json, "type", "object");
    dgf_json_key(json, "additionalProperties");
    dgf_json_bool(json, false);
    dgf_json_key(json, "required");
    dgf_json_begin_array(json);
    for (const struct dgf_opt *opt = table; opt->name; opt++)
        if (opt->flags & DGF_REQUIRED)
            dgf_json_str(json, opt->name);
    dgf_json_end_array(json);
    dgf_json_key(json, "properties");
    dgf_json_begin_object(json);
    for (const struct dgf_opt *opt = table; opt->name; opt++) {
        dgf_json_key(json, opt->name);
        dgf_json_begin_object(json);
        put(json, "description", opt->help);
        if (opt->fallback)
            put(json, "default", opt->fallback);
        put_type(json, table, opt);
        dgf_json_end_object(json);
    }
    dgf_json_end_object(json);
}

void dgf_policy_schema(struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    put(&json, "$schema", "https://json-schema.org/draft/2020-12/schema");
    put(&json, "title", "dgf policy file");
    put_table(&json, dgf_policy_file_opts);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}
