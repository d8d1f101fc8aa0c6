/* archive_impl.h - what the files that seal share.  Not for use outside agent/ledger.
 *
 * struct dgf_sealer is the sealing thread's while it works, and the loop's before. */
#ifndef DGF_LEDGER_ARCHIVE_IMPL_H
#define DGF_LEDGER_ARCHIVE_IMPL_H

#include "ledger/archive.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_tiles.h"
#include "ledger/segments.h"
#include "ledger/state_db.h"
#include "ledger/walk.h"

#define DGF_ARCHIVE_DIR_MAX (DGF_LEDGER_DIR_MAX + 64)
#define DGF_ARCHIVE_LEVEL 1 /* of zstd: the ratio of records is good enough */

/* Files below one folder: written aside, synced, renamed, their folders synced. */
struct dgf_objects {
    char root[DGF_ARCHIVE_DIR_MAX]; /* data_dir/archive/<log id> */
    char **folders;                 /* owned; to be synced */
    size_t n_folders;
};
void dgf_objects_release(struct dgf_objects *objects);
/* The path of a name; to has room for DGF_PATH_MAX. */
void dgf_objects_path(const struct dgf_objects *objects, const char *name, char *to);
void dgf_objects_temporary(const struct dgf_objects *objects, const char *name,
                           char *to);
/* Makes the folders a name needs. */
enum dgf_rc dgf_objects_folders(struct dgf_objects *objects, const char *name,
                                struct dgf_err *err) DGF_MUST_USE;
/* Opens <name>.tmp anew for writing.  DGF_AGAIN: no space. */
enum dgf_rc dgf_objects_create(struct dgf_objects *objects, const char *name,
                               struct dgf_file **ret, struct dgf_err *err) DGF_MUST_USE;
/* Appends at *at; space is reserved first. */
enum dgf_rc dgf_objects_write(struct dgf_file *file, uint64_t *at,
                              struct dgf_bytes bytes, struct dgf_err *err) DGF_MUST_USE;
/* <name>.tmp with these bytes, not synced. */
enum dgf_rc dgf_objects_put(struct dgf_objects *objects, const char *name,
                            struct dgf_bytes bytes, struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_objects_sync(struct dgf_objects *objects, const char *name,
                             struct dgf_err *err) DGF_MUST_USE;
/* <name>.tmp becomes <name>. */
enum dgf_rc dgf_objects_rename(struct dgf_objects *objects, const char *name,
                               struct dgf_err *err) DGF_MUST_USE;
/* Syncs every folder something was renamed or made in since the last call. */
enum dgf_rc dgf_objects_sync_folders(struct dgf_objects *objects, struct dgf_err *err)
    DGF_MUST_USE;
/* DGF_BAD_DATA: not there, or larger than max. */
enum dgf_rc dgf_objects_read(const struct dgf_objects *objects, const char *name,
                             size_t max, struct dgf_buf *to, struct dgf_err *err)
    DGF_MUST_USE;

/* What was signed last, on disk beside the keys. */
struct dgf_signer {
    char path[DGF_PATH_MAX];
    char origin[DGF_ORIGIN_MAX];
    uint8_t seed[DGF_SIGN_SEED_LEN], key[DGF_SIGN_PUBLIC_LEN];
    struct dgf_log_keys keys;
    bool has_last;
    struct dgf_checkpoint last;
};
/* Reads what was signed last.  DGF_BAD_DATA: it is damaged. */
enum dgf_rc dgf_signer_open(struct dgf_signer *signer, const char *dir,
                            const char *log_id_text, struct dgf_err *err) DGF_MUST_USE;
void dgf_signer_release(struct dgf_signer *signer);
/* An archive that is ahead of the memory was signed too: its checkpoint counts. */
void dgf_signer_note(struct dgf_signer *signer,
                     const struct dgf_checkpoint *signed_one);
/* before: root and size of the tree that this one continues.  DGF_BAD_DATA: it must
 * not be signed, the text says why.  Else the note is in `to`, and remembered on disk.
 */
enum dgf_rc dgf_signer_sign(struct dgf_signer *signer,
                            const struct dgf_checkpoint *checkpoint,
                            uint64_t size_before, const uint8_t *root_before,
                            struct dgf_buf *to, struct dgf_err *err) DGF_MUST_USE;

struct dgf_sealer {
    char dir[DGF_LEDGER_DIR_MAX + 1]; /* data_dir */
    char log_id_text[DGF_LOG_ID_TEXT_LEN + 1];
    uint8_t log_id[DGF_LOG_ID_LEN];
    uint8_t state_key[DGF_AEAD_KEY_LEN];
    struct dgf_objects objects;
    struct dgf_signer signer;
    uint64_t next;            /* first index that is not sealed */
    struct dgf_tiles *tiles;  /* owned; of `next` leaves */
    struct dgf_tiles *work;   /* owned; of the seal at work */
    struct dgf_manifest last; /* the newest; policies and policy set go on */
    uint8_t last_sha256[DGF_SHA256_LEN];
    bool has_last;
    struct dgf_state_db *state; /* during a seal; sealed.db: state at the cut */
    struct dgf_walk walk;       /* during a seal */
    struct {                    /* where the newest cut's COMMIT ends */
        bool known;
        uint64_t first, offset;
        struct dgf_commit commit; /* without positions */
    } at;
    uint64_t oldest; /* segment that is still there; UINT64_MAX: none */
};
/* Takes up an archive where it ends.  DGF_BAD_DATA: it cannot be gone on with. */
enum dgf_rc dgf_sealer_open(struct dgf_sealer *sealer, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_sealer_release(struct dgf_sealer *sealer);
/* Seals the next segment; a cut that is durable follows.  DGF_AGAIN: no space, nothing
 * happened.  DGF_BAD_DATA: what would be signed is not what was committed. */
enum dgf_rc dgf_sealer_seal(struct dgf_sealer *sealer, struct dgf_err *err)
    DGF_MUST_USE;
/* The first index that is not older than keep_ns; 0: nothing can go. */
uint64_t dgf_sealer_old(struct dgf_sealer *sealer, int64_t now_ns, int64_t keep_ns);
enum dgf_rc dgf_sealer_prune(struct dgf_sealer *sealer, uint64_t before,
                             struct dgf_err *err) DGF_MUST_USE;
/* The manifest of the segment that begins at first.  DGF_BAD_DATA: not there, or not
 * of this log. */
enum dgf_rc dgf_objects_manifest(const struct dgf_objects *objects, const char *log_id,
                                 uint64_t first, struct dgf_manifest *ret,
                                 uint8_t ret_sha256[DGF_SHA256_LEN],
                                 struct dgf_err *err) DGF_MUST_USE;

/* The next frame of the walk, over the end of one journal file to the next. */
enum dgf_rc dgf_sealer_frame(struct dgf_sealer *sealer, struct dgf_frame *ret,
                             struct dgf_err *err) DGF_MUST_USE;

/* archive_seal_read.c: journal to file, and back. */
struct dgf_seal {
    struct dgf_sealer *sealer;
    struct dgf_manifest manifest;
    struct dgf_marks marks;
    uint64_t batch, file_bytes;
    int64_t time_ns;
    uint8_t root[DGF_SHA256_LEN]; /* as committed */
};
/* Writes segments/<first>.ndjson.zst.tmp up to the next cut. */
enum dgf_rc dgf_seal_write(struct dgf_seal *seal, struct dgf_err *err) DGF_MUST_USE;
/* Reads it back: hashes, tiles as .tmp files, root.  DGF_BAD_DATA: not what was
 * committed. */
enum dgf_rc dgf_seal_check(struct dgf_seal *seal, struct dgf_err *err) DGF_MUST_USE;
/* Writes state/<first>.enc.tmp. */
enum dgf_rc dgf_seal_state(struct dgf_seal *seal, struct dgf_err *err) DGF_MUST_USE;

#endif
