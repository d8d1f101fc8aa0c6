/* archive.c - the loop's half, and the sealing thread. */
#include "ledger/archive.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ledger/archive_impl.h"
#include "ledger/archive_state.h"

#define NO_SPACE_RETRY_MS 1000
#define LOOK_FOR_OLD_NS (60 * INT64_C(1000000000))

struct dgf_archive {
    struct dgf_sealer sealer; /* the sealing thread's */
    int64_t keep_ns;
    int64_t looked_ns; /* the thread's: when it last looked for old segments */

    /* the loop's */
    char root[DGF_ARCHIVE_DIR_MAX];
    struct dgf_objects policies; /* the same folder, with its own list to sync */
    struct dgf_manifest given;   /* of the piece that was asked for last */
    uint64_t given_next;
    uint64_t announced; /* prune_before */
    char missing[DGF_ARCHIVE_NAME_MAX];

    /* shared: the loop writes target and prune, the thread the others */
    _Atomic uint64_t target, prune;
    _Atomic uint64_t next, old;
    _Atomic int state;
    _Atomic bool stop;
    struct dgf_err failure;  /* valid when state is STOPPED */
    struct dgf_err no_space; /* the thread's */
    int loop_fd, thread_fd;
    pthread_t thread;
    bool has_thread;
};

DGF_CLEANUP_OF(struct dgf_archive *, dgf_archive_free)

static void wake(int fd)
{
    uint64_t one = 1;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

/* ---- the sealing thread --------------------------------------------------------- */

static void stop_sealing(struct dgf_archive *archive, const struct dgf_err *err)
{
    archive->failure = *err;
    atomic_store_explicit(&archive->state, DGF_ARCHIVE_STOPPED, memory_order_release);
    wake(archive->loop_fd);
}

static enum dgf_rc note_result(struct dgf_archive *archive, enum dgf_rc rc,
                               const struct dgf_err *err)
{
    if (rc == DGF_AGAIN) {
        atomic_store(&archive->state, DGF_ARCHIVE_NO_SPACE);
        wake(archive->loop_fd);
        return rc;
    }
    if (rc) {
        stop_sealing(archive, err);
        return rc;
    }
    atomic_store(&archive->state, DGF_ARCHIVE_OK);
    atomic_store_explicit(&archive->next, archive->sealer.next, memory_order_release);
    wake(archive->loop_fd);
    return DGF_OK;
}

static void look_for_old(struct dgf_archive *archive)
{
    int64_t now_ns = dgf_clock_ns();
    int64_t passed_ns = now_ns - archive->looked_ns;
    uint64_t old;

    if (passed_ns >= 0 && passed_ns < LOOK_FOR_OLD_NS)
        return;
    archive->looked_ns = now_ns;
    old = dgf_sealer_old(&archive->sealer, now_ns, archive->keep_ns);
    if (old > atomic_load(&archive->old)) {
        atomic_store(&archive->old, old);
        wake(archive->loop_fd);
    }
}

enum dgf_rc dgf_archive_step(struct dgf_archive *archive)
{
    uint64_t prune = atomic_load(&archive->prune);
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (atomic_load(&archive->state) == DGF_ARCHIVE_STOPPED)
        return DGF_AGAIN;
    if (prune > archive->sealer.oldest) {
        rc = dgf_sealer_prune(&archive->sealer, prune, &err);
        atomic_store(&archive->prune, 0);
        return note_result(archive, rc, &err);
    }
    if (archive->sealer.next >=
        atomic_load_explicit(&archive->target, memory_order_acquire))
        return DGF_AGAIN;
    rc = dgf_sealer_seal(&archive->sealer, &err);
    if (rc != DGF_AGAIN)
        archive->sealer.at.known = archive->sealer.at.known && !rc;
    if (!rc)
        look_for_old(archive);
    return note_result(archive, rc, &err);
}

static void *seal_main(void *arg)
{
    struct dgf_archive *archive = arg;

    for (;;) {
        struct pollfd fd = {.fd = archive->thread_fd, .events = POLLIN};
        bool retry;
        uint64_t n;

        while (!atomic_load(&archive->stop) && dgf_archive_step(archive) == DGF_OK)
            ;
        if (atomic_load(&archive->stop))
            return NULL;
        retry = atomic_load(&archive->state) == DGF_ARCHIVE_NO_SPACE;
        if (poll(&fd, 1, retry ? NO_SPACE_RETRY_MS : -1) > 0)
            (void)!read(archive->thread_fd, &n, sizeof(n));
    }
}

static enum dgf_rc start_thread(struct dgf_archive *archive, struct dgf_err *err)
{
    sigset_t all, before;
    int failed;

    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&archive->thread, NULL, seal_main, archive);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    if (failed)
        return dgf_err_set(err, DGF_FATAL, "cannot start the sealing thread: %m");
    (void)pthread_setname_np(archive->thread, "dgf-archive");
    archive->has_thread = true;
    return DGF_OK;
}

/* ---- life --------------------------------------------------------------------------
 */

void dgf_archive_free(struct dgf_archive *archive)
{
    if (!archive)
        return;
    if (archive->has_thread) {
        atomic_store(&archive->stop, true);
        wake(archive->thread_fd);
        pthread_join(archive->thread, NULL);
    }
    dgf_sealer_release(&archive->sealer);
    dgf_objects_release(&archive->policies);
    dgf_manifest_release(&archive->given);
    if (archive->loop_fd >= 0)
        (void)close(archive->loop_fd);
    if (archive->thread_fd >= 0)
        (void)close(archive->thread_fd);
    dgf_free(archive);
}

/* The key that signs from here on must be the one we have. */
static enum dgf_rc load_keys(struct dgf_sealer *sealer, struct dgf_ledger *ledger,
                             struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf kept = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    struct dgf_signer *signer = &sealer->signer;
    struct dgf_vkey vkey = {.name = ""};
    enum dgf_rc rc;

    dgf_buf_init(&kept, DGF_LEDGER_VALUE_MAX);
    dgf_buf_init(&bytes, DGF_LEDGER_VALUE_MAX);
    rc =
        dgf_ledger_state_get(ledger, dgf_bytes_str(DGF_ARCHIVE_KEYS_STATE), &kept, err);
    if (rc == DGF_AGAIN) { /* the first start with an archive */
        rc = dgf_log_keys_add(&signer->keys, signer->key, 0);
        dgf_log_keys_put(&signer->keys, &bytes);
        if (!rc)
            rc = dgf_buf_rc(&bytes);
        if (!rc)
            rc = dgf_batch_state(dgf_ledger_batch(ledger),
                                 dgf_bytes_str(DGF_ARCHIVE_KEYS_STATE),
                                 dgf_buf_bytes(&bytes));
        return rc ? dgf_err_set(err, rc, "cannot note the signing key") : DGF_OK;
    }
    if (!rc &&
        (dgf_log_keys_get(dgf_buf_bytes(&kept), &signer->keys) || signer->keys.n == 0))
        rc = dgf_err_set(err, DGF_FATAL, "the keys of the log cannot be read");
    if (rc)
        return rc;
    if (memcmp(signer->keys.list[signer->keys.n - 1].key, signer->key,
               sizeof(signer->key)) == 0)
        return DGF_OK;
    memcpy(vkey.name, signer->origin, sizeof(vkey.name));
    memcpy(vkey.key, signer->key, sizeof(vkey.key));
    dgf_vkey_put(&vkey, &bytes);
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "the signing key is not the one of this log: it is %s; give the "
                       "old one, and change it with dgf ledger rotate-key",
                       dgf_buf_str(&bytes));
}

static enum dgf_rc set_up(struct dgf_archive *archive,
                          const struct dgf_archive_conf *conf,
                          struct dgf_ledger *ledger, struct dgf_err *err)
{
    struct dgf_sealer *sealer = &archive->sealer;
    const char *log_id = dgf_ledger_log_id_text(ledger);
    size_t len = strlen(conf->dir);

    if (len > DGF_LEDGER_DIR_MAX)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the path of the data directory is too long");
    memcpy(sealer->dir, conf->dir, len + 1);
    memcpy(sealer->log_id_text, log_id, DGF_LOG_ID_TEXT_LEN + 1);
    memcpy(sealer->log_id, dgf_ledger_log_id(ledger), DGF_LOG_ID_LEN);
    memcpy(sealer->signer.seed, conf->sign_seed, DGF_SIGN_SEED_LEN);
    dgf_state_key(conf->tenant_key, log_id, sealer->state_key);
    (void)snprintf(archive->root, sizeof(archive->root), "%s/archive/%s", conf->dir,
                   log_id);
    memcpy(sealer->objects.root, archive->root, sizeof(archive->root));
    memcpy(archive->policies.root, archive->root, sizeof(archive->root));
    archive->keep_ns = conf->keep_ns;
    if (!dgf_sign_public(conf->sign_seed, sealer->signer.key))
        return dgf_err_set(err, DGF_NOMEM, "cannot open the archive: out of memory");
    if (!dgf_origin_put(conf->agent, log_id, sealer->signer.origin))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "agent.name is too long for an archive's origin");
    return DGF_OK;
}

/* The folder of the memory is that of generated keys, which may all be elsewhere. */
static enum dgf_rc open_signer(struct dgf_archive *archive, struct dgf_ledger *ledger,
                               struct dgf_err *err)
{
    struct dgf_signer *signer = &archive->sealer.signer;
    char path[DGF_PATH_MAX];
    enum dgf_rc rc;

    (void)snprintf(path, sizeof(path), "%s/keys", archive->sealer.dir);
    rc = dgf_dir_make(path, err);
    if (!rc)
        rc = dgf_dir_sync(archive->sealer.dir, err);
    if (!rc)
        rc = dgf_signer_open(signer, archive->sealer.dir, archive->sealer.log_id_text,
                             err);
    if (!rc && signer->has_last && signer->last.size > dgf_ledger_next_index(ledger))
        rc = dgf_err_set(err, DGF_BAD_DATA,
                         "the ledger has %" PRIu64 " records, but a checkpoint of size "
                         "%" PRIu64 " was signed: an older copy was put back, or "
                         "records were removed; 'dgf ledger recover' goes on from the "
                         "archive",
                         dgf_ledger_next_index(ledger), signer->last.size);
    return rc;
}

/* An archive begins with the first record: without the hashes of all before there are
 * no tiles, and nothing could be proven in it.  What was sealed once and does not go on
 * any more is damage, and said by the thread. */
static enum dgf_rc check_begin(const struct dgf_sealer *sealer,
                               const struct dgf_ledger *ledger, struct dgf_err *err)
{
    uint64_t first = dgf_ledger_first_index(ledger);
    char path[DGF_PATH_MAX];

    dgf_objects_path(&sealer->objects, DGF_NAME_CHECKPOINT, path);
    if (first == 0 || sealer->signer.has_last || dgf_file_exists(path))
        return DGF_OK;
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "cannot begin an archive: the journal begins at record %" PRIu64
                       ", what was before was pruned while there was none, and an "
                       "archive holds a log from its first record on; set "
                       "ledger.archive: false, or let a new data_dir begin a new log",
                       first);
}

/* While it was switched off, nothing held back what was not sealed yet.  An archive
 * that ends before what was signed is damage, and said by the thread. */
static enum dgf_rc check_goes_on(const struct dgf_sealer *sealer,
                                 const struct dgf_ledger *ledger, struct dgf_err *err)
{
    uint64_t first = dgf_ledger_first_index(ledger);

    if (sealer->next == 0 || first < sealer->next ||
        (sealer->signer.has_last && sealer->signer.last.size > sealer->next))
        return DGF_OK;
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "cannot go on with the archive: it ends before record %" PRIu64
                       ", the journal begins at record %" PRIu64
                       ", what was between was pruned while there was none; set "
                       "ledger.archive: false, or let a new data_dir begin a new log",
                       sealer->next, first);
}

static bool is_damage(enum dgf_rc rc)
{
    return rc == DGF_BAD_DATA || rc == DGF_FATAL || rc == DGF_BAD_CONFIG;
}

/* Of the newest segment, which nothing removes. */
static void look_for_missing(struct dgf_archive *archive)
{
    const struct dgf_sealer *sealer = &archive->sealer;
    char path[DGF_PATH_MAX];

    if (!sealer->has_last)
        return;
    dgf_name_segment(archive->missing, sealer->last.first);
    dgf_objects_path(&sealer->objects, archive->missing, path);
    if (!dgf_file_exists(path))
        return;
    dgf_name_state(archive->missing, sealer->last.first);
    dgf_objects_path(&sealer->objects, archive->missing, path);
    if (dgf_file_exists(path))
        archive->missing[0] = '\0';
}

enum dgf_rc dgf_archive_open(const struct dgf_archive_conf *conf,
                             struct dgf_ledger *ledger, struct dgf_archive **ret,
                             struct dgf_err *err)
{
    DGF_CLEANUP(dgf_archive_free)
    struct dgf_archive *archive = dgf_calloc(1, sizeof(*archive));
    enum dgf_rc rc;

    if (!archive)
        return dgf_err_set(err, DGF_NOMEM, "cannot open the archive: out of memory");
    archive->loop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    archive->thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (archive->loop_fd < 0 || archive->thread_fd < 0)
        return dgf_err_set(err, DGF_FATAL, "cannot make an eventfd: %m");
    rc = set_up(archive, conf, ledger, err);
    if (!rc)
        rc = load_keys(&archive->sealer, ledger, err);
    if (!rc)
        rc = open_signer(archive, ledger, err);
    if (!rc)
        rc = check_begin(&archive->sealer, ledger, err);
    if (rc)
        return rc == DGF_AGAIN ? DGF_RETRY : rc;
    rc = dgf_sealer_open(&archive->sealer, err);
    if (is_damage(rc)) {
        stop_sealing(archive, err);
    } else {
        if (!rc)
            rc = check_goes_on(&archive->sealer, ledger, err);
        if (rc)
            return rc == DGF_AGAIN ? DGF_RETRY : rc;
        look_for_missing(archive);
    }
    atomic_store(&archive->next, archive->sealer.next);
    atomic_store(&archive->target, archive->sealer.next);
    if (conf->threaded) {
        rc = start_thread(archive, err);
        if (rc)
            return rc;
    }
    *ret = dgf_steal(archive);
    return DGF_OK;
}

/* ---- the loop's --------------------------------------------------------------------
 */

void dgf_archive_seal(struct dgf_archive *archive, uint64_t index)
{
    if (index <= atomic_load(&archive->target))
        return;
    atomic_store_explicit(&archive->target, index, memory_order_release);
    wake(archive->thread_fd);
}

int dgf_archive_fd(const struct dgf_archive *archive)
{
    return archive->loop_fd;
}

void dgf_archive_poll(struct dgf_archive *archive, struct dgf_archive_news *ret)
{
    uint64_t n, old = atomic_load(&archive->old);

    (void)!read(archive->loop_fd, &n, sizeof(n));
    *ret = (struct dgf_archive_news){
        .state = atomic_load_explicit(&archive->state, memory_order_acquire),
        .next = atomic_load_explicit(&archive->next, memory_order_acquire),
        .text = "",
    };
    if (ret->state == DGF_ARCHIVE_STOPPED) {
        ret->text = archive->failure.text;
        ret->alarm = archive->failure.rc == DGF_BAD_DATA;
    } else if (ret->state == DGF_ARCHIVE_NO_SPACE) {
        ret->text = "no space in data_dir";
    }
    if (old > archive->announced) {
        archive->announced = old;
        ret->prune_before = old;
    }
}

void dgf_archive_prune(struct dgf_archive *archive, uint64_t index)
{
    atomic_store(&archive->prune, index);
    wake(archive->thread_fd);
}

const char *dgf_archive_missing(const struct dgf_archive *archive)
{
    return archive->missing[0] ? archive->missing : NULL;
}

const char *dgf_archive_origin(const struct dgf_archive *archive)
{
    return archive->sealer.signer.origin;
}

void dgf_archive_vkey(const struct dgf_archive *archive, struct dgf_buf *to)
{
    struct dgf_vkey vkey = {.name = ""};

    memcpy(vkey.name, archive->sealer.signer.origin, sizeof(vkey.name));
    memcpy(vkey.key, archive->sealer.signer.key, sizeof(vkey.key));
    dgf_vkey_put(&vkey, to);
}

/* ---- policies -----------------------------------------------------------------------
 */

void dgf_archive_put_policy(struct dgf_buf *to, struct dgf_bytes path,
                            const uint8_t sha256[DGF_SHA256_LEN])
{
    dgf_buf_add_le32(to, (uint32_t)path.len);
    dgf_buf_add_bytes(to, path);
    dgf_buf_add(to, sha256, DGF_SHA256_LEN);
}

enum dgf_rc dgf_archive_keep_policy(struct dgf_archive *archive, struct dgf_bytes text,
                                    struct dgf_err *err)
{
    char name[DGF_ARCHIVE_NAME_MAX], path[DGF_PATH_MAX];
    uint8_t hash[DGF_SHA256_LEN];
    enum dgf_rc rc;

    dgf_sha256(text, hash);
    dgf_name_policy(name, hash);
    dgf_objects_path(&archive->policies, name, path);
    if (dgf_file_exists(path))
        return DGF_OK;
    rc = dgf_objects_folders(&archive->policies, name, err);
    if (!rc)
        rc = dgf_file_replace(path, text, 0600, err);
    return rc ? rc : dgf_objects_sync_folders(&archive->policies, err);
}

/* ---- pieces
 * -------------------------------------------------------------------------- */

void dgf_archive_piece_release(struct dgf_archive_piece *piece)
{
    for (size_t i = 0; i < piece->n_objects; i++) {
        dgf_free(piece->objects[i].name);
        dgf_free(piece->objects[i].path);
    }
    dgf_free(dgf_steal(piece->objects));
    piece->n_objects = piece->cap = 0;
}

static bool add_object(struct dgf_archive *archive, struct dgf_archive_piece *piece,
                       const char *name, const char *stored_as, bool replace)
{
    struct dgf_archive_object *object;
    char path[DGF_PATH_MAX];

    if (piece->n_objects == piece->cap) {
        size_t cap = piece->cap ? 2 * piece->cap : 16;
        struct dgf_archive_object *grown =
            dgf_realloc(piece->objects, cap * sizeof(*grown));

        if (!grown)
            return false;
        piece->objects = grown;
        piece->cap = cap;
    }
    dgf_objects_path(&archive->policies, stored_as, path);
    object = &piece->objects[piece->n_objects++];
    object->name = dgf_strdup(name);
    object->path = dgf_strdup(path);
    object->replace = replace;
    return object->name && object->path;
}

static bool was_given(const struct dgf_archive *archive, uint64_t first,
                      const uint8_t sha256[DGF_SHA256_LEN])
{
    if (archive->given_next != first)
        return false;
    for (size_t i = 0; i < archive->given.n_policies; i++)
        if (memcmp(archive->given.policies[i].sha256, sha256, DGF_SHA256_LEN) == 0)
            return true;
    return false;
}

/* Two files may have one text. */
static bool came_before(const struct dgf_manifest *manifest, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (memcmp(manifest->policies[i].sha256, manifest->policies[at].sha256,
                   DGF_SHA256_LEN) == 0)
            return true;
    return false;
}

/* What was pruned here goes without its records: manifest, tiles and checkpoints still
 * say which ones there were. */
static bool is_pruned(const struct dgf_archive *archive, const char *segment)
{
    char path[DGF_PATH_MAX];

    dgf_objects_path(&archive->policies, segment, path);
    return !dgf_file_exists(path);
}

static bool add_all(struct dgf_archive *archive, const struct dgf_manifest *manifest,
                    struct dgf_archive_piece *piece)
{
    char name[DGF_ARCHIVE_NAME_MAX];
    struct dgf_tile_list list;
    struct dgf_tile tile;
    bool ok = true;

    dgf_name_segment(name, piece->first);
    if (!is_pruned(archive, name)) {
        ok = add_object(archive, piece, name, name, false);
        dgf_name_state(name, piece->first);
        ok = ok && add_object(archive, piece, name, name, false);
    }
    for (size_t i = 0; ok && i < manifest->n_policies; i++) {
        if (was_given(archive, piece->first, manifest->policies[i].sha256) ||
            came_before(manifest, i))
            continue;
        dgf_name_policy(name, manifest->policies[i].sha256);
        ok = add_object(archive, piece, name, name, false);
    }
    dgf_tile_list_init(&list, piece->first, piece->next);
    while (ok && dgf_tile_list_next(&list, &tile)) {
        dgf_name_tile(name, &tile);
        ok = add_object(archive, piece, name, name, false);
    }
    dgf_name_manifest(name, piece->first);
    ok = ok && add_object(archive, piece, name, name, false);
    dgf_name_checkpoint(name, piece->next);
    return ok && add_object(archive, piece, name, name, false) &&
           add_object(archive, piece, DGF_NAME_KEYS, DGF_NAME_KEYS, true) &&
           add_object(archive, piece, DGF_NAME_CHECKPOINT, name, true);
}

enum dgf_rc dgf_archive_piece(struct dgf_archive *archive, uint64_t first,
                              struct dgf_archive_piece *ret, struct dgf_err *err)
{
    struct dgf_archive_piece piece = {.first = first};
    struct dgf_manifest manifest;
    enum dgf_rc rc;

    if (first >= atomic_load_explicit(&archive->next, memory_order_acquire))
        return DGF_AGAIN;
    dgf_manifest_init(&manifest);
    rc = dgf_objects_manifest(&archive->policies, archive->sealer.log_id_text, first,
                              &manifest, NULL, err);
    if (rc)
        return rc;
    piece.next = manifest.last + 1;
    if (!add_all(archive, &manifest, &piece)) {
        dgf_archive_piece_release(&piece);
        dgf_manifest_release(&manifest);
        return dgf_err_set(err, DGF_NOMEM, "cannot list a segment: out of memory");
    }
    dgf_manifest_release(&archive->given);
    archive->given = manifest;
    archive->given_next = piece.next;
    *ret = piece;
    return DGF_OK;
}
