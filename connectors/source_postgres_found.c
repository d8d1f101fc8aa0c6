#include "base/parse.h"
#include "source_postgres.h"

/* `dgf check`: the tables as the stream would tell them, one row a column.  While
 * there is no publication yet ($2), every table it could have. */
static const char found_sql[] =
    "SELECT c.oid, n.nspname, c.relname, c.relreplident, a.attname, a.atttypid,"
    " a.atttypmod, c.relreplident = 'f' OR coalesce(a.attnum = ANY (i.indkey), false)"
    " FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_publication_tables t ON t.pubname = $1"
    " AND t.schemaname = n.nspname AND t.tablename = c.relname"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped"
    " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND CASE c.relreplident"
    " WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END"
    " WHERE (t.pubname IS NOT NULL OR $2::bool AND c.relkind IN ('r', 'p')"
    " AND NOT c.relispartition AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'"
    " AND n.nspname <> 'information_schema')";

static uint32_t u32_at(const PGresult *result, int row, int column)
{
    uint64_t value = 0;

    (void)dgf_parse_u64(dgf_bytes_str(PQgetvalue(result, row, column)), &value);
    return (uint32_t)value;
}

/* Rows first..end-1 as the R message the stream would send. */
static void as_message(const PGresult *result, int first, int end,
                       struct dgf_pgoutput *ret)
{
    ret->type = DGF_PG_RELATION;
    ret->relation.oid = u32_at(result, first, 0);
    ret->relation.schema = dgf_bytes_str(PQgetvalue(result, first, 1));
    ret->relation.name = dgf_bytes_str(PQgetvalue(result, first, 2));
    ret->relation.identity = (uint8_t)PQgetvalue(result, first, 3)[0];
    ret->relation.n = 0;
    for (int row = first; row < end && ret->relation.n < DGF_PG_MAX_COLUMNS; row++) {
        struct dgf_pg_attribute *to = &ret->attributes[ret->relation.n++];
        int64_t typmod = -1;

        (void)dgf_parse_i64(dgf_bytes_str(PQgetvalue(result, row, 6)), &typmod);
        *to = (struct dgf_pg_attribute){
            .identity = PQgetvalue(result, row, 7)[0] == 't',
            .name = dgf_bytes_str(PQgetvalue(result, row, 4)),
            .type = u32_at(result, row, 5),
            .typmod = (int32_t)typmod,
        };
    }
}

static enum dgf_rc tell(struct dgf_pg_source *self, PGconn *conn,
                        const PGresult *result, struct dgf_err *err)
{
    struct dgf_pgoutput *message = dgf_calloc(1, sizeof(*message));
    int n = PQntuples(result), end;
    enum dgf_rc rc = DGF_OK;

    if (!message)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    for (int row = 0; row < n && !rc; row = end) {
        const struct dgf_pg_relation *relation;

        for (end = row + 1; end < n && u32_at(result, end, 0) == u32_at(result, row, 0);
             end++)
            ;
        as_message(result, row, end, message);
        rc = dgf_pg_catalog_read(self, conn, message, err);
        relation = rc ? NULL : dgf_pg_catalog_find(self, message->relation.oid);
        if (relation && relation->wanted)
            dgf_source_found(&self->base, relation->object);
    }
    dgf_free(message);
    return rc;
}

enum dgf_rc dgf_pg_found(struct dgf_pg_source *self, PGconn *conn,
                         const char *publication, int version_num, bool published,
                         struct dgf_err *err)
{
    const char *values[] = {publication, published ? "false" : "true"};
    struct dgf_buf sql;
    PGresult *result;
    enum dgf_rc rc;

    dgf_buf_init(&sql, 8192);
    dgf_buf_add_str(&sql, found_sql);
    if (version_num >= 150000)
        dgf_buf_add_str(&sql,
                        " AND (t.attnames IS NULL OR a.attname = ANY (t.attnames))");
    /* Generated columns are published by PostgreSQL 18 and later, when asked to. */
    dgf_buf_add_str(&sql, version_num >= 180000
                              ? " AND (a.attgenerated = '' OR t.attnames IS NOT NULL)"
                              : " AND a.attgenerated = ''");
    dgf_buf_add_str(&sql, " ORDER BY c.oid, a.attnum");
    result = PQexecParams(conn, dgf_buf_str(&sql), 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        rc = tell(self, conn, result, err);
    } else {
        char text[512];

        dgf_pg_one_line(PQresultErrorMessage(result), text, sizeof(text));
        rc = dgf_err_set(err, DGF_RETRY, "%s", text);
    }
    PQclear(result);
    dgf_buf_release(&sql);
    return rc;
}
