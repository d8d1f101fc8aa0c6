#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

int dgf_bytes_cmp(struct dgf_bytes a, struct dgf_bytes b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

void dgf_buf_init(struct dgf_buf *buf, size_t max)
{
    *buf = (struct dgf_buf){.max = max};
}

void dgf_buf_release(struct dgf_buf *buf)
{
    dgf_free(buf->ptr);
    *buf = (struct dgf_buf){.max = buf->max};
}

uint8_t *dgf_buf_grow(struct dgf_buf *buf, size_t len)
{
    size_t need, cap;
    uint8_t *ptr;

    if (buf->rc)
        return NULL;
    if (!dgf_add_size(buf->len, len, &need) || need > buf->max) {
        buf->rc = DGF_NOMEM;
        return NULL;
    }
    cap = buf->cap < 32 ? 64 : buf->cap > buf->max / 2 ? buf->max : buf->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > buf->max)
        cap = buf->max;
    ptr = dgf_realloc(buf->ptr, cap);
    if (!ptr) {
        buf->rc = DGF_NOMEM;
        return NULL;
    }
    buf->ptr = ptr;
    buf->cap = cap;
    return ptr + buf->len;
}

void dgf_buf_addf(struct dgf_buf *buf, const char *fmt, ...)
{
    char small[256];
    uint8_t *to;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0) {
        buf->rc = DGF_NOMEM;
        return;
    }
    if ((size_t)n < sizeof(small)) {
        dgf_buf_add(buf, small, (size_t)n);
        return;
    }
    to = dgf_buf_room(buf, (size_t)n + 1);
    if (!to)
        return;
    va_start(ap, fmt);
    (void)vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
    va_end(ap);
    buf->len += (size_t)n;
}

void dgf_buf_add_u64(struct dgf_buf *buf, uint64_t value)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char digits[20];
    size_t at = sizeof(digits);

    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + value * 2, 2);
    } else {
        digits[--at] = (char)('0' + value);
    }
    dgf_buf_add(buf, digits + at, sizeof(digits) - at);
}

void dgf_buf_add_i64(struct dgf_buf *buf, int64_t value)
{
    if (value < 0)
        dgf_buf_add_byte(buf, '-');
    dgf_buf_add_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void dgf_buf_add_hex(struct dgf_buf *buf, struct dgf_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    size_t len;
    uint8_t *to;

    if (bytes.len == 0)
        return;
    to = dgf_buf_room(buf, dgf_mul_size(bytes.len, 2, &len) ? len : SIZE_MAX);
    if (!to)
        return;
    for (size_t i = 0; i < bytes.len; i++) {
        *to++ = (uint8_t)digits[bytes.ptr[i] >> 4];
        *to++ = (uint8_t)digits[bytes.ptr[i] & 15];
    }
    buf->len += len;
}

void dgf_buf_add_base64(struct dgf_buf *buf, struct dgf_bytes bytes)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = bytes.len / 3 + (bytes.len % 3 != 0), len, i;
    uint8_t *to;

    if (n == 0)
        return;
    to = dgf_buf_room(buf, dgf_mul_size(n, 4, &len) ? len : SIZE_MAX);
    if (!to)
        return;
    for (i = 0; i + 3 <= bytes.len; i += 3) {
        uint32_t v = (uint32_t)bytes.ptr[i] << 16 | (uint32_t)bytes.ptr[i + 1] << 8 |
                     bytes.ptr[i + 2];

        *to++ = (uint8_t)digits[v >> 18];
        *to++ = (uint8_t)digits[v >> 12 & 63];
        *to++ = (uint8_t)digits[v >> 6 & 63];
        *to++ = (uint8_t)digits[v & 63];
    }
    if (i < bytes.len) {
        bool two = bytes.len - i == 2;
        uint32_t v =
            (uint32_t)bytes.ptr[i] << 16 | (two ? (uint32_t)bytes.ptr[i + 1] << 8 : 0);

        *to++ = (uint8_t)digits[v >> 18];
        *to++ = (uint8_t)digits[v >> 12 & 63];
        *to++ = two ? (uint8_t)digits[v >> 6 & 63] : '=';
        *to++ = '=';
    }
    buf->len += len;
}

bool dgf_buf_write(const struct dgf_buf *buf, FILE *file)
{
    return buf->len == 0 || fwrite(buf->ptr, 1, buf->len, file) == buf->len;
}

const char *dgf_buf_str(struct dgf_buf *buf)
{
    enum dgf_rc rc = buf->rc;
    uint8_t *to;

    /* Also after a failure: the prefix that is there is worth showing. */
    if (buf->len == buf->cap) {
        buf->rc = DGF_OK;
        to = dgf_buf_grow(buf, 1);
        buf->rc = rc;
        if (!to && buf->len == 0)
            return "";
        if (!to) {
            buf->rc = DGF_NOMEM;
            buf->len--; /* the last byte makes room for the NUL */
        }
    }
    buf->ptr[buf->len] = '\0';
    return (const char *)buf->ptr;
}

/* ---- fixed width ---- */

static void add_le(struct dgf_buf *buf, uint64_t value, size_t n)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    dgf_buf_add(buf, bytes, n);
}

void dgf_buf_add_le16(struct dgf_buf *buf, uint16_t value)
{
    add_le(buf, value, 2);
}

void dgf_buf_add_le32(struct dgf_buf *buf, uint32_t value)
{
    add_le(buf, value, 4);
}

void dgf_buf_add_le64(struct dgf_buf *buf, uint64_t value)
{
    add_le(buf, value, 8);
}

struct dgf_bytes dgf_rd_cstr(struct dgf_rd *rd)
{
    size_t left = dgf_rd_left(rd);
    const uint8_t *nul = left > 0 && !rd->bad ? memchr(rd->ptr, 0, left) : NULL;
    struct dgf_bytes bytes = {rd->ptr, 0};

    if (!nul) {
        rd->bad = true;
        return (struct dgf_bytes){NULL, 0};
    }
    bytes.len = (size_t)(nul - rd->ptr);
    rd->ptr = nul + 1;
    return bytes;
}
