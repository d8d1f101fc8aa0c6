/* yaml_scalar.c - the core schema of YAML 1.2 (section 10.3.2): what a plain
 * scalar is.  yes, no, on, off and dates are texts. */
#include <math.h>
#include <stdlib.h>

#include "base/parse.h"
#include "base/yaml_doc.h"

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

static const char *digits(const char *p, const char *set)
{
    return p + strspn(p, set);
}

#define DECIMAL "0123456789"

/* [-+]?[0-9]+ or 0o[0-7]+ or 0x[0-9a-fA-F]+ */
static bool looks_int(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');

    if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        p = digits(text + 2, text[1] == 'o' ? "01234567" : DECIMAL "abcdefABCDEF");
        return p > text + 2 && !*p;
    }
    return digits(p, DECIMAL) > p && !*digits(p, DECIMAL);
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool looks_float(const char *text)
{
    const char *p = text + (*text == '-' || *text == '+'), *end = digits(p, DECIMAL);
    bool whole = end > p;

    if (*end == '.') {
        p = end + 1;
        end = digits(p, DECIMAL);
        if (!whole && end == p)
            return false;
    } else if (!whole) {
        return false;
    }
    if (*end == 'e' || *end == 'E') {
        p = end + 1 + (end[1] == '-' || end[1] == '+');
        end = digits(p, DECIMAL);
        if (end == p)
            return false;
    }
    return !*end;
}

static bool set_int(struct dgf_yaml_node *node)
{
    const char *text = node->text + (node->text[0] == '+');
    uint64_t bits;

    node->kind = DGF_YAML_INT;
    if (text[0] == '0' && text[1] == 'x') {
        if (!dgf_parse_hex_u64(dgf_bytes_str(text + 2), &bits) || bits > INT64_MAX)
            return false;
        node->i64 = (int64_t)bits;
    } else if (text[0] == '0' && text[1] == 'o') {
        bits = 0;
        for (text += 2; *text; text++) {
            if (bits >> 60)
                return false;
            bits = bits << 3 | (uint64_t)(*text - '0');
        }
        node->i64 = (int64_t)bits;
    } else if (!dgf_parse_i64(dgf_bytes_str(text), &node->i64)) {
        return false;
    }
    node->dbl = (double)node->i64;
    return true;
}

bool dgf_yaml_type_plain(struct dgf_yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    static const char *const infs[] = {".inf", ".Inf", ".INF", NULL};
    const char *text = node->text;
    bool sign = *text == '-' || *text == '+';

    if (is_one_of(text, nulls)) {
        node->kind = DGF_YAML_NULL;
    } else if (is_one_of(text, trues) || is_one_of(text, falses)) {
        node->kind = DGF_YAML_BOOL;
        node->boolean = is_one_of(text, trues);
    } else if (looks_int(text)) {
        return set_int(node);
    } else if (looks_float(text)) {
        node->kind = DGF_YAML_FLOAT;
        node->dbl = dgf_parse_double_back(text);
        return isfinite(node->dbl);
    } else if (is_one_of(text, nans) || is_one_of(text + sign, infs)) {
        node->kind = DGF_YAML_FLOAT;
        node->dbl = is_one_of(text, nans) ? (double)NAN
                    : *text == '-'        ? -(double)INFINITY
                                          : (double)INFINITY;
    }
    return true;
}
