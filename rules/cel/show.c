#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "cel/ops.h"

/* Values as text: the way CEL would write them, and the way people read them. */

#define MAX_SHOW_DEPTH 32
#define MAX_SHOW_ITEMS 1000

void dgf_cel_double_text(double value, struct dgf_buf *out)
{
    char text[40];

    if (isnan(value) || isinf(value)) {
        dgf_buf_add_str(out, isnan(value) ? "NaN"
                             : value < 0  ? "-Infinity"
                                          : "Infinity");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (dgf_parse_double_back(text) == value)
            break;
    }
    /* 1e+02 is 100 to everybody else */
    if (strchr(text, 'e') && fabs(value) >= 1 && fabs(value) < 1e17)
        snprintf(text, sizeof(text), "%.0f", value);
    dgf_buf_add_str(out, text);
}

bool dgf_cel_text_new(struct dgf_cel_eval *eval, unsigned kind, struct dgf_bytes text,
                      struct dgf_cel_value *ret)
{
    uint8_t *copy;

    if (text.len > UINT32_MAX || !dgf_cel_charge(eval, text.len / 16, ret))
        return false;
    copy = dgf_cel_alloc(eval, text.len, ret);
    if (!copy)
        return false;
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    *ret = (struct dgf_cel_value){
        .kind = (uint8_t)kind, .len = (uint32_t)text.len, .ptr = copy};
    return true;
}

bool dgf_cel_text_take(struct dgf_cel_eval *eval, struct dgf_buf *buf,
                       struct dgf_cel_value *ret)
{
    bool ok = dgf_buf_rc(buf) == DGF_OK;

    if (ok)
        ok = dgf_cel_text_new(eval, DGF_CEL_STRING, dgf_buf_bytes(buf), ret);
    else
        dgf_cel_alloc(eval, SIZE_MAX, ret);
    dgf_buf_release(buf);
    return ok;
}

uint32_t dgf_cel_utf8_size(struct dgf_bytes text)
{
    uint32_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += (text.ptr[i] & 0xc0) != 0x80;
    return n;
}

static void show_quoted(const struct dgf_cel_value *v, struct dgf_buf *out)
{
    bool bytes = v->kind == DGF_CEL_BYTES;

    dgf_buf_add_str(out, bytes ? "b\"" : "\"");
    for (uint32_t i = 0; i < v->len; i++) {
        uint8_t c = v->ptr[i];

        if (c == '"' || c == '\\')
            dgf_buf_addf(out, "\\%c", c);
        else if (c == '\n')
            dgf_buf_add_str(out, "\\n");
        else if (c == '\r')
            dgf_buf_add_str(out, "\\r");
        else if (c == '\t')
            dgf_buf_add_str(out, "\\t");
        else if (c < 0x20 || c == 0x7f || (bytes && c >= 0x80))
            dgf_buf_addf(out, "\\x%02x", c);
        else
            dgf_buf_add_byte(out, c);
    }
    dgf_buf_add_byte(out, '"');
}

static void show(const struct dgf_cel_value *v, bool plain, unsigned depth,
                 struct dgf_buf *out);

static void show_list(const struct dgf_cel_value *v, unsigned depth,
                      struct dgf_buf *out)
{
    uint32_t n = dgf_cel_list_size(v->list, NULL);
    struct dgf_cel_value item;

    dgf_buf_add_byte(out, '[');
    for (uint32_t i = 0; i < n && i < MAX_SHOW_ITEMS; i++) {
        if (i > 0)
            dgf_buf_add_str(out, ", ");
        dgf_cel_list_at(v->list, NULL, i, &item);
        show(&item, false, depth + 1, out);
    }
    dgf_buf_add_str(out, n > MAX_SHOW_ITEMS ? ", ...]" : "]");
}

static void show_map(const struct dgf_cel_value *v, unsigned depth, struct dgf_buf *out)
{
    struct dgf_cel_value key, value;
    uint64_t at = 0;
    unsigned n = 0;

    dgf_buf_add_byte(out, '{');
    while (n < MAX_SHOW_ITEMS && v->map->ops->next(v->map, NULL, &at, &key, &value)) {
        if (n++ > 0)
            dgf_buf_add_str(out, ", ");
        show(&key, false, depth + 1, out);
        dgf_buf_add_str(out, ": ");
        show(&value, false, depth + 1, out);
    }
    dgf_buf_add_byte(out, '}');
}

static void show_wrapped(const char *name, const struct dgf_cel_value *v, bool plain,
                         void (*text)(const struct dgf_cel_value *, struct dgf_buf *),
                         struct dgf_buf *out)
{
    if (!plain)
        dgf_buf_addf(out, "%s(\"", name);
    text(v, out);
    if (!plain)
        dgf_buf_add_str(out, "\")");
}

static void show(const struct dgf_cel_value *v, bool plain, unsigned depth,
                 struct dgf_buf *out)
{
    if (depth > MAX_SHOW_DEPTH) {
        dgf_buf_add_str(out, "...");
        return;
    }
    switch ((enum dgf_cel_kind)v->kind) {
    case DGF_CEL_NULL:
        dgf_buf_add_str(out, "null");
        break;
    case DGF_CEL_BOOL:
        dgf_buf_add_str(out, v->boolean ? "true" : "false");
        break;
    case DGF_CEL_INT:
        dgf_buf_add_i64(out, v->i64);
        break;
    case DGF_CEL_UINT:
        dgf_buf_add_u64(out, v->u64);
        if (!plain)
            dgf_buf_add_byte(out, 'u');
        break;
    case DGF_CEL_DOUBLE:
        dgf_cel_double_text(v->dbl, out);
        if (!plain && v->dbl == floor(v->dbl) && fabs(v->dbl) < 1e17)
            dgf_buf_add_str(out, ".0");
        break;
    case DGF_CEL_STRING:
    case DGF_CEL_BYTES:
        if (plain && v->kind == DGF_CEL_STRING)
            dgf_buf_add(out, v->ptr, v->len);
        else if (plain)
            dgf_buf_add_base64(out, dgf_cel_bytes_of(v));
        else
            show_quoted(v, out);
        break;
    case DGF_CEL_LIST:
        show_list(v, depth, out);
        break;
    case DGF_CEL_MAP:
        show_map(v, depth, out);
        break;
    case DGF_CEL_TYPE:
        dgf_buf_add_str(out, v->type->name);
        break;
    case DGF_CEL_TIMESTAMP:
        show_wrapped("timestamp", v, plain, dgf_cel_time_text, out);
        break;
    case DGF_CEL_DURATION:
        show_wrapped("duration", v, plain, dgf_cel_duration_text, out);
        break;
    case DGF_CEL_DECIMAL:
        show_wrapped("decimal", v, plain, dgf_cel_decimal_text, out);
        break;
    case DGF_CEL_OPTIONAL:
        dgf_buf_add_str(out, v->inner ? "optional.of(" : "optional.none(");
        if (v->inner)
            show(v->inner, false, depth + 1, out);
        dgf_buf_add_byte(out, ')');
        break;
    case DGF_CEL_OPAQUE:
        dgf_buf_addf(out, "<%s>", v->opaque->type->name);
        break;
    case DGF_CEL_UNKNOWN:
        dgf_buf_add_str(out, "unknown");
        break;
    case DGF_CEL_ERROR:
        dgf_buf_addf(out, "error: %s", v->error->text);
        break;
    default:
        dgf_buf_add_str(out, "unset");
    }
}

void dgf_cel_show(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    show(value, false, 0, out);
}

void dgf_cel_plain(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    show(value, true, 0, out);
}
