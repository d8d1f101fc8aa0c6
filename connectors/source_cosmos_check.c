#include <event2/event.h>
#include <stdio.h>

#include "source_cosmos.h"

/* Preflight: reaches the account, each container, its partitions and its feed, and says
 * what is missing. */

struct check {
    const struct dgf_cosmos_conf *conf;
    struct dgf_source *src;
    struct dgf_findings *findings;
    struct dgf_cosmos_link link;
    struct event_base *loop;
    /* Of the request under way. */
    bool done;
    struct dgf_cosmos_answer answer;
    struct dgf_buf body;
    char etag[DGF_COSMOS_ETAG_MAX + 1];
    char option[48]; /* of the container that is looked at: "containers[2]" */
};

static void add(struct check *check, enum dgf_severity_of_finding severity,
                const char *code, const char *fmt, ...) DGF_PRINTF(4, 5);

static void add(struct check *check, enum dgf_severity_of_finding severity,
                const char *code, const char *fmt, ...)
{
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(check->findings, severity, code, (struct dgf_mark){0}, NULL,
                     "sources.%s (cosmos): %s", check->src->name, text);
}

static void on_answer(void *ctx, const struct dgf_http_answer *http)
{
    struct check *check = ctx;

    dgf_cosmos_link_read(&check->link, http, &check->answer);
    dgf_buf_clear(&check->body);
    dgf_buf_add_bytes(&check->body, http->body);
    check->answer.body = dgf_buf_bytes(&check->body);
    (void)snprintf(check->etag, sizeof(check->etag), "%s",
                   check->answer.etag ? check->answer.etag : "");
    check->answer.http = NULL;
    check->answer.etag = NULL;
    check->done = true;
}

/* Blocks until the answer is here; false: told. */
static bool ask(struct check *check, struct dgf_cosmos_ask *request)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    request->max_body = 8u << 20;
    request->done = on_answer;
    request->ctx = check;
    for (unsigned tries = 0; tries < 3; tries++) {
        check->done = false;
        rc = dgf_azure_auth_block(check->link.auth, &err);
        if (!rc)
            rc = dgf_cosmos_link_send(&check->link, request, NULL, &err);
        if (rc) {
            add(check, DGF_FINDING_ERROR, "E0642", "%s", err.text);
            dgf_findings_about(check->findings, "auth");
            return false;
        }
        while (!check->done)
            if (event_base_loop(check->loop, EVLOOP_ONCE) < 0)
                return false;
        if (check->answer.is != DGF_COSMOS_SKEWED)
            break;
        add(check, DGF_FINDING_WARNING, "W0641",
            "the clock of this machine is %lld s away from that of '%s'",
            (long long)(check->link.skew_ns / DGF_COSMOS_SECOND),
            dgf_cosmos_link_where(&check->link));
        dgf_findings_fix(check->findings, "timedatectl set-ntp true");
    }
    return true;
}

/* option: what in the file it is about, when it is no matter of rights. */
static void refused(struct check *check, const char *what, const char *option)
{
    const struct dgf_cosmos_answer *answer = &check->answer;

    if (answer->status == 401 || answer->status == 403) {
        add(check, DGF_FINDING_ERROR, "E0643", "%s: %s", what, answer->text);
        dgf_findings_about(check->findings, "%s",
                           check->conf->auth.how == DGF_AZURE_KEY ? "key" : "auth");
        if (check->conf->auth.how != DGF_AZURE_KEY)
            dgf_findings_fix(
                check->findings,
                "az cosmosdb sql role assignment create --role-definition-id "
                "00000000-0000-0000-0000-000000000001 --scope / "
                "--principal-id ID --account-name NAME --resource-group "
                "GROUP");
        else if (answer->status == 401)
            dgf_findings_fix(check->findings,
                             "az cosmosdb keys list --type read-only-keys --name NAME "
                             "--resource-group GROUP");
    } else {
        add(check, DGF_FINDING_ERROR, "E0642", "%s: %s", what, answer->text);
        dgf_findings_about(check->findings, "%s", option);
    }
}

static bool check_account(struct check *check)
{
    struct dgf_cosmos_ask request = {.type = "", .link_text = "", .path = "/"};
    struct dgf_bytes root;

    if (!ask(check, &request))
        return false;
    if (check->answer.is != DGF_COSMOS_GOOD) {
        refused(check, "cannot look at the account", "url");
        return false;
    }
    root = dgf_jv_root(check->answer.body);
    if (dgf_jv_check(check->answer.body, NULL)) {
        add(check, DGF_FINDING_ERROR, "E0642",
            "'%s' does not answer like an account of Cosmos DB",
            dgf_cosmos_link_where(&check->link));
        dgf_findings_about(check->findings, "url");
        return false;
    }
    dgf_cosmos_link_regions(&check->link, root);
    for (size_t i = 0; i < check->conf->regions.n; i++) {
        bool known = false;

        for (size_t r = 1; r < check->link.n_regions; r++)
            known = known || !strcasecmp(check->link.regions[r].name,
                                         check->conf->regions.list[i]);
        if (!known) {
            add(check, DGF_FINDING_WARNING, "W0641",
                "the account cannot be read in region '%s'",
                check->conf->regions.list[i]);
            dgf_findings_about(check->findings, "regions[%zu]", i);
        }
    }
    return true;
}

static void check_policy(struct check *check, const char *container,
                         struct dgf_bytes properties)
{
    struct dgf_bytes policy, retention;
    int64_t minutes = 0;

    if (check->conf->mode != DGF_COSMOS_ALL)
        return;
    if (dgf_jv_find(properties, "changeFeedPolicy", &policy) &&
        dgf_jv_find(policy, "retentionDuration", &retention))
        (void)dgf_jv_i64(retention, &minutes);
    if (minutes > 0)
        return;
    add(check, DGF_FINDING_ERROR, "E0644",
        "container '%s' has no change feed policy, which mode: all_versions needs",
        container);
    dgf_findings_about(check->findings, "mode");
    dgf_findings_fix(check->findings,
                     "az cosmosdb update --name NAME --resource-group GROUP "
                     "--backup-policy-type Continuous, and set changeFeedPolicy of the "
                     "container");
}

static void check_ttl(struct check *check, const char *container,
                      struct dgf_bytes properties)
{
    struct dgf_bytes ttl;

    if (check->conf->mode == DGF_COSMOS_LATEST &&
        dgf_jv_find(properties, "defaultTtl", &ttl) && !dgf_jv_is_null(ttl))
        add(check, DGF_FINDING_NOTE, "W0641",
            "documents of container '%s' expire, and mode: latest_version does not see it",
            container);
    else
        return;
    dgf_findings_about(check->findings, "mode");
}

static bool check_feed(struct check *check, const char *container, const char *rid,
                       struct dgf_cosmos_ask *request)
{
    struct dgf_cosmos_pkrange range;
    struct dgf_buf ranges;
    const char *why;
    bool answered, all = check->conf->mode == DGF_COSMOS_ALL;
    const char *headers[] = {"A-IM",
                             all ? "Full-Fidelity Feed" : "Incremental Feed",
                             "If-None-Match",
                             "*",
                             "x-ms-documentdb-partitionkeyrangeid",
                             range.id,
                             "x-ms-cosmos-intended-collection-rid",
                             rid,
                             "x-ms-cosmos-changefeed-wire-format-version",
                             "2021-09-15"};

    dgf_buf_init(&ranges, DGF_COSMOS_RANGES_MAX * sizeof(range));
    why = dgf_cosmos_pkranges_read(check->answer.body, &ranges);
    if (!why && ranges.len >= sizeof(range))
        memcpy(&range, ranges.ptr, sizeof(range));
    else if (!why)
        why = "it has none";
    dgf_buf_release(&ranges);
    if (why) {
        add(check, DGF_FINDING_ERROR, "E0642",
            "the partitions of container '%s' cannot be understood: %s", container,
            why);
        dgf_findings_about(check->findings, "%s", check->option);
        return false;
    }
    request->type = "docs";
    request->headers = headers;
    request->n_headers = all ? 5 : 4;
    answered = ask(check, request);
    request->headers = NULL;
    request->n_headers = 0;
    return answered;
}

static void check_container(struct check *check, const char *container)
{
    struct dgf_buf link_text, path;
    struct dgf_cosmos_ask request = {.type = "colls"};
    struct dgf_object *object;
    struct dgf_bytes rid, root;
    char what[400], rid_text[128] = "";
    size_t len;

    dgf_buf_init(&link_text, 1024);
    dgf_buf_init(&path, 4096);
    dgf_cosmos_names(check->conf, container, "", &link_text, &path);
    len = path.len;
    request.link_text = dgf_buf_str(&link_text);
    request.path = dgf_buf_str(&path);
    (void)snprintf(what, sizeof(what), "cannot look at container '%s'", container);
    if (!ask(check, &request))
        goto out;
    if (check->answer.is == DGF_COSMOS_MISSING) {
        add(check, DGF_FINDING_ERROR, "E0642",
            "there is no container '%s' in database '%s'", container,
            check->conf->database);
        dgf_findings_about(check->findings, "%s", check->option);
        goto out;
    }
    root = dgf_jv_root(check->answer.body);
    if (check->answer.is != DGF_COSMOS_GOOD || dgf_jv_check(check->answer.body, NULL) ||
        !dgf_jv_find(root, "_rid", &rid) ||
        !dgf_jv_copy(rid, rid_text, sizeof(rid_text))) {
        refused(check, what, check->option);
        goto out;
    }
    if (!dgf_object_new("cosmos", check->conf->database, check->conf->database,
                        container, NULL, 0, 1, &object)) {
        dgf_source_found(check->src, object);
        dgf_object_unref(object);
    }
    check_policy(check, container, root);
    check_ttl(check, container, root);
    path.len = len;
    dgf_buf_add_str(&path, "/pkranges");
    request.path = dgf_buf_str(&path);
    request.type = "pkranges";
    if (!ask(check, &request))
        goto out;
    if (check->answer.is != DGF_COSMOS_GOOD) {
        refused(check, what, check->option);
        goto out;
    }
    path.len = len;
    dgf_buf_add_str(&path, "/docs");
    request.path = dgf_buf_str(&path);
    (void)snprintf(what, sizeof(what), "cannot read the change feed of container '%s'",
                   container);
    if (check_feed(check, container, rid_text, &request) &&
        check->answer.is != DGF_COSMOS_GOOD && check->answer.is != DGF_COSMOS_SAME &&
        check->answer.is != DGF_COSMOS_THROTTLED)
        refused(check, what, check->option);
out:
    dgf_buf_release(&link_text);
    dgf_buf_release(&path);
}

enum dgf_rc dgf_cosmos_check(struct dgf_source *src, struct dgf_findings *findings,
                             struct dgf_err *err)
{
    struct check check = {.conf = src->conf, .src = src, .findings = findings};
    char what[128];
    enum dgf_rc rc;

    (void)snprintf(what, sizeof(what), "sources.%s (cosmos)", src->name);
    if (!dgf_azure_can_ask(&check.conf->auth, what, findings))
        return DGF_OK;
    check.loop = event_base_new();
    if (!check.loop)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    dgf_buf_init(&check.body, 8u << 20);
    rc = dgf_cosmos_link_open(&check.link, check.conf, check.loop, err);
    if (!rc && check_account(&check))
        for (size_t i = 0; i < check.conf->containers.n; i++) {
            (void)snprintf(check.option, sizeof(check.option), "containers[%zu]", i);
            check_container(&check, check.conf->containers.list[i]);
        }
    dgf_cosmos_link_close(&check.link);
    event_base_free(check.loop);
    dgf_buf_release(&check.body);
    return rc;
}
