#include "ledger/archive_state.h"

#include "base/mem.h"

#define SEALED_MAX (DGF_STATE_PIECE_BYTES + DGF_AEAD_TAG_LEN)
/* The longest item must be whole in memory: positions of all sources. */
#define ITEM_MAX ((size_t)DGF_MARKS_MAX_BYTES + (1u << 20))
#define AAD_LEN (8 + DGF_LOG_ID_LEN + 8)

void dgf_state_key(const uint8_t tenant_key[32], const char *log_id_text,
                   uint8_t ret[DGF_AEAD_KEY_LEN])
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};

    dgf_buf_init(&text, 128);
    dgf_buf_add_str(&text, "dgf-archive-state/v1\n");
    dgf_buf_add_str(&text, log_id_text);
    dgf_buf_add_byte(&text, '\n');
    dgf_hmac_sha256(dgf_bytes_of(tenant_key, 32), dgf_buf_bytes(&text), ret);
}

static void put_aad(const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t first,
                    uint8_t ret[AAD_LEN])
{
    memcpy(ret, DGF_STATE_MAGIC, 8);
    memcpy(ret + 8, log_id, DGF_LOG_ID_LEN);
    dgf_le32_set(ret + 8 + DGF_LOG_ID_LEN, (uint32_t)first);
    dgf_le32_set(ret + 12 + DGF_LOG_ID_LEN, (uint32_t)(first >> 32));
}

static void put_nonce(uint32_t piece, bool last, uint8_t ret[DGF_AEAD_NONCE_LEN])
{
    memset(ret, 0, DGF_AEAD_NONCE_LEN);
    dgf_le32_set(ret, piece);
    ret[4] = last;
}

/* ---- writing ------------------------------------------------------------- */

void dgf_state_writer_init(struct dgf_state_writer *writer,
                           const uint8_t key[DGF_AEAD_KEY_LEN],
                           const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t first)
{
    memset(writer, 0, sizeof(*writer));
    memcpy(writer->key, key, sizeof(writer->key));
    memcpy(writer->log_id, log_id, sizeof(writer->log_id));
    writer->first = first;
    dgf_sha256_begin(&writer->sum);
    dgf_buf_init(&writer->plain, DGF_STATE_PIECE_BYTES + ITEM_MAX);
}

void dgf_state_writer_release(struct dgf_state_writer *writer)
{
    if (writer->plain.ptr)
        dgf_wipe(writer->plain.ptr, writer->plain.cap);
    dgf_buf_release(&writer->plain);
    dgf_wipe(writer->key, sizeof(writer->key));
}

static enum dgf_rc seal_piece(struct dgf_state_writer *writer, size_t len, bool last,
                              struct dgf_buf *out)
{
    uint8_t aad[AAD_LEN], nonce[DGF_AEAD_NONCE_LEN], file_key[DGF_AEAD_KEY_LEN];
    enum dgf_rc rc;

    dgf_hmac_sha256(dgf_bytes_of(writer->key, sizeof(writer->key)),
                    dgf_bytes_of(writer->salt, sizeof(writer->salt)), file_key);
    put_aad(writer->log_id, writer->first, aad);
    put_nonce(writer->n_pieces++, last, nonce);
    dgf_buf_add_le32(out, (uint32_t)len + DGF_AEAD_TAG_LEN);
    rc = dgf_aead_seal(file_key, nonce, dgf_bytes_of(aad, sizeof(aad)),
                       dgf_bytes_of(writer->plain.ptr, len), out);
    dgf_wipe(file_key, sizeof(file_key));
    if (rc)
        return rc;
    memmove(writer->plain.ptr, writer->plain.ptr + len, writer->plain.len - len);
    writer->plain.len -= len;
    return dgf_buf_rc(out);
}

static enum dgf_rc flush(struct dgf_state_writer *writer, struct dgf_buf *out)
{
    if (dgf_buf_rc(&writer->plain))
        return DGF_NOMEM;
    if (!writer->writing) {
        dgf_sha256_add(&writer->sum, dgf_buf_bytes(&writer->plain));
        dgf_buf_clear(&writer->plain);
    }
    /* More than one piece, so that the last one is never empty but for itself. */
    while (writer->writing && writer->plain.len > DGF_STATE_PIECE_BYTES) {
        enum dgf_rc rc = seal_piece(writer, DGF_STATE_PIECE_BYTES, false, out);

        if (rc)
            return rc;
    }
    return DGF_OK;
}

enum dgf_rc dgf_state_writer_begin(struct dgf_state_writer *writer, uint64_t next,
                                   uint64_t batch, const struct dgf_marks *marks,
                                   struct dgf_buf *out)
{
    if (writer->writing) {
        dgf_buf_add_str(out, DGF_STATE_MAGIC);
        dgf_buf_add(out, writer->salt, sizeof(writer->salt));
    }
    dgf_buf_add_le64(&writer->plain, next);
    dgf_buf_add_le64(&writer->plain, batch);
    dgf_marks_put_positions(marks, &writer->plain);
    return flush(writer, out);
}

enum dgf_rc dgf_state_writer_add(struct dgf_state_writer *writer, struct dgf_bytes key,
                                 struct dgf_bytes value, struct dgf_buf *out)
{
    dgf_buf_add_le32(&writer->plain, (uint32_t)key.len);
    dgf_buf_add_le32(&writer->plain, (uint32_t)value.len);
    dgf_buf_add_bytes(&writer->plain, key);
    dgf_buf_add_bytes(&writer->plain, value);
    return flush(writer, out);
}

enum dgf_rc dgf_state_writer_end(struct dgf_state_writer *writer, struct dgf_buf *out)
{
    uint8_t hash[DGF_SHA256_LEN];

    if (writer->writing)
        return seal_piece(writer, writer->plain.len, true, out);
    dgf_sha256_end(&writer->sum, hash);
    dgf_hmac_sha256(dgf_bytes_of(writer->key, sizeof(writer->key)),
                    dgf_bytes_of(hash, sizeof(hash)), hash);
    memcpy(writer->salt, hash, sizeof(writer->salt));
    writer->writing = true;
    return DGF_OK;
}

/* ---- reading ------------------------------------------------------------- */

struct reading {
    const struct dgf_state_reader *reader;
    uint8_t file_key[DGF_AEAD_KEY_LEN], aad[AAD_LEN];
    uint64_t offset;
    uint32_t n_pieces;
    bool begun, ended;
    struct dgf_buf sealed, plain;
};

static enum dgf_rc bad(struct dgf_err *err, const char *why)
{
    return dgf_err_set(err, DGF_BAD_DATA, "the sealed state cannot be read: %s", why);
}

static enum dgf_rc read_exactly(struct reading *r, void *ptr, size_t len,
                                struct dgf_err *err)
{
    size_t n = 0;
    enum dgf_rc rc = r->reader->read(r->reader->ctx, r->offset, ptr, len, &n, err);

    r->offset += n;
    return rc ? rc : n == len ? DGF_OK : bad(err, "it is cut off");
}

/* The next piece behind what is in `plain`. */
static enum dgf_rc read_piece(struct reading *r, struct dgf_err *err)
{
    uint8_t head[4], nonce[DGF_AEAD_NONCE_LEN], more;
    size_t len, n = 0;
    uint8_t *at;
    enum dgf_rc rc = read_exactly(r, head, sizeof(head), err);

    if (rc)
        return rc;
    len = dgf_le32_at(head);
    if (len < DGF_AEAD_TAG_LEN || len > SEALED_MAX)
        return bad(err, "a piece has no length that can be");
    dgf_buf_clear(&r->sealed);
    at = dgf_buf_room(&r->sealed, len);
    if (!at)
        return dgf_err_set(err, DGF_NOMEM, "cannot read sealed state: out of memory");
    rc = read_exactly(r, at, len, err);
    if (!rc)
        rc = r->reader->read(r->reader->ctx, r->offset, &more, 1, &n, err);
    if (rc)
        return rc;
    r->ended = n == 0;
    put_nonce(r->n_pieces++, r->ended, nonce);
    rc = dgf_aead_open(r->file_key, nonce, dgf_bytes_of(r->aad, sizeof(r->aad)),
                       dgf_bytes_of(at, len), &r->plain);
    if (rc == DGF_BAD_DATA)
        return bad(err, "it was sealed with another tenant key, or changed");
    return rc ? dgf_err_set(err, rc, "cannot read sealed state: out of memory") : rc;
}

/* Takes what is whole off the front of `plain`.  DGF_AGAIN: another piece first. */
static enum dgf_rc take(struct reading *r, struct dgf_err *err)
{
    struct dgf_rd rd = dgf_rd_of(dgf_buf_bytes(&r->plain));
    enum dgf_rc rc = DGF_OK;

    while (!rc && dgf_rd_left(&rd) > 0) {
        struct dgf_rd before = rd;

        if (!r->begun) {
            struct dgf_marks marks;
            uint64_t next = dgf_rd_le64(&rd), batch = dgf_rd_le64(&rd);

            dgf_marks_init(&marks);
            rc = rd.bad ? DGF_BAD_DATA : dgf_marks_get_positions(&marks, &rd);
            if (rc == DGF_OK) {
                r->begun = true;
                rc = r->reader->begin(r->reader->ctx, next, batch, &marks, err);
            } else if (rc == DGF_BAD_DATA) {
                rc = DGF_AGAIN;
            }
            dgf_marks_release(&marks);
        } else {
            uint32_t n_key = dgf_rd_le32(&rd), n_value = dgf_rd_le32(&rd);
            struct dgf_bytes key, value;

            if (!rd.bad &&
                (n_key > DGF_LEDGER_KEY_MAX || n_value > DGF_LEDGER_VALUE_MAX))
                return bad(err, "a key is longer than any can be");
            key = dgf_rd_bytes(&rd, n_key);
            value = dgf_rd_bytes(&rd, n_value);
            rc = rd.bad ? DGF_AGAIN : r->reader->state(r->reader->ctx, key, value, err);
        }
        if (rc == DGF_AGAIN)
            rd = before;
    }
    memmove(r->plain.ptr, rd.ptr, dgf_rd_left(&rd));
    r->plain.len = dgf_rd_left(&rd);
    return rc;
}

static enum dgf_rc read_all(struct reading *r, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    while (!rc && !r->ended) {
        rc = read_piece(r, err);
        if (!rc)
            rc = take(r, err);
        if (rc == DGF_AGAIN)
            rc = r->ended ? bad(err, "it ends inside an item") : DGF_OK;
    }
    if (!rc && !r->begun)
        rc = bad(err, "it is empty");
    return rc;
}

enum dgf_rc dgf_state_read(const struct dgf_state_reader *reader,
                           const uint8_t key[DGF_AEAD_KEY_LEN],
                           const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t first,
                           struct dgf_err *err)
{
    struct reading r = {.reader = reader};
    uint8_t head[8 + DGF_STATE_SALT_LEN];
    enum dgf_rc rc;

    dgf_buf_init(&r.sealed, SEALED_MAX);
    dgf_buf_init(&r.plain, DGF_STATE_PIECE_BYTES + ITEM_MAX + 1);
    put_aad(log_id, first, r.aad);
    rc = read_exactly(&r, head, sizeof(head), err);
    if (!rc && memcmp(head, DGF_STATE_MAGIC, 8) != 0)
        rc = bad(err, "it does not begin as this format does");
    if (!rc) {
        dgf_hmac_sha256(dgf_bytes_of(key, DGF_AEAD_KEY_LEN),
                        dgf_bytes_of(head + 8, DGF_STATE_SALT_LEN), r.file_key);
        rc = read_all(&r, err);
    }
    if (r.plain.ptr)
        dgf_wipe(r.plain.ptr, r.plain.cap);
    dgf_buf_release(&r.plain);
    dgf_buf_release(&r.sealed);
    dgf_wipe(r.file_key, sizeof(r.file_key));
    return rc;
}
