#include "cosmos_position.h"

#define VERSION 1

static void put(struct dgf_buf *out, struct dgf_bytes bytes)
{
    dgf_buf_add_le16(out, (uint16_t)bytes.len);
    dgf_buf_add_bytes(out, bytes);
}

void dgf_cosmos_position_begin(struct dgf_buf *out, enum dgf_cosmos_mode mode,
                               struct dgf_bytes account, uint32_t n_containers)
{
    dgf_buf_add_byte(out, VERSION);
    dgf_buf_add_byte(out, (uint8_t)mode);
    put(out, account);
    dgf_buf_add_le32(out, n_containers);
}

void dgf_cosmos_position_place(struct dgf_buf *out,
                               const struct dgf_cosmos_place *place)
{
    put(out, place->name);
    put(out, place->rid);
    put(out, place->since);
    dgf_buf_add_le32(out, place->n_ranges);
}

void dgf_cosmos_position_token(struct dgf_buf *out,
                               const struct dgf_cosmos_token *token)
{
    put(out, token->min);
    put(out, token->max);
    put(out, token->etag);
}

static struct dgf_bytes take(struct dgf_rd *rd)
{
    return dgf_rd_bytes(rd, dgf_rd_le16(rd));
}

static bool begin(struct dgf_bytes bytes, struct dgf_cosmos_position *ret)
{
    uint8_t version, mode;

    ret->rest = dgf_rd_of(bytes);
    version = dgf_rd_u8(&ret->rest);
    mode = dgf_rd_u8(&ret->rest);
    ret->mode = (enum dgf_cosmos_mode)mode;
    ret->account = take(&ret->rest);
    ret->n_containers = dgf_rd_le32(&ret->rest);
    return !ret->rest.bad && version == VERSION && mode <= DGF_COSMOS_ALL;
}

bool dgf_cosmos_position_next(struct dgf_cosmos_position *position,
                              struct dgf_cosmos_place *ret)
{
    if (!position->n_containers)
        return false;
    position->n_containers--;
    ret->name = take(&position->rest);
    ret->rid = take(&position->rest);
    ret->since = take(&position->rest);
    ret->n_ranges = dgf_rd_le32(&position->rest);
    return !position->rest.bad && ret->name.len;
}

bool dgf_cosmos_position_next_token(struct dgf_cosmos_position *position,
                                    struct dgf_cosmos_token *ret)
{
    ret->min = take(&position->rest);
    ret->max = take(&position->rest);
    ret->etag = take(&position->rest);
    return !position->rest.bad;
}

bool dgf_cosmos_position_read(struct dgf_bytes bytes, struct dgf_cosmos_position *ret)
{
    struct dgf_cosmos_position walk;
    struct dgf_cosmos_place place;
    struct dgf_cosmos_token token;
    uint32_t n = 0;

    if (!begin(bytes, &walk))
        return false;
    *ret = walk;
    while (dgf_cosmos_position_next(&walk, &place)) {
        n++;
        for (uint32_t i = 0; i < place.n_ranges; i++)
            if (!dgf_cosmos_position_next_token(&walk, &token))
                return false;
    }
    return !walk.rest.bad && n == ret->n_containers && !dgf_rd_left(&walk.rest);
}

/* ---- text ---- */

static void add_plain(struct dgf_buf *out, struct dgf_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        dgf_buf_add_byte(out,
                         text.ptr[i] > ' ' && text.ptr[i] < 0x7f ? text.ptr[i] : '?');
}

static struct dgf_bytes unquoted(struct dgf_bytes etag)
{
    if (etag.len >= 2 && etag.ptr[0] == '"' && etag.ptr[etag.len - 1] == '"')
        return dgf_bytes_of(etag.ptr + 1, etag.len - 2);
    return etag;
}

void dgf_cosmos_position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    struct dgf_cosmos_position walk;
    struct dgf_cosmos_place place;
    struct dgf_cosmos_token token;
    size_t begin_at = out->len, left_out = 0;
    bool several;

    if (!dgf_cosmos_position_read(position, &walk))
        return;
    several = walk.n_containers > 1;
    while (dgf_cosmos_position_next(&walk, &place))
        for (uint32_t i = 0; i < place.n_ranges; i++) {
            size_t len;

            (void)dgf_cosmos_position_next_token(&walk, &token);
            len = place.name.len + token.min.len + token.max.len + token.etag.len + 4;
            if (left_out || out->len - begin_at + len > DGF_COSMOS_POSITION_TEXT_MAX) {
                left_out++;
                continue;
            }
            if (out->len > begin_at)
                dgf_buf_add_byte(out, ' ');
            if (several) {
                add_plain(out, place.name);
                dgf_buf_add_byte(out, '/');
            }
            add_plain(out, token.min);
            dgf_buf_add_byte(out, '-');
            add_plain(out, token.max);
            dgf_buf_add_byte(out, ':');
            add_plain(out, unquoted(token.etag));
        }
    if (left_out)
        dgf_buf_addf(out, " +%zu", left_out);
}
