/* A policy file as anybody may write it: YAML, policies, expressions and messages.
 * What is wrong is said at a place inside the file, in all formats; what is accepted
 * judges an event. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static const struct dgf_column columns[] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "note", .type = DGF_TYPE_TEXT},
    {.name = "amount", .type = DGF_TYPE_DECIMAL},
};
/* {"before":{"id":1,"note":"a"},"after":{"id":1,"note":"4111 1111 1111 1111"}} */
static const char body[] = "\x82\xa6"
                           "before\x82\xa2"
                           "id\x01\xa4note\xa1"
                           "a"
                           "\xa5"
                           "after\x82\xa2"
                           "id\x01\xa4note\xb3"
                           "4111 1111 1111 1111";

static struct dgf_object *object;
static struct dgf_event *event;
static struct dgf_masker masker;

static void setup(void)
{
    const struct dgf_event_meta meta = {.commit_ns = 1, .tx = DGF_BYTES("7")};
    const uint8_t key[32] = {1};
    struct dgf_event_builder builder;
    struct dgf_err err;

    dgf_event_builder_init(&builder, (size_t)1 << 20);
    dgf_masker_init(&masker, key, 1);
    if (dgf_object_new("postgres", NULL, "shop", "order_notes", columns, 3, 1,
                       &object) ||
        dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE,
                               dgf_bytes_of((const uint8_t *)body, sizeof(body) - 1),
                               &meta, &event, &err))
        exit(EXIT_FAILURE);
    dgf_event_builder_release(&builder);
}

static void show(const struct dgf_findings *findings)
{
    struct dgf_buf out;

    dgf_buf_init(&out, 64u << 20);
    for (int format = DGF_FINDINGS_HUMAN; format <= DGF_FINDINGS_JUNIT; format++) {
        dgf_buf_clear(&out);
        dgf_findings_print(findings, (enum dgf_findings_format)format, false, &out);
        assert(!dgf_buf_rc(&out) && out.len > 0);
    }
    dgf_buf_release(&out);
}

static void judge(struct dgf_policy_set *set)
{
    struct dgf_engine *engine = NULL;
    struct dgf_judged judged;
    struct dgf_err err = {0};
    enum dgf_rc rc;

    rc = dgf_engine_new(set, &masker, &engine, &err);
    assert(rc == DGF_OK);
    for (int i = 0; i < 2; i++) { /* the second time from what was bound */
        rc = dgf_engine_judge(engine, event, &judged);
        assert(rc == DGF_OK && judged.n <= dgf_policy_set_count(set) + 1);
    }
    dgf_engine_free(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    const struct dgf_policy_world world = {.now_ns = 1};
    struct dgf_policy_set *set = NULL;
    struct dgf_findings findings;
    enum dgf_rc rc;

    if (!object)
        setup();
    dgf_findings_init(&findings);
    rc =
        dgf_policy_set_parse("p.yaml", dgf_bytes_of(ptr, len), &world, &findings, &set);
    assert(rc == DGF_OK ? findings.n_errors == 0 && set
                        : findings.n_errors > 0 && !set);
    if (findings.n)
        show(&findings);
    if (set)
        judge(set);
    dgf_policy_set_unref(set);
    dgf_findings_release(&findings);
    return 0;
}
