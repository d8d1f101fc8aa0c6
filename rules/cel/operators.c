#include "cel/functions.h"

/* Which types operators go with; the machine does the work (vm.c, ops.c). */

#define ROW(name, signature)     \
    {                            \
        name, signature, 0, NULL \
    }
#define ORDER(name)                                                                 \
    ROW(name, "(bool, bool) -> bool"), ROW(name, "(int, int) -> bool"),             \
        ROW(name, "(int, uint) -> bool"), ROW(name, "(int, double) -> bool"),       \
        ROW(name, "(uint, uint) -> bool"), ROW(name, "(uint, int) -> bool"),        \
        ROW(name, "(uint, double) -> bool"), ROW(name, "(double, double) -> bool"), \
        ROW(name, "(double, int) -> bool"), ROW(name, "(double, uint) -> bool"),    \
        ROW(name, "(string, string) -> bool"), ROW(name, "(bytes, bytes) -> bool"), \
        ROW(name, "(timestamp, timestamp) -> bool"),                                \
        ROW(name, "(duration, duration) -> bool")
#define NUMBERS(name)                                                  \
    ROW(name, "(int, int) -> int"), ROW(name, "(uint, uint) -> uint"), \
        ROW(name, "(double, double) -> double")

const struct dgf_cel_function dgf_cel_operators[] = {
    ROW("_==_", "(A, A) -> bool"),
    ROW("_!=_", "(A, A) -> bool"),
    ORDER("_<_"),
    ORDER("_<=_"),
    ORDER("_>_"),
    ORDER("_>=_"),
    NUMBERS("_+_"),
    ROW("_+_", "(string, string) -> string"),
    ROW("_+_", "(bytes, bytes) -> bytes"),
    ROW("_+_", "(list<A>, list<A>) -> list<A>"),
    ROW("_+_", "(timestamp, duration) -> timestamp"),
    ROW("_+_", "(duration, timestamp) -> timestamp"),
    ROW("_+_", "(duration, duration) -> duration"),
    NUMBERS("_-_"),
    ROW("_-_", "(timestamp, timestamp) -> duration"),
    ROW("_-_", "(timestamp, duration) -> timestamp"),
    ROW("_-_", "(duration, duration) -> duration"),
    NUMBERS("_*_"),
    NUMBERS("_/_"),
    ROW("_%_", "(int, int) -> int"),
    ROW("_%_", "(uint, uint) -> uint"),
    ROW("-_", "(int) -> int"),
    ROW("-_", "(double) -> double"),
    ROW("!_", "(bool) -> bool"),
    ROW("_in_", "(A, list<A>) -> bool"),
    ROW("_in_", "(A, map<A, B>) -> bool"),
    ROW("_[_]", "(list<A>, int) -> A"),
    ROW("_[_]", "(map<A, B>, A) -> B"),
    ROW("_[_]", "(optional<list<A>>, int) -> optional<A>"),
    ROW("_[_]", "(optional<map<A, B>>, A) -> optional<B>"),
    ROW("_[?_]", "(list<A>, int) -> optional<A>"),
    ROW("_[?_]", "(map<A, B>, A) -> optional<B>"),
    ROW("_[?_]", "(optional<list<A>>, int) -> optional<A>"),
    ROW("_[?_]", "(optional<map<A, B>>, A) -> optional<B>"),
    ROW("_&&_", "(bool, bool) -> bool"),
    ROW("_||_", "(bool, bool) -> bool"),
    ROW("_?_:_", "(bool, A, A) -> A"),
    {NULL, NULL, 0, NULL},
};

#define WITH(name, type) \
    ROW(name, "(decimal, " type ") -> bool"), ROW(name, "(" type ", decimal) -> bool")
#define DECIMAL_ORDER(name)                                                         \
    ROW(name, "(decimal, decimal) -> bool"), WITH(name, "int"), WITH(name, "uint"), \
        WITH(name, "double")
#define MIXED_EQUAL(name)                                                       \
    WITH(name, "int"), WITH(name, "uint"), WITH(name, "double"),                \
        ROW(name, "(int, uint) -> bool"), ROW(name, "(uint, int) -> bool"),     \
        ROW(name, "(int, double) -> bool"), ROW(name, "(double, int) -> bool"), \
        ROW(name, "(uint, double) -> bool"), ROW(name, "(double, uint) -> bool")
#define DECIMAL_ARITH(name)                        \
    ROW(name, "(decimal, decimal) -> decimal"),    \
        ROW(name, "(decimal, int) -> decimal"),    \
        ROW(name, "(int, decimal) -> decimal"),    \
        ROW(name, "(decimal, uint) -> decimal"),   \
        ROW(name, "(uint, decimal) -> decimal"),   \
        ROW(name, "(decimal, double) -> decimal"), \
        ROW(name, "(double, decimal) -> decimal")

/* Policies only: numbers of all types are compared by value, decimals exactly. */
const struct dgf_cel_function dgf_cel_policy_table[] = {
    MIXED_EQUAL("_==_"),
    MIXED_EQUAL("_!=_"),
    DECIMAL_ORDER("_<_"),
    DECIMAL_ORDER("_<=_"),
    DECIMAL_ORDER("_>_"),
    DECIMAL_ORDER("_>=_"),
    DECIMAL_ARITH("_+_"),
    DECIMAL_ARITH("_-_"),
    DECIMAL_ARITH("_*_"),
    ROW("-_", "(decimal) -> decimal"),
    ROW("_in_", "(decimal, list<A>) -> bool"),
    {NULL, NULL, 0, NULL},
};

const struct dgf_cel_function *const dgf_cel_std_tables[] = {
    dgf_cel_operators,
    dgf_cel_fn_convert,
    dgf_cel_fn_core,
    dgf_cel_fn_time,
    dgf_cel_fn_optional,
    dgf_cel_fn_encode,
    NULL,
};
