/* policy_preflight.c - policies against the objects that sources say they read. */
#include "engine_part.h"

#include "base/parse.h"

#define MAX_NAMES 10000 /* to suggest from */

struct dgf_preflight {
    struct dgf_policy_set *set;
    bool *seen; /* by policy: it watches something, or nobody can say */
    char **names;
    size_t n_names, cap_names;
};

struct dgf_preflight *dgf_preflight_new(struct dgf_policy_set *set)
{
    struct dgf_preflight *preflight = dgf_calloc(1, sizeof(*preflight));

    if (!preflight)
        return NULL;
    preflight->set = dgf_policy_set_ref(set);
    preflight->seen = dgf_calloc(set->n_policies + 1, sizeof(bool));
    if (!preflight->seen) {
        dgf_preflight_free(preflight);
        return NULL;
    }
    return preflight;
}

void dgf_preflight_free(struct dgf_preflight *preflight)
{
    if (!preflight)
        return;
    for (size_t i = 0; i < preflight->n_names; i++)
        dgf_free(preflight->names[i]);
    dgf_free(preflight->names);
    dgf_free(preflight->seen);
    dgf_policy_set_unref(preflight->set);
    dgf_free(preflight);
}

static enum dgf_rc keep_name(struct dgf_preflight *preflight, const char *text)
{
    char **names;

    if (preflight->n_names == MAX_NAMES)
        return DGF_OK;
    names = dgf_policy_array_grow(preflight->names, preflight->n_names,
                                  &preflight->cap_names, sizeof(*names));
    if (!names)
        return DGF_NOMEM;
    preflight->names = names;
    names[preflight->n_names] = dgf_strdup(text);
    return names[preflight->n_names] ? (preflight->n_names++, DGF_OK) : DGF_NOMEM;
}

enum dgf_rc dgf_preflight_object(struct dgf_preflight *preflight,
                                 struct dgf_source *src, struct dgf_object *object,
                                 struct dgf_findings *findings)
{
    struct dgf_policy_set *set = preflight->set;
    enum dgf_rc rc = keep_name(preflight, object->text);

    for (size_t i = 0; i < set->n_policies; i++)
        preflight->seen[i] |= dgf_policy_watches(set->policies[i], src->name, object);
    return rc ? rc : dgf_policy_set_check(set, src, object, findings);
}

void dgf_preflight_silent(struct dgf_preflight *preflight, const char *source)
{
    for (size_t i = 0; i < preflight->set->n_policies; i++) {
        const struct dgf_policy_watch *watch = &preflight->set->policies[i]->watch;

        preflight->seen[i] |= watch->n_sources == 0;
        for (size_t j = 0; j < watch->n_sources; j++)
            preflight->seen[i] |= strcmp(watch->sources[j], source) == 0;
    }
}

void dgf_preflight_end(struct dgf_preflight *preflight, struct dgf_findings *findings)
{
    for (size_t i = 0; i < preflight->set->n_policies; i++) {
        const struct dgf_policy *policy = preflight->set->policies[i];
        const struct dgf_policy_watch *watch = &policy->watch;
        const char *near = NULL;

        if (preflight->seen[i] || policy->ref.mode == DGF_MODE_OFF ||
            !(watch->kinds >> DGF_KIND_CHANGE & 1) || watch->n_objects == 0)
            continue;
        for (size_t j = 0; j < watch->n_objects && !near; j++)
            near = dgf_nearest(watch->objects[j], (const char *const *)preflight->names,
                               preflight->n_names);
        dgf_findings_add(
            findings, DGF_FINDING_WARNING, "W0449", policy->mark, NULL,
            "policy '%s' watches nothing: no object of its sources matches "
            "'%s'%s%s%s%s",
            policy->ref.id, watch->objects[0],
            watch->n_objects > 1 ? " or the others" : "",
            near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
}
