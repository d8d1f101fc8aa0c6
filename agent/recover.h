/* recover.h - a new ledger from the archive of one that was lost.
 *
 * The new log has an id of its own.  Leaf 0 is a `resume` record that cites the old
 * log's newest checkpoint; positions and state are those at the end of its newest
 * segment.  All is built aside and gets its names at the end.  Thread: a command's. */
#ifndef DGF_RECOVER_H
#define DGF_RECOVER_H

#include "base/store.h"
#include "ledger/ledger.h"
#include "ledger/note.h"

struct dgf_recover_conf {
    const char *dir; /* data_dir: without a ledger */
    const char *agent, *env;
    const uint8_t *key; /* public key of the newest checkpoint */
    const uint8_t *tenant_key, *token_key;
    const char *keys_dir;     /* the data_dir whose keys/ was read */
    const char *const *vkeys; /* further keys that may have signed an anchor */
    size_t n_vkeys;
    const struct dgf_bytes *anchors; /* checkpoints that were kept elsewhere */
    size_t n_anchors;
    bool lossy; /* go on although more was signed */
};

struct dgf_recovered {
    char old_log[DGF_LOG_ID_TEXT_LEN + 1], new_log[DGF_LOG_ID_TEXT_LEN + 1];
    struct dgf_checkpoint checkpoint; /* the newest of the old log */
    struct dgf_buf positions;         /* "<source> at <text>\n" for each */
    uint64_t signed_size; /* records that were signed, when more than are here; or 0 */
    bool other_history;   /* what was signed is not what is here */
    bool memory_unreadable; /* the signer's memory is damaged, and lossy was said */
    bool rolled_back;       /* why it was refused: more, or others, were signed */
    bool bad_anchor;        /* why it was refused: an anchor cannot be used */
};

/* DGF_BAD_DATA: the archive contradicts itself or its key, or is not the newest that
 * was signed (ret->rolled_back; recover_signed.h).  DGF_AGAIN: it is not
 * complete.  DGF_BAD_CONFIG: dir holds a ledger already, or half of one. */
enum dgf_rc dgf_recover(const struct dgf_recover_conf *conf, struct dgf_store *store,
                        struct dgf_recovered *ret, struct dgf_err *err) DGF_MUST_USE;
void dgf_recovered_release(struct dgf_recovered *recovered);

#endif
