/* sink_blob.c - the evidence archive in an Azure Blob container.
 *
 * Sealed sets come in order.  Objects of a set go out several at a time; the
 * manifest waits until all before it were read back, and the checkpoints wait for
 * the manifest.  Whatever fails ends the attempt, and the next one finds what is
 * there: writing twice is comparing.  The cursor says up to which record the
 * container is complete. */
#include "sink_blob.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"

#define CURSOR_VERSION 1
#define CURSOR_MAX_BYTES 256

static struct dgf_blob_sink *self_of(struct dgf_sink *sink)
{
    return (struct dgf_blob_sink *)sink;
}

static const struct dgf_blob_conf *conf_of(const struct dgf_blob_sink *self)
{
    return self->base.conf;
}

bool dgf_blob_name(const struct dgf_blob_sink *self, const char *name,
                   char ret[DGF_BLOB_NAME_MAX])
{
    int n = snprintf(ret, DGF_BLOB_NAME_MAX, "%s%s/%s", dgf_blob_prefix(conf_of(self)),
                     self->base.log_id, name);

    return n > 0 && n < DGF_BLOB_NAME_MAX;
}

static void unblock(struct dgf_blob_sink *self)
{
    if (!self->blocked || self->failed || self->failing)
        return;
    self->blocked = false;
    dgf_sink_room(&self->base);
}

/* ---- failing ---- */

static void end_attempt(struct dgf_blob_sink *self)
{
    if (self->failed || self->n_transfers > 0)
        return;
    self->failed = true;
    dgf_sink_fail(&self->base, self->failure.rc, "%s", self->failure.text);
}

void dgf_blob_fail(struct dgf_blob_sink *self, enum dgf_rc rc, const char *alarm,
                   const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    if (self->failing && (!alarm || self->base.alarm))
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)dgf_err_set(&self->failure, rc, "%s", text);
    self->failing = true;
    self->base.alarm = alarm;
    /* What is under way ends first, and counts; that may take a time-out. */
    dgf_sink_state(&self->base, false, "%s", self->failure.text);
}

/* ---- cursor: u8 version, u64 next, hash of log id and address ---- */

static void place_hash(const struct dgf_blob_sink *self, uint8_t ret[DGF_ID_LEN])
{
    struct dgf_id_hash hash;
    struct dgf_id id;

    dgf_id_begin(&hash, "blob-cursor");
    dgf_id_add(&hash, dgf_bytes_str(self->base.log_id));
    dgf_id_add(&hash, dgf_bytes_str(conf_of(self)->url));
    dgf_id_add(&hash, dgf_bytes_str(dgf_blob_prefix(conf_of(self))));
    id = dgf_id_end(&hash);
    memcpy(ret, id.b, DGF_ID_LEN);
}

static bool write_cursor(struct dgf_blob_sink *self, uint64_t next)
{
    uint8_t place[DGF_ID_LEN];

    place_hash(self, place);
    dgf_buf_clear(&self->cursor);
    dgf_buf_add_byte(&self->cursor, CURSOR_VERSION);
    dgf_buf_add_le64(&self->cursor, next);
    dgf_buf_add(&self->cursor, place, DGF_ID_LEN);
    return dgf_buf_rc(&self->cursor) == DGF_OK;
}

/* Of another log or another container: from the beginning, where what is there
 * already is found and compared. */
static uint64_t read_cursor(const struct dgf_blob_sink *self, struct dgf_bytes cursor)
{
    uint8_t place[DGF_ID_LEN];
    struct dgf_rd rd = dgf_rd_of(cursor);
    uint8_t version = dgf_rd_u8(&rd);
    uint64_t next = dgf_rd_le64(&rd);
    struct dgf_bytes kept = dgf_rd_bytes(&rd, DGF_ID_LEN);

    place_hash(self, place);
    return !rd.bad && version == CURSOR_VERSION && dgf_rd_left(&rd) == 0 &&
                   dgf_bytes_eq(kept, dgf_bytes_of(place, DGF_ID_LEN))
               ? next
               : 0;
}

/* ---- a set ---- */

static bool is_verified(const struct dgf_blob_sink *self, size_t index)
{
    return index < DGF_BLOB_KEPT && self->verified[index / 8] >> index % 8 & 1;
}

static void set_verified(struct dgf_blob_sink *self, size_t index)
{
    if (index < DGF_BLOB_KEPT)
        self->verified[index / 8] |= (uint8_t)(1u << index % 8);
}

static bool is_manifest(const char *name)
{
    size_t len = strlen(name);

    return strncmp(name, "segments/", 9) == 0 && len > 5 &&
           strcmp(name + len - 5, ".json") == 0;
}

/* Everything before it has to be there when it becomes visible. */
static bool is_barrier(const struct dgf_sealed_object *object)
{
    return object->replace || is_manifest(object->name) ||
           strncmp(object->name, "checkpoints/", 12) == 0;
}

/* Large ones go one at a time, which bounds the memory. */
static bool is_heavy(const struct dgf_sealed_object *object)
{
    return strncmp(object->name, "segments/", 9) == 0 ||
           strncmp(object->name, "state/", 6) == 0;
}

static bool heavy_under_way(const struct dgf_blob_sink *self)
{
    for (size_t i = 0; i < DGF_BLOB_TRANSFERS; i++)
        if (self->transfers[i].sink &&
            is_heavy(&self->sealed->objects[self->transfers[i].index]))
            return true;
    return false;
}

static bool may_start(const struct dgf_blob_sink *self, size_t index)
{
    const struct dgf_sealed_object *object = &self->sealed->objects[index];

    if (self->n_transfers == DGF_BLOB_TRANSFERS || self->alone)
        return false;
    if (is_barrier(object))
        return self->n_transfers == 0;
    return !is_heavy(object) || !heavy_under_way(self);
}

static void start_transfer(struct dgf_blob_sink *self, size_t index, bool only_look)
{
    struct dgf_err err = {0};
    size_t at = 0;

    while (self->transfers[at].sink)
        at++;
    self->transfers[at] = (struct dgf_blob_transfer){
        .sink = self, .index = index, .only_look = only_look};
    self->alone = only_look || is_barrier(&self->sealed->objects[index]);
    self->n_transfers++;
    if (dgf_blob_transfer_start(&self->transfers[at], &err)) {
        dgf_blob_fail(self, DGF_NOMEM, NULL, "cannot write '%s' to '%s': %s",
                      self->sealed->objects[index].name, conf_of(self)->url, err.text);
        dgf_blob_transfer_release(&self->transfers[at]);
        self->n_transfers--;
    }
}

static void complete(struct dgf_blob_sink *self)
{
    uint64_t next = self->sealed->next;

    self->sealed = NULL;
    if (!write_cursor(self, next)) {
        dgf_blob_fail(self, DGF_NOMEM, NULL, "out of memory");
        return;
    }
    dgf_sink_state(&self->base, true, "%s", "");
    dgf_sink_durable(&self->base, next, dgf_buf_bytes(&self->cursor));
    unblock(self);
}

/* Starts what may start; ends the set or the attempt when nothing is under way. */
static void go_on(struct dgf_blob_sink *self)
{
    while (!self->failing && self->sealed) {
        if (!self->probed) {
            if (self->n_transfers > 0)
                return;
            start_transfer(self, self->probe, true);
            continue;
        }
        while (self->next_object < self->sealed->n_objects &&
               is_verified(self, self->next_object))
            self->next_object++;
        if (self->next_object == self->sealed->n_objects) {
            if (self->n_transfers > 0)
                return;
            complete(self);
            continue;
        }
        if (!may_start(self, self->next_object))
            return;
        start_transfer(self, self->next_object++, false);
    }
    if (self->failing)
        end_attempt(self);
}

void dgf_blob_transfer_done(struct dgf_blob_transfer *transfer, enum dgf_blob_end end)
{
    struct dgf_blob_sink *self = transfer->sink;
    size_t index = transfer->index;
    bool looked = transfer->only_look;

    dgf_blob_transfer_release(transfer);
    self->n_transfers--;
    self->alone = false;
    if (looked && end != DGF_BLOB_FAILED)
        self->probed = true;
    /* A manifest was written when all before it was there and had been read back. */
    for (size_t i = looked ? 0 : index; end == DGF_BLOB_VERIFIED && i <= index; i++)
        set_verified(self, i);
    if (looked && end == DGF_BLOB_VERIFIED)
        self->next_object = index + 1;
    go_on(self);
}

static struct dgf_id set_of(const struct dgf_sealed *sealed)
{
    struct dgf_id_hash hash;

    dgf_id_begin(&hash, "blob-set");
    dgf_id_add_u64(&hash, sealed->first);
    dgf_id_add_u64(&hash, sealed->next);
    for (size_t i = 0; i < sealed->n_objects; i++)
        dgf_id_add(&hash, dgf_bytes_str(sealed->objects[i].name));
    return dgf_id_end(&hash);
}

static enum dgf_rc blob_archive(struct dgf_sink *sink, const struct dgf_sealed *sealed,
                                struct dgf_err *err)
{
    struct dgf_blob_sink *self = self_of(sink);
    struct dgf_id set;

    if (!self->reached || self->sealed || self->failing) {
        self->blocked = true;
        return DGF_AGAIN;
    }
    if (sealed->n_objects == 0 || sealed->next <= sealed->first)
        return dgf_err_set(err, DGF_FATAL, "a sealed set without objects or records");
    self->sealed = sealed;
    self->next_object = 0;
    self->alone = false;
    self->probe = SIZE_MAX;
    for (size_t i = 0; i < sealed->n_objects; i++)
        if (is_manifest(sealed->objects[i].name))
            self->probe = i;
    self->probed = self->probe == SIZE_MAX;
    set = set_of(sealed);
    if (memcmp(&self->set, &set, sizeof(set)) != 0)
        memset(self->verified, 0, sizeof(self->verified));
    self->set = set;
    go_on(self);
    return DGF_OK;
}

/* Nothing is offered to a sink that keeps the archive. */
static enum dgf_rc blob_offer(struct dgf_sink *sink, const struct dgf_record *record,
                              struct dgf_err *err)
{
    (void)sink;
    (void)record;
    return dgf_err_set(err, DGF_FATAL, "the archive takes segments, not records");
}

static void blob_flush(struct dgf_sink *sink)
{
    (void)sink;
}

/* ---- life ---- */

static void on_reached(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_sink *self = ctx;

    if (answer->is != DGF_AZURE_DONE && answer->is != DGF_AZURE_MISSING &&
        answer->is != DGF_AZURE_BEYOND) {
        dgf_blob_fail(self, answer->rc ? answer->rc : DGF_RETRY, NULL,
                      "cannot read '%s': %s%s", conf_of(self)->url, answer->text,
                      dgf_blob_hint(answer->is));
        end_attempt(self);
        return;
    }
    self->reached = true;
    dgf_sink_state(&self->base, true, "%s", "");
    unblock(self);
}

/* Is anybody there, and are we let in?  Known before the first set is. */
static enum dgf_rc reach(struct dgf_blob_sink *self, struct dgf_err *err)
{
    static const char *const headers[] = {"x-ms-range: bytes=0-0", NULL};
    char name[DGF_BLOB_NAME_MAX], path[DGF_BLOB_NAME_MAX + 80];
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = path,
                                .headers = headers,
                                .done = on_reached,
                                .ctx = self};

    if (!dgf_blob_name(self, "checkpoint", name))
        return dgf_err_set(err, DGF_BAD_CONFIG, "'prefix' is too long");
    (void)snprintf(path, sizeof(path), "/%s/%s", self->container, name);
    return dgf_azure_rest_ask(self->rest, &ask, err);
}

static void blob_close(struct dgf_sink *sink)
{
    struct dgf_blob_sink *self = self_of(sink);

    for (size_t i = 0; i < DGF_BLOB_TRANSFERS; i++)
        dgf_blob_transfer_release(&self->transfers[i]);
    self->n_transfers = 0;
    dgf_azure_rest_free(self->rest);
    self->rest = NULL;
    dgf_free(self->account);
    dgf_free(self->container);
    self->account = self->container = NULL;
    dgf_buf_release(&self->cursor);
    self->sealed = NULL;
}

static enum dgf_rc blob_open(struct dgf_sink *sink, struct dgf_bytes cursor,
                             uint64_t *ret_next, struct dgf_err *err)
{
    struct dgf_blob_sink *self = self_of(sink);
    const struct dgf_blob_conf *conf = sink->conf;
    struct dgf_azure_rest_conf rest = {.service = DGF_AZURE_BLOB,
                                       .auth = &conf->azure,
                                       .timeout_ms = conf->timeout_ns / 1000000};
    enum dgf_rc rc;

    self->reached = self->blocked = self->failed = self->failing = self->alone = false;
    self->n_transfers = 0;
    dgf_buf_init(&self->cursor, CURSOR_MAX_BYTES);
    rc = dgf_azure_container_url(conf->url, &self->account, &self->container, err);
    rest.base_url = self->account;
    if (!rc)
        rc = dgf_azure_rest_new(sink->loop, &rest, &self->rest, err);
    if (!rc)
        rc = reach(self, err);
    if (rc) {
        blob_close(sink);
        return rc;
    }
    *ret_next = read_cursor(self, cursor);
    return DGF_OK;
}

static const char *writes_to(const void *conf)
{
    return ((const struct dgf_blob_conf *)conf)->url;
}

const struct dgf_sink_type dgf_sink_blob = {
    .name = "blob",
    .summary = "the evidence archive in an Azure Blob container",
    .opts = dgf_blob_opts,
    .writes_to = writes_to,
    .conf_size = sizeof(struct dgf_blob_conf),
    .self_size = sizeof(struct dgf_blob_sink),
    .validate = dgf_blob_validate,
    .check = dgf_blob_check,
    .open = blob_open,
    .offer = blob_offer,
    .archive = blob_archive,
    .flush = blob_flush,
    .close = blob_close,
};
