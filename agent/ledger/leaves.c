#include "ledger/leaves.h"

void dgf_leaves_hash(struct dgf_leaves *leaves, struct dgf_tree *tree)
{
    dgf_sha256_leaves(leaves->lines, leaves->n, leaves->hashes + 1);
    dgf_tree_append_many(tree, leaves->hashes, leaves->n);
    leaves->n = 0;
}

void dgf_leaves_add(struct dgf_leaves *leaves, struct dgf_bytes line,
                    struct dgf_tree *tree)
{
    leaves->lines[leaves->n++] = line;
    if (leaves->n == DGF_LEAVES_MAX)
        dgf_leaves_hash(leaves, tree);
}
