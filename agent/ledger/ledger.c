/* ledger.c - the loop's half: hand over, poll, retention, and reading state. */
#include "ledger/ledger.h"

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "ledger/impl.h"

static struct dgf_batch *collecting(const struct dgf_ledger *ledger)
{
    return (struct dgf_batch *)&ledger->batches[ledger->collecting];
}

static struct dgf_batch *writing(struct dgf_ledger *ledger)
{
    return &ledger->batches[!ledger->collecting];
}

bool dgf_ledger_was_new(const struct dgf_ledger *ledger)
{
    return ledger->was_new;
}

const uint8_t *dgf_ledger_log_id(const struct dgf_ledger *ledger)
{
    return ledger->segments.log_id;
}

const char *dgf_ledger_log_id_text(const struct dgf_ledger *ledger)
{
    return ledger->log_id_text;
}

int64_t dgf_ledger_time_ns(const struct dgf_ledger *ledger)
{
    return ledger->time_ns;
}

void dgf_ledger_not_before(struct dgf_ledger *ledger, int64_t time_ns)
{
    if (time_ns > ledger->time_ns)
        ledger->time_ns = time_ns;
}

const uint8_t *dgf_ledger_policy_set(const struct dgf_ledger *ledger)
{
    return ledger->marks.policy_set;
}

uint64_t dgf_ledger_archive_cut(const struct dgf_ledger *ledger)
{
    return ledger->marks.cut;
}

const struct dgf_ledger_position *dgf_ledger_position(const struct dgf_ledger *ledger,
                                                      size_t at)
{
    return at < ledger->marks.n_positions ? &ledger->marks.positions[at] : NULL;
}

const struct dgf_ledger_cursor *dgf_ledger_cursor(const struct dgf_ledger *ledger,
                                                  size_t at)
{
    return at < ledger->marks.n_cursors ? &ledger->marks.cursors[at] : NULL;
}

const struct dgf_ledger_position *dgf_ledger_find_position(
    const struct dgf_ledger *ledger, struct dgf_bytes source)
{
    return dgf_marks_position(&ledger->marks, source);
}

const struct dgf_ledger_cursor *dgf_ledger_find_cursor(const struct dgf_ledger *ledger,
                                                       struct dgf_bytes name)
{
    return dgf_marks_cursor(&ledger->marks, name);
}

struct dgf_batch *dgf_ledger_batch(struct dgf_ledger *ledger)
{
    return collecting(ledger);
}

uint64_t dgf_ledger_next_index(const struct dgf_ledger *ledger)
{
    const struct dgf_batch *batch = collecting(ledger);

    return batch->first_index + batch->n_leaves;
}

/* ---- state -------------------------------------------------------------- */

enum dgf_rc dgf_ledger_state_get(struct dgf_ledger *ledger, struct dgf_bytes key,
                                 struct dgf_buf *to, struct dgf_err *err)
{
    struct dgf_change change;

    /* Newest first; the batch being written may be in state.db already. */
    if (!dgf_batch_find(collecting(ledger), key, &change) &&
        !dgf_batch_find(writing(ledger), key, &change))
        return dgf_state_db_get(ledger->reader, key, to, err);
    if (change.op == DGF_STATE_DELETE)
        return DGF_AGAIN;
    dgf_buf_add_bytes(to, change.value);
    if (dgf_buf_rc(to))
        return dgf_err_set(err, dgf_buf_rc(to), "cannot read state: out of memory");
    return DGF_OK;
}

struct each {
    struct dgf_ledger *ledger;
    enum dgf_rc (*visit)(void *ctx, struct dgf_bytes key, struct dgf_bytes value);
    void *ctx;
};

static enum dgf_rc visit_unless_changed(void *ctx, struct dgf_bytes key,
                                        struct dgf_bytes value)
{
    struct each *each = ctx;

    if (dgf_map_get(&collecting(each->ledger)->changes, key) ||
        dgf_map_get(&writing(each->ledger)->changes, key))
        return DGF_OK;
    return each->visit(each->ctx, key, value);
}

/* The puts of one batch, but for keys that `newer` changes too. */
static enum dgf_rc visit_batch(const struct dgf_batch *batch,
                               const struct dgf_batch *newer, struct dgf_bytes prefix,
                               const struct each *each)
{
    const struct dgf_map_entry *entry;
    size_t at = 0;
    enum dgf_rc rc = DGF_OK;

    while (!rc && (entry = dgf_map_next(&batch->changes, &at))) {
        struct dgf_change change = dgf_batch_change(batch, entry);

        if (change.op == DGF_STATE_DELETE || change.key.len < prefix.len ||
            (prefix.len > 0 && memcmp(change.key.ptr, prefix.ptr, prefix.len) != 0) ||
            (newer && dgf_map_get(&newer->changes, change.key)))
            continue;
        rc = each->visit(each->ctx, change.key, change.value);
    }
    return rc;
}

enum dgf_rc dgf_ledger_state_each(struct dgf_ledger *ledger, struct dgf_bytes prefix,
                                  enum dgf_rc (*visit)(void *ctx, struct dgf_bytes key,
                                                       struct dgf_bytes value),
                                  void *ctx, struct dgf_err *err)
{
    struct each each = {ledger, visit, ctx};
    enum dgf_rc rc =
        dgf_state_db_each(ledger->reader, prefix, visit_unless_changed, &each, err);

    if (!rc)
        rc = visit_batch(writing(ledger), collecting(ledger), prefix, &each);
    if (!rc)
        rc = visit_batch(collecting(ledger), NULL, prefix, &each);
    return rc;
}

/* ---- committing ---------------------------------------------------------- */

enum dgf_rc dgf_ledger_hand_over(struct dgf_ledger *ledger, struct dgf_err *err)
{
    struct dgf_batch *batch = collecting(ledger);
    const struct dgf_segment *newest = &ledger->segments.at[ledger->segments.n - 1];
    uint64_t next = dgf_ledger_next_index(ledger);
    int64_t now = dgf_clock_ns();
    enum dgf_rc rc;

    if (atomic_load_explicit(&ledger->phase, memory_order_acquire) != DGF_PHASE_IDLE ||
        !batch->touched)
        return DGF_AGAIN;
    if (now > ledger->time_ns)
        ledger->time_ns = now;
    batch->number = ledger->durable_batch + 1;
    batch->time_ns = ledger->time_ns;
    /* A segment's name is its first index, so it ends only behind a leaf. */
    batch->rotate = next > newest->first &&
                    newest->bytes + batch->frames.len >= ledger->conf.segment_bytes;
    rc = dgf_batch_close(batch, err);
    if (rc)
        return rc;
    ledger->collecting = !ledger->collecting;
    dgf_batch_reset(collecting(ledger), next);
    ledger->told_durable = false;
    atomic_store_explicit(&ledger->phase, DGF_PHASE_HANDED, memory_order_release);
    if (ledger->has_thread) {
        uint64_t one = 1;

        while (write(ledger->writer_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    }
    return DGF_OK;
}

int dgf_ledger_fd(const struct dgf_ledger *ledger)
{
    return ledger->loop_fd;
}

enum dgf_rc dgf_ledger_step(struct dgf_ledger *ledger, struct dgf_err *err)
{
    if (atomic_load(&ledger->phase) == DGF_PHASE_FAILED) {
        if (err)
            *err = ledger->failure;
        return DGF_FATAL;
    }
    return dgf_ledger_write(ledger, err);
}

/* The batch is on disk: readers may go that far. */
static void note_durable(struct dgf_ledger *ledger)
{
    struct dgf_batch *batch = writing(ledger);

    if (ledger->told_durable)
        return;
    ledger->told_durable = true;
    ledger->durable_batch = batch->number;
    ledger->durable_next = batch->first_index + batch->n_leaves;
    ledger->segments.at[ledger->segments.n - 1].bytes = ledger->result.end;
}

static enum dgf_rc note_done(struct dgf_ledger *ledger, struct dgf_err *err)
{
    struct dgf_batch *batch = writing(ledger);

    if (ledger->result.rotated &&
        dgf_segments_add(&ledger->segments, &ledger->result.segment))
        return dgf_err_set(err, DGF_NOMEM,
                           "cannot note a journal segment: out of memory");
    if (batch->n_prune)
        dgf_segments_drop_before(&ledger->segments, batch->prune_before);
    dgf_batch_reset(batch, 0);
    atomic_store_explicit(&ledger->phase, DGF_PHASE_IDLE, memory_order_release);
    return DGF_OK;
}

/* How far segments can go; 0: nowhere beyond what was said. */
static uint64_t look_for_old(struct dgf_ledger *ledger)
{
    const struct dgf_segments *segments = &ledger->segments;
    uint64_t bytes, budget = ledger->conf.journal_bytes, before = 0;
    int64_t now;

    if (segments->n < 2 || segments->at[1].first > ledger->released)
        return 0;
    now = dgf_clock_ns();
    bytes = dgf_segments_bytes(segments);
    for (size_t i = 0; i + 1 < segments->n; i++) {
        const struct dgf_segment *next = &segments->at[i + 1];
        bool old = now - next->created_ns >= ledger->conf.keep_ns;
        /* An eighth below the budget, so that sources need not pause first. */
        bool tight = budget && bytes > budget - budget / 8;

        if (next->first > ledger->released || !(old || tight))
            break;
        before = next->first;
        bytes -= segments->at[i].bytes;
    }
    if (before <= ledger->announced)
        return 0;
    ledger->announced = before;
    return before;
}

enum dgf_rc dgf_ledger_poll(struct dgf_ledger *ledger, struct dgf_ledger_news *ret_news,
                            struct dgf_err *err)
{
    uint64_t n, before = ledger->durable_batch;
    int phase;

    (void)!read(ledger->loop_fd, &n, sizeof(n));
    phase = atomic_load_explicit(&ledger->phase, memory_order_acquire);
    if (phase == DGF_PHASE_FAILED) {
        if (err)
            *err = ledger->failure;
        return DGF_FATAL;
    }
    if (phase == DGF_PHASE_DURABLE || phase == DGF_PHASE_DONE)
        note_durable(ledger);
    if (phase == DGF_PHASE_DONE) {
        enum dgf_rc rc = note_done(ledger, err);

        if (rc)
            return rc;
    }
    *ret_news = (struct dgf_ledger_news){
        .durable = ledger->durable_batch > before,
        .batch_no = ledger->durable_batch,
        .next_index = ledger->durable_next,
        .idle = phase == DGF_PHASE_DONE || phase == DGF_PHASE_IDLE,
        .no_space = atomic_load(&ledger->no_space),
        .prune_before = look_for_old(ledger),
    };
    return DGF_OK;
}

/* ---- retention ------------------------------------------------------------ */

void dgf_ledger_release(struct dgf_ledger *ledger, uint64_t next_index)
{
    if (next_index > ledger->released)
        ledger->released = next_index;
}

uint64_t dgf_ledger_first_index(const struct dgf_ledger *ledger)
{
    return ledger->segments.at[0].first;
}

uint64_t dgf_ledger_bytes(const struct dgf_ledger *ledger)
{
    return dgf_segments_bytes(&ledger->segments);
}

bool dgf_ledger_over_budget(const struct dgf_ledger *ledger)
{
    return ledger->conf.journal_bytes &&
           dgf_ledger_bytes(ledger) > ledger->conf.journal_bytes;
}
