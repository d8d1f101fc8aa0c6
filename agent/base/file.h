/* file.h - every file operation of the ledger, in one replaceable place.
 *
 * The model test links another implementation that forgets and tears what was
 * not synced, and that ends the "process" at a named crash point.  file.c,
 * file_slurp.c, file_replace.c, lock.c and crash_point.c can be replaced one by
 * one.  Paths are plain paths; all calls restart on EINTR and finish short reads
 * and writes.  DGF_BAD_CONFIG: the path itself is wrong (not there, no right);
 * DGF_AGAIN: no space or quota, where something new is made; else DGF_FATAL.
 * Thread: a dgf_file belongs to one thread at a time. */
#ifndef DGF_BASE_FILE_H
#define DGF_BASE_FILE_H

#include "base/buf.h"
#include "base/err.h"

struct dgf_file;

enum dgf_file_mode {
    DGF_FILE_READ,
    DGF_FILE_WRITE /* read too */,
    DGF_FILE_CREATE /* fails if there */
};

enum dgf_rc dgf_file_open(const char *path, enum dgf_file_mode mode,
                          struct dgf_file **ret, struct dgf_err *err) DGF_MUST_USE;
void dgf_file_close(struct dgf_file *file); /* NULL is fine */
/* Reads exactly up to len bytes; *ret_len is less only at the end of file. */
enum dgf_rc dgf_file_read(struct dgf_file *file, uint64_t offset, void *ptr, size_t len,
                          size_t *ret_len, struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_file_write(struct dgf_file *file, uint64_t offset,
                           struct dgf_bytes bytes, struct dgf_err *err) DGF_MUST_USE;
/* fdatasync.  A failure is final for the process: never call it again. */
enum dgf_rc dgf_file_sync(struct dgf_file *file, struct dgf_err *err) DGF_MUST_USE;
/* Makes sure that [offset, offset+len) can be written.  DGF_AGAIN: no space or
 * quota; anything else that fails is DGF_FATAL. */
enum dgf_rc dgf_file_reserve(struct dgf_file *file, uint64_t offset, uint64_t len,
                             struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_file_size(struct dgf_file *file, uint64_t *ret, struct dgf_err *err)
    DGF_MUST_USE;
enum dgf_rc dgf_file_truncate(struct dgf_file *file, uint64_t size, struct dgf_err *err)
    DGF_MUST_USE;

enum dgf_rc dgf_file_remove(const char *path, struct dgf_err *err) DGF_MUST_USE;
enum dgf_rc dgf_file_rename(const char *from, const char *to, struct dgf_err *err)
    DGF_MUST_USE;
bool dgf_file_exists(const char *path);
enum dgf_rc dgf_dir_make(const char *path, struct dgf_err *err)
    DGF_MUST_USE; /* 0700; fine if there */
enum dgf_rc dgf_dir_sync(const char *path, struct dgf_err *err) DGF_MUST_USE;
/* Calls visit for every entry but . and ..; order is not defined. */
enum dgf_rc dgf_dir_list(const char *path, void (*visit)(void *ctx, const char *name),
                         void *ctx, struct dgf_err *err) DGF_MUST_USE;

/* A whole small file, appended; DGF_BAD_DATA when it is larger than max bytes or
 * than ret has room for. */
enum dgf_rc dgf_file_slurp(const char *path, size_t max, struct dgf_buf *ret,
                           struct dgf_err *err) DGF_MUST_USE;
/* Writes path.tmp, syncs, renames, syncs the folder; mode as given. */
enum dgf_rc dgf_file_replace(const char *path, struct dgf_bytes bytes, unsigned mode,
                             struct dgf_err *err) DGF_MUST_USE;

/* One agent owns a data directory.  DGF_AGAIN: another process has it and
 * *ret_pid says which (0 when unknown). */
struct dgf_lock;
enum dgf_rc dgf_lock_take(const char *path, struct dgf_lock **ret, int *ret_pid,
                          struct dgf_err *err) DGF_MUST_USE;
void dgf_lock_free(struct dgf_lock *lock);
/* Has somebody this lock?  True as well when that cannot be found out.  Held itself for
 * a moment, which dgf_lock_take waits out. */
bool dgf_lock_held(const char *path);

/* A crash point: nothing happens in the agent; the model test links a file
 * layer that ends the simulated process here.  Every name used stands in
 * tests/flow/crash_points.def. */
void dgf_crash_point(const char *name);

#endif
