#include "policy.h"

#include <string.h>

const struct dgf_policy_ref dgf_policy_coverage = {
    .id = "DGF-COV-1",
    .title = "Every policy sees what it needs",
    .severity = DGF_SEVERITY_HIGH,
    .mode = DGF_MODE_ON,
    .json = "{\"id\":\"DGF-COV-1\",\"title\":\"Every policy sees what it needs\","
            "\"severity\":\"high\"}",
    .fix = "Let the source give what the policy needs, or change what it watches.",
};

void *dgf_policy_array_grow(void *list, size_t n, size_t *cap, size_t size)
{
    size_t more = *cap ? *cap * 2 : 16, bytes;
    void *bigger;

    if (n < *cap)
        return list;
    if (!dgf_mul_size(more, size, &bytes))
        return NULL;
    bigger = dgf_realloc(list, bytes);
    if (bigger)
        *cap = more;
    return bigger;
}

struct dgf_policy_set *dgf_policy_set_new(void)
{
    struct dgf_policy_set *set = dgf_calloc(1, sizeof(*set));

    if (!set)
        return NULL;
    atomic_init(&set->refs, 1);
    dgf_arena_init(&set->arena, DGF_POLICY_SET_MAX_BYTES);
    dgf_map_init(&set->by_id);
    return set;
}

struct dgf_policy_set *dgf_policy_set_ref(struct dgf_policy_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void dgf_policy_set_unref(struct dgf_policy_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->n_policies; i++)
        dgf_policy_code_release(set->policies[i], &set->policies[i]->open);
    for (size_t i = 0; i < set->n_files; i++)
        dgf_cel_env_free(set->files[i]->env);
    dgf_free(set->policies);
    dgf_free(set->files);
    dgf_free(set->classes);
    dgf_map_release(&set->by_id, NULL);
    dgf_arena_release(&set->arena);
    dgf_free(set);
}

bool dgf_policy_set_file(const struct dgf_policy_set *set, size_t i,
                         const char **ret_path, const uint8_t **ret_sha256)
{
    if (i >= set->n_files)
        return false;
    *ret_path = set->files[i]->path;
    *ret_sha256 = set->files[i]->sha256;
    return true;
}

const char *dgf_policy_set_digest(const struct dgf_policy_set *set)
{
    return set->digest;
}

size_t dgf_policy_set_count(const struct dgf_policy_set *set)
{
    return set->n_policies;
}

const struct dgf_policy_ref *dgf_policy_set_at(const struct dgf_policy_set *set,
                                               size_t i)
{
    return i < set->n_policies ? &set->policies[i]->ref : NULL;
}

static const struct dgf_policy *find(const struct dgf_policy_set *set, const char *id)
{
    return set ? dgf_map_get(&set->by_id, dgf_bytes_str(id)) : NULL;
}

static void add_ids(struct dgf_json *json, const char *name,
                    const struct dgf_policy_set *of,
                    const struct dgf_policy_set *against, bool changed)
{
    dgf_json_key(json, name);
    dgf_json_begin_array(json);
    for (size_t i = 0; of && i < of->n_policies; i++) {
        const struct dgf_policy *policy = of->policies[i];
        const struct dgf_policy *other = find(against, policy->ref.id);
        bool differs =
            other && memcmp(other->digest, policy->digest, DGF_SHA256_LEN) != 0;

        if (changed ? differs : !other)
            dgf_json_str(json, policy->ref.id);
    }
    dgf_json_end_array(json);
}

void dgf_policy_set_diff(const struct dgf_policy_set *old_set,
                         const struct dgf_policy_set *new_set, struct dgf_buf *out_json)
{
    struct dgf_json json = dgf_json_of(out_json);

    dgf_json_begin_object(&json);
    if (old_set) {
        dgf_json_key(&json, "old");
        dgf_json_str(&json, old_set->digest);
    }
    if (new_set) {
        dgf_json_key(&json, "new");
        dgf_json_str(&json, new_set->digest);
    }
    add_ids(&json, "added", new_set, old_set, false);
    add_ids(&json, "removed", old_set, new_set, false);
    add_ids(&json, "changed", new_set, old_set, true);
    dgf_json_end_object(&json);
}
