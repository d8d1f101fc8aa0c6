/* source_blob_inspect.c - what no event tells: containers with their public access,
 * immutability and legal hold, and the properties of the account and its blob service.
 *
 * Each is one event when it is seen first and whenever it is another one, with what it
 * was before.  The account's own service does not say its least TLS version or its
 * network rules: they are unknown to policies, not absent. */
#include <stdio.h>

#include "azure_xml.h"
#include "base/clock.h"
#include "base/parse.h"
#include "source_blob.h"

#define LIST_MAX_BYTES ((size_t)16 << 20)
#define TEXT_MAX 4096
#define VALUE_MAX 16384
#define NAMES_MAX_BYTES ((size_t)512 << 10)
#define LEAVES_MAX 100

struct dgf_blobs_inspect {
    struct dgf_blobs_source *source;
    struct dgf_map known, seen; /* names of containers, before and now */
    bool first;                 /* nobody looked before */
    struct dgf_buf name, value, marker, query;
    uint32_t n_value;
    unsigned n_cors;
    bool has_access;
};

void dgf_blobs_inspect_release(struct dgf_blobs_source *self)
{
    struct dgf_blobs_inspect *look = self->inspect;

    if (!look)
        return;
    dgf_map_release(&look->known, NULL);
    dgf_map_release(&look->seen, NULL);
    dgf_buf_release(&look->name);
    dgf_buf_release(&look->value);
    dgf_buf_release(&look->marker);
    dgf_buf_release(&look->query);
    dgf_free(look);
    self->inspect = NULL;
}

static void end_look(struct dgf_blobs_source *self)
{
    dgf_blobs_inspect_release(self);
    self->inspected_ns = dgf_clock_mono_ns();
}

/* ---- one thing that was seen ---- */

/* A map of ours: as many pairs as were put. */
static void begin_value(struct dgf_blobs_inspect *look)
{
    dgf_buf_clear(&look->value);
    dgf_mp_put_map(&look->value, 0x10000); /* a head whose number is set at the end */
    look->n_value = 0;
}

static void end_value(struct dgf_blobs_inspect *look)
{
    uint32_t n = htobe32(look->n_value);

    if (look->value.len >= 5)
        memcpy(look->value.ptr + 1, &n, sizeof(n));
}

static struct dgf_buf *pair(struct dgf_blobs_inspect *look, const char *name)
{
    look->n_value++;
    dgf_mp_put_str(&look->value, dgf_bytes_str(name));
    return &look->value;
}

static void put_text(struct dgf_blobs_inspect *look, const char *name,
                     struct dgf_bytes text)
{
    if (dgf_bytes_eq(text, DGF_BYTES("true")) || dgf_bytes_eq(text, DGF_BYTES("false")))
        dgf_mp_put_bool(pair(look, name), text.len == 4);
    else
        dgf_mp_put_str(pair(look, name), text);
}

static void put_section(struct dgf_event_builder *builder, enum dgf_section section,
                        struct dgf_bytes map)
{
    struct dgf_mp mp = dgf_mp_of(map);
    struct dgf_mp_token head, name;
    struct dgf_bytes value;

    if (map.len == 0 || dgf_mp_next(&mp, &head) || head.kind != DGF_MP_MAP) {
        dgf_event_section_nil(builder, section);
        return;
    }
    dgf_event_section(builder, section);
    for (uint32_t i = 0; i < head.n; i++) {
        if (dgf_mp_next(&mp, &name) || name.kind != DGF_MP_STR ||
            dgf_mp_value(&mp, &value))
            break; /* cannot be: it was written by us */
        dgf_buf_add_bytes(dgf_event_named(builder, name.bytes), value);
    }
    dgf_event_section_end(builder);
}

static bool tell(struct dgf_blobs_source *self, const char *object_name,
                 struct dgf_bytes name, enum dgf_op op, struct dgf_bytes before,
                 struct dgf_bytes after)
{
    struct dgf_event_meta meta = {.commit_ns = dgf_clock_ns(), .cause = DGF_CAUSE_USER};
    struct dgf_event_builder *builder = &self->builder;
    struct dgf_object *object;
    struct dgf_event *event;
    struct dgf_buf both;

    if (dgf_object_new("blob", NULL, NULL, object_name, NULL, 0, 1, &object)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    dgf_buf_init(&both, 3 * VALUE_MAX);
    dgf_buf_add_bytes(&both, before);
    dgf_buf_add_byte(&both, 0);
    dgf_buf_add_bytes(&both, after);
    meta.seen_ns = meta.commit_ns;
    meta.id = dgf_blobs_id(self, "inspect", name, dgf_bytes_str(dgf_op_text(op)),
                           dgf_buf_bytes(&both));
    dgf_event_begin(builder, object, DGF_KIND_SETTING, op);
    dgf_event_section(builder, DGF_SECTION_KEY);
    dgf_mp_put_str(dgf_event_named(builder, DGF_BYTES("name")), name);
    dgf_event_section_end(builder);
    put_section(builder, DGF_SECTION_BEFORE, before);
    put_section(builder, DGF_SECTION_AFTER, after);
    dgf_buf_release(&both);
    if (dgf_event_finish(builder, &meta, &event)) {
        dgf_object_unref(object);
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    dgf_object_unref(object);
    return dgf_blobs_emit(self, event);
}

/* Compares what was seen with what is remembered of it; value NULL: it is gone. */
static bool observe(struct dgf_blobs_source *self, const char *object_name,
                    struct dgf_bytes name, struct dgf_bytes value)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf key = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf before = {0};
    struct dgf_bytes old;
    enum dgf_op op;
    enum dgf_rc rc;

    dgf_buf_init(&key, 1024);
    dgf_buf_init(&before, VALUE_MAX);
    dgf_buf_addf(&key, "setting/%s/%.*s", self->account, (int)name.len,
                 (const char *)name.ptr);
    rc = dgf_buf_rc(&key)
             ? DGF_NOMEM
             : dgf_source_get_state(&self->base, dgf_buf_bytes(&key), &before);
    if (rc && rc != DGF_AGAIN) {
        dgf_blobs_fail(self, DGF_RETRY, "what was seen before cannot be read");
        return false;
    }
    old = before.len > 1 ? dgf_buf_bytes(&before) : (struct dgf_bytes){0};
    if (dgf_bytes_eq(old, value))
        return true;
    op = !value.len             ? DGF_OP_DROP
         : old.len              ? DGF_OP_ALTER
         : self->inspect->first ? DGF_OP_OBSERVE
                                : DGF_OP_CREATE;
    if (!tell(self, object_name, name, op, old, value))
        return false;
    if (dgf_source_put_state(&self->base, dgf_buf_bytes(&key),
                             value.len ? value : DGF_BYTES("\xc0"))) {
        dgf_blobs_fail(self, DGF_FATAL, "cannot remember what was seen");
        return false;
    }
    return true;
}

static void trouble(struct dgf_blobs_source *self,
                    const struct dgf_azure_answer *answer, const char *doing)
{
    (void)snprintf(
        self->inspect_trouble, sizeof(self->inspect_trouble), "%s: %s%s", doing,
        answer->text,
        answer->is == DGF_AZURE_DENIED
            ? "; it needs the role 'Storage Blob Data Reader', or a key or SAS "
              "of the account"
            : "");
    end_look(self);
    dgf_blobs_say_state(self);
}

/* ---- the account ---- */

static void put_header(struct dgf_blobs_inspect *look, const char *name,
                       const struct dgf_azure_answer *answer, const char *header)
{
    const char *text = dgf_azure_answer_header(answer, header);

    if (*text && dgf_utf8_valid(dgf_bytes_str(text)))
        put_text(look, name, dgf_bytes_str(text));
}

static void on_account(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_inspect *look = self->inspect;

    if (answer->is != DGF_AZURE_DONE) {
        trouble(self, answer, "cannot see the properties of the account");
        return;
    }
    begin_value(look);
    put_header(look, "sku", answer, "x-ms-sku-name");
    put_header(look, "kind", answer, "x-ms-account-kind");
    put_header(look, "hierarchical_namespace", answer, "x-ms-is-hns-enabled");
    dgf_mp_put_unavailable(pair(look, "minimum_tls_version"), DGF_UNAVAILABLE_NOT_SENT);
    dgf_mp_put_unavailable(pair(look, "network_rules"), DGF_UNAVAILABLE_NOT_SENT);
    end_value(look);
    if (!observe(self, self->account, DGF_BYTES("account"),
                 dgf_buf_bytes(&look->value)))
        return;
    self->inspect_trouble[0] = '\0';
    end_look(self);
    dgf_blobs_say_state(self);
}

/* Leaves by path: "DeleteRetentionPolicy.Enabled". */
static enum dgf_rc on_property(void *ctx, const char *path, struct dgf_bytes text,
                               struct dgf_err *err)
{
    struct dgf_blobs_inspect *look = ctx;
    const char *rest = strchr(path, '/');
    char name[DGF_AZURE_XML_PATH];

    (void)err;
    if (!rest)
        return DGF_OK;
    (void)snprintf(name, sizeof(name), "%s", rest + 1);
    if (strncmp(name, "Cors", 4) == 0) {
        look->n_cors += strcmp(name, "Cors/CorsRule") == 0;
        return DGF_OK;
    }
    if (text.len == 0 || look->n_value >= LEAVES_MAX)
        return DGF_OK;
    for (char *at = name; *at; at++)
        *at = *at == '/' ? '.' : *at;
    put_text(look, name, text);
    return DGF_OK;
}

static void on_service(void *ctx, const struct dgf_azure_answer *answer)
{
    static const struct dgf_azure_xml_calls calls = {.end = on_property};
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_inspect *look = self->inspect;
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = "/",
                                .query = "restype=account&comp=properties",
                                .done = on_account,
                                .ctx = self};
    struct dgf_err err = {0};

    if (answer->is != DGF_AZURE_DONE) {
        trouble(self, answer, "cannot see the properties of the blob service");
        return;
    }
    look->n_cors = 0;
    begin_value(look);
    if (dgf_azure_xml_read(answer->body, TEXT_MAX, &calls, look, &err) == DGF_OK) {
        dgf_mp_put_int(pair(look, "Cors.rules"), look->n_cors);
        end_value(look);
        if (dgf_mp_check(dgf_buf_bytes(&look->value)) == DGF_OK &&
            !observe(self, self->account, DGF_BYTES("blob service"),
                     dgf_buf_bytes(&look->value)))
            return;
    }
    (void)dgf_blobs_ask(self, self->blob_rest, &ask);
}

/* ---- containers ---- */

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);

    return n >= m && strcmp(path + n - m, end) == 0;
}

static enum dgf_rc on_container_begin(void *ctx, const char *path, struct dgf_err *err)
{
    struct dgf_blobs_inspect *look = ctx;

    (void)err;
    if (ends_in(path, "Containers/Container")) {
        dgf_buf_clear(&look->name);
        begin_value(look);
        look->has_access = false;
    }
    return DGF_OK;
}

static enum dgf_rc take_container(struct dgf_blobs_inspect *look)
{
    struct dgf_blobs_source *self = look->source;
    struct dgf_bytes name = dgf_buf_bytes(&look->name);

    if (!name.len || name.len > 255 || memchr(name.ptr, 0, name.len) ||
        name.ptr[0] == '$' || !dgf_blobs_container_wanted(DGF_BLOB_CONF(self), name))
        return DGF_OK;
    if (!look->has_access)
        dgf_mp_put_str(pair(look, "public_access"), DGF_BYTES("none"));
    end_value(look);
    if (dgf_map_put(&look->seen, name, look, NULL))
        return DGF_NOMEM;
    return observe(self, dgf_buf_str(&look->name), name, dgf_buf_bytes(&look->value))
               ? DGF_OK
               : DGF_AGAIN;
}

static enum dgf_rc on_container(void *ctx, const char *path, struct dgf_bytes text,
                                struct dgf_err *err)
{
    static const struct {
        const char *path, *name;
    } wanted[] = {
        {"Properties/HasImmutabilityPolicy", "has_immutability_policy"},
        {"Properties/HasLegalHold", "has_legal_hold"},
        {"Properties/ImmutableStorageWithVersioningEnabled", "immutable_versions"},
        {"Properties/DefaultEncryptionScope", "encryption_scope"},
        {"Properties/DenyEncryptionScopeOverride", "deny_encryption_scope_override"},
    };
    struct dgf_blobs_inspect *look = ctx;

    (void)err;
    if (ends_in(path, "Containers/Container"))
        return take_container(look);
    if (ends_in(path, "Container/Name")) {
        dgf_buf_clear(&look->name);
        dgf_buf_add_bytes(&look->name, text);
    } else if (ends_in(path, "Properties/PublicAccess") && text.len) {
        look->has_access = true;
        put_text(look, "public_access", text);
    } else if (ends_in(path, "EnumerationResults/NextMarker")) {
        dgf_buf_clear(&look->marker);
        dgf_buf_add_bytes(&look->marker, text);
    }
    for (size_t i = 0; i < DGF_ARRAY_LEN(wanted); i++)
        if (ends_in(path, wanted[i].path) && text.len)
            put_text(look, wanted[i].name, text);
    return DGF_OK;
}

/* Containers that were there and are not; remembers those that are. */
static bool compare_names(struct dgf_blobs_source *self)
{
    struct dgf_blobs_inspect *look = self->inspect;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};
    struct dgf_map_entry *entry;
    char name[256];
    size_t at = 0;

    while ((entry = dgf_map_next(&look->known, &at))) {
        if (dgf_map_get(&look->seen, entry->key))
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", (int)entry->key.len,
                       (const char *)entry->key.ptr);
        if (!observe(self, name, entry->key, (struct dgf_bytes){0}))
            return false;
    }
    dgf_buf_init(&names, NAMES_MAX_BYTES);
    for (at = 0; (entry = dgf_map_next(&look->seen, &at));) {
        dgf_buf_add_bytes(&names, entry->key);
        dgf_buf_add_byte(&names, '\n');
    }
    dgf_buf_add_byte(&names, '\n');
    if (dgf_buf_rc(&names) == DGF_OK &&
        dgf_source_put_state(&self->base, DGF_BYTES("containers"),
                             dgf_buf_bytes(&names))) {
        dgf_blobs_fail(self, DGF_FATAL, "cannot remember what was seen");
        return false;
    }
    return true;
}

static void ask_containers(struct dgf_blobs_source *self);

static void on_containers(void *ctx, const struct dgf_azure_answer *answer)
{
    static const struct dgf_azure_xml_calls calls = {.begin = on_container_begin,
                                                     .end = on_container};
    struct dgf_blobs_source *self = ctx;
    struct dgf_blobs_inspect *look = self->inspect;
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = "/",
                                .query = "restype=service&comp=properties",
                                .done = on_service,
                                .ctx = self};
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (answer->is != DGF_AZURE_DONE) {
        trouble(self, answer, "cannot list the containers");
        return;
    }
    dgf_buf_clear(&look->marker);
    rc = dgf_azure_xml_read(answer->body, TEXT_MAX, &calls, look, &err);
    if (self->failed)
        return;
    if (rc) { /* not all of them were seen: nothing is said to be gone */
        (void)snprintf(self->inspect_trouble, sizeof(self->inspect_trouble),
                       "cannot list the containers: %.200s", err.text);
        end_look(self);
        return;
    }
    if (look->marker.len) {
        ask_containers(self);
        return;
    }
    if (compare_names(self))
        (void)dgf_blobs_ask(self, self->blob_rest, &ask);
}

static void ask_containers(struct dgf_blobs_source *self)
{
    struct dgf_blobs_inspect *look = self->inspect;
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = "/",
                                .max_body = LIST_MAX_BYTES,
                                .done = on_containers,
                                .ctx = self};

    dgf_buf_clear(&look->query);
    dgf_buf_add_str(&look->query, "comp=list");
    if (look->marker.len) {
        dgf_buf_add_str(&look->query, "&marker=");
        dgf_azure_encode(&look->query, dgf_buf_bytes(&look->marker));
    }
    ask.query = dgf_buf_str(&look->query);
    (void)dgf_blobs_ask(self, self->blob_rest, &ask);
}

/* ---- when ---- */

static bool read_known(struct dgf_blobs_source *self)
{
    struct dgf_blobs_inspect *look = self->inspect;
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};
    const uint8_t *at, *end;
    enum dgf_rc rc;

    dgf_buf_init(&names, NAMES_MAX_BYTES);
    rc = dgf_source_get_state(&self->base, DGF_BYTES("containers"), &names);
    look->first = rc == DGF_AGAIN;
    if (rc && rc != DGF_AGAIN)
        return false;
    at = names.ptr;
    end = names.len ? names.ptr + names.len : at;
    while (at < end) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));

        if (!newline)
            return false;
        if (newline > at &&
            dgf_map_put(&look->known, dgf_bytes_of(at, (size_t)(newline - at)), look,
                        NULL))
            return false;
        at = newline + 1;
    }
    return true;
}

void dgf_blobs_inspect_tick(struct dgf_blobs_source *self, int64_t now_ns)
{
    struct dgf_blobs_inspect *look;

    if (self->inspect || self->failed || (!self->queue.fine && !self->feed.fine) ||
        (self->inspected_ns &&
         now_ns - self->inspected_ns < DGF_BLOB_CONF(self)->inspect_ns))
        return;
    self->inspect = look = dgf_calloc(1, sizeof(*look));
    if (!look) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return;
    }
    look->source = self;
    dgf_map_init(&look->known);
    dgf_map_init(&look->seen);
    dgf_buf_init(&look->name, 512);
    dgf_buf_init(&look->value, VALUE_MAX);
    dgf_buf_init(&look->marker, 2048);
    dgf_buf_init(&look->query, 8192);
    if (read_known(self))
        ask_containers(self);
    else
        dgf_blobs_fail(self, DGF_FATAL, "what was seen before cannot be read");
}
