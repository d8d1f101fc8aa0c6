#include "ledger/tree.h"

void dgf_tree_init(struct dgf_tree *tree)
{
    tree->size = 0;
}

void dgf_tree_append(struct dgf_tree *tree, const uint8_t leaf[DGF_SHA256_LEN])
{
    uint8_t hash[DGF_SHA256_LEN];
    unsigned level = 0;

    memcpy(hash, leaf, sizeof(hash));
    for (; tree->size >> level & 1; level++)
        dgf_sha256_node(tree->edge[level], hash, hash);
    memcpy(tree->edge[level], hash, sizeof(hash));
    tree->size++;
}

void dgf_tree_append_many(struct dgf_tree *tree, uint8_t (*hashes)[DGF_SHA256_LEN],
                          size_t n)
{
    size_t n_new = n;

    /* Level by level: what stands open at the edge goes in front, what is left
     * over at the end becomes the edge, the rest is paired one level up. */
    for (unsigned level = 0; n > 0; level++) {
        uint8_t(*from)[DGF_SHA256_LEN] = hashes + 1;

        if (tree->size >> level & 1) {
            from = hashes;
            memcpy(from[0], tree->edge[level], DGF_SHA256_LEN);
            n++;
        }
        if (n & 1)
            memcpy(tree->edge[level], from[n - 1], DGF_SHA256_LEN);
        n /= 2;
        dgf_sha256_nodes(from, n, hashes + 1);
    }
    tree->size += n_new;
}

void dgf_tree_root(const struct dgf_tree *tree, uint8_t ret[DGF_SHA256_LEN])
{
    bool some = false;

    if (tree->size == 0) {
        dgf_sha256(dgf_bytes_of("", 0), ret);
        return;
    }
    for (unsigned level = 0; level < 64; level++) {
        if (!(tree->size >> level & 1))
            continue;
        if (some)
            dgf_sha256_node(tree->edge[level], ret, ret);
        else
            memcpy(ret, tree->edge[level], DGF_SHA256_LEN);
        some = true;
    }
}

void dgf_tree_put(const struct dgf_tree *tree, struct dgf_buf *to)
{
    dgf_buf_add_byte(to, (uint8_t)__builtin_popcountll(tree->size));
    for (unsigned level = 64; level-- > 0;) {
        if (tree->size >> level & 1)
            dgf_buf_add(to, tree->edge[level], DGF_SHA256_LEN);
    }
}

bool dgf_tree_get(struct dgf_rd *rd, uint64_t size, struct dgf_tree *ret)
{
    if (dgf_rd_u8(rd) != __builtin_popcountll(size))
        rd->bad = true;
    ret->size = size;
    for (unsigned level = 64; level-- > 0;) {
        struct dgf_bytes hash;

        if (!(size >> level & 1))
            continue;
        hash = dgf_rd_bytes(rd, DGF_SHA256_LEN);
        if (rd->bad)
            return false;
        memcpy(ret->edge[level], hash.ptr, hash.len);
    }
    return !rd->bad;
}
