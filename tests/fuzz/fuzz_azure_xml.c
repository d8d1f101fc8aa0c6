/* XML as Azure Storage answers it: whatever the bytes, begins and ends are paired,
 * no path is longer or deeper and no text longer than promised, and what is refused
 * says why. */
#include <assert.h>
#include <stdint.h>

#include "azure_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

#define MAX_TEXT 64

struct seen {
    unsigned depth;
};

static unsigned depth_of(const char *path)
{
    unsigned n = 1;

    assert(strlen(path) < DGF_AZURE_XML_PATH);
    for (; *path; path++)
        n += *path == '/';
    return n;
}

static enum dgf_rc on_begin(void *ctx, const char *path, struct dgf_err *err)
{
    struct seen *seen = ctx;

    (void)err;
    assert(depth_of(path) == ++seen->depth && seen->depth <= DGF_AZURE_XML_DEPTH);
    return DGF_OK;
}

static enum dgf_rc on_end(void *ctx, const char *path, struct dgf_bytes text,
                          struct dgf_err *err)
{
    struct seen *seen = ctx;

    (void)err;
    assert(depth_of(path) == seen->depth-- && text.len <= MAX_TEXT);
    return DGF_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    static const struct dgf_azure_xml_calls calls = {.begin = on_begin, .end = on_end};
    struct seen seen = {0};
    struct dgf_err err = {0};
    enum dgf_rc rc =
        dgf_azure_xml_read(dgf_bytes_of(ptr, len), MAX_TEXT, &calls, &seen, &err);

    assert(rc == DGF_OK ? seen.depth == 0 : rc == DGF_BAD_DATA && err.text[0]);
    return 0;
}
