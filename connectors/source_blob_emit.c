/* source_blob_emit.c - events, gaps, and records of what cannot be read. */
#include <stdio.h>

#include "base/clock.h"
#include "source_blob.h"

#define OBJECTS_MAX 10000
#define MAX_POSITION 1024

struct dgf_id dgf_blobs_id(const struct dgf_blobs_source *self, const char *type,
                           struct dgf_bytes a, struct dgf_bytes b, struct dgf_bytes c)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, type);
    dgf_id_add(&hash, DGF_BYTES("blob"));
    dgf_id_add(&hash, dgf_bytes_str(self->account));
    dgf_id_add(&hash, a);
    if (b.len || c.len) {
        dgf_id_add(&hash, b);
        dgf_id_add(&hash, c);
    }
    return dgf_id_end(&hash);
}

void dgf_blobs_position_text(struct dgf_blobs_source *self, bool of_feed,
                             struct dgf_buf *to)
{
    if (of_feed)
        dgf_blob_position(&self->memory, to);
    else
        dgf_buf_add_str(to, "queue");
}

/* The position stands in scratch until the next call. */
static struct dgf_event_meta meta_at(struct dgf_blobs_source *self, bool of_feed)
{
    int64_t now = dgf_clock_ns();

    dgf_buf_clear(&self->scratch);
    dgf_blobs_position_text(self, of_feed, &self->scratch);
    return (struct dgf_event_meta){.commit_ns = now,
                                   .seen_ns = now,
                                   .cause = DGF_CAUSE_USER,
                                   .position = dgf_buf_bytes(&self->scratch)};
}

bool dgf_blobs_emit(struct dgf_blobs_source *self, struct dgf_event *take_event)
{
    enum dgf_rc rc = dgf_source_emit(&self->base, take_event);

    if (rc == DGF_AGAIN)
        self->blocked = true;
    else if (rc)
        dgf_blobs_fail(self, rc, "the event was not taken");
    return !self->failed;
}

static bool finish(struct dgf_blobs_source *self, const struct dgf_event_meta *meta)
{
    struct dgf_event *event;

    if (dgf_event_finish(&self->builder, meta, &event)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_blobs_emit(self, event);
}

static void put_text(struct dgf_event_builder *builder, struct dgf_bytes name,
                     const char *text)
{
    dgf_mp_put_str(dgf_event_named(builder, name), dgf_bytes_str(text));
}

void dgf_blobs_count(struct dgf_blobs_source *self, const char *word, uint64_t n)
{
    if (self->base.host->count)
        self->base.host->count(&self->base, word, n);
}

/* ---- changes ---- */

static void free_object(void *object)
{
    dgf_object_unref(object);
}

/* container/path, or the account.  Borrowed; NULL: out of memory. */
static struct dgf_object *object_of(struct dgf_blobs_source *self,
                                    const struct dgf_blob_change *change)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf name = {0};
    struct dgf_object *object;

    dgf_buf_init(&name, DGF_BLOB_PATH_MAX + 512);
    if (change->path.len) {
        dgf_buf_add_bytes(&name, change->container);
        dgf_buf_add_byte(&name, '/');
        dgf_buf_add_bytes(&name, change->path);
    } else {
        dgf_buf_add_str(&name, self->account);
    }
    if (dgf_buf_rc(&name))
        return NULL;
    object = dgf_map_get(&self->objects, dgf_buf_bytes(&name));
    if (object)
        return object;
    if (self->objects.n >= OBJECTS_MAX) { /* names that may never come again */
        dgf_map_release(&self->objects, free_object);
        dgf_map_init(&self->objects);
    }
    if (dgf_object_new("blob", NULL, NULL, dgf_buf_str(&name), NULL, 0, 1, &object))
        return NULL;
    if (dgf_map_put(&self->objects, dgf_buf_bytes(&name), object, NULL)) {
        dgf_object_unref(object);
        return NULL;
    }
    return object;
}

static bool emit_too_large(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    item->what = "event";
    (void)snprintf(item->why, sizeof(item->why),
                   "it is larger than limits.event_bytes");
    item->size = item->record.len + item->content.len;
    dgf_sha256(dgf_buf_bytes(&item->record), item->hash);
    return dgf_blobs_emit_undecodable(self, item);
}

bool dgf_blobs_emit_change(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    struct dgf_object *object = object_of(self, &item->change);
    struct dgf_event_meta meta;
    struct dgf_event *event;

    if (!object) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    meta = meta_at(self, dgf_blobs_item_of_feed(item));
    meta.id = dgf_blobs_id(self, "change", item->change.id, (struct dgf_bytes){0},
                           (struct dgf_bytes){0});
    meta.commit_ns = item->change.time_ns;
    dgf_blob_change_build(&item->change, &item->extra, object, &self->builder);
    if (dgf_event_finish(&self->builder, &meta, &event))
        return emit_too_large(self, item);
    return dgf_blobs_emit(self, event);
}

bool dgf_blobs_emit_undecodable(struct dgf_blobs_source *self,
                                const struct dgf_blobs_item *item)
{
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_event_meta meta = meta_at(self, dgf_blobs_item_of_feed(item));
    struct dgf_bytes hash = dgf_bytes_of(item->hash, sizeof(item->hash));

    /* The same message, handed out again after a crash, is the same record. */
    meta.id = dgf_blobs_id(self, "undecodable", hash,
                           item->message  ? dgf_bytes_str(item->message->id)
                           : item->letter ? dgf_bytes_str(item->letter)
                                          : meta.position,
                           dgf_bytes_str(item->what));
    dgf_event_begin(builder, NULL, DGF_KIND_UNDECODABLE, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    dgf_mp_put_uint(dgf_event_named(builder, DGF_BYTES("size")), item->size);
    dgf_mp_put_bin(dgf_event_named(builder, DGF_BYTES("hash")), hash);
    put_text(builder, DGF_BYTES("what"), item->what);
    put_text(builder, DGF_BYTES("why"), item->why);
    dgf_event_section_end(builder);
    return finish(self, &meta);
}

/* ---- where we are ---- */

bool dgf_blobs_emit_progress(struct dgf_blobs_source *self, bool of_feed)
{
    struct dgf_event_meta meta = meta_at(self, of_feed);

    meta.id = dgf_blobs_id(self, "progress", meta.position, (struct dgf_bytes){0},
                           (struct dgf_bytes){0});
    dgf_event_begin(&self->builder, NULL, DGF_KIND_PROGRESS, DGF_OP_NONE);
    return finish(self, &meta);
}

bool dgf_blobs_emit_resume(struct dgf_blobs_source *self)
{
    struct dgf_event_builder *builder = &self->builder;
    bool of_feed = self->feed.on;
    struct dgf_event_meta meta = meta_at(self, of_feed);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf since = {0};
    char text[MAX_POSITION + 64];

    dgf_buf_init(&since, MAX_POSITION);
    dgf_blobs_position_text(self, of_feed, &since);
    (void)snprintf(text, sizeof(text), "covered since %s", dgf_buf_str(&since));
    meta.id = dgf_blobs_id(
        self, "resume", dgf_buf_bytes(&since), DGF_BYTES("since"),
        dgf_bytes_of(&self->memory.since_ns, sizeof(self->memory.since_ns)));
    dgf_event_begin(builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    put_text(builder, DGF_BYTES("since"), dgf_buf_str(&since));
    put_text(builder, DGF_BYTES("message"), text);
    dgf_mp_put_map(dgf_event_named(builder, DGF_BYTES("detail")), 1);
    dgf_mp_put_str(&builder->body, DGF_BYTES("account"));
    dgf_mp_put_str(&builder->body, dgf_bytes_str(self->account));
    dgf_event_section_end(builder);
    return finish(self, &meta);
}

bool dgf_blobs_emit_gap(struct dgf_blobs_source *self, enum dgf_gap reason,
                        const char *from, const char *to, bool of_feed,
                        const char *message, const char *const *detail, size_t n)
{
    struct dgf_event_meta meta = meta_at(self, of_feed);
    struct dgf_event *event = NULL;
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, "gap");
    dgf_id_add(&hash, DGF_BYTES("blob"));
    dgf_id_add(&hash, dgf_bytes_str(self->account));
    dgf_id_add(&hash, dgf_bytes_str(dgf_gap_text(reason)));
    dgf_id_add(&hash, dgf_bytes_str(from ? from : ""));
    dgf_id_add(&hash, dgf_bytes_str(to));
    for (size_t i = 0; i < 2 * n; i++)
        dgf_id_add(&hash, dgf_bytes_str(detail[i]));
    meta.id = dgf_id_end(&hash);
    self->dirty = true;
    if (dgf_event_gap(&self->builder, reason, from, to, message, detail, n, &meta,
                      &event)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_blobs_emit(self, event);
}
