#include "blob_change.h"

#include "base/json.h"
#include "blob_notice.h"
#include "unit.h"

#ifndef DGF_SRCDIR
#define DGF_SRCDIR "."
#endif

static struct dgf_buf maps, found;

static void show_event(const struct dgf_blob_change *change,
                       const struct dgf_blob_extra *extra)
{
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.commit_ns = change->time_ns};
    struct dgf_event *event = NULL;
    struct dgf_object *object;
    struct dgf_json json = dgf_json_of(&found);
    char name[1024];

    (void)snprintf(
        name, sizeof(name), "%.*s%s%.*s",
        (int)(change->path.len ? change->container.len : change->account.len),
        (const char *)(change->path.len ? change->container.ptr : change->account.ptr),
        change->path.len ? "/" : "", (int)change->path.len,
        (const char *)change->path.ptr);
    ck_assert(dgf_object_new("blob", NULL, NULL, name, NULL, 0, 1, &object) == DGF_OK);
    dgf_event_builder_init(&builder, 1 << 20);
    dgf_blob_change_build(change, extra, object, &builder);
    ck_assert(dgf_event_finish(&builder, &meta, &event) == DGF_OK);
    dgf_buf_addf(&found, "%s %s at %lld ", dgf_op_text((enum dgf_op)event->op),
                 object->text, (long long)event->commit_ns);
    ck_assert_int_eq(event->kind, DGF_KIND_NOTICE);
    ck_assert(dgf_json_msgpack(&json, event->body) == DGF_OK);
    dgf_buf_add_byte(&found, '\n');
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
}

/* What a message comes to, as in the file. */
static void judge(struct dgf_bytes text)
{
    struct dgf_blob_extra plain = {.content = DGF_BLOB_NOT_LOOKED};
    struct dgf_blob_change change;
    struct dgf_mp mp;
    struct dgf_bytes one;
    const char *why = NULL;
    enum dgf_rc rc;
    size_t n;

    dgf_buf_clear(&maps);
    dgf_buf_clear(&found);
    if (dgf_blob_notice_read(text, &maps, &n, &why)) {
        dgf_buf_addf(&found, "%s\n", why);
        return;
    }
    if (n == 0)
        dgf_buf_add_str(&found, "nothing\n");
    mp = dgf_mp_of(dgf_buf_bytes(&maps));
    for (size_t i = 0; i < n; i++) {
        ck_assert(dgf_mp_value(&mp, &one) == DGF_OK);
        rc = dgf_blob_change_read(one, &change, &why);
        if (rc)
            dgf_buf_addf(&found, "%s%s\n", rc == DGF_AGAIN ? "counted: " : "", why);
        else
            show_event(&change, &plain);
    }
    ck_assert(mp.ptr == mp.end);
}

START_TEST(messages_become_the_events_of_the_file)
{
    FILE *from = fopen(DGF_SRCDIR "/tests/data/blob_notices.txt", "r");
    unsigned n = 0;
    size_t at = 0;
    char text[8192];

    ck_assert(from != NULL);
    while (fgets(text, sizeof(text), from)) {
        size_t len = strlen(text);

        ck_assert(len && text[len - 1] == '\n');
        if (text[0] == '<') {
            ck_assert_msg(at == found.len, "more came: %s", dgf_buf_str(&found) + at);
            judge(dgf_bytes_of(text + 2, len > 3 ? len - 3 : 0));
            at = 0;
        } else if (text[0] == '>') {
            ck_assert_msg(found.len - at >= len - 2 &&
                              memcmp(found.ptr + at, text + 2, len - 2) == 0,
                          "wanted: %sgot: %s", text + 2, dgf_buf_str(&found) + at);
            at += len - 2;
            n++;
        }
    }
    ck_assert_uint_eq(at, found.len);
    (void)fclose(from);
    ck_assert_uint_gt(n, 20);
}
END_TEST

START_TEST(a_look_at_the_content_is_a_field_that_may_be_unavailable)
{
    static const char text[] =
        "{\"eventType\":\"BlobCreated\",\"id\":\"e\",\"eventTime\":\"2026-01-10T10:00:00Z\","
        "\"subject\":\"/blobServices/default/containers/c/blobs/p\"}";
    struct dgf_blob_extra extra = {.content = DGF_BLOB_CONTENT,
                                   .bytes = DGF_BYTES("4111"),
                                   .late = true,
                                   .reordered = true};
    struct dgf_blob_change change;
    const char *why = NULL;
    size_t n;

    dgf_buf_clear(&maps);
    ck_assert(dgf_blob_notice_read(dgf_bytes_str(text), &maps, &n, &why) == DGF_OK);
    ck_assert(dgf_blob_change_read(dgf_buf_bytes(&maps), &change, &why) == DGF_OK);
    dgf_buf_clear(&found);
    show_event(&change, &extra);
    extra = (struct dgf_blob_extra){.content = DGF_BLOB_UNAVAILABLE};
    show_event(&change, &extra);
    extra = (struct dgf_blob_extra){.content = DGF_BLOB_CONTENT,
                                    .bytes = DGF_BYTES("\xff\xfe")};
    show_event(&change, &extra);
    ck_assert(strstr(dgf_buf_str(&found),
                     "\"content\":\"4111\"},\"extra\":{\"late\":true,"
                     "\"reordered\":true}}"));
    ck_assert(
        strstr(dgf_buf_str(&found), "\"content\":{\"$unavailable\":\"not_sent\"}}}"));
    ck_assert(strstr(dgf_buf_str(&found), "\"content\":{\"$binary\""));
}
END_TEST

START_TEST(a_giant_message_is_refused_unread)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf giant = {0};
    const char *why = NULL;
    size_t n;

    dgf_buf_init(&giant, 1 << 20);
    for (int i = 0; i < (256 << 10) + 1; i++)
        dgf_buf_add_byte(&giant, ' ');
    ck_assert(dgf_blob_notice_read(dgf_buf_bytes(&giant), &maps, &n, &why) ==
              DGF_BAD_DATA);
    ck_assert_str_eq(why, "it is larger than 256 KiB");
    dgf_buf_clear(&giant);
    dgf_buf_add_byte(&giant, '[');
    for (int i = 0; i < 1001; i++)
        dgf_buf_add_str(&giant, i ? ",1" : "1");
    dgf_buf_add_byte(&giant, ']');
    ck_assert(dgf_blob_notice_read(dgf_buf_bytes(&giant), &maps, &n, &why) ==
              DGF_BAD_DATA);
    ck_assert_str_eq(why, "it holds more than 1,000 events");
}
END_TEST

START_TEST(sequencers_are_compared_only_when_they_are_of_one_length)
{
    ck_assert_int_lt(dgf_blob_sequencer_cmp(DGF_BYTES("01"), DGF_BYTES("0A")), 0);
    ck_assert_int_gt(dgf_blob_sequencer_cmp(DGF_BYTES("0B"), DGF_BYTES("0A")), 0);
    ck_assert_int_eq(dgf_blob_sequencer_cmp(DGF_BYTES("0A"), DGF_BYTES("0A")), 0);
    ck_assert_int_eq(dgf_blob_sequencer_cmp(DGF_BYTES("00A"), DGF_BYTES("0B")), 0);
    ck_assert_int_eq(dgf_blob_sequencer_cmp(DGF_BYTES(""), DGF_BYTES("")), 0);
}
END_TEST

static void setup(void)
{
    dgf_buf_init(&maps, 1 << 20);
    dgf_buf_init(&found, 1 << 20);
}

static void teardown(void)
{
    dgf_buf_release(&maps);
    dgf_buf_release(&found);
}

int main(void)
{
    const TTest *const tests[] = {
        messages_become_the_events_of_the_file,
        a_look_at_the_content_is_a_field_that_may_be_unavailable,
        a_giant_message_is_refused_unread,
        sequencers_are_compared_only_when_they_are_of_one_length,
    };
    Suite *suite = suite_create("blob_change");
    SRunner *runner = srunner_create(suite);
    int failed;

    for (size_t i = 0; i < DGF_ARRAY_LEN(tests); i++) {
        TCase *tc = tcase_create(tests[i]->name);

        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_set_timeout(tc, 60);
        tcase_add_test(tc, tests[i]);
        suite_add_tcase(suite, tc);
    }
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
