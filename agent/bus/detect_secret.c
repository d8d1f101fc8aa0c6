/* Private keys and tokens whose form says what they are. */
#include "bus/detect_part.h"

#define JWT_PART_MIN 10
#define JWT_MAX 16384
#define PEM_MAX 16384

enum chars { UPPER_DIGIT, ALNUM, WORD, URL, BASE64 }; /* WORD: and _; URL: and _ - */

struct form {
    const char *prefix;
    enum chars chars;
    unsigned min, max; /* characters after the prefix */
};

static const struct form forms[] = {
    {"AKIA", UPPER_DIGIT, 16, 16}, /* AWS access key, temporary key */
    {"ASIA", UPPER_DIGIT, 16, 16},
    {"AIza", URL, 35, 35},                /* Google API key */
    {"AccountKey=", BASE64, 86, 88},      /* Azure storage connection string */
    {"SharedAccessKey=", BASE64, 42, 88}, /* Azure Service Bus, Event Hubs */
    {"ghp_", ALNUM, 36, 255},             /* GitHub */
    {"gho_", ALNUM, 36, 255},
    {"ghu_", ALNUM, 36, 255},
    {"ghs_", ALNUM, 36, 255},
    {"ghr_", ALNUM, 36, 255},
    {"github_pat_", WORD, 60, 255},
    {"glpat-", URL, 20, 64}, /* GitLab */
    {"npm_", ALNUM, 36, 36},
    {"sk_live_", ALNUM, 16, 255}, /* Stripe */
    {"rk_live_", ALNUM, 16, 255},
    {"xoxa-", URL, 10, 255}, /* Slack */
    {"xoxb-", URL, 10, 255},
    {"xoxe-", URL, 10, 255},
    {"xoxp-", URL, 10, 255},
    {"xoxr-", URL, 10, 255},
    {"xoxs-", URL, 10, 255},
};

static bool is_char(enum chars chars, int c)
{
    switch (chars) {
    case UPPER_DIGIT:
        return is_upper(c) || is_digit(c);
    case ALNUM:
        return is_alnum(c);
    case WORD:
        return is_alnum(c) || c == '_';
    case URL:
        return is_alnum(c) || c == '_' || c == '-';
    case BASE64:
        return is_alnum(c) || c == '+' || c == '/' || c == '=';
    }
    return false;
}

static size_t run(struct dgf_bytes text, size_t at, enum chars chars, size_t max)
{
    size_t n = 0;

    while (n < max && is_char(chars, byte_at(text, at + n)))
        n++;
    return n;
}

static bool has_prefix(struct dgf_bytes text, size_t at, const char *prefix)
{
    size_t len = strlen(prefix);

    return text.len - at >= len && memcmp(text.ptr + at, prefix, len) == 0;
}

static size_t match_form(struct dgf_bytes text, size_t at, const struct form *form)
{
    size_t from = at + strlen(form->prefix),
           n = run(text, from, form->chars, form->max + 1);

    return n >= form->min && n <= form->max ? from + n - at : 0;
}

/* header.payload.signature, the first two being JSON objects in base64url. */
static size_t match_jwt(struct dgf_bytes text, size_t at)
{
    size_t end = at;

    for (int part = 0; part < 3; part++) {
        size_t n;

        if (part > 0 && byte_at(text, end++) != '.')
            return 0;
        if (part < 2 && !(text.len - end >= 3 && memcmp(text.ptr + end, "eyJ", 3) == 0))
            return 0;
        n = run(text, end, URL, JWT_MAX);
        if (n < JWT_PART_MIN)
            return 0;
        end += n;
    }
    return end - at;
}

/* The first line is enough to know; the hit covers what follows as long as it
 * looks like the key, so that a cut key is covered too. */
static size_t match_pem(struct dgf_bytes text, size_t at)
{
    size_t i = at + 11, label = i, end;

    if (!has_prefix(text, at, "-----BEGIN "))
        return 0;
    while (i - label < 48 && (is_upper(byte_at(text, i)) || byte_at(text, i) == ' ' ||
                              is_digit(byte_at(text, i))))
        i++;
    if (!has_prefix(text, i < text.len ? i : text.len, "-----") || i - label < 11)
        return 0;
    if (memcmp(text.ptr + i - 11, "PRIVATE KEY", 11) != 0 &&
        (i - label < 17 || memcmp(text.ptr + i - 17, "PRIVATE KEY BLOCK", 17) != 0))
        return 0;
    end = i + 5;
    while (end - at < PEM_MAX &&
           (is_char(BASE64, byte_at(text, end)) ||
            (end < text.len && memchr("\r\n\t \\:,-", text.ptr[end], 8))))
        end++;
    return end - at;
}

size_t dgf_match_secret(struct dgf_bytes text, size_t at)
{
    int first = text.ptr[at], before = byte_before(text, at);

    if (first == '-')
        return before == '-' ? 0 : match_pem(text, at);
    if (is_alnum(before) || before == '_')
        return 0;
    if (first == 'e') /* after '-' it would be inside a run that was read before */
        return before == '-' ? 0 : match_jwt(text, at);
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (forms[i].prefix[0] == first && has_prefix(text, at, forms[i].prefix)) {
            size_t len = match_form(text, at, &forms[i]);

            if (len > 0)
                return len;
        }
    return 0;
}
