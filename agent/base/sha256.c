#include "base/sha256.h"

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

_Static_assert(sizeof(SHA256_CTX) <= DGF_SHA256_STATE_BYTES, "the state fits");

void dgf_sha256_begin(struct dgf_sha256_sum *sum)
{
    SHA256_Init((SHA256_CTX *)(void *)sum->state);
}

void dgf_sha256_add(struct dgf_sha256_sum *sum, struct dgf_bytes bytes)
{
    if (bytes.len > 0)
        SHA256_Update((SHA256_CTX *)(void *)sum->state, bytes.ptr, bytes.len);
}

void dgf_sha256_end(struct dgf_sha256_sum *sum, uint8_t ret[DGF_SHA256_LEN])
{
    SHA256_Final(ret, (SHA256_CTX *)(void *)sum->state);
}
