#include "cel/zone.h"

#include <pthread.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/parse.h"

#define ZONEINFO "/usr/share/zoneinfo/"
#define MAX_FILE (256 * 1024)
#define MAX_ZONES 700 /* more than there are names */

struct zone {
    struct zone *next;
    char name[64];
    uint32_t n; /* 0: there is no such zone */
    int64_t *at;
    int32_t *offset; /* offset[0] is before at[0] */
    char rule[64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct zone *zones;
static unsigned n_zones;

/* ---- the POSIX rule of the footer ---- */

struct rule {
    const char *at;
    bool bad;
};

static int rule_number(struct rule *r)
{
    int value = 0;

    if (*r->at < '0' || *r->at > '9')
        r->bad = true;
    for (; *r->at >= '0' && *r->at <= '9' && value < 10000; r->at++)
        value = value * 10 + (*r->at - '0');
    return value;
}

/* [+-]hh[:mm[:ss]] */
static int32_t rule_time(struct rule *r)
{
    int sign = *r->at == '-' ? -1 : 1;
    int32_t value;

    if (*r->at == '-' || *r->at == '+')
        r->at++;
    value = rule_number(r) * 3600;
    if (*r->at == ':') {
        r->at++;
        value += rule_number(r) * 60;
    }
    if (*r->at == ':') {
        r->at++;
        value += rule_number(r);
    }
    return sign * value;
}

static void rule_name(struct rule *r)
{
    if (*r->at == '<') {
        while (*r->at && *r->at != '>')
            r->at++;
        if (*r->at)
            r->at++;
        return;
    }
    while ((*r->at >= 'a' && *r->at <= 'z') || (*r->at >= 'A' && *r->at <= 'Z'))
        r->at++;
}

/* Mm.w.d[/time], Jn or n: seconds of local time since 1970 in that year. */
static int64_t rule_date(struct rule *r, int64_t year)
{
    int64_t days;
    int32_t time = 7200;

    if (*r->at == 'M') {
        int month, week, day;
        int64_t first;

        r->at++;
        month = rule_number(r);
        r->bad |= *r->at != '.';
        r->at += !r->bad;
        week = rule_number(r);
        r->bad |= *r->at != '.';
        r->at += !r->bad;
        day = rule_number(r);
        if (r->bad || month < 1 || month > 12 || week < 1 || week > 5 || day > 6) {
            r->bad = true;
            return 0;
        }
        first = dgf_days_of(year, (unsigned)month, 1);
        days = first + (day - (first + 4) % 7 + 7) % 7 + (week - 1) * 7;
        if (days >= (month == 12 ? dgf_days_of(year + 1, 1, 1)
                                 : dgf_days_of(year, (unsigned)month + 1, 1)))
            days -= 7;
    } else {
        bool julian = *r->at == 'J';
        int64_t start = dgf_days_of(year, 1, 1);
        int n;

        r->at += julian;
        n = rule_number(r);
        days = start + n - julian;
        /* Jn never counts the 29th of February */
        if (julian && n >= 60 && dgf_days_of(year, 3, 1) - start == 60)
            days++;
    }
    if (*r->at == '/') {
        r->at++;
        time = rule_time(r);
    }
    return days * 86400 + time;
}

bool dgf_cel_zone_rule(const char *text, int64_t seconds, int32_t *ret_offset)
{
    struct rule r = {text, false};
    int32_t standard, summer;
    int64_t year, from, to, days = seconds / 86400 - (seconds % 86400 < 0);
    unsigned month, day;
    bool in_summer;

    rule_name(&r);
    if (r.at == text)
        return false;
    standard = -rule_time(&r);
    summer = standard + 3600;
    if (*r.at && *r.at != ',') {
        rule_name(&r);
        if (*r.at && *r.at != ',')
            summer = -rule_time(&r);
    }
    if (*r.at != ',') {
        *ret_offset = standard;
        return !r.bad && !*r.at;
    }
    r.at++;
    dgf_date_of(days, &year, &month, &day);
    from = rule_date(&r, year) - standard;
    if (*r.at != ',')
        return false;
    r.at++;
    to = rule_date(&r, year) - summer;
    if (r.bad)
        return false;
    in_summer =
        from < to ? seconds >= from && seconds < to : seconds >= from || seconds < to;
    *ret_offset = in_summer ? summer : standard;
    return true;
}

/* ---- zone files ---- */

struct header {
    uint32_t n_utc, n_std, n_leap, n_times, n_types, n_chars;
    uint8_t version;
};

static bool read_header(struct dgf_rd *rd, struct header *ret)
{
    struct dgf_bytes magic = dgf_rd_bytes(rd, 4);

    ret->version = dgf_rd_u8(rd);
    dgf_rd_bytes(rd, 15);
    ret->n_utc = dgf_rd_be32(rd);
    ret->n_std = dgf_rd_be32(rd);
    ret->n_leap = dgf_rd_be32(rd);
    ret->n_times = dgf_rd_be32(rd);
    ret->n_types = dgf_rd_be32(rd);
    ret->n_chars = dgf_rd_be32(rd);
    return !rd->bad && dgf_bytes_eq(magic, DGF_BYTES("TZif")) &&
           ret->n_utc <= MAX_FILE && ret->n_std <= MAX_FILE &&
           ret->n_leap <= MAX_FILE && ret->n_times <= MAX_FILE && ret->n_types > 0 &&
           ret->n_types <= 256 && ret->n_chars <= MAX_FILE;
}

static bool read_block(struct dgf_rd *rd, const struct header *h, struct zone *zone)
{
    struct dgf_bytes times = dgf_rd_bytes(rd, (size_t)h->n_times * 8);
    struct dgf_bytes types = dgf_rd_bytes(rd, h->n_times);
    struct dgf_bytes infos = dgf_rd_bytes(rd, (size_t)h->n_types * 6);
    struct dgf_rd at = dgf_rd_of(times), rule;
    size_t len = 0;

    dgf_rd_bytes(rd, h->n_chars + (size_t)h->n_leap * 12 + h->n_std + h->n_utc);
    if (rd->bad)
        return false;
    zone->at = dgf_calloc(h->n_times + 1, sizeof(zone->at[0]));
    zone->offset = dgf_calloc(h->n_times + 1, sizeof(zone->offset[0]));
    if (!zone->at || !zone->offset)
        return false;
    for (uint32_t i = 0; i <= h->n_times; i++) {
        uint8_t type = i == 0 ? 0 : types.ptr[i - 1];
        struct dgf_rd info = dgf_rd_of(infos);

        if (type >= h->n_types)
            return false;
        dgf_rd_bytes(&info, (size_t)type * 6);
        zone->offset[i] = (int32_t)dgf_rd_be32(&info);
        if (i > 0)
            zone->at[i - 1] = (int64_t)dgf_rd_be64(&at);
    }
    zone->n = h->n_times + 1;
    rule = *rd;
    if (dgf_rd_u8(&rule) == '\n')
        while (len + 1 < sizeof(zone->rule) && dgf_rd_left(&rule) > 0 &&
               *rule.ptr != '\n')
            zone->rule[len++] = (char)dgf_rd_u8(&rule);
    return true;
}

static bool load(struct zone *zone)
{
    char path[128];
    struct dgf_buf file;
    struct header h;
    bool ok = false;

    dgf_buf_init(&file, MAX_FILE);
    snprintf(path, sizeof(path), ZONEINFO "%s", zone->name);
    if (dgf_file_slurp(path, MAX_FILE, &file, NULL) == DGF_OK) {
        struct dgf_rd rd = dgf_rd_of(dgf_buf_bytes(&file));

        /* the 64-bit block follows the old one */
        if (read_header(&rd, &h) && h.version >= '2') {
            dgf_rd_bytes(&rd, (size_t)h.n_times * 5 + (size_t)h.n_types * 6 +
                                  h.n_chars + (size_t)h.n_leap * 8 + h.n_std + h.n_utc);
            ok = read_header(&rd, &h) && read_block(&rd, &h, zone);
        }
    }
    dgf_buf_release(&file);
    return ok;
}

static bool name_ok(struct dgf_bytes name)
{
    if (name.len == 0 || name.len >= sizeof(zones->name) || name.ptr[0] < 'A' ||
        name.ptr[0] > 'Z')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '/' || c == '_' || c == '-' || c == '+'))
            return false;
    }
    return true;
}

static const struct zone *find(struct dgf_bytes name)
{
    struct zone *zone;

    for (zone = zones; zone; zone = zone->next)
        if (dgf_bytes_eq(dgf_bytes_str(zone->name), name))
            return zone;
    if (n_zones == MAX_ZONES || !name_ok(name))
        return NULL;
    zone = dgf_calloc(1, sizeof(*zone));
    if (!zone)
        return NULL;
    memcpy(zone->name, name.ptr, name.len);
    if (!load(zone)) {
        dgf_free(zone->at);
        dgf_free(zone->offset);
        dgf_free(zone);
        return NULL;
    }
    zone->next = zones;
    zones = zone;
    n_zones++;
    return zone;
}

bool dgf_cel_zone_lookup(struct dgf_bytes name, int64_t seconds, int32_t *ret_offset)
{
    const struct zone *zone;
    uint32_t low = 0, high;

    pthread_mutex_lock(&lock);
    zone = find(name);
    pthread_mutex_unlock(&lock);
    if (!zone)
        return false;
    high = zone->n - 1; /* number of changes */
    if (high > 0 && seconds >= zone->at[high - 1] && zone->rule[0] &&
        dgf_cel_zone_rule(zone->rule, seconds, ret_offset))
        return true;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (zone->at[middle] <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_offset = zone->offset[low];
    return true;
}
