#include "base/parse.h"
#include "cel/functions.h"
#include "cel/ops.h"

/* base64.encode() and base64.decode(). */

static void encode(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                   struct dgf_cel_value *ret)
{
    struct dgf_buf text;

    if (!dgf_cel_charge(eval, args[0].len / 8, ret))
        return;
    dgf_buf_init(&text, (size_t)args[0].len * 2 + 16);
    dgf_buf_add_base64(&text, dgf_cel_bytes_of(&args[0]));
    dgf_cel_text_take(eval, &text, ret);
}

/* With or without padding. */
static void decode(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                   struct dgf_cel_value *ret)
{
    struct dgf_buf text, bytes;

    if (!dgf_cel_charge(eval, args[0].len / 8, ret))
        return;
    dgf_buf_init(&text, (size_t)args[0].len + 16);
    dgf_buf_init(&bytes, (size_t)args[0].len + 16);
    dgf_buf_add_bytes(&text, dgf_cel_bytes_of(&args[0]));
    while (text.len % 4 != 0 && dgf_buf_rc(&text) == DGF_OK)
        dgf_buf_add_byte(&text, '=');
    if (dgf_parse_base64(dgf_buf_bytes(&text), &bytes))
        dgf_cel_text_new(eval, DGF_CEL_BYTES, dgf_buf_bytes(&bytes), ret);
    else
        dgf_cel_fail(eval, ret, "a text is not base64");
    dgf_buf_release(&text);
    dgf_buf_release(&bytes);
}

const struct dgf_cel_function dgf_cel_fn_encode[] = {
    {"base64.encode", "(bytes) -> string", 2, encode},
    {"base64.decode", "(string) -> bytes", 2, decode},
    {NULL, NULL, 0, NULL},
};
