/* opt.h - option tables: one table loads the YAML, prints the reference page
 * and makes the JSON Schema, so that the three cannot drift.
 *
 * Texts may hold ${NAME}, ${NAME:-default}, ${file:PATH}, and $${ for a plain
 * ${; they are expanded here; an unknown name is an error at its line.  Values of
 * secret options are never printed; an error quotes a reference as it is
 * written, not what it stands for.  Thread: loop. */
#ifndef DGF_BASE_OPT_H
#define DGF_BASE_OPT_H

#include "base/yaml.h"

enum dgf_opt_type {
    DGF_OPT_STR,      /* char *, owned by the struct */
    DGF_OPT_BOOL,     /* bool */
    DGF_OPT_INT,      /* int64_t; lo, hi are decimal texts */
    DGF_OPT_DURATION, /* int64_t nanoseconds; lo, hi like "1s" */
    DGF_OPT_SIZE,     /* uint64_t bytes; lo, hi like "1MiB" */
    DGF_OPT_ENUM,     /* int; words: "a|b|c" in .words, index stored */
    DGF_OPT_STR_LIST, /* struct dgf_str_list; one text is a list of one */
    DGF_OPT_STR_MAP,  /* struct dgf_str_map */
    DGF_OPT_GROUP, /* nested map: .group names its table, struct is inline at offset */
    DGF_OPT_NODE,  /* const struct dgf_yaml_node *: kept for the module to read */
    DGF_OPT_SECRET_STR, /* char *, wiped when freed, file modes checked for ${file:} */
};

#define DGF_REQUIRED 1u /* missing is an error */
#define DGF_SECRET 2u   /* never printed */
/* An address that may hold secrets, with or without DGF_SECRET: only those are hidden
 * when it is shown. */
#define DGF_ADDRESS 4u
/* A word or bool on which it depends what other options mean: when it cannot be read,
 * its finding is about it (dgf_findings_about), and combinations are not judged. */
#define DGF_DECIDES 8u

struct dgf_str_list {
    char **list;
    size_t n;
};
struct dgf_str_map {
    char **keys, **values;
    size_t n;
};

struct dgf_opt {
    const char *name;
    enum dgf_opt_type type;
    size_t offset;
    unsigned flags;
    const char *fallback;        /* default as a person would write it; NULL: zero */
    const char *lo, *hi;         /* inclusive; NULL: no bound */
    const char *help;            /* one line; a second sentence may say why */
    const char *words;           /* ENUM: "cursor|group" */
    const struct dgf_opt *group; /* GROUP: its table */
    const char *example;
};

#define DGF_OPT_END  \
    {                \
        .name = NULL \
    }

/* Fills conf (zeroed by the caller) from a map node; node NULL: all defaults.
 * `what` names the part in texts: "sources.orders (postgres)".  Unknown keys
 * suggest the nearest name; their values and those of secrets are hidden in the lines
 * that findings quote.  E0202 for a name near to one that is not given is about that.
 * `ignore`: NULL-terminated names that are read by somebody else (e.g. "type").
 * Everything wrong becomes a finding (E02xx). */
void dgf_opt_load(const struct dgf_opt *opts, void *conf, const struct dgf_yaml *doc,
                  const struct dgf_yaml_node *node, const char *what,
                  const char *const *ignore, struct dgf_findings *findings);
/* Findings from list[from] on that name an option (dgf_findings_about) get its place:
 * its value's in the map that was loaded, or the map's when it is not given. */
void dgf_opt_place(const struct dgf_yaml *doc, const struct dgf_yaml_node *map,
                   struct dgf_findings *findings, size_t from);
/* No line shows a value of this node: nobody knows what they are, and one may be a
 * secret under a misspelled name. */
void dgf_opt_hide_values(const struct dgf_yaml_node *node,
                         struct dgf_findings *findings);
/* The same for an address that cannot be taken apart, but for what is a mere host when
 * the option is no secret; of others a line hides what is secret (dgf_findings_hide).
 */
void dgf_opt_hide_odd_address(const struct dgf_yaml_node *node, bool secret,
                              struct dgf_findings *findings);
/* Frees and, for secrets, wipes what load allocated. */
void dgf_opt_release(const struct dgf_opt *opts, void *conf);
/* Effective values as YAML, secrets as '***'; indent in spaces. */
void dgf_opt_show(const struct dgf_opt *opts, const void *conf, unsigned indent,
                  struct dgf_buf *out);
/* The same as members of an object; times and sizes are texts, as in the file. */
struct dgf_json;
void dgf_opt_show_json(const struct dgf_opt *opts, const void *conf,
                       struct dgf_json *json);
/* Appends an address with '***' in place of its passwords and secret parameters:
 * scheme://user:***@host/path?sig=***, or host=x password=*** as libpq reads it.  What
 * is neither becomes '***' as a whole. */
void dgf_opt_hide_address(const char *address, struct dgf_buf *out);
/* Markdown table rows, prefix before each name. */
void dgf_opt_reference(const struct dgf_opt *opts, const char *prefix,
                       struct dgf_buf *out);
/* JSON Schema 2020-12 "properties" and "required" members of an object. */
void dgf_opt_schema(const struct dgf_opt *opts, struct dgf_json *json);

/* Expands ${...} in text; E02xx finding at node on failure (returns NULL). */
char *dgf_opt_expand(const struct dgf_yaml *doc, const struct dgf_yaml_node *node,
                     bool secret, struct dgf_findings *findings);

#endif
