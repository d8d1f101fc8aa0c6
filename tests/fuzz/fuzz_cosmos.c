/* Answers of Cosmos DB.  The first byte chooses the mode; the rest is a page, the
 * properties of a container, a list of ranges, a position and an Entra token.  What a
 * page gives lies in it, and a change that was taken makes an event that is
 * well-formed. */
#include <assert.h>
#include <stdint.h>

#include "azure_token.h"
#include "cosmos_feed.h"
#include "cosmos_position.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static void check_change(const struct dgf_cosmos_change *change,
                         enum dgf_cosmos_mode mode, const struct dgf_cosmos_key *key)
{
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_object *object = NULL;
    struct dgf_event_builder builder;
    struct dgf_event *event = NULL;
    const char *why;

    if (dgf_object_new("cosmos", "d", "d", "c", NULL, 0, 1, &object))
        return;
    dgf_event_builder_init(&builder, 1 << 20);
    why = dgf_cosmos_change_build(change, mode, key, object, &builder);
    if (!why && dgf_event_finish(&builder, &meta, &event) == DGF_OK) {
        struct dgf_event *again = NULL;
        struct dgf_err err = {0};

        assert(dgf_mp_check(event->body) == DGF_OK);
        assert(dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, change->op,
                                      event->body, &meta, &again, &err) == DGF_OK);
        dgf_event_unref(again);
    }
    assert(!why || *why);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}

static void check_page(struct dgf_bytes body, enum dgf_cosmos_mode mode)
{
    static struct dgf_cosmos_key key, own;
    struct dgf_cosmos_change change;
    struct dgf_cosmos_page page;
    struct dgf_bytes item;
    size_t n = 0;
    bool cut;

    (void)dgf_cosmos_key_read(
        DGF_BYTES("{\"partitionKey\":{\"paths\":[\"/pk\",\"/a/b\"]}}"), &key);
    if (dgf_cosmos_page_read(body, &page, &cut))
        return;
    while (dgf_cosmos_page_next(&page, &item)) {
        n++;
        assert(item.ptr >= body.ptr && item.ptr + item.len <= body.ptr + body.len);
        if (!dgf_cosmos_change_read(item, mode, &change)) {
            assert(change.has_lsn && change.lsn >= 0 && change.id.len >= 2);
            check_change(&change, mode, &key);
            if (dgf_cosmos_key_read(item, &own))
                check_change(&change, mode, &own);
        }
    }
    assert(n == page.n);
}

static void check_position(struct dgf_bytes bytes)
{
    struct dgf_cosmos_position position;
    struct dgf_buf text;

    dgf_buf_init(&text, 8192);
    dgf_cosmos_position_text(bytes, &text);
    assert(dgf_buf_rc(&text) == DGF_OK && text.len <= 4096);
    if (!dgf_cosmos_position_read(bytes, &position))
        assert(text.len == 0);
    dgf_buf_release(&text);
}

static void check_token(struct dgf_bytes body)
{
    struct dgf_azure_token token = {0};
    struct dgf_err err;
    bool unknown;

    if (dgf_azure_token_read(DGF_AZURE_MANAGED_IDENTITY, 200, body, 1, &token, &unknown,
                             &err) == DGF_OK)
        assert(token.text && token.life_ns > 0 && token.refresh_ns <= token.life_ns);
    dgf_azure_token_release(&token);
    assert(dgf_azure_token_read(DGF_AZURE_CLIENT_SECRET, 400, body, 1, &token, &unknown,
                                &err) == DGF_BAD_CONFIG);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes body;
    static struct dgf_cosmos_key key;
    struct dgf_buf out;

    if (!len || len > 256u << 10)
        return 0;
    body = dgf_bytes_of(ptr + 1, len - 1);
    check_page(body, ptr[0] & 1 ? DGF_COSMOS_ALL : DGF_COSMOS_LATEST);
    check_position(body);
    check_token(body);
    dgf_buf_init(&out, 1 << 20);
    (void)dgf_cosmos_pkranges_read(body, &out);
    dgf_buf_clear(&out);
    if (!dgf_jv_check(body, NULL)) {
        struct dgf_bytes root = dgf_jv_root(body);

        (void)dgf_cosmos_key_read(root, &key);
        dgf_cosmos_settings(root, &out);
        assert(dgf_buf_rc(&out) || !dgf_jv_is(root, '{') ||
               !dgf_jv_check(dgf_buf_bytes(&out), NULL));
        dgf_buf_clear(&out);
        if (!dgf_jv_pack(root, 90, &out) && !dgf_buf_rc(&out))
            assert(dgf_mp_check(dgf_buf_bytes(&out)) == DGF_OK);
    }
    dgf_buf_release(&out);
    return 0;
}
