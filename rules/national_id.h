/* national_id.h - national identity numbers that carry a check digit.
 *
 * Only numbers whose check holds count, so that order numbers do not.  Linear
 * time, no allocation.  Thread: any. */
#ifndef DGF_RULES_NATIONAL_ID_H
#define DGF_RULES_NATIONAL_ID_H

#include "base/buf.h"

bool dgf_national_id_known(struct dgf_bytes country); /* "ES", upper case */
const char *dgf_national_id_countries(void);          /* "BR, DE, ..." */
/* Does text hold one, written plainly or with single separators? */
bool dgf_national_id(struct dgf_bytes text, struct dgf_bytes country);

#endif
