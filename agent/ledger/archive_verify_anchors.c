/* archive_verify_anchors.c - checkpoints that were kept elsewhere, of this log and of
 * the one it goes on from; and whether the key is of this log at all. */
#include <inttypes.h>
#include <stdio.h>

#include "ledger/archive_part.h"

/* ---- anchors ------------------------------------------------------------- */

/* Reads anchor i into check->anchor. */
static bool read_anchor(struct check *check, size_t i)
{
    struct note *note = &check->anchor;
    const char *what = "larger than 16 KiB", *class = "limit";

    dgf_buf_clear(&note->bytes);
    dgf_buf_add_bytes(&note->bytes, check->trust->anchors[i]);
    if (!dgf_buf_rc(&note->bytes) && note->bytes.len <= DGF_CHECKPOINT_MAX_BYTES)
        class = note_read(note, &what);
    if (class) {
        check->rc = dgf_err_set(check->err, DGF_BAD_CONFIG,
                                "--anchor %zu is not a checkpoint: %s", i + 1, what);
        return false;
    }
    return true;
}

static bool is_of_this_log(const struct check *check)
{
    return !check->has_origin ||
           dgf_bytes_eq(check->anchor.origin, dgf_bytes_str(check->origin));
}

void check_anchors(struct check *check, uint64_t size,
                   const uint8_t root[DGF_SHA256_LEN])
{
    const char *class;

    for (size_t i = 0; i < check->trust->n_anchors && !check->rc; i++) {
        if (!read_anchor(check, i) || check->anchor.size != size ||
            !is_of_this_log(check))
            continue;
        if (!is_signed_now(check, &check->anchor, &class)) {
            check->rc =
                dgf_err_set(check->err, DGF_BAD_CONFIG,
                            "--anchor %zu is not signed with the log's key", i + 1);
            return;
        }
        if (memcmp(check->anchor.root, root, DGF_SHA256_LEN) != 0) {
            found(check, RANK_ANCHOR, "anchor", check->anchored,
                  "the root of size %" PRIu64 " is not that of the anchor", size);
            return;
        }
        check->anchored = size;
        check->verdict->is_anchored = true;
    }
}

/* ---- the log before -------------------------------------------------------- */

/* What the signed record 0 says is believed as the record is. */
void take_before(struct check *check, const json_t *detail)
{
    const char *text = json_string_value(json_object_get(detail, "old_checkpoint"));
    const char *log = json_string_value(json_object_get(detail, "old_log")), *what;
    size_t len = text ? strlen(text) : 0, n_log = log ? strlen(log) : 0;
    struct note *note = &check->before;

    if (len == 0 || len > DGF_CHECKPOINT_MAX_BYTES || n_log == 0 ||
        n_log >= sizeof(check->verdict->before_log))
        return;
    dgf_buf_clear(&note->bytes);
    dgf_buf_add_str(&note->bytes, text);
    if (dgf_buf_rc(&note->bytes) || note_read(note, &what) ||
        note->origin.len <= n_log ||
        memcmp(note->origin.ptr + note->origin.len - n_log, log, n_log) != 0 ||
        note->origin.ptr[note->origin.len - n_log - 1] != '/') {
        note->size = 0;
        return;
    }
    check->verdict->before_size = note->size;
    memcpy(check->verdict->before_log, log, n_log + 1);
}

/* The key goes on from log to log: only the name in front of it is another. */
static bool is_signed_before(const struct check *check)
{
    char origin[DGF_ORIGIN_MAX];
    const struct note *note = &check->anchor;
    bool is = check->n_keys == 0;

    (void)snprintf(origin, sizeof(origin), "%.*s", (int)note->origin.len,
                   (const char *)note->origin.ptr);
    for (size_t i = 0; !is && i < check->n_keys; i++)
        is = note_is_signed(note, origin, check->keys[i].key);
    for (size_t i = 0; !is && i < check->n_spares; i++)
        is = note_is_signed(note, origin, check->spares[i].key);
    return is;
}

static void refuse_anchor(struct check *check, size_t i, const char *why)
{
    const struct note *note = &check->anchor;

    check->rc = dgf_err_set(check->err, DGF_BAD_CONFIG,
                            "--anchor %zu is of another log: '%.*s', not '%s'%s", i + 1,
                            note->origin.len > 100 ? 100 : (int)note->origin.len,
                            (const char *)note->origin.ptr, check->origin, why);
}

static void check_anchor_before(struct check *check, size_t i)
{
    const struct note *note = &check->anchor, *cited = &check->before;
    struct dgf_archive_verdict *verdict = check->verdict;

    if (cited->size == 0 || !dgf_bytes_eq(note->origin, cited->origin)) {
        refuse_anchor(check, i, "");
        return;
    }
    if (!is_signed_before(check)) {
        refuse_anchor(check, i,
                      ", which goes on from it; and it is signed with no key "
                      "that was given: verify that log's own archive with it");
        return;
    }
    if (note->size > cited->size)
        found(
            check, RANK_ANCHOR, "anchor", 0,
            "the log goes on from size %" PRIu64 " of log %s, and an anchor has size "
            "%" PRIu64 ": records %" PRIu64 " to %" PRIu64 " of that log were signed, "
            "and no log goes on from them",
            cited->size, verdict->before_log, note->size, cited->size, note->size - 1);
    else if (note->size < cited->size)
        verdict->before_anchor = note->size;
    else if (memcmp(note->root, cited->root, sizeof(note->root)) != 0)
        found(check, RANK_ANCHOR, "anchor", 0,
              "the log goes on from another tree of size %" PRIu64
              " of log %s than that of the anchor",
              cited->size, verdict->before_log);
    else
        verdict->is_anchored = true;
}

void check_anchors_beyond(struct check *check, uint64_t size)
{
    for (size_t i = 0; i < check->trust->n_anchors && !check->rc; i++) {
        if (!read_anchor(check, i))
            return;
        if (!is_of_this_log(check))
            check_anchor_before(check, i);
        else if (check->anchor.size > size)
            found(check, RANK_ANCHOR, "anchor", size,
                  "an anchor has size %" PRIu64 ", the archive %" PRIu64
                  ": what lies between was removed",
                  check->anchor.size, size);
    }
}

/* ---- the key ---------------------------------------------------------------- */

/* Is there such a checkpoint, of another log than the key?  Its origin, in scratch. */
static bool is_of_another(struct check *check, const char *name, struct note *note)
{
    struct dgf_err err;
    const char *what;

    dgf_buf_clear(&note->bytes);
    if (dgf_store_slurp(check->store, name, &note->bytes, &err))
        return false;
    what = note_read(note, &what);
    return (!what || strcmp(what, "checkpoint") != 0) &&
           !dgf_bytes_eq(note->origin, dgf_bytes_str(check->origin));
}

/* One checkpoint of another log among this log's is an attack.  When the newest and the
 * smallest are both of one other log, it is the key that was mixed up. */
enum dgf_rc check_key_is_of_archive(struct check *check)
{
    DGF_RELEASE(dgf_numbers_release) struct dgf_numbers sizes = {0};
    struct note *newest = &check->checkpoint, *first = &check->anchor;
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_err err;
    uint64_t size;

    if (!check->has_origin || !is_of_another(check, DGF_NAME_CHECKPOINT, newest) ||
        dgf_numbers_next(&sizes, check->store, "checkpoints/", "", 1, &size, &err))
        return DGF_OK; /* what cannot be read is said by the walk */
    dgf_name_checkpoint(name, size);
    if (!is_of_another(check, name, first) ||
        !dgf_bytes_eq(newest->origin, first->origin))
        return DGF_OK;
    return dgf_err_set(check->err, DGF_BAD_CONFIG,
                       "--key is of another log: '%.100s'; the archive is of '%.*s'",
                       check->origin,
                       newest->origin.len > 100 ? 100 : (int)newest->origin.len,
                       (const char *)newest->origin.ptr);
}
