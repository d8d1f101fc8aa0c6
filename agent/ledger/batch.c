#include "base/mem.h"
#include "ledger/impl.h"

#define MIN_BATCH_ROOM (4u << 20)

static size_t most(const struct dgf_batch *batch)
{
    size_t most = 16 * batch->ledger->conf.batch_bytes;

    return most > MIN_BATCH_ROOM ? most : MIN_BATCH_ROOM;
}

void dgf_batch_init(struct dgf_batch *batch, struct dgf_ledger *ledger)
{
    memset(batch, 0, sizeof(*batch));
    batch->ledger = ledger;
    dgf_buf_init(&batch->frames,
                 most(batch) + DGF_FRAME_MAX_PAYLOAD + DGF_FRAME_OVERHEAD);
    dgf_buf_init(&batch->marks, DGF_FRAME_MAX_PAYLOAD);
    dgf_map_init(&batch->changes);
}

void dgf_batch_release(struct dgf_batch *batch)
{
    dgf_buf_release(&batch->frames);
    dgf_buf_release(&batch->marks);
    dgf_map_release(&batch->changes, NULL);
    dgf_free(dgf_steal(batch->prune));
}

void dgf_batch_reset(struct dgf_batch *batch, uint64_t first_index)
{
    struct dgf_ledger *ledger = batch->ledger;

    if (batch->frames.cap > 2 * ledger->conf.batch_bytes || batch->marks.cap > 0 ||
        batch->changes.n_entries > 0) {
        /* A batch that grew under a slow disk must not keep its memory. */
        dgf_batch_release(batch);
        dgf_batch_init(batch, ledger);
    }
    dgf_buf_clear(&batch->frames);
    dgf_free(dgf_steal(batch->prune));
    batch->first_index = first_index;
    batch->n_leaves = batch->n_prune = 0;
    batch->n_frames = 0;
    batch->touched = batch->urgent = batch->rotate = false;
    batch->prune_before = 0;
}

static bool has_room(const struct dgf_batch *batch, size_t len)
{
    return batch->frames.len + len + DGF_FRAME_OVERHEAD <= most(batch) &&
           batch->n_frames < UINT32_MAX;
}

/* One frame whose payload comes in up to four pieces. */
static enum dgf_rc add_frame(struct dgf_batch *batch, enum dgf_frame_type type,
                             struct dgf_bytes fixed, struct dgf_bytes one,
                             struct dgf_bytes two)
{
    size_t len = fixed.len + one.len + two.len;
    uint8_t *p;

    if (!has_room(batch, len))
        return DGF_NOMEM;
    p = dgf_buf_room(&batch->frames, len + DGF_FRAME_OVERHEAD);
    if (!p)
        return DGF_NOMEM;
    dgf_le32_set(p, (uint32_t)len);
    p[4] = (uint8_t)type;
    p += DGF_FRAME_HEAD_LEN;
    memcpy(p, fixed.ptr, fixed.len);
    p += fixed.len;
    if (one.len > 0)
        memcpy(p, one.ptr, one.len);
    p += one.len;
    if (two.len > 0)
        memcpy(p, two.ptr, two.len);
    memset(p + two.len, 0, 4); /* the CRC */
    batch->frames.len += len + DGF_FRAME_OVERHEAD;
    batch->n_frames++;
    batch->touched = true;
    return DGF_OK;
}

enum dgf_rc dgf_batch_leaf(struct dgf_batch *batch, struct dgf_bytes header,
                           struct dgf_bytes line, uint64_t *ret_index)
{
    uint8_t fixed[2] = {(uint8_t)header.len, (uint8_t)(header.len >> 8)};
    enum dgf_rc rc;

    if (header.len > DGF_LEDGER_HEADER_MAX || line.len < DGF_LEDGER_LINE_MIN ||
        line.len > DGF_LEDGER_LINE_MAX)
        return DGF_NOMEM;
    rc = add_frame(batch, DGF_FRAME_LEAF, dgf_bytes_of(fixed, sizeof(fixed)), header,
                   line);
    if (rc)
        return rc;
    if (ret_index)
        *ret_index = batch->first_index + batch->n_leaves;
    batch->n_leaves++;
    batch->urgent = true;
    return DGF_OK;
}

static enum dgf_rc change(struct dgf_batch *batch, enum dgf_state_op op,
                          struct dgf_bytes key, struct dgf_bytes value)
{
    uint8_t fixed[3] = {(uint8_t)op, (uint8_t)key.len, (uint8_t)(key.len >> 8)};
    size_t at = batch->frames.len;
    enum dgf_rc rc;

    if (key.len > DGF_LEDGER_KEY_MAX || value.len > DGF_LEDGER_VALUE_MAX)
        return DGF_NOMEM;
    rc = add_frame(batch, DGF_FRAME_STATE, dgf_bytes_of(fixed, sizeof(fixed)), key,
                   value);
    if (rc)
        return rc;
    batch->urgent = true;
    return dgf_map_put(&batch->changes, key, (void *)(uintptr_t)(at + 1), NULL);
}

enum dgf_rc dgf_batch_state(struct dgf_batch *batch, struct dgf_bytes key,
                            struct dgf_bytes value)
{
    return change(batch, DGF_STATE_PUT, key, value);
}

enum dgf_rc dgf_batch_state_delete(struct dgf_batch *batch, struct dgf_bytes key)
{
    return change(batch, DGF_STATE_DELETE, key, (struct dgf_bytes){NULL, 0});
}

struct dgf_change dgf_batch_change(const struct dgf_batch *batch,
                                   const struct dgf_map_entry *entry)
{
    const uint8_t *frame = batch->frames.ptr + ((uintptr_t)entry->value - 1);
    struct dgf_change change;

    (void)dgf_frame_get_change(
        dgf_bytes_of(frame + DGF_FRAME_HEAD_LEN, dgf_le32_at(frame)), &change);
    return change;
}

bool dgf_batch_find(const struct dgf_batch *batch, struct dgf_bytes key,
                    struct dgf_change *ret)
{
    struct dgf_map_entry entry = {.value = dgf_map_get(&batch->changes, key)};

    if (!entry.value)
        return false;
    *ret = dgf_batch_change(batch, &entry);
    return true;
}

enum dgf_rc dgf_batch_cursor(struct dgf_batch *batch, struct dgf_bytes name,
                             struct dgf_bytes value)
{
    uint8_t fixed[2] = {(uint8_t)name.len, (uint8_t)(name.len >> 8)};
    enum dgf_rc rc = dgf_marks_set_cursor(&batch->ledger->marks, name, value);

    return rc ? rc
              : add_frame(batch, DGF_FRAME_CURSOR, dgf_bytes_of(fixed, sizeof(fixed)),
                          name, value);
}

enum dgf_rc dgf_batch_cut(struct dgf_batch *batch, uint64_t index)
{
    uint8_t fixed[8];
    enum dgf_rc rc;

    dgf_le32_set(fixed, (uint32_t)index);
    dgf_le32_set(fixed + 4, (uint32_t)(index >> 32));
    rc = add_frame(batch, DGF_FRAME_CUT, dgf_bytes_of(fixed, sizeof(fixed)),
                   (struct dgf_bytes){NULL, 0}, (struct dgf_bytes){NULL, 0});
    if (rc)
        return rc;
    batch->ledger->marks.cut = index;
    batch->urgent = true;
    return DGF_OK;
}

enum dgf_rc dgf_batch_position(struct dgf_batch *batch,
                               const struct dgf_ledger_position *position)
{
    batch->touched = true;
    return dgf_marks_set_position(&batch->ledger->marks, position);
}

enum dgf_rc dgf_batch_position_forget(struct dgf_batch *batch, struct dgf_bytes source)
{
    batch->touched = true;
    dgf_marks_forget_position(&batch->ledger->marks, source);
    return DGF_OK;
}

void dgf_batch_policy_set(struct dgf_batch *batch, const uint8_t digest[DGF_SHA256_LEN])
{
    memcpy(batch->ledger->marks.policy_set, digest, DGF_SHA256_LEN);
    batch->touched = batch->urgent = true;
}

enum dgf_rc dgf_batch_prune(struct dgf_batch *batch, uint64_t index)
{
    const struct dgf_segments *segments = &batch->ledger->segments;
    uint64_t *prune;
    size_t n = 0;

    while (n + 1 < segments->n && segments->at[n + 1].first <= index)
        n++;
    if (n == 0)
        return DGF_OK;
    prune = dgf_calloc(n, sizeof(*prune));
    if (!prune)
        return DGF_NOMEM;
    for (size_t i = 0; i < n; i++)
        prune[i] = segments->at[i].first;
    dgf_free(batch->prune);
    batch->prune = prune;
    batch->n_prune = n;
    batch->prune_before = segments->at[n].first;
    batch->touched = batch->urgent = true;
    return DGF_OK;
}

size_t dgf_batch_bytes(const struct dgf_batch *batch)
{
    return batch->frames.len;
}

bool dgf_batch_full(const struct dgf_batch *batch)
{
    return batch->frames.len >= batch->ledger->conf.batch_bytes;
}

bool dgf_batch_empty(const struct dgf_batch *batch)
{
    return !batch->touched;
}

bool dgf_batch_is_urgent(const struct dgf_batch *batch)
{
    return batch->urgent;
}

bool dgf_batch_has_leaves(const struct dgf_batch *batch)
{
    return batch->n_leaves > 0;
}

enum dgf_rc dgf_batch_close(struct dgf_batch *batch, struct dgf_err *err)
{
    const struct dgf_ledger *ledger = batch->ledger;
    struct dgf_commit commit = {
        .batch = batch->number,
        .time_ns = batch->time_ns,
        .size = batch->first_index + batch->n_leaves,
        .n_frames = batch->n_frames,
    };

    memcpy(commit.log_id, ledger->segments.log_id, sizeof(commit.log_id));
    memcpy(commit.policy_set, ledger->marks.policy_set, sizeof(commit.policy_set));
    batch->commit_at = dgf_frame_begin(&batch->frames, DGF_FRAME_COMMIT);
    dgf_frame_put_commit(&batch->frames, &commit);
    dgf_marks_put_positions(&ledger->marks, &batch->frames);
    dgf_frame_end(&batch->frames, batch->commit_at);
    if (batch->rotate)
        dgf_marks_put(&ledger->marks, &batch->marks);
    if (dgf_buf_rc(&batch->frames) || dgf_buf_rc(&batch->marks))
        return dgf_err_set(err, DGF_NOMEM, "cannot end a batch: out of memory");
    return DGF_OK;
}
