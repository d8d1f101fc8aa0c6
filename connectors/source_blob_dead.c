/* source_blob_dead.c - the container into which Event Grid puts what it could not
 * deliver to the queue: which hours of it are to be read, and how far it was.
 *
 * Nothing there is ever changed.  A pass walks the folders, a level at a time and none
 * that ends before the hours in question, to those of hours; source_blob_letter.c reads
 * what is in them.  Most passes look at the last hours only; every now and then one
 * goes back to the first hour in which a blob may still appear.  What is before that is
 * done with, which is what is remembered, with the names that were read since. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "azure_sign.h"
#include "base/clock.h"
#include "source_blob.h"

#define ROLE "Storage Blob Data Reader"
#define HOUR_NS INT64_C(3600000000000)
#define MINUTE_NS INT64_C(60000000000)
#define RECENT_NS (2 * HOUR_NS)     /* what every pass looks at */
#define WHOLE_NS (30 * MINUTE_NS)   /* between passes that look at all of it */
#define SPAN_NS (31 * 24 * HOUR_NS) /* a pass covers no more */
#define SKEW_NS (15 * MINUTE_NS)    /* of our clock when we began */
#define PACE_MAX_NS (5 * MINUTE_NS)
#define WARN_NS HOUR_NS
#define FOLDERS_MAX 50000 /* of a pass, hours too */
#define DEPTH_MAX 24
#define NAME_MAX_BYTES 1024

/* ---- a pass ---- */

static void drop_folders(struct dgf_blobs_dead *dead)
{
    for (size_t i = 0; i < dead->n_folders; i++)
        dgf_free(dead->folders[i]);
    for (size_t i = 0; i < dead->n_hours; i++)
        dgf_free(dead->hours[i].folder);
    dgf_free(dead->folder);
    dead->folder = NULL;
    dead->n_folders = dead->n_hours = dead->at_hour = 0;
}

static void end_pass(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    drop_folders(dead);
    dgf_blobs_letter_release(self);
    dead->passing = false;
    dead->caught_up = true; /* others are not waited for either */
}

void dgf_blobs_dead_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    end_pass(self);
    dgf_free(dead->folders);
    dgf_free(dead->hours);
    dgf_free(dead->letters);
    dgf_blob_seen_release(&dead->names);
    *dead = (struct dgf_blobs_dead){.n_judged = dead->n_judged};
}

void dgf_blobs_dead_trouble(struct dgf_blobs_source *self, const char *fmt, ...)
{
    struct dgf_blobs_dead *dead = &self->dead;
    int64_t poll = DGF_BLOB_CONF(self)->feed_poll_ns;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(dead->trouble, sizeof(dead->trouble), fmt, ap);
    va_end(ap);
    end_pass(self);
    dead->pace_ns = dead->pace_ns ? 2 * dead->pace_ns : poll;
    if (dead->pace_ns > PACE_MAX_NS)
        dead->pace_ns = PACE_MAX_NS;
    dead->again_ns =
        dgf_clock_mono_ns() + (dead->pace_ns > poll ? dead->pace_ns : poll);
    dgf_blobs_say_impaired(self);
    dgf_blobs_pump(self);
}

void dgf_blobs_dead_refused(struct dgf_blobs_source *self,
                            const struct dgf_azure_answer *answer, const char *doing)
{
    const char *name = DGF_BLOB_CONF(self)->dead_letters;

    if (answer->is == DGF_AZURE_MISSING || answer->is == DGF_AZURE_NO_PARENT)
        dgf_blobs_dead_trouble(
            self,
            "container '%s' of dead letters does not exist; make it, "
            "or take dead_letters out of the configuration",
            name);
    else if (answer->is == DGF_AZURE_DENIED)
        dgf_blobs_dead_trouble(
            self, "%s: %s; it needs the role '" ROLE "', a key or a SAS that allows it",
            doing, answer->text);
    else
        dgf_blobs_dead_trouble(self, "%s: %s", doing, answer->text);
}

/* Hours before this were read; those that may still get a blob are looked at again. */
static void reached(struct dgf_blobs_source *self, int64_t ns)
{
    struct dgf_blobs_dead *dead = &self->dead;
    int64_t settled = dgf_blob_letter_settled(ns, dead->now_ns);

    if (!dead->whole || settled <= dead->memory.from_ns)
        return;
    dead->memory.from_ns = settled;
    dgf_blob_seen_forget(&dead->names,
                         (uint32_t)(settled / MINUTE_NS) + DGF_BLOB_SEEN_MINUTES);
    dead->dirty = self->dirty = true;
}

static void pass_done(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    int64_t now = dgf_clock_mono_ns();
    bool news = !dead->caught_up || dead->trouble[0] ||
                (dead->whole && dead->others != dead->n_others);

    reached(self, dead->to_ns);
    if (dead->whole)
        dead->whole_ns = dead->to_ns < dead->now_ns ? 0 : now + WHOLE_NS;
    dead->again_ns = dead->whole_ns ? now + DGF_BLOB_CONF(self)->feed_poll_ns : 0;
    dead->pace_ns = 0;
    dead->trouble[0] = '\0';
    if (dead->whole)
        dead->others = dead->n_others;
    if (dead->warning[0] && now - dead->found_ns > WARN_NS) {
        dead->warning[0] = '\0';
        news = true;
    }
    end_pass(self);
    if (news)
        dgf_blobs_say_state(self);
}

void dgf_blobs_dead_hour_done(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    dead->at_hour++;
    if (dead->at_hour < dead->n_hours)
        reached(self, dead->hours[dead->at_hour].begin_ns);
}

/* ---- the walk to the hours ---- */

static bool grow(void **list, size_t *cap, size_t n, size_t size)
{
    size_t more = *cap ? 2 * *cap : 64;
    void *grown;

    if (n < *cap)
        return true;
    grown = dgf_realloc(*list, more * size);
    if (!grown)
        return false;
    *list = grown;
    *cap = more;
    return true;
}

static bool push_folder(struct dgf_blobs_dead *dead, struct dgf_bytes name)
{
    char *copy;

    if (!grow((void **)&dead->folders, &dead->cap_folders, dead->n_folders,
              sizeof(*dead->folders)))
        return false;
    copy = dgf_strndup((const char *)name.ptr, name.len);
    if (!copy)
        return false;
    dead->folders[dead->n_folders++] = copy;
    return true;
}

static bool push_hour(struct dgf_blobs_dead *dead, struct dgf_bytes name, int64_t begin)
{
    char *copy;

    if (!grow((void **)&dead->hours, &dead->cap_hours, dead->n_hours,
              sizeof(*dead->hours)))
        return false;
    copy = dgf_strndup((const char *)name.ptr, name.len);
    if (!copy)
        return false;
    dead->hours[dead->n_hours++] =
        (struct dgf_blobs_letter_hour){.folder = copy, .begin_ns = begin};
    return true;
}

static size_t depth_of(struct dgf_bytes name)
{
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++)
        n += name.ptr[i] == '/';
    return n;
}

static bool take_folder(struct dgf_blobs_list *list)
{
    struct dgf_blobs_dead *dead = &list->source->dead;
    struct dgf_bytes name = dgf_buf_bytes(&list->name);
    int64_t begin = 0, end = 0;
    enum dgf_blob_letter_folder is;

    if (!list->is_folder || name.len == 0 || name.len > NAME_MAX_BYTES ||
        memchr(name.ptr, 0, name.len) || depth_of(name) > DEPTH_MAX) {
        dead->n_others++;
        return true;
    }
    if (dead->n_folders + dead->n_hours >= FOLDERS_MAX)
        return false;
    is = dgf_blob_letter_folder(name, &begin, &end);
    if (is != DGF_BLOB_FOLDER_ABOVE && (end <= dead->from_ns || begin >= dead->to_ns))
        return true;
    return is == DGF_BLOB_FOLDER_HOUR ? push_hour(dead, name, begin)
                                      : push_folder(dead, name);
}

/* By the server's clock: it is the one that names the hours. */
static void set_times(struct dgf_blobs_dead *dead,
                      const struct dgf_azure_answer *answer)
{
    int64_t now;

    if (!dgf_azure_date_parse(dgf_azure_answer_header(answer, "date"), &now))
        now = dgf_clock_ns();
    dead->now_ns = now;
    dead->from_ns = dead->memory.from_ns;
    if (!dead->whole && dgf_blob_letter_hour(now - RECENT_NS) > dead->from_ns)
        dead->from_ns = dgf_blob_letter_hour(now - RECENT_NS);
    dead->to_ns = dgf_blob_letter_hour(dead->from_ns + SPAN_NS);
}

static void on_folders(void *ctx, const struct dgf_azure_answer *answer);

static void ask_folders(struct dgf_blobs_source *self)
{
    char container[80];

    (void)snprintf(container, sizeof(container), "/%.63s",
                   DGF_BLOB_CONF(self)->dead_letters);
    self->dead.asking = dgf_blobs_list_ask(self, container, self->dead.folder, true,
                                           self->dead.marker, on_folders);
}

static void on_folders(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_dead *dead = &self->dead;
    struct dgf_blobs_list list = {.source = self, .take = take_folder};
    struct dgf_err err = {0};

    dead->asking = false;
    if (answer->is != DGF_AZURE_DONE) {
        dgf_blobs_dead_refused(self, answer, "cannot list the dead letters");
        return;
    }
    if (dead->now_ns == 0)
        set_times(dead, answer);
    if (dgf_blobs_list_read(answer->body, &list, dead->marker, &err)) {
        dgf_blobs_dead_trouble(self, "cannot list the dead letters: %s", err.text);
        return;
    }
    if (dead->marker[0]) {
        ask_folders(self);
        return;
    }
    dgf_free(dead->folder);
    dead->folder = NULL;
    dgf_blobs_pump(self);
}

static int compare_hours(const void *a, const void *b)
{
    const struct dgf_blobs_letter_hour *x = a, *y = b;

    return x->begin_ns < y->begin_ns   ? -1
           : x->begin_ns > y->begin_ns ? 1
                                       : strcmp(x->folder, y->folder);
}

static void walk(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;

    if (dead->n_folders) {
        dead->folder = dead->folders[--dead->n_folders];
        dead->marker[0] = '\0';
        ask_folders(self);
        return;
    }
    if (dead->n_hours)
        qsort(dead->hours, dead->n_hours, sizeof(*dead->hours), compare_hours);
    dead->walked = true;
}

static void begin_pass(struct dgf_blobs_source *self, int64_t now_ns)
{
    struct dgf_blobs_dead *dead = &self->dead;

    dead->passing = true;
    dead->walked = false;
    dead->whole = now_ns >= dead->whole_ns;
    dead->now_ns = 0;
    dead->n_others = 0;
    if (!push_folder(dead, DGF_BYTES("")))
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
}

void dgf_blobs_dead_pump(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    int64_t now = dgf_clock_mono_ns();

    if (!dead->passing && now < dead->again_ns)
        return;
    if (!dead->passing)
        begin_pass(self, now);
    while (!dead->asking && !self->failed && dead->passing) {
        if (!dead->walked)
            walk(self);
        else if (dead->at_hour == dead->n_hours)
            pass_done(self);
        else if (!dgf_blobs_letter_pump(self))
            return;
    }
}

/* ---- what is remembered ---- */

static enum dgf_rc load_names(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    char key[48];

    for (uint64_t at = dead->memory.first_bucket; at < dead->memory.end_bucket; at++) {
        enum dgf_rc rc;

        dgf_buf_clear(&self->scratch2);
        (void)snprintf(key, sizeof(key), "dead/%u",
                       (unsigned)(at % DGF_BLOB_LETTER_NAMES_MAX));
        rc = dgf_source_get_state(&self->base, dgf_bytes_str(key), &self->scratch2);
        if (!rc)
            rc = dgf_blob_seen_load(&dead->names, at, dgf_buf_bytes(&self->scratch2));
        if (rc)
            return rc == DGF_NOMEM ? rc : DGF_FATAL;
    }
    return DGF_OK;
}

/* What is there since we cover the account is ours to judge, also when the container
 * is told to us only now. */
static void begin_anew(struct dgf_blobs_source *self, const char *where)
{
    struct dgf_blobs_dead *dead = &self->dead;
    int64_t from = dgf_blob_letter_hour(self->memory.since_ns - SKEW_NS);

    dead->memory = (struct dgf_blob_letters){.from_ns = from > 0 ? from : 0};
    (void)snprintf(dead->memory.where, sizeof(dead->memory.where), "%s", where);
    dead->dirty = self->dirty = true;
}

enum dgf_rc dgf_blobs_dead_start(struct dgf_blobs_source *self, struct dgf_err *err)
{
    struct dgf_blobs_dead *dead = &self->dead;
    char where[sizeof(dead->memory.where)];
    enum dgf_rc rc;

    dead->on = DGF_BLOB_CONF(self)->dead_letters != NULL;
    if (!dead->on)
        return DGF_OK;
    dgf_blob_seen_init(&dead->names, DGF_BLOB_LETTER_NAMES_MAX);
    (void)snprintf(where, sizeof(where), "%s/%.63s", self->account,
                   DGF_BLOB_CONF(self)->dead_letters);
    dgf_buf_clear(&self->scratch2);
    rc = dgf_source_get_state(&self->base, DGF_BYTES("dead"), &self->scratch2);
    if (!rc)
        rc = dgf_blob_letters_get(dgf_buf_bytes(&self->scratch2), &dead->memory);
    if (rc == DGF_AGAIN || (!rc && strcmp(dead->memory.where, where) != 0)) {
        begin_anew(self, where);
        return DGF_OK;
    }
    if (!rc)
        rc = load_names(self);
    if (rc)
        return dgf_err_set(err, rc == DGF_NOMEM ? DGF_RETRY : DGF_FATAL,
                           "what is remembered of dead letters cannot be read");
    return DGF_OK;
}

bool dgf_blobs_dead_settle(struct dgf_blobs_source *self)
{
    struct dgf_blobs_dead *dead = &self->dead;
    uint64_t at = 0, number;
    enum dgf_rc rc = DGF_OK;
    char key[48];

    if (!dead->on || !dead->dirty)
        return true;
    dead->dirty = false;
    dgf_buf_clear(&self->scratch2);
    while (!rc && dgf_blob_seen_changed(&dead->names, &at, &number, &self->scratch2)) {
        (void)snprintf(key, sizeof(key), "dead/%u",
                       (unsigned)(number % DGF_BLOB_LETTER_NAMES_MAX));
        rc = dgf_buf_rc(&self->scratch2);
        if (!rc)
            rc = dgf_source_put_state(&self->base, dgf_bytes_str(key),
                                      dgf_buf_bytes(&self->scratch2));
        dgf_buf_clear(&self->scratch2);
    }
    dead->memory.first_bucket = dead->names.first;
    dead->memory.end_bucket = dead->names.end;
    dgf_blob_letters_put(&dead->memory, &self->scratch2);
    if (!rc)
        rc = dgf_buf_rc(&self->scratch2);
    if (!rc)
        rc = dgf_source_put_state(&self->base, DGF_BYTES("dead"),
                                  dgf_buf_bytes(&self->scratch2));
    if (rc)
        dgf_blobs_fail(self, DGF_FATAL, "cannot remember which dead letters were read");
    return rc == DGF_OK;
}
