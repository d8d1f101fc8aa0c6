#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Ends a cut text in "..." without splitting a UTF-8 sequence. */
static void mark_cut(char *text, size_t size)
{
    size_t at = size - 4;

    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    memcpy(text + at, "...", 4);
}

static void vset(char *text, size_t size, const char *fmt, va_list ap)
{
    int n = vsnprintf(text, size, fmt, ap);

    if (n < 0)
        text[0] = '\0';
    else if ((size_t)n >= size)
        mark_cut(text, size);
}

enum dgf_rc dgf_err_set(struct dgf_err *err, enum dgf_rc rc, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return rc;
    err->rc = rc;
    va_start(ap, fmt);
    vset(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    return rc;
}

enum dgf_rc dgf_err_prefix(struct dgf_err *err, const char *fmt, ...)
{
    char old[DGF_ERR_TEXT_MAX];
    size_t len;
    va_list ap;

    if (!err)
        return DGF_FATAL;
    memcpy(old, err->text, sizeof(old));
    va_start(ap, fmt);
    vset(err->text, sizeof(err->text), fmt, ap);
    va_end(ap);
    len = strlen(err->text);
    if ((size_t)snprintf(err->text + len, sizeof(err->text) - len, ": %s", old) >=
        sizeof(err->text) - len)
        mark_cut(err->text, sizeof(err->text));
    return err->rc;
}

const char *dgf_errno_text(int cause)
{
    const char *text = strerrordesc_np(cause);

    return text ? text : "unknown error";
}

const char *dgf_rc_text(enum dgf_rc rc)
{
    static const char *const texts[] = {
        "ok", "again", "retry", "bad data", "bad config", "out of memory", "fatal"};

    return (size_t)rc < sizeof(texts) / sizeof(texts[0]) ? texts[rc] : "unknown";
}
