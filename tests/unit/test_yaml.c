#include "base/yaml.h"

#include <math.h>
#include <stdio.h>

#include "unit.h"

static struct dgf_findings findings;
static struct dgf_yaml *doc;

static void end(void)
{
    dgf_yaml_free(doc);
    doc = NULL;
    dgf_findings_release(&findings);
}

static struct dgf_yaml_node *parsed(const char *text)
{
    end();
    dgf_findings_init(&findings);
    ck_assert_msg(dgf_yaml_parse("x.yaml", dgf_bytes_str(text), &findings, &doc) ==
                      DGF_OK,
                  "%s: %s", text, findings.n ? findings.list[0].text : "");
    return dgf_yaml_root(doc);
}

static const char *refused(struct dgf_bytes text)
{
    static struct dgf_buf out;

    end();
    dgf_findings_init(&findings);
    ck_assert_int_eq(dgf_yaml_parse("x.yaml", text, &findings, &doc), DGF_BAD_CONFIG);
    dgf_buf_release(&out);
    dgf_buf_init(&out, 1 << 22);
    dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, false, &out);
    return dgf_buf_str(&out);
}

static const struct {
    const char *text;
    enum dgf_yaml_kind kind;
    double number;
} scalars[] = {
    {"null", DGF_YAML_NULL, 0},
    {"~", DGF_YAML_NULL, 0},
    {"true", DGF_YAML_BOOL, 1},
    {"False", DGF_YAML_BOOL, 0},
    {"yes", DGF_YAML_STR, 0},
    {"no", DGF_YAML_STR, 0},
    {"on", DGF_YAML_STR, 0},
    {"off", DGF_YAML_STR, 0},
    {"y", DGF_YAML_STR, 0},
    {"tRUE", DGF_YAML_STR, 0},
    {"0", DGF_YAML_INT, 0},
    {"-17", DGF_YAML_INT, -17},
    {"+17", DGF_YAML_INT, 17},
    {"010", DGF_YAML_INT, 10},
    {"0o17", DGF_YAML_INT, 15},
    {"0x1F", DGF_YAML_INT, 31},
    {"1_000", DGF_YAML_STR, 0},
    {"0b1", DGF_YAML_STR, 0},
    {"12:30", DGF_YAML_STR, 0},
    {"2026-03-02", DGF_YAML_STR, 0},
    {"1.5", DGF_YAML_FLOAT, 1.5},
    {"-.5e2", DGF_YAML_FLOAT, -50},
    {"1.", DGF_YAML_FLOAT, 1},
    {"1e3", DGF_YAML_FLOAT, 1000},
    {".", DGF_YAML_STR, 0},
    {"e3", DGF_YAML_STR, 0},
    {"1e", DGF_YAML_STR, 0},
    {"+", DGF_YAML_STR, 0},
    {"0x", DGF_YAML_STR, 0},
    {"0o8", DGF_YAML_STR, 0},
    {"1.2.3", DGF_YAML_STR, 0},
    {"\"1\"", DGF_YAML_STR, 0},
    {"'true'", DGF_YAML_STR, 0},
    {"=", DGF_YAML_STR, 0},
    {"5s", DGF_YAML_STR, 0},
    {"9223372036854775807", DGF_YAML_INT, 9223372036854775807.0},
};

START_TEST(plain_scalars_have_the_types_of_the_core_schema)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(scalars); i++) {
        char text[100];
        struct dgf_yaml_node *node;

        (void)snprintf(text, sizeof(text), "k: %s", scalars[i].text);
        node = dgf_yaml_get(parsed(text), "k");
        ck_assert_msg(node->kind == scalars[i].kind, "%s", scalars[i].text);
        if (node->kind == DGF_YAML_BOOL)
            ck_assert_int_eq(node->boolean, scalars[i].number != 0);
        else
            ck_assert_double_eq(node->dbl, scalars[i].number);
        if (node->kind == DGF_YAML_INT)
            ck_assert_double_eq((double)node->i64, scalars[i].number);
        if (node->plain)
            ck_assert_str_eq(node->text, scalars[i].text);
    }
    ck_assert(isinf(dgf_yaml_get(parsed("k: -.Inf"), "k")->dbl));
    ck_assert(isnan(dgf_yaml_get(parsed("k: .nan"), "k")->dbl));
    ck_assert_int_eq(dgf_yaml_get(parsed("k:"), "k")->kind, DGF_YAML_NULL);
    end();
}
END_TEST

START_TEST(every_node_knows_its_place)
{
    struct dgf_yaml_node *root =
        parsed("a: 1\nb:\n  - x\n  - \"yy\"\nc\xc3\xa9: {d: e}\n");
    struct dgf_yaml_node *list = dgf_yaml_get(root, "b");

    ck_assert_int_eq(root->kind, DGF_YAML_MAP);
    ck_assert_uint_eq(root->n, 3);
    ck_assert_str_eq(root->keys[1]->text, "b");
    ck_assert_uint_eq(root->keys[1]->mark.line, 2);
    ck_assert_uint_eq(root->keys[1]->mark.col, 1);
    ck_assert_int_eq(list->kind, DGF_YAML_LIST);
    ck_assert_uint_eq(list->n, 2);
    ck_assert_uint_eq(list->items[1]->mark.line, 4);
    ck_assert_uint_eq(list->items[1]->mark.col, 5);
    ck_assert_uint_eq(list->items[1]->mark.len, 4);
    ck_assert_str_eq(list->items[1]->mark.file, "x.yaml");
    ck_assert(list->items[0]->plain && !list->items[1]->plain);
    ck_assert_uint_eq(dgf_yaml_get(dgf_yaml_get(root, "c\xc3\xa9"), "d")->mark.col, 9);
    ck_assert_ptr_null(dgf_yaml_get(root, "z"));
    ck_assert_ptr_null(dgf_yaml_get(list, "z"));
    ck_assert_ptr_null(dgf_yaml_get(NULL, "z"));
    ck_assert_str_eq(dgf_yaml_line(doc, 4), "  - \"yy\"");
    ck_assert_str_eq(dgf_yaml_line(doc, 6), "");
    ck_assert_ptr_null(dgf_yaml_line(doc, 0));
    ck_assert_ptr_null(dgf_yaml_line(doc, 7));
    end();
}
END_TEST

START_TEST(a_comment_behind_a_plain_scalar_is_noticed)
{
    struct dgf_yaml_node *root =
        parsed("a: x == 1 # y\nb: \"x\" # y\nc: x#y\nd: x\n# y\ne: \xc3\xa9 \t# z\n");

    ck_assert(dgf_yaml_get(root, "a")->comment_after);
    ck_assert_str_eq(dgf_yaml_get(root, "a")->text, "x == 1");
    ck_assert(!dgf_yaml_get(root, "b")->comment_after);
    ck_assert(!dgf_yaml_get(root, "c")->comment_after);
    ck_assert(!dgf_yaml_get(root, "d")->comment_after);
    ck_assert(dgf_yaml_get(root, "e")->comment_after);
    end();
}
END_TEST

START_TEST(an_empty_file_has_no_root)
{
    ck_assert_ptr_null(parsed(""));
    ck_assert_ptr_null(parsed("# nothing\n"));
    ck_assert_int_eq(parsed("\xef\xbb\xbf"
                            "a: 1")
                         ->kind,
                     DGF_YAML_MAP);
    ck_assert_uint_eq(dgf_yaml_root(doc)->keys[0]->mark.col, 1);
    end();
}
END_TEST

/* Each needle is looked for in the scalar's text and must be found in the file
 * at the place given. */
static const struct {
    const char *file, *needle;
    unsigned line, col;
} places[] = {
    {"k: after.x == 1", "x", 1, 10},
    {"k: after.x\n  == one", "one", 2, 6},
    {"k: \"after.x == 1\"", "x", 1, 11},
    {"k: 'it''s x'", "x", 1, 11},
    {"k: \"a\\\"b\\n\\u00e9\\x41 x\"", "x", 1, 22},
    {"k: \"a\\\n   x\"", "x", 2, 4},
    {"k: |\n  one\n  two x\n", "x", 3, 7},
    {"k: |\n  one\n    two x\n", "x", 3, 9},
    {"k: >-\n  one\n  two\n\n  three x\n", "x", 5, 9},
    {"k: >2\n   one\n  x\n", "x", 3, 3},
    {"k: |+ # why\n\n  one x\n", "x", 3, 7},
    {"k: \xc3\xa9\xc3\xa9 x", "x", 1, 7},
    {"k: \"\xc3\xa9\xc3\xa9 x\"", "x", 1, 8},
    {"- k: >\n    a &&\n    b x", "x", 3, 7},
};

START_TEST(a_byte_of_a_scalar_is_found_in_the_file)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(places); i++) {
        struct dgf_yaml_node *root = parsed(places[i].file), *node;
        struct dgf_mark mark;
        const char *found;

        node = dgf_yaml_get(root->kind == DGF_YAML_LIST ? root->items[0] : root, "k");
        found = strstr(node->text, places[i].needle);
        ck_assert_msg(found != NULL, "%zu", i);
        mark = dgf_yaml_text_mark(doc, node, (size_t)(found - node->text), 3);
        ck_assert_msg(mark.line == places[i].line && mark.col == places[i].col,
                      "%zu: %u:%u", i, mark.line, mark.col);
        ck_assert_uint_eq(mark.len, 3);
        mark = dgf_yaml_text_mark(doc, node, 100000, 0);
        ck_assert_uint_ge(mark.line, places[i].line);
    }
    end();
}
END_TEST

static const struct {
    const char *text, *printed;
} bad[] = {
    {"a: &x 1\nb: *x\n", "x.yaml:1:4: error[E0103]: anchors are not allowed\n"
                         "    1 | a: &x 1\n"
                         "      |    ^\n"
                         "x.yaml:2:4: error[E0103]: aliases are not allowed\n"
                         "    2 | b: *x\n"
                         "      |    ^\n"},
    {"a: !x 1\nb: !!map {}\n", "x.yaml:1:4: error[E0104]: tags are not allowed\n"
                               "    1 | a: !x 1\n"
                               "      |    ^\n"
                               "x.yaml:2:4: error[E0104]: tags are not allowed\n"
                               "    2 | b: !!map {}\n"
                               "      |    ^\n"},
    {"<<: {a: 1}\n", "x.yaml:1:1: error[E0105]: merge keys are not allowed\n"
                     "    1 | <<: {a: 1}\n"
                     "      | ^~\n"},
    {"a: 1\nb: 2\n\"a\": 3\n",
     "x.yaml:3:1: error[E0106]: duplicate key 'a'; the first is in line 1\n"
     "    3 | \"a\": 3\n"
     "      | ^~~\n"},
    {"a: 1\n---\nb: 2\n",
     "x.yaml:2:1: error[E0109]: only one document is allowed in a file\n"
     "    2 | ---\n"
     "      | ^~~\n"},
    {"[a]: 1\n? {b: 1}\n: 2\n", "x.yaml:1:1: error[E0110]: a key must be a text\n"
                                "    1 | [a]: 1\n"
                                "      | ^\n"
                                "x.yaml:2:3: error[E0110]: a key must be a text\n"
                                "    2 | ? {b: 1}\n"
                                "      |   ^\n"},
    {"a: 9223372036854775808\nb: 1e999\n",
     "x.yaml:1:4: error[E0112]: number is too large; put it in quotes if it is a text\n"
     "    1 | a: 9223372036854775808\n"
     "      |    ^~~~~~~~~~~~~~~~~~~\n"
     "x.yaml:2:4: error[E0112]: number is too large; put it in quotes if it is a text\n"
     "    2 | b: 1e999\n"
     "      |    ^~~~~\n"},
    {"a: [*.customers, b]\n",
     "x.yaml:1:5: error[E0103]: a text that starts with '*' needs quotes: "
     "\"*.customers\"\n"
     "    1 | a: [*.customers, b]\n"
     "      |     ^~~~~~~~~~~\n"},
    {"**.email: c\n",
     "x.yaml:1:1: error[E0103]: a text that starts with '*' needs quotes: "
     "\"**.email\"\n"
     "    1 | **.email: c\n"
     "      | ^~~~~~~~\n"},
    {"a:\n\t- b\n", "x.yaml:2:1: error[E0102]: tabs cannot indent YAML; use spaces\n"
                    "    2 | \t- b\n"
                    "      | ^\n"},
    {"a: b\n c: d\n",
     "x.yaml:2:3: error[E0102]: invalid YAML: mapping values are not allowed "
     "in this context\n"
     "    2 |  c: d\n"
     "      |   ^\n"},
    {"a: [1, 2\n",
     "x.yaml:2:1: error[E0102]: invalid YAML: did not find expected ',' or ']' "
     "while parsing a flow sequence\n"
     "    2 | \n"
     "      | ^\n"},
    {"a: {b: ${X_1}}\n",
     "x.yaml:1:8: error[E0102]: invalid YAML: a reference within { } or [ ] needs "
     "quotes: \"${X_1}\"\n"
     "    1 | a: {b: ${X_1}}\n"
     "      |        ^~~~~\n"},
    {"a: [x, ${X:-geheim}]\n",
     "x.yaml:1:8: error[E0102]: invalid YAML: a reference within { } or [ ] needs "
     "quotes: \"${X...}\"\n"
     "    1 | a: [x, ${X:-geheim}]\n"
     "      |        ^~~\n"},
    {"ok: 1\nbad: \xff\n", "x.yaml:2: error[E0111]: this line is not UTF-8\n"},
    {"ok: 1\nbad: \x01\n",
     "x.yaml:2:6: error[E0111]: invalid YAML: control characters are not allowed\n"},
};

START_TEST(everything_unusual_is_refused_at_its_place)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(bad); i++)
        ck_assert_str_eq(refused(dgf_bytes_str(bad[i].text)), bad[i].printed);
    ck_assert_str_eq(
        refused(DGF_BYTES("a\0b: 1")),
        "x.yaml:1:2: error[E0111]: invalid YAML: control characters are not "
        "allowed\n");
    end();
}
END_TEST

START_TEST(what_is_refused_does_not_hide_the_rest)
{
    const struct dgf_yaml_node *root;

    (void)refused(
        DGF_BYTES("a: !t x\nb: 1\nb: 2\n<<: {c: 3}\nd: &e y\nf: *e\ng: 1e999\n"));
    ck_assert_uint_eq(findings.n_errors, 6);
    root = dgf_yaml_root(doc);
    ck_assert_uint_eq(root->n, 5);
    ck_assert(dgf_yaml_get(root, "a")->refused);
    ck_assert_int_eq(dgf_yaml_get(root, "b")->i64, 1);
    ck_assert_ptr_null(dgf_yaml_get(root, "<<"));
    ck_assert_str_eq(dgf_yaml_get(root, "d")->text, "y");
    ck_assert(!dgf_yaml_get(root, "d")->refused);
    ck_assert(dgf_yaml_get(root, "f")->refused);
    ck_assert(dgf_yaml_get(root, "g")->refused);
    (void)refused(DGF_BYTES("a: 1\n---\nb: 2\n"));
    ck_assert_ptr_null(doc); /* which of the two? */
    end();
}
END_TEST

START_TEST(thirty_two_levels_are_enough)
{
    char text[100];

    for (int depth = 32; depth <= 33; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth == 32)
            ck_assert_int_eq(parsed(text)->kind, DGF_YAML_LIST);
        else
            ck_assert_ptr_nonnull(
                strstr(refused(dgf_bytes_str(text)),
                       "x.yaml:1:33: error[E0107]: nested deeper than 32 "
                       "levels\n"));
    }
    end();
}
END_TEST

START_TEST(a_file_of_a_megabyte_is_read_and_a_larger_one_is_not)
{
    size_t max = 1 << 20;
    char *text = dgf_malloc(max + 1);

    memset(text, ' ', max + 1);
    ck_assert_str_eq(refused(dgf_bytes_of(text, max + 1)),
                     "x.yaml: error[E0108]: the file is larger than 1 MiB\n");
    end();
    /* one long line of items: must not take quadratic time */
    for (size_t i = 0; i + 2 <= max; i += 2)
        memcpy(text + i, i == 0 ? "[a" : i + 2 == max ? " ]" : ",a", 2);
    dgf_findings_init(&findings);
    ck_assert_int_eq(dgf_yaml_parse("x", dgf_bytes_of(text, max), &findings, &doc),
                     DGF_OK);
    ck_assert_uint_eq(dgf_yaml_root(doc)->n, max / 2 - 1);
    ck_assert_uint_eq(dgf_yaml_root(doc)->items[1000]->mark.col, 2002);
    end();
    for (size_t i = 0; i + 8 <= max; i += 8) /* and a hundred thousand mistakes */
        memcpy(text + i,
               i == 0         ? "{a: 123,"
               : i + 8 == max ? "b: 1   }"
                              : "a: 1234,",
               8);
    ck_assert_ptr_nonnull(
        strstr(refused(dgf_bytes_of(text, max)),
               "x.yaml:1:9: error[E0106]: duplicate key 'a'; the first is in "
               "line 1\n"));
    ck_assert_uint_eq(findings.n, 1000);
    ck_assert_uint_eq(findings.n_errors, max / 8 - 2);
    dgf_free(text);
    end();
}
END_TEST

START_TEST(a_file_that_is_not_there_is_a_finding)
{
    dgf_findings_init(&findings);
    ck_assert_int_eq(dgf_yaml_load("/nowhere/x.yaml", &findings, &doc), DGF_BAD_CONFIG);
    ck_assert_str_eq(findings.list[0].text,
                     "cannot read '/nowhere/x.yaml': No such file or directory");
    ck_assert_str_eq(findings.list[0].code, "E0101");
    ck_assert_str_eq(findings.list[0].mark.file, "/nowhere/x.yaml");
    end();
}
END_TEST

START_TEST(a_finding_at_a_node_shows_its_line)
{
    struct dgf_yaml_node *root = parsed("a: 1\nlong: text\n");
    struct dgf_buf out;

    dgf_yaml_finding(doc, &findings, DGF_FINDING_ERROR, "E0204", root->items[1],
                     "not %s", dgf_yaml_kind_text(DGF_YAML_INT));
    dgf_buf_init(&out, 1000);
    dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, false, &out);
    ck_assert_str_eq(dgf_buf_str(&out), "x.yaml:2:7: error[E0204]: not an integer\n"
                                        "    2 | long: text\n"
                                        "      |       ^~~~\n");
    dgf_buf_release(&out);
    end();
}
END_TEST

DGF_UNIT(yaml, plain_scalars_have_the_types_of_the_core_schema,
         every_node_knows_its_place, a_comment_behind_a_plain_scalar_is_noticed,
         an_empty_file_has_no_root, a_byte_of_a_scalar_is_found_in_the_file,
         everything_unusual_is_refused_at_its_place,
         what_is_refused_does_not_hide_the_rest, thirty_two_levels_are_enough,
         a_file_of_a_megabyte_is_read_and_a_larger_one_is_not,
         a_file_that_is_not_there_is_a_finding, a_finding_at_a_node_shows_its_line)
