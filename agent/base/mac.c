#include "base/mac.h"

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/mem.h"

_Static_assert(sizeof(SHA256_CTX) <= DGF_MAC_STATE_BYTES, "the state fits");

static void absorb(uint8_t *state, const uint8_t pad[SHA256_CBLOCK])
{
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, pad, SHA256_CBLOCK);
    memcpy(state, &ctx, sizeof(ctx));
    dgf_wipe(&ctx, sizeof(ctx));
}

void dgf_mac_key_init(struct dgf_mac_key *key, struct dgf_bytes secret)
{
    uint8_t pad[SHA256_CBLOCK] = {0};

    if (secret.len > sizeof(pad))
        dgf_sha256(secret, pad);
    else if (secret.len > 0)
        memcpy(pad, secret.ptr, secret.len);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    absorb(key->inner, pad);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    absorb(key->outer, pad);
    dgf_wipe(pad, sizeof(pad));
}

void dgf_mac_key_wipe(struct dgf_mac_key *key)
{
    dgf_wipe(key, sizeof(*key));
}

void dgf_mac(const struct dgf_mac_key *key, struct dgf_bytes bytes,
             uint8_t ret[DGF_SHA256_LEN])
{
    uint8_t digest[DGF_SHA256_LEN];
    SHA256_CTX ctx;

    memcpy(&ctx, key->inner, sizeof(ctx));
    SHA256_Update(&ctx, bytes.ptr, bytes.len);
    SHA256_Final(digest, &ctx);
    memcpy(&ctx, key->outer, sizeof(ctx));
    SHA256_Update(&ctx, digest, sizeof(digest));
    SHA256_Final(ret, &ctx);
}
