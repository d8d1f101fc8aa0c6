#include "ledger/archive_segment.h"

#include <zstd.h>

#include "base/mem.h"

#define MAX_INDEX_BYTES (8u << 20)

struct dgf_segment_writer {
    ZSTD_CCtx *zstd;
    struct dgf_buf plain, index;
    uint32_t n_frames;
};

enum dgf_rc dgf_segment_writer_new(int level, struct dgf_segment_writer **ret)
{
    struct dgf_segment_writer *writer = dgf_calloc(1, sizeof(*writer));

    if (!writer)
        return DGF_NOMEM;
    dgf_buf_init(&writer->plain, DGF_ARCHIVE_FRAME_BYTES + (64u << 10) + 1);
    dgf_buf_init(&writer->index, MAX_INDEX_BYTES);
    writer->zstd = ZSTD_createCCtx();
    if (!writer->zstd || ZSTD_isError(ZSTD_CCtx_setParameter(
                             writer->zstd, ZSTD_c_compressionLevel, level))) {
        dgf_segment_writer_free(writer);
        return DGF_NOMEM;
    }
    *ret = writer;
    return DGF_OK;
}

void dgf_segment_writer_free(struct dgf_segment_writer *writer)
{
    if (!writer)
        return;
    ZSTD_freeCCtx(writer->zstd);
    dgf_buf_release(&writer->plain);
    dgf_buf_release(&writer->index);
    dgf_free(writer);
}

static enum dgf_rc end_frame(struct dgf_segment_writer *writer, struct dgf_buf *out)
{
    size_t bound = ZSTD_compressBound(writer->plain.len), n;
    uint8_t *at = dgf_buf_room(out, bound);

    if (!at)
        return DGF_NOMEM;
    n = ZSTD_compress2(writer->zstd, at, bound, writer->plain.ptr, writer->plain.len);
    if (ZSTD_isError(n))
        return DGF_NOMEM;
    out->len += n;
    dgf_buf_add_le32(&writer->index, (uint32_t)n);
    dgf_buf_add_le32(&writer->index, (uint32_t)writer->plain.len);
    writer->n_frames++;
    dgf_buf_clear(&writer->plain);
    return dgf_buf_rc(&writer->index);
}

enum dgf_rc dgf_segment_writer_add(struct dgf_segment_writer *writer,
                                   struct dgf_bytes line, struct dgf_buf *out)
{
    if (writer->plain.len > 0 &&
        writer->plain.len + line.len + 1 > DGF_ARCHIVE_FRAME_BYTES) {
        enum dgf_rc rc = end_frame(writer, out);

        if (rc)
            return rc;
    }
    dgf_buf_add_bytes(&writer->plain, line);
    dgf_buf_add_byte(&writer->plain, '\n');
    return dgf_buf_rc(&writer->plain);
}

enum dgf_rc dgf_segment_writer_end(struct dgf_segment_writer *writer,
                                   struct dgf_buf *out)
{
    enum dgf_rc rc = writer->plain.len > 0 ? end_frame(writer, out) : DGF_OK;

    if (rc)
        return rc;
    dgf_buf_add_le32(out, DGF_SEEK_TABLE_MAGIC);
    dgf_buf_add_le32(out, (uint32_t)writer->index.len + 9);
    dgf_buf_add_bytes(out, dgf_buf_bytes(&writer->index));
    dgf_buf_add_le32(out, writer->n_frames);
    dgf_buf_add_byte(out, 0);
    dgf_buf_add_le32(out, DGF_SEEK_FOOTER_MAGIC);
    return dgf_buf_rc(out);
}

/* ---- reading ------------------------------------------------------------- */

struct dgf_unpacker {
    ZSTD_DCtx *zstd;
};

enum dgf_rc dgf_unpacker_new(struct dgf_unpacker **ret)
{
    struct dgf_unpacker *unpacker = dgf_calloc(1, sizeof(*unpacker));

    if (!unpacker)
        return DGF_NOMEM;
    unpacker->zstd = ZSTD_createDCtx();
    if (!unpacker->zstd) {
        dgf_unpacker_free(unpacker);
        return DGF_NOMEM;
    }
    *ret = unpacker;
    return DGF_OK;
}

void dgf_unpacker_free(struct dgf_unpacker *unpacker)
{
    if (!unpacker)
        return;
    ZSTD_freeDCtx(unpacker->zstd);
    dgf_free(unpacker);
}

enum dgf_rc dgf_unpack_frame(struct dgf_unpacker *unpacker, struct dgf_bytes in,
                             size_t max, struct dgf_buf *to, size_t *ret_used)
{
    size_t used = ZSTD_findFrameCompressedSize(in.ptr, in.len), n;
    unsigned long long len;
    uint8_t *at;

    if (ZSTD_isError(used))
        return DGF_BAD_DATA;
    *ret_used = used;
    /* 16 magic numbers mark frames to be passed over. */
    if (in.len >= 4 && (in.ptr[0] & 0xf0) == 0x50 && in.ptr[1] == 0x2a &&
        in.ptr[2] == 0x4d && in.ptr[3] == 0x18)
        return DGF_AGAIN;
    len = ZSTD_getFrameContentSize(in.ptr, in.len);
    if (len == ZSTD_CONTENTSIZE_ERROR || len == ZSTD_CONTENTSIZE_UNKNOWN || len > max)
        return DGF_BAD_DATA;
    at = dgf_buf_room(to, len ? (size_t)len : 1);
    if (!at)
        return DGF_NOMEM;
    n = ZSTD_decompressDCtx(unpacker->zstd, at, (size_t)len, in.ptr, used);
    if (ZSTD_isError(n) || n != len)
        return DGF_BAD_DATA;
    to->len += n;
    return DGF_OK;
}
