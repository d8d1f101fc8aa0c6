#include "base/findings.h"

#include <stdio.h>

#include <string.h>

#include "base/mem.h"

#include "unit.h"

static struct dgf_findings findings;
static struct dgf_buf out;

static void begin(void)
{
    dgf_findings_init(&findings);
    dgf_buf_init(&out, 1 << 20);
}

static struct dgf_mark at(const char *file, unsigned line, unsigned col, unsigned len)
{
    return (struct dgf_mark){file, line, col, len};
}

static const char *printed(enum dgf_findings_format format)
{
    dgf_buf_clear(&out);
    dgf_findings_print(&findings, format, false, &out);
    ck_assert_int_eq(dgf_buf_rc(&out), DGF_OK);
    return dgf_buf_str(&out);
}

static void end(void)
{
    dgf_findings_release(&findings);
    dgf_buf_release(&out);
}

static void add_three(void)
{
    dgf_findings_add(&findings, DGF_FINDING_WARNING, "W0201", at("b.yaml", 2, 1, 3),
                     NULL, "%s runs without verified encryption", "sinks.k");
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 31, 8, 7),
                     "\twhen: after.x", "unknown option '%s'", "after.x");
    dgf_findings_fix(&findings, "write '%s'", "after.y");
    dgf_findings_add(&findings, DGF_FINDING_NOTE, NULL, at("a.yaml", 4, 0, 0), "abc",
                     "look");
}

START_TEST(the_built_in_policy_is_explained_like_a_code)
{
    const char *title = NULL, *text = NULL;

    ck_assert(dgf_code_explain("DGF-COV-1", &title, &text));
    ck_assert_str_eq(title, "a policy does not fit an object");
    ck_assert(dgf_code_explain("w0703", &title, &text));
}
END_TEST

START_TEST(findings_are_shown_by_place_with_line_and_carets)
{
    begin();
    add_three();
    ck_assert_str_eq(
        printed(DGF_FINDINGS_HUMAN),
        "a.yaml:4: note: look\n"
        "    4 | abc\n"
        "a.yaml:31:8: error[E0202]: unknown option 'after.x'\n"
        "   31 | \twhen: after.x\n"
        "      | \t      ^~~~~~~\n"
        "      = fix: write 'after.y'\n"
        "b.yaml:2:1: warning[W0201]: sinks.k runs without verified encryption\n");
    ck_assert_uint_eq(findings.n, 3);
    ck_assert_uint_eq(findings.n_errors, 1);
    ck_assert_uint_eq(findings.n_warnings, 1);
    end();
}
END_TEST

START_TEST(carets_count_characters_and_stop_at_the_end)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0102", at("a", 1, 4, 1),
                     "\xc3\xa9\xc3\xa9: x", "t");
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0102", at("a", 2, 40, 1), "ab",
                     "t");
    ck_assert_str_eq(printed(DGF_FINDINGS_HUMAN), "a:1:4: error[E0102]: t\n"
                                                  "    1 | \xc3\xa9\xc3\xa9: x\n"
                                                  "      |    ^\n"
                                                  "a:2:40: error[E0102]: t\n"
                                                  "    2 | ab\n"
                                                  "      |    ^\n");
    end();
}
END_TEST

START_TEST(what_a_terminal_would_obey_is_not_printed)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0102", at("a", 1, 1, 1),
                     "\033[2Jx\x7f", "bad '%s'", "\033]0;x\a");
    ck_assert_str_eq(printed(DGF_FINDINGS_HUMAN), "a:1:1: error[E0102]: bad '?]0;x?'\n"
                                                  "    1 | ?[2Jx?\n"
                                                  "      | ^\n");
    end();
}
END_TEST

START_TEST(a_terminal_gets_colours)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0102", at("a", 1, 1, 2), "xy",
                     "t");
    dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, true, &out);
    ck_assert_str_eq(dgf_buf_str(&out), "a:1:1: \033[1;31merror[E0102]\033[0m: t\n"
                                        "    1 | xy\n"
                                        "      | \033[1;31m^~\033[0m\n");
    end();
}
END_TEST

START_TEST(findings_without_a_file_are_shown_too)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0203", at(NULL, 0, 0, 0), NULL,
                     "no wal");
    dgf_findings_fix(&findings, "ALTER SYSTEM SET wal_level = 'logical';");
    ck_assert_str_eq(printed(DGF_FINDINGS_HUMAN),
                     "error[E0203]: no wal\n"
                     "      = fix: ALTER SYSTEM SET wal_level = 'logical';\n");
    end();
}
END_TEST

START_TEST(json_holds_all_that_is_known)
{
    begin();
    add_three();
    ck_assert_str_eq(
        printed(DGF_FINDINGS_JSON),
        "{\"findings\":[{\"severity\":\"note\",\"file\":\"a.yaml\",\"line\":4,"
        "\"text\":\"look\",\"source\":\"abc\"},"
        "{\"severity\":\"error\",\"code\":\"E0202\",\"file\":\"a.yaml\",\"line\":31,"
        "\"col\":8,\"len\":7,\"text\":\"unknown option 'after.x'\","
        "\"source\":\"\\twhen: after.x\",\"fix\":\"write 'after.y'\"},"
        "{\"severity\":\"warning\",\"code\":\"W0201\",\"file\":\"b.yaml\",\"line\":2,"
        "\"col\":1,\"len\":3,\"text\":\"sinks.k runs without verified encryption\"}],"
        "\"errors\":1,\"warnings\":1}\n");
    end();
}
END_TEST

START_TEST(sarif_names_rules_and_regions)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0109", at("a.yaml", 3, 2, 4), NULL,
                     "t");
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0109", at("a.yaml", 4, 2, 4), NULL,
                     "u");
    ck_assert_str_eq(
        printed(DGF_FINDINGS_SARIF),
        "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\","
        "\"runs\":[{\"tool\":{\"driver\":{\"name\":\"dgf\",\"rules\":[{\"id\":\"E0109\","
        "\"shortDescription\":{\"text\":\"more than one document\"},"
        "\"fullDescription\":{\"text\":\"A file holds one document. Move what follows '---' "
        "into a file of its own.\"}}]}},\"columnKind\":\"unicodeCodePoints\",\"results\":["
        "{\"ruleId\":\"E0109\",\"level\":\"error\",\"message\":{\"text\":\"t\"},"
        "\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":\"a.yaml\"},"
        "\"region\":{\"startLine\":3,\"startColumn\":2,\"endColumn\":6}}}]},"
        "{\"ruleId\":\"E0109\",\"level\":\"error\",\"message\":{\"text\":\"u\"},"
        "\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":\"a.yaml\"},"
        "\"region\":{\"startLine\":4,\"startColumn\":2,\"endColumn\":6}}}]}]}]}\n");
    end();
}
END_TEST

START_TEST(junit_fails_for_errors_only)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0109", at("a<.yaml", 3, 2, 4),
                     NULL, "\"t\" & u\001");
    dgf_findings_add(&findings, DGF_FINDING_WARNING, "W0201", at("b", 1, 1, 1), NULL,
                     "v");
    ck_assert_str_eq(
        printed(DGF_FINDINGS_JUNIT),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
        "<testsuite name=\"dgf\" tests=\"2\" failures=\"1\">\n"
        "<testcase classname=\"a&lt;.yaml\" name=\"3:2 E0109\"><failure "
        "type=\"error\" message=\"&quot;t&quot; &amp; u?\"/></testcase>\n"
        "<testcase classname=\"b\" name=\"1:1 W0201\"><system-out>warning: "
        "v</system-out></testcase>\n</testsuite>\n</testsuites>\n");
    dgf_findings_release(&findings);
    ck_assert_str_eq(printed(DGF_FINDINGS_JUNIT),
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n"
                     "<testsuite name=\"dgf\" tests=\"1\" failures=\"0\">\n"
                     "<testcase classname=\"dgf\" name=\"no findings\"/>\n"
                     "</testsuite>\n</testsuites>\n");
    end();
}
END_TEST

#define KEY                                      \
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE" \
    "2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw=="
#define STARS                                    \
    "******************************************" \
    "**********************************************"

START_TEST(a_text_hides_what_is_a_key_and_shows_what_only_is_long)
{
    static const char *const texts[][2] = {
        {"'database' is '" KEY "'", "'database' is '" STARS "'"},
        {"sources." KEY " (blob): no", "sources." STARS " (blob): no"},
        {"'x' is '?sv=2021&sig=geheim'", "'x' is '?sv=2021&sig=******'"},
        {"'AccountEndpoint=x;AccountKey=geheim;'",
         "'AccountEndpoint=x;AccountKey=*******'"},
        {"SharedAccessKey='geheim', then", "SharedAccessKey='******', then"},
        {"token: it is over; key: a-long-name-of-a-field",
         "token: it is over; key: a-long-name-of-a-field"},
        {"'%2B6yDjf5%2FR%2Bob0N8A7Cgv30VRDJIWEHLM4QDU5DE'",
         "'*********************************************'"},
        /* many short words between slashes, and yet a key */
        {"'aZ3+b/R4xQ0N8A7Cg/v30VRDJIWE/HLM4QDU5D/E2nQ9nDu/Aq8'",
         "'***************************************************'"},
        {"log sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
         "log sha256:5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"},
        {"root 5FECEB66FFC86F38D952786C6D696C79C2DBC239DD4E91B46729D73A27FB57E9",
         "root 5FECEB66FFC86F38D952786C6D696C79C2DBC239DD4E91B46729D73A27FB57E9"},
        {"'/srv/Archive/dgf/orders/2026/11/30/checkpoints/Segments/0000000123'",
         "'/srv/Archive/dgf/orders/2026/11/30/checkpoints/Segments/0000000123'"},
        {"'/srv/Data/5feceb66ffc86f38d952786c6d696c79/5feceb66ffc86f38d952786c6d696c79/A'",
         "'/srv/Data/5feceb66ffc86f38d952786c6d696c79/5feceb66ffc86f38d952786c6d696c79/A'"},
        {"/queueServices/default/queues/EventsOfTheShop/StorageQueueDataProcessor",
         "/queueServices/default/queues/EventsOfTheShop/StorageQueueDataProcessor"},
        {"policy 'orders-need-a-customer-and-a-date-of-delivery-2026'",
         "policy 'orders-need-a-customer-and-a-date-of-delivery-2026'"},
        {"key: \"${file:/run/secrets/azure}\"", "key: \"${file:/run/secrets/azure}\""},
        {"1234567890123456789012345678901234567890123 bytes",
         "1234567890123456789012345678901234567890123 bytes"},
        {"at the end of it 100%", "at the end of it 100%"},
        {"", ""},
    };
    char text[200];

    for (size_t i = 0; i < DGF_ARRAY_LEN(texts); i++) {
        (void)snprintf(text, sizeof(text), "%s", texts[i][0]);
        dgf_text_hide(text);
        ck_assert_str_eq(text, texts[i][1]);
    }
}
END_TEST

START_TEST(nothing_that_is_kept_of_a_finding_shows_a_key)
{
    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 3, 2, 3),
                     "x: " KEY, "'x' is '%s'", KEY);
    dgf_findings_fix(&findings, "x: %s", KEY);
    ck_assert_str_eq(findings.list[0].text, "'x' is '" STARS "'");
    ck_assert_str_eq(findings.list[0].source_line, "x: " STARS);
    ck_assert_str_eq(findings.list[0].fix, "x: " STARS);
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 4, 6, 6),
                     "key: geheim #geheim", "short");
    dgf_findings_hide_at(&findings, at("a.yaml", 4, 6, 6));
    ck_assert_str_eq(findings.list[1].source_line, "key: ****** #******");
    end();
}
END_TEST

START_TEST(a_quoted_line_hides_secrets_and_keeps_its_columns)
{
    static const char *const lines[][2] = {
        {"url: \"postgresql://dgf:geheim@db/app\", x: 1",
         "url: \"postgresql://dgf:******@db/app\", x: 1"},
        {"url: postgresql://dgf:g@h:e@db:5432/app",
         "url: postgresql://dgf:*****@db:5432/app"},
        {"url: postgresql://dgf@db:5432/app", "url: postgresql://dgf@db:5432/app"},
        {"key_password: 'top secret', x: 1", "key_password: '**********', x: 1"},
        {"{password: geheim, user: a}", "{password: ******, user: a}"},
        {"?sslpassword=geheim&x=1", "?sslpassword=******&x=1"},
        {"\"password\" : \"gehe\303\274m\"}", "\"password\" : \"******\"}"},
        {"password: ${file:/run/secrets/x}, a: b",
         "password: ${file:/run/secrets/x}, a: b"},
        {"password: ${X:-geheim}, a: b", "password: ************, a: b"},
        {"Passwort: 1, token_ttl == 5", "Passwort: 1, token_ttl == 5"},
        {"password: \"open", "password: \"****"},
        {"password:", "password:"},
        {"auth: key, key: C2y6yDjf5/R+ob0N8A7Cgv30VRDJ==, x: 1",
         "auth: key, key: ******************************, x: 1"},
        {"key: 'C2y6yDjf5/R+ob0N8A7Cgv30VRDJ=='",
         "key: '******************************'"},
        {"sas: \"sv=2021-12-02&sig=abc%3D\"", "sas: \"************************\""},
        {"url: 'AccountEndpoint=x;AccountKey=C2y6yDjf5/R+ob0N8A7Cgv30VRDJ=='",
         "url: 'AccountEndpoint=x;AccountKey=******************************'"},
        {"account_key: C2y6yDjf5/R+ob0N8A7Cgv30VRDJ==, x: 1",
         "account_key: ******************************, x: 1"},
        {"url: https://x/c?sv=1&sig=C2y6yDjf5/R%2Bob0N8A7Cg, a: b",
         "url: https://x/c?sv=1&sig=***********************, a: b"},
        {"AccountName=a;AccountKey=short", "AccountName=a;AccountKey=*****"},
        {"https://x/c?sv=1&sig=short", "https://x/c?sv=1&sig=*****"},
        {"tls: {key: client.key}", "tls: {key: client.key}"},
        {"map: {key: [id], keys: 1234567890123456789}",
         "map: {key: [id], keys: 1234567890123456789}"},
        {"key: Eby8vdM02xNOcqFlqUwJ #PLlmEtlCD",
         "key: ******************** #*********"},
        {"key: ${KEY} # was geheim", "key: ${KEY} # **********"},
        {"tls: {key: client.key} # of this host",
         "tls: {key: client.key} # of this host"},
        {"database: shop # not #2", "database: shop # not #2"},
        {"key: ${C2y6yDjf5/R+ob0N8A==}", "key: ${********************}"},
        {"url: ${2HOST}, x: ${HOST}", "url: ${*****}, x: ${HOST}"},
        {"url: ${HOST:-db}, x: ${H+:-db}", "url: ${HOST:-db}, x: ${******}"},
        {"key: ${file:/run/secrets/azure}", "key: ${file:/run/secrets/azure}"},
        {"key: ${file:" KEY "}", "key: ${file:" STARS "}"},
        {"auth: kye # was " KEY, "auth: kye # was " STARS},
        {"url: " KEY, "url: " STARS},
        {"  " KEY ": {type: blob}", "  " STARS ": {type: blob}"},
    };
    char line[200];

    for (size_t i = 0; i < DGF_ARRAY_LEN(lines); i++) {
        (void)snprintf(line, sizeof(line), "%s", lines[i][0]);
        dgf_findings_hide(line);
        ck_assert_str_eq(line, lines[i][1]);
    }
}
END_TEST

START_TEST(a_hidden_place_is_hidden_in_lines_before_and_after)
{
    static const char line[] = "{kyy: geh\303\274m, x: 1}";

    begin();
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 3, 2, 3), line,
                     "first");
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("b.yaml", 3, 2, 3), line,
                     "another file");
    dgf_findings_hide_at(&findings, at("a.yaml", 3, 7, 5));
    dgf_findings_hide_at(&findings, at("a.yaml", 4, 1, 0));
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 3, 14, 1),
                     line, "later");
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0202", at("a.yaml", 4, 1, 1),
                     "abc", "all of it");
    ck_assert_str_eq(findings.list[0].source_line, "{kyy: *****, x: 1}");
    ck_assert_str_eq(findings.list[1].source_line, line);
    ck_assert_str_eq(findings.list[2].source_line, "{kyy: *****, x: 1}");
    ck_assert_str_eq(findings.list[3].source_line, "***");
    end();
}
END_TEST

START_TEST(every_code_is_explained_once_and_in_order)
{
    static const char *const codes[] = {
#define CODE(code, title, text) #code,
#include "base/codes.def"
#undef CODE
    };
    const char *title, *text;

    for (size_t i = 0; i < DGF_ARRAY_LEN(codes); i++) {
        ck_assert(strlen(codes[i]) == 5 || strcmp(codes[i], "DGF-COV-1") == 0);
        if (i > 0)
            ck_assert_str_gt(codes[i], codes[i - 1]);
        ck_assert(dgf_code_explain(codes[i], &title, &text));
        ck_assert_msg(strlen(title) > 5 && strlen(text) > 30, "%s", codes[i]);
    }
    ck_assert(!dgf_code_explain("E9999", &title, &text));
    ck_assert(!dgf_code_explain("", &title, &text));
}
END_TEST

DGF_UNIT(findings, findings_are_shown_by_place_with_line_and_carets,
         carets_count_characters_and_stop_at_the_end,
         what_a_terminal_would_obey_is_not_printed, a_terminal_gets_colours,
         findings_without_a_file_are_shown_too, json_holds_all_that_is_known,
         sarif_names_rules_and_regions, junit_fails_for_errors_only,
         a_text_hides_what_is_a_key_and_shows_what_only_is_long,
         nothing_that_is_kept_of_a_finding_shows_a_key,
         a_quoted_line_hides_secrets_and_keeps_its_columns,
         a_hidden_place_is_hidden_in_lines_before_and_after,
         every_code_is_explained_once_and_in_order,
         the_built_in_policy_is_explained_like_a_code)
