#include "settings_hints.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "registry.h"
#include "settings.h"
#include "settings_env.h"

extern char **environ;

/* ---- types ---- */

enum { MAX_TYPES = 64 };

/* Names, without aliases; how many. */
static size_t names_of(bool source, const char *names[MAX_TYPES])
{
    size_t n = 0;

    if (source)
        for (; n < MAX_TYPES && dgf_source_type_at(n); n++)
            names[n] = dgf_source_type_at(n)->name;
    else
        for (; n < MAX_TYPES && dgf_sink_type_at(n); n++)
            names[n] = dgf_sink_type_at(n)->name;
    return n;
}

/* "azure_cosmos" holds the name as a word of it; the longest one counts. */
static const char *name_within(const char *word, const char *const *names, size_t n)
{
    const char *found = NULL;

    for (size_t i = 0; i < n; i++)
        if (strcasestr(word, names[i]) && (!found || strlen(names[i]) > strlen(found)))
            found = names[i];
    return found;
}

void dgf_settings_unknown_type(const struct dgf_yaml *doc,
                               const struct dgf_yaml_node *part, const char *what,
                               const char *kind, struct dgf_findings *findings)
{
    const struct dgf_yaml_node *type = dgf_yaml_get(part, "type");
    const char *names[MAX_TYPES], *near;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf list = {0};
    size_t n = names_of(strcmp(kind, "source") == 0, names);

    dgf_buf_init(&list, 4096);
    for (size_t i = 0; i < n; i++)
        dgf_buf_addf(&list, "%s%s", i ? ", " : "", names[i]);
    near = dgf_nearest(type->text, names, n);
    if (!near)
        near = name_within(type->text, names, n);
    for (size_t i = 0; i < part->n; i++)
        if (part->items[i] != type) /* options of nobody knows what */
            dgf_opt_hide_values(part->items[i], findings);
    dgf_yaml_finding(doc, findings, DGF_FINDING_ERROR, "E0208", type,
                     "%s: unknown type '%.64s'%s%s%s; types of a %s are %s", what,
                     type->text, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "", kind, dgf_buf_str(&list));
}

/* ---- variables ---- */

/* The same but for case and for how many underscores join the parts. */
static bool same_but_for_joints(const char *a, const char *b)
{
    for (;;) {
        if (*a == '_' && *b == '_') {
            a += strspn(a, "_");
            b += strspn(b, "_");
        } else if (!*a || toupper((unsigned char)*a) != toupper((unsigned char)*b)) {
            return !*a && !*b;
        } else {
            a++;
            b++;
        }
    }
}

/* What such a variable would be called; false: nothing is like it. */
static bool near_variable(const struct dgf_opt *root, const char *name, char *ret,
                          size_t size)
{
    static const char *const policies[] = {"DGF_POLICIES"};
    const char *near = NULL;

    for (; root->name && !near; root++) {
        (void)snprintf(ret, size, "DGF_%s_", root->name);
        if (strncasecmp(name, ret, strlen(ret)) != 0 || !name[strlen(ret)])
            continue;
        if (root->type == DGF_OPT_NODE) {
            (void)snprintf(ret, size, "DGF_%s__NAME__OPTION", root->name);
            near = ret;
        }
        for (const struct dgf_opt *o = root->group; o && o->name && !near; o++) {
            (void)snprintf(ret, size, "DGF_%s__%s", root->name, o->name);
            if (same_but_for_joints(name, ret))
                near = ret;
        }
    }
    if (!near)
        near = dgf_nearest(name, policies, 1);
    if (!near || strcmp(name, "DGF_POLICIES") == 0)
        return false;
    if (near != ret)
        (void)snprintf(ret, size, "%s", near);
    for (char *at = ret; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return true;
}

void dgf_settings_near_variables(const struct dgf_opt *root,
                                 struct dgf_findings *findings)
{
    for (char **entry = environ; *entry; entry++) {
        size_t len = strcspn(*entry, "=");
        char name[128], near[256];

        if (strncmp(*entry, "DGF_", 4) != 0 || len >= sizeof(name))
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", (int)len, *entry);
        if (strstr(name, "__") || !near_variable(root, name, near, sizeof(near)))
            continue; /* those with __ are read, and judged as options are */
        dgf_findings_add(
            findings, DGF_FINDING_WARNING, "W0202", (struct dgf_mark){0}, NULL,
            "environment variable '%s' is not read; did you mean '%s'?", name, near);
    }
}

/* ---- policies ---- */

void dgf_settings_place_policies(const struct dgf_settings *s,
                                 struct dgf_findings *findings, size_t from)
{
    const struct dgf_yaml_node *root = dgf_yaml_root(s->doc),
                               *list = root ? dgf_yaml_get(root, "policies") : NULL;
    bool many = list && list->kind == DGF_YAML_LIST;

    if (!list || (many ? list->n : 1) != s->policies.n)
        return; /* items that were refused have no file */
    for (size_t i = from; i < findings->n; i++) {
        struct dgf_finding *finding = &findings->list[i];

        for (size_t k = 0; k < s->policies.n; k++) {
            if (strcmp(finding->code, "E0444") != 0 || finding->mark.line ||
                !finding->mark.file ||
                strcmp(finding->mark.file, s->policies.list[k]) != 0)
                continue;
            dgf_findings_place_at(findings, i, (many ? list->items[k] : list)->mark,
                                  NULL);
            break;
        }
    }
    dgf_yaml_quote_lines(s->doc, findings);
    dgf_settings_forget_lines(findings);
}
