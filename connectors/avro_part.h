/* avro_part.h - what avro_blocks.c and avro_schema.c share. */
#ifndef DGF_CONNECTORS_AVRO_PART_H
#define DGF_CONNECTORS_AVRO_PART_H

#include "base/buf.h"

/* DGF_AGAIN at the end of the bytes, DGF_BAD_DATA beyond 64 bits. */
enum dgf_rc dgf_avro_long(struct dgf_rd *rd, int64_t *ret) DGF_MUST_USE;

#endif
