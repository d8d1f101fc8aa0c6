/* Values of PostgreSQL.  tests/data/pg_values.txt holds what a server wrote:
 * type, oid, text form, binary form and the JSON both must become. */
#include "pg_value.h"

#include <stdio.h>

#include "base/json.h"
#include "base/parse.h"
#include "unit.h"

struct line {
    char *type, *oid, *text, *binary, *json;
};

/* Fields are split by tabs; \t \n \\ stand in them. */
static bool split(char *line, struct line *ret)
{
    char **fields[] = {&ret->type, &ret->oid, &ret->text, &ret->binary, &ret->json};

    line[strcspn(line, "\n")] = '\0';
    if (*line == '#' || !*line)
        return false;
    for (size_t i = 0; i < DGF_ARRAY_LEN(fields); i++) {
        *fields[i] = strsep(&line, "\t");
        ck_assert_msg(*fields[i] != NULL, "%s: too few fields", ret->type);
    }
    ck_assert_msg(!line, "%s: too many fields", ret->type);
    return true;
}

static void unescape(char *text)
{
    char *to = text;

    for (; *text; text++, to++)
        *to = *text != '\\'    ? *text
              : *++text == 'n' ? '\n'
              : *text == 't'   ? '\t'
                               : *text;
    *to = '\0';
}

static void json_of(const struct dgf_buf *value, struct dgf_buf *ret)
{
    struct dgf_json json = dgf_json_of(ret);

    ck_assert_int_eq(dgf_json_msgpack(&json, dgf_buf_bytes(value)), DGF_OK);
}

static void check_line(struct line *line)
{
    const struct dgf_pg_type *type =
        dgf_pg_type_builtin((uint32_t)strtoul(line->oid, NULL, 10));
    struct dgf_buf text, binary, json;
    static uint8_t bytes[4096];
    size_t n = strlen(line->binary) / 2;
    const char *why = "";

    dgf_buf_init(&text, 1 << 20);
    dgf_buf_init(&binary, 1 << 20);
    dgf_buf_init(&json, 1 << 20);
    ck_assert_msg(type != NULL, "%s: unknown type", line->type);
    ck_assert(n <= sizeof(bytes) &&
              (n == 0 || dgf_parse_hex(dgf_bytes_str(line->binary), bytes, n)));
    unescape(line->text);
    ck_assert_msg(!dgf_pg_value_text(type, dgf_bytes_str(line->text), &text, &why),
                  "%s '%s': %s", line->type, line->text, why);
    ck_assert_msg(!dgf_pg_value_binary(type, dgf_bytes_of(bytes, n), &binary, &why),
                  "%s '%s' in binary: %s", line->type, line->text, why);
    json_of(&text, &json);
    ck_assert_msg(!strcmp(dgf_buf_str(&json), line->json), "%s '%s': %s, wanted %s",
                  line->type, line->text, dgf_buf_str(&json), line->json);
    dgf_buf_clear(&json);
    json_of(&binary, &json);
    ck_assert_msg(dgf_bytes_eq(dgf_buf_bytes(&text), dgf_buf_bytes(&binary)),
                  "%s '%s': binary gives %s", line->type, line->text,
                  dgf_buf_str(&json));
    dgf_buf_release(&text);
    dgf_buf_release(&binary);
    dgf_buf_release(&json);
}

START_TEST(both_forms_of_what_a_server_wrote_are_the_same_value)
{
    const char *srcdir = getenv("srcdir");
    static char path[4096], row[16384];
    struct line line;
    int n = 0;
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/tests/data/pg_values.txt",
                   srcdir ? srcdir : ".");
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    while (fgets(row, sizeof(row), file))
        if (split(row, &line)) {
            check_line(&line);
            n++;
        }
    fclose(file);
    ck_assert_int_ge(n, 140);
}
END_TEST

START_TEST(what_is_no_value_of_its_type_is_refused)
{
    static const struct {
        uint32_t oid;
        const char *text, *why;
    } table[] = {
        {16, "yes", "not a boolean"},
        {16, "", "not a boolean"},
        {21, "32768", "not an integer of its width"},
        {23, "2147483648", "not an integer of its width"},
        {20, "9223372036854775808", "not an integer of its width"},
        {20, "", "not an integer of its width"},
        {26, "-1", "not an unsigned integer of its width"},
        {701, "0x1p3", "not a float"},
        {701, "nan", "not a float"},
        {1700, "1.", "not a numeric"},
        {1700, "-", "not a numeric"},
        {1700, "1e5", "not a numeric"},
        {17, "\\x0", "not bytea in hex"},
        {17, "abc", "not bytea in hex"},
        {17, "\\xzz", "not bytea in hex"},
        {2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "not a uuid"},
        {2950, "a0eebc99x9c0b-4ef8-bb6d-6bb9bd380a11", "not a uuid"},
        {1007, "1,2", "array text without {"},
        {1007, "{1,2", "array text without a delimiter"},
        {1007, "{1,2,", "array text is cut short"},
        {1007, "{1,,2}", "array text with an empty item"},
        {1007, "{1,2}x", "bytes after the array"},
        {1007, "[2:3]", "array bounds without ="},
        {1007, "{{{{{{{1}}}}}}}", "array with more than 6 dimensions"},
        {1009, "{\"a", "array text ends inside quotes"},
        {1009, "{a\\b}", "array text with a bare backslash"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++) {
        struct dgf_buf out;
        const char *why = "";

        dgf_buf_init(&out, 1 << 20);
        ck_assert_msg(dgf_pg_value_text(dgf_pg_type_builtin(table[i].oid),
                                        dgf_bytes_str(table[i].text), &out,
                                        &why) == DGF_BAD_DATA,
                      "'%s' was taken", table[i].text);
        ck_assert_str_eq(why, table[i].why);
        dgf_buf_release(&out);
    }
}
END_TEST

START_TEST(times_that_cannot_be_are_refused)
{
    static const struct {
        uint32_t oid;
        const char *text;
    } table[] = {
        {1082, "2026-02-30"},
        {1082, "2026-3-2"},
        {1082, "tomorrow"},
        {1083, "25:00:00"},
        {1083, "09:00"},
        {1114, "2026-03-02T09:00:00"},
        {1114, "2026-03-02 09:00:61"},
        {1184, "2026-03-02 09:00:00*02"},
        {1186, "1 day"},
        {1186, "P1X"},
        {1186, "P"},
        {1186, ""},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(table); i++) {
        struct dgf_buf out;
        const char *why = NULL;

        dgf_buf_init(&out, 1 << 20);
        ck_assert_msg(dgf_pg_value_text(dgf_pg_type_builtin(table[i].oid),
                                        dgf_bytes_str(table[i].text), &out,
                                        &why) == DGF_BAD_DATA,
                      "'%s' was taken", table[i].text);
        ck_assert_ptr_nonnull(why);
        dgf_buf_release(&out);
    }
}
END_TEST

START_TEST(binary_of_a_wrong_size_is_refused)
{
    static const uint32_t oids[] = {16,   21,   23,   20,   26,   5069, 700,
                                    701,  1700, 1082, 1083, 1114, 1184, 1186,
                                    1266, 2950, 869,  829,  1560, 3220, 1007};
    static const uint8_t bytes[64] = {0xff, 0xff, 0xff, 0xff, 0xff};

    for (size_t i = 0; i < DGF_ARRAY_LEN(oids); i++)
        for (size_t len = 0; len <= sizeof(bytes); len += 63) {
            struct dgf_buf out;
            const char *why = NULL;

            dgf_buf_init(&out, 1 << 20);
            ck_assert_msg(dgf_pg_value_binary(dgf_pg_type_builtin(oids[i]),
                                              dgf_bytes_of(bytes, len), &out,
                                              &why) == DGF_BAD_DATA,
                          "%zu bytes of type %u were taken", len, oids[i]);
            ck_assert_ptr_nonnull(why);
            dgf_buf_release(&out);
        }
}
END_TEST

START_TEST(text_that_is_not_utf8_is_bytes)
{
    struct dgf_buf out;
    const char *why;

    dgf_buf_init(&out, 64);
    ck_assert_int_eq(
        dgf_pg_value_text(dgf_pg_type_builtin(25), DGF_BYTES("a\xff"), &out, &why),
        DGF_OK);
    ck_assert(dgf_bytes_eq(dgf_buf_bytes(&out), DGF_BYTES("\xc4\x02"
                                                          "a\xff")));
    dgf_buf_release(&out);
}
END_TEST

START_TEST(a_value_larger_than_the_buffer_leaves_its_mark)
{
    struct dgf_buf out;
    const char *why;

    dgf_buf_init(&out, 8);
    ck_assert_int_eq(dgf_pg_value_text(dgf_pg_type_builtin(25),
                                       DGF_BYTES("longer than eight"), &out, &why),
                     DGF_OK);
    ck_assert_int_ne(dgf_buf_rc(&out), DGF_OK);
    dgf_buf_release(&out);
}
END_TEST

DGF_UNIT(pg_value, both_forms_of_what_a_server_wrote_are_the_same_value,
         what_is_no_value_of_its_type_is_refused, times_that_cannot_be_are_refused,
         binary_of_a_wrong_size_is_refused, text_that_is_not_utf8_is_bytes,
         a_value_larger_than_the_buffer_leaves_its_mark)
