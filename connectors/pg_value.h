/* pg_value.h - PostgreSQL's text and binary forms of a value, to msgpack.
 *
 * Both forms of one value give the same msgpack bytes (contrib/doc/POSTGRESQL.md
 * has the table of types; the few exceptions are named there).  Text must have
 * been written with DateStyle ISO, IntervalStyle iso_8601, extra_float_digits
 * above 0, bytea_output hex and TimeZone UTC.  Pure.  Thread: any. */
#ifndef DGF_CONNECTORS_PG_VALUE_H
#define DGF_CONNECTORS_PG_VALUE_H

#include "base/buf.h"
#include "bus/words.h"

enum dgf_pg_codec {
    DGF_PG_CODEC_OPAQUE, /* text as it is; binary as bytes */
    DGF_PG_CODEC_BOOL,
    DGF_PG_CODEC_INT2,
    DGF_PG_CODEC_INT4,
    DGF_PG_CODEC_INT8,
    DGF_PG_CODEC_UINT4, /* oid, xid, cid */
    DGF_PG_CODEC_UINT8, /* xid8 */
    DGF_PG_CODEC_FLOAT4,
    DGF_PG_CODEC_FLOAT8,
    DGF_PG_CODEC_NUMERIC,
    DGF_PG_CODEC_CHARS, /* character(n): the same, without the spaces that fill it up */
    DGF_PG_CODEC_STR,   /* whatever is the same bytes in both forms */
    DGF_PG_CODEC_BYTEA,
    DGF_PG_CODEC_DATE,
    DGF_PG_CODEC_TIME,
    DGF_PG_CODEC_TIMETZ,
    DGF_PG_CODEC_TIMESTAMP,
    DGF_PG_CODEC_TIMESTAMPTZ,
    DGF_PG_CODEC_INTERVAL,
    DGF_PG_CODEC_UUID,
    DGF_PG_CODEC_JSON,
    DGF_PG_CODEC_JSONB,
    DGF_PG_CODEC_ARRAY,
    DGF_PG_CODEC_INET, /* and cidr */
    DGF_PG_CODEC_MACADDR,
    DGF_PG_CODEC_BIT,
    DGF_PG_CODEC_LSN,
};

/* A type as far as values need it.  Domains are not here: a column of a
 * domain has the type the domain ends in. */
struct dgf_pg_type {
    uint32_t oid;
    enum dgf_pg_codec codec;
    enum dgf_type type; /* what rules see */
    char delimiter;     /* between items in the text of an array of these */
    const char *name;   /* of opaque values, and in texts */
    const struct dgf_pg_type *element; /* ARRAY */
};

/* NULL: not one of the types every server has under the same oid. */
const struct dgf_pg_type *dgf_pg_type_builtin(uint32_t oid);

/* Packs one value.  DGF_BAD_DATA: it is not a value of that type; then out
 * holds rubbish after its former end and *ret_why (static) says what was
 * wrong.  Running out of room stays in out (buf.h). */
enum dgf_rc dgf_pg_value_text(const struct dgf_pg_type *type, struct dgf_bytes text,
                              struct dgf_buf *out, const char **ret_why) DGF_MUST_USE;
enum dgf_rc dgf_pg_value_binary(const struct dgf_pg_type *type, struct dgf_bytes bytes,
                                struct dgf_buf *out, const char **ret_why) DGF_MUST_USE;

/* ---- parts, shared by the files of this module ---- */

/* A text, or bytes when it is not valid UTF-8. */
void dgf_pg_put_str(struct dgf_buf *out, struct dgf_bytes text);
/* JSON text; a text that is not plain JSON (repeated names, half surrogates,
 * more than 64 levels) is kept whole as an opaque value. */
void dgf_pg_put_json(struct dgf_buf *out, struct dgf_bytes text, const char *type);
/* Days since 1970-01-01 and time of day in us; a year outside 1 to 9999 is
 * written as opaque text. */
enum dgf_rc dgf_pg_date_text(struct dgf_bytes text, struct dgf_buf *out,
                             const char **ret_why) DGF_MUST_USE;
enum dgf_rc dgf_pg_time_text(struct dgf_bytes text, struct dgf_buf *out,
                             const char **ret_why) DGF_MUST_USE;
enum dgf_rc dgf_pg_timestamp_text(const struct dgf_pg_type *type, struct dgf_bytes text,
                                  struct dgf_buf *out, const char **ret_why)
    DGF_MUST_USE;
enum dgf_rc dgf_pg_interval_text(struct dgf_bytes text, struct dgf_buf *out,
                                 const char **ret_why) DGF_MUST_USE;
void dgf_pg_date_binary(int32_t days, struct dgf_buf *out);
enum dgf_rc dgf_pg_time_binary(int64_t us, struct dgf_buf *out, const char **ret_why)
    DGF_MUST_USE;
enum dgf_rc dgf_pg_timetz_binary(int64_t us, int32_t west_s, struct dgf_buf *out,
                                 const char **ret_why) DGF_MUST_USE;
void dgf_pg_timestamp_binary(const struct dgf_pg_type *type, int64_t us,
                             struct dgf_buf *out);
void dgf_pg_interval_binary(int32_t months, int32_t days, int64_t us,
                            struct dgf_buf *out);

#endif
