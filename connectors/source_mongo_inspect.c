#include <stdio.h>

#include "base/clock.h"
#include "source_mongo.h"

/* What a change stream does not tell, or told before we came: collections with
 * their options and indexes, users, roles, settings.  Each is one event when it
 * is seen first and whenever it is another one; `seen` remembers checksums. */

#define MAX_SEEN_BYTES (1u << 20)
#define ROWS 10000 /* of one answer; the server cuts at 16 MiB */

struct inspect {
    struct dgf_mongo_session *session;
    bool changed, failed;
};

/* ---- memory ---- */

static uint64_t seen_before(struct dgf_mongo_session *session,
                            const struct dgf_buf *name)
{
    return (uint64_t)(uintptr_t)dgf_map_get(&session->seen, dgf_buf_bytes(name));
}

bool dgf_mongo_seen_read(struct dgf_mongo_session *session, struct dgf_bytes memory)
{
    struct dgf_rd rd = dgf_rd_of(memory);

    while (dgf_rd_left(&rd) && !rd.bad) {
        uint64_t sum = dgf_rd_le64(&rd);
        struct dgf_bytes name = dgf_rd_bytes(&rd, dgf_rd_le16(&rd));

        if (!rd.bad && sum &&
            dgf_map_put(&session->seen, name, (void *)(uintptr_t)sum, NULL))
            return false;
    }
    return true;
}

static bool remember(struct dgf_mongo_session *session)
{
    struct dgf_map_entry *entry;
    struct dgf_buf memory;
    size_t at = 0;
    bool good;

    dgf_buf_init(&memory, MAX_SEEN_BYTES);
    while ((entry = dgf_map_next(&session->seen, &at))) {
        dgf_buf_add_le64(&memory, (uint64_t)(uintptr_t)entry->value);
        dgf_buf_add_le16(&memory, (uint16_t)entry->key.len);
        dgf_buf_add_bytes(&memory, entry->key);
    }
    /* More than fits is looked at anew after a restart. */
    good = dgf_buf_rc(&memory) != DGF_OK ||
           dgf_mongo_session_put_memory(session, dgf_buf_bytes(&memory));
    dgf_buf_release(&memory);
    return good;
}

/* ---- events ---- */

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

/* An event of what is there: fields of document, and indexes when there are. */
static void observe(struct inspect *inspect, enum dgf_event_kind kind,
                    const char *database, const char *name, struct dgf_bytes document,
                    struct dgf_bytes indexes)
{
    struct dgf_mongo_session *session = inspect->session;
    struct dgf_event_builder *builder = &session->builder;
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns(), .cause = DGF_CAUSE_USER};
    struct dgf_object *object = NULL;
    struct dgf_event *event = NULL;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id_hash hash;
    struct dgf_buf key;
    uint64_t sum;

    if (inspect->failed ||
        dgf_object_new("mongo", database, database, name, NULL, 0, 1, &object)) {
        inspect->failed = true;
        return;
    }
    dgf_event_begin(builder, object, kind, DGF_OP_OBSERVE);
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("database")),
                   dgf_bytes_str(database));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("name")), dgf_bytes_str(name));
    dgf_event_section_end(builder);
    dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                  DGF_UNAVAILABLE_NOT_SENT);
    dgf_event_section(builder, DGF_SECTION_AFTER);
    if (dgf_bson_each(document, put_one, builder))
        builder->body.rc = DGF_NOMEM;
    if (indexes.len) {
        struct dgf_bson_element list = {.type = DGF_BSON_ARRAY, .value = indexes};

        if (dgf_bson_put(&list, 1, dgf_event_named(builder, DGF_BYTES("indexes"))))
            builder->body.rc = DGF_NOMEM;
    }
    dgf_event_section_end(builder);
    if (dgf_buf_rc(&builder->body)) { /* damaged or too large: nothing to say of it */
        dgf_object_unref(object);
        return;
    }
    dgf_sha256(dgf_buf_bytes(&builder->body), digest);
    memcpy(&sum, digest, sizeof(sum));
    sum |= 1;
    dgf_buf_init(&key, 4096);
    dgf_buf_addf(&key, "%s/%s.%s", dgf_event_kind_text(kind), database, name);
    if (dgf_buf_rc(&key) || seen_before(session, &key) == sum) {
        dgf_buf_release(&key);
        dgf_object_unref(object);
        return;
    }
    dgf_id_begin(&hash, "inspect");
    dgf_id_add(&hash, DGF_BYTES("mongo"));
    dgf_id_add(&hash, dgf_bytes_str(session->link.set));
    dgf_id_add(&hash, dgf_buf_bytes(&key));
    dgf_id_add(&hash, dgf_bytes_of(digest, sizeof(digest)));
    meta.id = dgf_id_end(&hash);
    meta.seen_ns = meta.commit_ns;
    inspect->changed = true;
    if (dgf_event_finish(builder, &meta, &event) ||
        dgf_map_put(&session->seen, dgf_buf_bytes(&key), (void *)(uintptr_t)sum,
                    NULL)) {
        dgf_event_unref(event);
        inspect->failed = true;
    } else if (!dgf_mongo_session_put(session, DGF_MONGO_ITEM_EVENT, event, DGF_OK,
                                      DGF_STATE_STREAMING, false, "")) {
        inspect->failed = true;
    }
    dgf_buf_release(&key);
    dgf_object_unref(object);
}

/* ---- asking ---- */

/* False: no answer, most often no right; what cannot be seen is not told. */
static bool ask(struct inspect *inspect, const char *database, bson_t *take_command,
                bson_t *reply)
{
    bool good =
        dgf_mongo_link_command(&inspect->session->link, database, take_command, reply);

    bson_destroy(take_command);
    if (dgf_mongo_session_stopping(inspect->session))
        inspect->failed = true;
    return good && !inspect->failed;
}

/* The array of a reply: cursor.firstBatch, or the field of that name. */
static struct dgf_bytes rows_of(const bson_t *reply, const char *field)
{
    struct dgf_bytes document = dgf_mongo_bytes(reply);
    struct dgf_bson_element cursor, rows;

    if (!field) {
        if (!dgf_bson_find(document, "cursor", &cursor) ||
            cursor.type != DGF_BSON_DOCUMENT)
            return (struct dgf_bytes){0};
        document = cursor.value;
        field = "firstBatch";
    }
    return dgf_bson_find(document, field, &rows) && rows.type == DGF_BSON_ARRAY
               ? rows.value
               : (struct dgf_bytes){0};
}

static bool text_field(struct dgf_bytes document, const char *name, char *to,
                       size_t size)
{
    struct dgf_bson_element element;
    struct dgf_bytes text;

    if (!dgf_bson_find(document, name, &element) || !dgf_bson_text(&element, &text) ||
        text.len == 0 || text.len >= size || memchr(text.ptr, 0, text.len))
        return false;
    memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return true;
}

static void each_row(struct inspect *inspect, struct dgf_bytes rows,
                     const char *database,
                     void (*each)(struct inspect *inspect, const char *database,
                                  struct dgf_bytes row))
{
    struct dgf_bson_element row;
    struct dgf_bson bson;

    if (!rows.len || dgf_bson_of(rows, &bson))
        return;
    while (!inspect->failed && dgf_bson_next(&bson, &row) == DGF_OK)
        if (row.type == DGF_BSON_DOCUMENT)
            each(inspect, database, row.value);
}

static void on_collection(struct inspect *inspect, const char *database,
                          struct dgf_bytes row)
{
    struct dgf_mongo_session *session = inspect->session;
    struct dgf_bytes indexes = {0};
    char name[1024], type[64] = "";
    struct dgf_buf full;
    bson_t reply;
    bool wanted;

    if (!text_field(row, "name", name, sizeof(name)) || !strncmp(name, "system.", 7))
        return;
    if (session->collection && strcmp(session->collection, name) != 0)
        return;
    dgf_buf_init(&full, 2048);
    dgf_buf_addf(&full, "%s.%s", database, name);
    wanted = !dgf_buf_rc(&full) &&
             dgf_mongo_name_wanted(session->conf, dgf_buf_bytes(&full));
    dgf_buf_release(&full);
    if (!wanted)
        return;
    (void)text_field(row, "type", type, sizeof(type));
    if (strcmp(type, "view") == 0) {
        observe(inspect, DGF_KIND_SCHEMA, database, name, row, indexes);
        return;
    }
    if (ask(inspect, database,
            BCON_NEW("listIndexes", BCON_UTF8(name), "cursor", "{", "batchSize",
                     BCON_INT32(ROWS), "}"),
            &reply))
        indexes = rows_of(&reply, NULL);
    observe(inspect, DGF_KIND_SCHEMA, database, name, row, indexes);
    bson_destroy(&reply);
}

static void on_database(struct inspect *inspect, const char *database)
{
    bson_t reply;

    if (ask(inspect, database,
            BCON_NEW("listCollections", BCON_INT32(1), "cursor", "{", "batchSize",
                     BCON_INT32(ROWS), "}"),
            &reply))
        each_row(inspect, rows_of(&reply, NULL), database, on_collection);
    bson_destroy(&reply);
}

static void on_database_row(struct inspect *inspect, const char *database,
                            struct dgf_bytes row)
{
    char name[256];

    (void)database;
    if (text_field(row, "name", name, sizeof(name)) && strcmp(name, "admin") &&
        strcmp(name, "local") && strcmp(name, "config"))
        on_database(inspect, name);
}

static void on_user(struct inspect *inspect, const char *database, struct dgf_bytes row)
{
    char name[1024], home[256];

    (void)database;
    if (text_field(row, "user", name, sizeof(name)) &&
        text_field(row, "db", home, sizeof(home)))
        observe(inspect, DGF_KIND_ACCESS, home, name, row, (struct dgf_bytes){0});
}

static void on_role(struct inspect *inspect, const char *database, struct dgf_bytes row)
{
    char name[1024], home[256];

    (void)database;
    if (text_field(row, "role", name, sizeof(name)) &&
        text_field(row, "db", home, sizeof(home)))
        observe(inspect, DGF_KIND_ACCESS, home, name, row, (struct dgf_bytes){0});
}

static void users(struct inspect *inspect)
{
    struct dgf_bytes rows = {0};
    bson_t reply;

    if (ask(inspect, "admin",
            BCON_NEW("usersInfo", "{", "forAllDBs", BCON_BOOL(true), "}"), &reply))
        rows = rows_of(&reply, "users");
    if (rows.len <= 5 && !inspect->failed) { /* some know only one database at a time */
        bson_destroy(&reply);
        if (ask(inspect, "admin", BCON_NEW("usersInfo", BCON_INT32(1)), &reply))
            rows = rows_of(&reply, "users");
        else
            rows = (struct dgf_bytes){0};
    }
    each_row(inspect, rows, "", on_user);
    bson_destroy(&reply);
}

/* Of getCmdLineOpts only what says how the server is guarded. */
static void settings(struct inspect *inspect)
{
    static const char *const paths[] = {
        "parsed.security.authorization", "parsed.security.clusterAuthMode",
        "parsed.net.tls.mode", "parsed.net.bindIp", "parsed.auditLog.destination"};
    bson_t reply, found = BSON_INITIALIZER;
    bson_iter_t at, value;

    if (ask(inspect, "admin", BCON_NEW("getCmdLineOpts", BCON_INT32(1)), &reply))
        for (size_t i = 0; i < DGF_ARRAY_LEN(paths); i++)
            if (bson_iter_init(&at, &reply) &&
                bson_iter_find_descendant(&at, paths[i], &value))
                (void)bson_append_iter(&found, paths[i] + 7, -1, &value);
    bson_destroy(&reply);
    if (ask(inspect, "admin",
            BCON_NEW("getParameter", BCON_INT32(1), "authenticationMechanisms",
                     BCON_INT32(1), "featureCompatibilityVersion", BCON_INT32(1)),
            &reply)) {
        if (bson_iter_init_find(&at, &reply, "authenticationMechanisms"))
            (void)bson_append_iter(&found, NULL, 0, &at);
        if (bson_iter_init_find(&at, &reply, "featureCompatibilityVersion"))
            (void)bson_append_iter(&found, NULL, 0, &at);
    }
    bson_destroy(&reply);
    if (bson_count_keys(&found))
        observe(inspect, DGF_KIND_SETTING, "admin", "server", dgf_mongo_bytes(&found),
                (struct dgf_bytes){0});
    bson_destroy(&found);
}

bool dgf_mongo_inspect(struct dgf_mongo_session *session)
{
    struct inspect inspect = {.session = session};
    bson_t reply;

    if (session->database) {
        on_database(&inspect, session->database);
    } else {
        if (ask(&inspect, "admin",
                BCON_NEW("listDatabases", BCON_INT32(1), "nameOnly", BCON_BOOL(true)),
                &reply))
            each_row(&inspect, rows_of(&reply, "databases"), "", on_database_row);
        bson_destroy(&reply);
    }
    if (!inspect.failed)
        users(&inspect);
    if (!inspect.failed) {
        if (ask(&inspect, "admin",
                BCON_NEW("rolesInfo", BCON_INT32(1), "showPrivileges", BCON_BOOL(true)),
                &reply))
            each_row(&inspect, rows_of(&reply, "roles"), "", on_role);
        bson_destroy(&reply);
    }
    if (!inspect.failed)
        settings(&inspect);
    /* A refusal of what we asked beside the stream is no failure of the stream. */
    memset(&session->link.error, 0, sizeof(session->link.error));
    if (inspect.failed)
        return false;
    return !inspect.changed || remember(session);
}
