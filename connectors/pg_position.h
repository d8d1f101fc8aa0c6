/* pg_position.h - where in PostgreSQL's log we are, and what a start does.
 *
 * A position is one of three: after a transaction (or any other LSN everything
 * before which was read), inside a transaction (so many of its row changes
 * were read), or "about to create the slot", which makes a crash between the
 * creation of a slot and our first position no loss.  Pure.  Thread: any. */
#ifndef DGF_CONNECTORS_PG_POSITION_H
#define DGF_CONNECTORS_PG_POSITION_H

#include "base/buf.h"
#include "bus/words.h"

#define DGF_PG_POSITION_BYTES 50

struct dgf_pg_position {
    uint64_t system;
    uint32_t timeline;
    uint64_t commit_lsn; /* inside a transaction: of its commit record; 0 else */
    uint64_t end_lsn;    /* after: go on here; inside: 0 */
    uint64_t ordinal;    /* row changes read inside, counted before our filters */
    uint32_t messages;   /* logical messages read inside */
    bool no_slot;        /* about to create the slot */
    uint64_t options;    /* digest of what ordinals depend on */
};

void dgf_pg_position_write(const struct dgf_pg_position *position,
                           uint8_t ret[DGF_PG_POSITION_BYTES]);
bool dgf_pg_position_read(struct dgf_bytes bytes, struct dgf_pg_position *ret);
/* 1/16/B374D848.3; nothing for bytes that are no position. */
void dgf_pg_position_text(struct dgf_bytes bytes, struct dgf_buf *out);
void dgf_pg_lsn_text(uint64_t lsn, struct dgf_buf *out);
/* The text above, back; the system and the options are not in it. */
bool dgf_pg_position_parse(const char *text, struct dgf_pg_position *ret);
/* 16/B374D848 */
bool dgf_pg_lsn_parse(const char *text, uint64_t *ret);

/* The oldest LSN this position still needs from the server. */
static inline uint64_t dgf_pg_position_lsn(const struct dgf_pg_position *position)
{
    return position->commit_lsn ? position->commit_lsn : position->end_lsn;
}

/* ---- the start ---- */

struct dgf_pg_server {
    uint64_t system;
    uint32_t timeline;
    uint64_t flush_lsn;
    uint64_t
        left_lsn; /* where its history left the position's timeline; 0: never had it */
    bool slot_exists, slot_lost;
    uint64_t restart_lsn, confirmed_lsn; /* of the slot */
};

enum dgf_pg_action { DGF_PG_START, DGF_PG_CREATE_SLOT, DGF_PG_RECREATE_SLOT };

struct dgf_pg_plan {
    int gap;   /* enum dgf_gap, or -1 */
    bool anew; /* coverage starts here: tell since when */
    enum dgf_pg_action action;
    uint64_t start_lsn; /* START: where streaming begins */
    bool from_position; /* START: exactly at the position, no gap */
};

/* What the stored position (NULL: none) and the server together mean.
 * create: the slot is ours to make. */
struct dgf_pg_plan dgf_pg_plan_of(const struct dgf_pg_position *stored,
                                  const struct dgf_pg_server *server, bool create);

/* The LSN at which `history` (the content of a timeline history file) left
 * timeline `old`; 0 when it never was on it. */
uint64_t dgf_pg_history_left(struct dgf_bytes history, uint32_t old);

#endif
