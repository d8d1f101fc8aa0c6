#include "bus/record.h"

#define HEADER_VERSION 1
#define FIXED_BYTES (6 + DGF_ID_LEN + 8 + 4 * 2)

enum { FLAG_SHADOW = 1 };

static uint16_t cut_len(struct dgf_bytes text)
{
    return text.len > UINT16_MAX ? UINT16_MAX : (uint16_t)text.len;
}

/* version, kind, severity, verdict, flags, 0, id, time, four lengths, four texts */
void dgf_record_put_header(const struct dgf_record *record, struct dgf_buf *out)
{
    const struct dgf_bytes texts[4] = {record->policy, record->source, record->subject,
                                       record->key};
    const uint8_t head[6] = {HEADER_VERSION,
                             (uint8_t)record->kind,
                             (uint8_t)record->severity,
                             record->verdict,
                             record->shadow ? FLAG_SHADOW : 0,
                             0};

    dgf_buf_add(out, head, sizeof(head));
    dgf_buf_add(out, record->id.b, sizeof(record->id.b));
    dgf_buf_add_le64(out, (uint64_t)record->time_ns);
    for (int i = 0; i < 4; i++)
        dgf_buf_add_le16(out, cut_len(texts[i]));
    for (int i = 0; i < 4; i++)
        dgf_buf_add(out, texts[i].ptr, cut_len(texts[i]));
}

enum dgf_rc dgf_record_get(struct dgf_bytes header, struct dgf_bytes line, uint64_t seq,
                           struct dgf_record *ret)
{
    struct dgf_record record = {.seq = seq, .line = line};
    struct dgf_bytes *texts[4] = {&record.policy, &record.source, &record.subject,
                                  &record.key};
    struct dgf_rd rd = dgf_rd_of(header);
    uint16_t lens[4];
    uint8_t version, flags, zero;
    struct dgf_bytes id;

    if (header.len < FIXED_BYTES)
        return DGF_BAD_DATA;
    version = dgf_rd_u8(&rd);
    record.kind = dgf_rd_u8(&rd);
    record.severity = dgf_rd_u8(&rd);
    record.verdict = dgf_rd_u8(&rd);
    flags = dgf_rd_u8(&rd);
    zero = dgf_rd_u8(&rd);
    id = dgf_rd_bytes(&rd, DGF_ID_LEN);
    record.time_ns = (int64_t)dgf_rd_le64(&rd);
    for (int i = 0; i < 4; i++)
        lens[i] = dgf_rd_le16(&rd);
    for (int i = 0; i < 4; i++)
        *texts[i] = dgf_rd_bytes(&rd, lens[i]);
    if (rd.bad || dgf_rd_left(&rd) > 0 || version != HEADER_VERSION || zero ||
        flags > FLAG_SHADOW || record.kind >= DGF_RECORD_N ||
        record.severity >= DGF_SEVERITY_N || record.verdict >= DGF_VERDICT_N)
        return DGF_BAD_DATA;
    memcpy(record.id.b, id.ptr, sizeof(record.id.b));
    record.shadow = flags & FLAG_SHADOW;
    *ret = record;
    return DGF_OK;
}

unsigned dgf_record_topics(enum dgf_record_kind kind)
{
    switch (kind) {
    case DGF_RECORD_VIOLATION:
    case DGF_RECORD_RULE_ERROR:
        return DGF_TOPIC_VIOLATIONS;
    case DGF_RECORD_GAP:
    case DGF_RECORD_DIVERGENCE:
        return DGF_TOPIC_VIOLATIONS | DGF_TOPIC_AUDIT;
    case DGF_RECORD_AUDIT:
    case DGF_RECORD_COVERAGE:
    case DGF_RECORD_UNDECODABLE:
        return DGF_TOPIC_AUDIT;
    default:
        return DGF_TOPIC_CONTROL;
    }
}
