/* archive_tiles.h - names of archive objects, and hash tiles of height 8.
 *
 * A tile of level L holds up to 256 hashes, each the root of 256^L leaves.  A tree of
 * n leaves has n >> 8L of them at level L; those that do not fill a tile are a partial
 * tile.  Names are those of C2SP tlog-tiles: tile/<level>/<index>[.p/<width>], the
 * index in groups of three digits, all but the last with an x before it
 * (tile/0/x001/234). Other numbers in names are decimal without padding.  Thread: any,
 * one owner. */
#ifndef DGF_LEDGER_ARCHIVE_TILES_H
#define DGF_LEDGER_ARCHIVE_TILES_H

#include "ledger/tree.h"

#define DGF_ARCHIVE_NAME_MAX 128
#define DGF_TILE_WIDTH 256
#define DGF_TILE_LEVELS 8

void dgf_name_segment(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first);
void dgf_name_manifest(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first);
void dgf_name_state(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t first);
void dgf_name_checkpoint(char ret[DGF_ARCHIVE_NAME_MAX], uint64_t size);
void dgf_name_policy(char ret[DGF_ARCHIVE_NAME_MAX],
                     const uint8_t digest[DGF_SHA256_LEN]);
#define DGF_NAME_CHECKPOINT "checkpoint"
#define DGF_NAME_KEYS "keys.json"

struct dgf_tile {
    unsigned level;
    uint64_t index;
    unsigned width; /* 1 to 256; 256: full */
};
void dgf_name_tile(char ret[DGF_ARCHIVE_NAME_MAX], const struct dgf_tile *tile);

/* The tiles that a tree needs that grew from `from` to `to` leaves: those that became
 * full, and the partial ones of size `to`.  Level 0 first. */
struct dgf_tile_list {
    uint64_t from, to, index;
    unsigned level;
};
void dgf_tile_list_init(struct dgf_tile_list *list, uint64_t from, uint64_t to);
bool dgf_tile_list_next(struct dgf_tile_list *list, struct dgf_tile *ret);
/* The partial tile of this level of a tree of that size; false: it has none. */
bool dgf_tile_partial(uint64_t size, unsigned level, struct dgf_tile *ret);

/* The tiles that are not full yet, level by level; 64 KiB. */
struct dgf_tiles {
    uint64_t size;
    uint8_t open[DGF_TILE_LEVELS][DGF_TILE_WIDTH][DGF_SHA256_LEN];
};
void dgf_tiles_init(struct dgf_tiles *tiles);
/* Adds n leaf hashes; full gets each tile the moment it is full, its hashes borrowed.
 * Another code than DGF_OK from it ends the call and is returned. */
enum dgf_rc dgf_tiles_append(struct dgf_tiles *tiles,
                             const uint8_t (*leaves)[DGF_SHA256_LEN], size_t n,
                             enum dgf_rc (*full)(void *ctx, const struct dgf_tile *tile,
                                                 struct dgf_bytes hashes),
                             void *ctx) DGF_MUST_USE;
/* The open hashes of one level: what its partial tile holds. */
struct dgf_bytes dgf_tiles_partial(const struct dgf_tiles *tiles, unsigned level);
/* Takes up a tree of `size` leaves from its partial tiles; read appends the bytes of
 * one.  DGF_BAD_DATA: a tile has another length. */
enum dgf_rc dgf_tiles_load(struct dgf_tiles *tiles, uint64_t size,
                           enum dgf_rc (*read)(void *ctx, const struct dgf_tile *tile,
                                               struct dgf_buf *to),
                           void *ctx) DGF_MUST_USE;
/* The edge of the tree they stand for: for its root. */
void dgf_tiles_tree(const struct dgf_tiles *tiles, struct dgf_tree *ret);

#endif
