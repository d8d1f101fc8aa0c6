/* source_blob_check.c - `dgf check`: asks for everything a start needs, changes
 * nothing, and names what is missing with the role or command that mends it.  May
 * block.  A queue is peeked at: no message is hidden or counted as handed out. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/findings.h"
#include "source_blob.h"

struct check {
    struct dgf_blobs_source *self;
    struct dgf_findings *findings;
    bool done;
    enum dgf_azure_is is;
    char text[DGF_AZURE_TEXT_MAX], said[DGF_AZURE_TEXT_MAX]; /* said: unreachable */
    bool wrong_key;                                          /* it was said */
};

static void add(struct check *check, enum dgf_severity_of_finding severity,
                const char *code, const char *fmt, ...) DGF_PRINTF(4, 5);

static void add(struct check *check, enum dgf_severity_of_finding severity,
                const char *code, const char *fmt, ...)
{
    struct dgf_mark nowhere = {.file = NULL};
    char text[DGF_ERR_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dgf_findings_add(check->findings, severity, code, nowhere, NULL,
                     "sources.%s (blob): %s", check->self->base.name, text);
}

static void on_answer(void *ctx, const struct dgf_azure_answer *answer)
{
    struct check *check = ctx;

    check->done = true;
    check->is = answer->is;
    (void)snprintf(check->text, sizeof(check->text), "%s",
                   answer->text ? answer->text : "");
}

static bool ask(struct check *check, struct dgf_azure_rest *rest, const char *path,
                const char *query)
{
    struct dgf_azure_ask request = {.method = "GET",
                                    .path = path,
                                    .query = query,
                                    .max_body = (size_t)16 << 20,
                                    .done = on_answer,
                                    .ctx = check};
    struct dgf_err err = {0};

    check->done = false;
    if (dgf_azure_rest_ask(rest, &request, &err)) {
        check->is = DGF_AZURE_UNREACHABLE;
        (void)snprintf(check->text, sizeof(check->text), "%.500s", err.text);
        return false;
    }
    while (!check->done)
        if (event_base_loop(check->self->base.loop, EVLOOP_ONCE) != 0)
            break;
    return check->done && check->is == DGF_AZURE_DONE;
}

static void say_denied(struct check *check, const char *what, const char *role)
{
    const struct dgf_blobs_source *self = check->self;
    bool queue = strstr(role, "Queue") != NULL;
    int how = DGF_BLOB_CONF(self)->auth.how;

    if (check->wrong_key)
        return; /* it is wrong for all of the account */
    check->wrong_key =
        how == DGF_AZURE_KEY || strstr(check->text, "AuthenticationFailed") != NULL;
    add(check, DGF_FINDING_ERROR, "E0652", "cannot read %s: %s", what, check->text);
    dgf_findings_about(check->findings, "%s",
                       how == DGF_AZURE_KEY   ? "key"
                       : how == DGF_AZURE_SAS ? "sas"
                                              : "auth");
    if (how == DGF_AZURE_KEY) {
        dgf_findings_fix(check->findings,
                         "az storage account keys list --account-name %s",
                         self->account);
        return;
    }
    if (how == DGF_AZURE_SAS) {
        dgf_findings_fix(check->findings,
                         "sas: make a SAS of the account that allows to read, list and "
                         "process (sp=rlp, ss=bq, srt=sco) and has not ended (se=)");
        return;
    }
    dgf_findings_fix(
        check->findings,
        "az role assignment create --assignee CLIENT_ID --role '%s' --scope "
        "$(az storage account show --name %s --query id --output tsv)%s%s",
        role, self->account, queue ? "/queueServices/default/queues/" : "",
        queue ? self->queue_name : "");
}

/* What one request says of one thing. */
static void judge(struct check *check, const char *what, const char *option,
                  const char *role, const char *missing, const char *fix)
{
    if (check->is == DGF_AZURE_UNREACHABLE && !strcmp(check->said, check->text))
        return; /* one cause, such as a token that is not given, is told once */
    if (check->is == DGF_AZURE_DENIED) {
        say_denied(check, what, role);
    } else if (missing &&
               (check->is == DGF_AZURE_MISSING || check->is == DGF_AZURE_NO_PARENT)) {
        add(check, DGF_FINDING_ERROR, "E0653", "%s", missing);
        dgf_findings_about(check->findings, "%s", option);
        dgf_findings_fix(check->findings, "%s", fix);
    } else {
        add(check, DGF_FINDING_ERROR, "E0651", "cannot read %s: %s", what, check->text);
        dgf_findings_about(check->findings, "%s", option);
        if (check->is == DGF_AZURE_UNREACHABLE)
            memcpy(check->said, check->text, sizeof(check->said));
    }
}

static void check_queue(struct check *check)
{
    struct dgf_blobs_source *self = check->self;
    char path[128], missing[256], fix[1024];

    (void)snprintf(path, sizeof(path), "/%s/messages", self->queue_name);
    if (ask(check, self->queue_rest, path, "peekonly=true&numofmessages=1"))
        return;
    (void)snprintf(missing, sizeof(missing), "queue '%s' does not exist",
                   self->queue_name);
    (void)snprintf(
        fix, sizeof(fix),
        "az storage queue create --account-name %s --name %s\n"
        "az eventgrid event-subscription create --name dgf --source-resource-id "
        "$(az storage account show --name %s --query id --output tsv) "
        "--endpoint-type storagequeue --endpoint "
        "$(az storage account show --name %s --query id --output "
        "tsv)/queueServices/default/queues/%s",
        self->account, self->queue_name, self->account, self->account,
        self->queue_name);
    judge(check, "the queue", "queue", "Storage Queue Data Message Processor", missing,
          fix);
}

static void check_feed(struct check *check)
{
    struct dgf_blobs_source *self = check->self;
    char fix[512];

    if (ask(check, self->blob_rest, "/$blobchangefeed/meta/segments.json", NULL))
        return;
    (void)snprintf(
        fix, sizeof(fix),
        "az storage account blob-service-properties update --account-name %s "
        "--enable-change-feed true",
        self->account);
    judge(
        check, "the change feed", "feed", "Storage Blob Data Reader",
        "the account has no change feed; with a hierarchical namespace it cannot have "
        "one, and a new one shows nothing until its first hour is over",
        fix);
}

static void check_containers(struct check *check)
{
    const struct dgf_blobs_conf *conf = DGF_BLOB_CONF(check->self);

    if (!ask(check, check->self->blob_rest, "/", "comp=list")) {
        judge(check, "the list of containers", "url", "Storage Blob Data Reader", NULL,
              "");
        return;
    }
    for (size_t i = 0; i < conf->containers.n; i++) {
        const char *name = conf->containers.list[i];
        char path[80], missing[160], fix[256], option[48];

        if (strchr(name, '*'))
            continue;
        (void)snprintf(path, sizeof(path), "/%.63s", name);
        if (ask(check, check->self->blob_rest, path, "restype=container"))
            continue;
        (void)snprintf(missing, sizeof(missing), "container '%.63s' does not exist",
                       name);
        (void)snprintf(fix, sizeof(fix),
                       "az storage container create --account-name %.63s --name %.63s",
                       check->self->account, name);
        (void)snprintf(option, sizeof(option), "containers[%zu]", i);
        judge(check, "a container", option, "Storage Blob Data Reader", missing, fix);
    }
}

/* The source runs without it, but not as it is meant to. */
static void check_dead(struct check *check)
{
    const char *name = DGF_BLOB_CONF(check->self)->dead_letters;
    char path[80], missing[160], fix[256];

    (void)snprintf(path, sizeof(path), "/%.63s", name);
    if (ask(check, check->self->blob_rest, path,
            "restype=container&comp=list&maxresults=1"))
        return;
    (void)snprintf(missing, sizeof(missing),
                   "container '%.63s' of dead letters does not exist", name);
    (void)snprintf(fix, sizeof(fix),
                   "az storage container create --account-name %.63s --name %.63s",
                   check->self->account, name);
    judge(check, "the dead letters", "dead_letters", "Storage Blob Data Reader",
          missing, fix);
}

enum dgf_rc dgf_blobs_check(struct dgf_source *src, struct dgf_findings *findings,
                            struct dgf_err *err)
{
    struct dgf_blobs_source *self = (struct dgf_blobs_source *)src;
    struct check check = {.self = self, .findings = findings};
    char what[128];
    enum dgf_rc rc;

    (void)snprintf(what, sizeof(what), "sources.%s (blob)", src->name);
    if (!dgf_azure_can_ask(&DGF_BLOB_CONF(self)->auth, what, findings))
        return DGF_OK;
    src->loop = event_base_new();
    if (!src->loop)
        return dgf_err_set(err, DGF_NOMEM, "out of memory");
    rc = dgf_blobs_make_clients(self, err);
    if (!rc) {
        if (self->queue_rest)
            check_queue(&check);
        if (DGF_BLOB_CONF(self)->feed)
            check_feed(&check);
        if (DGF_BLOB_CONF(self)->dead_letters)
            check_dead(&check);
        check_containers(&check);
    }
    dgf_blobs_free_clients(self);
    event_base_free(src->loop);
    src->loop = NULL;
    return rc;
}
