/* err.h - the text that goes with a result code.
 *
 * Texts are lower case without a full stop and say what failed, on what, and
 * why: cannot start replication on slot 'x': slot is active for pid 812.
 * They never hold a secret or an event's value.  Thread: any, one owner. */
#ifndef DGF_BASE_ERR_H
#define DGF_BASE_ERR_H

#include "base/rc.h"

#define DGF_ERR_TEXT_MAX 1024

struct dgf_err {
    enum dgf_rc rc;
    char text[DGF_ERR_TEXT_MAX];
};

/* Sets rc and text and returns rc, so that callers can write
 * `return dgf_err_set(err, DGF_RETRY, ...)`.  err may be NULL.  A text that is
 * too long is cut at a character boundary and ends in "...". */
enum dgf_rc dgf_err_set(struct dgf_err *err, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);

/* Puts "prefix: " in front of the text that is there and returns err->rc. */
enum dgf_rc dgf_err_prefix(struct dgf_err *err, const char *fmt, ...) DGF_PRINTF(2, 3);

/* What the system says about a value of errno; static, the same in every locale. */
const char *dgf_errno_text(int cause);
/* "again", "retry", "bad data" ...; for logs and tests. */
const char *dgf_rc_text(enum dgf_rc rc);

#endif
