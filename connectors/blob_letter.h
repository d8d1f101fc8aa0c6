/* blob_letter.h - what Event Grid could not deliver: where it stands in its container,
 * what a blob of it holds, and how far it was read.
 *
 * A blob is called <topic>/<subscription>/<yyyy>/<m>/<d>/<h>/<guid>.json, with one
 * digit or two; names within an hour are in no order, and one may come late.  So hours
 * are looked at again for a while, and the names that were read in them are remembered.
 * Pure.  Thread: any, one owner. */
#ifndef DGF_CONNECTORS_BLOB_LETTER_H
#define DGF_CONNECTORS_BLOB_LETTER_H

#include "blob_memory.h"

#define DGF_BLOB_LETTER_KEPT_NS (INT64_C(48) * 3600 * 1000000000)
#define DGF_BLOB_LETTER_NAMES_MAX 1024 /* buckets: 262,144 names */

/* ---- folders ---- */

enum dgf_blob_letter_folder {
    DGF_BLOB_FOLDER_ABOVE, /* of a topic, a subscription or a year: any time */
    DGF_BLOB_FOLDER_DATED, /* of a month or a day: hours are below it */
    DGF_BLOB_FOLDER_HOUR,  /* the blobs are in it */
};

/* What a folder is by the end of its name, "T/S/2026/1/9/", and which times it covers:
 * [*ret_begin_ns, *ret_end_ns), untouched when ABOVE.  A year alone is ABOVE: a
 * subscription may be called 2026. */
enum dgf_blob_letter_folder dgf_blob_letter_folder(struct dgf_bytes name,
                                                   int64_t *ret_begin_ns,
                                                   int64_t *ret_end_ns);
/* The hour a time is in. */
int64_t dgf_blob_letter_hour(int64_t ns);
/* Nothing before this is looked at again, when every hour before `reached_ns` was
 * read; now_ns: of the server. */
int64_t dgf_blob_letter_settled(int64_t reached_ns, int64_t now_ns);

/* ---- blobs ---- */

/* Takes the next element off a list of JSON, "[{...}, {...}]", or the one object there
 * is instead of a list.  *rest begins as the whole text, and is the rest after each
 * call.  Elements are found by their brackets alone: whoever reads one may refuse it.
 * DGF_AGAIN: there is no other.  DGF_BAD_DATA: *rest is no list (any more). */
enum dgf_rc dgf_blob_letter_next(struct dgf_bytes *rest, bool *in_list,
                                 struct dgf_bytes *ret) DGF_MUST_USE;

/* ---- what is remembered ---- */

struct dgf_blob_letters {
    char where[256];                   /* "account/container" */
    int64_t from_ns;                   /* hours before it are not looked at again */
    uint64_t first_bucket, end_bucket; /* of names that were read */
};

void dgf_blob_letters_put(const struct dgf_blob_letters *letters, struct dgf_buf *out);
/* DGF_FATAL: not written by us. */
enum dgf_rc dgf_blob_letters_get(struct dgf_bytes bytes, struct dgf_blob_letters *ret)
    DGF_MUST_USE;

#endif
