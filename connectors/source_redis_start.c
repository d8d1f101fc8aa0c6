#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/parse.h"
#include "source_redis.h"

/* The order of a start: connect to the address; INFO; in a cluster its slots and
 * a node for each primary; on every node SCAN for the patterns; each stream is
 * then read once to its end, and from there on whenever it has something new. */

#define MIN_VERSION 7
#define SLOTS_NS INT64_C(5000000000) /* how often a cluster is asked for its slots */

/* ---- the address ---- */

void dgf_redis_address_release(struct dgf_redis_address *address)
{
    if (address->password)
        dgf_wipe(address->password, strlen(address->password));
    dgf_free(address->seeds);
    dgf_free(address->host);
    dgf_free(address->path);
    dgf_free(address->user);
    dgf_free(address->password);
    *address = (struct dgf_redis_address){.host = NULL};
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %40 and the like; NULL when it is none, or holds a NUL. */
static char *decoded(const char *from, size_t len)
{
    char *text = dgf_malloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; text && i < len; i++) {
        int high, low;

        if (from[i] != '%') {
            text[n++] = from[i];
            continue;
        }
        high = i + 2 < len ? hex_of(from[i + 1]) : -1;
        low = high >= 0 ? hex_of(from[i + 2]) : -1;
        if (low < 0 || high * 16 + low == 0) {
            dgf_free(text);
            return NULL;
        }
        text[n++] = (char)(high * 16 + low);
        i += 2;
    }
    if (text)
        text[n] = '\0';
    return text;
}

static enum dgf_rc bad(struct dgf_err *err, const char *why)
{
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "'url' cannot be read: %s; example: "
                       "rediss://dgf@redis.example.org:6379/0",
                       why);
}

static enum dgf_rc read_log_in(const char *from, size_t len,
                               struct dgf_redis_address *ret, struct dgf_err *err)
{
    const char *colon = memchr(from, ':', len);
    size_t n = colon ? (size_t)(colon - from) : len;

    if (n > 0 && !(ret->user = decoded(from, n)))
        return bad(err, "the user is not readable");
    if (colon && !(ret->password = decoded(colon + 1, len - n - 1)))
        return bad(err, "the password is not readable");
    return DGF_OK;
}

static enum dgf_rc read_host(const char *from, const char *end,
                             struct dgf_redis_seed *ret, struct dgf_err *err)
{
    const char *close = *from == '[' ? memchr(from, ']', (size_t)(end - from)) : NULL;
    const char *start = close ? from + 1 : from, *colon = close ? close + 1 : from;
    uint64_t port = 6379;
    size_t len;

    if (*from == '[' && !close)
        return bad(err, "a bracket is not closed");
    if (!close) {
        colon = memchr(from, ':', (size_t)(end - from));
        colon = colon ? colon : end;
    }
    len = (size_t)((close ? close : colon) - start);
    if (len == 0 || len > 255)
        return bad(err, "there is no host");
    if (colon < end &&
        (*colon != ':' ||
         !dgf_parse_u64(dgf_bytes_of(colon + 1, (size_t)(end - colon) - 1), &port) ||
         port == 0 || port > 65535))
        return bad(err, "the port is none");
    (void)snprintf(ret->host, sizeof(ret->host), "%.*s", (int)len, start);
    ret->port = (uint16_t)port;
    return DGF_OK;
}

/* host:port, or several with commas between them: seeds of a cluster. */
static enum dgf_rc read_hosts(const char *from, const char *end,
                              struct dgf_redis_address *ret, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    ret->seeds = dgf_calloc(DGF_REDIS_SEEDS_MAX, sizeof(*ret->seeds));
    if (!ret->seeds)
        return DGF_NOMEM;
    while (!rc) {
        const char *comma = memchr(from, ',', (size_t)(end - from));

        if (ret->n_seeds == DGF_REDIS_SEEDS_MAX)
            return bad(err, "it has more than 16 hosts");
        rc = read_host(from, comma ? comma : end, &ret->seeds[ret->n_seeds], err);
        if (!rc)
            ret->n_seeds++;
        if (!comma)
            break;
        from = comma + 1;
    }
    if (rc)
        return rc;
    ret->host = dgf_strdup(ret->seeds[0].host);
    ret->port = ret->seeds[0].port;
    return ret->host ? DGF_OK : DGF_NOMEM;
}

static bool is_local(const struct dgf_redis_address *address)
{
    for (size_t i = 0; i < address->n_seeds; i++) {
        const char *host = address->seeds[i].host;

        if (strcmp(host, "localhost") != 0 && strcmp(host, "::1") != 0 &&
            strncmp(host, "127.", 4) != 0)
            return false;
    }
    return true;
}

static enum dgf_rc read_rest(const char *url, struct dgf_redis_address *ret,
                             struct dgf_err *err)
{
    const char *slash = strchr(url, '/'), *at, *end = url + strlen(url);
    const char *authority_end = slash ? slash : end;
    uint64_t db = 0;
    enum dgf_rc rc;

    if (strpbrk(url, "?#"))
        return bad(err, "it may have no '?' or '#'");
    at = memrchr(url, '@', (size_t)(authority_end - url));
    if (at) {
        rc = read_log_in(url, (size_t)(at - url), ret, err);
        if (rc)
            return rc;
        url = at + 1;
    }
    if (slash && slash[1] &&
        (!dgf_parse_u64(dgf_bytes_str(slash + 1), &db) || db > 1000000))
        return bad(err, "the database is no number");
    ret->db = (uint32_t)db;
    return read_hosts(url, authority_end, ret, err);
}

enum dgf_rc dgf_redis_address_read(const struct dgf_redis_conf *conf,
                                   struct dgf_redis_address *ret, struct dgf_err *err)
{
    const char *url = conf->url;
    enum dgf_rc rc = DGF_OK;

    *ret = (struct dgf_redis_address){.tls = strncmp(url, "rediss://", 9) == 0};
    if (strncmp(url, "unix://", 7) == 0 && url[7] == '/')
        ret->path = dgf_strdup(url + 7);
    else if (ret->tls || strncmp(url, "redis://", 8) == 0)
        rc = read_rest(url + (ret->tls ? 9 : 8), ret, err);
    else
        rc = bad(err, "it begins with none of redis://, rediss:// and unix:///");
    if (!rc && conf->user) {
        dgf_free(ret->user);
        ret->user = dgf_strdup(conf->user);
    }
    if (!rc && conf->password) {
        dgf_free(ret->password);
        ret->password = dgf_strdup(conf->password);
    }
    if (!rc && !ret->tls && !conf->insecure && !is_local(ret))
        rc =
            dgf_err_set(err, DGF_BAD_CONFIG,
                        "'url' is without TLS: use rediss://, or write insecure: true");
    if (!rc && ret->user && !ret->password)
        rc = bad(err, "it has a user and no password");
    if (rc == DGF_NOMEM)
        (void)dgf_err_set(err, DGF_RETRY, "out of memory");
    if (rc)
        dgf_redis_address_release(ret);
    return rc;
}

/* ---- streams ---- */

bool dgf_redis_is_glob(const char *pattern)
{
    return strpbrk(pattern, "*?[\\") != NULL;
}

void dgf_redis_stream_free(struct dgf_redis_stream *stream)
{
    if (!stream)
        return;
    dgf_redis_memory_release(&stream->memory);
    dgf_object_unref(stream->object);
    dgf_free(stream->present);
    dgf_free(stream->poison);
    dgf_free(stream->name);
    dgf_free(stream);
}

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

static struct dgf_redis_node *node_of(struct dgf_redis_source *self, const char *name)
{
    uint16_t at;

    if (!self->cluster)
        return self->nodes[0];
    at = self->slots[slot_of(name)];
    return at ? self->nodes[at - 1] : NULL;
}

static bool remember(struct dgf_redis_stream *stream)
{
    struct dgf_redis_source *self = stream->source;
    struct dgf_buf key, value;
    enum dgf_rc rc;

    dgf_buf_init(&key, 4096);
    dgf_buf_init(&value, 1 << 20);
    dgf_buf_add_str(&key, "stream/");
    dgf_buf_add_str(&key, stream->name);
    rc = dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &value);
    if (rc == DGF_OK)
        rc = dgf_redis_memory_get(dgf_buf_bytes(&value), &stream->memory);
    stream->fresh = rc == DGF_AGAIN;
    dgf_buf_release(&key);
    dgf_buf_release(&value);
    if (rc == DGF_OK || rc == DGF_AGAIN)
        return true;
    dgf_redis_fail(self, rc, "what is remembered of stream '%s' cannot be read",
                   stream->name);
    return false;
}

static struct dgf_redis_stream *stream_new(struct dgf_redis_source *self,
                                           struct dgf_bytes name, bool named)
{
    struct dgf_redis_stream *stream = dgf_calloc(1, sizeof(*stream));
    bool good;

    if (stream)
        stream->name = dgf_strndup((const char *)name.ptr, name.len);
    good = stream && stream->name &&
           dgf_object_new("redis", NULL, NULL, stream->name, NULL, 0, 1,
                          &stream->object) == DGF_OK;
    if (!good) {
        dgf_redis_stream_free(stream);
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return NULL;
    }
    stream->source = self;
    stream->named = named;
    stream->memory.epoch = 1;
    stream->node = node_of(self, stream->name);
    if (!stream->node || !remember(stream) ||
        dgf_map_put(&self->streams, name, stream, NULL)) {
        dgf_redis_stream_free(stream);
        return NULL;
    }
    dgf_redis_freeze_id(stream);
    self->n_unread++;
    return stream;
}

struct dgf_redis_stream *dgf_redis_stream_find(struct dgf_redis_source *self,
                                               struct dgf_bytes name, bool named)
{
    struct dgf_redis_stream *stream = dgf_map_get(&self->streams, name);

    if (stream)
        return stream;
    if (name.len == 0 || name.len > DGF_REDIS_NAME_MAX ||
        memchr(name.ptr, 0, name.len) || !dgf_utf8_valid(name) ||
        self->streams.n >= DGF_REDIS_STREAMS_MAX) {
        self->n_skipped++;
        return NULL;
    }
    return stream_new(self, name, named);
}

/* ---- state ---- */

void dgf_redis_say_state(struct dgf_redis_source *self)
{
    if (!self->streaming)
        return;
    if (self->trouble[0])
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "%s", self->trouble);
    else if (self->n_skipped)
        dgf_source_state(
            &self->base, DGF_STATE_STREAMING,
            "streams are left out: a name beyond %d bytes or not UTF-8, or "
            "more than %d streams",
            DGF_REDIS_NAME_MAX, DGF_REDIS_STREAMS_MAX);
    else
        dgf_source_state(&self->base, DGF_STATE_STREAMING, "%zu stream%s",
                         self->streams.n, self->streams.n == 1 ? "" : "s");
}

/* ---- discovery ---- */

static void scan(struct dgf_redis_node *node);

static bool all_started(struct dgf_redis_source *self)
{
    return self->n_starting == 0;
}

static void end_scan(struct dgf_redis_node *node)
{
    struct dgf_redis_source *self = node->source;
    bool first = node->scanned_ns == 0;

    node->scanning = false;
    node->scanned_ns = dgf_clock_mono_ns();
    if (first && self->n_starting > 0)
        self->n_starting--;
    if (all_started(self) && !self->streaming)
        self->streaming = true;
    dgf_redis_say_state(self);
    dgf_redis_next(node);
}

static void take_name(struct dgf_redis_node *node, struct dgf_bytes name)
{
    struct dgf_redis_source *self = node->source;
    size_t before = self->streams.n;
    struct dgf_redis_stream *stream = dgf_redis_stream_find(self, name, false);

    if (!stream || self->streams.n == before)
        return;
    if (stream->node == node)
        dgf_redis_queue(stream);
}

/* [cursor, [names]] */
static void on_scan(struct dgf_redis_link *link,
                    const struct dgf_redis_command *command,
                    const struct dgf_resp_item *item)
{
    struct dgf_redis_node *node = link->node;
    struct dgf_redis_source *self = link->source;
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, cursor, names, name;
    struct dgf_bytes text = dgf_redis_error(item);

    (void)command;
    if (text.len) {
        dgf_redis_fail(self,
                       dgf_redis_error_is(item, "NOPERM") ? DGF_BAD_CONFIG : DGF_RETRY,
                       "cannot look for streams: %.*s",
                       (int)(text.len < 300 ? text.len : 300), text.ptr);
        return;
    }
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY ||
        head.number != 2 || dgf_resp_next(&resp, &cursor) ||
        dgf_resp_next(&resp, &names) ||
        !dgf_parse_u64(cursor.bytes, &node->scan_cursor) ||
        names.kind != DGF_RESP_ARRAY) {
        dgf_redis_fail(self, DGF_RETRY, "the answer to SCAN cannot be understood");
        return;
    }
    for (int64_t i = 0; i < names.number && !self->failed; i++)
        if (dgf_resp_next(&resp, &name) == DGF_OK)
            take_name(node, name.bytes);
    if (self->failed)
        return;
    if (node->scan_cursor == 0)
        node->scan_pattern++;
    scan(node);
}

static void scan(struct dgf_redis_node *node)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(node->source);
    struct dgf_redis_command command = {.on_item = on_scan};
    char cursor[24];

    while (node->scan_pattern < conf->streams.n &&
           !dgf_redis_is_glob(conf->streams.list[node->scan_pattern]))
        node->scan_pattern++;
    if (node->scan_pattern == conf->streams.n) {
        end_scan(node);
        return;
    }
    (void)snprintf(cursor, sizeof(cursor), "%llu",
                   (unsigned long long)node->scan_cursor);
    dgf_redis_link_send(
        &node->data, command,
        (struct dgf_bytes[]){
            DGF_BYTES("SCAN"), dgf_bytes_str(cursor), DGF_BYTES("MATCH"),
            dgf_bytes_str(conf->streams.list[node->scan_pattern]), DGF_BYTES("COUNT"),
            DGF_BYTES("1000"), DGF_BYTES("TYPE"), DGF_BYTES("stream")},
        8);
    dgf_redis_link_flush(&node->data);
}

static void begin_scan(struct dgf_redis_node *node)
{
    node->scanning = true;
    node->scan_cursor = 0;
    node->scan_pattern = 0;
    node->source->n_skipped = 0;
    scan(node);
}

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

static void begin_node(struct dgf_redis_node *node)
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

        if (dgf_redis_is_glob(name) || node_of(self, name) != node)
            continue;
        stream = dgf_redis_stream_find(self, dgf_bytes_str(name), true);
        if (stream && stream->state == DGF_REDIS_IDLE)
            dgf_redis_queue(stream);
    }
    if (self->failed)
        return;
    begin_scan(node);
    /* In a cluster one blocking read cannot wait for streams of several slots. */
    if (!self->failed && !self->cluster)
        dgf_redis_link_connect(&node->wait, on_wait_up);
}

static void on_node_up(struct dgf_redis_link *link)
{
    begin_node(link->node);
}

static struct dgf_redis_node *node_new(struct dgf_redis_source *self, const char *host,
                                       const char *path, uint16_t port)
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

/* ---- a cluster ---- */

void dgf_redis_moved(struct dgf_redis_source *self)
{
    dgf_redis_fail(self, DGF_RETRY,
                   "the cluster moved slots; its nodes are asked again");
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
    return node_new(self, text, NULL, (uint16_t)port);
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

static void ask_slots_again(struct dgf_redis_source *self, int64_t now_ns)
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
            begin_node(self->nodes[0]);
        else if (used[i])
            dgf_redis_link_connect(&self->nodes[i]->data, on_node_up);
    }
    dgf_free(used);
}

static void ask_slots(struct dgf_redis_link *link)
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
        ask_slots(link);
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
    begin_node(link->node);
}

static void on_first_up(struct dgf_redis_link *link)
{
    struct dgf_redis_command command = {.on_item = on_info};

    dgf_redis_link_send(link, command, (struct dgf_bytes[]){DGF_BYTES("INFO")}, 1);
    dgf_redis_link_flush(link);
}

void dgf_redis_node_connect(struct dgf_redis_source *self, dgf_redis_on_up *on_up)
{
    size_t n = self->address.n_seeds, i = n ? self->seed % (n + self->n_known) : 0;
    const struct dgf_redis_seed *seed =
        i < n ? &self->address.seeds[i] : &self->known[i - n];
    struct dgf_redis_node *node = self->address.path
                                      ? node_new(self, NULL, self->address.path, 0)
                                      : node_new(self, seed->host, NULL, seed->port);

    self->missed = true; /* until it has told what we need */

    if (node)
        dgf_redis_link_connect(&node->data, on_up);
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
    ask_slots_again(self, now_ns);
    if (self->keys) {
        dgf_redis_keys_tick(self, now_ns);
        return;
    }
    for (size_t i = 0; i < self->n_nodes && !self->failed; i++) {
        struct dgf_redis_node *node = self->nodes[i];

        if (node->data.up && !node->scanning && node->scanned_ns &&
            now_ns - node->scanned_ns >= conf->discover_ns)
            begin_scan(node);
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
