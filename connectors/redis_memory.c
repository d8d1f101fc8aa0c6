#include "redis_memory.h"

#define VERSION 1

enum { ADDED_KNOWN = 1, GROUP_DUE = 2 };

/* ---- memory ---- */

void dgf_redis_memory_release(struct dgf_redis_memory *memory)
{
    dgf_free(memory->claimed);
    memset(memory, 0, sizeof(*memory));
}

static void put_id(struct dgf_buf *out, struct dgf_redis_id id)
{
    dgf_buf_add_le64(out, id.ms);
    dgf_buf_add_le64(out, id.seq);
}

static struct dgf_redis_id get_id(struct dgf_rd *rd)
{
    struct dgf_redis_id id = {.ms = dgf_rd_le64(rd)};

    id.seq = dgf_rd_le64(rd);
    return id;
}

void dgf_redis_memory_put(const struct dgf_redis_memory *memory, struct dgf_buf *out)
{
    dgf_buf_add_byte(out, VERSION);
    dgf_buf_add_le32(out, memory->epoch);
    put_id(out, memory->last);
    dgf_buf_add_byte(out, (uint8_t)((memory->added_known ? ADDED_KNOWN : 0) |
                                    (memory->group_due ? GROUP_DUE : 0)));
    dgf_buf_add_le64(out, memory->added);
    put_id(out, memory->verified);
    dgf_buf_add_le32(out, memory->n_marks);
    for (uint32_t i = 0; i < memory->n_marks; i++) {
        put_id(out, memory->marks[i].id);
        dgf_buf_add_le64(out, memory->marks[i].hash);
    }
    dgf_buf_add_le32(out, memory->n_claimed);
    for (uint32_t i = 0; i < memory->n_claimed; i++)
        put_id(out, memory->claimed[i]);
}

enum dgf_rc dgf_redis_memory_get(struct dgf_bytes bytes, struct dgf_redis_memory *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_redis_memory memory = {0};
    uint8_t version = dgf_rd_u8(&rd), flags;

    memory.epoch = dgf_rd_le32(&rd);
    memory.last = get_id(&rd);
    flags = dgf_rd_u8(&rd);
    memory.added_known = flags & ADDED_KNOWN;
    memory.group_due = flags & GROUP_DUE;
    memory.added = dgf_rd_le64(&rd);
    memory.verified = get_id(&rd);
    memory.n_marks = dgf_rd_le32(&rd);
    if (rd.bad || version != VERSION || flags > (ADDED_KNOWN | GROUP_DUE) ||
        memory.epoch == 0 || memory.n_marks > DGF_REDIS_MARKS)
        return DGF_FATAL;
    for (uint32_t i = 0; i < memory.n_marks; i++) {
        memory.marks[i].id = get_id(&rd);
        memory.marks[i].hash = dgf_rd_le64(&rd);
    }
    memory.n_claimed = dgf_rd_le32(&rd);
    if (rd.bad || memory.n_claimed > DGF_REDIS_CLAIMED_MAX ||
        dgf_rd_left(&rd) != 16 * (size_t)memory.n_claimed)
        return DGF_FATAL;
    if (memory.n_claimed) {
        memory.claimed = dgf_calloc(DGF_REDIS_CLAIMED_MAX, sizeof(*memory.claimed));
        if (!memory.claimed)
            return DGF_NOMEM;
    }
    for (uint32_t i = 0; i < memory.n_claimed; i++)
        memory.claimed[i] = get_id(&rd);
    *ret = memory;
    return DGF_OK;
}

uint64_t dgf_redis_entry_hash(struct dgf_bytes entry)
{
    uint8_t digest[DGF_SHA256_LEN];
    uint64_t hash;

    dgf_sha256(entry, digest);
    memcpy(&hash, digest, sizeof(hash));
    return le64toh(hash);
}

void dgf_redis_memory_mark(struct dgf_redis_memory *memory, struct dgf_redis_id id,
                           struct dgf_bytes entry)
{
    if (memory->n_marks == DGF_REDIS_MARKS) {
        memmove(memory->marks, memory->marks + 1,
                (DGF_REDIS_MARKS - 1) * sizeof(memory->marks[0]));
        memory->n_marks--;
    }
    memory->marks[memory->n_marks++] =
        (struct dgf_redis_mark){id, dgf_redis_entry_hash(entry)};
}

bool dgf_redis_memory_claim(struct dgf_redis_memory *memory, struct dgf_redis_id id)
{
    if (!memory->claimed)
        memory->claimed = dgf_calloc(DGF_REDIS_CLAIMED_MAX, sizeof(*memory->claimed));
    if (!memory->claimed || memory->n_claimed == DGF_REDIS_CLAIMED_MAX)
        return false;
    memory->claimed[memory->n_claimed++] = id;
    return true;
}

void dgf_redis_memory_unclaim(struct dgf_redis_memory *memory, struct dgf_redis_id id)
{
    for (uint32_t i = 0; i < memory->n_claimed; i++)
        if (dgf_redis_id_cmp(memory->claimed[i], id) == 0) {
            memory->claimed[i] = memory->claimed[--memory->n_claimed];
            return;
        }
}

bool dgf_redis_memory_claimed(const struct dgf_redis_memory *memory,
                              struct dgf_redis_id id)
{
    for (uint32_t i = 0; i < memory->n_claimed; i++)
        if (dgf_redis_id_cmp(memory->claimed[i], id) == 0)
            return true;
    return false;
}

/* ---- positions ---- */

void dgf_redis_position_put(struct dgf_bytes stream, uint32_t epoch,
                            struct dgf_redis_id id, struct dgf_buf *out)
{
    dgf_buf_add_byte(out, VERSION);
    dgf_buf_add_le32(out, epoch);
    put_id(out, id);
    dgf_buf_add_bytes(out, stream);
}

void dgf_redis_position_text(struct dgf_bytes position, struct dgf_buf *out)
{
    struct dgf_rd rd = dgf_rd_of(position);
    uint8_t version = dgf_rd_u8(&rd);
    uint32_t epoch = dgf_rd_le32(&rd);
    struct dgf_redis_id id = get_id(&rd);
    char text[DGF_REDIS_ID_TEXT];

    if (rd.bad || version != VERSION)
        return;
    dgf_redis_id_text(id, text);
    dgf_buf_add(out, rd.ptr, dgf_rd_left(&rd));
    dgf_buf_addf(out, "@%u:%s", epoch, text);
}

/* ---- what became of it ---- */

bool dgf_redis_facts_read(struct dgf_bytes item, struct dgf_redis_facts *ret)
{
    struct dgf_resp resp = dgf_resp_of(item);
    struct dgf_resp_token head, name, value;
    struct dgf_redis_facts facts = {0};
    unsigned found = 0;

    if (dgf_resp_next(&resp, &head) || head.kind != DGF_RESP_ARRAY)
        return false;
    for (int64_t i = 0; i < head.number / 2 && found < 5; i++) {
        struct dgf_resp at;

        if (dgf_resp_next(&resp, &name) || name.kind != DGF_RESP_BULK)
            return false;
        at = resp;
        if (dgf_resp_next(&at, &value) || dgf_resp_skip(&resp, NULL))
            return false;
        found++;
        if (dgf_bytes_eq(name.bytes, DGF_BYTES("length")) && value.kind == DGF_RESP_INT)
            facts.length = (uint64_t)value.number;
        else if (dgf_bytes_eq(name.bytes, DGF_BYTES("entries-added")) &&
                 value.kind == DGF_RESP_INT)
            facts.added = (uint64_t)value.number;
        else if (!(dgf_bytes_eq(name.bytes, DGF_BYTES("last-generated-id")) &&
                   dgf_redis_id_parse(value.bytes, &facts.last)) &&
                 !(dgf_bytes_eq(name.bytes, DGF_BYTES("max-deleted-entry-id")) &&
                   dgf_redis_id_parse(value.bytes, &facts.max_deleted)) &&
                 !(dgf_bytes_eq(name.bytes, DGF_BYTES("recorded-first-entry-id")) &&
                   dgf_redis_id_parse(value.bytes, &facts.first)))
            found--;
    }
    if (found < 5) /* length, added, last, max-deleted, first */
        return false;
    *ret = facts;
    return true;
}

struct dgf_redis_verdict dgf_redis_judge(const struct dgf_redis_memory *memory,
                                         const struct dgf_redis_facts *facts)
{
    struct dgf_redis_verdict same = {.change = DGF_REDIS_SAME},
                             look = {.change = DGF_REDIS_LOOK};
    bool all_after =
        facts->length == 0 || dgf_redis_id_cmp(facts->first, memory->last) > 0;
    uint64_t gone = facts->added - facts->length; /* removed, ever */

    if (dgf_redis_id_cmp(facts->last, memory->last) < 0 ||
        (memory->added_known && facts->added < memory->added))
        return look;
    if (!all_after || !memory->added_known || facts->added < facts->length)
        return same;
    /* Everything that is left came after us, so what is gone holds all we read. */
    if (gone == memory->added)
        return same;
    if (gone < memory->added)
        return (struct dgf_redis_verdict){.change = DGF_REDIS_RECREATED};
    return (struct dgf_redis_verdict){
        .change = DGF_REDIS_TRIMMED,
        .to = facts->length ? dgf_redis_id_before(facts->first) : facts->last,
        .lost = gone - memory->added};
}

/* Why an entry that was read may be missing from a stream that is still ours. */
static bool may_be_gone(const struct dgf_redis_facts *facts, struct dgf_redis_id id)
{
    return dgf_redis_id_cmp(id, facts->last) <= 0 &&
           (facts->length == 0 || dgf_redis_id_cmp(id, facts->first) < 0 ||
            dgf_redis_id_cmp(id, facts->max_deleted) <= 0);
}

enum dgf_redis_past dgf_redis_compare(const struct dgf_redis_memory *memory,
                                      const struct dgf_redis_facts *facts,
                                      const struct dgf_redis_mark *present, size_t n,
                                      bool whole, struct dgf_redis_id *ret_common)
{
    bool matched = false;
    size_t at = 0;

    for (uint32_t i = 0; i < memory->n_marks; i++) {
        const struct dgf_redis_mark *mark = &memory->marks[i];
        int order;

        while (!whole && at < n && dgf_redis_id_cmp(present[at].id, mark->id) < 0)
            at++;
        order = at < n ? dgf_redis_id_cmp(present[at].id, mark->id) : 1;

        if (order == 0 && present[at].hash == mark->hash) {
            *ret_common = mark->id;
            matched = true;
            at++;
        } else if (order <= 0 || !may_be_gone(facts, mark->id)) {
            return matched ? DGF_REDIS_PAST_BRANCHED : DGF_REDIS_PAST_OTHER;
        }
    }
    if (!matched && facts->added < memory->added && memory->added_known)
        return DGF_REDIS_PAST_OTHER;
    return matched || dgf_redis_id_cmp(facts->last, memory->last) >= 0
               ? DGF_REDIS_PAST_KEPT
               : DGF_REDIS_PAST_OTHER;
}
