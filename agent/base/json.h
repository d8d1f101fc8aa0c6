/* json.h - JSON writing into a buffer, and reading through jansson with caps.
 *
 * The writer is a set of append functions: the caller writes structure and
 * commas through struct dgf_json, which knows whether a comma is due.  Output
 * is compact UTF-8 on one line.  Thread: one owner. */
#ifndef DGF_BASE_JSON_H
#define DGF_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct dgf_json {
    struct dgf_buf *buf;
    bool comma; /* a comma is due before the next item */
};

static inline struct dgf_json dgf_json_of(struct dgf_buf *buf)
{
    return (struct dgf_json){buf, false};
}

void dgf_json_begin_object(struct dgf_json *json);
void dgf_json_end_object(struct dgf_json *json);
void dgf_json_begin_array(struct dgf_json *json);
void dgf_json_end_array(struct dgf_json *json);
void dgf_json_key(struct dgf_json *json, const char *name); /* name needs no escaping */
/* Escaped; a NUL in it becomes U+FFFD. */
void dgf_json_key_bytes(struct dgf_json *json, struct dgf_bytes name);
void dgf_json_str(struct dgf_json *json, const char *text);
/* Escapes what JSON demands; text must be valid UTF-8. */
void dgf_json_text(struct dgf_json *json, struct dgf_bytes text);
void dgf_json_i64(struct dgf_json *json, int64_t value);
void dgf_json_u64(struct dgf_json *json, uint64_t value);
void dgf_json_bool(struct dgf_json *json, bool value);
void dgf_json_null(struct dgf_json *json);
/* Shortest text that reads back the same; the caller handles nan and inf. */
void dgf_json_double(struct dgf_json *json, double value);
void dgf_json_time(struct dgf_json *json, int64_t ns); /* RFC 3339 string */
/* Already JSON: copied as it is, as one item. */
void dgf_json_raw(struct dgf_json *json, struct dgf_bytes raw);

/* Escaped content without quotes and commas. */
void dgf_json_escape(struct dgf_buf *buf, struct dgf_bytes text);
/* Shortest decimal text of a finite double, as JSON and CEL print it. */
void dgf_json_format_double(struct dgf_buf *buf, double value);

/* One msgpack value in the JSON form of Extended JSON v2 (relaxed) with the
 * changes contrib/doc/RECORDS.md lists.  Invalid input writes nothing and
 * returns DGF_BAD_DATA. */
enum dgf_rc dgf_json_msgpack(struct dgf_json *json, struct dgf_bytes value)
    DGF_MUST_USE;

/* A line of ours: a value in it, shown as it came, may have the same key twice. */
enum dgf_rc dgf_json_parse_record(struct dgf_bytes line, json_t **ret,
                                  struct dgf_err *err) DGF_MUST_USE;
/* Parses at most max_bytes with at most max_depth levels; duplicate keys and
 * trailing bytes are errors.  *ret is a new reference. */
enum dgf_rc dgf_json_parse(struct dgf_bytes text, size_t max_bytes, unsigned max_depth,
                           json_t **ret, struct dgf_err *err) DGF_MUST_USE;
static inline void dgf_json_unref_at(json_t **json)
{
    json_decref(*json);
}
#define DGF_CLEANUP_JSON __attribute__((cleanup(dgf_json_unref_at)))

#endif
