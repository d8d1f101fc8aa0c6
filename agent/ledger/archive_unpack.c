#include "ledger/archive_unpack.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/mem.h"
#include "base/sha256.h"

#define RING 4 /* 880 KiB each */

/* Frame i is in ring[i % RING]: dropped <= done <= opening <= put <= dropped + RING.
 * The thread opens and hashes; the owner, instead of waiting for what is being hashed,
 * opens frames behind it, so that both have work until the end.  Frames are
 * opened in their order: whoever counts `opening` up has that one to himself until it
 * is_open, then the thread until `done` has passed it, then the owner. */
struct dgf_unpack {
    struct dgf_frames *frames, *own; /* the thread's, and the owner's */
    struct dgf_sha256_sum sum;       /* the thread's; the owner's while all is done */
    uint64_t put, dropped;  /* the owner's; the thread reads put under the lock */
    uint64_t opening, done; /* under the lock */
    bool is_open[RING];     /* under the lock */
    bool threaded, end;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more, progress; /* for the thread, and for the owner */
    struct dgf_unpacked ring[RING];
};

static void cut_lines(struct dgf_unpacked *one)
{
    const uint8_t *p = one->plain, *end = p + one->n_plain;

    one->n_lines = 0;
    while (p < end && one->n_lines < DGF_UNPACK_LINES) {
        const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));

        one->lines[one->n_lines++] = dgf_bytes_of(p, (size_t)(lf - p));
        p = lf + 1;
    }
}

static void open_one(struct dgf_frames *frames, struct dgf_unpacked *one)
{
    one->rc = dgf_frame_open(frames, dgf_bytes_of(one->packed, one->n_packed),
                             one->plain, &one->n_plain, &one->class, &one->what);
}

/* In their order: the sum goes on from the frame before. */
static void hash_one(struct dgf_unpack *unpack, struct dgf_unpacked *one)
{
    if (one->rc)
        return;
    cut_lines(one);
    dgf_sha256_add_and_leaves(&unpack->sum, dgf_bytes_of(one->plain, one->n_plain),
                              one->lines, one->n_lines, one->hashes);
}

/* The next that nobody opens yet; under the lock, which is let go meanwhile. */
static void open_next(struct dgf_unpack *unpack, struct dgf_frames *frames)
{
    size_t i = unpack->opening++ % RING;

    (void)pthread_mutex_unlock(&unpack->lock);
    open_one(frames, &unpack->ring[i]);
    (void)pthread_mutex_lock(&unpack->lock);
    unpack->is_open[i] = true;
}

static void *work(void *ctx)
{
    struct dgf_unpack *unpack = ctx;

    (void)pthread_mutex_lock(&unpack->lock);
    while (!unpack->end) {
        size_t i = unpack->done % RING;

        if (unpack->done < unpack->opening && unpack->is_open[i]) {
            (void)pthread_mutex_unlock(&unpack->lock);
            hash_one(unpack, &unpack->ring[i]);
            (void)pthread_mutex_lock(&unpack->lock);
            unpack->is_open[i] = false;
            unpack->done++;
            (void)pthread_cond_signal(&unpack->progress);
        } else if (unpack->opening < unpack->put) {
            open_next(unpack, unpack->frames);
        } else {
            (void)pthread_cond_wait(&unpack->more, &unpack->lock);
        }
    }
    (void)pthread_mutex_unlock(&unpack->lock);
    return NULL;
}

static bool one_processor(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
}

/* Signals are the owner's. */
static bool start_thread(struct dgf_unpack *unpack)
{
    sigset_t all, before;
    int failed;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&unpack->thread, NULL, work, unpack);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return false;
    (void)pthread_setname_np(unpack->thread, "dgf-unpack");
    return true;
}

enum dgf_rc dgf_unpack_new(struct dgf_unpack **ret)
{
    struct dgf_unpack *unpack = dgf_malloc(sizeof(*unpack));

    if (!unpack)
        return DGF_NOMEM;
    unpack->put = unpack->dropped = unpack->opening = unpack->done = 0;
    memset(unpack->is_open, 0, sizeof(unpack->is_open));
    unpack->threaded = unpack->end = false;
    unpack->frames = unpack->own = NULL;
    dgf_sha256_begin(&unpack->sum);
    if (dgf_frames_new(&unpack->frames) || dgf_frames_new(&unpack->own)) {
        dgf_frames_free(unpack->frames);
        dgf_free(unpack);
        return DGF_NOMEM;
    }
    (void)pthread_mutex_init(&unpack->lock, NULL);
    (void)pthread_cond_init(&unpack->more, NULL);
    (void)pthread_cond_init(&unpack->progress, NULL);
    unpack->threaded = !one_processor() && start_thread(unpack);
    *ret = unpack;
    return DGF_OK;
}

void dgf_unpack_free(struct dgf_unpack *unpack)
{
    if (!unpack)
        return;
    if (unpack->threaded) {
        (void)pthread_mutex_lock(&unpack->lock);
        unpack->end = true;
        (void)pthread_cond_signal(&unpack->more);
        (void)pthread_mutex_unlock(&unpack->lock);
        (void)pthread_join(unpack->thread, NULL);
    }
    (void)pthread_cond_destroy(&unpack->progress);
    (void)pthread_cond_destroy(&unpack->more);
    (void)pthread_mutex_destroy(&unpack->lock);
    dgf_frames_free(unpack->frames);
    dgf_frames_free(unpack->own);
    dgf_free(unpack);
}

/* Until so many are done, and helps. */
static void wait_for(struct dgf_unpack *unpack, uint64_t n)
{
    (void)pthread_mutex_lock(&unpack->lock);
    while (unpack->done < n) {
        if (unpack->opening < unpack->put) {
            open_next(unpack, unpack->own);
            (void)pthread_cond_signal(&unpack->more);
        } else {
            (void)pthread_cond_wait(&unpack->progress, &unpack->lock);
        }
    }
    (void)pthread_mutex_unlock(&unpack->lock);
}

void dgf_unpack_begin(struct dgf_unpack *unpack)
{
    wait_for(unpack, unpack->put);
    unpack->dropped = unpack->put;
    dgf_sha256_begin(&unpack->sum);
}

bool dgf_unpack_has_room(const struct dgf_unpack *unpack)
{
    return unpack->put - unpack->dropped < RING;
}

void dgf_unpack_put(struct dgf_unpack *unpack, struct dgf_bytes frame)
{
    struct dgf_unpacked *one = &unpack->ring[unpack->put % RING];

    memcpy(one->packed, frame.ptr, frame.len);
    one->n_packed = frame.len;
    if (!unpack->threaded) {
        open_one(unpack->own, one);
        hash_one(unpack, one);
    }
    (void)pthread_mutex_lock(&unpack->lock);
    unpack->put++;
    if (!unpack->threaded)
        unpack->opening = unpack->done = unpack->put;
    (void)pthread_cond_signal(&unpack->more);
    (void)pthread_mutex_unlock(&unpack->lock);
}

const struct dgf_unpacked *dgf_unpack_take(struct dgf_unpack *unpack)
{
    if (unpack->dropped == unpack->put)
        return NULL;
    wait_for(unpack, unpack->dropped + 1);
    return &unpack->ring[unpack->dropped % RING];
}

void dgf_unpack_drop(struct dgf_unpack *unpack)
{
    unpack->dropped++;
}

void dgf_unpack_sum(struct dgf_unpack *unpack, uint8_t ret[DGF_SHA256_LEN])
{
    struct dgf_sha256_sum sum;

    wait_for(unpack, unpack->put);
    sum = unpack->sum;
    dgf_sha256_end(&sum, ret);
}
