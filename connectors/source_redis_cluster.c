#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_redis_start.h"

#define SLOTS_NS INT64_C(5000000000) /* how often a cluster is asked for its slots */

/* CRC16 (XMODEM) of the part that decides: between the first { and the next }. */
static uint16_t slot_of(const char *name)
{
    const char *open = strchr(name, '{'), *close = open ? strchr(open + 1, '}') : NULL;
    const char *from = close && close > open + 1 ? open + 1 : name;
    const char *end = from == name ? name + strlen(name) : close;
    uint16_t crc = 0;

    for (; from < end; from++) {
        crc = (uint16_t)(crc ^ (uint8_t)*from << 8);
        for (int bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc % DGF_REDIS_SLOTS;
}

struct dgf_redis_node *dgf_redis_node_of(struct dgf_redis_source *self,
                                         const char *name)
{
    uint16_t at;

    if (!self->cluster)
        return self->nodes[0];
    at = self->slots[slot_of(name)];
    return at ? self->nodes[at - 1] : NULL;
}

static void on_node_up(struct dgf_redis_link *link)
{
    dgf_redis_node_begin(link->node);
}

static struct dgf_redis_node *node_known(struct dgf_redis_source *self,
                                         struct dgf_bytes host, int64_t port)
{
    if (host.len == 0) /* the one we asked */
        host = dgf_bytes_str(self->nodes[0]->address.host);
    for (size_t i = 0; i < self->n_nodes; i++) {
        const struct dgf_redis_address *address = &self->nodes[i]->address;

        if (address->host && address->port == port &&
            dgf_bytes_eq(dgf_bytes_str(address->host), host))
            return self->nodes[i];
    }
    return NULL;
}

static struct dgf_redis_node *node_find(struct dgf_redis_source *self,
                                        struct dgf_bytes host, int64_t port)
{
    struct dgf_redis_node *node = node_known(self, host, port);
    char text[256];

    if (node)
        return node;
    if (host.len == 0)
        host = dgf_bytes_str(self->nodes[0]->address.host);
    if (host.len >= sizeof(text) || port <= 0 || port > 65535 ||
        self->n_nodes >= DGF_REDIS_NODES_MAX)
        return NULL;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    return dgf_redis_node_new(self, text, NULL, (uint16_t)port);
}

/* ---- what moved ---- */

void dgf_redis_moved(struct dgf_redis_source *self)
{
    dgf_redis_fail(self, DGF_RETRY,
                   "the cluster moved slots; its nodes are asked again");
}

void dgf_redis_asked(struct dgf_redis_stream *stream, struct dgf_bytes text)
{
    struct dgf_redis_source *self = stream->source;
    const uint8_t *end = text.ptr + text.len, *host, *colon;
    struct dgf_redis_node *node = NULL;
    uint64_t port;

    host = memrchr(text.ptr, ' ', text.len);
    colon = memrchr(text.ptr, ':', text.len);
    if (host && colon > host &&
        dgf_parse_u64(dgf_bytes_of(colon + 1, (size_t)(end - colon) - 1), &port) &&
        port <= 65535)
        node = node_find(self, dgf_bytes_of(host + 1, (size_t)(colon - host) - 1),
                         (int64_t)port);
    if (self->failed)
        return;
    if (!node) {
        dgf_redis_fail(self, DGF_RETRY,
                       "the cluster sends us to a node without a name");
        return;
    }
    stream->ask = node;
    if (node->data.made)
        return;
    if (!self->streaming)
        self->n_starting++;
    dgf_redis_link_connect(&node->data, on_node_up);
}

static void on_asking(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    (void)link;
    (void)command;
    (void)item; /* what follows it says what is wrong */
}

void dgf_redis_stream_send(struct dgf_redis_stream *stream,
                           struct dgf_redis_command command,
                           const struct dgf_bytes *words, size_t n)
{
    struct dgf_redis_link *link = &stream->node->data;

    if (stream->asking)
        dgf_redis_link_send(link, (struct dgf_redis_command){.on_item = on_asking},
                            (struct dgf_bytes[]){DGF_BYTES("ASKING")}, 1);
    dgf_redis_link_send(link, command, words, n);
}

/* ---- slots ---- */

static size_t index_of(const struct dgf_redis_source *self,
                       const struct dgf_redis_node *node)
{
    size_t i = 0;

    while (self->nodes[i] != node)
        i++;
    return i;
}

struct range {
    int64_t first, last, port;
    struct dgf_bytes host;
};

/* [first, last, [host, port, id, ...], replicas...] */
static bool read_range(struct dgf_resp *resp, struct range *ret)
{
    struct dgf_resp_token head, first, last, primary, host, port;
    struct dgf_resp at;

    if (dgf_resp_next(resp, &head) || head.kind != DGF_RESP_ARRAY || head.number < 3 ||
        dgf_resp_next(resp, &first) || dgf_resp_next(resp, &last))
        return false;
    at = *resp;
    if (dgf_resp_next(&at, &primary) || primary.kind != DGF_RESP_ARRAY ||
        primary.number < 2 || dgf_resp_next(&at, &host) || dgf_resp_next(&at, &port))
        return false;
    for (int64_t i = 2; i < head.number; i++)
        if (dgf_resp_skip(resp, NULL))
            return false;
    if (first.kind != DGF_RESP_INT || last.kind != DGF_RESP_INT || first.number < 0 ||
        last.number >= DGF_REDIS_SLOTS || first.number > last.number)
        return false;
    *ret = (struct range){first.number, last.number, port.number,
                          host.kind == DGF_RESP_BULK ? host.bytes : DGF_BYTES("")};
    return true;
}

static bool take_range(struct dgf_redis_source *self, struct dgf_resp *resp)
{
    struct dgf_redis_node *node;
    struct range range;

    if (!read_range(resp, &range))
        return false;
    node = node_find(self, range.host, range.port);
    if (!node)
        return false;
    for (int64_t i = range.first; i <= range.last; i++)
        self->slots[i] = (uint16_t)(index_of(self, node) + 1);
    return true;
}

/* Asked now and then: a node that joined has streams nobody told us of. */
static void on_slots_again(struct dgf_redis_link *link,
                           const struct dgf_redis_command *command,
                           const struct dgf_resp_item *item)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head;
    struct range range;

    (void)command;
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
        return; /* what is wrong shows where streams are read */
    for (int64_t i = 0; i < head.number; i++) {
        struct dgf_redis_node *node;

        if (!read_range(&resp, &range))
            return;
        node = node_known(self, range.host, range.port);
        for (int64_t slot = range.first; slot <= range.last; slot++)
            if (!node || self->slots[slot] != index_of(self, node) + 1) {
                dgf_redis_moved(self);
                return;
            }
    }
}

void dgf_redis_cluster_tick(struct dgf_redis_source *self, int64_t now_ns)
{
    struct dgf_redis_command command = {.on_item = on_slots_again};

    if (!self->cluster || now_ns - self->slots_ns < SLOTS_NS)
        return;
    self->slots_ns = now_ns;
    for (size_t i = 0; i < self->n_nodes; i++) {
        struct dgf_redis_link *link = &self->nodes[i]->data;

        if (!link->up)
            continue;
        dgf_redis_link_send(
            link, command,
            (struct dgf_bytes[]){DGF_BYTES("CLUSTER"), DGF_BYTES("SLOTS")}, 2);
        dgf_redis_link_flush(link);
        return;
    }
}

/* For a start when the host we asked is gone. */
static void know_nodes(struct dgf_redis_source *self, const bool *used)
{
    self->missed = false;
    self->n_known = 0;
    for (size_t i = 0; i < self->n_nodes && self->n_known < DGF_REDIS_SEEDS_MAX; i++) {
        struct dgf_redis_seed *seed = &self->known[self->n_known];

        if (!used[i] || !self->nodes[i]->address.host)
            continue;
        (void)snprintf(seed->host, sizeof(seed->host), "%s",
                       self->nodes[i]->address.host);
        seed->port = self->nodes[i]->address.port;
        self->n_known++;
    }
}

static void on_slots(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_bytes text = dgf_redis_error(item);
    struct dgf_resp_token head;
    bool *used;

    (void)command;
    if (text.len) {
        dgf_redis_fail(self,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot ask the cluster for its slots: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
        head.number = -1;
    for (int64_t i = 0; i < head.number && !self->failed; i++)
        if (!take_range(self, &resp))
            head.number = -1;
    if (self->failed)
        return;
    if (head.number <= 0) {
        dgf_redis_fail(self, DGF_RETRY, "the cluster's slots cannot be understood");
        return;
    }
    used = dgf_calloc(self->n_nodes, sizeof(*used));
    if (!used) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    for (size_t i = 0; i < DGF_REDIS_SLOTS; i++)
        if (self->slots[i])
            used[self->slots[i] - 1] = true;
    know_nodes(self, used);
    self->n_starting = 0;
    for (size_t i = 0; i < self->n_nodes; i++)
        self->n_starting += used[i];
    for (size_t i = 0; i < self->n_nodes && !self->failed; i++) {
        if (used[i] && i == 0)
            dgf_redis_node_begin(self->nodes[0]);
        else if (used[i])
            dgf_redis_link_connect(&self->nodes[i]->data, on_node_up);
    }
    dgf_free(used);
}

void dgf_redis_cluster_begin(struct dgf_redis_link *link)
{
    struct dgf_redis_source *self = link->source;
    struct dgf_redis_command command = {.on_item = on_slots};

    self->cluster = true;
    self->slots_ns = dgf_clock_mono_ns();
    self->slots = dgf_calloc(DGF_REDIS_SLOTS, sizeof(*self->slots));
    if (!self->slots) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    dgf_redis_link_send(link, command,
                        (struct dgf_bytes[]){DGF_BYTES("CLUSTER"), DGF_BYTES("SLOTS")},
                        2);
    dgf_redis_link_flush(link);
}
