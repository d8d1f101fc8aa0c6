/* fuzz_archive_formats.c - what is read of an archive, piece by piece.
 *
 * Input: a byte that chooses the reader, then its bytes.  Sealed state is sealed here,
 * because no mutation gets past its authentication.  Whatever the bytes: no crash, and
 * what a reader accepts it accepts again after it was written. */
#include <stdio.h>
#include <stdlib.h>

#include "ledger/archive_keys.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_state.h"
#include "ledger/note.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static const uint8_t key[32] = {1, 2, 3};
static const uint8_t log_id[DGF_LOG_ID_LEN] = {9};

static void need(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "fuzz_archive_formats: %s\n", what);
        abort();
    }
}

static void checkpoint(struct dgf_bytes bytes)
{
    struct dgf_checkpoint found;
    struct dgf_err err;
    bool is_signed;

    if (dgf_checkpoint_get(bytes, key, &found, &is_signed, &err) == DGF_OK)
        need(!is_signed, "a checkpoint was signed by nobody's key");
}

static void vkey(struct dgf_bytes bytes)
{
    struct dgf_vkey found;
    struct dgf_buf again;
    struct dgf_err err;

    dgf_buf_init(&again, 4096);
    if (dgf_vkey_get(bytes, &found, &err) == DGF_OK) {
        dgf_vkey_put(&found, &again);
        need(dgf_buf_rc(&again) == DGF_OK &&
                 dgf_vkey_get(dgf_buf_bytes(&again), &found, &err) == DGF_OK,
             "a vkey does not come back");
    }
    dgf_buf_release(&again);
}

static void manifest(struct dgf_bytes bytes)
{
    struct dgf_manifest found, back;
    struct dgf_buf once, twice;
    struct dgf_err err;

    dgf_manifest_init(&found);
    dgf_manifest_init(&back);
    dgf_buf_init(&once, 8 << 20);
    dgf_buf_init(&twice, 8 << 20);
    if (dgf_manifest_get(bytes, &found, &err) == DGF_OK) {
        dgf_manifest_put(&found, &once);
        if (once.len <= DGF_MANIFEST_MAX_BYTES) {
            need(dgf_manifest_get(dgf_buf_bytes(&once), &back, &err) == DGF_OK,
                 "a manifest does not come back");
            dgf_manifest_put(&back, &twice);
            need(dgf_bytes_eq(dgf_buf_bytes(&once), dgf_buf_bytes(&twice)),
                 "a manifest changes");
        }
    }
    dgf_manifest_release(&found);
    dgf_manifest_release(&back);
    dgf_buf_release(&once);
    dgf_buf_release(&twice);
}

static void line(struct dgf_bytes bytes)
{
    struct dgf_manifest found;

    dgf_manifest_init(&found);
    (void)!dgf_manifest_line(&found, bytes);
    dgf_manifest_release(&found);
}

static void frames(struct dgf_bytes bytes)
{
    struct dgf_unpacker *unpacker;
    struct dgf_buf plain;
    size_t used = 0;

    dgf_buf_init(&plain, DGF_ARCHIVE_FRAME_BYTES);
    if (dgf_unpacker_new(&unpacker))
        abort();
    while (bytes.len > 0) {
        enum dgf_rc rc =
            dgf_unpack_frame(unpacker, bytes, DGF_ARCHIVE_FRAME_BYTES, &plain, &used);

        if (rc && rc != DGF_AGAIN)
            break;
        need(used > 0 && used <= bytes.len, "a frame of no length");
        bytes = dgf_bytes_of(bytes.ptr + used, bytes.len - used);
        dgf_buf_clear(&plain);
    }
    dgf_unpacker_free(unpacker);
    dgf_buf_release(&plain);
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
    (void)next;
    (void)batch;
    (void)marks;
    (void)err;
    return DGF_OK;
}

static enum dgf_rc on_item(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                           struct dgf_err *err)
{
    (void)ctx;
    (void)err;
    need(name.len <= DGF_LEDGER_KEY_MAX && value.len <= DGF_LEDGER_VALUE_MAX,
         "state beyond its cap");
    return DGF_OK;
}

static void state(struct dgf_bytes plain, bool is_sealed)
{
    uint8_t salt[DGF_STATE_SALT_LEN] = {0}, file_key[32], nonce[12] = {0, 0, 0, 0, 1};
    uint8_t aad[8 + DGF_LOG_ID_LEN + 8] = DGF_STATE_MAGIC;
    struct dgf_state_reader reader = {read_bytes, on_begin, on_item, NULL};
    struct dgf_buf out;
    struct dgf_err err;

    dgf_buf_init(&out, 1 << 20);
    reader.ctx = &out;
    if (plain.len > DGF_STATE_PIECE_BYTES)
        return;
    if (is_sealed) {
        dgf_buf_add_bytes(&out, plain);
    } else {
        memcpy(aad + 8, log_id, sizeof(log_id));
        dgf_hmac_sha256(dgf_bytes_of(key, 32), dgf_bytes_of(salt, sizeof(salt)),
                        file_key);
        dgf_buf_add_str(&out, DGF_STATE_MAGIC);
        dgf_buf_add(&out, salt, sizeof(salt));
        dgf_buf_add_le32(&out, (uint32_t)plain.len + DGF_AEAD_TAG_LEN);
        need(dgf_aead_seal(file_key, nonce, dgf_bytes_of(aad, sizeof(aad)), plain,
                           &out) == DGF_OK,
             "cannot seal");
    }
    (void)!dgf_state_read(&reader, key, log_id, 0, &err);
    dgf_buf_release(&out);
}

static void keys(struct dgf_bytes bytes)
{
    struct dgf_log_keys found = {NULL, 0};

    (void)!dgf_log_keys_get(bytes, &found);
    dgf_log_keys_release(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes bytes;

    if (len == 0)
        return 0;
    bytes = dgf_bytes_of(ptr + 1, len - 1);
    switch (ptr[0] % 8) {
    case 0:
        checkpoint(bytes);
        break;
    case 1:
        vkey(bytes);
        break;
    case 2:
        manifest(bytes);
        break;
    case 3:
        frames(bytes);
        break;
    case 4:
    case 5:
        state(bytes, ptr[0] % 8 == 5);
        break;
    case 6:
        keys(bytes);
        break;
    default:
        line(bytes);
    }
    return 0;
}
