#include "record_fixture.h"

static const char *text_at(const json_t *json, const char *a, const char *b)
{
    const json_t *value = json_object_get(json, a);

    if (b)
        value = json_object_get(value, b);
    return json_string_value(value);
}

static struct dgf_event *row_with_id(struct dgf_object *object, int64_t id)
{
    dgf_event_begin(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(&builder, 0), id);
    dgf_event_section_end(&builder);
    return finish_event("1/0/5.1");
}

static void count_objects(struct dgf_coverage *coverage, int n)
{
    for (int i = 0; i < n; i++) {
        struct dgf_object *object = NULL;
        struct dgf_event *event;
        char name[64];

        (void)snprintf(name, sizeof(name), "a_table_with_a_long_name_%05d", i);
        ck_assert_int_eq(
            dgf_object_new("postgres", NULL, "s", name, note_columns, 3, 1, &object),
            DGF_OK);
        event = row_with_id(object, i);
        ck_assert_int_eq(dgf_coverage_count(coverage, event, DGF_VERDICT_UNWATCHED),
                         DGF_OK);
        dgf_event_unref(event);
        dgf_object_unref(object);
    }
}

START_TEST(coverage_of_many_objects_is_divided_into_parts)
{
    struct dgf_coverage coverage;
    size_t objects = 0;

    open_recorder();
    dgf_coverage_init(&coverage);
    count_objects(&coverage, 2000);
    ck_assert_int_eq(dgf_record_coverage(&recorder, &coverage, "orders", "1/0/9.0", T0,
                                         DGF_GUARANTEE_PARTIAL),
                     DGF_OK);
    ck_assert_uint_gt(kept.n, 2);
    for (size_t i = 0; i < kept.n; i++) {
        json_t *json = line_json(i);

        ck_assert_int_eq(json_integer_value(json_object_get(json, "part")), (int)i + 1);
        ck_assert_int_eq(json_integer_value(json_object_get(json, "parts")),
                         (int)kept.n);
        ck_assert_int_eq(json_integer_value(json_object_get(json, "events")), 2000);
        ck_assert_str_eq(text_at(json, "to", NULL), "1/0/9.0");
        ck_assert_ptr_null(json_object_get(json, "from"));
        objects += json_object_size(json_object_get(json, "objects"));
        json_decref(json);
    }
    ck_assert_uint_eq(objects, 2000);
    dgf_coverage_release(&coverage);
    close_recorder();
}
END_TEST

START_TEST(the_next_range_begins_where_the_last_one_ended)
{
    struct dgf_coverage coverage;
    json_t *json;

    open_recorder();
    dgf_coverage_init(&coverage);
    count_objects(&coverage, 1);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(dgf_record_coverage(&recorder, &coverage, "orders",
                                             i ? "1/0/9.0" : "1/0/8.0", T0 + i,
                                             DGF_GUARANTEE_EXACTLY_ONCE),
                         DGF_OK);
    json = line_json(1);
    ck_assert_str_eq(text_at(json, "from", NULL), "1/0/8.0");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "events")), 0);
    ck_assert_ptr_null(json_object_get(json, "objects"));
    ck_assert_int_eq(coverage.since_ns, T0 + 1);
    json_decref(json);
    dgf_coverage_release(&coverage);
    close_recorder();
}
END_TEST

START_TEST(counts_that_fit_no_commit_are_due_for_a_record)
{
    struct dgf_coverage coverage;
    struct dgf_buf encoded;
    int n = 0;

    open_recorder();
    dgf_coverage_init(&coverage);
    dgf_buf_init(&encoded, 2 * DGF_COVERAGE_MAX_BYTES);
    while (!dgf_coverage_is_full(&coverage) && n < 10000)
        count_objects(&coverage, ++n);
    ck_assert_int_gt(n, 50);
    ck_assert_int_lt(n, 10000);
    dgf_coverage_encode(&coverage, &encoded);
    ck_assert_int_eq(dgf_buf_rc(&encoded), DGF_OK);
    ck_assert_uint_lt(encoded.len, DGF_COVERAGE_MAX_BYTES + 1024);
    ck_assert_int_eq(dgf_record_coverage(&recorder, &coverage, "orders", "1/0/9.0", 1,
                                         DGF_GUARANTEE_EXACTLY_ONCE),
                     DGF_OK);
    ck_assert(!dgf_coverage_is_full(&coverage));
    dgf_buf_release(&encoded);
    dgf_coverage_release(&coverage);
    close_recorder();
}
END_TEST

START_TEST(coverage_counts_survive_a_restart_and_nothing_else_is_believed)
{
    struct dgf_coverage coverage, back;
    struct dgf_buf first, second;

    open_recorder();
    dgf_coverage_init(&coverage);
    dgf_coverage_init(&back);
    dgf_buf_init(&first, 1 << 20);
    dgf_buf_init(&second, 1 << 20);
    dgf_buf_add_str(&coverage.from, "1/0/8.0");
    coverage.since_ns = 77;
    coverage.transactions = 3;
    count_objects(&coverage, 5);
    dgf_coverage_policy_set(&coverage, "sha256:of-then");
    ck_assert_int_eq(dgf_coverage_note(&coverage, "only_queue", 2), DGF_OK);
    ck_assert_int_eq(dgf_coverage_note(&coverage, "control", 1), DGF_OK);
    ck_assert_int_eq(dgf_coverage_note(&coverage, "only_queue", 5), DGF_OK);
    dgf_coverage_encode(&coverage, &first);
    ck_assert_int_eq(dgf_coverage_decode(&back, dgf_buf_bytes(&first)), DGF_OK);
    ck_assert_str_eq(back.policy_set, "sha256:of-then");
    dgf_coverage_encode(&back, &second);
    ck_assert(dgf_bytes_eq(dgf_buf_bytes(&first), dgf_buf_bytes(&second)));
    ck_assert_uint_eq(back.events, 5);
    ck_assert_int_eq(back.since_ns, 77);
    ck_assert_uint_eq(back.n_notes, 2);
    ck_assert_str_eq(back.notes[0].word, "only_queue");
    ck_assert_uint_eq(back.notes[0].n, 7);
    ck_assert_uint_eq(back.notes[1].n, 1);
    for (size_t len = 0; len < first.len; len++) {
        ck_assert_int_eq(dgf_coverage_decode(&back, dgf_bytes_of(first.ptr, len)),
                         DGF_BAD_DATA);
        ck_assert_uint_eq(back.events, 0);
    }
    first.ptr[0] = 9;
    ck_assert_int_eq(dgf_coverage_decode(&back, dgf_buf_bytes(&first)), DGF_BAD_DATA);
    dgf_buf_release(&first);
    dgf_buf_release(&second);
    dgf_coverage_release(&coverage);
    dgf_coverage_release(&back);
    close_recorder();
}
END_TEST

START_TEST(only_judged_events_are_counted)
{
    struct dgf_coverage coverage;
    struct dgf_event *event;

    open_recorder();
    dgf_coverage_init(&coverage);
    event = row_with_id(notes, 7);
    for (int kind = 0; kind < DGF_KIND_N; kind++) {
        event->kind = (uint8_t)kind;
        ck_assert_int_eq(dgf_coverage_count(&coverage, event, DGF_VERDICT_PASS),
                         DGF_OK);
    }
    ck_assert_uint_eq(coverage.transactions, 1);
    ck_assert_uint_eq(coverage.events,
                      7); /* change schema access setting message notice undecodable */
    ck_assert_uint_eq(coverage.verdicts[DGF_VERDICT_PASS], 7);
    dgf_event_unref(event);
    dgf_coverage_release(&coverage);
    close_recorder();
}
END_TEST

/* ---- own ---- */

START_TEST(a_long_detail_is_divided_and_its_texts_stand_in_each_part)
{
    struct dgf_buf detail;
    size_t items = 0;

    open_recorder();
    dgf_buf_init(&detail, 1 << 20);
    dgf_buf_add_str(&detail, "{\"old\":\"sha256:0b\",\"added\":[");
    for (int i = 0; i < 3000; i++)
        dgf_buf_addf(&detail, "%s\"POLICY-%06d\"", i ? "," : "", i);
    dgf_buf_add_str(&detail,
                    "],\"new\":\"sha256:1f\",\"changed\":{\"A\":1,\"B\":[2]}}");
    ck_assert_int_eq(dgf_record_own(&recorder, DGF_RECORD_POLICY_SET, NULL, "m",
                                    dgf_buf_str(&detail)),
                     DGF_OK);
    ck_assert_uint_gt(kept.n, 1);
    for (size_t i = 0; i < kept.n; i++) {
        json_t *json = line_json(i);

        ck_assert_str_eq(text_at(json, "detail", "old"), "sha256:0b");
        ck_assert_str_eq(text_at(json, "detail", "new"), "sha256:1f");
        ck_assert_str_eq(text_at(json, "message", NULL), "m");
        ck_assert_int_eq(json_integer_value(json_object_get(json, "parts")),
                         (int)kept.n);
        items +=
            json_array_size(json_object_get(json_object_get(json, "detail"), "added"));
        items += json_object_size(
            json_object_get(json_object_get(json, "detail"), "changed"));
        json_decref(json);
    }
    ck_assert_uint_eq(items, 3002);
    dgf_buf_release(&detail);
    close_recorder();
}
END_TEST

START_TEST(an_item_that_no_record_can_hold_is_its_token)
{
    struct dgf_buf detail;
    json_t *json;

    open_recorder();
    dgf_buf_init(&detail, 1 << 20);
    dgf_buf_add_str(&detail, "{\"text\":\"");
    for (int i = 0; i < 80000; i++)
        dgf_buf_add_byte(&detail, 'x');
    dgf_buf_add_str(&detail, "\"}");
    ck_assert_int_eq(
        dgf_record_own(&recorder, DGF_RECORD_CONFIG, NULL, NULL, dgf_buf_str(&detail)),
        DGF_OK);
    json = line_json(0);
    ck_assert_int_eq(
        strncmp(text_at(json_object_get(json, "detail"), "text", "$truncated"),
                "h1:", 3),
        0);
    json_decref(json);
    dgf_buf_release(&detail);
    close_recorder();
}
END_TEST

START_TEST(a_detail_that_is_no_object_is_refused)
{
    open_recorder();
    ck_assert_int_eq(
        dgf_record_own(&recorder, DGF_RECORD_GAP, NULL, "m", "{\"reason\":"),
        DGF_BAD_DATA);
    ck_assert_int_eq(dgf_record_own(&recorder, DGF_RECORD_GAP, NULL, "m", "[]"),
                     DGF_BAD_DATA);
    ck_assert_uint_eq(kept.n, 0);
    close_recorder();
}
END_TEST

START_TEST(kafka_keys_are_the_source_for_ranges_and_the_agent_for_its_acts)
{
    struct dgf_coverage coverage;

    open_recorder();
    dgf_coverage_init(&coverage);
    ck_assert_int_eq(dgf_record_coverage(&recorder, &coverage, "orders", "1", T0,
                                         DGF_GUARANTEE_PARTIAL),
                     DGF_OK);
    ck_assert_int_eq(dgf_record_own(&recorder, DGF_RECORD_GAP, "orders", "m",
                                    "{\"reason\":\"state_lost\"}"),
                     DGF_OK);
    ck_assert_int_eq(
        dgf_record_own(&recorder, DGF_RECORD_BACKPRESSURE, "orders", "m", NULL),
        DGF_OK);
    ck_assert(dgf_bytes_eq(record_at(0).key, DGF_BYTES("orders")));
    ck_assert(dgf_bytes_eq(record_at(1).key, DGF_BYTES("orders")));
    ck_assert(dgf_bytes_eq(record_at(2).key, DGF_BYTES("orders-sidecar")));
    ck_assert(dgf_bytes_eq(record_at(2).source, DGF_BYTES("orders")));
    dgf_coverage_release(&coverage);
    close_recorder();
}
END_TEST

DGF_UNIT(coverage, coverage_of_many_objects_is_divided_into_parts,
         the_next_range_begins_where_the_last_one_ended,
         counts_that_fit_no_commit_are_due_for_a_record,
         coverage_counts_survive_a_restart_and_nothing_else_is_believed,
         only_judged_events_are_counted,
         a_long_detail_is_divided_and_its_texts_stand_in_each_part,
         an_item_that_no_record_can_hold_is_its_token,
         a_detail_that_is_no_object_is_refused,
         kafka_keys_are_the_source_for_ranges_and_the_agent_for_its_acts)
