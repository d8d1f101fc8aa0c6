/* source_blob_queue.c - the queue Event Grid writes to.
 *
 * A message is hidden from others while we hold it; that is renewed at half its time,
 * with a new receipt each time.  It is deleted when everything it said is durable.  One
 * that comes again, since we died or were too slow, is known by its events' ids. */
#include <stdio.h>

#include "azure_sign.h"
#include "azure_xml.h"
#include "base/clock.h"
#include "base/parse.h"
#include "blob_notice.h"
#include "source_blob.h"

#define GET_MAX_BYTES ((size_t)8 << 20)
#define ROLE "Storage Queue Data Message Processor"
#define SORTED_MAX 512
#define ASKED_MAX 16 /* deletions and renewals under way */
#define READ_PACE_NS INT64_C(60000000000)
#define NEAR_END_NS INT64_C(3600000000000)

/* ---- messages ---- */

static void message_free(struct dgf_blobs_message *message)
{
    if (!message)
        return;
    dgf_free(message->id);
    dgf_free(message->receipt);
    dgf_free(message);
}

void dgf_blobs_queue_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_message *message;

    while ((message = self->messages)) {
        self->messages = message->next;
        message_free(message);
    }
    self->messages_end = &self->messages;
    self->n_messages = 0;
    self->getting = false;
}

/* Those that are gone and of which nothing waits. */
static void sweep(struct dgf_blobs_source *self)
{
    struct dgf_blobs_message **at = &self->messages, *message;

    while ((message = *at)) {
        if (!message->gone || message->asking || message->n_items || !message->read) {
            at = &message->next;
            continue;
        }
        *at = message->next;
        self->n_messages--;
        message_free(message);
    }
    self->messages_end = at;
}

void dgf_blobs_message_judged(struct dgf_blobs_message *message)
{
    message->n_items--;
    /* What it said was judged before, at the latest now. */
    message->seq = message->source->base.next_seq - 1;
}

/* ---- deleting and renewing ---- */

static bool message_path(struct dgf_blobs_message *message, struct dgf_buf *path,
                         struct dgf_buf *query)
{
    dgf_buf_init(path, 2048);
    dgf_buf_init(query, 4096);
    dgf_buf_addf(path, "/%s/messages/%s", message->source->queue_name, message->id);
    dgf_buf_add_str(query, "popreceipt=");
    dgf_azure_encode(query, dgf_bytes_str(message->receipt));
    return dgf_buf_rc(path) == DGF_OK && dgf_buf_rc(query) == DGF_OK;
}

static size_t n_asking(const struct dgf_blobs_source *self)
{
    size_t n = 0;

    for (const struct dgf_blobs_message *at = self->messages; at; at = at->next)
        n += at->asking;
    return n;
}

/* Gone for us: it is deleted, or its receipt is no longer good since somebody else got
 * it; then it comes again when it was not judged. */
static void on_deleted(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_message *message = ctx;
    struct dgf_blobs_source *self = message->source;

    message->asking = false;
    if (answer->is == DGF_AZURE_DONE || answer->is == DGF_AZURE_MISSING ||
        answer->is == DGF_AZURE_REFUSED)
        message->gone = true;
    else
        dgf_blobs_refused(self, &self->queue, answer, "cannot delete a judged message",
                          NULL, ROLE);
    if (!self->failed)
        dgf_blobs_pump(self);
}

static void on_renewed(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_message *message = ctx;
    struct dgf_blobs_source *self = message->source;
    const char *receipt = dgf_azure_answer_header(answer, "x-ms-popreceipt");

    message->asking = false;
    if (answer->is == DGF_AZURE_DONE && *receipt) {
        char *copy = dgf_strdup(receipt);

        if (copy) {
            dgf_free(message->receipt);
            message->receipt = copy;
            message->held_ns = dgf_clock_mono_ns();
        }
    } else if (answer->is == DGF_AZURE_MISSING || answer->is == DGF_AZURE_REFUSED) {
        message->gone = true;
    } else {
        dgf_blobs_refused(self, &self->queue, answer, "cannot hold a message longer",
                          NULL, ROLE);
    }
    if (!self->failed)
        dgf_blobs_pump(self);
}

static void ask(struct dgf_blobs_message *message, bool renew)
{
    struct dgf_blobs_source *self = message->source;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf path = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf query = {0};
    struct dgf_azure_ask request = {.method = renew ? "PUT" : "DELETE",
                                    .done = renew ? on_renewed : on_deleted,
                                    .ctx = message};

    if (!message_path(message, &path, &query)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    if (renew)
        dgf_buf_addf(&query, "&visibilitytimeout=%lld",
                     (long long)(DGF_BLOB_CONF(self)->visibility_ns / 1000000000));
    request.path = dgf_buf_str(&path);
    request.query = dgf_buf_str(&query);
    message->asking = dgf_blobs_ask(self, self->queue_rest, &request);
}

void dgf_blobs_queue_durable(struct dgf_blobs_source *self)
{
    size_t n;

    if (!self->queue.on || self->queue.trouble[0])
        return;
    n = n_asking(self);
    for (struct dgf_blobs_message *at = self->messages;
         at && n < ASKED_MAX && !self->failed; at = at->next)
        if (at->read && !at->n_items && !at->asking && !at->gone &&
            at->seq <= self->durable_seq) {
            ask(at, false);
            n++;
        }
    sweep(self);
}

static void renew(struct dgf_blobs_source *self, int64_t now_ns)
{
    int64_t half = DGF_BLOB_CONF(self)->visibility_ns / 2;

    for (struct dgf_blobs_message *at = self->messages; at && !self->failed;
         at = at->next)
        if (!at->asking && !at->gone && now_ns - at->held_ns >= half)
            ask(at, true);
}

/* ---- what a get brought ---- */

struct get {
    struct dgf_blobs_source *self;
    struct dgf_blobs_message *message;
    struct dgf_buf id, receipt, text;
    int64_t inserted_ns, expires_ns;
    uint64_t dequeues;
    struct dgf_blobs_item *items[SORTED_MAX];
    size_t n_items;
    struct dgf_buf maps;
    size_t n;
};

static struct dgf_blobs_item *undecodable(struct get *get, const char *why)
{
    struct dgf_blobs_item *item =
        dgf_blobs_item_new(get->self, DGF_BLOB_ITEM_UNDECODABLE);

    if (!item)
        return NULL;
    item->what = "message";
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    item->size = get->text.len;
    dgf_sha256(dgf_buf_bytes(&get->text), item->hash);
    return item;
}

/* The items wait to be sorted with the others of this get; more than fit go on. */
static bool put(struct get *get, struct dgf_blobs_item *item)
{
    if (!item)
        return false;
    item->message = get->message;
    if (get->n_items < SORTED_MAX) {
        get->items[get->n_items++] = item;
        return true;
    }
    dgf_blobs_push(get->self, item);
    return true;
}

static bool same_blob(const struct dgf_blobs_item *a, const struct dgf_blobs_item *b)
{
    return a->kind == DGF_BLOB_ITEM_CHANGE && b->kind == DGF_BLOB_ITEM_CHANGE &&
           dgf_bytes_eq(a->change.path, b->change.path) &&
           dgf_bytes_eq(a->change.container, b->change.container);
}

/* Messages come in any order; those of one blob are put in theirs. */
static void push_sorted(struct get *get)
{
    for (size_t i = 1; i < get->n_items; i++)
        for (size_t at = i; at-- > 0;) {
            struct dgf_blobs_item *a = get->items[at], *b = get->items[i];

            if (same_blob(a, b) &&
                dgf_blob_sequencer_cmp(b->change.sequencer, a->change.sequencer) < 0) {
                get->items[at] = b;
                get->items[i] = a;
            }
        }
    for (size_t i = 0; i < get->n_items; i++) {
        dgf_blobs_look_want(get->self, get->items[i]);
        dgf_blobs_push(get->self, get->items[i]);
    }
    get->n_items = 0;
}

/* All events of the message were judged before, so it is no poison. */
static bool all_seen(struct get *get, size_t first)
{
    for (size_t i = first; i < get->n_items; i++)
        if (get->items[i]->kind != DGF_BLOB_ITEM_CHANGE ||
            !dgf_blob_seen_get(&get->self->seen, &get->items[i]->seen))
            return false;
    return get->n_items > first;
}

static void take_events(struct get *get, size_t n)
{
    struct dgf_mp mp = dgf_mp_of(dgf_buf_bytes(&get->maps));
    struct dgf_bytes one;

    for (size_t i = 0; i < n && !get->self->failed; i++) {
        if (dgf_mp_value(&mp, &one)) {
            (void)put(get, undecodable(get, "it cannot be read"));
            return;
        }
        if (!put(get, dgf_blobs_item_of(get->self, one)))
            return;
    }
}

static void take_text(struct get *get)
{
    const struct dgf_blobs_conf *conf = DGF_BLOB_CONF(get->self);
    size_t n = 0, first = get->n_items;
    const char *why = "";
    char text[160];

    dgf_buf_clear(&get->maps);
    if (dgf_blob_notice_read(dgf_buf_bytes(&get->text), &get->maps, &n, &why)) {
        (void)put(get, undecodable(get, why));
        return;
    }
    if (n == 0) {
        struct dgf_blobs_item *item =
            dgf_blobs_item_new(get->self, DGF_BLOB_ITEM_COUNTED);

        if (item)
            (void)snprintf(item->why, sizeof(item->why), "empty");
        (void)put(get, item);
        return;
    }
    take_events(get, n);
    if (get->dequeues <= (uint64_t)conf->max_dequeues || all_seen(get, first))
        return;
    for (size_t i = first; i < get->n_items; i++)
        dgf_blobs_item_free(get->items[i]);
    get->n_items = first;
    (void)snprintf(text, sizeof(text),
                   "it was handed out %llu times without being judged",
                   (unsigned long long)get->dequeues);
    (void)put(get, undecodable(get, text));
}

/* What lives shortest tells how long we may be away. */
static void take_life(struct get *get)
{
    struct dgf_blobs_source *self = get->self;
    int64_t now = dgf_clock_ns(), life = get->expires_ns - get->inserted_ns;

    if (!get->inserted_ns || life <= 0 || life > INT64_C(3650) * 86400 * 1000000000)
        return;
    if (!self->memory.queue_ttl_ns || life < self->memory.queue_ttl_ns) {
        self->memory.queue_ttl_ns = life;
        self->dirty = true;
    }
    if (life > 2 * NEAR_END_NS && get->expires_ns - now < NEAR_END_NS)
        (void)snprintf(self->warning, sizeof(self->warning),
                       "messages of queue '%s' are within an hour of their end: they "
                       "come faster than they are judged, or we were away",
                       self->queue_name);
}

static enum dgf_rc end_message(struct get *get, struct dgf_err *err)
{
    struct dgf_blobs_source *self = get->self;
    struct dgf_blobs_message *message;

    if (!get->id.len || !get->receipt.len || memchr(get->id.ptr, 0, get->id.len) ||
        memchr(get->receipt.ptr, 0, get->receipt.len))
        return dgf_err_set(err, DGF_BAD_DATA, "a message has no id or no receipt");
    message = dgf_calloc(1, sizeof(*message));
    if (message) {
        message->id = dgf_strndup((const char *)get->id.ptr, get->id.len);
        message->receipt =
            dgf_strndup((const char *)get->receipt.ptr, get->receipt.len);
    }
    if (!message || !message->id || !message->receipt) {
        message_free(message);
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    }
    message->source = self;
    message->held_ns = dgf_clock_mono_ns();
    message->seq = self->base.next_seq - 1;
    *self->messages_end = message;
    self->messages_end = &message->next;
    self->n_messages++;
    get->message = message;
    get->n++;
    take_life(get);
    take_text(get);
    message->read = true;
    return self->failed ? DGF_AGAIN : DGF_OK;
}

static bool last_is(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');

    return strcmp(slash ? slash + 1 : path, name) == 0;
}

static void set(struct dgf_buf *to, struct dgf_bytes text)
{
    dgf_buf_clear(to);
    dgf_buf_add_bytes(to, text);
}

static int64_t date_of(struct dgf_bytes text)
{
    char date[64];
    int64_t ns;

    if (text.len == 0 || text.len >= sizeof(date))
        return 0;
    memcpy(date, text.ptr, text.len);
    date[text.len] = '\0';
    return dgf_azure_date_parse(date, &ns) ? ns : 0;
}

static enum dgf_rc on_begin(void *ctx, const char *path, struct dgf_err *err)
{
    struct get *get = ctx;

    (void)err;
    if (!last_is(path, "QueueMessage"))
        return DGF_OK;
    dgf_buf_clear(&get->id);
    dgf_buf_clear(&get->receipt);
    dgf_buf_clear(&get->text);
    get->inserted_ns = get->expires_ns = 0;
    get->dequeues = 0;
    return DGF_OK;
}

static enum dgf_rc on_end(void *ctx, const char *path, struct dgf_bytes text,
                          struct dgf_err *err)
{
    struct get *get = ctx;

    if (last_is(path, "MessageId"))
        set(&get->id, text);
    else if (last_is(path, "PopReceipt"))
        set(&get->receipt, text);
    else if (last_is(path, "MessageText"))
        set(&get->text, text);
    else if (last_is(path, "InsertionTime"))
        get->inserted_ns = date_of(text);
    else if (last_is(path, "ExpirationTime"))
        get->expires_ns = date_of(text);
    else if (last_is(path, "DequeueCount") && !dgf_parse_u64(text, &get->dequeues))
        return dgf_err_set(err, DGF_BAD_DATA, "a dequeue count is no number");
    else if (last_is(path, "QueueMessage"))
        return end_message(get, err);
    return DGF_OK;
}

static enum dgf_rc read_messages(struct dgf_blobs_source *self, struct dgf_bytes body,
                                 size_t *ret_n, struct dgf_err *err)
{
    static const struct dgf_azure_xml_calls calls = {.begin = on_begin, .end = on_end};
    struct get *get = dgf_calloc(1, sizeof(*get));
    enum dgf_rc rc;

    if (!get)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    get->self = self;
    dgf_buf_init(&get->id, 1024);
    dgf_buf_init(&get->receipt, 2048);
    dgf_buf_init(&get->text, GET_MAX_BYTES);
    dgf_buf_init(&get->maps, GET_MAX_BYTES);
    rc = dgf_azure_xml_read(body, GET_MAX_BYTES, &calls, get, err);
    *ret_n = get->n;
    push_sorted(get);
    dgf_buf_release(&get->id);
    dgf_buf_release(&get->receipt);
    dgf_buf_release(&get->text);
    dgf_buf_release(&get->maps);
    dgf_free(get);
    return rc;
}

/* ---- getting ---- */

/* A while in which messages may have ended unread is a gap, unless the change feed
 * brings what they said. */
static bool say_gap(struct dgf_blobs_source *self)
{
    int64_t now = dgf_clock_ns(), since = self->memory.queue_read_ns;
    bool missing = self->queue_missing || self->memory.queue_missing;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf from = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf to = {0};
    const char *detail[] = {"since", NULL, "until", NULL};
    bool over =
        since && self->memory.queue_ttl_ns && now - since > self->memory.queue_ttl_ns;

    self->queue_missing = false;
    self->memory.queue_missing = false;
    if (self->queue_asked && !missing)
        return true; /* somebody read it all the time */
    self->queue_asked = true;
    if (self->feed.on || (!over && !(missing && since)))
        return true;
    dgf_buf_init(&from, 64);
    dgf_buf_init(&to, 64);
    dgf_format_time(&from, since); /* what came since then went with the queue */
    dgf_format_time(&to, now);
    self->memory.queue_read_ns = now;
    detail[1] = dgf_buf_str(&from);
    detail[3] = dgf_buf_str(&to);
    return dgf_blobs_emit_gap(self, DGF_GAP_QUEUE_EXPIRED, "queue", "queue", false,
                              missing
                                  ? "the queue was not there"
                                  : "nobody read the queue for longer than a message "
                                    "lives in it",
                              detail, 2);
}

/* How often it is remembered that the queue is being read. */
static int64_t read_pace(const struct dgf_blobs_source *self)
{
    int64_t life = self->memory.queue_ttl_ns;

    return life && life / 4 < READ_PACE_NS ? life / 4 : READ_PACE_NS;
}

/* Whoever makes the queue again may do so while we do not run: that it was gone is
 * remembered until a gap says so. */
static void note_missing(struct dgf_blobs_source *self)
{
    self->queue_missing = true;
    if (self->feed.on || self->memory.queue_missing || !self->memory.queue_read_ns)
        return;
    self->memory.queue_missing = true;
    self->dirty = true;
    if (dgf_blobs_emit_progress(self, false))
        dgf_blobs_pump(self);
}

static void on_got(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_err err = {0};
    int64_t now = dgf_clock_ns();
    enum dgf_rc rc;
    size_t n = 0;

    self->getting = false;
    self->get_at_ns = dgf_clock_mono_ns() + DGF_BLOB_CONF(self)->poll_ns;
    if (answer->is != DGF_AZURE_DONE) {
        if (answer->is == DGF_AZURE_MISSING)
            note_missing(self);
        dgf_blobs_refused(
            self, &self->queue, answer, "cannot read the queue",
            "it does not exist; make it, and an Event Grid subscription of "
            "the account that writes to it",
            ROLE);
        return;
    }
    if (!say_gap(self))
        return;
    rc = read_messages(self, answer->body, &n, &err);
    if (rc && rc != DGF_AGAIN) {
        dgf_blobs_trouble(self, &self->queue, rc == DGF_NOMEM ? DGF_RETRY : rc,
                          "cannot read the queue: %s", err.text);
        return;
    }
    if (now - self->memory.queue_read_ns > read_pace(self)) {
        self->memory.queue_read_ns = now;
        self->dirty = true;
        if (n == 0)
            (void)dgf_blobs_emit_progress(self, false);
    }
    if (n == 0) {
        self->queue.caught_up = true;
        self->warning[0] = '\0';
    } else {
        self->get_at_ns = 0; /* there may be more */
    }
    dgf_blobs_fine(self, &self->queue);
    dgf_blobs_pump(self);
}

static void get_more(struct dgf_blobs_source *self)
{
    char path[128], query[96];
    struct dgf_azure_ask request = {.method = "GET",
                                    .path = path,
                                    .query = query,
                                    .max_body = GET_MAX_BYTES,
                                    .done = on_got,
                                    .ctx = self};

    (void)snprintf(path, sizeof(path), "/%s/messages", self->queue_name);
    (void)snprintf(query, sizeof(query), "numofmessages=32&visibilitytimeout=%lld",
                   (long long)(DGF_BLOB_CONF(self)->visibility_ns / 1000000000));
    self->getting = dgf_blobs_ask(self, self->queue_rest, &request);
}

void dgf_blobs_queue_pump(struct dgf_blobs_source *self)
{
    int64_t now = dgf_clock_mono_ns();

    if (!self->queue.on || self->getting || self->failed ||
        now < self->queue.again_ns || now < self->get_at_ns ||
        self->n_items > DGF_BLOB_ITEMS_MAX / 2 ||
        self->n_messages + 32 > DGF_BLOB_MESSAGES_MAX)
        return;
    get_more(self);
}

void dgf_blobs_queue_tick(struct dgf_blobs_source *self, int64_t now_ns)
{
    if (now_ns < self->queue.again_ns)
        return;
    renew(self, now_ns);
    if (!self->failed && self->queue.trouble[0])
        dgf_blobs_queue_durable(self);
}
