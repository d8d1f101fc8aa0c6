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
void dgf_sha256_end(struct dgf_sha256_sum *sum, uint8_t ret[DGF_SHA256_LEN]);

#endif
