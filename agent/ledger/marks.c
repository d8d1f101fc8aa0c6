#include "ledger/marks.h"

#include "base/mem.h"

#define MAX_MARKS 4096 /* sources, or cursors: the search is linear */

void dgf_marks_init(struct dgf_marks *marks)
{
    memset(marks, 0, sizeof(*marks));
}

void dgf_marks_clear_positions(struct dgf_marks *marks)
{
    for (size_t i = 0; i < marks->n_positions; i++)
        dgf_free((void *)marks->positions[i].source.ptr);
    marks->n_positions = 0;
}

static void clear_cursors(struct dgf_marks *marks)
{
    for (size_t i = 0; i < marks->n_cursors; i++)
        dgf_free((void *)marks->cursors[i].name.ptr);
    marks->n_cursors = 0;
}

void dgf_marks_release(struct dgf_marks *marks)
{
    dgf_marks_clear_positions(marks);
    clear_cursors(marks);
    dgf_free(marks->positions);
    dgf_free(marks->cursors);
    dgf_marks_init(marks);
}

struct dgf_ledger_position *dgf_marks_position(const struct dgf_marks *marks,
                                               struct dgf_bytes source)
{
    for (size_t i = 0; i < marks->n_positions; i++) {
        if (dgf_bytes_eq(marks->positions[i].source, source))
            return &marks->positions[i];
    }
    return NULL;
}

struct dgf_ledger_cursor *dgf_marks_cursor(const struct dgf_marks *marks,
                                           struct dgf_bytes name)
{
    for (size_t i = 0; i < marks->n_cursors; i++) {
        if (dgf_bytes_eq(marks->cursors[i].name, name))
            return &marks->cursors[i];
    }
    return NULL;
}

static size_t position_bytes(const struct dgf_ledger_position *p)
{
    return 22 + p->source.len + p->position.len + p->text.len + p->counters.len;
}

static bool position_fits(const struct dgf_marks *marks,
                          const struct dgf_ledger_position *p)
{
    size_t all = 0;

    if (p->source.len > DGF_LEDGER_KEY_MAX || p->position.len > DGF_LEDGER_VALUE_MAX ||
        p->text.len > DGF_LEDGER_POSITION_TEXT_MAX ||
        p->counters.len > DGF_LEDGER_VALUE_MAX)
        return false;
    for (size_t i = 0; i < marks->n_positions; i++)
        all += position_bytes(&marks->positions[i]);
    return all + position_bytes(p) <= DGF_MARKS_MAX_BYTES;
}

/* Appends bytes to a block that was measured before. */
static struct dgf_bytes keep(uint8_t **block, struct dgf_bytes bytes)
{
    struct dgf_bytes kept = {*block, bytes.len};

    if (bytes.len > 0)
        memcpy(*block, bytes.ptr, bytes.len);
    *block += bytes.len;
    return kept;
}

/* Room for one more; grows by doubling. */
static bool more(void *array, size_t n, size_t size)
{
    void **at = array, *bigger;

    if (n >= MAX_MARKS)
        return false;
    if (n & (n - 1))
        return true;
    bigger = dgf_realloc(*at, (n ? 2 * n : 1) * size);
    if (!bigger)
        return false;
    *at = bigger;
    return true;
}

enum dgf_rc dgf_marks_set_position(struct dgf_marks *marks,
                                   const struct dgf_ledger_position *position)
{
    struct dgf_ledger_position *old = dgf_marks_position(marks, position->source);
    struct dgf_ledger_position kept;
    uint8_t *block;

    if (!position_fits(marks, position))
        return DGF_NOMEM;
    if (!old && !more(&marks->positions, marks->n_positions, sizeof(*marks->positions)))
        return DGF_NOMEM;
    block = dgf_malloc(position_bytes(position));
    if (!block)
        return DGF_NOMEM;
    kept.source = keep(&block, position->source); /* first: owns the block */
    kept.position = keep(&block, position->position);
    kept.text = keep(&block, position->text);
    kept.counters = keep(&block, position->counters);
    kept.seq = position->seq;
    if (old)
        dgf_free((void *)old->source.ptr);
    else
        old = &marks->positions[marks->n_positions++];
    *old = kept;
    return DGF_OK;
}

enum dgf_rc dgf_marks_set_cursor(struct dgf_marks *marks, struct dgf_bytes name,
                                 struct dgf_bytes value)
{
    struct dgf_ledger_cursor *old = dgf_marks_cursor(marks, name);
    struct dgf_ledger_cursor kept;
    size_t all = name.len + value.len;
    uint8_t *block;

    if (name.len > DGF_LEDGER_KEY_MAX || value.len > DGF_LEDGER_VALUE_MAX)
        return DGF_NOMEM;
    for (size_t i = 0; i < marks->n_cursors; i++)
        all += 6 + marks->cursors[i].name.len + marks->cursors[i].value.len;
    if (all > DGF_MARKS_MAX_BYTES)
        return DGF_NOMEM;
    if (!old && !more(&marks->cursors, marks->n_cursors, sizeof(*marks->cursors)))
        return DGF_NOMEM;
    block = dgf_malloc(name.len + value.len + 1);
    if (!block)
        return DGF_NOMEM;
    kept.name = keep(&block, name);
    kept.value = keep(&block, value);
    if (old)
        dgf_free((void *)old->name.ptr);
    else
        old = &marks->cursors[marks->n_cursors++];
    *old = kept;
    return DGF_OK;
}

void dgf_marks_forget_position(struct dgf_marks *marks, struct dgf_bytes source)
{
    struct dgf_ledger_position *old = dgf_marks_position(marks, source);
    size_t at;

    if (!old)
        return;
    at = (size_t)(old - marks->positions);
    dgf_free((void *)old->source.ptr);
    /* The order stays; the array only grows at powers of two, so a count that
     * went down and up again asks for the room it already has. */
    marks->n_positions--;
    memmove(old, old + 1, (marks->n_positions - at) * sizeof(*old));
}

void dgf_marks_put_positions(const struct dgf_marks *marks, struct dgf_buf *to)
{
    dgf_buf_add_le16(to, (uint16_t)marks->n_positions);
    for (size_t i = 0; i < marks->n_positions; i++) {
        const struct dgf_ledger_position *p = &marks->positions[i];

        dgf_buf_add_le16(to, (uint16_t)p->source.len);
        dgf_buf_add_le16(to, (uint16_t)p->text.len);
        dgf_buf_add_le32(to, (uint32_t)p->position.len);
        dgf_buf_add_le32(to, (uint32_t)p->counters.len);
        dgf_buf_add_le64(to, p->seq);
        dgf_buf_add_bytes(to, p->source);
        dgf_buf_add_bytes(to, p->text);
        dgf_buf_add_bytes(to, p->position);
        dgf_buf_add_bytes(to, p->counters);
    }
}

void dgf_marks_put_cursors(const struct dgf_marks *marks, struct dgf_buf *to)
{
    dgf_buf_add_le16(to, (uint16_t)marks->n_cursors);
    for (size_t i = 0; i < marks->n_cursors; i++) {
        const struct dgf_ledger_cursor *c = &marks->cursors[i];

        dgf_buf_add_le16(to, (uint16_t)c->name.len);
        dgf_buf_add_le32(to, (uint32_t)c->value.len);
        dgf_buf_add_bytes(to, c->name);
        dgf_buf_add_bytes(to, c->value);
    }
}

void dgf_marks_put(const struct dgf_marks *marks, struct dgf_buf *to)
{
    dgf_buf_add(to, marks->policy_set, sizeof(marks->policy_set));
    dgf_buf_add_le64(to, marks->cut);
    dgf_marks_put_positions(marks, to);
    dgf_marks_put_cursors(marks, to);
}

/* A table that breaks our own caps was not written by us. */
static enum dgf_rc kept_or_bad(enum dgf_rc rc, size_t before, size_t after)
{
    return rc ? rc : after == before ? DGF_BAD_DATA : DGF_OK;
}

enum dgf_rc dgf_marks_get_positions(struct dgf_marks *marks, struct dgf_rd *rd)
{
    uint16_t n = dgf_rd_le16(rd);

    dgf_marks_clear_positions(marks);
    for (uint16_t i = 0; i < n; i++) {
        uint16_t n_source = dgf_rd_le16(rd), n_text = dgf_rd_le16(rd);
        uint32_t n_position = dgf_rd_le32(rd), n_counters = dgf_rd_le32(rd);
        struct dgf_ledger_position p = {.seq = dgf_rd_le64(rd)};
        size_t before = marks->n_positions;
        enum dgf_rc rc;

        p.source = dgf_rd_bytes(rd, n_source);
        p.text = dgf_rd_bytes(rd, n_text);
        p.position = dgf_rd_bytes(rd, n_position);
        p.counters = dgf_rd_bytes(rd, n_counters);
        if (rd->bad || !position_fits(marks, &p))
            return DGF_BAD_DATA;
        rc = dgf_marks_set_position(marks, &p);
        rc = kept_or_bad(rc, before, marks->n_positions);
        if (rc)
            return rc;
    }
    return rd->bad ? DGF_BAD_DATA : DGF_OK;
}

enum dgf_rc dgf_marks_get_cursors(struct dgf_marks *marks, struct dgf_rd *rd)
{
    uint16_t n = dgf_rd_le16(rd);

    clear_cursors(marks);
    for (uint16_t i = 0; i < n; i++) {
        uint16_t n_name = dgf_rd_le16(rd);
        uint32_t n_value = dgf_rd_le32(rd);
        struct dgf_bytes name = dgf_rd_bytes(rd, n_name);
        struct dgf_bytes value = dgf_rd_bytes(rd, n_value);
        size_t before = marks->n_cursors;
        enum dgf_rc rc;

        if (rd->bad || n_name > DGF_LEDGER_KEY_MAX || n_value > DGF_LEDGER_VALUE_MAX)
            return DGF_BAD_DATA;
        rc = dgf_marks_set_cursor(marks, name, value);
        rc = kept_or_bad(rc, before, marks->n_cursors);
        if (rc)
            return rc;
    }
    return rd->bad ? DGF_BAD_DATA : DGF_OK;
}
