/* state_db.h - rule and source state as a table, behind the journal.
 *
 * state.db follows the journal: each of its transactions carries the number of
 * the batch it stands at, and what is missing is replayed from the journal at
 * start.  So its own syncs need not be waited for (WAL, synchronous=NORMAL: a
 * power loss may take the last transactions but leaves it whole), except
 * before segments are pruned: dgf_state_db_checkpoint().
 *
 * The ledger thread writes through one connection, the loop reads through
 * another.  Thread: each connection one owner. */
#ifndef DGF_LEDGER_STATE_DB_H
#define DGF_LEDGER_STATE_DB_H

#include "base/buf.h"
#include "base/err.h"
#include "ledger/frame.h"

struct dgf_state_db;

/* Makes the tables when they are not there.  DGF_AGAIN: no space.  DGF_FATAL:
 * not a database, damaged, or of another log. */
enum dgf_rc dgf_state_db_open(const char *path, const uint8_t log_id[DGF_LOG_ID_LEN],
                              struct dgf_state_db **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* For reading; path was opened with dgf_state_db_open() before. */
enum dgf_rc dgf_state_db_open_reader(const char *path, struct dgf_state_db **ret,
                                     struct dgf_err *err) DGF_MUST_USE;
void dgf_state_db_free(struct dgf_state_db *db);
/* Nothing more goes to the disk, not even at free: the ledger has failed. */
void dgf_state_db_abandon(struct dgf_state_db *db);

/* The batch it stands at. */
uint64_t dgf_state_db_batch(const struct dgf_state_db *db);

/* begin, change ..., commit.  DGF_AGAIN from any of them: no space; nothing of
 * the transaction holds, begin again later. */
enum dgf_rc dgf_state_db_begin(struct dgf_state_db *db, struct dgf_err *err)
    DGF_MUST_USE;
enum dgf_rc dgf_state_db_change(struct dgf_state_db *db,
                                const struct dgf_change *change, struct dgf_err *err)
    DGF_MUST_USE;
enum dgf_rc dgf_state_db_commit(struct dgf_state_db *db, uint64_t batch,
                                struct dgf_err *err) DGF_MUST_USE;
/* Everything committed is on disk afterwards.  DGF_AGAIN: no space, or busy. */
enum dgf_rc dgf_state_db_checkpoint(struct dgf_state_db *db, struct dgf_err *err)
    DGF_MUST_USE;

/* DGF_AGAIN: no such key. */
enum dgf_rc dgf_state_db_get(struct dgf_state_db *db, struct dgf_bytes key,
                             struct dgf_buf *to, struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_state_db_each(struct dgf_state_db *db, struct dgf_bytes prefix,
                              enum dgf_rc (*visit)(void *ctx, struct dgf_bytes key,
                                                   struct dgf_bytes value),
                              void *ctx, struct dgf_err *err) DGF_MUST_USE;

#endif
