#include "ledger/tree.h"
#include "unit.h"

/* The definition of RFC 6962, section 2.1, as it is written there. */
static void reference(uint8_t (*leaves)[DGF_SHA256_LEN], size_t n, uint8_t *ret)
{
    uint8_t left[DGF_SHA256_LEN], right[DGF_SHA256_LEN];
    size_t k = 1;

    if (n == 0) {
        dgf_sha256(dgf_bytes_of("", 0), ret);
        return;
    }
    if (n == 1) {
        memcpy(ret, leaves[0], DGF_SHA256_LEN);
        return;
    }
    while (2 * k < n)
        k *= 2;
    reference(leaves, k, left);
    reference(leaves + k, n - k, right);
    dgf_sha256_node(left, right, ret);
}

START_TEST(the_root_of_no_leaf_is_the_hash_of_nothing)
{
    static const uint8_t empty[] = {0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14};
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_tree tree;

    dgf_tree_init(&tree);
    dgf_tree_root(&tree, root);
    ck_assert_mem_eq(root, empty, sizeof(empty));
}
END_TEST

START_TEST(a_known_log_has_its_known_root)
{
    /* Eight entries of the test data of certificate-transparency; the root of
     * all eight is published with it. */
    static const char *const entries[] = {"",
                                          "00",
                                          "10",
                                          "2021",
                                          "3031",
                                          "40414243",
                                          "5051525354555657",
                                          "606162636465666768696a6b6c6d6e6f"};
    static const char published[] =
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
    uint8_t root[DGF_SHA256_LEN];
    struct dgf_buf text;
    struct dgf_tree tree;

    dgf_tree_init(&tree);
    for (size_t i = 0; i < 8; i++) {
        uint8_t bytes[16], hash[DGF_SHA256_LEN];
        size_t n = strlen(entries[i]) / 2;

        for (size_t k = 0; k < n; k++) {
            char pair[3] = {entries[i][2 * k], entries[i][2 * k + 1], '\0'};

            bytes[k] = (uint8_t)strtoul(pair, NULL, 16);
        }
        dgf_sha256_leaf(dgf_bytes_of(bytes, n), hash);
        dgf_tree_append(&tree, hash);
    }
    dgf_tree_root(&tree, root);
    dgf_buf_init(&text, 100);
    dgf_buf_add_hex(&text, dgf_bytes_of(root, sizeof(root)));
    ck_assert_str_eq(dgf_buf_str(&text), published);
    dgf_buf_release(&text);
}
END_TEST

START_TEST(every_size_up_to_300_has_the_root_of_the_definition)
{
    static uint8_t leaves[300][DGF_SHA256_LEN];
    uint8_t root[DGF_SHA256_LEN], expected[DGF_SHA256_LEN];
    struct dgf_tree tree;

    dgf_tree_init(&tree);
    for (size_t n = 0; n < 300; n++) {
        dgf_tree_root(&tree, root);
        reference(leaves, n, expected);
        ck_assert_mem_eq(root, expected, sizeof(root));
        dgf_sha256_leaf(dgf_bytes_of(&n, sizeof(n)), leaves[n]);
        dgf_tree_append(&tree, leaves[n]);
    }
}
END_TEST

START_TEST(many_leaves_at_once_give_the_tree_of_one_after_the_other)
{
    uint8_t hashes[65][DGF_SHA256_LEN], a[DGF_SHA256_LEN], b[DGF_SHA256_LEN];
    struct dgf_tree one, many;

    for (size_t before = 0; before < 40; before++) {
        for (size_t n = 0; n <= 64; n++) {
            dgf_tree_init(&one);
            for (size_t i = 0; i < before; i++) {
                dgf_sha256_leaf(dgf_bytes_of(&i, sizeof(i)), a);
                dgf_tree_append(&one, a);
            }
            many = one;
            for (size_t i = 0; i < n; i++) {
                dgf_sha256_leaf(dgf_bytes_of(&i, sizeof(i)), hashes[1 + i]);
                dgf_tree_append(&one, hashes[1 + i]);
            }
            dgf_tree_append_many(&many, hashes, n);
            ck_assert_uint_eq(many.size, before + n);
            dgf_tree_root(&one, a);
            dgf_tree_root(&many, b);
            ck_assert_mem_eq(a, b, sizeof(a));
        }
    }
}
END_TEST

START_TEST(an_edge_survives_being_written_and_read)
{
    struct dgf_tree tree, other;
    struct dgf_buf bytes;

    dgf_tree_init(&tree);
    dgf_buf_init(&bytes, 4096);
    for (size_t n = 0; n < 70; n++) {
        uint8_t hash[DGF_SHA256_LEN], a[DGF_SHA256_LEN], b[DGF_SHA256_LEN];
        struct dgf_rd rd;

        dgf_buf_clear(&bytes);
        dgf_tree_put(&tree, &bytes);
        rd = dgf_rd_of(dgf_buf_bytes(&bytes));
        ck_assert(dgf_tree_get(&rd, n, &other));
        ck_assert_uint_eq(dgf_rd_left(&rd), 0);
        dgf_sha256_leaf(dgf_bytes_of(&n, sizeof(n)), hash);
        dgf_tree_append(&tree, hash);
        dgf_tree_append(&other, hash);
        dgf_tree_root(&tree, a);
        dgf_tree_root(&other, b);
        ck_assert_mem_eq(a, b, sizeof(a));
    }
    dgf_buf_release(&bytes);
}
END_TEST

START_TEST(an_edge_of_another_size_is_refused)
{
    static const uint8_t bytes[1 + 2 * DGF_SHA256_LEN] = {2};
    struct dgf_rd rd = dgf_rd_of(dgf_bytes_of(bytes, sizeof(bytes)));
    struct dgf_tree tree;

    ck_assert(dgf_tree_get(&rd, 3, &tree));
    rd = dgf_rd_of(dgf_bytes_of(bytes, sizeof(bytes)));
    ck_assert(!dgf_tree_get(&rd, 4, &tree));
    rd = dgf_rd_of(dgf_bytes_of(bytes, sizeof(bytes) - 1));
    ck_assert(!dgf_tree_get(&rd, 3, &tree));
}
END_TEST

DGF_UNIT(tree, the_root_of_no_leaf_is_the_hash_of_nothing,
         a_known_log_has_its_known_root,
         every_size_up_to_300_has_the_root_of_the_definition,
         many_leaves_at_once_give_the_tree_of_one_after_the_other,
         an_edge_survives_being_written_and_read, an_edge_of_another_size_is_refused)
