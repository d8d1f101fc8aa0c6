/* recording.h - events as bytes in a file: what a replay reads.
 *
 * A recording is a header line "dgf-recording 1\n" and frames: u32 length,
 * one msgpack array, CRC32C of it.  The array is
 *   [kind, op, id, commit_ns, tx, tx_n, database, schema, object, columns, body]
 * where columns is nil or an array of [name, type, key].  Pure: bytes in,
 * events out.  Thread: one owner. */
#ifndef DGF_RECORDING_H
#define DGF_RECORDING_H

#include "base/err.h"
#include "bus/event.h"

#define DGF_RECORDING_HEAD "dgf-recording 1\n"
#define DGF_RECORDING_FRAME_MAX (32u << 20)

/* Appends one frame. */
void dgf_recording_put(const struct dgf_event *event, struct dgf_buf *out);

/* Reads one frame's payload (without length and CRC).  *object is the object of
 * the event before, kept while it stays the same; the caller unrefs the last.
 * position is given to the event.  DGF_BAD_DATA with the reason. */
enum dgf_rc dgf_recording_get(struct dgf_bytes payload, struct dgf_bytes position,
                              struct dgf_object **object, struct dgf_event **ret,
                              struct dgf_err *err) DGF_MUST_USE;

#endif
