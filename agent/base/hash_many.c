/* hash_many.c - many leaves and nodes at once, two messages side by side. */
#include "base/sha256.h"

#if defined(__x86_64__)
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <cpuid.h>
#include <immintrin.h>

/* One block of 64 bytes at most is built for the beginning, two for the end. */
struct lane {
    uint8_t begin[64], end[128];
    const uint8_t *line; /* of a message whose first byte is a prefix */
    size_t n_whole, n_blocks;
};

static const uint32_t k256[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

#define NI __attribute__((target("sha,sse4.1"), always_inline)) static inline

/* The state as the instructions want it: a b e f, and c d g h. */
struct state {
    __m128i abef, cdgh;
};

NI struct state begin_state(void)
{
    return (struct state){
        _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
        _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19)};
}

NI __m128i load_words(const uint8_t *p)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);

    return _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)p), swap);
}

NI void next_words(__m128i w[4], int i)
{
    __m128i sum = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);

    sum = _mm_add_epi32(sum, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
    w[i & 3] = _mm_sha256msg2_epu32(sum, w[(i + 3) & 3]);
}

NI void four_rounds(struct state *s, __m128i words, int i)
{
    __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)k256 + i));

    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, sum);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

/* One block each of two messages: the instructions of one wait for each other,
 * so those of the other go between for free. */
NI void two_blocks(struct state *a, const uint8_t *pa, struct state *b,
                   const uint8_t *pb)
{
    struct state was_a = *a, was_b = *b;
    __m128i wa[4], wb[4];

#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        if (i < 4) {
            wa[i] = load_words(pa + 16 * i);
            wb[i] = load_words(pb + 16 * i);
        } else {
            next_words(wa, i);
            next_words(wb, i);
        }
        four_rounds(a, wa[i & 3], i);
        four_rounds(b, wb[i & 3], i);
    }
    a->abef = _mm_add_epi32(a->abef, was_a.abef);
    a->cdgh = _mm_add_epi32(a->cdgh, was_a.cdgh);
    b->abef = _mm_add_epi32(b->abef, was_b.abef);
    b->cdgh = _mm_add_epi32(b->cdgh, was_b.cdgh);
}

NI void one_block(struct state *s, const uint8_t *p)
{
    struct state was = *s;
    __m128i w[4];

#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        if (i < 4)
            w[i] = load_words(p + 16 * i);
        else
            next_words(w, i);
        four_rounds(s, w[i & 3], i);
    }
    s->abef = _mm_add_epi32(s->abef, was.abef);
    s->cdgh = _mm_add_epi32(s->cdgh, was.cdgh);
}

NI void store_state(const struct state *s, uint8_t *ret)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i feba = _mm_shuffle_epi32(s->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(s->cdgh, 0xb1);

    _mm_storeu_si128((__m128i *)ret,
                     _mm_shuffle_epi8(_mm_blend_epi16(feba, dchg, 0xf0), swap));
    _mm_storeu_si128((__m128i *)ret + 1,
                     _mm_shuffle_epi8(_mm_alignr_epi8(dchg, feba, 8), swap));
}

static void put_length(uint8_t *end, uint64_t bits)
{
    for (int i = 0; i < 8; i++)
        end[-1 - i] = (uint8_t)(bits >> 8 * i);
}

/* The message 0x00 || line in blocks; whole ones of the line stay where they are. */
static void cut_leaf(struct lane *lane, struct dgf_bytes line)
{
    size_t len = line.len + 1, left = len % 64;

    lane->line = line.ptr;
    lane->n_whole = len / 64;
    lane->n_blocks = (len + 8) / 64 + 1;
    memset(lane->end, 0, sizeof(lane->end));
    if (lane->n_whole > 0) {
        lane->begin[0] = 0;
        memcpy(lane->begin + 1, line.ptr, 63);
        memcpy(lane->end, line.ptr + line.len - left, left);
    } else if (line.len > 0) {
        memcpy(lane->end + 1, line.ptr, line.len);
    }
    lane->end[left] = 0x80;
    put_length(lane->end + 64 * (lane->n_blocks - lane->n_whole), 8 * (uint64_t)len);
}

static inline const uint8_t *block(const struct lane *lane, size_t i)
{
    if (i >= lane->n_whole)
        return lane->end + 64 * (i - lane->n_whole);
    return i ? lane->line + 64 * i - 1 : lane->begin;
}

__attribute__((target("sha,sse4.1"))) static void leaf_pair(
    struct dgf_bytes one, struct dgf_bytes two, uint8_t (*ret)[DGF_SHA256_LEN])
{
    struct state a = begin_state(), b = begin_state();
    struct lane la, lb;
    size_t i = 0;

    cut_leaf(&la, one);
    cut_leaf(&lb, two);
    for (; i < la.n_blocks && i < lb.n_blocks; i++)
        two_blocks(&a, block(&la, i), &b, block(&lb, i));
    for (size_t k = i; k < la.n_blocks; k++)
        one_block(&a, block(&la, k));
    for (size_t k = i; k < lb.n_blocks; k++)
        one_block(&b, block(&lb, k));
    store_state(&a, ret[0]);
    store_state(&b, ret[1]);
}

static void cut_node(uint8_t blocks[128], uint8_t (*children)[DGF_SHA256_LEN])
{
    memset(blocks + 66, 0, 60);
    blocks[0] = 1;
    memcpy(blocks + 1, children, 2 * DGF_SHA256_LEN);
    blocks[65] = 0x80;
    blocks[126] = 2; /* 520 bits */
    blocks[127] = 8;
}

__attribute__((target("sha,sse4.1"))) static void node_pair(
    uint8_t (*children)[DGF_SHA256_LEN], uint8_t (*ret)[DGF_SHA256_LEN])
{
    struct state a = begin_state(), b = begin_state();
    uint8_t one[128], two[128];

    cut_node(one, children);
    cut_node(two, children + 2);
    two_blocks(&a, one, &b, two);
    two_blocks(&a, one + 64, &b, two + 64);
    store_state(&a, ret[0]);
    store_state(&b, ret[1]);
}

static struct state state_of(const SHA256_CTX *ctx)
{
    const SHA_LONG *h = ctx->h;

    return (struct state){_mm_set_epi32((int)h[0], (int)h[1], (int)h[4], (int)h[5]),
                          _mm_set_epi32((int)h[2], (int)h[3], (int)h[6], (int)h[7])};
}

/* After so many bytes more, all in whole blocks. */
static void keep_state(SHA256_CTX *ctx, const struct state *s, uint64_t n_bytes)
{
    static const uint8_t abef[4] = {5, 4, 1, 0}, cdgh[4] = {7, 6, 3, 2};
    uint64_t bits = ((uint64_t)ctx->Nh << 32 | ctx->Nl) + 8 * n_bytes;
    uint32_t words[4];

    memcpy(words, &s->abef, sizeof(words));
    for (int i = 0; i < 4; i++)
        ctx->h[abef[i]] = words[i];
    memcpy(words, &s->cdgh, sizeof(words));
    for (int i = 0; i < 4; i++)
        ctx->h[cdgh[i]] = words[i];
    ctx->Nl = (SHA_LONG)bits;
    ctx->Nh = (SHA_LONG)(bits >> 32);
}

/* Leaves one after the other, each block of them beside one of the sum's, until
 * either is done; returns how many leaves are.  n_blocks counts down. */
__attribute__((target("sha,sse4.1"))) static size_t leaves_beside(
    const struct dgf_bytes *lines, size_t n, uint8_t (*ret)[DGF_SHA256_LEN],
    struct state *sum, const uint8_t **p, size_t *n_blocks)
{
    struct state b = *sum;
    const uint8_t *at = *p;
    size_t left = *n_blocks, i = 0;

    for (; i < n && left > 0; i++) {
        struct state a = begin_state();
        struct lane lane;
        size_t k = 0;

        cut_leaf(&lane, lines[i]);
        for (; k < lane.n_blocks && left > 0; k++, left--, at += 64)
            two_blocks(&a, block(&lane, k), &b, at);
        for (; k < lane.n_blocks; k++)
            one_block(&a, block(&lane, k));
        store_state(&a, ret[i]);
    }
    *sum = b;
    *p = at;
    *n_blocks = left;
    return i;
}

/* As OpenSSL leaves it: what does not fill a block waits in the context.  Returns how
 * many leaves are done; 0: nothing is. */
static size_t sum_beside(SHA256_CTX *ctx, struct dgf_bytes bytes,
                         const struct dgf_bytes *lines, size_t n,
                         uint8_t (*ret)[DGF_SHA256_LEN])
{
    size_t first = ctx->num > 0 ? 64 - ctx->num : 0, n_blocks, left, n_done;
    const uint8_t *p = bytes.ptr + first;
    struct state state;

    if (bytes.len < first + 64)
        return 0;
    if (first > 0)
        SHA256_Update(ctx, bytes.ptr, first);
    n_blocks = left = (bytes.len - first) / 64;
    state = state_of(ctx);
    n_done = leaves_beside(lines, n, ret, &state, &p, &left);
    keep_state(ctx, &state, 64 * (uint64_t)(n_blocks - left));
    SHA256_Update(ctx, p, (size_t)(bytes.ptr + bytes.len - p));
    return n_done;
}

static bool has_sha;

static bool sums_as_openssl(const uint8_t bytes[200])
{
    const struct dgf_bytes lines[] = {{bytes, 140}, {bytes + 7, 90}};
    uint8_t hashes[2][DGF_SHA256_LEN], expected[DGF_SHA256_LEN], got[DGF_SHA256_LEN];
    SHA256_CTX ctx;

    SHA256_Init(&ctx);
    SHA256_Update(&ctx, bytes, 30);
    if (sum_beside(&ctx, dgf_bytes_of(bytes + 30, 170), lines, 2, hashes) == 0)
        return false;
    SHA256_Final(got, &ctx);
    dgf_sha256(dgf_bytes_of(bytes, 200), expected);
    if (memcmp(got, expected, sizeof(got)) != 0)
        return false;
    dgf_sha256_leaf(lines[0], expected);
    return memcmp(hashes[0], expected, sizeof(expected)) == 0;
}

/* The instructions are used where they are and give what OpenSSL gives: both
 * sides of the ledger, sealing and verifying, would believe a wrong hash. */
__attribute__((constructor)) static void look_at_cpu(void)
{
    static const uint8_t bytes[200] = "leaves of one, of two and of four blocks";
    const struct dgf_bytes lines[] = {
        {bytes, 54}, {bytes, 55}, {bytes, 200}, {bytes, 0}};
    uint8_t hashes[4][DGF_SHA256_LEN], expected[DGF_SHA256_LEN];
    unsigned a, b, c, d;
    bool sse = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_1) && (c & bit_SSSE3);

    if (!sse || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_SHA))
        return;
    leaf_pair(lines[0], lines[1], hashes);
    leaf_pair(lines[2], lines[3], hashes + 2);
    for (int i = 0; i < 4; i++) {
        dgf_sha256_leaf(lines[i], expected);
        if (memcmp(hashes[i], expected, sizeof(expected)) != 0)
            return;
    }
    has_sha = sums_as_openssl(bytes);
}
#endif

void dgf_sha256_leaves(const struct dgf_bytes *lines, size_t n,
                       uint8_t (*ret)[DGF_SHA256_LEN])
{
    size_t i = 0;

#if defined(__x86_64__)
    for (; has_sha && i + 1 < n; i += 2)
        leaf_pair(lines[i], lines[i + 1], ret + i);
#endif
    for (; i < n; i++)
        dgf_sha256_leaf(lines[i], ret[i]);
}

void dgf_sha256_nodes(uint8_t (*children)[DGF_SHA256_LEN], size_t n,
                      uint8_t (*ret)[DGF_SHA256_LEN])
{
    size_t i = 0;

#if defined(__x86_64__)
    for (; has_sha && i + 1 < n; i += 2)
        node_pair(children + 2 * i, ret + i);
#endif
    for (; i < n; i++)
        dgf_sha256_node(children[2 * i], children[2 * i + 1], ret[i]);
}

void dgf_sha256_add_and_leaves(struct dgf_sha256_sum *sum, struct dgf_bytes bytes,
                               const struct dgf_bytes *lines, size_t n,
                               uint8_t (*ret)[DGF_SHA256_LEN])
{
    size_t n_done = 0;

#if defined(__x86_64__)
    if (has_sha && n > 0)
        n_done = sum_beside((SHA256_CTX *)(void *)sum->state, bytes, lines, n, ret);
#endif
    if (n_done == 0)
        dgf_sha256_add(sum, bytes);
    dgf_sha256_leaves(lines + n_done, n - n_done, ret + n_done);
}
