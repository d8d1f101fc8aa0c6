#include "config.h"

#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"

enum { LINE_MAX_BYTES = 16384 };

static const char *const level_words[] = {"debug", "info", "warn", "error"};

/* A lock keeps lines whole when a pipe takes only a part of one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int log_fd = STDERR_FILENO;
static _Atomic int log_level = DGF_LOG_INFO;
static _Atomic int log_human;

void dgf_log_init(int fd, enum dgf_log_level level, int human)
{
    atomic_store(&log_fd, fd);
    atomic_store(&log_level, (int)level);
    atomic_store(&log_human, human);
}

static void write_line(struct dgf_bytes line)
{
    int fd = atomic_load(&log_fd);

    (void)pthread_mutex_lock(&lock);
    while (line.len > 0) {
        ssize_t n = write(fd, line.ptr, line.len);

        if (n <= 0)
            break; /* nowhere left to say it */
        line = dgf_bytes_of(line.ptr + n, line.len - (size_t)n);
    }
    (void)pthread_mutex_unlock(&lock);
}

/* Texts come from servers too: what is no UTF-8 becomes '?'. */
static void add_text(struct dgf_buf *buf, const char *text)
{
    struct dgf_bytes bytes = dgf_bytes_str(text);

    if (dgf_utf8_valid(bytes)) {
        dgf_json_escape(buf, bytes);
        return;
    }
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.ptr[i] < 0x80 ? bytes.ptr[i] : '?';

        dgf_json_escape(buf, dgf_bytes_of(&c, 1));
    }
}

static bool is_word(const char *text)
{
    return *text && !strpbrk(text, " \t\r\n\"\\=") &&
           dgf_utf8_valid(dgf_bytes_str(text));
}

static void add_pair(struct dgf_buf *buf, bool human, const char *name,
                     const char *text)
{
    bool quoted = !human || !is_word(text);

    dgf_buf_add_str(buf, human ? " " : ",\"");
    dgf_buf_add_str(buf, name);
    dgf_buf_add_str(buf, human ? "=" : "\":");
    if (quoted)
        dgf_buf_add_byte(buf, '"');
    add_text(buf, text);
    if (quoted)
        dgf_buf_add_byte(buf, '"');
}

static void add_number(struct dgf_buf *buf, bool human, const char *name, int64_t value)
{
    dgf_buf_add_str(buf, human ? " " : ",\"");
    dgf_buf_add_str(buf, name);
    dgf_buf_add_str(buf, human ? "=" : "\":");
    dgf_buf_add_i64(buf, value);
}

/* 23:12:04 warn  source failed  source=orders cause="..." */
static void begin_line(struct dgf_buf *buf, bool human, enum dgf_log_level level,
                       const char *event)
{
    int64_t now = dgf_clock_ns();

    if (human) {
        dgf_format_time_of_day(buf, now / 1000000000 % 86400 * 1000000000);
        dgf_buf_addf(buf, " %-5s ", level_words[level]);
        add_text(buf, event);
        dgf_buf_add_byte(buf, ' ');
        return;
    }
    dgf_buf_add_str(buf, "{\"time\":\"");
    dgf_format_time(buf, now / 1000 * 1000);
    dgf_buf_addf(buf, "\",\"level\":\"%s\",\"event\":\"", level_words[level]);
    add_text(buf, event);
    dgf_buf_add_byte(buf, '"');
}

void dgf_log(enum dgf_log_level level, const char *event, ...)
{
    bool human = atomic_load(&log_human) != 0;
    struct dgf_buf buf;
    const char *name;
    size_t whole;
    va_list ap;

    if ((int)level < atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    dgf_buf_init(&buf, LINE_MAX_BYTES);
    begin_line(&buf, human, level, event);
    whole = buf.len;
    va_start(ap, event);
    while ((name = va_arg(ap, const char *))) {
        if (name[0] == '#') {
            add_number(&buf, human, name + 1, va_arg(ap, int64_t));
        } else {
            const char *text = va_arg(ap, const char *);

            if (text)
                add_pair(&buf, human, name, text);
        }
        if (dgf_buf_rc(&buf) == DGF_OK && buf.len + 2 <= LINE_MAX_BYTES) {
            whole = buf.len;
            continue;
        }
        /* A pair that does not fit is left out; a short line beats none. */
        buf.len = whole;
        buf.rc = DGF_OK;
    }
    va_end(ap);
    while (human && buf.len > 0 && buf.ptr[buf.len - 1] == ' ')
        buf.len--;
    dgf_buf_add_str(&buf, human ? "\n" : "}\n");
    write_line(dgf_buf_bytes(&buf));
    dgf_buf_release(&buf);
}
