#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"
#include "source_postgres.h"

/* A type the server's users made, or a rare one of its own. */
struct dgf_pg_user_type {
    struct dgf_pg_type type;
    char *schema, *name, *label;       /* label: what opaque values are marked with */
    const struct dgf_pg_type *same_as; /* domain: what it ends in; NULL: itself */
};

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

/* int2vector and oidvector have elements, but are not written as arrays; an array
 * type has no array of its own. */
static const char types_sql[] =
    "WITH RECURSIVE need(oid) AS (SELECT pg_catalog.unnest($1::oid[]) UNION"
    " SELECT v.oid FROM need n JOIN pg_catalog.pg_type t ON t.oid = n.oid"
    " CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) v(oid) WHERE v.oid <> 0)"
    " SELECT t.oid, s.nspname, t.typname, t.typtype, t.typcategory, t.typelem, t.typbasetype,"
    " t.typdelim, t.typlen = -1 AND t.typelem <> 0 AND t.typarray = 0,"
    " pg_catalog.format_type(t.oid, NULL)"
    " FROM need n JOIN pg_catalog.pg_type t ON t.oid = n.oid"
    " JOIN pg_catalog.pg_namespace s ON s.oid = t.typnamespace";

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

static void free_type(void *ptr)
{
    struct dgf_pg_user_type *type = ptr;

    dgf_free(type->schema);
    dgf_free(type->name);
    dgf_free(type->label);
    dgf_free(type);
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
    dgf_map_release(&catalog->types, free_type);
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

/* ---- types ---- */

static const struct dgf_pg_type *type_of(struct dgf_pg_source *self, uint32_t oid)
{
    const struct dgf_pg_type *builtin = dgf_pg_type_builtin(oid);
    struct dgf_pg_user_type *user;

    if (builtin)
        return builtin;
    user = dgf_map_get(&self->catalog.types, key_of(&oid));
    return user ? user->same_as ? user->same_as : &user->type : NULL;
}

void dgf_pg_catalog_type(struct dgf_pg_source *self, const struct dgf_pgoutput *message)
{
    uint32_t oid = message->type_.oid;
    struct dgf_pg_user_type *known = dgf_map_get(&self->catalog.types, key_of(&oid));
    struct dgf_map_entry *entry;
    size_t at = 0;

    if (!known || (dgf_bytes_eq(message->type_.name, dgf_bytes_str(known->name)) &&
                   dgf_bytes_eq(message->type_.schema, dgf_bytes_str(known->schema))))
        return;
    /* The oid was used again, or the type was renamed.  Relations that point to
     * it are asked for anew when their R comes, which is next; the old struct
     * stays until the session ends, because they still point to it. */
    while ((entry = dgf_map_next(&self->catalog.relations, &at))) {
        struct dgf_pg_relation *relation = entry->value;

        for (uint32_t i = 0; i < relation->n; i++)
            if (relation->type_oids[i] == oid)
                relation->identity = 0;
    }
    dgf_free(known->name);
    known->name = dgf_strdup("");
}

static const struct dgf_pg_type *resolve(struct dgf_pg_source *self, PGresult *result,
                                         uint32_t oid, unsigned depth);

static uint32_t oid_at(const PGresult *result, int row, int column)
{
    uint64_t oid = 0;

    (void)dgf_parse_u64(dgf_bytes_str(PQgetvalue(result, row, column)), &oid);
    return (uint32_t)oid;
}

/* Fills a type from its catalogue row; types it rests on come first. */
static void fill_type(struct dgf_pg_source *self, PGresult *result, int row,
                      unsigned depth, struct dgf_pg_user_type *user)
{
    char kind = PQgetvalue(result, row, 3)[0], category = PQgetvalue(result, row, 4)[0];
    struct dgf_pg_type *type = &user->type;

    type->codec = DGF_PG_CODEC_OPAQUE;
    type->type = DGF_TYPE_OPAQUE;
    type->delimiter = PQgetvalue(result, row, 7)[0];
    type->name = user->label;
    user->same_as = NULL;
    type->element = NULL;
    if (kind == 'd') {
        user->same_as = resolve(self, result, oid_at(result, row, 6), depth + 1);
    } else if (kind == 'e') {
        type->codec = DGF_PG_CODEC_STR;
        type->type = DGF_TYPE_ENUM;
    } else if (PQgetvalue(result, row, 8)[0] == 't') {
        type->element = resolve(self, result, oid_at(result, row, 5), depth + 1);
        if (type->element) {
            type->codec = DGF_PG_CODEC_ARRAY;
            type->type = DGF_TYPE_ARRAY;
        }
    } else if (kind == 'b' && category == 'S' && strcmp(user->name, "citext") == 0) {
        type->codec = DGF_PG_CODEC_STR;
        type->type = DGF_TYPE_TEXT;
    }
}

static const struct dgf_pg_type *resolve(struct dgf_pg_source *self, PGresult *result,
                                         uint32_t oid, unsigned depth)
{
    struct dgf_map *types = &self->catalog.types;
    struct dgf_pg_user_type *user = dgf_map_get(types, key_of(&oid));
    int row = 0, n = PQntuples(result);

    if (dgf_pg_type_builtin(oid))
        return dgf_pg_type_builtin(oid);
    while (row < n && oid_at(result, row, 0) != oid)
        row++;
    if (row == n || depth > 32) /* dropped since, or not readable */
        return user ? type_of(self, oid) : NULL;
    if (!user) {
        user = dgf_calloc(1, sizeof(*user));
        if (!user || dgf_map_put(types, key_of(&oid), user, NULL)) {
            dgf_free(user);
            return NULL;
        }
    }
    if (!user->name || strcmp(user->name, PQgetvalue(result, row, 2)) != 0) {
        dgf_free(user->schema);
        dgf_free(user->name);
        dgf_free(user->label);
        user->schema = dgf_strdup(PQgetvalue(result, row, 1));
        user->name = dgf_strdup(PQgetvalue(result, row, 2));
        user->label = dgf_strdup(PQgetvalue(result, row, 9));
        if (!user->schema || !user->name || !user->label)
            return NULL;
        user->type.oid = oid;
    }
    fill_type(self, result, row, depth, user);
    return type_of(self, oid);
}

/* ---- relations ---- */

static void out_of_memory(struct dgf_pg_source *self)
{
    if (self->failed)
        return;
    self->failed = true;
    dgf_source_fail(&self->base, DGF_RETRY, "out of memory");
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

static void install(struct dgf_pg_source *self)
{
    struct dgf_pg_catalog *catalog = &self->catalog;
    struct dgf_pg_relation *relation = catalog->pending;
    struct dgf_column *columns = catalog->columns;
    const struct dgf_object *name = relation->object; /* made first, without columns */
    struct dgf_object *object;
    void *old = NULL;

    for (uint32_t i = 0; i < relation->n; i++) {
        const struct dgf_pg_type *type = type_of(self, relation->type_oids[i]);
        static const struct dgf_pg_type unknown = {
            0, DGF_PG_CODEC_OPAQUE, DGF_TYPE_OPAQUE, ',', "unknown", NULL};

        relation->types[i] = type ? type : &unknown;
        columns[i].type = relation->types[i]->type;
    }
    if (dgf_object_new("postgres", self->database, name->schema, name->name, columns,
                       relation->n, ++self->version, &object)) {
        out_of_memory(self);
        return;
    }
    dgf_object_unref(relation->object);
    relation->object = object;
    relation->wanted = dgf_pg_table_wanted(DGF_PG_CONF(self), object->text);
    if (dgf_map_put(&catalog->relations, key_of(&relation->oid), relation, &old)) {
        out_of_memory(self);
        return;
    }
    catalog->pending = NULL;
    free_columns(columns, relation->n);
    catalog->columns = NULL;
    catalog->last = NULL;
    free_relation(old);
    dgf_pg_stream_go_on(self);
}

static void on_types(struct dgf_pg_source *self, PGresult *result)
{
    if (!dgf_pg_result_good(self, result, "cannot read types from the catalogue"))
        return;
    for (int row = 0; row < PQntuples(result); row++)
        (void)resolve(self, result, oid_at(result, row, 0), 0);
    install(self);
}

/* Asks for the types that are not known yet. */
static void ask_types(struct dgf_pg_source *self)
{
    const struct dgf_pg_relation *relation = self->catalog.pending;
    struct dgf_buf oids;
    const char *values[1];
    unsigned n = 0;

    dgf_buf_init(&oids, 64 * 1024);
    dgf_buf_add_byte(&oids, '{');
    for (uint32_t i = 0; i < relation->n; i++)
        if (!dgf_pg_type_builtin(relation->type_oids[i])) {
            if (n++)
                dgf_buf_add_byte(&oids, ',');
            dgf_buf_add_u64(&oids, relation->type_oids[i]);
        }
    dgf_buf_add_byte(&oids, '}');
    values[0] = dgf_buf_str(&oids);
    if (dgf_buf_rc(&oids))
        out_of_memory(self);
    else if (n == 0)
        install(self);
    else
        dgf_pg_link_query(&self->control, types_sql, 1, values, on_types);
    dgf_buf_release(&oids);
}

static void on_columns(struct dgf_pg_source *self, PGresult *result)
{
    struct dgf_pg_relation *relation = self->catalog.pending;
    struct dgf_column *columns = self->catalog.columns;

    if (!dgf_pg_result_good(self, result, "cannot read columns from the catalogue"))
        return;
    if ((uint32_t)PQntuples(result) != relation->n) {
        self->failed = true;
        dgf_source_fail(&self->base, DGF_RETRY,
                        "cannot read columns of '%s': %d rows for %u columns",
                        relation->object->text, PQntuples(result), relation->n);
        return;
    }
    for (uint32_t i = 0; i < relation->n; i++) {
        int row = (int)i;

        columns[i].type_name = dgf_strdup(PQgetvalue(result, row, 0));
        if (!PQgetisnull(result, row, 1))
            columns[i].comment = dgf_strdup(PQgetvalue(result, row, 1));
        columns[i].key =
            dgf_pg_is_key(relation, i, PQgetvalue(result, row, 2)[0] == 't');
        if (!columns[i].type_name ||
            (!PQgetisnull(result, row, 1) && !columns[i].comment)) {
            out_of_memory(self);
            return;
        }
    }
    ask_types(self);
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

enum dgf_rc dgf_pg_catalog_relation(struct dgf_pg_source *self,
                                    const struct dgf_pgoutput *message)
{
    struct dgf_pg_catalog *catalog = &self->catalog;
    struct dgf_pg_relation *known = dgf_pg_catalog_find(self, message->relation.oid);
    struct dgf_buf oid, lists[3];
    const char *values[4];
    bool good;

    if (known && same_relation(known, message))
        return DGF_OK;
    if (self->control.state != DGF_PG_LINK_IDLE)
        return DGF_AGAIN; /* an inspection is under way; its end goes on */
    drop_pending(catalog);
    catalog->pending = new_relation(message);
    if (!catalog->pending || !own_names(catalog, message)) {
        out_of_memory(self);
        return DGF_RETRY;
    }
    dgf_buf_init(&oid, 64);
    dgf_buf_add_u64(&oid, message->relation.oid);
    values[0] = dgf_buf_str(&oid);
    good = !dgf_buf_rc(&oid);
    for (int i = 0; i < 3; i++) {
        dgf_buf_init(&lists[i], 4 << 20);
        add_array(&lists[i], message, i);
        values[i + 1] = dgf_buf_str(&lists[i]);
        good = good && !dgf_buf_rc(&lists[i]);
    }
    if (good)
        dgf_pg_link_query(&self->control, columns_sql, 4, values, on_columns);
    else
        out_of_memory(self);
    dgf_buf_release(&oid);
    for (int i = 0; i < 3; i++)
        dgf_buf_release(&lists[i]);
    return self->failed ? DGF_RETRY : DGF_AGAIN;
}
