#include "cosmos_feed.h"

#include <stdio.h>

#include "base/json.h"
#include "cosmos_position.h"
#include "unit.h"

static struct dgf_buf text;

/* "op: body" of an item, or why it is no event. */
static const char *show(const char *item, enum dgf_cosmos_mode mode,
                        const char *container)
{
    struct dgf_json json = dgf_json_of(&text);
    struct dgf_event_meta meta = {.commit_ns = 1};
    struct dgf_cosmos_change change;
    struct dgf_cosmos_key key;
    struct dgf_event_builder builder;
    struct dgf_object *object;
    struct dgf_event *event;
    const char *why;

    dgf_buf_clear(&text);
    ck_assert(dgf_cosmos_key_read(dgf_bytes_str(container), &key));
    ck_assert_ptr_null(dgf_jv_check(dgf_bytes_str(item), NULL));
    why = dgf_cosmos_change_read(dgf_bytes_str(item), mode, &change);
    if (why)
        return why;
    ck_assert(!dgf_object_new("cosmos", "d", "d", "c", NULL, 0, 1, &object));
    dgf_event_builder_init(&builder, 1 << 20);
    why = dgf_cosmos_change_build(&change, mode, &key, object, &builder);
    if (!why) {
        ck_assert_int_eq(dgf_event_finish(&builder, &meta, &event), DGF_OK);
        ck_assert_int_eq(dgf_mp_check(event->body), DGF_OK);
        dgf_buf_addf(&text, "%s %lld %lld ", dgf_op_text(change.op),
                     (long long)change.lsn, (long long)change.time_s);
        ck_assert_int_eq(dgf_json_msgpack(&json, event->body), DGF_OK);
        dgf_event_unref(event);
        why = dgf_buf_str(&text);
    }
    dgf_event_builder_release(&builder);
    dgf_object_unref(object);
    return why;
}

#define PK "{\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":\"Hash\"}}"
#define UNKNOWN "{\"$unavailable\":\"pre_image\"}"

START_TEST(a_latest_version_is_a_replace_with_an_unknown_before)
{
    dgf_buf_init(&text, 1 << 20);
    ck_assert_str_eq(
        show(
            "{\"id\":\"a\",\"pk\":\"p\",\"n\":1,\"_rid\":\"r\",\"_self\":\"s\",\"_etag\":\"e\","
            "\"_attachments\":\"x\",\"_ts\":1795466169,\"_lsn\":24,\"_own\":2}",
            DGF_COSMOS_LATEST, PK),
        "replace 24 1795466169 {\"key\":{\"pk\":\"p\",\"id\":\"a\"},\"before\":" UNKNOWN
        ",\"after\":{\"id\":\"a\",\"pk\":\"p\",\"n\":1,\"_own\":2}}");
    /* A document may well have fields that the other mode's shape has. */
    ck_assert_str_eq(
        show("{\"id\":\"a\",\"current\":{},\"metadata\":{\"operationType\":\"delete\"},"
             "\"_lsn\":1}",
             DGF_COSMOS_LATEST, PK),
        "replace 1 0 {\"key\":{\"id\":\"a\"},\"before\":" UNKNOWN
        ",\"after\":{\"id\":\"a\",\"current\":{},\"metadata\":{\"operationType\":\"delete\"}}}");
    dgf_buf_release(&text);
}
END_TEST

START_TEST(every_version_says_its_operation)
{
    static const struct {
        const char *item, *shown;
    } cases[] = {
        {"{\"current\":{\"id\":\"i9\",\"pk\":4,\"_lsn\":126},\"metadata\":{\"operationType\":"
         "\"create\",\"lsn\":126,\"crts\":1795466169}}",
         "insert 126 1795466169 {\"key\":{\"pk\":4,\"id\":\"i9\"},\"before\":null,\"after\":"
         "{\"id\":\"i9\",\"pk\":4}}"},
        {"{\"current\":{\"id\":\"i9\",\"pk\":4,\"n\":2},\"metadata\":{\"operationType\":"
         "\"replace\",\"lsn\":127,\"crts\":7,\"previousImageLSN\":126},\"previous\":{\"id\":"
         "\"i9\",\"pk\":4,\"n\":1}}",
         "replace 127 7 {\"key\":{\"pk\":4,\"id\":\"i9\"},\"before\":{\"id\":\"i9\",\"pk\":4,"
         "\"n\":1},\"after\":{\"id\":\"i9\",\"pk\":4,\"n\":2}}"},
        {"{\"current\":{\"id\":\"a\",\"pk\":4},\"metadata\":{\"changeType\":\"Replace\","
         "\"lsn\":1}}",
         "replace 1 0 {\"key\":{\"pk\":4,\"id\":\"a\"},\"before\":" UNKNOWN
         ",\"after\":{\"id\":\"a\",\"pk\":4}}"},
        {"{\"current\":{},\"metadata\":{\"operationType\":\"delete\",\"lsn\":128,\"id\":\"b5\","
         "\"partitionKey\":{\"pk\":\"p1\"}},\"previous\":{\"id\":\"b5\",\"pk\":\"p1\",\"n\":3}}",
         "delete 128 0 {\"key\":{\"pk\":\"p1\",\"id\":\"b5\"},\"before\":{\"id\":\"b5\",\"pk\":"
         "\"p1\",\"n\":3},\"after\":null}"},
        {"{\"current\":null,\"metadata\":{\"operationType\":\"delete\",\"lsn\":1,\"id\":\"b\","
         "\"partitionKey\":[\"p1\"]}}",
         "delete 1 0 {\"key\":{\"pk\":\"p1\",\"id\":\"b\"},\"before\":" UNKNOWN
         ",\"after\":null}"},
        {"{\"metadata\":{\"operationType\":\"delete\",\"lsn\":1,\"id\":\"b\","
         "\"timeToLiveExpired\":true,\"partitionKey\":{\"pk\":null}}}",
         "expire 1 0 {\"key\":{\"pk\":null,\"id\":\"b\"},\"before\":" UNKNOWN
         ",\"after\":null}"},
    };

    dgf_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(cases[i].item, DGF_COSMOS_ALL, PK), cases[i].shown);
    dgf_buf_release(&text);
}
END_TEST

START_TEST(keys_follow_their_paths)
{
    static const char container[] =
        "{\"partitionKey\":{\"paths\":[\"/a/b\",\"/\\\"x/y\\\"\",\"/id\"]}}";

    dgf_buf_init(&text, 1 << 20);
    ck_assert_str_eq(
        show("{\"id\":\"i\",\"a\":{\"b\":1},\"x/y\":2,\"_lsn\":1}", DGF_COSMOS_LATEST,
             container),
        "replace 1 0 {\"key\":{\"a.b\":1,\"x/y\":2,\"id\":\"i\"},\"before\":" UNKNOWN
        ",\"after\":{\"id\":\"i\",\"a\":{\"b\":1},\"x/y\":2}}");
    ck_assert_str_eq(
        show("{\"metadata\":{\"operationType\":\"delete\",\"lsn\":1,\"id\":\"b\","
             "\"partitionKey\":{\"/a/b\":5,\"x/y\":6}}}",
             DGF_COSMOS_ALL, container),
        "delete 1 0 {\"key\":{\"a.b\":5,\"x/y\":6,\"id\":\"b\"},\"before\":" UNKNOWN
        ",\"after\":null}");
    dgf_buf_release(&text);
}
END_TEST

START_TEST(paths_of_keys_are_read_strictly)
{
    static const char *const bad[] = {
        "{\"partitionKey\":{}}",
        "{\"partitionKey\":{\"paths\":7}}",
        "{\"partitionKey\":{\"paths\":[\"a\"]}}",
        "{\"partitionKey\":{\"paths\":[\"/\"]}}",
        "{\"partitionKey\":{\"paths\":[\"/a//b\"]}}",
        "{\"partitionKey\":{\"paths\":[\"/\\\"a\"]}}",
        "{\"partitionKey\":{\"paths\":[7]}}",
        "{\"partitionKey\":{\"paths\":[\"/1\",\"/2\",\"/3\",\"/4\",\"/5\",\"/6\",\"/7\",\"/8\","
        "\"/9\"]}}",
    };
    struct dgf_cosmos_key key;

    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_msg(!dgf_cosmos_key_read(dgf_bytes_str(bad[i]), &key), "%s", bad[i]);
    ck_assert(dgf_cosmos_key_read(DGF_BYTES("{}"), &key));
    ck_assert_uint_eq(key.n, 0);
}
END_TEST

START_TEST(what_is_no_change_is_named)
{
    static const struct {
        const char *item;
        enum dgf_cosmos_mode mode;
        const char *why;
    } cases[] = {
        {"7", DGF_COSMOS_LATEST, "the change is no object"},
        {"{}", DGF_COSMOS_LATEST, "the change has no id"},
        {"{\"id\":7,\"_lsn\":1}", DGF_COSMOS_LATEST, "the change has no id"},
        {"{\"id\":\"a\"}", DGF_COSMOS_LATEST, "the change has no _lsn"},
        {"{\"id\":\"a\",\"_lsn\":1.5}", DGF_COSMOS_LATEST, "the change has no _lsn"},
        {"{\"id\":\"a\",\"_lsn\":-1}", DGF_COSMOS_LATEST, "the change has no _lsn"},
        {"{\"id\":\"a\",\"_lsn\":1,\"x\":1,\"x\":2}", DGF_COSMOS_LATEST,
         "a field stands twice"},
        {"{\"id\":\"a\",\"_lsn\":1}", DGF_COSMOS_ALL, "the change has no metadata"},
        {"{\"metadata\":{\"lsn\":1}}", DGF_COSMOS_ALL,
         "the change does not say its operation"},
        {"{\"metadata\":{\"operationType\":\"merge\"}}", DGF_COSMOS_ALL,
         "an operation nobody knows"},
        {"{\"metadata\":{\"operationType\":\"create\",\"lsn\":1,\"id\":\"a\"}}",
         DGF_COSMOS_ALL, "the change has no document"},
        {"{\"metadata\":{\"operationType\":\"delete\",\"lsn\":1}}", DGF_COSMOS_ALL,
         "the change has no id"},
    };

    dgf_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_str_eq(show(cases[i].item, cases[i].mode, PK), cases[i].why);
    dgf_buf_release(&text);
}
END_TEST

START_TEST(pages_are_whole_or_none)
{
    static const struct {
        const char *body, *why;
        bool cut;
    } cases[] = {
        {"", "it is empty", true},
        {"{\"Documents\":[{\"id\":", "it ends too early", true},
        {"[]", "it has no list of documents", false},
        {"{\"Documents\":{}}", "it has no list of documents", false},
        {"{\"Documents\":[{}],\"_count\":2}",
         "its _count is not the number of its documents", false},
        {"{\"Documents\":[],\"_rid\":7}", "its _rid is none", false},
    };
    struct dgf_cosmos_page page;
    struct dgf_bytes item;
    bool cut;

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        ck_assert_str_eq(
            dgf_cosmos_page_read(dgf_bytes_str(cases[i].body), &page, &cut),
            cases[i].why);
        ck_assert_int_eq(cut, cases[i].cut);
    }
    ck_assert_ptr_null(dgf_cosmos_page_read(
        DGF_BYTES("{\"_rid\":\"UAk=\",\"Documents\":[ 1 , {\"a\":[]} ],\"_count\":2}"),
        &page, &cut));
    ck_assert_str_eq(page.rid, "UAk=");
    ck_assert_uint_eq(page.n, 2);
    ck_assert(dgf_cosmos_page_next(&page, &item));
    ck_assert(dgf_cosmos_page_next(&page, &item));
    ck_assert(dgf_bytes_eq(item, DGF_BYTES("{\"a\":[]}")));
    ck_assert(!dgf_cosmos_page_next(&page, &item));
}
END_TEST

START_TEST(parents_are_no_ranges_any_more)
{
    struct dgf_cosmos_pkrange *ranges;
    struct dgf_buf buf;

    dgf_buf_init(&buf, 1 << 20);
    ck_assert_ptr_null(dgf_cosmos_pkranges_read(
        DGF_BYTES(
            "{\"PartitionKeyRanges\":[{\"id\":\"0\",\"minInclusive\":\"\",\"maxExclusive\":"
            "\"FF\"},{\"id\":\"1\",\"minInclusive\":\"\",\"maxExclusive\":\"20\",\"parents\":"
            "[\"0\"]},{\"id\":\"2\",\"minInclusive\":\"20\",\"maxExclusive\":\"FF\","
            "\"parents\":[\"0\"]}]}"),
        &buf));
    ranges = (struct dgf_cosmos_pkrange *)(void *)buf.ptr;
    ck_assert_uint_eq(buf.len, 2 * sizeof(*ranges));
    ck_assert_str_eq(ranges[0].id, "1");
    ck_assert_str_eq(ranges[1].min, "20");
    ck_assert_str_eq(dgf_cosmos_pkranges_read(DGF_BYTES("{}"), &buf),
                     "it has no list of ranges");
    ck_assert_str_eq(dgf_cosmos_pkranges_read(
                         DGF_BYTES("{\"PartitionKeyRanges\":[{\"id\":\"0\"}]}"), &buf),
                     "a range without id or bounds");
    ck_assert_str_eq(
        dgf_cosmos_pkranges_read(
            DGF_BYTES("{\"PartitionKeyRanges\":[{\"id\":\"0\","
                      "\"minInclusive\":\"FF\",\"maxExclusive\":\"20\"}]}"),
            &buf),
        "a range whose id or bounds are none");
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(what_changes_by_itself_is_no_setting)
{
    dgf_buf_init(&text, 1000);
    dgf_cosmos_settings(
        DGF_BYTES("{\"id\":\"c\",\"_rid\":\"x\",\"defaultTtl\":60,\"_ts\":1,"
                  "\"indexingPolicy\":{\"_ts\":2}}"),
        &text);
    ck_assert_str_eq(dgf_buf_str(&text),
                     "{\"id\":\"c\",\"defaultTtl\":60,\"indexingPolicy\":{\"_ts\":2}}");
    dgf_buf_release(&text);
}
END_TEST

/* ---- positions ---- */

static void put_place(struct dgf_buf *buf, const char *name, uint32_t n)
{
    struct dgf_cosmos_place place = {
        .name = dgf_bytes_str(name), .rid = DGF_BYTES("UAk="), .n_ranges = n};

    dgf_cosmos_position_place(buf, &place);
}

static void put_token(struct dgf_buf *buf, const char *min, const char *max,
                      const char *etag)
{
    struct dgf_cosmos_token token = {dgf_bytes_str(min), dgf_bytes_str(max),
                                     dgf_bytes_str(etag)};

    dgf_cosmos_position_token(buf, &token);
}

START_TEST(a_position_is_read_back_and_has_a_text)
{
    struct dgf_cosmos_position position;
    struct dgf_cosmos_place place;
    struct dgf_cosmos_token token;
    struct dgf_buf buf;

    dgf_buf_init(&buf, 10000);
    dgf_buf_init(&text, 10000);
    dgf_cosmos_position_begin(&buf, DGF_COSMOS_ALL, DGF_BYTES("acct"), 1);
    put_place(&buf, "orders", 2);
    put_token(&buf, "", "20", "\"26\"");
    put_token(&buf, "20", "FF", "");
    dgf_cosmos_position_text(dgf_buf_bytes(&buf), &text);
    ck_assert_str_eq(dgf_buf_str(&text), "-20:26 20-FF:");
    ck_assert(dgf_cosmos_position_read(dgf_buf_bytes(&buf), &position));
    ck_assert_int_eq(position.mode, DGF_COSMOS_ALL);
    ck_assert(dgf_bytes_eq(position.account, DGF_BYTES("acct")));
    ck_assert(dgf_cosmos_position_next(&position, &place));
    ck_assert(dgf_bytes_eq(place.rid, DGF_BYTES("UAk=")));
    ck_assert(dgf_cosmos_position_next_token(&position, &token));
    ck_assert(dgf_bytes_eq(token.etag, DGF_BYTES("\"26\"")));
    for (size_t len = 0; len < buf.len; len++)
        ck_assert(!dgf_cosmos_position_read(dgf_bytes_of(buf.ptr, len), &position));
    dgf_buf_add_byte(&buf, 0);
    ck_assert(!dgf_cosmos_position_read(dgf_buf_bytes(&buf), &position));
    dgf_buf_release(&text);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(several_containers_are_named_and_a_long_text_is_counted)
{
    struct dgf_buf buf;

    dgf_buf_init(&buf, 1 << 20);
    dgf_buf_init(&text, 10000);
    dgf_cosmos_position_begin(&buf, DGF_COSMOS_LATEST, DGF_BYTES("acct"), 2);
    put_place(&buf, "a", 1);
    put_token(&buf, "", "FF", "\"1\"");
    put_place(&buf, "b c", 1);
    put_token(&buf, "", "FF", "\"2 \n\"");
    dgf_cosmos_position_text(dgf_buf_bytes(&buf), &text);
    ck_assert_str_eq(dgf_buf_str(&text), "a/-FF:1 b?c/-FF:2??");
    dgf_buf_clear(&buf);
    dgf_buf_clear(&text);
    dgf_cosmos_position_begin(&buf, DGF_COSMOS_LATEST, DGF_BYTES("acct"), 1);
    put_place(&buf, "a", 1000);
    for (int i = 0; i < 1000; i++)
        put_token(&buf, "05C1E0B5C1E0B5C1E0B5C1E0B5C1E0B5", "FF", "\"1234567890\"");
    dgf_cosmos_position_text(dgf_buf_bytes(&buf), &text);
    ck_assert_uint_le(text.len, 4096);
    ck_assert_str_eq(strrchr(dgf_buf_str(&text), ' '), " +915");
    dgf_buf_release(&text);
    dgf_buf_release(&buf);
}
END_TEST

DGF_UNIT(cosmos_feed, a_latest_version_is_a_replace_with_an_unknown_before,
         every_version_says_its_operation, keys_follow_their_paths,
         paths_of_keys_are_read_strictly, what_is_no_change_is_named,
         pages_are_whole_or_none, parents_are_no_ranges_any_more,
         what_changes_by_itself_is_no_setting, a_position_is_read_back_and_has_a_text,
         several_containers_are_named_and_a_long_text_is_counted)
