/* source_redis_group.h - what the files that read with a consumer group share.
 *
 *   source_redis_group.c   reading: own pending entries, claimed ones, new ones
 *   source_redis_begin.c   where a group begins, and where it stands
 *   source_redis_claim.c   what other consumers left
 *   source_redis_poison.c  pending entries that were delivered too often
 *   source_redis_ack.c     acknowledging what is durable
 *
 * Two consumers of ours: one reads new entries, the other holds what was taken
 * over from others.  So after a crash our pending entries say by themselves what
 * was judged: of the first, everything up to the newest one remembered; of the
 * second, what stands in `claimed`.
 *
 * A failure ends the attempt by dgf_redis_fail; callers look at source->failed.
 * Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_REDIS_GROUP_H
#define DGF_CONNECTORS_SOURCE_REDIS_GROUP_H

#include "source_redis.h"

#define DGF_REDIS_PENDING_PAGE 1000 /* entries of one look at pending ones */

/* Both borrowed from the stream and its configuration. */
static inline struct dgf_bytes dgf_redis_name_of(const struct dgf_redis_stream *stream)
{
    return dgf_bytes_str(stream->name);
}

static inline struct dgf_bytes dgf_redis_group_of(const struct dgf_redis_stream *stream)
{
    return dgf_bytes_str(DGF_REDIS_CONF(stream->source)->group);
}

static inline bool dgf_redis_id_is_zero(struct dgf_redis_id id)
{
    return id.ms == 0 && id.seq == 0;
}

/* ---- reading ---- */

/* Emits the entry, or what is to be said instead of it.  False: the attempt was ended.
 */
bool dgf_redis_group_judge(struct dgf_redis_stream *stream,
                           const struct dgf_redis_entry *entry,
                           const struct dgf_resp_item *item);

/* ---- begin ---- */

/* Asks what the group says: makes it when it is due, or meets it before new entries. */
void dgf_redis_ask_groups(struct dgf_redis_stream *stream);

/* ---- claim ---- */

/* Asks for one page of what others left too long. */
void dgf_redis_claim_read(struct dgf_redis_stream *stream);
/* An entry that another consumer had, judged once; again: it was ours already when
 * this session began. */
void dgf_redis_claim_take(struct dgf_redis_stream *stream,
                          const struct dgf_redis_entry *entry,
                          const struct dgf_resp_item *item, bool again);
/* All that is pending of what was taken over was read.  What is remembered beyond it
 * was acknowledged right before a kill, and nobody will ask for it again. */
void dgf_redis_claim_forget(struct dgf_redis_stream *stream);

/* ---- poison ---- */

/* Asks how often the next page behind the cursor was delivered; consumer NULL: of
 * all consumers, and only what is idle long enough to be taken over. */
void dgf_redis_ask_pending(struct dgf_redis_stream *stream, const char *consumer);
bool dgf_redis_is_poison(const struct dgf_redis_stream *stream, struct dgf_redis_id id);

/* ---- ack ---- */

/* To be acknowledged once everything that was emitted so far is durable. */
bool dgf_redis_ack_note(struct dgf_redis_stream *stream, struct dgf_redis_id id,
                        bool claimed);
/* Is a claimed entry noted, or its acknowledgement not answered? */
bool dgf_redis_ack_is_under_way(const struct dgf_redis_stream *stream,
                                struct dgf_redis_id id);

#endif
