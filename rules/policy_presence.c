/* policy_presence.c - fields a table does not have: who may ask for them.
 *
 * !missing(after.x) && after.x > 10 is a fair question about a table without x,
 * after.x > 10 alone is not.  Both may stand in one file and share its
 * environment, so the environment knows every name that is asked for, and each
 * policy is looked through for what it reads without asking. */
#include "engine_part.h"

#include <string.h>

static bool is_row_field(const struct dgf_cel_use *use)
{
    return use->var && use->path && *use->path &&
           (strcmp(use->var, "after") == 0 || strcmp(use->var, "before") == 0);
}

static struct dgf_bytes first_part(const struct dgf_cel_use *use)
{
    return dgf_bytes_of(use->path, strcspn(use->path, "."));
}

/* The i-th program of a policy, NULL for literals; false: there are no more. */
static bool program_at(const struct dgf_policy *policy,
                       const struct dgf_policy_code *code, size_t i,
                       const struct dgf_cel_program **ret)
{
    if (i == 0)
        *ret = code->condition;
    else if (i <= policy->n_parts)
        *ret = code->parts[i - 1];
    else if (i <= policy->n_parts + policy->n_waivers)
        *ret = code->waivers[i - 1 - policy->n_parts];
    else
        return false;
    return true;
}

static bool add_name(struct dgf_policy_presence_list *list, struct dgf_bytes name)
{
    struct dgf_bytes *names;

    for (size_t i = 0; i < list->n; i++)
        if (dgf_bytes_eq(list->names[i], name))
            return true;
    names = dgf_policy_array_grow(list->names, list->n, &list->cap, sizeof(*names));
    if (!names)
        return false;
    list->names = names;
    names[list->n++] = name;
    return true;
}

static bool add_asked(struct dgf_policy_presence_list *list,
                      const struct dgf_cel_program *program)
{
    const struct dgf_cel_use *uses;
    size_t n = program ? dgf_cel_program_uses(program, &uses) : 0;

    for (size_t i = 0; i < n; i++)
        if (is_row_field(&uses[i]) && uses[i].asked &&
            !add_name(list, first_part(&uses[i])))
            return false;
    return true;
}

bool dgf_policy_presence_gather(const struct dgf_policy_set *set,
                                const struct dgf_policy_file *file,
                                struct dgf_policy_presence_list *ret)
{
    for (size_t i = 0; i < set->n_policies; i++) {
        const struct dgf_policy *policy = set->policies[i];
        const struct dgf_cel_program *program;

        if (policy->file != file)
            continue;
        for (size_t j = 0; program_at(policy, &policy->open, j, &program); j++)
            if (!add_asked(ret, program))
                return false;
    }
    return true;
}

static bool asks_for(const struct dgf_cel_program *program,
                     const struct dgf_cel_use *field)
{
    const struct dgf_cel_use *uses;
    size_t n = dgf_cel_program_uses(program, &uses);

    for (size_t i = 0; i < n; i++)
        if (is_row_field(&uses[i]) && uses[i].asked &&
            strcmp(uses[i].var, field->var) == 0 &&
            dgf_bytes_eq(first_part(&uses[i]), first_part(field)))
            return true;
    return false;
}

static bool reads_no_column(const struct dgf_cel_program *program,
                            const struct dgf_policy_code *code,
                            const struct dgf_object *object, struct dgf_cel_use *ret)
{
    const struct dgf_cel_use *uses;
    size_t n = program ? dgf_cel_program_uses(program, &uses) : 0;

    for (size_t i = 0; i < n; i++)
        if (is_row_field(&uses[i]) &&
            dgf_object_column(object, first_part(&uses[i])) < 0 &&
            !asks_for(program, &uses[i]) && !asks_for(code->condition, &uses[i])) {
            *ret = uses[i];
            return true;
        }
    return false;
}

/* The exceptions are worked out after the condition, so what it asked counts for
 * them. */
bool dgf_policy_reads_no_column(const struct dgf_policy *policy,
                                const struct dgf_policy_code *code,
                                const struct dgf_object *object,
                                struct dgf_cel_use *ret)
{
    if (reads_no_column(code->condition, code, object, ret))
        return true;
    for (size_t i = 0; i < policy->n_waivers; i++)
        if (reads_no_column(code->waivers[i], code, object, ret))
            return true;
    return false;
}

/* Has the condition asked for after.x or before.x, the first part of the name? */
static bool is_asked(const struct dgf_policy_code *code, struct dgf_bytes name)
{
    const struct dgf_cel_use *uses;
    size_t n = dgf_cel_program_uses(code->condition, &uses);

    for (size_t i = 0; i < n; i++)
        if (is_row_field(&uses[i]) && uses[i].asked &&
            dgf_bytes_eq(first_part(&uses[i]), name))
            return true;
    return false;
}

const char *dgf_policy_shows_no_column(const struct dgf_policy *policy,
                                       const struct dgf_policy_code *code,
                                       const struct dgf_object *object,
                                       struct dgf_bytes *ret)
{
    struct dgf_cel_use use;

    for (size_t i = 0; i < policy->n_parts; i++)
        if (reads_no_column(code->parts[i], code, object, &use)) {
            *ret = policy->parts[i].expr;
            return "message";
        }
    for (size_t i = 0; i < policy->n_shows; i++)
        if (dgf_object_column(object, policy->shows[i].field) < 0 &&
            !is_asked(code, policy->shows[i].field)) {
            *ret = policy->shows[i].name;
            return "evidence";
        }
    return NULL;
}
