#include <stdio.h>

#include "base/parse.h"
#include "source_postgres.h"

/* The tables a publication has, as source memory keeps them.
 *
 *   tables   one line each, "<oid> <schema.table>": published when last seen
 *   missing  "<oid> <position> <lsn> <schema.table>": wanted and not published, said
 *            up to that position; lsn: it is back, or dropped, and the stream has to
 *            pass there before its gap is over; 0: still missing
 *   seen     the position before which all lines of `tables` were published
 *
 * Without `tables` in the configuration the publication itself says what is wanted:
 * a table that leaves it is one gap and no more. */
/* A value of source memory has a limit, so the lines stand in pieces: "tables",
 * "tables.1" and so on, up to one that is empty or was never written. */
#define PIECE_BYTES ((size_t)512 << 10)
#define MEMORY_MAX ((size_t)64 << 20)

/* The LSN is read after the snapshot: whoever changed the publication committed
 * before it. */
static const char tables_sql[] =
    "SELECT c.oid, n.nspname, c.relname, coalesce(p.published, false),"
    " CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"
    " ELSE pg_catalog.pg_current_wal_insert_lsn() END,"
    " CASE WHEN p.published THEN NULL ELSE" DGF_PG_KEYLESS_FIX_SQL " END"
    " FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_publication v ON v.pubname = $1"
    " LEFT JOIN (SELECT schemaname, tablename, true AS published"
    " FROM pg_catalog.pg_publication_tables WHERE pubname = $1) p"
    " ON p.schemaname = n.nspname AND p.tablename = c.relname"
    " WHERE c.relkind IN ('r', 'p') AND (p.published OR c.oid = ANY ($2::oid[])"
    " OR $3::bool AND c.relpersistence = 'p' AND n.nspname !~ '^pg_'"
    " AND n.nspname <> 'information_schema'"
    " AND CASE WHEN v.pubviaroot THEN NOT c.relispartition ELSE c.relkind = 'r' END)"
    " ORDER BY c.oid";

/* ---- source memory ---- */

static struct dgf_bytes piece_key(char *to, size_t size, const char *name,
                                  unsigned piece)
{
    if (piece)
        (void)snprintf(to, size, "%s.%u", name, piece);
    else
        (void)snprintf(to, size, "%s", name);
    return dgf_bytes_str(to);
}

/* All lines; none when nothing is remembered. */
static void recall(struct dgf_pg_source *self, const char *name, struct dgf_buf *ret)
{
    char key[32];

    for (unsigned piece = 0;; piece++) {
        size_t before = ret->len;

        if (dgf_source_get_state(&self->base, piece_key(key, sizeof(key), name, piece),
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

static enum dgf_rc remember(struct dgf_pg_source *self, const char *name,
                            struct dgf_bytes lines)
{
    char key[32];
    unsigned piece = 0;
    enum dgf_rc rc = DGF_OK;

    do {
        size_t len = piece_len(lines);

        rc = dgf_source_put_state(&self->base,
                                  piece_key(key, sizeof(key), name, piece++),
                                  dgf_bytes_of(lines.ptr, len));
        lines = dgf_bytes_of(lines.ptr + len, lines.len - len);
    } while (!rc && lines.len > 0);
    if (!rc) /* of more that were there before, nothing is read */
        rc = dgf_source_put_state(&self->base, piece_key(key, sizeof(key), name, piece),
                                  DGF_BYTES(""));
    return rc;
}

/* The next line, which ends in '\n'; false: none. */
static bool next_line(struct dgf_bytes *lines, struct dgf_bytes *ret)
{
    const uint8_t *end = lines->len ? memchr(lines->ptr, '\n', lines->len) : NULL;

    if (!end)
        return false;
    *ret = dgf_bytes_of(lines->ptr, (size_t)(end - lines->ptr));
    *lines = dgf_bytes_of(end + 1, lines->len - ret->len - 1);
    return true;
}

/* What stands before the next space, or all of it. */
static struct dgf_bytes next_word(struct dgf_bytes *line)
{
    const uint8_t *end = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    struct dgf_bytes word =
        dgf_bytes_of(line->ptr, end ? (size_t)(end - line->ptr) : line->len);
    size_t used = word.len + (end ? 1 : 0);

    *line = dgf_bytes_of(line->ptr + used, line->len - used);
    return word;
}

static void add_oids(struct dgf_buf *oids, struct dgf_bytes lines)
{
    struct dgf_bytes line;

    while (next_line(&lines, &line)) {
        dgf_buf_add_byte(oids, oids->len ? ',' : '{');
        dgf_buf_add_bytes(oids, next_word(&line));
    }
}

void dgf_pg_tables_ask(struct dgf_pg_source *self, dgf_pg_on_result *on_result)
{
    struct dgf_buf oids, memory;
    const char *values[3] = {self->publication, NULL,
                             DGF_PG_CONF(self)->tables.n ? "true" : "false"};

    dgf_buf_init(&oids, 16 << 20);
    dgf_buf_init(&memory, MEMORY_MAX);
    recall(self, "tables", &memory);
    add_oids(&oids, dgf_buf_bytes(&memory));
    dgf_buf_clear(&memory);
    recall(self, "missing", &memory);
    add_oids(&oids, dgf_buf_bytes(&memory));
    dgf_buf_add_str(&oids, oids.len ? "}" : "{}");
    values[1] = dgf_buf_str(&oids);
    self->asked = self->position;
    dgf_pg_link_query(&self->control, tables_sql, 3, values, on_result);
    dgf_buf_release(&oids);
    dgf_buf_release(&memory);
}

/* ---- comparing ---- */

struct absent { /* one line of `missing` */
    struct dgf_bytes oid, name;
    struct dgf_pg_position from;
    uint64_t back_lsn;
    bool still;
};

struct comparison {
    struct dgf_pg_source *self;
    struct dgf_buf before, missing;         /* lines as they were */
    struct dgf_buf now, now_missing;        /* ... and are */
    struct dgf_buf line, lacking, sql_name; /* lacking: names for a person */
    struct dgf_map published;               /* oids and names of before */
    struct dgf_map absent;                  /* oid -> struct absent */
    struct dgf_map names;                   /* of all tables that were seen */
    struct dgf_pg_position seen;
    bool has_seen;
    size_t n_lacking;
    const char *keyless; /* SQL that gives one of them a replica identity; NULL: none */
    uint64_t lsn;
};

static void comparison_release(struct comparison *c)
{
    struct dgf_buf *bufs[] = {&c->before, &c->missing, &c->now,     &c->now_missing,
                              &c->line,   &c->lacking, &c->sql_name};

    for (size_t i = 0; i < DGF_ARRAY_LEN(bufs); i++)
        dgf_buf_release(bufs[i]);
    dgf_map_release(&c->published, NULL);
    dgf_map_release(&c->names, NULL);
    dgf_map_release(&c->absent, dgf_free);
}

/* A set; any pointer that is not NULL will do. */
static enum dgf_rc put(struct dgf_map *set, struct dgf_bytes key)
{
    return dgf_map_put(set, key, set, NULL);
}

static int nibble(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_absent(struct dgf_bytes line, struct absent *ret)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_bytes hex;

    ret->oid = next_word(&line);
    hex = next_word(&line);
    if (hex.len != 2 * sizeof(bytes))
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        int high = nibble(hex.ptr[2 * i]), low = nibble(hex.ptr[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (!dgf_pg_position_read(dgf_bytes_of(bytes, sizeof(bytes)), &ret->from) ||
        !dgf_parse_u64(next_word(&line), &ret->back_lsn))
        return false;
    ret->name = line;
    return true;
}

static void add_absent(struct dgf_buf *lines, const struct absent *absent)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[DGF_PG_POSITION_BYTES];

    dgf_pg_position_write(&absent->from, bytes);
    dgf_buf_add_bytes(lines, absent->oid);
    dgf_buf_add_byte(lines, ' ');
    for (size_t i = 0; i < sizeof(bytes); i++) {
        dgf_buf_add_byte(lines, (uint8_t)digits[bytes[i] >> 4]);
        dgf_buf_add_byte(lines, (uint8_t)digits[bytes[i] & 15]);
    }
    dgf_buf_add_byte(lines, ' ');
    dgf_buf_add_u64(lines, absent->back_lsn);
    dgf_buf_add_byte(lines, ' ');
    dgf_buf_add_bytes(lines, absent->name);
    dgf_buf_add_byte(lines, '\n');
}

static enum dgf_rc recall_all(struct comparison *c)
{
    struct dgf_bytes lines, line;
    struct dgf_buf seen;
    enum dgf_rc rc = DGF_OK;

    dgf_buf_init(&seen, 4096);
    c->has_seen = !dgf_source_get_state(&c->self->base, DGF_BYTES("seen"), &seen) &&
                  dgf_pg_position_read(dgf_buf_bytes(&seen), &c->seen);
    dgf_buf_release(&seen);
    recall(c->self, "tables", &c->before);
    lines = dgf_buf_bytes(&c->before);
    while (!rc && next_line(&lines, &line)) {
        rc = put(&c->published, next_word(&line));
        rc = rc ? rc : put(&c->published, line);
    }
    recall(c->self, "missing", &c->missing);
    lines = dgf_buf_bytes(&c->missing);
    while (!rc && next_line(&lines, &line)) {
        struct absent *absent = dgf_calloc(1, sizeof(*absent));
        void *old = NULL;

        if (!absent)
            return DGF_NOMEM;
        if (!read_absent(line, absent)) {
            dgf_free(absent);
            continue;
        }
        rc = dgf_map_put(&c->absent, absent->oid, absent, &old);
        dgf_free(rc ? absent : old);
    }
    return rc;
}

static bool tell(struct comparison *c, const struct dgf_pg_position *from,
                 const char *fmt, struct dgf_bytes table) __attribute__((nonnull));

/* fmt takes the publication and the table. */
static bool tell(struct comparison *c, const struct dgf_pg_position *from,
                 const char *fmt, struct dgf_bytes table)
{
    struct dgf_pg_source *self = c->self;
    char name[256], text[512];
    const char *detail[] = {"table", name, "publication", self->publication};
    const char *at = strstr(fmt, "%P"), *then = strstr(fmt, "%T");

    (void)snprintf(name, sizeof(name), "%.*s", (int)table.len, (const char *)table.ptr);
    (void)snprintf(text, sizeof(text), "%.*s'%s'%.*s'%s'%s", (int)(at - fmt), fmt,
                   self->publication, (int)(then - at - 2), at + 2, name, then + 2);
    return dgf_pg_emit_gap(self, DGF_GAP_PUBLICATION_CHANGED, from, &self->position,
                           text, detail, 2);
}

static void add_lacking(struct comparison *c, const PGresult *result, int row,
                        struct dgf_bytes name)
{
    if (PQnfields(result) > 5 && !PQgetisnull(result, row, 5))
        c->keyless = PQgetvalue(result, row, 5);
    if (c->n_lacking++ >= 3)
        return;
    if (c->n_lacking == 1) {
        dgf_pg_quote(&c->sql_name, PQgetvalue(result, row, 1), '"');
        dgf_buf_add_byte(&c->sql_name, '.');
        dgf_pg_quote(&c->sql_name, PQgetvalue(result, row, 2), '"');
    } else {
        dgf_buf_add_str(&c->lacking, ", ");
    }
    dgf_buf_add_byte(&c->lacking, '\'');
    dgf_buf_add_bytes(&c->lacking, name);
    dgf_buf_add_byte(&c->lacking, '\'');
}

/* A wanted table that is not published. */
static enum dgf_rc take_missing(struct comparison *c, const PGresult *result, int row,
                                struct dgf_bytes oid, struct dgf_bytes name)
{
    struct absent *absent = dgf_map_get(&c->absent, oid);
    struct absent fresh = {.oid = oid, .name = name, .from = c->self->position};
    bool published;

    if (DGF_PG_CONF(c->self)->tables.n)
        add_lacking(c, result, row, name);
    if (absent) {
        absent->still = true;
        absent->back_lsn = 0;
        return DGF_OK;
    }
    /* Dropped and made again, it has another oid. */
    published = dgf_map_get(&c->published, oid) || dgf_map_get(&c->published, name);
    if (!tell(c, c->has_seen ? &c->seen : &c->self->position,
              published ? "publication %P no longer has table %T"
                        : "publication %P lacks table %T that 'tables' matches",
              name))
        return DGF_RETRY;
    if (DGF_PG_CONF(c->self)->tables.n)
        add_absent(&c->now_missing, &fresh);
    return DGF_OK;
}

static enum dgf_rc take_row(struct comparison *c, PGresult *result, int row)
{
    struct dgf_bytes oid = dgf_bytes_str(PQgetvalue(result, row, 0)), name;

    if (PQnfields(result) > 4)
        (void)dgf_pg_lsn_parse(PQgetvalue(result, row, 4), &c->lsn);
    dgf_buf_clear(&c->line);
    dgf_object_name(&c->line, PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
    name = dgf_buf_bytes(&c->line);
    if (dgf_buf_rc(&c->line) || put(&c->names, name))
        return DGF_NOMEM;
    if (!dgf_pg_table_wanted(DGF_PG_CONF(c->self), dgf_buf_str(&c->line)))
        return DGF_OK;
    if (PQgetvalue(result, row, 3)[0] != 't')
        return take_missing(c, result, row, oid, name);
    c->self->n_tables++;
    dgf_buf_add_bytes(&c->now, oid);
    dgf_buf_add_byte(&c->now, ' ');
    dgf_buf_add_bytes(&c->now, name);
    dgf_buf_add_byte(&c->now, '\n');
    return DGF_OK;
}

/* What was missing and is not any more: its gap is over once the stream has passed
 * what the server had written when that was seen. */
static enum dgf_rc end_absences(struct comparison *c)
{
    uint64_t here = dgf_pg_position_lsn(&c->self->position);
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&c->absent, &at))) {
        struct absent *absent = entry->value;
        bool there;

        if (!absent->still && !absent->back_lsn)
            absent->back_lsn = c->lsn ? c->lsn : 1;
        if (absent->still || here < absent->back_lsn) {
            add_absent(&c->now_missing, absent);
            continue;
        }
        there = dgf_map_get(&c->names, absent->name) != NULL;
        if (!tell(c, &absent->from,
                  there ? "publication %P now has table %T"
                        : "publication %P did not have table %T until it was dropped",
                  absent->name))
            return DGF_RETRY;
    }
    return DGF_OK;
}

/* The first name of `tables` without a pattern that no table has. */
static const char *unknown_name(const struct comparison *c)
{
    const struct dgf_pg_conf *conf = DGF_PG_CONF(c->self);

    for (size_t i = 0; i < conf->tables.n; i++)
        if (!strchr(conf->tables.list[i], '*') &&
            !dgf_map_get(&c->names, dgf_bytes_str(conf->tables.list[i])))
            return conf->tables.list[i];
    return NULL;
}

/* All looks well in slot and lag, and something is not judged. */
static void say_lacking(struct comparison *c)
{
    struct dgf_pg_source *self = c->self;
    const char *unknown = unknown_name(c);

    if (self->n_tables == 0)
        dgf_source_impaired(&self->base,
                            "publication '%s' has no table that 'tables' matches",
                            self->publication);
    else if (c->n_lacking == 1)
        dgf_source_impaired(
            &self->base,
            "publication '%s' lacks table %s that 'tables' matches: its "
            "changes are not judged; run %s%sALTER PUBLICATION \"%s\" ADD "
            "TABLE %s",
            self->publication, dgf_buf_str(&c->lacking), c->keyless ? c->keyless : "",
            c->keyless ? " (it has no replica identity) and then " : "",
            self->publication, dgf_buf_str(&c->sql_name));
    else if (c->n_lacking)
        dgf_source_impaired(&self->base,
                            "publication '%s' lacks %zu tables that 'tables' matches "
                            "(%s%s): their changes are not judged; %srun ALTER "
                            "PUBLICATION \"%s\" ADD TABLE ...",
                            self->publication, c->n_lacking, dgf_buf_str(&c->lacking),
                            c->n_lacking > 3 ? " ..." : "",
                            c->keyless
                                ? "give those without a replica identity one "
                                  "(ALTER TABLE ... REPLICA IDENTITY FULL), then "
                                : "",
                            self->publication);
    else if (unknown)
        dgf_source_impaired(
            &self->base, "'tables' names '%s', and there is no such table to publish",
            unknown);
    else
        dgf_source_impaired(&self->base, "%s", "");
}

static enum dgf_rc remember_all(struct comparison *c)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    enum dgf_rc rc = dgf_buf_rc(&c->now);

    rc = rc ? rc : dgf_buf_rc(&c->now_missing);
    if (!rc && !dgf_bytes_eq(dgf_buf_bytes(&c->now), dgf_buf_bytes(&c->before)))
        rc = remember(c->self, "tables", dgf_buf_bytes(&c->now));
    if (!rc &&
        !dgf_bytes_eq(dgf_buf_bytes(&c->now_missing), dgf_buf_bytes(&c->missing)))
        rc = remember(c->self, "missing", dgf_buf_bytes(&c->now_missing));
    dgf_pg_position_write(&c->self->asked, bytes);
    return rc ? rc
              : dgf_source_put_state(&c->self->base, DGF_BYTES("seen"),
                                     dgf_bytes_of(bytes, sizeof(bytes)));
}

enum dgf_rc dgf_pg_tables_compare(struct dgf_pg_source *self, PGresult *result)
{
    struct comparison c = {.self = self};
    enum dgf_rc rc;

    dgf_buf_init(&c.before, MEMORY_MAX);
    dgf_buf_init(&c.missing, MEMORY_MAX);
    dgf_buf_init(&c.now, MEMORY_MAX);
    dgf_buf_init(&c.now_missing, MEMORY_MAX);
    dgf_buf_init(&c.line, 4096);
    dgf_buf_init(&c.lacking, 4096);
    dgf_buf_init(&c.sql_name, 4096);
    dgf_map_init(&c.published);
    dgf_map_init(&c.absent);
    dgf_map_init(&c.names);
    self->n_tables = 0;
    rc = recall_all(&c);
    for (int row = 0; row < PQntuples(result) && !rc; row++)
        rc = take_row(&c, result, row);
    rc = rc ? rc : end_absences(&c);
    rc = rc ? rc : remember_all(&c);
    if (!rc)
        say_lacking(&c);
    comparison_release(&c);
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
            dgf_pg_fail(self, DGF_RETRY, "out of memory");
            return;
        }
    }
    if (self->waiting)
        dgf_pg_stream_go_on(self);
}

static void on_tables(struct dgf_pg_source *self, PGresult *result)
{
    struct dgf_map_entry *entry;
    struct dgf_buf oids;
    const char *values[1];
    size_t at = 0;

    if (!dgf_pg_result_good(self, result, "cannot read the tables of the publication"))
        return;
    if (dgf_pg_tables_compare(self, result) && !self->failed) {
        dgf_pg_fail(self, DGF_RETRY, "cannot remember the tables of the publication");
    }
    if (self->failed)
        return;
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
