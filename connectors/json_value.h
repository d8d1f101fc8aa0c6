/* json_value.h - JSON that a service sent, walked in place and packed without losing a
 * digit.
 *
 * dgf_jv_check looks at a whole text once; what walks and packs afterwards trusts only
 * its syntax.  Integers beyond 64 bits and numbers a double cannot hold become
 * decimals.  Thread: any. */
#ifndef DGF_JSON_VALUE_H
#define DGF_JSON_VALUE_H

#include "base/buf.h"

#define DGF_JV_DEPTH_MAX 200 /* levels of a text */
#define DGF_JV_DIGITS_MAX 1000

/* NULL when text is exactly one value; else why not.  *ret_cut (may be NULL): it ends
 * too early, so it may be a part of something good. */
const char *dgf_jv_check(struct dgf_bytes text, bool *ret_cut);

/* ---- of checked texts; a value is its bytes, without blanks around it ---- */

static inline bool dgf_jv_is(struct dgf_bytes value, char first)
{
    return value.len && value.ptr[0] == (uint8_t)first;
}
static inline bool dgf_jv_is_null(struct dgf_bytes value)
{
    return !value.len || value.ptr[0] == 'n';
}
/* The value of a checked text: without the blanks around it. */
struct dgf_bytes dgf_jv_root(struct dgf_bytes text);

struct dgf_jv_walk {
    const uint8_t *at, *end;
};
/* Over the members of an object or the items of an array; anything else has none. */
struct dgf_jv_walk dgf_jv_walk(struct dgf_bytes value);
/* key: the member's name as a value ("..."), empty in an array; false at the end. */
bool dgf_jv_next(struct dgf_jv_walk *walk, struct dgf_bytes *ret_key,
                 struct dgf_bytes *ret_value);
/* The first member of that name (without escapes); false when there is none, or when
 * object is none. */
bool dgf_jv_find(struct dgf_bytes object, const char *name, struct dgf_bytes *ret);
/* Content of a string, appended; false: no string, or no Unicode. */
bool dgf_jv_text(struct dgf_bytes value, struct dgf_buf *out);
/* The same into a buffer of size bytes, NUL-terminated; false also: too long, or a NUL
 * in it. */
bool dgf_jv_copy(struct dgf_bytes value, char *to, size_t size);
bool dgf_jv_i64(struct dgf_bytes value, int64_t *ret);

/* Packs one value.  NULL, or why it cannot be: a field twice, no Unicode, more than
 * max_depth levels, a number beyond DGF_JV_DIGITS_MAX.  Memory: see dgf_buf_rc. */
const char *dgf_jv_pack(struct dgf_bytes value, unsigned max_depth,
                        struct dgf_buf *out);

#endif
