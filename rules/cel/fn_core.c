#include <string.h>

#include "cel/functions.h"
#include "cel/ops.h"
#include "cel/program.h"
#include "cel/re2_shim.h"

/* size() and the tests on texts that CEL always has. */

static void size_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    switch (args[0].kind) {
    case DGF_CEL_STRING:
        if (dgf_cel_charge(eval, args[0].len / 16, ret))
            *ret = dgf_cel_int(dgf_cel_utf8_size(dgf_cel_bytes_of(&args[0])));
        return;
    case DGF_CEL_BYTES:
        *ret = dgf_cel_int(args[0].len);
        return;
    case DGF_CEL_LIST:
        *ret = dgf_cel_int(dgf_cel_list_size(args[0].list, eval));
        return;
    default:
        *ret = dgf_cel_int(args[0].map->ops->size(args[0].map, eval));
    }
}

static void starts_with(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                        struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_bool(
        args[0].len >= args[1].len &&
        (args[1].len == 0 || memcmp(args[0].ptr, args[1].ptr, args[1].len) == 0));
}

static void ends_with(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                      struct dgf_cel_value *ret)
{
    (void)eval;
    *ret = dgf_cel_bool(
        args[0].len >= args[1].len &&
        (args[1].len == 0 || memcmp(args[0].ptr + args[0].len - args[1].len,
                                    args[1].ptr, args[1].len) == 0));
}

static void contains(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                     struct dgf_cel_value *ret)
{
    if (dgf_cel_charge(eval, args[0].len / 8, ret))
        *ret = dgf_cel_bool(args[1].len == 0 ||
                            (args[0].len > 0 && memmem(args[0].ptr, args[0].len,
                                                       args[1].ptr, args[1].len)));
}

/* The pattern is not constant: compiled each time, and priced so. */
static void matches(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                    struct dgf_cel_value *ret)
{
    struct dgf_cel_regex *regex;
    char text[160];

    if (args[1].len > DGF_CEL_MAX_REGEX) {
        dgf_cel_fail(eval, ret, "a regular expression is longer than %d characters",
                     DGF_CEL_MAX_REGEX);
        return;
    }
    if (!dgf_cel_charge(eval, 500 + 10 * (uint64_t)args[1].len + args[0].len / 8, ret))
        return;
    regex =
        dgf_cel_regex_new((const char *)args[1].ptr, args[1].len, text, sizeof(text));
    if (!regex) {
        /* The pattern may come from the event: "missing ): (ab" ends at the colon. */
        char *detail = strstr(text, ": ");

        if (detail && eval->program && eval->program->env->flags & DGF_CEL_POLICY)
            *detail = '\0';
        dgf_cel_fail(eval, ret, "bad regular expression: %s",
                     text[0] ? text : "out of memory");
        return;
    }
    *ret = dgf_cel_bool(
        dgf_cel_regex_matches(regex, (const char *)args[0].ptr, args[0].len));
    dgf_cel_regex_free(regex);
}

const struct dgf_cel_function dgf_cel_fn_core[] = {
    {"size", "(string) -> int", 0, size_of},
    {"size", "(bytes) -> int", 0, size_of},
    {"size", "(list<A>) -> int", 0, size_of},
    {"size", "(map<A, B>) -> int", 0, size_of},
    {"size", "string.() -> int", 0, size_of},
    {"size", "bytes.() -> int", 0, size_of},
    {"size", "list<A>.() -> int", 0, size_of},
    {"size", "map<A, B>.() -> int", 0, size_of},
    {"startsWith", "string.(string) -> bool", 0, starts_with},
    {"endsWith", "string.(string) -> bool", 0, ends_with},
    {"contains", "string.(string) -> bool", 1, contains},
    {"matches", "string.(string) -> bool", 2, matches},
    {"matches", "(string, string) -> bool", 2, matches},
    {NULL, NULL, 0, NULL},
};
