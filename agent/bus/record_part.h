/* record_part.h - what the files of the record writer share; nobody else
 * includes it.
 *
 * A line is written into recorder->line: begin, the kind's own fields, end.
 * Fields are appended as text: `lit` for what is constant. */
#ifndef DGF_BUS_RECORD_PART_H
#define DGF_BUS_RECORD_PART_H

#include "bus/record_write.h"

#define lit(buf, text) dgf_buf_add(buf, text, sizeof(text) - 1)

/* Caps of what a record says beside evidence and message. */
#define DGF_NAME_MAX 1024
#define DGF_KEY_MAX 8192
#define DGF_POSITION_MAX 16384
#define DGF_TEXT_MAX 8192
#define DGF_FIX_MAX 4096
#define DGF_POLICY_MAX 16384 /* title and frameworks */

/* {"v":1,... up to and with "env"; keeps seq's place.  The record id comes from
 * `id`; NULL: the agent's own, made of log id and seq. */
struct dgf_line {
    struct dgf_record record; /* for the header */
    uint64_t seq;
};
void dgf_line_begin(struct dgf_recorder *recorder, struct dgf_line *line,
                    enum dgf_record_kind kind, const struct dgf_id *id,
                    int64_t time_ns);
/* Closes the object and hands it over. */
enum dgf_rc dgf_line_end(struct dgf_recorder *recorder, struct dgf_line *line)
    DGF_MUST_USE;
/* ,"policy_set":"..." */
void dgf_line_policy_set(struct dgf_recorder *recorder);

/* A JSON string; what is no UTF-8 becomes U+FFFD; cut so that at most max bytes
 * come out, and "...". */
void dgf_put_text(struct dgf_buf *buf, struct dgf_bytes text, size_t max);
/* The same of a name: what detectors find in it is masked. */
void dgf_put_name(struct dgf_buf *buf, struct dgf_bytes text, size_t max);
/* ,"field":"text" unless text is empty.  field is literal. */
void dgf_put_field(struct dgf_buf *buf, const char *field, struct dgf_bytes text,
                   size_t max);
/* The text of a section's field; empty when it is not there or no text. */
struct dgf_bytes dgf_event_text(const struct dgf_event *event, enum dgf_section section,
                                const char *name);

/* ,"event":{...} */
void dgf_line_event(struct dgf_recorder *recorder, const struct dgf_event *event);
/* ,"actor":{...} when the event has one. */
void dgf_line_actor(struct dgf_recorder *recorder, const struct dgf_event *event);
/* Keyed hash of (object, key) as text in recorder->key_text. */
struct dgf_bytes dgf_event_key_hash(struct dgf_recorder *recorder,
                                    const struct dgf_event *event);
/* Name of the object as records show it; lives until the next event. */
struct dgf_bytes dgf_event_subject(struct dgf_recorder *recorder,
                                   const struct dgf_event *event);
static inline struct dgf_bytes dgf_event_source_name(const struct dgf_event *event)
{
    return dgf_bytes_str(event->source ? event->source->name : NULL);
}

void dgf_event_heads_free(struct dgf_event_head *heads); /* NULL is fine */

/* Id of a record made from an event: type word, event id, policy id. */
struct dgf_id dgf_judgement_id(const char *type, const struct dgf_event *event,
                               const char *policy);

/* ---- lists too long for one line ---- */

struct dgf_piece {
    size_t at, len; /* in text: one item, without comma */
    uint32_t group; /* offset in text of the group's opening: "added":[ */
    uint32_t group_len;
};
struct dgf_pieces {
    struct dgf_buf text;
    struct dgf_piece *list;
    size_t n, cap;
    bool nomem;
};
void dgf_pieces_init(struct dgf_pieces *pieces);
void dgf_pieces_release(struct dgf_pieces *pieces);
/* Begins an item of the group: append to pieces->text, then add.  group is
 * where its opening stands. */
void dgf_pieces_add(struct dgf_pieces *pieces, uint32_t group, uint32_t group_len,
                    size_t at);
/* First piece that no longer fits with `from` in budget bytes. */
size_t dgf_pieces_fit(const struct dgf_pieces *pieces, size_t from, size_t budget);
/* "added":["a","b"],"removed":["c"] of pieces from..to; comma: one is due. */
void dgf_pieces_put(const struct dgf_pieces *pieces, size_t from, size_t to, bool comma,
                    struct dgf_buf *out);

#endif
