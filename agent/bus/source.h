/* source.h - what a connector that reads a database implements, and what it
 * may call.  One connector = one file with one struct dgf_source_type.
 *
 * Rules: a source never waits (name lookup and other blocking work go to
 * dgf_source_job), never touches the disk, never retries beyond one attempt,
 * and never logs above debug.  Everything on the loop thread. */
#ifndef DGF_BUS_SOURCE_H
#define DGF_BUS_SOURCE_H

#include "base/findings.h"
#include "base/opt.h"
#include "base/worker.h"
#include "bus/event.h"

struct event_base;
struct dgf_source;

struct dgf_source_type {
    const char *name, *summary;
    const char *aliases; /* "postgresql"; NULL: none */
    enum dgf_guarantee guarantee;
    /* Where it depends on the configuration; NULL: it does not. */
    enum dgf_guarantee (*guarantee_of)(const void *conf);
    const struct dgf_opt *opts;
    size_t conf_size, self_size; /* self begins with struct dgf_source */
    /* After the options were loaded: what a table cannot say (combinations).  Values
     * that were wrong or missing are as zero.  NULL: nothing to add. */
    void (*validate)(const void *conf, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings);
    /* Preflight of `dgf check`: connects, changes nothing, may block.  Missing
     * grants and settings become findings with the fix as SQL or CLI. */
    enum dgf_rc (*check)(struct dgf_source *src, struct dgf_findings *findings,
                         struct dgf_err *err);
    /* Starts connecting.  position: last accepted one, empty at a first start.
     * Returns at once; what fails later is told by dgf_source_fail. */
    enum dgf_rc (*open)(struct dgf_source *src, struct dgf_bytes position,
                        struct dgf_err *err);
    void (*pause)(struct dgf_source *src);  /* stop reading, keep the session alive */
    void (*resume)(struct dgf_source *src); /* also: a new turn after DGF_AGAIN */
    /* All events <= seq are safe.  Also comes right after `open`, with what was
     * told before or became durable while the source was closed. */
    void (*durable)(struct dgf_source *src, uint64_t seq);
    /* The end: reads nothing more, and says whether the server has confirmed every
     * acknowledgement of what is durable.  Asked again and again, for a moment only:
     * what is not confirmed then is found again at the next start.  NULL: it
     * acknowledges nothing, or need not wait. */
    bool (*acknowledged)(struct dgf_source *src);
    /* Closes everything that open made; conf and self stay.  Fine when half open
     * or closed.  `open` may follow. */
    void (*close)(struct dgf_source *src);
    /* Opaque position to the text of records.  Pure. */
    void (*position_text)(struct dgf_bytes position, struct dgf_buf *out);
    enum dgf_rc (*inspect)(struct dgf_source *src,
                           struct dgf_err *err); /* NULL: cannot */
    /* What policies may ask for on an object; see dgf_source_gives. */
    unsigned (*gives)(struct dgf_source *src, const struct dgf_object *object);
    /* Read up to this position, as position_text gives it, then say caught_up and
     * read no more.  Once, before `open`.  DGF_BAD_CONFIG: no position to end at.
     * NULL: cannot. */
    enum dgf_rc (*until)(struct dgf_source *src, const char *text, struct dgf_err *err);
};

static inline enum dgf_guarantee dgf_source_guarantee(
    const struct dgf_source_type *type, const void *conf)
{
    return type->guarantee_of ? type->guarantee_of(conf) : type->guarantee;
}

/* What a source gives for an object: bits of dgf_source_type.gives. */
#define DGF_GIVES_BEFORE 1u /* whole old rows */
#define DGF_GIVES_AFTER 2u  /* whole new rows */
#define DGF_GIVES_DELETES 4u
#define DGF_GIVES_EVERY_VERSION 8u
#define DGF_GIVES_ACTOR 16u
#define DGF_GIVES_DDL 32u
#define DGF_GIVES_KEY 64u

/* The side of the pipeline a source calls; tests bring their own. */
struct dgf_source_host {
    enum dgf_rc (*emit)(struct dgf_source *src, struct dgf_event *take_event);
    void (*fail)(struct dgf_source *src, enum dgf_rc rc, const char *text);
    void (*state)(struct dgf_source *src, enum dgf_source_state state,
                  const char *reason);
    /* NULL: not asked for. */
    void (*impaired)(struct dgf_source *src, const char *text);
    void (*caught_up)(struct dgf_source *src);
    enum dgf_rc (*put_state)(struct dgf_source *src, struct dgf_bytes key,
                             struct dgf_bytes value);
    enum dgf_rc (*get_state)(struct dgf_source *src, struct dgf_bytes key,
                             struct dgf_buf *ret);
    /* Things that are no events and are not judged, under a word of the source's
     * ("only_queue"): they stand in the coverage record.  NULL: not asked for. */
    void (*count)(struct dgf_source *src, const char *word, uint64_t n);
    enum dgf_rc (*delete_state)(struct dgf_source *src, struct dgf_bytes key);
    /* Of `dgf check` only; NULL otherwise. */
    void (*found)(struct dgf_source *src, struct dgf_object *object);
};

struct dgf_source {
    const struct dgf_source_type *type;
    const char *name; /* configured: "orders" */
    void *conf;       /* type->conf_size bytes, loaded */
    struct dgf_str_map labels;
    struct event_base *loop;
    struct dgf_workers *workers;
    const struct dgf_source_host *host;
    void *host_self;   /* the pipeline's own per-source data */
    uint64_t next_seq; /* of the next event; starts at 1, never restarts in a process */
    size_t max_event_bytes;  /* limits.event_bytes */
    bool known;              /* the ledger holds a position of this source */
    const char *data_id;     /* log id text: names this ledger in messages */
    struct dgf_str_list own; /* addresses this agent's sinks write to; borrowed */
};

/* Hands an event over; it gets its seq here.  The event is the host's, also on
 * failure.  DGF_OK: go on.  DGF_AGAIN: accepted, but read no more now: wait for
 * `resume` (which also comes at the next turn of the loop when only this
 * turn's quota was used up).  DGF_FATAL: stop. */
static inline enum dgf_rc dgf_source_emit(struct dgf_source *src,
                                          struct dgf_event *take_event)
{
    return src->host->emit(src, take_event);
}

/* The attempt is over: RETRY (the host backs off, closes and opens again at
 * the last accepted position), BAD_CONFIG (stays down until a person changes
 * something; reopened slowly), FATAL (the stream cannot be trusted: the source
 * stops and health says so).  The host closes the source from the loop, not
 * inside this call.  After it the source emits nothing more. */
void dgf_source_fail(struct dgf_source *src, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
/* For status.json; text may be "".  STREAMING resets the back-off. */
void dgf_source_state(struct dgf_source *src, enum dgf_source_state state,
                      const char *fmt, ...) DGF_PRINTF(3, 4);
/* It reads, but not everything the configuration wants: said in the log and in
 * status.json, where health is then degraded, until text is "". */
void dgf_source_impaired(struct dgf_source *src, const char *fmt, ...) DGF_PRINTF(2, 3);
/* Everything the server had when this session opened has been emitted. */
void dgf_source_caught_up(struct dgf_source *src);
/* Inside type->check: an object the source would read.  Policies are compared with
 * it while `type->gives` can still answer for it; borrowed.  A source that knows its
 * objects from their events alone tells none. */
static inline void dgf_source_found(struct dgf_source *src, struct dgf_object *object)
{
    if (src->host && src->host->found)
        src->host->found(src, object);
}
/* Inside type->check: what a person should mend, as "sources.NAME (TYPE): TEXT". */
void dgf_source_finding(struct dgf_source *src, struct dgf_findings *findings,
                        enum dgf_severity_of_finding severity, const char *code,
                        const char *fmt, ...) DGF_PRINTF(5, 6);
/* Source memory: put goes into the same batch as the events emitted before and
 * after it; get gives the newest (DGF_AGAIN: none). */
enum dgf_rc dgf_source_put_state(struct dgf_source *src, struct dgf_bytes key,
                                 struct dgf_bytes value) DGF_MUST_USE;
enum dgf_rc dgf_source_get_state(struct dgf_source *src, struct dgf_bytes key,
                                 struct dgf_buf *ret) DGF_MUST_USE;
/* As put: in the batch of the events around it.  What is not there may be deleted. */
enum dgf_rc dgf_source_delete_state(struct dgf_source *src, struct dgf_bytes key)
    DGF_MUST_USE;

#endif
