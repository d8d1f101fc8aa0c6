/* archive_verify_segment.c - the records of one segment: frames, lines, leaf hashes.
 *
 * Leaf hashes are compared with the tiles as they come.  Which of both is wrong shows
 * at the end, when the root of either is the one that was signed: so once they differ,
 * a second tree goes on with what the tiles say.
 *
 * Frames are read some ahead, so that a thread can unpack them; what ends the file, or
 * cannot be read, is kept until those before it were judged. */
#include <inttypes.h>
#include <stdio.h>

#include "ledger/archive_part.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_shape.h"
#include "ledger/archive_unpack.h"

#define WINDOW_BYTES (1u << 20)
#define BATCH 128

/* What follows the frames that were read. */
struct last {
    bool is;
    enum dgf_rc rc; /* DGF_OK: the seek table; DGF_BAD_DATA: class and what */
    const char *class, *what;
    struct dgf_bytes table; /* in the window */
    struct dgf_err err;     /* of other codes: it could not be read */
};

struct reading {
    struct dgf_unpack *unpack;
    uint8_t window[WINDOW_BYTES];
    size_t at, len;
    uint64_t offset; /* of what follows the window */
    bool ended;      /* the window holds the rest */
    struct last last;
    struct dgf_buf index;
    uint32_t n_frames;
    struct dgf_sha256_sum file;
    char name[DGF_ARCHIVE_NAME_MAX];

    struct dgf_shapes shapes;
    struct dgf_bytes lines[BATCH];
    uint8_t hashes[BATCH][DGF_SHA256_LEN];
    size_t n, n_hashed; /* the first ones have their hashes already */

    uint64_t tile_index;
    bool tile_tried, has_tile;
    uint8_t tile[DGF_TILE_WIDTH][DGF_SHA256_LEN];
    uint64_t next_anchor;
};

enum dgf_rc reading_new(struct reading **ret)
{
    struct reading *reading = dgf_malloc(sizeof(*reading));

    if (!reading)
        return DGF_NOMEM;
    reading->unpack = NULL;
    dgf_shapes_init(&reading->shapes);
    dgf_buf_init(&reading->index, DGF_FRAME_PACKED_MAX);
    if (dgf_unpack_new(&reading->unpack)) {
        reading_free(reading);
        return DGF_NOMEM;
    }
    *ret = reading;
    return DGF_OK;
}

void reading_free(struct reading *reading)
{
    if (!reading)
        return;
    dgf_unpack_free(reading->unpack);
    dgf_buf_release(&reading->index);
    dgf_free(reading);
}

void tree_root(const struct dgf_tiles *tiles, uint8_t ret[DGF_SHA256_LEN])
{
    struct dgf_tree tree;

    dgf_tiles_tree(tiles, &tree);
    dgf_tree_root(&tree, ret);
}

/* The file is no segment; reading ends. */
static void fault(struct step *step, const char *class, uint64_t at, const char *what)
{
    if (step->fault)
        return;
    step->fault = class;
    step->fault_at = at;
    (void)snprintf(step->fault_text, sizeof(step->fault_text), "%s", what);
}

/* ---- leaf hashes --------------------------------------------------------- */

/* The tile of level 0 that holds index, as it was at the segment's end. */
static bool tile_of(struct check *check, uint64_t index)
{
    struct reading *reading = check->reading;
    uint64_t end = check->step->size;
    struct dgf_tile tile = {0, index / DGF_TILE_WIDTH, DGF_TILE_WIDTH};

    if (reading->tile_tried && reading->tile_index == tile.index)
        return reading->has_tile;
    if (end / DGF_TILE_WIDTH == tile.index)
        tile.width = (unsigned)(end % DGF_TILE_WIDTH);
    reading->tile_tried = true;
    reading->tile_index = tile.index;
    reading->has_tile = read_tile(check, &tile, reading->tile);
    return reading->has_tile;
}

static enum dgf_rc ignore_tile(void *ctx, const struct dgf_tile *tile,
                               struct dgf_bytes hashes)
{
    (void)ctx;
    (void)tile;
    (void)hashes;
    return DGF_OK;
}

/* Full tiles of level 0 are in the cache; those above are looked at here. */
static enum dgf_rc on_full(void *ctx, const struct dgf_tile *tile,
                           struct dgf_bytes hashes)
{
    struct check *check = ctx;
    struct reading *reading = check->reading;
    char name[DGF_ARCHIVE_NAME_MAX];

    if (tile->level > 0)
        return compare_tile(check, tile, hashes);
    if (tile_of(check, tile->index * DGF_TILE_WIDTH) &&
        memcmp(reading->tile, hashes.ptr, hashes.len) != 0) {
        dgf_name_tile(name, tile);
        found(check, RANK_TILE, "tile", tile_first(tile),
              "'%s' is not what the records give", name);
    }
    return check->rc;
}

static void append(struct check *check, struct dgf_tiles *tiles,
                   uint8_t (*hashes)[DGF_SHA256_LEN], size_t n)
{
    enum dgf_rc rc =
        dgf_tiles_append(tiles, (const uint8_t(*)[DGF_SHA256_LEN])hashes, n,
                         tiles == check->tiles ? on_full : ignore_tile, check);

    if (rc)
        cannot(check, rc, check->err->text);
}

/* The first leaf that is not what its tile says. */
static void differ(struct check *check, size_t i, uint64_t base)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;
    uint64_t seq;

    step->mismatch = true;
    step->mismatch_at = base + i;
    step->mismatch_class = "leaf";
    if (dgf_archive_line_seq(reading->lines[i], &seq) && seq != base + i)
        step->mismatch_class = "seq";
    memcpy(check->other, check->tiles, sizeof(*check->other));
    append(check, check->other, reading->hashes, i);
}

static void check_anchor_here(struct check *check)
{
    struct reading *reading = check->reading;
    uint8_t root[DGF_SHA256_LEN];

    if (check->tiles->size != reading->next_anchor)
        return;
    if (check->tiles->size < check->step->size) {
        tree_root(check->tiles, root);
        check_anchors(check, check->tiles->size, root);
    }
    reading->next_anchor = UINT64_MAX;
    for (size_t i = 0; i < check->trust->n_anchors; i++) {
        struct note note = {.size = 0};
        const char *what;

        note.bytes.ptr = (uint8_t *)(uintptr_t)check->trust->anchors[i].ptr;
        note.bytes.len = check->trust->anchors[i].len;
        (void)note_read(&note, &what);
        if (note.size > check->tiles->size && note.size < reading->next_anchor)
            reading->next_anchor = note.size;
    }
}

/* What waits: all in one tile. */
static void flush(struct check *check)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;
    uint64_t base = check->tiles->size;
    size_t at = base % DGF_TILE_WIDTH, i = 0;

    if (reading->n == 0 || check->rc)
        return;
    dgf_sha256_leaves(reading->lines + reading->n_hashed,
                      reading->n - reading->n_hashed,
                      reading->hashes + reading->n_hashed);
    if (tile_of(check, base)) {
        if (!step->mismatch && memcmp(reading->hashes, reading->tile[at],
                                      reading->n * DGF_SHA256_LEN) != 0) {
            while (memcmp(reading->hashes[i], reading->tile[at + i], DGF_SHA256_LEN) ==
                   0)
                i++;
            differ(check, i, base);
        }
        if (step->mismatch)
            append(check, check->other, reading->tile + at + i, reading->n - i);
    }
    append(check, check->tiles, reading->hashes, reading->n);
    reading->n = reading->n_hashed = 0;
    check_anchor_here(check);
}

/* ---- lines --------------------------------------------------------------- */

/* The hash of its leaf is NULL where it is not known yet. */
static void add_line(struct check *check, struct dgf_bytes line, const uint8_t *hash)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;
    uint64_t index = step->first + step->n_lines;
    struct dgf_archive_line fields;
    enum dgf_line_is is;

    if (index == step->size) {
        fault(step, "segment", index, "it holds more records than were signed");
        return;
    }
    if (line.len > DGF_ARCHIVE_LINE_MAX) {
        fault(step, "limit", index, "a record is longer than 65,535 bytes");
        return;
    }
    is = dgf_shapes_read(&reading->shapes, line, &fields);
    if (is == DGF_LINE_TOO_DEEP) {
        fault(step, "limit", index, "a record is nested more than 64 deep");
        return;
    }
    if (is == DGF_LINE_NO_JSON)
        found(check, RANK_RECORD, "json", index, "record %" PRIu64 " is not JSON",
              index);
    else
        follow_record(check, line, &fields, index);
    step->n_lines++;
    if (hash)
        memcpy(reading->hashes[reading->n_hashed++], hash, DGF_SHA256_LEN);
    reading->lines[reading->n++] = line;
    index++;
    if (reading->n == BATCH || index % DGF_TILE_WIDTH == 0 ||
        index == reading->next_anchor)
        flush(check);
}

static void read_lines(struct check *check, const struct dgf_unpacked *frame)
{
    struct step *step = check->step;
    const uint8_t *p = frame->plain, *end = p + frame->n_plain;

    for (size_t i = 0; i < frame->n_lines && !step->fault && !check->rc; i++) {
        add_line(check, frame->lines[i], frame->hashes[i]);
        p += frame->lines[i].len + 1;
    }
    while (p < end && !step->fault && !check->rc) {
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));

        add_line(check, dgf_bytes_of(p, (size_t)(lf - p)), NULL);
        p = lf + 1;
    }
    flush(check); /* the lines stand in a buffer that another frame takes */
}

/* ---- frames -------------------------------------------------------------- */

/* At least one whole frame, unless the file ends. */
static enum dgf_rc fill(struct check *check, struct dgf_err *err)
{
    struct reading *reading = check->reading;
    size_t n;
    enum dgf_rc rc;

    if (reading->ended || reading->len - reading->at >= DGF_FRAME_PACKED_MAX + 1)
        return DGF_OK;
    memmove(reading->window, reading->window + reading->at, reading->len - reading->at);
    reading->len -= reading->at;
    reading->at = 0;
    rc = check->store->read(check->store, reading->name, reading->offset,
                            reading->window + reading->len, WINDOW_BYTES - reading->len,
                            &n, err);
    if (rc)
        return rc;
    reading->ended = n < WINDOW_BYTES - reading->len;
    dgf_sha256_add(&reading->file, dgf_bytes_of(reading->window + reading->len, n));
    reading->len += n;
    reading->offset += n;
    return DGF_OK;
}

/* Frames for which there is room; the one who takes them has the last word on what
 * comes first. */
static void read_ahead(struct check *check)
{
    struct reading *reading = check->reading;
    struct last *last = &reading->last;

    while (!last->is && dgf_unpack_has_room(reading->unpack)) {
        struct dgf_bytes in;
        size_t used = 0;

        last->rc = fill(check, &last->err);
        last->is = true;
        if (last->rc)
            return;
        in = dgf_bytes_of(reading->window + reading->at, reading->len - reading->at);
        if (in.len == 0) {
            last->rc = DGF_BAD_DATA;
            last->class = "segment";
            last->what = "it ends without its seek table";
            return;
        }
        last->rc = dgf_frame_measure(in, &used, &last->class, &last->what);
        if (last->rc == DGF_BAD_DATA)
            return;
        reading->at += used;
        if (last->rc == DGF_AGAIN) {
            last->rc = DGF_OK;
            last->table = dgf_bytes_of(in.ptr, used);
            return;
        }
        dgf_unpack_put(reading->unpack, dgf_bytes_of(in.ptr, used));
        last->is = false;
    }
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

/* The seek table: it must say what was read, and nothing may follow. */
static void read_index(struct check *check, struct dgf_bytes frame)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;

    dgf_buf_add_le32(&reading->index, reading->n_frames);
    dgf_buf_add_byte(&reading->index, 0);
    dgf_buf_add_le32(&reading->index, DGF_SEEK_FOOTER_MAGIC);
    if (dgf_buf_rc(&reading->index))
        fault(step, "limit", step->first, "it has too many frames");
    else if (frame.len < 8 || le32(frame.ptr) != DGF_SEEK_TABLE_MAGIC ||
             !dgf_bytes_eq(dgf_bytes_of(frame.ptr + 8, frame.len - 8),
                           dgf_buf_bytes(&reading->index)))
        fault(step, "segment", step->first, "its seek table is not that of its frames");
    else if (reading->at < reading->len || !reading->ended)
        fault(step, "segment", step->first, "something follows its seek table");
}

static void bad_frame(struct step *step, const char *class, const char *what)
{
    bool of_lines = strcmp(what, DGF_FRAME_TOO_LARGE) == 0;

    fault(step, class, step->first + (of_lines ? step->n_lines : 0), what);
}

/* No frame follows. */
static void read_last(struct check *check)
{
    const struct last *last = &check->reading->last;

    if (last->rc == DGF_OK)
        read_index(check, last->table);
    else if (last->rc == DGF_BAD_DATA)
        bad_frame(check->step, last->class, last->what);
    else
        cannot(check, last->rc, last->err.text);
}

static void read_frame(struct check *check, const struct dgf_unpacked *frame)
{
    struct reading *reading = check->reading;

    if (frame->rc) {
        bad_frame(check->step, frame->class, frame->what);
        return;
    }
    dgf_buf_add_le32(&reading->index, (uint32_t)frame->n_packed);
    dgf_buf_add_le32(&reading->index, (uint32_t)frame->n_plain);
    reading->n_frames++;
    read_lines(check, frame);
}

static void read_frames(struct check *check)
{
    struct reading *reading = check->reading;
    const struct dgf_unpacked *frame;

    for (;;) {
        read_ahead(check);
        frame = dgf_unpack_take(reading->unpack);
        if (!frame)
            break;
        read_frame(check, frame);
        dgf_unpack_drop(reading->unpack);
        if (check->step->fault || check->rc)
            return;
    }
    read_last(check);
}

static void begin(struct check *check)
{
    struct reading *reading = check->reading;

    dgf_name_segment(reading->name, check->step->first);
    reading->at = reading->len = reading->n = reading->n_hashed = 0;
    reading->offset = 0;
    reading->ended = reading->tile_tried = false;
    reading->n_frames = 0;
    dgf_buf_clear(&reading->index);
    dgf_sha256_begin(&reading->file);
    dgf_unpack_begin(reading->unpack);
    reading->last.is = false;
    reading->last.err.text[0] = '\0';
    reading->next_anchor = check->tiles->size;
    check_anchor_here(check);
}

/* With the rest of the tiles, after a record that differs and a file that ends. */
static void fill_other(struct check *check)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;

    while (step->mismatch && check->other->size < step->size && !check->rc &&
           tile_of(check, check->other->size)) {
        size_t at = check->other->size % DGF_TILE_WIDTH, n = DGF_TILE_WIDTH - at;

        if (n > step->size - check->other->size)
            n = (size_t)(step->size - check->other->size);
        append(check, check->other, reading->tile + at, n);
    }
}

static void finish(struct check *check)
{
    struct step *step = check->step;
    uint8_t root[DGF_SHA256_LEN];

    if (!step->fault && step->first + step->n_lines < step->size)
        fault(step, "segment", step->first + step->n_lines,
              "it holds fewer records than were signed");
    tree_root(check->tiles, step->root);
    if (!step->fault && step->has_expected &&
        memcmp(step->root, step->expected, sizeof(root)) == 0)
        return;
    fill_other(check);
    tree_root(check->other, root);
    if (step->mismatch && check->other->size == step->size && step->has_expected &&
        memcmp(root, step->expected, sizeof(root)) == 0) {
        found(check, RANK_LEAF, step->mismatch_class, step->mismatch_at,
              strcmp(step->mismatch_class, "seq") == 0
                  ? "record %" PRIu64 " says it has another index"
                  : "record %" PRIu64 " is not the one that was signed",
              step->mismatch_at);
        return;
    }
    if (step->fault)
        found(check, RANK_LEAF, step->fault, step->fault_at, "segment %" PRIu64 ": %s",
              step->first, step->fault_text);
    else if (step->has_expected)
        found(check, RANK_LEAF, "root", step->first,
              "the records from %" PRIu64 " to %" PRIu64
              " do not give the root that was signed",
              step->first, step->size - 1);
}

bool read_leaves(struct check *check)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;
    uint8_t byte;
    size_t n;
    enum dgf_rc rc;

    begin(check);
    rc = check->store->read(check->store, reading->name, 0, &byte, 1, &n, check->err);
    if (rc == DGF_AGAIN)
        return false;
    if (rc) {
        cannot(check, rc, check->err->text);
        return true;
    }
    read_frames(check);
    flush(check);
    if (check->rc)
        return true;
    finish(check);
    dgf_sha256_end(&reading->file, step->file_sha256);
    dgf_unpack_sum(reading->unpack, step->leaves_sha256);
    return true;
}

/* ---- segments that are not there ----------------------------------------- */

/* What level 1 says of a tile of level 0. */
static void look_above(struct check *check, uint64_t index)
{
    struct step *step = check->step;
    uint64_t n = step->size >> 8;
    struct dgf_tile above = {1, index / DGF_TILE_WIDTH, DGF_TILE_WIDTH};
    uint8_t hashes[DGF_TILE_WIDTH][DGF_SHA256_LEN];

    if (step->has_culprit)
        return;
    if (n / DGF_TILE_WIDTH == above.index)
        above.width = (unsigned)(n % DGF_TILE_WIDTH);
    if (!read_tile(check, &above, hashes))
        return;
    if (memcmp(hashes[index % DGF_TILE_WIDTH],
               check->tiles->open[1][index % DGF_TILE_WIDTH], DGF_SHA256_LEN) == 0)
        return;
    step->has_culprit = true;
    step->culprit = index * DGF_TILE_WIDTH;
}

void append_from_tiles(struct check *check)
{
    struct reading *reading = check->reading;
    struct step *step = check->step;

    while (check->tiles->size < step->size && !check->rc) {
        size_t at = check->tiles->size % DGF_TILE_WIDTH, n = DGF_TILE_WIDTH - at;

        if (n > step->size - check->tiles->size)
            n = (size_t)(step->size - check->tiles->size);
        if (!tile_of(check, check->tiles->size)) {
            if (!step->has_expected || !load_tree(check, step->size, step->expected))
                check->tree_known = false;
            break;
        }
        if (reading->next_anchor > check->tiles->size &&
            reading->next_anchor - check->tiles->size < n)
            n = (size_t)(reading->next_anchor - check->tiles->size);
        append(check, check->tiles, reading->tile + at, n);
        if (check->tiles->size % DGF_TILE_WIDTH == 0)
            look_above(check, check->tiles->size / DGF_TILE_WIDTH - 1);
        check_anchor_here(check);
    }
    if (!check->tree_known || check->rc)
        return;
    tree_root(check->tiles, step->root);
    if (step->has_expected && memcmp(step->root, step->expected, DGF_SHA256_LEN) != 0)
        found(check, RANK_LEAF, "tile",
              step->has_culprit ? step->culprit
                                : (step->size - 1) / DGF_TILE_WIDTH * DGF_TILE_WIDTH,
              "the tiles of records %" PRIu64 " to %" PRIu64
              " do not give the root that was signed",
              step->first, step->size - 1);
}
