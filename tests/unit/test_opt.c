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

DGF_UNIT(opt, of_an_address_only_the_secrets_are_hidden,
         values_in_force_are_shown_as_yaml_and_as_json_without_secrets)
