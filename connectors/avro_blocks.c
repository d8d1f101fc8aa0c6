#include "avro_blocks.h"

#include <inttypes.h>

#include "avro_part.h"

/* Zigzag base-128; DGF_AGAIN at the end of the bytes, DGF_BAD_DATA beyond 64 bits. */
enum dgf_rc dgf_avro_long(struct dgf_rd *rd, int64_t *ret)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;

        if (rd->ptr == rd->end)
            return DGF_AGAIN;
        byte = *rd->ptr++;
        if (shift == 63 && byte > 1)
            return DGF_BAD_DATA;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return DGF_OK;
        }
    }
    return DGF_BAD_DATA;
}

static enum dgf_rc bad(struct dgf_err *err, const char *why)
{
    return dgf_err_set(err, DGF_BAD_DATA, "%s", why);
}

static enum dgf_rc take_bytes(struct dgf_rd *rd, size_t max, struct dgf_bytes *ret)
{
    int64_t len;
    enum dgf_rc rc = dgf_avro_long(rd, &len);

    if (rc)
        return rc;
    if (len < 0 || (uint64_t)len > max)
        return DGF_BAD_DATA;
    if ((uint64_t)len > dgf_rd_left(rd))
        return DGF_AGAIN;
    *ret = dgf_rd_bytes(rd, (size_t)len);
    return DGF_OK;
}

/* ---- header ---- */

struct meta {
    struct dgf_bytes schema, codec;
    bool has_schema;
};

static enum dgf_rc take_meta(struct dgf_rd *rd, struct meta *meta)
{
    struct dgf_bytes name, value;
    int64_t n, size;
    enum dgf_rc rc;

    for (;;) {
        rc = dgf_avro_long(rd, &n);
        if (rc || n == 0)
            return rc;
        if (n < 0) {
            if (n == INT64_MIN)
                return DGF_BAD_DATA;
            n = -n;
            rc = dgf_avro_long(rd, &size);
        }
        for (; !rc && n > 0; n--) {
            rc = take_bytes(rd, 1024, &name);
            if (!rc)
                rc = take_bytes(rd, DGF_AVRO_HEADER_MAX, &value);
            if (rc)
                return rc;
            if (dgf_bytes_eq(name, DGF_BYTES("avro.schema"))) {
                meta->schema = value;
                meta->has_schema = true;
            } else if (dgf_bytes_eq(name, DGF_BYTES("avro.codec"))) {
                meta->codec = value;
            }
        }
        if (rc)
            return rc;
    }
}

static bool is_word(struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f || text.ptr[i] == '\'')
            return false;
    return text.len > 0 && text.len <= 32;
}

static enum dgf_rc take_header(struct dgf_rd *rd, struct meta *meta,
                               struct dgf_avro_header *header)
{
    struct dgf_bytes sync;
    enum dgf_rc rc = take_meta(rd, meta);

    if (rc)
        return rc;
    if (dgf_rd_left(rd) < DGF_AVRO_SYNC_LEN)
        return DGF_AGAIN;
    sync = dgf_rd_bytes(rd, DGF_AVRO_SYNC_LEN);
    memcpy(header->sync, sync.ptr, DGF_AVRO_SYNC_LEN);
    return DGF_OK;
}

enum dgf_rc dgf_avro_header_read(struct dgf_bytes bytes, struct dgf_avro_header *ret,
                                 struct dgf_err *err)
{
    static const uint8_t magic[4] = {'O', 'b', 'j', 1};
    size_t n = bytes.len < sizeof(magic) ? bytes.len : sizeof(magic);
    struct dgf_avro_header header = {0};
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct meta meta = {.has_schema = false};
    enum dgf_rc rc;

    if (n && memcmp(bytes.ptr, magic, n) != 0)
        return bad(err, "it is no Avro file");
    if (n < sizeof(magic))
        return DGF_AGAIN;
    rd.ptr += sizeof(magic);
    rc = take_header(&rd, &meta, &header);
    if (rc == DGF_AGAIN && bytes.len >= DGF_AVRO_HEADER_MAX)
        return bad(err, "its header is larger than 1 MiB");
    if (rc == DGF_BAD_DATA)
        return bad(err, "its header is damaged");
    if (rc)
        return rc;
    if (meta.codec.len && !dgf_bytes_eq(meta.codec, DGF_BYTES("null")))
        return is_word(meta.codec)
                   ? dgf_err_set(err, DGF_BAD_DATA, "its codec is '%.*s', not null",
                                 (int)meta.codec.len, (const char *)meta.codec.ptr)
                   : bad(err, "its codec is none");
    if (!meta.has_schema)
        return bad(err, "its header holds no schema");
    rc = dgf_avro_schema_parse(meta.schema, &header.schema, err);
    if (rc)
        return rc;
    header.len = bytes.len - dgf_rd_left(&rd);
    *ret = header;
    return DGF_OK;
}

void dgf_avro_header_release(struct dgf_avro_header *header)
{
    dgf_avro_schema_free(header->schema);
    *header = (struct dgf_avro_header){0};
}

/* ---- blocks ---- */

enum dgf_rc dgf_avro_block_read(struct dgf_bytes bytes,
                                const uint8_t sync[DGF_AVRO_SYNC_LEN],
                                struct dgf_avro_block *ret, size_t *ret_need,
                                struct dgf_err *err)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_bytes found;
    int64_t count = 0, size = 0;
    enum dgf_rc rc = dgf_avro_long(&rd, &count);
    size_t head;

    *ret_need = 0;
    if (!rc)
        rc = dgf_avro_long(&rd, &size);
    if (rc == DGF_AGAIN)
        return rc;
    if (rc || count < 0 || size < 0)
        return bad(err, "a block has no size");
    if ((uint64_t)size > DGF_AVRO_BLOCK_MAX)
        return bad(err, "a block is larger than 64 MiB");
    if (count > size) /* an event has more than one byte */
        return bad(err, "a block promises more than it has");
    head = bytes.len - dgf_rd_left(&rd);
    *ret_need = head + (size_t)size + DGF_AVRO_SYNC_LEN;
    if (bytes.len < *ret_need)
        return DGF_AGAIN;
    ret->count = (uint64_t)count;
    ret->data = dgf_rd_bytes(&rd, (size_t)size);
    found = dgf_rd_bytes(&rd, DGF_AVRO_SYNC_LEN);
    if (memcmp(found.ptr, sync, DGF_AVRO_SYNC_LEN) != 0)
        return bad(err, "a block does not end in the file's marker");
    ret->len = *ret_need;
    return DGF_OK;
}
