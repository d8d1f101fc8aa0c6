#include "simdisk.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_FILES 8192
#define SECTOR 512

struct write_op {
    uint64_t offset;
    size_t len;
    uint8_t *bytes; /* NULL: a truncation to offset */
    struct write_op *next;
};

struct inode {
    uint8_t *now, *safe; /* what a reader sees; what a crash leaves */
    size_t n_now, n_safe, cap_now, cap_safe;
    struct write_op *ops, **last_op;
    int links_now, links_safe;
    bool used;
};

struct name {
    char path[256];
    int now, safe; /* inode + 1; 0: not there */
};

struct dgf_file {
    int inode;
};

struct dgf_lock {
    int unused;
};

static struct inode inodes[MAX_FILES];
static struct name names[MAX_FILES];
static int n_names;
static uint64_t random_state;
static bool full;

void (*simdisk_on_crash_point)(const char *name);

void dgf_crash_point(const char *name)
{
    if (simdisk_on_crash_point)
        simdisk_on_crash_point(name);
}

uint64_t simdisk_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

/* ---- bytes ------------------------------------------------------------------- */

static void ensure(uint8_t **ptr, size_t *cap, size_t size)
{
    if (size <= *cap)
        return;
    size += size / 2 + 256;
    *ptr = realloc(*ptr, size);
    if (!*ptr)
        abort();
    memset(*ptr + *cap, 0, size - *cap);
    *cap = size;
}

static void put_bytes(uint8_t **ptr, size_t *n, size_t *cap, uint64_t offset,
                      const uint8_t *bytes, size_t len)
{
    ensure(ptr, cap, offset + len);
    if (offset > *n)
        memset(*ptr + *n, 0, offset - *n);
    if (len)
        memcpy(*ptr + offset, bytes, len);
    if (offset + len > *n)
        *n = offset + len;
}

static void drop_ops(struct inode *in)
{
    while (in->ops) {
        struct write_op *op = in->ops;

        in->ops = op->next;
        free(op->bytes);
        free(op);
    }
    in->last_op = &in->ops;
}

static void add_op(struct inode *in, uint64_t offset, const void *bytes, size_t len)
{
    struct write_op *op = calloc(1, sizeof(*op));

    if (!op)
        abort();
    op->offset = offset;
    op->len = len;
    if (bytes) {
        op->bytes = malloc(len ? len : 1);
        if (!op->bytes)
            abort();
        memcpy(op->bytes, bytes, len);
    }
    *in->last_op = op;
    in->last_op = &op->next;
}

static void inode_write(int at, uint64_t offset, const void *bytes, size_t len)
{
    struct inode *in = &inodes[at];

    put_bytes(&in->now, &in->n_now, &in->cap_now, offset, bytes, len);
    add_op(in, offset, bytes, len);
}

static void inode_truncate(int at, uint64_t size)
{
    struct inode *in = &inodes[at];

    if (size > in->n_now)
        put_bytes(&in->now, &in->n_now, &in->cap_now, size, (const uint8_t *)"", 0);
    in->n_now = size;
    add_op(in, size, NULL, 0);
}

static void inode_sync(int at)
{
    struct inode *in = &inodes[at];

    ensure(&in->safe, &in->cap_safe, in->n_now);
    if (in->n_now)
        memcpy(in->safe, in->now, in->n_now);
    in->n_safe = in->n_now;
    drop_ops(in);
}

static void safe_truncate(struct inode *in, size_t size)
{
    ensure(&in->safe, &in->cap_safe, size);
    if (size > in->n_safe)
        memset(in->safe + in->n_safe, 0, size - in->n_safe);
    in->n_safe = size;
}

/* What became of the writes nobody waited for. */
static void have_accidents(struct inode *in)
{
    for (struct write_op *op = in->ops; op; op = op->next) {
        uint64_t dice = simdisk_random() % 4;
        size_t len = op->len;

        if (dice == 0)
            continue;
        if (!op->bytes) {
            safe_truncate(in, op->offset);
            continue;
        }
        if (dice == 1 && len > 1) {
            len = simdisk_random() % len;
            if (simdisk_random() % 2)
                len -= len % SECTOR;
        }
        if (len)
            put_bytes(&in->safe, &in->n_safe, &in->cap_safe, op->offset, op->bytes,
                      len);
    }
    drop_ops(in);
}

/* ---- names -------------------------------------------------------------------- */

static struct name *find(const char *path, bool make)
{
    for (int i = 0; i < n_names; i++)
        if (strcmp(names[i].path, path) == 0)
            return &names[i];
    if (!make)
        return NULL;
    if (n_names == MAX_FILES || strlen(path) >= sizeof(names[0].path))
        abort();
    memset(&names[n_names], 0, sizeof(names[0]));
    memcpy(names[n_names].path, path, strlen(path) + 1);
    return &names[n_names++];
}

static int new_inode(void)
{
    for (int i = 0; i < MAX_FILES; i++) {
        struct inode *in = &inodes[i];

        if (in->used)
            continue;
        in->used = true;
        in->n_now = in->n_safe = 0;
        in->last_op = &in->ops;
        return i;
    }
    abort();
}

/* Gives back inodes and names nothing points to. */
static void collect(void)
{
    bool seen[MAX_FILES] = {false};
    int kept = 0;

    for (int i = 0; i < n_names; i++) {
        if (names[i].now)
            seen[names[i].now - 1] = true;
        if (names[i].safe)
            seen[names[i].safe - 1] = true;
        if (names[i].now || names[i].safe)
            names[kept++] = names[i];
    }
    n_names = kept;
    for (int i = 0; i < MAX_FILES; i++)
        if (inodes[i].used && !seen[i]) {
            drop_ops(&inodes[i]);
            inodes[i].used = false;
        }
}

void simdisk_format(uint64_t seed)
{
    random_state = seed * 2 + 1;
    n_names = 0;
    full = false;
    collect();
}

void simdisk_crash(void)
{
    for (int i = 0; i < n_names; i++) {
        /* a change of a name nobody synced may or may not have happened */
        if (names[i].now != names[i].safe && simdisk_random() % 2)
            names[i].safe = names[i].now;
        names[i].now = names[i].safe;
    }
    for (int i = 0; i < MAX_FILES; i++) {
        struct inode *in = &inodes[i];

        if (!in->used)
            continue;
        have_accidents(in);
        ensure(&in->now, &in->cap_now, in->n_safe);
        if (in->n_safe)
            memcpy(in->now, in->safe, in->n_safe);
        in->n_now = in->n_safe;
    }
    full = false;
    collect();
}

void simdisk_kill(void)
{
    full = false;
    collect();
}

void simdisk_set_full(bool is_full)
{
    full = is_full;
}

void simdisk_put(const char *path, const char *text)
{
    struct name *name = find(path, true);

    if (!name->now)
        name->now = name->safe = new_inode() + 1;
    inode_truncate(name->now - 1, 0);
    inode_write(name->now - 1, 0, text, strlen(text));
    inode_sync(name->now - 1);
}

/* ---- base/file.h ----------------------------------------------------------------- */

enum dgf_rc dgf_file_open(const char *path, enum dgf_file_mode mode,
                          struct dgf_file **ret, struct dgf_err *err)
{
    struct name *name = find(path, mode == DGF_FILE_CREATE);

    if (mode == DGF_FILE_CREATE) {
        if (name->now)
            return dgf_err_set(err, DGF_RETRY, "cannot create '%s': it exists", path);
        name->now = new_inode() + 1;
    } else if (!name || !name->now) {
        return dgf_err_set(err, DGF_RETRY, "cannot open '%s': no such file", path);
    }
    *ret = dgf_malloc(sizeof(**ret));
    if (!*ret)
        return DGF_NOMEM;
    (*ret)->inode = name->now - 1;
    return DGF_OK;
}

void dgf_file_close(struct dgf_file *file)
{
    dgf_free(file);
}

enum dgf_rc dgf_file_read(struct dgf_file *file, uint64_t offset, void *ptr, size_t len,
                          size_t *ret_len, struct dgf_err *err)
{
    struct inode *in = &inodes[file->inode];
    size_t n = offset >= in->n_now ? 0 : in->n_now - offset;

    (void)err;
    if (n > len)
        n = len;
    if (n)
        memcpy(ptr, in->now + offset, n);
    *ret_len = n;
    return DGF_OK;
}

enum dgf_rc dgf_file_write(struct dgf_file *file, uint64_t offset,
                           struct dgf_bytes bytes, struct dgf_err *err)
{
    (void)err;
    inode_write(file->inode, offset, bytes.ptr, bytes.len);
    return DGF_OK;
}

enum dgf_rc dgf_file_sync(struct dgf_file *file, struct dgf_err *err)
{
    (void)err;
    inode_sync(file->inode);
    return DGF_OK;
}

enum dgf_rc dgf_file_reserve(struct dgf_file *file, uint64_t offset, uint64_t len,
                             struct dgf_err *err)
{
    struct inode *in = &inodes[file->inode];

    if (full)
        return dgf_err_set(err, DGF_AGAIN, "no space left on device");
    if (offset + len > in->n_now)
        inode_truncate(file->inode, offset + len);
    return DGF_OK;
}

enum dgf_rc dgf_file_size(struct dgf_file *file, uint64_t *ret, struct dgf_err *err)
{
    (void)err;
    *ret = inodes[file->inode].n_now;
    return DGF_OK;
}

enum dgf_rc dgf_file_truncate(struct dgf_file *file, uint64_t size, struct dgf_err *err)
{
    (void)err;
    inode_truncate(file->inode, size);
    return DGF_OK;
}

enum dgf_rc dgf_file_remove(const char *path, struct dgf_err *err)
{
    struct name *name = find(path, false);

    if (!name || !name->now)
        return dgf_err_set(err, DGF_RETRY, "cannot remove '%s': no such file", path);
    name->now = 0;
    return DGF_OK;
}

enum dgf_rc dgf_file_rename(const char *from, const char *to, struct dgf_err *err)
{
    struct name *old = find(from, false), *target;
    int inode;

    if (!old || !old->now)
        return dgf_err_set(err, DGF_RETRY, "cannot rename '%s': no such file", from);
    inode = old->now;
    old->now = 0;
    target = find(to, true);
    target->now = inode;
    return DGF_OK;
}

bool dgf_file_exists(const char *path)
{
    struct name *name = find(path, false);
    size_t len = strlen(path);

    if (name && name->now)
        return true;
    for (int i = 0; i < n_names; i++) /* a folder is there when something is in it */
        if (names[i].now && strncmp(names[i].path, path, len) == 0 &&
            names[i].path[len] == '/')
            return true;
    return false;
}

enum dgf_rc dgf_dir_make(const char *path, struct dgf_err *err)
{
    (void)path;
    (void)err;
    return DGF_OK;
}

/* Everything directly in path. */
static bool is_in(const char *path, const char *folder)
{
    size_t len = strlen(folder);

    return strncmp(path, folder, len) == 0 && path[len] == '/' &&
           !strchr(path + len + 1, '/');
}

enum dgf_rc dgf_dir_sync(const char *path, struct dgf_err *err)
{
    (void)err;
    for (int i = 0; i < n_names; i++)
        if (is_in(names[i].path, path))
            names[i].safe = names[i].now;
    return DGF_OK;
}

enum dgf_rc dgf_dir_list(const char *path, void (*visit)(void *ctx, const char *name),
                         void *ctx, struct dgf_err *err)
{
    (void)err;
    for (int i = 0; i < n_names; i++)
        if (names[i].now && is_in(names[i].path, path))
            visit(ctx, names[i].path + strlen(path) + 1);
    return DGF_OK;
}

enum dgf_rc dgf_file_slurp(const char *path, size_t max, struct dgf_buf *ret,
                           struct dgf_err *err)
{
    struct name *name = find(path, false);

    if (!name || !name->now)
        return dgf_err_set(err, DGF_RETRY, "cannot open '%s': no such file", path);
    if (inodes[name->now - 1].n_now > max)
        return dgf_err_set(err, DGF_BAD_DATA, "'%s' is too large", path);
    dgf_buf_add(ret, inodes[name->now - 1].now, inodes[name->now - 1].n_now);
    return dgf_buf_rc(ret);
}

/* Written aside, synced, renamed, folder synced: all or nothing. */
enum dgf_rc dgf_file_replace(const char *path, struct dgf_bytes bytes, unsigned mode,
                             struct dgf_err *err)
{
    struct name *name;
    int inode;

    (void)mode;
    if (full)
        return dgf_err_set(err, DGF_AGAIN, "no space left on device");
    name = find(path, true);
    inode = new_inode();
    inode_write(inode, 0, bytes.ptr, bytes.len);
    inode_sync(inode);
    name->now = name->safe = inode + 1;
    return DGF_OK;
}

enum dgf_rc dgf_lock_take(const char *path, struct dgf_lock **ret, int *ret_pid,
                          struct dgf_err *err)
{
    (void)path;
    (void)ret_pid;
    (void)err;
    *ret = dgf_malloc(sizeof(**ret));
    return *ret ? DGF_OK : DGF_NOMEM;
}

void dgf_lock_free(struct dgf_lock *lock)
{
    dgf_free(lock);
}

/* ---- the VFS ---- */

struct vfs_file {
    sqlite3_file base;
    int inode;
    char path[256];
    bool remove_on_close;
};

static int v_close(sqlite3_file *f)
{
    struct vfs_file *file = (struct vfs_file *)f;
    struct name *name = find(file->path, false);

    if (file->remove_on_close && name)
        name->now = 0;
    return SQLITE_OK;
}

static int v_read(sqlite3_file *f, void *ptr, int len, sqlite3_int64 offset)
{
    struct inode *in = &inodes[((struct vfs_file *)f)->inode];
    size_t n = (size_t)offset >= in->n_now ? 0 : in->n_now - (size_t)offset;

    if (n > (size_t)len)
        n = (size_t)len;
    if (n)
        memcpy(ptr, in->now + offset, n);
    if (n == (size_t)len)
        return SQLITE_OK;
    memset((uint8_t *)ptr + n, 0, (size_t)len - n);
    return SQLITE_IOERR_SHORT_READ;
}

static int v_write(sqlite3_file *f, const void *ptr, int len, sqlite3_int64 offset)
{
    inode_write(((struct vfs_file *)f)->inode, (uint64_t)offset, ptr, (size_t)len);
    return SQLITE_OK;
}

static int v_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    inode_truncate(((struct vfs_file *)f)->inode, (uint64_t)size);
    return SQLITE_OK;
}

static int v_sync(sqlite3_file *f, int flags)
{
    (void)flags;
    inode_sync(((struct vfs_file *)f)->inode);
    return SQLITE_OK;
}

static int v_size(sqlite3_file *f, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)inodes[((struct vfs_file *)f)->inode].n_now;
    return SQLITE_OK;
}

static int v_lock(sqlite3_file *f, int level)
{
    (void)f;
    (void)level;
    return SQLITE_OK;
}

static int v_reserved(sqlite3_file *f, int *ret)
{
    (void)f;
    *ret = 0;
    return SQLITE_OK;
}

static int v_control(sqlite3_file *f, int op, void *arg)
{
    (void)f;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int v_sector(sqlite3_file *f)
{
    (void)f;
    return SECTOR;
}

static int v_features(sqlite3_file *f)
{
    (void)f;
    return 0;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1,
    .xClose = v_close,
    .xRead = v_read,
    .xWrite = v_write,
    .xTruncate = v_truncate,
    .xSync = v_sync,
    .xFileSize = v_size,
    .xLock = v_lock,
    .xUnlock = v_lock,
    .xCheckReservedLock = v_reserved,
    .xFileControl = v_control,
    .xSectorSize = v_sector,
    .xDeviceCharacteristics = v_features,
};

static int v_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *f, int flags,
                  int *ret_flags)
{
    static int n_temporary;
    struct vfs_file *file = (struct vfs_file *)f;
    struct name *name;

    (void)vfs;
    memset(file, 0, sizeof(*file));
    if (path)
        snprintf(file->path, sizeof(file->path), "%s", path);
    else
        snprintf(file->path, sizeof(file->path), "/tmp/%d", n_temporary++);
    name = find(file->path, true);
    if (!name->now) {
        if (!(flags & SQLITE_OPEN_CREATE))
            return SQLITE_CANTOPEN;
        name->now = new_inode() + 1;
    }
    file->inode = name->now - 1;
    file->remove_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    file->base.pMethods = &methods;
    if (ret_flags)
        *ret_flags = flags;
    return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    struct name *name = find(path, false);

    (void)vfs;
    if (!name || !name->now)
        return SQLITE_IOERR_DELETE_NOENT;
    name->now = 0;
    if (sync_dir)
        name->safe = 0;
    return SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
    (void)vfs;
    (void)flags;
    *ret = dgf_file_exists(path);
    return SQLITE_OK;
}

static int v_full_path(sqlite3_vfs *vfs, const char *path, int size, char *ret)
{
    (void)vfs;
    snprintf(ret, (size_t)size, "%s", path);
    return SQLITE_OK;
}

static int v_random(sqlite3_vfs *vfs, int len, char *ret)
{
    (void)vfs;
    for (int i = 0; i < len; i++)
        ret[i] = (char)simdisk_random();
    return len;
}

static int v_sleep(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    return us;
}

static int v_time(sqlite3_vfs *vfs, double *ret)
{
    (void)vfs;
    *ret = 2460000.5;
    return SQLITE_OK;
}

static int v_last_error(sqlite3_vfs *vfs, int size, char *ret)
{
    (void)vfs;
    if (size)
        ret[0] = '\0';
    return 0;
}

void simdisk_register_vfs(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(struct vfs_file),
        .mxPathname = 255,
        .zName = "simdisk",
        .xOpen = v_open,
        .xDelete = v_delete,
        .xAccess = v_access,
        .xFullPathname = v_full_path,
        .xRandomness = v_random,
        .xSleep = v_sleep,
        .xCurrentTime = v_time,
        .xGetLastError = v_last_error,
    };

    if (sqlite3_vfs_register(&vfs, 1))
        abort();
}
