#include "sink_blob.h"

#include "unit.h"

#define ROOT "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

START_TEST(the_second_line_of_a_checkpoint_is_its_size)
{
    static const char *const none[] = {"",
                                       "dgf/a",
                                       "dgf/a\n",
                                       "a\n12",
                                       "a\n-1\nroot\n",
                                       "a\n 1\nroot\n",
                                       "a\n\nr\n",
                                       "a\n99999999999999999999\nr\n"};
    uint64_t size = 7;

    ck_assert(dgf_blob_checkpoint_size(DGF_BYTES("dgf/a/b\n1042\nroot\n"), &size));
    ck_assert_uint_eq(size, 1042);
    for (size_t i = 0; i < DGF_ARRAY_LEN(none); i++)
        ck_assert(!dgf_blob_checkpoint_size(dgf_bytes_str(none[i]), &size));
    ck_assert(!dgf_blob_checkpoint_size((struct dgf_bytes){0}, &size));
    ck_assert_uint_eq(size, 1042);
}
END_TEST

START_TEST(the_root_of_a_manifest_is_64_hexadecimal_digits)
{
    char root[65];

    ck_assert(dgf_blob_manifest_root(
        DGF_BYTES("{\"v\":1,\"root_after\":\"" ROOT "\",\"x\":2}"), root));
    ck_assert_str_eq(root, ROOT);
    ck_assert(!dgf_blob_manifest_root(DGF_BYTES("{\"root_after\":\"00\"}"), root));
    ck_assert(!dgf_blob_manifest_root(DGF_BYTES("{\"root_after\":\""), root));
    ck_assert(
        !dgf_blob_manifest_root(DGF_BYTES("{\"root_after\":\"zz" ROOT "\"}"), root));
    ck_assert(!dgf_blob_manifest_root((struct dgf_bytes){0}, root));
}
END_TEST

START_TEST(a_content_range_says_how_long_the_whole_is)
{
    uint64_t total = 0;

    ck_assert(dgf_blob_range_total("bytes 0-9/10", &total) && total == 10);
    ck_assert(!dgf_blob_range_total("bytes 0-9/*", &total));
    ck_assert(!dgf_blob_range_total("", &total));
    ck_assert_uint_eq(total, 10);
}
END_TEST

START_TEST(an_address_is_an_account_and_a_container)
{
    static const struct {
        const char *url, *base, *container;
    } good[] = {
        {"https://acct.blob.core.windows.net/evidence",
         "https://acct.blob.core.windows.net", "evidence"},
        {"http://127.0.0.1:10000/devstoreaccount1/a-b1/",
         "http://127.0.0.1:10000/devstoreaccount1", "a-b1"},
    };
    static const struct {
        const char *url, *why;
    } bad[] = {
        {"https://acct.blob.core.windows.net",
         "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"https://acct.blob.core.windows.net/Upper",
         "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"https://acct.blob.core.windows.net/a--b",
         "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"ftp://x/evidence", "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"https:///evidence",
         "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"", "must be https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {"https://a.net/evidence?sv=1",
         "must end with the name of the container; a SAS stands in 'sas'"},
        {"https://me:x@a.net/evidence", "must be an address without user or spaces"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(good); i++) {
        char *base, *container;
        struct dgf_err err = {0};

        ck_assert_int_eq(dgf_azure_container_url(good[i].url, &base, &container, &err),
                         DGF_OK);
        ck_assert_str_eq(base, good[i].base);
        ck_assert_str_eq(container, good[i].container);
        dgf_free(base);
        dgf_free(container);
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++) {
        char *base, *container;
        struct dgf_err err = {0};

        ck_assert_int_eq(dgf_azure_container_url(bad[i].url, &base, &container, &err),
                         DGF_BAD_CONFIG);
        ck_assert_str_eq(err.text, bad[i].why);
    }
}
END_TEST

START_TEST(options_that_do_not_fit_are_named)
{
    struct dgf_blob_conf conf = {.url = (char *)"https://127.0.0.1:1/acct/Evidence",
                                 .prefix = (char *)"/a",
                                 .azure = {.how = DGF_AZURE_SAS, .sas = (char *)"sv"}};
    struct dgf_findings findings;
    struct dgf_mark mark = {0};
    static const char *const texts[] = {
        "sinks.vault: 'url' must be https://ACCOUNT.blob.core.windows.net/CONTAINER",
        "sinks.vault: 'prefix' is '/a'; it has letters, digits, '.', '_', '-', '=' and "
        "'/', and does not begin with '/'",
    };

    dgf_findings_init(&findings);
    dgf_blob_validate(&conf, "sinks.vault", mark, &findings);
    ck_assert_uint_ge(findings.n, DGF_ARRAY_LEN(texts));
    for (size_t i = 0; i < DGF_ARRAY_LEN(texts); i++)
        ck_assert_str_eq(findings.list[i].text, texts[i]);
    ck_assert_str_eq(findings.list[0].code, "E0705");
    ck_assert_str_eq(findings.list[0].option, "url");
    ck_assert_str_eq(findings.list[1].option, "prefix");
    dgf_findings_release(&findings);
}
END_TEST

DGF_UNIT(blob_note, the_second_line_of_a_checkpoint_is_its_size,
         the_root_of_a_manifest_is_64_hexadecimal_digits,
         a_content_range_says_how_long_the_whole_is,
         an_address_is_an_account_and_a_container, options_that_do_not_fit_are_named)
