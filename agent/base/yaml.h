/* yaml.h - a strict subset of YAML as a tree whose every node knows its place.
 *
 * No anchors, aliases, tags, merge keys or duplicate keys; one document; depth
 * 32, 1 MiB; YAML 1.2 core types (yes, no, on, off are texts).  Environment
 * references are not expanded here (opt.h does).  Thread: one owner. */
#ifndef DGF_BASE_YAML_H
#define DGF_BASE_YAML_H

#include "base/buf.h"
#include "base/findings.h"
#include "base/mem.h"

enum dgf_yaml_kind {
    DGF_YAML_NULL,
    DGF_YAML_BOOL,
    DGF_YAML_INT,
    DGF_YAML_FLOAT,
    DGF_YAML_STR,
    DGF_YAML_LIST,
    DGF_YAML_MAP
};

struct dgf_yaml_node {
    enum dgf_yaml_kind kind;
    struct dgf_mark mark;
    const char *text; /* scalars: the text as written, NUL-terminated */
    size_t text_len;
    bool plain;         /* scalar without quotes or block style */
    bool block;         /* written with > or | */
    bool comment_after; /* a plain scalar with a comment on its line: the text may be
                           cut */
    int64_t i64;        /* INT */
    double dbl;         /* FLOAT, and INT too */
    bool boolean;       /* BOOL */
    size_t n;           /* LIST: items; MAP: pairs */
    struct dgf_yaml_node **keys;  /* MAP: scalar nodes */
    struct dgf_yaml_node **items; /* LIST items, MAP values */
    size_t begin;                 /* byte of the file where it begins */
    bool refused; /* a finding says so already: the value is not to be looked at */
};

struct dgf_yaml; /* owns all nodes and the text of the file */

/* Adds findings (E01xx) for everything wrong and then returns DGF_BAD_CONFIG;
 * path is used in marks.  text is copied.  Where only tags, anchors, aliases or
 * keys were refused, *ret is set all the same, without them: what else is wrong
 * can be told in the same go. */
enum dgf_rc dgf_yaml_parse(const char *path, struct dgf_bytes text,
                           struct dgf_findings *findings, struct dgf_yaml **ret)
    DGF_MUST_USE;
enum dgf_rc dgf_yaml_load(const char *path, struct dgf_findings *findings,
                          struct dgf_yaml **ret) DGF_MUST_USE;
void dgf_yaml_free(struct dgf_yaml *doc);
DGF_CLEANUP_OF(struct dgf_yaml *, dgf_yaml_free)

/* Who knows only the place of what is wrong gives no line: here it is added, from
 * doc or from what was put over it. */
void dgf_yaml_quote_lines(const struct dgf_yaml *doc, struct dgf_findings *findings);
/* Puts the overlay's values over those of doc: maps are merged key by key, all
 * else is replaced.  Marks go on saying where a value was written.  The overlay
 * belongs to doc from now on, also on failure (DGF_NOMEM). */
enum dgf_rc dgf_yaml_overlay(struct dgf_yaml *doc, struct dgf_yaml *take_overlay)
    DGF_MUST_USE;

struct dgf_yaml_node *dgf_yaml_root(
    const struct dgf_yaml *doc); /* NULL for an empty file */
struct dgf_yaml_node *dgf_yaml_get(const struct dgf_yaml_node *map, const char *key);
const char *dgf_yaml_kind_text(enum dgf_yaml_kind kind); /* "a map", "a list", "text" */
/* Place of byte `offset` of a scalar's text; knows folded, literal and quoted
 * styles and escapes.  Blanks that folding made are placed nearby. */
struct dgf_mark dgf_yaml_text_mark(const struct dgf_yaml *doc,
                                   const struct dgf_yaml_node *scalar, size_t offset,
                                   unsigned len);
/* The line as it stands in the file; NULL when out of range.  Owned by doc. */
const char *dgf_yaml_line(const struct dgf_yaml *doc, unsigned line);
/* A finding at a node with its source line. */
void dgf_yaml_finding(const struct dgf_yaml *doc, struct dgf_findings *findings,
                      enum dgf_severity_of_finding severity, const char *code,
                      const struct dgf_yaml_node *node, const char *fmt, ...)
    DGF_PRINTF(6, 7);

#endif
