/* archive_keys.h - which key signs from where on.
 *
 * A `key` record that changes the key has in its `detail`
 *
 *   {"op":"rotate","old":<vkey>,"new":<vkey>,"from":<index>,
 *    "sig_old":<base64>,"sig_new":<base64>}
 *
 * `from` is the record's own index.
 * Both keys sign "dgf-key/v1\n<log id>\n<old>\n<new>\n<from>\n" with the texts as they
 * stand in the record.  Checkpoints of a size beyond `from` are signed by the new key,
 * all others by the one before.
 *
 * keys.json, for convenience and never trusted:
 *
 *   {"v":1,"log":<log
 * id>,"keys":[{"vkey":..,"after":0,"to":1042},{"vkey":..,"after":1042}]}
 *
 * a key signs the checkpoints with after < size <= to.  Thread: any. */
#ifndef DGF_LEDGER_ARCHIVE_KEYS_H
#define DGF_LEDGER_ARCHIVE_KEYS_H

#include "ledger/note.h"

#define DGF_KEYS_MAX 1024 /* of one log */

struct dgf_log_key {
    uint8_t key[DGF_SIGN_PUBLIC_LEN];
    uint64_t after; /* signs checkpoints of a size beyond this */
};
struct dgf_log_keys {
    struct dgf_log_key *list; /* oldest first */
    size_t n;
};
void dgf_log_keys_release(struct dgf_log_keys *keys);
enum dgf_rc dgf_log_keys_add(struct dgf_log_keys *keys,
                             const uint8_t key[DGF_SIGN_PUBLIC_LEN], uint64_t after)
    DGF_MUST_USE;
/* The one that signs a checkpoint of that size; NULL when there is none. */
const struct dgf_log_key *dgf_log_keys_at(const struct dgf_log_keys *keys,
                                          uint64_t size);
void dgf_log_keys_json(const struct dgf_log_keys *keys, const char *origin,
                       const char *log_id_text, struct dgf_buf *to);
/* As the ledger keeps it among its state: for each u64 after, 32 bytes of key. */
void dgf_log_keys_put(const struct dgf_log_keys *keys, struct dgf_buf *to);
enum dgf_rc dgf_log_keys_get(struct dgf_bytes bytes, struct dgf_log_keys *ret)
    DGF_MUST_USE;

/* The detail of a `key` record; a failed buf is seen by its rc.  false: memory. */
bool dgf_rotation_put(const char *origin, const char *log_id_text,
                      const uint8_t old_seed[32], const uint8_t new_seed[32],
                      uint64_t from, struct dgf_buf *to) DGF_MUST_USE;
/* Appends what both keys sign. */
void dgf_rotation_message(const char *log_id_text, const char *old_vkey,
                          const char *new_vkey, uint64_t from, struct dgf_buf *to);

#endif
