/* policy_load.c - files and folders of policies into one set, all errors of all
 * files at once. */
#include "policy_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/parse.h"

#define FILE_MAX_BYTES (1024 * 1024)

/* ---- small ones ---- */

void *dgf_policy_load_alloc(struct dgf_policy_load *load, size_t size)
{
    void *ptr = dgf_arena_alloc(&load->set->arena, size ? size : 1);

    if (ptr)
        memset(ptr, 0, size ? size : 1);
    else
        load->nomem = true;
    return ptr;
}

char *dgf_policy_load_strdup(struct dgf_policy_load *load, const char *text)
{
    char *copy = dgf_arena_strndup(&load->set->arena, text, strlen(text));

    load->nomem |= !copy;
    return copy;
}

void dgf_policy_canonical(const struct dgf_yaml_node *node, const char *skip,
                          struct dgf_buf *out)
{
    if (!node) {
        dgf_buf_add_byte(out, 0xff);
        return;
    }
    dgf_buf_add_byte(out, (uint8_t)node->kind);
    switch (node->kind) {
    case DGF_YAML_LIST:
        dgf_buf_add_le32(out, (uint32_t)node->n);
        for (size_t i = 0; i < node->n; i++)
            dgf_policy_canonical(node->items[i], NULL, out);
        break;
    case DGF_YAML_MAP:
        for (size_t i = 0; i < node->n; i++) {
            if (skip && strcmp(node->keys[i]->text, skip) == 0)
                continue;
            dgf_policy_canonical(node->keys[i], NULL, out);
            dgf_policy_canonical(node->items[i], NULL, out);
        }
        dgf_buf_add_byte(out, 0xff);
        break;
    default:
        dgf_buf_add_le32(out, (uint32_t)node->text_len);
        dgf_buf_add(out, node->text, node->text_len);
    }
}

/* ---- lists and let ---- */

static bool is_name(const char *text)
{
    size_t len =
        strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    return len > 0 && len <= 64 && text[len] == '\0' &&
           !(text[0] >= '0' && text[0] <= '9');
}

static struct dgf_cel_value item_value(struct dgf_policy_load *load,
                                       const struct dgf_yaml_node *node)
{
    const char *copy;

    switch (node->kind) {
    case DGF_YAML_BOOL:
        return dgf_cel_bool(node->boolean);
    case DGF_YAML_INT:
        return dgf_cel_int(node->i64);
    case DGF_YAML_FLOAT:
        return dgf_cel_double(node->dbl);
    case DGF_YAML_NULL:
        return dgf_cel_null();
    default:
        copy = dgf_arena_strndup(&load->set->arena, node->text, node->text_len);
        load->nomem |= !copy;
        return dgf_cel_string(dgf_bytes_of(copy, copy ? node->text_len : 0));
    }
}

static void load_list(struct dgf_policy_load *load, const struct dgf_yaml_node *name,
                      const struct dgf_yaml_node *node)
{
    struct dgf_policy_list *list = &load->file->lists[load->file->n_lists];

    if (!is_name(name->text)) {
        DGF_POLICY_ERROR(load, "E0432", name,
                         "list '%s': a name is letters, digits and '_'", name->text);
        return;
    }
    if (node->kind != DGF_YAML_LIST) {
        DGF_POLICY_ERROR(load, "E0432", node, "list '%s' is %s; it must be a list",
                         name->text, dgf_yaml_kind_text(node->kind));
        return;
    }
    list->items = dgf_policy_load_alloc(load, node->n * sizeof(*list->items));
    list->texts = true;
    for (size_t i = 0; list->items && i < node->n; i++) {
        if (node->items[i]->kind == DGF_YAML_LIST ||
            node->items[i]->kind == DGF_YAML_MAP) {
            DGF_POLICY_ERROR(
                load, "E0432", node->items[i],
                "list '%s' holds %s; it may hold texts, numbers, true and false",
                name->text, dgf_yaml_kind_text(node->items[i]->kind));
            continue;
        }
        list->items[list->n++] = item_value(load, node->items[i]);
        list->texts &= node->items[i]->kind == DGF_YAML_STR;
    }
    list->name = dgf_policy_load_strdup(load, name->text);
    list->mark = name->mark;
    load->file->n_lists++;
}

static void load_lists(struct dgf_policy_load *load, const struct dgf_yaml_node *node)
{
    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(load, "E0432", node,
                         "'lists' is %s; it must be a map of lists",
                         dgf_yaml_kind_text(node->kind));
        return;
    }
    load->file->lists =
        dgf_policy_load_alloc(load, node->n * sizeof(*load->file->lists));
    for (size_t i = 0; load->file->lists && i < node->n; i++)
        load_list(load, node->keys[i], node->items[i]);
}

/* Names every expression has already; a second meaning would never be seen. */
static bool is_taken(const char *name)
{
    static const char *const taken[] = {"event", "before",  "after", "changed",
                                        "actor", "classes", "lists"};

    for (size_t i = 0; i < DGF_ARRAY_LEN(taken); i++)
        if (strcmp(taken[i], name) == 0)
            return true;
    return false;
}

static void load_lets(struct dgf_policy_load *load, const struct dgf_yaml_node *node)
{
    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(load, "E0439", node,
                         "'let' is %s; it must be a map of expressions",
                         dgf_yaml_kind_text(node->kind));
        return;
    }
    if (node->n > DGF_CEL_MAX_LETS) {
        DGF_POLICY_ERROR(load, "E0439", node,
                         "'let' holds %zu expressions; it may hold %d", node->n,
                         DGF_CEL_MAX_LETS);
        return;
    }
    load->file->lets = dgf_policy_load_alloc(load, node->n * sizeof(*load->file->lets));
    for (size_t i = 0; load->file->lets && i < node->n; i++) {
        struct dgf_policy_let *let = &load->file->lets[load->file->n_lets];
        const char *name = node->keys[i]->text;
        char what[128];

        snprintf(what, sizeof(what), "let '%.64s'", name);
        if (!is_name(name)) {
            DGF_POLICY_ERROR(load, "E0439", node->keys[i],
                             "%s: a name is letters, digits and '_'", what);
            continue;
        }
        if (is_taken(name)) {
            DGF_POLICY_ERROR(load, "E0439", node->keys[i],
                             "%s: every expression has this name already", what);
            continue;
        }
        let->text = dgf_policy_load_expr(load, node->items[i], what, name);
        let->name = dgf_policy_load_strdup(load, name);
        load->file->n_lets += let->text.len > 0 && let->name;
    }
}

static const struct dgf_yaml_node *let_node(const struct dgf_yaml_node *lets,
                                            const char *name)
{
    return dgf_yaml_get(lets, name);
}

/* Environment of the file; each `let` that is wrong is told, then left out. */
static bool make_env(struct dgf_policy_load *load, const struct dgf_yaml_node *lets)
{
    for (;;) {
        const struct dgf_policy_let *wrong = NULL;
        struct dgf_cel_issues issues;
        char what[128];

        dgf_cel_issues_init(&issues);
        load->file->env = dgf_policy_env_new(load->file, NULL, NULL, &issues, &wrong);
        load->nomem |= !load->file->env;
        if (!load->file->env || !wrong) {
            dgf_cel_issues_release(&issues);
            return load->file->env;
        }
        snprintf(what, sizeof(what), "let '%s'", wrong->name);
        dgf_policy_load_issues(load, &issues, let_node(lets, wrong->name), 0, what);
        dgf_cel_issues_release(&issues);
        dgf_cel_env_free(load->file->env);
        load->file->env = NULL;
        memmove(&load->file->lets[wrong - load->file->lets], wrong + 1,
                (size_t)(load->file->lets + load->file->n_lets - wrong - 1) *
                    sizeof(*wrong));
        load->file->n_lets--;
    }
}

/* ---- one file ---- */

static void load_policies(struct dgf_policy_load *load,
                          const struct dgf_yaml_node *node)
{
    if (node->kind != DGF_YAML_LIST) {
        DGF_POLICY_ERROR(load, "E0419", node, "'policies' is %s; it must be a list",
                         dgf_yaml_kind_text(node->kind));
        return;
    }
    for (size_t i = 0; i < node->n && !load->nomem; i++)
        dgf_policy_load_one(load, node->items[i]);
}

/* A day counts to its end, in UTC. */
static bool read_day_or_time(const char *text, int64_t *ret_ns)
{
    const int64_t day_ns = 24 * 3600 * 1000000000ll;
    char whole[32];
    int64_t ns;

    if (dgf_parse_time(dgf_bytes_str(text), ret_ns))
        return true;
    if (strlen(text) != strlen("2030-06-30"))
        return false;
    snprintf(whole, sizeof(whole), "%sT00:00:00Z", text);
    return dgf_parse_time(dgf_bytes_str(whole), &ns) &&
           !__builtin_add_overflow(ns, day_ns, ret_ns);
}

static void check_review(struct dgf_policy_load *load, const char *review_by,
                         const struct dgf_yaml_node *info)
{
    const struct dgf_yaml_node *node = dgf_yaml_get(info, "review_by");
    int64_t ns;

    if (!read_day_or_time(review_by, &ns))
        DGF_POLICY_WARNING(load, "W0448", node ? node : info,
                           "'review_by' is not a date; example: review_by: 2030-06-30");
    else if (load->world->now_ns > 0 && ns <= load->world->now_ns)
        DGF_POLICY_WARNING(load, "W0448", node ? node : info,
                           "the review of this file was due by %s", review_by);
}

static void load_root(struct dgf_policy_load *load, const struct dgf_yaml_node *root)
{
    struct dgf_policy_file_conf conf = {.version = 0};

    dgf_opt_load(dgf_policy_file_opts, &conf, load->doc, root, "policy file", NULL,
                 load->findings);
    if (conf.info.title)
        load->file->title = dgf_policy_load_strdup(load, conf.info.title);
    if (conf.info.owner)
        load->file->owner = dgf_policy_load_strdup(load, conf.info.owner);
    if (conf.info.review_by)
        check_review(load, conf.info.review_by, dgf_yaml_get(root, "info"));
    if (conf.lists)
        load_lists(load, conf.lists);
    if (conf.let)
        load_lets(load, conf.let);
    if (conf.classes)
        dgf_classify_load_file(load, conf.classes);
    if (make_env(load, conf.let) && conf.policies)
        load_policies(load, conf.policies);
    for (size_t i = 0; i < load->file->n_lists; i++) {
        const struct dgf_policy_list *list = &load->file->lists[i];

        if (!list->used && !load->partial)
            dgf_findings_add(load->findings, DGF_FINDING_WARNING, "W0430", list->mark,
                             dgf_yaml_line(load->doc, list->mark.line),
                             "list '%s' is not used", list->name);
    }
    dgf_opt_release(dgf_policy_file_opts, &conf);
}

/* An expression that YAML cannot read at all is told with what to do about it. */
static void advise_quotes(struct dgf_findings *findings, size_t at)
{
    static const char *const keys[] = {"when:", "require:", "message:"};
    const char *line = findings->list ? findings->list[at].source_line : NULL;

    for (size_t i = 0; line && i < DGF_ARRAY_LEN(keys); i++)
        if (strstr(line, keys[i])) {
            dgf_findings_fix_at(findings, at,
                                "write what stands after '%s' after `>-` or in quotes",
                                keys[i]);
            return;
        }
}

static void load_text(struct dgf_policy_load *load, const char *path,
                      struct dgf_bytes text)
{
    DGF_CLEANUP(dgf_yaml_free) struct dgf_yaml *doc = NULL;
    struct dgf_policy_file **files;
    struct dgf_yaml_node *root;
    size_t before = load->findings->n;

    load->file = dgf_policy_load_alloc(load, sizeof(*load->file));
    files = dgf_policy_array_grow(load->set->files, load->set->n_files,
                                  &load->set->cap_files, sizeof(*files));
    load->nomem |= !files;
    if (files)
        load->set->files = files;
    if (!files || !load->file)
        return;
    files[load->set->n_files++] = load->file;
    load->file->path = dgf_policy_load_strdup(load, path);
    dgf_sha256(text, load->file->sha256);
    if (load->nomem)
        return;
    load->partial = dgf_yaml_parse(load->file->path, text, load->findings, &doc) != 0;
    if (load->partial)
        for (size_t i = before; i < load->findings->n; i++)
            advise_quotes(load->findings, i);
    if (!doc)
        return;
    load->doc = doc;
    root = dgf_yaml_root(doc);
    if (!root || root->kind != DGF_YAML_MAP)
        dgf_findings_add(
            load->findings, DGF_FINDING_ERROR, "E0419",
            (struct dgf_mark){.file = load->file->path, .line = 1, .col = 1, .len = 1},
            dgf_yaml_line(doc, 1),
            "a policy file is %s; it must be a map with 'version' and 'policies'",
            root ? dgf_yaml_kind_text(root->kind) : "empty");
    else
        load_root(load, root);
    load->doc = NULL;
}

static void load_file(struct dgf_policy_load *load, const char *path)
{
    struct dgf_buf text;
    struct dgf_err err;

    dgf_buf_init(&text, FILE_MAX_BYTES + 1);
    if (dgf_file_slurp(path, FILE_MAX_BYTES, &text, &err))
        dgf_findings_add(load->findings, DGF_FINDING_ERROR, "E0444",
                         (struct dgf_mark){.file = path, .len = 1}, NULL, "%s",
                         err.text);
    else
        load_text(load, path, dgf_buf_bytes(&text));
    dgf_buf_release(&text);
}

/* ---- the set ---- */

static int by_path(const void *a, const void *b)
{
    const struct dgf_policy_file *const *x = a, *const *y = b;

    return strcmp((*x)->path, (*y)->path);
}

/* See contrib/doc/POLICIES.md: anybody can compute it from the files. */
static void set_digest(struct dgf_policy_load *load)
{
    static const char *const sections[] = {"classification", "naming", "calendars"};
    struct dgf_policy_set *set = load->set;
    struct dgf_policy_file **sorted = dgf_calloc(set->n_files + 1, sizeof(*sorted));
    uint8_t hash[DGF_SHA256_LEN];
    struct dgf_buf buf;

    dgf_buf_init(&buf, 16 * 1024 * 1024);
    load->nomem |= !sorted;
    if (sorted) {
        for (size_t i = 0; i < set->n_files; i++)
            sorted[i] = set->files[i];
        qsort(sorted, set->n_files, sizeof(*sorted), by_path);
        for (size_t i = 0; i < set->n_files; i++) {
            dgf_buf_add_le32(&buf, (uint32_t)strlen(sorted[i]->path));
            dgf_buf_add_str(&buf, sorted[i]->path);
            dgf_buf_add(&buf, sorted[i]->sha256, sizeof(sorted[i]->sha256));
        }
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(sections); i++) {
        const struct dgf_yaml_node *root =
            load->world->config ? dgf_yaml_root(load->world->config) : NULL;

        dgf_policy_canonical(root ? dgf_yaml_get(root, sections[i]) : NULL, NULL, &buf);
    }
    dgf_sha256(dgf_buf_bytes(&buf), hash);
    load->nomem |= dgf_buf_rc(&buf) != DGF_OK;
    dgf_buf_clear(&buf);
    dgf_buf_add_str(&buf, "sha256:");
    dgf_buf_add_hex(&buf, dgf_bytes_of(hash, sizeof(hash)));
    snprintf(set->digest, sizeof(set->digest), "%s", dgf_buf_str(&buf));
    dgf_buf_release(&buf);
    dgf_free(sorted);
}

/* The programs for objects without columns; nothing can be wrong any more that
 * was not told before. */
static void make_code(struct dgf_policy_load *load)
{
    for (size_t i = 0; i < load->set->n_policies && !load->nomem; i++) {
        struct dgf_policy *policy = load->set->policies[i];
        struct dgf_cel_issues issues;

        dgf_cel_issues_init(&issues);
        load->nomem |= dgf_policy_code_make(policy, policy->file->env, &issues, &issues,
                                            &policy->open) != DGF_OK;
        dgf_cel_issues_release(&issues);
    }
}

static enum dgf_rc finish(struct dgf_policy_load *load, size_t errors_before,
                          struct dgf_policy_set **ret)
{
    if (load->nomem)
        return DGF_NOMEM;
    if (load->findings->n_errors > errors_before || load->findings->nomem)
        return DGF_BAD_CONFIG;
    set_digest(load);
    make_code(load);
    if (load->nomem)
        return DGF_NOMEM;
    *ret = dgf_policy_set_ref(load->set);
    return DGF_OK;
}

enum dgf_rc dgf_policy_set_load(const char *const *paths, size_t n_paths,
                                const struct dgf_policy_world *world,
                                struct dgf_findings *findings,
                                struct dgf_policy_set **ret)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = dgf_policy_set_new();
    struct dgf_policy_load load = {.set = set, .world = world, .findings = findings};
    struct dgf_str_list files = {.list = NULL};
    size_t errors_before = findings->n_errors;

    if (!set || dgf_policy_files(paths, n_paths, false, findings, &files))
        return DGF_NOMEM;
    if (world->config)
        dgf_classify_load_config(&load, world->config);
    for (size_t i = 0; i < files.n && !load.nomem; i++)
        load_file(&load, files.list[i]);
    dgf_policy_files_release(&files);
    return finish(&load, errors_before, ret);
}

enum dgf_rc dgf_policy_set_parse(const char *path, struct dgf_bytes text,
                                 const struct dgf_policy_world *world,
                                 struct dgf_findings *findings,
                                 struct dgf_policy_set **ret)
{
    DGF_CLEANUP(dgf_policy_set_unref) struct dgf_policy_set *set = dgf_policy_set_new();
    struct dgf_policy_load load = {.set = set, .world = world, .findings = findings};
    size_t errors_before = findings->n_errors;

    if (!set)
        return DGF_NOMEM;
    if (world->config)
        dgf_classify_load_config(&load, world->config);
    load_text(&load, path, text);
    return finish(&load, errors_before, ret);
}
