/* source_blob_look.c - the content of a blob that was written, where the configuration
 * asks for it.
 *
 * It is read with If-Match on the event's ETag, so that what is judged is what the
 * event is about.  One that is too large, was written over or removed since, is
 * archived or encrypted with a key of the customer's, or comes faster than `rate`, is
 * unknown to policies: never empty, and never waited for. */
#include <stdio.h>

#include "base/clock.h"
#include "source_blob.h"

#define LOOKING_MAX 8

static bool is_written(const struct dgf_blob_change *change)
{
    return (change->op == DGF_OP_CREATE || change->op == DGF_OP_REPLACE) &&
           change->path.len &&
           !(change->type.len > 9 && memcmp(change->type.ptr, "Directory", 9) == 0);
}

void dgf_blobs_look_want(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    const struct dgf_blobs_conf *conf = DGF_BLOB_CONF(self);
    const struct dgf_blob_change *change = &item->change;

    if (!conf->look.max_bytes || item->kind != DGF_BLOB_ITEM_CHANGE ||
        !is_written(change) || !dgf_blobs_container_wanted(conf, change->container))
        return;
    if (change->content_length == 0) {
        item->extra.content = DGF_BLOB_CONTENT;
        return;
    }
    item->extra.content = DGF_BLOB_UNAVAILABLE;
    if (change->content_length < 0 ||
        (uint64_t)change->content_length > conf->look.max_bytes ||
        change->etag.len == 0 || change->etag.len > 64 ||
        memchr(change->etag.ptr, '\r', change->etag.len) ||
        memchr(change->etag.ptr, '\n', change->etag.len) ||
        memchr(change->etag.ptr, 0, change->etag.len))
        return;
    item->look = DGF_BLOB_LOOK_WANTED;
}

static void on_content(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_item *item = ctx;
    struct dgf_blobs_source *self = item->source;

    self->n_looking--;
    item->look = DGF_BLOB_LOOK_DONE;
    if (answer->is == DGF_AZURE_DONE &&
        answer->body.len == (uint64_t)item->change.content_length) {
        dgf_buf_add_bytes(&item->content, answer->body);
        if (dgf_buf_rc(&item->content) == DGF_OK) {
            item->extra.content = DGF_BLOB_CONTENT;
            item->extra.bytes = dgf_buf_bytes(&item->content);
        }
    }
    if (answer->is == DGF_AZURE_DENIED)
        (void)snprintf(self->look_trouble, sizeof(self->look_trouble),
                       "cannot look at contents: %s; it needs the role 'Storage Blob "
                       "Data Reader'",
                       answer->text);
    else if (answer->is == DGF_AZURE_BUSY || answer->is == DGF_AZURE_UNREACHABLE)
        (void)snprintf(self->look_trouble, sizeof(self->look_trouble),
                       "cannot look at contents: %s", answer->text);
    else if (answer->is == DGF_AZURE_DONE)
        self->look_trouble[0] = '\0';
    dgf_blobs_pump(self);
}

/* A second's worth may be used at once. */
static bool may_look(struct dgf_blobs_source *self)
{
    double rate = (double)DGF_BLOB_CONF(self)->look.rate;
    int64_t now = dgf_clock_mono_ns();

    self->look_tokens += rate * (double)(now - self->look_filled_ns) / 1e9;
    self->look_filled_ns = now;
    if (self->look_tokens > rate)
        self->look_tokens = rate;
    if (self->look_tokens < 1)
        return false;
    self->look_tokens -= 1;
    return true;
}

static void look(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    const struct dgf_blob_change *change = &item->change;
    const struct dgf_blobs_conf *conf = DGF_BLOB_CONF(self);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf path = {0};
    char match[96], range[64];
    const char *headers[] = {match, range, NULL};
    struct dgf_azure_ask ask = {.method = "GET",
                                .headers = headers,
                                .max_body = conf->look.max_bytes,
                                .done = on_content,
                                .ctx = item};
    bool quoted = change->etag.ptr[0] == '"';

    dgf_buf_init(&path, DGF_BLOB_PATH_MAX + 512);
    dgf_buf_addf(&path, "/%.*s/%.*s", (int)change->container.len,
                 (const char *)change->container.ptr, (int)change->path.len,
                 (const char *)change->path.ptr);
    (void)snprintf(match, sizeof(match), "If-Match: %s%.*s%s", quoted ? "" : "\"",
                   (int)change->etag.len, (const char *)change->etag.ptr,
                   quoted ? "" : "\"");
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=0-%llu",
                   (unsigned long long)conf->look.max_bytes - 1);
    ask.path = dgf_buf_str(&path);
    if (dgf_buf_rc(&path)) {
        item->look = DGF_BLOB_LOOK_DONE; /* unknown */
        return;
    }
    item->look = DGF_BLOB_LOOK_ASKED;
    self->n_looking++;
    (void)dgf_blobs_ask(self, self->blob_rest, &ask);
}

void dgf_blobs_look_start(struct dgf_blobs_source *self)
{
    struct dgf_blobs_item *item = self->items;

    for (unsigned n = 0; item && n < 4 * LOOKING_MAX && !self->failed;
         item = item->next, n++) {
        if (item->look != DGF_BLOB_LOOK_WANTED)
            continue;
        if (dgf_blob_seen_get(&self->seen, &item->seen)) {
            item->look = DGF_BLOB_LOOK_DONE; /* it is not judged again */
            continue;
        }
        if (self->n_looking >= LOOKING_MAX)
            return;
        if (may_look(self))
            look(self, item);
        else
            item->look = DGF_BLOB_LOOK_DONE;
    }
}
