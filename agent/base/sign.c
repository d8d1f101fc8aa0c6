#include "base/sign.h"

#include <limits.h>

#include <openssl/evp.h>

bool dgf_sign_public(const uint8_t seed[DGF_SIGN_SEED_LEN],
                     uint8_t ret[DGF_SIGN_PUBLIC_LEN])
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, DGF_SIGN_SEED_LEN);
    size_t len = DGF_SIGN_PUBLIC_LEN;
    bool ok = key && EVP_PKEY_get_raw_public_key(key, ret, &len) == 1 &&
              len == DGF_SIGN_PUBLIC_LEN;

    EVP_PKEY_free(key);
    return ok;
}

bool dgf_sign(const uint8_t seed[DGF_SIGN_SEED_LEN], struct dgf_bytes message,
              uint8_t ret[DGF_SIGNATURE_LEN])
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, DGF_SIGN_SEED_LEN);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = DGF_SIGNATURE_LEN;
    bool ok = key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestSign(ctx, ret, &len, message.ptr, message.len) == 1 &&
              len == DGF_SIGNATURE_LEN;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return ok;
}

bool dgf_sign_check(const uint8_t key[DGF_SIGN_PUBLIC_LEN], struct dgf_bytes message,
                    const uint8_t signature[DGF_SIGNATURE_LEN])
{
    EVP_PKEY *public =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, DGF_SIGN_PUBLIC_LEN);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok =
        public && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, public) == 1 &&
        EVP_DigestVerify(ctx, signature, DGF_SIGNATURE_LEN, message.ptr, message.len) ==
            1;

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(public);
    return ok;
}

enum dgf_rc dgf_aead_seal(const uint8_t key[DGF_AEAD_KEY_LEN],
                          const uint8_t nonce[DGF_AEAD_NONCE_LEN], struct dgf_bytes aad,
                          struct dgf_bytes plain, struct dgf_buf *to)
{
    EVP_CIPHER_CTX *ctx;
    uint8_t *at;
    int n = 0, last = 0;
    bool ok;

    if (plain.len > INT_MAX - DGF_AEAD_TAG_LEN || aad.len > INT_MAX)
        return DGF_NOMEM;
    at = dgf_buf_room(to, plain.len + DGF_AEAD_TAG_LEN);
    if (!at)
        return DGF_NOMEM;
    ctx = EVP_CIPHER_CTX_new();
    ok = ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_EncryptUpdate(ctx, NULL, &n, aad.ptr, (int)aad.len) == 1 &&
         EVP_EncryptUpdate(ctx, at, &n, plain.ptr, (int)plain.len) == 1 &&
         EVP_EncryptFinal_ex(ctx, at + n, &last) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, DGF_AEAD_TAG_LEN,
                             at + n + last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        return DGF_NOMEM;
    to->len += plain.len + DGF_AEAD_TAG_LEN;
    return DGF_OK;
}

enum dgf_rc dgf_aead_open(const uint8_t key[DGF_AEAD_KEY_LEN],
                          const uint8_t nonce[DGF_AEAD_NONCE_LEN], struct dgf_bytes aad,
                          struct dgf_bytes sealed, struct dgf_buf *to)
{
    uint8_t tag[DGF_AEAD_TAG_LEN];
    EVP_CIPHER_CTX *ctx;
    int n = 0, last = 0;
    size_t len;
    uint8_t *at;
    bool ok;

    if (sealed.len < DGF_AEAD_TAG_LEN || sealed.len > INT_MAX || aad.len > INT_MAX)
        return DGF_BAD_DATA;
    len = sealed.len - DGF_AEAD_TAG_LEN;
    memcpy(tag, sealed.ptr + len, sizeof(tag));
    at = dgf_buf_room(to, len + 1);
    if (!at)
        return DGF_NOMEM;
    ctx = EVP_CIPHER_CTX_new();
    if (!ctx)
        return DGF_NOMEM;
    ok = EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
         EVP_DecryptUpdate(ctx, NULL, &n, aad.ptr, (int)aad.len) == 1 &&
         EVP_DecryptUpdate(ctx, at, &n, sealed.ptr, (int)len) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, DGF_AEAD_TAG_LEN, tag) == 1 &&
         EVP_DecryptFinal_ex(ctx, at + n, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok) {
        memset(at, 0, len);
        return DGF_BAD_DATA;
    }
    to->len += len;
    return DGF_OK;
}
