#include "resp_reader.h"

#include "base/parse.h"

#define MAX_ITEMS INT64_C(0x7fffffff)
#define SHORT_DIGITS 6 /* of a length that is read without a search */
#define MAX_BULK (INT64_C(1) << 32)

/* The line at ptr without its end, or DGF_AGAIN. */
static enum dgf_rc line_at(const uint8_t *ptr, const uint8_t *end,
                           struct dgf_bytes *ret)
{
    size_t len = (size_t)(end - ptr);
    const uint8_t *nl =
        memchr(ptr, '\n', len < DGF_RESP_LINE_MAX ? len : DGF_RESP_LINE_MAX);

    if (!nl)
        return len >= DGF_RESP_LINE_MAX ? DGF_BAD_DATA : DGF_AGAIN;
    if (nl == ptr || nl[-1] != '\r')
        return DGF_BAD_DATA;
    *ret = dgf_bytes_of(ptr, (size_t)(nl - ptr) - 1);
    return DGF_OK;
}

/* A length is short; numbers of this size are most of what is parsed. */
static bool number_of(struct dgf_bytes text, int64_t *ret)
{
    int64_t value = 0;

    if (text.len == 0 || text.len > 9 || text.ptr[0] == '-')
        return dgf_parse_i64(text, ret);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        value = value * 10 + (text.ptr[i] - '0');
    }
    *ret = value;
    return true;
}

/* The head of a value: type byte and line.  For a bulk, number is its length. */
struct head {
    enum dgf_resp_kind kind;
    int64_t number;
    struct dgf_bytes text;
    size_t len; /* with type byte and line end */
};

/* "$12\r\n" and "*2\r\n" are nearly all there is: read without a search. */
static bool read_short_head(const uint8_t *ptr, const uint8_t *end, struct head *ret)
{
    const uint8_t *at = ptr + 1;
    int64_t number = 0;

    if (end - ptr < SHORT_DIGITS + 3 || (*ptr != '$' && *ptr != '*'))
        return false;
    for (; at < ptr + 1 + SHORT_DIGITS && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (*at - '0');
    if (at == ptr + 1 || at[0] != '\r' || at[1] != '\n')
        return false;
    *ret = (struct head){.kind = *ptr == '$' ? DGF_RESP_BULK : DGF_RESP_ARRAY,
                         .number = number,
                         .text = dgf_bytes_of(ptr + 1, (size_t)(at - ptr) - 1),
                         .len = (size_t)(at - ptr) + 2};
    return true;
}

static enum dgf_rc read_head(const uint8_t *ptr, const uint8_t *end, struct head *ret)
{
    struct dgf_bytes line;
    enum dgf_rc rc;

    if (ptr == end)
        return DGF_AGAIN;
    if (read_short_head(ptr, end, ret))
        return DGF_OK;
    if (!memchr("+-:$*", *ptr, 5))
        return DGF_BAD_DATA;
    rc = line_at(ptr + 1, end, &line);
    if (rc)
        return rc;
    *ret = (struct head){.text = line, .len = line.len + 3};
    if (*ptr == '+' || *ptr == '-') {
        ret->kind = *ptr == '+' ? DGF_RESP_STATUS : DGF_RESP_ERROR;
        return DGF_OK;
    }
    if (!number_of(line, &ret->number))
        return DGF_BAD_DATA;
    if (*ptr == ':') {
        ret->kind = DGF_RESP_INT;
        return DGF_OK;
    }
    if (ret->number == -1) {
        ret->kind = DGF_RESP_NIL;
        return DGF_OK;
    }
    ret->kind = *ptr == '$' ? DGF_RESP_BULK : DGF_RESP_ARRAY;
    if (ret->number < 0 || ret->number > (*ptr == '$' ? MAX_BULK : MAX_ITEMS))
        return DGF_BAD_DATA;
    return DGF_OK;
}

/* A bulk with a short length that is all there: its bytes.  False: not that. */
static inline bool read_short_bulk(const uint8_t *ptr, const uint8_t *end,
                                   struct dgf_bytes *ret)
{
    const uint8_t *at = ptr + 1;
    size_t len = 0;

    if (end - ptr < SHORT_DIGITS + 3 || *ptr != '$' || *at < '0' || *at > '9')
        return false;
    for (; at < ptr + 1 + SHORT_DIGITS && *at >= '0' && *at <= '9'; at++)
        len = len * 10 + (size_t)(*at - '0');
    if (at[0] != '\r' || at[1] != '\n')
        return false;
    at += 2;
    if ((size_t)(end - at) < len + 2 || at[len] != '\r' || at[len + 1] != '\n')
        return false;
    *ret = dgf_bytes_of(at, len);
    return true;
}

enum dgf_rc dgf_resp_next(struct dgf_resp *resp, struct dgf_resp_token *ret)
{
    struct head head;
    const uint8_t *at;
    enum dgf_rc rc;

    if (read_short_bulk(resp->ptr, resp->end, &ret->bytes)) {
        ret->kind = DGF_RESP_BULK;
        ret->number = (int64_t)ret->bytes.len;
        resp->ptr = ret->bytes.ptr + ret->bytes.len + 2;
        return DGF_OK;
    }
    rc = read_head(resp->ptr, resp->end, &head);
    if (rc)
        return rc;
    at = resp->ptr + head.len;
    *ret = (struct dgf_resp_token){head.kind, head.number, head.text};
    if (head.kind == DGF_RESP_BULK) {
        if ((uint64_t)(resp->end - at) < (uint64_t)head.number + 2)
            return DGF_AGAIN;
        if (at[head.number] != '\r' || at[head.number + 1] != '\n')
            return DGF_BAD_DATA;
        ret->bytes = dgf_bytes_of(at, (size_t)head.number);
        at += head.number + 2;
    }
    resp->ptr = at;
    return DGF_OK;
}

enum dgf_rc dgf_resp_skip(struct dgf_resp *resp, struct dgf_bytes *ret)
{
    uint64_t left[DGF_RESP_DEPTH_MAX + 1] = {1};
    const uint8_t *start = resp->ptr;
    unsigned depth = 0;

    for (;;) {
        struct dgf_resp_token token;
        enum dgf_rc rc;

        while (depth > 0 && left[depth] == 0)
            depth--;
        if (left[depth] == 0)
            break;
        rc = dgf_resp_next(resp, &token);
        if (rc)
            return rc;
        left[depth]--;
        if (token.kind == DGF_RESP_ARRAY && token.number > 0) {
            if (depth == DGF_RESP_DEPTH_MAX)
                return DGF_BAD_DATA;
            left[++depth] = (uint64_t)token.number;
        }
    }
    if (ret)
        *ret = dgf_bytes_of(start, (size_t)(resp->ptr - start));
    return DGF_OK;
}

/* ---- the reader ---- */

void dgf_resp_reader_init(struct dgf_resp_reader *reader, size_t max_item)
{
    memset(reader, 0, offsetof(struct dgf_resp_reader, head));
    reader->head_len = 0;
    reader->max_item = max_item < DGF_RESP_HEAD ? DGF_RESP_HEAD : max_item;
    dgf_buf_init(&reader->in, reader->max_item + ((size_t)16 << 20));
}

void dgf_resp_reader_release(struct dgf_resp_reader *reader)
{
    dgf_buf_release(&reader->in);
}

uint8_t *dgf_resp_room(struct dgf_resp_reader *reader, size_t least, size_t *ret_len)
{
    struct dgf_buf *in = &reader->in;
    uint8_t *to;

    if (reader->at == in->len) {
        in->len = 0;
        reader->scan -= reader->at;
        reader->at = 0;
    } else if (reader->at > 0 && in->cap - in->len < least) {
        memmove(in->ptr, in->ptr + reader->at, in->len - reader->at);
        in->len -= reader->at;
        reader->scan -= reader->at;
        reader->at = 0;
    }
    to = dgf_buf_room(in, least);
    *ret_len = to ? in->cap - in->len : 0;
    return to;
}

void dgf_resp_put(struct dgf_resp_reader *reader, size_t len)
{
    reader->in.len += len;
}

/* From here on the item is not kept, but for its head. */
static void cut(struct dgf_resp_reader *reader)
{
    size_t have = reader->scan - reader->at;

    reader->cut = true;
    reader->head_len = have < DGF_RESP_HEAD ? have : DGF_RESP_HEAD;
    memcpy(reader->head, reader->in.ptr + reader->at, reader->head_len);
    reader->dropped = have;
    reader->at = reader->scan;
}

static void drop(struct dgf_resp_reader *reader)
{
    size_t have = reader->scan - reader->at, keep = DGF_RESP_HEAD - reader->head_len;

    if (keep > have)
        keep = have;
    if (keep > 0)
        memcpy(reader->head + reader->head_len, reader->in.ptr + reader->at, keep);
    reader->head_len += keep;
    reader->dropped += have;
    reader->at = reader->scan;
}

/* The rest of a bulk.  DGF_OK: it is all there, or was dropped. */
static enum dgf_rc scan_bulk(struct dgf_resp_reader *reader)
{
    uint64_t have = reader->in.len - reader->scan;
    const uint8_t *end;

    if (!reader->cut && reader->scan - reader->at + reader->skip > reader->max_item)
        cut(reader);
    if (have < reader->skip && !reader->cut)
        return DGF_AGAIN;
    if (have > reader->skip)
        have = reader->skip;
    reader->scan += (size_t)have;
    reader->skip -= have;
    if (reader->cut) {
        drop(reader);
        return reader->skip ? DGF_AGAIN : DGF_OK;
    }
    end = reader->in.ptr + reader->scan;
    return end[-2] == '\r' && end[-1] == '\n' ? DGF_OK : DGF_BAD_DATA;
}

/* Over the short bulks that are all here: what nearly every entry consists of. */
static void scan_short_bulks(struct dgf_resp_reader *reader)
{
    const uint8_t *ptr = reader->in.ptr + reader->scan;
    const uint8_t *end = reader->in.ptr + reader->in.len;
    const uint8_t *limit = reader->in.ptr + reader->at + reader->max_item;
    struct dgf_bytes bulk;

    if (end > limit)
        end = limit; /* a larger item is cut, with care */
    while (reader->inner_left[reader->inner] > 0 && ptr < end &&
           read_short_bulk(ptr, end, &bulk)) {
        ptr = bulk.ptr + bulk.len + 2;
        reader->inner_left[reader->inner]--;
    }
    reader->scan = (size_t)(ptr - reader->in.ptr);
}

/* To the end of the item in hand. */
static enum dgf_rc scan_item(struct dgf_resp_reader *reader)
{
    for (;;) {
        struct head head;
        enum dgf_rc rc = reader->skip ? scan_bulk(reader) : DGF_OK;

        if (rc)
            return rc;
        if (!reader->cut)
            scan_short_bulks(reader);
        while (reader->inner > 0 && reader->inner_left[reader->inner] == 0)
            reader->inner--;
        if (reader->inner_left[reader->inner] == 0)
            return DGF_OK;
        rc = read_head(reader->in.ptr + reader->scan, reader->in.ptr + reader->in.len,
                       &head);
        if (rc)
            return rc;
        reader->scan += head.len;
        reader->inner_left[reader->inner]--;
        if (head.kind == DGF_RESP_BULK)
            reader->skip = (uint64_t)head.number + 2;
        if (head.kind == DGF_RESP_ARRAY && head.number > 0) {
            if (reader->depth + reader->inner >= DGF_RESP_DEPTH_MAX - 1)
                return DGF_BAD_DATA;
            reader->inner_left[++reader->inner] = (uint64_t)head.number;
        }
        if (reader->cut)
            drop(reader);
        else if (reader->scan - reader->at > reader->max_item)
            cut(reader);
    }
}

static void end_item(struct dgf_resp_reader *reader, struct dgf_resp_item *ret)
{
    unsigned depth = reader->depth;

    *ret = (struct dgf_resp_item){.depth = depth, .cut = reader->cut, .n = 1};
    ret->bytes = reader->cut ? dgf_bytes_of(reader->head, reader->head_len)
                             : dgf_bytes_of(reader->in.ptr + reader->at,
                                            reader->scan - reader->at);
    ret->size = reader->cut ? reader->dropped : ret->bytes.len;
    if (depth > 0) {
        ret->n = reader->outer_n[depth];
        ret->index = ret->n - reader->outer_left[depth];
        reader->outer_left[depth]--;
    }
    while (reader->depth > 0 && reader->outer_left[reader->depth] == 0)
        reader->depth--;
    ret->last = reader->depth == 0;
    reader->at = reader->scan;
    reader->in_item = reader->cut = false;
    reader->head_len = 0;
    reader->dropped = 0;
}

enum dgf_rc dgf_resp_reader_next(struct dgf_resp_reader *reader, unsigned explode,
                                 struct dgf_resp_item *ret)
{
    enum dgf_rc rc;

    while (!reader->in_item) {
        struct head head;

        if (reader->depth < explode && reader->depth < DGF_RESP_DEPTH_MAX - 1) {
            rc = read_head(reader->in.ptr + reader->at, reader->in.ptr + reader->in.len,
                           &head);
            if (rc)
                return rc;
            if (head.kind == DGF_RESP_ARRAY && head.number > 0) {
                if (reader->depth > 0)
                    reader->outer_left[reader->depth]--;
                reader->depth++;
                reader->outer_left[reader->depth] = reader->outer_n[reader->depth] =
                    (uint64_t)head.number;
                reader->at += head.len;
                continue;
            }
        }
        reader->in_item = true;
        reader->scan = reader->at;
        reader->inner = 0;
        reader->inner_left[0] = 1;
        reader->skip = 0;
    }
    rc = scan_item(reader);
    if (rc)
        return rc;
    end_item(reader, ret);
    return DGF_OK;
}
