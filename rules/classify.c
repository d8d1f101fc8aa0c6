#include "classify.h"

#include <string.h>

#include "base/parse.h"
#include "policy_load.h"

#define COMMENT_MARK "dgf.class="

static int class_of(const char *text, size_t len)
{
    int class_ = dgf_class_of(dgf_bytes_of(text, len));

    return class_ > DGF_CLASS_NONE ? class_ : -1;
}

static enum dgf_class comment_class(const char *comment)
{
    const char *at = comment ? strstr(comment, COMMENT_MARK) : NULL;
    int class_;

    if (!at)
        return DGF_CLASS_NONE;
    at += strlen(COMMENT_MARK);
    class_ = class_of(at, strspn(at, "abcdefghijklmnopqrstuvwxyz"));
    /* Somebody meant to say something: a word we do not know hides the value. */
    return class_ < 0 ? DGF_CLASS_RESTRICTED : (enum dgf_class)class_;
}

enum dgf_class dgf_classify(const struct dgf_policy_set *set,
                            const struct dgf_object *object, struct dgf_bytes field,
                            const char *comment)
{
    enum dgf_class strictest = comment_class(comment);

    for (size_t i = 0; i < set->n_classes; i++)
        if (set->classes[i].class_ > strictest &&
            dgf_glob_object(set->classes[i].match, object, field))
            strictest = set->classes[i].class_;
    return strictest;
}

enum dgf_rc dgf_classify_object(const struct dgf_policy_set *set,
                                struct dgf_object *object)
{
    if (object->n_columns == 0)
        return DGF_OK;
    if (!object->classes)
        object->classes = dgf_malloc(object->n_columns);
    if (!object->classes)
        return DGF_NOMEM;
    for (uint32_t i = 0; i < object->n_columns; i++) {
        const struct dgf_column *column = &object->columns[i];

        object->classes[i] = (uint8_t)dgf_classify(
            set, object, dgf_bytes_of(column->name, column->name_len), column->comment);
    }
    return DGF_OK;
}

/* ---- loading ---- */

static void add(struct dgf_policy_load *load, const struct dgf_yaml *doc,
                const struct dgf_yaml_node *match_node, const char *match,
                const struct dgf_yaml_node *word)
{
    static const char *const words[] = {"public", "internal", "confidential",
                                        "restricted"};
    struct dgf_policy_set *set = load->set;
    struct dgf_class_rule *list;
    const char *wrong = dgf_glob_wrong(match), *near;
    int class_ = word->text ? class_of(word->text, word->text_len) : -1;

    if (wrong)
        dgf_yaml_finding(doc, load->findings, DGF_FINDING_ERROR, "E0427", match_node,
                         "the pattern '%s' cannot be used: %s", match, wrong);
    if (word->kind == DGF_YAML_MAP || word->kind == DGF_YAML_LIST) {
        dgf_yaml_finding(doc, load->findings, DGF_FINDING_ERROR, "E0443", word,
                         "the class of '%s' is %s; it must be public, internal, "
                         "confidential or restricted",
                         match, dgf_yaml_kind_text(word->kind));
    } else if (class_ < 0) {
        near = word->text ? dgf_nearest(word->text, words, DGF_ARRAY_LEN(words)) : NULL;
        dgf_yaml_finding(doc, load->findings, DGF_FINDING_ERROR, "E0443", word,
                         "unknown class '%s'; %s%s%s", word->text ? word->text : "",
                         near ? "did you mean '" : "it is one of ",
                         near ? near : "public, internal, confidential, restricted",
                         near ? "'?" : "");
    }
    if (wrong || class_ < 0)
        return;
    list = dgf_policy_array_grow(set->classes, set->n_classes, &set->cap_classes,
                                 sizeof(*list));
    match = dgf_policy_load_strdup(load, match);
    load->nomem |= !list;
    if (!list || !match)
        return;
    set->classes = list;
    list[set->n_classes++] = (struct dgf_class_rule){match, (enum dgf_class)class_};
}

void dgf_classify_load_file(struct dgf_policy_load *load,
                            const struct dgf_yaml_node *node)
{
    if (node->kind != DGF_YAML_MAP) {
        DGF_POLICY_ERROR(
            load, "E0443", node,
            "'classes' is %s; it must be a map; example: {shop.users: {email: "
            "confidential}}",
            dgf_yaml_kind_text(node->kind));
        return;
    }
    for (size_t i = 0; i < node->n; i++) {
        const struct dgf_yaml_node *fields = node->items[i];

        if (fields->kind != DGF_YAML_MAP) {
            DGF_POLICY_ERROR(load, "E0443", fields,
                             "the classes of '%s' are %s; they must be a map of fields",
                             node->keys[i]->text, dgf_yaml_kind_text(fields->kind));
            continue;
        }
        for (size_t j = 0; j < fields->n; j++) {
            struct dgf_buf match;

            dgf_buf_init(&match, 64 * 1024);
            dgf_buf_addf(&match, "%s.%s", node->keys[i]->text, fields->keys[j]->text);
            add(load, load->doc, fields->keys[j], dgf_buf_str(&match),
                fields->items[j]);
            dgf_buf_release(&match);
        }
    }
}

struct config_rule {
    char *match;
    const struct dgf_yaml_node *class_;
};

static const struct dgf_opt config_opts[] = {
    {"match", DGF_OPT_STR, offsetof(struct config_rule, match), DGF_REQUIRED,
     .help = "pattern of object and field", .example = "\"**.email\""},
    {"class", DGF_OPT_NODE, offsetof(struct config_rule, class_), DGF_REQUIRED,
     .help = "public, internal, confidential or restricted", .example = "confidential"},
    DGF_OPT_END,
};

void dgf_classify_load_config(struct dgf_policy_load *load,
                              const struct dgf_yaml *config)
{
    const struct dgf_yaml_node *root = dgf_yaml_root(config);
    const struct dgf_yaml_node *list =
        root ? dgf_yaml_get(root, "classification") : NULL;

    if (!list)
        return;
    if (list->kind != DGF_YAML_LIST) {
        dgf_yaml_finding(config, load->findings, DGF_FINDING_ERROR, "E0443", list,
                         "'classification' is %s; it must be a list; example: [{match: "
                         "\"**.email\", class: confidential}]",
                         dgf_yaml_kind_text(list->kind));
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        struct config_rule rule = {.match = NULL};

        if (list->items[i]->kind != DGF_YAML_MAP) {
            dgf_yaml_finding(config, load->findings, DGF_FINDING_ERROR, "E0443",
                             list->items[i],
                             "an entry of 'classification' is %s; it must be a map",
                             dgf_yaml_kind_text(list->items[i]->kind));
            continue;
        }
        dgf_opt_load(config_opts, &rule, config, list->items[i], "classification", NULL,
                     load->findings);
        if (rule.match && rule.class_)
            add(load, config, list->items[i], rule.match, rule.class_);
        dgf_opt_release(config_opts, &rule);
    }
}
