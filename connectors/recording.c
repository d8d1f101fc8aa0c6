#include "recording.h"

#include "base/hash.h"

#define MAX_COLUMNS 2000

void dgf_recording_put(const struct dgf_event *event, struct dgf_buf *out)
{
    const struct dgf_object *object = event->object;
    struct dgf_bytes frame;
    size_t start = out->len;

    dgf_buf_add_le32(out, 0);
    dgf_mp_put_array(out, 11);
    dgf_mp_put_str(
        out, dgf_bytes_str(dgf_event_kind_text((enum dgf_event_kind)event->kind)));
    dgf_mp_put_str(out, dgf_bytes_str(dgf_op_text((enum dgf_op)event->op)));
    dgf_mp_put_bin(out, dgf_bytes_of(event->id.b, DGF_ID_LEN));
    dgf_mp_put_int(out, event->commit_ns);
    dgf_mp_put_str(out, event->tx);
    dgf_mp_put_uint(out, event->tx_n);
    dgf_mp_put_str(out,
                   dgf_bytes_str(object && object->database ? object->database : ""));
    dgf_mp_put_str(out, dgf_bytes_str(object && object->schema ? object->schema : ""));
    dgf_mp_put_str(out, dgf_bytes_str(object ? object->name : ""));
    dgf_mp_put_array(out, object ? object->n_columns : 0);
    for (uint32_t i = 0; object && i < object->n_columns; i++) {
        const struct dgf_column *column = &object->columns[i];

        dgf_mp_put_array(out, 3);
        dgf_mp_put_str(out, dgf_bytes_of(column->name, column->name_len));
        dgf_mp_put_str(out, dgf_bytes_str(dgf_type_text(column->type)));
        dgf_mp_put_bool(out, column->key);
    }
    dgf_buf_add_bytes(out, event->body);
    if (dgf_buf_rc(out))
        return;
    frame = dgf_bytes_of(out->ptr + start + 4, out->len - start - 4);
    for (int i = 0; i < 4; i++)
        out->ptr[start + (size_t)i] = (uint8_t)(frame.len >> (8 * i));
    dgf_buf_add_le32(out, dgf_crc32c(0, frame));
}

/* ---- reading ----------------------------------------------------------------- */

struct fields {
    struct dgf_mp mp;
    bool bad;
};

static struct dgf_mp_token take(struct fields *f, enum dgf_mp_kind kind)
{
    struct dgf_mp_token token = {.kind = DGF_MP_NIL};

    if (f->bad || dgf_mp_next(&f->mp, &token) || token.kind != kind)
        f->bad = true;
    if (f->bad)
        token = (struct dgf_mp_token){.kind = DGF_MP_NIL};
    return token;
}

static enum dgf_rc read_columns(struct fields *f, struct dgf_column **ret,
                                uint32_t *ret_n)
{
    uint32_t n = take(f, DGF_MP_ARRAY).n;
    struct dgf_column *columns;

    if (f->bad || n > MAX_COLUMNS)
        return DGF_BAD_DATA;
    columns = dgf_calloc(n ? n : 1, sizeof(*columns));
    if (!columns)
        return DGF_NOMEM;
    for (uint32_t i = 0; i < n && !f->bad; i++) {
        struct dgf_bytes name, type;
        int word;

        f->bad = take(f, DGF_MP_ARRAY).n != 3 || f->bad;
        name = take(f, DGF_MP_STR).bytes;
        type = take(f, DGF_MP_STR).bytes;
        columns[i].key = take(f, DGF_MP_BOOL).boolean;
        word = dgf_type_of(type);
        if (word < 0 || name.len == 0 || name.len > 1024)
            f->bad = true;
        columns[i].name = (const char *)name.ptr;
        columns[i].name_len = (uint32_t)name.len;
        columns[i].type = word < 0 ? DGF_TYPE_NONE : (enum dgf_type)word;
        columns[i].type_name = "";
    }
    *ret = columns;
    *ret_n = n;
    return f->bad ? DGF_BAD_DATA : DGF_OK;
}

static bool same_text(const char *text, struct dgf_bytes bytes)
{
    return dgf_bytes_eq(dgf_bytes_str(text ? text : ""), bytes);
}

static bool same_columns(const struct dgf_object *object,
                         const struct dgf_column *columns, uint32_t n)
{
    if (object->n_columns != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (object->columns[i].type != columns[i].type ||
            object->columns[i].key != columns[i].key ||
            !dgf_bytes_eq(
                dgf_bytes_of(object->columns[i].name, object->columns[i].name_len),
                dgf_bytes_of(columns[i].name, columns[i].name_len)))
            return false;
    return true;
}

static char *text_or_null(struct dgf_bytes bytes)
{
    return bytes.len ? dgf_strndup((const char *)bytes.ptr, bytes.len) : NULL;
}

/* The object of these names and columns: the one before, or a new one. */
static enum dgf_rc take_object(struct fields *f, struct dgf_object **object)
{
    struct dgf_bytes database = take(f, DGF_MP_STR).bytes;
    struct dgf_bytes schema = take(f, DGF_MP_STR).bytes;
    struct dgf_bytes name = take(f, DGF_MP_STR).bytes;
    DGF_CLEANUP(dgf_free) char *database_text = NULL;
    DGF_CLEANUP(dgf_free) char *schema_text = NULL;
    DGF_CLEANUP(dgf_free) char *name_text = NULL;
    struct dgf_column *columns = NULL;
    struct dgf_object *made = NULL;
    uint32_t n = 0;
    enum dgf_rc rc = f->bad ? DGF_BAD_DATA : read_columns(f, &columns, &n);

    if (!rc && name.len == 0) {
        dgf_object_unref(*object);
        *object = NULL;
    } else if (!rc && !(*object && same_text((*object)->database, database) &&
                        same_text((*object)->schema, schema) &&
                        same_text((*object)->name, name) &&
                        same_columns(*object, columns, n))) {
        bool all = true;

        for (uint32_t i = 0; i < n; i++) { /* names end where msgpack goes on: copy */
            columns[i].name = dgf_strndup(columns[i].name, columns[i].name_len);
            all = all && columns[i].name;
        }
        database_text = text_or_null(database);
        schema_text = text_or_null(schema);
        name_text = text_or_null(name);
        all = all && (database_text || !database.len) && (schema_text || !schema.len);
        rc = all && name_text
                 ? dgf_object_new("replay", database_text, schema_text, name_text,
                                  columns, n, *object ? (*object)->version + 1 : 1,
                                  &made)
                 : DGF_NOMEM;
        for (uint32_t i = 0; i < n; i++)
            dgf_free((char *)(uintptr_t)columns[i].name);
        if (!rc) {
            dgf_object_unref(*object);
            *object = made;
        }
    }
    dgf_free(columns);
    return rc;
}

enum dgf_rc dgf_recording_get(struct dgf_bytes payload, struct dgf_bytes position,
                              struct dgf_object **object, struct dgf_event **ret,
                              struct dgf_err *err)
{
    struct fields f = {.mp = dgf_mp_of(payload)};
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.position = position};
    struct dgf_bytes id;
    int kind, op;
    enum dgf_rc rc;

    f.bad = take(&f, DGF_MP_ARRAY).n != 11 || f.bad;
    kind = dgf_event_kind_of(take(&f, DGF_MP_STR).bytes);
    op = dgf_op_of(take(&f, DGF_MP_STR).bytes);
    id = take(&f, DGF_MP_BIN).bytes;
    meta.commit_ns = meta.seen_ns = take(&f, DGF_MP_INT).i64;
    meta.tx = take(&f, DGF_MP_STR).bytes;
    meta.tx_n = (uint64_t)take(&f, DGF_MP_INT).i64;
    if (f.bad || kind < 0 || op < 0 || id.len != DGF_ID_LEN || meta.tx.len > 255)
        return dgf_err_set(err, DGF_BAD_DATA, "not an event of a recording");
    memcpy(meta.id.b, id.ptr, DGF_ID_LEN);
    rc = take_object(&f, object);
    if (rc)
        return dgf_err_set(err, rc,
                           rc == DGF_NOMEM ? "out of memory" : "its object is damaged");
    dgf_event_builder_init(&builder, DGF_RECORDING_FRAME_MAX);
    rc = dgf_event_from_msgpack(
        &builder, *object, (enum dgf_event_kind)kind, (enum dgf_op)op,
        dgf_bytes_of(f.mp.ptr, (size_t)(f.mp.end - f.mp.ptr)), &meta, ret, err);
    dgf_event_builder_release(&builder);
    return rc;
}
