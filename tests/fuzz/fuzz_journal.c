/* fuzz_journal.c - recovery, readers and the verifier over hostile segments.
 *
 * Input: a mode byte, then the bytes of 0.j; with TWO set, a u16 length goes
 * first and what is behind it is a second segment, <mode >> 4>.j.  With MEND
 * set all checksums, counts and roots are made right first: without that no
 * mutation would get past the first CRC.
 *
 * Whatever the bytes: no crash, and what recovery accepts is a prefix that it
 * accepts again, that every reader gives and that the verifier calls ok. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/journal.h"
#include "ledger/reader.h"
#include "ledger/verify.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

enum { MEND = 1, TWO = 2 };

static char dir[64];

static void need(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "fuzz_journal: %s\n", what);
        abort();
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

static void remove_folder(void)
{
    (void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[80];

    (void)argc;
    (void)argv;
    (void)snprintf(dir, sizeof(dir), "%s/dgf-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    need(mkdtemp(dir) != NULL, "cannot make a folder");
    (void)snprintf(path, sizeof(path), "%s/journal", dir);
    need(mkdir(path, 0700) == 0, "cannot make a folder");
    (void)atexit(remove_folder);
    return 0;
}

/* Frames as their lengths say; CRCs, counts, sizes and roots as they must be. */
static void mend(uint8_t *p, size_t len)
{
    uint32_t n_frames = 0, chain = 0;
    struct dgf_tree tree;
    size_t at = 0;

    dgf_tree_init(&tree);
    while (len - at > DGF_FRAME_OVERHEAD) {
        size_t n = dgf_le32_at(p + at);
        uint8_t *payload = p + at + DGF_FRAME_HEAD_LEN, hash[DGF_SHA256_LEN];
        struct dgf_leaf_frame leaf;
        struct dgf_head head;

        if (n > len - at - DGF_FRAME_OVERHEAD)
            return;
        if (payload[-1] == DGF_FRAME_HEAD &&
            dgf_frame_get_head(dgf_bytes_of(payload, n), &head) &&
            dgf_segment_head_rest(&head, &tree, NULL))
            dgf_tree_init(&tree);
        if (payload[-1] == DGF_FRAME_LEAF &&
            dgf_frame_get_leaf(dgf_bytes_of(payload, n), &leaf)) {
            dgf_sha256_leaf(leaf.line, hash);
            dgf_tree_append(&tree, hash);
        }
        if (payload[-1] == DGF_FRAME_COMMIT && n >= DGF_COMMIT_MIN) {
            dgf_le32_set(payload + 32, (uint32_t)tree.size);
            dgf_le32_set(payload + 36, (uint32_t)(tree.size >> 32));
            dgf_tree_root(&tree, payload + DGF_COMMIT_ROOT_AT);
            dgf_le32_set(payload + DGF_COMMIT_CHAIN_AT - 4, n_frames);
            dgf_le32_set(payload + DGF_COMMIT_CHAIN_AT, chain);
        }
        n_frames++;
        chain = dgf_frame_chain(chain, dgf_frame_seal(p + at, n + DGF_FRAME_OVERHEAD));
        if (payload[-1] == DGF_FRAME_COMMIT || payload[-1] == DGF_FRAME_HEAD)
            n_frames = chain = 0;
        at += n + DGF_FRAME_OVERHEAD;
    }
}

static void write_segment(uint64_t first, const uint8_t *ptr, size_t len, bool mended)
{
    char path[DGF_PATH_MAX];
    uint8_t *copy = malloc(len ? len : 1);
    FILE *file;

    need(copy != NULL, "out of memory");
    if (len > 0)
        memcpy(copy, ptr, len);
    if (mended)
        mend(copy, len);
    dgf_segment_path(path, dir, first);
    file = fopen(path, "wb");
    need(file && fwrite(copy, 1, len, file) == len && fclose(file) == 0,
         "cannot write");
    free(copy);
}

/* How many leaves a cold reader gives; *ret_rc is how it ended. */
static uint64_t read_all(uint64_t from, enum dgf_rc *ret_rc)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_leaf leaf;
    struct dgf_err err;
    uint64_t n = 0;

    *ret_rc = dgf_ledger_reader_open_cold(dir, from, &reader, &err);
    while (!*ret_rc) {
        *ret_rc = dgf_ledger_reader_next(reader, &leaf, &err);
        if (!*ret_rc)
            need(leaf.index == from + n++, "a reader skips an index");
    }
    dgf_ledger_reader_free(reader);
    return n;
}

/* Recovers twice, with the cut between; the second time nothing is cut. */
static void recover_and_compare(struct dgf_segments *segments)
{
    struct dgf_journal one, two;
    struct dgf_ledger_cut cut = {0};
    struct dgf_verification verdict;
    struct dgf_marks marks;
    struct dgf_err err;
    enum dgf_rc rc;
    uint64_t n;

    dgf_marks_init(&marks);
    dgf_journal_init(&one, dir, 0);
    dgf_journal_init(&two, dir, 0);
    rc = dgf_journal_recover(&one, segments, &marks, &cut, &err);
    if (!rc) {
        need(dgf_journal_trim(&one, &err) == DGF_OK, "cannot trim");
        need(dgf_journal_recover(&two, segments, &marks, &cut, &err) == DGF_OK,
             "what was accepted is not accepted again");
        need(cut.bytes == 0 && one.end == two.end && one.batch == two.batch &&
                 one.tree.size == two.tree.size,
             "a second recovery finds something else");
        n = read_all(segments->at[0].first, &rc);
        need(segments->n > 1 || (rc == DGF_AGAIN && n == one.tree.size - one.first),
             "a reader does not give what was recovered");
        need(dgf_ledger_verify(dir, &verdict, &err) == DGF_OK, "cannot verify");
        need(segments->n > 1 || verdict.result == DGF_VERIFIED_OK ||
                 strcmp(verdict.class, "seq") == 0,
             "what was recovered does not verify");
    }
    dgf_journal_release(&one);
    dgf_journal_release(&two);
    dgf_marks_release(&marks);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_ledger_summary summary;
    struct dgf_segments segments;
    struct dgf_verification verdict;
    struct dgf_err err;
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;
    uint8_t mode;

    if (len < 3 || len > 1 << 20)
        return 0;
    mode = *ptr++;
    len--;
    if (mode & TWO) {
        size_t n = ptr[0] | (size_t)ptr[1] << 8;

        ptr += 2;
        len -= 2;
        n = n < len ? n : len;
        write_segment(0, ptr, n, mode & MEND);
        write_segment(1 + (mode >> 4), ptr + n, len - n, mode & MEND);
    } else {
        write_segment(0, ptr, len, mode & MEND);
    }
    (void)!dgf_ledger_verify(dir, &verdict, &err);
    if (dgf_ledger_summarize(dir, &summary, &err) == DGF_OK)
        dgf_ledger_summary_release(&summary);
    (void)read_all(0, &rc);
    dgf_segments_init(&segments);
    if (dgf_segments_load(&segments, dir, false, NULL, &err) == DGF_OK)
        recover_and_compare(&segments);
    dgf_segments_release(&segments);
    if (mode & TWO) {
        dgf_segment_path(path, dir, 1 + (mode >> 4));
        (void)unlink(path);
    }
    return 0;
}
