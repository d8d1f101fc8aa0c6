/* policy_load_expr.c - expressions in policy files: taken out of YAML before it
 * can eat them, compiled, and what is wrong shown where it stands. */
#include "policy_load.h"

#include <string.h>

#include "base/parse.h"

struct dgf_bytes dgf_policy_load_expr(struct dgf_policy_load *load,
                                      const struct dgf_yaml_node *node,
                                      const char *what, const char *name)
{
    const struct dgf_bytes none = {NULL, 0};
    const char *copy;

    if (node->refused)
        return none;
    if (node->kind == DGF_YAML_MAP || node->kind == DGF_YAML_LIST) {
        DGF_POLICY_ERROR(
            load, "E0428", node,
            "%s: YAML reads '%s' as %s; write the expression after `>-` or in quotes",
            what, name, dgf_yaml_kind_text(node->kind));
        return none;
    }
    if (node->plain && node->comment_after) {
        DGF_POLICY_ERROR(
            load, "E0429", node,
            "%s: YAML cuts '%s' at ' #'; write the expression after `>-` or in quotes",
            what, name);
        return none;
    }
    if (node->kind == DGF_YAML_NULL || node->text_len == 0) {
        DGF_POLICY_ERROR(load, "E0430", node, "%s: '%s' is empty", what, name);
        return none;
    }
    copy = dgf_arena_strndup(&load->set->arena, node->text, node->text_len);
    load->nomem |= !copy;
    return copy ? dgf_bytes_of(copy, node->text_len) : none;
}

void dgf_policy_load_issues(struct dgf_policy_load *load,
                            const struct dgf_cel_issues *issues,
                            const struct dgf_yaml_node *node, size_t shift,
                            const char *what)
{
    for (size_t i = 0; i < issues->n; i++) {
        const struct dgf_cel_issue *issue = &issues->list[i];
        struct dgf_mark mark = dgf_yaml_text_mark(
            load->doc, node, shift + issue->offset, issue->len ? issue->len : 1);
        const char *line = dgf_yaml_line(load->doc, mark.line);

        if (issue->suggestion)
            dgf_findings_add(load->findings, DGF_FINDING_ERROR, issue->code, mark, line,
                             "%s: %s; did you mean '%s'?", what, issue->text,
                             issue->suggestion);
        else
            dgf_findings_add(load->findings, DGF_FINDING_ERROR, issue->code, mark, line,
                             "%s: %s", what, issue->text);
    }
}

struct dgf_cel_program *dgf_policy_load_compile(struct dgf_policy_load *load,
                                                const struct dgf_yaml_node *node,
                                                size_t shift, struct dgf_bytes text,
                                                const char *what)
{
    struct dgf_cel_program *program = NULL;
    struct dgf_cel_issues issues;
    enum dgf_rc rc;

    dgf_cel_issues_init(&issues);
    rc = dgf_cel_compile(load->file->env, text, &issues, &program);
    if (rc == DGF_BAD_CONFIG)
        dgf_policy_load_issues(load, &issues, node, shift, what);
    load->nomem |= rc == DGF_NOMEM;
    dgf_cel_issues_release(&issues);
    return rc ? NULL : program;
}

/* ---- messages ---- */

/* End of the expression that starts at `at`: the "}}" outside its texts and
 * braces; 0: there is none. */
static size_t expression_end(const char *text, size_t len, size_t at)
{
    unsigned depth = 0;

    for (; at < len; at++) {
        char c = text[at];

        if (c == '"' || c == '\'') {
            for (at++; at < len && text[at] != c; at++)
                at += text[at] == '\\';
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && depth > 0) {
            depth--;
        } else if (c == '}' && at + 1 < len && text[at + 1] == '}') {
            return at;
        }
    }
    return 0;
}

static bool is_name(struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
              (c >= '0' && c <= '9' && i > 0)))
            return false;
    }
    return text.len > 0;
}

static struct dgf_bytes trim(struct dgf_bytes text)
{
    while (text.len > 0 && text.ptr[0] == ' ') {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && text.ptr[text.len - 1] == ' ')
        text.len--;
    return text;
}

static bool starts_with(struct dgf_bytes text, const char *prefix,
                        struct dgf_bytes *ret_rest)
{
    size_t len = strlen(prefix);

    if (text.len <= len || memcmp(text.ptr, prefix, len) != 0)
        return false;
    *ret_rest = dgf_bytes_of(text.ptr + len, text.len - len);
    return true;
}

static void note_reference(struct dgf_policy_part *part)
{
    struct dgf_bytes text = trim(part->expr), name;

    part->is_key = dgf_bytes_eq(text, DGF_BYTES("event.key"));
    if ((starts_with(text, "after.", &name) || starts_with(text, "before.", &name)) &&
        is_name(name)) {
        part->after = text.ptr[0] == 'a';
        part->field = name;
    }
}

static struct dgf_policy_part *add_part(struct dgf_policy_load *load,
                                        struct dgf_policy *policy, size_t *cap)
{
    struct dgf_policy_part *parts;

    if (policy->n_parts == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        parts = dgf_policy_load_alloc(load, *cap * sizeof(*parts));
        if (!parts)
            return NULL;
        if (policy->n_parts > 0)
            memcpy(parts, policy->parts, policy->n_parts * sizeof(*parts));
        policy->parts = parts;
    }
    return &policy->parts[policy->n_parts++];
}

static bool message_node(struct dgf_policy_load *load, const struct dgf_policy *policy,
                         const struct dgf_yaml_node *node)
{
    if (node->refused)
        return false;
    if (node->kind == DGF_YAML_MAP || node->kind == DGF_YAML_LIST)
        DGF_POLICY_ERROR(
            load, "E0428", node,
            "policy '%s': YAML reads 'message' as %s; write the text after `>-` or "
            "in quotes",
            policy->ref.id, dgf_yaml_kind_text(node->kind));
    else if (node->plain && node->comment_after)
        DGF_POLICY_ERROR(
            load, "E0429", node,
            "policy '%s': YAML cuts 'message' at ' #'; write the text after `>-` or "
            "in quotes",
            policy->ref.id);
    else if (node->text_len > DGF_POLICY_MESSAGE_MAX)
        DGF_POLICY_ERROR(load, "E0437", node,
                         "policy '%s': 'message' is longer than 8 KiB", policy->ref.id);
    else
        return true;
    return false;
}

void dgf_policy_load_message(struct dgf_policy_load *load, struct dgf_policy *policy,
                             const struct dgf_yaml_node *node)
{
    const char *text = node ? node->text : policy->ref.title;
    size_t len = node ? node->text_len : strlen(text), at = 0, cap = 0;
    char what[DGF_POLICY_ID_MAX + 32];

    if (node && !message_node(load, policy, node))
        return;
    text = dgf_arena_strndup(&load->set->arena, text, len);
    load->nomem |= !text;
    snprintf(what, sizeof(what), "policy '%s': message", policy->ref.id);
    while (text && at < len) {
        const char *open = node ? memmem(text + at, len - at, "{{", 2) : NULL;
        size_t start = open ? (size_t)(open - text) : len, end;
        struct dgf_policy_part *part;

        if (start > at && (part = add_part(load, policy, &cap)))
            part->literal = dgf_bytes_of(text + at, start - at);
        if (!open)
            break;
        end = expression_end(text, len, start + 2);
        if (end == 0) {
            struct dgf_mark mark = dgf_yaml_text_mark(load->doc, node, start, 2);

            dgf_findings_add(load->findings, DGF_FINDING_ERROR, "E0437", mark,
                             dgf_yaml_line(load->doc, mark.line),
                             "%s: '{{' is not closed", what);
            return;
        }
        at = end + 2;
        part = add_part(load, policy, &cap);
        if (!part)
            return;
        part->expr = dgf_bytes_of(text + start + 2, end - start - 2);
        if (trim(part->expr).len == 0) {
            struct dgf_mark mark = dgf_yaml_text_mark(load->doc, node, start, 2);

            dgf_findings_add(load->findings, DGF_FINDING_ERROR, "E0437", mark,
                             dgf_yaml_line(load->doc, mark.line),
                             "%s: '{{}}' holds no expression", what);
            part->expr.len = 0;
            continue;
        }
        note_reference(part);
        dgf_cel_program_free(
            dgf_policy_load_compile(load, node, start + 2, part->expr, what));
    }
}

/* ---- evidence ---- */

void dgf_policy_load_evidence(struct dgf_policy_load *load, struct dgf_policy *policy,
                              const struct dgf_str_list *names,
                              const struct dgf_yaml_node *node)
{
    if (names->n == 0)
        return;
    policy->shows = dgf_policy_load_alloc(load, names->n * sizeof(*policy->shows));
    for (size_t i = 0; policy->shows && i < names->n; i++) {
        struct dgf_policy_show *show = &policy->shows[policy->n_shows];
        const struct dgf_yaml_node *at =
            node->kind == DGF_YAML_LIST && i < node->n ? node->items[i] : node;
        const char *copy = dgf_policy_load_strdup(load, names->list[i]);
        const uint8_t *dot;

        if (!copy)
            return;
        show->name = dgf_bytes_str(copy);
        show->section = -1;
        show->field = show->name;
        if (starts_with(show->name, "after.", &show->field))
            show->section = DGF_SECTION_AFTER;
        else if (starts_with(show->name, "before.", &show->field))
            show->section = DGF_SECTION_BEFORE;
        if (show->field.len == 0 || show->field.ptr[0] == '.' ||
            show->field.ptr[show->field.len - 1] == '.') {
            DGF_POLICY_ERROR(
                load, "E0438", at,
                "policy '%s': '%s' is not the name of a field; example: after.note",
                policy->ref.id, copy);
            continue;
        }
        dot = memchr(show->field.ptr, '.', show->field.len);
        if (dot) {
            size_t len = (size_t)(dot - show->field.ptr);

            show->rest = dgf_bytes_of(dot + 1, show->field.len - len - 1);
            show->field.len = len;
        }
        policy->n_shows++;
    }
}
