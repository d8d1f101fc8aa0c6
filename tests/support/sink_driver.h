/* sink_driver.h - what the programs that host one sink alone share.
 *
 * A driver prints what its sink says, keeps the sink's cursor in a file over a kill,
 * and tells how much memory it took.  What cannot be done ends the process.
 * Thread: loop. */
#ifndef TESTS_SUPPORT_SINK_DRIVER_H
#define TESTS_SUPPORT_SINK_DRIVER_H

#include "bus/sink.h"

/* First of all: output by lines, no SIGPIPE, the log on stderr (DRIVER_DEBUG: all). */
void sink_driver_begin(void);

/* path NULL: nothing is kept.  Written beside it and renamed: a kill leaves the old one
 * or the new one. */
void sink_driver_write_cursor(const char *path, const struct dgf_buf *cursor);
/* Appends what the file holds; there may be none. */
void sink_driver_read_cursor(const char *path, struct dgf_buf *cursor);

/* `state` of a host: "state ok|bad TEXT". */
void sink_driver_state(struct dgf_sink *sink, bool ok, const char *reason);
/* The sink's own check: "finding SEVERITY TEXT | FIX" each, "fail CODE TEXT". */
void sink_driver_check(struct dgf_sink *sink);

/* Makes *peak_kb the anonymous memory of this process where that is more. */
void sink_driver_watch_memory(long *peak_kb);

#endif
