#include "base/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#include "unit.h"

/* A folder of its own for each test, so that none sees another's files. */
static char folder[] = "/tmp/dgf-test-file-XXXXXX";
static struct dgf_err err;

static const char *in_folder(const char *name)
{
    static char paths[4][100];
    static unsigned turn;

    if (strstr(folder, "XXXXXX"))
        ck_assert_ptr_nonnull(mkdtemp(folder));
    turn = (turn + 1) % 4;
    (void)snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", folder, name);
    return paths[turn];
}

static int remove_one(const char *path, const struct stat *stat, int kind,
                      struct FTW *at)
{
    (void)stat;
    (void)kind;
    (void)at;
    return remove(path);
}

static void remove_folder(void)
{
    ck_assert_int_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

START_TEST(what_was_written_is_read_and_the_end_is_short)
{
    const char *path = in_folder("a");
    struct dgf_file *file;
    char text[20];
    uint64_t size;
    size_t n;

    ck_assert_int_eq(dgf_file_open(path, DGF_FILE_CREATE, &file, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_write(file, 0, DGF_BYTES("hello world"), &err), DGF_OK);
    ck_assert_int_eq(dgf_file_write(file, 6, DGF_BYTES("there"), &err), DGF_OK);
    ck_assert_int_eq(dgf_file_sync(file, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_read(file, 0, text, sizeof(text), &n, &err), DGF_OK);
    ck_assert_uint_eq(n, 11);
    ck_assert_mem_eq(text, "hello there", 11);
    ck_assert_int_eq(dgf_file_read(file, 100, text, sizeof(text), &n, &err), DGF_OK);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(dgf_file_truncate(file, 5, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_size(file, &size, &err), DGF_OK);
    ck_assert_uint_eq(size, 5);
    dgf_file_close(file);
    dgf_file_close(NULL);
    remove_folder();
}
END_TEST

START_TEST(a_new_file_is_ours_alone_and_must_be_new)
{
    const char *path = in_folder("a");
    struct dgf_file *file;
    struct stat st;
    char text[200];

    ck_assert_int_eq(dgf_file_open(path, DGF_FILE_CREATE, &file, &err), DGF_OK);
    dgf_file_close(file);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(dgf_file_open(path, DGF_FILE_CREATE, &file, &err), DGF_FATAL);
    (void)snprintf(text, sizeof(text), "cannot create '%s': File exists", path);
    ck_assert_str_eq(err.text, text);
    remove_folder();
}
END_TEST

START_TEST(a_file_that_is_not_there_is_for_a_person_to_mend)
{
    struct dgf_file *file;
    struct dgf_buf buf;

    ck_assert_int_eq(dgf_file_open("/nowhere/x", DGF_FILE_READ, &file, &err),
                     DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "cannot open '/nowhere/x': No such file or directory");
    dgf_buf_init(&buf, 100);
    ck_assert_int_eq(dgf_file_slurp("/nowhere/x", 100, &buf, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "cannot read '/nowhere/x': No such file or directory");
    ck_assert(!dgf_file_exists("/nowhere/x"));
    ck_assert(dgf_file_exists("/tmp"));
}
END_TEST

START_TEST(reserved_space_does_not_change_the_size)
{
    struct dgf_file *file;
    uint64_t size = 7;

    ck_assert_int_eq(dgf_file_open(in_folder("a"), DGF_FILE_CREATE, &file, &err),
                     DGF_OK);
    ck_assert_int_eq(dgf_file_reserve(file, 0, 100000, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_reserve(file, 0, 0, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_size(file, &size, &err), DGF_OK);
    ck_assert_uint_eq(size, 0);
    ck_assert_int_eq(dgf_file_reserve(file, UINT64_MAX, 2, &err), DGF_FATAL);
    dgf_file_close(file);
    remove_folder();
}
END_TEST

START_TEST(more_space_than_there_is_means_wait)
{
    struct dgf_file *file;

    ck_assert_int_eq(dgf_file_open(in_folder("a"), DGF_FILE_CREATE, &file, &err),
                     DGF_OK);
    ck_assert_int_eq(dgf_file_reserve(file, 0, 1ull << 43, &err), DGF_AGAIN);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot reserve space for '"));
    dgf_file_close(file);
    remove_folder();
}
END_TEST

START_TEST(a_slurped_file_is_whole_or_refused)
{
    const char *path = in_folder("a");
    struct dgf_buf buf;
    char text[200];

    ck_assert_int_eq(dgf_file_replace(path, DGF_BYTES("12345678"), 0640, &err), DGF_OK);
    dgf_buf_init(&buf, 9);
    dgf_buf_add_str(&buf, ">");
    ck_assert_int_eq(dgf_file_slurp(path, 8, &buf, &err), DGF_OK);
    ck_assert_uint_eq(buf.len, 9);
    ck_assert_mem_eq(buf.ptr, ">12345678", 9);
    dgf_buf_release(&buf);
    dgf_buf_init(&buf, 100);
    ck_assert_int_eq(dgf_file_slurp(path, 7, &buf, &err), DGF_BAD_DATA);
    (void)snprintf(text, sizeof(text), "cannot read '%s': larger than 7 bytes", path);
    ck_assert_str_eq(err.text, text);
    ck_assert_uint_eq(buf.len, 0);
    dgf_buf_release(&buf);
    dgf_buf_init(&buf, 5);
    ck_assert_int_eq(dgf_file_slurp(path, 100, &buf, &err), DGF_BAD_DATA);
    dgf_buf_release(&buf);
    remove_folder();
}
END_TEST

START_TEST(a_replaced_file_has_the_new_content_and_mode_and_leaves_no_trace)
{
    const char *path = in_folder("a"), *tmp = in_folder("a.tmp");
    struct dgf_buf buf;
    struct stat st;

    ck_assert_int_eq(dgf_file_replace(path, DGF_BYTES("old"), 0600, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_replace(tmp, DGF_BYTES("left by a crash"), 0400, &err),
                     DGF_OK);
    ck_assert_int_eq(dgf_file_replace(path, DGF_BYTES("new"), 0640, &err), DGF_OK);
    dgf_buf_init(&buf, 100);
    ck_assert_int_eq(dgf_file_slurp(path, 100, &buf, &err), DGF_OK);
    ck_assert_str_eq(dgf_buf_str(&buf), "new");
    dgf_buf_release(&buf);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    ck_assert(!dgf_file_exists(tmp));
    remove_folder();
}
END_TEST

static void note_name(void *ctx, const char *name)
{
    *(unsigned *)ctx += strcmp(name, "one") == 0   ? 1
                        : strcmp(name, "two") == 0 ? 10
                                                   : 100;
}

START_TEST(a_folder_is_made_listed_and_synced)
{
    const char *path = in_folder("d");
    struct stat st;
    unsigned seen = 0;

    ck_assert_int_eq(dgf_dir_make(path, &err), DGF_OK);
    ck_assert_int_eq(dgf_dir_make(path, &err), DGF_OK);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0700);
    ck_assert_int_eq(dgf_file_replace(in_folder("d/one"), DGF_BYTES(""), 0600, &err),
                     DGF_OK);
    ck_assert_int_eq(dgf_dir_make(in_folder("d/two"), &err), DGF_OK);
    ck_assert_int_eq(dgf_dir_make(in_folder("d/one"), &err), DGF_BAD_CONFIG);
    ck_assert_int_eq(dgf_dir_sync(path, &err), DGF_OK);
    ck_assert_int_eq(dgf_dir_list(path, note_name, &seen, &err), DGF_OK);
    ck_assert_uint_eq(seen, 11);
    ck_assert_int_eq(dgf_dir_list("/nowhere", note_name, &seen, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "cannot list '/nowhere': No such file or directory");
    remove_folder();
}
END_TEST

START_TEST(a_file_is_renamed_and_removed)
{
    const char *from = in_folder("a"), *to = in_folder("b");

    ck_assert_int_eq(dgf_file_replace(from, DGF_BYTES("x"), 0600, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_rename(from, to, &err), DGF_OK);
    ck_assert(!dgf_file_exists(from));
    ck_assert_int_eq(dgf_file_remove(to, &err), DGF_OK);
    ck_assert_int_eq(dgf_file_remove(to, &err), DGF_FATAL);
    remove_folder();
}
END_TEST

START_TEST(a_lock_has_one_owner_and_says_who)
{
    const char *path = in_folder("lock");
    struct dgf_lock *lock = NULL, *second = NULL;
    int pid = -1, status;
    char text[200];
    pid_t child;

    ck_assert_int_eq(dgf_lock_take(path, &lock, &pid, &err), DGF_OK);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(dgf_lock_take(path, &second, &pid, &err) == DGF_AGAIN && pid == getppid()
                  ? 0
                  : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(dgf_lock_take(path, &second, &pid, &err), DGF_AGAIN);
    ck_assert_int_eq(pid, getpid());
    (void)snprintf(text, sizeof(text), "cannot lock '%s': process %d has it", path,
                   pid);
    ck_assert_str_eq(err.text, text);
    dgf_lock_free(lock);
    dgf_lock_free(NULL);
    ck_assert_int_eq(dgf_lock_take(path, &second, &pid, &err), DGF_OK);
    dgf_lock_free(second);
    remove_folder();
}
END_TEST

START_TEST(a_lock_whose_owner_left_no_name_is_still_taken)
{
    const char *path = in_folder("lock");
    struct dgf_lock *lock = NULL, *second = NULL;
    char text[200];
    int pid = -1;

    ck_assert_int_eq(dgf_lock_take(path, &lock, &pid, &err), DGF_OK);
    ck_assert_int_eq(truncate(path, 0), 0);
    ck_assert_int_eq(dgf_lock_take(path, &second, &pid, &err), DGF_AGAIN);
    ck_assert_int_eq(pid, 0);
    (void)snprintf(text, sizeof(text), "cannot lock '%s': another process has it",
                   path);
    ck_assert_str_eq(err.text, text);
    dgf_lock_free(lock);
    remove_folder();
}
END_TEST

START_TEST(the_clocks_run_forward_and_the_wall_clock_is_in_this_century)
{
    int64_t first = dgf_clock_mono_ns();

    ck_assert_int_gt(dgf_clock_ns(), 1500000000000000000);
    ck_assert_int_ge(dgf_clock_mono_ns(), first);
    dgf_crash_point("nothing_happens");
}
END_TEST

DGF_UNIT(file, what_was_written_is_read_and_the_end_is_short,
         a_new_file_is_ours_alone_and_must_be_new,
         a_file_that_is_not_there_is_for_a_person_to_mend,
         reserved_space_does_not_change_the_size, more_space_than_there_is_means_wait,
         a_slurped_file_is_whole_or_refused,
         a_replaced_file_has_the_new_content_and_mode_and_leaves_no_trace,
         a_folder_is_made_listed_and_synced, a_file_is_renamed_and_removed,
         a_lock_has_one_owner_and_says_who,
         a_lock_whose_owner_left_no_name_is_still_taken,
         the_clocks_run_forward_and_the_wall_clock_is_in_this_century)
