/* mac.h - HMAC-SHA-256 with the key's part done once.
 *
 * For short inputs that is half of the work.  Thread: any; a key is read-only
 * after init. */
#ifndef DGF_BASE_MAC_H
#define DGF_BASE_MAC_H

#include "base/hash.h"

#define DGF_MAC_STATE_BYTES 112

struct dgf_mac_key {
    _Alignas(8) uint8_t inner[DGF_MAC_STATE_BYTES], outer[DGF_MAC_STATE_BYTES];
};

void dgf_mac_key_init(struct dgf_mac_key *key, struct dgf_bytes secret);
void dgf_mac_key_wipe(struct dgf_mac_key *key);
/* The same bytes as dgf_hmac_sha256. */
void dgf_mac(const struct dgf_mac_key *key, struct dgf_bytes bytes,
             uint8_t ret[DGF_SHA256_LEN]);

#endif
