/* pipeline.h - owns and wires all parts: sources -> engine -> ledger -> sinks.
 *
 * Everything happens in dgf_pipeline_turn() and in the calls sources and sinks
 * make from the loop; time comes from base/clock.h only, so that a test can
 * drive the whole thing with a clock and a disk of its own.
 *
 * Invariants:
 * - What one event leads to (records, state, its position) is in one batch.
 * - A source hears `durable` only for events whose batch is on disk (and, with
 *   ack: sinks, that every required sink has).
 * - A source that fails is opened again at its last accepted position; only a
 *   new process starts at the durable one.
 * Thread: loop. */
#ifndef DGF_PIPELINE_H
#define DGF_PIPELINE_H

#include "bus/sink.h"
#include "bus/source.h"
#include "engine.h"
#include "ledger/ledger.h"

struct dgf_pipeline;

struct dgf_source_conf {
    const char *name;
    const struct dgf_source_type *type;
    void *conf;                /* loaded by type->opts; borrowed */
    struct dgf_str_map labels; /* borrowed */
};

struct dgf_sink_setup {
    const char *name;
    const struct dgf_sink_type *type;
    void *conf; /* begins with struct dgf_sink_conf; borrowed */
};

struct dgf_pipeline_conf {
    const char *agent, *env;
    struct dgf_ledger_conf ledger;
    bool ack_sinks;           /* acknowledge only what required sinks have */
    bool until_caught_up;     /* stop when all there was at start is through */
    const char *until;        /* the same, but one source ends at this position */
    const char *until_source; /* which; NULL: the only one */
    size_t event_bytes;       /* limits.event_bytes */
    const struct dgf_source_conf *sources;
    size_t n_sources;
    const struct dgf_sink_setup *sinks;
    size_t n_sinks;
    const char *keys_tenant, *keys_token,
        *keys_sign;          /* files; NULL: made in data_dir/keys */
    bool archive;            /* seal and sign what the journal holds */
    uint64_t cut_bytes;      /* 0: 32 MiB */
    int64_t cut_every_ns;    /* 0: 60 s */
    const char *config_json; /* for the config record: digest and names, no secrets */
    bool insecure;           /* something runs with insecure: true */
};

/* Everything in conf is borrowed for the life of the pipeline; set is
 * referenced.  DGF_AGAIN: another agent owns the data directory (exit 75).
 * DGF_RETRY: no space to open it; nothing is left open, call again later.
 * DGF_BAD_DATA: the ledger is not the one that was signed (76).  DGF_FATAL: the
 * journal cannot be trusted (71). */
enum dgf_rc dgf_pipeline_open(struct event_base *loop,
                              const struct dgf_pipeline_conf *conf,
                              struct dgf_policy_set *set, struct dgf_pipeline **ret,
                              struct dgf_err *err) DGF_MUST_USE;
/* Closes sources and sinks; what was not handed over is forgotten, as in a crash. */
void dgf_pipeline_free(struct dgf_pipeline *pipeline);

/* One turn: whatever can be done now.  *ret_wait_ns: longest time to the next
 * turn unless an event comes before.  DGF_FATAL: end the process with
 * dgf_pipeline_exit_code(). */
enum dgf_rc dgf_pipeline_turn(struct dgf_pipeline *pipeline, int64_t *ret_wait_ns,
                              struct dgf_err *err) DGF_MUST_USE;
/* Stop reading, let everything become durable and, for at most limit_ns, be
 * delivered.  dgf_pipeline_done() tells when. */
void dgf_pipeline_drain(struct dgf_pipeline *pipeline, int64_t limit_ns);
/* At the end: logs each sink that lacks records, how many, and what becomes of them. */
void dgf_pipeline_say_left(const struct dgf_pipeline *pipeline);
bool dgf_pipeline_done(struct dgf_pipeline *pipeline);
int dgf_pipeline_exit_code(const struct dgf_pipeline *pipeline);

/* Readable when a turn is due; the second is -1 without an archive. */
int dgf_pipeline_ledger_fd(const struct dgf_pipeline *pipeline);
int dgf_pipeline_archive_fd(const struct dgf_pipeline *pipeline);

/* A new policy set: each source takes it at its next transaction boundary. */
enum dgf_rc dgf_pipeline_reload(struct dgf_pipeline *pipeline,
                                struct dgf_policy_set *set, struct dgf_err *err)
    DGF_MUST_USE;
/* status.json is written at every change, and at least this often. */
#define DGF_STATUS_EVERY_NS (10 * INT64_C(1000000000))

/* A failed reload: the old set stays; said in status.json, where health is degraded
 * until one succeeds. */
void dgf_pipeline_reload_failed(struct dgf_pipeline *pipeline, const char *why);

/* Writes data_dir/status.json now. */
void dgf_pipeline_write_status(struct dgf_pipeline *pipeline);
void dgf_pipeline_status_json(const struct dgf_pipeline *pipeline, struct dgf_buf *out);

#endif
