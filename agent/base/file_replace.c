/* file_replace.c - a new content for a whole file, or the old one. */
#include "config.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static int write_all(int fd, struct dgf_bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            bytes = dgf_bytes_of(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return 0;
}

static enum dgf_rc write_new(const char *path, struct dgf_bytes bytes, unsigned mode,
                             struct dgf_err *err)
{
    int fd, failed, cause;

    /* What a crash left behind may have other rights. */
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    failed = fd < 0 || fchmod(fd, mode) || write_all(fd, bytes) || fsync(fd);
    cause = errno;
    if (fd >= 0)
        failed |= close(fd) != 0;
    if (!failed)
        return DGF_OK;
    if (fd >= 0)
        (void)unlink(path);
    return dgf_err_set(err, cause == ENOSPC || cause == EDQUOT ? DGF_AGAIN : DGF_FATAL,
                       "cannot write '%s': %s", path, dgf_errno_text(cause));
}

enum dgf_rc dgf_file_replace(const char *path, struct dgf_bytes bytes, unsigned mode,
                             struct dgf_err *err)
{
    const char *slash = strrchr(path, '/');
    DGF_CLEANUP(dgf_free) char *folder = NULL;
    DGF_CLEANUP(dgf_free) char *tmp = dgf_malloc(strlen(path) + sizeof(".tmp"));
    enum dgf_rc rc;

    if (!slash)
        folder = dgf_strdup(".");
    else /* of "/x" the folder is "/" */
        folder = dgf_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!tmp || !folder)
        return dgf_err_set(err, DGF_NOMEM, "cannot write '%s': out of memory", path);
    memcpy(tmp, path, strlen(path));
    memcpy(tmp + strlen(path), ".tmp", sizeof(".tmp"));
    rc = write_new(tmp, bytes, mode, err);
    if (rc)
        return rc;
    rc = dgf_file_rename(tmp, path, err);
    if (rc) {
        (void)unlink(tmp);
        return rc;
    }
    return dgf_dir_sync(folder, err);
}
