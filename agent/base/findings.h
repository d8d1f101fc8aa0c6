/* findings.h - what a person should mend, gathered and shown all at once.
 *
 * One finding = where, a code that `dgf rules explain` describes, a text, and
 * what to write instead.  Printed as
 *   file:line:col: error[E0207]: text
 *      31 |  source line
 *         |        ^~~~~~~
 * Codes and their explanations live in agent/base/codes.def:
 *   CODE(E0207, "short title", "what it means, why, and an example of a fix")
 * Thread: one owner. */
#ifndef DGF_BASE_FINDINGS_H
#define DGF_BASE_FINDINGS_H

#include "base/buf.h"
#include "base/err.h"

enum dgf_severity_of_finding {
    DGF_FINDING_ERROR,
    DGF_FINDING_WARNING,
    DGF_FINDING_NOTE
};

struct dgf_mark {
    const char *file;   /* borrowed: lives as long as the document; NULL: no file */
    unsigned line, col; /* from 1; 0: unknown */
    unsigned len;       /* characters to underline, at least 1 */
};

struct dgf_finding {
    enum dgf_severity_of_finding severity;
    const char *code;     /* static, e.g. "E0207" */
    struct dgf_mark mark; /* file is an owned copy here */
    char *text;           /* owned */
    char *source_line;    /* owned, NULL when unknown */
    char *fix;            /* owned, NULL: none; SQL, command or setting */
    char *option;         /* owned, NULL: none named; "url", "tls.ca", "tables[2]" */
};

struct dgf_findings {
    struct dgf_finding *list;
    size_t n, cap, n_errors, n_warnings;
    bool nomem;              /* some could not be kept: treat as errors */
    struct dgf_mark *hidden; /* secrets in files; each owns its file's name */
    size_t n_hidden, cap_hidden;
};

void dgf_findings_init(struct dgf_findings *findings);
void dgf_findings_release(struct dgf_findings *findings);
/* source_line may be NULL; one of more than 400 bytes is not kept.  The first
 * thousand findings are kept, all are counted. */
void dgf_findings_add(struct dgf_findings *findings,
                      enum dgf_severity_of_finding severity, const char *code,
                      struct dgf_mark mark, const char *source_line, const char *fmt,
                      ...) DGF_PRINTF(6, 7);
/* Stars in place of secrets in a line of a configuration: "password: x", "secret=x",
 * "://user:x@", the comment behind one, whatever looks like a key (40 characters of
 * base64 and more that are no path and no hash), and references that are none; good
 * ones (${NAME}, ${file:PATH}) stay.  In place; done to every line that is kept. */
void dgf_findings_hide(char *line);
/* The same for a text, in which a value follows '=' alone; done to every text and fix.
 */
void dgf_text_hide(char *text);
/* Is it what ${...} may name: letters, digits and '_', no digit first? */
bool dgf_is_variable(const char *name, size_t len);
/* A secret stands at mark: stars in its place, and for a comment behind it, in every
 * line that is or will be kept.  len 0: to the end of the line. */
void dgf_findings_hide_at(struct dgf_findings *findings, struct dgf_mark mark);
/* Stars over len characters from col, which counts from 1, and over a comment behind
 * them.  In place. */
void dgf_line_hide(char *line, unsigned col, unsigned len);
/* Another place and line for list[at]; line may be NULL. */
void dgf_findings_place_at(struct dgf_findings *findings, size_t at,
                           struct dgf_mark mark, const char *line);
/* The source line of list[at], when it has none. */
void dgf_findings_line_at(struct dgf_findings *findings, size_t at, const char *line);
/* Sets the fix of the finding added last. */
void dgf_findings_fix(struct dgf_findings *findings, const char *fmt, ...)
    DGF_PRINTF(2, 3);
/* Which option the finding added last is about, as the file spells it, with dots for
 * groups and [n], from 0, for items: "tls.ca", "tables[2]".  Whoever has read the file
 * finds its place (dgf_opt_place); connectors know names only. */
void dgf_findings_about(struct dgf_findings *findings, const char *fmt, ...)
    DGF_PRINTF(2, 3);
/* The same for list[at]. */
void dgf_findings_fix_at(struct dgf_findings *findings, size_t at, const char *fmt, ...)
    DGF_PRINTF(3, 4);

enum dgf_findings_format {
    DGF_FINDINGS_HUMAN,
    DGF_FINDINGS_JSON,
    DGF_FINDINGS_SARIF,
    DGF_FINDINGS_JUNIT
};
/* Sorted by file, line, column.  colour: only for HUMAN on a terminal. */
void dgf_findings_print(const struct dgf_findings *findings,
                        enum dgf_findings_format format, bool colour,
                        struct dgf_buf *out);
/* Title and explanation of a code; false when there is no such code. */
bool dgf_code_explain(const char *code, const char **ret_title, const char **ret_text);

#endif
