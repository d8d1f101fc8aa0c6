/* parse_text.c - UTF-8, and the nearest of some words. */
#include "base/parse.h"

/* Length of the sequence at p, 0 when it is not well-formed (Unicode table 3-7:
 * no surrogates, nothing overlong, nothing above U+10FFFF). */
static size_t sequence(const uint8_t *p, size_t left)
{
    uint8_t lead = p[0], lo = 0x80, hi = 0xbf;
    size_t n;

    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    n = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (left < n)
        return 0;
    if (lead == 0xe0)
        lo = 0xa0;
    else if (lead == 0xed)
        hi = 0x9f;
    else if (lead == 0xf0)
        lo = 0x90;
    else if (lead == 0xf4)
        hi = 0x8f;
    if (p[1] < lo || p[1] > hi)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool dgf_utf8_valid(struct dgf_bytes text)
{
    size_t at = 0, n;

    while (at < text.len) {
        if (at + 8 <= text.len) {
            uint64_t word;

            memcpy(&word, text.ptr + at, 8);
            if (!(word & 0x8080808080808080)) {
                at += 8;
                continue;
            }
        }
        n = sequence(text.ptr + at, text.len - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

enum { WORD_MAX = 64 };

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned dgf_edit_distance(const char *a, const char *b, unsigned cap)
{
    size_t n = strlen(a), m = strlen(b);
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *row = rows[2];

    if (n > WORD_MAX || m > WORD_MAX)
        return strcmp(a, b) == 0 ? 0 : cap;
    for (size_t j = 0; j <= m; j++)
        last[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *free_row = before;

        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(least(last[j], row[j - 1]) + 1,
                           last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        before = last;
        last = row;
        row = free_row;
    }
    return least(last[m], cap);
}

const char *dgf_nearest(const char *word, const char *const *candidates, size_t n)
{
    size_t len = strlen(word);
    unsigned within = len < 2 ? 0 : len < 6 ? 1 : (unsigned)(len / 3);
    unsigned best = within + 1;
    const char *found = NULL;

    for (size_t i = 0; i < n; i++)
        if (strcasecmp(word, candidates[i]) == 0)
            return candidates[i];
    for (size_t i = 0; i < n; i++) {
        unsigned distance = dgf_edit_distance(word, candidates[i], best);

        if (distance < best) {
            best = distance;
            found = candidates[i];
        }
    }
    return found;
}
