#include "mongo_event.h"

#include "base/parse.h"

/* Fields of the old document times paths of the update: beyond it the new
 * document is not computed. */
#define MAX_COMPARISONS (1u << 20)

/* ---- reading ---- */

static struct dgf_bytes text_of(const struct dgf_bson_element *element)
{
    struct dgf_bytes text = {0};

    return element->type == DGF_BSON_STRING && dgf_bson_text(element, &text) &&
                   dgf_utf8_valid(text)
               ? text
               : (struct dgf_bytes){0};
}

static void read_ns(const struct dgf_bson_element *element, struct dgf_bytes *database,
                    struct dgf_bytes *collection)
{
    struct dgf_bson_element part;

    if (element->type != DGF_BSON_DOCUMENT)
        return;
    if (dgf_bson_find(element->value, "db", &part))
        *database = text_of(&part);
    if (dgf_bson_find(element->value, "coll", &part))
        *collection = text_of(&part);
}

static void read_session(const struct dgf_bson_element *element,
                         struct dgf_mongo_change *change)
{
    struct dgf_bson_element id;

    if (element->type == DGF_BSON_DOCUMENT &&
        dgf_bson_find(element->value, "id", &id) && id.type == DGF_BSON_BINARY &&
        id.value.len == 5 + 16)
        change->session = dgf_bytes_of(id.value.ptr + 5, 16);
}

static void read_split(const struct dgf_bson_element *element,
                       struct dgf_mongo_change *change)
{
    struct dgf_bson_element part;
    int64_t n;

    if (element->type != DGF_BSON_DOCUMENT)
        return;
    if (dgf_bson_find(element->value, "fragment", &part) && dgf_bson_i64(&part, &n) &&
        n > 0 && n <= INT32_MAX)
        change->fragment = (int32_t)n;
    if (dgf_bson_find(element->value, "of", &part) && dgf_bson_i64(&part, &n) &&
        n > 0 && n <= INT32_MAX)
        change->of = (int32_t)n;
}

static uint64_t le64_of(const struct dgf_bson_element *element)
{
    struct dgf_rd rd = dgf_rd_of(element->value);

    return dgf_rd_le64(&rd);
}

static void take_document(const struct dgf_bson_element *element, struct dgf_bytes *ret)
{
    if (element->type == DGF_BSON_DOCUMENT)
        *ret = element->value;
}

static void take(const struct dgf_bson_element *element,
                 struct dgf_mongo_change *change)
{
    struct dgf_bytes name = element->name;

#define IS(literal) dgf_bytes_eq(name, DGF_BYTES(literal))
    if (IS("_id"))
        take_document(element, &change->token);
    else if (IS("operationType"))
        change->operation = text_of(element);
    else if (IS("ns"))
        read_ns(element, &change->database, &change->collection);
    else if (IS("to"))
        read_ns(element, &change->to_database, &change->to_collection);
    else if (IS("documentKey"))
        take_document(element, &change->key);
    else if (IS("fullDocument")) {
        take_document(element, &change->full);
        change->full_null = element->type == DGF_BSON_NULL;
    } else if (IS("fullDocumentBeforeChange")) {
        take_document(element, &change->before);
        change->before_null = element->type == DGF_BSON_NULL;
    } else if (IS("updateDescription"))
        take_document(element, &change->update);
    else if (IS("operationDescription"))
        take_document(element, &change->description);
    else if (IS("stateBeforeChange"))
        take_document(element, &change->state_before);
    else if (IS("clusterTime") && element->type == DGF_BSON_TIMESTAMP)
        change->cluster_time = le64_of(element);
    else if (IS("wallTime") && element->type == DGF_BSON_DATE)
        change->wall_ms = (int64_t)le64_of(element);
    else if (IS("lsid"))
        read_session(element, change);
    else if (IS("txnNumber"))
        change->in_tx = dgf_bson_i64(element, &change->txn);
    else if (IS("splitEvent"))
        read_split(element, change);
#undef IS
}

enum dgf_rc dgf_mongo_change_read(struct dgf_bytes document,
                                  struct dgf_mongo_change *change, const char **ret_why)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    enum dgf_rc rc = dgf_bson_of(document, &bson);

    while (!rc && (rc = dgf_bson_next(&bson, &element)) == DGF_OK)
        take(&element, change);
    if (rc != DGF_AGAIN) {
        *ret_why = "the event is not a whole document";
        return DGF_BAD_DATA;
    }
    if (change->in_tx && !change->session.len)
        change->in_tx = false;
    if (!change->token.len) {
        *ret_why = "the event has no resume token";
        return DGF_BAD_DATA;
    }
    if (!change->operation.len && change->of <= 1) {
        *ret_why = "the event has no operationType";
        return DGF_BAD_DATA;
    }
    return DGF_OK;
}

static const struct {
    const char *name;
    uint8_t kind, op;
} operations[] = {
    {"insert", DGF_KIND_CHANGE, DGF_OP_INSERT},
    {"update", DGF_KIND_CHANGE, DGF_OP_UPDATE},
    {"replace", DGF_KIND_CHANGE, DGF_OP_REPLACE},
    {"delete", DGF_KIND_CHANGE, DGF_OP_DELETE},
    {"create", DGF_KIND_SCHEMA, DGF_OP_CREATE},
    {"createIndexes", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"dropIndexes", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"startIndexBuild", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"commitIndexBuild", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"abortIndexBuild", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"modify", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"shardCollection", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"reshardCollection", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"refineCollectionShardKey", DGF_KIND_SCHEMA, DGF_OP_ALTER},
    {"rename", DGF_KIND_SCHEMA, DGF_OP_RENAME},
    {"drop", DGF_KIND_SCHEMA, DGF_OP_DROP},
    {"dropDatabase", DGF_KIND_SCHEMA, DGF_OP_DROP},
};

bool dgf_mongo_change_is(const struct dgf_mongo_change *change, const char *operation)
{
    return dgf_bytes_eq(change->operation, dgf_bytes_str(operation));
}

bool dgf_mongo_change_kind(const struct dgf_mongo_change *change,
                           enum dgf_event_kind *ret_kind, enum dgf_op *ret_op)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(operations); i++)
        if (dgf_mongo_change_is(change, operations[i].name)) {
            *ret_kind = (enum dgf_event_kind)operations[i].kind;
            *ret_op = (enum dgf_op)operations[i].op;
            return true;
        }
    *ret_kind = DGF_KIND_NOTICE;
    *ret_op = DGF_OP_NONE;
    return false;
}

/* ---- the update ---- */

struct update {
    struct dgf_bytes set, removed, truncated, paths; /* BSON; len 0: none */
    size_t n;
};

static void read_update(struct dgf_bytes document, struct update *update)
{
    static const char *const names[] = {"updatedFields", "removedFields",
                                        "truncatedArrays", "disambiguatedPaths"};
    struct dgf_bytes *to[] = {&update->set, &update->removed, &update->truncated,
                              &update->paths};
    struct dgf_bson_element element;
    struct dgf_bson bson;

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (dgf_bson_find(document, names[i], &element) &&
            dgf_bson_is_container(&element))
            *to[i] = element.value;
    for (size_t i = 0; i < 3; i++)
        if (to[i]->len && dgf_bson_of(*to[i], &bson) == DGF_OK)
            while (dgf_bson_next(&bson, &element) == DGF_OK)
                update->n++;
}

/* The first part of a path, and whether it is the whole path. */
static struct dgf_bytes top_of(const struct update *update, struct dgf_bytes path,
                               bool *ret_whole)
{
    const uint8_t *dot = path.len ? memchr(path.ptr, '.', path.len) : NULL;
    struct dgf_bson_element parts, first, second;
    struct dgf_bson bson;

    *ret_whole = !dot;
    if (!dot)
        return path;
    /* Only a name that holds a dot, or a number, stands in disambiguatedPaths. */
    if (update->paths.len && dgf_bson_of(update->paths, &bson) == DGF_OK)
        while (dgf_bson_next(&bson, &parts) == DGF_OK)
            if (dgf_bytes_eq(parts.name, path) && parts.type == DGF_BSON_ARRAY &&
                dgf_bson_find(parts.value, "0", &first) && text_of(&first).len) {
                *ret_whole = !dgf_bson_find(parts.value, "1", &second);
                return text_of(&first);
            }
    return dgf_bytes_of(path.ptr, (size_t)(dot - path.ptr));
}

/* The i-th kind of path of an update; element is the entry in its list. */
static struct dgf_bytes path_of(int list, const struct dgf_bson_element *element)
{
    struct dgf_bson_element field;

    if (list == 0)
        return element->name;
    if (list == 1)
        return text_of(element);
    if (element->type == DGF_BSON_DOCUMENT &&
        dgf_bson_find(element->value, "field", &field))
        return text_of(&field);
    return (struct dgf_bytes){0};
}

/* Calls each for every path of the update, until it answers false. */
static void each_path(const struct update *update,
                      bool (*each)(void *ctx, int list, struct dgf_bytes path,
                                   const struct dgf_bson_element *element),
                      void *ctx)
{
    const struct dgf_bytes lists[] = {update->set, update->removed, update->truncated};
    struct dgf_bson_element element;
    struct dgf_bson bson;

    for (int i = 0; i < 3; i++) {
        if (!lists[i].len || dgf_bson_of(lists[i], &bson))
            continue;
        while (dgf_bson_next(&bson, &element) == DGF_OK) {
            struct dgf_bytes path = path_of(i, &element);

            if (path.len && !each(ctx, i, path, &element))
                return;
        }
    }
}

struct changed {
    const struct update *update;
    struct dgf_buf names; /* packed, without the header */
    uint32_t n;
    struct dgf_bytes seen[64];
    size_t n_seen;
};

static void add_changed(struct changed *changed, struct dgf_bytes name)
{
    for (size_t i = 0; i < changed->n_seen; i++)
        if (dgf_bytes_eq(changed->seen[i], name))
            return;
    if (changed->n_seen < DGF_ARRAY_LEN(changed->seen))
        changed->seen[changed->n_seen++] = name;
    dgf_bson_put_text(name, &changed->names);
    changed->n++;
}

/* A path counts with its field, so that policies find either. */
static bool on_changed(void *ctx, int list, struct dgf_bytes path,
                       const struct dgf_bson_element *element)
{
    struct changed *changed = ctx;
    bool whole;
    struct dgf_bytes top = top_of(changed->update, path, &whole);

    (void)list;
    (void)element;
    add_changed(changed, top);
    if (!whole)
        add_changed(changed, path);
    return true;
}

static void put_changed(const struct update *update, struct dgf_event_builder *builder)
{
    struct changed changed = {.update = update};
    struct dgf_buf *buf;

    dgf_buf_init(&changed.names, builder->body.max);
    each_path(update, on_changed, &changed);
    buf = dgf_event_section_value(builder, DGF_SECTION_CHANGED);
    dgf_mp_put_array(buf, changed.n);
    dgf_buf_add_bytes(buf, dgf_buf_bytes(&changed.names));
    if (dgf_buf_rc(&changed.names))
        buf->rc = DGF_NOMEM;
    dgf_event_section_end(builder);
    dgf_buf_release(&changed.names);
}

/* What an update did to one field of the document. */
struct touch {
    const struct update *update;
    struct dgf_bytes name;
    bool removed, inside, has_value;
    struct dgf_bson_element value;
};

static bool on_touch(void *ctx, int list, struct dgf_bytes path,
                     const struct dgf_bson_element *element)
{
    struct touch *touch = ctx;
    bool whole;

    if (!dgf_bytes_eq(top_of(touch->update, path, &whole), touch->name))
        return true;
    if (!whole || list == 2) {
        touch->inside = true;
    } else if (list == 1) {
        touch->removed = true;
    } else {
        touch->has_value = true;
        touch->value = *element;
    }
    return true;
}

struct compute {
    const struct update *update;
    struct dgf_bytes before;
    struct dgf_event_builder *builder;
    struct dgf_bytes added[64]; /* fields the old document had not */
    size_t n_added;
    enum dgf_rc rc;
};

static enum dgf_rc put_touched(struct compute *compute, const struct touch *touch)
{
    struct dgf_buf *buf;

    if (touch->removed && !touch->has_value && !touch->inside)
        return DGF_OK;
    buf = dgf_event_named(compute->builder, touch->name);
    if (touch->inside) {
        dgf_mp_put_unavailable(buf, DGF_UNAVAILABLE_NOT_SENT);
        return DGF_OK;
    }
    return dgf_bson_put(&touch->value, 0, buf);
}

static enum dgf_rc on_old_field(void *ctx, struct dgf_bytes name,
                                const struct dgf_bson_element *element,
                                struct dgf_bytes repeats)
{
    struct compute *compute = ctx;
    struct touch touch = {.update = compute->update, .name = name};

    if (!dgf_utf8_valid(name))
        return DGF_BAD_DATA;
    each_path(compute->update, on_touch, &touch);
    if (touch.inside || touch.removed || touch.has_value)
        return put_touched(compute, &touch);
    if (element)
        return dgf_bson_put(element, 0, dgf_event_named(compute->builder, name));
    dgf_bson_put_repeats(repeats, dgf_event_named(compute->builder, name));
    return DGF_OK;
}

static bool on_new_field(void *ctx, int list, struct dgf_bytes path,
                         const struct dgf_bson_element *element)
{
    struct compute *compute = ctx;
    struct touch touch = {.update = compute->update};
    struct dgf_bson bson;
    struct dgf_bson_element old;
    bool whole;

    (void)element;
    if (list != 0)
        return true;
    touch.name = top_of(compute->update, path, &whole);
    if (dgf_bson_of(compute->before, &bson) == DGF_OK)
        while (dgf_bson_next(&bson, &old) == DGF_OK)
            if (dgf_bytes_eq(old.name, touch.name))
                return true;
    for (size_t i = 0; i < compute->n_added; i++)
        if (dgf_bytes_eq(compute->added[i], touch.name))
            return true;
    if (compute->n_added == DGF_ARRAY_LEN(compute->added) ||
        !dgf_utf8_valid(touch.name)) {
        compute->rc = DGF_BAD_DATA;
        return false;
    }
    compute->added[compute->n_added++] = touch.name;
    each_path(compute->update, on_touch, &touch);
    compute->rc = put_touched(compute, &touch);
    return compute->rc == DGF_OK;
}

/* The new document from the old one and the update.  A field that was changed
 * somewhere inside is unavailable: its whole value was not sent. */
static enum dgf_rc compute_after(const struct dgf_mongo_change *change,
                                 const struct update *update,
                                 struct dgf_event_builder *builder)
{
    struct compute compute = {
        .update = update, .before = change->before, .builder = builder};
    enum dgf_rc rc;

    dgf_event_section(builder, DGF_SECTION_AFTER);
    rc = dgf_bson_each(change->before, on_old_field, &compute);
    if (!rc)
        each_path(update, on_new_field, &compute);
    dgf_event_section_end(builder);
    return rc ? rc : compute.rc;
}

static bool can_compute(const struct dgf_mongo_change *change,
                        const struct update *update)
{
    struct dgf_bson_element element;
    struct dgf_bson bson;
    size_t n = 0;

    if (!change->before.len || !change->update.len ||
        dgf_bson_of(change->before, &bson))
        return false;
    while (dgf_bson_next(&bson, &element) == DGF_OK)
        n++;
    return update->n <= 64 && n * (update->n + 1) <= MAX_COMPARISONS;
}

/* ---- sections ---- */

static enum dgf_rc put_field(void *ctx, struct dgf_bytes name,
                             const struct dgf_bson_element *element,
                             struct dgf_bytes repeats)
{
    struct dgf_event_builder *builder = ctx;
    struct dgf_buf *buf;

    if (!dgf_utf8_valid(name))
        return DGF_BAD_DATA;
    buf = dgf_event_named(builder, name);
    if (element)
        return dgf_bson_put(element, 0, buf);
    dgf_bson_put_repeats(repeats, buf);
    return DGF_OK;
}

static enum dgf_rc put_document(struct dgf_event_builder *builder,
                                enum dgf_section section, struct dgf_bytes document)
{
    enum dgf_rc rc;

    dgf_event_section(builder, section);
    rc = dgf_bson_each(document, put_field, builder);
    dgf_event_section_end(builder);
    return rc;
}

static enum dgf_rc put_before(const struct dgf_mongo_change *change, enum dgf_op op,
                              struct dgf_event_builder *builder)
{
    if (op == DGF_OP_INSERT) {
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
        return DGF_OK;
    }
    if (change->before.len)
        return put_document(builder, DGF_SECTION_BEFORE, change->before);
    dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                  DGF_UNAVAILABLE_PRE_IMAGE);
    return DGF_OK;
}

static enum dgf_rc put_after(const struct dgf_mongo_change *change, enum dgf_op op,
                             enum dgf_mongo_full full, const struct update *update,
                             struct dgf_event_builder *builder, const char **ret_as_of)
{
    bool image = full == DGF_MONGO_FULL_AVAILABLE || full == DGF_MONGO_FULL_REQUIRED;

    if (op == DGF_OP_DELETE) {
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
        return DGF_OK;
    }
    if (change->full.len && (op != DGF_OP_UPDATE || image)) {
        *ret_as_of = op == DGF_OP_UPDATE ? "image" : NULL;
        return put_document(builder, DGF_SECTION_AFTER, change->full);
    }
    if (op == DGF_OP_UPDATE && can_compute(change, update)) {
        *ret_as_of = "computed";
        return compute_after(change, update, builder);
    }
    dgf_event_section_unavailable(builder, DGF_SECTION_AFTER, DGF_UNAVAILABLE_NOT_SENT);
    return DGF_OK;
}

static void put_text(struct dgf_event_builder *builder, struct dgf_bytes name,
                     struct dgf_bytes text)
{
    dgf_mp_put_str(dgf_event_named(builder, name), text);
}

static enum dgf_rc put_nested(struct dgf_event_builder *builder, struct dgf_bytes name,
                              struct dgf_bytes document)
{
    struct dgf_bson_element element = {
        .type = DGF_BSON_DOCUMENT, .name = name, .value = document};

    return dgf_bson_put(&element, 1, dgf_event_named(builder, name));
}

static enum dgf_rc put_extra(const struct dgf_mongo_change *change, const char *as_of,
                             bool lookup, struct dgf_event_builder *builder)
{
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, DGF_BYTES("operation"), change->operation);
    if (as_of)
        put_text(builder, DGF_BYTES("as_of"), dgf_bytes_str(as_of));
    if (lookup && change->full.len)
        rc = put_nested(builder, DGF_BYTES("lookup"), change->full);
    if (!rc && change->update.len)
        rc = put_nested(builder, DGF_BYTES("update"), change->update);
    dgf_event_section_end(builder);
    return rc;
}

static enum dgf_rc build_change(const struct dgf_mongo_change *change,
                                enum dgf_mongo_full full, enum dgf_op op,
                                struct dgf_event_builder *builder)
{
    bool lookup = op == DGF_OP_UPDATE && full == DGF_MONGO_FULL_LOOKUP;
    const char *as_of = NULL;
    struct update update = {0};
    enum dgf_rc rc;

    if (change->update.len)
        read_update(change->update, &update);
    rc = put_document(builder, DGF_SECTION_KEY, change->key);
    if (!rc)
        rc = put_before(change, op, builder);
    if (!rc)
        rc = put_after(change, op, full, &update, builder, &as_of);
    if (rc)
        return rc;
    if (op == DGF_OP_UPDATE && change->update.len)
        put_changed(&update, builder);
    return put_extra(change, lookup && !as_of ? "lookup" : as_of, lookup, builder);
}

/* What was said of the object goes where policies look: `after`. */
static enum dgf_rc build_schema(const struct dgf_mongo_change *change, enum dgf_op op,
                                struct dgf_event_builder *builder)
{
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(builder, DGF_SECTION_KEY);
    if (change->database.len)
        put_text(builder, DGF_BYTES("database"), change->database);
    if (change->collection.len)
        put_text(builder, DGF_BYTES("collection"), change->collection);
    dgf_event_section_end(builder);
    if (change->state_before.len)
        rc = put_document(builder, DGF_SECTION_BEFORE, change->state_before);
    else if (op == DGF_OP_CREATE)
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    else
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_NOT_SENT);
    if (rc)
        return rc;
    if (op == DGF_OP_DROP) {
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
    } else {
        dgf_event_section(builder, DGF_SECTION_AFTER);
        put_text(builder, DGF_BYTES("operation"), change->operation);
        if (change->to_database.len)
            put_text(builder, DGF_BYTES("to_database"), change->to_database);
        if (change->to_collection.len)
            put_text(builder, DGF_BYTES("to_collection"), change->to_collection);
        if (change->description.len)
            rc = put_nested(builder, DGF_BYTES("description"), change->description);
        dgf_event_section_end(builder);
    }
    return rc ? rc : put_extra(change, NULL, false, builder);
}

enum dgf_rc dgf_mongo_change_build(const struct dgf_mongo_change *change,
                                   enum dgf_mongo_full full, struct dgf_object *object,
                                   struct dgf_event_builder *builder,
                                   const char **ret_why)
{
    enum dgf_event_kind kind;
    enum dgf_op op;
    enum dgf_rc rc;

    if (!dgf_mongo_change_kind(change, &kind, &op)) {
        *ret_why = change->operation.len ? "an operation nobody knows"
                                         : "the event has no operationType";
        return DGF_BAD_DATA;
    }
    if (kind == DGF_KIND_CHANGE && (!object || !change->key.len)) {
        *ret_why = object ? "the event has no documentKey" : "the event has no ns";
        return DGF_BAD_DATA;
    }
    dgf_event_begin(builder, object, kind, op);
    rc = kind == DGF_KIND_CHANGE ? build_change(change, full, op, builder)
                                 : build_schema(change, op, builder);
    if (rc == DGF_BAD_DATA || rc == DGF_FATAL) {
        *ret_why = rc == DGF_FATAL ? "too many fields stand twice in the document"
                                   : "a value of the document is damaged";
        return DGF_BAD_DATA;
    }
    return rc;
}

/* Backtracks over stars; patterns come from the configuration. */
static bool matches(const char *pattern, const uint8_t *at, const uint8_t *end)
{
    for (; *pattern; pattern++, at++) {
        if (*pattern == '*') {
            bool crosses = pattern[1] == '*';
            const char *rest = pattern + (crosses ? 2 : 1);

            for (;; at++) {
                if (matches(rest, at, end))
                    return true;
                if (at == end || (!crosses && *at == '.'))
                    return false;
            }
        }
        if (at == end || (uint8_t)*pattern != *at)
            return false;
    }
    return at == end;
}

bool dgf_mongo_name_matches(const char *pattern, struct dgf_bytes name)
{
    return matches(pattern, name.ptr, name.ptr + name.len);
}
