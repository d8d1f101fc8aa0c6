/* foreign.c - what words of SQL, triggers and other languages are called here: too far
 * away for a nearest name, and what people write first. */
#include <strings.h>

#include "cel/program.h"

struct foreign {
    const char *word, *here;
};

static const char *called_here(const struct foreign *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(list[i].word, word) == 0)
            return list[i].here;
    return NULL;
}

const char *dgf_cel_foreign_name(const char *word)
{
    static const struct foreign names[] = {{"new", "after"},    {"row", "after"},
                                           {"record", "after"}, {"value", "after"},
                                           {"old", "before"},   {"previous", "before"}};

    return called_here(names, DGF_ARRAY_LEN(names), word);
}

const char *dgf_cel_foreign_function(const char *word)
{
    static const struct foreign functions[] = {
        {"len", "size"},       {"length", "size"},       {"strlen", "size"},
        {"count", "size"},     {"includes", "contains"}, {"regex", "matches"},
        {"regexp", "matches"}, {"like", "matches"},      {"isNull", "missing"},
        {"is_null", "missing"}};

    return called_here(functions, DGF_ARRAY_LEN(functions), word);
}

bool dgf_cel_changes_case(const char *word)
{
    static const char *const words[] = {
        "lower",       "upper",       "toLower",    "toUpper",
        "toLowerCase", "toUpperCase", "lowerAscii", "upperAscii",
        "lowercase",   "uppercase",   "lcase",      "ucase",
        "to_lower",    "to_upper",    "casefold",   "equalsIgnoreCase"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(words); i++)
        if (strcasecmp(words[i], word) == 0)
            return true;
    return false;
}
