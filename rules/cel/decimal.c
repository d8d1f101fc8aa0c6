#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "cel/ops.h"

/* Exact decimals: up to 18 digits live inside the value (i64 and scale), longer
 * ones as limbs of nine digits in the arena. */

#define BASE 1000000000u
#define MAX_TEXT_DIGITS 1000
#define MAX_EXPONENT 1000
#define MAX_DIGITS 2000 /* of a result, and of its scale */
#define N_LIMBS 512

enum special { FINITE, NAN_, INFINITE };

struct dgf_cel_decimal {
    uint8_t special;
    bool negative;
    uint32_t scale;
    uint32_t n;
    uint32_t limb[]; /* least significant first; no leading zeros */
};

/* A working number with room for every aligned operand and product. */
struct big {
    uint8_t special;
    bool negative;
    uint32_t scale, n;
    uint32_t limb[N_LIMBS];
};

static const int64_t powers[19] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static void trim(struct big *big)
{
    while (big->n > 0 && big->limb[big->n - 1] == 0)
        big->n--;
}

/* big = big * by + add; false: no room. */
static bool times(struct big *big, uint32_t by, uint32_t add)
{
    uint64_t carry = add;

    for (uint32_t i = 0; i < big->n; i++) {
        carry += (uint64_t)big->limb[i] * by;
        big->limb[i] = (uint32_t)(carry % BASE);
        carry /= BASE;
    }
    if (carry == 0)
        return true;
    if (big->n == N_LIMBS)
        return false;
    big->limb[big->n++] = (uint32_t)carry;
    return true;
}

static bool rescale(struct big *big, uint32_t scale)
{
    uint32_t more = scale - big->scale;

    for (; more >= 9; more -= 9)
        if (!times(big, BASE, 0))
            return false;
    big->scale = scale;
    return more == 0 || times(big, (uint32_t)powers[more], 0);
}

static void big_of_u64(uint64_t value, struct big *ret)
{
    ret->special = FINITE;
    ret->negative = false;
    ret->scale = ret->n = 0;
    for (; value > 0; value /= BASE)
        ret->limb[ret->n++] = (uint32_t)(value % BASE);
}

static bool parse_special(struct dgf_bytes text, bool negative, struct big *ret)
{
    ret->scale = ret->n = 0;
    ret->negative = negative;
    if (text.len == 3 && memcmp(text.ptr, "NaN", 3) == 0)
        ret->special = NAN_;
    else if (text.len == 8 && memcmp(text.ptr, "Infinity", 8) == 0)
        ret->special = INFINITE;
    else
        return false;
    return true;
}

/* The exponent behind an e; false: malformed or too large. */
static bool parse_exponent(struct dgf_bytes text, int *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    int value = 0;

    if (at == text.len)
        return false;
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9')
            return false;
        value = value * 10 + (text.ptr[at] - '0');
        if (value > MAX_EXPONENT)
            return false;
    }
    *ret = negative ? -value : value;
    return true;
}

static bool parse(struct dgf_bytes text, struct big *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-', point = false;
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+');
    unsigned n_digits = 0;
    int exponent = 0;

    if (parse_special(dgf_bytes_of(text.ptr + at, text.len - at), negative, ret))
        return true;
    big_of_u64(0, ret);
    ret->negative = negative;
    for (; at < text.len; at++) {
        uint8_t c = text.ptr[at];

        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            if (++n_digits > MAX_TEXT_DIGITS || !times(ret, 10, (uint32_t)(c - '0')))
                return false;
            ret->scale += point;
        } else if ((c == 'e' || c == 'E') && n_digits > 0) {
            if (!parse_exponent(dgf_bytes_of(text.ptr + at + 1, text.len - at - 1),
                                &exponent))
                return false;
            break;
        } else {
            return false;
        }
    }
    if (n_digits == 0)
        return false;
    if (exponent <= 0) {
        ret->scale += (uint32_t)-exponent;
        return true;
    }
    if (ret->scale >= (uint32_t)exponent) {
        ret->scale -= (uint32_t)exponent;
        return true;
    }
    exponent -= (int)ret->scale;
    ret->scale = 0;
    for (; exponent > 0; exponent--)
        if (!times(ret, 10, 0))
            return false;
    return true;
}

/* Small enough for two words? */
static bool narrow(const struct big *big, struct dgf_cel_value *ret)
{
    uint64_t value = 0;

    if (big->special || big->n > 2 || big->scale > 18)
        return false;
    for (uint32_t i = big->n; i > 0; i--)
        value = value * BASE + big->limb[i - 1];
    *ret =
        (struct dgf_cel_value){.kind = DGF_CEL_DECIMAL,
                               .scale = (uint16_t)big->scale,
                               .i64 = big->negative ? -(int64_t)value : (int64_t)value};
    return true;
}

static bool keep(const struct big *big, struct dgf_arena *arena,
                 struct dgf_cel_value *ret)
{
    struct dgf_cel_decimal *it;

    if (narrow(big, ret))
        return true;
    it = dgf_arena_alloc(arena, sizeof(*it) + big->n * sizeof(it->limb[0]));
    if (!it)
        return false;
    it->special = big->special;
    it->negative = big->negative;
    it->scale = big->scale;
    it->n = big->n;
    memcpy(it->limb, big->limb, big->n * sizeof(it->limb[0]));
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_DECIMAL, .wide = 1, .decimal = it};
    return true;
}

/* Up to 18 digits without a big number: the common column value. */
static bool parse_narrow(struct dgf_bytes text, struct dgf_cel_value *ret)
{
    bool negative = text.len > 0 && text.ptr[0] == '-', point = false;
    unsigned n = 0, scale = 0;
    int64_t value = 0;

    if (text.len > 20)
        return false;
    for (size_t at = negative; at < text.len; at++) {
        unsigned digit = (unsigned)text.ptr[at] - '0';

        if (digit <= 9 && n < 18) {
            value = value * 10 + digit;
            scale += point;
            n++;
        } else if (text.ptr[at] == '.' && !point) {
            point = true;
        } else {
            return false;
        }
    }
    if (n == 0)
        return false;
    *ret = (struct dgf_cel_value){.kind = DGF_CEL_DECIMAL,
                                  .scale = (uint16_t)scale,
                                  .i64 = negative ? -value : value};
    return true;
}

bool dgf_cel_decimal_of(struct dgf_bytes text, struct dgf_arena *arena,
                        struct dgf_cel_value *ret)
{
    struct big big;

    return parse_narrow(text, ret) || (parse(text, &big) && keep(&big, arena, ret));
}

/* A double as a decimal: literals as they were written (wide is set by the
 * compiler), other doubles with every digit they have. */
static void big_of_double(const struct dgf_cel_value *value, struct big *ret)
{
    char text[800];
    int n = 0;

    if (value->dbl != value->dbl || value->dbl - value->dbl != 0) {
        ret->special = value->dbl != value->dbl ? NAN_ : INFINITE;
        ret->negative = value->dbl < 0;
        ret->n = ret->scale = 0;
        return;
    }
    if (value->wide) {
        for (int digits = 15; digits <= 17; digits++) {
            n = snprintf(text, sizeof(text), "%.*g", digits, value->dbl);
            if (dgf_parse_double_back(text) == value->dbl)
                break;
        }
    } else {
        n = snprintf(text, sizeof(text), "%.766e", value->dbl);
    }
    if (!parse(dgf_bytes_of(text, (size_t)n), ret))
        big_of_u64(0, ret); /* cannot be: 767 digits, exponent below 400 */
    trim(ret);
}

static void big_of(const struct dgf_cel_value *value, struct big *ret)
{
    const struct dgf_cel_decimal *it = value->decimal;

    switch (value->kind) {
    case DGF_CEL_INT:
        big_of_u64(value->i64 < 0 ? 0 - (uint64_t)value->i64 : (uint64_t)value->i64,
                   ret);
        ret->negative = value->i64 < 0;
        return;
    case DGF_CEL_UINT:
        big_of_u64(value->u64, ret);
        return;
    case DGF_CEL_DOUBLE:
        big_of_double(value, ret);
        return;
    default:
        break;
    }
    if (!value->wide) {
        big_of_u64((uint64_t)(value->i64 < 0 ? -value->i64 : value->i64), ret);
        ret->negative = value->i64 < 0;
        ret->scale = value->scale;
        return;
    }
    ret->special = it->special;
    ret->negative = it->negative;
    ret->scale = it->scale;
    ret->n = it->n;
    memcpy(ret->limb, it->limb, it->n * sizeof(it->limb[0]));
}

static int cmp_limbs(const struct big *a, const struct big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (uint32_t i = a->n; i > 0; i--)
        if (a->limb[i - 1] != b->limb[i - 1])
            return a->limb[i - 1] < b->limb[i - 1] ? -1 : 1;
    return 0;
}

static bool align(struct big *a, struct big *b)
{
    if (a->scale < b->scale)
        return rescale(a, b->scale);
    return a->scale == b->scale || rescale(b, a->scale);
}

static int cmp_special(const struct big *a, const struct big *b)
{
    int left = a->special ? (a->negative ? -1 : 1) : 0;
    int right = b->special ? (b->negative ? -1 : 1) : 0;

    if (a->special == NAN_ || b->special == NAN_)
        return DGF_CEL_UNORDERED;
    return left < right ? -1 : left > right;
}

static bool as_narrow(const struct dgf_cel_value *value, int64_t *ret,
                      unsigned *ret_scale)
{
    *ret = value->i64;
    *ret_scale = value->scale;
    if (value->kind == DGF_CEL_INT) {
        *ret_scale = 0;
        return true;
    }
    return value->kind == DGF_CEL_DECIMAL && !value->wide;
}

static bool aligned_pair(const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                         __int128 *ret_a, __int128 *ret_b, unsigned *ret_scale)
{
    unsigned sa, sb;
    int64_t x, y;

    if (!as_narrow(a, &x, &sa) || !as_narrow(b, &y, &sb))
        return false;
    *ret_a = sa < sb ? (__int128)x * powers[sb - sa] : x;
    *ret_b = sb < sa ? (__int128)y * powers[sa - sb] : y;
    *ret_scale = sa > sb ? sa : sb;
    return true;
}

int dgf_cel_decimal_cmp(const struct dgf_cel_value *a, const struct dgf_cel_value *b)
{
    struct big x, y;
    __int128 i, j;
    unsigned scale;
    int order;

    if (aligned_pair(a, b, &i, &j, &scale))
        return i < j ? -1 : i > j;
    big_of(a, &x);
    big_of(b, &y);
    if (x.special || y.special)
        return cmp_special(&x, &y);
    if (x.n == 0 || y.n == 0 || x.negative != y.negative) {
        int left = x.n == 0 ? 0 : x.negative ? -1 : 1;
        int right = y.n == 0 ? 0 : y.negative ? -1 : 1;

        return left < right ? -1 : left > right;
    }
    if (!align(&x, &y)) /* only a number with more digits than fit is that large */
        return x.scale < y.scale ? (x.negative ? -1 : 1) : (x.negative ? 1 : -1);
    order = cmp_limbs(&x, &y);
    return x.negative ? -order : order;
}

static void add_limbs(const struct big *a, const struct big *b, struct big *ret)
{
    uint32_t carry = 0, n = a->n > b->n ? a->n : b->n;

    for (uint32_t i = 0; i < n; i++) {
        carry += (i < a->n ? a->limb[i] : 0) + (i < b->n ? b->limb[i] : 0);
        ret->limb[i] = carry % BASE;
        carry /= BASE;
    }
    ret->n = n;
    if (carry > 0 && n < N_LIMBS)
        ret->limb[ret->n++] = carry;
}

/* a >= b */
static void sub_limbs(const struct big *a, const struct big *b, struct big *ret)
{
    int64_t borrow = 0;

    for (uint32_t i = 0; i < a->n; i++) {
        int64_t digit = (int64_t)a->limb[i] - (i < b->n ? b->limb[i] : 0) - borrow;

        borrow = digit < 0;
        ret->limb[i] = (uint32_t)(digit + (borrow ? BASE : 0));
    }
    ret->n = a->n;
    trim(ret);
}

static bool add(struct big *a, struct big *b, struct big *ret)
{
    int order;

    ret->special = FINITE;
    if (!align(a, b))
        return false;
    ret->scale = a->scale;
    if (a->negative == b->negative) {
        ret->negative = a->negative;
        add_limbs(a, b, ret);
        return true;
    }
    order = cmp_limbs(a, b);
    ret->negative = order >= 0 ? a->negative : b->negative;
    sub_limbs(order >= 0 ? a : b, order >= 0 ? b : a, ret);
    if (ret->n == 0)
        ret->negative = false;
    return true;
}

static bool mul(const struct big *a, const struct big *b, struct big *ret)
{
    if (a->n + b->n > N_LIMBS)
        return false;
    ret->special = FINITE;
    ret->scale = a->scale + b->scale;
    ret->n = a->n + b->n;
    memset(ret->limb, 0, ret->n * sizeof(ret->limb[0]));
    for (uint32_t i = 0; i < a->n; i++) {
        uint64_t carry = 0;

        for (uint32_t j = 0; j < b->n || carry > 0; j++) {
            carry +=
                ret->limb[i + j] + (uint64_t)a->limb[i] * (j < b->n ? b->limb[j] : 0);
            ret->limb[i + j] = (uint32_t)(carry % BASE);
            carry /= BASE;
        }
    }
    trim(ret);
    ret->negative = ret->n > 0 && a->negative != b->negative;
    return true;
}

static void arith_special(enum dgf_cel_op op, const struct big *a, const struct big *b,
                          struct big *ret)
{
    bool nan = a->special == NAN_ || b->special == NAN_;

    ret->n = ret->scale = 0;
    ret->negative = a->special ? a->negative : b->negative;
    if (op == DGF_CEL_OP_MUL) {
        nan |= (!a->special && a->n == 0) || (!b->special && b->n == 0);
        ret->negative = a->negative != b->negative;
    } else if (a->special && b->special) {
        nan |= a->negative != b->negative;
    }
    ret->special = nan ? NAN_ : INFINITE;
}

static bool arith_narrow(enum dgf_cel_op op, const struct dgf_cel_value *a,
                         const struct dgf_cel_value *b, struct dgf_cel_value *ret)
{
    const __int128 limit = powers[18];
    __int128 x, y;
    unsigned scale;

    if (op == DGF_CEL_OP_MUL) {
        int64_t i, j;
        unsigned si, sj;

        if (!as_narrow(a, &i, &si) || !as_narrow(b, &j, &sj) || si + sj > 18)
            return false;
        x = (__int128)i * j;
        scale = si + sj;
    } else {
        if (!aligned_pair(a, b, &x, &y, &scale))
            return false;
        x = op == DGF_CEL_OP_ADD ? x + y : x - y;
    }
    if (x <= -limit || x >= limit)
        return false;
    *ret = (struct dgf_cel_value){
        .kind = DGF_CEL_DECIMAL, .scale = (uint16_t)scale, .i64 = (int64_t)x};
    return true;
}

void dgf_cel_decimal_arith(struct dgf_cel_eval *eval, enum dgf_cel_op op,
                           const struct dgf_cel_value *a, const struct dgf_cel_value *b,
                           struct dgf_cel_value *ret)
{
    struct big x, y, z;
    bool ok = true;

    if (arith_narrow(op, a, b, ret))
        return;
    big_of(a, &x);
    big_of(b, &y);
    if (!dgf_cel_charge(eval, x.n + y.n + 16, ret))
        return;
    if (x.special || y.special) {
        if (op == DGF_CEL_OP_SUB)
            y.negative = !y.negative;
        arith_special(op, &x, &y, &z);
    } else if (op == DGF_CEL_OP_MUL) {
        ok = mul(&x, &y, &z);
    } else {
        if (op == DGF_CEL_OP_SUB)
            y.negative = !y.negative;
        ok = add(&x, &y, &z);
    }
    if (!ok || z.scale > MAX_DIGITS || z.n > MAX_DIGITS / 9 + 1)
        dgf_cel_fail(eval, ret, "a decimal result has too many digits");
    else if (!keep(&z, eval->arena, ret))
        dgf_cel_alloc(eval, SIZE_MAX, ret);
}

void dgf_cel_decimal_text(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    char digits[N_LIMBS * 9 + 1];
    struct big big;
    size_t n = 0, skip = 0;

    big_of(value, &big);
    trim(&big);
    if (big.special == NAN_) {
        dgf_buf_add_str(out, "NaN");
        return;
    }
    if (big.negative)
        dgf_buf_add_byte(out, '-');
    if (big.special) {
        dgf_buf_add_str(out, "Infinity");
        return;
    }
    for (uint32_t i = big.n; i > 0; i--)
        n += (size_t)snprintf(digits + n, sizeof(digits) - n, "%09" PRIu32,
                              big.limb[i - 1]);
    while (skip < n && digits[skip] == '0')
        skip++;
    if (n - skip <= big.scale) {
        dgf_buf_add_byte(out, '0');
    } else {
        dgf_buf_add(out, digits + skip, n - skip - big.scale);
        skip = n - big.scale;
    }
    if (big.scale == 0)
        return;
    dgf_buf_add_byte(out, '.');
    for (size_t zeros = big.scale - (n - skip); zeros > 0; zeros--)
        dgf_buf_add_byte(out, '0');
    dgf_buf_add(out, digits + skip, n - skip);
}

double dgf_cel_decimal_double(const struct dgf_cel_value *value)
{
    struct dgf_buf text;
    double result;

    dgf_buf_init(&text, 8192);
    dgf_cel_decimal_text(value, &text);
    result = dgf_parse_double_back(dgf_buf_str(&text));
    dgf_buf_release(&text);
    return result;
}

bool dgf_cel_decimal_i64(const struct dgf_cel_value *value, int64_t *ret)
{
    struct big big;
    __int128 total = 0;
    uint32_t scale;

    if (!value->wide) {
        *ret = value->i64 / powers[value->scale];
        return true;
    }
    big_of(value, &big);
    if (big.special)
        return false;
    for (scale = big.scale; scale > 0;) {
        uint32_t by = scale >= 9 ? BASE : (uint32_t)powers[scale];
        uint64_t rest = 0;

        for (uint32_t i = big.n; i > 0; i--) {
            rest = rest * BASE + big.limb[i - 1];
            big.limb[i - 1] = (uint32_t)(rest / by);
            rest %= by;
        }
        scale -= scale >= 9 ? 9 : scale;
    }
    trim(&big);
    if (big.n > 3)
        return false;
    for (uint32_t i = big.n; i > 0; i--)
        total = total * BASE + big.limb[i - 1];
    if (big.negative)
        total = -total;
    if (total < INT64_MIN || total > INT64_MAX)
        return false;
    *ret = (int64_t)total;
    return true;
}
