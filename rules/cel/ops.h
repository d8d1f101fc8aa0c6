/* ops.h - what operators and functions share: order, equality, arithmetic,
 * conversion, texts.  Operands are never unknown or errors unless a comment
 * says so.  Thread: the eval's. */
#ifndef DGF_CEL_OPS_H
#define DGF_CEL_OPS_H

#include "cel/cel.h"
#include "cel/parser.h"

extern const struct dgf_cel_list_ops dgf_cel_array_ops; /* dgf_cel_list_new */
struct dgf_cel_array {
    struct dgf_cel_list base;
    uint32_t n;
    const struct dgf_cel_value *items;
};

#define DGF_CEL_UNORDERED 2
static inline bool dgf_cel_is_number(unsigned kind)
{
    return kind == DGF_CEL_INT || kind == DGF_CEL_UINT || kind == DGF_CEL_DOUBLE ||
           kind == DGF_CEL_DECIMAL;
}
static inline bool dgf_cel_is_absent(unsigned kind) /* unknown or error */
{
    return kind >= DGF_CEL_UNKNOWN;
}

/* -1, 0, 1 or UNORDERED (a NaN); both are numbers. */
int dgf_cel_number_cmp(const struct dgf_cel_value *a, const struct dgf_cel_value *b);
/* Same for all kinds that have an order; -2: they have none with each other. */
int dgf_cel_order(const struct dgf_cel_value *a, const struct dgf_cel_value *b);
/* + - * / % on numbers, texts, lists, times; a missing overload is an error. */
void dgf_cel_arith(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                   const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                   struct dgf_cel_value *ret);
void dgf_cel_negate(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                    struct dgf_cel_value *ret);
/* x in list or map. */
void dgf_cel_in(struct dgf_cel_eval *eval, const struct dgf_cel_value *x,
                const struct dgf_cel_value *in, struct dgf_cel_value *ret);
void dgf_cel_no_overload(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                         const char *name, const struct dgf_cel_value *args,
                         unsigned n);
/* One of the operands is unknown or an error: gives unknown before error. */
const struct dgf_cel_value *dgf_cel_absent_of(const struct dgf_cel_value *args,
                                              unsigned n);

/* Key as maps know it: INT before UINT, doubles that are whole; false: no key. */
bool dgf_cel_key(const struct dgf_cel_value *value, struct dgf_cel_value *ret);
/* Any value as a key; false: not there. */
bool dgf_cel_map_find(struct dgf_cel_eval *eval, const struct dgf_cel_map *map,
                      const struct dgf_cel_value *key, struct dgf_cel_value *ret);
/* Of a map made by dgf_cel_map_new: is a key there twice? */
bool dgf_cel_map_repeats(const struct dgf_cel_map *map);
static inline uint32_t dgf_cel_list_size(const struct dgf_cel_list *list,
                                         struct dgf_cel_eval *eval)
{
    return list->ops == &dgf_cel_array_ops ? ((const struct dgf_cel_array *)list)->n
                                           : list->ops->size(list, eval);
}
static inline void dgf_cel_list_at(const struct dgf_cel_list *list,
                                   struct dgf_cel_eval *eval, uint32_t i,
                                   struct dgf_cel_value *ret)
{
    if (list->ops == &dgf_cel_array_ops)
        *ret = ((const struct dgf_cel_array *)list)->items[i];
    else
        list->ops->at(list, eval, i, ret);
}

/* "no such key: 'x'": an error that missing() takes for absent. */
void dgf_cel_fail_absent(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                         const char *what, struct dgf_bytes name);
bool dgf_cel_is_absence(const struct dgf_cel_value *value);

/* ---- decimals ---- */
int dgf_cel_decimal_cmp(const struct dgf_cel_value *a, const struct dgf_cel_value *b);
void dgf_cel_decimal_arith(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                           const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                           struct dgf_cel_value *ret);
void dgf_cel_decimal_text(const struct dgf_cel_value *value, struct dgf_buf *out);
double dgf_cel_decimal_double(const struct dgf_cel_value *value);
/* Truncated; false: NaN, infinite or out of range. */
bool dgf_cel_decimal_i64(const struct dgf_cel_value *value, int64_t *ret);

/* ---- times ---- */
#define DGF_CEL_MIN_TIME (-62135596800) /* 0001-01-01T00:00:00Z */
#define DGF_CEL_MAX_TIME 253402300799   /* 9999-12-31T23:59:59Z */
#define DGF_CEL_MAX_DURATION 9223372036 /* as much as 64 bits of nanoseconds hold */
bool dgf_cel_time_parse(struct dgf_bytes text, struct dgf_cel_value *ret);
bool dgf_cel_duration_parse(struct dgf_bytes text, struct dgf_cel_value *ret);
void dgf_cel_time_text(const struct dgf_cel_value *value, struct dgf_buf *out);
void dgf_cel_duration_text(const struct dgf_cel_value *value, struct dgf_buf *out);
/* Checks the range; false: out of it. */
bool dgf_cel_time_valid(const struct dgf_cel_value *value);
bool dgf_cel_duration_valid(const struct dgf_cel_value *value);
/* Seconds east of UTC at a moment; zone is an IANA name, UTC, +02:00 or -2:30. */
bool dgf_cel_zone_offset(struct dgf_bytes zone, int64_t seconds, int32_t *ret_offset);

/* ---- texts ---- */
/* Shortest text that reads back the same: 1.5, 1e+100, NaN, Infinity. */
void dgf_cel_double_text(double value, struct dgf_buf *out);
/* Copies into the eval's arena as STRING (or BYTES); charges for the length. */
bool dgf_cel_text_new(struct dgf_cel_eval *eval, unsigned kind, struct dgf_bytes text,
                      struct dgf_cel_value *ret);
/* A buffer that is emptied into the arena: text builders. */
bool dgf_cel_text_take(struct dgf_cel_eval *eval, struct dgf_buf *buf,
                       struct dgf_cel_value *ret);
uint32_t dgf_cel_utf8_size(struct dgf_bytes text); /* code points */

/* The type value of a value: type(x). */
const struct dgf_cel_type *dgf_cel_type_of_value(const struct dgf_cel_value *value);

#endif
