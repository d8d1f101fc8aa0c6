#include "ledger/scan.h"

#include "base/mem.h"

#define WINDOW (256u << 10)

void dgf_scan_init(struct dgf_scan *scan)
{
    memset(scan, 0, sizeof(*scan));
}

void dgf_scan_release(struct dgf_scan *scan)
{
    dgf_file_close(scan->file);
    dgf_free(scan->window);
    dgf_scan_init(scan);
}

void dgf_scan_seek(struct dgf_scan *scan, uint64_t offset)
{
    scan->at = scan->window_at = offset;
    scan->len = 0;
}

enum dgf_rc dgf_scan_measure(struct dgf_scan *scan, struct dgf_err *err)
{
    return dgf_file_size(scan->file, &scan->limit, err);
}

enum dgf_rc dgf_scan_open(struct dgf_scan *scan, const char *path, struct dgf_err *err)
{
    enum dgf_rc rc;

    dgf_file_close(dgf_steal(scan->file));
    rc = dgf_file_open(path, DGF_FILE_READ, &scan->file, err);
    if (rc)
        return rc;
    dgf_scan_seek(scan, 0);
    return dgf_scan_measure(scan, err);
}

/* Room for `need` bytes in the window and a whole piece of read-ahead. */
static enum dgf_rc widen(struct dgf_scan *scan, size_t need, struct dgf_err *err)
{
    size_t cap = need > WINDOW ? need + WINDOW : 2 * WINDOW;
    uint8_t *window;

    if (cap <= scan->cap)
        return DGF_OK;
    window = dgf_realloc(scan->window, cap);
    if (!window)
        return dgf_err_set(err, DGF_NOMEM, "cannot read the journal: out of memory");
    scan->window = window;
    scan->cap = cap;
    return DGF_OK;
}

/* Makes [at, at+need) available; *ret_have is less only when the limit or the
 * end of the file is nearer. */
static enum dgf_rc want(struct dgf_scan *scan, uint64_t need, size_t *ret_have,
                        struct dgf_err *err)
{
    size_t skip = (size_t)(scan->at - scan->window_at), n;
    uint64_t left = scan->limit > scan->at ? scan->limit - scan->at : 0;
    uint64_t from;
    enum dgf_rc rc;

    if (need > left)
        need = left;
    if (scan->len - skip >= need) {
        *ret_have = scan->len - skip < left ? scan->len - skip : (size_t)left;
        return DGF_OK;
    }
    rc = widen(scan, (size_t)need, err);
    if (rc)
        return rc;
    memmove(scan->window, scan->window + skip, scan->len - skip);
    scan->len -= skip;
    scan->window_at = scan->at;
    from = scan->at + scan->len;
    n = scan->cap - scan->len;
    if (n > scan->limit - from)
        n = (size_t)(scan->limit - from);
    rc = dgf_file_read(scan->file, from, scan->window + scan->len, n, &n, err);
    if (rc)
        return rc;
    scan->len += n;
    *ret_have = scan->len;
    return DGF_OK;
}

static enum dgf_rc stop(struct dgf_scan *scan, enum dgf_scan_end end, enum dgf_rc rc)
{
    scan->end = end;
    return rc;
}

/* No good frame at `at`: says whether it was cut off, or is wrong as a whole. */
static enum dgf_rc no_frame(struct dgf_scan *scan, uint64_t frame_len,
                            struct dgf_err *err)
{
    uint64_t last;
    enum dgf_rc rc = dgf_scan_last_byte(scan, scan->at, &last, err);

    if (rc)
        return rc;
    if (last == scan->at)
        return stop(scan, DGF_SCAN_CLEAN, DGF_AGAIN);
    /* A CRC may end in a zero byte, so three of them still count as "all there". */
    return stop(scan,
                frame_len > scan->limit - scan->at || scan->at + frame_len > last + 3
                    ? DGF_SCAN_CUT
                    : DGF_SCAN_BAD,
                DGF_BAD_DATA);
}

enum dgf_rc dgf_scan_next(struct dgf_scan *scan, struct dgf_frame *ret_frame,
                          struct dgf_err *err)
{
    const uint8_t *p;
    uint32_t len;
    size_t have;
    enum dgf_rc rc = want(scan, DGF_FRAME_HEAD_LEN, &have, err);

    if (rc)
        return rc;
    if (have == 0)
        return stop(scan, DGF_SCAN_CLEAN, DGF_AGAIN);
    if (have < DGF_FRAME_HEAD_LEN)
        return no_frame(scan, DGF_FRAME_OVERHEAD, err);
    p = scan->window + (scan->at - scan->window_at);
    len = dgf_le32_at(p);
    if (len == 0 || len > dgf_frame_max(p[4]))
        return no_frame(scan, DGF_FRAME_HEAD_LEN, err);
    if (scan->limit - scan->at < (uint64_t)len + DGF_FRAME_OVERHEAD)
        return no_frame(scan, (uint64_t)len + DGF_FRAME_OVERHEAD, err);
    rc = want(scan, (uint64_t)len + DGF_FRAME_OVERHEAD, &have, err);
    if (rc)
        return rc;
    if (have < (uint64_t)len + DGF_FRAME_OVERHEAD) /* the file became shorter */
        return stop(scan, DGF_SCAN_CUT, DGF_BAD_DATA);
    p = scan->window + (scan->at - scan->window_at);
    ret_frame->crc = dgf_le32_at(p + DGF_FRAME_HEAD_LEN + len);
    if (dgf_crc32c(0, dgf_bytes_of(p, DGF_FRAME_HEAD_LEN + len)) != ret_frame->crc)
        return no_frame(scan, (uint64_t)len + DGF_FRAME_OVERHEAD, err);
    ret_frame->type = (enum dgf_frame_type)p[4];
    ret_frame->offset = scan->at;
    ret_frame->len = (uint64_t)len + DGF_FRAME_OVERHEAD;
    ret_frame->payload = dgf_bytes_of(p + DGF_FRAME_HEAD_LEN, len);
    scan->at += ret_frame->len;
    return DGF_OK;
}

enum dgf_rc dgf_scan_last_byte(struct dgf_scan *scan, uint64_t from, uint64_t *ret,
                               struct dgf_err *err)
{
    uint8_t piece[4096];
    uint64_t end = scan->limit;

    while (end > from) {
        size_t n = end - from < sizeof(piece) ? (size_t)(end - from) : sizeof(piece);
        enum dgf_rc rc = dgf_file_read(scan->file, end - n, piece, n, &n, err);

        if (rc)
            return rc;
        while (n > 0 && piece[n - 1] == 0) {
            n--;
            end--;
        }
        if (n > 0)
            break;
    }
    *ret = end > from ? end : from;
    return DGF_OK;
}

/* The frame at offset, if it is a whole COMMIT frame with a number that counts. */
static enum dgf_rc look_at_commit(struct dgf_scan *scan, uint64_t offset,
                                  uint64_t min_batch, uint64_t *budget,
                                  struct dgf_commit *ret, struct dgf_err *err)
{
    uint64_t len;
    const uint8_t *p;
    size_t have;
    enum dgf_rc rc;

    dgf_scan_seek(scan, offset);
    rc = want(scan, DGF_FRAME_OVERHEAD + DGF_COMMIT_MIN, &have, err);
    if (rc || have < DGF_FRAME_OVERHEAD + DGF_COMMIT_MIN)
        return rc ? rc : DGF_AGAIN;
    len = (uint64_t)dgf_le32_at(scan->window) + DGF_FRAME_OVERHEAD;
    if (scan->window[4] != DGF_FRAME_COMMIT || len > dgf_frame_max(DGF_FRAME_COMMIT) ||
        len > scan->limit - offset ||
        dgf_le64_at(scan->window + DGF_FRAME_HEAD_LEN + DGF_LOG_ID_LEN) < min_batch)
        return DGF_AGAIN;
    if (len > *budget)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "too many pieces that look like a commit");
    *budget -= len;
    rc = want(scan, len, &have, err);
    if (rc || have < len)
        return rc ? rc : DGF_AGAIN;
    p = scan->window;
    if (dgf_crc32c(0, dgf_bytes_of(p, len - 4)) != dgf_le32_at(p + len - 4))
        return DGF_AGAIN;
    return dgf_frame_get_commit(
               dgf_bytes_of(p + DGF_FRAME_HEAD_LEN, len - DGF_FRAME_OVERHEAD), ret)
               ? DGF_OK
               : DGF_AGAIN;
}

static const uint8_t *find_bytes(const uint8_t *p, size_t len, const uint8_t *what,
                                 size_t n)
{
    const uint8_t *last = p + len - n; /* len >= n */

    for (; p <= last; p++) {
        p = memchr(p, what[0], (size_t)(last - p) + 1);
        if (!p || memcmp(p, what, n) == 0)
            return p;
    }
    return NULL;
}

/* Offset of the next log id at or behind `from`; DGF_AGAIN when there is none. */
static enum dgf_rc find_log_id(struct dgf_scan *scan, uint64_t from,
                               const uint8_t log_id[DGF_LOG_ID_LEN], uint64_t *ret,
                               struct dgf_err *err)
{
    for (;;) {
        const uint8_t *p;
        size_t have;
        enum dgf_rc rc;

        dgf_scan_seek(scan, from);
        rc = want(scan, WINDOW, &have, err);
        if (rc || have < DGF_LOG_ID_LEN)
            return rc ? rc : DGF_AGAIN;
        p = find_bytes(scan->window, have, log_id, DGF_LOG_ID_LEN);
        if (p) {
            *ret = from + (uint64_t)(p - scan->window);
            return DGF_OK;
        }
        from += have - (DGF_LOG_ID_LEN - 1);
    }
}

enum dgf_rc dgf_scan_find_commit(struct dgf_scan *scan, uint64_t from,
                                 const uint8_t log_id[DGF_LOG_ID_LEN],
                                 uint64_t min_batch, uint64_t *ret_batch,
                                 uint64_t *ret_offset, struct dgf_err *err)
{
    /* A file made to look like commits everywhere must not keep us for ever. */
    uint64_t budget = 4 * (uint64_t)DGF_FRAME_MAX_PAYLOAD;
    uint64_t at = from;

    for (;;) {
        struct dgf_commit commit;
        uint64_t found;
        enum dgf_rc rc = find_log_id(scan, at, log_id, &found, err);

        if (rc)
            return rc;
        at = found + 1;
        if (found < from + DGF_FRAME_HEAD_LEN)
            continue;
        found -= DGF_FRAME_HEAD_LEN;
        rc = look_at_commit(scan, found, min_batch, &budget, &commit, err);
        if (rc == DGF_OK) {
            *ret_batch = commit.batch;
            *ret_offset = found;
        }
        if (rc != DGF_AGAIN)
            return rc;
    }
}
