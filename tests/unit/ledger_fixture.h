/* ledger_fixture.h - a ledger in a folder of its own, driven step by step. */
#ifndef DGF_TESTS_LEDGER_FIXTURE_H
#define DGF_TESTS_LEDGER_FIXTURE_H

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "ledger/ledger.h"
#include "ledger/reader.h"
#include "unit.h"

static char dir[64];
static struct dgf_ledger_conf conf;
static struct dgf_ledger *ledger;
static struct dgf_ledger_cut cut;
static struct dgf_ledger_news news;
static struct dgf_err err;

static inline enum dgf_rc try_open(void)
{
    conf.dir = dir;
    return dgf_ledger_open(&conf, &ledger, &cut, &err);
}

static inline void reopen(void)
{
    dgf_ledger_free(ledger);
    ledger = NULL;
    err.text[0] = '\0';
    ck_assert_msg(try_open() == DGF_OK, "%s", err.text);
}

static inline int remove_one(const char *path, const struct stat *st, int type,
                             struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void remove_folder(void)
{
    ck_assert_int_eq(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A new folder and a ledger in it. */
static inline void fresh(void)
{
    if (dir[0]) {
        dgf_ledger_free(ledger);
        ledger = NULL;
        remove_folder();
    }
    (void)snprintf(dir, sizeof(dir), "%s/dgf-ledger-XXXXXX",
                   access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    conf = (struct dgf_ledger_conf){.segment_bytes = 1 << 20, .keep_ns = 1};
    reopen();
}

static inline void done(void)
{
    dgf_ledger_free(ledger);
    ledger = NULL;
    if (dir[0])
        remove_folder();
    dir[0] = '\0';
}

static inline struct dgf_batch *batch(void)
{
    return dgf_ledger_batch(ledger);
}

static inline uint64_t leaf(const char *line)
{
    uint64_t index;

    ck_assert_int_eq(
        dgf_batch_leaf(batch(), DGF_BYTES("head"), dgf_bytes_str(line), &index),
        DGF_OK);
    return index;
}

static inline void state(const char *key, const char *value)
{
    enum dgf_rc rc =
        value ? dgf_batch_state(batch(), dgf_bytes_str(key), dgf_bytes_str(value))
              : dgf_batch_state_delete(batch(), dgf_bytes_str(key));

    ck_assert_int_eq(rc, DGF_OK);
}

static inline void position(const char *source, const char *bytes, uint64_t seq)
{
    struct dgf_ledger_position p = {
        .source = dgf_bytes_str(source),
        .position = dgf_bytes_str(bytes),
        .text = dgf_bytes_str(bytes),
        .seq = seq,
        .counters = DGF_BYTES("n"),
    };

    ck_assert_int_eq(dgf_batch_position(batch(), &p), DGF_OK);
}

/* Makes the collecting batch durable. */
static inline void commit(void)
{
    ck_assert_msg(dgf_ledger_hand_over(ledger, &err) == DGF_OK, "nothing to hand over");
    ck_assert_msg(dgf_ledger_step(ledger, &err) == DGF_OK, "%s", err.text);
    ck_assert_msg(dgf_ledger_poll(ledger, &news, &err) == DGF_OK, "%s", err.text);
    ck_assert(news.durable && news.idle);
}

static inline void append_batch(const char *line)
{
    leaf(line);
    commit();
}

/* The text of a state value, or NULL; overwritten by the next call. */
static inline const char *state_of(const char *key)
{
    static struct dgf_buf value;
    enum dgf_rc rc;

    if (!value.max)
        dgf_buf_init(&value, 1 << 21);
    dgf_buf_clear(&value);
    rc = dgf_ledger_state_get(ledger, dgf_bytes_str(key), &value, &err);
    ck_assert_msg(rc == DGF_OK || rc == DGF_AGAIN, "%s", err.text);
    return rc ? NULL : dgf_buf_str(&value);
}

static inline const char *segment_path(uint64_t first)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/journal/%" PRIu64 ".j", dir, first);
    return path;
}

static inline uint64_t segment_size(uint64_t first)
{
    struct stat st;

    ck_assert_int_eq(stat(segment_path(first), &st), 0);
    return (uint64_t)st.st_size;
}

/* Lets the ledger go as kill -9 would: what is in the files stays. */
static inline void close_ledger(void)
{
    dgf_ledger_free(ledger);
    ledger = NULL;
}

static inline void flip_bit(uint64_t first, uint64_t byte, unsigned bit)
{
    FILE *f = fopen(segment_path(first), "r+b");
    int c;

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, (long)byte, SEEK_SET), 0);
    c = fgetc(f);
    ck_assert_int_ge(c, 0);
    ck_assert_int_eq(fseek(f, (long)byte, SEEK_SET), 0);
    ck_assert_int_eq(fputc(c ^ 1 << bit, f), c ^ 1 << bit);
    ck_assert_int_eq(fclose(f), 0);
}

static inline void cut_file_to(uint64_t first, uint64_t size)
{
    ck_assert_int_eq(truncate(segment_path(first), (off_t)size), 0);
}

static inline void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    FILE *f = fopen(from, "rb");
    size_t n;

    ck_assert_ptr_nonnull(f);
    n = fread(bytes, 1, sizeof(bytes), f);
    ck_assert(n > 0 && n < sizeof(bytes));
    ck_assert_int_eq(fclose(f), 0);
    f = fopen(to, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* Appends bytes to a segment file. */
static inline void grow_file(uint64_t first, const void *bytes, size_t len)
{
    FILE *f = fopen(segment_path(first), "ab");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
}

#endif
