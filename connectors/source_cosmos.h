/* source_cosmos.h - what the files of the Cosmos DB source share.
 *
 *   source_cosmos.c          options, open, pause, close
 *   source_cosmos_link.c     the account: signed requests, regions, the clock
 *   source_cosmos_start.c    from open to reading: account, containers, ranges
 *   source_cosmos_read.c     reading ranges; what became of each answer
 *   source_cosmos_ranges.c   splits and merges
 *   source_cosmos_emit.c     pages as events, positions, gaps
 *   source_cosmos_inspect.c  settings of the account and its containers
 *   source_cosmos_check.c    preflight of `dgf check`
 *
 * A range is a part of a container's partition keys with an etag: what was read of it.
 * A page is emitted whole in one go, with the position behind it in its last event:
 * nothing else of this source comes in between, so a batch holds all of a page or
 * nothing.  Failures of one range are waited out at that range; when they last, the
 * source is given back to the pipeline.  Thread: loop. */
#ifndef DGF_CONNECTORS_SOURCE_COSMOS_H
#define DGF_CONNECTORS_SOURCE_COSMOS_H

#include <event2/event.h>

#include "azure_auth.h"
#include "base/metrics.h"
#include "bus/source.h"
#include "cosmos_feed.h"
#include "cosmos_position.h"

#define DGF_COSMOS_CONTAINERS_MAX 64
#define DGF_COSMOS_PAGE_MAX (16u << 20) /* the service itself ends pages at 4 MiB */
#define DGF_COSMOS_REGIONS_MAX 32
#define DGF_COSMOS_FLIGHTS_MAX 16 /* requests under way */
#define DGF_COSMOS_TRIES 6        /* of a range, before it is in trouble */

#define DGF_COSMOS_SECOND INT64_C(1000000000)
#define DGF_COSMOS_MS INT64_C(1000000)

struct dgf_cosmos_conf {
    char *url, *database, *start;
    struct dgf_str_list containers, regions;
    int mode; /* enum dgf_cosmos_mode */
    struct dgf_azure_conf auth;
    int64_t max_ru, max_items;
    struct {
        int64_t min_ns, max_ns;
    } poll;
    int64_t timeout_ns, inspect_ns;
};

struct dgf_cosmos_source;

/* ---- the account ---- */

struct dgf_cosmos_region {
    char name[64], url[300];
    int64_t bad_until_ns; /* monotonic */
};

struct dgf_cosmos_link {
    const struct dgf_cosmos_conf *conf;
    struct dgf_http *http;
    struct dgf_azure_auth *auth;
    struct dgf_cosmos_region
        regions[DGF_COSMOS_REGIONS_MAX]; /* [0]: the address given */
    size_t n_regions, at;                /* at: the one that is asked */
    int64_t skew_ns; /* the server's clock minus ours, once it refused ours */
    bool waits_for_token;
    char token_trouble[300];
    enum dgf_rc token_rc;
    unsigned n_refused; /* 401 in a row */
};

enum dgf_rc dgf_cosmos_link_open(struct dgf_cosmos_link *link,
                                 const struct dgf_cosmos_conf *conf,
                                 struct event_base *loop, struct dgf_err *err)
    DGF_MUST_USE;
void dgf_cosmos_link_close(struct dgf_cosmos_link *link);

/* What an answer wants us to do. */
enum dgf_cosmos_is {
    DGF_COSMOS_GOOD,      /* 200 */
    DGF_COSMOS_SAME,      /* 304 */
    DGF_COSMOS_THROTTLED, /* 429: wait_ns */
    DGF_COSMOS_PASSING,   /* 408, 449, 500, 503 ..., no whole answer: later again */
    DGF_COSMOS_ELSEWHERE, /* 403/3, 403/1008, 503, unreachable: another region */
    DGF_COSMOS_SPLIT,     /* 410/1002: the range is gone */
    DGF_COSMOS_SPLITTING, /* 410/1007, 1008: wait, then look at the ranges */
    DGF_COSMOS_STALE,     /* 410/1000, 400/1024: another container, perhaps */
    DGF_COSMOS_MISSING,   /* 404/0, 404/1003 */
    DGF_COSMOS_BEHIND,    /* 404/1002: this replica has not got there yet */
    DGF_COSMOS_REFUSED,   /* 400: what was asked for is not given */
    DGF_COSMOS_SKEWED,    /* 403: our clock; corrected, ask again */
    DGF_COSMOS_UNTRUSTED, /* 401; 403 otherwise: a person */
};

struct dgf_cosmos_answer {
    enum dgf_cosmos_is is;
    enum dgf_rc rc; /* for what is given back: RETRY or BAD_CONFIG */
    char text[600]; /* what the answer said, as a cause; plain characters */
    int status, substatus;
    int64_t wait_ns;
    int64_t charge_mru; /* thousandths of a request unit */
    struct dgf_bytes body;
    const char *etag; /* NULL: none */
    const struct dgf_http_answer *http;
};

struct dgf_cosmos_ask {
    const char *type, *link_text; /* what is signed: "docs", "dbs/d/colls/c" */
    const char *path;             /* "/dbs/d/colls/c/docs" */
    const char *const *headers;   /* name, value, name, value ... */
    size_t n_headers;             /* pairs */
    size_t max_body;
    void (*done)(void *ctx, const struct dgf_http_answer *answer);
    void *ctx;
};

/* One request to the region we are at.  DGF_AGAIN: a token is being fetched; ask
 * again later. */
enum dgf_rc dgf_cosmos_link_send(struct dgf_cosmos_link *link,
                                 const struct dgf_cosmos_ask *ask,
                                 struct dgf_http_call **ret_call, struct dgf_err *err)
    DGF_MUST_USE;
/* Understands an answer; corrects the clock. */
void dgf_cosmos_link_read(struct dgf_cosmos_link *link,
                          const struct dgf_http_answer *answer,
                          struct dgf_cosmos_answer *ret);
/* The region is no good for a minute.  False: there is no other. */
bool dgf_cosmos_link_leave(struct dgf_cosmos_link *link);
/* Regions from the account's properties, in the order of conf. */
void dgf_cosmos_link_regions(struct dgf_cosmos_link *link, struct dgf_bytes account);
const char *dgf_cosmos_link_where(const struct dgf_cosmos_link *link);
/* "dbs/d/colls/c" and "/dbs/d/colls/c<rest>" of names. */
void dgf_cosmos_names(const struct dgf_cosmos_conf *conf, const char *container,
                      const char *rest, struct dgf_buf *link_text,
                      struct dgf_buf *path);

/* ---- containers and ranges ---- */

struct dgf_cosmos_container;

struct dgf_cosmos_range {
    struct dgf_cosmos_container *container;
    char *min, *max, *etag; /* etag "": none yet */
    char pkrange[64];       /* id of the physical partition; "": to be found */
    bool part;              /* of a larger physical partition */
    bool from_now;          /* asks where now is */
    bool lost;              /* from_now, because the etag is refused: a gap follows */
    struct dgf_http_call *call;
    struct dgf_buf page; /* a page that waits to be emitted */
    char *page_etag;
    int64_t due_ns, poll_ns, throttled_since_ns;
    bool read_once; /* was read to its end */
    unsigned n_failures, n_broken;
    uint8_t broken[DGF_SHA256_LEN]; /* of the page that could not be understood */
    unsigned max_items;             /* 0: as configured */
    char trouble[300];              /* said while n_failures is at its most */
};

struct dgf_cosmos_container {
    struct dgf_cosmos_source *source;
    const char *name; /* conf's */
    char rid[128];
    struct dgf_cosmos_key key;
    struct dgf_object *object;
    struct dgf_buf properties;
    struct dgf_cosmos_range **ranges; /* sorted by min */
    size_t n_ranges;
    struct dgf_buf stored; /* place and tokens of the position, while not started */
    size_t n_stored;       /* tokens in it */
    char stored_rid[128];
    char since[64]; /* If-Modified-Since of its requests */
    enum { DGF_COSMOS_UNKNOWN, DGF_COSMOS_KNOWN, DGF_COSMOS_STARTED } phase;
    int gap; /* enum dgf_gap of what was stored; -1: none */
    bool missing, stale, asks_ranges, has_pkranges;
    struct dgf_http_call *call; /* for properties or ranges */
    struct dgf_buf pkranges;    /* struct dgf_cosmos_pkrange */
    char continuation[512];
    int64_t due_ns, inspect_ns;
    unsigned n_failures, n_stale; /* n_stale: looked at in vain, in a row */
    char trouble[300];            /* said while one of them is at its most */
};

struct dgf_cosmos_source {
    struct dgf_source base; /* first: we cast from it */
    struct dgf_cosmos_link link;
    struct event *tick, *again;
    bool is_open, failed, paused, blocked, streaming, caught_up;
    struct dgf_cosmos_container *containers;
    size_t n_containers, next; /* next: whose turn it is */
    char account[256];         /* id; "": not asked yet */
    char stored_account[256];
    bool mode_changed, has_position;
    struct dgf_buf account_properties;
    struct dgf_http_call *account_call;
    bool account_known;
    int64_t account_due_ns;
    unsigned n_account_failures;
    size_t n_flights;
    int64_t budget_mru, budget_ns; /* request units left, when that was */
    int64_t progress_ns;
    bool moved; /* etags moved without an event */
    struct dgf_event_builder builder;
    struct dgf_buf scratch;
    struct dgf_metric *charge, *throttled;
};

#define DGF_COSMOS_CONF(self) ((const struct dgf_cosmos_conf *)(self)->base.conf)

static inline bool dgf_cosmos_stopped(const struct dgf_cosmos_source *self)
{
    return self->failed || self->paused || self->blocked;
}

void dgf_cosmos_fail(struct dgf_cosmos_source *self, enum dgf_rc rc, const char *fmt,
                     ...) DGF_PRINTF(3, 4);
void dgf_cosmos_charge(struct dgf_cosmos_source *self, int64_t charge_mru);
/* Another range than this one (NULL: than those of the container) is being read: only
 * this one is in trouble. */
bool dgf_cosmos_another_reads(const struct dgf_cosmos_source *self,
                              const struct dgf_cosmos_container *container,
                              const struct dgf_cosmos_range *range);
/* It, or a range of it, was tried in vain too often. */
bool dgf_cosmos_in_trouble(const struct dgf_cosmos_container *container);
/* Missing containers, trouble, throttling, the clock: what people should know. */
void dgf_cosmos_say(struct dgf_cosmos_source *self);
/* An answer whose cause is not the range's: true when it was dealt with (the source
 * failed, or another region is asked). */
bool dgf_cosmos_common(struct dgf_cosmos_source *self,
                       const struct dgf_cosmos_answer *answer);
int64_t dgf_cosmos_backoff_ns(unsigned n_failures);

/* ---- start ---- */
bool dgf_cosmos_start(struct dgf_cosmos_source *self, struct dgf_bytes position,
                      struct dgf_err *err);
void dgf_cosmos_start_tick(struct dgf_cosmos_source *self, int64_t now_ns);
void dgf_cosmos_container_clear(struct dgf_cosmos_container *container);
/* Looks at the container again: it may be another one.  text: why, when it is in vain
 * too often. */
void dgf_cosmos_container_stale(struct dgf_cosmos_container *container,
                                const char *text);
/* The first etags of all ranges are there. */
void dgf_cosmos_container_started(struct dgf_cosmos_container *container);

/* ---- ranges ---- */
struct dgf_cosmos_range *dgf_cosmos_range_new(struct dgf_cosmos_container *container,
                                              struct dgf_bytes min,
                                              struct dgf_bytes max,
                                              struct dgf_bytes etag);
void dgf_cosmos_range_free(struct dgf_cosmos_range *range);
/* Lays the ranges over the physical partitions: children inherit the etag of what was
 * split, of what was merged each keeps its part.  False: they do not cover us (yet), or
 * out of memory. */
bool dgf_cosmos_ranges_fit(struct dgf_cosmos_container *container);

/* ---- read ---- */
void dgf_cosmos_read_tick(struct dgf_cosmos_source *self, int64_t now_ns);
/* After resume: pages that wait. */
void dgf_cosmos_read_waiting(struct dgf_cosmos_source *self);

/* ---- emit ---- */
/* The page of a range and its etag; the range stands behind it then. */
void dgf_cosmos_emit_page(struct dgf_cosmos_range *range, struct dgf_bytes body,
                          struct dgf_cosmos_page *page, const char *etag);
void dgf_cosmos_emit_broken_page(struct dgf_cosmos_range *range, struct dgf_bytes body,
                                 const char *etag, const char *why);
void dgf_cosmos_emit_progress(struct dgf_cosmos_source *self);
void dgf_cosmos_emit_resume(struct dgf_cosmos_container *container);
/* from: the position text before, NULL: unknown.  The position is what it is now. */
void dgf_cosmos_emit_gap(struct dgf_cosmos_container *container, enum dgf_gap reason,
                         const char *from, const char *range, const char *message);
/* Where the source stands now; valid until the next call. */
struct dgf_bytes dgf_cosmos_position_now(struct dgf_cosmos_source *self);
void dgf_cosmos_emit(struct dgf_cosmos_source *self, struct dgf_event *take_event);
bool dgf_cosmos_set_etag(struct dgf_cosmos_range *range, const char *etag);

/* ---- inspect ---- */
void dgf_cosmos_inspect_account(struct dgf_cosmos_source *self);
void dgf_cosmos_inspect_container(struct dgf_cosmos_container *container);

/* ---- check ---- */
enum dgf_rc dgf_cosmos_check(struct dgf_source *src, struct dgf_findings *findings,
                             struct dgf_err *err) DGF_MUST_USE;

#endif
