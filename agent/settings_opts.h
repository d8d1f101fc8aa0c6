/* settings_opts.h - the options of an agent: what reads, shows and describes them. */
#ifndef DGF_SETTINGS_OPTS_H
#define DGF_SETTINGS_OPTS_H

#include "base/opt.h"

/* Of struct dgf_settings.  Those of sources and sinks are with their types. */
extern const struct dgf_opt dgf_settings_opts[];
/* Of the struct dgf_str_map `labels`: a flat map of texts, on every source. */
extern const struct dgf_opt dgf_settings_label_opts[];

#endif
