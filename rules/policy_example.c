/* policy_example.c - runs the examples that stand beside policies. */
#include "policy_test_part.h"

#include <string.h>

#include "policy_event.h"
#include "policy_load.h"

void dgf_running_tell(struct dgf_running *running, const struct dgf_yaml *doc,
                      const struct dgf_yaml_node *node, const char *code, bool example,
                      const char *name, const char *failure)
{
    struct dgf_policy_case one = {node->mark.file, name, node->mark.line, failure};

    *(example ? &running->tests->n_examples : &running->tests->n_tests) += 1;
    if (failure) {
        running->tests->n_failed++;
        dgf_yaml_finding(doc, running->findings, DGF_FINDING_ERROR, code, node,
                         "%s: %s", name, failure);
    }
    if (running->tests->on_case)
        running->tests->on_case(running->tests->ctx, &one);
}

void dgf_running_note(struct dgf_running *running, struct dgf_map *map, const char *id)
{
    running->nomem |= dgf_map_put(map, dgf_bytes_str(id), running, NULL) != DGF_OK;
}

static const char *describe(enum dgf_verdict verdict, bool there)
{
    if (!there)
        return "nothing";
    switch (verdict) {
    case DGF_VERDICT_REVIEW:
        return "a review";
    case DGF_VERDICT_WAIVED:
        return "a waived violation";
    case DGF_VERDICT_ERROR:
        return "an error";
    default:
        return "a violation";
    }
}

/* The policy's own word on the event; the error's before the violation that
 * comes with it. */
const struct dgf_judgement *dgf_running_judgement(const struct dgf_judged *judged,
                                                  const char *id)
{
    for (size_t i = 0; i < judged->n; i++)
        if (strcmp(judged->list[i].policy->id, id) == 0)
            return &judged->list[i];
    return NULL;
}

static char *object_of(const struct dgf_policy *policy)
{
    const char *glob =
        policy->watch.n_objects > 0 ? policy->watch.objects[0] : "example.object";
    char *object = dgf_malloc(strlen(glob) + 1), *to = object;

    if (!object)
        return NULL;
    for (; *glob; glob++) {
        bool star = *glob == '*';

        *to++ = star ? 'x' : *glob;
        glob += star && glob[1] == '*'; /* "**" fits one part too */
    }
    *to = '\0';
    return object;
}

static int first_bit(uint32_t bits, int none)
{
    return bits == ~0u || bits == 0 ? none : __builtin_ctz(bits);
}

static void run_example(struct dgf_running *running, struct dgf_policy_set *set,
                        const struct dgf_policy *policy, const struct dgf_yaml *doc,
                        const struct dgf_yaml_node *node, bool violates, size_t nth)
{
    DGF_CLEANUP(dgf_policy_event_free) struct dgf_policy_event *event = NULL;
    DGF_CLEANUP(dgf_free) char *object = object_of(policy);
    struct dgf_policy_event_defaults defaults = {
        policy->watch.n_sources > 0 ? policy->watch.sources[0] : "example",
        object,
        NULL,
        first_bit(policy->watch.kinds, DGF_KIND_CHANGE),
        first_bit(policy->watch.ops, -1),
        EXAMPLE_TIME_NS,
        ++running->n_events};
    const struct dgf_judgement *judgement;
    struct dgf_engine *engine = NULL;
    struct dgf_judged judged;
    char name[128], failure[LINE_MAX_BYTES];
    bool holds;

    if (!object ||
        dgf_policy_event_make(doc, node, NULL, &defaults, running->findings, &event))
        return;
    if (dgf_engine_new(set, &running->masker, &engine, NULL) ||
        dgf_engine_judge(engine, event->event, &judged)) {
        running->nomem = true;
        dgf_engine_free(engine);
        return;
    }
    judgement = dgf_running_judgement(&judged, policy->ref.id);
    dgf_running_note(running, judgement ? &running->fired : &running->passed,
                     policy->ref.id);
    holds = violates ? judgement && judgement->verdict == DGF_VERDICT_VIOLATION
                     : !judgement || judgement->verdict == DGF_VERDICT_WAIVED;
    snprintf(name, sizeof(name), "policy '%s', %s %zu", policy->ref.id,
             violates ? "violating example" : "passing example", nth);
    if (judged.n_policies == 0)
        snprintf(failure, sizeof(failure), "no policy watches this event");
    else
        snprintf(failure, sizeof(failure), "expected %s, got %s%s%.*s",
                 violates ? "a violation" : "nothing",
                 describe(judgement ? judgement->verdict : DGF_VERDICT_PASS, judgement),
                 judgement ? ": " : "", judgement ? (int)judgement->message.len : 0,
                 judgement ? (const char *)judgement->message.ptr : "");
    dgf_running_tell(running, doc, node, "E0451", true, name, holds ? NULL : failure);
    dgf_engine_free(engine);
}

static void run_list(struct dgf_running *running, struct dgf_policy_set *set,
                     const struct dgf_policy *policy, const struct dgf_yaml *doc,
                     const struct dgf_yaml_node *examples, const char *name,
                     bool violates)
{
    const struct dgf_yaml_node *list = dgf_yaml_get(examples, name);

    if (!list)
        return;
    if (list->kind != DGF_YAML_LIST) {
        dgf_yaml_finding(
            doc, running->findings, DGF_FINDING_ERROR, "E0453", list,
            "policy '%s': '%s' of examples is %s; it must be a list of events",
            policy->ref.id, name, dgf_yaml_kind_text(list->kind));
        return;
    }
    for (size_t i = 0; i < list->n; i++)
        run_example(running, set, policy, doc, list->items[i], violates, i + 1);
}

static void run_policy_examples(struct dgf_running *running, struct dgf_policy_set *set,
                                const struct dgf_yaml *doc,
                                const struct dgf_yaml_node *node)
{
    const struct dgf_yaml_node *examples = dgf_yaml_get(node, "examples");
    const struct dgf_yaml_node *id = dgf_yaml_get(node, "id");
    const struct dgf_policy *policy =
        id && id->text ? dgf_map_get(&set->by_id, dgf_bytes_str(id->text)) : NULL;

    if (!policy || policy->ref.mode == DGF_MODE_OFF)
        return;
    dgf_running_note(running, &running->ids, policy->ref.id);
    if (!examples)
        return;
    if (examples->kind != DGF_YAML_MAP) {
        dgf_yaml_finding(
            doc, running->findings, DGF_FINDING_ERROR, "E0453", examples,
            "policy '%s': 'examples' is %s; it must be a map with 'violates' and "
            "'passes'",
            policy->ref.id, dgf_yaml_kind_text(examples->kind));
        return;
    }
    for (size_t i = 0; i < examples->n; i++)
        if (strcmp(examples->keys[i]->text, "violates") != 0 &&
            strcmp(examples->keys[i]->text, "passes") != 0)
            dgf_yaml_finding(
                doc, running->findings, DGF_FINDING_ERROR, "E0453", examples->keys[i],
                "policy '%s': examples have no '%s'; there are 'violates' and "
                "'passes'",
                policy->ref.id, examples->keys[i]->text);
    run_list(running, set, policy, doc, examples, "violates", true);
    run_list(running, set, policy, doc, examples, "passes", false);
}

void dgf_running_examples(struct dgf_running *running, struct dgf_policy_set *set,
                          const char *path)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    const struct dgf_yaml_node *root, *policies;

    if (dgf_yaml_load(path, running->findings, &doc))
        return;
    root = dgf_yaml_root(doc);
    policies = root ? dgf_yaml_get(root, "policies") : NULL;
    for (size_t i = 0; policies && i < policies->n && !running->nomem; i++)
        run_policy_examples(running, set, doc, policies->items[i]);
}
