/* A chunk of the change feed: header, blocks and values.  Whatever the bytes are,
 * nothing is read beyond them, a value that was decoded is well-formed msgpack, and
 * one that makes an event makes a well-formed one.  The same header cut anywhere is
 * asked for the rest or refused. */
#include <assert.h>
#include <stdint.h>

#include "avro_blocks.h"
#include "blob_change.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static void check_event(struct dgf_bytes record)
{
    struct dgf_blob_extra extra = {.content = DGF_BLOB_UNAVAILABLE, .late = true};
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_event_builder builder;
    struct dgf_blob_change change;
    struct dgf_event *event = NULL;
    const char *why = NULL;

    if (dgf_blob_change_read(record, &change, &why)) {
        assert(why && *why);
        return;
    }
    dgf_event_builder_init(&builder, 1 << 20);
    dgf_blob_change_build(&change, &extra, NULL, &builder);
    if (dgf_event_finish(&builder, &meta, &event) == DGF_OK)
        assert(dgf_mp_check(event->body) == DGF_OK);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
}

static void check_block(const struct dgf_avro_header *header,
                        const struct dgf_avro_block *block)
{
    struct dgf_rd rd = dgf_rd_of(block->data);
    struct dgf_err err = {0};
    struct dgf_buf out;

    dgf_buf_init(&out, 64 << 10);
    for (uint64_t i = 0; i < block->count && i < 1000; i++) {
        dgf_buf_clear(&out);
        if (dgf_avro_decode(header->schema, &rd, &out, &err)) {
            assert(err.text[0]);
            break;
        }
        assert(rd.ptr <= rd.end);
        assert(dgf_mp_check(dgf_buf_bytes(&out)) == DGF_OK);
        check_event(dgf_buf_bytes(&out));
    }
    dgf_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes bytes = dgf_bytes_of(ptr, len);
    struct dgf_avro_header header = {0};
    struct dgf_avro_block block;
    struct dgf_err err = {0};
    size_t need, at;

    if (dgf_avro_header_read(bytes, &header, &err))
        return 0;
    assert(header.len <= len);
    (void)dgf_avro_schema_has(header.schema, "data");
    for (at = header.len; at < len; at += block.len) {
        enum dgf_rc rc = dgf_avro_block_read(dgf_bytes_of(ptr + at, len - at),
                                             header.sync, &block, &need, &err);

        if (rc)
            break;
        assert(block.len <= len - at && block.len == need);
        check_block(&header, &block);
    }
    dgf_avro_header_release(&header);
    return 0;
}
