/* archive_verify_tiles.c - tiles against the tree that the leaves gave. */
#include <inttypes.h>

#include "ledger/archive_part.h"

uint64_t tile_first(const struct dgf_tile *tile)
{
    /* Of the highest level the index is zero: nothing is shifted out. */
    return tile->index << 8 * (tile->level + 1 < 8 ? tile->level + 1 : 0);
}

static enum dgf_rc fetch_tile(struct check *check, const struct dgf_tile *tile,
                              uint8_t (*hashes)[DGF_SHA256_LEN], size_t *ret_len)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    uint8_t more[DGF_TILE_WIDTH * DGF_SHA256_LEN + 1];
    enum dgf_rc rc;

    dgf_name_tile(name, tile);
    rc = check->store->read(check->store, name, 0, more, sizeof(more), ret_len,
                            check->err);
    if (!rc && *ret_len == (size_t)tile->width * DGF_SHA256_LEN)
        memcpy(hashes, more, *ret_len);
    return rc;
}

bool read_tile(struct check *check, const struct dgf_tile *tile,
               uint8_t (*hashes)[DGF_SHA256_LEN])
{
    char name[DGF_ARCHIVE_NAME_MAX];
    size_t len = 0;
    enum dgf_rc rc = fetch_tile(check, tile, hashes, &len);

    dgf_name_tile(name, tile);
    if (rc == DGF_AGAIN)
        missing(check, tile_first(tile), name);
    else if (rc)
        cannot(check, rc, check->err->text);
    else if (len != (size_t)tile->width * DGF_SHA256_LEN)
        found(check, RANK_TILE, "tile", tile_first(tile), "'%s' is of another length",
              name);
    else
        return true;
    return false;
}

enum dgf_rc compare_tile(void *ctx, const struct dgf_tile *tile,
                         struct dgf_bytes hashes)
{
    struct check *check = ctx;
    uint8_t there[DGF_TILE_WIDTH][DGF_SHA256_LEN];
    char name[DGF_ARCHIVE_NAME_MAX];

    if (!read_tile(check, tile, there))
        return check->rc;
    if (memcmp(there, hashes.ptr, hashes.len) != 0) {
        dgf_name_tile(name, tile);
        found(check, RANK_TILE, "tile", tile_first(tile),
              "'%s' is not what the records give", name);
    }
    return DGF_OK;
}

/* Those of the size at the end of the segment. */
void compare_partial_tiles(struct check *check)
{
    for (unsigned level = 0; level < DGF_TILE_LEVELS && !check->rc; level++) {
        struct dgf_tile tile;

        if (dgf_tile_partial(check->tiles->size, level, &tile))
            (void)compare_tile(check, &tile, dgf_tiles_partial(check->tiles, level));
    }
}

static enum dgf_rc read_partial(void *ctx, const struct dgf_tile *tile,
                                struct dgf_buf *to)
{
    struct check *check = ctx;
    uint8_t hashes[DGF_TILE_WIDTH][DGF_SHA256_LEN];
    size_t len = 0;
    enum dgf_rc rc = fetch_tile(check, tile, hashes, &len);

    if (rc)
        return rc;
    if (len != (size_t)tile->width * DGF_SHA256_LEN)
        return DGF_BAD_DATA;
    dgf_buf_add(to, hashes, len);
    return dgf_buf_rc(to);
}

/* Takes the tree up again behind something that is missing. */
bool load_tree(struct check *check, uint64_t size, const uint8_t root[DGF_SHA256_LEN])
{
    uint8_t now[DGF_SHA256_LEN];

    check->tree_known = false;
    if (dgf_tiles_load(check->tiles, size, read_partial, check))
        return false;
    tree_root(check->tiles, now);
    check->tree_known = memcmp(now, root, sizeof(now)) == 0;
    return check->tree_known;
}
