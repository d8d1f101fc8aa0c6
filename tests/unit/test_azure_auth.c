#include "azure_auth.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "azure_sign.h"
#include "azure_token.h"
#include "base/clock.h"
#include "unit.h"

/* Keys of the public emulators, which stand in their documents. */
#define STORAGE_KEY                                                       \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZ" \
    "FPTOtr/KBHBeksoGMGw=="
#define COSMOS_KEY                                                        \
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZ" \
    "nqyMsEcaGQy67XIw/Jw=="
#define AT_NS (INT64_C(1795464000) * 1000000000) /* Mon, 23 Nov 2026 20:00:00 GMT */
#define STORAGE_URL "http://127.0.0.1:10000/devstoreaccount1"
#define SECOND INT64_C(1000000000)

static int64_t wall_ns = AT_NS, mono_ns = SECOND;

int64_t dgf_clock_ns(void)
{
    return wall_ns;
}

int64_t dgf_clock_mono_ns(void)
{
    return mono_ns;
}

static struct event_base *loop;
static struct dgf_http *http;
static struct dgf_azure_auth *auth;
static struct dgf_err err;
static struct dgf_buf headers, url;

static void begin(const struct dgf_azure_conf *conf, enum dgf_azure_service service,
                  const char *base_url)
{
    static const char *const names[] = {"AZURE_TENANT_ID",
                                        "AZURE_CLIENT_ID",
                                        "AZURE_FEDERATED_TOKEN_FILE",
                                        "AZURE_CLIENT_SECRET",
                                        "AZURE_AUTHORITY_HOST",
                                        "IDENTITY_ENDPOINT",
                                        "IDENTITY_HEADER",
                                        "http_proxy"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        (void)unsetenv(names[i]);
    (void)signal(SIGPIPE, SIG_IGN);
    dgf_buf_init(&headers, 100000);
    dgf_buf_init(&url, 10000);
    loop = event_base_new();
    ck_assert_int_eq(dgf_http_new(loop, &(struct dgf_http_conf){0}, &http, &err),
                     DGF_OK);
    ck_assert_int_eq(dgf_azure_auth_new(conf, service, base_url, http, &auth, &err),
                     DGF_OK);
}

static void end(void)
{
    dgf_azure_auth_free(auth);
    dgf_http_free(http);
    event_base_free(loop);
    dgf_buf_release(&headers);
    dgf_buf_release(&url);
}

static enum dgf_rc sign(const char *method, const char *to, size_t len)
{
    struct dgf_azure_request request = {.method = method,
                                        .url = to,
                                        .headers = &headers,
                                        .content_length = len,
                                        .cosmos_type = "docs",
                                        .cosmos_link = "dbs/d/colls/c",
                                        .now_ns = AT_NS};

    return dgf_azure_sign(auth, &request, &url, &err);
}

static const char *header(const char *name)
{
    const char *value = dgf_azure_find_header(&headers, name);

    return value ? value : "(none)";
}

/* ---- signatures; the expected ones are the service's ---- */

START_TEST(a_blob_that_is_put_is_signed_as_storage_wants_it)
{
    struct dgf_azure_conf conf = {.key = (char *)STORAGE_KEY, .insecure = true};

    begin(&conf, DGF_AZURE_BLOB, STORAGE_URL);
    dgf_azure_add_header(&headers, "Content-Type", "text/plain");
    dgf_azure_add_header(&headers, "x-ms-blob-type", "BlockBlob");
    dgf_azure_add_header(&headers, "If-None-Match", "*");
    ck_assert_int_eq(sign("PUT", STORAGE_URL "/c/a%20b.txt", 5), DGF_OK);
    ck_assert_str_eq(header("authorization"),
                     "SharedKey devstoreaccount1:"
                     "4LQ8cMyPTs4vigEGMWaG5M4+2sQL+ycBu7VpNlhbwEE=");
    ck_assert_str_eq(header("x-ms-date"), "Mon, 23 Nov 2026 20:00:00 GMT");
    ck_assert_str_eq(header("x-ms-version"), "2021-12-02");
    ck_assert_str_eq(dgf_buf_str(&url), STORAGE_URL "/c/a%20b.txt");
    end();
}
END_TEST

START_TEST(messages_that_are_got_are_signed_as_storage_wants_it)
{
    struct dgf_azure_conf conf = {.key = (char *)STORAGE_KEY, .insecure = true};

    begin(&conf, DGF_AZURE_QUEUE, STORAGE_URL);
    ck_assert_int_eq(
        sign("GET", STORAGE_URL "/q/messages?numofmessages=32&visibilitytimeout=30", 0),
        DGF_OK);
    ck_assert_str_eq(header("authorization"),
                     "SharedKey devstoreaccount1:"
                     "d1edmWCmKKXXlg/0IRWvjuwX9ad8mE/crm/vrECP3Ek=");
    end();
}
END_TEST

START_TEST(reads_of_cosmos_are_signed_as_it_wants_it)
{
    struct dgf_azure_conf conf = {.key = (char *)COSMOS_KEY};
    struct dgf_azure_request root = {.method = "GET",
                                     .url = "https://a.documents.azure.com/",
                                     .headers = &headers,
                                     .cosmos_type = "",
                                     .cosmos_link = "",
                                     .now_ns = AT_NS};

    begin(&conf, DGF_AZURE_COSMOS, "https://a.documents.azure.com");
    ck_assert_int_eq(sign("GET", "https://a.documents.azure.com/dbs/d/colls/c/docs", 0),
                     DGF_OK);
    ck_assert_str_eq(header("authorization"),
                     "type%3Dmaster%26ver%3D1.0%26sig%3D"
                     "kEB0uI00vNdx1f%2Br9xUwH2Bm03OfzPoR8zb3oK6O%2FuI%3D");
    ck_assert_str_eq(header("x-ms-version"), "2020-07-15");
    dgf_buf_clear(&headers);
    ck_assert_int_eq(dgf_azure_sign(auth, &root, &url, &err), DGF_OK);
    ck_assert_str_eq(header("authorization"),
                     "type%3Dmaster%26ver%3D1.0%26sig%3D"
                     "vJ1iuPuh53Pldb%2FvfLiFMhGPf8x39vTEX4X%2B1IWWxLc%3D");
    end();
}
END_TEST

START_TEST(the_signed_text_sorts_what_has_to_be_sorted)
{
    struct dgf_buf out;

    dgf_buf_init(&out, 10000);
    dgf_buf_init(&headers, 10000);
    dgf_azure_add_header(&headers, "x-ms-version", "2021-12-02");
    dgf_azure_add_header(&headers, "X-MS-Meta-B", "  two ");
    dgf_azure_add_header(&headers, "x-ms-meta", "one");
    dgf_azure_add_header(&headers, "x-ms-empty", "");
    dgf_azure_add_header(&headers, "Range", "bytes=0-9");
    dgf_azure_add_header(&headers, "Date", "never signed beside x-ms-date");
    ck_assert(dgf_azure_shared_key_text(
        "GET",
        "https://a.blob.core.windows.net/c?restype=container&Comp=list&b=%2F+x&b=a",
        "a", &headers, 0, &out));
    ck_assert_str_eq(dgf_buf_str(&out), "GET\n\n\n\n\n\n\n\n\n\n\nbytes=0-9\n"
                                        "x-ms-empty:\nx-ms-meta:one\nx-ms-meta-b:two\n"
                                        "x-ms-version:2021-12-02\n"
                                        "/a/c\nb:/ x,a\ncomp:list\nrestype:container");
    dgf_buf_clear(&out);
    ck_assert(!dgf_azure_shared_key_text("GET", "nothing", "a", &headers, 0, &out));
    dgf_buf_release(&headers);
    dgf_buf_release(&out);
}
END_TEST

START_TEST(a_sas_goes_into_the_address)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_SAS,
                                  .sas = (char *)"?sv=2021-12-02&sig=x%3D",
                                  .insecure = true};

    begin(&conf, DGF_AZURE_BLOB, STORAGE_URL);
    ck_assert_int_eq(sign("GET", STORAGE_URL "/c/a", 0), DGF_OK);
    ck_assert_str_eq(dgf_buf_str(&url), STORAGE_URL "/c/a?sv=2021-12-02&sig=x%3D");
    ck_assert_int_eq(sign("GET", STORAGE_URL "/c/a?comp=block", 0), DGF_OK);
    ck_assert_str_eq(dgf_buf_str(&url),
                     STORAGE_URL "/c/a?comp=block&sv=2021-12-02&sig=x%3D");
    ck_assert_str_eq(header("authorization"), "(none)");
    end();
}
END_TEST

START_TEST(the_account_stands_in_the_address)
{
    static const struct {
        const char *url, *text;
    } cases[] = {
        {"https://acct.blob.core.windows.net", "SharedKey acct:"},
        {"https://acct.blob.localhost:1000", "SharedKey acct:"},
        {"http://127.0.0.1:10000/devstoreaccount1", "SharedKey devstoreaccount1:"},
        {"http://localhost:10000/emu/", "SharedKey emu:"},
    };
    struct dgf_azure_conf conf = {.key = (char *)STORAGE_KEY, .insecure = true};

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        begin(&conf, DGF_AZURE_BLOB, cases[i].url);
        ck_assert_int_eq(sign("GET", cases[i].url, 0), DGF_OK);
        ck_assert_msg(
            strncmp(header("authorization"), cases[i].text, strlen(cases[i].text)) == 0,
            "%s", header("authorization"));
        end();
    }
    begin(&conf, DGF_AZURE_BLOB, STORAGE_URL);
    dgf_azure_auth_free(auth);
    auth = NULL;
    ck_assert_int_eq(dgf_azure_auth_new(&conf, DGF_AZURE_BLOB, "http://127.0.0.1:1",
                                        http, &auth, &err),
                     DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "the address 'http://127.0.0.1:1' names no storage "
                               "account: set 'account'");
    end();
}
END_TEST

START_TEST(dates_are_written_and_read)
{
    static const char *const bad[] = {"",
                                      "Mon, 23 Nov 2026 20:00:00",
                                      "Mon, 23 Nov 2026 20:00:00 UTC",
                                      "Mon, 23 Nox 2026 20:00:00 GMT",
                                      "Mon, 2x Nov 2026 20:00:00 GMT",
                                      "Mon, 23 Nov 1926 20:00:00 GMT",
                                      "Mon, 23 Nov 2026 24:00:00 GMT",
                                      "Mon, 23 Nov 2026 20:00:00 GMT "};
    static const int64_t times[] = {0, AT_NS, INT64_C(951782400) * SECOND,
                                    INT64_C(4107542399) * SECOND};
    struct dgf_buf out;
    int64_t ns;

    dgf_buf_init(&out, 100);
    for (size_t i = 0; i < DGF_ARRAY_LEN(times); i++) {
        dgf_buf_clear(&out);
        dgf_azure_date(&out, times[i]);
        ck_assert(dgf_azure_date_parse(dgf_buf_str(&out), &ns));
        ck_assert_int_eq(ns, times[i]);
    }
    dgf_buf_clear(&out);
    dgf_azure_date(&out, INT64_C(951782400) * SECOND);
    ck_assert_str_eq(dgf_buf_str(&out), "Tue, 29 Feb 2000 00:00:00 GMT");
    dgf_buf_release(&out);
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert(!dgf_azure_date_parse(bad[i], &ns));
}
END_TEST

/* ---- options ---- */

static const struct dgf_azure_address cosmos_url = {
    "url", "https://a.documents.azure.com", DGF_AZURE_COSMOS, false};

/* One finding, or none for a text of NULL: one mistake is one finding. */
static void check_finding(const struct dgf_azure_conf *conf,
                          struct dgf_azure_address address, const char *option,
                          const char *text)
{
    struct dgf_findings findings;
    char whole[1024];

    dgf_findings_init(&findings);
    dgf_azure_validate(conf, &address, 1, "sources.x (y)", (struct dgf_mark){0},
                       &findings);
    ck_assert_uint_eq(findings.n_errors, text ? 1 : 0);
    if (text) {
        (void)snprintf(whole, sizeof(whole), "sources.x (y): %s", text);
        ck_assert_str_eq(findings.list[0].text, whole);
        ck_assert_str_eq(findings.list[0].code, "E0640");
        ck_assert_str_eq(findings.list[0].option, option);
    }
    dgf_findings_release(&findings);
}

START_TEST(options_that_do_not_fit_are_named)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_KEY};

    check_finding(&conf, cosmos_url, "auth", "auth: key needs 'key'");
    conf.key = (char *)"no base64!";
    check_finding(&conf, cosmos_url, "key",
                  "'key' is no account key: base64 of at least 16 bytes");
    conf.key = (char *)"AAAA";
    check_finding(&conf, cosmos_url, "key",
                  "'key' is no account key: base64 of at least 16 bytes");
    conf.key = (char *)"AccountEndpoint=https://a.documents.azure.com;AccountKey=AA;";
    check_finding(&conf, cosmos_url, "key",
                  "'key' is a connection string: write only what follows AccountKey= "
                  "to it");
    conf.key = (char *)COSMOS_KEY;
    check_finding(&conf, cosmos_url, NULL, NULL);
    conf.sas = (char *)"sv=1";
    check_finding(&conf, cosmos_url, "sas", "'sas' is for auth: sas, but auth is key");
    conf = (struct dgf_azure_conf){.how = DGF_AZURE_SAS};
    check_finding(&conf, cosmos_url, "auth", "auth: sas needs 'sas'");
    conf.sas = (char *)"sv=1";
    check_finding(&conf, cosmos_url, NULL, NULL);
    conf = (struct dgf_azure_conf){.how = DGF_AZURE_MANAGED_IDENTITY,
                                   .key = (char *)COSMOS_KEY};
    check_finding(&conf, cosmos_url, "key",
                  "'key' is for auth: key, but auth is managed_identity");
    conf = (struct dgf_azure_conf){.how = DGF_AZURE_WORKLOAD_IDENTITY,
                                   .client_secret = (char *)"x"};
    check_finding(&conf, cosmos_url, "client_secret",
                  "'client_secret' is for auth: client_secret, but auth is "
                  "workload_identity, the default");
}
END_TEST

START_TEST(an_address_that_leads_elsewhere_is_found_without_a_network)
{
    static const struct {
        struct dgf_azure_address address;
        const char *text;
    } cases[] = {
        {{"url", "http://127.0.0.1:1", DGF_AZURE_COSMOS, false},
         "'url' is 'http://127.0.0.1:1': http:// sends everything in the clear; write "
         "https://, or insecure: true for an emulator"},
        {{"url", "acct", DGF_AZURE_COSMOS, false},
         "'url' is 'acct', which is no https:// address; example: "
         "https://ACCOUNT.documents.azure.com"},
        {{"url", "https://", DGF_AZURE_BLOB, false},
         "'url' is 'https://', which is no https:// address; example: "
         "https://ACCOUNT.blob.core.windows.net"},
        {{"url", "C2y6yDjf5/R+ob0N8A7Cgv30VRDJ==", DGF_AZURE_BLOB, false},
         "'url' is '***', which is no https:// address; example: "
         "https://ACCOUNT.blob.core.windows.net"},
        {{"url", "https://a.blob.core.windows.net/c", DGF_AZURE_BLOB, false},
         "'url' is 'https://a.blob.core.windows.net/c'; it names the account alone, "
         "without a path, like https://ACCOUNT.blob.core.windows.net"},
        {{"url", "https://127.0.0.1:1/acct/c", DGF_AZURE_BLOB, false},
         "'url' is 'https://127.0.0.1:1/acct/c'; it names the account alone, without a "
         "path, like https://ACCOUNT.blob.core.windows.net"},
        {{"url", "https://a.blob.core.windows.net/c/folder/", DGF_AZURE_BLOB, true},
         "'url' is 'https://a.blob.core.windows.net/c/folder/'; behind the account it "
         "names one container and nothing else, like "
         "https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {{"queue", "https://127.0.0.1:1/acct/a/b", DGF_AZURE_QUEUE, true},
         "'queue' is 'https://127.0.0.1:1/acct/a/b'; behind the account it names one "
         "queue and nothing else, like https://ACCOUNT.queue.core.windows.net/QUEUE"},
        {{"url", "https://a.documents.azure.com/dbs/d", DGF_AZURE_COSMOS, false},
         "'url' is 'https://a.documents.azure.com/dbs/d'; it names the account alone, "
         "without a path, like https://ACCOUNT.documents.azure.com"},
        {{"url", "https://a.documents.azure.com/?x=1", DGF_AZURE_COSMOS, false},
         "'url' is 'https://a.documents.azure.com/?x=1'; it ends before '?' and '#'"},
        {{"url", "https://a.blob.core.windows.net/c?sv=1&sig=abc", DGF_AZURE_BLOB,
          true},
         "'url' is 'https://a.blob.core.windows.net/c?sv=1&sig=***'; it ends before "
         "'?': a shared access signature stands in 'sas', with auth: sas"},
        {{"url", "https://me:pw@a.blob.core.windows.net", DGF_AZURE_BLOB, false},
         "'url' is 'https://me:***@a.blob.core.windows.net'; it must have no user and "
         "no spaces"},
        {{"url", "https://a.queue.core.windows.net", DGF_AZURE_BLOB, false},
         "'url' is 'https://a.queue.core.windows.net', an address of Queue Storage; it "
         "must be like https://ACCOUNT.blob.core.windows.net"},
        {{"url", "https://a.privatelink.dfs.core.windows.net/c", DGF_AZURE_BLOB, true},
         "'url' is 'https://a.privatelink.dfs.core.windows.net/c', an address of Data "
         "Lake Storage; it must be like "
         "https://ACCOUNT.blob.core.windows.net/CONTAINER"},
        {{"queue", "https://a.blob.core.chinacloudapi.cn/q", DGF_AZURE_QUEUE, true},
         "'queue' is 'https://a.blob.core.chinacloudapi.cn/q', an address of Blob "
         "Storage; it must be like https://ACCOUNT.queue.core.windows.net/QUEUE"},
        {{"url", "https://a.documents.azure.com", DGF_AZURE_BLOB, false},
         "'url' is 'https://a.documents.azure.com', an address of Cosmos DB for NoSQL; "
         "it must be like https://ACCOUNT.blob.core.windows.net"},
        {{"url", "https://a.mongo.cosmos.azure.com:10255", DGF_AZURE_COSMOS, false},
         "'url' is 'https://a.mongo.cosmos.azure.com:10255', an address of Cosmos DB "
         "for MongoDB; it must be like https://ACCOUNT.documents.azure.com"},
    };
    static const struct dgf_azure_address good[] = {
        {"url", "https://a.documents.azure.com:443/", DGF_AZURE_COSMOS, false},
        {"url", "https://a.blob.core.windows.net/", DGF_AZURE_BLOB, false},
        {"url", "https://a.z1.blob.storage.azure.net", DGF_AZURE_BLOB, false},
        {"url", "https://blobs.example.org", DGF_AZURE_BLOB, false},
        {"url", "https://127.0.0.1:10000/devstoreaccount1", DGF_AZURE_BLOB, false},
        {"url", "https://azurite:10000/devstoreaccount1/", DGF_AZURE_BLOB, false},
        {"queue", "https://a.queue.core.windows.net/q", DGF_AZURE_QUEUE, true},
        {"queue", "https://127.0.0.1:10001/devstoreaccount1/q/", DGF_AZURE_QUEUE, true},
        {"url", NULL, DGF_AZURE_BLOB, false},
    };
    struct dgf_azure_conf conf = {.how = DGF_AZURE_KEY, .key = (char *)COSMOS_KEY};

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        check_finding(&conf, cases[i].address, cases[i].address.option, cases[i].text);
    for (size_t i = 0; i < DGF_ARRAY_LEN(good); i++)
        check_finding(&conf, good[i], NULL, NULL);
}
END_TEST

START_TEST(a_connection_string_is_taken_apart_and_its_key_is_not_shown)
{
    static const struct {
        struct dgf_azure_address address;
        const char *text, *fix;
    } cases[] = {
        {{"url",
          "AccountEndpoint=https://a.documents.azure.com:443/;AccountKey=hidden;",
          DGF_AZURE_COSMOS, false},
         "'url' is a connection string: write its address to 'url' and its AccountKey to "
         "'key'",
         "url: \"https://a.documents.azure.com:443/\", auth: key, key: "
         "\"${file:/run/secrets/azure}\""},
        {{"url",
          "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hidden;"
          "EndpointSuffix=core.chinacloudapi.cn",
          DGF_AZURE_BLOB, false},
         "'url' is a connection string: write its address to 'url' and its AccountKey to "
         "'key'",
         "url: \"https://a.blob.core.chinacloudapi.cn\", auth: key, key: "
         "\"${file:/run/secrets/azure}\""},
        {{"queue", "AccountName=a;AccountKey=hidden", DGF_AZURE_QUEUE, true},
         "'queue' is a connection string: write its address to 'queue' and its "
         "AccountKey to 'key'",
         "queue: \"https://a.queue.core.windows.net/QUEUE\", auth: key, key: "
         "\"${file:/run/secrets/azure}\""},
        {{"url",
          "BlobEndpoint=https://a.blob.core.windows.net/;"
          "SharedAccessSignature=sv=1&sig=hidden",
          DGF_AZURE_BLOB, true},
         "'url' is a connection string: write its address to 'url' and its "
         "SharedAccessSignature to 'sas'",
         "url: \"https://a.blob.core.windows.net/CONTAINER\", auth: sas, sas: "
         "\"${file:/run/secrets/azure}\""},
        {{"url", "AccountName=a\"b c;AccountKey=hidden", DGF_AZURE_BLOB, false},
         "'url' is a connection string: write its address to 'url' and its AccountKey to "
         "'key'",
         "url: \"https://ACCOUNT.blob.core.windows.net\", auth: key, key: "
         "\"${file:/run/secrets/azure}\""},
    };
    struct dgf_azure_conf conf = {.how =
                                      DGF_AZURE_KEY}; /* in the string, not missing */
    struct dgf_findings findings;

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        check_finding(&conf, cases[i].address, cases[i].address.option, cases[i].text);
        dgf_findings_init(&findings);
        dgf_azure_validate(&conf, &cases[i].address, 1, "x", (struct dgf_mark){0},
                           &findings);
        ck_assert_str_eq(findings.list[0].fix, cases[i].fix);
        dgf_findings_release(&findings);
    }
}
END_TEST

START_TEST(what_a_token_needs_is_looked_for_before_anything_is_asked)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_WORKLOAD_IDENTITY};
    struct dgf_findings findings;

    dgf_findings_init(&findings);
    ck_assert(!dgf_azure_can_ask(&conf, "sources.x (y)", &findings));
    ck_assert_uint_eq(findings.n, 1);
    ck_assert_str_eq(
        findings.list[0].text,
        "sources.x (y): auth is workload_identity, the default, and these are neither "
        "options nor in the environment: 'tenant_id' (AZURE_TENANT_ID), 'client_id' "
        "(AZURE_CLIENT_ID), 'token_file' (AZURE_FEDERATED_TOKEN_FILE); with an account "
        "key write auth: key");
    ck_assert_str_eq(findings.list[0].option, "auth");
    conf = (struct dgf_azure_conf){.how = DGF_AZURE_CLIENT_SECRET,
                                   .tenant_id = (char *)"t",
                                   .client_id = (char *)"c"};
    ck_assert(!dgf_azure_can_ask(&conf, "sources.x (y)", &findings));
    ck_assert_str_eq(
        findings.list[1].text,
        "sources.x (y): auth is client_secret, and these are neither options nor in the "
        "environment: 'client_secret' (AZURE_CLIENT_SECRET); with an account key write "
        "auth: key");
    conf.client_secret = (char *)"s";
    ck_assert(dgf_azure_can_ask(&conf, "sources.x (y)", &findings));
    conf = (struct dgf_azure_conf){.how = DGF_AZURE_MANAGED_IDENTITY};
    ck_assert(dgf_azure_can_ask(&conf, "sources.x (y)", &findings));
    ck_assert_uint_eq(findings.n, 2);
    dgf_findings_release(&findings);
}
END_TEST

START_TEST(nothing_is_sent_in_the_clear_unless_told)
{
    struct dgf_azure_conf conf = {.key = (char *)COSMOS_KEY, .insecure = true};

    begin(&conf, DGF_AZURE_COSMOS, "http://127.0.0.1:1");
    dgf_azure_auth_free(auth);
    auth = NULL;
    conf.insecure = false;
    ck_assert_int_eq(dgf_azure_auth_new(&conf, DGF_AZURE_COSMOS, "http://127.0.0.1:1",
                                        http, &auth, &err),
                     DGF_BAD_CONFIG);
    ck_assert_str_eq(
        err.text, "what proves who we are is not sent to 'http://127.0.0.1:1' in the "
                  "clear: write https://, or insecure: true for an emulator");
    end();
}
END_TEST

/* ---- tokens: a double of Entra and of the metadata service in the same loop ---- */

static struct evhttp *server;
static char base[64], asked[4096], metadata[100];
static int n_asked, answer_status = 200;
static const char *answers[4];

static void on_request(struct evhttp_request *request, void *ctx)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    struct evbuffer *out = evbuffer_new();
    struct evkeyvalq *in_headers = evhttp_request_get_input_headers(request);
    const char *secret = evhttp_find_header(in_headers, "X-IDENTITY-HEADER");
    const char *mark = evhttp_find_header(in_headers, "Metadata");
    size_t len = evbuffer_get_length(in), n;

    (void)ctx;
    n = (size_t)snprintf(asked, sizeof(asked), "%s ", evhttp_request_get_uri(request));
    ck_assert_uint_lt(n + len, sizeof(asked));
    (void)evbuffer_remove(in, asked + n, len);
    asked[n + len] = 0;
    (void)snprintf(metadata, sizeof(metadata), "%s %s", mark ? mark : "-",
                   secret ? secret : "-");
    (void)evbuffer_add_printf(out, "%s", answers[n_asked % 4]);
    n_asked++;
    evhttp_send_reply(request, answer_status, "so", out);
    evbuffer_free(out);
}

static void serve(void)
{
    struct evhttp_bound_socket *bound;
    struct sockaddr_in address;
    socklen_t len = sizeof(address);

    server = evhttp_new(loop);
    evhttp_set_gencb(server, on_request, NULL);
    bound = evhttp_bind_socket_with_handle(server, "127.0.0.1", 0);
    ck_assert_int_eq(getsockname(evhttp_bound_socket_get_fd(bound),
                                 (struct sockaddr *)&address, &len),
                     0);
    (void)snprintf(base, sizeof(base), "http://127.0.0.1:%u", ntohs(address.sin_port));
}

static void end_serving(void)
{
    evhttp_free(server);
    end();
}

#define TOKEN(text, life) "{\"access_token\":\"" text "\",\"expires_in\":" life "}"
#define URL "https://a.documents.azure.com"

/* A source whose authority is the double; base is filled once it serves. */
static void begin_tokens(struct dgf_azure_conf *conf)
{
    conf->insecure = true;
    begin(conf, DGF_AZURE_COSMOS, URL);
    serve();
    conf->authority = base;
    conf->tenant_id = (char *)"tenant";
    conf->client_id = (char *)"client";
}

START_TEST(a_token_is_fetched_with_a_secret_and_kept)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s/cret"};

    begin_tokens(&conf);
    answers[0] = TOKEN("one", "3599");
    ck_assert_int_eq(sign("GET", URL, 0), DGF_AGAIN);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_str_eq(asked, "/tenant/oauth2/v2.0/token client_id=client&"
                            "scope=https%3A%2F%2Fa.documents.azure.com%2F.default&"
                            "grant_type=client_credentials&client_secret=s%2Fcret");
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
    ck_assert_str_eq(header("authorization"), "type%3Daad%26ver%3D1.0%26sig%3Done");
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_int_eq(n_asked, 1);
    end_serving();
}
END_TEST

static void turn_until(int n)
{
    while (n_asked < n)
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
}

START_TEST(a_token_is_replaced_before_it_ends)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s"};

    begin_tokens(&conf);
    answers[0] = TOKEN("one", "3600");
    answers[1] = TOKEN("two", "\"3600\"");
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    mono_ns += 3299 * SECOND;
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
    ck_assert_int_eq(event_base_loop(loop, EVLOOP_NONBLOCK), 0);
    ck_assert_int_eq(n_asked, 1);
    mono_ns += SECOND; /* 5 minutes before its end */
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
    turn_until(2);
    dgf_buf_clear(&headers);
    while (strcmp(header("authorization"), "type%3Daad%26ver%3D1.0%26sig%3Dtwo") != 0) {
        dgf_buf_clear(&headers);
        ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_NONBLOCK), 0);
    }
    ck_assert_int_eq(n_asked, 2);
    end_serving();
}
END_TEST

START_TEST(a_token_that_cannot_be_replaced_works_to_its_end)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s"};

    begin_tokens(&conf);
    answers[0] = TOKEN("one", "3600");
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    answer_status = 503;
    answers[1] = answers[2] = answers[3] = "busy";
    mono_ns += 3400 * SECOND;
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK);
    turn_until(2);
    ck_assert_int_eq(sign("GET", URL, 0), DGF_OK); /* not asked again at once */
    mono_ns += 200 * SECOND;
    ck_assert_int_eq(sign("GET", URL, 0), DGF_AGAIN);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_RETRY);
    ck_assert_str_eq(err.text, "no token is given: status 503, no reason is given");
    ck_assert_int_eq(n_asked, 3);
    end_serving();
}
END_TEST

START_TEST(a_refused_token_is_fetched_anew)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s"};

    begin_tokens(&conf);
    answers[0] = answers[1] = TOKEN("one", "3600");
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    dgf_azure_auth_refused(auth);
    ck_assert_int_eq(sign("GET", URL, 0), DGF_AGAIN);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_int_eq(n_asked, 2);
    end_serving();
}
END_TEST

START_TEST(a_workload_shows_the_newest_token_of_its_file)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_WORKLOAD_IDENTITY};
    char path[] = "/tmp/dgf-token-XXXXXX";
    int fd = mkstemp(path);

    begin_tokens(&conf);
    conf.token_file = path;
    answers[0] = answers[1] = TOKEN("one", "3600");
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_RETRY);
    (void)snprintf(asked, sizeof(asked), "the token file '%s' is empty", path);
    ck_assert_str_eq(err.text, asked);
    ck_assert_int_eq(write(fd, " first\n", 7), 7);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_ptr_nonnull(strstr(
        asked, "&client_assertion=first&client_assertion_type=urn%3Aietf%3Aparams%3A"
               "oauth%3Aclient-assertion-type%3Ajwt-bearer"));
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, "second", 6, 0), 6);
    dgf_azure_auth_refused(auth);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_ptr_nonnull(strstr(asked, "&client_assertion=second&"));
    (void)close(fd);
    (void)unlink(path);
    end_serving();
}
END_TEST

START_TEST(a_machine_asks_its_metadata_service)
{
    static char endpoint[100];
    struct dgf_azure_conf conf = {.how = DGF_AZURE_MANAGED_IDENTITY,
                                  .identity_endpoint = endpoint};

    begin_tokens(&conf);
    (void)snprintf(endpoint, sizeof(endpoint), "%s/metadata", base);
    answers[0] = "{\"access_token\":\"one\",\"expires_on\":\"1795467600\"}";
    answers[1] = answers[0];
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_str_eq(asked, "/metadata?api-version=2018-02-01&resource="
                            "https%3A%2F%2Fa.documents.azure.com&client_id=client ");
    ck_assert_str_eq(metadata, "true -");
    (void)setenv("IDENTITY_HEADER", "proof", 1); /* App Service */
    dgf_azure_auth_refused(auth);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_OK);
    ck_assert_ptr_nonnull(strstr(asked, "?api-version=2019-08-01&"));
    ck_assert_str_eq(metadata, "- proof");
    (void)unsetenv("IDENTITY_HEADER");
    end_serving();
}
END_TEST

START_TEST(an_unknown_resource_is_asked_for_by_its_common_name)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s"};

    begin_tokens(&conf);
    answer_status = 400;
    answers[0] = answers[1] =
        "{\"error\":\"invalid_resource\",\"error_description\":\"AADSTS500011: The "
        "resource principal was not found\\r\\nTrace ID: 1\"}";
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "no token is given: status 400, AADSTS500011: The "
                               "resource principal was not found");
    ck_assert_ptr_nonnull(strstr(asked, "scope=https%3A%2F%2Fcosmos.azure.com%2F"));
    ck_assert_int_eq(n_asked, 2);
    end_serving();
}
END_TEST

static int n_ready;

static void on_ready(void *ctx, enum dgf_rc rc, const char *text)
{
    (void)ctx;
    ck_assert_int_eq(rc, DGF_OK);
    ck_assert_str_eq(text, "");
    n_ready++;
}

static void free_auth(void *ctx, enum dgf_rc rc, const char *text)
{
    on_ready(ctx, rc, text);
    dgf_azure_auth_free(auth);
    auth = NULL;
}

START_TEST(many_wait_for_one_token)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_CLIENT_SECRET,
                                  .client_secret = (char *)"s"};
    int who[4];

    begin_tokens(&conf);
    answers[0] = TOKEN("one", "3600");
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(
            dgf_azure_auth_wait(auth, i == 2 ? free_auth : on_ready, &who[i]), DGF_OK);
    dgf_azure_auth_forget(auth, &who[0]);
    ck_assert_int_eq(n_ready, 0);
    while (auth)
        ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    ck_assert_int_eq(n_ready, 2); /* the fourth went with the rest */
    ck_assert_int_eq(n_asked, 1);
    end_serving();
}
END_TEST

START_TEST(a_key_is_ready_from_the_next_turn_on)
{
    struct dgf_azure_conf conf = {.key = (char *)COSMOS_KEY};

    begin(&conf, DGF_AZURE_COSMOS, URL);
    ck_assert_int_eq(dgf_azure_auth_wait(auth, on_ready, NULL), DGF_OK);
    ck_assert_int_eq(n_ready, 0);
    ck_assert_int_ge(event_base_loop(loop, EVLOOP_ONCE), 0);
    ck_assert_int_eq(n_ready, 1);
    end();
}
END_TEST

START_TEST(what_is_missing_for_a_token_is_named)
{
    struct dgf_azure_conf conf = {.how = DGF_AZURE_WORKLOAD_IDENTITY};

    begin(&conf, DGF_AZURE_COSMOS, URL);
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "cannot ask for a token: neither 'tenant_id' nor the "
                               "environment's AZURE_TENANT_ID is set; with an "
                               "account key write auth: key");
    conf.tenant_id = (char *)"t";
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "cannot ask for a token: neither 'client_id' nor the "
                               "environment's AZURE_CLIENT_ID is set; with an "
                               "account key write auth: key");
    conf.client_id = (char *)"c";
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text,
                     "cannot ask for a token: neither 'token_file' nor the "
                     "environment's AZURE_FEDERATED_TOKEN_FILE is set; with an "
                     "account key write auth: key");
    conf.authority = (char *)"http://login";
    ck_assert_int_eq(dgf_azure_auth_block(auth, &err), DGF_BAD_CONFIG);
    ck_assert_str_eq(err.text, "the authority 'http://login' is no https:// address");
    end();
}
END_TEST

START_TEST(answers_without_a_good_token_are_refused)
{
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"", "the answer holds no token"},
        {"[]", "the answer holds no token"},
        {"{\"access_token\":\"\",\"expires_in\":9}", "the answer holds no token"},
        {"{\"access_token\":\"a b\",\"expires_in\":9}", "the answer holds no token"},
        {"{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":9}",
         "the answer holds no token"},
        {"{\"access_token\":7,\"expires_in\":9}", "the answer holds no token"},
        {"{\"access_token\":\"a\"}",
         "the token has ended already, or does not say when it ends"},
        {"{\"access_token\":\"a\",\"expires_in\":0}",
         "the token has ended already, or does not say when it ends"},
        {"{\"access_token\":\"a\",\"expires_on\":\"2026-11-23T19:59:00Z\"}",
         "the token has ended already, or does not say when it ends"},
    };
    struct dgf_azure_token token = {0};
    bool unknown;

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        ck_assert_int_eq(dgf_azure_token_read(DGF_AZURE_CLIENT_SECRET, 200,
                                              dgf_bytes_str(cases[i].body), AT_NS,
                                              &token, &unknown, &err),
                         DGF_RETRY);
        ck_assert_str_eq(err.text, cases[i].text);
    }
}
END_TEST

START_TEST(how_long_a_token_lives_is_said_in_many_ways)
{
    static const struct {
        const char *life;
        int64_t life_s, refresh_s;
    } cases[] = {
        {"\"expires_in\":3600", 3600, 3300},
        {"\"expires_in\":\"3600\"", 3600, 3300},
        {"\"expires_in\":86400", 86400, 43200},
        {"\"expires_in\":300", 300, 150},
        {"\"expires_in\":99999999999", 30 * 86400, 15 * 86400},
        {"\"expires_in\":3600,\"refresh_in\":1800", 3600, 1800},
        {"\"expires_in\":3600,\"refresh_in\":7200", 3600, 3300},
        {"\"expires_on\":1795467600", 3600, 3300},
        {"\"expires_on\":\"2026-11-23T21:00:00Z\"", 3600, 3300},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++) {
        struct dgf_azure_token token = {0};
        char body[200];
        bool unknown;

        (void)snprintf(body, sizeof(body), "{\"access_token\":\"t\",%s}",
                       cases[i].life);
        ck_assert_int_eq(dgf_azure_token_read(DGF_AZURE_MANAGED_IDENTITY, 200,
                                              dgf_bytes_str(body), AT_NS, &token,
                                              &unknown, &err),
                         DGF_OK);
        ck_assert_int_eq(token.life_ns, cases[i].life_s * SECOND);
        ck_assert_int_eq(token.refresh_ns, cases[i].refresh_s * SECOND);
        dgf_azure_token_release(&token);
    }
}
END_TEST

START_TEST(some_refusals_pass_and_some_do_not)
{
    static const struct {
        int how, status;
        enum dgf_rc rc;
    } cases[] = {
        {DGF_AZURE_MANAGED_IDENTITY, 404, DGF_RETRY},
        {DGF_AZURE_MANAGED_IDENTITY, 410, DGF_RETRY},
        {DGF_AZURE_MANAGED_IDENTITY, 400, DGF_BAD_CONFIG},
        {DGF_AZURE_CLIENT_SECRET, 404, DGF_BAD_CONFIG},
        {DGF_AZURE_CLIENT_SECRET, 401, DGF_BAD_CONFIG},
        {DGF_AZURE_CLIENT_SECRET, 429, DGF_RETRY},
        {DGF_AZURE_CLIENT_SECRET, 500, DGF_RETRY},
    };
    struct dgf_azure_token token = {0};
    bool unknown;

    for (size_t i = 0; i < DGF_ARRAY_LEN(cases); i++)
        ck_assert_int_eq(dgf_azure_token_read(cases[i].how, cases[i].status,
                                              DGF_BYTES("{}"), AT_NS, &token, &unknown,
                                              &err),
                         cases[i].rc);
}
END_TEST

DGF_UNIT(azure_auth, a_blob_that_is_put_is_signed_as_storage_wants_it,
         messages_that_are_got_are_signed_as_storage_wants_it,
         reads_of_cosmos_are_signed_as_it_wants_it,
         the_signed_text_sorts_what_has_to_be_sorted, a_sas_goes_into_the_address,
         the_account_stands_in_the_address, dates_are_written_and_read,
         options_that_do_not_fit_are_named,
         an_address_that_leads_elsewhere_is_found_without_a_network,
         a_connection_string_is_taken_apart_and_its_key_is_not_shown,
         what_a_token_needs_is_looked_for_before_anything_is_asked,
         nothing_is_sent_in_the_clear_unless_told,
         a_token_is_fetched_with_a_secret_and_kept, a_token_is_replaced_before_it_ends,
         a_token_that_cannot_be_replaced_works_to_its_end,
         a_refused_token_is_fetched_anew, a_workload_shows_the_newest_token_of_its_file,
         a_machine_asks_its_metadata_service,
         an_unknown_resource_is_asked_for_by_its_common_name, many_wait_for_one_token,
         a_key_is_ready_from_the_next_turn_on, what_is_missing_for_a_token_is_named,
         answers_without_a_good_token_are_refused,
         how_long_a_token_lives_is_said_in_many_ways,
         some_refusals_pass_and_some_do_not)
