/* avro_blocks.h - Avro object container files (1.8.2), read by ranges.
 *
 * A file is a header (schema, codec, sync marker) and blocks; each block can be
 * read alone once the header is known, so that a position is a block's offset
 * and an index in it.  Data is decoded by the schema the writer put into the
 * file, into msgpack.  Every length is believed only as far as there are bytes.
 * Pure.  Thread: any, one owner. */
#ifndef DGF_CONNECTORS_AVRO_BLOCKS_H
#define DGF_CONNECTORS_AVRO_BLOCKS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

#define DGF_AVRO_HEADER_MAX ((size_t)1 << 20)
#define DGF_AVRO_BLOCK_MAX ((size_t)64 << 20)
#define DGF_AVRO_SYNC_LEN 16

/* ---- the writer's schema ---- */

struct dgf_avro_schema;

/* DGF_BAD_DATA: no schema of Avro, or one beyond our caps (4,096 types, 32 levels). */
enum dgf_rc dgf_avro_schema_parse(struct dgf_bytes json, struct dgf_avro_schema **ret,
                                  struct dgf_err *err) DGF_MUST_USE;
void dgf_avro_schema_free(struct dgf_avro_schema *schema); /* NULL is fine */
DGF_CLEANUP_OF(struct dgf_avro_schema *, dgf_avro_schema_free)

/* The root is a record with a field of that name. */
bool dgf_avro_schema_has(const struct dgf_avro_schema *schema, const char *field);

/* Appends one value as msgpack (record and map: map; enum: text) and moves rd behind
 * it.  DGF_BAD_DATA with a text, also when out is full or a value has more than
 * 100,000 items. */
enum dgf_rc dgf_avro_decode(const struct dgf_avro_schema *schema, struct dgf_rd *rd,
                            struct dgf_buf *out, struct dgf_err *err) DGF_MUST_USE;

/* ---- the container ---- */

struct dgf_avro_header {
    size_t len; /* the first block begins here */
    uint8_t sync[DGF_AVRO_SYNC_LEN];
    struct dgf_avro_schema *schema; /* owned */
};

/* bytes: the file from its start.  DGF_AGAIN: the header goes on behind them.
 * DGF_BAD_DATA: no Avro file, a codec other than null, a broken schema. */
enum dgf_rc dgf_avro_header_read(struct dgf_bytes bytes, struct dgf_avro_header *ret,
                                 struct dgf_err *err) DGF_MUST_USE;
void dgf_avro_header_release(struct dgf_avro_header *header);

struct dgf_avro_block {
    uint64_t count;        /* values in it */
    struct dgf_bytes data; /* borrowed */
    size_t len;            /* of all of it: the next block begins there */
};

/* bytes: from where a block begins.  DGF_AGAIN: it goes on behind them, *ret_need is
 * how many bytes it has when that is known, else 0.  DGF_BAD_DATA. */
enum dgf_rc dgf_avro_block_read(struct dgf_bytes bytes,
                                const uint8_t sync[DGF_AVRO_SYNC_LEN],
                                struct dgf_avro_block *ret, size_t *ret_need,
                                struct dgf_err *err) DGF_MUST_USE;

#endif
