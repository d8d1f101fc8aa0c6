#include "base/metrics.h"

#include <pthread.h>
#include <string.h>

#include "unit.h"

static const char *printed(void)
{
    static struct dgf_buf out;

    dgf_buf_release(&out);
    dgf_buf_init(&out, 1 << 20);
    dgf_metrics_print(&out);
    return dgf_buf_str(&out);
}

START_TEST(counters_and_gauges_are_grouped_by_name)
{
    struct dgf_metric *a, *b, *gauge;

    ck_assert_str_eq(printed(), "");
    a = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_events_total", "Events judged.",
                       "source=\"a\"");
    gauge = dgf_metric_get(DGF_METRIC_GAUGE, "dgf_lag_bytes", "Bytes behind.", "");
    b = dgf_metric_get(DGF_METRIC_COUNTER, "dgf_events_total", "Events judged.",
                       "source=\"b\"");
    ck_assert_ptr_ne(a, b);
    ck_assert_ptr_eq(a, dgf_metric_get(DGF_METRIC_COUNTER, "dgf_events_total",
                                       "Events judged.", "source=\"a\""));
    dgf_metric_add(a, 3);
    dgf_metric_add(a, 4);
    dgf_metric_add(b, 1);
    dgf_metric_set(gauge, -5);
    dgf_metric_add(NULL, 1);
    dgf_metric_set(NULL, 1);
    dgf_metric_observe_ns(NULL, 1);
    ck_assert_str_eq(printed(), "# HELP dgf_events_total Events judged.\n"
                                "# TYPE dgf_events_total counter\n"
                                "dgf_events_total{source=\"a\"} 7\n"
                                "dgf_events_total{source=\"b\"} 1\n"
                                "# HELP dgf_lag_bytes Bytes behind.\n"
                                "# TYPE dgf_lag_bytes gauge\n"
                                "dgf_lag_bytes -5\n");
}
END_TEST

START_TEST(a_histogram_counts_up_to_each_bound)
{
    struct dgf_metric *h =
        dgf_metric_get(DGF_METRIC_HISTOGRAM_SECONDS, "dgf_fsync_seconds", "Time.", "");

    dgf_metric_observe_ns(h, -1);
    dgf_metric_observe_ns(h, 100000);
    dgf_metric_observe_ns(h, 100001);
    dgf_metric_observe_ns(h, 3276800000);
    dgf_metric_observe_ns(h, 60000000000);
    ck_assert_str_eq(printed(), "# HELP dgf_fsync_seconds Time.\n"
                                "# TYPE dgf_fsync_seconds histogram\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0001\"} 2\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0002\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0004\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0008\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0016\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0032\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0064\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0128\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0256\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.0512\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.1024\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.2048\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.4096\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"0.8192\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"1.6384\"} 3\n"
                                "dgf_fsync_seconds_bucket{le=\"3.2768\"} 4\n"
                                "dgf_fsync_seconds_bucket{le=\"+Inf\"} 5\n"
                                "dgf_fsync_seconds_sum 63.277000001\n"
                                "dgf_fsync_seconds_count 5\n");
}
END_TEST

START_TEST(labels_of_a_histogram_stand_before_the_bound)
{
    (void)dgf_metric_get(DGF_METRIC_HISTOGRAM_SECONDS, "h", "H.", "sink=\"k\"");
    ck_assert_ptr_nonnull(
        strstr(printed(), "\nh_bucket{sink=\"k\",le=\"0.0001\"} 0\n"));
    ck_assert_ptr_nonnull(strstr(printed(), "\nh_sum{sink=\"k\"} 0\n"));
}
END_TEST

static void *add_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        dgf_metric_add(arg, 1);
        (void)dgf_metric_get(DGF_METRIC_COUNTER, "shared", "S.", "");
    }
    return NULL;
}

START_TEST(threads_update_together)
{
    struct dgf_metric *metric = dgf_metric_get(DGF_METRIC_COUNTER, "shared", "S.", "");
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_many, metric), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    ck_assert_ptr_nonnull(strstr(printed(), "\nshared 40000\n"));
}
END_TEST

START_TEST(released_metrics_are_gone_and_can_be_made_anew)
{
    dgf_metric_add(dgf_metric_get(DGF_METRIC_COUNTER, "again", "A.", ""), 7);
    dgf_metrics_release();
    ck_assert_ptr_null(strstr(printed(), "again"));
    dgf_metric_add(dgf_metric_get(DGF_METRIC_COUNTER, "again", "A.", ""), 2);
    ck_assert_ptr_nonnull(strstr(printed(), "\nagain 2\n"));
}
END_TEST

DGF_UNIT(metrics, counters_and_gauges_are_grouped_by_name,
         a_histogram_counts_up_to_each_bound,
         labels_of_a_histogram_stand_before_the_bound, threads_update_together,
         released_metrics_are_gone_and_can_be_made_anew)
