#include "ledger/archive_line.h"

#include "base/parse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

struct at {
    const uint8_t *p, *end;
};

static void skip_space(struct at *at)
{
    while (at->p < at->end &&
           (*at->p == ' ' || *at->p == '\t' || *at->p == '\r' || *at->p == '\n'))
        at->p++;
}

/* The next byte of a text that is not just itself: quote, backslash, control
 * character, or the begin of a longer character. */
static inline const uint8_t *next_special(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__)
    while (end - p >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)p);
        /* As signed numbers, those from 0x80 on are below 0x20 too. */
        __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        int mask = _mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));

        if (mask)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Behind a backslash. */
static bool skip_escape(struct at *at)
{
    uint8_t c;

    if (at->p == at->end)
        return false;
    c = *at->p++;
    if (c != 'u')
        return c && strchr("\"\\/bfnrt", c);
    if (at->end - at->p < 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (!is_hex(*at->p++))
            return false;
    return true;
}

/* One character of two to four bytes: shortest form, no surrogate. */
static bool skip_character(struct at *at)
{
    const uint8_t *p = at->p;
    size_t n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;

    if ((size_t)(at->end - p) < n || !dgf_utf8_valid(dgf_bytes_of(p, n)))
        return false;
    at->p += n;
    return true;
}

/* Stands on the quote. */
static inline bool skip_text(struct at *at, struct dgf_bytes *ret)
{
    const uint8_t *begin = ++at->p;

    for (;;) {
        at->p = next_special(at->p, at->end);
        if (at->p == at->end || *at->p < 0x20)
            return false;
        if (*at->p == '"') {
            *ret = dgf_bytes_of(begin, (size_t)(at->p - begin));
            at->p++;
            return true;
        }
        if (*at->p == '\\') {
            at->p++;
            if (!skip_escape(at))
                return false;
        } else if (!skip_character(at)) {
            return false;
        }
    }
}

static bool skip_digits(struct at *at)
{
    const uint8_t *begin = at->p;

    while (at->p < at->end && *at->p >= '0' && *at->p <= '9')
        at->p++;
    return at->p > begin;
}

static bool skip_number(struct at *at)
{
    if (*at->p == '-')
        at->p++;
    if (at->p < at->end && *at->p == '0')
        at->p++;
    else if (!skip_digits(at))
        return false;
    if (at->p < at->end && *at->p == '.') {
        at->p++;
        if (!skip_digits(at))
            return false;
    }
    if (at->p < at->end && (*at->p | 0x20) == 'e') {
        at->p++;
        if (at->p < at->end && (*at->p == '+' || *at->p == '-'))
            at->p++;
        return skip_digits(at);
    }
    return true;
}

static bool skip_word(struct at *at)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);

        if ((size_t)(at->end - at->p) >= n && memcmp(at->p, words[i], n) == 0) {
            at->p += n;
            return true;
        }
    }
    return false;
}

static struct dgf_bytes *wanted(struct dgf_bytes key, struct dgf_archive_line *line)
{
    if (key.len == 3 && memcmp(key.ptr, "seq", 3) == 0)
        return &line->seq;
    if (key.len == 4 && memcmp(key.ptr, "kind", 4) == 0)
        return &line->kind;
    if (key.len == 4 && memcmp(key.ptr, "time", 4) == 0)
        return &line->time;
    if (key.len == 6 && memcmp(key.ptr, "logged", 6) == 0)
        return &line->logged;
    return NULL;
}

/* Bit d - 1 of objects: level d is an object. */
struct nest {
    uint64_t objects;
    unsigned depth;
};

static bool in_object(const struct nest *nest)
{
    return nest->objects >> (nest->depth - 1) & 1;
}

static bool open_nest(struct nest *nest, bool object)
{
    if (nest->depth == DGF_ARCHIVE_DEPTH_MAX)
        return false; /* lexically_deep() says that it was this */
    if (object)
        nest->objects |= UINT64_C(1) << nest->depth;
    else
        nest->objects &= ~(UINT64_C(1) << nest->depth);
    nest->depth++;
    return true;
}

/* Our own lines have no space between things. */
static inline void maybe_space(struct at *at)
{
    if (at->p < at->end && *at->p <= ' ')
        skip_space(at);
}

static bool closes(struct at *at, uint8_t bracket)
{
    maybe_space(at);
    if (at->p == at->end || *at->p != bracket)
        return false;
    at->p++;
    return true;
}

/* Written as jumps, for speed: each state knows what may come next. */
static bool is_json(struct dgf_bytes line, struct dgf_archive_line *ret)
{
    struct at at = {line.ptr, line.ptr + line.len};
    struct nest nest = {.depth = 0};
    struct dgf_bytes *field = NULL, text;
    const uint8_t *begin;

    skip_space(&at);
    if (at.p == at.end || *at.p != '{')
        return false;
value:
    maybe_space(&at);
    if (at.p == at.end)
        return false;
    begin = at.p;
    if (*at.p == '"') {
        if (!skip_text(&at, &text))
            return false;
        if (field && field != &ret->seq)
            *field = text;
    } else if (*at.p == '{' || *at.p == '[') {
        bool object = *at.p == '{';

        at.p++;
        if (!open_nest(&nest, object))
            return false;
        field = NULL;
        if (!closes(&at, object ? '}' : ']')) {
            if (object)
                goto key;
            goto value;
        }
        nest.depth--;
    } else if (*at.p == '-' || (*at.p >= '0' && *at.p <= '9')) {
        if (!skip_number(&at))
            return false;
        if (field && field == &ret->seq)
            *field = dgf_bytes_of(begin, (size_t)(at.p - begin));
    } else if (!skip_word(&at)) {
        return false;
    }
after:
    if (nest.depth == 0) {
        skip_space(&at);
        return at.p == at.end;
    }
    maybe_space(&at);
    if (at.p == at.end)
        return false;
    if (*at.p == ',') {
        at.p++;
        field = NULL;
        if (!in_object(&nest))
            goto value;
        goto key;
    }
    if (*at.p != (in_object(&nest) ? '}' : ']'))
        return false;
    at.p++;
    nest.depth--;
    goto after;
key:
    maybe_space(&at);
    if (at.p == at.end || *at.p != '"' || !skip_text(&at, &text))
        return false;
    if (!closes(&at, ':'))
        return false;
    field = nest.depth == 1 ? wanted(text, ret) : NULL;
    if (field) /* the last of its name counts */
        *field = dgf_bytes_of(NULL, 0);
    goto value;
}

/* Brackets outside of texts, whatever else the line is. */
static bool lexically_deep(struct dgf_bytes line)
{
    unsigned depth = 0;
    bool in_text = false;

    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.ptr[i];

        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
        } else if (c == '"') {
            in_text = true;
        } else if (c == '{' || c == '[') {
            if (++depth > DGF_ARCHIVE_DEPTH_MAX)
                return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

enum dgf_line_is dgf_archive_line_read(struct dgf_bytes line,
                                       struct dgf_archive_line *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (line.len > 0 && is_json(line, ret))
        return DGF_LINE_OK;
    memset(ret, 0, sizeof(*ret));
    return lexically_deep(line) ? DGF_LINE_TOO_DEEP : DGF_LINE_NO_JSON;
}

bool dgf_archive_line_seq(struct dgf_bytes line, uint64_t *ret)
{
    static const char begin[] = "{\"v\":1,\"seq\":";
    size_t at = sizeof(begin) - 1, from = at;

    if (line.len < sizeof(begin) || memcmp(line.ptr, begin, at) != 0)
        return false;
    while (at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9')
        at++;
    return at < line.len && line.ptr[at] == ',' &&
           dgf_parse_u64(dgf_bytes_of(line.ptr + from, at - from), ret);
}

const uint8_t *dgf_archive_text_end(const uint8_t *p, const uint8_t *end)
{
    struct at at = {p - 1, end};
    struct dgf_bytes text;

    return skip_text(&at, &text) ? at.p - 1 : NULL;
}

const uint8_t *dgf_archive_number_end(const uint8_t *p, const uint8_t *end)
{
    struct at at = {p, end};

    return skip_number(&at) ? at.p : NULL;
}
