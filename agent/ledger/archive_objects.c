/* Files of an archive: aside, synced, renamed, their folders synced. */
#include <stdio.h>

#include "ledger/archive_impl.h"

#define MAX_FOLDERS 4096

void dgf_objects_release(struct dgf_objects *objects)
{
    for (size_t i = 0; i < objects->n_folders; i++)
        dgf_free(objects->folders[i]);
    dgf_free(dgf_steal(objects->folders));
    objects->n_folders = 0;
}

void dgf_objects_path(const struct dgf_objects *objects, const char *name, char *to)
{
    (void)snprintf(to, DGF_PATH_MAX, "%s/%s", objects->root, name);
}

void dgf_objects_temporary(const struct dgf_objects *objects, const char *name,
                           char *to)
{
    (void)snprintf(to, DGF_PATH_MAX, "%s/%s.tmp", objects->root, name);
}

static enum dgf_rc no_memory(struct dgf_err *err)
{
    return dgf_err_set(err, DGF_NOMEM, "cannot write the archive: out of memory");
}

/* Remembers that a folder has to be synced. */
static enum dgf_rc note_folder(struct dgf_objects *objects, const char *path,
                               size_t len, struct dgf_err *err)
{
    char **grown, *copy;

    for (size_t i = objects->n_folders; i-- > 0;)
        if (strlen(objects->folders[i]) == len &&
            memcmp(objects->folders[i], path, len) == 0)
            return DGF_OK;
    if (objects->n_folders == MAX_FOLDERS)
        return dgf_objects_sync_folders(objects, err);
    grown = dgf_realloc(objects->folders, (objects->n_folders + 1) * sizeof(*grown));
    copy = dgf_strndup(path, len);
    if (grown)
        objects->folders = grown;
    if (!grown || !copy) {
        dgf_free(copy);
        return no_memory(err);
    }
    objects->folders[objects->n_folders++] = copy;
    return DGF_OK;
}

enum dgf_rc dgf_objects_folders(struct dgf_objects *objects, const char *name,
                                struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    size_t root = strlen(objects->root);
    enum dgf_rc rc = note_folder(objects, objects->root, root, err);

    dgf_objects_path(objects, name, path);
    for (char *slash = strchr(path + root + 1, '/'); !rc && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        rc = dgf_dir_make(path, err);
        if (!rc)
            rc = note_folder(objects, path, strlen(path), err);
        *slash = '/';
    }
    return rc;
}

enum dgf_rc dgf_objects_create(struct dgf_objects *objects, const char *name,
                               struct dgf_file **ret, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    enum dgf_rc rc = dgf_objects_folders(objects, name, err);

    dgf_objects_temporary(objects, name, path);
    if (!rc && dgf_file_exists(path))
        rc = dgf_file_remove(path, err);
    return rc ? rc : dgf_file_open(path, DGF_FILE_CREATE, ret, err);
}

enum dgf_rc dgf_objects_write(struct dgf_file *file, uint64_t *at,
                              struct dgf_bytes bytes, struct dgf_err *err)
{
    enum dgf_rc rc = dgf_file_reserve(file, *at, bytes.len, err);

    if (!rc)
        rc = dgf_file_write(file, *at, bytes, err);
    if (!rc)
        *at += bytes.len;
    return rc;
}

enum dgf_rc dgf_objects_put(struct dgf_objects *objects, const char *name,
                            struct dgf_bytes bytes, struct dgf_err *err)
{
    struct dgf_file *file = NULL;
    uint64_t at = 0;
    enum dgf_rc rc = dgf_objects_create(objects, name, &file, err);

    if (!rc)
        rc = dgf_objects_write(file, &at, bytes, err);
    dgf_file_close(file);
    return rc;
}

enum dgf_rc dgf_objects_sync(struct dgf_objects *objects, const char *name,
                             struct dgf_err *err)
{
    struct dgf_file *file = NULL;
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    dgf_objects_temporary(objects, name, path);
    rc = dgf_file_open(path, DGF_FILE_WRITE, &file, err);
    if (!rc)
        rc = dgf_file_sync(file, err);
    dgf_file_close(file);
    return rc;
}

enum dgf_rc dgf_objects_rename(struct dgf_objects *objects, const char *name,
                               struct dgf_err *err)
{
    char from[DGF_PATH_MAX], to[DGF_PATH_MAX];
    enum dgf_rc rc = dgf_objects_folders(objects, name, err);

    dgf_objects_temporary(objects, name, from);
    dgf_objects_path(objects, name, to);
    return rc ? rc : dgf_file_rename(from, to, err);
}

enum dgf_rc dgf_objects_sync_folders(struct dgf_objects *objects, struct dgf_err *err)
{
    enum dgf_rc rc = DGF_OK;

    for (size_t i = 0; !rc && i < objects->n_folders; i++)
        rc = dgf_dir_sync(objects->folders[i], err);
    if (!rc)
        dgf_objects_release(objects);
    return rc;
}

enum dgf_rc dgf_objects_read(const struct dgf_objects *objects, const char *name,
                             size_t max, struct dgf_buf *to, struct dgf_err *err)
{
    char path[DGF_PATH_MAX];

    dgf_objects_path(objects, name, path);
    if (!dgf_file_exists(path))
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' is missing", path);
    return dgf_file_slurp(path, max, to, err);
}
