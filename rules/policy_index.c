/* policy_index.c - which policies look at an object, worked out once when it is
 * first seen. */
#include "engine_part.h"

#include <stdlib.h>
#include <string.h>

#include "classify.h"

#define GAPS_MAX (4 * 1024)

/* ---- watching ---- */

bool dgf_policy_watches(const struct dgf_policy *policy, const char *source,
                        const struct dgf_object *object)
{
    const struct dgf_policy_watch *watch = &policy->watch;
    bool found = watch->n_sources == 0;

    if (policy->ref.mode == DGF_MODE_OFF)
        return false;
    for (size_t i = 0; i < watch->n_sources && !found; i++)
        found = source && strcmp(watch->sources[i], source) == 0;
    if (!found)
        return false;
    found = watch->n_objects == 0;
    for (size_t i = 0; i < watch->n_objects && !found; i++)
        found = dgf_glob_object(watch->objects[i], object, (struct dgf_bytes){NULL, 0});
    return found;
}

/* ---- programs for the columns ---- */

static bool is_change(const struct dgf_policy *policy)
{
    return policy->watch.kinds >> DGF_KIND_CHANGE & 1;
}

struct making {
    struct dgf_binding *binding;
    struct dgf_policy_set *set;
    struct dgf_source *src;
    struct dgf_gap_sink sink;
};

static size_t file_index(const struct dgf_policy_set *set,
                         const struct dgf_policy_file *file)
{
    size_t i = 0;

    while (set->files[i] != file)
        i++;
    return i;
}

/* The file's environment for the columns of the object; NULL: no memory. */
static const struct dgf_cel_env *column_env(struct making *making,
                                            const struct dgf_policy_file *file)
{
    struct dgf_cel_env **env = &making->binding->envs[file_index(making->set, file)];
    const struct dgf_policy_let *wrong = NULL;
    struct dgf_policy_presence_list presence = {.names = NULL};
    struct dgf_cel_issues issues;

    if (*env)
        return *env;
    dgf_cel_issues_init(&issues);
    if (dgf_policy_presence_gather(making->set, file, &presence))
        *env = dgf_policy_env_new(
            file, making->binding->object,
            &(struct dgf_policy_presence){presence.names, presence.n}, &issues, &wrong);
    dgf_cel_issues_release(&issues);
    dgf_free(presence.names);
    return *env;
}

static void tell_issue(struct making *making, const struct dgf_policy *policy,
                       const char *code, const char *where,
                       const struct dgf_cel_issues *issues)
{
    const char *near = issues->n > 0 ? issues->list[0].suggestion : NULL;
    char text[512];

    snprintf(text, sizeof(text), "%s%s%s%s%s", where,
             issues->n > 0 ? issues->list[0].text : "an expression does not fit",
             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    making->sink.add(making->sink.ctx, policy, code, text, NULL);
}

/* It is judged all the same: "(absent)" or "(error)" stands in the record. */
static void tell_unshown(struct making *making, const struct dgf_policy *policy,
                         const struct dgf_policy_code *code,
                         const struct dgf_cel_issues *issues)
{
    struct dgf_bytes name;
    const char *where;
    char text[512];

    if (issues->n > 0) {
        tell_issue(making, policy, "W0450", "message: ", issues);
        return;
    }
    where = dgf_policy_shows_no_column(policy, code, making->binding->object, &name);
    if (!where)
        return;
    snprintf(text, sizeof(text), "%s: unknown field in '%.*s'", where, (int)name.len,
             (const char *)name.ptr);
    making->sink.add(making->sink.ctx, policy, "W0450", text, NULL);
}

/* What only another policy of the file asked for is no column here. */
static enum dgf_rc check_fields(struct making *making, const struct dgf_policy *policy,
                                struct dgf_policy_code *code)
{
    struct dgf_cel_use use;
    char text[512];

    if (!dgf_policy_reads_no_column(policy, code, making->binding->object, &use))
        return DGF_OK;
    snprintf(text, sizeof(text), "unknown field '%s.%.*s'", use.var,
             (int)strcspn(use.path, "."), use.path);
    making->sink.add(making->sink.ctx, policy, "E0442", text, NULL);
    dgf_policy_code_release(policy, code);
    return DGF_BAD_CONFIG;
}

static enum dgf_rc add_typed(struct making *making, const struct dgf_policy *policy,
                             struct dgf_candidate *candidate)
{
    const struct dgf_cel_env *env = column_env(making, policy->file);
    struct dgf_cel_issues issues, unshown;
    enum dgf_rc rc;

    if (!env)
        return DGF_NOMEM;
    dgf_cel_issues_init(&issues);
    dgf_cel_issues_init(&unshown);
    rc = dgf_policy_code_make(policy, env, &issues, &unshown, &candidate->own);
    if (rc == DGF_BAD_CONFIG)
        tell_issue(making, policy, "E0442", "", &issues);
    else if (rc == DGF_OK)
        rc = check_fields(making, policy, &candidate->own);
    if (rc == DGF_OK)
        tell_unshown(making, policy, &candidate->own, &unshown);
    dgf_cel_issues_release(&unshown);
    dgf_cel_issues_release(&issues);
    candidate->code = &candidate->own;
    candidate->env = env;
    return rc;
}

static void add_equalities(struct dgf_candidate *candidate,
                           const struct dgf_object *object)
{
    const struct dgf_cel_equality *list;
    size_t n = candidate->policy->require
                   ? 0
                   : dgf_cel_program_equalities(candidate->code->condition, &list);

    for (size_t i = 0; i < n && candidate->n_equalities < DGF_MAX_EQUALITIES; i++) {
        struct dgf_equality *to = &candidate->equalities[candidate->n_equalities];
        bool after = strcmp(list[i].var, "after") == 0;
        int column = dgf_object_column(object, dgf_bytes_str(list[i].path));

        if ((!after && strcmp(list[i].var, "before") != 0) || column < 0)
            continue;
        to->after = after;
        to->column = (uint32_t)column;
        if (list[i].constant.kind == DGF_CEL_STRING) {
            to->kind = DGF_MP_STR;
            to->text = dgf_cel_bytes_of(&list[i].constant);
        } else if (list[i].constant.kind == DGF_CEL_INT) {
            to->kind = DGF_MP_INT;
            to->i64 = list[i].constant.i64;
        } else if (list[i].constant.kind == DGF_CEL_BOOL) {
            to->kind = DGF_MP_BOOL;
            to->i64 = list[i].constant.boolean;
        } else {
            continue;
        }
        candidate->n_equalities++;
    }
}

/* Up to two candidates: changes are judged by column, everything else about
 * the object (its definition, its grants) by name. */
static enum dgf_rc add_policy(struct making *making, const struct dgf_policy *policy)
{
    struct dgf_binding *binding = making->binding;
    bool typed = binding->object->n_columns > 0 && is_change(policy);
    uint32_t others = policy->watch.kinds & ~(1u << DGF_KIND_CHANGE);

    if (!dgf_policy_check_needs(policy, making->src, binding->object, making->sink))
        return DGF_OK;
    if (typed) {
        struct dgf_candidate *candidate = &binding->all[binding->n_all];
        enum dgf_rc rc = add_typed(making, policy, candidate);

        if (rc == DGF_NOMEM)
            return rc;
        if (rc == DGF_OK) {
            candidate->policy = policy;
            add_equalities(candidate, binding->object);
            binding->n_all++;
        }
    }
    if (!typed || others) {
        struct dgf_candidate *candidate = &binding->all[binding->n_all++];

        candidate->policy = policy;
        candidate->code = &policy->open;
        candidate->env = policy->file->env;
    }
    return DGF_OK;
}

/* ---- lists an operation ---- */

static bool serves(const struct dgf_binding *binding,
                   const struct dgf_candidate *candidate, unsigned kind)
{
    bool typed = candidate->code == &candidate->own;

    if (!(candidate->policy->watch.kinds >> kind & 1))
        return false;
    if (binding->object->n_columns == 0 || !is_change(candidate->policy))
        return true;
    return typed == (kind == DGF_KIND_CHANGE);
}

static enum dgf_rc fill_list(struct dgf_binding *binding, unsigned kind, unsigned op,
                             struct dgf_candidates *list)
{
    uint32_t n = 0;

    for (int fill = 0; fill < 2; fill++) {
        n = 0;
        for (size_t i = 0; i < binding->n_all; i++) {
            struct dgf_candidate *candidate = &binding->all[i];

            if (!serves(binding, candidate, kind) ||
                !(candidate->policy->watch.ops >> op & 1))
                continue;
            if (fill)
                list->list[n] = candidate;
            n++;
        }
        if (!fill && n > 0) {
            list->list = dgf_arena_alloc(&binding->arena, n * sizeof(*list->list));
            if (!list->list)
                return DGF_NOMEM;
        }
    }
    list->n = n;
    return DGF_OK;
}

static enum dgf_rc fill_lists(struct dgf_binding *binding)
{
    uint32_t kinds = 0;
    enum dgf_rc rc = DGF_OK;

    for (size_t i = 0; i < binding->n_all; i++)
        kinds |= binding->all[i].policy->watch.kinds;
    for (unsigned kind = 0; kind < DGF_KIND_N; kind++) {
        size_t size = DGF_OP_N * sizeof(struct dgf_candidates);

        if (!(kinds >> kind & 1))
            continue;
        binding->by_kind[kind] = dgf_arena_alloc(&binding->arena, size);
        if (!binding->by_kind[kind])
            return DGF_NOMEM;
        memset(binding->by_kind[kind], 0, size);
        for (unsigned op = 0; op < DGF_OP_N && !rc; op++)
            rc = fill_list(binding, kind, op, &binding->by_kind[kind][op]);
    }
    return rc;
}

static enum dgf_rc fill_labels(struct dgf_binding *binding,
                               const struct dgf_source *src)
{
    uint32_t n = src ? (uint32_t)src->labels.n : 0;
    struct dgf_cel_value *pairs =
        dgf_arena_alloc(&binding->arena, (2 * (size_t)n + 1) * sizeof(*pairs));
    const struct dgf_cel_map *map;

    for (uint32_t i = 0; pairs && i < n; i++) {
        pairs[2 * i] = dgf_cel_string(dgf_bytes_str(src->labels.keys[i]));
        pairs[2 * i + 1] = dgf_cel_string(dgf_bytes_str(src->labels.values[i]));
    }
    map = pairs ? dgf_cel_map_new(&binding->arena, pairs, n) : NULL;
    if (!map)
        return DGF_NOMEM;
    binding->labels = dgf_cel_map_of(map);
    return DGF_OK;
}

/* ---- the binding ---- */

struct gap_text {
    struct dgf_buf buf;
    const struct dgf_object *object;
    unsigned n, unsaid;
};

static void add_gap_text(void *ctx, const struct dgf_policy *policy, const char *code,
                         const char *text, const char *fix)
{
    struct gap_text *gaps = ctx;

    if (*code == 'W') /* it is judged */
        return;
    if (gaps->buf.len > GAPS_MAX / 2) {
        gaps->unsaid++;
        return;
    }
    if (gaps->n++ > 0)
        dgf_buf_add_str(&gaps->buf, "; ");
    dgf_buf_addf(&gaps->buf, "policy '%s' is not judged on %s: %s", policy->ref.id,
                 gaps->object->text, text);
    if (fix)
        dgf_buf_addf(&gaps->buf, " (%s)", fix);
}

static void free_binding(void *ptr)
{
    struct dgf_binding *binding = ptr;

    if (!binding)
        return;
    for (size_t i = 0; i < binding->n_all; i++)
        if (binding->all[i].code == &binding->all[i].own)
            dgf_policy_code_release(binding->all[i].policy, &binding->all[i].own);
    for (size_t i = 0; binding->envs && i < binding->set->n_files; i++)
        dgf_cel_env_free(binding->envs[i]);
    dgf_free(binding->envs);
    dgf_free(binding->all);
    dgf_free(binding->gaps);
    dgf_map_release(&binding->classes, NULL);
    dgf_arena_release(&binding->arena);
    dgf_policy_set_unref(binding->set);
    dgf_free(binding);
}

static enum dgf_rc fill(struct making *making)
{
    struct dgf_binding *binding = making->binding;
    struct dgf_policy_set *set = making->set;
    const char *source = making->src ? making->src->name : NULL;

    binding->envs = dgf_calloc(set->n_files + 1, sizeof(*binding->envs));
    binding->all = dgf_calloc(2 * set->n_policies + 1, sizeof(*binding->all));
    if (!binding->envs || !binding->all)
        return DGF_NOMEM;
    for (size_t i = 0; i < set->n_policies; i++)
        if (dgf_policy_watches(set->policies[i], source, binding->object)) {
            binding->every_event |= set->policies[i]->every_event;
            if (add_policy(making, set->policies[i]))
                return DGF_NOMEM;
        }
    return DGF_OK;
}

/* Gives back what a thousand policies that do not watch would have needed. */
static void shrink(struct dgf_binding *binding)
{
    struct dgf_candidate *old = binding->all, *fewer;

    fewer = dgf_calloc(binding->n_all + 1, sizeof(*fewer));
    if (!fewer)
        return;
    memcpy(fewer, old, binding->n_all * sizeof(*fewer));
    for (size_t i = 0; i < binding->n_all; i++)
        if (old[i].code == &old[i].own)
            fewer[i].code = &fewer[i].own;
    binding->all = fewer;
    dgf_free(old);
}

static struct dgf_binding *new_binding(struct dgf_policy_set *set,
                                       struct dgf_object *object)
{
    struct dgf_binding *binding = dgf_calloc(1, sizeof(*binding));

    if (!binding)
        return NULL;
    binding->set = dgf_policy_set_ref(set);
    binding->object = object;
    dgf_arena_init(&binding->arena, 64 * 1024 * 1024);
    dgf_map_init(&binding->classes);
    return binding;
}

enum dgf_rc dgf_binding_make(struct dgf_policy_set *set, struct dgf_source *src,
                             struct dgf_object *object, uint64_t generation,
                             struct dgf_binding **ret)
{
    struct gap_text gaps = {.object = object};
    struct making making = {new_binding(set, object), set, src, {add_gap_text, &gaps}};
    enum dgf_rc rc;

    if (!making.binding)
        return DGF_NOMEM;
    making.binding->generation = generation;
    making.binding->source = src;
    dgf_buf_init(&gaps.buf, GAPS_MAX);
    rc = fill(&making);
    if (!rc) {
        shrink(making.binding);
        rc = fill_lists(making.binding);
    }
    if (!rc)
        rc = fill_labels(making.binding, src);
    if (!rc)
        rc = dgf_classify_object(set, object);
    if (!rc && gaps.n > 0) {
        if (gaps.unsaid > 0)
            dgf_buf_addf(&gaps.buf, "; and %u more", gaps.unsaid);
        making.binding->gaps = dgf_strdup(dgf_buf_str(&gaps.buf));
        rc = making.binding->gaps ? DGF_OK : DGF_NOMEM;
    }
    dgf_buf_release(&gaps.buf);
    if (rc) {
        free_binding(making.binding);
        return rc;
    }
    if (object->unbind)
        object->unbind(object->binding);
    object->binding = *ret = making.binding;
    object->unbind = free_binding;
    return DGF_OK;
}

enum dgf_class dgf_binding_class(struct dgf_binding *binding, struct dgf_bytes field)
{
    const struct dgf_object *object = binding->object;
    int column = dgf_object_column(object, field);
    uintptr_t known;
    enum dgf_class class_;

    if (column >= 0 && object->classes)
        return (enum dgf_class)object->classes[column];
    known = (uintptr_t)dgf_map_get(&binding->classes, field);
    if (known)
        return (enum dgf_class)(known - 1);
    class_ = dgf_classify(binding->set, object, field, NULL);
    /* Names of document fields come from outside: what does not fit is worked
     * out again. */
    if (binding->classes.n < 4096 &&
        dgf_map_put(&binding->classes, field, (void *)((uintptr_t)class_ + 1), NULL))
        return class_;
    return class_;
}

/* ---- asked beforehand ---- */

struct check {
    struct dgf_findings *findings;
    const struct dgf_object *object;
    const struct dgf_source *src;
};

static void add_gap_finding(void *ctx, const struct dgf_policy *policy,
                            const char *code, const char *text, const char *fix)
{
    struct check *check = ctx;
    const struct dgf_policy_watch *watch = &policy->watch;
    bool one = watch->n_objects == 1 && !strchr(watch->objects[0], '*');
    bool judged = *code == 'W';

    dgf_findings_add(check->findings,
                     !judged ? DGF_FINDING_ERROR
                     : one   ? DGF_FINDING_WARNING
                             : DGF_FINDING_NOTE,
                     code, policy->mark, NULL,
                     "policy '%s' cannot %s %s of source '%s': %s", policy->ref.id,
                     judged ? "show all it names of" : "be judged on",
                     check->object->text,
                     check->src && check->src->name ? check->src->name : "", text);
    if (fix)
        dgf_findings_fix(check->findings, "%s;", fix);
}

enum dgf_rc dgf_policy_set_check(struct dgf_policy_set *set, struct dgf_source *src,
                                 struct dgf_object *object,
                                 struct dgf_findings *findings)
{
    struct check check = {findings, object, src};
    struct making making = {
        new_binding(set, object), set, src, {add_gap_finding, &check}};
    enum dgf_rc rc = making.binding ? fill(&making) : DGF_NOMEM;

    free_binding(making.binding);
    return rc;
}
