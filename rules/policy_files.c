/* policy_files.c - which files the paths on a command line or in a configuration
 * mean. */
#include "policy_load.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "policy_test.h"

#define MAX_FILES 10000
#define MAX_FOLDERS 16

struct paths {
    char **list;
    size_t n, cap;
    bool nomem;
};

static void free_paths(struct paths *paths)
{
    for (size_t i = 0; i < paths->n; i++)
        dgf_free(paths->list[i]);
    dgf_free(paths->list);
    *paths = (struct paths){.list = NULL};
}

static void add_path(struct paths *paths, const char *path)
{
    char **list =
        dgf_policy_array_grow(paths->list, paths->n, &paths->cap, sizeof(*list));
    char *copy = list ? dgf_strdup(path) : NULL;

    if (list)
        paths->list = list;
    if (copy)
        list[paths->n++] = copy;
    else
        paths->nomem = true;
}

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);

    return n > t && strcmp(name + n - t, tail) == 0;
}

bool dgf_policy_is_test_file(const char *name)
{
    return ends_with(name, "_test.yaml") || ends_with(name, "_test.yml");
}

static bool is_policy_file(const char *name)
{
    return name[0] != '.' && (ends_with(name, ".yaml") || ends_with(name, ".yml")) &&
           !dgf_policy_is_test_file(name);
}

struct folder {
    const char *path;
    struct paths *files, *folders;
    bool tests;
};

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void visit(void *ctx, const char *name)
{
    struct folder *folder = ctx;
    struct dgf_buf path;

    if (name[0] == '.')
        return;
    dgf_buf_init(&path, 8 * 1024);
    dgf_buf_addf(&path, "%s%s%s", folder->path, ends_with(folder->path, "/") ? "" : "/",
                 name);
    if (dgf_buf_rc(&path))
        folder->files->nomem = true;
    else if (is_folder(dgf_buf_str(&path)))
        add_path(folder->folders, dgf_buf_str(&path));
    else if (folder->tests ? dgf_policy_is_test_file(name) : is_policy_file(name))
        add_path(folder->files, dgf_buf_str(&path));
    dgf_buf_release(&path);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_folder(struct paths *files, const char *path, bool tests,
                       unsigned depth, struct dgf_findings *findings)
{
    struct paths found = {.list = NULL}, folders = {.list = NULL};
    struct folder folder = {path, &found, &folders, tests};
    struct dgf_err err;

    if (dgf_dir_list(path, visit, &folder, &err))
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0444",
                         (struct dgf_mark){.file = path, .len = 1}, NULL, "%s",
                         err.text);
    if (found.n > 1)
        qsort(found.list, found.n, sizeof(*found.list), by_text);
    if (folders.n > 1)
        qsort(folders.list, folders.n, sizeof(*folders.list), by_text);
    for (size_t i = 0; i < found.n && files->n < MAX_FILES; i++)
        add_path(files, found.list[i]);
    for (size_t i = 0; i < folders.n && depth < MAX_FOLDERS; i++)
        add_folder(files, folders.list[i], tests, depth + 1, findings);
    files->nomem |= found.nomem || folders.nomem;
    free_paths(&found);
    free_paths(&folders);
}

/* A file that is named twice, by itself and in its folder, counts once. */
static void drop_twins(struct paths *files)
{
    struct stat *stats = dgf_calloc(files->n + 1, sizeof(*stats));
    size_t kept = 0;

    for (size_t i = 0; stats && i < files->n; i++) {
        bool twin = false;

        if (stat(files->list[i], &stats[kept]) == 0)
            for (size_t j = 0; j < kept && !twin; j++)
                twin = stats[j].st_ino == stats[kept].st_ino &&
                       stats[j].st_dev == stats[kept].st_dev && stats[j].st_ino;
        else
            memset(&stats[kept], 0, sizeof(*stats));
        if (twin)
            dgf_free(files->list[i]);
        else
            files->list[kept++] = files->list[i];
    }
    if (stats)
        files->n = kept;
    dgf_free(stats);
}

enum dgf_rc dgf_policy_files(const char *const *paths, size_t n_paths, bool tests,
                             struct dgf_findings *findings, struct dgf_str_list *ret)
{
    struct paths files = {.list = NULL};

    for (size_t i = 0; i < n_paths; i++) {
        if (is_folder(paths[i]))
            add_folder(&files, paths[i], tests, 0, findings);
        else if (tests == dgf_policy_is_test_file(paths[i]))
            add_path(&files, paths[i]);
    }
    drop_twins(&files);
    if (files.nomem) {
        free_paths(&files);
        return DGF_NOMEM;
    }
    ret->list = files.list;
    ret->n = files.n;
    return DGF_OK;
}

void dgf_policy_files_release(struct dgf_str_list *files)
{
    for (size_t i = 0; i < files->n; i++)
        dgf_free(files->list[i]);
    dgf_free(files->list);
    *files = (struct dgf_str_list){.list = NULL};
}
