#include "national_id.h"

#include "bus/detect.h"

#define LONGEST 15

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(uint8_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static bool digits(const char *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (!is_digit((uint8_t)s[i]))
            return false;
    return true;
}

static unsigned weigh(const char *s, const char *weights)
{
    unsigned sum = 0;

    for (unsigned i = 0; weights[i]; i++)
        sum += (unsigned)(s[i] - '0') * (unsigned)(weights[i] - '0');
    return sum;
}

static bool all_same(const char *s, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        if (s[i] != s[0])
            return false;
    return true;
}

/* CPF: two digits, each 11 minus a weighted sum mod 11. */
static bool is_br(const char *s)
{
    unsigned first = 0, second = 0;

    if (!digits(s, 11) || all_same(s, 11))
        return false;
    for (unsigned i = 0; i < 9; i++)
        first += (unsigned)(s[i] - '0') * (10 - i);
    for (unsigned i = 0; i < 10; i++)
        second += (unsigned)(s[i] - '0') * (11 - i);
    first = first * 10 % 11 % 10;
    second = second * 10 % 11 % 10;
    return first == (unsigned)(s[9] - '0') && second == (unsigned)(s[10] - '0');
}

/* Steuer-Id: ISO 7064 mod 11,10; never starts with 0. */
static bool is_de(const char *s)
{
    unsigned product = 10;

    if (!digits(s, 11) || s[0] == '0' || all_same(s, 10))
        return false;
    for (unsigned i = 0; i < 10; i++) {
        unsigned sum = ((unsigned)(s[i] - '0') + product) % 10;

        product = (sum ? sum : 10) * 2 % 11;
    }
    return (11 - product) % 10 == (unsigned)(s[10] - '0');
}

/* DNI: 8 digits and a letter; NIE: X, Y or Z for the first digit. */
static bool is_es(const char *s)
{
    unsigned number = 0;
    char first = s[0];

    if (first >= 'X' && first <= 'Z')
        first = (char)('0' + (first - 'X'));
    if (!is_digit((uint8_t)first) || !digits(s + 1, 7))
        return false;
    for (unsigned i = 0; i < 8; i++)
        number = number * 10 + (unsigned)((i ? s[i] : first) - '0');
    return s[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23];
}

/* NIR: 13 digits and 97 minus them mod 97; 2A and 2B count as 19 and 18. */
static bool is_fr(const char *s)
{
    uint64_t number = 0;
    unsigned month = (unsigned)(s[3] - '0') * 10 + (unsigned)(s[4] - '0');
    bool corsica = s[5] == '2' && (s[6] == 'A' || s[6] == 'B');

    if ((s[0] != '1' && s[0] != '2') || !digits(s, 6) || !digits(s + 7, 8) ||
        !(corsica || is_digit((uint8_t)s[6])) || month < 1 || month > 12)
        return false;
    for (unsigned i = 0; i < 13; i++) {
        uint64_t digit = (uint64_t)(s[i] - '0');

        if (corsica && i == 5)
            digit = 1;
        if (corsica && i == 6)
            digit = s[6] == 'A' ? 9 : 8;
        number = number * 10 + digit;
    }
    return 97 - number % 97 == (uint64_t)((s[13] - '0') * 10 + (s[14] - '0'));
}

/* National Insurance number: no check digit, but letters that are never used. */
static bool is_gb(const char *s)
{
    static const char never_first[] = "DFIQUV", never_second[] = "DFIOQUV";
    static const char *const never[] = {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"};

    if (s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' || !digits(s + 2, 6) ||
        s[8] < 'A' || s[8] > 'D' || strchr(never_first, s[0]) ||
        strchr(never_second, s[1]))
        return false;
    for (unsigned i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        if (s[0] == never[i][0] && s[1] == never[i][1])
            return false;
    return true;
}

/* BSN: weights 9 ... 2 and -1, a multiple of 11. */
static bool is_nl(const char *s)
{
    unsigned sum;

    if (!digits(s, 9) || all_same(s, 9))
        return false;
    sum = weigh(s, "98765432") + 11 * 9 - (unsigned)(s[8] - '0');
    return sum % 11 == 0;
}

/* PESEL: weights 1 3 7 9; holds a date of birth. */
static bool is_pl(const char *s)
{
    unsigned month, day;

    if (!digits(s, 11))
        return false;
    month = ((unsigned)(s[2] - '0') * 10 + (unsigned)(s[3] - '0')) % 20;
    day = (unsigned)(s[4] - '0') * 10 + (unsigned)(s[5] - '0');
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 &&
           (10 - weigh(s, "1379137913") % 10) % 10 == (unsigned)(s[10] - '0');
}

/* Personnummer: YYMMDDNNNC with Luhn. */
static bool is_se(const char *s)
{
    unsigned month, day;

    if (!digits(s, 10))
        return false;
    month = (unsigned)(s[2] - '0') * 10 + (unsigned)(s[3] - '0');
    day = (unsigned)(s[4] - '0') * 10 + (unsigned)(s[5] - '0');
    day = day > 60 ? day - 60 : day; /* coordination numbers */
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 &&
           dgf_luhn(dgf_bytes_of(s, 10));
}

struct country {
    char name[3];
    uint8_t len;
    bool (*is)(const char *compact);
};

static const struct country countries[] = {
    {"BR", 11, is_br}, {"DE", 11, is_de}, {"ES", 9, is_es},
    {"FR", 15, is_fr}, {"GB", 9, is_gb},  {"NL", 9, is_nl},
    {"PL", 11, is_pl}, {"SE", 10, is_se}, {"US", 0, NULL}, /* the detector's */
};

static const struct country *find(struct dgf_bytes name)
{
    for (size_t i = 0; i < sizeof(countries) / sizeof(countries[0]); i++)
        if (name.len == 2 && memcmp(countries[i].name, name.ptr, 2) == 0)
            return &countries[i];
    return NULL;
}

bool dgf_national_id_known(struct dgf_bytes country)
{
    return find(country) != NULL;
}

const char *dgf_national_id_countries(void)
{
    return "BR, DE, ES, FR, GB, NL, PL, SE, US";
}

static bool is_separator(uint8_t c)
{
    return c == ' ' || c == '-' || c == '.' || c == '/';
}

/* The number that starts at text[at], single separators left out. */
static bool starts_here(struct dgf_bytes text, size_t at, const struct country *country)
{
    char compact[LONGEST + 1] = {0};
    unsigned n = 0;

    for (; at < text.len && n < country->len; at++) {
        uint8_t c = text.ptr[at];

        if (is_separator(c) && n > 0 && !is_separator(text.ptr[at - 1]))
            continue;
        if (!is_word(c) || c >= 0x80)
            return false;
        compact[n++] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    return n == country->len && (at == text.len || !is_word(text.ptr[at])) &&
           country->is(compact);
}

bool dgf_national_id(struct dgf_bytes text, struct dgf_bytes name)
{
    const struct country *country = find(name);
    struct dgf_found found;

    if (!country)
        return false;
    if (!country->is)
        return dgf_detect(text, 0, DGF_DETECT_BIT(DGF_DETECT_SSN), &found);
    for (size_t at = 0; at < text.len; at++)
        if (is_word(text.ptr[at]) && (at == 0 || !is_word(text.ptr[at - 1])) &&
            starts_here(text, at, country))
            return true;
    return false;
}
