#include "ledger/store.h"

#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "ledger/segments.h"

#define DIR_MAX 3800 /* leaves room for the longest name below it */

/* The file that was read last stays open: objects are read in pieces. */
struct dir_store {
    struct dgf_store base;
    struct dgf_file *file;
    char name[256];
    char dir[DIR_MAX + 1];
};

/* Names come from manifests: none may lead out of the folder. */
static bool name_ok(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len >= sizeof(((struct dir_store *)0)->name) || name[0] == '/' ||
        strstr(name, ".."))
        return false;
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '.' ||
              *c == '/'))
            return false;
    return true;
}

static enum dgf_rc dir_open(struct dir_store *self, const char *name,
                            struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    if (self->file && strcmp(self->name, name) == 0)
        return DGF_OK;
    dgf_file_close(self->file);
    self->file = NULL;
    if (!name_ok(name))
        return dgf_err_set(err, DGF_AGAIN, "no archive has an object of such a name");
    (void)snprintf(path, sizeof(path), "%s/%s", self->dir, name);
    if (!dgf_file_exists(path))
        return dgf_err_set(err, DGF_AGAIN, "there is no '%s'", path);
    rc = dgf_file_open(path, DGF_FILE_READ, &self->file, err);
    if (rc)
        return rc;
    (void)snprintf(self->name, sizeof(self->name), "%s", name);
    return DGF_OK;
}

static enum dgf_rc dir_read(struct dgf_store *store, const char *name, uint64_t offset,
                            void *ptr, size_t len, size_t *ret_len, struct dgf_err *err)
{
    struct dir_store *self = (struct dir_store *)store;
    enum dgf_rc rc = dir_open(self, name, err);

    return rc ? rc : dgf_file_read(self->file, offset, ptr, len, ret_len, err);
}

struct listing {
    struct dir_store *self;
    char folder[256]; /* ends in a slash, or is empty */
    const char *prefix;
    enum dgf_rc (*visit)(void *ctx, const char *name, uint64_t size);
    void *ctx;
    unsigned depth;
    enum dgf_rc rc;
};

#define MAX_DEPTH 6

static void list_entry(void *ctx, const char *entry);

static enum dgf_rc list_folder(struct listing *listing, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    (void)snprintf(path, sizeof(path), "%s/%s", listing->self->dir, listing->folder);
    if (listing->depth > MAX_DEPTH || !dgf_file_exists(path))
        return DGF_OK;
    rc = dgf_dir_list(path, list_entry, listing, err);
    return rc ? rc : listing->rc;
}

static void list_entry(void *ctx, const char *entry)
{
    struct listing *listing = ctx, below;
    char path[DGF_PATH_MAX], name[256];
    size_t n_prefix = strlen(listing->prefix), n;
    struct dgf_file *file = NULL;
    struct dgf_err none;
    uint64_t size = 0;
    uint8_t byte;

    if (listing->rc || snprintf(name, sizeof(name), "%s%s", listing->folder, entry) >=
                           (int)sizeof(name))
        return;
    n = strlen(name);
    if (strncmp(name, listing->prefix, n < n_prefix ? n : n_prefix) != 0)
        return;
    (void)snprintf(path, sizeof(path), "%s/%s", listing->self->dir, name);
    if (dgf_file_open(path, DGF_FILE_READ, &file, &none))
        return; /* it went while we looked */
    /* A folder can be opened, and not read. */
    if (dgf_file_read(file, 0, &byte, 1, &n, &none)) {
        below = *listing;
        below.depth++;
        if (snprintf(below.folder, sizeof(below.folder), "%s/", name) <
            (int)sizeof(below.folder))
            listing->rc = list_folder(&below, &none);
    } else if (strlen(name) >= n_prefix && !dgf_file_size(file, &size, &none)) {
        listing->rc = listing->visit(listing->ctx, name, size);
    }
    dgf_file_close(file);
}

static enum dgf_rc dir_list(struct dgf_store *store, const char *prefix,
                            enum dgf_rc (*visit)(void *ctx, const char *name,
                                                 uint64_t size),
                            void *ctx, struct dgf_err *err)
{
    struct listing listing = {.self = (struct dir_store *)store,
                              .prefix = prefix,
                              .visit = visit,
                              .ctx = ctx};
    const char *slash = strrchr(prefix, '/');
    size_t n = slash ? (size_t)(slash - prefix) + 1 : 0;

    if (n >= sizeof(listing.folder))
        return DGF_OK;
    memcpy(listing.folder, prefix, n);
    return list_folder(&listing, err);
}

static void dir_free(struct dgf_store *store)
{
    struct dir_store *self = (struct dir_store *)store;

    dgf_file_close(self->file);
    dgf_free(self);
}

struct found {
    const char *dir;
    char log[64];
    unsigned n;
};

static bool holds_log(const char *dir)
{
    static const char *const objects[] = {"segments", "checkpoints", "checkpoint"};
    char path[DGF_PATH_MAX];

    for (size_t i = 0; i < DGF_ARRAY_LEN(objects); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, objects[i]);
        if (dgf_file_exists(path))
            return true;
    }
    return false;
}

static void look_at(void *ctx, const char *name)
{
    struct found *found = ctx;
    char path[DGF_PATH_MAX];

    if (strlen(name) >= sizeof(found->log) || name[0] == '.')
        return;
    (void)snprintf(path, sizeof(path), "%s/%s", found->dir, name);
    if (!holds_log(path))
        return;
    found->n++;
    (void)snprintf(found->log, sizeof(found->log), "%s", name);
}

bool dgf_store_dir_has_log(const char *dir)
{
    struct found found = {.dir = dir};
    struct dgf_err none;

    if (strlen(dir) + sizeof(found.log) + 1 > DIR_MAX)
        return false;
    return holds_log(dir) ||
           (!dgf_dir_list(dir, look_at, &found, &none) && found.n > 0);
}

enum dgf_rc dgf_store_open_dir(const char *dir, struct dgf_store **ret,
                               struct dgf_err *err)
{
    struct found found = {.dir = dir};
    struct dir_store *self;

    if (strlen(dir) + sizeof(found.log) + 1 > DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG, "the path '%.64s...' is too long", dir);
    if (!holds_log(dir)) {
        enum dgf_rc rc = dgf_dir_list(dir, look_at, &found, err);

        if (rc)
            return rc;
        if (found.n == 0)
            return dgf_err_set(err, DGF_BAD_CONFIG, "there is no archive in '%s'", dir);
        if (found.n > 1)
            return dgf_err_set(err, DGF_BAD_CONFIG,
                               "'%s' holds %u logs; name the folder of one", dir,
                               found.n);
    }
    self = dgf_calloc(1, sizeof(*self));
    if (!self)
        return dgf_err_set(err, DGF_NOMEM, "cannot read '%s': out of memory", dir);
    self->base.read = dir_read;
    self->base.list = dir_list;
    self->base.free = dir_free;
    (void)snprintf(self->dir, sizeof(self->dir), "%s%s%s", dir, found.n ? "/" : "",
                   found.log);
    *ret = &self->base;
    return DGF_OK;
}

void dgf_store_free(struct dgf_store *store)
{
    if (store)
        store->free(store);
}
