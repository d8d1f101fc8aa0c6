/* Patterns of objects and fields, and glob() of the language. */
#include <string.h>

#include "glob.h"
#include "unit.h"

static bool matches(const char *type, const char *schema, const char *name,
                    const char *pattern, const char *field)
{
    struct dgf_object *object;
    bool yes;

    ck_assert_int_eq(dgf_object_new(type, NULL, schema, name, NULL, 0, 1, &object),
                     DGF_OK);
    yes = dgf_glob_object(pattern, object, dgf_bytes_str(field));
    dgf_object_unref(object);
    return yes;
}

static const struct {
    const char *pattern, *schema, *name, *field;
    bool yes;
} tables[] = {
    {"shop.orders", "shop", "orders", "", true},
    {"shop.orders", "shop", "orders2", "", false},
    {"shop.orders", "xshop", "orders", "", false},
    {"shop.orders", "Shop", "orders", "", false},
    {"shop.*", "shop", "orders", "", true},
    {"shop.*", "shop", "", "", true},
    {"shop.*", "pay", "orders", "", false},
    {"*", "shop", "orders", "", false},
    {"*", NULL, "orders", "", true},
    {"*.*", "shop", "orders", "", true},
    {"*.orders", "shop", "orders", "", true},
    {"*.ord*rs", "shop", "orders", "", true},
    {"*.o*d*s", "shop", "orders", "", true},
    {"*.o*x*s", "shop", "orders", "", false},
    {"**", "shop", "orders", "", true},
    {"**.orders", "shop", "orders", "", true},
    {"**orders", "shop", "orders", "", true},
    {"**.audit_log", "shop", "orders", "", false},
    {"shop**", "shop", "orders", "", true},
    {"shop.order*", "shop", "order.lines", "", true}, /* a dot in a name is no part */
    {"shop.order.lines", "shop", "order.lines", "", false},
    {"shop.\"order.lines\"", "shop", "order.lines", "", true},
    {"shop.\"a*\"", "shop", "a*", "", true},
    {"shop.\"a*\"", "shop", "ab", "", false},
    {"shop.\"a\"\"b\"", "shop", "a\"b", "", true},
    {"shop.orders.note", "shop", "orders", "note", true},
    {"**.email", "crm", "users", "email", true},
    {"**.email", "crm", "users", "email2", false},
    {"crm.*.email", "crm", "users", "email", true},
    {"crm.*", "crm", "users", "email", false}, /* a star stays inside its part */
    {"crm.**", "crm", "users", "email", true},
    {"**.address.city", "crm", "users", "address.city", false},
    {"", "shop", "orders", "", false},
    {"shop.\"orders", "shop", "orders", "", false}, /* refused when loaded */
};

START_TEST(patterns_of_tables)
{
    ck_assert_msg(matches("postgres", tables[_i].schema, tables[_i].name,
                          tables[_i].pattern, tables[_i].field) == tables[_i].yes,
                  "%s on %s.%s.%s", tables[_i].pattern, tables[_i].schema,
                  tables[_i].name, tables[_i].field);
}
END_TEST

START_TEST(keys_of_redis_and_names_of_blobs_have_parts_of_their_own)
{
    ck_assert(matches("redis", NULL, "cart:7:items", "cart:*:items", ""));
    ck_assert(!matches("redis", NULL, "cart:7:8:items", "cart:*:items", ""));
    ck_assert(matches("redis", NULL, "cart:7:8:items", "cart:**", ""));
    ck_assert(matches("redis", NULL, "a.b", "*", ""));
    ck_assert(matches("blob", NULL, "logs/2030/x.json", "logs/*/x.json", ""));
    ck_assert(!matches("blob", NULL, "logs/2030/03/x.json", "logs/*/x.json", ""));
    ck_assert(matches("blob", NULL, "logs/2030/03/x.json", "**.json", ""));
}
END_TEST

START_TEST(long_names_are_matched_like_short_ones)
{
    char name[DGF_GLOB_NAME_MAX + 1];

    memset(name, 'a', sizeof(name) - 1);
    memcpy(name, "cart:", 5);
    name[1100] = '\0';
    ck_assert(matches("redis", NULL, name, "cart:*", ""));
    ck_assert(matches("redis", NULL, name, "**", ""));
    ck_assert(!matches("redis", NULL, name, "cart:*b", ""));
    ck_assert(matches("postgres", "shop", name, "shop.*", ""));
    ck_assert(matches("postgres", "shop", name, "**.email", "email"));
    name[1100] = 'a';
    name[sizeof(name) - 1] = '\0';
    ck_assert(!matches("redis", NULL, name, "cart:*", "")); /* beyond the limit */
    ck_assert(matches("redis", NULL, name, "**", ""));
}
END_TEST

START_TEST(what_is_wrong_with_a_pattern_is_said)
{
    char longest[DGF_GLOB_MAX + 2];

    ck_assert_ptr_null(dgf_glob_wrong("shop.*"));
    ck_assert_str_eq(dgf_glob_wrong(""), "it is empty");
    ck_assert_str_eq(dgf_glob_wrong("shop.\"orders"), "a quote is not closed");
    memset(longest, 'a', sizeof(longest) - 1);
    longest[DGF_GLOB_MAX + 1] = '\0';
    ck_assert_ptr_nonnull(dgf_glob_wrong(longest));
    longest[DGF_GLOB_MAX] = '\0';
    ck_assert_ptr_null(dgf_glob_wrong(longest));
}
END_TEST

/* Stars that all nearly match: the walk goes back to the last one only. */
START_TEST(hostile_patterns_take_little_time)
{
    char pattern[DGF_GLOB_MAX + 1] = "", name[1001];

    for (int i = 0; i < 80; i++)
        memcpy(pattern + 2 * i, "*a", 2);
    pattern[160] = 'b';
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 1000; i++)
        ck_assert(!matches("postgres", NULL, name, pattern, ""));
    for (char *p = pattern; *p; p++)
        *p = *p == 'b' ? 'b' : '*';
    ck_assert(!matches("postgres", NULL, name, pattern, ""));
}
END_TEST

static const struct {
    const char *pattern, *text;
    bool yes;
} texts[] = {
    {"a?c", "abc", true},
    {"a?c", "ac", false},
    {"a?c", "a/c", false},
    {"a?c", "a\u00e9c", true},
    {"*.json", "x.json", true},
    {"*.json", "a/x.json", false},
    {"**.json", "a/x.json", true},
    {"a/**/z", "a/b/c/z", true},
    {"a/**/z", "a/z", false},
    {"*", "", true},
    {"", "", true},
    {"", "a", false},
    {"*a*b", "xaxxb", true},
    {"*a*b", "xaxxc", false},
    {"**/x*y", "q/r/xaay", true},
    {"*\xc3", "a\xc3", true},
    {"?", "\xf0", true}, /* half a character is one */
};

START_TEST(glob_of_the_language)
{
    ck_assert_msg(dgf_glob_text(dgf_bytes_str(texts[_i].pattern),
                                dgf_bytes_str(texts[_i].text)) == texts[_i].yes,
                  "%s on %s", texts[_i].pattern, texts[_i].text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rules_glob");
    SRunner *runner = srunner_create(suite);
    TCase *tc = tcase_create("glob");
    int failed;

    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, patterns_of_tables, 0, (int)DGF_ARRAY_LEN(tables));
    tcase_add_test(tc, keys_of_redis_and_names_of_blobs_have_parts_of_their_own);
    tcase_add_test(tc, long_names_are_matched_like_short_ones);
    tcase_add_test(tc, what_is_wrong_with_a_pattern_is_said);
    tcase_add_test(tc, hostile_patterns_take_little_time);
    tcase_add_loop_test(tc, glob_of_the_language, 0, (int)DGF_ARRAY_LEN(texts));
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
