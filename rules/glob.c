#include "glob.h"

#include <string.h>

#include "base/mem.h"

/* Between two parts, in names and patterns alike; no name holds it unquoted. */
#define PART_END 0x1f

enum token_kind { LITERAL, STAR, STAR_STAR };

struct token {
    uint8_t kind, byte;
};

static const char *separators(const char *source_type)
{
    if (source_type && strcmp(source_type, "redis") == 0)
        return ":";
    if (source_type && strcmp(source_type, "blob") == 0)
        return "/";
    return ".";
}

/* -1: too long or a quote is open. */
static int read_pattern(const char *pattern, const char *ends, struct token *tokens)
{
    bool quoted = false;
    int n = 0;

    for (const char *p = pattern; *p; p++) {
        if (n >= DGF_GLOB_MAX)
            return -1;
        if (*p == '"') {
            if (quoted && p[1] == '"') /* a quote inside quotes is written twice */
                tokens[n++] = (struct token){LITERAL, (uint8_t)*p++};
            else
                quoted = !quoted;
        } else if (quoted) {
            tokens[n++] = (struct token){LITERAL, (uint8_t)*p};
        } else if (p[0] == '*' && p[1] == '*') {
            tokens[n++] = (struct token){STAR_STAR, 0};
            p++;
        } else if (*p == '*') {
            tokens[n++] = (struct token){STAR, 0};
        } else {
            tokens[n++] =
                (struct token){LITERAL, strchr(ends, *p) ? PART_END : (uint8_t)*p};
        }
    }
    return quoted ? -1 : n;
}

/* Goes back to the last star only, and to the last double star beyond it. */
static bool match(const struct token *tokens, int n, const uint8_t *text, size_t len,
                  uint8_t part_end)
{
    int at = 0, star = -1, stars = -1;
    size_t i = 0, star_i = 0, stars_i = 0;

    for (;;) {
        if (at < n && tokens[at].kind == STAR_STAR) {
            stars = at++;
            stars_i = i;
            star = -1;
        } else if (at < n && tokens[at].kind == STAR) {
            star = at++;
            star_i = i;
        } else if (i < len && at < n && tokens[at].byte == text[i]) {
            at++;
            i++;
        } else if (i == len && at == n) {
            return true;
        } else if (star >= 0 && star_i < len && text[star_i] != part_end) {
            i = ++star_i;
            at = star + 1;
        } else if (stars >= 0 && stars_i < len) {
            i = ++stars_i;
            at = stars + 1;
            star = -1;
        } else {
            return false;
        }
    }
}

const char *dgf_glob_wrong(const char *pattern)
{
    struct token tokens[DGF_GLOB_MAX];

    if (!*pattern)
        return "it is empty";
    if (strlen(pattern) > DGF_GLOB_MAX)
        return "it is longer than 256 bytes";
    if (read_pattern(pattern, ".", tokens) < 0)
        return "a quote is not closed";
    return NULL;
}

/* Redis and blob names hold their parts inside one name. */
static uint8_t *put_name(uint8_t *to, const char *name, const char *ends)
{
    for (; *name; name++)
        *to++ = *ends != '.' && strchr(ends, *name) ? PART_END : (uint8_t)*name;
    return to;
}

/* Schema, name and field with PART_END between them; to has room for all. */
static size_t put_whole(uint8_t *to, const struct dgf_object *object, const char *ends,
                        struct dgf_bytes field)
{
    uint8_t *at = to;

    if (object->schema) {
        at = put_name(at, object->schema, ends);
        *at++ = PART_END;
    }
    at = put_name(at, object->name, ends);
    if (field.len > 0) {
        *at++ = PART_END;
        memcpy(at, field.ptr, field.len);
        at += field.len;
    }
    return (size_t)(at - to);
}

bool dgf_glob_object(const char *pattern, const struct dgf_object *object,
                     struct dgf_bytes field)
{
    struct token tokens[DGF_GLOB_MAX];
    uint8_t small[DGF_GLOB_MAX * 4], *text = small;
    const char *ends = separators(object->source_type);
    int n = read_pattern(pattern, ends, tokens);
    size_t most = field.len + strlen(object->name) + 2;
    bool matches;

    if (n < 0)
        return false;
    if (n == 1 && tokens[0].kind == STAR_STAR)
        return true;
    if (object->schema)
        most += strlen(object->schema);
    if (most > DGF_GLOB_NAME_MAX)
        return false;
    if (most > sizeof(small))
        text = dgf_malloc(most);
    if (!text)
        return false;
    matches = match(tokens, n, text, put_whole(text, object, ends, field), PART_END);
    if (text != small)
        dgf_free(text);
    return matches;
}

static size_t char_len(uint8_t byte)
{
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

/* The same walk as match(), on plain patterns with `?`. */
bool dgf_glob_text(struct dgf_bytes pattern, struct dgf_bytes text)
{
    const size_t none = SIZE_MAX;
    size_t at = 0, i = 0, star = none, star_i = 0, stars = none, stars_i = 0;

    for (;;) {
        uint8_t p = at < pattern.len ? pattern.ptr[at] : 0;

        if (p == '*' && at + 1 < pattern.len && pattern.ptr[at + 1] == '*') {
            at += 2;
            stars = at;
            stars_i = i;
            star = none;
        } else if (p == '*') {
            star = ++at;
            star_i = i;
        } else if (at < pattern.len && i < text.len &&
                   (p == text.ptr[i] || (p == '?' && text.ptr[i] != '/'))) {
            i += p == '?' ? char_len(text.ptr[i]) : 1;
            i = i > text.len ? text.len : i;
            at++;
        } else if (i == text.len && at == pattern.len) {
            return true;
        } else if (star != none && star_i < text.len && text.ptr[star_i] != '/') {
            i = ++star_i;
            at = star;
        } else if (stars != none && stars_i < text.len) {
            i = ++stars_i;
            at = stars;
            star = none;
        } else {
            return false;
        }
    }
}
