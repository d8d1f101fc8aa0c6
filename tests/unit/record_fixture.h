/* record_fixture.h - a recorder whose records are kept in memory, a fixed
 * clock, and a row of shop.order_notes; included by one test file a program. */
#ifndef DGF_TESTS_RECORD_FIXTURE_H
#define DGF_TESTS_RECORD_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "bus/record_write.h"
#include "unit.h"

#define T0 1772441999998000000 /* 2026-03-02T08:59:59.998Z */

static int64_t now_ns = T0 + 3000000;

int64_t dgf_clock_ns(void)
{
    return now_ns;
}

int64_t dgf_clock_mono_ns(void)
{
    return now_ns;
}

struct kept {
    struct dgf_buf bytes; /* header and line of each */
    struct {
        size_t header_at, header_len, line_at, line_len;
    } at[256];
    size_t n;
    uint64_t first_seq;
};

static struct kept kept;
static struct dgf_recorder recorder;
static struct dgf_object *notes;
static struct dgf_event_builder builder;
static uint8_t next_event = 0x40; /* first byte of the next event's id */

static uint64_t kept_next(void *ctx)
{
    struct kept *self = ctx;

    return self->first_seq + self->n;
}

static enum dgf_rc kept_put(void *ctx, struct dgf_bytes header, struct dgf_bytes line)
{
    struct kept *self = ctx;

    ck_assert_uint_lt(self->n, sizeof(self->at) / sizeof(self->at[0]));
    ck_assert_uint_le(line.len, DGF_RECORD_MAX_BYTES);
    self->at[self->n].header_at = self->bytes.len;
    self->at[self->n].header_len = header.len;
    dgf_buf_add_bytes(&self->bytes, header);
    self->at[self->n].line_at = self->bytes.len;
    self->at[self->n].line_len = line.len;
    dgf_buf_add_bytes(&self->bytes, line);
    self->n++;
    return DGF_OK;
}

/* The record kept at `at`, read back through its leaf header. */
static struct dgf_record record_at(size_t at)
{
    struct dgf_record record;

    ck_assert_uint_lt(at, kept.n);
    ck_assert_int_eq(dgf_record_get(dgf_bytes_of(kept.bytes.ptr + kept.at[at].header_at,
                                                 kept.at[at].header_len),
                                    dgf_bytes_of(kept.bytes.ptr + kept.at[at].line_at,
                                                 kept.at[at].line_len),
                                    kept.first_seq + at, &record),
                     DGF_OK);
    return record;
}

/* The line of the newest record as JSON; a new reference. */
static inline json_t *line_json(size_t at)
{
    struct dgf_err err;
    json_t *json = NULL;

    ck_assert_msg(dgf_json_parse(record_at(at).line, 1 << 20, 64, &json, &err) ==
                      DGF_OK,
                  "%s", err.text);
    return json;
}

static void fixture_position(struct dgf_bytes position, struct dgf_buf *out)
{
    dgf_buf_add_bytes(out, position);
}

static const struct dgf_source_type postgres = {.name = "postgres",
                                                .position_text = fixture_position};
static struct dgf_source orders = {.type = &postgres, .name = "orders"};

static const struct dgf_column note_columns[] = {
    {.name = "id", .type = DGF_TYPE_INT, .key = true},
    {.name = "note", .type = DGF_TYPE_TEXT},
    {.name = "author", .type = DGF_TYPE_TEXT},
};

static void open_recorder(void)
{
    const struct dgf_record_out out = {&kept, kept_next, kept_put};
    uint8_t tenant[32], token[32], log_id[16];

    for (int i = 0; i < 32; i++) {
        tenant[i] = (uint8_t)i;
        token[i] = (uint8_t)(i + 100);
        log_id[i / 2] = (uint8_t)(i / 2);
    }
    memset(&kept, 0, sizeof(kept));
    next_event = 0x40;
    kept.first_seq = 1042;
    dgf_buf_init(&kept.bytes, (size_t)64 << 20);
    ck_assert_int_eq(dgf_recorder_init(&recorder, out, "orders-sidecar", "prod", tenant,
                                       token, 1, log_id),
                     DGF_OK);
    ck_assert_int_eq(
        dgf_recorder_policy_set(
            &recorder,
            "sha256:5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"),
        DGF_OK);
    ck_assert_int_eq(dgf_object_new("postgres", "shop", "shop", "order_notes",
                                    note_columns, 3, 1, &notes),
                     DGF_OK);
    dgf_event_builder_init(&builder, (size_t)16 << 20);
}

static void close_recorder(void)
{
    dgf_recorder_release(&recorder);
    dgf_object_unref(notes);
    dgf_event_builder_release(&builder);
    dgf_buf_release(&kept.bytes);
}

static inline void put_named(const char *name, const char *text)
{
    dgf_mp_put_str(dgf_event_named(&builder, dgf_bytes_str(name)), dgf_bytes_str(text));
}

static struct dgf_event *finish_event(const char *position)
{
    struct dgf_event_meta meta = {.commit_ns = T0,
                                  .seen_ns = T0 + 1000000,
                                  .tx_n = 3,
                                  .tx = DGF_BYTES("748"),
                                  .position = dgf_bytes_str(position)};
    struct dgf_event *event = NULL;

    for (int i = 0; i < DGF_ID_LEN; i++)
        meta.id.b[i] = (uint8_t)(next_event + i);
    ck_assert_int_eq(dgf_event_finish(&builder, &meta, &event), DGF_OK);
    event->source = &orders;
    return event;
}

/* insert of {id: 7, note, author: user_a}, by app_rw */
static inline struct dgf_event *note_event(const char *note)
{
    dgf_event_begin(&builder, notes, DGF_KIND_CHANGE, DGF_OP_INSERT);
    dgf_event_section_nil(&builder, DGF_SECTION_BEFORE);
    dgf_event_section(&builder, DGF_SECTION_AFTER);
    dgf_mp_put_int(dgf_event_column(&builder, 0), 7);
    dgf_mp_put_str(dgf_event_column(&builder, 1), dgf_bytes_str(note));
    dgf_mp_put_str(dgf_event_column(&builder, 2), DGF_BYTES("user_a"));
    dgf_event_section_end(&builder);
    dgf_event_section(&builder, DGF_SECTION_ACTOR);
    put_named("name", "app_rw");
    put_named("app", "checkout");
    put_named("how", "log_message");
    dgf_mp_put_bool(dgf_event_named(&builder, DGF_BYTES("sure")), true);
    dgf_event_section_end(&builder);
    return finish_event("1/0/16B3748.3");
}

static const struct dgf_policy_ref card_policy = {
    .id = "CARD-001",
    .title = "No card numbers in free-text columns",
    .severity = DGF_SEVERITY_HIGH,
    .mode = DGF_MODE_ON,
    .json = "{\"id\":\"CARD-001\",\"title\":\"No card numbers in free-text columns\","
            "\"severity\":\"high\",\"frameworks\":{\"pci-dss\":[\"3.5.1\"]}}",
    .fix = "Move the number to the vault and store its token.",
};

#endif
