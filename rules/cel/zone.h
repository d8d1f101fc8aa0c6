/* zone.h - time zones by IANA name, read from the system's zoneinfo.
 *
 * The C library keeps one zone for the whole process, so we read the files
 * (RFC 8536) ourselves.  Zones are kept for the life of the process.
 * Thread: any. */
#ifndef DGF_CEL_ZONE_H
#define DGF_CEL_ZONE_H

#include "base/buf.h"

/* Seconds east of UTC at a moment; false: no such zone. */
bool dgf_cel_zone_lookup(struct dgf_bytes name, int64_t seconds, int32_t *ret_offset);

/* The rule at the end of a zone file: "CST6CDT,M3.2.0,M11.1.0"; false: none. */
bool dgf_cel_zone_rule(const char *rule, int64_t seconds, int32_t *ret_offset);

#endif
