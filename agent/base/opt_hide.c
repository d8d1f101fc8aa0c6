/* opt_hide.c - an address as it may be seen: where, as whom, and no secret. */
#include "base/opt.h"

#include <string.h>
#include <strings.h>

#include "base/mem.h"

/* Rather one too many: names of parameters are what libpq, libmongoc and Azure call
 * them, and an escaped name may be any of these. */
static bool is_secret(struct dgf_bytes name)
{
    static const char *const parts[] = {"pass",  "pwd",        "secret",
                                        "token", "key",        "credential",
                                        "sig",   "properties", "%"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(parts); i++)
        for (size_t at = 0; at + strlen(parts[i]) <= name.len; at++)
            if (strncasecmp((const char *)name.ptr + at, parts[i], strlen(parts[i])) ==
                0)
                return true;
    return false;
}

static void add_parameter(struct dgf_buf *out, const char *at, size_t len)
{
    const char *equals = memchr(at, '=', len);
    size_t name = equals ? (size_t)(equals - at) : len;

    if (equals && !is_secret(dgf_bytes_of(at, name))) {
        dgf_buf_add(out, at, len);
        return;
    }
    if (!equals) { /* no name, so it may be anything */
        dgf_buf_add_str(out, len ? "***" : "");
        return;
    }
    dgf_buf_add(out, at, name + 1);
    dgf_buf_add_str(out, "***");
}

/* Behind "://".  A password may hold any character that somebody forgot to escape, so
 * that it ends at the last @ of all. */
static void hide_url(const char *at, struct dgf_buf *out)
{
    const char *sign = strrchr(at, '@'), *colon = strpbrk(at, ":/?");

    if (sign && colon && colon < sign) {
        if (*colon == ':')
            dgf_buf_add(out, at, (size_t)(colon - at));
        dgf_buf_add_str(out, ":***");
        at = sign;
    }
    dgf_buf_add(out, at, strcspn(at, "?"));
    at += strcspn(at, "?");
    while (*at) {
        size_t len = strcspn(at + 1, "&;#");

        dgf_buf_add_byte(out, (uint8_t)*at);
        add_parameter(out, at + 1, len);
        at += 1 + len;
    }
}

/* A value of libpq: 'quoted' or not, with backslashes; NULL: a quote is left open. */
static const char *end_of_value(const char *at)
{
    bool quoted = *at == '\'';

    for (at += quoted; *at; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (quoted ? *at == '\'' : strchr(" \t\n\r\f\v", *at) != NULL)
            return at + quoted;
    }
    return quoted ? NULL : at;
}

/* keyword = value ...; false: it is none of that. */
static bool hide_keywords(const char *at, struct dgf_buf *out)
{
    static const char blanks[] = " \t\n\r\f\v";

    for (at += strspn(at, blanks); *at; at += strspn(at, blanks)) {
        size_t len = strcspn(at, "= \t\n\r\f\v");
        const char *value = at + len + strspn(at + len, blanks), *end;

        if (*value != '=' || !dgf_is_variable(at, len))
            return false;
        value += 1 + strspn(value + 1, blanks);
        end = end_of_value(value);
        if (!end)
            return false;
        if (out->len)
            dgf_buf_add_byte(out, ' ');
        dgf_buf_add(out, at, len);
        dgf_buf_add_byte(out, '=');
        if (is_secret(dgf_bytes_of(at, len)))
            dgf_buf_add_str(out, "***");
        else
            dgf_buf_add(out, value, (size_t)(end - value));
        at = end;
    }
    return out->len > 0;
}

void dgf_opt_hide_address(const char *address, struct dgf_buf *out)
{
    const char *scheme = strstr(address, "://");
    DGF_RELEASE(dgf_buf_release) struct dgf_buf words = {0};

    dgf_buf_init(&words, 1 << 20);
    if (scheme && strcspn(address, ":/?@= ") == (size_t)(scheme - address)) {
        dgf_buf_add(out, address, (size_t)(scheme - address) + 3);
        hide_url(scheme + 3, out);
    } else if (hide_keywords(address, &words)) {
        dgf_buf_add(out, words.ptr, words.len);
    } else {
        dgf_buf_add_str(out, "***");
    }
}
