#include "blob_change.h"

#include "base/parse.h"

#define NO_BLOB 1u /* about the account */

struct kind {
    const char *type;
    enum dgf_op op;
    unsigned flags;
};

/* A snapshot and an operation that was begun change what belongs to the blob. */
static const struct kind kinds[] = {
    {"BlobCreated", DGF_OP_CREATE, 0},
    {"BlobDeleted", DGF_OP_DELETE, 0},
    {"BlobRenamed", DGF_OP_RENAME, 0},
    {"BlobTierChanged", DGF_OP_ALTER, 0},
    {"BlobPropertiesUpdated", DGF_OP_ALTER, 0},
    {"BlobMetadataUpdated", DGF_OP_ALTER, 0},
    {"BlobSnapshotCreated", DGF_OP_ALTER, 0},
    {"BlobAsyncOperationInitiated", DGF_OP_ALTER, 0},
    {"AsyncOperationInitiated", DGF_OP_ALTER, 0},
    {"DirectoryCreated", DGF_OP_CREATE, 0},
    {"DirectoryDeleted", DGF_OP_DELETE, 0},
    {"DirectoryRenamed", DGF_OP_RENAME, 0},
    {"RestorePointMarkerCreated", DGF_OP_OBSERVE, NO_BLOB},
    {"BlobInventoryPolicyCompleted", DGF_OP_OBSERVE, NO_BLOB},
    {"LifecyclePolicyCompleted", DGF_OP_OBSERVE, NO_BLOB},
};

/* ---- reading ---- */

static struct dgf_bytes field(struct dgf_bytes map, const char *name)
{
    struct dgf_bytes value = {0};

    if (map.len == 0 || dgf_mp_find(map, dgf_bytes_str(name), &value))
        return (struct dgf_bytes){0};
    return value;
}

static struct dgf_bytes text_of(struct dgf_bytes value)
{
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.len == 0 || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_STR)
        return (struct dgf_bytes){0};
    return token.bytes;
}

static struct dgf_bytes text(struct dgf_bytes map, const char *name)
{
    return text_of(field(map, name));
}

/* The first of two names that is there. */
static struct dgf_bytes either(struct dgf_bytes map, const char *a, const char *b)
{
    struct dgf_bytes value = text(map, a);

    return value.len ? value : text(map, b);
}

static struct dgf_bytes map_of(struct dgf_bytes map, const char *name)
{
    struct dgf_bytes value = field(map, name);
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.len == 0 || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_MAP ||
        token.n == 0)
        return (struct dgf_bytes){0};
    return value;
}

static bool begins(struct dgf_bytes text, const char *with)
{
    size_t len = strlen(with);

    return text.len >= len && memcmp(text.ptr, with, len) == 0;
}

static struct dgf_bytes behind(struct dgf_bytes text, size_t n)
{
    return dgf_bytes_of(text.ptr + n, text.len - n);
}

static const struct kind *kind_of(struct dgf_bytes type)
{
    for (size_t i = 0; i < DGF_ARRAY_LEN(kinds); i++)
        if (dgf_bytes_eq(type, dgf_bytes_str(kinds[i].type)))
            return &kinds[i];
    return NULL;
}

/* /subscriptions/S/.../storageAccounts/A; what names no account has none. */
static struct dgf_bytes account_of(struct dgf_bytes topic)
{
    static const char mark[] = "/storageAccounts/";
    const uint8_t *at =
        topic.len ? memmem(topic.ptr, topic.len, mark, sizeof(mark) - 1) : NULL;
    const uint8_t *end, *slash;

    if (!at)
        return (struct dgf_bytes){0};
    end = topic.ptr + topic.len;
    at += sizeof(mark) - 1;
    slash = memchr(at, '/', (size_t)(end - at));
    return dgf_bytes_of(at, (size_t)((slash ? slash : end) - at));
}

/* /blobServices/default/containers/C/blobs/P */
static bool take_subject(struct dgf_bytes subject, struct dgf_blob_change *change)
{
    static const char head[] = "/containers/", middle[] = "/blobs/";
    const uint8_t *at =
        subject.len ? memmem(subject.ptr, subject.len, head, sizeof(head) - 1) : NULL;
    struct dgf_bytes rest;
    const uint8_t *blobs;

    if (!begins(subject, "/blobServices/") || !at)
        return false;
    at += sizeof(head) - 1;
    rest = dgf_bytes_of(at, subject.len - (size_t)(at - subject.ptr));
    blobs = memmem(rest.ptr, rest.len, middle, sizeof(middle) - 1);
    if (!blobs || blobs == rest.ptr ||
        memchr(rest.ptr, '/', (size_t)(blobs - rest.ptr)))
        return false;
    change->container = dgf_bytes_of(rest.ptr, (size_t)(blobs - rest.ptr));
    change->path = behind(rest, (size_t)(blobs - rest.ptr) + sizeof(middle) - 1);
    return change->path.len > 0 && change->container.len <= 255 &&
           change->path.len <= DGF_BLOB_PATH_MAX &&
           !memchr(change->path.ptr, 0, change->path.len) &&
           !memchr(change->container.ptr, 0, change->container.len);
}

static int64_t number(struct dgf_bytes map, const char *name)
{
    struct dgf_bytes value = field(map, name);
    struct dgf_mp mp = dgf_mp_of(value);
    struct dgf_mp_token token;

    if (value.len == 0 || dgf_mp_next(&mp, &token) || token.kind != DGF_MP_INT ||
        token.i64 < 0)
        return -1;
    return token.i64;
}

static enum dgf_rc take_data(struct dgf_bytes record, struct dgf_blob_change *change)
{
    change->data = map_of(record, "data");
    change->etag = either(change->data, "eTag", "etag");
    change->blob_type = text(change->data, "blobType");
    change->sequencer = text(change->data, "sequencer");
    change->client_request_id = text(change->data, "clientRequestId");
    change->content_length = number(change->data, "contentLength");
    /* Written over something: the feed then tells what became of it. */
    if (change->op == DGF_OP_CREATE && map_of(change->data, "previousInfo").len)
        change->op = DGF_OP_REPLACE;
    return DGF_OK;
}

enum dgf_rc dgf_blob_change_read(struct dgf_bytes record, struct dgf_blob_change *ret,
                                 const char **why)
{
    struct dgf_blob_change change = {.content_length = -1};
    const struct kind *kind;

    if (record.len == 0 || (record.ptr[0] & 0xf0) < 0x80 ||
        ((record.ptr[0] & 0xf0) != 0x80 && record.ptr[0] != 0xde &&
         record.ptr[0] != 0xdf)) {
        *why = "it is no object";
        return DGF_BAD_DATA;
    }
    change.type = either(record, "eventType", "type");
    if (change.type.len == 0) {
        *why = "it has no type of event";
        return DGF_BAD_DATA;
    }
    if (dgf_bytes_eq(change.type, DGF_BYTES("Control"))) {
        *why = "control";
        return DGF_AGAIN;
    }
    if (begins(change.type, "Microsoft.EventGrid.Subscription")) {
        *why = "validation";
        return DGF_AGAIN;
    }
    if (begins(change.type, "Microsoft.Storage."))
        change.type = behind(change.type, sizeof("Microsoft.Storage.") - 1);
    kind = kind_of(change.type);
    if (!kind) {
        *why = "its type of event is unknown";
        return DGF_BAD_DATA;
    }
    change.op = kind->op;
    change.id = text(record, "id");
    if (change.id.len == 0 || change.id.len > DGF_BLOB_ID_MAX) {
        *why = "it has no id";
        return DGF_BAD_DATA;
    }
    if (!dgf_parse_time(either(record, "eventTime", "time"), &change.time_ns)) {
        *why = "its time is none";
        return DGF_BAD_DATA;
    }
    change.account = account_of(either(record, "topic", "source"));
    if (!(kind->flags & NO_BLOB) && !take_subject(text(record, "subject"), &change)) {
        *why = "its subject names no blob";
        return DGF_BAD_DATA;
    }
    *ret = change;
    return take_data(record, ret);
}

/* ---- writing ---- */

/* Names of an event's data as they stand in `after`; in the order they are written. */
static const struct {
    const char *name, *as;
} shown[] = {
    {"api", "operation"},
    {"contentType", "content_type"},
    {"contentLength", "content_length"},
    {"contentOffset", "content_offset"},
    {"blobType", "blob_type"},
    {"url", "url"},
    {"destinationUrl", "destination_url"},
    {"sourceUrl", "source_url"},
    {"recursive", "recursive"},
    {"sequencer", "sequencer"},
    {"clientRequestId", "client_request_id"},
    {"requestId", "request_id"},
    {"identity", "identity"},
    {"snapshot", "snapshot"},
    {"blobVersion", "version"},
    {"containerVersion", "container_version"},
    {"restoredContainerVersion", "restored_container_version"},
    {"blobTier", "tier"},
    {"accessTier", "tier"},
    {"asyncOperationInfo", "async_operation"},
    {"restorePointMarker", "restore_point"},
    {"createTime", "created"},
    {"lastAccessTime", "accessed"},
    {"scheduleTime", "scheduled"},
    {"policyRunStatus", "policy_run_status"},
    {"manifestBlobUrl", "manifest_url"},
    {"ruleName", "rule"},
};

/* nil, "" and what does not fit its name are left out. */
static bool is_empty(struct dgf_bytes value)
{
    return value.len == 0 || value.ptr[0] == 0xc0 || value.ptr[0] == 0xa0;
}

static void put_text(struct dgf_event_builder *builder, const char *name,
                     struct dgf_bytes value)
{
    if (value.len)
        dgf_mp_put_str(dgf_event_named(builder, dgf_bytes_str(name)), value);
}

static void put_raw(struct dgf_event_builder *builder, const char *name,
                    struct dgf_bytes value)
{
    if (!is_empty(value))
        dgf_buf_add_bytes(dgf_event_named(builder, dgf_bytes_str(name)), value);
}

/* {name: {previous, current}} as {name: previous} or {name: current}. */
static void put_sides(struct dgf_event_builder *builder, struct dgf_bytes map,
                      const char *side)
{
    struct dgf_mp mp = dgf_mp_of(map);
    struct dgf_mp_token head, name;
    struct dgf_bytes pair, value;
    struct dgf_buf *out;

    if (map.len == 0 || dgf_mp_next(&mp, &head) || head.kind != DGF_MP_MAP)
        return;
    out = dgf_event_named(builder, DGF_BYTES("properties"));
    dgf_mp_put_map(out, head.n);
    for (uint32_t i = 0; i < head.n; i++) {
        if (dgf_mp_next(&mp, &name) || name.kind != DGF_MP_STR ||
            dgf_mp_value(&mp, &pair)) {
            out->rc = DGF_NOMEM; /* cannot be: the map was made by us */
            return;
        }
        dgf_mp_put_str(out, name.bytes);
        value = field(pair, side);
        if (value.len)
            dgf_buf_add_bytes(out, value);
        else
            dgf_mp_put_nil(out);
    }
}

/* What was before, as far as the change feed tells it. */
static void put_before(const struct dgf_blob_change *change,
                       struct dgf_event_builder *builder)
{
    struct dgf_bytes properties = map_of(change->data, "blobPropertiesUpdated");
    struct dgf_bytes tags = map_of(change->data, "blobTagsUpdated");
    struct dgf_bytes previous = map_of(change->data, "previousInfo");

    if (change->op == DGF_OP_CREATE) {
        dgf_event_section_nil(builder, DGF_SECTION_BEFORE);
        return;
    }
    if (!properties.len && !tags.len && !previous.len) {
        dgf_event_section_unavailable(builder, DGF_SECTION_BEFORE,
                                      DGF_UNAVAILABLE_NOT_SENT);
        return;
    }
    dgf_event_section(builder, DGF_SECTION_BEFORE);
    put_raw(builder, "tier", field(previous, "PreviousTier"));
    put_sides(builder, properties, "previous");
    put_raw(builder, "tags", field(tags, "previous"));
    put_raw(builder, "previous", previous);
    dgf_event_section_end(builder);
}

static void put_content(const struct dgf_blob_extra *extra,
                        struct dgf_event_builder *builder)
{
    struct dgf_buf *out;

    if (extra->content == DGF_BLOB_NOT_LOOKED)
        return;
    out = dgf_event_named(builder, DGF_BYTES("content"));
    if (extra->content == DGF_BLOB_UNAVAILABLE)
        dgf_mp_put_unavailable(out, DGF_UNAVAILABLE_NOT_SENT);
    else if (dgf_utf8_valid(extra->bytes))
        dgf_mp_put_str(out, extra->bytes);
    else
        dgf_mp_put_bin(out, extra->bytes);
}

static void put_after(const struct dgf_blob_change *change,
                      const struct dgf_blob_extra *extra,
                      struct dgf_event_builder *builder)
{
    bool tier = false;

    dgf_event_section(builder, DGF_SECTION_AFTER);
    put_text(builder, "id", change->id);
    put_text(builder, "type", change->type);
    put_text(builder, "account", change->account);
    put_text(builder, "container", change->container);
    put_text(builder, "path", change->path);
    put_text(builder, "etag", change->etag);
    for (size_t i = 0; i < DGF_ARRAY_LEN(shown); i++) {
        struct dgf_bytes value = field(change->data, shown[i].name);
        bool is_tier = strcmp(shown[i].as, "tier") == 0;

        if (is_empty(value) || (is_tier && tier))
            continue;
        tier |= is_tier;
        put_raw(builder, shown[i].as, value);
    }
    put_sides(builder, map_of(change->data, "blobPropertiesUpdated"), "current");
    put_raw(builder, "tags", field(map_of(change->data, "blobTagsUpdated"), "current"));
    put_content(extra, builder);
    dgf_event_section_end(builder);
}

void dgf_blob_change_build(const struct dgf_blob_change *change,
                           const struct dgf_blob_extra *extra,
                           struct dgf_object *object, struct dgf_event_builder *builder)
{
    dgf_event_begin(builder, object, DGF_KIND_NOTICE, change->op);
    dgf_event_section(builder, DGF_SECTION_KEY);
    if (change->path.len)
        put_text(builder, "path", change->path);
    else
        put_text(builder, "id", change->id);
    dgf_event_section_end(builder);
    put_before(change, builder);
    put_after(change, extra, builder);
    if (!extra->late && !extra->reordered)
        return;
    dgf_event_section(builder, DGF_SECTION_EXTRA);
    if (extra->late)
        dgf_mp_put_bool(dgf_event_named(builder, DGF_BYTES("late")), true);
    if (extra->reordered)
        dgf_mp_put_bool(dgf_event_named(builder, DGF_BYTES("reordered")), true);
    dgf_event_section_end(builder);
}

int dgf_blob_sequencer_cmp(struct dgf_bytes a, struct dgf_bytes b)
{
    if (a.len == 0 || a.len != b.len)
        return 0;
    return memcmp(a.ptr, b.ptr, a.len);
}
