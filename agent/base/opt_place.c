/* opt_place.c - where an option stands that a finding knows by its name, and which
 * values of a map no line may show. */
#include "base/opt.h"

#include <string.h>

#include "base/parse.h"
#include "base/yaml_doc.h"

/* A key may hold dots, so that the longest one that fits wins. */
static const struct dgf_yaml_node *member(const struct dgf_yaml_node *map,
                                          const char **path)
{
    size_t best = 0, len;
    const struct dgf_yaml_node *found = NULL;

    for (size_t i = 0; i < map->n; i++) {
        len = map->keys[i]->text_len;
        if (len >= best && strncmp(map->keys[i]->text, *path, len) == 0 &&
            strchr(".[", (*path)[len])) { /* or the end of it */
            best = len;
            found = map->items[i];
        }
    }
    *path += best;
    *path += found && **path == '.';
    return found;
}

static const struct dgf_yaml_node *item(const struct dgf_yaml_node *list,
                                        const char **path)
{
    size_t len = strcspn(*path, "]");
    uint64_t at;

    if (**path != '[' || !(*path)[len] ||
        !dgf_parse_u64(dgf_bytes_of(*path + 1, len - 1), &at) || at >= list->n)
        return NULL;
    *path += len + 1;
    *path += **path == '.';
    return list->items[at];
}

/* As deep as the file goes; the map itself for an option that is not given. */
static const struct dgf_yaml_node *node_of(const struct dgf_yaml_node *map,
                                           const char *path)
{
    const struct dgf_yaml_node *node = map, *next;

    while (*path) {
        next = node->kind == DGF_YAML_MAP    ? member(node, &path)
               : node->kind == DGF_YAML_LIST ? item(node, &path)
                                             : NULL;
        if (!next)
            break;
        node = next;
    }
    return node;
}

void dgf_opt_place(const struct dgf_yaml *doc, const struct dgf_yaml_node *map,
                   struct dgf_findings *findings, size_t from)
{
    for (size_t i = from; i < findings->n; i++) {
        const struct dgf_yaml_node *node;

        if (!findings->list[i].option || strcmp(findings->list[i].code, "E0202") == 0)
            continue; /* a misspelled name is at its own place */
        node = node_of(map, findings->list[i].option);
        dgf_findings_place_at(
            findings, i, node->mark,
            dgf_yaml_line(dgf_yaml_doc_of(doc, node->mark.file), node->mark.line));
    }
}

/* A reference without a default tells nothing; of a file, findings_hide judges it. */
static bool is_reference(const struct dgf_yaml_node *node)
{
    size_t len = node->text_len;

    return len > 3 && strncmp(node->text, "${", 2) == 0 &&
           strchr(node->text, '}') == node->text + len - 1 &&
           (strncmp(node->text, "${file:", 7) == 0 ||
            dgf_is_variable(node->text + 2, len - 3));
}

void dgf_opt_hide_values(const struct dgf_yaml_node *node,
                         struct dgf_findings *findings)
{
    struct dgf_mark mark = node->mark;

    if (node->kind == DGF_YAML_MAP || node->kind == DGF_YAML_LIST) {
        for (size_t i = 0; i < node->n; i++)
            dgf_opt_hide_values(node->items[i], findings);
        return;
    }
    if (node->text_len == 0 || is_reference(node))
        return;
    if (mark.len == 1 && node->text_len > 1) /* it goes on in another line */
        mark.len = 0;
    dgf_findings_hide_at(findings, mark);
}

/* A host, as in "host:6379" or "db.example.com/x". */
static bool is_host(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789.-:/") == strlen(text) &&
           strlen(text) < 64;
}

void dgf_opt_hide_odd_address(const struct dgf_yaml_node *node, bool secret,
                              struct dgf_findings *findings)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf seen = {0};

    dgf_buf_init(&seen, 1 << 20);
    if (node->kind == DGF_YAML_STR)
        dgf_opt_hide_address(node->text, &seen);
    if (strcmp(dgf_buf_str(&seen), "***") == 0 && (secret || !is_host(node->text)))
        dgf_opt_hide_values(node, findings);
}
