/* Both ways to read a line of an archive: by the grammar, and by a shape that was seen.
 */
#include <stdio.h>

#include "base/mem.h"
#include "ledger/archive_line.h"
#include "ledger/archive_shape.h"
#include "unit.h"

#define HEAD "{\"v\":1,\"seq\":12,\"kind\":\"audit\",\"time\":\"T\",\"logged\":\"L\","

static bool same(struct dgf_bytes a, struct dgf_bytes b)
{
    return a.ptr == b.ptr && a.len == b.len;
}

/* What the grammar says; shapes that know nothing, and those that know this line or
 * others, must say the same and point to the same bytes. */
static enum dgf_line_is read_line(struct dgf_shapes *shapes, const char *text,
                                  struct dgf_archive_line *ret)
{
    size_t len = strlen(text);
    /* A block of its own, so that a sanitizer sees what is read behind it. */
    uint8_t *line = dgf_malloc(len ? len : 1);
    struct dgf_archive_line seen;
    enum dgf_line_is is;

    ck_assert_ptr_nonnull(line);
    memcpy(line, text, len);
    is = dgf_archive_line_read(dgf_bytes_of(line, len), ret);
    /* Teaches its shape, teaches its layout, has it. */
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(dgf_shapes_read(shapes, dgf_bytes_of(line, len), &seen), is);
        ck_assert(same(seen.seq, ret->seq) && same(seen.kind, ret->kind));
        ck_assert(same(seen.time, ret->time) && same(seen.logged, ret->logged));
    }
    dgf_free(line); /* the caller compares lengths only */
    return is;
}

static const char *const valid[] = {
    "{}",
    " {\t} \r",
    "{\"a\":[]}",
    "{\"a\":[1,2.5,-0,0.1e+7,1E5,12e-3,-1]}",
    "{\"a\":{\"b\":{\"c\":null}},\"d\":true,\"e\":false}",
    "{ \"a\" : 1 , \"b\" : [ \"x\" , { } ] }",
    "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uD83D\"}",
    "{\"a\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}",
    "{\"\xc3\xa4\":\"a text that is longer than sixteen bytes, \xe2\x82\xac and on\"}",
    "{\"a\":\"a text that is longer than sixteen bytes, \\\" and on\"}",
    "{\"\":\"\",\"\":\"\"}",
    HEAD "\"note\":\"\x7f\"}",
};

static const char *const invalid[] = {
    "",
    " ",
    "x",
    "1",
    "null",
    "\"a\"",
    "[]",
    "{",
    "}",
    "{}{}",
    "{},",
    "{}x",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1;\"b\":2}",
    "{\"a\":1,,\"b\":2}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{\"a\":[1,]}",
    "{\"a\":[1}",
    "{\"a\":{]}",
    "{\"a\":[1 2]}",
    "{\"a\":01}",
    "{\"a\":-}",
    "{\"a\":+1}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":0x1}",
    "{\"a\":1a}",
    "{\"a\":--1}",
    "{\"a\":NaN}",
    "{\"a\":True}",
    "{\"a\":nul}",
    "{\"a\":truefalse}",
    "{\"a\":\"x}",
    "{\"a\":\"x\\\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"\\u123\"}",
    "{\"a\":\"tab\there\"}",
    "{\"a\":\"\x01\"}",
    "{\"a\":\"\x80\"}",
    "{\"a\":\"\xc3\"}",
    "{\"a\":\"\xc3(\"}",
    "{\"a\":\"\xc0\xaf\"}",
    "{\"a\":\"\xe0\x80\x80\"}",
    "{\"a\":\"\xed\xa0\x80\"}",
    "{\"a\":\"\xf0\x80\x80\x80\"}",
    "{\"a\":\"\xf4\x90\x80\x80\"}",
    "{\"a\":\"\xff\"}",
    "{\"\xff\":1}",
    "{\"a\":1}\xc3\xa4",
    "{\"a\":\v1}",
};

START_TEST(json_is_told_from_what_is_none)
{
    struct dgf_archive_line line;
    struct dgf_shapes shapes;

    dgf_shapes_init(&shapes);
    for (size_t i = 0; i < DGF_ARRAY_LEN(valid); i++)
        ck_assert_msg(read_line(&shapes, valid[i], &line) == DGF_LINE_OK, "%s",
                      valid[i]);
    for (size_t i = 0; i < DGF_ARRAY_LEN(invalid); i++)
        ck_assert_msg(read_line(&shapes, invalid[i], &line) == DGF_LINE_NO_JSON, "%s",
                      invalid[i]);
}
END_TEST

static enum dgf_line_is nested(struct dgf_shapes *shapes, unsigned arrays, bool closed)
{
    char text[512] = "{\"a\":";
    struct dgf_archive_line line;
    size_t n = strlen(text);

    memset(text + n, '[', arrays);
    n += arrays;
    if (closed) {
        memset(text + n, ']', arrays);
        n += arrays;
        text[n++] = '}';
    }
    text[n] = '\0';
    return read_line(shapes, text, &line);
}

START_TEST(a_line_may_be_nested_64_deep_and_no_deeper)
{
    struct dgf_archive_line line;
    struct dgf_shapes shapes;

    dgf_shapes_init(&shapes);
    ck_assert_int_eq(nested(&shapes, 63, true), DGF_LINE_OK);
    ck_assert_int_eq(nested(&shapes, 64, true), DGF_LINE_TOO_DEEP);
    ck_assert_int_eq(nested(&shapes, 200, true), DGF_LINE_TOO_DEEP);
    ck_assert_int_eq(nested(&shapes, 63, false), DGF_LINE_NO_JSON);
    ck_assert_int_eq(nested(&shapes, 64, false), DGF_LINE_TOO_DEEP);
    /* Brackets in texts nest nothing. */
    ck_assert_int_eq(
        read_line(&shapes,
                  "{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                  "[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[\"}",
                  &line),
        DGF_LINE_OK);
}
END_TEST

/* Lengths say which value it was; 0: absent, or of another type. */
static void check_fields(struct dgf_shapes *shapes, const char *text, size_t seq,
                         size_t kind, size_t time, size_t logged)
{
    struct dgf_archive_line line;

    ck_assert_msg(read_line(shapes, text, &line) == DGF_LINE_OK, "%s", text);
    ck_assert_uint_eq(line.seq.len, seq);
    ck_assert_uint_eq(line.kind.len, kind);
    ck_assert_uint_eq(line.time.len, time);
    ck_assert_uint_eq(line.logged.len, logged);
}

START_TEST(fields_are_those_of_the_outermost_object_and_the_last_of_a_name_counts)
{
    struct dgf_shapes shapes;

    dgf_shapes_init(&shapes);
    check_fields(&shapes, HEAD "\"x\":1}", 2, 5, 1, 1);
    check_fields(&shapes, "{\"a\":{\"seq\":1,\"kind\":\"x\"},\"b\":[{\"time\":\"x\"}]}",
                 0, 0, 0, 0);
    check_fields(&shapes, "{\"seq\":1,\"seq\":234}", 3, 0, 0, 0);
    check_fields(&shapes, "{\"seq\":1,\"seq\":null}", 0, 0, 0, 0);
    check_fields(&shapes, "{\"seq\":\"1\",\"kind\":5,\"time\":[\"x\"],\"logged\":{}}",
                 0, 0, 0, 0);
    check_fields(&shapes, "{\"kind\":\"ab\",\"kind\":7}", 0, 0, 0, 0);
    check_fields(&shapes, "{\"kind\":7,\"kind\":\"ab\"}", 0, 2, 0, 0);
    check_fields(&shapes, "{\"kind\":\"a\\nb\"}", 0, 4, 0, 0); /* as it stands */
    check_fields(&shapes, "{\"kin\\u0064\":\"ab\"}", 0, 0, 0, 0);
    check_fields(&shapes, "{\"seq\" : -1.5e3 }", 6, 0, 0, 0);
}
END_TEST

START_TEST(a_known_shape_takes_other_values_and_nothing_else)
{
    static const char *const good[] = {
        HEAD "\"n\":7,\"s\":\"x\"}",
        HEAD "\"n\":0,\"s\":\"\"}",
        HEAD "\"n\":-12.5e7,\"s\":\"\\u00e4 and a text that is longer\"}",
        HEAD "\"n\":123456789,\"s\":\"\xc3\xa4 and a text that is longer\"}",
        HEAD "\"n\":7 ,\"s\":\"x\"}",
        HEAD "\"n\":\"7\",\"s\":5}",
        HEAD "\"n\":1,\"s\":\"y\"}",
        HEAD "\"n\":1,\"s\":\"\x7f\"}",
    };
    static const char *const bad[] = {
        HEAD "\"n\":07,\"s\":\"x\"}",   HEAD "\"n\":7.,\"s\":\"x\"}",
        HEAD "\"n\":7e,\"s\":\"x\"}",   HEAD "\"n\":,\"s\":\"x\"}",
        HEAD "\"n\":7,\"s\":\"x\\\"}",  HEAD "\"n\":7,\"s\":\"\xff and on and on\"}",
        HEAD "\"n\":7,\"s\":\"\\q\"}",  HEAD "\"n\":7,\"s\":\"x\"",
        HEAD "\"n\":7,\"s\":\"x\"}}",   HEAD "\"n\":7,\"s\":\"x\"} x",
        HEAD "\"n\":7,\"s\":\"x\",}",   HEAD "\"n\":7,\"s\":\"x",
        HEAD "\"n\":7,\"s\":\"a\tb\"}", HEAD "\"n\":7,\"s\":\"a\"b\"}",
        HEAD "\"n\":7,\"s\":\"x\"]",    HEAD "\"n\":7",
        HEAD "\"n\":7,\"s\":\"x\"}\"",  HEAD,
        HEAD "\"n\":.,\"s\":\"x\"}",    HEAD "\"n\":7,\"s\":\"\\\"}",
    };
    struct dgf_archive_line line;

    for (size_t i = 0; i < DGF_ARRAY_LEN(good); i++)
        for (size_t k = 0; k < DGF_ARRAY_LEN(bad); k++) {
            struct dgf_shapes shapes;

            dgf_shapes_init(&shapes);
            ck_assert_int_eq(read_line(&shapes, good[0], &line), DGF_LINE_OK);
            ck_assert_int_eq(read_line(&shapes, good[i], &line), DGF_LINE_OK);
            ck_assert_msg(read_line(&shapes, bad[k], &line) == DGF_LINE_NO_JSON, "%s",
                          bad[k]);
        }
}
END_TEST

/* Every byte of a line becomes every other byte: the shape of the whole one is known,
 * and of one whose values are plain the layout. */
START_TEST(no_byte_can_be_changed_so_that_shape_and_grammar_disagree)
{
    static const char *const texts[] = {
        HEAD "\"a\":{\"b\":[1,\"t\\n\",true]},\"n\":-10,"
             "\"note\":\"more than sixteen \xc3\xa4 bytes\"}",
        HEAD "\"a\":{\"b\":[1,\"t\",true]},\"n\":105,\"note\":\"sixteen bytes\"}",
        "{\"n\":100,\"kind\":\"abcd\",\"seq\":12}", /* 32 bytes */
    };
    struct dgf_archive_line line;
    struct dgf_shapes shapes;
    char changed[200];

    for (size_t k = 0; k < DGF_ARRAY_LEN(texts); k++) {
        unsigned n_good = 0;
        size_t len = strlen(texts[k]);

        for (size_t i = 0; i < len; i++)
            for (int c = 1; c < 256; c++) {
                dgf_shapes_init(&shapes);
                ck_assert_int_eq(read_line(&shapes, texts[k], &line), DGF_LINE_OK);
                memcpy(changed, texts[k], len + 1);
                changed[i] = (char)c;
                n_good += read_line(&shapes, changed, &line) == DGF_LINE_OK;
            }
        ck_assert_uint_gt(n_good, 10 * len);
    }
}
END_TEST

START_TEST(shapes_that_are_too_large_are_read_by_the_grammar)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    struct dgf_archive_line line;
    struct dgf_shapes shapes;

    dgf_shapes_init(&shapes);
    for (unsigned n = 1; n < 300; n += 7) {
        dgf_buf_init(&text, 65536);
        dgf_buf_addf(&text, "{\"seq\":1");
        for (unsigned i = 0; i < n; i++)
            dgf_buf_addf(&text, ",\"a key of some length %u\":[%u,\"x\",null]", i, i);
        dgf_buf_addf(&text, "}");
        ck_assert_int_eq(read_line(&shapes, dgf_buf_str(&text), &line), DGF_LINE_OK);
        ck_assert_uint_eq(line.seq.len, 1);
        dgf_buf_release(&text);
    }
}
END_TEST

START_TEST(the_index_of_a_line_of_ours_is_read_without_json)
{
    uint64_t seq = 0;

    ck_assert(dgf_archive_line_seq(DGF_BYTES("{\"v\":1,\"seq\":42,"), &seq));
    ck_assert_uint_eq(seq, 42);
    ck_assert(!dgf_archive_line_seq(DGF_BYTES("{\"v\":1,\"seq\":42}"), &seq));
    ck_assert(!dgf_archive_line_seq(DGF_BYTES("{\"v\":1,\"seq\":,"), &seq));
    ck_assert(!dgf_archive_line_seq(DGF_BYTES("{\"v\":2,\"seq\":42,"), &seq));
    ck_assert(!dgf_archive_line_seq(DGF_BYTES("{\"v\":1,\"seq\":99999999999999999999,"),
                                    &seq));
}
END_TEST

DGF_UNIT(archive_line, json_is_told_from_what_is_none,
         a_line_may_be_nested_64_deep_and_no_deeper,
         fields_are_those_of_the_outermost_object_and_the_last_of_a_name_counts,
         a_known_shape_takes_other_values_and_nothing_else,
         no_byte_can_be_changed_so_that_shape_and_grammar_disagree,
         shapes_that_are_too_large_are_read_by_the_grammar,
         the_index_of_a_line_of_ours_is_read_without_json)
