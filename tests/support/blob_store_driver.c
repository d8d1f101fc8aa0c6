/* blob_store_driver.c - an archive in a container, read as commands read it.
 *
 *   blob_store_driver -u URL [-p PREFIX] [-l LOG_ID] [-k KEY | -S SAS] [-T MS] WHAT...
 *
 *   list PREFIX         one "NAME SIZE" a line
 *   read NAME CHUNK     "bytes N sha256 HEX", read CHUNK bytes at a time
 *   mixed NAME NAME N   the first bytes of both in turn, N times
 *   ahead CHUNK NAME... all are asked for at once, then each is read as above
 * Whatever fails:  fail CODE TEXT, and the program ends with 3. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/sha256.h"
#include "blob_store.h"

static struct dgf_store *store;

static int fail(enum dgf_rc rc, const struct dgf_err *err)
{
    printf("fail %s %s\n", dgf_rc_text(rc), err->text);
    return 3;
}

static enum dgf_rc visit(void *ctx, const char *name, uint64_t size)
{
    (void)ctx;
    printf("%s %llu\n", name, (unsigned long long)size);
    return DGF_OK;
}

static int read_all(const char *name, size_t chunk)
{
    uint8_t *bytes = malloc(chunk), hash[DGF_SHA256_LEN];
    struct dgf_sha256_sum sum;
    struct dgf_err err = {0};
    uint64_t at = 0;
    size_t n = chunk;
    enum dgf_rc rc = DGF_OK;

    dgf_sha256_begin(&sum);
    while (bytes && !rc && n == chunk) {
        rc = store->read(store, name, at, bytes, chunk, &n, &err);
        if (!rc)
            dgf_sha256_add(&sum, dgf_bytes_of(bytes, n));
        at += rc ? 0 : n;
    }
    free(bytes);
    dgf_sha256_end(&sum, hash);
    if (rc)
        return fail(rc, &err);
    printf("bytes %llu sha256 ", (unsigned long long)at);
    for (size_t i = 0; i < sizeof(hash); i++)
        printf("%02x", hash[i]);
    printf("\n");
    return 0;
}

static int read_mixed(const char *one, const char *other, long times)
{
    struct dgf_err err = {0};
    uint8_t byte[2];
    size_t n;

    for (long i = 0; i < times; i++) {
        enum dgf_rc rc = store->read(store, one, (uint64_t)i, &byte[0], 1, &n, &err);

        if (!rc)
            rc = store->read(store, other, (uint64_t)i, &byte[1], 1, &n, &err);
        if (rc)
            return fail(rc, &err);
    }
    printf("mixed %02x %02x\n", byte[0], byte[1]);
    return 0;
}

static int read_ahead(size_t chunk, char **names)
{
    int code = 0;

    for (char **name = names; *name; name++)
        store->soon(store, *name);
    for (; *names; names++)
        code |= read_all(*names, chunk);
    return code;
}

static int run(char **what)
{
    struct dgf_err err = {0};
    enum dgf_rc rc;

    if (strcmp(what[0], "list") == 0) {
        rc = store->list(store, what[1], visit, NULL, &err);
        return rc ? fail(rc, &err) : 0;
    }
    if (strcmp(what[0], "read") == 0)
        return read_all(what[1], strtoul(what[2], NULL, 10));
    if (strcmp(what[0], "mixed") == 0)
        return read_mixed(what[1], what[2], atol(what[3]));
    if (strcmp(what[0], "ahead") == 0)
        return read_ahead(strtoul(what[1], NULL, 10), what + 2);
    return 64;
}

int main(int argc, char **argv)
{
    struct dgf_azure_conf auth = {.insecure = true};
    struct dgf_blob_store_conf conf = {.auth = &auth};
    struct dgf_err err = {0};
    enum dgf_rc rc;
    int letter, code;

    signal(SIGPIPE, SIG_IGN);
    dgf_log_init(STDERR_FILENO, DGF_LOG_WARN, 0);
    while ((letter = getopt(argc, argv, "u:p:l:k:S:T:")) >= 0) {
        if (letter == 'u')
            conf.url = optarg;
        else if (letter == 'p')
            conf.prefix = optarg;
        else if (letter == 'l')
            conf.log_id = optarg;
        else if (letter == 'k')
            auth.key = optarg;
        else if (letter == 'S')
            auth.sas = optarg;
        else if (letter == 'T')
            conf.timeout_ms = atol(optarg);
        else
            return 64;
    }
    auth.how = auth.sas ? DGF_AZURE_SAS : DGF_AZURE_KEY;
    rc = dgf_blob_store_open(&conf, &store, &err);
    code = rc ? fail(rc, &err) : run(argv + optind);
    if (store)
        store->free(store);
    return code;
}
