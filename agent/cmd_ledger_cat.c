/* cmd_ledger_cat.c - `dgf ledger cat`: records of a journal or of an archive, byte for
 * byte, and which of them are wanted. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/parse.h"
#include "bus/sink.h"
#include "cmd_ledger.h"
#include "ledger/archive_checked.h"
#include "ledger/archive_line.h"
#include "ledger/reader.h"
#include "ledger/store.h"

DGF_CLEANUP_OF(struct dgf_store *, dgf_store_free)
DGF_CLEANUP_OF(struct dgf_archive_checked *, dgf_archive_checked_free)

#define MAX_KINDS 32

/* An index or a time; records are in the order of their indices only. */
struct bound {
    bool is_time;
    uint64_t index;
    int64_t time_ns;
};

struct cat {
    struct bound since, until;
    char *kinds[MAX_KINDS], *policy;
    struct dgf_select select;
    struct dgf_bytes source; /* empty: all */
    bool filters;            /* the header must be looked at */
    /* Names that were met, for who asked for one that was not; at most MOST_NAMES. */
    struct dgf_map sources, policies;
};

#define MOST_NAMES 20

static int read_bound(const struct dgf_args *args, const char *name, struct bound *ret)
{
    const char *text = dgf_args_get(args, name);

    if (!text || dgf_parse_u64(dgf_bytes_str(text), &ret->index))
        return DGF_EXIT_OK;
    ret->is_time = true;
    if (dgf_parse_time(dgf_bytes_str(text), &ret->time_ns))
        return DGF_EXIT_OK;
    return dgf_usage("ledger",
                     "--%s must be an index or a time like 2026-03-02T09:00:00Z", name);
}

static int read_kinds(const char *text, struct cat *cat)
{
    while (text && *text) {
        size_t n = strcspn(text, ",");

        if (cat->select.kinds.n == MAX_KINDS)
            return dgf_usage("ledger", "--kind names too many kinds");
        cat->kinds[cat->select.kinds.n] = dgf_strndup(text, n);
        if (!cat->kinds[cat->select.kinds.n])
            return DGF_EXIT_CANNOT;
        if (dgf_record_kind_of(dgf_bytes_of(text, n)) < 0)
            return dgf_usage_kind("ledger", cat->kinds[cat->select.kinds.n]);
        cat->select.kinds.n++;
        text += n + (text[n] == ',');
    }
    return DGF_EXIT_OK;
}

static int read_cat(const struct dgf_args *args, struct cat *cat)
{
    const char *source = dgf_args_get(args, "source");
    int exit_code = read_bound(args, "since", &cat->since);

    cat->until.index = UINT64_MAX;
    dgf_map_init(&cat->sources);
    dgf_map_init(&cat->policies);
    if (!exit_code)
        exit_code = read_bound(args, "until", &cat->until);
    cat->select.kinds.list = cat->kinds;
    if (!exit_code)
        exit_code = read_kinds(dgf_args_get(args, "kind"), cat);
    cat->policy = (char *)(uintptr_t)dgf_args_get(args, "policy");
    if (cat->policy) {
        cat->select.policies.list = &cat->policy;
        cat->select.policies.n = 1;
    }
    cat->source = dgf_bytes_str(source);
    cat->filters = source || cat->policy || cat->select.kinds.n || cat->since.is_time ||
                   cat->until.is_time;
    return exit_code;
}

static void note_name(struct dgf_map *map, struct dgf_bytes name)
{
    if (name.len > 0 && map->n < MOST_NAMES && !dgf_map_get(map, name) &&
        dgf_map_put(map, name, map, NULL))
        return; /* out of memory: a hint is shorter */
}

/* Nothing of a name that was asked for: a mistake looks like silence otherwise. */
static void tell_names(const char *what, struct dgf_bytes wanted,
                       const struct dgf_map *map)
{
    const struct dgf_map_entry *entry;
    const char *between = "";

    if (wanted.len == 0 || dgf_map_get(map, wanted) ||
        memchr(wanted.ptr, '*', wanted.len))
        return;
    fprintf(stderr, "dgf ledger: no record of %s '%.*s'; ", what, (int)wanted.len,
            (const char *)wanted.ptr);
    if (map->n == 0)
        fprintf(stderr, "the records that were read name none");
    for (size_t at = 0; (entry = dgf_map_next(map, &at)); between = ", ")
        fprintf(stderr, "%s%.*s", *between ? between : "there are records of ",
                (int)entry->key.len, (const char *)entry->key.ptr);
    fprintf(stderr, map->n == MOST_NAMES ? " ...\n" : "\n");
}

static void tell_unknown(const struct cat *cat)
{
    tell_names("source", cat->source, &cat->sources);
    tell_names("policy", dgf_bytes_str(cat->policy), &cat->policies);
}

static bool is_wanted(struct cat *cat, const struct dgf_record *record)
{
    note_name(&cat->sources, record->source);
    note_name(&cat->policies, record->policy);
    if (cat->since.is_time && record->time_ns < cat->since.time_ns)
        return false;
    if (cat->until.is_time && record->time_ns >= cat->until.time_ns)
        return false;
    if (cat->source.len > 0 && !dgf_bytes_eq(cat->source, record->source))
        return false;
    return (!cat->policy || record->policy.len > 0) &&
           dgf_select_match(&cat->select, record);
}

static int print_lines(struct cat *cat, struct dgf_ledger_reader *reader,
                       enum dgf_rc *ret_rc, struct dgf_err *err)
{
    for (;;) {
        struct dgf_record record;
        struct dgf_leaf leaf;
        enum dgf_rc rc = dgf_ledger_reader_next(reader, &leaf, err);

        if (rc == DGF_AGAIN ||
            (!rc && !cat->until.is_time && leaf.index >= cat->until.index))
            return DGF_EXIT_OK;
        if (!rc && cat->filters &&
            dgf_record_get(leaf.header, leaf.line, leaf.index, &record))
            rc = dgf_err_set(err, DGF_BAD_DATA,
                             "the header of record %" PRIu64 " cannot be read",
                             leaf.index);
        *ret_rc = rc;
        if (rc)
            return DGF_EXIT_FINDINGS;
        if (cat->filters && !is_wanted(cat, &record))
            continue;
        if (fwrite(leaf.line.ptr, 1, leaf.line.len, stdout) != leaf.line.len ||
            putchar('\n') == EOF)
            return DGF_EXIT_CANNOT; /* the caller says why */
    }
}

/* Prints from index `from`, or from what is kept by now.  An agent may prune
 * what is about to be read: that is no damage. */
static int print_from(const char *dir, struct cat *cat, uint64_t from)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_err err = {0}, none;
    uint64_t first = 0, at = from;
    enum dgf_rc rc = dgf_ledger_reader_open_cold(dir, from, &reader, &err);
    int exit_code = rc ? DGF_EXIT_CANNOT : print_lines(cat, reader, &rc, &err);

    if (reader)
        at = dgf_ledger_reader_index(reader);
    dgf_ledger_reader_free(reader);
    if (!rc)
        return exit_code;
    if (!dgf_ledger_first_kept(dir, &first, &none) && first > at) {
        if (at == from)
            return print_from(dir, cat, first);
        fprintf(stderr,
                "dgf ledger: records %" PRIu64 " to %" PRIu64
                " were pruned before they could be read\n",
                at, first - 1);
        return DGF_EXIT_CANNOT;
    }
    return ledger_fail(rc, &err);
}

static int cat_journal(const char *dir, struct cat *cat, bool since)
{
    uint64_t first, from;
    int exit_code = ledger_find_journal(dir, &first);

    if (exit_code)
        return exit_code;
    from = cat->since.index > first ? cat->since.index : first;
    if (since && !cat->since.is_time && from > cat->since.index)
        fprintf(stderr, "dgf ledger: records before %" PRIu64 " were pruned\n", from);
    return print_from(dir, cat, from);
}

/* ---- archives ------------------------------------------------------------ */

static struct dgf_bytes text_at(const json_t *object, const char *field)
{
    return dgf_bytes_str(json_string_value(json_object_get(object, field)));
}

/* What a leaf's header would say, from its line; *ret_json owns the texts. */
static bool record_of(struct dgf_bytes line, struct dgf_record *ret, json_t **ret_json)
{
    const json_t *policy;
    struct dgf_err err;
    int kind, severity;

    memset(ret, 0, sizeof(*ret));
    if (dgf_json_parse_record(line, ret_json, &err))
        return false;
    policy = json_object_get(*ret_json, "policy");
    kind = dgf_record_kind_of(text_at(*ret_json, "kind"));
    severity = dgf_severity_of(text_at(policy, "severity"));
    ret->line = line;
    ret->kind = (enum dgf_record_kind)(kind < 0 ? 0 : kind);
    ret->severity = (enum dgf_severity)(severity < 0 ? 0 : severity);
    ret->policy = text_at(policy, "id");
    ret->source = text_at(*ret_json, "source");
    if (ret->source.len == 0)
        ret->source = text_at(json_object_get(*ret_json, "event"), "source");
    return kind >= 0 && dgf_parse_time(text_at(*ret_json, "time"), &ret->time_ns);
}

void ledger_tell(void *ctx, const char *text)
{
    (void)ctx;
    fprintf(stderr, "dgf ledger: %s\n", text);
}

static int each_wanted(struct cat *cat, struct dgf_archive_checked *reader,
                       ledger_visit visit, void *ctx)
{
    struct dgf_err err = {0};

    for (;;) {
        DGF_CLEANUP_JSON json_t *json = NULL;
        struct dgf_record record;
        struct dgf_bytes line;
        uint64_t index;
        enum dgf_rc rc = dgf_archive_checked_next(reader, &index, &line, &err);
        int exit_code;

        if (rc == DGF_AGAIN)
            return DGF_EXIT_OK;
        if (!rc && cat->filters && !record_of(line, &record, &json))
            rc = dgf_err_set(&err, DGF_BAD_DATA,
                             "record %" PRIu64 " in 'segments/%" PRIu64
                             ".ndjson.zst' cannot be read",
                             index, dgf_archive_checked_segment(reader));
        if (rc)
            return ledger_fail(rc, &err);
        if (cat->filters && !is_wanted(cat, &record))
            continue;
        exit_code = visit(ctx, index, dgf_archive_checked_segment(reader), line);
        if (exit_code)
            return exit_code;
    }
}

static void cat_release(struct cat *cat)
{
    for (size_t i = 0; i < MAX_KINDS; i++)
        dgf_free(cat->kinds[i]);
    dgf_map_release(&cat->sources, NULL);
    dgf_map_release(&cat->policies, NULL);
}

int ledger_each(const struct dgf_args *args, struct dgf_store *store,
                ledger_visit visit, void *ctx)
{
    DGF_CLEANUP(dgf_archive_checked_free) struct dgf_archive_checked *reader = NULL;
    DGF_RELEASE(cat_release) struct cat cat = {.select.min_severity = 0};
    struct dgf_err err = {0};
    int exit_code = read_cat(args, &cat);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    /* Where times were asked for, nobody knows whose are those that are missing. */
    rc = dgf_archive_checked_open(store, cat.since.index, cat.until.index, ledger_tell,
                                  NULL, &reader, &err);
    exit_code = rc ? ledger_fail(rc, &err) : each_wanted(&cat, reader, visit, ctx);
    if (exit_code)
        return exit_code;
    tell_unknown(&cat);
    return dgf_archive_checked_lacks(reader) ? DGF_EXIT_CANNOT : DGF_EXIT_OK;
}

static int print_line(void *ctx, uint64_t index, uint64_t segment,
                      struct dgf_bytes line)
{
    (void)ctx;
    (void)index;
    (void)segment;
    return fwrite(line.ptr, 1, line.len, stdout) != line.len || putchar('\n') == EOF
               ? DGF_EXIT_CANNOT /* the caller says why */
               : DGF_EXIT_OK;
}

int ledger_cat(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_RELEASE(cat_release) struct cat cat = {.select.min_severity = 0};
    int exit_code;

    (void)as_json; /* lines are JSON */
    if (!ledger_is_archive(dir)) {
        exit_code = read_cat(args, &cat);
        if (!exit_code)
            exit_code = cat_journal(dir, &cat, dgf_args_has(args, "since"));
        if (!exit_code)
            tell_unknown(&cat);
        return exit_code;
    }
    exit_code = ledger_open_archive(dir, &store);
    return exit_code ? exit_code : ledger_each(args, store, print_line, NULL);
}
