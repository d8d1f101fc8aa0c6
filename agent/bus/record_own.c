/* Records of the agent's own acts, and lists that are divided over parts. */
#include "base/clock.h"
#include "base/json.h"
#include "bus/record_part.h"

#define DETAIL_MAX ((size_t)16 << 20)
/* Leaves room for two positions, message and names. */
#define DETAIL_BUDGET 24000

/* ---- pieces ---- */

void dgf_pieces_init(struct dgf_pieces *pieces)
{
    memset(pieces, 0, sizeof(*pieces));
    dgf_buf_init(&pieces->text, (size_t)64 << 20);
}

void dgf_pieces_release(struct dgf_pieces *pieces)
{
    dgf_buf_release(&pieces->text);
    dgf_free(pieces->list);
}

void dgf_pieces_add(struct dgf_pieces *pieces, uint32_t group, uint32_t group_len,
                    size_t at)
{
    if (pieces->n == pieces->cap) {
        size_t cap = pieces->cap ? 2 * pieces->cap : 64;
        struct dgf_piece *list = dgf_realloc(pieces->list, cap * sizeof(*list));

        if (!list) {
            pieces->nomem = true;
            return;
        }
        pieces->list = list;
        pieces->cap = cap;
    }
    pieces->list[pieces->n++] =
        (struct dgf_piece){at, pieces->text.len - at, group, group_len};
}

size_t dgf_pieces_fit(const struct dgf_pieces *pieces, size_t from, size_t budget)
{
    size_t used = 0, i;

    for (i = from; i < pieces->n; i++) {
        used += pieces->list[i].len + 1;
        if (i == from || pieces->list[i].group != pieces->list[i - 1].group)
            used += pieces->list[i].group_len + 2;
        if (used > budget && i > from)
            break;
    }
    return i;
}

static void close_group(const struct dgf_pieces *pieces, const struct dgf_piece *piece,
                        struct dgf_buf *out)
{
    uint8_t open = pieces->text.ptr[piece->group + piece->group_len - 1];

    dgf_buf_add_byte(out, open == '{' ? '}' : ']');
}

void dgf_pieces_put(const struct dgf_pieces *pieces, size_t from, size_t to, bool comma,
                    struct dgf_buf *out)
{
    for (size_t i = from; i < to; i++) {
        const struct dgf_piece *piece = &pieces->list[i];

        if (i > from && piece->group != piece[-1].group)
            close_group(pieces, &piece[-1], out);
        if (i > from || comma)
            lit(out, ",");
        if (i == from || piece->group != piece[-1].group)
            dgf_buf_add(out, pieces->text.ptr + piece->group, piece->group_len);
        dgf_buf_add(out, pieces->text.ptr + piece->at, piece->len);
    }
    if (to > from)
        close_group(pieces, &pieces->list[to - 1], out);
}

/* ---- the agent's own ---- */

struct own {
    enum dgf_record_kind kind;
    const char *source, *message;
    int64_t time_ns;
    const char *reason, *from, *to; /* of a gap, in detail */
};

static void begin_own(struct dgf_recorder *recorder, struct dgf_line *line,
                      const struct own *own)
{
    struct dgf_buf *buf = &recorder->line;

    dgf_line_begin(recorder, line, own->kind, NULL, own->time_ns);
    line->record.source = dgf_bytes_str(own->source);
    line->record.key = dgf_bytes_str(
        own->source && own->kind == DGF_RECORD_GAP ? own->source : recorder->agent);
    dgf_put_field(buf, "source", dgf_bytes_str(own->source), DGF_NAME_MAX);
    dgf_put_field(buf, "reason", dgf_bytes_str(own->reason), DGF_NAME_MAX);
    dgf_put_field(buf, "from", dgf_bytes_str(own->from), DGF_POSITION_MAX);
    dgf_put_field(buf, "to", dgf_bytes_str(own->to), DGF_POSITION_MAX);
}

static enum dgf_rc end_own(struct dgf_recorder *recorder, struct dgf_line *line,
                           const struct own *own, size_t part, size_t parts)
{
    struct dgf_buf *buf = &recorder->line;

    dgf_put_field(buf, "message", dgf_bytes_str(own->message), DGF_TEXT_MAX / 4);
    if (parts > 1) {
        lit(buf, ",\"part\":");
        dgf_buf_add_u64(buf, part);
        lit(buf, ",\"parts\":");
        dgf_buf_add_u64(buf, parts);
    }
    return dgf_line_end(recorder, line);
}

/* A JSON value as text; what is too long for any record becomes its token. */
static void put_json(struct dgf_recorder *recorder, const json_t *value,
                     struct dgf_buf *out)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    size_t len = text ? strlen(text) : 0;

    if (!text) {
        out->rc = DGF_NOMEM;
    } else if (len <= DGF_TEXT_MAX) {
        dgf_buf_add(out, text, len);
    } else {
        dgf_buf_clear(&recorder->scratch);
        dgf_mp_put_str(&recorder->scratch, dgf_bytes_of(text, len));
        lit(out, "{\"$truncated\":\"");
        dgf_mask_token(&recorder->masker, dgf_buf_bytes(&recorder->scratch), out);
        lit(out, "\"}");
    }
    dgf_free(text);
}

static void add_list(struct dgf_recorder *recorder, struct dgf_pieces *pieces,
                     const char *name, json_t *value)
{
    struct dgf_buf *text = &pieces->text;
    uint32_t group = (uint32_t)text->len, group_len;
    const char *key;
    json_t *item;
    size_t i, at;

    dgf_put_text(text, dgf_bytes_str(name), DGF_NAME_MAX);
    dgf_buf_add_str(text, json_is_array(value) ? ":[" : ":{");
    group_len = (uint32_t)text->len - group;
    json_array_foreach(value, i, item)
    {
        at = text->len;
        put_json(recorder, item, text);
        dgf_pieces_add(pieces, group, group_len, at);
    }
    json_object_foreach(value, key, item)
    {
        at = text->len;
        dgf_put_text(text, dgf_bytes_str(key), DGF_NAME_MAX);
        lit(text, ":");
        put_json(recorder, item, text);
        dgf_pieces_add(pieces, group, group_len, at);
    }
}

/* Plain members into `plain`, lists and maps into pieces. */
static enum dgf_rc split_detail(struct dgf_recorder *recorder, json_t *detail,
                                struct dgf_buf *plain, struct dgf_pieces *pieces)
{
    const char *key;
    json_t *value;

    json_object_foreach(detail, key, value)
    {
        if (json_is_array(value) || json_is_object(value)) {
            add_list(recorder, pieces, key, value);
            continue;
        }
        if (plain->len > DGF_TEXT_MAX)
            continue; /* nobody writes so many; they never hide the lists */
        if (plain->len > 0)
            lit(plain, ",");
        dgf_put_text(plain, dgf_bytes_str(key), DGF_NAME_MAX);
        lit(plain, ":");
        put_json(recorder, value, plain);
    }
    return pieces->nomem || dgf_buf_rc(plain) || dgf_buf_rc(&pieces->text) ? DGF_NOMEM
                                                                           : DGF_OK;
}

static enum dgf_rc write_parts(struct dgf_recorder *recorder, const struct own *own,
                               const struct dgf_buf *plain,
                               const struct dgf_pieces *pieces)
{
    size_t parts = 0, from = 0;
    struct dgf_line line;

    for (size_t i = 0; i < pieces->n; parts++)
        i = dgf_pieces_fit(pieces, i, DETAIL_BUDGET);
    if (parts == 0)
        parts = 1;
    for (size_t part = 1; part <= parts; part++) {
        size_t to = dgf_pieces_fit(pieces, from, DETAIL_BUDGET);
        enum dgf_rc rc;

        begin_own(recorder, &line, own);
        lit(&recorder->line, ",\"detail\":{");
        dgf_buf_add_bytes(&recorder->line, dgf_buf_bytes(plain));
        dgf_pieces_put(pieces, from, to, plain->len > 0, &recorder->line);
        lit(&recorder->line, "}");
        rc = end_own(recorder, &line, own, part, parts);
        if (rc)
            return rc;
        from = to;
    }
    return DGF_OK;
}

static enum dgf_rc write_long(struct dgf_recorder *recorder, const struct own *own,
                              json_t *detail)
{
    struct dgf_pieces pieces;
    struct dgf_buf plain;
    enum dgf_rc rc;

    dgf_buf_init(&plain, (size_t)1 << 20);
    dgf_pieces_init(&pieces);
    rc = split_detail(recorder, detail, &plain, &pieces);
    if (rc == DGF_OK)
        rc = write_parts(recorder, own, &plain, &pieces);
    dgf_pieces_release(&pieces);
    dgf_buf_release(&plain);
    return rc;
}

static enum dgf_rc write_short(struct dgf_recorder *recorder, const struct own *own,
                               struct dgf_bytes detail)
{
    struct dgf_line line;

    begin_own(recorder, &line, own);
    if (detail.len > 2) { /* not {} */
        lit(&recorder->line, ",\"detail\":");
        dgf_buf_add_bytes(&recorder->line, detail);
    }
    return end_own(recorder, &line, own, 1, 1);
}

/* Of a gap, three members of the detail are the record's own fields. */
static enum dgf_rc write_parsed(struct dgf_recorder *recorder, struct own *own,
                                json_t *whole)
{
    DGF_CLEANUP_JSON json_t *rest = NULL;
    enum dgf_rc rc;
    char *dump;

    if (own->kind == DGF_RECORD_GAP) {
        own->reason = json_string_value(json_object_get(whole, "reason"));
        own->from = json_string_value(json_object_get(whole, "from"));
        own->to = json_string_value(json_object_get(whole, "to"));
        rest = json_copy(whole);
        (void)json_object_del(rest, "reason");
        (void)json_object_del(rest, "from");
        (void)json_object_del(rest, "to");
    } else {
        rest = json_incref(whole);
    }
    dump = json_dumps(rest, JSON_COMPACT);
    if (!dump)
        return DGF_NOMEM;
    rc = strlen(dump) > DETAIL_BUDGET ? write_long(recorder, own, rest)
                                      : write_short(recorder, own, dgf_bytes_str(dump));
    dgf_free(dump);
    return rc;
}

enum dgf_rc dgf_record_own(struct dgf_recorder *recorder, enum dgf_record_kind kind,
                           const char *source, const char *message,
                           const char *detail_json)
{
    struct dgf_bytes detail = dgf_bytes_str(detail_json);
    struct own own = {
        .kind = kind, .source = source, .message = message, .time_ns = dgf_clock_ns()};
    DGF_CLEANUP_JSON json_t *parsed = NULL;
    enum dgf_rc rc;

    if (detail.len == 0 || (kind != DGF_RECORD_GAP && detail.len <= DETAIL_BUDGET))
        return write_short(recorder, &own, detail);
    rc = dgf_json_parse(detail, DETAIL_MAX, 64, &parsed, NULL);
    if (rc == DGF_OK && !json_is_object(parsed))
        rc = DGF_BAD_DATA;
    return rc ? rc : write_parsed(recorder, &own, parsed);
}
