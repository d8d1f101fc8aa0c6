#include "pii.h"

#include <string.h>

#include "base/json.h"
#include "bus/detect.h"
#include "engine_part.h"
#include "glob.h"
#include "national_id.h"

#define NUMBER_MAX 64
#define NEST_MAX 16

/* What is looked for: detectors, or the ids of one country. */
struct search {
    unsigned set;
    struct dgf_bytes country; /* len 0: detectors */
    bool unknown;             /* a part of the value is not known */
    bool over;                /* the budget is used up */
};

static bool in_text(struct dgf_cel_eval *eval, struct search *search,
                    struct dgf_bytes text, struct dgf_cel_value *ret)
{
    struct dgf_found found;

    if (!dgf_cel_charge(eval, 1 + text.len / 16, ret)) {
        search->over = true;
        return false;
    }
    if (search->country.len > 0)
        return dgf_national_id(text, search->country);
    return dgf_detect(text, 0, search->set, &found);
}

/* Card numbers stand in number columns too. */
static bool in_number(struct dgf_cel_eval *eval, struct search *search,
                      const struct dgf_cel_value *value, struct dgf_cel_value *ret)
{
    struct dgf_buf text;
    bool found;

    dgf_buf_init(&text, 8 * 1024);
    dgf_cel_plain(value, &text);
    found = in_text(eval, search, dgf_buf_bytes(&text), ret);
    dgf_buf_release(&text);
    return found;
}

static bool in_value(struct dgf_cel_eval *eval, struct search *search,
                     const struct dgf_cel_value *value, unsigned depth,
                     struct dgf_cel_value *ret);

static bool in_list(struct dgf_cel_eval *eval, struct search *search,
                    const struct dgf_cel_list *list, unsigned depth,
                    struct dgf_cel_value *ret)
{
    uint32_t n = list->ops->size(list, eval);

    for (uint32_t i = 0; i < n && !search->over; i++) {
        struct dgf_cel_value item = {.kind = DGF_CEL_NULL};

        list->ops->at(list, eval, i, &item);
        if (in_value(eval, search, &item, depth + 1, ret))
            return true;
    }
    return false;
}

static bool in_map(struct dgf_cel_eval *eval, struct search *search,
                   const struct dgf_cel_map *map, unsigned depth,
                   struct dgf_cel_value *ret)
{
    struct dgf_cel_value key, item;
    uint64_t at = 0;

    while (!search->over && map->ops->next(map, eval, &at, &key, &item))
        if (in_value(eval, search, &key, depth + 1, ret) ||
            in_value(eval, search, &item, depth + 1, ret))
            return true;
    return false;
}

static bool in_value(struct dgf_cel_eval *eval, struct search *search,
                     const struct dgf_cel_value *value, unsigned depth,
                     struct dgf_cel_value *ret)
{
    if (search->over)
        return false;
    if (depth > NEST_MAX) {
        search->unknown = true; /* deeper than we look: not known to be clean */
        return false;
    }
    switch (value->kind) {
    case DGF_CEL_STRING:
    case DGF_CEL_BYTES:
        return in_text(eval, search, dgf_cel_bytes_of(value), ret);
    case DGF_CEL_INT:
    case DGF_CEL_UINT:
    case DGF_CEL_DOUBLE:
    case DGF_CEL_DECIMAL:
        return in_number(eval, search, value, ret);
    case DGF_CEL_LIST:
        return in_list(eval, search, value->list, depth, ret);
    case DGF_CEL_MAP:
        return in_map(eval, search, value->map, depth, ret);
    case DGF_CEL_OPTIONAL:
        return value->inner && in_value(eval, search, value->inner, depth + 1, ret);
    case DGF_CEL_UNKNOWN:
    case DGF_CEL_ERROR: /* an item that could not be read */
        search->unknown = true;
        return false;
    default:
        return false;
    }
}

static void look(struct dgf_cel_eval *eval, struct search search,
                 const struct dgf_cel_value *value, struct dgf_cel_value *ret)
{
    bool found = in_value(eval, &search, value, 0, ret);

    if (search.over && !found)
        return; /* *ret says so */
    *ret = search.unknown && !found ? dgf_cel_unknown(NULL, 0) : dgf_cel_bool(found);
}

#define LOOK_FOR(name, bits)                                       \
    static void pii_##name(struct dgf_cel_eval *eval,              \
                           const struct dgf_cel_value *args,       \
                           struct dgf_cel_value *ret)              \
    {                                                              \
        look(eval, (struct search){.set = (bits)}, &args[0], ret); \
    }
LOOK_FOR(card, DGF_DETECT_BIT(DGF_DETECT_CARD))
LOOK_FOR(ssn, DGF_DETECT_BIT(DGF_DETECT_SSN))
LOOK_FOR(iban, DGF_DETECT_BIT(DGF_DETECT_IBAN))
LOOK_FOR(email, DGF_DETECT_BIT(DGF_DETECT_EMAIL))
LOOK_FOR(phone, DGF_DETECT_BIT(DGF_DETECT_PHONE))
LOOK_FOR(ip, DGF_DETECT_BIT(DGF_DETECT_IP))
LOOK_FOR(any, DGF_DETECT_ANY & ~DGF_DETECT_BIT(DGF_DETECT_SECRET))
LOOK_FOR(secret, DGF_DETECT_BIT(DGF_DETECT_SECRET))

bool dgf_policy_literal_wrong(const char *function, struct dgf_bytes literal,
                              char *ret_text, size_t size)
{
    if (strcmp(function, "pii.national_id") != 0 || dgf_national_id_known(literal))
        return false;
    snprintf(ret_text, size,
             "pii.national_id() does not know this country; it knows %s",
             dgf_national_id_countries());
    return true;
}

static void pii_national_id(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                            struct dgf_cel_value *ret)
{
    struct dgf_bytes country = dgf_cel_bytes_of(&args[1]);

    if (!dgf_national_id_known(country)) {
        dgf_cel_fail(eval, ret,
                     "pii.national_id() does not know this country; it knows %s",
                     dgf_national_id_countries());
        return;
    }
    look(eval, (struct search){.country = country}, &args[0], ret);
}

static size_t chars(struct dgf_bytes text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += (text.ptr[i] & 0xc0) != 0x80;
    return n;
}

/* All but the last `keep` characters become '*'; at most half stays. */
static void mask(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                 struct dgf_cel_value *ret)
{
    struct dgf_bytes text = dgf_cel_bytes_of(&args[0]);
    size_t n = args[0].kind == DGF_CEL_STRING ? chars(text) : 0, keep, at = 0;
    uint8_t *to;

    if (n == 0) {
        *ret = dgf_cel_string(DGF_BYTES(""));
        return;
    }
    keep = args[1].i64 < 0                 ? 0
           : (uint64_t)args[1].i64 > n / 2 ? n / 2
                                           : (size_t)args[1].i64;
    to = dgf_cel_alloc(eval, text.len, ret);
    if (!to || !dgf_cel_charge(eval, text.len / 16, ret))
        return;
    for (size_t i = 0, nth = 0; i < text.len; i++) {
        bool starts = (text.ptr[i] & 0xc0) != 0x80;

        nth += starts;
        if (nth > n - keep)
            to[at++] = text.ptr[i];
        else if (starts)
            to[at++] = '*';
    }
    *ret = dgf_cel_string(dgf_bytes_of(to, at));
}

static void token(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                  struct dgf_cel_value *ret)
{
    struct dgf_policy_host *host = eval->host;
    struct dgf_buf packed, out;
    uint8_t *to;

    if (!host || !host->masker) {
        dgf_cel_fail(eval, ret, "token() needs the agent's key");
        return;
    }
    dgf_buf_init(&packed, 1024 * 1024);
    dgf_buf_init(&out, 256);
    if (!dgf_policy_pack(eval, &args[0], &packed)) {
        *ret = dgf_cel_unknown(NULL, 0);
    } else if (dgf_cel_charge(eval, 50 + packed.len / 16, ret)) {
        dgf_mask_token(host->masker, dgf_buf_bytes(&packed), &out);
        to = dgf_cel_alloc(eval, out.len + 1, ret);
        if (to) {
            memcpy(to, out.ptr, out.len);
            *ret = dgf_cel_string(dgf_bytes_of(to, out.len));
        }
    }
    dgf_buf_release(&packed);
    dgf_buf_release(&out);
}

static void class_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                     struct dgf_cel_value *ret)
{
    struct dgf_policy_host *host = eval->host;
    enum dgf_class class_ = DGF_CLASS_NONE;

    if (host && host->class_of)
        class_ = host->class_of(host, dgf_cel_bytes_of(&args[0]));
    *ret = dgf_cel_string(dgf_bytes_str(dgf_class_text(class_)));
}

/* Needs calendars, which the loader refuses by name (E0418). */
static void in_hours(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                     struct dgf_cel_value *ret)
{
    (void)args;
    dgf_cel_fail(eval, ret, "in_hours() is not there yet");
}

static bool text_of(const struct dgf_cel_value *value, struct dgf_bytes *ret)
{
    if (value->kind != DGF_CEL_STRING)
        return false;
    *ret = dgf_cel_bytes_of(value);
    return true;
}

static void glob(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                 struct dgf_cel_value *ret)
{
    struct dgf_bytes text, pattern = dgf_cel_bytes_of(&args[1]);

    if (!text_of(&args[0], &text)) {
        *ret = dgf_cel_bool(false);
        return;
    }
    if (dgf_cel_charge(eval, 1 + text.len * (pattern.len + 1) / 64, ret))
        *ret = dgf_cel_bool(dgf_glob_text(pattern, text));
}

static bool is_snake(struct dgf_bytes text)
{
    bool start = true;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (c == '_' && !start)
            start = true;
        else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9' && i > 0))
            start = false;
        else
            return false;
    }
    return text.len > 0 && !start;
}

static void snake_case(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                       struct dgf_cel_value *ret)
{
    struct dgf_bytes text;

    (void)eval;
    *ret = dgf_cel_bool(text_of(&args[0], &text) && is_snake(text));
}

static int uuid_version(struct dgf_bytes text)
{
    if (text.len != 36)
        return 0;
    for (size_t i = 0; i < 36; i++) {
        uint8_t c = text.ptr[i];
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? c != '-'
                 : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
                     (c >= 'A' && c <= 'F')))
            return 0;
    }
    /* RFC 9562: variant 10 in the top bits of the ninth byte */
    if (!strchr("89abAB", text.ptr[19]))
        return 0;
    return text.ptr[14] >= '1' && text.ptr[14] <= '8' ? text.ptr[14] - '0' : 0;
}

static void uuid_version_of(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                            struct dgf_cel_value *ret)
{
    struct dgf_bytes text;

    (void)eval;
    *ret = dgf_cel_int(text_of(&args[0], &text) ? uuid_version(text) : 0);
}

static void luhn(struct dgf_cel_eval *eval, const struct dgf_cel_value *args,
                 struct dgf_cel_value *ret)
{
    struct dgf_buf plain;
    struct dgf_bytes text = dgf_cel_bytes_of(&args[0]);
    bool digits;

    (void)eval;
    dgf_buf_init(&plain, NUMBER_MAX);
    if (args[0].kind == DGF_CEL_INT || args[0].kind == DGF_CEL_UINT) {
        dgf_cel_plain(&args[0], &plain);
        text = dgf_buf_bytes(&plain);
    } else if (args[0].kind != DGF_CEL_STRING) {
        text.len = 0;
    }
    digits = text.len >= 2 && text.len <= NUMBER_MAX;
    for (size_t i = 0; digits && i < text.len; i++)
        digits = text.ptr[i] >= '0' && text.ptr[i] <= '9';
    *ret = dgf_cel_bool(digits && dgf_luhn(text));
    dgf_buf_release(&plain);
}

const struct dgf_cel_function dgf_policy_functions[] = {
    {"pii.card", "(dyn) -> bool", 10, pii_card},
    {"pii.ssn", "(dyn) -> bool", 10, pii_ssn},
    {"pii.iban", "(dyn) -> bool", 10, pii_iban},
    {"pii.email", "(dyn) -> bool", 10, pii_email},
    {"pii.phone", "(dyn) -> bool", 10, pii_phone},
    {"pii.ip", "(dyn) -> bool", 10, pii_ip},
    {"pii.any", "(dyn) -> bool", 20, pii_any},
    {"pii.national_id", "(dyn, string) -> bool", 20, pii_national_id},
    {"secret.any", "(dyn) -> bool", 10, pii_secret},
    {"mask", "(dyn, int) -> string", 5, mask},
    {"token", "(dyn) -> string", 50, token},
    {"class", "(string) -> string", 5, class_of},
    {"in_hours", "(dyn, string) -> bool", 1, in_hours},
    {"glob", "(dyn, string) -> bool", 5, glob},
    {"snake_case", "(dyn) -> bool", 2, snake_case},
    {"uuid.version", "(dyn) -> int", 2, uuid_version_of},
    {"luhn", "(dyn) -> bool", 5, luhn},
    {NULL, NULL, 0, NULL},
};
