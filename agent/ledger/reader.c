#include "ledger/reader.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "ledger/impl.h"
#include "ledger/walk.h"

struct dgf_ledger_reader {
    struct dgf_ledger *ledger;    /* live; NULL: cold */
    char *dir;                    /* cold */
    struct dgf_segments segments; /* cold: what the folder held when we looked */
    struct dgf_walk ahead;        /* cold: finds the end of the last whole batch */
    bool ahead_open;
    struct dgf_scan scan;
    bool open;
    uint64_t first;    /* of the open segment */
    uint64_t index;    /* of the next leaf in the file */
    uint64_t from;     /* of the next leaf to give out */
    uint64_t given_at; /* offset of the frame that was given out last */
};

void dgf_ledger_reader_free(struct dgf_ledger_reader *reader)
{
    if (!reader)
        return;
    dgf_scan_release(&reader->scan);
    dgf_walk_release(&reader->ahead);
    dgf_segments_release(&reader->segments);
    dgf_free(reader->dir);
    dgf_free(reader);
}

DGF_CLEANUP_OF(struct dgf_ledger_reader *, dgf_ledger_reader_free)

static const char *dir_of(const struct dgf_ledger_reader *reader)
{
    return reader->ledger ? reader->ledger->dir : reader->dir;
}

static const struct dgf_segments *segments_of(const struct dgf_ledger_reader *reader)
{
    return reader->ledger ? &reader->ledger->segments : &reader->segments;
}

/* Looks at the folder again. */
static enum dgf_rc look_again(struct dgf_ledger_reader *reader, struct dgf_err *err)
{
    enum dgf_rc rc = dgf_segments_load(&reader->segments, reader->dir, true, NULL, err);

    return rc == DGF_AGAIN
               ? dgf_err_set(err, DGF_BAD_DATA, "no journal in '%s'", reader->dir)
               : rc;
}

static enum dgf_rc pruned(struct dgf_ledger_reader *reader, struct dgf_err *err)
{
    return dgf_err_set(err, DGF_BAD_DATA,
                       "index %" PRIu64
                       " was pruned: the journal in '%s' begins at %" PRIu64,
                       reader->from, dir_of(reader), segments_of(reader)->at[0].first);
}

/* The open segment could not be opened. */
static enum dgf_rc gone(const struct dgf_ledger_reader *reader, enum dgf_rc rc,
                        struct dgf_err *err)
{
    char path[DGF_PATH_MAX];

    dgf_segment_path(path, dir_of(reader), reader->first);
    return dgf_file_exists(path)
               ? rc
               : dgf_err_set(err, DGF_BAD_DATA, "journal segment '%s' is gone", path);
}

/* Where a cold reader may read to in the newest segment: behind the last whole
 * batch.  Moves on from where it was the last time. */
static enum dgf_rc find_end(struct dgf_ledger_reader *reader, uint64_t *ret,
                            struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    if (!reader->ahead_open || reader->ahead.head.first != reader->first) {
        rc = dgf_walk_open(&reader->ahead, reader->dir, reader->first, NULL, err);
        reader->ahead_open = !rc;
    } else {
        dgf_walk_rewind(&reader->ahead);
        rc = dgf_scan_measure(&reader->ahead.scan, err);
    }
    if (rc == DGF_BAD_CONFIG)
        return gone(reader, rc, err);
    if (!rc)
        rc = dgf_walk_to_end(&reader->ahead, err);
    /* An unfinished batch, or damage: the next start or verify tells which. */
    if (rc == DGF_BAD_DATA && reader->ahead.fault == DGF_FAULT_FRAME)
        rc = DGF_OK;
    *ret = reader->ahead.committed;
    return rc;
}

static bool is_newest(const struct dgf_ledger_reader *reader)
{
    const struct dgf_segments *segments = segments_of(reader);

    return reader->first == segments->at[segments->n - 1].first;
}

/* How far the open segment may be read. */
static enum dgf_rc set_limit(struct dgf_ledger_reader *reader, struct dgf_err *err)
{
    if (reader->ledger || !is_newest(reader)) {
        const struct dgf_segment *s =
            dgf_segments_find(segments_of(reader), reader->first);

        if (!s || s->first != reader->first) {
            reader->open = false;
            return pruned(reader, err);
        }
        reader->scan.limit = s->bytes;
        return DGF_OK;
    }
    return find_end(reader, &reader->scan.limit, err);
}

static enum dgf_rc open_segment(struct dgf_ledger_reader *reader, uint64_t index,
                                struct dgf_err *err)
{
    const struct dgf_segment *segment = dgf_segments_find(segments_of(reader), index);
    char path[DGF_PATH_MAX];
    struct dgf_head head;
    enum dgf_rc rc;

    if (!segment)
        return pruned(reader, err);
    reader->open = false;
    reader->first = segment->first;
    dgf_segment_path(path, dir_of(reader), segment->first);
    rc = dgf_scan_open(&reader->scan, path, err);
    if (rc == DGF_BAD_CONFIG)
        return gone(reader, rc, err);
    if (!rc)
        rc =
            dgf_segment_head(&reader->scan, dir_of(reader), segment->first, &head, err);
    if (rc)
        return rc;
    reader->index = segment->first;
    rc = set_limit(reader, err);
    /* What was read along with the head may lie beyond the limit, where the
     * writer is still at work: it is read again when the limit has passed it. */
    dgf_scan_seek(&reader->scan, reader->scan.at);
    reader->open = !rc;
    return rc;
}

static enum dgf_rc damage(struct dgf_ledger_reader *reader, uint64_t at,
                          const char *what, struct dgf_err *err)
{
    return dgf_err_set(err, DGF_BAD_DATA,
                       "journal segment '%" PRIu64 ".j' is damaged at byte %" PRIu64
                       " (index %" PRIu64 "): %s",
                       reader->first, at, reader->index, what);
}

/* At the end of what was there: is there more by now? */
static enum dgf_rc more(struct dgf_ledger_reader *reader, struct dgf_err *err)
{
    uint64_t before = reader->scan.limit;
    const struct dgf_segment *next;
    enum dgf_rc rc = DGF_OK;

    if (!reader->ledger && is_newest(reader))
        rc = look_again(reader, err);
    next = dgf_segments_find(segments_of(reader), reader->from);
    if (!rc && next && next->first > reader->first) {
        /* All of the open segment was given out and it was pruned since. */
        const struct dgf_segment *mine =
            dgf_segments_find(segments_of(reader), reader->first);

        if (!mine)
            return open_segment(reader, reader->from, err);
    }
    if (!rc)
        rc = set_limit(reader, err);
    if (rc || reader->scan.limit > before)
        return rc;
    if (is_newest(reader))
        return DGF_AGAIN;
    next = dgf_segments_find(segments_of(reader), reader->first) + 1;
    if (next->first != reader->index)
        return damage(reader, before, "the segment ends too early", err);
    return open_segment(reader, reader->index, err);
}

enum dgf_rc dgf_ledger_reader_next(struct dgf_ledger_reader *reader,
                                   struct dgf_leaf *ret_leaf, struct dgf_err *err)
{
    for (;;) {
        struct dgf_leaf_frame leaf;
        struct dgf_commit commit;
        struct dgf_frame frame;
        enum dgf_rc rc;

        if (!reader->open) {
            rc = reader->ledger ? DGF_OK : look_again(reader, err);
            if (!rc)
                rc = open_segment(reader, reader->from, err);
            if (rc)
                return rc;
        }
        rc = dgf_scan_next(&reader->scan, &frame, err);
        if (rc == DGF_AGAIN && reader->scan.at < reader->scan.limit)
            return damage(reader, reader->scan.at, "zeros instead of a frame", err);
        if (rc == DGF_AGAIN) {
            rc = more(reader, err);
            if (rc)
                return rc;
            continue;
        }
        if (rc == DGF_BAD_DATA)
            return damage(reader, reader->scan.at, "a frame fails its checksum", err);
        if (rc)
            return rc;
        if (frame.type == DGF_FRAME_COMMIT &&
            (!dgf_frame_get_commit(frame.payload, &commit) ||
             commit.size != reader->index)) {
            dgf_scan_seek(&reader->scan, frame.offset);
            return damage(reader, frame.offset, "commit counts other leaves", err);
        }
        if (frame.type != DGF_FRAME_LEAF)
            continue;
        if (!dgf_frame_get_leaf(frame.payload, &leaf)) {
            dgf_scan_seek(&reader->scan, frame.offset);
            return damage(reader, frame.offset, "a frame is malformed", err);
        }
        if (reader->index++ < reader->from)
            continue;
        reader->given_at = frame.offset;
        ret_leaf->index = reader->from++;
        ret_leaf->header = leaf.header;
        ret_leaf->line = leaf.line;
        return DGF_OK;
    }
}

void dgf_ledger_reader_back(struct dgf_ledger_reader *reader)
{
    /* A scan keeps the frame it gave out last in its window. */
    reader->scan.at = reader->given_at;
    reader->index--;
    reader->from--;
}

uint64_t dgf_ledger_reader_index(const struct dgf_ledger_reader *reader)
{
    return reader->from;
}

static enum dgf_rc new_reader(uint64_t from, struct dgf_ledger_reader **ret,
                              struct dgf_err *err)
{
    struct dgf_ledger_reader *reader = dgf_calloc(1, sizeof(*reader));

    if (!reader)
        return dgf_err_set(err, DGF_NOMEM, "cannot read the ledger: out of memory");
    dgf_scan_init(&reader->scan);
    dgf_walk_init(&reader->ahead, false);
    dgf_segments_init(&reader->segments);
    reader->from = from;
    *ret = reader;
    return DGF_OK;
}

/* Stands at `from`, or says why it cannot. */
static enum dgf_rc begin(struct dgf_ledger_reader *reader,
                         struct dgf_ledger_reader **ret, struct dgf_err *err)
{
    enum dgf_rc rc = open_segment(reader, reader->from, err);

    if (!rc)
        *ret = reader;
    return rc;
}

enum dgf_rc dgf_ledger_reader_open(struct dgf_ledger *ledger, uint64_t from,
                                   struct dgf_ledger_reader **ret_reader,
                                   struct dgf_err *err)
{
    DGF_CLEANUP(dgf_ledger_reader_free) struct dgf_ledger_reader *reader = NULL;
    enum dgf_rc rc = new_reader(from, &reader, err);

    if (rc)
        return rc;
    reader->ledger = ledger;
    rc = begin(reader, ret_reader, err);
    if (!rc)
        reader = NULL;
    return rc;
}

enum dgf_rc dgf_ledger_reader_open_cold(const char *dir, uint64_t from,
                                        struct dgf_ledger_reader **ret_reader,
                                        struct dgf_err *err)
{
    DGF_CLEANUP(dgf_ledger_reader_free) struct dgf_ledger_reader *reader = NULL;
    enum dgf_rc rc = new_reader(from, &reader, err);

    if (rc)
        return rc;
    if (strlen(dir) > DGF_LEDGER_DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the path of the data directory is too long");
    reader->dir = dgf_strdup(dir);
    if (!reader->dir)
        return dgf_err_set(err, DGF_NOMEM, "cannot read the ledger: out of memory");
    rc = look_again(reader, err);
    if (!rc)
        rc = begin(reader, ret_reader, err);
    if (!rc)
        reader = NULL;
    return rc;
}

enum dgf_rc dgf_ledger_first_kept(const char *dir, uint64_t *ret_index,
                                  struct dgf_err *err)
{
    DGF_RELEASE(dgf_segments_release) struct dgf_segments segments = {0};
    enum dgf_rc rc;

    dgf_segments_init(&segments);
    rc = dgf_segments_list(&segments, dir, err);
    if (rc == DGF_AGAIN)
        rc = DGF_BAD_DATA;
    if (!rc)
        *ret_index = segments.at[0].first;
    return rc;
}
