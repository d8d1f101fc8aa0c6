/* simdisk.h - a disk that forgets and tears what was not synced.
 *
 * Implements base/file.h and an SQLite VFS over one file system in memory.  A
 * crash keeps what was synced; of every write since then it keeps all, none, or
 * the front part; names that were made, renamed or removed without a sync of
 * their folder may be as before.  Thread: one. */
#ifndef DGF_SIMDISK_H
#define DGF_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>

/* An empty disk; the same seed gives the same accidents. */
void simdisk_format(uint64_t seed);
/* Power fails: open files are forgotten, unsynced writes have accidents. */
void simdisk_crash(void);
/* The process dies but the machine does not: nothing is lost. */
void simdisk_kill(void);
void simdisk_set_full(bool full); /* dgf_file_reserve answers DGF_AGAIN */
void simdisk_register_vfs(void);
void simdisk_put(const char *path, const char *text); /* a synced file, for inputs */
uint64_t simdisk_random(void);

/* Counts of crash points by name, and the hook that ends a life. */
extern void (*simdisk_on_crash_point)(const char *name);

#endif
