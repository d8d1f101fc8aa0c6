#include "keys.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/parse.h"
#include "base/sign.h"

enum dgf_rc dgf_key_make(const char *path, uint8_t ret_key[32], struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    enum dgf_rc rc;

    dgf_buf_init(&text, 128);
    dgf_random(ret_key, 32);
    dgf_buf_add_hex(&text, dgf_bytes_of(ret_key, 32));
    dgf_buf_add_byte(&text, '\n');
    rc = dgf_buf_rc(&text);
    if (!rc)
        rc = dgf_file_replace(path, dgf_buf_bytes(&text), 0600, err);
    if (text.ptr)
        dgf_wipe(text.ptr, text.len);
    if (!rc)
        dgf_log(DGF_LOG_INFO, "key made", "file", path, NULL);
    return rc;
}

static enum dgf_rc check_mode(const char *path, struct dgf_err *err)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & 077))
        return dgf_err_set(
            err, DGF_BAD_CONFIG,
            "key file '%s' may be read by others (mode %03o): run chmod 600", path,
            (unsigned)st.st_mode & 0777);
    return DGF_OK;
}

enum dgf_rc dgf_key_read(const char *path, uint8_t ret_key[32], struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    struct dgf_bytes content;
    enum dgf_rc rc = check_mode(path, err);

    if (rc)
        return rc;
    dgf_buf_init(&text, 256);
    rc = dgf_file_slurp(path, 256, &text, err);
    if (rc)
        return dgf_err_prefix(err, "cannot read key file '%s'", path);
    content = dgf_buf_bytes(&text);
    while (content.len && (content.ptr[content.len - 1] == '\n' ||
                           content.ptr[content.len - 1] == '\r'))
        content.len--;
    if (content.len == 64 && dgf_parse_hex(content, ret_key, 32))
        rc = DGF_OK;
    else if (text.len == 32)
        memcpy(ret_key, text.ptr, 32);
    else
        rc = dgf_err_set(err, DGF_BAD_CONFIG,
                         "key file '%s' does not hold 32 bytes or 64 hex digits", path);
    dgf_wipe(text.ptr, text.len);
    return rc;
}

enum dgf_rc dgf_key_look(const char *data_dir, const char *name, const char *path,
                         const char **ret_code, struct dgf_err *err)
{
    char made[4096];
    uint8_t key[32];
    enum dgf_rc rc;

    (void)snprintf(made, sizeof(made), "%.4000s/keys/%s", data_dir, name);
    if (path ? access(path, R_OK) && errno == EACCES : access(made, R_OK) != 0)
        return DGF_OK; /* somebody else's, or made at the first start */
    *ret_code = check_mode(path ? path : made, err) ? "E0212" : "E0211";
    rc = dgf_key_read(path ? path : made, key, err);
    dgf_wipe(key, sizeof(key));
    return rc;
}

static enum dgf_rc load_one(const char *data_dir, const char *name, const char *path,
                            uint8_t ret_key[32], struct dgf_err *err)
{
    char made[4096];
    enum dgf_rc rc;

    if (path)
        return dgf_key_read(path, ret_key, err);
    if ((size_t)snprintf(made, sizeof(made), "%s/keys", data_dir) >= sizeof(made) - 32)
        return dgf_err_set(err, DGF_BAD_CONFIG, "data_dir '%s' is too long", data_dir);
    rc = dgf_dir_make(made, err);
    if (!rc) /* keys that a power loss takes would change every violation's id */
        rc = dgf_dir_sync(data_dir, err);
    if (rc)
        return rc;
    snprintf(made + strlen(made), 32, "/%s", name);
    return dgf_file_exists(made) ? dgf_key_read(made, ret_key, err)
                                 : dgf_key_make(made, ret_key, err);
}

enum dgf_rc dgf_keys_load(const char *data_dir, const char *tenant_path,
                          const char *token_path, uint8_t ret_tenant[32],
                          uint8_t ret_token[32], struct dgf_err *err)
{
    enum dgf_rc rc = load_one(data_dir, "tenant", tenant_path, ret_tenant, err);

    return rc ? rc : load_one(data_dir, "token", token_path, ret_token, err);
}

bool dgf_key_is_missing(const char *data_dir, const char *name, const char *path)
{
    char made[4096];

    (void)snprintf(made, sizeof(made), "%.4000s/keys/%s", data_dir, name);
    return !path && !dgf_file_exists(made);
}

static enum dgf_rc need(const char *data_dir, const char *name, const char *path,
                        const char *why, struct dgf_err *err)
{
    if (!dgf_key_is_missing(data_dir, name, path))
        return DGF_OK;
    return dgf_err_set(err, DGF_BAD_CONFIG,
                       "key file '%s/keys/%s' is missing, and this ledger has records; "
                       "with another key %s: put its copy back, or, to go on with "
                       "another one, make it: (umask 077; openssl rand -hex 32 >FILE)",
                       data_dir, name, why);
}

enum dgf_rc dgf_keys_need(const char *data_dir, const char *tenant_path,
                          const char *token_path, struct dgf_err *err)
{
    enum dgf_rc rc = need(data_dir, "tenant", tenant_path,
                          "every violation would get another id", err);

    return rc ? rc
              : need(data_dir, "token", token_path,
                     "the same value would get another token", err);
}

enum dgf_rc dgf_keys_load_sign(const char *data_dir, const char *path,
                               uint8_t ret_seed[32], struct dgf_err *err)
{
    return load_one(data_dir, "sign", path, ret_seed, err);
}

enum dgf_rc dgf_key_fingerprint(const uint8_t seed[32], char ret[7 + 64 + 1],
                                struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf text = {0};
    uint8_t key[DGF_SIGN_PUBLIC_LEN], hash[DGF_SHA256_LEN];

    dgf_buf_init(&text, 128);
    if (!dgf_sign_public(seed, key))
        return dgf_err_set(err, DGF_NOMEM, "cannot use a signing key: out of memory");
    dgf_sha256(dgf_bytes_of(key, sizeof(key)), hash);
    dgf_buf_add_str(&text, "sha256:");
    dgf_buf_add_hex(&text, dgf_bytes_of(hash, sizeof(hash)));
    memcpy(ret, dgf_buf_str(&text), 7 + 64 + 1);
    return dgf_buf_rc(&text);
}

enum dgf_rc dgf_keys_finish_rotation(const char *data_dir, struct dgf_err *err)
{
    char from[4096], to[4096], kept[4096];
    enum dgf_rc rc;

    (void)snprintf(to, sizeof(to), "%.3900s/keys/sign", data_dir);
    (void)snprintf(from, sizeof(from), "%.3900s/keys/sign.new", data_dir);
    (void)snprintf(kept, sizeof(kept), "%.3900s/keys/sign.old", data_dir);
    if (!dgf_file_exists(from))
        return DGF_AGAIN;
    rc = dgf_file_exists(to) ? dgf_file_rename(to, kept, err) : DGF_OK;
    return rc ? rc : dgf_file_rename(from, to, err);
}
