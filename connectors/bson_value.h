/* bson_value.h - BSON read through a bounded cursor, and its values as msgpack.
 *
 * Pure: bytes in, bytes out; no length in the input is believed.  Nothing is
 * lost: what msgpack has no type for becomes an opaque value with its type's
 * name and text, or its bytes.  Thread: any, one owner. */
#ifndef DGF_CONNECTORS_BSON_VALUE_H
#define DGF_CONNECTORS_BSON_VALUE_H

#include "base/mp.h"

enum dgf_bson_type {
    DGF_BSON_END = 0x00,
    DGF_BSON_DOUBLE = 0x01,
    DGF_BSON_STRING = 0x02,
    DGF_BSON_DOCUMENT = 0x03,
    DGF_BSON_ARRAY = 0x04,
    DGF_BSON_BINARY = 0x05,
    DGF_BSON_UNDEFINED = 0x06,
    DGF_BSON_OBJECT_ID = 0x07,
    DGF_BSON_BOOL = 0x08,
    DGF_BSON_DATE = 0x09,
    DGF_BSON_NULL = 0x0a,
    DGF_BSON_REGEX = 0x0b,
    DGF_BSON_DB_POINTER = 0x0c,
    DGF_BSON_CODE = 0x0d,
    DGF_BSON_SYMBOL = 0x0e,
    DGF_BSON_CODE_WITH_SCOPE = 0x0f,
    DGF_BSON_INT32 = 0x10,
    DGF_BSON_TIMESTAMP = 0x11,
    DGF_BSON_INT64 = 0x12,
    DGF_BSON_DECIMAL128 = 0x13,
    DGF_BSON_MIN_KEY = 0xff,
    DGF_BSON_MAX_KEY = 0x7f,
};

/* Documents inside a value beyond this depth are kept as their bytes, so that
 * an event never nests deeper than DGF_MP_MAX_DEPTH. */
#define DGF_BSON_MAX_DEPTH 90

struct dgf_bson_element {
    uint8_t type;
    struct dgf_bytes name;  /* without its NUL */
    struct dgf_bytes value; /* the value's bytes as they stand, lengths included */
};

struct dgf_bson {
    struct dgf_rd rd;
};

/* The cursor over a document's elements.  DGF_BAD_DATA when the bytes are not
 * exactly one document's frame. */
enum dgf_rc dgf_bson_of(struct dgf_bytes document, struct dgf_bson *ret) DGF_MUST_USE;
/* DGF_AGAIN at the end; DGF_BAD_DATA, also when something follows the end. */
enum dgf_rc dgf_bson_next(struct dgf_bson *bson, struct dgf_bson_element *ret)
    DGF_MUST_USE;
/* The first element of that name; false: none, or the document is damaged. */
bool dgf_bson_find(struct dgf_bytes document, const char *name,
                   struct dgf_bson_element *ret);

/* The content of a STRING, CODE or SYMBOL; false when its length lies. */
bool dgf_bson_text(const struct dgf_bson_element *element, struct dgf_bytes *ret);
/* INT32, INT64, a whole DOUBLE or BOOL as a number; false: another type. */
bool dgf_bson_i64(const struct dgf_bson_element *element, int64_t *ret);
bool dgf_bson_is_container(const struct dgf_bson_element *element);

/* Packs one value.  depth: of the value inside the document, from 0. */
enum dgf_rc dgf_bson_put(const struct dgf_bson_element *element, unsigned depth,
                         struct dgf_buf *out) DGF_MUST_USE;

/* Calls field for each distinct name of a document, in order: the element, or,
 * for a name that stands there more than once, element NULL and all of them,
 * concatenated, in repeats.  rc of field other than DGF_OK ends it.  DGF_FATAL:
 * more names repeat than a document of a person's making has. */
enum dgf_rc dgf_bson_each(struct dgf_bytes document,
                          enum dgf_rc (*field)(void *ctx, struct dgf_bytes name,
                                               const struct dgf_bson_element *element,
                                               struct dgf_bytes repeats),
                          void *ctx) DGF_MUST_USE;
/* One opaque value for a field that repeats. */
void dgf_bson_put_repeats(struct dgf_bytes repeats, struct dgf_buf *out);
/* An opaque value of those bytes, kept as bytes even where they are text. */
void dgf_bson_put_bytes(const char *type, struct dgf_bytes bytes, struct dgf_buf *out);
/* A text; one that is not UTF-8 becomes an opaque "string". */
void dgf_bson_put_text(struct dgf_bytes text, struct dgf_buf *out);

/* Decimal text of the 16 bytes of a Decimal128: "-12.50", "1E+6111", "NaN". */
void dgf_bson_decimal_text(const uint8_t bytes[16], struct dgf_buf *out);

#endif
