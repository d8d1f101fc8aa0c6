/* An expression as anybody may write it.  The first byte chooses the language.
 * What is wrong is said at a place inside the text; what compiles was accepted
 * by the verifier, shows its instructions, and evaluates within its budget to a
 * value that can be shown, compared and written as JSON. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "cel/cel.h"
#include "cel/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

enum { X, NAME, U, ROW, N_VARS };
#define LANGUAGES 4

static struct dgf_cel_env *envs[LANGUAGES];
static struct dgf_cel_value vars[N_VARS];

/* {"a":1,"n":null,"s":"text","l":[1,2.5,"x"],"b":bin 00ff,"m":{"k":true}} */
static const char row[] = "\x86\xa1"
                          "a\x01\xa1"
                          "n\xc0\xa1"
                          "s\xa4text\xa1"
                          "l\x93\x01\xcb\x40\x04\0\0\0\0\0\0\xa1x\xa1"
                          "b\xc4\x02\0\xff\xa1"
                          "m\x81\xa1k\xc3";

static void setup(void)
{
    static const unsigned flags[LANGUAGES] = {0, DGF_CEL_POLICY, DGF_CEL_NO_CHECK,
                                              DGF_CEL_POLICY | DGF_CEL_TRACE};
    static struct dgf_arena arena;
    struct dgf_err err;

    dgf_arena_init(&arena, 1 << 20);
    for (int i = 0; i < LANGUAGES; i++) {
        envs[i] = dgf_cel_env_new(flags[i], i == 2 ? "a.b" : NULL);
        if (!envs[i] || dgf_cel_env_var(envs[i], "x", &dgf_cel_t_int, X, &err) ||
            dgf_cel_env_var(envs[i], "name", &dgf_cel_t_string, NAME, &err) ||
            dgf_cel_env_var(envs[i], "u", &dgf_cel_t_dyn, U, &err) ||
            dgf_cel_env_var(envs[i], "row", &dgf_cel_t_map_string, ROW, &err))
            exit(EXIT_FAILURE);
    }
    vars[X] = dgf_cel_int(-7);
    vars[NAME] = dgf_cel_string(DGF_BYTES("Ada \xc3\xa9"));
    vars[U] = dgf_cel_unknown("u", 1);
    vars[ROW] =
        dgf_cel_of_msgpack(&arena, dgf_bytes_of((const uint8_t *)row, sizeof(row) - 1));
}

static void look_at(const struct dgf_cel_value *value, struct dgf_cel_eval *eval)
{
    struct dgf_cel_value same;
    struct dgf_buf out;
    struct dgf_json json = dgf_json_of(&out);

    dgf_buf_init(&out, 64u << 20);
    dgf_cel_show(value, &out);
    dgf_cel_plain(value, &out);
    dgf_cel_json_put_value(&json, value);
    same = dgf_cel_equal(eval, value, value);
    assert(same.kind == DGF_CEL_BOOL || same.kind == DGF_CEL_UNKNOWN ||
           same.kind == DGF_CEL_ERROR);
    dgf_buf_release(&out);
}

static void evaluate(const struct dgf_cel_program *program,
                     const struct dgf_cel_env *env)
{
    static struct dgf_cel_value trace[8192];
    struct dgf_cel_eval eval = {.vars = vars,
                                .n_vars = N_VARS,
                                .budget = 20000,
                                .trace = trace,
                                .n_trace = DGF_ARRAY_LEN(trace)};
    struct dgf_cel_value first, value;
    struct dgf_arena arena;

    dgf_arena_init(&arena, 1 << 20);
    dgf_cel_eval_start(&eval, env, &arena);
    first = dgf_cel_run(program, &eval);
    assert(first.kind > DGF_CEL_UNSET && first.kind < DGF_CEL_N_KINDS);
    if (first.kind == DGF_CEL_ERROR)
        assert((size_t)first.error->offset + first.error->len <=
               dgf_cel_program_text(program).len);
    look_at(&first, &eval);
    eval.budget = 20000; /* the same again: evaluation has no memory */
    dgf_cel_eval_start(&eval, env, &arena);
    value = dgf_cel_run(program, &eval);
    assert(value.kind == first.kind || value.kind == DGF_CEL_ERROR);
    dgf_arena_release(&arena);
}

static void describe(const struct dgf_cel_program *program)
{
    const struct dgf_cel_equality *equalities;
    const struct dgf_cel_use *uses;
    struct dgf_buf out;

    dgf_buf_init(&out, 16u << 20);
    dgf_cel_program_disassemble(program, &out);
    dgf_cel_type_show(dgf_cel_program_type(program), &out);
    assert(out.len > 0);
    (void)dgf_cel_program_uses(program, &uses);
    (void)dgf_cel_program_equalities(program, &equalities);
    dgf_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    const struct dgf_cel_env *env;
    struct dgf_cel_program *program = NULL;
    struct dgf_cel_issues issues;
    struct dgf_bytes text;
    enum dgf_rc rc;

    if (!envs[0])
        setup();
    if (len == 0)
        return 0;
    env = envs[ptr[0] % LANGUAGES];
    text = dgf_bytes_of(ptr + 1, len - 1);
    dgf_cel_issues_init(&issues);
    rc = dgf_cel_compile(env, text, &issues, &program);
    assert(rc == DGF_OK ? program && !issues.n : !program && issues.n > 0);
    for (size_t i = 0; i < issues.n; i++) {
        struct dgf_buf out;

        assert((size_t)issues.list[i].offset + issues.list[i].len <= text.len + 1);
        dgf_buf_init(&out, 1 << 20);
        dgf_cel_issue_show(&issues.list[i], text, &out);
        assert(out.len > 0);
        dgf_buf_release(&out);
    }
    if (program) {
        describe(program);
        evaluate(program, env);
    }
    dgf_cel_program_free(program);
    dgf_cel_issues_release(&issues);
    return 0;
}
