/* record.h - what a decision looks like: one line of JSON, and the small
 * header that spares everybody behind the ledger from parsing it.
 *
 * The line's bytes are the ledger's leaf, the Kafka value and the archive line.
 * Records are written in one place (record_write.h); this header is what
 * sinks, `ledger cat` and `tail` need.  Thread: any. */
#ifndef DGF_BUS_RECORD_H
#define DGF_BUS_RECORD_H

#include "base/hash.h"
#include "bus/words.h"

#define DGF_RECORD_MAX_BYTES 65535

struct dgf_record {
    uint64_t seq; /* leaf index */
    enum dgf_record_kind kind;
    enum dgf_severity severity; /* INFO when it has none */
    bool shadow;                /* policy in mode shadow */
    uint8_t verdict;            /* enum dgf_verdict; PASS when it has none */
    struct dgf_id id;
    int64_t time_ns;          /* when it happened */
    struct dgf_bytes policy;  /* policy id; empty: none */
    struct dgf_bytes source;  /* source name; empty: the agent itself */
    struct dgf_bytes subject; /* object text; CloudEvents subject */
    struct dgf_bytes key;     /* Kafka message key */
    struct dgf_bytes line;    /* without newline */
};

/* Leaf header of a record (everything but seq and line). */
void dgf_record_put_header(const struct dgf_record *record, struct dgf_buf *out);
/* Views into header and line.  DGF_BAD_DATA when it is not one. */
enum dgf_rc dgf_record_get(struct dgf_bytes header, struct dgf_bytes line, uint64_t seq,
                           struct dgf_record *ret) DGF_MUST_USE;

/* Which topic family a kind belongs to: a set of these bits (gap has two). */
#define DGF_TOPIC_VIOLATIONS 1u
#define DGF_TOPIC_AUDIT 2u
#define DGF_TOPIC_CONTROL 4u
unsigned dgf_record_topics(enum dgf_record_kind kind);

#endif
