/* findings_hide.c - secrets in what a finding says, and in the line it quotes. */
#include "base/findings.h"

#include <string.h>
#include <strings.h>

/* A star a character: what stands under the line keeps its column. */
static char *put_stars(char *to, const char *from, const char *end)
{
    for (; from < end; from++)
        if (((unsigned char)*from & 0xc0) != 0x80)
            *to++ = '*';
    return to;
}

/* "user:secret@" behind "://": from the colon to the last @ of the word. */
static const char *user_info(const char *at, const char **ret_end)
{
    const char *end = at + strcspn(at, " \t\n\"'"), *colon, *sign = NULL;

    for (const char *p = at; p < end; p++)
        if (*p == '@')
            sign = p;
    colon = memchr(at, ':', (size_t)(end - at));
    if (!sign || !colon || colon > sign)
        return NULL;
    *ret_end = sign;
    return colon + 1;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool dgf_is_variable(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_letter(name[i]) && name[i] != '_' && (i == 0 || !is_digit(name[i])))
            return false;
    return len > 0;
}

#define KEY_MIN \
    16 /* shorter than that is the name of a field or file, no account key */

/* Length of a word at `at` behind which a secret stands; 0: none.  *ret_min: least
 * length of the secret. */
static size_t secret_word(const char *at, size_t *ret_min)
{
    static const char *const parts[] = {"password", "passwd",          "passphrase",
                                        "secret",   "token",           "accountkey",
                                        "sig=",     "sharedaccesskey="};
    static const char *const ends[] = {"key", "sas", "sig"}; /* also AccountKey */

    *ret_min = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strncasecmp(at, parts[i], strlen(parts[i])) == 0)
            return strcspn(parts[i], "=");
    *ret_min = KEY_MIN;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (strncasecmp(at, ends[i], strlen(ends[i])) == 0 &&
            !is_word(at[strlen(ends[i])]))
            return strlen(ends[i]);
    return 0;
}

/* The value behind "...password: " or "...secret=". */
static const char *value_of_secret(const char *at, const char **ret_end)
{
    size_t min, len = secret_word(at, &min);
    const char *close;

    if (!len)
        return NULL;
    at += len;
    while (is_word(*at))
        at++;
    at += *at == '"' || *at == '\'';
    at += strspn(at, " \t");
    if ((*at != ':' && *at != '=') || at[1] == '=')
        return NULL;
    at++;
    at += strspn(at, " \t");
    if (*at == '"' || *at == '\'') {
        close = strchr(at + 1, *at);
        *ret_end = close ? close : at + strlen(at);
        return (size_t)(*ret_end - at) > min ? at + 1 : NULL;
    }
    *ret_end = at + strcspn(at, ",&}]\"' \t");
    if (strncmp(at, "${", 2) == 0) { /* a reference tells nothing, its default may */
        close = strchr(at, '}');
        *ret_end = close ? close + 1 : at + strlen(at);
        if (close && !memmem(at, (size_t)(close - at), ":-", 2))
            return *ret_end;
    }
    return (size_t)(*ret_end - at) >= min ? at : NULL;
}

/* ---- what looks like a key, wherever it stands ---- */

/* As many characters of base64 in a row are no name and no word. */
#define RUN_MIN 40

enum { UPPER, LOWER, DIGIT, SIGN, SLASH };

/* What a character of base64 is; -1: none.  %2B, %2F and %3D are three of them. */
static int class_of(const char *at)
{
    if (*at == '%')
        return !strncasecmp(at, "%2b", 3) || !strncasecmp(at, "%2f", 3) ||
                       !strncasecmp(at, "%3d", 3)
                   ? SIGN
                   : -1;
    return *at == '/'        ? SLASH
           : *at == '+'      ? SIGN
           : is_digit(*at)   ? DIGIT
           : !is_letter(*at) ? -1
           : *at >= 'a'      ? LOWER
                             : UPPER;
}

/* Digits of one case only, as a hash or an id is written. */
static bool is_hex(const char *at, const char *end)
{
    size_t len = (size_t)(end - at);

    return strspn(at, "0123456789abcdef") >= len ||
           strspn(at, "0123456789ABCDEF") >= len;
}

/* Words change between kinds of letters now and then, keys at two of three places. */
static bool looks_random(const char *at, const char *end)
{
    size_t n = 0, changes = 0, seen[SLASH + 1] = {0};
    int before = SLASH;

    while (at < end) {
        const char *stop = memchr(at, '/', (size_t)(end - at));
        int is = class_of(at);

        stop = stop ? stop : end;
        if (before == SLASH && stop - at >= 16 && is_hex(at, stop)) {
            at = stop; /* a hash in a path */
            continue;
        }
        n++;
        seen[is]++;
        changes += is != before && is != SLASH && before != SLASH;
        before = is;
        at += *at == '%' ? 3 : 1;
    }
    return seen[UPPER] && seen[LOWER] && changes * 5 >= n * 2;
}

/* A key, and no path or hash: of paths, the words between slashes are short. */
static bool is_key(const char *at, const char *end)
{
    bool upper = false, lower = false, digit = false;
    const char *word = at;

    if (end - at < RUN_MIN || is_hex(at, end))
        return false;
    for (const char *p = at; p <= end; p++) {
        if (p < end && *p != '/') {
            upper = upper || class_of(p) == UPPER;
            lower = lower || class_of(p) == LOWER;
            digit = digit || class_of(p) == DIGIT;
            continue;
        }
        if (p - word >= RUN_MIN && upper + lower + digit > 1 && !is_hex(word, p))
            return true;
        word = p + 1;
        upper = lower = digit = false;
    }
    return looks_random(at, end);
}

static const char *end_of_run(const char *at)
{
    while (class_of(at) >= 0)
        at += *at == '%' ? 3 : 1;
    return at;
}

/* "${what is no name}": between the braces, up to a default.  A file's name is looked
 * at like any text. */
static const char *odd_reference(const char *at, const char **ret_end)
{
    const char *fallback;
    size_t len;

    if (strncmp(at, "${", 2) != 0 || strncmp(at, "${file:", 7) == 0)
        return NULL;
    at += 2;
    *ret_end = at + strcspn(at, "}\"'");
    if (**ret_end != '}')
        return NULL; /* not closed: looked at like any text */
    fallback = memmem(at, (size_t)(*ret_end - at), ":-", 2);
    if (fallback && dgf_is_variable(at, (size_t)(fallback - at)))
        return NULL;
    len = (size_t)(*ret_end - at);
    if (len > 3 && memcmp(*ret_end - 3, "...", 3) == 0)
        len -= 3; /* a text that quotes the begin of one */
    return dgf_is_variable(at, len) || strncmp(at, "***}", 4) == 0 ? NULL : at;
}

/* Stars over what looks like a key and over references that are none. */
static void hide_keys(char *text)
{
    const char *from = text;
    char *to = text;

    while (*from) {
        const char *end, *run = end_of_run(from), *odd = odd_reference(from, &end);

        if (odd) {
            *to++ = '$';
            *to++ = '{';
            to = put_stars(to, odd, end);
            from = end;
        } else if (is_key(from, run)) {
            run += strspn(run, "=");
            to = put_stars(to, from, run);
            from = run;
        } else {
            do
                *to++ = *from++;
            while (from < run);
        }
    }
    *to = '\0';
}

/* ---- lines and texts ---- */

/* Behind a secret, what follows a '#' is the rest of it, or the one before. */
static void hide_comment(char *at)
{
    char *end;

    while (*at && !((*at == ' ' || *at == '\t') && at[1] == '#'))
        at++;
    if (!*at)
        return;
    at += 2;
    at += strspn(at, " ");
    end = put_stars(at, at, at + strlen(at));
    *end = '\0';
}

void dgf_line_hide(char *line, unsigned col, unsigned len)
{
    size_t rest;
    char *from = line, *end, *to;

    for (; col > 1 && *from; col--)
        for (from++; ((unsigned char)*from & 0xc0) == 0x80;)
            from++;
    for (end = from; *end && len > 0; len--)
        for (end++; ((unsigned char)*end & 0xc0) == 0x80;)
            end++;
    if (end == from)
        end += strlen(end);
    rest = strlen(end) + 1;
    to = put_stars(from, from, end);
    memmove(to, end, rest);
    hide_comment(to);
}

/* In a line of a file: "password: x", "secret=x", "://user:x@".  In a text only what
 * is written like a parameter: a text may well say "token: it is over". */
static void hide_values(char *line, bool is_line)
{
    const char *from = line;
    char *to = line, *behind = NULL;

    while (*from) {
        const char *end = NULL, *secret = NULL;

        if (strncmp(from, "://", 3) == 0)
            secret = user_info(from + 3, &end);
        else
            secret = value_of_secret(from, &end);
        if (secret && !is_line && *from != ':' && secret[-1] != '=' &&
            (secret[-1] == ' ' || secret[-2] != '='))
            secret = NULL;
        if (!secret) {
            *to++ = *from++;
            continue;
        }
        memmove(to, from, (size_t)(secret - from));
        to = put_stars(to + (secret - from), secret, end);
        from = end;
        behind = behind ? behind : to;
    }
    *to = '\0';
    if (is_line && behind)
        hide_comment(behind);
}

void dgf_findings_hide(char *line)
{
    hide_values(line, true);
    hide_keys(line);
}

void dgf_text_hide(char *text)
{
    hide_values(text, false);
    hide_keys(text);
}
