#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_redis_start.h"

/* ---- streams ---- */

bool dgf_redis_is_glob(const char *pattern)
{
    return strpbrk(pattern, "*?[\\") != NULL;
}

void dgf_redis_stream_free(struct dgf_redis_stream *stream)
{
    if (!stream)
        return;
    dgf_redis_memory_release(&stream->memory);
    dgf_object_unref(stream->object);
    dgf_free(stream->present);
    dgf_free(stream->poison);
    dgf_free(stream->name);
    dgf_free(stream);
}

static bool remember(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_buf key, value;
    enum dgf_rc rc;

    dgf_buf_init(&key, 4096);
    dgf_buf_init(&value, 1 << 20);
    dgf_buf_add_str(&key, "stream/");
    dgf_buf_add_str(&key, stream->name);
    rc = dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &value);
    if (rc == DGF_OK)
        rc = dgf_redis_memory_get(dgf_buf_bytes(&value), &stream->memory);
    stream->fresh = rc == DGF_AGAIN;
    dgf_buf_release(&key);
    dgf_buf_release(&value);
    if (rc == DGF_OK || rc == DGF_AGAIN)
        return true;
    dgf_redis_fail(self, rc, "what is remembered of stream '%s' cannot be read",
                   stream->name);
    return false;
}

static struct dgf_redis_stream *stream_new(struct dgf_redis_source *self,
                                           struct dgf_bytes name, bool named)
{
    struct dgf_redis_stream *stream = dgf_calloc(1, sizeof(*stream));
    bool good;

    if (stream)
        stream->name = dgf_strndup((const char *)name.ptr, name.len);
    good = stream && stream->name &&
           dgf_object_new("redis", NULL, NULL, stream->name, NULL, 0, 1,
                          &stream->object) == DGF_OK;
    if (!good) {
        dgf_redis_stream_free(stream);
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return NULL;
    }
    stream->source = self;
    stream->named = named;
    stream->memory.epoch = 1;
    stream->node = dgf_redis_node_of(self, stream->name);
    if (!stream->node || !remember(stream) ||
        dgf_map_put(&self->streams, name, stream, NULL)) {
        dgf_redis_stream_free(stream);
        return NULL;
    }
    dgf_redis_freeze_id(stream);
    self->n_unread++;
    return stream;
}

struct dgf_redis_stream *dgf_redis_stream_find(struct dgf_redis_source *self,
                                               struct dgf_bytes name, bool named)
{
    struct dgf_redis_stream *stream = dgf_map_get(&self->streams, name);

    if (stream)
        return stream;
    if (name.len == 0 || name.len > DGF_REDIS_NAME_MAX ||
        memchr(name.ptr, 0, name.len) || !dgf_utf8_valid(name) ||
        self->streams.n >= DGF_REDIS_STREAMS_MAX) {
        self->n_skipped++;
        return NULL;
    }
    return stream_new(self, name, named);
}

/* ---- state ---- */

void dgf_redis_say_state(struct dgf_redis_source *self)
{
    if (!self->streaming)
        return;
    if (self->trouble[0])
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "%s", self->trouble);
    else if (self->n_skipped)
        dgf_source_state(
            &self->base, DGF_STATE_STREAMING,
            "streams are left out: a name beyond %d bytes or not UTF-8, or "
            "more than %d streams",
            DGF_REDIS_NAME_MAX, DGF_REDIS_STREAMS_MAX);
    else
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "%zu stream%s",
                         self->streams.n, self->streams.n == 1 ? "" : "s");
}

/* ---- discovery ---- */

static void scan(struct dgf_redis_node *node);

static bool all_started(struct dgf_redis_source *self)
{
    return self->n_starting == 0;
}

static void end_scan(struct dgf_redis_node *node)
{
    struct dgf_redis_source *self = node->source;
    bool first = node->scanned_ns == 0;

    node->scanning = false;
    node->scanned_ns = dgf_clock_mono_ns();
    if (first && self->n_starting > 0)
        self->n_starting--;
    if (all_started(self) && !self->streaming)
        self->streaming = true;
    dgf_redis_say_state(self);
    dgf_redis_next(node);
}

static void take_name(struct dgf_redis_node *node, struct dgf_bytes name)
{
    struct dgf_redis_source *self = node->source;
    size_t before = self->streams.n;
    struct dgf_redis_stream *stream = dgf_redis_stream_find(self, name, false);

    if (!stream || self->streams.n == before)
        return;
    if (stream->node == node)
        dgf_redis_queue(stream);
}

/* [cursor, [names]] */
static void on_scan(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_node *node = link->node;
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, cursor, names, name;
    struct dgf_bytes text = dgf_redis_error(item);

    (void)command;
    if (text.len) {
        dgf_redis_fail(self,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot look for streams: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY ||
        head.number != 2 || dgf_resp_next(&resp, &cursor) ||
        dgf_resp_next(&resp, &names) ||
        !dgf_parse_u64(cursor.bytes, &node->scan_cursor) ||
        names.kind != DGF_RESP_ARRAY) {
        dgf_redis_fail(self, DGF_RETRY, "the answer to SCAN cannot be understood");
        return;
    }
    for (int64_t i = 0; i < names.number && !self->failed; i++)
        if (dgf_resp_next(&resp, &name) == DGF_OK)
            take_name(node, name.bytes);
    if (self->failed)
        return;
    if (node->scan_cursor == 0)
        node->scan_pattern++;
    scan(node);
}

static void scan(struct dgf_redis_node *node)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(node->source);
    struct dgf_redis_command command = {.on_item = on_scan};
    char cursor[24];

    while (node->scan_pattern < conf->streams.n &&
           !dgf_redis_is_glob(conf->streams.list[node->scan_pattern]))
        node->scan_pattern++;
    if (node->scan_pattern == conf->streams.n) {
        end_scan(node);
        return;
    }
    (void)snprintf(cursor, sizeof(cursor), "%llu",
                   (unsigned long long)node->scan_cursor);
    dgf_redis_link_send(
        &node->data, command,
        (struct dgf_bytes[]){
            DGF_BYTES("SCAN"), dgf_bytes_str(cursor), DGF_BYTES("MATCH"),
            dgf_bytes_str(conf->streams.list[node->scan_pattern]), DGF_BYTES("COUNT"),
            DGF_BYTES("1000"), DGF_BYTES("TYPE"), DGF_BYTES("stream")},
        8);
    dgf_redis_link_flush(&node->data);
}

void dgf_redis_discover(struct dgf_redis_node *node)
{
    node->scanning = true;
    node->scan_cursor = 0;
    node->scan_pattern = 0;
    node->source->n_skipped = 0;
    scan(node);
}
