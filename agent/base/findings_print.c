/* findings_print.c - the four ways findings are shown. */
#include "base/findings.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/parse.h"

static const char *const severity_words[] = {"error", "warning", "note"};

/* ---- for people ---- */

enum { LONGEST_LINE = 400 };

/* Files may hold what a terminal obeys. */
static void add_printable(struct dgf_buf *out, struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        dgf_buf_add_byte(out,
                         (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f ? '?' : c);
    }
}

static const char *paint(bool colour, enum dgf_severity_of_finding severity)
{
    static const char *const codes[] = {"\033[1;31m", "\033[1;35m", "\033[1;36m"};

    return colour ? codes[severity] : "";
}

/* The line and carets under it; tabs stay tabs, so that both align. */
static void add_excerpt(const struct dgf_finding *finding, bool colour,
                        struct dgf_buf *out)
{
    struct dgf_bytes line = dgf_bytes_str(finding->source_line);
    unsigned left = finding->mark.col, len = finding->mark.len;
    size_t at = 0;

    if (!finding->source_line || finding->mark.line == 0)
        return;
    dgf_buf_addf(out, "%5u | ", finding->mark.line);
    add_printable(out, line);
    dgf_buf_add_byte(out, '\n');
    if (left == 0)
        return;
    dgf_buf_addf(out, "      | ");
    for (; left > 1; left--) {
        bool tab = at < line.len && line.ptr[at] == '\t';

        dgf_buf_add_byte(out, tab ? '\t' : ' ');
        for (at++; at < line.len && (line.ptr[at] & 0xc0) == 0x80;)
            at++;
        if (at > line.len)
            break;
    }
    dgf_buf_add_str(out, paint(colour, finding->severity));
    dgf_buf_add_byte(out, '^');
    for (unsigned i = 1; i < len && i < LONGEST_LINE; i++)
        dgf_buf_add_byte(out, '~');
    dgf_buf_add_str(out, colour ? "\033[0m\n" : "\n");
}

static void add_place(const struct dgf_mark *mark, struct dgf_buf *out)
{
    if (!mark->file)
        return;
    add_printable(out, dgf_bytes_str(mark->file));
    if (mark->line > 0)
        dgf_buf_addf(out, ":%u", mark->line);
    if (mark->line > 0 && mark->col > 0)
        dgf_buf_addf(out, ":%u", mark->col);
}

static void print_human(const struct dgf_findings *findings,
                        const struct dgf_finding *const *list, size_t n, bool colour,
                        struct dgf_buf *out)
{
    size_t counted = findings->n_errors + findings->n_warnings, n_notes = 0;

    for (size_t i = 0; i < n; i++) {
        const struct dgf_finding *finding = list[i];

        n_notes += finding->severity == DGF_FINDING_NOTE;
        add_place(&finding->mark, out);
        if (finding->mark.file)
            dgf_buf_add_str(out, ": ");
        dgf_buf_add_str(out, paint(colour, finding->severity));
        dgf_buf_add_str(out, severity_words[finding->severity]);
        if (finding->code)
            dgf_buf_addf(out, "[%s]", finding->code);
        dgf_buf_add_str(out, colour ? "\033[0m: " : ": ");
        add_printable(out, dgf_bytes_str(finding->text));
        dgf_buf_add_byte(out, '\n');
        add_excerpt(finding, colour, out);
        if (finding->fix) {
            dgf_buf_add_str(out, "      = fix: ");
            add_printable(out, dgf_bytes_str(finding->fix));
            dgf_buf_add_byte(out, '\n');
        }
    }
    if (counted > n - n_notes)
        dgf_buf_addf(out, "%zu more are not shown\n", counted - (n - n_notes));
}

/* ---- for programs ---- */

/* What stands in a file need not be UTF-8. */
static void key_text(struct dgf_json *json, const char *key, const char *text)
{
    struct dgf_bytes bytes = dgf_bytes_str(text);
    struct dgf_buf clean;

    if (!text)
        return;
    dgf_json_key(json, key);
    if (dgf_utf8_valid(bytes)) {
        dgf_json_text(json, bytes);
        return;
    }
    dgf_buf_init(&clean, bytes.len);
    for (size_t i = 0; i < bytes.len; i++)
        dgf_buf_add_byte(&clean, bytes.ptr[i] < 0x80 ? bytes.ptr[i] : '?');
    dgf_json_text(json, dgf_buf_bytes(&clean));
    if (dgf_buf_rc(&clean))
        json->buf->rc = DGF_NOMEM;
    dgf_buf_release(&clean);
}

static void key_number(struct dgf_json *json, const char *key, uint64_t value)
{
    dgf_json_key(json, key);
    dgf_json_u64(json, value);
}

static void print_json(const struct dgf_findings *findings,
                       const struct dgf_finding *const *list, size_t n,
                       struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    dgf_json_key(&json, "findings");
    dgf_json_begin_array(&json);
    for (size_t i = 0; i < n; i++) {
        const struct dgf_mark *mark = &list[i]->mark;

        dgf_json_begin_object(&json);
        key_text(&json, "severity", severity_words[list[i]->severity]);
        key_text(&json, "code", list[i]->code);
        key_text(&json, "file", mark->file);
        if (mark->line > 0)
            key_number(&json, "line", mark->line);
        if (mark->line > 0 && mark->col > 0) {
            key_number(&json, "col", mark->col);
            key_number(&json, "len", mark->len ? mark->len : 1);
        }
        key_text(&json, "text", list[i]->text);
        key_text(&json, "source", list[i]->source_line);
        key_text(&json, "fix", list[i]->fix);
        dgf_json_end_object(&json);
    }
    dgf_json_end_array(&json);
    key_number(&json, "errors", findings->n_errors);
    key_number(&json, "warnings", findings->n_warnings);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}

static void sarif_text(struct dgf_json *json, const char *key, const char *text)
{
    dgf_json_key(json, key);
    dgf_json_begin_object(json);
    key_text(json, "text", text);
    dgf_json_end_object(json);
}

static void sarif_location(struct dgf_json *json, const struct dgf_mark *mark)
{
    dgf_json_key(json, "locations");
    dgf_json_begin_array(json);
    if (mark->file) {
        dgf_json_begin_object(json);
        dgf_json_key(json, "physicalLocation");
        dgf_json_begin_object(json);
        dgf_json_key(json, "artifactLocation");
        dgf_json_begin_object(json);
        key_text(json, "uri", mark->file);
        dgf_json_end_object(json);
        if (mark->line > 0) {
            unsigned col = mark->col ? mark->col : 1;

            dgf_json_key(json, "region");
            dgf_json_begin_object(json);
            key_number(json, "startLine", mark->line);
            key_number(json, "startColumn", col);
            key_number(json, "endColumn", col + (mark->len ? mark->len : 1));
            dgf_json_end_object(json);
        }
        dgf_json_end_object(json);
        dgf_json_end_object(json);
    }
    dgf_json_end_array(json);
}

/* Each code once, in the order it is met. */
static void sarif_rules(struct dgf_json *json, const struct dgf_finding *const *list,
                        size_t n)
{
    dgf_json_key(json, "rules");
    dgf_json_begin_array(json);
    for (size_t i = 0; i < n; i++) {
        const char *title, *text;
        bool seen = !list[i]->code;

        for (size_t j = 0; j < i && !seen; j++)
            seen = list[j]->code && strcmp(list[j]->code, list[i]->code) == 0;
        if (seen || !dgf_code_explain(list[i]->code, &title, &text))
            continue;
        dgf_json_begin_object(json);
        key_text(json, "id", list[i]->code);
        sarif_text(json, "shortDescription", title);
        sarif_text(json, "fullDescription", text);
        dgf_json_end_object(json);
    }
    dgf_json_end_array(json);
}

static void print_sarif(const struct dgf_finding *const *list, size_t n,
                        struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    key_text(&json, "$schema", "https://json.schemastore.org/sarif-2.1.0.json");
    key_text(&json, "version", "2.1.0");
    dgf_json_key(&json, "runs");
    dgf_json_begin_array(&json);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "tool");
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "driver");
    dgf_json_begin_object(&json);
    key_text(&json, "name", "dgf");
    sarif_rules(&json, list, n);
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    key_text(&json, "columnKind", "unicodeCodePoints");
    dgf_json_key(&json, "results");
    dgf_json_begin_array(&json);
    for (size_t i = 0; i < n; i++) {
        dgf_json_begin_object(&json);
        key_text(&json, "ruleId", list[i]->code);
        key_text(&json, "level", severity_words[list[i]->severity]);
        sarif_text(&json, "message", list[i]->text);
        sarif_location(&json, &list[i]->mark);
        dgf_json_end_object(&json);
    }
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}

/* ---- JUnit ---- */

static void add_xml(struct dgf_buf *out, const char *text)
{
    struct dgf_bytes bytes = dgf_bytes_str(text);
    bool valid = dgf_utf8_valid(bytes);

    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.ptr[i];

        if (c == '<')
            dgf_buf_add_str(out, "&lt;");
        else if (c == '>')
            dgf_buf_add_str(out, "&gt;");
        else if (c == '&')
            dgf_buf_add_str(out, "&amp;");
        else if (c == '"')
            dgf_buf_add_str(out, "&quot;");
        else if (c == '\n' || c == '\t')
            dgf_buf_addf(out, "&#%u;", c);
        else /* XML 1.0 has no way to write control characters */
            dgf_buf_add_byte(out, c < 0x20 || (!valid && c >= 0x80) ? '?' : c);
    }
}

static void print_junit(const struct dgf_findings *findings,
                        const struct dgf_finding *const *list, size_t n,
                        struct dgf_buf *out)
{
    size_t n_failed = 0;

    for (size_t i = 0; i < n; i++)
        n_failed += list[i]->severity == DGF_FINDING_ERROR;
    dgf_buf_addf(
        out,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites>\n<testsuite name=\"dgf\" tests=\"%zu\" failures=\"%zu\">\n",
        n ? n : 1, n_failed);
    if (n == 0)
        dgf_buf_addf(out, "<testcase classname=\"dgf\" name=\"%s\"/>\n",
                     findings->nomem ? "out of memory" : "no findings");
    for (size_t i = 0; i < n; i++) {
        const struct dgf_finding *finding = list[i];
        bool failed = finding->severity == DGF_FINDING_ERROR;

        dgf_buf_add_str(out, "<testcase classname=\"");
        add_xml(out, finding->mark.file ? finding->mark.file : "dgf");
        dgf_buf_addf(out, "\" name=\"%u:%u %s\">", finding->mark.line,
                     finding->mark.col,
                     finding->code ? finding->code : severity_words[finding->severity]);
        dgf_buf_addf(out,
                     failed ? "<failure type=\"%s\" message=\"" : "<system-out>%s: ",
                     severity_words[finding->severity]);
        add_xml(out, finding->text);
        dgf_buf_add_str(out,
                        failed ? "\"/></testcase>\n" : "</system-out></testcase>\n");
    }
    dgf_buf_add_str(out, "</testsuite>\n</testsuites>\n");
}

/* ---- order ---- */

static int by_place(const void *left, const void *right)
{
    const struct dgf_finding *a = *(const struct dgf_finding *const *)left;
    const struct dgf_finding *b = *(const struct dgf_finding *const *)right;
    int order =
        strcmp(a->mark.file ? a->mark.file : "", b->mark.file ? b->mark.file : "");

    if (order)
        return order;
    if (a->mark.line != b->mark.line)
        return a->mark.line < b->mark.line ? -1 : 1;
    if (a->mark.col != b->mark.col)
        return a->mark.col < b->mark.col ? -1 : 1;
    return (a > b) - (a < b); /* as they were added: all stand in one array */
}

void dgf_findings_print(const struct dgf_findings *findings,
                        enum dgf_findings_format format, bool colour,
                        struct dgf_buf *out)
{
    const struct dgf_finding **list =
        dgf_calloc(findings->n, sizeof(struct dgf_finding *));

    if (!list) {
        out->rc = DGF_NOMEM;
        return;
    }
    for (size_t i = 0; i < findings->n; i++)
        list[i] = &findings->list[i];
    qsort(list, findings->n, sizeof(struct dgf_finding *), by_place);
    switch (format) {
    case DGF_FINDINGS_HUMAN:
        print_human(findings, list, findings->n, colour, out);
        break;
    case DGF_FINDINGS_JSON:
        print_json(findings, list, findings->n, out);
        break;
    case DGF_FINDINGS_SARIF:
        print_sarif(list, findings->n, out);
        break;
    case DGF_FINDINGS_JUNIT:
        print_junit(findings, list, findings->n, out);
        break;
    }
    dgf_free(list);
}
