#include "ledger/archive_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/parse.h"
#include "ledger/archive_part.h"

/* ---- findings ------------------------------------------------------------ */

void found(struct check *check, enum rank rank, const char *class, uint64_t index,
           const char *fmt, ...)
{
    struct finding *finding = &check->found;
    va_list args;

    if (rank > finding->rank ||
        (rank == finding->rank && (rank == RANK_NONE || index >= finding->index)))
        return;
    finding->rank = rank;
    finding->class = class;
    finding->index = index;
    va_start(args, fmt);
    (void)vsnprintf(finding->text, sizeof(finding->text), fmt, args);
    va_end(args);
}

void missing(struct check *check, uint64_t index, const char *name)
{
    struct finding *finding = &check->missing;

    if (finding->class && index >= finding->index)
        return;
    check->missing_of = check->step->size;
    finding->class = "missing";
    finding->index = index;
    (void)snprintf(finding->text, sizeof(finding->text), "there is no '%s'", name);
}

void cannot(struct check *check, enum dgf_rc rc, const char *text)
{
    if (check->rc)
        return;
    if (rc == DGF_BAD_CONFIG) /* of the store: the command line is not to blame */
        rc = DGF_RETRY;
    check->rc = rc;
    if (text != check->err->text)
        (void)dgf_err_set(check->err, rc, "%s", text);
}

enum dgf_rc dgf_store_slurp(struct dgf_store *store, const char *name,
                            struct dgf_buf *ret, struct dgf_err *err)
{
    for (;;) {
        size_t room = ret->max - ret->len, n;
        uint8_t *at;
        enum dgf_rc rc;

        room = room > 65536 ? 65536 : room;
        if (room == 0)
            return dgf_err_set(err, DGF_BAD_DATA, "'%s' is larger than %zu bytes", name,
                               ret->max - 1);
        at = dgf_buf_room(ret, room);
        if (!at)
            return dgf_err_set(err, DGF_NOMEM, "cannot read '%s': out of memory", name);
        rc = store->read(store, name, ret->len, at, room, &n, err);
        if (rc)
            return rc;
        ret->len += n;
        if (n < room)
            return DGF_OK;
    }
}

/* False: not there, or too large (then *ret_large), or it ends. */
static bool slurp(struct check *check, const char *name, struct dgf_buf *ret,
                  bool *ret_large)
{
    enum dgf_rc rc = dgf_store_slurp(check->store, name, ret, check->err);

    *ret_large = rc == DGF_BAD_DATA;
    if (rc && rc != DGF_AGAIN && rc != DGF_BAD_DATA)
        cannot(check, rc, check->err->text);
    return !rc;
}

/* ---- sizes of checkpoints ------------------------------------------------ */

/* The smallest size of a checkpoint that is greater; 0: there is none. */
static uint64_t next_size(struct check *check, uint64_t after)
{
    uint64_t size;
    enum dgf_rc rc = after == UINT64_MAX
                         ? DGF_AGAIN
                         : dgf_numbers_next(&check->sizes, check->store, "checkpoints/",
                                            "", after + 1, &size, check->err);

    if (rc && rc != DGF_AGAIN)
        cannot(check, rc, check->err->text);
    return rc ? 0 : size;
}

/* ---- what will be read next ---------------------------------------------- */

enum { SEGMENTS_AHEAD = 6, TILES_AHEAD = 8 };

static void want_tile(struct check *check, const struct dgf_tile *tile)
{
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_tile(name, tile);
    check->store->soon(check->store, name);
}

static void want_segment(struct check *check, uint64_t first, uint64_t size)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t full = first / DGF_TILE_WIDTH;

    dgf_name_checkpoint(name, size);
    check->store->soon(check->store, name);
    dgf_name_manifest(name, first);
    check->store->soon(check->store, name);
    dgf_name_segment(name, first);
    check->store->soon(check->store, name);
    dgf_name_state(name, first);
    check->store->soon(check->store, name);
    for (unsigned n = 0; full < size / DGF_TILE_WIDTH && n < TILES_AHEAD; full++, n++)
        want_tile(check, &(struct dgf_tile){0, full, DGF_TILE_WIDTH});
    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
        struct dgf_tile tile;

        if (dgf_tile_partial(size, level, &tile))
            want_tile(check, &tile);
    }
}

/* A container answers many requests in the time of one. */
static void ask_ahead(struct check *check, uint64_t first)
{
    const struct dgf_numbers *sizes = &check->sizes;

    if (!check->store->soon)
        return;
    for (size_t i = sizes->at; i < sizes->n && i < sizes->at + SEGMENTS_AHEAD; i++) {
        if (sizes->list[i] > check->asked) {
            want_segment(check, first, sizes->list[i]);
            check->asked = sizes->list[i];
        }
        first = sizes->list[i];
    }
}

/* ---- manifests ----------------------------------------------------------- */

static void bad_manifest(struct check *check, const char *class, const char *what)
{
    found(check, RANK_MANIFEST, class, check->step->first, "manifest %" PRIu64 ": %s",
          check->step->first, what);
}

/* What it says of itself, once its bytes are those that were signed. */
static void check_manifest_fields(struct check *check)
{
    struct step *step = check->step;
    const struct dgf_manifest *manifest = &step->manifest;

    if (strcmp(manifest->log, check->log) != 0)
        bad_manifest(check, "origin", "it is of another log");
    else if (manifest->first != step->first || manifest->last + 1 != step->size)
        bad_manifest(check, "manifest", "it is of other records");
    else if (manifest->has_previous != (step->first > 0))
        bad_manifest(check, "manifest", "the manifest before it is not named as it is");
    else if (manifest->has_previous && check->has_previous &&
             memcmp(manifest->previous, check->previous, DGF_SHA256_LEN) != 0)
        found(check, RANK_MANIFEST, "manifest",
              check->previous_signed ? step->first : check->previous_first,
              "manifest %" PRIu64 " is not the one the next names",
              check->previous_first);
    else if (check->tree_known &&
             memcmp(manifest->root_before, check->root, DGF_SHA256_LEN) != 0)
        bad_manifest(check, "manifest", "its root_before is not the root there");
    else if (step->has_checkpoint &&
             memcmp(manifest->root_after, step->expected, DGF_SHA256_LEN) != 0)
        bad_manifest(check, "manifest", "its root_after is not its checkpoint's");
}

/* Reads the manifest of step->first; false: it is not there. */
static bool read_manifest(struct check *check)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    struct step *step = check->step;
    char name[DGF_ARCHIVE_NAME_MAX];
    bool large;
    enum dgf_rc rc;

    dgf_name_manifest(name, step->first);
    dgf_buf_init(&bytes, DGF_MANIFEST_MAX_BYTES + 1);
    if (!slurp(check, name, &bytes, &large)) {
        if (large)
            bad_manifest(check, "limit", "it is larger than 1 MiB");
        return large;
    }
    dgf_sha256(dgf_buf_bytes(&bytes), step->manifest_hash);
    if (step->has_checkpoint &&
        memcmp(step->manifest_hash, check->checkpoint.manifest, DGF_SHA256_LEN) != 0)
        bad_manifest(check, "manifest", "it is not the one that was signed");
    rc = dgf_manifest_get(dgf_buf_bytes(&bytes), &step->manifest, check->err);
    if (rc == DGF_NOMEM)
        cannot(check, rc, check->err->text);
    else if (rc)
        bad_manifest(check, "manifest", check->err->text);
    else
        step->has_manifest = true;
    return true;
}

static bool same_sources(const struct dgf_manifest *a, const struct dgf_manifest *b)
{
    if (a->n_sources != b->n_sources)
        return false;
    for (size_t i = 0; i < a->n_sources; i++) {
        const struct dgf_manifest_source *x = &a->sources[i], *y = &b->sources[i];

        if (strcmp(x->name, y->name) != 0 || x->events != y->events ||
            !x->from != !y->from || (x->from && strcmp(x->from, y->from) != 0) ||
            !x->to != !y->to || (x->to && strcmp(x->to, y->to) != 0))
            return false;
    }
    return true;
}

/* ---- what a manifest names ----------------------------------------------- */

/* The hash of an object; false: it is not there, or it ends. */
static bool hash_object(struct check *check, const char *name,
                        uint8_t ret[DGF_SHA256_LEN])
{
    uint8_t piece[65536];
    struct dgf_sha256_sum sum;
    uint64_t offset = 0;
    size_t n;

    dgf_sha256_begin(&sum);
    do {
        enum dgf_rc rc = check->store->read(check->store, name, offset, piece,
                                            sizeof(piece), &n, check->err);

        if (rc) {
            if (rc != DGF_AGAIN)
                cannot(check, rc, check->err->text);
            return false;
        }
        dgf_sha256_add(&sum, dgf_bytes_of(piece, n));
        offset += n;
    } while (n == sizeof(piece));
    dgf_sha256_end(&sum, ret);
    return true;
}

static void check_object(struct check *check, const char *name,
                         const uint8_t wanted[DGF_SHA256_LEN], bool must)
{
    uint8_t hash[DGF_SHA256_LEN];

    if (!hash_object(check, name, hash)) {
        if (must && !check->rc)
            missing(check, check->step->first, name);
    } else if (memcmp(hash, wanted, sizeof(hash)) != 0) {
        found(check, RANK_SEGMENT, "segment", check->step->first,
              "'%s' is not the one the manifest names", name);
    }
}

/* Policies seldom change: the same list is not looked at again. */
static void check_policies(struct check *check)
{
    const struct dgf_manifest *manifest = &check->step->manifest;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_sha256_sum sum;

    dgf_sha256_begin(&sum);
    for (size_t i = 0; i < manifest->n_policies; i++)
        dgf_sha256_add(&sum,
                       dgf_bytes_of(manifest->policies[i].sha256, DGF_SHA256_LEN));
    dgf_sha256_end(&sum, digest);
    if (memcmp(digest, check->policies, sizeof(digest)) == 0)
        return;
    memcpy(check->policies, digest, sizeof(digest));
    for (size_t i = 0; i < manifest->n_policies && !check->rc; i++) {
        char name[DGF_ARCHIVE_NAME_MAX];

        dgf_name_policy(name, manifest->policies[i].sha256);
        check_object(check, name, manifest->policies[i].sha256, true);
    }
}

static void check_objects(struct check *check)
{
    const struct step *step = check->step;
    char name[DGF_ARCHIVE_NAME_MAX];

    if (!step->absent) {
        if (memcmp(step->file_sha256, step->manifest.file_sha256, DGF_SHA256_LEN) != 0)
            found(check, RANK_SEGMENT, "segment", step->first,
                  "the file of segment %" PRIu64 " is not the one the manifest names",
                  step->first);
        else if (memcmp(step->leaves_sha256, step->manifest.leaves_sha256,
                        DGF_SHA256_LEN) != 0)
            found(check, RANK_SEGMENT, "segment", step->first,
                  "the lines of segment %" PRIu64 " are not those the manifest names",
                  step->first);
        if (!same_sources(&step->manifest, &step->seen))
            found(check, RANK_CONTENT, "manifest", step->first,
                  "manifest %" PRIu64 ": its sources are not those of its records",
                  step->first);
    }
    dgf_name_state(name, step->first);
    check_object(check, name, step->manifest.state_sha256, false);
    check_policies(check);
}

/* ---- one segment --------------------------------------------------------- */

static void note_absent(struct check *check)
{
    struct step *step = check->step;
    struct range *last = check->n_absent ? &check->absent[check->n_absent - 1] : NULL;

    step->absent = true;
    check->key_may_be_pruned = true;
    if (last && last->last + 1 == step->first) {
        last->last = step->size - 1;
        return;
    }
    if (!check->absent)
        check->absent = dgf_calloc(MAX_RANGES, sizeof(*check->absent));
    if (!check->absent || check->n_absent == MAX_RANGES) {
        cannot(check, DGF_NOMEM, "cannot verify: too much is missing");
        return;
    }
    check->absent[check->n_absent++] = (struct range){step->first, step->size - 1};
}

static void check_distance(struct check *check)
{
    struct step *step = check->step;

    if (step->has_checkpoint && check->has_time && !check->follow.resumed &&
        check->checkpoint.time_s > check->time_s &&
        check->checkpoint.time_s - check->time_s > MAX_DISTANCE_S)
        found(check, RANK_RECORD, "heartbeat", step->first,
              "checkpoint %" PRIu64 " came more than 120 s after the one before it",
              step->size);
}

/* Behind something that is missing the tree is taken up where a tile can be read. */
static void find_tree(struct check *check)
{
    struct step *step = check->step;

    if (!check->tree_known && step->has_manifest && check->found.rank == RANK_NONE &&
        load_tree(check, step->first, step->manifest.root_before))
        memcpy(check->root, step->manifest.root_before, sizeof(check->root));
}

static void check_leaves(struct check *check)
{
    struct step *step = check->step;

    find_tree(check);
    if (!check->tree_known) {
        /* Nothing can be compared: it is not said to be whole. */
        check->tiles->size = step->size;
        note_absent(check);
        missing(check, step->first, "tiles and records before this segment");
    } else if (!read_leaves(check)) {
        note_absent(check);
        append_from_tiles(check);
    }
    if (step->absent)
        follow_absent(check);
}

static void check_segment(struct check *check)
{
    struct step *step = check->step;

    check->follow.resumed = false;
    check_leaves(check);
    if (check->rc)
        return;
    if (step->has_checkpoint) {
        check_checkpoint_signature(check, &check->checkpoint, step->first);
        check_distance(check);
    }
    if (step->has_manifest)
        check_objects(check);
    if (check->tree_known && check->found.rank > RANK_LEAF)
        compare_partial_tiles(check);
    if (step->has_expected && !check->rc)
        check_anchors(check, step->size, step->expected);
}

/* What the next one goes on from. */
static void close_segment(struct check *check)
{
    struct step *step = check->step;

    check->has_previous = step->has_manifest;
    check->previous_first = step->first;
    check->previous_signed = step->has_checkpoint;
    memcpy(check->previous, step->manifest_hash, sizeof(check->previous));
    if (step->has_checkpoint) {
        check->time_s = check->checkpoint.time_s;
        check->has_time = true;
        check->verdict->newest_s = check->time_s;
    }
    if (step->has_expected)
        memcpy(check->root, step->expected, sizeof(check->root));
    check->verdict->size = step->size;
    memcpy(check->verdict->root, check->root, sizeof(check->root));
    check->verdict->segments += !step->absent;
}

static void step_release(struct step *step)
{
    dgf_manifest_release(&step->manifest);
    dgf_manifest_release(&step->seen);
}

/* ---- from one checkpoint to the next -------------------------------------- */

/* Is there a manifest that names this one as the one before it? */
static bool is_gone_on_from(struct check *check, uint64_t first,
                            const uint8_t hash[DGF_SHA256_LEN])
{
    DGF_RELEASE(dgf_manifest_release) struct dgf_manifest next = {.first = 0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_manifest(name, first);
    dgf_buf_init(&bytes, DGF_MANIFEST_MAX_BYTES + 1);
    return !dgf_store_slurp(check->store, name, &bytes, check->err) &&
           !dgf_manifest_get(dgf_buf_bytes(&bytes), &next, check->err) &&
           next.has_previous && memcmp(next.previous, hash, DGF_SHA256_LEN) == 0;
}

/* A segment whose checkpoint is gone: the next manifests vouch for it. */
static bool ends_earlier(struct check *check, uint64_t first, uint64_t size,
                         uint64_t *ret_size)
{
    DGF_RELEASE(step_release) struct step step = {.first = first, .size = size};
    struct finding kept = check->found;
    bool is;

    check->step = &step; /* cppcheck-suppress autoVariables */
    is = read_manifest(check) && step.has_manifest && step.manifest.first == first &&
         step.manifest.last + 1 < size && step.manifest.last >= first &&
         is_gone_on_from(check, step.manifest.last + 1, step.manifest_hash);
    check->found = kept;
    *ret_size = is ? step.manifest.last + 1 : size;
    return is;
}

/* One segment of first <= i < size; false: it is wrong, or cannot be read. */
static bool walk_segment(struct check *check, uint64_t first, uint64_t size,
                         bool has_checkpoint)
{
    DGF_RELEASE(step_release)
    struct step step = {.first = first, .size = size, .has_checkpoint = has_checkpoint};
    char name[DGF_ARCHIVE_NAME_MAX];

    check->step = &step; /* cppcheck-suppress autoVariables */
    if (has_checkpoint) {
        check_checkpoint_form(check, &check->checkpoint);
        if (check->found.rank != RANK_NONE)
            return false;
        memcpy(step.expected, check->checkpoint.root, DGF_SHA256_LEN);
        step.has_expected = true;
    }
    dgf_name_manifest(name, first);
    if (!read_manifest(check) && !check->rc)
        missing(check, first, name);
    if (check->rc)
        return false;
    if (step.has_manifest && !has_checkpoint) {
        memcpy(step.expected, step.manifest.root_after, DGF_SHA256_LEN);
        step.has_expected = true;
    }
    check_segment(check);
    /* The log id may be known from a checkpoint only. */
    if (step.has_manifest && !check->rc)
        check_manifest_fields(check);
    if (check->rc || check->found.rank != RANK_NONE)
        return false;
    close_segment(check);
    return true;
}

static bool walk_to(struct check *check, uint64_t first, uint64_t size)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t end;
    bool large;

    dgf_name_checkpoint(name, size);
    dgf_buf_clear(&check->checkpoint.bytes);
    if (!slurp(check, name, &check->checkpoint.bytes, &large) && !large) {
        if (!check->rc)
            cannot(check, DGF_RETRY, "a checkpoint went while it was looked for");
        return false;
    }
    while (ends_earlier(check, first, size, &end)) {
        dgf_name_checkpoint(name, end);
        missing(check, first, name);
        if (!walk_segment(check, first, end, false))
            return false;
        first = end;
    }
    return walk_segment(check, first, size, true);
}

/* ---- all of it ----------------------------------------------------------- */

static void conclude_absent(struct check *check)
{
    struct dgf_archive_verdict *verdict = check->verdict;
    char name[DGF_ARCHIVE_NAME_MAX];

    for (size_t i = 0; i < check->n_absent; i++) {
        const struct range *range = &check->absent[i];

        if (range->last >= check->follow.pruned_before) {
            uint64_t at = range->first > check->follow.pruned_before
                              ? range->first
                              : check->follow.pruned_before;

            dgf_name_segment(name, range->first);
            missing(check, at, name);
            if (range->last + 1 < check->step->size && check->missing.index == at)
                check->missing_of = range->last + 1;
        } else if (verdict->n_pruned < DGF_ARCHIVE_PRUNED_MAX) {
            verdict->pruned[verdict->n_pruned].first = range->first;
            verdict->pruned[verdict->n_pruned++].last = range->last;
        }
    }
}

static void conclude(struct check *check)
{
    struct dgf_archive_verdict *verdict = check->verdict;
    const struct finding *finding = &check->found;

    verdict->is_signed = check->n_keys > 0;
    if (finding->rank == RANK_NONE)
        finding = &check->missing;
    if (!finding->class)
        return;
    verdict->result =
        finding == &check->missing ? DGF_VERIFIED_INCOMPLETE : DGF_VERIFIED_TAMPERED;
    verdict->is_anchored = verdict->is_anchored && finding == &check->missing;
    verdict->class = finding->class;
    verdict->index = finding->index;
    (void)snprintf(verdict->text, sizeof(verdict->text), "%s", finding->text);
}

/* A copy that was made while the agent wrote lacks what was newest. */
static void note_newest(struct check *check, uint64_t size)
{
    check->verdict->is_of_newest = check->missing.class &&
                                   check->found.rank == RANK_NONE &&
                                   check->missing_of >= size;
}

static enum dgf_rc walk(struct check *check)
{
    uint64_t first = 0, size, newest = 0;

    while ((size = next_size(check, first)) && !check->rc) {
        newest = first;
        ask_ahead(check, first);
        if (!walk_to(check, first, size))
            break;
        first = size;
    }
    if (check->rc)
        return check->rc;
    if (check->found.rank == RANK_NONE) {
        struct step step = {.first = newest, .size = first};

        check->step = &step; /* cppcheck-suppress autoVariables */
        check_newest(check, newest);
        if (!check->rc && check->found.rank == RANK_NONE)
            check_anchors_beyond(check, first);
        if (!check->rc && check->found.rank == RANK_NONE)
            conclude_absent(check);
        note_newest(check, first);
    }
    if (check->rc)
        return check->rc;
    conclude(check);
    return DGF_OK;
}

static enum dgf_rc begin(struct check *check)
{
    enum dgf_rc rc = check_trust(check, check->err);

    if (rc)
        return rc;
    check->tiles = dgf_malloc(sizeof(*check->tiles));
    check->other = dgf_malloc(sizeof(*check->other));
    if (!check->tiles || !check->other || reading_new(&check->reading))
        return dgf_err_set(check->err, DGF_NOMEM, "cannot verify: out of memory");
    dgf_tiles_init(check->tiles);
    dgf_tiles_init(check->other);
    tree_root(check->tiles, check->root);
    check->tree_known = true;
    dgf_buf_init(&check->checkpoint.bytes, DGF_CHECKPOINT_MAX_BYTES + 1);
    dgf_buf_init(&check->anchor.bytes, DGF_CHECKPOINT_MAX_BYTES + 1);
    dgf_buf_init(&check->before.bytes, DGF_CHECKPOINT_MAX_BYTES + 1);
    return check_key_is_of_archive(check);
}

static void release(struct check *check)
{
    follow_release(&check->follow);
    reading_free(check->reading);
    dgf_free(check->tiles);
    dgf_free(check->other);
    dgf_free(check->keys);
    dgf_free(check->spares);
    dgf_free(check->absent);
    dgf_numbers_release(&check->sizes);
    dgf_buf_release(&check->checkpoint.bytes);
    dgf_buf_release(&check->anchor.bytes);
    dgf_buf_release(&check->before.bytes);
}

enum dgf_rc dgf_archive_verify(struct dgf_store *store,
                               const struct dgf_archive_trust *trust,
                               struct dgf_archive_verdict *ret, struct dgf_err *err)
{
    DGF_RELEASE(release)
    struct check check = {.store = store,
                          .trust = trust,
                          .verdict = ret,
                          .err = err,
                          .found.rank = RANK_NONE};
    enum dgf_rc rc;

    memset(ret, 0, sizeof(*ret));
    rc = begin(&check);
    return rc ? rc : walk(&check);
}
