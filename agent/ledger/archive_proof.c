#include "ledger/archive_proof.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/parse.h"
#include "ledger/archive_part.h"

#define HEAD_LINE "c2sp.org/tlog-proof@v1"

/* ---- hashes of the tree, from tiles -------------------------------------- */

struct tiles_of {
    struct dgf_store *store;
    uint64_t size; /* partial tiles are those of this size */
    struct dgf_tile at;
    bool read;
    uint8_t hashes[DGF_TILE_WIDTH][DGF_SHA256_LEN];
};

static enum dgf_rc fetch(struct tiles_of *tiles, unsigned level, uint64_t index,
                         struct dgf_err *err)
{
    uint64_t n = tiles->size >> 8 * level;
    struct dgf_tile tile = {level, index, DGF_TILE_WIDTH};
    uint8_t bytes[sizeof(tiles->hashes) + 1];
    char name[DGF_ARCHIVE_NAME_MAX];
    size_t len;
    enum dgf_rc rc;

    if (n / DGF_TILE_WIDTH == index)
        tile.width = (unsigned)(n % DGF_TILE_WIDTH);
    if (tiles->read && tiles->at.level == level && tiles->at.index == index)
        return DGF_OK;
    tiles->read = false;
    dgf_name_tile(name, &tile);
    rc = tiles->store->read(tiles->store, name, 0, bytes, sizeof(bytes), &len, err);
    if (rc == DGF_AGAIN)
        return dgf_err_set(err, rc, "there is no '%s'", name);
    if (rc)
        return rc;
    if (len != (size_t)tile.width * DGF_SHA256_LEN)
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' is of another length", name);
    memcpy(tiles->hashes, bytes, len);
    tiles->at = tile;
    tiles->read = true;
    return DGF_OK;
}

static void fold(uint8_t (*hashes)[DGF_SHA256_LEN], size_t n,
                 uint8_t ret[DGF_SHA256_LEN])
{
    for (; n > 1; n /= 2)
        dgf_sha256_nodes(hashes, n / 2, hashes);
    memcpy(ret, hashes[0], DGF_SHA256_LEN);
}

/* The full subtree of 2^k leaves that begins at `begin`. */
static enum dgf_rc subtree(struct tiles_of *tiles, uint64_t begin, unsigned k,
                           uint8_t ret[DGF_SHA256_LEN], struct dgf_err *err)
{
    unsigned level = k / 8;
    uint64_t at = begin >> 8 * level;
    size_t n = (size_t)1 << k % 8;
    uint8_t scratch[DGF_TILE_WIDTH][DGF_SHA256_LEN];
    enum dgf_rc rc = fetch(tiles, level, at / DGF_TILE_WIDTH, err);

    if (rc)
        return rc;
    memcpy(scratch, tiles->hashes[at % DGF_TILE_WIDTH], n * DGF_SHA256_LEN);
    fold(scratch, n, ret);
    return DGF_OK;
}

/* The tree over begin <= i < end; begin is where such a subtree begins. */
static enum dgf_rc range_root(struct tiles_of *tiles, uint64_t begin, uint64_t end,
                              uint8_t ret[DGF_SHA256_LEN], struct dgf_err *err)
{
    uint64_t at = end;
    bool some = false;

    /* Full subtrees from the right, smallest first. */
    while (at > begin) {
        unsigned k = (unsigned)__builtin_ctzll(at - begin);
        uint8_t part[DGF_SHA256_LEN];
        enum dgf_rc rc = subtree(tiles, at - (UINT64_C(1) << k), k, part, err);

        if (rc)
            return rc;
        at -= UINT64_C(1) << k;
        if (some)
            dgf_sha256_node(part, ret, ret);
        else
            memcpy(ret, part, sizeof(part));
        some = true;
    }
    return DGF_OK;
}

/* Largest power of two below n; n > 1. */
static uint64_t split(uint64_t n)
{
    return UINT64_C(1) << (63 - __builtin_clzll(n - 1));
}

enum dgf_rc dgf_proof_make(struct dgf_store *store, uint64_t index, uint64_t size,
                           struct dgf_proof *ret, struct dgf_err *err)
{
    struct tiles_of tiles = {.store = store, .size = size};
    uint64_t begin = 0, end = size;
    uint8_t down[DGF_PROOF_MAX_HASHES][DGF_SHA256_LEN];
    size_t n = 0;

    if (index >= size)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "record %" PRIu64 " is not in a log of size %" PRIu64, index,
                           size);
    while (end - begin > 1) { /* from the root down */
        uint64_t middle = begin + split(end - begin);
        bool left = index < middle;
        enum dgf_rc rc = left ? range_root(&tiles, middle, end, down[n], err)
                              : range_root(&tiles, begin, middle, down[n], err);

        if (rc)
            return rc;
        n++;
        if (left)
            end = middle;
        else
            begin = middle;
    }
    ret->index = index;
    ret->n = n;
    for (size_t i = 0; i < n; i++)
        memcpy(ret->hashes[i], down[n - 1 - i], DGF_SHA256_LEN);
    return DGF_OK;
}

/* SUBPROOF(m, D[begin:end], whole), from the root down, last hash first. */
enum dgf_rc dgf_consistency_make(struct dgf_store *store, uint64_t old, uint64_t size,
                                 struct dgf_consistency *ret, struct dgf_err *err)
{
    struct tiles_of tiles = {.store = store, .size = size};
    uint64_t begin = 0, end = size;
    uint8_t down[2 * DGF_PROOF_MAX_HASHES][DGF_SHA256_LEN];
    size_t n = 0;
    enum dgf_rc rc = DGF_OK;

    if (old == 0 || old > size)
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "a log of size %" PRIu64 " does not go on from size %" PRIu64, size, old);
    while (old != end && !rc) {
        uint64_t middle = begin + split(end - begin);

        if (old <= middle) {
            rc = range_root(&tiles, middle, end, down[n++], err);
            end = middle;
        } else {
            rc = range_root(&tiles, begin, middle, down[n++], err);
            begin = middle;
        }
    }
    if (!rc && begin > 0) /* else it is the old root, which the checker has */
        rc = range_root(&tiles, begin, end, down[n++], err);
    ret->n = n;
    for (size_t i = 0; i < n && !rc; i++)
        memcpy(ret->hashes[i], down[n - 1 - i], DGF_SHA256_LEN);
    return rc;
}

/* ---- checking ------------------------------------------------------------ */

bool dgf_proof_root(const struct dgf_proof *proof, uint64_t size,
                    const uint8_t leaf[DGF_SHA256_LEN], uint8_t ret[DGF_SHA256_LEN])
{
    uint64_t fn = proof->index, sn = size - 1;
    uint8_t root[DGF_SHA256_LEN];

    if (size == 0 || fn > sn)
        return false;
    memcpy(root, leaf, sizeof(root));
    for (size_t i = 0; i < proof->n; i++) {
        if (sn == 0)
            return false;
        if (fn & 1 || fn == sn) {
            dgf_sha256_node(proof->hashes[i], root, root);
            while (!(fn & 1) && fn > 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            dgf_sha256_node(root, proof->hashes[i], root);
        }
        fn >>= 1;
        sn >>= 1;
    }
    if (sn != 0)
        return false;
    memcpy(ret, root, sizeof(root));
    return true;
}

bool dgf_consistency_check(const struct dgf_consistency *proof, uint64_t old,
                           const uint8_t old_root[DGF_SHA256_LEN], uint64_t size,
                           const uint8_t root[DGF_SHA256_LEN])
{
    uint64_t fn = old - 1, sn = size - 1;
    uint8_t fr[DGF_SHA256_LEN], sr[DGF_SHA256_LEN];
    size_t i = 0;

    if (old == 0 || old > size)
        return false;
    if (old == size)
        return proof->n == 0 && memcmp(old_root, root, DGF_SHA256_LEN) == 0;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    if (fn > 0 && proof->n == 0)
        return false;
    memcpy(fr, fn > 0 ? proof->hashes[i++] : old_root, sizeof(fr));
    memcpy(sr, fr, sizeof(sr));
    for (; i < proof->n; i++) {
        if (sn == 0)
            return false;
        if (fn & 1 || fn == sn) {
            dgf_sha256_node(proof->hashes[i], fr, fr);
            dgf_sha256_node(proof->hashes[i], sr, sr);
            while (!(fn & 1) && fn > 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else {
            dgf_sha256_node(sr, proof->hashes[i], sr);
        }
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && memcmp(fr, old_root, sizeof(fr)) == 0 &&
           memcmp(sr, root, sizeof(sr)) == 0;
}

/* ---- files --------------------------------------------------------------- */

void dgf_proof_put(const struct dgf_proof *proof, struct dgf_buf *to)
{
    dgf_buf_addf(to, HEAD_LINE "\nindex %" PRIu64 "\n", proof->index);
    for (size_t i = 0; i < proof->n; i++) {
        dgf_buf_add_base64(to, dgf_bytes_of(proof->hashes[i], DGF_SHA256_LEN));
        dgf_buf_add_byte(to, '\n');
    }
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_bytes(to, proof->checkpoint);
}

static bool next_line(struct dgf_bytes *rest, struct dgf_bytes *ret)
{
    const uint8_t *lf = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;

    if (!lf)
        return false;
    *ret = dgf_bytes_of(rest->ptr, (size_t)(lf - rest->ptr));
    rest->len -= ret->len + 1;
    rest->ptr = lf + 1;
    return true;
}

static bool begins(struct dgf_bytes line, const char *with, struct dgf_bytes *ret_rest)
{
    size_t n = strlen(with);

    if (line.len < n || memcmp(line.ptr, with, n) != 0)
        return false;
    *ret_rest = dgf_bytes_of(line.ptr + n, line.len - n);
    return true;
}

static bool decode(struct dgf_bytes text, struct dgf_buf *scratch)
{
    dgf_buf_clear(scratch);
    return dgf_parse_base64(text, scratch);
}

static bool get_lines(struct dgf_bytes *rest, struct dgf_proof *ret,
                      struct dgf_buf *scratch)
{
    struct dgf_bytes line, value;

    if (!next_line(rest, &line) || !dgf_bytes_eq(line, DGF_BYTES(HEAD_LINE)) ||
        !next_line(rest, &line))
        return false;
    if (begins(line, "extra ", &value) &&
        (!decode(value, scratch) || !next_line(rest, &line)))
        return false;
    if (!begins(line, "index ", &value) || !dgf_parse_u64(value, &ret->index) ||
        (value.len > 1 && value.ptr[0] == '0'))
        return false;
    for (ret->n = 0;; ret->n++) {
        if (!next_line(rest, &line))
            return false;
        if (line.len == 0)
            return true;
        if (ret->n == DGF_PROOF_MAX_HASHES || !decode(line, scratch) ||
            scratch->len != DGF_SHA256_LEN)
            return false;
        memcpy(ret->hashes[ret->n], scratch->ptr, DGF_SHA256_LEN);
    }
}

bool dgf_proof_get(struct dgf_bytes text, struct dgf_proof *ret, const char **ret_what)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf scratch = {0};
    bool ok;

    dgf_buf_init(&scratch, DGF_PROOF_MAX_BYTES);
    ok = get_lines(&text, ret, &scratch);
    ret->checkpoint = text;
    *ret_what =
        "it is not a C2SP tlog-proof: version, index, hashes, an empty line and "
        "a checkpoint";
    return ok;
}

/* ---- verdicts ------------------------------------------------------------ */

static void head_from(const struct note *note, struct dgf_head_said *ret)
{
    (void)snprintf(ret->origin, sizeof(ret->origin), "%.*s", (int)note->origin.len,
                   (const char *)note->origin.ptr);
    ret->size = note->size;
    ret->time_s = note->time_s;
    memcpy(ret->root, note->root, sizeof(ret->root));
}

static enum dgf_rc signed_by_one(const struct note *note, const char *const *vkeys,
                                 size_t n, struct dgf_head_said *ret,
                                 struct dgf_err *err)
{
    struct dgf_vkey vkey;
    bool is_signed = n == 0;

    for (size_t i = 0; i < n; i++) {
        if (dgf_vkey_get(dgf_bytes_str(vkeys[i]), &vkey, err)) {
            err->rc = DGF_BAD_CONFIG;
            return dgf_err_prefix(err, "--key");
        }
        if (strcmp(vkey.name, ret->origin) != 0) {
            ret->class = "origin";
            ret->what = "its checkpoint is of another log than the key";
            return DGF_OK;
        }
        is_signed = is_signed || note_is_signed(note, vkey.name, vkey.key);
    }
    if (!ret->class && !is_signed) {
        ret->class = "signature";
        ret->what = "its checkpoint is not signed with the log's key";
    }
    return DGF_OK;
}

enum dgf_rc dgf_head_read(struct dgf_bytes text, const char *const *vkeys,
                          size_t n_vkeys, struct dgf_head_said *ret,
                          struct dgf_err *err)
{
    struct note note = {.size = 0};

    memset(ret, 0, sizeof(*ret));
    if (text.len > DGF_CHECKPOINT_MAX_BYTES) {
        ret->class = "limit";
        ret->what = "its checkpoint is larger than 16 KiB";
        return DGF_OK;
    }
    note.bytes.ptr = (uint8_t *)(uintptr_t)text.ptr; /* is read only */
    note.bytes.len = text.len;
    ret->class = note_read(&note, &ret->what);
    if (ret->class && strcmp(ret->class, "checkpoint") == 0)
        return DGF_OK;
    head_from(&note, ret);
    return signed_by_one(&note, vkeys, n_vkeys, ret, err);
}

static void refuse(struct dgf_proof_verdict *ret, const char *class, const char *what)
{
    ret->class = class;
    (void)snprintf(ret->text, sizeof(ret->text), "%s", what);
}

enum dgf_rc dgf_proof_check(struct dgf_bytes text, struct dgf_bytes line,
                            const char *const *vkeys, size_t n_vkeys,
                            struct dgf_proof_verdict *ret, struct dgf_err *err)
{
    struct dgf_head_said head;
    struct dgf_proof proof;
    uint8_t leaf[DGF_SHA256_LEN], root[DGF_SHA256_LEN];
    const char *what;
    enum dgf_rc rc;

    memset(ret, 0, sizeof(*ret));
    if (text.len > DGF_PROOF_MAX_BYTES) {
        refuse(ret, "limit", "the proof is larger than 24 KiB");
        return DGF_OK;
    }
    if (!dgf_proof_get(text, &proof, &what)) {
        refuse(ret, "proof", what);
        return DGF_OK;
    }
    rc = dgf_head_read(proof.checkpoint, vkeys, n_vkeys, &head, err);
    if (rc)
        return rc;
    ret->index = proof.index;
    ret->size = head.size;
    dgf_sha256_leaf(line, leaf);
    if (head.class)
        refuse(ret, head.class, head.what);
    else if (proof.index >= head.size)
        refuse(ret, "proof", "its index is not in the tree of its checkpoint");
    else if (line.len > DGF_ARCHIVE_LINE_MAX)
        refuse(ret, "limit", "the record is longer than 65,535 bytes");
    else if (!dgf_proof_root(&proof, head.size, leaf, root))
        refuse(ret, "proof", "it has not as many hashes as its index and size need");
    else if (memcmp(root, head.root, sizeof(root)) != 0)
        refuse(ret, "root", "record and proof do not give the root that was signed");
    return DGF_OK;
}
