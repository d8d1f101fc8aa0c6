/* policy_needs.c - what a policy needs from its source, against what it gives. */
#include "engine_part.h"

#include <string.h>

/* `before` is asked only for columns of the key, and rows are only deleted:
 * every replica identity gives that. */
static bool key_is_enough(const struct dgf_policy *policy,
                          const struct dgf_object *object)
{
    const struct dgf_cel_use *uses;
    size_t n = dgf_cel_program_uses(policy->open.condition, &uses);

    if (policy->watch.ops & (1u << DGF_OP_UPDATE | 1u << DGF_OP_REPLACE))
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *dot;
        int column;

        if (!uses[i].var || strcmp(uses[i].var, "before") != 0)
            continue;
        dot = strchr(uses[i].path, '.');
        column = dgf_object_column(
            object, dgf_bytes_of(uses[i].path, dot ? (size_t)(dot - uses[i].path)
                                                   : strlen(uses[i].path)));
        if (column < 0 || !object->columns[column].key)
            return false;
    }
    return true;
}

static bool is_plain(const char *name)
{
    return *name && !(*name >= '0' && *name <= '9') &&
           name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

static void add_name(struct dgf_buf *out, const char *name)
{
    if (is_plain(name)) {
        dgf_buf_add_str(out, name);
        return;
    }
    dgf_buf_add_byte(out, '"');
    for (; *name; name++) {
        if (*name == '"')
            dgf_buf_add_byte(out, '"');
        dgf_buf_add_byte(out, (uint8_t)*name);
    }
    dgf_buf_add_byte(out, '"');
}

static const char *full_rows(const struct dgf_object *object, struct dgf_buf *out)
{
    dgf_buf_add_str(out, "ALTER TABLE ");
    if (object->schema) {
        add_name(out, object->schema);
        dgf_buf_add_byte(out, '.');
    }
    add_name(out, object->name);
    dgf_buf_add_str(out, " REPLICA IDENTITY FULL");
    return dgf_buf_rc(out) ? NULL : dgf_buf_str(out);
}

static const struct {
    const char *text;
    unsigned bit;
    bool full_rows; /* PostgreSQL sends them when the table is told to */
} needs[] = {
    {"before (whole old rows)", DGF_GIVES_BEFORE, true},
    {"after (whole new rows)", DGF_GIVES_AFTER, true},
    {"deletes", DGF_GIVES_DELETES, false},
    {"every_version", DGF_GIVES_EVERY_VERSION, false},
    {"actor", DGF_GIVES_ACTOR, false},
    {"ddl", DGF_GIVES_DDL, false},
    {"key", DGF_GIVES_KEY, false},
};

bool dgf_policy_check_needs(const struct dgf_policy *policy, struct dgf_source *src,
                            const struct dgf_object *object, struct dgf_gap_sink sink)
{
    unsigned gives =
        src && src->type && src->type->gives ? src->type->gives(src, object) : ~0u;
    unsigned missing = policy->needs & ~gives;

    if ((missing & DGF_GIVES_BEFORE) && (gives & DGF_GIVES_KEY) &&
        key_is_enough(policy, object))
        missing &= ~DGF_GIVES_BEFORE;
    for (size_t i = 0; i < DGF_ARRAY_LEN(needs); i++) {
        char text[128];
        struct dgf_buf fix;

        if (!(missing & needs[i].bit))
            continue;
        dgf_buf_init(&fix, 4096);
        snprintf(text, sizeof(text), "the source does not give %s", needs[i].text);
        sink.add(sink.ctx, policy, "E0441", text,
                 needs[i].full_rows && object->source_type &&
                         strcmp(object->source_type, "postgres") == 0
                     ? full_rows(object, &fix)
                     : NULL);
        dgf_buf_release(&fix);
    }
    return missing == 0;
}
