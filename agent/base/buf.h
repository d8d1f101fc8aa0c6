/* buf.h - borrowed byte ranges, and growing buffers with a cap at birth.
 *
 * A dgf_buf remembers its first failure: writers append without looking and
 * ask dgf_buf_rc() once at the end.  After a failure nothing is appended any
 * more, so what is there is a prefix.  Thread: one owner. */
#ifndef DGF_BASE_BUF_H
#define DGF_BASE_BUF_H

#include <stdio.h>
#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rc.h"

struct dgf_bytes {
    const uint8_t *ptr;
    size_t len;
};

#define DGF_BYTES(literal) \
    ((struct dgf_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline struct dgf_bytes dgf_bytes_of(const void *ptr, size_t len)
{
    return (struct dgf_bytes){ptr, len};
}

static inline struct dgf_bytes dgf_bytes_str(const char *text)
{
    return (struct dgf_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool dgf_bytes_eq(struct dgf_bytes a, struct dgf_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int dgf_bytes_cmp(struct dgf_bytes a, struct dgf_bytes b);

struct dgf_buf {
    uint8_t *ptr;
    size_t len, cap, max;
    enum dgf_rc rc; /* DGF_OK, or DGF_NOMEM after the first failure */
};

/* max: most bytes it may ever hold, > 0. */
void dgf_buf_init(struct dgf_buf *buf, size_t max);
void dgf_buf_release(struct dgf_buf *buf);

/* Empties it and forgets a failure; memory is kept. */
static inline void dgf_buf_clear(struct dgf_buf *buf)
{
    buf->len = 0;
    buf->rc = DGF_OK;
}

/* Room for len more bytes at ptr + len, or NULL (failure remembered). */
uint8_t *dgf_buf_grow(struct dgf_buf *buf, size_t len);

static inline uint8_t *dgf_buf_room(struct dgf_buf *buf, size_t len)
{
    if (buf->cap - buf->len >= len && buf->rc == DGF_OK)
        return buf->ptr + buf->len;
    return dgf_buf_grow(buf, len);
}

static inline void dgf_buf_add(struct dgf_buf *buf, const void *ptr, size_t len)
{
    uint8_t *to;

    if (len == 0)
        return;
    to = dgf_buf_room(buf, len);
    if (to) {
        memcpy(to, ptr, len);
        buf->len += len;
    }
}

static inline void dgf_buf_add_byte(struct dgf_buf *buf, uint8_t byte)
{
    uint8_t *to = dgf_buf_room(buf, 1);

    if (to) {
        *to = byte;
        buf->len++;
    }
}

static inline void dgf_buf_add_bytes(struct dgf_buf *buf, struct dgf_bytes bytes)
{
    dgf_buf_add(buf, bytes.ptr, bytes.len);
}

static inline void dgf_buf_add_str(struct dgf_buf *buf, const char *text)
{
    dgf_buf_add(buf, text, strlen(text));
}

void dgf_buf_addf(struct dgf_buf *buf, const char *fmt, ...) DGF_PRINTF(2, 3);
void dgf_buf_add_u64(struct dgf_buf *buf, uint64_t value);         /* decimal digits */
void dgf_buf_add_i64(struct dgf_buf *buf, int64_t value);          /* decimal digits */
void dgf_buf_add_hex(struct dgf_buf *buf, struct dgf_bytes bytes); /* lower case */
void dgf_buf_add_base64(struct dgf_buf *buf, struct dgf_bytes bytes); /* padded */

static inline struct dgf_bytes dgf_buf_bytes(const struct dgf_buf *buf)
{
    return (struct dgf_bytes){buf->ptr, buf->len};
}

static inline enum dgf_rc dgf_buf_rc(const struct dgf_buf *buf)
{
    return buf->rc;
}

/* A NUL after the content, not counted in len; "" when it has failed empty. */
const char *dgf_buf_str(struct dgf_buf *buf);
/* Writes what is there to file; false: not all of it could be written. */
bool dgf_buf_write(const struct dgf_buf *buf, FILE *file);

/* Fixed-width little-endian, for frames and positions. */
void dgf_buf_add_le16(struct dgf_buf *buf, uint16_t value);
void dgf_buf_add_le32(struct dgf_buf *buf, uint32_t value);
void dgf_buf_add_le64(struct dgf_buf *buf, uint64_t value);

/* Reads fixed-width fields off a range; after the first short read `bad` is
 * set and every later read gives zero, so that one check at the end is enough. */
struct dgf_rd {
    const uint8_t *ptr, *end;
    bool bad;
};

static inline struct dgf_rd dgf_rd_of(struct dgf_bytes bytes)
{
    return (struct dgf_rd){bytes.ptr, bytes.len ? bytes.ptr + bytes.len : bytes.ptr,
                           false};
}

static inline size_t dgf_rd_left(const struct dgf_rd *rd)
{
    return (size_t)(rd->end - rd->ptr);
}

static inline struct dgf_bytes dgf_rd_bytes(struct dgf_rd *rd, size_t len)
{
    struct dgf_bytes bytes = {rd->ptr, len};

    if (rd->bad || dgf_rd_left(rd) < len) {
        rd->bad = true;
        return (struct dgf_bytes){NULL, 0};
    }
    if (len > 0)
        rd->ptr += len;
    return bytes;
}

/* Here and not in buf.c: decoders call them for every field of every row. */
#define DGF_RD_NUMBER(name, type, order)                      \
    static inline type dgf_rd_##name(struct dgf_rd *rd)       \
    {                                                         \
        struct dgf_bytes at = dgf_rd_bytes(rd, sizeof(type)); \
        type v;                                               \
                                                              \
        if (!at.ptr)                                          \
            return 0;                                         \
        memcpy(&v, at.ptr, sizeof(v));                        \
        return order(v);                                      \
    }
DGF_RD_NUMBER(u8, uint8_t, )
DGF_RD_NUMBER(le16, uint16_t, le16toh)
DGF_RD_NUMBER(le32, uint32_t, le32toh)
DGF_RD_NUMBER(le64, uint64_t, le64toh)
DGF_RD_NUMBER(be16, uint16_t, be16toh)
DGF_RD_NUMBER(be32, uint32_t, be32toh)
DGF_RD_NUMBER(be64, uint64_t, be64toh)
#undef DGF_RD_NUMBER

/* Bytes up to a NUL, which is consumed; bad when there is none. */
struct dgf_bytes dgf_rd_cstr(struct dgf_rd *rd);

#endif
