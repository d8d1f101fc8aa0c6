/* Counts of what was judged, between two coverage records. */
#include "base/parse.h"
#include "bus/record_part.h"

#define ENCODING_VERSION 3 /* 1 had no policy set, 2 no notes */
#define BYTES_A_COUNT 24   /* word, its length and a number */
#define FROM_MAX 65536

void dgf_coverage_init(struct dgf_coverage *coverage)
{
    memset(coverage, 0, sizeof(*coverage));
    dgf_buf_init(&coverage->from, FROM_MAX);
    dgf_map_init(&coverage->objects);
}

void dgf_coverage_release(struct dgf_coverage *coverage)
{
    dgf_buf_release(&coverage->from);
    dgf_map_release(&coverage->objects, dgf_free);
    memset(coverage, 0, sizeof(*coverage));
}

/* Forgets the counts; `from` stays. */
static void clear_counts(struct dgf_coverage *coverage)
{
    dgf_map_release(&coverage->objects, dgf_free);
    dgf_map_init(&coverage->objects);
    coverage->events = coverage->transactions = 0;
    memset(coverage->verdicts, 0, sizeof(coverage->verdicts));
    coverage->last_object = 0;
    coverage->last_counts = NULL;
    coverage->bytes = 0;
    coverage->n_notes = 0;
}

void dgf_coverage_policy_set(struct dgf_coverage *coverage, const char *digest)
{
    size_t len = strlen(digest);

    len = len > DGF_COVERAGE_SET_MAX ? DGF_COVERAGE_SET_MAX : len;
    memcpy(coverage->policy_set, digest, len);
    coverage->policy_set[len] = '\0';
}

static uint64_t *counts_of(struct dgf_coverage *coverage, struct dgf_bytes object)
{
    uint64_t *counts = dgf_map_get(&coverage->objects, object);

    if (counts)
        return counts;
    counts = dgf_calloc(DGF_OP_N, sizeof(*counts));
    if (counts && dgf_map_put(&coverage->objects, object, counts, NULL)) {
        dgf_free(counts);
        counts = NULL;
    }
    coverage->bytes += object.len + 6 + (size_t)DGF_OP_N * BYTES_A_COUNT;
    return counts;
}

/* What could not be decoded was looked at too: its verdict is `error`. */
static bool is_judged(unsigned kind)
{
    return kind == DGF_KIND_UNDECODABLE || kind == DGF_KIND_CHANGE ||
           kind == DGF_KIND_SCHEMA || kind == DGF_KIND_ACCESS ||
           kind == DGF_KIND_SETTING || kind == DGF_KIND_MESSAGE ||
           kind == DGF_KIND_NOTICE;
}

enum dgf_rc dgf_coverage_count(struct dgf_coverage *coverage,
                               const struct dgf_event *event, enum dgf_verdict verdict)
{
    if (event->kind == DGF_KIND_TRANSACTION)
        coverage->transactions++;
    if (!is_judged(event->kind))
        return DGF_OK;
    if (event->object && event->op != DGF_OP_NONE) {
        if (event->object->serial != coverage->last_object || !coverage->last_counts) {
            coverage->last_counts =
                counts_of(coverage, dgf_bytes_str(event->object->text));
            coverage->last_object = event->object->serial;
        }
        if (!coverage->last_counts)
            return DGF_NOMEM;
        coverage->last_counts[event->op]++;
    }
    coverage->events++;
    coverage->verdicts[verdict]++;
    return DGF_OK;
}

enum dgf_rc dgf_coverage_note(struct dgf_coverage *coverage, const char *word,
                              uint64_t n)
{
    unsigned i = 0;

    while (i < coverage->n_notes && strcmp(coverage->notes[i].word, word) != 0)
        i++;
    if (i == DGF_COVERAGE_NOTES || strlen(word) > DGF_COVERAGE_WORD_MAX)
        return DGF_NOMEM;
    if (i == coverage->n_notes) {
        coverage->notes[i] = (struct dgf_coverage_note){.n = 0};
        memcpy(coverage->notes[i].word, word, strlen(word));
        coverage->n_notes++;
    }
    coverage->notes[i].n += n;
    return DGF_OK;
}

/* ---- in the commit: words, since numbers may differ in another version ---- */

static void put_counts(struct dgf_buf *out, const uint64_t *counts, unsigned n,
                       const char *(*word)(unsigned))
{
    uint16_t used = 0;

    for (unsigned i = 0; i < n; i++)
        used = (uint16_t)(used + (counts[i] > 0));
    dgf_buf_add_le16(out, used);
    for (unsigned i = 0; i < n; i++)
        if (counts[i] > 0) {
            dgf_buf_add_byte(out, (uint8_t)strlen(word(i)));
            dgf_buf_add_str(out, word(i));
            dgf_buf_add_le64(out, counts[i]);
        }
}

static bool get_counts(struct dgf_rd *rd, uint64_t *counts,
                       int (*number)(struct dgf_bytes))
{
    for (unsigned n = dgf_rd_le16(rd); n > 0 && !rd->bad; n--) {
        struct dgf_bytes word = dgf_rd_bytes(rd, dgf_rd_u8(rd));
        uint64_t count = dgf_rd_le64(rd);
        int at = number(word);

        if (rd->bad || at < 0)
            return false;
        counts[at] = count;
    }
    return !rd->bad;
}

static const char *verdict_word(unsigned i)
{
    return dgf_verdict_text((enum dgf_verdict)i);
}

static const char *op_word(unsigned i)
{
    return dgf_op_text((enum dgf_op)i);
}

void dgf_coverage_encode(const struct dgf_coverage *coverage, struct dgf_buf *out)
{
    const struct dgf_map_entry *entry;
    size_t at = 0;

    dgf_buf_add_byte(out, ENCODING_VERSION);
    dgf_buf_add_le64(out, (uint64_t)coverage->since_ns);
    dgf_buf_add_le32(out, (uint32_t)coverage->from.len);
    dgf_buf_add_bytes(out, dgf_buf_bytes(&coverage->from));
    dgf_buf_add_byte(out, (uint8_t)strlen(coverage->policy_set));
    dgf_buf_add_str(out, coverage->policy_set);
    dgf_buf_add_le64(out, coverage->events);
    dgf_buf_add_le64(out, coverage->transactions);
    put_counts(out, coverage->verdicts, DGF_VERDICT_N, verdict_word);
    dgf_buf_add_le32(out, (uint32_t)coverage->objects.n);
    while ((entry = dgf_map_next(&coverage->objects, &at))) {
        dgf_buf_add_le32(out, (uint32_t)entry->key.len);
        dgf_buf_add_bytes(out, entry->key);
        put_counts(out, entry->value, DGF_OP_N, op_word);
    }
    dgf_buf_add_byte(out, (uint8_t)coverage->n_notes);
    for (unsigned i = 0; i < coverage->n_notes; i++) {
        dgf_buf_add_byte(out, (uint8_t)strlen(coverage->notes[i].word));
        dgf_buf_add_str(out, coverage->notes[i].word);
        dgf_buf_add_le64(out, coverage->notes[i].n);
    }
}

static enum dgf_rc get_notes(struct dgf_coverage *coverage, struct dgf_rd *rd)
{
    for (unsigned n = dgf_rd_u8(rd); n > 0; n--) {
        struct dgf_bytes word = dgf_rd_bytes(rd, dgf_rd_u8(rd));
        char text[DGF_COVERAGE_WORD_MAX + 1] = "";
        uint64_t count = dgf_rd_le64(rd);

        if (rd->bad || word.len > DGF_COVERAGE_WORD_MAX)
            return DGF_BAD_DATA;
        memcpy(text, word.ptr, word.len);
        if (dgf_coverage_note(coverage, text, count))
            return DGF_BAD_DATA;
    }
    return rd->bad || dgf_rd_left(rd) ? DGF_BAD_DATA : DGF_OK;
}

static enum dgf_rc get_objects(struct dgf_coverage *coverage, struct dgf_rd *rd)
{
    for (uint32_t n = dgf_rd_le32(rd); n > 0 && !rd->bad; n--) {
        struct dgf_bytes name = dgf_rd_bytes(rd, dgf_rd_le32(rd));
        uint64_t *counts;

        if (rd->bad)
            return DGF_BAD_DATA;
        counts = counts_of(coverage, name);
        if (!counts)
            return DGF_NOMEM;
        if (!get_counts(rd, counts, dgf_op_of))
            return DGF_BAD_DATA;
    }
    return rd->bad ? DGF_BAD_DATA : DGF_OK;
}

enum dgf_rc dgf_coverage_decode(struct dgf_coverage *coverage, struct dgf_bytes bytes)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    uint8_t version = dgf_rd_u8(&rd);
    uint64_t since = dgf_rd_le64(&rd);
    struct dgf_bytes from = dgf_rd_bytes(&rd, dgf_rd_le32(&rd));
    struct dgf_bytes set =
        version == 1 ? DGF_BYTES("") : dgf_rd_bytes(&rd, dgf_rd_u8(&rd));
    enum dgf_rc rc = DGF_BAD_DATA;

    clear_counts(coverage);
    dgf_buf_clear(&coverage->from);
    coverage->events = dgf_rd_le64(&rd);
    coverage->transactions = dgf_rd_le64(&rd);
    if (version >= 1 && version <= ENCODING_VERSION && from.len <= FROM_MAX &&
        set.len <= DGF_COVERAGE_SET_MAX &&
        get_counts(&rd, coverage->verdicts, dgf_verdict_of))
        rc = get_objects(coverage, &rd);
    if (!rc && version >= 3)
        rc = get_notes(coverage, &rd);
    else if (!rc && dgf_rd_left(&rd))
        rc = DGF_BAD_DATA;
    if (rc) {
        clear_counts(coverage);
        return rc;
    }
    coverage->since_ns = (int64_t)since;
    memcpy(coverage->policy_set, set.ptr, set.len);
    coverage->policy_set[set.len] = '\0';
    dgf_buf_add_bytes(&coverage->from, from);
    return dgf_buf_rc(&coverage->from);
}

/* ---- the record ---- */

static void collect_objects(const struct dgf_coverage *coverage,
                            struct dgf_pieces *pieces)
{
    static const char opening[] = "\"objects\":{";
    const struct dgf_map_entry *entry;
    struct dgf_buf *text = &pieces->text;
    size_t next = 0;

    dgf_buf_add_str(text, opening);
    while ((entry = dgf_map_next(&coverage->objects, &next))) {
        const uint64_t *counts = entry->value;
        size_t at = text->len;
        bool comma = false;

        dgf_put_name(text, entry->key, DGF_NAME_MAX);
        lit(text, ":{");
        for (unsigned i = 0; i < DGF_OP_N; i++)
            if (counts[i] > 0) {
                dgf_buf_add_str(text, comma ? ",\"" : "\"");
                dgf_buf_add_str(text, dgf_op_text((enum dgf_op)i));
                lit(text, "\":");
                dgf_buf_add_u64(text, counts[i]);
                comma = true;
            }
        lit(text, "}");
        dgf_pieces_add(pieces, 0, sizeof(opening) - 1, at);
    }
}

static void put_verdicts(const struct dgf_coverage *coverage, struct dgf_buf *buf)
{
    lit(buf, ",\"verdicts\":{");
    for (unsigned i = 0; i < DGF_VERDICT_N; i++) {
        dgf_buf_add_str(buf, i ? ",\"" : "\"");
        dgf_buf_add_str(buf, dgf_verdict_text((enum dgf_verdict)i));
        lit(buf, "\":");
        dgf_buf_add_u64(buf, coverage->verdicts[i]);
    }
    lit(buf, "}");
}

static void put_notes(const struct dgf_coverage *coverage, struct dgf_buf *buf)
{
    if (coverage->n_notes == 0)
        return;
    lit(buf, ",\"counted\":{");
    for (unsigned i = 0; i < coverage->n_notes; i++) {
        dgf_buf_add_str(buf, i ? ",\"" : "\"");
        dgf_buf_add_str(buf, coverage->notes[i].word);
        lit(buf, "\":");
        dgf_buf_add_u64(buf, coverage->notes[i].n);
    }
    lit(buf, "}");
}

struct range {
    const char *source, *to;
    int64_t time_ns;
    enum dgf_guarantee guarantee;
};

struct part {
    const struct dgf_pieces *pieces;
    size_t from, to, number, of;
};

static enum dgf_rc write_part(struct dgf_recorder *recorder,
                              const struct dgf_coverage *coverage,
                              const struct range *range, const struct part *part)
{
    struct dgf_buf *buf = &recorder->line;
    struct dgf_line line;

    dgf_line_begin(recorder, &line, DGF_RECORD_COVERAGE, NULL, range->time_ns);
    dgf_put_field(buf, "source", dgf_bytes_str(range->source), DGF_NAME_MAX);
    dgf_put_field(buf, "from", dgf_buf_bytes(&coverage->from), DGF_POSITION_MAX);
    dgf_put_field(buf, "to", dgf_bytes_str(range->to), DGF_POSITION_MAX);
    lit(buf, ",\"events\":");
    dgf_buf_add_u64(buf, coverage->events);
    lit(buf, ",\"transactions\":");
    dgf_buf_add_u64(buf, coverage->transactions);
    dgf_pieces_put(part->pieces, part->from, part->to, true, buf);
    put_verdicts(coverage, buf);
    put_notes(coverage, buf);
    dgf_put_field(buf, "guarantee", dgf_bytes_str(dgf_guarantee_text(range->guarantee)),
                  DGF_NAME_MAX);
    if (part->of > 1) {
        lit(buf, ",\"part\":");
        dgf_buf_add_u64(buf, part->number);
        lit(buf, ",\"parts\":");
        dgf_buf_add_u64(buf, part->of);
    }
    dgf_line_policy_set(recorder);
    line.record.source = line.record.key = dgf_bytes_str(range->source);
    return dgf_line_end(recorder, &line);
}

/* What is left for objects beside two positions and the rest. */
#define OBJECTS_BUDGET (DGF_RECORD_MAX_BYTES - 2 * DGF_POSITION_MAX - 8192)

static enum dgf_rc write_parts(struct dgf_recorder *recorder,
                               const struct dgf_coverage *coverage,
                               const struct range *range,
                               const struct dgf_pieces *pieces)
{
    struct part part = {.pieces = pieces, .of = 0};

    for (size_t i = 0; i < pieces->n; part.of++)
        i = dgf_pieces_fit(pieces, i, OBJECTS_BUDGET);
    if (part.of == 0)
        part.of = 1;
    for (part.number = 1; part.number <= part.of; part.number++) {
        enum dgf_rc rc;

        part.to = dgf_pieces_fit(pieces, part.from, OBJECTS_BUDGET);
        rc = write_part(recorder, coverage, range, &part);
        if (rc)
            return rc;
        part.from = part.to;
    }
    return DGF_OK;
}

enum dgf_rc dgf_record_coverage(struct dgf_recorder *recorder,
                                struct dgf_coverage *coverage, const char *source,
                                const char *to, int64_t time_ns,
                                enum dgf_guarantee guarantee)
{
    const struct range range = {source, to, time_ns, guarantee};
    struct dgf_pieces pieces;
    enum dgf_rc rc = DGF_NOMEM;

    if (coverage->policy_set[0] &&
        dgf_recorder_policy_set(recorder, coverage->policy_set))
        return DGF_NOMEM;
    dgf_pieces_init(&pieces);
    collect_objects(coverage, &pieces);
    if (!pieces.nomem && !dgf_buf_rc(&pieces.text))
        rc = write_parts(recorder, coverage, &range, &pieces);
    dgf_pieces_release(&pieces);
    if (rc)
        return rc;
    clear_counts(coverage);
    coverage->since_ns = time_ns;
    dgf_buf_clear(&coverage->from);
    dgf_buf_add_str(&coverage->from, to);
    return dgf_buf_rc(&coverage->from);
}
