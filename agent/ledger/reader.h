/* reader.h - leaves in order, from any index, of a live or a cold ledger.
 *
 * A live reader sees what dgf_ledger_poll() has said is durable; its wake-up
 * is the ledger's eventfd.  A cold reader needs no lock and no ledger: it
 * works on a directory another process writes to, on one left by kill -9, and
 * gives only leaves of whole batches.  Thread: live readers the loop's, cold
 * ones any, one owner. */
#ifndef DGF_LEDGER_READER_H
#define DGF_LEDGER_READER_H

#include "ledger/ledger.h"

struct dgf_ledger_reader;

struct dgf_leaf {
    uint64_t index;
    struct dgf_bytes header, line; /* borrowed until the next call on the reader */
};

/* The next leaf will be number `from`; it may not be written yet.
 * DGF_BAD_DATA: `from` was pruned, or no journal is there. */
enum dgf_rc dgf_ledger_reader_open(struct dgf_ledger *ledger, uint64_t from,
                                   struct dgf_ledger_reader **ret_reader,
                                   struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_ledger_reader_open_cold(const char *dir, uint64_t from,
                                        struct dgf_ledger_reader **ret_reader,
                                        struct dgf_err *err) DGF_MUST_USE;
void dgf_ledger_reader_free(struct dgf_ledger_reader *reader);

/* DGF_AGAIN: no more for now (cold: call again to look again).
 * DGF_BAD_DATA: damage, or the segment was pruned; the reader stays there. */
enum dgf_rc dgf_ledger_reader_next(struct dgf_ledger_reader *reader,
                                   struct dgf_leaf *ret_leaf, struct dgf_err *err)
    DGF_MUST_USE;
/* Gives the newest leaf once more, without reading the file again.  Only after
 * a dgf_ledger_reader_next() that gave one. */
void dgf_ledger_reader_back(struct dgf_ledger_reader *reader);
/* The index dgf_ledger_reader_next() gives next. */
uint64_t dgf_ledger_reader_index(const struct dgf_ledger_reader *reader);

/* The first index a cold directory still holds. */
enum dgf_rc dgf_ledger_first_kept(const char *dir, uint64_t *ret_index,
                                  struct dgf_err *err) DGF_MUST_USE;

#endif
