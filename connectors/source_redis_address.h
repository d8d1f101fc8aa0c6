/* source_redis_address.h - where a Redis server is and how to log in there, from `url`.
 *
 * Pure: no socket, no name lookup.  Thread: any. */
#ifndef DGF_CONNECTORS_SOURCE_REDIS_ADDRESS_H
#define DGF_CONNECTORS_SOURCE_REDIS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DGF_REDIS_SEEDS_MAX 16

struct dgf_redis_conf;

/* Where a cluster may be asked. */
struct dgf_redis_seed {
    char host[256];
    uint16_t port;
};

struct dgf_redis_address {
    char *host, *path, *user, *password; /* path: of a unix socket */
    uint16_t port;
    uint32_t db;
    bool tls;
    struct dgf_redis_seed *seeds; /* of the url, when it has several hosts */
    size_t n_seeds;
};
/* Wipes the password.  Zeros are fine. */
void dgf_redis_address_release(struct dgf_redis_address *address);
/* DGF_BAD_CONFIG; the text never shows the address.  On failure *ret is released. */
enum dgf_rc dgf_redis_address_read(const struct dgf_redis_conf *conf,
                                   struct dgf_redis_address *ret, struct dgf_err *err)
    DGF_MUST_USE;

#endif
