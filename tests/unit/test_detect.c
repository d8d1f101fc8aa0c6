#include "bus/detect.h"

#include <stdlib.h>

#include "unit.h"

struct hit {
    enum dgf_detector what;
    const char *text, *hit; /* hit NULL: nothing may be found */
};

/* All of `what` in text, joined by '|'. */
static const char *hits(enum dgf_detector what, const char *text)
{
    static char all[4096];
    struct dgf_found found;
    size_t from = 0, len = 0;

    while (dgf_detect(dgf_bytes_str(text), from, DGF_DETECT_BIT(what), &found)) {
        ck_assert_int_eq(found.what, what);
        ck_assert_uint_gt(found.len, 0);
        ck_assert_uint_ge(found.at, from);
        ck_assert_uint_le(found.at + found.len, strlen(text));
        ck_assert_uint_lt(len + found.len + 2, sizeof(all));
        if (len > 0)
            all[len++] = '|';
        memcpy(all + len, text + found.at, found.len);
        len += found.len;
        from = found.at + found.len;
    }
    all[len] = '\0';
    return all;
}

static void check_table(const struct hit *table, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(strcmp(hits(table[i].what, table[i].text),
                             table[i].hit ? table[i].hit : "") == 0,
                      "'%s': found '%s' instead of '%s'", table[i].text,
                      hits(table[i].what, table[i].text),
                      table[i].hit ? table[i].hit : "");
}

#define CHECK(...)                                            \
    do {                                                      \
        static const struct hit table[] = {__VA_ARGS__};      \
        check_table(table, sizeof(table) / sizeof(table[0])); \
    } while (0)

#define CARD(text, hit)            \
    {                              \
        DGF_DETECT_CARD, text, hit \
    }
START_TEST(cards_of_every_brand_are_found_plain_and_in_groups)
{
    CHECK(
        CARD("4111111111111111", "4111111111111111"),
        CARD("call 4111 1111 1111 1111 now", "4111 1111 1111 1111"),
        CARD("4111-1111-1111-1111", "4111-1111-1111-1111"),
        CARD("4222222222222", "4222222222222"),
        CARD("5555555555554444", "5555555555554444"),
        CARD("2223003122003222", "2223003122003222"),
        CARD("3782 822463 10005", "3782 822463 10005"),
        CARD("371449635398431", "371449635398431"),
        CARD("6011111111111117", "6011111111111117"),
        CARD("3056 930902 5904", "3056 930902 5904"),
        CARD("38520000023237", "38520000023237"),
        CARD("3530111333300000", "3530111333300000"),
        CARD("6200000000000005", "6200000000000005"),
        CARD("6759649826438453", "6759649826438453"),
        CARD("2200770212727079", "2200770212727079"),
        CARD("4000 0000 0000 0000 006", "4000 0000 0000 0000 006"),
        CARD("(4111111111111111)", "4111111111111111"),
        CARD("pan=4111111111111111;", "4111111111111111"),
        CARD("4111111111111111.", "4111111111111111"),
        CARD("no.4111111111111111", "4111111111111111"),
        CARD("4111111111111111.00", "4111111111111111"),
        CARD("pan_4111111111111111", "4111111111111111"),
        CARD("order 12 4111 1111 1111 1111 12/27", "4111 1111 1111 1111"),
        CARD("4111111111111111,5555555555554444", "4111111111111111|5555555555554444"));
}
END_TEST

START_TEST(numbers_that_only_look_like_cards_are_left)
{
    CHECK(CARD("4111111111111112", NULL),     /* Luhn */
          CARD("411111111111111", NULL),      /* no Visa has 15 */
          CARD("41111111111111111111", NULL), /* 20 digits */
          CARD("1111111111111117", NULL), CARD("0000000000000000", NULL),
          CARD("9999999999999995", NULL), /* nobody's prefix */
          CARD("2720991111111117", NULL), CARD("x4111111111111111", NULL),
          CARD("4111111111111111a", NULL), CARD("0.4111111111111111", NULL),
          CARD("4111111111111111.5", NULL), CARD("4111  1111  1111  1111", NULL),
          CARD("4111 1111-1111 1111", NULL), CARD("4111,1111,1111,1111", NULL),
          CARD("12-4111111111111111", NULL), CARD("4111111111111111-2", NULL),
          CARD("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", NULL),
          CARD("550e8400-e29b-41d4-a716-446655440000", NULL),
          CARD("1526919030474", NULL), CARD("1700000000000000000", NULL),
          CARD("2026-03-02 08:59:59.998000", NULL), CARD("", NULL), CARD("4", NULL));
}
END_TEST

#define SSN(text, hit)            \
    {                             \
        DGF_DETECT_SSN, text, hit \
    }
START_TEST(social_security_numbers_are_found_with_separators)
{
    CHECK(SSN("123-45-6789", "123-45-6789"), SSN("ssn: 536 22 8726.", "536 22 8726"),
          SSN("(899-99-9999)", "899-99-9999"), SSN("a 123-45-6789, b", "123-45-6789"));
}
END_TEST

START_TEST(numbers_that_cannot_be_social_security_numbers_are_left)
{
    CHECK(SSN("123456789", NULL), SSN("000-12-3456", NULL), SSN("666-12-3456", NULL),
          SSN("900-12-3456", NULL), SSN("123-00-4567", NULL), SSN("123-45-0000", NULL),
          SSN("078-05-1120", NULL), SSN("219-09-9999", NULL), SSN("123-45 6789", NULL),
          SSN("123-45-67890", NULL), SSN("1123-45-6789", NULL),
          SSN("12-123-45-6789", NULL), SSN("123-45-6789-1", NULL),
          SSN("9 123 45 6789", NULL), SSN("123 45 6789 1", NULL),
          SSN("a123-45-6789", NULL), SSN("123.45.6789", NULL), SSN("2024-01-02", NULL),
          SSN("123-4-56789", NULL));
}
END_TEST

#define IBAN(text, hit)            \
    {                              \
        DGF_DETECT_IBAN, text, hit \
    }
START_TEST(bank_accounts_are_found_by_country_length_and_checksum)
{
    CHECK(IBAN("DE89370400440532013000", "DE89370400440532013000"),
          IBAN("to DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00"),
          IBAN("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
          IBAN("FR1420041010050500013M02606", "FR1420041010050500013M02606"),
          IBAN("NO9386011117947", "NO9386011117947"),
          IBAN("MT84MALT011000012345MTLCAST001S", "MT84MALT011000012345MTLCAST001S"),
          IBAN("ch9300762011623852957", "ch9300762011623852957"),
          IBAN("iban:NL91ABNA0417164300", "NL91ABNA0417164300"));
}
END_TEST

START_TEST(texts_that_only_look_like_bank_accounts_are_left)
{
    CHECK(IBAN("DE89370400440532013001", NULL), IBAN("DE8937040044053201300", NULL),
          IBAN("DE893704004405320130001", NULL), IBAN("XX89370400440532013000", NULL),
          IBAN("aDE89370400440532013000", NULL),
          IBAN("DE89-3704-0044-0532-0130-00", NULL),
          IBAN("DE89  3704 0044 0532 0130 00", NULL),
          IBAN("DE89 370 400440532013000", NULL), IBAN("DE", NULL), IBAN("DE89", NULL),
          IBAN("GB82 WEST", NULL));
}
END_TEST

#define EMAIL(text, hit)            \
    {                               \
        DGF_DETECT_EMAIL, text, hit \
    }
START_TEST(mail_addresses_are_found_whole)
{
    CHECK(EMAIL("bob@example.com", "bob@example.com"),
          EMAIL("to <Bob.O_Neil+x%y@mail.example.co.uk>.",
                "Bob.O_Neil+x%y@mail.example.co.uk"),
          EMAIL("mailto:bob@example.com?x", "bob@example.com"),
          EMAIL("bob@example.com.", "bob@example.com"),
          EMAIL("...bob@example.com", "bob@example.com"),
          EMAIL("a@x.io,b@y.io;c@z.io", "a@x.io|b@y.io|c@z.io"),
          EMAIL("_x@a-b.example", "_x@a-b.example"),
          EMAIL("bob@xn--e1afmkfd.xn--p1ai", "bob@xn--e1afmkfd.xn--p1ai"),
          EMAIL("abc.4111111111111111@example.com", "abc.4111111111111111@example.com"),
          EMAIL("bob@example.com.1", "bob@example.com"));
}
END_TEST

START_TEST(texts_that_only_look_like_mail_addresses_are_left)
{
    CHECK(
        EMAIL("bob@localhost", NULL), EMAIL("@handle", NULL), EMAIL("a@b", NULL),
        EMAIL("bob@example.c", NULL), EMAIL("bob@.com", NULL),
        EMAIL("bob@-x.com", NULL), EMAIL("bob.@example.com", NULL),
        EMAIL("bob @example.com", NULL), EMAIL("bob@ example.com", NULL),
        EMAIL("bob@10.0.0.1", NULL), EMAIL("x@y@z", NULL), EMAIL("SELECT @a.b", NULL),
        EMAIL("100@2.50", NULL),
        EMAIL(
            "0123456789012345678901234567890123456789012345678901234567890123x@example.com",
            NULL));
}
END_TEST

#define PHONE(text, hit)            \
    {                               \
        DGF_DETECT_PHONE, text, hit \
    }
START_TEST(telephone_numbers_are_found_in_their_usual_forms)
{
    CHECK(PHONE("call +33 1 42 68 53 00", "+33 1 42 68 53 00"),
          PHONE("+14155552671", "+14155552671"),
          PHONE("+1 (415) 555-2671", "+1 (415) 555-2671"),
          PHONE("+44 (0)20 7946 0958", "+44 (0)20 7946 0958"),
          PHONE("+49-171-1234567", "+49-171-1234567"),
          PHONE("+353.1.677.0000", "+353.1.677.0000"),
          PHONE("0033 1 42 68 53 00", "0033 1 42 68 53 00"),
          PHONE("(415) 555-2671", "(415) 555-2671"),
          PHONE("(415)555-2671", "(415)555-2671"),
          PHONE("415-555-2671", "415-555-2671"), PHONE("415.555.2671", "415.555.2671"),
          PHONE("415 555 2671", "415 555 2671"),
          PHONE("1-800-555-1234", "1-800-555-1234"),
          PHONE("01 42 68 53 00", "01 42 68 53 00"),
          PHONE("020 7946 0958", "020 7946 0958"),
          PHONE("07700 900123", "07700 900123"), PHONE("0171/1234567", "0171/1234567"),
          PHONE("tel:415-555-2671;", "415-555-2671"));
}
END_TEST

START_TEST(numbers_that_only_look_like_telephones_are_left)
{
    CHECK(PHONE("4155552671", NULL), PHONE("+1 415 555 267", NULL),
          PHONE("+1 115 555 2671", NULL), PHONE("+999 12", NULL), PHONE("+12.5", NULL),
          PHONE("5+14155552671", NULL), PHONE("++14155552671", NULL),
          PHONE("115-555-2671", NULL), PHONE("415-155-2671", NULL),
          PHONE("415-555-26711", NULL), PHONE("9-415-555-2671", NULL),
          PHONE("415-555.2671", NULL), PHONE("2026-03-02", NULL),
          PHONE("01-02-2026", NULL), PHONE("01/02/2026 10", NULL),
          PHONE("192.168.100.200", NULL), PHONE("0.123 456 789", NULL),
          PHONE("00 12 34", NULL), PHONE("2026-03-02T08:59:59+0100", NULL),
          PHONE("9 415 555 2671", NULL), PHONE("415 555 2671 9", NULL),
          PHONE("(115) 555-2671", NULL), PHONE("(415 555-2671", NULL),
          PHONE("1/0/16B3748.3", NULL),
          PHONE("550e8400-e29b-41d4-a716-446655440000", NULL));
}
END_TEST

#define IP(text, hit)            \
    {                            \
        DGF_DETECT_IP, text, hit \
    }
START_TEST(network_addresses_of_both_kinds_are_found)
{
    CHECK(IP("10.1.2.3", "10.1.2.3"),
          IP("from 192.168.100.200:5432", "192.168.100.200"),
          IP("0.0.0.0/0", "0.0.0.0"), IP("at 8.8.8.8.", "8.8.8.8"),
          IP("2001:db8::1", "2001:db8::1"), IP("[::1]:80", "::1"),
          IP("fe80::1%eth0", "fe80::1"), IP("fe80::1: refused", "fe80::1"),
          IP("2001:0db8:85a3:0000:0000:8a2e:0370:7334",
             "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
          IP("::ffff:10.1.2.3", "::ffff:10.1.2.3"), IP("2001:db8::", "2001:db8::"),
          IP("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
          IP("a 1.2.3.4,5.6.7.8", "1.2.3.4|5.6.7.8"));
}
END_TEST

START_TEST(texts_that_only_look_like_network_addresses_are_left)
{
    CHECK(IP("1.2.3", NULL), IP("1.2.3.256", NULL), IP("01.2.3.4", NULL),
          IP("1.2.3.4.5", NULL), IP("v1.2.3.4", NULL), IP("libx-1.2.3.4", NULL),
          IP("1.2.3.4a", NULL), IP("1.2..3.4", NULL), IP("1.2.3.1000", NULL),
          IP("12:30:45", NULL), IP("std::vector", NULL), IP("a::b", NULL),
          IP("x ::text", NULL), IP("::", NULL), IP("00:1a:2b:3c:4d:5e", NULL),
          IP("1:2:3:4:5:6:7:8:9", NULL), IP("1::2::3", NULL), IP("12345::1", NULL),
          IP("1:2:3:4:5:6:7", NULL), IP("2026-03-02T08:59:59Z", NULL));
}
END_TEST

#define SECRET(text, hit)            \
    {                                \
        DGF_DETECT_SECRET, text, hit \
    }
START_TEST(secrets_are_found_by_their_form)
{
    CHECK(
        SECRET("key AKIA"
               "IOSFODNN7EXAMPLE.",
               "AKIA"
               "IOSFODNN7EXAMPLE"),
        SECRET("ghp_"
               "0123456789abcdefghijABCDEFGHIJ012345",
               "ghp_"
               "0123456789abcdefghijABCDEFGHIJ012345"),
        SECRET("token=xoxb-"
               "123456789012-abcdefABCDEF",
               "xoxb-"
               "123456789012-abcdefABCDEF"),
        SECRET("sk_live_"
               "0123456789abcdef",
               "sk_live_"
               "0123456789abcdef"),
        SECRET("glpat-"
               "0123456789abcdefghij",
               "glpat-"
               "0123456789abcdefghij"),
        SECRET("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27u",
               "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27u"),
        SECRET("-----BEGIN RSA PRIVATE "
               "KEY-----\nMIIB\nAAAA==\n-----END RSA PRIVATE KEY-----",
               "-----BEGIN RSA PRIVATE "
               "KEY-----\nMIIB\nAAAA==\n-----END RSA PRIVATE KEY-----"),
        SECRET("-----BEGIN PRIVATE "
               "KEY-----",
               "-----BEGIN PRIVATE "
               "KEY-----"),
        SECRET("-----BEGIN PGP PRIVATE "
               "KEY BLOCK-----",
               "-----BEGIN PGP PRIVATE "
               "KEY BLOCK-----"));
}
END_TEST

START_TEST(texts_that_only_begin_like_secrets_are_left)
{
    CHECK(SECRET("AKIA"
                 "IOSFODNN7EXAMPL",
                 NULL),
          SECRET("AKIA"
                 "IOSFODNN7EXAMPLEX",
                 NULL),
          SECRET("xAKIA"
                 "IOSFODNN7EXAMPLE",
                 NULL),
          SECRET("AKIA"
                 "iosfodnn7example",
                 NULL),
          SECRET("ghp_"
                 "short",
                 NULL),
          SECRET("xoxb-"
                 "1",
                 NULL),
          SECRET("sk_test_"
                 "0123456789abcdef",
                 NULL),
          SECRET("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0", NULL),
          SECRET("eyJhbGciOiJIUzI1NiJ9.abc.def", NULL), SECRET("eyJ.eyJ.x", NULL),
          SECRET("-----BEGIN PUBLIC KEY-----\nMIIB", NULL),
          SECRET("-----BEGIN CERTIFICATE-----", NULL),
          SECRET("-----BEGIN RSA PRIVATE KEY", NULL),
          SECRET("-- BEGIN PRIVATE KEY --", NULL),
          SECRET("----------------------", NULL));
}
END_TEST

START_TEST(the_first_hit_of_any_detector_comes_first)
{
    struct dgf_bytes text =
        DGF_BYTES("bob@example.com, 123-45-6789, 4111 1111 1111 1111");
    const enum dgf_detector expected[] = {DGF_DETECT_EMAIL, DGF_DETECT_SSN,
                                          DGF_DETECT_CARD};
    struct dgf_found found;
    size_t from = 0;

    for (int i = 0; i < 3; i++) {
        ck_assert(dgf_detect(text, from, DGF_DETECT_ANY, &found));
        ck_assert_int_eq(found.what, expected[i]);
        from = found.at + found.len;
    }
    ck_assert(!dgf_detect(text, from, DGF_DETECT_ANY, &found));
}
END_TEST

START_TEST(what_stands_before_the_start_still_counts)
{
    struct dgf_found found;

    /* from is inside a longer number */
    ck_assert(!dgf_detect(DGF_BYTES("94111111111111111"), 1, DGF_DETECT_ANY, &found));
    ck_assert(!dgf_detect(DGF_BYTES("abc"), 7, DGF_DETECT_ANY, &found));
}
END_TEST

START_TEST(luhn_wants_two_digits_and_nothing_else)
{
    ck_assert(dgf_luhn(DGF_BYTES("18")));
    ck_assert(dgf_luhn(DGF_BYTES("4111111111111111")));
    ck_assert(!dgf_luhn(DGF_BYTES("19")));
    ck_assert(!dgf_luhn(DGF_BYTES("0")));
    ck_assert(!dgf_luhn(DGF_BYTES("")));
    ck_assert(!dgf_luhn(DGF_BYTES("1 8")));
}
END_TEST

/* Texts made of starts that never end in a hit: twice the length may cost twice
 * the steps.  The bytes that are looked at cannot be counted from outside, so
 * this only shows that a megabyte of each ends within the test's time. */
START_TEST(hostile_repetition_takes_linear_time)
{
    static const char *const units[] = {
        "4111 ", "eyJ-",        "eyJaaaaaaaaa.", "a.", "a@",   "1.", "1:",  "::", "+1",
        "AKIA",  "-----BEGIN ", "DE89",          "(4", "a@b.", "0",  "12 ", "4-", "x",
        "."};
    size_t size = (size_t)1 << 20;
    char *text = malloc(size);
    struct dgf_found found;

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i]), from = 0;

        for (size_t at = 0; at < size; at++)
            text[at] = units[i][at % len];
        while (dgf_detect(dgf_bytes_of(text, size), from, DGF_DETECT_ANY, &found))
            from = found.at + found.len;
    }
    free(text);
}
END_TEST

START_TEST(every_detector_has_a_name)
{
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_CARD), "card");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_SSN), "ssn");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_IBAN), "iban");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_EMAIL), "email");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_PHONE), "phone");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_IP), "ip");
    ck_assert_str_eq(dgf_detector_text(DGF_DETECT_SECRET), "secret");
}
END_TEST

DGF_UNIT(detect, cards_of_every_brand_are_found_plain_and_in_groups,
         numbers_that_only_look_like_cards_are_left,
         social_security_numbers_are_found_with_separators,
         numbers_that_cannot_be_social_security_numbers_are_left,
         bank_accounts_are_found_by_country_length_and_checksum,
         texts_that_only_look_like_bank_accounts_are_left,
         mail_addresses_are_found_whole,
         texts_that_only_look_like_mail_addresses_are_left,
         telephone_numbers_are_found_in_their_usual_forms,
         numbers_that_only_look_like_telephones_are_left,
         network_addresses_of_both_kinds_are_found,
         texts_that_only_look_like_network_addresses_are_left,
         secrets_are_found_by_their_form, texts_that_only_begin_like_secrets_are_left,
         the_first_hit_of_any_detector_comes_first,
         what_stands_before_the_start_still_counts,
         luhn_wants_two_digits_and_nothing_else, hostile_repetition_takes_linear_time,
         every_detector_has_a_name)
