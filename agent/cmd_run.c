/* cmd_run.c - the daemon: one loop that turns the pipeline. */
#include <event2/event.h>
#include <event2/thread.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "cmd.h"
#include "pipeline.h"
#include "settings.h"

const struct dgf_arg dgf_args_run[] = {
    DGF_ARG_CONFIG,
    {"until-caught-up", 0, NULL,
     "stop when everything the sources had at start is judged and delivered"},
    {"until", 0, "[SOURCE=]POSITION",
     "stop when this position (as in records) is judged and delivered"},
    {"log-format", 0, "FORMAT", "json, or text (the default on a terminal)"},
    DGF_ARG_END};

#define DRAIN_NS (8 * INT64_C(1000000000)) /* SIGTERM to exit stays under 10 s */

#define START_RETRY_MS 1000

struct daemon {
    struct event_base *loop;
    struct dgf_pipeline *pipeline;
    struct dgf_settings *settings;
    struct event *timer, *ledger, *archive, *sigterm, *sigint, *sighup, *sigusr1;
    const char *until; /* position to end at; NULL: none */
    char until_source[64];
};

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg; /* being awake is all: the turn asks everybody */
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    dgf_pipeline_drain(d->pipeline, DRAIN_NS);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;

    (void)fd;
    (void)what;
    dgf_pipeline_write_status(d->pipeline);
}

static const char *first_error(const struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++)
        if (findings->list[i].severity == DGF_FINDING_ERROR)
            return findings->list[i].text;
    return "out of memory";
}

/* Policies are read again; sources and sinks stay as they are. */
static void on_reload(evutil_socket_t fd, short what, void *arg)
{
    struct daemon *d = arg;
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    struct dgf_err err = {0};

    (void)fd;
    (void)what;
    dgf_findings_init(&findings);
    if (dgf_settings_policies(d->settings, &findings, &set)) {
        (void)dgf_report_findings(&findings);
        dgf_log(DGF_LOG_ERROR, "reload refused; the old policies stay", "#errors",
                (int64_t)findings.n_errors, NULL);
        dgf_pipeline_reload_failed(d->pipeline, first_error(&findings));
        return;
    }
    if (dgf_pipeline_reload(d->pipeline, set, &err)) {
        dgf_log(DGF_LOG_ERROR, "reload refused; the old policies stay", "cause",
                err.text, NULL);
        dgf_pipeline_reload_failed(d->pipeline, err.text);
    }
}

static struct event *add_signal(struct daemon *d, int number, event_callback_fn fn)
{
    struct event *event = evsignal_new(d->loop, number, fn, d);

    if (event)
        event_add(event, NULL);
    return event;
}

static bool add_archive(struct daemon *d, int archive_fd)
{
    if (archive_fd < 0)
        return true;
    d->archive = event_new(d->loop, archive_fd, EV_READ | EV_PERSIST, on_wake, NULL);
    return d->archive && event_add(d->archive, NULL) == 0;
}

static bool add_events(struct daemon *d, int ledger_fd)
{
    d->timer = evtimer_new(d->loop, on_wake, NULL);
    d->ledger = event_new(d->loop, ledger_fd, EV_READ | EV_PERSIST, on_wake, NULL);
    d->sigterm = add_signal(d, SIGTERM, on_stop);
    d->sigint = add_signal(d, SIGINT, on_stop);
    d->sighup = add_signal(d, SIGHUP, on_reload);
    d->sigusr1 = add_signal(d, SIGUSR1, on_status);
    return d->timer && d->ledger && d->sigterm && d->sigint && d->sighup &&
           d->sigusr1 && event_add(d->ledger, NULL) == 0;
}

static void free_event(struct event *event)
{
    if (event)
        event_free(event);
}

static int run_loop(struct daemon *d)
{
    struct dgf_err err = {0};
    int64_t wait_ns;

    for (;;) {
        struct timeval wait;

        if (dgf_pipeline_turn(d->pipeline, &wait_ns, &err)) {
            dgf_log(DGF_LOG_ERROR, "stopped", "cause", err.text, "#exit",
                    (int64_t)dgf_pipeline_exit_code(d->pipeline), NULL);
            break;
        }
        if (dgf_pipeline_done(d->pipeline))
            break;
        if (wait_ns <= 0) {
            event_base_loop(d->loop, EVLOOP_ONCE | EVLOOP_NONBLOCK);
            continue;
        }
        wait.tv_sec = wait_ns / 1000000000;
        wait.tv_usec = (wait_ns % 1000000000 + 999) / 1000;
        evtimer_add(d->timer, &wait);
        event_base_loop(d->loop, EVLOOP_ONCE);
    }
    dgf_pipeline_say_left(d->pipeline);
    dgf_pipeline_write_status(d->pipeline);
    return dgf_pipeline_exit_code(d->pipeline);
}

/* Without room on the disk not even a start is possible: it waits, as the
 * sources do later.  Signals still end the process by themselves. */
static enum dgf_rc open_pipeline(struct daemon *d, const struct dgf_pipeline_conf *conf,
                                 struct dgf_policy_set *set, struct dgf_err *err)
{
    bool said = false;

    for (;;) {
        enum dgf_rc rc = dgf_pipeline_open(d->loop, conf, set, &d->pipeline, err);

        if (rc != DGF_RETRY)
            return rc;
        if (!said)
            dgf_log(DGF_LOG_WARN, "cannot start yet", "cause", err->text, "#retry_ms",
                    (int64_t)START_RETRY_MS, NULL);
        said = true;
        (void)poll(NULL, 0, START_RETRY_MS);
    }
}

static int start(struct daemon *d, struct dgf_policy_set *set,
                 const struct dgf_args *args)
{
    const struct dgf_settings *s = d->settings;
    struct dgf_err err = {0};
    struct dgf_pipeline_conf conf = {
        .agent = s->agent.name,
        .env = s->agent.env,
        .ledger = {.dir = s->agent.data_dir,
                   .journal_bytes = s->ledger.journal_bytes,
                   .segment_bytes = s->ledger.segment_bytes,
                   .keep_ns = s->ledger.keep_ns,
                   .threaded = true},
        .ack_sinks = s->agent.ack == DGF_ACK_SINKS,
        .until_caught_up =
            dgf_args_has(args, "until-caught-up") || dgf_args_has(args, "until"),
        .until = d->until,
        .until_source = d->until_source,
        .event_bytes = s->limits.event_bytes,
        .sources = s->sources,
        .n_sources = s->n_sources,
        .sinks = s->sinks,
        .n_sinks = s->n_sinks,
        .keys_tenant = s->keys.tenant,
        .keys_token = s->keys.token,
        .keys_sign = s->keys.sign,
        .archive = s->ledger.archive,
        .cut_bytes = s->ledger.cut_bytes,
        .cut_every_ns = s->ledger.cut_every_ns,
        .config_json = s->config_json,
        .insecure = s->insecure,
    };
    enum dgf_rc rc = open_pipeline(d, &conf, set, &err);
    int exit_code;

    if (rc) {
        dgf_log(DGF_LOG_ERROR, "cannot start", "cause", err.text, NULL);
        return rc == DGF_AGAIN        ? DGF_EXIT_OWNED
               : rc == DGF_BAD_CONFIG ? DGF_EXIT_CONFIG
               : rc == DGF_FATAL      ? DGF_EXIT_STORAGE
               : rc == DGF_BAD_DATA   ? DGF_EXIT_FORK
                                      : DGF_EXIT_CANNOT;
    }
    if (!add_events(d, dgf_pipeline_ledger_fd(d->pipeline)) ||
        !add_archive(d, dgf_pipeline_archive_fd(d->pipeline))) {
        dgf_log(DGF_LOG_ERROR, "cannot start", "cause", "out of memory", NULL);
        exit_code = DGF_EXIT_CANNOT;
    } else {
        dgf_log(DGF_LOG_INFO, "started", "agent", s->agent.name, "data_dir",
                s->agent.data_dir, "#policies", (int64_t)dgf_policy_set_count(set),
                NULL);
        if (dgf_policy_set_count(set) == 0)
            dgf_log(DGF_LOG_WARN, "no policies: nothing is judged", NULL);
        exit_code = run_loop(d);
    }
    dgf_pipeline_free(d->pipeline);
    dgf_log(DGF_LOG_INFO, "stopped", "#exit", (int64_t)exit_code, NULL);
    return exit_code;
}

/* [SOURCE=]POSITION; with several sources it must be said which one ends there. */
static int read_until(struct daemon *d, const char *text)
{
    const struct dgf_settings *s = d->settings;
    const char *equals = text ? strchr(text, '=') : NULL;
    size_t len = equals ? (size_t)(equals - text) : 0;

    if (!text)
        return 0;
    d->until = equals ? equals + 1 : text;
    if (!equals && s->n_sources != 1)
        return dgf_usage("run", "--until needs the source: --until %s=%s",
                         s->n_sources ? s->sources[0].name : "SOURCE", text);
    if (!equals)
        len = strlen(s->sources[0].name);
    if (len < sizeof(d->until_source))
        memcpy(d->until_source, equals ? text : s->sources[0].name, len);
    for (size_t i = 0; i < s->n_sources; i++)
        if (strcmp(s->sources[i].name, d->until_source) == 0)
            return 0;
    return dgf_usage("run", "--until: there is no source '%.*s'", (int)len, text);
}

int dgf_cmd_run(int argc, char **argv)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *settings = NULL;
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    struct daemon d = {0};
    struct dgf_args args;
    const char *format;
    int exit_code = dgf_args_read("run", dgf_args_run, argc, argv, &args);

    if (exit_code)
        return exit_code;
    if (args.n_operands)
        return dgf_usage("run", "unexpected '%s'", args.operands[0]);
    format = dgf_args_get(&args, "log-format");
    if (format && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
        return dgf_usage("run", "--log-format must be json or text");
    dgf_findings_init(&findings);
    if (dgf_settings_load(dgf_args_get(&args, "config"), &findings, &settings) ||
        dgf_settings_policies(settings, &findings, &set)) {
        (void)dgf_report_findings(&findings);
        fprintf(stderr, "nothing was started\n");
        return DGF_EXIT_CONFIG;
    }
    (void)dgf_report_findings(&findings);
    dgf_log_init(STDERR_FILENO, (enum dgf_log_level)settings->log.level,
                 format ? strcmp(format, "text") == 0 : isatty(STDERR_FILENO));
    d.settings = settings;
    exit_code = read_until(&d, dgf_args_get(&args, "until"));
    if (exit_code)
        return exit_code;
    evthread_use_pthreads();
    d.loop = event_base_new();
    if (!d.loop)
        return DGF_EXIT_CANNOT;
    exit_code = start(&d, set, &args);
    free_event(d.timer);
    free_event(d.ledger);
    free_event(d.archive);
    free_event(d.sigterm);
    free_event(d.sigint);
    free_event(d.sighup);
    free_event(d.sigusr1);
    event_base_free(d.loop);
    dgf_metrics_release();
    return exit_code;
}
