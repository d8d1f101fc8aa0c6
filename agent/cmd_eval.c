/* cmd_eval.c - one CEL expression, or a batch of them, one JSON object a line. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/parse.h"
#include "cel/cel.h"
#include "cel/json.h"
#include "cmd.h"
#include "pii.h"

const struct dgf_arg dgf_args_eval[] = {
    {"batch", 0, NULL,
     "read one JSON object a line: {\"expr\", \"bindings\"?, \"typeEnv\"?, ...}"},
    {"policy", 0, NULL, "as in policies: their functions, null, decimal and unknown"},
    {"bench", 0, "N", "evaluate N times and add \"ns\", the median of one evaluation"},
    {"bindings", 'b', "JSON", "variables: {\"x\": {\"int64Value\": \"1\"}}"},
    {"code", 0, NULL, "print the instructions instead of the value"},
    DGF_ARG_END,
};

#define MAX_LINE (4 << 20)
#define MAX_JSON_DEPTH 512
#define MAX_VARS 256
#define MAX_BENCH 10000000

struct options {
    bool policy, code;
    uint64_t bench;
};

/* What one expression is evaluated with. */
struct request {
    const char *expr;
    size_t expr_len;
    const char *container;
    const json_t *type_env, *bindings;
    unsigned flags;
    bool check_only;
};

struct session {
    struct dgf_cel_env *env;
    struct dgf_cel_program *program;
    struct dgf_cel_issues issues;
    struct dgf_arena bound, arena;
    struct dgf_cel_value vars[MAX_VARS];
    unsigned n_vars;
};

static void session_init(struct session *s)
{
    memset(s, 0, sizeof(*s));
    dgf_cel_issues_init(&s->issues);
    dgf_arena_init(&s->bound, 64 << 20);
    dgf_arena_init(&s->arena, 64 << 20);
}

static void session_release(struct session *s)
{
    dgf_cel_program_free(s->program);
    dgf_cel_env_free(s->env);
    dgf_cel_issues_release(&s->issues);
    dgf_arena_release(&s->bound);
    dgf_arena_release(&s->arena);
}

/* Declared variables first, in the order of typeEnv; a binding of no declared
 * name becomes a dyn variable. */
static enum dgf_rc declare(struct session *s, const struct request *request,
                           struct dgf_err *err)
{
    const char *names[MAX_VARS] = {NULL}, *name;
    json_t *binding;
    enum dgf_rc rc;
    size_t i;

    s->env = dgf_cel_env_new(request->flags, request->container);
    if (!s->env)
        return dgf_err_set(err, DGF_NOMEM, "cannot declare variables: out of memory");
    if (request->flags & DGF_CEL_POLICY) {
        rc = dgf_cel_env_functions(s->env, dgf_policy_functions, err);
        if (rc)
            return rc;
    }
    for (i = 0; i < json_array_size(request->type_env); i++) {
        const json_t *decl = json_array_get(request->type_env, i);
        unsigned slot = s->n_vars;

        rc = dgf_cel_json_declare(decl, s->env, &s->n_vars, err);
        if (rc)
            return rc;
        if (s->n_vars == MAX_VARS)
            return dgf_err_set(err, DGF_BAD_DATA, "more than %d variables",
                               MAX_VARS - 1);
        if (s->n_vars > slot)
            names[slot] = json_string_value(json_object_get(decl, "name"));
    }
    json_object_foreach((json_t *)(uintptr_t)request->bindings, name, binding)
    {
        const json_t *value = json_object_get(binding, "value");
        unsigned slot = 0;

        while (slot < s->n_vars && strcmp(names[slot], name) != 0)
            slot++;
        if (slot == s->n_vars) {
            rc = dgf_cel_env_var(s->env, name, &dgf_cel_t_dyn, slot, err);
            if (rc)
                return rc;
            names[s->n_vars++] = name;
            if (s->n_vars == MAX_VARS)
                return dgf_err_set(err, DGF_BAD_DATA, "more than %d variables",
                                   MAX_VARS - 1);
        }
        /* the suite wraps bindings as {"value": ...}; a bare value is fine too */
        rc =
            dgf_cel_json_value(value ? value : binding, &s->bound, &s->vars[slot], err);
        if (rc)
            return dgf_err_prefix(err, "binding '%s'", name);
    }
    return DGF_OK;
}

static enum dgf_rc compile(struct session *s, const struct request *request,
                           struct dgf_err *err)
{
    enum dgf_rc rc = declare(s, request, err);

    if (rc)
        return rc;
    rc = dgf_cel_compile(s->env, dgf_bytes_of(request->expr, request->expr_len),
                         &s->issues, &s->program);
    if (rc == DGF_BAD_CONFIG)
        return dgf_err_set(err, rc, "%s", s->issues.list[0].text);
    return rc ? dgf_err_set(err, rc, "cannot compile: %s", dgf_rc_text(rc)) : DGF_OK;
}

static struct dgf_cel_value evaluate(struct session *s)
{
    struct dgf_cel_eval eval = {
        .vars = s->vars, .n_vars = s->n_vars, .budget = DGF_CEL_BUDGET};

    dgf_arena_reset(&s->arena);
    dgf_cel_eval_start(&eval, s->env, &s->arena);
    return dgf_cel_run(s->program, &eval);
}

/* ---- bench ---- */

#define MAX_SAMPLES 1001

static int by_time(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* The clock costs as much as an evaluation, so the median is one of batches. */
static double median_ns(struct session *s, uint64_t n)
{
    static double samples[MAX_SAMPLES];
    uint64_t n_samples = n < MAX_SAMPLES ? n : MAX_SAMPLES, per = n / n_samples;

    for (uint64_t i = 0; i < n_samples; i++) {
        int64_t start = dgf_clock_mono_ns();

        for (uint64_t k = 0; k < per; k++)
            evaluate(s);
        samples[i] = (double)(dgf_clock_mono_ns() - start) / (double)per;
    }
    qsort(samples, n_samples, sizeof(samples[0]), by_time);
    return samples[n_samples / 2];
}

/* ---- batch ---- */

static void put_error(struct dgf_json *json, const char *text)
{
    dgf_json_key(json, "error");
    dgf_json_str(json, text);
}

static void put_result(struct dgf_json *json, const struct dgf_cel_value *value)
{
    if (value->kind == DGF_CEL_ERROR) {
        put_error(json, value->error->text);
    } else if (value->kind == DGF_CEL_UNKNOWN) {
        dgf_json_key(json, "unknown");
        dgf_json_bool(json, true);
    } else {
        dgf_json_key(json, "value");
        dgf_cel_json_put_value(json, value);
    }
}

static void answer(const struct request *request, const struct options *options,
                   struct dgf_json *json)
{
    struct session s;
    struct dgf_cel_value value;
    struct dgf_err err;

    session_init(&s);
    if (compile(&s, request, &err) != DGF_OK) {
        put_error(json, err.text);
        session_release(&s);
        return;
    }
    if (!request->check_only) {
        value = evaluate(&s);
        put_result(json, &value);
    }
    if (!(request->flags & DGF_CEL_NO_CHECK)) {
        dgf_json_key(json, "type");
        dgf_cel_json_put_type(json, dgf_cel_program_type(s.program));
    }
    if (options->bench > 0 && !request->check_only) {
        double ns = median_ns(&s, options->bench);

        dgf_json_key(json, "ns");
        dgf_json_double(json, (double)(int64_t)(ns * 10 + 0.5) / 10);
    }
    session_release(&s);
}

static void answer_line(struct dgf_bytes line, const struct options *options,
                        struct dgf_json *json)
{
    json_t *object DGF_CLEANUP_JSON = NULL;
    struct request request = {0};
    const json_t *expr;
    struct dgf_err err;

    if (dgf_json_parse(line, MAX_LINE, MAX_JSON_DEPTH, &object, &err) != DGF_OK) {
        put_error(json, err.text);
        return;
    }
    expr = json_object_get(object, "expr");
    if (!json_is_string(expr)) {
        put_error(json, "'expr' is missing");
        return;
    }
    request.expr = json_string_value(expr);
    request.expr_len = json_string_length(expr);
    request.container = json_string_value(json_object_get(object, "container"));
    request.type_env = json_object_get(object, "typeEnv");
    request.bindings = json_object_get(object, "bindings");
    request.check_only = json_is_true(json_object_get(object, "checkOnly"));
    if (options->policy)
        request.flags |= DGF_CEL_POLICY;
    if (json_is_true(json_object_get(object, "disableMacros")))
        request.flags |= DGF_CEL_NO_MACROS;
    if (json_is_true(json_object_get(object, "disableCheck")))
        request.flags |= DGF_CEL_NO_CHECK;
    answer(&request, options, json);
}

static int run_batch(const struct options *options)
{
    struct dgf_buf out;
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int exit_code = DGF_EXIT_OK;

    dgf_buf_init(&out, 64 << 20);
    while ((len = getline(&line, &cap, stdin)) > 0) {
        struct dgf_json json = dgf_json_of(&out);

        if (len == 1 && line[0] == '\n')
            continue;
        dgf_buf_clear(&out);
        dgf_json_begin_object(&json);
        answer_line(dgf_bytes_of(line, (size_t)len), options, &json);
        dgf_json_end_object(&json);
        if (dgf_buf_rc(&out) != DGF_OK) {
            fputs("{\"error\":\"the answer is too large\"}\n", stdout);
            continue;
        }
        dgf_buf_add_byte(&out, '\n');
        (void)dgf_buf_write(&out, stdout);
        fflush(stdout);
    }
    if (ferror(stdout) || ferror(stdin))
        exit_code = DGF_EXIT_CANNOT;
    free(line);
    dgf_buf_release(&out);
    return exit_code;
}

/* ---- one expression ---- */

static void say_issues(const struct session *s, const struct request *request,
                       const struct dgf_err *err)
{
    struct dgf_buf text;

    dgf_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < s->issues.n; i++) {
        dgf_buf_addf(&text, "dgf eval: error[%s]: ", s->issues.list[i].code);
        dgf_cel_issue_show(&s->issues.list[i],
                           dgf_bytes_of(request->expr, request->expr_len), &text);
        dgf_buf_add_byte(&text, '\n');
    }
    if (s->issues.n == 0)
        dgf_buf_addf(&text, "dgf eval: %s\n", err->text);
    fputs(dgf_buf_str(&text), stderr);
    dgf_buf_release(&text);
}

static int run_one(const struct request *request, const struct options *options)
{
    struct session s;
    struct dgf_err err;
    struct dgf_buf text;
    struct dgf_cel_value value;

    session_init(&s);
    if (compile(&s, request, &err) != DGF_OK) {
        say_issues(&s, request, &err);
        session_release(&s);
        return DGF_EXIT_FINDINGS;
    }
    dgf_buf_init(&text, 64 << 20);
    value = evaluate(&s);
    if (options->code)
        dgf_cel_program_disassemble(s.program, &text);
    else
        dgf_cel_show(&value, &text);
    if (text.len > 0 && text.ptr[text.len - 1] != '\n')
        dgf_buf_add_byte(&text, '\n');
    fputs(dgf_buf_str(&text),
          value.kind == DGF_CEL_ERROR && !options->code ? stderr : stdout);
    if (options->bench > 0)
        printf("%.1f ns\n", median_ns(&s, options->bench));
    dgf_buf_release(&text);
    session_release(&s);
    return value.kind == DGF_CEL_ERROR && !options->code ? DGF_EXIT_FINDINGS
                                                         : DGF_EXIT_OK;
}

int dgf_cmd_eval(int argc, char **argv)
{
    struct dgf_args args;
    struct options options = {0};
    struct request request = {0};
    json_t *bindings DGF_CLEANUP_JSON = NULL;
    const char *text;
    struct dgf_err err;
    int exit_code = dgf_args_read("eval", dgf_args_eval, argc, argv, &args);

    if (exit_code)
        return exit_code;
    options.policy = dgf_args_has(&args, "policy");
    options.code = dgf_args_has(&args, "code");
    text = dgf_args_get(&args, "bench");
    if (text && (!dgf_parse_u64(dgf_bytes_str(text), &options.bench) ||
                 options.bench == 0 || options.bench > MAX_BENCH))
        return dgf_usage("eval", "--bench wants a number from 1 to %d", MAX_BENCH);
    if (dgf_args_has(&args, "batch"))
        return args.n_operands > 0 ? dgf_usage("eval", "--batch takes no expression")
                                   : run_batch(&options);
    if (args.n_operands != 1)
        return dgf_usage("eval", "one expression is wanted");
    text = dgf_args_get(&args, "bindings");
    if (text && dgf_json_parse(dgf_bytes_str(text), MAX_LINE, MAX_JSON_DEPTH, &bindings,
                               &err) != DGF_OK)
        return dgf_usage("eval", "--bindings: %s", err.text);
    request.expr = args.operands[0];
    request.expr_len = strlen(request.expr);
    request.bindings = bindings;
    request.flags = options.policy ? DGF_CEL_POLICY : 0;
    return run_one(&request, &options);
}
