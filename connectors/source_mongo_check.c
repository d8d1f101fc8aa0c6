#include <stdio.h>

#include "source_mongo.h"

/* A shorter oplog is lost over a weekend. */
#define SHORT_OPLOG_S (24 * 3600)

struct check {
    const struct dgf_mongo_conf *conf;
    struct dgf_source *src;
    struct dgf_findings *findings;
    struct dgf_mongo_link link;
    char database[DGF_MONGO_DATABASE_MAX]; /* "": the deployment */
    const char *collection;                /* NULL: all of the database */
    size_t n_found;
};

#define ADD(check, ...) dgf_source_finding((check)->src, (check)->findings, __VA_ARGS__)

static const char *user_of(const struct check *check)
{
    return check->link.user[0] ? check->link.user : "dgf";
}

static void fix_rights(struct check *check)
{
    if (*check->database)
        dgf_findings_fix(
            check->findings,
            "db.getSiblingDB('admin').grantRolesToUser('%s', [{role: 'read', db: '%s'}])",
            user_of(check), check->database);
    else
        dgf_findings_fix(check->findings,
                         "db.getSiblingDB('admin').grantRolesToUser('%s', [{role: "
                         "'readAnyDatabase', db: 'admin'}])",
                         user_of(check));
}

/* Opens the stream as the source does, and leaves it. */
static void check_stream(struct check *check)
{
    const char *database = *check->database ? check->database : "admin";
    bson_t *command, reply;
    struct dgf_err err = {0};

    command =
        BCON_NEW("pipeline", "[", "{", "$changeStream", "{", "allChangesForCluster",
                 BCON_BOOL(!*check->database), "}", "}", "]", "cursor", "{", "}");
    if (*check->database) {
        bson_destroy(command);
        command = BCON_NEW("pipeline", "[", "{", "$changeStream", "{", "}", "}", "]",
                           "cursor", "{", "}");
    }
    {
        bson_t whole = BSON_INITIALIZER;

        if (check->collection)
            (void)BSON_APPEND_UTF8(&whole, "aggregate", check->collection);
        else
            (void)BSON_APPEND_INT32(&whole, "aggregate", 1);
        (void)bson_concat(&whole, command);
        bson_destroy(command);
        if (!dgf_mongo_link_command(&check->link, database, &whole, &reply)) {
            (void)dgf_mongo_link_error(&check->link, "cannot open a change stream",
                                       &err);
            if (check->link.is_server_error && check->link.error.code == 13) {
                ADD(check, DGF_FINDING_ERROR, "E0613",
                    "user '%s' may not open a change stream on %s%s%s", user_of(check),
                    *check->database ? "database '" : "the deployment", check->database,
                    *check->database ? "'" : "");
                fix_rights(check);
            } else {
                ADD(check, DGF_FINDING_ERROR, "E0612", "%s", err.text);
            }
        }
        bson_destroy(&whole);
    }
    bson_destroy(&reply);
}

static void check_oplog(struct check *check)
{
    uint64_t start, now = check->link.operation_time;
    int64_t seconds;

    if (check->link.sharded)
        return;
    start = dgf_mongo_link_oplog_start(&check->link);
    if (!start) {
        ADD(check, DGF_FINDING_NOTE, "W0614",
            "user '%s' may not read local.oplog.rs: nothing warns before the oplog is too "
            "short",
            user_of(check));
        dgf_findings_fix(
            check->findings,
            "db.getSiblingDB('admin').grantRolesToUser('%s', [{role: "
            "'clusterMonitor', db: 'admin'}, {role: 'read', db: 'local'}])",
            user_of(check));
        return;
    }
    seconds = (int64_t)(now >> 32) - (int64_t)(start >> 32);
    if (now && seconds < SHORT_OPLOG_S) {
        ADD(check, DGF_FINDING_NOTE, "W0614",
            "the oplog reaches back %" PRId64
            " s now: a source that stands longer loses its place",
            seconds);
        dgf_findings_fix(check->findings, "db.adminCommand({replSetResizeOplog: 1, "
                                          "minRetentionHours: 72})");
    }
}

static void check_collection(struct check *check, const char *database,
                             const char *collection, bool images)
{
    bool asked = check->conf->before != DGF_MONGO_IMAGES_OFF ||
                 check->conf->full_document >= DGF_MONGO_FULL_AVAILABLE;
    struct dgf_buf name;

    if (check->collection && strcmp(check->collection, collection) != 0)
        return;
    dgf_buf_init(&name, 2048);
    dgf_object_name(&name, database, collection);
    if (dgf_mongo_name_wanted(check->conf, dgf_buf_bytes(&name)) &&
        strncmp(collection, "system.", 7) != 0) {
        struct dgf_object *object;

        check->n_found++;
        if (dgf_object_new("mongo", database, database, collection, NULL, 0, 1,
                           &object) == DGF_OK) {
            dgf_source_found(check->src, object);
            dgf_object_unref(object);
        }
        if (!images && asked && check->link.version >= 600) {
            ADD(check,
                check->conf->before == DGF_MONGO_IMAGES_REQUIRED ||
                        check->conf->full_document == DGF_MONGO_FULL_REQUIRED
                    ? DGF_FINDING_ERROR
                    : DGF_FINDING_NOTE,
                "W0614",
                "collection '%s' keeps no pre-images: policies on `before`, and on `after` of "
                "an update, stay unknown",
                dgf_buf_str(&name));
            dgf_findings_fix(check->findings,
                             "db.getSiblingDB('%s').runCommand({collMod: '%s', "
                             "changeStreamPreAndPostImages: {enabled: true}})",
                             database, collection);
        }
    }
    dgf_buf_release(&name);
}

static void check_database(struct check *check, const char *database)
{
    bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "cursor", "{",
                               "batchSize", BCON_INT32(1000), "}"),
           reply;
    bson_iter_t at, batch, row, field, deep;

    if (dgf_mongo_link_command(&check->link, database, command, &reply) &&
        bson_iter_init(&at, &reply) &&
        bson_iter_find_descendant(&at, "cursor.firstBatch", &batch) &&
        BSON_ITER_HOLDS_ARRAY(&batch) && bson_iter_recurse(&batch, &row))
        while (bson_iter_next(&row)) {
            const char *name = NULL, *type = "collection";
            bool images = false;

            if (!BSON_ITER_HOLDS_DOCUMENT(&row) || !bson_iter_recurse(&row, &field))
                continue;
            while (bson_iter_next(&field)) {
                if (BSON_ITER_IS_KEY(&field, "name") && BSON_ITER_HOLDS_UTF8(&field))
                    name = bson_iter_utf8(&field, NULL);
                if (BSON_ITER_IS_KEY(&field, "type") && BSON_ITER_HOLDS_UTF8(&field))
                    type = bson_iter_utf8(&field, NULL);
            }
            if (bson_iter_recurse(&row, &field) &&
                bson_iter_find_descendant(
                    &field, "options.changeStreamPreAndPostImages.enabled", &deep))
                images = bson_iter_as_bool(&deep);
            if (name && strcmp(type, "view") != 0)
                check_collection(check, database, name, images);
        }
    bson_destroy(&reply);
    bson_destroy(command);
}

static void check_collections(struct check *check)
{
    bson_t *command, reply;
    bson_iter_t at, list, row, name;

    if (*check->database) {
        check_database(check, check->database);
    } else {
        command = BCON_NEW("listDatabases", BCON_INT32(1), "nameOnly", BCON_BOOL(true));
        if (dgf_mongo_link_command(&check->link, "admin", command, &reply) &&
            bson_iter_init_find(&at, &reply, "databases") &&
            BSON_ITER_HOLDS_ARRAY(&at) && bson_iter_recurse(&at, &list))
            while (bson_iter_next(&list)) {
                const char *text;

                if (!BSON_ITER_HOLDS_DOCUMENT(&list) ||
                    !bson_iter_recurse(&list, &row) ||
                    !bson_iter_find_descendant(&row, "name", &name) ||
                    !BSON_ITER_HOLDS_UTF8(&name))
                    continue;
                text = bson_iter_utf8(&name, NULL);
                if (strcmp(text, "admin") && strcmp(text, "local") &&
                    strcmp(text, "config"))
                    check_database(check, text);
            }
        bson_destroy(&reply);
        bson_destroy(command);
    }
    if (!check->n_found)
        ADD(check, DGF_FINDING_NOTE, "W0614",
            "there is no collection yet that 'include' matches, or none may be listed");
}

enum dgf_rc dgf_mongo_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err)
{
    struct check check = {.conf = src->conf, .src = src, .findings = findings};
    mongoc_uri_t *uri = dgf_mongo_uri_make(check.conf, err);

    if (!uri)
        return err->rc;
    check.collection = dgf_mongo_scope(check.conf, check.database);
    if (dgf_mongo_link_open(&check.link, uri, check.conf, err)) {
        ADD(&check, DGF_FINDING_ERROR, "E0612", "%s", err->text);
    } else if (!check.link.set[0] && check.link.version < 600) {
        ADD(&check, DGF_FINDING_WARNING, "E0612",
            "'%s' says it is no replica set and no mongos: it may have no change streams",
            check.link.where);
        check_stream(&check);
    } else {
        check_stream(&check);
        check_oplog(&check);
        check_collections(&check);
    }
    dgf_mongo_link_close(&check.link);
    mongoc_uri_destroy(uri);
    return DGF_OK;
}
