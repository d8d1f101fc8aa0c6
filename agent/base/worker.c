#include "config.h"

#include "base/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct queue {
    struct dgf_job *first, **end;
};

struct dgf_workers {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct queue waiting, finished; /* under lock */
    bool stop;                      /* under lock */
    struct event *event;
    int fd; /* written when something has finished */
    unsigned n_threads;
    pthread_t threads[];
};

static void push(struct queue *queue, struct dgf_job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct dgf_job *pop(struct queue *queue)
{
    struct dgf_job *job = queue->first;

    if (job && !(queue->first = job->next))
        queue->end = &queue->first;
    return job;
}

static void tell_loop(struct dgf_workers *workers)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then the loop knows already. */
    (void)!write(workers->fd, &one, sizeof(one));
}

static void *work(void *arg)
{
    struct dgf_workers *workers = arg;
    struct dgf_job *job;

    (void)pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (!workers->waiting.first && !workers->stop)
            (void)pthread_cond_wait(&workers->wake, &workers->lock);
        if (workers->stop)
            break;
        job = pop(&workers->waiting);
        (void)pthread_mutex_unlock(&workers->lock);
        if (!__atomic_load_n(&job->cancelled, __ATOMIC_RELAXED))
            job->run(job);
        (void)pthread_mutex_lock(&workers->lock);
        push(&workers->finished, job);
        tell_loop(workers);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    return NULL;
}

static struct dgf_job *next_finished(struct dgf_workers *workers)
{
    struct dgf_job *job;

    (void)pthread_mutex_lock(&workers->lock);
    job = pop(&workers->finished);
    (void)pthread_mutex_unlock(&workers->lock);
    return job;
}

static void on_finished(evutil_socket_t fd, short what, void *arg)
{
    struct dgf_workers *workers = arg;
    struct dgf_job *job;
    uint64_t count;

    (void)what;
    (void)!read(fd, &count, sizeof(count));
    while ((job = next_finished(workers)))
        job->done(job);
}

/* Signals are the loop's: a worker must not be the thread that gets them. */
static int start_threads(struct dgf_workers *workers, unsigned n)
{
    sigset_t all, before;
    int failed = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (!failed && workers->n_threads < n) {
        failed =
            pthread_create(&workers->threads[workers->n_threads], NULL, work, workers);
        if (!failed)
            (void)pthread_setname_np(workers->threads[workers->n_threads++],
                                     "dgf-worker");
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

enum dgf_rc dgf_workers_new(struct event_base *base, unsigned n_threads,
                            struct dgf_workers **ret, struct dgf_err *err)
{
    struct dgf_workers *workers =
        dgf_calloc(1, sizeof(*workers) + n_threads * sizeof(workers->threads[0]));
    int failed;

    if (!workers)
        return dgf_err_set(err, DGF_NOMEM, "cannot start workers: out of memory");
    (void)pthread_mutex_init(&workers->lock, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
    workers->waiting.end = &workers->waiting.first;
    workers->finished.end = &workers->finished.first;
    workers->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    failed = workers->fd < 0 ? errno : 0;
    if (!failed) {
        workers->event =
            event_new(base, workers->fd, EV_READ | EV_PERSIST, on_finished, workers);
        failed = !workers->event || event_add(workers->event, NULL) ? ENOMEM : 0;
    }
    if (!failed)
        failed = start_threads(workers, n_threads);
    if (failed) {
        dgf_workers_free(workers);
        return dgf_err_set(err, failed == ENOMEM ? DGF_NOMEM : DGF_FATAL,
                           "cannot start workers: %s", dgf_errno_text(failed));
    }
    *ret = workers;
    return DGF_OK;
}

/* False: a thread is stuck in its job, and left to itself. */
static bool join_threads(struct dgf_workers *workers)
{
    int64_t ns = dgf_clock_ns() + DGF_WORKERS_WAIT_S * INT64_C(1000000000);
    struct timespec until = {ns / 1000000000, ns % 1000000000};
    bool all = true;

    for (unsigned i = 0; i < workers->n_threads; i++) {
        if (!pthread_timedjoin_np(workers->threads[i], NULL, &until))
            continue;
        (void)pthread_detach(workers->threads[i]);
        all = false;
    }
    return all;
}

void dgf_workers_free(struct dgf_workers *workers)
{
    struct dgf_job *job;
    bool all;

    if (!workers)
        return;
    (void)pthread_mutex_lock(&workers->lock);
    workers->stop = true;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->lock);
    all = join_threads(workers);
    (void)pthread_mutex_lock(&workers->lock);
    while ((job = pop(&workers->waiting))) {
        dgf_job_cancel(job);
        push(&workers->finished, job);
    }
    (void)pthread_mutex_unlock(&workers->lock);
    /* done may submit again: such a job ends up here too, cancelled */
    while ((job = next_finished(workers)))
        job->done(job);
    if (workers->event)
        event_free(workers->event);
    workers->event = NULL;
    if (!all)
        return; /* the stuck thread still looks at it when it comes back */
    if (workers->fd >= 0)
        (void)close(workers->fd);
    (void)pthread_cond_destroy(&workers->wake);
    (void)pthread_mutex_destroy(&workers->lock);
    dgf_free(workers);
}

void dgf_workers_submit(struct dgf_workers *workers, struct dgf_job *job)
{
    (void)pthread_mutex_lock(&workers->lock);
    if (workers->stop) {
        dgf_job_cancel(job);
        push(&workers->finished, job);
    } else {
        push(&workers->waiting, job);
        (void)pthread_cond_signal(&workers->wake);
    }
    (void)pthread_mutex_unlock(&workers->lock);
}

void dgf_job_cancel(struct dgf_job *job)
{
    __atomic_store_n(&job->cancelled, true, __ATOMIC_RELAXED);
}
