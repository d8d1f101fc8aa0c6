#include "bus/sink.h"

#include <stdio.h>

#include "unit.h"

static char violation[] = "violation", gap[] = "gap";
static char card[] = "CARD-*", consent[] = "*-consent", sox[] = "SOX-7";
static char *kinds[] = {violation, gap};
static char *policies[] = {card, consent, sox};

static struct dgf_record record_of(enum dgf_record_kind kind, const char *policy,
                                   enum dgf_severity severity)
{
    return (struct dgf_record){
        .kind = kind, .severity = severity, .policy = dgf_bytes_str(policy)};
}

static bool sent(const struct dgf_select *select, enum dgf_record_kind kind,
                 const char *policy, enum dgf_severity severity)
{
    struct dgf_record record = record_of(kind, policy, severity);

    return dgf_select_match(select, &record);
}

START_TEST(an_empty_selection_sends_every_record)
{
    struct dgf_select all = {0};

    for (int kind = 0; kind < DGF_RECORD_N; kind++)
        ck_assert(sent(&all, kind, "", DGF_SEVERITY_INFO));
}
END_TEST

START_TEST(only_the_kinds_that_are_listed_are_sent)
{
    struct dgf_select select = {.kinds = {kinds, 2}};

    for (int kind = 0; kind < DGF_RECORD_N; kind++)
        ck_assert_int_eq(sent(&select, kind, "", DGF_SEVERITY_INFO),
                         kind == DGF_RECORD_VIOLATION || kind == DGF_RECORD_GAP);
}
END_TEST

START_TEST(policies_are_globs_and_leave_records_without_a_policy_alone)
{
    struct dgf_select select = {.policies = {policies, 3}};
    static const struct {
        const char *policy;
        bool sent;
    } table[] = {
        {"CARD-001", true}, {"CARD-", true},        {"CARD", false},
        {"XCARD-1", false}, {"gdpr-consent", true}, {"gdpr-consents", false},
        {"SOX-7", true},    {"SOX-77", false},      {"", true},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++)
        ck_assert_msg(sent(&select, DGF_RECORD_VIOLATION, table[i].policy, 0) ==
                          table[i].sent,
                      "policy '%s'", table[i].policy);
}
END_TEST

START_TEST(a_glob_with_several_stars_goes_back_only_to_the_last_one)
{
    char text[] = "*a*a*a*b", *glob[] = {text};
    struct dgf_select select = {.policies = {glob, 1}};

    ck_assert(sent(&select, DGF_RECORD_VIOLATION, "xaxaaab", 0));
    ck_assert(!sent(&select, DGF_RECORD_VIOLATION, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0));
    ck_assert(!sent(&select, DGF_RECORD_VIOLATION, "aab", 0));
}
END_TEST

START_TEST(the_lowest_severity_holds_for_records_of_a_policy_only)
{
    struct dgf_select select = {.min_severity = DGF_SEVERITY_MEDIUM};

    ck_assert(!sent(&select, DGF_RECORD_VIOLATION, "A", DGF_SEVERITY_LOW));
    ck_assert(sent(&select, DGF_RECORD_VIOLATION, "A", DGF_SEVERITY_MEDIUM));
    ck_assert(sent(&select, DGF_RECORD_RULE_ERROR, "A", DGF_SEVERITY_CRITICAL));
    ck_assert(sent(&select, DGF_RECORD_GAP, "", DGF_SEVERITY_INFO));
    ck_assert(sent(&select, DGF_RECORD_CONFIG, "", DGF_SEVERITY_INFO));
}
END_TEST

static char said[DGF_ERR_TEXT_MAX];
static enum dgf_rc said_rc;

static void on_fail(struct dgf_sink *sink, enum dgf_rc rc, const char *text)
{
    (void)sink;
    said_rc = rc;
    snprintf(said, sizeof(said), "%s", text);
}

static void on_state(struct dgf_sink *sink, bool ok, const char *reason)
{
    (void)sink;
    said_rc = ok ? DGF_OK : DGF_AGAIN;
    snprintf(said, sizeof(said), "%s", reason);
}

START_TEST(what_a_sink_says_reaches_the_host_as_one_text)
{
    static const struct dgf_sink_host host = {.fail = on_fail, .state = on_state};
    struct dgf_sink sink = {.host = &host};

    dgf_sink_fail(&sink, DGF_RETRY, "cannot reach '%s': %s", "k1", "refused");
    ck_assert_int_eq(said_rc, DGF_RETRY);
    ck_assert_str_eq(said, "cannot reach 'k1': refused");
    dgf_sink_state(&sink, false, "topic '%s' is missing", "t");
    ck_assert_int_eq(said_rc, DGF_AGAIN);
    ck_assert_str_eq(said, "topic 't' is missing");
    dgf_sink_state(&sink, true, "%s", "");
    ck_assert_int_eq(said_rc, DGF_OK);
    ck_assert_str_eq(said, "");
}
END_TEST

DGF_UNIT(sink, an_empty_selection_sends_every_record,
         only_the_kinds_that_are_listed_are_sent,
         policies_are_globs_and_leave_records_without_a_policy_alone,
         a_glob_with_several_stars_goes_back_only_to_the_last_one,
         the_lowest_severity_holds_for_records_of_a_policy_only,
         what_a_sink_says_reaches_the_host_as_one_text)
