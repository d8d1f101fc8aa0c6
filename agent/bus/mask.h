/* mask.h - the one formatter of values that leave the process.
 *
 * Evidence, messages, keys, subjects and names all go through here.  Public and
 * internal values are shown, confidential ones are masked, of restricted ones
 * only a token remains; detectors (detect.h) mask personal data on top of any
 * class.  A field nobody classified counts as internal when it is a number,
 * uuid, boolean, time or enum, and as confidential when it is text, JSON or
 * bytes.  Thread: loop. */
#ifndef DGF_BUS_MASK_H
#define DGF_BUS_MASK_H

#include "base/json.h"
#include "base/mac.h"
#include "bus/words.h"

#define DGF_TOKEN_KEY_BYTES 32

struct dgf_masker {
    struct dgf_mac_key mac; /* of the tenant's token key; wiped by release */
    char prefix[16];        /* h<version>: */
    struct dgf_buf rendered, masked;
};

void dgf_masker_init(struct dgf_masker *masker, const uint8_t key[DGF_TOKEN_KEY_BYTES],
                     unsigned version);
void dgf_masker_release(struct dgf_masker *masker);

/* Class that counts for a field: the given one, or by type when it is NONE. */
enum dgf_class dgf_class_in_force(enum dgf_class given, enum dgf_type type,
                                  struct dgf_bytes value);

/* The longest masked text, in characters. */
#define DGF_MASKED_MAX 64

/* "h1:" and 26 characters; the same value gives the same token.  Numbers are
 * tokenised by their JSON text, texts by their bytes. */
void dgf_mask_token(struct dgf_masker *masker, struct dgf_bytes value,
                    struct dgf_buf *out);

/* One JSON value as a key or evidence may show it: the value itself, its
 * masked text, or its token.  value is one msgpack value, class_ the one in
 * force (NONE: by value).  *ret_masked says whether anything was hidden.
 * Masked text: '*' for every letter and digit, at most DGF_MASKED_MAX
 * characters; of a payment card the first six and last four digits stay. */
void dgf_mask_json(struct dgf_masker *masker, enum dgf_class class_,
                   struct dgf_bytes value, struct dgf_json *json, bool *ret_masked);
/* The same as plain text, for messages. */
void dgf_mask_text(struct dgf_masker *masker, enum dgf_class class_,
                   struct dgf_bytes value, struct dgf_buf *out, bool *ret_masked);
/* Masks what detectors find in text that is shown otherwise. */
void dgf_mask_detected(struct dgf_bytes text, struct dgf_buf *out, bool *ret_masked);

#endif
