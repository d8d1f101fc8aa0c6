/* cmd_ledger_container.c - an archive in a container: which one, and with what rights.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "blob_store.h"
#include "cmd_ledger.h"
#include "settings.h"

#define SINK "sink:"

/* Lives as long as the process: a store borrows from it. */
static struct {
    const struct dgf_sink_setup *sink;
    const char *log_id;
    struct dgf_azure_conf auth;
    char *connection; /* AZURE_STORAGE_CONNECTION_STRING, in pieces */
} container;

bool ledger_is_container(const char *dir)
{
    return strncmp(dir, "https://", 8) == 0 || strncmp(dir, "http://", 7) == 0 ||
           strncmp(dir, SINK, sizeof(SINK) - 1) == 0;
}

/* ---- rights from the environment ---------------------------------------------------
 */

static char *env(const char *name)
{
    char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* "AccountName=a;AccountKey=k==;SharedAccessSignature=..." */
static bool read_connection(struct dgf_azure_conf *auth)
{
    char *text = env("AZURE_STORAGE_CONNECTION_STRING"), *part, *end;

    container.connection = text ? dgf_strdup(text) : NULL;
    for (part = container.connection; part && *part; part = end) {
        end = part + strcspn(part, ";");
        if (*end)
            *end++ = '\0';
        if (strncmp(part, "AccountName=", 12) == 0)
            auth->account = part + 12;
        else if (strncmp(part, "AccountKey=", 11) == 0)
            auth->key = part + 11;
        else if (strncmp(part, "SharedAccessSignature=", 22) == 0)
            auth->sas = part + 22;
    }
    return auth->key || auth->sas;
}

/* The first of these that is there, and its name; what a token needs azure_auth reads
 * itself. */
static const char *auth_of_env(struct dgf_azure_conf *auth)
{
    const char *name;

    if (read_connection(auth)) {
        auth->how = auth->key ? DGF_AZURE_KEY : DGF_AZURE_SAS;
        return "AZURE_STORAGE_CONNECTION_STRING";
    }
    if ((auth->key = env(name = "AZURE_STORAGE_KEY")))
        auth->how = DGF_AZURE_KEY;
    else if ((auth->sas = env(name = "AZURE_STORAGE_SAS_TOKEN")))
        auth->how = DGF_AZURE_SAS;
    else if (env(name = "AZURE_CLIENT_SECRET"))
        auth->how = DGF_AZURE_CLIENT_SECRET;
    else if (env(name = "AZURE_FEDERATED_TOKEN_FILE"))
        auth->how = DGF_AZURE_WORKLOAD_IDENTITY;
    else
        auth->how = DGF_AZURE_MANAGED_IDENTITY;
    return auth->how != DGF_AZURE_MANAGED_IDENTITY
               ? name
               : "a managed identity (none of AZURE_STORAGE_CONNECTION_STRING, "
                 "AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_SECRET and "
                 "AZURE_FEDERATED_TOKEN_FILE is set)";
}

/* An emulator on this machine: nobody is between it and us. */
static bool is_loopback(const char *url)
{
    return strncmp(url, "http://127.", 11) == 0 ||
           strncmp(url, "http://localhost:", 17) == 0 ||
           strncmp(url, "http://[::1]", 12) == 0;
}

/* ---- opening -----------------------------------------------------------------------
 */

int ledger_use_sink(const struct dgf_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->n_sinks; i++) {
        if (strcmp(settings->sinks[i].name, name) != 0)
            continue;
        if (strcmp(settings->sinks[i].type->name, "blob") != 0) {
            fprintf(stderr, "dgf ledger: sink '%s' (%s) keeps no archive\n", name,
                    settings->sinks[i].type->name);
            return DGF_EXIT_CANNOT;
        }
        container.sink = &settings->sinks[i];
        return DGF_EXIT_OK;
    }
    fprintf(stderr, "dgf ledger: the configuration has no sink '%s'\n", name);
    return DGF_EXIT_CANNOT;
}

void ledger_use_log(const char *log_id)
{
    container.log_id = log_id;
}

enum dgf_rc ledger_open_container(const char *url, struct dgf_store **ret,
                                  struct dgf_err *err)
{
    struct dgf_blob_store_conf conf = {
        .url = url, .log_id = container.log_id, .auth = &container.auth};

    if (strncmp(url, SINK, sizeof(SINK) - 1) == 0)
        return dgf_blob_store_of_sink(container.sink->conf, container.log_id, ret, err);
    conf.rights = auth_of_env(&container.auth);
    container.auth.insecure = is_loopback(url);
    return dgf_blob_store_open(&conf, ret, err);
}
