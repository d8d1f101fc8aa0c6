/* Records of what a source said about itself: gap, divergence, undecodable,
 * resume.  Their texts stand in the EXTRA section. */
#include "base/json.h"
#include "bus/record_part.h"

static void put_extra(struct dgf_recorder *recorder, const struct dgf_event *event,
                      const char *name, size_t max)
{
    dgf_put_field(&recorder->line, name, dgf_event_text(event, DGF_SECTION_EXTRA, name),
                  max);
}

/* ,"detail":{...}: a map of texts; empty ones stay, they were looked for. */
/* Names of details are ours; a recording from elsewhere may hold anything. */
static bool is_word(struct dgf_bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!(name.ptr[i] >= 'a' && name.ptr[i] <= 'z') && name.ptr[i] != '_')
            return false;
    return name.len > 0;
}

static void put_detail(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    struct dgf_mp mp =
        dgf_mp_of(dgf_event_field(event, DGF_SECTION_EXTRA, DGF_BYTES("detail")));
    struct dgf_buf *buf = &recorder->line;
    struct dgf_mp_token head, name, text;
    size_t at = buf->len;

    if (mp.ptr == mp.end || dgf_mp_next(&mp, &head) || head.kind != DGF_MP_MAP ||
        head.n == 0)
        return;
    lit(buf, ",\"detail\":{");
    for (uint32_t i = 0; i < head.n; i++) {
        if (dgf_mp_next(&mp, &name) || dgf_mp_next(&mp, &text) ||
            name.kind != DGF_MP_STR || !is_word(name.bytes) ||
            text.kind != DGF_MP_STR || buf->len - at > DGF_TEXT_MAX)
            break;
        if (i > 0)
            lit(buf, ",");
        dgf_put_name(buf, name.bytes, DGF_NAME_MAX);
        lit(buf, ":");
        dgf_put_name(buf, text.bytes, DGF_NAME_MAX);
    }
    lit(buf, "}");
}

static void put_gap(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    put_extra(recorder, event, "reason", DGF_NAME_MAX);
    put_extra(recorder, event, "from", DGF_POSITION_MAX);
    put_extra(recorder, event, "to", DGF_POSITION_MAX);
    put_detail(recorder, event);
    put_extra(recorder, event, "message", DGF_TEXT_MAX / 2);
}

static void put_position(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    if (event->position.len == 0 || !event->source ||
        !event->source->type->position_text)
        return;
    dgf_buf_clear(&recorder->scratch);
    event->source->type->position_text(event->position, &recorder->scratch);
    dgf_put_field(&recorder->line, "position", dgf_buf_bytes(&recorder->scratch),
                  DGF_POSITION_MAX);
}

static void put_undecodable(struct dgf_recorder *recorder,
                            const struct dgf_event *event)
{
    struct dgf_bytes size =
        dgf_event_field(event, DGF_SECTION_EXTRA, DGF_BYTES("size"));
    struct dgf_bytes hash =
        dgf_event_field(event, DGF_SECTION_EXTRA, DGF_BYTES("hash"));
    struct dgf_mp mp = dgf_mp_of(size);
    struct dgf_mp_token token;
    struct dgf_buf *buf = &recorder->line;

    if (event->object)
        dgf_put_field(buf, "object", dgf_event_subject(recorder, event), DGF_NAME_MAX);
    put_position(recorder, event);
    if (size.len && dgf_mp_next(&mp, &token) == DGF_OK && token.kind == DGF_MP_INT &&
        token.i64 >= 0) {
        lit(buf, ",\"size\":");
        dgf_buf_add_i64(buf, token.i64);
    }
    if (hash.len) {
        lit(buf, ",\"hash\":\"");
        dgf_mask_token(&recorder->masker, hash, buf);
        lit(buf, "\"");
    }
    put_extra(recorder, event, "what", DGF_NAME_MAX);
    put_extra(recorder, event, "why", DGF_NAME_MAX);
}

static void put_resume(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    put_extra(recorder, event, "since", DGF_POSITION_MAX);
    put_detail(recorder, event);
    put_extra(recorder, event, "message", DGF_TEXT_MAX / 2);
}

enum dgf_rc dgf_record_of_event(struct dgf_recorder *recorder,
                                const struct dgf_event *event)
{
    enum dgf_record_kind kind;
    struct dgf_line line;
    struct dgf_id id;

    switch (event->kind) {
    case DGF_KIND_GAP:
        kind = DGF_RECORD_GAP;
        break;
    case DGF_KIND_UNDECODABLE:
        kind = DGF_RECORD_UNDECODABLE;
        break;
    case DGF_KIND_RESUME:
        kind = DGF_RECORD_RESUME;
        break;
    default:
        return DGF_OK; /* has no record of its own */
    }
    if (kind == DGF_RECORD_GAP &&
        dgf_event_text(event, DGF_SECTION_EXTRA, "reason").len == 0)
        kind = DGF_RECORD_DIVERGENCE; /* nothing is missing: too much was published */
    id = dgf_judgement_id(dgf_record_kind_text(kind), event, NULL);
    dgf_line_begin(recorder, &line, kind, &id,
                   event->commit_ns ? event->commit_ns : event->seen_ns);
    dgf_put_field(&recorder->line, "source", dgf_event_source_name(event),
                  DGF_NAME_MAX);
    if (kind == DGF_RECORD_UNDECODABLE)
        put_undecodable(recorder, event);
    else if (kind == DGF_RECORD_RESUME)
        put_resume(recorder, event);
    else
        put_gap(recorder, event);
    line.record.source = dgf_event_source_name(event);
    line.record.key =
        kind == DGF_RECORD_RESUME ? dgf_bytes_str(recorder->agent) : line.record.source;
    if (event->object)
        line.record.subject = dgf_event_subject(recorder, event);
    return dgf_line_end(recorder, &line);
}
