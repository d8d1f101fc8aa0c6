/* mp_pack.c - packing.  msgpack-c's templates are inlined over a callback that
 * appends to the buffer; failures stay there, so its results are not looked at. */
#include "base/mp.h"

#include "base/parse.h"

#include <msgpack/pack.h>

static inline int append(void *to, const char *ptr, size_t len)
{
    dgf_buf_add(to, ptr, len);
    return 0;
}

#define PACKER(buf)                       \
    &(msgpack_packer)                     \
    {                                     \
        .data = (buf), .callback = append \
    }

void dgf_mp_put_nil(struct dgf_buf *buf)
{
    (void)msgpack_pack_nil(PACKER(buf));
}

void dgf_mp_put_bool(struct dgf_buf *buf, bool value)
{
    (void)(value ? msgpack_pack_true(PACKER(buf)) : msgpack_pack_false(PACKER(buf)));
}

void dgf_mp_put_int(struct dgf_buf *buf, int64_t value)
{
    (void)msgpack_pack_int64(PACKER(buf), value);
}

void dgf_mp_put_uint(struct dgf_buf *buf, uint64_t value)
{
    (void)msgpack_pack_uint64(PACKER(buf), value);
}

void dgf_mp_put_double(struct dgf_buf *buf, double value)
{
    (void)msgpack_pack_double(PACKER(buf), value);
}

/* Its headers hold 32 bits of length. */
static bool too_long(struct dgf_buf *buf, size_t len)
{
    if (len <= UINT32_MAX)
        return false;
    buf->rc = DGF_NOMEM;
    return true;
}

void dgf_mp_put_str(struct dgf_buf *buf, struct dgf_bytes text)
{
    if (too_long(buf, text.len))
        return;
    (void)msgpack_pack_str(PACKER(buf), text.len);
    dgf_buf_add_bytes(buf, text);
}

void dgf_mp_put_bin(struct dgf_buf *buf, struct dgf_bytes bytes)
{
    if (too_long(buf, bytes.len))
        return;
    (void)msgpack_pack_bin(PACKER(buf), bytes.len);
    dgf_buf_add_bytes(buf, bytes);
}

void dgf_mp_put_array(struct dgf_buf *buf, uint32_t n)
{
    (void)msgpack_pack_array(PACKER(buf), n);
}

void dgf_mp_put_map(struct dgf_buf *buf, uint32_t n)
{
    (void)msgpack_pack_map(PACKER(buf), n);
}

void dgf_mp_put_ext(struct dgf_buf *buf, int8_t type, struct dgf_bytes payload)
{
    if (too_long(buf, payload.len))
        return;
    (void)msgpack_pack_ext(PACKER(buf), payload.len, type);
    dgf_buf_add_bytes(buf, payload);
}

static void store_be(uint8_t *to, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(value >> 8 * (n - 1 - i));
}

static void put_fixed(struct dgf_buf *buf, int8_t type, uint64_t value, size_t n)
{
    uint8_t payload[8];

    store_be(payload, value, n);
    dgf_mp_put_ext(buf, type, dgf_bytes_of(payload, n));
}

void dgf_mp_put_timestamp(struct dgf_buf *buf, int64_t seconds, uint32_t ns)
{
    uint8_t payload[12];

    if (seconds >> 34 == 0) {
        uint64_t both = (uint64_t)ns << 34 | (uint64_t)seconds;

        put_fixed(buf, DGF_EXT_TIMESTAMP, both, both >> 32 ? 8 : 4);
        return;
    }
    store_be(payload, ns, 4);
    store_be(payload + 4, (uint64_t)seconds, 8);
    dgf_mp_put_ext(buf, DGF_EXT_TIMESTAMP, dgf_bytes_of(payload, sizeof(payload)));
}

void dgf_mp_put_time_ns(struct dgf_buf *buf, int64_t ns)
{
    int64_t seconds = ns / 1000000000, rest = ns % 1000000000;

    if (rest < 0) {
        rest += 1000000000;
        seconds--;
    }
    dgf_mp_put_timestamp(buf, seconds, (uint32_t)rest);
}

void dgf_mp_put_decimal(struct dgf_buf *buf, struct dgf_bytes text)
{
    dgf_mp_put_ext(buf, DGF_EXT_DECIMAL, text);
}

void dgf_mp_put_uuid(struct dgf_buf *buf, const uint8_t uuid[16])
{
    dgf_mp_put_ext(buf, DGF_EXT_UUID, dgf_bytes_of(uuid, 16));
}

void dgf_mp_put_date(struct dgf_buf *buf, int32_t days)
{
    put_fixed(buf, DGF_EXT_DATE, (uint32_t)days, 4);
}

void dgf_mp_put_time_of_day(struct dgf_buf *buf, int64_t ns)
{
    put_fixed(buf, DGF_EXT_TIME, (uint64_t)ns, 8);
}

void dgf_mp_put_duration(struct dgf_buf *buf, int32_t months, int32_t days, int64_t ns)
{
    uint8_t payload[16];

    store_be(payload, (uint32_t)months, 4);
    store_be(payload + 4, (uint32_t)days, 4);
    store_be(payload + 8, (uint64_t)ns, 8);
    dgf_mp_put_ext(buf, DGF_EXT_DURATION, dgf_bytes_of(payload, sizeof(payload)));
}

static size_t str_header(size_t len)
{
    return len < 32 ? 1 : len < 256 ? 2 : len < 65536 ? 3 : 5;
}

void dgf_mp_put_opaque(struct dgf_buf *buf, struct dgf_bytes type,
                       struct dgf_bytes text)
{
    /* Text that is no UTF-8 is kept as bytes, whose short header is 2. */
    bool is_text = dgf_utf8_valid(text);
    size_t header = str_header(text.len);

    if (too_long(buf, type.len) || too_long(buf, text.len))
        return;
    if (!is_text && header == 1)
        header = 2;
    header += str_header(type.len) + type.len + text.len;
    if (too_long(buf, header))
        return;
    (void)msgpack_pack_ext(PACKER(buf), header, DGF_EXT_OPAQUE);
    dgf_mp_put_str(buf, type);
    if (is_text)
        dgf_mp_put_str(buf, text);
    else
        dgf_mp_put_bin(buf, text);
}

void dgf_mp_put_unavailable(struct dgf_buf *buf, uint8_t why)
{
    put_fixed(buf, DGF_EXT_UNAVAILABLE, why, 1);
}
