/* What a record says of an event: the hot path.  What is the same for all
 * events of an object and source is made once and kept. */
#include "bus/record_part.h"

#include "base/json.h"
#include "bus/detect.h"

#define N_HEADS 256 /* a power of two */

struct key_name {
    uint32_t at, len; /* ,"id": in text */
};

struct dgf_event_head {
    uint64_t serial; /* of the object; 0: empty */
    const struct dgf_source *source;
    const char *source_name;
    uint8_t kind;
    struct dgf_buf text; /* ","source":... up to the op */
    uint32_t op_at;      /* text up to here */
    uint32_t subject_at, subject_len;
    struct key_name *keys; /* of the object's key columns */
};

static void head_clear(struct dgf_event_head *head)
{
    dgf_buf_release(&head->text);
    dgf_free(head->keys);
    memset(head, 0, sizeof(*head));
}

void dgf_event_heads_free(struct dgf_event_head *heads)
{
    for (size_t i = 0; heads && i < N_HEADS; i++)
        head_clear(&heads[i]);
    dgf_free(heads);
}

static void put_head(const struct dgf_event *event, struct dgf_buf *buf)
{
    const char *type = event->source   ? event->source->type->name
                       : event->object ? event->object->source_type
                                       : NULL;

    lit(buf, "\"");
    dgf_put_field(buf, "source", dgf_event_source_name(event), DGF_NAME_MAX);
    dgf_put_field(buf, "type", dgf_bytes_str(type), DGF_NAME_MAX);
    lit(buf, ",\"kind\":\"");
    dgf_buf_add_str(buf, dgf_event_kind_text(event->kind));
    lit(buf, "\"");
    if (event->object) {
        lit(buf, ",\"object\":");
        dgf_put_name(buf, dgf_bytes_str(event->object->text), DGF_NAME_MAX);
    }
}

static bool put_key_names(struct dgf_event_head *head, const struct dgf_object *object)
{
    if (object->n_keys == 0)
        return true;
    head->keys = dgf_calloc(object->n_keys, sizeof(*head->keys));
    for (uint32_t i = 0; head->keys && i < object->n_keys; i++) {
        const struct dgf_column *column = &object->columns[object->keys[i]];

        head->keys[i].at = (uint32_t)head->text.len;
        lit(&head->text, ",");
        dgf_put_name(&head->text, dgf_bytes_of(column->name, column->name_len),
                     DGF_NAME_MAX);
        lit(&head->text, ":");
        head->keys[i].len = (uint32_t)head->text.len - head->keys[i].at;
    }
    return head->keys != NULL;
}

/* text: head, then the plain object name (the subject), then the key names. */
static bool head_fill(struct dgf_event_head *head, const struct dgf_event *event)
{
    bool masked;

    head_clear(head);
    dgf_buf_init(&head->text, (size_t)16 << 20);
    put_head(event, &head->text);
    lit(&head->text, ",\"op\":\"");
    head->op_at = (uint32_t)head->text.len;
    head->subject_at = head->op_at;
    dgf_mask_detected(dgf_bytes_str(event->object->text), &head->text, &masked);
    head->subject_len = (uint32_t)head->text.len - head->subject_at;
    if (head->subject_len > DGF_NAME_MAX)
        head->subject_len = DGF_NAME_MAX;
    if (!put_key_names(head, event->object) || dgf_buf_rc(&head->text)) {
        head_clear(head);
        return false;
    }
    head->serial = event->object->serial;
    head->source = event->source;
    head->source_name = event->source ? event->source->name : NULL;
    head->kind = event->kind;
    return true;
}

/* NULL: no object, or no memory. */
static struct dgf_event_head *head_of(struct dgf_recorder *recorder,
                                      const struct dgf_event *event)
{
    struct dgf_event_head *head;

    if (!event->object)
        return NULL;
    if (!recorder->heads) {
        recorder->heads = dgf_calloc(N_HEADS, sizeof(*recorder->heads));
        if (!recorder->heads)
            return NULL;
    }
    head = &recorder->heads[(event->object->serial * 8 + event->kind) % N_HEADS];
    if (head->serial == event->object->serial && head->source == event->source &&
        head->kind == event->kind &&
        head->source_name == (event->source ? event->source->name : NULL))
        return head;
    return head_fill(head, event) ? head : NULL;
}

struct dgf_bytes dgf_event_subject(struct dgf_recorder *recorder,
                                   const struct dgf_event *event)
{
    const struct dgf_event_head *head = head_of(recorder, event);

    return head ? dgf_bytes_of(head->text.ptr + head->subject_at, head->subject_len)
                : dgf_bytes_of(NULL, 0);
}

/* ---- key ---- */

static enum dgf_class class_of(const struct dgf_event *event, int column,
                               struct dgf_bytes value)
{
    const struct dgf_object *object = event->object;

    if (column < 0)
        return dgf_class_in_force(DGF_CLASS_NONE, DGF_TYPE_NONE, value);
    return dgf_class_in_force(object->classes ? (enum dgf_class)object->classes[column]
                                              : DGF_CLASS_NONE,
                              object->columns[column].type, value);
}

static bool is_small_int(struct dgf_bytes value, int64_t *ret)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.ptr[0] < 0x80) { /* positive fixint */
        *ret = value.ptr[0];
        return true;
    }
    if (value.ptr[0] < 0xca || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_INT ||
        token.i64 >= 1000000000000 || token.i64 <= -1000000000000)
        return false;
    *ret = token.i64;
    return true;
}

/* A value as a key shows it: itself, or its token when anything is hidden. */
static void put_key_value(struct dgf_recorder *recorder, enum dgf_class class_,
                          struct dgf_bytes value, struct dgf_buf *buf)
{
    struct dgf_json json = dgf_json_of(buf);
    size_t at = buf->len;
    bool masked = true;
    int64_t number;

    if (class_ < DGF_CLASS_CONFIDENTIAL) {
        if (is_small_int(value, &number)) {
            dgf_buf_add_i64(buf, number);
            return;
        }
        if (value.len <= DGF_NAME_MAX)
            dgf_mask_json(&recorder->masker, class_, value, &json, &masked);
        if (!masked && buf->len - at <= DGF_NAME_MAX)
            return;
        buf->len = at;
    }
    lit(buf, "\"");
    dgf_mask_token(&recorder->masker, value, buf);
    lit(buf, "\"");
}

struct key_out {
    struct dgf_recorder *recorder;
    const struct dgf_event *event;
    struct dgf_buf *buf;
    bool comma;
};

static void put_key_field(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                          int column)
{
    struct key_out *out = ctx;

    if (out->comma)
        lit(out->buf, ",");
    out->comma = true;
    dgf_put_name(out->buf, name, DGF_NAME_MAX);
    lit(out->buf, ":");
    put_key_value(out->recorder, class_of(out->event, column, value), value, out->buf);
}

/* The usual case: the key stands in columns whose names are ready. */
static void put_key_columns(struct dgf_recorder *recorder,
                            const struct dgf_event *event,
                            const struct dgf_event_head *head, struct dgf_buf *buf)
{
    const struct dgf_object *object = event->object;
    bool after = event->op != DGF_OP_DELETE &&
                 dgf_event_section_is_map(event, DGF_SECTION_AFTER);
    bool comma = false;

    for (uint32_t i = 0; i < object->n_keys; i++) {
        uint32_t column = object->keys[i];
        struct dgf_bytes value = dgf_event_slot(event, after, column);
        struct dgf_mp mp = dgf_mp_of(value);
        const struct key_name *name = &head->keys[i];

        if (value.len == 0 || dgf_mp_value(&mp, &value))
            continue;
        dgf_buf_add(buf, head->text.ptr + name->at + !comma, name->len - !comma);
        put_key_value(recorder, class_of(event, (int)column, value), value, buf);
        comma = true;
    }
}

/* A key that is too long to be shown is its own hash. */
static void put_key(struct dgf_recorder *recorder, const struct dgf_event *event,
                    const struct dgf_event_head *head, struct dgf_buf *buf)
{
    struct key_out out = {recorder, event, buf, false};
    size_t at = buf->len, start;

    lit(buf, ",\"key\":{");
    start = buf->len;
    if (head && !event->sections[DGF_SECTION_KEY].len)
        put_key_columns(recorder, event, head, buf);
    else
        dgf_event_key(event, put_key_field, &out);
    if (buf->len == start) {
        buf->len = at;
        return;
    }
    if (buf->len - start > DGF_KEY_MAX) {
        buf->len = start;
        lit(buf, "\"$truncated\":\"");
        dgf_buf_add_bytes(buf, dgf_event_key_hash(recorder, event));
        lit(buf, "\"");
    }
    lit(buf, "}");
}

/* ---- hash of (object, key) ---- */

static void put_sized(struct dgf_buf *buf, struct dgf_bytes bytes)
{
    dgf_buf_add_le32(buf, (uint32_t)bytes.len);
    dgf_buf_add_bytes(buf, bytes);
}

static void hash_field(void *ctx, struct dgf_bytes name, struct dgf_bytes value,
                       int column)
{
    struct dgf_buf *buf = ctx;

    (void)column;
    put_sized(buf, name);
    put_sized(buf, value);
}

struct dgf_bytes dgf_event_key_hash(struct dgf_recorder *recorder,
                                    const struct dgf_event *event)
{
    struct dgf_buf *buf = &recorder->key;
    uint8_t digest[DGF_SHA256_LEN];
    struct dgf_id id;

    dgf_buf_clear(buf);
    lit(buf, "\4\0\0\0dgf1\3\0\0\0key");
    put_sized(buf, dgf_bytes_str(event->object ? event->object->text : NULL));
    dgf_event_key(event, hash_field, buf);
    dgf_mac(&recorder->tenant, dgf_buf_bytes(buf), digest);
    memcpy(id.b, digest, sizeof(id.b));
    dgf_id_text(&id, recorder->key_text);
    return dgf_bytes_of(recorder->key_text, DGF_ID_TEXT_LEN);
}

/* ---- event, actor ---- */

/* Position texts are ASCII; one that is not is written again as a text. */
static void put_position(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    struct dgf_buf *buf = &recorder->line;
    size_t at = buf->len, start;

    if (event->position.len == 0 || !event->source ||
        !event->source->type->position_text)
        return;
    lit(buf, ",\"position\":\"");
    start = buf->len;
    event->source->type->position_text(event->position, buf);
    for (size_t i = start; i < buf->len; i++)
        if (buf->ptr[i] < ' ' || buf->ptr[i] > '~' || buf->ptr[i] == '"' ||
            buf->ptr[i] == '\\' || i - start > DGF_POSITION_MAX) {
            dgf_buf_clear(&recorder->scratch);
            dgf_buf_add(&recorder->scratch, buf->ptr + start, buf->len - start);
            buf->len = at;
            dgf_put_field(buf, "position", dgf_buf_bytes(&recorder->scratch),
                          DGF_POSITION_MAX);
            return;
        }
    if (buf->len == start)
        buf->len = at;
    else
        lit(buf, "\"");
}

void dgf_line_event(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    const struct dgf_event_head *head = head_of(recorder, event);
    struct dgf_buf *buf = &recorder->line;
    char text[DGF_ID_TEXT_LEN + 1];

    lit(buf, ",\"event\":{\"id\":\"");
    dgf_id_text(&event->id, text);
    dgf_buf_add(buf, text, DGF_ID_TEXT_LEN);
    if (head && event->op != DGF_OP_NONE) {
        dgf_buf_add(buf, head->text.ptr, head->op_at);
        dgf_buf_add_str(buf, dgf_op_text(event->op));
        lit(buf, "\"");
    } else {
        put_head(event, buf);
        dgf_put_field(buf, "op", dgf_bytes_str(dgf_op_text(event->op)), DGF_NAME_MAX);
    }
    if (event->cause != DGF_CAUSE_USER)
        dgf_put_field(buf, "cause", dgf_bytes_str(dgf_cause_text(event->cause)),
                      DGF_NAME_MAX);
    if (event->snapshot)
        lit(buf, ",\"snapshot\":true");
    put_key(recorder, event, head, buf);
    dgf_put_field(buf, "tx", event->tx, 256);
    put_position(recorder, event);
    lit(buf, "}");
}

/* Of a name in which a detector finds something only the token is shown, so
 * that the same person can still be recognised. */
static void put_actor_field(struct dgf_recorder *recorder,
                            const struct dgf_event *event, const char *name,
                            bool *comma)
{
    struct dgf_bytes text = dgf_event_text(event, DGF_SECTION_ACTOR, name);
    struct dgf_buf *buf = &recorder->line;
    struct dgf_found found;

    if (text.len == 0)
        return;
    if (*comma)
        lit(buf, ",");
    *comma = true;
    lit(buf, "\"");
    dgf_buf_add_str(buf, name);
    lit(buf, "\":");
    if (dgf_detect(text, 0, DGF_DETECT_ANY, &found)) {
        lit(buf, "\"");
        dgf_mask_token(&recorder->masker,
                       dgf_event_field(event, DGF_SECTION_ACTOR, dgf_bytes_str(name)),
                       buf);
        lit(buf, "\"");
    } else {
        dgf_put_text(buf, text, DGF_NAME_MAX);
    }
}

void dgf_line_actor(struct dgf_recorder *recorder, const struct dgf_event *event)
{
    static const char *const names[] = {"name", "app", "address", "how"};
    struct dgf_bytes sure =
        dgf_event_field(event, DGF_SECTION_ACTOR, DGF_BYTES("sure"));
    struct dgf_buf *buf = &recorder->line;
    bool comma = false;

    if (!dgf_event_section_is_map(event, DGF_SECTION_ACTOR))
        return;
    lit(buf, ",\"actor\":{");
    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        put_actor_field(recorder, event, names[i], &comma);
    if (sure.len == 1 && (sure.ptr[0] == 0xc2 || sure.ptr[0] == 0xc3)) {
        if (comma)
            lit(buf, ",");
        dgf_buf_add_str(buf, sure.ptr[0] == 0xc3 ? "\"sure\":true" : "\"sure\":false");
    }
    lit(buf, "}");
}
