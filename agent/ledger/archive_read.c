#include "ledger/archive_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"
#include "base/parse.h"
#include "ledger/archive_tiles.h"

#define NUMBERS_AT_ONCE 65536
#define WINDOW_BYTES (1u << 20)

_Static_assert(ZSTD_CONTENTSIZE_UNKNOWN > ZSTD_CONTENTSIZE_ERROR, "the largest two");

/* ---- numbers in names ---------------------------------------------------- */

void dgf_numbers_release(struct dgf_numbers *numbers)
{
    dgf_free(dgf_steal(numbers->list));
}

/* A heap whose largest is on top: the smallest that are wanted stay. */
static void sift_down(uint64_t *list, size_t n)
{
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        uint64_t swap;

        if (child + 1 < n && list[child + 1] > list[child])
            child++;
        if (child >= n || list[child] <= list[at])
            return;
        swap = list[at];
        list[at] = list[child];
        list[child] = swap;
        at = child;
    }
}

static void keep(struct dgf_numbers *numbers, uint64_t number)
{
    size_t at;

    if (numbers->n == numbers->cap) {
        numbers->more = true;
        if (number < numbers->list[0]) {
            numbers->list[0] = number;
            sift_down(numbers->list, numbers->n);
        }
        return;
    }
    for (at = numbers->n++; at > 0 && numbers->list[(at - 1) / 2] < number;
         at = (at - 1) / 2)
        numbers->list[at] = numbers->list[(at - 1) / 2];
    numbers->list[at] = number;
}

static enum dgf_rc see(void *ctx, const char *name, uint64_t bytes)
{
    struct dgf_numbers *numbers = ctx;
    size_t n = strlen(name), n_suffix = strlen(numbers->suffix);
    struct dgf_bytes text;
    uint64_t number;

    (void)bytes;
    if (n <= numbers->n_prefix + n_suffix ||
        strcmp(name + n - n_suffix, numbers->suffix) != 0)
        return DGF_OK;
    text = dgf_bytes_of(name + numbers->n_prefix, n - numbers->n_prefix - n_suffix);
    if (dgf_parse_u64(text, &number) && (text.len == 1 || text.ptr[0] != '0') &&
        number >= numbers->least)
        keep(numbers, number);
    return DGF_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

enum dgf_rc dgf_numbers_next(struct dgf_numbers *numbers, struct dgf_store *store,
                             const char *prefix, const char *suffix, uint64_t least,
                             uint64_t *ret, struct dgf_err *err)
{
    enum dgf_rc rc;

    while (numbers->at < numbers->n && numbers->list[numbers->at] < least)
        numbers->at++;
    if (numbers->at == numbers->n) {
        if (numbers->list && !numbers->more)
            return DGF_AGAIN;
        if (!numbers->list)
            numbers->list = dgf_calloc(NUMBERS_AT_ONCE, sizeof(*numbers->list));
        if (!numbers->list)
            return dgf_err_set(err, DGF_NOMEM, "cannot list an archive: out of memory");
        numbers->cap = NUMBERS_AT_ONCE;
        numbers->n = numbers->at = 0;
        numbers->more = false;
        numbers->least = least;
        numbers->n_prefix = strlen(prefix);
        numbers->suffix = suffix;
        rc = store->list(store, prefix, see, numbers, err);
        if (rc)
            return rc;
        qsort(numbers->list, numbers->n, sizeof(*numbers->list), by_number);
    }
    if (numbers->at == numbers->n)
        return DGF_AGAIN;
    *ret = numbers->list[numbers->at];
    return DGF_OK;
}

/* ---- frames -------------------------------------------------------------- */

struct dgf_frames {
    ZSTD_DCtx *zstd;
};

enum dgf_rc dgf_frames_new(struct dgf_frames **ret)
{
    struct dgf_frames *frames = dgf_calloc(1, sizeof(*frames));

    if (!frames)
        return DGF_NOMEM;
    frames->zstd = ZSTD_createDCtx();
    if (!frames->zstd) {
        dgf_frames_free(frames);
        return DGF_NOMEM;
    }
    *ret = frames;
    return DGF_OK;
}

void dgf_frames_free(struct dgf_frames *frames)
{
    if (!frames)
        return;
    ZSTD_freeDCtx(frames->zstd);
    dgf_free(frames);
}

static bool is_skippable(struct dgf_bytes in)
{
    return in.len >= 4 && (in.ptr[0] & 0xf0) == 0x50 && in.ptr[1] == 0x2a &&
           in.ptr[2] == 0x4d && in.ptr[3] == 0x18;
}

static enum dgf_rc refuse(const char *class, const char *what, const char **ret_class,
                          const char **ret_what)
{
    *ret_class = class;
    *ret_what = what;
    return DGF_BAD_DATA;
}

enum dgf_rc dgf_frame_measure(struct dgf_bytes in, size_t *ret_used,
                              const char **ret_class, const char **ret_what)
{
    size_t used = ZSTD_findFrameCompressedSize(in.ptr, in.len);
    bool large = !ZSTD_isError(used) && used > DGF_FRAME_PACKED_MAX;

    if (ZSTD_isError(used) && in.len > DGF_FRAME_PACKED_MAX)
        large = ZSTD_getErrorCode(used) == ZSTD_error_srcSize_wrong;
    if (large)
        return refuse("limit", "a frame is larger than 512 KiB", ret_class, ret_what);
    if (ZSTD_isError(used))
        return refuse("segment", "a frame is cut or damaged", ret_class, ret_what);
    *ret_used = used;
    return is_skippable(in) ? DGF_AGAIN : DGF_OK;
}

enum dgf_rc dgf_frame_open(struct dgf_frames *frames, struct dgf_bytes frame,
                           uint8_t *to, size_t *ret_len, const char **ret_class,
                           const char **ret_what)
{
    unsigned long long content = ZSTD_getFrameContentSize(frame.ptr, frame.len);
    size_t n;

    if (content > DGF_FRAME_UNPACKED_MAX)
        return content < ZSTD_CONTENTSIZE_ERROR
                   ? refuse("limit", DGF_FRAME_TOO_LARGE, ret_class, ret_what)
                   : refuse("segment", "a frame does not say its size", ret_class,
                            ret_what);
    n = ZSTD_decompressDCtx(frames->zstd, to, (size_t)content, frame.ptr, frame.len);
    if (ZSTD_isError(n) || n != content)
        return refuse("segment", "a frame is cut or damaged", ret_class, ret_what);
    if (n == 0 || to[n - 1] != '\n')
        return refuse("segment", "a frame does not hold whole lines", ret_class,
                      ret_what);
    *ret_len = n;
    return DGF_OK;
}

enum dgf_rc dgf_frame_unpack(struct dgf_frames *frames, struct dgf_bytes in,
                             uint8_t *to, size_t *ret_len, size_t *ret_used,
                             const char **ret_class, const char **ret_what)
{
    enum dgf_rc rc = dgf_frame_measure(in, ret_used, ret_class, ret_what);

    return rc ? rc
              : dgf_frame_open(frames, dgf_bytes_of(in.ptr, *ret_used), to, ret_len,
                               ret_class, ret_what);
}

/* ---- records ------------------------------------------------------------- */

struct dgf_archive_reader {
    struct dgf_store *store;
    struct dgf_numbers firsts;
    struct dgf_frames *frames;
    uint64_t from, first, index;
    bool open; /* in the segment `first` */
    char name[DGF_ARCHIVE_NAME_MAX];
    uint64_t offset;  /* of what follows the window */
    size_t at, len;   /* in the window */
    size_t line, end; /* in plain */
    uint8_t window[WINDOW_BYTES], plain[DGF_FRAME_UNPACKED_MAX];
};

void dgf_archive_reader_free(struct dgf_archive_reader *reader)
{
    if (!reader)
        return;
    dgf_numbers_release(&reader->firsts);
    dgf_frames_free(reader->frames);
    dgf_free(reader);
}

static enum dgf_rc next_first(struct dgf_archive_reader *reader, uint64_t least,
                              uint64_t *ret, struct dgf_err *err)
{
    return dgf_numbers_next(&reader->firsts, reader->store, "segments/", ".ndjson.zst",
                            least, ret, err);
}

static void begin(struct dgf_archive_reader *reader, uint64_t first)
{
    reader->first = reader->index = first;
    reader->open = true;
    reader->offset = 0;
    reader->at = reader->len = reader->line = reader->end = 0;
    dgf_name_segment(reader->name, first);
}

/* The segment that holds `from` begins at or before it. */
static enum dgf_rc find_first(struct dgf_archive_reader *reader, struct dgf_err *err)
{
    uint64_t first, best = 0, least = 0;
    bool some = false;
    enum dgf_rc rc;

    while (!(rc = next_first(reader, least, &first, err)) &&
           (first <= reader->from || !some)) {
        best = first;
        some = true;
        if (first > reader->from)
            break;
        least = first + 1;
    }
    if (rc && rc != DGF_AGAIN)
        return rc;
    if (some)
        begin(reader, best);
    return DGF_OK;
}

enum dgf_rc dgf_archive_reader_open(struct dgf_store *store, uint64_t from,
                                    struct dgf_archive_reader **ret,
                                    struct dgf_err *err)
{
    struct dgf_archive_reader *reader = dgf_malloc(sizeof(*reader));
    enum dgf_rc rc;

    if (!reader)
        return dgf_err_set(err, DGF_NOMEM, "cannot read an archive: out of memory");
    reader->store = store;
    memset(&reader->firsts, 0, sizeof(reader->firsts));
    reader->from = from;
    reader->open = false;
    reader->frames = NULL;
    rc = dgf_frames_new(&reader->frames);
    if (rc)
        (void)dgf_err_set(err, rc, "cannot read an archive: out of memory");
    else
        rc = find_first(reader, err);
    if (rc) {
        dgf_archive_reader_free(reader);
        return rc;
    }
    *ret = reader;
    return DGF_OK;
}

static enum dgf_rc fill(struct dgf_archive_reader *reader, struct dgf_err *err)
{
    size_t n, room;
    enum dgf_rc rc;

    if (reader->len - reader->at > DGF_FRAME_PACKED_MAX)
        return DGF_OK;
    memmove(reader->window, reader->window + reader->at, reader->len - reader->at);
    reader->len -= reader->at;
    reader->at = 0;
    room = WINDOW_BYTES - reader->len;
    rc = reader->store->read(reader->store, reader->name, reader->offset,
                             reader->window + reader->len, room, &n, err);
    if (rc)
        return rc;
    reader->len += n;
    reader->offset += n;
    return DGF_OK;
}

/* DGF_AGAIN: the segment ends. */
static enum dgf_rc next_frame(struct dgf_archive_reader *reader, struct dgf_err *err)
{
    const char *class, *what;
    size_t used;
    enum dgf_rc rc = fill(reader, err);

    if (rc == DGF_AGAIN)
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' went while it was read",
                           reader->name);
    if (rc)
        return rc;
    if (reader->at == reader->len)
        return DGF_AGAIN;
    reader->line = 0;
    rc = dgf_frame_unpack(
        reader->frames,
        dgf_bytes_of(reader->window + reader->at, reader->len - reader->at),
        reader->plain, &reader->end, &used, &class, &what);
    if (rc == DGF_BAD_DATA)
        return dgf_err_set(err, rc, "'%s' is damaged at record %" PRIu64 ": %s",
                           reader->name, reader->index, what);
    reader->at += used;
    if (rc == DGF_AGAIN)
        reader->end = 0; /* the seek table */
    return DGF_OK;
}

enum dgf_rc dgf_archive_reader_next(struct dgf_archive_reader *reader,
                                    uint64_t *ret_index, struct dgf_bytes *ret_line,
                                    struct dgf_err *err)
{
    while (reader->open) {
        enum dgf_rc rc;
        uint64_t first = 0;

        if (reader->line < reader->end) {
            const uint8_t *p = reader->plain + reader->line;
            const uint8_t *lf = memchr(p, '\n', reader->end - reader->line);

            *ret_line = dgf_bytes_of(p, (size_t)(lf - p));
            reader->line += ret_line->len + 1;
            *ret_index = reader->index++;
            if (*ret_index < reader->from)
                continue;
            return DGF_OK;
        }
        rc = next_frame(reader, err);
        if (rc == DGF_AGAIN) {
            rc = next_first(reader, reader->first + 1, &first, err);
            if (rc == DGF_AGAIN)
                break;
            if (!rc)
                begin(reader, first);
        }
        if (rc)
            return rc;
    }
    reader->open = false;
    return DGF_AGAIN;
}

uint64_t dgf_archive_reader_segment(const struct dgf_archive_reader *reader)
{
    return reader->first;
}

size_t dgf_archive_reader_ahead(const struct dgf_archive_reader *reader,
                                struct dgf_bytes *ret, size_t max)
{
    size_t n = 0;

    for (size_t at = reader->line; n < max && at < reader->end; n++) {
        const uint8_t *p = reader->plain + at;
        const uint8_t *lf = memchr(p, '\n', reader->end - at);

        ret[n] = dgf_bytes_of(p, (size_t)(lf - p));
        at += ret[n].len + 1;
    }
    return n;
}
