/* types.h - type terms: texts, signatures, unification.
 *
 * The checker works with type variables that are bound as it goes; a trail
 * takes bindings back when an overload does not fit.  Thread: one owner. */
#ifndef DGF_CEL_TYPES_H
#define DGF_CEL_TYPES_H

#include "cel/cel.h"

#define DGF_CEL_MAX_ARGS 16

/* A function's overload, its signature read. */
struct dgf_cel_overload {
    const char *name;
    const struct dgf_cel_function *row; /* fn NULL: declared, not implemented here */
    struct dgf_cel_overload *next;      /* same name */
    bool member;
    uint8_t n_args; /* receiver included */
    const struct dgf_cel_type *args[DGF_CEL_MAX_ARGS];
    uint32_t masks[DGF_CEL_MAX_ARGS]; /* runtime kinds that fit */
    const struct dgf_cel_type *result;
};

/* Reads a signature (cel.h); false: malformed or out of memory. */
bool dgf_cel_signature(const char *text, struct dgf_arena *arena,
                       struct dgf_cel_overload *ret);
/* One type: "map<string, list<int>>". */
const struct dgf_cel_type *dgf_cel_type_parse(const char *text,
                                              struct dgf_arena *arena);
uint32_t dgf_cel_type_mask(const struct dgf_cel_type *type);

#define DGF_CEL_MAX_PARAMS 4
/* name is borrowed. */
const struct dgf_cel_type *dgf_cel_type_of_params(
    struct dgf_arena *arena, enum dgf_cel_type_kind kind, const char *name,
    const struct dgf_cel_type *const *params, unsigned n_params);
const struct dgf_cel_type *dgf_cel_type_new(struct dgf_arena *arena,
                                            enum dgf_cel_type_kind kind,
                                            const char *name,
                                            const struct dgf_cel_type *a,
                                            const struct dgf_cel_type *b);

#define DGF_CEL_MAX_TRAIL 256
struct dgf_cel_typevar;
struct dgf_cel_unifier {
    struct dgf_arena *arena;
    bool loose_null; /* policies: every field may be null */
    bool nomem;
    struct dgf_cel_typevar *trail[DGF_CEL_MAX_TRAIL];
    unsigned n_trail;
};

const struct dgf_cel_type *dgf_cel_fresh(struct dgf_cel_unifier *unifier);
/* The type behind bound variables. */
const struct dgf_cel_type *dgf_cel_type_deref(const struct dgf_cel_type *type);
/* May a value of `from` stand where `to` is wanted?  Binds variables; on false
 * all bindings made meanwhile are taken back. */
bool dgf_cel_assign(struct dgf_cel_unifier *unifier, const struct dgf_cel_type *to,
                    const struct dgf_cel_type *from);
/* Takes back bindings made since mark = unifier->n_trail. */
void dgf_cel_undo(struct dgf_cel_unifier *unifier, unsigned mark);
/* Signature letters replaced by the variables in vars (made when NULL). */
const struct dgf_cel_type *dgf_cel_instantiate(struct dgf_cel_unifier *unifier,
                                               const struct dgf_cel_type *type,
                                               const struct dgf_cel_type *vars[26]);
/* A term without variables: unbound ones become dyn. */
const struct dgf_cel_type *dgf_cel_type_final(struct dgf_arena *arena,
                                              const struct dgf_cel_type *type);

#endif
