/* policy_event_value.c - values of events in YAML, those of types it lacks
 * spelled as records spell them. */
#include "policy_event.h"

#include <string.h>

#include "base/parse.h"

#define BODY_MAX (4 * 1024 * 1024)
#define VALUE_DEPTH 32

static bool is(const struct dgf_yaml_node *node, const char *text)
{
    return node->text && strcmp(node->text, text) == 0;
}

static struct dgf_bytes text_of(const struct dgf_yaml_node *node)
{
    return dgf_bytes_of(node->text, node->text_len);
}

static bool put_date(struct dgf_bytes text, struct dgf_buf *out)
{
    int64_t ns;

    if (!dgf_parse_time(text, &ns))
        return false;
    dgf_mp_put_time_ns(out, ns);
    return true;
}

static bool put_uuid(struct dgf_bytes text, struct dgf_buf *out)
{
    uint8_t uuid[16], hex[32];
    size_t n = 0;

    for (size_t i = 0; i < text.len && n < sizeof(hex); i++)
        if (text.ptr[i] != '-')
            hex[n++] = text.ptr[i];
    if (text.len != 36 || n != 32 || !dgf_parse_hex(dgf_bytes_of(hex, n), uuid, 16))
        return false;
    dgf_mp_put_uuid(out, uuid);
    return true;
}

static bool put_binary(struct dgf_bytes text, struct dgf_buf *out)
{
    struct dgf_buf bytes;
    bool fine;

    dgf_buf_init(&bytes, BODY_MAX);
    fine = dgf_parse_base64(text, &bytes) && !dgf_buf_rc(&bytes);
    if (fine)
        dgf_mp_put_bin(out, dgf_buf_bytes(&bytes));
    dgf_buf_release(&bytes);
    return fine;
}

static bool put_long(struct dgf_bytes text, struct dgf_buf *out)
{
    int64_t value;

    if (!dgf_parse_i64(text, &value))
        return false;
    dgf_mp_put_int(out, value);
    return true;
}

static bool put_decimal(struct dgf_bytes text, struct dgf_buf *out)
{
    static const char *const no_numbers[] = {"NaN", "Infinity", "-Infinity"};
    double value;
    bool fine = dgf_parse_double(text, &value);

    for (size_t i = 0; i < DGF_ARRAY_LEN(no_numbers); i++)
        fine |= dgf_bytes_eq(text, dgf_bytes_str(no_numbers[i]));
    if (!fine)
        return false;
    dgf_mp_put_decimal(out, text);
    return true;
}

static bool put_unavailable(struct dgf_bytes text, struct dgf_buf *out)
{
    int why = dgf_unavailable_of(text);

    if (why < 0)
        return false;
    dgf_mp_put_unavailable(out, (uint8_t)why);
    return true;
}

/* Types YAML lacks, spelled as records spell them. */
static const struct {
    const char *name;
    bool (*put)(struct dgf_bytes text, struct dgf_buf *out);
} typed[] = {
    {"$date", put_date},
    {"$uuid", put_uuid},
    {"$binary", put_binary},
    {"$numberLong", put_long},
    {"$numberDecimal", put_decimal},
    {"$unavailable", put_unavailable},
};

static bool put_typed(const struct dgf_yaml *doc, struct dgf_findings *findings,
                      const struct dgf_yaml_node *node, struct dgf_buf *out)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(typed); i++) {
        if (!is(node->keys[0], typed[i].name))
            continue;
        if (node->items[0]->text && typed[i].put(text_of(node->items[0]), out))
            return true;
        dgf_yaml_finding(doc, findings, DGF_FINDING_ERROR, "E0452", node->items[0],
                         "'%s' cannot be read", typed[i].name);
        return false;
    }
    dgf_yaml_finding(doc, findings, DGF_FINDING_ERROR, "E0452", node->keys[0],
                     "unknown type '%s'; there are $date, $uuid, $binary, $numberLong, "
                     "$numberDecimal and $unavailable",
                     node->keys[0]->text);
    return false;
}

static bool put_map(const struct dgf_yaml *doc, struct dgf_findings *findings,
                    const struct dgf_yaml_node *node, struct dgf_buf *out,
                    unsigned depth)
{
    dgf_mp_put_map(out, (uint32_t)node->n);
    for (size_t i = 0; i < node->n; i++) {
        dgf_mp_put_str(out, text_of(node->keys[i]));
        if (!dgf_policy_value(doc, findings, node->items[i], out, depth + 1))
            return false;
    }
    return true;
}

bool dgf_policy_value(const struct dgf_yaml *doc, struct dgf_findings *findings,
                      const struct dgf_yaml_node *node, struct dgf_buf *out,
                      unsigned depth)
{
    if (depth > VALUE_DEPTH)
        return false;
    switch (node->kind) {
    case DGF_YAML_NULL:
        dgf_mp_put_nil(out);
        return true;
    case DGF_YAML_BOOL:
        dgf_mp_put_bool(out, node->boolean);
        return true;
    case DGF_YAML_INT:
        dgf_mp_put_int(out, node->i64);
        return true;
    case DGF_YAML_FLOAT:
        dgf_mp_put_double(out, node->dbl);
        return true;
    case DGF_YAML_STR:
        dgf_mp_put_str(out, text_of(node));
        return true;
    case DGF_YAML_LIST:
        dgf_mp_put_array(out, (uint32_t)node->n);
        for (size_t i = 0; i < node->n; i++)
            if (!dgf_policy_value(doc, findings, node->items[i], out, depth + 1))
                return false;
        return true;
    default:
        if (node->n == 1 && node->keys[0]->text[0] == '$')
            return put_typed(doc, findings, node, out);
        return put_map(doc, findings, node, out, depth);
    }
}
