/* sink.h - what a connector that delivers records implements, and what it may
 * call.  A sink is a projection of the ledger: it can always be sent records
 * again from an earlier index.
 *
 * Rules: never waits, never touches the disk (but what it delivers to), never
 * retries beyond what its client library does, never logs above debug.
 * Everything on the loop thread. */
#ifndef DGF_BUS_SINK_H
#define DGF_BUS_SINK_H

#include "base/findings.h"
#include "base/opt.h"
#include "bus/record.h"

struct event_base;
struct dgf_workers;
struct dgf_sink;

/* A sealed piece of the evidence archive: objects that exist as files and never
 * change again, except those that `replace` marks.  Borrowed until the sink said it
 * is durable, or is closed. */
struct dgf_sealed_object {
    const char *name; /* below the log id: "segments/1042.ndjson.zst" */
    const char *path; /* the file that holds its bytes */
    bool replace;     /* the newest one wins: checkpoint, keys.json */
};
struct dgf_sealed {
    uint64_t first, next;                    /* leaves first <= index < next */
    const struct dgf_sealed_object *objects; /* in the order they must become visible */
    size_t n_objects;
};

struct dgf_sink_type {
    const char *name, *summary;
    const struct dgf_opt *opts;  /* includes DGF_SINK_OPTS rows, see below */
    size_t conf_size, self_size; /* conf begins with struct dgf_sink_conf; self with
                                    struct dgf_sink */
    void (*validate)(const void *conf, const char *what, struct dgf_mark mark,
                     struct dgf_findings *findings); /* NULL: nothing to add */
    enum dgf_rc (*check)(struct dgf_sink *sink, struct dgf_findings *findings,
                         struct dgf_err *err); /* `dgf check`: may block */
    /* cursor: what dgf_sink_durable gave last and the ledger kept; empty: none.
     * *ret_next: in: below it all was delivered or declared a gap; out: first
     * index it lacks as the sink itself knows (a sink that cannot know gives
     * what the cursor says, or 0). */
    enum dgf_rc (*open)(struct dgf_sink *sink, struct dgf_bytes cursor,
                        uint64_t *ret_next, struct dgf_err *err);
    /* Records in order, filtered ones too (sink.c's select says which to send).
     * The record is borrowed during the call.  DGF_AGAIN: not taken, the window
     * is full; offer again after dgf_sink_room. */
    enum dgf_rc (*offer)(struct dgf_sink *sink, const struct dgf_record *record,
                         struct dgf_err *err);
    /* Instead of offer, for a sink that keeps the archive: segments in order, one at a
     * time; dgf_sink_durable(next) when all its objects are there and were read back.
     * DGF_AGAIN as for offer.  NULL: takes records. */
    enum dgf_rc (*archive)(struct dgf_sink *sink, const struct dgf_sealed *sealed,
                           struct dgf_err *err);
    void (*flush)(struct dgf_sink *sink); /* no more records for now */
    /* Address it writes to, where a source could read what it wrote; NULL: nowhere. */
    const char *(*writes_to)(const void *conf);
    void (*close)(struct dgf_sink *sink); /* `open` may follow */
};

struct dgf_select {                      /* which records a sink sends */
    struct dgf_str_list kinds, policies; /* empty: all; policies are globs with * */
    int min_severity;                    /* enum dgf_severity */
};

struct dgf_sink_conf {
    bool
        required; /* its cursor holds back pruning (and, with ack: sinks, the source) */
    struct dgf_select select;
};
extern const struct dgf_opt dgf_select_opts[]; /* for a GROUP row at conf.select */

/* First rows of every sink's table; T: its conf struct with `base` first. */
#define DGF_SINK_OPTS(T)                                                              \
    {"required",                                                                      \
     DGF_OPT_BOOL,                                                                    \
     offsetof(T, base.required),                                                      \
     0,                                                                               \
     "true",                                                                          \
     NULL,                                                                            \
     NULL,                                                                            \
     "keep every record until this sink has it"},                                     \
    {                                                                                 \
        "select", DGF_OPT_GROUP, offsetof(T, base.select), 0, NULL, NULL, NULL,       \
            "which records to send; the cursor moves over all", NULL, dgf_select_opts \
    }

/* Sent by this sink?  policy violations below min_severity, other kinds and
 * other policies are not; control and gap records ignore min_severity. */
bool dgf_select_match(const struct dgf_select *select, const struct dgf_record *record);
/* Can any record of this kind be sent? */
bool dgf_select_kind(const struct dgf_select *select, enum dgf_record_kind kind);
/* Findings (E0205) for kinds that do not exist; a sink's validate calls it. */
void dgf_select_validate(const struct dgf_select *select, const char *what,
                         struct dgf_mark mark, struct dgf_findings *findings);

struct dgf_sink_host {
    void (*durable)(struct dgf_sink *sink, uint64_t next, struct dgf_bytes cursor);
    void (*room)(struct dgf_sink *sink);
    void (*fail)(struct dgf_sink *sink, enum dgf_rc rc, const char *text);
    void (*state)(struct dgf_sink *sink, bool ok, const char *reason);
};

struct dgf_sink {
    const struct dgf_sink_type *type;
    const char *name;
    void *conf;
    struct event_base *loop;
    struct dgf_workers *workers;
    const struct dgf_sink_host *host;
    void *host_self;
    const char *agent, *env; /* for ce_source, topic names */
    const char *log_id;      /* hex text: cursors of another log are void */
    const char *alarm;       /* NULL.  A static word before dgf_sink_fail(DGF_FATAL):
                                where it delivers to contradicts the ledger ("fork") or
                                itself ("altered"); the process then ends with 76 */
};

/* All records with an index below next are delivered; cursor is kept by the
 * ledger (lazily) and given back at open. */
static inline void dgf_sink_durable(struct dgf_sink *sink, uint64_t next,
                                    struct dgf_bytes cursor)
{
    sink->host->durable(sink, next, cursor);
}

static inline void dgf_sink_room(struct dgf_sink *sink)
{
    sink->host->room(sink);
}

/* RETRY: closed and opened again at the last durable index after a back-off.
 * BAD_DATA: a record is refused as such: the sink stays stopped and health says
 * why.  Closing happens from the loop, not inside this call. */
void dgf_sink_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
/* Health without an end of the attempt: "broker unreachable since ...". */
void dgf_sink_state(struct dgf_sink *sink, bool ok, const char *fmt, ...)
    DGF_PRINTF(3, 4);

#endif
