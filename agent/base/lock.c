/* lock.c - one agent a data directory: flock, with the owner's pid inside. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"

struct dgf_lock {
    int fd;
};

static int read_pid(int fd)
{
    char text[16];
    ssize_t n = pread(fd, text, sizeof(text), 0);
    uint64_t pid;

    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n <= 0 || !dgf_parse_u64(dgf_bytes_of(text, (size_t)n), &pid) ||
        pid > INT32_MAX)
        return 0;
    return (int)pid;
}

/* Who only asks whether it is held lets go of it at once. */
enum { TRIES = 5, TRY_MS = 20 };

static int try_lock(int fd, int how)
{
    int failed;

    do {
        failed = flock(fd, how | LOCK_NB);
    } while (failed && errno == EINTR);
    return failed;
}

static enum dgf_rc lock_fd(int fd, const char *path, int *ret_pid, struct dgf_err *err)
{
    char text[16];
    int len, failed = try_lock(fd, LOCK_EX);

    for (int i = 1; i < TRIES && failed && errno == EWOULDBLOCK; i++) {
        (void)poll(NULL, 0, TRY_MS);
        failed = try_lock(fd, LOCK_EX);
    }
    if (failed && errno == EWOULDBLOCK) {
        *ret_pid = read_pid(fd);
        return *ret_pid
                   ? dgf_err_set(err, DGF_AGAIN, "cannot lock '%s': process %d has it",
                                 path, *ret_pid)
                   : dgf_err_set(err, DGF_AGAIN,
                                 "cannot lock '%s': another process has it", path);
    }
    if (failed)
        return dgf_err_set(err, DGF_FATAL, "cannot lock '%s': %s", path,
                           dgf_errno_text(errno));
    len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    /* The pid is for people; a full disk must not keep us from starting. */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) != len)
        (void)!ftruncate(fd, 0);
    return DGF_OK;
}

enum dgf_rc dgf_lock_take(const char *path, struct dgf_lock **ret, int *ret_pid,
                          struct dgf_err *err)
{
    struct dgf_lock *lock = dgf_malloc(sizeof(*lock));
    enum dgf_rc rc;

    if (!lock)
        return dgf_err_set(err, DGF_NOMEM, "cannot lock '%s': out of memory", path);
    lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock->fd < 0) {
        rc = dgf_err_set(err, DGF_BAD_CONFIG, "cannot lock '%s': %s", path,
                         dgf_errno_text(errno));
        dgf_free(lock);
        return rc;
    }
    rc = lock_fd(lock->fd, path, ret_pid, err);
    if (rc) {
        dgf_lock_free(lock);
        return rc;
    }
    *ret = lock;
    return DGF_OK;
}

/* The file stays: removing it could take the lock from under the next owner. */
void dgf_lock_free(struct dgf_lock *lock)
{
    if (!lock)
        return;
    (void)close(lock->fd);
    dgf_free(lock);
}

bool dgf_lock_held(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool held = fd < 0 ? errno != ENOENT : try_lock(fd, LOCK_SH) != 0;

    if (fd >= 0)
        (void)close(fd);
    return held;
}
