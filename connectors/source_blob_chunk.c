/* source_blob_chunk.c - one chunk of the change feed: an append blob of Avro blocks.
 *
 * It is read by ranges: a window of its bytes, asked for anew from where the block
 * begins that is not whole.  At an offset behind the header, the header is read first
 * and apart.  An event's position is its block's offset and how many of its events were
 * taken. */
#include <stdio.h>

#include "source_blob.h"

#define FEED "/$blobchangefeed/"
#define ROLE "Storage Blob Data Reader"
#define HEADER_FIRST ((size_t)64 << 10)

static struct dgf_blobs_chunk *current(struct dgf_blobs_source *self)
{
    return &self->reader.chunks[self->reader.at_chunk];
}

void dgf_blobs_chunk_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    dgf_avro_header_release(&reader->header);
    reader->phase = DGF_BLOB_CHUNK_NONE;
    reader->block_left = 0;
    reader->want = 0;
    dgf_buf_clear(&reader->window);
    reader->window_at = 0;
}

/* ---- items ---- */

/* What cannot be read, up to an offset from which reading goes on. */
static void push_undecodable(struct dgf_blobs_source *self, const char *what,
                             const char *why, struct dgf_bytes bytes, uint64_t size,
                             uint64_t next)
{
    struct dgf_blobs_item *item = dgf_blobs_item_new(self, DGF_BLOB_ITEM_UNDECODABLE);

    if (!item)
        return;
    item->what = what;
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    item->size = size;
    dgf_sha256(bytes, item->hash);
    item->offset = next;
    item->index = 0;
    dgf_blobs_push(self, item);
}

/* The bytes of the window from an offset of the chunk on. */
static struct dgf_bytes from_window(const struct dgf_blobs_feed *reader, uint64_t at)
{
    size_t skip;

    if (at < reader->window_at || at - reader->window_at >= reader->window.len)
        return (struct dgf_bytes){0};
    skip = (size_t)(at - reader->window_at);
    return dgf_bytes_of(reader->window.ptr + skip, reader->window.len - skip);
}

/* Nothing from here to the end of the chunk can be read. */
static void give_up(struct dgf_blobs_source *self, const char *what, const char *why,
                    uint64_t from)
{
    struct dgf_blobs_feed *reader = &self->reader;
    uint64_t end = current(self)->size;

    push_undecodable(self, what, why, from_window(reader, from),
                     end > from ? end - from : 0, end);
    reader->phase = DGF_BLOB_CHUNK_ENDED;
}

/* A file that ends inside of something may grow: it is looked at in the next pass, and
 * then it is what it is. */
static void torn(struct dgf_blobs_source *self, const char *what, uint64_t from)
{
    const struct dgf_blobs_chunk *chunk = current(self);

    if (dgf_blobs_feed_doubted(self, chunk->name, chunk->size))
        give_up(self, what, "the file ends inside of it, and its hour is final", from);
    else
        dgf_blobs_feed_wait(self);
}

/* ---- windows ---- */

static void on_window(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;

    reader->asking = false;
    dgf_buf_clear(&reader->window);
    if (answer->is == DGF_AZURE_MISSING || answer->is == DGF_AZURE_NO_PARENT ||
        answer->is == DGF_AZURE_BEYOND) { /* it is shorter than it was */
        reader->phase = DGF_BLOB_CHUNK_GONE;
    } else if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_refused(self, &self->feed, answer,
                          "cannot read a chunk of the change feed", NULL, ROLE);
        return;
    } else if (answer->body.len < reader->want) { /* nobody says where it ends */
        dgf_blobs_feed_wait(self);
        dgf_blobs_trouble(self, &self->feed, DGF_RETRY,
                          "cannot read a chunk of the change feed: %zu bytes came of "
                          "%zu that were asked for",
                          answer->body.len, reader->want);
        return;
    } else {
        dgf_buf_add_bytes(&reader->window, answer->body);
    }
    if (dgf_buf_rc(&reader->window)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    dgf_blobs_fine(self, &self->feed);
    dgf_blobs_pump(self);
}

static void ask_window(struct dgf_blobs_source *self, uint64_t at, uint64_t want)
{
    struct dgf_blobs_feed *reader = &self->reader;
    uint64_t size = current(self)->size;
    char path[DGF_BLOB_NAME_MAX + 32], range[96];
    const char *headers[] = {range, NULL};
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = path,
                                .headers = headers,
                                .done = on_window,
                                .ctx = self};

    want = want > size - at ? size - at : want;
    reader->window_at = at;
    reader->want = ask.max_body = (size_t)want;
    (void)snprintf(path, sizeof(path), FEED "%s", current(self)->name);
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=%llu-%llu",
                   (unsigned long long)at, (unsigned long long)(at + want - 1));
    (void)dgf_blobs_feed_ask(self, &ask);
}

/* ---- header ---- */

static void take_header(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    const struct dgf_blob_memory *memory = &self->memory;

    reader->phase = DGF_BLOB_CHUNK_BLOCKS;
    reader->block_at = memory->offset ? memory->offset : reader->header.len;
    reader->block_taken = memory->offset ? memory->index : 0;
    reader->block_left = 0;
}

static void read_header(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    uint64_t size = current(self)->size;
    struct dgf_bytes bytes = from_window(reader, 0);
    struct dgf_err err = {0};
    enum dgf_rc rc = DGF_AGAIN;

    if (size <= self->memory.offset) { /* read whole, or empty still */
        reader->phase = DGF_BLOB_CHUNK_ENDED;
        return;
    }
    if (bytes.len)
        rc = dgf_avro_header_read(bytes, &reader->header, &err);
    if (!rc && !dgf_avro_schema_has(reader->header.schema, "eventType")) {
        dgf_avro_header_release(&reader->header);
        rc = dgf_err_set(&err, DGF_BAD_DATA, "its schema is none of the change feed's");
    }
    if (!rc)
        take_header(self);
    else if (rc == DGF_NOMEM)
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
    else if (rc == DGF_BAD_DATA)
        give_up(self, "chunk of the change feed", err.text, self->memory.offset);
    else if (bytes.len >= size)
        torn(self, "header of a chunk of the change feed", self->memory.offset);
    else
        ask_window(self, 0, bytes.len ? 4 * bytes.len : HEADER_FIRST);
}

/* ---- blocks ---- */

static void read_block(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    uint64_t at = reader->block_at, size = current(self)->size;
    struct dgf_bytes bytes = from_window(reader, at);
    struct dgf_avro_block block;
    struct dgf_err err = {0};
    size_t need = 0;
    enum dgf_rc rc = DGF_AGAIN;

    if (at >= size) {
        reader->phase = DGF_BLOB_CHUNK_ENDED;
        return;
    }
    if (bytes.len)
        rc = dgf_avro_block_read(bytes, reader->header.sync, &block, &need, &err);
    if (rc == DGF_BAD_DATA) {
        give_up(self, "chunk of the change feed", err.text, at);
    } else if (rc && bytes.len >= size - at) {
        torn(self, "block of the change feed", at);
    } else if (rc) {
        ask_window(self, at, need > DGF_BLOB_WINDOW ? need : DGF_BLOB_WINDOW);
    } else {
        reader->block = dgf_rd_of(block.data);
        reader->block_count = reader->block_left = block.count;
        reader->block_next = at + block.len;
        if (block.count == 0) {
            reader->block_at = reader->block_next;
            reader->block_taken = 0;
        }
    }
}

static void end_block(struct dgf_blobs_feed *reader)
{
    reader->block_at = reader->block_next;
    reader->block_left = 0;
    reader->block_taken = 0;
}

/* The rest of a block is no event. */
static void bad_block(struct dgf_blobs_source *self, struct dgf_bytes rest,
                      const char *why)
{
    struct dgf_blobs_feed *reader = &self->reader;
    char text[200];

    (void)snprintf(text, sizeof(text), "%.140s; the rest of its block is not read",
                   why);
    push_undecodable(self, "block of the change feed", text, rest, rest.len,
                     reader->block_next);
    end_block(reader);
}

static void decode_one(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    struct dgf_bytes rest =
        dgf_bytes_of(reader->block.ptr, dgf_rd_left(&reader->block));
    uint64_t n = reader->block_count - reader->block_left + 1;
    struct dgf_blobs_item *item;
    struct dgf_err err = {0};

    dgf_buf_clear(&reader->value);
    if (dgf_avro_decode(reader->header.schema, &reader->block, &reader->value, &err)) {
        bad_block(self, rest, err.text);
        return;
    }
    reader->block_left--;
    if (n > reader->block_taken) { /* else it was judged before */
        item = dgf_blobs_item_of(self, dgf_buf_bytes(&reader->value));
        if (!item)
            return;
        item->offset = reader->block_left ? reader->block_at : reader->block_next;
        item->index = reader->block_left ? n : 0;
        dgf_blobs_look_want(self, item);
        dgf_blobs_push(self, item);
    }
    rest = dgf_bytes_of(reader->block.ptr, dgf_rd_left(&reader->block));
    if (!reader->block_left && rest.len)
        bad_block(self, rest, "it holds more than its events");
    else if (!reader->block_left)
        end_block(reader);
}

/* ---- a chunk ---- */

/* The items in the queue name the chunk they came from: another one begins when they
 * are judged.  False: they are not. */
static bool begin_chunk(struct dgf_blobs_source *self)
{
    struct dgf_blob_memory *memory = &self->memory;

    if (self->n_items)
        return false;
    dgf_blobs_chunk_release(self);
    if (strcmp(memory->chunk, current(self)->name) != 0) {
        /* The list begins with the one we were in, while it is there. */
        if (self->reader.at_chunk == 0 && memory->chunk[0] &&
            !dgf_blobs_gap_chunk(self, 0))
            return false;
        (void)snprintf(memory->chunk, sizeof(memory->chunk), "%s", current(self)->name);
        memory->offset = memory->index = 0;
        self->dirty = true;
    }
    self->reader.phase = DGF_BLOB_CHUNK_HEADER;
    return true;
}

/* What was read of it is judged before the gap. */
static bool gone_chunk(struct dgf_blobs_source *self)
{
    if (self->n_items || !dgf_blobs_gap_chunk(self, current(self)->size))
        return false;
    self->reader.phase = DGF_BLOB_CHUNK_ENDED;
    return true;
}

static bool end_chunk(struct dgf_blobs_source *self)
{
    if (self->n_items)
        return false;
    self->reader.phase = DGF_BLOB_CHUNK_NONE;
    self->reader.at_chunk++;
    return true;
}

void dgf_blobs_chunk_pump(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    while (reader->listed && reader->passing && !reader->asking && !self->failed &&
           self->n_items < DGF_BLOB_ITEMS_MAX) {
        if (reader->at_chunk >= reader->n_chunks) {
            if (self->n_items == 0 && (reader->n_chunks || !self->memory.chunk[0] ||
                                       dgf_blobs_gap_chunk(self, 0)))
                dgf_blobs_feed_shard_done(self);
            return;
        }
        switch (reader->phase) {
        case DGF_BLOB_CHUNK_NONE:
            if (!begin_chunk(self))
                return;
            break;
        case DGF_BLOB_CHUNK_HEADER:
            read_header(self);
            break;
        case DGF_BLOB_CHUNK_BLOCKS:
            if (reader->block_left)
                decode_one(self);
            else
                read_block(self);
            break;
        case DGF_BLOB_CHUNK_GONE:
            if (!gone_chunk(self))
                return;
            break;
        default:
            if (!end_chunk(self))
                return;
        }
    }
}
