#include "cel/lexer.h"

#include <string.h>

#include "base/parse.h"

static int peek(const struct dgf_cel_lexer *lexer, uint32_t ahead)
{
    size_t at = (size_t)lexer->at + ahead;

    return at < lexer->text.len ? lexer->text.ptr[at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int hex_digit(int c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void skip_blank(struct dgf_cel_lexer *lexer)
{
    for (;;) {
        int c = peek(lexer, 0);

        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            lexer->at++;
        } else if (c == '/' && peek(lexer, 1) == '/') {
            while (c != '\n' && c != -1)
                c = peek(lexer, (lexer->at++, 0));
        } else {
            return;
        }
    }
}

static struct dgf_cel_token token_of(struct dgf_cel_lexer *lexer, uint32_t start,
                                     enum dgf_cel_token_kind kind)
{
    return (struct dgf_cel_token){
        .kind = kind, .offset = start, .len = lexer->at - start};
}

static struct dgf_cel_token bad(struct dgf_cel_lexer *lexer, uint32_t start,
                                const char *code, const char *text)
{
    uint32_t len = lexer->at > start ? lexer->at - start : 1;

    dgf_cel_issue_add(lexer->issues, code, start, len, NULL, "%s", text);
    return token_of(lexer, start, DGF_CEL_TK_BAD);
}

static bool skip_digits(struct dgf_cel_lexer *lexer)
{
    bool any = false;

    for (; is_digit(peek(lexer, 0)); any = true)
        lexer->at++;
    return any;
}

static void skip_exponent(struct dgf_cel_lexer *lexer, bool *is_double)
{
    uint32_t start = lexer->at;

    if (peek(lexer, 0) != 'e' && peek(lexer, 0) != 'E')
        return;
    lexer->at++;
    if (peek(lexer, 0) == '+' || peek(lexer, 0) == '-')
        lexer->at++;
    if (skip_digits(lexer))
        *is_double = true;
    else
        lexer->at = start;
}

static struct dgf_cel_token number(struct dgf_cel_lexer *lexer)
{
    uint32_t start = lexer->at;
    bool is_double = false;

    if (peek(lexer, 0) == '0' && (peek(lexer, 1) == 'x' || peek(lexer, 1) == 'X')) {
        lexer->at += 2;
        if (hex_digit(peek(lexer, 0)) < 0)
            return bad(lexer, start, "E0306", "hexadecimal digits are missing");
        while (hex_digit(peek(lexer, 0)) >= 0)
            lexer->at++;
    } else {
        skip_digits(lexer);
        if (peek(lexer, 0) == '.' && is_digit(peek(lexer, 1))) {
            lexer->at++;
            skip_digits(lexer);
            is_double = true;
        }
        skip_exponent(lexer, &is_double);
    }
    if (!is_double && (peek(lexer, 0) == 'u' || peek(lexer, 0) == 'U')) {
        struct dgf_cel_token token = token_of(lexer, start, DGF_CEL_TK_UINT);

        lexer->at++;
        return token;
    }
    if (is_letter(peek(lexer, 0)))
        return bad(lexer, start, "E0306", "a number ends in a letter");
    return token_of(lexer, start, is_double ? DGF_CEL_TK_DOUBLE : DGF_CEL_TK_INT);
}

/* How many letters of a string prefix (r, b, rb, br) stand before a quote. */
static unsigned prefix_len(const struct dgf_cel_lexer *lexer, bool *ret_bytes)
{
    bool raw = false, bytes = false;
    unsigned n = 0;

    for (; n < 2; n++) {
        int c = peek(lexer, n);

        if ((c == 'r' || c == 'R') && !raw)
            raw = true;
        else if ((c == 'b' || c == 'B') && !bytes)
            bytes = true;
        else
            break;
    }
    *ret_bytes = bytes;
    return peek(lexer, n) == '"' || peek(lexer, n) == '\'' ? n : UINT32_MAX;
}

static struct dgf_cel_token string(struct dgf_cel_lexer *lexer, unsigned prefix,
                                   bool bytes)
{
    uint32_t start = lexer->at;
    bool raw = false, triple;
    int quote;

    for (; prefix > 0; prefix--, lexer->at++)
        raw |= peek(lexer, 0) == 'r' || peek(lexer, 0) == 'R';
    quote = peek(lexer, 0);
    triple = peek(lexer, 1) == quote && peek(lexer, 2) == quote;
    lexer->at += triple ? 3 : 1;
    for (;; lexer->at++) {
        int c = peek(lexer, 0);

        if (c == -1 || (!triple && (c == '\n' || c == '\r')))
            return bad(lexer, start, "E0301", "a text is not closed");
        if (c == '\\' && !raw) {
            lexer->at++;
            if (peek(lexer, 0) == -1)
                return bad(lexer, start, "E0301", "a text is not closed");
            continue;
        }
        if (c != quote)
            continue;
        if (!triple)
            break;
        if (peek(lexer, 1) == quote && peek(lexer, 2) == quote) {
            lexer->at += 2;
            break;
        }
    }
    lexer->at++;
    return token_of(lexer, start, bytes ? DGF_CEL_TK_BYTES : DGF_CEL_TK_STRING);
}

static struct dgf_cel_token quoted_name(struct dgf_cel_lexer *lexer)
{
    uint32_t start = lexer->at++;

    for (;; lexer->at++) {
        int c = peek(lexer, 0);

        if (c == '`')
            break;
        if (!is_letter(c) && !is_digit(c) && c != '.' && c != '-' && c != '/' &&
            c != ' ')
            return bad(lexer, start, "E0301",
                       "a quoted name holds letters, digits and . - / only");
    }
    lexer->at++;
    return token_of(lexer, start, DGF_CEL_TK_QUOTED);
}

/* What word processors make of quotes. */
static bool is_typographic(struct dgf_bytes sign)
{
    static const char *const quotes[] = {"\u2018", "\u2019", "\u201a", "\u201b",
                                         "\u201c", "\u201d", "\u201e", "\u201f",
                                         "\u00ab", "\u00bb", "\u00b4"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(quotes); i++)
        if (dgf_bytes_eq(sign, dgf_bytes_str(quotes[i])))
            return true;
    return false;
}

static struct dgf_cel_token symbol(struct dgf_cel_lexer *lexer)
{
    static const char pairs[][3] = {"==", "!=", "<=", ">=", "&&", "||"};
    /* Of other languages; none of them can begin anything here. */
    static const struct {
        const char *sign, *text;
    } foreign[] = {
        {"===", "'===' is no operator: write '=='"},
        {"!==", "'!==' is no operator: write '!='"},
        {"<>", "'<>' is no operator: write '!='"},
        {"=>", "'=>' is no operator: write '>='"},
        {"=<", "'=<' is no operator: write '<='"},
    };
    uint32_t start = lexer->at;
    int c = peek(lexer, 0), next = peek(lexer, 1);
    struct dgf_cel_token token;

    for (size_t i = 0; i < DGF_ARRAY_LEN(foreign); i++) {
        size_t len = strlen(foreign[i].sign);

        if (len <= lexer->text.len - start &&
            memcmp(lexer->text.ptr + start, foreign[i].sign, len) == 0) {
            lexer->at += (uint32_t)len;
            return bad(lexer, start, "E0301", foreign[i].text);
        }
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(pairs); i++) {
        if (c == pairs[i][0] && next == pairs[i][1]) {
            lexer->at += 2;
            token = token_of(lexer, start, DGF_CEL_TK_SYMBOL);
            token.symbol = DGF_CEL_SYM2(c, next);
            return token;
        }
    }
    lexer->at++;
    if (c == '=')
        return bad(lexer, start, "E0301", "'=' compares nothing: write '=='");
    if (c == '&' || c == '|')
        return bad(lexer, start, "E0301",
                   c == '&' ? "'&' is no operator: write '&&'"
                            : "'|' is no operator: write '||'");
    if (c == 0 || !strchr("+-*/%<>!?:.,()[]{}", c)) {
        while ((peek(lexer, 0) & 0xc0) == 0x80 && peek(lexer, 0) != -1)
            lexer->at++;
        if (is_typographic(dgf_bytes_of(lexer->text.ptr + start, lexer->at - start)))
            return bad(lexer, start, "E0301",
                       "a typographic quote: texts stand in plain quotes, 'a' or "
                       "\"a\"");
        return bad(lexer, start, "E0301", "a character that means nothing here");
    }
    token = token_of(lexer, start, DGF_CEL_TK_SYMBOL);
    token.symbol = c;
    return token;
}

struct dgf_cel_token dgf_cel_lex(struct dgf_cel_lexer *lexer)
{
    unsigned prefix;
    bool bytes;
    int c;

    skip_blank(lexer);
    c = peek(lexer, 0);
    if (c == -1)
        return token_of(lexer, lexer->at, DGF_CEL_TK_END);
    prefix = prefix_len(lexer, &bytes);
    if (prefix != UINT32_MAX)
        return string(lexer, prefix, bytes);
    if (is_letter(c)) {
        uint32_t start = lexer->at;

        while (is_letter(peek(lexer, 0)) || is_digit(peek(lexer, 0)))
            lexer->at++;
        return token_of(lexer, start, DGF_CEL_TK_IDENT);
    }
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1))))
        return number(lexer);
    return c == '`' ? quoted_name(lexer) : symbol(lexer);
}

/* ---- escapes ---- */

struct unescape {
    const uint8_t *at, *end;
    uint8_t *out;
    bool bytes;
};

static void put_utf8(struct unescape *u, uint32_t c)
{
    if (c < 0x80) {
        *u->out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *u->out++ = (uint8_t)(0xc0 | c >> 6);
        *u->out++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *u->out++ = (uint8_t)(0xe0 | c >> 12);
        *u->out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *u->out++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *u->out++ = (uint8_t)(0xf0 | c >> 18);
        *u->out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *u->out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *u->out++ = (uint8_t)(0x80 | (c & 0x3f));
    }
}

static bool digits(struct unescape *u, unsigned n, unsigned base, uint32_t *ret)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < n; i++) {
        int d = u->at < u->end ? hex_digit(*u->at) : -1;

        if (d < 0 || (unsigned)d >= base)
            return false;
        value = value * base + (unsigned)d;
        u->at++;
    }
    *ret = value;
    return true;
}

/* One escape, its backslash read already. */
static bool escape(struct unescape *u)
{
    static const char names[] = "abfnrtv\"'\\?`";
    static const char means[] = "\a\b\f\n\r\t\v\"'\\?`";
    uint32_t value;
    const char *name;
    int c = *u->at++;

    name = c ? strchr(names, c) : NULL;
    if (name) {
        *u->out++ = (uint8_t)means[name - names];
        return true;
    }
    if (c == 'x' || c == 'X') {
        if (!digits(u, 2, 16, &value))
            return false;
    } else if (c >= '0' && c <= '3') {
        u->at--;
        if (!digits(u, 3, 8, &value))
            return false;
    } else if (c == 'u' || c == 'U') {
        if (u->bytes || !digits(u, c == 'u' ? 4 : 8, 16, &value) || value > 0x10ffff ||
            (value >= 0xd800 && value <= 0xdfff))
            return false;
    } else {
        return false;
    }
    if (u->bytes)
        *u->out++ = (uint8_t)value;
    else
        put_utf8(u, value);
    return true;
}

bool dgf_cel_unescape(struct dgf_cel_lexer *lexer, const struct dgf_cel_token *token,
                      struct dgf_arena *arena, struct dgf_bytes *ret)
{
    const uint8_t *start = lexer->text.ptr + token->offset;
    struct unescape u = {start, start + token->len, NULL,
                         token->kind == DGF_CEL_TK_BYTES};
    bool raw = false;
    uint8_t *out = dgf_arena_alloc(arena, token->len + 1);

    if (!out)
        return false;
    u.out = out;
    for (; *u.at != '"' && *u.at != '\''; u.at++)
        raw |= *u.at == 'r' || *u.at == 'R';
    /* quotes are the same length at both ends */
    if (u.end - u.at >= 6 && u.at[1] == u.at[0] && u.at[2] == u.at[0]) {
        u.at += 3;
        u.end -= 3;
    } else {
        u.at++;
        u.end--;
    }
    while (u.at < u.end) {
        const uint8_t *from = u.at;

        if (*u.at != '\\' || raw) {
            *u.out++ = *u.at++;
            continue;
        }
        u.at++;
        if (!escape(&u)) {
            dgf_cel_issue_add(lexer->issues, "E0306",
                              (uint32_t)(from - lexer->text.ptr), 2, NULL,
                              "unknown or incomplete escape in a text");
            return false;
        }
    }
    *ret = dgf_bytes_of(out, (size_t)(u.out - out));
    if (!u.bytes && !dgf_utf8_valid(*ret)) {
        dgf_cel_issue_add(lexer->issues, "E0306", token->offset, token->len, NULL,
                          "a text is not valid UTF-8");
        return false;
    }
    return true;
}
