#include "source_mongo_seen.h"

#include <stdio.h>

#include "base/clock.h"

#define MEMORY_MAX (1u << 20)
#define AFTER_MAX (16u << 10) /* what is larger is compared, and not kept */
#define KEY_MAX 4096

struct seen {
    uint64_t sum;
    bool found; /* in this look */
    size_t len; /* 0: not kept */
    uint8_t after[];
};

/* ---- memory ---- */

static struct seen *seen_new(uint64_t sum, struct dgf_bytes after)
{
    size_t len = after.len <= AFTER_MAX ? after.len : 0;
    struct seen *seen = dgf_malloc(sizeof(*seen) + len);

    if (!seen)
        return NULL;
    *seen = (struct seen){.sum = sum, .found = true, .len = len};
    if (len && after.ptr)
        memcpy(seen->after, after.ptr, len);
    return seen;
}

static bool put_seen(struct dgf_mongo_session *session, struct dgf_bytes key,
                     struct seen *take_seen)
{
    void *old = NULL;

    if (!take_seen)
        return false;
    if (dgf_map_put(&session->seen, key, take_seen, &old)) {
        dgf_free(take_seen);
        return false;
    }
    dgf_free(old);
    return true;
}

bool dgf_mongo_seen_read(struct dgf_mongo_session *session, struct dgf_bytes memory)
{
    struct dgf_rd rd = dgf_rd_of(memory);

    session->n_looks = dgf_rd_left(&rd) ? dgf_rd_le64(&rd) : 0;
    while (dgf_rd_left(&rd) && !rd.bad) {
        uint64_t sum = dgf_rd_le64(&rd);
        struct dgf_bytes key = dgf_rd_bytes(&rd, dgf_rd_le16(&rd));
        struct dgf_bytes after = dgf_rd_bytes(&rd, dgf_rd_le32(&rd));

        if (!rd.bad && after.len && dgf_mp_check(after))
            after.len = 0;
        if (!rd.bad && !put_seen(session, key, seen_new(sum, after)))
            return false;
    }
    return true;
}

static bool write_memory(const struct dgf_mongo_session *session, bool with_after,
                         struct dgf_buf *out)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    dgf_buf_clear(out);
    dgf_buf_add_le64(out, session->n_looks);
    while ((entry = dgf_map_next(&session->seen, &at))) {
        const struct seen *seen = entry->value;
        size_t len = with_after ? seen->len : 0;

        dgf_buf_add_le64(out, seen->sum);
        dgf_buf_add_le16(out, (uint16_t)entry->key.len);
        dgf_buf_add_bytes(out, entry->key);
        dgf_buf_add_le32(out, (uint32_t)len);
        dgf_buf_add(out, seen->after, len);
    }
    return dgf_buf_rc(out) == DGF_OK;
}

bool dgf_mongo_look_end(struct dgf_mongo_look *look)
{
    struct dgf_mongo_session *session = look->session;
    struct dgf_buf memory;
    bool good = true;

    if (look->failed)
        return false;
    if (!look->changed)
        return true;
    session->n_looks++;
    dgf_buf_init(&memory, MEMORY_MAX);
    if (write_memory(session, true, &memory) ||
        (dgf_buf_release(&memory), dgf_buf_init(&memory, MEMORY_MAX),
         write_memory(session, false, &memory)))
        good = dgf_mongo_session_put_memory(session, dgf_buf_bytes(&memory));
    /* else more than fits: it is looked at anew after a restart */
    dgf_buf_release(&memory);
    return good;
}

void dgf_mongo_look_begin(struct dgf_mongo_session *session,
                          struct dgf_mongo_look *look)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    *look = (struct dgf_mongo_look){.session = session};
    while ((entry = dgf_map_next(&session->seen, &at)))
        ((struct seen *)entry->value)->found = false;
}

/* ---- keys: the words of a thing, each with a NUL behind it ---- */

static struct dgf_bytes key_of(const struct dgf_mongo_thing *thing, struct dgf_buf *out)
{
    const char *words[] = {thing->what, thing->database, thing->name, thing->part};

    dgf_buf_init(out, KEY_MAX);
    for (size_t i = 0; i < DGF_ARRAY_LEN(words) && words[i]; i++)
        dgf_buf_add(out, words[i], strlen(words[i]) + 1);
    return dgf_buf_rc(out) ? (struct dgf_bytes){0} : dgf_buf_bytes(out);
}

/* The words point into key, which lives as long as it does. */
static bool thing_of(struct dgf_bytes key, struct dgf_mongo_thing *ret)
{
    const char *words[4];
    size_t at = 0;

    for (size_t i = 0; i < DGF_ARRAY_LEN(words); i++) {
        const uint8_t *end =
            at < key.len ? memchr(key.ptr + at, 0, key.len - at) : NULL;

        if (!end)
            return false;
        words[i] = (const char *)key.ptr + at;
        at = (size_t)(end - key.ptr) + 1;
    }
    *ret = (struct dgf_mongo_thing){words[0], words[1], words[2], words[3]};
    return at == key.len;
}

static bool begins_with(struct dgf_bytes key, struct dgf_bytes prefix)
{
    return prefix.len && prefix.ptr && key.len >= prefix.len &&
           memcmp(key.ptr, prefix.ptr, prefix.len) == 0;
}

static bool is(const struct dgf_mongo_thing *thing, const char *what)
{
    return strcmp(thing->what, what) == 0;
}

static enum dgf_event_kind kind_of(const struct dgf_mongo_thing *thing)
{
    return is(thing, "setting")                     ? DGF_KIND_SETTING
           : is(thing, "user") || is(thing, "role") ? DGF_KIND_ACCESS
                                                    : DGF_KIND_SCHEMA;
}

/* ---- events ---- */

static void put_section(struct dgf_event_builder *builder, enum dgf_section section,
                        struct dgf_bytes map)
{
    if (!map.len) {
        dgf_event_section_unavailable(builder, section, DGF_UNAVAILABLE_NOT_SENT);
        return;
    }
    dgf_buf_add_bytes(dgf_event_section_value(builder, section), map);
    dgf_event_section_end(builder);
}

static void put_key(struct dgf_event_builder *builder,
                    const struct dgf_mongo_thing *thing)
{
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("database")),
                   dgf_bytes_str(thing->database));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("name")),
                   dgf_bytes_str(thing->name));
    if (is(thing, "index"))
        dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("index")),
                       dgf_bytes_str(thing->part));
    dgf_event_section_end(builder);
}

/* before: len 0, not known; after: len 0, there is none.  The number of the look makes
 * the id another one when something goes and comes back as it was. */
static void tell(struct dgf_mongo_look *look, const struct dgf_mongo_thing *thing,
                 struct dgf_bytes key, enum dgf_op op, struct dgf_bytes before,
                 struct dgf_bytes after)
{
    struct dgf_mongo_session *session = look->session;
    struct dgf_event_builder *builder = &session->builder;
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns(), .cause = DGF_CAUSE_USER};
    struct dgf_object *object = NULL;
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;

    look->changed = true;
    if (dgf_object_new("mongo", thing->database, thing->database, thing->name, NULL, 0,
                       1, &object)) {
        look->failed = true;
        return;
    }
    dgf_event_begin(builder, object, kind_of(thing), op);
    put_key(builder, thing);
    put_section(builder, DGF_SECTION_BEFORE, before);
    if (after.len)
        put_section(builder, DGF_SECTION_AFTER, after);
    else
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
    dgf_id_begin(&hash, "inspect");
    dgf_id_add(&hash, DGF_BYTES("mongo"));
    dgf_id_add(&hash, dgf_bytes_str(session->link.set));
    dgf_id_add(&hash, key);
    dgf_id_add(&hash, before);
    dgf_id_add(&hash, after);
    dgf_id_add_u64(&hash, session->n_looks);
    meta.id = dgf_id_end(&hash);
    meta.seen_ns = meta.commit_ns;
    if (dgf_event_finish(builder, &meta, &event) ||
        !dgf_mongo_session_put(session, DGF_MONGO_ITEM_EVENT, event, DGF_OK,
                               DGF_STATE_STREAMING, false, ""))
        look->failed = true;
    dgf_object_unref(object);
}

static enum dgf_rc put_one(void *ctx, struct dgf_bytes name,
                           const struct dgf_bson_element *element,
                           struct dgf_bytes repeats)
{
    struct dgf_event_builder *builder = ctx;

    (void)repeats;
    /* Checksums and times of use would make every look another one. */
    if (!element || dgf_bytes_eq(name, DGF_BYTES("userId")) ||
        dgf_bytes_eq(name, DGF_BYTES("info")) || dgf_bytes_eq(name, DGF_BYTES("_id")))
        return DGF_OK;
    return dgf_bson_put(element, 1, dgf_event_named(builder, name));
}

/* As a section `after` has it. */
static enum dgf_rc pack(struct dgf_mongo_session *session, struct dgf_bytes document,
                        struct dgf_bytes indexes, struct dgf_buf *out)
{
    struct dgf_event_builder *builder = &session->builder;

    dgf_event_begin(builder, NULL, DGF_KIND_SCHEMA, DGF_OP_OBSERVE);
    dgf_event_section(builder, DGF_SECTION_AFTER);
    if (dgf_bson_each(document, put_one, builder))
        builder->body.rc = DGF_NOMEM;
    if (indexes.len) {
        struct dgf_bson_element list = {.type = DGF_BSON_ARRAY, .value = indexes};

        if (dgf_bson_put(&list, 1, dgf_event_named(builder, DGF_BYTES("indexes"))))
            builder->body.rc = DGF_NOMEM;
    }
    dgf_event_section_end(builder);
    if (!dgf_buf_rc(&builder->body))
        dgf_buf_add(out, builder->body.ptr + builder->starts[DGF_SECTION_AFTER],
                    builder->ends[DGF_SECTION_AFTER] -
                        builder->starts[DGF_SECTION_AFTER]);
    return dgf_buf_rc(&builder->body) ? DGF_BAD_DATA : dgf_buf_rc(out);
}

void dgf_mongo_look_found(struct dgf_mongo_look *look,
                          const struct dgf_mongo_thing *thing,
                          struct dgf_bytes document, struct dgf_bytes indexes)
{
    struct dgf_mongo_session *session = look->session;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf packed = {0};
    struct dgf_bytes key = key_of(thing, &full), before = {0};
    uint8_t digest[DGF_SHA256_LEN];
    struct seen *seen;
    uint64_t sum;

    if (look->failed || !key.len)
        return;
    dgf_buf_init(&packed, session->max_event_bytes);
    seen = dgf_map_get(&session->seen, key);
    if (seen)
        seen->found = true;
    /* Damaged or too large: nothing to say of it, but that it is there. */
    if (pack(session, document, indexes, &packed))
        return;
    dgf_sha256(dgf_buf_bytes(&packed), digest);
    memcpy(&sum, digest, sizeof(sum));
    if (seen && seen->sum == sum)
        return;
    if (seen)
        before = dgf_bytes_of(seen->after, seen->len);
    if (is(thing, "index"))
        look->changed = true;
    else
        tell(look, thing, key, DGF_OP_OBSERVE, before, dgf_buf_bytes(&packed));
    if (!put_seen(session, key, seen_new(sum, dgf_buf_bytes(&packed))))
        look->failed = true;
}

void dgf_mongo_look_keep(struct dgf_mongo_look *look,
                         const struct dgf_mongo_thing *thing)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    struct dgf_bytes prefix = key_of(thing, &full);
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&look->session->seen, &at)))
        if (begins_with(entry->key, prefix))
            ((struct seen *)entry->value)->found = true;
}

bool dgf_mongo_look_knows(const struct dgf_mongo_look *look,
                          const struct dgf_mongo_thing *thing)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    struct dgf_bytes key = key_of(thing, &full);

    return key.len && dgf_map_get(&look->session->seen, key);
}

void dgf_mongo_look_gone(struct dgf_mongo_look *look,
                         const struct dgf_mongo_thing *thing)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf full = {0};
    struct dgf_bytes prefix = key_of(thing, &full);
    struct dgf_map_entry *entry;
    size_t at = 0;

    while (!look->failed && (entry = dgf_map_next(&look->session->seen, &at))) {
        struct seen *seen = entry->value;
        struct dgf_mongo_thing gone, home;

        if (seen->found || !begins_with(entry->key, prefix))
            continue;
        look->changed = true;
        if (thing_of(entry->key, &gone)) {
            /* The indexes of a collection that is gone went with it. */
            home = (struct dgf_mongo_thing){"collection", gone.database, gone.name, ""};
            if (!is(&gone, "index") || dgf_mongo_look_knows(look, &home))
                tell(look, &gone, entry->key, DGF_OP_DROP,
                     dgf_bytes_of(seen->after, seen->len), (struct dgf_bytes){0});
        }
        dgf_free(dgf_map_remove(&look->session->seen, entry->key));
    }
}

bool dgf_mongo_look_unanswered(const struct dgf_mongo_look *look, char *database,
                               size_t size)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&look->session->seen, &at))) {
        const struct seen *seen = entry->value;
        struct dgf_mongo_thing thing;

        if (seen->found || !thing_of(entry->key, &thing) || !is(&thing, "collection") ||
            strlen(thing.database) >= size)
            continue;
        (void)snprintf(database, size, "%s", thing.database);
        return true;
    }
    return false;
}
