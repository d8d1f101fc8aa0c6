#include "pgoutput.h"

#include "base/mem.h"

#define PG_EPOCH_US 946684800000000 /* 2000-01-01 in us since 1970 */

static void read_tuple(struct dgf_rd *rd, struct dgf_pg_tuple *tuple)
{
    uint32_t n = dgf_rd_be16(rd);

    tuple->n = 0;
    if (n > DGF_PG_MAX_COLUMNS) {
        rd->bad = true;
        return;
    }
    for (uint32_t i = 0; i < n && !rd->bad; i++) {
        struct dgf_pg_datum *datum = &tuple->datums[i];

        datum->kind = dgf_rd_u8(rd);
        switch (datum->kind) {
        case DGF_PG_NULL:
        case DGF_PG_UNCHANGED:
            datum->bytes = (struct dgf_bytes){NULL, 0};
            break;
        case DGF_PG_TEXT:
        case DGF_PG_BINARY:
            datum->bytes = dgf_rd_bytes(rd, dgf_rd_be32(rd));
            break;
        default:
            rd->bad = true;
        }
    }
    if (!rd->bad)
        tuple->n = n;
}

static void read_relation(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    uint32_t n;

    ret->relation.oid = dgf_rd_be32(rd);
    ret->relation.schema = dgf_rd_cstr(rd);
    ret->relation.name = dgf_rd_cstr(rd);
    ret->relation.identity = dgf_rd_u8(rd);
    n = dgf_rd_be16(rd);
    ret->relation.n = 0;
    if (n > DGF_PG_MAX_COLUMNS) {
        rd->bad = true;
        return;
    }
    for (uint32_t i = 0; i < n && !rd->bad; i++) {
        struct dgf_pg_attribute *attribute = &ret->attributes[i];

        attribute->identity = dgf_rd_u8(rd) & 1;
        attribute->name = dgf_rd_cstr(rd);
        attribute->type = dgf_rd_be32(rd);
        attribute->typmod = (int32_t)dgf_rd_be32(rd);
    }
    if (!rd->bad)
        ret->relation.n = n;
}

static void read_update(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    uint8_t tag;

    ret->row.relation = dgf_rd_be32(rd);
    ret->row.old_kind = 0;
    tag = dgf_rd_u8(rd);
    if (tag == 'K' || tag == 'O') {
        ret->row.old_kind = tag;
        read_tuple(rd, &ret->old_row);
        tag = dgf_rd_u8(rd);
    }
    if (tag != 'N')
        rd->bad = true;
    else
        read_tuple(rd, &ret->new_row);
}

static void read_insert(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    ret->row.relation = dgf_rd_be32(rd);
    ret->row.old_kind = 0;
    if (dgf_rd_u8(rd) != 'N')
        rd->bad = true;
    else
        read_tuple(rd, &ret->new_row);
}

static void read_delete(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    ret->row.relation = dgf_rd_be32(rd);
    ret->row.old_kind = dgf_rd_u8(rd);
    if (ret->row.old_kind != 'K' && ret->row.old_kind != 'O')
        rd->bad = true;
    else
        read_tuple(rd, &ret->old_row);
}

static void read_truncate(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    uint32_t n = dgf_rd_be32(rd);
    uint8_t flags = dgf_rd_u8(rd);
    size_t len;

    if (!dgf_mul_size(n, 4, &len)) {
        rd->bad = true;
        return;
    }
    ret->truncate.cascade = flags & 1;
    ret->truncate.restart = flags & 2;
    ret->truncate.oids = dgf_rd_bytes(rd, len);
    ret->truncate.n = rd->bad ? 0 : n;
}

static void read_logical(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    ret->message.transactional = dgf_rd_u8(rd) & 1;
    ret->message.lsn = dgf_rd_be64(rd);
    ret->message.prefix = dgf_rd_cstr(rd);
    ret->message.content = dgf_rd_bytes(rd, dgf_rd_be32(rd));
}

/* False: no such type. */
static bool read_body(struct dgf_rd *rd, struct dgf_pgoutput *ret)
{
    switch (ret->type) {
    case DGF_PG_BEGIN:
        ret->begin.final_lsn = dgf_rd_be64(rd);
        ret->begin.commit_us = (int64_t)dgf_rd_be64(rd);
        ret->begin.xid = dgf_rd_be32(rd);
        return true;
    case DGF_PG_COMMIT:
        (void)dgf_rd_u8(rd); /* flags, unused by the protocol */
        ret->commit.commit_lsn = dgf_rd_be64(rd);
        ret->commit.end_lsn = dgf_rd_be64(rd);
        ret->commit.commit_us = (int64_t)dgf_rd_be64(rd);
        return true;
    case DGF_PG_ORIGIN:
        ret->origin.lsn = dgf_rd_be64(rd);
        ret->origin.name = dgf_rd_cstr(rd);
        return true;
    case DGF_PG_RELATION:
        read_relation(rd, ret);
        return true;
    case DGF_PG_TYPE:
        ret->type_.oid = dgf_rd_be32(rd);
        ret->type_.schema = dgf_rd_cstr(rd);
        ret->type_.name = dgf_rd_cstr(rd);
        return true;
    case DGF_PG_INSERT:
        read_insert(rd, ret);
        return true;
    case DGF_PG_UPDATE:
        read_update(rd, ret);
        return true;
    case DGF_PG_DELETE:
        read_delete(rd, ret);
        return true;
    case DGF_PG_TRUNCATE:
        read_truncate(rd, ret);
        return true;
    case DGF_PG_MESSAGE:
        read_logical(rd, ret);
        return true;
    default:
        return false;
    }
}

enum dgf_rc dgf_pgoutput_decode(struct dgf_bytes message, struct dgf_pgoutput *ret,
                                struct dgf_err *err)
{
    struct dgf_rd rd = dgf_rd_of(message);

    ret->type = dgf_rd_u8(&rd);
    ret->old_row.n = ret->new_row.n = 0;
    if (rd.bad)
        return dgf_err_set(err, DGF_BAD_DATA, "empty message");
    if (!read_body(&rd, ret))
        return dgf_err_set(err, DGF_BAD_DATA, "unknown message type 0x%02x, %zu bytes",
                           ret->type, message.len);
    if (rd.bad)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "message '%c' of %zu bytes is cut short or malformed",
                           ret->type, message.len);
    if (dgf_rd_left(&rd) > 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "message '%c' of %zu bytes has %zu to spare", ret->type,
                           message.len, dgf_rd_left(&rd));
    return DGF_OK;
}

uint32_t dgf_pgoutput_truncated(const struct dgf_pgoutput *message, uint32_t i)
{
    struct dgf_rd rd = {message->truncate.oids.ptr + (size_t)i * 4,
                        message->truncate.oids.ptr + message->truncate.oids.len, false};

    return dgf_rd_be32(&rd);
}

int64_t dgf_pg_time_ns(int64_t us)
{
    int64_t ns;

    if (__builtin_add_overflow(us, PG_EPOCH_US, &ns) ||
        __builtin_mul_overflow(ns, 1000, &ns))
        return us < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}
