#include "base/metrics.h"

#include <pthread.h>

#include "base/map.h"
#include "base/mem.h"

enum { N_BUCKETS = 16, FIRST_BUCKET_NS = 100000 };

struct series {
    struct dgf_metric metric;
    char *labels;
    struct series *next;
};

/* All series of one name: the exposition wants them together. */
struct family {
    enum dgf_metric_kind kind;
    char *help;
    struct series *first, *last;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct dgf_map families;
static bool ready;

static struct family *family_of(enum dgf_metric_kind kind, const char *name,
                                const char *help)
{
    struct family *family = dgf_map_get(&families, dgf_bytes_str(name));

    if (family)
        return family;
    family = dgf_calloc(1, sizeof(*family));
    if (!family)
        return NULL;
    family->kind = kind;
    family->help = dgf_strdup(help);
    if (!family->help || dgf_map_put(&families, dgf_bytes_str(name), family, NULL)) {
        dgf_free(family->help);
        dgf_free(family);
        return NULL;
    }
    return family;
}

static struct series *series_of(struct family *family, const char *labels)
{
    struct series *series;

    for (series = family->first; series; series = series->next)
        if (strcmp(series->labels, labels) == 0)
            return series;
    series = dgf_calloc(1, sizeof(*series));
    if (!series)
        return NULL;
    series->labels = dgf_strdup(labels);
    if (!series->labels) {
        dgf_free(series);
        return NULL;
    }
    if (family->last)
        family->last->next = series;
    else
        family->first = series;
    family->last = series;
    return series;
}

struct dgf_metric *dgf_metric_get(enum dgf_metric_kind kind, const char *name,
                                  const char *help, const char *labels)
{
    struct series *series = NULL;
    struct family *family;

    (void)pthread_mutex_lock(&lock);
    if (!ready)
        dgf_map_init(&families);
    ready = true;
    family = family_of(kind, name, help);
    if (family)
        series = series_of(family, labels);
    (void)pthread_mutex_unlock(&lock);
    return series ? &series->metric : NULL;
}

void dgf_metric_observe_ns(struct dgf_metric *metric, int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns : 0;

    if (!metric)
        return;
    for (size_t i = 0; i < N_BUCKETS; i++)
        if (value <= (uint64_t)FIRST_BUCKET_NS << i) {
            atomic_fetch_add_explicit(&metric->buckets[i], 1, memory_order_relaxed);
            break;
        }
    atomic_fetch_add_explicit(&metric->sum_ns, value, memory_order_relaxed);
    atomic_fetch_add_explicit(&metric->count, 1, memory_order_relaxed);
}

/* Seconds without rounding: 100000 ns are 0.0001. */
static void add_seconds(struct dgf_buf *out, uint64_t ns)
{
    uint64_t rest = ns % 1000000000;
    unsigned width = 9;

    dgf_buf_add_u64(out, ns / 1000000000);
    if (rest == 0)
        return;
    for (; rest % 10 == 0; width--)
        rest /= 10;
    dgf_buf_addf(out, ".%0*llu", (int)width, (unsigned long long)rest);
}

static void add_name(struct dgf_buf *out, struct dgf_bytes name, const char *suffix,
                     const char *labels)
{
    dgf_buf_add_bytes(out, name);
    dgf_buf_add_str(out, suffix);
    if (*labels)
        dgf_buf_addf(out, "{%s}", labels);
    dgf_buf_add_byte(out, ' ');
}

static void print_histogram(struct dgf_buf *out, struct dgf_bytes name,
                            struct series *series)
{
    const char *comma = *series->labels ? "," : "";
    uint64_t sum = 0, count;

    for (size_t i = 0; i < N_BUCKETS; i++) {
        sum += atomic_load_explicit(&series->metric.buckets[i], memory_order_relaxed);
        dgf_buf_add_bytes(out, name);
        dgf_buf_addf(out, "_bucket{%s%sle=\"", series->labels, comma);
        add_seconds(out, (uint64_t)FIRST_BUCKET_NS << i);
        dgf_buf_addf(out, "\"} %llu\n", (unsigned long long)sum);
    }
    /* Updated apart from the buckets: never let it look smaller than they are. */
    count = atomic_load_explicit(&series->metric.count, memory_order_relaxed);
    if (count < sum)
        count = sum;
    dgf_buf_add_bytes(out, name);
    dgf_buf_addf(out, "_bucket{%s%sle=\"+Inf\"} %llu\n", series->labels, comma,
                 (unsigned long long)count);
    add_name(out, name, "_sum", series->labels);
    add_seconds(out,
                atomic_load_explicit(&series->metric.sum_ns, memory_order_relaxed));
    dgf_buf_add_byte(out, '\n');
    add_name(out, name, "_count", series->labels);
    dgf_buf_addf(out, "%llu\n", (unsigned long long)count);
}

static void print_family(struct dgf_buf *out, struct dgf_bytes name,
                         struct family *family)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    dgf_buf_add_str(out, "# HELP ");
    dgf_buf_add_bytes(out, name);
    dgf_buf_addf(out, " %s\n# TYPE ", family->help);
    dgf_buf_add_bytes(out, name);
    dgf_buf_addf(out, " %s\n", kinds[family->kind]);
    for (struct series *series = family->first; series; series = series->next) {
        if (family->kind == DGF_METRIC_HISTOGRAM_SECONDS) {
            print_histogram(out, name, series);
            continue;
        }
        add_name(out, name, "", series->labels);
        dgf_buf_add_i64(
            out, atomic_load_explicit(&series->metric.value, memory_order_relaxed));
        dgf_buf_add_byte(out, '\n');
    }
}

void dgf_metrics_print(struct dgf_buf *out)
{
    struct dgf_map_entry *entry;

    (void)pthread_mutex_lock(&lock);
    for (size_t at = 0; ready && (entry = dgf_map_next(&families, &at));)
        print_family(out, entry->key, entry->value);
    (void)pthread_mutex_unlock(&lock);
}

void dgf_metrics_release(void)
{
    struct dgf_map_entry *entry;

    (void)pthread_mutex_lock(&lock);
    for (size_t at = 0; ready && (entry = dgf_map_next(&families, &at));) {
        struct family *family = entry->value;

        for (struct series *series = family->first, *next; series; series = next) {
            next = series->next;
            dgf_free(series->labels);
            dgf_free(series);
        }
        dgf_free(family->help);
        dgf_free(family);
    }
    if (ready)
        dgf_map_release(&families, NULL);
    ready = false;
    (void)pthread_mutex_unlock(&lock);
}
