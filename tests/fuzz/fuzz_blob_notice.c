/* The text of a message of a Storage queue, or of a blob of dead letters: it is refused
 * with a reason, or gives as many well-formed maps as it says, of which those that are
 * events become well-formed ones. */
#include <assert.h>
#include <stdint.h>

#include "blob_change.h"
#include "blob_letter.h"
#include "blob_notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static void check_event(struct dgf_bytes record)
{
    struct dgf_blob_extra extra = {.content = DGF_BLOB_CONTENT, .bytes = record};
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_event_builder builder;
    struct dgf_blob_change change;
    struct dgf_event *event = NULL;
    const char *why = NULL;

    if (dgf_blob_change_read(record, &change, &why)) {
        assert(why && *why);
        return;
    }
    assert(change.id.len > 0 && change.id.len <= DGF_BLOB_ID_MAX);
    assert(change.path.len <= DGF_BLOB_PATH_MAX);
    dgf_event_builder_init(&builder, 4 << 20);
    dgf_blob_change_build(&change, &extra, NULL, &builder);
    if (dgf_event_finish(&builder, &meta, &event) == DGF_OK)
        assert(dgf_mp_check(event->body) == DGF_OK);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
}

/* An event, or a list of them, as dgf_blob_notice_read takes it. */
static void check_notice(struct dgf_bytes text)
{
    const char *why = NULL;
    struct dgf_bytes one;
    struct dgf_buf maps;
    struct dgf_mp mp;
    size_t n;

    dgf_buf_init(&maps, 4 << 20);
    if (dgf_blob_notice_read(text, &maps, &n, &why)) {
        assert(why && *why);
    } else {
        mp = dgf_mp_of(dgf_buf_bytes(&maps));
        for (size_t i = 0; i < n; i++) {
            assert(dgf_mp_value(&mp, &one) == DGF_OK);
            assert(dgf_mp_check(one) == DGF_OK);
            check_event(one);
        }
        assert(mp.ptr == mp.end);
    }
    dgf_buf_release(&maps);
}

/* Its elements lie in the text, one behind the other, and whatever is read of it is
 * less than there was. */
static void check_letter(struct dgf_bytes text)
{
    struct dgf_bytes rest = text, one = {0};
    bool in_list = false;
    const uint8_t *end = text.ptr;
    int64_t begin_ns, end_ns;

    while (dgf_blob_letter_next(&rest, &in_list, &one) == DGF_OK) {
        assert(one.len > 0 && one.ptr >= end);
        assert(one.ptr + one.len <= rest.ptr);
        assert(rest.ptr + rest.len == text.ptr + text.len);
        end = one.ptr + one.len;
        check_notice(one);
    }
    if (dgf_blob_letter_folder(text, &begin_ns, &end_ns) != DGF_BLOB_FOLDER_ABOVE)
        assert(begin_ns >= 0 && begin_ns < end_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_blob_letters letters;

    check_notice(dgf_bytes_of(ptr, len));
    check_letter(dgf_bytes_of(ptr, len));
    if (dgf_blob_letters_get(dgf_bytes_of(ptr, len), &letters) == DGF_OK)
        assert(letters.where[0] && letters.end_bucket >= letters.first_bucket);
    return 0;
}
