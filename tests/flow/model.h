/* model.h - what the parts of the model share.
 *
 * One thread, one process; a life of the simulated agent ends by longjmp, and its
 * memory is given back by end_of_life. */
#ifndef DGF_TESTS_FLOW_MODEL_H
#define DGF_TESTS_FLOW_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger/tree.h"
#include "pipe.h"

#define MAX_LEAVES 100000
#define N_SINKS 3
#define ARCHIVE_SINK 2
#define MAX_OBJECTS (1 << 16)
#define DIR "/data"

/* ---- model_host.c ---- */

extern int64_t now_ns;        /* the clock that never jumps */
extern int64_t wall_shift_ns; /* somebody sets the clock */
extern bool tracking;         /* allocations from now on belong to the life */

void start_sqlite(void);
/* Frees all that the life allocated and closes what it opened. */
void end_of_life(void);

/* ---- model.c ---- */

/* What survives a life. */
struct world {
    uint64_t seed;
    uint64_t acked_tx, acked_row; /* newest position the source was told is durable */
    char *leaves[MAX_LEAVES];     /* lines a sink or a look at the disk has seen */
    size_t n_leaves;
    uint64_t sink_next[N_SINKS]; /* what each sink has durably */
    uint64_t floor[N_SINKS];     /* cursor that a durable batch holds */
    uint64_t handed[N_SINKS];    /* cursor in the batch being written */
    bool life_inside[200000];    /* a life ended inside this transaction */
    char log_id[40];
    struct dgf_tree tree; /* of the records the checkpoint is known to sign */
    uint8_t manifest[DGF_SHA256_LEN]; /* hash of the newest one below it */
    uint64_t checkpoint_s;            /* time of the newest one below it */
    struct { /* what the container of the archive sink holds, by hash of the name */
        uint8_t name[DGF_SHA256_LEN], bytes[DGF_SHA256_LEN];
        bool there;
    } objects[MAX_OBJECTS];
};
extern struct world world;

struct tally {
    uint64_t lives, rows, rows_this_world, reopened, reloads, full_disks;
    uint64_t segments, offered; /* of the archive: checked, given to its sink */
};
extern struct tally tally;

/* Says what broke and ends the process. */
__attribute__((noreturn)) void fail(const char *what, uint64_t a, uint64_t b);

/* ---- model_script.c ---- */

struct model_source {
    struct dgf_source base;
    struct dgf_event_builder builder;
    struct dgf_object *object;
    uint64_t tx, row; /* next: row `row` (from 1) of tx */
    uint64_t told;    /* newest seq this session knows as durable */
    bool open, reading;
};

struct model_sink {
    struct dgf_sink base;
    int number;
    uint64_t next, given; /* offered below next; acknowledged below given */
};

extern const struct dgf_source_type model_source_type;
extern const struct dgf_sink_type model_sink_type, archive_sink_type;
extern struct model_source *source_now; /* NULL: not opened in this life */
extern struct model_sink *sinks_now[N_SINKS];

uint64_t n_rows(uint64_t tx); /* of a transaction of the history; may be 0 */
bool is_violation(uint64_t tx, uint64_t row);
void put_position(struct dgf_buf *buf, uint64_t tx, uint64_t row);
void read_one(struct model_source *self); /* emits the next event of the history */
void deliver(int number);                 /* some of what was offered arrives */
/* Keeps a line of the ledger, or fails when it was another before. */
void remember(uint64_t index, struct dgf_bytes line);

/* ---- model_look.c ---- */

struct look {
    uint64_t tx, row;           /* newest judged */
    uint64_t pending_violation; /* a violation record seen, its audit record not yet */
    uint64_t counted;           /* by coverage records */
    uint64_t judged;
    char set[80];         /* policy set of the transaction being read */
    char counted_set[80]; /* ... of the rows since the last coverage record */
    int64_t covered_ns;   /* `logged` of the last coverage record; 0: none yet */
    bool resumed;         /* a resume stands behind it */
};

void look_at(struct look *look, const char *line);
void look_at_disk(void);
void look_at_archive(void);

#endif
