/* note.h - checkpoints: C2SP signed notes with a timestamped cosignature.
 *
 *   <origin>                              dgf/<agent>/<log id>
 *   <size>                                of the tree
 *   <root>                                base64
 *   dgf-manifest sha256:<64 hex digits>   of the newest manifest's bytes
 *
 *   -- <origin> <base64: key id, signature>              (an em dash)
 *   -- <origin> <base64: key id, time (8, big-endian), signature>
 *
 * The first signature is over the text up to and with the LF before the empty
 * line (algorithm 1).  The second is cosignature/v1 (algorithm 4): over
 * "cosignature/v1\ntime <seconds>\n" and the same text.  One Ed25519 key makes
 * both.  Key id: first 4 bytes of SHA-256(name, LF, algorithm, public key).
 * The same key, body and time give the same bytes.  Thread: any. */
#ifndef DGF_LEDGER_NOTE_H
#define DGF_LEDGER_NOTE_H

#include "base/hash.h"
#include "base/sign.h"
#include "ledger/frame.h"

#define DGF_ORIGIN_MAX 512
#define DGF_CHECKPOINT_MAX_BYTES (16 << 10)
#define DGF_NOTE_ED25519 1
#define DGF_NOTE_COSIGNATURE 4

/* "dgf/<agent>/<log id>"; of the agent's name, bytes other than letters, digits,
 * '-', '.' and '_' become %XX, because a key's name must have no spaces and no '+'.
 * false: it is too long. */
bool dgf_origin_put(const char *agent, const char *log_id_text,
                    char ret[DGF_ORIGIN_MAX]) DGF_MUST_USE;
void dgf_note_key_id(const char *name, uint8_t algorithm,
                     const uint8_t key[DGF_SIGN_PUBLIC_LEN], uint8_t ret[4]);

/* A C2SP vkey: <name>+<key id, 8 hex digits>+<base64: 1, public key>. */
struct dgf_vkey {
    char name[DGF_ORIGIN_MAX];
    uint8_t key[DGF_SIGN_PUBLIC_LEN];
};
void dgf_vkey_put(const struct dgf_vkey *vkey, struct dgf_buf *to);
/* DGF_BAD_DATA: the text says what is wrong with it. */
enum dgf_rc dgf_vkey_get(struct dgf_bytes text, struct dgf_vkey *ret,
                         struct dgf_err *err) DGF_MUST_USE;

struct dgf_checkpoint {
    char origin[DGF_ORIGIN_MAX];
    uint64_t size;
    uint8_t root[DGF_SHA256_LEN];
    uint8_t manifest[DGF_SHA256_LEN];
    uint64_t time_s; /* of the cosignature */
};

/* The whole note; a failed buf is seen by its rc.  false: out of memory. */
bool dgf_checkpoint_put(const struct dgf_checkpoint *checkpoint,
                        const uint8_t seed[DGF_SIGN_SEED_LEN], struct dgf_buf *to)
    DGF_MUST_USE;

/* Reads it strictly: four lines, decimal without padding, whole base64.  key: whose
 * signature lines are looked for (others are passed over: witnesses may add theirs).
 * DGF_BAD_DATA: not a checkpoint.  *ret is what it says; *ret_signed: both signatures
 * of the key are there and right. */
enum dgf_rc dgf_checkpoint_get(struct dgf_bytes note,
                               const uint8_t key[DGF_SIGN_PUBLIC_LEN],
                               struct dgf_checkpoint *ret, bool *ret_signed,
                               struct dgf_err *err) DGF_MUST_USE;

#endif
