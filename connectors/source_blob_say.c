/* source_blob_say.c - what is said of the source and of its ways: that one reads, that
 * it failed and when it is asked again, and when the source as a whole fails. */
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_blob.h"

#define PACE_MIN_NS INT64_C(1000000000)
#define PACE_MAX_NS INT64_C(30000000000)
#define PACE_CONFIG_NS INT64_C(30000000000)

/* A server's words; one line of text. */
static void clean(char *text)
{
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            *at = '?';
}

void dgf_blobs_fail(struct dgf_blobs_source *self, enum dgf_rc rc, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failed)
        return;
    self->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    clean(text);
    dgf_source_fail(&self->base, rc, "%s", text);
}

void dgf_blobs_say_impaired(struct dgf_blobs_source *self)
{
    const char *texts[] = {self->queue.trouble,   self->feed.trouble,
                           self->warning,         self->look_trouble,
                           self->inspect_trouble, self->dead.trouble,
                           self->dead.warning};
    char text[DGF_ERR_TEXT_MAX];
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < DGF_ARRAY_LEN(texts); i++)
        if (texts[i][0] && n < sizeof(text))
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "; " : "",
                                  texts[i]);
    clean(text);
    dgf_source_impaired(&self->base, "%s", text);
}

void dgf_blobs_say_state(struct dgf_blobs_source *self)
{
    const struct dgf_blobs_conf *conf = DGF_BLOB_CONF(self);
    DGF_RELEASE(dgf_buf_release) struct dgf_buf at = {0};
    char undecodable[300] = "", letters[200] = "";

    if (self->failed || (!self->queue.fine && !self->feed.fine &&
                         (!self->dead.caught_up || self->dead.trouble[0])))
        return;
    dgf_buf_init(&at, 256);
    if (self->memory.consumed_ns > self->memory.done_ns)
        dgf_format_time(&at, self->memory.consumed_ns);
    else if (self->memory.done_ns)
        dgf_format_time(&at, self->memory.done_ns);
    if (self->n_undecodable)
        (void)snprintf(undecodable, sizeof(undecodable),
                       "; %llu undecodable, the last: %s",
                       (unsigned long long)self->n_undecodable, self->last_undecodable);
    if (self->dead.on)
        (void)snprintf(letters, sizeof(letters), ", dead letters %.63s: %llu judged%s",
                       conf->dead_letters, (unsigned long long)self->dead.n_judged,
                       self->dead.others ? "; it holds other blobs, which are not"
                                         : "");
    dgf_source_state(&self->base, DGF_STATE_STREAMING, "%s%s%s%s%s%s%s",
                     self->queue.on ? "queue " : "",
                     self->queue.on ? self->queue_name : "",
                     self->queue.on && self->feed.on ? ", " : "",
                     self->feed.on ? "change feed to " : "",
                     !self->feed.on ? ""
                     : at.len       ? dgf_buf_str(&at)
                                    : "its beginning",
                     letters, undecodable);
    dgf_blobs_say_impaired(self);
}

void dgf_blobs_fine(struct dgf_blobs_source *self, struct dgf_blobs_way *way)
{
    bool news = !way->fine || way->trouble[0];

    way->fine = true;
    way->pace_ns = 0;
    way->trouble[0] = '\0';
    if (news)
        dgf_blobs_say_state(self);
}

/* There is another way to read on.  With a queue that is gone dead letters are it. */
static bool is_left(const struct dgf_blobs_source *self,
                    const struct dgf_blobs_way *other)
{
    if (other->on && (!other->trouble[0] || other->fine))
        return true;
    return other == &self->feed && self->dead.on && !self->dead.trouble[0];
}

void dgf_blobs_trouble(struct dgf_blobs_source *self, struct dgf_blobs_way *way,
                       enum dgf_rc rc, const char *fmt, ...)
{
    struct dgf_blobs_way *other = way == &self->queue ? &self->feed : &self->queue;
    char text[sizeof(way->trouble)];
    va_list ap;

    if (self->failed)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    clean(text);
    way->fine = false;
    if (rc == DGF_NOMEM || rc == DGF_FATAL || !is_left(self, other)) {
        dgf_blobs_fail(self, rc == DGF_BAD_DATA ? DGF_RETRY : rc, "%s%s%s%s%s", text,
                       other->on && other->trouble[0] ? "; " : "",
                       other->on ? other->trouble : "",
                       self->dead.trouble[0] ? "; " : "", self->dead.trouble);
        return;
    }
    way->pace_ns = way->pace_ns ? 2 * way->pace_ns : PACE_MIN_NS;
    if (way->pace_ns > PACE_MAX_NS)
        way->pace_ns = PACE_MAX_NS;
    way->again_ns =
        dgf_clock_mono_ns() + (rc == DGF_BAD_CONFIG ? PACE_CONFIG_NS : way->pace_ns);
    memcpy(way->trouble, text, sizeof(text));
    dgf_blobs_say_impaired(self);
}

void dgf_blobs_refused(struct dgf_blobs_source *self, struct dgf_blobs_way *way,
                       const struct dgf_azure_answer *answer, const char *doing,
                       const char *missing, const char *role)
{
    if (missing &&
        (answer->is == DGF_AZURE_MISSING || answer->is == DGF_AZURE_NO_PARENT))
        dgf_blobs_trouble(self, way, DGF_BAD_CONFIG, "%s: %s", doing, missing);
    else if (answer->is == DGF_AZURE_DENIED)
        dgf_blobs_trouble(
            self, way, DGF_BAD_CONFIG,
            "%s: %s; it needs the role '%s', a key or a SAS that allows it, "
            "and a clock that is right",
            doing, answer->text, role);
    else
        dgf_blobs_trouble(self, way, answer->rc ? answer->rc : DGF_RETRY, "%s: %s",
                          doing, answer->text);
}
