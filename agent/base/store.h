/* store.h - objects by name that are read and never written: an archive in a
 * folder, or in a container behind a connector.  Everything that verifies or
 * recovers an archive reads through it.  Names are those of the archive, below its
 * log id: "segments/0.ndjson.zst".  Thread: one owner; may block. */
#ifndef DGF_BASE_STORE_H
#define DGF_BASE_STORE_H

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
    /* This object will probably be read from its beginning soon: what is far away is
     * asked for now.  May do nothing.  NULL: nothing is far away. */
    void (*soon)(struct dgf_store *store, const char *name);
    void (*free)(struct dgf_store *store);
};

#endif
