/* source_redis.h - what the files of the Redis source share.
 *
 *   source_redis.c           options, open, pause, durable, close
 *   source_redis_address.c   where the server is, from the url
 *   source_redis_link.c      one connection: transport, log-in, commands, replies
 *   source_redis_start.c     from open to reading; what takes part:
 * source_redis_start.h source_redis_read.c      reading streams; what became of them
 *   source_redis_group.c     reading with a consumer group: source_redis_group.h
 *   source_redis_rows.c      entries, gaps and positions as events
 *   source_redis_check.c     preflight of `dgf check`
 *   source_redis_keys.c      the other source: keys
 *   source_redis_inspect.c   its settings and users
 *
 * A node (one server, or one primary of a cluster) has two connections: `data`
 * is asked and answers, `wait` blocks until a stream has something new.  What
 * is remembered of a stream is source state, written in the same batch as its
 * events.  Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_REDIS_H
#define DGF_CONNECTORS_SOURCE_REDIS_H

#include <event2/event.h>

#include "base/metrics.h"
#include "base/tls.h"
#include "bus/source.h"
#include "redis_memory.h"
#include "source_redis_address.h"

#define DGF_REDIS_STREAMS_MAX 10000
#define DGF_REDIS_NODES_MAX 256
#define DGF_REDIS_SLOTS 16384

enum { DGF_REDIS_CURSOR, DGF_REDIS_GROUP };
enum { DGF_REDIS_BEGINNING, DGF_REDIS_NOW };

struct dgf_redis_conf {
    char *url, *user, *password;
    struct dgf_str_list streams;
    int mode, start;
    char *group, *consumer;
    int64_t count, max_deliveries;
    int64_t block_ns, check_ns, discover_ns, connect_timeout_ns, reply_timeout_ns;
    int64_t claim_idle_ns, claim_interval_ns;
    struct dgf_str_map decode;
    struct dgf_redis_map event;
    struct {
        char *ca, *cert, *key;
    } tls;
    bool insecure;
    struct dgf_str_list events; /* redis_keys */
    int64_t sample_ns, sample_keys, inspect_ns;
};

struct dgf_redis_source;
struct dgf_redis_node;

/* ---- one connection ---- */

struct dgf_redis_link;
struct dgf_redis_command;
typedef void dgf_redis_on_item(struct dgf_redis_link *link,
                               const struct dgf_redis_command *command,
                               const struct dgf_resp_item *item);
typedef void dgf_redis_on_up(struct dgf_redis_link *link);

struct dgf_redis_command {
    dgf_redis_on_item *on_item;
    void *ctx;
    uint64_t arg;
    unsigned explode;
    bool keep; /* a subscription: everything that comes is its answer */
    bool ack;  /* its answer is heard at the end too */
};

struct dgf_redis_lookup;

struct dgf_redis_link {
    struct dgf_redis_source *source;
    struct dgf_redis_node *node;
    const char *what; /* "connection", "waiting connection" */
    int fd;           /* -1: none */
    struct dgf_tls *tls;
    struct dgf_redis_lookup *lookup; /* running; owns itself */
    struct event *read, *write;
    struct dgf_resp_reader reader;
    struct dgf_buf out;
    size_t out_at;
    struct dgf_redis_command *queue; /* ring: sent, not answered */
    size_t first, n, cap;
    /* Found in what was received, not dealt with yet; `answered` is their command. */
    struct dgf_resp_item *held;
    size_t held_at, n_held;
    struct dgf_redis_command answered;
    bool damaged; /* what follows them is no RESP */
    bool made, connecting, shaking, up;
    int64_t since_ns; /* the oldest unanswered command, or connecting, waits since */
    dgf_redis_on_up *on_up;
};

void dgf_redis_link_connect(struct dgf_redis_link *link, dgf_redis_on_up *on_up);
void dgf_redis_link_close(struct dgf_redis_link *link);
/* Appends a command; dgf_redis_link_flush sends what was appended. */
void dgf_redis_link_send(struct dgf_redis_link *link, struct dgf_redis_command command,
                         const struct dgf_bytes *words, size_t n);
void dgf_redis_link_flush(struct dgf_redis_link *link);
/* The last item of the reply whose items are handed out, when it is here already;
 * NULL when it is not. */
const struct dgf_resp_item *dgf_redis_link_last(const struct dgf_redis_link *link);
/* Hands out what was received meanwhile and reads on. */
void dgf_redis_link_go_on(struct dgf_redis_link *link);
void dgf_redis_link_tick(struct dgf_redis_link *link, int64_t now_ns);
/* "ERR no such key" ...; empty when the item is no error. */
struct dgf_bytes dgf_redis_error(const struct dgf_resp_item *item);
bool dgf_redis_error_is(const struct dgf_resp_item *item, const char *prefix);

/* ---- streams and nodes ---- */

enum dgf_redis_stream_state {
    DGF_REDIS_IDLE,
    DGF_REDIS_QUEUED,  /* waits for its turn */
    DGF_REDIS_READING, /* commands are under way */
};

enum dgf_redis_phase {
    DGF_REDIS_PHASE_NEW,     /* nothing was asked yet */
    DGF_REDIS_PHASE_PENDING, /* group: our own pending entries */
    DGF_REDIS_PHASE_CLAIMED, /* group: pending ones taken over earlier */
    DGF_REDIS_PHASE_STREAM,
};

struct dgf_redis_stream {
    struct dgf_redis_source *source;
    struct dgf_redis_node *node;
    struct dgf_redis_stream *next; /* in the queue of its node */
    char *name;
    struct dgf_object *object;
    struct dgf_redis_memory memory;
    struct dgf_id_prefix id_prefix;
    enum dgf_redis_stream_state state;
    enum dgf_redis_phase phase;
    bool fresh;                   /* nothing is remembered */
    bool dirty;                   /* memory is not in the batch */
    bool gone, wrong_type, named; /* named: configured without a wildcard */
    bool first_read;              /* was read to its end once */
    bool in_wait, again;
    struct dgf_redis_node *ask; /* where the next turn goes; NULL: no other */
    bool asking;                /* node is not the owner of the slot yet */
    int64_t checked_ns, claimed_ns;

    /* Of the read under way. */
    struct dgf_redis_facts facts;
    bool has_facts, discard, look, retry;
    bool ahead; /* the next read is under way as well */
    struct dgf_redis_verdict verdict;
    uint64_t n_items;
    struct dgf_redis_mark *present; /* of a comparison */
    size_t n_present;

    /* Group mode. */
    struct dgf_redis_id delivered; /* last-delivered-id */
    uint64_t group_read;
    bool group_exists, group_read_known, sole, judge_pending, claiming;
    struct dgf_redis_id cursor; /* of pending entries, of a sweep */
    struct dgf_redis_id *poison;
    size_t n_poison;
    size_t n_unacked;
    int64_t unacked_since_ns;
    uint64_t due_seq; /* memory.group_due is durable with this; 0: not waited for */
    bool due_kept;    /* it is durable */
};

struct dgf_redis_node {
    struct dgf_redis_source *source;
    struct dgf_redis_address address; /* host and port; the rest is the source's */
    struct dgf_redis_link data, wait;
    struct dgf_redis_stream *queue, **queue_end, *reading;
    bool waiting, unblocking;
    uint64_t waited_seq; /* of the next event, when the last wait began */
    int64_t waited_ns;
    int64_t client_id; /* of the waiting connection; 0: unknown */
    uint64_t scan_cursor;
    size_t scan_pattern;
    bool scanning;
    int64_t scanned_ns;
    struct dgf_redis_keys *keys; /* redis_keys; owned */
};

/* Entries taken over whose XACK is under way. */
struct dgf_redis_acking {
    struct dgf_redis_acking *next;
    struct dgf_redis_stream *stream;
    size_t n;
    struct dgf_redis_id ids[];
};

struct dgf_redis_ack {
    uint64_t seq;
    struct dgf_redis_stream *stream;
    struct dgf_redis_id id;
    bool claimed;
};

struct dgf_redis_source {
    struct dgf_source base; /* first: we cast from it */

    /* These outlive a session. */
    uint64_t durable_seq;
    /* Nodes a cluster last had; they are asked when no host of the url answers. */
    struct dgf_redis_seed known[DGF_REDIS_SEEDS_MAX];
    size_t n_known, seed; /* seed: which is asked next, of hosts and known ones */
    bool missed;          /* the one that was asked last did not help */

    bool is_open, failed, paused, blocked, streaming, caught_up;
    bool ending; /* of what comes only answers to acknowledgements are heard */
    bool keys;   /* the source is redis_keys */
    struct dgf_redis_address address;
    struct event *tick, *again;
    char *consumer, *claimer; /* group mode: our two consumers */
    char system[48];          /* replication id when we first came */
    int64_t seen_ns;

    struct dgf_redis_node **nodes;
    size_t n_nodes;
    bool cluster;
    uint16_t *slots;  /* cluster: slot -> node + 1 */
    int64_t slots_ns; /* when they were asked for */

    struct dgf_map streams; /* name -> struct dgf_redis_stream */
    struct dgf_map objects; /* mapped name -> struct dgf_object */
    size_t n_starting;      /* nodes whose first scan is under way */
    size_t n_unread;        /* streams not read to their end yet */
    size_t n_due;           /* streams with a due_seq */
    bool dirty;             /* some stream is */
    char trouble[256];      /* a stream that cannot be read */
    size_t n_skipped;       /* names no source can read */

    struct dgf_event_builder builder;
    struct dgf_buf scratch;

    struct dgf_redis_ack *acks; /* ring, oldest first */
    size_t first_ack, n_acks, cap_acks;
    size_t n_asked;                  /* XACKs that are not answered */
    struct dgf_redis_acking *acking; /* newest first; owned */
};

#define DGF_REDIS_CONF(self) ((const struct dgf_redis_conf *)(self)->base.conf)

/* ---- the source ---- */
void dgf_redis_fail(struct dgf_redis_source *self, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
/* Writes what is remembered of the streams read in this turn, which may have ended in a
 * failure: what was emitted is remembered in the same batch. */
void dgf_redis_settle(struct dgf_redis_source *self);
static inline bool dgf_redis_stopped(const struct dgf_redis_source *self)
{
    return self->failed || self->paused || self->blocked;
}

static inline void dgf_redis_touch(struct dgf_redis_stream *stream)
{
    stream->dirty = stream->source->dirty = true;
}

/* ---- start ---- */
void dgf_redis_start(struct dgf_redis_source *self);
/* The first node, from the address. */
void dgf_redis_node_connect(struct dgf_redis_source *self, dgf_redis_on_up *on_up);
void dgf_redis_start_tick(struct dgf_redis_source *self, int64_t now_ns);
/* The number of an answer of INFO, or its text. */
bool dgf_redis_info(struct dgf_bytes info, const char *name, struct dgf_bytes *ret);

/* ---- cluster ---- */
/* A cluster answered that a slot is elsewhere. */
void dgf_redis_moved(struct dgf_redis_source *self);
/* "ASK 12182 10.0.0.7:6379": this key has moved already, its slot has not yet.  The
 * stream is read there from its next turn on. */
void dgf_redis_asked(struct dgf_redis_stream *stream, struct dgf_bytes text);
/* A command about the stream, to the node that has it. */
void dgf_redis_stream_send(struct dgf_redis_stream *stream,
                           struct dgf_redis_command command,
                           const struct dgf_bytes *words, size_t n);

/* ---- discover ---- */
void dgf_redis_stream_free(struct dgf_redis_stream *stream);
void dgf_redis_say_state(struct dgf_redis_source *self);
bool dgf_redis_is_glob(const char *pattern);

/* ---- turn ---- */
/* Reads the stream when its turn comes, and once more when it is being read. */
void dgf_redis_queue(struct dgf_redis_stream *stream);
/* Begins the node's next turn unless one is under way; with nothing queued it waits. */
void dgf_redis_next(struct dgf_redis_node *node);
/* Ends the stream's turn; more: it is queued again at once. */
void dgf_redis_done(struct dgf_redis_stream *stream, bool more);

/* ---- read ---- */
/* One turn of a stream; dgf_redis_done ends it. */
void dgf_redis_read(struct dgf_redis_stream *stream);
/* An error at the place of entries; true: it was one and was dealt with. */
bool dgf_redis_read_error(struct dgf_redis_stream *stream,
                          const struct dgf_resp_item *item);
void dgf_redis_ask_facts(struct dgf_redis_stream *stream);
/* May the next read be asked for while this one is dealt with?  Not while another
 * stream waits for its turn. */
bool dgf_redis_may_go_ahead(const struct dgf_redis_stream *stream);

/* ---- past ---- */
/* After the facts: gaps that must be said first.  False: read no further. */
bool dgf_redis_act(struct dgf_redis_stream *stream);
/* At the newest entry the facts know: were there more than we saw? */
void dgf_redis_account(struct dgf_redis_stream *stream);
/* Compares what is there with what is remembered; ends the turn. */
void dgf_redis_look(struct dgf_redis_stream *stream);

/* ---- group ---- */
/* One turn of a stream. */
void dgf_redis_group_read(struct dgf_redis_stream *stream);
/* Makes the groups whose beginning is durable now. */
void dgf_redis_begin_due(struct dgf_redis_source *self);
/* Now and then takes over what other consumers left. */
void dgf_redis_claim_tick(struct dgf_redis_source *self, int64_t now_ns);
/* Acknowledges what is durable. */
void dgf_redis_ack_durable(struct dgf_redis_source *self);
void dgf_redis_ack_release(struct dgf_redis_source *self);

/* ---- rows ---- */
void dgf_redis_freeze_id(struct dgf_redis_stream *stream);
/* One entry as an event, or as an undecodable record with `why`. */
bool dgf_redis_emit_entry(struct dgf_redis_stream *stream,
                          const struct dgf_redis_entry *entry,
                          const struct dgf_resp_item *item, const char *why);
bool dgf_redis_emit_gap(struct dgf_redis_stream *stream, enum dgf_gap reason,
                        const struct dgf_redis_id *from, uint32_t from_epoch,
                        struct dgf_redis_id to, uint64_t lost, const char *message);
bool dgf_redis_emit_divergence(struct dgf_redis_stream *stream, uint32_t from_epoch,
                               struct dgf_redis_id from, struct dgf_redis_id to,
                               const char *message);
bool dgf_redis_emit_resume(struct dgf_redis_stream *stream);

/* ---- keys ---- */
void dgf_redis_keys_begin(struct dgf_redis_node *node);
void dgf_redis_keys_tick(struct dgf_redis_source *self, int64_t now_ns);
void dgf_redis_keys_free(struct dgf_redis_keys *keys);

/* ---- the source, shared by both types ---- */
enum dgf_rc dgf_redis_open(struct dgf_source *src, struct dgf_err *err) DGF_MUST_USE;
void dgf_redis_close(struct dgf_source *src);
void dgf_redis_pause(struct dgf_source *src);
void dgf_redis_resume(struct dgf_source *src);
extern const struct dgf_opt dgf_redis_tls_opts[];

/* ---- check ---- */
enum dgf_rc dgf_redis_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err) DGF_MUST_USE;

#endif
