/* source_blob_letter.c - the blobs of one hour of the dead-letter container, one after
 * the other, and the events in them.
 *
 * Each element goes the way an event of the queue goes, as fast as there is room for
 * items; a blob is remembered by its name, in the batch of what was judged last of it.
 * What cannot be read is recorded once and never holds up the others. */
#include <stdio.h>

#include "base/clock.h"
#include "blob_notice.h"
#include "source_blob.h"

#define LETTER_MAX_BYTES ((uint64_t)8 << 20)
#define ELEMENTS_MAX 20000 /* 8 MiB of the smallest events */
#define MAPS_MAX_BYTES ((size_t)1 << 20)
#define LETTERS_MAX 10000 /* of a page; the service gives 5,000 */
#define NAME_MAX_BYTES 1024

static void drop_letters(struct dgf_blobs_dead *dead)
{
    for (size_t i = 0; i < dead->n_letters; i++)
        dgf_free(dead->letters[i].name);
    dead->n_letters = dead->at_letter = 0;
    dead->listed = false;
}

void dgf_blobs_letter_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    drop_letters(dead);
    dgf_buf_release(&dead->body);
    dgf_buf_release(&dead->maps);
    dead->taking = false;
}

static struct dgf_blobs_letter *letter_at(struct dgf_blobs_dead *dead)
{
    return &dead->letters[dead->at_letter];
}

static struct dgf_id name_id(const struct dgf_blobs_source *self, const char *name)
{
    return dgf_blobs_id(self, "letter", dgf_bytes_str(name), DGF_BYTES("of"),
                        dgf_bytes_str(DGF_BLOB_CONF(self)->dead_letters));
}

/* ---- items ---- */

static void push(struct dgf_blobs_source *self, struct dgf_blobs_item *item)
{
    if (!item)
        return;
    item->letter = letter_at(&self->dead)->name;
    dgf_blobs_look_want(self, item);
    dgf_blobs_push(self, item);
}

static void push_undecodable(struct dgf_blobs_source *self, const char *what,
                             const char *why, struct dgf_bytes bytes, uint64_t size)
{
    struct dgf_blobs_item *item = dgf_blobs_item_new(self, DGF_BLOB_ITEM_UNDECODABLE);

    if (!item)
        return;
    item->what = what;
    (void)snprintf(item->why, sizeof(item->why), "%s", why);
    item->size = size;
    dgf_sha256(bytes, item->hash);
    push(self, item);
}

/* The blob is read; once everything of it is judged, it is remembered. */
static void push_end(struct dgf_blobs_source *self)
{
    self->dead.taken = true;
    push(self, dgf_blobs_item_new(self, DGF_BLOB_ITEM_LETTER));
}

static void begin_taking(struct dgf_blobs_dead *dead)
{
    dead->taking = true;
    dead->taken = dead->in_list = false;
    dead->n_elements = 0;
    dead->rest = dgf_buf_bytes(&dead->body);
}

/* One word of Event Grid's, such as MaxDeliveryAttemptsExceeded. */
static void reason_of(struct dgf_bytes record, char ret[48])
{
    static const char *const names[] = {"deadLetterReason", "deadletterreason"};
    struct dgf_bytes value;
    struct dgf_mp_token token = {.n = 0};

    (void)snprintf(ret, 48, "no reason told");
    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++) {
        struct dgf_mp mp;

        if (dgf_mp_find(record, dgf_bytes_str(names[i]), &value))
            continue;
        mp = dgf_mp_of(value);
        if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR ||
            token.bytes.len == 0 || token.bytes.len >= 48)
            continue;
        for (size_t k = 0; k < token.bytes.len; k++)
            if ((token.bytes.ptr[k] | 0x20) < 'a' || (token.bytes.ptr[k] | 0x20) > 'z')
                return;
        (void)snprintf(ret, 48, "%.*s", (int)token.bytes.len,
                       (const char *)token.bytes.ptr);
        return;
    }
}

/* Deliveries fail: whoever runs the account should know before Event Grid also gives
 * up on this container. */
static void note_found(struct dgf_blobs_source *self, struct dgf_bytes record)
{
    struct dgf_blobs_dead *dead = &self->dead;
    char reason[48];

    dead->found_ns = dgf_clock_mono_ns();
    if (dead->warning[0])
        return;
    reason_of(record, reason);
    (void)snprintf(dead->warning, sizeof(dead->warning),
                   "Event Grid gave up on deliveries to the queue (%s): what it put "
                   "into container '%.63s' is judged, hours late; find out why they "
                   "fail",
                   reason, DGF_BLOB_CONF(self)->dead_letters);
    dgf_blobs_say_impaired(self);
}

static void take_element(struct dgf_blobs_source *self, struct dgf_bytes text)
{
    struct dgf_blobs_dead *dead = &self->dead;
    struct dgf_blobs_item *item;
    const char *why = "it is no object";
    size_t n = 0;

    dgf_buf_clear(&dead->maps);
    if (text.ptr[0] != '{' || dgf_blob_notice_read(text, &dead->maps, &n, &why) ||
        n != 1) {
        push_undecodable(self, "event", why, text, text.len);
        return;
    }
    item = dgf_blobs_item_of(self, dgf_buf_bytes(&dead->maps));
    if (item && item->kind == DGF_BLOB_ITEM_CHANGE)
        note_found(self, dgf_buf_bytes(&dead->maps));
    push(self, item);
}

/* As many elements as there is room for. */
static void take_more(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    while (!dead->taken && !self->failed && self->n_items < DGF_BLOB_ITEMS_MAX / 2) {
        struct dgf_bytes one;
        enum dgf_rc rc = dgf_blob_letter_next(&dead->rest, &dead->in_list, &one);

        if (rc == DGF_OK && dead->n_elements < ELEMENTS_MAX) {
            dead->n_elements++;
            take_element(self, one);
            continue;
        }
        if (rc == DGF_OK)
            push_undecodable(self, "dead letter", "it holds more than 20,000 events",
                             dead->rest, dead->rest.len);
        else if (rc == DGF_BAD_DATA)
            push_undecodable(self, "dead letter",
                             dead->n_elements ? "its end is no list of events"
                                              : "it is no list of events",
                             dead->rest, dead->rest.len);
        else if (dead->n_elements == 0)
            dgf_blobs_count(self, "empty", 1);
        push_end(self);
    }
}

bool dgf_blobs_letter_judged(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    struct dgf_id id = name_id(self, letter_at(dead)->name);
    uint32_t minute = (uint32_t)(dead->hours[dead->at_hour].begin_ns / 60000000000);

    if (!dgf_blob_seen_put(&dead->names, &id, minute, DGF_BLOB_SETTLED)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    dead->dirty = self->dirty = true;
    dead->taking = false;
    dead->at_letter++;
    dgf_buf_release(&dead->body);
    return dgf_blobs_emit_progress(self, false);
}

/* ---- reading ---- */

/* It is there and cannot be had: archived, or with a key of the customer's. */
static void refused(struct dgf_blobs_source *self,
                    const struct dgf_azure_answer *answer)
{
    char why[160];

    if (answer->is == DGF_AZURE_MISSING)
        (void)snprintf(why, sizeof(why), "it was removed before it could be read");
    else
        (void)snprintf(why, sizeof(why), "it cannot be read: %d %.60s", answer->status,
                       answer->code ? answer->code : "");
    begin_taking(&self->dead);
    push_undecodable(self, "dead letter", why, DGF_BYTES(""),
                     letter_at(&self->dead)->size);
    push_end(self);
}

static void too_large(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    begin_taking(dead);
    push_undecodable(self, "dead letter",
                     "it is larger than 8 MiB; its hash is of the first 8 MiB",
                     dgf_buf_bytes(&dead->body), letter_at(dead)->size);
    push_end(self);
}

static void on_letter(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_dead *dead = &self->dead;

    dead->asking = false;
    if (answer->is == DGF_AZURE_NO_PARENT || answer->is == DGF_AZURE_DENIED ||
        answer->is == DGF_AZURE_BUSY || answer->is == DGF_AZURE_UNREACHABLE) {
        dgf_blobs_dead_refused(self, answer, "cannot read a dead letter");
        return;
    }
    if (answer->is == DGF_AZURE_DONE) {
        dgf_buf_init(&dead->body, LETTER_MAX_BYTES);
        dgf_buf_init(&dead->maps, MAPS_MAX_BYTES);
        dgf_buf_add_bytes(&dead->body, answer->body);
        if (dgf_buf_rc(&dead->body))
            dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        else if (letter_at(dead)->size > LETTER_MAX_BYTES)
            too_large(self);
        else
            begin_taking(dead);
    } else {
        refused(self, answer);
    }
    dgf_blobs_pump(self);
}

static void ask_letter(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    const struct dgf_blobs_letter *letter = letter_at(dead);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf path = {0};
    char range[64];
    const char *headers[] = {range, NULL};
    struct dgf_azure_ask ask = {.method = "GET",
                                .headers = letter->size ? headers : NULL,
                                .max_body = LETTER_MAX_BYTES,
                                .done = on_letter,
                                .ctx = self};

    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=0-%llu",
                   (unsigned long long)LETTER_MAX_BYTES - 1);
    dgf_buf_init(&path, NAME_MAX_BYTES + 128);
    dgf_buf_addf(&path, "/%.63s/%s", DGF_BLOB_CONF(self)->dead_letters, letter->name);
    ask.path = dgf_buf_str(&path);
    if (dgf_buf_rc(&path))
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
    else
        dead->asking = dgf_blobs_ask(self, self->blob_rest, &ask);
}

/* ---- names ---- */

static bool take_letter(struct dgf_blobs_list *list)
{
    struct dgf_blobs_dead *dead = &list->source->dead;
    struct dgf_bytes name = dgf_buf_bytes(&list->name);

    if (name.len == 0 || name.len > NAME_MAX_BYTES || memchr(name.ptr, 0, name.len) ||
        dead->n_letters == LETTERS_MAX)
        return false;
    if (dead->n_letters == dead->cap_letters) {
        size_t cap = dead->cap_letters ? 2 * dead->cap_letters : 64;
        struct dgf_blobs_letter *letters =
            dgf_realloc(dead->letters, cap * sizeof(*letters));

        if (!letters)
            return false;
        dead->letters = letters;
        dead->cap_letters = cap;
    }
    dead->letters[dead->n_letters].name = dgf_strndup((const char *)name.ptr, name.len);
    dead->letters[dead->n_letters].size = list->size;
    return dead->letters[dead->n_letters].name && ++dead->n_letters;
}

static void on_letters(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_dead *dead = &self->dead;
    struct dgf_blobs_list list = {.source = self, .take = take_letter};
    struct dgf_err err = {0};

    dead->asking = false;
    if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_dead_refused(self, answer, "cannot list the dead letters of an hour");
        return;
    }
    if (dgf_blobs_list_read(answer->body, &list, dead->marker, &err)) {
        dgf_blobs_dead_trouble(self, "cannot list the dead letters of an hour: %s",
                               err.text);
        return;
    }
    dead->listed = true;
    dgf_blobs_pump(self);
}

static void ask_page(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    char container[80];

    drop_letters(dead);
    (void)snprintf(container, sizeof(container), "/%.63s",
                   DGF_BLOB_CONF(self)->dead_letters);
    dead->asking =
        dgf_blobs_list_ask(self, container, dead->hours[dead->at_hour].folder, false,
                           dead->marker, on_letters);
}

bool dgf_blobs_letter_pump(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    if (dead->taking) {
        take_more(self);
        return false;
    }
    if (!dead->listed) {
        dead->marker[0] = '\0';
        ask_page(self);
        return true;
    }
    for (; dead->at_letter < dead->n_letters; dead->at_letter++) {
        struct dgf_id id = name_id(self, letter_at(dead)->name);

        if (dgf_blob_seen_get(&dead->names, &id))
            continue; /* read before */
        ask_letter(self);
        return true;
    }
    if (dead->marker[0]) {
        ask_page(self);
        return true;
    }
    drop_letters(dead);
    dgf_blobs_dead_hour_done(self);
    return true;
}
