#include "base/yaml.h"
#include "base/yaml_doc.h"

const struct dgf_yaml *dgf_yaml_doc_of(const struct dgf_yaml *doc, const char *file)
{
    for (const struct dgf_yaml *d = doc; d; d = d->overlay)
        if (file && d->path && strcmp(d->path, file) == 0)
            return d;
    return doc;
}

void dgf_yaml_quote_lines(const struct dgf_yaml *doc, struct dgf_findings *findings)
{
    for (size_t i = 0; i < findings->n; i++) {
        const struct dgf_mark *mark = &findings->list[i].mark;
        const struct dgf_yaml *of = dgf_yaml_doc_of(doc, mark->file);

        if (mark->file && of->path && strcmp(of->path, mark->file) == 0)
            dgf_findings_line_at(findings, i, dgf_yaml_line(of, mark->line));
    }
}

/* Appends a pair; the arrays are new, because the old ones have no room. */
static enum dgf_rc append(struct dgf_arena *arena, struct dgf_yaml_node *map,
                          struct dgf_yaml_node *key, struct dgf_yaml_node *item)
{
    struct dgf_yaml_node **keys = dgf_arena_alloc(arena, (map->n + 1) * sizeof(*keys));
    struct dgf_yaml_node **items =
        dgf_arena_alloc(arena, (map->n + 1) * sizeof(*items));

    if (!keys || !items)
        return DGF_NOMEM;
    if (map->n) {
        memcpy(keys, map->keys, map->n * sizeof(*keys));
        memcpy(items, map->items, map->n * sizeof(*items));
    }
    keys[map->n] = key;
    items[map->n] = item;
    map->keys = keys;
    map->items = items;
    map->n++;
    return DGF_OK;
}

/* As deep as the files may be, which the parser limits. */
static enum dgf_rc merge(struct dgf_arena *arena, struct dgf_yaml_node *map,
                         const struct dgf_yaml_node *over)
{
    for (size_t i = 0; i < over->n; i++) {
        struct dgf_yaml_node *item = over->items[i];
        enum dgf_rc rc = DGF_OK;
        size_t at = 0;

        while (at < map->n && strcmp(map->keys[at]->text, over->keys[i]->text) != 0)
            at++;
        if (at == map->n)
            rc = append(arena, map, over->keys[i], item);
        else if (map->items[at]->kind == DGF_YAML_MAP && item->kind == DGF_YAML_MAP)
            rc = merge(arena, map->items[at], item);
        else
            map->items[at] = item;
        if (rc)
            return rc;
    }
    return DGF_OK;
}

enum dgf_rc dgf_yaml_overlay(struct dgf_yaml *doc, struct dgf_yaml *take_overlay)
{
    struct dgf_yaml *last = doc;

    while (last->overlay)
        last = last->overlay;
    last->overlay = take_overlay;
    if (!take_overlay || !take_overlay->root)
        return DGF_OK;
    if (!doc->root) {
        doc->root = take_overlay->root;
        return DGF_OK;
    }
    if (doc->root->kind != DGF_YAML_MAP || take_overlay->root->kind != DGF_YAML_MAP)
        return DGF_OK; /* whoever reads doc says what is wrong with it */
    return merge(&doc->arena, doc->root, take_overlay->root);
}
