/* archive_layout.h - lines whose values stand where those of another stood.
 *
 * Most records differ from the one before in some digits and letters only: every value
 * is as long.  Such a line is looked at many bytes at a time and not value by value.
 * A layout is learned from a line that is known to be JSON; a line has it if its length
 * is the same, every byte outside of values is the same, texts are plain (ASCII, no
 * quote, no backslash, no control character) and numbers are digits that begin as JSON
 * wants it: then it is JSON as well.  Constant memory.  Thread: one owner. */
#ifndef DGF_LEDGER_ARCHIVE_LAYOUT_H
#define DGF_LEDGER_ARCHIVE_LAYOUT_H

#include "base/buf.h"

#define DGF_LAYOUT_BYTES_MAX 2048
#define DGF_LAYOUT_NUMBERS_MAX 64

/* The masks are 0xff at the bytes they mean, else 0. */
struct dgf_layout {
    size_t len;                               /* of its lines; 0: nothing was learned */
    size_t n_numbers;                         /* of more than one digit */
    uint16_t numbers[DGF_LAYOUT_NUMBERS_MAX]; /* where they begin */
    uint8_t bytes[DGF_LAYOUT_BYTES_MAX];      /* of the line */
    uint8_t fixed[DGF_LAYOUT_BYTES_MAX];      /* mask: what is in no value */
    uint8_t digits[DGF_LAYOUT_BYTES_MAX];     /* mask: what is in a number */
};

/* Forgets what it knew, and learns nothing from a line that is longer than
 * DGF_LAYOUT_BYTES_MAX, shorter than 32 bytes or holds a number that is more than
 * digits.  The values, in their order: views into the line. */
void dgf_layout_learn(struct dgf_layout *layout, struct dgf_bytes line,
                      const struct dgf_bytes *values, const bool *is_text,
                      size_t n_values);
bool dgf_layout_is(const struct dgf_layout *layout, struct dgf_bytes line);

#endif
