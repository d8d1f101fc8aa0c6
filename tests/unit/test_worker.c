#include "base/worker.h"

#include <event2/event.h>
#include <pthread.h>
#include <semaphore.h>

#include "unit.h"

struct counted {
    struct dgf_job job; /* first: we cast from it */
    pthread_t ran_on;
    int n_run, n_done;
};

static struct event_base *loop;
static struct dgf_workers *workers;
static struct dgf_err err;
static int n_left;
static sem_t entered, leave;

static void run(struct dgf_job *job)
{
    struct counted *counted = (struct counted *)job;

    counted->ran_on = pthread_self();
    counted->n_run++;
}

static void done(struct dgf_job *job)
{
    ((struct counted *)job)->n_done++;
    if (--n_left == 0)
        (void)event_base_loopbreak(loop);
}

static void run_held(struct dgf_job *job)
{
    run(job);
    (void)sem_post(&entered);
    (void)sem_wait(&leave);
}

static void begin(unsigned n_threads)
{
    loop = event_base_new();
    ck_assert_ptr_nonnull(loop);
    ck_assert_int_eq(sem_init(&entered, 0, 0), 0);
    ck_assert_int_eq(sem_init(&leave, 0, 0), 0);
    ck_assert_int_eq(dgf_workers_new(loop, n_threads, &workers, &err), DGF_OK);
}

START_TEST(jobs_run_elsewhere_and_are_done_on_the_loop)
{
    struct counted jobs[100] = {0};

    begin(3);
    n_left = 100;
    for (int i = 0; i < 100; i++) {
        jobs[i].job = (struct dgf_job){.run = run, .done = done};
        dgf_workers_submit(workers, &jobs[i].job);
    }
    (void)event_base_dispatch(loop);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(jobs[i].n_run, 1);
        ck_assert_int_eq(jobs[i].n_done, 1);
        ck_assert(!pthread_equal(jobs[i].ran_on, pthread_self()));
    }
    dgf_workers_free(workers);
    event_base_free(loop);
}
END_TEST

START_TEST(a_cancelled_job_is_not_run_and_still_done)
{
    struct counted held = {.job = {.run = run_held, .done = done}};
    struct counted waiting = {.job = {.run = run, .done = done}};

    begin(1);
    n_left = 2;
    dgf_workers_submit(workers, &held.job);
    (void)sem_wait(&entered);
    dgf_workers_submit(workers, &waiting.job);
    dgf_job_cancel(&waiting.job);
    (void)sem_post(&leave);
    (void)event_base_dispatch(loop);
    ck_assert_int_eq(held.n_run, 1);
    ck_assert_int_eq(held.n_done, 1);
    ck_assert_int_eq(waiting.n_run, 0);
    ck_assert_int_eq(waiting.n_done, 1);
    ck_assert(waiting.job.cancelled);
    dgf_workers_free(workers);
    event_base_free(loop);
}
END_TEST

static struct counted again = {.job = {.run = run, .done = done}};

static void done_and_again(struct dgf_job *job)
{
    done(job);
    dgf_workers_submit(workers, &again.job);
}

START_TEST(an_end_waits_for_what_runs_and_is_done_with_all)
{
    struct counted held = {.job = {.run = run_held, .done = done_and_again}};
    struct counted waiting = {.job = {.run = run, .done = done}};

    begin(1);
    n_left = 100;
    dgf_workers_submit(workers, &held.job);
    (void)sem_wait(&entered);
    dgf_workers_submit(workers, &waiting.job);
    /* posted before the end begins: whether the worker sees `stop` or the next
     * job first, each job is done once */
    (void)sem_post(&leave);
    dgf_workers_free(workers);
    ck_assert_int_eq(held.n_run, 1);
    ck_assert_int_eq(held.n_done, 1);
    ck_assert_int_eq(waiting.n_done, 1);
    ck_assert_int_eq(waiting.n_run, waiting.job.cancelled ? 0 : 1);
    ck_assert_int_eq(again.n_run, 0);
    ck_assert_int_eq(again.n_done, 1);
    dgf_workers_free(NULL);
    event_base_free(loop);
}
END_TEST

START_TEST(a_job_that_never_ends_keeps_nobody_from_ending)
{
    static struct counted stuck,
        waiting; /* outlive this function, as its thread does */

    begin(1);
    n_left = 2;
    stuck.job = (struct dgf_job){.run = run_held, .done = done};
    waiting.job = (struct dgf_job){.run = run, .done = done};
    dgf_workers_submit(workers, &stuck.job);
    (void)sem_wait(&entered);
    dgf_workers_submit(workers, &waiting.job);
    dgf_workers_free(workers);
    ck_assert_int_eq(stuck.n_done, 0);
    ck_assert_int_eq(waiting.n_run, 0);
    ck_assert_int_eq(waiting.n_done, 1);
    (void)sem_post(&leave);
    event_base_free(loop);
}
END_TEST

DGF_UNIT(worker, a_job_that_never_ends_keeps_nobody_from_ending,
         jobs_run_elsewhere_and_are_done_on_the_loop,
         a_cancelled_job_is_not_run_and_still_done,
         an_end_waits_for_what_runs_and_is_done_with_all)
