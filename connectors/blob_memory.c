#include "blob_memory.h"

#include "base/mem.h"
#include "base/parse.h"

#define VERSION 1
#define FEED_BEGUN 1 /* bits of one byte */
#define QUEUE_MISSING 2
#define INDEX_MIN 1024
#define NUMBERS_MOD 0xffffffffu /* numbers in the index, so that 0 is none */
#define FLAGS_MASK 7u

struct entry {
    struct dgf_id id;
    uint32_t minute_flags; /* minute << 3 | flags */
};

struct dgf_blob_bucket {
    uint64_t number;
    uint32_t n;
    bool changed;
    struct entry entries[DGF_BLOB_BUCKET];
};

/* ---- seen ---- */

static uint64_t place(const struct dgf_blob_seen *seen, uint64_t at)
{
    return at % (seen->max_buckets ? seen->max_buckets : 1);
}

void dgf_blob_seen_init(struct dgf_blob_seen *seen, uint32_t max_buckets)
{
    *seen = (struct dgf_blob_seen){.max_buckets = max_buckets};
}

void dgf_blob_seen_release(struct dgf_blob_seen *seen)
{
    for (uint64_t i = seen->first; seen->buckets && i < seen->end; i++)
        dgf_free(seen->buckets[place(seen, i)]);
    dgf_free(seen->buckets);
    dgf_free(seen->index);
    dgf_blob_seen_init(seen, seen->max_buckets);
}

static struct dgf_blob_bucket *bucket_at(const struct dgf_blob_seen *seen, uint64_t at)
{
    return seen->buckets[place(seen, at)];
}

/* Entries are numbered through; the index holds the number modulo 2^32 - 1, plus 1. */
static uint64_t number_of(const struct dgf_blob_seen *seen, uint32_t slot)
{
    uint64_t base = seen->first * DGF_BLOB_BUCKET;
    uint32_t low = (uint32_t)(base % NUMBERS_MOD), at = slot - 1;

    return base + (at >= low ? at - low : at + (NUMBERS_MOD - low));
}

static struct entry *entry_of(const struct dgf_blob_seen *seen, uint32_t slot)
{
    uint64_t number = number_of(seen, slot);

    return &bucket_at(seen, number / DGF_BLOB_BUCKET)
                ->entries[number % DGF_BLOB_BUCKET];
}

static size_t hash_of(const struct dgf_id *id)
{
    uint64_t hash;

    memcpy(&hash, id->b, sizeof(hash));
    return (size_t)hash;
}

/* Where the id stands, or the empty place where it belongs. */
static size_t place_of(const struct dgf_blob_seen *seen, const struct dgf_id *id)
{
    size_t at = hash_of(id) & (seen->n_index - 1);

    while (seen->index[at] &&
           memcmp(&entry_of(seen, seen->index[at])->id, id, sizeof(*id)) != 0)
        at = (at + 1) & (seen->n_index - 1);
    return at;
}

static struct entry *find(const struct dgf_blob_seen *seen, const struct dgf_id *id)
{
    size_t at;

    if (seen->n == 0)
        return NULL;
    at = place_of(seen, id);
    return seen->index[at] ? entry_of(seen, seen->index[at]) : NULL;
}

unsigned dgf_blob_seen_get(const struct dgf_blob_seen *seen, const struct dgf_id *id)
{
    const struct entry *entry = find(seen, id);

    return entry ? entry->minute_flags & FLAGS_MASK : 0;
}

static bool grow_index(struct dgf_blob_seen *seen)
{
    size_t n = seen->n_index ? 2 * seen->n_index : INDEX_MIN;
    uint32_t *old = seen->index, *index = dgf_calloc(n, sizeof(*index));
    size_t n_old = seen->n_index;

    if (!index)
        return false;
    seen->index = index;
    seen->n_index = n;
    for (size_t i = 0; i < n_old; i++)
        if (old[i])
            index[place_of(seen, &entry_of(seen, old[i])->id)] = old[i];
    dgf_free(old);
    return true;
}

/* Closes the hole, so that what was pushed along is still found. */
static void drop_from_index(struct dgf_blob_seen *seen, const struct dgf_id *id)
{
    size_t mask = seen->n_index - 1, hole = place_of(seen, id), at = hole;

    if (!seen->index[hole])
        return;
    for (;;) {
        size_t home;

        at = (at + 1) & mask;
        if (!seen->index[at])
            break;
        home = hash_of(&entry_of(seen, seen->index[at])->id) & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        seen->index[hole] = seen->index[at];
        hole = at;
    }
    seen->index[hole] = 0;
    seen->n--;
}

static void drop_first(struct dgf_blob_seen *seen)
{
    struct dgf_blob_bucket *bucket = bucket_at(seen, seen->first);

    for (uint32_t i = 0; i < bucket->n; i++)
        drop_from_index(seen, &bucket->entries[i].id);
    seen->buckets[place(seen, seen->first)] = NULL;
    seen->first++;
    if (seen->settled < seen->first * DGF_BLOB_BUCKET)
        seen->settled = seen->first * DGF_BLOB_BUCKET;
    dgf_free(bucket);
}

static struct dgf_blob_bucket *add_bucket(struct dgf_blob_seen *seen)
{
    struct dgf_blob_bucket *bucket = dgf_calloc(1, sizeof(*bucket));

    if (!seen->buckets)
        seen->buckets = dgf_calloc(seen->max_buckets, sizeof(*seen->buckets));
    if (!bucket || !seen->buckets) {
        dgf_free(bucket);
        return NULL;
    }
    if (seen->end - seen->first == seen->max_buckets)
        drop_first(seen);
    bucket->number = seen->end;
    seen->buckets[place(seen, seen->end++)] = bucket;
    return bucket;
}

static bool add(struct dgf_blob_seen *seen, struct dgf_blob_bucket *bucket,
                const struct entry *entry)
{
    uint64_t number = bucket->number * DGF_BLOB_BUCKET + bucket->n;

    if (4 * (seen->n + 1) > 3 * seen->n_index && !grow_index(seen))
        return false;
    bucket->entries[bucket->n++] = *entry;
    seen->index[place_of(seen, &entry->id)] = (uint32_t)(number % NUMBERS_MOD) + 1;
    seen->n++;
    return true;
}

bool dgf_blob_seen_put(struct dgf_blob_seen *seen, const struct dgf_id *id,
                       uint32_t minute, unsigned flags)
{
    struct entry made = {*id, minute << 3 | (flags & FLAGS_MASK)};
    struct dgf_blob_bucket *bucket;
    struct entry *entry = find(seen, id);

    if (entry) {
        if ((entry->minute_flags & flags) == flags)
            return true;
        entry->minute_flags |= flags & FLAGS_MASK;
        bucket = bucket_at(seen, number_of(seen, seen->index[place_of(seen, id)]) /
                                     DGF_BLOB_BUCKET);
        bucket->changed = true;
        return true;
    }
    bucket = seen->end > seen->first ? bucket_at(seen, seen->end - 1) : NULL;
    if (!bucket || bucket->n == DGF_BLOB_BUCKET)
        bucket = add_bucket(seen);
    if (!bucket || !add(seen, bucket, &made))
        return false;
    bucket->changed = true;
    return true;
}

void dgf_blob_seen_forget(struct dgf_blob_seen *seen, uint32_t now_minute)
{
    while (seen->end - seen->first > 1) {
        const struct dgf_blob_bucket *bucket = bucket_at(seen, seen->first);

        for (uint32_t i = 0; i < bucket->n; i++)
            if ((bucket->entries[i].minute_flags >> 3) + DGF_BLOB_SEEN_MINUTES >=
                now_minute)
                return;
        drop_first(seen);
    }
}

uint64_t dgf_blob_seen_settle(struct dgf_blob_seen *seen, uint32_t from_minute,
                              uint32_t to_minute)
{
    uint64_t number = seen->settled, n = 0;
    bool all = true; /* everything so far is settled */

    if (number < seen->first * DGF_BLOB_BUCKET)
        number = seen->first * DGF_BLOB_BUCKET;
    for (; number / DGF_BLOB_BUCKET < seen->end; number++) {
        struct dgf_blob_bucket *bucket = bucket_at(seen, number / DGF_BLOB_BUCKET);
        struct entry *entry = &bucket->entries[number % DGF_BLOB_BUCKET];
        uint32_t minute = entry->minute_flags >> 3;

        if (number % DGF_BLOB_BUCKET >= bucket->n) {
            if (bucket->n == DGF_BLOB_BUCKET ||
                number / DGF_BLOB_BUCKET + 1 < seen->end)
                continue;
            break;
        }
        if (!(entry->minute_flags & (DGF_BLOB_BY_FEED | DGF_BLOB_SETTLED)) &&
            minute <= to_minute) {
            n += minute >= from_minute;
            entry->minute_flags |= DGF_BLOB_SETTLED;
            bucket->changed = true;
        }
        all = all && (entry->minute_flags & (DGF_BLOB_BY_FEED | DGF_BLOB_SETTLED));
        if (all)
            seen->settled = number + 1;
    }
    return n;
}

/* ---- buckets as bytes ---- */

bool dgf_blob_seen_changed(struct dgf_blob_seen *seen, uint64_t *at,
                           uint64_t *ret_number, struct dgf_buf *out)
{
    if (*at < seen->first)
        *at = seen->first;
    for (; *at < seen->end; (*at)++) {
        struct dgf_blob_bucket *bucket = bucket_at(seen, *at);

        if (!bucket->changed)
            continue;
        bucket->changed = false;
        dgf_buf_add_byte(out, VERSION);
        dgf_buf_add_le64(out, bucket->number);
        for (uint32_t i = 0; i < bucket->n; i++) {
            dgf_buf_add(out, bucket->entries[i].id.b, DGF_ID_LEN);
            dgf_buf_add_le32(out, bucket->entries[i].minute_flags);
        }
        *ret_number = (*at)++;
        return true;
    }
    return false;
}

enum dgf_rc dgf_blob_seen_load(struct dgf_blob_seen *seen, uint64_t number,
                               struct dgf_bytes bytes)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    uint8_t version = dgf_rd_u8(&rd);
    struct dgf_blob_bucket *bucket;

    if (dgf_rd_le64(&rd) != number || version != VERSION || rd.bad ||
        dgf_rd_left(&rd) % (DGF_ID_LEN + 4) != 0 ||
        dgf_rd_left(&rd) > (size_t)DGF_BLOB_BUCKET * (DGF_ID_LEN + 4))
        return DGF_FATAL;
    if (seen->end == seen->first) {
        seen->first = seen->end = number;
        seen->settled = number * DGF_BLOB_BUCKET;
    } else if (seen->end != number) {
        return DGF_FATAL;
    }
    bucket = add_bucket(seen);
    if (!bucket)
        return DGF_NOMEM;
    while (dgf_rd_left(&rd)) {
        struct dgf_bytes id = dgf_rd_bytes(&rd, DGF_ID_LEN);
        struct entry entry;

        memcpy(entry.id.b, id.ptr, DGF_ID_LEN);
        entry.minute_flags = dgf_rd_le32(&rd);
        if (find(seen, &entry.id)) /* damaged: each stands once */
            return DGF_FATAL;
        if (!add(seen, bucket, &entry))
            return DGF_NOMEM;
    }
    return DGF_OK;
}

/* ---- memory ---- */

static void put_text(struct dgf_buf *out, const char *text)
{
    dgf_buf_add_le16(out, (uint16_t)strlen(text));
    dgf_buf_add_str(out, text);
}

static bool get_text(struct dgf_rd *rd, char *to, size_t size)
{
    struct dgf_bytes text = dgf_rd_bytes(rd, dgf_rd_le16(rd));

    if (rd->bad || text.len >= size || (text.len && memchr(text.ptr, 0, text.len)))
        return false;
    if (text.len)
        memcpy(to, text.ptr, text.len);
    to[text.len] = '\0';
    return true;
}

void dgf_blob_memory_put(const struct dgf_blob_memory *memory, struct dgf_buf *out)
{
    dgf_buf_add_byte(out, VERSION);
    put_text(out, memory->account);
    dgf_buf_add_le64(out, (uint64_t)memory->since_ns);
    dgf_buf_add_le64(out, memory->first_bucket);
    dgf_buf_add_le64(out, memory->end_bucket);
    dgf_buf_add_le64(out, (uint64_t)memory->queue_read_ns);
    dgf_buf_add_le64(out, (uint64_t)memory->queue_ttl_ns);
    dgf_buf_add_byte(out, (uint8_t)((memory->feed_begun ? FEED_BEGUN : 0) |
                                    (memory->queue_missing ? QUEUE_MISSING : 0)));
    dgf_buf_add_le64(out, (uint64_t)memory->done_ns);
    dgf_buf_add_le64(out, (uint64_t)memory->consumed_ns);
    dgf_buf_add_le64(out, (uint64_t)memory->from_ns);
    put_text(out, memory->segment);
    dgf_buf_add_le32(out, memory->shard);
    put_text(out, memory->chunk);
    dgf_buf_add_le64(out, memory->offset);
    dgf_buf_add_le64(out, memory->index);
}

enum dgf_rc dgf_blob_memory_get(struct dgf_bytes bytes, struct dgf_blob_memory *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_blob_memory memory = {.since_ns = 0};
    int64_t ignored;
    uint8_t flags;

    if (dgf_rd_u8(&rd) != VERSION ||
        !get_text(&rd, memory.account, sizeof(memory.account)))
        return DGF_FATAL;
    memory.since_ns = (int64_t)dgf_rd_le64(&rd);
    memory.first_bucket = dgf_rd_le64(&rd);
    memory.end_bucket = dgf_rd_le64(&rd);
    memory.queue_read_ns = (int64_t)dgf_rd_le64(&rd);
    memory.queue_ttl_ns = (int64_t)dgf_rd_le64(&rd);
    flags = dgf_rd_u8(&rd);
    memory.feed_begun = flags & FEED_BEGUN;
    memory.queue_missing = flags & QUEUE_MISSING;
    memory.done_ns = (int64_t)dgf_rd_le64(&rd);
    memory.consumed_ns = (int64_t)dgf_rd_le64(&rd);
    memory.from_ns = (int64_t)dgf_rd_le64(&rd);
    if (!get_text(&rd, memory.segment, sizeof(memory.segment)))
        return DGF_FATAL;
    memory.shard = dgf_rd_le32(&rd);
    if (!get_text(&rd, memory.chunk, sizeof(memory.chunk)))
        return DGF_FATAL;
    memory.offset = dgf_rd_le64(&rd);
    memory.index = dgf_rd_le64(&rd);
    if (rd.bad || dgf_rd_left(&rd) || (flags & ~(FEED_BEGUN | QUEUE_MISSING)) ||
        memory.end_bucket < memory.first_bucket ||
        memory.end_bucket - memory.first_bucket > DGF_BLOB_BUCKETS_MAX ||
        (memory.segment[0] && !dgf_blob_segment_time(memory.segment, &ignored)))
        return DGF_FATAL;
    *ret = memory;
    return DGF_OK;
}

/* ---- names ---- */

static bool digits(const char *text, size_t n, unsigned *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

bool dgf_blob_segment_time(const char *segment, int64_t *ret_ns)
{
    static const uint8_t days_of[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day, hour, minute;

    if (strlen(segment) != 15 || segment[4] != '/' || segment[7] != '/' ||
        segment[10] != '/' || !digits(segment, 4, &year) ||
        !digits(segment + 5, 2, &month) || !digits(segment + 8, 2, &day) ||
        !digits(segment + 11, 2, &hour) || !digits(segment + 13, 2, &minute))
        return false;
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 ||
        day > days_of[month - 1] || hour > 23 || minute > 59)
        return false;
    *ret_ns = ((dgf_days_of(year, month, day) * 24 + hour) * 60 + minute) *
              INT64_C(60000000000);
    return true;
}

bool dgf_blob_segment_of(struct dgf_bytes name, char ret[16], int64_t *ret_ns)
{
    static const char head[] = "idx/segments/", tail[] = "/meta.json";
    size_t n_head = sizeof(head) - 1, n_tail = sizeof(tail) - 1;

    if (name.len != n_head + 15 + n_tail || memcmp(name.ptr, head, n_head) != 0 ||
        memcmp(name.ptr + n_head + 15, tail, n_tail) != 0)
        return false;
    memcpy(ret, name.ptr + n_head, 15);
    ret[15] = '\0';
    return dgf_blob_segment_time(ret, ret_ns);
}

void dgf_blob_segment_name(int64_t ns, char ret[16])
{
    int64_t minutes = ns / INT64_C(60000000000), year;
    unsigned month, day, minute = (unsigned)(minutes % 1440);
    char text[64];

    dgf_date_of(minutes / 1440, &year, &month, &day);
    (void)snprintf(text, sizeof(text), "%04u/%02u/%02u/%02u%02u",
                   (unsigned)(year % 10000), month % 100, day % 100, minute / 60,
                   minute % 60);
    memcpy(ret, text, 15);
    ret[15] = '\0';
}

static int64_t after_ns(const struct dgf_blob_memory *memory)
{
    int64_t done =
        memory->done_ns > memory->consumed_ns ? memory->done_ns : memory->consumed_ns;

    return done > 0              ? done + INT64_C(3600000000000)
           : memory->from_ns > 0 ? memory->from_ns
                                 : 0;
}

/* log/00/2026/01/10/1000/00000.avro: shard and chunk; the hour is the segment's. */
void dgf_blob_position(const struct dgf_blob_memory *memory, struct dgf_buf *out)
{
    const char *chunk = strrchr(memory->chunk, '/');
    const char *shard = strchr(memory->chunk, '/');
    const char *end = shard ? strchr(shard + 1, '/') : NULL;
    char name[16];

    if (!memory->segment[0]) {
        dgf_blob_segment_name(after_ns(memory), name);
        dgf_buf_addf(out, "%s:0.0", name);
        return;
    }
    dgf_buf_add_str(out, memory->segment);
    if (end && chunk)
        dgf_buf_addf(out, "/%.*s/%s", (int)(end - shard - 1), shard + 1, chunk + 1);
    dgf_buf_addf(out, ":%llu.%llu", (unsigned long long)memory->offset,
                 (unsigned long long)memory->index);
}
