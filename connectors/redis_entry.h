/* redis_entry.h - one entry of a Redis stream as an event.
 *
 * Pure: bytes of a reply in, a filled event builder out.  Values are text when
 * they are UTF-8, bytes when not, and what `decode` says.  What cannot be
 * understood gives DGF_BAD_DATA and one sentence without content.
 * Thread: one owner. */
#ifndef DGF_CONNECTORS_REDIS_ENTRY_H
#define DGF_CONNECTORS_REDIS_ENTRY_H

#include "base/opt.h"
#include "bus/event.h"
#include "resp_reader.h"

#define DGF_REDIS_FIELDS_MAX 65536
#define DGF_REDIS_NAME_MAX 512 /* bytes of an object's name */
#define DGF_REDIS_ID_TEXT 44

/* ---- ids ---- */

struct dgf_redis_id {
    uint64_t ms, seq;
};

static inline int dgf_redis_id_cmp(struct dgf_redis_id a, struct dgf_redis_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return a.seq < b.seq ? -1 : a.seq > b.seq;
}

/* "1700000000000-3"; both numbers are needed. */
bool dgf_redis_id_parse(struct dgf_bytes text, struct dgf_redis_id *ret);
void dgf_redis_id_text(struct dgf_redis_id id, char ret[DGF_REDIS_ID_TEXT]);
/* The id before and after; 0-0 and the largest one stay. */
struct dgf_redis_id dgf_redis_id_before(struct dgf_redis_id id);
struct dgf_redis_id dgf_redis_id_after(struct dgf_redis_id id);

/* ---- entries ---- */

struct dgf_redis_map {
    char *object, *op, *before, *after; /* names of fields; NULL: not mapped */
    struct dgf_str_list key;
    struct dgf_str_map ops; /* word in the entry -> word of ours */
};

struct dgf_redis_entry {
    struct dgf_redis_id id;
    bool deleted; /* it is pending, and gone */
    uint32_t n_fields;
    struct dgf_bytes fields; /* encoded names and values */
};

/* Reads the outside of an entry; from the head of one that was cut too, where
 * fields are not to be looked at. */
enum dgf_rc dgf_redis_entry_read(struct dgf_bytes item, bool cut,
                                 struct dgf_redis_entry *ret, const char **why)
    DGF_MUST_USE;

/* Where the entry belongs: object is the name in the mapped field, empty when
 * that is not mapped. */
struct dgf_redis_sort {
    struct dgf_bytes object;
    enum dgf_op op;
};
enum dgf_rc dgf_redis_entry_sort(const struct dgf_redis_map *map,
                                 const struct dgf_redis_entry *entry,
                                 struct dgf_redis_sort *ret, const char **why)
    DGF_MUST_USE;

/* Fills the builder, dgf_event_begin included; the caller finishes.
 * decode: field -> json or msgpack.  DGF_NOMEM shows at dgf_event_finish. */
enum dgf_rc dgf_redis_entry_build(const struct dgf_redis_map *map,
                                  const struct dgf_str_map *decode,
                                  const struct dgf_redis_entry *entry, enum dgf_op op,
                                  struct dgf_object *object,
                                  struct dgf_event_builder *builder, const char **why)
    DGF_MUST_USE;

#endif
