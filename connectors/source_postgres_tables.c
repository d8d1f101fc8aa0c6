#include <stdio.h>
#include <stdlib.h>

#include "source_postgres.h"

/* The tables a publication has, as source memory keeps them: one line each,
 * "<oid> <schema.table>".  A table that was there and still exists, but is no
 * longer published, is a gap; a dropped one is not. */
static const struct dgf_bytes memory_key = DGF_BYTES("tables");

static const char tables_sql[] =
    "SELECT c.oid, n.nspname, c.relname, coalesce(p.published, false) FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN (SELECT schemaname, tablename, true AS published"
    " FROM pg_catalog.pg_publication_tables WHERE pubname = $1) p"
    " ON p.schemaname = n.nspname AND p.tablename = c.relname"
    " WHERE c.relkind IN ('r', 'p') AND (p.published OR c.oid = ANY ($2::oid[]))"
    " ORDER BY c.oid";

static void table_line(PGresult *result, int row, struct dgf_buf *line)
{
    dgf_buf_clear(line);
    dgf_buf_add_str(line, PQgetvalue(result, row, 0));
    dgf_buf_add_byte(line, ' ');
    dgf_object_name(line, PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
}

/* Was this oid among the lines of memory? */
static bool remembered(struct dgf_bytes memory, const char *oid)
{
    size_t len = strlen(oid), at = 0;

    while (at < memory.len) {
        const uint8_t *line = memory.ptr + at,
                      *end = memchr(line, '\n', memory.len - at);
        size_t n = end ? (size_t)(end - line) : memory.len - at;

        if (n > len && memcmp(line, oid, len) == 0 && line[len] == ' ')
            return true;
        at += n + 1;
    }
    return false;
}

void dgf_pg_tables_ask(struct dgf_pg_source *self, dgf_pg_on_result *on_result)
{
    struct dgf_buf oids, memory;
    const char *values[2] = {self->publication, NULL};
    size_t at = 0;

    dgf_buf_init(&oids, 16 << 20);
    dgf_buf_init(&memory, 64 << 20);
    if (dgf_source_get_state(&self->base, memory_key, &memory))
        dgf_buf_clear(&memory);
    dgf_buf_add_byte(&oids, '{');
    while (at < memory.len) {
        const uint8_t *line = memory.ptr + at,
                      *end = memchr(line, '\n', memory.len - at);

        if (at)
            dgf_buf_add_byte(&oids, ',');
        for (size_t i = 0; at + i < memory.len && line[i] >= '0' && line[i] <= '9'; i++)
            dgf_buf_add_byte(&oids, line[i]);
        at += (end ? (size_t)(end - line) : memory.len - at) + 1;
    }
    dgf_buf_add_byte(&oids, '}');
    values[1] = dgf_buf_str(&oids);
    dgf_pg_link_query(&self->control, tables_sql, 2, values, on_result);
    dgf_buf_release(&oids);
    dgf_buf_release(&memory);
}

static bool tell_missing(struct dgf_pg_source *self, const char *table)
{
    const char *detail[] = {"table", table, "publication", self->publication};
    char text[512];

    (void)snprintf(text, sizeof(text), "publication '%s' no longer has table '%s'",
                   self->publication, table);
    return dgf_pg_emit_gap(self, DGF_GAP_PUBLICATION_CHANGED,
                           self->has_stored || self->streaming ? &self->position : NULL,
                           &self->position, text, detail, 2);
}

enum dgf_rc dgf_pg_tables_compare(struct dgf_pg_source *self, PGresult *result)
{
    const struct dgf_pg_conf *conf = DGF_PG_CONF(self);
    struct dgf_buf line, now, before;
    enum dgf_rc rc = DGF_OK;

    dgf_buf_init(&line, 4096);
    dgf_buf_init(&now, 64 << 20);
    dgf_buf_init(&before, 64 << 20);
    if (dgf_source_get_state(&self->base, memory_key, &before))
        dgf_buf_clear(&before);
    self->n_tables = 0;
    for (int row = 0; row < PQntuples(result) && !rc; row++) {
        const char *oid = PQgetvalue(result, row, 0), *table;

        table_line(result, row, &line);
        table = dgf_buf_str(&line) + strlen(oid) + 1;
        if (dgf_buf_rc(&line) || !dgf_pg_table_wanted(conf, table))
            continue;
        if (PQgetvalue(result, row, 3)[0] == 't') {
            self->n_tables++;
            dgf_buf_add_bytes(&now, dgf_buf_bytes(&line));
            dgf_buf_add_byte(&now, '\n');
        } else if (remembered(dgf_buf_bytes(&before), oid) &&
                   !tell_missing(self, table)) {
            rc = DGF_RETRY;
        }
    }
    if (!rc && !dgf_buf_rc(&now) &&
        !dgf_bytes_eq(dgf_buf_bytes(&now), dgf_buf_bytes(&before)))
        rc = dgf_source_put_state(&self->base, memory_key, dgf_buf_bytes(&now));
    dgf_buf_release(&line);
    dgf_buf_release(&now);
    dgf_buf_release(&before);
    return rc;
}
