#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "source_postgres.h"

#define MAX_ACTOR_BYTES 4096

/* ---- positions and ids ---- */

struct dgf_pg_position dgf_pg_position_at(const struct dgf_pg_source *self,
                                          uint64_t end_lsn)
{
    return (struct dgf_pg_position){.system = self->server.system,
                                    .timeline = self->server.timeline,
                                    .end_lsn = end_lsn,
                                    .options = self->options};
}

static struct dgf_pg_position position_inside(const struct dgf_pg_source *self)
{
    return (struct dgf_pg_position){.system = self->server.system,
                                    .timeline = self->server.timeline,
                                    .commit_lsn = self->commit_lsn,
                                    .ordinal = self->ordinal,
                                    .messages = self->messages,
                                    .options = self->options};
}

/* The fields every id of this source starts with. */
static void begin_id(const struct dgf_pg_source *self, struct dgf_id_hash *hash,
                     const char *type)
{
    dgf_id_begin(hash, type);
    dgf_id_add(hash, DGF_BYTES("postgres"));
    dgf_id_add_u64(hash, self->server.system);
    dgf_id_add_u64(hash, self->database_oid);
    dgf_id_add(hash, dgf_bytes_str(self->slot));
}

static void freeze_id(struct dgf_pg_source *self)
{
    struct dgf_id_hash hash;

    begin_id(self, &hash, "change");
    dgf_id_add_u64(&hash, self->server.timeline);
    dgf_id_add_u64(&hash, self->commit_lsn);
    dgf_id_freeze(&hash, &self->id_prefix);
}

/* ---- handing over ---- */

bool dgf_pg_note_unconfirmed(struct dgf_pg_source *self, uint64_t seq, uint64_t lsn)
{
    if (self->n_unconfirmed == self->cap_unconfirmed) {
        size_t cap = self->cap_unconfirmed ? 2 * self->cap_unconfirmed : 256, bytes;
        struct dgf_pg_unconfirmed *ring;

        if (!dgf_mul_size(cap, sizeof(*ring), &bytes))
            return false;
        ring = dgf_malloc(bytes);
        if (!ring)
            return false;
        for (size_t i = 0; i < self->n_unconfirmed; i++)
            ring[i] = self->unconfirmed[(self->first_unconfirmed + i) %
                                        self->cap_unconfirmed];
        dgf_free(self->unconfirmed);
        self->unconfirmed = ring;
        self->cap_unconfirmed = cap;
        self->first_unconfirmed = 0;
    }
    self->unconfirmed[(self->first_unconfirmed + self->n_unconfirmed++) %
                      self->cap_unconfirmed] = (struct dgf_pg_unconfirmed){seq, lsn};
    return true;
}

bool dgf_pg_emit(struct dgf_pg_source *self, struct dgf_event *take_event)
{
    enum dgf_rc rc = dgf_source_emit(&self->base, take_event);

    if (rc == DGF_AGAIN)
        self->blocked = true;
    else if (rc != DGF_OK)
        dgf_pg_fail(self, rc, "the event was not taken");
    return !self->failed;
}

/* Emits an event that ends everything up to end_lsn. */
static bool emit_end(struct dgf_pg_source *self, struct dgf_event *take_event,
                     uint64_t end_lsn)
{
    if (!dgf_pg_note_unconfirmed(self, self->base.next_seq, end_lsn)) {
        dgf_event_unref(take_event);
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_pg_emit(self, take_event);
}

/* position is written to after this call. */
static struct dgf_event_meta meta_of(const struct dgf_pg_source *self,
                                     uint8_t *position)
{
    return (struct dgf_event_meta){
        .commit_ns = self->commit_ns,
        .seen_ns = self->seen_ns,
        .tx = self->in_tx ? dgf_bytes_of(self->tx_text, self->tx_len)
                          : (struct dgf_bytes){0},
        .position = dgf_bytes_of(position, DGF_PG_POSITION_BYTES)};
}

bool dgf_pg_emit_progress(struct dgf_pg_source *self, uint64_t end_lsn, bool no_slot)
{
    struct dgf_pg_position to = dgf_pg_position_at(self, end_lsn);
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, bytes);
    struct dgf_id_hash hash;
    struct dgf_event *event;

    to.no_slot = no_slot;
    dgf_pg_position_write(&to, bytes);
    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    begin_id(self, &hash, "progress");
    dgf_id_add(&hash, dgf_bytes_of(bytes, sizeof(bytes)));
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(&self->builder, NULL, DGF_KIND_PROGRESS, DGF_OP_NONE);
    if (dgf_event_finish(&self->builder, &meta, &event)) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    self->position = to;
    return no_slot ? dgf_pg_emit(self, event) : emit_end(self, event, end_lsn);
}

static void text_of(const struct dgf_pg_position *position, struct dgf_buf *text)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];

    dgf_buf_init(text, 128);
    dgf_pg_position_write(position, bytes);
    dgf_pg_position_text(dgf_bytes_of(bytes, sizeof(bytes)), text);
}

bool dgf_pg_emit_gap(struct dgf_pg_source *self, enum dgf_gap reason,
                     const struct dgf_pg_position *from,
                     const struct dgf_pg_position *to, const char *message,
                     const char *const *detail, size_t n_pairs)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, bytes);
    struct dgf_buf from_text, to_text;
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;
    enum dgf_rc rc;

    dgf_pg_position_write(to, bytes);
    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    dgf_buf_init(&from_text, 128);
    if (from)
        text_of(from, &from_text);
    text_of(to, &to_text);
    begin_id(self, &hash, "gap");
    dgf_id_add(&hash, dgf_bytes_str(dgf_gap_text(reason)));
    dgf_id_add(&hash, dgf_buf_bytes(&from_text));
    dgf_id_add(&hash, dgf_buf_bytes(&to_text));
    dgf_id_add(&hash, dgf_bytes_str(message));
    meta.id = dgf_id_end(&hash);
    rc = dgf_event_gap(&self->builder, reason, from ? dgf_buf_str(&from_text) : NULL,
                       dgf_buf_str(&to_text), message, detail, n_pairs, &meta, &event);
    dgf_buf_release(&from_text);
    dgf_buf_release(&to_text);
    if (rc) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_pg_emit(self, event);
}

static void put_text(struct dgf_event_builder *builder, struct dgf_bytes name,
                     const char *text)
{
    dgf_mp_put_str(dgf_event_named(builder, name), dgf_bytes_str(text));
}

bool dgf_pg_emit_resume(struct dgf_pg_source *self, const struct dgf_pg_position *at)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, bytes);
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_buf since;
    struct dgf_event *event;
    struct dgf_id_hash hash;
    char text[256];
    enum dgf_rc rc;

    dgf_pg_position_write(at, bytes);
    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    text_of(at, &since);
    begin_id(self, &hash, "resume");
    dgf_id_add(&hash, dgf_buf_bytes(&since));
    meta.id = dgf_id_end(&hash);
    (void)snprintf(text, sizeof(text), "covered since %s", dgf_buf_str(&since));
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, DGF_BYTES("since"), dgf_buf_str(&since));
    put_text(builder, DGF_BYTES("message"), text);
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 2);
    dgf_mp_put_str(&builder->body, DGF_BYTES("slot"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(self->slot));
    dgf_mp_put_str(&builder->body, DGF_BYTES("publication"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(self->publication));
    dgf_event_section_end(builder);
    rc = dgf_event_finish(builder, &meta, &event);
    dgf_buf_release(&since);
    if (rc) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_pg_emit(self, event);
}

/* ---- the actor ---- */

void dgf_pg_actor_clear(struct dgf_pg_actor *actor)
{
    dgf_free(actor->name);
    dgf_free(actor->app);
    dgf_free(actor->address);
    *actor = (struct dgf_pg_actor){0};
}

static bool copy_field(const json_t *object, const char *name, char **ret)
{
    json_t *field = json_object_get(object, name);

    if (!field || json_is_null(field))
        return true;
    if (!json_is_string(field))
        return false;
    *ret = dgf_strndup(json_string_value(field), json_string_length(field));
    return *ret != NULL;
}

/* False: not the JSON we ask for. */
static bool read_actor(struct dgf_pg_source *self, struct dgf_bytes content)
{
    DGF_CLEANUP_JSON json_t *json = NULL;
    struct dgf_pg_actor actor = {.set = true};

    if (content.len > MAX_ACTOR_BYTES ||
        dgf_json_parse(content, MAX_ACTOR_BYTES, 4, &json, NULL) ||
        !json_is_object(json))
        return false;
    if (!copy_field(json, "name", &actor.name) ||
        !copy_field(json, "app", &actor.app) ||
        !copy_field(json, "address", &actor.address)) {
        dgf_pg_actor_clear(&actor);
        return false;
    }
    dgf_pg_actor_clear(&self->actor);
    self->actor = actor;
    return true;
}

static void put_actor(struct dgf_pg_source *self)
{
    struct dgf_event_builder *builder = &self->builder;
    const struct dgf_pg_actor *actor = &self->actor;

    if (!actor->set)
        return;
    dgf_event_section(builder, DGF_SECTION_ACTOR);
    if (actor->name)
        put_text(builder, DGF_BYTES("name"), actor->name);
    if (actor->app)
        put_text(builder, DGF_BYTES("app"), actor->app);
    if (actor->address)
        put_text(builder, DGF_BYTES("address"), actor->address);
    put_text(builder, DGF_BYTES("how"), "log_message");
    dgf_mp_put_bool(dgf_event_named(builder, DGF_BYTES("sure")), true);
    dgf_event_section_end(builder);
}

/* ---- rows ---- */

struct row {
    const struct dgf_pg_relation *relation;
    const struct dgf_pgoutput *message;
    enum dgf_op op;
    const char *why; /* of a value that could not be understood */
};

static enum dgf_rc put_datum(struct dgf_pg_source *self, struct row *row, uint32_t i,
                             const struct dgf_pg_datum *datum)
{
    struct dgf_buf *buf = dgf_event_column(&self->builder, i);
    const struct dgf_pg_type *type = row->relation->types[i];

    switch (datum->kind) {
    case DGF_PG_NULL:
        dgf_mp_put_nil(buf);
        return DGF_OK;
    case DGF_PG_UNCHANGED:
        dgf_mp_put_unavailable(buf, DGF_UNAVAILABLE_TOAST);
        return DGF_OK;
    case DGF_PG_TEXT:
        return dgf_pg_value_text(type, datum->bytes, buf, &row->why);
    default:
        return dgf_pg_value_binary(type, datum->bytes, buf, &row->why);
    }
}

static enum dgf_rc put_old_row(struct dgf_pg_source *self, struct row *row)
{
    const struct dgf_pg_tuple *tuple = &row->message->old_row;
    bool key_only = row->message->row.old_kind == 'K';
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(&self->builder, DGF_SECTION_BEFORE);
    for (uint32_t i = 0; i < tuple->n && !rc; i++)
        /* In a key every column that is not part of it stands as null. */
        if (key_only && !row->relation->in_identity[i])
            dgf_mp_put_unavailable(dgf_event_column(&self->builder, i),
                                   DGF_UNAVAILABLE_REPLICA_IDENTITY);
        else
            rc = put_datum(self, row, i, &tuple->datums[i]);
    dgf_event_section_end(&self->builder);
    return rc;
}

static enum dgf_rc put_new_row(struct dgf_pg_source *self, struct row *row)
{
    const struct dgf_pg_tuple *tuple = &row->message->new_row,
                              *old = &row->message->old_row;
    bool has_old = row->message->row.old_kind == 'O';
    enum dgf_rc rc = DGF_OK;

    dgf_event_section(&self->builder, DGF_SECTION_AFTER);
    for (uint32_t i = 0; i < tuple->n && !rc; i++) {
        const struct dgf_pg_datum *datum = &tuple->datums[i];

        if (datum->kind == DGF_PG_UNCHANGED && has_old)
            datum = &old->datums[i];
        rc = put_datum(self, row, i, datum);
    }
    dgf_event_section_end(&self->builder);
    return rc;
}

static enum dgf_rc build_row(struct dgf_pg_source *self, struct row *row)
{
    struct dgf_event_builder *builder = &self->builder;
    enum dgf_rc rc = DGF_OK;

    dgf_event_begin(builder, row->relation->object, DGF_KIND_CHANGE, row->op);
    if (row->op == DGF_OP_INSERT)
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
    else if (row->message->row.old_kind)
        rc = put_old_row(self, row);
    else /* the key did not change, so `after` has it */
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_REPLICA_IDENTITY);
    if (rc)
        return rc;
    if (row->op == DGF_OP_DELETE)
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
    else
        rc = put_new_row(self, row);
    if (!rc)
        put_actor(self);
    return rc;
}

static enum dgf_rc build_undecodable(struct dgf_pg_source *self, const struct row *row,
                                     struct dgf_bytes bytes,
                                     const struct dgf_event_meta *meta,
                                     struct dgf_event **ret)
{
    struct dgf_event_builder *builder = &self->builder;
    uint8_t digest[DGF_SHA256_LEN];
    char what[64];

    dgf_sha256(bytes, digest);
    (void)snprintf(what, sizeof(what), "message '%c'", row->message->type);
    dgf_event_begin(builder, row->relation->object, DGF_KIND_UNDECODABLE, row->op);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("size")), (int64_t)bytes.len);
    dgf_mp_put_bin(dgf_event_named(builder, DGF_BYTES("hash")),
                   dgf_bytes_of(digest, sizeof(digest)));
    put_text(builder, DGF_BYTES("what"), what);
    put_text(builder, DGF_BYTES("why"), row->why);
    dgf_event_section_end(builder);
    return dgf_event_finish(builder, meta, ret);
}

/* Counts a row change; false: it was read before, or belongs to a transaction
 * that was. */
static bool counts(struct dgf_pg_source *self)
{
    self->ordinal++;
    return !self->ignore_tx && self->ordinal > self->skip_ordinal;
}

static enum dgf_rc emit_row(struct dgf_pg_source *self, struct row *row,
                            struct dgf_bytes bytes)
{
    uint8_t position[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, position);
    struct dgf_event *event;
    enum dgf_rc rc;

    self->position = position_inside(self);
    dgf_pg_position_write(&self->position, position);
    meta.id = dgf_id_last_u64(&self->id_prefix, self->ordinal);
    meta.tx_n = self->ordinal;
    rc = build_row(self, row);
    if (!rc) {
        rc = dgf_event_finish(&self->builder, &meta, &event);
        if (rc)
            row->why = "larger than limits.event_bytes";
    }
    if (rc)
        rc = build_undecodable(self, row, bytes, &meta, &event);
    if (rc) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return DGF_RETRY;
    }
    return dgf_pg_emit(self, event) ? DGF_OK : DGF_RETRY;
}

static enum dgf_rc unknown_relation(struct dgf_pg_source *self,
                                    const struct dgf_pgoutput *message, uint32_t oid,
                                    size_t len)
{
    dgf_pg_fail(
        self, DGF_FATAL,
        "message '%c' of %zu bytes is about relation %" PRIu32
        " in a way the server did not announce, in the transaction that commits at "
        "%" PRIX32 "/%" PRIX32,
        message->type, len, oid, (uint32_t)(self->commit_lsn >> 32),
        (uint32_t)self->commit_lsn);
    return DGF_FATAL;
}

static enum dgf_rc on_row(struct dgf_pg_source *self,
                          const struct dgf_pgoutput *message, struct dgf_bytes bytes)
{
    struct row row = {.relation = dgf_pg_catalog_find(self, message->row.relation),
                      .message = message,
                      .op = message->type == DGF_PG_INSERT   ? DGF_OP_INSERT
                            : message->type == DGF_PG_UPDATE ? DGF_OP_UPDATE
                                                             : DGF_OP_DELETE,
                      .why = "unknown"};

    if (!row.relation ||
        (row.op != DGF_OP_DELETE && message->new_row.n != row.relation->n) ||
        (message->row.old_kind && message->old_row.n != row.relation->n))
        return unknown_relation(self, message, message->row.relation, bytes.len);
    if (!counts(self) || !row.relation->wanted)
        return DGF_OK;
    return emit_row(self, &row, bytes);
}

static enum dgf_rc on_truncate(struct dgf_pg_source *self,
                               const struct dgf_pgoutput *message, size_t len)
{
    for (uint32_t i = 0; i < message->truncate.n; i++) {
        uint32_t oid = dgf_pgoutput_truncated(message, i);
        const struct dgf_pg_relation *relation = dgf_pg_catalog_find(self, oid);
        struct dgf_event_builder *builder = &self->builder;
        uint8_t position[DGF_PG_POSITION_BYTES];
        struct dgf_event_meta meta;
        struct dgf_event *event;

        if (!relation)
            return unknown_relation(self, message, oid, len);
        if (!counts(self) || !relation->wanted)
            continue;
        self->position = position_inside(self);
        dgf_pg_position_write(&self->position, position);
        meta = meta_of(self, position);
        meta.id = dgf_id_last_u64(&self->id_prefix, self->ordinal);
        meta.tx_n = self->ordinal;
        meta.cause = DGF_CAUSE_USER;
        dgf_event_begin(builder, relation->object, DGF_KIND_CHANGE, DGF_OP_TRUNCATE);
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_NOT_SENT);
        dgf_event_section_nil(builder, DGF_SECTION_AFTER);
        put_actor(self);
        dgf_event_section(builder, DGF_SECTION_EXTRA);
        dgf_mp_put_bool(dgf_event_named(builder, DGF_BYTES("cascade")),
                        message->truncate.cascade);
        dgf_mp_put_bool(dgf_event_named(builder, DGF_BYTES("restart_identity")),
                        message->truncate.restart);
        dgf_event_section_end(builder);
        if (dgf_event_finish(builder, &meta, &event)) {
            dgf_pg_fail(self, DGF_RETRY, "out of memory");
            return DGF_RETRY;
        }
        if (!dgf_pg_emit(self, event))
            return DGF_RETRY;
    }
    return DGF_OK;
}

/* ---- transactions and messages ---- */

static enum dgf_rc on_begin(struct dgf_pg_source *self,
                            const struct dgf_pgoutput *message)
{
    if (self->in_tx) {
        dgf_pg_fail(self, DGF_FATAL, "a transaction begins inside a transaction");
        return DGF_FATAL;
    }
    self->in_tx = true;
    self->commit_lsn = message->begin.final_lsn;
    self->commit_ns = dgf_pg_time_ns(message->begin.commit_us);
    self->tx_len = (size_t)snprintf(self->tx_text, sizeof(self->tx_text), "%" PRIu32,
                                    message->begin.xid);
    self->ordinal = 0;
    self->messages = 0;
    /* Only the transaction we stopped in is known in part. */
    if (self->commit_lsn != self->start_lsn)
        self->skip_ordinal = self->skip_messages = 0;
    self->ignore_tx = self->commit_lsn < self->start_lsn;
    freeze_id(self);
    return DGF_OK;
}

static enum dgf_rc on_commit(struct dgf_pg_source *self,
                             const struct dgf_pgoutput *message)
{
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, bytes);
    struct dgf_event *event;
    bool ignore = self->ignore_tx;

    if (!self->in_tx || message->commit.commit_lsn != self->commit_lsn) {
        dgf_pg_fail(self, DGF_FATAL, "a transaction ends that did not begin");
        return DGF_FATAL;
    }
    if (!ignore) {
        self->position = dgf_pg_position_at(self, message->commit.end_lsn);
        dgf_pg_position_write(&self->position, bytes);
        meta.id = dgf_id_last_u64(&self->id_prefix, 0);
        meta.tx_n = self->ordinal;
        dgf_event_begin(&self->builder, NULL, DGF_KIND_TRANSACTION, DGF_OP_NONE);
        put_actor(self);
        if (dgf_event_finish(&self->builder, &meta, &event)) {
            dgf_pg_fail(self, DGF_RETRY, "out of memory");
            return DGF_RETRY;
        }
    }
    self->in_tx = false;
    self->ignore_tx = false;
    self->skip_ordinal = self->skip_messages = 0;
    if (self->actor.set)
        dgf_pg_actor_clear(&self->actor);
    if (ignore)
        return DGF_OK;
    return emit_end(self, event, message->commit.end_lsn) ? DGF_OK : DGF_RETRY;
}

/* Somebody else's message: that there was one, never what it says. */
static enum dgf_rc on_foreign(struct dgf_pg_source *self,
                              const struct dgf_pgoutput *message)
{
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_bytes prefix = message->message.prefix;
    bool inside = message->message.transactional;
    uint8_t bytes[DGF_PG_POSITION_BYTES];
    struct dgf_event_meta meta = meta_of(self, bytes);
    struct dgf_id_hash hash;
    struct dgf_event *event;

    if (prefix.len > 200)
        prefix.len = 200;
    /* Outside of a transaction the message is done with its first byte. */
    self->position = inside ? position_inside(self)
                            : dgf_pg_position_at(self, message->message.lsn + 1);
    dgf_pg_position_write(&self->position, bytes);
    begin_id(self, &hash, "message");
    dgf_id_add_u64(&hash, self->server.timeline);
    dgf_id_add_u64(&hash, message->message.lsn);
    meta.id = dgf_id_end(&hash);
    if (!inside)
        meta.commit_ns = self->seen_ns;
    dgf_event_begin(builder, NULL, DGF_KIND_MESSAGE, DGF_OP_NONE);
    put_actor(self);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_pg_put_str(dgf_event_named(builder, DGF_BYTES("prefix")), prefix);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("size")),
                   (int64_t)message->message.content.len);
    dgf_event_section_end(builder);
    if (dgf_event_finish(builder, &meta, &event)) {
        dgf_pg_fail(self, DGF_RETRY, "out of memory");
        return DGF_RETRY;
    }
    dgf_metric_add(self->foreign, 1);
    if (inside)
        return dgf_pg_emit(self, event) ? DGF_OK : DGF_RETRY;
    return emit_end(self, event, message->message.lsn + 1) ? DGF_OK : DGF_RETRY;
}

static enum dgf_rc on_message(struct dgf_pg_source *self,
                              const struct dgf_pgoutput *message)
{
    bool inside = message->message.transactional;

    if (inside && !self->in_tx) {
        dgf_pg_fail(self, DGF_FATAL,
                    "a transactional message outside of a transaction");
        return DGF_FATAL;
    }
    if (inside && dgf_bytes_eq(message->message.prefix, DGF_BYTES("dgf.actor")) &&
        read_actor(self, message->message.content))
        return DGF_OK;
    if (inside)
        self->messages++;
    if (inside && (self->ignore_tx || self->ordinal < self->skip_ordinal ||
                   self->messages <= self->skip_messages))
        return DGF_OK;
    if (!inside && message->message.lsn < self->start_lsn)
        return DGF_OK;
    return on_foreign(self, message);
}

enum dgf_rc dgf_pg_rows_message(struct dgf_pg_source *self, struct dgf_bytes bytes)
{
    struct dgf_pgoutput *message = self->message;
    struct dgf_err err;

    if (dgf_pgoutput_decode(bytes, message, &err)) {
        dgf_pg_fail(self, DGF_FATAL, "%s, after %" PRIX32 "/%" PRIX32, err.text,
                    (uint32_t)(self->received_lsn >> 32), (uint32_t)self->received_lsn);
        return DGF_FATAL;
    }
    if (!self->in_tx && message->type != DGF_PG_BEGIN &&
        message->type != DGF_PG_MESSAGE && message->type != DGF_PG_COMMIT) {
        dgf_pg_fail(self, DGF_FATAL,
                    "message '%c' of %zu bytes outside of a transaction", message->type,
                    bytes.len);
        return DGF_FATAL;
    }
    switch (message->type) {
    case DGF_PG_BEGIN:
        return on_begin(self, message);
    case DGF_PG_COMMIT:
        return on_commit(self, message);
    case DGF_PG_RELATION:
        return dgf_pg_catalog_relation(self, message);
    case DGF_PG_TYPE:
        dgf_pg_catalog_type(self, message);
        return DGF_OK;
    case DGF_PG_TRUNCATE:
        return on_truncate(self, message, bytes.len);
    case DGF_PG_MESSAGE:
        return on_message(self, message);
    case DGF_PG_ORIGIN:
        return DGF_OK;
    default:
        return on_row(self, message, bytes);
    }
}
