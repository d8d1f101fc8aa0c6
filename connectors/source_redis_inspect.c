#include "source_redis_keys.h"

#include <stdio.h>

#include "base/clock.h"

/* Source memory holds, for each server, the value of each name as it was seen last,
 * and for each list of the server the names that stood in it.  What differs is an
 * event; so is a name that a whole answer no longer has. */

#define NAMES_MAX ((size_t)1 << 20)

static void fail_to_remember(struct dgf_redis_source *self)
{
    dgf_redis_fail(self, DGF_RETRY, "cannot remember what was seen");
}

static void key_of(const struct dgf_redis_node *node, const char *what,
                   struct dgf_buf *out)
{
    dgf_buf_init(out, 4096);
    dgf_buf_addf(out, "%s/%s:%u", what, node->address.host ? node->address.host : "",
                 node->address.port);
}

static void seen_key(const struct dgf_redis_node *node, enum dgf_event_kind kind,
                     struct dgf_bytes name, struct dgf_buf *out)
{
    key_of(node, kind == DGF_KIND_SETTING ? "seen/setting" : "seen/user", out);
    dgf_buf_add_byte(out, '/');
    dgf_buf_add_bytes(out, name);
}

static void add_name(struct dgf_buf *names, struct dgf_bytes name)
{
    dgf_buf_add_le16(names, (uint16_t)name.len);
    dgf_buf_add_bytes(names, name);
}

/* before and after: NULL, there is none. */
static void tell(struct dgf_redis_node *node, enum dgf_event_kind kind, enum dgf_op op,
                 struct dgf_bytes name, const struct dgf_bytes *before,
                 const struct dgf_bytes *after)
{
    const struct dgf_bytes *values[] = {before, after};
    static const enum dgf_section sections[] = {DGF_SECTION_BEFORE, DGF_SECTION_AFTER};
    struct dgf_redis_source *self = node->source;
    struct dgf_event_builder *builder = &self->builder;
    bool setting = kind == DGF_KIND_SETTING;
    struct dgf_event_meta meta = dgf_redis_keys_meta(self);

    dgf_event_begin(builder, setting ? node->keys->setting : node->keys->user, kind,
                    op);
    dgf_redis_keys_put_key(builder, "name", name);
    for (size_t i = 0; i < DGF_ARRAY_LEN(values); i++) {
        if (!values[i]) {
            dgf_event_section_nil(builder, sections[i]);
            continue;
        }
        dgf_event_section(builder, sections[i]);
        dgf_redis_keys_put(builder, "name", name);
        dgf_redis_keys_put(builder, "value", *values[i]);
        dgf_event_section_end(builder);
    }
    dgf_redis_keys_emit(self, &meta, setting ? "setting" : "access");
}

static void compare(struct dgf_redis_node *node, enum dgf_event_kind kind,
                    struct dgf_bytes name, struct dgf_bytes value,
                    struct dgf_buf *names)
{
    struct dgf_redis_source *self = node->source;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf before = {0};
    struct dgf_bytes old;
    enum dgf_rc rc;

    add_name(names, name);
    dgf_buf_init(&before, 1 << 20);
    seen_key(node, kind, name, &key);
    if (dgf_buf_rc(&key))
        return;
    rc = dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &before);
    old = dgf_buf_bytes(&before);
    if ((rc && rc != DGF_AGAIN) || (!rc && dgf_bytes_eq(old, value)))
        return;
    tell(node, kind,
         rc == DGF_OK            ? DGF_OP_ALTER
         : node->keys->inspected ? DGF_OP_CREATE
                                 : DGF_OP_OBSERVE,
         name, rc == DGF_OK ? &old : NULL, &value);
    if (!self->failed && dgf_source_put_state(&self->base, dgf_buf_bytes(&key), value))
        fail_to_remember(self);
}

static bool read_names(struct dgf_bytes names, struct dgf_map *ret)
{
    struct dgf_rd rd = dgf_rd_of(names);

    while (dgf_rd_left(&rd) && !rd.bad)
        if (dgf_map_put(ret, dgf_rd_bytes(&rd, dgf_rd_le16(&rd)), ret, NULL))
            return false;
    return true;
}

static void tell_gone(struct dgf_redis_node *node, enum dgf_event_kind kind,
                      struct dgf_bytes name)
{
    struct dgf_redis_source *self = node->source;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf before = {0};
    struct dgf_bytes old;

    dgf_buf_init(&before, 1 << 20);
    seen_key(node, kind, name, &key);
    if (dgf_buf_rc(&key) ||
        dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &before))
        return;
    old = dgf_buf_bytes(&before);
    tell(node, kind, DGF_OP_DROP, name, &old, NULL);
    if (!self->failed && dgf_source_delete_state(&self->base, dgf_buf_bytes(&key)))
        fail_to_remember(self);
}

/* list ("config", "info", "users") was answered as a whole: these are its names. */
static void compare_names(struct dgf_redis_node *node, enum dgf_event_kind kind,
                          const char *list, const struct dgf_buf *names)
{
    struct dgf_redis_source *self = node->source;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf before = {0};
    struct dgf_bytes now = dgf_buf_bytes(names);
    struct dgf_map present;
    char what[32];
    struct dgf_rd rd;
    enum dgf_rc rc;

    /* An answer that is too long to keep says nothing of what is gone. */
    if (self->failed || dgf_buf_rc(names))
        return;
    (void)snprintf(what, sizeof(what), "names/%s", list);
    key_of(node, what, &key);
    dgf_buf_init(&before, NAMES_MAX);
    rc = dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &before);
    if ((rc && rc != DGF_AGAIN) || (!rc && dgf_bytes_eq(dgf_buf_bytes(&before), now)))
        return;
    dgf_map_init(&present);
    if (!read_names(now, &present))
        dgf_redis_fail(self, DGF_RETRY, "out of memory");
    rd = dgf_rd_of(dgf_buf_bytes(&before));
    while (dgf_rd_left(&rd) && !rd.bad && !self->failed) {
        struct dgf_bytes name = dgf_rd_bytes(&rd, dgf_rd_le16(&rd));

        if (!rd.bad && !dgf_map_get(&present, name))
            tell_gone(node, kind, name);
    }
    dgf_map_release(&present, NULL);
    if (!self->failed && dgf_source_put_state(&self->base, dgf_buf_bytes(&key), now))
        fail_to_remember(self);
}

/* Passwords, as CONFIG GET gives them, are no business of records: requirepass,
 * masterauth, tls-key-file-pass and the like; tls-auth-clients is none. */
static bool is_secret(struct dgf_bytes name)
{
    const uint8_t *end = name.ptr + name.len;

    return (name.len >= 4 &&
            (memcmp(end - 4, "pass", 4) == 0 || memcmp(end - 4, "auth", 4) == 0)) ||
           memmem(name.ptr, name.len, "password", 8) ||
           memmem(name.ptr, name.len, "secret", 6);
}

static void on_config(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, name, value;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};

    (void)command;
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
        return; /* not allowed: said by dgf check */
    dgf_buf_init(&names, NAMES_MAX);
    for (int64_t i = 0; i < head.number / 2 && !link->source->failed; i++) {
        if (dgf_resp_next(&resp, &name) || dgf_resp_next(&resp, &value))
            return;
        if (name.bytes.len >= DGF_REDIS_NAME_MAX)
            continue;
        compare(link->node, DGF_KIND_SETTING, name.bytes,
                is_secret(name.bytes) && value.bytes.len ? DGF_BYTES("set")
                                                         : value.bytes,
                &names);
    }
    compare_names(link->node, DGF_KIND_SETTING, "config", &names);
}

/* "user NAME on #hash ~* +@all": the hashes of passwords stay out. */
static void take_user(struct dgf_redis_node *node, struct dgf_bytes line,
                      struct dgf_buf *names)
{
    struct dgf_bytes name = {0};
    struct dgf_buf rules;
    unsigned n = 0;

    dgf_buf_init(&rules, 1 << 20);
    for (size_t at = 0; at < line.len; n++) {
        const uint8_t *word = line.ptr + at, *space = memchr(word, ' ', line.len - at);
        size_t len = space ? (size_t)(space - word) : line.len - at;

        at += len + 1;
        if (n == 1)
            name = dgf_bytes_of(word, len);
        if (n < 2 || len == 0)
            continue;
        if (rules.len)
            dgf_buf_add_byte(&rules, ' ');
        dgf_buf_add(&rules, word, *word == '#' ? 1 : len);
    }
    if (name.len && name.len < DGF_REDIS_NAME_MAX) {
        if (dgf_buf_rc(&rules)) /* too long to compare, and there all the same */
            add_name(names, name);
        else
            compare(node, DGF_KIND_ACCESS, name, dgf_buf_bytes(&rules), names);
    }
    dgf_buf_release(&rules);
}

static void on_users(struct dgf_redis_link *link,
                     const struct dgf_redis_command *command,
                     const struct dgf_resp_item *item)
{
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token head, line;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};

    (void)command;
    link->node->keys->inspecting = false;
    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
        return;
    dgf_buf_init(&names, NAMES_MAX);
    for (int64_t i = 0; i < head.number && !link->source->failed; i++) {
        if (dgf_resp_next(&resp, &line))
            return;
        take_user(link->node, line.bytes, &names);
    }
    compare_names(link->node, DGF_KIND_ACCESS, "users", &names);
    if (link->node->keys->inspected || link->source->failed)
        return;
    link->node->keys->inspected = true;
    key_of(link->node, "inspected", &key);
    if (dgf_source_put_state(&link->source->base, dgf_buf_bytes(&key), DGF_BYTES("1")))
        fail_to_remember(link->source);
}

static void on_server(struct dgf_redis_link *link,
                      const struct dgf_redis_command *command,
                      const struct dgf_resp_item *item)
{
    static const char *const names[] = {"role",
                                        "aof_enabled",
                                        "aof_last_write_status",
                                        "rdb_last_bgsave_status",
                                        "connected_slaves",
                                        "master_replid",
                                        "master_link_status"};
    struct dgf_resp resp = dgf_resp_of(item->bytes);
    struct dgf_resp_token info;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf seen = {0};
    struct dgf_bytes value;

    (void)command;
    if (dgf_resp_next(&resp, &info) || info.kind != DGF_RESP_BULK)
        return;
    dgf_buf_init(&seen, NAMES_MAX);
    for (size_t i = 0; i < DGF_ARRAY_LEN(names) && !link->source->failed; i++)
        if (dgf_redis_info(info.bytes, names[i], &value))
            compare(link->node, DGF_KIND_SETTING, dgf_bytes_str(names[i]), value,
                    &seen);
    compare_names(link->node, DGF_KIND_SETTING, "info", &seen);
}

void dgf_redis_keys_inspect(struct dgf_redis_node *node)
{
    struct dgf_redis_command command = {.on_item = on_config};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf seen = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};

    dgf_buf_init(&seen, 64);
    key_of(node, "inspected", &key);
    node->keys->inspected =
        node->keys->inspected ||
        dgf_source_get_state(&node->source->base, dgf_buf_bytes(&key), &seen) == DGF_OK;
    node->keys->inspecting = true;
    dgf_redis_link_send(
        &node->data, command,
        (struct dgf_bytes[]){DGF_BYTES("CONFIG"), DGF_BYTES("GET"), DGF_BYTES("*")}, 3);
    command.on_item = on_server;
    dgf_redis_link_send(&node->data, command, (struct dgf_bytes[]){DGF_BYTES("INFO")},
                        1);
    command.on_item = on_users;
    dgf_redis_link_send(&node->data, command,
                        (struct dgf_bytes[]){DGF_BYTES("ACL"), DGF_BYTES("LIST")}, 2);
    dgf_redis_link_flush(&node->data);
}
