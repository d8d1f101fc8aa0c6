/* keys.h - the two secrets of a tenant: one makes violation ids, one makes the
 * tokens that stand for hidden values.  Thread: loop, at start. */
#ifndef DGF_KEYS_H
#define DGF_KEYS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads 32 bytes from each file (64 hex digits, or raw), refusing files others
 * may read; a path that is NULL means data_dir/keys/<name>, made with mode 0600
 * when it is not there and named in the log.  DGF_BAD_CONFIG otherwise. */
enum dgf_rc dgf_keys_load(const char *data_dir, const char *tenant_path,
                          const char *token_path, uint8_t ret_tenant[32],
                          uint8_t ret_token[32], struct dgf_err *err) DGF_MUST_USE;

/* Is the file of a key ("tenant", "token", "sign") one?  Nothing is made; a file that
 * is not there yet, or that this user may not read, is fine.  ret_code: of the finding.
 */
enum dgf_rc dgf_key_look(const char *data_dir, const char *name, const char *path,
                         const char **ret_code, struct dgf_err *err) DGF_MUST_USE;
/* Would dgf_keys_load make this key ("tenant", "token")? */
bool dgf_key_is_missing(const char *data_dir, const char *name, const char *path);
/* Before dgf_keys_load, of a ledger that has records.  DGF_BAD_CONFIG: a key they were
 * written with is gone; another one in its place would say that nothing is amiss. */
enum dgf_rc dgf_keys_need(const char *data_dir, const char *tenant_path,
                          const char *token_path, struct dgf_err *err) DGF_MUST_USE;

/* The signing key of the archive: the seed of an Ed25519 key, the same way.  Made as
 * data_dir/keys/sign when path is NULL and it is not there. */
enum dgf_rc dgf_keys_load_sign(const char *data_dir, const char *path,
                               uint8_t ret_seed[32], struct dgf_err *err) DGF_MUST_USE;
/* A change of keys that ended before the new one got its name: data_dir/keys/sign.new
 * takes it.  DGF_AGAIN: there is none. */
enum dgf_rc dgf_keys_finish_rotation(const char *data_dir, struct dgf_err *err)
    DGF_MUST_USE;
/* Reads one file; DGF_BAD_CONFIG: not a key, not there, or others may read it. */
enum dgf_rc dgf_key_read(const char *path, uint8_t ret_key[32], struct dgf_err *err)
    DGF_MUST_USE;
/* Writes a new one, mode 0600. */
enum dgf_rc dgf_key_make(const char *path, uint8_t ret_key[32], struct dgf_err *err)
    DGF_MUST_USE;
/* "sha256:<hex>" of the public key: for people to compare. */
enum dgf_rc dgf_key_fingerprint(const uint8_t seed[32], char ret[7 + 64 + 1],
                                struct dgf_err *err) DGF_MUST_USE;

#endif
