#include "sink_blob.h"

#define AT(f) offsetof(struct dgf_blob_conf, f)

const struct dgf_opt dgf_blob_opts[] = {
    {.name = "url",
     .type = DGF_OPT_STR,
     .offset = AT(url),
     .flags = DGF_REQUIRED | DGF_ADDRESS,
     .help = "address of the container; it must exist",
     .example = "https://acct.blob.core.windows.net/evidence"},
    {.name = "prefix",
     .type = DGF_OPT_STR,
     .offset = AT(prefix),
     .help = "what the names of all objects begin with, before the log id",
     .example = "orders/"},
    DGF_AZURE_STORAGE_OPTS(struct dgf_blob_conf, azure),
    {.name = "timeout",
     .type = DGF_OPT_DURATION,
     .offset = AT(timeout_ns),
     .fallback = "60s",
     .lo = "1s",
     .hi = "10m",
     .help = "longest time one request may take"},
    {.name = "block_bytes",
     .type = DGF_OPT_SIZE,
     .offset = AT(block_bytes),
     .fallback = "4MiB",
     .lo = "64KiB",
     .hi = "64MiB",
     .help =
         "objects larger than this are sent in blocks of this size; two such pieces "
         "are in memory at a time"},
    {.name = "required",
     .type = DGF_OPT_BOOL,
     .offset = AT(base.required),
     .fallback = "true",
     .help = "keep every record until the container has it"},
    DGF_OPT_END,
};

const char *dgf_blob_prefix(const struct dgf_blob_conf *conf)
{
    return conf->prefix ? conf->prefix : "";
}

/* Names that every tool can take, and no "..", "//" or leading "/". */
static bool is_good_prefix(const char *prefix)
{
    size_t len = strlen(prefix);

    return len <= 256 && prefix[0] != '/' && !strstr(prefix, "..") &&
           !strstr(prefix, "//") &&
           strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "0123456789._-/=") == len;
}

void dgf_blob_validate(const void *opaque, const char *what, struct dgf_mark mark,
                       struct dgf_findings *findings)
{
    const struct dgf_blob_conf *conf = opaque;
    const struct dgf_azure_address url = {"url", conf->url, DGF_AZURE_BLOB, true};
    size_t n_before = findings->n_errors;
    DGF_CLEANUP(dgf_free) char *account = NULL;
    DGF_CLEANUP(dgf_free) char *container = NULL;
    struct dgf_err err = {0};

    if (!conf->url)
        return;
    dgf_azure_validate(&conf->azure, &url, 1, what, mark, findings);
    if (findings->n_errors == n_before &&
        dgf_azure_container_url(conf->url, &account, &container, &err)) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0705", mark, NULL,
                         "%s: 'url' %s", what, err.text);
        dgf_findings_about(findings, "url");
    }
    if (!is_good_prefix(dgf_blob_prefix(conf))) {
        dgf_findings_add(findings, DGF_FINDING_ERROR, "E0705", mark, NULL,
                         "%s: 'prefix' is '%s'; it has letters, digits, '.', '_', '-', "
                         "'=' and '/', and does not begin with '/'",
                         what, conf->prefix);
        dgf_findings_about(findings, "prefix");
    }
}
