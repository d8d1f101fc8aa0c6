/* settings_env.h - gathers the configuration text: file, conf.d, environment. */
#ifndef DGF_SETTINGS_ENV_H
#define DGF_SETTINGS_ENV_H

#include "base/yaml.h"

/* path NULL: the environment alone.  DGF_BAD_CONFIG with findings, and with *ret
 * when the rest can be read all the same. */
enum dgf_rc dgf_settings_read(const char *path, const char *folder,
                              struct dgf_findings *findings, struct dgf_yaml **ret)
    DGF_MUST_USE;

/* Takes the lines of variables out of findings: they may hold secrets. */
void dgf_settings_forget_lines(struct dgf_findings *findings);

#endif
