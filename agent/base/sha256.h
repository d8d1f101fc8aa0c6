/* sha256.h - SHA-256 of what comes in pieces.  Thread: any, one owner. */
#ifndef DGF_BASE_SHA256_H
#define DGF_BASE_SHA256_H

#include "base/hash.h"

#define DGF_SHA256_STATE_BYTES 112

struct dgf_sha256_sum {
    _Alignas(8) uint8_t state[DGF_SHA256_STATE_BYTES];
};

void dgf_sha256_begin(struct dgf_sha256_sum *sum);
void dgf_sha256_add(struct dgf_sha256_sum *sum, struct dgf_bytes bytes);
/* The same as dgf_sha256_add(sum, bytes) and dgf_sha256_leaves(lines, n, ret), side by
 * side: for little more than the longer of both where the CPU has SHA instructions.
 * The lines usually are those bytes; they need not be. */
void dgf_sha256_add_and_leaves(struct dgf_sha256_sum *sum, struct dgf_bytes bytes,
                               const struct dgf_bytes *lines, size_t n,
                               uint8_t (*ret)[DGF_SHA256_LEN]);
void dgf_sha256_end(struct dgf_sha256_sum *sum, uint8_t ret[DGF_SHA256_LEN]);

#endif
