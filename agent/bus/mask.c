#include "bus/mask.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/mp.h"
#include "base/parse.h"
#include "bus/detect.h"
#include "bus/detect_part.h"

#define SCRATCH_MAX ((size_t)64 << 20)
#define CARD_DIGITS_MIN 13
/* Masked text is short: what can stand in its 64 characters, and a whole card
 * that begins there. */
#define MASK_WINDOW (4 * DGF_MASKED_MAX + 64)

void dgf_masker_init(struct dgf_masker *masker, const uint8_t key[DGF_TOKEN_KEY_BYTES],
                     unsigned version)
{
    dgf_mac_key_init(&masker->mac, dgf_bytes_of(key, DGF_TOKEN_KEY_BYTES));
    (void)snprintf(masker->prefix, sizeof(masker->prefix), "h%u:", version);
    dgf_buf_init(&masker->rendered, SCRATCH_MAX);
    dgf_buf_init(&masker->masked, SCRATCH_MAX);
}

void dgf_masker_release(struct dgf_masker *masker)
{
    dgf_mac_key_wipe(&masker->mac);
    dgf_buf_release(&masker->rendered);
    dgf_buf_release(&masker->masked);
}

/* ---- class ---- */

static bool is_plain_ext(int8_t ext)
{
    return ext != DGF_EXT_OPAQUE;
}

static enum dgf_class class_by_value(struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (dgf_mp_next(&mp, &token))
        return DGF_CLASS_CONFIDENTIAL;
    switch (token.kind) {
    case DGF_MP_NIL:
    case DGF_MP_BOOL:
    case DGF_MP_INT:
    case DGF_MP_UINT:
    case DGF_MP_DOUBLE:
        return DGF_CLASS_INTERNAL;
    case DGF_MP_EXT:
        return is_plain_ext(token.ext) ? DGF_CLASS_INTERNAL : DGF_CLASS_CONFIDENTIAL;
    default:
        return DGF_CLASS_CONFIDENTIAL;
    }
}

enum dgf_class dgf_class_in_force(enum dgf_class given, enum dgf_type type,
                                  struct dgf_bytes value)
{
    if (given != DGF_CLASS_NONE)
        return given;
    switch (type) {
    case DGF_TYPE_BOOL:
    case DGF_TYPE_INT:
    case DGF_TYPE_DOUBLE:
    case DGF_TYPE_DECIMAL:
    case DGF_TYPE_ENUM:
    case DGF_TYPE_DATE:
    case DGF_TYPE_TIME:
    case DGF_TYPE_TIMESTAMP:
    case DGF_TYPE_DURATION:
    case DGF_TYPE_UUID:
        return DGF_CLASS_INTERNAL;
    case DGF_TYPE_NONE:
        return class_by_value(value);
    default:
        return DGF_CLASS_CONFIDENTIAL;
    }
}

/* ---- tokens ---- */

/* The text of a value: its own bytes for texts and binaries, JSON for others.
 * The JSON stands in masker->rendered. */
static struct dgf_bytes value_text(struct dgf_masker *masker, struct dgf_bytes value,
                                   struct dgf_mp_token *ret_token)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_json json = dgf_json_of(&masker->rendered);

    if (dgf_mp_next(&mp, ret_token))
        *ret_token = (struct dgf_mp_token){.kind = DGF_MP_NIL};
    if (ret_token->kind == DGF_MP_STR || ret_token->kind == DGF_MP_BIN)
        return ret_token->bytes;
    dgf_buf_clear(&masker->rendered);
    if (dgf_json_msgpack(&json, value) || dgf_buf_rc(&masker->rendered))
        dgf_buf_clear(&masker->rendered);
    return dgf_buf_bytes(&masker->rendered);
}

static void put_token(struct dgf_masker *masker, struct dgf_bytes text,
                      struct dgf_buf *out)
{
    uint8_t digest[DGF_SHA256_LEN];
    char id_text[DGF_ID_TEXT_LEN + 1];
    struct dgf_id id;

    dgf_mac(&masker->mac, text, digest);
    memcpy(id.b, digest, sizeof(id.b));
    dgf_id_text(&id, id_text);
    dgf_buf_add_str(out, masker->prefix);
    dgf_buf_add(out, id_text, DGF_ID_TEXT_LEN);
}

void dgf_mask_token(struct dgf_masker *masker, struct dgf_bytes value,
                    struct dgf_buf *out)
{
    struct dgf_mp_token token;

    put_token(masker, value_text(masker, value, &token), out);
}

/* ---- masking ---- */

static void put_card(struct dgf_bytes card, struct dgf_buf *out, size_t room)
{
    uint8_t digits[CARD_DIGITS_MIN + 8];
    size_t n = 0;

    for (size_t i = 0; i < card.len && n < sizeof(digits); i++)
        if (is_digit(card.ptr[i]))
            digits[n++] = card.ptr[i];
    for (size_t i = 6; i + 4 < n; i++)
        digits[i] = '*';
    dgf_buf_add(out, digits, n < room ? n : room);
}

/* Stars for letters and digits; every character beyond ASCII is a letter.  What
 * is no character at all becomes a star a byte. */
static void put_stars(struct dgf_bytes text, struct dgf_buf *out, size_t *room)
{
    for (size_t i = 0; i<text.len && * room> 0; i++) {
        uint8_t c = text.ptr[i];

        if ((c & 0xc0) == 0x80 && i > 0 && text.ptr[i - 1] >= 0x80)
            continue;
        dgf_buf_add_byte(out, is_alnum(c) || c >= 0x80 ? '*' : c);
        (*room)--;
    }
}

static void put_masked(struct dgf_bytes text, struct dgf_buf *out)
{
    size_t at = 0, room = DGF_MASKED_MAX;
    struct dgf_found found;

    if (text.len > MASK_WINDOW)
        text.len = MASK_WINDOW;
    while (room > 0 && dgf_detect(text, at, DGF_DETECT_BIT(DGF_DETECT_CARD), &found)) {
        size_t before;

        put_stars(dgf_bytes_of(text.ptr + at, found.at - at), out, &room);
        before = out->len;
        put_card(dgf_bytes_of(text.ptr + found.at, found.len), out, room);
        room -= out->len - before;
        at = found.at + found.len;
    }
    put_stars(dgf_bytes_of(text.ptr + at, text.len - at), out, &room);
}

/* The ten digits that stay of a card may look like another one with those around. */
static void star_what_looks_like_a_card(struct dgf_buf *out, size_t from)
{
    struct dgf_found found;

    while (!dgf_buf_rc(out) &&
           dgf_detect(dgf_bytes_of(out->ptr + from, out->len - from), 0,
                      DGF_DETECT_BIT(DGF_DETECT_CARD), &found))
        for (size_t i = 0; i < found.len; i++)
            if (is_digit(out->ptr[from + found.at + i]))
                out->ptr[from + found.at + i] = '*';
}

static void mask_found(struct dgf_bytes text, unsigned set, struct dgf_buf *out,
                       bool *ret_masked)
{
    struct dgf_found found;
    size_t at = 0, from = out->len;

    *ret_masked = false;
    while (dgf_detect(text, at, set, &found)) {
        struct dgf_bytes hit = dgf_bytes_of(text.ptr + found.at, found.len);
        size_t room = SIZE_MAX;

        *ret_masked = true;
        dgf_buf_add(out, text.ptr + at, found.at - at);
        if (found.what == DGF_DETECT_CARD)
            put_card(hit, out, room);
        else
            put_stars(hit, out, &room);
        at = found.at + found.len;
    }
    dgf_buf_add(out, text.ptr + at, text.len - at);
    if (*ret_masked)
        star_what_looks_like_a_card(out, from);
}

void dgf_mask_detected(struct dgf_bytes text, struct dgf_buf *out, bool *ret_masked)
{
    mask_found(text, DGF_DETECT_ANY, out, ret_masked);
}

/* ---- the formatter ---- */

struct shown {
    struct dgf_bytes text; /* what may be seen of it */
    bool raw;              /* text is JSON of its own, not the content of a string */
    bool binary;           /* text is no text: base64 */
    bool masked;
};

/* Personal data cannot hide in a value of these kinds. */
static bool is_free_of_text(const struct dgf_mp_token *token)
{
    switch (token->kind) {
    case DGF_MP_NIL:
    case DGF_MP_BOOL:
        return true;
    case DGF_MP_INT:
        return token->i64 < 1000000000000 && token->i64 > -1000000000000;
    case DGF_MP_EXT:
        return token->ext != DGF_EXT_OPAQUE && token->ext != DGF_EXT_DECIMAL;
    default:
        return false;
    }
}

static unsigned detectors_for(const struct dgf_mp_token *token)
{
    switch (token->kind) {
    case DGF_MP_STR:
    case DGF_MP_BIN:
    case DGF_MP_ARRAY:
    case DGF_MP_MAP:
        return DGF_DETECT_ANY;
    case DGF_MP_EXT:
        return token->ext == DGF_EXT_OPAQUE ? DGF_DETECT_ANY
                                            : DGF_DETECT_BIT(DGF_DETECT_CARD);
    default:
        return DGF_DETECT_BIT(DGF_DETECT_CARD);
    }
}

/* Whole doubles as digits: their JSON may have an exponent. */
static struct dgf_bytes searched_text(struct dgf_masker *masker,
                                      const struct dgf_mp_token *token,
                                      struct dgf_bytes text)
{
    size_t at = masker->rendered.len;

    if (token->kind != DGF_MP_DOUBLE || !(token->dbl >= 1e12 && token->dbl < 1e19))
        return text;
    dgf_buf_add_u64(&masker->rendered, (uint64_t)token->dbl);
    return dgf_bytes_of(masker->rendered.ptr + at, masker->rendered.len - at);
}

static struct shown show_clear(struct dgf_masker *masker,
                               const struct dgf_mp_token *token, struct dgf_bytes text)
{
    struct dgf_bytes searched = searched_text(masker, token, text);
    struct shown shown = {.text = text};
    struct dgf_found found;

    if (token->kind == DGF_MP_DOUBLE) /* rendered may have moved */
        shown.text = dgf_bytes_of(masker->rendered.ptr, text.len);
    shown.binary = token->kind == DGF_MP_BIN ||
                   (token->kind == DGF_MP_STR && !dgf_utf8_valid(text));
    shown.raw = token->kind != DGF_MP_STR && token->kind != DGF_MP_BIN;
    if (is_free_of_text(token) ||
        !dgf_detect(searched, 0, detectors_for(token), &found))
        return shown;
    dgf_buf_clear(&masker->masked);
    mask_found(searched, detectors_for(token), &masker->masked, &shown.masked);
    shown.text = dgf_buf_bytes(&masker->masked);
    shown.raw = false; /* with stars in it, it is JSON no more */
    return shown;
}

/* What a person would write for the value, without the JSON around it: 12.50
 * and not {"$numberDecimal":"12.50"}. */
static struct dgf_bytes bare_text(const struct dgf_mp_token *token,
                                  struct dgf_bytes json)
{
    struct dgf_mp mp = dgf_mp_of(token->bytes);
    struct dgf_mp_token inner;
    const uint8_t *colon;

    switch (token->kind) {
    case DGF_MP_STR:
    case DGF_MP_BIN:
    case DGF_MP_ARRAY:
    case DGF_MP_MAP:
        return json;
    case DGF_MP_EXT:
        if (token->ext == DGF_EXT_DECIMAL)
            return token->bytes;
        if (token->ext == DGF_EXT_OPAQUE && dgf_mp_next(&mp, &inner) == DGF_OK &&
            dgf_mp_next(&mp, &inner) == DGF_OK) /* the type, its text */
            return inner.bytes;
        break;
    default:
        break;
    }
    if (json.len > 1 && json.ptr[0] == '"') /* a time, a uuid */
        return dgf_bytes_of(json.ptr + 1, json.len - 2);
    colon = json.len > 4 && json.ptr[0] == '{' ? memchr(json.ptr, ':', json.len) : NULL;
    if (!colon) /* {"$numberLong":"..."} */
        return json;
    return dgf_bytes_of(colon + 2, (size_t)(json.ptr + json.len - colon) - 4);
}

static struct shown show_masked(struct dgf_masker *masker,
                                const struct dgf_mp_token *token, struct dgf_bytes text)
{
    struct shown shown = {.masked = true};

    if (token->kind == DGF_MP_NIL ||
        (token->kind == DGF_MP_EXT && token->ext == DGF_EXT_UNAVAILABLE))
        return (struct shown){.text = text, .raw = true};
    dgf_buf_clear(&masker->masked);
    if (token->kind == DGF_MP_BOOL)
        dgf_buf_add_str(&masker->masked, "****"); /* its length would tell */
    else
        put_masked(bare_text(token, text), &masker->masked);
    shown.text = dgf_buf_bytes(&masker->masked);
    return shown;
}

static struct shown show(struct dgf_masker *masker, enum dgf_class class_,
                         struct dgf_bytes value)
{
    struct dgf_mp_token token;
    struct dgf_bytes text = value_text(masker, value, &token);

    if (class_ == DGF_CLASS_NONE)
        class_ = class_by_value(value);
    if (class_ == DGF_CLASS_RESTRICTED) {
        dgf_buf_clear(&masker->masked);
        put_token(masker, text, &masker->masked);
        return (struct shown){.text = dgf_buf_bytes(&masker->masked), .masked = true};
    }
    return class_ == DGF_CLASS_CONFIDENTIAL ? show_masked(masker, &token, text)
                                            : show_clear(masker, &token, text);
}

/* Masked bytes may be no UTF-8 outside the hits: then only stars are left. */
static void keep_text(struct dgf_masker *masker, struct shown *shown)
{
    size_t room = DGF_MASKED_MAX, at;

    if (!shown->masked || dgf_utf8_valid(shown->text))
        return;
    at = masker->rendered.len;
    put_stars(shown->text, &masker->rendered, &room);
    shown->text = dgf_bytes_of(masker->rendered.ptr + at, masker->rendered.len - at);
}

void dgf_mask_json(struct dgf_masker *masker, enum dgf_class class_,
                   struct dgf_bytes value, struct dgf_json *json, bool *ret_masked)
{
    struct shown shown = show(masker, class_, value);

    keep_text(masker, &shown);
    *ret_masked = shown.masked;
    if (shown.raw && shown.text.len == 0)
        dgf_json_null(json);
    else if (shown.raw)
        dgf_json_raw(json, shown.text);
    else if (shown.binary && !shown.masked) {
        dgf_json_begin_object(json);
        dgf_json_key(json, "$binary");
        dgf_json_begin_object(json);
        dgf_json_key(json, "base64");
        dgf_buf_clear(&masker->masked);
        dgf_buf_add_base64(&masker->masked, shown.text);
        dgf_json_text(json, dgf_buf_bytes(&masker->masked));
        dgf_json_key(json, "subType");
        dgf_json_str(json, "00");
        dgf_json_end_object(json);
        dgf_json_end_object(json);
    } else
        dgf_json_text(json, shown.text);
}

/* Money reads as 12.50 in a message, not as an object. */
static bool is_decimal(struct dgf_bytes value, struct dgf_bytes *ret_text)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_EXT ||
        token.ext != DGF_EXT_DECIMAL)
        return false;
    *ret_text = token.bytes;
    return true;
}

void dgf_mask_text(struct dgf_masker *masker, enum dgf_class class_,
                   struct dgf_bytes value, struct dgf_buf *out, bool *ret_masked)
{
    struct shown shown = show(masker, class_, value);
    struct dgf_bytes number;

    keep_text(masker, &shown);
    *ret_masked = shown.masked;
    if (shown.binary && !shown.masked)
        dgf_buf_add_base64(out, shown.text);
    else if (shown.raw && is_decimal(value, &number))
        dgf_buf_add_bytes(out, number);
    else if (shown.raw && shown.text.len > 1 && shown.text.ptr[0] == '"')
        dgf_buf_add(out, shown.text.ptr + 1, shown.text.len - 2); /* a date, a uuid */
    else
        dgf_buf_add_bytes(out, shown.text);
}
