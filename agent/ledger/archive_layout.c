#include "ledger/archive_layout.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define PIECE 16 /* bytes that are looked at at once */

/* ---- learning ------------------------------------------------------------- */

static bool is_digits(struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
    return true;
}

/* False: not a number that a layout can say. */
static bool add_number(struct dgf_layout *layout, size_t at, struct dgf_bytes text)
{
    if (!is_digits(text))
        return false;
    memset(layout->digits + at, 0xff, text.len);
    if (text.len == 1)
        return true;
    if (layout->n_numbers == DGF_LAYOUT_NUMBERS_MAX)
        return false;
    layout->numbers[layout->n_numbers++] = (uint16_t)at;
    return true;
}

void dgf_layout_learn(struct dgf_layout *layout, struct dgf_bytes line,
                      const struct dgf_bytes *values, const bool *is_text,
                      size_t n_values)
{
    layout->len = 0;
    if (line.len < PIECE || line.len > DGF_LAYOUT_BYTES_MAX)
        return;
    layout->n_numbers = 0;
    memcpy(layout->bytes, line.ptr, line.len);
    memset(layout->fixed, 0xff, line.len);
    memset(layout->digits, 0, line.len);
    for (size_t i = 0; i < n_values; i++) {
        size_t at = (size_t)(values[i].ptr - line.ptr);

        memset(layout->fixed + at, 0, values[i].len);
        if (!is_text[i] && !add_number(layout, at, values[i]))
            return;
    }
    layout->len = line.len;
}

/* ---- a line and a layout -------------------------------------------------- */

#if defined(__SSE2__)
static inline __m128i load(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* Not zero where a byte is not what it must be. */
static inline __m128i differ(const struct dgf_layout *layout, const uint8_t *line,
                             size_t i)
{
    __m128i bytes = load(line + i), fixed = load(layout->fixed + i);
    __m128i other = _mm_xor_si128(bytes, load(layout->bytes + i));
    /* As signed numbers, those from 0x80 on are below 0x20 too. */
    __m128i low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i slash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    __m128i special = _mm_or_si128(low, _mm_or_si128(quote, slash));
    /* Those below '0' become large ones. */
    __m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    __m128i over = _mm_subs_epu8(digit, _mm_set1_epi8(9));

    return _mm_or_si128(
        _mm_or_si128(_mm_and_si128(other, fixed), _mm_andnot_si128(fixed, special)),
        _mm_and_si128(over, load(layout->digits + i)));
}

static bool bytes_fit(const struct dgf_layout *layout, const uint8_t *line)
{
    __m128i all = differ(layout, line, layout->len - PIECE);

    for (size_t i = 0; i + PIECE < layout->len; i += PIECE)
        all = _mm_or_si128(all, differ(layout, line, i));
    return _mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_setzero_si128())) == 0xffff;
}
#else
static bool bytes_fit(const struct dgf_layout *layout, const uint8_t *line)
{
    uint8_t all = 0;

    for (size_t i = 0; i < layout->len; i++) {
        uint8_t c = line[i], fixed = layout->fixed[i];
        bool special = c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
        bool digit = c >= '0' && c <= '9';

        all |= (uint8_t)((c ^ layout->bytes[i]) & fixed);
        all |= (uint8_t)(special & ~fixed & 1);
        all |= (uint8_t)(!digit & layout->digits[i] & 1);
    }
    return all == 0;
}
#endif

bool dgf_layout_is(const struct dgf_layout *layout, struct dgf_bytes line)
{
    if (layout->len == 0 || line.len != layout->len || !bytes_fit(layout, line.ptr))
        return false;
    for (size_t i = 0; i < layout->n_numbers; i++)
        if (line.ptr[layout->numbers[i]] == '0')
            return false;
    return true;
}
