#include "source_mongo_seen.h"

/* What a change stream does not tell, or told before we came: collections with
 * their options and indexes, users, roles, settings.  Each is one event when it
 * is seen first, whenever it is another one, and when a whole answer no longer has
 * it. */

#define ROWS 10000 /* of one answer; the server cuts at 16 MiB */

/* ---- asking ---- */

/* False: no answer, most often no right; what cannot be seen is not told. */
static bool ask(struct dgf_mongo_look *look, const char *database, bson_t *take_command,
                bson_t *reply)
{
    bool good =
        dgf_mongo_link_command(&look->session->link, database, take_command, reply);

    bson_destroy(take_command);
    if (dgf_mongo_session_stopping(look->session))
        look->failed = true;
    return good && !look->failed;
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

static void each_row(struct dgf_mongo_look *look, struct dgf_bytes rows,
                     const char *database,
                     void (*each)(struct dgf_mongo_look *look, const char *database,
                                  struct dgf_bytes row))
{
    struct dgf_bson_element row;
    struct dgf_bson bson;

    if (!rows.len || dgf_bson_of(rows, &bson))
        return;
    while (!look->failed && dgf_bson_next(&bson, &row) == DGF_OK)
        if (row.type == DGF_BSON_DOCUMENT)
            each(look, database, row.value);
}

/* There is no more than what was answered. */
static bool is_whole(const bson_t *reply)
{
    struct dgf_bson_element cursor, id;
    int64_t number;

    return dgf_bson_find(dgf_mongo_bytes(reply), "cursor", &cursor) &&
           cursor.type == DGF_BSON_DOCUMENT && dgf_bson_find(cursor.value, "id", &id) &&
           dgf_bson_i64(&id, &number) && number == 0;
}

/* The indexes of a collection, each by itself, so that one that goes is told. */
static void each_index(struct dgf_mongo_look *look, const char *database,
                       const char *name, struct dgf_bytes indexes)
{
    struct dgf_bson_element row;
    struct dgf_bson bson;
    char part[1024];

    if (!indexes.len || dgf_bson_of(indexes, &bson))
        return;
    while (!look->failed && dgf_bson_next(&bson, &row) == DGF_OK)
        if (row.type == DGF_BSON_DOCUMENT &&
            text_field(row.value, "name", part, sizeof(part)))
            dgf_mongo_look_found(
                look, &(struct dgf_mongo_thing){"index", database, name, part},
                row.value, (struct dgf_bytes){0});
}

static void keep_collection(struct dgf_mongo_look *look, const char *database,
                            const char *name)
{
    dgf_mongo_look_keep(look,
                        &(struct dgf_mongo_thing){"collection", database, name, NULL});
    dgf_mongo_look_keep(look, &(struct dgf_mongo_thing){"index", database, name, NULL});
}

static bool is_wanted(const struct dgf_mongo_session *session, const char *database,
                      const char *name)
{
    struct dgf_buf full;
    bool wanted;

    if (session->collection && strcmp(session->collection, name) != 0)
        return false;
    dgf_buf_init(&full, 2048);
    dgf_buf_addf(&full, "%s.%s", database, name);
    wanted = !dgf_buf_rc(&full) &&
             dgf_mongo_name_wanted(session->conf, dgf_buf_bytes(&full));
    dgf_buf_release(&full);
    return wanted;
}

static void on_collection(struct dgf_mongo_look *look, const char *database,
                          struct dgf_bytes row)
{
    struct dgf_mongo_thing thing = {"collection", database, NULL, ""};
    struct dgf_bytes indexes = {0};
    char name[1024], type[64] = "";
    bool answered;
    bson_t reply;

    if (!text_field(row, "name", name, sizeof(name)) || !strncmp(name, "system.", 7))
        return;
    thing.name = name;
    if (!is_wanted(look->session, database, name)) {
        keep_collection(look, database, name); /* it was, before the options changed */
        return;
    }
    (void)text_field(row, "type", type, sizeof(type));
    if (strcmp(type, "view") == 0) {
        dgf_mongo_look_found(look, &thing, row, indexes);
        return;
    }
    answered = ask(look, database,
                   BCON_NEW("listIndexes", BCON_UTF8(name), "cursor", "{", "batchSize",
                            BCON_INT32(ROWS), "}"),
                   &reply);
    if (answered)
        indexes = rows_of(&reply, NULL);
    if (!answered && dgf_mongo_look_knows(look, &thing)) {
        keep_collection(look, database,
                        name); /* without its indexes it looks changed */
    } else {
        dgf_mongo_look_found(look, &thing, row, indexes);
        each_index(look, database, name, indexes);
        thing = (struct dgf_mongo_thing){"index", database, name, NULL};
        if (answered && is_whole(&reply))
            dgf_mongo_look_gone(look, &thing);
        else
            dgf_mongo_look_keep(look, &thing);
    }
    bson_destroy(&reply);
}

static void on_database(struct dgf_mongo_look *look, const char *database)
{
    struct dgf_mongo_thing all = {"collection", database, NULL, NULL};
    bson_t reply;
    bool whole = false;

    if (ask(look, database,
            BCON_NEW("listCollections", BCON_INT32(1), "cursor", "{", "batchSize",
                     BCON_INT32(ROWS), "}"),
            &reply)) {
        each_row(look, rows_of(&reply, NULL), database, on_collection);
        whole = is_whole(&reply);
    }
    bson_destroy(&reply);
    if (!whole) {
        dgf_mongo_look_keep(look, &all);
        return;
    }
    dgf_mongo_look_gone(look, &all);
    all.what = "index";
    dgf_mongo_look_gone(look, &all);
}

static void on_database_row(struct dgf_mongo_look *look, const char *database,
                            struct dgf_bytes row)
{
    char name[256];

    (void)database;
    if (text_field(row, "name", name, sizeof(name)) && strcmp(name, "admin") &&
        strcmp(name, "local") && strcmp(name, "config"))
        on_database(look, name);
}

/* A database that is not listed may be gone, or one we may no longer see: it is asked
 * itself. */
static void databases(struct dgf_mongo_look *look)
{
    char name[256];
    bson_t reply;

    if (ask(look, "admin",
            BCON_NEW("listDatabases", BCON_INT32(1), "nameOnly", BCON_BOOL(true)),
            &reply)) {
        each_row(look, rows_of(&reply, "databases"), "", on_database_row);
        while (!look->failed && dgf_mongo_look_unanswered(look, name, sizeof(name)))
            on_database(look, name);
    }
    bson_destroy(&reply);
}

static void on_user(struct dgf_mongo_look *look, const char *database,
                    struct dgf_bytes row)
{
    char name[1024], home[256];

    (void)database;
    if (text_field(row, "user", name, sizeof(name)) &&
        text_field(row, "db", home, sizeof(home)))
        dgf_mongo_look_found(look, &(struct dgf_mongo_thing){"user", home, name, ""},
                             row, (struct dgf_bytes){0});
}

static void on_role(struct dgf_mongo_look *look, const char *database,
                    struct dgf_bytes row)
{
    char name[1024], home[256];

    (void)database;
    if (text_field(row, "role", name, sizeof(name)) &&
        text_field(row, "db", home, sizeof(home)))
        dgf_mongo_look_found(look, &(struct dgf_mongo_thing){"role", home, name, ""},
                             row, (struct dgf_bytes){0});
}

static void users(struct dgf_mongo_look *look)
{
    struct dgf_mongo_thing all = {"user", NULL, NULL, NULL};
    struct dgf_bytes rows = {0};
    bool answered, some;
    bson_t reply;

    answered =
        ask(look, "admin",
            BCON_NEW("usersInfo", "{", "forAllDBs", BCON_BOOL(true), "}"), &reply);
    if (answered)
        rows = rows_of(&reply, "users");
    some = rows.len > 5;
    if (!some && !look->failed) { /* some know only one database at a time */
        bson_destroy(&reply);
        rows = (struct dgf_bytes){0};
        if (ask(look, "admin", BCON_NEW("usersInfo", BCON_INT32(1)), &reply))
            rows = rows_of(&reply, "users");
        else
            answered = false;
        /* Of the users of the others it says nothing. */
        if (!answered || rows.len > 5)
            all.database = "admin";
        answered = rows.len > 0;
    }
    each_row(look, rows, "", on_user);
    if (answered)
        dgf_mongo_look_gone(look, &all);
    bson_destroy(&reply);
}

static void roles(struct dgf_mongo_look *look)
{
    struct dgf_bytes rows = {0};
    bson_t reply;

    if (ask(look, "admin",
            BCON_NEW("rolesInfo", BCON_INT32(1), "showPrivileges", BCON_BOOL(true)),
            &reply))
        rows = rows_of(&reply, "roles");
    each_row(look, rows, "", on_role);
    if (rows.len)
        dgf_mongo_look_gone(look, &(struct dgf_mongo_thing){"role", NULL, NULL, NULL});
    bson_destroy(&reply);
}

static void found_setting(struct dgf_mongo_look *look, const char *list, bson_t *found)
{
    if (bson_count_keys(found))
        dgf_mongo_look_found(
            look, &(struct dgf_mongo_thing){"setting", "admin", "server", list},
            dgf_mongo_bytes(found), (struct dgf_bytes){0});
    bson_reinit(found);
}

/* Of getCmdLineOpts only what says how the server is guarded. */
static void settings(struct dgf_mongo_look *look)
{
    static const char *const paths[] = {
        "parsed.security.authorization", "parsed.security.clusterAuthMode",
        "parsed.net.tls.mode", "parsed.net.bindIp", "parsed.auditLog.destination"};
    bson_t reply, found = BSON_INITIALIZER;
    bson_iter_t at, value;

    if (ask(look, "admin", BCON_NEW("getCmdLineOpts", BCON_INT32(1)), &reply))
        for (size_t i = 0; i < DGF_ARRAY_LEN(paths); i++)
            if (bson_iter_init(&at, &reply) &&
                bson_iter_find_descendant(&at, paths[i], &value))
                (void)bson_append_iter(&found, paths[i] + 7, -1, &value);
    bson_destroy(&reply);
    found_setting(look, "options", &found);
    if (ask(look, "admin",
            BCON_NEW("getParameter", BCON_INT32(1), "authenticationMechanisms",
                     BCON_INT32(1), "featureCompatibilityVersion", BCON_INT32(1)),
            &reply)) {
        if (bson_iter_init_find(&at, &reply, "authenticationMechanisms"))
            (void)bson_append_iter(&found, NULL, 0, &at);
        if (bson_iter_init_find(&at, &reply, "featureCompatibilityVersion"))
            (void)bson_append_iter(&found, NULL, 0, &at);
    }
    bson_destroy(&reply);
    found_setting(look, "parameters", &found);
    bson_destroy(&found);
}

bool dgf_mongo_inspect(struct dgf_mongo_session *session)
{
    struct dgf_mongo_look look;

    dgf_mongo_look_begin(session, &look);
    if (session->database)
        on_database(&look, session->database);
    else
        databases(&look);
    if (!look.failed)
        users(&look);
    if (!look.failed)
        roles(&look);
    if (!look.failed)
        settings(&look);
    /* A refusal of what we asked beside the stream is no failure of the stream. */
    memset(&session->link.error, 0, sizeof(session->link.error));
    return dgf_mongo_look_end(&look);
}
