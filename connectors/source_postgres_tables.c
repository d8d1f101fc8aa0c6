#include <stdio.h>

#include "base/parse.h"
#include "source_postgres.h"

/* The tables a publication has, as source memory keeps them: one line each,
 * "<oid> <schema.table>".  A table that was there and still exists, but is no
 * longer published, is a gap; a dropped one is not. */
/* A value of source memory has a limit, so the lines stand in pieces: "tables",
 * "tables.1" and so on, up to one that is empty or was never written. */
#define PIECE_BYTES ((size_t)512 << 10)
#define MEMORY_MAX ((size_t)64 << 20)

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

static struct dgf_bytes piece_key(char *to, size_t size, unsigned piece)
{
    (void)snprintf(to, size, piece ? "tables.%u" : "tables", piece);
    return dgf_bytes_str(to);
}

/* All lines; none when nothing is remembered. */
static void recall(struct dgf_pg_source *self, struct dgf_buf *ret)
{
    char key[32];

    for (unsigned piece = 0;; piece++) {
        size_t before = ret->len;

        if (dgf_source_get_state(&self->base, piece_key(key, sizeof(key), piece),
                                 ret)) {
            ret->len = before;
            return;
        }
        if (ret->len == before)
            return;
    }
}

/* Whole lines, at most PIECE_BYTES of them. */
static size_t piece_len(struct dgf_bytes lines)
{
    size_t len = lines.len;

    if (len <= PIECE_BYTES)
        return len;
    for (len = PIECE_BYTES; len > 0 && lines.ptr[len - 1] != '\n'; len--)
        ;
    return len;
}

static enum dgf_rc remember(struct dgf_pg_source *self, struct dgf_bytes lines)
{
    char key[32];
    unsigned piece = 0;
    enum dgf_rc rc = DGF_OK;

    do {
        size_t len = piece_len(lines);

        rc = dgf_source_put_state(&self->base, piece_key(key, sizeof(key), piece++),
                                  dgf_bytes_of(lines.ptr, len));
        lines = dgf_bytes_of(lines.ptr + len, lines.len - len);
    } while (!rc && lines.len > 0);
    if (!rc) /* of more that were there before, nothing is read */
        rc = dgf_source_put_state(&self->base, piece_key(key, sizeof(key), piece),
                                  DGF_BYTES(""));
    return rc;
}

void dgf_pg_tables_ask(struct dgf_pg_source *self, dgf_pg_on_result *on_result)
{
    struct dgf_buf oids, memory;
    const char *values[2] = {self->publication, NULL};
    size_t at = 0;

    dgf_buf_init(&oids, 16 << 20);
    dgf_buf_init(&memory, MEMORY_MAX);
    recall(self, &memory);
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
    dgf_buf_init(&now, MEMORY_MAX);
    dgf_buf_init(&before, MEMORY_MAX);
    recall(self, &before);
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
        rc = remember(self, dgf_buf_bytes(&now));
    dgf_buf_release(&line);
    dgf_buf_release(&now);
    dgf_buf_release(&before);
    return rc;
}

/* ---- inspection ---- */

static const char columns_sql[] =
    "SELECT a.attrelid, a.attname, pg_catalog.col_description(a.attrelid, a.attnum),"
    " coalesce(a.attnum = ANY (i.indkey), false) FROM pg_catalog.pg_attribute a"
    " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
    " WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
    " ORDER BY a.attrelid";

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Rows first..end-1 are about relation. */
static enum dgf_rc refresh(struct dgf_pg_source *self, struct dgf_pg_relation *relation,
                           PGresult *result, int first, int end)
{
    const struct dgf_object *object = relation->object;
    struct dgf_column *columns = dgf_calloc(relation->n + 1, sizeof(*columns));
    struct dgf_object *fresh = NULL;
    enum dgf_rc rc = DGF_OK;
    bool changed = false;

    if (!columns)
        return DGF_NOMEM;
    if (relation->n)
        memcpy(columns, object->columns, relation->n * sizeof(*columns));
    for (int row = first; row < end; row++) {
        int i = dgf_object_column(object, dgf_bytes_str(PQgetvalue(result, row, 1)));
        const char *comment =
            PQgetisnull(result, row, 2) ? NULL : PQgetvalue(result, row, 2);
        bool key;

        if (i < 0)
            continue; /* newer than what the stream has told */
        key =
            dgf_pg_is_key(relation, (uint32_t)i, PQgetvalue(result, row, 3)[0] == 't');
        changed =
            changed || key != columns[i].key || !same_text(comment, columns[i].comment);
        columns[i].comment = comment;
        columns[i].key = key;
    }
    if (changed)
        rc = dgf_object_new("postgres", object->database, object->schema, object->name,
                            columns, relation->n, ++self->version, &fresh);
    dgf_free(columns);
    if (rc || !changed)
        return rc;
    dgf_object_unref(relation->object);
    relation->object = fresh;
    return DGF_OK;
}

static void on_columns(struct dgf_pg_source *self, PGresult *result)
{
    int n, end;

    if (!dgf_pg_result_good(self, result, "cannot read columns from the catalogue"))
        return;
    n = PQntuples(result);
    for (int row = 0; row < n; row = end) {
        const char *text = PQgetvalue(result, row, 0);
        struct dgf_pg_relation *relation = NULL;
        uint64_t oid;

        for (end = row + 1; end < n && !strcmp(PQgetvalue(result, end, 0), text); end++)
            ;
        if (dgf_parse_u64(dgf_bytes_str(text), &oid) && oid <= UINT32_MAX)
            relation = dgf_pg_catalog_find(self, (uint32_t)oid);
        if (relation && refresh(self, relation, result, row, end)) {
            self->failed = true;
            dgf_source_fail(&self->base, DGF_RETRY, "out of memory");
            return;
        }
    }
    if (self->waiting)
        dgf_pg_stream_go_on(self);
}

static void on_tables(struct dgf_pg_source *self, PGresult *result)
{
    bool had = self->n_tables > 0;
    struct dgf_map_entry *entry;
    struct dgf_buf oids;
    const char *values[1];
    size_t at = 0;

    if (!dgf_pg_result_good(self, result, "cannot read the tables of the publication"))
        return;
    if (dgf_pg_tables_compare(self, result) && !self->failed) {
        self->failed = true;
        dgf_source_fail(&self->base, DGF_RETRY,
                        "cannot remember the tables of the publication");
    }
    if (self->failed)
        return;
    if (had != (self->n_tables > 0))
        dgf_pg_stream_say(self);
    dgf_buf_init(&oids, 16 << 20);
    while ((entry = dgf_map_next(&self->catalog.relations, &at))) {
        const struct dgf_pg_relation *relation = entry->value;

        dgf_buf_add_byte(&oids, oids.len ? ',' : '{');
        dgf_buf_add_u64(&oids, relation->oid);
    }
    dgf_buf_add_str(&oids, oids.len ? "}" : "{}");
    values[0] = dgf_buf_str(&oids);
    dgf_pg_link_query(&self->control, columns_sql, 1, values, on_columns);
    dgf_buf_release(&oids);
}

void dgf_pg_inspect(struct dgf_pg_source *self)
{
    dgf_pg_tables_ask(self, on_tables);
}
