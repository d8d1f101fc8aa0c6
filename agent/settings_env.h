/* settings_env.h - gathers the configuration text: file, conf.d, environment. */
#ifndef DGF_SETTINGS_ENV_H
#define DGF_SETTINGS_ENV_H

#include "base/yaml.h"

/* path NULL: the environment alone.  DGF_BAD_CONFIG with findings. */
enum dgf_rc dgf_settings_read(const char *path, const char *folder,
                              struct dgf_findings *findings, struct dgf_yaml **ret)
    DGF_MUST_USE;

#endif
