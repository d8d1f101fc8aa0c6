/* rotate.h - another signing key takes over: a `key` record signed by both.
 *
 * First everything the ledger holds is sealed by the old key, so that it is never
 * needed again.  Thread: a command's; no agent runs on the data directory. */
#ifndef DGF_ROTATE_H
#define DGF_ROTATE_H

#include "base/err.h"

#include <stdint.h>

struct dgf_rotate_conf {
    const char *dir; /* data_dir */
    const char *agent, *env;
    const uint8_t *tenant_key, *token_key, *old_seed, *new_seed; /* 32 bytes each */
    int64_t keep_ns;
};

/* *ret_from: index of the record; checkpoints of a size beyond it are signed by the
 * new key.  DGF_AGAIN: an agent runs there.  DGF_BAD_DATA: the archive stands still, or
 * was not made from this ledger. */
enum dgf_rc dgf_rotate(const struct dgf_rotate_conf *conf, uint64_t *ret_from,
                       struct dgf_err *err) DGF_MUST_USE;

#endif
