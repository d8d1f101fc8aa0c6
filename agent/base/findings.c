#include "base/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void dgf_findings_init(struct dgf_findings *findings)
{
    *findings = (struct dgf_findings){0};
}

static void finding_release(struct dgf_finding *finding)
{
    dgf_free((void *)finding->mark.file);
    dgf_free(finding->text);
    dgf_free(finding->source_line);
    dgf_free(finding->fix);
    dgf_free(finding->option);
}

void dgf_findings_release(struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++)
        finding_release(&findings->list[i]);
    dgf_free(findings->list);
    for (size_t i = 0; i < findings->n_hidden; i++)
        dgf_free((void *)findings->hidden[i].file);
    dgf_free(findings->hidden);
    dgf_findings_init(findings);
}

static DGF_PRINTF(1, 0) char *format(const char *fmt, va_list ap)
{
    va_list again;
    char *text;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    text = n >= 0 ? dgf_malloc((size_t)n + 1) : NULL;
    if (!text)
        return NULL;
    (void)vsnprintf(text, (size_t)n + 1, fmt, ap);
    dgf_text_hide(text); /* a secret in the wrong place is in what is said of it */
    return text;
}

static bool has_room(struct dgf_findings *findings)
{
    size_t cap = findings->cap ? findings->cap * 2 : 8;
    struct dgf_finding *list;

    if (findings->n < findings->cap)
        return true;
    list = dgf_realloc(findings->list, cap * sizeof(*list));
    if (!list)
        return false;
    findings->list = list;
    findings->cap = cap;
    return true;
}

/* More than a person reads at once, and a bound for files that are all wrong. */
enum { KEPT = 1000, LONGEST_LINE = 400 };

static void hide_if_there(struct dgf_finding *finding, const struct dgf_mark *secret)
{
    if (finding->source_line && finding->mark.file &&
        finding->mark.line == secret->line &&
        strcmp(finding->mark.file, secret->file) == 0)
        dgf_line_hide(finding->source_line, secret->col, secret->len);
}

/* False: out of memory. */
static bool keep_line(const struct dgf_findings *findings, struct dgf_finding *finding,
                      const char *line)
{
    if (!line || strnlen(line, LONGEST_LINE + 1) > LONGEST_LINE)
        return true;
    finding->source_line = dgf_strdup(line);
    if (!finding->source_line)
        return false;
    dgf_findings_hide(finding->source_line);
    for (size_t i = 0; i < findings->n_hidden; i++)
        hide_if_there(finding, &findings->hidden[i]);
    return true;
}

void dgf_findings_hide_at(struct dgf_findings *findings, struct dgf_mark mark)
{
    size_t cap = findings->cap_hidden ? findings->cap_hidden * 2 : 8;
    struct dgf_mark *list = findings->hidden;

    if (!mark.file)
        return;
    for (size_t i = 0; i < findings->n; i++)
        hide_if_there(&findings->list[i], &mark);
    if (findings->n_hidden == findings->cap_hidden) {
        list = dgf_realloc(list, cap * sizeof(*list));
        if (list) {
            findings->hidden = list;
            findings->cap_hidden = cap;
        }
    }
    mark.file = list ? dgf_strdup(mark.file) : NULL;
    if (mark.file)
        findings->hidden[findings->n_hidden++] = mark;
    else
        findings->nomem = true;
}

void dgf_findings_add(struct dgf_findings *findings,
                      enum dgf_severity_of_finding severity, const char *code,
                      struct dgf_mark mark, const char *source_line, const char *fmt,
                      ...)
{
    struct dgf_finding finding = {.severity = severity, .code = code, .mark = mark};
    va_list ap;

    /* Counted also when it cannot be kept: an error stays an error. */
    findings->n_errors += severity == DGF_FINDING_ERROR;
    findings->n_warnings += severity == DGF_FINDING_WARNING;
    if (findings->n == KEPT)
        return;
    va_start(ap, fmt);
    finding.text = format(fmt, ap);
    va_end(ap);
    finding.mark.file = mark.file ? dgf_strdup(mark.file) : NULL;
    if (!finding.text || (mark.file && !finding.mark.file) ||
        !keep_line(findings, &finding, source_line) || !has_room(findings)) {
        finding_release(&finding);
        findings->nomem = true;
        return;
    }
    findings->list[findings->n++] = finding;
}

void dgf_findings_line_at(struct dgf_findings *findings, size_t at, const char *line)
{
    if (at < findings->n && !findings->list[at].source_line &&
        !keep_line(findings, &findings->list[at], line))
        findings->nomem = true;
}

void dgf_findings_place_at(struct dgf_findings *findings, size_t at,
                           struct dgf_mark mark, const char *line)
{
    struct dgf_finding *finding = &findings->list[at];

    dgf_free((void *)finding->mark.file);
    dgf_free(finding->source_line);
    finding->source_line = NULL;
    finding->mark = mark;
    finding->mark.file = mark.file ? dgf_strdup(mark.file) : NULL;
    if (mark.file && !finding->mark.file)
        findings->nomem = true;
    dgf_findings_line_at(findings, at, line);
}

static void set_fix(struct dgf_findings *findings, size_t at, const char *fmt,
                    va_list ap)
{
    struct dgf_finding *finding = &findings->list[at];

    dgf_free(finding->fix);
    finding->fix = format(fmt, ap);
    if (!finding->fix)
        findings->nomem = true;
}

void dgf_findings_fix(struct dgf_findings *findings, const char *fmt, ...)
{
    va_list ap;

    if (findings->n == 0 || findings->n == KEPT || findings->nomem)
        return; /* the last one may not be the one that is meant */
    va_start(ap, fmt);
    set_fix(findings, findings->n - 1, fmt, ap);
    va_end(ap);
}

void dgf_findings_fix_at(struct dgf_findings *findings, size_t at, const char *fmt, ...)
{
    va_list ap;

    if (at >= findings->n || findings->nomem)
        return;
    va_start(ap, fmt);
    set_fix(findings, at, fmt, ap);
    va_end(ap);
}

void dgf_findings_about(struct dgf_findings *findings, const char *fmt, ...)
{
    struct dgf_finding *last;
    va_list ap;

    if (findings->n == 0 || findings->n == KEPT || findings->nomem)
        return; /* as above */
    last = &findings->list[findings->n - 1];
    dgf_free(last->option);
    va_start(ap, fmt);
    last->option = format(fmt, ap);
    va_end(ap);
    if (!last->option)
        findings->nomem = true;
}

bool dgf_code_explain(const char *code, const char **ret_title, const char **ret_text)
{
    static const struct {
        const char *code, *title, *text;
    } codes[] = {
#define CODE(code, title, text) {#code, title, text},
#include "base/codes.def"
#undef CODE
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(codes); i++)
        if (strcasecmp(codes[i].code, code) == 0) {
            *ret_title = codes[i].title;
            *ret_text = codes[i].text;
            return true;
        }
    return false;
}
