/* hash.h - SHA-256, HMAC, CRC32C, and 128-bit ids as text.
 *
 * Made for short inputs: nothing is allocated or looked up.  Thread: any. */
#ifndef DGF_BASE_HASH_H
#define DGF_BASE_HASH_H

#include "base/buf.h"

#define DGF_SHA256_LEN 32
#define DGF_ID_LEN 16
#define DGF_ID_TEXT_LEN 26

void dgf_sha256(struct dgf_bytes bytes, uint8_t ret[DGF_SHA256_LEN]);
/* SHA-256 of prefix || bytes; RFC 6962 leaves (0x00). */
void dgf_sha256_leaf(struct dgf_bytes bytes, uint8_t ret[DGF_SHA256_LEN]);
/* SHA-256 of 0x01 || left || right; RFC 6962 nodes. */
void dgf_sha256_node(const uint8_t left[DGF_SHA256_LEN],
                     const uint8_t right[DGF_SHA256_LEN], uint8_t ret[DGF_SHA256_LEN]);
/* Many at once, for half the time where the CPU has SHA instructions.
 * ret[i] is the leaf hash of lines[i]; for nodes, of children 2i and 2i+1.
 * Nodes may go to the place of the children, or one hash behind it. */
void dgf_sha256_leaves(const struct dgf_bytes *lines, size_t n,
                       uint8_t (*ret)[DGF_SHA256_LEN]);
void dgf_sha256_nodes(uint8_t (*children)[DGF_SHA256_LEN], size_t n,
                      uint8_t (*ret)[DGF_SHA256_LEN]);
void dgf_hmac_sha256(struct dgf_bytes key, struct dgf_bytes bytes,
                     uint8_t ret[DGF_SHA256_LEN]);
uint32_t dgf_crc32c(uint32_t crc, struct dgf_bytes bytes); /* start with 0 */
void dgf_random(
    void *ptr,
    size_t len); /* cryptographic; aborts the process when the system has none */

/* Ids: first half of SHA-256 over length-prefixed fields, the first two being
 * "dgf1" and a type word.  Fields are added in order; each is u32 LE length
 * and bytes.  Fields of up to some 250 bytes need no memory; above that, a lack
 * of memory aborts the process.  Whoever begins must end. */
struct dgf_id {
    uint8_t b[DGF_ID_LEN];
};
struct dgf_id_hash {
    size_t n_small;
    struct dgf_buf spilled; /* everything, once it is more than small holds */
    uint8_t small[256];
};
void dgf_id_begin(struct dgf_id_hash *hash, const char *type);
void dgf_id_add(struct dgf_id_hash *hash, struct dgf_bytes field);
void dgf_id_add_u64(struct dgf_id_hash *hash, uint64_t value);
struct dgf_id dgf_id_end(struct dgf_id_hash *hash);
/* The same over HMAC-SHA-256, for ids that must not be guessable. */
struct dgf_id dgf_id_end_keyed(struct dgf_id_hash *hash, struct dgf_bytes key);

/* Many ids that differ in their last field only: the fields so far are hashed
 * once, and each id then costs one block.  Ends the hash. */
struct dgf_id_prefix {
    _Alignas(8) uint8_t state[128];
};
void dgf_id_freeze(struct dgf_id_hash *hash, struct dgf_id_prefix *ret);
/* The same id as adding this last field and ending would give. */
struct dgf_id dgf_id_last_u64(const struct dgf_id_prefix *prefix, uint64_t value);

/* 26 lower-case Crockford base32 characters and a NUL. */
void dgf_id_text(const struct dgf_id *id, char ret[DGF_ID_TEXT_LEN + 1]);
bool dgf_id_parse(struct dgf_bytes text, struct dgf_id *ret);

#endif
