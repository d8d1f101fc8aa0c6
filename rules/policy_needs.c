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

static const struct {
    unsigned bit;
    const char *text, *fix_type, *fix;
} needs[] = {
    {DGF_GIVES_BEFORE, "before (whole old rows)", "postgres",
     "ALTER TABLE %s REPLICA IDENTITY FULL"},
    {DGF_GIVES_AFTER, "after (whole new rows)", "postgres",
     "ALTER TABLE %s REPLICA IDENTITY FULL"},
    {DGF_GIVES_DELETES, "deletes", "postgres",
     "ALTER PUBLICATION dgf SET (publish = 'insert, update, delete, truncate')"},
    {DGF_GIVES_EVERY_VERSION, "every_version", NULL, NULL},
    {DGF_GIVES_ACTOR, "actor", "postgres",
     "SELECT pg_logical_emit_message(true, 'dgf.actor', '{\"name\":\"...\"}')"},
    {DGF_GIVES_DDL, "ddl", NULL, NULL},
    {DGF_GIVES_KEY, "key", NULL, NULL},
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
        char text[128], fix[512];
        bool has_fix = needs[i].fix && object->source_type &&
                       strcmp(needs[i].fix_type, object->source_type) == 0;

        if (!(missing & needs[i].bit))
            continue;
        snprintf(text, sizeof(text), "the source does not give %s", needs[i].text);
        if (has_fix && strstr(needs[i].fix, "%s"))
            snprintf(fix, sizeof(fix), "ALTER TABLE %s REPLICA IDENTITY FULL",
                     object->text);
        else
            snprintf(fix, sizeof(fix), "%s", has_fix ? needs[i].fix : "");
        sink.add(sink.ctx, policy, "E0441", text, has_fix ? fix : NULL);
    }
    return missing == 0;
}
