#include "ledger/archive_shape.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define PIECE 16 /* bytes that are compared at once */

void dgf_shapes_init(struct dgf_shapes *shapes)
{
    for (unsigned i = 0; i < DGF_SHAPES; i++) {
        shapes->list[i].n_values = SIZE_MAX;
        shapes->order[i] = i;
    }
}

/* ---- a line and a shape --------------------------------------------------- */

static inline size_t padded(size_t len)
{
    return (len + PIECE - 1) / PIECE * PIECE;
}

/* The fixed bytes stand in whole pieces; those of the line may end. */
static inline bool same_bytes(const uint8_t *p, const uint8_t *end,
                              const uint8_t *fixed, size_t len)
{
#if defined(__SSE2__)
    while ((size_t)(end - p) >= PIECE && len > 0) {
        __m128i a = _mm_loadu_si128((const __m128i *)p);
        __m128i b = _mm_loadu_si128((const __m128i *)fixed);
        unsigned differ = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, b)) ^ 0xffff;

        if (len <= PIECE)
            return (differ & ((1u << len) - 1)) == 0;
        if (differ)
            return false;
        p += PIECE;
        fixed += PIECE;
        len -= PIECE;
    }
#endif
    return (size_t)(end - p) >= len && memcmp(p, fixed, len) == 0;
}

/* The quote that ends a text; NULL: it is none. */
static inline const uint8_t *end_of_text(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *at = p;

#if defined(__SSE2__)
    for (; end - at >= PIECE; at += PIECE) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        /* As signed numbers, those from 0x80 on are below 0x20 too. */
        __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
        __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
        unsigned mask =
            (unsigned)_mm_movemask_epi8(_mm_or_si128(low, _mm_or_si128(quote, slash)));

        if (mask) {
            at += __builtin_ctz(mask);
            break;
        }
    }
#endif
    while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return at < end && *at == '"' ? at : dgf_archive_text_end(p, end);
}

/* Behind a number; NULL: it is none. */
static inline const uint8_t *end_of_number(const uint8_t *p, const uint8_t *end)
{
    if (p == end)
        return NULL;
    if (*p < '1' || *p > '9')
        return dgf_archive_number_end(p, end);
    do
        p++;
    while (p < end && *p >= '0' && *p <= '9');
    /* What may follow in a number is not what follows in the shape. */
    return p < end && (*p == '.' || *p == 'e' || *p == 'E') ? NULL : p;
}

static struct dgf_bytes value_of(const struct dgf_bytes *values, int i)
{
    return i < 0 ? dgf_bytes_of(NULL, 0) : values[i];
}

static struct dgf_bytes moved(struct dgf_bytes field, const uint8_t *from,
                              const uint8_t *to)
{
    return field.ptr ? dgf_bytes_of(to + (field.ptr - from), field.len) : field;
}

static void move_fields(struct dgf_archive_line *to, const struct dgf_archive_line *at,
                        const uint8_t *from_bytes, const uint8_t *to_bytes)
{
    to->seq = moved(at->seq, from_bytes, to_bytes);
    to->kind = moved(at->kind, from_bytes, to_bytes);
    to->time = moved(at->time, from_bytes, to_bytes);
    to->logged = moved(at->logged, from_bytes, to_bytes);
}

/* Lines of one length follow each other, so their values may be as long too: learning a
 * layout costs as much as reading a line or two, and is not done for each. */
static void note_layout(struct dgf_shape *shape, struct dgf_bytes line,
                        const struct dgf_bytes *values,
                        const struct dgf_archive_line *fields)
{
    if (shape->last_len == line.len) {
        dgf_layout_learn(&shape->layout, line, values, shape->is_text, shape->n_values);
        move_fields(&shape->at, fields, line.ptr, shape->layout.bytes);
    }
    shape->last_len = line.len;
}

static bool has_layout(const struct dgf_shape *shape, struct dgf_bytes line,
                       struct dgf_archive_line *ret)
{
    if (!dgf_layout_is(&shape->layout, line))
        return false;
    move_fields(ret, &shape->at, shape->layout.bytes, line.ptr);
    return true;
}

static bool has_shape(struct dgf_shape *shape, struct dgf_bytes line,
                      struct dgf_archive_line *ret)
{
    const uint8_t *p = line.ptr, *end = p + line.len, *fixed = shape->fixed;
    struct dgf_bytes values[DGF_SHAPE_VALUES_MAX];

    for (size_t i = 0; i < shape->n_values; i++) {
        const uint8_t *begin;

        if (!same_bytes(p, end, fixed, shape->lens[i]))
            return false;
        fixed += padded(shape->lens[i]);
        begin = p + shape->lens[i];
        p = shape->is_text[i] ? end_of_text(begin, end) : end_of_number(begin, end);
        if (!p)
            return false;
        values[i] = dgf_bytes_of(begin, (size_t)(p - begin));
    }
    if ((size_t)(end - p) != shape->lens[shape->n_values] ||
        !same_bytes(p, end, fixed, (size_t)(end - p)))
        return false;
    ret->seq = value_of(values, shape->seq);
    ret->kind = value_of(values, shape->kind);
    ret->time = value_of(values, shape->time);
    ret->logged = value_of(values, shape->logged);
    note_layout(shape, line, values, ret);
    return true;
}

/* ---- learning ------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-';
}

/* The text of a key: a colon follows. */
static bool is_key(const uint8_t *quote, const uint8_t *end)
{
    const uint8_t *p = quote + 1;

    while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++;
    return p < end && *p == ':';
}

/* Cuts off the fixed bytes before a value; false: there is no room. */
static bool cut(struct dgf_shape *shape, const uint8_t *from, const uint8_t *to,
                size_t *used)
{
    size_t len = (size_t)(to - from);

    if (len > DGF_SHAPE_BYTES_MAX || *used + padded(len) > DGF_SHAPE_BYTES_MAX)
        return false;
    memset(shape->fixed + *used, 0, padded(len));
    memcpy(shape->fixed + *used, from, len);
    shape->lens[shape->n_values] = (uint16_t)len;
    *used += padded(len);
    return true;
}

/* The value that begins where the field was found. */
static void note_field(const struct dgf_shape *shape, const uint8_t *begin,
                       struct dgf_bytes field, int *ret)
{
    if (field.ptr == begin)
        *ret = (int)shape->n_values;
}

static bool add_value(struct dgf_shape *shape, const uint8_t *from,
                      const uint8_t *begin, bool is_text,
                      const struct dgf_archive_line *fields, size_t *used)
{
    if (shape->n_values == DGF_SHAPE_VALUES_MAX || !cut(shape, from, begin, used))
        return false;
    note_field(shape, begin, fields->seq, &shape->seq);
    note_field(shape, begin, fields->kind, &shape->kind);
    note_field(shape, begin, fields->time, &shape->time);
    note_field(shape, begin, fields->logged, &shape->logged);
    shape->is_text[shape->n_values++] = is_text;
    return true;
}

/* A line that is JSON; false: its shape is too large. */
static bool learn(struct dgf_shape *shape, struct dgf_bytes line,
                  const struct dgf_archive_line *fields)
{
    const uint8_t *p = line.ptr, *end = p + line.len, *from = p;
    size_t used = 0;

    shape->n_values = 0;
    shape->last_len = line.len;
    shape->layout.len = 0;
    shape->seq = shape->kind = shape->time = shape->logged = -1;
    while (p && p < end) {
        const uint8_t *begin = *p == '"' ? p + 1 : p;

        if (*p == '"') {
            p = dgf_archive_text_end(begin, end);
            if (!p)
                return false;
            if (is_key(p, end)) {
                p++;
                continue;
            }
            if (!add_value(shape, from, begin, true, fields, &used))
                return false;
            from = p++;
        } else if (is_digit(*p)) {
            p = dgf_archive_number_end(p, end);
            if (!p || !add_value(shape, from, begin, false, fields, &used))
                return false;
            from = p;
        } else {
            p++;
        }
    }
    return p && cut(shape, from, end, &used);
}

static void to_front(struct dgf_shapes *shapes, unsigned i)
{
    unsigned first = shapes->order[i];

    memmove(shapes->order + 1, shapes->order, i * sizeof(shapes->order[0]));
    shapes->order[0] = first;
}

enum dgf_line_is dgf_shapes_read(struct dgf_shapes *shapes, struct dgf_bytes line,
                                 struct dgf_archive_line *ret)
{
    struct dgf_shape *oldest;
    enum dgf_line_is is;

    for (unsigned i = 0; i < DGF_SHAPES; i++) {
        struct dgf_shape *shape = &shapes->list[shapes->order[i]];

        if (shape->n_values == SIZE_MAX ||
            (!has_layout(shape, line, ret) && !has_shape(shape, line, ret)))
            continue;
        if (i > 0)
            to_front(shapes, i);
        return DGF_LINE_OK;
    }
    is = dgf_archive_line_read(line, ret);
    if (is != DGF_LINE_OK)
        return is;
    oldest = &shapes->list[shapes->order[DGF_SHAPES - 1]];
    if (learn(oldest, line, ret))
        to_front(shapes, DGF_SHAPES - 1);
    else
        oldest->n_values = SIZE_MAX;
    return is;
}
