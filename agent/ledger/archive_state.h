/* archive_state.h - positions and state at a segment's end: state/<first>.enc.
 *
 * Only for `recover`, and only for who has the tenant's key:
 *
 *   state key  = HMAC-SHA-256(tenant key, "dgf-archive-state/v1\n" log id "\n")
 *   salt       = first 16 bytes of HMAC-SHA-256(state key, SHA-256(plaintext))
 *   file key   = HMAC-SHA-256(state key, salt)
 *
 *   "dgfs0001", salt (16), then pieces: u32 length, that many bytes
 *
 * A piece is AES-256-GCM of at most 256 KiB of plaintext under the file key; nonce:
 * u32 number of the piece (from 0), u8 1 if it is the last, 7 zeros; additional data:
 * "dgfs0001", log id (16 bytes), u64 first index.  The nonce never comes twice with
 * one key, and the same state gives the same bytes.  Plaintext:
 *
 *   u64 next index, u64 batch number, positions (as in a COMMIT), then for each key
 *   in the order of its bytes: u32 key length, u32 value length, key, value
 *
 * All numbers little-endian.  Thread: any, one owner. */
#ifndef DGF_LEDGER_ARCHIVE_STATE_H
#define DGF_LEDGER_ARCHIVE_STATE_H

#include "base/sha256.h"
#include "base/sign.h"
#include "ledger/frame.h"
#include "ledger/marks.h"

#define DGF_STATE_PIECE_BYTES (256u << 10)
#define DGF_STATE_MAGIC "dgfs0001"
#define DGF_STATE_SALT_LEN 16

void dgf_state_key(const uint8_t tenant_key[32], const char *log_id_text,
                   uint8_t ret[DGF_AEAD_KEY_LEN]);

/* Two passes over the same content: the first with `to` NULL makes the salt, the
 * second writes. */
struct dgf_state_writer {
    uint8_t log_id[DGF_LOG_ID_LEN], key[DGF_AEAD_KEY_LEN];
    uint64_t first;
    struct dgf_sha256_sum sum;
    uint8_t salt[DGF_STATE_SALT_LEN];
    bool writing;
    uint32_t n_pieces;
    struct dgf_buf plain;
};
void dgf_state_writer_init(struct dgf_state_writer *writer,
                           const uint8_t key[DGF_AEAD_KEY_LEN],
                           const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t first);
void dgf_state_writer_release(struct dgf_state_writer *writer);
/* What both passes add; out: gets whole pieces in the second (NULL in the first). */
enum dgf_rc dgf_state_writer_begin(struct dgf_state_writer *writer, uint64_t next,
                                   uint64_t batch, const struct dgf_marks *marks,
                                   struct dgf_buf *out) DGF_MUST_USE;
enum dgf_rc dgf_state_writer_add(struct dgf_state_writer *writer, struct dgf_bytes key,
                                 struct dgf_bytes value, struct dgf_buf *out)
    DGF_MUST_USE;
/* Ends a pass; the second may begin after the first. */
enum dgf_rc dgf_state_writer_end(struct dgf_state_writer *writer, struct dgf_buf *out)
    DGF_MUST_USE;

/* Reads one: pieces come through read (as many bytes as asked for, fewer only at the
 * end), what they hold goes to the callbacks.  DGF_BAD_DATA: another key, damaged, or
 * not such a file; some callbacks may have been called. */
struct dgf_state_reader {
    enum dgf_rc (*read)(void *ctx, uint64_t offset, void *ptr, size_t len,
                        size_t *ret_len, struct dgf_err *err);
    enum dgf_rc (*begin)(void *ctx, uint64_t next, uint64_t batch,
                         const struct dgf_marks *marks, struct dgf_err *err);
    enum dgf_rc (*state)(void *ctx, struct dgf_bytes key, struct dgf_bytes value,
                         struct dgf_err *err);
    void *ctx;
};
enum dgf_rc dgf_state_read(const struct dgf_state_reader *reader,
                           const uint8_t key[DGF_AEAD_KEY_LEN],
                           const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t first,
                           struct dgf_err *err) DGF_MUST_USE;

#endif
