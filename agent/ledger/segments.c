#include "ledger/segments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/parse.h"

#define MAX_SEGMENTS 1000000 /* a folder with more was not made by us */
#define MAX_LOOKS 100        /* at a folder that changes while we look at it */

void dgf_segment_path(char *to, const char *dir, uint64_t first)
{
    (void)snprintf(to, DGF_PATH_MAX, "%s/journal/%" PRIu64 ".j", dir, first);
}

void dgf_segment_temporary(char *to, const char *dir, uint64_t first)
{
    (void)snprintf(to, DGF_PATH_MAX, "%s/journal/%" PRIu64 ".j.new", dir, first);
}

bool dgf_segment_name(const char *name, uint64_t *ret_first)
{
    size_t len = strlen(name);

    if (len < 3 || strcmp(name + len - 2, ".j") != 0)
        return false;
    if (name[0] == '0' && len > 3)
        return false;
    return dgf_parse_u64(dgf_bytes_of(name, len - 2), ret_first);
}

void dgf_segments_init(struct dgf_segments *segments)
{
    memset(segments, 0, sizeof(*segments));
}

void dgf_segments_release(struct dgf_segments *segments)
{
    dgf_free(segments->at);
    dgf_segments_init(segments);
}

enum dgf_rc dgf_segments_add(struct dgf_segments *segments,
                             const struct dgf_segment *segment)
{
    if (segments->n == segments->cap) {
        size_t cap = segments->cap ? 2 * segments->cap : 16;
        struct dgf_segment *at;

        if (segments->n >= MAX_SEGMENTS)
            return DGF_NOMEM;
        at = dgf_realloc(segments->at, cap * sizeof(*at));
        if (!at)
            return DGF_NOMEM;
        segments->at = at;
        segments->cap = cap;
    }
    segments->at[segments->n++] = *segment;
    return DGF_OK;
}

struct dgf_segment *dgf_segments_find(const struct dgf_segments *segments,
                                      uint64_t index)
{
    size_t low = 0, high = segments->n;

    while (low < high) { /* the first segment that begins behind index */
        size_t mid = low + (high - low) / 2;

        if (segments->at[mid].first <= index)
            low = mid + 1;
        else
            high = mid;
    }
    return low ? &segments->at[low - 1] : NULL;
}

void dgf_segments_drop_before(struct dgf_segments *segments, uint64_t index)
{
    size_t n = 0;

    while (n + 1 < segments->n && segments->at[n + 1].first <= index)
        n++;
    segments->n -= n;
    memmove(segments->at, segments->at + n, segments->n * sizeof(*segments->at));
}

uint64_t dgf_segments_bytes(const struct dgf_segments *segments)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < segments->n; i++)
        sum += segments->at[i].bytes;
    return sum;
}

static enum dgf_rc bad(struct dgf_err *err, const char *dir, uint64_t first,
                       const char *cause)
{
    return dgf_err_set(err, DGF_BAD_DATA,
                       "journal segment '%s/journal/%" PRIu64 ".j': %s", dir, first,
                       cause);
}

enum dgf_rc dgf_segment_head(struct dgf_scan *scan, const char *dir, uint64_t first,
                             struct dgf_head *ret, struct dgf_err *err)
{
    struct dgf_frame frame;
    enum dgf_rc rc = dgf_scan_next(scan, &frame, err);

    if (rc == DGF_AGAIN || rc == DGF_BAD_DATA)
        return bad(err, dir, first, "its head frame at byte 0 is damaged");
    if (rc)
        return rc;
    if (frame.type != DGF_FRAME_HEAD || !dgf_frame_get_head(frame.payload, ret))
        return bad(err, dir, first, "does not begin with a head frame of this format");
    if (ret->first != first)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "journal segment '%s/journal/%" PRIu64
                           ".j': begins at index %" PRIu64 ", as its head frame says",
                           dir, first, ret->first);
    return DGF_OK;
}

enum dgf_rc dgf_segment_head_rest(const struct dgf_head *head,
                                  struct dgf_tree *ret_tree, struct dgf_marks *marks)
{
    struct dgf_rd rd = dgf_rd_of(head->rest);
    struct dgf_bytes policy_set;
    uint64_t cut;
    enum dgf_rc rc;

    if (!dgf_tree_get(&rd, head->first, ret_tree))
        return DGF_BAD_DATA;
    policy_set = dgf_rd_bytes(&rd, DGF_SHA256_LEN);
    cut = dgf_rd_le64(&rd);
    if (rd.bad)
        return DGF_BAD_DATA;
    if (!marks)
        return DGF_OK;
    memcpy(marks->policy_set, policy_set.ptr, policy_set.len);
    marks->cut = cut;
    rc = dgf_marks_get_positions(marks, &rd);
    if (!rc)
        rc = dgf_marks_get_cursors(marks, &rd);
    return rc ? rc : dgf_rd_left(&rd) ? DGF_BAD_DATA : DGF_OK;
}

struct listing {
    struct dgf_segments *segments;
    enum dgf_rc rc;
};

static void note(void *ctx, const char *name)
{
    struct listing *listing = ctx;
    struct dgf_segment segment = {0};

    if (!listing->rc && dgf_segment_name(name, &segment.first))
        listing->rc = dgf_segments_add(listing->segments, &segment);
}

static int by_first(const void *a, const void *b)
{
    const struct dgf_segment *x = a, *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

/* Does `head` follow the segment before it? */
static enum dgf_rc check_order(const struct dgf_segments *segments,
                               const struct dgf_segment *prev,
                               const struct dgf_head *head, const char *dir,
                               struct dgf_err *err)
{
    if (memcmp(head->log_id, segments->log_id, sizeof(head->log_id)) != 0)
        return bad(err, dir, head->first, "belongs to another log");
    if (head->prev_first != prev->first)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "journal segment '%s/journal/%" PRIu64 ".j' is missing", dir,
                           head->prev_first);
    if (head->prev_bytes != prev->bytes)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "journal segment '%s/journal/%" PRIu64 ".j': has %" PRIu64
                           " bytes instead of %" PRIu64,
                           dir, prev->first, prev->bytes, head->prev_bytes);
    return DGF_OK;
}

/* Fills what HEAD and the file's size say about segment number i. */
static enum dgf_rc look(struct dgf_segments *segments, size_t i, struct dgf_scan *scan,
                        const char *dir, struct dgf_err *err)
{
    struct dgf_segment *segment = &segments->at[i];
    char path[DGF_PATH_MAX];
    struct dgf_head head;
    enum dgf_rc rc;

    dgf_segment_path(path, dir, segment->first);
    rc = dgf_scan_open(scan, path, err);
    if (!rc)
        rc = dgf_segment_head(scan, dir, segment->first, &head, err);
    if (rc)
        return rc;
    segment->bytes = scan->limit;
    segment->batch_before = head.batch_before;
    segment->created_ns = head.created_ns;
    if (i > 0)
        return check_order(segments, &segments->at[i - 1], &head, dir, err);
    memcpy(segments->log_id, head.log_id, sizeof(head.log_id));
    return DGF_OK;
}

/* People name the folder they see the files in. */
static enum dgf_rc no_journal(struct dgf_segments *segments, const char *dir,
                              struct dgf_err *err)
{
    struct listing listing = {segments, DGF_OK};
    struct dgf_err none;
    size_t n = 0;

    if (dgf_file_exists(dir) && !dgf_dir_list(dir, note, &listing, &none))
        n = segments->n;
    segments->n = 0;
    if (n > 0)
        return dgf_err_set(err, DGF_AGAIN,
                           "no journal in '%s': it is the journal itself; name the "
                           "data_dir, the folder around it",
                           dir);
    return dgf_err_set(err, DGF_AGAIN, "no journal in '%s'", dir);
}

static enum dgf_rc list_once(struct dgf_segments *segments, const char *dir,
                             struct dgf_err *err)
{
    struct listing listing = {segments, DGF_OK};
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    segments->n = 0;
    (void)snprintf(path, sizeof(path), "%s/journal", dir);
    if (!dgf_file_exists(path) && (errno == ENOENT || errno == ENOTDIR))
        return no_journal(segments, dir, err);
    rc = dgf_dir_list(path, note, &listing, err); /* says why it may not be looked at */
    if (rc)
        return rc;
    if (listing.rc)
        return dgf_err_set(err, DGF_NOMEM, "cannot list '%s': out of memory", path);
    if (segments->n == 0)
        return dgf_err_set(err, DGF_AGAIN, "no journal in '%s'", dir);
    qsort(segments->at, segments->n, sizeof(*segments->at), by_first);
    return DGF_OK;
}

static bool same_names(const struct dgf_segments *a, const struct dgf_segments *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = a->at[i].first == b->at[i].first;
    return same;
}

/* A folder that changes while it is listed may show a new name and hide one
 * that is older, which would look like a hole. */
enum dgf_rc dgf_segments_list(struct dgf_segments *segments, const char *dir,
                              struct dgf_err *err)
{
    DGF_RELEASE(dgf_segments_release) struct dgf_segments again = {0};
    enum dgf_rc rc = list_once(segments, dir, err);

    dgf_segments_init(&again);
    for (int i = 0; !rc && i < MAX_LOOKS; i++) {
        struct dgf_segments swap;

        rc = list_once(&again, dir, err);
        if (rc || same_names(segments, &again))
            break;
        swap = *segments;
        *segments = again;
        again = swap;
    }
    return rc;
}

/* *ret_gone: a segment that was listed is not there any more. */
static enum dgf_rc load_once(struct dgf_segments *segments, const char *dir,
                             uint64_t *ret_first, bool *ret_gone, struct dgf_err *err)
{
    DGF_RELEASE(dgf_scan_release) struct dgf_scan scan = {0};
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_scan_init(&scan);
    *ret_gone = false;
    rc = dgf_segments_list(segments, dir, err);
    for (size_t i = 0; !rc && i < segments->n; i++) {
        *ret_first = segments->at[i].first;
        rc = look(segments, i, &scan, dir, err);
        if (rc) {
            dgf_segment_path(path, dir, segments->at[i].first);
            *ret_gone = !dgf_file_exists(path);
        }
    }
    return rc;
}

enum dgf_rc dgf_segments_load(struct dgf_segments *segments, const char *dir,
                              bool prune_ok, uint64_t *ret_first, struct dgf_err *err)
{
    uint64_t first = 0;
    bool gone;
    enum dgf_rc rc;

    /* Pruned under our eyes, or missing: another look at the folder tells. */
    for (int i = 0; i < MAX_LOOKS; i++) {
        rc = load_once(segments, dir, &first, &gone, err);
        if (!rc || !gone || !prune_ok)
            break;
    }
    if (ret_first)
        *ret_first = first;
    return rc;
}
