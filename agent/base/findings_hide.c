/* findings_hide.c - secrets in a line of a file that a finding quotes. */
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
    const char *end = at + strcspn(at, " \t\"'"), *colon, *sign = NULL;

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

void dgf_line_hide(char *line, unsigned col, unsigned len)
{
    size_t rest;
    char *from = line, *end;

    for (; col > 1 && *from; col--)
        for (from++; ((unsigned char)*from & 0xc0) == 0x80;)
            from++;
    for (end = from; *end && len > 0; len--)
        for (end++; ((unsigned char)*end & 0xc0) == 0x80;)
            end++;
    if (end == from)
        end += strlen(end);
    rest = strlen(end) + 1;
    memmove(put_stars(from, from, end), end, rest);
}

void dgf_findings_hide(char *line)
{
    const char *from = line;
    char *to = line;

    while (*from) {
        const char *end = NULL, *secret = NULL;

        if (strncmp(from, "://", 3) == 0)
            secret = user_info(from + 3, &end);
        else
            secret = value_of_secret(from, &end);
        if (!secret) {
            *to++ = *from++;
            continue;
        }
        memmove(to, from, (size_t)(secret - from));
        to = put_stars(to + (secret - from), secret, end);
        from = end;
    }
    *to = '\0';
}
