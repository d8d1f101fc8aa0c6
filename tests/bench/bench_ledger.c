/* bench_ledger.c - B12: append with an fsync a batch, and verify, 500-byte leaves;
 * and what a sink pays to have them all from the live ledger.
 *
 *   bench_ledger [-n LEAVES] [-r RUNS] [-l LINE_BYTES] [-b BATCH_KIB] [FOLDER]
 *
 * Append is the whole ledger as the agent uses it: the loop's half copies
 * lines into the collecting batch, the ledger's thread checksums, hashes,
 * writes and syncs what was handed over.  Verify is the command's: it reads
 * the files again and proves every leaf, on one thread.  "cpu" is leaves by a
 * second of CPU, whoever else uses the machine.  One JSON line each; the
 * reference figures were measured apart: Tessera 1.0.4 POSIX 131,000 appends
 * and 1,020,000 verified leaves a second. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "ledger/ledger.h"
#include "ledger/reader.h"
#include "ledger/verify.h"

#define MAX_RUNS 101
#define HEADER_BYTES 90
#define LEAF_OVERHEAD (9 + 2 + HEADER_BYTES) /* frame, its length, header */
#define TESSERA_APPEND 131000.0
#define TESSERA_VERIFY 1020000.0

static uint64_t n_leaves = 1000000, n_runs = 5, line_bytes = 500, batch_kib = 4096;

struct run {
    double wall, cpu;
    uint64_t batches;
};

static void die(const char *what, const struct dgf_err *err)
{
    fprintf(stderr, "bench_ledger: %s: %s\n", what, err->text);
    exit(EXIT_FAILURE);
}

static double cpu_seconds(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* Hands over what collects when the writer is idle.  False: all is durable. */
static bool turn(struct dgf_ledger *ledger, bool wait)
{
    struct pollfd fd = {.fd = dgf_ledger_fd(ledger), .events = POLLIN};
    struct dgf_ledger_news news;
    struct dgf_err err;
    enum dgf_rc rc;

    if (wait)
        (void)poll(&fd, 1, 100);
    if (dgf_ledger_poll(ledger, &news, &err))
        die("poll", &err);
    if (!news.idle)
        return true;
    rc = dgf_ledger_hand_over(ledger, &err);
    if (rc && rc != DGF_AGAIN)
        die("hand over", &err);
    return rc == DGF_OK;
}

/* The same bytes in the same pieces, written and synced with nothing else to
 * do: what the disk alone allows in this minute. */
static void disk(const char *dir, struct run *ret)
{
    size_t piece = batch_kib << 10;
    uint64_t left = n_leaves * (line_bytes + LEAF_OVERHEAD), at = 0;
    char path[600], *bytes = malloc(piece);
    int64_t begun;
    double cpu;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/disk", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || !bytes) {
        fprintf(stderr, "bench_ledger: cannot make '%s'\n", path);
        exit(EXIT_FAILURE);
    }
    memset(bytes, 'x', piece);
    begun = dgf_clock_mono_ns();
    cpu = cpu_seconds();
    for (; left > 0; ret->batches++) {
        size_t n = left < piece ? (size_t)left : piece;

        if (pwrite(fd, bytes, n, (off_t)at) != (ssize_t)n || fdatasync(fd)) {
            fprintf(stderr, "bench_ledger: cannot write '%s'\n", path);
            exit(EXIT_FAILURE);
        }
        at += n;
        left -= n;
    }
    ret->wall = (double)(dgf_clock_mono_ns() - begun) / 1e9;
    ret->cpu = cpu_seconds() - cpu;
    (void)close(fd);
    (void)unlink(path);
    free(bytes);
}

/* All leaves in order, as a sink has them. */
static void tail(struct dgf_ledger *ledger, struct run *ret)
{
    struct dgf_ledger_reader *reader;
    struct dgf_leaf leaf;
    struct dgf_err err;
    int64_t begun = dgf_clock_mono_ns();
    double cpu = cpu_seconds();
    uint64_t n = 0;

    if (dgf_ledger_reader_open(ledger, 0, &reader, &err))
        die("read", &err);
    while (dgf_ledger_reader_next(reader, &leaf, &err) == DGF_OK)
        n += leaf.line.len == line_bytes;
    dgf_ledger_reader_free(reader);
    if (n != n_leaves)
        die("read", &err);
    ret->wall = (double)(dgf_clock_mono_ns() - begun) / 1e9;
    ret->cpu = cpu_seconds() - cpu;
}

static void append(const char *dir, struct run *ret, struct run *ret_tail)
{
    struct dgf_ledger_conf conf = {.dir = dir,
                                   .segment_bytes = 64 << 20,
                                   .batch_bytes = batch_kib << 10,
                                   .threaded = true};
    struct dgf_ledger_news news;
    struct dgf_ledger *ledger;
    struct dgf_ledger_cut cut;
    struct dgf_err err;
    char line[DGF_LEDGER_LINE_MAX], header[HEADER_BYTES] = {1};
    int64_t begun;
    double cpu;

    if (dgf_ledger_open(&conf, &ledger, &cut, &err))
        die("open", &err);
    memset(line, 'x', sizeof(line));
    begun = dgf_clock_mono_ns();
    cpu = cpu_seconds();
    for (uint64_t i = 0; i < n_leaves; i++) {
        while (dgf_batch_full(dgf_ledger_batch(ledger)))
            (void)turn(ledger, true);
        (void)snprintf(line, sizeof(line), "{\"v\":1,\"seq\":%-20llu",
                       (unsigned long long)i);
        line[33] = 'x'; /* over the NUL */
        if (dgf_batch_leaf(dgf_ledger_batch(ledger),
                           dgf_bytes_of(header, sizeof(header)),
                           dgf_bytes_of(line, line_bytes), NULL)) {
            fprintf(stderr, "bench_ledger: batch is full\n");
            exit(EXIT_FAILURE);
        }
        if (i % 64 == 63)
            (void)turn(ledger, false);
    }
    while (turn(ledger, true))
        ;
    ret->wall = (double)(dgf_clock_mono_ns() - begun) / 1e9;
    ret->cpu = cpu_seconds() - cpu;
    if (dgf_ledger_poll(ledger, &news, &err) || news.next_index != n_leaves) {
        fprintf(stderr, "bench_ledger: %llu leaves are durable\n",
                (unsigned long long)news.next_index);
        exit(EXIT_FAILURE);
    }
    ret->batches = news.batch_no;
    tail(ledger, ret_tail);
    dgf_ledger_free(ledger);
}

static void verify(const char *dir, struct run *ret)
{
    struct dgf_verification verdict;
    struct dgf_err err;
    int64_t begun = dgf_clock_mono_ns();
    double cpu = cpu_seconds();

    if (dgf_ledger_verify(dir, &verdict, &err))
        die("verify", &err);
    ret->wall = (double)(dgf_clock_mono_ns() - begun) / 1e9;
    ret->cpu = cpu_seconds() - cpu;
    if (verdict.result != DGF_VERIFIED_OK || verdict.size != n_leaves) {
        fprintf(stderr, "bench_ledger: verify: %s\n", verdict.text);
        exit(EXIT_FAILURE);
    }
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int by_wall(const void *a, const void *b)
{
    double x = ((const struct run *)a)->wall, y = ((const struct run *)b)->wall;

    return x < y ? -1 : x > y;
}

static void report(const char *what, struct run *runs, double reference)
{
    struct run *median;
    struct rusage use;
    double rate;

    qsort(runs, n_runs, sizeof(*runs), by_wall);
    median = &runs[n_runs / 2];
    rate = (double)n_leaves / median->wall;
    getrusage(RUSAGE_SELF, &use);
    printf("{\"what\":\"B12 %s %llu-byte leaves\",\"ours\":%.0f,\"reference\":%.0f,"
           "\"unit\":\"leaves/s\",\"ratio\":%.2f,\"cpu\":%.0f,\"slowest\":%.0f,"
           "\"batches\":%llu,\"rss_mib\":%.1f,\"runs\":%llu,\"spread\":%.3f}\n",
           what, (unsigned long long)line_bytes, rate, reference,
           reference > 0 ? rate / reference : 0, (double)n_leaves / median->cpu,
           (double)n_leaves / runs[n_runs - 1].wall,
           (unsigned long long)median->batches, (double)use.ru_maxrss / 1024,
           (unsigned long long)n_runs,
           (runs[n_runs - 1].wall - runs[0].wall) / median->wall);
    fflush(stdout);
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return dgf_parse_u64(dgf_bytes_str(text), ret) && *ret >= min && *ret <= max;
}

int main(int argc, char **argv)
{
    static struct run appends[MAX_RUNS], verifies[MAX_RUNS], tails[MAX_RUNS],
        disks[MAX_RUNS];
    const char *above = "/var/tmp";
    int option;
    bool ok = true;

    while ((option = getopt(argc, argv, "n:r:l:b:")) != -1) {
        if (option == 'n')
            ok = ok && number(optarg, 1, UINT32_MAX, &n_leaves);
        else if (option == 'r')
            ok = ok && number(optarg, 1, MAX_RUNS, &n_runs);
        else if (option == 'b')
            ok = ok && number(optarg, 1, 65536, &batch_kib);
        else
            ok = ok && option == 'l' &&
                 number(optarg, 40, DGF_LEDGER_LINE_MAX, &line_bytes);
    }
    if (!ok || argc - optind > 1) {
        fprintf(
            stderr,
            "usage: bench_ledger [-n LEAVES] [-r RUNS] [-l LINE_BYTES] [-b BATCH_KIB] "
            "[FOLDER]\n");
        return EXIT_FAILURE;
    }
    if (optind < argc)
        above = argv[optind];
    for (uint64_t i = 0; i < n_runs; i++) {
        char dir[512];

        (void)snprintf(dir, sizeof(dir), "%s/dgf-bench-XXXXXX", above);
        if (!mkdtemp(dir)) {
            fprintf(stderr, "bench_ledger: cannot make a folder in '%s'\n", above);
            return EXIT_FAILURE;
        }
        disk(dir, &disks[i]);
        append(dir, &appends[i], &tails[i]);
        verify(dir, &verifies[i]);
        (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
    report("append", appends, TESSERA_APPEND);
    report("verify", verifies, TESSERA_VERIFY);
    report("tail", tails, 0);
    report("write and sync alone,", disks, 0);
    return EXIT_SUCCESS;
}
