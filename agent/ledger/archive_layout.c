#include "ledger/archive_layout.h"

/* Looked at at once: one register with AVX2, two with SSE2. */
#define PIECE 32
typedef uint8_t piece __attribute__((vector_size(PIECE)));
typedef int8_t signed_piece __attribute__((vector_size(PIECE)));

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

/* Every byte of *all is zero as long as every byte of the line is what it must be. */
static inline __attribute__((always_inline)) void look(const struct dgf_layout *layout,
                                                       const uint8_t *line, size_t i,
                                                       piece *all)
{
    piece bytes, were, fixed, digits, special, other;

    memcpy(&bytes, line + i, PIECE);
    memcpy(&were, layout->bytes + i, PIECE);
    memcpy(&fixed, layout->fixed + i, PIECE);
    memcpy(&digits, layout->digits + i, PIECE);
    /* As signed numbers, those from 0x80 on are below 0x20 too. */
    special = (piece)((signed_piece)bytes < 0x20) | (piece)(bytes == '"') |
              (piece)(bytes == '\\');
    other = (piece)(bytes - '0' > 9);
    *all |= ((bytes ^ were) & fixed) | (special & ~fixed) | (other & digits);
}

static inline __attribute__((always_inline)) bool fits(const struct dgf_layout *layout,
                                                       const uint8_t *line)
{
    piece all = {0};
    uint64_t words[PIECE / sizeof(uint64_t)];

    look(layout, line, layout->len - PIECE, &all);
    for (size_t i = 0; i + PIECE < layout->len; i += PIECE)
        look(layout, line, i, &all);
    memcpy(words, &all, PIECE);
    return (words[0] | words[1] | words[2] | words[3]) == 0;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static bool fits_avx2(const struct dgf_layout *layout,
                                                      const uint8_t *line)
{
    return fits(layout, line);
}
#endif

static bool bytes_fit(const struct dgf_layout *layout, const uint8_t *line)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        return fits_avx2(layout, line);
#endif
    return fits(layout, line);
}

bool dgf_layout_is(const struct dgf_layout *layout, struct dgf_bytes line)
{
    if (layout->len == 0 || line.len != layout->len || !bytes_fit(layout, line.ptr))
        return false;
    for (size_t i = 0; i < layout->n_numbers; i++)
        if (line.ptr[layout->numbers[i]] == '0')
            return false;
    return true;
}
