/* delivery_probe.c - how long after its commit a record was delivered.
 *
 * Preloaded into a producer that takes delivery reports as events:
 *
 *   PROBE_FILE=out LD_PRELOAD=./delivery_probe.so dgf run ...
 *
 * For each report without an error: now less the time that stands in the
 * message, {"time":"2026-01-31T00:00:00.123456Z"}, in order of arrival.  At the
 * end one line goes to the file: count, p50, p90, p99, largest, microseconds. */
#include <dlfcn.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SEEN 4000000

static double seen[MAX_SEEN];
static size_t n_seen;

/* Microseconds since 1970; negative: no time in it. */
static double time_in(const char *text, size_t len)
{
    static const char mark[] = "\"time\":\"";
    const char *at = memmem(text, len, mark, sizeof(mark) - 1);
    char copy[40] = "";
    double seconds;
    struct tm tm = {0};

    if (!at || len - (size_t)(at - text) < sizeof(mark) + 32)
        return -1;
    memcpy(copy, at + sizeof(mark) - 1, 32);
    if (sscanf(copy, "%d-%d-%dT%d:%d:%lfZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &seconds) != 6)
        return -1;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return ((double)timegm(&tm) + seconds) * 1e6;
}

static void note(const rd_kafka_message_t *message, double now)
{
    double committed = message->err ? -1 : time_in(message->payload, message->len);

    if (committed > 0 && n_seen < MAX_SEEN)
        seen[n_seen++] = now - committed;
}

size_t rd_kafka_event_message_array(rd_kafka_event_t *event,
                                    const rd_kafka_message_t **messages, size_t size)
{
    static size_t (*next)(rd_kafka_event_t *, const rd_kafka_message_t **, size_t);
    struct timespec now;
    size_t n;

    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "rd_kafka_event_message_array");
    n = next(event, messages, size);
    clock_gettime(CLOCK_REALTIME, &now);
    for (size_t i = 0; i < n; i++)
        note(messages[i], (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3);
    return n;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

__attribute__((destructor)) static void print(void)
{
    const char *path = getenv("PROBE_FILE");
    FILE *file = path && n_seen > 0 ? fopen(path, "w") : NULL;

    if (!file)
        return;
    qsort(seen, n_seen, sizeof(seen[0]), by_size);
    fprintf(file, "%zu %.0f %.0f %.0f %.0f\n", n_seen, seen[n_seen / 2],
            seen[n_seen / 10 * 9], seen[(size_t)((double)n_seen * 0.99)],
            seen[n_seen - 1]);
    fclose(file);
}
