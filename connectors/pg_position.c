#include "pg_position.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/parse.h"

#define VERSION 1

static void put_le(uint8_t **to, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *(*to)++ = (uint8_t)(value >> 8 * i);
}

void dgf_pg_position_write(const struct dgf_pg_position *position,
                           uint8_t ret[DGF_PG_POSITION_BYTES])
{
    uint8_t *to = ret;

    put_le(&to, VERSION, 1);
    put_le(&to, position->no_slot, 1);
    put_le(&to, position->system, 8);
    put_le(&to, position->timeline, 4);
    put_le(&to, position->commit_lsn, 8);
    put_le(&to, position->end_lsn, 8);
    put_le(&to, position->ordinal, 8);
    put_le(&to, position->messages, 4);
    put_le(&to, position->options, 8);
}

bool dgf_pg_position_read(struct dgf_bytes bytes, struct dgf_pg_position *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);
    struct dgf_pg_position position = {0};
    uint8_t version = dgf_rd_u8(&rd), no_slot = dgf_rd_u8(&rd);

    position.no_slot = no_slot == 1;
    position.system = dgf_rd_le64(&rd);
    position.timeline = dgf_rd_le32(&rd);
    position.commit_lsn = dgf_rd_le64(&rd);
    position.end_lsn = dgf_rd_le64(&rd);
    position.ordinal = dgf_rd_le64(&rd);
    position.messages = dgf_rd_le32(&rd);
    position.options = dgf_rd_le64(&rd);
    if (rd.bad || dgf_rd_left(&rd) > 0 || version != VERSION || no_slot > 1)
        return false;
    *ret = position;
    return true;
}

static void put_hex(struct dgf_buf *out, uint32_t value)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[8];
    size_t at = sizeof(text);

    do {
        text[--at] = digits[value & 15];
        value >>= 4;
    } while (value);
    dgf_buf_add(out, text + at, sizeof(text) - at);
}

/* Without printf: every record of a row has one. */
void dgf_pg_lsn_text(uint64_t lsn, struct dgf_buf *out)
{
    put_hex(out, (uint32_t)(lsn >> 32));
    dgf_buf_add_byte(out, '/');
    put_hex(out, (uint32_t)lsn);
}

void dgf_pg_position_text(struct dgf_bytes bytes, struct dgf_buf *out)
{
    struct dgf_pg_position position;

    if (!dgf_pg_position_read(bytes, &position))
        return;
    dgf_buf_add_u64(out, position.timeline);
    dgf_buf_add_byte(out, '/');
    dgf_pg_lsn_text(dgf_pg_position_lsn(&position), out);
    dgf_buf_add_byte(out, '.');
    dgf_buf_add_u64(out, position.ordinal);
}

bool dgf_pg_lsn_parse(const char *text, uint64_t *ret)
{
    const char *slash = strchr(text, '/');
    uint64_t high, low;

    if (!slash || slash - text > 8 || strlen(slash + 1) > 8 ||
        !dgf_parse_hex_u64(dgf_bytes_of(text, (size_t)(slash - text)), &high) ||
        !dgf_parse_hex_u64(dgf_bytes_str(slash + 1), &low))
        return false;
    *ret = high << 32 | low;
    return true;
}

bool dgf_pg_position_parse(const char *text, struct dgf_pg_position *ret)
{
    const char *slash = strchr(text, '/'), *dot = strchr(text, '.');
    struct dgf_pg_position position = {0};
    uint64_t timeline, lsn;
    char middle[20];

    if (!slash || !dot || dot <= slash || (size_t)(dot - slash) > sizeof(middle))
        return false;
    memcpy(middle, slash + 1, (size_t)(dot - slash) - 1);
    middle[dot - slash - 1] = '\0';
    if (!dgf_parse_u64(dgf_bytes_of(text, (size_t)(slash - text)), &timeline) ||
        timeline == 0 || timeline > UINT32_MAX || !dgf_pg_lsn_parse(middle, &lsn) ||
        !dgf_parse_u64(dgf_bytes_str(dot + 1), &position.ordinal))
        return false;
    position.timeline = (uint32_t)timeline;
    if (position.ordinal)
        position.commit_lsn = lsn;
    else
        position.end_lsn = lsn;
    *ret = position;
    return true;
}

/* Why the stored position cannot simply be gone on from; -1: it can. */
static int gap_of(const struct dgf_pg_position *stored,
                  const struct dgf_pg_server *server)
{
    uint64_t lsn = dgf_pg_position_lsn(stored);

    if (stored->system != server->system)
        return DGF_GAP_SYSTEM_CHANGED;
    if (stored->timeline != server->timeline &&
        (server->left_lsn == 0 || lsn > server->left_lsn))
        return DGF_GAP_TIMELINE_SWITCHED;
    /* A server that is behind what it told us was put back to an older state;
     * it will use the same LSNs again for other changes. */
    if (lsn > server->flush_lsn)
        return DGF_GAP_HISTORY_LOST;
    if (!server->slot_exists)
        return DGF_GAP_SLOT_MISSING;
    if (server->slot_lost)
        return DGF_GAP_SLOT_LOST;
    if (server->confirmed_lsn > lsn)
        return server->restart_lsn > lsn ? DGF_GAP_SLOT_RECREATED : DGF_GAP_SLOT_AHEAD;
    return -1;
}

struct dgf_pg_plan dgf_pg_plan_of(const struct dgf_pg_position *stored,
                                  const struct dgf_pg_server *server, bool create)
{
    struct dgf_pg_plan plan = {.gap = -1, .action = DGF_PG_START};

    if (!stored || stored->no_slot) {
        plan.anew = true;
        if (create && !stored && server->slot_exists)
            plan.gap = DGF_GAP_STATE_LOST;
    } else {
        plan.gap = gap_of(stored, server);
        plan.anew = plan.gap == DGF_GAP_SYSTEM_CHANGED;
        plan.from_position = plan.gap < 0;
    }
    if (!server->slot_exists)
        plan.action = DGF_PG_CREATE_SLOT;
    else if (server->slot_lost)
        plan.action = DGF_PG_RECREATE_SLOT;
    else
        plan.start_lsn =
            plan.from_position ? dgf_pg_position_lsn(stored) : server->confirmed_lsn;
    return plan;
}

/* Lines "<timeline> TAB <LSN> TAB <reason>"; # starts a comment. */
uint64_t dgf_pg_history_left(struct dgf_bytes history, uint32_t old)
{
    char line[256];
    size_t at = 0;

    while (at < history.len) {
        const uint8_t *start = history.ptr + at,
                      *end = memchr(start, '\n', history.len - at);
        size_t len = end ? (size_t)(end - start) : history.len - at;
        char *lsn, *reason;
        uint64_t timeline, left;

        at += len + 1;
        if (len == 0 || len >= sizeof(line) || *start == '#')
            continue;
        memcpy(line, start, len);
        line[len] = '\0';
        lsn = strchr(line, '\t');
        reason = lsn ? strchr(lsn + 1, '\t') : NULL;
        if (!reason)
            continue;
        *lsn = *reason = '\0';
        if (dgf_parse_u64(dgf_bytes_str(line), &timeline) && timeline == old &&
            dgf_pg_lsn_parse(lsn + 1, &left))
            return left;
    }
    return 0;
}
