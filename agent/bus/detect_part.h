/* detect_part.h - what the files of the detectors share; nobody else includes it.
 *
 * Every match function looks at one start and says how long the hit is there;
 * 0: none.  What it reads is bounded by a constant, or it reads a run whose
 * other bytes are no starts of its own: that makes the whole search linear. */
#ifndef DGF_BUS_DETECT_PART_H
#define DGF_BUS_DETECT_PART_H

#include "bus/detect.h"

static inline bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static inline bool is_upper(int c)
{
    return c >= 'A' && c <= 'Z';
}

static inline bool is_letter(int c)
{
    return is_upper(c & ~0x20) && c < 0x80;
}

static inline bool is_alnum(int c)
{
    return is_digit(c) || is_letter(c);
}

/* Byte at a position, or -1 outside; at may be before the start. */
static inline int byte_at(struct dgf_bytes text, size_t at)
{
    return at < text.len ? text.ptr[at] : -1;
}

static inline int byte_before(struct dgf_bytes text, size_t at)
{
    return at > 0 ? text.ptr[at - 1] : -1;
}

/* Nothing that would make the text before `at` part of the same number or
 * word: "1.4111", "12-4111", "x4111". */
static inline bool starts_token(struct dgf_bytes text, size_t at)
{
    int before = byte_before(text, at);

    if (is_alnum(before))
        return false;
    return !((before == '-' || before == '.') && at > 1 && is_digit(text.ptr[at - 2]));
}

static inline bool ends_token(struct dgf_bytes text, size_t end)
{
    int next = byte_at(text, end);

    if (is_alnum(next))
        return false;
    if (next == '-')
        return !is_alnum(byte_at(text, end + 1));
    return next != '.' || !is_digit(byte_at(text, end + 1));
}

size_t dgf_match_card(struct dgf_bytes text, size_t at);
size_t dgf_match_ssn(struct dgf_bytes text, size_t at);
size_t dgf_match_phone(struct dgf_bytes text, size_t at);
size_t dgf_match_iban(struct dgf_bytes text, size_t at);
size_t dgf_match_email(struct dgf_bytes text, size_t at);
size_t dgf_match_ip(struct dgf_bytes text, size_t at);
size_t dgf_match_secret(struct dgf_bytes text, size_t at);

#endif
