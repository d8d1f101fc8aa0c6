/* fuzz_archive.c - everything of an archive that is read from outside.
 *
 * Input: a mode byte, then
 *   l  one line of a segment          p  a proof; a line follows behind a NUL
 *   c  a checkpoint                   m  a manifest
 *   s  the bytes of segments/0.ndjson.zst, for the reader
 *   a  a whole archive, for the verifier: u8 name length, name, u32 length, bytes ...
 *
 * Whatever the bytes: no crash, no more memory than the limits allow, and what is taken
 * is the same when it is written and read again. */
#include <stdio.h>
#include <stdlib.h>

#include "ledger/archive_checked.h"
#include "ledger/archive_line.h"
#include "ledger/archive_shape.h"
#include "ledger/archive_manifest.h"
#include "ledger/archive_proof.h"
#include "ledger/archive_read.h"
#include "ledger/archive_verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static const char *const key[] = {"dgf/fuzz/00112233445566778899aabbccddeeff+2a8d0e06+"
                                  "AWAQTr2YZwovZjYduTAumoKt+NDEAgSRERkM9hlv2Cxf"};

static void need(bool is_true, const char *what)
{
    if (!is_true) {
        fprintf(stderr, "fuzz_archive: %s\n", what);
        abort();
    }
}

/* ---- objects in memory --------------------------------------------------- */

#define MAX_OBJECTS 64

struct objects {
    struct dgf_store base;
    struct {
        char name[256];
        struct dgf_bytes bytes;
    } list[MAX_OBJECTS];
    size_t n;
};

static enum dgf_rc memory_read(struct dgf_store *store, const char *name,
                               uint64_t offset, void *ptr, size_t len, size_t *ret_len,
                               struct dgf_err *err)
{
    struct objects *objects = (struct objects *)store;

    for (size_t i = 0; i < objects->n; i++) {
        struct dgf_bytes bytes = objects->list[i].bytes;

        if (strcmp(objects->list[i].name, name) != 0)
            continue;
        *ret_len = offset < bytes.len ? bytes.len - (size_t)offset : 0;
        *ret_len = *ret_len > len ? len : *ret_len;
        if (*ret_len > 0)
            memcpy(ptr, bytes.ptr + offset, *ret_len);
        return DGF_OK;
    }
    return dgf_err_set(err, DGF_AGAIN, "there is no '%s'", name);
}

static enum dgf_rc memory_list(struct dgf_store *store, const char *prefix,
                               enum dgf_rc (*visit)(void *ctx, const char *name,
                                                    uint64_t size),
                               void *ctx, struct dgf_err *err)
{
    struct objects *objects = (struct objects *)store;

    (void)err;
    for (size_t i = 0; i < objects->n; i++) {
        enum dgf_rc rc = DGF_OK;

        if (strncmp(objects->list[i].name, prefix, strlen(prefix)) == 0)
            rc = visit(ctx, objects->list[i].name, objects->list[i].bytes.len);
        if (rc)
            return rc;
    }
    return DGF_OK;
}

static void add(struct objects *objects, struct dgf_bytes name, struct dgf_bytes bytes)
{
    if (objects->n == MAX_OBJECTS || name.len >= sizeof(objects->list[0].name))
        return;
    memset(objects->list[objects->n].name, 0, sizeof(objects->list[0].name));
    memcpy(objects->list[objects->n].name, name.ptr, name.len);
    objects->list[objects->n++].bytes = bytes;
}

static struct objects all;

static void reset(void)
{
    all.base.read = memory_read;
    all.base.list = memory_list;
    all.n = 0;
}

/* ---- modes --------------------------------------------------------------- */

static bool same_field(struct dgf_bytes a, struct dgf_bytes b)
{
    return a.ptr == b.ptr && a.len == b.len;
}

/* The last of several lines, read with the shapes of those before it. */
static void line_like_others(struct dgf_bytes text)
{
    struct dgf_archive_line fields, seen;
    struct dgf_shapes shapes;
    const uint8_t *lf;

    dgf_shapes_init(&shapes);
    while ((lf = text.len ? memchr(text.ptr, '\n', text.len) : NULL)) {
        size_t n = (size_t)(lf - text.ptr);

        (void)dgf_shapes_read(&shapes, dgf_bytes_of(text.ptr, n), &seen);
        text = dgf_bytes_of(lf + 1, text.len - n - 1);
    }
    need(dgf_shapes_read(&shapes, text, &seen) == dgf_archive_line_read(text, &fields),
         "a shape lets in what is no record, or keeps one out");
    need(same_field(seen.seq, fields.seq) && same_field(seen.kind, fields.kind) &&
             same_field(seen.time, fields.time) &&
             same_field(seen.logged, fields.logged),
         "a shape gives other fields");
}

static void line(struct dgf_bytes text)
{
    struct dgf_archive_line fields;
    enum dgf_line_is is = dgf_archive_line_read(text, &fields);
    uint64_t seq;

    (void)dgf_archive_line_seq(text, &seq);
    need(is == DGF_LINE_OK || (!fields.kind.ptr && !fields.seq.ptr),
         "fields of what is no record");
    line_like_others(text);
}

static void proof(struct dgf_bytes text)
{
    const uint8_t *nul = text.len ? memchr(text.ptr, 0, text.len) : NULL;
    struct dgf_bytes rest = {NULL, 0};
    struct dgf_proof_verdict verdict;
    struct dgf_proof one, two;
    struct dgf_err err;
    struct dgf_buf again;
    const char *what;

    if (nul) {
        rest = dgf_bytes_of(nul + 1, (size_t)(text.ptr + text.len - nul) - 1);
        text.len = (size_t)(nul - text.ptr);
    }
    need(dgf_proof_check(text, rest, key, 1, &verdict, &err) == DGF_OK, "a verdict");
    if (!dgf_proof_get(text, &one, &what))
        return;
    dgf_buf_init(&again, 1 << 20);
    dgf_proof_put(&one, &again);
    need(dgf_proof_get(dgf_buf_bytes(&again), &two, &what) && two.index == one.index &&
             two.n == one.n && memcmp(one.hashes, two.hashes, one.n * 32) == 0,
         "a proof is read as it was written");
    dgf_buf_release(&again);
}

static void manifest(struct dgf_bytes text)
{
    struct dgf_manifest one, two;
    struct dgf_err err;
    struct dgf_buf again;

    dgf_manifest_init(&one);
    dgf_manifest_init(&two);
    dgf_buf_init(&again, 16 << 20);
    if (dgf_manifest_get(text, &one, &err) == DGF_OK) {
        dgf_manifest_put(&one, &again);
        if (again.len <= DGF_MANIFEST_MAX_BYTES)
            need(dgf_manifest_get(dgf_buf_bytes(&again), &two, &err) == DGF_OK &&
                     two.last == one.last && two.n_sources == one.n_sources,
                 "a manifest is read as it was written");
    }
    dgf_manifest_release(&one);
    dgf_manifest_release(&two);
    dgf_buf_release(&again);
}

static void segment(struct dgf_bytes bytes)
{
    struct dgf_archive_reader *reader = NULL;
    struct dgf_bytes text;
    struct dgf_err err;
    uint64_t index, n = 0;

    reset();
    add(&all, DGF_BYTES("segments/0.ndjson.zst"), bytes);
    need(dgf_archive_reader_open(&all.base, 0, &reader, &err) == DGF_OK, "a reader");
    while (dgf_archive_reader_next(reader, &index, &text, &err) == DGF_OK)
        need(index == n++, "records in order");
    dgf_archive_reader_free(reader);
}

static void hear(void *ctx, const char *text)
{
    need(*text != '\0', "a sentence");
    ++*(unsigned *)ctx;
}

/* Reads it all as `dgf ledger cat` does. */
static void read_checked(uint64_t from, uint64_t until)
{
    struct dgf_archive_checked *checked = NULL;
    struct dgf_bytes text;
    struct dgf_err err;
    uint64_t index, least = from;
    unsigned heard = 0;

    if (dgf_archive_checked_open(&all.base, from, until, hear, &heard, &checked, &err))
        return;
    while (dgf_archive_checked_next(checked, &index, &text, &err) == DGF_OK) {
        need(index >= least && index < until, "records in order");
        least = index + 1;
    }
    need(!dgf_archive_checked_lacks(checked) || heard > 0, "what is missing is said");
    dgf_archive_checked_free(checked);
}

static void archive(struct dgf_bytes bytes)
{
    struct dgf_archive_trust trust = {.vkeys = key, .n_vkeys = 1};
    struct dgf_archive_verdict verdict;
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_err err;

    reset();
    while (dgf_rd_left(&rd) > 0 && !rd.bad) {
        struct dgf_bytes name = dgf_rd_bytes(&rd, dgf_rd_u8(&rd));
        struct dgf_bytes content = dgf_rd_bytes(&rd, dgf_rd_le32(&rd));

        if (!rd.bad && name.len > 0 && !memchr(name.ptr, 0, name.len))
            add(&all, name, content);
    }
    trust.n_vkeys = bytes.len & 1;
    if (dgf_archive_verify(&all.base, &trust, &verdict, &err) == DGF_OK)
        need((verdict.class == NULL) == (verdict.result == DGF_VERIFIED_OK),
             "a class with what is wrong");
    read_checked(0, UINT64_MAX);
    read_checked(bytes.len % 7, 9);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    struct dgf_bytes rest = dgf_bytes_of(ptr + 1, len ? len - 1 : 0);
    struct dgf_head_said head;
    struct dgf_err err;

    if (len == 0)
        return 0;
    switch (*ptr) {
    case 'a':
        archive(rest);
        break;
    case 'p':
        proof(rest);
        break;
    case 'c':
        need(dgf_head_read(rest, key, 1, &head, &err) == DGF_OK, "a verdict");
        break;
    case 'm':
        manifest(rest);
        break;
    case 's':
        segment(rest);
        break;
    default: /* the quickest gets what is left over */
        line(rest);
    }
    return 0;
}
