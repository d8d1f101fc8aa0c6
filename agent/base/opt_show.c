/* What option tables print: the values in force, the reference, the schema. */
#include <stdio.h>

#include "base/json.h"
#include "base/opt.h"
#include "base/parse.h"

static void quoted(struct dgf_buf *out, const char *text)
{
    dgf_buf_add_byte(out, '"');
    dgf_json_escape(out, dgf_bytes_str(text));
    dgf_buf_add_byte(out, '"');
}

static void word_at(struct dgf_buf *out, const char *words, int n)
{
    while (n-- > 0 && strchr(words, '|'))
        words = strchr(words, '|') + 1;
    dgf_buf_add(out, words, strcspn(words, "|"));
}

/* What may be seen of a text; the buffer holds what had to be made.  A plain option
 * may be given a secret by mistake. */
static const char *seen(const struct dgf_opt *opt, const char *text,
                        struct dgf_buf *made)
{
    bool list = opt->type == DGF_OPT_STR_LIST || opt->type == DGF_OPT_STR_MAP;

    dgf_buf_clear(made);
    if ((opt->flags & DGF_ADDRESS) && !list)
        dgf_opt_hide_address(text, made);
    else if (opt->type == DGF_OPT_SECRET_STR || (opt->flags & DGF_SECRET))
        return "***";
    else
        dgf_buf_add_str(made, text);
    if (dgf_buf_rc(made) || !made->len)
        return dgf_buf_rc(made) ? "***" : "";
    (void)dgf_buf_str(made); /* ends it */
    dgf_text_hide((char *)made->ptr);
    return dgf_buf_str(made);
}

static void show_list(const struct dgf_opt *opt, const struct dgf_str_list *list,
                      struct dgf_buf *out)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_buf_add_str(out, "[");
    for (size_t i = 0; i < list->n; i++) {
        dgf_buf_add_str(out, i ? ", " : "");
        quoted(out, seen(opt, list->list[i], &made));
    }
    dgf_buf_add_str(out, "]");
}

static void show_map(const struct dgf_opt *opt, const struct dgf_str_map *map,
                     struct dgf_buf *out)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_buf_add_str(out, "{");
    for (size_t i = 0; i < map->n; i++) {
        dgf_buf_add_str(out, i ? ", " : "");
        quoted(out, map->keys[i]);
        dgf_buf_add_str(out, ": ");
        quoted(out, seen(opt, map->values[i], &made));
    }
    dgf_buf_add_str(out, "}");
}

static void show_value(const struct dgf_opt *opt, const void *from, struct dgf_buf *out)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};
    const char *text;

    dgf_buf_init(&made, 1 << 20);
    switch (opt->type) {
    case DGF_OPT_STR:
    case DGF_OPT_SECRET_STR:
        text = *(char *const *)from;
        if (!text)
            dgf_buf_add_str(out, "null");
        else
            quoted(out, seen(opt, text, &made));
        break;
    case DGF_OPT_BOOL:
        dgf_buf_add_str(out, *(const bool *)from ? "true" : "false");
        break;
    case DGF_OPT_INT:
        dgf_buf_add_i64(out, *(const int64_t *)from);
        break;
    case DGF_OPT_DURATION:
        dgf_format_duration(out, *(const int64_t *)from);
        break;
    case DGF_OPT_SIZE:
        dgf_format_size(out, *(const uint64_t *)from);
        break;
    case DGF_OPT_ENUM:
        word_at(out, opt->words, *(const int *)from);
        break;
    case DGF_OPT_STR_LIST:
        show_list(opt, from, out);
        break;
    case DGF_OPT_STR_MAP:
        show_map(opt, from, out);
        break;
    default:
        break;
    }
}

void dgf_opt_show(const struct dgf_opt *opts, const void *conf, unsigned indent,
                  struct dgf_buf *out)
{
    for (const struct dgf_opt *opt = opts; opt->name; opt++) {
        const void *from = (const uint8_t *)conf + opt->offset;

        if (opt->type == DGF_OPT_NODE)
            continue;
        for (unsigned i = 0; i < indent; i++)
            dgf_buf_add_byte(out, ' ');
        dgf_buf_addf(out, "%s:", opt->name);
        if (opt->type == DGF_OPT_GROUP) {
            dgf_buf_add_byte(out, '\n');
            dgf_opt_show(opt->group, from, indent + 2, out);
            continue;
        }
        dgf_buf_add_byte(out, ' ');
        show_value(opt, from, out);
        dgf_buf_add_byte(out, '\n');
    }
}

static void json_list(const struct dgf_opt *opt, const struct dgf_str_list *list,
                      struct dgf_json *json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_json_begin_array(json);
    for (size_t i = 0; i < list->n; i++)
        dgf_json_str(json, seen(opt, list->list[i], &made));
    dgf_json_end_array(json);
}

static void json_map(const struct dgf_opt *opt, const struct dgf_str_map *map,
                     struct dgf_json *json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_json_begin_object(json);
    for (size_t i = 0; i < map->n; i++) {
        dgf_json_key_bytes(json, dgf_bytes_str(map->keys[i]));
        dgf_json_str(json, seen(opt, map->values[i], &made));
    }
    dgf_json_end_object(json);
}

static void json_value(const struct dgf_opt *opt, const void *from,
                       struct dgf_json *json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};
    const char *text;

    dgf_buf_init(&made, 1 << 20);
    switch (opt->type) {
    case DGF_OPT_STR:
    case DGF_OPT_SECRET_STR:
        text = *(char *const *)from;
        if (text)
            dgf_json_str(json, seen(opt, text, &made));
        else
            dgf_json_null(json);
        break;
    case DGF_OPT_BOOL:
        dgf_json_bool(json, *(const bool *)from);
        break;
    case DGF_OPT_INT:
        dgf_json_i64(json, *(const int64_t *)from);
        break;
    case DGF_OPT_STR_LIST:
        json_list(opt, from, json);
        break;
    case DGF_OPT_STR_MAP:
        json_map(opt, from, json);
        break;
    default: /* words, times and sizes */
        show_value(opt, from, &made);
        dgf_json_str(json, dgf_buf_str(&made));
        break;
    }
}

void dgf_opt_show_json(const struct dgf_opt *opts, const void *conf,
                       struct dgf_json *json)
{
    for (const struct dgf_opt *opt = opts; opt->name; opt++) {
        const void *from = (const uint8_t *)conf + opt->offset;

        if (opt->type == DGF_OPT_NODE)
            continue;
        dgf_json_key(json, opt->name);
        if (opt->type != DGF_OPT_GROUP) {
            json_value(opt, from, json);
            continue;
        }
        dgf_json_begin_object(json);
        dgf_opt_show_json(opt->group, from, json);
        dgf_json_end_object(json);
    }
}

static const char *type_text(enum dgf_opt_type type)
{
    static const char *const texts[] = {"text", "true/false", "number", "time",
                                        "size", "word",       "list",   "map",
                                        "map",  "value",      "text"};

    return texts[type];
}

void dgf_opt_reference(const struct dgf_opt *opts, const char *prefix,
                       struct dgf_buf *out)
{
    for (const struct dgf_opt *opt = opts; opt->name; opt++) {
        char name[256];

        snprintf(name, sizeof(name), "%s%s", prefix, opt->name);
        if (opt->type == DGF_OPT_GROUP) {
            snprintf(name, sizeof(name), "%s%s.", prefix, opt->name);
            dgf_opt_reference(opt->group, name, out);
            continue;
        }
        dgf_buf_addf(out, "| `%s` | %s | %s%s%s | ", name, type_text(opt->type),
                     opt->fallback ? "`" : "",
                     opt->fallback               ? opt->fallback
                     : opt->flags & DGF_REQUIRED ? "required"
                                                 : "",
                     opt->fallback ? "`" : "");
        if (opt->words) {
            for (const char *c = opt->words; *c; c++)
                dgf_buf_add_str(out, *c == '|' ? ", " : (const char[]){*c, '\0'});
        } else if (opt->lo || opt->hi) {
            dgf_buf_addf(out, "%s to %s", opt->lo ? opt->lo : "",
                         opt->hi ? opt->hi : "");
        }
        dgf_buf_addf(out, " | %s |\n", opt->help ? opt->help : "");
    }
}

/* ---- the schema ---- */

static void key_str(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_str(json, text);
}

/* One way to write a value: {"type": type}. */
static void way(struct dgf_json *json, const char *type)
{
    dgf_json_begin_object(json);
    key_str(json, "type", type);
    dgf_json_end_object(json);
}

/* Texts are what YAML calls a number or a boolean too. */
static void text_types(struct dgf_json *json)
{
    static const char *const types[] = {"string", "number", "boolean"};

    dgf_json_key(json, "type");
    dgf_json_begin_array(json);
    for (size_t i = 0; i < DGF_ARRAY_LEN(types); i++)
        dgf_json_str(json, types[i]);
    dgf_json_end_array(json);
}

static void bound(struct dgf_json *json, const char *key, const char *text)
{
    int64_t value;

    if (!text || !dgf_parse_i64(dgf_bytes_str(text), &value))
        return;
    dgf_json_key(json, key);
    dgf_json_i64(json, value);
}

static void words_way(const char *words, struct dgf_json *json)
{
    dgf_json_begin_object(json);
    dgf_json_key(json, "enum");
    dgf_json_begin_array(json);
    for (const char *w = words; *w;) {
        size_t len = strcspn(w, "|");

        dgf_json_text(json, dgf_bytes_of(w, len));
        w += len + (w[len] == '|');
    }
    dgf_json_end_array(json);
    dgf_json_end_object(json);
}

/* Any value may be a reference, which is a text that holds ${. */
static void or_reference(struct dgf_json *json)
{
    dgf_json_begin_object(json);
    key_str(json, "type", "string");
    key_str(json, "pattern", "\\$\\{");
    dgf_json_end_object(json);
    dgf_json_end_array(json);
}

static void schema_type(const struct dgf_opt *opt, struct dgf_json *json)
{
    switch (opt->type) {
    case DGF_OPT_BOOL:
    case DGF_OPT_INT:
    case DGF_OPT_ENUM:
        dgf_json_key(json, "anyOf");
        dgf_json_begin_array(json);
        if (opt->type == DGF_OPT_ENUM) {
            words_way(opt->words, json);
        } else if (opt->type == DGF_OPT_BOOL) {
            way(json, "boolean");
        } else {
            dgf_json_begin_object(json);
            key_str(json, "type", "integer");
            bound(json, "minimum", opt->lo);
            bound(json, "maximum", opt->hi);
            dgf_json_end_object(json);
        }
        or_reference(json);
        break;
    case DGF_OPT_STR_LIST:
        dgf_json_key(json, "anyOf");
        dgf_json_begin_array(json);
        dgf_json_begin_object(json);
        text_types(json);
        dgf_json_end_object(json);
        dgf_json_begin_object(json);
        key_str(json, "type", "array");
        dgf_json_key(json, "items");
        dgf_json_begin_object(json);
        text_types(json);
        dgf_json_end_object(json);
        dgf_json_end_object(json);
        dgf_json_end_array(json);
        break;
    case DGF_OPT_STR_MAP:
        key_str(json, "type", "object");
        dgf_json_key(json, "additionalProperties");
        dgf_json_begin_object(json);
        text_types(json);
        dgf_json_end_object(json);
        break;
    case DGF_OPT_GROUP:
        key_str(json, "type", "object");
        dgf_opt_schema(opt->group, json);
        dgf_json_key(json, "additionalProperties");
        dgf_json_bool(json, false);
        break;
    case DGF_OPT_NODE:
        break;
    default:
        text_types(json);
    }
}

static void schema_one(const struct dgf_opt *opt, struct dgf_json *json)
{
    dgf_json_key(json, opt->name);
    dgf_json_begin_object(json);
    schema_type(opt, json);
    if (opt->help)
        key_str(json, "description", opt->help);
    if (opt->fallback)
        key_str(json, "default", opt->fallback);
    dgf_json_end_object(json);
}

void dgf_opt_schema(const struct dgf_opt *opts, struct dgf_json *json)
{
    dgf_json_key(json, "properties");
    dgf_json_begin_object(json);
    for (const struct dgf_opt *opt = opts; opt->name; opt++)
        schema_one(opt, json);
    dgf_json_end_object(json);
    dgf_json_key(json, "required");
    dgf_json_begin_array(json);
    for (const struct dgf_opt *opt = opts; opt->name; opt++)
        if (opt->flags & DGF_REQUIRED)
            dgf_json_str(json, opt->name);
    dgf_json_end_array(json);
}
