/* value.h - a CEL value: 16 bytes, never owning.
 *
 * Texts, bytes, lists and maps are borrowed: from the program (constants), from
 * what the host bound, or from the arena of the evaluation that made them.  A
 * host shows its own containers through two tables of functions, so that a
 * row is read only where an expression touches it.  Thread: any; containers
 * follow their host's rules. */
#ifndef DGF_CEL_VALUE_H
#define DGF_CEL_VALUE_H

#include "base/buf.h"
#include "base/mem.h"

enum dgf_cel_kind {
    DGF_CEL_UNSET, /* no value yet: a variable that is still to be resolved */
    DGF_CEL_NULL,
    DGF_CEL_BOOL,
    DGF_CEL_INT,
    DGF_CEL_UINT,
    DGF_CEL_DOUBLE,
    DGF_CEL_STRING,
    DGF_CEL_BYTES,
    DGF_CEL_LIST,
    DGF_CEL_MAP,
    DGF_CEL_TYPE,
    DGF_CEL_TIMESTAMP,
    DGF_CEL_DURATION,
    DGF_CEL_DECIMAL,
    DGF_CEL_OPTIONAL,
    DGF_CEL_OPAQUE,  /* host and extension types: network addresses */
    DGF_CEL_UNKNOWN, /* the value exists, the source could not give it */
    DGF_CEL_ERROR,
    DGF_CEL_N_KINDS
};

struct dgf_cel_type;
struct dgf_cel_eval;
struct dgf_cel_list;
struct dgf_cel_map;
struct dgf_cel_decimal;
struct dgf_cel_opaque;
struct dgf_cel_error;

struct dgf_cel_value {
    uint8_t kind;   /* enum dgf_cel_kind */
    uint8_t wide;   /* DECIMAL: 1 = digits behind .decimal, 0 = .i64 / 10^scale */
    uint16_t scale; /* DECIMAL: digits after the point; UNKNOWN: the host's reason */
    uint32_t
        len; /* STRING, BYTES: bytes; TIMESTAMP, DURATION: nanoseconds 0-999999999 */
    union {
        bool boolean;
        int64_t i64; /* TIMESTAMP, DURATION: seconds, rounded down */
        uint64_t u64;
        double dbl;
        const uint8_t *ptr;
        const char *text; /* UNKNOWN: what is unknown, or NULL */
        const struct dgf_cel_list *list;
        const struct dgf_cel_map *map;
        const struct dgf_cel_type *type;
        const struct dgf_cel_decimal *decimal;
        const struct dgf_cel_value *inner; /* OPTIONAL: NULL = none */
        const struct dgf_cel_opaque *opaque;
        const struct dgf_cel_error *error;
    };
};

_Static_assert(sizeof(struct dgf_cel_value) == 16, "a value is two words");

/* Why an evaluation failed.  Texts never hold a value of the event. */
struct dgf_cel_error {
    const char *text;
    uint32_t offset, len; /* the part of the expression that failed */
    bool budget; /* the cost budget or the arena is used up: nothing absorbs this */
};

/* A constant field name, hashed once.  index is unique and dense among the
 * names of a program: hosts may keep a cache per index in their eval. */
struct dgf_cel_name {
    struct dgf_bytes text;
    uint32_t hash; /* dgf_cel_hash(text) */
    uint16_t index;
    int32_t id; /* field id of the row type it was checked against, or -1 */
};

uint32_t dgf_cel_hash(struct dgf_bytes text);

/* A list or map of the host's own starts with its table:
 *   struct row { struct dgf_cel_map base; ... };  row.base.ops = &row_ops; */
struct dgf_cel_list_ops {
    uint32_t (*size)(const struct dgf_cel_list *list, struct dgf_cel_eval *eval);
    /* i < size.  Values may be unknown or an error. */
    void (*at)(const struct dgf_cel_list *list, struct dgf_cel_eval *eval, uint32_t i,
               struct dgf_cel_value *ret);
};
struct dgf_cel_list {
    const struct dgf_cel_list_ops *ops;
};

struct dgf_cel_map_ops {
    uint32_t (*size)(const struct dgf_cel_map *map, struct dgf_cel_eval *eval);
    /* By constant or computed text key (then index is UINT16_MAX, id -1);
     * false: absent, *ret untouched.  A value the source could not give is
     * there and unknown. */
    bool (*get)(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                const struct dgf_cel_name *name, struct dgf_cel_value *ret);
    /* By any other key; NULL when all keys are texts.  key is BOOL, INT or
     * UINT; 1, 1u and 1.0 are the same key and arrive as INT if they can. */
    bool (*find)(const struct dgf_cel_map *map, struct dgf_cel_eval *eval,
                 const struct dgf_cel_value *key, struct dgf_cel_value *ret);
    /* *at starts as 0 and belongs to the map; false at the end.  ret_value may
     * be NULL when only keys are wanted. */
    bool (*next)(const struct dgf_cel_map *map, struct dgf_cel_eval *eval, uint64_t *at,
                 struct dgf_cel_value *ret_key, struct dgf_cel_value *ret_value);
};
struct dgf_cel_map {
    const struct dgf_cel_map_ops *ops;
};

/* Values of an extension type that only functions understand. */
struct dgf_cel_opaque {
    const struct dgf_cel_type *type;
    bool (*equal)(const struct dgf_cel_opaque *a, const struct dgf_cel_opaque *b);
};

static inline struct dgf_cel_value dgf_cel_null(void)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_NULL};
}
static inline struct dgf_cel_value dgf_cel_bool(bool value)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_BOOL, .u64 = value};
}
static inline struct dgf_cel_value dgf_cel_int(int64_t value)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_INT, .i64 = value};
}
static inline struct dgf_cel_value dgf_cel_uint(uint64_t value)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_UINT, .u64 = value};
}
static inline struct dgf_cel_value dgf_cel_double(double value)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_DOUBLE, .dbl = value};
}
/* Borrowed; valid UTF-8; at most 4 GiB. */
static inline struct dgf_cel_value dgf_cel_string(struct dgf_bytes text)
{
    return (struct dgf_cel_value){
        .kind = DGF_CEL_STRING, .len = (uint32_t)text.len, .ptr = text.ptr};
}
static inline struct dgf_cel_value dgf_cel_bytes(struct dgf_bytes bytes)
{
    return (struct dgf_cel_value){
        .kind = DGF_CEL_BYTES, .len = (uint32_t)bytes.len, .ptr = bytes.ptr};
}
static inline struct dgf_cel_value dgf_cel_list_of(const struct dgf_cel_list *list)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_LIST, .list = list};
}
static inline struct dgf_cel_value dgf_cel_map_of(const struct dgf_cel_map *map)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_MAP, .map = map};
}
static inline struct dgf_cel_value dgf_cel_type_of(const struct dgf_cel_type *type)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_TYPE, .type = type};
}
static inline struct dgf_cel_value dgf_cel_timestamp(int64_t seconds, uint32_t ns)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_TIMESTAMP, .len = ns, .i64 = seconds};
}
/* -1.5 s is seconds -2, ns 500000000. */
static inline struct dgf_cel_value dgf_cel_duration(int64_t seconds, uint32_t ns)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_DURATION, .len = ns, .i64 = seconds};
}
/* Same, from nanoseconds (since 1970 for a timestamp). */
struct dgf_cel_value dgf_cel_timestamp_ns(int64_t ns);
struct dgf_cel_value dgf_cel_duration_ns(int64_t ns);
/* what: the field's name, borrowed, for people; reason: enum dgf_unavailable or 0. */
static inline struct dgf_cel_value dgf_cel_unknown(const char *what, uint16_t reason)
{
    return (struct dgf_cel_value){
        .kind = DGF_CEL_UNKNOWN, .scale = reason, .text = what};
}
static inline struct dgf_bytes dgf_cel_bytes_of(const struct dgf_cel_value *value)
{
    return (struct dgf_bytes){value->ptr, value->len};
}
/* -12.50, 1e3, NaN, Infinity, -Infinity; false when text is none of these, has
 * more than 1,000 digits, an exponent beyond +-1,000, or the arena is full. */
bool dgf_cel_decimal_of(struct dgf_bytes text, struct dgf_arena *arena,
                        struct dgf_cel_value *ret);

/* Plain containers in an arena; items and keys are borrowed, not copied.
 * NULL when the arena is full.  pairs: key, value, key, value ... */
const struct dgf_cel_list *dgf_cel_list_new(struct dgf_arena *arena,
                                            const struct dgf_cel_value *items,
                                            uint32_t n);
const struct dgf_cel_map *dgf_cel_map_new(struct dgf_arena *arena,
                                          const struct dgf_cel_value *pairs,
                                          uint32_t n_pairs);

/* One whole msgpack value (base/mp.h), checked with dgf_mp_check before.  Maps
 * and lists are read where they are, without a tree; the bytes must live as
 * long as the value.  uuid -> string; date, timestamp -> timestamp; time of
 * day -> string; duration -> duration, or an ISO 8601 string when it holds
 * months; opaque -> string or bytes; unavailable -> unknown.  Never fails:
 * what cannot be read becomes an error value. */
struct dgf_cel_value dgf_cel_of_msgpack(struct dgf_arena *arena,
                                        struct dgf_bytes value);

/* CEL text of a value: "abc", 12u, b"\x00", [1, 2], {"a": 1}, duration("5s"). */
void dgf_cel_show(const struct dgf_cel_value *value, struct dgf_buf *out);
/* As in a message: texts bare, numbers and times plain, the rest as JSON-like text. */
void dgf_cel_plain(const struct dgf_cel_value *value, struct dgf_buf *out);
const char *dgf_cel_kind_text(enum dgf_cel_kind kind); /* "int", "string" ... */

#endif
