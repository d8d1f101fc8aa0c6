/* source_blob_gap.c - what the change feed no longer has.
 *
 * Retention removes hours, or somebody deletes from the container.  Whatever was there
 * to be read and is not any more is a gap: the hour or the chunk we were in the middle
 * of, an hour that was listed and is gone, and hours nobody ever saw while we were away
 * for longer than the service keeps them. */
#include <stdio.h>

#include "source_blob.h"

#define HOUR_NS INT64_C(3600000000000)
#define DAY_NS INT64_C(86400000000000)

int64_t dgf_blobs_read_to(const struct dgf_blob_memory *memory)
{
    return memory->done_ns > memory->consumed_ns ? memory->done_ns
                                                 : memory->consumed_ns;
}

static bool say(struct dgf_blobs_source *self, const struct dgf_blob_memory *at,
                const char *to, const char *message)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf from = {0};

    dgf_buf_init(&from, 1024);
    dgf_blob_position(at, &from);
    return dgf_blobs_emit_gap(self, DGF_GAP_RETENTION_EXCEEDED, dgf_buf_str(&from), to,
                              true, message, NULL, 0);
}

/* The hour that is listed at an index, or the one after an hour. */
static void name_next(const struct dgf_blobs_feed *reader, size_t at, int64_t after_ns,
                      char to[64])
{
    char name[16];

    dgf_blob_segment_name(after_ns + HOUR_NS, name);
    (void)snprintf(to, 64, "%s:0.0",
                   at < reader->n_hours ? reader->hours[at].name : name);
}

/* The hour is over, whatever of it was read. */
static void leave_hour(struct dgf_blobs_source *self, int64_t begin_ns)
{
    struct dgf_blob_memory *memory = &self->memory;

    memory->done_ns = begin_ns;
    memory->segment[0] = memory->chunk[0] = '\0';
    memory->shard = 0;
    memory->offset = memory->index = 0;
    self->dirty = true;
}

bool dgf_blobs_gap_reading(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    struct dgf_blob_memory was = self->memory;
    int64_t begin_ns = was.done_ns;
    char to[64];

    if (!was.segment[0] ||
        (reader->n_hours && strcmp(reader->hours[0].name, was.segment) <= 0))
        return true;
    (void)dgf_blob_segment_time(was.segment, &begin_ns);
    name_next(reader, 0, begin_ns, to);
    leave_hour(self, begin_ns);
    reader->kept = true; /* it reaches up to the first hour there is */
    return say(
        self, &was, to,
        "the change feed no longer has the hour we were reading; keep it longer, "
        "or let nobody delete from it");
}

bool dgf_blobs_gap_absence(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    const struct dgf_blob_memory *memory = &self->memory;
    char to[64];

    if (reader->kept || !memory->done_ns || !reader->n_hours ||
        reader->pass_ns - dgf_blobs_read_to(memory) < DAY_NS)
        return true;
    name_next(reader, 0, memory->done_ns, to);
    return say(self, memory, to,
               "hours of the change feed were removed before they were read: we were "
               "away for longer than it keeps them");
}

bool dgf_blobs_gap_hour(struct dgf_blobs_source *self)
{
    struct dgf_blobs_feed *reader = &self->reader;
    const struct dgf_blobs_hour *hour = &reader->hours[reader->at_hour];
    struct dgf_blob_memory was = self->memory;
    char to[64];

    name_next(reader, reader->at_hour + 1, hour->begin_ns, to);
    leave_hour(self, hour->begin_ns);
    return say(self, &was, to,
               "an hour of the change feed was removed before it was read; keep it "
               "longer, or let nobody delete from it");
}

bool dgf_blobs_gap_chunk(struct dgf_blobs_source *self, uint64_t end)
{
    static const char message[] =
        "a chunk of the change feed was removed before it was read to its end";
    struct dgf_blob_memory was = self->memory, behind = was;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf to = {0};
    char text[1024], *colon;

    behind.offset = end;
    behind.index = 0;
    dgf_buf_init(&to, sizeof(text) - 8);
    dgf_blob_position(&behind, &to);
    (void)snprintf(text, sizeof(text), "%s", dgf_buf_str(&to));
    colon = strrchr(text, ':');
    if (!end && colon) /* whoever calls leaves the chunk at once */
        memcpy(colon, ":end", sizeof(":end"));
    else
        self->memory = behind;
    self->dirty = true;
    return say(self, &was, text, message);
}
