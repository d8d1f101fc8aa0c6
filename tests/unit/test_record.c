#include "record_fixture.h"

static const char *text_at(const json_t *json, const char *a, const char *b)
{
    const json_t *value = json_object_get(json, a);

    if (b)
        value = json_object_get(value, b);
    return json_string_value(value);
}

static enum dgf_rc violate(const struct dgf_event *event,
                           const struct dgf_policy_ref *policy, const char *message,
                           const struct dgf_evidence *evidence, size_t n)
{
    const struct dgf_judgement judgement = {
        .policy = policy,
        .verdict = DGF_VERDICT_VIOLATION,
        .message = dgf_bytes_str(message),
        .evidence = evidence,
        .n_evidence = n,
    };

    return dgf_record_violation(&recorder, event, &judgement);
}

static enum dgf_rc audit(const struct dgf_event *event)
{
    const struct dgf_judged judged = {.n_policies = 1, .verdict = DGF_VERDICT_PASS};

    return dgf_record_audit(&recorder, event, &judged);
}

static const struct dgf_policy_ref bare_policy = {
    .id = "P-1", .title = "t", .severity = DGF_SEVERITY_LOW, .mode = DGF_MODE_ON};

/* ---- header ---- */

START_TEST(a_header_reads_back_as_it_was_put)
{
    struct dgf_record record = {.kind = DGF_RECORD_GAP,
                                .severity = DGF_SEVERITY_HIGH,
                                .shadow = true,
                                .verdict = DGF_VERDICT_REVIEW,
                                .id = {{1, 2, 3}},
                                .time_ns = -5,
                                .policy = DGF_BYTES("P-1"),
                                .source = DGF_BYTES("orders"),
                                .subject = DGF_BYTES("a.b"),
                                .key = DGF_BYTES("k")};
    struct dgf_record back;
    struct dgf_buf buf;

    dgf_buf_init(&buf, 1024);
    dgf_record_put_header(&record, &buf);
    ck_assert_int_eq(dgf_record_get(dgf_buf_bytes(&buf), DGF_BYTES("{}"), 9, &back),
                     DGF_OK);
    ck_assert_uint_eq(back.seq, 9);
    ck_assert_int_eq(back.kind, DGF_RECORD_GAP);
    ck_assert_int_eq(back.severity, DGF_SEVERITY_HIGH);
    ck_assert(back.shadow);
    ck_assert_int_eq(back.verdict, DGF_VERDICT_REVIEW);
    ck_assert_int_eq(back.time_ns, -5);
    ck_assert_int_eq(memcmp(back.id.b, record.id.b, DGF_ID_LEN), 0);
    ck_assert(dgf_bytes_eq(back.policy, record.policy));
    ck_assert(dgf_bytes_eq(back.source, record.source));
    ck_assert(dgf_bytes_eq(back.subject, record.subject));
    ck_assert(dgf_bytes_eq(back.key, record.key));
    ck_assert(dgf_bytes_eq(back.line, DGF_BYTES("{}")));
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(a_header_that_is_none_is_refused)
{
    static const struct {
        size_t at;
        uint8_t byte;
    } table[] = {
        {0, 2}, {1, DGF_RECORD_N}, {2, DGF_SEVERITY_N}, {3, DGF_VERDICT_N}, {4, 2},
        {5, 1}};
    struct dgf_record record = {.policy = DGF_BYTES("P-1")}, back;
    struct dgf_buf buf;

    dgf_buf_init(&buf, 1024);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        dgf_buf_clear(&buf);
        dgf_record_put_header(&record, &buf);
        buf.ptr[table[i].at] = table[i].byte;
        ck_assert_int_eq(dgf_record_get(dgf_buf_bytes(&buf), DGF_BYTES("{}"), 0, &back),
                         DGF_BAD_DATA);
    }
    dgf_buf_clear(&buf);
    dgf_record_put_header(&record, &buf);
    for (size_t len = 0; len < buf.len; len++)
        ck_assert_int_eq(
            dgf_record_get(dgf_bytes_of(buf.ptr, len), DGF_BYTES("{}"), 0, &back),
            DGF_BAD_DATA);
    dgf_buf_add_byte(&buf, 0);
    ck_assert_int_eq(dgf_record_get(dgf_buf_bytes(&buf), DGF_BYTES("{}"), 0, &back),
                     DGF_BAD_DATA);
    dgf_buf_release(&buf);
}
END_TEST

START_TEST(gaps_go_to_two_topics_and_own_acts_to_control)
{
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_VIOLATION), DGF_TOPIC_VIOLATIONS);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_RULE_ERROR), DGF_TOPIC_VIOLATIONS);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_AUDIT), DGF_TOPIC_AUDIT);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_COVERAGE), DGF_TOPIC_AUDIT);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_UNDECODABLE), DGF_TOPIC_AUDIT);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_GAP),
                      DGF_TOPIC_VIOLATIONS | DGF_TOPIC_AUDIT);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_DIVERGENCE),
                      DGF_TOPIC_VIOLATIONS | DGF_TOPIC_AUDIT);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_POLICY_SET), DGF_TOPIC_CONTROL);
    ck_assert_uint_eq(dgf_record_topics(DGF_RECORD_RESUME), DGF_TOPIC_CONTROL);
}
END_TEST

/* ---- ids, keys, times ---- */

START_TEST(ids_are_the_same_after_a_replay_and_differ_by_policy)
{
    struct dgf_event *event;

    open_recorder();
    event = note_event("x");
    ck_assert_int_eq(violate(event, &bare_policy, "m", NULL, 0), DGF_OK);
    ck_assert_int_eq(violate(event, &bare_policy, "m", NULL, 0), DGF_OK);
    ck_assert_int_eq(violate(event, &card_policy, "m", NULL, 0), DGF_OK);
    ck_assert_int_eq(memcmp(record_at(0).id.b, record_at(1).id.b, DGF_ID_LEN), 0);
    ck_assert_int_ne(memcmp(record_at(0).id.b, record_at(2).id.b, DGF_ID_LEN), 0);
    ck_assert(dgf_bytes_eq(record_at(0).key, record_at(1).key));
    ck_assert(!dgf_bytes_eq(record_at(0).key, record_at(2).key));
    ck_assert_uint_eq(record_at(1).seq, 1043);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

START_TEST(a_violation_is_keyed_by_its_id_and_its_header_says_what_sinks_ask)
{
    struct dgf_event *event;
    struct dgf_record record;
    json_t *json;

    open_recorder();
    event = note_event("x");
    ck_assert_int_eq(violate(event, &card_policy, "m", NULL, 0), DGF_OK);
    record = record_at(0);
    json = line_json(0);
    ck_assert(
        dgf_bytes_eq(record.key, dgf_bytes_str(text_at(json, "violation", NULL))));
    ck_assert(dgf_bytes_eq(record.subject, DGF_BYTES("shop.order_notes")));
    ck_assert(dgf_bytes_eq(record.source, DGF_BYTES("orders")));
    ck_assert(dgf_bytes_eq(record.policy, DGF_BYTES("CARD-001")));
    ck_assert_int_eq(record.severity, DGF_SEVERITY_HIGH);
    ck_assert_int_eq(record.verdict, DGF_VERDICT_VIOLATION);
    ck_assert_int_eq(record.time_ns, T0);
    ck_assert(!record.shadow);
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

static struct dgf_event *row_with_id(struct dgf_object *object, int64_t id)
{
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(&builder, 0), id);
    dgf_event_section_end(&builder);
    return finish_event("1/0/5.1");
}

START_TEST(audit_records_of_one_row_share_a_kafka_key)
{
    struct dgf_event *first, *second, *other;

    open_recorder();
    first = row_with_id(notes, 7);
    second = note_event("x");
    other = row_with_id(notes, 8);
    ck_assert_int_eq(audit(first), DGF_OK);
    ck_assert_int_eq(audit(second), DGF_OK);
    ck_assert_int_eq(audit(other), DGF_OK);
    ck_assert_uint_eq(record_at(0).key.len, DGF_ID_TEXT_LEN);
    ck_assert(dgf_bytes_eq(record_at(0).key, record_at(1).key));
    ck_assert(!dgf_bytes_eq(record_at(0).key, record_at(2).key));
    dgf_event_unref(first);
    dgf_event_unref(second);
    dgf_event_unref(other);
    close_recorder();
}
END_TEST

START_TEST(logged_never_goes_back)
{
    int64_t before = now_ns;
    json_t *json;

    open_recorder();
    ck_assert_int_eq(dgf_record_own(&recorder, DGF_RECORD_CONFIG, NULL, "a", NULL),
                     DGF_OK);
    now_ns = before - 3600000000000;
    ck_assert_int_eq(dgf_record_own(&recorder, DGF_RECORD_CONFIG, NULL, "b", NULL),
                     DGF_OK);
    now_ns = before;
    json = line_json(1);
    ck_assert_str_eq(text_at(json, "logged", NULL), "2026-03-02T09:00:00.001Z");
    ck_assert_str_eq(text_at(json, "time", NULL), "2026-03-02T08:00:00.001Z");
    json_decref(json);
    close_recorder();
}
END_TEST

static enum dgf_rc refuse(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    (void)ctx;
    (void)header;
    (void)line;
    return DGF_AGAIN;
}

START_TEST(a_batch_that_is_full_is_told_to_the_caller)
{
    struct dgf_event *event;

    open_recorder();
    event = note_event("x");
    recorder.out.put = refuse;
    ck_assert_int_eq(audit(event), DGF_AGAIN);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

/* ---- event ---- */

static const struct dgf_column mail_columns[] = {
    {.name = "mail", .type = DGF_TYPE_TEXT, .key = true},
    {.name = "n", .type = DGF_TYPE_INT, .key = true},
};

/* event.key of an audit record of a row whose key is (mail, n). */
static json_t *key_json(uint8_t mail_class, const char *mail, int64_t n)
{
    struct dgf_object *object = NULL;
    struct dgf_event *event;
    json_t *json, *key;

    ck_assert_int_eq(
        dgf_object_new("postgres", NULL, "s", "t", mail_columns, 2, 1, &object),
        DGF_OK);
    object->classes = dgf_calloc(2, 1);
    object->classes[0] = mail_class;
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_str(dgf_event_column(&builder, 0), dgf_bytes_str(mail));
    dgf_mp_put_int(dgf_event_column(&builder, 1), n);
    dgf_event_section_end(&builder);
    event = finish_event("1/0/5.1");
    ck_assert_int_eq(audit(event), DGF_OK);
    dgf_event_unref(event);
    dgf_object_unref(object);
    json = line_json(kept.n - 1);
    key = json_incref(json_object_get(json_object_get(json, "event"), "key"));
    json_decref(json);
    return key;
}

static void check_key(uint8_t mail_class, const char *mail, int64_t n,
                      const char *expected)
{
    json_t *key = key_json(mail_class, mail, n);
    char *text = json_dumps(key, JSON_COMPACT);

    ck_assert_str_eq(text, expected);
    free(text);
    json_decref(key);
}

START_TEST(a_key_field_that_is_masked_is_its_token)
{
    json_t *key;

    open_recorder();
    check_key(DGF_CLASS_PUBLIC, "abc", 7, "{\"mail\":\"abc\",\"n\":7}");
    key = key_json(DGF_CLASS_NONE, "abc", 7);
    ck_assert_int_eq(strncmp(text_at(key, "mail", NULL), "h1:", 3), 0);
    json_decref(key);
    key = key_json(DGF_CLASS_RESTRICTED, "abc", 7);
    ck_assert_int_eq(strncmp(text_at(key, "mail", NULL), "h1:", 3), 0);
    json_decref(key);
    /* detectors count for shown ones too, and for numbers */
    key = key_json(DGF_CLASS_PUBLIC, "bob@example.com", 4111111111111111);
    ck_assert_int_eq(strncmp(text_at(key, "mail", NULL), "h1:", 3), 0);
    ck_assert_int_eq(strncmp(text_at(key, "n", NULL), "h1:", 3), 0);
    json_decref(key);
    check_key(DGF_CLASS_PUBLIC, "a\"b\n", -3, "{\"mail\":\"a\\\"b\\n\",\"n\":-3}");
    close_recorder();
}
END_TEST

START_TEST(a_key_that_is_too_long_is_its_token_or_one_hash)
{
    struct dgf_column columns[400];
    char names[400][64], big[3000];
    struct dgf_object *object = NULL;
    struct dgf_event *event;
    json_t *key, *json;

    open_recorder();
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    key = key_json(DGF_CLASS_PUBLIC, big, 7);
    ck_assert_int_eq(strncmp(text_at(key, "mail", NULL), "h1:", 3), 0);
    json_decref(key);

    memset(columns, 0, sizeof(columns));
    for (int i = 0; i < 400; i++) {
        (void)snprintf(names[i], sizeof(names[i]),
                       "a_column_with_a_rather_long_name_%d", i);
        columns[i].name = names[i];
        columns[i].key = true;
    }
    ck_assert_int_eq(
        dgf_object_new("postgres", NULL, "s", "wide", columns, 400, 1, &object),
        DGF_OK);
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    for (uint32_t i = 0; i < 400; i++)
        dgf_mp_put_int(dgf_event_column(&builder, i), i);
    dgf_event_section_end(&builder);
    event = finish_event("1/0/5.1");
    ck_assert_int_eq(audit(event), DGF_OK);
    json = line_json(kept.n - 1);
    key = json_object_get(json_object_get(json, "event"), "key");
    ck_assert_uint_eq(json_object_size(key), 1);
    ck_assert(dgf_bytes_eq(dgf_bytes_str(text_at(key, "$truncated", NULL)),
                           record_at(kept.n - 1).key));
    json_decref(json);
    dgf_event_unref(event);
    dgf_object_unref(object);
    close_recorder();
}
END_TEST

START_TEST(names_from_outside_are_escaped_and_masked)
{
    struct dgf_object *object = NULL;
    struct dgf_event *event;
    json_t *json;

    open_recorder();
    ck_assert_int_eq(dgf_object_new("postgres", NULL, "s\n\xff",
                                    "card_4111111111111111", NULL, 0, 1, &object),
                     DGF_OK);
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section(&builder, DGF_SECTION_KEY);
    dgf_mp_put_int(dgf_event_named(&builder, DGF_BYTES("bob@example.com")), 1);
    dgf_event_section_end(&builder);
    dgf_event_section(&builder, DGF_SECTION_ACTOR);
    put_named("name", "eve@example.com");
    put_named("app", "psql");
    dgf_event_section_end(&builder);
    event = finish_event("a\"\x01");
    ck_assert_int_eq(violate(event, &bare_policy, "m", NULL, 0), DGF_OK);
    json = line_json(0);
    ck_assert_str_eq(text_at(json, "event", "object"),
                     "s\n\xef\xbf\xbd.card_411111******1111");
    ck_assert_str_eq(text_at(json, "event", "position"), "a\"\x01");
    ck_assert_ptr_nonnull(json_object_get(
        json_object_get(json_object_get(json, "event"), "key"), "***@*******.***"));
    ck_assert_int_eq(strncmp(text_at(json, "actor", "name"), "h1:", 3), 0);
    ck_assert_str_eq(text_at(json, "actor", "app"), "psql");
    json_decref(json);
    dgf_event_unref(event);
    dgf_object_unref(object);
    close_recorder();
}
END_TEST

START_TEST(what_is_kept_of_an_object_follows_its_source_and_version)
{
    struct dgf_source crm = {.type = &postgres, .name = "crm"};
    struct dgf_event *event;
    json_t *json;

    open_recorder();
    event = row_with_id(notes, 7);
    ck_assert_int_eq(audit(event), DGF_OK);
    event->source = &crm;
    ck_assert_int_eq(audit(event), DGF_OK);
    event->op = DGF_OP_INSERT;
    ck_assert_int_eq(audit(event), DGF_OK);
    json = line_json(1);
    ck_assert_str_eq(text_at(json, "event", "source"), "crm");
    json_decref(json);
    json = line_json(2);
    ck_assert_str_eq(text_at(json, "event", "op"), "insert");
    json_decref(json);
    /* without a source the object still says its type */
    event->source = NULL;
    ck_assert_int_eq(audit(event), DGF_OK);
    json = line_json(3);
    ck_assert_ptr_null(text_at(json, "event", "source"));
    ck_assert_str_eq(text_at(json, "event", "type"), "postgres");
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

START_TEST(cause_and_snapshot_stand_in_the_event_when_they_say_something)
{
    struct dgf_event *event;
    json_t *json;

    open_recorder();
    event = row_with_id(notes, 7);
    event->cause = DGF_CAUSE_TTL;
    event->snapshot = true;
    ck_assert_int_eq(audit(event), DGF_OK);
    json = line_json(0);
    ck_assert_str_eq(text_at(json, "event", "cause"), "ttl");
    ck_assert(
        json_is_true(json_object_get(json_object_get(json, "event"), "snapshot")));
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

DGF_UNIT(record, a_header_reads_back_as_it_was_put, a_header_that_is_none_is_refused,
         gaps_go_to_two_topics_and_own_acts_to_control,
         ids_are_the_same_after_a_replay_and_differ_by_policy,
         a_violation_is_keyed_by_its_id_and_its_header_says_what_sinks_ask,
         audit_records_of_one_row_share_a_kafka_key, logged_never_goes_back,
         a_batch_that_is_full_is_told_to_the_caller,
         a_key_field_that_is_masked_is_its_token,
         a_key_that_is_too_long_is_its_token_or_one_hash,
         names_from_outside_are_escaped_and_masked,
         what_is_kept_of_an_object_follows_its_source_and_version,
         cause_and_snapshot_stand_in_the_event_when_they_say_something)
