#include <string.h>

#include "bus/event.h"

#define FEW_FIELDS 16

/* Field names of one section; a map only when there are many. */
struct names {
    struct dgf_bytes few[FEW_FIELDS];
    uint32_t n;
    struct dgf_map many;
};

static enum dgf_rc spill_names(struct names *names)
{
    for (uint32_t i = 0; i < FEW_FIELDS; i++)
        if (dgf_map_put(&names->many, names->few[i], names, NULL))
            return DGF_NOMEM;
    return DGF_OK;
}

/* DGF_BAD_DATA when the name was there before. */
static enum dgf_rc add_name(struct names *names, struct dgf_bytes name)
{
    if (names->n < FEW_FIELDS) {
        for (uint32_t i = 0; i < names->n; i++)
            if (dgf_bytes_eq(names->few[i], name))
                return DGF_BAD_DATA;
        names->few[names->n++] = name;
        return DGF_OK;
    }
    if (names->n++ == FEW_FIELDS && spill_names(names))
        return DGF_NOMEM;
    if (dgf_map_get(&names->many, name))
        return DGF_BAD_DATA;
    return dgf_map_put(&names->many, name, names, NULL) ? DGF_NOMEM : DGF_OK;
}

static enum dgf_rc copy_fields(struct dgf_event_builder *builder, struct dgf_mp *mp,
                               const char *section, uint32_t n, struct names *names,
                               struct dgf_err *err)
{
    struct dgf_mp_token name;
    struct dgf_bytes value;

    for (uint32_t i = 0; i < n; i++) {
        enum dgf_rc rc;

        if (dgf_mp_next(mp, &name) || name.kind != DGF_MP_STR ||
            dgf_mp_value(mp, &value))
            return dgf_err_set(err, DGF_BAD_DATA,
                               "cannot read section '%s': a field name is not a text",
                               section);
        rc = add_name(names, name.bytes);
        if (rc == DGF_BAD_DATA)
            return dgf_err_set(
                err, rc, "cannot read section '%s': a field is there twice", section);
        if (rc)
            return dgf_err_set(err, rc, "cannot read section '%s': out of memory",
                               section);
        dgf_buf_add_bytes(dgf_event_named(builder, name.bytes), value);
    }
    return DGF_OK;
}

static enum dgf_rc copy_map(struct dgf_event_builder *builder, enum dgf_section section,
                            struct dgf_bytes value, struct dgf_err *err)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct names names = {.n = 0};
    struct dgf_mp_token head;
    enum dgf_rc rc;

    if (dgf_mp_next(&mp, &head))
        return DGF_BAD_DATA;
    dgf_map_init(&names.many);
    dgf_event_section(builder, section);
    rc = copy_fields(builder, &mp, dgf_section_text(section), head.n, &names, err);
    dgf_event_section_end(builder);
    dgf_map_release(&names.many, NULL);
    return rc;
}

static bool is_unavailable(const struct dgf_mp_token *token)
{
    return token->kind == DGF_MP_EXT && token->ext == DGF_EXT_UNAVAILABLE;
}

static bool are_texts(struct dgf_mp mp, uint32_t n)
{
    struct dgf_mp_token token;

    for (uint32_t i = 0; i < n; i++)
        if (dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR)
            return false;
    return true;
}

static enum dgf_rc copy_section(struct dgf_event_builder *builder,
                                enum dgf_section section, struct dgf_bytes value,
                                struct dgf_err *err)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token head;
    bool fine;

    if (dgf_mp_next(&mp, &head))
        return dgf_err_set(err, DGF_BAD_DATA,
                           "cannot read section '%s': it is cut short",
                           dgf_section_text(section));
    if (head.kind == DGF_MP_MAP && section != DGF_SECTION_CHANGED)
        return copy_map(builder, section, value, err);
    fine = head.kind == DGF_MP_NIL || is_unavailable(&head) ||
           (section == DGF_SECTION_CHANGED && head.kind == DGF_MP_ARRAY &&
            are_texts(mp, head.n));
    if (!fine)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "cannot read section '%s': it is not a %s",
                           dgf_section_text(section),
                           section == DGF_SECTION_CHANGED ? "list of names" : "map");
    dgf_buf_add_bytes(dgf_event_section_value(builder, section), value);
    dgf_event_section_end(builder);
    return DGF_OK;
}

static int section_of(struct dgf_bytes name)
{
    for (int i = 0; i < DGF_SECTION_N; i++)
        if (dgf_bytes_eq(dgf_bytes_str(dgf_section_text((enum dgf_section)i)), name))
            return i;
    return -1;
}

static enum dgf_rc copy_sections(struct dgf_event_builder *builder,
                                 struct dgf_bytes body, struct dgf_err *err)
{
    struct dgf_mp mp = dgf_mp_of(body);
    struct dgf_mp_token head, name;
    struct dgf_bytes value;

    if (dgf_mp_next(&mp, &head) || head.kind != DGF_MP_MAP)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "cannot read event: its body is not a map");
    for (uint32_t i = 0; i < head.n; i++) {
        enum dgf_rc rc;
        int section;

        if (dgf_mp_next(&mp, &name) || name.kind != DGF_MP_STR ||
            dgf_mp_value(&mp, &value))
            return dgf_err_set(err, DGF_BAD_DATA,
                               "cannot read event: a section name is not a text");
        section = section_of(name.bytes);
        if (section < 0)
            return dgf_err_set(err, DGF_BAD_DATA, "cannot read event: unknown section");
        if (builder->starts[section])
            return dgf_err_set(err, DGF_BAD_DATA,
                               "cannot read event: section '%s' is there twice",
                               dgf_section_text((enum dgf_section)section));
        rc = copy_section(builder, (enum dgf_section)section, value, err);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

enum dgf_rc dgf_event_from_msgpack(struct dgf_event_builder *builder,
                                   struct dgf_object *object, enum dgf_event_kind kind,
                                   enum dgf_op op, struct dgf_bytes body,
                                   const struct dgf_event_meta *meta,
                                   struct dgf_event **ret, struct dgf_err *err)
{
    enum dgf_rc rc;

    if (dgf_mp_check(body))
        return dgf_err_set(err, DGF_BAD_DATA,
                           "cannot read event: its body is not msgpack");
    dgf_event_begin(builder, object, kind, op);
    rc = copy_sections(builder, body, err);
    if (rc)
        return rc;
    rc = dgf_event_finish(builder, meta, ret);
    return rc ? dgf_err_set(err, rc,
                            "cannot read event: out of memory or over %zu bytes",
                            builder->body.max)
              : DGF_OK;
}
