/* archive.h - seals what the journal holds into the evidence archive, and signs it:
 * data_dir/archive/<log id>/, see contrib/doc/ARCHIVE.md.
 *
 * The caller decides where a segment ends: dgf_batch_cut() at the end of a batch, the
 * time of which is the time of the checkpoint.  So whatever is done again after a
 * crash gives the same bytes.  Leaves are hashed from what was read back from the
 * sealed file; when that is not what was committed, nothing is signed, ever again in
 * this process, and the journal is kept.  What was signed last is remembered in
 * data_dir/keys/signed-<log id>, so that a tree that shrank, a second tree of one size
 * and a time that went back are never signed.
 *
 * Thread: loop; the archive owns a thread of its own when conf.threaded is set. */
#ifndef DGF_LEDGER_ARCHIVE_H
#define DGF_LEDGER_ARCHIVE_H

#include "ledger/archive_keys.h"
#include "ledger/ledger.h"

struct dgf_archive;

/* Keys of the ledger's state that the archive reads. */
#define DGF_ARCHIVE_KEYS_STATE "archive/keys"         /* dgf_log_keys_put() */
#define DGF_ARCHIVE_POLICIES_STATE "archive/policies" /* dgf_archive_put_policy() */

struct dgf_archive_conf {
    const char *dir;                       /* data_dir */
    const char *agent;                     /* part of the origin */
    const uint8_t *tenant_key, *sign_seed; /* 32 bytes each; copied */
    int64_t keep_ns;                       /* how long segments stay */
    bool threaded; /* false: nothing happens but in dgf_archive_step() */
};

/* Takes up the archive of this ledger where it ends, or begins it.  DGF_BAD_DATA: the
 * ledger is not the one that was signed (exit 76).  DGF_BAD_CONFIG: another signing
 * key than the log's, or there is no archive and the log's first records are gone.
 * DGF_RETRY: no space.  Damage to the archive itself is no error: it stands still and
 * dgf_archive_poll() says so. */
enum dgf_rc dgf_archive_open(const struct dgf_archive_conf *conf,
                             struct dgf_ledger *ledger, struct dgf_archive **ret,
                             struct dgf_err *err) DGF_MUST_USE;
/* Ends the seal at work, not those that wait.  NULL is fine. */
void dgf_archive_free(struct dgf_archive *archive);

/* Every cut below and at index is durable now: seal up to it. */
void dgf_archive_seal(struct dgf_archive *archive, uint64_t index);

enum dgf_archive_state {
    DGF_ARCHIVE_OK,
    DGF_ARCHIVE_NO_SPACE, /* tries again every second */
    DGF_ARCHIVE_STOPPED,  /* for good: text says why */
};
struct dgf_archive_news {
    enum dgf_archive_state state;
    uint64_t next;         /* everything below is sealed, signed and on disk */
    uint64_t prune_before; /* segments below are older than keep_ns; 0: none */
    const char *text;      /* of STOPPED and NO_SPACE; "" else */
    bool alarm;            /* STOPPED because evidence is contradicted */
};
/* Readable when poll has something to say; poll drains it. */
int dgf_archive_fd(const struct dgf_archive *archive);
void dgf_archive_poll(struct dgf_archive *archive, struct dgf_archive_news *ret);
/* Only without a thread: seals one segment.  DGF_AGAIN: nothing to do. */
enum dgf_rc dgf_archive_step(struct dgf_archive *archive) DGF_MUST_USE;

/* The record about it is durable: segments and states below index go. */
void dgf_archive_prune(struct dgf_archive *archive, uint64_t index);

/* The newest segment's file or state when it was not there at the start; NULL: both
 * were.  The archive goes on; but nobody can recover from it until the next segment. */
const char *dgf_archive_missing(const struct dgf_archive *archive);
const char *dgf_archive_origin(const struct dgf_archive *archive);
void dgf_archive_vkey(const struct dgf_archive *archive, struct dgf_buf *to);

/* ---- for those who carry it elsewhere ------------------------------------------- */

struct dgf_archive_object {
    char *name, *path; /* owned by the piece; path is where its bytes are */
    bool replace;
};
struct dgf_archive_piece {
    uint64_t first, next;
    struct dgf_archive_object *objects; /* in the order they must become visible */
    size_t n_objects, cap;
};
/* The sealed segment that begins at first; without its file and state when they were
 * pruned.  Policy texts that the piece asked for
 * before had are left out when this one follows it.  DGF_AGAIN: not sealed yet.
 * DGF_BAD_DATA: none begins there. */
enum dgf_rc dgf_archive_piece(struct dgf_archive *archive, uint64_t first,
                              struct dgf_archive_piece *ret, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_archive_piece_release(struct dgf_archive_piece *piece);

/* ---- policies -----------------------------------------------------------------------
 */

/* Keeps a text that is about to be in force: before the batch that says so. */
enum dgf_rc dgf_archive_keep_policy(struct dgf_archive *archive, struct dgf_bytes text,
                                    struct dgf_err *err) DGF_MUST_USE;
/* One more entry of DGF_ARCHIVE_POLICIES_STATE. */
void dgf_archive_put_policy(struct dgf_buf *to, struct dgf_bytes path,
                            const uint8_t sha256[DGF_SHA256_LEN]);

#endif
