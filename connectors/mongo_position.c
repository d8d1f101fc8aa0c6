#include "mongo_position.h"

#include "bson_value.h"

#define VERSION 2

void dgf_mongo_position_write(const struct dgf_mongo_position *position,
                              struct dgf_buf *out)
{
    dgf_buf_add_byte(out, VERSION);
    dgf_buf_add_byte(out, position->how);
    dgf_buf_add_byte(out, position->stopped);
    dgf_buf_add(out, position->system, sizeof(position->system));
    dgf_buf_add_le64(out, position->time);
    dgf_buf_add_le64(out, position->floor);
    dgf_buf_add_le32(out, position->ordinal);
    dgf_buf_add_byte(out, position->tx_len);
    dgf_buf_add(out, position->tx, position->tx_len);
    dgf_buf_add(out, position->shape.scope, DGF_MONGO_HASH_LEN);
    dgf_buf_add(out, position->shape.names, DGF_MONGO_HASH_LEN);
    dgf_buf_add(out, position->shape.images, DGF_MONGO_HASH_LEN);
    dgf_buf_add_bytes(out, position->token);
}

static void read_shape(struct dgf_rd *rd, struct dgf_mongo_shape *ret)
{
    uint8_t *parts[] = {ret->scope, ret->names, ret->images};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        struct dgf_bytes part = dgf_rd_bytes(rd, DGF_MONGO_HASH_LEN);

        if (!rd->bad)
            memcpy(parts[i], part.ptr, DGF_MONGO_HASH_LEN);
    }
}

bool dgf_mongo_position_read(struct dgf_bytes bytes, struct dgf_mongo_position *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_mongo_position position = {0};
    struct dgf_bytes system, tx;
    struct dgf_bson bson;
    uint8_t version = dgf_rd_u8(&rd), stopped;

    position.how = dgf_rd_u8(&rd);
    stopped = dgf_rd_u8(&rd);
    system = dgf_rd_bytes(&rd, sizeof(position.system));
    position.time = dgf_rd_le64(&rd);
    position.floor = dgf_rd_le64(&rd);
    position.ordinal = dgf_rd_le32(&rd);
    position.tx_len = dgf_rd_u8(&rd);
    tx = dgf_rd_bytes(&rd, position.tx_len);
    if (version > 1)
        read_shape(&rd, &position.shape);
    if (rd.bad || version < 1 || version > VERSION ||
        position.how > DGF_MONGO_AT_TIME || stopped > 1 ||
        position.tx_len > sizeof(position.tx))
        return false;
    position.stopped = stopped;
    memcpy(position.system, system.ptr, sizeof(position.system));
    if (tx.len)
        memcpy(position.tx, tx.ptr, tx.len);
    position.token = dgf_rd_bytes(&rd, dgf_rd_left(&rd));
    if (position.token.len > DGF_MONGO_TOKEN_MAX ||
        (position.how != DGF_MONGO_AT_TIME && position.token.len == 0) ||
        (position.token.len && dgf_bson_of(position.token, &bson)))
        return false;
    *ret = position;
    return true;
}

void dgf_mongo_position_text(struct dgf_bytes bytes, struct dgf_buf *out)
{
    struct dgf_mongo_position position;
    uint8_t digest[DGF_SHA256_LEN];

    if (!dgf_mongo_position_read(bytes, &position))
        return;
    dgf_buf_add_u64(out, position.time >> 32);
    dgf_buf_add_byte(out, '.');
    dgf_buf_add_u64(out, (uint32_t)position.time);
    dgf_buf_add_byte(out, ':');
    if (!position.token.len) {
        dgf_buf_add_byte(out, '-');
        return;
    }
    dgf_sha256(position.token, digest);
    dgf_buf_add_hex(out, dgf_bytes_of(digest, 4));
}

static bool data_of(struct dgf_bytes token, struct dgf_bytes *ret)
{
    struct dgf_bson_element element;

    return token.len && dgf_bson_find(token, "_data", &element) &&
           dgf_bson_text(&element, ret) && ret->len;
}

bool dgf_mongo_token_is_behind(struct dgf_bytes token, struct dgf_bytes other)
{
    struct dgf_bytes a, b;
    int order;

    if (!data_of(token, &a) || !data_of(other, &b))
        return false;
    order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order > 0 || (order == 0 && a.len > b.len);
}

enum dgf_mongo_fate dgf_mongo_fate_of(int code, bool at_open, bool label)
{
    /* The list of the specification of change streams, for servers without labels. */
    static const int resumable[] = {6,     7,     43,    63,    89,    91,
                                    133,   150,   189,   234,   262,   9001,
                                    10107, 11600, 11602, 13388, 13435, 13436};

    switch (code) {
    case 286: /* ChangeStreamHistoryLost */
    case 464: /* ShardRemovedError */
        return DGF_MONGO_FATE_LOST;
    case 136: /* CappedPositionLost */
        return label && !at_open ? DGF_MONGO_FATE_RESUME : DGF_MONGO_FATE_LOST;
    case 280: /* ChangeStreamFatalError */
        return at_open ? DGF_MONGO_FATE_INVALID : DGF_MONGO_FATE_POISON;
    case 47:    /* NoMatchingDocument: a required image is missing */
    case 10334: /* BSONObjectTooLarge */
        return DGF_MONGO_FATE_POISON;
    case 9:     /* FailedToParse */
    case 260:   /* InvalidResumeToken */
    case 40576: /* ChangeStreamHistoryLost before 4.2 */
    case 40585:
    case 40647:
    case 40649:
    case 50811: /* bad key string */
        return at_open ? DGF_MONGO_FATE_INVALID
               : label ? DGF_MONGO_FATE_RESUME
                       : DGF_MONGO_FATE_FAIL;
    default:
        break;
    }
    if (at_open)
        return DGF_MONGO_FATE_FAIL;
    for (size_t i = 0; i < sizeof(resumable) / sizeof(resumable[0]); i++)
        if (code == resumable[i])
            return DGF_MONGO_FATE_RESUME;
    return label ? DGF_MONGO_FATE_RESUME : DGF_MONGO_FATE_FAIL;
}
