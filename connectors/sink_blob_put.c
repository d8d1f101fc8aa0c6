/* One object on its way into the container: read from its file, piece by piece,
 * written under a condition, read back and compared. */
#include "sink_blob.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/file.h"
#include "base/hash.h"

#define BLOCKS_MAX_BYTES (8u << 20) /* 50,000 ids, which is Azure's limit */
#define BLOCK_ID_LEN 24
#define RANGE_MAX 96

/* A part of a file, read on a worker; outlives a close of the sink. */
struct dgf_blob_piece {
    struct dgf_job job;
    struct dgf_blob_transfer *owner; /* NULL: nobody waits any more */
    char *path;
    uint64_t offset, size;
    size_t max, len;
    uint8_t *bytes;
    uint8_t hash[DGF_SHA256_LEN];
    bool ran;
    enum dgf_rc rc;
    struct dgf_err err;
};

static const struct dgf_blob_conf *conf_of(const struct dgf_blob_transfer *t)
{
    return t->sink->base.conf;
}

static const struct dgf_sealed_object *object_of(const struct dgf_blob_transfer *t)
{
    return &t->sink->sealed->objects[t->index];
}

static void end(struct dgf_blob_transfer *t, enum dgf_blob_end how)
{
    dgf_free(t->bytes);
    t->bytes = NULL;
    dgf_blob_transfer_done(t, how);
}

/* ---- failures ---- */

const char *dgf_blob_hint(enum dgf_azure_is is)
{
    switch (is) {
    case DGF_AZURE_NO_PARENT:
        return "; the container does not exist";
    case DGF_AZURE_DENIED:
        return "; the archive needs the rights to read, write and list blobs: the role "
               "'Storage Blob Data Contributor', a key of the account, or a SAS with "
               "sp=rcwl, and a clock that is right";
    case DGF_AZURE_IMMUTABLE:
        return "; a policy of the whole container also freezes 'checkpoint', which has "
               "to be replaced: use immutability of versions";
    default:
        return "";
    }
}

static void fail_answer(struct dgf_blob_transfer *t, const char *verb,
                        const struct dgf_azure_answer *answer)
{
    dgf_blob_fail(t->sink, answer->rc ? answer->rc : DGF_RETRY, NULL,
                  "cannot %s '%s' in '%s': %s%s", verb, object_of(t)->name,
                  conf_of(t)->url, answer->text, dgf_blob_hint(answer->is));
    end(t, DGF_BLOB_FAILED);
}

static void fail_text(struct dgf_blob_transfer *t, enum dgf_rc rc, const char *verb,
                      const char *why)
{
    dgf_blob_fail(t->sink, rc, NULL, "cannot %s '%s' in '%s': %s", verb,
                  object_of(t)->name, conf_of(t)->url, why);
    end(t, DGF_BLOB_FAILED);
}

/* What is there under a name that is written once is not what the ledger has. */
static void fork_alarm(struct dgf_blob_transfer *t, struct dgf_bytes there)
{
    char theirs[65] = "", ours[65] = "", roots[192] = "";

    if (there.len && t->offset == 0 && dgf_blob_manifest_root(there, theirs) &&
        dgf_blob_manifest_root(dgf_bytes_of(t->bytes, t->len), ours))
        (void)snprintf(roots, sizeof(roots),
                       strcmp(ours, theirs) == 0
                           ? " (root %s on both sides, packed otherwise)"
                           : " (root %s there, %s here)",
                       theirs, ours);
    dgf_blob_fail(
        t->sink, DGF_FATAL, "fork",
        "FORK: '%s' in '%s' is there with other content%s than this ledger has: "
        "two agents wrote one log, or an old copy of the data directory was put "
        "back; nothing was written over",
        object_of(t)->name, conf_of(t)->url, roots);
    end(t, DGF_BLOB_FAILED);
}

static void altered_alarm(struct dgf_blob_transfer *t, uint64_t at)
{
    dgf_blob_fail(
        t->sink, DGF_FATAL, "altered",
        "ALTERED: '%s' in '%s' comes back with other bytes than were written, "
        "from byte %" PRIu64 " on: this storage cannot be trusted with evidence",
        object_of(t)->name, conf_of(t)->url, at);
    end(t, DGF_BLOB_FAILED);
}

/* ---- asking ---- */

static void ask(struct dgf_blob_transfer *t, const char *method, const char *query,
                const char *const *headers, struct dgf_bytes body, size_t max_body,
                void (*done)(void *ctx, const struct dgf_azure_answer *answer))
{
    char name[DGF_BLOB_NAME_MAX], path[DGF_BLOB_NAME_MAX + 80];
    struct dgf_azure_ask request = {
        .method = method,
        .path = path,
        .query = query,
        .headers = headers,
        .body = body,
        .max_body = max_body,
        .done = done,
        .ctx = t,
    };
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (!dgf_blob_name(t->sink, object_of(t)->name, name)) {
        fail_text(t, DGF_FATAL, "name", "the name is too long");
        return;
    }
    (void)snprintf(path, sizeof(path), "/%s/%s", t->sink->container, name);
    rc = dgf_azure_rest_ask(t->sink->rest, &request, &err);
    if (rc)
        fail_text(t, rc, "ask for", err.text);
}

static void read_piece(struct dgf_blob_transfer *t, uint64_t offset);

/* ---- reading back ---- */

/* At which byte is what came no longer what we have?  SIZE_MAX: nowhere. */
static size_t differs_at(struct dgf_bytes there, const uint8_t *bytes, size_t len)
{
    size_t n = there.len < len ? there.len : len;

    for (size_t i = 0; i < n; i++)
        if (there.ptr[i] != bytes[i])
            return i;
    return there.len > len ? len : SIZE_MAX;
}

/* The object holds other bytes.  It says itself whether it was made from ours. */
static void contradicted(struct dgf_blob_transfer *t,
                         const struct dgf_azure_answer *answer, uint64_t at)
{
    const char *made_of = dgf_azure_answer_header(answer, "x-ms-meta-dgfhead");
    DGF_RELEASE(dgf_buf_release) struct dgf_buf hex = {0};

    if (t->ours && strcmp(t->wrote, dgf_azure_answer_header(answer, "etag")) != 0) {
        fail_text(t, DGF_RETRY, "read back", "somebody else replaced it meanwhile");
        return;
    }
    dgf_buf_init(&hex, 2 * DGF_SHA256_LEN + 1);
    dgf_buf_add_hex(&hex, dgf_bytes_of(t->head, sizeof(t->head)));
    if (t->ours || (!object_of(t)->replace && strcmp(made_of, dgf_buf_str(&hex)) == 0))
        altered_alarm(t, at);
    else
        fork_alarm(t, answer->body);
}

static void on_read_back(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;
    uint64_t total = answer->body.len;
    size_t at;

    if (answer->is == DGF_AZURE_BEYOND) {
        contradicted(t, answer, t->offset);
        return;
    }
    if (answer->is == DGF_AZURE_MISSING) {
        fail_text(t, DGF_RETRY, "read back", "it was written and is not there");
        return;
    }
    if (answer->is == DGF_AZURE_CHANGED) {
        fail_text(t, DGF_RETRY, "read back", "somebody else replaced it meanwhile");
        return;
    }
    if (answer->is != DGF_AZURE_DONE) {
        fail_answer(t, "read back", answer);
        return;
    }
    (void)dgf_blob_range_total(dgf_azure_answer_header(answer, "content-range"),
                               &total);
    at = differs_at(answer->body, t->bytes, t->len);
    if (at != SIZE_MAX || total != t->size) {
        contradicted(t, answer,
                     at != SIZE_MAX    ? t->offset + at
                     : total < t->size ? total
                                       : t->size);
        return;
    }
    if (answer->body.len < t->len) {
        fail_text(t, DGF_RETRY, "read back", "less came than was asked for");
        return;
    }
    if (t->offset + t->len >= t->size) {
        end(t, DGF_BLOB_VERIFIED);
        return;
    }
    (void)snprintf(t->etag, sizeof(t->etag), "%s",
                   dgf_azure_answer_header(answer, "etag"));
    read_piece(t, t->offset + t->len);
}

static void read_back(struct dgf_blob_transfer *t)
{
    char range[RANGE_MAX], match[128];
    const char *headers[3] = {range, t->offset > 0 && t->etag[0] ? match : NULL, NULL};

    t->step = DGF_BLOB_VERIFY;
    if (t->len == 0)
        headers[0] = NULL;
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=%" PRIu64 "-%" PRIu64,
                   t->offset, t->offset + t->len - 1);
    (void)snprintf(match, sizeof(match), "If-Match: %s", t->etag);
    ask(t, "GET", NULL, headers, (struct dgf_bytes){0}, t->len + 1, on_read_back);
}

/* All is written, or was there: from the first piece on. */
static void verify(struct dgf_blob_transfer *t)
{
    t->step = DGF_BLOB_VERIFY;
    t->etag[0] = '\0';
    if (t->offset == 0)
        read_back(t);
    else
        read_piece(t, 0);
}

static void note_written(struct dgf_blob_transfer *t,
                         const struct dgf_azure_answer *answer)
{
    t->ours = answer->is == DGF_AZURE_DONE;
    (void)snprintf(t->wrote, sizeof(t->wrote), "%s",
                   dgf_azure_answer_header(answer, "etag"));
}

/* ---- small objects: one request ---- */

static void on_sent(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;
    bool there = answer->is == DGF_AZURE_EXISTS || answer->is == DGF_AZURE_CHANGED;

    if (there && object_of(t)->replace) {
        fail_text(t, DGF_RETRY, "replace", "somebody else replaced it meanwhile");
        return;
    }
    if (answer->is != DGF_AZURE_DONE && !there) {
        fail_answer(t, "write", answer);
        return;
    }
    note_written(t, answer);
    verify(t);
}

static void head_header(const struct dgf_blob_transfer *t, char *to, size_t size)
{
    int n = snprintf(to, size, "x-ms-meta-dgfhead: ");

    for (size_t i = 0; i < sizeof(t->head); i++)
        n += snprintf(to + n, size - (size_t)n, "%02x", t->head[i]);
}

static void send_small(struct dgf_blob_transfer *t)
{
    char match[128] = "If-None-Match: *", made_of[128];
    const char *const headers[] = {"x-ms-blob-type: BlockBlob",
                                   "x-ms-blob-content-type: application/octet-stream",
                                   match, made_of, NULL};

    t->step = DGF_BLOB_SEND;
    head_header(t, made_of, sizeof(made_of));
    if (t->etag[0])
        (void)snprintf(match, sizeof(match), "If-Match: %s", t->etag);
    ask(t, "PUT", NULL, headers, dgf_bytes_of(t->bytes, t->len), 0, on_sent);
}

/* ---- large objects: blocks, then their list ---- */

static void on_committed(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;

    dgf_buf_release(&t->blocks);
    if (answer->is != DGF_AZURE_DONE && answer->is != DGF_AZURE_EXISTS &&
        answer->is != DGF_AZURE_CHANGED) {
        fail_answer(t, "write", answer);
        return;
    }
    note_written(t, answer);
    verify(t);
}

static void commit(struct dgf_blob_transfer *t)
{
    char made_of[128];
    const char *const headers[] = {"x-ms-blob-content-type: application/octet-stream",
                                   "If-None-Match: *", made_of, NULL};

    t->step = DGF_BLOB_COMMIT;
    head_header(t, made_of, sizeof(made_of));
    dgf_buf_add_str(&t->blocks, "</BlockList>");
    if (dgf_buf_rc(&t->blocks)) {
        fail_text(t, DGF_NOMEM, "write", "out of memory");
        return;
    }
    ask(t, "PUT", "comp=blocklist", headers, dgf_buf_bytes(&t->blocks), 0,
        on_committed);
}

static void on_block(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;

    if (answer->is != DGF_AZURE_DONE) {
        fail_answer(t, "write a block of", answer);
        return;
    }
    if (t->offset + t->len < t->size)
        read_piece(t, t->offset + t->len);
    else
        commit(t);
}

/* The id is the block's number and its hash: two that write one name at a time can
 * never get a mixture committed. */
static void send_block(struct dgf_blob_transfer *t, const uint8_t hash[DGF_SHA256_LEN])
{
    uint8_t raw[BLOCK_ID_LEN];
    uint32_t number = htobe32((uint32_t)(t->offset / conf_of(t)->block_bytes));
    DGF_RELEASE(dgf_buf_release) struct dgf_buf id = {0}, query = {0};

    t->step = DGF_BLOB_SEND;
    memcpy(raw, &number, 4);
    memcpy(raw + 4, hash, BLOCK_ID_LEN - 4);
    dgf_buf_init(&id, 64);
    dgf_buf_init(&query, 256);
    dgf_buf_add_base64(&id, dgf_bytes_of(raw, sizeof(raw)));
    dgf_buf_add_str(&query, "comp=block&blockid=");
    dgf_azure_encode(&query, dgf_buf_bytes(&id));
    if (t->blocks.len == 0)
        dgf_buf_add_str(&t->blocks,
                        "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    dgf_buf_addf(&t->blocks, "<Uncommitted>%s</Uncommitted>", dgf_buf_str(&id));
    if (dgf_buf_rc(&id) || dgf_buf_rc(&query) || dgf_buf_rc(&t->blocks)) {
        fail_text(t, DGF_NOMEM, "write", "out of memory");
        return;
    }
    ask(t, "PUT", dgf_buf_str(&query), NULL, dgf_bytes_of(t->bytes, t->len), 0,
        on_block);
}

/* ---- what is there already ---- */

/* Another checkpoint is there.  The newer one stays; of one size there is one. */
static void replace_there(struct dgf_blob_transfer *t,
                          const struct dgf_azure_answer *answer)
{
    uint64_t theirs = 0, ours = 0;

    if (strcmp(object_of(t)->name, "checkpoint") == 0) {
        if (!dgf_blob_checkpoint_size(dgf_bytes_of(t->bytes, t->len), &ours)) {
            fail_text(t, DGF_FATAL, "write", "its file is no checkpoint");
            return;
        }
        if (dgf_blob_checkpoint_size(answer->body, &theirs) && theirs >= ours) {
            if (theirs == ours)
                fork_alarm(t, answer->body);
            else
                end(t, DGF_BLOB_VERIFIED); /* we come after what we wrote before */
            return;
        }
    }
    (void)snprintf(t->etag, sizeof(t->etag), "%s",
                   dgf_azure_answer_header(answer, "etag"));
    if (!t->etag[0])
        fail_text(t, DGF_RETRY, "replace", "the answer has no ETag");
    else
        send_small(t);
}

static void on_looked(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;
    uint64_t total = answer->body.len;

    if (answer->is == DGF_AZURE_MISSING && t->only_look) {
        end(t, DGF_BLOB_ABSENT);
        return;
    }
    if (answer->is == DGF_AZURE_MISSING) {
        t->etag[0] = '\0';
        send_small(t);
        return;
    }
    if (answer->is != DGF_AZURE_DONE) {
        fail_answer(t, "look for", answer);
        return;
    }
    (void)dgf_blob_range_total(dgf_azure_answer_header(answer, "content-range"),
                               &total);
    if (total == answer->body.len &&
        dgf_bytes_eq(answer->body, dgf_bytes_of(t->bytes, t->len)))
        end(t, DGF_BLOB_VERIFIED);
    else if (t->only_look)
        contradicted(t, answer, 0);
    else
        replace_there(t, answer);
}

static void look(struct dgf_blob_transfer *t)
{
    char range[RANGE_MAX];
    const char *const headers[] = {range, NULL};

    t->step = DGF_BLOB_LOOK;
    if (t->size > DGF_BLOB_SMALL_MAX || t->len != t->size) {
        fail_text(t, DGF_FATAL, "write", "its file is too large for such an object");
        return;
    }
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=0-%u",
                   DGF_BLOB_SMALL_MAX - 1);
    ask(t, "GET", NULL, headers, (struct dgf_bytes){0}, DGF_BLOB_SMALL_MAX, on_looked);
}

static void on_found_large(void *ctx, const struct dgf_azure_answer *answer)
{
    struct dgf_blob_transfer *t = ctx;

    if (answer->is == DGF_AZURE_DONE)
        verify(t);
    else if (answer->is == DGF_AZURE_MISSING)
        send_block(t, t->head);
    else
        fail_answer(t, "look for", answer);
}

/* ---- pieces of the file ---- */

static void have_piece(struct dgf_blob_transfer *t, const uint8_t hash[DGF_SHA256_LEN])
{
    bool first = t->step == DGF_BLOB_LOOK;

    if (first)
        memcpy(t->head, hash, sizeof(t->head));
    if (t->step == DGF_BLOB_VERIFY)
        read_back(t);
    else if (first && (t->only_look || object_of(t)->replace))
        look(t);
    else if (first && t->len == t->size)
        send_small(t);
    else if (first)
        ask(t, "HEAD", NULL, NULL, (struct dgf_bytes){0}, 0, on_found_large);
    else
        send_block(t, hash);
}

static void piece_run(struct dgf_job *job)
{
    struct dgf_blob_piece *piece = (struct dgf_blob_piece *)job;
    struct dgf_file *file = NULL;

    piece->ran = true;
    piece->rc = dgf_file_open(piece->path, DGF_FILE_READ, &file, &piece->err);
    if (!piece->rc)
        piece->rc = dgf_file_size(file, &piece->size, &piece->err);
    if (!piece->rc && piece->size > piece->offset &&
        piece->size - piece->offset < piece->max)
        piece->max = (size_t)(piece->size - piece->offset);
    if (!piece->rc) {
        piece->bytes = dgf_malloc(piece->max > 0 ? piece->max : 1);
        if (!piece->bytes)
            piece->rc = dgf_err_set(&piece->err, DGF_NOMEM, "out of memory");
    }
    if (!piece->rc)
        piece->rc = dgf_file_read(file, piece->offset, piece->bytes, piece->max,
                                  &piece->len, &piece->err);
    dgf_file_close(file);
    if (!piece->rc)
        dgf_sha256(dgf_bytes_of(piece->bytes, piece->len), piece->hash);
}

static void piece_done(struct dgf_job *job)
{
    struct dgf_blob_piece *piece = (struct dgf_blob_piece *)job;
    struct dgf_blob_transfer *t = piece->owner;
    bool changed;

    if (t) {
        t->reading = NULL;
        changed = t->step != DGF_BLOB_LOOK && piece->size != t->size;
        t->bytes = dgf_steal(piece->bytes);
        t->len = piece->len;
        t->size = piece->size;
        if (!piece->ran)
            fail_text(t, DGF_RETRY, "read the file of", "the agent ends");
        else if (piece->rc)
            fail_text(t, piece->rc == DGF_NOMEM ? DGF_NOMEM : DGF_RETRY,
                      "read the file of", piece->err.text);
        else if (changed || (piece->len == 0 && t->offset < t->size))
            fail_text(t, DGF_RETRY, "read the file of", "it changes while it is read");
        else
            have_piece(t, piece->hash);
    }
    dgf_free(piece->bytes);
    dgf_free(piece->path);
    dgf_free(piece);
}

static enum dgf_rc submit_piece(struct dgf_blob_transfer *t, uint64_t offset)
{
    struct dgf_blob_piece *piece = dgf_calloc(1, sizeof(*piece));

    dgf_free(t->bytes);
    t->bytes = NULL;
    t->len = 0;
    t->offset = offset;
    if (!piece)
        return DGF_NOMEM;
    piece->job = (struct dgf_job){.run = piece_run, .done = piece_done};
    piece->owner = t;
    piece->path = dgf_strdup(object_of(t)->path);
    piece->offset = offset;
    piece->max = (size_t)conf_of(t)->block_bytes;
    if (!piece->path) {
        dgf_free(piece);
        return DGF_NOMEM;
    }
    t->reading = piece;
    dgf_workers_submit(t->sink->base.workers, &piece->job);
    return DGF_OK;
}

static void read_piece(struct dgf_blob_transfer *t, uint64_t offset)
{
    if (t->sink->failing)
        end(t, DGF_BLOB_FAILED); /* no more of a large object for this attempt */
    else if (submit_piece(t, offset))
        fail_text(t, DGF_NOMEM, "read the file of", "out of memory");
}

enum dgf_rc dgf_blob_transfer_start(struct dgf_blob_transfer *t, struct dgf_err *err)
{
    dgf_buf_init(&t->blocks, BLOCKS_MAX_BYTES);
    t->step = DGF_BLOB_LOOK;
    return submit_piece(t, 0) ? dgf_err_set(err, DGF_NOMEM, "out of memory") : DGF_OK;
}

void dgf_blob_transfer_release(struct dgf_blob_transfer *t)
{
    if (t->reading)
        t->reading->owner = NULL;
    dgf_free(t->bytes);
    dgf_buf_release(&t->blocks);
    *t = (struct dgf_blob_transfer){0};
}
