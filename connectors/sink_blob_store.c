/* The archive a sink keeps, to read: what its options say about the container. */
#include "blob_store.h"
#include "sink_blob.h"

enum dgf_rc dgf_blob_store_of_sink(const void *sink_conf, const char *log_id,
                                   struct dgf_store **ret, struct dgf_err *err)
{
    const struct dgf_blob_conf *sink = sink_conf;
    struct dgf_blob_store_conf conf = {.url = sink->url,
                                       .prefix = dgf_blob_prefix(sink),
                                       .log_id = log_id,
                                       .auth = &sink->azure,
                                       .timeout_ms = sink->timeout_ns / 1000000};

    return dgf_blob_store_open(&conf, ret, err);
}
