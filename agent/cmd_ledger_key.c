/* cmd_ledger_key.c - `dgf ledger key` and `rotate-key`: who signs the archive. */
#include <string.h>

#include "base/file.h"
#include "cmd_ledger_write.h"
#include "keys.h"
#include "ledger/note.h"
#include "ledger/verify.h"
#include "rotate.h"
#include "settings.h"

static int fail(enum dgf_rc rc, const struct dgf_err *err)
{
    fprintf(stderr, "dgf ledger: %s\n", err->text);
    return rc == DGF_BAD_DATA     ? DGF_EXIT_FORK
           : rc == DGF_BAD_CONFIG ? DGF_EXIT_CONFIG
           : rc == DGF_AGAIN      ? DGF_EXIT_OWNED
           : rc == DGF_FATAL      ? DGF_EXIT_STORAGE
                                  : DGF_EXIT_CANNOT;
}

static int load(const struct dgf_args *args, struct dgf_settings **ret)
{
    DGF_RELEASE(dgf_findings_release) struct dgf_findings findings = {0};

    dgf_findings_init(&findings);
    if (args->n_operands > 1)
        return dgf_usage("ledger", "unexpected '%s'", args->operands[1]);
    if (dgf_settings_load(dgf_args_get(args, "config"), &findings, ret))
        return dgf_report_findings(&findings);
    return DGF_EXIT_OK;
}

/* The key's file as it is now; a key is never made here. */
static enum dgf_rc sign_path(const struct dgf_settings *s, char path[4096],
                             struct dgf_err *err)
{
    int n = s->keys.sign ? snprintf(path, 4096, "%s", s->keys.sign)
                         : snprintf(path, 4096, "%s/keys/sign", s->agent.data_dir);

    if (n >= 4096 - 32)
        return dgf_err_set(err, DGF_BAD_CONFIG, "the key's path is too long");
    return DGF_OK;
}

static enum dgf_rc print_vkey(const struct dgf_settings *s, const uint8_t seed[32],
                              struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    struct dgf_ledger_summary summary;
    struct dgf_vkey vkey = {.name = ""};
    enum dgf_rc rc = dgf_ledger_summarize(s->agent.data_dir, &summary, err);
    bool ok;

    dgf_buf_init(&text, 4096);
    if (rc)
        return dgf_err_prefix(err, "a vkey names its log");
    ok = dgf_origin_put(s->agent.name, summary.log_id, vkey.name) &&
         dgf_sign_public(seed, vkey.key);
    dgf_ledger_summary_release(&summary);
    dgf_vkey_put(&vkey, &text);
    if (!ok || dgf_buf_rc(&text))
        return dgf_err_set(err, DGF_NOMEM, "cannot print the key: out of memory");
    printf("%s\n", dgf_buf_str(&text));
    return DGF_OK;
}

int ledger_key(const struct dgf_args *args)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    struct dgf_err err = {0};
    char path[4096];
    uint8_t seed[32];
    int exit_code = load(args, &s);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    rc = sign_path(s, path, &err);
    if (!rc)
        rc = dgf_key_read(path, seed, &err);
    if (!rc)
        rc = print_vkey(s, seed, &err);
    dgf_wipe(seed, sizeof(seed));
    return rc ? fail(rc, &err) : DGF_EXIT_OK;
}

/* The new key's file: as it was given, or beside the generated one. */
static enum dgf_rc new_key(const struct dgf_settings *s, const struct dgf_args *args,
                           const char *old_path, char path[4096], uint8_t seed[32],
                           struct dgf_err *err)
{
    const char *given = dgf_args_get(args, "new-key");

    if (s->keys.sign && !given)
        return dgf_err_set(err, DGF_BAD_CONFIG,
                           "the key is the file of keys.sign: give the new one with "
                           "--new-key FILE");
    if (given)
        (void)snprintf(path, 4096, "%.4000s", given);
    else
        (void)snprintf(path, 4096, "%.4000s.new", old_path);
    return dgf_file_exists(path) ? dgf_key_read(path, seed, err)
                                 : dgf_key_make(path, seed, err);
}

/* The old key stays beside the new one: what it signed it cannot sign again. */
static enum dgf_rc put_in_place(const char *new_path, const char *old_path,
                                uint64_t from, struct dgf_err *err)
{
    char kept[4200];
    enum dgf_rc rc;

    (void)snprintf(kept, sizeof(kept), "%s.until-%llu", old_path,
                   (unsigned long long)from);
    rc = dgf_file_rename(old_path, kept, err);
    return rc ? rc : dgf_file_rename(new_path, old_path, err);
}

static enum dgf_rc rotate(const struct dgf_settings *s, const struct dgf_args *args,
                          struct dgf_rotate_conf *conf, uint8_t seeds[4][32],
                          struct dgf_err *err)
{
    char old_path[4096], new_path[4096] = "";
    uint64_t from;
    enum dgf_rc rc = sign_path(s, old_path, err);

    if (!rc)
        rc = dgf_key_read(old_path, seeds[0], err);
    if (!rc)
        rc = new_key(s, args, old_path, new_path, seeds[1], err);
    if (!rc && memcmp(seeds[0], seeds[1], 32) == 0)
        rc = dgf_err_set(err, DGF_BAD_CONFIG, "the new key is the old one");
    if (!rc)
        rc = dgf_keys_need(conf->dir, s->keys.tenant, s->keys.token, err);
    if (!rc)
        rc = dgf_keys_load(conf->dir, s->keys.tenant, s->keys.token, seeds[2], seeds[3],
                           err);
    if (!rc)
        rc = dgf_rotate(conf, &from, err);
    if (!rc && !s->keys.sign && !dgf_args_get(args, "new-key"))
        rc = put_in_place(new_path, old_path, from, err);
    if (rc)
        return rc;
    printf("checkpoints of more than %llu records are signed by the new key\n",
           (unsigned long long)from);
    if (s->keys.sign || dgf_args_get(args, "new-key"))
        printf("say keys.sign: %s before the agent starts again\n", new_path);
    return print_vkey(s, seeds[1], err);
}

int ledger_rotate_key(const struct dgf_args *args)
{
    DGF_CLEANUP(dgf_settings_free) struct dgf_settings *s = NULL;
    struct dgf_err err = {0};
    uint8_t seeds[4][32]; /* old, new, tenant, token */
    struct dgf_rotate_conf conf = {.old_seed = seeds[0],
                                   .new_seed = seeds[1],
                                   .tenant_key = seeds[2],
                                   .token_key = seeds[3]};
    int exit_code = load(args, &s);
    enum dgf_rc rc;

    if (exit_code)
        return exit_code;
    conf.dir = s->agent.data_dir;
    conf.agent = s->agent.name;
    conf.env = s->agent.env;
    rc = rotate(s, args, &conf, seeds, &err);
    dgf_wipe(seeds, sizeof(seeds));
    return rc ? fail(rc, &err) : DGF_EXIT_OK;
}

bool ledger_write(const struct dgf_args *args, int *ret_exit)
{
    static const struct {
        const char *name;
        int (*run)(const struct dgf_args *args);
    } actions[] = {{"recover", ledger_recover},
                   {"key", ledger_key},
                   {"rotate-key", ledger_rotate_key}};

    for (size_t i = 0; args->n_operands && i < DGF_ARRAY_LEN(actions); i++) {
        if (strcmp(actions[i].name, args->operands[0]) != 0)
            continue;
        *ret_exit = actions[i].run(args);
        if (fflush(stdout) && *ret_exit == DGF_EXIT_OK)
            *ret_exit = DGF_EXIT_CANNOT;
        return true;
    }
    return false;
}
