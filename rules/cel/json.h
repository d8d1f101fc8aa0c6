/* json.h - values, types and declarations in the JSON form of cel.expr: what
 * `dgf eval --batch` and the public conformance suite speak.
 *
 * Of our own: {"unknown":true}, {"decimalValue":"12.50"} and
 * {"optionalValue":null or a value}.  Thread: one owner. */
#ifndef DGF_CEL_JSON_H
#define DGF_CEL_JSON_H

#include "base/json.h"
#include "cel/cel.h"

/* Everything is copied into arena.  DGF_BAD_DATA: not such a value. */
enum dgf_rc dgf_cel_json_value(const json_t *json, struct dgf_arena *arena,
                               struct dgf_cel_value *ret, struct dgf_err *err)
    DGF_MUST_USE;
enum dgf_rc dgf_cel_json_type(const json_t *json, struct dgf_arena *arena,
                              const struct dgf_cel_type **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* Declares one cel.expr.Decl: a variable gets *slot, which is counted up. */
enum dgf_rc dgf_cel_json_declare(const json_t *decl, struct dgf_cel_env *env,
                                 unsigned *slot, struct dgf_err *err) DGF_MUST_USE;

/* Unknown and errors too: {"unknown":true}, {"error":"..."}. */
void dgf_cel_json_put_value(struct dgf_json *json, const struct dgf_cel_value *value);
void dgf_cel_json_put_type(struct dgf_json *json, const struct dgf_cel_type *type);

#endif
