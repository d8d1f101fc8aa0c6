/* What the sink must understand of objects it carries: enough to see which of two
 * checkpoints is newer, and to name the roots of two histories. */
#include "sink_blob.h"

#include "base/parse.h"

bool dgf_blob_checkpoint_size(struct dgf_bytes note, uint64_t *ret)
{
    const uint8_t *end = note.ptr + note.len, *line, *stop;

    if (note.len == 0)
        return false;
    line = memchr(note.ptr, '\n', note.len);
    if (!line)
        return false;
    line++;
    stop = memchr(line, '\n', (size_t)(end - line));
    return stop && dgf_parse_u64(dgf_bytes_of(line, (size_t)(stop - line)), ret);
}

bool dgf_blob_manifest_root(struct dgf_bytes manifest, char ret[65])
{
    static const char key[] = "\"root_after\":\"";
    const uint8_t *at = NULL;
    uint8_t root[DGF_SHA256_LEN];

    if (manifest.len)
        at = memmem(manifest.ptr, manifest.len, key, sizeof(key) - 1);
    if (!at)
        return false;
    at += sizeof(key) - 1;
    if (manifest.ptr + manifest.len - at < 64 ||
        !dgf_parse_hex(dgf_bytes_of(at, 64), root, sizeof(root)))
        return false;
    memcpy(ret, at, 64);
    ret[64] = '\0';
    return true;
}

bool dgf_blob_range_total(const char *content_range, uint64_t *ret)
{
    const char *slash = strrchr(content_range, '/');

    return slash && dgf_parse_u64(dgf_bytes_str(slash + 1), ret);
}
