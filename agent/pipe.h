/* pipe.h - the inside of the pipeline, shared by pipeline.c, pipe_source.c,
 * projector.c and status.c.  Nobody else includes it. */
#ifndef DGF_PIPE_H
#define DGF_PIPE_H

#include "base/metrics.h"
#include "base/worker.h"
#include "ledger/archive.h"
#include "ledger/reader.h"
#include "pipeline.h"

#define DGF_SECOND_NS INT64_C(1000000000)
#define DGF_COVERAGE_NS (60 * DGF_SECOND_NS)
/* Verifiers take 120 s without a heartbeat for records that were taken out, unless a
 * `resume` record stands between. */
#define DGF_HEARTBEAT_LATE_NS (100 * DGF_SECOND_NS)
#define DGF_LAZY_NS DGF_SECOND_NS              /* a batch nobody waits for */
#define DGF_ACKNOWLEDGE_NS (2 * DGF_SECOND_NS) /* longest wait for it at the end */
#define DGF_TURN_BYTES (1u << 20)              /* a source's quota a turn of the loop */
#define DGF_RETRY_MIN_NS (DGF_SECOND_NS / 4)
#define DGF_RETRY_MAX_NS (30 * DGF_SECOND_NS)
#define DGF_STANDBY_RETRY_NS DGF_SECOND_NS
#define DGF_CONFIG_RETRY_NS (30 * DGF_SECOND_NS)

/* What a source may hear once `next_index` is through. */
struct pipe_ack {
    uint64_t next_index, seq;
};

struct pipe_source {
    struct dgf_source *src; /* type->self_size bytes, owned */
    struct dgf_pipeline *pipeline;
    const struct dgf_source_conf *conf;
    struct dgf_engine *engine;       /* its own: sources take a new set one by one */
    struct dgf_policy_set *set;      /* in force for this source */
    struct dgf_policy_set *next_set; /* waits for a transaction boundary */

    struct dgf_buf position; /* last accepted */
    struct dgf_buf counters; /* coverage as a commit keeps it; memory is reused */
    struct dgf_coverage coverage;
    int64_t covered_ns;    /* `logged` of our newest coverage record; 0: none yet */
    bool dirty;            /* position or counts are not in a batch yet */
    bool in_tx;            /* last accepted event was inside a transaction */
    uint64_t accepted_seq; /* newest event that was judged */
    uint64_t n_gaps, n_undecodable; /* since the process began, as are the counts */
    struct dgf_coverage_note counts[DGF_COVERAGE_NOTES]; /* of the source's own words */
    unsigned n_counts;
    uint64_t handed_seq,
        handed_next;          /* newest in the batch being written, and its end */
    uint64_t told_seq;        /* newest the source was told is durable */
    struct pipe_ack acks[64]; /* ack: sinks; oldest first */
    size_t n_acks;

    bool is_open, paused, wants_turn, caught_up;
    bool waits_said; /* since it last streamed */
    size_t turn_bytes;
    enum dgf_source_state state;
    char reason[DGF_ERR_TEXT_MAX];
    char impaired[DGF_ERR_TEXT_MAX]; /* "": it reads all it should */
    int64_t state_since_ns;
    enum dgf_rc failed;            /* set by fail(); acted upon in the turn */
    bool stopped;                  /* FATAL: stays down */
    int64_t retry_at_ns, retry_ns; /* monotonic; 0: none */
    int64_t position_time_ns;      /* commit time of the newest event */
    struct dgf_metric *m_events[DGF_KIND_N], *m_gaps, *m_position_time, *m_state;
};

struct pipe_sink {
    struct dgf_sink *sink; /* type->self_size bytes, owned */
    struct dgf_pipeline *pipeline;
    const struct dgf_sink_setup *setup;
    struct dgf_ledger_reader *reader;
    struct dgf_archive_piece piece; /* of a sink that keeps the archive: with it now */
    struct dgf_sealed_object *objects;
    struct dgf_sealed sealed;
    uint64_t next;         /* to offer next */
    uint64_t durable;      /* everything below is delivered */
    struct dgf_buf cursor; /* newest cursor */
    bool cursor_dirty;
    bool is_open, blocked, flushed, stopped, ok;
    bool told_ok;    /* what the sink itself said last */
    bool unsaid;     /* the reason is not in the log yet */
    int64_t said_ns; /* monotonic time of the newest reason in the log; 0: none yet */
    char reason[DGF_ERR_TEXT_MAX];
    int64_t since_ns;
    enum dgf_rc failed;
    int64_t retry_at_ns, retry_ns;
    struct dgf_metric *m_next, *m_failures;
};

/* Where archive segments end, and how far they are sealed. */
struct pipe_archive {
    struct dgf_archive *archive; /* owned; NULL: none is kept */
    struct dgf_archive_news news;
    bool said;             /* that it stands still */
    int64_t since_ns;      /* when the state changed */
    uint64_t bytes;        /* of records since the newest cut, about */
    int64_t cut_ns;        /* monotonic time of the newest cut */
    int64_t cut_time_ns;   /* its checkpoint's time; 0: none by this process */
    bool resumed;          /* a `resume` record stands behind it */
    bool wanted;           /* a cut, with the next batch */
    uint64_t cut_handed;   /* a cut in the batch being written; 0: none */
    uint64_t pruned;       /* removed once this record is durable ... */
    uint64_t pruned_after; /* ... which is below this index; 0: none */
    struct dgf_metric *m_next;
};

struct dgf_pipeline {
    struct event_base *loop;
    const struct dgf_pipeline_conf *conf;
    struct dgf_workers *workers;
    struct dgf_ledger *ledger;
    struct pipe_archive archive;
    struct dgf_recorder recorder;
    struct dgf_policy_set *set; /* newest */
    uint8_t tenant_key[32], token_key[32];
    bool is_first;                /* the ledger was empty */
    bool made_tenant, made_token; /* by this start */
    struct pipe_source *sources;
    struct pipe_sink *sinks;
    struct dgf_ledger_news news;
    struct dgf_buf scratch;
    enum dgf_rc broken; /* a failure inside a callback that ends the process */
    char broken_text[DGF_ERR_TEXT_MAX];
    int exit_code;
    const char *alarm; /* of a sink: evidence is contradicted; NULL: none */

    int64_t lazy_since_ns; /* monotonic time the open batch got its first content; 0:
                              empty */
    bool held;             /* budget or disk: sources are paused and it was said */
    bool held_by_space;
    int64_t held_since_ns;
    int64_t resumed_ns; /* `logged` of our newest `resume` record */
    bool draining;
    bool drain_delivery; /* also wait for sinks, until drain_until_ns */
    int64_t drain_until_ns;
    bool acknowledged; /* or not waited for any longer */
    int64_t acknowledge_until_ns;
    bool status_dirty;
    int64_t status_at_ns; /* monotonic time of the newest status.json */
    int64_t started_ns;
    char reload_error[DGF_ERR_TEXT_MAX];
    uint64_t reload_generation;
    struct dgf_metric *m_ledger_size, *m_commit;
    int64_t handed_at_ns;
};

/* pipe_source.c */
enum dgf_rc pipe_source_init(struct pipe_source *ps, struct dgf_pipeline *pipeline,
                             const struct dgf_source_conf *conf, struct dgf_err *err)
    DGF_MUST_USE;
void pipe_source_release(struct pipe_source *ps);
void pipe_source_turn(struct pipe_source *ps, int64_t now_ns, int64_t *wait_ns);
void pipe_source_close(struct pipe_source *ps);
/* Puts position and counts into the open batch when they changed. */
enum dgf_rc pipe_source_commit(struct pipe_source *ps, struct dgf_err *err)
    DGF_MUST_USE;
void pipe_source_handed(struct pipe_source *ps, uint64_t next_index);
void pipe_source_durable(struct pipe_source *ps);
void pipe_source_tell(struct pipe_source *ps);
void pipe_source_pause(struct pipe_source *ps, bool pause);
/* First records of a start: what was counted under other policies. */
enum dgf_rc pipe_source_begin(struct pipe_source *ps) DGF_MUST_USE;
enum dgf_rc pipe_source_coverage(struct pipe_source *ps, int64_t now_ns) DGF_MUST_USE;
bool pipe_source_settled(const struct pipe_source *ps);

/* pipe_archive.c; all of them do nothing without an archive */
enum dgf_rc pipe_archive_open(struct dgf_pipeline *pipeline, struct dgf_err *err)
    DGF_MUST_USE;
void pipe_archive_release(struct dgf_pipeline *pipeline);
/* Keeps the texts of a set that is about to be in force, and says so in the batch. */
enum dgf_rc pipe_archive_policies(struct dgf_pipeline *pipeline,
                                  const struct dgf_policy_set *set, struct dgf_err *err)
    DGF_MUST_USE;
/* News of the sealing thread, retention, and whether a cut is due. */
enum dgf_rc pipe_archive_turn(struct dgf_pipeline *pipeline, int64_t now_ns,
                              int64_t *wait_ns, struct dgf_err *err) DGF_MUST_USE;
/* Into the batch that is about to leave, when one is due. */
enum dgf_rc pipe_archive_cut(struct dgf_pipeline *pipeline, struct dgf_err *err)
    DGF_MUST_USE;
void pipe_archive_handed(struct dgf_pipeline *pipeline);
void pipe_archive_durable(struct dgf_pipeline *pipeline);
/* Everything that is durable is sealed, or never will be; else asks for it. */
bool pipe_archive_settled(struct dgf_pipeline *pipeline);
/* How far the journal may go, as far as the archive is concerned. */
uint64_t pipe_archive_through(const struct dgf_pipeline *pipeline);
bool pipe_archive_ok(const struct dgf_pipeline *pipeline);

/* projector.c */
enum dgf_rc pipe_sink_init(struct pipe_sink *sink, struct dgf_pipeline *pipeline,
                           const struct dgf_sink_setup *setup, struct dgf_err *err)
    DGF_MUST_USE;
void pipe_sink_release(struct pipe_sink *sink);
/* Offers what is durable; *busy when there is more to do at once. */
void pipe_sink_turn(struct pipe_sink *sink, int64_t now_ns, int64_t *wait_ns,
                    bool *busy);
/* The first index some required sink (only_required) or any sink lacks. */
uint64_t pipe_sinks_through(const struct dgf_pipeline *pipeline, bool only_required);
/* The same of those alone that read the journal, or the archive. */
uint64_t pipe_sinks_journal(const struct dgf_pipeline *pipeline);
uint64_t pipe_sinks_archive(const struct dgf_pipeline *pipeline);
/* Has every sink all that is durable?  Those that stopped for good are not asked. */
bool pipe_sinks_delivered(const struct dgf_pipeline *pipeline);

/* status.c; status.json again, when something changed or it grew old */
void pipe_status_turn(struct dgf_pipeline *pipeline, int64_t now_ns, int64_t *wait_ns);

/* pipeline.c */
void pipe_break(struct dgf_pipeline *pipeline, enum dgf_rc rc, const char *text);
bool pipe_must_pause(const struct dgf_pipeline *pipeline);
/* Of a heartbeat that is about to come: does it, and the record that says why. */
bool pipe_is_late(const struct dgf_pipeline *pipeline, int64_t since_ns);
enum dgf_rc pipe_say_late(struct dgf_pipeline *pipeline, int64_t since_ns) DGF_MUST_USE;

static inline void pipe_wait_at_most(int64_t *wait_ns, int64_t ns)
{
    if (ns < 0)
        ns = 0;
    if (ns < *wait_ns)
        *wait_ns = ns;
}

#endif
