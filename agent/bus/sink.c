#include "bus/sink.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/parse.h"

const struct dgf_opt dgf_select_opts[] = {
    {.name = "kinds",
     .type = DGF_OPT_STR_LIST,
     .offset = offsetof(struct dgf_select, kinds),
     .help = "record kinds to send; all when empty",
     .example = "[violation, gap]"},
    {.name = "policies",
     .type = DGF_OPT_STR_LIST,
     .offset = offsetof(struct dgf_select, policies),
     .help = "of records that name a policy, only these; * stands for any characters",
     .example = "[CARD-*]"},
    {.name = "min_severity",
     .type = DGF_OPT_ENUM,
     .offset = offsetof(struct dgf_select, min_severity),
     .fallback = "info",
     .help = "of records that name a policy, only this severity and above",
     .words = "info|low|medium|high|critical"},
    DGF_OPT_END,
};

/* Linear but for the last star, which is the only one worth going back to. */
static bool glob_match(struct dgf_bytes glob, struct dgf_bytes text)
{
    size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;

    while (t < text.len) {
        if (g < glob.len && glob.ptr[g] == '*') {
            star = g++;
            mark = t;
        } else if (g < glob.len && glob.ptr[g] == text.ptr[t]) {
            g++;
            t++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.ptr[g] == '*')
        g++;
    return g == glob.len;
}

static bool in_list(const struct dgf_str_list *list, struct dgf_bytes text)
{
    for (size_t i = 0; i < list->n; i++) {
        if (glob_match(dgf_bytes_str(list->list[i]), text))
            return true;
    }
    return list->n == 0;
}

bool dgf_select_kind(const struct dgf_select *select, enum dgf_record_kind kind)
{
    return in_list(&select->kinds, dgf_bytes_str(dgf_record_kind_text(kind)));
}

bool dgf_select_match(const struct dgf_select *select, const struct dgf_record *record)
{
    if (!dgf_select_kind(select, record->kind))
        return false;
    if (record->policy.len == 0)
        return true;
    return (int)record->severity >= select->min_severity &&
           in_list(&select->policies, record->policy);
}

void dgf_select_validate(const struct dgf_select *select, const char *what,
                         struct dgf_mark mark, struct dgf_findings *findings)
{
    const char *kinds[DGF_RECORD_N];

    for (int kind = 0; kind < DGF_RECORD_N; kind++)
        kinds[kind] = dgf_record_kind_text((enum dgf_record_kind)kind);
    for (size_t i = 0; i < select->kinds.n; i++) {
        const char *word = select->kinds.list[i];
        const char *near = dgf_nearest(word, kinds, DGF_RECORD_N);

        if (dgf_record_kind_of(dgf_bytes_str(word)) >= 0)
            continue;
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0205", mark, NULL,
                         "%s: 'select.kinds' has '%s', which is no record kind%s%s%s",
                         what, word, near ? "; did you mean '" : "", near ? near : "",
                         near ? "'?" : "");
        dgf_findings_about(findings, "select.kinds[%zu]", i);
    }
}

void dgf_sink_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sink->host->fail(sink, rc, text);
}

void dgf_sink_state(struct dgf_sink *sink, bool ok, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    sink->host->state(sink, ok, text);
}
