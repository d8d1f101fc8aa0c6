#include "ledger/archive_unpack.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/mem.h"
#include "base/sha256.h"

#define RING 4 /* 880 KiB each */

/* Frame i is in ring[i % RING]: dropped <= unpacked <= put <= dropped + RING.  Those
 * from dropped on belong to the owner once they are unpacked; before, to the thread. */
struct dgf_unpack {
    struct dgf_frames *frames; /* the thread's */
    struct dgf_sha256_sum sum; /* the thread's; the owner's while all is unpacked */
    uint64_t put, dropped;     /* the owner's; the thread reads put under the lock */
    uint64_t unpacked;         /* under the lock */
    bool threaded, end;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more, done;
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

static void unpack_one(struct dgf_unpack *unpack, struct dgf_unpacked *one)
{
    one->rc = dgf_frame_open(unpack->frames, dgf_bytes_of(one->packed, one->n_packed),
                             one->plain, &one->n_plain, &one->class, &one->what);
    if (one->rc)
        return;
    cut_lines(one);
    dgf_sha256_add_and_leaves(&unpack->sum, dgf_bytes_of(one->plain, one->n_plain),
                              one->lines, one->n_lines, one->hashes);
}

static void *work(void *ctx)
{
    struct dgf_unpack *unpack = ctx;

    (void)pthread_mutex_lock(&unpack->lock);
    for (;;) {
        while (!unpack->end && unpack->unpacked == unpack->put)
            (void)pthread_cond_wait(&unpack->more, &unpack->lock);
        if (unpack->end)
            break;
        (void)pthread_mutex_unlock(&unpack->lock);
        unpack_one(unpack, &unpack->ring[unpack->unpacked % RING]);
        (void)pthread_mutex_lock(&unpack->lock);
        unpack->unpacked++;
        (void)pthread_cond_signal(&unpack->done);
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
    unpack->put = unpack->dropped = unpack->unpacked = 0;
    unpack->threaded = unpack->end = false;
    dgf_sha256_begin(&unpack->sum);
    if (dgf_frames_new(&unpack->frames)) {
        dgf_free(unpack);
        return DGF_NOMEM;
    }
    (void)pthread_mutex_init(&unpack->lock, NULL);
    (void)pthread_cond_init(&unpack->more, NULL);
    (void)pthread_cond_init(&unpack->done, NULL);
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
    (void)pthread_cond_destroy(&unpack->done);
    (void)pthread_cond_destroy(&unpack->more);
    (void)pthread_mutex_destroy(&unpack->lock);
    dgf_frames_free(unpack->frames);
    dgf_free(unpack);
}

/* Until so many are unpacked. */
static void wait_for(struct dgf_unpack *unpack, uint64_t n)
{
    (void)pthread_mutex_lock(&unpack->lock);
    while (unpack->unpacked < n)
        (void)pthread_cond_wait(&unpack->done, &unpack->lock);
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
    if (!unpack->threaded)
        unpack_one(unpack, one);
    (void)pthread_mutex_lock(&unpack->lock);
    unpack->put++;
    if (!unpack->threaded)
        unpack->unpacked++;
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
