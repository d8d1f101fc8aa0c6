/* model_script.c - the known history, the source that tells it, and sinks that outlive
 * the process. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model.h"
#include "simdisk.h"

/* ---- the history ---- */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t x = world.seed ^ (a * UINT64_C(0x9E3779B97F4A7C15)) ^
                 (b * UINT64_C(0xC2B2AE3D27D4EB4F));

    x ^= x >> 31;
    x *= UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 29);
}

uint64_t n_rows(uint64_t tx)
{
    return mix(tx, 1) % 40 == 0 ? 60 : mix(tx, 1) % 6; /* also empty ones */
}

bool is_violation(uint64_t tx, uint64_t row)
{
    return mix(tx, row + 100) % 4 == 0;
}

/* ---- the source ---- */

/* seq -> position, of this life */
static struct {
    uint64_t tx, row;
} of_seq[1 << 16];
struct model_source *source_now;

void put_position(struct dgf_buf *buf, uint64_t tx, uint64_t row)
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
void read_one(struct model_source *self)
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
const struct dgf_source_type model_source_type = {
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

struct model_sink *sinks_now[N_SINKS];

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

void remember(uint64_t index, struct dgf_bytes line)
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

const struct dgf_sink_type model_sink_type = {
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
    tally.offered++;
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

const struct dgf_sink_type archive_sink_type = {
    .name = "container",
    .summary = "keeps the archive and outlives the process",
    .opts = no_opts,
    .conf_size = sizeof(struct dgf_sink_conf),
    .self_size = sizeof(struct model_sink),
    .open = archive_open,
    .archive = archive_offer,
    .close = sink_close,
};

void deliver(int number)
{
    if (!sinks_now[number])
        return;
    if (number == ARCHIVE_SINK)
        archive_deliver(sinks_now[number]);
    else
        sink_deliver(sinks_now[number]);
}
