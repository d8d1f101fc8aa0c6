/* source_blob_judge.c - from what was read to what is judged.
 *
 * A record becomes an item; items wait in one queue, whichever way they came, and are
 * taken in turn: judged when nobody judged them before, recorded when they cannot be
 * read, counted otherwise.  What is remembered of them goes into the same batch. */
#include <stdio.h>

#include "base/clock.h"
#include "source_blob.h"

#define NEWEST_MAX 100000

/* ---- items ---- */

struct dgf_blobs_item *dgf_blobs_item_new(struct dgf_blobs_source *self,
                                          enum dgf_blobs_item_kind kind)
{
    struct dgf_blobs_item *item = dgf_calloc(1, sizeof(*item));

    if (!item) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return NULL;
    }
    item->source = self;
    item->kind = kind;
    return item;
}

void dgf_blobs_item_free(struct dgf_blobs_item *item)
{
    if (!item)
        return;
    dgf_buf_release(&item->record);
    dgf_buf_release(&item->content);
    dgf_free(item);
}

void dgf_blobs_push(struct dgf_blobs_source *self, struct dgf_blobs_item *take_item)
{
    take_item->next = NULL;
    *self->items_end = take_item;
    self->items_end = &take_item->next;
    self->n_items++;
    if (take_item->message)
        take_item->message->n_items++;
}

/* Our own archive: its container, and a request of ours.  Others who write there are
 * judged. */
static bool is_own(const struct dgf_blobs_source *self,
                   const struct dgf_blob_change *change)
{
    static const char client[] = DGF_AZURE_CLIENT;

    for (size_t i = 0; i < self->base.own.n; i++) {
        DGF_CLEANUP(dgf_free) char *base = NULL;
        DGF_CLEANUP(dgf_free) char *container = NULL;
        struct dgf_err err;

        if (dgf_azure_container_url(self->base.own.list[i], &base, &container, &err) ||
            strcmp(base, DGF_BLOB_CONF(self)->url) != 0)
            continue;
        if (dgf_bytes_eq(change->container, dgf_bytes_str(container)) &&
            change->client_request_id.len > sizeof(client) - 1 &&
            memcmp(change->client_request_id.ptr, client, sizeof(client) - 1) == 0)
            return true;
    }
    return false;
}

static void refuse(struct dgf_blobs_item *item, struct dgf_bytes record,
                   const char *why)
{
    item->kind = DGF_BLOB_ITEM_UNDECODABLE;
    item->what = "event";
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    item->size = record.len;
    dgf_sha256(record, item->hash);
}

static bool same_account(const struct dgf_blobs_source *self, struct dgf_bytes account)
{
    return account.len == 0 ||
           (account.len == strlen(self->account) &&
            strncasecmp((const char *)account.ptr, self->account, account.len) == 0);
}

struct dgf_blobs_item *dgf_blobs_item_of(struct dgf_blobs_source *self,
                                         struct dgf_bytes record)
{
    struct dgf_blobs_item *item = dgf_blobs_item_new(self, DGF_BLOB_ITEM_CHANGE);
    const char *why = "";
    enum dgf_rc rc;

    if (!item)
        return NULL;
    dgf_buf_init(&item->record, record.len + 1);
    dgf_buf_init(&item->content, (8u << 20) + 1);
    dgf_buf_add_bytes(&item->record, record);
    if (dgf_buf_rc(&item->record)) {
        dgf_blobs_item_free(item);
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return NULL;
    }
    rc = dgf_blob_change_read(dgf_buf_bytes(&item->record), &item->change, &why);
    if (rc == DGF_AGAIN) {
        item->kind = DGF_BLOB_ITEM_COUNTED;
        (void)snprintf(item->why, sizeof(item->why), "%s", why);
    } else if (rc) {
        refuse(item, record, why);
    } else if (!same_account(self, item->change.account)) {
        refuse(item, record, "it is of another storage account");
    } else if (is_own(self, &item->change)) {
        item->kind = DGF_BLOB_ITEM_COUNTED;
        (void)snprintf(item->why, sizeof(item->why), "own_archive");
    } else {
        item->seen =
            dgf_blobs_id(self, "seen", item->change.id, DGF_BYTES(""), DGF_BYTES(""));
    }
    return item;
}

/* ---- judging ---- */

static uint32_t minute_of(int64_t ns)
{
    int64_t minute = ns / INT64_C(60000000000);

    return minute < 0 ? 0 : minute > (1 << 28) ? 1 << 28 : (uint32_t)minute;
}

static void free_text(void *text)
{
    dgf_free(text);
}

/* Whether something newer of this blob was judged before; remembers the newest. */
static bool is_reordered(struct dgf_blobs_source *self,
                         const struct dgf_blob_change *change)
{
    struct dgf_bytes key;
    char *newest, *copy, *old = NULL;
    int order;

    if (!change->path.len || !change->sequencer.len || change->sequencer.len > 128)
        return false;
    dgf_buf_clear(&self->scratch);
    dgf_buf_add_bytes(&self->scratch, change->container);
    dgf_buf_add_byte(&self->scratch, '/');
    dgf_buf_add_bytes(&self->scratch, change->path);
    key = dgf_buf_bytes(&self->scratch);
    newest = dgf_map_get(&self->newest, key);
    order =
        newest ? dgf_blob_sequencer_cmp(change->sequencer, dgf_bytes_str(newest)) : 1;
    if (order < 0)
        return true;
    if (self->newest.n >= NEWEST_MAX) {
        dgf_map_release(&self->newest, free_text);
        dgf_map_init(&self->newest);
    }
    copy = dgf_strndup((const char *)change->sequencer.ptr, change->sequencer.len);
    if (copy && dgf_map_put(&self->newest, key, copy, (void **)&old) == DGF_OK)
        dgf_free(old);
    else
        dgf_free(copy);
    return false;
}

/* Judges a change that nobody judged before. */
static bool judge(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    bool of_feed = dgf_blobs_item_of_feed(item);
    unsigned by = of_feed ? DGF_BLOB_BY_FEED : DGF_BLOB_BY_QUEUE;
    unsigned before = dgf_blob_seen_get(&self->seen, &item->seen);
    uint32_t minute = minute_of(item->change.time_ns);
    bool wanted =
        !item->change.container.len ||
        dgf_blobs_container_wanted(DGF_BLOB_CONF(self), item->change.container);

    if (item->letter && minute < minute_of(dgf_clock_ns()))
        minute =
            minute_of(dgf_clock_ns()); /* it may be read again, however old it is */
    if (of_feed && item->change.time_ns < self->memory.from_ns)
        return true; /* before we began */
    if (!wanted)
        return true;
    if (before && (before & by) == by)
        return true;
    self->dirty = true;
    if (!dgf_blob_seen_put(&self->seen, &item->seen, minute, by)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    if (before)
        return true;
    item->extra.reordered = is_reordered(self, &item->change);
    item->extra.late = item->letter || (of_feed && self->queue.on &&
                                        item->change.time_ns >= self->memory.since_ns);
    self->dead.n_judged += item->letter != NULL;
    if (item->extra.late)
        dgf_blobs_count(self, item->letter ? "dead_letters" : "late", 1);
    return dgf_blobs_emit_change(self, item);
}

static bool take(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    if (dgf_blobs_item_of_feed(item)) {
        self->memory.offset = item->offset;
        self->memory.index = item->index;
        self->dirty = true;
    }
    switch (item->kind) {
    case DGF_BLOB_ITEM_CHANGE:
        return judge(self, item);
    case DGF_BLOB_ITEM_UNDECODABLE:
        self->n_undecodable++;
        memcpy(self->last_undecodable, item->why, sizeof(self->last_undecodable));
        return dgf_blobs_emit_undecodable(self, item);
    case DGF_BLOB_ITEM_LETTER:
        return dgf_blobs_letter_judged(self);
    default:
        dgf_blobs_count(self, item->why, 1);
        return !item->message || dgf_blobs_emit_progress(self, false);
    }
}

static void pop(struct dgf_blobs_source *self)
{
    struct dgf_blobs_item *item = self->items;

    self->items = item->next;
    if (!self->items)
        self->items_end = &self->items;
    self->n_items--;
    if (item->message)
        dgf_blobs_message_judged(item->message);
    dgf_blobs_item_free(item);
}

void dgf_blobs_items_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_item *item;

    while ((item = self->items)) {
        self->items = item->next;
        dgf_blobs_item_free(item);
    }
    self->items_end = &self->items;
    self->n_items = 0;
    dgf_map_release(&self->newest, free_text);
}

/* Where we are goes into the batch of what was judged. */
void dgf_blobs_settle(struct dgf_blobs_source *self)
{
    uint64_t at = 0, number;
    char key[48];

    if (!self->dirty || self->failed)
        return;
    self->dirty = false;
    dgf_blob_seen_forget(&self->seen, minute_of(dgf_clock_ns()));
    for (;;) {
        dgf_buf_clear(&self->scratch2);
        if (!dgf_blob_seen_changed(&self->seen, &at, &number, &self->scratch2))
            break;
        (void)snprintf(key, sizeof(key), "seen/%u",
                       (unsigned)(number % DGF_BLOB_BUCKETS_MAX));
        if (dgf_buf_rc(&self->scratch2) ||
            dgf_source_put_state(&self->base, dgf_bytes_str(key),
                                 dgf_buf_bytes(&self->scratch2))) {
            dgf_blobs_fail(self, DGF_FATAL, "cannot remember which events were judged");
            return;
        }
    }
    self->memory.first_bucket = self->seen.first;
    self->memory.end_bucket = self->seen.end;
    dgf_buf_clear(&self->scratch2);
    dgf_blob_memory_put(&self->memory, &self->scratch2);
    if (dgf_buf_rc(&self->scratch2) ||
        dgf_source_put_state(&self->base, DGF_BYTES("memory"),
                             dgf_buf_bytes(&self->scratch2))) {
        dgf_blobs_fail(self, DGF_FATAL, "cannot remember how far was read");
        return;
    }
    (void)dgf_blobs_dead_settle(self);
}

static void say_caught_up(struct dgf_blobs_source *self)
{
    if (self->told_caught_up || self->n_items || self->failed ||
        (self->queue.on && !self->queue.caught_up) ||
        (self->feed.on && !self->feed.caught_up) ||
        (self->dead.on && !self->dead.caught_up))
        return;
    self->told_caught_up = true;
    dgf_source_caught_up(&self->base);
}

void dgf_blobs_pump(struct dgf_blobs_source *self)
{
    uint64_t undecodable = self->n_undecodable, letters = self->dead.n_judged;

    if (self->pumping || !self->is_open)
        return;
    self->pumping = true;
    while (!dgf_blobs_stopped(self)) {
        struct dgf_blobs_item *item;

        dgf_blobs_queue_pump(self);
        if (self->feed.on && !self->failed)
            dgf_blobs_feed_pump(self);
        if (self->dead.on && !self->failed)
            dgf_blobs_dead_pump(self);
        if (self->failed)
            break;
        dgf_blobs_look_start(self);
        item = self->items;
        if (!item || item->look == DGF_BLOB_LOOK_WANTED ||
            item->look == DGF_BLOB_LOOK_ASKED || self->failed)
            break;
        if (!take(self, item))
            break;
        pop(self);
    }
    dgf_blobs_settle(self);
    self->pumping = false;
    if (self->n_undecodable != undecodable || self->dead.n_judged != letters)
        dgf_blobs_say_state(self);
    say_caught_up(self);
    if (!self->failed)
        dgf_blobs_queue_durable(self);
}
