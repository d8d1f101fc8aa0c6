#include "blob_letter.h"

#include "base/parse.h"

#define VERSION 1
#define HOUR_NS INT64_C(3600000000000)
#define DAYS_NS INT64_C(86400000000000)
#define PARTS 4 /* year, month, day, hour */

/* ---- folders ---- */

/* The last parts of "a/b/c/", up to PARTS, the last one first. */
static unsigned last_parts(struct dgf_bytes name, struct dgf_bytes parts[PARTS])
{
    const uint8_t *end;
    unsigned n = 0;

    if (name.len == 0 || name.ptr[name.len - 1] != '/')
        return 0;
    end = name.ptr + name.len - 1;
    while (n < PARTS) {
        const uint8_t *at = end;

        while (at > name.ptr && at[-1] != '/')
            at--;
        parts[n++] = dgf_bytes_of(at, (size_t)(end - at));
        if (at == name.ptr)
            break;
        end = at - 1;
    }
    return n;
}

static bool number(struct dgf_bytes text, size_t least, size_t most, unsigned *ret)
{
    uint64_t value;

    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    if (text.len < least || text.len > most || !dgf_parse_u64(text, &value))
        return false;
    *ret = (unsigned)value;
    return true;
}

static unsigned days_of_month(unsigned year, unsigned month)
{
    unsigned next = month == 12 ? 1 : month + 1;

    return (unsigned)(dgf_days_of(month == 12 ? year + 1 : year, next, 1) -
                      dgf_days_of(year, month, 1));
}

/* The last n parts as a month (2), a day (3) or an hour (4). */
static bool take_date(const struct dgf_bytes parts[PARTS], unsigned n,
                      int64_t *ret_begin_ns, int64_t *ret_end_ns)
{
    unsigned year, month, day = 1, hour = 0;
    int64_t begin, length;

    if (!number(parts[n - 1], 4, 4, &year) || !number(parts[n - 2], 1, 2, &month) ||
        (n > 2 && !number(parts[n - 3], 1, 2, &day)) ||
        (n > 3 && !number(parts[n - 4], 1, 2, &hour)))
        return false;
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month) || hour > 23)
        return false;
    begin = dgf_days_of(year, month, day) * DAYS_NS + hour * HOUR_NS;
    length = n == 2   ? (int64_t)days_of_month(year, month) * DAYS_NS
             : n == 3 ? DAYS_NS
                      : HOUR_NS;
    *ret_begin_ns = begin;
    *ret_end_ns = begin + length;
    return true;
}

enum dgf_blob_letter_folder dgf_blob_letter_folder(struct dgf_bytes name,
                                                   int64_t *ret_begin_ns,
                                                   int64_t *ret_end_ns)
{
    struct dgf_bytes parts[PARTS];
    unsigned n_parts = last_parts(name, parts);

    for (unsigned n = n_parts; n >= 2; n--)
        if (take_date(parts, n, ret_begin_ns, ret_end_ns))
            return n == PARTS ? DGF_BLOB_FOLDER_HOUR : DGF_BLOB_FOLDER_DATED;
    return DGF_BLOB_FOLDER_ABOVE;
}

int64_t dgf_blob_letter_hour(int64_t ns)
{
    return ns - ns % HOUR_NS;
}

int64_t dgf_blob_letter_settled(int64_t reached_ns, int64_t now_ns)
{
    int64_t kept = dgf_blob_letter_hour(now_ns - DGF_BLOB_LETTER_KEPT_NS);

    return reached_ns < kept ? reached_ns : kept;
}

/* ---- blobs ---- */

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void skip_space(struct dgf_bytes *text)
{
    while (text->len && is_space(text->ptr[0]))
        *text = dgf_bytes_of(text->ptr + 1, text->len - 1);
}

static bool skip_byte(struct dgf_bytes *text, uint8_t byte)
{
    skip_space(text);
    if (!text->len || text->ptr[0] != byte)
        return false;
    *text = dgf_bytes_of(text->ptr + 1, text->len - 1);
    return true;
}

/* Up to the comma or bracket that ends the element, which is left; false: there is
 * none. */
static bool take_element(struct dgf_bytes *rest, struct dgf_bytes *ret)
{
    const uint8_t *begin = rest->ptr, *at = begin, *end = begin + rest->len;
    size_t depth = 0;
    bool quoted = false;

    for (; at < end; at++) {
        if (quoted) {
            if (*at == '\\')
                at++;
            else if (*at == '"')
                quoted = false;
            if (at >= end)
                return false;
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (depth == 0 && (*at == ',' || *at == ']')) {
            break;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0)
                return false;
            depth--;
        }
    }
    if (at >= end || at == begin)
        return false;
    *ret = dgf_bytes_of(begin, (size_t)(at - begin));
    *rest = dgf_bytes_of(at, (size_t)(end - at));
    while (is_space(ret->ptr[ret->len - 1])) /* it does not begin with one */
        ret->len--;
    return true;
}

enum dgf_rc dgf_blob_letter_next(struct dgf_bytes *rest, bool *in_list,
                                 struct dgf_bytes *ret)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf}; /* of UTF-8 */
    bool first = !*in_list;

    if (first && rest->len >= sizeof(mark) &&
        memcmp(rest->ptr, mark, sizeof(mark)) == 0)
        *rest = dgf_bytes_of(rest->ptr + sizeof(mark), rest->len - sizeof(mark));
    skip_space(rest);
    if (rest->len == 0)
        return *in_list ? DGF_BAD_DATA : DGF_AGAIN;
    if (first && rest->ptr[0] == '{') {
        *ret = *rest;
        *rest = dgf_bytes_of(rest->ptr + rest->len, 0);
        return DGF_OK;
    }
    if (first && !skip_byte(rest, '['))
        return DGF_BAD_DATA;
    *in_list = true;
    if (skip_byte(rest, ']')) {
        skip_space(rest);
        *in_list = false;
        return rest->len ? DGF_BAD_DATA : DGF_AGAIN;
    }
    if (!first && !skip_byte(rest, ','))
        return DGF_BAD_DATA;
    skip_space(rest);
    return take_element(rest, ret) ? DGF_OK : DGF_BAD_DATA;
}

/* ---- what is remembered ---- */

void dgf_blob_letters_put(const struct dgf_blob_letters *letters, struct dgf_buf *out)
{
    dgf_buf_add_byte(out, VERSION);
    dgf_buf_add_le16(out, (uint16_t)strlen(letters->where));
    dgf_buf_add_str(out, letters->where);
    dgf_buf_add_le64(out, (uint64_t)letters->from_ns);
    dgf_buf_add_le64(out, letters->first_bucket);
    dgf_buf_add_le64(out, letters->end_bucket);
}

enum dgf_rc dgf_blob_letters_get(struct dgf_bytes bytes, struct dgf_blob_letters *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_blob_letters letters = {.from_ns = 0};
    uint8_t version = dgf_rd_u8(&rd);
    struct dgf_bytes where = dgf_rd_bytes(&rd, dgf_rd_le16(&rd));

    letters.from_ns = (int64_t)dgf_rd_le64(&rd);
    letters.first_bucket = dgf_rd_le64(&rd);
    letters.end_bucket = dgf_rd_le64(&rd);
    if (rd.bad || dgf_rd_left(&rd) || version != VERSION || where.len == 0 ||
        where.len >= sizeof(letters.where) || memchr(where.ptr, 0, where.len) ||
        letters.from_ns < 0 || letters.end_bucket < letters.first_bucket ||
        letters.end_bucket - letters.first_bucket > DGF_BLOB_LETTER_NAMES_MAX)
        return DGF_FATAL;
    memcpy(letters.where, where.ptr, where.len);
    *ret = letters;
    return DGF_OK;
}
