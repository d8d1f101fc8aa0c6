/* archive_verify_records.c - what records say of themselves and of each other: index,
 * time, positions of each source, heartbeats, keys. */
#include <inttypes.h>
#include <stdio.h>

#include "base/parse.h"
#include "ledger/archive_part.h"

#define SECOND INT64_C(1000000000)

static void forget(struct source *source)
{
    dgf_free(dgf_steal(source->to));
    dgf_free(dgf_steal(source->since));
    dgf_free(dgf_steal(source->part_from));
    dgf_free(dgf_steal(source->part_to));
}

void follow_release(struct follow *follow)
{
    for (size_t i = 0; i < follow->n_sources; i++) {
        forget(&follow->sources[i]);
        dgf_free(follow->sources[i].name);
    }
    dgf_free(dgf_steal(follow->sources));
    follow->n_sources = 0;
}

static struct source *source_of(struct check *check, const char *name)
{
    struct follow *follow = &check->follow;
    struct source *list;

    for (size_t i = 0; i < follow->n_sources; i++)
        if (strcmp(follow->sources[i].name, name) == 0)
            return &follow->sources[i];
    if (follow->n_sources == MAX_SOURCES) {
        cannot(check, DGF_NOMEM, "the archive has too many sources");
        return NULL;
    }
    list = dgf_realloc(follow->sources, (follow->n_sources + 1) * sizeof(*list));
    if (list) {
        follow->sources = list;
        list += follow->n_sources;
        memset(list, 0, sizeof(*list));
        list->name = dgf_strdup(name);
    }
    if (!list || !list->name) {
        cannot(check, DGF_NOMEM, "cannot verify: out of memory");
        return NULL;
    }
    follow->n_sources++;
    return list;
}

static void set_text(struct check *check, char **text, const char *value)
{
    dgf_free(dgf_steal(*text));
    *text = value ? dgf_strdup(value) : NULL;
    if (value && !*text)
        cannot(check, DGF_NOMEM, "cannot verify: out of memory");
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static const char *text_of(const json_t *record, const char *field)
{
    return json_string_value(json_object_get(record, field));
}

/* Later parts of a record that was divided say the same range again. */
static bool is_later_part(struct check *check, struct source *source,
                          const json_t *record, bool *ret_fits)
{
    const char *from = text_of(record, "from"), *to = text_of(record, "to");
    json_int_t part = json_integer_value(json_object_get(record, "part"));
    bool later = part > 1;

    *ret_fits = same(source->part_from, from) && same(source->part_to, to);
    set_text(check, &source->part_from, from);
    set_text(check, &source->part_to, to);
    return later;
}

static void on_coverage(struct check *check, struct source *source,
                        const json_t *record, uint64_t index, bool *ret_later)
{
    struct follow *follow = &check->follow;
    const char *from = text_of(record, "from");
    bool fits, later = is_later_part(check, source, record, &fits);

    *ret_later = later;
    if (later ? !fits
              : source->to && !same(source->to, from) &&
                    !(source->since && same(source->since, from)))
        found(check, RANK_RECORD, "position", index,
              "record %" PRIu64 ": source '%.60s' does not go on where it ended", index,
              source->name);
    if (source->covered && !source->fresh && !later &&
        follow->logged_ns - source->covered_ns > MAX_DISTANCE_S * SECOND)
        found(check, RANK_RECORD, "heartbeat", index,
              "record %" PRIu64 ": more than 120 s without coverage of source '%.60s'",
              index, source->name);
    source->covered = true;
    source->fresh = false;
    source->covered_ns = follow->logged_ns;
}

static void on_resume(struct check *check, const json_t *record, uint64_t index)
{
    const char *name = text_of(record, "source"), *since = text_of(record, "since");
    struct follow *follow = &check->follow;
    struct source *source = name ? source_of(check, name) : NULL;

    follow->resumed = true;
    if (index == 0)
        take_before(check, json_object_get(record, "detail"));
    for (size_t i = 0; !name && i < follow->n_sources; i++)
        follow->sources[i].fresh = true;
    if (!source)
        return;
    source->fresh = true;
    set_text(check, &source->since, since);
}

static void on_detail(struct check *check, const json_t *record, bool is_key,
                      uint64_t index)
{
    const json_t *detail = json_object_get(record, "detail");
    const json_t *before = json_object_get(detail, "archive_pruned_before");
    const char *op = text_of(detail, "op");

    if (is_key) {
        if (op && strcmp(op, "rotate") == 0 && !key_add_rotation(check, detail, index))
            found(check, RANK_RECORD, "key", index,
                  "record %" PRIu64 ": the new key is not signed by the old one and by "
                  "itself",
                  index);
        return;
    }
    if (json_is_integer(before) && json_integer_value(before) > 0 &&
        (uint64_t)json_integer_value(before) > check->follow.pruned_before)
        check->follow.pruned_before = (uint64_t)json_integer_value(before);
}

/* coverage, gap, resume, key, config: few, so they may cost. */
static void on_special(struct check *check, struct dgf_bytes line,
                       struct dgf_bytes kind, uint64_t index)
{
    DGF_CLEANUP_JSON json_t *record = NULL;
    struct source *source = NULL;
    bool gap = dgf_bytes_eq(kind, DGF_BYTES("gap"));
    bool coverage = dgf_bytes_eq(kind, DGF_BYTES("coverage")), later = false;
    const char *name;
    enum dgf_rc rc = dgf_json_parse_record(line, &record, check->err);

    if (rc == DGF_NOMEM) {
        cannot(check, rc, check->err->text);
        return;
    }
    if (rc || !json_is_object(record)) {
        found(check, RANK_RECORD, "json", index, "record %" PRIu64 " is not JSON",
              index);
        return;
    }
    name = text_of(record, "source");
    if (dgf_bytes_eq(kind, DGF_BYTES("resume"))) {
        on_resume(check, record, index);
        return;
    }
    if (!gap && !coverage) {
        on_detail(check, record, dgf_bytes_eq(kind, DGF_BYTES("key")), index);
        return;
    }
    source = name ? source_of(check, name) : NULL;
    if (!source)
        return;
    if (coverage)
        on_coverage(check, source, record, index, &later);
    if (later)
        return;
    set_text(check, &source->to, text_of(record, "to"));
    set_text(check, &source->since, NULL);
}

static bool is_special(struct dgf_bytes kind)
{
    return dgf_bytes_eq(kind, DGF_BYTES("coverage")) ||
           dgf_bytes_eq(kind, DGF_BYTES("gap")) ||
           dgf_bytes_eq(kind, DGF_BYTES("resume")) ||
           dgf_bytes_eq(kind, DGF_BYTES("key")) ||
           dgf_bytes_eq(kind, DGF_BYTES("config"));
}

/* Most records were logged at the same time as the one before. */
static bool read_logged(struct follow *follow, struct dgf_bytes text, int64_t *ret)
{
    if (follow->has_logged && dgf_bytes_eq(text, follow->logged)) {
        *ret = follow->logged_ns;
        return true;
    }
    if (!dgf_parse_time(text, ret))
        return false;
    if (text.len <= sizeof(follow->logged_text)) {
        memcpy(follow->logged_text, text.ptr, text.len);
        follow->logged = dgf_bytes_of(follow->logged_text, text.len);
    } else {
        follow->logged.len = 0;
    }
    return true;
}

static int64_t seconds(int64_t ns)
{
    return ns >= 0 ? ns / SECOND : -((-ns + SECOND - 1) / SECOND);
}

static bool time_fits(struct check *check, int64_t logged_ns)
{
    struct follow *follow = &check->follow;
    int64_t s = seconds(logged_ns);

    return !(follow->has_logged && logged_ns < follow->logged_ns) && s >= 0 &&
           !(check->has_time && (uint64_t)s < check->time_s) &&
           !(check->step->has_checkpoint && (uint64_t)s > check->checkpoint.time_s);
}

void follow_record(struct check *check, struct dgf_bytes line,
                   const struct dgf_archive_line *fields, uint64_t index)
{
    struct follow *follow = &check->follow;
    int64_t logged_ns = 0;
    uint64_t seq = 0;

    if (!dgf_parse_u64(fields->seq, &seq) || fields->kind.len == 0 ||
        !read_logged(follow, fields->logged, &logged_ns)) {
        found(check, RANK_RECORD, "json", index,
              "record %" PRIu64 " has no index, kind or time", index);
        return;
    }
    if (seq != index)
        found(check, RANK_RECORD, "seq", index,
              "record %" PRIu64 " says it has index %" PRIu64, index, seq);
    if (!time_fits(check, logged_ns))
        found(check, RANK_RECORD, "time", index,
              "record %" PRIu64 " was not logged between the checkpoints around it, or "
              "before the record before it",
              index);
    follow->logged_ns = logged_ns;
    follow->has_logged = true;
    if (!is_special(fields->kind))
        return;
    on_special(check, line, fields->kind, index);
    if (dgf_manifest_line(&check->step->seen, line) == DGF_NOMEM)
        cannot(check, DGF_NOMEM, "cannot verify: out of memory");
}

/* Of a segment without records, the manifest says where its sources stood. */
void follow_absent(struct check *check)
{
    struct step *step = check->step;
    struct follow *follow = &check->follow;

    for (size_t i = 0; i < follow->n_sources; i++)
        follow->sources[i].covered = false;
    follow->has_logged = false;
    follow->resumed = true;
    if (!step->has_manifest)
        for (size_t i = 0; i < follow->n_sources; i++)
            forget(&follow->sources[i]);
    for (size_t i = 0; step->has_manifest && i < step->manifest.n_sources; i++) {
        const struct dgf_manifest_source *at = &step->manifest.sources[i];
        struct source *source = source_of(check, at->name);

        if (!source)
            return;
        /* No records, no `resume` among them: what does not fit may have a reason. */
        forget(source);
        set_text(check, &source->to, at->to);
    }
}
