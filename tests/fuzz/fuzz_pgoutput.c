/* Messages of pgoutput, each behind its length in two bytes: every view of one
 * that was taken lies inside it, and a value that was taken is exactly one
 * well-formed msgpack value.  The same bytes as position and history. */
#include <assert.h>
#include <stdint.h>

#include "base/mp.h"
#include "pg_position.h"
#include "pg_value.h"
#include "pgoutput.h"

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len);

static struct dgf_pgoutput message;
static uint32_t types[DGF_PG_MAX_COLUMNS]; /* of the last relation */
static uint32_t n_types;

static void check_view(struct dgf_bytes whole, struct dgf_bytes view)
{
    assert(view.len <= whole.len);
    assert(view.len == 0 ||
           (view.ptr >= whole.ptr && view.ptr + view.len <= whole.ptr + whole.len));
}

static void check_value(const struct dgf_pg_type *type,
                        const struct dgf_pg_datum *datum)
{
    struct dgf_buf out;
    const char *why = NULL;
    enum dgf_rc rc;

    dgf_buf_init(&out, 1 << 20);
    rc = datum->kind == DGF_PG_TEXT
             ? dgf_pg_value_text(type, datum->bytes, &out, &why)
             : dgf_pg_value_binary(type, datum->bytes, &out, &why);
    assert(rc == DGF_OK || (rc == DGF_BAD_DATA && why && *why));
    if (!rc && !dgf_buf_rc(&out)) {
        struct dgf_mp mp = dgf_mp_of(dgf_buf_bytes(&out));

        assert(dgf_mp_skip(&mp) == DGF_OK && mp.ptr == mp.end);
    }
    dgf_buf_release(&out);
}

static void check_tuple(struct dgf_bytes whole, const struct dgf_pg_tuple *tuple)
{
    assert(tuple->n <= DGF_PG_MAX_COLUMNS);
    for (uint32_t i = 0; i < tuple->n; i++) {
        const struct dgf_pg_datum *datum = &tuple->datums[i];
        const struct dgf_pg_type *type =
            i < n_types ? dgf_pg_type_builtin(types[i]) : NULL;

        check_view(whole, datum->bytes);
        if (type && (datum->kind == DGF_PG_TEXT || datum->kind == DGF_PG_BINARY))
            check_value(type, datum);
    }
}

static void check_message(struct dgf_bytes whole)
{
    struct dgf_err err = {0};

    if (dgf_pgoutput_decode(whole, &message, &err)) {
        assert(err.rc == DGF_BAD_DATA && err.text[0]);
        return;
    }
    switch (message.type) {
    case DGF_PG_RELATION:
        check_view(whole, message.relation.schema);
        check_view(whole, message.relation.name);
        n_types = message.relation.n;
        for (uint32_t i = 0; i < n_types; i++) {
            check_view(whole, message.attributes[i].name);
            types[i] = message.attributes[i].type;
        }
        break;
    case DGF_PG_INSERT:
    case DGF_PG_UPDATE:
    case DGF_PG_DELETE:
        check_tuple(whole, &message.old_row);
        check_tuple(whole, &message.new_row);
        break;
    case DGF_PG_TRUNCATE:
        check_view(whole, message.truncate.oids);
        assert(message.truncate.oids.len == 4 * (size_t)message.truncate.n);
        for (uint32_t i = 0; i < message.truncate.n; i++)
            (void)dgf_pgoutput_truncated(&message, i);
        break;
    case DGF_PG_MESSAGE:
        check_view(whole, message.message.prefix);
        check_view(whole, message.message.content);
        break;
    default:
        break;
    }
}

static void check_position(struct dgf_bytes bytes)
{
    struct dgf_pg_position position;
    uint8_t again[DGF_PG_POSITION_BYTES];
    struct dgf_buf text;

    (void)dgf_pg_history_left(bytes, 1);
    dgf_buf_init(&text, 256);
    dgf_pg_position_text(bytes, &text);
    if (dgf_pg_position_read(bytes, &position)) {
        dgf_pg_position_write(&position, again);
        assert(dgf_bytes_eq(bytes, dgf_bytes_of(again, sizeof(again))));
        assert(text.len > 0);
    } else {
        assert(text.len == 0);
    }
    dgf_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *ptr, size_t len)
{
    size_t at = 0;

    n_types = 0;
    check_position(dgf_bytes_of(ptr, len));
    while (len - at >= 2) {
        size_t n = (size_t)ptr[at] << 8 | ptr[at + 1];

        at += 2;
        if (n > len - at)
            n = len - at;
        check_message(dgf_bytes_of(ptr + at, n));
        at += n;
    }
    return 0;
}
