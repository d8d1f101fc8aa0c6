/* archive_proof.h - that one record is in a log, and that one checkpoint goes on from
 * another: RFC 6962 proofs over an archive's tiles, C2SP tlog-proof files.
 *
 * Whoever checks needs the record, the proof and the log's key, and nothing else.
 * Thread: any. */
#ifndef DGF_LEDGER_ARCHIVE_PROOF_H
#define DGF_LEDGER_ARCHIVE_PROOF_H

#include "base/hash.h"
#include "base/store.h"

#define DGF_PROOF_MAX_BYTES (24u << 10)
#define DGF_PROOF_MAX_HASHES 64

struct dgf_proof {
    uint64_t index;
    size_t n;
    uint8_t hashes[DGF_PROOF_MAX_HASHES][DGF_SHA256_LEN];
    struct dgf_bytes checkpoint; /* borrowed */
};

/* Hashes that show leaf index in the tree of that size (RFC 6962, 2.1.1), from tiles.
 * DGF_AGAIN: a tile is not there.  DGF_BAD_DATA: a tile has another length. */
enum dgf_rc dgf_proof_make(struct dgf_store *store, uint64_t index, uint64_t size,
                           struct dgf_proof *ret, struct dgf_err *err) DGF_MUST_USE;
void dgf_proof_put(const struct dgf_proof *proof, struct dgf_buf *to);
/* Strict; views into text.  False: it is none, *ret_what says why. */
bool dgf_proof_get(struct dgf_bytes text, struct dgf_proof *ret, const char **ret_what);
/* The root that leaf and proof give in a tree of that size (RFC 9162, 2.1.3.2).
 * False: not a proof for that index and size. */
bool dgf_proof_root(const struct dgf_proof *proof, uint64_t size,
                    const uint8_t leaf[DGF_SHA256_LEN], uint8_t ret[DGF_SHA256_LEN]);

/* Between two sizes, 0 < old <= size (RFC 6962, 2.1.2). */
struct dgf_consistency {
    size_t n;
    uint8_t hashes[2 * DGF_PROOF_MAX_HASHES][DGF_SHA256_LEN];
};
enum dgf_rc dgf_consistency_make(struct dgf_store *store, uint64_t old, uint64_t size,
                                 struct dgf_consistency *ret, struct dgf_err *err)
    DGF_MUST_USE;
/* Do the hashes show that the tree of root old_root is the begin of the other (RFC
 * 9162, 2.1.4.2)? */
bool dgf_consistency_check(const struct dgf_consistency *proof, uint64_t old,
                           const uint8_t old_root[DGF_SHA256_LEN], uint64_t size,
                           const uint8_t root[DGF_SHA256_LEN]);

/* The verdict on a line.  class NULL: it is in the log at *ret_index.  DGF_BAD_CONFIG:
 * a key is none. */
struct dgf_proof_verdict {
    const char *class;
    uint64_t index, size;
    char text[200];
};
enum dgf_rc dgf_proof_check(struct dgf_bytes proof, struct dgf_bytes line,
                            const char *const *vkeys, size_t n_vkeys,
                            struct dgf_proof_verdict *ret, struct dgf_err *err)
    DGF_MUST_USE;

/* A checkpoint that is signed with one of the keys (none given: only read).  class
 * NULL: it is. */
struct dgf_head_said {
    const char *class;
    const char *what; /* static */
    char origin[512];
    uint64_t size, time_s;
    uint8_t root[DGF_SHA256_LEN];
};
enum dgf_rc dgf_head_read(struct dgf_bytes note, const char *const *vkeys,
                          size_t n_vkeys, struct dgf_head_said *ret,
                          struct dgf_err *err) DGF_MUST_USE;

#endif
