/* One line of every kind of record, made with a fixed clock and fixed keys,
 * compared with tests/data/records.golden and with the page about records.
 * DGF_UPDATE_GOLDEN=1 writes the file anew. */
#include "record_fixture.h"

#include "base/file.h"

static void judge(struct dgf_judgement judgement)
{
    struct dgf_event *event = note_event("call 4111 1111 1111 1111");
    const struct dgf_evidence evidence = {
        .field = DGF_BYTES("note"),
        .value = dgf_event_field(event, DGF_SECTION_AFTER, DGF_BYTES("note")),
        .type = DGF_TYPE_TEXT,
    };

    if (judgement.verdict == DGF_VERDICT_ERROR) {
        ck_assert_int_eq(dgf_record_rule_error(&recorder, event, &judgement), DGF_OK);
    } else {
        judgement.evidence = &evidence;
        judgement.n_evidence = 1;
        ck_assert_int_eq(dgf_record_violation(&recorder, event, &judgement), DGF_OK);
    }
    dgf_event_unref(event);
    next_event++;
}

static void make_judgements(void)
{
    struct dgf_policy_ref shadow = card_policy;

    shadow.mode = DGF_MODE_SHADOW;
    judge((struct dgf_judgement){
        .policy = &card_policy,
        .verdict = DGF_VERDICT_VIOLATION,
        .message = DGF_BYTES("card number in shop.order_notes key 7"),
    });
    judge((struct dgf_judgement){
        .policy = &shadow,
        .verdict = DGF_VERDICT_REVIEW,
        .message =
            DGF_BYTES("cannot tell whether shop.order_notes key 7 holds a card number"),
    });
    judge((struct dgf_judgement){
        .policy = &card_policy,
        .verdict = DGF_VERDICT_WAIVED,
        .message = DGF_BYTES("card number in shop.order_notes key 7"),
        .waiver_json = "{\"reason\":\"vendor test data\",\"approver\":\"dpo\","
                       "\"ticket\":\"CHG-118\",\"until\":\"2027-01-31T00:00:00Z\"}",
    });
    judge((struct dgf_judgement){
        .policy = &card_policy,
        .verdict = DGF_VERDICT_ERROR,
        .error_code = "E0401",
        .message = DGF_BYTES("the cost budget of 100000 steps is used up"),
    });
}

static void make_audit(void)
{
    const struct dgf_judgement violation = {.policy = &card_policy,
                                            .verdict = DGF_VERDICT_VIOLATION};
    const struct dgf_judged judged = {.list = &violation,
                                      .n = 1,
                                      .n_policies = 4,
                                      .verdict = DGF_VERDICT_VIOLATION,
                                      .audit = true};
    struct dgf_event *event = note_event("x");

    ck_assert_int_eq(dgf_record_audit(&recorder, event, &judged), DGF_OK);
    dgf_event_unref(event);
}

static void make_coverage(void)
{
    struct dgf_coverage coverage;
    struct dgf_event *event = note_event("x");

    dgf_coverage_init(&coverage);
    dgf_buf_add_str(&coverage.from, "1/0/16B0000.0");
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(
            dgf_coverage_count(&coverage, event,
                               i < 2 ? DGF_VERDICT_VIOLATION : DGF_VERDICT_PASS),
            DGF_OK);
    dgf_event_unref(event);
    dgf_event_begin(&builder, NULL, DGF_KIND_TRANSACTION, DGF_OP_NONE);
    event = finish_event("1/0/16B4000.0");
    ck_assert_int_eq(dgf_coverage_count(&coverage, event, DGF_VERDICT_PASS), DGF_OK);
    dgf_event_unref(event);
    ck_assert_int_eq(dgf_record_coverage(&recorder, &coverage, "orders",
                                         "1/0/16C0000.0", T0,
                                         DGF_GUARANTEE_EXACTLY_ONCE),
                     DGF_OK);
    dgf_coverage_release(&coverage);
}

static void record_event(struct dgf_event *event)
{
    ck_assert_int_eq(dgf_record_of_event(&recorder, event), DGF_OK);
    dgf_event_unref(event);
}

static void make_source_records(void)
{
    const char *const detail[] = {"sqlstate", "", "slot", "dgf_orders"};
    struct dgf_event_meta meta = {.commit_ns = T0,
                                  .position = DGF_BYTES("1/0/1700000.0")};
    struct dgf_event *event = NULL;

    ck_assert_int_eq(
        dgf_event_gap(&builder, DGF_GAP_SLOT_RECREATED, "1/0/16C0000.0",
                      "1/0/1700000.0",
                      "the slot was made anew; changes between are not known", detail,
                      2, &meta, &event),
        DGF_OK);
    event->source = &orders;
    record_event(event);

    dgf_event_begin(&builder, NULL, DGF_KIND_GAP, DGF_OP_NONE);
    dgf_event_section(&builder, DGF_SECTION_EXTRA);
    put_named("from", "1/0/1700000.0");
    put_named("to", "1/0/1700800.0");
    put_named("message", "the server lost what it had published");
    dgf_event_section_end(&builder);
    record_event(finish_event("1/0/1700000.0"));

    dgf_event_begin(&builder, notes, DGF_KIND_UNDECODABLE, DGF_OP_NONE);
    dgf_event_section(&builder, DGF_SECTION_EXTRA);
    dgf_mp_put_int(dgf_event_named(&builder, DGF_BYTES("size")), 412);
    dgf_mp_put_bin(dgf_event_named(&builder, DGF_BYTES("hash")),
                   DGF_BYTES("0123456789abcdef"));
    put_named("what", "insert");
    put_named("why", "column 2 ends before its length");
    dgf_event_section_end(&builder);
    record_event(finish_event("1/0/16B3748.4"));

    dgf_event_begin(&builder, NULL, DGF_KIND_RESUME, DGF_OP_NONE);
    dgf_event_section(&builder, DGF_SECTION_EXTRA);
    put_named("since", "1/0/16B0000.0");
    put_named("message", "covered since here");
    dgf_event_section_end(&builder);
    record_event(finish_event("1/0/16B0000.0"));
}

static void make_own(enum dgf_record_kind kind, const char *source, const char *message,
                     const char *detail)
{
    ck_assert_int_eq(dgf_record_own(&recorder, kind, source, message, detail), DGF_OK);
}

static void make_own_records(void)
{
    make_own(DGF_RECORD_BACKPRESSURE, "orders",
             "paused: the journal's budget is used up",
             "{\"state\":\"paused\",\"bytes\":1073741824}");
    make_own(DGF_RECORD_CONFIG, NULL, "configuration read", "{\"path\":\"dgf.yaml\"}");
    make_own(DGF_RECORD_POLICY_SET, NULL, NULL,
             "{\"old\":\"sha256:0b\",\"new\":\"sha256:1f\",\"added\":[\"CARD-001\"],"
             "\"removed\":[],\"changed\":[\"SOD-007\"]}");
    make_own(DGF_RECORD_KEY, NULL, "generated", "{\"key\":\"token\",\"version\":1}");
    make_own(DGF_RECORD_CLOCK, NULL, "the clock went back", "{\"ns\":-1500000000}");
    make_own(DGF_RECORD_ACCESS, NULL, "records read",
             "{\"role\":\"auditor\",\"path\":\"/api/v1/audit\"}");
    make_own(DGF_RECORD_GAP, NULL, "the sink was slower than retention",
             "{\"reason\":\"sink_overtaken\",\"from\":\"1000\",\"to\":\"1042\","
             "\"sink\":\"events\"}");
}

static const char *source_path(const char *path)
{
    static char full[4096];
    const char *srcdir = getenv("srcdir");

    (void)snprintf(full, sizeof(full), "%s/%s", srcdir ? srcdir : ".", path);
    return full;
}

static void read_file(const char *path, struct dgf_buf *ret)
{
    struct dgf_err err;

    dgf_buf_init(ret, 1 << 20);
    ck_assert_msg(dgf_file_slurp(source_path(path), 1 << 19, ret, &err) == DGF_OK, "%s",
                  err.text);
}

static void make_lines(struct dgf_buf *ret)
{
    open_recorder();
    make_judgements();
    make_audit();
    make_coverage();
    make_source_records();
    make_own_records();
    dgf_buf_init(ret, 1 << 20);
    for (size_t i = 0; i < kept.n; i++) {
        dgf_buf_add_bytes(ret, record_at(i).line);
        dgf_buf_add_byte(ret, '\n');
    }
    close_recorder();
}

START_TEST(every_kind_of_record_is_the_golden_line)
{
    struct dgf_buf lines, golden;

    make_lines(&lines);
    if (getenv("DGF_UPDATE_GOLDEN")) {
        struct dgf_err err;

        ck_assert_int_eq(dgf_file_replace(source_path("tests/data/records.golden"),
                                          dgf_buf_bytes(&lines), 0644, &err),
                         DGF_OK);
    }
    read_file("tests/data/records.golden", &golden);
    ck_assert_str_eq(dgf_buf_str(&lines), dgf_buf_str(&golden));
    dgf_buf_release(&lines);
    dgf_buf_release(&golden);
}
END_TEST

START_TEST(no_kind_of_record_is_missing)
{
    struct dgf_buf lines;

    make_lines(&lines);
    for (int kind = 0; kind < DGF_RECORD_N; kind++) {
        char field[64];

        (void)snprintf(field, sizeof(field), "\"kind\":\"%s\",\"time\"",
                       dgf_record_kind_text((enum dgf_record_kind)kind));
        ck_assert_msg(strstr(dgf_buf_str(&lines), field) != NULL, "no line has %s",
                      field);
    }
    dgf_buf_release(&lines);
}
END_TEST

START_TEST(the_page_about_records_shows_these_lines)
{
    struct dgf_buf lines, page, block;

    make_lines(&lines);
    read_file("contrib/doc/RECORDS.md", &page);
    dgf_buf_init(&block, 1 << 20);
    dgf_buf_add_str(&block, "```json\n");
    dgf_buf_add_bytes(&block, dgf_buf_bytes(&lines));
    dgf_buf_add_str(&block, "```\n");
    ck_assert_ptr_nonnull(strstr(dgf_buf_str(&page), dgf_buf_str(&block)));
    dgf_buf_release(&lines);
    dgf_buf_release(&page);
    dgf_buf_release(&block);
}
END_TEST

DGF_UNIT(record_golden, every_kind_of_record_is_the_golden_line,
         no_kind_of_record_is_missing, the_page_about_records_shows_these_lines)
