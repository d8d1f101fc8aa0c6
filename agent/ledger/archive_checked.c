#include "ledger/archive_checked.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "ledger/archive_proof.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/note.h"

DGF_CLEANUP_OF(struct dgf_archive_reader *, dgf_archive_reader_free)

#define LEAVES_AT_ONCE 256
#define FIRSTS_AT_ONCE 4096
#define PRUNED "\"archive_pruned_before\""

struct dgf_archive_checked {
    struct dgf_store *store;
    struct dgf_archive_reader *reader; /* NULL: nothing was read yet */
    dgf_archive_tell tell;
    void *ctx;
    uint64_t from, until, expected;
    uint64_t size; /* of the newest checkpoint; 0: not known */
    uint64_t pruned_before;
    bool knows_pruned, lacks, told_tile, told_beyond, told_head;
    struct dgf_tile tile; /* that was asked for last; width 0: none */
    bool has_tile;        /* and it is there */
    uint8_t sealed[DGF_TILE_WIDTH * DGF_SHA256_LEN + 1];
    uint64_t hashed; /* index of leaves[0] */
    size_t n_leaves;
    uint8_t leaves[LEAVES_AT_ONCE][DGF_SHA256_LEN];
};

static void say(struct dgf_archive_checked *checked, const char *fmt, ...)
    DGF_PRINTF(2, 3);
static void say(struct dgf_archive_checked *checked, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    checked->tell(checked->ctx, text);
}

/* ---- how many there are -------------------------------------------------- */

static enum dgf_rc largest_checkpoint(struct dgf_archive_checked *checked,
                                      struct dgf_err *err)
{
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers sizes = {0};
    uint64_t size = 0;
    enum dgf_rc rc;

    while (size < UINT64_MAX &&
           !(rc = dgf_numbers_next(&sizes, checked->store, "checkpoints/", "", size + 1,
                                   &size, err)))
        checked->size = size;
    return size == UINT64_MAX || rc == DGF_AGAIN ? DGF_OK : rc;
}

/* Without the newest checkpoint the largest of the others has to do. */
static enum dgf_rc read_size(struct dgf_archive_checked *checked, struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf newest = {0};
    struct dgf_head_said head = {.size = 0};
    enum dgf_rc rc;

    dgf_buf_init(&newest, DGF_CHECKPOINT_MAX_BYTES + 1);
    rc = dgf_store_slurp(checked->store, DGF_NAME_CHECKPOINT, &newest, err);
    if (!rc)
        rc = dgf_head_read(dgf_buf_bytes(&newest), NULL, 0, &head, err);
    if (!rc && !head.class) {
        if (head.size > checked->size)
            checked->size = head.size;
        return DGF_OK;
    }
    if (rc && rc != DGF_AGAIN && rc != DGF_BAD_DATA)
        return rc;
    if (!checked->told_head && rc == DGF_AGAIN)
        say(checked, "there is no '" DGF_NAME_CHECKPOINT "'");
    else if (!checked->told_head)
        say(checked, "'" DGF_NAME_CHECKPOINT "' is damaged: %s",
            rc ? err->text : head.what);
    checked->told_head = checked->lacks = true;
    return largest_checkpoint(checked, err);
}

enum dgf_rc dgf_archive_checked_open(struct dgf_store *store, uint64_t from,
                                     uint64_t until, dgf_archive_tell tell, void *ctx,
                                     struct dgf_archive_checked **ret,
                                     struct dgf_err *err)
{
    struct dgf_archive_checked *checked = dgf_calloc(1, sizeof(*checked));
    enum dgf_rc rc;

    if (!checked)
        return dgf_err_set(err, DGF_NOMEM, "cannot read an archive: out of memory");
    checked->store = store;
    checked->tell = tell;
    checked->ctx = ctx;
    checked->from = checked->expected = from;
    checked->until = until;
    /* Before the segments are listed: all that it counts are there. */
    rc = read_size(checked, err);
    if (rc) {
        dgf_archive_checked_free(checked);
        return rc;
    }
    *ret = checked;
    return DGF_OK;
}

void dgf_archive_checked_free(struct dgf_archive_checked *checked)
{
    if (!checked)
        return;
    dgf_archive_reader_free(checked->reader);
    dgf_free(checked);
}

uint64_t dgf_archive_checked_segment(const struct dgf_archive_checked *checked)
{
    return dgf_archive_reader_segment(checked->reader);
}

uint64_t dgf_archive_checked_size(const struct dgf_archive_checked *checked)
{
    return checked->size;
}

bool dgf_archive_checked_lacks(const struct dgf_archive_checked *checked)
{
    return checked->lacks;
}

/* ---- tiles --------------------------------------------------------------- */

static enum dgf_rc read_sealed(struct dgf_archive_checked *checked, struct dgf_err *err)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t first = checked->tile.index * DGF_TILE_WIDTH;
    size_t len = 0;
    enum dgf_rc rc;

    dgf_name_tile(name, &checked->tile);
    rc = checked->store->read(checked->store, name, 0, checked->sealed,
                              sizeof(checked->sealed), &len, err);
    checked->has_tile = !rc;
    if (rc == DGF_AGAIN) {
        if (!checked->told_tile)
            say(checked,
                "records %" PRIu64 " to %" PRIu64 " cannot be compared with what was "
                "sealed: there is no '%s'; further tiles may be missing",
                first, first + checked->tile.width - 1, name);
        checked->told_tile = checked->lacks = true;
        return DGF_OK;
    }
    if (!rc && len != (size_t)checked->tile.width * DGF_SHA256_LEN)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "records from %" PRIu64 " on cannot be compared with what "
                           "was sealed: '%s' is of another length; 'dgf ledger verify' "
                           "says what was changed",
                           first, name);
    return rc;
}

/* DGF_AGAIN: it is not what was sealed; the tile says so. */
static enum dgf_rc compare(struct dgf_archive_checked *checked, uint64_t index,
                           const uint8_t leaf[DGF_SHA256_LEN], struct dgf_err *err)
{
    uint64_t at = index / DGF_TILE_WIDTH, left = checked->size - at * DGF_TILE_WIDTH;
    struct dgf_tile tile = {0, at,
                            left < DGF_TILE_WIDTH ? (unsigned)left : DGF_TILE_WIDTH};
    enum dgf_rc rc;

    if (tile.index != checked->tile.index || tile.width != checked->tile.width) {
        checked->tile = tile;
        rc = read_sealed(checked, err);
        if (rc) {
            checked->tile.width = 0;
            return rc;
        }
    }
    return !checked->has_tile ||
                   memcmp(checked->sealed + index % DGF_TILE_WIDTH * DGF_SHA256_LEN,
                          leaf, DGF_SHA256_LEN) == 0
               ? DGF_OK
               : DGF_AGAIN;
}

/* The leaf of the line that was read, hashed with those behind it in its frame. */
static const uint8_t *leaf_of(struct dgf_archive_checked *checked, uint64_t index,
                              struct dgf_bytes line)
{
    struct dgf_bytes lines[LEAVES_AT_ONCE];

    if (index < checked->hashed || index - checked->hashed >= checked->n_leaves) {
        lines[0] = line;
        checked->n_leaves = 1 + dgf_archive_reader_ahead(checked->reader, lines + 1,
                                                         LEAVES_AT_ONCE - 1);
        checked->hashed = index;
        dgf_sha256_leaves(lines, checked->n_leaves, checked->leaves);
    }
    return checked->leaves[index - checked->hashed];
}

static enum dgf_rc check_line(struct dgf_archive_checked *checked, uint64_t index,
                              struct dgf_bytes line, struct dgf_err *err)
{
    char name[DGF_ARCHIVE_NAME_MAX], segment[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc = DGF_OK;

    if (index >= checked->size && !checked->told_beyond) /* it may have grown */
        rc = read_size(checked, err);
    if (rc)
        return rc;
    if (index >= checked->size) {
        if (!checked->told_beyond)
            say(checked,
                "records from %" PRIu64
                " on are in no checkpoint yet: there is nothing "
                "to compare them with",
                index);
        checked->told_beyond = true;
        return DGF_OK;
    }
    rc = compare(checked, index, leaf_of(checked, index, line), err);
    if (rc != DGF_AGAIN)
        return rc;
    dgf_name_tile(name, &checked->tile);
    dgf_name_segment(segment, dgf_archive_reader_segment(checked->reader));
    return dgf_err_set(err, DGF_BAD_DATA,
                       "record %" PRIu64 " is not the one that was sealed: '%s' and "
                       "'%s' do not agree; 'dgf ledger verify' says what was changed",
                       index, segment, name);
}

/* ---- what was pruned ----------------------------------------------------- */

static uint64_t pruned_by(struct dgf_bytes line)
{
    DGF_CLEANUP_JSON json_t *record = NULL;
    const json_t *before;
    const char *kind;
    struct dgf_err none;

    if (!memmem(line.ptr, line.len, PRUNED, sizeof(PRUNED) - 1) ||
        dgf_json_parse_record(line, &record, &none))
        return 0;
    kind = json_string_value(json_object_get(record, "kind"));
    before =
        json_object_get(json_object_get(record, "detail"), "archive_pruned_before");
    return kind && strcmp(kind, "config") == 0 && json_integer_value(before) > 0
               ? (uint64_t)json_integer_value(before)
               : 0;
}

/* What the records of one segment say; one that is damaged says nothing more. */
static enum dgf_rc look_for_pruned(struct dgf_archive_checked *checked, uint64_t first)
{
    DGF_CLEANUP(dgf_archive_reader_free) struct dgf_archive_reader *reader = NULL;
    struct dgf_err err = {0};
    struct dgf_bytes line;
    uint64_t index;
    enum dgf_rc rc = dgf_archive_reader_open(checked->store, first, &reader, &err);

    while (!rc && !(rc = dgf_archive_reader_next(reader, &index, &line, &err)) &&
           dgf_archive_reader_segment(reader) == first && index < checked->size) {
        uint8_t leaf[DGF_SHA256_LEN];
        uint64_t before = pruned_by(line);

        if (before <= checked->pruned_before)
            continue;
        dgf_sha256_leaf(line, leaf);
        rc = compare(checked, index, leaf, &err);
        if (!rc)
            checked->pruned_before = before;
        else if (rc == DGF_AGAIN)
            rc = DGF_OK; /* forged */
    }
    return rc == DGF_NOMEM || rc == DGF_RETRY ? rc : DGF_OK;
}

/* The last segments before `below`, in their order. */
static enum dgf_rc last_firsts(struct dgf_archive_checked *checked, uint64_t below,
                               uint64_t *ring, uint64_t *ret_n, struct dgf_err *err)
{
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers firsts = {0};
    uint64_t first, least = 0;
    enum dgf_rc rc;

    *ret_n = 0;
    while (!(rc = dgf_numbers_next(&firsts, checked->store, "segments/", ".ndjson.zst",
                                   least, &first, err)) &&
           first < below) {
        ring[(*ret_n)++ % FIRSTS_AT_ONCE] = first;
        least = first + 1;
    }
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

/* From the newest segment back: it is said again with every pruning. */
static enum dgf_rc find_pruned(struct dgf_archive_checked *checked, uint64_t behind,
                               struct dgf_err *err)
{
    uint64_t ring[FIRSTS_AT_ONCE], n, below = UINT64_MAX;

    while (!checked->knows_pruned) {
        enum dgf_rc rc = last_firsts(checked, below, ring, &n, err);
        uint64_t oldest = n > FIRSTS_AT_ONCE ? n - FIRSTS_AT_ONCE : 0;

        for (; !rc && n > oldest && !checked->pruned_before; n--) {
            below = ring[(n - 1) % FIRSTS_AT_ONCE];
            if (below < behind)
                break;
            rc = look_for_pruned(checked, below);
        }
        if (rc)
            return rc == DGF_OK ? rc : dgf_err_set(err, rc, "cannot read an archive");
        checked->knows_pruned = n > oldest || oldest == 0 || checked->pruned_before > 0;
    }
    return DGF_OK;
}

/* ---- holes --------------------------------------------------------------- */

/* The segment that would hold it, as the manifests say. */
static enum dgf_rc holder_of(struct dgf_archive_checked *checked, uint64_t index,
                             uint64_t *ret, struct dgf_err *err)
{
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers firsts = {0};
    uint64_t first, least = 0;
    enum dgf_rc rc;

    *ret = index;
    while (!(rc = dgf_numbers_next(&firsts, checked->store, "segments/", ".json", least,
                                   &first, err)) &&
           first <= index) {
        *ret = first;
        least = first + 1;
    }
    return rc == DGF_AGAIN ? DGF_OK : rc;
}

static enum dgf_rc say_missing(struct dgf_archive_checked *checked, uint64_t first,
                               uint64_t last, struct dgf_err *err)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t segment;
    uint8_t byte;
    size_t n;
    enum dgf_rc rc = holder_of(checked, first, &segment, err);

    if (rc)
        return rc;
    checked->lacks = true;
    dgf_name_segment(name, segment);
    rc = checked->store->read(checked->store, name, 0, &byte, 1, &n, err);
    if (rc && rc != DGF_AGAIN)
        return rc;
    say(checked,
        rc ? "records %" PRIu64 " to %" PRIu64 " are missing: there is no '%s'"
           : "records %" PRIu64 " to %" PRIu64 " are missing: '%s' ends before them",
        first, last, name);
    return DGF_OK;
}

enum dgf_rc dgf_archive_checked_hole(struct dgf_archive_checked *checked,
                                     uint64_t first, uint64_t last, struct dgf_err *err)
{
    enum dgf_rc rc = find_pruned(checked, first, err);

    if (rc)
        return rc;
    if (first < checked->pruned_before) {
        uint64_t end =
            last < checked->pruned_before ? last : checked->pruned_before - 1;

        say(checked, "records %" PRIu64 " to %" PRIu64 " were pruned", first, end);
        if (end == last)
            return DGF_OK;
        first = end + 1;
    }
    return say_missing(checked, first, last, err);
}

/* ---- records ------------------------------------------------------------- */

/* What is not there before index `end`. */
static enum dgf_rc pass_over(struct dgf_archive_checked *checked, uint64_t end,
                             struct dgf_err *err)
{
    uint64_t first = checked->expected;

    if (end > checked->until)
        end = checked->until;
    if (first >= end)
        return DGF_OK;
    checked->expected = end;
    return dgf_archive_checked_hole(checked, first, end - 1, err);
}

enum dgf_rc dgf_archive_checked_next(struct dgf_archive_checked *checked,
                                     uint64_t *ret_index, struct dgf_bytes *ret_line,
                                     struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (!checked->reader)
        rc = dgf_archive_reader_open(checked->store, checked->from, &checked->reader,
                                     err);
    if (!rc)
        rc = dgf_archive_reader_next(checked->reader, ret_index, ret_line, err);
    if (rc == DGF_AGAIN || (!rc && *ret_index >= checked->until)) {
        rc = pass_over(checked, rc ? checked->size : *ret_index, err);
        return rc ? rc : DGF_AGAIN;
    }
    if (!rc && *ret_index < checked->expected)
        rc = dgf_err_set(err, DGF_BAD_DATA,
                         "'segments/%" PRIu64 ".ndjson.zst' begins before the segment "
                         "before it ends",
                         dgf_archive_checked_segment(checked));
    if (!rc && *ret_index > checked->expected)
        rc = pass_over(checked, *ret_index, err);
    if (!rc)
        rc = check_line(checked, *ret_index, *ret_line, err);
    if (!rc)
        checked->expected = *ret_index + 1;
    return rc;
}
