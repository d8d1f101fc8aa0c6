/* archive_line.h - looks at one line of an archive: is it JSON, how deep, and what
 * does it say of itself?  Pure; the line may be anybody's.  Thread: any. */
#ifndef DGF_LEDGER_ARCHIVE_LINE_H
#define DGF_LEDGER_ARCHIVE_LINE_H

#include "base/buf.h"

#define DGF_ARCHIVE_LINE_MAX 65535
#define DGF_ARCHIVE_DEPTH_MAX 64

enum dgf_line_is { DGF_LINE_OK, DGF_LINE_NO_JSON, DGF_LINE_TOO_DEEP };

/* Of the outermost object; views into the line, empty when they are absent or of
 * another type.  Texts are what stands between the quotes, escapes not undone. */
struct dgf_archive_line {
    struct dgf_bytes seq, kind, time, logged;
};

/* OK: one JSON object of valid UTF-8 (RFC 8259), nested at most 64 deep. */
enum dgf_line_is dgf_archive_line_read(struct dgf_bytes line,
                                       struct dgf_archive_line *ret);

/* The index a record of ours begins with (`{"v":1,"seq":12,`); false: it does not
 * begin so.  For lines that are not what was signed, JSON or not. */
bool dgf_archive_line_seq(struct dgf_bytes line, uint64_t *ret);

/* In a line that ends at `end`.  The quote that ends the text that begins at p, behind
 * its own; what follows the number that begins at p < end.  NULL: it is none. */
const uint8_t *dgf_archive_text_end(const uint8_t *p, const uint8_t *end);
const uint8_t *dgf_archive_number_end(const uint8_t *p, const uint8_t *end);

#endif
