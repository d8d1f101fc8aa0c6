/* file_slurp.c - a whole small file; pipes and /dev/stdin too. */
#include "config.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static enum dgf_rc read_all(int fd, const char *path, size_t max, struct dgf_buf *buf,
                            struct dgf_err *err)
{
    size_t before = buf->len;

    for (;;) {
        size_t left = buf->max - buf->len;
        uint8_t beyond, *to = &beyond;
        ssize_t n;

        if (left > 0)
            to = dgf_buf_room(buf, left < 4096 ? left : 4096);
        if (!to)
            return dgf_err_set(err, DGF_NOMEM, "cannot read '%s': out of memory", path);
        n = read(fd, to, left > 0 ? buf->cap - buf->len : 1);
        if (n == 0)
            return DGF_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dgf_err_set(err, errno == EISDIR ? DGF_BAD_CONFIG : DGF_FATAL,
                               "cannot read '%s': %s", path, dgf_errno_text(errno));
        if (left > 0)
            buf->len += (size_t)n;
        if (left == 0 || buf->len - before > max)
            return dgf_err_set(err, DGF_BAD_DATA,
                               "cannot read '%s': larger than %zu bytes", path,
                               left > 0 ? max : buf->len - before);
    }
}

enum dgf_rc dgf_file_slurp(const char *path, size_t max, struct dgf_buf *ret,
                           struct dgf_err *err)
{
    size_t before = ret->len;
    enum dgf_rc rc;
    int fd;

    do {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return dgf_err_set(err, DGF_BAD_CONFIG, "cannot read '%s': %s", path,
                           dgf_errno_text(errno));
    rc = read_all(fd, path, max, ret, err);
    (void)close(fd);
    if (rc)
        ret->len = before;
    return rc;
}
