/* pgoutput.h - decoder of the messages of PostgreSQL's pgoutput plugin,
 * proto_version 1 (PostgreSQL documentation, "Logical Replication Message
 * Formats").
 *
 * Pure: bytes in, struct out; no state between messages.  Every view points
 * into the message, which must outlive the struct's use.  A message that is
 * cut short, has bytes to spare or an unknown type is DGF_BAD_DATA: after
 * that the stream cannot be trusted.  Thread: any, one owner. */
#ifndef DGF_CONNECTORS_PGOUTPUT_H
#define DGF_CONNECTORS_PGOUTPUT_H

#include "base/buf.h"
#include "base/err.h"

/* MaxTupleAttributeNumber of the server. */
#define DGF_PG_MAX_COLUMNS 1664

enum dgf_pg_datum_kind {
    DGF_PG_NULL = 'n',
    DGF_PG_UNCHANGED = 'u', /* unchanged TOAST, not sent */
    DGF_PG_TEXT = 't',
    DGF_PG_BINARY = 'b',
};

struct dgf_pg_datum {
    uint8_t kind; /* enum dgf_pg_datum_kind */
    struct dgf_bytes bytes;
};

struct dgf_pg_tuple {
    uint32_t n;
    struct dgf_pg_datum datums[DGF_PG_MAX_COLUMNS];
};

struct dgf_pg_attribute {
    bool identity; /* part of the replica identity */
    struct dgf_bytes name;
    uint32_t type;
    int32_t typmod;
};

enum dgf_pg_message {
    DGF_PG_BEGIN = 'B',
    DGF_PG_COMMIT = 'C',
    DGF_PG_ORIGIN = 'O',
    DGF_PG_RELATION = 'R',
    DGF_PG_TYPE = 'Y',
    DGF_PG_INSERT = 'I',
    DGF_PG_UPDATE = 'U',
    DGF_PG_DELETE = 'D',
    DGF_PG_TRUNCATE = 'T',
    DGF_PG_MESSAGE = 'M',
};

struct dgf_pgoutput {
    uint8_t type; /* enum dgf_pg_message */
    union {
        struct {
            uint64_t final_lsn; /* LSN of the commit record */
            int64_t commit_us;  /* since 2000-01-01 UTC */
            uint32_t xid;
        } begin;
        struct {
            uint64_t commit_lsn, end_lsn;
            int64_t commit_us;
        } commit;
        struct {
            uint64_t lsn;
            struct dgf_bytes name;
        } origin;
        struct {
            uint32_t oid;
            struct dgf_bytes schema, name; /* schema is empty for pg_catalog */
            uint8_t identity;              /* d, n, f or i */
            uint32_t n;                    /* in attributes[] */
        } relation;
        struct {
            uint32_t oid;
            struct dgf_bytes schema, name;
        } type_;
        struct {
            uint32_t relation;
            uint8_t old_kind; /* 'K' key, 'O' whole old row, 0: none; in old */
        } row;
        struct {
            uint32_t n;
            bool cascade, restart;
            struct dgf_bytes oids; /* n numbers, see dgf_pgoutput_truncated */
        } truncate;
        struct {
            bool transactional;
            uint64_t lsn;
            struct dgf_bytes prefix, content;
        } message;
    };
    struct dgf_pg_tuple old_row, new_row; /* I: new; D: old; U: both */
    struct dgf_pg_attribute attributes[DGF_PG_MAX_COLUMNS];
};

/* DGF_BAD_DATA only.  ret is large: keep one. */
enum dgf_rc dgf_pgoutput_decode(struct dgf_bytes message, struct dgf_pgoutput *ret,
                                struct dgf_err *err) DGF_MUST_USE;
/* i < truncate.n. */
uint32_t dgf_pgoutput_truncated(const struct dgf_pgoutput *message, uint32_t i);
/* Microseconds since 2000 to nanoseconds since 1970, held in range. */
int64_t dgf_pg_time_ns(int64_t us);

#endif
