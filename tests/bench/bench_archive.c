/* bench_archive.c - how fast an archive is proven: 500-byte records, zstd frames, on
 * one core; and what single parts of it cost alone.
 *
 *   bench_archive [-n RECORDS] [-r RUNS] [-l LINE_BYTES]
 *   bench_archive --make FOLDER RECORDS      makes one and prints its key
 *
 * Records look like audit records of a real log: fields that repeat, ids, keys and
 * tokens that do not, so that they compress six to eight times.  One JSON line each;
 * the reference figure was measured apart on such cores: Tessera 1.0.4 POSIX, its fsck,
 * 1,020,000 verified entries a second (plain files, no JSON, no positions, no times).
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/sha256.h"
#include "ledger/archive_line.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_read.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/leaves.h"
#include "ledger/note.h"
#include "ledger/store.h"

#define MAX_RUNS 101
#define TESSERA_VERIFY 1020000.0
#define SEGMENT_BYTES (32u << 20)
#define START_S 1772442000
#define LOG "0123456789abcdef0123456789abcdef"
#define ORIGIN "dgf/bench/" LOG

static uint64_t n_records = 1000000, n_runs = 5, line_bytes = 500;
static const uint8_t seed[DGF_SIGN_SEED_LEN] = "a key for measurements only";

static void die(const char *what)
{
    fprintf(stderr, "bench_archive: %s\n", what);
    exit(EXIT_FAILURE);
}

static void must(enum dgf_rc rc, const struct dgf_err *err)
{
    if (rc)
        die(err ? err->text : "out of memory");
}

static void put(const char *dir, const char *name, struct dgf_bytes bytes)
{
    char path[4096];
    FILE *out;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (char *slash = path + strlen(dir) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    out = fopen(path, "wb");
    if (!out || fwrite(bytes.ptr, 1, bytes.len, out) != bytes.len || fclose(out) != 0)
        die(path);
}

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void random_id(char to[DGF_ID_TEXT_LEN + 1])
{
    struct dgf_id id;
    uint64_t a = next_random(), b = next_random();

    memcpy(id.b, &a, 8);
    memcpy(id.b + 8, &b, 8);
    dgf_id_text(&id, to);
}

static size_t record(char *to, uint64_t seq, int64_t now_s, uint32_t ns)
{
    char id[DGF_ID_TEXT_LEN + 1], event[DGF_ID_TEXT_LEN + 1];
    struct dgf_buf at;
    int n, fill;

    dgf_buf_init(&at, 64);
    dgf_format_timestamp(&at, now_s, ns);
    random_id(id);
    random_id(event);
    n = snprintf(
        to, 700,
        "{\"v\":1,\"seq\":%llu,\"id\":\"%s\",\"kind\":\"audit\",\"time\":\"%s\","
        "\"logged\":\"%s\",\"agent\":\"orders-sidecar\",\"env\":\"prod\","
        "\"event\":{\"id\":\"%s\",\"source\":\"orders\",\"type\":\"postgres\","
        "\"kind\":\"change\",\"object\":\"shop.order_notes\",\"op\":\"insert\","
        "\"key\":{\"id\":%llu},\"tx\":\"%llu\",\"position\":\"1/0/%llX.%u\"},"
        "\"policies\":4,\"verdict\":\"pass\",\"note\":\"",
        (unsigned long long)seq, id, dgf_buf_str(&at), dgf_buf_str(&at), event,
        (unsigned long long)seq * 7, (unsigned long long)seq / 10,
        (unsigned long long)seq * 96, (unsigned)(seq % 10));
    dgf_buf_release(&at);
    fill = (int)line_bytes - n - 2;
    for (int i = 0; i < fill; i++)
        to[n++] = "every field of the row was looked at by four policies "[i % 54];
    to[n++] = '"';
    to[n++] = '}';
    return (size_t)n;
}

struct making {
    const char *dir;
    struct dgf_tiles tiles;
    struct dgf_manifest manifest;
    struct dgf_segment_writer *writer;
    struct dgf_buf file, text;
    struct dgf_sha256_sum lines;
    uint64_t first;
    int64_t now_s;
    bool some;
};

static enum dgf_rc put_tile(void *ctx, const struct dgf_tile *tile,
                            struct dgf_bytes hashes)
{
    struct making *making = ctx;
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_tile(name, tile);
    put(making->dir, name, hashes);
    return DGF_OK;
}

static void root_of(const struct dgf_tiles *tiles, uint8_t ret[DGF_SHA256_LEN])
{
    struct dgf_tree tree;

    dgf_tiles_tree(tiles, &tree);
    dgf_tree_root(&tree, ret);
}

static void put_checkpoint(struct making *making)
{
    struct dgf_checkpoint checkpoint = {.origin = ORIGIN,
                                        .size = making->tiles.size,
                                        .time_s = (uint64_t)making->now_s};
    char name[DGF_ARCHIVE_NAME_MAX];

    root_of(&making->tiles, checkpoint.root);
    dgf_sha256(dgf_buf_bytes(&making->text), checkpoint.manifest);
    dgf_buf_clear(&making->file);
    if (!dgf_checkpoint_put(&checkpoint, seed, &making->file))
        die("cannot sign");
    dgf_name_checkpoint(name, checkpoint.size);
    put(making->dir, name, dgf_buf_bytes(&making->file));
    put(making->dir, DGF_NAME_CHECKPOINT, dgf_buf_bytes(&making->file));
}

static void cut(struct making *making)
{
    struct dgf_manifest *manifest = &making->manifest;
    char name[DGF_ARCHIVE_NAME_MAX];
    uint8_t previous[DGF_SHA256_LEN];

    must(dgf_segment_writer_end(making->writer, &making->file), NULL);
    dgf_name_segment(name, making->first);
    put(making->dir, name, dgf_buf_bytes(&making->file));
    dgf_sha256(dgf_buf_bytes(&making->file), manifest->file_sha256);
    dgf_sha256_end(&making->lines, manifest->leaves_sha256);
    manifest->has_previous = making->some;
    if (making->some) {
        dgf_sha256(dgf_buf_bytes(&making->text), previous);
        memcpy(manifest->previous, previous, sizeof(previous));
    }
    manifest->first = making->first;
    manifest->last = making->tiles.size - 1;
    root_of(&making->tiles, manifest->root_after);
    dgf_buf_clear(&making->text);
    dgf_manifest_put(manifest, &making->text);
    dgf_name_manifest(name, making->first);
    put(making->dir, name, dgf_buf_bytes(&making->text));
    for (unsigned level = 0; level < DGF_TILE_LEVELS; level++) {
        struct dgf_tile tile;

        if (dgf_tile_partial(making->tiles.size, level, &tile))
            (void)put_tile(making, &tile, dgf_tiles_partial(&making->tiles, level));
    }
    put_checkpoint(making);
    memcpy(manifest->root_before, manifest->root_after, DGF_SHA256_LEN);
    making->first = making->tiles.size;
    making->some = true;
    making->now_s += 60;
    dgf_buf_clear(&making->file);
    dgf_segment_writer_free(making->writer);
    must(dgf_segment_writer_new(1, &making->writer), NULL);
    dgf_sha256_begin(&making->lines);
}

/* Prints nothing; the ratio of compression is returned. */
static double make(const char *dir, uint64_t n)
{
    static struct making making;
    uint64_t in_segment = 0, plain = 0, packed = 0;
    char line[1024];

    memset(&making, 0, sizeof(making));
    making.dir = dir;
    making.now_s = START_S;
    memcpy(making.manifest.log, LOG, sizeof(LOG));
    dgf_buf_init(&making.file, 256 << 20);
    dgf_buf_init(&making.text, 1 << 20);
    dgf_tiles_init(&making.tiles);
    root_of(&making.tiles, making.manifest.root_before);
    must(dgf_segment_writer_new(1, &making.writer), NULL);
    dgf_sha256_begin(&making.lines);
    for (uint64_t seq = 0; seq < n; seq++) {
        uint8_t hash[1][DGF_SHA256_LEN];
        size_t len =
            record(line, seq, making.now_s, (uint32_t)(seq - making.first) / 8 * 1000);

        dgf_sha256_leaf(dgf_bytes_of(line, len), hash[0]);
        must(dgf_tiles_append(&making.tiles, (const uint8_t(*)[DGF_SHA256_LEN])hash, 1,
                              put_tile, &making),
             NULL);
        must(dgf_segment_writer_add(making.writer, dgf_bytes_of(line, len),
                                    &making.file),
             NULL);
        line[len] = '\n';
        dgf_sha256_add(&making.lines, dgf_bytes_of(line, len + 1));
        in_segment += len + 1;
        plain += len + 1;
        packed += in_segment >= SEGMENT_BYTES ? making.file.len : 0;
        if (in_segment >= SEGMENT_BYTES || seq + 1 == n) {
            packed += in_segment < SEGMENT_BYTES ? making.file.len : 0;
            cut(&making);
            in_segment = 0;
        }
    }
    dgf_segment_writer_free(making.writer);
    dgf_buf_release(&making.file);
    dgf_buf_release(&making.text);
    return packed ? (double)plain / (double)packed : 0;
}

static void print_key(void)
{
    struct dgf_vkey vkey = {.name = ORIGIN};
    struct dgf_buf text;

    dgf_buf_init(&text, 4096);
    if (!dgf_sign_public(seed, vkey.key))
        die("no key");
    dgf_vkey_put(&vkey, &text);
    printf("%s\n", dgf_buf_str(&text));
    dgf_buf_release(&text);
}

static double cpu_seconds(void)
{
    struct rusage use;

    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

struct run {
    double wall, cpu;
};

static int by_wall(const void *a, const void *b)
{
    const struct run *x = a, *y = b;

    return x->wall < y->wall ? -1 : x->wall > y->wall;
}

/* ---- what is measured ---------------------------------------------------- */

static const char *dir;

static void verify(void)
{
    struct dgf_vkey vkey = {.name = ORIGIN};
    struct dgf_archive_verdict verdict;
    struct dgf_store *store;
    struct dgf_buf text;
    struct dgf_err err = {0};
    const char *keys[1];
    struct dgf_archive_trust trust = {.vkeys = keys, .n_vkeys = 1};

    dgf_buf_init(&text, 4096);
    if (!dgf_sign_public(seed, vkey.key))
        die("no key");
    dgf_vkey_put(&vkey, &text);
    keys[0] = dgf_buf_str(&text);
    must(dgf_store_open_dir(dir, &store, &err), &err);
    must(dgf_archive_verify(store, &trust, &verdict, &err), &err);
    if (verdict.result != DGF_VERIFIED_OK || verdict.size != n_records)
        die(verdict.text);
    dgf_store_free(store);
    dgf_buf_release(&text);
}

static struct dgf_archive_reader *reader;

static bool next(struct dgf_bytes *ret)
{
    uint64_t index;
    struct dgf_err err = {0};
    enum dgf_rc rc = dgf_archive_reader_next(reader, &index, ret, &err);

    if (rc && rc != DGF_AGAIN)
        must(rc, &err);
    return rc == DGF_OK;
}

static void read_all(void (*each)(struct dgf_bytes line))
{
    struct dgf_store *store;
    struct dgf_err err = {0};
    struct dgf_bytes line;

    must(dgf_store_open_dir(dir, &store, &err), &err);
    must(dgf_archive_reader_open(store, 0, &reader, &err), &err);
    while (next(&line))
        if (each)
            each(line);
    dgf_archive_reader_free(reader);
    dgf_store_free(store);
}

static void unpack(void)
{
    read_all(NULL);
}

static void scan_one(struct dgf_bytes line)
{
    struct dgf_archive_line fields;

    if (dgf_archive_line_read(line, &fields))
        die("not JSON");
}

static void scan(void)
{
    read_all(scan_one);
}

static void report(const char *what, void (*once)(void), double reference)
{
    static struct run runs[MAX_RUNS];
    const struct run *median = &runs[n_runs / 2];
    struct rusage use;

    for (uint64_t i = 0; i < n_runs; i++) {
        double wall = (double)dgf_clock_mono_ns() / 1e9, cpu = cpu_seconds();

        once();
        runs[i].wall = (double)dgf_clock_mono_ns() / 1e9 - wall;
        runs[i].cpu = cpu_seconds() - cpu;
    }
    qsort(runs, n_runs, sizeof(runs[0]), by_wall);
    getrusage(RUSAGE_SELF, &use);
    printf(
        "{\"what\":\"archive: %s, records of %llu bytes/s\",\"ours\":%.0f,"
        "\"reference\":%.0f,\"ratio\":%.2f,\"cpu\":%.0f,\"rss_mib\":%.1f,\"runs\":%llu,"
        "\"spread\":%.3f}\n",
        what, (unsigned long long)line_bytes, (double)n_records / median->wall,
        reference, reference > 0 ? (double)n_records / median->wall / reference : 0,
        (double)n_records / median->cpu, (double)use.ru_maxrss / 1024,
        (unsigned long long)n_runs,
        (runs[n_runs - 1].wall - runs[0].wall) / median->wall);
    (void)fflush(stdout);
}

static int remove_one(const char *path, const struct stat *sb, int type,
                      struct FTW *ftw)
{
    (void)sb;
    (void)type;
    (void)ftw;
    return remove(path);
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
    return dgf_parse_u64(dgf_bytes_str(text), ret) && *ret >= min && *ret <= max;
}

int main(int argc, char **argv)
{
    char folder[] = "/var/tmp/dgf-bench-XXXXXX";
    bool ok = true;
    pid_t child;
    int option;

    if (argc == 4 && strcmp(argv[1], "--make") == 0 &&
        number(argv[3], 1, UINT32_MAX, &n_records)) {
        (void)make(argv[2], n_records);
        print_key();
        return EXIT_SUCCESS;
    }
    while ((option = getopt(argc, argv, "n:r:l:")) != -1) {
        if (option == 'n')
            ok = ok && number(optarg, 1, UINT32_MAX, &n_records);
        else if (option == 'r')
            ok = ok && number(optarg, 1, MAX_RUNS, &n_runs);
        else
            ok = ok && option == 'l' && number(optarg, 420, 600, &line_bytes);
    }
    if (!ok || optind < argc || !mkdtemp(folder)) {
        fprintf(stderr,
                "usage: bench_archive [-n RECORDS] [-r RUNS] [-l LINE_BYTES]\n");
        return EXIT_FAILURE;
    }
    dir = folder;
    child = fork(); /* its memory is not that of verifying */
    if (child == 0) {
        double ratio = make(folder, n_records);

        printf("{\"what\":\"archive: zstd, plain to packed bytes\",\"ours\":%.2f}\n",
               ratio);
        (void)fflush(stdout);
        _exit(0);
    }
    while (waitpid(child, NULL, 0) < 0)
        ;
    report("verify", verify, TESSERA_VERIFY);
    report("unpack alone", unpack, 0);
    report("unpack and scan JSON", scan, 0);
    (void)nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return EXIT_SUCCESS;
}
