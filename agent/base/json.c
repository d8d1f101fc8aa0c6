#include "base/json.h"

#include "base/parse.h"

static inline void comma(struct dgf_json *json)
{
    if (json->comma)
        dgf_buf_add_byte(json->buf, ',');
}

static void open_with(struct dgf_json *json, uint8_t bracket)
{
    comma(json);
    dgf_buf_add_byte(json->buf, bracket);
    json->comma = false;
}

static void close_with(struct dgf_json *json, uint8_t bracket)
{
    dgf_buf_add_byte(json->buf, bracket);
    json->comma = true;
}

void dgf_json_begin_object(struct dgf_json *json)
{
    open_with(json, '{');
}

void dgf_json_end_object(struct dgf_json *json)
{
    close_with(json, '}');
}

void dgf_json_begin_array(struct dgf_json *json)
{
    open_with(json, '[');
}

void dgf_json_end_array(struct dgf_json *json)
{
    close_with(json, ']');
}

void dgf_json_key(struct dgf_json *json, const char *name)
{
    size_t len = strlen(name), at = 0;
    uint8_t *to = dgf_buf_room(json->buf, len + 4);

    if (!to)
        return;
    if (json->comma)
        to[at++] = ',';
    to[at++] = '"';
    memcpy(to + at, name, len);
    at += len;
    to[at++] = '"';
    to[at++] = ':';
    json->buf->len += at;
    json->comma = false;
}

/* A NUL in a name is legal and many readers refuse it: it becomes U+FFFD. */
static void text_without_nul(struct dgf_json *json, struct dgf_bytes name)
{
    struct dgf_buf clean;

    dgf_buf_init(&clean, name.len * 3);
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i])
            dgf_buf_add_byte(&clean, name.ptr[i]);
        else
            dgf_buf_add_str(&clean, "\xef\xbf\xbd");
    if (dgf_buf_rc(&clean))
        json->buf->rc = DGF_NOMEM;
    else
        dgf_json_text(json, dgf_buf_bytes(&clean));
    dgf_buf_release(&clean);
}

void dgf_json_key_bytes(struct dgf_json *json, struct dgf_bytes name)
{
    if (name.len && memchr(name.ptr, '\0', name.len))
        text_without_nul(json, name);
    else
        dgf_json_text(json, name);
    dgf_buf_add_byte(json->buf, ':');
    json->comma = false;
}

/* True for a byte that JSON wants escaped: below 0x20, '"' and '\\'. */
static const uint8_t needs_escape[256] = {
    [0 ... 0x1f] = 1,
    ['"'] = 1,
    ['\\'] = 1,
};

#define ONES 0x0101010101010101u
#define HIGH 0x8080808080808080u

/* Eight bytes at once: a high bit where a byte is one of those. */
static inline uint64_t escapes_in(uint64_t word)
{
    uint64_t quote = word ^ ONES * '"', backslash = word ^ ONES * '\\';
    uint64_t control = (word - ONES * 0x20) & ~word;

    return (control | ((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash)) &
           HIGH;
}

static size_t plain_run(const uint8_t *p, size_t len)
{
    size_t at = 0;
    uint64_t word;

    for (; at + 8 <= len; at += 8) {
        memcpy(&word, p + at, 8);
        if (escapes_in(word))
            break; /* the borrow may blame a later byte: look at each */
    }
    while (at < len && !needs_escape[p[at]])
        at++;
    return at;
}

static void escape_byte(struct dgf_buf *buf, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
        ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    char text[6] = {'\\', letters[byte]};
    size_t len = 2;

    if (!letters[byte]) {
        memcpy(text + 1, "u00", 3);
        text[4] = digits[byte >> 4];
        text[5] = digits[byte & 15];
        len = 6;
    }
    dgf_buf_add(buf, text, len);
}

void dgf_json_escape(struct dgf_buf *buf, struct dgf_bytes text)
{
    size_t at = 0, run;

    while (at < text.len) {
        run = plain_run(text.ptr + at, text.len - at);
        dgf_buf_add(buf, text.ptr + at, run);
        at += run;
        if (at < text.len)
            escape_byte(buf, text.ptr[at++]);
    }
}

void dgf_json_text(struct dgf_json *json, struct dgf_bytes text)
{
    struct dgf_buf *buf = json->buf;
    size_t run = plain_run(text.ptr, text.len), at = 0;
    uint8_t *to = text.len < SIZE_MAX - 3 ? dgf_buf_room(buf, text.len + 3) : NULL;

    if (!to) {
        buf->rc = DGF_NOMEM;
        return;
    }
    if (json->comma)
        to[at++] = ',';
    to[at++] = '"';
    if (run > 0)
        memcpy(to + at, text.ptr, run);
    at += run;
    buf->len += at;
    if (run < text.len)
        dgf_json_escape(buf, dgf_bytes_of(text.ptr + run, text.len - run));
    dgf_buf_add_byte(buf, '"');
    json->comma = true;
}

void dgf_json_str(struct dgf_json *json, const char *text)
{
    dgf_json_text(json, dgf_bytes_str(text));
}

void dgf_json_i64(struct dgf_json *json, int64_t value)
{
    comma(json);
    dgf_buf_add_i64(json->buf, value);
    json->comma = true;
}

void dgf_json_u64(struct dgf_json *json, uint64_t value)
{
    comma(json);
    dgf_buf_add_u64(json->buf, value);
    json->comma = true;
}

void dgf_json_bool(struct dgf_json *json, bool value)
{
    dgf_json_raw(json, value ? DGF_BYTES("true") : DGF_BYTES("false"));
}

void dgf_json_null(struct dgf_json *json)
{
    dgf_json_raw(json, DGF_BYTES("null"));
}

void dgf_json_double(struct dgf_json *json, double value)
{
    comma(json);
    dgf_json_format_double(json->buf, value);
    json->comma = true;
}

void dgf_json_time(struct dgf_json *json, int64_t ns)
{
    comma(json);
    dgf_buf_add_byte(json->buf, '"');
    dgf_format_time(json->buf, ns);
    dgf_buf_add_byte(json->buf, '"');
    json->comma = true;
}

void dgf_json_raw(struct dgf_json *json, struct dgf_bytes raw)
{
    comma(json);
    dgf_buf_add_bytes(json->buf, raw);
    json->comma = true;
}
