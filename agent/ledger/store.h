/* store.h - where an archive is read from: a folder, or a container through a
 * connector.  Everything that verifies or recovers an archive reads through it.
 * Names are those of the archive, below its log id: "segments/0.ndjson.zst".
 * Thread: one owner; may block. */
#ifndef DGF_LEDGER_STORE_H
#define DGF_LEDGER_STORE_H

#include "base/buf.h"
#include "base/err.h"

struct dgf_store {
    /* Reads up to len bytes at offset; *ret_len is less only at the end.
     * DGF_AGAIN: no such object.  DGF_RETRY: cannot be asked just now. */
    enum dgf_rc (*read)(struct dgf_store *store, const char *name, uint64_t offset,
                        void *ptr, size_t len, size_t *ret_len, struct dgf_err *err);
    /* Every object whose name begins with prefix; order is not defined. */
    enum dgf_rc (*list)(struct dgf_store *store, const char *prefix,
                        enum dgf_rc (*visit)(void *ctx, const char *name,
                                             uint64_t size),
                        void *ctx, struct dgf_err *err);
    void (*free)(struct dgf_store *store);
};

/* dir: holds one log (has segments/ in it), or one folder per log id. */
enum dgf_rc dgf_store_open_dir(const char *dir, struct dgf_store **ret,
                               struct dgf_err *err) DGF_MUST_USE;
/* NULL is fine. */
void dgf_store_free(struct dgf_store *store);

#endif
