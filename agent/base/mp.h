/* mp.h - msgpack: packing through msgpack-c, reading through a bounded cursor.
 *
 * msgpack-c's unpacker allocates a tree and refuses more than 32 levels; the
 * cursor allocates nothing, believes no header, and allows 100 levels.
 * Thread: one owner. */
#ifndef DGF_BASE_MP_H
#define DGF_BASE_MP_H

#include "base/buf.h"

#define DGF_MP_MAX_DEPTH 100

/* Extension types of an event's values.  Numbers are big-endian, as msgpack's. */
enum dgf_ext {
    DGF_EXT_TIMESTAMP = -1,  /* msgpack's own: 4, 8 or 12 bytes */
    DGF_EXT_DECIMAL = 1,     /* ASCII text, e.g. -12.50; NaN, Infinity, -Infinity */
    DGF_EXT_UUID = 2,        /* 16 bytes */
    DGF_EXT_DATE = 3,        /* i32 days since 1970-01-01 */
    DGF_EXT_TIME = 4,        /* i64 ns since midnight (24:00 allowed) */
    DGF_EXT_DURATION = 5,    /* i32 months, i32 days, i64 ns */
    DGF_EXT_OPAQUE = 6,      /* msgpack str type name, then msgpack str or bin */
    DGF_EXT_UNAVAILABLE = 7, /* u8 enum dgf_unavailable (bus/words.h) */
};

enum dgf_mp_kind {
    DGF_MP_NIL,
    DGF_MP_BOOL,
    DGF_MP_INT,
    DGF_MP_UINT /* only above INT64_MAX */,
    DGF_MP_DOUBLE,
    DGF_MP_STR,
    DGF_MP_BIN,
    DGF_MP_ARRAY,
    DGF_MP_MAP,
    DGF_MP_EXT,
};

struct dgf_mp_token {
    enum dgf_mp_kind kind;
    int8_t ext; /* EXT: type */
    uint32_t n; /* ARRAY: items; MAP: pairs */
    union {
        bool boolean;
        int64_t i64;
        uint64_t u64;
        double dbl;
    };
    struct dgf_bytes bytes; /* STR, BIN, EXT: content, borrowed from the input */
};

struct dgf_mp {
    const uint8_t *ptr, *end;
};

static inline struct dgf_mp dgf_mp_of(struct dgf_bytes bytes)
{
    return (struct dgf_mp){bytes.ptr, bytes.len ? bytes.ptr + bytes.len : bytes.ptr};
}

/* Reads one token; containers are entered, their items follow.  DGF_AGAIN at
 * the end of input, DGF_BAD_DATA when a header promises more than is there
 * (also: more items than bytes left). */
enum dgf_rc dgf_mp_next(struct dgf_mp *mp, struct dgf_mp_token *ret) DGF_MUST_USE;
/* Skips one whole value.  DGF_BAD_DATA beyond DGF_MP_MAX_DEPTH too. */
enum dgf_rc dgf_mp_skip(struct dgf_mp *mp) DGF_MUST_USE;
/* One whole value as bytes, skipped. */
enum dgf_rc dgf_mp_value(struct dgf_mp *mp, struct dgf_bytes *ret) DGF_MUST_USE;
/* DGF_OK when bytes are exactly one well-formed value with valid UTF-8 texts
 * and extension payloads of the right size. */
enum dgf_rc dgf_mp_check(struct dgf_bytes bytes) DGF_MUST_USE;
/* Value of a text key in an encoded map; DGF_AGAIN when it is not there. */
enum dgf_rc dgf_mp_find(struct dgf_bytes map, struct dgf_bytes key,
                        struct dgf_bytes *ret) DGF_MUST_USE;
/* Timestamp extension (4, 8, 12 bytes) to seconds and nanoseconds. */
bool dgf_mp_timestamp(const struct dgf_mp_token *token, int64_t *ret_s,
                      uint32_t *ret_ns);

/* Packing; failures stay in the buffer (buf.h). */
void dgf_mp_put_nil(struct dgf_buf *buf);
void dgf_mp_put_bool(struct dgf_buf *buf, bool value);
void dgf_mp_put_int(struct dgf_buf *buf, int64_t value);
void dgf_mp_put_uint(struct dgf_buf *buf, uint64_t value);
void dgf_mp_put_double(struct dgf_buf *buf, double value);
void dgf_mp_put_str(struct dgf_buf *buf, struct dgf_bytes text);
void dgf_mp_put_bin(struct dgf_buf *buf, struct dgf_bytes bytes);
void dgf_mp_put_array(struct dgf_buf *buf, uint32_t n);
void dgf_mp_put_map(struct dgf_buf *buf, uint32_t n);
void dgf_mp_put_ext(struct dgf_buf *buf, int8_t type, struct dgf_bytes payload);
void dgf_mp_put_timestamp(struct dgf_buf *buf, int64_t seconds, uint32_t ns);
void dgf_mp_put_time_ns(struct dgf_buf *buf, int64_t ns); /* ns since 1970 */
void dgf_mp_put_decimal(struct dgf_buf *buf, struct dgf_bytes text);
void dgf_mp_put_uuid(struct dgf_buf *buf, const uint8_t uuid[16]);
void dgf_mp_put_date(struct dgf_buf *buf, int32_t days);
void dgf_mp_put_time_of_day(struct dgf_buf *buf, int64_t ns);
void dgf_mp_put_duration(struct dgf_buf *buf, int32_t months, int32_t days, int64_t ns);
void dgf_mp_put_opaque(struct dgf_buf *buf, struct dgf_bytes type,
                       struct dgf_bytes text);
void dgf_mp_put_unavailable(struct dgf_buf *buf, uint8_t why);

#endif
