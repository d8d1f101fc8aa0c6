#include "source_redis_start.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* The order of a start: connect to the address; INFO; in a cluster its slots and
 * a node for each primary; on every node SCAN for the patterns; each stream is
 * then read once to its end, and from there on whenever it has something new. */

#define MIN_VERSION 7

/* ---- nodes ---- */

static void on_client_id(struct dgf_redis_link *link,
                         const struct dgf_redis_command *command,
                         const struct dgf_resp_item *item)
{
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token token;

    (void)command;
    if (dgf_resp_next(&resp, &token) == DGF_OK && token.kind == DGF_RESP_INT)
        link->node->client_id = token.number;
    dgf_redis_next(link->node);
}

static void on_wait_up(struct dgf_redis_link *link)
{
    struct dgf_redis_command command = {.on_item = on_client_id};

    dgf_redis_link_send(link, command,
                        (struct dgf_bytes[]){DGF_BYTES("CLIENT"), DGF_BYTES("ID")}, 2);
    dgf_redis_link_flush(link);
}

void dgf_redis_node_begin(struct dgf_redis_node *node)
{
    struct dgf_redis_source *self = node->source;
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);

    if (self->keys) {
        dgf_redis_keys_begin(node);
        return;
    }
    for (size_t i = 0; i < conf->streams.n && !self->failed; i++) {
        const char *name = conf->streams.list[i];
        struct dgf_redis_stream *stream;

        if (dgf_redis_is_glob(name) || dgf_redis_node_of(self, name) != node)
            continue;
        stream = dgf_redis_stream_find(self, dgf_bytes_str(name), true);
        if (stream && stream->state == DGF_REDIS_IDLE)
            dgf_redis_queue(stream);
    }
    if (self->failed)
        return;
    dgf_redis_discover(node);
    /* In a cluster one blocking read cannot wait for streams of several slots. */
    if (!self->failed && !self->cluster)
        dgf_redis_link_connect(&node->wait, on_wait_up);
}

struct dgf_redis_node *dgf_redis_node_new(struct dgf_redis_source *self,
                                          const char *host, const char *path,
                                          uint16_t port)
{
    struct dgf_redis_node *node = dgf_calloc(1, sizeof(*node)), **nodes;

    nodes = dgf_realloc(self->nodes, (self->n_nodes + 1) * sizeof(*nodes));
    if (nodes)
        self->nodes = nodes;
    if (node && host)
        node->address.host = dgf_strdup(host);
    if (node && path)
        node->address.path = dgf_strdup(path);
    if (!node || !nodes || (!node->address.host && !node->address.path)) {
        if (node)
            dgf_redis_address_release(&node->address);
        dgf_free(node);
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return NULL;
    }
    node->source = self;
    node->address.port = port;
    node->queue_end = &node->queue;
    node->data = (struct dgf_redis_link){
        .source = self, .node = node, .what = "connection", .fd = -1};
    node->wait = (struct dgf_redis_link){
        .source = self, .node = node, .what = "waiting connection", .fd = -1};
    self->nodes[self->n_nodes++] = node;
    return node;
}

void dgf_redis_node_connect(struct dgf_redis_source *self, dgf_redis_on_up *on_up)
{
    size_t n = self->address.n_seeds, i = n ? self->seed % (n + self->n_known) : 0;
    const struct dgf_redis_seed *seed =
        i < n ? &self->address.seeds[i] : &self->known[i - n];
    struct dgf_redis_node *node =
        self->address.path ? dgf_redis_node_new(self, NULL, self->address.path, 0)
                           : dgf_redis_node_new(self, seed->host, NULL, seed->port);

    self->missed = true; /* until it has told what we need */

    if (node)
        dgf_redis_link_connect(&node->data, on_up);
}

/* ---- the server ---- */

bool dgf_redis_info(struct dgf_bytes info, const char *name, struct dgf_bytes *ret)
{
    const uint8_t *at = info.ptr, *end = info.ptr + info.len;
    size_t len = strlen(name);

    while (at && at < end) {
        const uint8_t *nl = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((nl ? nl : end) - at);

        if (n > len && memcmp(at, name, len) == 0 && at[len] == ':') {
            *ret = dgf_bytes_of(at + len + 1, n - len - 1);
            while (ret->len && ret->ptr[ret->len - 1] == '\r')
                ret->len--;
            return true;
        }
        at = nl ? nl + 1 : end;
    }
    return false;
}

/* Whatever answers keeps the name it had when we first came: ids must not change
 * when a server restarts or a replica takes over. */
static bool learn_system(struct dgf_redis_source *self, struct dgf_bytes replid)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf kept = {0};
    enum dgf_rc rc;

    dgf_buf_init(&kept, 256);
    rc = dgf_source_get_state(&self->base, DGF_BYTES("system"), &kept);
    if (rc == DGF_AGAIN) {
        dgf_buf_add_bytes(&kept, replid);
        rc = dgf_source_put_state(&self->base, DGF_BYTES("system"),
                                  dgf_buf_bytes(&kept));
    }
    if (rc || dgf_buf_rc(&kept)) {
        dgf_redis_fail(self, DGF_RETRY, "cannot remember the server");
        return false;
    }
    (void)snprintf(self->system, sizeof(self->system), "%s", dgf_buf_str(&kept));
    return true;
}

static void on_info(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_bytes text = dgf_redis_error(item), version, replid, cluster, loading;
    struct dgf_resp_token info;

    (void)command;
    if (text.len) {
        dgf_redis_fail(self,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot look at the server: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (dgf_resp_next(&resp, &info) || info.kind != DGF_RESP_BULK ||
        !dgf_redis_info(info.bytes, "redis_version", &version) ||
        !dgf_redis_info(info.bytes, "master_replid", &replid)) {
        dgf_redis_fail(self, DGF_RETRY, "the answer to INFO cannot be understood");
        return;
    }
    if (version.len == 0 || (version.ptr[0] < '0' + MIN_VERSION && version.len > 1 &&
                             version.ptr[1] == '.')) {
        dgf_redis_fail(self, DGF_BAD_CONFIG, "Redis 7 or newer is needed; this is %.*s",
                       (int)version.len, version.ptr);
        return;
    }
    if (dgf_redis_info(info.bytes, "loading", &loading) &&
        dgf_bytes_eq(loading, DGF_BYTES("1"))) {
        dgf_redis_fail(self, DGF_RETRY, "the server is loading its data");
        return;
    }
    if (!learn_system(self, replid))
        return;
    if (dgf_redis_info(info.bytes, "cluster_enabled", &cluster) &&
        dgf_bytes_eq(cluster, DGF_BYTES("1"))) {
        dgf_redis_cluster_begin(link);
        return;
    }
    if (self->address.n_seeds > 1) {
        dgf_redis_fail(self, DGF_BAD_CONFIG,
                       "'url' has several hosts, which only a cluster has, and the "
                       "server is none");
        return;
    }
    self->missed = false;
    self->n_starting = 1;
    dgf_redis_node_begin(link->node);
}

static void on_first_up(struct dgf_redis_link *link)
{
    struct dgf_redis_command command = {.on_item = on_info};

    dgf_redis_link_send(link, command, (struct dgf_bytes[]){DGF_BYTES("INFO")}, 1);
    dgf_redis_link_flush(link);
}

void dgf_redis_start(struct dgf_redis_source *self)
{
    dgf_source_state(&self->base, DGF_STATE_STARTING, "connecting");
    dgf_redis_node_connect(self, on_first_up);
}

/* Looks for new streams, and now and then at quiet ones. */
void dgf_redis_start_tick(struct dgf_redis_source *self, int64_t now_ns)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(self);
    int64_t every = conf->check_ns;
    struct dgf_map_entry *entry;
    size_t at = 0;

    if (!self->streaming)
        return;
    dgf_redis_cluster_tick(self, now_ns);
    if (self->keys) {
        dgf_redis_keys_tick(self, now_ns);
        return;
    }
    for (size_t i = 0; i < self->n_nodes && !self->failed; i++) {
        struct dgf_redis_node *node = self->nodes[i];

        if (node->data.up && !node->scanning && node->scanned_ns &&
            now_ns - node->scanned_ns >= conf->discover_ns)
            dgf_redis_discover(node);
    }
    if (every < (int64_t)self->streams.n * 1000000) /* a thousand a second */
        every = (int64_t)self->streams.n * 1000000;
    while (!self->failed && (entry = dgf_map_next(&self->streams, &at))) {
        struct dgf_redis_stream *stream = entry->value;

        /* Nothing wakes us in a cluster: every tick is a look. */
        if (stream->state == DGF_REDIS_IDLE && stream->node->data.up &&
            (self->cluster || now_ns - stream->checked_ns >= every))
            dgf_redis_queue(stream);
    }
    for (size_t i = 0; i < self->n_nodes && !dgf_redis_stopped(self); i++)
        if (self->nodes[i]->data.up)
            dgf_redis_next(self->nodes[i]);
}
