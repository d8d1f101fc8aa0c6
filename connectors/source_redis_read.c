#include <stdio.h>

#include "source_redis.h"

/* One read = XINFO STREAM and, right behind it, the entries from the newest one
 * we know.  That one comes again when nothing was trimmed past it; when it does
 * not, the facts say why before anything later is emitted. */

static void send_range(struct dgf_redis_stream *stream, struct dgf_redis_id id);

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

/* Nothing is remembered: where it begins, and what that says of the past. */
static void begin(struct dgf_redis_stream *stream)
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
        begin(stream);
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

/* ---- entries ---- */

/* Takes one entry that was read in order. */
static void take(struct dgf_redis_stream *stream, const struct dgf_resp_item *item)
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
        return true; /* take says it */
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
            take(stream, item);
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

void dgf_redis_read(struct dgf_redis_stream *stream)
{
    if (DGF_REDIS_CONF(stream->source)->mode == DGF_REDIS_GROUP) {
        dgf_redis_group_read(stream);
        return;
    }
    dgf_redis_ask_facts(stream);
    if (stream->fresh)
        return; /* on_facts goes on */
    stream->phase = DGF_REDIS_PHASE_STREAM;
    send_range(stream, stream->memory.last);
}
