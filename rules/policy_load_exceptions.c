/* policy_load_exceptions.c - who may do what a policy forbids, and until when.
 *
 * Every entry becomes one expression, so that values obey the same rules of
 * type, null and unknown as everything else. */
#include "policy_load.h"

#include <string.h>

#include "base/json.h"
#include "base/parse.h"

#define EXPR_MAX DGF_CEL_MAX_TEXT

struct fields {
    struct dgf_bytes *list;
    size_t n;
};

static const struct dgf_policy_list *find_list(const struct dgf_policy_load *load,
                                               const char *name)
{
    for (size_t i = 0; i < load->file->n_lists; i++)
        if (strcmp(load->file->lists[i].name, name) == 0)
            return &load->file->lists[i];
    return NULL;
}

static void unknown_list(struct dgf_policy_load *load, const struct dgf_policy *policy,
                         const struct dgf_yaml_node *node)
{
    const char *names[64];
    const char *near;
    size_t n = 0;

    for (; n < load->file->n_lists && n < DGF_ARRAY_LEN(names); n++)
        names[n] = load->file->lists[n].name;
    near = dgf_nearest(node->text + 1, names, n);
    if (near)
        DGF_POLICY_ERROR(load, "E0431", node,
                         "policy '%s': there is no list '%s'; did you mean '@%s'?",
                         policy->ref.id, node->text, near);
    else
        DGF_POLICY_ERROR(load, "E0431", node, "policy '%s': there is no list '%s'",
                         policy->ref.id, node->text);
}

static void add_text(struct dgf_buf *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";

    dgf_buf_add_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];

        if (c == '"' || c == '\\') {
            dgf_buf_add_byte(out, '\\');
            dgf_buf_add_byte(out, c);
        } else if (c < 0x20) {
            const char escape[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};

            dgf_buf_add(out, escape, sizeof(escape));
        } else {
            dgf_buf_add_byte(out, c);
        }
    }
    dgf_buf_add_byte(out, '"');
}

/* One value as a part of an `in` list; "@name" stands for the whole list. */
static bool add_value(struct dgf_policy_load *load, const struct dgf_policy *policy,
                      const struct dgf_yaml_node *node, struct dgf_buf *out,
                      bool *comma)
{
    if (*comma)
        dgf_buf_add_str(out, ", ");
    *comma = true;
    switch (node->kind) {
    case DGF_YAML_STR:
        if (node->text[0] == '@') {
            struct dgf_policy_list *list =
                (struct dgf_policy_list *)find_list(load, node->text + 1);

            if (!list) {
                unknown_list(load, policy, node);
                return false;
            }
            list->used = true;
            for (uint32_t i = 0; i < list->n; i++) {
                if (i > 0)
                    dgf_buf_add_str(out, ", ");
                dgf_cel_show(&list->items[i], out);
            }
            *comma = list->n > 0;
            return true;
        }
        add_text(out, node->text, node->text_len);
        return true;
    case DGF_YAML_INT:
    case DGF_YAML_FLOAT:
    case DGF_YAML_BOOL:
        dgf_buf_add(out, node->text, node->text_len);
        return true;
    case DGF_YAML_NULL:
        dgf_buf_add_str(out, "null");
        return true;
    default:
        DGF_POLICY_ERROR(
            load, "E0436", node,
            "policy '%s': a value of an exception is %s; it must be a text, a "
            "number, true, false or \"@LIST\"",
            policy->ref.id, dgf_yaml_kind_text(node->kind));
        return false;
    }
}

/* (field) in [values] */
static bool add_test(struct dgf_policy_load *load, const struct dgf_policy *policy,
                     struct dgf_bytes field, const struct dgf_yaml_node *values,
                     struct dgf_buf *out)
{
    bool comma = false, fine = true;

    dgf_buf_add_byte(out, '(');
    dgf_buf_add_bytes(out, field);
    dgf_buf_add_str(out, ") in [");
    if (values->kind == DGF_YAML_LIST) {
        for (size_t i = 0; i < values->n; i++)
            fine &= add_value(load, policy, values->items[i], out, &comma);
    } else {
        fine = add_value(load, policy, values, out, &comma);
    }
    dgf_buf_add_byte(out, ']');
    return fine;
}

/* With one field, `values` is a list of alternatives; with several, one entry
 * (a value or a list of alternatives) for each of them. */
static bool values_expr(struct dgf_policy_load *load, const struct dgf_policy *policy,
                        const struct fields *fields, const struct dgf_yaml_node *values,
                        struct dgf_buf *out)
{
    bool fine = true;

    if (fields->n == 0) {
        DGF_POLICY_ERROR(
            load, "E0436", values,
            "policy '%s': 'values' needs 'fields' beside 'allow'; example: "
            "fields: [after.author]",
            policy->ref.id);
        return false;
    }
    if (fields->n == 1)
        return add_test(load, policy, fields->list[0], values, out);
    if (values->kind != DGF_YAML_LIST || values->n != fields->n) {
        DGF_POLICY_ERROR(
            load, "E0436", values,
            "policy '%s': 'values' must hold %zu entries, one for each of 'fields'",
            policy->ref.id, fields->n);
        return false;
    }
    for (size_t i = 0; i < fields->n; i++) {
        if (i > 0)
            dgf_buf_add_str(out, " && ");
        fine &= add_test(load, policy, fields->list[i], values->items[i], out);
    }
    return fine;
}

static char *waiver_json(struct dgf_policy_load *load,
                         const struct dgf_policy_waiver_conf *conf, int64_t until_ns)
{
    struct dgf_buf buf;
    struct dgf_json json;
    char *copy;

    dgf_buf_init(&buf, 64 * 1024);
    json = dgf_json_of(&buf);
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "reason");
    dgf_json_str(&json, conf->reason);
    dgf_json_key(&json, "approver");
    dgf_json_str(&json, conf->approver);
    if (conf->ticket) {
        dgf_json_key(&json, "ticket");
        dgf_json_str(&json, conf->ticket);
    }
    dgf_json_key(&json, "until");
    dgf_json_time(&json, until_ns);
    dgf_json_end_object(&json);
    copy = dgf_policy_load_strdup(load, dgf_buf_str(&buf));
    load->nomem |= dgf_buf_rc(&buf) != DGF_OK;
    dgf_buf_release(&buf);
    return copy;
}

/* Who and until when; false after findings. */
static bool read_until(struct dgf_policy_load *load, const struct dgf_policy *policy,
                       const struct dgf_policy_waiver_conf *conf,
                       const struct dgf_yaml_node *node, int64_t *ret_ns)
{
    const struct dgf_yaml_node *until = dgf_yaml_get(node, "until");
    size_t before = load->findings->n_errors;

    if (!conf->reason || !*conf->reason || !conf->approver || !*conf->approver)
        DGF_POLICY_ERROR(load, "E0435", node,
                         "policy '%s': an exception needs 'reason' and 'approver'",
                         policy->ref.id);
    if (!conf->until) {
        DGF_POLICY_ERROR(load, "E0433", node,
                         "policy '%s': an exception has no 'until'; example: until: "
                         "2027-01-31T00:00:00Z",
                         policy->ref.id);
        return false;
    }
    if (!dgf_parse_time(dgf_bytes_str(conf->until), ret_ns)) {
        DGF_POLICY_ERROR(load, "E0433", until ? until : node,
                         "policy '%s': 'until' is not a time; example: until: "
                         "2027-01-31T00:00:00Z",
                         policy->ref.id);
        return false;
    }
    if (load->world->now_ns > 0 && *ret_ns <= load->world->now_ns)
        DGF_POLICY_WARNING(load, "W0434", until ? until : node,
                           "policy '%s': this exception ended at %s", policy->ref.id,
                           conf->until);
    return load->findings->n_errors == before;
}

static void add_waiver(struct dgf_policy_load *load, struct dgf_policy *policy,
                       const struct dgf_policy_waiver_conf *conf,
                       const struct fields *fields, const struct dgf_yaml_node *node)
{
    struct dgf_policy_waiver waiver = {.until_ns = 0};
    const struct dgf_yaml_node *at = conf->when ? conf->when : conf->values;
    char what[DGF_POLICY_ID_MAX + 32];
    struct dgf_cel_program *program;
    struct dgf_buf buf;
    const char *copy;
    bool fine = read_until(load, policy, conf, node, &waiver.until_ns);

    snprintf(what, sizeof(what), "policy '%s': exception", policy->ref.id);
    if (!conf->when == !conf->values) {
        DGF_POLICY_ERROR(
            load, "E0436", node,
            "policy '%s': an exception needs exactly one of 'values' and 'when'",
            policy->ref.id);
        return;
    }
    dgf_buf_init(&buf, EXPR_MAX);
    if (conf->when)
        waiver.expr = dgf_policy_load_expr(load, conf->when, what, "when");
    else if (values_expr(load, policy, fields, conf->values, &buf)) {
        copy = dgf_arena_strndup(&load->set->arena, (char *)buf.ptr, buf.len);
        load->nomem |= !copy;
        waiver.expr = dgf_bytes_of(copy, copy ? buf.len : 0);
    }
    if (dgf_buf_rc(&buf)) {
        DGF_POLICY_ERROR(
            load, "E0436", conf->values,
            "policy '%s': the values of this exception are longer than 8 KiB",
            policy->ref.id);
        waiver.expr.len = 0;
    }
    dgf_buf_release(&buf);
    if (waiver.expr.len == 0)
        return;
    program = dgf_policy_load_compile(load, at, 0, waiver.expr, what);
    if (program && !dgf_policy_is_truth(dgf_cel_program_type(program)))
        DGF_POLICY_ERROR(load, "E0403", at, "%s: the result is never true or false",
                         what);
    else if (program && fine) {
        waiver.json = waiver_json(load, conf, waiver.until_ns);
        policy->waivers[policy->n_waivers++] = waiver;
    }
    dgf_cel_program_free(program);
}

static void read_fields(struct dgf_policy_load *load, const struct dgf_policy *policy,
                        const struct dgf_yaml_node *node, struct fields *ret)
{
    size_t n = node->kind == DGF_YAML_LIST ? node->n : 1;
    char what[DGF_POLICY_ID_MAX + 32];

    snprintf(what, sizeof(what), "policy '%s': exception", policy->ref.id);
    ret->list = dgf_policy_load_alloc(load, n * sizeof(*ret->list));
    for (size_t i = 0; ret->list && i < n; i++) {
        const struct dgf_yaml_node *item =
            node->kind == DGF_YAML_LIST ? node->items[i] : node;
        struct dgf_bytes text = dgf_policy_load_expr(load, item, what, "fields");

        if (text.len == 0)
            continue;
        dgf_cel_program_free(dgf_policy_load_compile(load, item, 0, text, what));
        ret->list[ret->n++] = text;
    }
}

void dgf_policy_load_exceptions(struct dgf_policy_load *load, struct dgf_policy *policy,
                                const struct dgf_yaml_node *node)
{
    struct dgf_policy_waiver_conf top = {.values = NULL};
    struct fields fields = {.list = NULL};
    char what[DGF_POLICY_ID_MAX + 32];
    size_t n;

    snprintf(what, sizeof(what), "policy '%s': exceptions", policy->ref.id);
    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(load, "E0436", node, "%s is %s; it must be a map with 'allow'",
                         what, dgf_yaml_kind_text(node->kind));
        return;
    }
    dgf_opt_load(dgf_policy_exceptions_opts, &top, load->doc, node, what, NULL,
                 load->findings);
    if (top.fields)
        read_fields(load, policy, top.fields, &fields);
    n = top.allow && top.allow->kind == DGF_YAML_LIST ? top.allow->n : 0;
    policy->waivers = dgf_policy_load_alloc(load, (n + 1) * sizeof(*policy->waivers));
    if (top.allow && top.allow->kind != DGF_YAML_LIST)
        DGF_POLICY_ERROR(load, "E0436", top.allow,
                         "%s: 'allow' is %s; it must be a list", what,
                         dgf_yaml_kind_text(top.allow->kind));
    else if (!top.allow && !top.when)
        DGF_POLICY_ERROR(load, "E0436", node, "%s: 'allow' or 'when' is missing", what);
    if (policy->waivers && top.when)
        add_waiver(load, policy, &top, &fields, node);
    for (size_t i = 0; policy->waivers && i < n; i++) {
        struct dgf_policy_waiver_conf conf = {.values = NULL};

        if (top.allow->items[i]->kind != DGF_YAML_MAP) {
            DGF_POLICY_ERROR(load, "E0436", top.allow->items[i],
                             "%s: an entry of 'allow' is %s; it must be a map", what,
                             dgf_yaml_kind_text(top.allow->items[i]->kind));
            continue;
        }
        dgf_opt_load(dgf_policy_waiver_opts, &conf, load->doc, top.allow->items[i],
                     what, NULL, load->findings);
        add_waiver(load, policy, &conf, &fields, top.allow->items[i]);
        dgf_opt_release(dgf_policy_waiver_opts, &conf);
    }
    dgf_opt_release(dgf_policy_exceptions_opts, &top);
}
