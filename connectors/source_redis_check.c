#include <stdio.h>

#include "base/clock.h"
#include "source_redis.h"

/* `dgf check`: asks for everything a start needs, changes nothing, and says with
 * which line an administrator mends what is missing.  May block.  Rights are
 * tried with commands that fail harmlessly once they are allowed. */

#define NO_GROUP "dgf check: no such group"

struct check {
    struct dgf_redis_source *self;
    struct dgf_findings *findings;
    struct dgf_buf answer;
    bool done, up;
    bool looked;                         /* one host told everything */
    const struct dgf_source_host *asker; /* who runs the check */
    void *asker_self;
    char failed[DGF_ERR_TEXT_MAX];
    enum dgf_rc rc;
};

static struct check *check_of(struct dgf_redis_source *self)
{
    return self->base.host_self;
}

#define ADD(check, ...) \
    dgf_source_finding(&(check)->self->base, (check)->findings, __VA_ARGS__)

/* ---- a host of our own ---- */

static void host_fail(struct dgf_source *src, enum dgf_rc rc, const char *text)
{
    struct check *check = src->host_self;

    check->rc = rc;
    (void)snprintf(check->failed, sizeof(check->failed), "%s", text);
}

static void host_state(struct dgf_source *src, enum dgf_source_state state,
                       const char *reason)
{
    (void)src;
    (void)state;
    (void)reason;
}

static const struct dgf_source_host host = {.fail = host_fail, .state = host_state};

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    struct dgf_redis_source *self = ctx;

    (void)fd;
    (void)what;
    dgf_redis_link_tick(&self->nodes[0]->data, dgf_clock_mono_ns());
}

static void on_up(struct dgf_redis_link *link)
{
    check_of(link->source)->up = true;
}

static void on_answer(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    struct check *check = check_of(link->source);

    (void)command;
    dgf_buf_clear(&check->answer);
    dgf_buf_add_bytes(&check->answer, item->bytes);
    check->done = true;
}

/* False: the connection failed. */
static bool ask(struct check *check, const struct dgf_bytes *words, size_t n)
{
    struct dgf_redis_command command = {.on_item = on_answer};
    struct dgf_redis_link *link = &check->self->nodes[0]->data;

    check->done = false;
    dgf_redis_link_send(link, command, words, n);
    dgf_redis_link_flush(link);
    while (!check->done && !check->self->failed)
        (void)event_base_loop(check->self->base.loop, EVLOOP_ONCE);
    return check->done;
}

static bool answer_is(const struct check *check, const char *prefix)
{
    size_t len = strlen(prefix);

    return check->answer.len > len && check->answer.ptr[0] == '-' &&
           memcmp(check->answer.ptr + 1, prefix, len) == 0;
}

/* ---- what is looked at ---- */

static void say_right(struct check *check, const char *command, const char *key)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(check->self);
    const char *user =
        check->self->address.user ? check->self->address.user : "default";
    struct dgf_buf fix;

    ADD(check, DGF_FINDING_ERROR, "E0633", "user '%s' may not run %s%s%s%s", user,
        command, key ? " on '" : "", key ? key : "", key ? "'" : "");
    dgf_buf_init(&fix, 1 << 20);
    dgf_buf_addf(&fix, "ACL SETUSER %s +@connection +info +scan +xinfo +xrange +xread",
                 user);
    if (conf->mode == DGF_REDIS_GROUP)
        dgf_buf_add_str(&fix, " +xreadgroup +xack +xpending +xautoclaim +xgroup");
    dgf_buf_add_str(&fix, " +cluster|slots");
    for (size_t i = 0; i < conf->streams.n; i++)
        dgf_buf_addf(&fix, " ~%s", conf->streams.list[i]);
    if (!dgf_buf_rc(&fix))
        dgf_findings_fix(check->findings, "%s", dgf_buf_str(&fix));
    dgf_buf_release(&fix);
}

/* True: the command is allowed.  What the command itself says does not matter. */
static bool allowed(struct check *check, const struct dgf_bytes *words, size_t n,
                    const char *command, const char *key)
{
    if (!ask(check, words, n))
        return false;
    if (!answer_is(check, "NOPERM"))
        return true;
    say_right(check, command, key);
    return false;
}

static void look_at_server(struct check *check, const struct dgf_bytes info)
{
    struct dgf_bytes value = {0};

    if (!dgf_redis_info(info, "redis_version", &value) || value.len < 2 ||
        (value.ptr[1] == '.' && value.ptr[0] < '7'))
        ADD(check, DGF_FINDING_ERROR, "E0632",
            "Redis 7 or newer is needed; this is %.*s", (int)value.len, value.ptr);
    if (dgf_redis_info(info, "aof_enabled", &value) &&
        dgf_bytes_eq(value, DGF_BYTES("0"))) {
        ADD(check, DGF_FINDING_WARNING, "W0631",
            "the server keeps no append-only file: what is added after its last snapshot "
            "is lost when it ends");
        dgf_findings_fix(check->findings, "CONFIG SET appendonly yes");
    }
    if (dgf_redis_info(info, "maxmemory_policy", &value) &&
        memmem(value.ptr, value.len, "allkeys", 7)) {
        ADD(check, DGF_FINDING_WARNING, "W0631",
            "the server may evict streams when memory is short: maxmemory-policy is %.*s",
            (int)value.len, value.ptr);
        dgf_findings_fix(check->findings, "CONFIG SET maxmemory-policy noeviction");
    }
}

static void try_group(struct check *check, struct dgf_bytes name, const char *text)
{
    struct dgf_bytes group = DGF_BYTES(NO_GROUP);

    (void)(allowed(check,
                   (struct dgf_bytes[]){DGF_BYTES("XREADGROUP"), DGF_BYTES("GROUP"),
                                        group, DGF_BYTES("dgf"), DGF_BYTES("STREAMS"),
                                        name, DGF_BYTES(">")},
                   7, "XREADGROUP", text) &&
           allowed(
               check,
               (struct dgf_bytes[]){DGF_BYTES("XACK"), name, group, DGF_BYTES("0-1")},
               4, "XACK", text) &&
           allowed(check, (struct dgf_bytes[]){DGF_BYTES("XPENDING"), name, group}, 3,
                   "XPENDING", text) &&
           allowed(check,
                   (struct dgf_bytes[]){DGF_BYTES("XAUTOCLAIM"), name, group,
                                        DGF_BYTES("dgf"), DGF_BYTES("3600000"),
                                        DGF_BYTES("0-0")},
                   6, "XAUTOCLAIM", text) &&
           /* No id, so nothing is made. */
           allowed(check,
                   (struct dgf_bytes[]){DGF_BYTES("XGROUP"), DGF_BYTES("CREATE"), name,
                                        group, DGF_BYTES("none")},
                   5, "XGROUP", text));
}

static void found(struct check *check, const char *name)
{
    struct dgf_source *source = &check->self->base;
    struct dgf_object *object;

    if (dgf_object_new("redis", NULL, NULL, name, NULL, 0, 1, &object))
        return;
    source->host = check->asker;
    source->host_self = check->asker_self;
    dgf_source_found(source, object);
    source->host = &host;
    source->host_self = check;
    dgf_object_unref(object);
}

static void look_at_stream(struct check *check, const char *text)
{
    struct dgf_bytes name = dgf_bytes_str(text);

    if (!allowed(check,
                 (struct dgf_bytes[]){DGF_BYTES("XINFO"), DGF_BYTES("STREAM"), name}, 3,
                 "XINFO", text))
        return;
    if (answer_is(check, "WRONGTYPE")) {
        ADD(check, DGF_FINDING_ERROR, "E0634",
            "key '%s' is no stream: it holds another type of value", text);
        return;
    }
    if (answer_is(check, "ERR no such key"))
        ADD(check, DGF_FINDING_WARNING, "W0632", "there is no stream '%s'", text);
    else if (check->answer.len && check->answer.ptr[0] != '-')
        found(check, text);
    if (allowed(check,
                (struct dgf_bytes[]){DGF_BYTES("XRANGE"), name, DGF_BYTES("-"),
                                     DGF_BYTES("+"), DGF_BYTES("COUNT"),
                                     DGF_BYTES("1")},
                6, "XRANGE", text) &&
        allowed(check,
                (struct dgf_bytes[]){DGF_BYTES("XREAD"), DGF_BYTES("COUNT"),
                                     DGF_BYTES("1"), DGF_BYTES("STREAMS"), name,
                                     DGF_BYTES("$")},
                6, "XREAD", text) &&
        DGF_REDIS_CONF(check->self)->mode == DGF_REDIS_GROUP)
        try_group(check, name, text);
}

/* The first keys of the answer to SCAN are streams the pattern matches. */
static void look_at_pattern(struct check *check, const char *pattern)
{
    struct dgf_resp_token head, cursor, names, name;
    struct dgf_resp resp;
    char first[DGF_REDIS_NAME_MAX + 1] = "";

    if (!allowed(check,
                 (struct dgf_bytes[]){DGF_BYTES("SCAN"), DGF_BYTES("0"),
                                      DGF_BYTES("MATCH"), dgf_bytes_str(pattern),
                                      DGF_BYTES("COUNT"), DGF_BYTES("10000"),
                                      DGF_BYTES("TYPE"), DGF_BYTES("stream")},
                 8, "SCAN", NULL))
        return;
    resp = dgf_resp_of(dgf_buf_bytes(&check->answer));
    if (dgf_resp_next(&resp, &head) || dgf_resp_next(&resp, &cursor) ||
        dgf_resp_next(&resp, &names) || names.kind != DGF_RESP_ARRAY)
        return;
    for (int64_t i = 0; i < names.number && i < 1000; i++) {
        char text[DGF_REDIS_NAME_MAX + 1];

        if (dgf_resp_next(&resp, &name) || name.bytes.len > DGF_REDIS_NAME_MAX ||
            memchr(name.bytes.ptr, 0, name.bytes.len))
            continue;
        memcpy(text, name.bytes.ptr, name.bytes.len);
        text[name.bytes.len] = '\0';
        if (i == 0)
            memcpy(first, text, sizeof(first));
        else
            found(check, text);
    }
    if (first[0])
        look_at_stream(check, first);
}

static void look(struct check *check)
{
    const struct dgf_redis_conf *conf = DGF_REDIS_CONF(check->self);
    struct dgf_resp_token info;
    struct dgf_resp resp;

    if (!allowed(check, (struct dgf_bytes[]){DGF_BYTES("INFO")}, 1, "INFO", NULL))
        return;
    resp = dgf_resp_of(dgf_buf_bytes(&check->answer));
    if (dgf_resp_next(&resp, &info) == DGF_OK && info.kind == DGF_RESP_BULK)
        look_at_server(check, info.bytes);
    for (size_t i = 0; i < conf->streams.n && !check->self->failed; i++) {
        if (dgf_redis_is_glob(conf->streams.list[i]))
            look_at_pattern(check, conf->streams.list[i]);
        else
            look_at_stream(check, conf->streams.list[i]);
    }
}

static void connect_and_look(struct check *check)
{
    struct dgf_redis_source *self = check->self;
    struct timeval every = {0, 100000};

    self->tick = event_new(self->base.loop, -1, EV_PERSIST, on_tick, self);
    if (!self->tick || event_add(self->tick, &every)) {
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    dgf_redis_node_connect(self, on_up);
    while (!check->up && !self->failed)
        (void)event_base_loop(self->base.loop, EVLOOP_ONCE);
    if (check->up && !check->looked)
        look(check);
    else if (check
                 ->up) /* another host of the same cluster: it answers and lets us in */
        (void)allowed(check, (struct dgf_bytes[]){DGF_BYTES("INFO")}, 1, "INFO", NULL);
    check->looked = check->looked || !self->failed;
}

/* One host of the url; the address is read already. */
static void look_at_host(struct check *check, size_t at)
{
    struct dgf_redis_source *self = check->self;
    size_t n = self->address.n_seeds;
    char where[320] = "";

    self->seed = at;
    self->failed = check->up = false;
    self->is_open = true;
    self->seen_ns = dgf_clock_ns();
    dgf_map_init(&self->streams);
    dgf_map_init(&self->objects);
    if (n > 1)
        (void)snprintf(where, sizeof(where), "'%s:%u' in url, one of %zu hosts: ",
                       self->address.seeds[at].host, self->address.seeds[at].port, n);
    connect_and_look(check);
    if (self->failed && n > 1)
        ADD(check, DGF_FINDING_WARNING, "W0633", "%s%s", where, check->failed);
    else if (self->failed)
        ADD(check, DGF_FINDING_ERROR, "E0632", "%s", check->failed);
    self->base.type->close(&self->base);
}

static enum dgf_rc look_at_hosts(struct check *check, struct dgf_err *err)
{
    struct dgf_redis_source *self = check->self;
    size_t i = 0, n = 1;

    for (; i < n; i++) {
        enum dgf_rc rc = dgf_redis_address_read(self->base.conf, &self->address, err);

        if (rc)
            return rc;
        n = self->address.n_seeds > 1 ? self->address.n_seeds : 1;
        look_at_host(check, i);
    }
    if (n > 1 && !check->looked)
        ADD(check, DGF_FINDING_ERROR, "E0632",
            "none of the %zu hosts in url can be looked at", n);
    return DGF_OK;
}

enum dgf_rc dgf_redis_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err)
{
    struct dgf_redis_source *self = (struct dgf_redis_source *)src;
    struct check check = {.self = self,
                          .findings = findings,
                          .asker = src->host,
                          .asker_self = src->host_self};
    struct event_base *loop = event_base_new();
    enum dgf_rc rc;

    if (!loop)
        return dgf_err_set(err, DGF_RETRY, "out of memory");
    src->host = &host;
    src->host_self = &check;
    src->loop = loop;
    dgf_buf_init(&check.answer, (size_t)64 << 20);
    rc = look_at_hosts(&check, err);
    event_base_free(loop);
    dgf_buf_release(&check.answer);
    src->loop = NULL;
    src->host = check.asker;
    src->host_self = check.asker_self;
    return rc;
}
