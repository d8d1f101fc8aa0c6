/* sink_file.c - records as lines of JSON, to a file or to standard output.
 *
 * A regular file gets every record exactly once: its last whole line says
 * which record comes next, and a torn line after it is cut off.  Writing and
 * fdatasync happen on a worker, one batch at a time.  Pipes and terminals are
 * written when they are ready and promise no more than at least once. */
#include "bus/sink.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/file.h"
#include "base/worker.h"

#define BATCH_MAX_BYTES (1u << 20) /* then offer says DGF_AGAIN */
#define LINE_MAX_BYTES (DGF_RECORD_MAX_BYTES + 1)
#define CURSOR_VERSION 1

struct file_conf {
    struct dgf_sink_conf base;
    char *path;
};

struct file_sink {
    struct dgf_sink base;
    int fd; /* -1 while closed; 1 for "-" */
    bool regular;
    uint64_t size;        /* regular: end of the last whole line on its way or there */
    struct dgf_buf lines; /* collected, not yet handed to a write */
    struct dgf_buf cursor;
    uint64_t next; /* index after the last record offered */
    uint64_t reported;
    struct file_write *write; /* regular: on its way; NULL: none */
    struct event *ready;      /* streams: writable again */
    size_t written;           /* streams: of lines */
    bool compare;             /* the first record must be the file's last line */
    struct dgf_buf last;      /* that line */
    bool blocked, failed;
};

/* A batch on its way to a regular file; outlives a close of the sink. */
struct file_write {
    struct dgf_job job;
    struct file_sink *owner; /* NULL: closed meanwhile */
    int fd;                  /* owned once there is no owner */
    struct dgf_buf lines;
    uint64_t offset, next;
    int error;
    const char *step;
};

static const struct dgf_opt file_opts[] = {
    {.name = "path",
     .type = DGF_OPT_STR,
     .offset = offsetof(struct file_conf, path),
     .flags = DGF_REQUIRED,
     .help = "file to append to; - is standard output",
     .example = "/var/log/dgf/records.ndjson"},
    DGF_SINK_OPTS(struct file_conf),
    DGF_OPT_END,
};

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash > path ? dgf_strndup(path, (size_t)(slash - path))
                                 : dgf_strdup(slash ? "/" : ".");
}

static struct file_sink *self_of(struct dgf_sink *sink)
{
    return (struct file_sink *)sink;
}

static const char *path_of(const struct file_sink *self)
{
    return ((const struct file_conf *)self->base.conf)->path;
}

static void fail(struct file_sink *self, enum dgf_rc rc, const char *what, int error)
{
    if (self->failed)
        return;
    self->failed = true;
    dgf_sink_fail(&self->base, rc, "cannot %s '%s': %s", what, path_of(self),
                  strerrordesc_np(error));
}

static void file_validate(const void *conf, const char *what, struct dgf_mark mark,
                          struct dgf_findings *findings)
{
    dgf_select_validate(&((const struct file_conf *)conf)->base.select, what, mark,
                        findings);
}

/* ---- cursor: u8 version, u64 next, log id ---- */

static void report(struct file_sink *self, uint64_t next)
{
    if (next == self->reported)
        return;
    dgf_buf_clear(&self->cursor);
    dgf_buf_add_byte(&self->cursor, CURSOR_VERSION);
    dgf_buf_add_le64(&self->cursor, next);
    dgf_buf_add_str(&self->cursor, self->base.log_id);
    if (dgf_buf_rc(&self->cursor))
        return;
    self->reported = next;
    dgf_sink_durable(&self->base, next, dgf_buf_bytes(&self->cursor));
}

/* False: no cursor of this log. */
static bool read_cursor(const struct file_sink *self, struct dgf_bytes cursor,
                        uint64_t *ret)
{
    struct dgf_rd rd = dgf_rd_of(cursor);
    uint8_t version = dgf_rd_u8(&rd);
    uint64_t next = dgf_rd_le64(&rd);

    if (rd.bad || version != CURSOR_VERSION ||
        !dgf_bytes_eq(dgf_rd_bytes(&rd, dgf_rd_left(&rd)),
                      dgf_bytes_str(self->base.log_id)))
        return false;
    *ret = next;
    return true;
}

static void unblock(struct file_sink *self)
{
    if (!self->blocked || self->failed || self->lines.len > BATCH_MAX_BYTES / 2)
        return;
    self->blocked = false;
    dgf_sink_room(&self->base);
}

/* ---- regular files ---- */

static void write_run(struct dgf_job *job)
{
    struct file_write *write = (struct file_write *)job;
    size_t at = 0;

    write->step = "write";
    while (at < write->lines.len) {
        ssize_t n = pwrite(write->fd, write->lines.ptr + at, write->lines.len - at,
                           (off_t)(write->offset + at));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            write->error = n < 0 ? errno : ENOSPC;
            break;
        }
        at += (size_t)n;
    }
    if (!write->error && fdatasync(write->fd) != 0) {
        write->error = errno;
        write->step = "sync";
    }
    /* What was not synced must not look written to whoever opens next. */
    if (write->error && ftruncate(write->fd, (off_t)write->offset) != 0)
        write->step = "cut back";
}

static void free_write(struct file_write *write)
{
    dgf_buf_release(&write->lines);
    if (!write->owner && write->fd >= 0)
        close(write->fd);
    dgf_free(write);
}

static void start_write(struct file_sink *self);

static void write_done(struct dgf_job *job)
{
    struct file_write *write = (struct file_write *)job;
    struct file_sink *self = write->owner;

    if (self) {
        self->write = NULL;
        if (!write->step)
            write->error = ECANCELED; /* the workers ended first */
        if (write->error)
            fail(self, DGF_RETRY, write->step ? write->step : "write", write->error);
        else
            report(self, write->next);
    }
    free_write(write);
    if (self && !self->failed) {
        start_write(self);
        unblock(self);
    }
}

static void start_write(struct file_sink *self)
{
    struct file_write *write;

    if (self->write || self->failed || self->lines.len == 0)
        return;
    write = dgf_calloc(1, sizeof(*write));
    if (!write) {
        fail(self, DGF_RETRY, "write", ENOMEM);
        return;
    }
    *write = (struct file_write){.job = {.run = write_run, .done = write_done},
                                 .owner = self,
                                 .fd = self->fd,
                                 .lines = self->lines,
                                 .offset = self->size,
                                 .next = self->next};
    self->size += self->lines.len;
    dgf_buf_init(&self->lines, BATCH_MAX_BYTES + LINE_MAX_BYTES);
    self->write = write;
    dgf_workers_submit(self->base.workers, &write->job);
}

/* {"v":1,"seq":1042,... */
static bool line_seq(struct dgf_bytes line, uint64_t *ret)
{
    static const char seq[] = ",\"seq\":";
    size_t at = 5, start;

    if (line.len < at || memcmp(line.ptr, "{\"v\":", at) != 0)
        return false;
    while (at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9')
        at++;
    if (line.len - at < sizeof(seq) - 1 ||
        memcmp(line.ptr + at, seq, sizeof(seq) - 1) != 0)
        return false;
    start = at += sizeof(seq) - 1;
    while (at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9')
        at++;
    return dgf_parse_u64(dgf_bytes_of(line.ptr + start, at - start), ret);
}

/* Cuts a torn line off and keeps the last whole one in self->last. */
static enum dgf_rc find_tail(struct file_sink *self, uint64_t size, struct dgf_err *err)
{
    size_t len = size < 2 * LINE_MAX_BYTES ? (size_t)size : 2 * LINE_MAX_BYTES, end,
           start;
    DGF_CLEANUP(dgf_free) char *tail = dgf_malloc(len + 1);

    if (!tail)
        return dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory",
                           path_of(self));
    if (pread(self->fd, tail, len, (off_t)(size - len)) != (ssize_t)len)
        return dgf_err_set(err, DGF_RETRY, "cannot read '%s': %s", path_of(self),
                           strerrordesc_np(errno));
    for (end = len; end > 0 && tail[end - 1] != '\n'; end--)
        ;
    if (end == 0 && size > len)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot append to '%s': its end is no line of records",
                           path_of(self));
    if (end < len && ftruncate(self->fd, (off_t)(size - len + end)) != 0)
        return dgf_err_set(err, DGF_RETRY, "cannot cut the torn line off '%s': %s",
                           path_of(self), strerrordesc_np(errno));
    self->size = size - len + end;
    if (end == 0)
        return DGF_OK;
    for (start = end - 1; start > 0 && tail[start - 1] != '\n'; start--)
        ;
    dgf_buf_add(&self->last, tail + start, end - 1 - start);
    return dgf_buf_rc(&self->last)
               ? dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory",
                             path_of(self))
               : DGF_OK;
}

/* A file that ends with record n wants n + 1.  That it belongs to this log is
 * known from a cursor of this log; without one, record n itself is asked for
 * and compared. */
static enum dgf_rc find_next(struct file_sink *self, struct dgf_bytes cursor,
                             struct dgf_err *err)
{
    uint64_t known = 0, seq;
    bool ours = read_cursor(self, cursor, &known);

    if (self->last.len == 0) {
        self->next = known;
        return DGF_OK;
    }
    if (!line_seq(dgf_buf_bytes(&self->last), &seq))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "cannot append to '%s': its last line is not a record",
                           path_of(self));
    self->compare = !ours;
    self->next = self->compare ? seq : seq + 1;
    return DGF_OK;
}

static enum dgf_rc sync_folder(const char *path, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_free) char *folder = folder_of(path);
    enum dgf_rc rc;

    if (!folder)
        return dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory", path);
    rc = dgf_dir_sync(folder, err);
    if (rc)
        err->rc = DGF_RETRY;
    return rc ? DGF_RETRY : DGF_OK;
}

static enum dgf_rc open_regular(struct file_sink *self, uint64_t size,
                                struct dgf_bytes cursor, struct dgf_err *err)
{
    enum dgf_rc rc;

    self->regular = true;
    /* The name of a new file must be on the disk before its lines count. */
    if (size == 0 && (rc = sync_folder(path_of(self), err)) != DGF_OK)
        return rc;
    if (flock(self->fd, LOCK_EX | LOCK_NB) != 0)
        return dgf_err_set(err, DGF_RETRY, "cannot append to '%s': %s", path_of(self),
                           errno == EWOULDBLOCK ? "somebody else holds its lock"
                                                : strerrordesc_np(errno));
    rc = find_tail(self, size, err);
    return rc ? rc : find_next(self, cursor, err);
}

/* ---- streams ---- */

/* A pipe that is ready takes PIPE_BUF bytes without blocking; we never change
 * the mode of a descriptor that others share. */
static void write_stream(struct file_sink *self)
{
    while (self->written < self->lines.len) {
        struct pollfd ready = {.fd = self->fd, .events = POLLOUT};
        size_t left = self->lines.len - self->written;
        ssize_t n;

        if (poll(&ready, 1, 0) <= 0) {
            event_add(self->ready, NULL);
            return;
        }
        n = write(self->fd, self->lines.ptr + self->written, left < 4096 ? left : 4096);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0) {
            fail(self, DGF_RETRY, "write", errno);
            return;
        }
        self->written += (size_t)n;
    }
    dgf_buf_clear(&self->lines);
    self->written = 0;
    report(self, self->next);
    unblock(self);
}

static void on_ready(evutil_socket_t fd, short what, void *opaque)
{
    (void)fd;
    (void)what;
    write_stream(opaque);
}

static enum dgf_rc open_stream(struct file_sink *self, struct dgf_bytes cursor,
                               struct dgf_err *err)
{
    uint64_t next = 0;

    self->ready = event_new(self->base.loop, self->fd, EV_WRITE, on_ready, self);
    if (!self->ready)
        return dgf_err_set(err, DGF_NOMEM, "cannot open '%s': out of memory",
                           path_of(self));
    (void)read_cursor(self, cursor, &next);
    self->next = next;
    return DGF_OK;
}

/* ---- the sink ---- */

static void file_close(struct dgf_sink *sink)
{
    struct file_sink *self = self_of(sink);

    if (self->ready)
        event_free(self->ready);
    self->ready = NULL;
    if (self->write)
        self->write->owner = NULL; /* it closes the descriptor */
    else if (self->fd > STDERR_FILENO)
        close(self->fd);
    self->write = NULL;
    self->fd = -1;
    dgf_buf_release(&self->lines);
    dgf_buf_release(&self->cursor);
    dgf_buf_release(&self->last);
}

static enum dgf_rc open_path(struct file_sink *self, struct stat *ret_stat,
                             struct dgf_err *err)
{
    const char *path = path_of(self);

    if (strcmp(path, "-") == 0)
        self->fd = STDOUT_FILENO;
    else
        self->fd =
            open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (self->fd < 0 && (errno == EACCES || errno == EISDIR || errno == ENOENT))
        return dgf_err_set(err, DGF_BAD_CONFIG, "cannot open '%s': %s", path,
                           strerrordesc_np(errno));
    if (self->fd < 0 || fstat(self->fd, ret_stat) != 0)
        return dgf_err_set(err, DGF_RETRY, "cannot open '%s': %s", path,
                           strerrordesc_np(errno));
    return DGF_OK;
}

static enum dgf_rc file_open(struct dgf_sink *sink, struct dgf_bytes cursor,
                             uint64_t *ret_next, struct dgf_err *err)
{
    struct file_sink *self = self_of(sink);
    struct file_sink fresh = {.base = *sink, .fd = -1};
    struct stat st;
    enum dgf_rc rc;

    *self = fresh;
    dgf_buf_init(&self->lines, BATCH_MAX_BYTES + LINE_MAX_BYTES);
    dgf_buf_init(&self->cursor, 256);
    dgf_buf_init(&self->last, 2 * LINE_MAX_BYTES);
    rc = open_path(self, &st, err);
    if (!rc)
        rc = S_ISREG(st.st_mode) && self->fd != STDOUT_FILENO
                 ? open_regular(self, (uint64_t)st.st_size, cursor, err)
                 : open_stream(self, cursor, err);
    if (rc) {
        file_close(sink);
        return rc;
    }
    self->reported = self->compare ? UINT64_MAX : self->next;
    dgf_sink_state(sink, true, "%s", "");
    *ret_next = self->next;
    return DGF_OK;
}

/* Is the record the line the file ends with?  Then it is there already. */
static enum dgf_rc compare_last(struct file_sink *self, const struct dgf_record *record,
                                struct dgf_err *err)
{
    if (!dgf_bytes_eq(record->line, dgf_buf_bytes(&self->last))) {
        self->failed = true;
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "cannot append to '%s': it ends with a record of another ledger; "
            "move it away",
            path_of(self));
    }
    self->compare = false;
    self->next = record->seq + 1;
    return DGF_OK;
}

static enum dgf_rc file_offer(struct dgf_sink *sink, const struct dgf_record *record,
                              struct dgf_err *err)
{
    struct file_sink *self = self_of(sink);
    const struct file_conf *conf = sink->conf;

    if (self->failed || self->fd < 0 || self->lines.len >= BATCH_MAX_BYTES) {
        self->blocked = true;
        return DGF_AGAIN;
    }
    if (self->compare)
        return compare_last(self, record, err);
    if (dgf_select_match(&conf->base.select, record)) {
        dgf_buf_add_bytes(&self->lines, record->line);
        dgf_buf_add_byte(&self->lines, '\n');
        if (dgf_buf_rc(&self->lines)) {
            self->failed = true;
            return dgf_err_set(err, DGF_RETRY, "cannot write '%s': out of memory",
                               path_of(self));
        }
    }
    self->next = record->seq + 1;
    if (self->lines.len >= BATCH_MAX_BYTES / 4) {
        if (self->regular)
            start_write(self);
        else if (!event_pending(self->ready, EV_WRITE, NULL))
            event_active(self->ready, EV_WRITE, 0);
    }
    return DGF_OK;
}

static void file_flush(struct dgf_sink *sink)
{
    struct file_sink *self = self_of(sink);

    if (self->fd < 0 || self->failed || self->compare)
        return;
    if (self->lines.len == 0 && !self->write)
        report(self, self->next); /* only passed over: nothing to write */
    else if (self->regular)
        start_write(self);
    else if (!event_pending(self->ready, EV_WRITE, NULL))
        write_stream(self);
}

static enum dgf_rc file_check(struct dgf_sink *sink, struct dgf_findings *findings,
                              struct dgf_err *err)
{
    const struct file_conf *conf = sink->conf;
    DGF_CLEANUP(dgf_free) char *folder = NULL;

    if (strcmp(conf->path, "-") == 0)
        return DGF_OK;
    folder = folder_of(conf->path);
    if (!folder)
        return dgf_err_set(err, DGF_NOMEM, "cannot check '%s': out of memory",
                           conf->path);
    if (access(conf->path, F_OK) == 0 ? access(conf->path, R_OK | W_OK) != 0
                                      : access(folder, W_OK | X_OK) != 0)
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0704", (struct dgf_mark){0},
                         NULL, "sink '%s': cannot write '%s': %s", sink->name,
                         conf->path, strerrordesc_np(errno));
    return DGF_OK;
}

const struct dgf_sink_type dgf_sink_file = {
    .name = "file",
    .summary = "lines of JSON in a file or on standard output",
    .opts = file_opts,
    .conf_size = sizeof(struct file_conf),
    .self_size = sizeof(struct file_sink),
    .validate = file_validate,
    .check = file_check,
    .open = file_open,
    .offer = file_offer,
    .flush = file_flush,
    .close = file_close,
};
