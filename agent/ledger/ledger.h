/* ledger.h - the one log that every decision goes through.
 *
 * A batch is the unit of truth: leaves (records), changes of rule and source
 * state, sink cursors and source positions count together or not at all.  Two
 * batches are in flight: one collects on the loop, one is written.  A batch is
 * durable when dgf_ledger_poll() says so, not before.
 *
 * The first call that returns DGF_FATAL ends the ledger: the process must exit
 * 71 and start again from what is on disk.  All files go through base/file.h,
 * SQLite through its default VFS.  Thread: loop, for every function here; the
 * ledger owns a thread of its own when conf.threaded is set. */
#ifndef DGF_LEDGER_LEDGER_H
#define DGF_LEDGER_LEDGER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"

#define DGF_LEDGER_LINE_MIN 2
#define DGF_LEDGER_LINE_MAX 65535
#define DGF_LEDGER_HEADER_MAX 65535    /* of a leaf: opaque to the ledger */
#define DGF_LEDGER_KEY_MAX 4096        /* state keys, cursor names, source keys */
#define DGF_LEDGER_VALUE_MAX (1 << 20) /* state, cursors, positions, counters */
#define DGF_LEDGER_POSITION_TEXT_MAX 4096
#define DGF_LOG_ID_TEXT_LEN 32

struct dgf_ledger;
struct dgf_batch;

struct dgf_ledger_conf {
    const char *dir;        /* data_dir; made when it is not there */
    uint64_t journal_bytes; /* soft budget, see dgf_ledger_over_budget() */
    uint64_t segment_bytes; /* a segment ends with the first batch that passes it;
                               at most an eighth of journal_bytes */
    int64_t keep_ns;        /* released segments stay at least that long */
    size_t batch_bytes;     /* see dgf_batch_full(); 0: 4 MiB */
    bool threaded;          /* false: nothing happens but in dgf_ledger_step() */
};

/* What recovery cut off after the last whole batch; bytes is 0 when nothing. */
struct dgf_ledger_cut {
    uint64_t bytes;
    uint64_t offset;  /* in that segment */
    uint64_t segment; /* its first index, as in its file name */
};

/* Takes the lock, recovers, brings state.db up to date.  DGF_AGAIN: another
 * process owns the directory, the text names its pid (exit 75).  DGF_FATAL: a
 * batch before the last one, or state.db, is damaged or missing; nothing was
 * changed.  DGF_RETRY: no space to open (wait and call again). */
enum dgf_rc dgf_ledger_open(const struct dgf_ledger_conf *conf,
                            struct dgf_ledger **ret_ledger,
                            struct dgf_ledger_cut *ret_cut, struct dgf_err *err)
    DGF_MUST_USE;
/* Finishes the batch that is being written, drops the collecting one, gives
 * back the lock.  NULL is fine; so is a ledger that failed. */
void dgf_ledger_free(struct dgf_ledger *ledger);

/* ---- what recovery found ------------------------------------------------ */

/* No batch was ever committed: the next leaf is number 0 of a new log. */
bool dgf_ledger_was_new(const struct dgf_ledger *ledger);
const uint8_t *dgf_ledger_log_id(const struct dgf_ledger *ledger);   /* 16 bytes */
const char *dgf_ledger_log_id_text(const struct dgf_ledger *ledger); /* 32 hex digits */
/* When the newest batch was handed over, or a new log made; never decreases. */
int64_t dgf_ledger_time_ns(const struct dgf_ledger *ledger);
/* The next batch handed over is not older than this. */
void dgf_ledger_not_before(struct dgf_ledger *ledger, int64_t time_ns);
/* The policy set in force at the newest batch; zeros in a new log. */
const uint8_t *dgf_ledger_policy_set(const struct dgf_ledger *ledger); /* 32 bytes */
/* Where the newest archive segment ends (dgf_batch_cut); 0 when none. */
uint64_t dgf_ledger_archive_cut(const struct dgf_ledger *ledger);

struct dgf_ledger_position {
    struct dgf_bytes source;   /* key the caller chose: name and system id */
    struct dgf_bytes position; /* opaque to the ledger */
    struct dgf_bytes text;     /* the same for people */
    uint64_t seq;              /* of the source's event it stands for */
    struct dgf_bytes counters; /* since the last coverage record; opaque */
};
struct dgf_ledger_cursor {
    struct dgf_bytes name, value;
};
/* The newest of each, collecting batch included.  Borrowed until the next
 * dgf_batch_position() or dgf_batch_cursor().  NULL when at >= count.
 * for (size_t i = 0; (p = dgf_ledger_position(ledger, i)); i++) */
const struct dgf_ledger_position *dgf_ledger_position(const struct dgf_ledger *ledger,
                                                      size_t at);
const struct dgf_ledger_cursor *dgf_ledger_cursor(const struct dgf_ledger *ledger,
                                                  size_t at);
/* By key; NULL when it is not there. */
const struct dgf_ledger_position *dgf_ledger_find_position(
    const struct dgf_ledger *ledger, struct dgf_bytes source);
const struct dgf_ledger_cursor *dgf_ledger_find_cursor(const struct dgf_ledger *ledger,
                                                       struct dgf_bytes name);

/* State as the collecting batch leaves it: state.db plus what is not applied
 * yet.  Appends the value to `to`; DGF_AGAIN when the key has none. */
enum dgf_rc dgf_ledger_state_get(struct dgf_ledger *ledger, struct dgf_bytes key,
                                 struct dgf_buf *to, struct dgf_err *err) DGF_MUST_USE;
/* Every key that starts with prefix, in no order.  visit must not change
 * state; what it gets is borrowed for the call.  Another code than DGF_OK from
 * visit ends it and is returned. */
enum dgf_rc dgf_ledger_state_each(struct dgf_ledger *ledger, struct dgf_bytes prefix,
                                  enum dgf_rc (*visit)(void *ctx, struct dgf_bytes key,
                                                       struct dgf_bytes value),
                                  void *ctx, struct dgf_err *err) DGF_MUST_USE;

/* ---- the collecting batch ------------------------------------------------ */

/* Never NULL.  Ask again after a hand-over. */
struct dgf_batch *dgf_ledger_batch(struct dgf_ledger *ledger);
/* The index the next leaf gets.  Gapless from 0. */
uint64_t dgf_ledger_next_index(const struct dgf_ledger *ledger);

/* All copy what they get.  DGF_NOMEM: out of memory, the batch is over 16
 * times batch_bytes, or an argument is over its cap above; the batch may then
 * hold half an event, so the caller must end the process. */
enum dgf_rc dgf_batch_leaf(struct dgf_batch *batch, struct dgf_bytes header,
                           struct dgf_bytes line, uint64_t *ret_index) DGF_MUST_USE;
enum dgf_rc dgf_batch_state(struct dgf_batch *batch, struct dgf_bytes key,
                            struct dgf_bytes value) DGF_MUST_USE;
enum dgf_rc dgf_batch_state_delete(struct dgf_batch *batch, struct dgf_bytes key)
    DGF_MUST_USE;
enum dgf_rc dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                             struct dgf_bytes value) DGF_MUST_USE;
/* The last one of a source wins.  Each COMMIT carries those of all sources. */
enum dgf_rc dgf_batch_position(struct dgf_batch *batch,
                               const struct dgf_ledger_position *position) DGF_MUST_USE;
enum dgf_rc dgf_batch_position_forget(struct dgf_batch *batch, struct dgf_bytes source)
    DGF_MUST_USE;
/* Holds from this batch on. */
void dgf_batch_policy_set(struct dgf_batch *batch,
                          const uint8_t digest[DGF_SHA256_LEN]);
/* An archive segment ends before `index`. */
enum dgf_rc dgf_batch_cut(struct dgf_batch *batch, uint64_t index) DGF_MUST_USE;

size_t dgf_batch_bytes(const struct dgf_batch *batch); /* frames so far */
bool dgf_batch_full(
    const struct dgf_batch *batch); /* over batch_bytes: stop reading sources */
bool dgf_batch_empty(const struct dgf_batch *batch); /* nothing was put in at all */
/* Leaves, state, a cut or a policy set.  Without them (positions and cursors
 * only) a batch may wait up to 1 s. */
bool dgf_batch_is_urgent(const struct dgf_batch *batch);
bool dgf_batch_has_leaves(const struct dgf_batch *batch);

/* ---- committing ---------------------------------------------------------- */

/* Gives the collecting batch to the writer; a new empty one collects.
 * DGF_AGAIN: the writer is busy, or the batch is empty. */
enum dgf_rc dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err)
    DGF_MUST_USE;

struct dgf_ledger_news {
    bool durable;        /* batch `batch_no` became durable since the last call */
    uint64_t batch_no;   /* newest durable batch; the first has number 1 */
    uint64_t next_index; /* every leaf below is durable */
    bool idle;           /* a hand-over would be accepted */
    bool no_space;       /* the batch being written waits for room on the disk */
    /* Segments below this index can go: put a record about it into the
     * collecting batch and call dgf_batch_prune() on it.  0: nothing to do.
     * Said once, and again after a restart if it was not done. */
    uint64_t prune_before;
};
/* Readable when poll has something to say; poll drains it. */
int dgf_ledger_fd(const struct dgf_ledger *ledger);
enum dgf_rc dgf_ledger_poll(struct dgf_ledger *ledger, struct dgf_ledger_news *ret_news,
                            struct dgf_err *err) DGF_MUST_USE;
/* Only without a thread: does the writer's work for the batch handed over.
 * DGF_AGAIN: nothing to do, or no space; call again later. */
enum dgf_rc dgf_ledger_step(struct dgf_ledger *ledger, struct dgf_err *err)
    DGF_MUST_USE;

/* ---- retention ------------------------------------------------------------ */

/* Everything below next_index was delivered by all who must.  Never goes back. */
void dgf_ledger_release(struct dgf_ledger *ledger, uint64_t next_index);
/* Segments below index are removed once this batch is durable. */
enum dgf_rc dgf_batch_prune(struct dgf_batch *batch, uint64_t index) DGF_MUST_USE;
/* The first index that is still there. */
uint64_t dgf_ledger_first_index(const struct dgf_ledger *ledger);
uint64_t dgf_ledger_bytes(const struct dgf_ledger *ledger); /* of all segments */
/* The journal is larger than journal_bytes: pause the sources.  Released
 * segments then go before keep_ns is over. */
bool dgf_ledger_over_budget(const struct dgf_ledger *ledger);

#endif
