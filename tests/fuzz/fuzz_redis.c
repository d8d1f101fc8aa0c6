/* Replies of Redis.  The first byte says how deep a reply is taken apart and in
 * which portions the bytes come: whatever the portions, the same items are
 * found, each lies in what was given, and an entry that was taken makes an
 * event whose sections are well-formed.  The same bytes as what is remembered
 * of a stream, as a position and as facts. */
#include <assert.h>
#include <stdint.h>

#include "redis_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

#define MAX_ITEM 2048

static const struct dgf_redis_map plain = {.object = NULL};
static char *keys[] = {(char *)"id"}, *words[] = {(char *)"c"},
            *meanings[] = {(char *)"insert"}, *fields[] = {(char *)"j", (char *)"m"},
            *codecs[] = {(char *)"json", (char *)"msgpack"};
static const struct dgf_redis_map mapped = {
    .object = (char *)"t",
    .op = (char *)"o",
    .before = (char *)"m",
    .after = (char *)"j",
    .key = {keys, 1},
    .ops = {words, meanings, 1},
};
static const struct dgf_str_map decode = {fields, codecs, 2};

static void check_event(const struct dgf_redis_map *map,
                        const struct dgf_redis_entry *entry, struct dgf_object *object)
{
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_event_builder builder;
    struct dgf_redis_sort sort;
    struct dgf_event *event = NULL;
    const char *why = NULL;
    enum dgf_rc rc = dgf_redis_entry_sort(map, entry, &sort, &why);

    dgf_event_builder_init(&builder, 1 << 20);
    if (rc == DGF_OK)
        rc =
            dgf_redis_entry_build(map, &decode, entry, sort.op, object, &builder, &why);
    if (rc == DGF_OK && dgf_event_finish(&builder, &meta, &event) == DGF_OK) {
        struct dgf_event *again = NULL;
        struct dgf_err err = {0};

        assert(dgf_mp_check(event->body) == DGF_OK);
        assert(dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, sort.op,
                                      event->body, &meta, &again, &err) == DGF_OK);
        dgf_event_unref(again);
    }
    assert(rc == DGF_OK || rc == DGF_NOMEM || (rc == DGF_BAD_DATA && why && *why));
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
}

static void check_item(const struct dgf_resp_item *item, struct dgf_object *object)
{
    struct dgf_redis_entry entry;
    struct dgf_redis_facts facts;
    const char *why = NULL;

    assert(item->size >= item->bytes.len && item->index < item->n);
    assert(!item->cut || item->bytes.len <= DGF_RESP_HEAD);
    if (!item->cut) {
        struct dgf_resp resp = dgf_resp_of(item->bytes);
        struct dgf_bytes whole;

        assert(dgf_resp_skip(&resp, &whole) == DGF_OK && resp.ptr == resp.end);
        assert(dgf_bytes_eq(whole, item->bytes));
    }
    (void)dgf_redis_facts_read(item->bytes, &facts);
    if (dgf_redis_entry_read(item->bytes, item->cut, &entry, &why)) {
        assert(why && *why);
        return;
    }
    if (item->cut || entry.deleted)
        return;
    check_event(&plain, &entry, object);
    check_event(&mapped, &entry, object);
}

/* A digest of all items; portion 0: everything at once. */
static uint64_t run(struct dgf_bytes bytes, unsigned explode, size_t portion,
                    struct dgf_object *object)
{
    struct dgf_resp_reader reader;
    struct dgf_resp_item item;
    uint64_t digest = 0;
    size_t at = 0, room;
    enum dgf_rc rc = DGF_AGAIN;

    dgf_resp_reader_init(&reader, MAX_ITEM);
    while (rc == DGF_AGAIN && at < bytes.len) {
        size_t n = portion && portion < bytes.len - at ? portion : bytes.len - at;
        uint8_t *to = dgf_resp_room(&reader, n, &room);

        assert(to && room >= n);
        memcpy(to, bytes.ptr + at, n);
        dgf_resp_put(&reader, n);
        at += n;
        while ((rc = dgf_resp_reader_next(&reader, explode, &item)) == DGF_OK) {
            digest = digest * 31 + dgf_crc32c(item.depth, item.bytes) + item.size +
                     item.last;
            if (!portion)
                check_item(&item, object);
        }
    }
    dgf_resp_reader_release(&reader);
    return digest * 2 + (rc == DGF_BAD_DATA);
}

static void check_memory(struct dgf_bytes bytes)
{
    struct dgf_redis_memory memory = {0};
    struct dgf_buf out;

    dgf_buf_init(&out, 1 << 20);
    if (dgf_redis_memory_get(bytes, &memory) == DGF_OK) {
        dgf_redis_memory_put(&memory, &out);
        assert(out.len == bytes.len);
    }
    dgf_redis_memory_release(&memory);
    dgf_buf_clear(&out);
    dgf_redis_position_text(bytes, &out);
    dgf_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_object *object;
    struct dgf_bytes bytes;
    uint64_t whole;

    check_memory(dgf_bytes_of(ptr, len));
    if (len == 0 || dgf_object_new("redis", NULL, NULL, "s", NULL, 0, 1, &object))
        return 0;
    bytes = dgf_bytes_of(ptr + 1, len - 1);
    whole = run(bytes, ptr[0] & 3, 0, object);
    assert(whole == run(bytes, ptr[0] & 3, 1 + (ptr[0] >> 2), object));
    dgf_object_unref(object);
    return 0;
}
