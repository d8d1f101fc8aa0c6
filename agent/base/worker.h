/* worker.h - blocking work off the loop: a job runs on a worker thread, and
 * its `done` runs on the loop afterwards.  Thread: loop, except job.run. */
#ifndef DGF_BASE_WORKER_H
#define DGF_BASE_WORKER_H

#include <stdbool.h>

#include "base/err.h"

struct event_base;
struct dgf_workers;

struct dgf_job {
    void (*run)(struct dgf_job *job);  /* worker thread; touches only the job */
    void (*done)(struct dgf_job *job); /* loop; owns the job again */
    struct dgf_job *next;
    /* Set by dgf_job_cancel: a job that waits is not run, done still is.  A long
     * run reads it with __atomic_load_n now and then. */
    bool cancelled;
};

enum dgf_rc dgf_workers_new(struct event_base *base, unsigned n_threads,
                            struct dgf_workers **ret, struct dgf_err *err) DGF_MUST_USE;
/* Waits for running jobs, cancels those that wait, calls done for all.  A job that
 * runs for longer than this (a name lookup nobody answers) is left to itself with
 * all it owns, and its done is never called: the process is about to end. */
#define DGF_WORKERS_WAIT_S 1
void dgf_workers_free(struct dgf_workers *workers);
void dgf_workers_submit(struct dgf_workers *workers, struct dgf_job *job);
void dgf_job_cancel(struct dgf_job *job);

#endif
