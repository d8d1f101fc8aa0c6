#include "cel/ops.h"

#include <string.h>

/* ---- order ---- */

static int cmp_double(double a, double b)
{
    if (a != a || b != b)
        return DGF_CEL_UNORDERED;
    return a < b ? -1 : a > b;
}

static int cmp_double_int(double a, int64_t b)
{
    if (a < -9223372036854775808.0)
        return -1;
    return cmp_double(a, (double)b);
}

static int cmp_double_uint(double a, uint64_t b)
{
    return cmp_double(a, (double)b);
}

static int swap_order(int order)
{
    return order == DGF_CEL_UNORDERED ? order : -order;
}

int dgf_cel_number_cmp(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    if (a->kind == DGF_CEL_DECIMAL || b->kind == DGF_CEL_DECIMAL)
        return dgf_cel_decimal_cmp(a, b);
    if (a->kind == DGF_CEL_INT) {
        if (b->kind == DGF_CEL_INT)
            return a->i64 < b->i64 ? -1 : a->i64 > b->i64;
        if (b->kind == DGF_CEL_UINT)
            return a->i64 < 0 || a->u64 < b->u64 ? -1 : a->u64 > b->u64;
        return swap_order(cmp_double_int(b->dbl, a->i64));
    }
    if (a->kind == DGF_CEL_UINT) {
        if (b->kind == DGF_CEL_UINT)
            return a->u64 < b->u64 ? -1 : a->u64 > b->u64;
        if (b->kind == DGF_CEL_INT)
            return b->i64 < 0 || a->u64 > b->u64 ? 1 : a->u64 == b->u64 ? 0 : -1;
        return swap_order(cmp_double_uint(b->dbl, a->u64));
    }
    if (b->kind == DGF_CEL_DOUBLE)
        return cmp_double(a->dbl, b->dbl);
    return b->kind == DGF_CEL_INT ? cmp_double_int(a->dbl, b->i64)
                                  : cmp_double_uint(a->dbl, b->u64);
}

static int cmp_bytes(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    uint32_t n = a->len < b->len ? a->len : b->len;
    int order = n > 0 ? memcmp(a->ptr, b->ptr, n) : 0;

    if (order != 0)
        return order < 0 ? -1 : 1;
    return a->len < b->len ? -1 : a->len > b->len;
}

int dgf_cel_order(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    if (dgf_cel_is_number(a->kind) && dgf_cel_is_number(b->kind))
        return dgf_cel_number_cmp(a, b);
    if (a->kind != b->kind)
        return -2;
    switch (a->kind) {
    case DGF_CEL_STRING:
    case DGF_CEL_BYTES:
        return cmp_bytes(a, b);
    case DGF_CEL_BOOL:
        return (int)a->boolean - (int)b->boolean;
    case DGF_CEL_TIMESTAMP:
    case DGF_CEL_DURATION:
        if (a->i64 != b->i64)
            return a->i64 < b->i64 ? -1 : 1;
        return a->len < b->len ? -1 : a->len > b->len;
    default:
        return -2;
    }
}

/* ---- equality ---- */

#define MAX_EQUAL_DEPTH 100

static struct dgf_cel_value equal(struct dgf_cel_eval *eval,
                                  const struct dgf_cel_value *a,
                                  const struct dgf_cel_value *b, unsigned depth);

/* false ends a comparison; else unknown before error before true. */
static bool merge(struct dgf_cel_value *all, const struct dgf_cel_value *one)
{
    if (one->kind == DGF_CEL_BOOL && !one->boolean) {
        *all = *one;
        return false;
    }
    if (one->kind == DGF_CEL_UNKNOWN ||
        (one->kind == DGF_CEL_ERROR && all->kind != DGF_CEL_UNKNOWN))
        *all = *one;
    return true;
}

static struct dgf_cel_value equal_lists(struct dgf_cel_eval *eval,
                                        const struct dgf_cel_list *a,
                                        const struct dgf_cel_list *b, unsigned depth)
{
    uint32_t n = dgf_cel_list_size(a, eval);
    struct dgf_cel_value all = dgf_cel_bool(true), x, y, one;

    if (n != dgf_cel_list_size(b, eval))
        return dgf_cel_bool(false);
    for (uint32_t i = 0; i < n; i++) {
        if (!dgf_cel_charge(eval, 1, &all))
            return all;
        dgf_cel_list_at(a, eval, i, &x);
        dgf_cel_list_at(b, eval, i, &y);
        one = equal(eval, &x, &y, depth + 1);
        if (!merge(&all, &one))
            break;
    }
    return all;
}

static struct dgf_cel_value equal_maps(struct dgf_cel_eval *eval,
                                       const struct dgf_cel_map *a,
                                       const struct dgf_cel_map *b, unsigned depth)
{
    struct dgf_cel_value all = dgf_cel_bool(true), key, x, y, one;
    uint64_t at = 0;

    if (a->ops->size(a, eval) != b->ops->size(b, eval))
        return dgf_cel_bool(false);
    while (a->ops->next(a, eval, &at, &key, &x)) {
        if (!dgf_cel_charge(eval, 2, &all))
            return all;
        if (!dgf_cel_map_find(eval, b, &key, &y))
            return dgf_cel_bool(false);
        one = equal(eval, &x, &y, depth + 1);
        if (!merge(&all, &one))
            break;
    }
    return all;
}

static struct dgf_cel_value equal(struct dgf_cel_eval *eval,
                                  const struct dgf_cel_value *a,
                                  const struct dgf_cel_value *b, unsigned depth)
{
    struct dgf_cel_value failed;

    if (dgf_cel_is_absent(a->kind) || dgf_cel_is_absent(b->kind)) {
        const struct dgf_cel_value both[2] = {*a, *b};

        return *dgf_cel_absent_of(both, 2);
    }
    if (depth > MAX_EQUAL_DEPTH) {
        dgf_cel_fail(eval, &failed, "values are nested too deeply to compare");
        return failed;
    }
    if (dgf_cel_is_number(a->kind) && dgf_cel_is_number(b->kind))
        return dgf_cel_bool(dgf_cel_number_cmp(a, b) == 0);
    if (a->kind != b->kind)
        return dgf_cel_bool(false);
    switch (a->kind) {
    case DGF_CEL_NULL:
        return dgf_cel_bool(true);
    case DGF_CEL_STRING:
    case DGF_CEL_BYTES:
        if (!dgf_cel_charge(eval, a->len / 64, &failed))
            return failed;
        return dgf_cel_bool(a->len == b->len &&
                            (a->len == 0 || memcmp(a->ptr, b->ptr, a->len) == 0));
    case DGF_CEL_LIST:
        return equal_lists(eval, a->list, b->list, depth);
    case DGF_CEL_MAP:
        return equal_maps(eval, a->map, b->map, depth);
    case DGF_CEL_TYPE:
        return dgf_cel_bool(strcmp(a->type->name, b->type->name) == 0);
    case DGF_CEL_OPTIONAL:
        if (!a->inner || !b->inner)
            return dgf_cel_bool(a->inner == b->inner);
        return equal(eval, a->inner, b->inner, depth + 1);
    case DGF_CEL_OPAQUE:
        return dgf_cel_bool(strcmp(a->opaque->type->name, b->opaque->type->name) == 0 &&
                            a->opaque->equal && a->opaque->equal(a->opaque, b->opaque));
    default:
        return dgf_cel_bool(dgf_cel_order(a, b) == 0);
    }
}

struct dgf_cel_value dgf_cel_equal(struct dgf_cel_eval *eval,
                                   const struct dgf_cel_value *a,
                                   const struct dgf_cel_value *b)
{
    return equal(eval, a, b, 0);
}

const struct dgf_cel_value *dgf_cel_absent_of(const struct dgf_cel_value *args,
                                              unsigned n)
{
    const struct dgf_cel_value *found = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (args[i].kind == DGF_CEL_ERROR && args[i].error->budget) {
            found = &args[i];
            break;
        }
        if (args[i].kind == DGF_CEL_UNKNOWN && (!found || found->kind == DGF_CEL_ERROR))
            found = &args[i];
        if (args[i].kind == DGF_CEL_ERROR && !found)
            found = &args[i];
    }
    return found;
}

/* ---- membership ---- */

void dgf_cel_in(struct dgf_cel_eval *eval, const struct dgf_cel_value *x,
                const struct dgf_cel_value *in, struct dgf_cel_value *ret)
{
    struct dgf_cel_value found = dgf_cel_bool(false), item, one;
    uint32_t n;

    if (in->kind == DGF_CEL_MAP) {
        *ret = dgf_cel_bool(dgf_cel_map_find(eval, in->map, x, &item));
        return;
    }
    if (in->kind != DGF_CEL_LIST) {
        const struct dgf_cel_value args[2] = {*x, *in};

        dgf_cel_no_overload(eval, ret, "in", args, 2);
        return;
    }
    n = dgf_cel_list_size(in->list, eval);
    for (uint32_t i = 0; i < n; i++) {
        if (!dgf_cel_charge(eval, 1, ret))
            return;
        dgf_cel_list_at(in->list, eval, i, &item);
        one = dgf_cel_equal(eval, x, &item);
        if (one.kind == DGF_CEL_BOOL && one.boolean) {
            *ret = one;
            return;
        }
        if (one.kind == DGF_CEL_UNKNOWN ||
            (one.kind == DGF_CEL_ERROR && found.kind != DGF_CEL_UNKNOWN))
            found = one;
    }
    *ret = found;
}

/* ---- arithmetic ---- */

static void fail_overflow(struct dgf_cel_eval *eval, struct dgf_cel_value *ret)
{
    dgf_cel_fail(eval, ret, "integer overflow");
}

static void arith_int(struct dgf_cel_eval *eval, enum dgf_cel_op op, int64_t a,
                      int64_t b, struct dgf_cel_value *ret)
{
    int64_t result = 0;
    bool bad = false;

    switch (op) {
    case DGF_CEL_OP_ADD:
        bad = __builtin_add_overflow(a, b, &result);
        break;
    case DGF_CEL_OP_SUB:
        bad = __builtin_sub_overflow(a, b, &result);
        break;
    case DGF_CEL_OP_MUL:
        bad = __builtin_mul_overflow(a, b, &result);
        break;
    default:
        if (b == 0) {
            dgf_cel_fail(eval, ret,
                         op == DGF_CEL_OP_DIV ? "division by zero" : "modulus by zero");
            return;
        }
        bad = a == INT64_MIN && b == -1;
        if (!bad)
            result = op == DGF_CEL_OP_DIV ? a / b : a % b;
        break;
    }
    if (bad)
        fail_overflow(eval, ret);
    else
        *ret = dgf_cel_int(result);
}

static void arith_uint(struct dgf_cel_eval *eval, enum dgf_cel_op op, uint64_t a,
                       uint64_t b, struct dgf_cel_value *ret)
{
    uint64_t result = 0;
    bool bad = false;

    switch (op) {
    case DGF_CEL_OP_ADD:
        bad = __builtin_add_overflow(a, b, &result);
        break;
    case DGF_CEL_OP_SUB:
        bad = __builtin_sub_overflow(a, b, &result);
        break;
    case DGF_CEL_OP_MUL:
        bad = __builtin_mul_overflow(a, b, &result);
        break;
    default:
        if (b == 0) {
            dgf_cel_fail(eval, ret,
                         op == DGF_CEL_OP_DIV ? "division by zero" : "modulus by zero");
            return;
        }
        result = op == DGF_CEL_OP_DIV ? a / b : a % b;
        break;
    }
    if (bad)
        fail_overflow(eval, ret);
    else
        *ret = dgf_cel_uint(result);
}

static bool arith_double(enum dgf_cel_op op, double a, double b,
                         struct dgf_cel_value *ret)
{
    double result;

    if (op == DGF_CEL_OP_ADD)
        result = a + b;
    else if (op == DGF_CEL_OP_SUB)
        result = a - b;
    else if (op == DGF_CEL_OP_MUL)
        result = a * b;
    else if (op == DGF_CEL_OP_DIV)
        result = a / b;
    else
        return false;
    *ret = dgf_cel_double(result);
    return true;
}

static void concat_bytes(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                         const struct dgf_cel_value *b, struct dgf_cel_value *ret)
{
    size_t len = (size_t)a->len + b->len;
    uint8_t *text;

    if (len > UINT32_MAX || !dgf_cel_charge(eval, len / 16, ret)) {
        dgf_cel_charge(eval, UINT64_MAX, ret);
        return;
    }
    text = dgf_cel_alloc(eval, len, ret);
    if (!text)
        return;
    if (a->len > 0)
        memcpy(text, a->ptr, a->len);
    if (b->len > 0)
        memcpy(text + a->len, b->ptr, b->len);
    *ret = (struct dgf_cel_value){.kind = a->kind, .len = (uint32_t)len, .ptr = text};
}

static void concat_lists(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                         const struct dgf_cel_value *b, struct dgf_cel_value *ret)
{
    uint64_t n = dgf_cel_list_size(a->list, eval), m = dgf_cel_list_size(b->list, eval);
    struct dgf_cel_value *items;
    const struct dgf_cel_list *list;

    if (!dgf_cel_charge(eval, n + m, ret))
        return;
    items = dgf_cel_alloc(eval, (n + m) * sizeof(*items), ret);
    if (!items)
        return;
    for (uint32_t i = 0; i < n; i++)
        dgf_cel_list_at(a->list, eval, i, &items[i]);
    for (uint32_t i = 0; i < m; i++)
        dgf_cel_list_at(b->list, eval, i, &items[n + i]);
    list = dgf_cel_list_new(eval->arena, items, (uint32_t)(n + m));
    if (list)
        *ret = dgf_cel_list_of(list);
    else
        dgf_cel_alloc(eval, SIZE_MAX, ret);
}

/* b is negated for a subtraction. */
static void add_time(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                     const struct dgf_cel_value *b, bool minus, unsigned kind,
                     struct dgf_cel_value *ret)
{
    int64_t seconds, ns;
    bool bad;

    if (minus) {
        bad = __builtin_sub_overflow(a->i64, b->i64, &seconds);
        ns = (int64_t)a->len - b->len;
    } else {
        bad = __builtin_add_overflow(a->i64, b->i64, &seconds);
        ns = (int64_t)a->len + b->len;
    }
    if (ns < 0) {
        ns += 1000000000;
        bad |= __builtin_sub_overflow(seconds, 1, &seconds);
    } else if (ns >= 1000000000) {
        ns -= 1000000000;
        bad |= __builtin_add_overflow(seconds, 1, &seconds);
    }
    *ret = (struct dgf_cel_value){
        .kind = (uint8_t)kind, .len = (uint32_t)ns, .i64 = seconds};
    bad |= kind == DGF_CEL_TIMESTAMP ? !dgf_cel_time_valid(ret)
                                     : !dgf_cel_duration_valid(ret);
    if (bad)
        dgf_cel_fail(eval, ret,
                     kind == DGF_CEL_TIMESTAMP ? "timestamp out of range"
                                               : "duration out of range");
}

static bool arith_time(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                       const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                       struct dgf_cel_value *ret)
{
    bool minus = op == DGF_CEL_OP_SUB;
    bool a_time = a->kind == DGF_CEL_TIMESTAMP, b_time = b->kind == DGF_CEL_TIMESTAMP;

    if (!minus && op != DGF_CEL_OP_ADD)
        return false;
    if ((!a_time && a->kind != DGF_CEL_DURATION) ||
        (!b_time && b->kind != DGF_CEL_DURATION))
        return false;
    if (a_time && b_time) {
        if (!minus)
            return false;
        add_time(eval, a, b, true, DGF_CEL_DURATION, ret);
    } else if (a_time || b_time) {
        if (minus && b_time)
            return false;
        add_time(eval, a, b, minus, DGF_CEL_TIMESTAMP, ret);
    } else {
        add_time(eval, a, b, minus, DGF_CEL_DURATION, ret);
    }
    return true;
}

/* Decimals mix with whole numbers and with literals, not with other doubles,
 * which are not what they look like. */
static bool decimal_mix(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    const struct dgf_cel_value *other = a->kind == DGF_CEL_DECIMAL ? b : a;

    if (a->kind != DGF_CEL_DECIMAL && b->kind != DGF_CEL_DECIMAL)
        return false;
    return other->kind == DGF_CEL_DECIMAL || other->kind == DGF_CEL_INT ||
           other->kind == DGF_CEL_UINT ||
           (other->kind == DGF_CEL_DOUBLE && other->wide);
}

void dgf_cel_arith(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                   const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                   struct dgf_cel_value *ret)
{
    const struct dgf_cel_value args[2] = {*a, *b};

    if (dgf_cel_is_absent(a->kind) || dgf_cel_is_absent(b->kind)) {
        *ret = *dgf_cel_absent_of(args, 2);
        return;
    }
    if (a->kind == b->kind) {
        switch (a->kind) {
        case DGF_CEL_INT:
            arith_int(eval, op, args[0].i64, args[1].i64, ret);
            return;
        case DGF_CEL_UINT:
            arith_uint(eval, op, args[0].u64, args[1].u64, ret);
            return;
        case DGF_CEL_DOUBLE:
            if (arith_double(op, args[0].dbl, args[1].dbl, ret))
                return;
            break;
        case DGF_CEL_STRING:
        case DGF_CEL_BYTES:
            if (op == DGF_CEL_OP_ADD) {
                concat_bytes(eval, &args[0], &args[1], ret);
                return;
            }
            break;
        case DGF_CEL_LIST:
            if (op == DGF_CEL_OP_ADD) {
                concat_lists(eval, &args[0], &args[1], ret);
                return;
            }
            break;
        default:
            break;
        }
    }
    if (decimal_mix(&args[0], &args[1]) && op <= DGF_CEL_OP_MUL) {
        dgf_cel_decimal_arith(eval, op, &args[0], &args[1], ret);
        return;
    }
    if (!arith_time(eval, op, &args[0], &args[1], ret))
        dgf_cel_no_overload(eval, ret, dgf_cel_op_sign(op), args, 2);
}

void dgf_cel_negate(struct dgf_cel_eval *eval, const struct dgf_cel_value *a,
                    struct dgf_cel_value *ret)
{
    const struct dgf_cel_value arg = *a, zero = dgf_cel_int(0);

    if (dgf_cel_is_absent(arg.kind))
        *ret = arg;
    else if (arg.kind == DGF_CEL_INT && arg.i64 == INT64_MIN)
        fail_overflow(eval, ret);
    else if (arg.kind == DGF_CEL_INT)
        *ret = dgf_cel_int(-arg.i64);
    else if (arg.kind == DGF_CEL_DOUBLE)
        *ret = dgf_cel_double(-arg.dbl);
    else if (arg.kind == DGF_CEL_DECIMAL)
        dgf_cel_decimal_arith(eval, DGF_CEL_OP_SUB, &zero, &arg, ret);
    else
        dgf_cel_no_overload(eval, ret, "-", &arg, 1);
}
