/* Payment cards, social security numbers, telephone numbers. */
#include "bus/detect_part.h"

#define CARD_MIN 13
#define CARD_MAX 19
#define PHONE_MAX 15 /* E.164 */

bool dgf_luhn(struct dgf_bytes digits)
{
    unsigned sum = 0;

    if (digits.len < 2)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned)digits.ptr[digits.len - 1 - i] - '0';

        if (digit > 9)
            return false;
        if (i % 2 == 1)
            digit = digit > 4 ? 2 * digit - 9 : 2 * digit;
        sum += digit;
    }
    return sum % 10 == 0;
}

/* ---- groups of digits with single separators ---- */

struct groups {
    char digits[CARD_MAX + 1];
    uint8_t lens[CARD_MAX + 1]; /* of each group */
    uint8_t ends[CARD_MAX + 1]; /* digits up to its end */
    size_t stops[CARD_MAX + 1]; /* where in the text it ends */
    unsigned n, n_digits;
    char separator; /* 0: none so far */
};

/* Reads groups from `at` until another separator, a stranger, or max digits;
 * a group that would go over max is not kept. */
static void read_groups(struct dgf_bytes text, size_t at, unsigned max,
                        const char *separators, struct groups *ret)
{
    ret->n = ret->n_digits = 0;
    ret->separator = 0;
    while (is_digit(byte_at(text, at))) {
        unsigned n = ret->n_digits;
        int next;

        for (; is_digit(byte_at(text, at)) && n <= max; at++)
            ret->digits[n++] = (char)text.ptr[at];
        if (n > max)
            return;
        ret->lens[ret->n] = (uint8_t)(n - ret->n_digits);
        ret->ends[ret->n] = (uint8_t)n;
        ret->stops[ret->n++] = at;
        ret->n_digits = n;
        next = byte_at(text, at);
        if (is_letter(next) || next <= 0 || !strchr(separators, next) ||
            (ret->separator && next != ret->separator) ||
            !is_digit(byte_at(text, at + 1)))
            return;
        ret->separator = (char)next;
        at++;
    }
}

/* ---- cards ---- */

struct prefix {
    uint32_t low, high; /* first four digits */
    uint32_t lengths;   /* a bit each */
};

#define L(n) (1u << (n))
#define L16_19 (L(16) | L(17) | L(18) | L(19))

static const struct prefix prefixes[] = {
    {2200, 2204, L16_19},         /* Mir */
    {2221, 2720, L(16)},          /* Mastercard */
    {3000, 3059, L(14) | L16_19}, /* Diners Club */
    {3095, 3095, L(14) | L16_19},
    {3400, 3499, L(15)},                          /* American Express */
    {3528, 3589, L16_19},                         /* JCB */
    {3600, 3699, L(14) | L(15) | L16_19},         /* Diners Club */
    {3700, 3799, L(15)},                          /* American Express */
    {3800, 3999, L(14) | L16_19},                 /* Diners Club */
    {4000, 4999, L(13) | L(16) | L(19)},          /* Visa */
    {5018, 5018, L(13) | L(14) | L(15) | L16_19}, /* Maestro */
    {5020, 5020, L(13) | L(14) | L(15) | L16_19},
    {5038, 5038, L(13) | L(14) | L(15) | L16_19},
    {5060, 5061, L(16) | L(18) | L(19)},          /* Verve */
    {5080, 5089, L(16)},                          /* RuPay */
    {5100, 5599, L(16)},                          /* Mastercard */
    {5893, 5893, L(13) | L(14) | L(15) | L16_19}, /* Maestro */
    {6011, 6011, L16_19},                         /* Discover */
    {6062, 6062, L(16)},                          /* Hipercard */
    {6200, 6299, L16_19},                         /* UnionPay */
    {6304, 6304, L(13) | L(14) | L(15) | L16_19}, /* Maestro */
    {6360, 6369, L16_19},                         /* InterPayment */
    {6440, 6599, L16_19},                         /* Discover */
    {6759, 6763, L(13) | L(14) | L(15) | L16_19}, /* Maestro */
    {9792, 9792, L(16)},                          /* Troy */
};

static bool known_prefix(const char *digits, unsigned n)
{
    uint32_t first = 0;

    for (int i = 0; i < 4; i++)
        first = first * 10 + (uint32_t)(digits[i] - '0');
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (first >= prefixes[i].low && first <= prefixes[i].high)
            return prefixes[i].lengths & L(n);
    return false;
}

/* 4111111111111111.00 is that number in a decimal column. */
static bool ends_card(struct dgf_bytes text, size_t end)
{
    size_t i = end + 1;

    if (byte_at(text, end) != '.')
        return ends_token(text, end);
    while (byte_at(text, i) == '0')
        i++;
    return !is_digit(byte_at(text, i));
}

/* A separated number ends where its groups end; the longest that fits wins. */
size_t dgf_match_card(struct dgf_bytes text, size_t at)
{
    struct groups groups;
    size_t len = 0;

    if (byte_at(text, at) < '2' || !starts_token(text, at))
        return 0;
    read_groups(text, at, CARD_MAX, " -", &groups);
    for (unsigned i = 0; i < groups.n; i++) {
        unsigned n = groups.ends[i];

        if (groups.lens[i] < 2)
            break;
        if (n >= CARD_MIN && ends_card(text, groups.stops[i]) &&
            known_prefix(groups.digits, n) && dgf_luhn(dgf_bytes_of(groups.digits, n)))
            len = groups.stops[i] - at;
    }
    return len;
}

/* ---- social security numbers ---- */

/* Neither neighbour is one more group of the same list of numbers. */
static bool stands_alone(struct dgf_bytes text, size_t at, size_t end)
{
    bool before = byte_before(text, at) == ' ' && at > 1 && is_digit(text.ptr[at - 2]);
    bool after = byte_at(text, end) == ' ' && is_digit(byte_at(text, end + 1));

    return !before && !after;
}

size_t dgf_match_ssn(struct dgf_bytes text, size_t at)
{
    struct groups groups;
    const char *d = groups.digits;
    unsigned area;

    if (!starts_token(text, at))
        return 0;
    read_groups(text, at, 9, " -", &groups);
    if (groups.n != 3 || groups.lens[0] != 3 || groups.lens[1] != 2 ||
        groups.lens[2] != 4 || !ends_token(text, groups.stops[2]) ||
        (groups.separator == ' ' && !stands_alone(text, at, groups.stops[2])))
        return 0;
    area = (unsigned)((d[0] - '0') * 100 + (d[1] - '0') * 10 + d[2] - '0');
    if (area == 0 || area == 666 || area >= 900 || memcmp(d + 3, "00", 2) == 0 ||
        memcmp(d + 5, "0000", 4) == 0)
        return 0;
    /* Printed on sample cards, never given to anybody. */
    if (memcmp(d, "078051120", 9) == 0 || memcmp(d, "219099999", 9) == 0)
        return 0;
    return 11;
}

/* ---- telephone numbers ---- */

/* Country codes of E.164: all of one and two digits, and the first two of those
 * with three. */
static const char codes_2[] =
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 "
    "54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 "
    "95 98";
static const char codes_3[] =
    "21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 "
    "97 99";

static bool has_pair(const char *list, const char *digits)
{
    for (; *list; list += list[2] ? 3 : 2)
        if (list[0] == digits[0] && list[1] == digits[1])
            return true;
    return false;
}

static bool is_international(const char *digits, unsigned n)
{
    unsigned code;

    if (digits[0] == '1') /* North America: exactly ten more, areas from 2 */
        return n == 11 && digits[1] >= '2' && digits[4] >= '2';
    if (digits[0] == '7')
        return n == 11;
    code = has_pair(codes_2, digits) ? 2 : has_pair(codes_3, digits) ? 3 : 0;
    return code > 0 && n >= code + 7 && n <= PHONE_MAX;
}

/* From the first digit of the country code; any mix of single separators and
 * one pair of brackets, as people write them. */
static size_t match_international(struct dgf_bytes text, size_t at,
                                  unsigned *ret_separators)
{
    char digits[PHONE_MAX + 1];
    unsigned n = 0, separators = 0;
    size_t end = 0;

    for (size_t i = at; n <= PHONE_MAX; i++) {
        int c = byte_at(text, i), last = byte_before(text, i);

        if (is_digit(c)) {
            if (n == PHONE_MAX)
                break;
            digits[n++] = (char)c;
            if (n >= 8 && is_international(digits, n) && ends_token(text, i + 1)) {
                end = i + 1;
                *ret_separators = separators;
            }
        } else if (c > 0 && strchr(" -.()/", c) &&
                   (is_digit(last) || (last == ' ' && c == '(') ||
                    (last == ')' && c != ')'))) {
            separators++;
        } else {
            break;
        }
    }
    return end;
}

static bool is_north_american(const struct groups *groups)
{
    unsigned skip = groups->n == 4 && groups->lens[0] == 1 && groups->digits[0] == '1';
    const char *d = groups->digits + skip;

    return groups->n == 3 + skip && groups->lens[skip] == 3 &&
           groups->lens[skip + 1] == 3 && groups->lens[skip + 2] == 4 && d[0] >= '2' &&
           d[3] >= '2';
}

/* 01 42 68 53 00; 020 7946 0958; 07700 900123; 0171/1234567 */
static bool is_trunk(const struct groups *groups)
{
    bool pairs = groups->n == 5, longer = groups->n >= 2 && groups->n <= 4;

    if (groups->digits[0] != '0' || groups->digits[1] == '0')
        return false;
    for (unsigned i = 0; i < groups->n; i++) {
        pairs &= groups->lens[i] == 2;
        longer &= i == 0 ? groups->lens[0] >= 2 && groups->lens[0] <= 5
                         : groups->lens[i] >= 3;
    }
    return pairs || (longer && groups->n_digits >= 9 && groups->n_digits <= 11);
}

static size_t match_national(struct dgf_bytes text, size_t at)
{
    struct groups groups;
    size_t end;

    read_groups(text, at, 12, " -./", &groups);
    if (groups.n < 2 || (!is_north_american(&groups) && !is_trunk(&groups)))
        return 0;
    end = groups.stops[groups.n - 1];
    return ends_token(text, end) && stands_alone(text, at, end) ? end - at : 0;
}

/* (555) 123-4567 */
static size_t match_bracketed(struct dgf_bytes text, size_t at)
{
    struct groups groups;
    size_t rest;

    for (size_t i = 1; i <= 3; i++)
        if (!is_digit(byte_at(text, at + i)))
            return 0;
    if (byte_at(text, at + 1) < '2' || byte_at(text, at + 4) != ')')
        return 0;
    rest = at + 5 + (byte_at(text, at + 5) == ' ');
    read_groups(text, rest, 7, "-. ", &groups);
    if (groups.n != 2 || groups.lens[0] != 3 || groups.lens[1] != 4 ||
        groups.digits[0] < '2' || !ends_token(text, groups.stops[1]))
        return 0;
    return groups.stops[1] - at;
}

size_t dgf_match_phone(struct dgf_bytes text, size_t at)
{
    int first = byte_at(text, at), before = byte_before(text, at);
    unsigned separators = 0;
    size_t end;

    if (is_alnum(before) || before == '+')
        return 0;
    if (first == '(')
        return match_bracketed(text, at);
    if (first == '+') {
        end = match_international(text, at + 1, &separators);
        return end ? end - at : 0;
    }
    if (!starts_token(text, at))
        return 0;
    if (first == '0' && byte_at(text, at + 1) == '0') {
        end = match_international(text, at + 2, &separators);
        return end && separators ? end - at : 0;
    }
    return match_national(text, at);
}
