#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/parse.h"
#include "base/sha256.h"
#include "ledger/archive_impl.h"
#include "ledger/archive_keys.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_state.h"
#include "ledger/archive_tiles.h"
#include "ledger/note.h"
#include "unit.h"

#define LOG "00112233445566778899aabbccddeeff"

static const uint8_t seed[32] = "this is the seed of a test's key";
static const uint8_t other_seed[32] = "another seed, of another test ke";

/* ---- notes ---- */

START_TEST(the_public_example_of_a_note_has_our_key_id_and_signature)
{
    /* The key and the note of golang.org/x/mod/sumdb/note's documentation. */
    static const char vkey_text[] =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    static const char private_key[] = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    static const char text[] =
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n";
    static const char published[] =
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFY"
        "C2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
    struct dgf_buf key, wanted, out;
    struct dgf_vkey vkey;
    struct dgf_err err;
    uint8_t public[32], signature[64];

    dgf_buf_init(&key, 64);
    dgf_buf_init(&wanted, 128);
    dgf_buf_init(&out, 256);
    ck_assert_int_eq(dgf_vkey_get(dgf_bytes_str(vkey_text), &vkey, &err), DGF_OK);
    ck_assert_str_eq(vkey.name, "PeterNeumann");
    ck_assert(dgf_parse_base64(dgf_bytes_str(private_key), &key) && key.len == 33);
    ck_assert(dgf_sign_public(key.ptr + 1, public));
    ck_assert_mem_eq(public, vkey.key, 32);
    ck_assert(dgf_parse_base64(dgf_bytes_str(published), &wanted) && wanted.len == 68);
    ck_assert(dgf_sign(key.ptr + 1, dgf_bytes_str(text), signature));
    ck_assert_mem_eq(signature, wanted.ptr + 4, 64);
    ck_assert(dgf_sign_check(vkey.key, dgf_bytes_str(text), signature));
    signature[7] ^= 1;
    ck_assert(!dgf_sign_check(vkey.key, dgf_bytes_str(text), signature));
    dgf_vkey_put(&vkey, &out);
    ck_assert_str_eq(dgf_buf_str(&out), vkey_text);
    dgf_buf_release(&key);
    dgf_buf_release(&wanted);
    dgf_buf_release(&out);
}
END_TEST

START_TEST(a_vkey_that_is_none_is_refused_with_its_reason)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not a vkey: it is <name>+<8 hex digits>+<base64>"},
        {"name", "not a vkey: it is <name>+<8 hex digits>+<base64>"},
        {"+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
         "not a vkey: its name is malformed"},
        {"Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
         "not a vkey: its name is malformed"},
        {"PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVk",
         "not a vkey: its key is not 33 bytes in base64"},
        {"PeterNeumann+c74f20a3+BBpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
         "the vkey is of algorithm 4, not Ed25519 (1)"},
        {"PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
         "not a vkey: its key id does not fit its name and key"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dgf_vkey vkey;
        struct dgf_err err = {0};

        ck_assert_int_eq(dgf_vkey_get(dgf_bytes_str(cases[i].text), &vkey, &err),
                         DGF_BAD_DATA);
        ck_assert_str_eq(err.text, cases[i].why);
    }
}
END_TEST

static struct dgf_checkpoint checkpoint_of(uint64_t size, uint64_t time_s)
{
    struct dgf_checkpoint checkpoint = {.size = size, .time_s = time_s};

    ck_assert(dgf_origin_put("orders 1", LOG, checkpoint.origin));
    memset(checkpoint.root, 0x11, sizeof(checkpoint.root));
    memset(checkpoint.manifest, 0x22, sizeof(checkpoint.manifest));
    return checkpoint;
}

START_TEST(a_checkpoint_comes_back_as_it_was_signed)
{
    struct dgf_checkpoint checkpoint = checkpoint_of(1042, 1772442000), back;
    struct dgf_buf note, again;
    struct dgf_err err;
    uint8_t key[32];
    bool ok;

    dgf_buf_init(&note, 4096);
    dgf_buf_init(&again, 4096);
    ck_assert(dgf_checkpoint_put(&checkpoint, seed, &note));
    ck_assert(dgf_checkpoint_put(&checkpoint, seed, &again));
    ck_assert(dgf_bytes_eq(dgf_buf_bytes(&note), dgf_buf_bytes(&again)));
    ck_assert_ptr_nonnull(strstr(dgf_buf_str(&note), "dgf/orders%201/" LOG "\n1042\n"));
    ck_assert(dgf_sign_public(seed, key));
    ck_assert_int_eq(dgf_checkpoint_get(dgf_buf_bytes(&note), key, &back, &ok, &err),
                     DGF_OK);
    ck_assert(ok);
    ck_assert_uint_eq(back.size, 1042);
    ck_assert_uint_eq(back.time_s, 1772442000);
    ck_assert_mem_eq(back.root, checkpoint.root, 32);
    ck_assert_mem_eq(back.manifest, checkpoint.manifest, 32);
    ck_assert(dgf_sign_public(other_seed, key));
    ck_assert_int_eq(dgf_checkpoint_get(dgf_buf_bytes(&note), key, &back, &ok, &err),
                     DGF_OK);
    ck_assert(!ok);
    dgf_buf_release(&note);
    dgf_buf_release(&again);
}
END_TEST

START_TEST(one_changed_bit_of_a_checkpoint_is_never_signed)
{
    struct dgf_checkpoint checkpoint = checkpoint_of(77, 1772442000), back;
    struct dgf_buf note;
    struct dgf_err err;
    uint8_t key[32];

    dgf_buf_init(&note, 4096);
    ck_assert(dgf_sign_public(seed, key));
    ck_assert(dgf_checkpoint_put(&checkpoint, seed, &note));
    for (size_t i = 0; i < note.len * 8; i++) {
        bool ok = false;
        enum dgf_rc rc;

        note.ptr[i / 8] ^= (uint8_t)(1 << i % 8);
        rc = dgf_checkpoint_get(dgf_buf_bytes(&note), key, &back, &ok, &err);
        ck_assert_msg(rc == DGF_BAD_DATA || !ok, "bit %zu went unnoticed", i);
        note.ptr[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < note.len; n++) {
        bool ok = false;
        enum dgf_rc rc =
            dgf_checkpoint_get(dgf_bytes_of(note.ptr, n), key, &back, &ok, &err);

        ck_assert_msg(rc == DGF_BAD_DATA || !ok, "cut at %zu went unnoticed", n);
    }
    dgf_buf_release(&note);
}
END_TEST

/* ---- tiles ---- */

static uint64_t n_full;

static enum dgf_rc count_full(void *ctx, const struct dgf_tile *tile,
                              struct dgf_bytes hashes)
{
    (void)ctx;
    ck_assert_uint_eq(hashes.len, 256 * 32);
    ck_assert_uint_eq(tile->width, 256);
    n_full++;
    return DGF_OK;
}

START_TEST(tiles_give_the_root_of_the_tree_at_every_size)
{
    struct dgf_tiles *tiles = dgf_malloc(sizeof(*tiles));
    uint8_t leaf[1][DGF_SHA256_LEN], a[DGF_SHA256_LEN], b[DGF_SHA256_LEN];
    struct dgf_tree tree, of_tiles;

    dgf_tiles_init(tiles);
    dgf_tree_init(&tree);
    n_full = 0;
    for (uint32_t i = 0; i < 66000; i++) {
        dgf_sha256(dgf_bytes_of(&i, sizeof(i)), leaf[0]);
        dgf_tree_append(&tree, leaf[0]);
        ck_assert_int_eq(dgf_tiles_append(tiles, leaf, 1, count_full, NULL), DGF_OK);
        if (i > 700 && i % 97 && i < 65500)
            continue;
        dgf_tiles_tree(tiles, &of_tiles);
        dgf_tree_root(&tree, a);
        dgf_tree_root(&of_tiles, b);
        ck_assert_mem_eq(a, b, sizeof(a));
    }
    ck_assert_uint_eq(n_full, 66000 / 256 + 1); /* one of level 1 */
    dgf_free(tiles);
}
END_TEST

START_TEST(the_root_of_tiles_is_that_of_the_known_log)
{
    /* The test data of certificate-transparency, as in test_tree. */
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
    struct dgf_tiles *tiles = dgf_malloc(sizeof(*tiles));
    uint8_t root[DGF_SHA256_LEN], wanted[DGF_SHA256_LEN];
    struct dgf_tree tree;

    dgf_tiles_init(tiles);
    for (size_t i = 0; i < 8; i++) {
        uint8_t bytes[16], hash[1][DGF_SHA256_LEN];
        size_t n = strlen(entries[i]) / 2;

        ck_assert(n == 0 || dgf_parse_hex(dgf_bytes_str(entries[i]), bytes, n));
        dgf_sha256_leaf(dgf_bytes_of(bytes, n), hash[0]);
        ck_assert_int_eq(dgf_tiles_append(tiles, hash, 1, count_full, NULL), DGF_OK);
    }
    dgf_tiles_tree(tiles, &tree);
    dgf_tree_root(&tree, root);
    ck_assert(dgf_parse_hex(dgf_bytes_str(published), wanted, 32));
    ck_assert_mem_eq(root, wanted, 32);
    dgf_free(tiles);
}
END_TEST

START_TEST(names_of_tiles_are_those_of_tlog_tiles)
{
    static const struct {
        struct dgf_tile tile;
        const char *name;
    } cases[] = {
        {{0, 0, 256}, "tile/0/000"},
        {{0, 0, 17}, "tile/0/000.p/17"},
        {{0, 999, 256}, "tile/0/999"},
        {{0, 1000, 256}, "tile/0/x001/000"},
        {{3, 1234067, 256}, "tile/3/x001/x234/067"},
        {{1, 1234, 255}, "tile/1/x001/234.p/255"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[DGF_ARCHIVE_NAME_MAX];

        dgf_name_tile(name, &cases[i].tile);
        ck_assert_str_eq(name, cases[i].name);
    }
}
END_TEST

static unsigned list_tiles(uint64_t from, uint64_t to, char *out, size_t size)
{
    struct dgf_tile_list list;
    struct dgf_tile tile;
    unsigned n = 0;

    *out = '\0';
    dgf_tile_list_init(&list, from, to);
    while (dgf_tile_list_next(&list, &tile)) {
        char name[DGF_ARCHIVE_NAME_MAX];

        dgf_name_tile(name, &tile);
        ck_assert(strlen(out) + strlen(name) + 2 < size);
        snprintf(out + strlen(out), size - strlen(out), "%s ", name);
        n++;
    }
    return n;
}

START_TEST(a_growing_tree_needs_its_new_full_tiles_and_its_partial_ones)
{
    char out[4096];

    ck_assert_uint_eq(list_tiles(0, 3, out, sizeof(out)), 1);
    ck_assert_str_eq(out, "tile/0/000.p/3 ");
    list_tiles(3, 256, out, sizeof(out));
    ck_assert_str_eq(out, "tile/0/000 tile/1/000.p/1 ");
    list_tiles(256, 700, out, sizeof(out));
    ck_assert_str_eq(out, "tile/0/001 tile/0/002.p/188 tile/1/000.p/2 ");
    list_tiles(700, 701, out, sizeof(out));
    ck_assert_str_eq(out, "tile/0/002.p/189 tile/1/000.p/2 ");
    list_tiles(65535, 65536, out, sizeof(out));
    ck_assert_str_eq(out, "tile/0/255 tile/1/000 tile/2/000.p/1 ");
    ck_assert_uint_eq(list_tiles(7, 7, out, sizeof(out)), 0);
}
END_TEST

/* ---- segments ---- */

START_TEST(a_segment_comes_back_line_by_line_and_its_index_fits)
{
    struct dgf_segment_writer *writer;
    struct dgf_unpacker *unpacker;
    struct dgf_buf out, plain, frame;
    struct dgf_bytes rest;
    uint32_t n_frames = 0;
    char line[600];
    size_t used = 0, index_at = 0;
    enum dgf_rc rc;

    dgf_buf_init(&out, 16 << 20);
    dgf_buf_init(&plain, 16 << 20);
    dgf_buf_init(&frame, 1 << 20);
    ck_assert_int_eq(dgf_segment_writer_new(1, &writer), DGF_OK);
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(line, sizeof(line), "{\"seq\":%d,\"x\":\"%0*d\"}", i,
                         i % 500 + 1, i);

        ck_assert_int_eq(
            dgf_segment_writer_add(writer, dgf_bytes_of(line, (size_t)n), &out),
            DGF_OK);
        dgf_buf_add(&plain, line, (size_t)n);
        dgf_buf_add_byte(&plain, '\n');
    }
    ck_assert_int_eq(dgf_segment_writer_end(writer, &out), DGF_OK);
    dgf_segment_writer_free(writer);
    ck_assert_int_eq(dgf_unpacker_new(&unpacker), DGF_OK);
    rest = dgf_buf_bytes(&out);
    for (size_t at = 0; rest.len > 0;
         rest = dgf_bytes_of(rest.ptr + used, rest.len - used)) {
        dgf_buf_clear(&frame);
        rc = dgf_unpack_frame(unpacker, rest, DGF_ARCHIVE_FRAME_BYTES, &frame, &used);
        if (rc == DGF_AGAIN) {
            index_at = (size_t)(rest.ptr - out.ptr);
            continue;
        }
        ck_assert_int_eq(rc, DGF_OK);
        ck_assert_uint_eq(frame.ptr[frame.len - 1], '\n');
        ck_assert_mem_eq(frame.ptr, plain.ptr + at, frame.len);
        at += frame.len;
        n_frames++;
    }
    ck_assert_uint_eq(n_frames, (plain.len + 262143) / 262144);
    ck_assert_uint_eq(dgf_le32_at(out.ptr + index_at), DGF_SEEK_TABLE_MAGIC);
    ck_assert_uint_eq(dgf_le32_at(out.ptr + index_at + 4), 8 * n_frames + 9);
    ck_assert_uint_eq(dgf_le32_at(out.ptr + out.len - 9), n_frames);
    ck_assert_uint_eq(dgf_le32_at(out.ptr + out.len - 4), DGF_SEEK_FOOTER_MAGIC);
    dgf_unpacker_free(unpacker);
    dgf_buf_release(&out);
    dgf_buf_release(&plain);
    dgf_buf_release(&frame);
}
END_TEST

START_TEST(a_frame_that_would_grow_beyond_its_limit_is_refused_before_it_is_unpacked)
{
    struct dgf_segment_writer *writer;
    struct dgf_unpacker *unpacker;
    struct dgf_buf out, frame;
    char line[60000];
    size_t used;

    memset(line, 'x', sizeof(line));
    dgf_buf_init(&out, 1 << 20);
    dgf_buf_init(&frame, 1 << 20);
    ck_assert_int_eq(dgf_segment_writer_new(1, &writer), DGF_OK);
    ck_assert_int_eq(
        dgf_segment_writer_add(writer, dgf_bytes_of(line, sizeof(line)), &out), DGF_OK);
    ck_assert_int_eq(dgf_segment_writer_end(writer, &out), DGF_OK);
    ck_assert_int_eq(dgf_unpacker_new(&unpacker), DGF_OK);
    ck_assert_int_eq(
        dgf_unpack_frame(unpacker, dgf_buf_bytes(&out), 1000, &frame, &used),
        DGF_BAD_DATA);
    ck_assert_uint_eq(frame.cap, 0);
    ck_assert_int_eq(
        dgf_unpack_frame(unpacker, dgf_bytes_of(out.ptr, 20), 1 << 20, &frame, &used),
        DGF_BAD_DATA);
    dgf_unpacker_free(unpacker);
    dgf_segment_writer_free(writer);
    dgf_buf_release(&out);
    dgf_buf_release(&frame);
}
END_TEST

/* ---- manifests ---- */

#define RECORD(kind, rest)                                                      \
    "{\"v\":1,\"seq\":1,\"id\":\"00000000000000000000000000\",\"kind\":\"" kind \
    "\"" rest "}"

START_TEST(a_manifest_tells_what_the_segments_own_lines_say)
{
    static const char *const lines[] = {
        RECORD("audit", ",\"source\":\"a\",\"to\":\"9\",\"events\":99"),
        RECORD("coverage", ",\"source\":\"b\",\"to\":\"2\",\"events\":5"),
        RECORD("coverage", ",\"source\":\"a\",\"from\":\"1\",\"to\":\"4\",\"events\":3,"
                           "\"part\":1,\"parts\":2"),
        RECORD("coverage", ",\"source\":\"a\",\"from\":\"1\",\"to\":\"4\",\"events\":3,"
                           "\"part\":2,\"parts\":2"),
        RECORD("gap", ",\"source\":\"a\",\"from\":\"4\",\"to\":\"7\""),
        RECORD("gap", ",\"message\":\"of a sink\""),
    };
    struct dgf_manifest manifest, back;
    struct dgf_buf json, again;
    struct dgf_err err;
    uint8_t hash[32] = {1};

    dgf_manifest_init(&manifest);
    dgf_manifest_init(&back);
    dgf_buf_init(&json, 1 << 20);
    dgf_buf_init(&again, 1 << 20);
    memcpy(manifest.log, LOG, 33);
    manifest.last = 5;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        ck_assert_int_eq(dgf_manifest_line(&manifest, dgf_bytes_str(lines[i])), DGF_OK);
    ck_assert_int_eq(dgf_manifest_policy(&manifest, dgf_bytes_str("p/z.yaml"), hash),
                     DGF_OK);
    ck_assert_int_eq(dgf_manifest_policy(&manifest, dgf_bytes_str("p/a.yaml"), hash),
                     DGF_OK);
    dgf_manifest_put(&manifest, &json);
    ck_assert_ptr_nonnull(
        strstr(dgf_buf_str(&json),
               "\"sources\":{\"a\":{\"from\":\"1\",\"to\":\"7\",\"events\":3},"
               "\"b\":{\"to\":\"2\",\"events\":5}},\"policies\":{\"p/a.yaml\":"));
    ck_assert_ptr_null(strstr(dgf_buf_str(&json), "previous"));
    ck_assert_int_eq(dgf_manifest_get(dgf_buf_bytes(&json), &back, &err), DGF_OK);
    dgf_manifest_put(&back, &again);
    ck_assert(dgf_bytes_eq(dgf_buf_bytes(&json), dgf_buf_bytes(&again)));
    dgf_manifest_release(&manifest);
    dgf_manifest_release(&back);
    dgf_buf_release(&json);
    dgf_buf_release(&again);
}
END_TEST

START_TEST(a_manifest_with_another_field_or_without_one_is_refused)
{
    struct dgf_manifest manifest, back;
    struct dgf_buf json, changed;
    struct dgf_err err;
    char *at;

    dgf_manifest_init(&manifest);
    dgf_manifest_init(&back);
    dgf_buf_init(&json, 1 << 20);
    dgf_buf_init(&changed, 1 << 20);
    memcpy(manifest.log, LOG, 33);
    dgf_manifest_put(&manifest, &json);
    dgf_buf_add(&changed, json.ptr, json.len - 1);
    dgf_buf_add_str(&changed, ",\"more\":1}");
    ck_assert_int_eq(dgf_manifest_get(dgf_buf_bytes(&changed), &back, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "not a manifest of this format: 'a field that is none'");
    at = strstr((char *)(uintptr_t)dgf_buf_str(&json), "\"v\":1");
    at[4] = '2';
    ck_assert_int_eq(dgf_manifest_get(dgf_buf_bytes(&json), &back, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "not a manifest of this format: 'v'");
    at[4] = '1';
    at = strstr(at, "root_before\":\"");
    at[14] = 'E';
    ck_assert_int_eq(dgf_manifest_get(dgf_buf_bytes(&json), &back, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text, "not a manifest of this format: 'root_before'");
    dgf_manifest_release(&manifest);
    dgf_buf_release(&json);
    dgf_buf_release(&changed);
}
END_TEST

/* ---- the signer ---- */

START_TEST(the_signer_refuses_what_contradicts_what_it_signed)
{
    char dir[] = "/tmp/dgf-signer-XXXXXX", path[128];
    struct dgf_signer signer = {.origin = ""}, later = {.origin = ""};
    struct dgf_checkpoint checkpoint = checkpoint_of(10, 1000), wrong;
    uint8_t before[32] = {0};
    struct dgf_buf note;
    struct dgf_err err;

    dgf_buf_init(&note, 4096);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/keys", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    memcpy(signer.seed, seed, 32);
    memcpy(signer.origin, checkpoint.origin, sizeof(signer.origin));
    ck_assert(dgf_sign_public(seed, signer.key));
    ck_assert_int_eq(dgf_log_keys_add(&signer.keys, signer.key, 0), DGF_OK);
    ck_assert_int_eq(dgf_signer_open(&signer, dir, LOG, &err), DGF_OK);
    ck_assert_int_eq(dgf_signer_sign(&signer, &checkpoint, 0, before, &note, &err),
                     DGF_OK);
    dgf_buf_clear(&note); /* once more is no contradiction */
    ck_assert_int_eq(dgf_signer_sign(&signer, &checkpoint, 0, before, &note, &err),
                     DGF_OK);

    /* A new process remembers. */
    later = signer;
    later.has_last = false;
    ck_assert_int_eq(dgf_signer_open(&later, dir, LOG, &err), DGF_OK);
    ck_assert(later.has_last);
    wrong = checkpoint;
    wrong.root[0] ^= 1;
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 0, before, &note, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "will not sign a checkpoint of size 10: another tree of that "
                     "size was signed (size 10 was signed last)");
    wrong = checkpoint_of(12, 1001);
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 5, before, &note, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "will not sign a checkpoint of size 12: it does not go through "
                     "the tree that was signed (size 10 was signed last)");
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 10, before, &note, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "will not sign a checkpoint of size 12: it continues another "
                     "tree (size 10 was signed last)");
    wrong.time_s = 999;
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 10, checkpoint.root, &note, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "will not sign a checkpoint of size 12: time went back (size "
                     "10 was signed last)");
    wrong.time_s = 1001;
    dgf_buf_clear(&note);
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 10, checkpoint.root, &note, &err),
                     DGF_OK);
    wrong = checkpoint_of(11, 1001);
    ck_assert_int_eq(dgf_signer_sign(&later, &wrong, 12, before, &note, &err),
                     DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "will not sign a checkpoint of size 11: the tree shrank (size "
                     "12 was signed last)");
    dgf_log_keys_release(&signer.keys);
    dgf_buf_release(&note);
    ck_assert_int_eq(remove(later.path), 0);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* ---- keys ---- */

START_TEST(each_size_has_its_key_and_a_rotation_is_signed_by_both)
{
    struct dgf_log_keys keys = {NULL, 0}, back = {NULL, 0};
    struct dgf_buf bytes, detail, message;
    uint8_t old_key[32], new_key[32];
    char *sig, *end;

    dgf_buf_init(&bytes, 4096);
    dgf_buf_init(&detail, 4096);
    dgf_buf_init(&message, 4096);
    ck_assert(dgf_sign_public(seed, old_key) && dgf_sign_public(other_seed, new_key));
    ck_assert_int_eq(dgf_log_keys_add(&keys, old_key, 0), DGF_OK);
    ck_assert_int_eq(dgf_log_keys_add(&keys, new_key, 10), DGF_OK);
    ck_assert_int_eq(dgf_log_keys_add(&keys, old_key, 9), DGF_BAD_DATA);
    ck_assert_ptr_null(dgf_log_keys_at(&keys, 0));
    ck_assert_mem_eq(dgf_log_keys_at(&keys, 10)->key, old_key, 32);
    ck_assert_mem_eq(dgf_log_keys_at(&keys, 11)->key, new_key, 32);
    dgf_log_keys_put(&keys, &bytes);
    ck_assert_int_eq(dgf_log_keys_get(dgf_buf_bytes(&bytes), &back), DGF_OK);
    ck_assert_uint_eq(back.n, 2);
    ck_assert_int_eq(dgf_log_keys_get(dgf_bytes_of(bytes.ptr, 39), &keys),
                     DGF_BAD_DATA);

    ck_assert(dgf_rotation_put("dgf/a/" LOG, LOG, seed, other_seed, 10, &detail));
    dgf_buf_clear(&bytes);
    for (int i = 0; i < 2; i++) { /* old, new: the texts as they stand there */
        char *from = strstr((char *)(uintptr_t)dgf_buf_str(&detail),
                            i ? "\"new\":\"" : "\"old\":\"");
        char vkey[512];

        from += 7;
        snprintf(vkey, sizeof(vkey), "%.*s", (int)(strchr(from, '"') - from), from);
        if (i == 0)
            dgf_buf_addf(&bytes, "dgf-key/v1\n" LOG "\n%s\n", vkey);
        else
            dgf_buf_addf(&bytes, "%s\n10\n", vkey);
    }
    for (int i = 0; i < 2; i++) {
        sig = strstr((char *)(uintptr_t)dgf_buf_str(&detail),
                     i ? "sig_new\":\"" : "sig_old\":\"");
        sig += 10;
        end = strchr(sig, '"');
        dgf_buf_clear(&message);
        ck_assert(dgf_parse_base64(dgf_bytes_of(sig, (size_t)(end - sig)), &message));
        ck_assert_uint_eq(message.len, 64);
        ck_assert(
            dgf_sign_check(i ? new_key : old_key, dgf_buf_bytes(&bytes), message.ptr));
    }
    dgf_log_keys_release(&keys);
    dgf_log_keys_release(&back);
    dgf_buf_release(&bytes);
    dgf_buf_release(&detail);
    dgf_buf_release(&message);
}
END_TEST

/* ---- sealed state ---- */

static const uint8_t log_id[16] = {0, 0x11, 0x22};
static unsigned n_items;
static uint64_t next_index;

static struct dgf_buf sealed_state(const uint8_t key[32], int n)
{
    struct dgf_state_writer writer;
    struct dgf_ledger_position position = {.source = DGF_BYTES("orders"),
                                           .position = DGF_BYTES("\x01\x02"),
                                           .text = DGF_BYTES("1/0"),
                                           .seq = 7,
                                           .counters = DGF_BYTES("c")};
    struct dgf_marks marks;
    struct dgf_buf out;
    static uint8_t value[1000];

    dgf_buf_init(&out, 64 << 20);
    dgf_marks_init(&marks);
    ck_assert_int_eq(dgf_marks_set_position(&marks, &position), DGF_OK);
    dgf_state_writer_init(&writer, key, log_id, 42);
    for (int pass = 0; pass < 2; pass++) {
        ck_assert_int_eq(dgf_state_writer_begin(&writer, 99, 3, &marks, &out), DGF_OK);
        for (int i = 0; i < n; i++) {
            char name[32];

            snprintf(name, sizeof(name), "key/%06d", i);
            ck_assert_int_eq(dgf_state_writer_add(&writer, dgf_bytes_str(name),
                                                  dgf_bytes_of(value, sizeof(value)),
                                                  &out),
                             DGF_OK);
        }
        ck_assert_int_eq(dgf_state_writer_end(&writer, &out), DGF_OK);
    }
    dgf_state_writer_release(&writer);
    dgf_marks_release(&marks);
    return out;
}

static enum dgf_rc read_bytes(void *ctx, uint64_t offset, void *ptr, size_t len,
                              size_t *ret_len, struct dgf_err *err)
{
    const struct dgf_buf *buf = ctx;
    size_t left = offset < buf->len ? buf->len - offset : 0;

    (void)err;
    *ret_len = len < left ? len : left;
    if (*ret_len)
        memcpy(ptr, buf->ptr + offset, *ret_len);
    return DGF_OK;
}

static enum dgf_rc on_begin(void *ctx, uint64_t next, uint64_t batch,
                            const struct dgf_marks *marks, struct dgf_err *err)
{
    (void)ctx;
    (void)err;
    ck_assert_uint_eq(batch, 3);
    ck_assert_uint_eq(marks->n_positions, 1);
    ck_assert_uint_eq(marks->positions[0].seq, 7);
    next_index = next;
    return DGF_OK;
}

static enum dgf_rc on_item(void *ctx, struct dgf_bytes key, struct dgf_bytes value,
                           struct dgf_err *err)
{
    char name[32];

    (void)ctx;
    (void)err;
    snprintf(name, sizeof(name), "key/%06u", n_items++);
    ck_assert(dgf_bytes_eq(key, dgf_bytes_str(name)));
    ck_assert_uint_eq(value.len, 1000);
    return DGF_OK;
}

static enum dgf_rc open_state(struct dgf_buf *sealed, const uint8_t key[32],
                              uint64_t first, struct dgf_err *err)
{
    struct dgf_state_reader reader = {read_bytes, on_begin, on_item, sealed};

    n_items = 0;
    return dgf_state_read(&reader, key, log_id, first, err);
}

START_TEST(sealed_state_comes_back_whole_and_is_the_same_each_time)
{
    uint8_t tenant[32] = {5}, key[32];

    dgf_state_key(tenant, LOG, key);
    for (int n = 0; n <= 2000; n += 1000) {
        struct dgf_buf sealed = sealed_state(key, n), again = sealed_state(key, n);
        struct dgf_err err;

        ck_assert(dgf_bytes_eq(dgf_buf_bytes(&sealed), dgf_buf_bytes(&again)));
        next_index = 0;
        ck_assert_int_eq(open_state(&sealed, key, 42, &err), DGF_OK);
        ck_assert_uint_eq(next_index, 99);
        ck_assert_uint_eq(n_items, (unsigned)n);
        ck_assert_ptr_null(memmem(sealed.ptr, sealed.len, "key/0", 5));
        dgf_buf_release(&sealed);
        dgf_buf_release(&again);
    }
}
END_TEST

START_TEST(state_of_another_key_another_segment_or_with_a_changed_byte_is_refused)
{
    uint8_t tenant[32] = {5}, key[32], other[32];
    struct dgf_buf sealed;
    struct dgf_err err;

    dgf_state_key(tenant, LOG, key);
    tenant[0] = 6;
    dgf_state_key(tenant, LOG, other);
    sealed = sealed_state(key, 600); /* more than two pieces */
    ck_assert_int_eq(open_state(&sealed, other, 42, &err), DGF_BAD_DATA);
    ck_assert_str_eq(err.text,
                     "the sealed state cannot be read: it was sealed with another "
                     "tenant key, or changed");
    ck_assert_int_eq(open_state(&sealed, key, 43, &err), DGF_BAD_DATA);
    for (size_t i = 0; i < sealed.len; i += i < 300 ? 1 : 997) {
        sealed.ptr[i] ^= 4;
        ck_assert_int_eq(open_state(&sealed, key, 42, &err), DGF_BAD_DATA);
        sealed.ptr[i] ^= 4;
    }
    for (size_t n = sealed.len; n > 0; n = n / 2) {
        sealed.len = n - 1;
        ck_assert_int_eq(open_state(&sealed, key, 42, &err), DGF_BAD_DATA);
    }
    dgf_buf_release(&sealed);
}
END_TEST

DGF_UNIT(archive_formats, the_signer_refuses_what_contradicts_what_it_signed,
         the_public_example_of_a_note_has_our_key_id_and_signature,
         a_vkey_that_is_none_is_refused_with_its_reason,
         a_checkpoint_comes_back_as_it_was_signed,
         one_changed_bit_of_a_checkpoint_is_never_signed,
         tiles_give_the_root_of_the_tree_at_every_size,
         the_root_of_tiles_is_that_of_the_known_log,
         names_of_tiles_are_those_of_tlog_tiles,
         a_growing_tree_needs_its_new_full_tiles_and_its_partial_ones,
         a_segment_comes_back_line_by_line_and_its_index_fits,
         a_frame_that_would_grow_beyond_its_limit_is_refused_before_it_is_unpacked,
         a_manifest_tells_what_the_segments_own_lines_say,
         a_manifest_with_another_field_or_without_one_is_refused,
         each_size_has_its_key_and_a_rotation_is_signed_by_both,
         sealed_state_comes_back_whole_and_is_the_same_each_time,
         state_of_another_key_another_segment_or_with_a_changed_byte_is_refused)
