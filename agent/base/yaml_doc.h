/* yaml_doc.h - what yaml.c and yaml_parse.c share: the document and its lines.
 * Not for others. */
#ifndef DGF_BASE_YAML_DOC_H
#define DGF_BASE_YAML_DOC_H

#include "base/yaml.h"

struct dgf_yaml {
    struct dgf_arena arena; /* nodes and all texts */
    char *path;
    struct dgf_bytes source; /* without a byte order mark */
    char *lines;             /* the source, with a NUL for each line break */
    uint32_t *line_begins;   /* byte of the source */
    size_t n_lines;
    struct dgf_yaml_node *root;
    /* Where the last question was about: files are read forward, and a file
     * may be one long line. */
    size_t last_line, last_col, last_at;
    struct dgf_yaml *overlay; /* owned: a document whose nodes were put into this one */
};

/* The document a place belongs to: doc or one of its overlays. */
const struct dgf_yaml *dgf_yaml_doc_of(const struct dgf_yaml *doc, const char *file);

/* Byte of the source at a line and column that count from 0, in characters. */
size_t dgf_yaml_offset(struct dgf_yaml *doc, size_t line, size_t col);
struct dgf_mark dgf_yaml_mark_at(const struct dgf_yaml *doc, size_t offset,
                                 unsigned len);
/* Reads the whole source into doc->root. */
enum dgf_rc dgf_yaml_build(struct dgf_yaml *doc, struct dgf_findings *findings)
    DGF_MUST_USE;
/* Type and value of a plain scalar by the core schema of YAML 1.2.  False when
 * a number is too large. */
bool dgf_yaml_type_plain(struct dgf_yaml_node *node);

#endif
