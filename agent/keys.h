/* keys.h - the two secrets of a tenant: one makes violation ids, one makes the
 * tokens that stand for hidden values.  Thread: loop, at start. */
#ifndef DGF_KEYS_H
#define DGF_KEYS_H

#include "base/err.h"

#include <stdint.h>

/* Reads 32 bytes from each file (64 hex digits, or raw), refusing files others
 * may read; a path that is NULL means data_dir/keys/<name>, made with mode 0600
 * when it is not there and named in the log.  DGF_BAD_CONFIG otherwise. */
enum dgf_rc dgf_keys_load(const char *data_dir, const char *tenant_path,
                          const char *token_path, uint8_t ret_tenant[32],
                          uint8_t ret_token[32], struct dgf_err *err) DGF_MUST_USE;

#endif
