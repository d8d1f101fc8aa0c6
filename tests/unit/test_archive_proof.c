#include "ledger/archive_proof.h"

#include <stdio.h>

#include "base/mem.h"
#include "ledger/archive_tiles.h"
#include "ledger/note.h"

#include "unit.h"

#define LOG "00112233445566778899aabbccddeeff"
#define ORIGIN "dgf/test/" LOG
#define MAX_SIZE 66000
#define MAX_TILES 600

static const uint8_t seed[32] = "this is the seed of a test's key";
static const uint8_t other_seed[32] = "another seed, of another test ke";

/* ---- a log of any size, its tiles in memory -------------------------------------- */

static struct {
    struct dgf_store base;
    struct {
        char name[DGF_ARCHIVE_NAME_MAX];
        size_t len;
        uint8_t bytes[DGF_TILE_WIDTH * DGF_SHA256_LEN];
    } tiles[MAX_TILES];
    size_t n;
} store;

static uint8_t leaves[MAX_SIZE][DGF_SHA256_LEN];

static enum dgf_rc read_object(struct dgf_store *unused, const char *name,
                               uint64_t offset, void *ptr, size_t len, size_t *ret_len,
                               struct dgf_err *err)
{
    (void)unused;
    for (size_t i = 0; i < store.n; i++) {
        size_t n = store.tiles[i].len;

        if (strcmp(store.tiles[i].name, name) != 0)
            continue;
        n = offset < n ? n - (size_t)offset : 0;
        *ret_len = n < len ? n : len;
        memcpy(ptr, store.tiles[i].bytes + offset, *ret_len);
        return DGF_OK;
    }
    return dgf_err_set(err, DGF_AGAIN, "none");
}

static enum dgf_rc put_tile(void *ctx, const struct dgf_tile *tile,
                            struct dgf_bytes hashes)
{
    (void)ctx;
    ck_assert_uint_lt(store.n, MAX_TILES);
    dgf_name_tile(store.tiles[store.n].name, tile);
    memcpy(store.tiles[store.n].bytes, hashes.ptr, hashes.len);
    store.tiles[store.n++].len = hashes.len;
    return DGF_OK;
}

static size_t line_of(uint64_t index, char ret[64])
{
    return (size_t)snprintf(ret, 64, "{\"v\":1,\"seq\":%llu}",
                            (unsigned long long)index);
}

static void make_leaves(void)
{
    char line[64];

    for (uint64_t i = 0; i < MAX_SIZE; i++)
        dgf_sha256_leaf(dgf_bytes_of(line, line_of(i, line)), leaves[i]);
}

/* Leaves are those of make_leaves(). */
static void make_log(uint64_t size)
{
    static struct dgf_tiles tiles;
    struct dgf_tile tile;

    store.base.read = read_object;
    store.n = 0;
    dgf_tiles_init(&tiles);
    ck_assert_int_eq(dgf_tiles_append(&tiles, (const uint8_t(*)[DGF_SHA256_LEN])leaves,
                                      (size_t)size, put_tile, NULL),
                     DGF_OK);
    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++)
        if (dgf_tile_partial(size, level, &tile))
            ck_assert_int_eq(put_tile(NULL, &tile, dgf_tiles_partial(&tiles, level)),
                             DGF_OK);
}

/* ---- RFC 6962, 2.1, word for word ------------------------------------------------ */

static uint64_t largest_power_below(uint64_t n)
{
    uint64_t k = 1;

    while (2 * k < n)
        k *= 2;
    return k;
}

static void tree_hash(uint64_t begin, uint64_t end, uint8_t ret[DGF_SHA256_LEN])
{
    uint8_t left[DGF_SHA256_LEN], right[DGF_SHA256_LEN];
    uint64_t k;

    if (end - begin == 1) {
        memcpy(ret, leaves[begin], DGF_SHA256_LEN);
        return;
    }
    k = largest_power_below(end - begin);
    tree_hash(begin, begin + k, left);
    tree_hash(begin + k, end, right);
    dgf_sha256_node(left, right, ret);
}

static size_t path(uint64_t m, uint64_t begin, uint64_t end,
                   uint8_t (*ret)[DGF_SHA256_LEN])
{
    uint64_t k;
    size_t n;

    if (end - begin == 1)
        return 0;
    k = largest_power_below(end - begin);
    if (m < k) {
        n = path(m, begin, begin + k, ret);
        tree_hash(begin + k, end, ret[n]);
    } else {
        n = path(m - k, begin + k, end, ret);
        tree_hash(begin, begin + k, ret[n]);
    }
    return n + 1;
}

/* ---- inclusion ------------------------------------------------------------------- */

static const uint64_t sizes[] = {1,   2,   3,   4,   5,   7,   8,     255,  256,
                                 257, 258, 511, 512, 513, 600, 65536, 65539};

START_TEST(a_proof_is_the_path_of_rfc_6962_and_gives_the_root)
{
    static uint8_t expected[DGF_PROOF_MAX_HASHES][DGF_SHA256_LEN];
    uint8_t root[DGF_SHA256_LEN], got[DGF_SHA256_LEN];
    struct dgf_proof proof;
    struct dgf_err err;

    make_leaves();
    for (size_t s = 0; s < DGF_ARRAY_LEN(sizes); s++) {
        uint64_t size = sizes[s], step = size < 20 ? 1 : size / 7;

        make_log(size);
        tree_hash(0, size, root);
        for (uint64_t i = 0; i < size;
             i = i + step < size || i == size - 1 ? i + step : size - 1) {
            size_t n = path(i, 0, size, expected);

            ck_assert_int_eq(dgf_proof_make(&store.base, i, size, &proof, &err),
                             DGF_OK);
            ck_assert_uint_eq(proof.n, n);
            ck_assert_mem_eq(proof.hashes, expected, n * DGF_SHA256_LEN);
            ck_assert(dgf_proof_root(&proof, size, leaves[i], got));
            ck_assert_mem_eq(got, root, sizeof(root));
        }
    }
}
END_TEST

/* Whatever else is claimed gives another root, or none at all. */
static void refused(const struct dgf_proof *proof, uint64_t size,
                    const uint8_t leaf[DGF_SHA256_LEN],
                    const uint8_t root[DGF_SHA256_LEN])
{
    uint8_t got[DGF_SHA256_LEN];

    ck_assert(!dgf_proof_root(proof, size, leaf, got) ||
              memcmp(got, root, sizeof(got)) != 0);
}

START_TEST(a_proof_of_something_else_does_not_give_the_root)
{
    uint8_t root[DGF_SHA256_LEN], node[DGF_SHA256_LEN];
    struct dgf_proof proof, bent;
    struct dgf_err err;

    make_leaves();
    for (uint64_t size = 2; size < 40; size++) {
        make_log(size);
        tree_hash(0, size, root);
        for (uint64_t i = 0; i < size; i++) {
            ck_assert_int_eq(dgf_proof_make(&store.base, i, size, &proof, &err),
                             DGF_OK);
            refused(&proof, size, leaves[(i + 1) % size], root);
            for (size_t k = 0; k < proof.n; k++) {
                bent = proof;
                bent.hashes[k][size % DGF_SHA256_LEN] ^= 1;
                refused(&bent, size, leaves[i], root);
            }
            for (uint64_t k = 0; k < size + 2; k++) {
                bent = proof;
                bent.index = k;
                if (k != i)
                    refused(&bent, size, leaves[i], root);
            }
            for (size_t k = 0; k + 1 < proof.n; k++) { /* in another order */
                bent = proof;
                memcpy(bent.hashes[k], proof.hashes[k + 1], DGF_SHA256_LEN);
                memcpy(bent.hashes[k + 1], proof.hashes[k], DGF_SHA256_LEN);
                refused(&bent, size, leaves[i], root);
            }
            bent = proof; /* one too few, one too many */
            bent.n--;
            refused(&bent, size, leaves[i], root);
            bent.n += 2;
            memcpy(bent.hashes[proof.n], root, DGF_SHA256_LEN);
            ck_assert(!dgf_proof_root(&bent, size, leaves[i], node));
            ck_assert(!dgf_proof_root(&proof, 0, leaves[i], node));
            ck_assert(!dgf_proof_root(&proof, i, leaves[i], node));
        }
        /* A node of the tree is no leaf of it. */
        tree_hash(0, 2, node);
        bent.index = 0;
        bent.n = path(0, 0, size, bent.hashes) - 1;
        memmove(bent.hashes, bent.hashes + 1, bent.n * DGF_SHA256_LEN);
        refused(&bent, size, node, root);
    }
}
END_TEST

START_TEST(what_cannot_be_proven_is_said)
{
    struct dgf_proof proof;
    struct dgf_consistency consistency;
    struct dgf_err err;

    make_leaves();
    make_log(600);
    ck_assert_int_eq(dgf_proof_make(&store.base, 600, 600, &proof, &err),
                     DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "record 600 is not in a log of size 600");
    ck_assert_int_eq(dgf_proof_make(&store.base, 0, 0, &proof, &err), DGF_BAD_CONFIG);
    ck_assert_int_eq(dgf_consistency_make(&store.base, 601, 600, &consistency, &err),
                     DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "a log of size 600 does not go on from size 601");
    ck_assert_int_eq(dgf_consistency_make(&store.base, 0, 600, &consistency, &err),
                     DGF_BAD_CONFIG);
    store.tiles[1].len--; /* tile/0/001 */
    ck_assert_int_eq(dgf_proof_make(&store.base, 300, 600, &proof, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "'tile/0/001' is of another length");
    store.tiles[1].len += 2; /* what lies behind it counts too */
    store.tiles[1].name[0] = '-';
    ck_assert_int_eq(dgf_proof_make(&store.base, 300, 600, &proof, &err), DGF_AGAIN);
    ck_assert_str_eq(err.text, "there is no 'tile/0/001'");
    ck_assert_int_eq(dgf_proof_make(&store.base, 599, 600, &proof, &err), DGF_OK);
}
END_TEST

/* ---- consistency ----------------------------------------------------------------- */

START_TEST(a_log_goes_on_from_each_of_its_sizes_and_from_no_other)
{
    uint8_t old_root[DGF_SHA256_LEN], root[DGF_SHA256_LEN];
    struct dgf_consistency proof, bent;
    struct dgf_err err;

    make_leaves();
    for (uint64_t size = 1; size < 70; size++) {
        make_log(size);
        tree_hash(0, size, root);
        for (uint64_t old = 1; old <= size; old++) {
            tree_hash(0, old, old_root);
            ck_assert_int_eq(dgf_consistency_make(&store.base, old, size, &proof, &err),
                             DGF_OK);
            ck_assert(dgf_consistency_check(&proof, old, old_root, size, root));
            ck_assert(!dgf_consistency_check(&proof, 0, old_root, size, root));
            ck_assert(!dgf_consistency_check(&proof, size + 1, old_root, size, root));
            ck_assert(!dgf_consistency_check(&proof, old, old_root, size + 64, root));
            if (old < size) {
                ck_assert(!dgf_consistency_check(&proof, old, root, size, root));
                ck_assert(
                    !dgf_consistency_check(&proof, old, old_root, size, old_root));
            }
            for (size_t k = 0; k < proof.n; k++) {
                bent = proof;
                bent.hashes[k][k % DGF_SHA256_LEN] ^= 0x80;
                ck_assert(!dgf_consistency_check(&bent, old, old_root, size, root));
            }
            bent = proof;
            memcpy(bent.hashes[bent.n++], root, DGF_SHA256_LEN);
            ck_assert(!dgf_consistency_check(&bent, old, old_root, size, root));
            if (proof.n > 0) {
                bent.n = proof.n - 1;
                ck_assert(!dgf_consistency_check(&bent, old, old_root, size, root));
            }
        }
    }
}
END_TEST

/* ---- files ----------------------------------------------------------------------- */

#define HASH "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

START_TEST(a_proof_file_reads_back_and_others_are_refused)
{
    static const char *const bad[] = {
        "",
        "\n",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n",
        "c2sp.org/tlog-proof@v2\nindex 1\n" HASH "\nnote",
        "index 1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\r\nindex 1\r\n\r\nnote",
        "c2sp.org/tlog-proof@v1\nindex\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex \n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex -1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 01\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex +1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1 \n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 0x1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\nindex 1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\n" HASH,
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\nAAAA" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\n!" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 1\n" HASH "\nnote",
        "c2sp.org/tlog-proof@v1\nindex 1\nextra AAAA\n" HASH "\nnote",
    };
    struct dgf_proof proof = {.index = 77, .n = 3}, again;
    struct dgf_buf text;
    const char *what;

    for (size_t i = 0; i < proof.n; i++)
        memset(proof.hashes[i], (int)i + 1, DGF_SHA256_LEN);
    proof.checkpoint = DGF_BYTES("the note\n");
    dgf_buf_init(&text, DGF_PROOF_MAX_BYTES);
    dgf_proof_put(&proof, &text);
    ck_assert(dgf_proof_get(dgf_buf_bytes(&text), &again, &what));
    ck_assert_uint_eq(again.index, 77);
    ck_assert_uint_eq(again.n, 3);
    ck_assert_mem_eq(again.hashes, proof.hashes, 3 * DGF_SHA256_LEN);
    ck_assert(dgf_bytes_eq(again.checkpoint, proof.checkpoint));
    ck_assert(
        dgf_proof_get(dgf_bytes_str("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\n"),
                      &again, &what));
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++) {
        ck_assert_msg(!dgf_proof_get(dgf_bytes_str(bad[i]), &again, &what),
                      "text %zu is a proof", i);
        ck_assert_str_eq(what, "it is not a C2SP tlog-proof: version, index, hashes, "
                               "an empty line and a checkpoint");
    }
    dgf_buf_clear(&text);
    dgf_buf_add_str(&text, "c2sp.org/tlog-proof@v1\nindex 1\n");
    for (int i = 0; i < DGF_PROOF_MAX_HASHES + 1; i++)
        dgf_buf_add_str(&text, HASH);
    dgf_buf_add_str(&text, "\nnote");
    ck_assert(!dgf_proof_get(dgf_buf_bytes(&text), &again, &what));
    dgf_buf_release(&text);
}
END_TEST

/* ---- verdicts -------------------------------------------------------------------- */

static void vkey_of(const uint8_t with[32], const char *name, struct dgf_buf *to)
{
    struct dgf_vkey vkey = {.name = ""};

    (void)snprintf(vkey.name, sizeof(vkey.name), "%s", name);
    ck_assert(dgf_sign_public(with, vkey.key));
    dgf_buf_init(to, 4096);
    dgf_vkey_put(&vkey, to);
}

/* Of record `index` in a log of 300; made so small or so long by n_hashes. */
static void proof_file(uint64_t index, int n_more, struct dgf_buf *to)
{
    struct dgf_checkpoint checkpoint = {.origin = ORIGIN, .size = 300, .time_s = 9};
    struct dgf_buf note;
    struct dgf_proof proof;
    struct dgf_err err;

    make_leaves();
    make_log(300);
    tree_hash(0, 300, checkpoint.root);
    dgf_buf_init(&note, 4096);
    ck_assert(dgf_checkpoint_put(&checkpoint, seed, &note));
    ck_assert_int_eq(
        dgf_proof_make(&store.base, index < 300 ? index : 0, 300, &proof, &err),
        DGF_OK);
    proof.index = index;
    proof.checkpoint = dgf_buf_bytes(&note);
    proof.n += (size_t)n_more;
    dgf_buf_init(to, 1 << 16);
    dgf_proof_put(&proof, to);
    dgf_buf_release(&note);
}

static struct dgf_proof_verdict verdict_on(struct dgf_buf *proof, struct dgf_bytes line,
                                           const char *key)
{
    struct dgf_proof_verdict verdict;
    struct dgf_err err;

    ck_assert_int_eq(
        dgf_proof_check(dgf_buf_bytes(proof), line, &key, 1, &verdict, &err), DGF_OK);
    return verdict;
}

START_TEST(line_proof_and_key_are_enough_and_each_that_is_wrong_is_named)
{
    static char long_line[70000];
    struct dgf_proof_verdict verdict;
    struct dgf_buf ours, others, of_other_log, proof;
    struct dgf_err err;
    char line[64];
    const char *none = "nonsense";
    struct dgf_bytes right = dgf_bytes_of(line, line_of(42, line));

    vkey_of(seed, ORIGIN, &ours);
    vkey_of(other_seed, ORIGIN, &others);
    vkey_of(seed, "dgf/other/" LOG, &of_other_log);
    proof_file(42, 0, &proof);
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_ptr_null(verdict.class);
    ck_assert_uint_eq(verdict.index, 42);
    ck_assert_uint_eq(verdict.size, 300);

    verdict = verdict_on(&proof, DGF_BYTES("{\"v\":1,\"seq\":43}"), dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "root");
    memset(long_line, 'x', sizeof(long_line));
    verdict = verdict_on(&proof, dgf_bytes_of(long_line, 65536), dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "limit");
    verdict = verdict_on(&proof, right, dgf_buf_str(&others));
    ck_assert_str_eq(verdict.class, "signature");
    verdict = verdict_on(&proof, right, dgf_buf_str(&of_other_log));
    ck_assert_str_eq(verdict.class, "origin");
    ck_assert_int_eq(
        dgf_proof_check(dgf_buf_bytes(&proof), right, &none, 1, &verdict, &err),
        DGF_BAD_CONFIG);

    proof.ptr[proof.len - 3] ^= 1; /* the last signature */
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_ptr_nonnull(verdict.class);
    dgf_buf_release(&proof);

    proof_file(300, 0, &proof);
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "proof");
    ck_assert_str_eq(verdict.text, "its index is not in the tree of its checkpoint");
    dgf_buf_release(&proof);
    for (int more = -1; more <= 1; more += 2) {
        proof_file(42, more, &proof);
        verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
        ck_assert_str_eq(verdict.class, "proof");
        ck_assert_str_eq(verdict.text,
                         "it has not as many hashes as its index and size need");
        dgf_buf_release(&proof);
    }
    proof_file(42, 0, &proof);
    dgf_buf_add(&proof, long_line, DGF_PROOF_MAX_BYTES);
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "limit");
    dgf_buf_clear(&proof);
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "proof");
    dgf_buf_add_str(&proof, "c2sp.org/tlog-proof@v1\nindex 0\n\nno note");
    verdict = verdict_on(&proof, right, dgf_buf_str(&ours));
    ck_assert_str_eq(verdict.class, "checkpoint");
    dgf_buf_release(&proof);
    dgf_buf_release(&ours);
    dgf_buf_release(&others);
    dgf_buf_release(&of_other_log);
}
END_TEST

DGF_UNIT(archive_proof, a_proof_is_the_path_of_rfc_6962_and_gives_the_root,
         a_proof_of_something_else_does_not_give_the_root,
         what_cannot_be_proven_is_said,
         a_log_goes_on_from_each_of_its_sizes_and_from_no_other,
         a_proof_file_reads_back_and_others_are_refused,
         line_proof_and_key_are_enough_and_each_that_is_wrong_is_named)
