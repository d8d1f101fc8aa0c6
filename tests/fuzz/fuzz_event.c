/* Bodies from outside: what is accepted is well-formed, reads back the same,
 * every slot holds one value, and its record is one valid line. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/parse.h"
#include "bus/record_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static const struct dgf_column columns[] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "note", .type = DGF_TYPE_TEXT, .key = true},
    {.name = "body", .type = DGF_TYPE_JSON},
};

static struct dgf_object *object;
static struct dgf_event_builder builder;
static struct dgf_recorder recorder;

static uint64_t next_seq(void *ctx)
{
    (void)ctx;
    return 7;
}

static enum dgf_rc put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    json_t *json = NULL;
    struct dgf_record record;
    struct dgf_err err;

    (void)ctx;
    assert(line.len <= DGF_RECORD_MAX_BYTES && dgf_utf8_valid(line));
    assert(!memchr(line.ptr, '\n', line.len));
    assert(dgf_json_parse_record(line, &json, &err) == DGF_OK);
    json_decref(json);
    assert(dgf_record_get(header, line, 7, &record) == DGF_OK);
    return DGF_OK;
}

static void setup(void)
{
    const uint8_t key[32] = {1}, log_id[16] = {2};
    const struct dgf_record_out out = {NULL, next_seq, put};

    if (dgf_object_new("replay", NULL, "a", "b", columns, 3, 1, &object) ||
        dgf_recorder_init(&recorder, out, "agent", "env", key, key, 1, log_id))
        exit(EXIT_FAILURE);
    dgf_event_builder_init(&builder, (size_t)1 << 20);
}

static void check_slots(const struct dgf_event *event)
{
    for (uint32_t i = 0; i < 3; i++)
        for (int after = 0; after < 2; after++) {
            struct dgf_bytes slot = dgf_event_slot(event, after, i);
            struct dgf_mp mp = dgf_mp_of(slot);

            assert(slot.len == 0 || dgf_mp_skip(&mp) == DGF_OK);
        }
}

/* As a row, and as what a source says of itself. */
static void write_records(struct dgf_event *event)
{
    static const struct dgf_policy_ref policy = {.id = "P-1", .title = "t"};
    const struct dgf_evidence evidence = {
        .field = DGF_BYTES("body"),
        .value = event->body,
        .type = DGF_TYPE_JSON,
        .class_ = DGF_CLASS_PUBLIC,
    };
    const struct dgf_judgement judgement = {.policy = &policy,
                                            .verdict = DGF_VERDICT_VIOLATION,
                                            .evidence = &evidence,
                                            .n_evidence = 1};
    const struct dgf_judged judged = {
        .list = &judgement, .n = 1, .n_policies = 1, .verdict = DGF_VERDICT_VIOLATION};
    enum dgf_rc rc;

    rc = dgf_record_audit(&recorder, event, &judged);
    assert(rc == DGF_OK);
    rc = dgf_record_violation(&recorder, event, &judgement);
    assert(rc == DGF_OK);
    for (int kind = DGF_KIND_GAP; kind <= DGF_KIND_RESUME; kind++) {
        event->kind = (uint8_t)kind;
        rc = dgf_record_of_event(&recorder, event);
        assert(rc == DGF_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    const struct dgf_event_meta meta = {.commit_ns = 1, .tx = DGF_BYTES("7")};
    struct dgf_event *event = NULL, *again = NULL;
    struct dgf_err err;

    if (!object)
        setup();
    if (dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE,
                               dgf_bytes_of(ptr, len), &meta, &event, &err))
        return 0;
    check_slots(event);
    if (dgf_event_from_msgpack(&builder, object, DGF_KIND_CHANGE, DGF_OP_UPDATE,
                               event->body, &meta, &again, &err))
        abort();
    assert(dgf_bytes_eq(event->body, again->body));
    write_records(event);
    dgf_event_unref(event);
    dgf_event_unref(again);
    return 0;
}
