#include "ledger/note.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/parse.h"

#define DASH "\xe2\x80\x94 "
#define MANIFEST_LINE "dgf-manifest sha256:"

bool dgf_origin_put(const char *agent, const char *log_id_text,
                    char ret[DGF_ORIGIN_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 4;

    memcpy(ret, "dgf/", 4);
    for (const char *c = agent; *c; c++) {
        uint8_t byte = (uint8_t)*c;

        if (n + 3 + 1 + strlen(log_id_text) + 1 > DGF_ORIGIN_MAX)
            return false;
        if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
            (byte >= '0' && byte <= '9') || strchr("-._", byte)) {
            ret[n++] = (char)byte;
        } else {
            ret[n++] = '%';
            ret[n++] = digits[byte >> 4];
            ret[n++] = digits[byte & 15];
        }
    }
    return snprintf(ret + n, DGF_ORIGIN_MAX - n, "/%s", log_id_text) <
           (int)(DGF_ORIGIN_MAX - n);
}

void dgf_note_key_id(const char *name, uint8_t algorithm,
                     const uint8_t key[DGF_SIGN_PUBLIC_LEN], uint8_t ret[4])
{
    uint8_t bytes[DGF_ORIGIN_MAX + 2 + DGF_SIGN_PUBLIC_LEN], hash[DGF_SHA256_LEN];
    size_t n = strnlen(name, DGF_ORIGIN_MAX);

    memcpy(bytes, name, n);
    bytes[n++] = '\n';
    bytes[n++] = algorithm;
    memcpy(bytes + n, key, DGF_SIGN_PUBLIC_LEN);
    dgf_sha256(dgf_bytes_of(bytes, n + DGF_SIGN_PUBLIC_LEN), hash);
    memcpy(ret, hash, 4);
}

void dgf_vkey_put(const struct dgf_vkey *vkey, struct dgf_buf *to)
{
    uint8_t id[4], key[1 + DGF_SIGN_PUBLIC_LEN] = {DGF_NOTE_ED25519};

    memcpy(key + 1, vkey->key, DGF_SIGN_PUBLIC_LEN);
    dgf_note_key_id(vkey->name, DGF_NOTE_ED25519, vkey->key, id);
    dgf_buf_add_str(to, vkey->name);
    dgf_buf_add_byte(to, '+');
    dgf_buf_add_hex(to, dgf_bytes_of(id, sizeof(id)));
    dgf_buf_add_byte(to, '+');
    dgf_buf_add_base64(to, dgf_bytes_of(key, sizeof(key)));
}

static bool decode(struct dgf_bytes text, uint8_t *ret, size_t len)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    bool ok;

    dgf_buf_init(&bytes, 256);
    ok = text.len <= 256 && dgf_parse_base64(text, &bytes) && bytes.len == len;
    if (ok)
        memcpy(ret, bytes.ptr, len);
    return ok;
}

/* A key's name: no control bytes, no spaces, no '+'. */
static bool name_ok(struct dgf_bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || name.ptr[i] == '+' || name.ptr[i] == 0x7f)
            return false;
    return name.len > 0 && name.len < DGF_ORIGIN_MAX && dgf_utf8_valid(name);
}

enum dgf_rc dgf_vkey_get(struct dgf_bytes text, struct dgf_vkey *ret,
                         struct dgf_err *err)
{
    const uint8_t *plus = text.len ? memchr(text.ptr, '+', text.len) : NULL;
    struct dgf_bytes name, id, key;
    uint8_t given[4], wanted[4], bytes[1 + DGF_SIGN_PUBLIC_LEN];
    struct dgf_vkey vkey = {.name = ""};

    if (!plus || text.ptr + text.len - plus < 1 + 8 + 1 || plus[9] != '+')
        return dgf_err_set(err, DGF_BAD_DATA,
                           "not a vkey: it is <name>+<8 hex digits>+<base64>");
    name = dgf_bytes_of(text.ptr, (size_t)(plus - text.ptr));
    id = dgf_bytes_of(plus + 1, 8);
    key = dgf_bytes_of(plus + 10, (size_t)(text.ptr + text.len - plus) - 10);
    if (!name_ok(name))
        return dgf_err_set(err, DGF_BAD_DATA, "not a vkey: its name is malformed");
    if (!dgf_parse_hex(id, given, sizeof(given)) || !decode(key, bytes, sizeof(bytes)))
        return dgf_err_set(err, DGF_BAD_DATA,
                           "not a vkey: its key is not 33 bytes in base64");
    if (bytes[0] != DGF_NOTE_ED25519)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "the vkey is of algorithm %u, not Ed25519 (1)", bytes[0]);
    memcpy(vkey.name, name.ptr, name.len);
    memcpy(vkey.key, bytes + 1, sizeof(vkey.key));
    dgf_note_key_id(vkey.name, DGF_NOTE_ED25519, vkey.key, wanted);
    if (memcmp(given, wanted, sizeof(given)) != 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "not a vkey: its key id does not fit its name and key");
    *ret = vkey;
    return DGF_OK;
}

/* ---- writing ------------------------------------------------------------- */

static void put_body(const struct dgf_checkpoint *checkpoint, struct dgf_buf *to)
{
    dgf_buf_add_str(to, checkpoint->origin);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_u64(to, checkpoint->size);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_base64(to, dgf_bytes_of(checkpoint->root, DGF_SHA256_LEN));
    dgf_buf_add_str(to, "\n" MANIFEST_LINE);
    dgf_buf_add_hex(to, dgf_bytes_of(checkpoint->manifest, DGF_SHA256_LEN));
    dgf_buf_add_byte(to, '\n');
}

static void put_signature(const char *name, struct dgf_bytes signature,
                          struct dgf_buf *to)
{
    dgf_buf_add_str(to, DASH);
    dgf_buf_add_str(to, name);
    dgf_buf_add_byte(to, ' ');
    dgf_buf_add_base64(to, signature);
    dgf_buf_add_byte(to, '\n');
}

/* What the cosignature signs. */
static void put_cosigned(uint64_t time_s, struct dgf_bytes body, struct dgf_buf *to)
{
    dgf_buf_add_str(to, "cosignature/v1\ntime ");
    dgf_buf_add_u64(to, time_s);
    dgf_buf_add_byte(to, '\n');
    dgf_buf_add_bytes(to, body);
}

bool dgf_checkpoint_put(const struct dgf_checkpoint *checkpoint,
                        const uint8_t seed[DGF_SIGN_SEED_LEN], struct dgf_buf *to)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf body = {0}, timed = {0};
    uint8_t key[DGF_SIGN_PUBLIC_LEN];
    uint8_t plain[4 + DGF_SIGNATURE_LEN], cosigned[4 + 8 + DGF_SIGNATURE_LEN];

    dgf_buf_init(&body, DGF_CHECKPOINT_MAX_BYTES);
    dgf_buf_init(&timed, DGF_CHECKPOINT_MAX_BYTES);
    put_body(checkpoint, &body);
    put_cosigned(checkpoint->time_s, dgf_buf_bytes(&body), &timed);
    if (dgf_buf_rc(&body) || dgf_buf_rc(&timed) || !dgf_sign_public(seed, key) ||
        !dgf_sign(seed, dgf_buf_bytes(&body), plain + 4) ||
        !dgf_sign(seed, dgf_buf_bytes(&timed), cosigned + 12))
        return false;
    dgf_note_key_id(checkpoint->origin, DGF_NOTE_ED25519, key, plain);
    dgf_note_key_id(checkpoint->origin, DGF_NOTE_COSIGNATURE, key, cosigned);
    for (int i = 0; i < 8; i++)
        cosigned[4 + i] = (uint8_t)(checkpoint->time_s >> 8 * (7 - i));
    dgf_buf_add_bytes(to, dgf_buf_bytes(&body));
    dgf_buf_add_byte(to, '\n');
    put_signature(checkpoint->origin, dgf_bytes_of(plain, sizeof(plain)), to);
    put_signature(checkpoint->origin, dgf_bytes_of(cosigned, sizeof(cosigned)), to);
    return dgf_buf_rc(to) == DGF_OK;
}

/* ---- reading ------------------------------------------------------------- */

static bool next_line(struct dgf_bytes *rest, struct dgf_bytes *ret)
{
    const uint8_t *lf = rest->len ? memchr(rest->ptr, '\n', rest->len) : NULL;

    if (!lf)
        return false;
    *ret = dgf_bytes_of(rest->ptr, (size_t)(lf - rest->ptr));
    rest->len -= ret->len + 1;
    rest->ptr = lf + 1;
    return true;
}

static bool begins_with(struct dgf_bytes text, const char *with)
{
    size_t n = strlen(with);

    return text.len >= n && memcmp(text.ptr, with, n) == 0;
}

static bool is_plain_number(struct dgf_bytes text, uint64_t *ret)
{
    return dgf_parse_u64(text, ret) && (text.len == 1 || text.ptr[0] != '0');
}

static bool read_body(struct dgf_bytes *rest, struct dgf_checkpoint *ret)
{
    size_t skip = strlen(MANIFEST_LINE);
    struct dgf_bytes line;

    if (!next_line(rest, &line) || !name_ok(line))
        return false;
    memcpy(ret->origin, line.ptr, line.len);
    ret->origin[line.len] = '\0';
    if (!next_line(rest, &line) || !is_plain_number(line, &ret->size) ||
        !next_line(rest, &line) || !decode(line, ret->root, sizeof(ret->root)) ||
        !next_line(rest, &line) || !begins_with(line, MANIFEST_LINE) ||
        !dgf_parse_hex(dgf_bytes_of(line.ptr + skip, line.len - skip), ret->manifest,
                       sizeof(ret->manifest)))
        return false;
    /* Upper-case digits would be another text that says the same. */
    for (size_t i = skip; i < line.len; i++)
        if (line.ptr[i] >= 'A' && line.ptr[i] <= 'F')
            return false;
    return true;
}

struct found {
    bool plain, timed;
    uint8_t signature[DGF_SIGNATURE_LEN], cosignature[DGF_SIGNATURE_LEN];
    uint64_t time_s;
};

/* One signature line; false: it is none. */
static bool read_signature(struct dgf_bytes line, const struct dgf_checkpoint *body,
                           const uint8_t key[DGF_SIGN_PUBLIC_LEN], struct found *found)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    size_t n = strlen(body->origin), dash = strlen(DASH);
    const uint8_t *space;
    struct dgf_bytes name;
    uint8_t id[4];

    dgf_buf_init(&bytes, DGF_CHECKPOINT_MAX_BYTES);
    if (!begins_with(line, DASH))
        return false;
    line = dgf_bytes_of(line.ptr + dash, line.len - dash);
    space = line.len ? memchr(line.ptr, ' ', line.len) : NULL;
    if (!space)
        return false;
    name = dgf_bytes_of(line.ptr, (size_t)(space - line.ptr));
    if (!name_ok(name) ||
        !dgf_parse_base64(dgf_bytes_of(space + 1, line.len - name.len - 1), &bytes) ||
        bytes.len < 5)
        return false;
    if (name.len != n || memcmp(name.ptr, body->origin, n) != 0)
        return true;
    dgf_note_key_id(body->origin, DGF_NOTE_ED25519, key, id);
    if (bytes.len == 4 + DGF_SIGNATURE_LEN && memcmp(bytes.ptr, id, 4) == 0 &&
        !found->plain) {
        found->plain = true;
        memcpy(found->signature, bytes.ptr + 4, DGF_SIGNATURE_LEN);
    }
    dgf_note_key_id(body->origin, DGF_NOTE_COSIGNATURE, key, id);
    if (bytes.len == 12 + DGF_SIGNATURE_LEN && memcmp(bytes.ptr, id, 4) == 0 &&
        !found->timed) {
        found->timed = true;
        for (int i = 0; i < 8; i++)
            found->time_s = found->time_s << 8 | bytes.ptr[4 + i];
        memcpy(found->cosignature, bytes.ptr + 12, DGF_SIGNATURE_LEN);
    }
    return true;
}

enum dgf_rc dgf_checkpoint_get(struct dgf_bytes note,
                               const uint8_t key[DGF_SIGN_PUBLIC_LEN],
                               struct dgf_checkpoint *ret, bool *ret_signed,
                               struct dgf_err *err)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf timed = {0};
    struct dgf_bytes rest = note, body, line;
    struct dgf_checkpoint checkpoint = {.size = 0};
    struct found found = {.plain = false};

    if (note.len > DGF_CHECKPOINT_MAX_BYTES)
        return dgf_err_set(err, DGF_BAD_DATA, "the checkpoint is larger than 16 KiB");
    if (!read_body(&rest, &checkpoint))
        return dgf_err_set(err, DGF_BAD_DATA,
                           "not a checkpoint: it begins with origin, size, root and "
                           "dgf-manifest, a line each");
    body = dgf_bytes_of(note.ptr, (size_t)(rest.ptr - note.ptr));
    if (!next_line(&rest, &line) || line.len != 0 || rest.len == 0)
        return dgf_err_set(err, DGF_BAD_DATA,
                           "not a checkpoint: no signature follows its text");
    while (rest.len > 0)
        if (!next_line(&rest, &line) || !read_signature(line, &checkpoint, key, &found))
            return dgf_err_set(err, DGF_BAD_DATA,
                               "not a checkpoint: a signature line is malformed");
    dgf_buf_init(&timed, DGF_CHECKPOINT_MAX_BYTES + 64);
    put_cosigned(found.time_s, body, &timed);
    if (dgf_buf_rc(&timed))
        return dgf_err_set(err, DGF_NOMEM, "cannot read a checkpoint: out of memory");
    checkpoint.time_s = found.time_s;
    *ret_signed = found.plain && found.timed &&
                  dgf_sign_check(key, body, found.signature) &&
                  dgf_sign_check(key, dgf_buf_bytes(&timed), found.cosignature);
    *ret = checkpoint;
    return DGF_OK;
}
