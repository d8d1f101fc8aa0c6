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

/* int2vector and oidvector have elements, but are not written as arrays; an array
 * type has no array of its own. */
const char dgf_pg_types_sql[] =
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

void dgf_pg_type_free(void *ptr)
{
    struct dgf_pg_user_type *type = ptr;

    dgf_free(type->schema);
    dgf_free(type->name);
    dgf_free(type->label);
    dgf_free(type);
}

const struct dgf_pg_type *dgf_pg_type_of(struct dgf_pg_source *self, uint32_t oid)
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
        return user ? dgf_pg_type_of(self, oid) : NULL;
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
    return dgf_pg_type_of(self, oid);
}

unsigned dgf_pg_types_unknown(const struct dgf_pg_relation *relation,
                              struct dgf_buf *oids)
{
    unsigned n = 0;

    dgf_buf_add_byte(oids, '{');
    for (uint32_t i = 0; i < relation->n; i++)
        if (!dgf_pg_type_builtin(relation->type_oids[i])) {
            if (n++)
                dgf_buf_add_byte(oids, ',');
            dgf_buf_add_u64(oids, relation->type_oids[i]);
        }
    dgf_buf_add_byte(oids, '}');
    return n;
}

void dgf_pg_types_take(struct dgf_pg_source *self, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++)
        (void)resolve(self, result, oid_at(result, row, 0), 0);
}
