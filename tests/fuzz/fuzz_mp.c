/* The msgpack cursor and its way to JSON on any bytes: what is well-formed is walked,
 * skipped and converted whole, what is not is refused, and nothing else is read. */
#include "base/mp.h"

#include <assert.h>
#include <stdint.h>

#include "base/json.h"
#include "base/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

/* Tokens to the end of the input; what they borrow lies inside. */
static void walk(const uint8_t *ptr, size_t len)
{
    struct dgf_mp mp = dgf_mp_of(dgf_bytes_of(ptr, len));
    struct dgf_mp_token token;
    int64_t seconds;
    uint32_t ns;

    while (dgf_mp_next(&mp, &token) == DGF_OK) {
        assert(mp.ptr <= mp.end && mp.end == ptr + len);
        if (token.kind == DGF_MP_ARRAY || token.kind == DGF_MP_MAP)
            assert(token.n <= (size_t)(mp.end - mp.ptr));
        if (token.kind == DGF_MP_STR || token.kind == DGF_MP_BIN ||
            token.kind == DGF_MP_EXT)
            assert(token.bytes.len == 0 ||
                   (token.bytes.ptr >= ptr &&
                    token.bytes.ptr + token.bytes.len <= mp.ptr));
        if (token.kind == DGF_MP_EXT && dgf_mp_timestamp(&token, &seconds, &ns))
            assert(ns < 1000000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes bytes = dgf_bytes_of(ptr, len), value, found;
    struct dgf_mp mp = dgf_mp_of(bytes);
    struct dgf_buf text;
    struct dgf_json json = dgf_json_of(&text);
    bool good = dgf_mp_check(bytes) == DGF_OK;

    walk(ptr, len);
    dgf_buf_init(&text, 64u << 20);
    if (good) {
        assert(dgf_mp_value(&mp, &value) == DGF_OK && mp.ptr == mp.end);
        assert(value.ptr == ptr && value.len == len);
    } else {
        (void)!dgf_mp_skip(&mp);
    }
    if (dgf_json_msgpack(&json, bytes) == DGF_OK) /* also wants texts as keys */
        assert(good && !dgf_buf_rc(&text) && dgf_utf8_valid(dgf_buf_bytes(&text)));
    else
        assert(text.len == 0);
    if (dgf_mp_find(bytes, DGF_BYTES("id"), &found) == DGF_OK)
        assert(found.ptr > ptr && found.ptr + found.len <= ptr + len);
    dgf_buf_release(&text);
    return 0;
}
