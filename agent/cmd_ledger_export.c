/* cmd_ledger_export.c - `dgf ledger export`: a table for people, and a tiled log for
 * public tools. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/parse.h"
#include "cmd_ledger.h"
#include "ledger/archive_checked.h"
#include "ledger/archive_proof.h"
#include "ledger/archive_tiles.h"
#include "ledger/archive_verify.h"
#include "ledger/note.h"
#include "ledger/segments.h"
#include "ledger/store.h"

DGF_CLEANUP_OF(struct dgf_store *, dgf_store_free)
DGF_CLEANUP_OF(struct dgf_archive_checked *, dgf_archive_checked_free)

/* ---- csv ----------------------------------------------------------------- */

/* A cell that a spreadsheet would take for a formula begins with an apostrophe. */
static void put_cell(struct dgf_buf *out, const char *text, bool last)
{
    dgf_buf_add_byte(out, '"');
    if (*text && strchr("=+-@\t\r", *text))
        dgf_buf_add_byte(out, '\'');
    for (; *text; text++) {
        if (*text == '"')
            dgf_buf_add_byte(out, '"');
        dgf_buf_add_byte(out, (uint8_t)*text);
    }
    dgf_buf_add_str(out, last ? "\"\r\n" : "\",");
}

static const char *const columns[] = {"seq",    "logged",  "time",    "kind",
                                      "source", "object",  "policy",  "severity",
                                      "status", "verdict", "message", "id"};

static const char *cell_of(const json_t *record, const char *column)
{
    const json_t *event = json_object_get(record, "event");
    const json_t *policy = json_object_get(record, "policy");
    const char *text = json_string_value(json_object_get(record, column));

    if (!text && (strcmp(column, "source") == 0 || strcmp(column, "object") == 0))
        text = json_string_value(json_object_get(event, column));
    if (strcmp(column, "policy") == 0)
        text = json_string_value(json_object_get(policy, "id"));
    if (!text && strcmp(column, "severity") == 0)
        text = json_string_value(json_object_get(policy, "severity"));
    return text ? text : "";
}

static int put_row(void *ctx, uint64_t index, uint64_t segment, struct dgf_bytes line)
{
    DGF_CLEANUP_JSON json_t *record = NULL;
    struct dgf_buf *out = ctx;
    struct dgf_err err = {0};
    char number[32];
    enum dgf_rc rc = dgf_json_parse_record(line, &record, &err);

    if (rc) {
        (void)dgf_err_prefix(&err,
                             "record %" PRIu64 " in 'segments/%" PRIu64 ".ndjson.zst'",
                             index, segment);
        return ledger_fail(rc, &err);
    }
    dgf_buf_clear(out);
    (void)snprintf(number, sizeof(number), "%" PRIu64, index);
    for (size_t i = 0; i < DGF_ARRAY_LEN(columns); i++)
        put_cell(out, i == 0 ? number : cell_of(record, columns[i]),
                 i + 1 == DGF_ARRAY_LEN(columns));
    return dgf_buf_rc(out) || !dgf_buf_write(out, stdout) ? DGF_EXIT_CANNOT
                                                          : DGF_EXIT_OK;
}

static int export_csv(const struct dgf_args *args, struct dgf_store *store)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf out = {0};

    dgf_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < DGF_ARRAY_LEN(columns); i++)
        put_cell(&out, columns[i], i + 1 == DGF_ARRAY_LEN(columns));
    return dgf_buf_rc(&out) || !dgf_buf_write(&out, stdout)
               ? DGF_EXIT_CANNOT
               : ledger_each(args, store, put_row, &out);
}

/* ---- a tiled log --------------------------------------------------------- */

struct tiled {
    struct dgf_store *store;
    const char *dir;
    uint64_t size, next;
    struct dgf_buf bundle;
};

/* Makes the folders of a name below dir, and the file. */
static enum dgf_rc put_file(const char *dir, const char *name, struct dgf_bytes bytes,
                            struct dgf_err *err)
{
    char path[DGF_PATH_MAX];
    struct dgf_file *file = NULL;
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    enum dgf_rc rc = DGF_OK;

    if (n < 0 || n >= (int)sizeof(path))
        return dgf_err_set(err, DGF_BAD_CONFIG, "the path '%.64s...' is too long", dir);
    for (char *slash = path + strlen(dir); !rc && (slash = strchr(slash, '/'));
         slash++) {
        *slash = '\0';
        rc = dgf_dir_make(path, err);
        *slash = '/';
    }
    if (!rc)
        rc = dgf_file_open(path, DGF_FILE_CREATE, &file, err);
    if (!rc)
        rc = dgf_file_write(file, 0, bytes, err);
    dgf_file_close(file);
    return rc;
}

/* tile/entries/<index>[.p/<width>]: the names of level 0, under another word. */
static void entries_name(char ret[DGF_ARCHIVE_NAME_MAX], const struct dgf_tile *tile)
{
    char name[DGF_ARCHIVE_NAME_MAX];

    dgf_name_tile(name, tile);
    (void)snprintf(ret, DGF_ARCHIVE_NAME_MAX, "tile/entries/%.100s",
                   name + strlen("tile/0/"));
}

static enum dgf_rc put_bundle(struct tiled *tiled, struct dgf_err *err)
{
    struct dgf_tile tile = {0, (tiled->next - 1) / DGF_TILE_WIDTH,
                            (unsigned)((tiled->next - 1) % DGF_TILE_WIDTH) + 1};
    char name[DGF_ARCHIVE_NAME_MAX];
    enum dgf_rc rc;

    entries_name(name, &tile);
    rc = dgf_buf_rc(&tiled->bundle);
    if (rc)
        return dgf_err_set(err, rc, "cannot write '%s': out of memory", name);
    rc = put_file(tiled->dir, name, dgf_buf_bytes(&tiled->bundle), err);
    dgf_buf_clear(&tiled->bundle);
    return rc;
}

static enum dgf_rc put_entries(struct tiled *tiled, struct dgf_err *err)
{
    DGF_CLEANUP(dgf_archive_checked_free) struct dgf_archive_checked *reader = NULL;
    enum dgf_rc rc = dgf_archive_checked_open(tiled->store, 0, tiled->size, ledger_tell,
                                              NULL, &reader, err);

    while (!rc && tiled->next < tiled->size) {
        struct dgf_bytes line;
        uint64_t index;

        rc = dgf_archive_checked_next(reader, &index, &line, err);
        if (rc == DGF_AGAIN || (!rc && index != tiled->next))
            return dgf_err_set(err, DGF_FATAL,
                               "record %" PRIu64
                               " is not here: a tiled log cannot have holes",
                               tiled->next);
        if (rc)
            break;
        if (line.len > UINT16_MAX)
            return dgf_err_set(err, DGF_BAD_DATA,
                               "record %" PRIu64 " is longer than 65,535 bytes", index);
        dgf_buf_add_byte(&tiled->bundle, (uint8_t)(line.len >> 8));
        dgf_buf_add_byte(&tiled->bundle, (uint8_t)line.len);
        dgf_buf_add_bytes(&tiled->bundle, line);
        tiled->next++;
        if (tiled->next % DGF_TILE_WIDTH == 0 || tiled->next == tiled->size)
            rc = put_bundle(tiled, err);
    }
    return rc;
}

static enum dgf_rc put_tiles(struct tiled *tiled, struct dgf_err *err)
{
    struct dgf_tile_list list;
    struct dgf_tile tile;

    dgf_tile_list_init(&list, 0, tiled->size);
    while (dgf_tile_list_next(&list, &tile)) {
        DGF_RELEASE(dgf_buf_release) struct dgf_buf bytes = {0};
        char name[DGF_ARCHIVE_NAME_MAX];
        enum dgf_rc rc;

        dgf_name_tile(name, &tile);
        dgf_buf_init(&bytes, DGF_TILE_WIDTH * DGF_SHA256_LEN + 1);
        rc = dgf_store_slurp(tiled->store, name, &bytes, err);
        if (!rc)
            rc = put_file(tiled->dir, name, dgf_buf_bytes(&bytes), err);
        if (rc)
            return rc == DGF_AGAIN
                       ? dgf_err_set(err, DGF_FATAL, "there is no '%s'", name)
                       : rc;
    }
    return DGF_OK;
}

static int export_tiles(const char *to, struct dgf_store *store)
{
    DGF_RELEASE(dgf_buf_release) struct dgf_buf newest = {0};
    struct tiled tiled = {.store = store, .dir = to};
    struct dgf_head_said head = {.size = 0};
    struct dgf_err err = {0};
    enum dgf_rc rc;

    dgf_buf_init(&newest, DGF_CHECKPOINT_MAX_BYTES + 1);
    rc = dgf_store_slurp(store, DGF_NAME_CHECKPOINT, &newest, &err);
    if (!rc)
        rc = dgf_head_read(dgf_buf_bytes(&newest), NULL, 0, &head, &err);
    if (!rc && head.class)
        rc = dgf_err_set(&err, DGF_BAD_DATA, "the newest checkpoint: %s", head.what);
    if (!rc)
        rc = dgf_dir_make(to, &err);
    if (!rc) {
        tiled.size = head.size;
        dgf_buf_init(&tiled.bundle, (size_t)DGF_TILE_WIDTH * 65600);
        rc = put_entries(&tiled, &err);
        dgf_buf_release(&tiled.bundle);
    }
    if (!rc)
        rc = put_tiles(&tiled, &err);
    if (!rc)
        rc = put_file(to, DGF_NAME_CHECKPOINT, dgf_buf_bytes(&newest), &err);
    if (rc)
        return ledger_fail(rc == DGF_AGAIN ? DGF_FATAL : rc, &err);
    printf("%" PRIu64 " records of '%s' in '%s'\n", head.size, head.origin, to);
    return DGF_EXIT_OK;
}

int ledger_export(const struct dgf_args *args, const char *dir, bool as_json)
{
    DGF_CLEANUP(dgf_store_free) struct dgf_store *store = NULL;
    const char *to = dgf_args_get(args, "tlog-tiles");
    bool csv = dgf_args_has(args, "csv");
    int exit_code;

    (void)as_json;
    if (csv == (to != NULL))
        return dgf_usage("ledger", "export what? --csv, or --tlog-tiles FOLDER");
    exit_code = ledger_open_archive(dir, &store);
    if (exit_code)
        return exit_code;
    return csv ? export_csv(args, store) : export_tiles(to, store);
}
