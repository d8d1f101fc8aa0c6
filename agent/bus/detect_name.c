/* Bank accounts, mail addresses, network addresses. */
#include "bus/detect_part.h"

#define EMAIL_LOCAL_MAX 64
#define EMAIL_DOMAIN_MAX 253
#define LABEL_MAX 63

/* ---- IBAN: country and length, from the registry of SWIFT ---- */

static const char iban_lengths[] =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
    "ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20"
    "LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29"
    "PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20"
    "YE30";

static unsigned iban_length(int a, int b)
{
    for (const char *p = iban_lengths; *p; p += 4)
        if (p[0] == (a & ~0x20) && p[1] == (b & ~0x20))
            return (unsigned)(p[2] - '0') * 10 + (unsigned)(p[3] - '0');
    return 0;
}

static unsigned mod97(unsigned rest, int c)
{
    return is_digit(c) ? (rest * 10 + (unsigned)(c - '0')) % 97
                       : (rest * 100 + (unsigned)((c & ~0x20) - 'A' + 10)) % 97;
}

size_t dgf_match_iban(struct dgf_bytes text, size_t at)
{
    char chars[34];
    unsigned n = 0, need, rest = 0;
    size_t i = at;

    if (!is_letter(byte_at(text, at)) || !is_letter(byte_at(text, at + 1)) ||
        !is_digit(byte_at(text, at + 2)) || !is_digit(byte_at(text, at + 3)) ||
        !starts_token(text, at))
        return 0;
    need = iban_length(text.ptr[at], text.ptr[at + 1]);
    for (; n < need; i++) {
        int c = byte_at(text, i);

        if (c == ' ' && n % 4 == 0 && byte_before(text, i) != ' ')
            continue;
        if (!is_alnum(c))
            return 0;
        chars[n++] = (char)c;
    }
    if (need == 0 || is_alnum(byte_at(text, i)))
        return 0;
    for (unsigned k = 0; k < need; k++)
        rest = mod97(rest, chars[(k + 4) % need]);
    return rest == 1 ? i - at : 0;
}

/* ---- mail ---- */

static bool is_local(int c)
{
    return is_alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
}

static bool is_top_level(struct dgf_bytes label)
{
    if (label.len < 2)
        return false;
    if (label.len > 4 && memcmp(label.ptr, "xn--", 4) == 0)
        return true;
    for (size_t i = 0; i < label.len; i++)
        if (!is_letter(label.ptr[i]))
            return false;
    return true;
}

/* Length of the longest host name with two labels or more, or 0. */
static size_t domain_length(struct dgf_bytes text, size_t at)
{
    size_t start = at, i = at, good = 0;
    unsigned labels = 0;

    for (; i - at <= EMAIL_DOMAIN_MAX; i++) {
        int c = byte_at(text, i);
        size_t len = i - start;

        if (is_alnum(c) || (c == '-' && len > 0))
            continue;
        if (len == 0 || len > LABEL_MAX || text.ptr[i - 1] == '-')
            break;
        if (++labels >= 2 && is_top_level(dgf_bytes_of(text.ptr + start, len)))
            good = i - at;
        if (c != '.')
            break;
        start = i + 1;
    }
    return good;
}

size_t dgf_match_email(struct dgf_bytes text, size_t at)
{
    size_t i = at, domain;

    /* Only where the run starts, else its reading would not be linear; marks
     * before the first letter are no part of the address. */
    for (size_t k = at; k > 0 && is_local(text.ptr[k - 1]); k--)
        if (is_alnum(text.ptr[k - 1]) || at - k >= EMAIL_LOCAL_MAX)
            return 0;
    while (is_local(byte_at(text, i)) && i - at <= EMAIL_LOCAL_MAX)
        i++;
    if (i == at || i - at > EMAIL_LOCAL_MAX || byte_at(text, i) != '@' ||
        text.ptr[i - 1] == '.')
        return 0;
    domain = domain_length(text, i + 1);
    return domain ? i + 1 + domain - at : 0;
}

/* ---- network addresses ---- */

/* Four numbers up to 255 without leading zeros; end of the last, or 0. */
static size_t ipv4_end(struct dgf_bytes text, size_t at)
{
    for (int part = 0; part < 4; part++) {
        unsigned value = 0, n = 0;

        if (part > 0 && byte_at(text, at++) != '.')
            return 0;
        for (; is_digit(byte_at(text, at)) && n < 4; at++, n++)
            value = value * 10 + (unsigned)(text.ptr[at] - '0');
        if (n == 0 || n > 3 || value > 255 || (n > 1 && text.ptr[at - n] == '0'))
            return 0;
    }
    return at;
}

static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Up to eight groups of hex digits, "::" once for at least one of them, and an
 * IPv4 address for the last two. */
static size_t ipv6_end(struct dgf_bytes text, size_t at)
{
    unsigned groups = 0;
    bool gap = false, digit = false;
    size_t i = at;

    for (;;) {
        size_t n = 0, v4;

        if (byte_at(text, i) == ':' && byte_at(text, i + 1) == ':') {
            if (gap || groups > 7)
                return 0;
            gap = true;
            i += 2;
        } else if (groups > 0) {
            if (byte_at(text, i) != ':' || groups == 8)
                break;
            i++;
        }
        while (n < 5 && is_hex(byte_at(text, i + n)))
            digit |= is_digit(text.ptr[i + n++]);
        if (n == 0) {
            i -= byte_before(text, i) == ':' && byte_at(text, i - 2) != ':';
            break;
        }
        if (n > 4)
            return 0;
        v4 = byte_at(text, i + n) == '.' && groups > 0 ? ipv4_end(text, i) : 0;
        groups += v4 ? 2 : 1;
        i = v4 ? v4 : i + n;
        if (v4)
            break;
    }
    /* Without any digit it is more likely code: a::b. */
    return digit && i - at >= 3 && (gap ? groups <= 7 : groups == 8) ? i : 0;
}

size_t dgf_match_ip(struct dgf_bytes text, size_t at)
{
    int before = byte_before(text, at);
    size_t end = 0;

    /* libx-1.2.3.4 is a version */
    if (before == ':' || before == '.' || before == '-' || is_alnum(before))
        return 0;
    if (is_digit(text.ptr[at])) {
        end = ipv4_end(text, at);
        if (end && ends_token(text, end))
            return end - at;
    }
    end = ipv6_end(text, at);
    if (byte_at(text, end) == ':' &&
        (is_alnum(byte_at(text, end + 1)) || byte_at(text, end + 1) == ':'))
        return 0;
    return end && ends_token(text, end) ? end - at : 0;
}
