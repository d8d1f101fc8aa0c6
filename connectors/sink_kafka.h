/* sink_kafka.h - parts of the Kafka sink; nobody else includes this.
 *
 * A producer owns everything librdkafka may still look at: the payload chunks,
 * the window of messages on their way, and the header lists.  It is given up as
 * a whole (any fatal error, close) and destroyed by a worker, while a new one
 * resends from the cursor.  Thread: loop, except where said. */
#ifndef DGF_SINK_KAFKA_H
#define DGF_SINK_KAFKA_H

#include <librdkafka/rdkafka.h>

#include "base/worker.h"
#include "bus/sink.h"

enum dgf_kafka_topic {
    DGF_KAFKA_VIOLATIONS,
    DGF_KAFKA_AUDIT,
    DGF_KAFKA_CONTROL,
    DGF_KAFKA_N
};
enum dgf_kafka_mechanism { DGF_KAFKA_PLAIN, DGF_KAFKA_SCRAM_256, DGF_KAFKA_SCRAM_512 };

#define DGF_KAFKA_MAX_PARTITIONS 100000
#define DGF_KAFKA_NONE UINT64_MAX /* no record before it on that partition */

/* ---- sink_kafka_conf.c: options ---- */

struct dgf_kafka_conf {
    struct dgf_sink_conf base;
    struct dgf_str_list brokers;
    char *topic_prefix; /* NULL: dgf.<env> */
    struct {
        char *ca, *cert, *key, *key_password;
    } tls;
    struct {
        int mechanism;
        char *user, *password;
    } sasl;
    int64_t linger_ns;
    int compression;
    uint64_t window_bytes;
    struct dgf_str_map librdkafka;
    bool insecure;
};

extern const struct dgf_opt dgf_kafka_opts[];
void dgf_kafka_validate(const void *conf, const char *what, struct dgf_mark mark,
                        struct dgf_findings *findings);
/* Topic name of a family; false when it is not a legal one. */
bool dgf_kafka_topic_name(const struct dgf_kafka_conf *conf, const char *env,
                          enum dgf_kafka_topic topic, struct dgf_buf *out);
/* Brokers joined by commas. */
void dgf_kafka_brokers(const struct dgf_kafka_conf *conf, struct dgf_buf *out);
/* max_batch_bytes: 0 = librdkafka's own, 1 = one message a batch. */
enum dgf_rc dgf_kafka_client_conf(const struct dgf_kafka_conf *conf,
                                  const char *client_id, unsigned max_batch_bytes,
                                  rd_kafka_conf_t **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* What to add to the cause of a refused login: "" or a known pitfall. */
const char *dgf_kafka_login_hint(const struct dgf_kafka_conf *conf,
                                 int librdkafka_version);
/* The same for a refused TLS connection, from librdkafka's own text. */
const char *dgf_kafka_tls_hint(const struct dgf_kafka_conf *conf, const char *cause);

/* ---- sink_kafka_wire.c: partition, cursor, headers ---- */

/* Murmur2 as Kafka's Java client computes it. */
uint32_t dgf_kafka_murmur2(struct dgf_bytes key);

static inline int32_t dgf_kafka_partition(struct dgf_bytes key, int32_t n_partitions)
{
    return (int32_t)((dgf_kafka_murmur2(key) & 0x7fffffff) % (uint32_t)n_partitions);
}

/* Index of the last record on each partition of a topic. */
struct dgf_kafka_last {
    uint64_t *seq; /* DGF_KAFKA_NONE: none yet */
    uint32_t n;
};

/* Where delivery stands: every record below next is in Kafka, and `last` are
 * the newest of those.  Encoded it is the sink's cursor. */
struct dgf_kafka_cursor {
    uint64_t next;
    struct dgf_kafka_last last[DGF_KAFKA_N];
};

void dgf_kafka_cursor_release(struct dgf_kafka_cursor *cursor);
enum dgf_rc dgf_kafka_cursor_copy(struct dgf_kafka_cursor *to,
                                  const struct dgf_kafka_cursor *from) DGF_MUST_USE;
/* Grows to n partitions; never shrinks. */
enum dgf_rc dgf_kafka_last_grow(struct dgf_kafka_last *last, uint32_t n) DGF_MUST_USE;
void dgf_kafka_cursor_encode(const struct dgf_kafka_cursor *cursor, const char *log_id,
                             const char *prefix, struct dgf_buf *out);
/* Of another log: an empty cursor.  Of another topic prefix: only `next`.
 * DGF_BAD_DATA when bytes are not a cursor. */
enum dgf_rc dgf_kafka_cursor_decode(struct dgf_bytes bytes, const char *log_id,
                                    const char *prefix, struct dgf_kafka_cursor *ret)
    DGF_MUST_USE;

/* A header list that can be used again: librdkafka hands it back with the
 * delivery report, and values of fixed length are written in place. */
struct dgf_kafka_headers {
    rd_kafka_headers_t *list;
    char *id, *time, *sequence, *previous; /* values inside list */
    struct dgf_bytes subject;              /* likewise; empty: no header */
    uint64_t subject_number;               /* which one of the pool's */
    enum dgf_record_kind kind;
    struct dgf_kafka_headers *next;
};

struct dgf_kafka_header_pool {
    struct dgf_kafka_headers *free;
    char *source; /* ce_source */
    /* The subject asked for last and its number: lists that have the same are
     * known without a look at their own memory, which is cold. */
    struct dgf_buf subject;
    uint64_t subject_number;
    int64_t second;
    char time[31]; /* of `second`, "YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ" */
};

enum dgf_rc dgf_kafka_header_pool_init(struct dgf_kafka_header_pool *pool,
                                       const char *agent) DGF_MUST_USE;
void dgf_kafka_header_pool_release(struct dgf_kafka_header_pool *pool);
/* NULL when out of memory.  previous: DGF_KAFKA_NONE leaves the header out. */
struct dgf_kafka_headers *dgf_kafka_headers_take(struct dgf_kafka_header_pool *pool,
                                                 const struct dgf_record *record,
                                                 uint64_t previous);
/* Gives them back with a list that is nobody else's again. */
void dgf_kafka_headers_put(struct dgf_kafka_header_pool *pool,
                           struct dgf_kafka_headers *headers);

/* ---- sink_kafka_window.c: messages on their way ---- */

struct dgf_kafka_chunk;

struct dgf_kafka_slot {
    uint64_t seq;
    struct dgf_kafka_headers *headers; /* NULL once delivered */
    uint32_t partition, cost;
    uint8_t topic;
    bool delivered;
    bool more; /* the next slot is the same record on another topic */
};

struct dgf_kafka_window {
    struct dgf_kafka_slot *slots;
    uint64_t head, tail, mask; /* slot numbers; head: oldest not delivered */
    uint64_t in_flight;        /* slots without a delivery report */
    size_t bytes, max_bytes;   /* from head to tail */
    struct dgf_kafka_chunk *oldest, *newest, *spare;
    unsigned n_spare;
};

enum dgf_rc dgf_kafka_window_init(struct dgf_kafka_window *window, size_t max_bytes)
    DGF_MUST_USE;
void dgf_kafka_window_release(struct dgf_kafka_window *window);
/* Takes n more messages of such a line and key? */
bool dgf_kafka_window_room(const struct dgf_kafka_window *window, unsigned n,
                           size_t len);
/* At most half full: worth asking for more. */
bool dgf_kafka_window_roomy(const struct dgf_kafka_window *window);
/* Copies the line to where it stays until slot `tail` is gone; NULL: no memory. */
const uint8_t *dgf_kafka_window_keep(struct dgf_kafka_window *window,
                                     struct dgf_bytes line);
/* Takes the last keep back: the message was not accepted. */
void dgf_kafka_window_unkeep(struct dgf_kafka_window *window, size_t len);
/* The next slot; it counts once dgf_kafka_window_push is called. */
struct dgf_kafka_slot *dgf_kafka_window_next(struct dgf_kafka_window *window);
void dgf_kafka_window_push(struct dgf_kafka_window *window, size_t len);
struct dgf_kafka_slot *dgf_kafka_window_slot(struct dgf_kafka_window *window,
                                             uint64_t number);
/* Lets go of whole records that are delivered at the head, noting them in
 * cursor->last. */
void dgf_kafka_window_advance(struct dgf_kafka_window *window,
                              struct dgf_kafka_cursor *cursor);

/* ---- sink_kafka_producer.c: the client and what belongs to it ---- */

struct dgf_kafka_producer {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topics[DGF_KAFKA_N];
    struct dgf_kafka_window window;
    struct dgf_kafka_header_pool pool;
    int wake_fd;        /* eventfd librdkafka writes to */
    unsigned n_refs;    /* the sink's and a running lookup's; loop only */
    struct dgf_job job; /* its end */
    bool destroyed;
};

/* names: the topics.  Connects in the background. */
enum dgf_rc dgf_kafka_producer_new(const struct dgf_kafka_conf *conf, const char *agent,
                                   const char *const names[DGF_KAFKA_N],
                                   unsigned max_batch_bytes,
                                   struct dgf_kafka_producer **ret, struct dgf_err *err)
    DGF_MUST_USE;
/* The last reference purges and destroys it on a worker. */
void dgf_kafka_producer_unref(struct dgf_kafka_producer *producer,
                              struct dgf_workers *workers);

/* What the cluster says of our topics; asked on a worker. */
struct dgf_kafka_lookup {
    struct dgf_job job;
    struct dgf_kafka_producer *producer; /* referenced */
    struct dgf_workers *workers;
    int timeout_ms;
    bool ran;
    rd_kafka_resp_err_t rc;                    /* of the whole question */
    rd_kafka_resp_err_t topic_rc[DGF_KAFKA_N]; /* of each topic */
    int32_t n_partitions[DGF_KAFKA_N];         /* 0: unknown */
    int n_brokers;
    int n_replicas[DGF_KAFKA_N]; /* fewest of any partition */
    void *owner;                 /* NULL: nobody waits for the answer any more */
    void (*answer)(void *owner, const struct dgf_kafka_lookup *lookup);
};

/* NULL when out of memory.  Never called while an earlier one runs. */
struct dgf_kafka_lookup *dgf_kafka_lookup_start(
    struct dgf_kafka_producer *producer, struct dgf_workers *workers, int timeout_ms,
    void *owner, void (*answer)(void *owner, const struct dgf_kafka_lookup *));
/* Asks at once and waits; any thread. */
void dgf_kafka_lookup_run(struct dgf_kafka_lookup *lookup);

/* ---- sink_kafka.c: the sink, and sink_kafka_events.c: what librdkafka says ---- */

struct dgf_kafka_sink {
    struct dgf_sink base;
    struct dgf_kafka_producer *producer; /* NULL while closed */
    struct dgf_kafka_lookup *lookup;     /* on its way; NULL: none */
    struct event *wake, *tick;
    char *names[DGF_KAFKA_N];
    char *brokers;
    struct dgf_buf encoded; /* cursor as given to the ledger */

    struct dgf_kafka_cursor durable; /* all below next is in Kafka */
    struct dgf_kafka_last sent[DGF_KAFKA_N];
    uint64_t next, reported; /* after the last record offered; told the host */
    uint64_t partial_seq;    /* record that is out on topics `partial` only */
    unsigned partial;
    unsigned wanted;                   /* topics `select` lets through; bits */
    int32_t n_partitions[DGF_KAFKA_N]; /* 0: unknown or missing */
    int n_brokers;                     /* as the cluster said last */
    rd_kafka_resp_err_t topic_rc[DGF_KAFKA_N];
    bool blocked; /* the host waits for dgf_sink_room */

    unsigned shrink; /* batches made smaller so many times; kept over close */
    bool failed;     /* told the host; it will close */
    bool reached, down, stalled,
        dead; /* cluster answered once; all brokers gone; no reports; fatal */
    int64_t opened_ns, progress_ns, next_lookup_ns, dead_ns;
    char cause[512];      /* librdkafka's last word on a connection */
    bool cause_is_access; /* ... which a person must mend: login or TLS */
    struct {
        rd_kafka_resp_err_t rc; /* first failed delivery that says why; 0: none */
        uint64_t seq;
        int topic, partition;
    } refused;
    bool said, said_ok;
    char said_text[DGF_ERR_TEXT_MAX];
};

/* Sets names and brokers; the caller frees what is there, also on failure. */
enum dgf_rc dgf_kafka_make_names(struct dgf_kafka_sink *self, struct dgf_err *err)
    DGF_MUST_USE;
/* Topics that some record let through by select goes to; bits. */
unsigned dgf_kafka_wanted(const struct dgf_select *select);
/* Batch limit at a level of shrink, as dgf_kafka_client_conf takes it. */
unsigned dgf_kafka_batch_bytes(unsigned shrink);
/* Tells the host once that this attempt is over. */
void dgf_kafka_fail(struct dgf_kafka_sink *self, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
/* Takes everything librdkafka has for us. */
void dgf_kafka_drain(struct dgf_kafka_sink *self);
/* Ends the attempt if what was seen so far demands it. */
void dgf_kafka_conclude(struct dgf_kafka_sink *self);
/* Health, when it is another than said last. */
void dgf_kafka_say(struct dgf_kafka_sink *self);
/* Progress to the host, when there is any. */
void dgf_kafka_report(struct dgf_kafka_sink *self);
void dgf_kafka_unblock(struct dgf_kafka_sink *self);

/* ---- sink_kafka_check.c ---- */

enum dgf_rc dgf_kafka_check(struct dgf_sink *sink, struct dgf_findings *findings,
                            struct dgf_err *err);

#endif
