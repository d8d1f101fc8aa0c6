#include "bus/mask.h"

#include <math.h>
#include <stdio.h>

#include "base/mp.h"
#include "unit.h"

static struct dgf_masker masker;
static struct dgf_buf value, out;

static void setup(void)
{
    uint8_t key[DGF_TOKEN_KEY_BYTES];

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    dgf_masker_init(&masker, key, 1);
    dgf_buf_init(&value, 1 << 20);
    dgf_buf_init(&out, 1 << 20);
}

static void teardown(void)
{
    dgf_masker_release(&masker);
    dgf_buf_release(&value);
    dgf_buf_release(&out);
}

static struct dgf_bytes str(const char *text)
{
    dgf_buf_clear(&value);
    dgf_mp_put_str(&value, dgf_bytes_str(text));
    return dgf_buf_bytes(&value);
}

static struct dgf_bytes number(int64_t n)
{
    dgf_buf_clear(&value);
    dgf_mp_put_int(&value, n);
    return dgf_buf_bytes(&value);
}

static struct dgf_bytes decimal(const char *text)
{
    dgf_buf_clear(&value);
    dgf_mp_put_decimal(&value, dgf_bytes_str(text));
    return dgf_buf_bytes(&value);
}

static void check_json(enum dgf_class class_, struct dgf_bytes of, const char *expected,
                       bool expected_masked)
{
    struct dgf_json json = dgf_json_of(&out);
    bool masked = !expected_masked;

    dgf_buf_clear(&out);
    dgf_mask_json(&masker, class_, of, &json, &masked);
    ck_assert_str_eq(dgf_buf_str(&out), expected);
    ck_assert_int_eq(masked, expected_masked);
}

static void check_text(enum dgf_class class_, struct dgf_bytes of, const char *expected)
{
    bool masked;

    dgf_buf_clear(&out);
    dgf_mask_text(&masker, class_, of, &out, &masked);
    ck_assert_str_eq(dgf_buf_str(&out), expected);
}

static const char *token_of(struct dgf_bytes of)
{
    static char text[64];

    dgf_buf_clear(&out);
    dgf_mask_token(&masker, of, &out);
    ck_assert_uint_lt(out.len, sizeof(text));
    memcpy(text, dgf_buf_str(&out), out.len + 1);
    return text;
}

START_TEST(public_and_internal_text_is_shown)
{
    setup();
    check_json(DGF_CLASS_PUBLIC, str("a \"note\"\n"), "\"a \\\"note\\\"\\n\"", false);
    check_json(DGF_CLASS_INTERNAL, str("status ok"), "\"status ok\"", false);
    check_text(DGF_CLASS_INTERNAL, str("status ok"), "status ok");
    teardown();
}
END_TEST

START_TEST(confidential_text_keeps_only_spaces_and_punctuation)
{
    setup();
    check_json(DGF_CLASS_CONFIDENTIAL, str("Hello, w0rld!"), "\"*****, *****!\"", true);
    check_json(DGF_CLASS_CONFIDENTIAL, str("ren\xc3\xa9 \xe2\x82\xac"), "\"**** *\"",
               true);
    check_json(DGF_CLASS_CONFIDENTIAL, str(""), "\"\"", true);
    check_text(DGF_CLASS_CONFIDENTIAL, str("a.b"), "*.*");
    teardown();
}
END_TEST

START_TEST(of_a_card_the_first_six_and_last_four_digits_stay)
{
    setup();
    check_json(DGF_CLASS_CONFIDENTIAL, str("call 4111 1111 1111 1111"),
               "\"**** 411111******1111\"", true);
    check_json(DGF_CLASS_PUBLIC, str("call 4111-1111-1111-1111 now"),
               "\"call 411111******1111 now\"", true);
    check_json(DGF_CLASS_CONFIDENTIAL, str("378282246310005,x"),
               "\"378282*****0005,*\"", true);
    teardown();
}
END_TEST

START_TEST(masked_text_has_at_most_64_characters)
{
    char big[4096];

    setup();
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    check_json(DGF_CLASS_CONFIDENTIAL, str(big),
               "\"****************************************************************\"",
               true);
    memcpy(big + 60, " 4111111111111111 ", 18);
    check_json(DGF_CLASS_CONFIDENTIAL, str(big),
               "\"************************************************************ 411\"",
               true);
    for (size_t i = 0; i + 2 < sizeof(big); i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    big[200] = '\0';
    check_json(DGF_CLASS_CONFIDENTIAL, str(big),
               "\"****************************************************************\"",
               true);
    teardown();
}
END_TEST

START_TEST(of_restricted_values_only_the_token_is_left)
{
    char expected[64];

    setup();
    (void)snprintf(expected, sizeof(expected), "\"%s\"", token_of(str("secret")));
    check_json(DGF_CLASS_RESTRICTED, str("secret"), expected, true);
    check_text(DGF_CLASS_RESTRICTED, str("secret"), token_of(str("secret")));
    (void)snprintf(expected, sizeof(expected), "\"%s\"", token_of(number(7)));
    check_json(DGF_CLASS_RESTRICTED, number(7), expected, true);
    teardown();
}
END_TEST

START_TEST(a_token_is_the_same_for_the_same_value_and_key_only)
{
    char first[64], second[64];
    struct dgf_masker other;
    uint8_t key[DGF_TOKEN_KEY_BYTES] = {9};

    setup();
    /* HMAC-SHA-256 of "bob@example.com" under 00 01 ... 1f, computed apart */
    ck_assert_str_eq(token_of(str("bob@example.com")), "h1:7fpdpq9gpwbsms0by6j7zkfgad");
    (void)snprintf(first, sizeof(first), "%s", token_of(number(7)));
    (void)snprintf(second, sizeof(second), "%s", token_of(str("7")));
    ck_assert_str_eq(first, second); /* by its JSON text */
    ck_assert_str_ne(first, token_of(number(8)));
    dgf_masker_init(&other, key, 12);
    dgf_buf_clear(&out);
    dgf_mask_token(&other, number(7), &out);
    ck_assert(memcmp(out.ptr, "h12:", 4) == 0);
    ck_assert_uint_eq(out.len, 4 + 26);
    ck_assert_str_ne(dgf_buf_str(&out) + 4, first + 3);
    dgf_masker_release(&other);
    teardown();
}
END_TEST

START_TEST(detectors_mask_what_is_shown_otherwise)
{
    setup();
    check_json(DGF_CLASS_PUBLIC, str("mail bob@example.com or 10.1.2.3"),
               "\"mail ***@*******.*** or **.*.*.*\"", true);
    check_json(DGF_CLASS_INTERNAL, str("ssn 123-45-6789."), "\"ssn ***-**-****.\"",
               true);
    check_text(DGF_CLASS_INTERNAL, str("call +33 1 42 68 53 00"),
               "call +** * ** ** ** **");
    teardown();
}
END_TEST

START_TEST(numbers_are_shown_unless_they_are_cards)
{
    setup();
    check_json(DGF_CLASS_INTERNAL, number(7), "7", false);
    check_json(DGF_CLASS_INTERNAL, number(-12), "-12", false);
    check_json(DGF_CLASS_INTERNAL, number(411111111111), "411111111111", false);
    check_json(DGF_CLASS_INTERNAL, number(4111111111111111), "\"411111******1111\"",
               true);
    check_json(DGF_CLASS_INTERNAL, number(4111111111111112), "4111111111111112", false);
    check_text(DGF_CLASS_INTERNAL, decimal("12.50"), "12.50");
    check_json(DGF_CLASS_INTERNAL, decimal("12.50"), "{\"$numberDecimal\":\"12.50\"}",
               false);
    check_json(DGF_CLASS_INTERNAL, decimal("4111111111111111"),
               "\"{\\\"$numberDecimal\\\":\\\"411111******1111\\\"}\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_double(&value, 4111111111111111.0);
    check_json(DGF_CLASS_INTERNAL, dgf_buf_bytes(&value), "\"411111******1111\"", true);
    teardown();
}
END_TEST

START_TEST(confidential_numbers_lose_their_digits_and_booleans_their_length)
{
    setup();
    check_json(DGF_CLASS_CONFIDENTIAL, number(-120), "\"-***\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_bool(&value, true);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"****\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_bool(&value, false);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"****\"", true);
    teardown();
}
END_TEST

START_TEST(null_and_unavailable_are_said_in_any_class_but_restricted)
{
    setup();
    dgf_buf_clear(&value);
    dgf_mp_put_nil(&value);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "null", false);
    dgf_buf_clear(&value);
    dgf_mp_put_unavailable(&value, DGF_UNAVAILABLE_TOAST);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value),
               "{\"$unavailable\":\"toast\"}", false);
    teardown();
}
END_TEST

START_TEST(typed_values_are_masked_without_the_json_around_them)
{
    setup();
    dgf_buf_clear(&value);
    dgf_mp_put_decimal(&value, DGF_BYTES("-12.50"));
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"-**.**\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_opaque(&value, DGF_BYTES("inet"), DGF_BYTES("10.0.0.1"));
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"**.*.*.*\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_int(&value, INT64_C(9007199254740993));
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"****************\"",
               true);
    dgf_buf_clear(&value);
    dgf_mp_put_timestamp(&value, 1772442000, 0);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value),
               "\"****-**-*****:**:***\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_double(&value, NAN);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"***\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_double(&value, 1.5);
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"*.*\"", true);
    dgf_buf_clear(&value); /* a card in a decimal is one as in a text */
    dgf_mp_put_decimal(&value, DGF_BYTES("4111111111111111"));
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value), "\"411111******1111\"",
               true);
    teardown();
}
END_TEST

START_TEST(documents_are_masked_as_the_text_of_their_json)
{
    setup();
    dgf_buf_clear(&value);
    dgf_mp_put_map(&value, 1);
    dgf_mp_put_str(&value, DGF_BYTES("mail"));
    dgf_mp_put_str(&value, DGF_BYTES("bob@example.com"));
    check_json(DGF_CLASS_CONFIDENTIAL, dgf_buf_bytes(&value),
               "\"{\\\"****\\\":\\\"***@*******.***\\\"}\"", true);
    check_json(DGF_CLASS_PUBLIC, dgf_buf_bytes(&value),
               "\"{\\\"mail\\\":\\\"***@*******.***\\\"}\"", true);
    dgf_buf_clear(&value);
    dgf_mp_put_array(&value, 2);
    dgf_mp_put_int(&value, 1);
    dgf_mp_put_str(&value, DGF_BYTES("b"));
    check_json(DGF_CLASS_PUBLIC, dgf_buf_bytes(&value), "[1,\"b\"]", false);
    teardown();
}
END_TEST

START_TEST(bytes_and_broken_text_are_base64)
{
    setup();
    dgf_buf_clear(&value);
    dgf_mp_put_bin(&value, DGF_BYTES("\x01\x02\xff"));
    check_json(DGF_CLASS_PUBLIC, dgf_buf_bytes(&value),
               "{\"$binary\":{\"base64\":\"AQL/\",\"subType\":\"00\"}}", false);
    check_json(DGF_CLASS_PUBLIC, str("a\xff"),
               "{\"$binary\":{\"base64\":\"Yf8=\",\"subType\":\"00\"}}", false);
    check_json(DGF_CLASS_CONFIDENTIAL, str("ab\xff"), "\"***\"", true);
    /* a hit in bytes hides them all */
    check_json(DGF_CLASS_PUBLIC, str("\xff bob@example.com"), "\"* ***@*******.***\"",
               true);
    teardown();
}
END_TEST

START_TEST(what_nobody_classified_goes_by_type_then_by_value)
{
    static const struct {
        enum dgf_class given;
        enum dgf_type type;
        enum dgf_class in_force;
    } table[] = {
        {DGF_CLASS_NONE, DGF_TYPE_INT, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_DECIMAL, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_UUID, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_BOOL, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_TIMESTAMP, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_ENUM, DGF_CLASS_INTERNAL},
        {DGF_CLASS_NONE, DGF_TYPE_TEXT, DGF_CLASS_CONFIDENTIAL},
        {DGF_CLASS_NONE, DGF_TYPE_JSON, DGF_CLASS_CONFIDENTIAL},
        {DGF_CLASS_NONE, DGF_TYPE_BYTES, DGF_CLASS_CONFIDENTIAL},
        {DGF_CLASS_NONE, DGF_TYPE_ARRAY, DGF_CLASS_CONFIDENTIAL},
        {DGF_CLASS_NONE, DGF_TYPE_NONE, DGF_CLASS_CONFIDENTIAL},
        {DGF_CLASS_PUBLIC, DGF_TYPE_TEXT, DGF_CLASS_PUBLIC},
        {DGF_CLASS_RESTRICTED, DGF_TYPE_INT, DGF_CLASS_RESTRICTED},
    };

    setup();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        ck_assert_int_eq(dgf_class_in_force(table[i].given, table[i].type, str("x")),
                         table[i].in_force);
    ck_assert_int_eq(dgf_class_in_force(DGF_CLASS_NONE, DGF_TYPE_NONE, number(1)),
                     DGF_CLASS_INTERNAL);
    ck_assert_int_eq(dgf_class_in_force(DGF_CLASS_NONE, DGF_TYPE_NONE, decimal("1.5")),
                     DGF_CLASS_INTERNAL);
    ck_assert_int_eq(
        dgf_class_in_force(DGF_CLASS_NONE, DGF_TYPE_NONE, dgf_bytes_of(NULL, 0)),
        DGF_CLASS_CONFIDENTIAL);
    teardown();
}
END_TEST

START_TEST(dates_and_uuids_stand_in_messages_without_quotes)
{
    static const uint8_t uuid[16] = {0x55, 0x0e, 0x84, 0x00, 0xe2, 0x9b, 0x41, 0xd4,
                                     0xa7, 0x16, 0x44, 0x66, 0x55, 0x44, 0x00, 0x00};

    setup();
    dgf_buf_clear(&value);
    dgf_mp_put_uuid(&value, uuid);
    check_text(DGF_CLASS_INTERNAL, dgf_buf_bytes(&value),
               "550e8400-e29b-41d4-a716-446655440000");
    dgf_buf_clear(&value);
    dgf_mp_put_date(&value, 20514);
    check_text(DGF_CLASS_INTERNAL, dgf_buf_bytes(&value), "2026-03-02");
    check_text(DGF_CLASS_INTERNAL, number(7), "7");
    teardown();
}
END_TEST

DGF_UNIT(mask, public_and_internal_text_is_shown,
         confidential_text_keeps_only_spaces_and_punctuation,
         of_a_card_the_first_six_and_last_four_digits_stay,
         masked_text_has_at_most_64_characters,
         of_restricted_values_only_the_token_is_left,
         a_token_is_the_same_for_the_same_value_and_key_only,
         detectors_mask_what_is_shown_otherwise,
         numbers_are_shown_unless_they_are_cards,
         confidential_numbers_lose_their_digits_and_booleans_their_length,
         null_and_unavailable_are_said_in_any_class_but_restricted,
         typed_values_are_masked_without_the_json_around_them,
         documents_are_masked_as_the_text_of_their_json,
         bytes_and_broken_text_are_base64,
         what_nobody_classified_goes_by_type_then_by_value,
         dates_and_uuids_stand_in_messages_without_quotes)
