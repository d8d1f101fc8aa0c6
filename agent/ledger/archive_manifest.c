#include "ledger/archive_manifest.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/parse.h"

#define MAX_ITEMS 100000
#define MAX_DEPTH 4

void dgf_manifest_init(struct dgf_manifest *manifest)
{
    memset(manifest, 0, sizeof(*manifest));
}

void dgf_manifest_clear_sources(struct dgf_manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_sources; i++) {
        dgf_free(manifest->sources[i].name);
        dgf_free(manifest->sources[i].from);
        dgf_free(manifest->sources[i].to);
    }
    dgf_free(dgf_steal(manifest->sources));
    manifest->n_sources = 0;
}

void dgf_manifest_clear_policies(struct dgf_manifest *manifest)
{
    for (size_t i = 0; i < manifest->n_policies; i++)
        dgf_free(manifest->policies[i].path);
    dgf_free(dgf_steal(manifest->policies));
    manifest->n_policies = 0;
}

void dgf_manifest_release(struct dgf_manifest *manifest)
{
    dgf_manifest_clear_sources(manifest);
    dgf_manifest_clear_policies(manifest);
}

/* ---- building ------------------------------------------------------------ */

/* Room for one more at `at` in an array of n items. */
static void *insert(void *list, size_t n, size_t at, size_t size)
{
    uint8_t *grown = n < MAX_ITEMS ? dgf_realloc(list, (n + 1) * size) : NULL;

    if (!grown)
        return NULL;
    memmove(grown + (at + 1) * size, grown + at * size, (n - at) * size);
    memset(grown + at * size, 0, size);
    return grown;
}

static struct dgf_manifest_source *source_of(struct dgf_manifest *manifest,
                                             const char *name, bool *ret_new)
{
    struct dgf_manifest_source *list;
    char *copy;
    size_t at = 0;

    *ret_new = false;

    while (at < manifest->n_sources && strcmp(manifest->sources[at].name, name) < 0)
        at++;
    if (at < manifest->n_sources && strcmp(manifest->sources[at].name, name) == 0)
        return &manifest->sources[at];
    copy = dgf_strdup(name);
    list =
        copy ? insert(manifest->sources, manifest->n_sources, at, sizeof(*list)) : NULL;
    if (!list) {
        dgf_free(copy);
        return NULL;
    }
    manifest->sources = list;
    manifest->n_sources++;
    *ret_new = true;
    list[at].name = copy;
    return &list[at];
}

enum dgf_rc dgf_manifest_policy(struct dgf_manifest *manifest, struct dgf_bytes path,
                                const uint8_t sha256[DGF_SHA256_LEN])
{
    char *copy = dgf_strndup((const char *)path.ptr, path.len);
    struct dgf_manifest_policy *list;
    size_t at = 0;

    if (!copy)
        return DGF_NOMEM;
    while (at < manifest->n_policies && strcmp(manifest->policies[at].path, copy) < 0)
        at++;
    list = insert(manifest->policies, manifest->n_policies, at, sizeof(*list));
    if (!list) {
        dgf_free(copy);
        return DGF_NOMEM;
    }
    manifest->policies = list;
    manifest->n_policies++;
    list[at].path = copy;
    memcpy(list[at].sha256, sha256, DGF_SHA256_LEN);
    return DGF_OK;
}

/* Looks only at the first bytes: the order of a record's fields is fixed. */
static bool is_of_kind(struct dgf_bytes line, const char *kind)
{
    static const char key[] = "\"kind\":\"";
    size_t n = line.len < 160 ? line.len : 160, len = strlen(kind);
    const uint8_t *at = memmem(line.ptr, n, key, sizeof(key) - 1);

    if (!at)
        return false;
    at += sizeof(key) - 1;
    return (size_t)(line.ptr + line.len - at) > len && memcmp(at, kind, len) == 0 &&
           at[len] == '"';
}

static bool replace_text(char **text, const char *with)
{
    char *copy = with ? dgf_strdup(with) : NULL;

    dgf_free(*text);
    *text = copy;
    return copy || !with;
}

enum dgf_rc dgf_manifest_line(struct dgf_manifest *manifest, struct dgf_bytes line)
{
    DGF_CLEANUP_JSON json_t *record = NULL;
    bool coverage = is_of_kind(line, "coverage");
    struct dgf_manifest_source *source;
    const char *name, *from, *to;
    json_t *events, *part;
    bool is_new;
    enum dgf_rc rc;

    if (!coverage && !is_of_kind(line, "gap"))
        return DGF_OK;
    rc = dgf_json_parse_record(line, &record, NULL);
    if (rc)
        return rc;
    name = json_string_value(json_object_get(record, "source"));
    from = json_string_value(json_object_get(record, "from"));
    to = json_string_value(json_object_get(record, "to"));
    if (!name)
        return DGF_OK;
    source = source_of(manifest, name, &is_new);
    if (!source || (is_new && !replace_text(&source->from, from)) ||
        !replace_text(&source->to, to))
        return DGF_NOMEM;
    events = json_object_get(record, "events");
    part = json_object_get(record, "part");
    if (coverage && json_integer_value(events) > 0 &&
        (!part || json_integer_value(part) == 1))
        source->events += (uint64_t)json_integer_value(events);
    return DGF_OK;
}

/* ---- writing ------------------------------------------------------------- */

static void put_hash(struct dgf_json *json, struct dgf_buf *to, const char *key,
                     const uint8_t hash[DGF_SHA256_LEN])
{
    if (key)
        dgf_json_key(json, key);
    dgf_buf_add_byte(to, '"');
    dgf_buf_add_hex(to, dgf_bytes_of(hash, DGF_SHA256_LEN));
    dgf_buf_add_byte(to, '"');
    json->comma = true;
}

static void put_source(struct dgf_json *json, const struct dgf_manifest_source *source)
{
    dgf_json_key_bytes(json, dgf_bytes_str(source->name));
    dgf_json_begin_object(json);
    if (source->from) {
        dgf_json_key(json, "from");
        dgf_json_str(json, source->from);
    }
    if (source->to) {
        dgf_json_key(json, "to");
        dgf_json_str(json, source->to);
    }
    dgf_json_key(json, "events");
    dgf_json_u64(json, source->events);
    dgf_json_end_object(json);
}

void dgf_manifest_put(const struct dgf_manifest *manifest, struct dgf_buf *to)
{
    struct dgf_json json = dgf_json_of(to);

    dgf_json_begin_object(&json);
    dgf_json_key(&json, "v");
    dgf_json_u64(&json, 1);
    dgf_json_key(&json, "log");
    dgf_json_str(&json, manifest->log);
    dgf_json_key(&json, "first");
    dgf_json_u64(&json, manifest->first);
    dgf_json_key(&json, "last");
    dgf_json_u64(&json, manifest->last);
    put_hash(&json, to, "leaves_sha256", manifest->leaves_sha256);
    put_hash(&json, to, "file_sha256", manifest->file_sha256);
    put_hash(&json, to, "state_sha256", manifest->state_sha256);
    put_hash(&json, to, "root_before", manifest->root_before);
    put_hash(&json, to, "root_after", manifest->root_after);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < manifest->n_sources; i++)
        put_source(&json, &manifest->sources[i]);
    dgf_json_end_object(&json);
    dgf_json_key(&json, "policies");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < manifest->n_policies; i++) {
        dgf_json_key_bytes(&json, dgf_bytes_str(manifest->policies[i].path));
        put_hash(&json, to, NULL, manifest->policies[i].sha256);
    }
    dgf_json_end_object(&json);
    dgf_json_key(&json, "policy_set");
    dgf_buf_add_str(to, "\"sha256:");
    dgf_buf_add_hex(to, dgf_bytes_of(manifest->policy_set, DGF_SHA256_LEN));
    dgf_buf_add_byte(to, '"');
    json.comma = true;
    if (manifest->has_previous)
        put_hash(&json, to, "previous", manifest->previous);
    dgf_json_end_object(&json);
}

/* ---- reading ------------------------------------------------------------- */

static enum dgf_rc bad(struct dgf_err *err, const char *field)
{
    return dgf_err_set(err, DGF_BAD_DATA, "not a manifest of this format: '%s'", field);
}

static bool get_hash(const json_t *value, const char *prefix,
                     uint8_t ret[DGF_SHA256_LEN])
{
    const char *text = json_string_value(value);
    size_t n = strlen(prefix);

    if (!text || strncmp(text, prefix, n) != 0)
        return false;
    text += n;
    if (strspn(text, "0123456789abcdef") != 2 * (size_t)DGF_SHA256_LEN)
        return false;
    return dgf_parse_hex(dgf_bytes_str(text), ret, DGF_SHA256_LEN);
}

static bool get_number(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

static enum dgf_rc get_sources(json_t *map, struct dgf_manifest *ret,
                               struct dgf_err *err)
{
    const char *name;
    json_t *item;

    if (!json_is_object(map))
        return bad(err, "sources");
    json_object_foreach(map, name, item)
    {
        json_t *from = json_object_get(item, "from"), *to = json_object_get(item, "to");
        bool is_new;
        struct dgf_manifest_source *source = source_of(ret, name, &is_new);
        size_t n = 1 + (from != NULL) + (to != NULL);

        if (!source)
            return DGF_NOMEM;
        if ((from && !json_is_string(from)) || (to && !json_is_string(to)) ||
            !get_number(json_object_get(item, "events"), &source->events) ||
            json_object_size(item) != n)
            return bad(err, "sources");
        if (!replace_text(&source->from, json_string_value(from)) ||
            !replace_text(&source->to, json_string_value(to)))
            return DGF_NOMEM;
    }
    return DGF_OK;
}

static enum dgf_rc get_policies(json_t *map, struct dgf_manifest *ret,
                                struct dgf_err *err)
{
    uint8_t hash[DGF_SHA256_LEN];
    const char *path;
    json_t *item;

    if (!json_is_object(map))
        return bad(err, "policies");
    json_object_foreach(map, path, item)
    {
        enum dgf_rc rc;

        if (!get_hash(item, "", hash))
            return bad(err, "policies");
        rc = dgf_manifest_policy(ret, dgf_bytes_str(path), hash);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

static enum dgf_rc get_fields(json_t *json, struct dgf_manifest *ret,
                              struct dgf_err *err)
{
    const struct {
        const char *name;
        uint8_t *to;
    } hashes[] = {
        {"leaves_sha256", ret->leaves_sha256}, {"file_sha256", ret->file_sha256},
        {"state_sha256", ret->state_sha256},   {"root_before", ret->root_before},
        {"root_after", ret->root_after},
    };
    json_t *log = json_object_get(json, "log");
    const char *text = json_string_value(log);
    uint64_t v;
    enum dgf_rc rc;

    if (!get_number(json_object_get(json, "v"), &v) || v != 1)
        return bad(err, "v");
    if (!text || json_string_length(log) != DGF_LOG_ID_TEXT_LEN ||
        strspn(text, "0123456789abcdef") != DGF_LOG_ID_TEXT_LEN)
        return bad(err, "log");
    memcpy(ret->log, text, sizeof(ret->log));
    if (!get_number(json_object_get(json, "first"), &ret->first))
        return bad(err, "first");
    if (!get_number(json_object_get(json, "last"), &ret->last) ||
        ret->last < ret->first)
        return bad(err, "last");
    for (size_t i = 0; i < DGF_ARRAY_LEN(hashes); i++)
        if (!get_hash(json_object_get(json, hashes[i].name), "", hashes[i].to))
            return bad(err, hashes[i].name);
    if (!get_hash(json_object_get(json, "policy_set"), "sha256:", ret->policy_set))
        return bad(err, "policy_set");
    ret->has_previous = json_object_get(json, "previous") != NULL;
    if (ret->has_previous &&
        !get_hash(json_object_get(json, "previous"), "", ret->previous))
        return bad(err, "previous");
    if (json_object_size(json) != 12 + (size_t)ret->has_previous)
        return bad(err, "a field that is none");
    rc = get_sources(json_object_get(json, "sources"), ret, err);
    return rc ? rc : get_policies(json_object_get(json, "policies"), ret, err);
}

enum dgf_rc dgf_manifest_get(struct dgf_bytes text, struct dgf_manifest *ret,
                             struct dgf_err *err)
{
    DGF_CLEANUP_JSON json_t *json = NULL;
    DGF_RELEASE(dgf_manifest_release) struct dgf_manifest manifest = {.first = 0};
    enum dgf_rc rc =
        dgf_json_parse(text, DGF_MANIFEST_MAX_BYTES, MAX_DEPTH, &json, err);

    if (rc == DGF_BAD_DATA)
        return dgf_err_prefix(err, "not a manifest");
    if (!rc)
        rc = get_fields(json, &manifest, err);
    if (rc == DGF_NOMEM)
        return dgf_err_set(err, rc, "cannot read a manifest: out of memory");
    if (rc)
        return rc;
    dgf_manifest_release(ret);
    *ret = manifest;
    dgf_manifest_init(&manifest);
    return DGF_OK;
}
