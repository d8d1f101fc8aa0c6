#include <stdlib.h>

#include "source_cosmos.h"

/* Our ranges over the physical partitions of a container.  A split leaves each child
 * with the etag of what was split: log sequence numbers go on.  A merge leaves our
 * ranges as they are, each a part of the merged partition. */

struct dgf_cosmos_range *dgf_cosmos_range_new(struct dgf_cosmos_container *container,
                                              struct dgf_bytes min,
                                              struct dgf_bytes max,
                                              struct dgf_bytes etag)
{
    struct dgf_cosmos_range *range = dgf_calloc(1, sizeof(*range));

    if (!range)
        return NULL;
    range->container = container;
    range->min = dgf_strndup((const char *)min.ptr, min.len);
    range->max = dgf_strndup((const char *)max.ptr, max.len);
    range->etag = dgf_strndup((const char *)etag.ptr, etag.len);
    dgf_buf_init(&range->page, DGF_COSMOS_PAGE_MAX);
    if (!range->min || !range->max || !range->etag) {
        dgf_cosmos_range_free(range);
        return NULL;
    }
    return range;
}

void dgf_cosmos_range_free(struct dgf_cosmos_range *range)
{
    if (!range)
        return;
    if (range->call) {
        dgf_http_cancel(range->call);
        range->container->source->n_flights--;
    }
    dgf_free(range->min);
    dgf_free(range->max);
    dgf_free(range->etag);
    dgf_free(range->page_etag);
    dgf_buf_release(&range->page);
    dgf_free(range);
}

/* ---- fitting ---- */

static const char *later(const char *a, const char *b)
{
    return strcmp(a, b) < 0 ? b : a;
}

static const char *earlier(const char *a, const char *b)
{
    return strcmp(a, b) < 0 ? a : b;
}

static bool overlaps(const struct dgf_cosmos_range *range,
                     const struct dgf_cosmos_pkrange *part)
{
    return strcmp(range->min, part->max) < 0 && strcmp(part->min, range->max) < 0;
}

static void set_part(struct dgf_cosmos_range *range,
                     const struct dgf_cosmos_pkrange *part)
{
    memcpy(range->pkrange, part->id, sizeof(range->pkrange));
    range->part = strcmp(part->min, range->min) || strcmp(part->max, range->max);
}

struct fitted {
    struct dgf_cosmos_range **list;
    size_t n, cap;
};

static bool add(struct fitted *fitted, struct dgf_cosmos_range *range)
{
    if (!range || fitted->n == DGF_COSMOS_RANGES_MAX)
        return false;
    if (fitted->n == fitted->cap) {
        size_t cap = fitted->cap ? fitted->cap * 2 : 8;
        void *list = dgf_realloc(fitted->list, cap * sizeof(*fitted->list));

        if (!list)
            return false;
        fitted->list = list;
        fitted->cap = cap;
    }
    fitted->list[fitted->n++] = range;
    return true;
}

static struct dgf_cosmos_range *child_of(const struct dgf_cosmos_range *range,
                                         const struct dgf_cosmos_pkrange *part)
{
    struct dgf_cosmos_range *child = dgf_cosmos_range_new(
        range->container, dgf_bytes_str(later(range->min, part->min)),
        dgf_bytes_str(earlier(range->max, part->max)), dgf_bytes_str(range->etag));

    if (!child)
        return NULL;
    child->from_now = range->from_now;
    child->lost = range->lost;
    child->poll_ns = range->poll_ns;
    set_part(child, part);
    return child;
}

/* One range over the parts, which are sorted.  False: a hole. */
static bool fit_one(struct dgf_cosmos_range *range,
                    const struct dgf_cosmos_pkrange *parts, size_t n,
                    struct fitted *fitted)
{
    const char *reached = range->min;

    for (size_t i = 0; i < n && strcmp(reached, range->max) < 0; i++) {
        struct dgf_cosmos_range *child;

        if (!overlaps(range, &parts[i]))
            continue;
        if (strcmp(parts[i].min, reached) > 0)
            return false;
        child = child_of(range, &parts[i]);
        if (!add(fitted, child)) {
            dgf_cosmos_range_free(child);
            return false;
        }
        reached = parts[i].max;
    }
    return strcmp(reached, range->max) >= 0;
}

static int by_min(const void *a, const void *b)
{
    const struct dgf_cosmos_pkrange *one = a, *two = b;

    return strcmp(one->min, two->min);
}

static bool is_as_before(const struct dgf_cosmos_range *range,
                         const struct dgf_cosmos_pkrange *parts, size_t n,
                         const struct dgf_cosmos_pkrange **ret)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(parts[i].min, range->min) <= 0 &&
            strcmp(parts[i].max, range->max) >= 0) {
            *ret = &parts[i];
            return true;
        }
    return false;
}

bool dgf_cosmos_ranges_fit(struct dgf_cosmos_container *container)
{
    size_t n = container->pkranges.len / sizeof(struct dgf_cosmos_pkrange);
    struct dgf_cosmos_pkrange *parts = (void *)container->pkranges.ptr;
    const struct dgf_cosmos_pkrange *part;
    struct fitted fitted = {NULL, 0, 0};
    bool good = n > 0;

    if (n)
        qsort(parts, n, sizeof(*parts), by_min);
    for (size_t i = 0; i < container->n_ranges && good; i++) {
        struct dgf_cosmos_range *range = container->ranges[i];

        if (is_as_before(range, parts, n, &part))
            good = add(&fitted, range);
        else
            good = fit_one(range, parts, n, &fitted);
    }
    /* All or nothing: what is ours already stays in either case. */
    for (size_t i = 0; i < fitted.n && !good; i++) {
        bool ours = false;

        for (size_t k = 0; k < container->n_ranges; k++)
            ours = ours || container->ranges[k] == fitted.list[i];
        if (!ours)
            dgf_cosmos_range_free(fitted.list[i]);
    }
    if (!good) {
        dgf_free(fitted.list);
        return false;
    }
    for (size_t i = 0; i < container->n_ranges; i++) {
        struct dgf_cosmos_range *range = container->ranges[i];

        if (is_as_before(range, parts, n, &part))
            set_part(range, part);
        else
            dgf_cosmos_range_free(range);
    }
    dgf_free(container->ranges);
    container->ranges = fitted.list;
    container->n_ranges = fitted.n;
    return true;
}
