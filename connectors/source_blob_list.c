/* source_blob_list.c - names of blobs and folders of a container, a page at a time. */
#include <stdio.h>

#include "azure_xml.h"
#include "base/parse.h"
#include "source_blob.h"

#define LIST_MAX_BYTES ((size_t)16 << 20)
#define NAME_MAX_BYTES 4096

static bool ends_in(const char *path, const char *end)
{
    size_t n = strlen(path), m = strlen(end);

    return n >= m && strcmp(path + n - m, end) == 0;
}

static enum dgf_rc on_list_end(void *ctx, const char *path, struct dgf_bytes text,
                               struct dgf_err *err)
{
    struct dgf_blobs_list *list = ctx;

    if (ends_in(path, "Blob/Name") || ends_in(path, "BlobPrefix/Name")) {
        dgf_buf_clear(&list->name);
        dgf_buf_add_bytes(&list->name, text);
        list->size = 0;
    } else if (ends_in(path, "Properties/Content-Length")) {
        if (!dgf_parse_u64(text, &list->size))
            return dgf_err_set(err, DGF_BAD_DATA, "the size of a blob is no number");
    } else if (ends_in(path, "Blobs/Blob") || ends_in(path, "Blobs/BlobPrefix")) {
        list->is_folder = ends_in(path, "BlobPrefix");
        if (!list->take(list))
            return dgf_err_set(err, DGF_BAD_DATA, "it names more than can be read");
    } else if (ends_in(path, "EnumerationResults/NextMarker")) {
        dgf_buf_clear(&list->marker);
        dgf_buf_add_bytes(&list->marker, text);
    }
    return DGF_OK;
}

enum dgf_rc dgf_blobs_list_read(struct dgf_bytes body, struct dgf_blobs_list *list,
                                char marker[DGF_BLOB_MARKER_MAX], struct dgf_err *err)
{
    static const struct dgf_azure_xml_calls calls = {.end = on_list_end};
    enum dgf_rc rc;

    dgf_buf_init(&list->name, 2048);
    dgf_buf_init(&list->marker, DGF_BLOB_MARKER_MAX - 1);
    rc = dgf_azure_xml_read(body, NAME_MAX_BYTES, &calls, list, err);
    if (!rc && (dgf_buf_rc(&list->name) || dgf_buf_rc(&list->marker)))
        rc = dgf_err_set(err, DGF_BAD_DATA, "a name is too long");
    (void)snprintf(marker, DGF_BLOB_MARKER_MAX, "%s", dgf_buf_str(&list->marker));
    dgf_buf_release(&list->name);
    dgf_buf_release(&list->marker);
    return rc;
}

bool dgf_blobs_list_ask(struct dgf_blobs_source *self, const char *container,
                        const char *prefix, bool folders, const char *marker,
                        void (*done)(void *ctx, const struct dgf_azure_answer *answer))
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf query = {0};
    struct dgf_azure_ask ask = {.method = "GET",
                                .path = container,
                                .max_body = LIST_MAX_BYTES,
                                .done = done,
                                .ctx = self};

    dgf_buf_init(&query, 8192);
    dgf_buf_add_str(&query, "restype=container&comp=list&prefix=");
    dgf_azure_encode(&query, dgf_bytes_str(prefix));
    if (folders)
        dgf_buf_add_str(&query, "&delimiter=%2F");
    if (marker[0]) {
        dgf_buf_add_str(&query, "&marker=");
        dgf_azure_encode(&query, dgf_bytes_str(marker));
    }
    ask.query = dgf_buf_str(&query);
    if (dgf_buf_rc(&query)) {
        dgf_blobs_fail(self, DGF_RETRY, "out of memory");
        return false;
    }
    return dgf_blobs_ask(self, self->blob_rest, &ask);
}
