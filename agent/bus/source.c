#include "bus/source.h"

#include <stdarg.h>
#include <stdio.h>

void dgf_source_fail(struct dgf_source *src, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    src->host->fail(src, rc, text);
}

void dgf_source_state(struct dgf_source *src, enum dgf_source_state state,
                      const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    src->host->state(src, state, text);
}

void dgf_source_impaired(struct dgf_source *src, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (!src->host->impaired)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    src->host->impaired(src, text);
}

void dgf_source_finding(struct dgf_source *src, struct dgf_findings *findings,
                        enum dgf_severity_of_finding severity, const char *code,
                        const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(findings, severity, code, (struct dgf_mark){0}, NULL,
                     "sources.%s (%s): %s", src->name, src->type->name, text);
}

void dgf_source_caught_up(struct dgf_source *src)
{
    src->host->caught_up(src);
}

enum dgf_rc dgf_source_put_state(struct dgf_source *src, struct dgf_bytes key,
                                 struct dgf_bytes value)
{
    return src->host->put_state(src, key, value);
}

enum dgf_rc dgf_source_get_state(struct dgf_source *src, struct dgf_bytes key,
                                 struct dgf_buf *ret)
{
    return src->host->get_state(src, key, ret);
}

enum dgf_rc dgf_source_delete_state(struct dgf_source *src, struct dgf_bytes key)
{
    return src->host->delete_state(src, key);
}
