/* sign.h - Ed25519 signatures, and authenticated encryption (AES-256-GCM).
 *
 * Thread: any. */
#ifndef DGF_BASE_SIGN_H
#define DGF_BASE_SIGN_H

#include "base/buf.h"
#include "base/err.h"

#define DGF_SIGN_SEED_LEN 32
#define DGF_SIGN_PUBLIC_LEN 32
#define DGF_SIGNATURE_LEN 64

/* false: out of memory. */
bool dgf_sign_public(const uint8_t seed[DGF_SIGN_SEED_LEN],
                     uint8_t ret[DGF_SIGN_PUBLIC_LEN]) DGF_MUST_USE;
bool dgf_sign(const uint8_t seed[DGF_SIGN_SEED_LEN], struct dgf_bytes message,
              uint8_t ret[DGF_SIGNATURE_LEN]) DGF_MUST_USE;
/* false: not signed with that key, not a key, or out of memory. */
bool dgf_sign_check(const uint8_t key[DGF_SIGN_PUBLIC_LEN], struct dgf_bytes message,
                    const uint8_t signature[DGF_SIGNATURE_LEN]) DGF_MUST_USE;

#define DGF_AEAD_KEY_LEN 32
#define DGF_AEAD_NONCE_LEN 12
#define DGF_AEAD_TAG_LEN 16

/* Appends ciphertext and tag.  A nonce must never be used for two plaintexts. */
enum dgf_rc dgf_aead_seal(const uint8_t key[DGF_AEAD_KEY_LEN],
                          const uint8_t nonce[DGF_AEAD_NONCE_LEN], struct dgf_bytes aad,
                          struct dgf_bytes plain, struct dgf_buf *to) DGF_MUST_USE;
/* Appends the plaintext.  DGF_BAD_DATA: another key, or a byte was changed; then
 * `to` is as before. */
enum dgf_rc dgf_aead_open(const uint8_t key[DGF_AEAD_KEY_LEN],
                          const uint8_t nonce[DGF_AEAD_NONCE_LEN], struct dgf_bytes aad,
                          struct dgf_bytes sealed, struct dgf_buf *to) DGF_MUST_USE;

#endif
