#include <stdio.h>

#include "base/clock.h"
#include "source_redis.h"

#define OBJECTS_MAX 10000
/* Ids whose time is plausible hold the server's clock; others are people's. */
#define MS_MIN UINT64_C(1000000000000)
#define DAY_NS INT64_C(86400000000000)

static struct dgf_bytes name_of(const struct dgf_redis_stream *stream)
{
    return dgf_bytes_str(stream->name);
}

static void begin_id(const struct dgf_redis_stream *stream, struct dgf_id_hash *hash,
                     const char *type)
{
    dgf_id_begin(hash, type);
    dgf_id_add(hash, DGF_BYTES("redis"));
    dgf_id_add(hash, dgf_bytes_str(stream->source->system));
    dgf_id_add(hash, name_of(stream));
    dgf_id_add_u64(hash, stream->memory.epoch);
}

void dgf_redis_freeze_id(struct dgf_redis_stream *stream)
{
    struct dgf_id_hash hash;

    begin_id(stream, &hash, "change");
    dgf_id_freeze(&hash, &stream->id_prefix);
}

/* Nearly every id fits one number; the others have ids of another type. */
static struct dgf_id id_of(const struct dgf_redis_stream *stream,
                           struct dgf_redis_id id)
{
    struct dgf_id_hash hash;

    if (id.ms < UINT64_C(1) << 44 && id.seq < 1u << 20)
        return dgf_id_last_u64(&stream->id_prefix, id.ms << 20 | id.seq);
    begin_id(stream, &hash, "change-long");
    dgf_id_add_u64(&hash, id.ms);
    dgf_id_add_u64(&hash, id.seq);
    return dgf_id_end(&hash);
}

static int64_t commit_of(const struct dgf_redis_source *self, struct dgf_redis_id id)
{
    int64_t ns;

    if (id.ms < MS_MIN || id.ms > INT64_MAX / 1000000)
        return self->seen_ns;
    ns = (int64_t)id.ms * 1000000;
    return ns > self->seen_ns + DAY_NS ? self->seen_ns : ns;
}

/* position stands in scratch until the next call. */
static struct dgf_event_meta meta_at(struct dgf_redis_stream *stream,
                                     struct dgf_redis_id id)
{
    struct dgf_redis_source *self = stream->source;

    dgf_buf_clear(&self->scratch);
    dgf_redis_position_put(name_of(stream), stream->memory.epoch, id, &self->scratch);
    return (struct dgf_event_meta){.commit_ns = commit_of(self, id),
                                   .seen_ns = self->seen_ns,
                                   .position = dgf_buf_bytes(&self->scratch)};
}

static bool emit(struct dgf_redis_source *self, struct dgf_event *take_event)
{
    enum dgf_rc rc = dgf_source_emit(&self->base, take_event);

    if (rc == DGF_AGAIN)
        self->blocked = true;
    else if (rc)
        dgf_redis_fail(self, rc, "the event was not taken");
    return !self->failed;
}

static bool finish(struct dgf_redis_source *self, const struct dgf_event_meta *meta)
{
    struct dgf_event *event;

    if (dgf_event_finish(&self->builder, meta, &event)) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return emit(self, event);
}

static void put_text(struct dgf_event_builder *builder, struct dgf_bytes name,
                     const char *text)
{
    dgf_mp_put_str(dgf_event_named(builder, name), dgf_bytes_str(text));
}

/* ---- entries ---- */

static void free_object(void *object)
{
    dgf_object_unref(object);
}

/* Borrowed; NULL: out of memory. */
static struct dgf_object *object_of(struct dgf_redis_stream *stream,
                                    struct dgf_bytes name)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_object *object;
    char text[DGF_REDIS_NAME_MAX + 1];

    if (name.len == 0)
        return stream->object;
    object = dgf_map_get(&self->objects, name);
    if (object)
        return object;
    if (self->objects.n >= OBJECTS_MAX) { /* names that never come again */
        dgf_map_release(&self->objects, free_object);
        dgf_map_init(&self->objects);
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    if (dgf_object_new("redis", NULL, NULL, text, NULL, 0, 1, &object))
        return NULL;
    if (dgf_map_put(&self->objects, name, object, NULL)) {
        dgf_object_unref(object);
        return NULL;
    }
    return object;
}

static bool emit_undecodable(struct dgf_redis_stream *stream,
                             const struct dgf_redis_entry *entry,
                             const struct dgf_resp_item *item, const char *why)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_event_meta meta = meta_at(stream, entry->id);
    uint8_t digest[DGF_SHA256_LEN];

    meta.id = id_of(stream, entry->id);
    dgf_sha256(item->bytes, digest);
    dgf_event_begin(builder, stream->object, DGF_KIND_UNDECODABLE, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(builder, DGF_BYTES("size")), (int64_t)item->size);
    dgf_mp_put_bin(dgf_event_named(builder, DGF_BYTES("hash")),
                   dgf_bytes_of(digest, sizeof(digest)));
    put_text(builder, DGF_BYTES("what"), "entry");
    put_text(builder, DGF_BYTES("why"), why);
    dgf_event_section_end(builder);
    return finish(self, &meta);
}

bool dgf_redis_emit_entry(struct dgf_redis_stream *stream,
                          const struct dgf_redis_entry *entry,
                          const struct dgf_resp_item *item, const char *why)
{
    struct dgf_redis_source *self = stream->source;
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);
    struct dgf_redis_sort sort = {0};
    struct dgf_event_meta meta;
    struct dgf_object *object;
    struct dgf_event *event;
    enum dgf_rc rc = DGF_BAD_DATA;

    if (item->cut)
        why = "the entry is larger than limits.event_bytes";
    if (!why)
        rc = dgf_redis_entry_sort(&conf->event, entry, &sort, &why);
    if (rc == DGF_OK) {
        object = object_of(stream, sort.object);
        rc = object ? dgf_redis_entry_build(&conf->event, &conf->decode, entry, sort.op,
                                            object, &self->builder, &why)
                    : DGF_NOMEM;
    }
    if (rc == DGF_OK) {
        meta = meta_at(stream, entry->id);
        meta.id = id_of(stream, entry->id);
        rc = dgf_event_finish(&self->builder, &meta, &event);
        if (rc == DGF_OK)
            return emit(self, event);
    }
    if (rc == DGF_NOMEM) /* nearly always: more than an event may have */
        why = "the event is larger than limits.event_bytes";
    return emit_undecodable(stream, entry, item, why);
}

/* ---- gaps ---- */

static void text_of(const struct dgf_redis_stream *stream, uint32_t epoch,
                    struct dgf_redis_id id, struct dgf_buf *text)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf position = {0};

    dgf_buf_init(&position, 4096);
    dgf_buf_init(text, 4096);
    dgf_redis_position_put(name_of(stream), epoch, id, &position);
    dgf_redis_position_text(dgf_buf_bytes(&position), text);
}

static void number_text(uint64_t number, char to[24])
{
    (void)snprintf(to, 24, "%llu", (unsigned long long)number);
}

bool dgf_redis_emit_gap(struct dgf_redis_stream *stream, enum dgf_gap reason,
                        const struct dgf_redis_id *from, uint32_t from_epoch,
                        struct dgf_redis_id to, uint64_t lost, const char *message)
{
    struct dgf_redis_source *self = stream->source;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf from_text = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf to_text = {0};
    struct dgf_event_meta meta = meta_at(stream, to);
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;
    char number[24];
    const char *detail[] = {"stream", stream->name, "entries", number};

    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    number_text(lost, number);
    if (from)
        text_of(stream, from_epoch, *from, &from_text);
    text_of(stream, stream->memory.epoch, to, &to_text);
    begin_id(stream, &hash, "gap");
    dgf_id_add(&hash, dgf_bytes_str(dgf_gap_text(reason)));
    dgf_id_add(&hash, dgf_buf_bytes(&from_text));
    dgf_id_add(&hash, dgf_buf_bytes(&to_text));
    meta.id = dgf_id_end(&hash);
    if (dgf_event_gap(&self->builder, reason, from ? dgf_buf_str(&from_text) : NULL,
                      dgf_buf_str(&to_text), message, detail, lost ? 2 : 1, &meta,
                      &event)) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    dgf_redis_touch(stream);
    return emit(self, event);
}

/* A gap without a reason: nothing is missing, too much was published. */
bool dgf_redis_emit_divergence(struct dgf_redis_stream *stream, uint32_t from_epoch,
                               struct dgf_redis_id from, struct dgf_redis_id to,
                               const char *message)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_event_builder *builder = &self->builder;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf from_text = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf to_text = {0};
    struct dgf_event_meta meta = meta_at(stream, from);
    struct dgf_id_hash hash;

    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    text_of(stream, from_epoch, from, &from_text);
    text_of(stream, from_epoch, to, &to_text);
    begin_id(stream, &hash, "divergence");
    dgf_id_add(&hash, dgf_buf_bytes(&from_text));
    dgf_id_add(&hash, dgf_buf_bytes(&to_text));
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(builder, NULL, DGF_KIND_GAP, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, DGF_BYTES("from"), dgf_buf_str(&from_text));
    put_text(builder, DGF_BYTES("to"), dgf_buf_str(&to_text));
    put_text(builder, DGF_BYTES("message"), message);
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 1);
    dgf_mp_put_str(&builder->body, DGF_BYTES("stream"));
    dgf_mp_put_str(&builder->body, name_of(stream));
    dgf_event_section_end(builder);
    dgf_redis_touch(stream);
    return finish(self, &meta);
}

bool dgf_redis_emit_resume(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_event_builder *builder = &self->builder;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf since = {0};
    struct dgf_event_meta meta = meta_at(stream, stream->memory.last);
    struct dgf_id_hash hash;
    char text[DGF_REDIS_NAME_MAX + 128];

    meta.commit_ns = meta.seen_ns = dgf_clock_ns();
    text_of(stream, stream->memory.epoch, stream->memory.last, &since);
    (void)snprintf(text, sizeof(text), "covered since %s", dgf_buf_str(&since));
    begin_id(stream, &hash, "resume");
    dgf_id_add(&hash, dgf_buf_bytes(&since));
    meta.id = dgf_id_end(&hash);
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, DGF_BYTES("since"), dgf_buf_str(&since));
    put_text(builder, DGF_BYTES("message"), text);
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 1);
    dgf_mp_put_str(&builder->body, DGF_BYTES("stream"));
    dgf_mp_put_str(&builder->body, name_of(stream));
    dgf_event_section_end(builder);
    dgf_redis_touch(stream);
    return finish(self, &meta);
}
