/* cmd_ledger_archive.c - `dgf ledger verify`, `ls` and `stats` of an archive. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/parse.h"
#include "cmd_ledger.h"
#include "ledger/archive_checked.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_proof.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/marks.h"
#include "ledger/note.h"
#include "ledger/segments.h"
#include "ledger/store.h"

DGF_CLEANUP_OF(struct dgf_store *, dgf_store_free)
DGF_CLEANUP_OF(struct dgf_archive_checked *, dgf_archive_checked_free)

static bool has(const char *dir, const char *name)
{
    char path[DGF_PATH_MAX];

    return snprintf(path, sizeof(path), "%s/%s", dir, name) < (int)sizeof(path) &&
           dgf_file_exists(path);
}

bool ledger_is_archive(const char *dir)
{
    return ledger_is_container(dir) ||
           (!has(dir, "journal") && dgf_store_dir_has_log(dir));
}

int ledger_open_archive(const char *dir, struct dgf_store **ret)
{
    struct dgf_err err = {0};
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    if (ledger_is_container(dir)) {
        rc = ledger_open_container(dir, ret, &err);
        return rc ? ledger_fail(rc, &err) : DGF_EXIT_OK;
    }
    if (snprintf(path, sizeof(path), "%s%s", dir,
                 has(dir, "journal") ? "/archive" : "") >= (int)sizeof(path)) {
        fprintf(stderr, "dgf ledger: the path is too long\n");
        return DGF_EXIT_CANNOT;
    }
    rc = dgf_store_open_dir(path, ret, &err);
    return rc ? ledger_fail(rc, &err) : DGF_EXIT_OK;
}

int ledger_slurp(const char *path, size_t max, struct dgf_buf *ret)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;
    size_t n;

    dgf_buf_init(ret, max + 1);
    if (strcmp(path, "-") == 0) {
        uint8_t *at = dgf_buf_room(ret, max + 1);

        n = at ? fread(at, 1, max + 1, stdin) : 0;
        ret->len = n;
        if (at && n <= max && !ferror(stdin))
            return DGF_EXIT_OK;
        fprintf(stderr, "dgf ledger: cannot read standard input: %s\n",
                n > max ? "it is too long" : "it failed");
        return n > max ? DGF_EXIT_FINDINGS : DGF_EXIT_CANNOT;
    }
    rc = dgf_file_slurp(path, max, ret, &err);
    return rc ? ledger_fail(rc, &err) : DGF_EXIT_OK;
}

static void verdict_json(const struct dgf_archive_verdict *verdict, struct dgf_buf *out)
{
    static const char *const results[] = {"ok", "tampered", "incomplete"};
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    ledger_put_text(&json, "result", results[verdict->result]);
    dgf_json_key(&json, "class");
    if (verdict->class)
        dgf_json_str(&json, verdict->class);
    else
        dgf_json_null(&json);
    dgf_json_key(&json, "index");
    if (verdict->class)
        dgf_json_u64(&json, verdict->index);
    else
        dgf_json_null(&json);
    ledger_put_number(&json, "size", verdict->size);
    ledger_put_hex(&json, "root", verdict->root);
    dgf_json_key(&json, "anchored");
    dgf_json_bool(&json, verdict->is_anchored);
    dgf_json_key(&json, "signed");
    dgf_json_bool(&json, verdict->is_signed);
    ledger_put_number(&json, "segments", verdict->segments);
    dgf_json_key(&json, "pruned");
    dgf_json_begin_array(&json);
    for (size_t i = 0; i < verdict->n_pruned; i++) {
        dgf_json_begin_array(&json);
        dgf_json_u64(&json, verdict->pruned[i].first);
        dgf_json_u64(&json, verdict->pruned[i].last);
        dgf_json_end_array(&json);
    }
    dgf_json_end_array(&json);
    dgf_json_key(&json, "goes_on_from");
    if (verdict->before_log[0]) {
        dgf_json_begin_object(&json);
        ledger_put_text(&json, "log", verdict->before_log);
        ledger_put_number(&json, "size", verdict->before_size);
        dgf_json_end_object(&json);
    } else {
        dgf_json_null(&json);
    }
    ledger_put_finding(&json, verdict->class ? verdict->text : NULL);
    dgf_json_end_object(&json);
}

/* What a recovery has to do with it. */
static void before_human(const struct dgf_archive_verdict *verdict,
                         struct dgf_buf *text)
{
    if (verdict->before_log[0])
        dgf_buf_addf(text, "\ngoes on from log %s at size %" PRIu64,
                     verdict->before_log, verdict->before_size);
    if (verdict->before_anchor > 0)
        dgf_buf_addf(text,
                     "\nan anchor of that log has size %" PRIu64
                     ": verify that log's own archive with it",
                     verdict->before_anchor);
}

static void verdict_human(const struct dgf_archive_verdict *verdict)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    bool tampered = verdict->result == DGF_VERIFIED_TAMPERED;

    dgf_buf_init(&text, 4096);
    if (verdict->result == DGF_VERIFIED_OK)
        dgf_buf_add_str(&text, "ok\n");
    else
        dgf_buf_addf(&text, "%s: %s at index %" PRIu64 ": %s\n",
                     tampered ? "tampered" : "incomplete", verdict->class,
                     verdict->index, verdict->text);
    if (verdict->result == DGF_VERIFIED_OK || verdict->size > 0) { /* of what is good */
        dgf_buf_addf(&text, "%ssize %" PRIu64 "\nroot ",
                     tampered ? "confirmed up to " : "", verdict->size);
        dgf_buf_add_hex(&text, dgf_bytes_of(verdict->root, DGF_SHA256_LEN));
    } else {
        dgf_buf_add_str(&text, "no checkpoint of it is confirmed");
    }
    for (size_t i = 0; i < verdict->n_pruned; i++)
        dgf_buf_addf(&text, "\npruned: records %" PRIu64 " to %" PRIu64 " are not here",
                     verdict->pruned[i].first, verdict->pruned[i].last);
    if (verdict->is_of_newest)
        dgf_buf_add_str(
            &text, "\nwhat is missing is of the newest checkpoint: the copy may be "
                   "of an archive that was being written; copy `checkpoint` and "
                   "`checkpoints/` first, then all the rest");
    before_human(verdict, &text);
    if (verdict->newest_s) {
        dgf_buf_add_str(&text, tampered ? "\nnewest checkpoint that is confirmed "
                                        : "\nnewest checkpoint ");
        dgf_format_timestamp(&text, (int64_t)verdict->newest_s, 0);
    }
    if (!verdict->is_signed)
        dgf_buf_add_str(&text, "\nsignatures: not checked; give the log's key: --key");
    if (verdict->result == DGF_VERIFIED_OK && !verdict->is_anchored)
        dgf_buf_add_str(&text,
                        "\ntail: unverifiable without a checkpoint that was kept "
                        "elsewhere; give it: --anchor FILE");
    printf("%s\n", dgf_buf_str(&text));
}

static int print_verdict(const struct dgf_archive_verdict *verdict, bool as_json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};

    if (as_json) {
        dgf_buf_init(&out, 1 << 20);
        verdict_json(verdict, &out);
        if (ledger_print_json(&out))
            return DGF_EXIT_CANNOT;
        if (verdict->class)
            fprintf(stderr, "dgf ledger: %s\n", verdict->text);
    } else {
        verdict_human(verdict);
    }
    if (verdict->result == DGF_VERIFIED_TAMPERED)
        return DGF_EXIT_FINDINGS;
    if (verdict->result == DGF_VERIFIED_INCOMPLETE)
        return DGF_EXIT_CANNOT;
    return verdict->is_anchored && verdict->is_signed ? DGF_EXIT_OK
                                                      : DGF_EXIT_UNVERIFIABLE;
}

void ledger_anchors_release(struct ledger_anchors *anchors)
{
    for (size_t i = 0; i < anchors->n; i++)
        dgf_buf_release(&anchors->texts[i]);
}

int ledger_read_anchors(const struct dgf_args *args, struct ledger_anchors *ret)
{
    const char *paths[DGF_ARGS_REPEATED_MAX];
    size_t n = dgf_args_all(args, "anchor", paths);

    for (size_t i = 0; i < n; i++) {
        struct dgf_buf *text = &ret->texts[ret->n++];
        int exit_code = ledger_slurp(paths[i], 1 << 20, text);

        if (exit_code)
            return DGF_EXIT_USAGE;
        ret->list[i] = dgf_buf_bytes(text);
    }
    return DGF_EXIT_OK;
}

int ledger_verify_archive(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_RELEASE(ledger_anchors_release) struct ledger_anchors anchors = {.n = 0};
    const char *keys[DGF_ARGS_REPEATED_MAX];
    struct dgf_archive_trust trust = {.vkeys = keys, .anchors = anchors.list};
    struct dgf_archive_verdict verdict;
    struct dgf_err err = {0};
    int exit_code = ledger_read_anchors(args, &anchors);
    enum dgf_rc rc;

    if (!exit_code)
        exit_code = ledger_open_archive(dir, &store);
    if (exit_code)
        return exit_code;
    trust.n_vkeys = dgf_args_all(args, "key", keys);
    trust.n_anchors = anchors.n;
    rc = dgf_archive_verify(store, &trust, &verdict, &err);
    if (rc == DGF_BAD_CONFIG) {
        fprintf(stderr, "dgf ledger: %s\n", err.text);
        return DGF_EXIT_USAGE;
    }
    return rc ? ledger_fail(rc, &err) : print_verdict(&verdict, as_json);
}

/* ---- ls and stats -------------------------------------------------------- */

/* One segment that is named by a manifest; bytes is 0 when its file is gone. */
struct part {
    struct dgf_manifest manifest;
    uint64_t bytes;
};

static enum dgf_rc sum_size(void *ctx, const char *name, uint64_t size)
{
    (void)name;
    *(uint64_t *)ctx += size;
    return DGF_OK;
}

/* The next manifest in order.  DGF_AGAIN: no more. */
static enum dgf_rc next_part(struct dgf_store *store, struct dgf_numbers *numbers,
                             uint64_t *least, struct part *ret, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t first;
    enum dgf_rc rc =
        dgf_numbers_next(numbers, store, "segments/", ".json", *least, &first, err);

    if (rc)
        return rc;
    *least = first + 1;
    dgf_name_manifest(name, first);
    dgf_buf_init(&bytes, DGF_MANIFEST_MAX_BYTES + 1);
    rc = dgf_store_slurp(store, name, &bytes, err);
    if (!rc)
        rc = dgf_manifest_get(dgf_buf_bytes(&bytes), &ret->manifest, err);
    if (rc == DGF_BAD_DATA)
        (void)dgf_err_prefix(err, "'%s'", name);
    if (rc)
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    dgf_name_segment(name, first);
    ret->bytes = 0;
    return store->list(store, name, sum_size, &ret->bytes, err);
}

/* What is not there of all that is sealed; holes that touch are one. */
struct holes {
    struct dgf_archive_checked *checked;
    uint64_t from, next; /* from < next: a hole that is not told yet */
};

static enum dgf_rc tell_hole(struct holes *holes, struct dgf_err *err)
{
    uint64_t size = dgf_archive_checked_size(holes->checked);
    uint64_t from = holes->from, next = holes->next < size ? holes->next : size;

    holes->from = holes->next;
    return from < next ? dgf_archive_checked_hole(holes->checked, from, next - 1, err)
                       : DGF_OK;
}

static enum dgf_rc see_part(struct holes *holes, const struct part *part,
                            struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (part->manifest.first > holes->next)
        holes->next = part->manifest.first;
    if (part->bytes > 0)
        rc = tell_hole(holes, err);
    if (part->manifest.last >= holes->next)
        holes->next = part->manifest.last + 1;
    if (part->bytes > 0)
        holes->from = holes->next;
    return rc;
}

static enum dgf_rc end_parts(struct holes *holes, struct dgf_err *err)
{
    uint64_t size = dgf_archive_checked_size(holes->checked);

    if (size > holes->next)
        holes->next = size;
    return tell_hole(holes, err);
}

static void print_part(const struct part *part, struct dgf_json *json)
{
    const struct dgf_manifest *manifest = &part->manifest;
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_segment(name, manifest->first);
    if (!json) {
        printf("%-36s %20" PRIu64 " %20" PRIu64 " %14" PRIu64 "%s\n", name,
               manifest->first, manifest->last, part->bytes,
               part->bytes ? "" : " (not here)");
        return;
    }
    dgf_json_begin_object(json);
    ledger_put_text(json, "segment", name);
    ledger_put_number(json, "first", manifest->first);
    ledger_put_number(json, "last", manifest->last);
    ledger_put_number(json, "bytes", part->bytes);
    dgf_json_end_object(json);
}

int ledger_list_archive(const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_CLEANUP(dgf_archive_checked_free) struct dgf_archive_checked *checked = NULL;
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers numbers = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    struct dgf_json json = dgf_json_of(&out);
    struct holes holes = {.from = 0};
    struct dgf_err err = {0};
    struct part part = {.bytes = 0};
    uint64_t least = 0;
    int exit_code = ledger_open_archive(dir, &store);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    dgf_buf_init(&out, 64 << 20);
    dgf_json_begin_array(&json);
    if (!as_json)
        printf("%-36s %20s %20s %14s\n", "segment", "first", "last", "bytes");
    rc = dgf_archive_checked_open(store, 0, UINT64_MAX, ledger_tell, NULL, &checked,
                                  &err);
    holes.checked = checked;
    while (!rc && !(rc = next_part(store, &numbers, &least, &part, &err))) {
        print_part(&part, as_json ? &json : NULL);
        rc = see_part(&holes, &part, &err);
    }
    dgf_manifest_release(&part.manifest);
    dgf_json_end_array(&json);
    if (rc == DGF_AGAIN)
        rc = end_parts(&holes, &err);
    if (rc)
        return ledger_fail(rc, &err);
    exit_code = as_json ? ledger_print_json(&out) : DGF_EXIT_OK;
    return dgf_archive_checked_lacks(checked) ? DGF_EXIT_CANNOT : exit_code;
}

struct totals {
    struct dgf_marks marks; /* where each source stood last */
    uint64_t first, bytes, segments;
};

static void totals_release(struct totals *totals)
{
    dgf_marks_release(&totals->marks);
}

static enum dgf_rc add_part(struct totals *totals, const struct part *part)
{
    if (part->bytes > 0 && totals->segments == 0)
        totals->first = part->manifest.first;
    totals->bytes += part->bytes;
    totals->segments += part->bytes > 0;
    for (size_t i = 0; i < part->manifest.n_sources; i++) {
        const struct dgf_manifest_source *source = &part->manifest.sources[i];
        struct dgf_ledger_position at = {.source = dgf_bytes_str(source->name),
                                         .text = dgf_bytes_str(source->to)};
        enum dgf_rc rc =
            source->to ? dgf_marks_set_position(&totals->marks, &at) : DGF_OK;

        if (rc)
            return rc;
    }
    return DGF_OK;
}

static enum dgf_rc add_up(struct dgf_store *store, struct holes *holes,
                          struct totals *totals, struct dgf_err *err)
{
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers numbers = {0};
    struct part part = {.bytes = 0};
    uint64_t least = 0;
    enum dgf_rc rc;

    while (!(rc = next_part(store, &numbers, &least, &part, err))) {
        rc = add_part(totals, &part);
        if (rc) {
            (void)dgf_err_set(err, rc, "cannot read an archive: out of memory");
            break;
        }
        rc = see_part(holes, &part, err);
        if (rc)
            break;
    }
    dgf_manifest_release(&part.manifest);
    return rc == DGF_AGAIN ? end_parts(holes, err) : rc;
}

static int print_totals(const struct totals *totals, const struct dgf_head_said *head,
                        bool as_json)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};
    const char *slash = strrchr(head->origin, '/');
    const char *log = slash ? slash + 1 : head->origin;
    struct dgf_json json = dgf_json_of(&out);

    dgf_buf_init(&out, 64 << 20);
    if (!as_json) {
        dgf_buf_addf(&out,
                     "log      %s\norigin   %s\nrecords  %" PRIu64 "\nfirst    %" PRIu64
                     "\nsegments %" PRIu64 "\nbytes    %" PRIu64 "\nroot     ",
                     log, head->origin, head->size, totals->first, totals->segments,
                     totals->bytes);
        dgf_buf_add_hex(&out, dgf_bytes_of(head->root, DGF_SHA256_LEN));
        dgf_buf_add_str(&out, "\nsigned   ");
        dgf_format_timestamp(&out, (int64_t)head->time_s, 0);
        for (size_t i = 0; i < totals->marks.n_positions; i++) {
            dgf_buf_add_str(&out, "\nsource   ");
            dgf_buf_add_bytes(&out, totals->marks.positions[i].source);
            dgf_buf_add_str(&out, " at ");
            dgf_buf_add_bytes(&out, totals->marks.positions[i].text);
        }
        return ledger_print_json(&out);
    }
    dgf_json_begin_object(&json);
    ledger_put_text(&json, "log_id", log);
    ledger_put_text(&json, "origin", head->origin);
    ledger_put_number(&json, "size", head->size);
    ledger_put_hex(&json, "root", head->root);
    ledger_put_number(&json, "first", totals->first);
    ledger_put_number(&json, "segments", totals->segments);
    ledger_put_number(&json, "bytes", totals->bytes);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < totals->marks.n_positions; i++) {
        dgf_json_key_bytes(&json, totals->marks.positions[i].source);
        dgf_json_text(&json, totals->marks.positions[i].text);
    }
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    return ledger_print_json(&out);
}

int ledger_stats_archive(const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_CLEANUP(dgf_archive_checked_free) struct dgf_archive_checked *checked = NULL;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf newest = {0};
    DGF_RELEASE(totals_release) struct totals totals = {.first = 0};
    struct holes holes = {.from = 0};
    struct dgf_head_said head;
    struct dgf_err err = {0};
    int exit_code = ledger_open_archive(dir, &store);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    dgf_marks_init(&totals.marks);
    dgf_buf_init(&newest, DGF_CHECKPOINT_MAX_BYTES + 1);
    rc = dgf_store_slurp(store, DGF_NAME_CHECKPOINT, &newest, &err);
    if (!rc)
        rc = dgf_head_read(dgf_buf_bytes(&newest), NULL, 0, &head, &err);
    if (!rc && head.class)
        rc = dgf_err_set(&err, DGF_BAD_DATA, "the newest checkpoint: %s", head.what);
    if (!rc)
        rc = dgf_archive_checked_open(store, 0, UINT64_MAX, ledger_tell, NULL, &checked,
                                      &err);
    holes.checked = checked;
    if (!rc)
        rc = add_up(store, &holes, &totals, &err);
    if (rc)
        return ledger_fail(rc, &err);
    exit_code = print_totals(&totals, &head, as_json);
    return dgf_archive_checked_lacks(checked) ? DGF_EXIT_CANNOT : exit_code;
}
