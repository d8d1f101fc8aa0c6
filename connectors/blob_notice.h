/* blob_notice.h - the text of a message of a Storage queue as events.
 *
 * Event Grid writes base64 of JSON; plain JSON is taken too.  One event or a list of
 * them.  Pure.  Thread: any. */
#ifndef DGF_CONNECTORS_BLOB_NOTICE_H
#define DGF_CONNECTORS_BLOB_NOTICE_H

#include "base/buf.h"
#include "base/err.h"

#define DGF_NOTICE_MAX ((size_t)256 << 10) /* the service takes 64 KiB */
#define DGF_NOTICE_EVENTS_MAX 1000

/* Appends each event as one msgpack map, one behind the other; *ret_n: how many, 0 for
 * an empty message and an empty list.  DGF_BAD_DATA: *why says what it is. */
enum dgf_rc dgf_blob_notice_read(struct dgf_bytes text, struct dgf_buf *out,
                                 size_t *ret_n, const char **why) DGF_MUST_USE;

#endif
