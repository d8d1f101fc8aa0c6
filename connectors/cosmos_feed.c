#include "cosmos_feed.h"

/* ---- a page ---- */

const char *dgf_cosmos_page_read(struct dgf_bytes body, struct dgf_cosmos_page *ret,
                                 bool *ret_cut)
{
    struct dgf_bytes root, list, value, key;
    struct dgf_jv_walk walk;
    int64_t count;
    const char *why;

    *ret_cut = body.len == 0;
    if (!body.len)
        return "it is empty";
    why = dgf_jv_check(body, ret_cut);
    if (why)
        return why;
    root = dgf_jv_root(body);
    if (!dgf_jv_find(root, "Documents", &list) || !dgf_jv_is(list, '['))
        return "it has no list of documents";
    memset(ret, 0, sizeof(*ret));
    if (dgf_jv_find(root, "_rid", &value) &&
        !dgf_jv_copy(value, ret->rid, sizeof(ret->rid)))
        return "its _rid is none";
    walk = dgf_jv_walk(list);
    while (dgf_jv_next(&walk, &key, &value))
        ret->n++;
    if (dgf_jv_find(root, "_count", &value) &&
        (!dgf_jv_i64(value, &count) || count < 0 || (size_t)count != ret->n))
        return "its _count is not the number of its documents";
    ret->walk = dgf_jv_walk(list);
    return NULL;
}

bool dgf_cosmos_page_next(struct dgf_cosmos_page *page, struct dgf_bytes *ret_item)
{
    struct dgf_bytes key;

    return dgf_jv_next(&page->walk, &key, ret_item);
}

/* ---- one change ---- */

static bool find_object(struct dgf_bytes object, const char *name,
                        struct dgf_bytes *ret)
{
    struct dgf_bytes value, key;
    struct dgf_jv_walk walk;

    *ret = (struct dgf_bytes){NULL, 0};
    if (!dgf_jv_find(object, name, &value) || !dgf_jv_is(value, '{'))
        return false;
    walk = dgf_jv_walk(value);
    if (!dgf_jv_next(&walk, &key, ret)) { /* {}: nothing is there */
        *ret = (struct dgf_bytes){NULL, 0};
        return false;
    }
    *ret = value;
    return true;
}

static void read_lsn(struct dgf_bytes object, const char *name,
                     struct dgf_cosmos_change *ret)
{
    struct dgf_bytes value;

    if (!ret->has_lsn && dgf_jv_find(object, name, &value))
        ret->has_lsn = dgf_jv_i64(value, &ret->lsn) && ret->lsn >= 0;
}

static void read_time(struct dgf_bytes object, const char *name,
                      struct dgf_cosmos_change *ret)
{
    struct dgf_bytes value;
    int64_t s;

    if (!ret->time_s && dgf_jv_find(object, name, &value) && dgf_jv_i64(value, &s) &&
        s > 0 && s < INT64_C(9000000000))
        ret->time_s = s;
}

static const char *read_operation(struct dgf_bytes metadata,
                                  struct dgf_cosmos_change *ret)
{
    static const struct {
        const char *word;
        enum dgf_op op;
    } words[] = {
        {"create", DGF_OP_INSERT},
        {"replace", DGF_OP_REPLACE},
        {"update", DGF_OP_REPLACE},
        {"delete", DGF_OP_DELETE},
    };
    struct dgf_bytes value;
    char word[32];

    /* older documents call it changeType */
    if (!dgf_jv_find(metadata, "operationType", &value) &&
        !dgf_jv_find(metadata, "changeType", &value))
        return "the change does not say its operation";
    if (!dgf_jv_copy(value, word, sizeof(word)))
        return "an operation nobody knows";
    for (size_t i = 0; i < DGF_ARRAY_LEN(words); i++)
        if (strcasecmp(word, words[i].word) == 0) {
            ret->op = words[i].op;
            if (ret->op == DGF_OP_DELETE &&
                dgf_jv_find(metadata, "timeToLiveExpired", &value) &&
                dgf_jv_is(value, 't')) {
                ret->op = DGF_OP_EXPIRE;
                ret->cause = DGF_CAUSE_TTL;
            }
            return NULL;
        }
    return "an operation nobody knows";
}

static bool find_id(struct dgf_cosmos_change *change)
{
    const struct dgf_bytes places[] = {change->current, change->metadata,
                                       change->previous};

    for (size_t i = 0; i < DGF_ARRAY_LEN(places); i++)
        if (dgf_jv_find(places[i], "id", &change->id) && dgf_jv_is(change->id, '"'))
            return true;
    change->id = (struct dgf_bytes){NULL, 0};
    return false;
}

static const char *read_whole(struct dgf_bytes item, struct dgf_cosmos_change *ret)
{
    const char *why;

    (void)find_object(item, "current", &ret->current);
    (void)find_object(item, "previous", &ret->previous);
    if (!find_object(item, "metadata", &ret->metadata))
        return "the change has no metadata";
    read_lsn(ret->metadata, "lsn", ret);
    read_lsn(ret->current, "_lsn", ret);
    read_time(ret->metadata, "crts", ret);
    read_time(ret->current, "_ts", ret);
    (void)find_id(ret);
    why = read_operation(ret->metadata, ret);
    if (why)
        return why;
    if (ret->op != DGF_OP_DELETE && ret->op != DGF_OP_EXPIRE && !ret->current.len)
        return "the change has no document";
    return NULL;
}

const char *dgf_cosmos_change_read(struct dgf_bytes item, enum dgf_cosmos_mode mode,
                                   struct dgf_cosmos_change *ret)
{
    const char *why = NULL;

    memset(ret, 0, sizeof(*ret));
    ret->op = DGF_OP_REPLACE; /* a latest version may be a new document or not */
    if (!dgf_jv_is(item, '{'))
        return "the change is no object";
    if (mode == DGF_COSMOS_ALL) {
        why = read_whole(item, ret);
    } else {
        ret->current = item;
        read_lsn(item, "_lsn", ret);
        read_time(item, "_ts", ret);
    }
    if (why)
        return why;
    if (!find_id(ret))
        return "the change has no id";
    return ret->has_lsn ? NULL : "the change has no _lsn";
}

/* ---- partition key ---- */

/* "/a/\"b/c\"" as segments. */
static bool read_path(const char *text, char *name, char *path, size_t *ret_n)
{
    size_t at = 0;

    *ret_n = 0;
    name[0] = 0;
    while (*text) {
        bool quoted;
        size_t len;

        if (*text++ != '/')
            return false;
        quoted = *text == '"';
        text += quoted;
        len = strcspn(text, quoted ? "\"" : "/");
        if (!len || at + len + 1 >= DGF_COSMOS_PATH_MAX)
            return false;
        if (*ret_n)
            name[at - 1] = '.';
        memcpy(name + at, text, len);
        memcpy(path + at, text, len);
        name[at + len] = path[at + len] = 0;
        at += len + 1;
        text += len;
        if (quoted && *text++ != '"')
            return false;
        ++*ret_n;
    }
    return *ret_n > 0;
}

bool dgf_cosmos_key_read(struct dgf_bytes container, struct dgf_cosmos_key *ret)
{
    struct dgf_bytes definition, list, key, value;
    char text[DGF_COSMOS_PATH_MAX];
    struct dgf_jv_walk walk;

    ret->n = 0;
    if (!dgf_jv_find(container, "partitionKey", &definition))
        return true; /* old containers have none */
    if (!dgf_jv_find(definition, "paths", &list) || !dgf_jv_is(list, '['))
        return false;
    walk = dgf_jv_walk(list);
    while (dgf_jv_next(&walk, &key, &value)) {
        if (ret->n == DGF_COSMOS_KEY_MAX || !dgf_jv_copy(value, text, sizeof(text)) ||
            !read_path(text, ret->paths[ret->n].name, ret->paths[ret->n].path,
                       &ret->paths[ret->n].n_segments))
            return false;
        ret->n++;
    }
    return true;
}

static bool at_path(const struct dgf_cosmos_key *key, size_t i, struct dgf_bytes from,
                    struct dgf_bytes *ret)
{
    const char *segment = key->paths[i].path;

    for (size_t s = 0; s < key->paths[i].n_segments; s++) {
        if (!dgf_jv_find(from, segment, ret))
            return false;
        from = *ret;
        segment += strlen(segment) + 1;
    }
    return true;
}

/* A delete says its partition key in the metadata: as an object, or as a list. */
static bool in_metadata(const struct dgf_cosmos_key *key, size_t i,
                        struct dgf_bytes metadata, struct dgf_bytes *ret)
{
    struct dgf_bytes values, name;
    struct dgf_jv_walk walk;
    char path[DGF_COSMOS_PATH_MAX];
    size_t n = 0;

    if (!dgf_jv_find(metadata, "partitionKey", &values))
        return false;
    if (at_path(key, i, values, ret) || dgf_jv_find(values, key->paths[i].name, ret))
        return true;
    (void)snprintf(path, sizeof(path), "/%.*s", (int)sizeof(path) - 2,
                   key->paths[i].name);
    for (char *at = path; *at; at++)
        *at = *at == '.' ? '/' : *at;
    if (dgf_jv_find(values, path, ret))
        return true;
    if (!dgf_jv_is(values, '['))
        return false;
    walk = dgf_jv_walk(values);
    while (dgf_jv_next(&walk, &name, ret))
        if (n++ == i)
            return true;
    return false;
}

/* ---- events ---- */

static const char *put_key(const struct dgf_cosmos_change *change,
                           const struct dgf_cosmos_key *key,
                           struct dgf_event_builder *builder)
{
    const char *why = NULL;

    dgf_event_section(builder, DGF_SECTION_KEY);
    for (size_t i = 0; i < key->n && !why; i++) {
        struct dgf_bytes value = {NULL, 0};

        if (strcmp(key->paths[i].name, "id") == 0)
            continue;
        if (at_path(key, i, change->current, &value) ||
            in_metadata(key, i, change->metadata, &value) ||
            at_path(key, i, change->previous, &value))
            why = dgf_jv_pack(
                value, 4, dgf_event_named(builder, dgf_bytes_str(key->paths[i].name)));
    }
    if (!why)
        why = dgf_jv_pack(change->id, 1, dgf_event_named(builder, DGF_BYTES("id")));
    dgf_event_section_end(builder);
    return why;
}

/* What the service adds to each document, and changes with each write. */
static bool is_system(struct dgf_bytes name)
{
    static const char *const names[] = {"\"_rid\"", "\"_self\"", "\"_etag\"",
                                        "\"_ts\"",  "\"_lsn\"",  "\"_attachments\""};

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (dgf_bytes_eq(name, dgf_bytes_str(names[i])))
            return true;
    return false;
}

static const char *put_document(struct dgf_event_builder *builder,
                                enum dgf_section section, struct dgf_bytes document)
{
    struct dgf_jv_walk walk = dgf_jv_walk(document);
    struct dgf_bytes name, value;
    const char *why = NULL;
    struct dgf_map names;
    struct dgf_buf text;

    dgf_map_init(&names);
    dgf_buf_init(&text, document.len + 1);
    dgf_event_section(builder, section);
    while (!why && dgf_jv_next(&walk, &name, &value)) {
        if (is_system(name))
            continue;
        dgf_buf_clear(&text);
        if (!dgf_jv_text(name, &text))
            why = "a text that is no Unicode";
        else if (dgf_map_get(&names, dgf_buf_bytes(&text)))
            why = "a field stands twice";
        else if (dgf_buf_rc(&text) ||
                 dgf_map_put(&names, dgf_buf_bytes(&text), builder, NULL))
            builder->body.rc = DGF_NOMEM;
        else
            why = dgf_jv_pack(value, DGF_COSMOS_DEPTH_MAX,
                              dgf_event_named(builder, dgf_buf_bytes(&text)));
    }
    dgf_event_section_end(builder);
    dgf_buf_release(&text);
    dgf_map_release(&names, NULL);
    return why;
}

static const char *put_before(const struct dgf_cosmos_change *change,
                              enum dgf_cosmos_mode mode,
                              struct dgf_event_builder *builder)
{
    if (change->op == DGF_OP_INSERT)
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    else if (mode == DGF_COSMOS_ALL && change->previous.len)
        return put_document(builder, DGF_SECTION_BEFORE, change->previous);
    else
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_PRE_IMAGE);
    return NULL;
}

const char *dgf_cosmos_change_build(const struct dgf_cosmos_change *change,
                                    enum dgf_cosmos_mode mode,
                                    const struct dgf_cosmos_key *key,
                                    struct dgf_object *object,
                                    struct dgf_event_builder *builder)
{
    const char *why;

    dgf_event_begin(builder, object, DGF_KIND_CHANGE, change->op);
    why = put_key(change, key, builder);
    if (!why)
        why = put_before(change, mode, builder);
    if (why)
        return why;
    if (change->op == DGF_OP_DELETE || change->op == DGF_OP_EXPIRE) {
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
        return NULL;
    }
    return put_document(builder, DGF_SECTION_AFTER, change->current);
}

/* ---- physical partitions ---- */

static bool is_epk(const char *text)
{
    return strspn(text, "0123456789ABCDEF") == strlen(text);
}

static const char *read_pkrange(struct dgf_bytes item, struct dgf_cosmos_pkrange *ret)
{
    struct dgf_bytes id, min, max;

    memset(ret, 0, sizeof(*ret));
    if (!dgf_jv_find(item, "id", &id) || !dgf_jv_copy(id, ret->id, sizeof(ret->id)) ||
        !dgf_jv_find(item, "minInclusive", &min) ||
        !dgf_jv_copy(min, ret->min, sizeof(ret->min)) ||
        !dgf_jv_find(item, "maxExclusive", &max) ||
        !dgf_jv_copy(max, ret->max, sizeof(ret->max)))
        return "a range without id or bounds";
    if (!ret->id[0] || strspn(ret->id, "0123456789") != strlen(ret->id) ||
        !is_epk(ret->min) || !is_epk(ret->max) || strcmp(ret->min, ret->max) >= 0)
        return "a range whose id or bounds are none";
    return NULL;
}

static bool is_parent(struct dgf_bytes list, const char *id)
{
    struct dgf_jv_walk walk = dgf_jv_walk(list), inner;
    struct dgf_bytes key, item, parents, parent;
    char text[64];

    while (dgf_jv_next(&walk, &key, &item)) {
        if (!dgf_jv_find(item, "parents", &parents))
            continue;
        inner = dgf_jv_walk(parents);
        while (dgf_jv_next(&inner, &key, &parent))
            if (dgf_jv_copy(parent, text, sizeof(text)) && strcmp(text, id) == 0)
                return true;
    }
    return false;
}

const char *dgf_cosmos_pkranges_read(struct dgf_bytes body, struct dgf_buf *ret)
{
    struct dgf_bytes list, key, item;
    struct dgf_cosmos_pkrange range;
    struct dgf_jv_walk walk;
    const char *why = dgf_jv_check(body, NULL);
    size_t n = 0;

    if (why)
        return why;
    if (!dgf_jv_find(dgf_jv_root(body), "PartitionKeyRanges", &list) ||
        !dgf_jv_is(list, '['))
        return "it has no list of ranges";
    walk = dgf_jv_walk(list);
    while (dgf_jv_next(&walk, &key, &item)) {
        why = read_pkrange(item, &range);
        if (why)
            return why;
        if (++n > DGF_COSMOS_RANGES_MAX)
            return "it has too many ranges";
        if (!is_parent(list, range.id))
            dgf_buf_add(ret, &range, sizeof(range));
    }
    return NULL;
}

/* ---- settings ---- */

static bool is_volatile(struct dgf_bytes name)
{
    static const char *const names[] = {"\"_rid\"",
                                        "\"_self\"",
                                        "\"_etag\"",
                                        "\"_ts\"",
                                        "\"_docs\"",
                                        "\"_sprocs\"",
                                        "\"_triggers\"",
                                        "\"_udfs\"",
                                        "\"_conflicts\"",
                                        "\"_dbs\"",
                                        "\"media\"",
                                        "\"addresses\"",
                                        "\"queryEngineConfiguration\"",
                                        "\"statistics\""};

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (dgf_bytes_eq(name, dgf_bytes_str(names[i])))
            return true;
    return false;
}

void dgf_cosmos_settings(struct dgf_bytes properties, struct dgf_buf *out)
{
    struct dgf_jv_walk walk = dgf_jv_walk(dgf_jv_root(properties));
    struct dgf_bytes name, value;
    bool first = true;

    dgf_buf_add_byte(out, '{');
    while (dgf_jv_next(&walk, &name, &value)) {
        if (!name.len || is_volatile(name))
            continue;
        if (!first)
            dgf_buf_add_byte(out, ',');
        first = false;
        dgf_buf_add_bytes(out, name);
        dgf_buf_add_byte(out, ':');
        dgf_buf_add_bytes(out, value);
    }
    dgf_buf_add_byte(out, '}');
}
