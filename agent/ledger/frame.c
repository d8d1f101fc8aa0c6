#include "ledger/frame.h"

static const char head_magic[8] = {'d', 'g', 'f', 'j', '0', '0', '0', '1'};

const char *dgf_frame_text(enum dgf_frame_type type)
{
    static const char *const texts[] = {"frame",  "head", "leaf",  "state",
                                        "cursor", "cut",  "commit"};

    return (size_t)type < sizeof(texts) / sizeof(texts[0]) ? texts[type] : "frame";
}

uint32_t dgf_frame_max(uint8_t type)
{
    switch (type) {
    case DGF_FRAME_HEAD:
    case DGF_FRAME_COMMIT:
        return DGF_FRAME_MAX_PAYLOAD;
    case DGF_FRAME_LEAF:
        return 2 + DGF_LEDGER_HEADER_MAX + DGF_LEDGER_LINE_MAX;
    case DGF_FRAME_STATE:
        return 3 + DGF_LEDGER_KEY_MAX + DGF_LEDGER_VALUE_MAX;
    case DGF_FRAME_CURSOR:
        return 2 + DGF_LEDGER_KEY_MAX + DGF_LEDGER_VALUE_MAX;
    case DGF_FRAME_CUT:
        return 8;
    default:
        return 0;
    }
}

size_t dgf_frame_begin(struct dgf_buf *to, enum dgf_frame_type type)
{
    size_t begun = to->len;

    dgf_buf_add_le32(to, 0);
    dgf_buf_add_byte(to, (uint8_t)type);
    return begun;
}

void dgf_frame_end(struct dgf_buf *to, size_t begun)
{
    dgf_buf_add_le32(to, 0);
    if (!dgf_buf_rc(to))
        dgf_le32_set(to->ptr + begun, (uint32_t)(to->len - begun - DGF_FRAME_OVERHEAD));
}

uint32_t dgf_frame_seal(uint8_t *frame, size_t len)
{
    uint32_t crc = dgf_crc32c(0, dgf_bytes_of(frame, len - 4));

    dgf_le32_set(frame + len - 4, crc);
    return crc;
}

uint32_t dgf_frame_chain(uint32_t chain, uint32_t crc)
{
    uint8_t bytes[4];

    dgf_le32_set(bytes, crc);
    return dgf_crc32c(chain, dgf_bytes_of(bytes, sizeof(bytes)));
}

bool dgf_frame_get_leaf(struct dgf_bytes payload, struct dgf_leaf_frame *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);
    uint16_t n_header = dgf_rd_le16(&rd);

    ret->header = dgf_rd_bytes(&rd, n_header);
    ret->line = dgf_bytes_of(rd.ptr, dgf_rd_left(&rd));
    return !rd.bad && ret->line.len >= DGF_LEDGER_LINE_MIN &&
           ret->line.len <= DGF_LEDGER_LINE_MAX;
}

bool dgf_frame_get_change(struct dgf_bytes payload, struct dgf_change *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);
    uint8_t op = dgf_rd_u8(&rd);
    uint16_t n_key = dgf_rd_le16(&rd);

    ret->op = (enum dgf_state_op)op;
    ret->key = dgf_rd_bytes(&rd, n_key);
    ret->value = dgf_bytes_of(rd.ptr, dgf_rd_left(&rd));
    if (rd.bad || n_key > DGF_LEDGER_KEY_MAX || ret->value.len > DGF_LEDGER_VALUE_MAX)
        return false;
    return op == DGF_STATE_PUT || (op == DGF_STATE_DELETE && ret->value.len == 0);
}

bool dgf_frame_get_cursor(struct dgf_bytes payload, struct dgf_ledger_cursor *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);
    uint16_t n_name = dgf_rd_le16(&rd);

    ret->name = dgf_rd_bytes(&rd, n_name);
    ret->value = dgf_bytes_of(rd.ptr, dgf_rd_left(&rd));
    return !rd.bad && n_name <= DGF_LEDGER_KEY_MAX &&
           ret->value.len <= DGF_LEDGER_VALUE_MAX;
}

bool dgf_frame_get_cut(struct dgf_bytes payload, uint64_t *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);

    *ret = dgf_rd_le64(&rd);
    return !rd.bad && dgf_rd_left(&rd) == 0;
}

/* Fixed-length fields come out by copy. */
static void get_fixed(struct dgf_rd *rd, uint8_t *ret, size_t len)
{
    struct dgf_bytes bytes = dgf_rd_bytes(rd, len);

    if (rd->bad)
        memset(ret, 0, len);
    else
        memcpy(ret, bytes.ptr, len);
}

void dgf_frame_put_commit(struct dgf_buf *to, const struct dgf_commit *commit)
{
    dgf_buf_add(to, commit->log_id, sizeof(commit->log_id));
    dgf_buf_add_le64(to, commit->batch);
    dgf_buf_add_le64(to, (uint64_t)commit->time_ns);
    dgf_buf_add_le64(to, commit->size);
    dgf_buf_add(to, commit->root, sizeof(commit->root));
    dgf_buf_add_le32(to, commit->n_frames);
    dgf_buf_add_le32(to, commit->chain);
    dgf_buf_add(to, commit->policy_set, sizeof(commit->policy_set));
    dgf_buf_add_bytes(to, commit->positions);
}

bool dgf_frame_get_commit(struct dgf_bytes payload, struct dgf_commit *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);

    get_fixed(&rd, ret->log_id, sizeof(ret->log_id));
    ret->batch = dgf_rd_le64(&rd);
    ret->time_ns = (int64_t)dgf_rd_le64(&rd);
    ret->size = dgf_rd_le64(&rd);
    get_fixed(&rd, ret->root, sizeof(ret->root));
    ret->n_frames = dgf_rd_le32(&rd);
    ret->chain = dgf_rd_le32(&rd);
    get_fixed(&rd, ret->policy_set, sizeof(ret->policy_set));
    ret->positions = dgf_bytes_of(rd.ptr, dgf_rd_left(&rd));
    return !rd.bad && payload.len >= DGF_COMMIT_MIN;
}

void dgf_frame_put_head(struct dgf_buf *to, const struct dgf_head *head)
{
    dgf_buf_add(to, head_magic, sizeof(head_magic));
    dgf_buf_add(to, head->log_id, sizeof(head->log_id));
    dgf_buf_add_le64(to, head->first);
    dgf_buf_add_le64(to, head->batch_before);
    dgf_buf_add_le64(to, (uint64_t)head->created_ns);
    dgf_buf_add_le64(to, head->prev_first);
    dgf_buf_add_le64(to, head->prev_bytes);
    dgf_buf_add_bytes(to, head->rest);
}

bool dgf_frame_get_head(struct dgf_bytes payload, struct dgf_head *ret)
{
    struct dgf_rd rd = dgf_rd_of(payload);
    struct dgf_bytes magic = dgf_rd_bytes(&rd, sizeof(head_magic));

    get_fixed(&rd, ret->log_id, sizeof(ret->log_id));
    ret->first = dgf_rd_le64(&rd);
    ret->batch_before = dgf_rd_le64(&rd);
    ret->created_ns = (int64_t)dgf_rd_le64(&rd);
    ret->prev_first = dgf_rd_le64(&rd);
    ret->prev_bytes = dgf_rd_le64(&rd);
    ret->rest = dgf_bytes_of(rd.ptr, dgf_rd_left(&rd));
    return !rd.bad && memcmp(magic.ptr, head_magic, sizeof(head_magic)) == 0;
}
