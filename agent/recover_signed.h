/* recover_signed.h - is the archive the newest that was signed?
 *
 * Two can say that more was: the signer's own memory (data_dir/keys/signed-<log id>),
 * which is kept with the keys, and checkpoints that were kept elsewhere.  A lost disk
 * must not be the chance to drop records that were signed.  Thread: a command's. */
#ifndef DGF_RECOVER_SIGNED_H
#define DGF_RECOVER_SIGNED_H

#include "recover.h"

/* Compares the archive's newest checkpoint, ret->checkpoint, with both; ret->signed_*
 * say what was signed beyond it.  DGF_BAD_DATA with ret->rolled_back: more, or other
 * records, were signed, and conf->lossy is false.  DGF_BAD_CONFIG: an anchor is none,
 * is of another log, or is signed by no key that is known. */
enum dgf_rc dgf_recover_check_signed(const struct dgf_recover_conf *conf,
                                     struct dgf_store *store, struct dgf_recovered *ret,
                                     struct dgf_err *err) DGF_MUST_USE;

#endif
