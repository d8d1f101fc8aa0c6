/* A BSON document as a value, as an event of a change stream in every way it
 * may be read, and as a position: what was made is well formed. */
#include <assert.h>
#include <stdint.h>

#include "mongo_event.h"
#include "mongo_position.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static void check_value(struct dgf_bytes document)
{
    struct dgf_bson_element element = {.type = DGF_BSON_DOCUMENT, .value = document};
    struct dgf_bson bson;
    struct dgf_buf out;

    if (dgf_bson_of(document, &bson))
        return;
    dgf_buf_init(&out, 1 << 20);
    if (dgf_bson_put(&element, 0, &out) == DGF_OK && dgf_buf_rc(&out) == DGF_OK)
        assert(dgf_mp_check(dgf_buf_bytes(&out)) == DGF_OK);
    dgf_buf_release(&out);
}

static void check_event(struct dgf_bytes document, struct dgf_object *object)
{
    struct dgf_event_meta meta = {0};
    struct dgf_mongo_change change = {0};
    struct dgf_event_builder builder;
    struct dgf_event *event;
    const char *why = NULL;

    if (dgf_mongo_change_read(document, &change, &why)) {
        assert(why && *why);
        return;
    }
    for (int full = DGF_MONGO_FULL_DEFAULT; full <= DGF_MONGO_FULL_REQUIRED; full++) {
        enum dgf_rc rc;

        dgf_event_builder_init(&builder, 1 << 20);
        rc = dgf_mongo_change_build(&change, (enum dgf_mongo_full)full, object,
                                    &builder, &why);
        assert(rc == DGF_OK || rc == DGF_NOMEM || (rc == DGF_BAD_DATA && why && *why));
        if (!rc && dgf_event_finish(&builder, &meta, &event) == DGF_OK) {
            assert(dgf_mp_check(event->body) == DGF_OK);
            dgf_event_unref(event);
        }
        dgf_event_builder_release(&builder);
    }
}

static void check_position(struct dgf_bytes bytes)
{
    struct dgf_mongo_position position;
    struct dgf_buf again;

    dgf_buf_init(&again, 1 << 20);
    dgf_mongo_position_text(bytes, &again);
    if (dgf_mongo_position_read(bytes, &position)) {
        assert(again.len > 0);
        dgf_buf_clear(&again);
        dgf_mongo_position_write(&position, &again);
        /* One of the version before is written anew, with room for its shape. */
        if (bytes.ptr[0] == dgf_buf_bytes(&again).ptr[0])
            assert(dgf_bytes_eq(bytes, dgf_buf_bytes(&again)));
        else
            assert(again.len == bytes.len + sizeof(position.shape));
    } else {
        assert(again.len == 0);
    }
    dgf_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes bytes = dgf_bytes_of(ptr, len);
    struct dgf_object *object;

    if (dgf_object_new("mongo", "shop", "shop", "rows", NULL, 0, 1, &object))
        return 0;
    check_value(bytes);
    check_event(bytes, object);
    check_position(bytes);
    dgf_object_unref(object);
    return 0;
}
