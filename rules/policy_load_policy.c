/* policy_load_policy.c - one policy, from its YAML map to what the engine runs. */
#include "policy_load.h"

#include <string.h>

#include "base/json.h"
#include "base/parse.h"

#define KIND_BIT(name) (1u << DGF_KIND_##name)
#define OP_BIT(name) (1u << DGF_OP_##name)

/* ---- forms that come later: each says so itself ---- */

static void refuse_later(struct dgf_policy_load *load,
                         const struct dgf_policy_conf *conf, const char *id)
{
    const struct {
        const struct dgf_yaml_node *node;
        const char *code, *name, *what;
    } later[] = {
        {conf->window, "E0411", "window", "counting over a window of time"},
        {conf->sequence, "E0412", "sequence", "judging a sequence of events"},
        {conf->absence, "E0413", "absence", "judging what did not happen"},
        {conf->state, "E0414", "state", "following the state of a row"},
        {conf->check, "E0415", "check", "judging with a named check"},
        {conf->with, "E0416", "with", "giving parameters to a named check"},
        {conf->repeat, "E0417", "repeat", "limiting how often a violation is told"},
    };

    for (size_t i = 0; i < DGF_ARRAY_LEN(later); i++)
        if (later[i].node)
            DGF_POLICY_ERROR(
                load, later[i].code, later[i].node,
                "policy '%s': '%s' is not supported yet: %s comes in a later version",
                id, later[i].name, later[i].what);
}

/* ---- identity ---- */

static bool is_id(const char *id)
{
    size_t len =
        strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

    return len > 0 && len <= DGF_POLICY_ID_MAX && id[len] == '\0';
}

static void add_id(struct dgf_policy_load *load, struct dgf_policy *policy,
                   const struct dgf_yaml_node *node)
{
    const struct dgf_policy *first =
        dgf_map_get(&load->set->by_id, dgf_bytes_str(policy->ref.id));

    if (!is_id(policy->ref.id))
        DGF_POLICY_ERROR(
            load, "E0421", node,
            "policy '%.64s': the id must be 1 to 64 letters, digits, '-', '_' and '.'",
            policy->ref.id);
    else if (strncmp(policy->ref.id, "DGF-", 4) == 0)
        DGF_POLICY_ERROR(
            load, "E0421", node,
            "policy '%s': ids that start with 'DGF-' belong to built-in policies",
            policy->ref.id);
    else if (first)
        DGF_POLICY_ERROR(load, "E0420", node,
                         "policy '%s': this id is taken by the policy at %s:%u",
                         policy->ref.id, first->mark.file, first->mark.line);
    else if (dgf_map_put(&load->set->by_id, dgf_bytes_str(policy->ref.id), policy,
                         NULL))
        load->nomem = true;
}

static bool put_requirements(struct dgf_policy_load *load,
                             const struct dgf_policy *policy,
                             const struct dgf_yaml_node *node, struct dgf_json *json)
{
    if (node->kind == DGF_YAML_STR || node->kind == DGF_YAML_INT ||
        node->kind == DGF_YAML_FLOAT) {
        dgf_json_begin_array(json);
        dgf_json_text(json, dgf_bytes_of(node->text, node->text_len));
        dgf_json_end_array(json);
        return true;
    }
    if (node->kind != DGF_YAML_LIST) {
        DGF_POLICY_ERROR(
            load, "E0423", node,
            "policy '%s': a framework holds %s; it must be a list of requirements",
            policy->ref.id, dgf_yaml_kind_text(node->kind));
        return false;
    }
    dgf_json_begin_array(json);
    for (size_t i = 0; i < node->n; i++) {
        if (node->items[i]->kind == DGF_YAML_MAP ||
            node->items[i]->kind == DGF_YAML_LIST) {
            DGF_POLICY_ERROR(load, "E0423", node->items[i],
                             "policy '%s': a requirement is %s; it must be a text",
                             policy->ref.id, dgf_yaml_kind_text(node->items[i]->kind));
            continue;
        }
        dgf_json_text(json,
                      dgf_bytes_of(node->items[i]->text, node->items[i]->text_len));
    }
    dgf_json_end_array(json);
    return true;
}

/* What records say of the policy, made once. */
static void make_json(struct dgf_policy_load *load, struct dgf_policy *policy,
                      const struct dgf_yaml_node *node,
                      const struct dgf_yaml_node *frameworks)
{
    struct dgf_buf buf;
    struct dgf_json json;

    dgf_buf_init(&buf, 64 * 1024);
    json = dgf_json_of(&buf);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "id");
    dgf_json_str(&json, policy->ref.id);
    dgf_json_key(&json, "title");
    dgf_json_str(&json, policy->ref.title);
    dgf_json_key(&json, "severity");
    dgf_json_str(&json, dgf_severity_text(policy->ref.severity));
    if (frameworks && frameworks->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(
            load, "E0423", frameworks,
            "policy '%s': 'frameworks' is %s; it must be a map; example: {sox: "
            "[\"404\"]}",
            policy->ref.id, dgf_yaml_kind_text(frameworks->kind));
    } else if (frameworks && frameworks->n > 0) {
        dgf_json_key(&json, "frameworks");
        dgf_json_begin_object(&json);
        for (size_t i = 0; i < frameworks->n; i++) {
            dgf_json_key_bytes(&json, dgf_bytes_of(frameworks->keys[i]->text,
                                                   frameworks->keys[i]->text_len));
            if (!put_requirements(load, policy, frameworks->items[i], &json))
                dgf_json_null(&json);
        }
        dgf_json_end_object(&json);
    }
    dgf_json_end_object(&json);
    if (dgf_buf_rc(&buf))
        DGF_POLICY_ERROR(load, "E0423", frameworks ? frameworks : node,
                         "policy '%s': title and frameworks are longer than 64 KiB, or "
                         "memory is short",
                         policy->ref.id);
    policy->ref.json = dgf_policy_load_strdup(load, dgf_buf_str(&buf));
    dgf_buf_release(&buf);
}

/* ---- needs ---- */

static const struct {
    const char *name;
    unsigned bit;
} needs[] = {
    {"before", DGF_GIVES_BEFORE},   {"after", DGF_GIVES_AFTER},
    {"deletes", DGF_GIVES_DELETES}, {"every_version", DGF_GIVES_EVERY_VERSION},
    {"actor", DGF_GIVES_ACTOR},     {"ddl", DGF_GIVES_DDL},
    {"key", DGF_GIVES_KEY},
};

static void read_needs(struct dgf_policy_load *load, struct dgf_policy *policy,
                       const struct dgf_str_list *from,
                       const struct dgf_yaml_node *whole)
{
    const char *words[DGF_ARRAY_LEN(needs)];

    for (size_t i = 0; i < DGF_ARRAY_LEN(needs); i++)
        words[i] = needs[i].name;
    for (size_t i = 0; i < from->n; i++) {
        size_t w = 0;

        while (w < DGF_ARRAY_LEN(needs) && strcmp(words[w], from->list[i]) != 0)
            w++;
        if (w < DGF_ARRAY_LEN(needs))
            policy->needs |= needs[w].bit;
        else
            dgf_policy_load_unknown(load, "E0426",
                                    dgf_policy_load_item(whole, "needs", i), policy,
                                    "need", from->list[i], words, DGF_ARRAY_LEN(needs));
    }
}

#define OLD_ROWS (OP_BIT(UPDATE) | OP_BIT(REPLACE) | OP_BIT(DELETE) | OP_BIT(EXPIRE))
#define NO_OLD_ROW (OP_BIT(INSERT) | OP_BIT(CREATE))
#define NO_NEW_ROW (OP_BIT(DELETE) | OP_BIT(DROP) | OP_BIT(TRUNCATE) | OP_BIT(EXPIRE))

static bool never_there(const struct dgf_policy_watch *watch, uint32_t ops)
{
    return (watch->ops & ~ops) == 0 && watch->kinds == KIND_BIT(CHANGE);
}

static void infer_use(struct dgf_policy_load *load, struct dgf_policy *policy,
                      const struct dgf_cel_use *use, const struct dgf_yaml_node *node,
                      unsigned *said)
{
    const struct dgf_policy_watch *watch = &policy->watch;
    bool before = strcmp(use->var, "before") == 0,
         after = strcmp(use->var, "after") == 0;

    if (before && never_there(watch, NO_OLD_ROW) && !use->presence && !(*said & 1)) {
        *said |= 1;
        DGF_POLICY_WARNING(
            load, "W0440", node,
            "policy '%s': 'before' is always null for the operations it watches",
            policy->ref.id);
    }
    if (after && never_there(watch, NO_NEW_ROW) && !use->presence && !(*said & 2)) {
        *said |= 2;
        DGF_POLICY_WARNING(
            load, "W0440", node,
            "policy '%s': 'after' is always null for the operations it watches",
            policy->ref.id);
    }
    if ((before || strcmp(use->var, "changed") == 0) &&
        (watch->kinds & KIND_BIT(CHANGE)) && (watch->ops & OLD_ROWS))
        policy->needs |= DGF_GIVES_BEFORE;
    if (strcmp(use->var, "actor") == 0)
        policy->needs |= DGF_GIVES_ACTOR;
    if (strcmp(use->var, "lists") == 0)
        for (size_t i = 0; i < load->file->n_lists; i++) {
            size_t len = strlen(load->file->lists[i].name);

            if (!use->path[0] ||
                (strncmp(use->path, load->file->lists[i].name, len) == 0 &&
                 (!use->path[len] || use->path[len] == '.')))
                load->file->lists[i].used = true;
        }
}

/* What the condition touches decides what the source must give. */
static void infer_needs(struct dgf_policy_load *load, struct dgf_policy *policy,
                        const struct dgf_cel_program *program,
                        const struct dgf_yaml_node *node)
{
    const struct dgf_cel_use *uses;
    size_t n = dgf_cel_program_uses(program, &uses);
    const struct dgf_policy_watch *watch = &policy->watch;
    unsigned said = 0;

    for (size_t i = 0; i < n; i++) {
        if (uses[i].var)
            infer_use(load, policy, &uses[i], node, &said);
        if (uses[i].function && strcmp(uses[i].function, "in_hours") == 0)
            DGF_POLICY_ERROR(
                load, "E0418", node,
                "policy '%s': 'in_hours' is not supported yet: calendars come in a "
                "later version",
                policy->ref.id);
    }
    if (watch->ops != ~0u && (watch->ops & (OP_BIT(DELETE) | OP_BIT(EXPIRE))) &&
        (watch->kinds & KIND_BIT(CHANGE)))
        policy->needs |= DGF_GIVES_DELETES;
    if (watch->kinds == KIND_BIT(SCHEMA))
        policy->needs |= DGF_GIVES_DDL;
}

/* A condition that asks for another operation than those watched. */
static void check_reach(struct dgf_policy_load *load, const struct dgf_policy *policy,
                        const struct dgf_cel_program *program,
                        const struct dgf_yaml_node *node)
{
    const struct dgf_cel_equality *list;
    size_t n = dgf_cel_program_equalities(program, &list);

    for (size_t i = 0; i < n && !policy->require; i++) {
        bool op, kind;
        int word;

        if (strcmp(list[i].var, "event") != 0 ||
            list[i].constant.kind != DGF_CEL_STRING)
            continue;
        op = strcmp(list[i].path, "op") == 0;
        kind = strcmp(list[i].path, "kind") == 0;
        if (!op && !kind)
            continue;
        word = op ? dgf_op_of(dgf_cel_bytes_of(&list[i].constant))
                  : dgf_event_kind_of(dgf_cel_bytes_of(&list[i].constant));
        if (word < 0 || !((op ? policy->watch.ops : policy->watch.kinds) >> word & 1))
            DGF_POLICY_WARNING(
                load, "W0440", node,
                "policy '%s': it can never match: event.%s is never '%.*s' in "
                "what it watches",
                policy->ref.id, list[i].path, (int)list[i].constant.len,
                (const char *)list[i].constant.ptr);
    }
}

/* has() is true for a null column, which is seldom what is meant. */
static void lint_has(struct dgf_policy_load *load, const struct dgf_policy *policy,
                     const struct dgf_yaml_node *node)
{
    const char *text = node->text, *at = text;
    char quote = 0;

    for (; *at; at++) {
        const char *arg = at + 4;
        struct dgf_mark mark;

        if (quote) {
            quote = *at == quote ? 0 : quote;
            continue;
        }
        if (*at == '"' || *at == '\'')
            quote = *at;
        if (strncmp(at, "has(", 4) != 0 ||
            (at > text && strchr("abcdefghijklmnopqrstuvwxyz_.0123456789", at[-1])))
            continue;
        arg += strspn(arg, " ");
        if (strncmp(arg, "after.", 6) != 0 && strncmp(arg, "before.", 7) != 0)
            continue;
        mark = dgf_yaml_text_mark(load->doc, node, (size_t)(at - text), 3);
        dgf_findings_add(
            load->findings, DGF_FINDING_WARNING, "W0447", mark,
            dgf_yaml_line(load->doc, mark.line),
            "policy '%s': has() is true for a column that is null; ask missing()",
            policy->ref.id);
    }
}

static void read_condition(struct dgf_policy_load *load, struct dgf_policy *policy,
                           const struct dgf_policy_conf *conf,
                           const struct dgf_yaml_node *whole)
{
    const struct dgf_yaml_node *node = conf->when ? conf->when : conf->require;
    DGF_CLEANUP(dgf_cel_program_free) struct dgf_cel_program *program = NULL;
    char what[DGF_POLICY_ID_MAX + 16];

    if (!node) {
        if (!conf->sequence && !conf->absence && !conf->check)
            DGF_POLICY_ERROR(load, "E0422", whole,
                             "policy '%s': 'when' or 'require' is missing",
                             policy->ref.id);
        return;
    }
    if (conf->when && conf->require)
        DGF_POLICY_ERROR(load, "E0422", conf->require,
                         "policy '%s': 'when' and 'require' exclude each other",
                         policy->ref.id);
    policy->require = !conf->when;
    snprintf(what, sizeof(what), "policy '%s'", policy->ref.id);
    policy->expr =
        dgf_policy_load_expr(load, node, what, conf->when ? "when" : "require");
    if (policy->expr.len == 0)
        return;
    program = dgf_policy_load_compile(load, node, 0, policy->expr, what);
    if (!program)
        return;
    if (!dgf_policy_is_truth(dgf_cel_program_type(program)))
        DGF_POLICY_ERROR(load, "E0403", node, "%s: the result is never true or false",
                         what);
    infer_needs(load, policy, program, node);
    check_reach(load, policy, program, node);
    lint_has(load, policy, node);
}

/* ---- all of it ---- */

static void digest(struct dgf_policy_load *load, struct dgf_policy *policy,
                   const struct dgf_yaml_node *node)
{
    static const char *const shared[] = {"lists", "let", "classes"};
    struct dgf_buf buf;

    dgf_buf_init(&buf, 4 * 1024 * 1024);
    dgf_policy_canonical(node, "examples", &buf);
    for (size_t i = 0; i < DGF_ARRAY_LEN(shared); i++)
        dgf_policy_canonical(dgf_yaml_get(dgf_yaml_root(load->doc), shared[i]), NULL,
                             &buf);
    load->nomem |= dgf_buf_rc(&buf) != DGF_OK;
    dgf_sha256(dgf_buf_bytes(&buf), policy->digest);
    dgf_buf_release(&buf);
}

static void fill(struct dgf_policy_load *load, struct dgf_policy *policy,
                 const struct dgf_policy_conf *conf, const struct dgf_yaml_node *node)
{
    static const enum dgf_verdict unknown[] = {
        [DGF_ON_UNKNOWN_REVIEW] = DGF_VERDICT_REVIEW,
        [DGF_ON_UNKNOWN_VIOLATE] = DGF_VERDICT_VIOLATION,
        [DGF_ON_UNKNOWN_PASS] = DGF_VERDICT_PASS};

    policy->file = load->file;
    policy->mark = node->mark;
    policy->mark.file = load->file->path;
    policy->ref.id = dgf_policy_load_strdup(load, conf->id ? conf->id : "?");
    policy->ref.title = dgf_policy_load_strdup(load, conf->title ? conf->title : "");
    policy->ref.severity = (enum dgf_severity)conf->severity;
    policy->ref.mode = (enum dgf_mode)conf->mode;
    policy->ref.fix = conf->fix ? dgf_policy_load_strdup(load, conf->fix) : NULL;
    policy->why = conf->why ? dgf_policy_load_strdup(load, conf->why) : NULL;
    policy->unknown = unknown[conf->on_unknown];
    policy->record_errors_only = conf->on_error == 1;
    policy->every_event = conf->audit == 1;
    if (load->nomem)
        return;
    if (conf->id)
        add_id(load, policy, dgf_yaml_get(node, "id"));
    make_json(load, policy, node, conf->frameworks);
    if (conf->watch || !(conf->sequence || conf->absence)) /* they watch by step */
        dgf_policy_load_watch(load, policy, conf->watch, node);
    read_needs(load, policy, &conf->needs, node);
    if (!conf->window) /* its names are not known yet */
        read_condition(load, policy, conf, node);
    dgf_policy_load_message(load, policy, conf->message);
    dgf_policy_load_evidence(load, policy, &conf->evidence,
                             dgf_yaml_get(node, "evidence"));
    if (conf->exceptions)
        dgf_policy_load_exceptions(load, policy, conf->exceptions);
    digest(load, policy, node);
}

void dgf_policy_load_one(struct dgf_policy_load *load, const struct dgf_yaml_node *node)
{
    struct dgf_policy_conf conf = {.id = NULL};
    const struct dgf_yaml_node *id;
    struct dgf_policy **list;
    struct dgf_policy *policy;
    const char *name;
    char what[DGF_POLICY_ID_MAX + 16];

    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(load, "E0419", node, "a policy is %s; it must be a map",
                         dgf_yaml_kind_text(node->kind));
        return;
    }
    id = dgf_yaml_get(node, "id");
    name = id && id->text && *id->text ? id->text : "?";
    snprintf(what, sizeof(what), "policy '%.64s'", name);
    dgf_opt_load(dgf_policy_opts, &conf, load->doc, node, what, NULL, load->findings);
    refuse_later(load, &conf, name);
    policy = dgf_policy_load_alloc(load, sizeof(*policy));
    list = dgf_policy_array_grow(load->set->policies, load->set->n_policies,
                                 &load->set->cap_policies, sizeof(*list));
    if (list)
        load->set->policies = list;
    load->nomem |= !list;
    if (policy && list) { /* one without an id is read for its other errors */
        fill(load, policy, &conf, node);
        list[load->set->n_policies++] = policy;
    }
    dgf_opt_release(dgf_policy_opts, &conf);
}
