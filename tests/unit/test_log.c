#include "config.h"

#include "base/log.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#include "unit.h"

static int pipe_fds[2];
static char line[40000];

int64_t dgf_clock_ns(void)
{
    return 1772442000123456789; /* 2026-03-02T09:00:00.123456789Z */
}

int64_t dgf_clock_mono_ns(void)
{
    return 0;
}

static void begin(enum dgf_log_level level, int human)
{
    ck_assert_int_eq(pipe2(pipe_fds, O_NONBLOCK), 0);
    dgf_log_init(pipe_fds[1], level, human);
}

static const char *logged(void)
{
    ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);

    line[n > 0 ? n : 0] = '\0';
    return line;
}

START_TEST(a_line_is_one_json_object)
{
    begin(DGF_LOG_INFO, 0);
    dgf_log(DGF_LOG_WARN, "source failed", "source", "orders", "cause", "say \"no\"\n",
            "#retry_ms", (int64_t)-500, NULL);
    ck_assert_str_eq(logged(),
                     "{\"time\":\"2026-03-02T09:00:00.123456Z\",\"level\":\"warn\","
                     "\"event\":\"source failed\",\"source\":\"orders\","
                     "\"cause\":\"say \\\"no\\\"\\n\",\"retry_ms\":-500}\n");
}
END_TEST

START_TEST(people_get_plain_text)
{
    begin(DGF_LOG_INFO, 1);
    dgf_log(DGF_LOG_WARN, "source failed", "source", "orders", "cause", "no such host",
            "empty", "", "#n", (int64_t)3, NULL);
    ck_assert_str_eq(logged(), "09:00:00 warn  source failed  source=orders "
                               "cause=\"no such host\" empty=\"\" n=3\n");
    dgf_log(DGF_LOG_ERROR, "stopped", NULL);
    ck_assert_str_eq(logged(), "09:00:00 error stopped\n");
    dgf_log(DGF_LOG_INFO, "x", "esc", "\033[2J", NULL);
    ck_assert_str_eq(logged(), "09:00:00 info  x  esc=\\u001b[2J\n");
}
END_TEST

START_TEST(lower_levels_say_nothing)
{
    begin(DGF_LOG_WARN, 0);
    dgf_log(DGF_LOG_INFO, "quiet", NULL);
    dgf_log(DGF_LOG_DEBUG, "quiet", NULL);
    ck_assert_str_eq(logged(), "");
    dgf_log(DGF_LOG_ERROR, "loud", NULL);
    ck_assert_str_ne(logged(), "");
}
END_TEST

START_TEST(bytes_that_are_no_text_become_question_marks)
{
    begin(DGF_LOG_INFO, 0);
    dgf_log(DGF_LOG_INFO, "e", "k", "a\xff\"", "none", NULL, "z", "1", NULL);
    ck_assert_str_eq(logged(),
                     "{\"time\":\"2026-03-02T09:00:00.123456Z\",\"level\":\"info\","
                     "\"event\":\"e\",\"k\":\"a?\\\"\",\"z\":\"1\"}\n");
}
END_TEST

START_TEST(a_pair_that_does_not_fit_is_left_out)
{
    static char big[20000];

    memset(big, 'x', sizeof(big) - 1);
    begin(DGF_LOG_INFO, 0);
    dgf_log(DGF_LOG_INFO, "e", "before", "1", "big", big, "after", "2", NULL);
    ck_assert_str_eq(logged(),
                     "{\"time\":\"2026-03-02T09:00:00.123456Z\",\"level\":\"info\","
                     "\"event\":\"e\",\"before\":\"1\",\"after\":\"2\"}\n");
}
END_TEST

START_TEST(a_closed_place_stops_nobody)
{
    begin(DGF_LOG_INFO, 0);
    ck_assert_int_eq(close(pipe_fds[1]), 0);
    dgf_log(DGF_LOG_ERROR, "lost", NULL);
}
END_TEST

DGF_UNIT(log, a_line_is_one_json_object, people_get_plain_text,
         lower_levels_say_nothing, bytes_that_are_no_text_become_question_marks,
         a_pair_that_does_not_fit_is_left_out, a_closed_place_stops_nobody)
