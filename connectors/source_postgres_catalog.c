#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "source_postgres.h"

/* Names and types as the stream sent them; comments and keys as they are now. */
static const char columns_sql[] =
    "SELECT pg_catalog.format_type(r.type, r.typmod),"
    " pg_catalog.col_description($1::oid, a.attnum),"
    " coalesce(a.attnum = ANY (i.indkey), false)"
    " FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::oid[]),"
    " pg_catalog.unnest($4::int4[])) WITH ORDINALITY AS r(name, type, typmod, n)"
    " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = $1::oid AND a.attname = r.name"
    " AND a.attnum > 0 AND NOT a.attisdropped"
    " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = $1::oid AND i.indisprimary"
    " ORDER BY r.n";

static struct dgf_bytes key_of(const uint32_t *oid)
{
    return dgf_bytes_of(oid, sizeof(*oid));
}

static void free_relation(void *ptr)
{
    struct dgf_pg_relation *relation = ptr;

    if (!relation)
        return;
    dgf_object_unref(relation->object);
    dgf_free(relation->types);
    dgf_free(relation->type_oids);
    dgf_free(relation->typmods);
    dgf_free(relation->in_identity);
    dgf_free(relation);
}

static void free_columns(struct dgf_column *columns, uint32_t n)
{
    for (uint32_t i = 0; columns && i < n; i++) {
        dgf_free((char *)columns[i].name);
        dgf_free((char *)columns[i].type_name);
        dgf_free((char *)columns[i].comment);
    }
    dgf_free(columns);
}

void dgf_pg_catalog_init(struct dgf_pg_catalog *catalog)
{
    memset(catalog, 0, sizeof(*catalog));
    dgf_map_init(&catalog->relations);
    dgf_map_init(&catalog->types);
}

static void drop_pending(struct dgf_pg_catalog *catalog)
{
    if (catalog->pending)
        free_columns(catalog->columns, catalog->pending->n);
    catalog->columns = NULL;
    free_relation(catalog->pending);
    catalog->pending = NULL;
}

void dgf_pg_catalog_release(struct dgf_pg_catalog *catalog)
{
    drop_pending(catalog);
    dgf_map_release(&catalog->relations, free_relation);
    dgf_map_release(&catalog->types, dgf_pg_type_free);
    catalog->last = NULL;
}

struct dgf_pg_relation *dgf_pg_catalog_find(struct dgf_pg_source *self, uint32_t oid)
{
    struct dgf_pg_catalog *catalog = &self->catalog;

    if (!catalog->last || catalog->last->oid != oid)
        catalog->last = dgf_map_get(&catalog->relations, key_of(&oid));
    return catalog->last;
}

/* ---- which tables ---- */

bool dgf_pg_glob(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (*pattern == '*') {
            bool across = pattern[1] == '*';
            const char *rest = pattern + 1 + across;

            for (;; text++) {
                if (dgf_pg_glob(rest, text))
                    return true;
                if (!*text || (*text == '.' && !across))
                    return false;
            }
        }
        if (*pattern != *text)
            return false;
    }
    return !*text;
}

bool dgf_pg_table_wanted(const struct dgf_pg_conf *conf, const char *text)
{
    for (size_t i = 0; i < conf->tables.n; i++)
        if (dgf_pg_glob(conf->tables.list[i], text))
            return true;
    return conf->tables.n == 0;
}

/* ---- relations ---- */

static void out_of_memory(struct dgf_pg_source *self)
{
    dgf_pg_fail(self, DGF_RETRY, "out of memory");
}

static bool same_relation(const struct dgf_pg_relation *relation,
                          const struct dgf_pgoutput *message)
{
    if (relation->identity != message->relation.identity ||
        relation->n != message->relation.n ||
        !dgf_bytes_eq(message->relation.name, dgf_bytes_str(relation->object->name)) ||
        !dgf_bytes_eq(message->relation.schema,
                      dgf_bytes_str(relation->object->schema)))
        return false;
    for (uint32_t i = 0; i < relation->n; i++) {
        const struct dgf_pg_attribute *attribute = &message->attributes[i];
        const struct dgf_column *column = &relation->object->columns[i];

        if (attribute->type != relation->type_oids[i] ||
            attribute->typmod != relation->typmods[i] ||
            attribute->identity != relation->in_identity[i] ||
            !dgf_bytes_eq(attribute->name,
                          dgf_bytes_of(column->name, column->name_len)))
            return false;
    }
    return true;
}

static struct dgf_pg_relation *new_relation(const struct dgf_pgoutput *message)
{
    uint32_t n = message->relation.n;
    struct dgf_pg_relation *relation = dgf_calloc(1, sizeof(*relation));

    if (!relation)
        return NULL;
    relation->oid = message->relation.oid;
    relation->identity = message->relation.identity;
    relation->n = n;
    relation->types = dgf_calloc(n + 1, sizeof(*relation->types));
    relation->type_oids = dgf_calloc(n + 1, sizeof(*relation->type_oids));
    relation->typmods = dgf_calloc(n + 1, sizeof(*relation->typmods));
    relation->in_identity = dgf_calloc(n + 1, sizeof(*relation->in_identity));
    if (!relation->types || !relation->type_oids || !relation->typmods ||
        !relation->in_identity) {
        free_relation(relation);
        return NULL;
    }
    for (uint32_t i = 0; i < n; i++) {
        relation->type_oids[i] = message->attributes[i].type;
        relation->typmods[i] = message->attributes[i].typmod;
        relation->in_identity[i] = message->attributes[i].identity;
    }
    return relation;
}

/* A text array literal of what each column gives. */
static void add_array(struct dgf_buf *buf, const struct dgf_pgoutput *message,
                      int which)
{
    dgf_buf_add_byte(buf, '{');
    for (uint32_t i = 0; i < message->relation.n; i++) {
        const struct dgf_pg_attribute *attribute = &message->attributes[i];

        if (i)
            dgf_buf_add_byte(buf, ',');
        if (which == 1) {
            dgf_buf_add_u64(buf, attribute->type);
        } else if (which == 2) {
            dgf_buf_add_i64(buf, attribute->typmod);
        } else {
            dgf_buf_add_byte(buf, '"');
            for (size_t at = 0; at < attribute->name.len; at++) {
                if (attribute->name.ptr[at] == '"' || attribute->name.ptr[at] == '\\')
                    dgf_buf_add_byte(buf, '\\');
                dgf_buf_add_byte(buf, attribute->name.ptr[at]);
            }
            dgf_buf_add_byte(buf, '"');
        }
    }
    dgf_buf_add_byte(buf, '}');
}

bool dgf_pg_is_key(const struct dgf_pg_relation *relation, uint32_t i, bool primary)
{
    /* FULL marks every column and NOTHING none: then the primary key says it. */
    if (relation->identity == 'f' || relation->identity == 'n')
        return primary;
    return relation->in_identity[i];
}

/* What pending and its columns say becomes the known relation. */
static enum dgf_rc make_relation(struct dgf_pg_source *self)
{
    struct dgf_pg_catalog *catalog = &self->catalog;
    struct dgf_pg_relation *relation = catalog->pending;
    struct dgf_column *columns = catalog->columns;
    const struct dgf_object *name = relation->object; /* made first, without columns */
    struct dgf_object *object;
    void *old = NULL;

    for (uint32_t i = 0; i < relation->n; i++) {
        const struct dgf_pg_type *type = dgf_pg_type_of(self, relation->type_oids[i]);
        static const struct dgf_pg_type unknown = {
            0, DGF_PG_CODEC_OPAQUE, DGF_TYPE_OPAQUE, ',', "unknown", NULL};

        relation->types[i] = type ? type : &unknown;
        columns[i].type = relation->types[i]->type;
    }
    if (dgf_object_new("postgres", self->database, name->schema, name->name, columns,
                       relation->n, ++self->version, &object))
        return DGF_NOMEM;
    dgf_object_unref(relation->object);
    relation->object = object;
    relation->wanted = dgf_pg_table_wanted(DGF_PG_CONF(self), object->text);
    if (dgf_map_put(&catalog->relations, key_of(&relation->oid), relation, &old))
        return DGF_NOMEM;
    catalog->pending = NULL;
    free_columns(columns, relation->n);
    catalog->columns = NULL;
    catalog->last = NULL;
    free_relation(old);
    return DGF_OK;
}

static void install(struct dgf_pg_source *self)
{
    if (make_relation(self))
        out_of_memory(self);
    else
        dgf_pg_stream_go_on(self);
}

static void on_types(struct dgf_pg_source *self, PGresult *result)
{
    if (!dgf_pg_result_good(self, result, "cannot read types from the catalogue"))
        return;
    dgf_pg_types_take(self, result);
    install(self);
}

/* Asks for the types that are not known yet. */
static void ask_types(struct dgf_pg_source *self)
{
    struct dgf_buf oids;
    const char *values[1];
    unsigned n;

    dgf_buf_init(&oids, 64 * 1024);
    n = dgf_pg_types_unknown(self->catalog.pending, &oids);
    values[0] = dgf_buf_str(&oids);
    if (dgf_buf_rc(&oids))
        out_of_memory(self);
    else if (n == 0)
        install(self);
    else
        dgf_pg_link_query(&self->control, dgf_pg_types_sql, 1, values, on_types);
    dgf_buf_release(&oids);
}

/* One row a column of pending, in its order. */
static enum dgf_rc take_columns(struct dgf_pg_catalog *catalog, PGresult *result)
{
    const struct dgf_pg_relation *relation = catalog->pending;
    struct dgf_column *columns = catalog->columns;

    if ((uint32_t)PQntuples(result) != relation->n)
        return DGF_BAD_DATA;
    for (uint32_t i = 0; i < relation->n; i++) {
        int row = (int)i;

        columns[i].type_name = dgf_strdup(PQgetvalue(result, row, 0));
        if (!PQgetisnull(result, row, 1))
            columns[i].comment = dgf_strdup(PQgetvalue(result, row, 1));
        columns[i].key =
            dgf_pg_is_key(relation, i, PQgetvalue(result, row, 2)[0] == 't');
        if (!columns[i].type_name ||
            (!PQgetisnull(result, row, 1) && !columns[i].comment))
            return DGF_NOMEM;
    }
    return DGF_OK;
}

static void on_columns(struct dgf_pg_source *self, PGresult *result)
{
    enum dgf_rc rc;

    if (!dgf_pg_result_good(self, result, "cannot read columns from the catalogue"))
        return;
    rc = take_columns(&self->catalog, result);
    if (rc == DGF_BAD_DATA) {
        dgf_pg_fail(self, DGF_RETRY,
                    "cannot read columns of '%s': %d rows for %u columns",
                    self->catalog.pending->object->text, PQntuples(result),
                    self->catalog.pending->n);
    } else if (rc) {
        out_of_memory(self);
    } else {
        ask_types(self);
    }
}

static bool own_names(struct dgf_pg_catalog *catalog,
                      const struct dgf_pgoutput *message)
{
    struct dgf_pg_relation *relation = catalog->pending;
    struct dgf_bytes schema = message->relation.schema, name = message->relation.name;
    char *schema_text, *name_text;
    bool good;

    if (schema.len == 0)
        schema = DGF_BYTES("pg_catalog");
    schema_text = dgf_strndup((const char *)schema.ptr, schema.len);
    name_text = dgf_strndup((const char *)name.ptr, name.len);
    good = schema_text && name_text &&
           dgf_object_new("postgres", NULL, schema_text, name_text, NULL, 0, 0,
                          &relation->object) == DGF_OK;
    dgf_free(schema_text);
    dgf_free(name_text);
    catalog->columns = dgf_calloc(relation->n + 1, sizeof(*catalog->columns));
    if (!catalog->columns)
        return false;
    for (uint32_t i = 0; i < relation->n; i++) {
        struct dgf_bytes column = message->attributes[i].name;

        catalog->columns[i].name = dgf_strndup((const char *)column.ptr, column.len);
        if (!catalog->columns[i].name)
            return false;
        catalog->columns[i].name_len = (uint32_t)column.len;
    }
    return good;
}

/* Parameters of columns_sql. */
struct columns_query {
    struct dgf_buf oid, lists[3];
    const char *values[4];
};

static bool columns_query_make(const struct dgf_pgoutput *message,
                               struct columns_query *ret)
{
    bool good;

    dgf_buf_init(&ret->oid, 64);
    dgf_buf_add_u64(&ret->oid, message->relation.oid);
    ret->values[0] = dgf_buf_str(&ret->oid);
    good = !dgf_buf_rc(&ret->oid);
    for (int i = 0; i < 3; i++) {
        dgf_buf_init(&ret->lists[i], 4 << 20);
        add_array(&ret->lists[i], message, i);
        ret->values[i + 1] = dgf_buf_str(&ret->lists[i]);
        good = good && !dgf_buf_rc(&ret->lists[i]);
    }
    return good;
}

static void columns_query_release(struct columns_query *query)
{
    dgf_buf_release(&query->oid);
    for (int i = 0; i < 3; i++)
        dgf_buf_release(&query->lists[i]);
}

static bool begin_relation(struct dgf_pg_catalog *catalog,
                           const struct dgf_pgoutput *message)
{
    drop_pending(catalog);
    catalog->pending = new_relation(message);
    return catalog->pending && own_names(catalog, message);
}

enum dgf_rc dgf_pg_catalog_relation(struct dgf_pg_source *self,
                                    const struct dgf_pgoutput *message)
{
    struct dgf_pg_relation *known = dgf_pg_catalog_find(self, message->relation.oid);
    struct columns_query query;

    if (known && same_relation(known, message))
        return DGF_OK;
    if (self->control.state != DGF_PG_LINK_IDLE)
        return DGF_AGAIN; /* an inspection is under way; its end goes on */
    if (!begin_relation(&self->catalog, message)) {
        out_of_memory(self);
        return DGF_RETRY;
    }
    if (columns_query_make(message, &query))
        dgf_pg_link_query(&self->control, columns_sql, 4, query.values, on_columns);
    else
        out_of_memory(self);
    columns_query_release(&query);
    return self->failed ? DGF_RETRY : DGF_AGAIN;
}

/* ---- without a stream ---- */

static PGresult *ask(PGconn *conn, const char *sql, int n, const char *const *values,
                     struct dgf_err *err)
{
    PGresult *result = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);
    char text[512];

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    dgf_pg_one_line(PQresultErrorMessage(result), text, sizeof(text));
    PQclear(result);
    (void)dgf_err_set(err, DGF_RETRY, "%s", text);
    return NULL;
}

static enum dgf_rc read_types(struct dgf_pg_source *self, PGconn *conn,
                              struct dgf_err *err)
{
    PGresult *result = NULL;
    struct dgf_buf oids;
    const char *values[1];
    enum dgf_rc rc;

    dgf_buf_init(&oids, 64 * 1024);
    if (dgf_pg_types_unknown(self->catalog.pending, &oids) && !dgf_buf_rc(&oids)) {
        values[0] = dgf_buf_str(&oids);
        result = ask(conn, dgf_pg_types_sql, 1, values, err);
        rc = result ? DGF_OK : DGF_RETRY;
        if (result)
            dgf_pg_types_take(self, result);
        PQclear(result);
    } else {
        rc = dgf_buf_rc(&oids);
    }
    dgf_buf_release(&oids);
    return rc;
}

enum dgf_rc dgf_pg_catalog_read(struct dgf_pg_source *self, PGconn *conn,
                                const struct dgf_pgoutput *message, struct dgf_err *err)
{
    struct columns_query query;
    PGresult *result;
    enum dgf_rc rc = DGF_NOMEM;

    if (!begin_relation(&self->catalog, message))
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    if (columns_query_make(message, &query)) {
        result = ask(conn, columns_sql, 4, query.values, err);
        rc = result ? take_columns(&self->catalog, result) : DGF_RETRY;
        PQclear(result);
        if (!rc)
            rc = read_types(self, conn, err);
        if (!rc)
            rc = make_relation(self);
    }
    columns_query_release(&query);
    return rc && !*err->text ? dgf_err_set(err, rc, "%s", dgf_rc_text(rc)) : rc;
}
