#include "azure_sign.h"

#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "base/parse.h"

#define DAY_NS (86400 * INT64_C(1000000000))

static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void dgf_azure_date(struct dgf_buf *out, int64_t ns)
{
    int64_t day = ns / DAY_NS, s = ns % DAY_NS / 1000000000, year;
    unsigned month, of_month;

    if (ns < 0)
        day = s = 0;
    dgf_date_of(day, &year, &month, &of_month);
    dgf_buf_addf(out, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[day % 7], of_month,
                 months[month - 1], (unsigned)year, (unsigned)(s / 3600),
                 (unsigned)(s / 60 % 60), (unsigned)(s % 60));
}

static bool digits(const char *at, size_t n, unsigned *ret)
{
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        if (at[i] < '0' || at[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(at[i] - '0');
    }
    return true;
}

bool dgf_azure_date_parse(const char *text, int64_t *ret_ns)
{
    unsigned day, year, h, m, s, month = 0;

    if (strlen(text) != 29 || text[3] != ',' || text[4] != ' ' || text[7] != ' ' ||
        text[11] != ' ' || text[16] != ' ' || text[19] != ':' || text[22] != ':' ||
        strcmp(text + 25, " GMT") != 0 || !digits(text + 5, 2, &day) ||
        !digits(text + 12, 4, &year) || !digits(text + 17, 2, &h) ||
        !digits(text + 20, 2, &m) || !digits(text + 23, 2, &s))
        return false;
    while (month < 12 && memcmp(text + 8, months[month], 3) != 0)
        month++;
    if (month == 12 || day < 1 || day > 31 || h > 23 || m > 59 || s > 60 ||
        year < 1970 || year > 2261)
        return false;
    *ret_ns =
        (dgf_days_of(year, month + 1, day) * 86400 + (int64_t)(h * 3600 + m * 60 + s)) *
        INT64_C(1000000000);
    return true;
}

void dgf_azure_escape(struct dgf_buf *out, struct dgf_bytes text)
{
    static const char plain[] = "-._~";

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') || (c && strchr(plain, c)))
            dgf_buf_add_byte(out, c);
        else
            dgf_buf_addf(out, "%%%02X", c);
    }
}

/* ---- headers ---- */

void dgf_azure_add_header(struct dgf_buf *headers, const char *name, const char *value)
{
    dgf_buf_add_str(headers, name);
    if (*value) {
        dgf_buf_add_str(headers, ": ");
        dgf_buf_add_str(headers, value);
    } else {
        dgf_buf_add_byte(headers, ';'); /* libcurl would drop "Name:" */
    }
    dgf_buf_add_byte(headers, 0);
}

static const char *next_line(const struct dgf_buf *headers, size_t *at)
{
    const char *line;

    if (*at >= headers->len)
        return NULL;
    line = (const char *)headers->ptr + *at;
    if (!memchr(line, 0, headers->len - *at))
        return NULL;
    *at += strlen(line) + 1;
    return line;
}

/* Name's length and the value of a line; "Name;" has an empty one. */
static const char *value_of(const char *line, size_t *ret_len)
{
    size_t len = strcspn(line, ":;");
    const char *value = line + len;

    *ret_len = len;
    if (*value)
        value++;
    while (*value == ' ' || *value == '\t')
        value++;
    return value;
}

const char *dgf_azure_find_header(const struct dgf_buf *headers, const char *name)
{
    const char *line;
    size_t at = 0, len;

    while ((line = next_line(headers, &at))) {
        const char *value = value_of(line, &len);

        if (strlen(name) == len && !strncasecmp(line, name, len))
            return value;
    }
    return NULL;
}

size_t dgf_azure_list_headers(const struct dgf_buf *headers, const char **ret,
                              size_t max)
{
    size_t at = 0, n = 0;
    const char *line;

    while (n < max && (line = next_line(headers, &at)))
        ret[n++] = line;
    return n;
}

/* ---- Blob and Queue ---- */

static void add_lower(struct dgf_buf *out, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        dgf_buf_add_byte(out, (uint8_t)(from[i] >= 'A' && from[i] <= 'Z'
                                            ? from[i] - 'A' + 'a'
                                            : from[i]));
}

static int by_name(const void *a, const void *b)
{
    const char *one = *(const char *const *)a, *two = *(const char *const *)b;
    size_t len_one = strcspn(one, ":;"), len_two = strcspn(two, ":;");
    int order = strncasecmp(one, two, len_one < len_two ? len_one : len_two);

    return order ? order : (len_one > len_two) - (len_one < len_two);
}

static bool add_ms_headers(const struct dgf_buf *headers, struct dgf_buf *out)
{
    const char *lines[DGF_AZURE_HEADERS_MAX], *line;
    size_t at = 0, n = 0, len;

    while ((line = next_line(headers, &at))) {
        if (strncasecmp(line, "x-ms-", 5) != 0)
            continue;
        if (n == DGF_AZURE_HEADERS_MAX)
            return false;
        lines[n++] = line;
    }
    qsort(lines, n, sizeof(*lines), by_name);
    for (size_t i = 0; i < n; i++) {
        const char *value = value_of(lines[i], &len);
        size_t value_len = strlen(value);

        while (value_len > 0 &&
               (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
            value_len--;
        add_lower(out, lines[i], len);
        dgf_buf_add_byte(out, ':');
        dgf_buf_add(out, value, value_len);
        dgf_buf_add_byte(out, '\n');
    }
    return true;
}

struct parameter {
    const char *name, *value;
    size_t name_len, value_len;
};

static int by_parameter(const void *a, const void *b)
{
    const struct parameter *one = a, *two = b;
    size_t len = one->name_len < two->name_len ? one->name_len : two->name_len;
    int order = strncasecmp(one->name, two->name, len);

    if (!order)
        order = (one->name_len > two->name_len) - (one->name_len < two->name_len);
    if (order)
        return order;
    return dgf_bytes_cmp(dgf_bytes_of(one->value, one->value_len),
                         dgf_bytes_of(two->value, two->value_len));
}

static void add_decoded(struct dgf_buf *out, const char *from, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte;

        if (from[i] == '%' && len - i > 2 &&
            dgf_parse_hex(dgf_bytes_of(from + i + 1, 2), &byte, 1)) {
            dgf_buf_add_byte(out, byte);
            i += 2;
        } else {
            dgf_buf_add_byte(out, (uint8_t)(from[i] == '+' ? ' ' : from[i]));
        }
    }
}

static bool add_query(const char *query, struct dgf_buf *out)
{
    struct parameter list[DGF_AZURE_HEADERS_MAX];
    size_t n = 0;

    while (*query) {
        size_t len = strcspn(query, "&"), name_len = strcspn(query, "=&");
        bool valued = name_len < len;

        if (len && n == DGF_ARRAY_LEN(list))
            return false;
        if (len)
            list[n++] =
                (struct parameter){query, valued ? query + name_len + 1 : query + len,
                                   name_len, valued ? len - name_len - 1 : 0};
        query += len + (query[len] == '&');
    }
    qsort(list, n, sizeof(*list), by_parameter);
    for (size_t i = 0; i < n; i++) {
        bool same = i > 0 && list[i].name_len == list[i - 1].name_len &&
                    !strncasecmp(list[i].name, list[i - 1].name, list[i].name_len);

        dgf_buf_add_byte(out, same ? ',' : '\n');
        if (!same) {
            add_lower(out, list[i].name, list[i].name_len);
            dgf_buf_add_byte(out, ':');
        }
        add_decoded(out, list[i].value, list[i].value_len);
    }
    return true;
}

bool dgf_azure_shared_key_text(const char *method, const char *url, const char *account,
                               const struct dgf_buf *headers, size_t content_length,
                               struct dgf_buf *out)
{
    static const char *const names[] = {
        "Content-MD5",   "Content-Type",        "Date", "If-Modified-Since", "If-Match",
        "If-None-Match", "If-Unmodified-Since", "Range"};
    static const char *const first[] = {"Content-Encoding", "Content-Language"};
    const char *path = strstr(url, "://"), *value;
    size_t path_len;

    if (!path)
        return false;
    path += 3;
    path += strcspn(path, "/?");
    path_len = strcspn(path, "?");
    dgf_buf_addf(out, "%s\n", method);
    for (size_t i = 0; i < DGF_ARRAY_LEN(first); i++) {
        value = dgf_azure_find_header(headers, first[i]);
        dgf_buf_addf(out, "%s\n", value ? value : "");
    }
    if (content_length)
        dgf_buf_add_u64(out, content_length);
    dgf_buf_add_byte(out, '\n');
    for (size_t i = 0; i < DGF_ARRAY_LEN(names); i++) {
        value = dgf_azure_find_header(headers, names[i]);
        /* x-ms-date is always sent, and stands for Date. */
        dgf_buf_addf(out, "%s\n", value && i != 2 ? value : "");
    }
    if (!add_ms_headers(headers, out))
        return false;
    dgf_buf_addf(out, "/%s", account);
    if (path_len)
        dgf_buf_add(out, path, path_len);
    else
        dgf_buf_add_byte(out, '/');
    return add_query(path[path_len] == '?' ? path + path_len + 1 : "", out);
}

/* ---- Cosmos DB ---- */

void dgf_azure_cosmos_text(const char *method, const char *type, const char *link,
                           const char *date, struct dgf_buf *out)
{
    add_lower(out, method, strlen(method));
    dgf_buf_add_byte(out, '\n');
    add_lower(out, type, strlen(type));
    dgf_buf_add_byte(out, '\n');
    dgf_buf_add_str(out, link);
    dgf_buf_add_byte(out, '\n');
    add_lower(out, date, strlen(date));
    dgf_buf_add_str(out, "\n\n");
}

void dgf_azure_mac(const struct dgf_mac_key *key, const struct dgf_buf *text,
                   struct dgf_buf *out)
{
    uint8_t digest[DGF_SHA256_LEN];

    dgf_mac(key, dgf_buf_bytes(text), digest);
    dgf_buf_add_base64(out, dgf_bytes_of(digest, sizeof(digest)));
}
