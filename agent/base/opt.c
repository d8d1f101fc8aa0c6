#include "base/opt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/parse.h"

#define SECRET_FILE_MAX 65536

struct loading {
    const struct dgf_yaml *doc;
    const char *what;
    struct dgf_findings *findings;
    size_t from; /* findings before are of other parts */
};

static void *at(void *conf, const struct dgf_opt *opt)
{
    return (uint8_t *)conf + opt->offset;
}

static bool is_secret(const struct dgf_opt *opt)
{
    return opt->type == DGF_OPT_SECRET_STR || (opt->flags & DGF_SECRET);
}

DGF_PRINTF(4, 5)
static void say(const struct loading *l, const char *code,
                const struct dgf_yaml_node *node, const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_yaml_finding(l->doc, l->findings, DGF_FINDING_ERROR, code, node, "%s: %s",
                     l->what, text);
}

/* ---- ${...} -------------------------------------------------------------------- */

/* What is wrong with a reference. */
struct ref_fault {
    const char *code;
    char text[700];
};

static bool fault(struct ref_fault *ret, const char *code, const char *fmt, ...)
    DGF_PRINTF(3, 4);

static bool fault(struct ref_fault *ret, const char *code, const char *fmt, ...)
{
    va_list ap;

    ret->code = code;
    va_start(ap, fmt);
    (void)vsnprintf(ret->text, sizeof(ret->text), fmt, ap);
    va_end(ap);
    return false;
}

static bool add_file(const char *path, bool secret, struct dgf_buf *out,
                     struct ref_fault *ret)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    struct dgf_err err = {0};
    struct stat st;
    size_t len;
    bool good;

    dgf_buf_init(&text, SECRET_FILE_MAX);
    if (secret && stat(path, &st) == 0 && (st.st_mode & 077))
        return fault(ret, "E0212",
                     "file '%s' may be read by others (mode %03o): run chmod 600", path,
                     (unsigned)st.st_mode & 0777);
    if (dgf_file_slurp(path, SECRET_FILE_MAX, &text, &err))
        return fault(ret, "E0211", "%.500s", err.text);
    len = text.len;
    while (len && (text.ptr[len - 1] == '\n' || text.ptr[len - 1] == '\r'))
        len--;
    good = len && !memchr(text.ptr, '\0', len);
    if (good)
        dgf_buf_add(out, text.ptr, len);
    if (text.len)
        dgf_wipe(text.ptr, text.len);
    return good || fault(ret, "E0211", "file '%s' is empty or holds a NUL", path);
}

/* One reference, without ${ and }. */
static bool add_reference(const char *ref, bool secret, struct dgf_buf *out,
                          struct ref_fault *ret)
{
    const char *fallback = strstr(ref, ":-");
    const char *value;
    char name[256];
    size_t len = fallback ? (size_t)(fallback - ref) : strlen(ref);

    if (strncmp(ref, "file:", 5) == 0)
        return add_file(ref + 5, secret, out, ret);
    if (!dgf_is_variable(ref, len) || len >= sizeof(name))
        return fault(ret, "E0210",
                     "'${***}' names no variable; write ${NAME}, of letters, digits "
                     "and '_', or ${file:PATH}");
    memcpy(name, ref, len);
    name[len] = '\0';
    value = getenv(name);
    if (!value || (fallback && !*value))
        value = fallback ? fallback + 2 : NULL;
    if (!value)
        return secret
                   ? fault(ret, "E0207",
                           "environment variable '%s' is not set; set it, or keep the "
                           "secret in a file and write ${file:PATH}",
                           name)
                   : fault(ret, "E0207",
                           "environment variable '%s' is not set; write "
                           "${%s:-default} to allow that",
                           name, name);
    dgf_buf_add_str(out, value);
    return true;
}

char *dgf_opt_expand(const struct dgf_yaml *doc, const struct dgf_yaml_node *node,
                     bool secret, struct dgf_findings *findings)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    const char *p = node->text;
    struct ref_fault why = {0};
    char *copy;

    dgf_buf_init(&out, 1 << 20);
    while (*p) {
        const char *end = strchr(p, '}');
        char *ref;
        bool good;

        if (strncmp(p, "$${", 3) == 0) {
            dgf_buf_add_str(&out, "${");
            p += 3;
            continue;
        }
        if (strncmp(p, "${", 2) != 0) {
            dgf_buf_add_byte(&out, (uint8_t)*p++);
            continue;
        }
        ref = dgf_strndup(p + 2, end ? (size_t)(end - p - 2) : 0);
        good = ref && (end ? add_reference(ref, secret, &out, &why)
                           : fault(&why, "E0210", "'${' is not closed"));
        if (ref && !good)
            dgf_yaml_finding(doc, findings, DGF_FINDING_ERROR, why.code, node, "%s",
                             why.text);
        if (!ref)
            findings->nomem = true;
        dgf_free(ref);
        if (!good)
            return NULL;
        p = end + 1;
    }
    copy = dgf_buf_rc(&out) ? NULL : dgf_strndup((const char *)out.ptr, out.len);
    if (out.ptr)
        dgf_wipe(out.ptr, out.len);
    if (!copy)
        findings->nomem = true;
    return copy;
}

/* ---- values ---- */

static bool number_of(enum dgf_opt_type type, const char *text, int64_t *ret)
{
    uint64_t size;

    switch (type) {
    case DGF_OPT_DURATION:
        return dgf_parse_duration(dgf_bytes_str(text), ret);
    case DGF_OPT_SIZE:
        if (!dgf_parse_size(dgf_bytes_str(text), &size) || size > INT64_MAX)
            return false;
        *ret = (int64_t)size;
        return true;
    default:
        return dgf_parse_i64(dgf_bytes_str(text), ret);
    }
}

static const char *wanted(enum dgf_opt_type type)
{
    switch (type) {
    case DGF_OPT_DURATION:
        return "a time such as 500ms, 5s or 10m";
    case DGF_OPT_SIZE:
        return "a size such as 64KiB or 4MiB";
    case DGF_OPT_INT:
        return "a whole number";
    default:
        return "text";
    }
}

/* What a reference brought is not shown: it may be a secret in a wrong place. */
static const char *as_written(const struct dgf_yaml_node *node, const char *text)
{
    return node && strstr(node->text, "${") ? node->text : text;
}

static void set_number(const struct loading *l, const struct dgf_opt *opt,
                       const struct dgf_yaml_node *node, const char *text, void *to)
{
    int64_t value, lo, hi;

    if (!number_of(opt->type, text, &value)) {
        say(l, "E0204", node, "'%s' is '%.64s'; must be %s", opt->name,
            as_written(node, text), wanted(opt->type));
        return;
    }
    if ((opt->lo && number_of(opt->type, opt->lo, &lo) && value < lo) ||
        (opt->hi && number_of(opt->type, opt->hi, &hi) && value > hi)) {
        if (opt->lo && opt->hi)
            say(l, "E0206", node, "'%s' is %.64s; must be %s to %s", opt->name,
                as_written(node, text), opt->lo, opt->hi);
        else
            say(l, "E0206", node, "'%s' is %.64s; must be at %s %s", opt->name,
                as_written(node, text), opt->lo ? "least" : "most",
                opt->lo ? opt->lo : opt->hi);
        return;
    }
    *(int64_t *)to = value;
}

static int word_index(const char *words, const char *text)
{
    int n = 0;

    for (const char *w = words; *w; n++) {
        size_t len = strcspn(w, "|");

        if (strlen(text) == len && strncmp(w, text, len) == 0)
            return n;
        w += len + (w[len] == '|');
    }
    return -1;
}

static void wrong_word(const struct loading *l, const struct dgf_opt *opt,
                       const struct dgf_yaml_node *node, const char *text)
{
    char words[256], *names[16];
    const char *near;
    size_t n = 0;

    (void)snprintf(words, sizeof(words), "%s", opt->words);
    for (char *w = words; *w && n < DGF_ARRAY_LEN(names);) {
        size_t len = strcspn(w, "|");

        names[n++] = w;
        w += len + (w[len] != '\0');
        if (w > words)
            names[n - 1][len] = '\0';
    }
    near = dgf_nearest(text, (const char *const *)names, n);
    say(l, "E0205", node, "'%s' is '%.64s'; must be one of %s%s%s%s", opt->name,
        as_written(node, text), opt->words, near ? "; did you mean '" : "",
        near ? near : "", near ? "'?" : "");
}

/* Lists and maps hold texts only; an empty item is a slip of the pen. */
static bool is_text(const struct dgf_yaml_node *item)
{
    return item->kind != DGF_YAML_MAP && item->kind != DGF_YAML_LIST &&
           item->kind != DGF_YAML_NULL;
}

static void set_list(const struct loading *l, const struct dgf_opt *opt,
                     const struct dgf_yaml_node *node, struct dgf_str_list *to)
{
    size_t n = node->kind == DGF_YAML_LIST ? node->n : 1;

    to->list = dgf_calloc(n ? n : 1, sizeof(char *));
    if (!to->list) {
        l->findings->nomem = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const struct dgf_yaml_node *item =
            node->kind == DGF_YAML_LIST ? node->items[i] : node;

        if (item->refused)
            continue;
        if (!is_text(item)) {
            say(l, "E0201", item, "'%s' must be a list of texts", opt->name);
            continue;
        }
        to->list[to->n] = dgf_opt_expand(l->doc, item, is_secret(opt), l->findings);
        to->n += to->list[to->n] != NULL;
    }
}

static void set_map(const struct loading *l, const struct dgf_opt *opt,
                    const struct dgf_yaml_node *node, struct dgf_str_map *to)
{
    to->keys = dgf_calloc(node->n + 1, sizeof(char *));
    to->values = dgf_calloc(node->n + 1, sizeof(char *));
    if (!to->keys || !to->values) {
        l->findings->nomem = true;
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        const struct dgf_yaml_node *item = node->items[i];
        char *key, *value;

        if (item->refused)
            continue;
        if (!is_text(item)) {
            say(l, "E0201", item, "'%s.%s' must be text", opt->name,
                node->keys[i]->text);
            continue;
        }
        key = dgf_strdup(node->keys[i]->text);
        value = dgf_opt_expand(l->doc, item, is_secret(opt), l->findings);
        if (key && value) {
            to->keys[to->n] = key;
            to->values[to->n++] = value;
            continue;
        }
        if (!key)
            l->findings->nomem = true;
        dgf_free(key);
        dgf_free(value);
    }
}

static bool kind_fits(const struct loading *l, const struct dgf_opt *opt,
                      const struct dgf_yaml_node *node)
{
    enum dgf_yaml_kind kind = node->kind;
    bool map = opt->type == DGF_OPT_GROUP || opt->type == DGF_OPT_STR_MAP;
    bool fits = opt->type == DGF_OPT_NODE ||
                (map ? kind == DGF_YAML_MAP
                     : kind != DGF_YAML_MAP &&
                           (kind != DGF_YAML_LIST || opt->type == DGF_OPT_STR_LIST));

    if (!fits)
        say(l, "E0201", node, "'%s' must be %s, not %s", opt->name,
            map                             ? "a map"
            : opt->type == DGF_OPT_STR_LIST ? "a list of texts"
            : opt->type == DGF_OPT_BOOL     ? "true or false"
                                            : wanted(opt->type),
            dgf_yaml_kind_text(kind));
    return fits;
}

/* Where secrets belong, what stands behind a name we do not know may be one.  Policies
 * have none: who wrote one wants to see the line. */
static bool takes_secrets(const struct dgf_opt *opts)
{
    for (; opts->name; opts++)
        if (is_secret(opts) || (opts->flags & DGF_ADDRESS) ||
            (opts->type == DGF_OPT_GROUP && takes_secrets(opts->group)))
            return true;
    return false;
}

static void load_group(struct loading *l, const struct dgf_opt *opts, void *conf,
                       const struct dgf_yaml_node *node, const char *const *ignore);

/* text: already expanded; node may be NULL for a default. */
static void set_scalar(const struct loading *l, const struct dgf_opt *opt,
                       const struct dgf_yaml_node *node, char *text, void *to)
{
    bool value, good = true;
    int word;

    switch (opt->type) {
    case DGF_OPT_STR:
    case DGF_OPT_SECRET_STR:
        *(char **)to = dgf_steal(text);
        break;
    case DGF_OPT_BOOL:
        good = dgf_parse_bool(dgf_bytes_str(text), &value);
        if (good)
            *(bool *)to = value;
        else
            say(l, "E0204", node, "'%s' is '%.64s'; must be true or false", opt->name,
                as_written(node, text));
        break;
    case DGF_OPT_ENUM:
        word = word_index(opt->words, text);
        good = word >= 0;
        if (good)
            *(int *)to = word;
        else
            wrong_word(l, opt, node, text);
        break;
    default:
        set_number(l, opt, node, text, to);
    }
    if (!good && (opt->flags & DGF_DECIDES))
        dgf_findings_about(l->findings, "%s", opt->name);
    dgf_free(text);
}

static void set_default(struct loading *l, const struct dgf_opt *opt, void *conf)
{
    char *text;

    if (opt->type == DGF_OPT_GROUP) {
        load_group(l, opt->group, at(conf, opt), NULL, NULL);
        return;
    }
    if (!opt->fallback || opt->type == DGF_OPT_STR_LIST || opt->type == DGF_OPT_STR_MAP)
        return;
    text = dgf_strdup(opt->fallback);
    if (text)
        set_scalar(l, opt, NULL, text, at(conf, opt));
    else
        l->findings->nomem = true;
}

static void is_empty(const struct loading *l, const struct dgf_opt *opt,
                     const struct dgf_yaml_node *node)
{
    say(l, "E0203", node, "'%s' is empty%s%s", opt->name,
        opt->example ? "; example: " : "", opt->example ? opt->example : "");
}

static void set_one(struct loading *l, const struct dgf_opt *opt, void *conf,
                    const struct dgf_yaml_node *node)
{
    void *to = at(conf, opt);
    char *text;

    if (node->refused && opt->type != DGF_OPT_NODE) {
        set_default(l, opt, conf);
        return;
    }
    if (!kind_fits(l, opt, node))
        return;
    switch (opt->type) {
    case DGF_OPT_GROUP:
        load_group(l, opt->group, to, node, NULL);
        break;
    case DGF_OPT_NODE:
        *(const struct dgf_yaml_node **)to = node;
        break;
    case DGF_OPT_STR_LIST:
        set_list(l, opt, node, to);
        break;
    case DGF_OPT_STR_MAP:
        set_map(l, opt, node, to);
        break;
    default:
        text = dgf_opt_expand(l->doc, node, is_secret(opt), l->findings);
        if (text && !*text && (opt->flags & DGF_REQUIRED)) {
            is_empty(l, opt, node);
            dgf_free(text);
        } else if (text) {
            set_scalar(l, opt, node, text, to);
        }
    }
    if (opt->type == DGF_OPT_STR_LIST && (opt->flags & DGF_REQUIRED) &&
        node->kind == DGF_YAML_LIST && node->n == 0)
        is_empty(l, opt, node);
}

static bool is_ignored(const char *const *ignore, const char *name)
{
    for (; ignore && *ignore; ignore++)
        if (strcmp(*ignore, name) == 0)
            return true;
    return false;
}

/* What portals and libraries call an account key. */
static const char *other_name(const char *name, const struct dgf_opt *opts)
{
    static const char *const names[] = {"AccountKey", "account_key",
                                        "connection_string", "ConnectionString"};

    for (; opts->name; opts++)
        for (size_t i = 0; strcmp(opts->name, "key") == 0 && i < DGF_ARRAY_LEN(names);
             i++)
            if (strcasecmp(name, names[i]) == 0)
                return opts->name;
    return NULL;
}

/* Is a misspelled name in the place of this one? */
static bool is_misspelled(const struct loading *l, const char *name)
{
    for (size_t i = l->from; i < l->findings->n; i++)
        if (l->findings->list[i].option &&
            strcmp(l->findings->list[i].option, name) == 0)
            return true;
    return false;
}

static void unknown_key(struct loading *l, const struct dgf_opt *opts,
                        const char *const *ignore, const struct dgf_yaml_node *node,
                        const struct dgf_yaml_node *key)
{
    const char *names[128];
    const char *near;
    size_t n = 0;

    for (; n < 128 && opts[n].name; n++)
        names[n] = opts[n].name;
    for (; n < 128 && ignore && *ignore; ignore++)
        names[n++] = *ignore;
    near = other_name(key->text, opts);
    near = near ? near : dgf_nearest(key->text, names, n);
    if (near) {
        say(l, "E0202", key, "unknown option '%.64s'; did you mean '%s'?", key->text,
            near);
        if (!dgf_yaml_get(node, near))
            dgf_findings_about(l->findings, "%s", near);
    } else {
        say(l, "E0202", key, "unknown option '%.64s'", key->text);
    }
}

static void load_group(struct loading *l, const struct dgf_opt *opts, void *conf,
                       const struct dgf_yaml_node *node, const char *const *ignore)
{
    for (size_t i = 0; node && i < node->n; i++) {
        bool found = is_ignored(ignore, node->keys[i]->text);

        for (const struct dgf_opt *opt = opts; opt->name && !found; opt++)
            found = strcmp(opt->name, node->keys[i]->text) == 0;
        if (found)
            continue;
        if (takes_secrets(opts))
            dgf_opt_hide_values(node->items[i], l->findings);
        unknown_key(l, opts, ignore, node, node->keys[i]);
    }
    for (const struct dgf_opt *opt = opts; opt->name; opt++) {
        const struct dgf_yaml_node *value = node ? dgf_yaml_get(node, opt->name) : NULL;

        if (value && (opt->flags & DGF_ADDRESS))
            dgf_opt_hide_odd_address(value, is_secret(opt), l->findings);
        else if (value && is_secret(opt))
            dgf_opt_hide_values(value, l->findings);
        if (value && (value->kind != DGF_YAML_NULL || value->refused))
            set_one(l, opt, conf, value);
        else if (!(opt->flags & DGF_REQUIRED))
            set_default(l, opt, conf);
        else if (node && !is_misspelled(l, opt->name))
            say(l, "E0203", node, "'%s' is missing%s%s", opt->name,
                opt->example ? "; example: " : "", opt->example ? opt->example : "");
    }
}

void dgf_opt_load(const struct dgf_opt *opts, void *conf, const struct dgf_yaml *doc,
                  const struct dgf_yaml_node *node, const char *what,
                  const char *const *ignore, struct dgf_findings *findings)
{
    struct loading l = {
        .doc = doc, .what = what, .findings = findings, .from = findings->n};

    if (node && node->kind != DGF_YAML_MAP) {
        say(&l, "E0201", node, "must be a map, not %s", dgf_yaml_kind_text(node->kind));
        return;
    }
    load_group(&l, opts, conf, node, ignore);
}

void dgf_opt_release(const struct dgf_opt *opts, void *conf)
{
    for (const struct dgf_opt *opt = opts; conf && opt->name; opt++) {
        void *to = at(conf, opt);

        if (opt->type == DGF_OPT_STR || opt->type == DGF_OPT_SECRET_STR) {
            char **text = to;

            if (*text && is_secret(opt))
                dgf_wipe(*text, strlen(*text));
            dgf_free(*text);
            *text = NULL;
        } else if (opt->type == DGF_OPT_STR_LIST) {
            struct dgf_str_list *list = to;

            for (size_t i = 0; i < list->n; i++) {
                if (is_secret(opt))
                    dgf_wipe(list->list[i], strlen(list->list[i]));
                dgf_free(list->list[i]);
            }
            dgf_free(list->list);
            *list = (struct dgf_str_list){0};
        } else if (opt->type == DGF_OPT_STR_MAP) {
            struct dgf_str_map *map = to;

            for (size_t i = 0; i < map->n; i++) {
                if (map->values[i] && is_secret(opt))
                    dgf_wipe(map->values[i], strlen(map->values[i]));
                dgf_free(map->keys[i]);
                dgf_free(map->values[i]);
            }
            dgf_free(map->keys);
            dgf_free(map->values);
            *map = (struct dgf_str_map){0};
        } else if (opt->type == DGF_OPT_GROUP) {
            dgf_opt_release(opt->group, to);
        }
    }
}
