#include "base/clock.h"
#include "source_cosmos.h"

/* Properties of the account and of its containers as setting events: one when they are
 * seen first, one with before and after whenever they are others.  What was seen last
 * is source state, as the JSON it came as. */

#define SEEN_MAX (256u << 10)

struct look {
    struct dgf_cosmos_source *self;
    struct dgf_object *object;
    const char *kind, *name; /* "account", "container" */
    struct dgf_bytes now;
    struct dgf_buf key, before;
};

static const char *put_map(struct dgf_event_builder *builder, enum dgf_section section,
                           struct dgf_bytes object)
{
    struct dgf_jv_walk walk = dgf_jv_walk(object);
    struct dgf_bytes name, value;
    const char *why = NULL;
    char text[256];

    dgf_event_section(builder, section);
    while (!why && dgf_jv_next(&walk, &name, &value))
        if (dgf_jv_copy(name, text, sizeof(text)))
            why = dgf_jv_pack(value, DGF_COSMOS_DEPTH_MAX,
                              dgf_event_named(builder, dgf_bytes_str(text)));
    dgf_event_section_end(builder);
    return why;
}

static bool build(struct look *look, bool first)
{
    struct dgf_event_builder *builder = &look->self->builder;

    dgf_event_begin(builder, look->object, DGF_KIND_SETTING,
                    first ? DGF_OP_OBSERVE : DGF_OP_ALTER);
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("kind")),
                   dgf_bytes_str(look->kind));
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("name")),
                   dgf_bytes_str(look->name));
    dgf_event_section_end(builder);
    if (first)
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_NOT_SENT);
    else if (put_map(builder, DGF_SECTION_BEFORE, dgf_buf_bytes(&look->before)))
        return false;
    return !put_map(builder, DGF_SECTION_AFTER, look->now);
}

static void tell(struct look *look, bool first)
{
    struct dgf_cosmos_source *self = look->self;
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns(), .cause = DGF_CAUSE_USER};
    struct dgf_id_hash hash;
    struct dgf_event *event;

    meta.seen_ns = meta.commit_ns;
    dgf_id_begin(&hash, "inspect");
    dgf_id_add(&hash, DGF_BYTES("cosmos"));
    dgf_id_add(&hash, dgf_bytes_str(self->account));
    dgf_id_add(&hash, dgf_buf_bytes(&look->key));
    dgf_id_add(&hash, dgf_buf_bytes(&look->before));
    dgf_id_add(&hash, look->now);
    meta.id = dgf_id_end(&hash);
    /* What cannot be said of properties is asked again at the next look. */
    if (!build(look, first) || dgf_event_finish(&self->builder, &meta, &event))
        return;
    dgf_cosmos_emit(self, event);
    if (!self->failed &&
        dgf_source_put_state(&self->base, dgf_buf_bytes(&look->key), look->now))
        dgf_cosmos_fail(self, DGF_RETRY, "cannot remember what was seen");
}

static void compare(struct look *look)
{
    struct dgf_cosmos_source *self = look->self;
    enum dgf_rc rc;

    dgf_buf_init(&look->key, 1024);
    dgf_buf_init(&look->before, SEEN_MAX);
    dgf_buf_addf(&look->key, "inspect/%s/%s", look->kind, look->name);
    if (look->now.len && look->now.len < SEEN_MAX) {
        rc =
            dgf_source_get_state(&self->base, dgf_buf_bytes(&look->key), &look->before);
        /* What was kept is ours, but is looked at like all else. */
        if (rc == DGF_AGAIN ||
            (!rc && dgf_jv_check(dgf_buf_bytes(&look->before), NULL)))
            dgf_buf_clear(&look->before);
        else if (rc)
            dgf_cosmos_fail(self, DGF_RETRY, "cannot read what was seen");
        if (!self->failed && !dgf_bytes_eq(dgf_buf_bytes(&look->before), look->now))
            tell(look, look->before.len == 0);
    }
    dgf_buf_release(&look->key);
    dgf_buf_release(&look->before);
}

void dgf_cosmos_inspect_account(struct dgf_cosmos_source *self)
{
    struct look look = {.self = self,
                        .kind = "account",
                        .name = self->account,
                        .now = dgf_buf_bytes(&self->account_properties)};

    if (!self->account[0])
        return;
    if (dgf_object_new("cosmos", NULL, NULL, self->account, NULL, 0, 1, &look.object)) {
        dgf_cosmos_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    compare(&look);
    dgf_object_unref(look.object);
}

void dgf_cosmos_inspect_container(struct dgf_cosmos_container *container)
{
    struct look look = {.self = container->source,
                        .object = container->object,
                        .kind = "container",
                        .name = container->name,
                        .now = dgf_buf_bytes(&container->properties)};

    compare(&look);
}
