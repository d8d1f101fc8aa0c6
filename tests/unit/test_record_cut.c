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

static const struct dgf_policy_ref bare_policy = {
    .id = "P-1", .title = "t", .severity = DGF_SEVERITY_LOW, .mode = DGF_MODE_ON};

START_TEST(evidence_is_shown_masked_or_a_token_by_class)
{
    struct dgf_evidence evidence[3];
    struct dgf_event *event;
    json_t *json, *list;

    open_recorder();
    event = note_event("hello");
    for (int i = 0; i < 3; i++)
        evidence[i] = (struct dgf_evidence){
            .field = DGF_BYTES("note"),
            .value = dgf_event_field(event, DGF_SECTION_AFTER, DGF_BYTES("note")),
            .type = DGF_TYPE_TEXT};
    evidence[0].class_ = DGF_CLASS_PUBLIC;
    evidence[2].class_ = DGF_CLASS_RESTRICTED;
    ck_assert_int_eq(violate(event, &bare_policy, "m", evidence, 3), DGF_OK);
    json = line_json(0);
    list = json_object_get(json, "evidence");
    ck_assert_str_eq(text_at(json_array_get(list, 0), "shown", NULL), "hello");
    ck_assert_ptr_null(json_object_get(json_array_get(list, 0), "masked"));
    ck_assert_str_eq(text_at(json_array_get(list, 1), "masked", NULL), "*****");
    ck_assert_ptr_null(json_object_get(json_array_get(list, 1), "shown"));
    ck_assert_uint_eq(json_object_size(json_array_get(list, 2)), 3);
    ck_assert_str_eq(text_at(json_array_get(list, 2), "class", NULL), "restricted");
    for (size_t i = 1; i < 3; i++)
        ck_assert_str_eq(text_at(json_array_get(list, i), "token", NULL),
                         text_at(json_array_get(list, 0), "token", NULL));
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

/* A text of n bytes that holds an escape and a two-byte character a dozen bytes. */
static char *long_text(size_t n)
{
    char *text = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        text[i] = "abc\"def\xc3\xa9\nxy"[i % 12];
    while (n > 0 && ((unsigned char)text[n - 1] & 0x80))
        text[--n] = 'z';
    text[n] = '\0';
    return text;
}

START_TEST(a_violation_that_is_too_long_is_cut_longest_first)
{
    char *message = long_text(3000), *big = long_text(90000), *huge = long_text(200000);
    struct dgf_evidence evidence[3];
    struct dgf_buf values[3];
    const char *texts[3] = {big, "short", huge};
    struct dgf_event *event;
    json_t *json, *list;

    open_recorder();
    event = note_event("x");
    for (int i = 0; i < 3; i++) {
        dgf_buf_init(&values[i], 1 << 20);
        dgf_mp_put_str(&values[i], dgf_bytes_str(texts[i]));
        evidence[i] = (struct dgf_evidence){.field = DGF_BYTES("f"),
                                            .value = dgf_buf_bytes(&values[i]),
                                            .class_ = DGF_CLASS_PUBLIC};
    }
    ck_assert_int_eq(violate(event, &bare_policy, message, evidence, 3), DGF_OK);
    json = line_json(0);
    list = json_object_get(json, "evidence");
    ck_assert_uint_gt(record_at(0).line.len, DGF_RECORD_MAX_BYTES - 64);
    ck_assert(json_is_true(json_object_get(json, "truncated")));
    /* the message is shorter than what was cut to: whole, and not hashed */
    ck_assert_str_eq(text_at(json, "message", NULL), message);
    ck_assert_ptr_null(json_object_get(json, "message_hash"));
    ck_assert_str_eq(text_at(json_array_get(list, 1), "shown", NULL), "short");
    ck_assert_ptr_null(json_object_get(json_array_get(list, 1), "truncated"));
    for (size_t i = 0; i < 3; i += 2) {
        const char *shown = text_at(json_array_get(list, i), "shown", NULL);
        size_t len = strlen(shown);
        struct dgf_buf token;

        ck_assert(json_is_true(json_object_get(json_array_get(list, i), "truncated")));
        ck_assert_str_eq(shown + len - 3, "...");
        ck_assert_int_eq(strncmp(shown, texts[i], len - 3), 0);
        dgf_buf_init(&token, 64);
        dgf_mask_token(&recorder.masker, evidence[i].value, &token); /* of the whole */
        ck_assert_str_eq(text_at(json_array_get(list, i), "token", NULL),
                         dgf_buf_str(&token));
        dgf_buf_release(&token);
        dgf_buf_release(&values[i]);
    }
    dgf_buf_release(&values[1]);
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
    free(message);
    free(big);
    free(huge);
}
END_TEST

START_TEST(a_message_that_is_cut_is_hashed_whole)
{
    char *message = long_text(100000);
    struct dgf_event *event;
    json_t *json;

    open_recorder();
    event = note_event("x");
    ck_assert_int_eq(violate(event, &bare_policy, message, NULL, 0), DGF_OK);
    json = line_json(0);
    ck_assert(json_is_true(json_object_get(json, "truncated")));
    ck_assert_int_eq(strncmp(text_at(json, "message_hash", NULL), "h1:", 3), 0);
    ck_assert_int_eq(strncmp(text_at(json, "message", NULL), message, 30000), 0);
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
    free(message);
}
END_TEST

START_TEST(evidence_of_a_thousand_fields_goes_from_the_end)
{
    struct dgf_evidence *evidence = calloc(2000, sizeof(*evidence));
    struct dgf_event *event;
    json_t *json, *list;

    open_recorder();
    event = note_event("hello");
    for (int i = 0; i < 2000; i++)
        evidence[i] = (struct dgf_evidence){
            .field = DGF_BYTES("note"),
            .value = dgf_event_field(event, DGF_SECTION_AFTER, DGF_BYTES("note"))};
    ck_assert_int_eq(violate(event, &bare_policy, "m", evidence, 2000), DGF_OK);
    json = line_json(0);
    list = json_object_get(json, "evidence");
    ck_assert(json_is_true(json_object_get(json, "truncated")));
    ck_assert_uint_gt(json_array_size(list), 500);
    ck_assert_uint_lt(json_array_size(list), 2000);
    ck_assert_uint_gt(record_at(0).line.len, DGF_RECORD_MAX_BYTES - 256);
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
    free(evidence);
}
END_TEST

START_TEST(a_policy_whose_words_are_too_long_is_named_only)
{
    struct dgf_policy_ref policy = bare_policy;
    char *text = malloc(40000);
    struct dgf_event *event;
    json_t *json;

    memset(text, ' ', 39999);
    memcpy(text, "{}", 2);
    text[39999] = '\0';
    policy.json = text;
    open_recorder();
    event = note_event("x");
    ck_assert_int_eq(violate(event, &policy, "m", NULL, 0), DGF_OK);
    json = line_json(0);
    ck_assert_str_eq(text_at(json, "policy", "id"), "P-1");
    ck_assert_str_eq(text_at(json, "policy", "severity"), "low");
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
    free(text);
}
END_TEST

START_TEST(an_audit_record_lists_violations_in_force_only)
{
    struct dgf_policy_ref shadow = card_policy;
    const struct dgf_judgement list[] = {
        {.policy = &bare_policy, .verdict = DGF_VERDICT_VIOLATION},
        {.policy = &shadow, .verdict = DGF_VERDICT_VIOLATION},
        {.policy = &card_policy, .verdict = DGF_VERDICT_REVIEW},
    };
    const struct dgf_judged judged = {
        .list = list, .n = 3, .n_policies = 5, .verdict = DGF_VERDICT_VIOLATION};
    struct dgf_event *event;
    json_t *json;

    shadow.mode = DGF_MODE_SHADOW;
    open_recorder();
    event = note_event("x");
    ck_assert_int_eq(dgf_record_audit(&recorder, event, &judged), DGF_OK);
    json = line_json(0);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "violations")), 1);
    ck_assert_str_eq(
        json_string_value(json_array_get(json_object_get(json, "violations"), 0)),
        "P-1");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "policies")), 5);
    json_decref(json);
    dgf_event_unref(event);
    close_recorder();
}
END_TEST

DGF_UNIT(record_cut, evidence_is_shown_masked_or_a_token_by_class,
         a_violation_that_is_too_long_is_cut_longest_first,
         a_message_that_is_cut_is_hashed_whole,
         evidence_of_a_thousand_fields_goes_from_the_end,
         a_policy_whose_words_are_too_long_is_named_only,
         an_audit_record_lists_violations_in_force_only)
