/* metrics.h - counters, gauges and histograms with fixed label sets.
 *
 * A metric is registered once with its labels and then updated through its
 * pointer without a lock (relaxed atomics).  No label ever holds a value of an
 * event.  Thread: any for updates; registration and printing take a lock. */
#ifndef DGF_BASE_METRICS_H
#define DGF_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

enum dgf_metric_kind {
    DGF_METRIC_COUNTER,
    DGF_METRIC_GAUGE,
    DGF_METRIC_HISTOGRAM_SECONDS
};

struct dgf_metric {
    _Atomic int64_t value;        /* counters and gauges */
    _Atomic uint64_t buckets[16]; /* histogram: up to 100 us, doubling to 3.3 s */
    _Atomic uint64_t sum_ns, count;
};

/* labels: "source=\"orders\",kind=\"change\"" or "".  The same (name, labels)
 * gives the same metric.  NULL only when out of memory; updating NULL is fine. */
struct dgf_metric *dgf_metric_get(enum dgf_metric_kind kind, const char *name,
                                  const char *help, const char *labels);

static inline void dgf_metric_add(struct dgf_metric *metric, int64_t n)
{
    if (metric)
        atomic_fetch_add_explicit(&metric->value, n, memory_order_relaxed);
}

static inline void dgf_metric_set(struct dgf_metric *metric, int64_t value)
{
    if (metric)
        atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void dgf_metric_observe_ns(struct dgf_metric *metric, int64_t ns);
/* Prometheus text exposition. */
void dgf_metrics_print(struct dgf_buf *out);
/* Forgets all; every pointer from dgf_metric_get is dead.  At the end of a process. */
void dgf_metrics_release(void);

#endif
