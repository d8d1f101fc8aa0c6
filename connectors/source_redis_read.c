#include <stdio.h>

#include "base/clock.h"
#include "source_redis.h"

/* One read = XINFO STREAM and, right behind it, the entries from the newest one
 * we know.  That one comes again when nothing was trimmed past it; when it does
 * not, the facts say why before anything later is emitted. */

#define LOOK_MAX 4096 /* entries of a comparison */
/* A server that ends a wait at once, for nothing, is asked again at this pace. */
#define PACE_NS INT64_C(20000000)

static void begin_read(struct dgf_redis_stream *stream);
static void send_range(struct dgf_redis_stream *stream, struct dgf_redis_id id);

/* ---- turns ---- */

void dgf_redis_queue(struct dgf_redis_stream *stream)
{
    struct dgf_redis_node *node = stream->node;

    if (stream->state != DGF_REDIS_IDLE) {
        stream->again = true;
        return;
    }
    stream->state = DGF_REDIS_QUEUED;
    stream->next = NULL;
    *node->queue_end = stream;
    node->queue_end = &stream->next;
}

static void queue_all(struct dgf_redis_node *node)
{
    struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&node->source->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;

        if (stream->node == node && stream->state == DGF_REDIS_IDLE)
            dgf_redis_queue(stream);
    }
}

static void on_unblock(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    (void)command;
    if (dgf_redis_error(item).len) /* not allowed: the wait ends by itself */
        link->node->client_id = 0;
}

/* Waiting connection: [[name, [entry]], ...], or nil. */
static void on_wait(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_node *node = link->node;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token pair, name;
    struct dgf_redis_stream *stream;
    struct dgf_map_entry *entry;
    size_t at = 0;

    (void)command;
    if (dgf_redis_error(item).len) {
        queue_all(node); /* each read says what is wrong */
    } else if (item->depth == 1 && dgf_resp_next(&resp, &pair) == DGF_OK &&
               pair.kind == DGF_RESP_ARRAY && dgf_resp_next(&resp, &name) == DGF_OK) {
        stream = dgf_map_get(&link->source->streams, name.bytes);
        if (stream)
            dgf_redis_queue(stream);
    }
    if (!item->last)
        return;
    while ((entry = dgf_map_next(&link->source->streams, &at)))
        ((struct dgf_redis_stream *)entry->value)->in_wait = false;
    node->waiting = node->unblocking = false;
    dgf_redis_next(node);
}

static bool can_wait(const struct dgf_redis_stream *stream,
                     const struct dgf_redis_node *node)
{
    return stream->node == node && stream->state == DGF_REDIS_IDLE &&
           !stream->wrong_type && stream->phase == DGF_REDIS_PHASE_STREAM;
}

static void send_wait(struct dgf_redis_node *node, struct dgf_bytes *words, size_t n,
                      char (*ids)[DGF_REDIS_ID_TEXT])
{
    struct dgf_redis_command command = {.on_item = on_wait, .explode = 1};
    struct dgf_map_entry *entry;
    size_t at = 0, i = 0;
    char block[24];

    (void)snprintf(block, sizeof(block), "%lld",
                   (long long)(DGF_REDIS_CONF(node->source)->block_ns / 1000000));
    words[0] = DGF_BYTES("XREAD");
    words[1] = DGF_BYTES("COUNT");
    words[2] = DGF_BYTES("1");
    words[3] = DGF_BYTES("BLOCK");
    words[4] = dgf_bytes_str(block);
    words[5] = DGF_BYTES("STREAMS");
    while (i < n && (entry = dgf_map_next(&node->source->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;
        struct dgf_redis_id from = stream->memory.last;

        if (!can_wait(stream, node))
            continue;
        if (dgf_redis_id_cmp(stream->delivered, from) > 0)
            from = stream->delivered;
        stream->in_wait = true;
        dgf_redis_id_text(from, ids[i]);
        words[6 + i] = dgf_bytes_str(stream->name);
        words[6 + n + i] = dgf_bytes_str(ids[i]);
        i++;
    }
    node->waiting = true;
    dgf_redis_link_send(&node->wait, command, words, 6 + 2 * n);
    dgf_redis_link_flush(&node->wait);
}

static void unblock(struct dgf_redis_node *node)
{
    struct dgf_redis_command command = {.on_item = on_unblock};
    char id[24];

    if (!node->client_id || node->unblocking)
        return;
    node->unblocking = true;
    (void)snprintf(id, sizeof(id), "%lld", (long long)node->client_id);
    dgf_redis_link_send(&node->data, command,
                        (struct dgf_bytes[]){DGF_BYTES("CLIENT"), DGF_BYTES("UNBLOCK"),
                                             dgf_bytes_str(id)},
                        3);
    dgf_redis_link_flush(&node->data);
}

/* Nothing to read: sleeps until one of the quiet streams has something new. */
static void wait_for(struct dgf_redis_node *node)
{
    struct dgf_map_entry *entry;
    size_t at = 0, n = 0, missing = 0;
    struct dgf_bytes *words;
    char(*ids)[DGF_REDIS_ID_TEXT];

    if (!node->wait.up)
        return;
    while ((entry = dgf_map_next(&node->source->streams, &at))) {
        const struct dgf_redis_stream *stream = entry->value;

        n += can_wait(stream, node);
        missing += can_wait(stream, node) && !stream->in_wait;
    }
    if (node->waiting) {
        if (missing)
            unblock(node);
        return;
    }
    if (n == 0 || (node->source->base.next_seq == node->waited_seq &&
                   dgf_clock_mono_ns() - node->waited_ns < PACE_NS))
        return; /* the next tick comes here again */
    node->waited_seq = node->source->base.next_seq;
    node->waited_ns = dgf_clock_mono_ns();
    words = dgf_calloc(6 + 2 * n, sizeof(*words));
    ids = dgf_calloc(n, sizeof(*ids));
    if (words && ids)
        send_wait(node, words, n, ids);
    else
        dgf_redis_fail(node->source, DGF_RETRY, "out of memory");
    dgf_free(words);
    dgf_free(ids);
}

void dgf_redis_next(struct dgf_redis_node *node)
{
    struct dgf_redis_stream *stream = node->queue;

    if (dgf_redis_stopped(node->source) || !node->data.up || node->reading)
        return;
    if (!stream) {
        if (!node->source->cluster)
            wait_for(node);
        return;
    }
    node->queue = stream->next;
    if (!node->queue)
        node->queue_end = &node->queue;
    stream->state = DGF_REDIS_READING;
    node->reading = stream;
    begin_read(stream);
    dgf_redis_link_flush(&node->data);
}

void dgf_redis_done(struct dgf_redis_stream *stream, bool more)
{
    struct dgf_redis_source *self = stream->source;

    stream->node->reading = NULL;
    stream->state = DGF_REDIS_IDLE;
    if (stream->ask) {
        dgf_redis_next(stream->node); /* others wait for their turn there */
        stream->node = stream->ask;
        stream->asking = stream->again = true;
        stream->ask = NULL;
    }
    stream->checked_ns = dgf_clock_mono_ns();
    if (more || stream->again) {
        stream->again = false;
        dgf_redis_queue(stream);
    } else if (!stream->first_read && !stream->due_seq) {
        stream->first_read = true;
        self->n_unread--;
    }
    if (!self->caught_up && self->streaming && self->n_unread == 0 && !self->failed) {
        self->caught_up = true;
        dgf_source_caught_up(&self->base);
    }
    dgf_redis_next(stream->node);
}

/* ---- errors ---- */

static void trouble(struct dgf_redis_stream *stream, const char *what)
{
    struct dgf_redis_source *self = stream->source;

    (void)snprintf(self->trouble, sizeof(self->trouble), "key '%.120s' %s",
                   stream->name, what);
    dgf_redis_say_state(self);
}

static const struct dgf_redis_stream *first_wrong_type(struct dgf_redis_source *self)
{
    const struct dgf_map_entry *entry;
    size_t at = 0;

    while ((entry = dgf_map_next(&self->streams, &at))) {
        const struct dgf_redis_stream *stream = entry->value;

        if (stream->wrong_type)
            return stream;
    }
    return NULL;
}

/* All goes on but this: nothing of such a key is judged. */
static void say_impaired(struct dgf_redis_source *self)
{
    const struct dgf_redis_stream *stream = first_wrong_type(self);

    if (stream)
        dgf_source_impaired(&self->base,
                            "key '%.120s' is no stream: it holds another type of "
                            "value, and nothing of it is judged",
                            stream->name);
    else
        dgf_source_impaired(&self->base, "%s", "");
}

static void no_wrong_type(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;

    if (!stream->wrong_type)
        return;
    stream->wrong_type = false;
    self->trouble[0] = '\0';
    dgf_redis_say_state(self);
    say_impaired(self);
}

bool dgf_redis_read_error(struct dgf_redis_stream *stream,
                          const struct dgf_resp_item *item)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_bytes text = dgf_redis_error(item);

    if (text.len == 0)
        return false;
    if (dgf_redis_error_is(item, "ERR no such key")) {
        stream->gone = true;
        no_wrong_type(stream);
    } else if (dgf_redis_error_is(item, "WRONGTYPE")) {
        stream->wrong_type = true;
        trouble(stream, "is no stream: it holds another type of value");
        say_impaired(stream->source);
    } else if (dgf_redis_error_is(item, "ASK ")) {
        dgf_redis_asked(stream, text);
    } else if (dgf_redis_error_is(item, "MOVED") ||
               dgf_redis_error_is(item, "CLUSTERDOWN")) {
        dgf_redis_moved(self);
    } else {
        dgf_redis_fail(self,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot read stream '%s': %.*s", stream->name,
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
    }
    return true;
}

/* ---- facts ---- */

static void on_facts(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    struct dgf_redis_source *self = link->source;

    /* The first answer of a read: one that was sent ahead begins only now. */
    stream->has_facts = stream->discard = false;
    stream->look = stream->retry = false;
    stream->n_items = 0;
    if (dgf_redis_read_error(stream, item)) {
        stream->discard = true;
    } else if (!dgf_redis_facts_read(item->bytes, &stream->facts)) {
        dgf_redis_fail(self, DGF_RETRY,
                       "the answer to XINFO STREAM of '%s' cannot be understood; "
                       "Redis 7 or newer is needed",
                       stream->name);
    } else {
        no_wrong_type(stream);
        stream->gone = false;
        stream->has_facts = true;
    }
    if (command->arg && !self->failed)
        dgf_redis_first(stream);
}

void dgf_redis_ask_facts(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {.on_item = on_facts, .ctx = stream};

    command.arg = stream->fresh && stream->phase == DGF_REDIS_PHASE_NEW &&
                  DGF_REDIS_CONF(stream->source)->mode == DGF_REDIS_CURSOR;
    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XINFO"), DGF_BYTES("STREAM"),
                                               dgf_bytes_str(stream->name)},
                          3);
}

/* Nothing is remembered: where it begins, and what that says of the past. */
void dgf_redis_first(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_redis_memory *memory = &stream->memory;
    bool now = DGF_REDIS_CONF(self)->start == DGF_REDIS_NOW && !self->caught_up;

    if (stream->wrong_type || stream->ask) {
        dgf_redis_done(stream, false);
        return;
    }
    memory->added_known = true;
    if (stream->has_facts && now) {
        memory->last = stream->facts.last;
        memory->added = stream->facts.added;
    } else if (stream->has_facts) {
        memory->added = stream->facts.added - stream->facts.length;
    }
    memory->verified = memory->last;
    stream->fresh = false;
    stream->phase = DGF_REDIS_PHASE_STREAM;
    if (dgf_redis_emit_resume(stream))
        dgf_redis_done(stream, true);
}

/* ---- what became of it ---- */

static void begin_epoch(struct dgf_redis_stream *stream)
{
    stream->memory.epoch++;
    stream->memory.n_claimed = 0;
    dgf_redis_freeze_id(stream);
}

static void recreated(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;
    struct dgf_redis_id from = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = facts->length ? dgf_redis_id_before(facts->first) : facts->last;
    memory->added = facts->added - facts->length;
    memory->added_known = true;
    memory->verified = memory->last;
    memory->n_marks = 0;
    stream->delivered = (struct dgf_redis_id){0};
    (void)dgf_redis_emit_gap(
        stream, DGF_GAP_STREAM_RECREATED, &from, epoch, memory->last, 0,
        "the stream was deleted and made again; what was added in between is unknown");
}

static void went_back(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_id from = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = memory->verified = stream->facts.last;
    memory->added = stream->facts.added;
    memory->added_known = true;
    (void)dgf_redis_emit_gap(stream, DGF_GAP_ID_REGRESSION, &from, epoch, memory->last,
                             0, "the ids of the stream went back");
}

static void branched(struct dgf_redis_stream *stream, struct dgf_redis_id common)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_id to = memory->last;
    uint32_t epoch = memory->epoch;

    begin_epoch(stream);
    memory->last = memory->verified = common;
    memory->added_known = false; /* until everything is read */
    while (memory->n_marks &&
           dgf_redis_id_cmp(memory->marks[memory->n_marks - 1].id, common) > 0)
        memory->n_marks--;
    stream->delivered = (struct dgf_redis_id){0};
    (void)dgf_redis_emit_divergence(
        stream, epoch, common, to,
        "entries that were judged are no longer in the stream: a failover or a restore "
        "lost them, and what came instead is judged now");
}

bool dgf_redis_act(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_verdict verdict;
    struct dgf_redis_id from = memory->last;

    if (!stream->has_facts)
        return !stream->source->failed;
    verdict = dgf_redis_judge(memory, &stream->facts);
    switch (verdict.change) {
    case DGF_REDIS_SAME:
        return true;
    case DGF_REDIS_TRIMMED:
        memory->last = memory->verified = verdict.to;
        memory->added += verdict.lost;
        (void)dgf_redis_emit_gap(stream, DGF_GAP_STREAM_TRIMMED, &from, memory->epoch,
                                 verdict.to, verdict.lost,
                                 "entries were trimmed before they were read");
        return !stream->source->failed;
    case DGF_REDIS_RECREATED:
        recreated(stream);
        stream->discard = stream->again = true;
        return false;
    default:
        stream->discard = stream->look = true;
        return false;
    }
}

/* At the newest entry the facts know: were there more than we saw? */
void dgf_redis_account(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;
    struct dgf_redis_id from = memory->verified, to = memory->last;
    uint64_t lost;

    if (!stream->has_facts || dgf_redis_id_cmp(memory->last, facts->last) != 0)
        return;
    lost = memory->added_known && facts->added > memory->added
               ? facts->added - memory->added
               : 0;
    if (memory->added_known && lost == 0 && facts->added == memory->added &&
        dgf_redis_id_cmp(memory->verified, memory->last) == 0)
        return;
    memory->added = facts->added;
    memory->added_known = true;
    memory->verified = memory->last;
    dgf_redis_touch(stream);
    if (lost == 0)
        return;
    if (dgf_redis_id_cmp(facts->max_deleted, from) > 0 &&
        dgf_redis_id_cmp(facts->max_deleted, to) < 0)
        to = facts->max_deleted;
    (void)dgf_redis_emit_gap(stream, DGF_GAP_STREAM_TRIMMED, &from, memory->epoch, to,
                             lost, "entries were deleted before they were read");
}

/* ---- comparing ---- */

static void compared(struct dgf_redis_stream *stream)
{
    struct dgf_redis_memory *memory = &stream->memory;
    bool whole = DGF_REDIS_CONF(stream->source)->mode == DGF_REDIS_CURSOR;
    struct dgf_redis_id common = {0};

    if (!stream->has_facts || stream->source->failed) {
        dgf_redis_done(stream, false);
        return;
    }
    switch (dgf_redis_compare(memory, &stream->facts, stream->present,
                              stream->n_present, whole, &common)) {
    case DGF_REDIS_PAST_KEPT:
        memory->added_known =
            memory->added_known && stream->facts.added >= memory->added;
        break;
    case DGF_REDIS_PAST_BRANCHED:
        branched(stream, common);
        break;
    default:
        if (memory->n_marks == 0 && stream->facts.added >= memory->added)
            went_back(stream);
        else
            recreated(stream);
    }
    if (!stream->source->failed)
        dgf_redis_done(stream, true);
}

static void on_present(struct dgf_redis_link *link,
                       const struct dgf_redis_command *command,
                       const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;
    struct dgf_redis_entry entry;
    const char *why;

    (void)link;
    if (item->depth == 1 && stream->n_present < LOOK_MAX &&
        dgf_redis_entry_read(item->bytes, item->cut, &entry, &why) == DGF_OK)
        stream->present[stream->n_present++] =
            (struct dgf_redis_mark){entry.id, dgf_redis_entry_hash(item->bytes)};
    else if (item->depth == 0 && dgf_redis_read_error(stream, item))
        stream->has_facts = false;
    if (item->last)
        compared(stream);
}

void dgf_redis_look(struct dgf_redis_stream *stream)
{
    struct dgf_redis_command command = {
        .on_item = on_present, .ctx = stream, .explode = 1};
    char from[DGF_REDIS_ID_TEXT], to[DGF_REDIS_ID_TEXT];

    if (!stream->present)
        stream->present = dgf_calloc(LOOK_MAX, sizeof(*stream->present));
    if (!stream->present) {
        dgf_redis_fail(stream->source, DGF_RETRY, "out of memory");
        return;
    }
    stream->n_present = 0;
    dgf_redis_id_text(stream->memory.n_marks ? stream->memory.marks[0].id
                                             : stream->memory.last,
                      from);
    dgf_redis_id_text(stream->memory.last, to);
    dgf_redis_ask_facts(stream);
    dgf_redis_stream_send(stream, command,
                          (struct dgf_bytes[]){DGF_BYTES("XRANGE"),
                                               dgf_bytes_str(stream->name),
                                               dgf_bytes_str(from), dgf_bytes_str(to),
                                               DGF_BYTES("COUNT"), DGF_BYTES("4096")},
                          6);
    dgf_redis_link_flush(&stream->node->data);
}

/* ---- entries ---- */

void dgf_redis_take(struct dgf_redis_stream *stream, const struct dgf_resp_item *item)
{
    struct dgf_redis_memory *memory = &stream->memory;
    struct dgf_redis_entry entry;
    const char *why = NULL;

    if (dgf_redis_entry_read(item->bytes, item->cut, &entry, &why)) {
        dgf_redis_fail(stream->source, DGF_RETRY,
                       "an entry of stream '%s' cannot be understood", stream->name);
        return;
    }
    if (entry.deleted || dgf_redis_id_cmp(entry.id, memory->last) <= 0)
        return;
    if (!dgf_redis_emit_entry(stream, &entry, item, NULL))
        return;
    memory->last = entry.id;
    memory->added++;
    if (item->n - item->index <= DGF_REDIS_MARKS)
        dgf_redis_memory_mark(memory, entry.id, item->bytes);
    else
        memory->n_marks = 0; /* marks have no holes */
    dgf_redis_touch(stream);
    dgf_redis_account(stream);
}

/* The newest entry we know comes first when it is still there.  False: the
 * facts must explain what is not yet explained. */
static bool continues(struct dgf_redis_stream *stream, const struct dgf_resp_item *item)
{
    struct dgf_redis_memory *memory = &stream->memory;
    const struct dgf_redis_facts *facts = &stream->facts;
    const struct dgf_redis_mark *newest =
        memory->n_marks ? &memory->marks[memory->n_marks - 1] : NULL;
    struct dgf_redis_id last = memory->last;
    struct dgf_redis_entry entry;
    const char *why;

    if (last.ms == 0 && last.seq == 0)
        return dgf_redis_act(stream);
    if (dgf_redis_entry_read(item->bytes, item->cut, &entry, &why))
        return true; /* dgf_redis_take says it */
    if (dgf_redis_id_cmp(entry.id, last) == 0) {
        if (newest && dgf_redis_id_cmp(newest->id, last) == 0 &&
            newest->hash != dgf_redis_entry_hash(item->bytes))
            stream->discard = stream->look = true;
        return !stream->discard && dgf_redis_act(stream);
    }
    if (!stream->has_facts) { /* made between the two commands */
        stream->discard = stream->again = true;
        return false;
    }
    if (!dgf_redis_act(stream))
        return false;
    if (facts->length && dgf_redis_id_cmp(facts->first, last) <= 0) {
        /* Only a deletion explains that this very entry is missing. */
        if (newest && dgf_redis_id_cmp(newest->id, last) == 0 &&
            dgf_redis_id_cmp(facts->max_deleted, last) < 0)
            stream->discard = stream->look = true;
    } else if (facts->length == 0 || dgf_redis_id_cmp(entry.id, facts->first) != 0) {
        stream->discard = stream->again = true; /* trimmed between the two commands */
    }
    return !stream->discard;
}

static void end_range(struct dgf_redis_stream *stream)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(stream->source);

    if (stream->source->failed)
        return;
    if (stream->look) {
        dgf_redis_look(stream);
        return;
    }
    if (stream->ahead)
        stream->ahead = false; /* the next read goes on by itself */
    else
        dgf_redis_done(stream, stream->n_items > (uint64_t)conf->count);
}

bool dgf_redis_may_go_ahead(const struct dgf_redis_stream *stream)
{
    const struct dgf_redis_source *self = stream->source;

    return !stream->ahead && !stream->discard && !self->failed && !stream->node->queue;
}

/* The server makes the next answer while we judge this one.  By the second entry
 * what the first one says of the past has been dealt with. */
static void go_ahead(struct dgf_redis_stream *stream, const struct dgf_redis_link *link,
                     const struct dgf_resp_item *item)
{
    const struct dgf_resp_item *last = dgf_redis_link_last(link);
    struct dgf_redis_entry entry;
    const char *why;

    if (!last || item->index == 0 || !dgf_redis_may_go_ahead(stream) ||
        last->n <= (uint64_t)DGF_REDIS_CONF(stream->source)->count ||
        dgf_redis_entry_read(last->bytes, last->cut, &entry, &why))
        return;
    stream->ahead = true;
    dgf_redis_ask_facts(stream);
    send_range(stream, entry.id);
    dgf_redis_link_flush(&stream->node->data);
}

static void on_range(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_stream *stream = command->ctx;

    if (item->depth == 0) { /* nothing, or an error */
        if (!dgf_redis_read_error(stream, item) && !stream->discard &&
            dgf_redis_act(stream))
            dgf_redis_account(stream);
    } else if (!stream->discard && !stream->source->failed) {
        stream->n_items++;
        go_ahead(stream, link, item);
        if (item->index > 0 || continues(stream, item))
            dgf_redis_take(stream, item);
        if (item->last && !stream->discard && !stream->source->failed)
            dgf_redis_account(stream);
    }
    if (item->last)
        end_range(stream);
}

static void send_range(struct dgf_redis_stream *stream, struct dgf_redis_id id)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(stream->source);
    struct dgf_redis_command command = {
        .on_item = on_range, .ctx = stream, .explode = 1};
    char from[DGF_REDIS_ID_TEXT], count[24];

    dgf_redis_id_text(id, from);
    (void)snprintf(count, sizeof(count), "%lld", (long long)conf->count + 1);
    dgf_redis_stream_send(
        stream, command,
        (struct dgf_bytes[]){DGF_BYTES("XRANGE"), dgf_bytes_str(stream->name),
                             dgf_bytes_str(from), DGF_BYTES("+"), DGF_BYTES("COUNT"),
                             dgf_bytes_str(count)},
        6);
}

static void begin_read(struct dgf_redis_stream *stream)
{
    if (DGF_REDIS_CONF(stream->source)->mode == DGF_REDIS_GROUP) {
        dgf_redis_group_read(stream);
        return;
    }
    dgf_redis_ask_facts(stream);
    if (stream->fresh)
        return; /* dgf_redis_first goes on */
    stream->phase = DGF_REDIS_PHASE_STREAM;
    send_range(stream, stream->memory.last);
}
