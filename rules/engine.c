#include "engine.h"

#include "engine_part.h"

#include <string.h>

#define ARENA_MAX ((size_t)16 * 1024 * 1024)
#define SHOWN_MAX ((size_t)64 * 1024 * 1024)
#define SCRATCH_MAX ((size_t)64 * 1024 * 1024)

static _Atomic uint64_t last_generation;

/* ---- lifecycle ---- */

static uint64_t next_generation(void)
{
    return atomic_fetch_add_explicit(&last_generation, 1, memory_order_relaxed) + 1;
}

static enum dgf_class class_of(struct dgf_policy_host *host, struct dgf_bytes field)
{
    struct dgf_engine *engine = (struct dgf_engine *)host;

    return dgf_binding_class(engine->binding, field);
}

enum dgf_rc dgf_engine_new(struct dgf_policy_set *set, struct dgf_masker *masker,
                           struct dgf_engine **ret, struct dgf_err *err)
{
    struct dgf_engine *engine = dgf_calloc(1, sizeof(*engine));

    if (!engine)
        return dgf_err_set(err, DGF_NOMEM,
                           "cannot make the rules engine: out of memory");
    engine->host = (struct dgf_policy_host){masker, class_of};
    engine->set = dgf_policy_set_ref(set);
    engine->masker = masker;
    engine->generation = next_generation();
    dgf_arena_init(&engine->arena, ARENA_MAX);
    dgf_arena_init(&engine->shown, SHOWN_MAX);
    dgf_buf_init(&engine->scratch, SCRATCH_MAX);
    dgf_buf_init(&engine->text, SCRATCH_MAX);
    dgf_engine_vars_init(engine);
    engine->eval = (struct dgf_cel_eval){.vars = engine->vars,
                                         .n_vars = DGF_VAR_N,
                                         .resolve = dgf_engine_resolve,
                                         .host = engine,
                                         .budget = DGF_CEL_BUDGET};
    *ret = engine;
    return DGF_OK;
}

void dgf_engine_free(struct dgf_engine *engine)
{
    if (!engine)
        return;
    for (size_t i = 0; i < engine->n_bare; i++)
        dgf_object_unref(engine->bare[i]);
    dgf_free(engine->bare);
    dgf_free(engine->bare_sources);
    dgf_free(engine->judgements);
    dgf_buf_release(&engine->scratch);
    dgf_buf_release(&engine->text);
    dgf_arena_release(&engine->arena);
    dgf_arena_release(&engine->shown);
    dgf_policy_set_unref(engine->set);
    dgf_free(engine);
}

enum dgf_rc dgf_engine_swap(struct dgf_engine *engine, struct dgf_policy_set *set,
                            struct dgf_err *err)
{
    struct dgf_policy_set *old = engine->set;

    (void)err;
    engine->set = dgf_policy_set_ref(set);
    engine->generation = next_generation();
    dgf_policy_set_unref(old);
    return DGF_OK;
}

/* ---- binding ---- */

/* Signals and messages are about no object; policies that watch them bind to
 * one without a name. */
static struct dgf_object *bare_object(struct dgf_engine *engine,
                                      const struct dgf_source *src)
{
    struct dgf_object *object, **list;
    const struct dgf_source **sources;

    for (size_t i = 0; i < engine->n_bare; i++)
        if (engine->bare_sources[i] == src)
            return engine->bare[i];
    list = dgf_policy_array_grow(engine->bare, engine->n_bare, &engine->cap_bare,
                                 sizeof(*list));
    if (!list)
        return NULL;
    engine->bare = list;
    sources = dgf_policy_array_grow(engine->bare_sources, engine->n_bare,
                                    &engine->cap_bare_sources, sizeof(*sources));
    if (!sources)
        return NULL;
    engine->bare_sources = sources;
    if (dgf_object_new(src && src->type ? src->type->name : "", NULL, NULL, "", NULL, 0,
                       0, &object))
        return NULL;
    list[engine->n_bare] = object;
    sources[engine->n_bare++] = src;
    return object;
}

static enum dgf_rc bind_object(struct dgf_engine *engine, struct dgf_source *src,
                               struct dgf_object *object, struct dgf_binding **ret)
{
    struct dgf_binding *binding;

    if (!object)
        object = bare_object(engine, src);
    if (!object)
        return DGF_NOMEM;
    binding = object->binding;
    if (binding && binding->generation == engine->generation &&
        binding->source == src) {
        *ret = binding;
        return DGF_OK;
    }
    return dgf_binding_make(engine->set, src, object, engine->generation, ret);
}

static const struct dgf_candidates *candidates(const struct dgf_binding *binding,
                                               unsigned kind, unsigned op)
{
    static const struct dgf_candidates none = {NULL, 0};

    if (kind >= DGF_KIND_N || op >= DGF_OP_N || !binding->by_kind[kind])
        return &none;
    return &binding->by_kind[kind][op];
}

bool dgf_engine_watches(struct dgf_engine *engine, const struct dgf_source *src,
                        struct dgf_object *object, enum dgf_event_kind kind,
                        enum dgf_op op)
{
    struct dgf_binding *binding;

    /* out of memory: decode it, judging will say so */
    if (bind_object(engine, (struct dgf_source *)src, object, &binding))
        return true;
    return candidates(binding, kind, op)->n > 0 || (binding->gaps && !binding->told);
}

/* ---- one policy on one event ---- */

void dgf_engine_start(struct dgf_engine *engine, const struct dgf_cel_env *env)
{
    if (engine->env == env)
        return;
    dgf_cel_eval_start(&engine->eval, env, &engine->arena);
    engine->env = env;
}

/* The column has another value than the one the condition asks for.  Anything
 * but a plain value of the same kind is left to the program. */
static bool differs(const struct dgf_event *event, const struct dgf_equality *equality)
{
    struct dgf_bytes bytes = dgf_event_slot(event, equality->after, equality->column);
    struct dgf_mp mp = dgf_mp_of(bytes);
    struct dgf_mp_token token;

    if (bytes.len == 0 || dgf_mp_next(&mp, &token))
        return false;
    if (token.kind == DGF_MP_NIL)
        return true;
    if (token.kind != equality->kind)
        return false;
    if (token.kind == DGF_MP_STR)
        return !dgf_bytes_eq(token.bytes, equality->text);
    return (token.kind == DGF_MP_BOOL ? (int64_t)token.boolean : token.i64) !=
           equality->i64;
}

static bool cannot_match(const struct dgf_event *event,
                         const struct dgf_candidate *candidate)
{
    for (unsigned i = 0; i < candidate->n_equalities; i++)
        if (differs(event, &candidate->equalities[i]))
            return true;
    return false;
}

static struct dgf_cel_value run(struct dgf_engine *engine,
                                const struct dgf_cel_env *env,
                                const struct dgf_cel_program *program)
{
    dgf_engine_start(engine, env);
    engine->eval.budget = DGF_CEL_BUDGET;
    return dgf_cel_run(program, &engine->eval);
}

static struct dgf_judgement *add_judgement(struct dgf_engine *engine,
                                           const struct dgf_policy_ref *policy,
                                           enum dgf_verdict verdict)
{
    struct dgf_judgement *list =
        dgf_policy_array_grow(engine->judgements, engine->n_judgements,
                              &engine->cap_judgements, sizeof(*list));

    if (!list) {
        engine->nomem = true;
        return NULL;
    }
    engine->judgements = list;
    list += engine->n_judgements++;
    *list = (struct dgf_judgement){.policy = policy, .verdict = verdict};
    return list;
}

/* An exception applies when it surely holds, at the time of the event. */
static const struct dgf_policy_waiver *find_waiver(
    struct dgf_engine *engine, const struct dgf_candidate *candidate)
{
    const struct dgf_policy *policy = candidate->policy;

    for (size_t i = 0; i < policy->n_waivers; i++) {
        struct dgf_cel_value value;

        if (engine->event->commit_ns >= policy->waivers[i].until_ns)
            continue;
        value = run(engine, candidate->env, candidate->code->waivers[i]);
        if (value.kind == DGF_CEL_BOOL && value.boolean)
            return &policy->waivers[i];
    }
    return NULL;
}

static void add_error(struct dgf_engine *engine, const struct dgf_policy *policy,
                      const struct dgf_cel_value *value)
{
    struct dgf_judgement *judgement =
        add_judgement(engine, &policy->ref, DGF_VERDICT_ERROR);
    bool budget = value->kind == DGF_CEL_ERROR && value->error->budget;

    if (!judgement)
        return;
    judgement->error_code = budget                         ? "E0402"
                            : value->kind == DGF_CEL_ERROR ? "E0401"
                                                           : "E0403";
    /* texts of errors never hold values of the event */
    judgement->message =
        dgf_engine_keep(engine, dgf_bytes_str(value->kind == DGF_CEL_ERROR
                                                  ? value->error->text
                                                  : "the result is not true or false"));
}

static void add_verdict(struct dgf_engine *engine,
                        const struct dgf_candidate *candidate, enum dgf_verdict verdict)
{
    const struct dgf_policy_waiver *waiver =
        verdict == DGF_VERDICT_VIOLATION ? find_waiver(engine, candidate) : NULL;
    struct dgf_judgement *judgement = add_judgement(
        engine, &candidate->policy->ref, waiver ? DGF_VERDICT_WAIVED : verdict);

    if (!judgement)
        return;
    judgement->waiver_json = waiver ? waiver->json : NULL;
    judgement->message = dgf_engine_message(engine, candidate, &judgement->truncated);
    judgement->evidence =
        dgf_engine_evidence(engine, candidate->policy, &judgement->n_evidence);
}

static void judge_one(struct dgf_engine *engine, const struct dgf_candidate *candidate)
{
    const struct dgf_policy *policy = candidate->policy;
    struct dgf_cel_value value;

    if (cannot_match(engine->event, candidate))
        return;
    value = run(engine, candidate->env, candidate->code->condition);
    if (value.kind == DGF_CEL_BOOL) {
        if (value.boolean != policy->require)
            add_verdict(engine, candidate, DGF_VERDICT_VIOLATION);
    } else if (value.kind == DGF_CEL_UNKNOWN) {
        if (policy->unknown != DGF_VERDICT_PASS)
            add_verdict(engine, candidate, policy->unknown);
    } else {
        add_error(engine, policy, &value);
        if (!policy->record_errors_only)
            add_verdict(engine, candidate, DGF_VERDICT_VIOLATION);
    }
}

/* ---- one event ---- */

static void begin(struct dgf_engine *engine, const struct dgf_event *event,
                  struct dgf_binding *binding)
{
    dgf_arena_reset(&engine->arena);
    dgf_arena_reset(&engine->shown);
    engine->event = event;
    engine->binding = binding;
    engine->env = NULL;
    engine->n_judgements = 0;
    engine->nomem = false;
    for (unsigned i = 0; i < DGF_VAR_N; i++)
        engine->vars[i].kind = DGF_CEL_UNSET;
}

static void tell_gaps(struct dgf_engine *engine, struct dgf_binding *binding)
{
    struct dgf_judgement *judgement =
        add_judgement(engine, &dgf_policy_coverage, DGF_VERDICT_VIOLATION);

    if (judgement)
        judgement->message = dgf_engine_keep(engine, dgf_bytes_str(binding->gaps));
}

static unsigned weight(enum dgf_verdict verdict)
{
    static const uint8_t weights[DGF_VERDICT_N] = {
        [DGF_VERDICT_PASS] = 1,      [DGF_VERDICT_WAIVED] = 2,
        [DGF_VERDICT_REVIEW] = 3,    [DGF_VERDICT_ERROR] = 4,
        [DGF_VERDICT_VIOLATION] = 5, [DGF_VERDICT_UNWATCHED] = 0};

    return weights[verdict];
}

/* What was only tried does not make the event a bad one. */
static enum dgf_verdict strictest(const struct dgf_engine *engine, unsigned n_policies)
{
    enum dgf_verdict verdict =
        n_policies > 0 ? DGF_VERDICT_PASS : DGF_VERDICT_UNWATCHED;

    for (size_t i = 0; i < engine->n_judgements; i++)
        if (engine->judgements[i].policy->mode != DGF_MODE_SHADOW &&
            weight(engine->judgements[i].verdict) > weight(verdict))
            verdict = engine->judgements[i].verdict;
    return verdict;
}

enum dgf_rc dgf_engine_judge(struct dgf_engine *engine, const struct dgf_event *event,
                             struct dgf_judged *ret)
{
    const struct dgf_candidates *list;
    struct dgf_binding *binding;

    if (bind_object(engine, event->source, event->object, &binding))
        return DGF_NOMEM;
    begin(engine, event, binding);
    list = candidates(binding, event->kind, event->op);
    for (uint32_t i = 0; i < list->n; i++)
        judge_one(engine, list->list[i]);
    if (binding->gaps && !binding->told)
        tell_gaps(engine, binding);
    if (engine->nomem)
        return DGF_NOMEM;
    binding->told = true;
    *ret = (struct dgf_judged){.list = engine->judgements,
                               .n = engine->n_judgements,
                               .n_policies = list->n,
                               .verdict = strictest(engine, list->n),
                               .audit = binding->every_event && list->n > 0};
    return DGF_OK;
}
