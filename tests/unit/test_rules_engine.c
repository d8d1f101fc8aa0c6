/* Policies as staff write them, events as sources send them, and what the engine
 * says: one line a judgement. */
#include "rules_fixture.h"

START_TEST(every_matching_policy_speaks_in_the_order_of_the_file)
{
    ck_assert_str_eq(
        SAYS("policies:\n" POLICY("A", "watch: {objects: ['**']}, when: 'after.a == 1'")
                 POLICY("B", "watch: {objects: ['**']}, require: 'after.a == 1'")
                     POLICY("C", "watch: {objects: ['**']}, when: 'after.a < 5'"),
             "{after: {a: 1}}", "{after: {a: 2}}", "{after: {a: 9}}"),
        "A violation: About A\nC violation: About C\n"
        "B violation: About B\nC violation: About C\n"
        "B violation: About B\n");
}
END_TEST

START_TEST(only_what_is_watched_is_judged)
{
    static const char policies[] =
        "policies:\n" POLICY("S", "watch: {sources: [crm]}, when: 'true'")
            POLICY("O", "watch: {objects: [pay.*]}"
                        ", when: 'true'")
                POLICY("D", "watch: {ops: [delete]}, when: 'true'")
                    POLICY("K", "watch: {kinds: [schema]}, when: 'true'");

    ck_assert_str_eq(SAYS(policies, "{after: {a: 1}}", "{source: crm, after: {a: 1}}",
                          "{object: pay.bills, after: {a: 1}}",
                          "{op: delete, before: {a: 1}}",
                          "{kind: schema, op: create, after: {a: 1}}",
                          "{object: other.pay.bills, after: {a: 1}}"),
                     "unwatched\nS violation: About S\nO violation: About O\n"
                     "D violation: About D\nK violation: About K\nunwatched\n");
}
END_TEST

START_TEST(a_policy_that_is_off_is_silent_and_one_in_shadow_speaks)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;

    ck_assert_str_eq(
        SAYS("policies:\n" POLICY("A",
                                  "watch: {objects: ['**']}, when: 'true', mode: off")
                 POLICY("B", "watch: {objects: ['**']}, when: 'true', mode: shadow"),
             "{after: {a: 1}}"),
        "B violation: About B\n");
    set = load("    when: 'true'\n    mode: shadow\n");
    ck_assert_int_eq(dgf_policy_set_at(set, 0)->mode, DGF_MODE_SHADOW);
}
END_TEST

/* The table of null, absent and unknown: one expression and its result with
 * a: null, b absent, u unknown and n: 1. */
static const struct {
    const char *when, *verdict;
} table[] = {
    {"after.a == null", "violation: A test"},
    {"missing(after.a) && missing(after.b) && !missing(after.n)", "violation: A test"},
    {"has(after.a) && !has(after.b)", "violation: A test"},
    {"after.a == 1", "pass"},
    {"after.u == 1", "review: A test"},
    {"missing(after.u)", "review: A test"},
    {"has(after.u)", "review: A test"},
    {"size(after.u) > 0", "review: A test"},
    {"after.n in [after.u]", "review: A test"},
    {"known(after.n) && !known(after.u)", "violation: A test"},
    {"after.u == 1 && after.n == 2", "pass"},
    {"after.n == 1 && after.u == 1", "review: A test"},
    {"after.u == 1 || after.n == 1", "violation: A test"},
    {"after.u == 1 || after.b == 1", "review: A test"}, /* unknown wins over error */
    {"pii.card(after.u)", "review: A test"},
    {"pii.any(after.a) || pii.any(after.n) || secret.any(after.a)", "pass"},
    {"before == null && missing(before.a) && before.a == null", "violation: A test"},
    {"'note' in changed", "pass"},
    {"missing(actor.name)", "review: A test"},
};

START_TEST(null_absent_and_unknown_are_three_things)
{
    char policy[256], expected[64];

    snprintf(policy, sizeof(policy), "    when: >-\n      %s\n", table[_i].when);
    snprintf(expected, sizeof(expected), "%s%s\n",
             strcmp(table[_i].verdict, "pass") == 0 ? "" : "T-1 ", table[_i].verdict);
    ck_assert_str_eq(
        SAYS(policy,
             "{op: insert, after: {a: null, u: 1, n: 1}, unavailable: [after.u]}"),
        expected);
}
END_TEST

START_TEST(the_new_row_of_a_delete_is_null)
{
    ck_assert_str_eq(
        SAYS("    when: 'after == null && after.a == null && before.a == 1'\n",
             "{op: delete, before: {a: 1}}"),
        "T-1 violation: A test\n");
}
END_TEST

START_TEST(what_an_unknown_result_means_is_the_policys_word)
{
    static const char event[] = "{after: {a: 1}, unavailable: [after.a]}";

    ck_assert_str_eq(SAYS("    when: 'after.a == 1'\n    on_unknown: violate\n", event),
                     "T-1 violation: A test\n");
    ck_assert_str_eq(SAYS("    when: 'after.a == 1'\n    on_unknown: pass\n", event),
                     "pass\n");
    ck_assert_str_eq(
        SAYS("    require: 'after.a == 1'\n    on_unknown: review\n", event),
        "T-1 review: A test\n");
}
END_TEST

START_TEST(an_evaluation_error_is_a_rule_error_and_a_violation)
{
    /* E0401 */
    ck_assert_str_eq(SAYS("    when: 'after.b == 1'\n", "{after: {a: 1}}"),
                     "T-1 error E0401: no such key: 'b'\n"
                     "T-1 violation: A test\n");
    ck_assert_str_eq(
        SAYS("    when: '1 / after.a == 1'\n    on_error: record\n", "{after: {a: 0}}"),
        "T-1 error E0401: division by zero\n");
}
END_TEST

START_TEST(an_error_never_says_a_value_of_the_event)
{
    static const char event[] = "{after: {note: '4111 1111 1111 1111', m: {a: 1}}}";

    ck_assert_str_eq(SAYS("    when: 'after.m[after.note] == 1'\n"
                          "    on_error: record\n",
                          event),
                     "T-1 error E0401: no such key\n");
    ck_assert_str_eq(
        SAYS("    when: 'after.m[\"b\"] == 1'\n    on_error: record\n", event),
        "T-1 error E0401: no such key: 'b'\n");
    ck_assert_str_eq(SAYS("    when: '\"x\".matches(\"(\" + after.note)'\n"
                          "    on_error: record\n",
                          event),
                     "T-1 error E0401: bad regular expression: missing )\n");
}
END_TEST

START_TEST(what_one_policy_costs_takes_nothing_from_the_next)
{
    struct dgf_buf event;
    static const char file[] =
        "let:\n  big: 'after.l.exists(a, after.l.exists(b, a + b < 0))'\n"
        "policies:\n"
        "  - {id: P1, title: About P1, severity: low, watch: {objects: ['**']}, "
        "when: 'after.l.exists(a, after.l.all(b, a + b >= 0) && a > 150) && big'}\n"
        "  - {id: P2, title: About P2, severity: low, watch: {objects: ['**']}, "
        "when: 'big'}\n";

    dgf_buf_init(&event, 1 << 20);
    dgf_buf_add_str(&event, "{after: {l: [0");
    for (int i = 1; i < 100; i++)
        dgf_buf_addf(&event, ", %d", i);
    dgf_buf_add_str(&event, ", 200]}}");
    ck_assert_str_eq(SAYS(file, dgf_buf_str(&event)),
                     "P1 error E0402: the cost budget of one evaluation is used up\n"
                     "P1 violation: About P1\n");
    dgf_buf_release(&event);
}
END_TEST

START_TEST(an_expression_that_costs_too_much_is_a_rule_error_and_never_a_stall)
{
    struct dgf_buf event;

    dgf_buf_init(&event, 1 << 20);
    dgf_buf_add_str(&event, "{after: {l: [0");
    for (int i = 1; i < 400; i++)
        dgf_buf_addf(&event, ", %d", i);
    dgf_buf_add_str(&event, "]}}");
    /* E0402 */
    ck_assert_str_eq(
        SAYS("    when: 'after.l.exists(a, after.l.exists(b, a + b < 0))'\n",
             dgf_buf_str(&event)),
        "T-1 error E0402: the cost budget of one evaluation is used up\n"
        "T-1 violation: A test\n");
    dgf_buf_release(&event);
}
END_TEST

#define EXCEPTION                                                              \
    "    when: 'after.n > 0'\n    exceptions:\n      fields: [after.author]\n" \
    "      allow:\n        - {values: [ada, null], reason: r, approver: a, "   \
    "ticket: C-1, until: 2026-04-01T00:00:00Z}\n"
#define WAIVED                                                              \
    "T-1 waived: A test {\"reason\":\"r\",\"approver\":\"a\",\"ticket\":\"" \
    "C-1\",\"until\":\"2026-04-01T00:00:00Z\"}\n"

START_TEST(an_exception_waives_until_it_ends_by_the_time_of_the_event)
{
    ck_assert_str_eq(
        SAYS(EXCEPTION, "{after: {n: 1, author: ada}}", "{after: {n: 1, author: null}}",
             "{after: {n: 1, author: bob}}",
             "{time: 2026-03-31T23:59:59Z, after: {n: 1, author: ada}}",
             "{time: 2026-04-01T00:00:00Z, after: {n: 1, author: ada}}",
             "{after: {n: 0, author: ada}}"),
        WAIVED WAIVED "T-1 violation: A test\n" WAIVED "T-1 violation: A test\n"
                      "pass\n");
}
END_TEST

START_TEST(an_exception_that_is_unknown_or_fails_does_not_apply)
{
    ck_assert_str_eq(SAYS(EXCEPTION,
                          "{after: {n: 1, author: ada}, unavailable: [after.author]}",
                          "{after: {n: 1}}"),
                     "T-1 violation: A test\nT-1 violation: A test\n");
}
END_TEST

START_TEST(lists_and_several_fields_make_exceptions_too)
{
    ck_assert_str_eq(
        SAYS("lists: {staff: [ada, 'o\"neil']}\npolicies:\n"
             "  - id: T-1\n    title: A test\n    severity: low\n"
             "    watch: {objects: ['**']}\n    when: 'true'\n    exceptions:\n"
             "      fields: [after.who, after.n]\n      allow:\n"
             "        - {values: [\"@staff\", [1, 2]], reason: r, approver: a, "
             "until: 2026-04-01T00:00:00Z}\n",
             "{after: {who: 'o\"neil', n: 2}}", "{after: {who: ada, n: 3}}"),
        "T-1 waived: A test {\"reason\":\"r\",\"approver\":\"a\",\"until\":"
        "\"2026-04-01T00:00:00Z\"}\nT-1 violation: A test\n");
}
END_TEST

START_TEST(messages_show_what_a_class_allows)
{
    ck_assert_str_eq(
        SAYS("classes: {shop.orders: {who: internal, ssn: restricted}}\npolicies:\n"
             "  - id: T-1\n    title: A test\n    severity: low\n"
             "    watch: {objects: ['**']}\n    when: 'true'\n"
             "    message: '{{after.n}} {{after.who}} {{after.gone}} {{after.none}} "
             "{{after.u}} {{after.n + 1}} {{1 / 0}} {{event.key}} {{before.a}}'\n",
             "{key: {id: 7}, after: {n: 41, who: ada, none: null, u: 1}, "
             "unavailable: [after.u]}"),
        "T-1 violation: 41 ada (absent) null (unknown) 42 (error) 7 null\n");
}
END_TEST

START_TEST(a_text_nobody_classified_is_never_shown)
{
    const char *text;

    text =
        SAYS("    when: 'true'\n    message: 'x {{after.note}} {{after.note + \"!\"}} "
             "{{after}}'\n    evidence: [note, after.n, before.note, doc.street]\n",
             "{after: {note: planted-canary, n: 3, doc: {street: planted-canary}}}");
    ck_assert_ptr_null(strstr(text, "planted"));
    ck_assert_ptr_null(strstr(text, "canary"));
    ck_assert_ptr_nonnull(strstr(text, "[note="));
    ck_assert_ptr_nonnull(strstr(text, " masked]"));
    ck_assert_ptr_nonnull(strstr(text, "[after.n=3]"));
    ck_assert_ptr_nonnull(strstr(text, "[doc.street="));
    ck_assert_ptr_null(strstr(text, "[before.note="));
}
END_TEST

START_TEST(the_strictest_class_counts)
{
    ck_assert_str_eq(
        SAYS("classes:\n  shop.orders: {who: internal}\n  '**': {ssn: restricted}\n"
             "policies:\n  - id: T-1\n    title: A test\n    severity: low\n"
             "    watch: {objects: ['**']}\n"
             "    when: 'class(\"who\") == \"internal\" && class(\"ssn\") == "
             "\"restricted\"'\n    evidence: [who]\n",
             "{after: {who: ada, ssn: 1}}"),
        "T-1 violation: A test [who=ada]\n");
}
END_TEST

/* ---- tables: columns are known ---- */

static const struct dgf_column columns[] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "status", .type = DGF_TYPE_TEXT},
    {.name = "amount", .type = DGF_TYPE_DECIMAL},
};
static unsigned given;

static unsigned gives(struct dgf_source *src, const struct dgf_object *object)
{
    (void)src;
    (void)object;
    return given;
}

static const struct dgf_source_type weak_type = {.name = "postgres", .gives = gives};

static const char *check(const char *policies, unsigned what)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = load(policies);
    DGF_CLEANUP(dgf_preflight_free)
    struct dgf_preflight *preflight = dgf_preflight_new(set);
    struct dgf_source src = {.type = &weak_type, .name = "orders"};
    struct dgf_object *object;
    struct dgf_findings gaps;

    given = what;
    dgf_findings_init(&gaps);
    ck_assert_int_eq(
        dgf_object_new("postgres", NULL, "shop", "orders", columns, 3, 1, &object),
        DGF_OK);
    ck_assert_int_eq(dgf_preflight_object(preflight, &src, object, &gaps), DGF_OK);
    dgf_preflight_end(preflight, &gaps);
    for (size_t i = 0; i < gaps.n; i++)
        dgf_buf_addf(&said, "%s %s%s%s\n", gaps.list[i].code, gaps.list[i].text,
                     gaps.list[i].fix ? " fix: " : "",
                     gaps.list[i].fix ? gaps.list[i].fix : "");
    dgf_object_unref(object);
    dgf_findings_release(&gaps);
    return dgf_buf_str(&said);
}

START_TEST(a_need_the_source_cannot_meet_is_told_with_its_fix)
{
    ck_assert_str_eq(check("    needs: [before]\n    when: 'before.status == \"a\"'\n",
                           ~0u & ~(unsigned)DGF_GIVES_BEFORE),
                     "E0441 policy 'T-1' cannot be judged on shop.orders of source "
                     "'orders': the source does not give before (whole old rows) fix: "
                     "ALTER TABLE shop.orders REPLICA IDENTITY FULL;\n");
    ck_assert_str_eq(
        check("    needs: [before]\n    when: 'before.status == \"a\"'\n", ~0u), "");
}
END_TEST

START_TEST(an_expression_that_does_not_fit_the_columns_is_told)
{
    ck_assert_str_eq(check("    when: 'after.statu == \"a\"'\n", ~0u),
                     "E0442 policy 'T-1' cannot be judged on shop.orders of source "
                     "'orders': unknown field 'after.statu'; did you mean "
                     "'after.status'?\n");
    ck_assert_str_eq(check("    when: 'missing(after.statu)'\n", ~0u), "");
    ck_assert_str_eq(check("    when: 'after.amount >= 10.5 && after.id == 1'\n", ~0u),
                     "");
}
END_TEST

START_TEST(what_a_message_or_evidence_names_in_vain_is_told)
{
    static const struct {
        const char *policy, *told;
    } rows[] = {
        {"    when: 'after.id == 1'\n    message: 'x {{after.statu}}'\n",
         "message: unknown field 'after.statu'; did you mean 'after.status'?"},
        {"    when: 'after.id == 1'\n    message: 'x {{after.statu + 1}}'\n",
         "message: unknown field 'after.statu'; did you mean 'after.status'?"},
        {"    when: 'after.id == 1'\n    message: 'x {{after.status + 1}}'\n",
         "message: operator '+' does not go with (string, int)"},
        {"    when: 'after.id == 1'\n    evidence: [status, before.statu]\n",
         "evidence: unknown field in 'before.statu'"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(rows); i++) {
        char told[512];

        dgf_buf_clear(&said);
        snprintf(told, sizeof(told),
                 "W0450 policy 'T-1' cannot show all it names of shop.orders of source "
                 "'orders': %s\n",
                 rows[i].told);
        ck_assert_str_eq(check(rows[i].policy, ~0u), told);
    }
}
END_TEST

START_TEST(a_policy_that_watches_nothing_is_told)
{
    static const char *const rows[][3] = {
        {"[shop.order], sources: [orders]", "other",
         "W0449 policy 'T-1' watches nothing: no object of its sources matches "
         "'shop.order'; did you mean 'shop.orders'?"},
        {"[shop.order, x.y], sources: [orders]", "other",
         "W0449 policy 'T-1' watches nothing: no object of its sources matches "
         "'shop.order' or the others; did you mean 'shop.orders'?"},
        {"[shop.orders], sources: [orders]", "other", ""},
        {"[shop.order]", "other", ""}, /* watches every source: the other may have it */
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(rows); i++) {
        DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
        DGF_CLEANUP(dgf_preflight_free) struct dgf_preflight *preflight = NULL;
        struct dgf_source src = {.type = &weak_type, .name = "orders"};
        struct dgf_findings gaps;
        struct dgf_object *object;
        char text[512], told[512] = "";

        snprintf(text, sizeof(text),
                 "policies:\n  - {id: T-1, title: t, severity: low, "
                 "watch: {objects: %s}, when: 'after.id == 1'}\n",
                 rows[i][0]);
        set = load(text);
        preflight = dgf_preflight_new(set);
        dgf_findings_init(&gaps);
        given = ~0u;
        ck_assert_int_eq(
            dgf_object_new("postgres", NULL, "shop", "orders", columns, 3, 1, &object),
            DGF_OK);
        ck_assert_int_eq(dgf_preflight_object(preflight, &src, object, &gaps), DGF_OK);
        dgf_preflight_silent(preflight, rows[i][1]);
        dgf_preflight_end(preflight, &gaps);
        if (gaps.n > 0)
            snprintf(told, sizeof(told), "%s %s", gaps.list[0].code, gaps.list[0].text);
        ck_assert_str_eq(told, rows[i][2]);
        ck_assert_uint_le(gaps.n, 1);
        dgf_object_unref(object);
        dgf_findings_release(&gaps);
    }
}
END_TEST

START_TEST(asking_for_a_field_lets_no_other_expression_read_it)
{
    ck_assert_str_eq(
        check(
            "policies:\n" POLICY("A", "watch: {objects: ['**']}, when: "
                                      "'missing(after.colour)'")
                POLICY("B", "watch: {objects: ['**']}, when: 'after.colour == 1'")
                    POLICY("C",
                           "watch: {objects: ['**']}, when: 'after.id == 1', message: "
                           "'is {{after.colour}}'")
                        POLICY("D", "watch: {objects: ['**']}, when: 'missing("
                                    "before.colour)'"),
            ~0u),
        "E0442 policy 'B' cannot be judged on shop.orders of source 'orders': unknown "
        "field 'after.colour'\n"
        "W0450 policy 'C' cannot show all it names of shop.orders of source 'orders': "
        "message: unknown field in 'after.colour'\n");
    dgf_buf_clear(&said);
    ck_assert_str_eq(
        check("let: {red: 'after.colour == 1', bare: 'missing(after.colour)'}\n"
              "policies:\n" POLICY("A", "watch: {objects: ['**']}, when: bare")
                  POLICY("B", "watch: {objects: ['**']}, when: red"),
              ~0u),
        "E0442 policy 'B' cannot be judged on shop.orders of source 'orders': unknown "
        "field 'after.colour'\n");
}
END_TEST

START_TEST(what_a_condition_asks_for_it_may_read_and_its_message_too)
{
    ck_assert_str_eq(check("    when: '!missing(after.colour) && after.colour == 1'\n"
                           "    message: 'is {{after.colour}}'\n",
                           ~0u),
                     "");
    ck_assert_str_eq(
        check("    when: '!missing(before.colour) && after.colour == 1'\n", ~0u),
        "E0442 policy 'T-1' cannot be judged on shop.orders of source 'orders': unknown "
        "field 'after.colour'\n");
}
END_TEST

/* An event about the table above, its rows given as YAML. */
static void judge_row(struct dgf_engine *engine, struct dgf_object *object,
                      struct dgf_source *src, enum dgf_op op, const char *rows)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    struct dgf_event_builder builder;
    struct dgf_event_meta meta = {.commit_ns = T0, .tx = DGF_BYTES("7")};
    struct dgf_event *event;
    struct dgf_buf body;
    struct dgf_err err;

    dgf_buf_init(&body, 64 * 1024);
    dgf_event_builder_init(&builder, 1 << 20);
    ck_assert_int_eq(dgf_yaml_parse("e.yaml", dgf_bytes_str(rows), &findings, &doc),
                     DGF_OK);
    ck_assert(dgf_policy_value(doc, &findings, dgf_yaml_root(doc), &body, 0));
    ck_assert_int_eq(dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, op,
                                            dgf_buf_bytes(&body), &meta, &event, &err),
                     DGF_OK);
    event->source = src;
    judge_with(engine, event);
    dgf_event_unref(event);
    dgf_event_builder_release(&builder);
    dgf_buf_release(&body);
}

struct table_events {
    struct dgf_policy_set *set;
    struct dgf_engine *engine;
    struct dgf_object *object;
    struct dgf_source src;
};

static void open_table(struct table_events *at, const char *policies, unsigned what)
{
    struct dgf_err err;

    given = what;
    *at = (struct table_events){.set = load(policies),
                                .src = {.type = &weak_type, .name = "orders"}};
    ck_assert_int_eq(
        dgf_object_new("postgres", NULL, "shop", "orders", columns, 3, 1, &at->object),
        DGF_OK);
    ck_assert_int_eq(dgf_engine_new(at->set, &masker, &at->engine, &err), DGF_OK);
}

static void close_table(struct table_events *at)
{
    dgf_engine_free(at->engine);
    dgf_object_unref(at->object);
    dgf_policy_set_unref(at->set);
}

#define ROW(at_, op, rows) \
    judge_row((at_)->engine, (at_)->object, &(at_)->src, op, rows)

/* Conditions on columns are read off the row before any program runs. */
START_TEST(columns_are_judged_by_their_types)
{
    struct table_events at;

    open_table(&at, "    when: 'after.status == \"paid\" && after.amount >= 10.5'\n",
               ~0u);
    ROW(&at, DGF_OP_INSERT,
        "{after: {id: 1, status: paid, amount: {$numberDecimal: '10.50'}}}");
    ROW(&at, DGF_OP_INSERT,
        "{after: {id: 1, status: paid, amount: {$numberDecimal: '10.49'}}}");
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: open, amount: null}}");
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: null, amount: null}}");
    ck_assert_str_eq(dgf_buf_str(&said), "T-1 violation: A test\npass\npass\npass\n");
    close_table(&at);
}
END_TEST

START_TEST(a_message_that_names_no_column_is_absent_and_the_policy_judged)
{
    struct table_events at;

    open_table(
        &at,
        "    when: 'after.id == 1'\n    evidence: [colour, id]\n    message: 'is "
        "{{after.colour}} {{after.colour + \"!\"}} {{after.id}}'\n",
        ~0u);
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: a, amount: null}}");
    ck_assert_str_eq(dgf_buf_str(&said),
                     "T-1 violation: is (absent) (error) 1 [id=1]\n");
    close_table(&at);
}
END_TEST

START_TEST(a_column_that_was_not_sent_is_for_review)
{
    struct table_events at;

    open_table(&at, "    when: 'after.status == \"paid\" && after.amount >= 10.5'\n",
               ~0u);
    ROW(&at, DGF_OP_UPDATE,
        "{after: {id: 1, status: {$unavailable: toast}, amount: {$numberDecimal: "
        "'99'}}}");
    ROW(&at, DGF_OP_UPDATE,
        "{after: {id: 1, status: open, amount: {$unavailable: toast}}}");
    ck_assert_str_eq(dgf_buf_str(&said), "T-1 review: A test\npass\n");
    close_table(&at);
}
END_TEST

START_TEST(where_a_policy_cannot_be_judged_the_first_event_says_so_once)
{
    struct table_events at;

    open_table(&at,
               "policies:\n" POLICY(
                   "A", "watch: {objects: ['**']}, when: 'before.status == \"a\"'")
                   POLICY("B", "watch: {objects: ['**']}, when: 'after.colour == 1'")
                       POLICY("C", "watch: {objects: ['**']}, when: 'after.id == 1'"),
               ~0u & ~(unsigned)DGF_GIVES_BEFORE);
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: a, amount: null}}");
    ROW(&at, DGF_OP_INSERT, "{after: {id: 2, status: a, amount: null}}");
    ck_assert_str_eq(
        dgf_buf_str(&said),
        "C violation: About C\n"
        "DGF-COV-1 violation: policy 'A' is not judged on shop.orders: the source does "
        "not give before (whole old rows) (ALTER TABLE shop.orders REPLICA IDENTITY "
        "FULL); policy 'B' is not judged on shop.orders: unknown field "
        "'after.colour'\n"
        "pass\n");
    close_table(&at);
}
END_TEST

START_TEST(a_field_only_a_sibling_asks_for_is_told_once_and_not_at_every_event)
{
    struct table_events at;

    open_table(&at,
               "policies:\n" POLICY(
                   "A", "watch: {objects: ['**']}, when: 'missing(after.colour)'")
                   POLICY("B", "watch: {objects: ['**']}, when: 'after.colour == 1'"),
               ~0u);
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: a, amount: null}}");
    ROW(&at, DGF_OP_INSERT, "{after: {id: 2, status: a, amount: null}}");
    ck_assert_str_eq(dgf_buf_str(&said),
                     "A violation: About A\n"
                     "DGF-COV-1 violation: policy 'B' is not judged on shop.orders: "
                     "unknown field 'after.colour'\n"
                     "A violation: About A\n");
    close_table(&at);
}
END_TEST

START_TEST(a_new_set_takes_over_between_two_events)
{
    struct table_events at;
    struct dgf_policy_set *next;
    struct dgf_err err;

    open_table(&at, "    when: 'after.id == 1'\n    message: old\n", ~0u);
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: a, amount: null}}");
    ck_assert_str_eq(dgf_buf_str(&said), "T-1 violation: old\n");
    next = load("    when: 'after.id == 1'\n    message: new\n");
    ck_assert_int_eq(dgf_engine_swap(at.engine, next, &err), DGF_OK);
    dgf_policy_set_unref(next);
    ROW(&at, DGF_OP_INSERT, "{after: {id: 1, status: a, amount: null}}");
    ck_assert_str_eq(dgf_buf_str(&said), "T-1 violation: new\n");
    close_table(&at);
}
END_TEST

START_TEST(sources_learn_what_nobody_watches)
{
    struct table_events at;

    open_table(&at,
               "policies:\n" POLICY("A", "watch: {objects: [shop.orders], ops: "
                                         "[delete]}, when: 'true'"),
               ~0u);
    ck_assert(dgf_engine_watches(at.engine, &at.src, at.object, DGF_KIND_CHANGE,
                                 DGF_OP_DELETE));
    ck_assert(!dgf_engine_watches(at.engine, &at.src, at.object, DGF_KIND_CHANGE,
                                  DGF_OP_INSERT));
    ck_assert(!dgf_engine_watches(at.engine, &at.src, at.object, DGF_KIND_SCHEMA,
                                  DGF_OP_DROP));
    close_table(&at);
}
END_TEST

/* Two hundred policies, each for another status: those it is about speak. */
START_TEST(an_index_over_constants_hides_no_policy)
{
    struct dgf_buf file;

    dgf_buf_init(&file, 1 << 20);
    dgf_buf_add_str(&file, "policies:\n");
    for (int i = 0; i < 200; i++)
        dgf_buf_addf(&file,
                     POLICY("P%d", "watch: {objects: ['**']}, when: "
                                   "'after.status == \"s%d\" || after.n == %d'"),
                     i, i, i, i + 1000);
    ck_assert_str_eq(SAYS(dgf_buf_str(&file), "{after: {status: s7, n: 1009}}"),
                     "P7 violation: About P7\nP9 violation: About P9\n");
    dgf_buf_release(&file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules_engine");
    SRunner *runner = srunner_create(suite);
    TCase *tc = tcase_create("engine");
    const TTest *const tests[] = {
        every_matching_policy_speaks_in_the_order_of_the_file,
        only_what_is_watched_is_judged,
        a_policy_that_is_off_is_silent_and_one_in_shadow_speaks,
        the_new_row_of_a_delete_is_null,
        what_an_unknown_result_means_is_the_policys_word,
        an_evaluation_error_is_a_rule_error_and_a_violation,
        an_error_never_says_a_value_of_the_event,
        what_one_policy_costs_takes_nothing_from_the_next,
        an_expression_that_costs_too_much_is_a_rule_error_and_never_a_stall,
        an_exception_waives_until_it_ends_by_the_time_of_the_event,
        an_exception_that_is_unknown_or_fails_does_not_apply,
        lists_and_several_fields_make_exceptions_too,
        messages_show_what_a_class_allows,
        a_text_nobody_classified_is_never_shown,
        the_strictest_class_counts,
        a_need_the_source_cannot_meet_is_told_with_its_fix,
        an_expression_that_does_not_fit_the_columns_is_told,
        what_a_message_or_evidence_names_in_vain_is_told,
        a_message_that_names_no_column_is_absent_and_the_policy_judged,
        a_policy_that_watches_nothing_is_told,
        asking_for_a_field_lets_no_other_expression_read_it,
        what_a_condition_asks_for_it_may_read_and_its_message_too,
        a_field_only_a_sibling_asks_for_is_told_once_and_not_at_every_event,
        columns_are_judged_by_their_types,
        a_column_that_was_not_sent_is_for_review,
        where_a_policy_cannot_be_judged_the_first_event_says_so_once,
        a_new_set_takes_over_between_two_events,
        sources_learn_what_nobody_watches,
        an_index_over_constants_hides_no_policy,
    };
    int failed;

    tcase_set_timeout(tc, 300);
    for (size_t i = 0; i < DGF_ARRAY_LEN(tests); i++)
        tcase_add_test(tc, tests[i]);
    tcase_add_loop_test(tc, null_absent_and_unknown_are_three_things, 0,
                        (int)DGF_ARRAY_LEN(table));
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
