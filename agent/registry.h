/* registry.h - every connector of connectors.def, by name.  Thread: any. */
#ifndef DGF_REGISTRY_H
#define DGF_REGISTRY_H

#include "bus/sink.h"
#include "bus/source.h"

/* By name or alias; NULL when there is none. */
const struct dgf_source_type *dgf_source_type_find(const char *name);
const struct dgf_sink_type *dgf_sink_type_find(const char *name);
/* NULL past the last. */
const struct dgf_source_type *dgf_source_type_at(size_t i);
const struct dgf_sink_type *dgf_sink_type_at(size_t i);

#endif
