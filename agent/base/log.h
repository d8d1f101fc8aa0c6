/* log.h - one JSON object a line on stderr (or a file), levels debug to error.
 *
 * Only agent/ logs above debug; everything else returns errors.  No event
 * value and no secret is ever passed here.  Thread: any. */
#ifndef DGF_BASE_LOG_H
#define DGF_BASE_LOG_H

#include <stdint.h>

enum dgf_log_level { DGF_LOG_DEBUG, DGF_LOG_INFO, DGF_LOG_WARN, DGF_LOG_ERROR };

/* fd: where lines go; human: plain text instead of JSON (a terminal). */
void dgf_log_init(int fd, enum dgf_log_level level, int human);

/* One line.  Pairs of (name, text) follow, ended by NULL; a name that starts
 * with '#' has an int64_t instead of a text:
 *   dgf_log(DGF_LOG_WARN, "source failed", "source", name, "cause", err.text,
 *           "#retry_ms", (int64_t)500, NULL);  */
void dgf_log(enum dgf_log_level level, const char *event, ...)
    __attribute__((sentinel));

#endif
