#include "base/opt.h"

#include "base/json.h"
#include "base/mem.h"

#include "unit.h"

static const struct {
    const char *address, *seen;
} addresses[] = {
    {"postgresql://dgf:geheim@db/app?sslmode=verify-full",
     "postgresql://dgf:***@db/app?sslmode=verify-full"},
    {"postgresql://dgf@db:5432/app", "postgresql://dgf@db:5432/app"},
    {"postgresql://db:5432/app", "postgresql://db:5432/app"},
    {"postgresql:///app?host=/run/pg&password=geheim&sslmode=disable",
     "postgresql:///app?host=/run/pg&password=***&sslmode=disable"},
    {"postgresql://db/?sslpassword=geheim", "postgresql://db/?sslpassword=***"},
    {"postgresql://db/?pass%77ord=geheim&x", "postgresql://db/?pass%77ord=***&***"},
    /* characters that should have been escaped */
    {"postgresql://dgf:ge@h/e?i:m@db/app", "postgresql://dgf:***@db/app"},
    {"redis://:geheim@cache:6379/0", "redis://:***@cache:6379/0"},
    {"mongodb+srv://a%40b:geheim@m1,m2/?tls=true&authMechanismProperties="
     "AWS_SESSION_TOKEN:geheim",
     "mongodb+srv://a%40b:***@m1,m2/?tls=true&authMechanismProperties=***"},
    {"https://acct.blob.core.windows.net/x?sv=2021-12-02&sig=geheim#geheim",
     "https://acct.blob.core.windows.net/x?sv=2021-12-02&sig=***#***"},
    {"host=db  password = 'ge\\'he im' user='o\\'hara' port=1",
     "host=db password=*** user='o\\'hara' port=1"},
    {"host=db PASSWORD=ge\\ heim sslmode=disable",
     "host=db PASSWORD=*** sslmode=disable"},
    {"host=db password='geheim", "***"},
    {"host=db geheim", "***"},
    {"host=a://u:p@x password=geheim", "host=a://u:p@x password=***"},
    {"geheim", "***"},
    {"ge+heim/x==", "***"}, /* a key is no keyword, whatever it ends with */
    {"", "***"},
};

START_TEST(of_an_address_only_the_secrets_are_hidden)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(addresses); i++) {
        struct dgf_buf out;

        dgf_buf_init(&out, 4096);
        dgf_opt_hide_address(addresses[i].address, &out);
        ck_assert_str_eq(dgf_buf_str(&out), addresses[i].seen);
        dgf_buf_release(&out);
    }
}
END_TEST

struct conf {
    char *url, *password, *name;
    int64_t n, wait_ns;
    uint64_t size;
    int word;
    bool on;
};

#define AT(f) offsetof(struct conf, f)
static const struct dgf_opt inner[] = {{"on", DGF_OPT_BOOL, 0, 0, "true", .help = "h"},
                                       DGF_OPT_END};
static const struct dgf_opt opts[] = {
    {"url", DGF_OPT_SECRET_STR, AT(url), DGF_SECRET | DGF_ADDRESS, "x://u:geheim@h"},
    {"password", DGF_OPT_SECRET_STR, AT(password), DGF_SECRET, "geheim"},
    {"name", DGF_OPT_STR, AT(name)},
    {"n", DGF_OPT_INT, AT(n), 0, "7"},
    {"wait", DGF_OPT_DURATION, AT(wait_ns), 0, "90s"},
    {"size", DGF_OPT_SIZE, AT(size), 0, "4MiB"},
    {"word", DGF_OPT_ENUM, AT(word), 0, "b", .words = "a|b"},
    {"inner", DGF_OPT_GROUP, AT(on), .group = inner},
    DGF_OPT_END};

START_TEST(values_in_force_are_shown_as_yaml_and_as_json_without_secrets)
{
    struct dgf_findings findings;
    struct conf conf = {0};
    struct dgf_buf out;
    struct dgf_json json = dgf_json_of(&out);

    dgf_findings_init(&findings);
    dgf_buf_init(&out, 4096);
    dgf_opt_load(opts, &conf, NULL, NULL, "test", NULL, &findings);
    ck_assert_uint_eq(findings.n, 0);
    dgf_opt_show(opts, &conf, 2, &out);
    ck_assert_str_eq(dgf_buf_str(&out),
                     "  url: \"x://u:***@h\"\n  password: \"***\"\n  name: null\n"
                     "  n: 7\n  wait: 90s\n  size: 4MiB\n  word: b\n  inner:\n"
                     "    on: true\n");
    dgf_buf_clear(&out);
    dgf_json_begin_object(&json);
    dgf_opt_show_json(opts, &conf, &json);
    dgf_json_end_object(&json);
    ck_assert_str_eq(dgf_buf_str(&out),
                     "{\"url\":\"x://u:***@h\",\"password\":\"***\",\"name\":null,"
                     "\"n\":7,\"wait\":\"90s\",\"size\":\"4MiB\",\"word\":\"b\","
                     "\"inner\":{\"on\":true}}");
    dgf_buf_release(&out);
    dgf_opt_release(opts, &conf);
    dgf_findings_release(&findings);
}
END_TEST

struct part {
    char *key, *url, *place;
    struct dgf_str_list names;
    struct dgf_str_map more;
    bool on;
};

#define PART(f) offsetof(struct part, f)
static const struct dgf_opt part_opts[] = {
    {"key", DGF_OPT_SECRET_STR, PART(key), DGF_SECRET},
    {"url", DGF_OPT_SECRET_STR, PART(url), DGF_SECRET | DGF_ADDRESS},
    {"place", DGF_OPT_STR, PART(place), DGF_ADDRESS},
    {"names", DGF_OPT_STR_LIST, PART(names)},
    {"more", DGF_OPT_STR_MAP, PART(more)},
    {"inner", DGF_OPT_GROUP, PART(on), .group = inner},
    DGF_OPT_END};

static void load_part(const char *text, struct dgf_findings *findings,
                      struct dgf_yaml **ret_doc)
{
    struct part part = {0};

    dgf_findings_init(findings);
    ck_assert_int_eq(dgf_yaml_parse("x.yaml", dgf_bytes_str(text), findings, ret_doc),
                     DGF_OK);
    dgf_opt_load(part_opts, &part, *ret_doc, dgf_yaml_root(*ret_doc), "part", NULL,
                 findings);
    dgf_opt_release(part_opts, &part);
}

START_TEST(a_finding_that_names_an_option_stands_at_its_value)
{
    static const struct {
        const char *option;
        unsigned line, col;
    } cases[] = {
        {"key", 1, 6},       {"names", 2, 8},    {"names[0]", 2, 9},
        {"names[1]", 2, 12}, {"names[9]", 2, 8}, {"inner.on", 4, 7},
        {"inner.off", 4, 3}, {"place", 1, 1},    {"more.a.b", 5, 15},
        {"more.a", 5, 7},    {"names[x]", 2, 8}, {"key.deeper", 1, 6},
    };
    struct dgf_findings findings;
    struct dgf_yaml *doc = NULL;

    load_part("key: 12345\nnames: [a, b]\ninner:\n  on: true\nmore: {'a.b': c}\n",
              &findings, &doc);
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0640", (struct dgf_mark){0},
                         NULL, "x");
        dgf_findings_about(&findings, "%s", cases[i].option);
    }
    dgf_findings_add(&findings, DGF_FINDING_ERROR, "E0640", (struct dgf_mark){0}, NULL,
                     "of no option");
    dgf_opt_place(doc, dgf_yaml_root(doc), &findings, 0);
    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        const struct dgf_mark *mark = &findings.list[i].mark;

        ck_assert_msg(mark->line == cases[i].line && mark->col == cases[i].col,
                      "%s: %u:%u", cases[i].option, mark->line, mark->col);
        ck_assert_str_eq(mark->file, "x.yaml");
        ck_assert_ptr_nonnull(findings.list[i].source_line);
    }
    ck_assert_ptr_null(findings.list[DGF_ARRAY_LEN(cases)].mark.file);
    ck_assert_str_eq(findings.list[0].source_line, "key: *****");
    dgf_findings_release(&findings);
    dgf_yaml_free(doc);
}
END_TEST

START_TEST(no_line_shows_secrets_or_what_stands_under_an_unknown_name)
{
    static const char *const cases[][2] = {
        {"{key: geheim, x: ge}", "{key: ******, x: **}"},
        {"{keyy: geheim, x: [ge, {a: b}]}", "{keyy: ******, x: [**, {a: *}]}"},
        {"{x: '${KEY}', key: \"${file:/none}\"}",
         "{x: '${KEY}', key: \"${file:/none}\"}"},
        {"{x: '${K:-ge}'}", "{x: **********}"},
        {"{url: 'redis:/u:ge@h', x: 1}", "{url: ***************, x: *}"},
        {"{url: 'x://u:ge@h', x: 1}", "{url: 'x://u:**@h', x: *}"},
        {"{url: hunter2, x: 1}", "{url: *******, x: *}"},
        {"{place: acct.example.org, x: 1}", "{place: acct.example.org, x: *}"},
        {"{place: hunter+2, x: 1}", "{place: ********, x: *}"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        struct dgf_findings findings;
        struct dgf_yaml *doc = NULL;

        load_part(cases[i][0], &findings, &doc);
        ck_assert_uint_ge(findings.n, 1);
        for (size_t k = 0; k < findings.n; k++)
            ck_assert_str_eq(findings.list[k].source_line, cases[i][1]);
        dgf_findings_release(&findings);
        dgf_yaml_free(doc);
    }
}
END_TEST

START_TEST(a_secret_in_a_plain_option_is_not_shown_either)
{
#define A_KEY "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE=="
#define STARS "********************************************"
    char key[] = A_KEY, orders[] = "orders", sas[] = "sv=1&sig=ge", a[] = "a";
    char *names[] = {orders, sas}, *keys[] = {a}, *values[] = {key};
    struct part part = {
        .place = key, .names = {names, 2}, .more = {keys, values, 1}, .on = true};
    struct dgf_buf out;
    struct dgf_json json = dgf_json_of(&out);

    dgf_buf_init(&out, 4096);
    dgf_opt_show(part_opts, &part, 0, &out);
    ck_assert_str_eq(dgf_buf_str(&out),
                     "key: null\nurl: null\nplace: \"***\"\n"
                     "names: [\"orders\", \"sv=1&sig=**\"]\n"
                     "more: {\"a\": \"" STARS "\"}\ninner:\n  on: true\n");
    dgf_buf_clear(&out);
    dgf_json_begin_object(&json);
    dgf_opt_show_json(part_opts, &part, &json);
    dgf_json_end_object(&json);
    ck_assert_str_eq(dgf_buf_str(&out),
                     "{\"key\":null,\"url\":null,\"place\":\"***\","
                     "\"names\":[\"orders\",\"sv=1&sig=**\"],"
                     "\"more\":{\"a\":\"" STARS "\"},\"inner\":{\"on\":true}}");
    dgf_buf_release(&out);
}
END_TEST

START_TEST(a_reference_that_names_no_variable_is_not_shown)
{
    static const char *const cases[] = {
        "key: ${ge+heim}",
        "place: ${1geheim:-ge}",
        "{zzz: 1, key: '${}'}",
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        struct dgf_findings findings;
        struct dgf_yaml *doc = NULL;

        load_part(cases[i], &findings, &doc);
        ck_assert_uint_ge(findings.n, 1);
        for (size_t k = 0; k < findings.n; k++) {
            ck_assert_ptr_null(strstr(findings.list[k].text, "heim"));
            ck_assert_ptr_null(strstr(findings.list[k].source_line, "heim"));
        }
        ck_assert_str_eq(findings.list[findings.n - 1].text,
                         "'${***}' names no variable; write ${NAME}, of letters, "
                         "digits and '_', or ${file:PATH}");
        dgf_findings_release(&findings);
        dgf_yaml_free(doc);
    }
}
END_TEST

START_TEST(a_variable_that_is_not_set_is_no_reason_for_a_default_of_a_secret)
{
    struct dgf_findings findings;
    struct dgf_yaml *doc = NULL;

    load_part("key: ${DGF_TEST_NONE}\nplace: ${DGF_TEST_NONE}\n", &findings, &doc);
    ck_assert_uint_eq(findings.n, 2);
    ck_assert_str_eq(findings.list[0].text,
                     "environment variable 'DGF_TEST_NONE' is not set; set it, or keep "
                     "the secret in a file and write ${file:PATH}");
    ck_assert_str_eq(findings.list[1].text,
                     "environment variable 'DGF_TEST_NONE' is not set; write "
                     "${DGF_TEST_NONE:-default} to allow that");
    dgf_findings_release(&findings);
    dgf_yaml_free(doc);
}
END_TEST

START_TEST(a_misspelled_name_is_about_the_option_that_is_missing)
{
    struct dgf_findings findings;
    struct dgf_yaml *doc = NULL;

    load_part("{keyy: a, plac: b, place: c, zzz: d}", &findings, &doc);
    ck_assert_uint_eq(findings.n, 3);
    ck_assert_str_eq(findings.list[0].option, "key");
    ck_assert_ptr_null(findings.list[1].option); /* place is given */
    ck_assert_ptr_null(findings.list[2].option);
    dgf_opt_place(doc, dgf_yaml_root(doc), &findings, 0);
    ck_assert_uint_eq(findings.list[0].mark.col, 2); /* stays at its own place */
    dgf_findings_release(&findings);
    dgf_yaml_free(doc);
}
END_TEST

DGF_UNIT(opt, of_an_address_only_the_secrets_are_hidden,
         values_in_force_are_shown_as_yaml_and_as_json_without_secrets,
         a_finding_that_names_an_option_stands_at_its_value,
         no_line_shows_secrets_or_what_stands_under_an_unknown_name,
         a_secret_in_a_plain_option_is_not_shown_either,
         a_reference_that_names_no_variable_is_not_shown,
         a_variable_that_is_not_set_is_no_reason_for_a_default_of_a_secret,
         a_misspelled_name_is_about_the_option_that_is_missing)
