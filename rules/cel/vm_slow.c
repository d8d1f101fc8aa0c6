#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cel/re2_shim.h"
#include "cel/vm.h"

const struct dgf_cel_error dgf_cel_out_of_budget = {
    .text = "the cost budget of one evaluation is used up", .budget = true};
const struct dgf_cel_error dgf_cel_out_of_memory = {
    .text = "the memory of one evaluation is used up", .budget = true};

/* An error that says a field or key is not there: missing() takes it for yes. */
struct absence {
    struct dgf_cel_error error;
    bool absent;
};

/* ---- failures ---- */

static void fail(struct dgf_cel_eval *eval, struct dgf_cel_value *ret, bool absent,
                 const char *text, size_t len)
{
    struct absence *it = dgf_arena_alloc(eval->arena, sizeof(*it));
    const char *copy = it ? dgf_arena_strndup(eval->arena, text, len) : NULL;

    ret->kind = DGF_CEL_ERROR;
    if (!copy) {
        ret->error = &dgf_cel_out_of_memory;
        return;
    }
    memset(it, 0, sizeof(*it));
    it->error.text = copy;
    it->absent = absent;
    ret->wide = absent;
    if (eval->program && eval->at < eval->program->n_code) {
        it->error.offset = eval->program->where[eval->at].offset;
        it->error.len = eval->program->where[eval->at].len;
    }
    ret->error = &it->error;
}

void dgf_cel_fail(struct dgf_cel_eval *eval, struct dgf_cel_value *ret, const char *fmt,
                  ...)
{
    char text[256];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        n = 0;
    *ret = (struct dgf_cel_value){0};
    fail(eval, ret, false, text,
         (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

void dgf_cel_fail_absent(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                         const char *what, struct dgf_bytes name)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "%s%s%.*s%s", what, name.len ? ": '" : "",
                     (int)(name.len > 120 ? 120 : name.len), (const char *)name.ptr,
                     name.len ? "'" : "");

    *ret = (struct dgf_cel_value){0};
    fail(eval, ret, true, text, (size_t)n);
}

bool dgf_cel_is_absence(const struct dgf_cel_value *value)
{
    return value->kind == DGF_CEL_ERROR && value->wide;
}

bool dgf_cel_charge(struct dgf_cel_eval *eval, uint64_t steps,
                    struct dgf_cel_value *ret)
{
    if (eval->budget >= steps) {
        eval->budget -= steps;
        return true;
    }
    eval->budget = 0;
    *ret =
        (struct dgf_cel_value){.kind = DGF_CEL_ERROR, .error = &dgf_cel_out_of_budget};
    return false;
}

void *dgf_cel_alloc(struct dgf_cel_eval *eval, size_t size, struct dgf_cel_value *ret)
{
    void *ptr = size == SIZE_MAX ? NULL : dgf_arena_alloc(eval->arena, size ? size : 1);

    if (!ptr)
        *ret = (struct dgf_cel_value){.kind = DGF_CEL_ERROR,
                                      .error = &dgf_cel_out_of_memory};
    return ptr;
}

void dgf_cel_no_overload(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                         const char *name, const struct dgf_cel_value *args, unsigned n)
{
    char text[256];
    int len = snprintf(text, sizeof(text), "'%.80s' does not go with (",
                       dgf_cel_written_name(name));

    for (unsigned i = 0; i < n && len < 200; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s",
                        i > 0 ? ", " : "", dgf_cel_kind_text(args[i].kind));
    dgf_cel_fail(eval, ret, "%s)", text);
}

/* ---- variables ---- */

void dgf_cel_vm_var(struct dgf_cel_eval *eval, unsigned slot, struct dgf_cel_value *ret)
{
    if (slot < eval->n_vars && eval->vars[slot].kind != DGF_CEL_UNSET) {
        *ret = eval->vars[slot];
        return;
    }
    *ret = (struct dgf_cel_value){0};
    if (!eval->resolve || !eval->resolve(eval, slot, ret) ||
        ret->kind == DGF_CEL_UNSET) {
        dgf_cel_fail(eval, ret, "a variable has no value");
        return;
    }
    if (slot < eval->n_vars)
        eval->vars[slot] = *ret;
}

#define MAX_LET_DEPTH 32

void dgf_cel_vm_let(struct dgf_cel_eval *eval, unsigned number,
                    struct dgf_cel_value *ret)
{
    const struct dgf_cel_program *program = eval->program;
    struct dgf_cel_value *trace = eval->trace;
    uint32_t at = eval->at;

    if (number < eval->n_lets && eval->lets[number].kind != DGF_CEL_UNSET) {
        *ret = eval->lets[number];
        return;
    }
    if (eval->depth >= MAX_LET_DEPTH) {
        dgf_cel_fail(eval, ret, "named expressions are nested too deeply");
        return;
    }
    eval->depth++;
    eval->trace = NULL;
    *ret = dgf_cel_run(program->env->lets[number], eval);
    eval->depth--;
    eval->trace = trace;
    eval->program = program;
    eval->at = at;
    /* What one policy's budget did not reach, the next one's may. */
    if (number < eval->n_lets && !(ret->kind == DGF_CEL_ERROR && ret->error->budget))
        eval->lets[number] = *ret;
}

/* ---- selection ---- */

static bool is_policy(const struct dgf_cel_eval *eval)
{
    return eval->program && eval->program->env->flags & DGF_CEL_POLICY;
}

static void wrap_optional(struct dgf_cel_eval *eval, struct dgf_cel_value *ret)
{
    struct dgf_cel_value *inner;

    if (dgf_cel_is_absent(ret->kind))
        return;
    inner = dgf_cel_alloc(eval, sizeof(*inner), ret);
    if (!inner)
        return;
    *inner = *ret;
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_OPTIONAL, .inner = inner};
}

static struct dgf_cel_value none(void)
{
    return (struct dgf_cel_value){.kind = DGF_CEL_OPTIONAL, .inner = NULL};
}

static void not_there(struct dgf_cel_eval *eval, enum dgf_cel_select_mode mode,
                      const char *what, struct dgf_bytes name,
                      struct dgf_cel_value *ret)
{
    if (mode == DGF_CEL_SOFT)
        *ret = dgf_cel_null();
    else if (mode == DGF_CEL_OPT)
        *ret = none();
    else
        dgf_cel_fail_absent(eval, ret, what, name);
}

/* The key as an error may say it: as it stands in the expression.  One that was
 * worked out may be a value of the event, and errors of policies leave us. */
static struct dgf_bytes key_to_say(const struct dgf_cel_eval *eval,
                                   const struct dgf_cel_value *key)
{
    const struct dgf_cel_program *program = eval->program;
    bool constant = !is_policy(eval);

    if (key->kind != DGF_CEL_STRING)
        return dgf_bytes_of(NULL, 0);
    for (uint32_t i = 0; !constant && i < program->n_consts; i++)
        constant = program->consts[i].kind == DGF_CEL_STRING &&
                   program->consts[i].ptr == key->ptr;
    return constant ? dgf_cel_bytes_of(key) : dgf_bytes_of(NULL, 0);
}

void dgf_cel_vm_select(struct dgf_cel_eval *eval, const struct dgf_cel_value *on_,
                       const struct dgf_cel_name *name, enum dgf_cel_select_mode mode,
                       struct dgf_cel_value *ret)
{
    const struct dgf_cel_value on = *on_;

    if (dgf_cel_is_absent(on.kind)) {
        *ret = on;
        return;
    }
    if (on.kind == DGF_CEL_OPTIONAL) {
        if (!on.inner)
            *ret = on;
        else
            dgf_cel_vm_select(eval, on.inner, name, DGF_CEL_OPT, ret);
        return;
    }
    if (on.kind == DGF_CEL_MAP) {
        if (!on.map->ops->get(on.map, eval, name, ret))
            not_there(eval, mode, "no such key", name->text, ret);
        else if (mode == DGF_CEL_OPT)
            wrap_optional(eval, ret);
        return;
    }
    if (on.kind == DGF_CEL_NULL && (is_policy(eval) || mode == DGF_CEL_SOFT)) {
        *ret = mode == DGF_CEL_OPT ? none() : dgf_cel_null();
        return;
    }
    dgf_cel_fail(eval, ret, "no such key: a value of type '%s' has no fields",
                 dgf_cel_kind_text(on.kind));
}

void dgf_cel_vm_has(struct dgf_cel_eval *eval, const struct dgf_cel_value *on,
                    const struct dgf_cel_name *name, struct dgf_cel_value *ret)
{
    struct dgf_cel_value value;

    dgf_cel_vm_select(eval, on, name, DGF_CEL_OPT, &value);
    if (dgf_cel_is_absent(value.kind))
        *ret = value;
    else
        *ret = dgf_cel_bool(value.inner != NULL);
}

static void index_list(struct dgf_cel_eval *eval, const struct dgf_cel_list *list,
                       const struct dgf_cel_value *key, enum dgf_cel_select_mode mode,
                       struct dgf_cel_value *ret)
{
    struct dgf_cel_value plain;

    if (!dgf_cel_is_number(key->kind) || !dgf_cel_key(key, &plain)) {
        dgf_cel_fail(eval, ret,
                     "invalid argument: the index of a list is a whole number");
        return;
    }
    if (plain.kind != DGF_CEL_INT || plain.i64 < 0 ||
        (uint64_t)plain.i64 >= dgf_cel_list_size(list, eval)) {
        not_there(eval, mode, "index out of range", dgf_bytes_of(NULL, 0), ret);
        return;
    }
    dgf_cel_list_at(list, eval, (uint32_t)plain.i64, ret);
    if (mode == DGF_CEL_OPT)
        wrap_optional(eval, ret);
}

void dgf_cel_vm_index(struct dgf_cel_eval *eval, const struct dgf_cel_value *on_,
                      const struct dgf_cel_value *key_, enum dgf_cel_select_mode mode,
                      struct dgf_cel_value *ret)
{
    const struct dgf_cel_value args[2] = {*on_, *key_};
    const struct dgf_cel_value *on = &args[0], *key = &args[1];

    if (dgf_cel_is_absent(on->kind) || dgf_cel_is_absent(key->kind)) {
        *ret = *dgf_cel_absent_of(args, 2);
    } else if (on->kind == DGF_CEL_OPTIONAL) {
        if (!on->inner)
            *ret = *on;
        else
            dgf_cel_vm_index(eval, on->inner, key, DGF_CEL_OPT, ret);
    } else if (on->kind == DGF_CEL_LIST) {
        index_list(eval, on->list, key, mode, ret);
    } else if (on->kind == DGF_CEL_MAP) {
        if (!dgf_cel_map_find(eval, on->map, key, ret))
            not_there(eval, mode, "no such key", key_to_say(eval, key), ret);
        else if (mode == DGF_CEL_OPT)
            wrap_optional(eval, ret);
    } else if (on->kind == DGF_CEL_NULL && (is_policy(eval) || mode == DGF_CEL_SOFT)) {
        *ret = mode == DGF_CEL_OPT ? none() : dgf_cel_null();
    } else {
        dgf_cel_no_overload(eval, ret, "[]", args, 2);
    }
}

void dgf_cel_vm_missing(const struct dgf_cel_value *value, struct dgf_cel_value *ret)
{
    if (value->kind == DGF_CEL_UNKNOWN)
        *ret = *value;
    else if (value->kind == DGF_CEL_ERROR && !dgf_cel_is_absence(value))
        *ret = *value;
    else
        *ret =
            dgf_cel_bool(value->kind == DGF_CEL_NULL || value->kind == DGF_CEL_ERROR ||
                         (value->kind == DGF_CEL_OPTIONAL && !value->inner));
}

/* ---- comparison and logic ---- */

void dgf_cel_vm_compare(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                        const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                        struct dgf_cel_value *ret)
{
    const struct dgf_cel_value args[2] = {*a, *b};
    int order;

    if (dgf_cel_is_absent(a->kind) || dgf_cel_is_absent(b->kind)) {
        *ret = *dgf_cel_absent_of(args, 2);
        return;
    }
    order = dgf_cel_order(a, b);
    if (order == -2) {
        dgf_cel_no_overload(eval, ret, dgf_cel_op_sign(op), args, 2);
        return;
    }
    if (order == DGF_CEL_UNORDERED)
        *ret = dgf_cel_bool(false);
    else if (op == DGF_CEL_OP_LT || op == DGF_CEL_OP_GE)
        *ret = dgf_cel_bool((order < 0) == (op == DGF_CEL_OP_LT));
    else
        *ret = dgf_cel_bool((order > 0) == (op == DGF_CEL_OP_GT));
}

static bool is_budget(const struct dgf_cel_value *value)
{
    return value->kind == DGF_CEL_ERROR && value->error->budget;
}

void dgf_cel_vm_logic(struct dgf_cel_eval *eval, bool wins,
                      const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                      struct dgf_cel_value *ret)
{
    const struct dgf_cel_value args[2] = {*a, *b};

    for (int i = 0; i < 2; i++) {
        if (is_budget(&args[i])) {
            *ret = args[i];
            return;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (args[i].kind == DGF_CEL_BOOL && args[i].boolean == wins) {
            *ret = args[i];
            return;
        }
    }
    if (dgf_cel_is_absent(a->kind) || dgf_cel_is_absent(b->kind))
        *ret = *dgf_cel_absent_of(args, 2);
    else if (args[0].kind == DGF_CEL_BOOL && args[1].kind == DGF_CEL_BOOL)
        *ret = dgf_cel_bool(!wins);
    else
        dgf_cel_no_overload(eval, ret, wins ? "||" : "&&", args, 2);
}

void dgf_cel_vm_not(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                    struct dgf_cel_value *ret)
{
    const struct dgf_cel_value arg = *a;

    if (arg.kind == DGF_CEL_BOOL)
        *ret = dgf_cel_bool(!arg.boolean);
    else if (dgf_cel_is_absent(arg.kind))
        *ret = arg;
    else
        dgf_cel_no_overload(eval, ret, "!", &arg, 1);
}

/* ---- containers ---- */

static const struct dgf_cel_value *any_absent(const struct dgf_cel_value *items,
                                              unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (dgf_cel_is_absent(items[i].kind))
            return dgf_cel_absent_of(items, n);
    return NULL;
}

/* A spliced optional: its value, or left out. */
static bool keep_item(const struct dgf_cel_value *item, struct dgf_cel_value *ret)
{
    if (item->kind == DGF_CEL_OPTIONAL && item->wide) {
        if (!item->inner)
            return false;
        *ret = *item->inner;
    } else {
        *ret = *item;
    }
    return true;
}

void dgf_cel_vm_list(struct dgf_cel_eval *eval, const struct dgf_cel_value *items,
                     unsigned n, struct dgf_cel_value *ret)
{
    const struct dgf_cel_value *absent = any_absent(items, n);
    const struct dgf_cel_list *list;
    struct dgf_cel_value *copy;
    uint32_t kept = 0;

    if (absent) {
        *ret = *absent;
        return;
    }
    if (!dgf_cel_charge(eval, n, ret))
        return;
    copy = dgf_arena_alloc(eval->arena, (n + 1) * sizeof(*copy));
    if (!copy) {
        dgf_cel_alloc(eval, SIZE_MAX, ret);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        kept += keep_item(&items[i], &copy[kept]);
    list = dgf_cel_list_new(eval->arena, copy, kept);
    if (list)
        *ret = dgf_cel_list_of(list);
    else
        dgf_cel_alloc(eval, SIZE_MAX, ret);
}

static bool is_key(const struct dgf_cel_value *key)
{
    return key->kind == DGF_CEL_STRING || key->kind == DGF_CEL_INT ||
           key->kind == DGF_CEL_UINT || key->kind == DGF_CEL_BOOL;
}

static void map_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *pairs,
                   unsigned n, struct dgf_cel_value *ret)
{
    const struct dgf_cel_map *map;

    for (unsigned i = 0; i < n; i++) {
        if (!is_key(&pairs[2 * i])) {
            dgf_cel_fail(eval, ret, "unsupported key type '%s'",
                         dgf_cel_kind_text(pairs[2 * i].kind));
            return;
        }
    }
    map = dgf_cel_map_new(eval->arena, pairs, n);
    if (!map)
        dgf_cel_alloc(eval, SIZE_MAX, ret);
    else if (dgf_cel_map_repeats(map))
        dgf_cel_fail(eval, ret, "a key stands in a map twice");
    else
        *ret = dgf_cel_map_of(map);
}

void dgf_cel_vm_map(struct dgf_cel_eval *eval, const struct dgf_cel_value *pairs,
                    unsigned n, struct dgf_cel_value *ret)
{
    const struct dgf_cel_value *absent = any_absent(pairs, 2 * n);
    struct dgf_cel_value *copy;
    uint32_t kept = 0;

    if (absent) {
        *ret = *absent;
        return;
    }
    if (!dgf_cel_charge(eval, 2 * n, ret))
        return;
    copy = dgf_arena_alloc(eval->arena, (2 * n + 1) * sizeof(*copy));
    if (!copy) {
        dgf_cel_alloc(eval, SIZE_MAX, ret);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        if (keep_item(&pairs[2 * i + 1], &copy[2 * kept + 1])) {
            copy[2 * kept] = pairs[2 * i];
            kept++;
        }
    }
    map_of(eval, copy, kept, ret);
}

/* ---- calls ---- */

void dgf_cel_vm_call(struct dgf_cel_eval *eval, const struct dgf_cel_site *site,
                     const struct dgf_cel_value *args, unsigned n,
                     struct dgf_cel_value *ret)
{
    struct dgf_cel_value result;

    for (unsigned i = 0; i < n; i++) {
        if (dgf_cel_is_absent(args[i].kind)) {
            result = *dgf_cel_absent_of(args, n);
            *ret = result;
            return;
        }
    }
    for (unsigned k = 0; k < site->n_overloads; k++) {
        const struct dgf_cel_overload *overload = site->overloads[k];
        unsigned i = 0;

        while (i < n && (overload->masks[i] >> args[i].kind & 1))
            i++;
        if (i < n || !overload->row->fn)
            continue;
        if (!dgf_cel_charge(eval, 1 + overload->row->cost, ret))
            return;
        result = (struct dgf_cel_value){0};
        overload->row->fn(eval, args, &result);
        *ret = result;
        return;
    }
    if (site->n_overloads == 0)
        dgf_cel_fail(eval, ret, "unknown function '%.100s'",
                     dgf_cel_written_name(site->name));
    else
        dgf_cel_no_overload(eval, ret, site->name, args, n);
}

void dgf_cel_vm_matches(struct dgf_cel_eval *eval, const struct dgf_cel_regex *regex,
                        const struct dgf_cel_value *text, struct dgf_cel_value *ret)
{
    const struct dgf_cel_value arg = *text;

    if (dgf_cel_is_absent(arg.kind))
        *ret = arg;
    else if (arg.kind != DGF_CEL_STRING)
        dgf_cel_no_overload(eval, ret, "matches", &arg, 1);
    else if (dgf_cel_charge(eval, 2 + arg.len / 8, ret))
        *ret =
            dgf_cel_bool(dgf_cel_regex_matches(regex, (const char *)arg.ptr, arg.len));
}

/* ---- walking and building ---- */

bool dgf_cel_vm_iter(struct dgf_cel_eval *eval, const struct dgf_cel_value *range,
                     struct dgf_cel_iter *iter, struct dgf_cel_value *ret)
{
    const struct dgf_cel_value arg = *range;

    *iter = (struct dgf_cel_iter){0};
    if (arg.kind == DGF_CEL_LIST) {
        iter->list = arg.list;
        iter->n = dgf_cel_list_size(arg.list, eval);
    } else if (arg.kind == DGF_CEL_MAP) {
        iter->map = arg.map;
    } else if (dgf_cel_is_absent(arg.kind)) {
        *ret = arg;
        return false;
    } else {
        dgf_cel_fail(eval, ret, "a value of type '%s' has no items",
                     dgf_cel_kind_text(arg.kind));
        return false;
    }
    return true;
}

bool dgf_cel_vm_next(struct dgf_cel_eval *eval, struct dgf_cel_iter *iter,
                     unsigned n_vars, struct dgf_cel_value *ret_vars)
{
    if (iter->map)
        return iter->map->ops->next(iter->map, eval, &iter->at, &ret_vars[0],
                                    n_vars == 2 ? &ret_vars[1] : NULL);
    if (iter->at >= iter->n)
        return false;
    if (n_vars == 2)
        ret_vars[0] = dgf_cel_int((int64_t)iter->at);
    dgf_cel_list_at(iter->list, eval, (uint32_t)iter->at, &ret_vars[n_vars - 1]);
    iter->at++;
    return true;
}

bool dgf_cel_vm_add(struct dgf_cel_eval *eval, struct dgf_cel_builder *builder,
                    const struct dgf_cel_value *items, unsigned n,
                    struct dgf_cel_value *ret)
{
    if (builder->cap - builder->n < n) {
        uint32_t cap = builder->cap ? builder->cap * 2 : 8;
        struct dgf_cel_value *more;

        more = cap > UINT32_MAX / 4 ? dgf_cel_alloc(eval, SIZE_MAX, ret)
                                    : dgf_cel_alloc(eval, cap * sizeof(*more), ret);
        if (!more || !dgf_cel_charge(eval, cap / 4, ret))
            return false;
        if (builder->n > 0)
            memcpy(more, builder->items, builder->n * sizeof(*more));
        builder->items = more;
        builder->cap = cap;
    }
    memcpy(builder->items + builder->n, items, n * sizeof(*items));
    builder->n += n;
    return true;
}

bool dgf_cel_vm_merge(struct dgf_cel_eval *eval, struct dgf_cel_builder *builder,
                      const struct dgf_cel_value *map, struct dgf_cel_value *ret)
{
    const struct dgf_cel_value arg = *map;
    struct dgf_cel_value pair[2];
    uint64_t at = 0;

    if (arg.kind != DGF_CEL_MAP) {
        dgf_cel_no_overload(eval, ret, "transformMapEntry", &arg, 1);
        return false;
    }
    while (arg.map->ops->next(arg.map, eval, &at, &pair[0], &pair[1]))
        if (!dgf_cel_charge(eval, 1, ret) ||
            !dgf_cel_vm_add(eval, builder, pair, 2, ret))
            return false;
    return true;
}
