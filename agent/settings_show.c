#include "base/json.h"
#include "settings.h"
#include "settings_opts.h"

/* A secret may have become the name of a part, by mistake. */
static const char *name_seen(const char *name, struct dgf_buf *made)
{
    dgf_buf_clear(made);
    dgf_buf_add_str(made, name);
    (void)dgf_buf_str(made);
    if (!made->len || dgf_buf_rc(made))
        return "***";
    dgf_text_hide((char *)made->ptr);
    return dgf_buf_str(made);
}

void dgf_settings_show(const struct dgf_settings *s, struct dgf_buf *out)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_opt_show(dgf_settings_opts, s, 0, out);
    dgf_buf_add_str(out, "sources:\n");
    for (size_t i = 0; i < s->n_sources; i++) {
        dgf_buf_addf(out, "  %s:\n    type: %s\n", name_seen(s->sources[i].name, &made),
                     s->sources[i].type->name);
        dgf_opt_show(s->sources[i].type->opts, s->sources[i].conf, 4, out);
        if (s->sources[i].labels.n)
            dgf_opt_show(dgf_settings_label_opts, &s->sources[i].labels, 4, out);
    }
    if (s->n_sinks)
        dgf_buf_add_str(out, "sinks:\n");
    for (size_t i = 0; i < s->n_sinks; i++) {
        dgf_buf_addf(out, "  %s:\n    type: %s\n", name_seen(s->sinks[i].name, &made),
                     s->sinks[i].type->name);
        dgf_opt_show(s->sinks[i].type->opts, s->sinks[i].conf, 4, out);
    }
}

static void part_json(struct dgf_json *json, const char *name, const char *type,
                      const struct dgf_opt *opts, const void *conf,
                      const struct dgf_str_map *labels)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf made = {0};

    dgf_buf_init(&made, 1 << 20);
    dgf_json_key_bytes(json, dgf_bytes_str(name_seen(name, &made)));
    dgf_json_begin_object(json);
    dgf_json_key(json, "type");
    dgf_json_str(json, type);
    dgf_opt_show_json(opts, conf, json);
    if (labels && labels->n)
        dgf_opt_show_json(dgf_settings_label_opts, labels, json);
    dgf_json_end_object(json);
}

void dgf_settings_show_json(const struct dgf_settings *s, struct dgf_buf *out)
{
    struct dgf_json json = dgf_json_of(out);

    dgf_json_begin_object(&json);
    dgf_opt_show_json(dgf_settings_opts, s, &json);
    dgf_json_key(&json, "sources");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < s->n_sources; i++)
        part_json(&json, s->sources[i].name, s->sources[i].type->name,
                  s->sources[i].type->opts, s->sources[i].conf, &s->sources[i].labels);
    dgf_json_end_object(&json);
    dgf_json_key(&json, "sinks");
    dgf_json_begin_object(&json);
    for (size_t i = 0; i < s->n_sinks; i++)
        part_json(&json, s->sinks[i].name, s->sinks[i].type->name,
                  s->sinks[i].type->opts, s->sinks[i].conf, NULL);
    dgf_json_end_object(&json);
    dgf_json_end_object(&json);
    dgf_buf_add_byte(out, '\n');
}
