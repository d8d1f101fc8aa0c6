/* re2_shim.h - RE2 behind a C interface: linear time, no exceptions.
 * Thread: any; a compiled expression may be matched by several at once. */
#ifndef DGF_CEL_RE2_SHIM_H
#define DGF_CEL_RE2_SHIM_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dgf_cel_regex;

/* NULL: text says why ("missing ): (a"), or is empty when out of memory. */
struct dgf_cel_regex *dgf_cel_regex_new(const char *pattern, size_t len, char *text,
                                        size_t text_size);
void dgf_cel_regex_free(struct dgf_cel_regex *regex); /* NULL is fine */
/* Does it match anywhere in the text? */
bool dgf_cel_regex_matches(const struct dgf_cel_regex *regex, const char *text,
                           size_t len);

#ifdef __cplusplus
}
#endif

#endif
