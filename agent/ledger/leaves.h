/* leaves.h - lines on their way into the tree, hashed many at a time.
 *
 * Hashing side by side takes half the time of one after the other, so lines
 * wait here until there are enough.  Thread: one owner. */
#ifndef DGF_LEDGER_LEAVES_H
#define DGF_LEDGER_LEAVES_H

#include "ledger/tree.h"

#define DGF_LEAVES_MAX 64

struct dgf_leaves {
    struct dgf_bytes lines[DGF_LEAVES_MAX]; /* borrowed until they are hashed */
    uint8_t hashes[DGF_LEAVES_MAX + 1][DGF_SHA256_LEN];
    size_t n;
};

/* tree gets what waits, in order. */
void dgf_leaves_hash(struct dgf_leaves *leaves, struct dgf_tree *tree);
/* Hashes by itself when there are many. */
void dgf_leaves_add(struct dgf_leaves *leaves, struct dgf_bytes line,
                    struct dgf_tree *tree);

#endif
