/* source_redis_start.h - what the files that lead from open to reading share.
 *
 *   source_redis_start.c     the first server, its nodes, looks at quiet streams
 *   source_redis_cluster.c   which node has a slot, and where it moved
 *   source_redis_discover.c  the streams there are, and what is remembered of them
 *
 * A failure ends the attempt by dgf_redis_fail; callers look at source->failed.
 * Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_REDIS_START_H
#define DGF_CONNECTORS_SOURCE_REDIS_START_H

#include "source_redis.h"

/* A node of the source, not connected.  Either host and port or path (borrowed) is
 * given.  NULL: out of memory, which was reported. */
struct dgf_redis_node *dgf_redis_node_new(struct dgf_redis_source *self,
                                          const char *host, const char *path,
                                          uint16_t port);
/* A connected node: its configured streams are queued, its others looked for. */
void dgf_redis_node_begin(struct dgf_redis_node *node);

/* The one that has the key; NULL: the cluster told of none. */
struct dgf_redis_node *dgf_redis_node_of(struct dgf_redis_source *self,
                                         const char *name);
/* Asks for the slots over link, then connects to every node that has some. */
void dgf_redis_cluster_begin(struct dgf_redis_link *link);
/* Now and then asks again; a change ends the attempt.  Nothing without a cluster. */
void dgf_redis_cluster_tick(struct dgf_redis_source *self, int64_t now_ns);

/* The stream by its name, made and counted as unread when it is new; named: it is
 * configured without a wildcard.  NULL: it cannot be read, which is counted. */
struct dgf_redis_stream *dgf_redis_stream_find(struct dgf_redis_source *self,
                                               struct dgf_bytes name, bool named);
/* Looks for streams of the configured patterns on the node; new ones are queued.  The
 * last node whose first look ends makes the source streaming. */
void dgf_redis_discover(struct dgf_redis_node *node);

#endif
