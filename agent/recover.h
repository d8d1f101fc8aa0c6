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
};

struct dgf_recovered {
    char old_log[DGF_LOG_ID_TEXT_LEN + 1], new_log[DGF_LOG_ID_TEXT_LEN + 1];
    struct dgf_checkpoint checkpoint; /* the newest of the old log */
    struct dgf_buf positions;         /* "<source> at <text>\n" for each */
};

/* DGF_BAD_DATA: the archive contradicts itself or its key.  DGF_AGAIN: it is not
 * complete.  DGF_BAD_CONFIG: dir holds a ledger already, or half of one. */
enum dgf_rc dgf_recover(const struct dgf_recover_conf *conf, struct dgf_store *store,
                        struct dgf_recovered *ret, struct dgf_err *err) DGF_MUST_USE;
void dgf_recovered_release(struct dgf_recovered *recovered);

#endif
