#include "ledger/archive_keys.h"

#include "base/json.h"
#include "base/mem.h"

void dgf_log_keys_release(struct dgf_log_keys *keys)
{
    dgf_free(dgf_steal(keys->list));
    keys->n = 0;
}

enum dgf_rc dgf_log_keys_add(struct dgf_log_keys *keys,
                             const uint8_t key[DGF_SIGN_PUBLIC_LEN], uint64_t after)
{
    struct dgf_log_key *list;

    if (keys->n == DGF_KEYS_MAX || (keys->n && keys->list[keys->n - 1].after > after))
        return DGF_BAD_DATA;
    list = dgf_realloc(keys->list, (keys->n + 1) * sizeof(*list));
    if (!list)
        return DGF_NOMEM;
    keys->list = list;
    memcpy(list[keys->n].key, key, DGF_SIGN_PUBLIC_LEN);
    list[keys->n].after = after;
    keys->n++;
    return DGF_OK;
}

const struct dgf_log_key *dgf_log_keys_at(const struct dgf_log_keys *keys,
                                          uint64_t size)
{
    for (size_t i = keys->n; i-- > 0;)
        if (size > keys->list[i].after)
            return &keys->list[i];
    return NULL;
}

void dgf_log_keys_json(const struct dgf_log_keys *keys, const char *origin,
                       const char *log_id_text, struct dgf_buf *to)
{
    struct dgf_json json = dgf_json_of(to);

    dgf_json_begin_object(&json);
    dgf_json_key(&json, "v");
    dgf_json_u64(&json, 1);
    dgf_json_key(&json, "log");
    dgf_json_str(&json, log_id_text);
    dgf_json_key(&json, "keys");
    dgf_json_begin_array(&json);
    for (size_t i = 0; i < keys->n; i++) {
        struct dgf_vkey vkey = {.name = ""};

        memcpy(vkey.name, origin, strnlen(origin, sizeof(vkey.name) - 1));
        memcpy(vkey.key, keys->list[i].key, sizeof(vkey.key));
        dgf_json_begin_object(&json);
        dgf_json_key(&json, "vkey");
        dgf_buf_add_byte(to, '"'); /* needs no escaping */
        dgf_vkey_put(&vkey, to);
        dgf_buf_add_byte(to, '"');
        json.comma = true;
        dgf_json_key(&json, "after");
        dgf_json_u64(&json, keys->list[i].after);
        if (i + 1 < keys->n) {
            dgf_json_key(&json, "to");
            dgf_json_u64(&json, keys->list[i + 1].after);
        }
        dgf_json_end_object(&json);
    }
    dgf_json_end_array(&json);
    dgf_json_end_object(&json);
}

void dgf_log_keys_put(const struct dgf_log_keys *keys, struct dgf_buf *to)
{
    for (size_t i = 0; i < keys->n; i++) {
        dgf_buf_add_le64(to, keys->list[i].after);
        dgf_buf_add(to, keys->list[i].key, DGF_SIGN_PUBLIC_LEN);
    }
}

enum dgf_rc dgf_log_keys_get(struct dgf_bytes bytes, struct dgf_log_keys *ret)
{
    struct dgf_rd rd = dgf_rd_of(bytes);

    while (dgf_rd_left(&rd) > 0) {
        uint64_t after = dgf_rd_le64(&rd);
        struct dgf_bytes key = dgf_rd_bytes(&rd, DGF_SIGN_PUBLIC_LEN);
        enum dgf_rc rc = rd.bad ? DGF_BAD_DATA : dgf_log_keys_add(ret, key.ptr, after);

        if (rc)
            return rc;
    }
    return DGF_OK;
}

void dgf_rotation_message(const char *log_id_text, const char *old_vkey,
                          const char *new_vkey, uint64_t from, struct dgf_buf *to)
{
    dgf_buf_add_str(to, "dgf-key/v1\n");
    dgf_buf_add_str(to, log_id_text);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_str(to, old_vkey);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_str(to, new_vkey);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_u64(to, from);
    dgf_buf_add_byte(to, '\n');
}

static void put_base64(struct dgf_json *json, struct dgf_buf *to, const char *key,
                       struct dgf_bytes bytes)
{
    dgf_json_key(json, key);
    dgf_buf_add_byte(to, '"');
    dgf_buf_add_base64(to, bytes);
    dgf_buf_add_byte(to, '"');
    json->comma = true;
}

/* false: no memory, or a name that is too long. */
static bool put_vkey(const char *origin, const uint8_t seed[32], struct dgf_buf *to)
{
    struct dgf_vkey vkey = {.name = ""};
    size_t n = strlen(origin);

    if (n >= sizeof(vkey.name) || !dgf_sign_public(seed, vkey.key))
        return false;
    memcpy(vkey.name, origin, n);
    dgf_vkey_put(&vkey, to);
    return dgf_buf_rc(to) == DGF_OK;
}

bool dgf_rotation_put(const char *origin, const char *log_id_text,
                      const uint8_t old_seed[32], const uint8_t new_seed[32],
                      uint64_t from, struct dgf_buf *to)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf old_text = {0}, new_text = {0};
    DGF_RELEASE(dgf_buf_release) struct dgf_buf message = {0};
    uint8_t by_old[DGF_SIGNATURE_LEN], by_new[DGF_SIGNATURE_LEN];
    struct dgf_json json = dgf_json_of(to);

    dgf_buf_init(&old_text, 1024);
    dgf_buf_init(&new_text, 1024);
    dgf_buf_init(&message, 4096);
    if (!put_vkey(origin, old_seed, &old_text) ||
        !put_vkey(origin, new_seed, &new_text))
        return false;
    dgf_rotation_message(log_id_text, dgf_buf_str(&old_text), dgf_buf_str(&new_text),
                         from, &message);
    if (dgf_buf_rc(&message) || !dgf_sign(old_seed, dgf_buf_bytes(&message), by_old) ||
        !dgf_sign(new_seed, dgf_buf_bytes(&message), by_new))
        return false;
    dgf_json_begin_object(&json);
    dgf_json_key(&json, "op");
    dgf_json_str(&json, "rotate");
    dgf_json_key(&json, "old");
    dgf_json_str(&json, dgf_buf_str(&old_text));
    dgf_json_key(&json, "new");
    dgf_json_str(&json, dgf_buf_str(&new_text));
    dgf_json_key(&json, "from");
    dgf_json_u64(&json, from);
    put_base64(&json, to, "sig_old", dgf_bytes_of(by_old, sizeof(by_old)));
    put_base64(&json, to, "sig_new", dgf_bytes_of(by_new, sizeof(by_new)));
    dgf_json_end_object(&json);
    return dgf_buf_rc(to) == DGF_OK;
}
