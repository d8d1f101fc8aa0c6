/* model.c - the pipeline and the ledger against a model of what must hold.
 *
 * Links the shipped objects; only the file layer, the clock and the allocator
 * (which gives back a dead process's memory) are replaced.  A scripted source
 * tells a known history; a sink outlives the process as Kafka would.  Each life
 * of the agent ends at a crash point or between two steps; then the disk has
 * its accidents, and the next life starts from what is left.  After each life:
 *
 *  1. judged rows in the ledger = a prefix of the history: none missing, none
 *     twice, in order; a row violates if and only if the history says so
 *  2. a source is never opened before what it was told is durable
 *  3. records a sink ever saw keep their index and bytes
 *  4. state, position and records are of the same moment
 *  5. a sink goes on where a durable batch said it was
 *  6. coverage counts equal the rows judged
 *  7. one transaction is judged by one policy set, unless a life ended inside
 *  8. a coverage record names the policy set that judged what it counts
 *  9. an open source knows all that is durable, also what became so meanwhile
 * 10. coverage comes every minute, wherever the wall clock jumps
 * 11. the archive's checkpoint signs the tree of these records; its segments hold their
 *     bytes, its manifests are one chain, its sealed state is of the moment of the cut
 * 12. what was offered to a sink that keeps the archive is offered again with the same
 *     bytes or not at all, segment after segment
 *
 * usage: flow_model [lives] [seed] [mutant]
 * A mutant breaks one promise on purpose; the model must then fail. */
#include <setjmp.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/parse.h"
#include "keys.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_segment.h"
#include "ledger/archive_state.h"
#include "ledger/archive_tiles.h"
#include "ledger/note.h"
#include "ledger/reader.h"
#include "pipe.h"
#include "simdisk.h"

#define LIVES_A_WORLD 25
#define MAX_LEAVES 100000
#define N_SINKS 3
#define ARCHIVE_SINK 2
#define MAX_OBJECTS (1 << 16)
#define DIR "/data"

/* ---- the replaced clock ------------------------------------------------------ */

static int64_t now_ns = INT64_C(1700000000) * DGF_SECOND_NS;

static int64_t wall_shift_ns; /* somebody sets the clock */

int64_t dgf_clock_ns(void)
{
    return now_ns + wall_shift_ns;
}

int64_t dgf_clock_mono_ns(void)
{
    return now_ns;
}

/* ---- the replaced allocator: a life's memory goes with it --------------------- */

struct block {
    struct block *before, *after;
    size_t size;
    bool tracked;
} __attribute__((aligned(16)));

static struct block life = {&life, &life, 0, false};
static bool tracking;

void *dgf_malloc(size_t size)
{
    struct block *b = malloc(sizeof(*b) + (size ? size : 1));

    if (!b)
        abort();
    b->size = size;
    b->tracked = tracking;
    if (tracking) {
        b->before = &life;
        b->after = life.after;
        life.after->before = b;
        life.after = b;
    }
    return b + 1;
}

void dgf_free(void *ptr)
{
    struct block *b = ptr;

    if (!ptr)
        return;
    b--;
    if (b->tracked) {
        b->before->after = b->after;
        b->after->before = b->before;
    }
    free(b);
}

void *dgf_calloc(size_t n, size_t size)
{
    void *ptr = dgf_malloc(n * size);

    memset(ptr, 0, n * size);
    return ptr;
}

void *dgf_realloc(void *old, size_t size)
{
    void *ptr = dgf_malloc(size);
    size_t had = old ? ((struct block *)old - 1)->size : 0;

    if (old)
        memcpy(ptr, old, had < size ? had : size);
    dgf_free(old);
    return ptr;
}

static void *sqlite_malloc(int size)
{
    return dgf_malloc((size_t)size);
}

static void *sqlite_realloc(void *ptr, int size)
{
    return dgf_realloc(ptr, (size_t)size);
}

static int sqlite_size(void *ptr)
{
    return ptr ? (int)((struct block *)ptr - 1)->size : 0;
}

static int sqlite_roundup(int size)
{
    return (size + 7) & ~7;
}

static int sqlite_init(void *unused)
{
    (void)unused;
    return SQLITE_OK;
}

static void sqlite_shutdown(void *unused)
{
    (void)unused;
}

static void start_sqlite(void)
{
    static const sqlite3_mem_methods memory = {
        sqlite_malloc,  dgf_free,    sqlite_realloc,  sqlite_size,
        sqlite_roundup, sqlite_init, sqlite_shutdown, NULL};

    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &memory) != SQLITE_OK ||
        sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
        sqlite3_initialize() != SQLITE_OK)
        abort();
    simdisk_register_vfs();
}

/* Nothing of SQLite's own may still point into the memory of the dead. */
static void end_of_life(void)
{
    tracking = false;
    close_range(3, ~0u, 0); /* its eventfd; all other files are simulated */
    sqlite3_shutdown();
    dgf_metrics_release();
    while (life.after != &life)
        dgf_free(life.after + 1);
    start_sqlite();
}

/* ---- mutants -------------------------------------------------------------------- */

enum mutant { NONE, ACK_EARLY, NO_CURSOR, HALF_TRANSACTION };
static const char *const mutant_names[] = {"none", "ack_early", "no_cursor",
                                           "half_transaction"};
static enum mutant mutant;

enum dgf_rc __real_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err);
enum dgf_rc __real_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value);
enum dgf_rc __real_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position);
enum dgf_rc __real_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err);
enum dgf_rc __wrap_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err);
enum dgf_rc __wrap_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value);
enum dgf_rc __wrap_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position);
enum dgf_rc __wrap_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err);

/* ---- the world: what survives a life ---- */

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
    struct { /* what the container of the archive sink holds, by hash of the name */
        uint8_t name[DGF_SHA256_LEN], bytes[DGF_SHA256_LEN];
        bool there;
    } objects[MAX_OBJECTS];
} world;

static uint64_t lives, rows_judged, reopened, reloads, full_disks, segments_checked,
    offered;
static uint64_t rows_this_world;
static jmp_buf dead;
static bool armed;
static const char *target;
static unsigned target_after, steps_left;

struct point {
    const char *name;
    uint64_t visits, deaths;
};
#define CRASH_POINT(name, meaning) {#name, 0, 0},
static struct point points[] = {
#include "crash_points.def"
};
#undef CRASH_POINT

static void fail(const char *what, uint64_t a, uint64_t b)
{
    printf("model: BROKEN: %s (%llu, %llu) in life %llu of seed %llu, mutant %s\n",
           what, (unsigned long long)a, (unsigned long long)b,
           (unsigned long long)lives, (unsigned long long)world.seed,
           mutant_names[mutant]);
    exit(mutant == NONE ? 1 : 3);
}

static void on_crash_point(const char *name)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(points); i++) {
        if (strcmp(points[i].name, name) != 0)
            continue;
        points[i].visits++;
        if (armed && target && strcmp(target, name) == 0 && target_after-- == 0) {
            points[i].deaths++;
            longjmp(dead, 1);
        }
        return;
    }
    fail("a crash point that stands in no list", 0, 0);
}

/* ---- the history ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = world.seed ^ (a * UINT64_C(0x9E3779B97F4A7C15)) ^
                 (b * UINT64_C(0xC2B2AE3D27D4EB4F));

    x ^= x >> 31;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 29);
}

static uint64_t n_rows(uint64_t tx)
{
    return mix(tx, 1) % 40 == 0 ? 60 : mix(tx, 1) % 6; /* also empty ones */
}

static bool is_violation(uint64_t tx, uint64_t row)
{
    return mix(tx, row + 100) % 4 == 0;
}

/* ---- the source ---- */

struct model_source {
    struct dgf_source base;
    struct dgf_event_builder builder;
    struct dgf_object *object;
    uint64_t tx, row; /* next: row `row` (from 1) of tx */
    uint64_t told;    /* newest seq this session knows as durable */
    bool open, reading;
};

/* seq -> position, of this life */
static struct {
    uint64_t tx, row;
} of_seq[1 << 16];
static struct model_source *source_now;

static void put_position(struct dgf_buf *buf, uint64_t tx, uint64_t row)
{
    dgf_buf_add_le64(buf, tx);
    dgf_buf_add_le64(buf, row);
}

static void position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    struct dgf_rd rd = dgf_rd_of(position);
    uint64_t tx = dgf_rd_le64(&rd), row = dgf_rd_le64(&rd);

    dgf_buf_addf(out, "%llu.%llu", (unsigned long long)tx, (unsigned long long)row);
}

static uint64_t kept_count(struct dgf_source *src)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf buf;
    struct dgf_rd rd;
    enum dgf_rc rc;

    dgf_buf_init(&buf, 64);
    rc = dgf_source_get_state(src, DGF_BYTES("count"), &buf);
    if (rc == DGF_AGAIN)
        return 0;
    rd = dgf_rd_of(dgf_buf_bytes(&buf));
    return rc ? UINT64_MAX : dgf_rd_le64(&rd);
}

static enum dgf_rc model_open(struct dgf_source *src, struct dgf_bytes position,
                              struct dgf_err *err)
{
    struct model_source *self = (struct model_source *)src;
    struct dgf_rd rd = dgf_rd_of(position);
    static const struct dgf_column columns[] = {
        {.name = "id",
         .name_len = 2,
         .type = DGF_TYPE_INT,
         .type_name = "int8",
         .key = true},
        {.name = "bad", .name_len = 3, .type = DGF_TYPE_BOOL, .type_name = "bool"}};

    (void)err;
    self->tx = position.len ? dgf_rd_le64(&rd) : 0;
    self->row = (position.len ? dgf_rd_le64(&rd) : 0) + 1;
    if (self->tx < world.acked_tx ||
        (self->tx == world.acked_tx && self->row - 1 < world.acked_row))
        fail("opened before what was acknowledged", self->tx, world.acked_tx);
    if (kept_count(src) != self->tx)
        fail("state and position are of different moments", kept_count(src), self->tx);
    if (!self->object) {
        dgf_event_builder_init(&self->builder, 1 << 16);
        if (dgf_object_new("replay", "db", "m", "rows", columns, 2, 1, &self->object))
            abort();
    }
    self->open = self->reading = true;
    self->told = 0;
    source_now = self;
    dgf_source_state(src, DGF_STATE_STREAMING, "%s", "");
    return DGF_OK;
}

static enum dgf_rc emit(struct model_source *self, enum dgf_event_kind kind,
                        uint64_t row, uint64_t next_tx, uint64_t next_row)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf position;
    struct dgf_event *event;
    struct dgf_id_hash hash;
    struct dgf_event_meta meta = {.commit_ns = now_ns, .seen_ns = now_ns, .tx_n = row};
    char tx[32];

    dgf_buf_init(&position, 64);
    put_position(&position, next_tx, next_row);
    meta.position = dgf_buf_bytes(&position);
    snprintf(tx, sizeof(tx), "%llu", (unsigned long long)self->tx);
    meta.tx = dgf_bytes_str(tx);
    dgf_id_begin(&hash, "model");
    dgf_id_add_u64(&hash, self->tx);
    dgf_id_add_u64(&hash, row);
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(&self->builder, kind == DGF_KIND_CHANGE ? self->object : NULL, kind,
                    kind == DGF_KIND_CHANGE ? DGF_OP_INSERT : DGF_OP_NONE);
    if (kind == DGF_KIND_CHANGE) {
        dgf_event_section_nil(&self->builder, DGF_SECTION_BEFORE);
        dgf_event_section(&self->builder, DGF_SECTION_AFTER);
        dgf_mp_put_int(dgf_event_column(&self->builder, 0),
                       (int64_t)(self->tx * 1000 + row));
        dgf_mp_put_bool(dgf_event_column(&self->builder, 1),
                        is_violation(self->tx, row));
        dgf_event_section_end(&self->builder);
    }
    if (dgf_event_finish(&self->builder, &meta, &event))
        abort();
    of_seq[self->base.next_seq & 0xffff].tx = next_tx;
    of_seq[self->base.next_seq & 0xffff].row = next_row;
    return dgf_source_emit(&self->base, event);
}

/* One event of the history. */
static void read_one(struct model_source *self)
{
    enum dgf_rc rc;

    if (self->row <= n_rows(self->tx)) {
        rc = emit(self, DGF_KIND_CHANGE, self->row, self->tx, self->row);
        self->row++;
    } else {
        DGF_RELEASE(dgf_buf_release) struct dgf_buf count;

        dgf_buf_init(&count, 16);
        dgf_buf_add_le64(&count, self->tx + 1);
        if (dgf_source_put_state(&self->base, DGF_BYTES("count"),
                                 dgf_buf_bytes(&count)))
            abort();
        rc = emit(self, DGF_KIND_TRANSACTION, 0, self->tx + 1, 0);
        self->tx++;
        self->row = 1;
    }
    if (rc == DGF_FATAL)
        self->open = false;
    if (rc == DGF_AGAIN)
        self->reading = false;
}

static void model_pause(struct dgf_source *src)
{
    ((struct model_source *)src)->reading = false;
}

static void model_resume(struct dgf_source *src)
{
    ((struct model_source *)src)->reading = true;
}

static void model_durable(struct dgf_source *src, uint64_t seq)
{
    ((struct model_source *)src)->told = seq;
    if (of_seq[seq & 0xffff].tx < world.acked_tx)
        fail("acknowledged backwards", of_seq[seq & 0xffff].tx, world.acked_tx);
    world.acked_tx = of_seq[seq & 0xffff].tx;
    world.acked_row = of_seq[seq & 0xffff].row;
}

static void model_close(struct dgf_source *src)
{
    ((struct model_source *)src)->open = false;
}

static const struct dgf_opt no_opts[] = {DGF_OPT_END};
static const struct dgf_source_type model_source_type = {
    .name = "replay",
    .summary = "a known history",
    .guarantee = DGF_GUARANTEE_EXACTLY_ONCE,
    .opts = no_opts,
    .conf_size = 1,
    .self_size = sizeof(struct model_source),
    .open = model_open,
    .pause = model_pause,
    .resume = model_resume,
    .durable = model_durable,
    .close = model_close,
    .position_text = position_text,
};

/* ---- the sinks ---- */

struct model_sink {
    struct dgf_sink base;
    int number;
    uint64_t next, given; /* offered below next; acknowledged below given */
};

static struct model_sink *sinks_now[N_SINKS];

static enum dgf_rc sink_open(struct dgf_sink *sink, struct dgf_bytes cursor,
                             uint64_t *ret_next, struct dgf_err *err)
{
    struct model_sink *self = (struct model_sink *)sink;
    struct dgf_rd rd = dgf_rd_of(cursor);

    (void)err;
    self->number = sink->name[0] - '0';
    self->next = cursor.len ? dgf_rd_le64(&rd) : 0;
    if (self->next > world.sink_next[self->number])
        fail("a cursor beyond what the sink has", self->next,
             world.sink_next[self->number]);
    /* What the ledger kept; the sink's own bytes stay behind when it was overtaken. */
    if (*ret_next < world.floor[self->number])
        fail("a cursor that a durable batch held is lost", *ret_next,
             world.floor[self->number]);
    self->given = self->next;
    *ret_next = self->next;
    sinks_now[self->number] = self;
    return DGF_OK;
}

static void remember(uint64_t index, struct dgf_bytes line)
{
    if (index < world.n_leaves) {
        if (strlen(world.leaves[index]) != line.len ||
            memcmp(world.leaves[index], line.ptr, line.len) != 0)
            fail("a record changed after it was seen", index, line.len);
        return;
    }
    if (index != world.n_leaves)
        fail("a record is missing before this one", index, world.n_leaves);
    if (world.n_leaves == MAX_LEAVES)
        abort();
    world.leaves[world.n_leaves] = strndup((const char *)line.ptr, line.len);
    world.n_leaves++;
}

static enum dgf_rc sink_offer(struct dgf_sink *sink, const struct dgf_record *record,
                              struct dgf_err *err)
{
    struct model_sink *self = (struct model_sink *)sink;

    (void)err;
    if (simdisk_random() % 16 == 0)
        return DGF_AGAIN;
    if (self->number != 0 && record->seq > self->next)
        self->next =
            record->seq; /* not required: pruning may overtake it, with a record */
    if (record->seq != self->next)
        fail("a sink was offered records out of order", record->seq, self->next);
    remember(record->seq, record->line);
    self->next++;
    return DGF_OK;
}

static void sink_flush(struct dgf_sink *sink)
{
    (void)sink;
}

static void sink_close(struct dgf_sink *sink)
{
    sinks_now[((struct model_sink *)sink)->number] = NULL;
}

/* Some of what was offered arrives. */
static void sink_deliver(struct model_sink *self)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf cursor;
    uint64_t n = self->next - self->given;

    dgf_buf_init(&cursor, 16);
    dgf_sink_room(&self->base);
    if (n == 0)
        return;
    self->given += 1 + simdisk_random() % n;
    if (self->given > world.sink_next[self->number])
        world.sink_next[self->number] = self->given;
    dgf_buf_add_le64(&cursor, self->given);
    dgf_sink_durable(&self->base, self->given, dgf_buf_bytes(&cursor));
}

static const struct dgf_sink_type model_sink_type = {
    .name = "model",
    .summary = "outlives the process",
    .opts = no_opts,
    .conf_size = sizeof(struct dgf_sink_conf),
    .self_size = sizeof(struct model_sink),
    .open = sink_open,
    .offer = sink_offer,
    .flush = sink_flush,
    .close = sink_close,
};

/* ---- the sink that keeps the archive ---- */

static void keep_object(const struct dgf_sealed_object *object)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes;
    uint8_t name[DGF_SHA256_LEN], hash[DGF_SHA256_LEN];
    struct dgf_err err = {0};
    uint32_t at;

    dgf_buf_init(&bytes, 64 << 20);
    if (dgf_file_slurp(object->path, 64 << 20, &bytes, &err))
        fail(err.text, 0, 0);
    dgf_sha256(dgf_bytes_str(object->name), name);
    dgf_sha256(dgf_buf_bytes(&bytes), hash);
    at = dgf_le32_at(name) % MAX_OBJECTS;
    while (world.objects[at].there && memcmp(world.objects[at].name, name, 32) != 0)
        at = (at + 1) % MAX_OBJECTS;
    if (world.objects[at].there && !object->replace &&
        memcmp(world.objects[at].bytes, hash, 32) != 0)
        fail("an archive object was offered again with other bytes", at, bytes.len);
    memcpy(world.objects[at].name, name, 32);
    memcpy(world.objects[at].bytes, hash, 32);
    world.objects[at].there = true;
}

static enum dgf_rc archive_offer(struct dgf_sink *sink, const struct dgf_sealed *sealed,
                                 struct dgf_err *err)
{
    struct model_sink *self = (struct model_sink *)sink;

    (void)err;
    if (simdisk_random() % 8 == 0)
        return DGF_AGAIN;
    if (sealed->first != self->next || sealed->next <= sealed->first)
        fail("an archive segment out of order", sealed->first, self->next);
    for (size_t i = 0; i < sealed->n_objects; i++)
        keep_object(&sealed->objects[i]);
    self->next = sealed->next;
    offered++;
    return DGF_OK;
}

static void archive_deliver(struct model_sink *self)
{
    dgf_sink_room(&self->base);
    if (self->next == self->given || simdisk_random() % 2)
        return;
    self->given = self->next;
    if (self->given > world.sink_next[self->number])
        world.sink_next[self->number] = self->given;
    dgf_sink_durable(&self->base, self->given, (struct dgf_bytes){NULL, 0});
}

static enum dgf_rc archive_open(struct dgf_sink *sink, struct dgf_bytes cursor,
                                uint64_t *ret_next, struct dgf_err *err)
{
    struct model_sink *self = (struct model_sink *)sink;

    (void)cursor;
    (void)err;
    self->number = ARCHIVE_SINK;
    if (*ret_next > world.sink_next[ARCHIVE_SINK])
        fail("a cursor beyond what the container has", *ret_next,
             world.sink_next[ARCHIVE_SINK]);
    self->next = self->given = *ret_next = world.sink_next[ARCHIVE_SINK];
    sinks_now[ARCHIVE_SINK] = self;
    return DGF_OK;
}

static const struct dgf_sink_type archive_sink_type = {
    .name = "container",
    .summary = "keeps the archive and outlives the process",
    .opts = no_opts,
    .conf_size = sizeof(struct dgf_sink_conf),
    .self_size = sizeof(struct model_sink),
    .open = archive_open,
    .archive = archive_offer,
    .close = sink_close,
};

static void deliver(int number)
{
    if (!sinks_now[number])
        return;
    if (number == ARCHIVE_SINK)
        archive_deliver(sinks_now[number]);
    else
        sink_deliver(sinks_now[number]);
}

/* ---- wrapped calls: where the model looks, and where mutants live ---- */

static bool handed_over;

enum dgf_rc __wrap_dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err)
{
    enum dgf_rc rc = __real_dgf_ledger_hand_over(ledger, err);

    if (!rc)
        handed_over = true;
    return rc;
}

enum dgf_rc __wrap_dgf_ledger_poll(struct dgf_ledger *ledger,
                                   struct dgf_ledger_news *news, struct dgf_err *err)
{
    enum dgf_rc rc = __real_dgf_ledger_poll(ledger, news, err);

    if (!rc && news->durable)
        memcpy(world.floor, world.handed, sizeof(world.floor));
    if (!rc && mutant == ACK_EARLY && handed_over)
        news->durable = true;
    handed_over = false;
    return rc;
}

enum dgf_rc __wrap_dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                                    struct dgf_bytes value)
{
    struct dgf_rd rd = dgf_rd_of(value);

    world.handed[name.ptr[0] - '0'] = dgf_rd_le64(&rd);
    return mutant == NO_CURSOR ? DGF_OK : __real_dgf_batch_cursor(batch, name, value);
}

enum dgf_rc __wrap_dgf_batch_position(struct dgf_batch *batch,
                                      const struct dgf_ledger_position *position)
{
    struct dgf_ledger_position at = *position;
    struct dgf_rd rd = dgf_rd_of(at.position);
    uint64_t tx = dgf_rd_le64(&rd), row = dgf_rd_le64(&rd);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf whole;

    dgf_buf_init(&whole, 64);
    if (mutant == HALF_TRANSACTION && row > 0) {
        put_position(&whole, tx, n_rows(tx)); /* "we have all of it" */
        at.position = dgf_buf_bytes(&whole);
    }
    return __real_dgf_batch_position(batch, &at);
}

/* ---- looking at what is on the disk ---- */

static bool find_number(const char *line, const char *key, uint64_t *ret)
{
    const char *at = strstr(line, key);

    if (!at)
        return false;
    *ret = strtoull(at + strlen(key), NULL, 10);
    return true;
}

struct look {
    uint64_t tx, row;           /* newest judged */
    uint64_t pending_violation; /* a violation record seen, its audit record not yet */
    uint64_t counted;           /* by coverage records */
    uint64_t judged;
    char set[80];         /* policy set of the transaction being read */
    char counted_set[80]; /* ... of the rows since the last coverage record */
};

static void look_at_audit(struct look *look, const char *line)
{
    uint64_t tx = 0, row = 0;
    const char *position = strstr(line, "\"position\":\"");
    const char *set = strstr(line, "\"policy_set\":\"sha256:");
    bool violates;

    if (!position || sscanf(position + 12, "%llu.%llu", (unsigned long long *)&tx,
                            (unsigned long long *)&row) != 2)
        fail("an audit record without a position", 0, 0);
    /* the next row of the history, empty transactions left out */
    if (tx == look->tx && row == look->row + 1) {
        if (row > 1 && set && strncmp(look->set, set, sizeof(look->set) - 1) != 0 &&
            !world.life_inside[tx])
            fail("one transaction, two policy sets", tx, row);
    } else {
        uint64_t at = look->row ? look->tx + 1 : look->tx;

        if (look->row && look->row != n_rows(look->tx))
            fail("rows of a transaction are missing", look->tx, look->row);
        while (n_rows(at) == 0)
            at++;
        if (tx != at || row != 1)
            fail("a row is missing or twice", tx, row);
    }
    violates = look->pending_violation != 0;
    if (violates != is_violation(tx, row))
        fail("the verdict of a row is wrong", tx, row);
    look->pending_violation = 0;
    look->tx = tx;
    look->row = row;
    look->judged++;
    snprintf(look->set, sizeof(look->set), "%.79s", set ? set : "");
    if (look->counted_set[0] && strcmp(look->counted_set, look->set) != 0)
        fail("no coverage record between two policy sets", tx, row);
    memcpy(look->counted_set, look->set, sizeof(look->set));
}

static void look_at_coverage(struct look *look, const char *line)
{
    const char *set = strstr(line, "\"policy_set\":\"sha256:");
    uint64_t n;

    if (!find_number(line, "\"events\":", &n))
        return;
    look->counted += n;
    if (n > 0 && (!set || strncmp(look->counted_set, set, 79) != 0))
        fail("coverage names another policy set", look->tx, look->row);
    look->counted_set[0] = '\0';
}

static void look_at(struct look *look, const char *line)
{
    if (strstr(line, "\"kind\":\"violation\""))
        look->pending_violation++;
    else if (strstr(line, "\"kind\":\"audit\""))
        look_at_audit(look, line);
    else if (strstr(line, "\"kind\":\"coverage\""))
        look_at_coverage(look, line);
    if (look->pending_violation > 1)
        fail("two violation records of one row", look->tx, look->row);
}

static void look_at_disk(void)
{
    struct dgf_ledger_reader *reader = NULL;
    struct dgf_err err = {0};
    struct look look = {0};
    struct dgf_leaf leaf;
    uint64_t first = 0;
    enum dgf_rc rc = dgf_ledger_first_kept(DIR, &first, &err);

    if (rc)
        return; /* the log was not made yet */
    rc = dgf_ledger_reader_open_cold(DIR, first, &reader, &err);
    while (!rc) {
        rc = dgf_ledger_reader_next(reader, &leaf, &err);
        if (!rc)
            remember(leaf.index, leaf.line);
    }
    if (rc != DGF_AGAIN)
        fail(err.text, first, 0);
    dgf_ledger_reader_free(reader);
    for (size_t i = 0; i < world.n_leaves; i++)
        look_at(&look, world.leaves[i]);
    if (look.counted > look.judged)
        fail("coverage counted more than was judged", look.counted, look.judged);
    if (look.row != 0 && look.row != n_rows(look.tx))
        world.life_inside[look.tx] = true;
    rows_judged += look.judged - rows_this_world;
    rows_this_world = look.judged;
}

/* ---- looking at the archive ---- */

static void archive_path(char *to, size_t size, const char *name)
{
    snprintf(to, size, DIR "/archive/%s/%s", world.log_id, name);
}

static bool read_object(const char *name, struct dgf_buf *to)
{
    char path[256];
    struct dgf_err err;

    archive_path(path, sizeof(path), name);
    dgf_buf_clear(to);
    return dgf_file_exists(path) && dgf_file_slurp(path, 64 << 20, to, &err) == DGF_OK;
}

static void same_lines(const struct dgf_manifest *manifest, struct dgf_buf *file)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf plain;
    struct dgf_unpacker *unpacker = NULL;
    struct dgf_bytes rest = dgf_buf_bytes(file);
    uint64_t index = manifest->first;
    uint8_t hash[DGF_SHA256_LEN];
    const uint8_t *at, *lf;

    dgf_buf_init(&plain, 64 << 20);
    dgf_sha256(rest, hash);
    if (memcmp(hash, manifest->file_sha256, sizeof(hash)) != 0)
        fail("a segment is not the file of its manifest", manifest->first, rest.len);
    if (dgf_unpacker_new(&unpacker))
        abort();
    while (rest.len > 0) {
        size_t used = 0;
        enum dgf_rc rc = dgf_unpack_frame(unpacker, rest, 1 << 20, &plain, &used);

        if (rc && rc != DGF_AGAIN)
            fail("a segment cannot be unpacked", manifest->first, rest.len);
        rest = dgf_bytes_of(rest.ptr + used, rest.len - used);
    }
    dgf_unpacker_free(unpacker);
    dgf_sha256(dgf_buf_bytes(&plain), hash);
    if (memcmp(hash, manifest->leaves_sha256, sizeof(hash)) != 0)
        fail("leaves_sha256 is wrong", manifest->first, plain.len);
    for (at = plain.ptr; at < plain.ptr + plain.len; at = lf + 1) {
        lf = memchr(at, '\n', plain.len - (size_t)(at - plain.ptr));
        if (!lf || index > manifest->last ||
            strlen(world.leaves[index]) != (size_t)(lf - at) ||
            memcmp(world.leaves[index], at, (size_t)(lf - at)) != 0)
            fail("an archive line is not the record", index, plain.len);
        index++;
    }
    if (index != manifest->last + 1)
        fail("a segment has another number of records", index, manifest->last);
    segments_checked++;
}

struct sealed_state {
    struct dgf_buf *file;
    uint64_t tx, count;
    bool has_tx;
};

static enum dgf_rc state_read(void *ctx, uint64_t offset, void *ptr, size_t len,
                              size_t *ret_len, struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    size_t left = offset < s->file->len ? s->file->len - offset : 0;

    (void)err;
    *ret_len = len < left ? len : left;
    memcpy(ptr, s->file->ptr + offset, *ret_len);
    return DGF_OK;
}

static enum dgf_rc state_begin(void *ctx, uint64_t next, uint64_t batch,
                               const struct dgf_marks *marks, struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    struct dgf_rd rd;

    (void)next;
    (void)batch;
    (void)err;
    if (marks->n_positions == 0)
        return DGF_OK;
    rd = dgf_rd_of(marks->positions[0].position);
    s->tx = dgf_rd_le64(&rd);
    s->has_tx = true;
    return DGF_OK;
}

static enum dgf_rc state_item(void *ctx, struct dgf_bytes key, struct dgf_bytes value,
                              struct dgf_err *err)
{
    struct sealed_state *s = ctx;
    struct dgf_rd rd = dgf_rd_of(value);

    (void)err;
    if (key.len >= 5 && memcmp(key.ptr + key.len - 5, "count", 5) == 0)
        s->count = dgf_rd_le64(&rd);
    return DGF_OK;
}

static void same_moment(const struct dgf_manifest *manifest, struct dgf_buf *file)
{
    struct sealed_state s = {.file = file};
    struct dgf_state_reader reader = {state_read, state_begin, state_item, &s};
    uint8_t tenant[32], token[32], key[DGF_AEAD_KEY_LEN], hash[DGF_SHA256_LEN];
    uint8_t log_id[DGF_LOG_ID_LEN];
    struct dgf_err err = {0};

    dgf_sha256(dgf_buf_bytes(file), hash);
    if (memcmp(hash, manifest->state_sha256, sizeof(hash)) != 0)
        fail("sealed state is not the file of its manifest", manifest->first,
             file->len);
    if (dgf_keys_load(DIR, NULL, NULL, tenant, token, &err) ||
        !dgf_parse_hex(dgf_bytes_str(world.log_id), log_id, sizeof(log_id)))
        fail("no keys", 0, 0);
    dgf_state_key(tenant, world.log_id, key);
    if (dgf_state_read(&reader, key, log_id, manifest->first, &err))
        fail(err.text, manifest->first, file->len);
    if (s.has_tx && s.tx != s.count)
        fail("sealed state and position are of different moments", s.tx, s.count);
}

/* The next segment behind what is known to be right; false: pruned. */
static bool look_at_segment(struct dgf_manifest *manifest, struct dgf_buf *bytes)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_err err = {0};
    uint8_t root[DGF_SHA256_LEN];

    dgf_name_manifest(name, world.tree.size);
    if (!read_object(name, bytes))
        fail("a manifest is missing", world.tree.size, 0);
    if (dgf_manifest_get(dgf_buf_bytes(bytes), manifest, &err))
        fail(err.text, world.tree.size, 0);
    if (manifest->first != world.tree.size || manifest->last >= world.n_leaves ||
        manifest->has_previous != (manifest->first > 0) ||
        (manifest->has_previous && memcmp(manifest->previous, world.manifest, 32) != 0))
        fail("manifests are no chain", manifest->first, manifest->last);
    dgf_sha256(dgf_buf_bytes(bytes), world.manifest);
    dgf_tree_root(&world.tree, root);
    if (memcmp(root, manifest->root_before, sizeof(root)) != 0)
        fail("root_before is wrong", manifest->first, 0);
    for (uint64_t i = manifest->first; i <= manifest->last; i++) {
        uint8_t hash[DGF_SHA256_LEN];

        dgf_sha256_leaf(dgf_bytes_str(world.leaves[i]), hash);
        dgf_tree_append(&world.tree, hash);
    }
    dgf_tree_root(&world.tree, root);
    if (memcmp(root, manifest->root_after, sizeof(root)) != 0)
        fail("root_after is wrong", manifest->last, 0);
    dgf_name_segment(name, manifest->first);
    if (!read_object(name, bytes))
        return false;
    same_lines(manifest, bytes);
    dgf_name_state(name, manifest->first);
    if (read_object(name, bytes))
        same_moment(manifest, bytes);
    return true;
}

static void look_at_archive(void)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes;
    struct dgf_manifest manifest;
    struct dgf_checkpoint checkpoint;
    uint8_t seed[32], key[DGF_SIGN_PUBLIC_LEN], root[DGF_SHA256_LEN];
    struct dgf_err err = {0};
    bool is_signed = false, there = true;

    dgf_buf_init(&bytes, 64 << 20);
    dgf_manifest_init(&manifest);
    if (!read_object(DGF_NAME_CHECKPOINT, &bytes)) {
        if (world.tree.size > 0)
            fail("the checkpoint is gone", world.tree.size, 0);
        return;
    }
    if (dgf_keys_load_sign(DIR, NULL, seed, &err) || !dgf_sign_public(seed, key) ||
        dgf_checkpoint_get(dgf_buf_bytes(&bytes), key, &checkpoint, &is_signed, &err) ||
        !is_signed)
        fail("the checkpoint is not signed", 0, 0);
    if (checkpoint.size < world.tree.size || checkpoint.size > world.n_leaves)
        fail("the checkpoint has another size", checkpoint.size, world.tree.size);
    while (world.tree.size < checkpoint.size)
        there = look_at_segment(&manifest, &bytes);
    if (!there)
        fail("the newest segment is gone", manifest.first, 0);
    dgf_tree_root(&world.tree, root);
    if (world.tree.size != checkpoint.size || memcmp(root, checkpoint.root, 32) != 0 ||
        memcmp(world.manifest, checkpoint.manifest, 32) != 0)
        fail("the checkpoint signs another tree", checkpoint.size, world.tree.size);
    if (world.sink_next[ARCHIVE_SINK] > checkpoint.size)
        fail("the container is ahead of the archive", world.sink_next[ARCHIVE_SINK],
             checkpoint.size);
    dgf_manifest_release(&manifest);
}

/* ---- one life ---- */

static struct dgf_policy_set *sets[2];
static int set_now;

static void add_rows(const struct pipe_source *ps)
{
    /* 6: what the kept counters hold and what records say is all that was judged */
    const struct dgf_ledger_position *kept =
        dgf_ledger_find_position(ps->pipeline->ledger, dgf_bytes_str(ps->conf->name));
    struct dgf_coverage coverage;
    struct look look = {0};

    dgf_coverage_init(&coverage);
    if (!kept || dgf_coverage_decode(&coverage, kept->counters))
        fail("the ledger has no counters", 0, 0);

    for (size_t i = 0; i < world.n_leaves; i++)
        look_at(&look, world.leaves[i]);
    if (look.counted + coverage.events != look.judged)
        fail("coverage and judged rows differ", look.counted + coverage.events,
             look.judged);
    dgf_coverage_release(&coverage);
}

static void act(struct dgf_pipeline *p)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    switch (simdisk_random() % 20) {
    case 0:
        now_ns += (int64_t)(simdisk_random() % 3) * DGF_SECOND_NS;
        break;
    case 1:
        if (source_now && source_now->open && simdisk_random() % 4 == 0) {
            reopened++;
            dgf_source_fail(&source_now->base, DGF_RETRY, "connection lost");
        }
        break;
    case 2:
        if (simdisk_random() % 4 == 0) {
            rc = dgf_pipeline_reload(p, sets[set_now ^ 1], &err);
            if (rc == DGF_RETRY) /* the text has no room on the disk */
                break;
            if (rc)
                fail(err.text, 0, 0);
            set_now ^= 1;
            reloads++;
        }
        break;
    case 3:
        if (simdisk_random() % 8 == 0) {
            simdisk_set_full(true);
            full_disks++;
        }
        break;
    case 4:
        simdisk_set_full(false);
        now_ns += 2 * DGF_SECOND_NS;
        break;
    case 5:
        if (simdisk_random() % 10 == 0)
            now_ns += 61 * DGF_SECOND_NS;
        else if (simdisk_random() % 10 == 0)
            wall_shift_ns =
                (int64_t)(simdisk_random() % 3) * 3600 * DGF_SECOND_NS - DGF_SECOND_NS;
        break;
    case 6:
    case 7:
        if (sinks_now[simdisk_random() % N_SINKS])
            for (int i = 0; i < N_SINKS; i++)
                if (sinks_now[i] && simdisk_random() % 2)
                    deliver(i);
        (void)!dgf_archive_step(p->archive.archive);
        break;
    case 8:
    case 9:
    case 10:
        rc = dgf_ledger_step(p->ledger, &err);
        if (rc && rc != DGF_AGAIN)
            fail(err.text, 0, 0);
        break;
    default:
        for (uint64_t n = simdisk_random() % 12;
             n > 0 && source_now && source_now->open && source_now->reading; n--)
            read_one(source_now);
    }
}

/* Since when the open counters count, by the clock that never jumps. */
static struct {
    int64_t wall_ns, mono_ns;
} counting;

static void look_at_source(const struct pipe_source *ps)
{
    if (source_now && source_now->open && !ps->failed &&
        source_now->told != ps->told_seq)
        fail("an open source does not know what is durable", source_now->told,
             ps->told_seq);
    if (ps->coverage.since_ns != counting.wall_ns) {
        counting.wall_ns = ps->coverage.since_ns;
        counting.mono_ns = now_ns;
    }
    if (now_ns - counting.mono_ns > 2 * DGF_COVERAGE_NS + DGF_SECOND_NS)
        fail("no coverage record for two minutes", (uint64_t)counting.mono_ns,
             (uint64_t)now_ns);
}

static void live(struct dgf_pipeline_conf *conf)
{
    struct dgf_pipeline *p = NULL;
    struct dgf_err err = {0};
    int64_t wait_ns;
    enum dgf_rc rc;

    for (;;) {
        rc = dgf_pipeline_open(NULL, conf, sets[set_now], &p, &err);
        if (rc != DGF_RETRY)
            break;
        simdisk_set_full(false);
    }
    if (rc)
        fail(err.text, 0, 0);
    snprintf(world.log_id, sizeof(world.log_id), "%s",
             dgf_ledger_log_id_text(p->ledger));
    if (p->sources[0].position.len)
        add_rows(&p->sources[0]);
    counting.wall_ns = INT64_MIN;
    while (steps_left-- > 0) {
        act(p);
        if (dgf_pipeline_turn(p, &wait_ns, &err))
            fail(err.text, 0, 0);
        look_at_source(&p->sources[0]);
        if (p->archive.news.state == DGF_ARCHIVE_STOPPED)
            fail(p->archive.news.text, 0, 0);
    }
    if (simdisk_random() % 4) {
        longjmp(dead, 1);
    }
    simdisk_set_full(false);
    dgf_pipeline_drain(p, DGF_SECOND_NS);
    for (int i = 0; i < 200 && !dgf_pipeline_done(p); i++) {
        rc = dgf_ledger_step(p->ledger, &err);
        if (rc && rc != DGF_AGAIN)
            fail(err.text, 0, 0);
        for (int s = 0; s < N_SINKS; s++)
            deliver(s);
        (void)!dgf_archive_step(p->archive.archive);
        if (dgf_pipeline_turn(p, &wait_ns, &err))
            fail(err.text, 0, 0);
        now_ns += DGF_SECOND_NS / 20;
    }
    dgf_pipeline_free(p);
}

static void one_life(struct dgf_pipeline_conf *conf)
{
    static volatile uint64_t turn;

    turn++;
    /* Two of three lives have a point to end at; a first life may end at the two
     * points that no other passes. */
    target = turn % 3 ? points[simdisk_random() % DGF_ARRAY_LEN(points)].name : NULL;
    if (lives % LIVES_A_WORLD == 0 && simdisk_random() % 2)
        target = points[simdisk_random() % 2].name;
    target_after = (unsigned)(simdisk_random() % (simdisk_random() % 2 ? 2 : 12));
    steps_left = (unsigned)(20 + simdisk_random() % 120);
    source_now = NULL;
    memset(sinks_now, 0, sizeof(sinks_now));
    memcpy(world.handed, world.floor, sizeof(world.handed));
    handed_over = false;
    tracking = true;
    armed = true;
    if (setjmp(dead) == 0)
        live(conf);
    armed = false;
    end_of_life();
    if (simdisk_random() % 5 == 0)
        simdisk_kill(); /* kill -9: the page cache survives */
    else
        simdisk_crash();
    tracking = true;
    look_at_disk();
    look_at_archive();
    end_of_life();
    lives++;
}

/* ---- policies ---- */

static const char *const policy_paths[] = {"/policies/first.yaml",
                                           "/policies/second.yaml"};

static void put_policy(int number, char text[1024])
{
    snprintf(text, 1024,
             "version: 1\n"
             "info: {title: Model, owner: model@example.org}\n"
             "policies:\n"
             "  - id: BAD-001\n"
             "    title: set %d\n"
             "    severity: high\n"
             "    watch: {objects: [m.rows]}\n"
             "    when: after.bad == true\n"
             "    message: \"row {{after.id}} is bad\"\n"
             "    audit: every_event\n",
             number);
    simdisk_put(policy_paths[number], text);
}

static struct dgf_policy_set *load_set(int number)
{
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out;
    struct dgf_policy_world where = {0};
    struct dgf_policy_set *set = NULL;
    char text[1024];

    put_policy(number, text);
    dgf_findings_init(&findings);
    dgf_buf_init(&out, 1 << 20);
    if (dgf_policy_set_load(&policy_paths[number], 1, &where, &findings, &set)) {
        dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, false, &out);
        printf("%s", dgf_buf_str(&out));
        exit(1);
    }
    return set;
}

static void new_world(uint64_t seed)
{
    for (size_t i = 0; i < world.n_leaves; i++)
        free(world.leaves[i]);
    memset(&world, 0, sizeof(world));
    rows_this_world = 0;
    world.seed = seed;
    simdisk_format(seed);
    for (int i = 0; i < 2; i++) {
        char text[1024];

        put_policy(i, text);
    }
}

static int report(void)
{
    int missing = 0;

    for (size_t i = 0; i < DGF_ARRAY_LEN(points); i++) {
        printf("  %-30s visited %8llu  died %6llu\n", points[i].name,
               (unsigned long long)points[i].visits,
               (unsigned long long)points[i].deaths);
        missing += points[i].deaths == 0;
    }
    printf(
        "model: %llu lives, %llu rows, %llu reopened sources, %llu reloads, %llu full disks; "
        "%llu archive segments checked, %llu offered; %d crash points never hit\n",
        (unsigned long long)lives, (unsigned long long)rows_judged,
        (unsigned long long)reopened, (unsigned long long)reloads,
        (unsigned long long)full_disks, (unsigned long long)segments_checked,
        (unsigned long long)offered, missing);
    return missing ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct dgf_sink_conf sink_confs[N_SINKS] = {
        {.required = true}, {.required = false}, {.required = true}};
    static const struct dgf_source_conf sources[] = {
        {.name = "m", .type = &model_source_type}};
    static const struct dgf_sink_setup sinks[] = {
        {.name = "0", .type = &model_sink_type, .conf = &sink_confs[0]},
        {.name = "1", .type = &model_sink_type, .conf = &sink_confs[1]},
        {.name = "2", .type = &archive_sink_type, .conf = &sink_confs[2]}};
    struct dgf_pipeline_conf conf = {
        .agent = "model",
        .env = "test",
        .ledger = {.dir = DIR,
                   .journal_bytes = 1 << 30,
                   .segment_bytes = 30000,
                   .keep_ns = 0,
                   .batch_bytes = 20000,
                   .threaded = false},
        .event_bytes = 1 << 16,
        .archive = true,
        .cut_bytes = 8000,
        .sources = sources,
        .n_sources = 1,
        .sinks = sinks,
        .n_sinks = N_SINKS,
    };

    for (size_t i = 0; argc > 3 && i < DGF_ARRAY_LEN(mutant_names); i++)
        if (strcmp(argv[3], mutant_names[i]) == 0)
            mutant = (enum mutant)i;
    start_sqlite();
    simdisk_on_crash_point = on_crash_point;
    dgf_log_init(2, DGF_LOG_ERROR, 0);
    new_world(seed);
    sets[0] = load_set(0);
    sets[1] = load_set(1);
    while (lives < n) {
        if (lives % LIVES_A_WORLD == 0)
            new_world(seed + lives);
        conf.ack_sinks = lives / LIVES_A_WORLD % 4 == 3;
        one_life(&conf);
    }
    return mutant == NONE ? report() : 0;
}
