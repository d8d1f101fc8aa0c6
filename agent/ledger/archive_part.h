/* archive_part.h - what the files archive_verify*.c share.  Thread: one owner. */
#ifndef DGF_LEDGER_ARCHIVE_PART_H
#define DGF_LEDGER_ARCHIVE_PART_H

#include "base/json.h"
#include "base/sha256.h"
#include "ledger/archive_line.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_read.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/note.h"

#define MAX_DISTANCE_S 120
#define MAX_KEYS 4096
#define MAX_SOURCES 4096
#define MAX_RANGES 4096

/* Of several things that are wrong with one segment, the one with the lowest rank is
 * what is reported; of one rank, the lowest index. */
enum rank {
    RANK_CHECKPOINT,
    RANK_MANIFEST,
    RANK_LEAF,
    RANK_RECORD,
    RANK_SEGMENT,
    RANK_CONTENT,
    RANK_TILE,
    RANK_ANCHOR,
    RANK_NONE
};

struct finding {
    enum rank rank;
    const char *class;
    uint64_t index;
    char text[512];
};

/* A checkpoint as it stands, not yet believed. */
struct note {
    struct dgf_buf bytes;
    struct dgf_bytes origin, body, signatures;
    uint64_t size, time_s;
    uint8_t root[DGF_SHA256_LEN], manifest[DGF_SHA256_LEN];
};

/* NULL, or the class of what is wrong with its form; *ret_what says it. */
const char *note_read(struct note *note, const char **ret_what);
bool note_is_signed(const struct note *note, const char *name,
                    const uint8_t key[DGF_SIGN_PUBLIC_LEN]);

struct known_key {
    uint8_t key[DGF_SIGN_PUBLIC_LEN];
    uint64_t from; /* signs checkpoints of a size beyond */
};

struct source {
    char *name;  /* owned */
    char *to;    /* owned; NULL: not known */
    char *since; /* owned; what a `resume` said: as good as `to` */
    bool fresh;  /* a resume stands behind the last coverage record */
    bool covered;
    int64_t covered_ns;
    char *part_from, *part_to; /* owned; of the part that was read last */
};

/* Records, in order. */
struct follow {
    struct source *sources;
    size_t n_sources;
    int64_t logged_ns;
    struct dgf_bytes logged; /* text of logged_ns, in `text` */
    char logged_text[64];
    bool has_logged;
    bool resumed; /* a resume in this segment */
    uint64_t pruned_before;
};

struct range {
    uint64_t first, last;
};

struct check {
    struct dgf_store *store;
    const struct dgf_archive_trust *trust;
    struct dgf_archive_verdict *verdict;
    char origin[DGF_ORIGIN_MAX], log[64];
    bool has_origin;
    struct known_key *keys;
    size_t n_keys, n_spares;
    struct known_key *spares; /* further keys that were given */
    bool key_may_be_pruned;
    struct dgf_numbers sizes;       /* of checkpoints */
    uint64_t asked;                 /* what is before this size was asked for */
    struct note checkpoint, anchor; /* scratch */
    struct note before; /* the checkpoint that record 0 cites; size 0: none */
    struct follow follow;

    struct dgf_tiles *tiles, *other;
    bool tree_known;
    uint8_t root[DGF_SHA256_LEN]; /* of the tree, as of the last whole segment */

    bool has_previous; /* the manifest before is known */
    uint64_t previous_first;
    bool previous_signed;
    uint8_t previous[DGF_SHA256_LEN];
    uint8_t policies[DGF_SHA256_LEN]; /* of what was last looked at */
    uint64_t time_s;                  /* of the checkpoint before */
    bool has_time;

    struct range *absent;
    size_t n_absent;
    uint64_t anchored; /* size of the largest anchor that fits */
    struct finding found, missing;
    uint64_t missing_of; /* size of the checkpoint that what is missing belongs to */

    struct step *step;
    struct reading *reading; /* owned; buffers of segments */
    enum dgf_rc rc;          /* when it cannot be read at all */
    struct dgf_err *err;
};

/* One segment. */
struct step {
    uint64_t first, size; /* indices first <= i < size */
    bool has_checkpoint, has_manifest;
    uint8_t expected[DGF_SHA256_LEN]; /* root at its end */
    bool has_expected;
    uint8_t root[DGF_SHA256_LEN]; /* as the leaves, or the tiles, give it */
    uint8_t manifest_hash[DGF_SHA256_LEN];
    struct dgf_manifest manifest, seen; /* as written; as the lines say */
    bool absent;
    /* what the leaves gave */
    bool mismatch; /* a leaf is not what its tile says */
    uint64_t mismatch_at;
    const char *mismatch_class;
    const char *fault; /* the file is not a segment: class */
    uint64_t fault_at;
    char fault_text[200];
    uint64_t n_lines;
    uint8_t leaves_sha256[DGF_SHA256_LEN], file_sha256[DGF_SHA256_LEN];
    uint64_t culprit; /* of an absent segment: first index of a tile that is wrong */
    bool has_culprit;
};

void found(struct check *check, enum rank rank, const char *class, uint64_t index,
           const char *fmt, ...) DGF_PRINTF(5, 6);
/* The object is not there. */
void missing(struct check *check, uint64_t index, const char *name);
/* Out of memory, or the store failed: it ends. */
void cannot(struct check *check, enum dgf_rc rc, const char *text);

/* archive_verify_checkpoint.c */
void check_checkpoint_form(struct check *check, struct note *note);
void check_checkpoint_signature(struct check *check, const struct note *note,
                                uint64_t index);
bool key_add_rotation(struct check *check, const json_t *detail, uint64_t index);
void check_newest(struct check *check, uint64_t index);
/* By the key that signs that size; else *ret_class. */
bool is_signed_now(struct check *check, const struct note *note,
                   const char **ret_class);

/* archive_verify_anchors.c */
void check_anchors(struct check *check, uint64_t size,
                   const uint8_t root[DGF_SHA256_LEN]);
/* Takes what a `resume` record 0 says of the log before. */
void take_before(struct check *check, const json_t *detail);
void check_anchors_beyond(struct check *check, uint64_t size);
enum dgf_rc check_trust(struct check *check, struct dgf_err *err);
/* DGF_BAD_CONFIG: the archive is of another log than the key. */
enum dgf_rc check_key_is_of_archive(struct check *check);

/* archive_verify_segment.c */
enum dgf_rc reading_new(struct reading **ret);
void reading_free(struct reading *reading);
/* False: the segment's file is not there. */
bool read_leaves(struct check *check);
/* Takes the leaf hashes of an absent segment from its tiles. */
void append_from_tiles(struct check *check);
void tree_root(const struct dgf_tiles *tiles, uint8_t ret[DGF_SHA256_LEN]);

/* archive_verify_tiles.c */
/* False: absent or of another length; then `hashes` is not valid. */
bool read_tile(struct check *check, const struct dgf_tile *tile,
               uint8_t (*hashes)[DGF_SHA256_LEN]);
enum dgf_rc compare_tile(void *ctx, const struct dgf_tile *tile,
                         struct dgf_bytes hashes);
void compare_partial_tiles(struct check *check);
uint64_t tile_first(const struct dgf_tile *tile);
bool load_tree(struct check *check, uint64_t size, const uint8_t root[DGF_SHA256_LEN]);

/* archive_verify_records.c */
void follow_release(struct follow *follow);
void follow_record(struct check *check, struct dgf_bytes line,
                   const struct dgf_archive_line *fields, uint64_t index);
void follow_absent(struct check *check);

#endif
