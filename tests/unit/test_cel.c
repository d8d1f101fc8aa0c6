/* Expressions: tests/data/cel.txt, and what one line cannot say: limits, the
 * budget, positions, what a program uses. */
#include "cel/cel.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "unit.h"

enum { X, NAME, U, NOTHING, ROW, N_VARS };

/* What the lines of cel.txt may name. */
static struct dgf_cel_value vars[N_VARS];
static struct dgf_arena bound;

static struct dgf_cel_value text_of(const char *text)
{
    return dgf_cel_string(dgf_bytes_str(text));
}

static void bind(void)
{
    static struct dgf_cel_value pairs[16], items[3], inner[2], decimal;

    dgf_arena_init(&bound, 1 << 20);
    ck_assert(dgf_cel_decimal_of(DGF_BYTES("12.50"), &bound, &decimal));
    for (int i = 0; i < 3; i++)
        items[i] = dgf_cel_int(i + 1);
    inner[0] = text_of("k");
    inner[1] = text_of("v");
    memcpy(pairs,
           (struct dgf_cel_value[]){
               text_of("a"), dgf_cel_int(1), text_of("n"), dgf_cel_null(), text_of("s"),
               text_of("text"), text_of("d"), decimal, text_of("t"),
               dgf_cel_timestamp(1772442000, 0), text_of("toast"),
               dgf_cel_unknown("toast", 1), text_of("l"),
               dgf_cel_list_of(dgf_cel_list_new(&bound, items, 3)), text_of("j"),
               dgf_cel_map_of(dgf_cel_map_new(&bound, inner, 1))},
           sizeof(pairs));
    vars[X] = dgf_cel_int(5);
    vars[NAME] = text_of("Ada");
    vars[U] = dgf_cel_unknown("u", 1);
    vars[NOTHING] = dgf_cel_null();
    vars[ROW] = dgf_cel_map_of(dgf_cel_map_new(&bound, pairs, 8));
}

static struct dgf_cel_env *env_of(unsigned flags)
{
    static const struct {
        const char *name;
        const struct dgf_cel_type *type;
    } names[N_VARS] = {{"x", &dgf_cel_t_int},
                       {"name", &dgf_cel_t_string},
                       {"u", &dgf_cel_t_dyn},
                       {"nothing", &dgf_cel_t_dyn},
                       {"row", &dgf_cel_t_map_string}};
    struct dgf_cel_env *env = dgf_cel_env_new(flags, NULL);
    struct dgf_err err;

    ck_assert_ptr_nonnull(env);
    for (unsigned i = 0; i < N_VARS; i++)
        ck_assert_int_eq(dgf_cel_env_var(env, names[i].name, names[i].type, i, &err),
                         DGF_OK);
    return env;
}

static struct dgf_cel_program *compiled(const struct dgf_cel_env *env, const char *text,
                                        struct dgf_cel_issues *issues)
{
    struct dgf_cel_program *program = NULL;
    enum dgf_rc rc = dgf_cel_compile(env, dgf_bytes_str(text), issues, &program);

    ck_assert_msg(rc == DGF_OK ? program && issues->n == 0
                               : rc == DGF_BAD_CONFIG && !program && issues->n > 0,
                  "%s", text);
    return program;
}

static struct dgf_cel_value run(const struct dgf_cel_program *program,
                                const struct dgf_cel_env *env, struct dgf_arena *arena,
                                uint64_t budget)
{
    struct dgf_cel_eval eval = {.vars = vars, .n_vars = N_VARS, .budget = budget};

    dgf_cel_eval_start(&eval, env, arena);
    return dgf_cel_run(program, &eval);
}

static void show_value(const struct dgf_cel_value *value, struct dgf_buf *out)
{
    if (value->kind == DGF_CEL_ERROR)
        dgf_buf_addf(out, "error: %s", value->error->text);
    else if (value->kind == DGF_CEL_UNKNOWN)
        dgf_buf_addf(out, "unknown of %s", value->text);
    else
        dgf_cel_show(value, out);
}

/* What one line says is what comes out: value, unknown, error or issue. */
static void result_of(const struct dgf_cel_env *env, const char *text,
                      struct dgf_buf *out)
{
    struct dgf_cel_program *program;
    struct dgf_cel_issues issues;
    struct dgf_cel_value value;
    struct dgf_arena arena;

    dgf_cel_issues_init(&issues);
    dgf_arena_init(&arena, 1 << 20);
    program = compiled(env, text, &issues);
    if (program) {
        value = run(program, env, &arena, DGF_CEL_BUDGET);
        show_value(&value, out);
    } else {
        dgf_buf_addf(out, "%s %s", issues.list[0].code, issues.list[0].text);
        if (issues.list[0].suggestion)
            dgf_buf_addf(out, " => %s", issues.list[0].suggestion);
    }
    dgf_cel_program_free(program);
    dgf_arena_release(&arena);
    dgf_cel_issues_release(&issues);
}

START_TEST(each_line_of_the_data_gives_its_result)
{
    const char *top = getenv("srcdir");
    char path[512], line[1024];
    unsigned n = 0, wrong = 0, n_policy = 0;
    struct dgf_cel_env *env = env_of(0);
    struct dgf_buf out;
    bool policy = false;
    FILE *file;

    bind();
    snprintf(path, sizeof(path), "%s/tests/data/cel.txt", top ? top : ".");
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot read %s", path);
    dgf_buf_init(&out, 1 << 20);
    while (fgets(line, sizeof(line), file)) {
        char *arrow = strstr(line, " => ");

        line[strcspn(line, "\n")] = '\0';
        if (!*line || *line == '#')
            continue;
        if (strcmp(line, "[policy]") == 0 || strcmp(line, "[plain]") == 0) {
            policy = line[2] == 'o';
            dgf_cel_env_free(env);
            env = env_of(policy ? DGF_CEL_POLICY : 0);
            continue;
        }
        ck_assert_msg(arrow != NULL, "no result: %s", line);
        *arrow = '\0';
        dgf_buf_clear(&out);
        result_of(env, line, &out);
        if (strcmp(dgf_buf_str(&out), arrow + 4) != 0) {
            printf("%s%s\n  wanted %s\n  got    %s\n", line, policy ? "  (policy)" : "",
                   arrow + 4, dgf_buf_str(&out));
            wrong++;
        }
        n++;
        n_policy += policy;
    }
    fclose(file);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_ge(n, 150);
    ck_assert_uint_ge(n_policy, 40);
    dgf_buf_release(&out);
    dgf_cel_env_free(env);
    dgf_arena_release(&bound);
}
END_TEST

/* ---- limits ---- */

static void refused(const char *text, const char *code, const char *wanted)
{
    struct dgf_cel_env *env = env_of(0);
    struct dgf_cel_issues issues;

    dgf_cel_issues_init(&issues);
    ck_assert_ptr_null(compiled(env, text, &issues));
    ck_assert_msg(strcmp(issues.list[0].code, code) == 0 &&
                      strcmp(issues.list[0].text, wanted) == 0,
                  "wanted %s %s, got %s %s, for %.40s", code, wanted,
                  issues.list[0].code, issues.list[0].text, text);
    dgf_cel_issues_release(&issues);
    dgf_cel_env_free(env);
}

/* before N times, middle, after N times. */
static char *repeated(const char *before, const char *middle, const char *after, int n)
{
    struct dgf_buf out;
    char *text;

    dgf_buf_init(&out, 1 << 20);
    for (int i = 0; i < n; i++)
        dgf_buf_add_str(&out, before);
    dgf_buf_add_str(&out, middle);
    for (int i = 0; i < n; i++)
        dgf_buf_add_str(&out, after);
    ck_assert_int_eq(dgf_buf_rc(&out), DGF_OK);
    text = strdup(dgf_buf_str(&out));
    dgf_buf_release(&out);
    return text;
}

START_TEST(hostile_sizes_are_refused_by_name)
{
    static const struct {
        const char *before, *middle, *after;
        int n;
        const char *code, *text;
    } rows[] = {
        {"", "1", " + 1", 3000, "E0305", "the expression is longer than 8192 bytes"},
        {"(", "1", ")", 65, "E0305", "nested deeper than 64 levels"},
        {"[", "1", "]", 65, "E0305", "nested deeper than 64 levels"},
        {"!", "true", "", 4000, "E0305", "nested deeper than 64 levels"},
        {"-", "x", "", 4000, "E0305", "nested deeper than 64 levels"},
        {"true ? 1 : ", "2", "", 100, "E0305", "nested deeper than 64 levels"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(rows); i++) {
        char *text = repeated(rows[i].before, rows[i].middle, rows[i].after, rows[i].n);

        refused(text, rows[i].code, rows[i].text);
        free(text);
    }
}
END_TEST

START_TEST(a_long_regular_expression_is_refused)
{
    char *text = repeated("", "name.matches(\"", "a", 1001), *whole;
    struct dgf_buf out;

    dgf_buf_init(&out, 1 << 16);
    dgf_buf_addf(&out, "%s\")", text);
    whole = strdup(dgf_buf_str(&out));
    refused(whole, "E0308", "the regular expression is longer than 1000 characters");
    free(whole);
    free(text);
    dgf_buf_release(&out);
}
END_TEST

/* ---- the budget ---- */

static struct dgf_cel_value run_text(const char *text, unsigned flags, size_t room,
                                     char *ret_error, size_t size)
{
    struct dgf_cel_env *env = env_of(flags);
    struct dgf_cel_program *program;
    struct dgf_cel_issues issues;
    struct dgf_cel_value value;
    struct dgf_arena arena;

    bind();
    dgf_cel_issues_init(&issues);
    dgf_arena_init(&arena, room);
    program = compiled(env, text, &issues);
    ck_assert_ptr_nonnull(program);
    value = run(program, env, &arena, DGF_CEL_BUDGET);
    *ret_error = '\0';
    if (value.kind == DGF_CEL_ERROR)
        snprintf(ret_error, size, "%s%s", value.error->text,
                 value.error->budget ? "" : " (absorbed by others)");
    dgf_cel_program_free(program);
    dgf_cel_issues_release(&issues);
    dgf_arena_release(&arena);
    dgf_arena_release(&bound);
    dgf_cel_env_free(env);
    return value;
}

static const char cubed[] =
    "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all("
    "c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, a + b + c + d + e >= 0)))))";

START_TEST(an_expression_that_costs_too_much_ends_within_its_budget)
{
    int64_t began = dgf_clock_mono_ns();
    char error[128];

    run_text(cubed, 0, 64 << 20, error, sizeof(error));
    ck_assert_str_eq(error, "the cost budget of one evaluation is used up");
    /* Bounded however slow the machine and the sanitizer: 100,000 steps. */
    ck_assert_int_lt(dgf_clock_mono_ns() - began, 2000000000);
}
END_TEST

START_TEST(nothing_absorbs_a_budget_that_is_used_up)
{
    char error[128], text[512];

    snprintf(text, sizeof(text), "true || %s", cubed);
    ck_assert_int_eq(run_text(text, 0, 64 << 20, error, sizeof(error)).kind,
                     DGF_CEL_BOOL);
    snprintf(text, sizeof(text), "%s || true", cubed);
    run_text(text, 0, 64 << 20, error, sizeof(error));
    ck_assert_str_eq(error, "the cost budget of one evaluation is used up");
}
END_TEST

START_TEST(texts_that_double_end_at_the_arena_or_the_budget)
{
    char error[128];

    run_text("[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, "
             "[1,2,3,4,5,6,7,8,9,10].map(c, name + name + name + string(a * b * c))))",
             0, 4096, error, sizeof(error));
    ck_assert_str_eq(error, "the memory of one evaluation is used up");
}
END_TEST

/* ---- where an issue is ---- */

START_TEST(every_issue_is_shown_with_its_place)
{
    static const char text[] = "x > 1 &&\n  nam == 'a' || siz(name) > 2";
    struct dgf_cel_env *env = env_of(0);
    struct dgf_cel_issues issues;
    struct dgf_buf out;

    dgf_cel_issues_init(&issues);
    dgf_buf_init(&out, 1 << 16);
    ck_assert_ptr_null(compiled(env, text, &issues));
    ck_assert_uint_eq(issues.n, 2);
    for (size_t i = 0; i < issues.n; i++) {
        dgf_cel_issue_show(&issues.list[i], dgf_bytes_str(text), &out);
        dgf_buf_add_byte(&out, '\n');
    }
    ck_assert_str_eq(dgf_buf_str(&out), "unknown name 'nam'; did you mean 'name'?\n"
                                        "    nam == 'a' || siz(name) > 2\n"
                                        "    ^~~\n"
                                        "unknown function 'siz'; did you mean 'size'?\n"
                                        "    nam == 'a' || siz(name) > 2\n"
                                        "                  ^~~\n");
    dgf_buf_release(&out);
    dgf_cel_issues_release(&issues);
    dgf_cel_env_free(env);
}
END_TEST

START_TEST(a_runtime_error_names_the_part_that_failed)
{
    static const char text[] = "x == 5 && 10 / (x - 5) > 1";
    struct dgf_cel_env *env = env_of(0);
    struct dgf_cel_issues issues;
    struct dgf_cel_program *program;
    struct dgf_cel_value value;
    struct dgf_arena arena;

    bind();
    dgf_cel_issues_init(&issues);
    dgf_arena_init(&arena, 1 << 20);
    program = compiled(env, text, &issues);
    value = run(program, env, &arena, DGF_CEL_BUDGET);
    ck_assert_int_eq(value.kind, DGF_CEL_ERROR);
    ck_assert_uint_eq(value.error->len, strlen("10 / (x - 5)"));
    ck_assert_int_eq(
        strncmp(text + value.error->offset, "10 / (x - 5)", value.error->len), 0);
    dgf_cel_program_free(program);
    dgf_arena_release(&arena);
    dgf_arena_release(&bound);
    dgf_cel_issues_release(&issues);
    dgf_cel_env_free(env);
}
END_TEST

/* ---- what a program touches ---- */

START_TEST(a_program_says_what_it_uses)
{
    struct dgf_cel_env *env = env_of(DGF_CEL_POLICY);
    const struct dgf_cel_use *uses;
    const struct dgf_cel_equality *equalities;
    struct dgf_cel_issues issues;
    struct dgf_cel_program *program;
    struct dgf_buf out;
    size_t n;

    dgf_cel_issues_init(&issues);
    dgf_buf_init(&out, 1 << 16);
    program =
        compiled(env,
                 "row.s == 'text' && x == 5 && (row.j.k == 'v' || size(name) > 2) && "
                 "!missing(row.n)",
                 &issues);
    n = dgf_cel_program_uses(program, &uses);
    for (size_t i = 0; i < n; i++) {
        if (uses[i].var)
            dgf_buf_addf(&out, "%s%s%s%s ", uses[i].var, *uses[i].path ? "." : "",
                         uses[i].path, uses[i].presence ? "?" : "");
        else
            dgf_buf_addf(&out, "%s() ", uses[i].function);
    }
    ck_assert_str_eq(dgf_buf_str(&out), "row.s x row.j.k size() name row.n? ");
    n = dgf_cel_program_equalities(program, &equalities);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(equalities[0].path, "s");
    ck_assert_str_eq(equalities[1].var, "x");
    ck_assert_int_eq(equalities[1].constant.i64, 5);
    dgf_cel_program_free(program);
    dgf_buf_release(&out);
    dgf_cel_issues_release(&issues);
    dgf_cel_env_free(env);
}
END_TEST

static unsigned asked;

static bool resolve(struct dgf_cel_eval *eval, unsigned slot, struct dgf_cel_value *ret)
{
    (void)eval;
    asked++;
    if (slot != X)
        return false;
    *ret = dgf_cel_int(5);
    return true;
}

START_TEST(a_variable_is_resolved_once_and_a_let_evaluated_once)
{
    struct dgf_cel_env *env = env_of(0);
    struct dgf_cel_value unset[N_VARS] = {{0}}, value;
    struct dgf_cel_eval eval = {
        .vars = unset, .n_vars = N_VARS, .resolve = resolve, .budget = DGF_CEL_BUDGET};
    struct dgf_cel_program *program;
    struct dgf_cel_issues issues;
    struct dgf_arena arena;
    struct dgf_err err;
    uint64_t once, twice;

    dgf_cel_issues_init(&issues);
    dgf_arena_init(&arena, 1 << 20);
    program = compiled(env, "[1, 2, 3, 4, 5, 6, 7, 8].exists(i, i == x + 3)", &issues);
    ck_assert_int_eq(dgf_cel_env_let(env, "big", program, &err), DGF_OK);
    program = compiled(env, "big && big && x == 5", &issues);
    asked = 0;
    dgf_cel_eval_start(&eval, env, &arena);
    value = dgf_cel_run(program, &eval);
    ck_assert(value.kind == DGF_CEL_BOOL && value.boolean);
    ck_assert_uint_eq(asked, 1);
    once = DGF_CEL_BUDGET - eval.budget;
    dgf_cel_program_free(program);
    program = compiled(env, "big && x == 5", &issues);
    eval.budget = DGF_CEL_BUDGET;
    dgf_cel_eval_start(&eval, env, &arena);
    value = dgf_cel_run(program, &eval);
    twice = DGF_CEL_BUDGET - eval.budget;
    ck_assert_uint_le(once, twice + 8); /* naming it again costs next to nothing */
    dgf_cel_program_free(program);
    program = compiled(env, "name == 'a'", &issues);
    value = dgf_cel_run(program, &eval);
    ck_assert_int_eq(value.kind, DGF_CEL_ERROR);
    ck_assert_str_eq(value.error->text, "a variable has no value");
    dgf_cel_program_free(program);
    dgf_arena_release(&arena);
    dgf_cel_issues_release(&issues);
    dgf_cel_env_free(env);
}
END_TEST

START_TEST(names_are_declared_once)
{
    struct dgf_cel_env *env = env_of(0);
    struct dgf_err err;

    ck_assert_int_eq(dgf_cel_env_var(env, "x", &dgf_cel_t_int, 1, &err),
                     DGF_BAD_CONFIG);
    ck_assert_int_eq(dgf_cel_env_var(env, "1x", &dgf_cel_t_int, 1, &err),
                     DGF_BAD_CONFIG);
    dgf_cel_env_free(env);
}
END_TEST

DGF_UNIT(cel, each_line_of_the_data_gives_its_result, hostile_sizes_are_refused_by_name,
         a_long_regular_expression_is_refused,
         an_expression_that_costs_too_much_ends_within_its_budget,
         nothing_absorbs_a_budget_that_is_used_up,
         texts_that_double_end_at_the_arena_or_the_budget,
         every_issue_is_shown_with_its_place,
         a_runtime_error_names_the_part_that_failed, a_program_says_what_it_uses,
         a_variable_is_resolved_once_and_a_let_evaluated_once, names_are_declared_once)
