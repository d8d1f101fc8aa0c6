/* settings_hints.h - what somebody may have meant: types, variables and paths of a
 * configuration that do not lead anywhere.  Thread: loop. */
#ifndef DGF_SETTINGS_HINTS_H
#define DGF_SETTINGS_HINTS_H

#include "base/opt.h"

struct dgf_settings;

/* E0208 for the `type` of a part: the known ones, and the one that is likely meant.
 * kind: "source" or "sink". */
void dgf_settings_unknown_type(const struct dgf_yaml *doc,
                               const struct dgf_yaml_node *part, const char *what,
                               const char *kind, struct dgf_findings *findings);
/* W0202 for variables DGF_... that nobody reads and that are nearly the name of one
 * that goes over an option of `root`: DGF_AGENT_NAME. */
void dgf_settings_near_variables(const struct dgf_opt *root,
                                 struct dgf_findings *findings);
/* Findings from list[from] on about a file or folder that `policies` names and that
 * cannot be read stand where it is named. */
void dgf_settings_place_policies(const struct dgf_settings *settings,
                                 struct dgf_findings *findings, size_t from);

#endif
