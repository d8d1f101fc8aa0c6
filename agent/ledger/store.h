/* store.h - an archive in a folder, as a struct dgf_store (base/store.h). */
#ifndef DGF_LEDGER_STORE_H
#define DGF_LEDGER_STORE_H

#include "base/store.h"

/* dir: holds one log (has segments/ in it), or one folder per log id. */
enum dgf_rc dgf_store_open_dir(const char *dir, struct dgf_store **ret,
                               struct dgf_err *err) DGF_MUST_USE;
/* Is there a log in dir, or in a folder of it? */
bool dgf_store_dir_has_log(const char *dir);
/* NULL is fine. */
void dgf_store_free(struct dgf_store *store);

#endif
