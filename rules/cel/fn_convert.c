#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "cel/functions.h"
#include "cel/ops.h"

/* int() uint() double() string() bytes() bool() decimal() duration()
 * timestamp() type() dyn(). */

static void fn_same(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = args[0];
}

static void fail_range(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                       const char *type)
{
    dgf_cel_fail(eval, ret, "%s range error", type);
}

static void fail_text(struct dgf_cel_eval *eval, struct dgf_cel_value *ret,
                      const char *type)
{
    dgf_cel_fail(eval, ret, "the text is not of type %s", type);
}

static void int_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                   struct dgf_cel_value *ret)
{
    int64_t value;

    switch (args[0].kind) {
    case DGF_CEL_UINT:
        if (args[0].u64 > INT64_MAX)
            fail_range(eval, ret, "int");
        else
            *ret = dgf_cel_int(args[0].i64);
        return;
    case DGF_CEL_DOUBLE:
        /* both ends are excluded: a double there may have been rounded to them */
        if (!(args[0].dbl > -9223372036854775808.0 &&
              args[0].dbl < 9223372036854775808.0))
            fail_range(eval, ret, "int");
        else
            *ret = dgf_cel_int((int64_t)args[0].dbl);
        return;
    case DGF_CEL_DECIMAL:
        if (dgf_cel_decimal_i64(&args[0], &value))
            *ret = dgf_cel_int(value);
        else
            fail_range(eval, ret, "int");
        return;
    case DGF_CEL_TIMESTAMP:
        *ret = dgf_cel_int(args[0].i64);
        return;
    default: {
        struct dgf_bytes text = dgf_cel_bytes_of(&args[0]);

        if (text.len > 1 && text.ptr[0] == '+')
            text = dgf_bytes_of(text.ptr + 1, text.len - 1);
        if (dgf_parse_i64(text, &value))
            *ret = dgf_cel_int(value);
        else
            fail_text(eval, ret, "int");
    }
    }
}

static void uint_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    uint64_t value;
    int64_t i64;

    switch (args[0].kind) {
    case DGF_CEL_INT:
        if (args[0].i64 < 0)
            fail_range(eval, ret, "uint");
        else
            *ret = dgf_cel_uint(args[0].u64);
        return;
    case DGF_CEL_DOUBLE:
        if (!(args[0].dbl > -1.0 && args[0].dbl < 18446744073709551616.0) ||
            args[0].dbl < 0)
            fail_range(eval, ret, "uint");
        else
            *ret = dgf_cel_uint((uint64_t)args[0].dbl);
        return;
    case DGF_CEL_DECIMAL:
        if (dgf_cel_decimal_i64(&args[0], &i64) && i64 >= 0)
            *ret = dgf_cel_uint((uint64_t)i64);
        else
            fail_range(eval, ret, "uint");
        return;
    default:
        if (dgf_parse_u64(dgf_cel_bytes_of(&args[0]), &value))
            *ret = dgf_cel_uint(value);
        else
            fail_text(eval, ret, "uint");
    }
}

static bool parse_double(struct dgf_bytes text, double *ret)
{
    char copy[512];

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (strlen(copy) != text.len || copy[strspn(copy, "+-")] == '\0' ||
        strspn(copy, " \t\n\r\f\v") > 0 || strpbrk(copy, "xX("))
        return false;
    return dgf_parse_double_any(copy, ret);
}

static void double_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                      struct dgf_cel_value *ret)
{
    double value;

    if (args[0].kind == DGF_CEL_INT)
        *ret = dgf_cel_double((double)args[0].i64);
    else if (args[0].kind == DGF_CEL_UINT)
        *ret = dgf_cel_double((double)args[0].u64);
    else if (args[0].kind == DGF_CEL_DECIMAL)
        *ret = dgf_cel_double(dgf_cel_decimal_double(&args[0]));
    else if (parse_double(dgf_cel_bytes_of(&args[0]), &value))
        *ret = dgf_cel_double(value);
    else
        fail_text(eval, ret, "double");
}

static void string_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                      struct dgf_cel_value *ret)
{
    struct dgf_buf text;

    if (args[0].kind == DGF_CEL_BYTES) {
        if (!dgf_utf8_valid(dgf_cel_bytes_of(&args[0])))
            dgf_cel_fail(eval, ret, "bytes are not valid UTF-8");
        else
            *ret = dgf_cel_string(dgf_cel_bytes_of(&args[0]));
        return;
    }
    dgf_buf_init(&text, 8192);
    dgf_cel_plain(&args[0], &text);
    dgf_cel_text_take(eval, &text, ret);
}

static void bytes_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                     struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_bytes(dgf_cel_bytes_of(&args[0]));
}

static void bool_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    static const char *const yes[] = {"1", "t", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "false", "FALSE", "False"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(yes); i++) {
        if (dgf_bytes_eq(dgf_cel_bytes_of(&args[0]), dgf_bytes_str(yes[i])) ||
            dgf_bytes_eq(dgf_cel_bytes_of(&args[0]), dgf_bytes_str(no[i]))) {
            *ret = dgf_cel_bool(
                dgf_bytes_eq(dgf_cel_bytes_of(&args[0]), dgf_bytes_str(yes[i])));
            return;
        }
    }
    fail_text(eval, ret, "bool");
}

static void decimal_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                       struct dgf_cel_value *ret)
{
    char text[64];
    int len;

    switch (args[0].kind) {
    case DGF_CEL_STRING:
        if (!dgf_cel_decimal_of(dgf_cel_bytes_of(&args[0]), eval->arena, ret))
            fail_text(eval, ret, "decimal");
        return;
    case DGF_CEL_INT:
        len = snprintf(text, sizeof(text), "%lld", (long long)args[0].i64);
        break;
    case DGF_CEL_UINT:
        len = snprintf(text, sizeof(text), "%llu", (unsigned long long)args[0].u64);
        break;
    default: /* the shortest text that reads back the same: what a person sees */
        for (int digits = 15;; digits++) {
            len = snprintf(text, sizeof(text), "%.*g", digits, args[0].dbl);
            if (digits == 17 || dgf_parse_double_back(text) == args[0].dbl)
                break;
        }
        if (isnan(args[0].dbl) || isinf(args[0].dbl))
            len = snprintf(text, sizeof(text), "%s",
                           isnan(args[0].dbl) ? "NaN"
                           : args[0].dbl < 0  ? "-Infinity"
                                              : "Infinity");
    }
    if (!dgf_cel_decimal_of(dgf_bytes_of(text, (size_t)len), eval->arena, ret))
        fail_range(eval, ret, "decimal");
}

static void duration_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                        struct dgf_cel_value *ret)
{
    if (args[0].kind == DGF_CEL_INT) {
        *ret = dgf_cel_duration(args[0].i64, 0);
        if (!dgf_cel_duration_valid(ret))
            dgf_cel_fail(eval, ret, "duration out of range");
    } else if (!dgf_cel_duration_parse(dgf_cel_bytes_of(&args[0]), ret)) {
        dgf_cel_fail(eval, ret, "the text is not a duration, or one out of range");
    }
}

static void timestamp_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                         struct dgf_cel_value *ret)
{
    if (args[0].kind == DGF_CEL_INT) {
        *ret = dgf_cel_timestamp(args[0].i64, 0);
        if (!dgf_cel_time_valid(ret))
            dgf_cel_fail(eval, ret, "timestamp out of range");
    } else if (!dgf_cel_time_parse(dgf_cel_bytes_of(&args[0]), ret)) {
        dgf_cel_fail(eval, ret, "the text is not a timestamp, or one out of range");
    }
}

static void type_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_type_of(dgf_cel_type_of_value(&args[0]));
}

const struct dgf_cel_function dgf_cel_fn_convert[] = {
    {"int", "(int) -> int", 0, fn_same},
    {"int", "(uint) -> int", 0, int_of},
    {"int", "(double) -> int", 0, int_of},
    {"int", "(string) -> int", 1, int_of},
    {"int", "(timestamp) -> int", 0, int_of},
    {"int", "(decimal) -> int", 4, int_of},
    {"uint", "(uint) -> uint", 0, fn_same},
    {"uint", "(int) -> uint", 0, uint_of},
    {"uint", "(double) -> uint", 0, uint_of},
    {"uint", "(string) -> uint", 1, uint_of},
    {"uint", "(decimal) -> uint", 4, uint_of},
    {"double", "(double) -> double", 0, fn_same},
    {"double", "(int) -> double", 0, double_of},
    {"double", "(uint) -> double", 0, double_of},
    {"double", "(string) -> double", 1, double_of},
    {"double", "(decimal) -> double", 16, double_of},
    {"string", "(string) -> string", 0, fn_same},
    {"string", "(int) -> string", 2, string_of},
    {"string", "(uint) -> string", 2, string_of},
    {"string", "(double) -> string", 4, string_of},
    {"string", "(bool) -> string", 1, string_of},
    {"string", "(bytes) -> string", 1, string_of},
    {"string", "(timestamp) -> string", 4, string_of},
    {"string", "(duration) -> string", 4, string_of},
    {"string", "(decimal) -> string", 8, string_of},
    {"bytes", "(bytes) -> bytes", 0, fn_same},
    {"bytes", "(string) -> bytes", 0, bytes_of},
    {"bool", "(bool) -> bool", 0, fn_same},
    {"bool", "(string) -> bool", 1, bool_of},
    {"decimal", "(decimal) -> decimal", 0, fn_same},
    {"decimal", "(string) -> decimal", 4, decimal_of},
    {"decimal", "(int) -> decimal", 2, decimal_of},
    {"decimal", "(uint) -> decimal", 2, decimal_of},
    {"decimal", "(double) -> decimal", 8, decimal_of},
    {"duration", "(duration) -> duration", 0, fn_same},
    {"duration", "(string) -> duration", 2, duration_of},
    {"duration", "(int) -> duration", 0, duration_of},
    {"timestamp", "(timestamp) -> timestamp", 0, fn_same},
    {"timestamp", "(string) -> timestamp", 2, timestamp_of},
    {"timestamp", "(int) -> timestamp", 0, timestamp_of},
    {"type", "(A) -> type<A>", 0, type_of},
    {"dyn", "(A) -> dyn", 0, fn_same},
    {NULL, NULL, 0, NULL},
};
