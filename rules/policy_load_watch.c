/* policy_load_watch.c - which events a policy judges. */
#include "policy_load.h"

#include <string.h>

#include "base/parse.h"

#define KIND_BIT(name) (1u << DGF_KIND_##name)

static const char *const *copy_list(struct dgf_policy_load *load,
                                    const struct dgf_str_list *from)
{
    const char **list =
        from->n ? dgf_policy_load_alloc(load, from->n * sizeof(*list)) : NULL;

    for (size_t i = 0; list && i < from->n; i++)
        list[i] = dgf_policy_load_strdup(load, from->list[i]);
    return list;
}

const struct dgf_yaml_node *dgf_policy_load_item(const struct dgf_yaml_node *map,
                                                 const char *name, size_t i)
{
    const struct dgf_yaml_node *node = dgf_yaml_get(map, name);

    if (node && node->kind == DGF_YAML_LIST && i < node->n)
        return node->items[i];
    return node ? node : map;
}

void dgf_policy_load_unknown(struct dgf_policy_load *load, const char *code,
                             const struct dgf_yaml_node *node,
                             const struct dgf_policy *policy, const char *what,
                             const char *word, const char *const *words, size_t n)
{
    const char *near = dgf_nearest(word, words, n);

    if (near)
        DGF_POLICY_ERROR(load, code, node,
                         "policy '%s': unknown %s '%s'; did you mean '%s'?",
                         policy->ref.id, what, word, near);
    else
        DGF_POLICY_ERROR(load, code, node, "policy '%s': unknown %s '%s'",
                         policy->ref.id, what, word);
}

static uint32_t read_words(struct dgf_policy_load *load,
                           const struct dgf_policy *policy,
                           const struct dgf_yaml_node *map, const char *name,
                           const char *what, const struct dgf_str_list *from,
                           const char *const *words, const uint32_t *bits, size_t n)
{
    uint32_t set = 0;
    bool unknown = false;

    for (size_t i = 0; i < from->n; i++) {
        size_t w = 0;

        while (w < n && strcmp(words[w], from->list[i]) != 0)
            w++;
        if (w < n) {
            set |= bits[w];
            continue;
        }
        unknown = true;
        dgf_policy_load_unknown(load, "E0426", dgf_policy_load_item(map, name, i),
                                policy, what, from->list[i], words, n);
    }
    /* What was meant is not known: nothing that rests on it shall be said. */
    return unknown ? ~0u : set;
}

static uint32_t read_ops(struct dgf_policy_load *load, const struct dgf_policy *policy,
                         const struct dgf_yaml_node *map,
                         const struct dgf_str_list *from)
{
    const char *words[DGF_OP_N];
    uint32_t bits[DGF_OP_N];
    size_t n = 0;

    for (unsigned op = DGF_OP_NONE + 1; op < DGF_OP_N; op++, n++) {
        words[n] = dgf_op_text((enum dgf_op)op);
        bits[n] = 1u << op;
    }
    return read_words(load, policy, map, "ops", "operation", from, words, bits, n);
}

static uint32_t read_kinds(struct dgf_policy_load *load,
                           const struct dgf_policy *policy,
                           const struct dgf_yaml_node *map,
                           const struct dgf_str_list *from)
{
    static const char *const words[] = {"change",  "schema",  "access",
                                        "setting", "message", "notice"};
    static const uint32_t bits[] = {KIND_BIT(CHANGE),  KIND_BIT(SCHEMA),
                                    KIND_BIT(ACCESS),  KIND_BIT(SETTING),
                                    KIND_BIT(MESSAGE), KIND_BIT(NOTICE)};

    return read_words(load, policy, map, "kinds", "kind", from, words, bits,
                      DGF_ARRAY_LEN(words));
}

static void check_sources(struct dgf_policy_load *load, const struct dgf_policy *policy,
                          const struct dgf_yaml_node *map,
                          const struct dgf_str_list *from)
{
    const struct dgf_policy_world *world = load->world;

    for (size_t i = 0; world->source_names && i < from->n; i++) {
        size_t at = 0;

        while (at < world->n_sources &&
               strcmp(world->source_names[at], from->list[i]) != 0)
            at++;
        if (at == world->n_sources)
            dgf_policy_load_unknown(
                load, "E0425", dgf_policy_load_item(map, "sources", i), policy,
                "source", from->list[i], world->source_names, world->n_sources);
    }
}

static bool is_empty_list(const struct dgf_yaml_node *map, const char *name)
{
    const struct dgf_yaml_node *node = dgf_yaml_get(map, name);

    return node && (node->kind == DGF_YAML_NULL ||
                    (node->kind == DGF_YAML_LIST && node->n == 0));
}

void dgf_policy_load_watch(struct dgf_policy_load *load, struct dgf_policy *policy,
                           const struct dgf_yaml_node *node,
                           const struct dgf_yaml_node *whole)
{
    static const char *const names[] = {"sources", "objects", "ops", "kinds"};
    struct dgf_policy_watch_conf conf = {.sources = {.n = 0}};
    struct dgf_policy_watch *watch = &policy->watch;
    char what[DGF_POLICY_ID_MAX + 32];

    if (!node || node->kind == DGF_YAML_NULL ||
        (node->kind == DGF_YAML_MAP && node->n == 0)) {
        DGF_POLICY_ERROR(
            load, "E0424", node ? node : whole,
            "policy '%s': 'watch' is %s; to watch every change write watch: "
            "{objects: [\"**\"]}",
            policy->ref.id, node ? "empty" : "missing");
        return;
    }
    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(
            load, "E0424", node,
            "policy '%s': 'watch' is %s; it must be a map; example: {objects: "
            "[shop.orders]}",
            policy->ref.id, dgf_yaml_kind_text(node->kind));
        return;
    }
    snprintf(what, sizeof(what), "policy '%s': watch", policy->ref.id);
    dgf_opt_load(dgf_policy_watch_opts, &conf, load->doc, node, what, NULL,
                 load->findings);
    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++)
        if (is_empty_list(node, names[i]))
            DGF_POLICY_ERROR(
                load, "E0424", dgf_yaml_get(node, names[i]),
                "policy '%s': 'watch.%s' is empty, so nothing is ever judged",
                policy->ref.id, names[i]);
    watch->sources = copy_list(load, &conf.sources);
    watch->n_sources = conf.sources.n;
    watch->objects = copy_list(load, &conf.objects);
    watch->n_objects = conf.objects.n;
    watch->ops = conf.ops.n ? read_ops(load, policy, node, &conf.ops) : ~0u;
    watch->kinds =
        conf.kinds.n ? read_kinds(load, policy, node, &conf.kinds) : KIND_BIT(CHANGE);
    check_sources(load, policy, node, &conf.sources);
    for (size_t i = 0; i < conf.objects.n; i++) {
        const char *wrong = dgf_glob_wrong(conf.objects.list[i]);

        if (wrong)
            DGF_POLICY_ERROR(load, "E0427", dgf_policy_load_item(node, "objects", i),
                             "policy '%s': the pattern '%s' cannot be used: %s",
                             policy->ref.id, conf.objects.list[i], wrong);
    }
    dgf_opt_release(dgf_policy_watch_opts, &conf);
}
