#include "bus/detect.h"

#include "bus/detect_part.h"

static const struct {
    const char *text;
    size_t (*match)(struct dgf_bytes text, size_t at);
} detectors[DGF_DETECT_N] = {
    [DGF_DETECT_CARD] = {"card", dgf_match_card},
    [DGF_DETECT_SSN] = {"ssn", dgf_match_ssn},
    [DGF_DETECT_IBAN] = {"iban", dgf_match_iban},
    [DGF_DETECT_EMAIL] = {"email", dgf_match_email},
    [DGF_DETECT_PHONE] = {"phone", dgf_match_phone},
    [DGF_DETECT_IP] = {"ip", dgf_match_ip},
    [DGF_DETECT_SECRET] = {"secret", dgf_match_secret},
};

#define BIT DGF_DETECT_BIT
#define DIGIT_STARTS                                                      \
    (BIT(DGF_DETECT_CARD) | BIT(DGF_DETECT_SSN) | BIT(DGF_DETECT_PHONE) | \
     BIT(DGF_DETECT_IP) | BIT(DGF_DETECT_EMAIL))
#define LETTER_STARTS (BIT(DGF_DETECT_IBAN) | BIT(DGF_DETECT_EMAIL))
#define HEX_STARTS (LETTER_STARTS | BIT(DGF_DETECT_IP))
#define SECRET BIT(DGF_DETECT_SECRET)

/* Which detectors can have a hit that starts with this byte; the letters of
 * SECRET are the first ones of the forms in detect_secret.c. */
static const uint8_t starts[256] = {
    ['0' ... '9'] = DIGIT_STARTS,
    ['A'] = HEX_STARTS | SECRET,
    ['B' ... 'F'] = HEX_STARTS,
    ['G' ... 'R'] = LETTER_STARTS,
    ['S'] = LETTER_STARTS | SECRET,
    ['T' ... 'Z'] = LETTER_STARTS,
    ['a' ... 'd'] = HEX_STARTS,
    ['e'] = HEX_STARTS | SECRET,
    ['f'] = HEX_STARTS,
    ['g'] = LETTER_STARTS | SECRET,
    ['h' ... 'm'] = LETTER_STARTS,
    ['n'] = LETTER_STARTS | SECRET,
    ['o' ... 'q'] = LETTER_STARTS,
    ['r' ... 's'] = LETTER_STARTS | SECRET,
    ['t' ... 'w'] = LETTER_STARTS,
    ['x'] = LETTER_STARTS | SECRET,
    ['y' ... 'z'] = LETTER_STARTS,
    ['_'] = BIT(DGF_DETECT_EMAIL),
    ['+'] = BIT(DGF_DETECT_PHONE),
    ['('] = BIT(DGF_DETECT_PHONE),
    [':'] = BIT(DGF_DETECT_IP),
    ['-'] = SECRET,
};

/* A short number that nothing is joined to is no number anybody looks for. */
static unsigned number_starts(struct dgf_bytes text, size_t at, unsigned may)
{
    size_t n = 1;
    int next;

    while (n < 13 && is_digit(byte_at(text, at + n)))
        n++;
    next = byte_at(text, at + n);
    if (n < 13 && next != ' ' && next != '-' && next != '.' && next != '/')
        may &= BIT(DGF_DETECT_IP) | BIT(DGF_DETECT_EMAIL);
    if (n > 4 || (next != '.' && next != ':' && !is_letter(next)))
        may &= ~BIT(DGF_DETECT_IP);
    return may;
}

bool dgf_detect(struct dgf_bytes text, size_t from, unsigned set, struct dgf_found *ret)
{
    for (size_t at = from; at < text.len; at++) {
        unsigned may = starts[text.ptr[at]] & set;

        /* Inside a word nothing starts. */
        if (!may || (is_alnum(text.ptr[at]) && is_alnum(byte_before(text, at))))
            continue;
        if (is_digit(text.ptr[at]))
            may = number_starts(text, at, may);
        for (unsigned d = 0; may; d++, may >>= 1) {
            size_t len = may & 1 ? detectors[d].match(text, at) : 0;

            if (len > 0) {
                *ret = (struct dgf_found){(enum dgf_detector)d, at, len};
                return true;
            }
        }
    }
    return false;
}

const char *dgf_detector_text(enum dgf_detector what)
{
    return (unsigned)what < DGF_DETECT_N ? detectors[what].text : "?";
}
