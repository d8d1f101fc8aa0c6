/* vm.h - the machine's slow paths: whatever is not the common case of an
 * instruction.  Each replaces the operands by its result in *ret. */
#ifndef DGF_CEL_VM_H
#define DGF_CEL_VM_H

#include "cel/ops.h"
#include "cel/program.h"

/* Walks over a list or map. */
struct dgf_cel_iter {
    const struct dgf_cel_list *list; /* else map */
    const struct dgf_cel_map *map;
    uint64_t at;
    uint32_t n;
};

/* A list or map that grows: items, or keys and values. */
struct dgf_cel_builder {
    struct dgf_cel_value *items;
    uint32_t n, cap;
};

enum dgf_cel_select_mode { DGF_CEL_MUST, DGF_CEL_SOFT, DGF_CEL_OPT };

void dgf_cel_vm_var(struct dgf_cel_eval *eval, unsigned slot,
                    struct dgf_cel_value *ret);
void dgf_cel_vm_let(struct dgf_cel_eval *eval, unsigned number,
                    struct dgf_cel_value *ret);
void dgf_cel_vm_select(struct dgf_cel_eval *eval, const struct dgf_cel_value *on,
                       const struct dgf_cel_name *name, enum dgf_cel_select_mode mode,
                       struct dgf_cel_value *ret);
void dgf_cel_vm_has(struct dgf_cel_eval *eval, const struct dgf_cel_value *on,
                    const struct dgf_cel_name *name, struct dgf_cel_value *ret);
void dgf_cel_vm_index(struct dgf_cel_eval *eval, const struct dgf_cel_value *on,
                      const struct dgf_cel_value *key, enum dgf_cel_select_mode mode,
                      struct dgf_cel_value *ret);
void dgf_cel_vm_missing(const struct dgf_cel_value *value, struct dgf_cel_value *ret);
void dgf_cel_vm_compare(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                        const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                        struct dgf_cel_value *ret);
/* && and || of two values, whatever they are; `wins` is the value that decides. */
void dgf_cel_vm_logic(struct dgf_cel_eval *eval, bool wins,
                      const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                      struct dgf_cel_value *ret);
void dgf_cel_vm_not(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                    struct dgf_cel_value *ret);
void dgf_cel_vm_list(struct dgf_cel_eval *eval, const struct dgf_cel_value *items,
                     unsigned n, struct dgf_cel_value *ret);
void dgf_cel_vm_map(struct dgf_cel_eval *eval, const struct dgf_cel_value *pairs,
                    unsigned n, struct dgf_cel_value *ret);
void dgf_cel_vm_call(struct dgf_cel_eval *eval, const struct dgf_cel_site *site,
                     const struct dgf_cel_value *args, unsigned n,
                     struct dgf_cel_value *ret);
void dgf_cel_vm_matches(struct dgf_cel_eval *eval, const struct dgf_cel_regex *regex,
                        const struct dgf_cel_value *text, struct dgf_cel_value *ret);
/* False: *ret is an error or unknown instead. */
bool dgf_cel_vm_iter(struct dgf_cel_eval *eval, const struct dgf_cel_value *range,
                     struct dgf_cel_iter *iter, struct dgf_cel_value *ret);
/* False: at the end. */
bool dgf_cel_vm_next(struct dgf_cel_eval *eval, struct dgf_cel_iter *iter,
                     unsigned n_vars, struct dgf_cel_value *ret_vars);
bool dgf_cel_vm_add(struct dgf_cel_eval *eval, struct dgf_cel_builder *builder,
                    const struct dgf_cel_value *items, unsigned n,
                    struct dgf_cel_value *ret);
bool dgf_cel_vm_merge(struct dgf_cel_eval *eval, struct dgf_cel_builder *builder,
                      const struct dgf_cel_value *map, struct dgf_cel_value *ret);

#endif
