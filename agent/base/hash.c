#include "base/hash.h"

/* The low-level calls: for a leaf of 500 bytes the EVP layer of OpenSSL 3
 * costs as much again as the compression itself. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

void dgf_sha256(struct dgf_bytes bytes, uint8_t ret[DGF_SHA256_LEN])
{
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, bytes.ptr, bytes.len);
    SHA256_Final(ret, &ctx);
}

void dgf_sha256_leaf(struct dgf_bytes bytes, uint8_t ret[DGF_SHA256_LEN])
{
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, "\0", 1);
    SHA256_Update(&ctx, bytes.ptr, bytes.len);
    SHA256_Final(ret, &ctx);
}

void dgf_sha256_node(const uint8_t left[DGF_SHA256_LEN],
                     const uint8_t right[DGF_SHA256_LEN], uint8_t ret[DGF_SHA256_LEN])
{
    uint8_t both[1 + 2 * DGF_SHA256_LEN] = {1};

    memcpy(both + 1, left, DGF_SHA256_LEN);
    memcpy(both + 1 + DGF_SHA256_LEN, right, DGF_SHA256_LEN);
    dgf_sha256(dgf_bytes_of(both, sizeof(both)), ret);
}

/* RFC 2104 with blocks of 64 bytes. */
void dgf_hmac_sha256(struct dgf_bytes key, struct dgf_bytes bytes,
                     uint8_t ret[DGF_SHA256_LEN])
{
    uint8_t pad[SHA256_CBLOCK] = {0}, inner[DGF_SHA256_LEN];
    SHA256_CTX ctx;

    if (key.len > sizeof(pad))
        dgf_sha256(key, pad);
    else if (key.len > 0)
        memcpy(pad, key.ptr, key.len);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, pad, sizeof(pad));
    SHA256_Update(&ctx, bytes.ptr, bytes.len);
    SHA256_Final(inner, &ctx);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&ctx);
    SHA256_Update(&ctx, pad, sizeof(pad));
    SHA256_Update(&ctx, inner, sizeof(inner));
    SHA256_Final(ret, &ctx);
    dgf_wipe(pad, sizeof(pad));
}

void dgf_random(void *ptr, size_t len)
{
    uint8_t *to = ptr;

    while (len > 0) {
        int n = len > 4096 ? 4096 : (int)len;

        if (RAND_bytes(to, n) != 1) {
            (void)fputs("dgf: the system gives no random bytes\n", stderr);
            abort();
        }
        to += n;
        len -= (size_t)n;
    }
}

/* ---- CRC32C ---- */

static uint32_t crc_table[8][256];

static uint32_t crc_soft(uint32_t crc, const uint8_t *p, size_t len)
{
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t lo = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 |
                             (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);

        crc = crc_table[7][lo & 255] ^ crc_table[6][lo >> 8 & 255] ^
              crc_table[5][lo >> 16 & 255] ^ crc_table[4][lo >> 24] ^
              crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^
              crc_table[0][p[7]];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc_hard(uint32_t crc,
                                                           const uint8_t *p, size_t len)
{
    uint64_t wide = crc, word;

    for (; len >= 8; p += 8, len -= 8) {
        memcpy(&word, p, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; len > 0; p++, len--)
        crc = _mm_crc32_u8(crc, *p);
    return crc;
}
#endif

static uint32_t (*crc_best)(uint32_t, const uint8_t *, size_t) = crc_soft;

__attribute__((constructor)) static void crc_begin(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0); /* Castagnoli, reflected */
        crc_table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc_table[t][i] =
                crc_table[t - 1][i] >> 8 ^ crc_table[0][crc_table[t - 1][i] & 255];
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* The variable lets a test run the table too. */
    if (__builtin_cpu_supports("sse4.2") && !getenv("DGF_CRC_TABLE"))
        crc_best = crc_hard;
#endif
}

uint32_t dgf_crc32c(uint32_t crc, struct dgf_bytes bytes)
{
    return ~crc_best(~crc, bytes.ptr, bytes.len);
}

/* ---- ids ---- */

static const char id_digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void id_append(struct dgf_id_hash *hash, const void *ptr, size_t len)
{
    if (hash->n_small + len <= sizeof(hash->small) && hash->spilled.len == 0) {
        if (len > 0)
            memcpy(hash->small + hash->n_small, ptr, len);
        hash->n_small += len;
        return;
    }
    if (hash->spilled.len == 0)
        dgf_buf_add(&hash->spilled, hash->small, hash->n_small);
    dgf_buf_add(&hash->spilled, ptr, len);
}

void dgf_id_begin(struct dgf_id_hash *hash, const char *type)
{
    hash->n_small = 0;
    dgf_buf_init(&hash->spilled, SIZE_MAX / 2);
    dgf_id_add(hash, DGF_BYTES("dgf1"));
    dgf_id_add(hash, dgf_bytes_str(type));
}

void dgf_id_add(struct dgf_id_hash *hash, struct dgf_bytes field)
{
    uint8_t len[4];

    for (int i = 0; i < 4; i++)
        len[i] = (uint8_t)(field.len >> 8 * i);
    id_append(hash, len, sizeof(len));
    id_append(hash, field.ptr, field.len);
}

void dgf_id_add_u64(struct dgf_id_hash *hash, uint64_t value)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    dgf_id_add(hash, dgf_bytes_of(bytes, sizeof(bytes)));
}

static struct dgf_bytes id_fields(const struct dgf_id_hash *hash)
{
    if (hash->spilled.rc) {
        /* A made-up id would join records that have nothing in common. */
        (void)fputs("dgf: out of memory while hashing an id\n", stderr);
        abort();
    }
    return hash->spilled.len ? dgf_buf_bytes(&hash->spilled)
                             : dgf_bytes_of(hash->small, hash->n_small);
}

struct dgf_id dgf_id_end(struct dgf_id_hash *hash)
{
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id id;

    dgf_sha256(id_fields(hash), digest);
    dgf_buf_release(&hash->spilled);
    memcpy(id.b, digest, sizeof(id.b));
    return id;
}

struct dgf_id dgf_id_end_keyed(struct dgf_id_hash *hash, struct dgf_bytes key)
{
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id id;

    dgf_hmac_sha256(key, id_fields(hash), digest);
    dgf_buf_release(&hash->spilled);
    memcpy(id.b, digest, sizeof(id.b));
    return id;
}

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct dgf_id_prefix *)0)->state),
               "a prefix holds a SHA-256 state");

void dgf_id_freeze(struct dgf_id_hash *hash, struct dgf_id_prefix *ret)
{
    struct dgf_bytes fields = id_fields(hash);
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, fields.ptr, fields.len);
    memcpy(ret->state, &ctx, sizeof(ctx));
    dgf_buf_release(&hash->spilled);
}

struct dgf_id dgf_id_last_u64(const struct dgf_id_prefix *prefix, uint64_t value)
{
    uint8_t digest[DGF_SHA256_LEN], field[12] = {8};
    struct dgf_id id;
    SHA256_CTX ctx;

    for (int i = 0; i < 8; i++)
        field[4 + i] = (uint8_t)(value >> 8 * i);
    memcpy(&ctx, prefix->state, sizeof(ctx));
    SHA256_Update(&ctx, field, sizeof(field));
    SHA256_Final(digest, &ctx);
    memcpy(id.b, digest, sizeof(id.b));
    return id;
}

/* The id is a number of 130 bits whose first two are zero. */
void dgf_id_text(const struct dgf_id *id, char ret[DGF_ID_TEXT_LEN + 1])
{
    uint64_t high, low;

    memcpy(&high, id->b, 8);
    memcpy(&low, id->b + 8, 8);
    high = be64toh(high);
    low = be64toh(low);
    /* Two halves of 65 bits: the upper begins with the zeros, the lower with
     * the last bit of `high`. */
    for (int i = 0; i < 13; i++)
        ret[12 - i] = id_digits[high >> 1 >> 5 * i & 31];
    for (int i = 0; i < 12; i++)
        ret[25 - i] = id_digits[low >> 5 * i & 31];
    ret[13] = id_digits[(high & 1) << 4 | low >> 60];
    ret[DGF_ID_TEXT_LEN] = '\0';
}

bool dgf_id_parse(struct dgf_bytes text, struct dgf_id *ret)
{
    unsigned bits = 0, n_bits = 0;
    struct dgf_id id;
    size_t at = 0;

    if (text.len != DGF_ID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.ptr[i] ? strchr(id_digits, text.ptr[i]) : NULL;

        if (!digit || (i == 0 && digit - id_digits > 7))
            return false;
        bits = (bits << 5 | (unsigned)(digit - id_digits)) & 0xffff;
        n_bits += i == 0 ? 3 : 5;
        if (n_bits >= 8) {
            n_bits -= 8;
            id.b[at++] = (uint8_t)(bits >> n_bits);
        }
    }
    *ret = id;
    return true;
}
