#include "registry.h"

#include <string.h>

#define SOURCE(name) extern const struct dgf_source_type dgf_source_##name;
#define SINK(name) extern const struct dgf_sink_type dgf_sink_##name;
#include "connectors.def"
#undef SOURCE
#undef SINK

#define SOURCE(name) &dgf_source_##name,
#define SINK(name)
static const struct dgf_source_type *const sources[] = {
#include "connectors.def"
    NULL};
#undef SOURCE
#undef SINK
#define SOURCE(name)
#define SINK(name) &dgf_sink_##name,
static const struct dgf_sink_type *const sinks[] = {
#include "connectors.def"
    NULL};
#undef SOURCE
#undef SINK

/* Is name one of the words of "a b c"? */
static bool is_alias(const char *aliases, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = aliases; at && *at;) {
        size_t n = strcspn(at, " ");

        if (n == len && memcmp(at, name, n) == 0)
            return true;
        at += n + strspn(at + n, " ");
    }
    return false;
}

const struct dgf_source_type *dgf_source_type_find(const char *name)
{
    for (size_t i = 0; sources[i]; i++)
        if (strcmp(sources[i]->name, name) == 0 || is_alias(sources[i]->aliases, name))
            return sources[i];
    return NULL;
}

const struct dgf_sink_type *dgf_sink_type_find(const char *name)
{
    for (size_t i = 0; sinks[i]; i++)
        if (strcmp(sinks[i]->name, name) == 0)
            return sinks[i];
    return NULL;
}

const struct dgf_source_type *dgf_source_type_at(size_t i)
{
    return i < DGF_ARRAY_LEN(sources) ? sources[i] : NULL;
}

const struct dgf_sink_type *dgf_sink_type_at(size_t i)
{
    return i < DGF_ARRAY_LEN(sinks) ? sinks[i] : NULL;
}
