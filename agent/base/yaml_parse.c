/* yaml_parse.c - libyaml's events as a tree, with everything refused that a
 * reader of a policy would have to look up elsewhere. */
#include "base/yaml_doc.h"

#include <stdio.h>
#include <yaml.h>

#include "base/map.h"

enum { DEPTH_MAX = 32 };

struct builder {
    struct dgf_yaml *doc;
    struct dgf_findings *findings;
    yaml_parser_t parser;
    enum dgf_rc rc; /* not DGF_OK: reading cannot go on */
    unsigned depth;
};

static struct dgf_mark place_of(const struct builder *b, yaml_mark_t mark, size_t len)
{
    return (struct dgf_mark){b->doc->path, (unsigned)mark.line + 1,
                             (unsigned)mark.column + 1, (unsigned)len};
}

static void report(struct builder *b, const char *code, yaml_mark_t mark, unsigned len,
                   const char *text)
{
    struct dgf_mark place = place_of(b, mark, len);

    dgf_findings_add(b->findings, DGF_FINDING_ERROR, code, place,
                     dgf_yaml_line(b->doc, place.line), "%s", text);
}

/* libyaml names a tab in several ways, and sometimes only its consequence. */
static bool report_tab(struct builder *b)
{
    yaml_mark_t mark = b->parser.problem_mark;
    struct dgf_bytes source = b->doc->source;
    size_t start = dgf_yaml_offset(b->doc, mark.line, 0), at = start;

    while (at < source.len && source.ptr[at] == ' ')
        at++;
    if (at >= source.len || source.ptr[at] != '\t')
        return false;
    mark.column = at - start;
    report(b, "E0102", mark, 1, "tabs cannot indent YAML; use spaces");
    return true;
}

/* `[*.customers]`: what looks like a pattern begins an alias. */
static bool report_unquoted(struct builder *b)
{
    const char *context = b->parser.context;
    yaml_mark_t mark = b->parser.context_mark;
    struct dgf_bytes source = b->doc->source;
    size_t start = dgf_yaml_offset(b->doc, mark.line, mark.column), end = start;
    char text[256];

    if (!context || (!strstr(context, "an alias") && !strstr(context, "an anchor")))
        return false;
    while (end < source.len && end - start < 80 && source.ptr[end] > ' ' &&
           !strchr(",]}\"", source.ptr[end]))
        end++;
    if (end > start + 1 && source.ptr[end - 1] == ':') /* a key */
        end--;
    if (end == start)
        return false;
    (void)snprintf(
        text, sizeof(text), "a text that starts with '%c' needs quotes: \"%.*s\"",
        source.ptr[start], (int)(end - start), (const char *)source.ptr + start);
    report(b, "E0103", mark, (unsigned)(end - start), text);
    return true;
}

/* `{key: ${X}}`: the brace of a reference begins a map. */
static bool report_reference(struct builder *b)
{
    yaml_mark_t mark = b->parser.problem_mark;
    struct dgf_bytes source = b->doc->source;
    size_t at = dgf_yaml_offset(b->doc, mark.line, mark.column), end = at;
    char text[256];

    if (at == 0 || mark.column == 0 || at >= source.len || source.ptr[at] != '{' ||
        source.ptr[at - 1] != '$')
        return false;
    while (end < source.len && end - at < 80 && source.ptr[end] >= ' ' &&
           source.ptr[end] != '}' && source.ptr[end] != '"' &&
           !(source.ptr[end] == ':' && end + 1 < source.len &&
             source.ptr[end + 1] == '-')) /* a default may be a secret */
        end++;
    (void)snprintf(text, sizeof(text),
                   "invalid YAML: a reference within { } or [ ] needs quotes: "
                   "\"$%.*s%s}\"",
                   (int)(end - at), (const char *)source.ptr + at,
                   end < source.len && source.ptr[end] == '}' ? "" : "...");
    mark.column--;
    report(b, "E0102", mark, (unsigned)(end - at) + 1, text);
    return true;
}

static void report_syntax(struct builder *b)
{
    const yaml_parser_t *parser = &b->parser;
    const char *problem = parser->problem ? parser->problem : "syntax error";
    char text[256];

    if (parser->error == YAML_MEMORY_ERROR) {
        b->rc = DGF_NOMEM;
        return;
    }
    b->rc = DGF_BAD_CONFIG;
    if (parser->error == YAML_READER_ERROR) {
        struct dgf_mark place = dgf_yaml_mark_at(b->doc, parser->problem_offset, 1);

        dgf_findings_add(b->findings, DGF_FINDING_ERROR, "E0111", place, NULL,
                         "invalid YAML: %s", problem);
        return;
    }
    if (report_tab(b) || report_unquoted(b) || report_reference(b))
        return;
    (void)snprintf(text, sizeof(text), "invalid YAML: %s%s%s", problem,
                   parser->context ? " " : "", parser->context ? parser->context : "");
    report(b, "E0102", parser->problem_mark, 1, text);
}

static bool next(struct builder *b, yaml_event_t *event)
{
    if (b->rc)
        return false;
    if (yaml_parser_parse(&b->parser, event))
        return true;
    report_syntax(b);
    return false;
}

static struct dgf_yaml_node *new_node(struct builder *b, enum dgf_yaml_kind kind,
                                      const yaml_event_t *event)
{
    struct dgf_yaml_node *node = dgf_arena_alloc(&b->doc->arena, sizeof(*node));
    yaml_mark_t begin = event->start_mark, end = event->end_mark;
    size_t len = 1;

    if (!node) {
        b->rc = DGF_NOMEM;
        return NULL;
    }
    *node = (struct dgf_yaml_node){.kind = kind, .text = ""};
    node->begin = dgf_yaml_offset(b->doc, begin.line, begin.column);
    if (event->type == YAML_SCALAR_EVENT && begin.line == end.line &&
        end.column > begin.column)
        len = end.column - begin.column;
    node->mark = place_of(b, begin, len);
    return node;
}

/* Anchors and tags of any node. */
static void refuse_marks(struct builder *b, const yaml_event_t *event,
                         const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        report(b, "E0103", event->start_mark, 1, "anchors are not allowed");
    if (tag)
        report(b, "E0104", event->start_mark, 1, "tags are not allowed");
}

static bool has_comment(struct dgf_yaml *doc, yaml_mark_t end)
{
    size_t at = dgf_yaml_offset(doc, end.line, end.column);

    while (at < doc->source.len &&
           (doc->source.ptr[at] == ' ' || doc->source.ptr[at] == '\t'))
        at++;
    return at < doc->source.len && doc->source.ptr[at] == '#';
}

static struct dgf_yaml_node *scalar(struct builder *b, const yaml_event_t *event)
{
    struct dgf_yaml_node *node = new_node(b, DGF_YAML_STR, event);
    yaml_scalar_style_t style = event->data.scalar.style;
    const char *text = (const char *)event->data.scalar.value;

    if (!node)
        return NULL;
    refuse_marks(b, event, event->data.scalar.anchor, event->data.scalar.tag);
    node->refused = event->data.scalar.tag != NULL;
    node->text_len = event->data.scalar.length;
    node->text = dgf_arena_strndup(&b->doc->arena, text, node->text_len);
    if (!node->text) {
        b->rc = DGF_NOMEM;
        return NULL;
    }
    node->plain = style == YAML_PLAIN_SCALAR_STYLE;
    node->block =
        style == YAML_LITERAL_SCALAR_STYLE || style == YAML_FOLDED_SCALAR_STYLE;
    if (!node->plain)
        return node;
    node->comment_after = node->text_len > 0 && has_comment(b->doc, event->end_mark);
    if (!dgf_yaml_type_plain(node)) {
        node->refused = true;
        report(b, "E0112", event->start_mark, node->mark.len,
               "number is too large; put it in quotes if it is a text");
    }
    return node;
}

/* Two arrays that grow together; keys is NULL for a list. */
struct pairs {
    struct dgf_yaml_node **keys, **items;
    size_t n, cap;
};

static struct dgf_yaml_node **grown(struct builder *b, struct dgf_yaml_node **old,
                                    size_t n, size_t cap)
{
    struct dgf_yaml_node **list = dgf_arena_alloc(&b->doc->arena, cap * sizeof(*list));

    if (!list)
        b->rc = DGF_NOMEM;
    else if (n > 0)
        memcpy(list, old, n * sizeof(*list));
    return list;
}

static bool add_pair(struct builder *b, struct pairs *pairs, bool is_map,
                     struct dgf_yaml_node *key, struct dgf_yaml_node *item)
{
    if (pairs->n == pairs->cap) {
        size_t cap = pairs->cap ? pairs->cap * 2 : 4;

        pairs->items = grown(b, pairs->items, pairs->n, cap);
        if (is_map)
            pairs->keys = grown(b, pairs->keys, pairs->n, cap);
        if (b->rc)
            return false;
        pairs->cap = cap;
    }
    pairs->items[pairs->n] = item;
    if (is_map)
        pairs->keys[pairs->n] = key;
    pairs->n++;
    return true;
}

static struct dgf_yaml_node *value(struct builder *b, const yaml_event_t *event);

static struct dgf_yaml_node *list(struct builder *b, struct dgf_yaml_node *node)
{
    struct pairs pairs = {0};
    yaml_event_t event;

    while (next(b, &event)) {
        struct dgf_yaml_node *item;

        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            break;
        }
        item = value(b, &event);
        yaml_event_delete(&event);
        if (!item || !add_pair(b, &pairs, false, NULL, item))
            return NULL;
    }
    node->items = pairs.items;
    node->n = pairs.n;
    return b->rc ? NULL : node;
}

/* A text among more than a few would be looked for too long one by one. */
static bool is_duplicate(struct builder *b, struct dgf_map *seen,
                         struct dgf_yaml_node *key)
{
    void *first = NULL;

    if (dgf_map_put(seen, dgf_bytes_of(key->text, key->text_len), key, &first)) {
        b->rc = DGF_NOMEM;
        return false;
    }
    if (!first)
        return false;
    dgf_findings_add(b->findings, DGF_FINDING_ERROR, "E0106", key->mark,
                     dgf_yaml_line(b->doc, key->mark.line),
                     "duplicate key '%s'; the first is in line %u", key->text,
                     ((struct dgf_yaml_node *)first)->mark.line);
    return true;
}

/* *ret_drop: the key was refused, and its value goes with it. */
static struct dgf_yaml_node *map_key(struct builder *b, struct dgf_map *seen,
                                     const yaml_event_t *event, bool *ret_drop)
{
    struct dgf_yaml_node *key = value(b, event);

    *ret_drop = true;
    if (!key)
        return NULL;
    if (key->kind == DGF_YAML_LIST || key->kind == DGF_YAML_MAP || key->text_len == 0 ||
        strlen(key->text) != key->text_len) {
        report(b, "E0110", event->start_mark, 1, "a key must be a text");
        return key;
    }
    if (key->plain && strcmp(key->text, "<<") == 0)
        report(b, "E0105", event->start_mark, 2, "merge keys are not allowed");
    else
        *ret_drop = is_duplicate(b, seen, key);
    return b->rc ? NULL : key;
}

static struct dgf_yaml_node *map(struct builder *b, struct dgf_yaml_node *node)
{
    struct pairs pairs = {0};
    struct dgf_map seen;
    yaml_event_t event;

    dgf_map_init(&seen);
    while (next(b, &event)) {
        struct dgf_yaml_node *key, *item = NULL;
        bool end = event.type == YAML_MAPPING_END_EVENT, drop;

        key = end ? NULL : map_key(b, &seen, &event, &drop);
        yaml_event_delete(&event);
        if (!key)
            break;
        if (next(b, &event)) {
            item = value(b, &event);
            yaml_event_delete(&event);
        }
        if (!item || (!drop && !add_pair(b, &pairs, true, key, item)))
            break;
    }
    dgf_map_release(&seen, NULL);
    node->keys = pairs.keys;
    node->items = pairs.items;
    node->n = pairs.n;
    return b->rc ? NULL : node;
}

/* NULL only with b->rc set. */
static struct dgf_yaml_node *value(struct builder *b, const yaml_event_t *event)
{
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    struct dgf_yaml_node *node;

    if (event->type == YAML_SCALAR_EVENT)
        return scalar(b, event);
    if (event->type == YAML_ALIAS_EVENT) {
        report(b, "E0103", event->start_mark, 1, "aliases are not allowed");
        node = new_node(b, DGF_YAML_STR, event);
        if (node)
            node->refused = true;
        return node;
    }
    if (b->depth == DEPTH_MAX) {
        report(b, "E0107", event->start_mark, 1, "nested deeper than 32 levels");
        b->rc = DGF_BAD_CONFIG;
        return NULL;
    }
    if (is_list)
        refuse_marks(b, event, event->data.sequence_start.anchor,
                     event->data.sequence_start.tag);
    else
        refuse_marks(b, event, event->data.mapping_start.anchor,
                     event->data.mapping_start.tag);
    node = new_node(b, is_list ? DGF_YAML_LIST : DGF_YAML_MAP, event);
    if (!node)
        return NULL;
    b->depth++;
    node = is_list ? list(b, node) : map(b, node);
    b->depth--;
    return node;
}

static void stream(struct builder *b)
{
    bool done = false, one = false;
    yaml_event_t event;

    while (!done && next(b, &event)) {
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (one) {
                report(b, "E0109", event.start_mark, 3,
                       "only one document is allowed in a file");
                b->rc = DGF_BAD_CONFIG;
            }
            one = true;
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        default:
            b->doc->root = value(b, &event);
        }
        yaml_event_delete(&event);
    }
}

enum dgf_rc dgf_yaml_build(struct dgf_yaml *doc, struct dgf_findings *findings)
{
    struct builder b = {.doc = doc, .findings = findings};

    if (!yaml_parser_initialize(&b.parser))
        return DGF_NOMEM;
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, doc->source.ptr, doc->source.len);
    stream(&b);
    yaml_parser_delete(&b.parser);
    return b.rc;
}
