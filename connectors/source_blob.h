/* source_blob.h - what the files of the Blob source share.
 *
 *   source_blob.c          options, open, pause, durable, close
 *   source_blob_say.c      what is said of it, and when it fails
 *   source_blob_judge.c    from what was read to what is judged
 *   source_blob_queue.c    messages of a Storage queue, filled by Event Grid
 *   source_blob_dead.c     what Event Grid could not deliver: which hours there are
 *   source_blob_letter.c   the blobs of one such hour, and their events
 *   source_blob_list.c     names of blobs, a page at a time
 *   source_blob_feed.c     the change feed: hours and their shards
 *   source_blob_chunk.c    one chunk of it, block by block
 *   source_blob_gap.c      what the change feed no longer has
 *   source_blob_emit.c     events, gaps, records of what cannot be read
 *   source_blob_look.c     the content of a blob, where it is asked for
 *   source_blob_inspect.c  containers and properties of the account
 *   source_blob_check.c    preflight of `dgf check`
 *
 * Both ways bring items into one queue; each is judged in turn, and what is remembered
 * of it (its id, how far the feed was read) goes into the same batch.  Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_BLOB_H
#define DGF_CONNECTORS_SOURCE_BLOB_H

#include <event2/event.h>

#include "avro_blocks.h"
#include "azure_rest.h"
#include "blob_change.h"
#include "blob_letter.h"
#include "blob_memory.h"
#include "bus/source.h"

#define DGF_BLOB_ITEMS_MAX 512    /* read and not judged yet */
#define DGF_BLOB_MESSAGES_MAX 256 /* of the queue, in our hands */
#define DGF_BLOB_WINDOW ((uint64_t)1 << 20)
#define DGF_BLOB_MARKER_MAX 1024 /* of a list, with its NUL */

struct dgf_blobs_conf {
    char *url, *queue, *dead_letters;
    bool feed;
    char *start;
    struct dgf_str_list containers;
    struct dgf_azure_conf auth;
    struct {
        uint64_t max_bytes;
        int64_t rate;
    } look;
    int64_t max_dequeues;
    int64_t visibility_ns, poll_ns, feed_poll_ns, inspect_ns, timeout_ns;
};

struct dgf_blobs_source;

/* One of the two ways in.  One that fails is asked again at a pace while the other
 * reads on; the source fails when it has no other. */
struct dgf_blobs_way {
    const char *what; /* "queue", "change feed" */
    bool on;
    bool fine; /* answered, and nothing is wrong since */
    bool caught_up;
    int64_t again_ns; /* monotonic; not asked before; 0: now */
    int64_t pace_ns;
    char trouble[400]; /* "": none */
};

/* A message of the queue we hold. */
struct dgf_blobs_message {
    struct dgf_blobs_source *source;
    struct dgf_blobs_message *next;
    char *id, *receipt;
    int64_t held_ns; /* monotonic, since when it is hidden */
    size_t n_items;  /* of it, not judged yet */
    bool read;       /* all its items are in the queue or judged */
    uint64_t seq;    /* deleted once this is durable */
    bool asking;     /* a renewal or deletion is under way */
    bool gone;       /* deleted, or somebody else has it now */
};

enum dgf_blobs_item_kind {
    DGF_BLOB_ITEM_CHANGE,
    DGF_BLOB_ITEM_UNDECODABLE,
    DGF_BLOB_ITEM_COUNTED, /* `why`: under which word */
    DGF_BLOB_ITEM_LETTER,  /* everything a dead-lettered blob holds was judged */
};

enum dgf_blobs_look_state {
    DGF_BLOB_LOOK_NONE,
    DGF_BLOB_LOOK_WANTED,
    DGF_BLOB_LOOK_ASKED,
    DGF_BLOB_LOOK_DONE,
};

struct dgf_blobs_item {
    struct dgf_blobs_source *source;
    struct dgf_blobs_item *next;
    enum dgf_blobs_item_kind kind;
    struct dgf_blobs_message *message; /* borrowed; NULL: of the feed or a letter */
    const char *letter; /* borrowed name of the dead-lettered blob it is of, or NULL */
    struct dgf_buf record;         /* CHANGE: msgpack map */
    struct dgf_blob_change change; /* borrowed from record */
    struct dgf_id seen;            /* what its id is remembered as */
    uint64_t offset, index;        /* feed: where reading goes on after it */
    const char *what;              /* UNDECODABLE; static */
    char why[200];
    uint64_t size;
    uint8_t hash[DGF_SHA256_LEN];
    struct dgf_blob_extra extra;
    struct dgf_buf content;
    enum dgf_blobs_look_state look;
};

struct dgf_blobs_hour { /* a segment of the feed that is to be read */
    char name[16];
    int64_t begin_ns;
};

struct dgf_blobs_chunk { /* of the shard being read */
    char *name;
    uint64_t size;
};

enum dgf_blobs_chunk_phase {
    DGF_BLOB_CHUNK_NONE,
    DGF_BLOB_CHUNK_HEADER,
    DGF_BLOB_CHUNK_BLOCKS,
    DGF_BLOB_CHUNK_GONE,
    DGF_BLOB_CHUNK_ENDED, /* once its items are judged, the next one */
};

struct dgf_blobs_feed {
    bool asking; /* one request at a time */

    int64_t listed_ns;    /* lastConsumable of the last whole pass */
    int64_t pass_ns;      /* lastConsumable the pass under way goes to */
    unsigned year, month; /* listed next */
    struct dgf_blobs_hour *hours;
    size_t n_hours, cap_hours, at_hour;
    bool passing;  /* a pass over the hours is under way */
    bool kept;     /* the hour read last is still there */
    char **shards; /* of the hour being read */
    size_t n_shards;
    struct dgf_blobs_chunk *chunks;
    size_t n_chunks, cap_chunks, at_chunk;
    bool listed; /* chunks are those of the shard */
    enum dgf_blobs_chunk_phase phase;
    struct dgf_avro_header header;
    struct dgf_buf window; /* bytes of the chunk from window_at on */
    uint64_t window_at;
    size_t want;         /* bytes that were asked for */
    struct dgf_rd block; /* the rest of the block being decoded, in window */
    uint64_t block_at, block_next, block_count, block_left, block_taken;
    struct dgf_buf value;          /* one decoded */
    char doubt[DGF_BLOB_NAME_MAX]; /* what was torn at the last pass */
    uint64_t doubt_size;
    char marker[DGF_BLOB_MARKER_MAX]; /* of the list under way */
};

struct dgf_blobs_letter { /* a blob that is to be read */
    char *name;
    uint64_t size;
};

struct dgf_blobs_letter_hour { /* a folder of such blobs */
    char *folder;
    int64_t begin_ns;
};

/* The dead-letter container.  A pass walks the folders to the hours in question, then
 * reads the blobs of each hour that were not read before, oldest hour first.  Nothing
 * that is wrong with it stops another way. */
struct dgf_blobs_dead {
    bool on, asking, passing;
    bool whole;  /* this pass goes back to the first hour that may be late */
    bool walked; /* hours are known */
    bool dirty;
    bool caught_up;   /* a pass ended, or trouble was said */
    int64_t again_ns; /* monotonic; no pass before it */
    int64_t whole_ns; /* monotonic; when the next whole pass is due */
    int64_t pace_ns;
    int64_t now_ns;         /* of the server, when the pass began; 0: not known yet */
    int64_t from_ns, to_ns; /* hours of this pass */
    struct dgf_blob_letters memory;
    struct dgf_blob_seen names; /* that were read, by the minute of their hour */

    char **folders; /* to be walked, the last one first */
    size_t n_folders, cap_folders;
    char *folder; /* being listed */
    struct dgf_blobs_letter_hour *hours;
    size_t n_hours, cap_hours, at_hour;
    bool listed; /* letters is a page of the blobs of the hour at at_hour */
    struct dgf_blobs_letter *letters;
    size_t n_letters, cap_letters, at_letter;
    char marker[DGF_BLOB_MARKER_MAX];

    bool taking; /* body holds the blob at at_letter, whose items are not all judged */
    bool taken;  /* they are all in the queue */
    struct dgf_buf body;
    struct dgf_bytes rest; /* of body */
    uint64_t n_elements;
    bool in_list;
    struct dgf_buf maps;

    uint64_t n_judged, n_others, others; /* others: blobs that are no dead letters */
    int64_t found_ns;                    /* monotonic; the last new one; 0: none */
    char trouble[400], warning[400];
};

struct dgf_blobs_source {
    struct dgf_source base; /* first: we cast from it */

    /* These outlive a session. */
    uint64_t durable_seq;
    bool queue_missing; /* the queue was not there when it was last asked */
    int64_t inspected_ns;

    bool is_open, failed, paused, blocked, pumping, told_caught_up;
    char account[128];
    char *queue_base, *queue_name;
    struct dgf_azure_rest *blob_rest, *queue_rest;
    struct event *tick, *again;

    struct dgf_blobs_way queue, feed;
    struct dgf_blob_memory memory;
    struct dgf_blob_seen seen;
    bool dirty;

    struct dgf_blobs_item *items, **items_end;
    size_t n_items, n_looking;
    struct dgf_blobs_message *messages, **messages_end;
    size_t n_messages;
    bool queue_asked;  /* it answered in this session */
    bool getting;      /* a get of the queue is under way */
    int64_t get_at_ns; /* monotonic; not before */
    struct dgf_blobs_feed reader;
    struct dgf_blobs_dead dead;
    struct dgf_map newest; /* path -> sequencer of the newest that was judged */
    struct dgf_map objects;
    double look_tokens;
    int64_t look_filled_ns;
    struct dgf_blobs_inspect *inspect;

    uint64_t n_undecodable;
    char last_undecodable[200];
    char warning[300]; /* of the queue: messages near their end */
    char look_trouble[300], inspect_trouble[300];

    struct dgf_event_builder builder;
    struct dgf_buf scratch, scratch2;
};

#define DGF_BLOB_CONF(self) ((const struct dgf_blobs_conf *)(self)->base.conf)

/* ---- the source ---- */
void dgf_blobs_fail(struct dgf_blobs_source *self, enum dgf_rc rc, const char *fmt, ...)
    DGF_PRINTF(3, 4);
static inline bool dgf_blobs_stopped(const struct dgf_blobs_source *self)
{
    return self->failed || self->paused || self->blocked;
}
/* A way answered as it should. */
void dgf_blobs_fine(struct dgf_blobs_source *self, struct dgf_blobs_way *way);
/* It did not: said, and asked again later; fails the source when no way is left. */
void dgf_blobs_trouble(struct dgf_blobs_source *self, struct dgf_blobs_way *way,
                       enum dgf_rc rc, const char *fmt, ...) DGF_PRINTF(4, 5);
/* What an answer of Storage means on this way; `doing`: "cannot read the queue".
 * missing: text for a 404, NULL: as any other. */
void dgf_blobs_refused(struct dgf_blobs_source *self, struct dgf_blobs_way *way,
                       const struct dgf_azure_answer *answer, const char *doing,
                       const char *missing, const char *role);
bool dgf_blobs_ask(struct dgf_blobs_source *self, struct dgf_azure_rest *rest,
                   const struct dgf_azure_ask *ask);
void dgf_blobs_say_state(struct dgf_blobs_source *self);
void dgf_blobs_say_impaired(struct dgf_blobs_source *self);
/* Judges what can be judged now, and asks for more. */
void dgf_blobs_pump(struct dgf_blobs_source *self);
/* Where we are and what was judged, if that is news, into the batch of what was
 * emitted. */
void dgf_blobs_settle(struct dgf_blobs_source *self);
/* All items, and what is newest of each blob. */
void dgf_blobs_items_release(struct dgf_blobs_source *self);
/* Puts an item at the end; it is the source's, also on failure. */
void dgf_blobs_push(struct dgf_blobs_source *self, struct dgf_blobs_item *take_item);
struct dgf_blobs_item *dgf_blobs_item_new(struct dgf_blobs_source *self,
                                          enum dgf_blobs_item_kind kind);
void dgf_blobs_item_free(struct dgf_blobs_item *item);
/* It came by the change feed, and says how far that was read. */
static inline bool dgf_blobs_item_of_feed(const struct dgf_blobs_item *item)
{
    return !item->message && !item->letter;
}
/* An item from one record, whatever it is.  NULL: not wanted, or failed. */
struct dgf_blobs_item *dgf_blobs_item_of(struct dgf_blobs_source *self,
                                         struct dgf_bytes record);
/* The name is one the configuration wants. */
bool dgf_blobs_container_wanted(const struct dgf_blobs_conf *conf,
                                struct dgf_bytes name);

/* Also finds out the account.  DGF_BAD_CONFIG. */
enum dgf_rc dgf_blobs_make_clients(struct dgf_blobs_source *self, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_blobs_free_clients(struct dgf_blobs_source *self);

/* ---- queue ---- */
void dgf_blobs_queue_tick(struct dgf_blobs_source *self, int64_t now_ns);
void dgf_blobs_queue_pump(struct dgf_blobs_source *self);
void dgf_blobs_queue_durable(struct dgf_blobs_source *self);
void dgf_blobs_queue_release(struct dgf_blobs_source *self);
/* An item of it was judged. */
void dgf_blobs_message_judged(struct dgf_blobs_message *message);

/* ---- feed ---- */
void dgf_blobs_feed_tick(struct dgf_blobs_source *self, int64_t now_ns);
/* Reads on when there is room for items; nothing while a request is under way. */
void dgf_blobs_feed_pump(struct dgf_blobs_source *self);
void dgf_blobs_feed_release(struct dgf_blobs_source *self);
/* The shard at memory.shard is read whole: the next one, or the end of the hour. */
void dgf_blobs_feed_shard_done(struct dgf_blobs_source *self);
/* Nothing more can be read in this pass. */
void dgf_blobs_feed_wait(struct dgf_blobs_source *self);
/* The same thing was in doubt at the pass before, at the same size. */
bool dgf_blobs_feed_doubted(struct dgf_blobs_source *self, const char *name,
                            uint64_t size);
bool dgf_blobs_feed_ask(struct dgf_blobs_source *self, const struct dgf_azure_ask *ask);

/* ---- lists ---- */
struct dgf_blobs_list {
    struct dgf_blobs_source *source;
    struct dgf_buf name, marker;
    uint64_t size;
    bool is_folder;
    bool (*take)(struct dgf_blobs_list *list); /* a name; false: out of memory, or
                                                  more than can be kept */
    unsigned first_year;
};
/* One page of names, each given to list->take; marker: where the next page begins, ""
 * when there is none.  DGF_BAD_DATA; DGF_NOMEM. */
enum dgf_rc dgf_blobs_list_read(struct dgf_bytes body, struct dgf_blobs_list *list,
                                char marker[DGF_BLOB_MARKER_MAX], struct dgf_err *err)
    DGF_MUST_USE;
/* container: "/NAME".  folders: what stands between two '/' as one name.  `done` gets
 * the source.  False: the source failed. */
bool dgf_blobs_list_ask(struct dgf_blobs_source *self, const char *container,
                        const char *prefix, bool folders, const char *marker,
                        void (*done)(void *ctx, const struct dgf_azure_answer *answer));

/* ---- dead letters ---- */
/* What is remembered of the container, or where a new one begins.  DGF_FATAL; RETRY. */
enum dgf_rc dgf_blobs_dead_start(struct dgf_blobs_source *self, struct dgf_err *err)
    DGF_MUST_USE;
/* Reads on when there is room for items; begins a pass when it is time. */
void dgf_blobs_dead_pump(struct dgf_blobs_source *self);
void dgf_blobs_dead_release(struct dgf_blobs_source *self);
/* What is remembered, into the batch of what was judged; false: the source failed. */
bool dgf_blobs_dead_settle(struct dgf_blobs_source *self);
/* The pass ends here, since the answer is none: said, and tried again later. */
void dgf_blobs_dead_refused(struct dgf_blobs_source *self,
                            const struct dgf_azure_answer *answer, const char *doing);
void dgf_blobs_dead_trouble(struct dgf_blobs_source *self, const char *fmt, ...)
    DGF_PRINTF(2, 3);
/* Every blob of the hour at at_hour was read. */
void dgf_blobs_dead_hour_done(struct dgf_blobs_source *self);

/* ---- letters ---- */
/* Lists, reads and takes the blobs of the hour at at_hour.  False: what was read waits
 * for its judgement. */
bool dgf_blobs_letter_pump(struct dgf_blobs_source *self);
/* The item that ends a blob was taken; false: the source failed. */
bool dgf_blobs_letter_judged(struct dgf_blobs_source *self);
void dgf_blobs_letter_release(struct dgf_blobs_source *self);

/* ---- chunk ---- */
/* Decodes or asks for the next bytes of the chunk at at_chunk. */
void dgf_blobs_chunk_pump(struct dgf_blobs_source *self);
void dgf_blobs_chunk_release(struct dgf_blobs_source *self);

/* ---- gaps of the feed ----
 * Each says a gap and moves the memory behind it; false: the source failed. */
/* Every hour that begins before this was read; 0: none. */
int64_t dgf_blobs_read_to(const struct dgf_blob_memory *memory);
/* The hour being read is not the first of those listed any more. */
bool dgf_blobs_gap_reading(struct dgf_blobs_source *self);
/* The hour read last is gone, and we were away for longer than the shortest retention.
 */
bool dgf_blobs_gap_absence(struct dgf_blobs_source *self);
/* The hour at at_hour was listed, and is not there. */
bool dgf_blobs_gap_hour(struct dgf_blobs_source *self);
/* The chunk of the memory is not there; end: its size, 0: nobody knows. */
bool dgf_blobs_gap_chunk(struct dgf_blobs_source *self, uint64_t end);

/* ---- emit ---- */
bool dgf_blobs_emit_change(struct dgf_blobs_source *self, struct dgf_blobs_item *item);
bool dgf_blobs_emit_undecodable(struct dgf_blobs_source *self,
                                const struct dgf_blobs_item *item);
bool dgf_blobs_emit_progress(struct dgf_blobs_source *self, bool of_feed);
bool dgf_blobs_emit_resume(struct dgf_blobs_source *self);
/* from NULL: unknown.  detail: n pairs. */
bool dgf_blobs_emit_gap(struct dgf_blobs_source *self, enum dgf_gap reason,
                        const char *from, const char *to, bool of_feed,
                        const char *message, const char *const *detail, size_t n);
bool dgf_blobs_emit(struct dgf_blobs_source *self, struct dgf_event *take_event);
void dgf_blobs_count(struct dgf_blobs_source *self, const char *word, uint64_t n);
/* "queue", or the position of the feed; in to. */
void dgf_blobs_position_text(struct dgf_blobs_source *self, bool of_feed,
                             struct dgf_buf *to);
struct dgf_id dgf_blobs_id(const struct dgf_blobs_source *self, const char *type,
                           struct dgf_bytes a, struct dgf_bytes b, struct dgf_bytes c);

/* ---- look ---- */
void dgf_blobs_look_want(struct dgf_blobs_source *self, struct dgf_blobs_item *item);
void dgf_blobs_look_start(struct dgf_blobs_source *self);

/* ---- inspect ---- */
void dgf_blobs_inspect_tick(struct dgf_blobs_source *self, int64_t now_ns);
void dgf_blobs_inspect_release(struct dgf_blobs_source *self);

/* ---- check ---- */
enum dgf_rc dgf_blobs_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err) DGF_MUST_USE;

#endif
