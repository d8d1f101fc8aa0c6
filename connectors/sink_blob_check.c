/* What `dgf check` asks of a container.  It blocks, changes nothing, and says with
 * which command an administrator mends what it finds. */
#include "sink_blob.h"

#include <event2/event.h>
#include <stdio.h>

struct check {
    const struct dgf_sink *sink;
    const struct dgf_blob_conf *conf;
    struct dgf_findings *findings;
    char *account, *container;
    struct event_base *loop;
    struct dgf_azure_rest *rest;
    /* the newest answer */
    enum dgf_azure_is is;
    char text[DGF_AZURE_TEXT_MAX];
    bool is_public, has_policy, has_hold, has_versions;
};

static void release(struct check *check)
{
    dgf_azure_rest_free(check->rest);
    if (check->loop)
        event_base_free(check->loop);
    dgf_free(check->account);
    dgf_free(check->container);
}

#define FIND(check, option, severity, code, ...)                                     \
    (dgf_findings_add((check)->findings, severity, code, (struct dgf_mark){0}, NULL, \
                      "sinks.%s (blob): " __VA_ARGS__),                              \
     dgf_findings_about((check)->findings, "%s", option))

/* The account as `az` wants it: the first label of the host; of an emulator's
 * address, its path. */
static const char *account_name(const struct check *check, char *to, size_t size)
{
    const char *host = strstr(check->account, "://"),
               *path = host ? strchr(host + 3, '/') : NULL;

    (void)snprintf(to, size, "%.*s", host ? (int)strcspn(host + 3, ".:/") : 0,
                   host ? host + 3 : "");
    if (path)
        (void)snprintf(to, size, "%s", path + 1);
    return check->conf->azure.account ? check->conf->azure.account : to;
}

/* ---- asking ---- */

static bool is_true(const struct dgf_azure_answer *answer, const char *name)
{
    return strcmp(dgf_azure_answer_header(answer, name), "true") == 0;
}

static void on_answer(void *ctx, const struct dgf_azure_answer *answer)
{
    struct check *check = ctx;

    check->is = answer->is;
    (void)snprintf(check->text, sizeof(check->text), "%s",
                   answer->text ? answer->text : "");
    check->is_public =
        dgf_azure_answer_header(answer, "x-ms-blob-public-access")[0] != '\0';
    check->has_policy = is_true(answer, "x-ms-has-immutability-policy");
    check->has_hold = is_true(answer, "x-ms-has-legal-hold");
    check->has_versions =
        is_true(answer, "x-ms-immutable-storage-with-versioning-enabled");
}

static enum dgf_rc ask(struct check *check, const char *method, const char *name,
                       const char *query, const char *const *headers,
                       struct dgf_err *err)
{
    char path[DGF_BLOB_NAME_MAX];
    struct dgf_azure_ask request = {.method = method,
                                    .path = path,
                                    .query = query,
                                    .headers = headers,
                                    .max_body = 1 << 20,
                                    .done = on_answer,
                                    .ctx = check};
    enum dgf_rc rc;

    (void)snprintf(path, sizeof(path), "/%s%s%s%s", check->container, name ? "/" : "",
                   name ? dgf_blob_prefix(check->conf) : "", name ? name : "");
    rc = dgf_azure_rest_wait(check->rest, &request, err);
    if (!rc && (check->is == DGF_AZURE_UNREACHABLE || check->is == DGF_AZURE_BUSY))
        rc = dgf_err_set(err, DGF_RETRY, "cannot reach '%s': %s", check->conf->url,
                         check->text);
    return rc;
}

/* ---- telling ---- */

static const char *option_of(const struct check *check)
{
    int how = check->conf->azure.how;

    return how == DGF_AZURE_KEY ? "key" : how == DGF_AZURE_SAS ? "sas" : "auth";
}

static void tell_denied(struct check *check, const char *what)
{
    char account[64];

    FIND(check, option_of(check), DGF_FINDING_ERROR, "E0706",
         "we may not %s in '%s': %s", check->sink->name, what, check->conf->url,
         check->text);
    if (check->conf->azure.how == DGF_AZURE_KEY)
        dgf_findings_fix(check->findings,
                         "auth: key: write a key of this account, which `az storage "
                         "account keys list` shows, to 'key'");
    else if (check->conf->azure.how == DGF_AZURE_SAS)
        dgf_findings_fix(check->findings,
                         "auth: sas: make a SAS with sp=rcwl for this container that "
                         "has not ended (se=)");
    else
        dgf_findings_fix(
            check->findings,
            "az role assignment create --role 'Storage Blob Data Contributor' --assignee "
            "%s --scope $(az storage account show --name %s --query id -o tsv)"
            "/blobServices/default/containers/%s",
            check->conf->azure.client_id ? check->conf->azure.client_id : "CLIENT_ID",
            account_name(check, account, sizeof(account)), check->container);
}

/* Not a right that is missing, but who asks.  A key has all rights. */
static bool is_wrong_for_all(const struct check *check)
{
    return check->conf->azure.how == DGF_AZURE_KEY ||
           strstr(check->text, "AuthenticationFailed") != NULL;
}

static void tell_missing(struct check *check)
{
    char account[64];

    FIND(check, "url", DGF_FINDING_ERROR, "E0706",
         "container '%s' does not exist; segments wait on the disk", check->sink->name,
         check->conf->url);
    dgf_findings_fix(check->findings,
                     "az storage container create --account-name %s --name %s",
                     account_name(check, account, sizeof(account)), check->container);
}

static void tell_protection(struct check *check)
{
    char account[64];
    const char *name = account_name(check, account, sizeof(account));

    if (check->is_public) {
        FIND(check, "url", DGF_FINDING_WARNING, "W0706",
             "anybody can read container '%s'", check->sink->name, check->conf->url);
        dgf_findings_fix(
            check->findings,
            "az storage container set-permission --account-name %s --name %s "
            "--public-access off",
            name, check->container);
    }
    if ((check->has_policy || check->has_hold) && !check->has_versions) {
        FIND(check, "url", DGF_FINDING_WARNING, "W0706",
             "container '%s' has a policy or legal hold for all of it, under "
             "which 'checkpoint' cannot be replaced",
             check->sink->name, check->conf->url);
        dgf_findings_fix(
            check->findings,
            "az storage container-rm migrate-vlw --storage-account %s --name %s", name,
            check->container);
    } else if (!check->has_policy && !check->has_versions) {
        FIND(check, "url", DGF_FINDING_NOTE, "W0706",
             "container '%s' has no immutability policy: whoever may delete "
             "there can delete the archive",
             check->sink->name, check->conf->url);
        dgf_findings_fix(
            check->findings,
            "az storage container-rm create --storage-account %s --name %s "
            "--enable-vlw",
            name, check->container);
    }
}

/* ---- rights ---- */

/* A write under a condition that cannot hold: refused for that, or for the right. */
static enum dgf_rc try_write(struct check *check, struct dgf_err *err)
{
    static const char *const headers[] = {"x-ms-blob-type: BlockBlob",
                                          "If-Match: \"0x1\"", NULL};
    enum dgf_rc rc = ask(check, "PUT", "dgf-check", NULL, headers, err);

    if (!rc && check->is == DGF_AZURE_DENIED)
        tell_denied(check, "write");
    return rc;
}

static enum dgf_rc try_rights(struct check *check, struct dgf_err *err)
{
    enum dgf_rc rc =
        ask(check, "GET", NULL, "restype=container&comp=list&maxresults=1", NULL, err);

    if (rc)
        return rc;
    if (check->is == DGF_AZURE_NO_PARENT || check->is == DGF_AZURE_MISSING) {
        tell_missing(check);
        return DGF_OK;
    }
    if (check->is == DGF_AZURE_DENIED) {
        tell_denied(check, "list");
        if (is_wrong_for_all(check))
            return DGF_OK; /* it is wrong for all else, too */
    }
    rc = ask(check, "GET", "dgf-check", NULL, NULL, err);
    if (!rc && check->is == DGF_AZURE_DENIED)
        tell_denied(check, "read");
    if (!rc)
        rc = try_write(check, err);
    if (rc)
        return rc;
    /* A SAS of the container may not show its properties. */
    rc = ask(check, "GET", NULL, "restype=container", NULL, err);
    if (!rc && check->is == DGF_AZURE_DONE)
        tell_protection(check);
    return rc;
}

enum dgf_rc dgf_blob_check(struct dgf_sink *sink, struct dgf_findings *findings,
                           struct dgf_err *err)
{
    const struct dgf_blob_conf *conf = sink->conf;
    struct check check __attribute__((cleanup(release))) = {
        .sink = sink, .conf = conf, .findings = findings};
    struct dgf_azure_rest_conf rest = {.service = DGF_AZURE_BLOB,
                                       .auth = &conf->azure,
                                       .timeout_ms = conf->timeout_ns / 1000000};
    char what[128];
    enum dgf_rc rc =
        dgf_azure_container_url(conf->url, &check.account, &check.container, err);

    (void)snprintf(what, sizeof(what), "sinks.%s (blob)", sink->name);
    if (rc || !dgf_azure_can_ask(&conf->azure, what, findings))
        return rc;
    rest.base_url = check.account;
    check.loop = event_base_new();
    if (!check.loop)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    rc = dgf_azure_rest_new(check.loop, &rest, &check.rest, err);
    return rc ? rc : try_rights(&check, err);
}
