#include "blob_notice.h"

#include "base/json.h"
#include "base/mp.h"
#include "base/parse.h"

#define DEPTH_MAX 32

static void put_json(struct dgf_buf *out, const json_t *json)
{
    const char *name;
    json_t *item;
    size_t i;

    switch (json_typeof(json)) {
    case JSON_OBJECT:
        dgf_mp_put_map(out, (uint32_t)json_object_size(json));
        json_object_foreach((json_t *)(uintptr_t)json, name, item)
        {
            dgf_mp_put_str(out, dgf_bytes_str(name));
            put_json(out, item);
        }
        break;
    case JSON_ARRAY:
        dgf_mp_put_array(out, (uint32_t)json_array_size(json));
        json_array_foreach(json, i, item) put_json(out, item);
        break;
    case JSON_STRING:
        dgf_mp_put_str(out,
                       dgf_bytes_of(json_string_value(json), json_string_length(json)));
        break;
    case JSON_INTEGER:
        dgf_mp_put_int(out, json_integer_value(json));
        break;
    case JSON_REAL:
        dgf_mp_put_double(out, json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        dgf_mp_put_bool(out, json_is_true(json));
        break;
    default:
        dgf_mp_put_nil(out);
    }
}

static struct dgf_bytes trimmed(struct dgf_bytes text)
{
    while (text.len && (text.ptr[0] <= ' ')) {
        text.ptr++;
        text.len--;
    }
    while (text.len && text.ptr[text.len - 1] <= ' ')
        text.len--;
    return text;
}

static enum dgf_rc put_events(const json_t *json, struct dgf_buf *out, size_t *ret_n,
                              const char **why)
{
    const json_t *item;
    size_t i;

    if (json_is_object(json)) {
        put_json(out, json);
        *ret_n = 1;
    } else if (json_is_array(json)) {
        if (json_array_size(json) > DGF_NOTICE_EVENTS_MAX) {
            *why = "it holds more than 1,000 events";
            return DGF_BAD_DATA;
        }
        json_array_foreach(json, i, item) put_json(out, item);
        *ret_n = json_array_size(json);
    } else {
        *why = "it is neither an event nor a list of them";
        return DGF_BAD_DATA;
    }
    if (dgf_buf_rc(out)) {
        *why = "it is too large";
        return DGF_BAD_DATA;
    }
    return DGF_OK;
}

enum dgf_rc dgf_blob_notice_read(struct dgf_bytes text, struct dgf_buf *out,
                                 size_t *ret_n, const char **why)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf plain = {0};
    DGF_CLEANUP_JSON json_t *json = NULL;

    *ret_n = 0;
    if (text.len > DGF_NOTICE_MAX) {
        *why = "it is larger than 256 KiB";
        return DGF_BAD_DATA;
    }
    text = trimmed(text);
    if (text.len == 0)
        return DGF_OK;
    dgf_buf_init(&plain, DGF_NOTICE_MAX);
    if (text.ptr[0] != '{' && text.ptr[0] != '[') {
        if (!dgf_parse_base64(text, &plain)) {
            *why = "it is neither JSON nor base64";
            return DGF_BAD_DATA;
        }
        text = trimmed(dgf_buf_bytes(&plain));
        if (text.len == 0)
            return DGF_OK;
    }
    if (dgf_json_parse(text, DGF_NOTICE_MAX, DEPTH_MAX, &json, NULL)) {
        *why = "it is no JSON";
        return DGF_BAD_DATA;
    }
    return put_events(json, out, ret_n, why);
}
