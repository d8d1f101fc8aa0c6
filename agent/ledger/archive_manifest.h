/* archive_manifest.h - what one archive segment holds: segments/<first>.json.
 *
 * One line of JSON without its newline; its exact bytes are what is hashed, by the
 * next manifest (`previous`) and by the checkpoint at the segment's end:
 *
 *   {"v":1,"log":..,"first":..,"last":..,"leaves_sha256":..,"file_sha256":..,
 *    "state_sha256":..,"root_before":..,"root_after":..,
 *    "sources":{name:{"from":..,"to":..,"events":..}},"policies":{path:sha256},
 *    "policy_set":..,"previous":..}
 *
 * as contrib/doc/ARCHIVE.md says.  `sources` follows from the segment's own lines.
 * policy_set is all zeros when none was in force.  Both maps are in the order of their
 * keys' bytes.  Thread: any. */
#ifndef DGF_LEDGER_ARCHIVE_MANIFEST_H
#define DGF_LEDGER_ARCHIVE_MANIFEST_H

#include "base/hash.h"
#include "base/mem.h"
#include "ledger/ledger.h"

#define DGF_MANIFEST_MAX_BYTES (1 << 20)

struct dgf_manifest_source {
    char *name, *from, *to; /* owned; from and to NULL: absent */
    uint64_t events;
};
struct dgf_manifest_policy {
    char *path; /* owned */
    uint8_t sha256[DGF_SHA256_LEN];
};
struct dgf_manifest {
    char log[DGF_LOG_ID_TEXT_LEN + 1];
    uint64_t first, last;
    uint8_t leaves_sha256[DGF_SHA256_LEN], file_sha256[DGF_SHA256_LEN];
    uint8_t state_sha256[DGF_SHA256_LEN];
    uint8_t root_before[DGF_SHA256_LEN], root_after[DGF_SHA256_LEN];
    struct dgf_manifest_source *sources; /* by name */
    size_t n_sources;
    struct dgf_manifest_policy *policies; /* by path */
    size_t n_policies;
    uint8_t policy_set[DGF_SHA256_LEN];
    bool has_previous;
    uint8_t previous[DGF_SHA256_LEN];
};

void dgf_manifest_init(struct dgf_manifest *manifest);
void dgf_manifest_release(struct dgf_manifest *manifest);

/* Takes up one line of the segment when it is a coverage or gap record that names a
 * source.  DGF_BAD_DATA: such a record that is malformed. */
enum dgf_rc dgf_manifest_line(struct dgf_manifest *manifest, struct dgf_bytes line)
    DGF_MUST_USE;
enum dgf_rc dgf_manifest_policy(struct dgf_manifest *manifest, struct dgf_bytes path,
                                const uint8_t sha256[DGF_SHA256_LEN]) DGF_MUST_USE;
void dgf_manifest_clear_sources(struct dgf_manifest *manifest);
void dgf_manifest_clear_policies(struct dgf_manifest *manifest);

/* A failed buf is seen by its rc. */
void dgf_manifest_put(const struct dgf_manifest *manifest, struct dgf_buf *to);
/* Strict: only these fields, all of them but `previous`.  ret was initialised; what it
 * held is released.  DGF_BAD_DATA: the text says what is wrong. */
enum dgf_rc dgf_manifest_get(struct dgf_bytes json, struct dgf_manifest *ret,
                             struct dgf_err *err) DGF_MUST_USE;

#endif
