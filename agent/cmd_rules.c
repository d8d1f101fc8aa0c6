/* cmd_rules.c - check, test and explain policies, without any database. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "cmd.h"
#include "policy_test.h"
#include "settings.h"

const struct dgf_arg dgf_args_rules[] = {
    DGF_ARG_CONFIG,
    {"format", 'f', "FORMAT", "human, json, sarif or junit"},
    {"coverage", 0, NULL, "test: name the policies no test made fire, or pass"},
    DGF_ARG_END,
};

#define OUT_MAX ((size_t)64 << 20)

struct asked {
    struct dgf_args args;
    enum dgf_findings_format format;
    struct dgf_settings *settings; /* NULL: files alone */
    const char **names, **types;   /* of its sources */
    const char *const *paths;
    size_t n_paths;
    struct dgf_policy_world world;
};

static bool is_unreadable(const struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++)
        if (strcmp(findings->list[i].code, "E0444") == 0 ||
            strcmp(findings->list[i].code, "E0101") == 0)
            return true;
    return false;
}

static int exit_of(const struct dgf_findings *findings)
{
    if (findings->nomem || is_unreadable(findings))
        return DGF_EXIT_CANNOT;
    return findings->n_errors || findings->n_warnings ? DGF_EXIT_FINDINGS : DGF_EXIT_OK;
}

static void print(const struct dgf_findings *findings, enum dgf_findings_format format)
{
    struct dgf_buf out;

    dgf_buf_init(&out, OUT_MAX);
    dgf_findings_print(findings, format,
                       format == DGF_FINDINGS_HUMAN && dgf_colour(stdout), &out);
    (void)dgf_buf_write(&out, stdout);
    dgf_buf_release(&out);
}

static int read_format(struct asked *asked)
{
    static const char *const words[] = {"human", "json", "sarif", "junit"};
    const char *word = dgf_args_get(&asked->args, "format");

    asked->format = DGF_FINDINGS_HUMAN;
    for (size_t i = 0; word && i < DGF_ARRAY_LEN(words); i++)
        if (strcmp(words[i], word) == 0) {
            asked->format = (enum dgf_findings_format)i;
            return 0;
        }
    return word ? dgf_usage("rules", "--format must be human, json, sarif or junit")
                : 0;
}

/* The world of the configuration, and its policies when no path was given. */
static int read_config(struct asked *asked, struct dgf_findings *findings)
{
    const char *path = dgf_args_get(&asked->args, "config");
    size_t n;

    asked->world.now_ns = dgf_clock_ns();
    asked->paths = (const char *const *)asked->args.operands + 1;
    asked->n_paths = (size_t)asked->args.n_operands - 1;
    if (!path && asked->n_paths == 0)
        return dgf_usage("rules",
                         "name the files or folders, or a configuration with -c");
    if (!path)
        return 0;
    if (dgf_settings_load(path, findings, &asked->settings)) {
        print(findings, asked->format);
        return DGF_EXIT_CONFIG;
    }
    n = asked->settings->n_sources;
    asked->names = dgf_calloc(n + 1, sizeof(*asked->names));
    asked->types = dgf_calloc(n + 1, sizeof(*asked->types));
    if (!asked->names || !asked->types)
        return DGF_EXIT_CANNOT;
    for (size_t i = 0; i < n; i++) {
        asked->names[i] = asked->settings->sources[i].name;
        asked->types[i] = asked->settings->sources[i].type->name;
    }
    asked->world.source_names = asked->names;
    asked->world.source_types = asked->types;
    asked->world.n_sources = n;
    asked->world.config = asked->settings->doc;
    if (asked->n_paths == 0) {
        asked->paths = (const char *const *)asked->settings->policies.list;
        asked->n_paths = asked->settings->policies.n;
    }
    return 0;
}

/* Nothing to check is a mistake: a wrong folder would be fine for ever. */
static void want_policies(const struct asked *asked, const struct dgf_policy_set *set,
                          struct dgf_findings *findings)
{
    struct dgf_mark mark = {.file = asked->n_paths == 1 ? asked->paths[0] : NULL};

    if (dgf_policy_set_count(set) > 0)
        return;
    if (mark.file && dgf_policy_is_test_file(mark.file))
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0444", mark, NULL,
                         "there is no policy here: it is a file of tests, run by 'dgf "
                         "rules test %s'",
                         mark.file);
    else
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0444", mark, NULL,
                         "there is no policy here");
}

/* ---- check ---- */

static int check(struct asked *asked, struct dgf_findings *findings)
{
    struct dgf_policy_set *set = NULL;
    enum dgf_rc rc = dgf_policy_set_load(asked->paths, asked->n_paths, &asked->world,
                                         findings, &set);

    if (rc == DGF_OK)
        want_policies(asked, set, findings);
    print(findings, asked->format);
    if (rc == DGF_NOMEM || findings->nomem) {
        fprintf(stderr, "dgf rules: cannot load policies: out of memory\n");
        dgf_policy_set_unref(set);
        return DGF_EXIT_CANNOT;
    }
    if (asked->format == DGF_FINDINGS_HUMAN && findings->n_errors == 0)
        printf("%zu policies, %zu warnings; not checked, since no database was asked: "
               "names and types of columns, what the sources give (DGF-COV-1 in the "
               "ledger says what does not fit)\n",
               dgf_policy_set_count(set), findings->n_warnings);
    else if (asked->format == DGF_FINDINGS_HUMAN)
        printf("%zu errors, %zu warnings\n", findings->n_errors, findings->n_warnings);
    dgf_policy_set_unref(set);
    return exit_of(findings);
}

/* ---- test ---- */

struct cases {
    enum dgf_findings_format format;
    struct dgf_buf buf; /* JSON items or JUnit cases */
    struct dgf_json json;
};

static void add_xml(struct dgf_buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            dgf_buf_add_str(out, "&lt;");
        else if (*text == '&')
            dgf_buf_add_str(out, "&amp;");
        else if (*text == '"')
            dgf_buf_add_str(out, "&quot;");
        else
            dgf_buf_add_byte(out, (uint8_t)*text < 0x20 ? ' ' : (uint8_t)*text);
    }
}

static void add_junit(struct dgf_buf *out, const struct dgf_policy_case *one)
{
    dgf_buf_add_str(out, "  <testcase classname=\"");
    add_xml(out, one->file);
    dgf_buf_add_str(out, "\" name=\"");
    add_xml(out, one->name);
    dgf_buf_add_str(out, one->failure ? "\">\n    <failure message=\"" : "\"/>\n");
    if (!one->failure)
        return;
    add_xml(out, one->failure);
    dgf_buf_addf(out, "\">line %u</failure>\n  </testcase>\n", one->line);
}

static void add_json(struct dgf_json *json, const struct dgf_policy_case *one)
{
    dgf_json_begin_object(json);
    dgf_json_key(json, "file");
    dgf_json_str(json, one->file);
    dgf_json_key(json, "line");
    dgf_json_u64(json, one->line);
    dgf_json_key(json, "name");
    dgf_json_str(json, one->name);
    dgf_json_key(json, "ok");
    dgf_json_bool(json, !one->failure);
    if (one->failure) {
        dgf_json_key(json, "failure");
        dgf_json_str(json, one->failure);
    }
    dgf_json_end_object(json);
}

static void on_case(void *ctx, const struct dgf_policy_case *one)
{
    struct cases *cases = ctx;

    if (cases->format == DGF_FINDINGS_JUNIT)
        add_junit(&cases->buf, one);
    else if (cases->format == DGF_FINDINGS_JSON)
        add_json(&cases->json, one);
}

/* What kept files, examples or tests from being run, beside what was run and failed. */
static size_t add_unrun(struct dgf_buf *out, const struct dgf_findings *findings)
{
    size_t n = 0;

    for (size_t i = 0; i < findings->n; i++) {
        const struct dgf_finding *finding = &findings->list[i];
        struct dgf_policy_case one = {finding->mark.file ? finding->mark.file : "dgf",
                                      finding->code, finding->mark.line, finding->text};

        if (finding->severity != DGF_FINDING_ERROR ||
            strcmp(finding->code, "E0450") == 0 || strcmp(finding->code, "E0451") == 0)
            continue;
        add_junit(out, &one);
        n++;
    }
    return n;
}

static void print_ids(const char *what, const struct dgf_str_list *ids)
{
    for (size_t i = 0; i < ids->n; i++)
        printf("policy '%s' never %s\n", ids->list[i], what);
}

static void add_id_list(struct dgf_json *json, const char *name,
                        const struct dgf_str_list *ids)
{
    dgf_json_key(json, name);
    dgf_json_begin_array(json);
    for (size_t i = 0; i < ids->n; i++)
        dgf_json_str(json, ids->list[i]);
    dgf_json_end_array(json);
}

static void print_tests_json(struct cases *cases, const struct dgf_policy_tests *tests,
                             bool coverage)
{
    struct dgf_buf out;
    struct dgf_json json;

    dgf_buf_init(&out, OUT_MAX);
    json = dgf_json_of(&out);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "cases");
    dgf_json_begin_array(&json);
    if (cases->buf.len > 0)
        dgf_json_raw(&json, dgf_buf_bytes(&cases->buf));
    dgf_json_end_array(&json);
    dgf_json_key(&json, "examples");
    dgf_json_u64(&json, tests->n_examples);
    dgf_json_key(&json, "tests");
    dgf_json_u64(&json, tests->n_tests);
    dgf_json_key(&json, "failed");
    dgf_json_u64(&json, tests->n_failed);
    if (coverage) {
        add_id_list(&json, "never_fired", &tests->never_fired);
        add_id_list(&json, "never_passed", &tests->never_passed);
    }
    dgf_json_end_object(&json);
    (void)dgf_buf_write(&out, stdout);
    putchar('\n');
    dgf_buf_release(&out);
}

static void print_tests(struct cases *cases, const struct dgf_policy_tests *tests,
                        const struct dgf_findings *findings, bool coverage)
{
    size_t n = tests->n_examples + tests->n_tests, n_unrun;

    switch (cases->format) {
    case DGF_FINDINGS_JSON:
        print_tests_json(cases, tests, coverage);
        break;
    case DGF_FINDINGS_JUNIT:
        n_unrun = add_unrun(&cases->buf, findings);
        printf(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
            "<testsuite name=\"dgf rules test\" tests=\"%zu\" failures=\"%zu\">\n%.*s"
            "</testsuite>\n",
            n + n_unrun, tests->n_failed + n_unrun, (int)cases->buf.len,
            (const char *)cases->buf.ptr);
        break;
    default:
        print(findings, cases->format);
        if (cases->format != DGF_FINDINGS_HUMAN)
            break;
        if (coverage) {
            print_ids("fired", &tests->never_fired);
            print_ids("passed", &tests->never_passed);
        }
        printf("%zu examples, %zu tests: ", tests->n_examples, tests->n_tests);
        if (tests->n_failed > 0)
            printf("%zu failed\n", tests->n_failed);
        else
            printf("%s\n", findings->n_errors ? "some could not run"
                           : n == 0           ? "there is nothing to run"
                                              : "all hold");
    }
}

static enum dgf_rc want_anything(const struct asked *asked,
                                 struct dgf_findings *findings)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings again = {0};
    enum dgf_rc rc;

    dgf_findings_init(&again);
    rc = dgf_policy_set_load(asked->paths, asked->n_paths, &asked->world, &again, &set);
    if (!rc)
        want_policies(asked, set, findings);
    return rc || findings->n_errors == 0 ? rc : DGF_BAD_CONFIG;
}

static int test(struct asked *asked, struct dgf_findings *findings)
{
    bool coverage = dgf_args_has(&asked->args, "coverage");
    struct cases cases = {.format = asked->format};
    struct dgf_policy_tests tests = {.on_case = on_case, .ctx = &cases};
    enum dgf_rc rc;

    dgf_buf_init(&cases.buf, OUT_MAX);
    cases.json = dgf_json_of(&cases.buf);
    rc = dgf_policy_tests_run(asked->paths, asked->n_paths, &asked->world, findings,
                              &tests);
    if (!rc && tests.n_examples + tests.n_tests == 0)
        rc = want_anything(asked, findings);
    if (rc == DGF_NOMEM)
        fprintf(stderr, "dgf rules: cannot run the tests: out of memory\n");
    else
        print_tests(&cases, &tests, findings, coverage);
    dgf_buf_release(&cases.buf);
    dgf_policy_tests_release(&tests);
    if (rc == DGF_NOMEM)
        return DGF_EXIT_CANNOT;
    /* what is only a warning is no failed test */
    return findings->n_errors ? exit_of(findings) : DGF_EXIT_OK;
}

/* ---- explain, schema ---- */

static int explain(const struct asked *asked)
{
    const char *title, *text;
    int exit_code = DGF_EXIT_OK;

    if (asked->args.n_operands < 2)
        return dgf_usage("rules", "explain needs a code, such as E0428");
    for (int i = 1; i < asked->args.n_operands; i++) {
        const char *code = asked->args.operands[i];

        if (dgf_code_explain(code, &title, &text)) {
            printf("%s%s: %s\n%s\n", i > 1 ? "\n" : "", code, title, text);
        } else {
            fprintf(stderr, "dgf rules: there is no code '%s'\n", code);
            exit_code = DGF_EXIT_CANNOT;
        }
    }
    return exit_code;
}

static int schema(void)
{
    struct dgf_buf out;
    enum dgf_rc rc;

    dgf_buf_init(&out, 1 << 20);
    dgf_policy_schema(&out);
    rc = dgf_buf_rc(&out);
    if (!rc)
        (void)dgf_buf_write(&out, stdout);
    dgf_buf_release(&out);
    return rc ? DGF_EXIT_CANNOT : DGF_EXIT_OK;
}

static int with_files(struct asked *asked,
                      int (*run)(struct asked *asked, struct dgf_findings *findings))
{
    struct dgf_findings findings;
    int exit_code;

    dgf_findings_init(&findings);
    exit_code = read_config(asked, &findings);
    if (!exit_code)
        exit_code = run(asked, &findings);
    dgf_findings_release(&findings);
    dgf_settings_free(asked->settings);
    dgf_free(asked->names);
    dgf_free(asked->types);
    return exit_code;
}

int dgf_cmd_rules(int argc, char **argv)
{
    struct asked asked = {.n_paths = 0};
    int exit_code = dgf_args_read("rules", dgf_args_rules, argc, argv, &asked.args);
    const char *word;

    if (!exit_code)
        exit_code = read_format(&asked);
    if (exit_code)
        return exit_code;
    if (asked.args.n_operands == 0)
        return dgf_usage("rules", "say what to do: check, test, explain or schema");
    word = asked.args.operands[0];
    if (strcmp(word, "check") == 0)
        return with_files(&asked, check);
    if (strcmp(word, "test") == 0)
        return with_files(&asked, test);
    if (strcmp(word, "explain") == 0)
        return explain(&asked);
    if (strcmp(word, "schema") == 0)
        return schema();
    return dgf_usage("rules", "'%s' is none of check, test, explain and schema", word);
}
