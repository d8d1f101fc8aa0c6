/* cmd_ledger_proof.c - `dgf ledger prove`, `check-proof` and `consistency`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "cmd_ledger.h"
#include "ledger/archive_line.h"
#include "ledger/archive_proof.h"
#include "ledger/archive_read.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/note.h"
#include "ledger/store.h"

DGF_CLEANUP_OF(struct dgf_store *, dgf_store_free)
DGF_CLEANUP_OF(struct dgf_archive_reader *, dgf_archive_reader_free)

static size_t keys_of(const struct dgf_args *args, const char **keys)
{
    return dgf_args_all(args, "key", keys);
}

static int usage_of(const struct dgf_err *err)
{
    fprintf(stderr, "dgf ledger: %s\n", err->text);
    return DGF_EXIT_USAGE;
}

/* ---- prove --------------------------------------------------------------- */

/* The id stands behind the index: {"v":1,"seq":12,"id":"...", */
static bool has_id(struct dgf_bytes line, const char *id)
{
    static const char key[] = ",\"id\":\"";
    size_t n = line.len < 64 ? line.len : 64, len = strlen(id);
    const uint8_t *at = memmem(line.ptr, n, key, sizeof(key) - 1);

    if (!at)
        return false;
    at += sizeof(key) - 1;
    return (size_t)(line.ptr + line.len - at) > len && memcmp(at, id, len) == 0 &&
           at[len] == '"';
}

static int find_id(struct dgf_store *store, const char *id, uint64_t *ret)
{
    DGF_CLEANUP(dgf_archive_reader_free) struct dgf_archive_reader *reader = NULL;
    struct dgf_err err = {0};
    struct dgf_bytes line;
    enum dgf_rc rc = dgf_archive_reader_open(store, 0, &reader, &err);

    while (!rc) {
        rc = dgf_archive_reader_next(reader, ret, &line, &err);
        if (!rc && has_id(line, id))
            return DGF_EXIT_OK;
    }
    if (rc != DGF_AGAIN)
        return ledger_fail(rc, &err);
    fprintf(stderr, "dgf ledger: no record with the id '%s' is here\n", id);
    return DGF_EXIT_CANNOT;
}

static int find_record(struct dgf_store *store, const char *text, uint64_t *ret)
{
    if (strlen(text) == DGF_ID_TEXT_LEN)
        return find_id(store, text, ret);
    if (dgf_parse_u64(dgf_bytes_str(text), ret))
        return DGF_EXIT_OK;
    return dgf_usage("ledger", "'%s' is neither an index nor an id", text);
}

static int read_newest(struct dgf_store *store, struct dgf_buf *ret,
                       struct dgf_head_said *ret_head, const char **keys, size_t n_keys)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    dgf_buf_init(ret, DGF_CHECKPOINT_MAX_BYTES + 1);
    rc = dgf_store_slurp(store, DGF_NAME_CHECKPOINT, ret, &err);
    if (rc)
        return ledger_fail(rc, &err);
    if (dgf_head_read(dgf_buf_bytes(ret), keys, n_keys, ret_head, &err))
        return usage_of(&err);
    if (!ret_head->class)
        return DGF_EXIT_OK;
    fprintf(stderr, "dgf ledger: the newest checkpoint cannot be used (%s): %s\n",
            ret_head->class, ret_head->what);
    return DGF_EXIT_FINDINGS;
}

/* The line itself, when it is here: a proof of something else helps nobody. */
static int check_made(struct dgf_store *store, const struct dgf_proof *proof,
                      const struct dgf_head_said *head)
{
    DGF_CLEANUP(dgf_archive_reader_free) struct dgf_archive_reader *reader = NULL;
    uint8_t leaf[DGF_SHA256_LEN], root[DGF_SHA256_LEN];
    struct dgf_err err = {0};
    struct dgf_bytes line;
    uint64_t index;
    enum dgf_rc rc = dgf_archive_reader_open(store, proof->index, &reader, &err);

    if (!rc)
        rc = dgf_archive_reader_next(reader, &index, &line, &err);
    if (rc && rc != DGF_AGAIN)
        return ledger_fail(rc, &err);
    if (rc == DGF_AGAIN || index != proof->index) {
        fprintf(stderr,
                "dgf ledger: record %" PRIu64
                " is not here (pruned?); the proof was made from tiles only\n",
                proof->index);
        return DGF_EXIT_OK;
    }
    dgf_sha256_leaf(line, leaf);
    if (dgf_proof_root(proof, head->size, leaf, root) &&
        memcmp(root, head->root, sizeof(root)) == 0)
        return DGF_EXIT_OK;
    fprintf(stderr,
            "dgf ledger: record %" PRIu64 " and the tiles do not give the root of the "
            "checkpoint; 'dgf ledger verify' says what was changed\n",
            proof->index);
    return DGF_EXIT_FINDINGS;
}

int ledger_prove(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf newest = {0}, out = {0};
    const char *keys[DGF_ARGS_REPEATED_MAX];
    struct dgf_head_said head;
    struct dgf_proof proof;
    struct dgf_err err = {0};
    uint64_t index = 0;
    int exit_code = ledger_open_archive(dir, &store);
    enum dgf_rc rc;

    (void)as_json; /* a proof has one form */
    if (!exit_code)
        exit_code = find_record(store, args->operands[args->n_operands - 1], &index);
    if (!exit_code)
        exit_code = read_newest(store, &newest, &head, keys, keys_of(args, keys));
    if (exit_code)
        return exit_code;
    if (index >= head.size) {
        fprintf(stderr,
                "dgf ledger: record %" PRIu64
                " is not signed yet: the newest checkpoint "
                "has size %" PRIu64 "\n",
                index, head.size);
        return DGF_EXIT_CANNOT;
    }
    rc = dgf_proof_make(store, index, head.size, &proof, &err);
    if (rc)
        return ledger_fail(rc == DGF_AGAIN ? DGF_FATAL : rc, &err);
    exit_code = check_made(store, &proof, &head);
    if (exit_code)
        return exit_code;
    proof.checkpoint = dgf_buf_bytes(&newest);
    dgf_buf_init(&out, 1 << 20);
    dgf_proof_put(&proof, &out);
    return dgf_buf_rc(&out) || !dgf_buf_write(&out, stdout) ? DGF_EXIT_CANNOT
                                                            : DGF_EXIT_OK;
}

/* ---- check-proof --------------------------------------------------------- */

static int print_said(const char *class, const char *text, const uint64_t *index,
                      bool as_json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_json json = dgf_json_of(&out);

    if (!as_json) {
        printf("%s%s%s: %s\n", class ? "not proven: " : "ok", class ? class : "", "",
               text);
        return class ? DGF_EXIT_FINDINGS : DGF_EXIT_OK;
    }
    dgf_buf_init(&out, 4096);
    dgf_json_begin_object(&json);
    ledger_put_text(&json, "result", class ? "tampered" : "ok");
    dgf_json_key(&json, "class");
    if (class)
        dgf_json_str(&json, class);
    else
        dgf_json_null(&json);
    dgf_json_key(&json, "index");
    if (index && !class)
        dgf_json_u64(&json, *index);
    else
        dgf_json_null(&json);
    dgf_json_end_object(&json);
    if (ledger_print_json(&out))
        return DGF_EXIT_CANNOT;
    if (class)
        fprintf(stderr, "dgf ledger: %s\n", text);
    return class ? DGF_EXIT_FINDINGS : DGF_EXIT_OK;
}

/* A record on standard input, with or without the newline that is not part of it. */
static int read_line(struct dgf_buf *ret)
{
    size_t max = DGF_ARCHIVE_LINE_MAX + 2, n;
    uint8_t *at;

    dgf_buf_init(ret, max);
    at = dgf_buf_room(ret, max);
    if (!at) {
        fprintf(stderr, "dgf ledger: out of memory\n");
        return DGF_EXIT_CANNOT;
    }
    n = fread(at, 1, max, stdin);
    if (ferror(stdin)) {
        fprintf(stderr, "dgf ledger: cannot read the record from standard input: %m\n");
        return DGF_EXIT_CANNOT;
    }
    ret->len = n > 0 && at[n - 1] == '\n' ? n - 1 : n;
    return DGF_EXIT_OK;
}

int ledger_check_proof(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf proof = {0}, line = {0};
    const char *keys[DGF_ARGS_REPEATED_MAX];
    size_t n_keys = keys_of(args, keys);
    struct dgf_proof_verdict verdict;
    struct dgf_err err = {0};
    char text[300];
    int exit_code;

    (void)dir;
    if (n_keys == 0)
        return dgf_usage("ledger", "check-proof needs the log's key: --key");
    exit_code = ledger_slurp(args->operands[1], 1 << 20, &proof);
    if (!exit_code)
        exit_code = read_line(&line);
    if (exit_code)
        return exit_code;
    if (dgf_proof_check(dgf_buf_bytes(&proof), dgf_buf_bytes(&line), keys, n_keys,
                        &verdict, &err))
        return usage_of(&err);
    (void)snprintf(text, sizeof(text),
                   "the record is number %" PRIu64 " of the log at size %" PRIu64,
                   verdict.index, verdict.size);
    return print_said(verdict.class, verdict.class ? verdict.text : text,
                      &verdict.index, as_json);
}

/* ---- consistency --------------------------------------------------------- */

static int read_head(const char *path, const char **keys, size_t n_keys,
                     struct dgf_head_said *ret)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    struct dgf_err err = {0};
    int exit_code = ledger_slurp(path, 1 << 20, &bytes);

    if (exit_code)
        return exit_code;
    if (dgf_head_read(dgf_buf_bytes(&bytes), keys, n_keys, ret, &err))
        return usage_of(&err);
    if (!ret->class)
        return DGF_EXIT_OK;
    fprintf(stderr, "dgf ledger: '%s' (%s): %s\n", path, ret->class, ret->what);
    return DGF_EXIT_FINDINGS;
}

static int print_consistency(const struct dgf_consistency *proof,
                             const struct dgf_head_said *old,
                             const struct dgf_head_said *new, bool as_json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0}, hash = {0};
    struct dgf_json json = dgf_json_of(&out);

    dgf_buf_init(&out, 1 << 20);
    dgf_buf_init(&hash, 64);
    if (!as_json)
        dgf_buf_addf(&out,
                     "ok: size %" PRIu64 " goes on from size %" PRIu64
                     "; nothing before was changed\n",
                     new->size, old->size);
    else
        dgf_json_begin_object(&json);
    if (as_json) {
        ledger_put_text(&json, "result", "ok");
        ledger_put_number(&json, "old", old->size);
        ledger_put_number(&json, "new", new->size);
        dgf_json_key(&json, "proof");
        dgf_json_begin_array(&json);
    }
    for (size_t i = 0; i < proof->n; i++) {
        dgf_buf_clear(&hash);
        dgf_buf_add_base64(&hash, dgf_bytes_of(proof->hashes[i], DGF_SHA256_LEN));
        if (as_json)
            dgf_json_str(&json, dgf_buf_str(&hash));
        else
            dgf_buf_addf(&out, "%s\n", dgf_buf_str(&hash));
    }
    if (as_json) {
        dgf_json_end_array(&json);
        dgf_json_end_object(&json);
        dgf_buf_add_byte(&out, '\n');
    }
    return dgf_buf_rc(&out) || !dgf_buf_write(&out, stdout) ? DGF_EXIT_CANNOT
                                                            : DGF_EXIT_OK;
}

static int refuse(const char *class, const char *text, bool as_json)
{
    return print_said(class, text, NULL, as_json);
}

int ledger_consistency(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    const char *keys[DGF_ARGS_REPEATED_MAX];
    size_t n_keys = keys_of(args, keys);
    struct dgf_head_said old, new;
    struct dgf_consistency proof = {.n = 0};
    struct dgf_err err = {0};
    int exit_code = read_head(args->operands[1], keys, n_keys, &old);
    enum dgf_rc rc;

    if (!exit_code)
        exit_code = read_head(args->operands[2], keys, n_keys, &new);
    if (exit_code)
        return exit_code;
    if (strcmp(old.origin, new.origin) != 0)
        return refuse("origin", "the two checkpoints are of two logs", as_json);
    if (old.size > new.size)
        return dgf_usage("ledger", "the first checkpoint is the newer one");
    if (old.size == new.size)
        return memcmp(old.root, new.root, sizeof(old.root)) == 0
                   ? print_consistency(&proof, &old, &new, as_json)
                   : refuse("root", "two checkpoints of one size have different roots",
                            as_json);
    if (!dir)
        return dgf_usage("ledger",
                         "consistency of two sizes needs the archive: give its "
                         "folder");
    exit_code = ledger_open_archive(dir, &store);
    if (exit_code)
        return exit_code;
    rc = dgf_consistency_make(store, old.size, new.size, &proof, &err);
    if (rc)
        return ledger_fail(rc == DGF_AGAIN ? DGF_FATAL : rc, &err);
    if (!dgf_consistency_check(&proof, old.size, old.root, new.size, new.root))
        return refuse("root",
                      "the newer checkpoint does not go on from the older one, or the "
                      "archive is of neither",
                      as_json);
    return print_consistency(&proof, &old, &new, as_json);
}
