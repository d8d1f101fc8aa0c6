/* archive_shape.h - reads lines like those that were read before, faster.
 *
 * Records of a log have few shapes: the same keys, brackets and words in the same order
 * around texts and numbers.  A line that is JSON teaches its shape.  A line that has a
 * known shape, with any text where a text was and any number where a number was, is
 * JSON as well, nested as deep, and says its fields in the same places: so it gets the
 * result that dgf_archive_line_read gives, and every other line is given to that.
 * Constant memory.  Thread: one owner. */
#ifndef DGF_LEDGER_ARCHIVE_SHAPE_H
#define DGF_LEDGER_ARCHIVE_SHAPE_H

#include "ledger/archive_layout.h"
#include "ledger/archive_line.h"

#define DGF_SHAPES 4
#define DGF_SHAPE_VALUES_MAX 64
#define DGF_SHAPE_BYTES_MAX 2048

/* Fixed bytes, value, fixed bytes, value, ..., fixed bytes. */
struct dgf_shape {
    size_t n_values; /* SIZE_MAX: not in use */
    uint16_t lens[DGF_SHAPE_VALUES_MAX + 1];
    bool is_text[DGF_SHAPE_VALUES_MAX];
    int seq, kind, time, logged;             /* which values they are; -1: none */
    uint8_t fixed[DGF_SHAPE_BYTES_MAX + 16]; /* each begins at a multiple of 16 */
    size_t last_len; /* of the line that taught it, or had it and no known layout */
    struct dgf_layout layout;
    struct dgf_archive_line at; /* the fields, in layout.bytes */
};

struct dgf_shapes {
    struct dgf_shape list[DGF_SHAPES];
    unsigned order[DGF_SHAPES]; /* the one that was used last is first */
};

void dgf_shapes_init(struct dgf_shapes *shapes);
/* What dgf_archive_line_read gives. */
enum dgf_line_is dgf_shapes_read(struct dgf_shapes *shapes, struct dgf_bytes line,
                                 struct dgf_archive_line *ret);

#endif
