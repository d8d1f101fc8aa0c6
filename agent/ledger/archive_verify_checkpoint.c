/* archive_verify_checkpoint.c - notes, signatures, keys. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/parse.h"
#include "ledger/archive_keys.h"
#include "ledger/archive_part.h"

#define DASH "\xe2\x80\x94 "
#define MANIFEST_LINE "dgf-manifest sha256:"

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

static bool decode(struct dgf_bytes text, uint8_t *ret, size_t len)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};

    dgf_buf_init(&bytes, 256);
    if (text.len > 200 || !dgf_parse_base64(text, &bytes) || bytes.len != len)
        return false;
    memcpy(ret, bytes.ptr, len);
    return true;
}

static bool read_size(struct dgf_bytes text, uint64_t *ret)
{
    return dgf_parse_u64(text, ret) && (text.len == 1 || text.ptr[0] != '0');
}

static bool read_manifest(struct dgf_bytes line, uint8_t ret[DGF_SHA256_LEN])
{
    size_t skip = sizeof(MANIFEST_LINE) - 1;

    if (line.len != skip + 2 * (size_t)DGF_SHA256_LEN ||
        memcmp(line.ptr, MANIFEST_LINE, skip) != 0)
        return false;
    for (size_t i = skip; i < line.len; i++)
        if (line.ptr[i] >= 'A' && line.ptr[i] <= 'F')
            return false;
    return dgf_parse_hex(dgf_bytes_of(line.ptr + skip, 2 * (size_t)DGF_SHA256_LEN), ret,
                         DGF_SHA256_LEN);
}

/* A signature line: its name and its bytes, of which ret has room for 256. */
static bool read_signature(struct dgf_bytes line, struct dgf_bytes *ret_name,
                           struct dgf_buf *ret)
{
    size_t dash = sizeof(DASH) - 1;
    const uint8_t *space;

    if (line.len <= dash || memcmp(line.ptr, DASH, dash) != 0)
        return false;
    line = dgf_bytes_of(line.ptr + dash, line.len - dash);
    space = memchr(line.ptr, ' ', line.len);
    if (!space || space == line.ptr)
        return false;
    *ret_name = dgf_bytes_of(line.ptr, (size_t)(space - line.ptr));
    dgf_buf_clear(ret);
    return dgf_parse_base64(dgf_bytes_of(space + 1, line.len - ret_name->len - 1),
                            ret) &&
           ret->len > 4;
}

/* The time stands in the line that is as long as a cosignature; whether it is signed
 * is asked later. */
static const char *read_signatures(struct note *note, const char **ret_what)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    struct dgf_bytes rest = note->signatures, line, name;
    bool timed = false;

    dgf_buf_init(&bytes, DGF_CHECKPOINT_MAX_BYTES);
    *ret_what = "it is not signed";
    if (rest.len == 0)
        return "signature";
    while (rest.len > 0) {
        if (!next_line(&rest, &line) || !read_signature(line, &name, &bytes)) {
            *ret_what = "a signature line is malformed";
            return "signature";
        }
        if (timed || !dgf_bytes_eq(name, note->origin) ||
            bytes.len != 12 + DGF_SIGNATURE_LEN)
            continue;
        timed = true;
        note->time_s = 0;
        for (int i = 0; i < 8; i++)
            note->time_s = note->time_s << 8 | bytes.ptr[4 + i];
    }
    *ret_what = "no line says when it was signed";
    return timed ? NULL : "signature";
}

const char *note_read(struct note *note, const char **ret_what)
{
    struct dgf_bytes all = dgf_buf_bytes(&note->bytes), rest = all, line;

    *ret_what = "its text is not origin, size, root and manifest, a line each";
    if (!next_line(&rest, &note->origin) || note->origin.len == 0 ||
        note->origin.len >= DGF_ORIGIN_MAX || !next_line(&rest, &line) ||
        !read_size(line, &note->size) || !next_line(&rest, &line) ||
        !decode(line, note->root, sizeof(note->root)) || !next_line(&rest, &line) ||
        !read_manifest(line, note->manifest))
        return "checkpoint";
    note->body = dgf_bytes_of(all.ptr, (size_t)(rest.ptr - all.ptr));
    if (rest.len == 0) {
        *ret_what = "it is not signed";
        return "signature";
    }
    if (!next_line(&rest, &line) || line.len > 0)
        return "checkpoint";
    note->signatures = rest;
    return read_signatures(note, ret_what);
}

/* Both signatures of the key are there, and every line with its id is right. */
bool note_is_signed(const struct note *note, const char *name,
                    const uint8_t key[DGF_SIGN_PUBLIC_LEN])
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0}, timed = {0};
    struct dgf_bytes rest = note->signatures, line, who;
    uint8_t id[4], timed_id[4];
    unsigned n = 0, n_timed = 0;

    dgf_buf_init(&bytes, DGF_CHECKPOINT_MAX_BYTES);
    dgf_buf_init(&timed, 2 * DGF_CHECKPOINT_MAX_BYTES);
    dgf_note_key_id(name, DGF_NOTE_ED25519, key, id);
    dgf_note_key_id(name, DGF_NOTE_COSIGNATURE, key, timed_id);
    dgf_buf_addf(&timed, "cosignature/v1\ntime %" PRIu64 "\n", note->time_s);
    dgf_buf_add_bytes(&timed, note->body);
    if (dgf_buf_rc(&timed))
        return false;
    while (next_line(&rest, &line)) {
        if (!read_signature(line, &who, &bytes) ||
            !dgf_bytes_eq(who, dgf_bytes_str(name)))
            continue;
        if (memcmp(bytes.ptr, id, 4) == 0) {
            if (bytes.len != 4 + DGF_SIGNATURE_LEN ||
                !dgf_sign_check(key, note->body, bytes.ptr + 4))
                return false;
            n++;
        } else if (memcmp(bytes.ptr, timed_id, 4) == 0) {
            if (bytes.len != 12 + DGF_SIGNATURE_LEN ||
                !dgf_sign_check(key, dgf_buf_bytes(&timed), bytes.ptr + 12))
                return false;
            n_timed++;
        }
    }
    return n == 1 && n_timed == 1;
}

/* ---- keys ---------------------------------------------------------------- */

static enum dgf_rc bad_key(struct dgf_err *err)
{
    err->rc = DGF_BAD_CONFIG;
    return dgf_err_prefix(err, "--key");
}

enum dgf_rc check_trust(struct check *check, struct dgf_err *err)
{
    size_t n = check->trust->n_vkeys;
    struct dgf_vkey vkey;

    check->keys = dgf_calloc(MAX_KEYS, sizeof(*check->keys));
    check->spares = dgf_calloc(n + 1, sizeof(*check->spares));
    if (!check->keys || !check->spares)
        return dgf_err_set(err, DGF_NOMEM, "cannot verify: out of memory");
    for (size_t i = 0; i < n; i++) {
        enum dgf_rc rc =
            dgf_vkey_get(dgf_bytes_str(check->trust->vkeys[i]), &vkey, err);

        if (rc)
            return rc == DGF_NOMEM ? rc : bad_key(err);
        if (i > 0 && strcmp(vkey.name, check->origin) != 0)
            return dgf_err_set(err, DGF_BAD_CONFIG, "--key: these are of two logs");
        if (i == 0)
            memcpy(check->keys[check->n_keys++].key, vkey.key, sizeof(vkey.key));
        else
            memcpy(check->spares[check->n_spares++].key, vkey.key, sizeof(vkey.key));
        (void)snprintf(check->origin, sizeof(check->origin), "%s", vkey.name);
        check->has_origin = true;
    }
    return DGF_OK;
}

static const struct known_key *key_at(const struct check *check, uint64_t size)
{
    const struct known_key *key = &check->keys[0];

    for (size_t i = 1; i < check->n_keys; i++)
        if (size > check->keys[i].from)
            key = &check->keys[i];
    return key;
}

static const char *text_of(const json_t *detail, const char *name)
{
    return json_string_value(json_object_get(detail, name));
}

static bool key_of(struct check *check, const char *text, struct dgf_vkey *ret)
{
    return text && !dgf_vkey_get(dgf_bytes_str(text), ret, NULL) &&
           strcmp(ret->name, check->origin) == 0;
}

static bool signature_of(const char *text, uint8_t ret[DGF_SIGNATURE_LEN])
{
    return text && decode(dgf_bytes_str(text), ret, DGF_SIGNATURE_LEN);
}

/* A rotation is believed because the key before signed it, wherever it stands. */
bool key_add_rotation(struct check *check, const json_t *detail, uint64_t index)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf message = {0};
    const char *old_text = text_of(detail, "old"), *new_text = text_of(detail, "new");
    uint8_t sig_old[DGF_SIGNATURE_LEN], sig_new[DGF_SIGNATURE_LEN];
    const json_t *from = json_object_get(detail, "from");
    struct dgf_vkey old, new;

    if (check->n_keys == 0)
        return true; /* nobody to ask */
    if (!key_of(check, old_text, &old) || !key_of(check, new_text, &new) ||
        !signature_of(text_of(detail, "sig_old"), sig_old) ||
        !signature_of(text_of(detail, "sig_new"), sig_new) || !json_is_integer(from) ||
        json_integer_value(from) < 0 || (uint64_t)json_integer_value(from) != index ||
        check->n_keys == MAX_KEYS ||
        memcmp(old.key, check->keys[check->n_keys - 1].key, sizeof(old.key)) != 0)
        return false;
    dgf_buf_init(&message, 4096);
    dgf_rotation_message(check->log, old_text, new_text, index, &message);
    if (dgf_buf_rc(&message) ||
        !dgf_sign_check(old.key, dgf_buf_bytes(&message), sig_old) ||
        !dgf_sign_check(new.key, dgf_buf_bytes(&message), sig_new))
        return false;
    memcpy(check->keys[check->n_keys].key, new.key, sizeof(new.key));
    check->keys[check->n_keys++].from = index;
    return true;
}

/* A further key of --key takes over where its record can have been pruned. */
static bool take_spare(struct check *check, const struct note *note)
{
    for (size_t i = 0; check->key_may_be_pruned && i < check->n_spares; i++) {
        if (!note_is_signed(note, check->origin, check->spares[i].key) ||
            check->n_keys == MAX_KEYS)
            continue;
        check->keys[check->n_keys] = check->spares[i];
        check->keys[check->n_keys++].from = note->size - 1;
        return true;
    }
    return false;
}

bool is_signed_now(struct check *check, const struct note *note, const char **ret_class)
{
    if (check->n_keys == 0 ||
        note_is_signed(note, check->origin, key_at(check, note->size)->key) ||
        take_spare(check, note))
        return true;
    *ret_class = "signature";
    for (size_t i = 0; i < check->n_keys; i++)
        if (note_is_signed(note, check->origin, check->keys[i].key))
            *ret_class = "key";
    return false;
}

/* ---- checkpoints --------------------------------------------------------- */

/* The log id stands behind the last slash. */
static void learn_origin(struct check *check, struct dgf_bytes origin)
{
    const char *slash;

    if (!check->has_origin)
        (void)snprintf(check->origin, sizeof(check->origin), "%.*s", (int)origin.len,
                       (const char *)origin.ptr);
    check->has_origin = true;
    slash = strrchr(check->origin, '/');
    (void)snprintf(check->log, sizeof(check->log), "%.*s", (int)sizeof(check->log) - 1,
                   slash ? slash + 1 : check->origin);
}

void check_checkpoint_form(struct check *check, struct note *note)
{
    struct step *step = check->step;
    const char *what, *class;

    if (note->bytes.len > DGF_CHECKPOINT_MAX_BYTES) {
        found(check, RANK_CHECKPOINT, "limit", step->first,
              "checkpoint %" PRIu64 " is larger than 16 KiB", step->size);
        return;
    }
    class = note_read(note, &what);
    if (class && strcmp(class, "checkpoint") == 0) {
        found(check, RANK_CHECKPOINT, class, step->first,
              "checkpoint %" PRIu64 " is not one: %s", step->size, what);
        return;
    }
    learn_origin(check, note->origin);
    if (!dgf_bytes_eq(note->origin, dgf_bytes_str(check->origin)))
        found(check, RANK_CHECKPOINT, "origin", step->first,
              "checkpoint %" PRIu64 " is of another log than '%.100s'", step->size,
              check->origin);
    else if (note->size != step->size)
        found(check, RANK_CHECKPOINT, "checkpoint", step->first,
              "checkpoint %" PRIu64 " says size %" PRIu64, step->size, note->size);
    else if (class)
        found(check, RANK_CHECKPOINT, class, step->first, "checkpoint %" PRIu64 ": %s",
              step->size, what);
}

void check_checkpoint_signature(struct check *check, const struct note *note,
                                uint64_t index)
{
    const char *class;

    if (!is_signed_now(check, note, &class)) {
        found(check, RANK_CHECKPOINT, class, index,
              strcmp(class, "key") == 0
                  ? "checkpoint %" PRIu64
                    " is signed with a key that does not sign here"
                  : "checkpoint %" PRIu64 " is not signed with the log's key",
              note->size);
        return;
    }
    if (check->has_time && note->time_s < check->time_s)
        found(check, RANK_CHECKPOINT, "time", index,
              "checkpoint %" PRIu64 " is older than the one before it", note->size);
}

static bool same_as_kept(struct check *check, const struct note *note)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_buf_init(&bytes, DGF_CHECKPOINT_MAX_BYTES + 1);
    dgf_name_checkpoint(name, note->size);
    return !dgf_store_slurp(check->store, name, &bytes, check->err) &&
           dgf_bytes_eq(dgf_buf_bytes(&bytes), dgf_buf_bytes(&note->bytes));
}

/* `checkpoint`, which is a copy; and what it says of objects that are not there. */
void check_newest(struct check *check, uint64_t index)
{
    struct note *note = &check->checkpoint;
    const char *what, *class;
    enum dgf_rc rc;

    dgf_buf_clear(&note->bytes);
    rc = dgf_store_slurp(check->store, DGF_NAME_CHECKPOINT, &note->bytes, check->err);
    if (rc == DGF_AGAIN) {
        missing(check, index, DGF_NAME_CHECKPOINT);
        return;
    }
    if (rc && rc != DGF_BAD_DATA) {
        cannot(check, rc, check->err->text);
        return;
    }
    if (note->bytes.len > DGF_CHECKPOINT_MAX_BYTES) {
        found(check, RANK_CHECKPOINT, "limit", index,
              "the newest checkpoint is larger than 16 KiB");
        return;
    }
    class = note_read(note, &what);
    if (class && strcmp(class, "checkpoint") == 0) {
        found(check, RANK_CHECKPOINT, class, index,
              "the newest checkpoint is not one: %s", what);
        return;
    }
    learn_origin(check, note->origin);
    if (!dgf_bytes_eq(note->origin, dgf_bytes_str(check->origin)))
        found(check, RANK_CHECKPOINT, "origin", index,
              "the newest checkpoint is of another log than '%.100s'", check->origin);
    else if (class)
        found(check, RANK_CHECKPOINT, class, index, "the newest checkpoint: %s", what);
    else if (same_as_kept(check, note))
        return;
    else if (!is_signed_now(check, note, &class))
        found(check, RANK_CHECKPOINT, class, index,
              "the newest checkpoint is not signed with the log's key");
    else if (note->size == check->verdict->size &&
             memcmp(note->root, check->root, sizeof(note->root)) != 0)
        found(check, RANK_CHECKPOINT, "root", index,
              "there are two checkpoints of size %" PRIu64 " with different roots",
              note->size);
    else if (note->size != check->verdict->size)
        missing(check, note->size > check->verdict->size ? check->verdict->size : index,
                "checkpoints of the size that 'checkpoint' names");
}
