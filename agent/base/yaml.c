#include "base/yaml.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/file.h"
#include "base/parse.h"
#include "base/yaml_doc.h"

enum { FILE_MAX = 1 << 20, ARENA_MAX = 96 << 20 };

/* ---- lines ---- */

/* Length of a line break at p, as YAML's scanner counts lines; 0: none. */
static size_t break_at(const uint8_t *p, const uint8_t *end)
{
    size_t left = (size_t)(end - p);

    if (*p == '\n')
        return 1;
    if (*p == '\r')
        return left > 1 && p[1] == '\n' ? 2 : 1;
    if (left > 1 && p[0] == 0xc2 && p[1] == 0x85) /* next line */
        return 2;
    if (left > 2 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9))
        return 3;
    return 0;
}

/* Finds all lines; with doc->lines it notes them, else it only counts. */
static size_t scan_lines(struct dgf_yaml *doc)
{
    const uint8_t *begin = doc->source.ptr, *end = begin + doc->source.len, *p = begin;
    size_t n = 1, len;

    while (p < end) {
        len = break_at(p, end);
        if (len > 0 && doc->lines) {
            doc->lines[p - begin] = '\0';
            doc->line_begins[n] = (uint32_t)(p - begin + (ptrdiff_t)len);
        }
        n += len > 0;
        p += len > 0 ? len : 1;
    }
    return n;
}

static bool note_lines(struct dgf_yaml *doc)
{
    size_t n = scan_lines(doc);

    doc->line_begins = dgf_arena_alloc(&doc->arena, n * sizeof(*doc->line_begins));
    doc->lines =
        dgf_arena_strndup(&doc->arena, (const char *)doc->source.ptr, doc->source.len);
    if (!doc->line_begins || !doc->lines)
        return false;
    doc->line_begins[0] = 0;
    doc->n_lines = scan_lines(doc);
    return true;
}

const char *dgf_yaml_line(const struct dgf_yaml *doc, unsigned line)
{
    return line == 0 || line > doc->n_lines ? NULL
                                            : doc->lines + doc->line_begins[line - 1];
}

static size_t next_char(struct dgf_bytes text, size_t at)
{
    for (at++; at < text.len && (text.ptr[at] & 0xc0) == 0x80;)
        at++;
    return at;
}

size_t dgf_yaml_offset(struct dgf_yaml *doc, size_t line, size_t col)
{
    size_t at = line < doc->n_lines ? doc->line_begins[line] : doc->source.len;
    size_t left = col;

    if (line == doc->last_line && col >= doc->last_col) {
        at = doc->last_at;
        left = col - doc->last_col;
    }
    for (; left > 0 && at < doc->source.len; left--)
        at = next_char(doc->source, at);
    doc->last_line = line;
    doc->last_col = col;
    doc->last_at = at;
    return at;
}

struct dgf_mark dgf_yaml_mark_at(const struct dgf_yaml *doc, size_t offset,
                                 unsigned len)
{
    size_t low = 0, high = doc->n_lines;
    unsigned col = 1;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (doc->line_begins[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    for (size_t at = doc->line_begins[low]; at < offset && at < doc->source.len;
         at = next_char(doc->source, at))
        col++;
    return (struct dgf_mark){doc->path, (unsigned)low + 1, col, len ? len : 1};
}

/* ---- places inside a scalar ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Bytes an escape of a double-quoted scalar takes in the file. */
static size_t escape_len(struct dgf_bytes source, size_t at)
{
    uint8_t c = at + 1 < source.len ? source.ptr[at + 1] : 0;

    return c == 'x' ? 4 : c == 'u' ? 6 : c == 'U' ? 10 : 2;
}

static bool is_break(struct dgf_bytes source, size_t at)
{
    return at < source.len && (source.ptr[at] == '\n' || source.ptr[at] == '\r');
}

static size_t content_begin(const struct dgf_yaml *doc,
                            const struct dgf_yaml_node *scalar)
{
    size_t at = scalar->begin;

    if (scalar->block) {
        while (at < doc->source.len && !is_break(doc->source, at))
            at++;
        return at + 1;
    }
    return at + !scalar->plain;
}

/* Past a line break that a backslash took out of a double-quoted scalar. */
static size_t skip_joined(struct dgf_bytes source, bool escapes, size_t at)
{
    while (escapes && at < source.len && source.ptr[at] == '\\' &&
           is_break(source, at + 1))
        for (at++; at < source.len && is_blank(source.ptr[at]);)
            at++;
    return at;
}

static size_t skip_blanks(struct dgf_bytes source, size_t at)
{
    while (at < source.len && is_blank(source.ptr[at]))
        at++;
    return at;
}

/* Folding changes blanks only, so walking text and file side by side, blanks
 * apart, meets the same characters. */
static size_t skip_char(const struct dgf_yaml *doc, uint8_t c, bool escapes,
                        bool quotes, size_t at)
{
    struct dgf_bytes source = doc->source;

    at = skip_joined(source, escapes, at);
    if (!is_blank(c))
        at = skip_blanks(source, at);
    if (at >= source.len)
        return at;
    if (escapes && source.ptr[at] == '\\')
        return at + escape_len(source, at);
    if (is_blank(c))
        return at + is_blank(source.ptr[at]);
    return next_char(source, at) + (quotes && c == '\'');
}

struct dgf_mark dgf_yaml_text_mark(const struct dgf_yaml *doc,
                                   const struct dgf_yaml_node *scalar, size_t offset,
                                   unsigned len)
{
    struct dgf_bytes text = dgf_bytes_of(scalar->text, scalar->text_len);
    size_t at, i = 0;
    bool quoted, escapes;

    doc = dgf_yaml_doc_of(doc, scalar->mark.file);
    at = content_begin(doc, scalar);
    quoted = !scalar->plain && !scalar->block && scalar->begin < doc->source.len;
    escapes = quoted && doc->source.ptr[scalar->begin] == '"';
    for (; i < offset && i < text.len; i = next_char(text, i))
        at = skip_char(doc, text.ptr[i], escapes, quoted && !escapes, at);
    at = skip_joined(doc->source, escapes, at);
    if (i < text.len && !is_blank(text.ptr[i]))
        at = skip_blanks(doc->source, at);
    if (at > doc->source.len)
        at = doc->source.len;
    return dgf_yaml_mark_at(doc, at, len);
}

/* ---- documents ---- */

static struct dgf_mark in_file(const char *path)
{
    return (struct dgf_mark){path, 0, 0, 1};
}

/* The scanner would stop at the same places but count them in other units. */
static bool text_is_good(const struct dgf_yaml *doc, struct dgf_findings *findings)
{
    for (size_t i = 0; i < doc->n_lines; i++) {
        const uint8_t *begin = doc->source.ptr + doc->line_begins[i];
        size_t end = i + 1 < doc->n_lines ? doc->line_begins[i + 1] : doc->source.len;
        struct dgf_bytes line = dgf_bytes_of(begin, end - doc->line_begins[i]);

        if (dgf_utf8_valid(line))
            continue;
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0111",
                         (struct dgf_mark){doc->path, (unsigned)i + 1, 0, 1}, NULL,
                         "this line is not UTF-8");
        return false;
    }
    return true;
}

static enum dgf_rc out_of_memory(struct dgf_findings *findings)
{
    findings->nomem = true;
    return DGF_NOMEM;
}

enum dgf_rc dgf_yaml_parse(const char *path, struct dgf_bytes text,
                           struct dgf_findings *findings, struct dgf_yaml **ret)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    size_t errors = findings->n_errors;
    enum dgf_rc rc;
    char *copy;

    if (text.len > FILE_MAX) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0108", in_file(path), NULL,
                         "the file is larger than 1 MiB");
        return DGF_BAD_CONFIG;
    }
    doc = dgf_calloc(1, sizeof(*doc));
    if (!doc)
        return out_of_memory(findings);
    dgf_arena_init(&doc->arena, ARENA_MAX);
    if (text.len >= 3 && memcmp(text.ptr, "\xef\xbb\xbf", 3) == 0)
        text = dgf_bytes_of(text.ptr + 3, text.len - 3);
    doc->path = dgf_arena_strndup(&doc->arena, path, strlen(path));
    copy = dgf_arena_strndup(&doc->arena, (const char *)text.ptr, text.len);
    doc->source = dgf_bytes_of(copy, text.len);
    if (!doc->path || !copy || !note_lines(doc))
        return out_of_memory(findings);
    if (!text_is_good(doc, findings))
        return DGF_BAD_CONFIG;
    rc = dgf_yaml_build(doc, findings);
    if (rc == DGF_NOMEM)
        return out_of_memory(findings);
    if (rc)
        return DGF_BAD_CONFIG;
    *ret = dgf_steal(doc);
    return findings->n_errors > errors ? DGF_BAD_CONFIG : DGF_OK;
}

enum dgf_rc dgf_yaml_load(const char *path, struct dgf_findings *findings,
                          struct dgf_yaml **ret)
{
    struct dgf_err err;
    struct dgf_buf text;
    enum dgf_rc rc;

    dgf_buf_init(&text, FILE_MAX + 4096);
    rc = dgf_file_slurp(path, FILE_MAX, &text, &err);
    if (rc == DGF_OK)
        rc = dgf_yaml_parse(path, dgf_buf_bytes(&text), findings, ret);
    else if (rc == DGF_NOMEM)
        rc = out_of_memory(findings);
    else {
        bool large = rc == DGF_BAD_DATA;

        dgf_findings_add(findings, DGF_FINDING_ERROR, large ? "E0108" : "E0101",
                         in_file(path), NULL, "%s",
                         large ? "the file is larger than 1 MiB" : err.text);
        rc = DGF_BAD_CONFIG;
    }
    /* A configuration may hold a password that should not be in it. */
    dgf_wipe(text.ptr, text.len);
    dgf_buf_release(&text);
    return rc;
}

void dgf_yaml_free(struct dgf_yaml *doc)
{
    if (!doc)
        return;
    dgf_yaml_free(doc->overlay);
    dgf_wipe((void *)doc->source.ptr, doc->source.len);
    dgf_wipe(doc->lines, doc->lines ? doc->source.len : 0);
    dgf_arena_release(&doc->arena);
    dgf_free(doc);
}

struct dgf_yaml_node *dgf_yaml_root(const struct dgf_yaml *doc)
{
    return doc->root;
}

struct dgf_yaml_node *dgf_yaml_get(const struct dgf_yaml_node *map, const char *key)
{
    size_t len = strlen(key);

    if (!map || map->kind != DGF_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (map->keys[i]->text_len == len && memcmp(map->keys[i]->text, key, len) == 0)
            return map->items[i];
    return NULL;
}

const char *dgf_yaml_kind_text(enum dgf_yaml_kind kind)
{
    static const char *const texts[] = {"nothing",  "true or false", "an integer",
                                        "a number", "text",          "a list",
                                        "a map"};

    return texts[kind];
}

void dgf_yaml_finding(const struct dgf_yaml *doc, struct dgf_findings *findings,
                      enum dgf_severity_of_finding severity, const char *code,
                      const struct dgf_yaml_node *node, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    doc = dgf_yaml_doc_of(doc, node->mark.file);
    dgf_findings_add(findings, severity, code, node->mark,
                     dgf_yaml_line(doc, node->mark.line), "%s", text);
}
