#include "cel/functions.h"
#include "cel/ops.h"

/* optional.of() and what optionals can do. */

static void none(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                 struct dgf_cel_value *ret)
{
    (void)eval;
    (void)args;
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_OPTIONAL, .inner = NULL};
}

static void of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
               struct dgf_cel_value *ret)
{
    struct dgf_cel_value *inner = dgf_cel_alloc(eval, sizeof(*inner), ret);

    if (!inner)
        return;
    *inner = args[0];
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_OPTIONAL, .inner = inner};
}

static bool is_zero(struct dgf_cel_eval *eval, const struct dgf_cel_value *v)
{
    switch (v->kind) {
    case DGF_CEL_NULL:
        return true;
    case DGF_CEL_BOOL:
        return !v->boolean;
    case DGF_CEL_INT:
    case DGF_CEL_UINT:
        return v->u64 == 0;
    case DGF_CEL_DOUBLE:
        return v->dbl == 0;
    case DGF_CEL_STRING:
    case DGF_CEL_BYTES:
        return v->len == 0;
    case DGF_CEL_DURATION:
    case DGF_CEL_TIMESTAMP:
        return v->i64 == 0 && v->len == 0;
    case DGF_CEL_LIST:
        return dgf_cel_list_size(v->list, eval) == 0;
    case DGF_CEL_MAP:
        return v->map->ops->size(v->map, eval) == 0;
    case DGF_CEL_OPTIONAL:
        return !v->inner;
    case DGF_CEL_DECIMAL: {
        const struct dgf_cel_value zero = dgf_cel_int(0);

        return dgf_cel_decimal_cmp(v, &zero) == 0;
    }
    default:
        return false;
    }
}

static void of_non_zero(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                        struct dgf_cel_value *ret)
{
    if (is_zero(eval, &args[0]))
        none(eval, args, ret);
    else
        of(eval, args, ret);
}

static void has_value(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                      struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_bool(args[0].inner != NULL);
}

static void value(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                  struct dgf_cel_value *ret)
{
    if (args[0].inner)
        *ret = *args[0].inner;
    else
        dgf_cel_fail(eval, ret, "optional.none() has no value");
}

static void or (struct dgf_cel_eval * eval, const struct dgf_cel_value *args,
                struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = args[args[0].inner ? 0 : 1];
}

static void or_value(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                     struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = args[0].inner ? *args[0].inner : args[1];
}

static void unwrap(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                   struct dgf_cel_value *ret)
{
    uint32_t n = dgf_cel_list_size(args[0].list, eval), kept = 0;
    const struct dgf_cel_list *list;
    struct dgf_cel_value *items, item;

    if (!dgf_cel_charge(eval, n, ret))
        return;
    items = dgf_cel_alloc(eval, ((size_t)n + 1) * sizeof(*items), ret);
    if (!items)
        return;
    for (uint32_t i = 0; i < n; i++) {
        dgf_cel_list_at(args[0].list, eval, i, &item);
        if (item.kind != DGF_CEL_OPTIONAL) {
            dgf_cel_no_overload(eval, ret, "unwrap", &item, 1);
            return;
        }
        if (item.inner)
            items[kept++] = *item.inner;
    }
    list = dgf_cel_list_new(eval->arena, items, kept);
    if (list)
        *ret = dgf_cel_list_of(list);
    else
        dgf_cel_alloc(eval, SIZE_MAX, ret);
}

const struct dgf_cel_function dgf_cel_fn_optional[] = {
    {"optional.none", "() -> optional<A>", 0, none},
    {"optional.of", "(A) -> optional<A>", 0, of},
    {"optional.ofNonZeroValue", "(A) -> optional<A>", 0, of_non_zero},
    {"hasValue", "optional<A>.() -> bool", 0, has_value},
    {"value", "optional<A>.() -> A", 0, value},
    {"or", "optional<A>.(optional<A>) -> optional<A>", 0, or },
    {"orValue", "optional<A>.(A) -> A", 0, or_value},
    {"optional.unwrap", "(list<optional<A>>) -> list<A>", 0, unwrap},
    {"unwrapOpt", "list<optional<A>>.() -> list<A>", 0, unwrap},
    {NULL, NULL, 0, NULL},
};
