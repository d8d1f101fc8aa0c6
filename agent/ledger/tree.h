/* tree.h - the Merkle tree of RFC 6962, of which only the right edge is kept.
 *
 * Leaves are hashed as SHA-256(0x00 || line), nodes as SHA-256(0x01 || left ||
 * right).  The edge is one hash for each bit set in the size, so memory does
 * not grow with the log.  Thread: any, one owner. */
#ifndef DGF_LEDGER_TREE_H
#define DGF_LEDGER_TREE_H

#include "base/buf.h"
#include "base/hash.h"

struct dgf_tree {
    uint64_t size;
    uint8_t edge[64][DGF_SHA256_LEN]; /* edge[k]: full subtree of 2^k leaves, if bit k
                                         of size */
};

void dgf_tree_init(struct dgf_tree *tree);
void dgf_tree_append(struct dgf_tree *tree, const uint8_t leaf[DGF_SHA256_LEN]);
/* The same for n at once; hashes is scratch: hashes[0] is not a leaf but room,
 * hashes[1] to hashes[n] are the leaves. */
void dgf_tree_append_many(struct dgf_tree *tree, uint8_t (*hashes)[DGF_SHA256_LEN],
                          size_t n);
void dgf_tree_root(const struct dgf_tree *tree, uint8_t ret[DGF_SHA256_LEN]);

/* The edge as bytes: u8 count, then the hashes, largest subtree first. */
void dgf_tree_put(const struct dgf_tree *tree, struct dgf_buf *to);
/* False, and rd is bad, when the count does not fit the size. */
bool dgf_tree_get(struct dgf_rd *rd, uint64_t size, struct dgf_tree *ret);

#endif
