/* archive_checked.h - the records of an archive in order, each compared with what was
 * sealed: its leaf hash with the hash tile of its place.  What is missing is told and
 * passed over.  It shows damage, not forgery: signatures are for archive_verify.h.
 * Constant memory.  Thread: one owner; blocks. */
#ifndef DGF_LEDGER_ARCHIVE_CHECKED_H
#define DGF_LEDGER_ARCHIVE_CHECKED_H

#include "ledger/archive_read.h"

/* One sentence for whoever reads: what is missing or was pruned; without LF. */
typedef void (*dgf_archive_tell)(void *ctx, const char *text);

struct dgf_archive_checked;
/* Records from <= index < until.  The newest checkpoint says how many there are. */
enum dgf_rc dgf_archive_checked_open(struct dgf_store *store, uint64_t from,
                                     uint64_t until, dgf_archive_tell tell, void *ctx,
                                     struct dgf_archive_checked **ret,
                                     struct dgf_err *err) DGF_MUST_USE;
void dgf_archive_checked_free(struct dgf_archive_checked *checked); /* NULL is fine */
/* The line is borrowed until the next call.  DGF_AGAIN: no more.  DGF_BAD_DATA: a
 * segment is damaged, or the record is not the one that was sealed. */
enum dgf_rc dgf_archive_checked_next(struct dgf_archive_checked *checked,
                                     uint64_t *ret_index, struct dgf_bytes *ret_line,
                                     struct dgf_err *err) DGF_MUST_USE;
/* The first record of the segment the last one came from. */
uint64_t dgf_archive_checked_segment(const struct dgf_archive_checked *checked);
/* How many records there are; 0 when no checkpoint says it. */
uint64_t dgf_archive_checked_size(const struct dgf_archive_checked *checked);
/* Tells that these are not there: pruned, as a later record says, or missing. */
enum dgf_rc dgf_archive_checked_hole(struct dgf_archive_checked *checked,
                                     uint64_t first, uint64_t last, struct dgf_err *err)
    DGF_MUST_USE;
/* Was anything told that is missing? */
bool dgf_archive_checked_lacks(const struct dgf_archive_checked *checked);

#endif
