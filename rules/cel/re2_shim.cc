#include "cel/re2_shim.h"

#include <cstdio>
#include <new>

#include <re2/re2.h>

struct dgf_cel_regex {
    dgf_cel_regex(const re2::StringPiece &pattern, const RE2::Options &options)
        : re(pattern, options)
    {
    }
    RE2 re;
};

dgf_cel_regex *dgf_cel_regex_new(const char *pattern, size_t len, char *text,
                                 size_t text_size)
{
    dgf_cel_regex *regex = nullptr;

    text[0] = '\0';
    try {
        RE2::Options options(RE2::Quiet);

        options.set_max_mem(1 << 20);
        regex = new dgf_cel_regex(re2::StringPiece(pattern, len), options);
        if (regex->re.ok())
            return regex;
        std::snprintf(text, text_size, "%s", regex->re.error().c_str());
    } catch (...) {
        text[0] = '\0';
    }
    delete regex;
    return nullptr;
}

void dgf_cel_regex_free(dgf_cel_regex *regex)
{
    delete regex;
}

bool dgf_cel_regex_matches(const dgf_cel_regex *regex, const char *text, size_t len)
{
    try {
        return regex->re.Match(re2::StringPiece(text, len), 0, len, RE2::UNANCHORED,
                               nullptr, 0);
    } catch (...) {
        return false;
    }
}
