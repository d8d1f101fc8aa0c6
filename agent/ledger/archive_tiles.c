#include "ledger/archive_tiles.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

void dgf_name_segment(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first)
{
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "segments/%" PRIu64 ".ndjson.zst", first);
}

void dgf_name_manifest(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first)
{
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "segments/%" PRIu64 ".json", first);
}

void dgf_name_state(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first)
{
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "state/%" PRIu64 ".enc", first);
}

void dgf_name_checkpoint(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t size)
{
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "checkpoints/%" PRIu64, size);
}

void dgf_name_policy(char ret[DGF_ARCHIVE_NAME_MAX],
                     const uint8_t digest[DGF_SHA256_LEN])
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * DGF_SHA256_LEN + 1] = "";

    for (int i = 0; i < DGF_SHA256_LEN; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "policies/%s.yaml", hex);
}

void dgf_name_tile(char ret[DGF_ARCHIVE_NAME_MAX], const struct dgf_tile *tile)
{
    uint64_t group = 1;
    int n = snprintf(ret, DGF_ARCHIVE_NAME_MAX, "tile/%u", tile->level);

    while (tile->index / group >= 1000)
        group *= 1000;
    for (; group > 0; group /= 1000)
        n += snprintf(ret + n, DGF_ARCHIVE_NAME_MAX - (size_t)n, "/%s%03u",
                      group > 1 ? "x" : "", (unsigned)(tile->index / group % 1000));
    if (tile->width < DGF_TILE_WIDTH)
        (void)snprintf(ret + n, DGF_ARCHIVE_NAME_MAX - (size_t)n, ".p/%u", tile->width);
}

/* How many hashes level L has. */
static uint64_t n_hashes(uint64_t size, unsigned level)
{
    return size >> 8 * level;
}

bool dgf_tile_partial(uint64_t size, unsigned level, struct dgf_tile *ret)
{
    uint64_t n = n_hashes(size, level);

    if (n % DGF_TILE_WIDTH == 0)
        return false;
    *ret = (struct dgf_tile){level, n / DGF_TILE_WIDTH, n % DGF_TILE_WIDTH};
    return true;
}

void dgf_tile_list_init(struct dgf_tile_list *list, uint64_t from, uint64_t to)
{
    *list =
        (struct dgf_tile_list){.from = from, .to = to, .index = from / DGF_TILE_WIDTH};
}

bool dgf_tile_list_next(struct dgf_tile_list *list, struct dgf_tile *ret)
{
    while (list->level < DGF_TILE_LEVELS && list->from < list->to) {
        uint64_t n = n_hashes(list->to, list->level);

        if (list->index < n / DGF_TILE_WIDTH) {
            *ret = (struct dgf_tile){list->level, list->index, DGF_TILE_WIDTH};
            list->index++;
            return true;
        }
        list->level++;
        if (list->level < DGF_TILE_LEVELS)
            list->index = n_hashes(list->from, list->level) / DGF_TILE_WIDTH;
        if (dgf_tile_partial(list->to, list->level - 1, ret))
            return true;
    }
    return false;
}

void dgf_tiles_init(struct dgf_tiles *tiles)
{
    tiles->size = 0;
}

/* The root of a full tile. */
static void fold(uint8_t (*hashes)[DGF_SHA256_LEN], size_t n,
                 uint8_t ret[DGF_SHA256_LEN])
{
    for (; n > 1; n /= 2)
        dgf_sha256_nodes(hashes, n / 2, hashes);
    memcpy(ret, hashes[0], DGF_SHA256_LEN);
}

enum dgf_rc dgf_tiles_append(struct dgf_tiles *tiles,
                             const uint8_t (*leaves)[DGF_SHA256_LEN], size_t n,
                             enum dgf_rc (*full)(void *ctx, const struct dgf_tile *tile,
                                                 struct dgf_bytes hashes),
                             void *ctx)
{
    uint8_t scratch[DGF_TILE_WIDTH][DGF_SHA256_LEN];

    for (size_t i = 0; i < n; i++) {
        uint8_t hash[DGF_SHA256_LEN];
        uint64_t at = tiles->size;

        memcpy(hash, leaves[i], sizeof(hash));
        tiles->size++;
        for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
            struct dgf_tile tile = {level, at / DGF_TILE_WIDTH, DGF_TILE_WIDTH};
            enum dgf_rc rc;

            memcpy(tiles->open[level][at % DGF_TILE_WIDTH], hash, sizeof(hash));
            if (at % DGF_TILE_WIDTH != DGF_TILE_WIDTH - 1)
                break;
            rc = full(ctx, &tile, dgf_bytes_of(tiles->open[level], sizeof(scratch)));
            if (rc)
                return rc;
            memcpy(scratch, tiles->open[level], sizeof(scratch));
            fold(scratch, DGF_TILE_WIDTH, hash);
            at /= DGF_TILE_WIDTH;
        }
    }
    return DGF_OK;
}

struct dgf_bytes dgf_tiles_partial(const struct dgf_tiles *tiles, unsigned level)
{
    return dgf_bytes_of(tiles->open[level],
                        n_hashes(tiles->size, level) % DGF_TILE_WIDTH * DGF_SHA256_LEN);
}

enum dgf_rc dgf_tiles_load(struct dgf_tiles *tiles, uint64_t size,
                           enum dgf_rc (*read)(void *ctx, const struct dgf_tile *tile,
                                               struct dgf_buf *to),
                           void *ctx)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};

    dgf_buf_init(&bytes, sizeof(tiles->open[0]));
    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
        struct dgf_tile tile;
        enum dgf_rc rc;

        if (!dgf_tile_partial(size, level, &tile))
            continue;
        dgf_buf_clear(&bytes);
        rc = read(ctx, &tile, &bytes);
        if (rc)
            return rc;
        if (bytes.len != (size_t)tile.width * DGF_SHA256_LEN)
            return DGF_BAD_DATA;
        memcpy(tiles->open[level], bytes.ptr, bytes.len);
    }
    tiles->size = size;
    return DGF_OK;
}

void dgf_tiles_tree(const struct dgf_tiles *tiles, struct dgf_tree *ret)
{
    uint8_t scratch[DGF_TILE_WIDTH][DGF_SHA256_LEN];

    ret->size = tiles->size;
    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
        unsigned width = (unsigned)(n_hashes(tiles->size, level) % DGF_TILE_WIDTH);
        unsigned at = 0;

        /* Largest subtree first, as the bits of the width say. */
        for (unsigned bit = 8; bit-- > 0;) {
            unsigned n = 1u << bit;

            if (!(width & n))
                continue;
            memcpy(scratch, tiles->open[level][at], (size_t)n * DGF_SHA256_LEN);
            fold(scratch, n, ret->edge[8 * level + bit]);
            at += n;
        }
    }
}
