#include "bus/event.h"

#include <string.h>

static _Atomic uint64_t last_serial;

static void add_part(struct dgf_buf *buf, const char *part)
{
    if (part[0] && !strpbrk(part, ".\"")) {
        dgf_buf_add_str(buf, part);
        return;
    }
    dgf_buf_add_byte(buf, '"');
    for (; *part; part++) {
        if (*part == '"')
            dgf_buf_add_byte(buf, '"');
        dgf_buf_add_byte(buf, (uint8_t)*part);
    }
    dgf_buf_add_byte(buf, '"');
}

void dgf_object_name(struct dgf_buf *buf, const char *first, const char *second)
{
    if (!first) {
        dgf_buf_add_str(buf, second);
        return;
    }
    add_part(buf, first);
    dgf_buf_add_byte(buf, '.');
    add_part(buf, second);
}

static char *object_text(const char *schema, const char *name)
{
    struct dgf_buf buf;
    char *text = NULL;

    dgf_buf_init(&buf, 64 * 1024);
    dgf_object_name(&buf, schema, name);
    dgf_buf_add_byte(&buf, '\0');
    if (!dgf_buf_rc(&buf))
        text = dgf_strdup((const char *)buf.ptr);
    dgf_buf_release(&buf);
    return text;
}

/* Header and name stand in one block, so that the builder copies once. */
static bool own_name(struct dgf_column *column, const struct dgf_column *from)
{
    size_t len = from->name ? strlen(from->name) : 0;
    uint8_t head[5], *block;
    size_t n = 0;

    if (len > UINT16_MAX)
        return false;
    if (len < 32) {
        head[n++] = (uint8_t)(0xa0 | len);
    } else if (len < 256) {
        head[n++] = 0xd9;
        head[n++] = (uint8_t)len;
    } else {
        head[n++] = 0xda;
        head[n++] = (uint8_t)(len >> 8);
        head[n++] = (uint8_t)len;
    }
    block = dgf_malloc(n + len + 1);
    if (!block)
        return false;
    memcpy(block, head, n);
    if (len > 0)
        memcpy(block + n, from->name, len);
    block[n + len] = '\0';
    column->packed = dgf_bytes_of(block, n + len);
    column->name = (const char *)block + n;
    column->name_len = (uint32_t)len;
    return true;
}

static bool own_text(const char **to, const char *from)
{
    *to = from ? dgf_strdup(from) : NULL;
    return *to || !from;
}

static bool own_columns(struct dgf_object *object, const struct dgf_column *columns,
                        uint32_t n)
{
    object->columns = dgf_calloc(n, sizeof(*columns));
    object->keys = dgf_calloc(n, sizeof(*object->keys));
    if (!object->columns || !object->keys)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        struct dgf_column *column = &object->columns[i];

        object->n_columns = i + 1;
        column->type = columns[i].type;
        column->key = columns[i].key;
        if (!own_name(column, &columns[i]) ||
            !own_text(&column->comment, columns[i].comment) ||
            !own_text(&column->type_name, columns[i].type_name))
            return false;
        if (column->key)
            object->keys[object->n_keys++] = i;
        if (dgf_map_put(&object->by_name, dgf_bytes_of(column->name, column->name_len),
                        (void *)((uintptr_t)i + 1), NULL))
            return false;
    }
    return true;
}

enum dgf_rc dgf_object_new(const char *source_type, const char *database,
                           const char *schema, const char *name,
                           const struct dgf_column *columns, uint32_t n_columns,
                           uint64_t version, struct dgf_object **ret)
{
    struct dgf_object *object = dgf_calloc(1, sizeof(*object));

    if (!object)
        return DGF_NOMEM;
    atomic_init(&object->refs, 1);
    dgf_map_init(&object->by_name);
    object->source_type = source_type;
    object->version = version;
    object->serial =
        atomic_fetch_add_explicit(&last_serial, 1, memory_order_relaxed) + 1;
    object->name = dgf_strdup(name);
    object->database = database ? dgf_strdup(database) : NULL;
    object->schema = schema ? dgf_strdup(schema) : NULL;
    object->text = object_text(schema, name);
    if (!object->name || !object->text || (database && !object->database) ||
        (schema && !object->schema) ||
        (n_columns > 0 && !own_columns(object, columns, n_columns))) {
        dgf_object_unref(object);
        return DGF_NOMEM;
    }
    *ret = object;
    return DGF_OK;
}

struct dgf_object *dgf_object_ref(struct dgf_object *object)
{
    atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
    return object;
}

void dgf_object_unref(struct dgf_object *object)
{
    if (!object ||
        atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (object->unbind)
        object->unbind(object->binding);
    for (uint32_t i = 0; i < object->n_columns; i++) {
        dgf_free((void *)(uintptr_t)object->columns[i].packed.ptr);
        dgf_free((void *)(uintptr_t)object->columns[i].type_name);
        dgf_free((void *)(uintptr_t)object->columns[i].comment);
    }
    dgf_map_release(&object->by_name, NULL);
    dgf_free(object->columns);
    dgf_free(object->keys);
    dgf_free(object->classes);
    dgf_free(object->database);
    dgf_free(object->schema);
    dgf_free(object->name);
    dgf_free(object->text);
    dgf_free(object);
}

int dgf_object_column(const struct dgf_object *object, struct dgf_bytes name)
{
    return (int)(uintptr_t)dgf_map_get(&object->by_name, name) - 1;
}
