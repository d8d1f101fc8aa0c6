#include "blob_store.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>

#include "azure_rest.h"
#include "azure_xml.h"
#include "base/mem.h"
#include "base/parse.h"

#define AHEAD_BYTES (2u << 20)
#define N_SLOTS 3
#define SOON_BYTES \
    (64u << 10)   /* of an object that will be read soon: most are smaller */
#define N_SOON 48 /* at most so many requests at once */
#define NAME_MAX_BYTES 1024
#define PAGE_MAX_BYTES (8u << 20)
#define PAGE_NAMES 1000
#define TEXT_MAX_BYTES 4096
#define ATTEMPTS 6
#define FIRST_WAIT_MS 250
#define LOG_ID_LEN 32
#define LOGS_MAX 8 /* named when there are several */

/* A piece of an object. */
struct slot {
    char name[NAME_MAX_BYTES];
    char etag[96];
    uint64_t offset, total;
    uint8_t *bytes; /* AHEAD_BYTES */
    size_t len;
    uint64_t used; /* when; 0: never */
};

enum soon_state { SOON_FREE, SOON_ASKED, SOON_HERE };

/* The beginning of an object, asked for before anybody waits for it. */
struct soon {
    enum soon_state state;
    char name[NAME_MAX_BYTES], etag[96];
    uint64_t total;
    uint8_t *bytes; /* SOON_BYTES */
    size_t len;
    uint64_t used; /* when it was asked for */
};

struct blob_store {
    struct dgf_store base;
    struct event_base *loop;
    struct dgf_azure_rest *rest;
    char *url, *account, *container, *below; /* below: "<prefix><log id>/" */
    const char *rights;                      /* borrowed, or NULL */
    struct slot slots[N_SLOTS];
    struct soon soon[N_SOON];
    uint64_t clock;
};

/* ---- one request, several attempts ---- */

struct attempt {
    enum dgf_azure_is is;
    enum dgf_rc rc;
    char text[DGF_AZURE_TEXT_MAX];
    struct slot *slot; /* gets body, total and etag; or: */
    struct dgf_buf *page;
};

/* How long the whole object is. */
static uint64_t total_of(const struct dgf_azure_answer *answer)
{
    const char *slash = strrchr(dgf_azure_answer_header(answer, "content-range"), '/');
    uint64_t total;

    return slash && dgf_parse_u64(dgf_bytes_str(slash + 1), &total) ? total
                                                                    : answer->body.len;
}

static void on_answer(void *ctx, const struct dgf_azure_answer *answer)
{
    struct attempt *attempt = ctx;
    struct slot *slot = attempt->slot;

    attempt->is = answer->is;
    attempt->rc = answer->rc;
    (void)snprintf(attempt->text, sizeof(attempt->text), "%s",
                   answer->text ? answer->text : "");
    if (answer->is != DGF_AZURE_DONE)
        return;
    if (slot && answer->body.len <= AHEAD_BYTES) {
        slot->len = answer->body.len;
        if (slot->len > 0)
            memcpy(slot->bytes, answer->body.ptr, slot->len);
        slot->total = total_of(answer);
        (void)snprintf(slot->etag, sizeof(slot->etag), "%s",
                       dgf_azure_answer_header(answer, "etag"));
    } else if (attempt->page) {
        dgf_buf_clear(attempt->page);
        dgf_buf_add_bytes(attempt->page, answer->body);
    }
}

static bool may_pass(const struct attempt *attempt)
{
    return attempt->is == DGF_AZURE_BUSY ||
           (attempt->is == DGF_AZURE_UNREACHABLE && attempt->rc == DGF_RETRY);
}

/* Less than asked for, and not the end: as good as cut. */
static bool is_short(const struct slot *slot)
{
    uint64_t left = slot->total > slot->offset ? slot->total - slot->offset : 0;

    return slot->len < (left < AHEAD_BYTES ? left : AHEAD_BYTES);
}

static void on_time(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    *(bool *)ctx = true;
}

static void wait_before_next(struct blob_store *self, int64_t ms)
{
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};
    bool over = false;

    if (event_base_once(self->loop, -1, EV_TIMEOUT, on_time, &over, &tv) != 0)
        return;
    while (!over && event_base_loop(self->loop, EVLOOP_ONCE) == 0)
        ;
}

static enum dgf_rc ask(struct blob_store *self, struct dgf_azure_ask *request,
                       struct attempt *attempt, struct dgf_err *err)
{
    int64_t wait_ms = FIRST_WAIT_MS;
    enum dgf_rc rc = DGF_OK;

    request->done = on_answer;
    request->ctx = attempt;
    for (int i = 0; i < ATTEMPTS; i++) {
        rc = dgf_azure_rest_wait(self->rest, request, err);
        if (rc)
            return rc;
        if (attempt->is == DGF_AZURE_DONE && attempt->slot && is_short(attempt->slot)) {
            attempt->is = DGF_AZURE_UNREACHABLE;
            attempt->rc = DGF_RETRY;
            (void)snprintf(attempt->text, sizeof(attempt->text),
                           "less came than was asked for");
        }
        if (!may_pass(attempt) || i == ATTEMPTS - 1)
            return DGF_OK;
        wait_before_next(self, wait_ms);
        wait_ms *= 2;
    }
    return rc;
}

static enum dgf_rc explain(const struct blob_store *self, const struct attempt *attempt,
                           const char *name, struct dgf_err *err)
{
    switch (attempt->is) {
    case DGF_AZURE_NO_PARENT:
        return dgf_err_set(err, DGF_BAD_CONFIG, "container '%s' does not exist",
                           self->url);
    case DGF_AZURE_DENIED:
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "we may not read '%s' in '%s'%s%s: %s; reading an archive needs the "
            "rights to read and to list",
            name, self->url, self->rights ? " with " : "",
            self->rights ? self->rights : "", attempt->text);
    case DGF_AZURE_CHANGED:
        return dgf_err_set(err, DGF_RETRY, "'%s' in '%s' was changed while it was read",
                           name, self->url);
    default:
        return dgf_err_set(err, attempt->rc ? attempt->rc : DGF_RETRY,
                           "cannot read '%s' in '%s'%s%s: %s", name, self->url,
                           self->rights ? " with " : "",
                           self->rights ? self->rights : "", attempt->text);
    }
}

/* ---- reading ---- */

static struct slot *find_slot(struct blob_store *self, const char *name,
                              uint64_t offset)
{
    for (size_t i = 0; i < N_SLOTS; i++) {
        struct slot *slot = &self->slots[i];

        if (slot->used && strcmp(slot->name, name) == 0 && offset >= slot->offset &&
            (offset < slot->offset + slot->len || offset >= slot->total))
            return slot;
    }
    return NULL;
}

/* The one of that object, which is read on, or the one unused longest. */
static struct slot *take_slot(struct blob_store *self, const char *name)
{
    struct slot *oldest = &self->slots[0];

    for (size_t i = 0; i < N_SLOTS; i++) {
        if (self->slots[i].used && strcmp(self->slots[i].name, name) == 0)
            return &self->slots[i];
        if (self->slots[i].used < oldest->used)
            oldest = &self->slots[i];
    }
    oldest->used = 0;
    oldest->etag[0] = '\0';
    (void)snprintf(oldest->name, sizeof(oldest->name), "%s", name);
    return oldest;
}

static enum dgf_rc fetch(struct blob_store *self, const char *name, uint64_t offset,
                         struct slot **ret, struct dgf_err *err)
{
    char path[NAME_MAX_BYTES + 512], range[96], match[128];
    const char *headers[3] = {range, NULL, NULL};
    struct slot *slot = take_slot(self, name);
    struct attempt attempt = {.slot = slot};
    struct dgf_azure_ask request = {
        .method = "GET", .path = path, .headers = headers, .max_body = AHEAD_BYTES};
    enum dgf_rc rc;

    if (!slot->bytes && !(slot->bytes = dgf_malloc(AHEAD_BYTES)))
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    (void)snprintf(path, sizeof(path), "/%s/%s%s", self->container, self->below, name);
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=%" PRIu64 "-%" PRIu64,
                   offset, offset + AHEAD_BYTES - 1);
    (void)snprintf(match, sizeof(match), "If-Match: %s", slot->etag);
    if (slot->etag[0] && offset > 0)
        headers[1] = match;
    slot->offset = offset;
    slot->len = 0;
    slot->used = 0; /* until it holds what it says */
    rc = ask(self, &request, &attempt, err);
    if (rc)
        return rc;
    if (attempt.is == DGF_AZURE_BEYOND)
        slot->total = offset;
    else if (attempt.is == DGF_AZURE_MISSING)
        return dgf_err_set(err, DGF_AGAIN, "there is no '%s' in '%s'", name, self->url);
    else if (attempt.is != DGF_AZURE_DONE)
        return explain(self, &attempt, name, err);
    slot->used = ++self->clock;
    *ret = slot;
    return DGF_OK;
}

/* ---- what will be read soon ---- */

/* What did not come, or not whole, is asked for again when it is read. */
static void on_soon(void *ctx, const struct dgf_azure_answer *answer)
{
    struct soon *soon = ctx;

    soon->state = SOON_FREE;
    if (answer->is != DGF_AZURE_DONE)
        return;
    soon->total = total_of(answer);
    soon->len = answer->body.len;
    if (soon->len != (soon->total < SOON_BYTES ? soon->total : SOON_BYTES))
        return;
    if (soon->len > 0)
        memcpy(soon->bytes, answer->body.ptr, soon->len);
    (void)snprintf(soon->etag, sizeof(soon->etag), "%s",
                   dgf_azure_answer_header(answer, "etag"));
    soon->state = SOON_HERE;
}

static struct soon *find_soon(struct blob_store *self, const char *name)
{
    for (size_t i = 0; i < N_SOON; i++)
        if (self->soon[i].state != SOON_FREE && strcmp(self->soon[i].name, name) == 0)
            return &self->soon[i];
    return NULL;
}

/* A free one, or the one that nobody came for longest; NULL: all are under way. */
static struct soon *room_for_soon(struct blob_store *self)
{
    struct soon *found = NULL;

    for (size_t i = 0; i < N_SOON; i++) {
        struct soon *soon = &self->soon[i];

        if (soon->state == SOON_FREE)
            return soon;
        if (soon->state == SOON_HERE && (!found || soon->used < found->used))
            found = soon;
    }
    return found;
}

static void store_soon(struct dgf_store *store, const char *name)
{
    struct blob_store *self = (struct blob_store *)store;
    char path[NAME_MAX_BYTES + 512], range[96];
    const char *headers[] = {range, NULL};
    struct dgf_azure_ask request = {.method = "GET",
                                    .path = path,
                                    .headers = headers,
                                    .max_body = SOON_BYTES,
                                    .done = on_soon};
    struct dgf_err err;
    struct soon *soon;

    if (strlen(name) >= NAME_MAX_BYTES || find_slot(self, name, 0) ||
        find_soon(self, name))
        return;
    soon = room_for_soon(self);
    if (!soon || (!soon->bytes && !(soon->bytes = dgf_malloc(SOON_BYTES))))
        return;
    (void)snprintf(soon->name, sizeof(soon->name), "%s", name);
    (void)snprintf(path, sizeof(path), "/%s/%s%s", self->container, self->below, name);
    (void)snprintf(range, sizeof(range), "x-ms-range: bytes=0-%u", SOON_BYTES - 1);
    soon->used = ++self->clock;
    soon->state = SOON_ASKED;
    request.ctx = soon;
    if (dgf_azure_rest_ask(self->rest, &request, &err))
        soon->state = SOON_FREE;
}

/* Waits for what was asked for, and makes it a slot; NULL: it has to be fetched. */
static struct slot *take_soon(struct blob_store *self, const char *name)
{
    struct soon *soon = find_soon(self, name);
    struct slot *slot;

    while (soon && soon->state == SOON_ASKED)
        if (event_base_loop(self->loop, EVLOOP_ONCE) != 0)
            return NULL;
    if (!soon || soon->state != SOON_HERE)
        return NULL;
    slot = take_slot(self, name);
    soon->state = SOON_FREE;
    if (!slot->bytes && !(slot->bytes = dgf_malloc(AHEAD_BYTES)))
        return NULL;
    memcpy(slot->bytes, soon->bytes, soon->len);
    memcpy(slot->etag, soon->etag, sizeof(slot->etag));
    slot->offset = 0;
    slot->len = soon->len;
    slot->total = soon->total;
    slot->used = ++self->clock;
    return slot;
}

static enum dgf_rc store_read(struct dgf_store *store, const char *name,
                              uint64_t offset, void *ptr, size_t len, size_t *ret_len,
                              struct dgf_err *err)
{
    struct blob_store *self = (struct blob_store *)store;
    size_t done = 0;

    if (strlen(name) >= NAME_MAX_BYTES || strlen(name) == 0)
        return dgf_err_set(err, DGF_AGAIN, "no archive has an object of such a name");
    while (done < len) {
        struct slot *slot = find_slot(self, name, offset + done);
        uint64_t at;
        size_t n;

        if (!slot && offset + done < SOON_BYTES)
            slot = take_soon(self, name);
        if (!slot) {
            enum dgf_rc rc = fetch(self, name, offset + done, &slot, err);

            if (rc)
                return rc;
        }
        slot->used = ++self->clock;
        at = offset + done - slot->offset;
        if (at >= slot->len)
            break; /* the end */
        n = slot->len - (size_t)at < len - done ? slot->len - (size_t)at : len - done;
        memcpy((uint8_t *)ptr + done, slot->bytes + at, n);
        done += n;
    }
    *ret_len = done;
    return DGF_OK;
}

/* ---- listing ---- */

struct listing {
    size_t n_below;
    enum dgf_rc (*visit)(void *ctx, const char *name, uint64_t size);
    void *ctx;
    char name[TEXT_MAX_BYTES + 1];
    uint64_t size;
    struct dgf_buf marker;
    enum dgf_rc visited;
};

static enum dgf_rc on_end(void *ctx, const char *path, struct dgf_bytes text,
                          struct dgf_err *err)
{
    struct listing *listing = ctx;
    bool is_blob = strcmp(path, "EnumerationResults/Blobs/Blob") == 0,
         is_folder = strcmp(path, "EnumerationResults/Blobs/BlobPrefix") == 0;

    if (strcmp(path, "EnumerationResults/NextMarker") == 0) {
        dgf_buf_clear(&listing->marker);
        dgf_buf_add_bytes(&listing->marker, text);
    } else if (strcmp(path, "EnumerationResults/Blobs/Blob/Name") == 0 ||
               strcmp(path, "EnumerationResults/Blobs/BlobPrefix/Name") == 0) {
        if (memchr(text.ptr ? text.ptr : (const uint8_t *)"", 0, text.len))
            return dgf_err_set(err, DGF_BAD_DATA, "a name has a NUL in it");
        if (text.len > 0)
            memcpy(listing->name, text.ptr, text.len);
        listing->name[text.len] = '\0';
    } else if (strcmp(path,
                      "EnumerationResults/Blobs/Blob/Properties/Content-Length") == 0) {
        if (!dgf_parse_u64(text, &listing->size))
            return dgf_err_set(err, DGF_BAD_DATA, "a length is no number");
    } else if (is_blob || is_folder) {
        if (strlen(listing->name) > listing->n_below)
            listing->visited = listing->visit(
                listing->ctx, listing->name + listing->n_below, listing->size);
        listing->name[0] = '\0';
        listing->size = 0;
        return listing->visited;
    }
    return DGF_OK;
}

static enum dgf_rc list_page(struct blob_store *self, struct listing *listing,
                             const char *below, const char *prefix, bool folders,
                             struct dgf_buf *page, struct dgf_err *err)
{
    static const struct dgf_azure_xml_calls calls = {.end = on_end};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf query = {0};
    struct attempt attempt = {.page = page};
    struct dgf_azure_ask request = {.method = "GET", .max_body = PAGE_MAX_BYTES};
    char path[80];
    enum dgf_rc rc;

    (void)snprintf(path, sizeof(path), "/%s", self->container);
    dgf_buf_init(&query, 16384);
    dgf_buf_addf(&query,
                 "restype=container&comp=list&maxresults=%d%s&prefix=", PAGE_NAMES,
                 folders ? "&delimiter=%2F" : "");
    dgf_azure_encode(&query, dgf_bytes_str(below));
    dgf_azure_encode(&query, dgf_bytes_str(prefix));
    if (listing->marker.len > 0) {
        dgf_buf_add_str(&query, "&marker=");
        dgf_azure_encode(&query, dgf_buf_bytes(&listing->marker));
    }
    request.path = path;
    request.query = dgf_buf_str(&query);
    if (dgf_buf_rc(&query))
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    rc = ask(self, &request, &attempt, err);
    if (rc)
        return rc;
    if (attempt.is == DGF_AZURE_MISSING)
        attempt.is = DGF_AZURE_NO_PARENT;
    if (attempt.is != DGF_AZURE_DONE)
        return explain(self, &attempt, "the list of objects", err);
    dgf_buf_clear(&listing->marker);
    rc = dgf_buf_rc(page);
    if (rc)
        return dgf_err_set(err, rc, "out of memory");
    rc = dgf_azure_xml_read(dgf_buf_bytes(page), TEXT_MAX_BYTES, &calls, listing, err);
    if (rc && !listing->visited)
        (void)dgf_err_prefix(err, "cannot list '%s'", self->url);
    return rc;
}

static enum dgf_rc list(struct blob_store *self, const char *below, const char *prefix,
                        bool folders,
                        enum dgf_rc (*visit)(void *ctx, const char *name,
                                             uint64_t size),
                        void *ctx, struct dgf_err *err)
{
    struct listing listing = {.n_below = strlen(below), .visit = visit, .ctx = ctx};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf page = {0};
    enum dgf_rc rc;

    dgf_buf_init(&page, PAGE_MAX_BYTES);
    dgf_buf_init(&listing.marker, TEXT_MAX_BYTES);
    do {
        rc = list_page(self, &listing, below, prefix, folders, &page, err);
    } while (!rc && listing.marker.len > 0);
    dgf_buf_release(&listing.marker);
    return rc;
}

static enum dgf_rc store_list(struct dgf_store *store, const char *prefix,
                              enum dgf_rc (*visit)(void *ctx, const char *name,
                                                   uint64_t size),
                              void *ctx, struct dgf_err *err)
{
    struct blob_store *self = (struct blob_store *)store;

    return list(self, self->below, prefix, false, visit, ctx, err);
}

/* ---- which log ---- */

struct found {
    char logs[LOGS_MAX][LOG_ID_LEN + 1];
    unsigned n;
};

static bool is_log_id(const char *text, size_t len)
{
    uint8_t id[LOG_ID_LEN / 2];

    return len == LOG_ID_LEN && dgf_parse_hex(dgf_bytes_of(text, len), id, sizeof(id));
}

static enum dgf_rc on_folder(void *ctx, const char *name, uint64_t size)
{
    struct found *found = ctx;
    size_t len = strlen(name);

    (void)size;
    if (len != LOG_ID_LEN + 1 || name[LOG_ID_LEN] != '/' ||
        !is_log_id(name, LOG_ID_LEN))
        return DGF_OK;
    if (found->n < LOGS_MAX)
        (void)snprintf(found->logs[found->n], sizeof(found->logs[0]), "%.*s",
                       LOG_ID_LEN, name);
    found->n++;
    return DGF_OK;
}

static enum dgf_rc several(const struct blob_store *self, const struct found *found,
                           struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf names = {0};

    dgf_buf_init(&names, LOGS_MAX * (LOG_ID_LEN + 2) + 8);
    for (unsigned i = 0; i < found->n && i < LOGS_MAX; i++)
        dgf_buf_addf(&names, "%s%s", i > 0 ? ", " : "", found->logs[i]);
    return dgf_err_set(
        err, DGF_BAD_CONFIG, "'%s' holds %u logs; name one of them: %s%s", self->url,
        found->n, dgf_buf_str(&names), found->n > LOGS_MAX ? ", ..." : "");
}

static enum dgf_rc find_log(struct blob_store *self, const char *prefix,
                            const char *log_id, struct dgf_err *err)
{
    struct found found = {0};
    char text[NAME_MAX_BYTES];
    size_t len = strlen(prefix);
    enum dgf_rc rc = DGF_OK;

    /* ".../<log id>/" names it already. */
    if (!log_id && len > LOG_ID_LEN &&
        is_log_id(prefix + len - LOG_ID_LEN - 1, LOG_ID_LEN))
        log_id = "";
    if (!log_id) {
        rc = list(self, prefix, "", true, on_folder, &found, err);
        if (!rc && found.n == 0)
            rc = dgf_err_set(err, DGF_BAD_CONFIG,
                             "there is no archive in '%s' below '%s'", self->url,
                             prefix);
        if (!rc && found.n > 1)
            rc = several(self, &found, err);
        log_id = found.logs[0];
    }
    if (rc)
        return rc;
    if ((size_t)snprintf(text, sizeof(text), "%s%s%s", prefix, log_id,
                         log_id[0] ? "/" : "") >= sizeof(text))
        return dgf_err_set(err, DGF_BAD_CONFIG, "the prefix is too long");
    self->below = dgf_strdup(text);
    return self->below ? DGF_OK : dgf_err_set(err, DGF_NOMEM, "out of memory");
}

/* ---- life ---- */

static void store_free(struct dgf_store *store)
{
    struct blob_store *self = (struct blob_store *)store;

    if (!self)
        return;
    dgf_azure_rest_free(self->rest);
    if (self->loop)
        event_base_free(self->loop);
    for (size_t i = 0; i < N_SLOTS; i++)
        dgf_free(self->slots[i].bytes);
    for (size_t i = 0; i < N_SOON; i++)
        dgf_free(self->soon[i].bytes);
    dgf_free(self->url);
    dgf_free(self->account);
    dgf_free(self->container);
    dgf_free(self->below);
    dgf_free(self);
}

static void store_free_at(struct blob_store **self)
{
    if (*self)
        store_free(&(*self)->base);
}

/* Where the path of the account ends: an emulator's address has it in the path, at a
 * host that is a number or has no dot. */
static size_t account_len(const char *url)
{
    const char *host = strstr(url, "://"), *path;
    size_t n;

    if (!host)
        return 0;
    host += 3;
    n = strcspn(host, ":/");
    path = host + strcspn(host, "/");
    if (*path && (memchr(host, '.', n) == NULL || strspn(host, "0123456789.") >= n))
        path += 1 + strcspn(path + 1, "/");
    return (size_t)(path - url);
}

enum dgf_rc dgf_blob_store_split(const char *url, char **ret_container_url,
                                 char **ret_prefix, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_free) char *container = NULL;
    DGF_CLEANUP(dgf_free) char *prefix = NULL;
    size_t at = account_len(url), len = strlen(url), end;

    if (at == 0 || url[at] != '/')
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "'%.200s' is no address of a container: it must be "
                           "https://ACCOUNT.blob.core.windows.net/CONTAINER",
                           strpbrk(url, "?@") ? "..." : url);
    while (len > at && url[len - 1] == '/')
        len--;
    end = at + 1 + strcspn(url + at + 1, "/");
    if (end > len)
        end = len;
    container = dgf_strndup(url, end);
    prefix = len > end ? dgf_malloc(len - end + 1) : dgf_strdup("");
    if (!container || !prefix)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    if (len > end) { /* "/a/b" becomes "a/b/" */
        memcpy(prefix, url + end + 1, len - end - 1);
        prefix[len - end - 1] = '/';
        prefix[len - end] = '\0';
    }
    *ret_container_url = dgf_steal(container);
    *ret_prefix = dgf_steal(prefix);
    return DGF_OK;
}

static enum dgf_rc open_rest(struct blob_store *self,
                             const struct dgf_blob_store_conf *conf, char **ret_prefix,
                             struct dgf_err *err)
{
    struct dgf_azure_rest_conf rest = {
        .service = DGF_AZURE_BLOB, .auth = conf->auth, .timeout_ms = conf->timeout_ms};
    DGF_CLEANUP(dgf_free) char *prefix = NULL;
    DGF_CLEANUP(dgf_free) char *all = NULL;
    size_t size;
    enum dgf_rc rc = dgf_blob_store_split(conf->url, &self->url, &prefix, err);

    if (!rc &&
        dgf_azure_container_url(self->url, &self->account, &self->container, err))
        rc = dgf_err_prefix(err, "the address of a container");
    if (rc)
        return rc;
    size = strlen(prefix) + (conf->prefix ? strlen(conf->prefix) : 0) + 1;
    all = dgf_malloc(size);
    self->loop = event_base_new();
    if (!all || !self->loop)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    (void)snprintf(all, size, "%s%s", prefix, conf->prefix ? conf->prefix : "");
    rest.base_url = self->account;
    rc = dgf_azure_rest_new(self->loop, &rest, &self->rest, err);
    if (!rc)
        *ret_prefix = dgf_steal(all);
    return rc;
}

enum dgf_rc dgf_blob_store_open(const struct dgf_blob_store_conf *conf,
                                struct dgf_store **ret, struct dgf_err *err)
{
    struct blob_store *self __attribute__((cleanup(store_free_at))) =
        dgf_calloc(1, sizeof(*self));
    DGF_CLEANUP(dgf_free) char *prefix = NULL;
    enum dgf_rc rc;

    if (!self)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    self->rights = conf->rights;
    if (conf->log_id && !is_log_id(conf->log_id, strlen(conf->log_id)))
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "a log id has 32 hexadecimal digits, and '%.64s' has not",
                           conf->log_id);
    rc = open_rest(self, conf, &prefix, err);
    if (!rc)
        rc = find_log(self, prefix, conf->log_id, err);
    if (rc)
        return rc;
    self->base.read = store_read;
    self->base.list = store_list;
    self->base.soon = store_soon;
    self->base.free = store_free;
    *ret = &self->base;
    self = NULL;
    return DGF_OK;
}
