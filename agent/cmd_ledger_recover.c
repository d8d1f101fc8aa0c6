/* cmd_ledger_recover.c - `dgf ledger recover`: a new ledger from an archive. */
#include <string.h>

#include "base/file.h"
#include "base/parse.h"
#include "blob_store.h"
#include "cmd_ledger.h"
#include "cmd_ledger_write.h"
#include "keys.h"
#include "ledger/store.h"
#include "recover.h"
#include "settings.h"

DGF_CLEANUP_OF(struct dgf_store *, dgf_store_free)

static int fail(enum dgf_rc rc, const struct dgf_err *err)
{
    fprintf(stderr, "dgf ledger: %s\n", err->text);
    return rc == DGF_BAD_DATA     ? DGF_EXIT_FINDINGS
           : rc == DGF_BAD_CONFIG ? DGF_EXIT_CONFIG
                                  : DGF_EXIT_CANNOT;
}

/* Keys that were lost with the disk cannot be made again. */
static enum dgf_rc need_key(const struct dgf_settings *s, const char *name,
                            const char *path, const char *why, struct dgf_err *err)
{
    char made[4096];

    if (path)
        return DGF_OK;
    (void)snprintf(made, sizeof(made), "%.3900s/keys/%s", s->agent.data_dir, name);
    if (dgf_file_exists(made))
        return DGF_OK;
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "'%s' is missing: %s; put the copy you kept there, or say "
                       "keys.%s",
                       made, why, name);
}

static enum dgf_rc load_keys(const struct dgf_settings *s, const struct dgf_args *args,
                             uint8_t tenant[32], uint8_t token[32],
                             uint8_t key[DGF_SIGN_PUBLIC_LEN], struct dgf_err *err)
{
    const char *vkeys[DGF_ARGS_REPEATED_MAX];
    const char *pinned = dgf_args_all(args, "key", vkeys) > 0 ? vkeys[0] : NULL;
    struct dgf_vkey vkey;
    uint8_t seed[32];
    enum dgf_rc rc =
        need_key(s, "tenant", s->keys.tenant,
                 "without the tenant's key sealed state cannot be read", err);

    if (!rc)
        rc = need_key(s, "token", s->keys.token,
                      "with another one the same value would get another token", err);
    if (!rc && !pinned)
        rc = need_key(s, "sign", s->keys.sign,
                      "its public half says that the archive is yours; --key does too",
                      err);
    if (!rc)
        rc = dgf_keys_load(s->agent.data_dir, s->keys.tenant, s->keys.token, tenant,
                           token, err);
    if (!rc && pinned) {
        rc = dgf_vkey_get(dgf_bytes_str(pinned), &vkey, err);
        if (rc)
            return dgf_err_prefix(err, "--key");
        memcpy(key, vkey.key, sizeof(vkey.key));
    } else if (!rc) {
        rc = dgf_keys_load_sign(s->agent.data_dir, s->keys.sign, seed, err);
        if (!rc && !dgf_sign_public(seed, key))
            rc = dgf_err_set(err, DGF_NOMEM, "out of memory");
        dgf_wipe(seed, sizeof(seed));
    }
    return rc;
}

/* A folder, or a sink of the configuration that keeps the archive. */
static enum dgf_rc open_store(const struct dgf_settings *s, const struct dgf_args *args,
                              struct dgf_store **ret, struct dgf_err *err)
{
    const char *from = dgf_args_get(args, "from");

    for (size_t i = 0; i < s->n_sinks; i++) {
        const struct dgf_sink_setup *sink = &s->sinks[i];

        if (strcmp(sink->name, from) != 0)
            continue;
        if (strcmp(sink->type->name, "blob") != 0)
            return dgf_err_set(err, DGF_BAD_CONFIG, "sink '%s' keeps no archive", from);
        return dgf_blob_store_of_sink(sink->conf, dgf_args_get(args, "log"), ret, err);
    }
    ledger_use_log(dgf_args_get(args, "log"));
    return ledger_is_container(from) ? ledger_open_container(from, ret, err)
                                     : dgf_store_open_dir(from, ret, err);
}

static int report(const struct dgf_recovered *recovered)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};

    dgf_buf_init(&text, 16 << 20);
    dgf_buf_addf(&text,
                 "log %s goes on from the archive of log %s, %llu records, signed ",
                 recovered->new_log, recovered->old_log,
                 (unsigned long long)recovered->checkpoint.size);
    dgf_format_time(&text, (int64_t)recovered->checkpoint.time_s * 1000000000);
    if (recovered->signed_size > 0)
        dgf_buf_addf(
            &text,
            "\nLOST: %llu were signed, %llu are here: records %llu to %llu are "
            "lost",
            (unsigned long long)recovered->signed_size,
            (unsigned long long)recovered->checkpoint.size,
            (unsigned long long)recovered->checkpoint.size,
            (unsigned long long)recovered->signed_size - 1);
    if (recovered->other_history)
        dgf_buf_add_str(&text, "\nLOST: another history of that log was signed; what "
                               "it held and this one does not is lost");
    if (recovered->memory_unreadable)
        dgf_buf_add_str(&text, "\nwhat was signed last cannot be read: whether this is "
                               "the newest archive is not known");
    dgf_buf_add_str(&text, "\nlost: whatever the old log held behind record ");
    dgf_buf_add_u64(&text, recovered->checkpoint.size - 1);
    dgf_buf_add_str(&text,
                    "; a source that was acknowledged further gets a gap record, "
                    "any other is read again from there\n");
    dgf_buf_add_bytes(&text, dgf_buf_bytes(&recovered->positions));
    return dgf_buf_write(&text, stdout) ? DGF_EXIT_OK : DGF_EXIT_CANNOT;
}

int ledger_recover(const struct dgf_args *args)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    DGF_RELEASE(dgf_recovered_release) struct dgf_recovered recovered = {{0}};
    uint8_t tenant[32], token[32], key[DGF_SIGN_PUBLIC_LEN];
    struct dgf_recover_conf conf = {
        .key = key, .tenant_key = tenant, .token_key = token};
    DGF_RELEASE(ledger_anchors_release) struct ledger_anchors anchors = {.n = 0};
    const char *vkeys[DGF_ARGS_REPEATED_MAX];
    struct dgf_err err = {0};
    enum dgf_rc rc;
    int exit_code;

    dgf_findings_init(&findings);
    if (!dgf_args_get(args, "from"))
        return dgf_usage("ledger", "recover needs --from: the folder of an archive, or "
                                   "the name of a sink that keeps it");
    if (args->n_operands > 1)
        return dgf_usage("ledger", "unexpected '%s'", args->operands[1]);
    if (dgf_settings_load(dgf_args_get(args, "config"), &findings, &s))
        return dgf_report_findings(&findings);
    exit_code = ledger_read_anchors(args, &anchors);
    if (exit_code)
        return exit_code;
    conf.dir = dgf_args_get(args, "data-dir") ? dgf_args_get(args, "data-dir")
                                              : s->agent.data_dir;
    conf.agent = s->agent.name;
    conf.env = s->agent.env;
    conf.keys_dir = s->agent.data_dir;
    conf.vkeys = vkeys;
    conf.n_vkeys = dgf_args_all(args, "key", vkeys);
    conf.anchors = anchors.list;
    conf.n_anchors = anchors.n;
    conf.lossy = dgf_args_has(args, "lossy");
    rc = load_keys(s, args, tenant, token, key, &err);
    if (!rc)
        rc = open_store(s, args, &store, &err);
    if (!rc)
        rc = dgf_recover(&conf, store, &recovered, &err);
    exit_code = rc ? fail(rc, &err) : report(&recovered);
    if (rc && recovered.rolled_back)
        exit_code = DGF_EXIT_FORK;
    else if (rc && recovered.bad_anchor)
        exit_code = DGF_EXIT_USAGE;
    dgf_wipe(tenant, sizeof(tenant));
    dgf_wipe(token, sizeof(token));
    return exit_code;
}
