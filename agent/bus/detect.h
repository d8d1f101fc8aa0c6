/* detect.h - finds personal data and secrets in text.
 *
 * Pure functions over bytes, linear time, no allocation; used by the formatter
 * and by the pii.* functions of the policy language.  Thread: any. */
#ifndef DGF_BUS_DETECT_H
#define DGF_BUS_DETECT_H

#include "base/buf.h"

enum dgf_detector {
    DGF_DETECT_CARD, /* payment card: 13-19 digits, known prefix and length, Luhn */
    DGF_DETECT_SSN,  /* US social security number, written with separators */
    DGF_DETECT_IBAN, /* country length and ISO 7064 mod 97 */
    DGF_DETECT_EMAIL,
    DGF_DETECT_PHONE,  /* +, country code and 7-14 digits, or common national forms with
                          separators */
    DGF_DETECT_IP,     /* IPv4 and IPv6 */
    DGF_DETECT_SECRET, /* private keys, well-known token formats, JWT */
    DGF_DETECT_N
};

#define DGF_DETECT_BIT(d) (1u << (d))
#define DGF_DETECT_ANY ((1u << DGF_DETECT_N) - 1)

struct dgf_found {
    enum dgf_detector what;
    size_t at, len;
};

/* First hit at or after `from` of any detector in the set; false: none. */
bool dgf_detect(struct dgf_bytes text, size_t from, unsigned set,
                struct dgf_found *ret);
bool dgf_luhn(struct dgf_bytes digits); /* digits only, at least 2 */
const char *dgf_detector_text(enum dgf_detector what);

#endif
