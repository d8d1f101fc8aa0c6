/* glob.h - patterns for names made of parts.
 *
 * `*` stays inside one part, `**` crosses parts; everything else is itself.
 * A part of a pattern in double quotes is taken literally.  Parts end at '.',
 * in Redis and blob names at ':' and '/'.  Thread: any. */
#ifndef DGF_RULES_GLOB_H
#define DGF_RULES_GLOB_H

#include "bus/event.h"

#define DGF_GLOB_MAX 256
/* Of schema, name and field together; a longer one is matched by ** alone, since the
 * time of a match grows with the square of the name. */
#define DGF_GLOB_NAME_MAX 8192

/* NULL when pattern is fine, else what is wrong with it. */
const char *dgf_glob_wrong(const char *pattern);
/* field empty: the pattern is of objects; else of an object and a field in it. */
bool dgf_glob_object(const char *pattern, const struct dgf_object *object,
                     struct dgf_bytes field);
/* The function of the language: parts end at '/', `?` is one character. */
bool dgf_glob_text(struct dgf_bytes pattern, struct dgf_bytes text);

#endif
