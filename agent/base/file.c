#include "config.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

struct dgf_file {
    int fd;
    char path[]; /* for texts */
};

static bool is_no_space(int cause)
{
    return cause == ENOSPC || cause == EDQUOT;
}

/* Sets "cannot <verb> '<path>': <cause>" from errno. */
static enum dgf_rc fail(struct dgf_err *err, enum dgf_rc rc, const char *verb,
                        const char *path)
{
    int cause = errno;

    return dgf_err_set(err, rc, "cannot %s '%s': %s", verb, path,
                       dgf_errno_text(cause));
}

/* What is wrong with a path is a person's to mend; the rest is the disk. */
static enum dgf_rc open_rc(int cause)
{
    switch (cause) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case EROFS:
        return DGF_BAD_CONFIG;
    default:
        return is_no_space(cause) ? DGF_AGAIN : DGF_FATAL;
    }
}

enum dgf_rc dgf_file_open(const char *path, enum dgf_file_mode mode,
                          struct dgf_file **ret, struct dgf_err *err)
{
    static const int flags[] = {
        [DGF_FILE_READ] = O_RDONLY,
        [DGF_FILE_WRITE] = O_RDWR,
        [DGF_FILE_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    size_t len = strlen(path) + 1;
    struct dgf_file *file = dgf_malloc(sizeof(*file) + len);

    if (!file)
        return dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory", path);
    memcpy(file->path, path, len);
    do {
        file->fd = open(path, flags[mode] | O_CLOEXEC, 0600);
    } while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0) {
        enum dgf_rc rc = fail(err, open_rc(errno),
                              mode == DGF_FILE_CREATE ? "create" : "open", path);

        dgf_free(file);
        return rc;
    }
    *ret = file;
    return DGF_OK;
}

void dgf_file_close(struct dgf_file *file)
{
    if (!file)
        return;
    (void)close(file->fd);
    dgf_free(file);
}

/* offset + len as the system's signed type. */
static bool fits(uint64_t offset, uint64_t len)
{
    uint64_t end;

    return !__builtin_add_overflow(offset, len, &end) && end <= INT64_MAX;
}

enum dgf_rc dgf_file_read(struct dgf_file *file, uint64_t offset, void *ptr, size_t len,
                          size_t *ret_len, struct dgf_err *err)
{
    size_t done = 0;

    if (!fits(offset, len))
        return dgf_err_set(err, DGF_FATAL, "cannot read '%s': offset is too large",
                           file->path);
    while (done < len) {
        ssize_t n =
            pread(file->fd, (char *)ptr + done, len - done, (off_t)(offset + done));

        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return fail(err, DGF_FATAL, "read", file->path);
    }
    *ret_len = done;
    return DGF_OK;
}

enum dgf_rc dgf_file_write(struct dgf_file *file, uint64_t offset,
                           struct dgf_bytes bytes, struct dgf_err *err)
{
    size_t done = 0;

    if (!fits(offset, bytes.len))
        return dgf_err_set(err, DGF_FATAL, "cannot write '%s': offset is too large",
                           file->path);
    while (done < bytes.len) {
        ssize_t n = pwrite(file->fd, bytes.ptr + done, bytes.len - done,
                           (off_t)(offset + done));

        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return fail(err, DGF_FATAL, "write", file->path);
    }
    return DGF_OK;
}

enum dgf_rc dgf_file_sync(struct dgf_file *file, struct dgf_err *err)
{
    int failed;

    do {
        failed = fdatasync(file->fd);
    } while (failed && errno == EINTR);
    return failed ? fail(err, DGF_FATAL, "sync", file->path) : DGF_OK;
}

/* A file system without fallocate: the free space is all there is to ask. */
static enum dgf_rc look_for_space(struct dgf_file *file, uint64_t len,
                                  struct dgf_err *err)
{
    struct statvfs fs;

    if (fstatvfs(file->fd, &fs))
        return fail(err, DGF_FATAL, "reserve space for", file->path);
    if (len / fs.f_frsize >= fs.f_bavail) {
        errno = ENOSPC;
        return fail(err, DGF_AGAIN, "reserve space for", file->path);
    }
    return DGF_OK;
}

enum dgf_rc dgf_file_reserve(struct dgf_file *file, uint64_t offset, uint64_t len,
                             struct dgf_err *err)
{
    int failed;

    if (len == 0)
        return DGF_OK;
    if (!fits(offset, len))
        return dgf_err_set(err, DGF_FATAL,
                           "cannot reserve space for '%s': offset is too large",
                           file->path);
    do { /* the size stays, so that recovery sees written bytes only */
        failed = fallocate(file->fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
    } while (failed && errno == EINTR);
    if (failed && errno == EOPNOTSUPP)
        return look_for_space(file, len, err);
    if (failed)
        return fail(err, is_no_space(errno) ? DGF_AGAIN : DGF_FATAL,
                    "reserve space for", file->path);
    return DGF_OK;
}

enum dgf_rc dgf_file_size(struct dgf_file *file, uint64_t *ret, struct dgf_err *err)
{
    struct stat st;

    if (fstat(file->fd, &st))
        return fail(err, DGF_FATAL, "look at", file->path);
    *ret = (uint64_t)st.st_size;
    return DGF_OK;
}

enum dgf_rc dgf_file_truncate(struct dgf_file *file, uint64_t size, struct dgf_err *err)
{
    int failed;

    do {
        failed = ftruncate(file->fd, (off_t)size);
    } while (failed && errno == EINTR);
    return failed ? fail(err, DGF_FATAL, "truncate", file->path) : DGF_OK;
}

enum dgf_rc dgf_file_remove(const char *path, struct dgf_err *err)
{
    return unlink(path) ? fail(err, DGF_FATAL, "remove", path) : DGF_OK;
}

enum dgf_rc dgf_file_rename(const char *from, const char *to, struct dgf_err *err)
{
    if (!rename(from, to))
        return DGF_OK;
    return fail(err, is_no_space(errno) ? DGF_AGAIN : DGF_FATAL, "rename", from);
}

bool dgf_file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

enum dgf_rc dgf_dir_make(const char *path, struct dgf_err *err)
{
    struct stat st;

    if (!mkdir(path, 0700))
        return DGF_OK;
    if (errno == EEXIST) {
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
            return DGF_OK;
        errno = ENOTDIR;
    }
    return fail(err, open_rc(errno), "create folder", path);
}

enum dgf_rc dgf_dir_sync(const char *path, struct dgf_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), failed;
    enum dgf_rc rc;

    if (fd < 0)
        return fail(err, DGF_FATAL, "sync folder", path);
    do {
        failed = fsync(fd);
    } while (failed && errno == EINTR);
    rc = failed ? fail(err, DGF_FATAL, "sync folder", path) : DGF_OK;
    (void)close(fd);
    return rc;
}

enum dgf_rc dgf_dir_list(const char *path, void (*visit)(void *ctx, const char *name),
                         void *ctx, struct dgf_err *err)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int cause;

    if (!dir)
        return fail(err, open_rc(errno), "list", path);
    errno = 0;
    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(ctx, entry->d_name);
        errno = 0; /* the end and a failure look alike otherwise */
    }
    cause = errno;
    (void)closedir(dir);
    errno = cause;
    return cause ? fail(err, DGF_FATAL, "list", path) : DGF_OK;
}
