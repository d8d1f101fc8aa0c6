/* source_redis_keys.h - what the two files of source redis_keys share.
 *
 *   source_redis_keys.c     options, keyspace events, samples
 *   source_redis_inspect.c  settings and users: one look beside the one before
 *
 * Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_REDIS_KEYS_H
#define DGF_CONNECTORS_SOURCE_REDIS_KEYS_H

#include "source_redis.h"

#define DGF_REDIS_SAMPLES_MAX 1000

struct dgf_redis_sample {
    struct dgf_buf name;
    char type[24];
    int64_t ttl_ms, bytes;
};

struct dgf_redis_keys {
    struct dgf_object *keyspace, *setting, *user;
    bool subscribed, sampling, inspecting;
    bool inspected;  /* once, ever: a name that is new from now on was made */
    uint64_t cursor; /* of SCAN */
    int64_t pinged_ns, sampled_ns, inspected_ns, left;
    struct dgf_redis_sample
        samples[DGF_REDIS_SAMPLES_MAX]; /* SCAN may give more than it was asked for */
    size_t n_samples, n_done;
};

/* Now, and a position of that time. */
struct dgf_event_meta dgf_redis_keys_meta(struct dgf_redis_source *self);
/* Emits what was built; type goes into its id.  A failure ends the attempt. */
void dgf_redis_keys_emit(struct dgf_redis_source *self, struct dgf_event_meta *meta,
                         const char *type);
/* Names and values are anybody's bytes: text when they are UTF-8, else bytes. */
void dgf_redis_keys_put(struct dgf_event_builder *builder, const char *name,
                        struct dgf_bytes text);
/* The section `key` with this one field. */
void dgf_redis_keys_put_key(struct dgf_event_builder *builder, const char *name,
                            struct dgf_bytes key);
/* Asks for settings and users; what differs from the last look becomes events. */
void dgf_redis_keys_inspect(struct dgf_redis_node *node);

#endif
