/* cmd_ledger.h - what the files of `dgf ledger` share. */
#ifndef DGF_CMD_LEDGER_H
#define DGF_CMD_LEDGER_H

#include "base/json.h"
#include "base/store.h"
#include "cmd.h"

/* Says it on stderr; the exit code that goes with rc. */
int ledger_fail(enum dgf_rc rc, const struct dgf_err *err);
int ledger_print_json(struct dgf_buf *out);
void ledger_put_hex(struct dgf_json *json, const char *key, const uint8_t *hash);
void ledger_put_number(struct dgf_json *json, const char *key, uint64_t value);
void ledger_put_text(struct dgf_json *json, const char *key, const char *text);
/* "text": what is wrong, or null; it may quote what is no UTF-8. */
void ledger_put_finding(struct dgf_json *json, const char *text);
/* A whole small file, or stdin for "-"; 0, or the exit code after saying why. */
int ledger_slurp(const char *path, size_t max, struct dgf_buf *ret);

/* Is dir an archive, and not the data_dir of an agent? */
bool ledger_is_archive(const char *dir);
/* An archive in a folder: of one log, of several logs of which one is there, or in a
 * data_dir.  0, or the exit code after saying why. */
int ledger_open_archive(const char *dir, struct dgf_store **ret);

/* cmd_ledger_container.c: dir is the address of a container, or "sink:" of --sink. */
bool ledger_is_container(const char *dir);
/* Commands read the archive of this sink for "sink:".  0, or the exit code. */
struct dgf_settings;
int ledger_use_sink(const struct dgf_settings *settings, const char *name);
void ledger_use_log(const char *log_id); /* --log; NULL: the only one */
enum dgf_rc ledger_open_container(const char *dir, struct dgf_store **ret,
                                  struct dgf_err *err);

/* A folder without a journal is no damage. */
int ledger_find_journal(const char *dir, uint64_t *ret_first);

/* A dgf_archive_tell: on stderr. */
void ledger_tell(void *ctx, const char *text);

/* Each record of an archive that the options of cat choose; another exit code than 0
 * from visit ends it. */
typedef int (*ledger_visit)(void *ctx, uint64_t index, uint64_t segment,
                            struct dgf_bytes line);
int ledger_each(const struct dgf_args *args, struct dgf_store *store,
                ledger_visit visit, void *ctx);

/* The files of --anchor.  0, or the exit code after saying why. */
struct ledger_anchors {
    struct dgf_buf texts[DGF_ARGS_REPEATED_MAX];
    struct dgf_bytes list[DGF_ARGS_REPEATED_MAX];
    size_t n;
};
int ledger_read_anchors(const struct dgf_args *args, struct ledger_anchors *ret);
void ledger_anchors_release(struct ledger_anchors *anchors);

int ledger_verify_archive(const struct dgf_args *args, const char *dir, bool as_json);
int ledger_list_archive(const char *dir, bool as_json);
int ledger_stats_archive(const char *dir, bool as_json);
int ledger_cat(const struct dgf_args *args, const char *dir, bool as_json);
int ledger_prove(const struct dgf_args *args, const char *dir, bool as_json);
int ledger_check_proof(const struct dgf_args *args, const char *dir, bool as_json);
int ledger_consistency(const struct dgf_args *args, const char *dir, bool as_json);
int ledger_export(const struct dgf_args *args, const char *dir, bool as_json);

#endif
