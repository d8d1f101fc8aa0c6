/* source_blob_feed.c - the change feed: which hours there are, and their shards.
 *
 * One pass: segments.json says how far hours may be read; a month is listed at a time;
 * the manifest of an hour names its shards, and each shard is listed for its chunks.
 * An hour is taken when it does not begin after lastConsumable and is Finalized, in
 * order; what is torn or broken is looked at once more in the next pass before it is
 * recorded as undecodable. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "source_blob.h"

#define FEED "/$blobchangefeed/"
#define ROLE "Storage Blob Data Reader"
#define JSON_MAX_BYTES ((size_t)1 << 20)
#define HOURS_MAX 10000 /* of a month */
#define SHARDS_MAX 1024
#define CHUNKS_MAX 50000
#define HOUR_NS INT64_C(3600000000000)
#define MINUTE_NS INT64_C(60000000000)
#define DAY_NS INT64_C(86400000000000)

static void next_hour(struct dgf_blobs_source *self);
static void list_month(struct dgf_blobs_source *self);
static void list_chunks(struct dgf_blobs_source *self);

bool dgf_blobs_feed_ask(struct dgf_blobs_source *self, const struct dgf_azure_ask *ask)
{
    self->reader.asking = dgf_blobs_ask(self, self->blob_rest, ask);
    return self->reader.asking;
}

static void free_chunks(struct dgf_blobs_feed *reader)
{
    for (size_t i = 0; i < reader->n_chunks; i++)
        dgf_free(reader->chunks[i].name);
    reader->n_chunks = reader->at_chunk = 0;
    reader->listed = false;
}

static void free_shards(struct dgf_blobs_feed *reader)
{
    free_chunks(reader);
    for (size_t i = 0; i < reader->n_shards; i++)
        dgf_free(reader->shards[i]);
    dgf_free(reader->shards);
    reader->shards = NULL;
    reader->n_shards = 0;
}

void dgf_blobs_feed_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    dgf_blobs_chunk_release(self);
    free_shards(reader);
    dgf_free(reader->chunks);
    dgf_free(reader->hours);
    dgf_buf_release(&reader->window);
    dgf_buf_release(&reader->value);
    *reader = (struct dgf_blobs_feed){.asking = false};
}

/* ---- the end of a pass ---- */

void dgf_blobs_feed_wait(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    dgf_blobs_chunk_release(self);
    free_shards(reader);
    reader->passing = false;
    reader->n_hours = reader->at_hour = 0;
    self->feed.again_ns = dgf_clock_mono_ns() + DGF_BLOB_CONF(self)->feed_poll_ns;
}

bool dgf_blobs_feed_doubted(struct dgf_blobs_source *self, const char *name,
                            uint64_t size)
{
    struct dgf_blobs_feed *reader = &self->reader;

    if (strcmp(reader->doubt, name) == 0 && reader->doubt_size == size)
        return true;
    (void)snprintf(reader->doubt, sizeof(reader->doubt), "%s", name);
    reader->doubt_size = size;
    return false;
}

/* Every hour up to lastConsumable was read. */
static void pass_done(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    reader->listed_ns = reader->pass_ns;
    if (reader->pass_ns > self->memory.consumed_ns) {
        self->memory.consumed_ns = reader->pass_ns;
        self->dirty = true;
        (void)dgf_blobs_emit_progress(self, true);
    }
    self->feed.caught_up = true;
    dgf_blobs_feed_wait(self);
    dgf_blobs_fine(self, &self->feed);
    dgf_blobs_say_state(self);
    dgf_blobs_pump(self);
}

/* ---- hours ---- */

/* What only the queue had.  Bounds of an hour are good to 15 minutes. */
static void reconcile(struct dgf_blobs_source *self, int64_t begin_ns)
{
    int64_t to = (begin_ns + HOUR_NS - 15 * MINUTE_NS) / MINUTE_NS;
    int64_t from = (self->memory.from_ns + 15 * MINUTE_NS) / MINUTE_NS;
    uint64_t n;

    if (!self->queue.on || to <= 0)
        return;
    n = dgf_blob_seen_settle(&self->seen, from > 0 ? (uint32_t)from : 0, (uint32_t)to);
    if (n)
        dgf_blobs_count(self, "only_queue", n);
}

static void hour_done(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    struct dgf_blob_memory *memory = &self->memory;

    free_shards(reader);
    memory->done_ns = reader->hours[reader->at_hour].begin_ns;
    memory->segment[0] = memory->chunk[0] = '\0';
    memory->shard = 0;
    memory->offset = memory->index = 0;
    self->dirty = true;
    reconcile(self, memory->done_ns);
    if (!dgf_blobs_emit_progress(self, true))
        return;
    reader->at_hour++;
    next_hour(self);
}

void dgf_blobs_feed_shard_done(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    struct dgf_blob_memory *memory = &self->memory;

    free_chunks(reader);
    memory->shard++;
    memory->chunk[0] = '\0';
    memory->offset = memory->index = 0;
    self->dirty = true;
    if (memory->shard >= reader->n_shards)
        hour_done(self);
    else
        list_chunks(self);
}

static struct dgf_blobs_item *broken(struct dgf_blobs_source *self, const char *what,
                                     struct dgf_bytes bytes, const char *why)
{
    struct dgf_blobs_item *item = dgf_blobs_item_new(self, DGF_BLOB_ITEM_UNDECODABLE);

    if (!item)
        return NULL;
    item->what = what;
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    item->size = bytes.len;
    dgf_sha256(bytes, item->hash);
    item->offset = self->memory.offset;
    item->index = self->memory.index;
    return item;
}

/* log/00/2026/01/10/1000/ of $blobchangefeed/log/...; "": it is none. */
static const char *shard_path(const json_t *path)
{
    static const char head[] = "$blobchangefeed/log/";
    const char *text = json_string_value(path);
    size_t len = text ? strlen(text) : 0;

    if (len < sizeof(head) || len > 200 || strncmp(text, head, sizeof(head) - 1) != 0 ||
        text[len - 1] != '/' || strstr(text, "..") || strpbrk(text, "\\?#%\"'<>"))
        return "";
    return text + sizeof(head) - 5;
}

static bool take_shards(struct dgf_blobs_feed *reader, const json_t *paths)
{
    const json_t *path;
    size_t i;

    free_shards(reader);
    if (!json_is_array(paths) || json_array_size(paths) > SHARDS_MAX)
        return false;
    reader->shards = dgf_calloc(json_array_size(paths) + 1, sizeof(*reader->shards));
    if (!reader->shards)
        return false;
    json_array_foreach(paths, i, path)
    {
        const char *text = shard_path(path);

        if (!*text || !(reader->shards[i] = dgf_strdup(text)))
            return false;
        reader->n_shards++;
    }
    return true;
}

static void begin_hour(struct dgf_blobs_source *self, const char *name)
{
    struct dgf_blob_memory *memory = &self->memory;
    struct dgf_blobs_feed *reader = &self->reader;

    if (strcmp(memory->segment, name) != 0) {
        (void)snprintf(memory->segment, sizeof(memory->segment), "%s", name);
        memory->shard = 0;
        memory->chunk[0] = '\0';
        memory->offset = memory->index = 0;
        self->dirty = true;
    }
    dgf_blobs_fine(self, &self->feed);
    if (memory->shard >= reader->n_shards)
        hour_done(self);
    else
        list_chunks(self);
}

/* A manifest that cannot be read is looked at once more; then the hour is recorded as
 * what it is, and the next one is read. */
static void bad_manifest(struct dgf_blobs_source *self, struct dgf_bytes body)
{
    struct dgf_blobs_feed *reader = &self->reader;
    const char *name = reader->hours[reader->at_hour].name;
    struct dgf_blobs_item *item;

    free_shards(reader);
    if (!dgf_blobs_feed_doubted(self, name, body.len)) {
        dgf_blobs_feed_wait(self);
        return;
    }
    (void)snprintf(self->memory.segment, sizeof(self->memory.segment), "%s", name);
    self->memory.chunk[0] = '\0';
    self->memory.offset = self->memory.index = 0;
    item = broken(self, "manifest of an hour of the change feed", body,
                  "it is no manifest");
    if (!item)
        return;
    dgf_blobs_push(self, item);
    self->memory.shard = 0; /* none: the hour ends once the item is judged */
    dgf_blobs_pump(self);
}

/* It was listed and is gone: retention took it in between. */
static void hour_gone(struct dgf_blobs_source *self)
{
    free_shards(&self->reader);
    if (!dgf_blobs_gap_hour(self))
        return;
    self->reader.at_hour++;
    next_hour(self);
    dgf_blobs_pump(self);
}

static void on_manifest(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;
    DGF_CLEANUP_JSON json_t *json = NULL;
    const char *status;

    reader->asking = false;
    if (answer->is == DGF_AZURE_MISSING || answer->is == DGF_AZURE_NO_PARENT) {
        hour_gone(self);
        return;
    }
    if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_refused(self, &self->feed, answer,
                          "cannot read an hour of the change feed", NULL, ROLE);
        return;
    }
    if (dgf_json_parse(answer->body, JSON_MAX_BYTES, 16, &json, NULL)) {
        bad_manifest(self, answer->body);
        return;
    }
    status = json_string_value(json_object_get(json, "status"));
    if (status && strcmp(status, "Finalized") != 0) {
        dgf_blobs_fine(self, &self->feed);
        dgf_blobs_feed_wait(self); /* it is being written; those behind it wait too */
        self->feed.caught_up = true;
        dgf_blobs_say_state(self);
        dgf_blobs_pump(self);
        return;
    }
    if (!status || !take_shards(reader, json_object_get(json, "chunkFilePaths"))) {
        bad_manifest(self, answer->body);
        return;
    }
    begin_hour(self, reader->hours[reader->at_hour].name);
    dgf_blobs_pump(self);
}

static void next_hour(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    char path[128];
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = path,
                                .max_body = JSON_MAX_BYTES,
                                .done = on_manifest,
                                .ctx = self};

    if (reader->at_hour < reader->n_hours &&
        reader->hours[reader->at_hour].begin_ns <= reader->pass_ns) {
        (void)snprintf(path, sizeof(path), FEED "idx/segments/%s/meta.json",
                       reader->hours[reader->at_hour].name);
        (void)dgf_blobs_feed_ask(self, &ask);
        return;
    }
    if (reader->at_hour < reader->n_hours) {
        pass_done(self);
        return;
    }
    if (++reader->month > 12) {
        reader->month = 1;
        reader->year++;
    }
    list_month(self);
}

/* ---- lists ---- */

/* Reads one page of names; false: it was said what is wrong. */
static bool read_list(struct dgf_blobs_source *self,
                      const struct dgf_azure_answer *answer,
                      bool (*take)(struct dgf_blobs_list *list),
                      unsigned *ret_first_year)
{
    struct dgf_blobs_list list = {.source = self, .take = take};
    struct dgf_err err = {0};

    self->reader.asking = false;
    if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_refused(self, &self->feed, answer, "cannot list the change feed",
                          NULL, ROLE);
        return false;
    }
    if (dgf_blobs_list_read(answer->body, &list, self->reader.marker, &err)) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_trouble(self, &self->feed, DGF_RETRY,
                          "cannot list the change feed: %s", err.text);
        return false;
    }
    if (ret_first_year)
        *ret_first_year = list.first_year;
    return true;
}

static void ask_list(struct dgf_blobs_source *self, const char *prefix, bool folders,
                     void (*done)(void *ctx, const struct dgf_azure_answer *answer))
{
    self->reader.asking = dgf_blobs_list_ask(self, "/$blobchangefeed", prefix, folders,
                                             self->reader.marker, done);
}

/* ---- chunks of a shard ---- */

static bool take_chunk(struct dgf_blobs_list *list)
{
    struct dgf_blobs_feed *reader = &list->source->reader;
    struct dgf_bytes name = dgf_buf_bytes(&list->name);
    const char *last = list->source->memory.chunk;

    if (reader->n_chunks >= CHUNKS_MAX || name.len >= DGF_BLOB_NAME_MAX ||
        memchr(name.ptr, 0, name.len))
        return false;
    if (name.len < 5 || memcmp(name.ptr + name.len - 5, ".avro", 5) != 0)
        return true; /* nothing of ours */
    if (*last && dgf_bytes_cmp(name, dgf_bytes_str(last)) < 0)
        return true; /* read before */
    if (reader->n_chunks == reader->cap_chunks) {
        size_t cap = reader->cap_chunks ? 2 * reader->cap_chunks : 16;
        struct dgf_blobs_chunk *chunks =
            dgf_realloc(reader->chunks, cap * sizeof(*chunks));

        if (!chunks)
            return false;
        reader->chunks = chunks;
        reader->cap_chunks = cap;
    }
    reader->chunks[reader->n_chunks].name =
        dgf_strndup((const char *)name.ptr, name.len);
    reader->chunks[reader->n_chunks].size = list->size;
    return reader->chunks[reader->n_chunks].name && ++reader->n_chunks;
}

static void on_chunks(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;

    if (!read_list(self, answer, take_chunk, NULL))
        return;
    if (reader->marker[0]) {
        ask_list(self, reader->shards[self->memory.shard], false, on_chunks);
        return;
    }
    reader->listed = true;
    dgf_blobs_pump(self);
}

static void list_chunks(struct dgf_blobs_source *self)
{
    free_chunks(&self->reader);
    self->reader.marker[0] = '\0';
    ask_list(self, self->reader.shards[self->memory.shard], false, on_chunks);
}

/* ---- months ---- */

static bool take_hour(struct dgf_blobs_list *list)
{
    struct dgf_blobs_feed *reader = &list->source->reader;
    const struct dgf_blob_memory *memory = &list->source->memory;
    struct dgf_blobs_hour hour;

    if (!dgf_blob_segment_of(dgf_buf_bytes(&list->name), hour.name, &hour.begin_ns) ||
        (memory->done_ns && hour.begin_ns <= memory->done_ns) ||
        hour.begin_ns + HOUR_NS + 15 * MINUTE_NS <= memory->from_ns)
        return true;
    if (reader->n_hours == HOURS_MAX)
        return false;
    if (reader->n_hours == reader->cap_hours) {
        size_t cap = reader->cap_hours ? 2 * reader->cap_hours : 64;
        struct dgf_blobs_hour *hours = dgf_realloc(reader->hours, cap * sizeof(*hours));

        if (!hours)
            return false;
        reader->hours = hours;
        reader->cap_hours = cap;
    }
    reader->hours[reader->n_hours++] = hour;
    return true;
}

static void month_of(int64_t ns, unsigned *ret_year, unsigned *ret_month)
{
    int64_t year;
    unsigned day;

    dgf_date_of(ns / DAY_NS, &year, ret_month, &day);
    *ret_year = (unsigned)year;
}

static void on_month(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;

    if (!read_list(self, answer, take_hour, NULL))
        return;
    if (reader->marker[0]) {
        char prefix[48];

        (void)snprintf(prefix, sizeof(prefix), "idx/segments/%04u/%02u/", reader->year,
                       reader->month);
        ask_list(self, prefix, false, on_month);
        return;
    }
    if (reader->n_hours &&
        (!dgf_blobs_gap_reading(self) || !dgf_blobs_gap_absence(self)))
        return;
    if (reader->n_hours)
        reader->kept = true; /* the rest follows without a break */
    next_hour(self);
    dgf_blobs_pump(self);
}

static void list_month(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    unsigned year, month;
    char prefix[48];

    month_of(reader->pass_ns, &year, &month);
    reader->n_hours = reader->at_hour = 0;
    if (reader->year > year || (reader->year == year && reader->month > month)) {
        if (dgf_blobs_gap_reading(self))
            pass_done(self);
        return;
    }
    (void)snprintf(prefix, sizeof(prefix), "idx/segments/%04u/%02u/", reader->year,
                   reader->month);
    reader->marker[0] = '\0';
    ask_list(self, prefix, false, on_month);
}

/* ---- the beginning of a pass ---- */

/* Folders of years; the one of 1601 marks the beginning. */
static bool take_year(struct dgf_blobs_list *list)
{
    static const char head[] = "idx/segments/";
    struct dgf_bytes name = dgf_buf_bytes(&list->name);
    uint64_t year;

    if (name.len != sizeof(head) - 1 + 5 ||
        !dgf_parse_u64(dgf_bytes_of(name.ptr + sizeof(head) - 1, 4), &year))
        return true;
    if (year >= 1970 && (!list->first_year || year < list->first_year))
        list->first_year = (unsigned)year;
    return true;
}

static void on_years(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;
    unsigned first = 0;

    if (!read_list(self, answer, take_year, &first))
        return;
    if (!first) {
        pass_done(self);
        return;
    }
    reader->year = first;
    reader->month = 1;
    list_month(self);
    dgf_blobs_pump(self);
}

static void on_done_hour(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;

    self->reader.asking = false;
    if (answer->is != DGF_AZURE_DONE && answer->is != DGF_AZURE_MISSING) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_refused(self, &self->feed, answer, "cannot read the change feed",
                          NULL, ROLE);
        return;
    }
    self->reader.kept = answer->is == DGF_AZURE_DONE;
    list_month(self);
}

/* Is the hour that was read last still there? */
static void look_back(struct dgf_blobs_source *self)
{
    char path[128], name[16];
    struct dgf_azure_ask ask = {
        .method = "HEAD", .path = path, .done = on_done_hour, .ctx = self};

    dgf_blob_segment_name(self->memory.done_ns, name);
    (void)snprintf(path, sizeof(path), FEED "idx/segments/%s/meta.json", name);
    (void)dgf_blobs_feed_ask(self, &ask);
}

static void begin_pass(struct dgf_blobs_source *self, int64_t consumable_ns)
{
    struct dgf_blobs_feed *reader = &self->reader;
    const struct dgf_blob_memory *memory = &self->memory;
    int64_t from = memory->done_ns ? memory->done_ns : memory->from_ns - 2 * HOUR_NS;

    dgf_blobs_fine(self, &self->feed);
    reader->pass_ns = consumable_ns;
    reader->n_hours = reader->at_hour = 0;
    reader->passing = true;
    reader->kept = true;
    if (from <= 0) {
        reader->marker[0] = '\0';
        ask_list(self, "idx/segments/", true, on_years);
        return;
    }
    month_of(from, &reader->year, &reader->month);
    if (memory->done_ns && consumable_ns - dgf_blobs_read_to(memory) >= DAY_NS)
        look_back(self);
    else
        list_month(self);
}

static void on_segments(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_feed *reader = &self->reader;
    DGF_CLEANUP_JSON json_t *json = NULL;
    const char *last;
    int64_t ns;

    reader->asking = false;
    if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_refused(
            self, &self->feed, answer, "cannot read the change feed",
            "there is none; turn it on (Data protection, Enable blob change feed), which "
            "an account with a hierarchical namespace cannot; the first hour appears "
            "some minutes after its end",
            ROLE);
        return;
    }
    last = dgf_json_parse(answer->body, JSON_MAX_BYTES, 16, &json, NULL)
               ? NULL
               : json_string_value(json_object_get(json, "lastConsumable"));
    if (!last || !dgf_parse_time(dgf_bytes_str(last), &ns)) {
        dgf_blobs_feed_wait(self);
        dgf_blobs_trouble(self, &self->feed, DGF_RETRY,
                          "cannot read the change feed: its segments.json has no time "
                          "that can be read");
        return;
    }
    if (reader->listed_ns && ns <= reader->listed_ns) {
        dgf_blobs_fine(self, &self->feed);
        dgf_blobs_feed_wait(self);
        return;
    }
    begin_pass(self, ns);
    dgf_blobs_pump(self);
}

void dgf_blobs_feed_tick(struct dgf_blobs_source *self, int64_t now_ns)
{
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = FEED "meta/segments.json",
                                .max_body = JSON_MAX_BYTES,
                                .done = on_segments,
                                .ctx = self};

    if (self->reader.asking || self->reader.passing || self->failed ||
        now_ns < self->feed.again_ns)
        return;
    (void)dgf_blobs_feed_ask(self, &ask);
}

void dgf_blobs_feed_pump(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;

    if (!reader->passing || reader->asking || self->failed ||
        self->n_items >= DGF_BLOB_ITEMS_MAX)
        return;
    if (reader->listed) {
        dgf_blobs_chunk_pump(self);
        return;
    }
    /* A manifest that was recorded as broken, and is judged now. */
    if (self->n_items == 0 && reader->at_hour < reader->n_hours && !reader->shards &&
        strcmp(self->memory.segment, reader->hours[reader->at_hour].name) == 0)
        hour_done(self);
}
