/* json_parse.c - reading through jansson, capped before it allocates. */
#include "base/json.h"

#include "base/parse.h"

/* So that the torture build fails jansson's allocations too. */
__attribute__((constructor)) static void use_our_memory(void)
{
    json_set_alloc_funcs(dgf_malloc, dgf_free);
}

/* Deepest nesting of brackets outside of texts. */
static unsigned depth_of(struct dgf_bytes text)
{
    unsigned depth = 0, deepest = 0;
    bool in_text = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
        } else if (c == '"') {
            in_text = true;
        } else if (c == '{' || c == '[') {
            depth++;
            deepest = depth > deepest ? depth : deepest;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* jansson's texts quote what it read; only the kind of mistake is ours to say,
 * as the text may be somebody's value. */
static const char *cause_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_out_of_memory:
        return "out of memory";
    case json_error_premature_end_of_input:
        return "it ends too early";
    case json_error_end_of_input_expected:
        return "something follows the value";
    case json_error_invalid_utf8:
        return "invalid UTF-8";
    case json_error_duplicate_key:
        return "duplicate key";
    case json_error_numeric_overflow:
        return "number is too large";
    case json_error_null_byte_in_key:
    case json_error_null_character:
        return "a NUL character in a key";
    default:
        return "syntax error";
    }
}

static enum dgf_rc parse(struct dgf_bytes text, size_t max_bytes, unsigned max_depth,
                         size_t flags, json_t **ret, struct dgf_err *err)
{
    json_error_t error;
    json_t *json;

    if (text.len > max_bytes)
        return dgf_err_set(err, DGF_BAD_DATA, "invalid JSON: larger than %zu bytes",
                           max_bytes);
    if (depth_of(text) > max_depth)
        return dgf_err_set(err, DGF_BAD_DATA, "invalid JSON: deeper than %u levels",
                           max_depth);
    json = json_loadb(text.len ? (const char *)text.ptr : "", text.len,
                      flags | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!json && json_error_code(&error) == json_error_out_of_memory)
        return dgf_err_set(err, DGF_NOMEM, "cannot read JSON: out of memory");
    if (!json)
        return dgf_err_set(err, DGF_BAD_DATA, "invalid JSON at line %d, column %d: %s",
                           error.line, error.column, cause_of(&error));
    *ret = json;
    return DGF_OK;
}

enum dgf_rc dgf_json_parse(struct dgf_bytes text, size_t max_bytes, unsigned max_depth,
                           json_t **ret, struct dgf_err *err)
{
    return parse(text, max_bytes, max_depth, JSON_REJECT_DUPLICATES, ret, err);
}

enum dgf_rc dgf_json_parse_record(struct dgf_bytes line, json_t **ret,
                                  struct dgf_err *err)
{
    return parse(line, 65535, 128, 0, ret, err);
}
