/* rules_fixture.h - policies and events as texts, and what the engine says, one
 * line a judgement; included by one test file a program. */
#ifndef DGF_TESTS_RULES_FIXTURE_H
#define DGF_TESTS_RULES_FIXTURE_H

#include <string.h>

#include "engine.h"
#include "policy_event.h"
#include "unit.h"

#define T0 1772442000000000000 /* 2026-03-02T09:00:00Z */

static struct dgf_masker masker;
static struct dgf_buf said;
static struct dgf_findings findings;
static unsigned n_events;

static inline void start(void)
{
    static const uint8_t key[32] = {1};

    if (said.max > 0) {
        dgf_buf_clear(&said);
        return;
    }
    dgf_masker_init(&masker, key, 1);
    dgf_buf_init(&said, 1 << 20);
    dgf_findings_init(&findings);
}

/* `rest` are lines of one policy, or with "policies:" a whole file. */
static inline struct dgf_policy_set *load(const char *rest)
{
    const struct dgf_policy_world world = {.now_ns = T0};
    struct dgf_policy_set *set = NULL;
    struct dgf_buf text;

    start();
    dgf_buf_init(&text, 1 << 20);
    if (strstr(rest, "policies:"))
        dgf_buf_addf(&text, "version: 1\n%s", rest);
    else
        dgf_buf_addf(&text,
                     "version: 1\npolicies:\n  - id: T-1\n    title: A test\n"
                     "    severity: high\n    watch: {objects: [shop.*]}\n%s",
                     rest);
    if (dgf_policy_set_parse("p.yaml", dgf_buf_bytes(&text), &world, &findings, &set)) {
        struct dgf_buf out;

        dgf_buf_init(&out, 1 << 20);
        dgf_findings_print(&findings, DGF_FINDINGS_HUMAN, false, &out);
        ck_abort_msg("%s", dgf_buf_str(&out));
    }
    dgf_buf_release(&text);
    return set;
}

static inline void add_evidence(const struct dgf_evidence *evidence)
{
    bool masked;

    dgf_buf_addf(&said, " [%.*s=", (int)evidence->field.len, evidence->field.ptr);
    dgf_mask_text(&masker,
                  dgf_class_in_force(evidence->class_, evidence->type, evidence->value),
                  evidence->value, &said, &masked);
    dgf_buf_add_str(&said, masked ? " masked]" : "]");
}

static inline void judge_with(struct dgf_engine *engine, const struct dgf_event *event)
{
    struct dgf_judged judged;

    ck_assert_int_eq(dgf_engine_judge(engine, event, &judged), DGF_OK);
    for (size_t i = 0; i < judged.n; i++) {
        const struct dgf_judgement *one = &judged.list[i];

        dgf_buf_addf(&said, "%s %s%s%s: %.*s", one->policy->id,
                     dgf_verdict_text(one->verdict), one->error_code ? " " : "",
                     one->error_code ? one->error_code : "", (int)one->message.len,
                     (const char *)one->message.ptr);
        for (size_t j = 0; j < one->n_evidence; j++)
            add_evidence(&one->evidence[j]);
        if (one->waiver_json)
            dgf_buf_addf(&said, " %s", one->waiver_json);
        dgf_buf_add_byte(&said, '\n');
    }
    if (judged.n == 0)
        dgf_buf_addf(&said, "%s\n", dgf_verdict_text(judged.verdict));
}

static inline void judge(struct dgf_engine *engine, const char *text)
{
    const struct dgf_policy_event_defaults defaults = {.source = "orders",
                                                       .object = "shop.orders",
                                                       .type = "postgres",
                                                       .kind = DGF_KIND_CHANGE,
                                                       .op = DGF_OP_INSERT,
                                                       .time_ns = T0,
                                                       .n = ++n_events};
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    DGF_CLEANUP(dgf_policy_event_free) struct dgf_policy_event *event = NULL;

    ck_assert_int_eq(dgf_yaml_parse("e.yaml", dgf_bytes_str(text), &findings, &doc),
                     DGF_OK);
    if (dgf_policy_event_make(doc, dgf_yaml_root(doc), NULL, &defaults, &findings,
                              &event))
        ck_abort_msg("%s: %s", text, findings.list[0].text);
    judge_with(engine, event->event);
}

/* What a file of policies says of some events, ended by NULL. */
static inline const char *says_of(const char *policies, const char *const *events)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = load(policies);
    struct dgf_engine *engine = NULL;
    struct dgf_err err;

    ck_assert_int_eq(dgf_engine_new(set, &masker, &engine, &err), DGF_OK);
    for (; *events; events++)
        judge(engine, *events);
    dgf_engine_free(engine);
    return dgf_buf_str(&said);
}
#define SAYS(policies, ...) says_of(policies, (const char *const[]){__VA_ARGS__, NULL})
#define POLICY(id, rest) \
    "  - {id: " id ", title: About " id ", severity: low, " rest "}\n"

#endif
