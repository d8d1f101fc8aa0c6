#include "base/hash.h"
#include "base/sha256.h"

#include <stdio.h>

#include "base/mem.h"

#include "unit.h"

static const char *hex(const uint8_t *bytes, size_t n)
{
    static char text[2 * DGF_SHA256_LEN + 1];

    for (size_t i = 0; i < n; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

START_TEST(sha256_gives_the_published_digests)
{
    uint8_t digest[DGF_SHA256_LEN];

    dgf_sha256(DGF_BYTES(""), digest);
    ck_assert_str_eq(
        hex(digest, sizeof(digest)),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    dgf_sha256(DGF_BYTES("abc"), digest);
    ck_assert_str_eq(
        hex(digest, sizeof(digest)),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}
END_TEST

/* Roots of the trees of RFC 6962 over "" and over "", "\0". */
START_TEST(leaves_and_nodes_are_hashed_apart)
{
    uint8_t left[DGF_SHA256_LEN], right[DGF_SHA256_LEN], node[DGF_SHA256_LEN];

    dgf_sha256_leaf(DGF_BYTES(""), left);
    ck_assert_str_eq(
        hex(left, sizeof(left)),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    dgf_sha256_leaf(DGF_BYTES("\0"), right);
    dgf_sha256_node(left, right, node);
    ck_assert_str_eq(
        hex(node, sizeof(node)),
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
}
END_TEST

/* RFC 4231, cases 1, 2 and 6. */
START_TEST(hmac_gives_the_published_digests)
{
    uint8_t digest[DGF_SHA256_LEN], key[131];

    memset(key, 0x0b, 20);
    dgf_hmac_sha256(dgf_bytes_of(key, 20), DGF_BYTES("Hi There"), digest);
    ck_assert_str_eq(
        hex(digest, sizeof(digest)),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    dgf_hmac_sha256(DGF_BYTES("Jefe"), DGF_BYTES("what do ya want for nothing?"),
                    digest);
    ck_assert_str_eq(
        hex(digest, sizeof(digest)),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    dgf_hmac_sha256(dgf_bytes_of(key, sizeof(key)),
                    DGF_BYTES("Test Using Larger Than Block-Size Key - Hash Key First"),
                    digest);
    ck_assert_str_eq(
        hex(digest, sizeof(digest)),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}
END_TEST

static uint32_t crc_bit_by_bit(struct dgf_bytes bytes)
{
    uint32_t crc = ~0u;

    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= bytes.ptr[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78 & (0 - (crc & 1)));
    }
    return ~crc;
}

START_TEST(crc32c_is_the_polynomial_at_every_length_and_goes_on)
{
    uint8_t bytes[100];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    ck_assert_uint_eq(dgf_crc32c(0, DGF_BYTES("123456789")), 0xe3069283);
    ck_assert_uint_eq(dgf_crc32c(0, dgf_bytes_of(NULL, 0)), 0);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        uint32_t crc = dgf_crc32c(0, dgf_bytes_of(bytes, n / 3));

        ck_assert_uint_eq(dgf_crc32c(0, dgf_bytes_of(bytes, n)),
                          crc_bit_by_bit(dgf_bytes_of(bytes, n)));
        ck_assert_uint_eq(dgf_crc32c(crc, dgf_bytes_of(bytes + n / 3, n - n / 3)),
                          crc_bit_by_bit(dgf_bytes_of(bytes, n)));
    }
}
END_TEST

START_TEST(an_id_is_half_a_digest_over_fields_with_their_lengths)
{
    struct dgf_id_hash hash;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id id;

    dgf_id_begin(&hash, "event");
    dgf_id_add(&hash, DGF_BYTES("a\0b"));
    dgf_id_add_u64(&hash, 258);
    id = dgf_id_end(&hash);
    dgf_sha256(
        DGF_BYTES("\4\0\0\0dgf1\5\0\0\0event\3\0\0\0a\0b\x8\0\0\0\2\1\0\0\0\0\0\0"),
        digest);
    ck_assert_mem_eq(id.b, digest, sizeof(id.b));
}
END_TEST

START_TEST(a_keyed_id_is_an_hmac_over_the_same_fields)
{
    struct dgf_id_hash hash;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id id;

    dgf_id_begin(&hash, "v");
    id = dgf_id_end_keyed(&hash, DGF_BYTES("key"));
    dgf_hmac_sha256(DGF_BYTES("key"), DGF_BYTES("\4\0\0\0dgf1\1\0\0\0v"), digest);
    ck_assert_mem_eq(id.b, digest, sizeof(id.b));
}
END_TEST

START_TEST(long_fields_hash_like_short_ones)
{
    static uint8_t input[4 + 4 + 4 + 1 + 3 * (4 + 200)] = "\4\0\0\0dgf1\1\0\0\0x";
    uint8_t field[200], digest[DGF_SHA256_LEN], *at = input + 13;
    struct dgf_id_hash hash;
    struct dgf_id id;

    memset(field, 'f', sizeof(field));
    dgf_id_begin(&hash, "x");
    for (int i = 0; i < 3; i++) {
        dgf_id_add(&hash, dgf_bytes_of(field, sizeof(field)));
        memcpy(at, "\xc8\0\0\0", 4);
        memcpy(at + 4, field, sizeof(field));
        at += 204;
    }
    id = dgf_id_end(&hash);
    dgf_sha256(dgf_bytes_of(input, sizeof(input)), digest);
    ck_assert_mem_eq(id.b, digest, sizeof(id.b));
}
END_TEST

START_TEST(the_text_of_an_id_reads_back_and_sorts_alike)
{
    struct dgf_id id, back;
    char text[DGF_ID_TEXT_LEN + 1], last[DGF_ID_TEXT_LEN + 1] = "";

    for (unsigned i = 0; i < 256; i++) {
        for (size_t j = 0; j < sizeof(id.b); j++)
            id.b[j] = (uint8_t)(j == 0 ? i : i * 31 + j * 17);
        dgf_id_text(&id, text);
        ck_assert_uint_eq(strlen(text), 26);
        ck_assert_str_gt(text, last);
        ck_assert(dgf_id_parse(dgf_bytes_str(text), &back));
        ck_assert_mem_eq(back.b, id.b, sizeof(id.b));
        memcpy(last, text, sizeof(last));
    }
    memset(id.b, 0xff, sizeof(id.b));
    dgf_id_text(&id, text);
    ck_assert_str_eq(text, "7zzzzzzzzzzzzzzzzzzzzzzzzz");
}
END_TEST

START_TEST(a_text_that_is_no_id_is_refused)
{
    static const char *const bad[] = {"",
                                      "7zzzzzzzzzzzzzzzzzzzzzzzz",
                                      "7zzzzzzzzzzzzzzzzzzzzzzzzzz",
                                      "8zzzzzzzzzzzzzzzzzzzzzzzzz",
                                      "7zzzzzzzzzzzzzzzzzzzzzzzzi",
                                      "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"};
    struct dgf_id id;

    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_msg(!dgf_id_parse(dgf_bytes_str(bad[i]), &id), "%s", bad[i]);
    ck_assert(!dgf_id_parse(DGF_BYTES("7zzzzzzzzzzzzzzzzzzzzzzzz\0"), &id));
}
END_TEST

START_TEST(an_id_with_a_frozen_prefix_is_the_same_id)
{
    char slot[400];

    memset(slot, 'x', sizeof(slot));
    for (size_t len = 0; len < sizeof(slot); len++) {
        struct dgf_id_hash a, b;
        struct dgf_id_prefix prefix;
        struct dgf_id one, two;

        dgf_id_begin(&a, "change");
        dgf_id_add(&a, dgf_bytes_of(slot, len));
        dgf_id_begin(&b, "change");
        dgf_id_add(&b, dgf_bytes_of(slot, len));
        dgf_id_freeze(&b, &prefix);
        dgf_id_add_u64(&a, UINT64_C(0x0102030405060708) + len);
        one = dgf_id_end(&a);
        two = dgf_id_last_u64(&prefix, UINT64_C(0x0102030405060708) + len);
        ck_assert_mem_eq(one.b, two.b, sizeof(one.b));
    }
}
END_TEST

START_TEST(random_bytes_differ)
{
    static uint8_t a[10000], b[10000];

    dgf_random(a, sizeof(a));
    dgf_random(b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
    ck_assert_mem_ne(a + sizeof(a) - 16, b, 16);
}
END_TEST

/* Lengths that differ within a pair too, and every place the padding may fall. */
START_TEST(many_leaves_at_once_hash_like_one_after_the_other)
{
    static uint8_t text[400];
    struct dgf_bytes lines[9];
    uint8_t hashes[9][DGF_SHA256_LEN], one[DGF_SHA256_LEN];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 31 + 7);
    for (size_t len = 0; len <= 260; len++) {
        for (size_t i = 0; i < 9; i++)
            lines[i] = dgf_bytes_of(text + i, len + i * i);
        for (size_t n = 0; n <= 9; n += 1 + n / 3) {
            memset(hashes, 0, sizeof(hashes));
            dgf_sha256_leaves(lines, n, hashes);
            for (size_t i = 0; i < n; i++) {
                dgf_sha256_leaf(lines[i], one);
                ck_assert_mem_eq(hashes[i], one, sizeof(one));
            }
        }
    }
}
END_TEST

/* Lines of one text and its sum, whatever else is in the sum and wherever it ends. */
START_TEST(a_sum_beside_leaves_is_the_same_sum_and_the_same_leaves)
{
    static const size_t lens[] = {0, 1, 2, 54, 55, 56, 63, 64, 119, 500, 3000};
    static uint8_t text[40000], hashes[64][DGF_SHA256_LEN];
    uint8_t expected[DGF_SHA256_LEN], got[DGF_SHA256_LEN];
    struct dgf_bytes lines[64];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 131 + i / 251);
    for (size_t before = 0; before < 130; before += 13) {
        for (size_t first = 0; first < DGF_ARRAY_LEN(lens); first++) {
            for (size_t n = 0; n < 20; n++) {
                struct dgf_sha256_sum sum, alone;
                size_t at = before;

                for (size_t i = 0; i < n; i++) {
                    size_t len = lens[(first + i) % DGF_ARRAY_LEN(lens)];

                    lines[i] = dgf_bytes_of(text + at, len);
                    at += len + 1;
                }
                dgf_sha256_begin(&sum);
                dgf_sha256_add(&sum, dgf_bytes_of(text, before));
                dgf_sha256_add_and_leaves(
                    &sum, dgf_bytes_of(text + before, at - before), lines, n, hashes);
                dgf_sha256_add(&sum, dgf_bytes_of(text, 77)); /* it goes on */
                dgf_sha256_end(&sum, got);
                dgf_sha256_begin(&alone);
                dgf_sha256_add(&alone, dgf_bytes_of(text, at));
                dgf_sha256_add(&alone, dgf_bytes_of(text, 77));
                dgf_sha256_end(&alone, expected);
                ck_assert_mem_eq(got, expected, DGF_SHA256_LEN);
                for (size_t i = 0; i < n; i++) {
                    dgf_sha256_leaf(lines[i], expected);
                    ck_assert_mem_eq(hashes[i], expected, DGF_SHA256_LEN);
                }
            }
        }
    }
}
END_TEST

/* More text than lines, more lines than text, no lines at all. */
START_TEST(a_sum_need_not_be_of_the_leaves_beside_it)
{
    static uint8_t text[10000], hashes[40][DGF_SHA256_LEN];
    uint8_t expected[DGF_SHA256_LEN], got[DGF_SHA256_LEN];
    struct dgf_bytes lines[40];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 37);
    for (size_t i = 0; i < DGF_ARRAY_LEN(lines); i++)
        lines[i] = dgf_bytes_of(text + i, 100 + i);
    for (size_t n = 0; n <= DGF_ARRAY_LEN(lines); n += 8) {
        for (size_t len = 0; len <= sizeof(text); len += 625) {
            struct dgf_sha256_sum sum;

            dgf_sha256_begin(&sum);
            dgf_sha256_add_and_leaves(&sum, dgf_bytes_of(text, len), lines, n, hashes);
            dgf_sha256_end(&sum, got);
            dgf_sha256(dgf_bytes_of(text, len), expected);
            ck_assert_mem_eq(got, expected, DGF_SHA256_LEN);
            for (size_t i = 0; i < n; i++) {
                dgf_sha256_leaf(lines[i], expected);
                ck_assert_mem_eq(hashes[i], expected, DGF_SHA256_LEN);
            }
        }
    }
}
END_TEST

START_TEST(many_nodes_at_once_may_go_to_where_their_children_were)
{
    uint8_t children[14][DGF_SHA256_LEN], there[14][DGF_SHA256_LEN],
        one[DGF_SHA256_LEN];

    for (size_t i = 0; i < 14; i++)
        memset(children[i], (int)(17 * i + 3), DGF_SHA256_LEN);
    for (size_t n = 0; n <= 7; n++) {
        for (size_t behind = 0; behind < 2 && behind <= n; behind++) {
            memcpy(there, children, sizeof(there));
            dgf_sha256_nodes(there, n, there + behind);
            for (size_t i = 0; i < n; i++) {
                dgf_sha256_node(children[2 * i], children[2 * i + 1], one);
                ck_assert_mem_eq(there[i + behind], one, sizeof(one));
            }
        }
    }
}
END_TEST

DGF_UNIT(hash, sha256_gives_the_published_digests, leaves_and_nodes_are_hashed_apart,
         many_leaves_at_once_hash_like_one_after_the_other,
         a_sum_beside_leaves_is_the_same_sum_and_the_same_leaves,
         a_sum_need_not_be_of_the_leaves_beside_it,
         many_nodes_at_once_may_go_to_where_their_children_were,
         hmac_gives_the_published_digests,
         crc32c_is_the_polynomial_at_every_length_and_goes_on,
         an_id_is_half_a_digest_over_fields_with_their_lengths,
         a_keyed_id_is_an_hmac_over_the_same_fields, long_fields_hash_like_short_ones,
         the_text_of_an_id_reads_back_and_sorts_alike, a_text_that_is_no_id_is_refused,
         an_id_with_a_frozen_prefix_is_the_same_id, random_bytes_differ)
