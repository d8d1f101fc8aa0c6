#include "sink_driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

void sink_driver_begin(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    dgf_log_init(STDERR_FILENO, getenv("DRIVER_DEBUG") ? DGF_LOG_DEBUG : DGF_LOG_WARN,
                 0);
}

void sink_driver_write_cursor(const char *path, const struct dgf_buf *cursor)
{
    char beside[512];
    FILE *file;

    if (!path)
        return;
    snprintf(beside, sizeof(beside), "%s.new", path);
    file = fopen(beside, "w");
    if (!file || fwrite(cursor->ptr, 1, cursor->len, file) != cursor->len ||
        fclose(file) != 0 || rename(beside, path) != 0) {
        perror("cursor");
        exit(EXIT_FAILURE);
    }
}

void sink_driver_read_cursor(const char *path, struct dgf_buf *cursor)
{
    FILE *file = path ? fopen(path, "r") : NULL;
    char bytes[65536];

    if (!file)
        return;
    dgf_buf_add(cursor, bytes, fread(bytes, 1, sizeof(bytes), file));
    fclose(file);
}

void sink_driver_state(struct dgf_sink *sink, bool ok, const char *reason)
{
    (void)sink;
    printf("state %s %s\n", ok ? "ok" : "bad", reason);
}

void sink_driver_check(struct dgf_sink *sink)
{
    static const char *const words[] = {"error", "warning", "note"};
    struct dgf_findings findings;
    struct dgf_err err = {0};

    dgf_findings_init(&findings);
    if (sink->type->check(sink, &findings, &err))
        printf("fail %s %s\n", dgf_rc_text(err.rc), err.text);
    for (size_t i = 0; i < findings.n; i++)
        printf("finding %s %s | %s\n", words[findings.list[i].severity],
               findings.list[i].text, findings.list[i].fix ? findings.list[i].fix : "");
    dgf_findings_release(&findings);
}

void sink_driver_watch_memory(long *peak_kb)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[128];
    long kb;

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1 && kb > *peak_kb)
            *peak_kb = kb;
    if (file)
        fclose(file);
}
