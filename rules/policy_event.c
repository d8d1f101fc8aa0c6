#include "policy_event.h"

#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "bus/event.h"

#define BODY_MAX (4 * 1024 * 1024)
#define FAIL(...)                                                               \
    dgf_yaml_finding(making->doc, making->findings, DGF_FINDING_ERROR, "E0452", \
                     __VA_ARGS__)

struct making {
    const struct dgf_yaml *doc;
    const struct dgf_yaml_node *node, *base, *set;
    const struct dgf_policy_event_defaults *defaults;
    struct dgf_findings *findings;
    struct dgf_event_builder builder;
    struct dgf_policy_event *made;
    struct dgf_object *object;
};

static struct dgf_bytes text_of(const struct dgf_yaml_node *node)
{
    return dgf_bytes_of(node->text, node->text_len);
}

/* ---- what stands where ---- */

static const struct dgf_yaml_node *member(const struct making *making, const char *name)
{
    const struct dgf_yaml_node *node =
        making->set ? dgf_yaml_get(making->set, name) : NULL;

    if (!node && making->base)
        node = dgf_yaml_get(making->base, name);
    if (!node && !making->base)
        node = dgf_yaml_get(making->node, name);
    return node;
}

/* `set` holds "after.note": is it about this section? */
static const char *field_of(const char *path, const char *section)
{
    size_t len = strlen(section);

    return strncmp(path, section, len) == 0 && path[len] == '.' ? path + len + 1 : NULL;
}

static const struct dgf_yaml_node *set_field(const struct making *making,
                                             const char *section, const char *name)
{
    for (size_t i = 0; making->set && i < making->set->n; i++) {
        const char *field = field_of(making->set->keys[i]->text, section);

        if (field && strcmp(field, name) == 0)
            return making->set->items[i];
    }
    return NULL;
}

/* Is path ("after" or "after.note") in `unavailable`? */
static bool is_unavailable(const struct making *making, const char *section,
                           const char *name)
{
    const struct dgf_yaml_node *list = dgf_yaml_get(making->node, "unavailable");

    for (size_t i = 0; list && list->kind == DGF_YAML_LIST && i < list->n; i++) {
        const char *path = list->items[i]->text ? list->items[i]->text : "";
        const char *field = field_of(path, section);

        if (name ? field && strcmp(field, name) == 0 : strcmp(path, section) == 0)
            return true;
    }
    return false;
}

static bool put_field(struct making *making, const char *section,
                      const struct dgf_yaml_node *name,
                      const struct dgf_yaml_node *value)
{
    struct dgf_buf *out = dgf_event_named(&making->builder, text_of(name));

    if (is_unavailable(making, section, name->text)) {
        dgf_mp_put_unavailable(out, DGF_UNAVAILABLE_NOT_SENT);
        return true;
    }
    return dgf_policy_value(making->doc, making->findings, value, out, 0);
}

/* Fields that only `set` or `unavailable` name. */
static bool put_extra(struct making *making, const char *section,
                      const struct dgf_yaml_node *there)
{
    const struct dgf_yaml_node *list = dgf_yaml_get(making->node, "unavailable");

    for (size_t i = 0; making->set && i < making->set->n; i++) {
        const char *field = field_of(making->set->keys[i]->text, section);

        if (!field || (there && dgf_yaml_get(there, field)))
            continue;
        if (!dgf_policy_value(making->doc, making->findings, making->set->items[i],
                              dgf_event_named(&making->builder, dgf_bytes_str(field)),
                              0))
            return false;
    }
    for (size_t i = 0; list && list->kind == DGF_YAML_LIST && i < list->n; i++) {
        const char *path = list->items[i]->text ? list->items[i]->text : "";
        const char *field = field_of(path, section);

        if (field && !(there && dgf_yaml_get(there, field)) &&
            !set_field(making, section, field))
            dgf_mp_put_unavailable(
                dgf_event_named(&making->builder, dgf_bytes_str(field)),
                DGF_UNAVAILABLE_NOT_SENT);
    }
    return true;
}

static bool has_extra(const struct making *making, const char *section)
{
    const struct dgf_yaml_node *list = dgf_yaml_get(making->node, "unavailable");

    for (size_t i = 0; making->set && i < making->set->n; i++)
        if (field_of(making->set->keys[i]->text, section))
            return true;
    for (size_t i = 0; list && list->kind == DGF_YAML_LIST && i < list->n; i++)
        if (list->items[i]->text && field_of(list->items[i]->text, section))
            return true;
    return false;
}

static bool put_section(struct making *making, enum dgf_section section)
{
    const char *name = dgf_section_text(section);
    const struct dgf_yaml_node *node = member(making, name);

    if (is_unavailable(making, name, NULL)) {
        dgf_event_section_unavailable(&making->builder, section,
                                      DGF_UNAVAILABLE_NOT_SENT);
        return true;
    }
    if (!node && !has_extra(making, name))
        return true;
    if (node && node->kind == DGF_YAML_NULL && !has_extra(making, name)) {
        dgf_event_section_nil(&making->builder, section);
        return true;
    }
    if (node && node->kind != DGF_YAML_MAP) {
        FAIL(node, "'%s' of an event is %s; it must be a map of fields", name,
             dgf_yaml_kind_text(node->kind));
        return false;
    }
    dgf_event_section(&making->builder, section);
    for (size_t i = 0; node && i < node->n; i++) {
        const struct dgf_yaml_node *other =
            set_field(making, name, node->keys[i]->text);

        if (!put_field(making, name, node->keys[i], other ? other : node->items[i]))
            return false;
    }
    if (!put_extra(making, name, node))
        return false;
    dgf_event_section_end(&making->builder);
    return true;
}

static bool put_changed(struct making *making)
{
    const struct dgf_yaml_node *node = member(making, "changed");

    if (!node)
        return true;
    if (node->kind != DGF_YAML_LIST) {
        FAIL(node, "'changed' of an event is %s; it must be a list of names",
             dgf_yaml_kind_text(node->kind));
        return false;
    }
    if (!dgf_policy_value(
            making->doc, making->findings, node,
            dgf_event_section_value(&making->builder, DGF_SECTION_CHANGED), 0))
        return false;
    dgf_event_section_end(&making->builder);
    return true;
}

/* ---- head of the event ---- */

enum names_of { OF_EVENT, OF_USE, OF_SET };

static bool check_names(struct making *making, const struct dgf_yaml_node *node,
                        enum names_of of)
{
    static const char *const names[] = {"source",  "type",     "kind",   "object",
                                        "op",      "key",      "before", "after",
                                        "changed", "actor",    "labels", "time",
                                        "tx",      "snapshot", "cause",  "unavailable"};
    static const char *const on_names[] = {"use", "set", "unavailable"};
    const char *const *list = of == OF_USE ? on_names : names;
    /* what was not sent is said beside `set` */
    size_t n =
        of == OF_USE ? DGF_ARRAY_LEN(on_names) : DGF_ARRAY_LEN(names) - (of == OF_SET);
    bool fine = true;

    for (size_t i = 0; i < node->n; i++) {
        const char *near;
        size_t at = 0;

        if (of == OF_SET && strchr(node->keys[i]->text, '.'))
            continue; /* a field */
        while (at < n && strcmp(list[at], node->keys[i]->text) != 0)
            at++;
        if (at < n)
            continue;
        near = dgf_nearest(node->keys[i]->text, list, n);
        if (near)
            FAIL(node->keys[i], "an event has no '%s'; did you mean '%s'?",
                 node->keys[i]->text, near);
        else
            FAIL(node->keys[i], "an event has no '%s'", node->keys[i]->text);
        fine = false;
    }
    return fine;
}

/* "after.nte" of `set`: the field must be there to be set to something else, else the
 * test would pass whatever was meant. */
static bool check_set_field(struct making *making, const struct dgf_yaml_node *key,
                            const char *section, const char *field)
{
    const struct dgf_yaml_node *there = dgf_yaml_get(making->set, section);
    const char *names[256], *near;
    size_t n = 0;

    if (!there)
        there = dgf_yaml_get(making->base, section);
    if (!there || there->kind != DGF_YAML_MAP || dgf_yaml_get(there, field))
        return true; /* the part is not there: `set` makes it */
    for (; n < there->n && n < DGF_ARRAY_LEN(names); n++)
        names[n] = there->keys[n]->text;
    near = dgf_nearest(field, names, n);
    if (near)
        FAIL(key, "the fixture has no '%s'; did you mean '%s.%s'?", key->text, section,
             near);
    else
        FAIL(key, "the fixture has no '%s' to set: write it there, as null if need be",
             key->text);
    return false;
}

/* Keys of `set`: after.note, or a whole part. */
static bool check_set(struct making *making)
{
    static const enum dgf_section sections[] = {DGF_SECTION_KEY, DGF_SECTION_BEFORE,
                                                DGF_SECTION_AFTER, DGF_SECTION_ACTOR,
                                                DGF_SECTION_LABELS};
    const char *names[DGF_ARRAY_LEN(sections)], *near;
    bool fine = true;

    for (size_t k = 0; k < DGF_ARRAY_LEN(sections); k++)
        names[k] = dgf_section_text(sections[k]);
    for (size_t i = 0; making->set && i < making->set->n; i++) {
        const struct dgf_yaml_node *key = making->set->keys[i];
        const char *dot = strchr(key->text, '.'), *section = NULL;
        char word[64];

        if (!dot)
            continue;
        for (size_t k = 0; k < DGF_ARRAY_LEN(sections); k++)
            if (field_of(key->text, names[k]))
                section = names[k];
        if (section) {
            fine &= check_set_field(making, key, section, dot + 1);
            continue;
        }
        snprintf(word, sizeof(word), "%.*s",
                 dot - key->text < 60 ? (int)(dot - key->text) : 60, key->text);
        near = dgf_nearest(word, names, DGF_ARRAY_LEN(sections));
        if (near)
            FAIL(key, "an event has no '%s'; did you mean '%s%s'?", key->text, near,
                 dot);
        else
            FAIL(key,
                 "an event has no '%s': fields stand in key, before, after, actor "
                 "and labels",
                 key->text);
        fine = false;
    }
    return fine;
}

static int word(struct making *making, const char *name, int (*find)(struct dgf_bytes),
                int fallback)
{
    const struct dgf_yaml_node *node = member(making, name);
    int found;

    if (!node && fallback < 0) {
        FAIL(making->node, "an event needs '%s'", name);
        return -1;
    }
    if (!node)
        return fallback;
    found = node->text ? find(text_of(node)) : -1;
    if (found < 0)
        FAIL(node, "unknown %s '%s' of an event", name, node->text ? node->text : "");
    return found;
}

static const char *text_member(struct making *making, const char *name,
                               const char *fallback)
{
    const struct dgf_yaml_node *node = member(making, name);

    if (node && (node->kind == DGF_YAML_MAP || node->kind == DGF_YAML_LIST)) {
        FAIL(node, "'%s' of an event is %s; it must be a text", name,
             dgf_yaml_kind_text(node->kind));
        return NULL;
    }
    if (node && node->text)
        return node->text;
    if (!fallback)
        FAIL(making->node, "an event needs '%s'", name);
    return fallback;
}

/* schema.table, with "quoted" parts; Redis and blob names are one part. */
static bool split_object(const char *type, const char *text, char **ret_schema,
                         char **ret_name)
{
    char *parts[2] = {dgf_calloc(1, strlen(text) + 1), dgf_calloc(1, strlen(text) + 1)};
    bool one = strcmp(type, "redis") == 0 || strcmp(type, "blob") == 0, quoted = false;
    size_t part = 0, at = 0;

    if (!parts[0] || !parts[1]) {
        dgf_free(parts[0]);
        dgf_free(parts[1]);
        return false;
    }
    for (const char *p = text; *p; p++) {
        if (*p == '"' && !one && !(quoted && p[1] == '"')) {
            quoted = !quoted;
        } else if (*p == '.' && !one && !quoted && part == 0) {
            part = 1;
            at = 0;
        } else {
            p += *p == '"' && !one;
            parts[part][at++] = *p;
        }
    }
    *ret_schema = part ? parts[0] : NULL;
    *ret_name = parts[part];
    if (!part)
        dgf_free(parts[1]);
    return true;
}

static bool make_object(struct making *making)
{
    const char *text = text_member(making, "object", making->defaults->object);
    char *schema = NULL, *name = NULL;
    bool fine;

    if (!text || !split_object(making->made->type_name, text, &schema, &name))
        return false;
    fine = dgf_object_new(making->made->type_name, NULL, schema, name, NULL, 0, 1,
                          &making->object) == DGF_OK;
    dgf_free(schema);
    dgf_free(name);
    return fine;
}

static bool make_source(struct making *making)
{
    const char *type = making->defaults->type ? making->defaults->type : "postgres";
    const char *name = text_member(making, "source", making->defaults->source);

    type = text_member(making, "type", type);
    if (!name || !type)
        return false;
    making->made->source_name = dgf_strdup(name);
    making->made->type_name = dgf_strdup(type);
    making->made->type.name = making->made->type_name;
    making->made->source.type = &making->made->type;
    making->made->source.name = making->made->source_name;
    return making->made->source_name && making->made->type_name;
}

static void make_id(struct making *making, struct dgf_event_meta *meta)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, "test");
    dgf_id_add_u64(&hash, making->defaults->n);
    meta->id = dgf_id_end(&hash);
}

static bool make_meta(struct making *making, struct dgf_event_meta *meta)
{
    const struct dgf_yaml_node *time = member(making, "time"),
                               *tx = member(making, "tx");
    const struct dgf_yaml_node *snapshot = member(making, "snapshot");
    int cause = word(making, "cause", dgf_cause_of, DGF_CAUSE_USER);

    meta->commit_ns = making->defaults->time_ns;
    if (time && (!time->text || !dgf_parse_time(text_of(time), &meta->commit_ns))) {
        FAIL(time, "'time' of an event is not a time; example: 2026-03-02T09:00:00Z");
        return false;
    }
    meta->seen_ns = meta->commit_ns;
    meta->snapshot = snapshot && snapshot->kind == DGF_YAML_BOOL && snapshot->boolean;
    if (tx && tx->text)
        meta->tx = text_of(tx);
    meta->tx_n = 1;
    meta->cause = (enum dgf_cause)cause;
    make_id(making, meta);
    return cause >= 0;
}

static enum dgf_rc build(struct making *making)
{
    int kind = word(making, "kind", dgf_event_kind_of, making->defaults->kind);
    int op = word(making, "op", dgf_op_of,
                  kind == DGF_KIND_MESSAGE ? DGF_OP_NONE : making->defaults->op);
    struct dgf_event_meta meta = {.tx_n = 0};
    struct dgf_event_builder *builder = &making->builder;
    enum dgf_rc rc;

    if (kind < 0 || op < 0 || !make_source(making) || !make_object(making) ||
        !make_meta(making, &meta))
        return DGF_BAD_CONFIG;
    dgf_event_begin(builder, making->object, (enum dgf_event_kind)kind,
                    (enum dgf_op)op);
    if (!put_section(making, DGF_SECTION_KEY) ||
        !put_section(making, DGF_SECTION_BEFORE) ||
        !put_section(making, DGF_SECTION_AFTER) || !put_changed(making) ||
        !put_section(making, DGF_SECTION_ACTOR) ||
        !put_section(making, DGF_SECTION_LABELS))
        return DGF_BAD_CONFIG;
    rc = dgf_event_finish(builder, &meta, &making->made->event);
    if (rc)
        return rc;
    making->made->event->source = &making->made->source;
    making->made->event->seq = making->defaults->n;
    return DGF_OK;
}

void dgf_policy_event_free(struct dgf_policy_event *event)
{
    if (!event)
        return;
    dgf_event_unref(event->event);
    dgf_free(event->source_name);
    dgf_free(event->type_name);
    dgf_free(event);
}

enum dgf_rc dgf_policy_event_make(const struct dgf_yaml *doc,
                                  const struct dgf_yaml_node *node,
                                  const struct dgf_yaml_node *base,
                                  const struct dgf_policy_event_defaults *defaults,
                                  struct dgf_findings *findings,
                                  struct dgf_policy_event **ret)
{
    struct making whole = {.doc = doc,
                           .node = node,
                           .base = base,
                           .defaults = defaults,
                           .findings = findings};
    struct making *making = &whole;
    enum dgf_rc rc;

    if (node->kind != DGF_YAML_MAP || (base && base->kind != DGF_YAML_MAP)) {
        FAIL(node->kind != DGF_YAML_MAP ? node : base,
             "an event is %s; it must be a map", dgf_yaml_kind_text(node->kind));
        return DGF_BAD_CONFIG;
    }
    making->set = base ? dgf_yaml_get(node, "set") : NULL;
    if (making->set && making->set->kind != DGF_YAML_MAP) {
        FAIL(making->set, "'set' is %s; it must be a map of fields",
             dgf_yaml_kind_text(making->set->kind));
        return DGF_BAD_CONFIG;
    }
    if (!check_names(making, node, base ? OF_USE : OF_EVENT) ||
        (base && !check_names(making, base, OF_EVENT)))
        return DGF_BAD_CONFIG;
    if (making->set) { /* what is wrong with both is said at once */
        bool names = check_names(making, making->set, OF_SET);

        if (!check_set(making) || !names)
            return DGF_BAD_CONFIG;
    }
    making->made = dgf_calloc(1, sizeof(*making->made));
    if (!making->made)
        return DGF_NOMEM;
    dgf_event_builder_init(&making->builder, BODY_MAX);
    rc = build(making);
    dgf_event_builder_release(&making->builder);
    dgf_object_unref(making->object);
    if (rc)
        dgf_policy_event_free(making->made);
    else
        *ret = making->made;
    return rc;
}
